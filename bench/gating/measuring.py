"""Prepare both sides of a gate, and measure the pairs that its decisions request."""

from __future__ import annotations

import time
from collections.abc import Sequence

from msgspec import Struct

from bench import privacy
from bench.declare.matrix import Matrix
from bench.files import append_synced
from bench.gating import budget, text, verdicts
from bench.gating.choice import Choice, CommonCell
from bench.gating.decision import Rules, gate
from bench.gating.foreign import Foreign
from bench.gating.options import Options, command
from bench.gating.pairs import MeasuredPair, Pairer
from bench.gating.remeasured_base import recreate
from bench.gating.sampling import Processes, Sides, too_large_for_two
from bench.gating.sides import GateSide, Place, base_side, new_side
from bench.gating.stages import null_control
from bench.gating.task_loss import TaskPair
from bench.gating.verdicts import ROUNDS, GateObservations, SideResult
from bench.judge.bursts import is_shared
from bench.judge.outcome import by_cell
from bench.progress import Progress
from bench.records import Cell, GateCell, Note, NullControl, Pair, Run, TaskScores, note

PAIRS = "pairs.jsonl"
NO_PAIRS = null_control(0, None, note("null-not-needed"), fine=True)


class Measured(Struct, frozen=True):
    """The rows of all cells, and how they were measured."""

    cells: tuple[GateCell, ...]
    null: NullControl
    new_run: Run
    notes: tuple[Note, ...]
    minutes: float
    interrupted: bool
    too_short: Note | None = None
    """Set if the time was used up before anything was decided: it says how much time is enough."""


class Gate:
    """The sides of one gate, and the pairs that are measured on them."""

    def __init__(
        self,
        options: Options,
        base: SideResult,
        matrix: Matrix,
        choice: Choice,
        place: Place,
        progress: Progress,
        foreign: Foreign | None = None,
    ):
        self.options, self.base, self.choice = options, base, choice
        self.place, self.progress, self.matrix, self.foreign = place, progress, matrix, foreign
        self.rules = Rules(task_loss=options.max_task_loss)
        self.pairs: list[Pair] = []
        self.notes: list[Note] = []
        self.new = self._new(matrix)
        self.remeasured_base, self.not_remeasured = self._remeasure()
        for side in filter(None, (self.new, self.remeasured_base)):
            side.adopt(base)

    def _new(self, matrix: Matrix) -> GateSide:
        # Without a number in the command or the matrix, the new side has the threads of the base.
        threads = self.options.threads or matrix.measure.threads or self.base.run.threads
        cells = tuple(both.new for both in self.choice.both)
        return new_side(matrix, cells, threads, command(self.options), self.place, self.progress)

    def _remeasure(self) -> tuple[GateSide | None, Note | None]:
        """The rebuilt base, or the reason why it cannot be rebuilt."""
        if self.foreign and self.foreign.matrix is None:
            return None, self.foreign.reason
        admitted = self.foreign.matrix if self.foreign else None
        recorded_base = recreate(self.base.run, self.place.cache, admitted, self.matrix)
        self.notes += (*(self.foreign.notes if self.foreign else ()), *recorded_base.notes)
        if recorded_base.matrix is None:
            return None, recorded_base.reason
        cells = tuple(both.base for both in self.choice.both)
        side, rebuild_notes = base_side(
            recorded_base, recorded_base.matrix, cells, command(self.options), self.place, self.progress
        )
        self.notes += rebuild_notes
        return side, None

    def close(self) -> None:
        """End the workers of both sides."""
        for side in filter(None, (self.new, self.remeasured_base)):
            side.close()

    def measure(self) -> Measured:
        """Measure pairs of the cells whose two sides are prepared, and rounds of those that have only the new side."""
        # Preparing is over, so neither the minutes nor the budget include it.
        start = time.monotonic()
        prepared = [both for both in self.choice.both if both.id not in self.new.prepared.failures]
        in_pairs = [both for both in prepared if self._can_be_paired(both)]
        # The seed of the base makes the order of pairs the same when a gate is repeated.
        rules = self._plan(in_pairs) if in_pairs else self.rules
        processes = self._processes(in_pairs)
        decision = gate([both.id for both in in_pairs], processes, rules, self.base.run.seed) if in_pairs else None
        # After an interruption nothing more is measured, but the pairs so far are judged.
        interrupted = processes.interrupted or self._visit([both for both in prepared if both not in in_pairs])
        observed = GateObservations(
            choice=self.choice,
            base=self.base,
            new=self.new.result(),
            remeasured_base=self.remeasured_base.result() if self.remeasured_base else None,
            not_remeasured=self.not_remeasured,
            decided=decision.cells if decision else (),
            pairs=tuple(self.pairs),
            labelled={} if interrupted else self._labelled(prepared),
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

    def _can_be_paired(self, both: CommonCell) -> bool:
        """Whether both sides have meaningful times: not with an emulated device, nor if the base cannot be rebuilt."""
        return (
            self.remeasured_base is not None
            and not both.new.emulated
            and both.id not in self.remeasured_base.prepared.failures
        )

    def _plan(self, cells: Sequence[CommonCell]) -> Rules:
        """Say what the budget suffices for before the first pair; return the rules for it."""
        times = by_cell(self.base.observations)
        pairs_s = {both.id: budget.expected_pair_s(times.get(both.id, ())) for both in cells}
        planned = budget.plan(pairs_s, 60 * self.options.budget_minutes, self.rules)
        self.progress.step(text.say(planned.note()))
        if planned.is_tight:
            self.notes.append(planned.note())
        return planned.rules(self.rules)

    def _processes(self, cells: Sequence[CommonCell]) -> Processes:
        machine = self.place.machine
        sides = {both.id: self._sides(both, self.remeasured_base) for both in cells if self.remeasured_base}
        # Chosen by the kind of machine before anything is measured, never by how the pairs look.
        pairer = Pairer(self.base.run.seed, shared=is_shared(machine))
        return Processes(sides, pairer, self._note, self.progress, 60 * self.options.budget_minutes)

    def _sides(self, both: CommonCell, remeasured: GateSide) -> Sides:
        """Both sides of a cell; they run in sequence if two processes do not fit into the memory of host or device."""
        observations = [observation for observation in self.base.observations if observation.cell == both.id]
        host = self.new.visitor.settings.memory_limit_bytes or self.place.machine.memory_bytes
        device = max((card.memory_bytes or 0 for card in self.place.machine.accelerators), default=0)
        large = too_large_for_two([observation.peak_rss_bytes for observation in observations], host)
        # A GPU has memory of its own; without one the second limit does not apply.
        large = large or bool(
            device and too_large_for_two([observation.device_memory_bytes for observation in observations], device)
        )
        alone = self.options.in_sequence or large
        return Sides(remeasured.side(both.base), self.new.side(both.new), self.new.run.threads, alone)

    def _note(self, measured: MeasuredPair) -> None:
        """Write a pair and its observations to the disk before the next pair begins, so that a crash loses neither."""
        assert self.remeasured_base is not None
        self.remeasured_base.note(measured.base)
        # Both sides of a null pair are the base.
        (self.remeasured_base if measured.pair.kind == "null" else self.new).note(measured.new)
        self.pairs.append(measured.pair)
        append_synced(self.place.folder / PAIRS, privacy.stored(measured.pair) + b"\n")

    def _labelled(self, cells: Sequence[CommonCell]) -> dict[str, TaskPair]:
        """The scores of labelled samples on both sides, of each cell that runs them for its group."""
        recorded = {
            observation.cell: observation.task for observation in self.base.observations if observation.task is not None
        }
        groups = {cell.id: cell.group for cell in self.base.run.cells}
        by_group = {groups[cell]: scores for cell, scores in recorded.items() if cell in groups}
        pairs: dict[str, TaskPair] = {}
        lost: set[str] = set()
        for both in cells:
            new = self._scores(self.new, both.new)
            if new is not None:
                base = self._scores(self.remeasured_base, both.base)
                pairs[both.id] = TaskPair(by_group.get(both.base.group), base, new)
            # The base had labels, and the new side has none: said once for the workloads of a group.
            elif self._has_no_labels(both) and both.base.group in by_group and both.base.group not in lost:
                lost.add(both.base.group)
                pairs[both.id] = TaskPair(by_group[both.base.group], None, None)
        return pairs

    def _scores(self, side: GateSide | None, cell: Cell) -> TaskScores | None:
        labelled = side.visitor.labelled(cell) if side else None
        if side is None or labelled is None:
            return None
        self.progress.detail(f"labelled samples of {cell.group}, {side.name} side")
        return side.visitor.assess(cell, labelled)

    def _has_no_labels(self, both: CommonCell) -> bool:
        return not any(model == both.new.model for model, _ in self.new.prepared.labelled)

    def _visit(self, cells: Sequence[CommonCell]) -> bool:
        """Measure rounds of the new side alone; True if the user interrupts."""
        try:
            for both in cells:
                # The times of an emulated cell mean nothing: one round shows its support.
                for number in range(1, 2 if both.new.emulated else ROUNDS + 1):
                    self.progress.detail(f"round {number} of {both.id}, against stored numbers")
                    self.new.measure_alone(both.new, number)
        except KeyboardInterrupt:
            return True
        return False
