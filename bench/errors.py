"""The user's mistakes, one class per remedy: each says what is wrong, where, and what to do about it."""


class BenchError(Exception):
    """Something the user can put right; `cli` prints it as one sentence and exits with `exit_code`."""

    exit_code = 2

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        """The sentence a person reads, on one line: what is wrong, then the remedy."""
        sentence = f"{self.message}; {self.hint}" if self.hint else self.message
        # What a file says may hold line ends and escape sequences; a terminal must not see them.
        return "".join(c if c.isprintable() else repr(c)[1:-1] for c in sentence)


class UsageError(BenchError):
    """A flag or an argument that cannot be taken."""


class MatrixError(BenchError):
    """`matrix.toml` says something that has no meaning."""


class PluginError(BenchError):
    """A family, an engine or a format whose declaration cannot be read, here or in another package."""


class SourceError(BenchError):
    """A model or data source that cannot be read."""


class RuntimeSetupError(BenchError):
    """A runtime that could not be made or lacks what it must hold."""


class RunFolderError(BenchError):
    """A run's folder that is not there, is torn, or has another schema."""


class DiskError(BenchError):
    """The disk is full or cannot be written; what was measured before is kept."""


class NothingMeasuredError(BenchError):
    """The run ended and not one cell has a number or a verdict of its own."""

    exit_code = 4


class BaselineError(BenchError):
    """There is no baseline to judge against: it is missing, of another machine, without raw data, of other cells."""

    exit_code = 4


class NothingToJudgeError(BenchError):
    """Runs that have nothing in common, or a folder without a run: there is nothing to hold against anything."""

    exit_code = 4


class Interrupted(BenchError):  # noqa: N818 - it is no error, and reads as what it is
    """Ctrl-C: what was measured is kept."""

    exit_code = 130
