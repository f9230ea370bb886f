"""The inputs of an ONNX file are read without the `onnx` package, as a session would ask for them."""

from __future__ import annotations

import pytest
from onnx_bytes import INT64, an_input, an_onnx_file

from bench.shared.onnx_inputs import read_inputs, symbolic_names


def read(path, *inputs: bytes, weights=()):
    (path / "m.onnx").write_bytes(an_onnx_file(*inputs, weights=weights))
    return read_inputs(path / "m.onnx")


def shapes(inputs):
    return {
        value.name: value.dimensions and [each.name if each.size is None else each.size for each in value.dimensions]
        for value in inputs
    }


def test_names_types_and_dimensions_are_those_of_the_file(tmp_path):
    inputs = read(tmp_path, an_input("x", ("batch", 3, "height", None)), an_input("sr", (), INT64))
    assert shapes(inputs) == {"x": ["batch", 3, "height", "x[3]"], "sr": ()}
    assert [value.element for value in inputs] == ["float32", "int64"]
    assert symbolic_names(inputs) == ("batch", "height", "x[3]")


def test_a_weight_that_is_listed_as_an_input_is_none(tmp_path):
    assert shapes(read(tmp_path, an_input("x", (1,)), an_input("w", (4,)), weights=("w",))) == {"x": [1]}


def test_minus_one_and_zero_are_sizes_that_are_not_known(tmp_path):
    assert shapes(read(tmp_path, an_input("x", (2**64 - 1, 0, 5)))) == {"x": ["x[0]", "x[1]", 5]}


def test_an_input_without_a_shape_has_none(tmp_path):
    assert read(tmp_path, an_input("x", None))[0].dimensions is None


def test_the_terms_of_a_sum_can_be_given_too(tmp_path):
    assert symbolic_names(read(tmp_path, an_input("x", ("past + now",)))) == ("past + now", "past", "now")


@pytest.mark.parametrize("content", [b"", b"no model", b"\xff" * 40, an_onnx_file(an_input("x", (1,)))[:-3]])
def test_what_is_no_model_is_a_value_error(tmp_path, content):
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(ValueError, match=r"it|amid|bits"):
        read_inputs(tmp_path / "m.onnx")
