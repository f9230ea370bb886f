"""Every kind of a note that the code makes has words with exactly its parameters, and no words are left over."""

from __future__ import annotations

import ast
import importlib
import inspect
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from test_floors import MODULES, name_of

from bench.judge import flags
from bench.records import Note, note
from bench.report import text, text_flags, text_notes

Parameters = tuple[frozenset[str], bool]
"""The names of the values, and whether there are parts."""
FOREIGN = "text"
"""The words of somebody else: rooms that read them make the kind, and so does an engine of another package."""


def made_in(tree: ast.AST) -> Iterator[tuple[str, Parameters | None]]:
    """Every `note("kind", …)` and `Note("kind", …)` with its parameters; None where they are passed with `**`."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(ast.Name("note"), [ast.Constant(str(kind)), *parts], keywords):
                names = {keyword.arg for keyword in keywords}
                known = frozenset(name for name in names if name)
                yield kind, None if None in names else (known, bool(parts))
            case ast.Call(ast.Name("Note"), [ast.Constant(str(kind)), *rest]):
                values = rest[0] if rest else ast.Dict([], [])
                assert isinstance(values, ast.Dict), "values of a note are written where it is made"
                yield kind, (frozenset(ast.literal_eval(key) for key in values.keys if key), len(rest) > 1)


def made() -> dict[str, list[Parameters | None]]:
    """By kind the parameters of every place of the package that makes it."""
    found: dict[str, list[Parameters | None]] = defaultdict(list)
    for path in MODULES:
        for kind, parameters in made_in(ast.parse(path.read_text(encoding="utf-8"))):
            found[kind].append(parameters)
    return found


def tables() -> Iterator[dict[str, Callable[..., str]]]:
    """The words of every room: the `WORDS` of each module whose name begins with `text`."""
    for path in MODULES:
        if path.stem.startswith("text"):
            yield getattr(importlib.import_module(name_of(path)), "WORDS", {})


def words() -> dict[str, list[Parameters]]:
    """By kind the parameters that its words take, in every table that has the kind; flags have a glossary as well."""
    found: dict[str, list[Parameters]] = defaultdict(list)
    for table in tables():
        for kind, says in table.items():
            kinds = inspect.signature(says).parameters.values()
            several = inspect.Parameter.VAR_POSITIONAL
            names = frozenset(one.name for one in kinds if one.kind != several)
            found[kind].append((names, any(one.kind == several for one in kinds)))
    for kind in text_flags.GLOSSARY.keys() - text_notes.DETAILS.keys():
        found[kind].append((frozenset(), False))
    return found


MADE, WORDS = made(), words()


@pytest.mark.parametrize("kind", sorted(MADE))
def test_every_kind_that_is_made_has_words_with_exactly_its_parameters(kind: str) -> None:
    for parameters in MADE[kind]:
        assert parameters is None or parameters in WORDS[kind], kind


@pytest.mark.parametrize("kind", sorted(WORDS))
def test_no_words_are_left_over(kind: str) -> None:
    assert kind in MADE


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_kind_is_written_where_its_note_is_made(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    makers = {alias.name for node in imports if node.module == "bench.records" for alias in node.names}
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        if isinstance(call.func, ast.Name) and call.func.id in makers & {"note", "Note"}:
            assert isinstance(call.args[0], ast.Constant), ast.unparse(call)


def test_a_kind_without_words_or_with_others_parameters_is_seen() -> None:
    (found,) = made_in(ast.parse("note('fan-speed', note, rpm=1200)"))
    assert found == ("fan-speed", (frozenset({"rpm"}), True))
    (found,) = made_in(ast.parse("Note('fan-speed', {'rpm': 1200})"))
    assert found == ("fan-speed", (frozenset({"rpm"}), False))
    assert (frozenset({"rpm"}), True) not in WORDS["text"]


# --- what is shown ----------------------------------------------------------------------------------------------------


def test_a_kind_that_nobody_here_knows_shows_its_kind_and_its_parameters() -> None:
    assert text_notes.say(note("fan-speed", rpm=1200, fans=("left", "right"))) == "fan-speed: rpm=1200, fans=left right"
    assert text_notes.say(note("fan-stopped")) == "fan-stopped"
    assert text_notes.say(note("fans", note("fan-speed", rpm=1200))) == "fans; fan-speed: rpm=1200"


@pytest.mark.parametrize(
    "strange",
    [
        note("own-digits", figures=3),
        note("own-threads", note("text", text="parts that nobody asks for")),
        note("static-shapes", sizes=None),
        note("layers-on-gpu"),
        note("clock-fell", first_mhz="fast", last_mhz=None),
        note("figure-too-low", figure="cosine", value="low", limit=1.0),
    ],
)
def test_a_known_kind_with_strange_parameters_is_no_error(strange: Note) -> None:
    assert text_notes.say(strange) == text_notes.unknown(strange)


def test_somebody_elses_words_stay_as_they_are() -> None:
    assert text.say(note("text", text="the kernel said no; see {manual}")) == "the kernel said no; see {manual}"
    assert text.say(None) == ""


def test_a_flag_of_another_version_shows_its_kind_and_what_raised_it() -> None:
    flag = note("fan-stopped", fans=2)
    assert (text_flags.name(flag.kind), text_flags.detail(flag)) == ("fan-stopped", "fans=2")
    assert text_flags.sentence(flag.kind) == text_flags.UNKNOWN_FLAG


def test_every_flag_has_a_name_in_plain_words() -> None:
    names = {kind: text_flags.name(kind) for kind in flags.RULES}
    assert names["casts-around-fp32"] == "casts around FP32"
    assert names["few-rounds"] == "few rounds"
    assert not any("-" in name for name in names.values())


@pytest.mark.parametrize(
    ("fact", "words"),
    [
        (note("software-adapter"), "software adapter: the CPU imitates a GPU, with threads of its own"),
        (note("unknown-option", name="x"), "unknown option 'x': the provider checks none, so it may have no effect"),
        (note("static-shapes", sizes=("batch=1", "sequence=128")), "static shapes: batch=1, sequence=128"),
        (
            note("made-again", kind="artifact", what="fp32 of vit", problems="model.onnx has changed"),
            "Made again before anything was measured, because the cache was damaged: "
            "fp32 of vit (artifact; model.onnx has changed)",
        ),
        (note("flash-attention", setting="auto"), "flash attention: left to llama.cpp"),
        (note("flash-attention", setting="off"), "flash attention: off"),
        (note("layers-on-gpu", layers=3, total=16), "3 of 16 layers on the GPU"),
        (note("opset-of-file", opset=17), "the ONNX file has opset 17"),
        (
            note("file-format", number_format="int8", op_types=("QLinearConv x9", "DequantizeLinear x2")),
            "the model's own file is INT8 (QLinearConv x9, DequantizeLinear x2)",
        ),
        (note("file-format", number_format="fp16", op_types=()), "the model's own file is FP16"),
        (note("random-nodes", op_types=("Bernoulli",)), "the file's own answers are random: it has Bernoulli"),
        (
            note("quantized-operators", operators=12, total=13, number_format="int8", block=None),
            "12 of 13 operators with weights are INT8",
        ),
        (
            note("quantized-operators", operators=12, total=12, number_format="int4", block=32),
            "12 of 12 operators with weights are INT4, in blocks of 32",
        ),
        (
            note("export-untested", ep="cuda", text="no kernel"),
            "exported for cuda; not tested, because the CPU cannot run it (no kernel)",
        ),
        (note("assumed-sizes", sizes=("height=224",)), "default sizes, not given by the workload: height=224"),
        (note("server", label="localhost:1234", model="qwen"), "server: localhost:1234, model qwen"),
        (
            note("start-failed", start="cold", status="crashed", text="SIGSEGV"),
            "cold start: crashed: SIGSEGV",
        ),
        (note("start-unanswered", start="cached"), "cached start: the worker ended without an answer"),
        (note("failed", status="timeout", text="no answer"), "timeout: no answer"),
        (
            note("near-heat-limit", temperature_c=98.4, limit_c=100.0),
            "the processor was at 98 °C, and holds itself back at 100 °C",
        ),
    ],
)
def test_what_is_told_has_the_words_that_readers_know(fact: Note, words: str) -> None:
    assert text_notes.say(fact) == words
