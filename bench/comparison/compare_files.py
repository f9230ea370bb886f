"""Write a comparison as Markdown or JSON, and a history as JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from bench.comparison import compare_rows, text
from bench.comparison.history import History
from bench.comparison.model import Comparison
from bench.foreign_text import json_text
from bench.records import Note, Run
from bench.report.escaping import code, folded, table
from bench.report.escaping import markdown as plain

TITLE = "## Touchstone · two runs side by side"


def markdown(comparison: Comparison) -> str:
    """The comparison as Markdown, with a final line feed."""
    return "\n\n".join(_parts(comparison)) + "\n"


def _parts(comparison: Comparison) -> Iterator[str]:
    yield TITLE
    sides = (("base", comparison.base), ("new", comparison.new))
    yield "\n".join(f"- {name}: {plain(compare_rows.side(run))}" for name, run in sides)
    yield f"**{plain(compare_rows.tally(comparison))}** ({plain(compare_rows.machines(comparison))})"
    yield "### What may be concluded"
    yield "\n".join(f"- {plain(line)}" for line in compare_rows.conclusions(comparison))
    if comparison.differences:
        yield "### What differs between the runs"
        yield "\n".join(f"- {plain(line)}" for line in compare_rows.differences(comparison))
    rows = compare_rows.rows(comparison)
    if rows:
        yield "### Cells"
        yield table((*compare_rows.HEADINGS[:-1], "conclusion"), map(_row, rows))
        yield plain(compare_rows.LEGEND)
    if quiet := compare_rows.quiet(comparison):
        yield f"{plain(quiet)}."
    for title, cells in compare_rows.one_sided(comparison):
        yield folded(plain(title), "\n".join(f"- {code(cell)}" for cell in cells))


def _row(row: compare_rows.ComparisonRow) -> list[str]:
    # Numbers are formatted here; the other texts may come from a file of another machine, so they are escaped.
    return [code(row.cell), plain(row.verdict), *row.numbers, plain(row.conclusion)]


def document(comparison: Comparison) -> dict[str, Any]:
    """The data that `bench compare --json` prints; it does not repeat the `run.json` of either run.

    Intervals have `value`, `low` and `high`, changes are relative (0.05 is 5 %), and each note has its words in `text`.
    """
    return {
        "base": _side(comparison.base),
        "new": _side(comparison.new),
        "same_machine": comparison.same_machine,
        "differences": _worded(comparison.differences),
        "conclusions": _worded(comparison.conclusions),
        "cells": [_worded(cell) for cell in comparison.cells],
    }


def json(comparison: Comparison) -> str:
    """The comparison as indented JSON, with a final line feed."""
    return json_text(msgspec.json.format(msgspec.json.encode(document(comparison)), indent=2).decode()) + "\n"


def history_document(history: History) -> dict[str, Any]:
    """The data that `bench history --json` prints; each note has its words in `text`."""
    content: dict[str, Any] = _worded(history)
    return content


def _side(run: Run) -> dict[str, Any]:
    return {
        "name": run.name,
        "created": run.created,
        "bench_version": run.bench_version,
        "budget": run.effort.name,
        "threads": run.threads,
        "machine": msgspec.to_builtins(run.machine),
    }


def _worded(value: object) -> Any:
    """Convert a record to JSON types, with `text` added to every note."""
    # Programs read kind and values; the words are for people and may change.
    if isinstance(value, Note):
        return {"kind": value.kind, "values": value.values, "text": text.say(value)}
    if isinstance(value, msgspec.Struct):
        return {name: _worded(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, tuple | list):
        return [_worded(part) for part in value]
    return msgspec.to_builtins(value)


RENDERERS: dict[str, Callable[[Comparison], str]] = {".md": markdown, ".json": json}
"""The renderer for each suffix of a file name."""
