"""Makes a folder for what providers compile, one for each group of cells, and removes it after the run."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from pathlib import Path

from bench.files import writing

STALE_S = 7 * 24 * 3600.0
"""A folder of this age belongs to a run that was killed, because no run takes a week."""
PREFIX = "run-"


class CompileCaches:
    """The folders of one run, under `root`; none exists before the first is requested."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.run_folder: Path | None = None

    def folder(self, group: str) -> Path:
        """The folder of one group; it is empty at the first request."""
        with writing(self.root):
            if self.run_folder is None:
                self.root.mkdir(parents=True, exist_ok=True)
                # A run that was killed could not remove its folder.
                _sweep(self.root)
                # A new folder for each run: what another run compiled would make the cold start warm.
                self.run_folder = Path(tempfile.mkdtemp(dir=self.root, prefix=PREFIX))
            # The id of a group has slashes, which would make nested folders.
            folder = self.run_folder / group.replace("/", "--")
            folder.mkdir(exist_ok=True)
        return folder

    def empty(self, group: str) -> None:
        """Remove what was compiled for one group."""
        if self.run_folder is not None:
            shutil.rmtree(self.run_folder / group.replace("/", "--"), ignore_errors=True)

    def close(self) -> None:
        """Remove all folders; with a compile cache from this run, a later run would have no cold start."""
        if self.run_folder is not None:
            shutil.rmtree(self.run_folder, ignore_errors=True)
            self.run_folder = None


def _sweep(root: Path) -> None:
    for old in root.glob(f"{PREFIX}*"):
        # Another run may be removing the same folder.
        with contextlib.suppress(OSError):
            if time.time() - old.stat().st_mtime > STALE_S:
                shutil.rmtree(old, ignore_errors=True)
