"""Finds the version of ONNX Runtime that a cell ran with."""

from __future__ import annotations

from collections.abc import Mapping

from bench.records import Cell, Run

NO_WHEELS = ("onnxruntime-ep-", "onnxruntime-qnn", "onnxruntime-genai", "onnxruntime-extensions")
"""Packages whose names begin like a wheel of ONNX Runtime, but that contain something else."""


def onnxruntime(run: Run, cell: Cell, known: Mapping[str, str]) -> str | None:
    """The version in `known`, which the worker reports; else that of the wheel in the cell's runtime.

    The wheel has different names, such as onnxruntime-gpu. None for a cell without a provider or without such a wheel.
    """
    if "onnxruntime" in known:
        return known["onnxruntime"]
    if cell.provider is None or cell.runtime not in run.runtimes:
        return None
    packages = run.runtimes[cell.runtime].packages
    # Sorted, so that two machines name the same wheel.
    wheels = (name for name in sorted(packages) if name.startswith("onnxruntime") and not name.startswith(NO_WHEELS))
    return next((packages[name] for name in wheels), None)
