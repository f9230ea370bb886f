"""Progress is one line a step where there is no terminal, and one line in all where there is one."""

from __future__ import annotations

import io
import threading
import time

import pytest
from rich.console import Console
from rich.text import Text

from bench import progress
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


def test_with_details_each_is_a_line_once():
    console = a_console(width=80)
    lines = Lines(console, details=True)
    lines.detail("trying cpu")
    lines.detail("trying cpu")
    lines.work("a", "building int4")
    lines.work("a", None)
    assert said(console) == "00:00    trying cpu\n00:00    building int4\n"


def until_said(console: Console, text: str) -> None:
    end = time.monotonic() + 10
    while text not in said(console):
        assert time.monotonic() < end, f"{text!r} is not in {said(console)!r}"
        time.sleep(0.01)


def test_a_log_is_not_silent_while_something_runs():
    console = a_console(width=200)
    lines = Lines(console, silence_s=0.05)
    lines.work("smollm2", "building int4 of smollm2")
    lines.work("ort", "runtime ort: downloading")
    until_said(console, "00:00  still building int4 of smollm2 (0 s), runtime ort: downloading (0 s)\n")
    lines.work("smollm2", None)
    lines.work("ort", None)
    lines.detail("block 2 of minilm")
    until_said(console, "still block 2 of minilm (0 s)\n")
    lines.close()


def test_what_an_installer_prints_in_its_course_is_no_new_work(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    lines = Lines(a_console(), silence_s=0)
    lines.work("ort", "runtime ort: downloading")
    now[0] += 35
    lines.work("ort", "runtime ort: unpacking")
    assert lines._current() == "runtime ort: unpacking (35 s)"


def test_a_log_is_silent_while_nothing_runs_and_after_its_end():
    console = a_console()
    lines = Lines(console, silence_s=0.02)
    lines.work("a", "building")
    lines.work("a", None)
    time.sleep(0.1)
    assert said(console) == ""
    lines.work("a", "building")
    lines.close()
    lines._heart.join(5)
    assert not lines._heart.is_alive()


def test_nobody_is_asked_without_a_terminal(monkeypatch):
    assert Lines(a_console()).ask("go on?") == ""
    assert Quiet().ask("go on?") == ""
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))  # a pipe answers nothing
    live = Live(a_console(terminal=True))
    assert live.ask("go on?") == ""
    live.close()


def test_at_a_terminal_the_answer_is_read(monkeypatch):
    class Typed(io.StringIO):
        def isatty(self) -> bool:
            return True

    console = a_console(terminal=True)
    live = Live(console)
    monkeypatch.setattr("sys.stdin", Typed("w\n"))
    monkeypatch.setattr("builtins.input", lambda: "w")
    assert live.ask("[go] on?") == "w"
    live.close()
    assert "[go] on?" in said(console)


def test_quiet_says_nothing(capsys):
    Quiet().step("a")
    Quiet().detail("b")
    assert capsys.readouterr() == ("", "")


# --- results that fill in ---------------------------------------------------------------------------------------------


def a_terminal() -> tuple[Console, io.StringIO]:
    written = io.StringIO()
    return Console(file=written, force_terminal=True, width=80, height=30), written


def test_results_fill_in_above_the_current_work_with_a_bar_that_tells_how_much_is_done():
    console, written = a_terminal()
    asked: list[tuple[int, int]] = []

    def draw(results: str, width: int, height: int) -> list[Text]:
        asked.append((width, height))
        return [Text(f"result: {results}")]

    live = Live(console, draw=draw)
    live.detail("block 2 of minilm")
    live.share(0.25)
    live.results("1.15× PyTorch")
    live.close()
    assert asked == [(80, 22)]
    text = written.getvalue()
    assert "result: 1.15× PyTorch" in text
    assert text.rindex("result: ") < text.rindex("block 2 of minilm")
    assert "━" in text


def test_a_terminal_that_nothing_happens_on_wakes_no_thread():
    console, _ = a_terminal()
    before = threading.active_count()
    live = Live(console)
    live.detail("timing")
    assert threading.active_count() == before
    live.close()
