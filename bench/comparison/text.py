"""Turn the notes of a comparison and of a history into words (pure).

`conclusions` makes the notes. `bench.report.text_differences` has the words of differences between two runs.
"""

from __future__ import annotations

from collections.abc import Sequence

from bench.records import Note, Outcome
from bench.report import text as report_text
from bench.report import text_differences, text_flags
from bench.report.text_differences import arrow, listed
from bench.report.text_notes import Words

GATE = "`bench gate --baseline BASE` measures both side by side and distinguishes them"
CHANGES = {"another-recipe": "another recipe", "another-source": "another source of the model"}
"""Changes without known values before and after."""
SEVERAL = "; "


def say(note: Note) -> str:
    """The words of a note of a comparison, a history, or a difference between two runs."""
    return text_differences.say(note, WORDS if note.kind in WORDS else text_differences.WORDS)


def sentences(notes: Sequence[Note]) -> tuple[str, ...]:
    """The words of each note."""
    return tuple(map(say, notes))


def joined(notes: Sequence[Note]) -> str:
    """The words of several notes on one line."""
    return SEVERAL.join(map(say, notes))


def reason(outcome: Outcome) -> str:
    """Why an outcome has its status, in words."""
    return report_text.reason(outcome)


def figure(name: str, conclusion: Note) -> str:
    """The conclusion from one figure, `decode: slower, beyond drift`; the figure `call` has no name in front."""
    return say(conclusion) if name == "call" else f"{name}: {say(conclusion)}"


def percent(share: float) -> str:
    """`3 %`, `0.4 %`."""
    # From 9.5 % on, two digits are whole percents.
    return f"{100 * share:.2g} %" if share < 0.095 else f"{100 * share:.0f} %"


# --- kinds ------------------------------------------------------------------------------------------------------------


IN = {"ratio": "against the control", "time": "in time"}
"""What a verdict rests on."""
OTHER = {"ratio": "time", "time": "ratio"}


def _beyond_drift(direction: str, basis: str, other: str | None, control: str, *, alike: bool, has_other: bool) -> str:
    return f"{direction} {IN[basis]}, beyond drift{_beside(direction, basis, other, control, alike, has_other)}"


def _may_be_drift(direction: str, basis: str, other: str | None, control: str, *, alike: bool, has_other: bool) -> str:
    beside = _beside(direction, basis, other, control, alike, has_other)
    # Where the other one contradicts, drift is not what makes it unclear.
    may = "" if other and other != direction and not control else ", which may be drift"
    return f"unclear: {direction} {IN[basis]}{may}{beside}"


def _beside(direction: str, basis: str, other: str | None, control: str, alike: bool, has_other: bool) -> str:
    """What stands beside the change that a verdict rests on."""
    if control == "itself":
        return "; it is the control, so the machine itself may be"
    if control == "changed":
        return "; the control itself changed, so the ratio to it does not count"
    if not alike:
        return "; the runs have different controls"
    where = IN[OTHER[basis]]
    if other is not None:
        return f", and {other} {where} too" if other == direction else f", but {other} {where}"
    if has_other:
        return f", and {where} no difference is shown"
    return (
        "; there is no ratio to decide" if basis == "time" else "; there are too few blocks for an interval of the time"
    )


def _no_difference(basis: str, other: str | None) -> str:
    if other is None:
        return "no difference shown"
    if basis == "ratio":
        return f"no difference shown against the control; {other} in time, as the machine was or by drift"
    return f"no difference shown in time; {other} against the control, less than drift"


def _only_one_shows(basis: str, other: str) -> str:
    return f"unclear: no difference shown {IN[basis]}, {other} {IN[OTHER[basis]]}"


def _busy_runs(sides: Sequence[str], others_percent: float | None, stolen_percent: float | None) -> str:
    runs = "both runs were" if len(sides) > 1 else f"the {sides[0]} run was"
    shares = [(others_percent, "used by others"), (stolen_percent, "taken by the host")]
    shown = " and ".join(f"up to {share:.0f} % of the CPU {by}" for share, by in shares if share)
    return f"not comparable: {runs} measured on a busy machine" + (f", {shown}" if shown else "")


def _changed(name: str, before: str | None, after: str | None) -> str:
    """`torch 2.13.0 -> 2.14.0`."""
    return CHANGES.get(name) or f"{name} {arrow(before, after)}"


def _control_changed(names: Sequence[str], before: Sequence[str], after: Sequence[str], more: int) -> str:
    changes = [_changed(*change) for change in zip(names, before, after, strict=True)]
    return (
        f"The control itself changed ({listed(changes, more)}): a ratio may have moved by that alone, so verdicts rest "
        "on times."
    )


def _controls_moved(controls: Sequence[str], more: int) -> str:
    return (
        f"The control moved alone ({listed(controls, more)}): all cells of which nothing changed moved the same way "
        "against it, so ratios to it prove nothing, and verdicts rest on times."
    )


def _interval_width(typical: float, worst: float) -> str:
    noisiest = f", or {percent(worst)} in the noisiest cell" if percent(worst) != percent(typical) else ""
    return f"The blocks alone cannot show a change smaller than {percent(typical)} in a typical cell{noisiest}."


WORDS: dict[str, Words] = {
    # One kind of time of one cell.
    "one-valid-speed": lambda: "only one run has a valid speed of it",
    "control-on-two-machines": lambda: "the control itself: its times are of two machines, and not compared",
    "different-controls": lambda: "not compared: the runs have different controls",
    "no-ratio-in-both": lambda: "not compared: no ratio to the control in both runs",
    "too-few-blocks": lambda: "not compared: a run has too few blocks for an interval; more minutes give it",
    "no-difference": lambda: "no difference shown",
    "against-control": lambda direction: f"{direction} against the control on that machine",
    "busy-runs": _busy_runs,
    "beyond-drift": _beyond_drift,
    "may-be-drift": _may_be_drift,
    "no-difference-on-machine": _no_difference,
    "only-one-shows": _only_one_shows,
    "control-may-be-it": lambda direction: (
        f"unclear: {direction} against the control, but the control itself changed, and the time has no interval"
    ),
    # The status of one cell.
    "lost-support": lambda: "lost support: its answers were right, and are not any more",
    "lost-on-other-machine": lambda: "has right answers on the base's machine, but not on the other",
    "gained-support": lambda: "gained support",
    "nodes-lost": lambda: "lost nodes: more of them fell back from the provider",
    "nodes-gained": lambda: "gained nodes: fewer of them fell back from the provider",
    "another-status": lambda: "another verdict",
    "only-in-base": lambda: "only the base has it",
    "only-in-new": lambda: "only the new run has it",
    "not-measured-in-one-run": lambda: "not measured in one of the runs: it ended before its turn",
    "now": lambda status, reason: f"now {status}: {reason}",
    "before": lambda status, reason: f"it was {status}: {reason}",
    "times-not-compared": lambda: "emulated: verdicts are compared, times are not",
    "no-speed": lambda: "the same verdict, and no speed to compare",
    # What of a cell itself changed, and what its numbers warn of.
    "changed": _changed,
    "another-recipe": lambda: CHANGES["another-recipe"],
    "another-source": lambda: CHANGES["another-source"],
    "file-holds": lambda number_format: f"the file is {number_format}",
    "flags": lambda side, flags: f"{side}: {', '.join(map(text_flags.name, flags))}",
    # Both runs.
    "same-run": lambda: "Base and new are the same run.",
    "base-is-later": lambda: "The base is the later of the two runs: a change from base to new is a step back in time.",
    "no-cause": lambda: (
        "What else differs between the runs is listed; stored numbers do not say which of it changed a figure."
    ),
    "by-chance": lambda figures, expected: (
        f"{figures} figures are compared at 95 % confidence each: with nothing changed at all, about {expected} of "
        "them would show a difference by chance."
    ),
    "one-machine": lambda: (
        "Both runs are of one machine, made at different times. A verdict rests on the surer of two changes: that of "
        "the ratio to the control, whose bursts alternate with the cell's, or that of the time."
    ),
    "drift": lambda limit, ratio_limit: (
        f"Each has an interval from the blocks of both runs, without the drift in between. Differences under "
        f"{percent(ratio_limit)} of a ratio and {percent(limit)} of a time cannot be distinguished from drift; {GATE}."
    ),
    "two-machines": lambda base_key, new_key: (
        f"The runs are of two machines (keys {base_key} and {new_key}): times are shown side by side, but their "
        "change is not a regression or an improvement of any version."
    ),
    "ratios-alone": lambda: (
        "Only ratios to the same control, measured in the same blocks, are compared. A change of a ratio depends on "
        "the machines as much as on what ran on them."
    ),
    "interval-width": _interval_width,
    "no-common-control": lambda: "No cell has a ratio to the same control in both runs.",
    "control-changed": _control_changed,
    "controls-moved": _controls_moved,
    # A history.
    "no-change-point-library": lambda: (
        "Change points were not looked for: the library ruptures is not installed, as it has no release for this "
        "Python."
    ),
}
"""The words of each kind, by the parameters of its note."""
