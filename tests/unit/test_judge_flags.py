import subprocess
import sys

import pytest
from builders import (
    a_cell,
    a_generated,
    a_generation,
    a_generator,
    a_parity,
    a_parity_of_tokens,
    a_placement,
    a_state,
    a_timing,
    an_effort,
    an_observation,
    some_facts,
    some_traits,
)
from msgspec.structs import replace

from bench.judge import flags
from bench.judge.number_formats import number_format
from bench.records import Recipe, SustainedSpeed, note
from bench.report import text_flags


def flagged(*seen, **said):
    """The kinds of the flags of a cell of which these rounds were seen; nothing else about it is unusual."""
    evidence = {
        "cell": a_cell(),
        "effort": an_effort(),
        "threads": 2,
        "medians_ms": tuple(2.0 for _ in seen),
        "half_width": 0.01,
    }
    return tuple(flag.kind for flag in flags.raised(flags.Evidence(observations=seen, **{**evidence, **said})))


def three_rounds(last=None, **said):
    return [an_observation(round=i, **said) for i in range(2)] + [last or an_observation(round=2, **said)]


def test_three_healthy_rounds_raise_no_flag():
    assert flagged(*three_rounds(state=a_state())) == ()


def test_a_machine_that_tells_nothing_of_its_state_raises_no_flag():
    assert flagged(*three_rounds()) == ()


def test_every_flag_has_a_rule_and_a_sentence_for_readers():
    assert list(flags.RULES) == list(text_flags.GLOSSARY)
    assert all(sentence.endswith(".") and len(sentence) > 30 for sentence in text_flags.GLOSSARY.values())


def test_a_single_block_is_few():
    assert flagged(an_observation(round=0), half_width=None) == ("few-rounds",)
    assert flagged(an_observation(round=0), an_observation(round=1)) == ()


@pytest.mark.parametrize(
    ("asked", "seen", "expected"),
    [(0.02, 0.021, True), (0.02, 0.02, False), (0.01, 0.015, True), (None, 0.06, True), (None, 0.04, False)],
)
def test_a_ratio_wider_than_the_resolution_of_the_budget_is_noisy_whatever_the_latency(asked, seen, expected):
    found = flagged(*three_rounds(), effort=an_effort(half_width=asked), half_width=0.9, ratio_half_width=seen)
    assert ("noisy" in found) == expected


@pytest.mark.parametrize(("seen", "expected"), [(0.26, True), (0.2, False)])
def test_a_latency_that_is_compared_with_nothing_is_noisy_from_a_quarter(seen, expected):
    assert ("noisy" in flagged(*three_rounds(), half_width=seen)) == expected


@pytest.mark.parametrize(("slowest", "expected"), [(2.6, True), (2.4, False)])
def test_a_round_a_quarter_slower_than_another_disagrees(slowest, expected):
    assert ("rounds-disagree" in flagged(*three_rounds(), medians_ms=(2.0, slowest, 2.1))) == expected


def test_one_warm_up_that_ran_into_its_limit_is_enough():
    unsettled = an_observation(round=2, timing=a_timing(steady=False))
    assert flagged(*three_rounds(unsettled)) == ("not-steady",)


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (a_state(other_cpu_percent=11.0), True),
        (a_state(other_cpu_percent=9.0), False),
        (a_state(steal_percent=2.5), True),
        (a_state(steal_percent=1.5), False),
        (a_state(other_cpu_percent=None, load_1min=4.5), True),
        (a_state(other_cpu_percent=None, load_1min=3.0), False),
        (a_state(other_cpu_percent=1.0, load_1min=9.0), False),  # the load of a cell that ended just before
        (a_state(other_cpu_percent=0.0, steal_percent=None), False),
    ],
)
def test_others_on_the_processor_make_a_busy_machine(state, expected):
    assert ("busy-machine" in flagged(*three_rounds(an_observation(round=2, state=state)))) == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"bursts_disturbed": 2}, False),
        ({"bursts_disturbed": 3}, True),
        # Made again: the load of the bursts that were set aside is in the state of the round.
        ({"bursts_disturbed": 0, "bursts_set_aside": 3, "state": a_state(other_cpu_percent=30.0)}, False),
        ({"bursts_disturbed": 1, "state": a_state(steal_percent=6.0)}, False),
        ({"bursts_disturbed": 0, "state": a_state(other_cpu_percent=15.0)}, True),
        # Older runs did not count.
        ({"bursts_set_aside": 3, "state": a_state(other_cpu_percent=15.0, steal_percent=6.0)}, False),
        ({"bursts_set_aside": 3, "state": a_state(other_cpu_percent=25.0)}, True),
        ({"state": a_state(steal_percent=12.0)}, True),
    ],
)
def test_a_round_of_bursts_is_busy_where_those_that_count_were_disturbed(values, expected):
    bursts = a_timing([2_000_000] * 12, burst_calls=(2,) * 6, turns=tuple(range(6)))
    flags = flagged(*three_rounds(an_observation(round=2, timing=bursts, **values)))
    assert ("busy-machine" in flags) == expected


def test_one_round_on_battery_is_told():
    assert flagged(*three_rounds(an_observation(round=2, state=a_state(on_battery=True)))) == ("on-battery",)


def clocked(*rounds):
    """Rounds at these clocks."""
    return [an_observation(round=i, state=a_state(frequency_mhz=mhz)) for i, mhz in enumerate(rounds)]


@pytest.mark.parametrize(
    ("clocks", "medians_ms", "expected"),
    [
        ((3400.0, 3100.0, 2900.0), (2.0, 2.1, 2.2), True),
        ((3400.0, 3100.0, 2900.0), (2.0, 2.0, 2.0), False),
        ((3400.0, 3300.0, 3300.0), (2.0, 2.1, 2.2), False),
        ((None, None, None), (2.0, 2.1, 2.2), False),
    ],
)
def test_throttled_needs_a_falling_clock_and_rising_times(clocks, medians_ms, expected):
    assert ("throttled" in flagged(*clocked(*clocks), medians_ms=medians_ms)) == expected


def test_heat_near_its_limit_is_throttling_too():
    states = [a_state(temperature_c=heat, temperature_limit_c=100.0) for heat in (80.0, 92.0, 98.0)]
    rounds = [an_observation(round=i, state=state) for i, state in enumerate(states)]
    assert flagged(*rounds, medians_ms=(2.0, 2.1, 2.2)) == ("throttled",)


def test_a_sustained_run_that_was_throttled_is_told():
    slowed = note("slowed-over-minutes", note("clock-fell", first_mhz=3400.0, last_mhz=2900.0), slower=0.12)
    hot = SustainedSpeed(10.0, (), None, None, (note("on-battery"), note("throttled", slowed)))
    assert flagged(*three_rounds(), sustained=hot) == ("throttled",)
    assert detailed(*three_rounds(), sustained=hot) == {
        "throttled": "in the sustained run the clock fell from 3.4 to 2.9 GHz, while calls became 12 % slower"
    }


def test_calls_that_drift_where_they_are_timed_are_not_steady():
    assert flagged(*three_rounds(), burst_drift=0.04) == ("not-steady",)
    assert flagged(*three_rounds(), burst_drift=0.0) == ()


def detailed(*seen, **said):
    """What the flags of these rounds say in figures."""
    evidence = {"medians_ms": tuple(2.0 for _ in seen), "half_width": 0.01, **said}
    whole = flags.Evidence(cell=a_cell(), effort=an_effort(), threads=2, observations=seen, **evidence)
    return text_flags.details(flags.raised(whole))


def test_a_flag_says_what_raised_it():
    unsettled = three_rounds(an_observation(round=2, timing=a_timing(steady=False)))
    assert detailed(*unsettled, burst_drift=-0.041) == {
        "not steady": "the warm-up ended at its limit in 1 of 3 rounds; "
        "calls became 4.1 % faster from the first third of the timed ones to the last"
    }
    assert detailed(*clocked(3400.0, 3100.0, 2900.0), medians_ms=(2.0, 2.1, 2.2)) == {
        "throttled": "over the rounds the clock fell from 3.4 to 2.9 GHz, while calls became 10 % slower"
    }
    assert detailed(*three_rounds(an_observation(round=2, state=a_state(other_cpu_percent=14.0)))) == {
        "busy machine": "in 1 of 3 rounds; at most, other programs 14 % of the processor"
    }
    assert detailed(*three_rounds(state=a_state(on_battery=True))) == {"on battery": "in 3 of 3 rounds"}


def test_a_flag_that_says_all_by_its_name_has_no_figures():
    assert detailed(an_observation()) == {}


@pytest.mark.parametrize(
    ("recipe", "bits", "expected"),
    [("fp32", 8.9, True), ("fp32", 11.0, True), ("fp32", 17.0, False), ("fp32", None, False), ("fp16", 10.0, False)],
)
def test_fp32_with_the_error_of_fewer_bits_is_told(recipe, bits, expected):
    cell = a_cell(recipe=Recipe(recipe, number_format=recipe))
    found = flagged(*three_rounds(parity=a_parity(effective_bits=bits)), cell=cell)
    assert ("reduced-precision" in found) == expected


@pytest.mark.parametrize(
    ("asked", "found", "flag"),
    [
        ("fp32", "bf16", "reduced-precision"),
        ("fp32", "tf32", "reduced-precision"),
        ("fp32", "fp16", "reduced-precision"),
        ("fp16", "bf16", "reduced-precision"),
        ("fp16", "fp32 between casts", "casts-around-fp32"),
        ("fp32", "fp32", None),
        ("fp16", "fp16", None),
        ("fp32", "unknown", None),
    ],
)
def test_a_probe_that_computed_in_another_format_than_asked_is_told(asked, found, flag):
    fine = a_parity(effective_bits=17.0)
    raised = flagged(
        *three_rounds(parity=fine),
        cell=a_cell(recipe=Recipe(asked, number_format=asked)),
        facts=some_facts((asked, found)),
    )
    assert raised == ((flag,) if flag else ())


def test_what_the_probe_found_for_another_format_says_nothing_of_this_one():
    assert flagged(*three_rounds(), facts=some_facts(("fp16", "fp32 between casts"))) == ()


def test_an_option_that_nobody_checks_is_told():
    tested = note("text", text="unknown option of somebody else's words")
    unknown = note("unknown-option", name="x")
    assert flagged(*three_rounds(), facts=some_facts(notes=(tested, unknown))) == ("unchecked-option",)
    assert flagged(*three_rounds(), facts=some_facts(notes=(tested,))) == ()


def test_a_gpu_made_of_software_is_told():
    one = an_observation(round=2, notes=(note("software-adapter"),))
    assert flagged(*three_rounds(one)) == ("software-adapter",)


def test_of_an_emulated_cell_the_flags_of_times_are_moot_and_those_of_answers_are_not():
    coarse = an_observation(parity=a_parity(effective_bits=8.0), timing=a_timing(steady=False))
    assert flagged(coarse, cell=a_cell(emulated=True), half_width=0.5) == ("emulated", "reduced-precision")
    assert set(flags.RULES) >= flags.TIMING_FLAGS


def test_a_cell_without_a_recipe_has_the_number_format_of_its_precisions_name():
    assert number_format(a_cell(recipe=None)) == "fp32"
    assert number_format(a_cell(recipe=Recipe("static-qdq-int8", number_format="int8"))) == "int8"


def test_a_round_without_a_placement_is_told_for_providers_only():
    silent = three_rounds(an_observation(round=2, placement=None))
    assert flagged(*silent) == ("placement-unknown",)
    assert flagged(*silent, cell=a_cell(provider=None)) == ()


def test_rounds_with_different_placements_are_told():
    moved = an_observation(round=2, placement=a_placement(CPU={"MatMul": 18}))
    assert flagged(*three_rounds(moved)) == ("placement-varies",)


def test_a_profile_in_one_round_is_no_other_placement():
    profiled = replace(a_placement(), copies=3, time_elsewhere=0.1)
    assert flagged(*three_rounds(an_observation(round=2, placement=profiled))) == ()


def test_rounds_with_different_versions_are_told():
    upgraded = an_observation(round=2, versions={"onnxruntime": "1.32.0"})
    assert flagged(*three_rounds(upgraded)) == ("mixed-versions",)


def generated(last=None, **said):
    """The flags of a generator that was well twice, and then as `last`, or as what is said."""
    rounds = [a_generated(round=0), a_generated(round=1), last or a_generated(round=2, **said)]
    return flagged(*rounds, cell=a_generator())


def test_a_generator_that_did_what_it_was_asked_raises_no_flag():
    assert generated() == ()


def test_a_generation_with_fewer_tokens_than_were_asked_for_is_told():
    assert generated(generations=[a_generation(), a_generation(tokens=63)]) == ("stopped-early",)


def test_tokens_that_were_counted_by_the_pieces_of_a_stream_are_told():
    assert generated(traits=some_traits(counted_by="chunks")) == ("tokens-estimated",)
    assert generated(traits=some_traits(counted_by="server")) == ()


@pytest.mark.parametrize("tokens", [64, 66])
def test_steps_that_are_not_as_many_as_the_tokens_are_told(tokens):
    steps = a_generation(tokens=65).token_ns
    assert generated(generations=[a_generation(tokens=tokens, token_ns=steps)]) == ("uneven-steps",)


def test_tokens_that_were_not_held_against_the_references_are_told():
    unseen = a_parity_of_tokens(tokens_compared=None, tokens_same=None)
    assert generated(parity=unseen) == ("tokens-not-compared",)
    assert generated(parity=a_parity_of_tokens(tokens_same=3)) == ()
    assert flagged(*three_rounds(parity=a_parity())) == (), "what does not generate has no tokens to compare"


def test_flags_come_in_the_order_of_the_glossary():
    bad = an_observation(timing=a_timing(steady=False), state=a_state(on_battery=True, steal_percent=9.0))
    assert flagged(bad, half_width=0.5) == ("few-rounds", "noisy", "not-steady", "busy-machine", "on-battery")


def test_the_glossary_can_be_read_without_the_statistics():
    code = (
        "import sys; from bench.report.text_flags import GLOSSARY; "
        "sys.exit('numpy' in sys.modules or 'scipy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
