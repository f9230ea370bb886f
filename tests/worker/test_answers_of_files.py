"""ONNX files whose answers are texts, maps, choices, empty, random or of unlike scale, from reference to verdict."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from visits import HASTE, Recorder, a_visit, measure

onnx = pytest.importorskip("onnx")

from onnx import TensorProto as T  # noqa: E402 - the name that ONNX's own examples use
from onnx import helper, numpy_helper  # noqa: E402

from bench.declare import answer_limits, registry  # noqa: E402
from bench.judge.tolerance import random_outputs, violations  # noqa: E402
from bench.records import Build, Held, InputOptions, Job, Parity, Recipe, Refer, Source  # noqa: E402
from bench.shared import onnx_elements  # noqa: E402
from bench.worker import artifacts, feeds, short_floats  # noqa: E402
from bench.worker.refusal import Refusal  # noqa: E402

RNG = np.random.default_rng(7)
ML = "ai.onnx.ml"
OPSET = 19
"""The first whose Cast has FP8."""


def weight(name: str, *shape: int, scale: float | None = None) -> Any:
    values = RNG.standard_normal(shape) * (scale if scale is not None else 1 / np.sqrt(shape[0]))
    return numpy_helper.from_array(values.astype(np.float32), name)


def constant(name: str, value: Any, dtype: Any) -> Any:
    return numpy_helper.from_array(np.asarray(value, dtype), name)


def node(op: str, inputs: str, outputs: str, **attributes: Any) -> Any:
    return helper.make_node(
        op, inputs.split(), outputs.split(), name=f"{op}_{outputs.split(maxsplit=1)[0]}", **attributes
    )


def tensor(name: str, kind: int, dims: Sequence[str | int | None]) -> Any:
    return helper.make_tensor_value_info(name, kind, dims)


class File:
    """An ONNX file of a user with its reference, made as the orchestrator orders it."""

    def __init__(
        self, folder: Path, nodes: list[Any], given: Any, outputs: list[Any], weights: list[Any], batch: int = 1
    ) -> None:
        self.folder, self.batch = folder, batch
        graph = helper.make_graph(nodes, "g", [given], outputs, weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(ML, 1)])
        model.ir_version = 10
        onnx.save(model, folder / "user.onnx")
        self.source = Source(kind="onnx", path=str(folder / "user.onnx"), weights="pretrained", digest="")
        self._build("fp32", "fp32")

    def refer(self) -> None:
        (self.folder / "reference").mkdir()
        artifacts.refer(Refer("onnx-file", self.source, {"batch": self.batch}, None, str(self.folder / "reference")))

    def _build(self, name: str, recipe: str, **options: Any) -> None:
        (self.folder / name).mkdir()
        parent = None if recipe == "fp32" else str(self.folder / "fp32")
        order = Build(
            "onnx", "onnx-file", self.source, Recipe(recipe, options), str(self.folder / name), parent, opset=18
        )
        artifacts.build(order)

    def parity(self, recipe: str = "fp32", **options: Any) -> Parity:
        """The comparison of a whole visit on the CPU provider."""
        if not (self.folder / "reference").exists():
            self.refer()
        name = "-".join([recipe, *map(str, options.values())])
        if not (self.folder / name).exists():
            self._build(name, recipe, **options)
        declared = registry.recipes("onnx")[recipe]
        limit = registry.tolerance(declared, registry.families()["onnx-file"])
        assert limit is not None
        channel = Recorder()
        order = a_visit(
            self.folder / name,
            source=self.source,
            recipe=Recipe(recipe, options, declared.number_format),
            jobs=(Job("b", {"batch": self.batch}, str(self.folder / "reference")),),
            effort=HASTE,
            tolerance=answer_limits.completed(limit, declared.number_format),
        )
        measure(order, channel)
        (held,) = channel.of(Held)
        return held.parity


# --- texts, maps and sequences ----------------------------------------------------------------------------------------


def a_classifier(folder: Path, *, zip_map: bool = False, batch: int = 4) -> File:
    """What converters of scikit-learn write: labels as texts, or a sequence of maps."""
    coefficients = RNG.standard_normal((3, 8)).ravel().tolist()
    classes = {"classlabels_ints": [0, 1, 2]} if zip_map else {"classlabels_strings": ["setosa", "versi", "virgin"]}
    linear = node(
        "LinearClassifier",
        "X",
        "label raw",
        domain=ML,
        coefficients=coefficients,
        intercepts=[0.1, -0.2, 0.05],
        multi_class=1,
        post_transform="SOFTMAX",
        **classes,
    )
    label = tensor("label", T.INT64 if zip_map else T.STRING, [None])
    if not zip_map:
        outputs = [label, tensor("raw", T.FLOAT, [None, 3])]
        return File(folder, [linear], tensor("X", T.FLOAT, ["n", 8]), outputs, [], batch)
    kind = helper.make_map_type_proto(T.INT64, helper.make_tensor_type_proto(T.FLOAT, []))
    probability = helper.make_value_info("probability", helper.make_sequence_type_proto(kind))
    nodes = [linear, node("ZipMap", "raw", "probability", domain=ML, classlabels_int64s=[0, 1, 2])]
    return File(folder, nodes, tensor("X", T.FLOAT, ["n", 8]), [label, probability], [], batch)


def test_labels_that_are_texts_are_right_and_probabilities_are_within_tolerance(tmp_path: Path) -> None:
    found = a_classifier(tmp_path).parity()
    assert violations(found) == []
    kinds = {output.name: (output.kind, output.agreement) for output in found.outputs}
    assert kinds == {"label": ("text", 1.0), "raw": ("float", None)}


def test_a_sequence_of_maps_is_right(tmp_path: Path) -> None:
    found = a_classifier(tmp_path, zip_map=True).parity()
    assert violations(found) == []
    assert {output.name: output.kind for output in found.outputs} == {
        "label": "integer",
        "probability": "float",
        "probability.keys": "integer",
    }


def test_a_sequence_of_tensors_is_right(tmp_path: Path) -> None:
    kind = helper.make_sequence_type_proto(helper.make_tensor_type_proto(T.FLOAT, None))
    nodes = [node("MatMul", "x w", "a"), node("SplitToSequence", "a", "parts", axis=1, keepdims=1)]
    file = File(
        tmp_path,
        nodes,
        tensor("x", T.FLOAT, ["batch", 16]),
        [helper.make_value_info("parts", kind)],
        [weight("w", 16, 3)],
    )
    found = file.parity()
    assert violations(found) == []
    assert [output.name for output in found.outputs] == ["parts[0]", "parts[1]", "parts[2]"]


# --- scores beside boxes ----------------------------------------------------------------------------------------------


def a_detector(folder: Path, *, joined: bool) -> File:
    """Boxes in pixels and scores near zero, in one output or in two."""

    def convolution(given: str, name: str, kernel: int) -> Any:
        padding = [kernel // 2] * 4
        return node("Conv", f"{given} w{name} b{name}", name, kernel_shape=[kernel, kernel], pads=padding)

    nodes = [
        convolution("images", "a", 3),
        node("Relu", "a", "f"),
        convolution("f", "bx", 1),
        convolution("f", "sc", 1),
    ]
    nodes += [node("Sigmoid", "bx", "bx1"), node("Mul", "bx1 size", "boxes"), node("Sigmoid", "sc", "scores")]
    outputs = [tensor("boxes", T.FLOAT, ["batch", 4, 16, 16]), tensor("scores", T.FLOAT, ["batch", 8, 16, 16])]
    if joined:
        nodes += [node("Concat", "boxes scores", "all", axis=1), node("Reshape", "all shape", "y")]
        outputs = [tensor("y", T.FLOAT, ["batch", 12, 256])]
    weights = [weight("wa", 16, 3, 3, 3, scale=0.3), weight("ba", 16, scale=0.1), weight("wbx", 4, 16, 1, 1, scale=0.3)]
    weights += [weight("bbx", 4, scale=0.1), weight("wsc", 8, 16, 1, 1, scale=0.6), constant("bsc", [-3.0] * 8, "f4")]
    weights += [constant("size", 640.0, np.float32), constant("shape", [0, 12, 256], np.int64)]
    return File(folder, nodes, tensor("images", T.FLOAT, ["batch", 3, 16, 16]), outputs, weights)


def test_int8_that_turns_all_scores_into_zeros_is_inaccurate(tmp_path: Path) -> None:
    file = a_detector(tmp_path, joined=True)
    right = file.parity()
    assert violations(right) == []
    assert [block.slices for block in right.outputs[0].blocks] == [4, 8]
    found = file.parity("static-qdq-int8", coverage="all")
    (fault,) = violations(found)
    assert (fault.values["output"], fault.values["slices"]) == ("y", "4..11")
    assert found.relative_error == pytest.approx(1.0, abs=0.05)


def test_an_output_of_scores_is_judged_beside_one_of_boxes(tmp_path: Path) -> None:
    file = a_detector(tmp_path, joined=False)
    right = file.parity()
    assert violations(right) == []
    assert {output.name: output.bounded_by for output in right.outputs} == {"boxes": "", "scores": "Sigmoid"}
    assert file.parity("static-qdq-int8").decides == "scores"


# --- choices ----------------------------------------------------------------------------------------------------------


def test_class_ids_that_are_all_wrong_are_inaccurate_though_their_cosine_is_1(tmp_path: Path) -> None:
    """One loud column takes the only scale of the tensor, so the quiet columns have nothing to differ by."""
    table = RNG.standard_normal((128, 1000)) * 0.02
    table[:, 0] *= 4000
    nodes = [node("MatMul", "x w1", "a"), node("Relu", "a", "b"), node("MatMul", "b w2", "l")]
    nodes += [node("Slice", "l start end axis", "quiet"), node("ArgMax", "quiet", "best", axis=1, keepdims=0)]
    nodes += [node("Add", "best start", "label")]
    weights = [weight("w1", 64, 128), constant("w2", table, np.float32), constant("start", [900], np.int64)]
    weights += [constant("end", [910], np.int64), constant("axis", [1], np.int64)]
    label = tensor("label", T.INT64, ["batch"])
    file = File(tmp_path, nodes, tensor("x", T.FLOAT, ["batch", 64]), [label], weights, batch=16)
    assert violations(file.parity()) == []
    found = file.parity("dynamic-int8", per_channel=False)
    assert found.agreement is not None
    assert found.agreement < 0.3
    (fault,) = violations(found)
    assert fault.values["figure"] == "agreement"


# --- nothing found ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("bias", "share"), [(-12.0, 0.0), (6.0, 1.0)], ids=["none", "all"])
def test_a_detector_that_finds_nothing_agrees_with_one_that_finds_nothing(
    tmp_path: Path, bias: float, share: float
) -> None:
    nodes = [node("MatMul", "x wb", "bx"), node("Sigmoid", "bx", "bs"), node("Reshape", "bs boxes_shape", "boxes")]
    nodes += [node("MatMul", "x ws", "sc"), node("Add", "sc bias", "sb"), node("Sigmoid", "sb", "ss")]
    nodes += [node("Reshape", "ss scores_shape", "scores")]
    nodes += [node("NonMaxSuppression", "boxes scores most overlap threshold", "selected")]
    weights = [weight("wb", 16, 80), weight("ws", 16, 40), constant("bias", bias, np.float32)]
    weights += [constant("boxes_shape", [-1, 20, 4], np.int64), constant("scores_shape", [-1, 2, 20], np.int64)]
    weights += [constant("most", [5], np.int64), constant("overlap", [0.5], "f4"), constant("threshold", [0.6], "f4")]
    selected = tensor("selected", T.INT64, ["found", 3])
    found = File(tmp_path, nodes, tensor("x", T.FLOAT, ["batch", 16]), [selected], weights).parity()
    assert violations(found) == []
    assert found.samples > 0
    assert found.found == (share if share < 1 else None)


# --- samples ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "result", "perm"),
    [
        (["steps", "batch", 4], ["steps", "batch", 6], None),
        ([3, 2, 4], [3, 2, 6], None),
        (["steps", "batch", 4], ["batch", "steps", 6], [1, 0, 2]),
    ],
    ids=["time-major", "fixed", "transposed"],
)
def test_the_samples_of_an_output_are_where_the_graph_has_them(
    tmp_path: Path, given: list[str | int], result: list[str | int], perm: list[int] | None
) -> None:
    nodes = [node("MatMul", "x w", "m"), node("Transpose", "m", "y", perm=perm) if perm else node("Relu", "m", "y")]
    options = InputOptions(batch_axis="x[1]" if 3 in given else "")
    sizes = {} if 3 in given else {"batch": 2, "steps": 3}
    weights = [weight("w", 4, 6)]
    file = File(tmp_path, nodes, tensor("x", T.FLOAT, given), [tensor("y", T.FLOAT, result)], weights)
    (tmp_path / "reference").mkdir()
    source = replace(file.source, inputs=options)
    artifacts.refer(Refer("onnx-file", source, sizes, None, str(tmp_path / "reference")))
    found = file.parity()
    # Four batches of noise of two samples each; the steps of a sequence are no samples.
    assert (found.samples, found.cosine) == (8, 1.0)


def test_an_output_without_the_axis_of_the_samples_is_one_sample(tmp_path: Path) -> None:
    nodes = [node("MatMul", "x w", "m"), node("ReduceSum", "m", "y", keepdims=0), node("Identity", "m", "z")]
    outputs = [tensor("y", T.FLOAT, []), tensor("z", T.FLOAT, ["batch", 6])]
    found = File(tmp_path, nodes, tensor("x", T.FLOAT, ["batch", 4]), outputs, [weight("w", 4, 6)], batch=4).parity()
    assert {output.name: output.samples for output in found.outputs} == {"y": 2, "z": 8}


# --- randomness -------------------------------------------------------------------------------------------------------


def test_a_graph_with_noise_is_random_and_never_right_or_wrong(tmp_path: Path) -> None:
    nodes = [node("MatMul", "x w", "mu"), node("RandomNormalLike", "mu", "noise"), node("Add", "mu noise", "y")]
    outputs = [tensor("y", T.FLOAT, ["batch", 8]), tensor("mu", T.FLOAT, ["batch", 8])]
    file = File(tmp_path, nodes, tensor("x", T.FLOAT, ["batch", 16]), outputs, [weight("w", 16, 8)])
    found = file.parity()
    assert random_outputs(found) == ("y",)
    assert violations(found) == []
    assert found.decides == "mu"


def test_dropout_in_training_mode_is_random(tmp_path: Path) -> None:
    nodes = [node("MatMul", "x w", "a"), node("Dropout", "a ratio training", "y")]
    weights = [weight("w", 16, 64), constant("ratio", 0.2, np.float32), constant("training", True, np.bool_)]
    file = File(tmp_path, nodes, tensor("x", T.FLOAT, ["batch", 16]), [tensor("y", T.FLOAT, ["batch", 64])], weights)
    assert random_outputs(file.parity()) == ("y",)


# --- types at the edge ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "result"),
    [
        (T.FLOAT, T.BFLOAT16),
        (T.BFLOAT16, T.FLOAT),
        (T.FLOAT8E4M3FN, T.FLOAT),
        (T.BFLOAT16, T.FLOAT8E5M2),
        (T.FLOAT8E5M2FNUZ, T.FLOAT8E4M3FNUZ),
    ],
)
def test_short_floats_at_the_edge_are_given_and_read(tmp_path: Path, given: int, result: int) -> None:
    nodes = [node("Cast", "x", "xf", to=T.FLOAT), node("MatMul", "xf w", "a"), node("Cast", "a", "y", to=result)]
    file = File(
        tmp_path, nodes, tensor("x", given, ["batch", 16]), [tensor("y", result, ["batch", 8])], [weight("w", 16, 8)], 4
    )
    found = file.parity()
    assert (violations(found), found.samples) == ([], 8)
    # The values are those of the type: FP8 in FP32 has no more than three bits behind the leading one.
    (batch, *_) = feeds.load(file.folder / "reference" / "outputs.npz")
    assert batch["y"].dtype == np.float32
    assert 0.1 < batch["y"].std() < 10
    bits = {T.FLOAT: 23, T.BFLOAT16: 7, T.FLOAT8E4M3FN: 3, T.FLOAT8E4M3FNUZ: 3, T.FLOAT8E5M2: 2}[result]
    assert not (batch["y"].view(np.uint32) & ((1 << (23 - bits)) - 1)).any() or bits == 23


def test_a_file_that_rounds_its_answers_is_held_to_the_format_that_it_rounds_to(tmp_path: Path) -> None:
    from bench.worker.formats import _onnx_facts

    nodes = [node("MatMul", "x w", "a"), node("Cast", "a", "y", to=T.BFLOAT16)]
    outputs = [tensor("y", T.BFLOAT16, ["batch", 8])]
    file = File(tmp_path, nodes, tensor("x", T.FLOAT, ["batch", 16]), outputs, [weight("w", 16, 8)])
    (held,) = _onnx_facts.notes(onnx.load(file.source.path))
    assert held.values["number_format"] == "bf16"


@pytest.mark.parametrize("name", sorted(short_floats.NAMES))
def test_short_floats_are_converted_as_other_libraries_do(name: str) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    number = next(number for number, (onnx_name, _, _) in onnx_elements.OTHERS.items() if onnx_name == name)
    kind = getattr(ml_dtypes, onnx_elements.OTHERS[number][1])
    patterns = np.arange(2**16 if name == "bfloat16" else 2**8).astype(np.uint16 if name == "bfloat16" else np.uint8)
    right = patterns.view(kind).astype(np.float32)
    np.testing.assert_array_equal(short_floats.values_of(patterns, name), right)
    finite = np.isfinite(right)
    np.testing.assert_array_equal(
        short_floats.values_of(short_floats.bits_of(right[finite], name), name), right[finite]
    )
    values = RNG.standard_normal(4096).astype(np.float32)
    given = short_floats.values_of(short_floats.bits_of(values, name), name)
    # Halves may be rounded either way; there are none among random values.
    np.testing.assert_array_equal(given, values.astype(kind).astype(np.float32))
    assert np.isnan(short_floats.values_of(short_floats.bits_of(np.array([np.nan]), name), name)).all()


def test_a_type_that_cannot_be_given_is_refused_by_name_with_a_remedy(tmp_path: Path) -> None:
    nodes = [node("Cast", "x", "xf", to=T.FLOAT), node("MatMul", "xf w", "y")]
    outputs = [tensor("y", T.FLOAT, ["batch", 8])]
    graph = helper.make_graph(nodes, "g", [tensor("x", T.INT4, ["batch", 16])], outputs, [weight("w", 16, 8)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])
    onnx.save(model, tmp_path / "user.onnx")
    source = Source(kind="onnx", path=str(tmp_path / "user.onnx"), weights="pretrained", digest="")
    with pytest.raises(Refusal, match=r"input 'x' of user\.onnx is of type int4") as refused:
        artifacts.refer(Refer("onnx-file", source, {"batch": 1}, None, str(tmp_path)))
    assert refused.value.status == "unsupported"
    assert "Cast" in refused.value.remedy


# --- facts that the file gives ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("nodes", "bounded_by"),
    [
        ([node("Sigmoid", "x", "s"), node("Transpose", "s", "t", perm=[1, 0]), node("Identity", "t", "y")], "Sigmoid"),
        ([node("Softmax", "x", "s"), node("Reshape", "s shape", "y")], "Softmax"),
        ([node("Softmax", "x", "s"), node("Sigmoid", "x", "t"), node("Concat", "s t", "y", axis=0)], "Sigmoid"),
        ([node("Sigmoid", "x", "s"), node("Concat", "s x", "y", axis=0)], "partly Sigmoid"),
        ([node("Sigmoid", "x", "s"), node("Mul", "s x", "y")], ""),
    ],
    ids=["moved", "reshaped", "joined", "joined with others", "multiplied"],
)
def test_the_operator_that_fixes_the_range_is_found_behind_those_that_move_values(
    tmp_path: Path, nodes: list[Any], bounded_by: str
) -> None:
    from bench.worker import onnx_outputs

    graph = helper.make_graph(nodes, "g", [tensor("x", T.FLOAT, ["n", "n"])], [tensor("y", T.FLOAT, ["n", "n"])])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), tmp_path / "m.onnx")
    facts = onnx_outputs.facts(tmp_path / "m.onnx", {}, 1)
    partly = facts["y"].partly_bounded_by
    assert (facts["y"].bounded_by or (partly and f"partly {partly}")) == bounded_by
    assert facts["y"].class_scores == (bounded_by == "Softmax")
