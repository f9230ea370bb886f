"""Takes torch and CUDA from an interpreter that has them: what it lacks, and the runtimes that see its packages."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from msgspec import Struct
from packaging.utils import canonicalize_name

from bench.declare.matrix import Matrix, Runtime, read
from bench.declare.registry import families
from bench.prepare.interpreters import INSPECT, INSTALLED, distribution_name

GIVEN = "given"
"""The name of the runtime that is the user's own interpreter."""
Run = Callable[[list[str], Mapping[str, str]], tuple[int, str]]


class Interpreter(Struct, frozen=True):
    """A Python interpreter, and the names of the packages that it has."""

    path: Path
    packages: frozenset[str]


def inspected(path: Path) -> Interpreter:
    """The interpreter; an error where it does not answer, has no torch, or is of another version than this one."""
    try:
        done = subprocess.run([path, "-I", "-c", INSPECT], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise SystemExit(f"--python {path} does not answer: {error}") from None
    version, packages = json.loads(done.stdout)
    names = frozenset(str(canonicalize_name(name)) for name in packages)
    if "torch" not in names:
        raise SystemExit(f"--python {path} has no torch; without the option it is installed")
    theirs, ours = (text.rsplit(".", 1)[0] for text in (version, platform.python_version()))
    # Compiled packages of one version of Python do not load in another.
    if theirs != ours:
        raise SystemExit(f"--python {path} is Python {theirs}, and this session is {ours}: nox --force-python={theirs}")
    # Not resolved: the link of a virtual environment leads out of it.
    return Interpreter(path.absolute(), names)


def lacking(runtime: Runtime, interpreter: Interpreter) -> list[str]:
    """The requirements of a runtime that an interpreter does not have in any version, and ONNX Runtime itself.

    An interpreter's torch and CUDA belong together, so no other version of them is installed beside. The version of
    ONNX Runtime is what is measured.
    """
    names = {requirement: distribution_name(requirement) for requirement in runtime.requires}
    return [r for r, name in names.items() if name not in interpreter.packages or name.startswith("onnxruntime")]


def runtime_tables(matrix: Path, interpreter: Interpreter) -> str:
    """The tables `[runtimes]` with which the runtimes of a matrix see an interpreter's packages beside their own.

    The runtimes that the matrix has itself stay as they are.
    """
    text = f"\n[runtimes.{GIVEN}]\npython = {json.dumps(str(interpreter.path))}\n"
    own = tomllib.loads(matrix.read_text(encoding="utf-8")).get("runtimes", {})
    for name, runtime in used(read(matrix)).items():
        if name not in own:
            # A list may not be empty, and this is installed in any case.
            requires = lacking(runtime, interpreter) or list(INSTALLED[:1])
            text += (
                f"\n[runtimes.{json.dumps(name)}]\nextends = {json.dumps(GIVEN)}\nrequires = {json.dumps(requires)}\n"
            )
    return text


def used(matrix: Matrix) -> dict[str, Runtime]:
    """The runtimes that the cells of a matrix run or are built in, by name."""
    named = {target.runtime for target in matrix.targets.values()} | {
        families()[model.family].build_runtime for model in matrix.models.values()
    }
    return {name: runtime for name, runtime in matrix.runtimes.items() if name in named}


def missing_wheels(requirements: Sequence[str], interpreter: Interpreter, run: Run) -> tuple[int, list[str]]:
    """What pip would install beside an interpreter's packages, as `name==version`, and pip's exit code."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        pip = [sys.executable, "-m", "pip", "--python", str(interpreter.path), "install", "--dry-run", "--quiet"]
        code, _ = run([*pip, "--report", str(report), *requirements], {})
        if code:
            return code, []
        found = [entry["metadata"] for entry in json.loads(report.read_text(encoding="utf-8"))["install"]]
    return 0, [f"{metadata['name']}=={metadata['version']}" for metadata in found]
