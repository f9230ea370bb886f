"""A report in, summary.md out: what one pastes into a pull request."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from bench.records import Outcome
from bench.report import numbers, words
from bench.report.grid import AcrossRow, Box, MatrixRow, Report, Sheet, Trouble, summary, weights_of
from bench.report.text import code
from bench.report.text import markdown as plain

NAME = "markdown"
FILE = "summary.md"
NAMED_CELLS = 3


def render(report: Report) -> str:
    """The summary of every run, and the comparison across runs where there are several."""
    parts = [part for sheet in report.sheets for part in _sheet(sheet)]
    if report.across:
        parts += ["## Side by side", _across(report)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _sheet(sheet: Sheet) -> Iterator[str]:
    machine = sheet.run.machine
    yield f"## Touchstone · {plain(machine.cpu.brand)} · {plain(words.moment(sheet.run.created))}"
    yield f"{plain(words.machine_line(machine))} · machine {code(machine.key)} · run {code(sheet.run.name)}"
    found = summary(sheet)
    yield f"**{found.ok}**{', ' if found.others else ''}{found.others}. {found.resolution}"
    if sheet.rows:
        yield _matrix(sheet)
    yield from _speed(sheet)
    if sheet.troubles:
        yield "### Not ok, and what to do"
        yield "\n".join(_trouble(trouble) for trouble in sheet.troubles)
    yield "### How it was measured"
    yield "\n".join(plain(line) for line in words.effort_lines(sheet.run))


def _matrix(sheet: Sheet) -> str:
    targets = [plain(target) + (" (control)" if target in sheet.controls else "") for target in sheet.targets]
    rows = ([_model(row), plain(row.precision), *map(_box, row.boxes)] for row in sheet.rows)
    return _table(["model", "precision", *targets], rows)


def _model(row: MatrixRow) -> str:
    return plain(row.model) + (" (random weights)" if row.weights == "random" else "")


def _box(box: Box) -> str:
    if not box.planned:
        return numbers.DASH
    agreed = len(box.tally) == 1 and not box.unreached
    words_of_it = [f"**{status}**" if agreed else f"**{status}** {number}" for status, number in box.tally]
    if box.unreached:
        words_of_it.append(f"not reached {len(box.unreached)}" if box.outcomes else "not reached")
    if box.headline and box.headline.speed:
        words_of_it.append(f"{numbers.shown(box.headline.speed.latency_ms).value} ms")
    return " · ".join(words_of_it)


def _speed(sheet: Sheet) -> Iterator[str]:
    ran = [outcome for model in sheet.models for outcome in model.outcomes]
    if not ran:
        return
    yield "### Speed"
    header = ["cell", "weights", "latency, ms", "throughput", "speed against control", "flags"]
    yield _table(header, ([code(o.cell.id), words.WEIGHTS[weights_of(sheet.run, o)], *_numbers(o)] for o in ran))
    controls = dict.fromkeys(o.speed.control for o in ran if o.speed and o.speed.control)
    if controls:
        named = ", ".join(dict.fromkeys(code(words.control(control)) for control in controls))
        yield f"Control: {named}, same model and workload. {words.HOW_TO_READ}"
    yield from _glossary(sheet)


def _numbers(outcome: Outcome) -> list[str]:
    flags = ", ".join(plain(flag) for flag in outcome.flags)
    speed = outcome.speed
    if speed is None:
        withheld = f"withheld: {outcome.status}" if outcome.status == "inaccurate" else numbers.DASH
        return [withheld, numbers.DASH, numbers.DASH, flags]
    rates = "<br>".join(numbers.plus_minus(rate, f" {plain(name)}/s") for name, rate in speed.throughput.items())
    ratio = "control" if speed.control == outcome.cell.id else numbers.ratio(speed.ratio_to_control, speed.resolvable)
    return [numbers.plus_minus(speed.latency_ms), rates, ratio, flags]


def _glossary(sheet: Sheet) -> Iterator[str]:
    if sheet.flags:
        yield "\n".join(f"- {plain(flag)}: {plain(words.flag(flag))}" for flag in sheet.flags)


def _trouble(trouble: Trouble) -> str:
    first = trouble.first
    cells = [code(outcome.cell.id) for outcome in trouble.outcomes[:NAMED_CELLS]]
    more = len(trouble.outcomes) - len(cells)
    named = ", ".join(cells) + (f" and {more} more" if more else "")
    reason = f": {plain(first.reason)}" if first.reason else ""
    ended = words.ending(first.failure) if first.failure else ""
    ending = f" ({plain(ended)})" if ended else ""
    remedy = f"<br>Remedy: {plain(first.remedy)}" if first.remedy else ""
    return f"- **{trouble.status}** {named}{reason}{ending}{remedy}"


def _across(report: Report) -> str:
    header = ["cell", "against", *(plain(sheet.run.name) for sheet in report.sheets)]
    return _table(header, ([code(row.cell), code(row.control), *_ratios(row)] for row in report.across))


def _ratios(row: AcrossRow) -> Iterator[str]:
    for ratio, resolvable, weights in zip(row.ratios, row.resolvable, row.weights, strict=True):
        yield numbers.ratio(ratio, resolvable) + (" (random weights)" if weights == "random" else "")


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
