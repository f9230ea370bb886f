"""A recorded command line starts the same work again when it is pasted into a shell."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from bench import conformance, pipeline
from bench.commands import PACKAGE, command_line, is_built_in, path_of, shown_path
from bench.default_paths import matrix_path
from bench.gating.options import Options as GateOptions
from bench.gating.options import command as gate_command


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("a b", ["--flag", "a b"]),
        (4, ["--flag", "4"]),
        (7.5, ["--flag", "7.5"]),
        (10.0, ["--flag", "10"]),
        (True, ["--flag"]),
        (False, []),
        (None, []),
        ((), []),
        (("x*", "y"), ["--flag", "x*", "--flag", "y"]),
        (0, ["--flag", "0"]),
    ],
)
def test_a_flag_is_written_as_its_value_needs(value, words):
    assert shlex.split(command_line("run", {"--flag": value})) == ["bench", "run", *words]


def test_a_path_is_shown_without_the_home_and_relative_where_it_can_be(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path.parent))
    monkeypatch.setenv("USERPROFILE", str(tmp_path.parent))
    assert shown_path(Path("matrix.toml")) == "matrix.toml"
    assert shown_path(tmp_path.parent / "other" / "matrix.toml") == "~/other/matrix.toml"
    assert command_line("gate", {"--baseline": tmp_path / "a run"}) == "bench gate --baseline 'a run'"
    elsewhere = Path("/elsewhere/matrix.toml")
    assert shown_path(elsewhere) == elsewhere.as_posix()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    # A relative path is not made absolute: the folders above it were not typed.
    assert shown_path(Path("../matrix.toml")) == "../matrix.toml"


def test_the_built_in_matrix_has_no_path_of_a_machine_and_needs_no_flag(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    built_in = PACKAGE / "declare" / "default_matrix.toml"
    assert shown_path(built_in) == "BENCH/declare/default_matrix.toml"
    assert path_of(shown_path(built_in)) == built_in
    assert is_built_in(shown_path(built_in))
    assert not is_built_in("matrix.toml")
    assert path_of("~/m.toml") == Path.home() / "m.toml"
    assert command_line("run", {"--matrix": built_in, "--budget": "quick"}) == "bench run --budget quick"


def test_a_home_folder_is_left_for_the_shell_to_find(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    # Below the current folder a path would be shown relative to it.
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    typed = command_line("run", {"--matrix": tmp_path / "a b" / "m.toml", "--only": ("~/x*", "~y")})
    assert typed == "bench run --matrix ~/'a b/m.toml' --only ~/'x*' --only '~y'"
    assert shlex.split(typed)[3] == "~/a b/m.toml"
    assert matrix_path(Path("~/m.toml")) == tmp_path / "m.toml", "where no shell does it"


def test_each_verb_records_all_that_changes_its_result(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    common = {"matrix": Path("m.toml"), "cache": tmp_path, "reports": tmp_path, "only": ("x*",)}
    run = pipeline.Options(**common, threads=2)
    assert pipeline.command(run, "quick") == "bench run --matrix m.toml --budget quick --only 'x*' --threads 2"
    # `--out` is no part of it; a model stands in the place of a matrix.
    (tmp_path / "m.onnx").write_bytes(b"")
    of_model = pipeline.Options(**common, model=str(tmp_path / "m.onnx"), family="onnx-file", with_optional=True)
    words = "bench run --model m.onnx --family onnx-file --budget quick --only 'x*' --with-optional"
    assert pipeline.command(of_model, "quick") == words
    gate = GateOptions(baseline=Path("base"), **common, in_sequence=True)
    assert gate_command(gate) == "bench gate --baseline base --matrix m.toml --only 'x*' --in-sequence"
    operators = conformance.Options(**common, providers=("cpu",), install=True)
    assert conformance.command(operators) == "bench ops --matrix m.toml --provider cpu --only 'x*' --install"
