"""Imports only point down: every import of every file of the package is held against the floor it stands on."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "bench"
HEAVY = {
    "torch",
    "torchvision",
    "onnx",
    "onnxruntime",
    "onnxruntime_genai",
    "transformers",
    "optimum",
    "PIL",
    "safetensors",
    "gguf",
    "llama_cpp",
    "httpx",
}
WORKERS_OWN = {"bench", "bench.records", "bench.worker"}
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if "__pycache__" not in path.parts)
ALLOWED = {
    # Floor: what it may import of the package; its own files go without saying.
    "records": set(),
    "errors": set(),
    "files": {"errors"},
    "declare": {"records", "errors"},
    "shared": set(),
    "judge": {"records", "shared"},
    "store": {"records", "errors", "files"},
    "report": {"records", "errors", "files", "judge", "store", "declare"},
    "progress": set(),
}


def name_of(path: Path) -> str:
    """`bench.declare.matrix` of its file."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(tree: ast.AST) -> Iterator[str]:
    """Every module that is imported anywhere in a file, late imports and those for types included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide where they point"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imports_of(path: Path) -> set[str]:
    return set(imports(ast.parse(path.read_text(encoding="utf-8"))))


def within(name: str, floor: str) -> bool:
    return name == floor or name.startswith(f"{floor}.")


def on_floor(floor: str) -> list[Path]:
    """The files of a folder of the package, or its one file."""
    return [path for path in MODULES if within(name_of(path), f"bench.{floor}")]


def upper(paths: list[Path]) -> list[Path]:
    """Without the worker's files."""
    return [path for path in paths if not within(name_of(path), "bench.worker")]


# --- the floors -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", upper(MODULES), ids=name_of)
def test_nothing_above_the_worker_imports_it_or_a_heavy_library(path):
    found = imports_of(path)
    assert not {name for name in found if within(name, "bench.worker")}
    assert not {name for name in found if name.split(".")[0] in HEAVY}


@pytest.mark.parametrize("path", on_floor("worker"), ids=name_of)
def test_the_worker_imports_of_the_package_only_the_records_and_itself(path):
    ours = {name for name in imports_of(path) if within(name, "bench")}
    staged = ("bench.records", "bench.shared", "bench.worker")
    assert not {name for name in ours if name != "bench" and not any(within(name, floor) for floor in staged)}


@pytest.mark.parametrize("floor", ALLOWED)
def test_a_floor_imports_of_the_package_only_the_floors_below_it(floor):
    paths = on_floor(floor)
    assert paths, f"bench has no {floor}"
    allowed = {f"bench.{name}" for name in ALLOWED[floor] | {floor}}
    for path in paths:
        ours = {
            name for name in imports_of(path) if within(name, "bench") and name not in ("bench", "bench.__version__")
        }
        strays = {name for name in ours if not any(within(name, floor) or within(floor, name) for floor in allowed)}
        assert not strays, name_of(path)


def test_the_records_need_nothing_but_msgspec():
    found = {name.split(".")[0] for path in on_floor("records") for name in imports_of(path)}
    assert found - set(sys.stdlib_module_names) == {"bench", "msgspec"}


def test_what_the_worker_shares_needs_the_standard_library_alone():
    found = {name.split(".")[0] for path in on_floor("shared") for name in imports_of(path)}
    assert found - set(sys.stdlib_module_names) <= {"bench"}


def test_the_report_is_made_without_measuring_or_preparing():
    found = {name for path in on_floor("report") for name in imports_of(path)}
    assert not {name for name in found if within(name, "bench.measure") or within(name, "bench.prepare")}


def test_preparing_does_not_know_of_judging_or_reporting():
    found = {name for path in on_floor("prepare") for name in imports_of(path)}
    assert not {
        name for name in found if any(within(name, f"bench.{floor}") for floor in ("judge", "report", "pipeline"))
    }


def test_nothing_imports_the_command_line_but_the_entry_point():
    users = {name_of(path) for path in MODULES if any(within(name, "bench.cli.app") for name in imports_of(path))}
    assert users <= {"bench.__main__"}


# --- exits ------------------------------------------------------------------------------------------------------------

EXITS = {"sys.exit", "os._exit", "typer.Exit", "typer.Abort", "SystemExit", "exit", "quit", "raise_exit"}
MAY_EXIT = {"bench.cli.app", "bench.__main__", "bench.worker.__main__", "bench.worker.channel"}
"""The worker's channel ends an orphan, which no exception could."""


def exits(tree: ast.AST) -> set[str]:
    """The ways out of the process that a file names."""
    dotted = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute | ast.Name)}
    return dotted & EXITS


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_only_the_command_line_exits(path):
    if name_of(path) not in MAY_EXIT:
        assert not exits(ast.parse(path.read_text(encoding="utf-8")))


# --- what holds the floors holds --------------------------------------------------------------------------------------


def test_a_late_import_and_one_for_types_are_seen():
    tree = ast.parse("def f():\n    import torch.nn\nif TYPE_CHECKING:\n    from bench.worker import timing")
    assert set(imports(tree)) == {"torch.nn", "bench.worker", "bench.worker.timing"}


def test_an_exit_is_seen():
    assert exits(ast.parse("import sys\nsys.exit(3)")) == {"sys.exit"}
    assert exits(ast.parse("raise SystemExit")) == {"SystemExit"}


def test_the_files_of_the_package_are_found():
    names = {name_of(path) for path in MODULES}
    assert {"bench.cli.app", "bench.records", "bench.worker.__main__", "bench.declare.matrix"} <= names


# --- what is loaded when ----------------------------------------------------------------------------------------------


def loaded_by(script: str) -> set[str]:
    """The top packages that a fresh interpreter holds after a script."""
    script += "\nimport sys; print('LOADED', *{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split()[1:])


def test_the_whole_orchestrator_loads_no_heavy_library():
    names = [name_of(path) for path in upper(MODULES) if path.name != "__main__.py"]
    assert not loaded_by(f"import {', '.join(names)}") & HEAVY


def test_planning_loads_nothing_that_it_does_not_need():
    root = PACKAGE.parent
    script = (
        f"import os; os.chdir({str(root)!r})\nfrom bench.cli.app import main\n"
        "try: main(['plan'])\nexcept SystemExit: pass"
    )
    late = {"numpy", "scipy", "pandas", "jinja2", "altair", "psutil", "huggingface_hub", "filelock", "cpuinfo"}
    late |= {"packaging", "installer"}
    assert not loaded_by(script) & late
