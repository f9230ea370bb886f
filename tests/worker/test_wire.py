"""The hand-written protobuf against the real one: models that `onnx` accepts, and shapes read as `onnx` reads them."""

from __future__ import annotations

import io

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from visits import a_model

from bench.worker.onnx_runtime import onnx_protobuf


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_a_written_model_is_a_valid_one_and_says_what_was_meant(dtype):
    weights = [np.arange(200 * 3).reshape(200, 3).astype(dtype), np.ones((3, 300), dtype)]
    model = onnx.load(io.BytesIO(onnx_protobuf.matrix_products(weights, ("n", 200))))
    onnx.checker.check_model(model, full_check=True)
    assert [node.op_type for node in model.graph.node] == ["MatMul", "MatMul"]
    for tensor, weight in zip(model.graph.initializer, weights, strict=True):
        np.testing.assert_array_equal(numpy_helper.to_array(tensor), weight)
    assert [dim.dim_param or dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim] == ["n", 200]
    assert [dim.dim_param or dim.dim_value for dim in model.graph.output[0].type.tensor_type.shape.dim] == ["n", 300]


@pytest.fixture
def model(tmp_path):
    """Two inputs, one of them with two symbolic dimensions and one unnamed; weights that no reader should need."""
    inputs = [
        helper.make_tensor_value_info("ids", TensorProto.INT64, ["batch_size", "sequence_length"]),
        helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch_size", 3, None]),
    ]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    weight = numpy_helper.from_array(np.ones((500, 500), np.float32), "w")
    nodes = [helper.make_node("Cast", ["ids"], ["c"], to=1), helper.make_node("Relu", ["image"], ["y"])]
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", inputs, outputs, [weight]), doc_string="d" * 300), path)
    return path


def test_the_dimensions_of_inputs_are_read_by_name_or_number(model):
    assert onnx_protobuf.input_dimensions(model) == {
        "ids": ["batch_size", "sequence_length"],
        "image": ["batch_size", 3, ""],
    }


def test_every_symbolic_dimension_gets_the_size_that_the_feed_has(model):
    feed = {"ids": np.zeros((2, 128), np.int64), "image": np.zeros((2, 3, 9), np.float32)}
    assert onnx_protobuf.fixed_sizes(model, feed) == {"batch_size": 2, "sequence_length": 128}


def test_an_input_that_no_feed_has_fixes_nothing(model):
    assert onnx_protobuf.fixed_sizes(model, {}) == {}


def test_operators_are_counted(model):
    assert onnx_protobuf.operators(model) == {"Cast": 1, "Relu": 1}


def test_a_file_cut_short_is_told(tmp_path):
    path = a_model(tmp_path) / "model.onnx"
    path.write_bytes(path.read_bytes()[:2] + b"\xff")
    with pytest.raises(ValueError, match="ends amid a field"):
        onnx_protobuf.input_dimensions(path)
