"""The real command in a process of its own: a mistake is one sentence and exit code 2, and a plan comes at once."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from matrices import MATRIX, matrix_text
from onnx_bytes import an_input, an_onnx_file
from rich.console import Console
from rich.text import Text

from bench.cli.tables import print_table

ROOT = Path(__file__).parents[2]


@pytest.fixture
def bench(tmp_path):
    """Run `bench` in an empty folder that holds one matrix."""
    (tmp_path / "matrix.toml").write_text(MATRIX, encoding="utf-8")

    def run(*arguments: str, folder: Path = tmp_path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "bench", *arguments]
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, encoding="utf-8", check=False)

    run.folder = tmp_path  # type: ignore[attr-defined]
    return run


def complaint(done: subprocess.CompletedProcess[str]) -> str:
    """The one sentence on stderr of a command that ended with 2."""
    assert "Traceback" not in done.stderr
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("bench: ")
    return lines[0].removeprefix("bench: ")


# --- plans ------------------------------------------------------------------------------------------------------------


def test_a_plan_shows_every_cell_and_why_some_will_not_run(bench):
    done = bench("plan", "--cache-dir", "cache")
    assert done.returncode == 0
    assert "minilm/fp32/cpu/b1-s128" in done.stdout
    assert "vit/int8" not in done.stdout
    assert "10 cells of 2 models on this machine; about " in done.stdout
    assert re.search(r"runtime build +\d+ MB +\d+ MB", done.stdout)
    assert re.search(r"about \d+ minutes? \(\d+ of them measuring\) and \d+ MB to download$", done.stdout.strip())


@pytest.mark.parametrize("width", [20, 80])
def test_a_table_of_whole_lines_holds_what_one_of_folded_cells_holds(width):
    written = io.StringIO()
    out = Console(width=width, file=written)
    rows = [(Text("minilm/fp32/cpu"), Text("a [b] 日本"), Text("yes")), (Text("x"), Text(""), Text("no", "dim"))]
    print_table(out, ("cell", "what", "will it run"), rows)
    lines = written.getvalue().splitlines()
    if width == 80:
        assert lines == ["cell             what        will it run", "minilm/fp32/cpu  a [b] 日本  yes", f"x{'no':>30}"]
    else:
        assert max(map(len, lines)) <= width
        assert "".join(line[:5].strip() for line in lines).startswith("cellminil")


def test_a_plan_of_minutes_warns_of_a_time_that_is_too_short(bench):
    done = bench("plan", "--minutes", "0.01", "--cache-dir", "cache")
    assert done.returncode == 0
    assert "warning: 0.01 min are short: one block of each of the 2 models takes about " in done.stdout
    assert "short" not in bench("plan", "--minutes", "60", "--cache-dir", "cache").stdout


def test_a_plan_in_json_is_for_programs(bench):
    cells = json.loads(bench("plan", "--json", "--only", "vit/*").stdout)
    assert {cell["model"] for cell in cells} == {"vit"}
    assert [cell["excluded"] is None for cell in cells] == [True, True]


def test_a_plan_tells_what_is_not_here_and_what_is_wrong_with_a_models_files(bench):
    (bench.folder / "junk.onnx").write_bytes(b"no model")
    more = """
[models.gone]
family = "onnx-file"
source = "onnx:gone.onnx"
[models.junk]
family = "onnx-file"
source = "onnx:junk.onnx"
[models.odd]
family = "text-encoder"
source = "config:bert-bse"
[providers.migraphx]
[[exclude]]
cells = "taken-out/*"
reason = "it hangs"
"""
    text = matrix_text(('image-classifier = "fp32"', 'image-classifier = "fp32"\nonnx-file = "fp32"'), more=more)
    (bench.folder / "matrix.toml").write_text(text, encoding="utf-8")
    done = bench("plan", "--cache-dir", "cache")
    assert done.returncode == 0
    said = " ".join(done.stdout.split())
    assert "gone/fp32/cpu/b1 fp32 ort no: there is no onnx:gone.onnx; a relative path starts at the matrix's " in said
    assert "junk/fp32/cpu/b1 fp32 ort no: junk.onnx is no ONNX model that can be read" in said
    assert "no: unknown config 'bert-bse'; did you mean 'bert-base'?" in said
    assert re.search(
        r"minilm/fp32/migraphx/b1-s128 fp32 migraphx unavailable: (this machine shows no AMD GPU|the)", said
    )
    assert "warning: the rule [[exclude]] cells = 'taken-out/*' in matrix.toml matches no cell; a cell is " in said
    assert "10 cells of 2 models on this machine (" in said


def test_all_mistakes_of_a_matrix_are_told_at_once(bench):
    changes = ("[models.minilm]", "[model.minilm]"), ('engine = "torch"', 'engine = "trch"')
    (bench.folder / "matrix.toml").write_text(matrix_text(*changes), encoding="utf-8")
    done = bench("plan")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines() == [
        "bench: matrix.toml has 2 mistakes",
        "  unknown key 'model' in matrix.toml; did you mean 'models'?",
        "  unknown engine 'trch' in baselines.torch-eager in matrix.toml; did you mean 'torch'?",
    ]


def test_a_plan_leaves_nothing_behind(bench):
    bench("plan")
    assert [path.name for path in bench.folder.iterdir()] == ["matrix.toml"]


# --- mistakes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("[models.minilm]", "[model.minilm]"), "unknown key 'model' in matrix.toml; did you mean 'models'?"),
        (("batch = 1", 'batch = "1"'), "models.minilm.workloads[0].batch is '1' in matrix.toml; "),
        (("schema = 1", "schema = 9"), "schema is 9 in matrix.toml; "),
        (("[models.minilm]", "[models.minilm"), "matrix.toml is not valid TOML: "),
        (("[models.minilm]", '["\\n\\u001b[0m"]\n[models.minilm]'), "unknown key '\\n\\x1b[0m' in matrix.toml; "),
    ],
)
def test_a_wrong_matrix_is_one_sentence(bench, change, said):
    (bench.folder / "matrix.toml").write_text(matrix_text(change), encoding="utf-8")
    assert complaint(bench("plan")).startswith(said)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["plan", "--only", "minlm/*"], "--only 'minlm/*' matches no cell; a cell is named like 'minilm/"),
        (["plan", "--skip", "*"], "--only and --skip leave no cell; "),
        (["plan", "--matrix", "none.toml"], "there is no matrix at none.toml; name one with --matrix FILE"),
        (["plan", "--matrix", "."], ". cannot be read: "),
        (["plan", "--onyl", "x"], "No such option: --onyl"),
        (["plan", "surplus"], "Got unexpected extra argument"),
        (["plna"], "No such command 'plna'"),
        (["run", "--budget", "quik"], "unknown budget 'quik'; did you mean 'quick'?"),
        (["run", "--sustained", "0"], "--sustained 0 is not a number of minutes; give more than 0 and at most 1440"),
        *(
            ([verb, flag, minutes], f"{flag} {minutes} is not a number of minutes; give more than 0 and at most 1440")
            for verb, flag in (("run", "--minutes"), ("plan", "--minutes"), ("run", "--wait-minutes"))
            for minutes in ("0", "-1", "inf", "nan", "1e+09")
        ),
        (["run", "--wait", "10"], "Got unexpected extra argument(s) (10)"),
        (["run", "--sustained", "-3"], "--sustained -3 is not a number of minutes; "),
        (["run", "--sustained", "nan"], "--sustained nan is not a number of minutes; "),
        (["run", "--sustained", "inf"], "--sustained inf is not a number of minutes; "),
        (["run", "--sustained", "long"], "Invalid value for '--sustained'"),
        (["run", "--resume", ".", "--sustained", "5"], "--resume continues a run with its original options; leave "),
        (["run", "--threads", "none"], "Invalid value for '--threads'"),
        (["report", "nowhere"], "nowhere holds no run: there is no run.json; "),
        (["run", "--resume", "nowhere"], "nowhere holds no run: there is no run.json; "),
    ],
)
def test_a_wrong_command_line_is_one_sentence(bench, arguments, said):
    assert complaint(bench(*arguments)).startswith(said)


def test_a_matrix_that_is_not_utf8_is_one_sentence(bench):
    (bench.folder / "matrix.toml").write_bytes(b"schema = 1 # \xff")
    assert "a matrix is a UTF-8 TOML file" in complaint(bench("plan"))


def test_a_run_that_a_wrong_flag_stopped_has_left_nothing(bench):
    complaint(bench("run", "--budget", "quik"))
    assert [path.name for path in bench.folder.iterdir()] == ["matrix.toml"]


def test_a_run_from_another_schema_is_one_sentence(bench):
    (bench.folder / "run.json").write_text('{"schema": 7}', encoding="utf-8")
    assert "has schema 7, and this version reads schema 2" in complaint(bench("report", "."))


# --- a model without a matrix -----------------------------------------------------------------------------------------


def test_init_writes_a_matrix_that_can_be_planned_and_keeps_an_existing_one(bench):
    (bench.folder / "matrix.toml").unlink()
    (bench.folder / "net.onnx").write_bytes(an_onnx_file(an_input("x", ("batch", "sequence"))))
    done = bench("init", "net.onnx")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["wrote matrix.toml", "next: bench plan, then bench run"]
    assert "net/fp32/cpu/b1-sequence128" in bench("plan").stdout
    assert complaint(bench("init", "net.onnx")) == "matrix.toml exists already; name another --out"
    spaced = bench("init", "net.onnx", "--out", "my net.toml").stdout.splitlines()
    assert spaced[1] == "next: bench plan --matrix 'my net.toml', then bench run --matrix 'my net.toml'"


def test_a_model_is_planned_as_its_written_matrix_is(bench):
    (bench.folder / "net.onnx").write_bytes(an_onnx_file(an_input("x", ("batch", "sequence"))))
    bench("init", "net.onnx", "--out", "net.toml")
    assert (
        bench("plan", "--json", "--model", "net.onnx").stdout == bench("plan", "--json", "--matrix", "net.toml").stdout
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["init", "", "--out", "m.toml"], "the name of the model is empty; name an ONNX file"),
        (["init", "net.onnx", "--out", "no/matrix.toml"], "there is no folder no; make it first"),
        (["plan", "--model", "gone.onnx"], "there is no gone.onnx; "),
        (["run", "--model", " "], "the name of the model is empty; "),
        (["run", "--model", "m.onnx", "--matrix", "m.toml"], "--model makes a matrix of its own; leave --matrix out"),
        (["run", "--family", "text-encoder"], "--family is for --model; in a matrix the model's table has its family"),
        (["run", "--resume", ".", "--model", "m.onnx"], "--resume continues a run with its original options; leave "),
        (["run", "--resume", ".", "--with-optional"], "--resume continues a run with its original options; leave "),
        (["plan", "--only", ""], "--only '' matches no cell; a cell is named like "),
    ],
)
def test_a_wrong_model_is_one_sentence(bench, arguments, said):
    assert complaint(bench(*arguments)).startswith(said)
    assert [path.name for path in bench.folder.iterdir()] == ["matrix.toml"]
