"""results.json read back."""

from __future__ import annotations

import msgspec
from a_report import a_report, a_whole_run, an_outcome, two_machines
from sustained_runs import DIED, a_crashed

from bench.records import SCHEMA, Failure, Outcome, note
from bench.report import model, text
from bench.report.renderers import json

WORDED = {"failure", "reason", "remedy", "flags", "notes", "build_notes", "sustained"}
"""Fields that hold words in the file, and facts in the record."""


def test_the_file_reads_back_strictly_as_what_went_in() -> None:
    run, outcomes = a_whole_run()
    read = msgspec.json.decode(json.render(model.build([(run, outcomes)])), type=json.Results)
    assert read.schema == SCHEMA
    assert read.runs[0].run == run
    real = [outcome for outcome in outcomes if not outcome.cell.emulated]
    read_back = [outcome for outcome in read.runs[0].outcomes if not outcome.cell.emulated]
    assert read_back == [json.worded(outcome) for outcome in real]
    for back, outcome in zip(read_back, real, strict=True):
        kept = {name: getattr(back, name) for name in Outcome.__struct_fields__ if name not in WORDED}
        assert kept == {name: getattr(outcome, name) for name in kept}


def test_each_outcome_has_the_words_of_its_facts_and_the_facts() -> None:
    flag = note("on-battery", times=2, total=5, unit="rounds")
    outcome = an_outcome(
        status="failed",
        remedy="try again",
        flags=("noisy", flag),
        notes=(note("cuda-graph"),),
        build_notes=(note("calibrated", inputs=16), note("noise")),
        sustained=a_crashed(),
    )
    (sheet,) = msgspec.json.decode(json.render(a_report(outcome)), type=json.Results).runs
    (read,) = sheet.outcomes
    assert (read.reason, read.remedy) == ("every node on CPUExecutionProvider; answers within tolerance", "try again")
    assert (read.flags, read.flag_details) == (("noisy", "on battery"), {"on battery": "in 2 of 5 rounds"})
    assert read.notes == ("CUDA graph",)
    assert read.build_notes == ("calibrated on 16 inputs", "inputs: seeded noise")
    assert read.facts == json.Facts(outcome.reason, outcome.remedy, outcome.flags, outcome.notes, outcome.build_notes)
    assert read.sustained is not None
    assert (read.sustained.ended, read.sustained.facts.reason) == ("crashed: the process died of SIGSEGV", DIED)


def test_a_failure_that_judging_saw_says_its_reason() -> None:
    failure = Failure("failed", "measure", "untimed", "")
    outcome = an_outcome(status="failed", reason=note("no-timed-call"), remedy=note("resume", run="x"), failure=failure)
    said = json.worded(outcome).failure
    assert said is not None
    assert said.message == text.say(note("no-timed-call"))
    assert said.remedy == "go on with `bench run --resume RUN`, where RUN is the folder of x"
    real = Failure("failed", "session", "RuntimeError", "no kernel", "drop it")
    assert json.worded(an_outcome(status="failed", failure=real)).failure == real


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
