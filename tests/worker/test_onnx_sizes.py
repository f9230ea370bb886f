"""Inputs of ONNX files that nobody gives: their sizes, the sample axis, and integers that are guessed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx_files import FLOAT, INT32, INT64, a_detector, a_file, a_node, counted, first, kinds, onnx, shapes

from bench.records import InputOptions, Source, note
from bench.worker.families import onnx_file
from bench.worker.refusal import Refusal

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
