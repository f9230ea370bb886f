"""Minutes on end beside a cell's rounds: the ratio and what it is worth, the flags, and that they are no rounds."""

from __future__ import annotations

import math

import numpy as np
import pytest
from builders import (
    a_cell,
    a_failed,
    a_failure,
    a_generated,
    a_generation,
    a_generator,
    a_parity,
    a_run,
    a_state,
    an_observation,
    rounds_of,
    some_traits,
)
from msgspec.structs import replace
from scipy import stats as reference

from bench.judge.outcome import judge
from bench.judge.sustained import attempts
from bench.records import Minute, Observation, Sustained, note
from bench.report import text_flags

CELL = a_cell()


def minute_of(cell, number, median_ms, *, asked_s=180.0, seconds=60.0, token_ms=None, **said):
    """A minute of a sustained run."""
    ns = int(median_ms * 1e6)
    token_ns = None if token_ms is None else token_ms * 1e6
    minute = Minute(seconds, int(seconds * 1000 / median_ms), ns, ns, ns, (ns,), None, token_ns)
    told = Sustained(asked_s, number, minute)
    return replace(Observation(cell=cell.id, round=0, started="x", sustained=told), **said)


def minutes_of(cell, *medians_ms, **said):
    asked_s = 60.0 * len(medians_ms)
    return [minute_of(cell, n, ms, asked_s=asked_s, **said) for n, ms in enumerate(medians_ms, start=1)]


def judged(*observations, cell=CELL):
    return judge(a_run(cell), observations)[0]


# --- no rounds --------------------------------------------------------------------------------------------------------


def test_minutes_change_nothing_of_what_the_rounds_say():
    rounds = rounds_of(CELL, [2.0, 2.02, 1.98])
    alone, beside = judged(*rounds), judged(*rounds, *minutes_of(CELL, 3.0, 3.0, 3.0))
    assert alone.sustained is None
    assert replace(beside, sustained=None, flags=()) == replace(alone, flags=())
    assert beside.rounds == 3


def test_a_crash_on_end_is_no_failure_of_the_cell():
    crashed = replace(a_failed(CELL, failure=a_failure("crashed", message="died")), sustained=Sustained(180.0, 2))
    outcome = judged(*rounds_of(CELL, [2.0, 2.0, 2.0]), minute_of(CELL, 1, 2.0), crashed)
    assert outcome.status == "ok"
    assert outcome.sustained is not None
    assert len(outcome.sustained.minutes) == 1
    assert outcome.sustained.ended == note("failed", status="crashed", text="died")


def test_a_run_on_end_without_a_minute_has_no_figure():
    crashed = replace(a_failed(CELL, failure=a_failure("timeout", message="no answer")), sustained=Sustained(180.0, 1))
    found = judged(*rounds_of(CELL, [2.0, 2.0, 2.0]), crashed).sustained
    assert found is not None
    assert (found.minutes, found.ratio, found.ratio_to_first) == ((), None, None)
    assert found.ended == note("failed", status="timeout", text="no answer")


def test_what_was_interrupted_says_so():
    found = judged(*rounds_of(CELL, [2.0, 2.0]), *[minute_of(CELL, n, 2.0) for n in (1, 2)]).sustained
    assert found is not None
    assert (found.asked_minutes, found.ended) == (3.0, note("interrupted"))


def test_of_two_attempts_the_last_counts():
    interrupted, whole = [minute_of(CELL, n, 9.0) for n in (1, 2)], minutes_of(CELL, 2.0, 2.0, 2.0)
    assert attempts([*interrupted, *whole])[CELL.id] == tuple(whole)


def test_wrong_answers_have_no_sustained_speed_either():
    wrong = [an_observation(CELL, n, parity=a_parity(cosine=0.5)) for n in range(3)]
    assert judged(*wrong, *minutes_of(CELL, 2.0, 2.0, 2.0)).sustained is None


# --- the ratio --------------------------------------------------------------------------------------------------------


def test_the_ratio_is_the_speed_of_the_last_minute_over_the_rounds():
    found = judged(*rounds_of(CELL, [2.0, 2.0, 2.0]), *minutes_of(CELL, 2.0, 2.1, 2.5)).sustained
    assert found is not None
    assert found.ratio is not None
    assert found.ratio.value == pytest.approx(0.8)
    assert found.ratio_to_first == pytest.approx(0.8)
    assert [minute.latency_ms for minute in found.minutes] == [2.0, 2.1, 2.5]


def test_the_interval_is_where_one_more_round_would_have_come():
    medians = [2.0, 2.05, 1.96, 2.02]
    found = judged(*rounds_of(CELL, medians), *minutes_of(CELL, 2.0)).sustained
    assert found is not None
    assert found.ratio is not None
    logs = np.log(medians)
    margin = reference.t.ppf(0.975, 3) * logs.std(ddof=1) * math.sqrt(1 + 1 / 4)
    assert found.ratio.low == pytest.approx(math.exp(logs.mean() - math.log(2.0) - margin))
    assert found.ratio.high == pytest.approx(math.exp(logs.mean() - math.log(2.0) + margin))


def test_nineteen_in_twenty_processes_that_are_like_the_rounds_show_no_difference():
    rng, inside = np.random.default_rng(7), 0
    for _ in range(400):
        *medians, last = np.exp(rng.normal(math.log(2.0), 0.04, 6))
        found = judged(*rounds_of(CELL, medians), *minutes_of(CELL, last)).sustained
        inside += found.ratio.low <= 1 <= found.ratio.high
    assert inside / 400 == pytest.approx(0.95, abs=0.03)


def test_after_one_round_the_ratio_has_no_ends():
    found = judged(*rounds_of(CELL, [2.0]), *minutes_of(CELL, 2.5)).sustained
    assert found is not None
    assert found.ratio is not None
    assert (found.ratio.value, found.ratio.low, found.ratio.high) == (pytest.approx(0.8), None, None)


def test_a_generator_is_judged_by_its_decoding():
    cell = a_generator()
    rounds = [a_generated(cell, n, generations=[a_generation(token_ms=10.0)]) for n in range(3)]
    found = judged(*rounds, *minutes_of(cell, 900.0, 950.0, token_ms=12.5), cell=cell).sustained
    assert found is not None
    assert found.minutes[-1].decode_tok_s == pytest.approx(80.0)
    assert found.ratio is not None
    assert found.ratio.value == pytest.approx(0.8)


def test_a_batch_decodes_as_many_tokens_at_once():
    cell = a_generator(sizes={"batch": 4, "prompt": 128, "new": 64})
    rounds = [a_generated(cell, n, generations=[a_generation(token_ms=10.0)]) for n in range(3)]
    found = judged(*rounds, *minutes_of(cell, 900.0, token_ms=10.0), cell=cell).sustained
    assert found is not None
    assert found.minutes[0].decode_tok_s == pytest.approx(400.0)
    assert found.ratio is not None
    assert found.ratio.value == pytest.approx(1.0)


# --- flags ------------------------------------------------------------------------------------------------------------


def clocked(*pairs):
    """Minutes of a latency and a clock each."""
    asked_s = 60.0 * len(pairs)
    return [
        minute_of(CELL, n, ms, asked_s=asked_s, state=a_state(frequency_mhz=mhz))
        for n, (ms, mhz) in enumerate(pairs, start=1)
    ]


ROUNDS = rounds_of(CELL, [2.0, 2.01, 1.99], state=a_state(frequency_mhz=3400.0))


def test_a_processor_that_holds_itself_back_in_the_minutes_is_told_with_its_clock():
    outcome = judged(*ROUNDS, *clocked((2.0, 3400.0), (2.2, 3100.0), (2.4, 2900.0)))
    assert outcome.sustained is not None
    told = "the clock fell from 3.4 to 2.9 GHz, while calls became 20 % slower"
    assert [flag.kind for flag in outcome.sustained.flags] == ["throttled"]
    assert text_flags.details(outcome.sustained.flags) == {"throttled": told}
    assert [flag.kind for flag in outcome.flags] == ["throttled"]
    assert text_flags.details(outcome.flags) == {"throttled": f"in the sustained run {told}"}


def test_one_that_did_so_before_the_first_minute_was_over_is_seen_beside_the_rounds():
    outcome = judged(*ROUNDS, *clocked((2.4, 2800.0), (2.4, 2800.0), (2.4, 2800.0)))
    assert text_flags.details(outcome.flags)["throttled"].startswith(
        "in the sustained run since the rounds the clock fell from 3.4 to"
    )


def test_minutes_that_became_slower_under_the_same_clock_were_not_throttled():
    outcome = judged(*ROUNDS, *clocked((2.0, 3400.0), (2.2, 3400.0), (2.4, 3400.0)))
    assert outcome.flags == ()


def test_battery_and_busy_minutes_are_counted():
    states = [a_state(), a_state(on_battery=True), a_state(on_battery=True, other_cpu_percent=30.0)]
    minutes = [minute_of(CELL, n, 2.0, state=state) for n, state in enumerate(states, start=1)]
    found = judged(*ROUNDS, *minutes).sustained
    assert found is not None
    assert text_flags.details(found.flags) == {"busy machine": "in 1 of 3 minutes", "on battery": "in 2 of 3 minutes"}


def test_a_server_that_does_the_work_is_no_other_program():
    cell = a_generator()
    rounds = [a_generated(cell, n, traits=some_traits(counted_by="server")) for n in range(3)]
    minutes = minutes_of(cell, 900.0, token_ms=10.0, state=a_state(other_cpu_percent=95.0))
    found = judged(*rounds, *minutes, cell=cell).sustained
    assert found is not None
    assert found.flags == ()


def test_calls_that_drift_inside_every_burst_make_a_cell_unsteady():
    rising = [int(2e6 * (1 + 0.001 * n)) for n in range(120)]
    outcome = judged(*[an_observation(CELL, n, samples_ns=rising) for n in range(3)])
    assert [flag.kind for flag in outcome.flags] == ["not-steady"]
    assert text_flags.details(outcome.flags)["not steady"].startswith("calls became 7.8 % slower")
