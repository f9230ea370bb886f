"""What is fuzzed: for each kind of input a sound example, and the code that reads and uses it."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import tempfile
import tomllib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import msgspec
from a_gate import a_whole_gate
from onnx_bytes import an_input, an_onnx_file

from bench import pipeline, store
from bench.cli import tables
from bench.comparison import stored
from bench.declare import matrix as matrices
from bench.declare import plan
from bench.default_paths import matrix_path
from bench.errors import BenchError
from bench.gating.reports import json as gate_json
from bench.gating.reports import junit, markdown
from bench.prepare.sources import folder as folders
from bench.prepare.sources import gguf_file, onnx_file
from bench.progress import Quiet
from bench.records import Bursted, Failed, Failure, Opened, Stage
from bench.shared import onnx_inputs
from bench.worker.engines import _server_sent
from bench.worker.refusal import Refusal
from bench.worker_process import Worker

from .changes import changed_bytes, changed_json, text_of

ROOT = Path(__file__).parents[2]
RECORDED = ROOT / "tests" / "recorded" / "several-engines"
CELLS = 5
"""Cells of the recorded run that are kept: a report of all takes too long for thousands of examples."""
Read = Callable[[Path, Random], object]


@cache
def recorded() -> tuple[Any, list[Any]]:
    """A small part of a real run: `run.json` and the lines of `results.jsonl`."""
    run = json.loads((RECORDED / store.RUN).read_bytes())
    lines = [json.loads(line) for line in (RECORDED / store.RESULTS).read_bytes().splitlines()]
    # One cell of each engine.
    by_engine = {cell["engine"]: cell for cell in reversed(run["cells"])}
    run["cells"] = list(by_engine.values())[:CELLS]
    names = {cell["id"] if "id" in cell else _id(cell) for cell in run["cells"]}
    return run, [line for line in lines if line["cell"] in names and line["round"] <= 3]


def _id(cell: dict[str, str]) -> str:
    return "/".join(cell[part] for part in ("model", "precision", "target", "workload"))


def _written(folder: Path, run: bytes, results: bytes) -> None:
    folder.mkdir()
    (folder / store.RUN).write_bytes(run)
    (folder / store.RESULTS).write_bytes(results)


def _used(folder: Path, random: Random) -> None:
    """Read, judge and report a run; the page, which takes longest, and what compares runs, for some."""
    formats = ["csv", "markdown", "json"] + (["html"] if random.random() < 0.1 else [])
    with contextlib.redirect_stdout(io.StringIO()):
        tables.run_table(pipeline.report([folder], formats, folder))
    if random.random() < 0.2:
        compared = stored.compare(sound_run(), folder)
        for suffix in stored.SUFFIXES:
            stored.write_comparison(compared, folder.parent / f"compared{suffix}")
    if random.random() < 0.1:
        stored.write_history(stored.history(folder.parent, Quiet()), folder.parent, Quiet())


@cache
def sound_run() -> Path:
    """The recorded cells as they are."""
    run, lines = recorded()
    folder = Path(tempfile.mkdtemp(prefix="fuzz-")) / "sound"
    _written(folder, text_of(run), b"".join(text_of(line) + b"\n" for line in lines))
    return folder


def read_run(folder: Path, random: Random) -> None:
    """A changed `run.json`, with the observations that belong to it."""
    run, lines = recorded()
    content = text_of(changed_json(run, random))
    if random.random() < 0.2:
        content = changed_bytes(content, random)
    _written(folder / "run", content, b"".join(text_of(line) + b"\n" for line in lines))
    _used(folder / "run", random)


def read_results(folder: Path, random: Random) -> None:
    """Changed observations of a sound run."""
    run, lines = recorded()
    changed = list(lines)
    at = random.randrange(len(changed))
    changed[at] = changed_json(changed[at], random)
    content = b"".join(text_of(line) + b"\n" for line in changed)
    if random.random() < 0.2:
        content = changed_bytes(content, random)
    _written(folder / "run", text_of(run), content)
    _used(folder / "run", random)


def read_matrix(folder: Path, random: Random) -> None:
    """A changed matrix: its tables as values, or its text as bytes."""
    source = matrix_path(ROOT / "matrix.toml").read_bytes()
    if random.random() < 0.5:
        path = folder / "matrix.toml"
        path.write_bytes(changed_bytes(source, random))
        plan.whole_plan(matrices.read(path))
    else:
        tables = changed_json(tomllib.loads(source.decode()), random)
        if isinstance(tables, dict):
            plan.whole_plan(matrices.checked(tables, "", "matrix.toml"))


def read_gate(folder: Path, random: Random) -> None:
    """A changed `gate.json`, and the reports of it."""
    sound = msgspec.to_builtins(a_whole_gate())
    (folder / "gate.json").write_bytes(text_of(changed_json(sound, random)))
    gate = gate_json.read(folder / "gate.json")
    for renderer in (markdown, junit, gate_json):
        renderer.render(gate)


def read_gguf(folder: Path, random: Random) -> None:
    """A changed GGUF file."""
    (folder / "m.gguf").write_bytes(changed_bytes(importlib.import_module("test_gguf_file").a_file(), random))
    gguf_file.check(folder / "m.gguf")


def read_safetensors(folder: Path, random: Random) -> None:
    """A changed safetensors file, and its index."""
    header = {"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}, "__metadata__": {"format": "pt"}}
    text = text_of(changed_json(header, random))
    whole = len(text).to_bytes(8, "little") + text + bytes(8)
    (folder / "model.safetensors").write_bytes(changed_bytes(whole, random) if random.random() < 0.5 else whole)
    config = changed_json({"model_type": "bert", "architectures": ["BertModel"]}, random)
    (folder / "config.json").write_bytes(text_of(config))
    folders._check_safetensors(folder / "model.safetensors")
    folders.read_config(folder / "config.json")


def read_onnx(folder: Path, random: Random) -> None:
    """A changed ONNX file."""
    sound = an_onnx_file(an_input("x", (1, "n")), an_input("y", (2,)), weights=("w",))
    (folder / "m.onnx").write_bytes(changed_bytes(sound, random))
    onnx_file.onnx_files(folder / "m.onnx")
    # Documented: its callers say it in a sentence.
    with contextlib.suppress(ValueError):
        onnx_inputs.read_inputs(folder / "m.onnx")


@cache
def a_worker() -> Worker:
    """A worker whose interpreter does not exist: only what it would reply is read."""
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    return Worker(folder / "python", folder / "worker.log", {})


def read_reply(_: Path, random: Random) -> None:
    """Changed replies of a worker."""
    failure = Failure("failed", "load", "RuntimeError", "no kernel")
    sound = random.choice([Stage("load"), Failed(failure), Bursted("b1", (1, 2, 3), 4), Opened(1, 2, 3, {})])
    line = text_of(changed_json(json.loads(msgspec.json.encode(sound)), random)) + b"\n"
    worker = a_worker()
    worker._has_replied = True
    worker._decoded(changed_bytes(line, random) if random.random() < 0.5 else line)


def read_server(_: Path, random: Random) -> None:
    """The changed stream of an OpenAI-compatible server."""
    event = {"choices": [{"text": "a", "finish_reason": None}], "usage": {"completion_tokens": 3}}
    stream = b"".join(b"data: " + text_of(changed_json(event, random)) + b"\n\n" for _ in range(3)) + b"data: [DONE]\n"
    data = changed_bytes(stream, random)
    size = random.choice((1, 7, 1000))
    try:
        for _event in _server_sent.events(data[at : at + size] for at in range(0, len(data), size)):
            pass
    except Refusal:
        pass  # a refusal is what a worker reports as a failure


READERS: dict[str, Read] = {
    "run.json": read_run,
    "results.jsonl": read_results,
    "matrix": read_matrix,
    "gate": read_gate,
    "gguf": read_gguf,
    "safetensors": read_safetensors,
    "onnx": read_onnx,
    "worker reply": read_reply,
    "server": read_server,
}


def outcome(read: Read, random: Random) -> str:
    """Read an example in a folder of its own: `value`, or the error that `bench` prints; any other exception passes."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        try:
            read(Path(folder), random)
        except BenchError as error:
            sentence = str(error)
            assert sentence
            assert "Traceback" not in sentence
            return type(error).__name__
    return "value"
