"""Files that others wrote: only ordinary ones are read, and never more than a limit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from builders import a_run, an_observation
from matrices import matrix_text
from msgspec.structs import replace

from bench import reading, store
from bench.declare import plan
from bench.declare.matrix import parse, read
from bench.errors import MatrixError, RunFolderError, SourceError, UsageError
from bench.gating.reports import json as gate_json
from bench.prepare.drafts import drafted_matrix
from bench.prepare.sources.folder import read_config

pipes = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="not on this system: there are no pipes with names")
devices = pytest.mark.skipif(not Path("/dev/zero").exists(), reason="not on this system: there is no /dev/zero")


@pytest.fixture
def folder(tmp_path) -> Path:
    """A run that has just begun."""
    store.create(tmp_path / "run", a_run())
    return tmp_path / "run"


def pipe_at(path: Path) -> Path:
    """A pipe that nobody writes into: whoever opens it waits."""
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    return path


@pipes
@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", [store.RUN, store.RESULTS])
def test_a_pipe_in_a_runs_folder_is_told_and_not_waited_for(folder, name):
    pipe_at(folder / name)
    with pytest.raises(RunFolderError, match=f"{name} is a pipe and no file; write its content to a file"):
        store.read(folder)


@pipes
@pytest.mark.timeout(20)
def test_a_pipe_is_neither_a_matrix_nor_a_gate_nor_a_configuration(tmp_path):
    pipe = pipe_at(tmp_path / "pipe")
    for read_it, error in ((read, MatrixError), (gate_json.read, RunFolderError)):
        with pytest.raises(error, match="is a pipe and no file"):
            read_it(pipe)
    with pytest.raises(SourceError):
        read_config(pipe)


@pytest.mark.timeout(20)
@devices
def test_a_device_without_an_end_is_told(folder):
    with pytest.raises(MatrixError, match="/dev/zero is a device and no file"):
        read(Path("/dev/zero"))
    (folder / store.RESULTS).symlink_to("/dev/zero")
    with pytest.raises(RunFolderError, match="is a device and no file"):
        store.read(folder)


def test_a_file_over_its_limit_is_not_read_whole(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(b"x" * 100)
    assert reading.content(path, 100, MatrixError) == b"x" * 100
    with pytest.raises(MatrixError, match="is longer than 0 MiB; it is damaged, or not of this kind"):
        reading.content(path, 99, MatrixError)


def test_a_run_json_over_the_limit_costs_no_memory(folder):
    # Sparse: it has a size and no blocks on the disk.
    with (folder / store.RUN).open("r+b") as file:
        file.truncate(2**40)
    with pytest.raises(RunFolderError, match="is longer than 128 MiB"):
        store.read(folder)


def test_a_torn_line_is_removed_without_reading_the_file(folder, monkeypatch):
    monkeypatch.setattr(store, "PART_BYTES", 7)
    store.append(folder, an_observation(round=1))
    whole = (folder / store.RESULTS).read_bytes()
    for torn in (b"", b"{", b'{"cell": "a long piece of a line'):
        (folder / store.RESULTS).write_bytes(whole + torn)
        store.heal(folder)
        assert (folder / store.RESULTS).read_bytes() == whole
    (folder / store.RESULTS).write_bytes(b"no line at all")
    store.heal(folder)
    assert (folder / store.RESULTS).read_bytes() == b""


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 10**40, -(10**30)])
def test_an_integer_beyond_64_bits_is_damage_wherever_it_stands(folder, number):
    line = msgspec.to_builtins(an_observation(round=1)) | {"load_ns": number}
    (folder / store.RESULTS).write_text(json.dumps(line) + "\n", encoding="utf-8")
    with pytest.raises(RunFolderError, match="line 1 is no observation: an integer beyond 64 bits"):
        store.read(folder)
    (folder / store.RESULTS).unlink()
    store.save(folder, replace(a_run(), seed=number))
    with pytest.raises(RunFolderError, match="an integer beyond 64 bits"):
        store.read(folder)


def test_integers_of_64_bits_and_long_numbers_in_texts_are_read(folder):
    seen = an_observation(round=1, load_ns=2**63 - 1, started="at: 123456789012345678901234567890")
    store.append(folder, seen)
    assert store.read(folder)[1] == (seen,)


@pytest.mark.parametrize("number", [-1, store.MOST_BLOCKS + 1])
def test_a_block_of_an_impossible_number_is_damage(folder, number):
    store.append(folder, an_observation(round=number))
    with pytest.raises(RunFolderError, match="a run has at most 1000000"):
        store.read(folder)


def test_a_run_of_too_many_cells_is_damage(folder, monkeypatch):
    monkeypatch.setattr(store, "MOST_CELLS", 0)
    with pytest.raises(RunFolderError, match="1 cells, more than 0"):
        store.read(folder)


def test_a_name_of_a_matrix_has_at_most_120_characters():
    assert parse(matrix_text(("[models.vit]", f"[models.{'v' * 120}]"))).models
    with pytest.raises(MatrixError, match=r"models\.vvvvvvvvvvvvvvvvvvvv… has a name of 121 characters.*at most 120"):
        parse(matrix_text(("[models.vit]", f"[models.{'v' * 121}]")))


def test_a_matrix_that_would_fill_the_memory_is_refused(monkeypatch):
    sizes = ", ".join(f"{{ batch = {number}, sequence = 128 }}" for number in range(1, 200))
    matrix = parse(matrix_text(("{ batch = 1, sequence = 128 }, { batch = 8, sequence = 128 }", sizes)))
    assert plan.plan(matrix)
    monkeypatch.setattr(plan, "MOST_COMBINATIONS", 500)
    with pytest.raises(MatrixError, match=r"combines to \d+ cells, more than 500; make several matrices"):
        plan.plan(matrix)


@pytest.mark.parametrize("content", ["[" * 100_000, '{"a":' * 100_000])
def test_a_configuration_that_is_nested_without_end_is_told(tmp_path, content):
    (tmp_path / "config.json").write_text(content, encoding="utf-8")
    with pytest.raises(SourceError, match="is not JSON"):
        read_config(tmp_path / "config.json")


@pipes
@pytest.mark.timeout(20)
def test_no_model_is_drafted_from_a_pipe(tmp_path):
    pipe = pipe_at(tmp_path / "model.onnx")
    with pytest.raises(UsageError, match="is a pipe and no file"):
        drafted_matrix(str(pipe), "", tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="not on this system: names of files are text")
def test_names_of_files_that_are_no_text_are_no_fault(tmp_path):
    """A folder, a matrix and an output whose names hold bytes that are no UTF-8."""
    strange = os.fsdecode(os.fsencode(tmp_path) + b"/m\xff\xfe")
    Path(strange).mkdir()
    matrix = Path(strange) / "m\udcff.toml"
    matrix.write_text(matrix_text(), encoding="utf-8")
    tried = {
        ("plan", "--matrix", str(matrix)): 0,
        ("plan", "--json", "--matrix", str(matrix)): 0,
        ("report", strange): 2,
        ("run", "--matrix", str(matrix)): 2,
        ("run", "--out", strange): 2,
        ("gate", "--baseline", strange): 2,
    }
    for words, code in tried.items():
        done = subprocess.run([sys.executable, "-m", "bench", *words], capture_output=True, check=False)
        assert done.returncode == code, done.stderr
        done.stdout.decode()
        assert ("holds bytes that are no UTF-8" in done.stderr.decode()) == (words[0] in ("run", "gate"))
    assert list(Path(strange).iterdir()) == [matrix]
