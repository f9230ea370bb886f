"""`bench cache`: lists the cache, verifies its entries, and removes unused or damaged ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.options import CacheFlag, JsonFlag, cache_path, print_json
from bench.cli.tables import console, plain_table, safe, safe_path
from bench.errors import BenchError

if TYPE_CHECKING:
    from bench.cache import Entry, Pruned

ORDER = 90
KindFlag = Annotated[
    list[str] | None,
    typer.Option(
        "--kind",
        help="Only artifact, runtime, wheel, hub-model, worker-code, compiled, probe, code-facts, own-run or crash; "
        "may be repeated.",
        metavar="KIND",
    ),
]


def add_to(app: typer.Typer) -> None:
    """Add this verb to the command line."""
    verbs = typer.Typer(
        no_args_is_help=True,
        help="List, verify or prune the cache: artifacts, runtimes, models, worker code, probes and more.",
    )
    # Named here, since the function cannot have the name of Python's `list`.
    verbs.command("list")(list_)
    verbs.command()(verify)
    verbs.command()(prune)
    app.add_typer(verbs, name="cache")


def list_(kind: KindFlag = None, as_json: JsonFlag = False, cache_dir: CacheFlag = None) -> None:
    """List the content of the cache by kind, the most recently used first."""
    from bench import cache

    root = cache_path(cache_dir)
    entries = cache.entries(root, kind or ())
    if as_json:
        print_json(entries)
    else:
        cache_table(entries, root)


def verify(kind: KindFlag = None, as_json: JsonFlag = False, cache_dir: CacheFlag = None) -> None:
    """Hash all files again and start each runtime's interpreter; damaged entries are listed, and the exit code is 2."""
    from bench import cache

    damaged = cache.verify(cache_path(cache_dir), kind or ())
    if as_json:
        # Before the error is raised: a program that asks for JSON gets it with the exit code 2 too.
        print_json(damaged)
    elif not damaged:
        print("no entry is damaged")  # noqa: T201
    if damaged:
        names = "; ".join(f"{entry.kind} {entry.key}: {', '.join(entry.problems)}" for entry in damaged)
        raise BenchError(f"damaged: {names}", "remove it with: bench cache prune --damaged")


def prune(
    unused_days: Annotated[
        float, typer.Option(min=0, help="Remove entries that were unused for this many days.")
    ] = 30.0,
    damaged: Annotated[bool, typer.Option("--damaged", help="Remove damaged entries instead.")] = False,
    kind: KindFlag = None,
    as_json: JsonFlag = False,
    cache_dir: CacheFlag = None,
) -> None:
    """Remove entries that were not used recently, and leftovers of stopped runs.

    Removed entries are made again when they are needed. The marks of your own runs are not: they stay unless you name
    them with --kind own-run.

    It is safe while another `bench` runs: entries in use are kept.
    """
    from bench import cache

    root = cache_path(cache_dir)
    pruned = cache.prune_damaged(root, kind or ()) if damaged else cache.prune(root, unused_days, kind or ())
    if as_json:
        print_json(pruned)
    else:
        pruned_table(pruned)


def cache_table(entries: Sequence[Entry], root: Path) -> None:
    """Print the entries of a cache, and the size of each kind."""
    table = plain_table("kind", "key", "what", "MiB", "made", "used, days ago")
    for entry in entries:
        what = f"{entry.what} (being made, or left by a stopped run)" if entry.unfinished else entry.what
        days = f"{entry.used_days_ago:.1f}"
        table.add_row(safe(entry.kind), safe(entry.key), safe(what), _mib(entry.size_bytes), safe(entry.created), days)
    out = console()
    if entries:
        out.print(table, "", _totals(entries), "", sep="\n")
    total = sum(entry.size_bytes for entry in entries)
    out.print(f"{_mib(total)} MiB in {safe_path(root)}", soft_wrap=True, highlight=False)


def pruned_table(pruned: Pruned) -> None:
    """Print how much of each kind was removed, and what was kept because a running process uses it."""
    out = console()
    if pruned.removed:
        out.print(_totals(pruned.removed), "", sep="\n")
    out.print(f"removed {_mib(pruned.freed_bytes)} MiB", highlight=False)
    if pruned.spared:
        out.print(f"kept, because a running process uses it: {len(pruned.spared)}", highlight=False)


def _totals(entries: Sequence[Entry]) -> object:
    table = plain_table("kind", "number", "MiB")
    for kind in dict.fromkeys(entry.kind for entry in entries):
        sizes = [entry.size_bytes for entry in entries if entry.kind == kind]
        table.add_row(safe(kind), str(len(sizes)), _mib(sum(sizes)))
    return table


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / 2**20:,.1f}"
