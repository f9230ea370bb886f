"""The options that several verbs share, and functions that show progress and print JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from bench.default_paths import CACHE_VARIABLE, cache_path, matrix_path
from bench.errors import UsageError

if TYPE_CHECKING:
    from bench.progress import Draw, Progress

__all__ = [
    "CacheFlag",
    "FamilyFlag",
    "FormatFlag",
    "JsonFlag",
    "MatrixFlag",
    "MinutesFlag",
    "ModelFlag",
    "OnlyFlag",
    "OptionalFlag",
    "QuietFlag",
    "RankFlag",
    "SkipFlag",
    "VerboseFlag",
    "before_verbs",
    "cache_path",
    "check_model",
    "check_paths",
    "known_formats",
    "matrix_path",
    "print_json",
    "with_progress",
]

T = TypeVar("T")

# Help texts have defaults in round brackets: rich takes square ones for markup and hides them.
MatrixFlag = Annotated[
    Path | None,
    typer.Option(
        "--matrix",
        "-m",
        help="The matrix file (default: matrix.toml in the current folder, or the built-in one if there is none).",
    ),
]
ModelFlag = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="MODEL",
        help="Without a matrix: an ONNX file, a model's folder, a .gguf file, or a name on the hub.",
    ),
]
FamilyFlag = Annotated[
    str | None, typer.Option("--family", help="With --model: what kind of model it is, where that cannot be seen.")
]


def complete_cells(ctx: typer.Context, incomplete: str) -> list[str]:
    """Globs of the models and targets of the matrix that a shell may complete: `minilm/*`, `*/cpu/*`."""
    from bench.declare.matrix import read
    from bench.errors import BenchError

    try:
        declared = read(matrix_path(ctx.params.get("matrix")))
    # A shell has no place for an error of the matrix; the command itself will tell it.
    except (BenchError, OSError):
        return []
    globs = [f"{model}/*" for model in declared.models] + [f"*/{target}/*" for target in declared.targets]
    return [glob for glob in globs if glob.startswith(incomplete)]


OnlyFlag = Annotated[
    list[str] | None,
    typer.Option(
        "--only", help="Only cells whose id matches this glob, e.g. 'minilm/int8/*'.", autocompletion=complete_cells
    ),
]
SkipFlag = Annotated[
    list[str] | None,
    typer.Option("--skip", help="Leave out cells whose id matches this glob.", autocompletion=complete_cells),
]
OptionalFlag = Annotated[
    bool,
    typer.Option("--with-optional", help="Run optional cells too, and targets that this machine seems to lack."),
]
MinutesFlag = Annotated[
    float | None,
    typer.Option(help="Minutes for measuring, after the preparation (default: the matrix's or the budget's)."),
]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
VerboseFlag = Annotated[
    bool, typer.Option("--verbose", "-v", help="Print each detail of the progress as a line of its own.")
]
QuietFlag = Annotated[bool, typer.Option("--quiet", "-q", help="Print no progress, only errors and the result.")]
CacheFlag = Annotated[
    Path | None,
    typer.Option("--cache-dir", envvar=CACHE_VARIABLE, help="Where artifacts and runtimes are kept."),
]
RankFlag = Annotated[
    bool, typer.Option("--rank-approximate", help="Rank approximate cells too: within tolerance, but other answers.")
]
FormatFlag = Annotated[
    str,
    typer.Option(
        "--format", help="html, csv, comparisons, markdown, json, pytest-benchmark; separate several with commas."
    ),
]


def before_verbs(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    """The options of `bench` itself, for its help and for completions: `app.main` answers them before it loads this."""


def known_formats(text: str) -> tuple[str, ...]:
    """The names in `--format`; `UsageError` for an unknown one, before anything is measured."""
    from bench.report.formats import known

    return known(text)


def check_model(model: str | None, family: str | None, matrix: Path | None) -> None:
    """Raise `UsageError` for a model beside a matrix, and for a family without a model."""
    if model is not None and matrix is not None:
        raise UsageError("--model makes a matrix of its own", "leave --matrix out")
    if family is not None and model is None:
        raise UsageError("--family is for --model", "in a matrix the model's table has its family")


def check_paths(*paths: Path | None) -> None:
    """Raise `UsageError` for a path that is no text: what measures writes its paths into JSON, for others to read."""
    for path in paths:
        # Python keeps such bytes as halves of surrogate pairs.
        if path is not None and not str(path.absolute()).isascii() and _is_no_text(str(path.absolute())):
            shown = str(path.absolute()).encode("utf-8", "backslashreplace").decode()
            raise UsageError(f"the path {shown} holds bytes that are no UTF-8", "rename it, or use another folder")


def _is_no_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return True
    return False


def with_progress(
    work: Callable[[Progress], T], *, quiet: bool = False, verbose: bool = False, draw: Draw | None = None
) -> T:
    """Do long work and show its progress on stderr: live on a terminal, as lines elsewhere, not at all if `quiet`.

    With `verbose` each detail is a line, also on a terminal. `draw` makes the lines of results that fill in live.
    """
    from bench.progress import Lines, Live, Quiet

    if quiet:
        return work(Quiet())
    from bench.cli.tables import TerminalConsole

    # On stderr, since stdout has the result, which `--json` makes for a program.
    console = TerminalConsole(stderr=True)
    is_live = console.is_terminal
    progress = Live(console, details=verbose, draw=draw) if is_live else Lines(console, details=verbose)
    try:
        return work(progress)
    finally:
        # Also after an error: a spinner that still runs would be drawn over its message.
        progress.close()


def print_json(value: Any) -> None:
    """Print a value as JSON, for `--json`."""
    import msgspec

    from bench.foreign_text import json_text

    # `json` knows no records, so they become plain values first.
    plain = msgspec.to_builtins(value)
    # Escaped where the output could not encode a character: a program must read what was meant.
    plain_output = "utf" not in (sys.stdout.encoding or "").lower()
    print(json_text(json.dumps(plain, indent=2, ensure_ascii=plain_output)))  # noqa: T201
