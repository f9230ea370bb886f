"""Runs of others: `run.json`, `results.jsonl`, and a run as the baseline of a gate."""

from __future__ import annotations

import json
import tempfile
from functools import cache
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

import msgspec
from builders import (
    a_cell,
    a_control,
    a_device,
    a_failed,
    a_generated,
    a_generator,
    a_run,
    a_start,
    an_energy,
    an_observation,
    rounds_of,
    some_facts,
)
from matrices import matrix_text

from bench import gating, store
from bench.declare import matrix as matrices
from bench.gating.choice import choose
from bench.gating.foreign import admitted
from bench.judge.outcome import judge
from bench.records import MachineState, Minute, Sustained, TaskReference, TaskScores, Transcript, note

from .changes import changed_bytes, changed_json, text_of
from .kind import Kind, bench, chosen

ROOT = Path(__file__).parents[2]
RECORDED = (ROOT / "tests" / "recorded" / "several-engines", ROOT / "examples" / "minilm-on-a-cpu")
CELLS, ROUNDS = 5, 3
"""Of a recorded run so much is kept: a report of all takes too long for thousands of examples."""
Parts = tuple[Any, list[Any]]


@cache
def recorded() -> list[Parts]:
    """Small parts of real runs, `run.json` and the lines of `results.jsonl`; one of them as an earlier version's."""
    return [*map(_part, RECORDED), _everything()]


def _everything() -> Parts:
    """A run with what the recorded ones lack: minutes, energy, task scores, transcripts, starts, devices."""
    cells = (a_control(runtime="ort"), a_cell("m/int8/cpu/b1-s128"), a_generator(), a_cell("n/fp32/cpu/b1"))
    scores = {
        "m/b1-s128": TaskScores("f1", "d", {"label": (0, 1, 2, 1), "predicted": (0, 1, 2, 2)}),
        "n/b1": TaskScores("spearman", "d", {"label": (0.5, 1.0, 2.0), "similarity": (0.1, 0.9, 0.5)}),
    }
    run = a_run(
        *cells,
        name="of-everything",
        matrix_text=matrix_text(),
        sustained_minutes=2.0,
        tasks={name: TaskReference(each, "PyTorch", (note("labels-from-one"),)) for name, each in scores.items()},
        targets={"cpu": some_facts(("fp32", "fp32"), ("fp16", "fp32"))},
    )
    state = MachineState(1.0, 3400.0, 81.0, False, 0.5, 2.0, 2**33, 95.0)
    more = {"device": a_device(), "energy": an_energy(), "state": state, "device_memory_bytes": 2**30, "visit_s": 1.5}
    observations = [
        *rounds_of(cells[0], (2.0, 2.1, 1.9), **more),
        *rounds_of(cells[1], (1.0, 1.1, 0.9), task=scores["m/b1-s128"], starts=(a_start(), a_start("cached")), **more),
        *[a_generated(cells[2], number, transcript=Transcript("a text", "a label"), **more) for number in range(2)],
        an_observation(cells[3], 1, task=scores["n/b1"]),
        a_failed(cells[3], 2),
    ]
    minutes = (Minute(60.0, 100, 2_000_000, 1_900_000, 2_200_000 + at, (2_000_000,) * 5) for at in range(3))
    observations += [
        an_observation(cells[1], 4, sustained=Sustained(180.0, number, minute), **more)
        for number, minute in enumerate(minutes, 1)
    ]
    return msgspec.to_builtins(run), msgspec.to_builtins(observations)


def _part(folder: Path) -> Parts:
    run = json.loads((folder / store.RUN).read_bytes())
    lines = [json.loads(line) for line in (folder / store.RESULTS).read_bytes().splitlines()]
    # One cell of each engine, and of those that failed.
    kinds = {(cell["engine"], bool(cell.get("excluded"))): cell for cell in reversed(run["cells"])}
    failed = {line["cell"] for line in lines if line.get("failure")}
    chosen_cells = [*list(kinds.values())[:CELLS], *[cell for cell in run["cells"] if _id(cell) in failed][:1]]
    run["cells"] = [cell for cell in run["cells"] if cell in chosen_cells]
    names = {_id(cell) for cell in run["cells"]}
    return run, [line for line in lines if line["cell"] in names and line["round"] <= ROUNDS]


def _id(cell: dict[str, str]) -> str:
    return "/".join(cell[part] for part in ("model", "precision", "target", "workload"))


def _lines(lines: list[Any]) -> bytes:
    return b"".join(text_of(line) + b"\n" for line in lines)


def _written(folder: Path, run: bytes, results: bytes) -> Path:
    folder.mkdir(parents=True)
    (folder / store.RUN).write_bytes(run)
    (folder / store.RESULTS).write_bytes(results)
    return folder


@cache
def sound_run() -> Path:
    """A recorded run as it is."""
    run, lines = recorded()[0]
    return _written(Path(tempfile.mkdtemp(prefix="fuzz-sound-")) / "sound", text_of(run), _lines(lines))


def _used(folder: Path, random: Random) -> None:
    """Report a run by the command, and for some compare it, or follow it over time."""
    kind = random.choice(["json"] * 8 + ["csv"] * 4 + ["markdown"] * 6 + ["pytest-benchmark"] * 4 + ["html"])
    bench(folder.parent, "report", str(folder), "--format", kind)
    use = random.random()
    if use < 0.2:
        out = () if use < 0.1 else ("--out", f"c{random.choice(('.md', '.json'))}")
        sides = [str(sound_run()), str(folder)]
        random.shuffle(sides)
        bench(folder.parent, "compare", *sides, *out, *(["--json"] if use < 0.05 else []))
    elif use < 0.23:
        # Without its pictures, which take a second.
        with mock.patch("bench.report.vega.svg", return_value=""):
            bench(folder.parent, "history", str(folder.parent), "--quiet")


def read_run(folder: Path, content: bytes) -> None:
    """A changed `run.json`, with the observations that belong to it."""
    random = chosen(content)
    _used(_written(folder / "run", content, _lines(_lines_of(content))), random)


def _lines_of(content: bytes) -> list[Any]:
    """The observations of the recorded run from which a changed one was made."""
    return next((lines for run, lines in recorded() if run["name"].encode() in content), recorded()[0][1])


def read_results(folder: Path, content: bytes) -> None:
    """Changed observations of a sound run."""
    random = chosen(content)
    cells = [{line["cell"] for line in lines} for _, lines in recorded()]
    fitting = [
        run for (run, _), names in zip(recorded(), cells, strict=True) if any(n.encode() in content for n in names)
    ]
    run = text_of(fitting[0] if fitting else recorded()[0][0])
    _used(_written(folder / "run", run, content), random)


def read_baseline(folder: Path, content: bytes) -> None:
    """A changed `run.json` as the baseline of a gate: what is done for it is listed, and nothing is done."""
    random = chosen(content)
    run, observations = gating.baseline(_written(folder / "run", content, _lines(_lines_of(content))))
    own = _own()
    outcomes = {outcome.cell.id: outcome for outcome in judge(run, observations)}
    choice = choose(run, outcomes, own, (), ())
    said: list[str] = []
    foreign = admitted(run, choice, own, folder / "cache", said.append, trusted=random.random() < 0.5)
    assert said or foreign.matrix is None


@cache
def _own() -> matrices.Matrix:
    return matrices.parse(recorded()[0][0]["matrix_text"], str(ROOT / "matrix.toml"))


def changed_run(content: bytes, random: Random) -> bytes:
    """A `run.json` that is changed as JSON, else as bytes; in some the text of the matrix is changed."""
    try:
        run = json.loads(content)
    except (ValueError, RecursionError):
        return changed_bytes(content, random)
    if random.random() < 0.15 or not isinstance(run, dict):
        return changed_bytes(content, random)
    # The places of a run are mostly those of its machine and its matrix: one part is changed as often as another.
    part = random.choice(list(run))
    if isinstance(run[part], dict | list) and run[part] and random.random() < 0.7:
        run[part] = changed_json(run[part], random)
    else:
        run = changed_json(run, random)
    return text_of(run)


def changed_lines(content: bytes, random: Random) -> bytes:
    """Observations of which one to three are changed as JSON, else the bytes."""
    lines = content.split(b"\n")
    if random.random() < 0.15:
        return changed_bytes(content, random)
    for _ in range(random.choice((1, 1, 3))):
        at = random.randrange(len(lines))
        try:
            lines[at] = text_of(changed_json(json.loads(lines[at] or b"{}"), random))
        except (ValueError, RecursionError):
            lines[at] = changed_bytes(lines[at], random)
    if random.random() < 0.1:
        lines = [*lines, *random.choices(lines, k=20)]
    return b"\n".join(lines)


def sound_runs() -> list[bytes]:
    return [text_of(run) for run, _ in recorded()]


def sound_results() -> list[bytes]:
    return [_lines(lines) for _, lines in recorded()]


KINDS = (
    Kind("run.json", cache(sound_runs), changed_run, read_run),
    Kind("results.jsonl", cache(sound_results), changed_lines, read_results),
    # The matrix of the second, which is the default one, takes long to plan.
    Kind("baseline", cache(lambda: sound_runs()[::2]), changed_run, read_baseline, in_ci=60),
)
