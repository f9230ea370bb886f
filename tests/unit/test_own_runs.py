"""The mark of a user's own runs, which is in the cache and not in the run."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders import a_cell, a_machine, a_run
from matrices import MATRIX
from msgspec.structs import replace

from bench import pipeline, store
from bench.errors import RunFolderError
from bench.machine.fingerprint import fingerprint
from bench.prepare import own_runs
from bench.progress import Quiet
from bench.records import RuntimeRecord

RUNTIME = RuntimeRecord("ort", ("onnxruntime==1.31.1",), "3.11.7", {"numpy": "2.4.6"}, "0" * 16)
RUN = a_run(matrix_text=MATRIX, runtimes={"ort": RUNTIME}, code="a" * 16)


def test_a_run_that_was_marked_is_own_and_any_other_is_not(tmp_path):
    assert not own_runs.is_own(RUN, tmp_path)
    own_runs.mark(RUN, tmp_path)
    assert own_runs.is_own(RUN, tmp_path)
    assert not own_runs.is_own(RUN, tmp_path / "other-cache")


def test_a_run_that_was_written_and_read_again_is_still_own(tmp_path):
    own_runs.mark(RUN, tmp_path)
    store.create(tmp_path / "run", RUN)
    assert own_runs.is_own(store.read(tmp_path / "run")[0], tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"matrix_text": MATRIX + '[runtimes.mine]\npython = "/tmp/evil"\n'},
        {"matrix_path": "elsewhere/matrix.toml"},
        {"runtimes": {"ort": replace(RUNTIME, packages={"numpy": "2.4.6", "evil": "1.0"})}},
        {"runtimes": {"ort": replace(RUNTIME, requires=("evil",))}},
        {"code": "b" * 16},
        {"artifacts": {"minilm/fp32": "other"}},
        {"cells": (a_cell(engine="evil"),)},
        {"machine": a_machine(key="feedfacecafe")},
        {"name": "other"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_run_that_somebody_changed_is_not_own(tmp_path, change):
    own_runs.mark(RUN, tmp_path)
    assert not own_runs.is_own(replace(RUN, **change), tmp_path)


def test_what_changes_nothing_that_is_executed_may_change(tmp_path):
    own_runs.mark(RUN, tmp_path)
    assert own_runs.is_own(replace(RUN, effort=replace(RUN.effort, minutes=60.0)), tmp_path)


def test_the_mark_of_another_user_of_a_shared_cache_is_not_ours(tmp_path, monkeypatch):
    monkeypatch.setattr(own_runs, "_user", lambda: "1001")
    own_runs.mark(RUN, tmp_path)
    monkeypatch.setattr(own_runs, "_user", lambda: "1002")
    assert not own_runs.is_own(RUN, tmp_path)


def test_each_state_of_a_run_is_marked_and_only_a_few_are_kept(tmp_path):
    states = [replace(RUN, code=f"{number:016x}") for number in range(own_runs.KEPT + 3)]
    for state in states:
        own_runs.mark(state, tmp_path)
    assert [own_runs.is_own(state, tmp_path) for state in states] == [False] * 3 + [True] * own_runs.KEPT
    assert len(list((tmp_path / own_runs.FOLDER).iterdir())) == 1


def test_a_damaged_mark_is_none(tmp_path):
    own_runs.mark(RUN, tmp_path)
    next((tmp_path / own_runs.FOLDER).iterdir()).write_bytes(b"\xff{")
    assert not own_runs.is_own(RUN, tmp_path)
    own_runs.mark(RUN, tmp_path)
    assert own_runs.is_own(RUN, tmp_path)


# --- `--resume` -------------------------------------------------------------------------------------------------------


def test_a_run_of_somebody_else_is_not_resumed_and_nothing_of_it_is_done(tmp_path):
    evil = tmp_path / "evil"
    evil.write_text("#!/bin/sh\ntouch executed\n", encoding="utf-8")
    evil.chmod(0o755)
    text = MATRIX.replace('requires = ["onnxruntime==1.31.1"]', f'python = "{evil}"')
    store.create(tmp_path / "run", a_run(matrix_text=text, machine=fingerprint()))
    before = (tmp_path / "run" / "run.json").read_bytes()
    options = pipeline.Options(Path("none.toml"), tmp_path / "cache", tmp_path, resume=tmp_path / "run")
    with pytest.raises(RunFolderError, match="was not made by you on this machine with the cache"):
        pipeline.run(options, Quiet())
    assert not list(tmp_path.rglob("executed"))
    assert (tmp_path / "run" / "run.json").read_bytes() == before


def test_a_run_of_the_machines_user_is_resumed(tmp_path, monkeypatch):
    mine = a_run(matrix_text=MATRIX, machine=fingerprint())
    own_runs.mark(mine, tmp_path / "cache")
    store.create(tmp_path / "run", mine)
    monkeypatch.setattr(pipeline, "undescribed", lambda *_: None)
    monkeypatch.setattr(pipeline, "prepare", lambda *_, **__: (_ for _ in ()).throw(InterruptedError))
    options = pipeline.Options(Path("none.toml"), tmp_path / "cache", tmp_path, resume=tmp_path / "run")
    with pytest.raises(InterruptedError):
        pipeline.run(options, Quiet())


# --- links ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["run.json", "results.jsonl", "logs", "logs/a.log", ".lock"])
def test_what_is_written_to_must_be_no_link(tmp_path, name):
    store.create(tmp_path / "run", RUN)
    target = tmp_path / "of-the-user"
    target.write_text("mine\nmine", encoding="utf-8")
    place = tmp_path / "run" / name
    if place.is_dir():
        place.rmdir()
    place.unlink(missing_ok=True)
    place.symlink_to(target)
    with pytest.raises(RunFolderError, match="is a symbolic link, and nothing is written through one"):
        store.heal(tmp_path / "run")
    assert target.read_text(encoding="utf-8") == "mine\nmine"


def test_a_run_is_held_through_no_link(tmp_path):
    store.create(tmp_path / "run", RUN)
    target = tmp_path / "of-the-user"
    target.write_text("mine", encoding="utf-8")
    for folder in (tmp_path / "run", tmp_path / "new"):
        folder.mkdir(exist_ok=True)
        (folder / store.LOCK).unlink(missing_ok=True)
        (folder / store.LOCK).symlink_to(target)
    with pytest.raises(RunFolderError, match=r"\.lock is a symbolic link"), store.held(tmp_path / "run"):
        pass
    with pytest.raises(RunFolderError, match=r"\.lock is a symbolic link"):
        store.create(tmp_path / "new", RUN)
    assert target.read_text(encoding="utf-8") == "mine"


def test_a_link_that_is_the_folder_of_the_run_is_the_users_own(tmp_path):
    store.create(tmp_path / "disk", RUN)
    (tmp_path / "run").symlink_to(tmp_path / "disk")
    store.heal(tmp_path / "run")
