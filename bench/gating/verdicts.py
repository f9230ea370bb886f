"""What a gate measured in; every cell's row, and what a reader must know of how it came about, out (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from bench.gating.cells import paired, supported
from bench.gating.choice import Both, Choice
from bench.gating.decision import Decided, Rules
from bench.gating.stored_numbers import stored
from bench.gating.support import Support, support
from bench.judge.outcome import judge
from bench.judge.speed import round_medians
from bench.records import Failure, GateCell, Observation, Outcome, Pair, Run

TARGET = "target"
"""The stage of a failure that speaks of the machine; others at preparing say that the base could not be made again."""


class Half(Struct, frozen=True):
    """What is known of one side: its run, what was seen of its cells, and which could not be prepared."""

    run: Run
    seen: tuple[Observation, ...]
    failures: Mapping[str, Failure] = {}

    def outcomes(self) -> dict[str, Outcome]:
        """Those of the cells of which anything was seen."""
        known = {one.cell for one in self.seen}
        return {outcome.cell.id: outcome for outcome in judge(self.run, self.seen) if outcome.cell.id in known}


class Sighted(Struct, frozen=True):
    """All that a gate has seen."""

    choice: Choice
    base: Half
    """As it was recorded."""
    new: Half
    again: Half | None
    """The base made again; None where that cannot be."""
    why: str
    """… and why not."""
    decided: tuple[Decided, ...]
    pairs: tuple[Pair, ...]

    def gone(self, cell: str) -> str:
        """Why the base's side of a cell cannot be run again; nothing where it can."""
        failure = self.again.failures.get(cell) if self.again else None
        return failure.message if failure else self.why


def rows(sighted: Sighted, rules: Rules) -> tuple[GateCell, ...]:
    """Every cell's row, in the order of the choice, then those that are not judged."""
    recorded, now = sighted.base.outcomes(), sighted.new.outcomes()
    again = _again(sighted.again)
    speeds = {one.cell: paired(one, sighted.pairs) for one in sighted.decided}
    found = []
    for both in sighted.choice.both:
        row = speeds.get(both.id) or _without_pairs(sighted, both, rules)
        new = now.get(both.id)
        lost = support(recorded[both.id], again.get(both.id), new) if new else Support()
        found.append(supported(row, lost, recorded[both.id], new))
    return (*found, *sighted.choice.rest)


def _again(half: Half | None) -> dict[str, Outcome]:
    """What the base comes to today, where that can be known: not of cells that could not be made again."""
    if half is None:
        return {}
    unmade = {cell for cell, failure in half.failures.items() if failure.stage != TARGET}
    return {cell: outcome for cell, outcome in half.outcomes().items() if cell not in unmade}


def _without_pairs(sighted: Sighted, both: Both, rules: Rules) -> GateCell:
    if both.new.emulated:
        reason = "emulated: its answers are judged, and its times mean nothing"
        return GateCell(both.id, "pass", reason, stage="support")
    if both.id in sighted.new.failures:
        return GateCell(both.id, "inconclusive", "the new side could not be prepared")
    base, new = _medians(sighted.base.seen, both.id), _medians(sighted.new.seen, both.id)
    return stored(both.id, base, new, f"the base cannot be run again: {sighted.gone(both.id)}", rules)


def _medians(seen: Iterable[Observation], cell: str) -> dict[int, float]:
    return round_medians([one for one in seen if one.cell == cell])


def notes(sighted: Sighted, told: Sequence[str]) -> tuple[str, ...]:
    """What was noticed on the way, each thing once, and how many cells are held against stored numbers."""
    paired_cells = {one.cell for one in sighted.decided}
    stored_cells = [
        both.id
        for both in sighted.choice.both
        if both.id not in paired_cells and not both.new.emulated and both.id not in sighted.new.failures
    ]
    lines = list(dict.fromkeys(told))
    if stored_cells:
        count = f"{len(stored_cells)} of {len(sighted.choice.both)} cells"
        lines.append(f"{count} are held against stored numbers, which may warn, and fail nothing under 10 %")
    if aside := sum(pair.set_aside for pair in sighted.pairs):
        lines.append(f"{aside} of {len(sighted.pairs)} pairs were set aside and made again: others used the processor")
    return tuple(lines)


def too_short(cells: Sequence[GateCell], budget_minutes: float, took_s: float, screened: int) -> str:
    """Where the time was used up and nothing was decided: what would be enough. Nothing where something was.

    `took_s` is what the slowest pair took, 0 where none was made; `screened` counts the cells to be screened.
    """
    if any(cell.verdict in {"pass", "regression"} and cell.stage in {"screen", "confirm"} for cell in cells):
        return ""
    hint = "not one pair was made"
    if took_s:
        hint = f"screening {screened} cells alone takes about {max(1.0, 2 * screened * took_s / 60):.0f} minutes"
    return f"--budget-minutes {budget_minutes:g} is too short to decide anything: {hint}"
