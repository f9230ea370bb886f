"""Operator cases for tests: each builder gives a healthy one, and takes what the test is about by name."""

from __future__ import annotations

from typing import Any

from builders import CPU, WEBGPU, a_machine
from msgspec.structs import replace

from bench.records import (
    SCHEMA,
    Case,
    CaseDone,
    CaseSeen,
    CaseSuite,
    Deviation,
    Device,
    Failure,
    OperatorRun,
    OperatorTarget,
    Placement,
    Provider,
    RuntimeRecord,
    TargetFacts,
)


def a_case(name: str = "test_relu", **said: Any) -> Case:
    """ONNX's own test of Relu."""
    case = Case(
        name=name, operator="Relu", domain="", opset=14, types=("float32",), rtol=1e-3, atol=1e-7, at=0, size=10
    )
    return replace(case, **said)


def a_deviation(**said: Any) -> Deviation:
    """An output whose 60 values are right."""
    right = Deviation("y", "float32", 60, outside=0, outside_coarse=0, max_abs_error=1e-7, largest=2.5)
    return replace(right, **said)


def done(*deviations: Deviation, **nodes: dict[str, int]) -> CaseDone:
    """A case that ran; its nodes by `webgpu` and `cpu`, on WebGPU alone unless they are said."""
    placed = {WEBGPU if name == "webgpu" else CPU: ops for name, ops in nodes.items()}
    return CaseDone(Placement(placed or {WEBGPU: {"Relu": 1}}, "assignment-info"), deviations or (a_deviation(),))


def seen(case: str = "test_relu", *, target: str = "webgpu", **said: Any) -> CaseSeen:
    """What was seen of a case: right, and on WebGPU, unless something else is said."""
    if "failure" not in said:
        said.setdefault("done", done())
    return CaseSeen(target, case, **said)


def a_failure(message: str, status: str = "unsupported", stage: str = "session", kind: str = "Fail") -> Failure:
    """A case that was refused when its session was opened."""
    return Failure(status, stage, kind, message)  # type: ignore[arg-type]


def a_target(name: str = "webgpu", **said: Any) -> OperatorTarget:
    """WebGPU on a real GPU."""
    facts = TargetFacts(True, {"onnxruntime": "1.31.1"}, device=Device("gpu", 0, "NVIDIA", "NVIDIA H100"))
    packages = {"numpy": "2.4.6", "onnxruntime": "1.31.1"}
    runtime = RuntimeRecord("ort", ("onnxruntime==1.31.1",), "3.11.7", packages, "0" * 16)
    return replace(OperatorTarget(name, "ort", runtime, Provider(WEBGPU), facts), **said)


def a_run(*cases: Case, targets: tuple[OperatorTarget, ...] = ()) -> OperatorRun:
    """A run of these cases on WebGPU, or on these targets."""
    return OperatorRun(
        schema=SCHEMA,
        bench_version="0.1.0",
        created="2026-11-22T10:00:00+00:00",
        name="ops-here",
        command="bench ops",
        machine=a_machine(),
        suite=CaseSuite("1.23.2", cases or (a_case(),)),
        targets=targets or (a_target(),),
    )
