"""Errors that the user can correct, each with the problem, its place and the remedy; and the exit codes of `bench`."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from bench.foreign_text import visible

EXIT_CODES: dict[int, str] = {
    0: "success; for a gate: nothing got slower, lost support or answers worse",
    1: "a gate has confirmed a regression; no other verb ends with it, and no fault does",
    2: "the command, a file or the machine must be corrected: the message says how",
    3: "a gate is inconclusive",
    4: "nothing was measured, or there is nothing to judge",
    70: "a fault of touchstone-bench: the message names a crash report",
    130: "interrupted by Ctrl-C, SIGTERM or the end of the terminal; what was measured is kept",
}
"""Every exit code of `bench`. A table of docs/reliability.md has the same rows."""
LONGEST = 20_000
"""Letters of a message: it may quote what a file says, and that has any length."""
FAULT = 70
"""The exit code for a fault of this program: `EX_SOFTWARE` of sysexits.h."""


class BenchError(Exception):
    """An error that the user can correct; `cli` prints it as one sentence and exits with `exit_code`."""

    exit_code = 2

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        """The message on one line: the problem, then the remedy."""
        message = self.message if len(self.message) <= LONGEST else f"{self.message[:LONGEST]}…"
        sentence = f"{message}; {self.hint}" if self.hint else message
        # What a file says may hold line ends and escape sequences; a terminal must not see them.
        return visible(sentence)


class UsageError(BenchError):
    """A flag or an argument that is not valid."""


class MatrixError(BenchError):
    """A mistake in `matrix.toml`, or several, which `mistakes` holds."""

    mistakes: "tuple[MatrixError, ...]" = ()
    is_misspelt_key = False
    """Whether it is an unknown key: such a mistake explains others, and is listed first."""
    lacks_in = ""
    """The table that lacks a key, which a misspelt key of the same table explains."""

    def __str__(self) -> str:
        """One sentence; of several mistakes a line with their number, then a line for each."""
        return "\n  ".join([super().__str__(), *map(str, self.mistakes)])


class PluginError(BenchError):
    """A family, an engine or a format whose declaration cannot be read, here or in another package."""


class SourceError(BenchError):
    """A model or data source that cannot be read."""


class RuntimeSetupError(BenchError):
    """A runtime that could not be installed or lacks a package that the worker needs."""


class DamagedCacheError(RuntimeSetupError, SourceError):
    """Something in the cache that is damaged and could not be made again."""


class ReadOnlyCacheError(RuntimeSetupError, SourceError):
    """A cache that cannot be written and lacks something."""


class RunFolderError(BenchError):
    """A run's folder that does not exist, is damaged, or has another schema."""


class DiskError(BenchError):
    """The disk is full or cannot be written; earlier results are kept."""


class NothingMeasuredError(BenchError):
    """The run ended without a measurement of any cell."""

    # Not 1, which is a gate's regression: a script must be able to distinguish "nothing to judge" from "worse".
    exit_code = 4


class BaselineError(BenchError):
    """The baseline cannot be used: it is missing, of another machine, without raw data, or has other cells."""

    exit_code = 4


class NothingToJudgeError(BenchError):
    """There is nothing to compare: the runs have no cell in common, or a folder holds no run."""

    exit_code = 4


class Interrupted(BenchError):  # noqa: N818 - it is no error, and reads as what it is
    """The user pressed Ctrl-C; what was measured is kept."""

    # 128 + SIGINT, as shells report a program that Ctrl-C ended.
    exit_code = 130


@contextlib.contextmanager
def faults_belong_to(folder: Path) -> Iterator[None]:
    """Note on an exception that is a fault of this program in which folder its crash report belongs."""
    try:
        yield
    except Exception as error:
        if not isinstance(error, BenchError):
            # The innermost folder stays.
            error.__dict__.setdefault("run_folder", folder)
        raise


def folder_of_fault(error: BaseException) -> Path | None:
    """The folder that `faults_belong_to` has noted."""
    folder = getattr(error, "run_folder", None)
    return folder if isinstance(folder, Path) else None
