"""Keeps the call of a cell warm in one process, and times bursts of it on request; a gate pairs two of them."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from bench.measure.observations import ReplyMapper, unanswered
from bench.measure.visits import Visitor
from bench.records import Burst, Cell, Failure, Hold, MachineState, Observation, Order
from bench.worker_process import Worker


class Side(Struct, frozen=True):
    """One side of a pair: the cell, and the visitor that starts its workers."""

    name: str
    """`base` or `new`."""
    cell: Cell
    visitor: Visitor


class WarmSession:
    """One process that keeps one call warm. An error sets `failure`, and no burst follows it."""

    def __init__(self, side: Side, number: int) -> None:
        self.side, self.number = side, number
        self.folder = side.visitor.folder(side.cell)
        meter = side.visitor.meter(side.cell)
        self.mapper = ReplyMapper(number, meter)
        self.worker: Worker = side.visitor.worker(side.cell, self.folder)
        meter.watch(self.worker.pid)
        self.mapper.watch(self.worker)
        self.failure: Failure | None = None
        self.state = MachineState()

    def __enter__(self) -> WarmSession:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # On an error or Ctrl-C the call in progress is not waited for.
        if kind is not None:
            self.worker.kill()
        self.worker.close()

    def warm(self) -> bool:
        """Open the session, check the answers and warm up; False where that failed."""
        visitor = self.side.visitor
        order = visitor.order([self.side.cell], self.number, self.folder)
        if self._ask(Hold(order)) and self.mapper.held is None:
            self.failure = unanswered("protocol", "order")
        return self.failure is None

    def burst(self, length_s: float) -> bool:
        """Time one burst of `length_s` seconds; False where that failed."""
        return self._ask(Burst(length_s))

    def _ask(self, order: Order) -> bool:
        if self.failure:
            return False
        for reply in self.worker.ask(order, self.side.visitor.settings.timeout_s):
            observation = self.mapper.take(reply)
            if observation is not None:
                # The first failure is the cause; later ones may follow from it.
                self.failure = self.failure or observation.failure
        return self.failure is None

    @property
    def bursts(self) -> list[tuple[int, ...]]:
        """The calls of each burst, in nanoseconds."""
        return [burst.samples_ns for burst in self.mapper.bursts]

    def observation(self) -> Observation:
        """The observation of the cell, as a round of a run has it; its samples are the calls of the bursts."""
        observation = self.mapper.warm(self.failure, self.state)
        facts = self.side.visitor.found(self.side.cell)
        return replace(observation, cell=self.side.cell.id, notes=(*observation.notes, *facts))
