"""Operator verdicts as a table and a page: every case has its row, and nothing of what was measured can run."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import pytest
from builders import CPU
from msgspec.structs import replace
from operator_cases import a_case, a_deviation, a_failure, a_run, a_target, done, seen
from test_report_html import HOSTILE, Page

from bench.conformance import reports, summary
from bench.conformance.verdicts import VERDICTS, judge
from bench.records import CaseSeen, OperatorRun, Provider, TargetFacts, note

CASES = (
    a_case("test_relu"),
    a_case("test_relu_expanded_ver18", opset=18, expanded=True),
    a_case("test_softmax_axis_0", operator="Softmax", opset=13, types=("float16",)),
    a_case("test_adam", operator="Adam", domain="ai.onnx.preview.training", opset=1),
)
NEWER = a_failure("Unsupported model IR version: 14", kind="newer-model")


def on_cpu() -> OperatorRun:
    """The cases on WebGPU and on the CPU; CUDA is not there."""
    cpu = a_target("cpu", provider=Provider(CPU))
    facts = TargetFacts(False, kind="no-device", message="no NVIDIA GPU", remedy="plug one in")
    gone = replace(a_target("cuda", facts=facts), tried=False, runtime=None)
    return a_run(*CASES, targets=(a_target(), cpu, gone))


def observed() -> list[CaseSeen]:
    """Something of everything on WebGPU; all right on the CPU but one that is not reached."""
    off = a_deviation(outside=3, outside_coarse=3, max_abs_error=0.25)
    return [
        seen("test_relu"),
        seen("test_relu_expanded_ver18", done=done(webgpu={"Max": 1}, cpu={"Cast": 2})),
        seen("test_softmax_axis_0", done=done(off)),
        seen("test_adam", failure=NEWER),
        *(seen(case.name, target="cpu", done=done(cpu={"Relu": 1})) for case in CASES[:3]),
    ]


def rows(run: OperatorRun, found: list[CaseSeen]) -> list[dict[str, str]]:
    text = reports.csv_table(run, judge(run, found))
    return list(csv.DictReader(io.StringIO(text)))


def page(run: OperatorRun, found: list[CaseSeen]) -> Page:
    return Page(reports.html(run, judge(run, found)))


# --- the table --------------------------------------------------------------------------------------------------------


def test_the_table_has_a_row_for_every_case_on_every_target_that_was_tried():
    found = rows(on_cpu(), observed())
    assert [(row["provider"], row["case"]) for row in found] == [
        (target, case.name) for target in ("webgpu", "cpu") for case in CASES
    ]


def test_a_row_says_what_was_found():
    row = rows(on_cpu(), observed())[1]
    said = {
        "provider",
        "execution_provider",
        "device",
        "onnxruntime",
        "operator",
        "domain",
        "opset",
        "expanded",
        "verdict",
    }
    assert {key: row[key] for key in said} == {
        "provider": "webgpu",
        "execution_provider": "WebGpuExecutionProvider",
        "device": "gpu.0 NVIDIA H100",
        "onnxruntime": "1.31.1",
        "operator": "Relu",
        "domain": "ai.onnx",
        "opset": "18",
        "expanded": "true",
        "verdict": "partial",
    }
    assert (row["nodes_on_target"], row["nodes_elsewhere"], row["elsewhere_ops"]) == ("1", "2", "Cast x2")
    assert row["supported"] == "false"


def test_what_is_missing_is_an_empty_cell():
    row = rows(on_cpu(), observed())[3]
    assert (row["verdict"], row["nodes_on_target"], row["max_abs_error"], row["imitated"]) == ("newer", "", "", "")


@pytest.mark.parametrize(("column", "meaning"), reports.COLUMNS.items())
def test_every_column_has_a_meaning(column, meaning):
    assert re.fullmatch(r"[a-z_]+", column)
    assert meaning.endswith(".")


def test_a_message_is_no_formula():
    found = rows(a_run(), [seen(failure=a_failure("=HYPERLINK(1)"))])
    assert found[0]["message"] == "'=HYPERLINK(1)"


# --- counting ---------------------------------------------------------------------------------------------------------


def test_an_operator_counts_as_whole_only_where_every_case_that_says_something_is_right_and_on_it():
    webgpu, cpu = summary.summaries(on_cpu(), judge(on_cpu(), observed()))
    assert (webgpu.operators, webgpu.whole, webgpu.some) == (3, 0, 1)
    assert webgpu.counts == {"full": 1, "partial": 1, "wrong": 1, "newer": 1}
    assert (cpu.whole, cpu.some, cpu.right) == (2, 0, 3)


def test_operators_are_listed_by_domain_name_and_opset():
    found = summary.groups(on_cpu(), judge(on_cpu(), observed()))
    assert [(group.domain, group.operator, group.opset) for group in found] == [
        ("ai.onnx", "Relu", 14),
        ("ai.onnx", "Relu", 18),
        ("ai.onnx", "Softmax", 13),
        ("ai.onnx.preview.training", "Adam", 1),
    ]
    assert found[1].counts("webgpu") == {"partial": 1}


def test_opsets_are_counted():
    found = summary.opsets(on_cpu(), judge(on_cpu(), observed()))
    assert [(line.domain, line.opset, line.cases) for line in found][:2] == [("ai.onnx", 13, 1), ("ai.onnx", 14, 1)]
    assert found[0].counts == {"webgpu": {"wrong": 1}, "cpu": {"full": 1}}


def test_the_version_of_onnxruntime_comes_from_the_packages_where_no_probe_told_it():
    packages = {"onnxruntime-ep-webgpu": "0.4.0", "onnxruntime-openvino": "1.24.1"}
    target = a_target(facts=TargetFacts(True))
    assert target.runtime
    runtime = replace(target.runtime, packages=packages)
    assert summary.onnxruntime_of(replace(target, runtime=runtime)) == "1.24.1"


# --- the page ---------------------------------------------------------------------------------------------------------


def test_the_page_names_every_operator_every_case_and_every_reason():
    text = page(on_cpu(), observed()).text
    for word in ("Relu", "Softmax", "ai.onnx.preview.training", "relu_expanded_ver18", "3 of 60 values are off"):
        assert word in text
    assert "the run ended before its turn" in text
    assert "no NVIDIA GPU" in text
    assert "plug one in" in text


def test_the_page_marks_what_is_imitated():
    emulated = a_target("npu", provider=Provider("QNNExecutionProvider", emulated=True))
    notes = (note("software-adapter"),)
    software = a_target(facts=TargetFacts(True, notes=notes))
    text = page(a_run(targets=(emulated, software)), []).text
    assert "npu emulated" in text
    assert "webgpu software" in text


def test_the_page_loads_nothing_and_runs_no_script_but_its_own():
    found = page(on_cpu(), observed())
    assert [attributes for tag, attributes in found.tags if tag == "script"] == [{}]
    sources = {"src", "href", "action", "data"}
    linked = [value for _, attributes in found.tags for name, value in attributes.items() if name in sources]
    assert all(value and value.startswith(("#", "data:")) for value in linked)
    policy = next(a["content"] for tag, a in found.tags if tag == "meta" and "http-equiv" in a)
    assert policy
    assert re.search(r"default-src 'none'.*script-src 'sha256-[A-Za-z0-9+/]{43}='", policy)


def test_what_a_provider_says_is_only_text():
    found = page(a_run(), [seen(failure=a_failure(HOSTILE))])
    assert not [tag for tag, _ in found.tags if tag == "img"]
    assert [attributes for tag, attributes in found.tags if tag == "script"] == [{}]
    assert "alert(1)" in found.text


def test_the_documentation_has_every_column_and_every_verdict():
    told = (Path(__file__).parents[2] / "docs" / "operators.md").read_text(encoding="utf-8")
    assert not [name for name, meaning in reports.COLUMNS.items() if f"| `{name}` | {meaning} |" not in told]
    assert not [verdict for verdict in VERDICTS if f"| `{verdict}` |" not in told]
