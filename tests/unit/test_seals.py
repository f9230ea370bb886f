"""A folder is compared with its seal: what differs is found, and reading again stays within its budget."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from faulty_files import flip
from msgspec.structs import replace

from bench.prepare import seals
from bench.prepare.seals import ReadBudget, Seal, compare, make

NOTHING, PLENTY = ReadBudget(0), ReadBudget(60)


def rotten(seal: Seal, folder: Path, name: str) -> Seal:
    """The seal as if a byte had changed on the disk without any write: with the times that the file has now."""
    stat = (folder / name).stat()
    times = replace(seal.files[name], mtime_ns=stat.st_mtime_ns, ctime_ns=stat.st_ctime_ns)
    return replace(seal, files=seal.files | {name: times})


@pytest.fixture
def folder(tmp_path) -> Path:
    place = tmp_path / "thing"
    (place / "inner").mkdir(parents=True)
    (place / "model.onnx").write_bytes(b"weights" * 1000)
    (place / "inner" / "config.json").write_text("{}", encoding="utf-8")
    (place / "link").symlink_to("model.onnx")
    return place


def test_a_folder_that_is_as_it_was_is_read_only_as_far_as_the_budget_allows(folder):
    seal = make(folder)
    assert set(seal.files) == {"model.onnx", "inner/config.json", "link"}
    first = compare(folder, seal, NOTHING, since_s=time.time())
    assert (first.problems, first.read_bytes, first.is_new) == ((), 0, False)
    second = compare(folder, seal, PLENTY, since_s=time.time())
    assert (second.problems, second.is_new) == ((), True)
    assert second.read_bytes >= 7002
    # Read by this process already.
    assert compare(folder, second.seal, PLENTY, since_s=seal.files["link"].read_s - 1).read_bytes == 0


def test_a_changed_byte_is_found_without_any_budget_though_the_time_was_set_back(folder):
    seal, file = make(folder), folder / "model.onnx"
    before = file.stat()
    flip(file)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    found = compare(folder, seal, NOTHING)
    assert found.problems == ("model.onnx has changed",)
    assert found.names == ("model.onnx",)


def test_a_byte_that_changed_without_a_write_is_found_where_the_budget_allows(folder):
    seal = make(folder)
    flip(folder / "model.onnx")
    seal = rotten(seal, folder, "model.onnx")
    now = time.time()
    assert compare(folder, seal, NOTHING, since_s=now).problems == ()
    assert compare(folder, seal, PLENTY, since_s=now).problems == ("model.onnx has changed",)
    assert compare(folder, seal, NOTHING, thorough=True, since_s=now).problems == ("model.onnx has changed",)


def test_what_no_run_has_read_for_a_week_is_read_whatever_that_takes(folder):
    seal = make(folder)
    flip(folder / "model.onnx")
    seal = rotten(seal, folder, "model.onnx")
    old = replace(seal.files["model.onnx"], read_s=time.time() - seals.MOST_AGE_S - 1)
    assert compare(folder, replace(seal, files=seal.files | {"model.onnx": old}), NOTHING).problems


def test_what_was_found_changed_is_found_by_every_later_run(folder):
    seal = make(folder)
    flip(folder / "model.onnx")
    found = compare(folder, rotten(seal, folder, "model.onnx"), PLENTY, since_s=time.time())
    assert found.is_new
    assert compare(folder, found.seal, NOTHING).problems == ("model.onnx has changed",)


def test_a_file_that_was_written_again_with_the_same_content_is_no_damage(folder):
    seal = make(folder)
    (folder / "model.onnx").write_bytes((folder / "model.onnx").read_bytes())
    found = compare(folder, seal, NOTHING)
    assert (found.problems, found.is_new) == ((), True)
    assert compare(folder, found.seal, NOTHING).read_bytes == 0


def test_missing_cut_and_added_files_and_other_links_are_named(folder):
    seal = make(folder)
    (folder / "inner" / "config.json").unlink()
    os.truncate(folder / "model.onnx", 10)
    (folder / "link").unlink()
    (folder / "link").symlink_to("inner/any.json")
    (folder / "more.py").touch()
    found = compare(folder, seal, NOTHING, is_foreign=lambda name: name.endswith(".py"))
    assert set(found.problems) == {
        "inner/config.json is missing",
        "model.onnx has 10 bytes and had 7000",
        "link has 14 bytes and had 10",
        "more.py was added",
    }
    assert compare(folder, make(folder), NOTHING).problems == ()


def test_files_that_are_added_from_time_to_time_are_sealed_where_they_are_sound(folder):
    seal = make(folder)
    (folder / "good").touch()
    (folder / "bad").touch()
    found = compare(folder, seal, NOTHING, is_sound=lambda path: path.name == "good")
    assert found.problems == ("bad has changed",)
    assert "good" in found.seal.files
    assert "bad" not in found.seal.files


def test_a_budget_ends_and_learns_how_fast_the_disk_is():
    budget = ReadBudget(1.0)
    assert budget.allows(200 * 2**20)
    assert not budget.allows(2**30)
    budget.spent(2**30, 0.5)
    assert budget.allows(400 * 2**20)
    budget.spent(2**30, 0.5)
    assert not budget.allows(1)
    assert budget.allows(0)


def test_a_seal_that_cannot_be_read_is_none(tmp_path, folder):
    place = tmp_path / seals.SEAL
    assert seals.read(place) is None
    seals.write(place, make(folder))
    assert seals.read(place) == seals.read(place) != None  # noqa: E711
    place.write_bytes(b'{"files": {"a": [1')
    assert seals.read(place) is None
    seals.write(tmp_path / "thing" / "model.onnx" / "inside-a-file", make(folder))


def test_files_outside_of_the_folder_are_watched(tmp_path, folder):
    program = tmp_path / "python"
    program.write_text("1", encoding="utf-8")
    seal = make(folder, outside=[program])
    assert seals.changed_outside(seal) == []
    program.write_text("12", encoding="utf-8")
    assert seals.changed_outside(seal) == [program]
    assert seals.changed_outside(seals.with_outside(seal, [program])) == []
    program.unlink()
    assert seals.changed_outside(seal) == [program]
