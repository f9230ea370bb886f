"""The examples of docs/api.md run, one after the other, as a reader would type them."""

from __future__ import annotations

import inspect
import re
import shutil
from pathlib import Path

import pytest
from a_gate import a_gate_run, a_slower_cell

import bench
from bench import errors
from bench.gating import Finished

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
EXAMPLE = "examples/minilm-on-a-cpu"


@pytest.fixture
def checkout(tmp_path, monkeypatch) -> Path:
    """What a reader has; what would be measured for minutes is answered from the recorded run."""
    shutil.copyfile(ROOT / "matrix.toml", tmp_path / "matrix.toml")
    shutil.copytree(ROOT / EXAMPLE, tmp_path / EXAMPLE)
    monkeypatch.chdir(tmp_path)
    run, gate = inspect.signature(bench.run), inspect.signature(bench.gate)

    def recorded(*args: object, **kwargs: object) -> bench.RunResult:
        matrix = run.bind(*args, **kwargs).arguments
        assert bench.plan(matrix["matrix"], only=matrix["only"])
        return bench.read_run(EXAMPLE)

    def judged(*args: object, **kwargs: object) -> Finished:
        gate.bind(*args, **kwargs)
        return Finished(tmp_path, a_gate_run(a_slower_cell()), ())

    monkeypatch.setattr(bench, "run", recorded, raising=False)
    monkeypatch.setattr(bench, "gate", judged, raising=False)
    return tmp_path


def test_every_example_runs(checkout, capsys):
    assert len(BLOCKS) >= 9
    names: dict[str, object] = {}
    for block in BLOCKS:
        exec(compile(block, "docs/api.md", "exec"), names)
    printed = capsys.readouterr().out
    assert "minilm/fp32/cpu/b1-s128" in printed
    assert "--only 'minlm/*' matches no cell; a cell is named like 'minilm/" in printed
    assert "no difference" in printed or "unclear" in printed, "a run is compared with itself"


def test_every_function_and_every_error_that_the_page_names_is_there():
    table = re.findall(r"^\| `(\w+)\(", PAGE, flags=re.MULTILINE)
    assert set(table) == {"load_matrix", "plan", "run", "read_run", "to_frame", "compare", "gate"}
    named = re.findall(r"`(\w+Error|Interrupted)`", PAGE)
    classes = {name: value for name, value in vars(errors).items() if isinstance(value, type)}
    public = {name for name, value in classes.items() if issubclass(value, errors.BenchError)} - {"BenchError"}
    assert set(named) == public
