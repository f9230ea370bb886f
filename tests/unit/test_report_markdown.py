"""summary.md as a pull request shows it."""

from __future__ import annotations

import re

from a_report import a_cell, a_report, a_run, a_speed, a_whole_report, an_interval, an_outcome, two_machines
from msgspec.structs import replace

from bench.records import Failure, note
from bench.report import model, text
from bench.report.renderers import markdown


def test_every_table_has_as_many_cells_in_each_row_as_in_its_header() -> None:
    for block in markdown.render(a_whole_report()).split("\n\n"):
        rows = [re.split(r"(?<!\\)\|", row) for row in block.splitlines() if row.startswith("|")]
        assert len({len(row) for row in rows}) <= 1, block


def test_it_says_what_ran_how_fast_and_what_to_do() -> None:
    summary = markdown.render(a_whole_report())
    assert "**38 of 78 cells ok**, 3 partial, 1 inaccurate" in summary
    assert "| minilm | int8 | **excluded** | **excluded** | **ok** · 9.27 ± 0.10 ms |" in summary
    assert "| `minilm/int8/cpu/b1-s128` | pretrained | 9.27 ± 0.10 | 108 ± 1 sequences/s<br>" in summary
    assert "| 3.42× (3.37–3.47) |" in summary
    assert "no difference shown (0.99–1.02)" in summary
    assert "withheld: inaccurate" in summary
    assert "- **unavailable** cuda (every cell): no NVIDIA GPU answers on this machine<br>Remedy: plug" in summary
    assert "Budget standard: 5 to 10 rounds" in summary


def test_a_run_in_blocks_says_so() -> None:
    effort = replace(a_run().effort, min_rounds=2, max_rounds=12, half_width=0.05, burst_s=0.15, bursts=6, minutes=5.0)
    first, second = text.effort_lines(a_run(effort=effort, threads=2))
    assert first.startswith("Budget standard: 2 to 12 blocks of each model until its comparisons are known to ±5 %, as")
    assert (
        "as far as 5 minutes allow. A block has a fresh process for each target and precision, on 2 threads;" in first
    )
    assert "takes 6 turns of 0.15 s; intervals are 95 % confidence intervals over blocks" in second


def test_targets_say_where_they_run_and_what_they_compute_in() -> None:
    summary = markdown.render(a_whole_report())
    assert "| cpu (onnxruntime 1.31.1) | cpu-ort-1-30 (onnxruntime 1.30.0) |" in summary
    missing = summary[summary.index("### Not on this machine") : summary.index("### Targets")]
    assert "- `tensorrt`: libnvinfer.so.10 cannot be loaded; remedy: install tensorrt-cu13 10.x" in missing
    assert missing.count("\n- ") == 3
    assert "| **bf16 (9.2 bits)** | **fp32 between casts (11 bits)** | checked |" in summary
    assert "| `minilm/fp32/openvino-cpu/b1-s128`<br>**asked fp32, computes in bf16** |" in summary
    assert "| **ok** · 15.0 ± 0.2 ms · **in bf16** |" in summary


def test_an_emulator_has_no_row_among_the_speeds() -> None:
    summary = markdown.render(a_whole_report())
    ranked = summary[summary.index("### Speed") : summary.index("Emulated (times of an emulator, not of a device")]
    assert "qnn-emulator" not in ranked
    assert "- `minilm/fp16/qnn-emulator/b1-s128`: ok, 2.64 ± 0.03 s a call in the emulator" in summary


def test_starts_memory_energy_and_fallen_nodes_have_tables() -> None:
    summary = markdown.render(a_whole_report())
    start = "263 ± 13 ms | 6.1 ± 0.5 s | 6.4 ± 0.4 s | 5.49 s | 1.45 s"
    assert f"| `minilm/fp32/webgpu/b1-s128` | {start} | 163 MiB | 63.9 MiB | 2.40 ± 0.07 J |" in summary
    assert "| cold (1 start) | cached (1 start) | peak model memory | peak device memory |" in summary
    assert "Energy: read from RAPL package" in summary
    assert "| `minilm/int8/webgpu/b8-s128` | 149 | 64 | 26 | 24 % | MatMulInteger x36" in summary
    assert "| `minilm/int8/b1-s128` | 9.27 ± 0.10 ms | 10.6 ± 0.1 ms |" in summary


def test_made_up_inputs_are_named_beside_the_numbers() -> None:
    notes = (note("noise"), note("guessed-samples", samples=8, axis="rows"))
    row = "pretrained; inputs: seeded noise; guessed: 8 samples a call, along rows | 12.3 ± 0.2 |"
    assert row in markdown.render(a_report(an_outcome(build_notes=notes)))


def test_random_weights_are_named_beside_the_numbers() -> None:
    summary = markdown.render(a_whole_report())
    assert "| resnet18 (random weights) | fp32 |" in summary
    assert "| `resnet18/fp32/cpu/b1` | random | 31.8" in summary


def test_workloads_that_disagree_are_counted() -> None:
    second = a_cell(workload="b8-s128", sizes={"batch": 8, "sequence": 128})
    summary = markdown.render(a_report(an_outcome(), an_outcome(second, status="timeout", reason="warm-up: none")))
    assert "| minilm | int8 | **ok** 1 · **timeout** 1 |" in summary


def test_a_single_round_has_no_interval() -> None:
    alone = a_speed(share=None, ratio_to_control=an_interval(1.8, None), resolvable=None)
    summary = markdown.render(a_report(an_outcome(speed=alone)))
    assert "12.3 · no interval" in summary
    assert "1.80× · no interval" in summary


def test_foreign_text_is_only_text() -> None:
    hostile = "<script>alert(1)</script> | [x](http://evil) @someone\n\n# heading"
    failure = Failure("failed", "session", "RuntimeError", hostile)
    summary = markdown.render(a_report(an_outcome(status="failed", reason=hostile, failure=failure)))
    assert "<script>" not in summary
    assert "@someone" not in summary
    assert "\n# heading" not in summary
    assert "\\[x\\]" in summary


def test_cells_that_were_not_reached_are_counted() -> None:
    summary = markdown.render(model.build([(a_run((a_cell(), a_cell(target="webgpu"))), [an_outcome()])]))
    assert "1 of 2 cells ok**, 1 not reached" in summary
    assert "| not reached |" in summary


def test_a_run_without_a_single_outcome_still_has_a_summary() -> None:
    assert "0 of 1 cells ok" in markdown.render(model.build([(a_run((a_cell(),)), [])]))


def test_two_machines_stand_side_by_side_by_their_ratios() -> None:
    summary = markdown.render(two_machines())
    assert summary.count("## Touchstone") == 2
    assert "| `minilm/int8/cpu/b1-s128` | `minilm/fp32/torch-eager/b1-s128` | 3.42× (3.37–3.47) | 4.17×" in summary
