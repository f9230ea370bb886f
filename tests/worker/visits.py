"""Small visits for tests of the worker: a model, references from its own sums, and a channel that keeps its replies."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from limits import limits

from bench.declare import catalogue
from bench.declare.budgets import BUDGETS
from bench.records import (
    Burst,
    Effort,
    Held,
    Hold,
    Job,
    Profile,
    Provider,
    Recipe,
    Reply,
    Source,
    Stage,
    Tolerance,
    Visit,
)
from bench.shared import protobuf
from bench.worker import feeds, warm_session
from bench.worker.onnx_runtime import onnx_protobuf

CPU = "CPUExecutionProvider"
HASTE = Effort("haste", 2, 2, None, 2, 0.0, 0.02, 0.005, 60.0)
WEIGHT = np.random.default_rng(0).standard_normal((8, 4)).astype(np.float32)


def a_provider(ep: str, **said: object) -> Provider:
    """A provider that behaves as the catalogue says of its `ep`, as one that a matrix names does."""
    return Provider(ep, **(catalogue.behavior(ep, said.get("plugin")) | said))


class Recorder:
    """A channel whose replies stay here."""

    def __init__(self) -> None:
        self.said: list[Reply] = []
        self.stage_name = "start"

    def stage(self, name: str, workload: str | None = None) -> None:
        self.stage_name = name
        self.said.append(Stage(name, workload))

    def say(self, reply: Reply) -> None:
        self.said.append(reply)

    def kinds(self) -> list[str]:
        """`stage import`, `opened` …, in the order they came."""
        return [f"stage {r.name}" if isinstance(r, Stage) else type(r).__name__.lower() for r in self.said]

    def of(self, kind: type) -> list:
        return [reply for reply in self.said if isinstance(reply, kind)]


def measure(visit: Visit, channel: Recorder) -> None:
    """What a block asks of one worker: hold the workloads, make one burst of each that is warm, then profile.

    Nothing stays in memory after it.
    """
    try:
        warm_session.hold(Hold(visit), channel)
        for held in channel.of(Held):
            channel.say(warm_session.burst(Burst(held.workload, visit.effort.burst_s), channel))
        if visit.profile:
            warm_session.profile(Profile(visit), channel)
    finally:
        warm_session.free()


def a_model(folder: Path, batch: int | str = "batch") -> Path:
    """A folder with y = x @ w, of any batch or of a fixed one."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(onnx_protobuf.matrix_products([WEIGHT], (batch, 8)))
    return folder


def a_model_with_shape_arithmetic(folder: Path) -> Path:
    """A folder with y = x @ w, reshaped to (its first dimension, -1); written by hand, for runtimes without onnx."""
    folder.mkdir(parents=True, exist_ok=True)
    nodes = [("MatMul", "x w", "h"), ("Shape", "h", "s"), ("Gather", "s first", "d")]
    nodes += [("Concat", "d rest", "t"), ("Reshape", "h t", "y")]
    graph = b"".join(protobuf.content(1, _node(*node)) for node in nodes) + protobuf.text(2, "g")
    graph += protobuf.content(5, onnx_protobuf._tensor_of("w", WEIGHT, 1))
    for name, value in (("first", 0), ("rest", -1)):
        graph += protobuf.content(5, onnx_protobuf._tensor_of(name, np.array([value], np.int64), 7))  # type: ignore[arg-type]
    graph += protobuf.content(11, onnx_protobuf._value_of("x", 1, ("batch", 8))) + protobuf.content(
        12, onnx_protobuf._value_of("y", 1, ("batch", 4))
    )
    model = (
        protobuf.number(1, 9)
        + protobuf.content(7, graph)
        + protobuf.content(8, protobuf.text(1, "") + protobuf.number(2, 17))
    )
    (folder / "model.onnx").write_bytes(model)
    return folder


def _node(op: str, inputs: str, output: str) -> bytes:
    node = b"".join(protobuf.text(1, name) for name in inputs.split())
    node += protobuf.text(2, output) + protobuf.text(3, output) + protobuf.text(4, op)
    if op == "Concat":
        node += protobuf.content(5, protobuf.text(1, "axis") + protobuf.number(3, 0) + protobuf.number(20, 2))
    return node


def a_job(folder: Path, batch: int = 1) -> Job:
    """A workload of the model above, and what it must lead to."""
    folder = folder / f"b{batch}"
    folder.mkdir(parents=True, exist_ok=True)
    batches = [{"x": np.random.default_rng(n).standard_normal((batch, 8)).astype(np.float32)} for n in range(2)]
    feeds.save(folder / "inputs.npz", batches)
    feeds.save(folder / "outputs.npz", [{"y": feed["x"] @ WEIGHT} for feed in batches])
    (folder / "reference.json").write_text(json.dumps({"by": "NumPy, FP32"}), encoding="utf-8")
    return Job(f"b{batch}", {"batch": batch}, str(folder))


def a_visit(artifact: Path | None = None, **changes: object) -> Visit:
    """A visit of the small model on the CPU provider."""
    said = {
        "engine": "ort",
        "family": "onnx-file",
        "source": Source(kind="onnx", path="", weights="pretrained", digest=""),
        "recipe": Recipe("fp32", number_format="fp32"),
        "jobs": (),
        "threads": 1,
        "effort": BUDGETS["quick"],
        "artifact": str(artifact) if artifact else None,
        "provider": a_provider(CPU),
    }
    said |= changes
    said.setdefault("tolerance", limits(said["family"]).get(said["recipe"].number_format, Tolerance()))
    return Visit(**said)


def a_whole_visit(folder: Path, **changes: object) -> Visit:
    """A visit that can be carried out from its first stage to its last."""
    said = {"jobs": (a_job(folder),), "effort": HASTE, "tolerance": Tolerance(0.99), "scratch": str(folder)}
    return a_visit(a_model(folder / "model"), **(said | changes))
