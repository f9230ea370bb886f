"""Progress is one line a step where there is no terminal, and one line in all where there is one."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from bench.progress import Lines, Live, Quiet, duration


def a_console(*, terminal: bool = False, width: int = 40) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=width, color_system=None)


def said(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (7.6, "8 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (125, "2 min 05 s"),
        (3599.7, "1 h 00 min"),
        (3725, "1 h 02 min"),
        (90_000, "25 h 00 min"),
    ],
)
def test_a_duration_is_said_as_a_person_would(seconds, words):
    assert duration(seconds) == words


def test_a_step_is_one_line_with_the_time_since_the_start():
    console = a_console()
    Lines(console).step("runtime ort: installing onnxruntime")
    assert said(console) == "00:00  runtime ort: installing onnxruntime\n"


def test_a_long_step_is_not_broken_in_a_log():
    console = a_console(width=20)
    Lines(console).step("word " * 30)
    assert said(console).count("\n") == 1


def test_what_looks_like_markup_is_printed_as_it_is():
    console = a_console(width=80)
    Lines(console).step("[red]minilm[/] [FakeRuntime] [/oops]")
    assert said(console).endswith("[red]minilm[/] [FakeRuntime] [/oops]\n")


def test_a_detail_leaves_no_line_in_a_log():
    console = a_console()
    Lines(console).detail("round 1")
    assert said(console) == ""


def test_a_terminal_shows_what_is_running_and_keeps_the_steps():
    console = a_console(terminal=True)
    live = Live(console)
    live.detail("[/oops] round 1 of minilm, of which the line is far too long to be shown in full here")
    live.step("built export of minilm")
    live.close()
    assert "built export of minilm" in said(console)


def test_quiet_says_nothing(capsys):
    Quiet().step("a")
    Quiet().detail("b")
    assert capsys.readouterr() == ("", "")
