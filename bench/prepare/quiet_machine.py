"""Says before times are measured what a busy machine costs, and waits until it is quiet where that is wanted."""

from __future__ import annotations

import time
from collections.abc import Callable

from bench.errors import Interrupted
from bench.machine.quiet import Busyness, look
from bench.progress import Progress, duration

PAUSE_S = 4.0
QUIET_LOOKS = 3
"""How many looks one after another must be quiet: between two compilations a machine is quiet for a moment."""
MOST_WAIT_MINUTES = 30.0
"""How long is waited where the user does not say how long."""
QUESTION = "Enter: go on, w: wait until it is quiet, n: stop"


def check_quiet(
    cores: float,
    wait_minutes: float | None,
    progress: Progress,
    resume: str = "",
    look_at: Callable[[float], Busyness] = look,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Say what a busy machine costs; ask at a terminal whether to go on, or wait for at most `wait_minutes`.

    Without a terminal it goes on. Raises `Interrupted` where the user does not go on; `resume` is how to do so later.
    """
    seen = look_at(cores)
    if not seen.is_busy:
        return
    progress.step(busy_text(seen))
    if wait_minutes is None:
        answer = progress.ask(QUESTION).strip().lower()
        if answer.startswith("n"):
            hint = f"go on later with: {resume}" if resume else "start it again when the machine is quiet"
            raise Interrupted("not measured, since the machine is busy", hint)
        if not answer.startswith("w"):
            return
    _wait(cores, MOST_WAIT_MINUTES if wait_minutes is None else wait_minutes, progress, look_at, sleep)


def busy_text(seen: Busyness) -> str:
    """`load 6.0 on 2 cores, others use 78 % of them: figures will scatter`."""
    load = "" if seen.load_1min is None else f"load {seen.load_1min:.1f} on {seen.cores:g} cores, "
    return f"{load}others use {seen.taken_percent:.0f} % of {'them' if load else 'this machine'}: figures will scatter"


def _wait(
    cores: float,
    minutes: float,
    progress: Progress,
    look_at: Callable[[float], Busyness],
    sleep: Callable[[float], None],
) -> None:
    progress.step(f"waiting until the machine is quiet, for at most {duration(minutes * 60)}")
    progress.detail("waiting until the machine is quiet")
    began, end = time.monotonic(), time.monotonic() + minutes * 60
    quiet = 0
    while quiet < QUIET_LOOKS:
        if time.monotonic() >= end:
            progress.step("the machine is still busy; measuring all the same")
            return
        sleep(PAUSE_S)
        quiet = 0 if look_at(cores).is_busy else quiet + 1
    progress.step(f"the machine is quiet after {duration(time.monotonic() - began)}")
