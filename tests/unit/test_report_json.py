"""results.json read back."""

from __future__ import annotations

import msgspec
from a_report import a_report, a_whole_run, an_outcome, two_machines

from bench.records import SCHEMA, note
from bench.report import model
from bench.report.renderers import json


def test_the_file_reads_back_strictly_as_what_went_in() -> None:
    run, outcomes = a_whole_run()
    read = msgspec.json.decode(json.render(model.build([(run, outcomes)])), type=json.Results)
    assert read.schema == SCHEMA
    assert read.runs[0].run == run
    real = [msgspec.structs.asdict(outcome) for outcome in outcomes if not outcome.cell.emulated]
    judged = [msgspec.structs.asdict(outcome) for outcome in read.runs[0].outcomes if not outcome.cell.emulated]
    assert [{name: value for name, value in one.items() if name != "texts"} for one in judged] == real


def test_each_outcome_has_the_words_of_its_facts() -> None:
    flag = note("on-battery", times=2, total=5, unit="rounds")
    outcome = an_outcome(status="failed", remedy="try again", flags=("noisy", flag), notes=(note("cuda-graph"),))
    (sheet,) = msgspec.json.decode(json.render(a_report(outcome)), type=json.Results).runs
    assert sheet.outcomes[0].texts == json.Texts(
        reason="every node on CPUExecutionProvider; answers within tolerance",
        remedy="try again",
        warnings={"noisy": "", "on battery": "in 2 of 5 rounds"},
        notes=("CUDA graph",),
    )


def test_times_of_emulators_are_beside_the_outcomes_and_not_in_them() -> None:
    run, outcomes = a_whole_run()
    read = msgspec.json.decode(json.render(model.build([(run, outcomes)])), type=json.Results).runs[0]
    emulated = {outcome.cell.id: outcome for outcome in outcomes if outcome.cell.emulated and outcome.speed}
    assert len(emulated) == 2
    assert {cell: times.speed for cell, times in read.emulator_times.items()} == {
        cell: outcome.speed for cell, outcome in emulated.items()
    }
    for outcome in read.outcomes:
        if outcome.cell.emulated:
            assert (outcome.speed, outcome.load_ms, outcome.first_call_ms, outcome.energy_j) == (None,) * 4
            assert (outcome.cold, outcome.cached) == (None, None)


def test_several_runs_share_one_file() -> None:
    read = msgspec.json.decode(json.render(two_machines()), type=json.Results)
    assert len({sheet.run.machine.key for sheet in read.runs}) == 2
