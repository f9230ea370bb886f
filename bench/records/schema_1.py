"""Reads runs of schema 1 as records of today; the only place that looks into a sentence.

Schema 1 kept notes as sentences. Those that a flag or a table depends on get their own kind, the others the kind
`text`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, get_args

import msgspec
from msgspec.structs import replace

from bench.records.base import SCHEMA as TODAY
from bench.records.base import Note, Status, note
from bench.records.plan import Cell
from bench.records.prepared import ArtifactRecord
from bench.records.seen import Observation, Run

SCHEMA = 1
# DOTALL, because the message of a library may have several lines.
START = re.compile(r"(?P<start>cold|cached) start: (?P<said>.*)", re.DOTALL)
FAILED = re.compile(rf"(?P<status>{'|'.join(get_args(Status))}): (?P<text>.*)", re.DOTALL)
NO_COMPILED_MODEL = re.compile(r"no compiled model was kept: (?P<text>.*)", re.DOTALL)
UNKNOWN_OPTION = re.compile(r"unknown option '(?P<name>.*?)'")
# Recipes of GGUF ended with llama.cpp's name of a file type, whose digits are the bits of a weight.
GGUF_FORMATS = {
    "f32": "fp32",
    "f16": "fp16",
    "q8_0": "int8",
    "q6_k": "int6",
    "q5_k_m": "int5",
    "q4_k_m": "int4",
    "q4_0": "int4",
}


def run(content: bytes) -> Run:
    """A `run.json` of schema 1. Raises `msgspec.ValidationError` where it does not hold one."""
    fields = msgspec.json.decode(content)
    fields["schema"] = TODAY
    targets = fields.get("targets")
    # Nothing is validated yet: a damaged file must be refused by `msgspec.convert`, whose error callers expect.
    for facts in targets.values() if isinstance(targets, dict) else ():
        _convert(facts, "notes", _notes)
    return _upgraded(msgspec.convert(fields, Run))


def _upgraded(run: Run) -> Run:
    """The run, with the number format of every recipe; older runs have it only in the name of the recipe."""
    if all(cell.recipe is None or cell.recipe.number_format for cell in run.cells):
        return run
    return replace(run, cells=tuple(_with_number_format(cell) for cell in run.cells))


def _with_number_format(cell: Cell) -> Cell:
    if cell.recipe is None or cell.recipe.number_format:
        return cell
    # Names of recipes ended with the number format: `dynamic-int8`.
    word = cell.recipe.name.rsplit("-", 1)[-1]
    return replace(cell, recipe=replace(cell.recipe, number_format=GGUF_FORMATS.get(word, word)))


def observation(line: bytes) -> Observation:
    """A line of a `results.jsonl` of schema 1. Raises `msgspec.ValidationError` where it does not hold one."""
    fields = msgspec.json.decode(line)
    _convert(fields, "notes", _notes)
    starts = fields.get("starts") if isinstance(fields, dict) else None
    for start in starts if isinstance(starts, list) else ():
        _convert(start, "note", _start_note)
    return msgspec.convert(fields, Observation)


def artifact(content: bytes) -> ArtifactRecord:
    """An `artifact.json` of schema 1. Raises `msgspec.ValidationError` where it does not hold one."""
    fields = msgspec.json.decode(content)
    _convert(fields, "notes", _notes)
    return msgspec.convert(fields, ArtifactRecord)


def parse_note(sentence: str) -> Note:
    """The fact behind a note of schema 1; `text` where nothing depends on its kind."""
    if match := UNKNOWN_OPTION.match(sentence):
        return note("unknown-option", name=match["name"])
    if "software adapter" in sentence:
        return note("software-adapter")
    if sentence == "emulated device":
        return note("emulated-device")
    if match := START.fullmatch(sentence):
        start, text = match["start"], match["said"]
        if failed := FAILED.fullmatch(text):
            return note("start-failed", start=start, status=failed["status"], text=failed["text"])
        if text == "the worker ended without an answer":
            return note("start-unanswered", start=start)
    return note("text", text=sentence)


def _convert(record: Any, field: str, converted: Callable[[Any], object]) -> None:
    """Replace a field in place; a record of another form stays, and the validation refuses it."""
    if isinstance(record, dict) and field in record:
        record[field] = converted(record[field])


def _notes(value: Any) -> object:
    return [_note(each) for each in value] if isinstance(value, list) else value


def _note(value: Any) -> object:
    return msgspec.to_builtins(parse_note(value)) if isinstance(value, str) else value


def _start_note(value: Any) -> object:
    if not isinstance(value, str):
        return value
    # A start of schema 1 had an empty text where there was nothing to note; today that is None.
    match = NO_COMPILED_MODEL.fullmatch(value)
    converted = note("no-compiled-model", text=match["text"]) if match else note("text", text=value)
    return msgspec.to_builtins(converted) if value else None
