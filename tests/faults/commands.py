"""Starts the command of `fake_bench`, and reads what it leaves."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import psutil

from bench import pipeline, store

HERE = Path(__file__).parents[2]
END_S = 30.0
"""How long a worker may live after the end of its parent."""
MATRIX = """\
schema = 1
[measure]
timeout_s = 60
[models.vit]
family = "image-classifier"
source = "config:vit-tiny"
workloads = [{ batch = 1 }, { batch = 2 }]
[precisions.fp32]
fake = "fp32"
[runtimes.ort]
requires = ["onnxruntime==1.31.1"]
[baselines.base]
engine = "fake"
mode = "obeys"
control = true
runtime = "ort"
[baselines.other]
engine = "fake"
mode = "lies"
runtime = "ort"
[baselines.broken]
engine = "fake"
mode = "raises"
runtime = "ort"
"""
VERDICTS = {
    f"vit/fp32/{target}/b{batch}": status
    for target, status in {"base": "ok", "other": "inaccurate", "broken": "failed"}.items()
    for batch in (1, 2)
}
"""What an undisturbed run says."""


def begin(folder: Path, *more: str) -> list[str]:
    """The command line of a new run in `folder`, or of one to resume where there is one."""
    command = [sys.executable, "-m", "tests.faults.fake_bench", "run", "--format", "csv"]
    command += ["--cache-dir", str(folder.parent / "cache")]
    if (folder / store.RUN).exists():
        return [*command, "--resume", str(folder), *more]
    matrix = folder.parent / "matrix.toml"
    matrix.write_text(MATRIX, encoding="utf-8")
    return [*command, "--matrix", str(matrix), "--out", str(folder), *more]


def start(folder: Path, blocks: int = 2, largest_bytes: int | None = None) -> subprocess.Popen[str]:
    """Start a run of so many blocks, or go on with it; no file may become larger than so many bytes."""

    def limited() -> None:
        # Windows has none.
        import resource

        if largest_bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest_bytes, largest_bytes))

    environment = {**os.environ, "FAKE_BLOCKS": str(blocks)}
    return subprocess.Popen(
        begin(folder),
        cwd=HERE,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=limited,  # noqa: PLW1509 - no other thread holds a lock that it needs
    )


def finish(folder: Path, blocks: int = 2) -> None:
    """Run, or go on with a run, until it is complete."""
    environment = {**os.environ, "FAKE_BLOCKS": str(blocks)}
    done = subprocess.run(begin(folder), cwd=HERE, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


class Server:
    """Runs command lines in processes that have loaded everything already; one at a time."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.fake_bench", "--serve"],
            cwd=HERE,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)

    def start(self, folder: Path, blocks: int) -> int:
        """Start a run, or go on with it; the number of its process."""
        words = begin(folder)[3:]
        order = {"words": words, "blocks": blocks, "log": str(folder.parent / "log")}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return int(self._lines.get(timeout=60))

    def ended(self, within_s: float) -> int | None:
        """How the process ends; None where it does not within the time."""
        try:
            return int(self._lines.get(timeout=within_s))
        except queue.Empty:
            return None

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(60)
        self._listener.join(60)
        self._process.stdout.close()


def descendants(pid: int) -> list[psutil.Process]:
    """The worker processes of a run."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def all_end(processes: list[psutil.Process]) -> bool:
    """Whether every process ends soon."""
    return not psutil.wait_procs(processes, timeout=END_S)[1]


def verdicts(folder: Path) -> dict[str, str]:
    """The status of every cell."""
    return {outcome.cell.id: outcome.status for outcome in pipeline.read(folder).outcomes}


def blocks(folder: Path) -> Counter[tuple[str, int]]:
    """How often each cell was measured in each block."""
    return Counter((observation.cell, observation.round) for observation in store.read(folder)[1])
