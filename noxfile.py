"""The front door: `nox -s bench`, `nox -s tests`; thin sessions that call the `bench` command."""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import nox

nox.options.reuse_existing_virtualenvs = True
nox.options.default_venv_backend = "virtualenv"
nox.options.sessions = ["bench"]
HERE = Path(__file__).parent
IN_RUNTIMES = {
    "build": ("tests/worker", "tests/generation"),
    # Its references are PyTorch's with another transformers: both must agree.
    "optimum": (
        "tests/optimum",
        "tests/worker/test_text_generator.py",
        "tests/worker/test_speech_recognizer.py",
    ),
    "webgpu-software": ("tests/providers/test_webgpu.py",),
    "qnn-emulator": ("tests/providers/test_qnn.py",),
    "openvino-cpu": ("tests/providers/test_openvino.py",),
    "llama-cpp": ("tests/llama_cpp",),
}
"""The tests of what only a worker imports, by the runtime that they run in; none of them needs an accelerator."""
TEST_TOOLS = ("pytest>=8.3", "pytest-timeout>=2.3", "pytest-benchmark>=5.1", "pytest-xdist>=3.6")
SERVER = (
    "gguf==0.19.0",
    "httpx>=0.28",
    "fastapi>=0.100",
    "uvicorn>=0.22",
    "sse-starlette>=1.6",
    "starlette-context>=0.3.6",
    "pydantic-settings>=2.0",
)
"""What the tests need beside llama-cpp-python: its extra `server` by parts, since by name pip may compile it again."""
ATHERIS = "atheris==3.0.0"
"""Apache-2.0; a tool of the fuzzing session alone."""
DOCS = ("mkdocs==1.6.1", "mkdocs-material==9.8.2", "mkdocstrings[python]==1.0.8", "ruff>=0.8")
"""What builds the documentation; mkdocstrings reads the source and formats signatures with ruff."""
UNIT = ("tests/unit", "tests/faults", "tests/fuzz", "tests/calibration", "tests/browser")
END_TO_END = ("tests/end_to_end",)
LANES = (("build", "optimum", "ort", "webgpu-software", "qnn-emulator", "openvino-cpu"), ("llama-cpp",))
"""What is installed in the background, in this order: downloads, and beside them the compilation of llama.cpp."""


def install(session: nox.Session, *extras: str, env: Mapping[str, str] | None = None) -> None:
    """Install the project into the session's environment, once for each state of pyproject.toml."""
    wanted = hashlib.sha256((HERE / "pyproject.toml").read_bytes() + repr(extras).encode()).hexdigest()
    stamp = Path(session.virtualenv.location) / "installed-for"
    if stamp.exists() and stamp.read_text(encoding="ascii") == wanted:
        return
    what = f".[{','.join(extras)}]" if extras else "."
    session.install("--upgrade", "pip", env=env)
    session.install("-e", what, env=env)
    stamp.write_text(wanted, encoding="ascii")


@contextlib.contextmanager
def exit_codes_of_bench(*, installing: bool = False) -> Iterator[None]:
    """End nox with the exit code of `bench`: nox itself knows but success and 1, which is a gate's regression."""
    try:
        yield
    except nox.command.CommandFailed as failed:
        words = str(failed.reason or "").rpartition(" ")
        code = int(words[2]) if words[0] == "Returned code" else None
        # What was not started, such as an installation that fails, must be corrected by the user.
        raise SystemExit(2 if code is None or installing else code if code >= 0 else 128 - code) from None


@nox.session
def bench(session: nox.Session) -> None:
    """Measure the default matrix; what follows `--` goes to `bench run`."""
    with exit_codes_of_bench(installing=True):
        install(session, "uv")
    with exit_codes_of_bench():
        # After Ctrl-C the report of what was measured is still written: nox must wait for that.
        session.run("bench", "run", *session.posargs, interrupt_timeout=120, terminate_timeout=10)


@nox.session
def gate(session: nox.Session) -> None:
    """Judge the default matrix against a recorded run: `nox -s gate -- --baseline RUN`; the exit code is the answer."""
    with exit_codes_of_bench(installing=True):
        install(session)
    with exit_codes_of_bench():
        session.run("bench", "gate", *session.posargs, interrupt_timeout=120, terminate_timeout=10)


@nox.session
def gpu(session: nox.Session) -> None:
    """CUDA and PyTorch rows on an NVIDIA GPU, with evidence; `-- --wheels FOLDER` needs no network (docs/gpu.md)."""
    wheels = offline_wheels(session)
    # uv is not needed: where nothing is downloaded, pip is about as quick.
    install(session, env=wheels)
    session.run("python", "-m", "tests.gpu", *session.posargs, env=wheels, interrupt_timeout=120, terminate_timeout=10)


def offline_wheels(session: nox.Session) -> dict[str, str]:
    """The variables with which pip takes packages only from the folder after `--wheels`; none without that option."""
    if "--wheels" not in session.posargs:
        return {}
    folder = next(iter(session.posargs[session.posargs.index("--wheels") + 1 :]), "")
    if not any(Path(folder).glob("*.whl")) or not folder:
        session.error(
            f"--wheels {folder or 'FOLDER'}: there is no wheel in it; `nox -s gpu -- --download FOLDER` fills it"
        )
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(Path(folder).absolute())}


@nox.session
def doctor(session: nox.Session) -> None:
    """What this machine is, and every target tried on it."""
    install(session)
    session.run("bench", "doctor", "--install", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Everything that CI runs: lint and unit tests while the runtimes are installed, then the tests that need them."""
    install(session, "test")
    if session.posargs:
        session.run("pytest", *session.posargs)
        return
    with runtimes_in_background(session):
        run_lint(session)
        session.run("pytest", *UNIT, *in_parallel("not alone and not nightly"))
        run_workers(session)  # each waits for its runtime; the last of them for the compilation of llama.cpp
    session.run("pytest", *END_TO_END, *in_parallel("not alone and not nightly"))
    run_alone(session, *UNIT, *END_TO_END)


@nox.session
def lint(session: nox.Session) -> None:
    """Ruff and mypy, strict."""
    install(session, "test")
    run_lint(session)


@nox.session
def unit(session: nox.Session) -> None:
    """The tests that need no runtime; what follows `--` goes to pytest: `nox -s unit -- tests/unit/test_plan.py`."""
    install(session, "test")
    run_tests(session, *UNIT)


@nox.session
def workers(session: nox.Session) -> None:
    """The worker's tests in the interpreters of their runtimes: `nox -s workers -- llama-cpp` for one of them."""
    install(session, "test")
    run_workers(session)


@nox.session
def end_to_end(session: nox.Session) -> None:
    """The tests of the real command; what follows `--` goes to pytest."""
    install(session, "test")
    run_tests(session, *END_TO_END)


@nox.session
def nightly(session: nox.Session) -> None:
    """All tests, with those that take too long for each change: more gates and examples, and the whole calibration."""
    install(session, "test")
    more = {"HYPOTHESIS_PROFILE": "nightly"}
    session.run("pytest", *UNIT, *in_parallel("not alone"), env=more)
    run_workers(session, marks="")
    session.run("pytest", *END_TO_END, *in_parallel("not alone"), env=more)
    run_alone(session, *UNIT, *END_TO_END)
    session.run("python", "-m", "tests.calibration")


def run_lint(session: nox.Session) -> None:
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")


def run_tests(session: nox.Session, *paths: str) -> None:
    """What follows `--`, or most tests in parallel, and then those that measure times, one after another."""
    if session.posargs:
        session.run("pytest", *session.posargs)
        return
    session.run("pytest", *paths, *in_parallel("not alone and not nightly"))
    run_alone(session, *paths)


def run_alone(session: nox.Session, *paths: str) -> None:
    session.run("pytest", *paths, "-m", "alone and not nightly")


def run_workers(session: nox.Session, marks: str = "not nightly") -> None:
    for runtime, paths in IN_RUNTIMES.items():
        if not session.posargs or runtime in session.posargs:
            # A process uses one core: with more threads, they would only wait for one another.
            arguments = ("-m", "pytest", *paths, *in_parallel(marks), "-p", "no:cacheprovider")
            in_runtime(session, runtime, *arguments, env={"OMP_NUM_THREADS": "1"})


def in_parallel(marks: str = "") -> tuple[str, ...]:
    """Options for pytest-xdist. Tests of one file start together, so that they share what the file prepares."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    parallel = ("--numprocesses", str(min(count, 8)), "--dist", "worksteal")
    return (*parallel, "-m", marks) if marks else parallel


@contextlib.contextmanager
def runtimes_in_background(session: nox.Session) -> Iterator[None]:
    """Install the runtimes of the tests meanwhile; what the installers print is shown if one of them fails.

    Whoever needs a runtime earlier waits for the lock of its folder, or installs it.
    """
    logs = [Path(session.create_tmp()) / f"runtimes-{number}.log" for number in range(len(LANES))]
    python = Path(session.bin) / "python"
    installers = []
    for names, log in zip(LANES, logs, strict=True):
        with log.open("wb") as file:
            command = [str(python), "tests/runtime_python.py", *names]
            installers.append(subprocess.Popen(command, cwd=HERE, stdout=file, stderr=subprocess.STDOUT))
    try:
        yield
        failed = [log for installer, log in zip(installers, logs, strict=True) if installer.wait()]
    finally:
        for installer in installers:
            if installer.poll() is None:
                installer.terminate()
                installer.wait()
    if failed:
        session.error("a runtime was not installed:\n" + "\n".join(log.read_text(encoding="utf-8") for log in failed))


@nox.session
def overhead(session: nox.Session) -> None:
    """What the harness adds to a bare loop, of `session.run` and of genai; where a run's time goes."""
    install(session)
    session.run("python", "tests/benchmarks/wall.py")
    for runtime, file in (("ort", "overhead.py"), ("build", "generation.py")):
        arguments = ("-m", "pytest", f"tests/benchmarks/{file}", "-s", "-p", "no:cacheprovider")
        in_runtime(session, runtime, *arguments, *session.posargs)


@nox.session
def calibrate(session: nox.Session) -> None:
    """What a gate's verdicts and the printed intervals are worth: simulated, or from a run (`--replay RUN`)."""
    install(session, "test")
    session.run("python", "-m", "tests.calibration", *session.posargs)


@nox.session
def fuzz(session: nox.Session) -> None:
    """10,000 damaged and hostile inputs of each kind that `bench` reads, and atheris; `-- -k gguf` for one kind."""
    install(session, "test")
    examples = {"FUZZ_EXAMPLES": os.environ.get("FUZZ_EXAMPLES", "10000")}
    session.run("pytest", "tests/fuzz", *session.posargs, env=examples)
    if not session.posargs:
        guided(session)


def guided(session: nox.Session) -> None:
    """Let atheris look for examples that reach new code, a minute for each kind; where it installs."""
    # It has wheels for Linux and a few versions of Python; elsewhere it would be compiled with LLVM.
    session.run("pip", "install", "--quiet", "--only-binary=:all:", ATHERIS, success_codes=[0, 1], silent=True)
    look = "import importlib.util; print(importlib.util.find_spec('atheris') is not None)"
    if "True" in str(session.run("python", "-c", look, silent=True)):
        session.run("python", "-m", "tests.fuzz.guided")
    else:
        session.log(f"{ATHERIS} does not install here: no examples were looked for by the code that they reach")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation into build/site, warnings are errors; `nox -s docs -- serve` shows it as you write."""
    session.install(*DOCS)
    arguments = session.posargs or ("build", "--clean")
    session.run("mkdocs", *arguments, env={"NO_MKDOCS_2_WARNING": "1"})


def in_runtime(session: nox.Session, runtime: str, *arguments: str, env: dict[str, str] | None = None) -> None:
    """Run the interpreter of a runtime of the matrix, with the test tools beside it and nothing of them in it."""
    python = session.run("python", "tests/runtime_python.py", runtime, silent=True)
    assert isinstance(python, str)
    executable = python.strip().splitlines()[-1]
    wanted = (*TEST_TOOLS, *(SERVER if runtime == "llama-cpp" else ()))
    tools = Path(session.virtualenv.location) / f"test-tools-{hashlib.sha256(repr(wanted).encode()).hexdigest()[:8]}"
    if not tools.exists():
        session.install("--target", str(tools), *wanted)
    paths = {"PYTHONPATH": os.pathsep.join((str(HERE), str(tools)))}
    session.run(executable, *arguments, env=paths | (env or {}), external=True)
