"""An interruption keeps what was measured, ends the workers, and says how to go on; two runs never share a folder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import typer

from bench import pipeline, store
from bench.cli import app, interrupts
from bench.errors import DiskError, Interrupted, RunFolderError
from bench.progress import Quiet

from .commands import HERE, VERDICTS, all_end, begin, blocks, descendants, finish, start, verdicts

pytestmark = pytest.mark.skipif(os.name == "nt", reason="not on this system: there are no such signals")
LONG_S = 120.0
BLOCKS = 12
"""Of a run whose results become larger than its other files."""


def resuming(folder: Path) -> str:
    """The command line that goes on."""
    return f"bench run --resume {folder} --format csv --cache-dir {folder.parent / 'cache'}"


def wait_for(path: Path) -> None:
    """Wait until a file has content."""
    end = time.monotonic() + LONG_S
    while not (path.exists() and path.stat().st_size):
        assert time.monotonic() < end, f"{path} was not written"
        time.sleep(0.02)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_keeps_what_was_measured_and_the_last_line_says_how_to_go_on(tmp_path, name):
    folder = tmp_path / "run"
    process = start(folder, blocks=100)
    wait_for(folder / store.RESULTS)
    time.sleep(0.5)
    workers = descendants(process.pid)
    process.send_signal(getattr(signal, name))
    _, err = process.communicate(timeout=LONG_S)
    assert process.returncode == 130
    last = err.splitlines()[-1]
    assert last == (
        f"bench: interrupted; the report of what was measured is {folder}/results.csv; go on with: {resuming(folder)}"
    )
    assert all_end(workers)
    assert "Traceback" not in err
    assert set(blocks(folder).values()) == {1}


def test_a_terminal_that_closes_keeps_what_was_measured(tmp_path):
    import pty

    folder = tmp_path / "run"
    command = begin(folder)
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(HERE)
        os.execv(sys.executable, command)
    wait_for(folder / "references")
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 130
    assert (folder / "results.csv").exists()
    finish(folder)
    assert verdicts(folder) == VERDICTS


def test_a_run_that_ignores_the_end_of_the_terminal_goes_on(tmp_path):
    folder = tmp_path / "run"
    process = subprocess.Popen(["nohup", *begin(folder)], cwd=HERE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_for(folder / store.RUN)
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=LONG_S)
    assert process.returncode == 0
    assert verdicts(folder) == VERDICTS


def test_a_second_process_is_refused_and_a_report_is_not(tmp_path):
    folder = tmp_path / "run"
    process = start(folder, blocks=100)
    wait_for(folder / store.RESULTS)
    second = subprocess.run(begin(folder), cwd=HERE, capture_output=True, text=True, check=False)
    report = subprocess.run(
        [sys.executable, "-m", "bench", "report", str(folder)], cwd=HERE, capture_output=True, check=False
    )
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=LONG_S)
    assert second.returncode == 2
    assert second.stderr == (
        f"bench: another process of bench measures into {folder}; wait until it has ended, or interrupt it\n"
    )
    assert report.returncode == 0
    assert process.returncode == 130, err
    assert set(blocks(folder).values()) == {1}


def test_a_file_that_cannot_grow_ends_the_run_and_says_how_to_go_on(tmp_path):
    folder = tmp_path / "run"
    # The worker's code is in the cache then: its files are larger.
    finish(tmp_path / "first", BLOCKS)
    kept, largest_bytes = last_block_that_fits(tmp_path / "first")
    process = start(folder, BLOCKS, largest_bytes)
    _, err = process.communicate(timeout=LONG_S)
    assert process.returncode == 2
    assert err.splitlines()[-1] == (
        f"bench: {folder}/results.jsonl could not be written: File too large; name a folder that can be written; "
        f"then go on with: {resuming(folder)}"
    )
    assert set(blocks(folder).values()) == {1}
    # A block is written whole or not at all.
    assert max(number for _, number in blocks(folder)) == kept
    assert (folder / store.RESULTS).read_bytes().endswith(b"\n")
    finish(folder, BLOCKS)
    assert verdicts(folder) == VERDICTS
    assert set(blocks(folder).values()) == {1}


def last_block_that_fits(folder: Path) -> tuple[int, int]:
    """A block, and a size of files that holds the results up to it, half of the next one, and every other file."""
    others = max(path.stat().st_size for path in folder.rglob("*") if path.is_file() and path.name != store.RESULTS)
    sizes: Counter[int] = Counter()
    for line in (folder / store.RESULTS).read_bytes().splitlines(keepends=True):
        sizes[json.loads(line)["round"]] += len(line)
    for number in range(1, BLOCKS):
        until = sum(size for earlier, size in sizes.items() if earlier <= number)
        # A tenth more: the times of another run have other lengths.
        if until > 1.1 * others:
            return number, until + sizes[number + 1] // 2
    raise AssertionError(f"{BLOCKS} blocks are smaller than another file: {others} bytes")


def test_a_run_is_held_by_one_process_at_a_time(tmp_path):
    (tmp_path / store.RUN).touch()
    with store.held(tmp_path), pytest.raises(RunFolderError, match="another process"), store.held(tmp_path):
        pass
    with store.held(tmp_path):
        pass


def test_a_folder_without_a_run_cannot_be_held(tmp_path):
    with pytest.raises(RunFolderError, match="holds no run"), store.held(tmp_path):
        pass


def test_a_second_interruption_leaves_out_the_report_and_says_how_to_make_it(tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "report", interrupted)
    some = pipeline.Options(Path("m.toml"), tmp_path, tmp_path, typed_cache=Path("my cache"), rank_approximate=True)
    error = pipeline._interrupted(some, tmp_path / "my run", Quiet())
    assert isinstance(error, Interrupted)
    folder = f"'{tmp_path}/my run'"
    assert str(error) == (
        "interrupted; what was measured is kept, without a report; "
        f"go on with: bench run --resume {folder} --rank-approximate --cache-dir 'my cache', "
        f"or write the report alone: bench report {folder}"
    )


def test_a_report_that_cannot_be_written_hides_neither_the_interruption_nor_how_to_go_on(tmp_path, monkeypatch):
    def full(*_, **__):
        raise DiskError("a could not be written: the disk is full", "free some space")

    monkeypatch.setattr(pipeline, "report", full)
    error = pipeline._interrupted(pipeline.Options(Path("m.toml"), tmp_path, tmp_path), tmp_path / "run", Quiet())
    assert error.exit_code == 130
    assert str(error) == (
        "interrupted; what was measured is kept, but there is no report: a could not be written: the disk is full; "
        f"go on with: bench run --resume {tmp_path}/run"
    )


def test_one_keystroke_that_arrives_twice_interrupts_once(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(interrupts.time, "monotonic", lambda: now[0])
    interrupt = interrupts._Interrupts()
    with pytest.raises(KeyboardInterrupt):
        interrupt()
    now[0] += 0.5
    interrupt()
    now[0] += 1.5
    with pytest.raises(KeyboardInterrupt):
        interrupt()


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_every_verb_is_interrupted_by_the_same_signals(monkeypatch, name):
    def verb() -> None:
        os.kill(os.getpid(), getattr(signal, name))
        time.sleep(LONG_S)

    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    application = typer.Typer(pretty_exceptions_enable=False)
    application.command()(app.interruptible(verb))
    monkeypatch.setattr(app, "build", lambda only: application)
    with pytest.raises(SystemExit) as caught:
        app.main([])
    assert caught.value.code == 130
    # A program that calls `bench` has handlers of its own.
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before


def test_a_signal_that_comes_when_all_is_done_changes_no_exit_code():
    code = """
import os, signal
from bench.cli.interrupts import stop_on_signals
with stop_on_signals(until_end=True):
    pass
os.kill(os.getpid(), signal.SIGTERM)
os.kill(os.getpid(), signal.SIGINT)
os._exit(3)
"""
    assert subprocess.run([sys.executable, "-c", code], cwd=HERE, check=False).returncode == 3
