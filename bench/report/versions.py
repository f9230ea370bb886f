"""The versions of the libraries behind a cell."""

from __future__ import annotations

from collections.abc import Mapping

from bench.records import Cell, Run

NO_WHEELS = ("onnxruntime-ep-", "onnxruntime-qnn", "onnxruntime-genai", "onnxruntime-extensions")
"""Packages that begin like a wheel of ONNX Runtime and hold something else."""


def onnxruntime(run: Run, cell: Cell, known: Mapping[str, str]) -> str | None:
    """What the worker said; before it could, the package that the runtime holds under one of its many names."""
    if "onnxruntime" in known:
        return known["onnxruntime"]
    if cell.provider is None or cell.runtime not in run.runtimes:
        return None
    packages = run.runtimes[cell.runtime].packages
    wheels = (name for name in sorted(packages) if name.startswith("onnxruntime") and not name.startswith(NO_WHEELS))
    return next((packages[name] for name in wheels), None)
