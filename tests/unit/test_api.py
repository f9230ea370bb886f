"""`import bench` as a program uses it: nothing prints or exits, and a table holds what results.csv holds."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import msgspec
import pandas as pd
import pytest
from a_generating_report import a_generating_run
from a_report import EMULATED, a_whole_run
from matrices import MATRIX
from stored_runs import FP32, a_stored_run, observed, write

import bench
from bench import gating, pipeline
from bench.declare.matrix import parse
from bench.errors import BaselineError, BenchError, MatrixError, RunFolderError, UsageError
from bench.progress import Quiet
from bench.report import model
from bench.report.frame import CATEGORIES, column_types, frame_of
from bench.report.renderers import csv

NAMES = {"load_matrix", "plan", "run", "read_run", "to_frame", "compare", "gate"}


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """The current folder, with a matrix and two recorded runs."""
    (tmp_path / "matrix.toml").write_text(MATRIX, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    base, new = a_stored_run(0), a_stored_run(1)
    write(tmp_path / "base", base, observed(base, 1))
    write(tmp_path / "new", new, observed(new, 2, slower={FP32: 1.5}))
    return tmp_path


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    """A run with every status, and one of models that generate."""
    return frame_of([a_whole_run(), a_generating_run()], drop_empty=False)


# --- the package ------------------------------------------------------------------------------------------------------


def test_the_package_gives_every_name_of_the_interface():
    assert set(vars(bench)["__all__"]) >= NAMES
    assert all(callable(getattr(bench, name)) and getattr(bench, name).__doc__ for name in NAMES)
    assert set(dir(bench)) >= NAMES
    with pytest.raises(AttributeError, match="no attribute 'rum'"):
        getattr(bench, "rum")  # noqa: B009 - as a user would write it, which a type checker refuses


def test_importing_the_package_loads_next_to_nothing():
    script = "import sys, bench; print(*[n for n in sys.modules if n.startswith('bench.') or n in {'numpy', 'pandas'}])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_no_module_of_the_package_hides_a_function_of_the_interface():
    package = Path(bench.__file__).parent
    assert not {path.stem for path in package.iterdir() if path.suffix in {"", ".py"}} & NAMES


def test_type_checkers_see_what_the_package_gives(tmp_path):
    package = Path(bench.__file__).parent
    assert (package / "py.typed").exists()
    used = tmp_path / "used.py"
    lines = [f"reveal_type(bench.{name})" for name in (*vars(bench)["__all__"], "nothing")]
    used.write_text("\n".join(["import bench", *lines]), encoding="utf-8")
    # In the checkout's folder: what the last check of the package found is used again.
    command = [sys.executable, "-m", "mypy", "--strict", str(used)]
    done = subprocess.run(command, cwd=package.parent, capture_output=True, text=True, check=False)
    assert done.stdout.count("Revealed type") == len(lines)
    errors = [line for line in done.stdout.splitlines() if " error: " in line]
    assert len(errors) == 1, errors
    assert 'Module has no attribute "nothing"' in errors[0]


# --- matrices and plans -----------------------------------------------------------------------------------------------


def test_a_plan_is_the_cells_of_a_matrix_whichever_way_that_is_named(folder):
    matrix = bench.load_matrix()
    cells = bench.plan(matrix)
    assert len(cells) == 10
    assert bench.plan() == bench.plan("matrix.toml") == bench.plan(folder / "matrix.toml") == cells
    assert {cell.model for cell in bench.plan(only="vit/*")} == {"vit"}
    assert bench.plan(only=["vit/*"], skip="*/int8/*") == bench.plan(only="vit/fp32/*")


def test_mistakes_are_errors_that_name_the_remedy(folder):
    with pytest.raises(MatrixError, match=r"there is no matrix at none\.toml"):
        bench.load_matrix("none.toml")
    with pytest.raises(UsageError, match="matches no cell; a cell is named like"):
        bench.plan(only="minlm/*")
    with pytest.raises(RunFolderError, match="holds no run"):
        bench.read_run("nowhere")
    with pytest.raises(UsageError, match="did you mean 'quick'"):
        bench.run(budget="quik", cache=folder / "cache")
    with pytest.raises(UsageError, match="did you mean 'html'"):
        bench.run(formats=["htm"], cache=folder / "cache")
    with pytest.raises(BaselineError, match="there is no baseline in"):
        bench.gate("nowhere", cache=folder / "cache")
    assert issubclass(BaselineError, bench.BenchError)
    assert bench.BenchError is BenchError


def test_a_matrix_that_is_not_what_its_file_says_is_refused_before_anything_is_measured(folder):
    matrix = bench.load_matrix()
    changed = msgspec.structs.replace(matrix, measure=msgspec.structs.replace(matrix.measure, seed=7))
    with pytest.raises(UsageError, match=r"the matrix is not what matrix\.toml says; change the file"):
        bench.run(changed, cache=folder / "cache")
    with pytest.raises(MatrixError, match=r"there is no matrix at elsewhere\.toml"):
        bench.gate("base", parse(MATRIX, "elsewhere.toml"))
    assert not (folder / "cache").exists()


def test_the_cache_is_the_one_that_the_environment_names(folder, monkeypatch):
    monkeypatch.setenv("BENCH_CACHE_DIR", str(folder / "mine"))
    with pytest.raises(UsageError):
        bench.run(budget="quik")
    assert (folder / "mine" / "in-use").is_dir()


# --- recorded runs ----------------------------------------------------------------------------------------------------


def test_a_recorded_run_is_read_and_judged_and_nothing_is_written(folder, capsys):
    before = sorted(folder.rglob("*"))
    result = bench.read_run("base")
    assert isinstance(result, bench.RunResult)
    assert result.run.name == "vm-000"
    assert [outcome.cell.id for outcome in result.outcomes] == [cell.id for cell in result.run.cells]
    assert len(result.observations()) == 24
    assert sorted(folder.rglob("*")) == before
    assert capsys.readouterr() == ("", "")


def test_two_runs_are_compared(folder):
    comparison = bench.compare("base", bench.read_run("new"), only="*/cpu/*")
    verdicts = {cell.cell: cell.figures[0].verdict for cell in comparison.cells}
    assert verdicts[FP32] == "slower"


# --- tables -----------------------------------------------------------------------------------------------------------


def test_a_table_has_one_row_a_cell_and_the_columns_of_the_csv(frame):
    assert len(frame) == sum(len(outcomes) for _, outcomes in (a_whole_run(), a_generating_run()))
    assert list(frame.columns) == list(column_types())
    assert frame.columns[0] == "cell"
    assert frame.groupby("run", observed=True).cell.nunique().sum() == len(frame)


def test_the_values_are_those_of_the_csv(frame):
    read = pd.read_csv(io.StringIO(csv.render(model.build([a_whole_run(), a_generating_run()]))))
    read = read.rename(columns={"flags": "warnings"})
    for name in read.columns:
        ours, theirs = frame[name], read[name]
        assert (ours.isna() == theirs.isna()).all(), name
        kept = ours.notna()
        if column_types()[name] in {"number", "integer"}:
            assert ours[kept].astype(float).tolist() == pytest.approx(theirs[kept].astype(float).tolist()), name
        elif column_types()[name] == "boolean":
            assert ours[kept].tolist() == theirs[kept].astype(bool).tolist(), name
        else:
            assert ours[kept].astype(str).tolist() == theirs[kept].astype(str).str.removeprefix("'").tolist(), name


def test_every_column_has_a_type_that_knows_missing_values(frame):
    dtypes = {name: str(frame[name].dtype) for name in frame.columns}
    assert dtypes["latency_ms"] == "Float64"
    assert dtypes["peak_rss_bytes"] == dtypes["rounds"] == "Int64"
    assert dtypes["emulated"] == "boolean"
    assert dtypes["reason"] == "string"
    assert {name for name, dtype in dtypes.items() if dtype == "category"} == CATEGORIES | {"status"}
    assert set(dtypes.values()) == {"Float64", "Int64", "boolean", "string", "category"}


def test_statuses_are_in_order_and_missing_is_missing(frame):
    assert frame.status.cat.ordered
    assert frame.status.min() == "ok"
    crashed = frame[frame.status == "crashed"]
    assert crashed.latency_ms.isna().all()
    assert (crashed.rounds == 0).all()
    assert frame[frame.target == EMULATED].latency_ms.isna().all(), "an emulator's times rank nowhere"


def test_columns_that_hold_nothing_are_left_out_on_request(folder):
    every, some = bench.to_frame("base"), bench.to_frame("base", drop_empty=True)
    assert "decode_tok_s" in every
    assert "decode_tok_s" not in some
    assert not some.isna().all().any()
    assert [name for name in every if not every[name].isna().all()] == list(some)


def test_several_runs_are_one_table(folder):
    both = bench.to_frame(["base", bench.read_run("new")])
    assert both.run.tolist() == ["vm-000"] * 4 + ["vm-001"] * 4
    assert both.run.cat.categories.tolist() == ["vm-000", "vm-001"]
    assert len(bench.to_frame([])) == 0


# --- what is handed on ------------------------------------------------------------------------------------------------


def test_a_run_is_asked_for_with_every_option(folder, monkeypatch):
    asked = []
    monkeypatch.setattr(pipeline, "run", lambda options, progress: asked.append((options, progress)))
    progress = Quiet()
    bench.run(
        "matrix.toml",
        only="vit/*",
        skip=["*/int8/*"],
        budget="standard",
        threads=3,
        sustained_minutes=2.5,
        out="mine",
        formats=["csv"],
        cache=folder / "cache",
        progress=progress,
    )
    expected = pipeline.Options(
        matrix=Path("matrix.toml"),
        cache=folder / "cache",
        reports=Path("reports"),
        only=("vit/*",),
        skip=("*/int8/*",),
        budget="standard",
        threads=3,
        out=Path("mine"),
        formats=("csv",),
        sustained_minutes=2.5,
    )
    assert asked == [(expected, progress)]


def test_a_gate_is_asked_for_with_every_option(folder, monkeypatch):
    asked = []
    monkeypatch.setattr(gating, "run", lambda options, progress: asked.append(options))
    bench.gate(
        bench.read_run("base"),
        bench.load_matrix(),
        only=("vit/*",),
        skip="*/int8/*",
        threads=3,
        budget_minutes=5,
        in_sequence=True,
        trust_baseline=True,
        out="mine",
        cache=folder / "cache",
    )
    expected = gating.Options(
        baseline=Path("base"),
        matrix=Path("matrix.toml"),
        cache=folder / "cache",
        reports=Path("reports"),
        only=("vit/*",),
        skip=("*/int8/*",),
        threads=3,
        budget_minutes=5,
        in_sequence=True,
        trust_baseline=True,
        out=Path("mine"),
    )
    assert asked == [expected]
