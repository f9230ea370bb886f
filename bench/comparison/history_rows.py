"""Format the lines of a history that the page and the terminal share."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from bench.comparison import text as words
from bench.comparison.change_points import MIN_RUNS
from bench.comparison.history import ChangePoint, History, RunEntry, Series
from bench.records import Status
from bench.report import numbers, text

ADVISORY = (
    "Change points are advisory: the runs after one differ from those before it by more than the scatter within each "
    "group. They do not show what changed, and on a machine that drifts their rate of errors is unknown. They fail "
    "nothing: use `bench gate` to decide."
)
HOW = (
    f"They are searched within the runs of one machine, if it has at least {MIN_RUNS} runs of a cell, in the logarithm "
    "of the ratio to the control if there is one, else of the time (PELT). Runs on a busy machine do not count."
)
CHANGE = (
    "The change is against the run before on the same machine, with a 95 % interval from the blocks of both; drift "
    "between the two runs is not in it. The conclusion rests on the surer of two changes: that of the ratio to the "
    "control, or that of the time."
)


class HistoryRow(Struct, frozen=True):
    """The current state of one figure of one cell; nothing in it is escaped."""

    cell: str
    figure: str
    verdict: str
    last: str
    ratio: str
    change: str
    brief: str
    """The conclusion from the change, in one to three words."""
    conclusion: str
    steps: tuple[str, ...]
    tone: str
    """`bad`, `good`, `warn` or empty: the colour of the row."""


def rows(history: History) -> list[HistoryRow]:
    """A row for each series, without cells that never had a speed and kept one verdict."""
    return [_row(history, series) for series in history.series if not is_quiet(series)]


def is_quiet(series: Series) -> bool:
    """Whether there is nothing to follow: no speed in any run, and one verdict in all."""
    return not series.figure and len({point.status for point in series.points}) == 1


def quiet(history: History) -> str:
    """A sentence on the number of quiet cells; empty if there are none."""
    count = sum(map(is_quiet, history.series))
    return f"{count} cell{_s(count)} never had a speed and kept one verdict" if count else ""


def notes(history: History) -> tuple[str, ...]:
    """The notes on how the history was made, one sentence each."""
    return words.sentences(history.notes)


def changes(run: RunEntry) -> tuple[str, ...]:
    """The differences from the previous run on the same machine, one sentence each."""
    return words.sentences(run.changes)


def tally(history: History) -> str:
    """`24 runs of 2 machines, 2026-10-01 to 2026-11-05: 8 cells`."""
    counts = {
        "run": len(history.runs),
        "machine": len({run.machine for run in history.runs}),
        "cell": len({series.cell for series in history.series}),
    }
    runs, machines, cells = (f"{count} {what}{_s(count)}" for what, count in counts.items())
    days = " to ".join(dict.fromkeys((day(history.runs[0]), day(history.runs[-1]))))
    return f"{runs} of {machines}, {days}: {cells}"


def day(run: RunEntry) -> str:
    """`2026-11-05`."""
    return run.created[:10]


def step(history: History, change_point: ChangePoint) -> str:
    """`2026-11-05 (vm-012): 8 % slower against the control, 12 runs before and 6 after`."""
    run = history.runs[change_point.run]
    sizes = f"{change_point.before} runs before and {change_point.after} after"
    return f"{day(run)} ({run.name}): {level(change_point)}, {sizes}"


def level(change_point: ChangePoint) -> str:
    """`8 % slower against the control`."""
    share = abs(change_point.change)
    # A ratio that rises is faster, and a time that rises is slower.
    faster = (change_point.change > 0) == (change_point.of == "ratio")
    size = numbers.percent(share) if share < 10 else f"{numbers.significant(share + 1, 2)} times"
    return f"{size} {'faster' if faster else 'slower'}{' against the control' if change_point.of == 'ratio' else ''}"


def looked_for(history: History, series: Series) -> str:
    """The reason why a series shows no change point; empty if it shows one."""
    if any(fact.kind == "no-change-point-library" for fact in history.notes):
        return "not looked for"
    if not series.judged_by:
        return f"under {MIN_RUNS} {'quiet ' if any(point.busy for point in series.points) else ''}runs on one machine"
    return "none" if not series.change_points else ""


def verdicts(series: Series) -> str:
    """`ok`, or `ok -> failed` if the verdict changed in the last run."""
    statuses: list[Status] = [point.status for point in series.points]
    now = statuses[-1]
    before = statuses[-2] if len(statuses) > 1 else now
    return now if now == before else f"{before} -> {now}"


def stale(history: History, series: Series) -> str:
    """`(last seen 2026-11-02)` if later runs do not have the cell; else empty."""
    last = series.points[-1].run
    return "" if last == len(history.runs) - 1 else f"(last seen {day(history.runs[last])})"


def _row(history: History, series: Series) -> HistoryRow:
    last, change = series.points[-1], series.last_change
    conclusion = words.say(change.conclusion) if change else _first(series)
    return HistoryRow(
        cell=series.cell,
        figure=series.figure if series.figure != "call" else "",
        verdict=" ".join(filter(None, (verdicts(series), stale(history, series)))),
        last=numbers.plus_minus(last.ms) if last.ms else numbers.DASH,
        ratio=_ratio(series),
        change=numbers.change(change.change) if change else numbers.DASH,
        brief=(change.verdict if change else conclusion) if series.figure else "",
        conclusion=conclusion if series.figure else "",
        steps=tuple(step(history, change_point) for change_point in series.change_points),
        tone=_tone(series),
    )


def _first(series: Series) -> str:
    return "first run of this machine" if len(series.points) > 1 else "first run"


def _ratio(series: Series) -> str:
    last = series.points[-1]
    if last.control == series.cell:
        return "control"
    return numbers.times(last.ratio)


def _tone(series: Series) -> str:
    """The colour of a row; a changed verdict is more important than a changed time."""
    tones = [text.STATUSES[point.status].tone for point in series.points[-2:]]
    # With one run the slice has one element, which is both first and last.
    if tones[-1] != tones[0]:
        return "good" if tones[-1] == "good" else "bad"
    verdict = series.last_change.verdict if series.last_change else ""
    return {"slower": "bad", "faster": "good", "unclear": "warn", "not comparable, busy": "warn"}.get(verdict, "")


def machines(history: History) -> Sequence[tuple[str, str]]:
    """Every machine by its key, with its processor."""
    return list({run.machine: run.processor for run in history.runs}.items())


def _s(number: int) -> str:
    return "" if number == 1 else "s"
