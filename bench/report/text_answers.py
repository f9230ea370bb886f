"""Writes the answers of a report in words, for the terminal, the page and the summary."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence

from msgspec.structs import replace

from bench.records import Cell, Note, Outcome
from bench.report import numbers, text, text_notes
from bench.report.answers import Fastest, Setback, Smallest

REASON_CHARACTERS = 160
"""A reason in a list is cut here; the cell's own details have all of it."""
NAMED = 3
"""How many cells to which no difference is shown are named; the others are counted."""
HOW_TO_READ = (
    "The fastest right cell of each workload, ranked by the speed of its calls, or of decoding. 2× is twice as fast; "
    "± and brackets are 95 % confidence intervals. No difference is shown where the interval contains 1: in "
    "parentheses is the largest difference that it allows."
)
Outcomes = Mapping[str, Outcome]
"""The outcomes of a run by the id of their cell."""


def name(outcome: Outcome) -> str:
    """`cpu · int8`: a cell among those of one model and workload."""
    return f"{outcome.cell.target} · {text.precision(outcome.cell, outcome.file_format)}"


def control_name(control: Cell, cell: Cell) -> str:
    """`torch-eager`, or `cpu · fp32` where the control of a cell is another precision of the same target."""
    return control.target if control.target != cell.target else f"{control.target} · {control.precision}"


def figure(fastest: Fastest) -> str:
    """`9.27 ± 0.10 ms`, `310 ± 6 tok/s`."""
    if fastest.unit == "ms":
        return numbers.time(fastest.figure)
    return numbers.plus_minus(fastest.figure, f" {fastest.unit}")


def certainty(fastest: Fastest, outcomes: Outcomes) -> tuple[str, ...]:
    """How sure the fastest is: its margins over the control and over the next, and what else it may be as fast as."""
    own, control, after = outcomes[fastest.cell].cell, fastest.over_control, fastest.over_next
    parts = []
    if control is not None:
        parts.append(numbers.versus(control.ratio, control_name(outcomes[control.other].cell, own)))
    if after is not None and (control is None or after.other != control.other):
        parts.append(f"next {name(outcomes[after.other])}: {numbers.versus(after.ratio)}")
    named = {margin.other for margin in (control, after) if margin}
    if further := [name(outcomes[cell]) for cell in fastest.undecided if cell not in named]:
        parts.append(f"{numbers.NO_DIFFERENCE} to {listed(further)}")
    return tuple(parts) or ("the only right cell",)


def size(smallest: Smallest) -> str:
    """`98.0 MiB; the fastest takes 171 MiB`."""
    own, fastest = numbers.size(smallest.bytes), numbers.size(smallest.fastest_bytes)
    if smallest.fastest_bytes in (None, smallest.bytes):
        return own
    return f"{own}; the fastest takes {'as much' if fastest == own else fastest}"


def setback_cells(setback: Setback, outcomes: Outcomes) -> str:
    """`torch-eager, torch-compile · fp16`: the cells of a setback."""
    return places([outcomes[cell] for cell in setback.cells])


def places(outcomes: Iterable[Outcome]) -> str:
    """Targets and precisions without the workloads; precisions with the same targets, and so on, share a list."""
    by_precision: dict[str, dict[str, None]] = {}
    for outcome in outcomes:
        precision = text.precision(outcome.cell, outcome.file_format)
        by_precision.setdefault(precision, {})[outcome.cell.target] = None
    by_targets: dict[tuple[str, ...], list[str]] = {}
    for precision, targets in by_precision.items():
        by_targets.setdefault(tuple(targets), []).append(precision)
    return "; ".join(f"{', '.join(targets)} · {', '.join(names)}" for targets, names in by_targets.items())


def setback_reason(setback: Setback) -> str:
    """Why, in one line."""
    return brief(setback.reason)


def brief(reason: Note) -> str:
    """A reason in one line; of wrong answers only what is wrong with them, of fallen nodes without what they cost."""
    if reason.kind == "out-of-tolerance" and reason.parts:
        times, rounds = reason.values.get("times"), reason.values.get("rounds")
        words = shortened(text.say(reason.parts[0]))
        if isinstance(times, int) and isinstance(rounds, int):
            words += text_notes.share_of_rounds(times, rounds)
        return words
    return shortened(text.say(replace(reason, parts=()) if reason.kind == "fell-back" else reason))


def shortened(sentence: str) -> str:
    """A sentence on one line, cut between two words after `REASON_CHARACTERS`."""
    return textwrap.shorten(sentence, REASON_CHARACTERS, placeholder=" …")


def listed(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")
