"""Keeps the workloads of a group warm in one process, and times bursts of them on request."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from bench.measure.observations import ReplyMapper, TimedBurst, explained, unanswered
from bench.measure.visits import Visitor
from bench.records import (
    Burst,
    Bursted,
    Cell,
    Failed,
    Failure,
    Hold,
    MachineState,
    Note,
    Observation,
    Order,
    Profile,
    Visit,
)
from bench.worker_process import Worker


class Member(Struct, frozen=True):
    """One process of a block: cells of one model, precision and target, and the visitor that starts its worker."""

    name: str
    """What the process is called in a block, such as `base` or the id of its group."""
    cells: tuple[Cell, ...]
    visitor: Visitor


class WarmSession:
    """One process that keeps the workloads of a member warm.

    A workload that fails is in `failures`, by the id of its cell, and no burst follows it. `number` is the block.
    """

    def __init__(self, member: Member, number: int, rng: random.Random | None = None) -> None:
        self.member, self.number = member, number
        self.first = member.cells[0]
        self.folder = member.visitor.folder(self.first)
        self.waiting = list(member.cells)
        if rng:
            # Of two workloads in one process the second finds caches that the first has filled.
            rng.shuffle(self.waiting)
        self.failures: dict[str, Failure] = {}
        self.facts: dict[str, tuple[Note, ...]] = {}
        """Notes by cell, that the observations of the cell get."""
        self.bursts: dict[str, list[TimedBurst]] = {}
        """The bursts that count, by cell, one a turn."""
        self.again = 0
        """Bursts that were set aside and made again."""
        self.lost_s = 0.0
        """Seconds of the orders that ended in a failure."""
        self.disturbed: set[tuple[str, int]] = set()
        """The cell and the turn of each burst that counts and was disturbed."""
        self.state = MachineState()
        self.own_cpu_s, self.own_s = 0.0, 0.0
        """CPU and wall seconds of this process's bursts, with what comes before and after the timed calls."""
        self.idle_percent: float | None = None
        self._start()

    def _start(self) -> None:
        visitor = self.member.visitor
        self.began = time.monotonic()
        self.died_working = False
        """Whether the process ended while an order was at work, which the failure of that order says."""
        self.meter = visitor.meter(self.first)
        self.mapper = ReplyMapper(self.number, self.meter)
        self.worker: Worker = visitor.worker(self.first, self.folder)
        self.meter.watch(self.worker.pid)
        self.mapper.watch(self.worker)

    def __enter__(self) -> WarmSession:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # On an error or Ctrl-C the call in progress is not waited for.
        if kind is not None:
            self.worker.kill()
        self.close()

    def close(self) -> None:
        """End the process."""
        self.worker.resume()
        self.worker.close()

    @property
    def warm_cells(self) -> list[Cell]:
        """The cells whose next burst can be timed."""
        held = self.mapper.held if self.worker.alive else {}
        return [cell for cell in self.member.cells if cell.workload in held and cell.id not in self.failures]

    @property
    def failed(self) -> bool:
        """Whether any cell has failed."""
        return bool(self.failures)

    @property
    def failed_whole(self) -> bool:
        """Whether every cell has failed, so that no later block holds the process."""
        return all(cell.id in self.failures for cell in self.member.cells)

    def warm(self) -> bool:
        """Open the session, check the answers of every workload and warm it up; False where one failed.

        A workload that kills the process fails; the others get a fresh process.
        """
        began = time.monotonic()
        self._ask(Hold(self.order(self.waiting)))
        # Without a failure that names a cell, a fresh process would only die again.
        while not self.worker.alive and 0 < len(left := self._left()) < len(self.waiting):
            self.waiting = left
            self.worker.close()
            self._start()
            self._ask(Hold(self.order(self.waiting)))
        for cell in self.waiting:
            if cell.workload not in self.mapper.held:
                self.failures.setdefault(cell.id, unanswered("protocol", "order"))
        if any(not held.idle for held in self.mapper.held.values()):
            # Other processes warm up before its first burst.
            self.worker.suspend()
        if not self.warm_cells:
            self.lost_s += time.monotonic() - began
        return not self.failures

    def look(self) -> None:
        """Note a process that died while it waited, by the kernel or by a thread of its own, as a failure of its cells.

        Bursts that were made before do not count: the cell does not work.
        """
        # After the crash of one workload the others are measured again, in the next block.
        if self.died_working or self.failed_whole or (failure := self.worker.death()) is None:
            return
        for cell in self.member.cells:
            self.failures.setdefault(cell.id, failure)

    def _left(self) -> list[Cell]:
        return [cell for cell in self.waiting if cell.id not in self.failures]

    def burst(self, cell: Cell, turn: int, length_s: float) -> bool:
        """Time one burst of a warm cell, at least `length_s` seconds; False where that failed.

        A second burst of a turn replaces the first.
        """
        started, used_s = time.monotonic(), self.worker.cpu_s()
        self.worker.resume()
        self._ask(Burst(cell.workload, length_s), cell)
        reply = self.mapper.bursted.pop(cell.workload, None)
        if reply is None:
            self.failures.setdefault(cell.id, unanswered("burst", "burst"))
            self.lost_s += time.monotonic() - started
            return False
        self._keep(cell, turn, reply)
        if not reply.idle:
            # Its threads would take a core from the bursts of the other processes.
            self.worker.suspend()
        self.own_s += time.monotonic() - started
        self.own_cpu_s += self.worker.cpu_s() - used_s
        return True

    def _keep(self, cell: Cell, turn: int, reply: Bursted) -> None:
        kept = self.bursts.setdefault(cell.id, [])
        if kept and kept[-1].turn == turn:
            kept.pop()
        kept.append(TimedBurst(turn, reply, self.meter.energy(len(reply.samples_ns))))

    def profile(self) -> None:
        """Profile some calls where the session's nodes are on several providers; this frees the warm workloads."""
        order = self.order(self.member.cells)
        if order.profile and self.worker.alive:
            self.worker.resume()
            # A failure here loses nothing: every burst is made by now.
            for reply in self.worker.ask(Profile(order), self.member.visitor.settings.timeout_s):
                if not isinstance(reply, Failed):
                    self.mapper.take(reply)

    def order(self, cells: Sequence[Cell]) -> Visit:
        """The order that opens this session for some of its cells."""
        return self.member.visitor.order(cells, self.number, self.folder)

    def _ask(self, order: Order, cell: Cell | None = None) -> None:
        """Send an order and take its replies; a failure is that of `cell`, else of the workload that it names."""
        for reply in self.worker.ask(order, self.member.visitor.settings.timeout_s):
            if isinstance(reply, Failed):
                self._fail(reply, cell)
            else:
                self.mapper.take(reply)
        self.died_working = self.died_working or not self.worker.alive

    def _fail(self, reply: Failed, cell: Cell | None) -> None:
        failed = [cell] if cell else [one for one in self.waiting if reply.workload in (None, one.workload)]
        failure = explained(reply.failure, self.member.visitor.shortfalls.get(self.first.group))
        for each in failed:
            # The first failure is the cause; later ones may follow from it.
            self.failures.setdefault(each.id, failure)

    def observations(self) -> list[Observation]:
        """One observation for each cell that failed, or of which at least one burst was made."""
        return [made for cell in self.member.cells if (made := self.observation(cell)) is not None]

    def observation(self, cell: Cell, *, answered: bool = False) -> Observation | None:
        """The observation of a cell, as a block has it; its samples are the calls of the bursts.

        None for a cell that has neither a burst nor a failure, as after a crash of another cell in its process; with
        `answered` a warm cell without a burst has one too.
        """
        failure, bursts = self.failures.get(cell.id), self.bursts.get(cell.id, [])
        if failure is None and not bursts and not (answered and cell.workload in self.mapper.held):
            return None
        observation = self.mapper.failed(failure) if failure else self.mapper.warm(cell.workload, bursts, self.state)
        visitor = self.member.visitor
        results = visitor.starts.get(cell.id)
        notes = (*observation.notes, *visitor.found(cell), *self.facts.get(cell.id, ()))
        return replace(
            observation,
            cell=cell.id,
            notes=(*notes, *results.notes) if results else notes,
            starts=results.starts if results else (),
            idle_cpu_percent=self.idle_percent,
            bursts_set_aside=self.again,
            bursts_disturbed=sum((cell.id, burst.turn) in self.disturbed for burst in bursts) if bursts else None,
            visit_s=round(time.monotonic() - self.began, 3),
        )
