"""A gate's record in, the words and figures that every format of it shares out (pure)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from bench.records import GateCell, GateRun, GateVerdict, Interval
from bench.report import numbers
from bench.report import text as words
from bench.report.escaping import line

LONGEST = 240
"""Characters of a reason in a table before it is cut; `gate.json` holds it whole."""
EXIT_CODES = {
    0: "nothing got slower or stopped working",
    1: "a confirmed regression, or lost support",
    3: "too noisy, or too little time, to tell",
    4: "nothing could be judged",
}


class Meaning(NamedTuple):
    """What a verdict is called on one cell and on several, and what it says."""

    one: str
    many: str
    says: str


VERDICTS: dict[GateVerdict, Meaning] = {
    "regression": Meaning("regression", "regressions", "slower, on fresh pairs that confirmed it"),
    "lost-support": Meaning("lost support", "cells that lost support", "worked in the base and does not now"),
    "inconclusive": Meaning("inconclusive", "inconclusive", "cannot be told; never a pass"),
    "warning": Meaning("warning", "warnings", "stored numbers look slower, which proves nothing"),
    "gone": Meaning("gone", "gone", "only the base has the cell"),
    "pass": Meaning("pass", "pass", "no regression"),
    "not-judged": Meaning("not judged", "not judged", "the base has no valid speed to compare with"),
    "added": Meaning("added", "added", "only the new matrix has the cell"),
}
"""In the order in which they are counted and listed: the worst first, and last what was not compared."""
RED: tuple[GateVerdict, ...] = ("regression", "lost-support")
NOT_COMPARED: tuple[GateVerdict, ...] = ("not-judged", "added")
UNSURE: tuple[GateVerdict, ...] = ("inconclusive", "warning")
HOW_TO_READ = (
    "Change: the time of a call, new against base, with its 95 % interval; + is slower. Pairs: fresh processes of base "
    "and new side by side. Detectable: the smallest slowdown that these pairs would have shown four times in five."
)


def ordered(cells: Iterable[GateCell]) -> list[GateCell]:
    """The worst verdict first, and within one the slowest first."""
    ranks = list(VERDICTS)

    def place(cell: GateCell) -> tuple[int, float, str]:
        return ranks.index(cell.verdict), -cell.change.value if cell.change else 0.0, cell.cell

    return sorted(cells, key=place)


def counted(cells: Iterable[GateCell]) -> str:
    """`1 regression, 2 inconclusive, 247 pass`."""
    found = Counter(cell.verdict for cell in cells)
    return ", ".join(f"{found[name]:,} {named(name, found[name])}" for name in VERDICTS if found[name]) or "no cells"


def named(verdict: GateVerdict, number: int = 1) -> str:
    """`regression` or `regressions`."""
    return VERDICTS[verdict].one if number == 1 else VERDICTS[verdict].many


def detectable(cell: GateCell) -> str:
    """The smallest slowdown that the cell's pairs would have shown, `2.7 %`."""
    return numbers.percent(cell.detectable)


def sides(cell: GateCell) -> str:
    """Base and new side by side: `12.3 ± 0.1 ms → 12.9 ± 0.1 ms`, or the statuses where they differ, `ok → crashed`."""
    if cell.base_status != cell.new_status:
        return f"{cell.base_status or numbers.DASH} → {cell.new_status or numbers.DASH}"
    if cell.base_ms is None and cell.new_ms is None:
        return numbers.DASH
    return f"{_time(cell.base_ms)} → {_time(cell.new_ms)}"


def _time(found: Interval | None) -> str:
    return numbers.DASH if found is None else numbers.plus_minus(found, " ms")


def told(cell: GateCell) -> str:
    """Reason, remedy and notes on one line; of a pass the notes only, as its figures say the rest."""
    remedy = f"Remedy: {cell.remedy}" if cell.remedy else ""
    parts = cell.notes if cell.verdict == "pass" else (cell.reason, remedy, *cell.notes)
    return cut("; ".join(line(part) for part in parts if part))


def facts(cell: GateCell) -> list[tuple[str, str]]:
    """What a table's row says, as names and values, for formats that have no tables."""
    return [
        ("verdict", named(cell.verdict)),
        ("change", numbers.change(cell.change)),
        ("pairs", numbers.count(cell.pairs)),
        ("detectable", detectable(cell)),
        ("base → new", sides(cell)),
    ]


def null_control(run: GateRun) -> str:
    """What base against base showed, in one line."""
    found = run.null
    verdict = "fine" if found.fine else "not fine"
    seen = f"{numbers.change(found.change)} over {_count(found.pairs, 'pair')}"
    return f"{verdict}: {line(found.reason) or 'no reason given'} ({seen})"


def about(run: GateRun) -> str:
    """Base, machine and time spent, in one line."""
    budget = f" of {run.budget_minutes:g}" if run.budget_minutes is not None else ""
    parts = [
        f"base {line(run.base)} of {words.moment(line(run.base_created))}",
        f"machine {line(run.machine.key)} ({line(run.machine.cpu.brand)})",
        f"{numbers.significant(run.minutes)}{budget} minutes",
        exit_code(run),
    ]
    return ", ".join(parts)


def exit_code(run: GateRun) -> str:
    """`exit code 1: a confirmed regression, or lost support`."""
    meaning = EXIT_CODES.get(run.exit_code)
    return f"exit code {run.exit_code}" + (f": {meaning}" if meaning else "")


def cut(text: str, longest: int = LONGEST) -> str:
    """No longer than a table's cell can bear."""
    return text if len(text) <= longest else f"{text[: longest - 1].rstrip()}…"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
