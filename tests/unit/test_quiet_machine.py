"""A busy machine is told before times are measured, and waited for where that is wanted."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench.errors import Interrupted
from bench.machine import quiet
from bench.machine.quiet import Busyness, look
from bench.prepare import quiet_machine
from bench.prepare.quiet_machine import busy_text, check_quiet
from bench.progress import Quiet
from bench.records import MachineState

BUSY = Busyness(2, 6.0, 71.6, 6.0)
CALM = Busyness(2, 2.4, 3.0, None)  # the load is that of this program's own builds


class Asked(Quiet):
    """Answers a question, and keeps what was said."""

    def __init__(self, answer: str = "") -> None:
        self.answer, self.asked = answer, 0
        self.steps: list[str] = []

    def step(self, text: str) -> None:
        self.steps.append(text)

    def ask(self, question: str) -> str:
        self.asked += 1
        return self.answer


def checked(progress: Asked, seen: list[Busyness], wait: float | None = None) -> None:
    looks: Iterator[Busyness] = iter(seen)
    check_quiet(2, wait, progress, "bench run --resume RUN", lambda _: next(looks), lambda _: None)


def test_a_quiet_machine_is_no_word_worth():
    progress = Asked("n")
    checked(progress, [CALM])
    assert (progress.steps, progress.asked) == ([], 0)


def test_a_busy_machine_is_told_with_its_load_and_what_others_use():
    assert busy_text(BUSY) == "load 6.0 on 2 cores, others use 78 % of them: figures will scatter"
    assert busy_text(Busyness(8, None, 40.0)) == "others use 40 % of this machine: figures will scatter"


@pytest.mark.parametrize("answer", ["", "y"])
def test_enter_goes_on(answer):
    progress = Asked(answer)
    checked(progress, [BUSY])
    assert (progress.steps, progress.asked) == ([busy_text(BUSY)], 1)


def test_no_ends_the_run_with_the_command_for_later():
    with pytest.raises(Interrupted, match="go on later with: bench run --resume RUN"):
        checked(Asked("No"), [BUSY])


def test_a_wait_ends_after_three_quiet_looks_one_after_another():
    progress = Asked("w")
    checked(progress, [BUSY, BUSY, CALM, CALM, BUSY, CALM, CALM, CALM])
    assert progress.steps[1] == "waiting until the machine is quiet, for at most 30 min 00 s"
    assert progress.steps[-1].startswith("the machine is quiet after")


def test_with_a_time_to_wait_nobody_is_asked_and_a_machine_that_stays_busy_is_measured(monkeypatch):
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr(quiet_machine.time, "monotonic", lambda: next(clock))
    progress = Asked()
    checked(progress, [BUSY] * 50, wait=0.5)
    assert progress.asked == 0
    assert progress.steps[1] == "waiting until the machine is quiet, for at most 30 s"
    assert progress.steps[-1] == "the machine is still busy; measuring all the same"


@pytest.mark.parametrize(
    ("shares", "looks", "busy"), [([2.0], 1, False), ([60.0, 3.0], 2, False), ([60.0, 50.0], 2, True)]
)
def test_what_lasts_for_a_moment_is_looked_at_twice(monkeypatch, shares, looks, busy):
    seen = iter(shares)
    slept: list[float] = []
    state = MachineState(load_1min=1.0, other_cpu_percent=None)
    monkeypatch.setattr(
        quiet, "since", lambda *_: type(state)(load_1min=1.0, other_cpu_percent=next(seen), steal_percent=0.0)
    )
    assert look(2, slept.append).is_busy is busy
    assert len(slept) == looks
