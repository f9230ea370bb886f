"""Write the files of a conformance run: `operators.html` and `operators.csv`.

The page loads nothing from the network. Its only script filters the rows, and the page's security policy holds the hash
of that script, so that no other script can run.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from bench.conformance import summary, text
from bench.conformance.verdicts import BFLOAT16_MARGIN, FLOAT16_MARGIN, SUPPORTED, VERDICTS
from bench.records import CaseOutcome, OperatorRun, OperatorTarget
from bench.report import escaping, numbers, pages
from bench.report import text as words

PAGE, TABLE = "operators.html", "operators.csv"
SCRIPT = "operators.js"
TEMPLATES = Path(__file__).parent / "templates"
COLUMNS: dict[str, str] = {
    "run": "Name of the run and of its folder.",
    "machine": "Key of the machine.",
    "provider": "Row of `[providers]`, or of the catalogue.",
    "execution_provider": "ONNX Runtime execution provider that the nodes had to be on.",
    "device": "Device that it ran on, where it is known.",
    "imitated": "`emulated` or `software` if the CPU imitates the device; otherwise empty.",
    "onnxruntime": "Version of onnxruntime.",
    "operator": "Operator that the case tests; for an expanded case, the operator that is replaced by its definition.",
    "domain": "Domain of the operator; `ai.onnx` is ONNX's own.",
    "opset": "Version of the domain that the case's model imports.",
    "case": "Name of the case in ONNX's backend tests.",
    "expanded": "true if the operator is replaced by its definition in simpler operators.",
    "types": "Element types of its inputs and outputs.",
    "verdict": f"One of {', '.join(f'`{name}`' for name in VERDICTS)}.",
    "supported": "true where the answer is right and every node was on the provider.",
    "nodes_on_target": "Nodes that were assigned to the provider.",
    "nodes_elsewhere": "Nodes that were assigned to another one.",
    "elsewhere_ops": "Operator types of the nodes that ran on another provider.",
    "output_type": "Element type of the output with the largest error.",
    "max_abs_error": "Largest absolute error of that output; empty if it is unknown.",
    "values_outside": "How many of its values are outside the tolerance.",
    "values": "How many values it has.",
    "message": "What is wrong, or why it was refused.",
}
"""The columns in their order, and what each means."""


def csv_table(run: OperatorRun, outcomes: Sequence[CaseOutcome]) -> str:
    """The header and the rows, with line feeds."""
    targets = {target.name: target for target in run.targets}
    return escaping.csv_table(COLUMNS, (_row(run, targets[outcome.target], outcome) for outcome in outcomes))


def _row(run: OperatorRun, target: OperatorTarget, outcome: CaseOutcome) -> dict[str, Any]:
    case = outcome.case
    return {
        "run": run.name,
        "machine": run.machine.key,
        "provider": target.name,
        "execution_provider": target.provider.ep,
        "device": summary.device(target),
        "imitated": summary.imitated(target),
        "onnxruntime": summary.onnxruntime_of(target),
        "operator": case.operator,
        "domain": summary.domain(case),
        "opset": case.opset,
        "case": case.name,
        "expanded": case.expanded,
        "types": " ".join(case.types),
        "verdict": outcome.verdict,
        "supported": outcome.verdict == SUPPORTED,
        "nodes_on_target": outcome.nodes_on_target,
        "nodes_elsewhere": outcome.nodes_elsewhere,
        "elsewhere_ops": " ".join(outcome.elsewhere_ops) or None,
        "output_type": outcome.type,
        "max_abs_error": outcome.max_abs_error,
        "values_outside": outcome.outside,
        "values": outcome.values,
        "message": outcome.message or None,
    }


def html(run: OperatorRun, outcomes: Sequence[CaseOutcome]) -> str:
    """The whole page."""
    script = (TEMPLATES / SCRIPT).read_text(encoding="utf-8")
    return (
        _environment()
        .get_template(PAGE)
        .render(
            run=run,
            summaries=summary.summaries(run, outcomes),
            present={outcome.verdict for outcome in outcomes},
            absent=[target for target in run.targets if not target.tried],
            groups=summary.groups(run, outcomes),
            opsets=summary.opsets(run, outcomes),
            script=Markup(script),  # noqa: S704 - it is ours, and holds nothing of what was measured
            # Over the very text that is written into the page: one changed byte, and a browser runs nothing.
            script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        )
    )


def _environment() -> Environment:
    environment = pages.environment(TEMPLATES)
    environment.globals.update(
        TONES=summary.TONES,
        MEANINGS=text.MEANINGS,
        margins={"FP16": FLOAT16_MARGIN, "BF16": BFLOAT16_MARGIN},
    )
    environment.filters.update(
        device=summary.device,
        grouped=lambda number: f"{number:,}",
        imitated=summary.imitated,
        moment=words.moment,
        size=numbers.size,
    )
    return environment


FORMATS: dict[str, Callable[[OperatorRun, Sequence[CaseOutcome]], str]] = {PAGE: html, TABLE: csv_table}
"""The renderer of each file, by file name."""
