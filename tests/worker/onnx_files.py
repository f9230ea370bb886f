"""ONNX files of a few nodes for the tests of their inputs, and what a test reads of those."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.records import InputOptions, Source
from bench.worker.families import onnx_file

onnx = pytest.importorskip("onnx")
FLOAT, INT64, INT32, UINT8 = (onnx.TensorProto.DataType.Value(name) for name in ("FLOAT", "INT64", "INT32", "UINT8"))


def a_node(op: str, inputs: str, outputs: str, **attributes: Any) -> Any:
    taken = ["" if name == "-" else name for name in inputs.split()]
    return onnx.helper.make_node(op, taken, outputs.split(), **attributes)


def a_file(
    path: Path,
    inputs: dict[str, tuple[int, list[Any] | None]],
    *nodes: Any,
    weights: dict[str, Any] | None = None,
    outputs: dict[str, list[Any]] | None = None,
    options: InputOptions | None = None,
) -> Source:
    """A model of these nodes; without any, an Identity of each input."""
    nodes = nodes or tuple(a_node("Identity", name, f"{name}_out") for name in inputs)
    ends = outputs or {name: None for node in nodes for name in node.output}
    graph = onnx.helper.make_graph(
        list(nodes),
        "g",
        [onnx.helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()],
        [onnx.helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in ends.items()],
        [onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in (weights or {}).items()],
    )
    model = onnx.helper.make_model(graph, ir_version=9, opset_imports=[onnx.helper.make_opsetid("", 18)])
    onnx.save_model(model, path)
    return Source("onnx", str(path), "pretrained", "", inputs=options or InputOptions())


def first(source: Source, sizes: dict[str, int], inputs: Path | None = None) -> dict[str, Any]:
    return onnx_file.make_inputs(source, sizes, str(inputs) if inputs else None)[0]


def shapes(source: Source, sizes: dict[str, int]) -> dict[str, tuple[int, ...]]:
    return {name: array.shape for name, array in first(source, sizes).items()}


def counted(source: Source, sizes: dict[str, int], inputs: Path | None = None) -> Any:
    """The note on the samples of a call."""
    notes = onnx_file.describe_inputs(source, sizes, str(inputs) if inputs else None)
    (found,) = [each for each in notes if each.kind.endswith("-samples")]
    return found


def kinds(source: Source, sizes: dict[str, int], inputs: Path | None = None) -> dict[str, Any]:
    notes = onnx_file.describe_inputs(source, sizes, str(inputs) if inputs else None)
    return {each.kind: each.values for each in notes}


def a_detector(path: Path, options: InputOptions | None = None) -> Source:
    """A scalar rate picks the branch, as in a voice detector; the state has its batch in the middle."""
    branches = {
        name: onnx.helper.make_graph(
            [a_node("MatMul", f"input w{name}", f"y{name}")],
            name,
            [],
            [onnx.helper.make_tensor_value_info(f"y{name}", FLOAT, None)],
        )
        for name in ("16", "8")
    }
    return a_file(
        path,
        {"input": (FLOAT, ["batch", "samples"]), "state": (FLOAT, [1, "batch", 4]), "sr": (INT64, [])},
        a_node("Equal", "sr rate", "is16"),
        a_node("If", "is16", "y", then_branch=branches["16"], else_branch=branches["8"]),
        a_node("Identity", "state", "stateN"),
        weights={
            "rate": np.int64(16000),
            "w16": np.ones((512, 1), np.float32),
            "w8": np.ones((256, 1), np.float32),
        },
        outputs={"y": None, "stateN": None},
        options=options,
    )
