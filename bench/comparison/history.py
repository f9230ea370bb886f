"""Follow each cell's figures over several runs, with the changes between runs and advisory change points (pure)."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from bench.comparison import change_points
from bench.comparison.busy_runs import beside_load
from bench.comparison.compare import figure_change
from bench.comparison.figures import Figure
from bench.comparison.model import FigureChange, Judged
from bench.judge.differences import REQUEST_KINDS, differences
from bench.records import Interval, Note, Outcome, Status, note
from bench.report import text_flags

if TYPE_CHECKING:
    import pandas as pd


class RunEntry(Struct, frozen=True):
    """One run, in the order of time."""

    name: str
    created: str
    """UTC, ISO 8601."""
    machine: str
    """The machine's key."""
    processor: str
    bench_version: str
    other_machine: bool
    """Whether the previous run was on another machine."""
    changes: tuple[Note, ...]
    """The differences from the previous run on the same machine, without the choice of cells and effort."""


class Point(Struct, frozen=True):
    """One figure of a cell in one run."""

    run: int
    """Index of the run."""
    status: Status
    ms: Interval | None
    ratio: Interval | None
    """Speed relative to the control."""
    control: str | None
    rounds: int
    flags: tuple[str, ...]
    busy: bool = False
    """Whether the cell or its control was measured beside other load: such a run counts for no change point."""


class ChangePoint(Struct, frozen=True):
    """A change point within the runs of one machine (advisory)."""

    run: int
    """Index of the first run after it."""
    machine: str
    of: Literal["ratio", "time"]
    """What changed: the ratio to the control if enough runs have one, else the time."""
    change: float
    """Relative: 0.05 is 5 % more, which is faster for a ratio and slower for a time."""
    before: int
    after: int
    """Number of runs in the segment before, and in the one after."""


class Series(Struct, frozen=True):
    """One figure of one cell over all runs that have the cell."""

    cell: str
    figure: str
    """`call`, `first token` or `decode`; empty if no run has a speed of the cell."""
    emulated: bool
    points: tuple[Point, ...]
    last_change: FigureChange | None
    """The last run compared with the previous one on the same machine; None if there is none."""
    change_points: tuple[ChangePoint, ...]
    judged_by: Literal["ratio", "time", ""]
    """What change points were searched in; empty if no machine has enough runs."""


class History(Struct, frozen=True):
    """Runs over time."""

    runs: tuple[RunEntry, ...]
    series: tuple[Series, ...]
    left_out: tuple[str, ...] = ()
    """Folders that could not be read, each with its reason."""
    notes: tuple[Note, ...] = ()
    """Facts about how the history was made."""


def moment(created: str) -> dt.datetime | None:
    """The time of a run in UTC; None if the record does not hold a date."""
    try:
        created_at = dt.datetime.fromisoformat(created)
        # A date at either end of the calendar has no UTC.
        return created_at.replace(tzinfo=dt.UTC) if created_at.tzinfo is None else created_at.astimezone(dt.UTC)
    except (ValueError, OverflowError):
        return None


def history(runs: Sequence[Judged], only: Sequence[str] | None = None, left_out: Sequence[str] = ()) -> History:
    """Sort runs by time, and follow every cell that at least one of them planned to measure.

    Each run needs a valid date (`moment`). `only` holds the ids of the cells to follow; None is all.
    """
    # Dates may have time zones, so moments are compared and not texts.
    ordered = sorted(runs, key=lambda judged: moment(judged.run.created) or dt.datetime.min.replace(tzinfo=dt.UTC))
    table = _table(ordered)
    # The latest run first, so that cells stand in the order of the newest plan.
    cells = table.sort_values("run", ascending=False, kind="stable")["cell"].unique()
    chosen = [cell for cell in cells if only is None or cell in only]
    by_cell = table.groupby("cell")
    series = tuple(each for cell in chosen for each in _series(cell, by_cell.get_group(cell)))
    notes = () if change_points.is_available() else (note("no-change-point-library"),)
    return History(tuple(_entries(ordered)), series, tuple(left_out), notes)


def _entries(ordered: Sequence[Judged]) -> Iterable[RunEntry]:
    latest: dict[str, Judged] = {}
    for number, judged in enumerate(ordered):
        run, key = judged.run, judged.run.machine.key
        before = latest.get(key)
        changes = differences(before.run, run) if before else ()
        yield RunEntry(
            name=run.name,
            created=run.created,
            machine=key,
            processor=run.machine.cpu.brand,
            bench_version=run.bench_version,
            other_machine=number > 0 and ordered[number - 1].run.machine.key != key,
            # A plan of fewer cells or another effort is no change of what was measured.
            changes=tuple(fact for fact in changes if fact.kind not in REQUEST_KINDS),
        )
        latest[key] = judged


def _table(ordered: Sequence[Judged]) -> pd.DataFrame:
    """One row for each run and each cell that it measured: outcome, figures by name, the control's outcome.

    The rows stand in the order of time, and within a run in that of its plan.
    """
    # Imported late, as everything that is slow to load.
    import pandas as pd

    rows = [
        (
            number,
            judged.run.machine.key,
            cell,
            outcome,
            {each.name: each for each in judged.figures.get(cell, ())},
            _control(judged, cell),
        )
        for number, judged in enumerate(ordered)
        for cell, outcome in judged.outcomes.items()
        # A run that ended before the cell's turn says nothing about it.
        if outcome.status not in ("excluded", "not-measured")
    ]
    # As objects, so that pandas keeps None and the integers of Python, which the records need.
    return pd.DataFrame(rows, columns=["run", "machine", "cell", "outcome", "figures", "control"], dtype=object)


def _control(judged: Judged, cell: str) -> Outcome | None:
    """The outcome of the control that the cell has a ratio to in this run."""
    control = next((figure.control for figure in judged.figures.get(cell, ()) if figure.control), None)
    return judged.outcomes.get(control) if control else None


def _series(cell: str, own: pd.DataFrame) -> Iterable[Series]:
    """One series for each figure that any run has; one series without a figure if no run has one."""
    for name in dict.fromkeys(name for figures in own["figures"] for name in figures) or ("",):
        points = own.assign(
            figure=[figures.get(name) for figures in own["figures"]],
            busy=[beside_load({"new": pair}) is not None for pair in zip(own["outcome"], own["control"], strict=True)],
        )
        steps, judged_by = _steps(cell, points[~points["busy"].astype(bool)].dropna(subset="figure"))
        yield Series(
            cell=cell,
            figure=name,
            emulated=points["outcome"].iloc[-1].cell.emulated,
            points=tuple(map(_point, points["run"], points["outcome"], points["figure"], points["busy"])),
            last_change=_last_change(cell, name, points),
            change_points=tuple(sorted(steps, key=lambda step: step.run)),
            judged_by=judged_by,
        )


def _point(run: int, outcome: Outcome, figure: Figure | None, busy: bool) -> Point:
    return Point(
        run=run,
        status=outcome.status,
        ms=figure.latency if figure else None,
        ratio=figure.ratio if figure else None,
        control=figure.control if figure else None,
        rounds=outcome.rounds,
        flags=text_flags.names(outcome.flags),
        busy=busy,
    )


def _last_change(cell: str, name: str, points: pd.DataFrame) -> FigureChange | None:
    """Compare the last run with the previous one on the same machine that has the cell."""
    same = points.loc[points["machine"] == points["machine"].iloc[-1]]
    if not name or len(same) < 2:
        return None
    (_, before), (_, last) = same.iloc[-2:].iterrows()
    sides = {side: (row["outcome"], row["control"]) for side, row in (("base", before), ("new", last))}
    return figure_change(
        cell,
        name,
        before["figure"],
        last["figure"],
        same=True,
        busy=beside_load(sides),
        control_changed=_is_another(before["control"], last["control"]),
    )


def _is_another(before: Outcome | None, last: Outcome | None) -> bool:
    """Whether a control has other versions than in the run before; an unknown version is no difference."""
    if before is None or last is None:
        return False
    return any(last.versions.get(name, version) != version for name, version in before.versions.items())


def _steps(cell: str, points: pd.DataFrame) -> tuple[list[ChangePoint], Literal["ratio", "time", ""]]:
    """The change points of each machine, and the quantity that the last machine with enough runs was judged by."""
    steps: list[ChangePoint] = []
    judged_by: Literal["ratio", "time", ""] = ""
    # Each machine for itself: a change of the machine is no step, and two machines have no common level.
    for machine, own in points.groupby("machine", sort=False):
        quantity, logs = _signal(cell, own.set_index("run")["figure"])
        if len(logs) >= change_points.MIN_RUNS and change_points.is_available():
            judged_by = quantity
        for step in change_points.steps(logs.to_list()):
            steps.append(ChangePoint(logs.index[step.at], machine, quantity, step.change, step.before, step.after))
    return steps, judged_by


def _signal(cell: str, figures: pd.Series) -> tuple[Literal["ratio", "time"], pd.Series]:
    """The quantity to search, and its logs by run.

    It is the ratio to the control that most runs have, since it does not drift with the machine. If too few runs have
    one, it is the time.
    """
    # The ratio of the control to itself is always 1, so it shows no step.
    controls = figures.map(lambda figure: figure.control if figure.ratio and figure.control != cell else None)
    compared = max((own for _, own in figures.groupby(controls, sort=False)), key=len, default=figures.iloc[:0])
    # The ratio is preferred only if it alone has enough runs: values of two quantities must not be mixed.
    if len(compared) >= change_points.MIN_RUNS:
        return "ratio", compared.map(lambda figure: math.log(figure.ratio.value))
    return "time", figures.map(lambda figure: _mean(figure.logs))


def _mean(logs: Sequence[float]) -> float:
    return sum(logs) / len(logs)
