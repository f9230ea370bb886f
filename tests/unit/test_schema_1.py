"""Runs of schema 1, whose notes were sentences, read as today's records and judged as before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from builders import a_cell, a_failed, a_run, an_observation, rounds_of, some_facts

from bench import store
from bench.errors import RunFolderError
from bench.judge.outcome import judge
from bench.records import SCHEMA, Note, note, schema_1

CELL = a_cell()
ADAPTER = "software adapter: the CPU imitates a GPU, with threads of its own"
UNKNOWN = "unknown option 'powerPreference': the provider checks none, so it may have no effect"


def old_line(notes: list[str], start_note: str | None = None, **said: Any) -> bytes:
    """A line of results.jsonl as schema 1 wrote it."""
    line = msgspec.to_builtins(an_observation(CELL, **said)) | {"notes": notes}
    if start_note is not None:
        start = {"kind": "cold", "import_ns": 1, "load_ns": 2, "first_call_ns": 3, "note": start_note}
        line["starts"] = [start]
    return json.dumps(line).encode() + b"\n"


def an_old_run(folder: Path, *lines: bytes, notes: tuple[str, ...] = ()) -> Path:
    """The folder of a run of schema 1 whose target has these notes."""
    run = msgspec.to_builtins(a_run(CELL, targets={CELL.target: some_facts()})) | {"schema": 1}
    run["targets"][CELL.target]["notes"] = list(notes)
    del run["targets"][CELL.target]["missing"]  # schema 1 did not have it
    folder.mkdir()
    (folder / store.RUN).write_text(json.dumps(run), encoding="utf-8")
    (folder / store.RESULTS).write_bytes(b"".join(lines))
    return folder


@pytest.mark.parametrize(
    ("sentence", "fact"),
    [
        (UNKNOWN, note("unknown-option", name="powerPreference")),
        (ADAPTER, note("software-adapter")),
        ("runs on a software adapter, llvmpipe", note("software-adapter")),
        ("emulated device", note("emulated-device")),
        (
            "cached start: unsupported: the provider kept nothing in its cache folder",
            note(
                "start-failed",
                start="cached",
                status="unsupported",
                text="the provider kept nothing in its cache folder",
            ),
        ),
        (
            "cold start: out-of-memory: a: b",
            note("start-failed", start="cold", status="out-of-memory", text="a: b"),
        ),
        ("cold start: the worker ended without an answer", note("start-unanswered", start="cold")),
        ("cold start: something else", note("text", text="cold start: something else")),
        ("compiled by inductor, static shapes", note("text", text="compiled by inductor, static shapes")),
        ("", note("text", text="")),
    ],
)
def test_a_sentence_that_something_depends_on_becomes_its_kind(sentence: str, fact: Note) -> None:
    assert schema_1.parse_note(sentence) == fact


def test_a_run_of_schema_1_is_read_as_one_of_today(tmp_path: Path) -> None:
    lines = [old_line([ADAPTER, "CUDA graph"], round=number) for number in range(3)]
    run, seen = store.read(an_old_run(tmp_path / "run", *lines, notes=(UNKNOWN, "tested")))
    assert run.schema == SCHEMA
    assert run.targets[CELL.target].notes == (
        note("unknown-option", name="powerPreference"),
        note("text", text="tested"),
    )
    assert [one.notes for one in seen] == [(note("software-adapter"), note("text", text="CUDA graph"))] * 3
    assert seen[0] == an_observation(CELL, round=0, notes=seen[0].notes), "nothing else differs"


def test_an_old_run_is_judged_with_the_flags_that_it_had(tmp_path: Path) -> None:
    lines = [old_line([ADAPTER], round=number) for number in range(3)]
    (outcome,) = judge(*store.read(an_old_run(tmp_path / "run", *lines, notes=(UNKNOWN,))))
    assert [flag.kind for flag in outcome.flags] == ["software-adapter", "unchecked-option"]
    (plain,) = judge(*store.read(an_old_run(tmp_path / "plain", *[old_line([], round=n) for n in range(3)])))
    assert plain.flags == ()


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("", None),
        ("no compiled model was kept: no contexts", note("no-compiled-model", text="no contexts")),
        ("another sentence", note("text", text="another sentence")),
    ],
)
def test_what_a_start_said_is_kept(tmp_path: Path, said: str, kept: Note | None) -> None:
    _, (seen,) = store.read(an_old_run(tmp_path / "run", old_line([], start_note=said)))
    assert [start.note for start in seen.starts] == [kept]


def test_lines_of_both_schemas_stand_in_one_file_as_after_a_resumed_run(tmp_path: Path) -> None:
    folder = an_old_run(tmp_path / "run", old_line([ADAPTER], round=0))
    run, _ = store.read(folder)
    store.save(folder, run)
    fresh = an_observation(CELL, round=1, notes=(note("software-adapter"),))
    store.append(folder, fresh)
    read, seen = store.read(folder)
    assert json.loads((folder / store.RUN).read_bytes())["schema"] == SCHEMA
    assert (read, [one.round for one in seen], seen[1]) == (run, [0, 1], fresh)
    assert seen[0].notes == fresh.notes


@pytest.mark.parametrize(
    "line", [b'{"cell": 1, "notes": ["x"]}', b'["x"]', b'{"notes": {"a": "b"}}', b'{"starts": [1]}']
)
def test_a_line_that_no_schema_knows_is_named(tmp_path: Path, line: bytes) -> None:
    folder = an_old_run(tmp_path / "run", line + b"\n")
    with pytest.raises(RunFolderError, match=r"results\.jsonl line 1 is no observation"):
        store.read(folder)


@pytest.mark.parametrize("targets", [{"cpu": 3}, [1], {"cpu": {"available": True, "notes": [3]}}])
def test_a_damaged_run_of_schema_1_is_told(tmp_path: Path, targets: object) -> None:
    folder = an_old_run(tmp_path / "run")
    run = json.loads((folder / store.RUN).read_bytes()) | {"targets": targets}
    (folder / store.RUN).write_text(json.dumps(run), encoding="utf-8")
    with pytest.raises(RunFolderError, match="does not hold what schema"):
        store.read(folder)


def test_failures_and_rounds_are_as_they_were(tmp_path: Path) -> None:
    kept = [*rounds_of(CELL, [2.0, 2.1]), a_failed(CELL, round=2)]
    lines = [msgspec.json.encode(one) + b"\n" for one in kept]
    assert store.read(an_old_run(tmp_path / "run", *lines))[1] == tuple(kept)
