"""Installs requirements into a runtime: with uv where it can do the same as pip, else with pip."""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import psutil
from msgspec import Struct

from bench.declare.requirements import mistake_in
from bench.declare.targets import Runtime
from bench.errors import DiskError, RuntimeSetupError
from bench.prepare import forecast, interpreters
from bench.prepare.threads import Stop
from bench.progress import Progress
from bench.shared import syntax
from bench.shared.hidden import lacks_credentials

PIP_TO_UV = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "no-index": "UV_NO_INDEX",
    "constraint": "UV_CONSTRAINT",
    "cert": "SSL_CERT_FILE",
    "trusted-host": "UV_INSECURE_HOST",
    "proxy": "ALL_PROXY",
}
"""Settings of pip that decide what is installed, and the variable of uv that says the same."""
HARMLESS = {
    "break-system-packages",
    "cache-dir",
    "default-timeout",
    "disable-pip-version-check",
    "no-cache-dir",
    "no-color",
    "no-input",
    "no-warn-script-location",
    "progress-bar",
    "quiet",
    "require-virtualenv",
    "retries",
    "root-user-action",
    "timeout",
    "user",
    "verbose",
}
"""Settings of pip that decide nothing for a runtime. Where there are others, pip itself installs."""
SCOPES = (":env:", "install", "global", "site", "user")
"""Where pip finds a setting; the first that has one counts."""
TESTS = r"[/\\](.*[/\\])?tests?[/\\]"


class Installer(Struct, frozen=True):
    """One way to install: the command, and the variables that it needs beside those of this process."""

    name: str
    command: tuple[str, ...]
    environment: dict[str, str] = {}


def install(runtime: Runtime, executable: Path, progress: Progress, stop: Stop, pins: tuple[str, ...] = ()) -> None:
    """Install the requirements, and `pins`, with the first installer that can, and compile what is installed."""
    # The installers run outside of the environment, which so needs no pip: that is smaller and quicker.
    *others, last = ways(
        executable, (*runtime.requires, *interpreters.INSTALLED, *pins), extends=runtime.base is not None
    )
    for installer in others:
        try:
            run([*installer.command], runtime, progress, stop, installer.environment)
            break
        except RuntimeSetupError as error:
            progress.step(f"{installer.name}: {error.message}; {last.name} tries it")
    else:
        run([*last.command], runtime, progress, stop, last.environment)
    packages = Path(interpreters.site(runtime, executable)[1])
    progress.work(runtime.name, f"runtime {runtime.name}: compiling its packages")
    # Some packages hold files for other versions of Python, which cannot be compiled.
    with contextlib.suppress(RuntimeSetupError):
        run(compile_command(executable, packages), runtime, progress, stop)


def run(
    command: list[str],
    runtime: Runtime,
    progress: Progress,
    stop: Stop | None = None,
    variables: Mapping[str, str] | None = None,
) -> None:
    """Run an installer and show its output as progress. Raises `RuntimeSetupError` with its last error."""
    stop = stop or Stop()
    stop.check()
    # pip's errors are in its last lines.
    tail: deque[str] = deque(maxlen=60)
    # One pipe for both streams: a second one that nobody reads could fill up and stop pip.
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**os.environ, **(variables or {})},
    )
    with process, stop.ends(lambda: _kill(process.pid)):
        assert process.stdout is not None
        for line in process.stdout:
            tail.append(line.rstrip())
            progress.work(runtime.name, f"runtime {runtime.name}: {line.strip()}")
    if process.returncode:
        stop.check()
        raise _install_error(runtime, list(tail))


def _kill(pid: int) -> None:
    """Kill an installer and what it started, such as a compiler."""
    with contextlib.suppress(psutil.Error):
        parent = psutil.Process(pid)
        # Children first: after the parent's death they could not be found by it.
        for child in [*parent.children(recursive=True), parent]:
            with contextlib.suppress(psutil.Error):
                child.kill()


def _install_error(runtime: Runtime, lines: list[str]) -> RuntimeSetupError | DiskError:
    # `ERROR: …` of pip, `error: …` of uv.
    errors = [line.partition(": ")[2] for line in lines if line.startswith(("ERROR: ", "error: "))]
    # venv and a pip that cannot start have no line `ERROR:`; their last line is the cause.
    errors = errors or [line for line in lines if line]
    message = errors[-1] if errors else "the installer said nothing"
    if any("No space left" in line for line in lines):
        megabytes = forecast.disk_mb(runtime.requires)
        hint = f"free some space, or name another --cache-dir: it needs about {megabytes:,.0f} MB there"
        return DiskError(f"runtime '{runtime.name}' could not be installed: the disk is full", hint)
    hint = f"check [runtimes.{runtime.name}] requires, and that the package index can be reached"
    return RuntimeSetupError(f"runtime '{runtime.name}' could not be installed: {message}", hint)


def ways(executable: Path, requirements: Sequence[str], *, extends: bool) -> list[Installer]:
    """The ways to install requirements for an interpreter, in the order in which they are tried.

    `extends` says that the interpreter sees the packages of another runtime. Raises `RuntimeSetupError` for a text
    that pip would read as something else than a requirement.
    """
    for requirement in requirements:
        if mistake := mistake_in(requirement):
            raise RuntimeSetupError(f"{requirement!r} {mistake}, so it is not installed", "write NAME==VERSION")
        if lacks_credentials(requirement):
            message = f"{requirement!r} lacks its password, which is stored in no run"
            raise RuntimeSetupError(message, "keep the matrix of the run where it was")
    # --no-input: nobody can answer a question of pip here. --no-compile: `compile_command` uses all cores.
    pip = [sys.executable, "-m", "pip", "--python", str(executable), "install", "--no-input", "--progress-bar=off"]
    last = Installer("pip", (*pip, "--disable-pip-version-check", "--no-compile", *requirements))
    uv = _uv()
    # uv does not see packages behind a .pth file, and would install torch a second time.
    settings = None if uv is None or extends else uv_settings(pip_settings())
    if uv is None or settings is None:
        return [last]
    # pip looks at every index and takes the best version; a uv.toml of the current folder has nothing to say here.
    command = (uv, "pip", "install", "--no-config", "--index-strategy=unsafe-best-match", "--python", str(executable))
    return [Installer("uv", (*command, *requirements), settings), last]


def compile_command(executable: Path, packages: Path) -> list[str]:
    """Compile a runtime's packages with all cores: workers write no bytecode, and importing torch would take longer."""
    # The tests of packages are a tenth of their code, and nothing imports them.
    # The pattern is searched in the whole path, and a folder above the packages may have that name too.
    without = re.escape(str(packages)) + TESTS
    return [str(executable), "-I", "-m", "compileall", "-q", "-j", "0", "-x", without, str(packages)]


def _uv() -> str | None:
    """The program uv: as a package beside this one, else on the path."""
    if importlib.util.find_spec("uv") is not None:
        beside = Path(sys.executable).with_name("uv.exe" if sys.platform == "win32" else "uv")
        if beside.exists():
            return str(beside)
    return shutil.which("uv")


@cache
def pip_settings() -> dict[str, str]:
    """The settings of pip in its files and variables, by name. Empty where pip does not tell them."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    return parse_settings(done.stdout)


def parse_settings(text: str) -> dict[str, str]:
    """The settings in lines such as `global.index-url='https://…'`; a variable counts more than a file."""
    found: dict[str, dict[str, str]] = {}
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        scope, _, key = name.strip().rpartition(".")
        if equals and scope in SCOPES:
            found.setdefault(key, {})[scope] = str(ast.literal_eval(syntax.expression(value)))
    return {key: next(by_scope[scope] for scope in SCOPES if scope in by_scope) for key, by_scope in found.items()}


def uv_settings(settings: Mapping[str, str]) -> dict[str, str] | None:
    """The same settings as variables of uv; None where pip has one that uv does not know."""
    if not set(settings) <= {*PIP_TO_UV, *HARMLESS}:
        return None
    # A variable of uv that the user has set counts.
    told = {PIP_TO_UV[key]: value for key, value in settings.items() if key in PIP_TO_UV}
    variables = {name: " ".join(value.split()) for name, value in told.items() if name not in os.environ}
    if "UV_FIND_LINKS" in variables:
        variables["UV_FIND_LINKS"] = variables["UV_FIND_LINKS"].replace(" ", ",")
    return variables
