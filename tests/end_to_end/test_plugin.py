"""A package of somebody else, installed beside Touchstone: the real command plans, builds, measures and reports it."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from bench.report import formats
from tests.end_to_end.conftest import Bench
from tests.plugins import install_example

pytestmark = pytest.mark.end_to_end

A_MATRIX = f"""schema = 1
[measure]
threads = 1
[models.small]
family = "linear"
source = "config:linear.json"
workloads = [{{ batch = 8 }}]
[precisions.fp32]
linear = "npz-fp32"
[precisions.rounded]
linear = {{ recipe = "npz-rounded", bias = false }}
[runtimes.plain]
python = {json.dumps(sys.executable)}
[baselines.numpy]
engine = "numpy"
runtime = "plain"
control = true
"""


@pytest.fixture
def installed(tmp_path: Path) -> dict[str, str]:
    """The example package, and the variable by which Python finds it."""
    install_example(tmp_path / "site")
    (tmp_path / "linear.json").write_text('{"model_type": "linear", "inputs": 64, "outputs": 16}', encoding="utf-8")
    (tmp_path / "matrix.toml").write_text(A_MATRIX, encoding="utf-8")
    return {"PYTHONPATH": os.pathsep.join(filter(None, (str(tmp_path / "site"), os.environ.get("PYTHONPATH"))))}


def test_its_family_format_and_engine_are_planned_built_and_measured(bench: Bench, installed, tmp_path: Path):
    planned = bench("plan", "--matrix", "matrix.toml", **installed)
    assert planned.returncode == 0, planned.stderr
    assert "2 cells of 1 model on this machine" in planned.stdout
    names = "json,lines" if hasattr(formats, "GROUP") else "json"
    done = bench("run", "--matrix", "matrix.toml", "--out", tmp_path / "run", "--format", names, **installed)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "run" / "results.json").read_text(encoding="utf-8"))
    outcomes = report["runs"][0]["outcomes"]
    assert {outcome["status"] for outcome in outcomes} == {"ok"}
    errors = [outcome["parity"]["relative_error"] for outcome in outcomes]
    assert len(errors) == 2
    assert min(errors) < 1e-6 < max(errors) < 0.01
    noise = "inputs: seeded noise"
    assert {outcome["cell"]["precision"]: outcome["build_notes"] for outcome in outcomes} == {
        "fp32": [noise],
        "rounded": ["weights rounded to FP16", noise],
    }
    if "lines" in names:
        assert (tmp_path / "run" / "lines.txt").read_text(encoding="utf-8").count(": ok\n") == 2


def test_without_it_the_matrix_is_refused_by_name(bench: Bench, installed):
    refused = bench("plan", "--matrix", "matrix.toml")
    assert refused.returncode == 2
    assert "unknown engine 'numpy' in baselines.numpy" in refused.stderr
