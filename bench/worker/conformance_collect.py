"""Collects ONNX's own operator tests into a suite, and writes the content of all cases into one file."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import numpy as np
import onnx
from onnx import TensorProto, numpy_helper
from onnx.backend.test.loader import load_model_tests

from bench.records import Built, Case, CasePayload, CaseSequence, CaseSuite, CaseTensor, CaseValue, Collect
from bench.shared.onnx_elements import NAMES, STRING

SUITE, PAYLOADS = "cases.json", "payloads.bin"
# ONNX tests an operator that is a function twice: as one node, and expanded into the nodes that define it.
EXPANDED = re.compile(r"_expanded(?:_ver\d+)?$")
# The standard defines the distribution of these outputs, and not their values.
RANDOM_OPS = {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}


def collect(order: Collect) -> Built:
    """Generate every case, and write the suite and the payloads into `order.out`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tests divide by zero on purpose
        tests = load_model_tests(kind="node")
    # An expanded case has several nodes: its operator is that of the case which it expands.
    operators = {test.name: _operator(test.model) for test in tests if not EXPANDED.search(test.name)}
    with (Path(order.out) / PAYLOADS).open("wb") as file:
        cases = tuple(_case(test, operators, file) for test in tests)
    suite = CaseSuite(onnx=onnx.__version__, cases=cases)
    (Path(order.out) / SUITE).write_bytes(msgspec.json.encode(suite))
    return Built()


def _operator(model: Any) -> tuple[str, str]:
    """The operator and the domain of a model with one node; the domain is empty for ONNX's own."""
    node = model.graph.node[0]
    return node.op_type, _domain(node.domain)


def _domain(name: str) -> str:
    return "" if name == "ai.onnx" else name


def _case(test: Any, operators: dict[str, tuple[str, str]], file: BinaryIO) -> Case:
    """Append the payload of a case to the file; gives its description with the offset and size of the payload."""
    payload = _payload(test)
    expanded = EXPANDED.search(test.name) is not None
    operator, domain = operators[EXPANDED.sub("", test.name)]
    opsets = {_domain(entry.domain): entry.version for entry in test.model.opset_import}
    content = msgspec.msgpack.encode(payload)
    at = file.tell()
    file.write(content)
    return Case(
        name=test.name,
        operator=operator,
        domain=domain,
        opset=opsets.get(domain, 0),
        # Sorted: the order of a set of texts differs from process to process.
        types=tuple(sorted(_types([*payload.inputs.values(), *payload.outputs.values()]))),
        rtol=test.rtol,
        atol=test.atol,
        at=at,
        size=len(content),
        expanded=expanded,
        random=_is_random(test),
    )


def _payload(test: Any) -> CasePayload:
    graph, ((inputs, outputs),) = test.model.graph, test.data_sets
    return CasePayload(
        model=test.model.SerializeToString(),
        inputs={info.name: _value(value) for info, value in zip(graph.input, inputs, strict=True)},
        outputs={info.name: _value(value) for info, value in zip(graph.output, outputs, strict=True)},
    )


def _value(value: Any) -> CaseValue:
    """Convert a value of the tests: an array, a scalar, a TensorProto, a list for a sequence, or None."""
    if value is None:
        return None
    if isinstance(value, list):
        return CaseSequence(tuple(map(_tensor, value)))
    return _tensor(value)


def _tensor(value: Any) -> CaseTensor:
    proto = value if isinstance(value, TensorProto) else numpy_helper.from_array(np.asarray(value))
    shape = tuple(proto.dims)
    if proto.data_type == STRING:
        return CaseTensor(STRING, shape, strings=tuple(text.decode("utf-8") for text in proto.string_data))
    if not proto.HasField("raw_data"):  # some tests store the values in typed fields instead of raw bytes
        proto = numpy_helper.from_array(numpy_helper.to_array(proto))
    return CaseTensor(proto.data_type, shape, proto.raw_data)


def _types(values: Iterable[CaseValue]) -> set[str]:
    """The names of the element types of values."""
    tensors: list[CaseTensor] = []
    for value in values:
        tensors += value.items if isinstance(value, CaseSequence) else [value] if value else []
    return {NAMES.get(tensor.element, f"type {tensor.element}") for tensor in tensors}


def _is_random(test: Any) -> bool:
    """Whether the standard does not define the values of the outputs."""
    if any(node.op_type in RANDOM_OPS for node in test.model.graph.node):
        return True
    node = test.model.graph.node[0]
    if node.op_type != "Dropout" or len(node.input) < 3:
        return False
    # Dropout of opset 12 and later: (data, ratio, training_mode), with an empty name where the ratio is omitted.
    ((inputs, _),) = test.data_sets
    values = dict(zip((name for name in node.input if name), inputs, strict=True))
    # 0.5 is the standard's default.
    ratio = values[node.input[1]] if node.input[1] else 0.5
    return bool(np.any(values[node.input[2]])) and float(ratio) > 0
