"""The format `npz`: weights and bias of a linear model in one `weights.npz`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bench.records import FormatManifest, Tolerance
from bench.worker.recipes import Context, recipe
from touchstone_example import family

MANIFEST = FormatManifest(base="npz-fp32")


@recipe("npz-fp32", number_format="fp32")
def fp32(context: Context, out: Path) -> tuple[str, ...]:
    """The weights in FP32."""
    return _saved(out, *family.weights(context.source))


@recipe(
    "npz-rounded",
    number_format="fp16",
    tolerance={"linear": Tolerance(min_cosine=0.999, max_relative_error=0.01)},
)
def rounded(context: Context, out: Path, *, bias: bool = True) -> tuple[str, ...]:
    """The weights rounded to FP16, and the bias too unless `bias` is false; computed in FP32."""
    with np.load(context.base / "weights.npz") as base:
        matrix, kept = base["matrix"], base["bias"]
    return _saved(out, matrix.astype(np.float16), kept.astype(np.float16) if bias else kept)


def _saved(out: Path, matrix: Any, bias: Any) -> tuple[str, ...]:
    np.savez(out / "weights.npz", matrix=matrix, bias=bias)
    return ()
