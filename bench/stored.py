"""Folders of finished runs in; two of them side by side, or many over time, out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench import store
from bench.errors import NothingToJudgeError, UsageError
from bench.files import write_atomically

if TYPE_CHECKING:
    from bench.judge.compare import Comparison

SUFFIXES = (".md", ".json")
"""What a comparison is written as, by the end of the file's name."""


def compare(base: Path, new: Path, only: Sequence[str] = (), skip: Sequence[str] = ()) -> Comparison:
    """Hold one run against another, cell by cell.

    `RunFolderError` for a folder without a run, `UsageError` for a glob that matches nothing, `NothingToJudgeError`
    where no cell was to be measured in both.
    """
    from bench.declare.plan import select
    from bench.judge.compare import compare as side_by_side
    from bench.judge.compare import judged

    # One after the other: the raw samples of the first are gone before the second's are read.
    old, now = (judged(*store.read(folder)) for folder in (base, new))
    cells = {cell.id: cell for run in (now.run, old.run) for cell in run.cells}
    wanted = select(tuple(cells.values()), only, skip)
    found = side_by_side(old, now, [cell.id for cell in wanted])
    if not found.common:
        hint = "name two runs of one matrix" if not only and not skip else "loosen --only and --skip"
        raise NothingToJudgeError(f"{base} and {new} have no cell in common that both were to measure", hint)
    return found


def known_output(path: Path | None) -> None:
    """`UsageError` for a file whose name does not say what to write; checked before anything is read."""
    if path is not None and path.suffix not in SUFFIXES:
        raise UsageError(f"--out {path} is neither Markdown nor JSON", f"end it with {' or '.join(SUFFIXES)}")


def write_comparison(comparison: Comparison, path: Path) -> None:
    """Write it as what the file's name ends with."""
    from bench.report import compare_json, compare_markdown

    module = compare_json if path.suffix == ".json" else compare_markdown
    write_atomically(path, module.render(comparison).encode("utf-8", errors="replace"))
