"""Print the interpreters of runtimes of the default matrix or the catalogue; those that are missing are installed."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from rich.console import Console

from bench.cli.options import cache_path
from bench.declare import catalogue
from bench.declare.matrix import read
from bench.declare.targets import known_runtimes
from bench.prepare import environments
from bench.progress import Lines

if __name__ == "__main__":
    matrix = read(Path(__file__).parent.parent / "matrix.toml")
    named = os.environ.get("BENCH_CACHE_DIR")
    cache = cache_path(Path(named) if named else None)
    for name in sys.argv[1:]:
        wanted = matrix.runtimes.get(name) or known_runtimes().get(name) or catalogue.runtime(name)
        print(environments.ensure(wanted, cache, Lines(Console(stderr=True))).executable, flush=True)
