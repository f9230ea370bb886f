"""What the report tells of targets, and which of them it puts side by side."""

from __future__ import annotations

from typing import Any

from a_report import a_cell, a_report, an_outcome, some_facts

from bench.records import Cell, Device, Executed, note
from bench.report import text
from bench.report.model import RunReport


def a_sheet(*cells: Cell, **run: Any) -> RunReport:
    return a_report(*(an_outcome(cell, versions={}) for cell in cells), **run).sheets[0]


def on(version: str, **more: str) -> Any:
    return some_facts(versions={"onnxruntime": version, **more})


OLD = a_cell(target="cpu-old", runtime="ort-1-30")


def test_targets_of_one_provider_under_two_versions_are_told_apart_by_the_version() -> None:
    sheet = a_sheet(a_cell(), OLD, targets={"cpu": on("1.31.1"), "cpu-old": on("1.30.0")})
    assert [target.distinction for target in sheet.targets] == ["onnxruntime 1.31.1", "onnxruntime 1.30.0"]


def test_a_plugins_own_version_tells_them_apart_where_onnxruntime_is_the_same() -> None:
    facts = {"cpu": on("1.31.1", plugin="0.4.0"), "cpu-old": on("1.31.1", plugin="0.3.0")}
    assert [target.distinction for target in a_sheet(a_cell(), OLD, targets=facts).targets] == [
        "plugin 0.4.0",
        "plugin 0.3.0",
    ]


def test_devices_of_one_provider_are_told_apart_by_their_labels() -> None:
    cells = [a_cell(target=name, device=name) for name in ("gpu.0", "gpu.1")]
    outcomes = [an_outcome(cell, device=f"{cell.device} Arc A770") for cell in cells]
    assert [target.distinction for target in a_report(*outcomes).sheets[0].targets] == ["gpu.0", "gpu.1"]


def test_a_provider_with_one_target_needs_no_telling_apart() -> None:
    other = a_cell(target="webgpu", provider="WebGpuExecutionProvider", runtime="ort-1-30")
    sheet = a_sheet(a_cell(), other, targets={"cpu": on("1.31.1"), "webgpu": on("1.30.0")})
    assert [target.distinction for target in sheet.targets] == ["", ""]
    assert sheet.version_groups == ()


def test_versions_come_from_the_runtimes_packages_where_nothing_was_probed() -> None:
    sheet = a_sheet(a_cell(), OLD)
    assert [target.versions for target in sheet.targets] == [{"onnxruntime": "1.31.1"}, {"onnxruntime": "1.30.0"}]


def test_twins_put_the_same_cells_side_by_side_and_a_missing_one_is_none() -> None:
    alone = a_cell(precision="fp16")
    sheet = a_sheet(a_cell(), OLD, alone, targets={"cpu": on("1.31.1"), "cpu-old": on("1.30.0")})
    (twins,) = sheet.version_groups
    assert (twins.library, [target.name for target in twins.targets]) == ("CPUExecutionProvider", ["cpu", "cpu-old"])
    assert [row.name for row in twins.rows] == ["minilm/int8/b1-s128", "minilm/fp16/b1-s128"]
    assert [outcome and outcome.cell.target for outcome in twins.rows[1].outcomes] == ["cpu", None]


def test_two_targets_with_equal_versions_are_no_twins() -> None:
    assert a_sheet(a_cell(), OLD, targets={"cpu": on("1.31.1"), "cpu-old": on("1.31.1")}).version_groups == ()


def test_a_target_is_made_of_software_where_a_round_or_a_probe_says_so() -> None:
    software = (note("software-adapter"),)
    assert a_report(an_outcome(notes=software)).sheets[0].targets[0].software
    assert a_sheet(a_cell(), targets={"cpu": some_facts(notes=software)}).targets[0].software
    assert not a_sheet(a_cell()).targets[0].software


def test_the_providers_other_devices_are_those_that_the_cells_do_not_run_on() -> None:
    used, other = Device("gpu", 0, "Intel"), Device("npu", 0, "Intel")
    (target,) = a_sheet(a_cell(), targets={"cpu": some_facts(device=used, devices=(used, other))}).targets
    assert target.others == (other,)


def test_what_a_probe_found_is_said_with_its_bits_and_in_a_tone() -> None:
    assert text.executed(Executed("fp32", "fp32", 22.9)) == ("fp32 (23 bits)", "")
    assert text.executed(Executed("fp32", "bf16", 9.2)) == ("bf16 (9.2 bits)", "wrong")
    assert text.executed(Executed("fp16", "fp32 between casts")) == ("fp32 between casts", "warn")
    assert text.executed(Executed("fp16", "refused", message="no kernel")) == ("refused", "absent")
    assert text.executed(Executed("fp16", "elsewhere")) == ("ran elsewhere", "absent")
    assert text.executed(None) == ("–", "")
