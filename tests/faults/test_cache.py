"""A cache that is damaged, pruned, read-only or full while the real command uses it."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from bench import store

from .commands import HERE, VERDICTS, begin, blocks, finish, start, verdicts
from .test_interrupted import LONG_S, wait_for

pytestmark = pytest.mark.skipif(os.name == "nt", reason="not on this system: there are no such mounts and signals")


@cache
def can_mount() -> bool:
    """Whether this user may have mounts of its own: root does, where the container lets it."""
    if shutil.which("unshare") is None:
        return False
    return subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode == 0


mounts = pytest.mark.skipif(not can_mount(), reason="not on this system: this user may not mount anything")


def mounted(setup: str, command: list[str], **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a namespace of its own, after mounts that nobody else sees."""
    script = f"set -e\n{setup}\nexec {shlex.join(command)}"
    environment = {**os.environ, **variables}
    return subprocess.run(
        ["unshare", "-m", "bash", "-c", script], cwd=HERE, env=environment, capture_output=True, text=True, check=False
    )


def prune(cache: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench", "cache", "prune", "--unused-days", "0", "--cache-dir", str(cache)]
    return subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=False)


def test_pruning_takes_nothing_that_a_run_uses_and_all_of_it_after_a_sigkill(tmp_path):
    folder = tmp_path / "run"
    process = start(folder, blocks=12)
    wait_for(folder / store.RESULTS)
    (code,) = [path for path in (tmp_path / "cache" / "worker").iterdir() if path.is_dir()]
    # As if the clock had been wrong: the lease names it all the same.
    os.utime(code, (0, 0))
    done = prune(tmp_path / "cache")
    assert done.returncode == 0, done.stderr
    assert "kept, because a running process uses it" in done.stdout
    assert code.is_dir()
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=LONG_S)
    os.utime(code, (0, 0))
    assert prune(tmp_path / "cache").returncode == 0
    assert not code.exists()
    # What was removed is made again.
    finish(folder)
    assert set(blocks(folder).values()) == {1}
    assert verdicts(folder) == VERDICTS


def test_a_damaged_worker_is_copied_again_before_anything_is_measured(tmp_path):
    first = start(tmp_path / "first", blocks=1)
    first.communicate(timeout=LONG_S)
    (code,) = [path for path in (tmp_path / "cache" / "worker").iterdir() if path.is_dir()]
    file = code / "bench" / "worker" / "timing.py"
    before, whole = file.stat(), file.read_bytes()
    file.write_bytes(whole.replace(b"perf_counter_ns", b"monotonic_ns   ", 1))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.read_bytes() != whole
    assert file.stat().st_size == len(whole)
    process = start(tmp_path / "second", blocks=1)
    process.communicate(timeout=LONG_S)
    assert process.returncode == 0
    assert file.read_bytes() == whole
    assert verdicts(tmp_path / "second") == VERDICTS


@mounts
def test_a_read_only_cache_that_holds_everything_is_enough_also_to_resume(tmp_path):
    finish(tmp_path / "first")
    folder, cache = tmp_path / "run", tmp_path / "cache"
    here = shlex.quote(str(cache))
    setup = f"mount --bind {here} {here}\nmount -o remount,ro,bind {here}\n! touch {here}/x 2>/dev/null"
    state = str(tmp_path / "state")
    listed = sorted(cache.rglob("*"))
    for _ in range(2):
        done = mounted(setup, begin(folder), XDG_STATE_HOME=state)
        assert done.returncode == 0, done.stderr
    assert verdicts(folder) == VERDICTS
    assert set(blocks(folder).values()) == {1}
    assert sorted(cache.rglob("*")) == listed


@mounts
@pytest.mark.parametrize("size", ["20k", pytest.param("8k", marks=pytest.mark.nightly)])
def test_a_full_disk_under_a_run_leaves_a_folder_that_is_resumed_or_used_again(tmp_path, size):
    finish(tmp_path / "first")
    small = tmp_path / "small"
    small.mkdir()
    folder = small / "run"
    kept = shlex.quote(str(tmp_path / "kept"))
    setup = f"mount -t tmpfs -o size={size} none {shlex.quote(str(small))}"
    command = ["bash", "-c", f'"$@"; code=$?; cp -r {shlex.quote(str(small))} {kept}; exit $code', "run"]
    words = [word.replace(str(small / "cache"), str(tmp_path / "cache")) for word in begin(folder)]
    shutil.move(small / "matrix.toml", tmp_path / "matrix.toml")
    words = [word.replace(str(small / "matrix.toml"), str(tmp_path / "matrix.toml")) for word in words]
    done = mounted(setup, [*command, *words])
    assert done.returncode == 2, done.stderr
    last = done.stderr.splitlines()[-1]
    assert "the disk is full" in last
    assert "Traceback" not in done.stderr
    # With the room that it lacked, at the same place.
    shutil.copytree(tmp_path / "kept", small, dirs_exist_ok=True)
    words = [word.replace(str(small / "cache"), str(tmp_path / "cache")) for word in begin(folder)]
    again = subprocess.run(words, cwd=HERE, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert verdicts(folder) == VERDICTS
    assert set(blocks(folder).values()) == {1}


@mounts
def test_a_full_cache_says_what_to_do_and_the_run_goes_on_when_there_is_room(tmp_path):
    cache = tmp_path / "cache"
    cache.mkdir()
    here = shlex.quote(str(cache))
    first = shlex.join(begin(tmp_path / "run"))
    setup = (
        f"mount -t tmpfs -o size=64k none {here}\n{first} 2> {shlex.quote(str(tmp_path / 'log'))} && exit 99\n"
        f"echo $?\nls {here}/worker\nmount -o remount,size=20m {here}"
    )
    # The whole run folder is there, if it began.
    resume = [
        "bash",
        "-c",
        f'test -e {shlex.quote(str(tmp_path / "run" / store.RUN))} && exec "$@" --resume "$0" || exit 98',
    ]
    words = begin(tmp_path / "run")
    words = words[: words.index("--matrix")]
    done = mounted(setup, [*resume, str(tmp_path / "run"), *words])
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "2"
    last = (tmp_path / "log").read_text(encoding="utf-8").splitlines()[-1]
    assert "the disk is full; free some space" in last
    assert "Traceback" not in last
    assert verdicts(tmp_path / "run") == VERDICTS
