"""The flags that several verbs take, and what they mean: paths found, long work done with its progress shown."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from bench.progress import Progress

T = TypeVar("T")

MatrixFlag = Annotated[
    Path | None, typer.Option("--matrix", "-m", help="The matrix (default: matrix.toml here, else the built-in one).")
]
OnlyFlag = Annotated[
    list[str] | None, typer.Option("--only", help="Only cells whose id matches this glob, e.g. 'minilm/int8/*'.")
]
SkipFlag = Annotated[list[str] | None, typer.Option("--skip", help="No cell whose id matches this glob.")]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
CacheFlag = Annotated[
    Path | None, typer.Option("--cache-dir", envvar="BENCH_CACHE_DIR", help="Where artifacts and runtimes are kept.")
]
FormatFlag = Annotated[
    str, typer.Option("--format", help="html, csv, markdown, json, pytest-benchmark; several with commas.")
]


def matrix_path(named: Path | None) -> Path:
    """The matrix file that was named, the one in this folder, or the one that came with the package."""
    if named or Path("matrix.toml").exists():
        return named or Path("matrix.toml")
    built_in = Path(__file__).parents[1] / "declare" / "default_matrix.toml"
    return built_in if built_in.exists() else Path("matrix.toml")


def cache_path(named: Path | None) -> Path:
    """The cache folder that was named, or the platform's."""
    if named:
        return named.expanduser().absolute()
    from platformdirs import user_cache_path

    return user_cache_path("touchstone-bench", appauthor=False)


def known_formats(text: str) -> tuple[str, ...]:
    """The names of report formats, checked before anything is measured."""
    from bench.report.formats import known

    return known(text)


def with_progress(work: Callable[[Progress], T]) -> T:
    """Do long work with its progress on stderr: a spinner on a terminal, plain lines elsewhere."""
    from rich.console import Console

    from bench.progress import Lines, Live

    console = Console(stderr=True)
    if not console.is_terminal:
        return work(Lines(console))
    live = Live(console)
    try:
        return work(live)
    finally:
        live.close()


def print_json(value: Any) -> None:
    """What a verb prints with `--json`."""
    import msgspec

    plain = msgspec.to_builtins(value)
    print(json.dumps(plain, indent=2, ensure_ascii=False))  # noqa: T201
