"""Touchstone: a benchmark and compatibility matrix for ONNX Runtime.

The public interface is `load_matrix`, `plan`, `run`, `read_run`, `to_frame`, `compare` and `gate`, with the result
`RunResult` and the error `BenchError`; `bench.api` documents each, and `__init__.pyi` declares them to type checkers.
"""

import importlib

__version__ = "0.1.0"
__all__ = [
    "BenchError",
    "RunResult",
    "__version__",
    "compare",
    "gate",
    "load_matrix",
    "plan",
    "read_run",
    "run",
    "to_frame",
]


def __getattr__(name: str) -> object:
    # Loaded when it is first used: a worker imports this package in an interpreter that holds little else.
    if name not in __all__:
        raise AttributeError(f"module 'bench' has no attribute '{name}'")
    return getattr(importlib.import_module("bench.api"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
