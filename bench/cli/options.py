"""The options that several verbs share, and functions that show progress and print JSON."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from bench.default_paths import CACHE_VARIABLE, cache_path, matrix_path

if TYPE_CHECKING:
    from bench.progress import Progress

__all__ = [
    "CacheFlag",
    "FormatFlag",
    "JsonFlag",
    "MatrixFlag",
    "OnlyFlag",
    "OptionalFlag",
    "QuietFlag",
    "RankFlag",
    "SkipFlag",
    "cache_path",
    "known_formats",
    "matrix_path",
    "print_json",
    "stop_on_sigterm",
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
OnlyFlag = Annotated[
    list[str] | None, typer.Option("--only", help="Only cells whose id matches this glob, e.g. 'minilm/int8/*'.")
]
OptionalFlag = Annotated[
    bool,
    typer.Option("--with-optional", help="Run optional cells too, and targets that this machine seems to lack."),
]
SkipFlag = Annotated[list[str] | None, typer.Option("--skip", help="Leave out cells whose id matches this glob.")]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
QuietFlag = Annotated[bool, typer.Option("--quiet", "-q", help="Print no progress, only errors and the result.")]
CacheFlag = Annotated[
    Path | None,
    typer.Option("--cache-dir", envvar=CACHE_VARIABLE, help="Where artifacts and runtimes are kept."),
]
RankFlag = Annotated[
    bool, typer.Option("--rank-approximate", help="Rank approximate cells too: within tolerance, but other answers.")
]
FormatFlag = Annotated[
    str, typer.Option("--format", help="html, csv, markdown, json, pytest-benchmark; separate several with commas.")
]


def known_formats(text: str) -> tuple[str, ...]:
    """The names in `--format`; `UsageError` for an unknown one, before anything is measured."""
    from bench.report.formats import known

    return known(text)


def stop_on_sigterm() -> None:
    """Treat SIGTERM as Ctrl-C: a CI job that is cancelled receives it, and must keep what was measured."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def with_progress(work: Callable[[Progress], T], *, quiet: bool = False) -> T:
    """Do long work and show its progress on stderr: live on a terminal, as lines elsewhere, not at all if `quiet`."""
    from bench.progress import Lines, Live, Quiet

    if quiet:
        return work(Quiet())
    from rich.console import Console

    # On stderr, since stdout has the result, which `--json` makes for a program.
    console = Console(stderr=True)
    if not console.is_terminal:
        return work(Lines(console))
    live = Live(console)
    try:
        return work(live)
    finally:
        # Also after an error: a spinner that still runs would be drawn over its message.
        live.close()


def print_json(value: Any) -> None:
    """Print a value as JSON, for `--json`."""
    import msgspec

    # `json` knows no records, so they become plain values first.
    plain = msgspec.to_builtins(value)
    print(json.dumps(plain, indent=2, ensure_ascii=False))  # noqa: T201
