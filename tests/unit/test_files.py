"""A file is whole or not there, and what the disk refuses becomes a sentence."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from bench import files
from bench.errors import DiskError
from bench.files import append_synced, write_atomically, writing

has_full_device = pytest.mark.skipif(not Path("/dev/full").exists(), reason="not on this system: a device that is full")


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_what_was_written_is_read_back_and_can_be_read_by_others(tmp_path):
    path = tmp_path / "new" / "folder" / "run.json"
    write_atomically(path, b"whole")
    assert path.read_bytes() == b"whole"
    if sys.platform != "win32":
        assert path.stat().st_mode & 0o777 == 0o644


def test_a_second_write_replaces_the_first(tmp_path):
    path = tmp_path / "run.json"
    write_atomically(path, b"a longer first")
    write_atomically(path, b"second")
    assert path.read_bytes() == b"second"
    assert names(tmp_path) == ["run.json"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_fills_up_amid_a_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, number):
    path = tmp_path / "run.json"
    write_atomically(path, b"old")

    def full(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskError, match=r"run\.json could not be written: the disk is full; free some space"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["run.json"]


def test_an_interruption_amid_a_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "run.json"
    write_atomically(path, b"old")

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["run.json"]


@has_full_device
def test_a_line_that_a_really_full_device_refuses_is_a_disk_error():
    with pytest.raises(DiskError, match="the disk is full"):
        append_synced(Path("/dev/full"), b"a line\n")


def test_a_file_in_the_place_of_a_folder_is_told(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DiskError, match="name a folder that can be written"):
        write_atomically(tmp_path / "file" / "run.json", b"")


def test_a_folder_in_the_place_of_a_file_is_told(tmp_path):
    with pytest.raises(DiskError, match="name a folder that can be written"):
        append_synced(tmp_path, b"a line\n")


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ENAMETOOLONG])
def test_what_the_system_refuses_for_other_reasons_keeps_its_words(number):
    with pytest.raises(DiskError) as caught, writing(Path("place")):
        raise OSError(number, os.strerror(number))
    assert os.strerror(number) in str(caught.value)
    assert "place" in str(caught.value)


def test_what_has_nothing_to_do_with_the_disk_is_left_as_it_is():
    with pytest.raises(ConnectionResetError), writing(Path("place")):
        raise ConnectionResetError(errno.ECONNRESET, "reset")


def test_lines_are_added_at_the_end_and_synced_each(tmp_path, monkeypatch):
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    append_synced(tmp_path / "results.jsonl", b"1\n")
    append_synced(tmp_path / "results.jsonl", b"2\n")
    assert (tmp_path / "results.jsonl").read_bytes() == b"1\n2\n"
    assert len(synced) == 2


# --- links that somebody else left in a folder ------------------------------------------------------------------------


def test_a_write_replaces_a_link_and_leaves_its_target_alone(tmp_path):
    target = tmp_path / "of-the-user"
    target.write_bytes(b"mine")
    (tmp_path / "report.html").symlink_to(target)
    write_atomically(tmp_path / "report.html", b"report")
    assert target.read_bytes() == b"mine"
    assert not (tmp_path / "report.html").is_symlink()


@pytest.mark.skipif(not hasattr(os, "O_NOFOLLOW"), reason="not on this system: opening without following links")
@pytest.mark.parametrize("exists", [True, False])
def test_no_line_is_added_through_a_link(tmp_path, exists):
    target = tmp_path / "of-the-user"
    if exists:
        target.write_bytes(b"mine")
    (tmp_path / "results.jsonl").symlink_to(target)
    with pytest.raises(DiskError, match=r"results\.jsonl could not be written: it is a symbolic link"):
        append_synced(tmp_path / "results.jsonl", b"line\n")
    assert target.exists() == exists
    assert not exists or target.read_bytes() == b"mine"


@pytest.mark.parametrize("raised", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_lines_that_are_written_in_part_are_taken_back(tmp_path, monkeypatch, raised):
    path = tmp_path / "lines"
    append_synced(path, b"first\n")
    opened = open

    class Half:
        """A file that takes three bytes."""

        def __init__(self, *given: Any, **named: Any) -> None:
            self.file = opened(*given, **named)

        def __enter__(self) -> Half:
            return self

        def __exit__(self, *_: object) -> None:
            self.file.close()

        def __getattr__(self, name: str) -> Any:
            return getattr(self.file, name)

        def write(self, content: memoryview) -> int:
            if len(content) < 14:
                raise raised
            return int(self.file.write(content[:3]))

    monkeypatch.setattr(files, "open", Half, raising=False)
    with pytest.raises(DiskError if isinstance(raised, OSError) else KeyboardInterrupt):
        append_synced(path, b"second\nthird\n\n")
    monkeypatch.undo()
    assert path.read_bytes() == b"first\n"
    append_synced(path, b"second\n")
    assert path.read_bytes() == b"first\nsecond\n"


def test_a_folder_that_somebody_removes_is_told(tmp_path):
    with pytest.raises(DiskError, match="is gone; was it removed, or its disk"):
        append_synced(tmp_path / "gone" / "lines", b"a\n")
