"""Minutes on end against a clock that tells what the test wants, and their bounded memory."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable
from functools import partial
from itertools import chain, repeat

import numpy as np
import pytest
from builders import an_effort
from hypothesis import given
from hypothesis import strategies as st

from bench.records import Minute
from bench.worker import sustained, timing
from bench.worker.generation import Recorder
from bench.worker.sustained import MinuteCalls, generated_minutes, minutes

MS = 1_000_000


class Model:
    """A call that takes the next of the times given, on a clock of its own."""

    def __init__(self, times_ns: Iterable[int]) -> None:
        self.times = iter(times_ns)
        self.now_ns = 0

    def __call__(self) -> None:
        self.now_ns += next(self.times)

    def clock(self) -> int:
        return self.now_ns


def lasted(times_ns: Iterable[int], *ends_s: float) -> list[Minute]:
    model = Model(times_ns)
    return list(minutes(partial(timing.burst, model, clock=model.clock), ends_s, model.clock))


def test_each_minute_has_its_calls_and_its_median():
    found = lasted(chain(repeat(100 * MS, 600), repeat(125 * MS)), 60, 120)
    assert [(m.calls, m.median_ns, m.seconds) for m in found] == [(600, 100 * MS, 60.0), (480, 125 * MS, 60.0)]


def test_a_minute_that_a_call_runs_over_is_longer_and_the_next_one_is_shorter():
    found = lasted(repeat(7000 * MS), 60, 120)
    assert [(m.calls, m.seconds) for m in found] == [(9, 63.0), (9, 63.0)]
    found = lasted(repeat(7000 * MS), 60, 120, 180)
    assert [m.seconds for m in found] == [63.0, 63.0, 56.0]


def test_a_call_longer_than_a_minute_is_a_minute_and_the_run_lasts_as_long_as_it_must():
    found = lasted(repeat(150_000 * MS), 60, 120, 180, 240)
    assert [(m.calls, m.seconds) for m in found] == [(1, 150.0), (1, 150.0)]


@given(call_ms=st.integers(5, 20_000), count=st.integers(1, 6))
def test_the_minutes_together_last_as_long_as_was_asked(call_ms, count):
    found = lasted(repeat(call_ms * MS), *(60.0 * n for n in range(1, count + 1)))
    assert 60 * count <= sum(m.seconds for m in found) < 60 * count + call_ms / 1000
    assert sum(m.calls for m in found) * call_ms == pytest.approx(1000 * sum(m.seconds for m in found))


def test_each_minute_is_told_when_it_is_over_and_not_at_the_end():
    model = Model(chain(repeat(100 * MS, 700)))
    going = minutes(partial(timing.burst, model, clock=model.clock), (60, 120), model.clock)
    assert next(going).calls == 600
    with pytest.raises(RuntimeError):  # the model's times are over amid the second minute
        next(going)


def test_the_collector_rests_while_calls_are_made_and_works_again_after_a_failure():
    states: list[bool] = []
    model = Model([100 * MS] * 20)

    def call() -> None:
        states.append(gc.isenabled())
        model()

    with pytest.raises(RuntimeError):
        list(minutes(partial(timing.burst, call, clock=model.clock), (60,), model.clock))
    assert set(states) == {False}
    assert gc.isenabled()


# --- bounded memory ---------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 300), min_size=1, max_size=40))
def test_what_is_kept_is_every_so_manieth_call_and_bounded(lengths):
    kept, made = MinuteCalls(limit=64), 0
    for length in lengths:
        kept.add(list(range(made, made + length)))
        made += length
    assert kept.calls == made
    assert len(kept.samples) <= 64
    assert kept.samples == list(range(0, made, kept.step))
    assert made <= 64 or len(kept.samples) > 32


def test_the_median_of_a_million_calls_is_that_of_all_of_them():
    kept, rng = MinuteCalls(), np.random.default_rng(0)
    every = rng.normal(4000, 400, 1_000_000).astype(int)
    for part in np.split(every, 20):
        kept.add(part.tolist())
    minute = kept.minute(60.0)
    assert minute.calls == 1_000_000
    assert minute.median_ns == pytest.approx(np.median(every), rel=0.002)
    assert (minute.p10_ns, minute.p90_ns) == pytest.approx(tuple(np.percentile(every, [10, 90])), rel=0.002)
    assert len(minute.samples_ns) == sustained.RECORDED_CALLS


def test_the_record_keeps_a_sample_from_the_whole_minute():
    kept = MinuteCalls()
    kept.add(list(range(1000)))
    sample = kept.minute(60.0).samples_ns
    assert (sample[0], sample[-1], len(sample)) == (0, 999, sustained.RECORDED_CALLS)
    assert list(sample) == sorted(sample)


# --- models that generate ---------------------------------------------------------------------------------------------


class Straw:
    """A stream of four tokens: 50 ms to the first, then ten each, or what the clock was told."""

    encode_ns = tokens = prompt_tokens = None

    def __init__(self, advance: Callable[[float], None], step_ms: float) -> None:
        self.advance, self.step_ms = advance, step_ms

    def __iter__(self):
        for number in range(4):
            self.advance(50 if number == 0 else self.step_ms)
            yield np.array([number])


class Generator:
    """Slows down after half a minute."""

    def __init__(self) -> None:
        self.now_ns = 0

    def clock(self) -> int:
        return self.now_ns

    def advance(self, ms: float) -> None:
        self.now_ns += int(ms * MS)

    def begin(self, feed, new):
        return Straw(self.advance, 10 if self.now_ns < 61_000 * MS else 15)


def test_a_generator_has_the_time_to_its_first_token_and_of_a_later_one_by_minute():
    generator = Generator()
    run = Recorder(generator, {}, 4, generator.clock)
    found = list(generated_minutes(run, an_effort(warmup_calls=2, warmup_s=0.5, warmup_limit_s=1.0), (60, 120)))
    assert [(m.first_ns, m.token_ns) for m in found] == [(50 * MS, 10 * MS), (50 * MS, 15 * MS)]
    assert [m.calls for m in found] == [750, pytest.approx(60_000 / 95, abs=2)]
