import math

import numpy as np
import pytest
from builders import a_generated, a_generation, a_generator, an_energy, generating
from msgspec.structs import replace

from bench.judge import generation, statistics
from bench.judge.ratios import Ratios
from bench.records import Interval

CELL = a_generator()
PAIR = a_generator("llama/fp32/cpu/b2-p128-n64", sizes={"batch": 2, "prompt": 128, "new": 64})
SPEECH = a_generator("whisper/fp32/cpu/b1-a30-n64", sizes={"batch": 1, "audio": 30, "new": 64})


def speed_of(*rounds, cell=CELL, control=None, reference=None):
    """The speed of a cell of which each of these is one round's generations."""
    return compared(cell, seen(*rounds), control, () if reference is None else seen(*reference))


def compared(cell, rounds, control=None, reference=()):
    """The speed of a cell beside a control of these rounds."""
    parts = (generation.prefill_times, generation.decode_times)
    prefill, decode = (
        Ratios(
            [
                {
                    name: {o.round: times for o in observations if (times := part(cell, o, False))}
                    for name, observations in ((cell.id, rounds), (control, reference))
                    if name
                }
            ]
        )
        for part in parts
    )
    return generation.speed(cell, rounds, control, prefill, decode)


def seen(*rounds):
    return [a_generated(round=number, generations=made) for number, made in enumerate(rounds)]


# --- the parts of one generation --------------------------------------------------------------------------------------


def test_prefill_is_the_prompt_over_the_time_to_the_first_token_and_decoding_is_what_comes_after():
    found = speed_of([a_generation(first_ms=256, token_ms=20)])
    assert found.first_token_ms.value == pytest.approx(256)
    assert found.prefill_tok_s.value == pytest.approx(500)
    assert found.decode_tok_s.value == pytest.approx(50)


def test_one_round_has_speeds_without_intervals():
    found = speed_of([a_generation()])
    for interval in (found.first_token_ms, found.prefill_tok_s, found.decode_tok_s):
        assert (interval.low, interval.high) == (None, None)


def test_a_batch_of_two_has_twice_the_tokens_in_the_same_time():
    found = speed_of([a_generation()], cell=PAIR)
    assert found.prefill_tok_s.value == pytest.approx(2000)
    assert found.decode_tok_s.value == pytest.approx(200)
    assert (found.first_token_ms.value, found.token_p50_ms.value) == (pytest.approx(128), pytest.approx(10.0))


def test_tokens_are_counted_as_they_were_emitted_and_not_as_they_were_asked_for():
    early = a_generation(token_ms=10, tokens=33)
    assert speed_of([early]).decode_tok_s.value == pytest.approx(100)
    in_pairs = a_generation(token_ms=20, tokens=32)
    assert speed_of([replace(in_pairs, tokens=63)]).decode_tok_s.value == pytest.approx(100)


def test_a_server_that_counts_the_prompts_tokens_itself_is_believed():
    found = speed_of([a_generation(first_ms=128, prompt_tokens=256)])
    assert found.prefill_tok_s.value == pytest.approx(2000)


def test_of_one_token_there_is_no_decoding():
    found = speed_of([a_generation(tokens=1)])
    assert (found.decode_tok_s, found.token_p50_ms, found.decode_ratio) == (None, None, None)
    assert found.prefill_tok_s.value == pytest.approx(1000)


def test_speech_has_a_real_time_factor_and_an_encoder_and_no_prompt():
    found = speed_of([a_generation(870, 10, encode_ns=600_000_000)], cell=SPEECH)
    assert found.real_time_factor.value == pytest.approx(1.5 / 30)
    assert found.encode_ms.value == pytest.approx(600)
    assert (found.prefill_tok_s, found.prefill_ratio) == (None, None)


def test_two_clips_at_once_take_half_the_time_of_a_clip():
    pair = replace(SPEECH, sizes={"batch": 2, "audio": 30, "new": 64})
    assert speed_of([a_generation(870, 10)], cell=pair).real_time_factor.value == pytest.approx(0.75 / 30)


def test_the_start_tokens_of_speech_are_no_prompt():
    asked = replace(SPEECH, sizes={**SPEECH.sizes, "prompt": 4})
    assert speed_of([a_generation()], cell=asked).prefill_tok_s is None


def test_a_text_generator_has_no_real_time_factor_and_no_encoder():
    found = speed_of([a_generation()])
    assert (found.real_time_factor, found.encode_ms) == (None, None)


@pytest.mark.parametrize("timing", [None, generating(replace(a_generation(), first_ns=0))])
def test_a_round_without_a_generation_or_with_a_clock_that_does_not_tick_says_nothing(timing):
    assert generation.speed(CELL, [replace(a_generated(), timing=timing)]) is None


def test_a_round_without_generations_takes_nothing_from_the_others():
    rounds = [a_generated(round=0), replace(a_generated(round=1), timing=None), a_generated(round=2)]
    assert generation.speed(CELL, rounds).decode_tok_s.value == pytest.approx(100)


def test_steps_that_took_no_time_have_no_rate():
    assert speed_of([a_generation(token_ms=0)]).decode_tok_s is None


# --- rounds -----------------------------------------------------------------------------------------------------------


def test_a_round_counts_once_by_its_median_however_many_generations_it_made():
    found = speed_of([a_generation(token_ms=10)] * 9, [a_generation(token_ms=40)])
    assert found.decode_tok_s.value == pytest.approx(50)


def test_one_generation_that_was_held_up_does_not_move_its_round():
    found = speed_of([a_generation(128, 10), a_generation(128, 10), a_generation(9000, 90)])
    assert (found.first_token_ms.value, found.decode_tok_s.value) == (pytest.approx(128), pytest.approx(100))


def test_a_rates_slow_end_is_the_slow_rounds_end_and_the_interval_is_that_of_the_logarithms():
    found = speed_of([a_generation(token_ms=9)], [a_generation(token_ms=10)], [a_generation(token_ms=11)])
    logs = [math.log(1000 / ms) for ms in (9, 10, 11)]
    expected = statistics.interval(logs)
    assert found.decode_tok_s.value == pytest.approx(expected.value)
    assert found.decode_tok_s.low == pytest.approx(expected.low)
    assert found.decode_tok_s.high == pytest.approx(expected.high)


def test_the_true_rate_is_inside_the_interval_nineteen_times_in_twenty():
    random = np.random.default_rng(4)
    inside = 0
    for _ in range(400):
        rounds = [[a_generation(token_ms=10 * math.exp(noise))] for noise in random.normal(0, 0.03, 5)]
        found = speed_of(*rounds).decode_tok_s
        inside += found.low <= 100 <= found.high
    assert 0.92 <= inside / 400 <= 0.98


# --- the time between tokens ------------------------------------------------------------------------------------------


def scattered(steps, seed=0):
    """A generation whose steps are 1, 2, 3 … milliseconds in random order."""
    times = np.random.default_rng(seed).permutation(np.arange(1, steps + 1)) * 1_000_000
    return replace(a_generation(), token_ns=tuple(int(time) for time in times), tokens=steps + 1)


def test_percentiles_are_of_single_steps_and_in_milliseconds():
    found = speed_of([scattered(1000)])
    assert found.token_p50_ms == Interval(pytest.approx(500.5), None, None)
    assert found.token_p90_ms.value == pytest.approx(900, abs=1)
    assert found.token_p99_ms.value == pytest.approx(990, abs=1)


def test_few_steps_have_a_median_and_a_dash_for_the_tails():
    found = speed_of([scattered(40)])
    assert found.token_p50_ms.value == pytest.approx(20.5)
    assert (found.token_p90_ms, found.token_p99_ms) == (None, None)


def test_the_steps_of_a_rounds_generations_are_pooled_and_the_rounds_give_the_interval():
    found = speed_of([scattered(40, 1), scattered(40, 2)], [slowed(scattered(40, 3))])
    assert found.token_p90_ms.value == pytest.approx(math.sqrt(36 * 72), rel=0.03)
    assert found.token_p90_ms.low < 36
    assert found.token_p90_ms.high > 72


def slowed(made):
    return replace(made, token_ns=tuple(2 * time for time in made.token_ns))


def test_steps_that_follow_each_other_closely_are_worth_fewer():
    slow_wave = tuple(int(1e6 * (10 + math.sin(i / 60))) for i in range(200))
    assert speed_of([replace(a_generation(), token_ns=slow_wave, tokens=201)]).token_p90_ms is None


# --- beside the control -----------------------------------------------------------------------------------------------


def test_prefill_and_decoding_are_compared_to_the_control_each_for_itself():
    found = speed_of([a_generation(64, 10)], control="control", reference=[[a_generation(128, 5)]])
    assert found.prefill_ratio.value == pytest.approx(2.0)
    assert found.decode_ratio.value == pytest.approx(0.5)


def test_what_slowed_a_whole_round_cancels_in_the_ratio():
    ours = [[a_generation(token_ms=ms)] for ms in (2.0, 20.0, 2.0)]
    theirs = [[a_generation(token_ms=ms)] for ms in (4.0, 40.2, 3.98)]
    found = speed_of(*ours, control="control", reference=theirs)
    assert found.decode_ratio.value == pytest.approx(2.0, rel=0.01)
    assert found.decode_ratio.high / found.decode_ratio.low < 1.03
    assert found.decode_tok_s.high / found.decode_tok_s.low > 100


def test_only_rounds_of_both_are_compared():
    reference = [a_generated(round=7, generations=[a_generation(token_ms=1)])]
    found = compared(CELL, seen([a_generation()]), "control", reference)
    assert (found.prefill_ratio, found.decode_ratio) == (None, None)


def test_the_controls_own_ratios_are_one_by_definition():
    found = speed_of([a_generation()], [a_generation(90, 7)], control=CELL.id, reference=[[a_generation()]])
    assert (found.prefill_ratio, found.decode_ratio) == (Interval(1.0, 1.0, 1.0), Interval(1.0, 1.0, 1.0))
    alone = speed_of([a_generation(tokens=1)], control=CELL.id, reference=[[a_generation(tokens=1)]])
    assert (alone.prefill_ratio, alone.decode_ratio) == (Interval(1.0, 1.0, 1.0), None)


def test_a_server_that_counts_another_prompt_is_compared_by_the_time_of_a_token():
    found = speed_of([a_generation(128, prompt_tokens=256)], control="control", reference=[[a_generation(128)]])
    assert found.prefill_ratio.value == pytest.approx(2.0)


# --- what a token costs -----------------------------------------------------------------------------------------------


def test_the_energy_of_a_token_is_that_of_the_burst_over_all_tokens_of_all_rows():
    rounds = [replace(one, energy=an_energy(joules=640, calls=10)) for one in seen([a_generation()] * 10)]
    assert generation.joules_per_token(CELL, rounds).value == pytest.approx(1.0)
    assert generation.joules_per_token(PAIR, rounds).value == pytest.approx(0.5)


def test_tokens_that_were_not_emitted_cost_nothing_and_the_rounds_give_the_interval():
    made = [[a_generation(tokens=32)], [a_generation()], [a_generation()]]
    spent = (32, 128, 640)
    rounds = [replace(one, energy=an_energy(joules, 1)) for one, joules in zip(seen(*made), spent, strict=True)]
    assert generation.joules_per_token(CELL, rounds) == statistics.interval(
        [math.log(cost) for cost in (1.0, 2.0, 10.0)]
    )


def test_without_a_meter_or_a_token_there_is_no_energy():
    assert generation.joules_per_token(CELL, seen([a_generation()])) is None
    nothing = replace(a_generated(), timing=None, energy=an_energy())
    assert generation.joules_per_token(CELL, [nothing]) is None


def test_the_first_token_from_nothing_takes_the_import_the_load_and_the_first_calls_first_token():
    one = a_generated(import_ns=60_000_000, load_ns=300_000_000, timing=generating(first_token_ns=140_000_000))
    slow = replace(one, round=1, load_ns=900_000_000)
    assert generation.cold_first_token_ms([one]) == Interval(pytest.approx(500), None, None)
    assert generation.cold_first_token_ms([one, slow]).value == pytest.approx(math.sqrt(500 * 1100))


@pytest.mark.parametrize("part", [{"import_ns": None}, {"load_ns": None}, {"timing": None}])
def test_a_part_that_is_missing_leaves_no_first_token_from_nothing(part):
    assert generation.cold_first_token_ms([a_generated(**part)]) is None
