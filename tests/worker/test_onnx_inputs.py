"""Inputs of ONNX files: sizes and the sample axis, guessed integers, and the user's own data."""

from __future__ import annotations

import json
import wave
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.records import InputOptions, Source, note
from bench.worker.families import _input_files, _speech, onnx_file, text_encoder, text_generator
from bench.worker.refusal import Refusal

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


# --- sizes and the sample axis ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["batch", "batch_size", "Batch", "decoder_batch", "N", "bs", "b"])
def test_a_dimension_with_the_name_of_a_batch_counts_the_samples(tmp_path, name):
    source = a_file(tmp_path / "m.onnx", {"x": (FLOAT, [name, 4])})
    assert shapes(source, {"batch": 8}) == {"x": (8, 4)}
    assert counted(source, {"batch": 8}) == note("counted-samples", samples=8, axis=name)


def test_a_letter_that_the_workload_gives_is_counted_where_it_is_the_sample_axis(tmp_path):
    source = a_file(tmp_path / "m.onnx", {"x": (FLOAT, ["N", 4])})
    assert counted(source, {"N": 8}) == note("counted-samples", samples=8, axis="N")
    points = a_file(tmp_path / "p.onnx", {"x": (FLOAT, ["batch", "N", 4])})
    assert counted(points, {"N": 8}) == note("counted-samples", samples=1, axis="batch")


def test_two_sizes_of_the_samples_are_refused_with_the_way_out(tmp_path):
    source = a_file(tmp_path / "m.onnx", {"x": (FLOAT, ["N", 4])})
    with pytest.raises(Refusal, match="batch = 8 and N = 2 are two sizes of the samples") as refused:
        first(source, {"batch": 8, "N": 2})
    assert refused.value.status == "unsupported"
    assert "batch_axis" in refused.value.remedy


@pytest.mark.parametrize("name", ["rows", "unk__12"])
def test_a_first_dimension_of_any_other_name_is_a_guess(tmp_path, name):
    source = a_file(tmp_path / "m.onnx", {"x": (FLOAT, [name, 4])})
    assert counted(source, {"batch": 8}) == note("guessed-samples", samples=8, axis=name)


def test_a_sequence_that_stands_first_is_no_batch(tmp_path):
    source = a_file(tmp_path / "m.onnx", {"x": (FLOAT, ["seq_len", 4])})
    assert counted(source, {"batch": 1, "seq_len": 6}) == note("counted-samples", samples=1, axis="")
    with pytest.raises(Refusal, match="batch = 8, but no input has") as refused:
        first(source, {"batch": 8})
    assert "seq_len" in refused.value.remedy


def test_time_major_inputs_have_their_samples_in_the_second_dimension(tmp_path):
    source = a_file(tmp_path / "m.onnx", {"x": (FLOAT, ["time", "n", 8]), "h": (FLOAT, [1, "n", 8])})
    assert shapes(source, {"batch": 3, "time": 5}) == {"x": (5, 3, 8), "h": (1, 3, 8)}
    assert counted(source, {"batch": 3, "time": 5}).values["samples"] == 3


def test_the_user_names_the_sample_axis(tmp_path):
    rows = a_file(tmp_path / "m.onnx", {"x": (FLOAT, ["seq", "rows", 8])}, options=InputOptions(batch_axis="rows"))
    assert shapes(rows, {"batch": 4, "seq": 2}) == {"x": (2, 4, 8)}
    fixed = a_file(tmp_path / "f.onnx", {"x": (FLOAT, [3, 16, 8])}, options=InputOptions(batch_axis="x[1]"))
    assert counted(fixed, {"batch": 1}) == note("counted-samples", samples=16, axis="x[1]")
    with pytest.raises(Refusal, match="batch_axis 'x\\[7\\]' is no dimension"):
        first(a_file(tmp_path / "n.onnx", {"x": (FLOAT, [3])}, options=InputOptions(batch_axis="x[7]")), {"batch": 1})


def test_a_fixed_first_size_that_inputs_and_outputs_share_is_counted_as_a_guess(tmp_path):
    source = a_file(tmp_path / "m.onnx", {"x": (FLOAT, [8, 4])}, outputs={"x_out": [8, 4]})
    assert counted(source, {"batch": 1}) == note("guessed-samples", samples=8, axis="the fixed first axis")
    channels = a_file(
        tmp_path / "c.onnx", {"x": (FLOAT, [3, 4])}, a_node("Flatten", "x", "y", axis=0), outputs={"y": [1, 12]}
    )
    assert counted(channels, {"batch": 1}).values["samples"] == 1
    with pytest.raises(Refusal, match="the file fixes the samples of a call to 8"):
        first(source, {"batch": 2})


def test_sums_and_products_in_names_are_computed(tmp_path):
    source = a_file(
        tmp_path / "m.onnx",
        {
            "mask": (INT64, ["batch", "past + sequence"]),
            "past": (FLOAT, ["batch", "past", 2]),
            "x": (FLOAT, ["batch", "sequence"]),
            "twice": (FLOAT, ["2*sequence", "sequence + 1", "(sequence-1)*3"]),
        },
    )
    given = {"batch": 2, "past": 5, "sequence": 4}
    assert shapes(source, given) == {"mask": (2, 9), "past": (2, 5, 2), "x": (2, 4), "twice": (8, 5, 9)}
    assert "assumed-sizes" not in kinds(source, given)
    assert kinds(source, {"batch": 2, "sequence": 4})["assumed-sizes"] == {"sizes": ("past=16",)}


def test_a_hyphen_in_a_name_is_no_minus(tmp_path):
    source = a_file(tmp_path / "m.onnx", {"x": (FLOAT, ["batch", "seq-len"])})
    assert shapes(source, {"batch": 1}) == {"x": (1, 128)}
    both = a_file(tmp_path / "b.onnx", {"x": (FLOAT, ["batch", "a", "b", "a-b"])})
    assert shapes(both, {"batch": 1, "a": 7, "b": 2}) == {"x": (1, 7, 2, 5)}


def test_minus_one_and_zero_are_sizes_that_are_not_known(tmp_path):
    source = a_file(tmp_path / "m.onnx", {"x": (FLOAT, [-1, 0, 64])})
    assert shapes(source, {"batch": 3, "x[1]": 5}) == {"x": (3, 5, 64)}
    assert kinds(source, {"batch": 3})["assumed-sizes"] == {"sizes": ("x[1]=16",)}


def test_the_sides_of_pictures_are_224_whatever_their_names_are(tmp_path):
    source = a_file(tmp_path / "m.onnx", {"x": (FLOAT, ["D.0", 3, "?", "?"]), "y": (FLOAT, ["D.0", "D.1", "D.2", 3])})
    assert shapes(source, {"batch": 2, "x[3]": 8}) == {"x": (2, 3, 224, 8), "y": (2, 224, 224, 3)}


def test_the_batch_of_a_state_without_names_is_that_of_the_inputs(tmp_path):
    source = a_file(tmp_path / "m.onnx", {"x": (FLOAT, [None, None]), "state": (FLOAT, [2, None, 8])})
    assert shapes(source, {"batch": 3, "x[1]": 4}) == {"x": (3, 4), "state": (2, 3, 8)}
    assert counted(source, {"batch": 3}) == note("guessed-samples", samples=3, axis="x[0], state[1]")


def test_a_file_with_a_size_of_zero_runs_with_any_size(tmp_path):
    source = a_file(tmp_path / "m.onnx", {"x": (FLOAT, [0, 4])}, outputs={"x_out": [0, 4]})
    feed = first(source, {"batch": 3})
    assert onnx_file.reference(source, [feed])[0][0]["x_out"].shape == (3, 4)
    (tmp_path / "out").mkdir()
    onnx_file.export(source, tmp_path / "out", 18)
    exported = Source("onnx", str(tmp_path / "out" / "model.onnx"), "pretrained", "")
    assert onnx_file.reference(exported, [feed])[0][0]["x_out"].shape == (3, 4)


def test_an_input_without_a_shape_asks_for_one_and_takes_it(tmp_path):
    with pytest.raises(Refusal, match="input 'x' has no shape in the file") as refused:
        first(a_file(tmp_path / "m.onnx", {"x": (FLOAT, None)}), {"batch": 1})
    assert 'inputs = { shapes = { "x" = ["batch", 64] } }' in refused.value.remedy
    given = InputOptions(shapes={"x": ("batch", 64)})
    source = a_file(tmp_path / "m.onnx", {"x": (FLOAT, None)}, options=given)
    assert shapes(source, {"batch": 3}) == {"x": (3, 64)}


# --- integers ---------------------------------------------------------------------------------------------------------

TABLE = np.ones((10, 4), np.float32)


def ids_of(source: Source) -> set[int]:
    feeds = onnx_file.make_inputs(source, {"batch": 64}, None)
    return {int(value) for feed in feeds for value in feed["ids"].ravel()}


def test_limits_of_indexes_are_found_through_constants_casts_and_shifts(tmp_path):
    ids = {"ids": (INT64, ["batch", 8])}
    table = a_node("Constant", "", "table", value=onnx.numpy_helper.from_array(TABLE))
    gather = a_node("Gather", "table i", "y")
    nodes: dict[str, tuple[list[Any], set[int]]] = {
        "constant": ([table, a_node("Identity", "ids", "i"), gather], set(range(10))),
        "cast": ([table, a_node("Cast", "ids", "c", to=INT32), a_node("Squeeze", "c", "i"), gather], set(range(10))),
        "down": ([table, a_node("Sub", "ids one", "i"), gather], set(range(1, 11))),
        "up": ([table, a_node("Add", "one ids", "i"), gather], set(range(9))),
        "later": ([gather, a_node("Identity", "ids", "i"), table], set(range(10))),
    }
    for name, (each, expected) in nodes.items():
        source = a_file(tmp_path / f"{name}.onnx", ids, *each, weights={"one": np.int64(1)}, outputs={"y": None})
        assert ids_of(source) == expected, name
        assert "guessed-integers" not in kinds(source, {"batch": 64}), name


def test_a_one_hot_that_is_made_by_comparing_has_the_range_of_its_numbers(tmp_path):
    source = a_file(
        tmp_path / "m.onnx",
        {"ids": (INT64, ["batch", 8])},
        a_node("Unsqueeze", "ids axis", "i"),
        a_node("Equal", "i numbers", "hot"),
        a_node("Cast", "hot", "y", to=FLOAT),
        weights={"axis": np.array([2]), "numbers": np.arange(5).reshape(1, 1, 5)},
        outputs={"y": None},
    )
    assert ids_of(source) == set(range(5))


def test_a_table_of_one_row_has_one_index(tmp_path):
    source = a_file(
        tmp_path / "m.onnx", {"ids": (INT64, ["batch", 8])}, a_node("Gather", "t ids", "y"), weights={"t": TABLE[:1]}
    )
    assert ids_of(source) == {0}


def test_lengths_of_a_recurrent_layer_are_those_of_its_sequences(tmp_path):
    source = a_file(
        tmp_path / "m.onnx",
        {"x": (FLOAT, ["seq", "batch", 8]), "lens": (INT64, ["batch"])},
        a_node("Cast", "lens", "l", to=INT32),
        a_node("GRU", "x w r - l", "- y", hidden_size=16),
        weights={"w": np.zeros((1, 48, 8), np.float32), "r": np.zeros((1, 48, 16), np.float32)},
        outputs={"y": None},
    )
    assert first(source, {"batch": 3, "seq": 9})["lens"].tolist() == [9, 9, 9]
    assert kinds(source, {"batch": 3, "seq": 9})["guessed-integers"] == {"inputs": ("lens=9",)}


def test_how_many_to_keep_is_at_most_what_there_is(tmp_path):
    source = a_file(
        tmp_path / "m.onnx",
        {"x": (FLOAT, ["batch", 6]), "k": (INT64, [1])},
        a_node("TopK", "x k", "values indices"),
        outputs={"values": None},
    )
    assert first(source, {"batch": 1})["k"].tolist() == [6]


def test_a_size_as_an_input_is_asked_for_and_taken(tmp_path):
    nodes = [a_node("Resize", "x - - sizes", "y", mode="linear")]
    inputs: dict[str, Any] = {"x": (FLOAT, [1, 3, 8, 8]), "sizes": (INT64, [4])}
    with pytest.raises(Refusal, match="input 'sizes' is a size, an axis or a position for Resize") as refused:
        first(a_file(tmp_path / "m.onnx", inputs, *nodes), {"batch": 1})
    assert 'inputs = { values = { "sizes" = … } }' in refused.value.remedy
    options = InputOptions(values={"sizes": [1, 3, 16, 16]})
    source = a_file(tmp_path / "m.onnx", inputs, *nodes, options=options)
    feed = first(source, {"batch": 1})
    assert feed["sizes"].tolist() == [1, 3, 16, 16]
    assert onnx_file.reference(source, [feed])[0][0]["y"].shape == (1, 3, 16, 16)


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


def test_a_scalar_that_the_graph_compares_with_a_constant_is_that_constant_and_named_as_guessed(tmp_path):
    source = a_detector(tmp_path / "m.onnx")
    sizes = {"batch": 2, "samples": 512}
    feed = first(source, sizes)
    assert feed["sr"] == 16000
    assert feed["state"].shape == (1, 2, 4)
    assert kinds(source, sizes)["guessed-integers"] == {"inputs": ("sr=16000",)}
    assert onnx_file.reference(source, [feed])[0][0]["y"].shape == (2, 1)


def test_a_value_of_the_matrix_takes_the_other_branch_and_is_no_guess(tmp_path):
    source = a_detector(tmp_path / "m.onnx", InputOptions(values={"sr": 8000, "state": 0}))
    sizes = {"batch": 2, "samples": 256}
    feed = first(source, sizes)
    assert (feed["sr"], feed["sr"].dtype, feed["state"].any()) == (8000, np.int64, np.False_)
    assert onnx_file.reference(source, [feed])[0][0]["y"].shape == (2, 1)
    assert "guessed-integers" not in kinds(source, sizes)
    assert kinds(source, sizes)["noise-for"] == {"inputs": ("input",)}


def test_inputs_that_the_file_does_not_run_with_are_refused_with_a_remedy(tmp_path):
    source = a_detector(tmp_path / "m.onnx")
    feeds = onnx_file.make_inputs(source, {"batch": 1, "samples": 256}, None)
    with pytest.raises(Refusal, match=r"cannot run .*MatMul") as refused:
        onnx_file.reference(source, feeds)
    assert (refused.value.status, "inputs" in refused.value.remedy) == ("unsupported", True)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rate": 1}, "inputs.values has 'rate', and no input has this name"),
        ({"sr": 0.5}, "inputs.values.sr is of another type"),
        ({"sr": "fast"}, "inputs.values.sr is of another type"),
        ({"state": [1.0, 2.0]}, r"inputs.values.state has the shape \[2\]"),
    ],
)
def test_a_value_that_does_not_fit_is_refused(tmp_path, values, message):
    source = a_detector(tmp_path / "m.onnx", InputOptions(values=values))
    with pytest.raises(Refusal, match=message):
        first(source, {"batch": 1, "samples": 512})


def test_a_scalar_without_any_limit_is_one_and_named(tmp_path):
    source = a_file(tmp_path / "m.onnx", {"x": (FLOAT, ["batch"]), "mode": (INT64, []), "use_cache": (9, [1])})
    assert kinds(source, {"batch": 1})["guessed-integers"] == {"inputs": ("mode=1", "use_cache=true")}


# --- the user's own data ----------------------------------------------------------------------------------------------


def two_inputs(path: Path, options: InputOptions | None = None) -> Source:
    return a_file(path, {"x": (FLOAT, ["batch", 4]), "ids": (INT64, ["batch", "seq"])}, options=options)


def data(samples: int = 12, **changes: Any) -> dict[str, Any]:
    x = np.arange(4 * samples, dtype=np.float32).reshape(samples, 4)
    return {"x": x, "ids": np.arange(3 * samples).reshape(samples, 3)} | changes


def saved(folder: Path, name: str = "data.npz", **arrays: Any) -> Path:
    np.savez(folder / name, **arrays)
    return folder / name


def test_arrays_by_input_are_fed_in_batches_and_the_last_third_calibrates(tmp_path):
    source, path = two_inputs(tmp_path / "m.onnx"), saved(tmp_path, **data())
    batches = onnx_file.make_inputs(source, {"batch": 3}, str(path))
    assert [batch["x"].shape for batch in batches] == [(3, 4)] * 3
    assert np.array_equal(np.concatenate([batch["ids"] for batch in batches])[:8], data()["ids"][:8])
    held = onnx_file.calibration(source, str(path))
    assert [int(feed["ids"][0, 0]) for feed in held] == [24, 27, 30, 33]
    assert onnx_file.describe_inputs(source, {"batch": 3}, str(path)) == (
        note("counted-samples", samples=3, axis="batch"),
    )


def test_whole_batches_are_fed_as_they_are(tmp_path):
    source = two_inputs(tmp_path / "m.onnx")
    arrays = {f"{number}/{name}": array[:5] for number in range(2) for name, array in data().items()}
    path = saved(tmp_path, **arrays)
    assert [len(batch["x"]) for batch in onnx_file.make_inputs(source, {"batch": 5}, str(path))] == [5, 5]
    with pytest.raises(Refusal, match="hold 5 samples, and the workload has batch = 1"):
        first(source, {"batch": 1}, path)


def test_samples_along_another_axis_are_moved_there(tmp_path):
    source = a_file(tmp_path / "m.onnx", {"x": (FLOAT, ["time", "batch", 2]), "h": (FLOAT, [1, "batch", 2])})
    x = np.arange(6 * 5 * 2, dtype=np.float32).reshape(6, 5, 2)
    h = np.arange(12, dtype=np.float32).reshape(6, 1, 1, 2)
    feed = first(source, {"batch": 2}, saved(tmp_path, x=x, h=h))
    assert np.array_equal(feed["x"], x[:2].transpose(1, 0, 2))
    assert np.array_equal(feed["h"], h[:2, :, 0].transpose(1, 0, 2))


def test_an_array_of_the_only_input_and_json_lines(tmp_path):
    single = a_file(tmp_path / "m.onnx", {"x": (FLOAT, ["batch", 4])})
    np.save(tmp_path / "x.npy", data()["x"])
    assert np.array_equal(first(single, {"batch": 2}, tmp_path / "x.npy")["x"], data()["x"][:2])
    lines = [json.dumps({"x": [float(i)] * 4, "ids": [i, i, i]}) for i in range(6)]
    (tmp_path / "d.jsonl").write_text("\n".join(lines), encoding="utf-8")
    feed = first(two_inputs(tmp_path / "n.onnx"), {"batch": 2}, tmp_path / "d.jsonl")
    assert (feed["x"].dtype, feed["ids"].tolist()) == (np.float32, [[0, 0, 0], [1, 1, 1]])


def test_the_sizes_of_the_data_hold_for_the_inputs_that_stay_noise(tmp_path):
    source = a_file(tmp_path / "m.onnx", {"ids": (INT64, ["batch", "seq"]), "extra": (FLOAT, ["batch", "seq"])})
    path = saved(tmp_path, ids=data()["ids"])
    assert first(source, {"batch": 2}, path)["extra"].shape == (2, 3)
    assert kinds(source, {"batch": 2}, path)["noise-for"] == {"inputs": ("extra",)}
    with pytest.raises(Refusal, match="has seq = 3, and the workload has seq = 8"):
        first(source, {"batch": 2, "seq": 8}, path)


NAN = np.where(np.arange(48).reshape(12, 4) == 13, np.nan, 1.0).astype(np.float32)


@pytest.mark.parametrize(
    ("changes", "message", "remedy"),
    [
        ({"y": np.ones((12, 4))}, "data.npz holds 'y', and no input has this name", "there are: ids, x"),
        (
            {"x": np.ones((12, 5), np.float32)},
            "'x' in data.npz has 5 values in dimension 1",
            "size that the file fixes",
        ),
        ({"x": np.ones((12, 2, 2, 2), np.float32)}, r"'x' in data.npz has the shape \[12, 2, 2, 2\]", "dimensions"),
        ({"x": np.ones((12, 4))}, "'x' in data.npz is of type float64, and the input takes FLOAT", 'type = "float32"'),
        ({"ids": np.ones((12, 3), np.float32)}, "'ids' in data.npz is of type float32", "int64"),
        ({"x": NAN}, r"'x' in data.npz holds a NaN, at \[3, 1\]", "replace it"),
        ({"x": data(11)["x"]}, "have different numbers of samples: x 11, ids 12", "as many"),
        ({"x": np.array([None] * 12)}, "the array 'x' of data.npz is pickled", "float32"),
        ({"x": data(0)["x"], "ids": data(0)["ids"]}, "holds no sample", "at least one"),
    ],
)
def test_data_that_does_not_fit_is_refused_with_its_place_and_a_remedy(tmp_path, changes, message, remedy):
    path = saved(tmp_path, **data(**changes))
    with pytest.raises(Refusal, match=message) as refused:
        first(two_inputs(tmp_path / "m.onnx"), {"batch": 1}, path)
    assert remedy in refused.value.remedy
    assert refused.value.status == "unsupported"


def test_an_archive_that_unpacks_outside_its_folder_is_refused(tmp_path):
    path = saved(tmp_path, **data())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("../../evil.npy", b"x")
    with pytest.raises(Refusal, match=r"'../../evil.npy', which points outside its folder"):
        first(two_inputs(tmp_path / "m.onnx"), {"batch": 1}, path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("data.npz", b"PK\x03\x04 torn", "is no .npz file that can be read"),
        ("data.npy", b"\x80\x04N.", "data.npy is pickled"),
        ("data.npy", b"\x93NUMPY", "is no .npy file that can be read"),
        ("data.jsonl", b"{]", "line 1 of data.jsonl is no JSON"),
        ("data.jsonl", b"[1]", "line 1 of data.jsonl is no JSON object"),
        ("data.jsonl", b'{"x": [1], "ids": [1]}\n{"x": [1]}', "line 2 of data.jsonl has other keys"),
        ("data.jsonl", b'{"x": [1, [2]], "ids": [1]}', "its rows have several lengths"),
        ("data.jsonl", b'{"x": [1,2,3,4], "ids": [0.5]}', "'ids' holds fractions"),
        ("data.jsonl", b'{"x": [1,2,3,NaN], "ids": [1]}', "holds a NaN"),
        ("data.csv", b"1,2", "is no kind of input data"),
        ("data.jsonl", b"", "is empty"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_in_a_sentence(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(Refusal, match=message):
        first(two_inputs(tmp_path / "m.onnx"), {"batch": 1}, tmp_path / name)


# --- folders ----------------------------------------------------------------------------------------------------------


def pictures(folder: Path, count: int = 6) -> Path:
    from PIL import Image

    folder.mkdir()
    for number in range(count):
        Image.new("RGB", (8, 6), (255, 51 * number, 0)).save(folder / f"{number}.png")
    return folder


def test_pictures_are_prepared_as_the_matrix_says(tmp_path):
    folder = pictures(tmp_path / "photos")
    options = InputOptions(size=(10, 12), mean=(0.5,), std=(0.5,))
    source = a_file(tmp_path / "m.onnx", {"x": (FLOAT, ["batch", 3, "height", "width"])}, options=options)
    x = first(source, {"batch": 2}, folder)["x"]
    assert x.shape == (2, 3, 10, 12)
    assert x[:, :, 0, 0] == pytest.approx(np.array([[1, -1, -1], [1, -0.6, -1]]), abs=1e-6)
    assert "assumed-sizes" not in kinds(source, {"batch": 2}, folder)


def test_the_file_decides_layout_type_and_size_of_pictures(tmp_path):
    folder = pictures(tmp_path / "photos")
    x = first(a_file(tmp_path / "m.onnx", {"x": (UINT8, ["batch", 4, 5, 3])}), {"batch": 2}, folder)["x"]
    assert (x.shape, x.dtype) == ((2, 4, 5, 3), np.uint8)
    assert x[1, 0, 0].tolist() == [255, 51, 0]
    source = a_file(tmp_path / "m.onnx", {"x": (UINT8, ["batch", 4, 5, 3])}, options=InputOptions(size=(10, 5)))
    with pytest.raises(Refusal, match=r"inputs\.size asks for 10, and the file fixes a side of 'x' to 4"):
        first(source, {"batch": 2}, folder)


def test_a_picture_that_is_none_is_named(tmp_path):
    folder = pictures(tmp_path / "photos")
    (folder / "3.png").write_bytes(b"no picture")
    with pytest.raises(Refusal, match=r"3\.png is no picture that can be read"):
        first(a_file(tmp_path / "m.onnx", {"x": (FLOAT, ["batch", 3, 8, 8])}), {"batch": 1}, folder)


def a_sound(path: Path, samples: Any, rate: int = 16000) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.asarray(samples, "<i2").tobytes())
    return path


def test_sounds_are_cut_into_windows(tmp_path):
    (tmp_path / "sounds").mkdir()
    a_sound(tmp_path / "sounds" / "a.wav", np.arange(1300) * 16)
    options = InputOptions(values={"sr": 16000, "state": 0}, rate=16000)
    source = a_detector(tmp_path / "m.onnx", options)
    batches = onnx_file.make_inputs(source, {"batch": 1, "samples": 512}, str(tmp_path / "sounds"))
    assert [batch["input"].shape for batch in batches] == [(1, 512)] * 2
    assert batches[1]["input"][0, 0] == pytest.approx(512 * 16 / 32768)
    assert kinds(source, {"batch": 1, "samples": 512}, tmp_path / "sounds").keys() == {"counted-samples"}
    a_sound(tmp_path / "sounds" / "b.wav", np.arange(600), rate=8000)
    with pytest.raises(Refusal, match=r"b\.wav has 8000 samples a second, and inputs\.rate is 16000"):
        first(source, {"batch": 1, "samples": 512}, tmp_path / "sounds")


def test_texts_become_tokens_for_the_inputs_that_the_graph_has(tmp_path):
    transformers = pytest.importorskip("transformers")
    tokenizers = pytest.importorskip("tokenizers")
    words = {"[PAD]": 0, "[UNK]": 1, "red": 2, "blue": 3}
    model = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="[UNK]"))
    model.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    wrapped = transformers.PreTrainedTokenizerFast(tokenizer_object=model, pad_token="[PAD]", unk_token="[UNK]")
    wrapped.save_pretrained(tmp_path / "tokenizer")
    (tmp_path / "texts.txt").write_text("red blue red\nblue\n\nred green red blue red red\n", encoding="utf-8-sig")
    inputs: dict[str, Any] = {name: (INT64, ["batch", "seq"]) for name in ("input_ids", "attention_mask")}
    options = InputOptions(tokenizer=str(tmp_path / "tokenizer"), length=4)
    feed = first(a_file(tmp_path / "m.onnx", inputs, options=options), {"batch": 2}, tmp_path / "texts.txt")
    assert feed["input_ids"].tolist() == [[2, 3, 2, 0], [3, 0, 0, 0]]
    assert feed["attention_mask"].tolist() == [[1, 1, 1, 0], [1, 0, 0, 0]]
    with pytest.raises(Refusal, match=r"texts\.txt holds texts, and no tokenizer is given"):
        first(a_file(tmp_path / "m.onnx", inputs), {"batch": 2}, tmp_path / "texts.txt")


def test_texts_for_an_input_of_strings_are_fed_as_they_are(tmp_path):
    (tmp_path / "t.txt").write_text("one\ntwo\nthree\n", encoding="utf-8")
    source = a_file(tmp_path / "m.onnx", {"text": (onnx.TensorProto.STRING, ["batch", 1])})
    assert first(source, {"batch": 2}, tmp_path / "t.txt")["text"].tolist() == [["one"], ["two"]]


# --- other families ---------------------------------------------------------------------------------------------------


def test_texts_are_lines_of_a_file_keys_of_json_lines_or_the_files_of_a_folder(tmp_path):
    (tmp_path / "a.txt").write_text("one\n\ntwo\n", encoding="utf-8-sig")
    (tmp_path / "b.jsonl").write_text('{"text": "three"}\n{"text": "four"}\n', encoding="utf-8")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "1.txt").write_text("five\nsix\n", encoding="utf-8")
    assert _input_files.texts(tmp_path / "a.txt") == ["one", "two"]
    assert _input_files.texts(tmp_path / "b.jsonl") == ["three", "four"]
    assert _input_files.texts(tmp_path / "folder") == ["five\nsix"]
    (tmp_path / "b.jsonl").write_text('{"sentence": "three"}\n', encoding="utf-8")
    with pytest.raises(Refusal, match=r'line 1 of b\.jsonl has no "text"'):
        _input_files.texts(tmp_path / "b.jsonl")


def test_too_few_texts_are_refused_by_the_families_that_take_texts(tmp_path):
    (tmp_path / "a.txt").write_text("one\n", encoding="utf-8")
    for family in (text_encoder, text_generator):
        with pytest.raises(Refusal, match=r"a\.txt holds 1 texts") as refused:
            family._sentences(str(tmp_path / "a.txt"))
        assert refused.value.status == "unsupported"


def test_prepared_pictures_of_a_classifier_come_from_an_array(tmp_path):
    pixels = np.arange(9 * 3 * 4 * 4, dtype=np.float32).reshape(9, 3, 4, 4)
    path = saved(tmp_path, pixel_values=pixels)
    checked = _input_files.rows(path, "pixel_values", 8, checked=True, channels=3)
    assert np.array_equal(checked, pixels[[0, 1, 2, 3, 4, 5, 0, 1]])
    held = _input_files.rows(path, "pixel_values", 3, checked=False, channels=3)
    assert np.array_equal(held, pixels[6:])
    for broken, message in (
        ({"x": pixels}, "holds x, and the model takes 'pixel_values'"),
        ({"pixel_values": pixels.astype(np.float64)}, "holds float64 of shape"),
        ({"pixel_values": np.full_like(pixels, np.nan)}, "holds a NaN in 'pixel_values', in sample 0"),
    ):
        with pytest.raises(Refusal, match=message):
            _input_files.rows(saved(tmp_path, **broken), "pixel_values", 3, checked=True, channels=3)


def test_a_single_recording_is_enough_for_speech(tmp_path):
    assert len(_speech.clips(a_sound(tmp_path / "a.wav", np.arange(1600)))) == 1
