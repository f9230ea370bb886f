"""Compare or follow the runs in stored folders, for `bench compare` and `bench history`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench import store
from bench.errors import NothingToJudgeError, RunFolderError, UsageError
from bench.files import write_atomically

if TYPE_CHECKING:
    from bench.comparison.history import History
    from bench.comparison.model import Comparison, Judged
    from bench.progress import Progress

SUFFIXES = (".md", ".json")
"""The file formats of a comparison, by suffix."""


def compare(base: Path, new: Path, only: Sequence[str] = (), skip: Sequence[str] = ()) -> Comparison:
    """Compare the runs in two folders, cell by cell.

    Raises `RunFolderError` for a folder without a run, `UsageError` for a glob that matches nothing, and
    `NothingToJudgeError` if no cell was planned in both runs.
    """
    # Imported late: they load NumPy and SciPy, and a command that needs neither must start quickly.
    from bench.comparison.compare import compare as side_by_side
    from bench.comparison.compare import judged
    from bench.declare.plan import select

    # One after the other: the raw samples of the first run are freed before those of the second are read.
    old, now = (judged(*store.read(folder)) for folder in (base, new))
    cells = {cell.id: cell for run in (now.run, old.run) for cell in run.cells}
    chosen = select(tuple(cells.values()), only, skip)
    comparison = side_by_side(old, now, [cell.id for cell in chosen])
    if not comparison.common:
        hint = "name two runs of one matrix" if not only and not skip else "loosen --only and --skip"
        raise NothingToJudgeError(f"{base} and {new} have no common cell that both planned to measure", hint)
    return comparison


def known_output(path: Path | None) -> None:
    """Raise `UsageError` if a file name has no known suffix; call it first, since reading the runs takes long."""
    if path is not None and path.suffix not in SUFFIXES:
        raise UsageError(f"--out {path} is neither Markdown nor JSON", f"end it with {' or '.join(SUFFIXES)}")


def write_comparison(comparison: Comparison, path: Path) -> None:
    """Write a comparison in the format that the file name's suffix names."""
    from bench.comparison.compare_files import RENDERERS

    write_atomically(path, RENDERERS[path.suffix](comparison).encode("utf-8", errors="replace"))


def history(folder: Path, progress: Progress, only: Sequence[str] = (), skip: Sequence[str] = ()) -> History:
    """Follow every cell over the runs in a folder. Runs that cannot be read are listed with the reason.

    Raises `RunFolderError` if there is no such folder, `UsageError` for a glob that matches nothing, and
    `NothingToJudgeError` if no run can be read.
    """
    from bench.comparison.history import history as over_time
    from bench.declare.plan import select

    runs, left_out = _readable(_run_folders(folder), progress)
    if not runs:
        why = f"; {left_out[0]}" if left_out else ""
        raise NothingToJudgeError(f"{folder} holds no run that can be read{why}", "name the folder that holds runs")
    cells = {cell.id: cell for judged_run in runs for cell in judged_run.run.cells}
    chosen = [cell.id for cell in select(tuple(cells.values()), only, skip)]
    return over_time(runs, chosen, left_out)


def write_history(history: History, folder: Path, progress: Progress) -> tuple[Path, ...]:
    """Write `history.html` and `history.csv` into a folder, and return their paths."""
    # Imported late, since Altair and Jinja take long to load.
    from bench.comparison import history_csv, history_page

    paths = []
    for module in (history_page, history_csv):
        progress.step(f"writing {folder / module.FILE}")
        # Names of folders may hold bytes that are no UTF-8; Python keeps them as surrogates, which cannot be encoded.
        write_atomically(folder / module.FILE, module.render(history).encode("utf-8", errors="replace"))
        paths.append(folder / module.FILE)
    return tuple(paths)


def _run_folders(folder: Path) -> list[Path]:
    """The subfolders that hold a run, sorted by name."""
    try:
        inside = sorted(folder.iterdir())
    except OSError as error:
        raise RunFolderError(
            f"{folder} cannot be read: {error.strerror}", "name a folder of runs, as reports/"
        ) from None
    if (folder / store.RUN).exists():
        raise UsageError(
            f"{folder} is one run, and a history takes several", f"name the folder that holds it: {folder.parent}"
        )
    return [path for path in inside if (path / store.RUN).exists()]


def _readable(folders: Sequence[Path], progress: Progress) -> tuple[list[Judged], list[str]]:
    """All readable runs, judged, and a sentence for each that cannot be read.

    The raw samples of only one run are in memory at a time.
    """
    from bench.comparison.compare import judged
    from bench.comparison.history import moment

    runs: list[Judged] = []
    left_out: list[str] = []
    progress.step(f"reading {len(folders)} run{'' if len(folders) == 1 else 's'}")
    for number, path in enumerate(folders, start=1):
        progress.detail(f"run {number} of {len(folders)}: {path.name}")
        try:
            judged_run = judged(*store.read(path))
        except RunFolderError as error:
            # The page may be published, so it must not show paths of this machine.
            left_out.append(str(error).replace(f"{path.parent}{os.sep}", ""))
            continue
        # Without a date a run has no place in the order of time.
        if moment(judged_run.run.created) is None:
            left_out.append(f"{path.name}/{store.RUN} does not say when the run was made")
        else:
            runs.append(judged_run)
    return runs, left_out
