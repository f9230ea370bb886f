"""A verb ends with its own exit code, whatever reads its output and whatever goes wrong in this program."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from bench import foreign_text, privacy
from bench.cli import app, crash, streams
from bench.default_paths import CRASHES
from bench.errors import EXIT_CODES, FAULT, BaselineError, Interrupted, UsageError, faults_belong_to, folder_of_fault

RECORDED = Path(__file__).parents[1] / "recorded" / "several-engines"
PRINTING = ("compare", str(RECORDED), str(RECORDED))
full_device = pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has /dev/full")
unix = pytest.mark.skipif(os.name == "nt", reason="a POSIX shell")


def shell(redirected: str, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `bench` with a redirection; its exit code is printed last on stderr."""
    command = f'{{ "$0" -m bench "$@"; echo "code $?" >&9; }} 9>&2 {redirected}'
    everything = {**os.environ, **environment}
    return subprocess.run(
        ["bash", "-c", command, sys.executable, *words],
        capture_output=True, text=True, encoding="utf-8", env=everything, check=False,
    )  # fmt: skip


def ended(done: subprocess.CompletedProcess[str]) -> tuple[int, list[str]]:
    """The exit code of `bench`, and what it printed on stderr."""
    lines = done.stderr.splitlines()
    (code,) = [int(line.removeprefix("code ")) for line in lines if line.startswith("code ")]
    return code, [line for line in lines if not line.startswith("code ")]


@unix
@pytest.mark.parametrize("redirected", ["| head -c 10", ">&-", "<&- >&- 2>&-", "2>&-"])
def test_a_closed_stream_changes_no_exit_code(redirected):
    assert ended(shell(redirected, *PRINTING)) == (0, [])


@unix
def test_a_closed_stdout_does_not_hide_an_error():
    code, lines = ended(shell("| true", "compare", "nowhere", str(RECORDED)))
    assert code == 2
    assert "holds no run" in lines[0]


@unix
@full_device
def test_a_full_disk_behind_stdout_is_told_and_one_behind_stderr_is_no_error():
    code, lines = ended(shell(">/dev/full", *PRINTING))
    assert code == 2
    assert lines == ["bench: standard output could not be written: the disk is full; write it to another place"]
    assert ended(shell("2>/dev/full", *PRINTING))[0] == 0


@unix
def test_a_stdout_of_ascii_takes_every_table_and_json_stays_json():
    done = shell("", *PRINTING, PYTHONIOENCODING="ascii")
    assert ended(done) == (0, [])
    assert done.stdout.isascii()
    done = shell("", *PRINTING, "--json", PYTHONIOENCODING="ascii")
    assert json.loads(done.stdout) == json.loads(shell("", *PRINTING, "--json").stdout)


def test_what_an_encoding_lacks_becomes_plain_or_an_escape():
    assert "5 → 6 µs".encode("ascii", streams.ENCODING_ERRORS) == b"5 -> 6 us"
    assert "é\U0001f600\udcff".encode("ascii", streams.ENCODING_ERRORS) == b"\\u00e9\\ud83d\\ude00\\udcff"
    assert json.loads('"\\ud83d\\ude00"') == "\U0001f600"


def test_a_command_of_a_runner_stays_broken_in_ascii():
    shown = foreign_text.line("::error::boom").encode("ascii", streams.ENCODING_ERRORS)
    assert shown == b": :error::boom"


class Broken:
    """A stream that raises at each write."""

    encoding = "utf-8"

    def __init__(self, error: Exception) -> None:
        self.error, self.writes = error, 0

    def write(self, _: str) -> int:
        self.writes += 1
        raise self.error

    def flush(self) -> None:
        raise self.error

    def fileno(self) -> int:
        raise OSError


@pytest.mark.parametrize(
    ("error", "kept"),
    [
        (BrokenPipeError(), False),
        (OSError(errno.ENOSPC, "full"), True),
        (OSError(errno.EIO, "the terminal is gone"), True),
        (ValueError("I/O operation on closed file"), False),
    ],
)
def test_a_broken_stream_is_written_once_and_never_raises(error, kept):
    broken = Broken(error)
    stream = streams.Stream(broken)
    assert stream.write("a") == 1
    stream.writelines(["b", "c"])
    stream.flush()
    assert broken.writes == 1
    assert (stream.error is not None) == kept


# --- faults of this program -------------------------------------------------------------------------------------------


def exit_code(monkeypatch, raised: BaseException, *words: str) -> int:
    """The exit code of a command whose verb raises."""

    def verb() -> None:
        raise raised

    application = typer.Typer(pretty_exceptions_enable=False)
    application.command()(verb)
    monkeypatch.setattr(app, "build", lambda only: application)
    with pytest.raises(SystemExit) as caught:
        app.main(list(words))
    assert isinstance(caught.value.code, int)
    return caught.value.code


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (UsageError("a"), 2),
        (BaselineError("a"), 4),
        (Interrupted("a"), 130),
        (KeyboardInterrupt(), 130),
        (OSError(errno.ENOSPC, "No space left", "a"), 2),
        (PermissionError(errno.EACCES, "no", "a"), 2),
        (OSError(errno.EMFILE, "too many", "a"), 2),
        (KeyError("a"), FAULT),
        (MemoryError(), FAULT),
        (RecursionError(), FAULT),
        (FileNotFoundError(errno.ENOENT, "no", "a"), FAULT),
    ],
)
def test_no_error_ends_with_the_code_of_a_regression(monkeypatch, tmp_path, raised, code):
    monkeypatch.setenv("BENCH_CACHE_DIR", str(tmp_path))
    assert exit_code(monkeypatch, raised) == code
    assert code in EXIT_CODES
    assert code != 1


def test_a_fault_leaves_a_report_in_the_runs_folder_and_one_sentence(monkeypatch, tmp_path, capsys):
    error = ZeroDivisionError(f"in {Path.home()}/models")
    with pytest.raises(ZeroDivisionError), faults_belong_to(tmp_path / "run"):
        raise error
    assert exit_code(monkeypatch, error) == FAULT
    (file,) = (tmp_path / "run").glob("crash-*.txt")
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert err.startswith(
        "bench: this is a fault of touchstone-bench, not of your input: ZeroDivisionError: in ~/models"
    )
    assert err.rstrip().endswith(f"attach that file: {file}")
    report = file.read_text(encoding="utf-8")
    assert "Traceback" in report
    assert "touchstone-bench 0" in report
    assert "msgspec " in report


def test_a_fault_without_a_run_leaves_its_report_in_the_cache_with_the_command(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("BENCH_CACHE_DIR", str(tmp_path))
    sentence = crash.report(KeyError("a"), ["gate", "--baseline", f"{Path.home()}/my run"])
    (file,) = (tmp_path / CRASHES).iterdir()
    assert sentence.endswith(str(file))
    assert "command: bench gate --baseline '~/my run'" in file.read_text(encoding="utf-8")


def test_a_report_that_cannot_be_written_is_printed(monkeypatch, tmp_path, capsys):
    (tmp_path / "file").touch()
    monkeypatch.setenv("BENCH_CACHE_DIR", str(tmp_path / "file"))
    assert "could not be written" in crash.report(KeyError("a"), [])
    assert "Crash report of touchstone-bench" in capsys.readouterr().err


def test_a_report_holds_nothing_private_and_no_control_character(monkeypatch, tmp_path):
    monkeypatch.setenv("BENCH_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("MY_TOKEN", "hunter2hunter2")
    monkeypatch.setattr(privacy.getpass, "getuser", lambda: "miriam")
    monkeypatch.setattr(privacy.platform, "node", lambda: "miriams-laptop")
    sentence = crash.report(RuntimeError("miriam on miriams-laptop, \x1b[31mnot miriamne, hunter2hunter2"), [])
    (file,) = (tmp_path / CRASHES).iterdir()
    for text in (sentence, file.read_text(encoding="utf-8")):
        assert "USER on HOST, not miriamne, $MY_TOKEN" in text
        assert "\x1b" not in text


def test_a_fault_of_the_report_itself_is_told_with_the_same_code(monkeypatch, capsys):
    monkeypatch.setattr(crash, "report", lambda *_: 1 / 0)
    assert exit_code(monkeypatch, KeyError("a")) == FAULT
    assert capsys.readouterr().err == (
        "bench: this is a fault of touchstone-bench, and its report could not be written: "
        "KeyError, then ZeroDivisionError\n"
    )


def test_the_documentation_has_every_exit_code():
    page = (Path(__file__).parents[2] / "docs" / "reliability.md").read_text(encoding="utf-8")
    for code, meaning in EXIT_CODES.items():
        assert f"| {code} | {meaning} |" in page


def test_an_error_of_the_user_belongs_to_no_folder(tmp_path):
    error = UsageError("a")
    with pytest.raises(UsageError), faults_belong_to(tmp_path):
        raise error
    assert folder_of_fault(error) is None


@pytest.mark.parametrize(
    "raised",
    [
        SystemExit(1),
        SystemExit(0),
        GeneratorExit(),
        BaseExceptionGroup("a", [KeyboardInterrupt()]),
    ],
)
def test_what_is_no_exception_is_a_fault_too(monkeypatch, tmp_path, raised):
    monkeypatch.setenv("BENCH_CACHE_DIR", str(tmp_path))
    assert exit_code(monkeypatch, raised) == FAULT
    assert list((tmp_path / CRASHES).iterdir())


def test_a_package_that_is_missing_is_named(monkeypatch, capsys):
    assert exit_code(monkeypatch, ModuleNotFoundError("No module named 'scipy.stats'", name="scipy.stats")) == 2
    assert capsys.readouterr().err == "bench: the package 'scipy.stats' is missing; install touchstone-bench again\n"


def test_an_interruption_while_another_is_told_hides_nothing(monkeypatch, capsys):
    def verb() -> None:
        try:
            raise Interrupted("interrupted", "go on with: bench run --resume a")
        finally:
            raise KeyboardInterrupt

    application = typer.Typer(pretty_exceptions_enable=False)
    application.command()(app.interruptible(verb))
    monkeypatch.setattr(app, "build", lambda only: application)
    with pytest.raises(SystemExit) as caught:
        app.main([])
    assert caught.value.code == 130
    assert capsys.readouterr().err.splitlines()[-1] == "bench: interrupted; go on with: bench run --resume a"


@unix
def test_a_pipe_that_does_not_wait_for_its_reader_loses_nothing():
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    # More than a pipe holds.
    code = "from bench.cli import streams\nwith streams.standard_streams(): print('a' * 300_000)"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        # Until it is full, and the process can only wait.
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(1.0)
        content = pipe.read()
    assert process.wait() == 0
    assert len(content) == 300_001
