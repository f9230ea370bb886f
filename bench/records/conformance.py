"""Records of operator conformance: the cases, the result of each on a target, and the run that holds them."""

from __future__ import annotations

from typing import Literal

from bench.records.base import Note, Record
from bench.records.machine import Machine, TargetFacts
from bench.records.plan import Provider
from bench.records.prepared import Failure, RuntimeRecord
from bench.records.seen import Placement

# Right values alone mislead: of 1,424 cases that the CPU passes, WebGPU ran 548 without a node on it.
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
"""The verdict on one case on one provider; `bench.conformance.text` explains each."""


# Of ONNX's 1,884 cases, onnxruntime 1.31.1 refuses 289 for this reason.
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
    """One of ONNX's own backend tests of an operator, without its model and values."""

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
    """Where its payload begins in the file of payloads, in bytes; `size` is its length in bytes."""
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
    """How far a value may be from the expected one: `atol + rtol * abs(expected)`, as in NumPy's `allclose`."""

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
    """The wider margin of FP32 and FP64 outputs, which shows that a provider computes in fewer bits."""


class Deviation(Record, frozen=True):
    """How one output differs from the expected one."""

    output: str
    type: str
    values: int
    problem: Note | None = None
    """Another type, shape or length: the values were not compared."""
    outside: int = 0
    """How many values are outside the margin."""
    outside_coarse: int | None = None
    """How many are outside the coarse margin too; None for other types than FP32 and FP64."""
    max_abs_error: float | None = None
    """None for strings, and where only one of a value and the expected value is finite."""
    largest: float | None = None
    """The largest expected magnitude; rounding errors are about this times the precision of the type."""


class CaseDone(Record, frozen=True, tag="case-done", tag_field="reply"):
    """A case was run to its end; the answer to `Conform`."""

    placement: Placement | None
    deviations: tuple[Deviation, ...]
    """One for each output."""


class CaseSeen(Record, frozen=True):
    """The result of one case on one target; a line of `operators.jsonl`."""

    target: str
    case: str
    done: CaseDone | None = None
    failure: Failure | None = None
    first_death: Note | None = None
    """How a process died that earlier cases had used, where the case was tried again in a fresh one."""


class OperatorTarget(Record, frozen=True):
    """One target of a conformance run."""

    name: str
    runtime_name: str
    runtime: RuntimeRecord | None
    """None where the environment was not created, because the target is not available."""
    provider: Provider
    facts: TargetFacts
    tried: bool = True
    """False where the machine lacks the target; its cases have no rows."""


class OperatorRun(Record, frozen=True):
    """`operators.json`: what is needed to read the lines of `operators.jsonl`."""

    schema: int
    bench_version: str
    created: str
    name: str
    command: str
    machine: Machine
    suite: CaseSuite
    """The cases that were selected."""
    targets: tuple[OperatorTarget, ...]


class CaseOutcome(Record, frozen=True):
    """The verdict on one case on one target."""

    target: str
    case: Case
    verdict: OperatorVerdict
    message: str = ""
    """`facts` as text."""
    nodes_on_target: int | None = None
    nodes_elsewhere: int | None = None
    elsewhere_ops: tuple[str, ...] = ()
    max_abs_error: float | None = None
    outside: int | None = None
    """How many values of the worst output are outside the margin; `values` is how many it has."""
    values: int | None = None
    type: str | None = None
    """The element type of the worst output."""
    facts: tuple[Note, ...] = ()
    """What is wrong, or why the case was refused, as kinds with values."""
