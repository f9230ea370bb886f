"""Turns the replies of workers into observations: one mapper for visits, warm sessions and sustained runs."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from bench.machine import state
from bench.machine.energy import Meter
from bench.measure.cold_start import StartResults
from bench.records import (
    Bursted,
    Cell,
    Energy,
    Failed,
    Failure,
    Held,
    Lasted,
    MachineState,
    Measured,
    Observation,
    Opened,
    Profiled,
    Reply,
    Stage,
    Status,
    Sustained,
)
from bench.worker_process import Worker

Record = Callable[[Observation], None]
SIZE_FAILURES: tuple[Status, ...] = ("out-of-memory", "crashed", "failed")
"""How a model ends that is too large for its device."""


class ReplyMapper:
    """Turns the replies of one worker process into observations; the one place where a reply's fields are copied.

    `number` is the round; `asked_s` is the length of a sustained run, and None for any other order. The observations
    name no cell: who gave the order knows which one it was.
    """

    def __init__(self, number: int, meter: Meter, asked_s: float | None = None) -> None:
        self.number, self.meter, self.asked_s = number, meter, asked_s
        self.started = now()
        self.opened: Opened | None = None
        self.held: Held | None = None
        self.bursts: list[Bursted] = []
        self.energies: list[Energy] = []
        self.minutes = 0

    def watch(self, worker: Worker) -> None:
        """From here on the machine's state belongs to the next workload, or to the next minute."""
        self.worker, self.before, self.used_s = worker, state.snapshot(), worker.cpu_s()
        self.sensors: state.Sensors | None = None

    def take(self, reply: Reply) -> Observation | None:
        """The observation that a reply completes; None for a reply that completes none."""
        match reply:
            case Stage("burst"):
                self.meter.begin()
            case Stage("parity"):
                self.meter.end()
                self.sensors = state.sensors()  # the burst is over, and its heat and its clock are still there
            case Stage("sustain"):
                self.watch(self.worker)  # loading and warming up are no part of the first minute
            case Opened():
                self.opened = reply
            case Held():
                self.held = reply
            case Bursted():
                self._burst(reply)
            case Measured():
                return self._measured(reply)
            case Lasted():
                return self._minute(reply)
            case Failed():
                return self.failed(reply.failure)
            case _:
                pass
        return None

    def failed(self, failure: Failure) -> Observation:
        """The observation of an order, or of one workload of it, that went wrong."""
        return self._observation(failure=failure, state=self._state())

    def warm(self, failure: Failure | None, beside: MachineState) -> Observation:
        """The observation of a warm session: the calls of its bursts are the samples.

        `beside` is what the machine did while the session burst; it is measured by who makes sessions burst in turn.
        """
        if failure or self.held is None:
            return self._observation(failure=failure)
        timing = replace(
            self.held.timing,
            samples_ns=tuple(sample for burst in self.bursts for sample in burst.samples_ns),
            burst_calls=tuple(len(burst.samples_ns) for burst in self.bursts),
            generations=tuple(generation for burst in self.bursts for generation in burst.generations),
        )
        peak = max((burst.peak_rss_bytes for burst in self.bursts), default=None)
        return self._answered(self.held, timing=timing, state=beside, peak_rss_bytes=peak, energy=self._total_energy())

    def _burst(self, reply: Bursted) -> None:
        self.meter.end()
        self.bursts.append(reply)
        if energy := self.meter.energy(len(reply.samples_ns)):
            self.energies.append(energy)

    def _total_energy(self) -> Energy | None:
        """Over the bursts whose energy could be read."""
        if not self.energies:
            return None
        joules, calls = sum(energy.joules for energy in self.energies), sum(energy.calls for energy in self.energies)
        return Energy(joules, calls, self.energies[0].source)

    def _measured(self, reply: Measured) -> Observation:
        """One workload of a visit; the meter was read when its burst ended."""
        return self._answered(
            reply,
            timing=reply.timing,
            state=self._state(),
            peak_rss_bytes=reply.peak_rss_bytes,
            energy=self.meter.energy(len(reply.timing.samples_ns)),
        )

    def _minute(self, reply: Lasted) -> Observation:
        """One minute of a sustained run; the next one is under way."""
        observation = self._observation(state=self._state())
        self.watch(self.worker)
        assert observation.sustained is not None
        return replace(observation, sustained=replace(observation.sustained, minute=reply.minute))

    def _answered(self, reply: Measured | Held, **measured: Any) -> Observation:
        """What every checked and timed workload has."""
        return self._observation(
            parity=reply.parity,
            traits=reply.traits,
            transcript=reply.transcript,
            device_memory_bytes=self.meter.device_memory_bytes,
            **measured,
        )

    def _observation(self, **fields: Any) -> Observation:
        """An observation with what is known of its process; a refusal after opening shows where the nodes were."""
        if self.asked_s is not None:
            self.minutes += 1
            fields["sustained"] = Sustained(asked_s=self.asked_s, number=self.minutes)
        if opened := self.opened:
            fields |= {
                "placement": opened.placement,
                "import_ns": opened.import_ns,
                "load_ns": opened.load_ns,
                "threads": opened.threads,
                "versions": opened.versions,
                "notes": opened.notes,
                "device": opened.device,
                "baseline_rss_bytes": opened.baseline_rss_bytes,
            }
        return Observation(cell="", round=self.number, started=self.started, **fields)

    def _state(self) -> MachineState:
        """What the machine was doing beside the workload, or the minute, that just ended."""
        used_s = max(0.0, self.worker.cpu_s() - self.used_s)  # a dead worker's time is lost
        return state.since(self.before, used_s, self.sensors)


class ObservationRecorder:
    """Records the observations of one visit as its replies come: one for each workload, on the disk at once.

    `starts` holds what was seen of a cell's starts before the visit; `shortfall` says by how much the model is expected
    not to fit its device.
    """

    def __init__(
        self,
        cells: Sequence[Cell],
        number: int,
        record: Record,
        meter: Meter,
        starts: Mapping[str, StartResults] | None = None,
        shortfall: str | None = None,
    ) -> None:
        self.waiting = {cell.workload: cell for cell in cells}
        self.record = record
        self.mapper = ReplyMapper(number, meter)
        self.starts, self.shortfall = starts or {}, shortfall
        self.begun = time.monotonic()
        self.observations: list[Observation] = []

    def watch(self, worker: Worker) -> None:
        """From here on the machine's state belongs to the first workload."""
        self.mapper.watch(worker)

    def take(self, reply: Reply) -> None:
        """Keep what a reply says; a workload that is over becomes an observation."""
        match reply:
            case Profiled():
                self._profiled(reply)
            case Failed():
                # A death amid one workload says nothing about the others; one before the first says it of all.
                hit = [reply.workload] if reply.workload in self.waiting else list(self.waiting)
                for workload in hit:
                    self._keep(workload, self.mapper.failed(self._explained(reply.failure)))
            case _:
                observation = self.mapper.take(reply)
                if observation is not None and isinstance(reply, Measured):
                    self._keep(reply.workload, observation)

    def unanswered(self) -> None:
        """A worker that ends an order without a word on a workload has a fault; unless others of it were answered."""
        if self.observations:
            return
        failure = unanswered("protocol", "visit")
        for workload in list(self.waiting):
            self._keep(workload, self.mapper.failed(failure))

    def _profiled(self, reply: Profiled) -> None:
        """A fuller placement comes after the numbers, which are on the disk by then: they are recorded once more.

        Of two observations for one cell and round the last counts, and a death while profiling costs no number.
        """
        for index, observation in enumerate(self.observations):
            if observation.failure is None:
                self.observations[index] = replace(observation, placement=reply.placement)
                self.record(self.observations[index])

    def _explained(self, failure: Failure) -> Failure:
        """A failure that the model's size explains says by how much it is too large."""
        if self.shortfall is None or failure.status not in SIZE_FAILURES:
            return failure
        return replace(failure, message=f"{self.shortfall}; {failure.message}")

    def _keep(self, workload: str, observation: Observation) -> None:
        """A workload is over: add what holds for its cell, and record it."""
        cell = self.waiting.pop(workload)
        observation = replace(observation, cell=cell.id, visit_s=round(time.monotonic() - self.begun, 3))
        if results := self.starts.get(cell.id):
            observation = replace(observation, starts=results.starts, notes=(*observation.notes, *results.notes))
        self.observations.append(observation)
        self.record(observation)
        self.begun = time.monotonic()
        self.mapper.watch(self.mapper.worker)


def unanswered(stage: str, order: str) -> Failure:
    """The failure of a worker that ended an order without an answer."""
    return Failure("failed", stage, "protocol", f"the worker ended the {order} without an answer")


def now() -> str:
    """UTC, ISO 8601."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
