"""Print the interpreter of a runtime of the default matrix or the catalogue, made now if it is not there."""

from __future__ import annotations

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
    import os

    name = sys.argv[1]
    matrix = read(Path(__file__).parent.parent / "matrix.toml")
    wanted = matrix.runtimes.get(name) or known_runtimes().get(name) or catalogue.runtime(name)
    named = os.environ.get("BENCH_CACHE_DIR")
    cache = cache_path(Path(named) if named else None)
    ready = environments.ensure(wanted, cache, Lines(Console(stderr=True)))
    print(ready.executable)
