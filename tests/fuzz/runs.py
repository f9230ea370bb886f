"""Runs of others: `run.json`, `results.jsonl`, and a run as the baseline of a gate."""

from __future__ import annotations

import json
import tempfile
from functools import cache
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

from bench import gating, store
from bench.declare import matrix as matrices
from bench.gating.choice import choose
from bench.gating.foreign import admitted
from bench.judge.outcome import judge

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
    parts = [_part(folder) for folder in RECORDED]
    run, lines = parts[1]
    older = [line | {"notes": ["a sentence"], "starts": [s | {"note": ""} for s in line["starts"]]} for line in lines]
    return [*parts, (run | {"schema": 1}, older)]


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
    lines = recorded()[1 if b"minilm-on-a-cpu" in content else 0][1]
    of_name = [lines for run, lines in recorded() if run["name"].encode() in content]
    _used(_written(folder / "run", content, _lines(of_name[0] if of_name else lines)), random)


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
    lines = next((lines for run, lines in recorded() if run["name"].encode() in content), recorded()[0][1])
    run, observations = gating.baseline(_written(folder / "run", content, _lines(lines)))
    own = _own()
    outcomes = {outcome.cell.id: outcome for outcome in judge(run, observations)}
    choice = choose(run, outcomes, own, (), ())
    said: list[str] = []
    foreign = admitted(run, choice, own, folder / "cache", said.append, trusted=random.random() < 0.5)
    assert foreign is None or said


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
    Kind("baseline", cache(sound_runs), changed_run, read_baseline),
)
