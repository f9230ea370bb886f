"""The mark of a user's own runs, which is in the cache and not in the run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from builders import a_run
from matrices import MATRIX
from msgspec.structs import replace

from bench import pipeline, store
from bench.errors import RunFolderError
from bench.files import append_synced
from bench.machine.fingerprint import fingerprint
from bench.prepare import own_runs
from bench.progress import Quiet
from bench.records import Run, RuntimeRecord

RECORDED = Path(__file__).parents[1] / "recorded" / "several-engines"
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


def changes(value: Any) -> Iterator[tuple[str, Any]]:
    """Every way to change one place of a record: a number, a text, a key, an element more or less."""
    if isinstance(value, msgspec.Struct):
        for field, each in fields_of(value):
            yield from ((f"{field}.{place}", replace(value, **{field: other})) for place, other in changes(each))
    elif isinstance(value, dict | tuple):
        yield from changes_of_many(value)
    elif isinstance(value, bool):
        yield "not", not value
    elif isinstance(value, int | float):
        yield "+1", value + 1
    else:
        yield "other", f"{value}x" if isinstance(value, str) else "evil"


def changes_of_many(value: Any) -> Iterator[tuple[str, Any]]:
    """With an entry less, with another key, and with one entry changed; of an empty one, with an entry."""
    if not value:
        yield "+", {"evil": "evil"} if isinstance(value, dict) else ("evil",)
    if isinstance(value, tuple):
        for at, each in enumerate(value):
            yield f"-{at}", value[:at] + value[at + 1 :]
            yield from ((f"{at}.{p}", (*value[:at], other, *value[at + 1 :])) for p, other in changes(each))
        return
    for key, each in value.items():
        rest = {name: other for name, other in value.items() if name != key}
        yield f"-{key}", rest
        yield f"{key}'", rest | {f"{key}'": each}
        yield from ((f"{key}.{place}", value | {key: other}) for place, other in changes(each))


def test_a_run_in_which_anything_was_changed_is_not_own(tmp_path):
    """Each place of each field of `run.json`, also of those that a later version adds."""
    recorded = store.read(RECORDED)[0]
    # The first entry of each field: each kind of place is there, and the test is quick.
    few = {name: dict(list(value.items())[:1]) for name, value in fields_of(recorded) if isinstance(value, dict)}
    whole = replace(recorded, cells=recorded.cells[:1], sustained_minutes=1.0, **few)
    own_runs.mark(whole, tmp_path)
    states = set(own_runs._states(own_runs._file(whole, tmp_path)))
    assert own_runs._state(whole) in states
    places = dict(changes(whole))
    assert {place.partition(".")[0] for place in places} == set(whole.__struct_fields__)
    assert [place for place, run in places.items() if own_runs._state(run) in states] == []
    assert {"matrix_text.other", "runtimes.-build", "cells.0.recipe.name.other", "cells.0.sizes.+"} & set(places)


def fields_of(record: msgspec.Struct) -> Iterator[tuple[str, Any]]:
    return ((name, getattr(record, name)) for name in record.__struct_fields__)


def test_a_run_that_a_later_version_reads_with_more_fields_is_still_own():
    class Later(Run, frozen=True, kw_only=True):
        more: str = ""

    later = Later(**dict(fields_of(RUN)))
    assert own_runs._state(later) == own_runs._state(RUN) != own_runs._state(replace(later, more="other"))


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


def test_a_run_that_goes_on_changes_no_file_that_another_folder_has_too(tmp_path):
    """A backup of hard links, or a stranger's archive with one to a file of the user."""
    store.create(tmp_path / "run", RUN)
    mine = tmp_path / "of-the-user"
    mine.write_text("{}\nmine", encoding="utf-8")
    (tmp_path / "run" / store.RESULTS).hardlink_to(mine)
    store.heal(tmp_path / "run")
    assert (tmp_path / "run" / store.RESULTS).read_text(encoding="utf-8") == "{}\n"
    append_synced(tmp_path / "run" / store.RESULTS, b"{}\n")
    assert mine.read_text(encoding="utf-8") == "{}\nmine"
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [".lock", "logs", "results.jsonl", "run.json"]


def test_a_link_that_is_the_folder_of_the_run_is_the_users_own(tmp_path):
    store.create(tmp_path / "disk", RUN)
    (tmp_path / "run").symlink_to(tmp_path / "disk")
    store.heal(tmp_path / "run")
