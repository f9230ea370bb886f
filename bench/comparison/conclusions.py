"""Make notes of what may be concluded from two stored runs, and what may not (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from msgspec import Struct

from bench.comparison import text
from bench.comparison.evidence import Decision
from bench.comparison.model import CellChange, SpeedVerdict, Support
from bench.judge.changes import FEW, cut
from bench.judge.stored_change import DRIFT, RATIO_DRIFT
from bench.records import Note, Outcome, Run, note

SUPPORT: dict[Support, Note] = {
    "lost": note("lost-support"),
    "gained": note("gained-support"),
    "lost nodes": note("nodes-lost"),
    "gained nodes": note("nodes-gained"),
    "changed": note("another-status"),
    "gone": note("only-in-base"),
    "added": note("only-in-new"),
    "not measured": note("not-measured-in-one-run"),
}
"""The note for each change of a cell's support; there is none if it is the same."""
LONGEST_REASON = 200
FIGURES_FOR_CHANCE = 10
"""With this many figures, one of them is likely to show a difference by chance."""


class Compared(Struct, frozen=True):
    """How a figure relates to the control."""

    is_control: bool
    alike: bool
    """Both runs have the same control, or none."""
    known: bool
    """Both runs have a ratio to it."""
    changed: bool = False
    """Whether the control itself changed, so that the ratio may have changed by that alone."""


def across_machines(verdict: SpeedVerdict, compared: Compared) -> Note:
    """The conclusion from one figure of two runs of two machines: only the ratio is compared."""
    if compared.is_control:
        return note("control-on-two-machines")
    if not compared.alike:
        return note("different-controls")
    if not compared.known:
        return note("no-ratio-in-both")
    if verdict == "not compared":
        return note("too-few-blocks")
    return note("no-difference") if verdict == "no difference shown" else note("against-control", direction=verdict)


def on_one_machine(decision: Decision | None, compared: Compared) -> Note:
    """The conclusion from one figure of two runs of one machine; `decision` is None without an interval."""
    if decision is None:
        return note("too-few-blocks")
    basis, shown, other = decision.basis, decision.shown, decision.other
    if decision.verdict == "no difference shown":
        return note("no-difference-on-machine", basis=basis, other=other)
    if shown is None:
        return note("only-one-shows", basis=basis, other=other)
    if compared.changed and basis == "ratio":
        return note("control-may-be-it", direction=shown)
    control = "itself" if compared.is_control else "changed" if compared.changed else ""
    beside: dict[str, bool | str] = {"control": control, "alike": compared.alike, "has_other": decision.has_other}
    if decision.verdict == "unclear":
        return note("may-be-drift", direction=shown, basis=basis, other=other, **beside)
    return note("beyond-drift", direction=shown, basis=basis, other=other, **beside)


def of_cell(
    support: Support, old: Outcome | None, now: Outcome | None, emulated: bool, same: bool, timed: bool
) -> tuple[Note, ...]:
    """The conclusions from one cell's status; empty if it did not change and there is a speed to compare."""
    notes = [SUPPORT[support]] if support in SUPPORT else []
    if support == "lost" and not same:
        notes = [note("lost-on-other-machine")]
    if support in {"lost", "changed"} and now is not None:
        notes.append(note("now", status=now.status, reason=text.reason(now)[:LONGEST_REASON]))
    if support == "gained" and old is not None:
        notes.append(note("before", status=old.status, reason=text.reason(old)[:LONGEST_REASON]))
    if emulated and support not in {"gone", "added"}:
        notes.append(note("times-not-compared"))
    return tuple(notes) if notes or timed else (note("no-speed"),)


def of_runs(base: Run, new: Run, cells: Sequence[CellChange], differences: Sequence[Note]) -> tuple[Note, ...]:
    """The conclusions that hold for all cells."""
    same = base.machine.key == new.machine.key
    notes = [*(_one_machine() if same else _two_machines(base, new)), *_width(cells)]
    if (base.name, base.created) == (new.name, new.created):
        # First, because it changes the meaning of all others.
        notes.insert(0, note("same-run"))
    # Dates are ISO 8601 in UTC, so they compare as text.
    if base.created > new.created:
        notes.append(note("base-is-later"))
    if differences:
        notes.append(note("no-cause"))
    notes += _controls(cells)
    compared = sum(
        figure.verdict not in {"not compared", "not comparable, busy"} for cell in cells for figure in cell.figures
    )
    if compared >= FIGURES_FOR_CHANCE:
        # 5 % of 95 % intervals miss the truth, which is one in twenty.
        notes.append(note("by-chance", figures=compared, expected=round(compared / 20) or 1))
    return tuple(notes)


def _one_machine() -> tuple[Note, ...]:
    return (note("one-machine"), note("drift", limit=DRIFT, ratio_limit=RATIO_DRIFT))


def _two_machines(base: Run, new: Run) -> tuple[Note, ...]:
    keys = {"base_key": cut(base.machine.key), "new_key": cut(new.machine.key)}
    return (note("two-machines", **keys), note("ratios-alone"))


def _width(cells: Sequence[CellChange]) -> list[Note]:
    """The half width of the intervals that verdicts rest on: smaller changes cannot be shown by the blocks alone."""
    changed = [
        figure.ratio_change if figure.rests_on == "ratio" else figure.change
        for cell in cells
        for figure in cell.figures
    ]
    halves = [
        (interval.high - interval.low) / 2
        for interval in changed
        if interval and interval.low is not None and interval.high is not None
    ]
    return [note("interval-width", typical=median(halves), worst=max(halves))] if halves else []


def _controls(cells: Sequence[CellChange]) -> list[Note]:
    """A note if the control changed, since ratios to it may change by that alone."""
    ratios = any(figure.ratio_change is not None for cell in cells for figure in cell.figures)
    timed = any(cell.figures for cell in cells)
    if timed and not ratios:
        return [note("no-common-control")]
    facts = dict.fromkeys(_triple(fact) for cell in cells if cell.is_control for fact in cell.changed)
    if not ratios or not facts:
        return []
    names, before, after = zip(*list(facts)[:FEW], strict=True)
    return [note("control-changed", names=names, before=before, after=after, more=max(0, len(facts) - FEW))]


def of_moved_controls(moved: Sequence[str]) -> list[Note]:
    """A note on the controls that moved alone, by their ids."""
    return [note("controls-moved", controls=tuple(moved[:FEW]), more=max(0, len(moved) - FEW))] if moved else []


def _triple(fact: Note) -> tuple[str, str, str]:
    """Name, value before and value after of a change; both values are empty if they are unknown."""
    values = fact.values
    return str(values.get("name", fact.kind)), str(values.get("before") or ""), str(values.get("after") or "")
