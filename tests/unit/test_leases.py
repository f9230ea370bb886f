"""A lease keeps what a running process uses, whatever the times of folders say; the lease of an ended one does not."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
from filelock import FileLock
from msgspec.structs import replace

from bench.cache import prune
from bench.prepare import leases
from bench.prepare.artifacts import Artifacts
from bench.prepare.cache_use import USED, in_use, removing, touch, used_by_others
from bench.prepare.leases import FOREIGN_S, Holder, Lease, running


def an_artifact(cache: Path) -> Path:
    """An artifact that was used last a year ago."""
    folder = Artifacts(cache / "artifacts").ensure("model", {"model": "m"}, lambda _: ()).folder
    long_ago = time.time() - 365 * 24 * 3600
    os.utime(folder / USED, (long_ago, long_ago))
    return folder


def a_lease(cache: Path, **values: object) -> Path:
    """The file of a lease of another process, without a lock: as on a file system that has none."""
    mine = Holder(cache).lease
    path = cache / leases.FOLDER / f"{time.time_ns()}-1.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.encode(replace(mine, began_s=time.time(), **values)))  # type: ignore[arg-type]
    return path


def test_what_a_lease_names_stays_though_its_time_is_old(tmp_path):
    folder = an_artifact(tmp_path)
    with in_use(tmp_path):
        touch(folder)
        os.utime(folder / USED, (0, 0))
        assert [entry.key for entry in prune(tmp_path, 0, ["artifact"]).spared] == [folder.name]
    assert [entry.key for entry in prune(tmp_path, 0, ["artifact"]).removed] == [folder.name]


def test_a_lease_says_who_uses_what_since_when(tmp_path):
    with in_use(tmp_path):
        touch(tmp_path / "artifacts" / "a")
        touch(tmp_path / "artifacts" / "a")
        touch(tmp_path.parent / "elsewhere")
        (path,) = (tmp_path / leases.FOLDER).glob("*.json")
        lease = msgspec.json.decode(path.read_bytes(), type=Lease)
    assert (lease.host, lease.pid, lease.uses) == (socket.gethostname(), os.getpid(), ("artifacts/a",))
    assert 0 <= time.time() - lease.began_s < 60
    assert list((tmp_path / leases.FOLDER).iterdir()) == []


@pytest.mark.parametrize(
    ("values", "is_honoured"),
    [
        ({}, True),
        ({"pid": 2**22 + 1}, False),
        # The id was given to another process meanwhile.
        ({"started_s": 1.0}, False),
        ({"boot": "before the machine started again"}, False),
        ({"host": "another", "pid": 2**22 + 1}, True),
    ],
)
def test_the_lease_of_a_process_that_has_ended_is_void(tmp_path, values, is_honoured):
    folder = an_artifact(tmp_path)
    path = a_lease(tmp_path, uses=(f"artifacts/{folder.name}",), **values)
    assert len(prune(tmp_path, 0, ["artifact"]).spared) == is_honoured
    assert path.exists() == is_honoured


def test_the_lease_of_another_host_is_honoured_for_a_time(tmp_path):
    path = a_lease(tmp_path, host="another")
    then = time.time() - FOREIGN_S - 60
    os.utime(path, (then, then))
    assert running(tmp_path).leases == ()
    assert not path.exists()


def test_a_lock_that_is_held_is_of_a_running_process_whatever_the_lease_says(tmp_path):
    folder = an_artifact(tmp_path)
    path = a_lease(tmp_path, uses=(f"artifacts/{folder.name}",), pid=2**22 + 1)
    with FileLock(path.with_suffix(".lock")):
        assert len(prune(tmp_path, 0, ["artifact"]).spared) == 1


def test_a_damaged_lease_whose_lock_is_held_keeps_all_that_was_used_since(tmp_path):
    folder = an_artifact(tmp_path)
    path = a_lease(tmp_path)
    path.write_bytes(b'{"host": ')
    with FileLock(path.with_suffix(".lock")):
        touch(folder)
        assert len(prune(tmp_path, 0, ["artifact"]).spared) == 1
    assert len(prune(tmp_path, 0, ["artifact"]).removed) == 1


def test_several_processes_hold_leases_and_each_knows_of_the_others(tmp_path):
    folder = an_artifact(tmp_path)
    script = (
        "import sys; from pathlib import Path; from bench.prepare.cache_use import in_use, touch\n"
        "with in_use(Path(sys.argv[1])): touch(Path(sys.argv[2])); print('in use', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", script, str(tmp_path), str(folder)]
    with in_use(tmp_path):
        touch(folder)
        assert not used_by_others(tmp_path, folder)
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
            assert other.stdout is not None
            other.stdout.readline()
            assert used_by_others(tmp_path, folder)
            assert len(running(tmp_path).leases) == 2
            other.communicate("")
        assert not used_by_others(tmp_path, folder)


def test_leases_that_no_lock_can_guard_are_still_held(tmp_path, monkeypatch):
    def none(*_: object, **__: object) -> None:
        raise NotImplementedError

    folder = an_artifact(tmp_path)
    with in_use(tmp_path):
        touch(folder)
        monkeypatch.setattr(FileLock, "acquire", none)
        assert len(running(tmp_path).leases) == 1


def test_a_thread_that_outlives_the_run_leaves_no_lease(tmp_path):
    with removing(tmp_path):
        pass
    holder = Holder(tmp_path)
    holder.take()
    holder.release()
    holder.add(tmp_path / "artifacts" / "late")
    assert list((tmp_path / leases.FOLDER).iterdir()) == []
