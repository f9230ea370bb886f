"""What was read of manifests is remembered by the content of their files, and a damaged memory changes nothing."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from bench.declare import manifest_memory, manifests, registry
from bench.declare.manifest_memory import FILE, ManifestMemory
from bench.declare.manifests import RecipeDeclaration
from bench.records import FormatManifest, Tolerance

RECIPES = dict[str, RecipeDeclaration]


@pytest.fixture(autouse=True)
def _registry(tmp_path):
    """A registry that has read nothing yet, and whose memory is in a cache of the test."""
    registry.forget()
    registry.remember_in(tmp_path / "cache")
    yield
    registry.forget()
    registry.remember_in(tmp_path / "cache")


def everything() -> dict[str, object]:
    """All that the registry reads, as a new process would."""
    registry.forget()
    read = {"families": registry.families(), "engines": registry.engines(), "formats": registry.formats()}
    return {**read, **{f"recipes of {name}": registry.recipes(name) for name in registry.formats()}}


def never(*_: object) -> None:
    raise AssertionError("a file was parsed again")


def test_a_second_process_parses_no_file_and_reads_the_same(tmp_path, monkeypatch):
    first = everything()
    registry.remember_in(tmp_path / "cache")
    monkeypatch.setattr(manifests.syntax, "module", never)
    assert everything() == first


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"no JSON",
        b'{"reader": "',
        b'{"reader": 3, "values": {}}',
        b'{"values": {}}',
        b"[]",
        b"\xff\xfe",
        b'{"reader": "another version", "values": {}}',
    ],
)
def test_a_damaged_memory_or_one_of_another_version_is_read_as_empty_and_written_again(tmp_path, damage):
    first = everything()
    file = tmp_path / "cache" / FILE
    whole = file.read_bytes()
    file.write_bytes(damage)
    registry.remember_in(tmp_path / "cache")
    assert everything() == first
    assert json.loads(file.read_bytes()) == json.loads(whole)


def test_a_damaged_value_is_read_from_its_file(tmp_path):
    first = everything()
    file = tmp_path / "cache" / FILE
    stored = json.loads(file.read_bytes())
    stored["values"] = {key: {"task": 3, "unknown": True} for key in stored["values"]}
    file.write_text(json.dumps(stored), encoding="utf-8")
    registry.remember_in(tmp_path / "cache")
    assert everything() == first


def a_file(folder: Path, text: str) -> Path:
    path = folder / "a_format.py"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_of_other_content_is_not_known_though_its_time_and_size_are_the_same(tmp_path):
    memory, path = ManifestMemory(tmp_path / FILE), a_file(tmp_path, "1")
    memory.keep(path, FormatManifest, FormatManifest(base="onnx"))
    assert memory.recall(path, FormatManifest) == FormatManifest(base="onnx")
    state = path.stat()
    path.write_text("2", encoding="utf-8")
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert memory.recall(path, FormatManifest) is None


def test_what_was_read_as_one_kind_is_not_known_as_another(tmp_path):
    memory, path = ManifestMemory(tmp_path / FILE), a_file(tmp_path, "1")
    memory.keep(path, RECIPES, {})
    assert memory.recall(path, RECIPES) == {}
    assert memory.recall(path, FormatManifest) is None


def test_a_value_that_json_cannot_hold_is_not_kept(tmp_path):
    memory, path = ManifestMemory(tmp_path / FILE), a_file(tmp_path, "1")
    recipe = RecipeDeclaration("r", "fp32", tolerance={"f": Tolerance(max_kl=float("inf"))})
    memory.keep(path, RECIPES, {"r": recipe})
    assert memory.recall(path, RECIPES) is None


def test_only_the_newest_values_stay(tmp_path, monkeypatch):
    monkeypatch.setattr(manifest_memory, "MOST_KEPT", 2)
    memory = ManifestMemory(tmp_path / FILE)
    for text in "abc":
        memory.keep(a_file(tmp_path, text), FormatManifest, FormatManifest(base=text))
    memory.save()
    later = ManifestMemory(tmp_path / FILE)
    read = [later.recall(a_file(tmp_path, text), FormatManifest) for text in "abc"]
    assert read == [None, FormatManifest(base="b"), FormatManifest(base="c")]


def test_where_the_cache_cannot_be_written_the_registry_reads_the_files(tmp_path):
    (tmp_path / "file").write_text("no folder", encoding="utf-8")
    registry.remember_in(tmp_path / "file")
    assert "text-encoder" in registry.families()
    assert (tmp_path / "file").read_text(encoding="utf-8") == "no folder"


def test_a_mistake_in_a_manifest_is_told_each_time(tmp_path, monkeypatch):
    folder = tmp_path / "engines"
    folder.mkdir()
    (folder / "bad.py").write_text("MANIFEST = EngineManifest(format=None, mods=('a',))\n", encoding="utf-8")
    monkeypatch.setenv(registry.EXTRA_ENGINES, str(folder))
    for _ in range(2):
        registry.forget()
        with pytest.raises(registry.PluginError, match="no field 'mods'"):
            registry.engines()
