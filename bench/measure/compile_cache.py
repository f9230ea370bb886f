"""Folders for what providers compile: one for each group of cells, made when it is wanted and gone after the run."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from pathlib import Path

from bench.files import writing

STALE_S = 7 * 24 * 3600.0
"""A folder this old was left by a run that was killed: no run takes a week."""
PREFIX = "run-"


class CompileCaches:
    """The folders of one run, under `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.run_folder: Path | None = None

    def folder(self, group: str) -> Path:
        """The folder of one group; empty when it is asked for the first time."""
        with writing(self.root):
            if self.run_folder is None:
                self.root.mkdir(parents=True, exist_ok=True)
                _sweep(self.root)
                self.run_folder = Path(tempfile.mkdtemp(dir=self.root, prefix=PREFIX))
            folder = self.run_folder / group.replace("/", "--")
            folder.mkdir(exist_ok=True)
        return folder

    def close(self) -> None:
        """Remove everything: a compile cache that a later run found would make its cold start a warm one."""
        if self.run_folder is not None:
            shutil.rmtree(self.run_folder, ignore_errors=True)
            self.run_folder = None


def _sweep(root: Path) -> None:
    for old in root.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            if time.time() - old.stat().st_mtime > STALE_S:
                shutil.rmtree(old, ignore_errors=True)
