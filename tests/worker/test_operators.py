"""Operator cases on a real ONNX Runtime: made, fed in every element type, and compared."""

from __future__ import annotations

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from bench.records import (
    NEWER_MODEL,
    Case,
    CaseDone,
    CasePayload,
    CaseSequence,
    CaseSuite,
    CaseTensor,
    CaseValue,
    Collect,
    Conform,
    Margin,
    Provider,
    note,
)
from bench.shared import onnx_elements
from bench.worker import conformance, conformance_collect, element_types
from bench.worker.refusal import Refusal

CPU = Provider("CPUExecutionProvider")
MARGIN = Margin(1e-3, 1e-7)


class Deaf:
    """A channel whose parent does not listen."""

    def stage(self, name: str, workload: str | None = None) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> tuple[CaseSuite, str]:
    """All of ONNX's operator tests, and the file of their payloads."""
    folder = tmp_path_factory.mktemp("cases")
    conformance_collect.collect(Collect(str(folder)))
    suite = msgspec.json.decode((folder / conformance_collect.SUITE).read_bytes(), type=CaseSuite)
    return suite, str(folder / conformance_collect.PAYLOADS)


def the_case(collected: tuple[CaseSuite, str], name: str) -> Case:
    return next(case for case in collected[0].cases if case.name == name)


def conformed(case: Case, payloads: str, provider: Provider = CPU) -> CaseDone:
    margins = {"float32": MARGIN, "bfloat16": Margin(2**-6, 2**-7), "float16": Margin(2**-8, 2**-10)}
    order = Conform(provider, payloads, case, margins, Margin(2**-8, 2**-10))
    return conformance.conform(order, Deaf())  # type: ignore[arg-type]


def is_right(done: CaseDone) -> bool:
    return not any(one.problem or one.outside for one in done.deviations)


def an_identity(
    tmp_path, expected: CaseValue, given: CaseValue, kind: onnx.TypeProto, opset: int = 21, ir_version: int = 10
) -> tuple[Case, str]:
    """A case of Identity with made-up data: what is expected need not be what comes out."""
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "identity",
        [helper.make_value_info("x", kind)],
        [helper.make_value_info("y", kind)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version)
    content = msgspec.msgpack.encode(CasePayload(model.SerializeToString(), {"x": given}, {"y": expected}))
    (tmp_path / "payloads").write_bytes(content)
    case = Case("test_identity", "Identity", "", 21, ("float32",), 1e-3, 1e-7, 0, len(content))
    return case, str(tmp_path / "payloads")


def a_tensor(values: object, element: int = TensorProto.FLOAT) -> CaseTensor:
    array = np.asarray(values, onnx_elements.NATIVE[element])
    return CaseTensor(element, array.shape, array.tobytes())


def tensor_type(element: int, shape: list[int]) -> onnx.TypeProto:
    return helper.make_tensor_type_proto(element, shape)


@pytest.mark.parametrize("newer", [{"opset": 200}, {"ir_version": 200}])
def test_a_model_that_is_newer_than_onnxruntime_is_refused_with_a_kind_of_its_own(tmp_path, newer):
    given = a_tensor([1.0])
    case, payloads = an_identity(tmp_path, given, given, tensor_type(TensorProto.FLOAT, [1]), **newer)
    with pytest.raises(Refusal) as refused:
        conformed(case, payloads)
    assert (refused.value.kind, refused.value.status) == (NEWER_MODEL, "unsupported")
    assert "\n" not in refused.value.message


# --- making the cases -------------------------------------------------------------------------------------------------


def test_every_case_is_there_once(collected):
    names = [case.name for case in collected[0].cases]
    assert len(names) == len(set(names)) > 1800
    assert collected[0].onnx == onnx.__version__


def test_an_expanded_case_belongs_to_the_operator_that_it_defines(collected):
    case = the_case(collected, "test_softmax_axis_0_expanded_ver18")
    assert (case.operator, case.domain, case.opset, case.expanded) == ("Softmax", "", 18, True)


def test_a_case_of_another_domain_has_that_domains_opset(collected):
    case = the_case(collected, "test_adam")
    assert (case.operator, case.domain, case.opset) == ("Adam", "ai.onnx.preview.training", 1)


def test_what_the_standard_leaves_random_is_known(collected):
    found = {case.name for case in collected[0].cases if case.random}
    assert {"test_bernoulli", "test_training_dropout_default", "test_training_dropout_mask"} <= found
    assert not {"test_dropout_default", "test_training_dropout_zero_ratio", "test_argmax_default_axis_random"} & found


def test_every_element_type_of_the_cases_is_known(collected):
    found = {kind for case in collected[0].cases for kind in case.types}
    assert found <= set(onnx_elements.NUMBERS)
    assert {"bfloat16", "float8e4m3fn", "int4", "uint2", "float4e2m1", "string"} <= found


# --- element types ----------------------------------------------------------------------------------------------------

NAN, INF = float("nan"), float("inf")
PATTERNS = {
    "bfloat16": {0x3F80: 1.0, 0x3F81: 1.0078125, 0xC000: -2.0, 0x7F80: INF, 0x7FC0: NAN, 0x0001: 2.0**-133},
    "float8e4m3fn": {0x38: 1.0, 0x01: 2.0**-9, 0x7E: 448.0, 0x7F: NAN, 0xFF: NAN, 0x80: -0.0},
    "float8e4m3fnuz": {0x40: 1.0, 0x01: 2.0**-10, 0x7F: 240.0, 0x80: NAN, 0xFF: -240.0},
    "float8e5m2": {0x3C: 1.0, 0x01: 2.0**-16, 0x7B: 57344.0, 0x7C: INF, 0xFC: -INF, 0x7D: NAN},
    "float8e5m2fnuz": {0x40: 1.0, 0x01: 2.0**-17, 0x7F: 57344.0, 0x80: NAN},
    "float8e8m0": {0x7F: 1.0, 0x00: 2.0**-127, 0xFE: 2.0**127, 0xFF: NAN},
}
"""What ONNX's definitions of its types say that some patterns of bits mean."""


@pytest.mark.parametrize("name", PATTERNS)
def test_a_pattern_of_a_small_float_is_the_number_that_onnx_defines(name):
    patterns = np.array(list(PATTERNS[name]), "<u2" if name == "bfloat16" else np.uint8)
    found = element_types.decode(onnx_elements.NUMBERS[name], patterns.shape, patterns.tobytes())
    np.testing.assert_array_equal(found, np.array(list(PATTERNS[name].values()), np.float32))
    assert found.dtype == np.float32


@pytest.mark.parametrize("name", ["int4", "uint4", "int2", "uint2", "float4e2m1"])
def test_packed_values_are_what_onnx_unpacks(name):
    element = onnx_elements.NUMBERS[name]
    proto = TensorProto(data_type=element, dims=[5], raw_data=bytes([0b11100100, 0b10010011, 0b00001111]))
    proto.raw_data = proto.raw_data[: 2 if name.endswith("2") and "int" in name else 3]
    expected = numpy_helper.to_array(proto).astype(np.float32)
    np.testing.assert_array_equal(element_types.decode(element, (5,), proto.raw_data), expected)


@pytest.mark.parametrize(
    "name",
    [
        "test_relu",
        "test_max_float16",
        "test_castlike_FLOAT_to_BFLOAT16",
        "test_castlike_FLOAT_to_FLOAT8E4M3FN",
        "test_castlike_FLOAT_to_INT4",
        "test_castlike_FLOAT16_to_UINT2",
        "test_string_concat",
        "test_split_to_sequence_1",
        "test_identity_sequence",
        "test_loop16_seq_none",
        "test_identity_opt",
        "test_training_dropout_default",
    ],
)
def test_the_cpu_provider_is_right_in_every_kind_of_value(collected, name):
    done = conformed(the_case(collected, name), collected[1])
    assert is_right(done), done.deviations
    assert done.placement
    assert set(done.placement.nodes) == {CPU.ep}


def test_a_case_that_is_refused_raises_onnxruntimes_own_error(collected):
    with pytest.raises(Exception, match="ImageDecoder"):
        conformed(the_case(collected, "test_image_decoder_decode_bmp_rgb"), collected[1])


def test_the_payload_of_a_case_is_found_wherever_it_stands(collected):
    for name in ("test_abs", "test_xor2d"):
        assert is_right(conformed(the_case(collected, name), collected[1]))


# --- comparing --------------------------------------------------------------------------------------------------------


def deviation(tmp_path, expected, given, kind=None):
    kind = kind or tensor_type(TensorProto.FLOAT, list(given.shape))
    (found,) = conformed(*an_identity(tmp_path, expected, given, kind)).deviations
    return found


def test_an_error_is_measured(tmp_path):
    found = deviation(tmp_path, a_tensor([1.0, 2.0, 8.0]), a_tensor([1.0, 2.5, 8.0]))
    assert (found.outside, found.outside_coarse, found.values) == (1, 1, 3)
    assert (found.max_abs_error, found.largest) == (0.5, 8.0)


def test_an_error_within_the_margin_is_none_outside_and_still_told(tmp_path):
    found = deviation(tmp_path, a_tensor([1000.0]), a_tensor([1000.5]))
    assert (found.outside, found.max_abs_error) == (0, 0.5)


def test_an_error_that_fp16_explains_is_outside_the_one_margin_only(tmp_path):
    found = deviation(tmp_path, a_tensor([1.0]), a_tensor([1.002]))
    assert (found.outside, found.outside_coarse) == (1, 0)


def test_not_a_number_equals_itself_and_infinity_only_infinity(tmp_path):
    nan, inf = float("nan"), float("inf")
    assert deviation(tmp_path, a_tensor([nan, inf]), a_tensor([nan, inf])).outside == 0
    found = deviation(tmp_path, a_tensor([inf, 1.0]), a_tensor([1.0, 1.0]))
    assert (found.outside, found.max_abs_error) == (1, None)


def test_integers_must_be_equal(tmp_path):
    kind = tensor_type(TensorProto.INT64, [1])
    big = 2**62
    given = a_tensor([big + 1], TensorProto.INT64)
    assert deviation(tmp_path, a_tensor([big], TensorProto.INT64), given, kind).outside == 1


def test_another_shape_or_type_is_a_problem_and_no_error(tmp_path):
    given = a_tensor([1.0, 2.0])
    assert deviation(tmp_path, a_tensor([[1.0], [2.0]]), given).problem == note(
        "other-shape", shape="[2]", expected="[2, 1]"
    )
    assert deviation(tmp_path, a_tensor([1, 2], TensorProto.INT64), given).problem == note(
        "other-type", element="float32", expected="int64", is_tensor=True
    )


def test_the_worst_item_of_a_sequence_is_told_and_a_missing_one_is_a_problem(tmp_path):
    kind = helper.make_sequence_type_proto(tensor_type(TensorProto.FLOAT, [1]))
    one, two = a_tensor([1.0]), a_tensor([2.0])
    found = deviation(tmp_path, CaseSequence((one, one)), CaseSequence((one, two)), kind)
    assert (found.output, found.outside) == ("y[1]", 1)
    found = deviation(tmp_path, CaseSequence((one,)), CaseSequence((one, two)), kind)
    assert found.problem == note("other-length", length=2, expected=1)
