"""Format the table of a comparison as plain text, one row for each figure of each cell, and the lines around it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from msgspec import Struct

from bench.comparison import text as words
from bench.comparison.model import CellChange, Comparison, FigureChange, Nodes, SpeedVerdict
from bench.records import Interval, Run
from bench.report import numbers, text
from bench.report.text_differences import folded_line

HEADINGS = ("cell", "verdict", "time, ms", "change", "x the control", "change", "conclusion")
LEGEND = (
    "Times are geometric means over blocks, ratios are from bursts that alternate with the control's; with 95 % "
    "intervals. + in the time is slower, + in the ratio to the control is faster."
)
ARROW = "->"
SHOWN_CHANGES = {"another-recipe", "another-source"}
"""Changes of a cell that are shown beside its figures; the others are listed as differences of the runs."""

ONE_SIDED = {"gone": "only in the base", "added": "only in the new run"}
"""How the support of a cell is called that one run has alone; such cells are folded."""
NAMED = {"lost": "lost support", "gained": "gained support", **ONE_SIDED}
# Across two machines no support was lost or gained: the cell works on one machine and not on the other.
NAMED_ACROSS = NAMED | {
    "lost": "right on the base's machine alone",
    "gained": "right on the other machine alone",
    "slower": "slower against the control",
    "faster": "faster against the control",
}


class ComparisonRow(Struct, frozen=True):
    """One line of the table; nothing in it is escaped."""

    cell: str
    verdict: str
    numbers: tuple[str, str, str, str]
    """Time, its change, ratio to the control, its change."""
    brief: str
    """The conclusion in one to three words."""
    conclusion: str
    tone: str
    """`bad`, `good`, `warn` or empty: the colour of the row."""


def rows(comparison: Comparison) -> list[ComparisonRow]:
    """The rows of all cells that have a figure or a changed verdict; `quiet` and `one_sided` have the others."""
    same = comparison.same_machine
    shown = [cell for cell in comparison.cells if not _is_quiet(cell) and cell.support not in ONE_SIDED]
    return [row for cell in shown for row in _rows(cell, same)]


def one_sided(comparison: Comparison) -> list[tuple[str, list[str]]]:
    """The ids of the cells that one run has alone, each run with its line: `12 cells only in the base: a, b, c …`."""
    sides = [
        (where, [cell.cell for cell in comparison.cells if cell.support == support])
        for support, where in ONE_SIDED.items()
    ]
    return [(folded_line(cells, where), cells) for where, cells in sides if cells]


def quiet(comparison: Comparison) -> str:
    """`12 cells without a speed kept the verdict: 12 unavailable`; empty if there are none."""
    counts = Counter(cell.new_status for cell in comparison.cells if _is_quiet(cell))
    counted = ", ".join(f"{number} {status}" for status, number in counts.most_common())
    plural = "s" if counts.total() > 1 else ""
    return f"{counts.total()} cell{plural} without a speed kept the verdict: {counted}" if counts else ""


def tally(comparison: Comparison) -> str:
    """`14 cells in both runs: 1 lost support, 2 slower, 3 unclear, 8 no difference shown`."""
    named = NAMED if comparison.same_machine else NAMED_ACROSS
    support = Counter(cell.support for cell in comparison.cells if cell.support not in {"same", "changed"})
    speed = Counter(figure.verdict for cell in comparison.cells for figure in cell.figures)
    parts = [f"{number} {named.get(kind, kind)}" for kind, number in support.most_common()]
    kinds: tuple[SpeedVerdict, ...] = ("slower", "faster", "unclear", "not comparable, busy", "no difference shown")
    # On two machines the time of a control never is.
    kinds = (*kinds, "not compared") if comparison.same_machine else kinds
    parts += [f"{speed[kind]} {named.get(kind, kind)}" for kind in kinds if speed[kind]]
    plural = "" if comparison.common == 1 else "s"
    return f"{comparison.common} cell{plural} in both runs: {', '.join(parts) or 'nothing changed'}"


def differences(comparison: Comparison) -> tuple[str, ...]:
    """The differences between the runs, one sentence each."""
    return words.sentences(comparison.differences)


def conclusions(comparison: Comparison) -> tuple[str, ...]:
    """The conclusions from all cells, one sentence each."""
    return words.sentences(comparison.conclusions)


def machines(comparison: Comparison) -> str:
    """`one machine, key …` or `two machines`."""
    key = comparison.base.machine.key
    return f"one machine, key {key}" if comparison.same_machine else "two machines"


def side(run: Run) -> str:
    """A run, its machine and its settings on one line."""
    tool = f"touchstone-bench {run.bench_version}, budget {run.effort.name}, {run.threads} threads"
    return (
        f"{run.name} · {text.moment(run.created)} · {text.machine_line(run.machine)} · key {run.machine.key} · {tool}"
    )


def _is_quiet(cell: CellChange) -> bool:
    return not cell.figures and cell.support == "same" and not cell.emulated


def _rows(cell: CellChange, same: bool) -> Iterable[ComparisonRow]:
    verdict, tone = _verdict(cell), _tone(cell)
    notes = words.joined([*(fact for fact in cell.changed if fact.kind in SHOWN_CHANGES), *cell.flags])
    conclusion = words.joined(cell.conclusions)
    if not cell.figures:
        dash = numbers.DASH
        yield ComparisonRow(
            cell.cell, verdict, (dash, dash, dash, dash), _brief(cell, same), _joined(conclusion, notes), tone
        )
    for number, figure in enumerate(cell.figures):
        # Lost or gained support already says that only one run has a valid speed.
        own = "" if cell.support in {"lost", "gained"} else words.figure(figure.name, figure.conclusion)
        if number == 0:
            brief = _brief(cell, same, figure)
            yield ComparisonRow(cell.cell, verdict, _numbers(figure), brief, _joined(conclusion, own, notes), tone)
        else:
            yield ComparisonRow("", "", _numbers(figure), _speed(figure), own, tone)


def _brief(cell: CellChange, same: bool, figure: FigureChange | None = None) -> str:
    """The change of support if there is one, else the verdict on the time."""
    if cell.support in {"lost", "gained"}:
        return f"{cell.support} support" if same else "right on one machine"
    change = "" if cell.support == "same" else cell.support
    return _joined(change, "times not compared" if cell.emulated else _speed(figure) if figure else "")


def _speed(figure: FigureChange) -> str:
    """The verdict on a figure, and which of its two changes it rests on: `slower against control`, `faster in time`."""
    if figure.verdict not in {"slower", "faster"}:
        return figure.verdict
    return f"{figure.verdict} {'against control' if figure.rests_on == 'ratio' else 'in time'}"


def _joined(*parts: str) -> str:
    return words.SEVERAL.join(filter(None, parts))


def _numbers(figure: FigureChange) -> tuple[str, str, str, str]:
    name = "" if figure.name == "call" else f"{figure.name}: "
    return (
        name + _both(_time(figure.base_ms), _time(figure.new_ms)),
        numbers.change(figure.change),
        _both(numbers.times(figure.base_ratio), numbers.times(figure.new_ratio)),
        numbers.change(figure.ratio_change),
    )


def _both(old: str, new: str) -> str:
    return numbers.DASH if old == new == numbers.DASH else f"{old} {ARROW} {new}"


def _time(interval: Interval | None) -> str:
    return numbers.DASH if interval is None else numbers.plus_minus(interval)


def _verdict(cell: CellChange) -> str:
    old, now = (status or numbers.DASH for status in (cell.base_status, cell.new_status))
    status = now if old == now else f"{old} {ARROW} {now}"
    if cell.base_nodes is None or cell.new_nodes is None or cell.base_nodes == cell.new_nodes:
        return status
    return f"{status}, {_nodes(cell.base_nodes, cell.new_nodes)}"


def _nodes(old: Nodes, new: Nodes) -> str:
    on_target = f"nodes on it {old.on_target} {ARROW} {new.on_target}"
    moved = f", fallen back {old.fell_back} {ARROW} {new.fell_back}" if old.fell_back != new.fell_back else ""
    return on_target + moved


def _tone(cell: CellChange) -> str:
    verdicts = {figure.verdict for figure in cell.figures}
    # Bad news first: a cell may be slower in one figure and faster in another.
    if cell.support in {"lost", "lost nodes"} or "slower" in verdicts:
        return "bad"
    if cell.support in {"gained", "gained nodes"} or "faster" in verdicts:
        return "good"
    return "warn" if verdicts & {"unclear", "not comparable, busy"} else ""
