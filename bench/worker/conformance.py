"""Runs one operator case: finds where its nodes ran, and how much its outputs deviate from the expected ones."""

from __future__ import annotations

import ctypes
import re
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnxruntime as ort

from bench.records import (
    NEWER_MODEL,
    CaseDone,
    CasePayload,
    CaseSequence,
    CaseTensor,
    CaseValue,
    Conform,
    Deviation,
    Margin,
    note,
)
from bench.shared.onnx_elements import NAMES, NATIVE, STRING
from bench.worker.channel import Channel
from bench.worker.element_types import Values, decode
from bench.worker.failures import reason_of
from bench.worker.onnx_runtime.assignment import placement
from bench.worker.onnx_runtime.sessions import Request, open_session
from bench.worker.refusal import Refusal

NEWER = re.compile(
    r"Unsupported model IR version|only \*guarantees\* support for models stamped with official released onnx opset"
    r"|Opset \d+ (?:of domain \S+ )?is under development"
)
"""The errors with which onnxruntime refuses a model that is newer than itself; they have no error code."""


def conform(order: Conform, channel: Channel) -> CaseDone:
    """Open a session on the case, run it, and compare its outputs with the expected ones.

    Every stage carries the name of the case, so that a crash shows the case and the stage.
    """
    name = order.case.name
    channel.stage("read", name)
    payload = _payload(order)
    channel.stage("session", name)
    session = _session(order, payload)
    channel.stage("run", name)
    answers = run(session, payload)
    channel.stage("compare", name)
    return CaseDone(placement(session), compare(order, payload, answers))


def _session(order: Conform, payload: CasePayload) -> ort.InferenceSession:
    """A session on the case's model; Refusal of the kind `NEWER_MODEL` where it is newer than this onnxruntime."""
    try:
        # One thread, the default: the cases are small, so that a thread pool would cost more time than it saves.
        return open_session(order.provider, Request(model=payload.model)).session
    except Exception as error:  # onnxruntime's exceptions have no class in common; others are raised again
        if NEWER.search(str(error)):
            raise Refusal("unsupported", reason_of(error), kind=NEWER_MODEL) from error
        raise


def _payload(order: Conform) -> CasePayload:
    with Path(order.payloads).open("rb") as file:
        # Only this case is read: the file has the payloads of all cases.
        file.seek(order.case.at)
        return msgspec.msgpack.decode(file.read(order.case.size), type=CasePayload)


def run(session: ort.InferenceSession, payload: CasePayload) -> list[Any]:
    """The outputs in the case's order: arrays, lists of arrays, None, or `CaseTensor` for types that NumPy lacks."""
    names = list(payload.outputs)
    if not _is_foreign(payload):
        feed = {name: _plain(value) for name, value in payload.inputs.items()}
        return [_owned(answer) for answer in session.run(names, feed)]
    values = {name: _ort_value(value) for name, value in payload.inputs.items()}
    return [_read(value) for value in session.run_with_ort_values(names, values)]


def _owned(answer: Any) -> Any:
    """A copy of an output, made while the inputs still exist: an output may be a view of their memory.

    Observed with onnxruntime 1.24.1: the output of SequenceInsert changed after the inputs were freed.
    """
    if isinstance(answer, list):
        return [_owned(item) for item in answer]
    return answer.copy() if isinstance(answer, np.ndarray) else answer


def compare(order: Conform, payload: CasePayload, answers: list[Any]) -> tuple[Deviation, ...]:
    """The deviation of each output from the expected value, in the order of the case."""
    pairs = zip(payload.outputs.items(), answers, strict=True)
    return tuple(_deviation(name, expected, answer, order) for (name, expected), answer in pairs)


def _is_foreign(payload: CasePayload) -> bool:
    """Whether the case has a type that NumPy lacks: `session.run` does not accept such values."""
    values = [*payload.inputs.values(), *payload.outputs.values()]
    return any(
        isinstance(value, CaseTensor) and value.element not in NATIVE and value.element != STRING for value in values
    )


def _plain(value: CaseValue) -> Any:
    if isinstance(value, CaseSequence):
        return [_array(item) for item in value.items]
    return None if value is None else _array(value)


def _array(tensor: CaseTensor) -> Values:
    if tensor.element == STRING:
        return np.array(tensor.strings, object).reshape(tensor.shape)
    return decode(tensor.element, tensor.shape, tensor.data).copy()  # a copy, because a user's array owns its memory


def _ort_value(value: CaseValue) -> ort.OrtValue:
    """An ONNX Runtime tensor with exactly these bytes: the only way to pass types that NumPy lacks."""
    if not isinstance(value, CaseTensor):
        raise TypeError("beside a type that NumPy lacks, onnxruntime's Python takes no sequence and no empty optional")
    if value.element == STRING:
        return ort.OrtValue.ortvalue_from_numpy(_array(value))
    tensor = ort.OrtValue.ortvalue_from_shape_and_type(list(value.shape), value.element)
    if tensor.tensor_size_in_bytes() != len(value.data):
        raise TypeError(f"this onnxruntime stores {NAMES.get(value.element)} in another way than ONNX")
    # An empty tensor has no bytes to copy, and its address may be null.
    if value.data:
        ctypes.memmove(tensor.data_ptr(), value.data, len(value.data))
    return tensor


def _read(value: ort.OrtValue) -> Any:
    if value.element_type() == STRING:
        # The elements are objects, which have no bytes that could be copied.
        return value.numpy()
    size = value.tensor_size_in_bytes()
    data = ctypes.string_at(value.data_ptr(), size) if size else b""
    return CaseTensor(value.element_type(), tuple(value.shape()), data)


def _deviation(name: str, expected: CaseValue, answer: Any, order: Conform) -> Deviation:
    if expected is None:
        problem = None if answer is None else note("unexpected-value")
        return Deviation(name, "optional", 0, problem)
    if isinstance(expected, CaseTensor):
        return _tensors(name, expected, answer, order)
    if not isinstance(answer, list) or len(answer) != len(expected.items):
        length = len(answer) if isinstance(answer, list) else None
        return Deviation(name, "sequence", 0, note("other-length", length=length, expected=len(expected.items)))
    pairs = zip(expected.items, answer, strict=True)
    parts = [
        _tensors(f"{name}[{i}]", expected_item, actual_item, order)
        for i, (expected_item, actual_item) in enumerate(pairs)
    ]
    return max(parts, key=_badness, default=Deviation(name, "sequence", 0))


def _badness(deviation: Deviation) -> tuple[bool, int, float]:
    """The sort key of the items of a sequence: the worst item has the largest key."""
    return deviation.problem is not None, deviation.outside, deviation.max_abs_error or 0.0


def _tensors(name: str, expected: CaseTensor, answer: Any, order: Conform) -> Deviation:
    kind, expected_values = NAMES[expected.element], _array(expected)
    actual, element = _answer(answer)
    if actual is None or element != expected.element:
        problem = note("other-type", element=NAMES.get(element), expected=kind, is_tensor=bool(element))
        return Deviation(name, kind, expected_values.size, problem)
    if actual.shape != expected_values.shape:
        shapes = {"shape": str(list(actual.shape)), "expected": str(list(expected_values.shape))}
        return Deviation(name, kind, expected_values.size, note("other-shape", **shapes))
    # The standard does not define these values, so only type and shape are checked.
    if order.case.random:
        return Deviation(name, kind, 0)
    if expected.element == STRING:
        return Deviation(name, kind, expected_values.size, outside=int(np.count_nonzero(actual != expected_values)))
    return _numbers(name, kind, expected_values, actual, order)


def _answer(answer: Any) -> tuple[Values | None, int]:
    """The values of an output and its ONNX element type; 0 where the type is not known."""
    if isinstance(answer, CaseTensor):
        return decode(answer.element, answer.shape, answer.data), answer.element
    if not isinstance(answer, np.ndarray | np.generic):
        return None, 0
    array = np.asarray(answer)
    if array.dtype.kind in "OUS":
        return array, STRING
    return array, next((number for number, dtype in NATIVE.items() if array.dtype == dtype), 0)


def _numbers(name: str, kind: str, expected: Values, actual: Values, order: Conform) -> Deviation:
    """Count the values outside the margins, and find the largest error; without a margin all values must be equal."""
    # NaN equals NaN here, and an infinity only the same infinity.
    same = (actual == expected) | (_nan(actual) & _nan(expected))
    finite = np.isfinite(expected) & np.isfinite(actual)
    # Differences of unsigned integers would wrap around, and those of FP16 would be rounded again.
    wide = np.complex128 if expected.dtype.kind == "c" else np.float64
    # Infinities give NaN here; `finite` excludes them below.
    with np.errstate(invalid="ignore", over="ignore"):
        error = np.abs(actual.astype(wide) - expected.astype(wide))
        size = np.abs(expected.astype(wide))

    def outside(margin: Margin | None) -> int:
        outside_margin = ~finite | (error > margin.atol + margin.rtol * size) if margin else True
        return int(np.count_nonzero(~same & outside_margin))

    return Deviation(
        output=name,
        type=kind,
        values=expected.size,
        outside=outside(order.margins.get(kind)),
        outside_coarse=outside(order.coarse) if kind in ("float32", "float64") else None,
        max_abs_error=None if np.any(~same & ~finite) else float(np.max(error[finite], initial=0.0)),
        largest=float(np.max(size[np.isfinite(expected)], initial=0.0)),
    )


def _nan(values: Values) -> Values:
    return np.isnan(values) if values.dtype.kind in "fc" else np.zeros(values.shape, bool)
