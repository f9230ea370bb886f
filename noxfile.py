"""The front door: `nox -s bench`, `nox -s tests`; thin sessions that call the `bench` command."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import nox

nox.options.reuse_existing_virtualenvs = True
nox.options.default_venv_backend = "virtualenv"
nox.options.sessions = ["bench"]
HERE = Path(__file__).parent
PROVIDERS = {
    "webgpu-software": "test_webgpu.py",
    "qnn-emulator": "test_qnn.py",
    "openvino-cpu": "test_openvino.py",
}
"""The rows of the catalogue that need no hardware, and the tests that run in their runtimes."""


def install(session: nox.Session, *extras: str) -> None:
    """Install the project into the session's environment, once for each state of pyproject.toml."""
    wanted = hashlib.sha256((HERE / "pyproject.toml").read_bytes() + repr(extras).encode()).hexdigest()
    stamp = Path(session.virtualenv.location) / "installed-for"
    if stamp.exists() and stamp.read_text(encoding="ascii") == wanted:
        return
    what = f".[{','.join(extras)}]" if extras else "."
    session.install("--upgrade", "pip")
    session.install("-e", what)
    stamp.write_text(wanted, encoding="ascii")


@nox.session
def bench(session: nox.Session) -> None:
    """Measure the default matrix; what follows `--` goes to `bench run`."""
    install(session)
    # After Ctrl-C the report of what was measured is still written: nox must wait for that.
    session.run("bench", "run", *session.posargs, interrupt_timeout=120, terminate_timeout=10)


@nox.session
def doctor(session: nox.Session) -> None:
    """What this machine is, and every target tried on it."""
    install(session)
    session.run("bench", "doctor", "--install", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """All tests: in this environment, and the worker's in the interpreter of its own runtime."""
    install(session, "test")
    session.run("pytest", *(session.posargs or ["tests/unit", "tests/browser", "tests/end_to_end"]))
    if not session.posargs:
        in_runtime(session, "build", "-m", "pytest", "tests/worker", "-p", "no:cacheprovider")
        for row, test in PROVIDERS.items():
            in_runtime(session, row, "-m", "pytest", f"tests/providers/{test}", "-p", "no:cacheprovider")


@nox.session
def lint(session: nox.Session) -> None:
    """Ruff and mypy, strict."""
    install(session, "test")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")


@nox.session
def overhead(session: nox.Session) -> None:
    """What the harness adds to a bare `session.run` loop, as a ratio in one process."""
    install(session)
    arguments = ("-m", "pytest", "tests/benchmarks/overhead.py", "-s", "-p", "no:cacheprovider")
    in_runtime(session, "ort", *arguments, *session.posargs)


def in_runtime(session: nox.Session, runtime: str, *arguments: str) -> None:
    """Run the interpreter of a runtime of the matrix, with the test tools beside it and nothing of them in it."""
    python = session.run("python", "tests/runtime_python.py", runtime, silent=True)
    assert isinstance(python, str)
    executable = python.strip().splitlines()[-1]
    tools = Path(session.virtualenv.location) / "worker-test-tools"
    if not tools.exists():
        session.install("--target", str(tools), "pytest>=8.3", "pytest-timeout>=2.3", "pytest-benchmark>=5.1")
    paths = {"PYTHONPATH": os.pathsep.join((str(HERE), str(tools)))}
    session.run(executable, *arguments, env=paths, external=True)
