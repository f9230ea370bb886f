"""What is damaged in the cache is made again and told; where that is not possible, cells fail with `damaged-cache`."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import venv
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec
import pytest
from builders import a_cell, an_observation
from faulty_files import flip
from test_builds import asked, cells_of, prepared  # noqa: F401 - fixtures
from test_cache import a_wheel
from test_workshop import code  # noqa: F401 - a fixture

from bench.cache import prune
from bench.declare.matrix import Runtime
from bench.errors import DamagedCacheError, ReadOnlyCacheError, RuntimeSetupError
from bench.prepare import artifacts, beside, builds, cache_check, environments, own_runs, seals, sources, worker_code
from bench.prepare.artifacts import MANIFEST, Artifacts, RecordedArtifacts
from bench.prepare.builds import Prepared
from bench.prepare.cache_check import CacheCheck, failure_of
from bench.prepare.cache_use import REMOVED, USED, in_use
from bench.prepare.environments import Environment
from bench.prepare.later_damage import LaterDamage
from bench.progress import Quiet
from bench.records import Failure, note

PARTS = {"model": "m"}
FAILED = Failure("failed", "export", "OSError", "no source")


def build(folder: Path) -> tuple[()]:
    (folder / "model.onnx").write_bytes(b"weights" * 100)
    return ()


def a_cache(root: Path, check: CacheCheck | None = None) -> Artifacts:
    return Artifacts(root / "artifacts", check=check)


def without_bytes_on_the_disk(folder: Path, name: str, thing: cache_check.Thing) -> None:
    """Change a byte as a disk does that loses it: the times in the seal are those that the file has now."""
    flip(folder / name)
    place = thing.seal_of(folder)
    seal = seals.read(place)
    assert seal is not None
    stat = (folder / name).stat()
    row = msgspec.structs.replace(seal.files[name], mtime_ns=stat.st_mtime_ns, ctime_ns=stat.st_ctime_ns, read_s=0.0)
    now = msgspec.structs.replace(row, read_s=seal.files[name].read_s - 3600)
    seals.write(place, msgspec.structs.replace(seal, files=seal.files | {name: now}))
    cache_check._KEPT.clear()


# --- artifacts --------------------------------------------------------------------------------------------------------

DAMAGES: dict[str, Callable[[Path], object]] = {
    "a byte": lambda folder: flip(folder / "model.onnx"),
    "cut": lambda folder: os.truncate(folder / "model.onnx", 10),
    "gone": lambda folder: (folder / "model.onnx").unlink(),
    "record": lambda folder: flip(folder / MANIFEST),
    "no record": lambda folder: (folder / MANIFEST).unlink(),
    "all": lambda folder: [path.unlink() for path in list(folder.iterdir())],
    "a byte, no seal": lambda folder: (flip(folder / "model.onnx"), (folder / seals.SEAL).unlink()),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_artifact_is_none_and_is_built_again(tmp_path, damage):
    folder = a_cache(tmp_path).ensure("model", PARTS, build).folder
    damage(folder)
    check = CacheCheck()
    cache = a_cache(tmp_path, check)
    assert cache.find_key(folder.name) is None
    assert folder in check.damaged
    assert cache.ensure("model", PARTS, build).folder == folder
    assert artifacts.damage(folder) == []
    assert CacheCheck().problems(artifacts.THING, folder) == ()


def test_an_artifact_is_read_once_a_run_and_a_lost_byte_is_found(tmp_path):
    folder = a_cache(tmp_path).ensure("model", PARTS, build).folder
    without_bytes_on_the_disk(folder, "model.onnx", artifacts.THING)
    check = CacheCheck()
    assert a_cache(tmp_path, check).find_key(folder.name) is None
    assert check.damaged[folder] == ("model.onnx has changed",)


def test_no_time_to_read_leaves_a_lost_byte_to_the_look_after_a_failure(tmp_path):
    folder = a_cache(tmp_path).ensure("model", PARTS, build).folder
    without_bytes_on_the_disk(folder, "model.onnx", artifacts.THING)
    check = CacheCheck()
    check.budget = seals.ReadBudget(0)
    artifact = a_cache(tmp_path, check).find_key(folder.name)
    assert artifact is not None
    prepared_run = Prepared(tmp_path / "code", artifacts={"m/fp32": artifact}, check=check)
    cell = a_cell("m/fp32/cpu/b1")
    failed = an_observation(cell=cell.id, failure=Failure("unsupported", "session", "X", "not a graph"))
    told = LaterDamage(prepared_run, [cell]).explained(failed, is_doubtful=True)
    assert told.failure is not None
    assert (told.failure.status, told.failure.kind) == ("failed", "damaged-cache")
    assert told.failure.message.startswith(f"damaged cache: the artifact m/fp32 in {folder}: model.onnx has changed")
    # The next run finds it, whatever its budget.
    later = CacheCheck()
    later.budget = seals.ReadBudget(0)
    assert later.problems(artifacts.THING, folder) == ("model.onnx has changed",)


def test_damage_during_a_run_is_told_also_where_the_times_went_on(tmp_path):
    check = CacheCheck()
    artifact = a_cache(tmp_path, check).ensure("model", PARTS, build)
    prepared_run = Prepared(tmp_path / "code", artifacts={"m/fp32": artifact}, check=check)
    cell = a_cell("m/fp32/cpu/b1")
    observation = an_observation(cell=cell.id)
    later = LaterDamage(prepared_run, [cell])
    assert later.explained(observation, is_doubtful=False) is observation
    assert check.problems(artifacts.THING, artifact.folder) == ()
    (artifact.folder / "model.onnx").unlink()
    told = later.explained(observation, is_doubtful=False)
    assert told.failure is not None
    assert (told.failure.status, told.failure.stage, told.timing) == ("failed", "cache", None)


def test_what_was_made_again_is_told_once_and_noted(tmp_path):
    said: list[str] = []
    check = CacheCheck(say=said.append)
    folder = a_cache(tmp_path).ensure("model", PARTS, build).folder
    flip(folder / "model.onnx")
    a_cache(tmp_path, check).ensure("model", PARTS, build)
    check.healed(artifacts.THING, folder, "fp32 of m")
    check.healed(artifacts.THING, folder, "fp32 of m")
    assert said == ["fp32 of m was damaged in the cache, and was made again: model.onnx has changed"]
    expected = note("made-again", kind="artifact", what="fp32 of m", problems="model.onnx has changed")
    assert check.notes == [expected]


def test_many_problems_are_shown_shortly():
    assert cache_check.shown(("a", "b", "c", "d", "e")) == "a, b, c and 2 more"


def test_a_failure_for_another_reason_stays_what_it_is(tmp_path):
    check = CacheCheck()
    assert check.of_damage(tmp_path, "fp32 of m", FAILED) is None
    check.found(tmp_path, ("model.onnx is missing",))
    error = check.of_damage(tmp_path, "fp32 of m", FAILED)
    assert error is not None
    failure = failure_of(error, "artifact")
    assert (failure.status, failure.stage, failure.kind) == ("failed", "cache", "damaged-cache")
    assert "it could not be made again: no source" in failure.message


# --- in a run ---------------------------------------------------------------------------------------------------------


def test_a_run_builds_damaged_artifacts_and_references_again(tmp_path, prepared, asked):  # noqa: F811
    cells = cells_of("a", "genai-fp32")
    first = prepared(*cells)
    (reference,) = first.references.values()
    flip(reference.folder / "artifact.json")
    before = asked.copy()
    second = prepared(*cells)
    assert second.failures == {}
    assert asked - before == {"Refer": 1}
    assert [fact.values["what"] for fact in second.check.notes] == ["reference of a b1"]


def test_damage_that_cannot_be_mended_is_failed_and_not_unavailable(tmp_path, prepared, monkeypatch):  # noqa: F811
    cells = cells_of("a", "genai-fp32")
    first = prepared(*cells)
    (artifact,) = first.artifacts.values()
    (reference,) = first.references.values()
    recorded = RecordedArtifacts({cells[0].artifact_name: artifact.record.key}, {"a/b1": reference.record.key})
    flip(next(path for path in artifact.folder.iterdir() if path.name not in ("last-used", "seal.json", MANIFEST)))
    (tmp_path / "config.json").unlink()
    prepare = builds.prepare
    monkeypatch.setattr(builds, "prepare", partial(prepare, recorded=recorded))
    done = prepared(*cells)
    (failure,) = done.failures.values()
    assert (failure.status, failure.kind) == ("failed", "damaged-cache")
    assert artifact.record.key in failure.message
    assert "could not be made again" in failure.message


def test_the_artifacts_of_an_earlier_run_are_leased_when_it_goes_on(tmp_path):
    cache = a_cache(tmp_path)
    folder = cache.ensure("model", PARTS, build).folder
    os.utime(folder / USED, (0, 0))
    recorded = RecordedArtifacts({"m/fp32": folder.name}, {"m/b1": "0" * 24, "m/b2": "../elsewhere"})
    with in_use(tmp_path):
        recorded.lease(cache)
        os.utime(folder / USED, (0, 0))
        assert [entry.key for entry in prune(tmp_path, 0, ["artifact"]).spared] == [folder.name]


# --- runtimes ---------------------------------------------------------------------------------------------------------


HAY = Runtime("hay", ("straw==1.0",))


@pytest.fixture(scope="session")
def pristine(tmp_path_factory) -> Path:
    """A real environment with one package, made once; without a seal, as of an earlier version."""
    folder = tmp_path_factory.mktemp("pristine") / "runtime"
    venv.create(folder, symlinks=True)
    site = next(folder.rglob("site-packages"))
    (site / "straw.py").write_text("VERSION = 1\n", encoding="utf-8")
    (site / "__pycache__").mkdir()
    info = site / "straw-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: straw\nVersion: 1.0\n", encoding="utf-8")
    digest = base64.urlsafe_b64encode(hashlib.sha256((site / "straw.py").read_bytes()).digest()).decode().rstrip("=")
    (info / "RECORD").write_text(f"straw.py,sha256={digest},12\nstraw-1.0.dist-info/RECORD,,\n", encoding="utf-8")
    record = environments._inspect(HAY, environments._interpreter(folder))
    (folder / environments.RECORD).write_bytes(msgspec.json.encode(record))
    return folder


@pytest.fixture
def hay(tmp_path, pristine, monkeypatch) -> Path:
    """The folder of a runtime in the cache; to install it again is to copy it."""
    folder = environments._folder(HAY, tmp_path)

    def make(runtime: Runtime, place: Path, *_: object) -> Environment:
        shutil.copytree(pristine, place, symlinks=True)
        environments.RUNTIME.seal(place)
        found = environments.find(runtime, tmp_path)
        assert found is not None
        return found

    monkeypatch.setattr(environments, "_make", make)
    environments.ensure(HAY, tmp_path, Quiet())
    return folder


def test_a_damaged_runtime_is_installed_again(tmp_path, hay):
    flip(next(hay.rglob("straw.py")))
    said: list[str] = []
    again = environments.ensure(HAY, tmp_path, Quiet(), check=CacheCheck(say=said.append))
    assert again.executable.parents[1] == hay
    assert len(said) == 1
    assert "runtime hay was damaged in the cache, and was made again" in said[0]
    assert "straw.py has changed" in said[0]
    assert environments.find(HAY, tmp_path, CacheCheck()) is not None
    assert list((tmp_path / REMOVED).iterdir()) == []


def test_a_damaged_runtime_that_cannot_be_installed_stays_and_is_told_as_damaged(tmp_path, hay, monkeypatch):
    def refused(*_: object) -> Environment:
        raise RuntimeSetupError("no network", "plug it in")

    flip(next(hay.rglob("straw.py")))
    monkeypatch.setattr(environments, "_make", refused)
    for _ in range(2):
        with pytest.raises(DamagedCacheError, match=r"runtime hay in .*straw\.py has changed.*: no network") as caught:
            environments.ensure(HAY, tmp_path, Quiet())
        assert caught.value.hint == "plug it in; then run again: what is damaged is made again"
        assert hay.is_dir()


def test_a_damaged_runtime_that_another_run_uses_is_left_to_it(tmp_path, hay, monkeypatch):
    flip(next(hay.rglob("straw.py")))
    monkeypatch.setattr(environments, "used_by_others", lambda *_: True)
    with pytest.raises(DamagedCacheError, match="another run uses it"):
        environments.ensure(HAY, tmp_path, Quiet())


def test_code_that_nobody_installed_is_damage_and_compiled_code_is_not(tmp_path, hay):
    site = next(hay.rglob("straw.py")).parent
    (site / "__pycache__" / "more.cpython-311.pyc").touch()
    (site / "notes.txt").touch()
    assert environments.find(HAY, tmp_path, CacheCheck()) is not None
    (site / "sitecustomize.py").touch()
    check = CacheCheck()
    assert environments.find(HAY, tmp_path, check) is None
    assert check.damaged[hay][0].endswith("sitecustomize.py was added")


def test_a_runtime_of_an_earlier_version_is_held_against_its_record_files(tmp_path, hay):
    (hay / seals.SEAL).unlink()
    assert environments.find(HAY, tmp_path, CacheCheck()) is not None
    assert (hay / seals.SEAL).exists()
    (hay / seals.SEAL).unlink()
    cache_check._KEPT.clear()
    flip(next(hay.rglob("straw.py")))
    check = CacheCheck()
    assert environments.find(HAY, tmp_path, check) is None
    assert check.damaged[hay] == ("straw.py has changed",)


def test_another_interpreter_of_the_same_version_is_no_damage(tmp_path, hay):
    place = hay / seals.SEAL
    seal = seals.read(place)
    assert seal is not None
    assert seal.outside
    older = {path: msgspec.structs.replace(row, mtime_ns=1) for path, row in seal.outside.items()}
    seals.write(place, msgspec.structs.replace(seal, outside=older))
    assert environments.find(HAY, tmp_path, CacheCheck()) is not None
    updated = seals.read(place)
    assert updated is not None
    assert list(updated.outside) == list(seal.outside)
    assert all(row.mtime_ns != 1 for row in updated.outside.values())


# --- sources ----------------------------------------------------------------------------------------------------------


def test_damaged_files_of_a_wheel_are_unpacked_again_and_a_damaged_wheel_is_fetched_or_told(tmp_path):
    home = a_wheel(tmp_path)
    (picture,) = home.rglob("a.png")
    whole, said = picture.read_bytes(), list[str]()

    def resolve() -> str:
        check = CacheCheck(say=said.append)
        return sources.resolve_data(
            "wheel:pictures/pictures", cache=tmp_path, root=tmp_path, offline=True, check=check
        )[1]

    digest = resolve()
    flip(picture)
    assert resolve() == digest
    assert picture.read_bytes() == whole
    assert said == ["the wheel pictures was damaged in the cache, and was made again: pictures/a.png has changed"]
    (picture.parent / "more.png").touch()
    assert resolve() == digest
    flip(picture)
    flip(next(home.glob("*.whl")))
    for _ in range(2):
        with pytest.raises(DamagedCacheError, match=r"damaged cache: the wheel pictures .*may not be fetched"):
            resolve()


# --- the worker's code ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["bench/worker/timing.py", "sitecustomize.py", "bench/worker/__pycache__/timing.pyc"])
def test_damaged_code_is_copied_again(tmp_path, name):
    folder = worker_code.stage(tmp_path)
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("import this\n", encoding="utf-8")
    assert worker_code.recorded(tmp_path, folder.name) is None
    said: list[str] = []
    assert worker_code.stage(tmp_path, CacheCheck(say=said.append)) == folder
    assert len(said) == 1
    assert name in said[0]
    assert not path.exists() or path.read_text(encoding="utf-8") != "import this\n"
    assert worker_code.recorded(tmp_path, folder.name) == folder


def test_code_of_an_earlier_version_is_held_against_its_name(tmp_path):
    folder = worker_code.stage(tmp_path)
    worker_code.CODE.seal_of(folder).unlink()
    cache_check._KEPT.clear()
    assert worker_code.stage(tmp_path) == folder
    worker_code.CODE.seal_of(folder).unlink()
    cache_check._KEPT.clear()
    (folder / "bench" / "worker" / "timing.py").write_text("X = 1\n", encoding="utf-8")
    said: list[str] = []
    worker_code.stage(tmp_path, CacheCheck(say=said.append))
    assert said == [
        "the worker's code was damaged in the cache, and was made again: its content is not what its name says"
    ]


# --- a cache that cannot be written -----------------------------------------------------------------------------------


@pytest.fixture
def read_only(monkeypatch, tmp_path) -> None:
    """Nothing under `tmp_path/cache` can be written, as the permissions of the superuser do not show."""
    access = os.access
    monkeypatch.setattr(
        beside.os,
        "access",
        lambda path, mode: False if Path(path).is_relative_to(tmp_path / "cache") else access(path, mode),
    )
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def test_a_read_only_cache_that_lacks_something_says_what_and_what_to_do(tmp_path, read_only):
    (tmp_path / "cache").mkdir()
    with pytest.raises(ReadOnlyCacheError, match="cannot be written, and does not hold") as caught:
        a_cache(tmp_path / "cache").ensure("model", PARTS, build)
    failure = failure_of(caught.value, "artifact")
    assert (failure.status, failure.kind) == ("unavailable", "read-only-cache")
    assert "or name another --cache-dir" in failure.remedy
    with pytest.raises(RuntimeSetupError, match="does not hold runtime hay"):
        environments.ensure(Runtime("hay", ("straw==1.0",)), tmp_path / "cache", Quiet())
    with pytest.raises(ReadOnlyCacheError, match=r"source 'wheel:straw/a': .* does not hold the wheel straw"):
        sources.resolve_folder("wheel:straw/a", cache=tmp_path / "cache", root=tmp_path)


def test_what_a_read_only_cache_lacks_of_the_worker_is_made_beside_it(tmp_path, read_only):
    (tmp_path / "cache").mkdir()
    folder = worker_code.stage(tmp_path / "cache")
    assert folder.is_relative_to(beside.beside(tmp_path / "cache"))
    assert worker_code.recorded(tmp_path / "cache", folder.name) == folder
    assert beside.writable(tmp_path / "cache") == beside.beside(tmp_path / "cache")
    assert beside.writable(tmp_path / "other" / "new") == tmp_path / "other" / "new"


def test_the_mark_of_an_own_run_goes_beside_a_cache_that_cannot_take_it(tmp_path, monkeypatch):
    from builders import a_run

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    # A file in the place of the folder: nothing can be written under it, by nobody.
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / own_runs.FOLDER).touch()
    own_runs.mark(a_run(), cache)
    assert own_runs.is_own(a_run(), cache)
