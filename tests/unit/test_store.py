"""What was observed is read back as it was, and a damaged folder is told, never guessed at."""

from __future__ import annotations

import datetime as dt
import errno
import getpass
import json
import os
import platform
from pathlib import Path

import msgspec
import pytest
from builders import a_cell, a_failed, a_machine, a_run, an_observation
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from bench import store
from bench.errors import DiskError, RunFolderError
from bench.records import Cpu, Failure, MachineState, Note, Observation, Parity, Placement, Recipe, Timing, Tolerance

NS = st.integers(0, 2**63 - 1)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
MAYBE = st.none() | NUMBERS
WORDS = st.text(max_size=20)
TIMINGS = st.builds(
    Timing, NS, st.lists(NS, max_size=4).map(tuple), st.booleans(), st.lists(NS, min_size=1, max_size=4).map(tuple)
)
PARITIES = st.builds(
    Parity, st.integers(1, 9), st.booleans(), MAYBE, MAYBE, MAYBE, MAYBE, st.builds(Tolerance, NUMBERS, MAYBE), WORDS
)
FAILURES = st.builds(
    Failure, st.sampled_from(["crashed", "failed"]), WORDS, WORDS, WORDS, WORDS, st.none() | st.integers(-64, 255),
    st.none() | WORDS, WORDS,
)  # fmt: skip
VALUES = st.none() | st.booleans() | st.integers(-9, 9) | WORDS | st.lists(WORDS, max_size=2).map(tuple)
NOTES = st.recursive(
    st.builds(Note, WORDS, st.dictionaries(WORDS, VALUES, max_size=2)),
    lambda parts: st.builds(Note, WORDS, parts=st.lists(parts, max_size=2).map(tuple)),
    max_leaves=3,
)
OBSERVATIONS = st.builds(
    Observation,
    cell=WORDS,
    round=st.integers(0, 20),
    started=WORDS,
    failure=st.none() | FAILURES,
    timing=st.none() | TIMINGS,
    parity=st.none() | PARITIES,
    placement=st.none()
    | st.builds(Placement, st.dictionaries(WORDS, st.dictionaries(WORDS, st.integers(0, 9))), WORDS),
    load_ns=st.none() | NS,
    versions=st.dictionaries(WORDS, WORDS, max_size=2),
    notes=st.lists(NOTES, max_size=2).map(tuple),
    state=st.builds(MachineState, load_1min=MAYBE, on_battery=st.none() | st.booleans()),
)


@pytest.fixture
def folder(tmp_path) -> Path:
    """A run that has just begun."""
    store.create(tmp_path / "run", a_run())
    return tmp_path / "run"


def results(folder: Path) -> Path:
    return folder / store.RESULTS


def complaint(folder: Path) -> str | None:
    """What is said of a folder that cannot be read; there is no other way to fail."""
    try:
        store.read(folder)
    except RunFolderError as error:
        return str(error)
    return None


# --- what is written is read ------------------------------------------------------------------------------------------


def test_a_run_and_its_observations_are_read_back_in_order(folder):
    seen = [an_observation(round=1), a_failed(round=2), an_observation(round=3)]
    for observation in seen:
        store.append(folder, observation)
    assert store.read(folder) == (a_run(), tuple(seen))


@given(seen=st.lists(OBSERVATIONS, max_size=3))
def test_any_observations_are_read_back_as_they_were(tmp_path_factory, seen):
    folder = tmp_path_factory.mktemp("runs") / "run"
    store.create(folder, a_run())
    for observation in seen:
        store.append(folder, observation)
    assert store.read(folder)[1] == tuple(seen)


def test_a_run_that_has_observed_nothing_is_read(folder):
    assert store.read(folder) == (a_run(), ())


def test_what_preparation_found_replaces_the_run_and_leaves_its_observations(folder):
    store.append(folder, an_observation())
    store.save(folder, a_run(weights={"minilm": "random"}))
    run, seen = store.read(folder)
    assert run.weights == {"minilm": "random"}
    assert len(seen) == 1


def test_a_run_is_plain_json_that_a_person_can_read(folder):
    text = (folder / store.RUN).read_text(encoding="utf-8")
    assert json.loads(text)["schema"] == 2
    assert len(text.splitlines()) > 20


def test_missing_is_null_and_never_zero(folder):
    store.append(folder, a_failed())
    line = json.loads(results(folder).read_text(encoding="utf-8"))
    assert line["load_ns"] is None
    assert line["timing"] is None


# --- a run that is there already --------------------------------------------------------------------------------------


def test_a_run_is_never_begun_beside_observations_of_another(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / store.RESULTS).write_bytes(b"")
    with pytest.raises(RunFolderError, match=r"there is a run in .* already"):
        store.create(tmp_path / "run", a_run())


def test_a_run_is_never_begun_over_another(folder):
    store.append(folder, an_observation())
    with pytest.raises(RunFolderError, match=r"there is a run in .* already; name another --out, or --resume it"):
        store.create(folder, a_run())
    assert len(store.read(folder)[1]) == 1


def test_a_run_cannot_be_begun_in_a_file(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DiskError, match="name a folder that can be written"):
        store.create(tmp_path / "file", a_run())


# --- torn and damaged -------------------------------------------------------------------------------------------------


def test_a_last_line_that_a_power_cut_tore_is_left_out_wherever_it_was_torn(folder):
    store.append(folder, an_observation(round=1))
    whole = results(folder).read_bytes()
    for length in range(0, len(whole), 37):
        results(folder).write_bytes(whole + whole[:length])
        assert [o.round for o in store.read(folder)[1]] == [1]


def test_a_healed_file_takes_the_next_line_on_a_line_of_its_own(folder):
    store.append(folder, an_observation(round=1))
    with results(folder).open("ab") as file:
        file.write(b'{"cell": "minilm/fp')
    store.heal(folder)
    store.append(folder, an_observation(round=2))
    assert [o.round for o in store.read(folder)[1]] == [1, 2]


def test_healing_leaves_a_whole_file_as_it_is(folder):
    store.append(folder, an_observation())
    before = results(folder).read_bytes()
    store.heal(folder)
    assert results(folder).read_bytes() == before


def test_healing_a_run_without_observations_is_no_error(folder):
    store.heal(folder)
    assert not results(folder).exists()


@pytest.mark.parametrize(
    "line", [b"{", b"null", b"[1]", b'{"cell": 3}', b"\xff\xfe", b'"' + b"a" * 9, b"[" * 9999, b""]
)
def test_a_damaged_line_is_named_by_file_and_number(folder, line):
    store.append(folder, an_observation(round=1))
    with results(folder).open("ab") as file:
        file.write(line + b"\n")
    store.append(folder, an_observation(round=3))
    with pytest.raises(RunFolderError) as caught:
        store.read(folder)
    said = str(caught.value)
    assert str(results(folder)) + " line 2 is no observation" in said
    assert "remove the line to read the rest" in said
    assert "\n" not in said


def test_a_line_with_a_key_of_another_version_is_refused(folder):
    line = msgspec.to_builtins(an_observation()) | {"joules": 3}
    results(folder).write_bytes(msgspec.json.encode(line) + b"\n")
    with pytest.raises(RunFolderError, match=r"line 1 is no observation: .*joules"):
        store.read(folder)


def test_a_line_longer_than_any_of_ours_is_refused_unread(folder, monkeypatch):
    monkeypatch.setattr(store.reading, "LINE_BYTES", 100)
    store.append(folder, an_observation())
    with pytest.raises(RunFolderError, match="line 1 is too long"):
        store.read(folder)


@given(st.data())
def test_a_run_file_with_any_damage_is_read_or_told(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("runs") / "run"
    store.create(folder, a_run())
    content = bytearray((folder / store.RUN).read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at : at + data.draw(st.integers(0, 9))] = data.draw(st.binary(max_size=9))
    (folder / store.RUN).write_bytes(content)
    said = complaint(folder)
    assert said is None or store.RUN in said


@given(st.data())
def test_observations_with_any_damage_are_read_or_told(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("runs") / "run"
    store.create(folder, a_run())
    store.append(folder, an_observation())
    content = bytearray(results(folder).read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at : at + data.draw(st.integers(0, 9))] = data.draw(st.binary(max_size=9))
    results(folder).write_bytes(content)
    said = complaint(folder)
    assert said is None or store.RESULTS in said


def test_a_run_from_another_schema_names_both_and_exits_with_2(folder):
    run = json.loads((folder / store.RUN).read_bytes()) | {"schema": 7}
    (folder / store.RUN).write_text(json.dumps(run), encoding="utf-8")
    with pytest.raises(RunFolderError, match="has schema 7, and this version reads schema 2") as caught:
        store.read(folder)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("content", "said"), [(b"{}", "has schema None"), (b"", "is not JSON"), (b"[" * 9999, "not JSON")]
)
def test_what_is_no_run_is_told(folder, content, said):
    (folder / store.RUN).write_bytes(content)
    with pytest.raises(RunFolderError, match=said):
        store.read(folder)


def test_a_folder_without_a_run_names_where_runs_are(tmp_path):
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(RunFolderError, match=r"holds no run: there is no run\.json; name a folder under reports/"):
            store.read(folder)


@pytest.mark.parametrize("name", [store.RUN, store.RESULTS])
def test_a_folder_in_the_place_of_a_file_is_told(folder, name):
    (folder / name).unlink(missing_ok=True)
    (folder / name).mkdir()
    with pytest.raises(RunFolderError, match="cannot be read"):
        store.read(folder)


def test_a_disk_that_is_full_keeps_what_was_there(folder, monkeypatch):
    store.append(folder, an_observation(round=1))

    def full(_: int) -> None:
        raise OSError(28, os.strerror(28))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(DiskError, match="what was measured is kept"):
            store.append(folder, an_observation(round=2))
    assert store.read(folder)[1][0].round == 1


# --- names ------------------------------------------------------------------------------------------------------------

NOW = dt.datetime(2026, 11, 22, 15, 30, tzinfo=dt.UTC)


def named(brand: str) -> str:
    machine = a_machine()
    return store.new_name(replace(machine, cpu=replace(machine.cpu, brand=brand)), NOW)


def test_a_run_is_named_for_its_machine_and_its_time():
    assert named("AMD EPYC") == "amd-epyc-012345-20261122-153000"


def test_the_name_of_a_run_can_be_a_folders_on_any_system():
    for brand in ("Intel(R) Xeon(R) CPU @ 2.20GHz", "Apple M2", "", "../..", "日本 CPU: <x>|?*", "a" * 200):
        name = named(brand)
        assert name == Path(name).name
        assert not set(name) & set('<>:"/\\|?*() @')
        assert len(name) < 64
        assert not name.startswith("-")


def test_the_name_of_a_run_holds_no_hostname_or_user():
    name = named("Some CPU")
    assert platform.node() not in name
    assert getpass.getuser() not in name


def test_two_machines_of_one_brand_have_different_names():
    one, other = a_machine(key="aaaaaaaaaaaa"), a_machine(key="bbbbbbbbbbbb")
    assert isinstance(one.cpu, Cpu)
    assert store.new_name(one, NOW) != store.new_name(other, NOW)


def test_the_cells_of_a_run_are_kept(folder):
    assert store.read(folder)[0].cells == (a_cell(),)


# --- earlier states of the schema -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        ("fp32", "fp32"),
        ("static-qdq-int8", "int8"),
        ("genai-int4", "int4"),
        ("gguf-f16", "fp16"),
        ("gguf-q6_k", "int6"),
    ],
)
def test_a_run_of_before_number_formats_were_recorded_gets_them_from_the_names_of_its_recipes(
    tmp_path: Path, recipe: str, expected: str
) -> None:
    store.create(tmp_path / "run", a_run(a_cell(recipe=Recipe("x", number_format="x")), a_cell("m/p/t/w", recipe=None)))
    path = tmp_path / "run" / "run.json"
    run = json.loads(path.read_text(encoding="utf-8"))
    run["schema"] = 1
    run["cells"][0]["recipe"] = {"name": recipe, "options": {}}
    del run["cells"][0]["tolerance"]
    path.write_text(json.dumps(run), encoding="utf-8")
    read, _ = store.read(tmp_path / "run")
    assert read.cells[0].recipe == Recipe(recipe, number_format=expected)
    assert read.cells[1].recipe is None


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_locks_has_runs_too(folder, monkeypatch, number):
    def refuses(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(store.FileLock, "acquire", refuses)
    with store.held(folder):
        pass


def test_another_error_of_a_lock_is_told(folder, monkeypatch):
    def refuses(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(store.FileLock, "acquire", refuses)
    with pytest.raises(DiskError, match="Read-only file system"), store.held(folder):
        pass


def test_what_a_killed_process_has_half_written_is_removed(folder):
    (folder / f".{store.RUN}-abc").write_bytes(b"{")
    store.heal(folder)
    assert not list(folder.glob(f".{store.RUN}-*"))


@pytest.mark.skipif(os.name == "nt", reason="not on this system: only administrators make links")
@pytest.mark.parametrize("target", ["nowhere", store.RESULTS])
def test_a_link_that_leads_nowhere_is_no_run_without_results(folder, target):
    (folder / store.RESULTS).unlink(missing_ok=True)
    (folder / store.RESULTS).symlink_to(target)
    with pytest.raises(RunFolderError, match=f"{store.RESULTS} cannot be read"):
        store.read(folder)
