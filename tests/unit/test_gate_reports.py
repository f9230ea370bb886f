"""What a gate writes, as a reader, a CI server and GitHub's runner see it."""

from __future__ import annotations

import re
from pathlib import Path

import junitparser
import pytest
from a_gate import a_gate_cell, a_gate_run, a_long_gate, a_lost_cell, a_slower_cell, a_whole_gate, an_unsure_cell
from hypothesis import given
from hypothesis import strategies as st
from note_kinds import assert_words_fit

from bench.cli.gate import gate_table
from bench.errors import DiskError, RunFolderError
from bench.gating import reports
from bench.gating import text as words
from bench.gating.cells import cell_row
from bench.gating.reports import github, junit, markdown
from bench.gating.reports import json as gate_json
from bench.records import GateRun, Interval, NullControl, note
from bench.report import numbers

STRANGE = "<b>|`x`\n::error::boom ##[add-mask]y ]]> & %0A,%, [a](http://evil) @someone\r\x1b[31m\ufffe\u202e"
BIASED = NullControl(6, Interval(0.03, 0.02, 0.04), fine=False, reason="base against base is 3 % slower")


def a_strange_gate() -> GateRun:
    """Every text that a foreign run can bring holds markup, commands and characters that no format takes."""
    cell = a_slower_cell(f"m{STRANGE}/fp32/cpu/b1", reason=STRANGE, remedy=STRANGE, notes=(STRANGE,))
    null = NullControl(0, None, fine=False, reason=STRANGE)
    said = dict.fromkeys(("name", "command", "base", "base_created", "verdict"), STRANGE)
    lists = {"differences": (STRANGE,), "notes": (STRANGE,)}
    return a_gate_run(cell, a_lost_cell(reason=STRANGE), null=null, **said, **lists)


# --- changes as text --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "low", "high", "shown"),
    [
        (0.051, 0.042, 0.06, "+5.1 % (4.2 to 6.0)"),
        (-0.03, -0.039, -0.021, "-3.0 % (-3.9 to -2.1)"),
        (0.0003, -0.009, 0.0096, "0.0 % (-0.9 to 1.0)"),
        (-0.0004, -0.03, 0.03, "0 % (-3 to 3)"),
        (12.0, 10.0, 14.0, "+1,200 % (1,000 to 1,400)"),
        (0.000_12, 0.0001, 0.000_14, "+0.01 % (0.01 to 0.01)"),
        (0.051, None, None, "+5.1 % · no interval"),
        (0.002, -0.999, 50_000.0, "0 % · no usable interval"),
        (0.0, 0.0, 0.0, "0.0 % (0.0 to 0.0)"),
    ],
)
def test_a_change_is_rounded_by_its_interval(value, low, high, shown) -> None:
    assert numbers.change(Interval(value, low, high)) == shown


def test_no_change_is_a_dash() -> None:
    assert numbers.change(None) == numbers.DASH


# --- gate.json --------------------------------------------------------------------------------------------------------


def test_json_reads_back_as_the_same_gate(tmp_path: Path) -> None:
    reports.write(a_whole_gate(), tmp_path)
    assert gate_json.read(tmp_path / "gate.json") == a_whole_gate()


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('"verdict": "regression"', '"verdict": "fine"', "Invalid enum value 'fine'"),
        ('"exit_code"', '"exit_kode"', "exit_kode"),
        ('"schema": 2', '"schema": 3', "has schema 3, and this version reads schema 2"),
        ('{\n  "schema"', '{{\n  "schema"', "is not JSON of a gate"),
    ],
)
def test_json_that_was_changed_is_refused(tmp_path: Path, old: str, new: str, says: str) -> None:
    content = gate_json.render(a_whole_gate())
    assert old in content
    (tmp_path / "gate.json").write_text(content.replace(old, new), encoding="utf-8")
    with pytest.raises(RunFolderError, match=re.escape(says)):
        gate_json.read(tmp_path / "gate.json")


def test_json_that_is_not_there_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="cannot be read"):
        gate_json.read(tmp_path / "gate.json")


# --- gate.xml ---------------------------------------------------------------------------------------------------------


def the_suite(run: GateRun) -> junitparser.TestSuite:
    """The one test suite of a gate's XML, as a reader of the field reads it."""
    (suite,) = junitparser.JUnitXml.fromstring(junit.render(run).encode())
    return suite


def endings(suite: junitparser.TestSuite) -> dict[str, tuple[str, str]]:
    """Element and type of every test case that is no pass."""
    return {case.name: (one._tag, one.type) for case in suite for one in case.result}


def test_xml_has_a_test_case_for_each_cell_and_only_a_pass_passes() -> None:
    suite = the_suite(a_whole_gate())
    assert endings(suite) == {
        "minilm/fp32/cpu/b1-s128": ("failure", "regression"),
        "resnet50/fp16/webgpu/b1": ("failure", "lost-support"),
        "minilm/int8/openvino-cpu/b1-s128": ("error", "inconclusive"),
        "minilm/fp16/cpu/b1-s128": ("skipped", "warning"),
        "vit/fp32/cuda/b1": ("skipped", "not-judged"),
        "bert/fp32/cpu/b1": ("skipped", "gone"),
        "qwen/int4/cpu/p128-n64": ("skipped", "added"),
    }
    assert {case.name for case in suite if case.is_passed} == {
        "minilm/int8/cpu/b1-s128",
        "minilm/int8/cpu/b8-s128",
        "null control",
    }


def test_every_verdict_but_a_pass_has_an_element() -> None:
    assert set(words.VERDICTS) - set(junit.ELEMENTS) == {"pass"}


def test_the_counts_of_the_suite_are_those_of_its_cases() -> None:
    suite = the_suite(a_whole_gate(null=BIASED))
    said = (suite.tests, suite.failures, suite.errors, suite.skipped)
    suite.update_statistics()
    assert said == (suite.tests, suite.failures, suite.errors, suite.skipped) == (10, 2, 2, 4)


def test_a_null_control_that_is_biased_is_an_error_of_its_own() -> None:
    suite = the_suite(a_gate_run(a_gate_cell(), null=BIASED))
    assert endings(suite) == {"null control": ("error", "null-control")}


def test_xml_says_how_much_with_what_interval_and_from_how_many_pairs() -> None:
    case = next(case for case in the_suite(a_whole_gate()) if case.name == "minilm/fp32/cpu/b1-s128")
    (failure,) = case.result
    assert failure.message == "slower by over 2 %, and confirmed on 6 fresh pairs"
    assert "change: +5.1 % (4.2 to 6.0)\npairs: 6\ndetectable: 1.2 %\n" in failure.text
    assert "base → new: 12.3 ± 0.1 ms → 12.9 ± 0.1 ms" in failure.text
    passed = next(case for case in the_suite(a_whole_gate()) if case.name == "minilm/int8/cpu/b8-s128")
    assert "change: -3.0 % (-3.9 to -2.1)\npairs: 2\n" in passed.system_out
    assert case.time == 70.25
    assert case.classname == "gate.minilm"


def test_the_suite_says_what_was_compared_where() -> None:
    suite = the_suite(a_whole_gate())
    said = {(one.name, one.value) for one in suite.properties()}
    assert ("base", "amd-epyc-9454-20261101-0900") in said
    assert ("machine_key", a_whole_gate().machine.key) in said
    assert ("difference", "onnxruntime 1.30.0 -> 1.31.1 in runtime 'ort'") in said
    assert ("rule.regression", "0.02") in said
    assert (suite.timestamp, suite.time) == ("2026-11-03T10:12:44", 738.0)


def test_strange_text_in_xml_comes_back_as_text() -> None:
    suite = the_suite(a_strange_gate())
    case = next(case for case in suite if case.name.startswith("m<b>|`x` :\u2060:error::boom"))
    assert case.name.endswith("]]> & %0A,%, [a](http://evil) @someone /fp32/cpu/b1")
    assert not {"\x1b", "\ufffe", "\u202e", "\r"} & set(junit.render(a_strange_gate()))


@given(st.text())
def test_any_text_at_all_makes_xml_that_reads(said: str) -> None:
    the_suite(a_gate_run(a_slower_cell(said, reason=said), verdict=said, differences=(said,)))


# --- gate.md ----------------------------------------------------------------------------------------------------------


def rows(markdown: str) -> list[list[str]]:
    """The cells of every line that is a table's, without the lines under headers."""
    lines = [line for line in markdown.splitlines() if line.startswith("|") and not line.startswith("| ---")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_markdown_begins_with_the_answer() -> None:
    first, about = markdown.render(a_whole_gate()).split("\n\n")[:2]
    assert first == "## 1 regression and 1 cell that lost support."
    assert about.startswith(
        "1 regression, 1 lost support, 1 inconclusive, 1 warning, 1 gone, 2 pass, 1 not judged, 1 added;"
    )
    assert "base amd-epyc-9454-20261101-0900 of 2026-11-01 09:00 UTC" in about
    assert "12.3 of 40 minutes, exit code 1: a confirmed regression, lost support, or worse answers." in about


def test_markdown_lists_the_worst_first_with_what_was_seen_and_what_could_have_been() -> None:
    header, *cells = rows(markdown.render(a_whole_gate()))
    assert header == markdown.HEADER
    assert cells[0] == [
        "`minilm/fp32/cpu/b1-s128`",
        "**regression**",
        "+5.1 % (4.2 to 6.0)",
        "6",
        "1.2 %",
        "12.3 ± 0.1 ms → 12.9 ± 0.1 ms",
        "slower by over 2 %, and confirmed on 6 fresh pairs",
    ]
    assert cells[1][:2] == ["`resnet50/fp16/webgpu/b1`", "**lost support**"]
    assert cells[1][5:] == [
        "ok → crashed",
        "was ok in the base and crashed now: SIGSEGV in session; Remedy: see logs/",
    ]
    assert [row[1] for row in cells[2:]] == [
        "inconclusive", "warning", "pass", "pass", "not judged",
    ]  # fmt: skip
    assert cells[-2][2] == "-3.0 % (-3.9 to -2.1)"


def a_gate_of_two_matrices() -> GateRun:
    """Twelve cells that only the base has, one that only the new matrix has, and one in both."""
    gone = [cell_row(f"bert/fp32/cpu/b{size}", "gone", note("missing-cell"), base_status="ok") for size in range(12)]
    return a_gate_run(a_gate_cell(), *gone, cell_row("qwen/int4/cpu/b1", "added", note("new-cell")))


def test_cells_of_one_side_are_folded_in_a_list_of_their_own() -> None:
    text = markdown.render(a_gate_of_two_matrices())
    opened, *folded = text.split("<details>")
    assert len(rows(opened)) == 2
    assert folded[0].startswith(
        "<summary>12 cells only in the base: bert/fp32/cpu/b0, bert/fp32/cpu/b1, bert/fp32/cpu/b10 and 9 more</summary>"
    )
    assert folded[0].count("- `bert/fp32/cpu/b") == 12
    assert folded[1].startswith("<summary>1 cell only in the new matrix: qwen/int4/cpu/b1</summary>")


def test_the_terminal_folds_cells_of_one_side_into_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    gate_table(a_gate_of_two_matrices())
    shown = " ".join(capsys.readouterr().out.split())
    assert "12 cells only in the base: bert/fp32/cpu/b0, bert/fp32/cpu/b1, bert/fp32/cpu/b10 and 9 more" in shown
    assert "1 cell only in the new matrix: qwen/int4/cpu/b1" in shown
    assert "bert/fp32/cpu/b11" not in shown


def test_markdown_says_what_differs_and_what_the_null_control_made_of_it() -> None:
    text = markdown.render(a_whole_gate(notes=("the base could not be run again",)))
    assert "- onnxruntime 1.30.0 -&gt; 1.31.1 in runtime 'ort'" in text
    assert "fine: base against base shows no difference (+0.1 % (-0.6 to 0.8) over 6 pairs)." in text
    assert "- the base could not be run again" in text
    assert "differ in nothing" in markdown.render(a_gate_run(differences=()))


def test_many_that_pass_are_folded_and_counted() -> None:
    text = markdown.render(a_long_gate())
    opened, folded = text.split("<details>")
    assert len(opened.splitlines()) < 15
    assert [row[1] for row in rows(opened)[1:]] == ["**regression**"] * 2
    assert folded.startswith("<summary>298 pass: no regression</summary>\n\n|")
    assert len(rows(folded)) == 299
    assert len(text) < 65_536, "GitHub takes no longer comment"


def test_many_regressions_are_folded_after_the_slowest() -> None:
    run = a_long_gate(slower=60)
    opened, *folded = markdown.render(run).split("<details>")
    assert len(rows(opened)) == 1 + markdown.OPEN_ROWS
    assert folded[0].startswith("<summary>35 more regressions: slower")
    assert len(folded) == 2


def test_strange_text_in_markdown_stays_in_its_cell() -> None:
    text = markdown.render(a_strange_gate())
    assert {len(row) for row in rows(text)} == {len(markdown.HEADER)}
    outside = re.sub(r"(`+) ?.*? ?\1(?= \|)", "", text)
    assert "<b>" not in outside
    assert "@someone" not in outside
    assert "[a](" not in outside
    assert not {"\x1b", "\u202e", "\r"} & set(text)
    assert not [line for line in text.splitlines() if line.lstrip().startswith("::")]


# --- GitHub -----------------------------------------------------------------------------------------------------------


def commands(run: GateRun) -> list[tuple[str, str, str]]:
    """Kind, title and message of every line, read as GitHub's runner reads it."""
    return [command(line) for line in github.workflow_commands(run).splitlines()]


def command(line: str) -> tuple[str, str, str]:
    head, message = re.fullmatch(r"::(.*?)::(.*)", line).groups()
    kind, properties = head.split(" ", 1)
    named = dict(one.split("=", 1) for one in properties.split(","))
    assert set(named) == {"title"}
    unescaped = [named["title"].replace("%3A", ":").replace("%2C", ","), message]
    title, message = (
        one.replace("%0D", "\r").replace("%0A", "\n").replace("%25", "%") for one in unescaped
    )  # the runner's own order
    return kind, title, message


def test_github_is_told_of_each_kind_in_its_own_way() -> None:
    found = commands(a_whole_gate())
    assert [(kind, title) for kind, title, _ in found] == [
        ("error", "Regression: minilm/fp32/cpu/b1-s128"),
        ("error", "Lost support: resnet50/fp16/webgpu/b1"),
        ("warning", "Inconclusive: minilm/int8/openvino-cpu/b1-s128"),
        ("warning", "Warning: minilm/fp16/cpu/b1-s128"),
        ("notice", "bench gate"),
    ]
    assert found[0][2] == (
        "slower by over 2 %, and confirmed on 6 fresh pairs "
        "(change +5.1 % (4.2 to 6.0), pairs 6, detectable 1.2 %, base → new 12.3 ± 0.1 ms → 12.9 ± 0.1 ms)"
    )
    assert found[-1][2].startswith("1 regression and 1 cell that lost support. (1 regression, 1 lost support,")


def test_what_github_would_take_for_syntax_is_escaped() -> None:
    first = github.workflow_commands(a_gate_run(a_slower_cell("a:b,c%d"))).splitlines()[0]
    assert first.startswith("::error title=Regression%3A a%3Ab%2Cc%25d::slower by over 2 %25, and confirmed")


def test_strange_text_makes_no_command_of_its_own() -> None:
    found = commands(a_strange_gate())
    assert [kind for kind, *_ in found] == ["error", "error", "warning", "notice"]
    assert ":\u2060:error::boom" in found[0][1]
    assert "%0A,%, [a](http://evil)" in found[0][2]


def test_no_more_annotations_than_github_shows_and_the_last_says_how_many_more() -> None:
    found = commands(a_long_gate(slower=60))
    assert [kind for kind, *_ in found] == ["error"] * 10 + ["notice"]
    assert found[9][1:] == ("51 more", "51 more errors stand in gate.md and gate.xml, as GitHub shows 10")


def test_ten_are_shown_as_they_are() -> None:
    assert "more" not in " ".join(title for _, title, _ in commands(a_long_gate(slower=10)))


def test_a_biased_null_control_comes_before_what_it_made_inconclusive() -> None:
    titles = [title for _, title, _ in commands(a_gate_run(an_unsure_cell(), null=BIASED))]
    assert titles == ["Null control", "Inconclusive: minilm/int8/openvino-cpu/b1-s128", "bench gate"]


def test_a_gate_that_could_not_judge_is_one_error() -> None:
    said = command(github.ended("the base is of another machine\nsee --baseline").rstrip("\n"))
    assert said == ("error", "bench gate", "the base is of another machine see --baseline")


# --- files ------------------------------------------------------------------------------------------------------------


def test_a_gate_leaves_its_three_files(tmp_path: Path) -> None:
    paths = reports.write(a_whole_gate(), tmp_path / "out")
    assert [path.name for path in paths] == ["gate.json", "gate.xml", "gate.md"]
    assert [path.read_text(encoding="utf-8") for path in paths] == [
        form.render(a_whole_gate()) for form in (gate_json, junit, markdown)
    ]


def test_a_folder_that_cannot_be_written_is_the_users_mistake(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(DiskError):
        reports.write(a_whole_gate(), tmp_path / "file")


def test_the_summary_is_added_to_what_stands_there(tmp_path: Path) -> None:
    path = tmp_path / "summary"
    path.write_text("# Build", encoding="utf-8")
    reports.append_summary(a_whole_gate(), path)
    assert path.read_text(encoding="utf-8") == "# Build\n" + markdown.render(a_whole_gate())


def test_the_summary_stays_within_what_github_takes(tmp_path: Path) -> None:
    path = tmp_path / "summary"
    path.write_bytes(b"x" * (reports.MAX_SUMMARY_BYTES - 20_000))
    reports.append_summary(a_long_gate(), path)
    text = path.read_text(encoding="utf-8")
    assert reports.MAX_SUMMARY_BYTES - 500 < len(text.encode()) <= reports.MAX_SUMMARY_BYTES
    assert text.endswith(
        "</details>\n\n\nCut here, as GitHub shows no more of a job's summary; gate.md holds the whole.\n"
    )
    assert text.count("<details>") == text.count("</details>")


def test_a_summary_without_room_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "summary"
    path.write_bytes(b"x" * reports.MAX_SUMMARY_BYTES)
    reports.append_summary(a_whole_gate(), path)
    assert path.stat().st_size == reports.MAX_SUMMARY_BYTES


# --- terminal ---------------------------------------------------------------------------------------------------------


def test_the_terminal_shows_every_cell_and_the_answer(capsys) -> None:
    gate_table(a_whole_gate(), [Path("out/gate.md")])
    shown = capsys.readouterr().out
    figures = r"\+5\.1 % \(4\.2 to 6\.0\) +6 +1\.2 % +12\.3 ± 0\.1 ms → 12\.9 ± 0\.1 ms"
    assert re.search(rf"minilm/fp32/cpu/b1-s128 +regression +{figures}", shown)
    assert "resnet50/fp16/webgpu/b1" in shown
    assert "null control: fine: base against base shows no difference" in shown
    assert "differs: onnxruntime 1.30.0 -> 1.31.1 in runtime 'ort'" in shown
    assert shown.splitlines()[-2:] == [
        "1 regression and 1 cell that lost support. (1 regression, 1 lost support, 1 inconclusive, 1 warning, "
        "1 gone, 2 pass, 1 not judged, 1 added)",
        "  out/gate.md",
    ]


def test_the_terminal_stays_short(capsys) -> None:
    gate_table(a_long_gate(slower=60))
    shown = capsys.readouterr().out
    assert "not shown here, but in the files: 20 regressions, 240 pass" in shown
    assert len(shown.splitlines()) < 110


def test_the_terminal_takes_strange_text_for_no_command(capsys) -> None:
    gate_table(a_strange_gate())
    shown = capsys.readouterr().out
    assert "##[add-mask]" not in shown
    assert "::error::" not in shown
    assert not {"\x1b", "\u202e", "\r"} & set(shown)
    assert "<b>|`x`" in shown


# --- facts beside the words -------------------------------------------------------------------------------------------


def test_json_holds_the_facts_of_a_gate_beside_its_words(tmp_path: Path) -> None:
    lost = cell_row("minilm/fp32/cpu/b1", "gone", note("excluded-now", rule="it burns"))
    facts = (note("cells-gone", count=1),)
    run = a_gate_run(lost, verdict=words.answer(facts), verdict_facts=facts)
    reports.write(run, tmp_path)
    read = gate_json.read(tmp_path / "gate.json")
    assert read.verdict == "not judged: the base measured 1 cell that are no longer in the matrix"
    assert read.verdict_facts == facts
    assert read.cells[0].reason == "the base measured it; a rule leaves it out: it burns"
    assert read.cells[0].reason_facts == (note("excluded-now", rule="it burns"),)


def test_every_fact_of_a_gate_has_words_with_its_parameters_and_no_words_are_left_over() -> None:
    assert_words_fit(words.WORDS, "gating/**/*.py")
