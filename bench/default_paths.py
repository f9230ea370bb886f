"""Gives the default paths of the matrix and the cache, for the command line and for Python."""

from __future__ import annotations

from pathlib import Path

MATRIX = "matrix.toml"
BUILT_IN = Path(__file__).parent / "declare" / "default_matrix.toml"
"""Only an installed package has it: in a checkout, the matrix lies at the root."""
CACHE_VARIABLE = "BENCH_CACHE_DIR"
CRASHES = "crashes"
"""The folder of the cache for reports of faults that belong to no run."""


def matrix_path(named: Path | None = None) -> Path:
    """The matrix file that is named, the one in the current folder, or the one that comes with the package."""
    if named:
        return named.expanduser()
    if Path(MATRIX).exists():
        return Path(MATRIX)
    return BUILT_IN if BUILT_IN.exists() else Path(MATRIX)


def cache_path(named: Path | None = None) -> Path:
    """The cache folder that is named, or the platform's."""
    if named:
        return named.expanduser().absolute()
    from platformdirs import user_cache_path

    return user_cache_path("touchstone-bench", appauthor=False)
