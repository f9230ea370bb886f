"""Hand-made gates for the tests of what a gate writes: one cell to vary, and a whole gate that looks like life."""

from __future__ import annotations

from typing import Any

from a_report import a_machine
from msgspec.structs import replace

from bench.records import GateCell, GateRun, Interval, NullControl

REASON = "slower by over 2 %, and confirmed on 6 fresh pairs"


def a_gate_cell(cell: str = "minilm/int8/cpu/b1-s128", **changes: Any) -> GateCell:
    """A cell that passes after its screen; what is changed makes it another one."""
    made = GateCell(
        cell=cell,
        verdict="pass",
        reason="no slowdown over 1.5 % in 2 pairs",
        stage="screen",
        change=Interval(0.002, -0.007, 0.011),
        pairs=2,
        detectable=0.018,
        base_ms=Interval(12.3, 12.2, 12.4),
        new_ms=Interval(12.32, 12.22, 12.42),
        base_status="ok",
        new_status="ok",
        seconds=11.8,
    )
    return replace(made, **changes)


def a_slower_cell(cell: str = "minilm/fp32/cpu/b1-s128", **changes: Any) -> GateCell:
    slower = a_gate_cell(
        cell,
        verdict="regression",
        reason=REASON,
        stage="confirm",
        change=Interval(0.051, 0.042, 0.06),
        pairs=6,
        detectable=0.012,
        new_ms=Interval(12.93, 12.83, 13.03),
        seconds=70.25,
    )
    return replace(slower, **changes)


def a_lost_cell(cell: str = "resnet50/fp16/webgpu/b1", **changes: Any) -> GateCell:
    lost = GateCell(
        cell=cell,
        verdict="lost-support",
        reason="was ok in the base and crashed now: SIGSEGV in session",
        remedy="see logs/",
        stage="support",
        base_status="ok",
        new_status="crashed",
    )
    return replace(lost, **changes)


def an_unsure_cell(cell: str = "minilm/int8/openvino-cpu/b1-s128", **changes: Any) -> GateCell:
    unsure = a_gate_cell(
        cell,
        verdict="inconclusive",
        reason="the interval spans 0 and 2 % after 24 pairs",
        stage="confirm",
        change=Interval(0.014, -0.004, 0.033),
        pairs=24,
        detectable=0.031,
        seconds=300.0,
    )
    return replace(unsure, **changes)


def a_gate_run(*cells: GateCell, **changes: Any) -> GateRun:
    run = GateRun(
        schema=2,
        bench_version="0.1.0",
        created="2026-11-03T10:12:44+00:00",
        name="gate-amd-epyc-9454-20261103-1012",
        command="bench gate --baseline baseline",
        machine=a_machine(),
        base="amd-epyc-9454-20261101-0900",
        base_created="2026-11-01T09:00:00+00:00",
        differences=("onnxruntime 1.30.0 -> 1.31.1 in runtime 'ort'",),
        null=NullControl(6, Interval(0.001, -0.006, 0.008), fine=True, reason="base against base shows no difference"),
        cells=cells,
        exit_code=0,
        verdict="No regression in 1 cell.",
        minutes=12.3,
        budget_minutes=40,
        effects={"suspect": 0.015, "clear": 0.01, "regression": 0.02, "q": 0.005},
    )
    return replace(run, **changes)


def a_whole_gate(**changes: Any) -> GateRun:
    """A gate with every verdict: 1 regression, 1 lost, 1 inconclusive, 1 warning, 3 not compared, 2 that pass."""
    cells = (
        a_gate_cell(),
        a_gate_cell("minilm/int8/cpu/b8-s128", change=Interval(-0.03, -0.039, -0.021), notes=("faster",)),
        a_slower_cell(),
        a_lost_cell(),
        an_unsure_cell(),
        a_gate_cell("minilm/fp16/cpu/b1-s128", verdict="warning", reason="stored numbers look slower", stage="stored"),
        GateCell("vit/fp32/cuda/b1", "not-judged", "unavailable in both", base_status="unavailable"),
        GateCell("bert/fp32/cpu/b1", "gone", "only the base has it", base_status="ok"),
        GateCell("qwen/int4/cpu/p128-n64", "added", "only the new matrix has it", new_status="ok"),
    )
    said = {"exit_code": 1, "verdict": "1 regression and 1 cell that lost support."}
    return a_gate_run(*cells, **{**said, **changes})


def a_long_gate(slower: int = 2, cells: int = 300) -> GateRun:
    """A gate of so many cells, the first few of which are slower."""
    bad = [a_slower_cell(f"minilm/fp32/cpu/b{number}-s128") for number in range(slower)]
    fine = [a_gate_cell(f"minilm/int8/cpu/b{number}-s128") for number in range(cells - slower)]
    return a_gate_run(*fine, *bad, exit_code=1 if slower else 0, verdict=f"{slower} regressions.")
