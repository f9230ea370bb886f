"""Who makes the pairs that a gate asks for: until the time is used up, a side fails, or someone interrupts."""

from __future__ import annotations

import math

import pytest
from builders import a_cell, a_state, an_observation

from bench.gating.pairs import MeasuredPair
from bench.gating.sampling import PATIENCE, Processes, Sides, too_large_for_two
from bench.measure.warm_session import Member
from bench.progress import Progress, Quiet
from bench.records import Pair

CELL = "minilm/fp32/webgpu/b1-s128"


BUSY, QUIET = a_state(other_cpu_percent=60.0), a_state()


class Maker:
    """Stands for a `Pairer`: gives what it is told to, in a state of the machine, and keeps what it was asked."""

    def __init__(self, *values: object, states=()) -> None:
        self.values, self.asked, self.states = list(values), [], list(states)

    def pair(self, base, new, kind, number, *, in_sequence):
        self.asked.append((base, new, kind, number, in_sequence))
        value = self.values.pop(0) if self.values else 0.0
        if isinstance(value, type):
            raise value
        seen = an_observation(base.cells[0], number, state=self.states.pop(0) if self.states else QUIET)
        pair = Pair(base.cells[0].id, kind, number, "now", value, seconds=10.0, failure="x" if value is None else "")
        return MeasuredPair(pair, (seen,), (seen,))


class Clock:
    """A clock that goes on by ten seconds with every pair."""

    def __init__(self, maker: Maker) -> None:
        self.maker = maker

    def __call__(self) -> float:
        return 10.0 * len(self.maker.asked)


def processes(maker: Maker, budget_s: float | None = None, progress: Progress | None = None, **sides):
    noted: list[MeasuredPair] = []
    both = Sides(Member("base", (a_cell(),), "the base's"), Member("new", (a_cell(),), "the new one's"), **sides)
    made = Processes({CELL: both}, maker, noted.append, progress or Quiet(), budget_s, Clock(maker))
    return made, noted


class Lines(Quiet):
    """Keeps the lines that are printed."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def step(self, text: str) -> None:
        self.lines.append(text)


def test_a_pair_is_given_and_noted():
    made, noted = processes(Maker(0.05))
    assert made.pair(CELL, "screen") == 0.05
    assert [one.pair.value for one in noted] == [0.05]


@pytest.mark.parametrize(
    ("times", "shown"), [(2.97, "+197.0 %"), (2.0, "+100.0 %"), (1.004, "+0.4 %"), (0.5, "-50.0 %")]
)
def test_the_line_of_a_pair_is_the_relative_change_and_not_the_logarithm(times, shown):
    lines = Lines()
    made, _ = processes(Maker(math.log(times)), progress=lines)
    made.pair(CELL, "screen")
    assert lines.lines == [f"{CELL}: screen pair 1: {shown}"]


def test_pairs_of_each_kind_are_numbered_from_one():
    maker = Maker()
    made, _ = processes(maker)
    for kind in ("screen", "screen", "confirm", "null"):
        made.pair(CELL, kind)
    assert [(kind, number) for _, _, kind, number, _ in maker.asked] == [
        ("screen", 1),
        ("screen", 2),
        ("confirm", 1),
        ("null", 1),
    ]


def test_a_null_pair_has_the_base_on_both_sides():
    maker = Maker()
    made, _ = processes(maker)
    made.pair(CELL, "null")
    base, new, *_ = maker.asked[0]
    assert (new.name, new.visitor) == ("new", base.visitor)


def test_a_cell_whose_pair_failed_is_not_measured_again():
    maker = Maker(None)
    made, noted = processes(maker)
    assert made.pair(CELL, "screen") is None
    assert made.pair(CELL, "screen") is None
    assert len(maker.asked) == len(noted) == 1
    assert not made.out_of_time


def test_no_pair_is_begun_that_would_end_after_the_time():
    maker = Maker(0.01, 0.01, 0.01)
    made, _ = processes(maker, budget_s=25.0)
    assert [made.pair(CELL, "screen") for _ in range(3)] == [0.01, 0.01, None]
    assert made.out_of_time


def test_an_interruption_ends_the_gate_and_loses_nothing():
    made, noted = processes(Maker(0.01, KeyboardInterrupt))
    assert [made.pair(CELL, "screen") for _ in range(3)] == [0.01, None, None]
    assert made.interrupted
    assert len(noted) == 1


@pytest.mark.parametrize(
    ("peaks", "memory", "too_large"),
    [((6, 7), 20, False), ((6, 10), 20, True), ((None,), 20, False), ((), 20, False)],
)
def test_two_processes_must_fit_into_nine_tenths_of_the_memory(peaks, memory, too_large):
    assert too_large_for_two(peaks, memory) is too_large


def test_cells_too_large_for_two_are_measured_in_sequence():
    maker = Maker()
    made, _ = processes(maker, in_sequence=True)
    made.pair(CELL, "screen")
    assert maker.asked[0][-1] is True


# --- pairs that others disturb ----------------------------------------------------------------------------------------


def test_a_pair_that_others_disturbed_is_set_aside_and_made_again():
    made, noted = processes(Maker(0.3, 0.01, states=[BUSY, QUIET]))
    assert made.pair(CELL, "screen") == 0.01
    assert [(one.pair.value, one.pair.set_aside) for one in noted] == [(0.3, True), (0.01, False)]


def test_a_pair_is_made_again_twice_at_most():
    made, noted = processes(Maker(0.3, 0.2, 0.1, states=[BUSY] * 3))
    assert made.pair(CELL, "screen") == 0.1
    assert [one.pair.set_aside for one in noted] == [True, True, False]


def test_a_machine_that_is_busy_for_good_is_not_waited_for_until_it_is_quiet_again():
    maker = Maker(states=[BUSY] * 30 + [QUIET, BUSY, QUIET])
    made, noted = processes(maker)
    while len(noted) < 31:
        made.pair(CELL, "screen")
    assert sum(one.pair.set_aside for one in noted) == PATIENCE
    made.pair(CELL, "screen")
    assert noted[-2].pair.set_aside, "a quiet pair has shown that waiting is worth it again"


def test_a_pair_that_failed_is_never_set_aside():
    made, noted = processes(Maker(None, states=[BUSY]))
    assert made.pair(CELL, "screen") is None
    assert [one.pair.set_aside for one in noted] == [False]
