"""Measuring a gate: both sides are prepared, and pairs are made as the decisions ask for them."""

from __future__ import annotations

import time
from collections.abc import Sequence

import msgspec
from msgspec import Struct

from bench.declare.matrix import Matrix
from bench.files import append_synced
from bench.gating import verdicts
from bench.gating.choice import Both, Choice
from bench.gating.decision import Rules, gate
from bench.gating.options import Options, typed
from bench.gating.pairs import Made, Pairer, median_call, quartile_call
from bench.gating.remeasured_base import recreate
from bench.gating.sampling import Processes, Sides, too_large_for_two
from bench.gating.sides import GateSide, Place, base_side, new_side
from bench.gating.stages import null_control
from bench.gating.verdicts import ROUNDS, GateObservations, SideResult
from bench.progress import Progress
from bench.records import GateCell, Machine, Note, NullControl, Pair, Run, note

PAIRS = "pairs.jsonl"
NO_PAIRS = null_control(0, None, note("null-not-needed"), fine=True)


class Measured(Struct, frozen=True):
    """What measuring came to."""

    cells: tuple[GateCell, ...]
    null: NullControl
    new_run: Run
    notes: tuple[Note, ...]
    minutes: float
    interrupted: bool
    too_short: Note | None = None
    """Where the time was used up before anything was decided: what would be enough."""


class Gate:
    """One gate's sides, and the pairs that are made of them."""

    def __init__(
        self, options: Options, base: SideResult, matrix: Matrix, choice: Choice, place: Place, progress: Progress
    ):
        self.options, self.base, self.choice = options, base, choice
        self.place, self.progress = place, progress
        self.rules = Rules()
        self.pairs: list[Pair] = []
        self.notes: list[Note] = []
        self.new = self._new(matrix)
        self.remeasured_base, self.not_remeasured = self._remeasure()

    def _new(self, matrix: Matrix) -> GateSide:
        threads = self.options.threads or matrix.measure.threads or self.base.run.threads
        cells = tuple(both.new for both in self.choice.both)
        return new_side(matrix, cells, threads, typed(self.options), self.place, self.progress)

    def _remeasure(self) -> tuple[GateSide | None, Note | None]:
        """The base made again; or why that cannot be."""
        found = recreate(self.base.run, self.place.cache)
        self.notes += found.notes
        if found.matrix is None:
            return None, found.reason
        cells = tuple(both.base for both in self.choice.both)
        side, strays = base_side(found, found.matrix, cells, typed(self.options), self.place, self.progress)
        self.notes += strays
        return side, None

    def close(self) -> None:
        """Nothing more is measured."""
        for side in filter(None, (self.new, self.remeasured_base)):
            side.close()

    def measure(self) -> Measured:
        """Pairs for the cells whose both sides are there, and fresh rounds for those that have only the new one."""
        start = time.monotonic()
        ready = [both for both in self.choice.both if both.id not in self.new.prepared.failures]
        in_pairs = [both for both in ready if self._can_be_paired(both)]
        processes = self._processes(in_pairs)
        decision = gate([both.id for both in in_pairs], processes, self.rules, self.base.run.seed) if in_pairs else None
        interrupted = processes.interrupted or self._visit([both for both in ready if both not in in_pairs])
        observed = GateObservations(
            choice=self.choice,
            base=self.base,
            new=self.new.result(),
            remeasured_base=self.remeasured_base.result() if self.remeasured_base else None,
            not_remeasured=self.not_remeasured,
            decided=decision.cells if decision else (),
            pairs=tuple(self.pairs),
        )
        rows = verdicts.rows(observed, self.rules)
        took = max(processes.took.values(), default=0.0)
        short = verdicts.too_short(rows, self.options.budget_minutes, took, len(in_pairs))
        return Measured(
            cells=rows,
            null=decision.null if decision else NO_PAIRS,
            new_run=self.new.run,
            notes=verdicts.notes(observed, self.notes),
            minutes=(time.monotonic() - start) / 60,
            interrupted=interrupted,
            too_short=short if processes.out_of_time else None,
        )

    def _can_be_paired(self, both: Both) -> bool:
        """An emulator's times mean nothing, and a base that cannot be made again has none."""
        return (
            self.remeasured_base is not None
            and not both.new.emulated
            and both.id not in self.remeasured_base.prepared.failures
        )

    def _processes(self, cells: Sequence[Both]) -> Processes:
        machine = self.place.machine
        sides = {both.id: self._sides(both, self.remeasured_base) for both in cells if self.remeasured_base}
        pairer = Pairer(self.base.run.seed, quartile_call if shared(machine) else median_call)
        return Processes(sides, pairer, self._note, self.progress, 60 * self.options.budget_minutes)

    def _sides(self, both: Both, remeasured: GateSide) -> Sides:
        """Both sides of a cell, in sequence where two processes would not fit into the memory of host or device."""
        seen = [observation for observation in self.base.seen if observation.cell == both.id]
        host = self.new.visitor.settings.memory_limit_bytes or self.place.machine.memory_bytes
        device = max((card.memory_bytes or 0 for card in self.place.machine.accelerators), default=0)
        large = too_large_for_two([observation.peak_rss_bytes for observation in seen], host)
        large = large or bool(
            device and too_large_for_two([observation.device_memory_bytes for observation in seen], device)
        )
        alone = self.options.in_sequence or large
        return Sides(remeasured.side(both.base), self.new.side(both.new), self.new.run.threads, alone)

    def _note(self, made: Made) -> None:
        """Both sides' observations and the pair are on the disk before the next one begins."""
        assert self.remeasured_base is not None
        self.remeasured_base.note(made.base)
        (self.remeasured_base if made.pair.kind == "null" else self.new).note(made.new)
        self.pairs.append(made.pair)
        append_synced(self.place.folder / PAIRS, msgspec.json.encode(made.pair) + b"\n")

    def _visit(self, cells: Sequence[Both]) -> bool:
        """Rounds of the new side alone; emulated cells need but one, since their times mean nothing.

        True where someone interrupts them.
        """
        try:
            for both in cells:
                for number in range(1, 2 if both.new.emulated else ROUNDS + 1):
                    self.progress.detail(f"round {number} of {both.id}, against stored numbers")
                    self.new.visitor.visit([both.new], number)
        except KeyboardInterrupt:
            return True
        return False


def shared(machine: Machine) -> bool:
    """Whether other guests may use the processor: then a burst is told by its faster half."""
    return machine.hypervisor is not None or machine.container is not None
