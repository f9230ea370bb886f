"""The format `npz`: weights and bias of a linear model in one `weights.npz`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bench.records import FormatManifest, Note, Tolerance, note
from bench.worker.recipes import Context, recipe
from touchstone_example import family

MANIFEST = FormatManifest(base="npz-fp32")


@recipe("npz-fp32", number_format="fp32")
def fp32(context: Context, out: Path) -> tuple[Note, ...]:
    """The weights in FP32."""
    _save(out, *family.weights(context.source))
    return ()


@recipe(
    "npz-rounded",
    number_format="fp16",
    tolerance={"linear": Tolerance(min_cosine=0.999, max_relative_error=0.01)},
)
def rounded(context: Context, out: Path, *, bias: bool = True) -> tuple[Note, ...]:
    """The weights rounded to FP16, and the bias too unless `bias` is false; computed in FP32."""
    with np.load(context.base / "weights.npz") as base:
        matrix, kept = base["matrix"], base["bias"]
    _save(out, matrix.astype(np.float16), kept.astype(np.float16) if bias else kept)
    return (note("text", text=f"weights{' and bias' if bias else ''} rounded to FP16"),)


def _save(out: Path, matrix: Any, bias: Any) -> None:
    np.savez(out / "weights.npz", matrix=matrix, bias=bias)
