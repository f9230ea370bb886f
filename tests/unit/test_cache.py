"""All that a cache holds is listed, checked and removed, and a running process keeps what it uses."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import venv
import zipfile
from pathlib import Path

import msgspec
import pytest
from builders import a_run

from bench.cache import KINDS, entries, prune, prune_damaged, verify
from bench.cli import crash
from bench.declare.manifest_memory import FILE as MEMORY
from bench.declare.manifest_memory import ManifestMemory
from bench.declare.targets import Runtime
from bench.default_paths import CRASHES
from bench.errors import UsageError
from bench.files import write_atomically
from bench.prepare import environments, own_runs, worker_code
from bench.prepare.artifacts import Artifacts
from bench.prepare.cache_use import USED, in_use, uses_cache
from bench.prepare.sources import wheel
from bench.records import TargetFacts
from bench.records.machine import Device

DAY_S = 86400.0
posix_only = pytest.mark.skipif(sys.platform == "win32", reason="not on this system: SIGKILL")


def unused_for(folder: Path, days: float) -> Path:
    """A folder or a file that was used last so long ago."""
    then = time.time() - days * DAY_S
    if folder.is_file():
        os.utime(folder, (then, then))
        return folder
    (folder / USED).touch()
    os.utime(folder / USED, (then, then))
    return folder


def an_artifact(cache: Path, **parts: str) -> Path:
    def build(folder: Path) -> tuple[str, ...]:
        (folder / "model.onnx").write_bytes(b"weights")
        return ()

    return Artifacts(cache / "artifacts").ensure("model", {"model": "minilm", **parts}, build).folder


def a_runtime(cache: Path) -> Path:
    """An interpreter without packages, recorded as `ensure` records one."""
    folder = cache / "runtimes" / "0123456789abcdef"
    venv.create(folder)
    record = environments._inspect(Runtime("ort", ("onnxruntime==1.31.1",)), environments._interpreter(folder))
    (folder / environments.RECORD).write_bytes(msgspec.json.encode(record))
    return folder


def a_wheel(cache: Path) -> Path:
    """A wheel that was fetched and unpacked earlier."""
    home = cache / "sources" / "wheels" / "pictures"
    home.mkdir(parents=True)
    name, content = "pictures-1.0-py3-none-any.whl", b"a picture"
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
    with zipfile.ZipFile(home / name, "w") as archive:
        archive.writestr("pictures/a.png", content)
        archive.writestr("pictures-1.0.dist-info/RECORD", f"pictures/a.png,sha256={digest},{len(content)}\n")
    sha256 = hashlib.sha256((home / name).read_bytes()).hexdigest()
    (home / "resolved.json").write_text(json.dumps({"": {"version": "1.0", "file": name, "sha256": sha256}}))
    wheel._unpacked(home, wheel.Fetched("1.0", name, sha256), "pictures")
    return home


def a_hub_model(cache: Path) -> Path:
    repo = cache / "sources" / "hub" / "models--owner--name"
    (repo / "blobs").mkdir(parents=True)
    (repo / "snapshots" / "c0ffee").mkdir(parents=True)
    small, big = b"{}", b"many weights"
    git = hashlib.sha1(f"blob {len(small)}\0".encode() + small).hexdigest()
    for name, content, shown in ((git, small, "config.json"), (hashlib.sha256(big).hexdigest(), big, "m.safetensors")):
        (repo / "blobs" / name).write_bytes(content)
        (repo / "snapshots" / "c0ffee" / shown).symlink_to(Path("..", "..", "blobs", name))
    return repo


def a_compile_cache(cache: Path) -> Path:
    folder = cache / "compiled" / "run-abc"
    (folder / "minilm--fp32--qnn").mkdir(parents=True)
    return folder


def a_probe(cache: Path) -> Path:
    file = cache / "probes" / "0123456789abcdef01234567.json"
    file.parent.mkdir()
    device = Device(type="gpu", index=0, vendor="NVIDIA", name="A GPU")
    file.write_bytes(msgspec.json.encode(TargetFacts(available=True, versions={"torch": "2.13.0"}, device=device)))
    return file


def an_own_run(cache: Path) -> Path:
    own_runs.mark(a_run(), cache)
    (file,) = (cache / own_runs.FOLDER).iterdir()
    return file


def a_crash(cache: Path) -> Path:
    file = cache / CRASHES / "crash-20270101-000000-1.txt"
    write_atomically(file, crash.text(KeyError("a"), ["gate", "--baseline", "main"]).encode())
    return file


@pytest.fixture
def full(tmp_path) -> dict[str, Path]:
    """A cache with one thing of each kind; its folders by kind."""
    made = {
        "artifact": an_artifact(tmp_path),
        "runtime": a_runtime(tmp_path),
        "wheel": a_wheel(tmp_path),
        "hub-model": a_hub_model(tmp_path),
        "worker-code": worker_code.stage(tmp_path),
        "compiled": a_compile_cache(tmp_path),
        "probe": a_probe(tmp_path),
        "code-facts": tmp_path / worker_code.DIGESTS,
        "own-run": an_own_run(tmp_path),
        "crash": a_crash(tmp_path),
    }
    assert list(made) == list(KINDS)
    return made


# --- listed -----------------------------------------------------------------------------------------------------------


def test_everything_is_listed_by_kind_with_what_it_is(full, tmp_path):
    listed = {entry.kind: entry for entry in entries(tmp_path)}
    assert list(listed) == list(KINDS)
    assert [entry.key for entry in listed.values()] == [folder.name for folder in full.values()]
    shown = {kind: entry.what for kind, entry in listed.items()}
    assert shown["artifact"] == "model minilm"
    assert shown["runtime"] == "ort: onnxruntime==1.31.1"
    assert shown["wheel"] == "pictures-1.0-py3-none-any.whl"
    assert shown["hub-model"] == "owner/name"
    assert shown["compiled"] == "minilm/fp32/qnn"
    assert shown["probe"] == "a usable target on gpu.0 with torch 2.13.0"
    assert shown["code-facts"] == "digests of the worker's code: 1"
    assert shown["own-run"] == "the mark of a run of yours: 1 of its states"
    assert shown["crash"] == "a fault of bench gate --baseline main"
    assert [kind for kind, entry in listed.items() if entry.unfinished] == ["compiled"]
    assert listed["hub-model"].size_bytes == len(b"{}") + len(b"many weights"), "a link takes no space"


def test_a_kind_can_be_chosen_and_a_wrong_one_is_answered_with_the_nearest(full, tmp_path):
    assert [entry.kind for entry in entries(tmp_path, ["runtime"])] == ["runtime"]
    with pytest.raises(UsageError, match="did you mean 'runtime'"):
        entries(tmp_path, ["runtimes"])


def test_an_empty_cache_holds_nothing(tmp_path):
    assert entries(tmp_path / "none") == []
    assert verify(tmp_path / "none") == []


def test_finding_a_runtime_makes_it_young(tmp_path):
    runtime = Runtime("ort", ("onnxruntime==1.31.1",))
    folder = a_runtime(tmp_path).rename(tmp_path / "runtimes" / environments.key(runtime))
    unused_for(folder, 40)
    assert environments.find(runtime, tmp_path) is not None
    assert entries(tmp_path, ["runtime"])[0].used_days_ago == 0


def test_staging_worker_code_again_makes_it_young(tmp_path):
    folder = worker_code.stage(tmp_path)
    then = time.time() - 40 * DAY_S
    for path in (folder, *folder.iterdir()):
        os.utime(path, (then, then))
    assert round(entries(tmp_path, ["worker-code"])[0].used_days_ago) == 40
    assert worker_code.stage(tmp_path) == folder
    assert entries(tmp_path, ["worker-code"])[0].used_days_ago == 0


def test_what_was_read_again_from_a_file_is_young(full, tmp_path):
    manifests = ManifestMemory(tmp_path / MEMORY)
    manifests.keep(full["probe"], int, 3)
    manifests.save()
    for path in (tmp_path / MEMORY, full["code-facts"]):
        unused_for(path, 40)
    assert [round(entry.used_days_ago) for entry in entries(tmp_path, ["code-facts"])] == [40, 40]
    worker_code.stage(tmp_path)
    ManifestMemory(tmp_path / MEMORY)
    listed = entries(tmp_path, ["code-facts"])
    assert [entry.used_days_ago for entry in listed] == [0, 0]
    assert [entry.what for entry in listed] == ["digests of the worker's code: 1", "manifests and lists of recipes: 1"]


# --- checked ----------------------------------------------------------------------------------------------------------


def test_what_is_whole_has_no_damage(full, tmp_path):
    assert verify(tmp_path) == []


def test_every_kind_of_damage_is_named_and_only_that_is_removed(full, tmp_path):
    (full["artifact"] / "model.onnx").write_bytes(b"Weights")
    environments._interpreter(full["runtime"]).unlink()
    next(full["wheel"].glob("*/pictures/a.png")).write_bytes(b"another")
    next((full["hub-model"] / "blobs").iterdir()).write_bytes(b"another")
    next(full["worker-code"].rglob("timing.py")).write_text("def (")
    full["probe"].write_text('{"available": "perhaps"}')
    full["code-facts"].write_text("{")
    full["own-run"].write_text("3")
    sound = an_artifact(tmp_path, model="vit")
    damaged = {damage.kind: damage.problems for damage in verify(tmp_path)}
    assert damaged["artifact"] == ("model.onnx has changed",)
    assert "does not answer as a Python interpreter" in damaged["runtime"][0]
    assert damaged["wheel"] == ("pictures/a.png has changed",)
    assert damaged["hub-model"][0].endswith(" has changed")
    assert damaged["worker-code"] == ("bench/worker/timing.py is no Python",)
    assert damaged["probe"] == ("is no record of a target",)
    assert damaged["code-facts"] == ("cannot be read",)
    assert damaged["own-run"] == ("is no mark of a run",)
    assert {entry.kind for entry in prune_damaged(tmp_path).removed} == set(damaged)
    assert sound.exists()
    assert full["compiled"].exists()


def test_a_runtime_whose_packages_are_not_those_of_its_record_is_damaged(tmp_path):
    folder = a_runtime(tmp_path)
    record = msgspec.json.decode((folder / environments.RECORD).read_bytes())
    record["packages"]["numpy"] = "2.4.6"
    (folder / environments.RECORD).write_bytes(msgspec.json.encode(record))
    (damage,) = verify(tmp_path)
    assert damage.problems == ("numpy was 2.4.6 and is absent",)


# --- removed ----------------------------------------------------------------------------------------------------------


def test_what_was_not_used_for_so_long_is_removed_and_the_rest_stays(full, tmp_path):
    for kind in ("artifact", "runtime", "wheel", "probe", "own-run", "crash"):
        unused_for(full[kind], 40)
    pruned = prune(tmp_path, 30)
    assert {entry.kind for entry in pruned.removed} == {"artifact", "runtime", "wheel", "compiled", "probe", "crash"}
    assert pruned.freed_bytes > 0
    kept = ["hub-model", "worker-code", "code-facts", "own-run"]
    assert [kind for kind, folder in full.items() if folder.exists()] == kept
    assert not [path for path in tmp_path.rglob("*") if "removed" in path.name]


def test_only_the_named_kinds_are_removed(full, tmp_path):
    assert [entry.kind for entry in prune(tmp_path, 0, ["runtime"]).removed] == ["runtime"]
    assert full["artifact"].exists()


def test_the_mark_of_an_own_run_is_removed_only_by_name(full, tmp_path):
    unused_for(full["own-run"], 400)
    prune(tmp_path, 0)
    assert own_runs.is_own(a_run(), tmp_path)
    assert [entry.kind for entry in prune(tmp_path, 30, ["own-run"]).removed] == ["own-run"]
    assert not own_runs.is_own(a_run(), tmp_path)


def test_a_runtime_that_a_stopped_run_left_half_made_is_removed_at_once(tmp_path):
    (tmp_path / "runtimes" / "fedcba9876543210" / "bin").mkdir(parents=True)
    assert [entry.kind for entry in prune(tmp_path, 30).removed] == ["runtime"]


def test_what_a_running_process_made_or_used_stays_and_older_things_go(full, tmp_path):
    unused_for(full["artifact"], 40)
    for kind in ("hub-model", "worker-code", "wheel", "compiled", "probe", "code-facts", "crash"):
        unused_for(full[kind], 1)
    with in_use(tmp_path):
        environments.touch(full["runtime"])
        running = tmp_path / "compiled" / "run-mine"
        running.mkdir()
        pruned = prune(tmp_path, 0)
        assert [entry.key for entry in pruned.spared] == [full["runtime"].name, "run-mine"]
        assert len(pruned.removed) == 8
        assert running.exists()
    assert {entry.kind for entry in prune(tmp_path, 0).removed} == {"runtime", "compiled"}


@posix_only
def test_a_killed_process_keeps_nothing_in_use(full, tmp_path):
    script = (
        "import sys, time; from pathlib import Path; from bench.prepare.cache_use import in_use\n"
        "with in_use(Path(sys.argv[1])): print('in use', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        environments.touch(full["artifact"])
        assert prune(tmp_path, 0, ["artifact"]).removed == ()
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    assert [entry.kind for entry in prune(tmp_path, 0, ["artifact"]).removed] == ["artifact"]
    assert list((tmp_path / "in-use").iterdir()) == []


def test_work_that_names_its_cache_holds_it_in_use(full, tmp_path):
    class Options(msgspec.Struct):
        cache: Path

    @uses_cache
    def work(options: Options) -> int:
        environments.touch(full["artifact"])
        return len(prune(options.cache, 0, ["artifact"]).spared)

    assert work(Options(tmp_path)) == 1
    assert full["artifact"].exists()


# --- as a command -----------------------------------------------------------------------------------------------------


def bench(cache: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench", "cache", *arguments, "--cache-dir", str(cache)]
    return subprocess.run(command, cwd=cache, capture_output=True, text=True, encoding="utf-8", check=False)


def test_the_command_lists_verifies_and_prunes(full, tmp_path):
    listed = bench(tmp_path, "list")
    assert listed.returncode == 0
    assert all(kind in listed.stdout for kind in KINDS)
    assert bench(tmp_path, "verify").stdout == "no entry is damaged\n"
    (full["artifact"] / "model.onnx").unlink()
    damaged = bench(tmp_path, "verify")
    assert damaged.returncode == 2
    assert damaged.stderr == (
        f"bench: damaged: artifact {full['artifact'].name}: model.onnx is missing; "
        "remove it with: bench cache prune --damaged\n"
    )
    assert "removed" in bench(tmp_path, "prune", "--damaged").stdout
    removed = json.loads(bench(tmp_path, "prune", "--unused-days", "0", "--json").stdout)["removed"]
    assert {entry["kind"] for entry in removed} == set(KINDS) - {"artifact", "own-run"}, "marks go only by their kind"
