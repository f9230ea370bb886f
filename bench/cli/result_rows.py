"""Lays out the result of a run for the terminal: the rows of each model and workload, and what did not work."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from bench.records import Cell, Comparison, Interval, Outcome

INDENT = 2
GAP = 2
DISPENSABLE = (4, 3)
"""The places of CPU time and rate among the columns: where there is no room, they are left out in this order."""
FIRST = "ratios are to this"
"""What stands beside the fastest cell of a group without a control."""
LEAST_REMARK = 30
"""With fewer columns left, the remarks of a row stand below it."""


class Row(NamedTuple):
    """One cell of a group as texts; the remarks are warnings, and what a reader must know of the inputs."""

    name: str
    status: str
    figure: str
    rate: str
    cpu: str
    compared: str
    remarks: str


class Line(NamedTuple):
    """A line of the terminal with the status that colours its name, and whether it is an aside."""

    text: str
    status: str = ""
    aside: bool = False


class Group(NamedTuple):
    """The cells of one model and workload that have a speed, best first."""

    heading: str
    rows: tuple[Row, ...]


class Entry(NamedTuple):
    """One reason why cells did not run or were wrong, after the word that marks it."""

    mark: str
    words: str
    status: str = ""


class Trouble(NamedTuple):
    """What has no place among the answers."""

    heading: str
    entries: tuple[Entry, ...]


def troubles(outcomes: Sequence[Outcome], *, rank_approximate: bool = False) -> Iterator[Trouble]:
    """What did not work, by model and reason; then the targets that are not on this machine, with their remedies."""
    from bench.report import answers, text, text_answers

    by_id = {outcome.cell.id: outcome for outcome in outcomes}
    # Models that fail alike share an entry.
    models: dict[tuple[str, str, str], list[str]] = {}
    for model in answers.answers(outcomes, rank_approximate=rank_approximate):
        for setback in model.setbacks:
            cells, why = text_answers.setback_cells(setback, by_id), text_answers.setback_reason(setback)
            models.setdefault((setback.status, cells, why), []).append(model.model)
    entries = [
        Entry(status, f"{', '.join(names)}: {cells}: {why}", status) for (status, cells, why), names in models.items()
    ]
    order: list[str] = list(text.STATUSES)
    entries.sort(key=lambda entry: order.index(entry.mark))
    for heading, others in (("Did not work", False), ("Not ranked: visibly other answers than those of FP32", True)):
        if own := tuple(entry for entry in entries if (entry.mark == "approximate") is others):
            yield Trouble(heading, own)
    # Their answers were checked, and their times say nothing about a device.
    emulated = [o for o in outcomes if o.cell.emulated and o.status in answers.WORKED]
    if emulated:
        places = {o.cell.model: [e for e in emulated if e.cell.model == o.cell.model] for o in emulated}
        yield Trouble(
            f"Emulated: {text.EMULATED}",
            tuple(
                Entry(own[0].status, f"{model}: {text_answers.places(own)}", own[0].status)
                for model, own in places.items()
            ),
        )
    # All cells of a target that is missing fail for one reason, so they share one entry with the remedy.
    absent = {o.cell.target: o for o in reversed(outcomes) if o.failure and o.failure.stage == "target"}
    missing = tuple(
        Entry(target, "; ".join(filter(None, (text.reason(outcome), text.remedy(outcome)))))
        for target, outcome in reversed(absent.items())
    )
    if missing:
        yield Trouble("Not on this machine", missing)


def groups(
    outcomes: Sequence[Outcome], comparisons: Sequence[Comparison] = (), *, rank_approximate: bool = False
) -> tuple[Group, ...]:
    """A group for each model and workload with a speed; below the ranked cells stand those that are in no ranking.

    `comparisons` are those of the run: without a control, cells are compared with the fastest of their group.
    """
    from bench.report import answers, emulation

    timed = [shown for outcome in outcomes if (shown := emulation.without_times(outcome)).speed]
    places = dict.fromkeys((outcome.cell.model, outcome.cell.workload) for outcome in timed)
    known = {(comparison.a, comparison.b): comparison.ratio for comparison in comparisons}
    found = []
    for place in places:
        own = [outcome for outcome in timed if (outcome.cell.model, outcome.cell.workload) == place]
        ranking = answers.ranked(own, known, rank_approximate=rank_approximate)
        others = [outcome for outcome in own if outcome not in ranking]
        cells = {outcome.cell.id: outcome.cell for outcome in outcomes}
        rows = [row(each, cells, rank_approximate=rank_approximate) for each in (*ranking, *others)]
        if len(ranking) > 1 and not any(each.speed and each.speed.control for each in own):
            rows[: len(ranking)] = _over_the_first(rows[: len(ranking)], ranking, known)
        found.append(Group(_heading(own[0]), tuple(rows)))
    return tuple(found)


def _over_the_first(
    rows: Sequence[Row], ranking: Sequence[Outcome], known: Mapping[tuple[str, str], Interval]
) -> list[Row]:
    """The rows of ranked cells without a control, each with its ratio to the first."""
    from bench.judge import margins
    from bench.report import numbers, text_answers

    first = ranking[0]
    ratios = [margins.margin(each, first, known) for each in ranking[1:]]
    words = [numbers.versus(ratio, text_answers.name(first)) if ratio else "" for ratio in ratios]
    return [each._replace(compared=said) for each, said in zip(rows, (FIRST, *words), strict=True)]


def row(outcome: Outcome, cells: Mapping[str, Cell] | None = None, *, rank_approximate: bool = False) -> Row:
    """The row of one outcome with a speed; numbers are rounded by their intervals, as in the report.

    `cells` holds those of the run by their ids, to name the control. Raises `ValueError` without a speed.
    """
    from bench.report import generation, numbers, text, text_answers, text_flags

    flags = ", ".join(text_flags.names(outcome.flags))
    # The name of the cell calls such a file by the recipe that left it as it is.
    own = f"the file is {outcome.file_format}" if outcome.file_format else ""
    name, speed = text_answers.name(outcome), outcome.speed
    if speed is None:
        raise ValueError(f"{outcome.cell.id} has no speed")
    # No number without what it was measured with; why a cell is approximate stands below the answers.
    remarks = (
        own,
        "" if outcome.status in ("ok", "approximate") else text_answers.brief(outcome.reason),
        flags,
        text.optimization(outcome),
        text.input_mark(outcome),
    )
    interval, unit = generation.figure(speed)
    rate_unit, rate = next(iter(speed.throughput.items()), ("", None))
    rated = numbers.plus_minus(rate, f" {rate_unit}/s") if rate else ""
    if speed.generation is not None:
        rated = f"first token {numbers.time(speed.generation.first_token_ms)}"
    figure = numbers.time(interval) if unit == "ms" else numbers.plus_minus(interval, f" {unit}")
    compared = _compared(outcome, cells or {}, rank_approximate)
    cpu = f"CPU {numbers.cpu(outcome.cpu_ms, outcome.cores_used)}" if outcome.cpu_ms else ""
    return Row(name, outcome.status, figure, rated, cpu, compared, "; ".join(filter(None, remarks)))


def _compared(outcome: Outcome, cells: Mapping[str, Cell], rank_approximate: bool) -> str:
    """The ratio to the control in words."""
    from bench.judge import margins
    from bench.report import numbers, text, text_answers

    speed = outcome.speed
    # Other answers than the reference's, or answers that nobody can check, are in no ranking.
    unranked = {"unchecked"} if rank_approximate else {"approximate", "unchecked"}
    if outcome.status in unranked:
        return "not ranked"
    if speed is None or speed.control is None:
        return ""
    if speed.control == outcome.cell.id:
        return "control"
    control = cells.get(speed.control)
    name = text_answers.control_name(control, outcome.cell) if control else text.control(speed.control)
    ratio = margins.main_ratio(speed)
    if ratio is None:
        return ""
    # The heading of the group cannot name the control, since cells of one group may have different ones.
    return numbers.versus(ratio, name if numbers.is_difference(ratio) or ratio.low is None else "")


def _heading(outcome: Outcome) -> str:
    """`minilm · b1-s128 (batch 1, sequence 128)`."""
    from bench.report import text

    cell = outcome.cell
    sizes = ", ".join(f"{name} {value}{' s' if name == 'audio' else ''}" for name, value in cell.sizes.items() if value)
    random = ", random weights" if text.WEIGHTS[outcome.weights] == "random" else ""
    return f"{cell.model} · {cell.workload}" + (f" ({sizes})" if sizes else "") + random


# --- the layout -------------------------------------------------------------------------------------------------------


def lines(group: Group, width: int) -> Iterator[Line]:
    """The rows of a group in at most `width` columns where the words allow it; no word is broken."""
    columns = [
        (each.name, "" if each.status == "ok" else each.status, each.figure, each.rate, each.cpu, each.compared)
        for each in group.rows
    ]
    widths = [max(map(len, column)) for column in zip(*columns, strict=True)]
    used = INDENT + sum(size + GAP for size in widths if size)
    for place in DISPENSABLE:
        if used + LEAST_REMARK > width and widths[place]:
            used -= widths[place] + GAP
            widths[place] = 0
    for each, texts in zip(group.rows, columns, strict=True):
        if used - GAP > width:
            yield from _folded(each, width)
        else:
            parts = [text.ljust(size) for text, size in zip(texts, widths, strict=True) if size]
            line = " " * INDENT + (" " * GAP).join(parts)
            yield from _with_remarks(line, each.status, each.remarks, width - used, width)


def _with_remarks(line: str, status: str, remarks: str, room: int, width: int) -> Iterator[Line]:
    """The line of a row with its remarks at its end, or below it where they have no room."""
    if room >= LEAST_REMARK:
        first, *more = _wrapped(remarks, room) or [""]
        yield Line(f"{line}{' ' * GAP}{first}".rstrip(), status)
        yield from (Line(f"{' ' * (len(line) + GAP)}{text}", aside=True) for text in more)
    else:
        yield Line(line.rstrip(), status)
        yield from _below(remarks, width)


def _folded(row: Row, width: int) -> Iterator[Line]:
    """A row that is too long for the terminal: its figures stand below its name."""
    status = "" if row.status == "ok" else row.status
    yield Line(" " * INDENT + (" " * GAP).join(filter(None, (row.name, status))), row.status)
    figures = (" " * GAP).join(filter(None, (row.figure, row.compared)))
    indent = " " * 2 * INDENT
    yield from (Line(indent + text) for text in _wrapped(figures, width - len(indent)))
    yield from _below(row.remarks, width)


def _below(remarks: str, width: int) -> Iterator[Line]:
    indent = " " * 2 * INDENT
    yield from (Line(indent + text, aside=True) for text in _wrapped(remarks, width - len(indent)))


def _wrapped(text: str, width: int) -> list[str]:
    """The text in lines; a word that is longer than a line stays whole, so that an id can be copied."""
    return textwrap.wrap(text, max(width, 20), break_long_words=False, break_on_hyphens=False)


def score_lines(outcomes: Sequence[Outcome], width: int) -> Iterator[Line]:
    """The task metric of each model, precision and target, whose workloads share the labelled samples."""
    from bench.report import task

    scored = {outcome.cell.group: outcome for outcome in reversed(outcomes) if outcome.task is not None}
    rows = [(group, task.row(outcome)) for group, outcome in reversed(scored.items())]
    if not rows:
        return
    header = ("labelled samples", "metric", "value", "FP32", "loss (95 %)", "samples")
    texts = [header, *((group, r.metric, r.value, r.reference, r.loss, r.samples) for group, r in rows)]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    used = INDENT + sum(size + GAP for size in widths)
    if used - GAP > width:
        for group, row in rows:
            yield Line(" " * INDENT + group)
            figures = f"{row.metric} {row.value}, FP32 {row.reference}, loss {row.loss}, {row.samples} samples"
            yield from (Line(" " * 2 * INDENT + text) for text in _wrapped(figures, width - 2 * INDENT))
            yield from _below(row.remark, width)
        return
    for number, own in enumerate(texts):
        line = " " * INDENT + (" " * GAP).join(text.ljust(size) for text, size in zip(own, widths, strict=True))
        yield from _with_remarks(line, "", rows[number - 1][1].remark if number else "", width - used, width)


def trouble_lines(trouble: Trouble, width: int) -> Iterator[Line]:
    """Each entry with its status or its name in front; further lines begin below the first word."""
    marks = [entry.mark for entry in trouble.entries]
    indent = INDENT + max(map(len, marks)) + GAP
    for entry in trouble.entries:
        # What a file of others says of a failure may be empty.
        first, *more = _wrapped(entry.words, width - indent) or [""]
        yield Line(f"{' ' * INDENT}{entry.mark}".ljust(indent) + first, entry.status)
        yield from (Line(" " * indent + line) for line in more)
