"""ONNX files as people bring them: what ONNX Runtime runs is runnable, and what a file holds is read from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

onnx = pytest.importorskip("onnx")

from onnx import TensorProto as Kind  # noqa: E402
from onnx import helper  # noqa: E402
from onnxruntime import quantization  # noqa: E402

from bench.records import Build, Note, Recipe, Source, note  # noqa: E402
from bench.worker import artifacts, failures  # noqa: E402
from bench.worker.families import onnx_file  # noqa: E402
from bench.worker.formats import _onnx_facts as facts  # noqa: E402
from bench.worker.formats import _onnx_files as files  # noqa: E402
from bench.worker.refusal import Refusal  # noqa: E402

X = np.random.default_rng(1).standard_normal((4, 64)).astype(np.float32)
RNG = np.random.default_rng(0)
RECIPES = ("fp16", "dynamic-int8", "static-qdq-int8", "weight-only-int4", "weight-only-int8")


def weight(name: str, *shape: int, kind: Any = np.float32) -> Any:
    return onnx.numpy_helper.from_array((RNG.standard_normal(shape) / 8).astype(kind), name)


def scalar(name: str, value: Any, kind: Any = np.float32) -> Any:
    return onnx.numpy_helper.from_array(np.array(value, kind), name)


def value(name: str, *dims: int | str, kind: int = Kind.FLOAT) -> Any:
    return helper.make_tensor_value_info(name, kind, list(dims))


def node(op: str, inputs: str, output: str, **attributes: Any) -> Any:
    attributes.setdefault("name", f"node_{output}")
    return helper.make_node(op, inputs.split(), output.split(), **attributes)


def layers() -> list[Any]:
    """Two products with weights."""
    return [node("MatMul", "x w1", "a"), node("Relu", "a", "b"), node("MatMul", "b w2", "y")]


def weights() -> list[Any]:
    return [weight("w1", 64, 128), weight("w2", 128, 32)]


def a_file(folder: Path, nodes: list[Any], constants: list[Any], *, opset: int = 18, ir: int = 10, **save: Any) -> Path:
    """A file with the input x (n, 64) and the output y."""
    graph = helper.make_graph(nodes, "g", [value("x", "n", 64)], [value("y", "n", "m")], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir)
    folder.mkdir(exist_ok=True)
    onnx.save_model(model, folder / "m.onnx", **save)
    return folder / "m.onnx"


def built(path: Path, recipe: str, **options: Any) -> tuple[Path, tuple[Note, ...]]:
    """What a recipe makes of a file, and the notes; the export of the file is beside it."""
    source = Source(kind="onnx", path=str(path), weights="pretrained", digest="")
    base, out = path.parent / "made-fp32", path.parent / f"made-{recipe}"
    out.mkdir()
    if recipe == "fp32":
        return out / "model.onnx", order(source, recipe, out, None, options)
    if not base.exists():
        built(path, "fp32")
    return out / "model.onnx", order(source, recipe, out, base, options)


def order(source: Source, recipe: str, out: Path, base: Path | None, options: dict[str, Any]) -> tuple[Note, ...]:
    parent = str(base) if base else None
    return artifacts.build(
        Build("onnx", "onnx-file", source, Recipe(recipe, options), str(out), parent, opset=18)
    ).notes


def run(path: Path, x: np.ndarray = X, **level: Any) -> np.ndarray:
    options = ort.SessionOptions()
    options.graph_optimization_level = level.get("level", ort.GraphOptimizationLevel.ORT_ENABLE_ALL)
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]


def assert_near(path: Path, given: Path, recipe: str) -> None:
    """The answers are those of the given file within what the recipe's number of bits allows, and not the same."""
    want, got = run(given), run(path)
    error = np.sqrt(np.square(got - want).sum() / np.square(want).sum())
    assert 0 < error < {"fp16": 0.01, "weight-only-int4": 0.2}.get(recipe, 0.05)


def kinds(notes: tuple[Note, ...]) -> set[str]:
    return {each.kind for each in notes}


# --- what ONNX Runtime runs is runnable -------------------------------------------------------------------------------


def test_a_file_with_nodes_out_of_order_is_run_as_it_is_and_the_complaint_is_a_note(tmp_path: Path) -> None:
    path = a_file(tmp_path, layers()[::-1], weights())
    copy, notes = built(path, "fp32")
    assert copy.read_bytes() == path.read_bytes()
    complaint = next(each for each in notes if each.kind == "checker-complaint")
    assert "topological" in str(complaint.values["text"])
    np.testing.assert_array_equal(run(copy), run(path))


@pytest.mark.parametrize("recipe", RECIPES)
def test_recipes_take_a_file_with_nodes_out_of_order(tmp_path: Path, recipe: str) -> None:
    path = a_file(tmp_path, layers()[::-1], weights())
    out, notes = built(path, recipe)
    assert "checker-complaint" not in kinds(notes)
    assert_near(out, path, recipe)


@pytest.mark.parametrize("recipe", RECIPES)
def test_recipes_take_weights_that_are_beside_a_small_file(tmp_path: Path, recipe: str) -> None:
    beside = {"save_as_external_data": True, "location": "m.onnx.data", "size_threshold": 0}
    path = a_file(tmp_path, layers(), weights(), **beside)
    assert (tmp_path / "m.onnx.data").exists()
    assert_near(built(path, recipe)[0], path, recipe)


@pytest.mark.parametrize("recipe", ["fp32", "fp16", "dynamic-int8"])
def test_external_data_of_an_attribute_is_copied_and_read(tmp_path: Path, recipe: str) -> None:
    constant = helper.make_node("Constant", [], ["w1"], value=weight("w1", 64, 128), name="c")
    beside = {"save_as_external_data": True, "all_tensors_to_one_file": False, "size_threshold": 0}
    path = a_file(tmp_path, [constant, *layers()], [weight("w2", 128, 32)], convert_attribute=True, **beside)
    out, _ = built(path, recipe)
    if recipe == "fp32":
        np.testing.assert_array_equal(run(out), run(path))
        assert {file.name for file in out.parent.iterdir()} == {"model.onnx", "w1", "w2"}
    else:
        assert_near(out, path, recipe)


def a_branching_file(folder: Path, weighted: str = "w", **save: Any) -> Path:
    """Two branches that multiply x by a weight of their own; the name of the weight may be the same in both."""

    def branch(number: int) -> Any:
        name = weighted.replace("#", str(number))
        product = node("MatMul", f"h {name}", f"o{number}")
        return helper.make_graph([product], f"b{number}", [], [value(f"o{number}", "n", 32)], [weight(name, 64, 32)])

    nodes = [
        node("ReduceSum", "x", "s", keepdims=0),
        node("Greater", "s zero", "c"),
        node("MatMul", "x w0", "h"),
        node("If", "c", "y", then_branch=branch(1), else_branch=branch(2)),
    ]
    return a_file(folder, nodes, [scalar("zero", 0.0), weight("w0", 64, 64)], **save)


@pytest.mark.parametrize("recipe", ["fp16", "dynamic-int8", "static-qdq-int8", "weight-only-int4"])
@pytest.mark.parametrize("weighted", ["w#", "w"])
def test_the_sort_sees_what_branches_read_and_weights_inside_them_are_read(
    tmp_path: Path, recipe: str, weighted: str
) -> None:
    beside = {"save_as_external_data": True, "location": "branch.data", "size_threshold": 0}
    path = a_branching_file(tmp_path, weighted, **beside)
    out, notes = built(path, recipe)
    assert "checker-complaint" not in kinds(notes)
    assert_near(out, path, recipe)


def test_what_neither_the_checker_nor_onnx_runtime_accepts_is_refused_with_the_reason_and_a_remedy(
    tmp_path: Path,
) -> None:
    nodes = layers()
    nodes[1].input[0] = "nowhere"
    with pytest.raises(Refusal, match=r"does not open m\.onnx on the CPU: .*nowhere") as refused:
        built(a_file(tmp_path, nodes, weights()), "fp32")
    failure = failures.failure_of(refused.value, "export")
    assert failure.status == "unsupported"
    assert failure.remedy


@pytest.mark.parametrize("recipe", RECIPES)
def test_recipes_take_old_files_that_list_their_weights_as_inputs(tmp_path: Path, recipe: str) -> None:
    path = a_file(tmp_path, layers(), weights(), opset=9, ir=3)
    model = onnx.load(path)
    model.graph.input.extend([value("w1", 64, 128), value("w2", 128, 32)])
    onnx.save_model(model, path)
    out, _ = built(path, recipe)
    assert [each.name for each in onnx.load(out).graph.input] == ["x"]
    assert_near(out, path, recipe)


@pytest.mark.parametrize("recipe", RECIPES)
def test_recipes_take_nodes_without_names(tmp_path: Path, recipe: str) -> None:
    nodes = layers()
    for each in nodes:
        each.name = ""
    path = a_file(tmp_path, nodes, weights())
    out, notes = built(path, recipe)
    share = [each.values for each in notes if each.kind == "quantized-operators"]
    assert [(each["operators"], each["total"]) for each in share] == ([] if recipe == "fp16" else [(2, 2)])
    assert_near(out, path, recipe)


def test_onnxs_operators_may_be_imported_twice(tmp_path: Path) -> None:
    path = a_file(tmp_path, layers(), weights())
    model = onnx.load(path)
    model.opset_import.append(helper.make_opsetid("ai.onnx", 18))
    onnx.save_model(model, path)
    assert_near(built(path, "static-qdq-int8")[0], path, "static-qdq-int8")


def test_a_file_of_the_name_of_the_artifact_is_not_overwritten(tmp_path: Path) -> None:
    path = a_file(tmp_path, layers(), weights(), save_as_external_data=True, location="model.onnx", size_threshold=0)
    with pytest.raises(ValueError, match="reserved"):
        built(path, "fp32")


@pytest.mark.parametrize("shape", [(1, 32), (32,), (1,), ()])
@pytest.mark.parametrize("recipe", ["static-qdq-int8", "dynamic-int8"])
def test_quantizers_take_biases_of_every_shape_that_is_the_same_for_each_row(
    tmp_path: Path, recipe: str, shape: tuple[int, ...]
) -> None:
    nodes = [node("MatMul", "x w1", "a"), node("Relu", "a", "b"), node("Gemm", "b w2 c", "y")]
    path = a_file(tmp_path, nodes, [*weights(), weight("c", *shape)])
    assert_near(built(path, recipe)[0], path, recipe)


def test_recipes_take_a_file_whose_declared_shapes_contradict_its_operators(tmp_path: Path) -> None:
    path = a_file(tmp_path, layers(), weights())
    model = onnx.load(path)
    model.graph.value_info.append(value("a", "n", 77))
    onnx.save_model(model, path)
    for recipe in RECIPES:
        assert_near(built(path, recipe)[0], path, recipe)


# --- repairs ----------------------------------------------------------------------------------------------------------


def test_nodes_in_a_valid_order_keep_it() -> None:
    graph = helper.make_graph(layers(), "g", [value("x", "n", 64)], [value("y", "n", 32)], weights())
    before = graph.SerializeToString()
    assert not files.sort(graph)
    assert graph.SerializeToString() == before


def test_nodes_of_a_body_are_sorted_too() -> None:
    body = helper.make_graph([node("Relu", "a", "b"), node("Neg", "x", "a")], "body", [], [value("b", "n")])
    graph = helper.make_graph([node("If", "c", "y", then_branch=body, else_branch=body)], "g", [], [value("y", "n")])
    assert files.sort(graph)
    assert [each.op_type for each in graph.node[0].attribute[0].g.node] == ["Neg", "Relu"]


def test_a_cycle_is_named() -> None:
    graph = helper.make_graph([node("Relu", "b", "a"), node("Neg", "a", "b")], "g", [], [value("b", "n")])
    with pytest.raises(ValueError, match="cycle, at the node 'node_a'"):
        files.sort(graph)


def test_a_weight_that_is_in_the_file_twice_is_kept_once_and_two_of_one_name_are_refused(tmp_path: Path) -> None:
    listed = weights()
    path = a_file(tmp_path, layers(), [*listed, listed[0]])
    model = onnx.load(path)
    files.repair(model)
    assert [tensor.name for tensor in model.graph.initializer] == ["w1", "w2"]
    model.graph.initializer.append(weight("w1", 64, 128))
    with pytest.raises(Refusal, match="two different weights of the name 'w1'"):
        files.repair(model)


# --- what a file itself is --------------------------------------------------------------------------------------------


def file_format(path: Path) -> str:
    return facts.number_format(onnx.load(path, load_external_data=False))[0]


class Batches(quantization.CalibrationDataReader):  # type: ignore[misc]
    def __init__(self) -> None:
        self.batches = iter([{"x": X}])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.batches, None)


def a_quantized_file(folder: Path, form: str) -> Path:
    path, out = a_file(folder, layers(), weights()), folder / "q.onnx"
    if form == "dynamic":
        quantization.quantize_dynamic(path, out)
    elif form in ("int4", "int8"):
        from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

        quantizer = MatMulNBitsQuantizer(onnx.load(path), bits=int(form[-1]), block_size=32)
        quantizer.process()
        quantizer.model.save_model_to_file(str(out))
    else:
        form_of = {"qdq": quantization.QuantFormat.QDQ, "qoperator": quantization.QuantFormat.QOperator}[form]
        quantization.quantize_static(path, out, Batches(), quant_format=form_of)
    return out


@pytest.mark.parametrize(
    ("form", "number_format", "sign"),
    [
        ("qdq", "int8", "DequantizeLinear"),
        ("qoperator", "int8", "QLinearMatMul"),
        ("dynamic", "int8", "MatMulInteger"),
        ("int4", "int4", "MatMulNBits x2"),
        ("int8", "int8", "MatMulNBits x2"),
    ],
)
def test_a_file_that_is_quantized_says_so_and_quantizers_say_why_they_refuse_it(
    tmp_path: Path, form: str, number_format: str, sign: str
) -> None:
    path = a_quantized_file(tmp_path, form)
    own = next(each for each in built(path, "fp32")[1] if each.kind == "file-format").values
    assert own["number_format"] == number_format
    assert any(sign in op for op in own["op_types"])
    for recipe in ("dynamic-int8", "static-qdq-int8", "weight-only-int4"):
        with pytest.raises(Refusal, match=f"quantized already, in {number_format.upper()} ") as refused:
            built(path, recipe)
        assert refused.value.status == "unsupported"
        assert "as it is" in refused.value.remedy
    if form in ("int4", "int8"):
        # The weights stay, and the arithmetic between them becomes FP16.
        out, _ = built(path, "fp16")
        np.testing.assert_allclose(run(out), run(path), atol=0.02)
    else:
        with pytest.raises(Refusal, match=r"nothing to convert: the file is INT8 already \("):
            built(path, "fp16")


def a_half_file(folder: Path) -> Path:
    graph = helper.make_graph(
        layers(),
        "g",
        [value("x", "n", 64, kind=Kind.FLOAT16)],
        [value("y", "n", 32, kind=Kind.FLOAT16)],
        [weight("w1", 64, 128, kind=np.float16), weight("w2", 128, 32, kind=np.float16)],
    )
    onnx.save_model(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), folder / "h.onnx"
    )
    return folder / "h.onnx"


def test_a_file_in_half_precision_is_never_called_fp32(tmp_path: Path) -> None:
    path = a_half_file(tmp_path)
    assert note("file-format", number_format="fp16", op_types=()) in built(path, "fp32")[1]
    with pytest.raises(Refusal, match="the file is FP16 already"):
        built(path, "fp16")
    with pytest.raises(Refusal, match="the file is FP16, and the quantizer takes weights in FP32"):
        built(path, "dynamic-int8")


def test_a_file_in_fp32_has_no_note_on_its_number_format(tmp_path: Path) -> None:
    assert kinds(built(a_file(tmp_path, layers(), weights()), "fp32")[1]) == {"opset-of-file"}


def test_a_few_constants_of_another_type_decide_nothing(tmp_path: Path) -> None:
    nodes = [*layers()[:2], node("Cast", "half", "whole", to=Kind.FLOAT), node("Add", "b whole", "b2")]
    nodes.append(node("MatMul", "b2 w2", "y"))
    assert file_format(a_file(tmp_path, nodes, [*weights(), scalar("half", 0.5, np.float16)])) == "fp32"


def test_random_nodes_are_named(tmp_path: Path) -> None:
    nodes = [node("RandomNormalLike", "x", "noise"), node("Add", "x noise", "y")]
    assert note("random-nodes", op_types=("RandomNormalLike",)) in built(a_file(tmp_path, nodes, []), "fp32")[1]


@pytest.mark.parametrize(("training", "ratio", "named"), [(True, 0.2, True), (False, 0.2, False), (True, 0.0, False)])
def test_a_dropout_is_random_in_training_mode_only(tmp_path: Path, training: bool, ratio: float, named: bool) -> None:
    constants = [scalar("ratio", ratio), scalar("training", training, np.bool_)]
    model = onnx.load(a_file(tmp_path, [node("Dropout", "x ratio training", "y")], constants))
    assert facts.random_ops(model) == (("Dropout",) if named else ())


def test_random_nodes_inside_a_branch_are_named(tmp_path: Path) -> None:
    def branch(name: str, op: str) -> Any:
        return helper.make_graph([node(op, "x", name)], name, [], [value(name, "n", 64)])

    chosen = node("If", "c", "y", then_branch=branch("r", "RandomUniformLike"), else_branch=branch("i", "Identity"))
    assert facts.random_ops(onnx.load(a_file(tmp_path, [chosen], [scalar("c", True, np.bool_)]))) == (
        "RandomUniformLike",
    )


# --- quantizers that find nothing say why -----------------------------------------------------------------------------


def test_a_model_whose_weights_are_in_other_operators_names_them(tmp_path: Path) -> None:
    nodes = [
        node("Unsqueeze", "x first", "s"),
        node("LSTM", "s w r", "h", hidden_size=8),
        node("Reshape", "h shape", "y"),
    ]
    constants = [
        weight("w", 1, 32, 64),
        weight("r", 1, 32, 8),
        scalar("first", [0], np.int64),
        scalar("shape", [-1, 8], np.int64),
    ]
    path = a_file(tmp_path, nodes, constants)
    with pytest.raises(Refusal, match=r"no Gemm or MatMul has constant weights; those of the model are in LSTM x1$"):
        built(path, "dynamic-int8")
    with pytest.raises(Refusal, match=r"no Conv, Gemm or MatMul has constant weights"):
        built(path, "static-qdq-int8")


def test_a_model_without_weights_says_so(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="no weights in Gemm or MatMul, nor in any other operator"):
        built(a_file(tmp_path, [node("Softmax", "x", "y")], []), "dynamic-int8")


def test_a_quantizer_of_products_says_that_the_weights_are_in_convolutions(tmp_path: Path) -> None:
    nodes = [node("Unsqueeze", "x last", "s"), node("Conv", "s w", "c"), node("Flatten", "c", "y")]
    path = a_file(tmp_path, nodes, [weight("w", 16, 64, 1), scalar("last", [2], np.int64)])
    with pytest.raises(Refusal, match=r"no MatMul has constant weights; those of the model are in Conv x1"):
        built(path, "weight-only-int4")


def test_a_model_without_floats_is_not_published_as_fp16(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [node("Neg", "x", "y")], "g", [value("x", "n", kind=Kind.INT32)], [value("y", "n", kind=Kind.INT32)]
    )
    opsets = [helper.make_opsetid("", 18)]
    onnx.save_model(helper.make_model(graph, opset_imports=opsets, ir_version=10), tmp_path / "i.onnx")
    with pytest.raises(Refusal, match="nothing to convert"):
        built(tmp_path / "i.onnx", "fp16")


# --- old opsets -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("opset", [7, 9, 10, 11, 12])
def test_static_int8_raises_an_old_opset(tmp_path: Path, opset: int) -> None:
    path = a_file(tmp_path, layers(), weights(), opset=opset, ir=6)
    out, notes = built(path, "static-qdq-int8")
    assert note("opset-raised", before=opset, after=13) in notes
    assert_near(out, path, "static-qdq-int8")


def test_an_old_opset_that_cannot_be_raised_has_one_scale_a_tensor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: Any) -> Any:
        raise RuntimeError("no adapter for Fancy")

    path = a_file(tmp_path, layers(), weights(), opset=12, ir=6)
    old = a_file(tmp_path / "old", layers(), weights(), opset=9, ir=6)
    monkeypatch.setattr(onnx.version_converter, "convert_version", refuse)
    out, notes = built(path, "static-qdq-int8")
    assert note("one-scale-a-tensor", opset=12) in notes
    assert_near(out, path, "static-qdq-int8")
    with pytest.raises(Refusal, match="opset 9, and ONNX's converter cannot raise it: no adapter for Fancy"):
        built(old, "static-qdq-int8")


# --- the reference ----------------------------------------------------------------------------------------------------


def test_a_file_that_opens_but_does_not_run_on_these_inputs_asks_for_real_ones(tmp_path: Path) -> None:
    nodes = [node("Gather", "x i", "y", axis=1)]
    source = Source("onnx", str(a_file(tmp_path, nodes, [scalar("i", [99], np.int64)])), "pretrained", "")
    with pytest.raises(
        Refusal, match=r"cannot run the file with x \[4, 64\]: .*indices element out of data bounds"
    ) as refused:
        onnx_file.reference(source, [{"x": X}])
    assert refused.value.status == "unsupported"
    assert "inputs" in refused.value.remedy


def test_a_range_that_is_cut_gets_a_scale_of_what_is_left(tmp_path):
    """ReLU6 behind a convolution of large numbers, as in networks for telephones."""
    nodes = [node("Conv", "x w0", "a"), node("Clip", "a low high", "b"), node("Conv", "b w1", "y")]
    random = np.random.default_rng(0)
    held = [
        onnx.numpy_helper.from_array((random.standard_normal((8, 8, 1, 1)) * 12).astype(np.float32), f"w{index}")
        for index in range(2)
    ]
    held += [onnx.numpy_helper.from_array(np.float32(limit), name) for limit, name in ((0, "low"), (6, "high"))]
    shape = ["n", 8, 4, 4]
    graph = helper.make_graph(nodes, "cut", [value("x", *shape)], [value("y", *shape)], held)
    path = tmp_path / "cut.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    made = onnx.load(built(path, "static-qdq-int8")[0])
    # The output of the convolution has no scale of its own.
    assert "Clip" not in [each.op_type for each in made.graph.node]
    scales = [float(onnx.numpy_helper.to_array(t)) for t in made.graph.initializer if t.name in ("a_scale", "b_scale")]
    assert scales == pytest.approx([6 / 255], rel=0.02)
