"""A history in, history.html out: one self-contained page that asks the network for nothing and runs no script."""

from __future__ import annotations

from typing import NamedTuple

from markupsafe import Markup
from msgspec import Struct

from bench.comparison import history_charts, history_rows
from bench.comparison.history import History, Series
from bench.report import pages

FILE = "history.html"


class Picture(NamedTuple):
    """A chart on the page."""

    title: str
    svg: Markup


class Part(Struct, frozen=True):
    """One series with what is drawn and said of it."""

    series: Series
    pictures: tuple[Picture, ...]
    row: history_rows.Row
    place: str
    """The id of its figure on the page."""


def render(history: History) -> str:
    """The whole page."""
    shown = [one for one in history.series if not history_rows.is_quiet(one)]
    parts = [_part(history, one, number) for number, one in enumerate(shown)]
    models: dict[str, list[Part]] = {}
    for part in parts:
        models.setdefault(part.series.cell.partition("/")[0], []).append(part)
    environment = pages.environment()
    environment.filters["step"] = lambda found: history_rows.step(history, found)
    environment.filters["stale"] = lambda series: history_rows.stale(history, series)
    return environment.get_template("history.html").render(
        history=history,
        rows=history_rows,
        parts=parts,
        models=models,
        marks=history_charts.marks(history),
        machines=[(*one, history_charts.tone(history, one[0])) for one in history_rows.machines(history)],
        failed=any(point.status not in {"ok", "partial"} for one in shown for point in one.points),
        stepped=any(one.change_points for one in shown),
    )


def _part(history: History, series: Series, number: int) -> Part:
    """Vega escapes what it draws, and `charts` what it adds."""
    drawn = history_charts.of(history, series, f"h{number}") if series.figure else []
    pictures = tuple(Picture(one.title, Markup(one.svg)) for one in drawn)  # noqa: S704
    (row,) = history_rows.rows(History(history.runs, (series,)))
    return Part(series, pictures, row, f"cell-{number}")
