"""Recipes on graphs made by hand: what they refuse, what they leave alone, and batches that go through a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

onnx = pytest.importorskip("onnx")

from bench.records import Build, Recipe, Refer, Source, note  # noqa: E402
from bench.worker import artifacts, feeds  # noqa: E402
from bench.worker.formats import _onnx_files  # noqa: E402
from bench.worker.refusal import Refusal  # noqa: E402

FLOAT = onnx.TensorProto.FLOAT


def a_model(folder: Path, *nodes: Any, **weights: np.ndarray) -> Source:
    """A graph from x (n, 64) to y, with its weights; the export of it lies beside it in `fp32`."""
    graph = onnx.helper.make_graph(
        list(nodes),
        "g",
        [onnx.helper.make_tensor_value_info("x", FLOAT, ["n", 64])],
        [onnx.helper.make_tensor_value_info("y", FLOAT, ["n", "m"])],
        [onnx.numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()],
    )
    opsets = [onnx.helper.make_opsetid("", 18)]
    onnx.save_model(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=9), folder / "m.onnx")
    source = Source(kind="onnx", path=str(folder / "m.onnx"), weights="pretrained", digest="")
    (folder / "fp32").mkdir()
    artifacts.build(Build("onnx", "onnx-file", source, Recipe("fp32"), str(folder / "fp32"), opset=18))
    return source


def two_layers(folder: Path) -> Source:
    rng = np.random.default_rng(0)
    return a_model(
        folder,
        onnx.helper.make_node("MatMul", ["x", "w1"], ["a"], name="first"),
        onnx.helper.make_node("Softmax", ["a"], ["b"], name="middle"),
        onnx.helper.make_node("MatMul", ["b", "w2"], ["y"], name="second"),
        w1=rng.standard_normal((64, 32)),
        w2=rng.standard_normal((32, 16)),
    )


def converted(folder: Path, source: Source, recipe: str, **options: Any) -> Path:
    out = folder / recipe
    out.mkdir()
    artifacts.build(Build("onnx", "onnx-file", source, Recipe(recipe, options), str(out), str(folder / "fp32")))
    return out / "model.onnx"


def run(path: Path, x: np.ndarray) -> np.ndarray:
    return ort.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]


@pytest.mark.parametrize("recipe", ["fp16", "dynamic-int8", "static-qdq-int8"])
def test_a_recipe_leaves_a_model_that_gives_nearly_the_same(tmp_path: Path, recipe: str) -> None:
    path = converted(tmp_path, two_layers(tmp_path), recipe)
    x = np.random.default_rng(1).standard_normal((4, 64)).astype(np.float32)
    want, got = run(tmp_path / "fp32" / "model.onnx", x), run(path, x)
    assert got.dtype == np.float32
    assert 0 < np.abs(got - want).max() < 0.1 * np.abs(want).max()


def test_fp16_leaves_the_named_op_types_in_fp32(tmp_path: Path) -> None:
    source = two_layers(tmp_path)
    kept = onnx.load(converted(tmp_path, source, "fp16", keep_fp32="Softmax")).graph
    softmax = next(node for node in kept.node if node.op_type == "Softmax")
    producer = next(node for node in kept.node if node.output[0] == softmax.input[0])
    assert producer.op_type == "Cast"
    assert producer.attribute[0].i == FLOAT


def test_dynamic_int8_takes_the_named_op_types_only(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="no Gemm has constant weights; those of the model are in MatMul x2"):
        converted(tmp_path, two_layers(tmp_path), "dynamic-int8", operators="Gemm")


def test_a_scale_for_each_channel_is_a_scale_for_each_channel(tmp_path: Path) -> None:
    graph = onnx.load(converted(tmp_path, two_layers(tmp_path), "dynamic-int8")).graph
    scales = [tensor for tensor in graph.initializer if tensor.name.startswith("w") and tensor.name.endswith("_scale")]
    assert sorted(list(tensor.dims) for tensor in scales) == [[16], [32]]


def test_weights_whose_shapes_are_declared_too_are_quantized(tmp_path: Path) -> None:
    """Dynamo's exports declare them, and the quantizer transposes the weights of Gemm."""
    rng = np.random.default_rng(0)
    gemm = onnx.helper.make_node("Gemm", ["x", "w", "b"], ["y"], name="gemm", transB=1)
    source = a_model(tmp_path, gemm, w=rng.standard_normal((32, 64)), b=rng.standard_normal(32))
    for path in (Path(source.path), tmp_path / "fp32" / "model.onnx"):
        model = onnx.load(path)
        model.graph.value_info.append(onnx.helper.make_tensor_value_info("w", FLOAT, [32, 64]))
        onnx.save_model(model, path)
    assert onnx.shape_inference.infer_shapes(model, strict_mode=True)
    x = rng.standard_normal((4, 64)).astype(np.float32)
    want = run(tmp_path / "fp32" / "model.onnx", x)
    for recipe in ("dynamic-int8", "static-qdq-int8"):
        assert 0 < np.abs(run(converted(tmp_path, source, recipe), x) - want).max() < 0.1 * np.abs(want).max()


def test_a_convolution_in_a_branch_is_quantized_where_its_weights_are_outside(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)

    def branch(name: str, weight: str) -> Any:
        nodes = [
            onnx.helper.make_node("Unsqueeze", ["x", "one"], [f"{name}_u"]),
            onnx.helper.make_node("Conv", [f"{name}_u", weight, "shared"], [f"{name}_c"], pads=[1, 1]),
            onnx.helper.make_node("ReduceMean", [f"{name}_c", "one"], [f"{name}_y"], keepdims=0),
        ]
        out = onnx.helper.make_tensor_value_info(f"{name}_y", FLOAT, None)
        return onnx.helper.make_graph(nodes, name, [], [out])

    chosen = onnx.helper.make_node("If", ["c"], ["y"], then_branch=branch("t", "w1"), else_branch=branch("e", "w2"))
    nodes = [
        onnx.helper.make_node("Constant", [], ["one"], value_ints=[1]),
        onnx.helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
        onnx.helper.make_node("Constant", [], ["zero"], value_float=0.0),
        onnx.helper.make_node("Greater", ["sum", "zero"], ["c"]),
        chosen,
    ]
    weights = {"w1": rng.standard_normal((8, 1, 3)), "w2": rng.standard_normal((8, 1, 3)), "shared": rng.random(8)}
    source = a_model(tmp_path, *nodes, **weights)
    path = converted(tmp_path, source, "dynamic-int8")
    x = rng.standard_normal((4, 64)).astype(np.float32)
    for sign in (1, -1):
        given = sign * np.sign(x.sum()) * x
        want = run(tmp_path / "fp32" / "model.onnx", given)
        assert 0 < np.abs(run(path, given) - want).max() < 0.05 * np.abs(want).max()


def test_a_model_without_weights_has_nothing_to_quantize(tmp_path: Path) -> None:
    source = a_model(tmp_path, onnx.helper.make_node("Softmax", ["x"], ["y"], name="only"))
    with pytest.raises(Refusal, match="nothing to quantize"):
        converted(tmp_path, source, "dynamic-int8")


@pytest.mark.parametrize(
    ("recipe", "options", "said"),
    [
        ("in8", {}, "unknown recipe 'in8'; the format onnx has dynamic-int8, fp16, fp32, "),
        ("dynamic-int8", {"per_chanel": True}, "'dynamic-int8' has no option 'per_chanel'; it has per_channel, "),
        ("dynamic-int8", {"weight_type": "int3"}, "unknown integer type 'int3'; there are int8 and uint8"),
        ("static-qdq-int8", {"coverage": "some"}, "unknown coverage 'some'; there are 'weights' and 'all'"),
    ],
)
def test_a_recipe_or_option_that_is_not_there_is_answered_with_those_that_are(
    tmp_path: Path, recipe: str, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        converted(tmp_path, two_layers(tmp_path), recipe, **options)


def test_what_a_recipe_wrote_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = two_layers(tmp_path)

    def broken(graph: Any) -> bool:
        """In the place of what sorts the nodes, the last step before the check."""
        graph.node[0].input[0] = "nowhere"
        return True

    monkeypatch.setattr(_onnx_files, "repair", lambda model: None)
    monkeypatch.setattr(_onnx_files, "sort", broken)
    with pytest.raises(Refusal, match=r"does not open what the recipe made on the CPU: .*nowhere"):
        converted(tmp_path, source, "fp16")


def test_refer_writes_what_a_worker_reads(tmp_path: Path) -> None:
    source, out = two_layers(tmp_path), tmp_path / "reference"
    out.mkdir()
    notes = artifacts.refer(Refer("onnx-file", source, {"batch": 4}, None, str(out))).notes
    inputs, outputs = feeds.load(out / "inputs.npz"), feeds.load(out / "outputs.npz")
    assert [feed["x"].shape for feed in inputs] == [(4, 64), (4, 64)]
    np.testing.assert_allclose(run(tmp_path / "fp32" / "model.onnx", inputs[1]["x"]), outputs[1]["y"], atol=1e-5)
    assert notes == (note("noise"), note("counted-samples", samples=4, axis="n"))


# --- feeds ------------------------------------------------------------------------------------------------------------


def test_batches_come_back_as_they_were_in_their_order(tmp_path: Path) -> None:
    batches = [{"ids": np.arange(6).reshape(2, 3) + index, "mask": np.ones((2, 3), bool)} for index in range(12)]
    feeds.save(tmp_path / "inputs.npz", batches)
    loaded = feeds.load(tmp_path / "inputs.npz")
    assert len(loaded) == 12
    for want, got in zip(batches, loaded, strict=True):
        assert list(got) == list(want)
        assert all(np.array_equal(got[name], want[name]) and got[name].dtype == want[name].dtype for name in want)


def test_a_file_is_never_unpickled(tmp_path: Path) -> None:
    with (tmp_path / "inputs.npz").open("wb") as file:
        np.savez(file, **{"0/x": np.array([object()], dtype=object)})
    with pytest.raises(ValueError, match="allow_pickle"):
        feeds.load(tmp_path / "inputs.npz")
    with pytest.raises(ValueError, match="allow_pickle"):
        feeds.save(tmp_path / "objects.npz", [{"x": np.array([object()], dtype=object)}])


@pytest.mark.parametrize("key", ["x", "0/", "one/x", "-1/x"])
def test_a_key_that_is_no_batch_is_named(tmp_path: Path, key: str) -> None:
    with (tmp_path / "inputs.npz").open("wb") as file:
        np.savez(file, **{key: np.zeros(1)})
    with pytest.raises(ValueError, match=r"inputs.npz holds"):
        feeds.load(tmp_path / "inputs.npz")


def test_a_batch_that_is_missing_is_told(tmp_path: Path) -> None:
    with (tmp_path / "inputs.npz").open("wb") as file:
        np.savez(file, **{"0/x": np.zeros(1), "2/x": np.zeros(1)})
    with pytest.raises(ValueError, match="lacks a batch between 0 and 2"):
        feeds.load(tmp_path / "inputs.npz")
