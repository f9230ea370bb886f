"""A resumed run measures the models that it began with; one whose `run.json` was edited is refused."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import pytest
from builders import a_cell, a_run
from matrices import MATRIX
from msgspec.structs import replace

from bench import pipeline, run_steps, store
from bench.declare.matrix import parse
from bench.declare.plan import plan
from bench.errors import RunFolderError
from bench.pipeline import Options
from bench.prepare import builds, own_runs
from bench.prepare.artifacts import RecordedArtifacts
from bench.prepare.cache_check import CacheCheck
from bench.progress import Quiet
from bench.records import Cell


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ((), "run.json has no cells"),
        ((a_cell("minilm/fp32/gone/b1"),), "has no target 'gone' of minilm/fp32/gone/b1"),
        ((a_cell("gone/fp32/cpu/b1"),), "has no model 'gone' of gone/fp32/cpu/b1"),
        ((a_cell("minilm/int3/cpu/b1"),), "has no precision 'int3' of minilm/int3/cpu/b1"),
    ],
)
def test_cells_that_its_matrix_does_not_describe_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cells: tuple[Cell, ...], words: str
) -> None:
    run = replace(a_run(matrix_text=MATRIX), cells=cells)
    monkeypatch.setattr("bench.machine.fingerprint.fingerprint", lambda: run.machine)
    store.create(tmp_path / "run", run)
    own_runs.mark(run, tmp_path)
    options = Options(Path("m.toml"), tmp_path, tmp_path, resume=tmp_path / "run")
    with pytest.raises(RunFolderError, match=words), ExitStack() as held:
        pipeline._begin(options, Quiet(), held)


def test_cells_of_the_matrix_itself_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = a_run(*plan(parse(MATRIX)), matrix_text=MATRIX)
    monkeypatch.setattr("bench.machine.fingerprint.fingerprint", lambda: run.machine)
    store.create(tmp_path / "run", run)
    own_runs.mark(run, tmp_path)
    options = Options(Path("m.toml"), tmp_path, tmp_path, resume=tmp_path / "run")
    with ExitStack() as held:
        assert pipeline._begin(options, Quiet(), held)[2].cells == run.cells


class Prepared(Exception):
    """The preparation was reached."""


def test_the_artifacts_of_its_beginning_are_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another file of the same name must not be measured as the same cell."""
    cells = plan(parse(MATRIX))
    run = a_run(*cells, matrix_text=MATRIX, artifacts={"minilm/fp32": "a" * 24}, source_digests={"minilm": "d" * 64})
    monkeypatch.setattr("bench.machine.fingerprint.fingerprint", lambda: run.machine)
    store.create(tmp_path / "run", run)
    own_runs.mark(run, tmp_path)
    asked: list[object] = []

    def prepare(*_: object, recorded: object = None) -> None:
        asked.append(recorded)
        raise Prepared

    monkeypatch.setattr(pipeline, "prepare", prepare)
    with pytest.raises(Prepared):
        pipeline.run(Options(Path("m.toml"), tmp_path, tmp_path, resume=tmp_path / "run"), Quiet())
    assert asked == [RecordedArtifacts(run.artifacts, run.references, run.source_digests, run.weights)]


def test_what_is_recorded_of_a_model_that_cannot_be_prepared_any_more_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    matrix = parse(MATRIX)
    run = a_run(
        *plan(matrix), matrix_text=MATRIX, artifacts={"minilm/fp32": "a" * 24}, source_digests={"minilm": "d" * 64}
    )
    store.create(tmp_path / "run", run)
    targets = SimpleNamespace(pool=SimpleNamespace(environments={}, check=CacheCheck()), facts={})
    monkeypatch.setattr("bench.prepare.probe.new_targets", lambda *_: targets)
    monkeypatch.setattr("bench.prepare.builds.prepare", lambda *_: builds.Prepared(tmp_path / "code"))
    _, record = run_steps.prepare(matrix, run, tmp_path, tmp_path / "run", Quiet())
    assert (record.artifacts, record.source_digests) == (run.artifacts, run.source_digests)
    assert store.read(tmp_path / "run")[0].artifacts == run.artifacts
