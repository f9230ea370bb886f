"""A run whose `run.json` was edited is not resumed: its matrix must describe its cells."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders import a_cell, a_run
from matrices import MATRIX
from msgspec.structs import replace

from bench import pipeline, store
from bench.declare.matrix import parse
from bench.declare.plan import plan
from bench.errors import RunFolderError
from bench.pipeline import Options
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
    options = Options(Path("m.toml"), tmp_path, tmp_path, resume=tmp_path / "run")
    with pytest.raises(RunFolderError, match=words):
        pipeline._begin(options, Quiet())


def test_cells_of_the_matrix_itself_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = a_run(*plan(parse(MATRIX)), matrix_text=MATRIX)
    monkeypatch.setattr("bench.machine.fingerprint.fingerprint", lambda: run.machine)
    store.create(tmp_path / "run", run)
    options = Options(Path("m.toml"), tmp_path, tmp_path, resume=tmp_path / "run")
    assert pipeline._begin(options, Quiet())[2].cells == run.cells
