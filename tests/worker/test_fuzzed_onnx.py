"""Changed ONNX files given to ONNX's own parser and to what looks at its result: a graph, or a refusal in words."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from random import Random

import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

sys.path.insert(0, str(Path(__file__).parents[2]))
import numpy as np

from bench.worker.families import _onnx_graph
from bench.worker.refusal import Refusal
from tests.fuzz.changes import changed_bytes, changed_message

pytestmark = pytest.mark.worker
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "300"))
LONGEST_S = 5.0


def sound() -> list[bytes]:
    """A graph with constants, a body, a sparse tensor, external data and symbolic sizes."""
    value = helper.make_tensor_value_info
    x, y = value("x", TensorProto.FLOAT, ["n", 2, "n + 1"]), value("y", TensorProto.FLOAT, None)
    body = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["z"])], "body", [], [value("z", TensorProto.FLOAT, None)]
    )
    weights = numpy_helper.from_array(np.ones((2, 2), np.float32), "w")
    outside = TensorProto(name="v", data_type=1, dims=[2], data_location=TensorProto.EXTERNAL)
    outside.external_data.add(key="location", value="w.bin")
    shape = numpy_helper.from_array(np.array([2, 3]), "s")
    nodes = [
        helper.make_node("If", ["c"], ["a"], then_branch=body, else_branch=body),
        helper.make_node("MatMul", ["x", "w"], ["b"]),
        helper.make_node("ConstantOfShape", ["s"], ["d"], value=numpy_helper.from_array(np.zeros(1, np.float32))),
        helper.make_node("EPContext", ["x"], ["y"], domain="com.microsoft", ep_cache_context="c.bin", embed_mode=0),
    ]
    whole = helper.make_graph(nodes, "g", [x, value("c", TensorProto.BOOL, [])], [y], [weights, outside, shape])
    plain = helper.make_graph(nodes[1:2], "g", [x], [value("b", TensorProto.FLOAT, None)], [weights])
    return [helper.make_model(graph).SerializeToString() for graph in (whole, plain)]


def test_every_file_is_a_graph_or_a_refusal(tmp_path):
    path = tmp_path / "m.onnx"
    for name in ("w.bin", "c.bin"):
        (tmp_path / name).write_bytes(bytes(8))
    refused, sounds = 0, sound()
    for seed in range(EXAMPLES):
        random = Random(seed)
        change = changed_message if random.random() < 0.8 else changed_bytes
        path.write_bytes(change(random.choice(sounds), random))
        began = time.process_time()
        try:
            model = _onnx_graph.read(path)
            assert isinstance(model, onnx.ModelProto)
            _onnx_graph.inputs(model)
        except Refusal:
            refused += 1
        except Exception as error:
            error.add_note(f"seed {seed}")
            raise
        assert time.process_time() - began < LONGEST_S, seed
    # Else the changes would never be seen, or no file would be read.
    assert EXAMPLES < 100 or 0 < refused < EXAMPLES
