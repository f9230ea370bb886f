"""The verdicts of operator cases in, operators.csv out: one flat row for each case on each target."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from bench.conformance.summary import domain, is_software, onnxruntime_of
from bench.conformance.verdicts import VERDICTS
from bench.records import CaseOutcome, OperatorRun, OperatorTarget
from bench.report import escaping

FILE = "operators.csv"
COLUMNS: dict[str, str] = {
    "run": "Name of the run, also its folder's.",
    "machine": "Key of the machine.",
    "provider": "Row of `[providers]`, or of the catalogue.",
    "execution_provider": "ONNX Runtime execution provider that the nodes had to be on.",
    "device": "Device that it ran on, where it is known.",
    "imitated": "`emulated` or `software` where the CPU imitates the device; else empty.",
    "onnxruntime": "Version of onnxruntime.",
    "operator": "Operator that the case tests; of an expanded case, the one whose definition it holds.",
    "domain": "Domain of the operator; `ai.onnx` is ONNX's own.",
    "opset": "Version of the domain that the case's model imports.",
    "case": "Name of the case in ONNX's backend tests.",
    "expanded": "true where simpler operators stand in the operator's place, by its definition.",
    "types": "Element types of its inputs and outputs.",
    "verdict": f"One of {', '.join(f'`{name}`' for name in VERDICTS)}.",
    "supported": "true where the answer is right and every node was on the provider.",
    "nodes_on_target": "Nodes that were assigned to the provider.",
    "nodes_elsewhere": "Nodes that were assigned to another one.",
    "elsewhere_ops": "Types of the nodes elsewhere.",
    "output_type": "Element type of the output that is most off.",
    "max_abs_error": "Largest absolute error of that output; empty where it cannot be told.",
    "values_outside": "How many of its values are outside the tolerance.",
    "values": "How many values it has.",
    "message": "What is wrong, or why it was refused.",
}
"""The columns in their order, and what each means."""


def render(run: OperatorRun, outcomes: Sequence[CaseOutcome]) -> str:
    """The header and the rows, with line feeds."""
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, tuple(COLUMNS), lineterminator="\n")
    writer.writeheader()
    targets = {target.name: target for target in run.targets}
    for outcome in outcomes:
        writer.writerow({key: _cell(value) for key, value in _row(run, targets[outcome.target], outcome).items()})
    return out.getvalue()


def _row(run: OperatorRun, target: OperatorTarget, outcome: CaseOutcome) -> dict[str, Any]:
    case = outcome.case
    return {
        "run": run.name,
        "machine": run.machine.key,
        "provider": target.name,
        "execution_provider": target.provider.ep,
        "device": device(target),
        "imitated": imitated(target),
        "onnxruntime": onnxruntime_of(target),
        "operator": case.operator,
        "domain": domain(case),
        "opset": case.opset,
        "case": case.name,
        "expanded": case.expanded,
        "types": " ".join(case.types),
        "verdict": outcome.verdict,
        "supported": VERDICTS[outcome.verdict].supported,
        "nodes_on_target": outcome.nodes_on_target,
        "nodes_elsewhere": outcome.nodes_elsewhere,
        "elsewhere_ops": " ".join(outcome.elsewhere_ops) or None,
        "output_type": outcome.type,
        "max_abs_error": outcome.max_abs_error,
        "values_outside": outcome.outside,
        "values": outcome.values,
        "message": outcome.message or None,
    }


def device(target: OperatorTarget) -> str | None:
    """`gpu.0 NVIDIA H100`; None where it is not known."""
    found = target.facts.device
    return f"{found.label} {found.name or found.vendor}".strip() if found else None


def imitated(target: OperatorTarget) -> str | None:
    """What the CPU imitates the device by, in one word; None for a real device."""
    if target.provider.emulated:
        return "emulated"
    return "software" if is_software(target) else None


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return escaping.csv_cell(value)
    return value
