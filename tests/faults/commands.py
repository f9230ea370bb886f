"""Starts the command of `fake_bench`, and reads what it leaves."""

from __future__ import annotations

import os
import subprocess
import sys
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


def start(folder: Path, blocks: int = 2, largest_kib: int | None = None) -> subprocess.Popen[str]:
    """Start a run of so many blocks, or go on with it; no file may become larger than so many KiB."""
    command = begin(folder)
    if largest_kib is not None:
        command = ["bash", "-c", 'ulimit -f "$0"; exec "$@"', str(largest_kib), *command]
    environment = {**os.environ, "FAKE_BLOCKS": str(blocks)}
    return subprocess.Popen(
        command, cwd=HERE, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(folder: Path) -> None:
    """Run, or go on with a run, until it is complete."""
    done = subprocess.run(begin(folder), cwd=HERE, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def descendants(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The worker processes of a run."""
    try:
        return psutil.Process(process.pid).children(recursive=True)
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
