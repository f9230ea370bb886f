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
    Note,
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
"""The statuses that a model too large for its device can have."""


class ReplyMapper:
    """Turns the replies of one worker process into observations; the one place where a reply's fields are copied.

    `number` is the round; `asked_s` is the length of a sustained run, and None for any other order. The observations
    name no cell; the caller that gave the order fills it in.
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
        """Start recording the state of the machine for the next workload or the next minute."""
        self.worker, self.before, self.used_s = worker, state.snapshot(), worker.cpu_s()
        # Forgotten, so that a workload which fails before its burst does not get the readings of the one before it.
        self.sensors: state.Sensors | None = None

    def take(self, reply: Reply) -> Observation | None:
        """The observation that a reply completes; None for a reply that completes none."""
        match reply:
            case Stage("burst"):
                self.meter.begin()
            case Stage("parity"):
                # The meter stops before the answers are checked, so that only timed calls are in the energy.
                self.meter.end()
                self.sensors = state.sensors()  # now, while the heat and the clock of the burst still show
            case Stage("sustain"):
                self.watch(self.worker)  # loading and warm-up do not belong to the first minute
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
        """The observation of a failed order, or of one failed workload."""
        return self._observation(failure=failure, state=self._state())

    def warm(self, failure: Failure | None, beside: MachineState) -> Observation:
        """The observation of a warm session: the calls of its bursts are the samples.

        `beside` is the state of the machine during the bursts. The caller measures it, because it alternates the bursts
        of two sessions.
        """
        if failure or self.held is None:
            return self._observation(failure=failure)
        # The reply `Held` has no samples; the burst replies have them.
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
        """The energy of all bursts whose energy could be read; None without any."""
        if not self.energies:
            return None
        joules, calls = sum(energy.joules for energy in self.energies), sum(energy.calls for energy in self.energies)
        # One process has one meter, so all bursts have the same source.
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
        """One minute of a sustained run; the next one has started already."""
        observation = self._observation(state=self._state())
        # The next minute is measured already, so its state is taken from this moment.
        self.watch(self.worker)
        assert observation.sustained is not None
        return replace(observation, sustained=replace(observation.sustained, minute=reply.minute))

    def _answered(self, reply: Measured | Held, **measured: Any) -> Observation:
        """The observation of a checked and timed workload."""
        return self._observation(
            parity=reply.parity,
            traits=reply.traits,
            transcript=reply.transcript,
            device_memory_bytes=self.meter.device_memory_bytes,
            **measured,
        )

    def _observation(self, **fields: Any) -> Observation:
        """An observation with the facts of its process; a failure after opening has the placement too."""
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
        """The state of the machine during the workload or the minute that just ended."""
        used_s = max(0.0, self.worker.cpu_s() - self.used_s)  # the CPU time of a dead worker reads as 0
        return state.since(self.before, used_s, self.sensors)


class ObservationRecorder:
    """Records the observations of one visit as its replies come, one for each workload, on disk at once.

    `starts` holds the starts of a cell that were measured before the visit. `shortfall` says by how much the model
    exceeds the memory of its device. `facts` are notes that every observation gets.
    """

    def __init__(
        self,
        cells: Sequence[Cell],
        number: int,
        record: Record,
        meter: Meter,
        starts: Mapping[str, StartResults] | None = None,
        shortfall: str | None = None,
        facts: tuple[Note, ...] = (),
    ) -> None:
        self.waiting = {cell.workload: cell for cell in cells}
        self.record = record
        self.mapper = ReplyMapper(number, meter)
        self.starts, self.shortfall, self.facts = starts or {}, shortfall, facts
        self.begun = time.monotonic()
        self.observations: list[Observation] = []

    def watch(self, worker: Worker) -> None:
        """Start recording the state of the machine for the first workload."""
        self.mapper.watch(worker)

    def take(self, reply: Reply) -> None:
        """Process a reply; a workload that is complete becomes an observation."""
        match reply:
            case Profiled():
                self._profiled(reply)
            case Failed():
                # A death during one workload says nothing about the others; a death before the first fails all.
                hit = [reply.workload] if reply.workload in self.waiting else list(self.waiting)
                for workload in hit:
                    self._keep(workload, self.mapper.failed(self._explained(reply.failure)))
            case _:
                observation = self.mapper.take(reply)
                if observation is not None and isinstance(reply, Measured):
                    self._keep(reply.workload, observation)

    def unanswered(self) -> None:
        """Record a failure for every workload if the worker ended the order without any answer."""
        # Some workloads were answered: the visitor measures the others in a fresh process.
        if self.observations:
            return
        failure = unanswered("protocol", "visit")
        for workload in list(self.waiting):
            self._keep(workload, self.mapper.failed(failure))

    def _profiled(self, reply: Profiled) -> None:
        """Record the observations again with the fuller placement that profiling gives.

        The last observation of a cell and a round counts. The numbers were on disk before profiling, so a death while
        profiling loses none.
        """
        for index, observation in enumerate(self.observations):
            if observation.failure is None:
                self.observations[index] = replace(observation, placement=reply.placement)
                # The first record of the visit has the numbers; this one replaces it when the run is read.
                self.record(self.observations[index])

    def _explained(self, failure: Failure) -> Failure:
        """The failure; its message has the shortfall where the size of the model explains it."""
        if self.shortfall is None or failure.status not in SIZE_FAILURES:
            return failure
        return replace(failure, message=f"{self.shortfall}; {failure.message}")

    def _keep(self, workload: str, observation: Observation) -> None:
        """Complete the observation of a workload with the facts of its cell, and record it."""
        cell = self.waiting.pop(workload)
        observation = replace(observation, cell=cell.id, visit_s=round(time.monotonic() - self.begun, 3))
        observation = replace(observation, notes=(*observation.notes, *self.facts))
        if results := self.starts.get(cell.id):
            observation = replace(observation, starts=results.starts, notes=(*observation.notes, *results.notes))
        self.observations.append(observation)
        self.record(observation)
        # All workloads of a visit are in one process: time and state of the next one start here.
        self.begun = time.monotonic()
        self.mapper.watch(self.mapper.worker)


def unanswered(stage: str, order: str) -> Failure:
    """The failure of a worker that ended an order without an answer, at a stage."""
    return Failure("failed", stage, "protocol", f"the worker ended the {order} without an answer")


def now() -> str:
    """The time in UTC, ISO 8601, in seconds."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
