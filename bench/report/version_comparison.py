"""Compares targets of one provider under different versions, cell by cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.records import Outcome
from bench.report.targets import TargetPart


@dataclass(frozen=True, slots=True)
class VersionRow:
    """The outcomes of one model, precision and workload under each version; None if a target has no such cell."""

    model: str
    precision: str
    workload: str
    outcomes: tuple[Outcome | None, ...]

    @property
    def name(self) -> str:
        """`minilm/int8/b1-s128`: the id of a cell without its target."""
        return f"{self.model}/{self.precision}/{self.workload}"


@dataclass(frozen=True, slots=True)
class VersionGroup:
    """The targets of one provider, or of one baseline's engine, under different versions."""

    library: str
    targets: tuple[TargetPart, ...]
    rows: tuple[VersionRow, ...]


def groups(targets: Sequence[TargetPart], outcomes: Sequence[Outcome]) -> tuple[VersionGroup, ...]:
    """A group for each provider that runs in more than one runtime, with different versions."""
    version_groups = []
    present = [target for target in targets if not target.absent]
    for library in dict.fromkeys(target.library for target in present):
        alike = tuple(target for target in present if target.library == library)
        # Two runtimes with equal versions are two options of one library: nothing about versions to compare.
        if len({target.cell.runtime for target in alike}) > 1 and len({str(target.versions) for target in alike}) > 1:
            version_groups.append(VersionGroup(library, alike, _rows([target.name for target in alike], outcomes)))
    return tuple(version_groups)


def _rows(names: Sequence[str], outcomes: Sequence[Outcome]) -> tuple[VersionRow, ...]:
    own = {(o.cell.model, o.cell.precision, o.cell.workload, o.cell.target): o for o in outcomes}
    # Without the target: the cells of one row differ in nothing else.
    places = dict.fromkeys(place[:3] for place in own if place[3] in names)
    rows = (VersionRow(*place, tuple(own.get((*place, name)) for name in names)) for place in places)
    # A row that rules exclude under every version has nothing to compare.
    return tuple(row for row in rows if any(outcome and outcome.status != "excluded" for outcome in row.outcomes))
