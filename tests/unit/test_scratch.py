"""The folders for what providers compile: empty at first, kept during a run, and gone after it."""

from __future__ import annotations

import os
import time

from bench.measure.compile_cache import STALE_S, CompileCaches


def test_a_group_finds_what_it_left_and_nothing_of_another(tmp_path):
    caches = CompileCaches(tmp_path / "compiled")
    folder = caches.folder("minilm/fp32/webgpu")
    assert list(folder.iterdir()) == []
    (folder / "shader").touch()
    assert [path.name for path in caches.folder("minilm/fp32/webgpu").iterdir()] == ["shader"]
    assert list(caches.folder("minilm/fp16/webgpu").iterdir()) == []


def test_the_next_run_starts_cold(tmp_path):
    first = CompileCaches(tmp_path)
    (first.folder("g") / "shader").touch()
    first.close()
    assert list(tmp_path.iterdir()) == []
    assert list(CompileCaches(tmp_path).folder("g").iterdir()) == []


def test_a_run_without_compiled_things_makes_no_folder(tmp_path):
    CompileCaches(tmp_path / "compiled").close()
    assert not (tmp_path / "compiled").exists()


def test_what_a_killed_run_left_goes_after_a_week_and_another_runs_stays(tmp_path):
    for name in ("run-old", "run-new", "build"):
        (tmp_path / name).mkdir()
    long_ago = time.time() - STALE_S - 60
    for name in ("run-old", "build"):
        os.utime(tmp_path / name, (long_ago, long_ago))
    CompileCaches(tmp_path).folder("g")
    names = {path.name for path in tmp_path.iterdir()}
    assert "run-old" not in names
    assert {"run-new", "build"} <= names
