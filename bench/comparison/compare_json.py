"""A comparison of two runs in, a document for programs out; it does not repeat what `run.json` of either says."""

from __future__ import annotations

import msgspec

from bench.comparison.compare import CellChange, Comparison
from bench.records import Machine, Record, Run


class Side(Record, frozen=True):
    """One of the runs."""

    name: str
    created: str
    bench_version: str
    budget: str
    threads: int
    machine: Machine


class Document(Record, frozen=True):
    """The whole of it; intervals hold `value`, `low` and `high`, and changes are shares of 1."""

    base: Side
    new: Side
    same_machine: bool
    differences: tuple[str, ...]
    conclusions: tuple[str, ...]
    cells: tuple[CellChange, ...]


def document(comparison: Comparison) -> Document:
    """What `--json` prints."""
    return Document(
        _side(comparison.base),
        _side(comparison.new),
        comparison.same_machine,
        comparison.differences,
        comparison.conclusions,
        comparison.cells,
    )


def render(comparison: Comparison) -> str:
    """The same as text, indented, with a final line feed."""
    return msgspec.json.format(msgspec.json.encode(document(comparison)), indent=2).decode() + "\n"


def _side(run: Run) -> Side:
    return Side(run.name, run.created, run.bench_version, run.effort.name, run.threads, run.machine)
