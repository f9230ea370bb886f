"""Measures a block: one fresh process for each member, all warm, whose bursts alternate in random order.

A change of the machine's speed affects all members equally, since their bursts of one turn are made within seconds. A
pair of a gate is a block of two. If two processes do not fit into memory, four run in sequence: base, new, new, base.
This order still cancels a steady drift.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence

from msgspec import Struct

from bench.machine import state
from bench.measure.warm_session import Member, WarmSession
from bench.records import Cell, MachineState
from bench.shared import busy

AGAIN_SHARE = 0.5
"""Bursts that are made again, as a share of all: a machine that is always busy must not hold up a block."""
PATIENCE = 6
"""After so many disturbed bursts in a row the machine counts as always busy: none is set aside until it is quiet."""
TURNS_S = 32.0
"""Seconds of the bursts of a block, where long calls would make its turns take longer: opening its processes takes as
long, and another block tells more than another turn."""
LEAST_TURNS = 2
"""Turns of a block whose calls take long: the calls are long enough to average over short disturbances."""

ROUNDING_S = 1e-6

Burst = tuple[WarmSession, Cell]
Warmed = Callable[[list[WarmSession]], None]
"""Called with the sessions so far when the last of them is warm; it may replace some of them."""


class Bursts(Struct, frozen=True):
    """How the bursts of a block are made."""

    turns: int
    length_s: float
    limit_s: float | None = None
    """Turns that would end later than this after the first began are left out, but for `LEAST_TURNS`; None: never."""
    all_or_none: bool = False
    """Whether no burst is made where a member failed, because only the ratio of all is of use."""
    set_aside: bool = True
    """Whether disturbed bursts are made again."""


class Block(Struct, frozen=True):
    """The sessions of a block after their bursts, ended, and the order of the bursts that count."""

    sessions: tuple[WarmSession, ...]
    order: tuple[Burst, ...]
    seconds: float


def measure_block(
    members: Sequence[Member],
    number: int,
    bursts: Bursts,
    rng: random.Random,
    warmed: Warmed | None = None,
    opening: Callable[[Member], None] = lambda _: None,
) -> Block:
    """Start a process for each member, warm all of them, and let their bursts alternate; ends the processes.

    `opening` is called before each process starts, which may take a minute.
    """
    started = time.monotonic()
    sessions: list[WarmSession] = []
    try:
        for member in rng.sample(list(members), len(members)):
            opening(member)
            sessions.append(WarmSession(member, number, rng))
            sessions[-1].warm()
            if warmed:
                warmed(sessions)
        failed = any(session.failed for session in sessions)
        order = _Turns(sessions, bursts, rng).make() if not (bursts.all_or_none and failed) else ()
        for session in sessions:
            session.profile()
    except BaseException:
        # On an error or Ctrl-C the call in progress is not waited for.
        for session in sessions:
            session.worker.kill()
        raise
    finally:
        for session in sessions:
            session.close()
    return Block(tuple(sessions), order, round(time.monotonic() - started, 3))


def measure_in_sequence(
    first: Member, second: Member, number: int, bursts: Bursts, rng: random.Random, *, numbered_apart: bool = False
) -> Block:
    """Run four processes one after another: first, second, second, first, each with half of the bursts.

    The symmetric order gives both members the same mean position in time. With `numbered_apart` the second half is a
    block of its own, with the next number.
    """
    started = time.monotonic()
    sessions: list[WarmSession] = []
    order: list[Burst] = []
    for index, member in enumerate((first, second, second, first)):
        # What failed once would fail again: the other member is still measured.
        if any(session.member is member and not session.bursts for session in sessions):
            continue
        with WarmSession(member, number + (numbered_apart and index > 1), rng) as session:
            sessions.append(session)
            # Without this process there is no ratio, so the remaining ones are not started.
            if not session.warm() and bursts.all_or_none:
                break
            half = Bursts(max(1, bursts.turns // 2), bursts.length_s, bursts.limit_s, set_aside=False)
            order += _Turns([session], half, rng).make()
            session.profile()
    return Block(tuple(sessions), tuple(order), round(time.monotonic() - started, 3))


class _Turns:
    """The turns of a block: in each, every warm cell makes one burst, in an order drawn anew."""

    def __init__(self, sessions: Sequence[WarmSession], bursts: Bursts, rng: random.Random) -> None:
        self.sessions, self.bursts, self.rng = sessions, bursts, rng
        self.order: list[Burst] = []
        self.disturbed = 0
        """Disturbed bursts in a row."""
        self.may_repeat = 0

    def make(self) -> tuple[Burst, ...]:
        """Make the bursts; the sessions get the state of the machine meanwhile."""
        due = [(session, cell) for session in self.sessions for cell in session.warm_cells]
        self.may_repeat = int(AGAIN_SHARE * len(due) * self.bursts.turns)
        began = time.monotonic()
        with _Watch(self.sessions):
            for turn in range(self.bursts.turns):
                self._turn(turn)
                if self._is_over(turn + 1, time.monotonic() - began):
                    break
        for session in self.sessions:
            session.look()
        return tuple(self.order)

    def _turn(self, turn: int) -> None:
        for session in self.sessions:
            session.look()
        # Drawn anew in each turn, so that no cell always runs after the same other.
        due = [(session, cell) for session in self.sessions for cell in session.warm_cells]
        self.rng.shuffle(due)
        again: list[Burst] = []
        for session, cell in due:
            if self._burst(session, cell, turn):
                again.append((session, cell))
        for session, cell in again:
            session.again += 1
            self._burst(session, cell, turn, repeated=True)

    def _burst(self, session: WarmSession, cell: Cell, turn: int, *, repeated: bool = False) -> bool:
        """Make one burst; True where it was disturbed and is to be made again."""
        # An earlier burst of this turn may have ended the process.
        if cell not in session.warm_cells:
            return False
        before, used_s = state.snapshot(), self._cpu_s()
        if not session.burst(cell, turn, self.bursts.length_s):
            return False
        if not repeated:
            self.order.append((session, cell))
        load = state.load_since(before, max(0.0, self._cpu_s() - used_s))
        disturbed = load.other_cpu_percent > busy.BURST_CPU_PERCENT or load.steal_percent > busy.BURST_STEAL_PERCENT
        self.disturbed = self.disturbed + 1 if disturbed else 0
        (session.disturbed.add if disturbed else session.disturbed.discard)((cell.id, turn))
        # Only the machine's state decides this, never the burst's times, so that no cell has an advantage.
        if not disturbed or repeated or not self.bursts.set_aside or self.disturbed > PATIENCE or not self.may_repeat:
            return False
        self.may_repeat -= 1
        return True

    def _cpu_s(self) -> float:
        return sum(session.worker.cpu_s() for session in self.sessions)

    def _is_over(self, turns: int, took_s: float) -> bool:
        limit_s = self.bursts.limit_s
        return limit_s is not None and turns >= LEAST_TURNS and took_s * (turns + 1) / turns > limit_s


class _Watch:
    """Records the state of the machine during the bursts of some workers, and what the idle ones among them used.

    The processor time of the workers themselves is subtracted, so that only the load of others counts.
    """

    def __init__(self, sessions: Sequence[WarmSession]) -> None:
        self.sessions = sessions

    def __enter__(self) -> None:
        self.began = time.monotonic()
        self.used_s = [session.worker.cpu_s() for session in self.sessions]
        self.before = state.snapshot()

    def __exit__(self, *_: object) -> None:
        seconds = time.monotonic() - self.began
        used = [session.worker.cpu_s() - before for session, before in zip(self.sessions, self.used_s, strict=True)]
        machine_state: MachineState = state.since(self.before, max(0.0, sum(used)))
        for session, used_s in zip(self.sessions, used, strict=True):
            session.state = machine_state
            idle_s = seconds - session.own_s
            idle_used_s = used_s - session.own_cpu_s
            # The CPU time of a dead worker reads as 0. The sum of differences may be off by a rounding of floats.
            if idle_s > 0 and idle_used_s > -ROUNDING_S and len(self.sessions) > 1:
                session.idle_percent = round(100 * max(0.0, idle_used_s) / idle_s, 2)
