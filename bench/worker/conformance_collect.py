"""ONNX's own operator tests as a suite, and one file with the content of every case."""

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
from bench.worker.element_types import NAMES, STRING

SUITE, PAYLOADS = "cases.json", "payloads.bin"
EXPANDED = re.compile(r"_expanded(?:_ver\d+)?$")
RANDOM_OPS = {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}


def collect(order: Collect) -> Built:
    """Make every case, and write the suite and the payloads."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tests divide by zero on purpose
        made = load_model_tests(kind="node")
    operators = {one.name: _operator(one.model) for one in made if not EXPANDED.search(one.name)}
    with (Path(order.out) / PAYLOADS).open("wb") as file:
        cases = tuple(_case(one, operators, file) for one in made)
    suite = CaseSuite(onnx=onnx.__version__, cases=cases)
    (Path(order.out) / SUITE).write_bytes(msgspec.json.encode(suite))
    return Built((f"{len(cases)} cases of onnx {onnx.__version__}",))


def _operator(model: Any) -> tuple[str, str]:
    """The operator of a model with one node, and its domain; empty for ONNX's own."""
    node = model.graph.node[0]
    return node.op_type, _domain(node.domain)


def _domain(said: str) -> str:
    return "" if said == "ai.onnx" else said


def _case(made: Any, operators: dict[str, tuple[str, str]], file: BinaryIO) -> Case:
    """Write the payload of a case; what is left of it."""
    payload = _payload(made)
    expanded = EXPANDED.search(made.name) is not None
    operator, domain = operators[EXPANDED.sub("", made.name)]
    opsets = {_domain(one.domain): one.version for one in made.model.opset_import}
    content = msgspec.msgpack.encode(payload)
    at = file.tell()
    file.write(content)
    return Case(
        name=made.name,
        operator=operator,
        domain=domain,
        opset=opsets.get(domain, 0),
        types=tuple(sorted(_types([*payload.inputs.values(), *payload.outputs.values()]))),
        rtol=made.rtol,
        atol=made.atol,
        at=at,
        size=len(content),
        expanded=expanded,
        random=_is_random(made),
    )


def _payload(made: Any) -> CasePayload:
    graph, ((inputs, outputs),) = made.model.graph, made.data_sets
    return CasePayload(
        model=made.model.SerializeToString(),
        inputs={named.name: _value(given) for named, given in zip(graph.input, inputs, strict=True)},
        outputs={named.name: _value(given) for named, given in zip(graph.output, outputs, strict=True)},
    )


def _value(given: Any) -> CaseValue:
    """A value as the tests give it: an array, a scalar, a TensorProto, a list for a sequence, None for nothing."""
    if given is None:
        return None
    if isinstance(given, list):
        return CaseSequence(tuple(map(_tensor, given)))
    return _tensor(given)


def _tensor(given: Any) -> CaseTensor:
    proto = given if isinstance(given, TensorProto) else numpy_helper.from_array(np.asarray(given))
    shape = tuple(proto.dims)
    if proto.data_type == STRING:
        return CaseTensor(STRING, shape, strings=tuple(one.decode("utf-8") for one in proto.string_data))
    if not proto.HasField("raw_data"):  # made by hand, with its values in a field of their own
        proto = numpy_helper.from_array(numpy_helper.to_array(proto))
    return CaseTensor(proto.data_type, shape, proto.raw_data)


def _types(values: Iterable[CaseValue]) -> set[str]:
    """The names of the element types of values."""
    tensors: list[CaseTensor] = []
    for value in values:
        tensors += value.items if isinstance(value, CaseSequence) else [value] if value else []
    return {NAMES.get(tensor.element, f"type {tensor.element}") for tensor in tensors}


def _is_random(made: Any) -> bool:
    """Whether the standard leaves the outputs' values open."""
    if any(node.op_type in RANDOM_OPS for node in made.model.graph.node):
        return True
    node = made.model.graph.node[0]
    if node.op_type != "Dropout" or len(node.input) < 3:
        return False
    # Dropout of opset 12 and later: (data, ratio, training_mode), an empty name for a ratio that is left out.
    ((inputs, _),) = made.data_sets
    given = dict(zip((name for name in node.input if name), inputs, strict=True))
    ratio = given[node.input[1]] if node.input[1] else 0.5
    return bool(np.any(given[node.input[2]])) and float(ratio) > 0
