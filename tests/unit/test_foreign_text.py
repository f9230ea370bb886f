"""What others wrote reaches no terminal and no file as a command, and what it says stays."""

from __future__ import annotations

import io
import json
import re

import pytest
from hostile import HIDDEN, assert_harmless, hostile_text
from hypothesis import given
from rich.panel import Panel

from bench import foreign_text
from bench.cli.tables import TerminalConsole, plain_table, safe, safe_path
from bench.errors import BenchError
from bench.progress import Lines


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x9b31mred\x9b0m", "red"),
        ("\x1b]0;title\x07name\x1b]8;;http://evil\x1b\\link", "namelink"),
        ("\x1bPq#0\x1b\\name\x1b(Bx", "namex"),
        ("a\x1b]0;never ended\nb", "a\nb"),
        ("a\u202eb\u2066c\u200ed", "abcd"),
        ("a\r\nb\rc\u2028d\u2029e\x85f", "a\nb\nc\nd\ne\nf"),
        ("naïve 模型 10 µs ±3 %", "naïve 模型 10 µs ±3 %"),
        ("ns::Factory is missing", "ns::Factory is missing"),
        ("Gemm:0 ## heading", "Gemm:0 ## heading"),
    ],
)
def test_only_what_no_reader_sees_is_taken_away(written, shown):
    assert foreign_text.lines(written) == shown


@pytest.mark.parametrize(
    "command",
    [
        "::error::boom",
        "  ::add-mask::a",
        "::error file=a.py,line=1::boom",
        "::stop-commands::x",
        "##[group]a",
        "##[add-mask]a",
        "##vso[task.setvariable variable=x]y",
        "##teamcity[message text='a']",
        ":\u200e:error::a",
        "#\u202e#[error]a",
    ],
)
def test_no_command_of_a_ci_runner_is_left(command):
    shown = foreign_text.line(command)
    assert_harmless(shown)
    assert "::error" not in shown
    # Still readable: the mark between the signs is invisible.
    assert re.sub(HIDDEN, "", command).strip() == shown.replace("\u2060", "")


def test_a_command_that_is_split_over_lines_is_none_on_one_line():
    assert_harmless(foreign_text.line("::error\nfile=a::boom"))


@given(hostile_text())
def test_any_text_is_harmless_in_every_form(text):
    for shown in (foreign_text.lines(text), foreign_text.line(text), foreign_text.visible(text)):
        assert_harmless(shown)
    assert foreign_text.line(foreign_text.line(text)) == foreign_text.line(text)
    assert "\n" not in foreign_text.line(text)
    assert_harmless(str(BenchError(text, text)).removeprefix("::"))


@given(hostile_text())
def test_json_holds_the_same_values_and_nothing_hidden(text):
    printed = foreign_text.json_text(json.dumps({text: [text]}, indent=2, ensure_ascii=False))
    assert json.loads(printed) == {text: [text]}
    assert_harmless(printed)


@given(hostile_text())
def test_nothing_hostile_passes_the_console_however_it_is_printed(text):
    file = io.StringIO()
    out = TerminalConsole(file=file, width=40, color_system=None)
    table = plain_table("name", "what")
    # Without `safe`, as by mistake; with it, as it should be.
    for word in (text.replace("[", "\\["), safe(text)):
        table.add_row(word, word)
        out.print(table, Panel(word), "", word, sep="\n")
        out.print(word, soft_wrap=True)
    out.print(text, markup=False)
    out.print(safe_path(text))
    assert_harmless(file.getvalue())


def test_folding_makes_no_command_at_the_start_of_a_line():
    file = io.StringIO()
    out = TerminalConsole(file=file, width=12)
    out.print(safe("abcdefghijkl::error::boom"))
    out.print("abcdefghijkl::error::boom", markup=False)
    assert_harmless(file.getvalue())


def test_the_console_keeps_what_has_no_line_end():
    file = io.StringIO()
    out = TerminalConsole(file=file, width=80)
    out.print("name? ", end="")
    out.print("[bold]x[/]\n\ny")
    out.print()
    assert file.getvalue() == "name? x\n\ny\n\n"


@given(hostile_text())
def test_a_line_of_progress_stays_one_line(text):
    file = io.StringIO()
    progress = Lines(TerminalConsole(file=file, width=40), details=True, silence_s=0)
    progress.step(text)
    progress.detail(f"x{text}")
    assert_harmless(file.getvalue())
    assert len(file.getvalue().splitlines()) == 2
