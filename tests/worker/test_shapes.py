"""Which nodes of a graph handle nothing but shapes: told by what they are made of, never by their type."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from visits import CPU, a_visit

from bench.records import Placement
from bench.worker.engines import ort
from bench.worker.onnx_runtime.assignment import shape_nodes

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


def a_node(op: str, inputs: str, output: str, name: str | None = None, **attributes: object) -> onnx.NodeProto:
    """A node named as its output, unless said otherwise."""
    taken = ["" if each == "-" else each for each in inputs.split()]
    return helper.make_node(op, taken, [output], name=output if name is None else name, **attributes)


def a_file(folder: Path, *nodes: onnx.NodeProto, result: str = "y") -> Path:
    """A model of these nodes, of the input x, indices, a float scalar and a table of weights."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {
        "zero": np.array([0], np.int64),
        "positions": np.arange(8)[None],
        "half": np.array(0.5, np.float32),
        "table": np.ones((8, 4), np.float32),
    }
    graph = helper.make_graph(
        list(nodes),
        "shapes",
        [helper.make_tensor_value_info("x", FLOAT, ["batch", 8]), helper.make_tensor_value_info("i", INT64, ["n"])],
        [helper.make_tensor_value_info(result, FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("straw", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), folder / "model.onnx")
    return folder / "model.onnx"


SHAPE = a_node("Shape", "x", "s")


def test_what_descends_from_a_shape_and_constants_alone_is_of_shapes(tmp_path):
    constant = a_node("Constant", "", "c", value=numpy_helper.from_array(np.array([-1], np.int64)))
    chain = [SHAPE, a_node("Gather", "s zero", "d"), constant, a_node("Concat", "d c", "target", axis=0)]
    path = a_file(tmp_path, *chain, a_node("Reshape", "x target", "y"))
    assert shape_nodes(path) == {"s": "Shape", "d": "Gather", "c": "Constant", "target": "Concat"}


def test_scalars_made_of_shapes_and_slices_of_position_ids_are_too(tmp_path):
    root = [a_node("Cast", "s", "f", to=FLOAT), a_node("Sqrt", "f", "r"), a_node("Mul", "r half", "m")]
    ids = a_node("Slice", "positions zero s", "ids")
    assert set(shape_nodes(a_file(tmp_path, SHAPE, *root, ids))) == {"s", "f", "r", "m", "ids"}


def test_an_input_left_out_is_nothing_that_a_node_takes(tmp_path):
    resize = a_node("Clip", "s - zero", "y")
    assert "y" in shape_nodes(a_file(tmp_path, SHAPE, resize))


BODY = helper.make_graph(
    [helper.make_node("Identity", ["x"], ["b"])], "body", [], [helper.make_tensor_value_info("b", FLOAT, None)]
)
WEIGHTS = numpy_helper.from_array(np.ones((8, 4), np.float32))


@pytest.mark.parametrize(
    "nodes",
    [
        [a_node("Gather", "table i", "y")],
        [a_node("Gather", "table zero", "y")],
        [a_node("Gather", "table s", "y")],
        [a_node("Constant", "", "w", value=WEIGHTS), a_node("Gather", "w s", "y")],
        [a_node("Expand", "x s", "y")],
        [a_node("Relu", "x", "h"), a_node("Gather", "h zero", "y")],
        [a_node("RandomNormal", "", "y", shape=[3])],
        [a_node("ConstantOfShape", "s", "z"), a_node("RandomUniformLike", "z", "y")],
        [a_node("If", "s", "y", then_branch=BODY, else_branch=BODY)],
        [helper.make_node("Gather", ["s", "zero"], ["y"], name="y", domain="straw")],
        [a_node("Gather", "s zero", "y", name="")],
        [a_node("Gather", "s zero", "other", name="y"), a_node("Gather", "table i", "y")],
    ],
    ids=[
        "an embedding",
        "weights alone",
        "weights by a shape",
        "weights in a Constant",
        "data of a shape",
        "data made of data",
        "noise",
        "noise of a shape",
        "a subgraph that takes data from outside",
        "another domain",
        "no name",
        "a name that two nodes have",
    ],
)
def test_whatever_touches_data_or_has_no_name_of_its_own_is_not(tmp_path, nodes):
    assert not {"", "y", "w"} & set(shape_nodes(a_file(tmp_path, SHAPE, *nodes)))


def test_a_placement_tells_the_gather_of_a_shape_from_the_gather_that_is_an_embedding(tmp_path):
    picked = [SHAPE, a_node("Gather", "s zero", "d"), a_node("Concat", "d zero", "target", axis=0)]
    a_file(tmp_path, *picked, a_node("Gather", "table i", "e"), a_node("Expand", "e target", "y"))
    placed = ort.Session(a_visit(tmp_path)).placement
    assert placed is not None
    assert placed.nodes[CPU]["Gather"] == 2
    assert placed.shape_nodes == {CPU: {"Concat": 1, "Gather": 1, "Shape": 1}}
    assert placed.working(CPU) == {"Expand": 1, "Gather": 1}


def test_what_works_on_a_provider_is_what_neither_graph_nor_type_excuses():
    placed = Placement({"E": {"Gather": 3, "Shape": 2, "Cast": 1}}, "", shape_nodes={"E": {"Gather": 2, "Cast": 1}})
    assert placed.working("E") == {"Gather": 1}
    assert placed.working("another") == {}
