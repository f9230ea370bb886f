"""Timed generations of an engine whose clock the test holds."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from builders import an_effort

from bench.worker import generation, timing
from bench.worker.generation import Recorder

MS = 1_000_000
FEED = {"input_ids": np.zeros((1, 8), np.int64)}


class AStream:
    """Steps that take the times that the engine was given."""

    encode_ns: int | None = None
    tokens: int | None = None
    prompt_tokens: int | None = None

    def __init__(self, engine: AnEngine, times_ns: list[int]) -> None:
        self.engine, self.times_ns = engine, times_ns

    def __iter__(self) -> Iterator[np.ndarray | None]:
        for number, time_ns in enumerate(self.times_ns):
            self.engine.now += time_ns
            yield np.array([number]) if self.engine.sees_tokens else None
        self.encode_ns, self.tokens, self.prompt_tokens = self.engine.told


class AnEngine:
    """Each generation takes the next of `times`, and the last of them for ever; setting one up takes a second."""

    def __init__(self, *times: list[int], sees_tokens: bool = True, told=(None, None, None)) -> None:
        self.times, self.sees_tokens, self.told = list(times), sees_tokens, told
        self.now, self.begun = 0, 0

    def clock(self) -> int:
        return self.now

    def begin(self, feed, new) -> AStream:
        self.now += 1000 * MS
        self.begun += 1
        return AStream(self, self.times.pop(0) if len(self.times) > 1 else self.times[0])


def a_recorder(engine: AnEngine, new: int = 3) -> Recorder:
    return Recorder(engine, FEED, new, engine.clock)


def test_setting_a_generation_up_is_not_timed():
    engine = AnEngine([30 * MS, 5 * MS, 6 * MS])
    assert a_recorder(engine)() == 41 * MS


def test_the_first_step_holds_prefill_and_each_later_one_is_a_token():
    engine = AnEngine([30 * MS, 5 * MS, 6 * MS])
    run = a_recorder(engine)
    run()
    assert run.generations[0].first_ns == 30 * MS
    assert run.generations[0].token_ns == (5 * MS, 6 * MS)
    assert run.generations[0].tokens == 3


def test_what_the_engine_counted_outweighs_the_number_of_steps():
    engine = AnEngine([30 * MS, 5 * MS], told=(20 * MS, 7, 11))
    run = a_recorder(engine)
    run()
    made = run.generations[0]
    assert (made.encode_ns, made.tokens, made.prompt_tokens) == (20 * MS, 7, 11)


def test_tokens_are_kept_row_by_row_and_are_none_where_the_engine_sees_none():
    seeing, blind = a_recorder(AnEngine([1, 1, 1])), a_recorder(AnEngine([1, 1], sees_tokens=False))
    seeing()
    blind()
    assert seeing.tokens.tolist() == [[0, 1, 2]]
    assert blind.tokens is None


def test_a_generation_of_nothing_is_an_error():
    with pytest.raises(RuntimeError, match="generated nothing"):
        a_recorder(AnEngine([]))()


def test_a_burst_takes_whole_generations_until_they_fill_its_time_and_one_at_least():
    run = a_recorder(AnEngine([30 * MS, 6 * MS, 6 * MS]))
    assert generation.burst(run, 100 * MS) == [42 * MS] * 3
    assert [one.total_ns for one in run.generations] == [42 * MS] * 3
    assert generation.burst(run, 0) == [42 * MS]


def test_slow_generations_are_warmed_up_by_the_first_and_one_more():
    run = a_recorder(AnEngine([900 * MS, 90 * MS]))
    effort = an_effort(warmup_calls=5, warmup_s=0.3, warmup_limit_s=10.0)
    seen = timing.warmed(run, effort, run.clock, slow_calls=generation.WARM_GENERATIONS)
    assert seen.steady
    assert len(seen.warmup_ns) == generation.WARM_GENERATIONS - 1


def test_a_record_keeps_the_first_thousand_generations_of_a_warm_up():
    run = a_recorder(AnEngine([1, 1]))
    effort = an_effort(warmup_calls=5000, warmup_s=0.0, warmup_limit_s=10_000.0)
    assert len(timing.warmed(run, effort, run.clock).warmup_ns) == timing.KEPT_WARMUP
