"""Every output with hostile text in every field of every record: no escape, no hidden mark, no command of a runner."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from a_gate import a_long_gate, a_whole_gate
from builders import a_machine
from hostile import EVERYTHING, assert_harmless, changed, hostile_text
from hypothesis import HealthCheck, example, given, settings
from msgspec.structs import replace
from stored_runs import FP32, INT8, a_stored_run, failing
from test_operators_report import observed as operator_lines
from test_operators_report import on_cpu

from bench import pipeline, store
from bench.cache import Damage, Entry, Pruned
from bench.cli.cache import cache_table, pruned_table
from bench.cli.compare import comparison_table
from bench.cli.doctor import doctor_tables
from bench.cli.gate import gate_table
from bench.cli.history import history_table
from bench.cli.ops import operators_table
from bench.cli.options import print_json
from bench.cli.plan import plan_table
from bench.cli.tables import run_table
from bench.comparison import stored
from bench.comparison.compare_files import document, history_document
from bench.conformance import Finished, as_json, reports
from bench.conformance.verdicts import judge
from bench.declare.plan import Plan
from bench.doctor import Finding, Findings
from bench.gating import reports as gate_reports
from bench.gating.reports import github
from bench.prepare.forecast import Forecast, Load
from bench.progress import Quiet
from bench.records import Device, TargetFacts, note

RECORDED = Path(__file__).parents[1] / "recorded" / "several-engines"
FORMATS = ("html", "csv", "markdown", "json", "pytest-benchmark")
# Each example writes many files.
few = settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])


def ending(text: str) -> Callable[[str], str]:
    """Names that end in the hostile text, so that they stay different; of any three, one begins with it."""

    def change(word: str) -> str:
        return f"{text}{word}" if len(word) % 3 == 0 else f"{word}{text}"

    return change


def printed(show: Callable[..., Any], *arguments: Any) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        show(*arguments)
    return out.getvalue()


def assert_harmless_files(folder: Path) -> None:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    for path in files:
        assert_harmless(path.read_bytes().decode("utf-8"))


def write(folder: Path, run: Any, observations: list[Any], text: str) -> Path:
    """A run on the disk with the hostile text in every field, as a stranger may publish it."""
    change = ending(text)
    store.create(folder, changed(run, change))
    lines = [msgspec.json.encode(changed(observation, change)) for observation in observations]
    (folder / store.RESULTS).write_bytes(b"".join(line + b"\n" for line in lines))
    return folder


@few
@given(hostile_text())
@example(EVERYTHING)
def test_what_is_made_of_runs(tmp_path_factory, text):
    root = tmp_path_factory.mktemp("runs")
    folders = []
    for day in range(3):
        run = a_stored_run(day, created=f"2026-11-0{day + 1}T09:00:00+00:00")
        broken = failing(run, INT8, message=text, remedy=text, stderr_tail=f"{text}\n{text}", kind=text)
        noted = [
            replace(each, notes=(note("text", text=text), note(f"x{text}", **{text or "y": text}))) for each in broken
        ]
        folders.append(write(root / f"run-{day}", run, noted, text))
    finished = pipeline.report(folders[:2], FORMATS, root / "report")
    assert_harmless(printed(run_table, finished))
    comparison = stored.compare(folders[0], folders[1])
    assert_harmless(printed(comparison_table, comparison))
    assert_harmless(printed(print_json, document(comparison)))
    for suffix in ("md", "json"):
        stored.write_comparison(comparison, root / "report" / f"compared.{suffix}")
    history = stored.history(root, Quiet())
    stored.write_history(history, root / "report", Quiet())
    assert_harmless(printed(history_table, history, ()))
    assert_harmless(printed(print_json, history_document(history)))
    assert_harmless_files(root / "report")


def test_a_whole_recorded_run_with_everything_in_every_field(tmp_path):
    run, observations = store.read(RECORDED)
    folder = write(tmp_path / "run", run, list(observations), EVERYTHING)
    finished = pipeline.report([folder], FORMATS, tmp_path / "report")
    assert_harmless(printed(run_table, finished))
    assert_harmless_files(tmp_path / "report")
    # What this program stores is harmless too, also of what others said.
    again = pipeline.read(folder)
    store.create(tmp_path / "again", again.run)
    for observation in again.observations()[:20]:
        store.append(tmp_path / "again", observation)
    assert_harmless_files(tmp_path / "again")
    assert store.read(tmp_path / "again")[0] == again.run


@few
@given(hostile_text())
@example(EVERYTHING)
def test_what_is_made_of_a_gate(tmp_path_factory, text):
    for gate in (a_whole_gate(), a_long_gate()):
        run = changed(gate, ending(text))
        folder = tmp_path_factory.mktemp("gate")
        files = gate_reports.write(run, folder)
        gate_reports.append_summary(run, folder / "step.md")
        assert_harmless_files(folder)
        assert_harmless(printed(gate_table, run, files))
        assert_harmless(printed(print_json, run))
        for command in github.workflow_commands(run).splitlines():
            # One command a line, which is ours.
            head, message = re.fullmatch(r"::(?:error|warning|notice) title=([^:,]*)::(.*)", command).groups()
            assert_harmless(head)
            assert_harmless(message.replace("%25", "%"))
        (line,) = github.ended(text).splitlines()
        assert_harmless(line.removeprefix("::error title=bench gate::"))


@few
@given(hostile_text())
@example(EVERYTHING)
def test_what_is_made_of_operator_tests(tmp_path_factory, text):
    change = ending(text)
    run = changed(on_cpu(), change)
    lines = [changed(line, change) for line in operator_lines()]
    finished = Finished(Path("ops"), run, tuple(judge(run, lines)), (Path("a.html"),))
    assert_harmless(printed(operators_table, finished))
    assert_harmless(printed(print_json, as_json(finished)))
    for render in reports.FORMATS.values():
        assert_harmless(render(run, finished.outcomes))


@few
@given(hostile_text())
@example(EVERYTHING)
def test_what_the_other_verbs_print(text):
    cells = tuple(changed(cell, ending(text)) for cell in a_stored_run().cells)
    excluded = tuple(replace(cell, excluded=text or "no") for cell in cells)
    planned = Plan((*cells, excluded[0]), excluded[1:], (text, text))
    forecast = Forecast((Load(f"runtime {text}", 1.0, 2.0), Load(text, 0, 0, is_known=False)), 1, 60.0, 60.0)
    assert_harmless(printed(plan_table, planned, {cells[0].id: text}, forecast))
    assert_harmless(printed(print_json, planned.cells))
    facts = TargetFacts(
        available=True,
        versions={f"v{text}": text},
        device=Device("gpu", 0, text, text),
        notes=(note("text", text=text),),
    )
    standings = ("usable", "could-be-enabled", "not-for-this-machine")
    rows = tuple(
        Finding(f"{text}{standing}", standing, "ort", text, True, replace(facts, message=text, remedy=text), ep=text)
        for standing in standings
    )
    findings = Findings(a_machine(os=text, kernel=text, python=text), rows)
    assert_harmless(printed(doctor_tables, findings))
    assert_harmless(printed(print_json, findings))
    entry = Entry(f"wheel{text}", text, text, 5, text, 1.0, True)
    assert_harmless(printed(cache_table, [entry], Path("cache")))
    assert_harmless(printed(pruned_table, Pruned((entry,), (entry,))))
    assert_harmless(printed(print_json, [Damage(text, text, (text,))]))


def test_markup_of_the_terminal_is_shown_as_it_was_written(tmp_path):
    run = a_stored_run()
    broken = failing(run, FP32, message="[/] [red]a[/red] [bold] \\[x]")
    folder = write(tmp_path / "run", run, broken, "")
    shown = printed(run_table, pipeline.report([folder], ("csv",), folder))
    assert "[/] [red]a[/red] [bold] \\[x]" in " ".join(shown.split())
