"""The cache builds once, gives a whole artifact or none, and finds every damage; with processes that really die."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.cache import Entry, entries, prune, verify
from bench.errors import DiskError
from bench.prepare import artifacts
from bench.prepare.artifacts import MANIFEST, Artifacts, key_of
from bench.prepare.seals import SEAL
from bench.records import Note, note

PARTS = {"model": "minilm", "recipe": "fp32", "source": "abc", "opset": "18"}
DAY_S = 86400
posix_only = pytest.mark.skipif(sys.platform == "win32", reason="not on this system: SIGKILL")


@pytest.fixture
def cache(tmp_path) -> Artifacts:
    return Artifacts(tmp_path / "artifacts")


class Builder:
    """Writes a small model, and counts how often it was asked."""

    def __init__(self, content: bytes = b"weights") -> None:
        self.content, self.calls = content, 0

    def __call__(self, folder: Path) -> tuple[Note, ...]:
        self.calls += 1
        (folder / "model.onnx").write_bytes(self.content)
        (folder / "more").mkdir()
        (folder / "more" / "data.bin").write_bytes(b"12345")
        return (note("opset-of-file", opset=18),)


def made(cache: Artifacts, **parts: str) -> artifacts.Artifact:
    return cache.ensure("model", PARTS | parts, Builder())


def inside(cache: Artifacts) -> set[str]:
    """What the cache's folder holds beside the locks."""
    return {path.name for path in cache.root.iterdir() if path.suffix != ".lock"}


def listed(cache: Artifacts) -> list[Entry]:
    return entries(cache.root.parent, ["artifact"])


def damaged(cache: Artifacts) -> dict[str, list[str]]:
    return {damage.key: list(damage.problems) for damage in verify(cache.root.parent, ["artifact"])}


def pruned(cache: Artifacts, days: float) -> dict[str, int]:
    """The bytes that pruning freed, by key."""
    return {entry.key: entry.size_bytes for entry in prune(cache.root.parent, days, ["artifact"]).removed}


# --- keys -------------------------------------------------------------------------------------------------------------


def test_the_same_parts_have_the_same_key_in_any_order():
    assert key_of(PARTS) == key_of(dict(reversed(PARTS.items())))


@pytest.mark.parametrize("part", PARTS)
def test_a_change_of_any_part_changes_the_key(part):
    assert key_of(PARTS | {part: "other"}) != key_of(PARTS)


def test_parts_that_only_look_alike_side_by_side_have_different_keys():
    assert key_of({"a": "b", "c": ""}) != key_of({"a": "", "c": "b"})


# --- once -------------------------------------------------------------------------------------------------------------


def test_an_artifact_is_built_once_and_found_again(cache):
    build = Builder()
    first, second = (cache.ensure("model", PARTS, build) for _ in range(2))
    assert build.calls == 1
    assert first == second == cache.find(PARTS)


def test_an_artifact_knows_what_it_is_made_of(cache):
    record = made(cache).record
    assert record.parts == PARTS
    assert set(record.files) == {"model.onnx", "more/data.bin"}
    assert record.size_bytes == len(b"weights") + 5
    assert record.notes == (note("opset-of-file", opset=18),)
    assert record.key == made(cache).folder.name


def test_an_artifact_whose_record_has_sentences_as_notes_is_used_again_and_no_damage(cache):
    folder = made(cache).folder
    record = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    (folder / MANIFEST).write_text(json.dumps(record | {"notes": ["opset 18"]}), encoding="utf-8")
    (folder / SEAL).unlink()
    cache = Artifacts(cache.root)
    build = Builder()
    again = cache.ensure("model", PARTS, build)
    assert (build.calls, again.record.notes) == (0, (note("text", text="opset 18"),))
    assert cache.find_key(folder.name) == again
    assert (damaged(cache), [entry.what for entry in listed(cache)]) == ({}, ["model minilm fp32"])


@pytest.mark.parametrize("notes", [3, [3], {"a": "b"}])
def test_an_artifact_whose_notes_are_neither_notes_nor_sentences_is_damaged(cache, notes):
    folder = made(cache).folder
    record = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    (folder / MANIFEST).write_text(json.dumps(record | {"notes": notes}), encoding="utf-8")
    assert cache.find(PARTS) is None
    assert damaged(cache) == {folder.name: [f"{MANIFEST} cannot be read"]}


def test_another_recipe_is_another_artifact(cache):
    assert made(cache).folder != made(cache, recipe="fp16").folder


def test_what_was_never_built_is_not_found(cache):
    assert cache.find(PARTS) is None
    assert listed(cache) == []
    assert damaged(cache) == {}
    assert pruned(cache, 0) == {}


SLOW_BUILD = """
import os, sys, time
from pathlib import Path
from bench.prepare.artifacts import Artifacts

def build(folder):
    with open(sys.argv[2], "a") as log:
        log.write(f"{os.getpid()}\\n")
    (folder / "model.onnx").write_bytes(b"half")
    print("building", flush=True)
    time.sleep(float(sys.argv[3]))
    (folder / "model.onnx").write_bytes(b"whole")
    return ()

artifact = Artifacts(Path(sys.argv[1])).ensure("model", {"model": "m"}, build)
assert (artifact.folder / "model.onnx").read_bytes() == b"whole"
"""


def building(cache: Artifacts, log: Path, seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SLOW_BUILD, str(cache.root), str(log), str(seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_two_processes_at_the_same_time_build_once(cache, tmp_path):
    log = tmp_path / "builders"
    racers = [building(cache, log, 0.3) for _ in range(3)]
    assert [racer.wait(60) for racer in racers] == [0, 0, 0]
    assert len(log.read_text().splitlines()) == 1
    assert inside(cache) == {key_of({"model": "m"})}


# --- whole or not there -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mishap", [RuntimeError("no"), KeyboardInterrupt()])
def test_a_build_that_raises_leaves_nothing_behind(cache, mishap):
    def fail(folder: Path) -> tuple[str, ...]:
        (folder / "model.onnx").write_bytes(b"half")
        raise mishap

    with pytest.raises(type(mishap)):
        cache.ensure("model", PARTS, fail)
    assert cache.find(PARTS) is None
    assert inside(cache) == set()
    assert made(cache).folder.exists()


@posix_only
def test_a_builder_killed_midway_leaves_no_torn_entry_and_the_next_run_builds(cache, tmp_path):
    victim = building(cache, tmp_path / "log", 60)
    assert victim.stdout is not None
    assert victim.stdout.readline() == "building\n"
    victim.send_signal(signal.SIGKILL)
    victim.wait(10)
    assert cache.find({"model": "m"}) is None
    assert [entry.unfinished for entry in listed(cache)] == [True]
    assert damaged(cache) == {}
    assert building(cache, tmp_path / "log", 0).wait(60) == 0
    assert inside(cache) == {key_of({"model": "m"})}, "what the killed one left is swept away"


@posix_only
def test_pruning_spares_what_is_being_built_and_takes_what_a_killed_run_left(cache, tmp_path):
    builder = building(cache, tmp_path / "log", 60)
    assert builder.stdout is not None
    builder.stdout.readline()
    assert pruned(cache, 0) == {}
    builder.send_signal(signal.SIGKILL)
    builder.wait(10)
    assert list(pruned(cache, 30).values()) == [len(b"half")]
    assert inside(cache) == set()


def test_a_full_disk_is_told_and_leaves_nothing_behind(cache, monkeypatch):
    def full(_: int) -> None:
        raise OSError(28, os.strerror(28))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(DiskError, match="the disk is full"):
            made(cache)
    assert inside(cache) == set()
    assert made(cache).folder.exists()


def test_a_cache_in_a_place_that_is_no_folder_is_told(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DiskError, match="name a folder that can be written"):
        made(Artifacts(tmp_path / "file"))


# --- damage -----------------------------------------------------------------------------------------------------------


def test_a_whole_cache_has_no_damage(cache):
    made(cache), made(cache, recipe="fp16")
    assert damaged(cache) == {}


def test_a_flipped_bit_is_found(cache):
    artifact = made(cache)
    made(cache, recipe="fp16")
    path = artifact.folder / "model.onnx"
    content = bytearray(path.read_bytes())
    content[3] ^= 1
    path.write_bytes(content)
    assert damaged(cache) == {artifact.record.key: ["model.onnx has changed"]}


def test_a_missing_file_is_found_and_built_again(cache):
    artifact = made(cache)
    (artifact.folder / "more" / "data.bin").unlink()
    assert damaged(cache) == {artifact.record.key: ["more/data.bin is missing"]}
    assert cache.find(PARTS) is None
    made(cache)
    assert damaged(cache) == {}


def test_a_file_that_a_power_cut_left_short_is_built_again(cache):
    (made(cache).folder / "model.onnx").write_bytes(b"")
    assert cache.find(PARTS) is None
    assert (made(cache).folder / "model.onnx").read_bytes() == b"weights"


@pytest.mark.parametrize("content", [b"", b"{", b"{}", b"\xff", b'{"key": "\xff"}', None])
def test_an_unreadable_manifest_is_found_and_built_again(cache, content):
    artifact = made(cache)
    manifest = artifact.folder / MANIFEST
    manifest.unlink() if content is None else manifest.write_bytes(content)
    assert damaged(cache) == {artifact.record.key: [f"{MANIFEST} cannot be read"]}
    assert [entry.what for entry in listed(cache)] == ["unreadable"]
    build = Builder()
    cache.ensure("model", PARTS, build)
    assert build.calls == 1
    assert damaged(cache) == {}


# --- removal ----------------------------------------------------------------------------------------------------------


def unused_for(artifact: artifacts.Artifact, days: float) -> None:
    then = time.time() - days * DAY_S
    os.utime(artifact.folder / artifacts.USED, (then, then))


def test_removing_an_artifact_frees_its_bytes_and_no_others(cache):
    one, other = made(cache), made(cache, recipe="fp16")
    unused_for(one, 2)
    assert pruned(cache, 1)[one.record.key] >= one.record.size_bytes
    assert cache.find(PARTS) is None
    assert inside(cache) == {other.record.key}


def test_pruning_takes_what_was_not_used_for_so_long(cache):
    old, young = made(cache), made(cache, recipe="fp16")
    unused_for(old, 40)
    unused_for(young, 20)
    assert list(pruned(cache, 30)) == [old.record.key]
    assert inside(cache) == {young.record.key}


def test_finding_an_artifact_by_ensure_makes_it_young(cache):
    unused_for(made(cache), 40)
    made(cache)
    assert pruned(cache, 30) == {}


def test_pruning_with_no_days_takes_everything(cache):
    made(cache), made(cache, recipe="fp16")
    assert len(pruned(cache, 0)) == 2
    assert inside(cache) == set()


def test_the_list_shows_the_last_used_first_and_what_each_is(cache):
    unused_for(made(cache), 3)
    unused_for(made(cache, recipe="fp16"), 1)
    shown = listed(cache)
    assert [entry.what for entry in shown] == ["model minilm fp16", "model minilm fp32"]
    assert [round(entry.used_days_ago) for entry in shown] == [1, 3]
    assert shown[0].size_bytes >= 12
