"""Operator conformance: the cases, what a worker saw of each, and the run that holds them."""

from __future__ import annotations

from typing import Literal

from bench.records.base import Record
from bench.records.machine import Machine, TargetFacts
from bench.records.notes import Note
from bench.records.plan import Provider
from bench.records.prepared import Failure, RuntimeRecord
from bench.records.seen import Placement

OperatorVerdict = Literal[
    "full",
    "partial",
    "elsewhere",
    "folded",
    "unplaced",
    "coarse",
    "wrong",
    "refused",
    "newer",
    "crashed",
    "timeout",
    "not-run",
]
"""What one case came to on one provider; `bench.conformance.text` says what each means."""


NEWER_MODEL = "newer-model"
"""The kind of a failure where this onnxruntime does not know the opset or the IR version of a case yet."""


class CaseTensor(Record, frozen=True, tag="tensor"):
    """One tensor as ONNX stores it."""

    element: int
    """`TensorProto.DataType`, e.g. 1 for FLOAT."""
    shape: tuple[int, ...]
    data: bytes = b""
    """Little-endian, without gaps; types of 4 and 2 bits are packed, the first value in the lowest bits."""
    strings: tuple[str, ...] = ()
    """The values of a tensor of strings."""


class CaseSequence(Record, frozen=True, tag="sequence"):
    """A sequence of tensors."""

    items: tuple[CaseTensor, ...]


CaseValue = CaseTensor | CaseSequence | None
"""What a case feeds or expects; None is an empty optional."""


class CasePayload(Record, frozen=True):
    """The content of one case: the model, and what goes in and must come out by name."""

    model: bytes
    inputs: dict[str, CaseValue]
    outputs: dict[str, CaseValue]


class Case(Record, frozen=True):
    """One of ONNX's own backend tests of an operator, without its content."""

    name: str
    operator: str
    domain: str
    """Empty for ONNX's own."""
    opset: int
    """The version of the domain that the model imports."""
    types: tuple[str, ...]
    """The element types of inputs and outputs, e.g. `float16`."""
    rtol: float
    atol: float
    at: int
    """Where its payload begins in the file of payloads, and how many bytes it has."""
    size: int
    expanded: bool = False
    """True where the model holds the operator's definition by simpler operators in its place."""
    random: bool = False
    """True where the standard leaves the values open: type and shape are compared, and nothing else."""


class CaseSuite(Record, frozen=True):
    """Every case, in the order of ONNX."""

    onnx: str
    """The version of the package that they come from."""
    cases: tuple[Case, ...]


class Margin(Record, frozen=True):
    """What a value may differ from what is expected: by `atol + rtol * abs(expected)`, as NumPy's allclose has it."""

    rtol: float
    atol: float


class Collect(Record, frozen=True, tag="collect", tag_field="order"):
    """Write ONNX's own operator tests into the folder `out`: the suite, and a file of their payloads."""

    out: str


class Conform(Record, frozen=True, tag="conform", tag_field="order"):
    """Run one case on one provider; the worker keeps the provider for the next."""

    provider: Provider
    payloads: str
    """The file of payloads."""
    case: Case
    margins: dict[str, Margin]
    """By element type; a type that is not named must be exact."""
    coarse: Margin
    """What FP32 and FP64 outputs may be off where the provider computes in fewer bits; still outside of `margins`."""


class Deviation(Record, frozen=True):
    """How one output differs from what is expected, the worst of its values first."""

    output: str
    type: str
    values: int
    problem: Note | None = None
    """Another type, shape or length: the values were not compared."""
    outside: int = 0
    """How many values are outside the margin."""
    outside_coarse: int | None = None
    """How many are outside the coarse one too; None for other types than FP32 and FP64."""
    max_abs_error: float | None = None
    """None for strings, and where a value is not finite and should be, or the other way round."""
    largest: float | None = None
    """The largest magnitude that is expected: rounding errors are of its size times the type's precision."""


class CaseDone(Record, frozen=True, tag="case-done", tag_field="reply"):
    """A case was run to its end; the answer to `Conform`."""

    placement: Placement | None
    deviations: tuple[Deviation, ...]
    """One for each output."""


class CaseSeen(Record, frozen=True):
    """What was seen of one case on one target; a line of `operators.jsonl`."""

    target: str
    case: str
    done: CaseDone | None = None
    failure: Failure | None = None
    first_death: Note | None = None
    """How the process died that others had used before, where the case was tried again in a fresh one."""


class OperatorTarget(Record, frozen=True):
    """One target of a conformance run."""

    name: str
    runtime_name: str
    runtime: RuntimeRecord | None
    """None where it was not made, for a target that is not here."""
    provider: Provider
    facts: TargetFacts
    tried: bool = True
    """False where the target is not on this machine: its cases have no rows."""


class OperatorRun(Record, frozen=True):
    """`operators.json`: all that is needed to read the lines of `operators.jsonl`."""

    schema: int
    bench_version: str
    created: str
    name: str
    command: str
    machine: Machine
    suite: CaseSuite
    """The cases that were asked for."""
    targets: tuple[OperatorTarget, ...]


class CaseOutcome(Record, frozen=True):
    """The verdict on one case on one target."""

    target: str
    case: Case
    verdict: OperatorVerdict
    message: str = ""
    """The words of `facts`."""
    nodes_on_target: int | None = None
    nodes_elsewhere: int | None = None
    elsewhere_ops: tuple[str, ...] = ()
    max_abs_error: float | None = None
    outside: int | None = None
    """How many values of the output that is worst are outside the margin, and how many it has."""
    values: int | None = None
    type: str | None = None
    """The element type of the output that is worst."""
    facts: tuple[Note, ...] = ()
    """What is wrong, or why it was refused, as kinds with values."""
