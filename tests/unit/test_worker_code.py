"""The worker's code is copied by content, and its environment holds nothing of the orchestrator's."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from bench.errors import DiskError
from bench.prepare import worker_code
from bench.prepare.worker_code import PACKAGE, build_digest, child_environment, code_behind, digest, stage


@pytest.fixture
def own_copy(tmp_path, monkeypatch):
    """The package's files at a place where a test may edit them."""
    package = tmp_path / "package"
    shutil.copytree(worker_code.PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(worker_code, "PACKAGE", package)
    return package


def test_the_same_code_is_staged_once_and_found_again(tmp_path):
    first = stage(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in first.rglob("*")}
    assert stage(tmp_path) == first
    assert {path: path.stat().st_mtime_ns for path in first.rglob("*")} == before
    assert [path.name for path in first.parent.iterdir()] == [first.name]


def test_an_edit_is_staged_beside_the_old_code_which_stays_as_it_was(tmp_path, own_copy):
    old = stage(tmp_path / "cache")
    (own_copy / "worker" / "timing.py").write_text("# edited\n", encoding="utf-8")
    new = stage(tmp_path / "cache")
    assert new != old
    assert (new / "bench" / "worker" / "timing.py").read_text(encoding="utf-8") == "# edited\n"
    assert (old / "bench" / "worker" / "timing.py").read_text(encoding="utf-8") != "# edited\n"


def test_what_is_staged_is_the_ground_floor_and_the_worker_and_nothing_else(tmp_path):
    code = stage(tmp_path) / "bench"
    assert {path.name for path in code.iterdir()} == {"__init__.py", "records", "shared", "worker"}
    assert not list(code.rglob("__pycache__"))
    assert (code / "worker" / "configs").is_dir(), "data files go along"


def test_extra_engines_are_staged_where_the_environment_names_them(tmp_path, strange_engines):
    assert (stage(tmp_path) / "bench" / "worker" / "engines" / "fake.py").exists()


def test_no_extra_engine_is_staged_otherwise(tmp_path):
    assert not (stage(tmp_path) / "bench" / "worker" / "engines" / "fake.py").exists()


def test_staged_code_runs_without_the_orchestrators_package(tmp_path):
    code = stage(tmp_path)
    script = "import bench.worker.timing, bench.records; print(bench.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=child_environment(code),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith(str(code))


def test_a_full_disk_is_told_and_leaves_nothing_half_staged(tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfile", full)
        with pytest.raises(DiskError, match="the disk is full"):
            stage(tmp_path)
    assert list((tmp_path / "worker").iterdir()) == []
    assert stage(tmp_path).exists()


def test_a_run_that_was_slower_takes_the_copy_of_the_one_that_was_first(tmp_path, monkeypatch):
    copy = shutil.copyfile
    other: list[object] = []

    def slow(source, to):
        if not other:
            other.append(None)
            other[0] = stage(tmp_path)  # the other run, from beginning to end
        return copy(source, to)

    monkeypatch.setattr(shutil, "copyfile", slow)
    assert stage(tmp_path) == other[0]
    assert [path.name for path in (tmp_path / "worker").iterdir()] == [other[0].name]


# --- digests ----------------------------------------------------------------------------------------------------------


def test_a_digest_tells_contents_and_names_apart(tmp_path):
    one, other = tmp_path / "a.py", tmp_path / "b.py"
    one.write_bytes(b"x")
    other.write_bytes(b"x")
    assert digest([one]) != digest([other])
    before = digest([one])
    one.write_bytes(b"y")
    assert digest([one]) != before


def test_an_edit_of_a_familys_code_makes_its_artifacts_anew_and_no_others(own_copy):
    before = build_digest("text-encoder"), build_digest("image-classifier")
    with (own_copy / "worker" / "families" / "text_encoder.py").open("a", encoding="utf-8") as file:
        file.write("# edited\n")
    after = build_digest("text-encoder"), build_digest("image-classifier")
    assert after[0] != before[0]
    assert after[1] == before[1]


def test_an_edit_of_the_build_makes_every_artifact_anew(own_copy):
    before = build_digest("text-encoder"), build_digest("image-classifier")
    with (own_copy / "worker" / "build.py").open("a", encoding="utf-8") as file:
        file.write("# edited\n")
    assert not set(before) & {build_digest("text-encoder"), build_digest("image-classifier")}


def test_an_edit_of_an_engine_makes_no_artifact_anew(own_copy):
    before = build_digest("text-encoder")
    with (own_copy / "worker" / "engines" / "ort.py").open("a", encoding="utf-8") as file:
        file.write("# edited\n")
    assert build_digest("text-encoder") == before


# --- the environment --------------------------------------------------------------------------------------------------


def test_a_workers_environment_has_none_of_the_users_python_settings(tmp_path, monkeypatch):
    for name in ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "PYTHONOPTIMIZE", "VIRTUAL_ENV"):
        monkeypatch.setenv(name, "/elsewhere")
    environment = child_environment(tmp_path)
    assert "/elsewhere" not in environment.values()
    assert environment["PYTHONPATH"] == str(tmp_path)


def test_a_workers_environment_keeps_what_else_the_user_set(tmp_path, monkeypatch):
    monkeypatch.setenv("LD_LIBRARY_PATH", "/opt/sdk/lib")
    assert child_environment(tmp_path)["LD_LIBRARY_PATH"] == "/opt/sdk/lib"


@pytest.mark.parametrize("name", ["ORT_DISABLE_TELEMETRY", "HF_HUB_OFFLINE", "HF_HUB_DISABLE_TELEMETRY"])
def test_a_worker_tells_nobody_anything(tmp_path, monkeypatch, name):
    monkeypatch.setenv(name, "0")
    assert child_environment(tmp_path)[name] == "1"


def test_a_provider_may_set_variables_of_its_own_but_not_the_workers(tmp_path, monkeypatch):
    monkeypatch.setenv("MESA_SHADER_CACHE_DIR", "/of/the/user")
    asked = {"MESA_SHADER_CACHE_DIR": "/of/the/run", "PYTHONPATH": "/elsewhere", "ORT_DISABLE_TELEMETRY": "0"}
    environment = child_environment(tmp_path, asked)
    assert environment["MESA_SHADER_CACHE_DIR"] == "/of/the/run"
    assert environment["PYTHONPATH"] == str(tmp_path)
    assert environment["ORT_DISABLE_TELEMETRY"] == "1"


def test_making_an_environment_changes_none(tmp_path):
    before = dict(os.environ)
    child_environment(tmp_path)
    assert dict(os.environ) == before


def test_the_code_behind_a_format_is_all_that_it_imports_in_its_functions_too():
    behind = {path.name for path in code_behind([PACKAGE / "worker" / "formats" / "gguf.py"])}
    assert {"gguf.py", "_gguf_architectures.py", "_safetensors.py", "llama_log.py", "refusal.py"} <= behind
    assert not {"genai.py", "torch.py", "visit.py"} & behind


def test_what_a_format_imports_far_away_changes_its_digest_and_no_other(monkeypatch, tmp_path):
    shutil.copytree(PACKAGE / "worker", tmp_path / "worker")
    monkeypatch.setattr(worker_code, "PACKAGE", tmp_path)
    before = {form: build_digest("text-generator", form) for form in ("gguf", "genai", "optimum")}
    with (tmp_path / "worker" / "llama_log.py").open("a", encoding="utf-8") as file:
        file.write("# changed\n")
    changed = {form for form, was in before.items() if build_digest("text-generator", form) != was}
    assert changed == {"gguf"}
