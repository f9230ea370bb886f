"""Orders for tests: the engine that misbehaves on request, with references made by hand."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from msgspec.structs import replace

from bench.prepare import worker_code
from bench.records import Effort, Hold, Job, Recipe, Source, Tolerance, Visit
from bench.worker import feeds
from bench.worker_process import Worker

HASTE = Effort(
    name="haste",
    min_rounds=2,
    max_rounds=2,
    half_width=None,
    warmup_calls=2,
    warmup_s=0.0,
    warmup_limit_s=0.05,
    burst_s=0.01,
    cell_limit_s=60.0,
)
FAMILY = "image-classifier"
"""A family that its worker's file can be imported for with NumPy alone."""


def a_reference(folder: Path, batch: int) -> Path:
    """The inputs of a workload and the outputs they must lead to, as the build would leave them."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = np.arange(batch * 3 * 4, dtype=np.float32).reshape(batch, 3, 2, 2)
    logits = np.arange(batch * 10, dtype=np.float32).reshape(batch, 10) + batch
    feeds.save(folder / "inputs.npz", [{"pixel_values": pictures}])
    feeds.save(folder / "outputs.npz", [{"logits": logits}])
    (folder / "reference.json").write_text(json.dumps({"by": "a test, FP32"}), encoding="utf-8")
    return folder


def a_visit(folder: Path, mode: str = "obeys", *, batches: tuple[int, ...] = (1,), **said: Any) -> Visit:
    """The fake engine in this mode, with workloads of these batches."""
    jobs = tuple(Job(f"b{batch}", {"batch": batch}, str(a_reference(folder / f"b{batch}", batch))) for batch in batches)
    visit = Visit(
        engine="fake",
        family=FAMILY,
        source=Source("config", "nowhere", "random", "0"),
        recipe=Recipe("fp32", number_format="fp32"),
        jobs=jobs,
        threads=1,
        effort=HASTE,
        mode=mode,
        tolerance=Tolerance(0.99),
        scratch=str(folder),
    )
    return replace(visit, **said)


def a_hold(folder: Path, mode: str = "obeys", *, batches: tuple[int, ...] = (1,), **said: Any) -> Hold:
    """An order to load the fake engine in this mode, and to keep workloads of these batches warm."""
    return Hold(a_visit(folder, mode, batches=batches, **said))


def a_worker(folder: Path, code: Path, memory_limit_bytes: int | None = None) -> Worker:
    """A worker in this interpreter, with the code that was staged."""
    environment = worker_code.child_environment(code)
    return Worker(Path(sys.executable), folder / "worker.log", environment, memory_limit_bytes)
