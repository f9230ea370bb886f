"""What a comparison of two stored runs found in; what may and may not be concluded from it, in words, out (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import TYPE_CHECKING

from msgspec import Struct

from bench.judge.changes import cut
from bench.records import Outcome, Run
from bench.report import text

if TYPE_CHECKING:
    from bench.comparison.compare import CellChange

GATE = "`bench gate --baseline BASE` measures both side by side and tells them apart"
SUPPORT = {
    "lost": "lost support: it gave right answers, and does not now",
    "gained": "gained support",
    "lost nodes": "lost nodes: more of them fell back from the provider",
    "gained nodes": "gained nodes: fewer of them fell back from the provider",
    "changed": "another verdict",
    "gone": "only the base has it",
    "added": "only the new run has it",
    "not measured": "not measured in one of the runs: it ended before its turn",
}
"""What became of a cell's verdict; nothing is said where it is the same."""
NO_SPEED = "the same verdict, and no speed to compare"
LONGEST_REASON = 200


class Compared(Struct, frozen=True):
    """What can be said of a figure against the control."""

    is_control: bool
    alike: bool
    """Both runs have one control, or none."""
    known: bool
    """Both runs have a ratio to it."""


def figure(
    name: str, verdict: str, time: str | None, ratio: str | None, both: bool, same: bool, compared: Compared
) -> str:
    """What the rounds of two runs say of one kind of time, in some words."""
    part = "" if name == "call" else f"{name}: "
    if not both:
        return f"{part}only one run has a valid speed of it"
    if not same:
        return part + _across(verdict, compared)
    return part + _here(verdict, time, ratio, compared)


def _across(verdict: str, compared: Compared) -> str:
    """On two machines the ratio is all that there is."""
    if compared.is_control:
        return "the control itself: its times are of two machines, and not compared"
    if not compared.alike:
        return "not compared: the runs have different controls"
    if not compared.known:
        return "not compared: no ratio to the control in both runs"
    if verdict == "not compared":
        return "not compared: one round tells nothing of its scatter"
    return verdict if verdict == "no difference shown" else f"{verdict} against the control on that machine"


def _here(verdict: str, time: str | None, ratio: str | None, compared: Compared) -> str:
    """On one machine the time, with the control of the same rounds for a witness."""
    if verdict == "not compared":
        return "not compared: one round tells nothing of its scatter"
    if verdict == "unclear":
        return f"unclear: {_unclear(time, ratio, compared)}"
    if verdict == "no difference shown":
        return verdict
    itself = "; it is the control, so the machine itself may be" if compared.is_control else ""
    return f"{verdict}, beyond drift{itself}" + (f", and {ratio} against the control too" if ratio else "")


def _unclear(time: str | None, ratio: str | None, compared: Compared) -> str:
    if time is None:
        return f"no difference shown in time, {ratio} against the control"
    if compared.is_control:
        return f"{time}, which may be drift; it is the control"
    if ratio is not None:
        return f"{time}, which may be drift, {ratio} against the control{' too' if ratio == time else ''}"
    told = "and against the control no difference is shown" if compared.known else "and no control tells"
    return f"{time}, which may be drift, {told}"


def cell(support: str, old: Outcome | None, now: Outcome | None, emulated: bool, same: bool) -> str:
    """What may be concluded of one cell's verdict, in one line; empty where it is as it was."""
    parts = [SUPPORT[support]] if support in SUPPORT else []
    if support == "lost" and not same:
        parts = ["gave right answers on the base's machine, and does not on the other"]
    if support in {"lost", "changed"} and now is not None:
        parts.append(f"now {now.status}: {text.reason(now)[:LONGEST_REASON]}")
    if support == "gained" and old is not None:
        parts.append(f"it was {old.status}: {text.reason(old)[:LONGEST_REASON]}")
    if emulated and support not in {"gone", "added"}:
        parts.append("emulated: verdicts are compared, times are not")
    return "; ".join(parts)


def whole(
    base: Run, new: Run, cells: Sequence[CellChange], differences: Sequence[str], drift: float
) -> tuple[str, ...]:
    """What holds for every cell."""
    same = base.machine.key == new.machine.key
    said = [*(_one_machine(drift) if same else _two_machines(base, new)), *_open(cells)]
    if (base.name, base.created) == (new.name, new.created):
        said.insert(0, "Base and new are the same run.")
    if base.created > new.created:
        said.append(
            "The base is the later of the two runs: what reads as a change from base to new happened before it."
        )
    if differences:
        said.append(
            "What else differs between the runs is listed; stored numbers do not say which of it changed a figure."
        )
    said += _controls(cells)
    compared = sum(one.verdict != "not compared" for cell in cells for one in cell.figures)
    if compared >= 10:
        chance = round(compared / 20) or 1
        said.append(
            f"{compared} figures are compared at 95 % confidence each: with nothing changed at all, about {chance} of "
            "them would show a difference by chance."
        )
    return tuple(said)


def _one_machine(drift: float) -> tuple[str, ...]:
    return (
        "Both runs are of one machine, made at different times: each change has an interval from the rounds of both, "
        "and how far the machine drifted in between is in none of them.",
        f"Differences under {_percent(drift)} cannot be told from drift; {GATE}.",
    )


def _two_machines(base: Run, new: Run) -> tuple[str, ...]:
    return (
        f"The runs are of two machines (keys {cut(base.machine.key)} and {cut(new.machine.key)}): times stand side by "
        "side, and their change is no regression and no progress of any version.",
        "Only ratios to the same control, taken in the same rounds, are compared; how they changed tells of the "
        "machines as much as of what ran on them.",
    )


def _open(cells: Sequence[CellChange]) -> list[str]:
    """How wide the intervals are: what the rounds alone could not have shown."""
    changes = [one.change or one.ratio_change for cell in cells for one in cell.figures]
    halves = [(one.high - one.low) / 2 for one in changes if one and one.low is not None and one.high is not None]
    if not halves:
        return []
    typical, worst = median(halves), max(halves)
    noisiest = f", and {_percent(worst)} in the noisiest cell" if _percent(worst) != _percent(typical) else ""
    return [f"The rounds alone leave the typical change open by {_percent(typical)} either way{noisiest}."]


def _percent(share: float) -> str:
    """`3 %`, `0.4 %`."""
    return f"{100 * share:.2g} %" if share < 0.095 else f"{100 * share:.0f} %"


def _controls(cells: Sequence[CellChange]) -> list[str]:
    """Whether the measure itself is the same in both runs."""
    ratios = any(one.ratio_change is not None for cell in cells for one in cell.figures)
    timed = any(cell.figures for cell in cells)
    if timed and not ratios:
        return ["No cell has a ratio to the same control in both runs."]
    changed = dict.fromkeys(said for cell in cells if cell.is_control for said in cell.changed)
    if ratios and changed:
        return [f"The control itself changed ({', '.join(changed)}): a ratio may have moved by that alone."]
    return []
