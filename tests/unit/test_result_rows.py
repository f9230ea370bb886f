"""The result of a run in the terminal: its order, its words, and its layout at several widths."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from a_report import a_cell, a_machine, a_run, a_speed, a_whole_run, an_interval, an_outcome
from msgspec.structs import replace
from rich.console import Console

from bench.cli import result_rows, tables
from bench.pipeline import RunResult
from bench.records import Comparison, Failure, Interval, Outcome, TaskResult, note

CONTROL = a_cell(target="torch-eager", precision="fp32", control=True)


def an_answer(target: str, ratio: Interval, latency_ms: float, **changes: object) -> Outcome:
    speed = a_speed(latency_ms, ratio_to_control=ratio, control=CONTROL.id)
    return an_outcome(a_cell(target=target), speed=speed, **changes)


def the_control() -> Outcome:
    speed = a_speed(20.0, ratio_to_control=Interval(1, 1, 1), control=CONTROL.id)
    return an_outcome(CONTROL, speed=speed)


def printed(monkeypatch: pytest.MonkeyPatch, outcomes: list[Outcome], width: int, terminal: bool = False) -> str:
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=terminal, color_system="truecolor" if terminal else None)
    monkeypatch.setattr(tables, "console", lambda: console)
    run = a_run(tuple(outcome.cell for outcome in outcomes), machine=a_machine())
    tables.run_table(RunResult(Path("run"), run, tuple(outcomes), (Path("run/report.html"),)))
    return out.getvalue()


def test_the_best_is_first_and_the_ratio_is_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes = [
        the_control(),
        an_answer("webgpu", Interval(1.01, 0.97, 1.05), 19.8),
        an_answer("cpu", Interval(1.15, 1.12, 1.18), 17.4),
    ]
    shown = printed(monkeypatch, outcomes, 80)
    assert shown.splitlines()[:4] == [
        "minilm · b1-s128 (batch 1, sequence 128)",
        "  cpu · int8          17.4 ± 0.3 ms  1.15× torch-eager, ± 2.6 %",
        "  webgpu · int8       19.8 ± 0.4 ms  no difference shown (within 5 %)",
        "  torch-eager · fp32  20.0 ± 0.4 ms  control",
    ]


def test_the_rank_is_by_ratio_and_not_by_the_time_of_other_rounds() -> None:
    early = an_answer("cpu", an_interval(1.5), 30.0)
    late = an_answer("webgpu", an_interval(1.2), 18.0)
    (group,) = result_rows.groups([the_control(), late, early])
    assert [row.name for row in group.rows] == ["cpu · int8", "webgpu · int8", "torch-eager · fp32"]
    without = [
        replace(o, speed=replace(o.speed, ratio_to_control=None, control=None)) for o in (early, late) if o.speed
    ]
    (group,) = result_rows.groups(without)
    assert [row.name for row in group.rows] == ["webgpu · int8", "cpu · int8"], "without a control the times decide"


def test_without_a_control_each_is_compared_with_the_fastest(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu, webgpu = (
        an_outcome(a_cell(target=target), speed=a_speed(latency_ms, ratio_to_control=None, control=None))
        for target, latency_ms in (("cpu", 10.0), ("webgpu", 9.0))
    )
    # The ratio is from the bursts of common blocks: the times of blocks may contradict it.
    ratio = Comparison(cpu.cell.id, webgpu.cell.id, Interval(1.25, 1.2, 1.3), decided=True)
    (group,) = result_rows.groups([webgpu, cpu], [ratio])
    assert [(row.name, row.compared) for row in group.rows] == [
        ("cpu · int8", "ratios are to this"),
        ("webgpu · int8", "0.80× cpu · int8, ± 4 %"),
    ]
    (alone,) = result_rows.groups([cpu])
    assert [row.compared for row in alone.rows] == [""]


@pytest.mark.parametrize("width", [80, 100, 160, 200])
def test_no_word_is_broken_at_any_width(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    outcomes = a_whole_run()[1]
    shown = printed(monkeypatch, outcomes, width)
    words = set(shown.split())
    for outcome in outcomes:
        if outcome.speed and not outcome.cell.emulated:
            assert {outcome.cell.model, outcome.cell.target, outcome.cell.workload} <= words
    long = [line for line in shown.splitlines() if len(line) > width]
    assert all("/" in line for line in long), f"only paths are longer than {width} columns: {long}"


def test_a_name_longer_than_the_terminal_stays_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "a-target-with-a-name-" * 5
    lines = printed(monkeypatch, [an_answer(name, an_interval(1.5), 17.4)], 80).splitlines()
    assert lines[1].split() == [name, "·", "int8"]
    assert lines[2].split()[:3] == ["17.4", "±", "0.3"], "its figures stand below it"


def test_what_did_not_work_comes_after_the_answers_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = note(
        "out-of-tolerance",
        note("figure-too-low", figure="cosine", value=0.894, limit=0.97),
        reference="PyTorch 2.13.0, FP32",
        times=5,
        rounds=5,
    )
    refused = note("text", text="session: this CPU does not compute in fp16")
    fallen = Failure("unavailable", "target", "Unavailable", "no NVIDIA GPU", "install one")
    outcomes = [
        an_outcome(a_cell(target="openvino"), status="inaccurate", reason=wrong),
        *(an_outcome(a_cell(target=t, precision="fp16"), status="unsupported", reason=refused) for t in ("a", "b")),
        an_outcome(a_cell(target="cuda"), status="unavailable", reason="no NVIDIA GPU", failure=fallen, remedy=None),
        an_answer("cpu", an_interval(1.5), 17.4),
    ]
    shown = printed(monkeypatch, outcomes, 100)
    _, after = shown.split("Did not work\n")
    assert after.splitlines()[:2] == [
        "  inaccurate   minilm: openvino · int8: cosine 0.894 is below 0.97",
        "  unsupported  minilm: a, b · fp16: session: this CPU does not compute in fp16",
    ]
    assert "Not on this machine\n  cuda  no NVIDIA GPU\n" in after
    assert "minilm · b1-s128" not in after


def test_the_task_metric_stands_once_for_all_workloads_at_any_width() -> None:
    scored = TaskResult("accuracy", 600, 0.978, 0.98, Interval(0.2, -0.5, 0.9), needed=1000)
    outcomes = [an_outcome(a_cell(workload=workload), task=scored) for workload in ("b1", "b8")]
    wide = [line.text for line in result_rows.score_lines(outcomes, 160)]
    assert wide[0].split() == ["labelled", "samples", "metric", "value", "FP32", "loss", "(95", "%)", "samples"]
    assert wide[1].startswith("  minilm/int8/cpu   accuracy  97.8 %  98.0 %  +0.2 points (-0.5 to 0.9)  600")
    assert wide[1].endswith("about 1,000 samples would show half a point; there are 600")
    narrow = [line.text for line in result_rows.score_lines(outcomes, 60)]
    assert narrow[:2] == ["  minilm/int8/cpu", "    accuracy 97.8 %, FP32 98.0 %, loss +0.2 points (-0.5 to"]
    assert max(map(len, narrow)) <= 60
    assert list(result_rows.score_lines([an_outcome()], 80)) == []


def test_emulated_cells_are_named_without_their_times(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = printed(monkeypatch, [an_outcome(a_cell(target="qnn", emulated=True))], 80)
    assert "Emulated: times of an emulator, not of a device\n  ok  minilm: qnn · int8" in shown
    assert " ms" not in shown


def test_runs_of_two_machines_are_not_ranked_with_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = an_answer("cpu", an_interval(1.5), 17.4), an_answer("webgpu", an_interval(1.7), 3.4)
    results = tuple(
        RunResult(Path(name), a_run((outcome.cell,), name=name), (outcome,))
        for name, outcome in (("first", one), ("second", other))
    )
    out = io.StringIO()
    monkeypatch.setattr(tables, "console", lambda: Console(file=out, width=80))
    tables.run_table(RunResult(Path("first"), results[0].run, (one, other), runs=results))
    shown = out.getvalue()
    assert shown.index("first on AMD") < shown.index("17.4") < shown.index("second on AMD") < shown.index("3.4")
    assert "2 cells: 2 ok" in shown


def test_the_colour_is_of_the_word_of_the_status_and_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    partial = an_answer("cpu", an_interval(1.5), 17.4, status="partial")
    assert "\x1b[33mpartial" in printed(monkeypatch, [partial], 80, terminal=True)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[33m" not in printed(monkeypatch, [partial], 80, terminal=True)


def test_names_of_others_write_no_codes_to_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    strange = replace(an_answer("cpu", an_interval(1.5), 17.4), reason=note("text", text="boo\x1b[31m[red]boo[/]"))
    shown = printed(monkeypatch, [replace(strange, status="failed", speed=None)], 80)
    assert "boo[red]boo[/]" in shown
    assert "\x1b" not in shown
