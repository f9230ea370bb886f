"""Imports only point down: every import of every file of the package is held against the floor it stands on."""

from __future__ import annotations

import ast
import graphlib
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
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if "__pycache__" not in path.parts)
GROUND = {"commands", "errors", "files", "foreign_text", "privacy", "progress", "reading", "records", "shared"}
BELOW_MEASURING = GROUND | {"declare", "machine", "prepare", "store", "worker_ends", "worker_process"}
CORE = BELOW_MEASURING | {"judge", "measure", "report", "run_steps"}
FEATURES = {"comparison", "conformance", "doctor", "gating"}
"""What the core knows nothing of. A feature knows the core, and no other feature."""
ROOMS = {
    # A folder or file of the package, and what of the package it may import beside itself.
    "records": set(),
    "foreign_text": {"shared"},
    "errors": {"foreign_text"},
    "commands": set(),
    "progress": {"foreign_text"},
    "files": {"errors"},
    "reading": {"errors"},
    "privacy": {"errors", "files", "foreign_text", "records", "shared"},
    "declare": {"records", "errors", "files", "reading", "shared"},
    "shared": set(),
    "machine": {"records", "files", "errors", "shared"},
    "judge": {"records", "shared"},
    "worker_logs": {"privacy"},
    "worker_ends": {"records", "shared"},
    "worker_process": {"records", "errors", "privacy", "reading", "shared", "worker_ends", "worker_logs"},
    "store": {"records", "errors", "files", "privacy", "reading"},
    "prepare": BELOW_MEASURING - {"store"},
    "measure": BELOW_MEASURING - {"store"},
    "report": {"records", "errors", "files", "foreign_text", "shared", "judge", "declare", "store", "commands"},
    "run_steps": BELOW_MEASURING,
    "pipeline": CORE,
    "schemas": CORE,
    "cache": CORE | {"default_paths"},
    "default_paths": set(),
    "api": CORE | FEATURES | {"default_paths", "pipeline"},
    "worker": {"records", "shared"},
    **dict.fromkeys(sorted(FEATURES), CORE),
    "cli": CORE | FEATURES | {"cache", "default_paths", "pipeline"},
    "__main__": {"cli"},
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


KNOWN = {name_of(path) for path in MODULES}


def modules(tree: ast.AST) -> set[str]:
    """The modules of the package that a file imports: `from bench.judge import speed` is `bench.judge.speed` alone."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            inside = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= inside & KNOWN or {node.module or ""}
            found |= {node.module or ""} if inside - KNOWN else set()
    return {name for name in found if within(name, "bench")}


def modules_of(path: Path) -> set[str]:
    return modules(ast.parse(path.read_text(encoding="utf-8")))


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


def strays(names: set[str], room: str) -> set[str]:
    """Modules of the package that a room may not import; the package itself holds the version alone."""
    ours = {name for name in names if within(name, "bench")} - {"bench", "bench.__version__"}
    return {name for name in ours if not any(within(name, f"bench.{other}") for other in ROOMS[room] | {room})}


def test_every_room_of_the_package_is_known():
    rooms = {name_of(path).split(".")[1] for path in MODULES if name_of(path) != "bench"}
    assert rooms - set(ROOMS) == set(), "say in ROOMS what the new room may import"
    assert set(ROOMS) - rooms == set(), "take out of ROOMS what the package has no more"


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_what_it_may_know(room):
    found = {name_of(path): strays(modules_of(path), room) for path in on_floor(room)}
    assert {name: names for name, names in found.items() if names} == {}


def test_the_package_itself_imports_nothing_of_it_when_it_is_loaded():
    """The worker's interpreter loads `bench`, and has few libraries: late imports and those for types are allowed."""
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    at_once = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert not {name for node in at_once for name in imports(node) if within(name, "bench")}


# --- circles ----------------------------------------------------------------------------------------------------------


def circle(graph: dict[str, set[str]]) -> list[str]:
    """One circle of modules that import each other, the first once more at its end; nothing where there is none."""
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


def test_no_modules_import_each_other_in_a_circle():
    """Late imports and those for types count: whoever reads a module must read what it names."""
    graph = {name_of(path): modules_of(path) - {name_of(path)} for path in MODULES}
    del graph["bench"]  # it offers the public interface, and every module asks it for the version
    assert circle({name: names - {"bench"} for name, names in graph.items()}) == []


def test_a_circle_is_seen_though_one_import_is_for_types_alone():
    tree = ast.parse("if TYPE_CHECKING:\n    from bench.judge.outcome import judge")
    outcome = modules(tree)
    assert outcome == {"bench.judge.outcome"}
    assert set(circle({"bench.judge.outcome": {"bench.judge.speed"}, "bench.judge.speed": outcome})) == {
        "bench.judge.outcome",
        "bench.judge.speed",
    }


# --- what each room may know ------------------------------------------------------------------------------------------


def test_the_records_need_nothing_but_msgspec():
    found = {name.split(".")[0] for path in on_floor("records") for name in imports_of(path)}
    assert found - set(sys.stdlib_module_names) == {"bench", "msgspec"}


def test_what_the_worker_shares_needs_the_standard_library_alone():
    found = {name.split(".")[0] for path in on_floor("shared") for name in imports_of(path)}
    assert found - set(sys.stdlib_module_names) <= {"bench"}


def test_nothing_imports_the_command_line_but_the_entry_point():
    users = {name_of(path) for path in MODULES if any(within(name, "bench.cli.app") for name in imports_of(path))}
    assert users <= {"bench.__main__"}


def test_only_one_file_above_the_worker_parses_python_since_two_threads_must_not_at_once():
    above = [path for path in MODULES if not within(name_of(path), "bench.worker")]
    parsing = {name_of(path) for path in above if "ast.parse" in path.read_text(encoding="utf-8")}
    # The schemas are written by a command of the developers, in one thread.
    assert parsing == {"bench.shared.syntax", "bench.schemas.records"}


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


def test_the_version_is_printed_without_loading_the_command_line():
    script = "from bench.cli.app import main\ntry: main(['--version'])\nexcept SystemExit: pass"
    assert not loaded_by(script) & {"typer", "rich", "msgspec", "tomllib", "inspect"}


def test_help_loads_no_reader_of_markdown_or_code():
    script = "from bench.cli.app import main\ntry: main(['--help'])\nexcept SystemExit: pass"
    assert not loaded_by(script) & {"markdown_it", "pygments", "numpy", "psutil"}
