"""Chosen cells in; both sides prepared, pairs made as the decisions ask for them, and every cell's verdict, out."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import msgspec
from msgspec import Struct

from bench.declare.matrix import Matrix
from bench.files import append_synced
from bench.gating.choice import Both, Choice
from bench.gating.command import Options, typed
from bench.gating.sides import Part, Place, base_part, new_part
from bench.judge.gate import Decided, Rules, gate
from bench.judge.gate_cells import paired, supported
from bench.judge.gate_stored import ROUNDS, stored
from bench.judge.gate_support import support
from bench.judge.outcome import by_cell, judge
from bench.judge.speed import round_medians
from bench.measure.pairs import Made, Pairer, median_call, quartile_call
from bench.measure.sampling import Processes, Sides, too_large_for_two
from bench.prepare.baseline import recreate
from bench.progress import Progress
from bench.records import Failure, GateCell, Machine, NullControl, Observation, Outcome, Pair, Run

PAIRS = "pairs.jsonl"
NO_PAIRS = NullControl(0, None, True, "not needed: no cell was measured in pairs")


class Base(Struct, frozen=True):
    """The baseline: its run, what it observed, and its outcomes by cell."""

    run: Run
    seen: tuple[Observation, ...]
    recorded: dict[str, Outcome]


class Measured(Struct, frozen=True):
    """What measuring came to."""

    cells: tuple[GateCell, ...]
    null: NullControl
    new_run: Run
    notes: tuple[str, ...]
    minutes: float
    interrupted: bool
    too_short: str = ""
    """Where the time was used up before anything was decided: what would be enough."""


class Gate:
    """One gate's sides and what was seen of them."""

    def __init__(self, options: Options, base: Base, matrix: Matrix, choice: Choice, place: Place, progress: Progress):
        self.options, self.base, self.choice = options, base, choice
        self.place, self.progress = place, progress
        self.rules = Rules()
        self.pairs: list[Pair] = []
        self.notes: list[str] = []
        self.new = self._new(matrix)
        self.again, self.why = self._again()

    def _new(self, matrix: Matrix) -> Part:
        threads = self.options.threads or matrix.measure.threads or self.base.run.threads
        cells = tuple(both.new for both in self.choice.both)
        return new_part(matrix, cells, threads, typed(self.options), self.place, self.progress)

    def _again(self) -> tuple[Part | None, str]:
        """The base made again; or why that cannot be."""
        found = recreate(self.base.run, self.place.cache)
        self.notes += found.notes
        if found.matrix is None:
            return None, found.reason
        cells = tuple(both.base for both in self.choice.both)
        part, strays = base_part(found, found.matrix, cells, typed(self.options), self.place, self.progress)
        self.notes += strays
        return part, ""

    def close(self) -> None:
        """Nothing more is measured."""
        for part in filter(None, (self.new, self.again)):
            part.close()

    # --- measuring --------------------------------------------------------------------------------------------------

    def measure(self) -> Measured:
        """Pairs for the cells whose both sides are there, and fresh rounds for those that have only the new one."""
        start = time.monotonic()
        ready = [both for both in self.choice.both if both.id not in self.new.prepared.failures]
        in_pairs = [both for both in ready if not both.new.emulated and not self._gone(both)]
        processes = self._processes(in_pairs)
        decision = gate([both.id for both in in_pairs], processes, self.rules, self.base.run.seed) if in_pairs else None
        alone = [both for both in ready if both not in in_pairs]
        interrupted = processes.interrupted or self._visit(alone)
        rows = self._rows(decision.cells if decision else ())
        return Measured(
            cells=rows,
            null=decision.null if decision else NO_PAIRS,
            new_run=self.new.run,
            notes=tuple(self._noted(alone)),
            minutes=(time.monotonic() - start) / 60,
            interrupted=interrupted,
            too_short=self._too_short(processes, len(in_pairs), rows),
        )

    def _gone(self, both: Both) -> Failure | str | None:
        """Why the base's side of a cell cannot be run again; None where it can."""
        return self.why or (self.again.prepared.failures.get(both.id) if self.again else None)

    def _processes(self, cells: Sequence[Both]) -> Processes:
        machine, base = self.place.machine, self.again
        sides = {both.id: self._sides(both, base) for both in cells} if base else {}
        pairer = Pairer(self.base.run.seed, quartile_call if shared(machine) else median_call)
        return Processes(sides, pairer, self._note, self.progress, 60 * self.options.budget_minutes)

    def _sides(self, both: Both, base: Part) -> Sides:
        seen = [one for one in self.base.seen if one.cell == both.id]
        memory = self.new.visitor.settings.memory_limit_bytes or self.place.machine.memory_bytes
        large = too_large_for_two([one.peak_rss_bytes for one in seen], memory)
        return Sides(
            base.side(both.base), self.new.side(both.new), self.new.run.threads, self.options.in_sequence or large
        )

    def _note(self, made: Made) -> None:
        """Both sides' observations and the pair are on the disk before the next one begins."""
        assert self.again is not None
        self.again.note(made.base)
        (self.again if made.pair.kind == "null" else self.new).note(made.new)
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

    # --- judging ----------------------------------------------------------------------------------------------------

    def _rows(self, decided: Sequence[Decided]) -> tuple[GateCell, ...]:
        """Every cell's row, in the order of the choice, then those that are not judged."""
        now = _outcomes(self.new)
        again = _outcomes(self.again) if self.again else {}
        speeds = {one.cell: paired(one, self.pairs) for one in decided}
        rows = []
        for both in self.choice.both:
            recorded, new = self.base.recorded[both.id], now[both.id]
            speed = speeds.get(both.id) or self._without_pairs(both)
            found = support(recorded, again.get(both.id) if both.id in speeds else None, new)
            rows.append(supported(speed, found, recorded, new))
        return (*rows, *self.choice.rest)

    def _without_pairs(self, both: Both) -> GateCell:
        if both.new.emulated:
            return GateCell(
                both.id, "pass", "emulated: its answers are judged, and its times mean nothing", "", "support"
            )
        if both.id in self.new.prepared.failures:
            return GateCell(both.id, "inconclusive", "the new side could not be prepared")
        gone = self._gone(both)
        why = gone.message if isinstance(gone, Failure) else str(gone)
        rounds = by_cell(self.new.seen).get(both.id, ())
        own = [one for one in self.base.seen if one.cell == both.id]
        return stored(
            both.id, round_medians(own), round_medians(rounds), f"the base cannot be run again: {why}", self.rules
        )

    def _noted(self, alone: Sequence[Both]) -> Sequence[str]:
        """What a reader must know of how this gate was run."""
        from_stored = [both.id for both in alone if not both.new.emulated]
        told = list(dict.fromkeys(self.notes))
        if from_stored:
            count = f"{len(from_stored)} of {len(self.choice.both)} cells"
            told.append(f"{count} are held against stored numbers, which may warn, and fail nothing under 10 %")
        return told

    def _too_short(self, processes: Processes, cells: int, rows: Sequence[GateCell]) -> str:
        if not processes.out_of_time or any(row.verdict != "inconclusive" and row.stage == "screen" for row in rows):
            return ""
        if any(row.verdict == "regression" for row in rows):
            return ""
        took = max(processes.took.values(), default=0.0)
        enough = max(1.0, 2 * cells * took / 60) if took else 0.0
        hint = f"screening {cells} cells alone takes about {enough:.0f} minutes" if enough else "not one pair was made"
        return f"--budget-minutes {self.options.budget_minutes:g} is too short to decide anything: {hint}"


def _outcomes(part: Part) -> Mapping[str, Outcome]:
    return {outcome.cell.id: outcome for outcome in judge(part.run, part.seen)}


def shared(machine: Machine) -> bool:
    """Whether other guests may use the processor: then a burst is told by its faster half."""
    return machine.hypervisor is not None or machine.container is not None
