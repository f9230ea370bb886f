"""The format `markdown`: summary.md, which can be pasted into a pull request."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from bench.records import Note, Outcome, Run
from bench.report import (
    cold_start,
    generation,
    markdown_answers,
    markdown_comparisons,
    metrics,
    numbers,
    sustained,
    task,
    text,
    text_flags,
    text_outputs,
)
from bench.report.columns import Column, speeds
from bench.report.escaping import code, table
from bench.report.escaping import markdown as plain
from bench.report.matrix_table import MatrixEntry, MatrixRow
from bench.report.metric import CellResult
from bench.report.model import Report, RunReport, summary
from bench.report.model_tables import ModelPart
from bench.report.problem_groups import ProblemGroup
from bench.report.side_by_side import AcrossRow, VersionGroup
from bench.report.targets import PROBED, Lacking, TargetPart

NAME = "markdown"
FILE = "summary.md"
NAMED_CELLS = 3
"""How many cells of a problem are named; the others are only counted."""
MOST_CHARACTERS = 65_536
"""The limit of GitHub for a comment on a pull request."""


def render(report: Report) -> str:
    """The summary of every run, and the comparison across runs if there are several.

    The folded tables of all figures are left out if the text would be too long for a comment on GitHub.
    """
    whole = _text(report, figures=True)
    # The figures are in results.csv too, so they are what a summary can do without.
    return whole if len(whole) <= MOST_CHARACTERS else _text(report, figures=False)


def _text(report: Report, *, figures: bool) -> str:
    parts = [part for sheet in report.sheets for part in _sheet(sheet, figures=figures)]
    if report.across:
        parts += ["## Side by side", _across(report)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _sheet(sheet: RunReport, *, figures: bool) -> Iterator[str]:
    machine = sheet.run.machine
    yield f"## Touchstone · {plain(machine.cpu.brand)} · {plain(text.moment(sheet.run.created))}"
    yield f"{plain(text.machine_line(machine))} · machine {code(machine.key)} · run {code(sheet.run.name)}"
    overview = summary(sheet)
    yield f"**{overview.ok}**{', ' if overview.others else ''}{overview.others}. {overview.resolution}"
    yield from markdown_answers.parts(sheet)
    if sheet.rows:
        yield "### Compatibility matrix"
        yield _matrix(sheet)
    yield from _absent(sheet)
    yield "### Targets"
    yield _targets(sheet)
    yield from _speed(sheet)
    yield from _task(sheet)
    if sheet.version_groups:
        yield "### Versions side by side"
        yield from map(_version_group, sheet.version_groups)
    yield from _starts(sheet)
    yield from _sustained(sheet)
    yield from _placement(sheet)
    if sheet.problems:
        yield "### Problems and remedies"
        yield "\n".join(_problem(problem) for problem in sheet.problems)
    if figures:
        yield from markdown_comparisons.parts(sheet)
        yield from _figures(sheet)
    else:
        yield "All figures of every cell are in results.csv, all comparisons in report.html."
    yield "### How it was measured"
    yield "\n".join(plain(line) for line in text.effort_lines(sheet.run))


def _matrix(sheet: RunReport) -> str:
    rows = ([_model(row), plain(row.label), *map(_entry, row.entries)] for row in sheet.rows)
    return table(["model", "precision", *map(_heading, sheet.columns)], rows)


def _heading(target: TargetPart) -> str:
    marks = [word for word, true in (("control", target.control), ("emulated", target.emulated)) if true]
    if target.software:
        marks.append("software adapter")
    labels = [*([plain(target.distinction)] if target.distinction else []), *marks]
    return plain(target.name) + (f" ({', '.join(labels)})" if labels else "")


def _absent(sheet: RunReport) -> Iterator[str]:
    """The targets without a column, with the reason and the remedy; then what rules of the matrix leave out."""
    # Where no target could run, the matrix has a column for each of them, and naming them again says nothing.
    if sheet.lacking:
        yield "### Not on this machine"
        yield "\n".join(f"- {_lacking(target)}" for target in sheet.lacking)
    names = [*(part.name for part in sheet.excluded if part not in sheet.columns), *sheet.excluded_rows]
    if names:
        yield f"Left out by rules of the matrix: {', '.join(map(plain, names))}."


def _lacking(target: Lacking) -> str:
    remedy = f"; remedy: {plain(target.remedy)}" if target.remedy else ""
    return f"{code(target.name)}: {plain(target.reason)}{remedy}"


def _targets(sheet: RunReport) -> str:
    header = ["target", "runs on", "versions", "fp32 computes in", "fp16 computes in", "options", "notes"]
    return table(header, (_target(target) for target in sheet.columns))


def _target(target: TargetPart) -> list[str]:
    checks = target.facts.checks_options if target.facts else None
    options = {True: "checked", False: "**not checked**", None: numbers.DASH}[checks]
    versions = ", ".join(f"{plain(name)} {plain(version)}" for name, version in target.versions.items())
    formats = [_format(target, number_format) for number_format in PROBED]
    on = plain(f"{target.library}, {target.device}" if target.device else target.library)
    return [_heading(target), on, versions or numbers.DASH, *formats, options, "; ".join(map(plain, target.notes))]


def _format(target: TargetPart, number_format: str) -> str:
    words, tone = text.executed(target.executed(number_format))
    return f"**{plain(words)}**" if tone in {"wrong", "warn"} else plain(words)


def _model(row: MatrixRow) -> str:
    return plain(row.model) + (" (random weights)" if row.weights == "random" else "")


def _entry(entry: MatrixEntry) -> str:
    if not entry.planned:
        return numbers.DASH
    agreed = len(entry.tally) == 1 and not entry.unreached
    parts = [f"**{status}**" if agreed else f"**{status}** {number}" for status, number in entry.tally]
    if entry.unreached:
        parts.append(f"not reached {len(entry.unreached)}" if entry.outcomes else "not reached")
    if entry.headline and entry.headline.speed:
        parts.append(generation.headline(entry.headline.speed))
    if entry.outcomes and (share := text_outputs.agreement(entry.outcomes[0])):
        parts.append(plain(share))
    if entry.computed_in:
        parts.append(f"**in {plain(entry.computed_in)}**")
    return " · ".join(parts)


def _speed(sheet: RunReport) -> Iterator[str]:
    ran = _ranked(sheet)
    # A generation's latency depends on its number of tokens, so generators have tables of their own.
    whole = [outcome for outcome in ran if not generation.generates(outcome)]
    if whole:
        yield "### Speed"
        cpu = any(outcome.cpu_ms for outcome in whole)
        header = ["cell", "weights, inputs", "latency, ms", "throughput", "speedup over control"]
        header += ["CPU of a call", "warnings"] if cpu else ["warnings"]
        yield table(header, ([_cell(o), _weights(sheet.run, o), *_numbers(o, cpu)] for o in whole))
    yield from _generation(sheet)
    controls = dict.fromkeys(o.speed.control for o in ran if o.speed and o.speed.control)
    if controls:
        named = ", ".join(dict.fromkeys(code(text.control(control)) for control in controls))
        yield f"Control: {named}, same model and workload. {text.HOW_TO_READ}"
    yield from _unranked(sheet)
    yield from _emulated(sheet)
    yield from _glossary(sheet)


def _ranked(sheet: RunReport) -> list[Outcome]:
    return [outcome for model in sheet.models for outcome in model.outcomes if sheet.is_ranked(outcome)]


def _unranked(sheet: RunReport) -> Iterator[str]:
    """The cells with a speed whose answers are other ones, or cannot be checked; each with its main figure."""
    approximate = [o for model in sheet.models for o in model.outcomes if not sheet.is_ranked(o)]
    unchecked = [outcome for model in sheet.models for outcome in model.unchecked]
    for label, outcomes in (
        ("Approximate (within tolerance, but visibly other answers; in no ranking)", approximate),
        ("Unchecked (the model is random; in no ranking)", unchecked),
    ):
        if outcomes:
            yield f"{label}:"
            yield "\n".join(f"- {_unranked_line(outcome)}" for outcome in outcomes)


def _unranked_line(outcome: Outcome) -> str:
    speed = generation.headline(outcome.speed) if outcome.speed else "no time"
    agreed = text_outputs.agreement(outcome)
    return f"{_cell(outcome)}: {speed}" + (f", {plain(agreed)}" if agreed else "")


def _emulated(sheet: RunReport) -> Iterator[str]:
    emulated = [outcome for model in sheet.models for outcome in model.emulated]
    if emulated:
        yield f"Emulated ({text.EMULATED}; in no ranking):"
        yield "\n".join(f"- {_cell(o)}: {o.status}, {_emulator_time(sheet, o)}" for o in emulated)


def _emulator_time(sheet: RunReport, outcome: Outcome) -> str:
    times = sheet.emulator_times.get(outcome.cell.id)
    return f"{numbers.time(times.speed.latency_ms)} a call in the emulator" if times else "no time"


def _generation(sheet: RunReport) -> Iterator[str]:
    """A heading, and a table for each model that generates, because their columns may differ."""
    models = [model for model in sheet.models if model.generates and any(map(sheet.is_ranked, model.outcomes))]
    if models:
        yield "### Speed of generation"
    for model in models:
        yield _generation_table(sheet, model)


def _generation_table(sheet: RunReport, model: ModelPart) -> str:
    # Only the main columns: a table in a comment on a pull request must stay narrow.
    outcomes = tuple(filter(sheet.is_ranked, model.outcomes))
    columns = tuple(column for column in speeds(outcomes) if column.brief)
    header = ["cell", "weights, inputs", *(column.name.lower() for column in columns), "warnings"]
    return table(header, (_generation_row(sheet.run, columns, outcome) for outcome in outcomes))


def _generation_row(run: Run, columns: Sequence[Column], outcome: Outcome) -> list[str]:
    values = [column.text(outcome) for column in columns]
    if outcome.status == "inaccurate":
        values[0] = "withheld: inaccurate"
    return [_cell(outcome), _weights(run, outcome), *values, _flags(outcome.flags)]


def _weights(run: Run, outcome: Outcome) -> str:
    """The weights, and what is made up or guessed about the inputs."""
    return "; ".join([text.WEIGHTS[text.weights_of(run, outcome)], *map(plain, text.input_notes(outcome))])


def _flags(raised: Iterable[Note]) -> str:
    """The name of each flag, with the figures that raised it where they are known."""
    named = ((text_flags.name(flag.kind), text_flags.detail(flag)) for flag in raised)
    return ", ".join(plain(f"{name} ({detail})" if detail else name) for name, detail in named)


def _cell(outcome: Outcome) -> str:
    """The id of the cell, and in bold the number format that it holds or computes in, if it asks for another."""
    gap = text.remark(outcome)
    return code(outcome.cell.id) + (f"<br>**{plain(gap)}**" if gap else "")


def _version_group(group: VersionGroup) -> str:
    """One provider under several versions, with a row for each cell."""
    header = [plain(group.library), *map(_heading, group.targets)]
    return table(header, ([code(row.name), *map(_version, row.outcomes)] for row in group.rows))


def _version(outcome: Outcome | None) -> str:
    if outcome is None:
        return numbers.DASH
    if outcome.speed is None:
        return f"**{outcome.status}**"
    interval, unit = generation.figure(outcome.speed)
    return numbers.plus_minus(interval, f" {unit}")


def _task(sheet: RunReport) -> Iterator[str]:
    scored = sheet.scored
    if scored:
        yield "### Task metrics"
        yield table(["cell", "metric", "value", "FP32", "loss (95 %)", "samples", "remark"], map(_task_row, scored))
        yield task.HOW_TO_READ


def _task_row(outcome: Outcome) -> list[str]:
    return [code(outcome.cell.group), *map(plain, task.row(outcome))]


def _starts(sheet: RunReport) -> Iterator[str]:
    timed = [outcome for outcome in _ranked(sheet) if outcome.speed]
    if timed:
        yield "### Startup time, memory and energy"
        header = ["cell", "load", "first call", "first answer", "cold (1 start)", "cached (1 start)"]
        yield table([*header, "peak model memory", "peak device memory", "energy a call"], map(_start, timed))
    sources = dict.fromkeys(outcome.energy_source for outcome in timed if outcome.energy_source)
    if sources:
        yield f"Energy: {plain(text.energy_from(sources))}"


def _start(outcome: Outcome) -> list[str]:
    times = [outcome.load_ms, outcome.first_call_ms, outcome.first_answer_ms]
    single = [cold_start.times(start).answer_ms for start in (outcome.cold, outcome.cached)]
    sizes = [outcome.model_rss_bytes, outcome.device_memory_bytes]
    values = [*map(numbers.time, times), *map(numbers.duration, single), *map(numbers.size, sizes)]
    return [code(outcome.cell.id), *values, numbers.joules(outcome.energy_j)]


def _sustained(sheet: RunReport) -> Iterator[str]:
    lasted = sustained.outcomes_of(_ranked(sheet))
    if lasted:
        yield "### Sustained"
        header = ["cell", "burst", "first minute", "last minute", "sustained / burst", "duration", "warnings"]
        yield table(header, map(_sustained_row, lasted))
        yield f"{sustained.HOW_TO_READ} First and last minute are of one process each."


def _sustained_row(outcome: Outcome) -> list[str]:
    row, speed = sustained.row(outcome), outcome.sustained
    burst = numbers.plus_minus(row.burst.interval, f" {row.burst.unit}") if row.burst else numbers.DASH
    warnings = _flags(speed.flags) if speed else ""
    lasted = plain(f"{row.reached}: {row.ended}" if row.ended else row.reached)
    return [code(outcome.cell.id), burst, row.first, row.last, row.against_burst, lasted, warnings]


def _placement(sheet: RunReport) -> Iterator[str]:
    fallen = [outcome for outcome in sheet.placed if outcome.fallback_ops]
    if fallen:
        yield "### Nodes that ran elsewhere"
        header = ["cell", "on target", "elsewhere", "copies a call", "share of time (1 profile)", "fell back"]
        yield table(header, map(_placement_row, fallen))


def _placement_row(outcome: Outcome) -> list[str]:
    placed = outcome.placement
    counts = [outcome.nodes_on_target, outcome.nodes_elsewhere, placed.copies if placed else None]
    share = numbers.percent(placed.time_elsewhere if placed else None)
    return [code(outcome.cell.id), *map(numbers.count, counts), share, plain(", ".join(outcome.fallback_ops))]


def _numbers(outcome: Outcome, cpu: bool) -> list[str]:
    """Latency, rates, ratio, the CPU time if it is asked for, and warnings."""
    used = [numbers.cpu(outcome.cpu_ms, outcome.cores_used)] if cpu else []
    warnings = _flags(outcome.flags)
    speed = outcome.speed
    if speed is None:
        withheld = f"withheld: {outcome.status}" if outcome.status == "inaccurate" else numbers.DASH
        return [withheld, numbers.DASH, numbers.DASH, *used, warnings]
    rates = "<br>".join(numbers.plus_minus(rate, f" {plain(name)}/s") for name, rate in speed.throughput.items())
    ratio = "control" if speed.control == outcome.cell.id else numbers.ratio(speed.ratio_to_control)
    return [numbers.plus_minus(speed.latency_ms), rates, ratio, *used, warnings]


def _glossary(sheet: RunReport) -> Iterator[str]:
    if sheet.flags:
        yield "\n".join(f"- {plain(text_flags.name(flag))}: {plain(text.flag(flag))}" for flag in sheet.flags)


def _problem(problem: ProblemGroup) -> str:
    first = problem.first
    cells = [code(outcome.cell.id) for outcome in problem.outcomes[:NAMED_CELLS]]
    more = len(problem.outcomes) - len(cells)
    named = ", ".join(cells) + (f" and {more} more" if more else "")
    if problem.target:
        # A list of cells would only repeat the name of the target.
        named = f"{plain(problem.target)} (every cell)"
    reason = f": {plain(problem.reason)}" if problem.reason else ""
    ended = text.ending(first.failure) if first.failure else ""
    ending = f" ({plain(ended)})" if ended else ""
    remedy = f"<br>Remedy: {plain(problem.remedy)}" if problem.remedy else ""
    return f"- **{problem.status}** {named}{reason}{ending}{remedy}"


def _figures(sheet: RunReport) -> Iterator[str]:
    """A folded section; each model has a row for each metric and a column for each cell that gave an answer."""
    models = [model for model in sheet.models if model.ran]
    if not models:
        return
    yield "<details><summary>All figures</summary>"
    for model in models:
        yield f"**{plain(model.name)}**"
        yield _figure_table([sheet.result(outcome) for outcome in model.ran])
    yield "</details>"


def _figure_table(results: list[CellResult]) -> str:
    """The table of one model; metrics without a value in any of the cells have no row."""
    shown = [{metric.name: value for metric, value in metrics.figures(result)} for result in results]
    names = [metric.name for metric in metrics.present(results)]
    # Without the model's name, which stands above the table.
    header = ["figure", *(code(result.cell.id.partition("/")[2]) for result in results)]
    return table(header, ([code(name), *(values.get(name, numbers.DASH) for values in shown)] for name in names))


def _across(report: Report) -> str:
    header = ["cell", "against", *(plain(sheet.run.name) for sheet in report.sheets)]
    return table(
        header, ([f"{code(row.cell)} {row.part}".strip(), code(row.control), *_ratios(row)] for row in report.across)
    )


def _ratios(row: AcrossRow) -> Iterator[str]:
    for ratio, weights in zip(row.ratios, row.weights, strict=True):
        yield numbers.ratio(ratio) + (" (random weights)" if weights == "random" else "")
