"""A cell and who starts its workers in; a process that keeps the cell's call warm, and what was seen of it, out."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from bench.measure.observations import now, with_session
from bench.measure.visits import Visitor
from bench.records import Burst, Bursted, Cell, Failed, Failure, Held, Hold, MachineState, Observation, Opened, Order
from bench.worker_process import Worker


class Side(Struct, frozen=True):
    """One side of a pair: the cell, and who starts its workers."""

    name: str
    """`base` or `new`."""
    cell: Cell
    visitor: Visitor


class HeldCall:
    """One process that holds one call; whatever goes wrong in it is its `failure`, and then it bursts no more."""

    def __init__(self, side: Side, number: int) -> None:
        self.side, self.number = side, number
        self.folder = side.visitor.folder(side.cell)
        self.worker: Worker = side.visitor.worker(side.cell, self.folder)
        self.started = now()
        self.opened: Opened | None = None
        self.held: Held | None = None
        self.made: list[Bursted] = []
        self.failure: Failure | None = None
        self.state = MachineState()

    def __enter__(self) -> HeldCall:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self.worker.kill()
        self.worker.close()

    def warm(self) -> bool:
        """Open, check and warm up; False where that failed."""
        visitor = self.side.visitor
        order = visitor.order([self.side.cell], self.number, self.folder)
        if self._ask(Hold(order)) and self.held is None:
            self.failure = Failure("failed", "protocol", "protocol", "the worker ended the order without an answer")
        return self.failure is None

    def burst(self, length_s: float) -> bool:
        """One burst more; False where that failed."""
        return self._ask(Burst(length_s))

    def _ask(self, order: Order) -> bool:
        if self.failure:
            return False
        for reply in self.worker.ask(order, self.side.visitor.settings.timeout_s):
            match reply:
                case Opened():
                    self.opened = reply
                case Held():
                    self.held = reply
                case Bursted():
                    self.made.append(reply)
                case Failed():
                    self.failure = self.failure or reply.failure
                case _:
                    pass
        return self.failure is None

    @property
    def bursts(self) -> list[tuple[int, ...]]:
        """Nanoseconds of the calls of each burst."""
        return [one.samples_ns for one in self.made]

    def observation(self) -> Observation:
        """What was seen of the cell, as a round of a run sees it; the bursts' calls are its samples."""
        seen = Observation(cell=self.side.cell.id, round=self.number, started=self.started, failure=self.failure)
        if self.opened:
            seen = with_session(seen, self.opened)
        if self.failure or self.held is None:
            return seen
        timing = replace(
            self.held.timing,
            samples_ns=tuple(sample for burst in self.bursts for sample in burst),
            burst_calls=tuple(len(burst) for burst in self.bursts),
            generations=tuple(made for one in self.made for made in one.generations),
        )
        return replace(
            seen,
            timing=timing,
            parity=self.held.parity,
            traits=self.held.traits,
            transcript=self.held.transcript,
            state=self.state,
            peak_rss_bytes=max((one.peak_rss_bytes for one in self.made), default=None),
        )
