"""An interpreter that never ends, prints without an end, or leaves children, does not stop or fill this program."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import psutil
import pytest

from bench.declare.targets import Runtime
from bench.errors import RuntimeSetupError
from bench.prepare import environments, interpreter_answer
from bench.prepare.interpreter_answer import NoAnswerError, ask

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the interpreters are shell scripts")


def script(folder: Path, body: str) -> list[str]:
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    path.chmod(0o755)
    return [str(path)]


def test_an_answer_is_read_whole(tmp_path):
    answer = ask(script(tmp_path, "echo out; echo err >&2; exit 3"), os.environ, 20)
    assert (answer.code, answer.stdout, answer.stderr) == (3, "out\n", "err\n")


@pytest.mark.parametrize("to", ["", ">&2"])
def test_an_output_without_an_end_is_read_up_to_a_limit(tmp_path, monkeypatch, to):
    monkeypatch.setattr(interpreter_answer, "MOST_BYTES", 2**20)
    before = psutil.Process().memory_info().rss
    with pytest.raises(NoAnswerError, match="printed more than 1 MiB"):
        ask(script(tmp_path, f"exec yes {'x' * 1000} {to}"), os.environ, 60)
    assert psutil.Process().memory_info().rss - before < 64 * 2**20


def test_it_and_what_it_started_are_ended_at_the_limit_of_time(tmp_path):
    command = script(tmp_path, f"sleep 1000 & echo $! > {tmp_path}/child; exec sleep 1000")
    with pytest.raises(NoAnswerError, match="no answer in 1 seconds"):
        ask(command, os.environ, 1)
    child = int((tmp_path / "child").read_text(encoding="ascii"))
    end = time.monotonic() + 10
    while psutil.pid_exists(child) and psutil.Process(child).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < end


def test_a_child_that_holds_the_pipe_open_holds_nothing_up(tmp_path, monkeypatch):
    monkeypatch.setattr(interpreter_answer, "CHILDREN_S", 0.2)
    began = time.monotonic()
    assert ask(script(tmp_path, "sleep 1000 & echo out"), os.environ, 60).stdout == "out\n"
    assert time.monotonic() - began < 20


def test_a_runtime_whose_interpreter_prints_too_much_is_told_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(interpreter_answer, "MOST_BYTES", 2**16)
    (command,) = script(tmp_path, f"exec {sys.executable} -c 'print(\"x\" * 10**6)'")
    with pytest.raises(RuntimeSetupError, match="does not answer as a Python interpreter: it printed more than 0 MiB"):
        environments.find(Runtime("mine", python=command), tmp_path)
