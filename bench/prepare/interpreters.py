"""What an interpreter says of itself: its version, its packages and their folder; what a worker needs of them."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from bench.declare.targets import Runtime
from bench.errors import RuntimeSetupError
from bench.prepare import worker_environment
from bench.prepare.interpreter_answer import NoAnswerError, ask
from bench.records import RuntimeRecord
from bench.shared.hidden import without_credentials

WORKER_NEEDS = ("msgspec>=0.19", "numpy>=1.26", "psutil>=6.1")
"""What every worker imports besides the runtime's own packages."""
OPERATOR_NEEDS = ("ml_dtypes>=0.5.1",)
"""What the operator tests import as well; the user's own interpreter may lack it, and then cannot run them."""
INSTALLED = (*WORKER_NEEDS, *OPERATOR_NEEDS)
OLDEST_PYTHON = Version("3.11")
ANSWER_S = 120.0
"""How long an interpreter may take to start and to list its packages."""
INSPECT = """
import importlib.metadata as m, json, platform
names = {}
for d in m.distributions():  # the first of a name is the one that is imported
    names.setdefault(d.metadata["Name"], d.version)
names.pop(None, None)
packages = dict(sorted(names.items(), key=lambda item: item[0].lower()))
print(json.dumps([platform.python_version(), packages]))
"""
SITE = """
import json, sysconfig
print(json.dumps([sysconfig.get_python_version(), sysconfig.get_path("purelib")]))
"""
SHARED = """
import json, os, sys, sysconfig
library = os.path.dirname(os.__file__)  # an environment's is that of the Python that it was made with
folders = [f for f in sys.path if os.path.isdir(f) and f not in (library, os.path.join(library, "lib-dynload"))]
print(json.dumps([sysconfig.get_python_version(), folders]))
"""


def program_of(runtime: Runtime) -> Path:
    """The user's own interpreter that a runtime names. Raises `RuntimeSetupError` where there is none."""
    assert runtime.python is not None
    executable = shutil.which(Path(runtime.python).expanduser())
    if executable is None:
        hint = f"check [runtimes.{runtime.name}] python"
        raise RuntimeSetupError(f"runtime '{runtime.name}': there is no interpreter {runtime.python}", hint)
    return Path(executable)


def check_needs(runtime: Runtime, record: RuntimeRecord, needs: tuple[str, ...]) -> None:
    """Raise `RuntimeSetupError` where the user's own interpreter is too old, or lacks one of `needs`."""
    if Version(record.python) < OLDEST_PYTHON:
        message = f"runtime '{runtime.name}': {runtime.python} is Python {record.python}"
        raise RuntimeSetupError(message, "the worker needs 3.11 or newer")
    if missing := _missing(record.packages, needs):
        message = f"runtime '{runtime.name}': {runtime.python} lacks {', '.join(missing)}, which the worker needs"
        raise RuntimeSetupError(message, f"run: {runtime.python} -m pip install {shlex.join(missing)}")


def record_of(runtime: Runtime, executable: Path, key: str) -> RuntimeRecord:
    """What an interpreter says of itself and its packages, as the record of a runtime. Raises `RuntimeSetupError`."""
    python, packages = _answer(runtime, executable, INSPECT)
    return RuntimeRecord(
        name=runtime.name,
        requires=_requirements(runtime),
        python=python,
        packages=packages,
        key=key,
        existing=runtime.python is not None,
        extends=runtime.extends,
    )


def site(runtime: Runtime, executable: Path) -> tuple[str, str]:
    """The Python version of an interpreter, `3.11`, and the folder of its packages."""
    python, folder = _answer(runtime, executable, SITE)
    return str(python), str(folder)


def shared_folders(runtime: Runtime, executable: Path) -> tuple[str, list[str]]:
    """The Python version of an interpreter, and all folders from which it imports packages, the first first."""
    python, folders = _answer(runtime, executable, SHARED)
    return str(python), [str(folder) for folder in folders]


def _missing(packages: Mapping[str, str], needs: tuple[str, ...]) -> list[str]:
    """The requirements that an interpreter lacks, or has in a version that is too old."""
    versions = {canonicalize_name(name): version for name, version in packages.items()}
    required = map(Requirement, needs)
    return [
        str(need) for need in required if not need.specifier.contains(versions.get(canonicalize_name(need.name), "0"))
    ]


def _requirements(runtime: Runtime) -> tuple[str, ...]:
    """The requirements of a runtime, and those of its base for packages that it does not name itself."""
    if runtime.base is None:
        return _shown(runtime.requires)
    own = {distribution_name(requirement) for requirement in runtime.requires}
    return _shown(
        (*runtime.requires, *(other for other in runtime.base.requires if distribution_name(other) not in own))
    )


def _shown(requirements: Iterable[str]) -> tuple[str, ...]:
    """As they are recorded: without passwords."""
    return tuple(map(without_credentials, requirements))


def distribution_name(requirement: str) -> str:
    """The name of the package that a requirement installs; the requirement itself where it is a path."""
    try:
        return canonicalize_name(Requirement(requirement).name)
    except InvalidRequirement:
        return requirement


def _answer(runtime: Runtime, executable: Path, code: str) -> tuple[Any, Any]:
    """The two values that an interpreter prints as JSON. Raises `RuntimeSetupError`."""
    # -I: what PYTHONPATH and the user's site hold does not count, since a worker does not see it.
    command = [str(executable), "-I", "-c", code]
    try:
        # Packages run code when an interpreter starts, so it gets no more than a worker does.
        done = ask(command, worker_environment.of_user(), ANSWER_S)
    except NoAnswerError as error:
        raise _no_answer(runtime, executable, str(error)) from None
    except OSError as error:
        raise _no_answer(runtime, executable, error.strerror or str(error)) from None
    if done.code:
        words = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.code}"]
        raise _no_answer(runtime, executable, words[0])
    try:
        # The last line: some interpreters print a banner when they start.
        first, second = json.loads(done.stdout.strip().splitlines()[-1])
    except (ValueError, TypeError, KeyError, IndexError, RecursionError):
        raise _no_answer(runtime, executable, "what it printed came from no Python") from None
    return first, second


def _no_answer(runtime: Runtime, executable: Path, why: str) -> RuntimeSetupError:
    message = f"runtime '{runtime.name}': {executable.name} does not answer as a Python interpreter: {why}"
    return RuntimeSetupError(message, f"check [runtimes.{runtime.name}]")
