"""An artifact builder whose worker is a small program: what an order leaves does not reach the next one."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
from builders import a_cell
from msgspec.structs import replace

from bench.declare.matrix import Model
from bench.prepare import worker_code
from bench.prepare.artifact_builder import ArtifactBuilder, BuildError, Material, runtimes_for
from bench.prepare.environments import Environment
from bench.progress import Quiet
from bench.records import Build, Recipe, RuntimeRecord, Source, note
from bench.worker_process import Worker

BUILD_WORKER = """
import json, pathlib, sys, time
for line in sys.stdin:
    order = json.loads(line)
    say = lambda reply: print(json.dumps(reply), flush=True)
    if order["order"] == "build" and order["recipe"]["name"] == "genai-slow":
        time.sleep(60)
    if order["order"] == "build" and order["recipe"]["name"].endswith("int4"):
        failure = {"status": "unsupported", "stage": "export", "kind": "Refusal", "message": "no int4 today"}
        if order["recipe"]["options"]:
            failure |= {"kind": "architecture", "message": "the builder does not know Straw"}
        say({"reply": "failed", "failure": failure})
    else:
        pathlib.Path(order["out"], "said.json").write_text(line)
        values = {"recipe": order["recipe"]["name"]} if "recipe" in order else {}
        say({"reply": "built", "notes": [{"kind": order["order"], "values": values}]})
    say({"reply": "done"})
"""


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """A folder whose `bench.worker` starts a small program; its other files are there, since keys are made of them."""
    package = tmp_path / "code" / "bench" / "worker"
    shutil.copytree(worker_code.PACKAGE / "worker", package, ignore=shutil.ignore_patterns("__pycache__"))
    (package.parent / "__init__.py").touch()
    (package / "__init__.py").write_text("", encoding="utf-8")
    (package / "__main__.py").write_text(BUILD_WORKER, encoding="utf-8")
    return tmp_path / "code"


@pytest.fixture
def builder(tmp_path: Path, code: Path):
    names = ("build", "optimum", "llama-cpp")
    record = RuntimeRecord("x", ("torch==2.13.0",), "3.11.7", {"torch": "2.13.0"}, "0" * 16)
    runtimes = {name: Environment(record, Path(sys.executable)) for name in names}
    made = ArtifactBuilder(tmp_path / "cache", tmp_path / "logs", Quiet(), runtimes, code)
    yield made
    made.end(Worker.kill)


def a_material() -> Material:
    model = Model("llama", "text-generator", "config:llama-tiny")
    return Material(model, Source("config", "nowhere", "random", "d" * 64), None)


def a_generator(recipe: str, form: str = "genai"):
    return a_cell(model="llama", family="text-generator", recipe=Recipe(recipe), format=form)


def test_an_order_after_a_refusal_gets_its_own_answer(builder):
    """Seen: the `Done` of the refused order was taken for the next one's answer, and an empty folder kept as good."""
    with pytest.raises(BuildError, match="no int4 today"):
        builder.artifact(a_material(), a_generator("genai-int4"))
    made = builder.artifact(a_material(), a_generator("genai-int8"))
    assert '"genai-int8"' in (made.folder / "said.json").read_text(encoding="utf-8")
    assert made.record.notes == (note("build", recipe="genai-int8"),)


def test_a_refusal_is_told_with_what_was_to_be_built(builder, monkeypatch):
    steps: list[str] = []
    monkeypatch.setattr(builder.progress, "step", steps.append, raising=False)
    with pytest.raises(BuildError, match="no int4 today"):
        builder.artifact(a_material(), a_generator("genai-int4"))
    assert steps == ["genai-int4 of llama: unsupported at stage 'export': no int4 today"]


def test_a_build_may_not_take_more_memory_than_the_machine_has_for_it(builder):
    """A file of a stranger may ask for any amount."""
    builder.slots.memory_bytes = 8 * 2**30
    builder.artifact(a_material(), a_generator("genai-int8"))
    assert [worker.memory_limit_bytes for worker in builder.workers.values()] == [9 * 2**30]


def test_a_build_that_takes_too_much_memory_is_ended(builder):
    builder.slots.memory_bytes = 2**20
    with pytest.raises(BuildError, match="MiB over the limit of 1 MiB") as caught:
        builder.artifact(a_material(), a_generator("genai-slow"))
    assert caught.value.failure.status == "out-of-memory"


def test_a_refusal_keeps_nothing_in_the_cache(builder):
    for _ in range(2):
        with pytest.raises(BuildError, match="no int4 today"):
            builder.artifact(a_material(), a_generator("genai-int4"))


def test_what_failed_once_is_not_tried_again(builder, monkeypatch):
    """Every precision starts from the same export: where that fails, it fails once."""
    asked: list[str] = []
    ask = Worker.ask

    def noted(self: Worker, order: Build, limit_s: float):
        asked.append(order.recipe.name)
        return ask(self, order, limit_s)

    monkeypatch.setattr(Worker, "ask", noted)
    for _ in range(2):
        with pytest.raises(BuildError, match="no int4 today"):
            builder.artifact(a_material(), a_generator("genai-int4"))
    builder.artifact(a_material(), a_generator("genai-int8"))
    assert asked == ["genai-int4", "genai-int8"]


def test_an_architecture_that_a_format_does_not_take_is_not_tried_in_another_precision(builder, monkeypatch):
    asked: list[str] = []
    ask = Worker.ask

    def noted(self: Worker, order: Build, limit_s: float):
        asked.append(order.recipe.name)
        return ask(self, order, limit_s)

    monkeypatch.setattr(Worker, "ask", noted)
    strange = a_cell(
        model="llama", family="text-generator", recipe=Recipe("genai-int4", {"block_size": 16}), format="genai"
    )
    for cell in (strange, a_generator("genai-int8"), a_generator("genai-fp32")):
        with pytest.raises(BuildError, match="does not know Straw"):
            builder.artifact(a_material(), cell)
    builder.artifact(a_material(), a_generator("gguf-f32", "gguf"))
    assert asked == ["genai-int4", "gguf-f32"]


def test_a_recipe_that_is_made_from_another_gets_that_one_first(builder):
    made = builder.artifact(a_material(), a_generator("gguf-q8_0", "gguf"))
    assert made.record.parts["parent"]
    assert '"gguf-q8_0"' in (made.folder / "said.json").read_text(encoding="utf-8")
    # What is true of the base artifact is true of what is made from it.
    assert made.record.notes == (note("build", recipe="gguf-f32"), note("build", recipe="gguf-q8_0"))


def test_a_cell_needs_the_runtimes_of_its_reference_and_of_its_artifact():
    assert runtimes_for(a_cell(family="text-encoder", recipe=Recipe("dynamic-int8"), format="onnx")) == ("build",)
    assert set(runtimes_for(a_generator("gguf-f32", "gguf"))) == {"build"}
    assert set(runtimes_for(a_generator("gguf-q8_0", "gguf"))) == {"build", "llama-cpp"}
    assert set(runtimes_for(a_generator("fp32", "optimum"))) == {"build", "optimum"}


def test_what_calibrates_is_told_the_sizes_of_the_workloads_and_an_export_is_not(builder):
    model = Model("mine", "onnx-file", "onnx:mine.onnx", workloads=({"batch": 1, "steps": 5}, {"batch": 8, "steps": 7}))
    material = Material(model, Source("onnx", "nowhere", "pretrained", "d" * 64), None)

    def made(recipe: str, source: Material = material):
        return builder.artifact(source, a_cell(family="onnx-file", recipe=Recipe(recipe), format="onnx"))

    quantized = made("static-qdq-int8")
    assert '"workloads":[{"batch":1,"steps":5},{"batch":8,"steps":7}]' in quantized.folder.joinpath(
        "said.json"
    ).read_text(encoding="utf-8").replace(" ", "")
    other = Material(replace(model, workloads=({"batch": 1, "steps": 9},)), material.source, None)
    assert made("static-qdq-int8", other).record.key != quantized.record.key
    assert made("fp32", other).record.key == made("fp32").record.key


# --- the folder that a worker makes of it -----------------------------------------------------------------------------


def a_file(tmp_path: Path) -> Material:
    source = Source("file", str(tmp_path / "m.gguf"), "pretrained", "d" * 64)
    return Material(Model("llama", "text-generator", "path:m.gguf"), source, None)


def test_the_folder_is_made_once_and_everything_else_starts_from_it(builder, tmp_path):
    material = builder.unpacked(a_file(tmp_path))
    again = builder.unpacked(a_file(tmp_path))
    assert material.source.kind == "folder"
    assert material.source.path == again.source.path
    assert material.source.file == str(tmp_path / "m.gguf")
    assert material.source.digest == "d" * 64
    assert material.unpacked.kind == "source"
    assert builder.unpacked(material) is material


def test_every_row_says_where_the_weights_come_from(builder, tmp_path):
    material = builder.unpacked(a_file(tmp_path))
    reference = builder.reference(material, a_generator("genai-fp32"))
    assert [note.kind for note in reference.record.notes] == ["unpack", "refer"]


def test_a_folder_of_another_conversion_gives_another_artifact(builder, tmp_path):
    material = builder.unpacked(a_file(tmp_path))
    first = builder.artifact(material, a_generator("genai-fp32"))
    other = replace(material, unpacked=replace(material.unpacked, key="f" * 24))
    assert builder.artifact(other, a_generator("genai-fp32")).record.key != first.record.key


def test_the_file_as_it_is_starts_from_the_source(builder, tmp_path):
    cell = a_generator("gguf-as-given", "gguf")
    assert runtimes_for(cell) == ("build",)
    made = builder.artifact(builder.unpacked(a_file(tmp_path)), cell)
    assert made.record.parts["parent"] == ""
    assert made.record.notes == (note("build", recipe="gguf-as-given"),)
