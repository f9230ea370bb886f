"""Turns the replies of workers into observations: one mapper for blocks, pairs and sustained runs."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from bench.machine import state
from bench.machine.energy import Meter
from bench.records import (
    Bursted,
    Energy,
    Failed,
    Failure,
    Held,
    Lasted,
    MachineState,
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


class TimedBurst(Struct, frozen=True):
    """A burst of a workload, the turn of its block that it was made in, and its energy where it can be read."""

    turn: int
    reply: Bursted
    energy: Energy | None


class ReplyMapper:
    """Turns the replies of one worker process into observations; the one place where a reply's fields are copied.

    `number` is the block; `asked_s` is the length of a sustained run, and None for any other order. The observations
    name no cell; the caller that gave the order fills it in.
    """

    def __init__(self, number: int, meter: Meter, asked_s: float | None = None) -> None:
        self.number, self.meter, self.asked_s = number, meter, asked_s
        self.started = now()
        self.opened: Opened | None = None
        self.held: dict[str, Held] = {}
        """By workload."""
        self.bursted: dict[str, Bursted] = {}
        """The last burst of each workload."""
        self.minutes = 0

    def watch(self, worker: Worker) -> None:
        """Start recording the state of the machine for the next minute."""
        self.worker, self.before, self.used_s = worker, state.snapshot(), worker.cpu_s()

    def take(self, reply: Reply) -> Observation | None:
        """The observation that a reply completes; None for a reply that completes none."""
        match reply:
            case Stage("burst"):
                self.meter.begin()
            case Stage("idle"):
                # Here, so that only timed calls are in the energy.
                self.meter.end()
            case Stage("sustain"):
                self.watch(self.worker)  # loading and warm-up do not belong to the first minute
            case Opened():
                self.opened = reply
            case Held():
                self.held[reply.workload] = reply
            case Bursted():
                self.bursted[reply.workload] = reply
            case Profiled():
                if self.opened:
                    self.opened = replace(self.opened, placement=reply.placement)
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

    def warm(self, workload: str, bursts: Sequence[TimedBurst], beside: MachineState) -> Observation:
        """The observation of a warm workload: the calls of its bursts are the samples.

        `beside` is the state of the machine during the bursts. The caller measures it, because it alternates the bursts
        of several processes.
        """
        held = self.held[workload]
        replies = [burst.reply for burst in bursts]
        used = [reply.cpu_ns for reply in replies if reply.cpu_ns is not None]
        # The reply `Held` has no samples; the burst replies have them.
        timing = replace(
            held.timing,
            samples_ns=tuple(sample for reply in replies for sample in reply.samples_ns),
            burst_calls=tuple(len(reply.samples_ns) for reply in replies),
            generations=tuple(generation for reply in replies for generation in reply.generations),
            turns=tuple(burst.turn for burst in bursts),
            cpu_ns=sum(used) if used and len(used) == len(replies) else None,
        )
        return self._observation(
            timing=timing,
            parity=held.parity,
            traits=held.traits,
            transcript=held.transcript,
            device_memory_bytes=self.meter.device_memory_bytes,
            peak_rss_bytes=max((reply.peak_rss_bytes for reply in replies), default=None),
            energy=_total([burst.energy for burst in bursts if burst.energy]),
            state=beside,
        )

    def _minute(self, reply: Lasted) -> Observation:
        """One minute of a sustained run; the next one has started already."""
        observation = self._observation(state=self._state())
        # The next minute is measured already, so its state is taken from this moment.
        self.watch(self.worker)
        assert observation.sustained is not None
        return replace(observation, sustained=replace(observation.sustained, minute=reply.minute))

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
        """The state of the machine during the order or the minute that just ended."""
        used_s = max(0.0, self.worker.cpu_s() - self.used_s)  # the CPU time of a dead worker reads as 0
        return state.since(self.before, used_s)


def _total(energies: Sequence[Energy]) -> Energy | None:
    """The energy of all bursts whose energy could be read; None without any."""
    if not energies:
        return None
    joules, calls = sum(energy.joules for energy in energies), sum(energy.calls for energy in energies)
    # One process has one meter, so all bursts have the same source.
    return Energy(joules, calls, energies[0].source)


def explained(failure: Failure, shortfall: str | None) -> Failure:
    """The failure; its message has the shortfall of memory where the size of the model explains it."""
    if shortfall is None or failure.status not in SIZE_FAILURES:
        return failure
    return replace(failure, message=f"{shortfall}; {failure.message}")


def unanswered(stage: str, order: str) -> Failure:
    """The failure of a worker that ended an order without an answer, at a stage."""
    return Failure("failed", stage, "protocol", f"the worker ended the {order} without an answer")


def now() -> str:
    """The time in UTC, ISO 8601, in seconds."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
