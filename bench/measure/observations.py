"""The replies of one visit in; an observation for each of its workloads, recorded at once, out."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Mapping, Sequence

from msgspec.structs import replace

from bench.machine import state
from bench.machine.energy import Meter
from bench.measure.cold_start import Starts
from bench.records import (
    Cell,
    Failed,
    Failure,
    MachineState,
    Measured,
    Observation,
    Opened,
    Profiled,
    Reply,
    Stage,
    Status,
)
from bench.worker_process import Worker

Record = Callable[[Observation], None]
OF_SIZE: tuple[Status, ...] = ("out-of-memory", "crashed", "failed")
"""How a model ends that is too large for its device."""


class Sheet:
    """Turns the replies of one visit into observations.

    `starts` holds what was seen of a cell's starts before the visit; `shortfall` says by how much the model is expected
    not to fit its device.
    """

    def __init__(
        self,
        cells: Sequence[Cell],
        number: int,
        record: Record,
        meter: Meter,
        starts: Mapping[str, Starts] | None = None,
        shortfall: str | None = None,
    ) -> None:
        self.open = {cell.workload: cell for cell in cells}
        self.number, self.record, self.meter = number, record, meter
        self.starts, self.shortfall = starts or {}, shortfall
        self.started, self.start = now(), time.monotonic()
        self.opened: Opened | None = None
        self.made: list[Observation] = []

    def watch(self, worker: Worker) -> None:
        """From here on the machine's state belongs to the next workload."""
        self.worker, self.before, self.used_s = worker, state.snapshot(), worker.cpu_s()
        self.sensors: state.Sensors | None = None

    def state(self) -> MachineState:
        """What the machine was doing beside the workload that just ended."""
        used_s = max(0.0, self.worker.cpu_s() - self.used_s)  # a dead worker's time is lost
        return state.since(self.before, used_s, self.sensors)

    def take(self, reply: Reply) -> None:
        """Keep what a reply says; a workload that is over becomes an observation."""
        match reply:
            case Stage("burst"):
                self.meter.begin()
            case Stage("parity"):
                self.meter.end()
                self.sensors = state.sensors()  # the burst is over, and its heat and its clock are still there
            case Opened():
                self.opened = reply
            case Measured():
                self.measured(reply)
            case Profiled():
                self.profiled(reply)
            case Failed():
                # A death amid one workload says nothing about the others; one before the first says it of all.
                hit = [reply.workload] if reply.workload in self.open else list(self.open)
                for workload in hit:
                    self.note(workload, Observation("", 0, "", failure=self.told(reply.failure), state=self.state()))
            case _:
                pass

    def measured(self, reply: Measured) -> None:
        """A workload is measured; its meter was read when the burst ended."""
        seen = Observation(
            cell="",
            round=0,
            started="",
            timing=reply.timing,
            parity=reply.parity,
            traits=reply.traits,
            transcript=reply.transcript,
            state=self.state(),
            peak_rss_bytes=reply.peak_rss_bytes,
            device_memory_bytes=self.meter.device_memory_bytes,
            energy=self.meter.energy(len(reply.timing.samples_ns)),
        )
        self.note(reply.workload, seen)

    def profiled(self, reply: Profiled) -> None:
        """A fuller placement comes after the numbers, which are on the disk by then: they are recorded once more.

        Of two observations for one cell and round the last counts, and a death while profiling costs no number.
        """
        for at, seen in enumerate(self.made):
            if seen.failure is None:
                self.made[at] = replace(seen, placement=reply.placement)
                self.record(self.made[at])

    def told(self, failure: Failure) -> Failure:
        """A failure that the model's size explains says by how much it is too large."""
        if self.shortfall is None or failure.status not in OF_SIZE:
            return failure
        return replace(failure, message=f"{self.shortfall}; {failure.message}")

    def note(self, workload: str, seen: Observation) -> None:
        """A workload is over: add what holds for the whole visit, and record it."""
        cell = self.open.pop(workload)
        spent = time.monotonic() - self.start
        seen = replace(seen, cell=cell.id, round=self.number, started=self.started, visit_s=round(spent, 3))
        if self.opened:
            seen = with_session(seen, self.opened)
        if starts := self.starts.get(cell.id):
            seen = replace(seen, starts=starts.seen, notes=(*seen.notes, *starts.notes))
        self.made.append(seen)
        self.record(seen)
        self.start = time.monotonic()
        self.watch(self.worker)

    def unanswered(self) -> None:
        """A worker that ends an order without a word on a workload has a fault; unless others of it were answered."""
        if self.made:
            return
        failure = Failure("failed", "protocol", "protocol", "the worker ended the visit without an answer")
        for workload in list(self.open):
            self.note(workload, Observation("", 0, "", failure=failure))


def with_session(seen: Observation, opened: Opened) -> Observation:
    """What was said of the session; a workload that is refused later keeps it, and so shows where its nodes were."""
    return replace(
        seen,
        placement=opened.placement,
        import_ns=opened.import_ns,
        load_ns=opened.load_ns,
        threads=opened.threads,
        versions=opened.versions,
        notes=opened.notes,
        device=opened.device,
        baseline_rss_bytes=opened.baseline_rss_bytes,
    )


def now() -> str:
    """UTC, ISO 8601."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
