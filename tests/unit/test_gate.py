import math
import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as reference

from bench.gating.decision import RULES, CollectedPairs, Replay, gate, step
from bench.gating.rules import Rules
from bench.gating.scatter import detectable, own, pooled
from bench.gating.stages import benjamini_hochberg
from bench.records import Pair

CALM = (0.002, -0.002, 0.001, -0.001)
"""Pairs of a quiet machine, about a mean of zero."""
NULL = "null"


class Script:
    """A sampler that knows its pairs beforehand: by cell and kind, around a mean, again and again from the start."""

    def __init__(self, noise=CALM, **slower):
        self.noise, self.slower = noise, {cell.replace("_", "-"): value for cell, value in slower.items()}
        self.given, self.limit, self.special, self.asked = Counter(), {}, {}, []

    def pair(self, cell, kind):
        self.asked.append((cell, kind))
        number = self.given[cell, kind]
        if number >= self.limit.get((cell, kind), math.inf) or len(self.asked) > self.limit.get("all", math.inf):
            return None
        self.given[cell, kind] += 1
        if (cell, kind) in self.special:
            return self.special[cell, kind][number % len(self.special[cell, kind])]
        return self.noise[number % len(self.noise)] + (0.0 if kind == NULL else self.slower.get(cell, 0.0))


class Drawn:
    """A sampler of Gaussian pairs that gives each cell and kind its own series, whoever is asked first."""

    def __init__(self, seed, scatter, slower=None):
        self.seed, self.scatter, self.slower = seed, scatter, slower or {}
        self.series = {}

    def pair(self, cell, kind):
        source = self.series.setdefault((cell, kind), random.Random(f"{self.seed}/{cell}/{kind}"))
        return source.gauss(0.0 if kind == NULL else self.slower.get(cell, 0.0), self.scatter)


class Recorder:
    """Hands a sampler's pairs on, and keeps them as a gate's file would."""

    def __init__(self, sampler):
        self.sampler, self.pairs, self.numbers = sampler, [], Counter()

    def pair(self, cell, kind):
        value = self.sampler.pair(cell, kind)
        self.numbers[cell, kind] += 1
        self.pairs.append(Pair(cell=cell, kind=kind, number=self.numbers[cell, kind], started="", value=value))
        return value


def verdicts(decision):
    return {one.cell: one.verdict for one in decision.cells}


def only(decision):
    (one,) = decision.cells
    return one


def names(count):
    return [f"cell-{number}" for number in range(count)]


# --- the screen -------------------------------------------------------------------------------------------------------


def test_a_cell_that_is_as_it_was_passes_after_two_pairs():
    sampler = Script()
    one = only(gate(["a"], sampler))
    assert (one.verdict, one.stage, one.pairs) == ("pass", "screen", 2)
    assert one.reason.startswith("no slowdown shown: 0.0 % (-0.")
    assert sampler.given == {("a", "screen"): 2, ("a", NULL): RULES.few_null_pairs}


def test_a_cell_that_got_faster_passes_the_screen():
    one = only(gate(["a"], Script(a=-0.2)))
    assert one.verdict == "pass"
    assert one.change.value == pytest.approx(math.expm1(-0.2))


def test_two_pairs_that_scatter_by_ten_percent_pass_nobody():
    """Their mean is zero, but a slowdown of 10 % could hide in it: more pairs are asked for."""
    sampler = Script(noise=(0.10, -0.10, 0.09, -0.09))
    gate(["a"], sampler)
    assert sampler.given["a", "screen"] > 2


def test_screening_goes_on_until_a_slowdown_of_ten_percent_would_be_seen():
    sampler = Script()
    sampler.special["b", "screen"] = [0.19, -0.19, 0.001, -0.001, 0.002, -0.002, 0.0, 0.0]
    decision = gate(["a", "b", "c"], sampler)
    assert sampler.given["a", "screen"] == 2
    assert sampler.given["b", "screen"] == 16
    assert {one.cell: one.pairs for one in decision.cells} == {"a": 2, "b": 16, "c": 2}


def test_a_cell_in_whose_noise_ten_percent_could_hide_is_inconclusive():
    sampler = Script()
    sampler.special["b", "screen"] = [0.4, -0.4, 0.3, -0.3]
    one = gate(["a", "b", "c"], sampler).cells[1]
    assert (one.verdict, one.stage, one.pairs) == ("inconclusive", "screen", RULES.more_screening[-1])
    assert "could hide a slowdown of 10 %" in one.reason
    assert one.detectable > 0.10


def test_one_noisy_cell_costs_the_others_nothing():
    sampler = Script()
    sampler.special["b", "screen"] = [0.4, -0.4, 0.3, -0.3]
    decision = gate(["a", "b", "c", "d"], sampler)
    assert Counter(verdicts(decision).values()) == {"pass": 3, "inconclusive": 1}


def test_a_cell_that_scatters_more_than_the_others_gets_more_pairs_though_all_pooled_would_do():
    """Its two pairs lie 5 % apart and theirs 0.4 %: pooled, a slowdown of 10 % would be seen."""
    sampler = Script()
    sampler.special["cell-0", "screen"] = [0.025, -0.025, 0.02, -0.02]
    decision = gate(names(30), sampler)
    assert decision.cells[0].pairs > 2
    assert all(one.pairs == 2 for one in decision.cells[1:])


def test_in_a_noisy_gate_how_slow_a_cell_looks_after_two_pairs_does_not_make_it_suspect():
    sampler = Script(noise=(0.09, -0.03, -0.09, 0.03))
    one = only(gate(["a"], sampler))
    assert one.stage == "screen"
    assert ("a", "confirm") not in sampler.given


# --- suspects ---------------------------------------------------------------------------------------------------------


def test_a_slow_cell_on_a_quiet_machine_is_a_regression_after_three_fresh_pairs():
    one = only(gate(["a"], Script(a=math.log1p(0.05))))
    assert (one.verdict, one.stage, one.pairs) == ("regression", "confirm", 3)
    assert one.reason.startswith("3 of 3 fresh pairs slower: 5.0 % (4.5 to 5.")
    assert one.change.low < 0.05 < one.change.high


def test_a_suspect_whose_fresh_pairs_are_as_they_were_is_cleared_early():
    sampler = Script()
    sampler.special["a", "screen"] = [0.05, 0.051]
    one = only(gate(["a"], sampler))
    assert (one.verdict, one.stage, one.pairs) == ("pass", "confirm", 3)
    assert one.change.value == pytest.approx(0.0, abs=0.002)  # the screen's pairs are not in it


@pytest.mark.parametrize(("noise", "look"), [(0.004, 6), (0.022, 12), (0.05, 24)])
def test_the_noisier_the_later_a_slowdown_is_confirmed(noise, look):
    sampler = Script()
    sampler.special["a", "screen"] = [0.04, 0.041]
    sampler.special["a", "confirm"] = [0.04 + noise, 0.04 - noise]
    one = only(gate(["a"], sampler))
    assert (one.verdict, one.pairs) == ("regression", look)


def test_a_slowdown_under_two_percent_fails_nothing_however_sure_it_is():
    one = only(gate(["a"], Script(a=math.log1p(0.0165))))
    assert (one.verdict, one.stage, one.pairs) == ("pass", "confirm", 6)
    assert one.reason.startswith("not slower by 2 % or more: 1.7 % (1.4 to ")


def test_what_may_be_none_and_may_be_two_percent_is_inconclusive_after_the_last_look():
    sampler = Script()
    sampler.special["a", "screen"] = [0.02, 0.021]
    sampler.special["a", "confirm"] = [0.05, -0.02]
    one = only(gate(["a"], sampler))
    assert (one.verdict, one.pairs) == ("inconclusive", RULES.looks[-1])
    assert "80 fresh pairs cannot distinguish 1.5 %" in one.reason


def test_a_suspect_is_not_cleared_while_ten_percent_are_possible():
    sampler = Script()
    sampler.special["a", "screen"] = [0.03, 0.031]
    sampler.special["a", "confirm"] = [0.2, -0.2, 0.001, -0.001, 0.001, -0.001]
    one = only(gate(["a"], sampler))
    assert one.pairs > 6


def test_a_slowdown_that_is_not_sure_enough_among_many_suspects_is_inconclusive():
    """Alone it is rejected; of nineteen suspects, whose others come out as they were, it would need to be surer."""
    slow = {"confirm": [0.024 + 0.063, 0.024 - 0.063]}
    alone, many = Script(), Script()
    for sampler, cells in ((alone, ["a"]), (many, ["a", *names(18)])):
        for cell in cells:
            sampler.special[cell, "screen"] = [0.03, 0.031]
        sampler.special["a", "confirm"] = slow["confirm"]
    assert gate(["a"], alone).cells[0].verdict == "regression"
    found = gate(["a", *names(18)], many).cells
    assert found[0].verdict == "inconclusive"
    assert "do not confirm it" in found[0].reason
    assert {one.verdict for one in found[1:]} == {"pass"}


# --- clear cases ------------------------------------------------------------------------------------------------------

TWICE_AS_SLOW = math.log(3)
"""The log ratio of a cell that is slower by 200 %."""


def test_a_cell_that_is_slower_by_200_percent_is_called_early_though_its_pairs_scatter_by_a_quarter():
    sampler = Script()
    sampler.special["b", "screen"] = sampler.special["b", "confirm"] = [
        TWICE_AS_SLOW + noise for noise in (0.25, -0.25, 0.2, -0.3, 0.1, 0.0)
    ]
    decision = gate([*names(10), "b"], sampler)
    assert decision.cells[-1].verdict == "regression"
    assert sampler.given["b", "screen"] == 2
    assert decision.cells[-1].pairs <= 6


def test_a_clear_case_is_confirmed_before_noisy_cells_are_screened_and_the_time_is_up():
    noisy = {cell: [0.12, -0.12, 0.1, -0.1] for cell in names(8)}
    sampler = Script(b=TWICE_AS_SLOW)
    sampler.special = {(cell, "screen"): noise for cell, noise in noisy.items()}
    sampler.limit["all"] = 60
    decision = gate([*names(8), "b"], sampler)
    assert decision.cells[-1].verdict == "regression"
    assert {one.verdict for one in decision.cells[:-1]} == {"inconclusive"}


def test_a_clear_case_is_not_called_before_the_null_control_is_complete():
    sampler = Script(a=TWICE_AS_SLOW)
    gate(["a"], sampler)
    first = sampler.asked.index(("a", "confirm"))
    assert sampler.asked[:first].count(("a", NULL)) == RULES.few_null_pairs


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.sampled_from([0.001, 0.05, 0.3]), st.integers(0, 5))
def test_what_is_rejected_is_what_scipy_rejects(p_values, q, others):
    adjusted = reference.false_discovery_control([*p_values, *[1.0] * others])[: len(p_values)]
    close = [math.isclose(p, q, rel_tol=1e-9) for p in adjusted]
    found = benjamini_hochberg({str(i): p for i, p in enumerate(p_values)}, q, others)
    for i, p in enumerate(adjusted):
        assert close[i] or (str(i) in found) == (p <= q)


def test_pairs_that_are_all_alike_are_as_sure_as_can_be():
    assert own([0.03] * 6).p_value() == 0
    assert own([0.0] * 6).p_value() == 1


@given(st.lists(st.floats(-0.2, 0.2), min_size=3, max_size=24).filter(lambda x: np.std(x) > 1e-6))
def test_the_p_value_and_the_interval_are_those_of_the_t_test(logs):
    estimate, expected = own(logs), reference.ttest_1samp(logs, 0, alternative="greater")
    ends = reference.ttest_1samp(logs, 0).confidence_interval(0.95)
    assert estimate.p_value() == pytest.approx(expected.pvalue, rel=1e-6, abs=1e-12)
    change = estimate.change()
    assert (change.low, change.high) == pytest.approx((math.expm1(ends.low), math.expm1(ends.high)))


# --- no more pairs ----------------------------------------------------------------------------------------------------


def test_a_cell_of_which_no_pair_came_is_inconclusive_and_the_others_are_judged():
    sampler = Script(b=0.1)
    sampler.limit["a", "screen"] = 0
    a, b, _ = gate(["a", "b", "c"], sampler).cells
    assert (a.verdict, a.stage, a.change, a.pairs) == ("inconclusive", "", None, 0)
    assert a.reason == "only 0 of 2 screening pairs could be made"
    assert b.verdict == "regression"


def test_a_cell_that_failed_is_asked_no_more():
    sampler = Script()
    sampler.limit["a", "screen"] = 1
    a, *_ = gate(["a", "b", "c"], sampler).cells
    assert (a.verdict, a.pairs) == ("inconclusive", 1)
    assert [kind for cell, kind in sampler.asked if cell == "a"].count("screen") == 2


def test_a_suspect_that_cannot_be_confirmed_is_inconclusive():
    sampler = Script(a=0.1)
    sampler.limit["a", "confirm"] = 2
    one = gate(["a", "b"], sampler).cells[0]
    assert (one.verdict, one.stage, one.pairs) == ("inconclusive", "confirm", 2)
    assert one.reason == "only 2 of 3 fresh pairs could be made"
    assert one.change.value == pytest.approx(math.expm1(0.1), abs=0.01)


def test_when_the_time_is_up_after_the_screen_who_passed_has_passed():
    sampler = Script(a=0.1)
    sampler.limit["all"] = 4 * 2 + RULES.few_null_pairs
    assert verdicts(gate([*names(3), "a"], sampler)) == dict.fromkeys(names(3), "pass") | {"a": "inconclusive"}


@pytest.mark.parametrize("pairs", [0, 1, 5, 9, 13])
def test_when_the_time_is_up_during_the_screen_nothing_that_is_open_passes(pairs):
    sampler = Script()
    sampler.limit["all"] = pairs
    decision = gate(names(4), sampler)
    assert "inconclusive" in verdicts(decision).values()
    assert "regression" not in verdicts(decision).values()
    assert all(one.pairs == 2 for one in decision.cells if one.verdict == "pass")


def test_a_pair_that_is_no_number_is_refused():
    sampler = Script()
    sampler.special["a", "screen"] = [math.nan]
    with pytest.raises(ValueError, match="log ratio nan"):
        gate(["a"], sampler)


def test_a_gate_without_cells_decides_nothing():
    decision = gate([], Script())
    assert decision.cells == ()
    assert not decision.null.fine


# --- base against base ------------------------------------------------------------------------------------------------


def test_the_null_control_of_a_calm_machine_is_fine_and_says_what_it_saw():
    null = gate(names(3), Script()).null
    assert null.fine
    assert null.pairs == RULES.few_null_pairs
    assert null.change.low < 0 < null.change.high
    assert null.reason == "base against base shows no difference"


def test_a_large_gate_has_more_null_pairs_and_spreads_them_over_cells():
    sampler = Script()
    assert gate(names(RULES.many_cells), sampler).null.pairs == RULES.null_pairs
    assert all(count == 1 for (_, kind), count in sampler.given.items() if kind == NULL)


def test_where_base_against_base_differs_nothing_is_believed():
    sampler = Script(cell_0=0.1)
    for cell in names(3):
        sampler.special[cell, NULL] = [0.03, 0.031, 0.029]
    decision = gate(names(3), sampler)
    assert set(verdicts(decision).values()) == {"inconclusive"}
    assert "is biased" in decision.null.reason
    assert all("null control failed" in one.reason for one in decision.cells)
    assert not any(kind == "confirm" for _, kind in sampler.given)


def test_a_bias_that_shows_only_beside_the_suspects_takes_back_their_verdict():
    """Six null pairs scatter too much to show it, and twelve as well; twenty-four do not."""
    sampler = Script()
    sampler.special["a", "screen"] = [0.04, 0.041]
    sampler.special["a", "confirm"] = [0.04 + 0.05, 0.04 - 0.05]
    assert only(gate(["a"], sampler)).verdict == "regression"
    sampler.given.clear()
    sampler.special["a", NULL] = [0.04, 0.0]
    decision = gate(["a"], sampler)
    assert decision.null.pairs == 24
    assert (only(decision).verdict, only(decision).pairs) == ("inconclusive", 24)
    assert "is biased" in only(decision).reason


def test_a_machine_whose_pairs_show_nothing_at_all_stops_the_gate_with_a_sentence_of_its_own():
    recorder = Recorder(Drawn(1, 0.4))
    decision = gate(names(12), recorder)
    assert set(verdicts(decision).values()) == {"inconclusive"}
    assert "pairs scatter by" in decision.null.reason
    assert all(one.reason.endswith(decision.null.reason) for one in decision.cells)
    assert len(recorder.pairs) == 12 * 2 + RULES.few_null_pairs


def test_without_null_pairs_nothing_passes():
    sampler = Script()
    for cell in names(2):
        sampler.limit[cell, NULL] = 1
    decision = gate(names(2), sampler)
    assert set(verdicts(decision).values()) == {"inconclusive"}
    assert decision.null.reason.startswith("only 2 pairs of base against base")


def test_a_cell_whose_base_fails_beside_itself_leaves_the_null_control_to_others():
    sampler = Script()
    sampler.limit["cell-0", NULL] = 0
    decision = gate(names(3), sampler)
    assert decision.null.pairs == RULES.few_null_pairs
    assert set(verdicts(decision).values()) == {"pass"}


def test_suspects_bring_more_null_pairs_along_up_to_a_limit():
    sampler = Script()
    sampler.special["a", "screen"] = [0.02, 0.021]
    sampler.special["a", "confirm"] = [0.05, -0.02]
    decision = gate(["a"], sampler)
    assert (only(decision).pairs, decision.null.pairs) == (RULES.looks[-1], RULES.most_null_pairs)


def test_null_pairs_that_wait_for_the_screen_are_made_after_it_and_judge_the_same():
    waiting, sampler = Script(), Script()
    decision = gate(names(3), waiting, Rules(null_last=True))
    kinds = [kind for _, kind in waiting.asked]
    assert kinds == ["screen"] * 6 + [NULL] * RULES.few_null_pairs
    assert verdicts(decision) == verdicts(gate(names(3), sampler))


def test_where_the_time_is_up_before_the_screen_is_over_no_null_pair_was_made():
    sampler = Script()
    sampler.limit["all"] = 5
    decision = gate(names(3), sampler, Rules(null_last=True))
    assert NULL not in {kind for _, kind in sampler.given}
    assert set(verdicts(decision).values()) == {"inconclusive"}


# --- turns, and what a gate hangs on ----------------------------------------------------------------------------------


def test_every_cell_has_had_its_first_pair_before_any_has_its_second():
    sampler = Script()
    gate(names(30), sampler)
    screened = [cell for cell, kind in sampler.asked if kind == "screen"]
    assert sorted(screened[:30]) == sorted(names(30))
    assert screened[:30] != names(30)
    assert screened[:30] != screened[30:]


def test_the_same_seed_gives_the_same_turns_and_another_does_not():
    asked = []
    for seed in (1, 1, 2):
        sampler = Script()
        gate(names(10), sampler, seed=seed)
        asked.append(sampler.asked)
    assert asked[0] == asked[1] != asked[2]


gates = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 10**6),
        "scatter": st.sampled_from([0.003, 0.012, 0.03, 0.07]),
        "slower": st.lists(st.sampled_from([0.0, 0.0, 0.01, 0.02, 0.03, 0.1, -0.05]), min_size=1, max_size=7),
    }
)


def drawn(what, more=None):
    cells = names(len(what["slower"]))
    slower = dict(zip(cells, what["slower"], strict=True))
    for cell, extra in (more or {}).items():
        slower[cell] += extra
    return cells, Drawn(what["seed"], what["scatter"], slower)


@settings(max_examples=60, deadline=None)
@given(gates, st.randoms(use_true_random=False))
def test_the_order_of_the_cells_and_of_the_turns_changes_no_verdict(what, chance):
    cells, sampler = drawn(what)
    first = gate(cells, sampler, seed=1)
    shuffled = chance.sample(cells, len(cells))
    second = gate(shuffled, drawn(what)[1], seed=2)
    assert [one.cell for one in second.cells] == shuffled
    found = {one.cell: one for one in second.cells}
    for one in first.cells:
        assert (one.verdict, one.pairs, one.stage) == (
            found[one.cell].verdict,
            found[one.cell].pairs,
            found[one.cell].stage,
        )


@settings(max_examples=80, deadline=None)
@given(gates, st.floats(0.001, 0.2))
def test_a_cell_that_is_slower_still_never_turns_from_a_regression_into_a_pass(what, extra):
    cells, sampler = drawn(what)
    before = gate(cells, sampler).cells[0]
    after = gate(cells, drawn(what, {"cell-0": extra})[1]).cells[0]
    worse = {"pass": 0, "inconclusive": 1, "regression": 2}
    if before.verdict == "regression":
        assert after.verdict == "regression"
    if after.verdict == "pass":
        assert worse[before.verdict] < 2


@settings(max_examples=60, deadline=None)
@given(gates)
def test_every_verdict_says_a_sentence_and_bears_its_numbers(what):
    cells, sampler = drawn(what)
    decision = gate(cells, sampler)
    for one in decision.cells:
        assert one.reason
        assert "\n" not in one.reason
        assert one.change.low <= one.change.value <= one.change.high
        assert one.detectable is None or one.detectable > 0
        if one.verdict == "regression":
            assert one.stage == "confirm"
            assert one.change.value > RULES.regression
            assert one.pairs in RULES.looks


@settings(max_examples=40, deadline=None)
@given(gates)
def test_a_step_says_the_same_of_a_gate_that_is_over_as_the_gate_did(what):
    cells, sampler = drawn(what)
    seen, limit = CollectedPairs(), 0
    while (now := step(cells, seen)).decision is None:
        for want in now.requests:
            for _ in range(want.count):
                value = sampler.pair(want.cell, want.kind)
                if want.kind == NULL:
                    seen.null.append(value)
                else:
                    getattr(seen, want.kind).setdefault(want.cell, []).append(value)
        limit += 1
        assert limit < 20
    assert step(cells, seen).decision == now.decision


# --- a recorded gate --------------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(gates, st.randoms(use_true_random=False))
def test_a_recorded_gate_is_judged_again_as_it_was(what, chance):
    cells, sampler = drawn(what)
    recorder = Recorder(sampler)
    first = gate(cells, recorder, seed=5)
    lines = chance.sample(recorder.pairs, len(recorder.pairs))  # a file's lines may come in any order
    assert gate(cells, Replay(lines), seed=5) == first


def test_a_recorded_gate_with_a_failed_side_is_judged_again_as_it_was():
    sampler = Script(a=0.1)
    sampler.limit["a", "confirm"] = 3
    recorder = Recorder(sampler)
    first = gate(["a", "b"], recorder)
    assert gate(["a", "b"], Replay(recorder.pairs)) == first


def test_stricter_rules_ask_a_recording_for_more_than_it_has_and_are_told_that_there_is_none():
    recorder = Recorder(Script())
    gate(["a"], recorder)
    one = only(gate(["a"], Replay(recorder.pairs), Rules(screen_pairs=4)))
    assert one.reason == "only 2 of 4 screening pairs could be made"


# --- scatter, and what can be detected --------------------------------------------------------------------------------


def test_the_pooled_scatter_is_that_of_pairs_within_their_cells():
    rng = np.random.default_rng(3)
    groups = [(rng.normal(0.2 * i, 0.01, size=2)).tolist() for i in range(400)]
    scatter, freedom = pooled(groups)
    assert freedom == 400
    assert scatter == pytest.approx(0.01, rel=0.1)


def test_one_pair_that_was_held_up_does_not_make_a_gate_look_noisy():
    rng = np.random.default_rng(4)
    groups = rng.normal(0, 0.01, size=(100, 2)).tolist()
    groups[7][0] += 0.8
    assert pooled(groups)[0] == pytest.approx(0.01, rel=0.15)


def test_single_pairs_have_no_scatter():
    assert pooled([[0.1], [0.2], []]) == (0.0, 0)


@pytest.mark.parametrize("scatter", [0.006, 0.012, 0.02, 0.04])
def test_a_slowdown_of_the_detectable_size_is_found_four_times_in_five(scatter):
    # What is asked is what two screening pairs and the usual looks are worth.
    rules = Rules(more_screening=(), looks=tuple(look for look in RULES.looks if look <= RULES.usual_look))
    slower = math.log1p(detectable(scatter, rules, rules.screen_pairs, rules.usual_look))
    found = [
        gate(["a", "b", "c"], Drawn(seed, scatter, {"a": slower}), rules).cells[0].verdict == "regression"
        for seed in range(500)
    ]
    assert 0.72 <= np.mean(found) <= 0.88


def test_more_scatter_hides_more():
    sizes = [detectable(scatter, RULES, 2, 24) for scatter in (0.0, 0.005, 0.02, 0.08)]
    assert sizes == sorted(sizes)
    assert sizes[0] == pytest.approx(RULES.regression, abs=1e-4)
