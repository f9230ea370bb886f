"""The family `linear`: a matrix of weights and a bias, described by a JSON file with `inputs` and `outputs`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from bench.records import FamilyManifest, Note, Source, Tolerance, note
from bench.worker.feeds import Array, Feed

MANIFEST = FamilyManifest(
    task="forward",
    build_runtime="plain",
    sizes={"batch": 1},
    labels={"batch": "b"},
    rates={"vectors": ["batch"]},
    format="npz",
    engines=(),
    sources=("config",),
    has_module=False,
    tolerances={"fp32": Tolerance(min_cosine=0.99999, max_relative_error=1e-5)},
)


def load(source: Source) -> NoReturn:
    """There is no PyTorch module of it."""
    raise ValueError("a linear model has no PyTorch module")


def weights(source: Source) -> tuple[Array, Array]:
    """The seeded weights, float32 of (inputs, outputs), and the bias, float32 of (outputs,)."""
    config: dict[str, Any] = json.loads(Path(source.path).read_text(encoding="utf-8"))
    rng = np.random.default_rng(source.seed)
    matrix = rng.standard_normal((config["inputs"], config["outputs"]), np.float32)
    return matrix, rng.standard_normal(config["outputs"], np.float32)


def make_inputs(source: Source, sizes: dict[str, int], inputs: str | None) -> list[Feed]:
    """Two batches of seeded noise."""
    rng = np.random.default_rng(1)
    shape = (sizes["batch"], weights(source)[0].shape[0])
    return [{"x": rng.standard_normal(shape, np.float32)} for _ in range(2)]


def describe_inputs(source: Source, sizes: dict[str, int], inputs: str | None) -> tuple[Note, ...]:
    """That they are noise."""
    return (note("noise"),)


def reference(source: Source, feeds: list[Feed]) -> tuple[list[Feed], str]:
    """The outputs in FP64, rounded to FP32."""
    matrix, bias = (part.astype(np.float64) for part in weights(source))
    return [{"y": (feed["x"] @ matrix + bias).astype(np.float32)} for feed in feeds], f"NumPy {np.__version__}, FP64"


def comparable(outputs: Feed, feed: Feed) -> Feed:
    """The outputs as they are: `y`, float32 of (batch, outputs)."""
    return {"y": outputs["y"]}
