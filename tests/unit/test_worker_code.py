"""The worker's code is copied by content, and its environment holds nothing of the orchestrator's."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench.errors import DiskError
from bench.prepare import worker_code
from bench.prepare.code_digest import code_behind, digest
from bench.prepare.worker_code import PACKAGE, build_digest, child_environment, protocol_of, recorded, stage
from bench.records import PROTOCOL


@pytest.fixture
def own_copy(tmp_path, monkeypatch):
    """The package's files at a place where a test may edit them."""
    package = tmp_path / "package"
    shutil.copytree(worker_code.PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(worker_code, "PACKAGE", package)
    return package


def test_the_same_code_is_staged_once_and_found_again(tmp_path):
    first = stage(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in first.rglob("*")}
    assert stage(tmp_path) == first
    assert {path: path.stat().st_mtime_ns for path in first.rglob("*")} == before
    assert [path.name for path in first.parent.iterdir() if path.is_dir()] == [first.name]


def test_an_edit_is_staged_beside_the_old_code_which_stays_as_it_was(tmp_path, own_copy):
    old = stage(tmp_path / "cache")
    (own_copy / "worker" / "timing.py").write_text("EDITED = 1\n", encoding="utf-8")
    new = stage(tmp_path / "cache")
    assert new != old
    assert (new / "bench" / "worker" / "timing.py").read_text(encoding="utf-8") == "EDITED = 1\n"
    assert (old / "bench" / "worker" / "timing.py").read_text(encoding="utf-8") != "EDITED = 1\n"


def test_what_is_staged_is_the_ground_floor_and_the_worker_and_nothing_else(tmp_path):
    code = stage(tmp_path) / "bench"
    assert {path.name for path in code.iterdir()} == {"__init__.py", "records", "shared", "worker"}
    assert {path.name for path in code.parent.iterdir()} == {"bench", "touchstone-plugins.json"}
    assert not list(code.rglob("__pycache__"))
    assert (code / "worker" / "configs").is_dir(), "data files go along"


def test_extra_engines_are_staged_where_the_environment_names_them(tmp_path, strange_engines):
    assert (stage(tmp_path) / "bench" / "worker" / "engines" / "fake.py").exists()


def test_no_extra_engine_is_staged_otherwise(tmp_path):
    assert not (stage(tmp_path) / "bench" / "worker" / "engines" / "fake.py").exists()


def test_staged_code_runs_without_the_orchestrators_package(tmp_path):
    code = stage(tmp_path)
    script = "import bench.worker.timing, bench.records; print(bench.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=child_environment(code),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith(str(code))


def test_a_full_disk_is_told_and_leaves_nothing_half_staged(tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfile", full)
        with pytest.raises(DiskError, match="the disk is full"):
            stage(tmp_path)
    assert list((tmp_path / "worker").iterdir()) == []
    assert stage(tmp_path).exists()


def test_a_run_that_was_slower_takes_the_copy_of_the_one_that_was_first(tmp_path, monkeypatch):
    copy = shutil.copyfile
    other: list[object] = []

    def slow(source, to):
        if not other:
            other.append(None)
            other[0] = stage(tmp_path)  # the other run, from beginning to end
        return copy(source, to)

    monkeypatch.setattr(shutil, "copyfile", slow)
    assert stage(tmp_path) == other[0]
    assert [path.name for path in (tmp_path / "worker").iterdir() if path.is_dir()] == [other[0].name]


# --- digests ----------------------------------------------------------------------------------------------------------


def test_a_digest_tells_contents_and_names_apart(tmp_path):
    one, other = tmp_path / "a.py", tmp_path / "b.py"
    one.write_bytes(b"x = 1")
    other.write_bytes(b"x = 1")
    assert digest([one]) != digest([other])
    before = digest([one])
    one.write_bytes(b"longer = 1")
    assert digest([one]) != before


def test_an_edit_of_a_familys_code_makes_its_artifacts_anew_and_no_others(own_copy):
    before = build_digest("text-encoder"), build_digest("image-classifier")
    with (own_copy / "worker" / "families" / "text_encoder.py").open("a", encoding="utf-8") as file:
        file.write("EDITED = 1\n")
    after = build_digest("text-encoder"), build_digest("image-classifier")
    assert after[0] != before[0]
    assert after[1] == before[1]


def test_an_edit_of_how_artifacts_are_built_makes_every_artifact_anew(own_copy):
    before = build_digest("text-encoder"), build_digest("image-classifier")
    with (own_copy / "worker" / "artifacts.py").open("a", encoding="utf-8") as file:
        file.write("EDITED = 1\n")
    assert not set(before) & {build_digest("text-encoder"), build_digest("image-classifier")}


def test_an_edit_of_an_engine_makes_no_artifact_anew(own_copy):
    before = build_digest("text-encoder", "onnx")
    with (own_copy / "worker" / "engines" / "ort.py").open("a", encoding="utf-8") as file:
        file.write("EDITED = 1\n")
    assert build_digest("text-encoder", "onnx") == before


# --- what code means --------------------------------------------------------------------------------------------------


def reworded(package: Path) -> None:
    """Other docstrings, more comments and another layout in every file."""
    for path in package.rglob("*.py"):
        lines = path.read_text(encoding="utf-8").splitlines()
        strings = [
            node
            for node in ast.walk(ast.parse("\n".join(lines)))
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        ]
        for node in sorted(strings, key=lambda node: -node.lineno):
            indent = " " * node.col_offset
            lines[node.lineno - 1 : node.end_lineno] = [f'{indent}"""Other words."""', "", f"{indent}# A comment."]
        path.write_text("\n".join([*lines, "", ""]), encoding="utf-8")


def test_other_comments_and_docstrings_are_the_same_code(tmp_path, own_copy):
    """Nothing is staged again, nothing is built again, and no recorded base becomes foreign."""
    keys = [(family, form) for family in ("text-encoder", "text-generator") for form in (None, "onnx", "genai", "gguf")]
    before = [build_digest(*key) for key in keys]
    staged = stage(tmp_path / "cache")
    reworded(own_copy)
    assert "# A comment." in (own_copy / "worker" / "formats" / "onnx.py").read_text(encoding="utf-8")
    assert stage(tmp_path / "cache") == staged
    assert [build_digest(*key) for key in keys] == before
    assert recorded(tmp_path / "cache", staged.name) == staged


def test_another_number_is_other_code(tmp_path, own_copy):
    before, staged = build_digest("text-encoder", "onnx"), stage(tmp_path / "cache")
    path = own_copy / "worker" / "formats" / "onnx.py"
    text = path.read_text(encoding="utf-8")
    assert "samples: int = 16" in text
    path.write_text(text.replace("samples: int = 16", "samples: int = 17"), encoding="utf-8")
    assert build_digest("text-encoder", "onnx") != before
    assert stage(tmp_path / "cache") != staged


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("x = 1", "x = 1  # why\n\n"),
        ('def f():\n    """Words."""\n    return 1', 'def f():\n    "Others."\n    return (1)'),
        ('X = 1\n"""What it is."""', "X = 1"),
        ('class C:\n    """Words."""\n    x: int = 1\n    """A field."""', "class C:\n    x: int = 1"),
        ("x = 'a'", 'x = u"a"'),
    ],
)
def test_words_and_layout_mean_nothing(tmp_path, one, other):
    assert meanings(tmp_path, one) == meanings(tmp_path, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("x = 1", "x = 1.0"),
        ("x = True", "x = 1"),
        ("x = 'a'", "x = b'a'"),
        ("x = 'a'", "'a'"),
        ("f(a, b)", "f(a, b=b)"),
        ("return_ = None", "return_ = 0"),
        ("def f(a, /, b): pass", "def f(a, b, /): pass"),
        ("x = [1, [2]]", "x = [[1], 2]"),
        ("x = 'not Python", "x = 'not  Python"),
    ],
)
def test_whatever_else_differs_means_something(tmp_path, one, other):
    assert meanings(tmp_path, one) != meanings(tmp_path, other)


def meanings(folder: Path, text: str) -> str:
    path = folder / "code.py"
    path.write_text(text, encoding="utf-8")
    os.utime(path, ns=(len(text), hash(text) % 10**9))  # a file is read again when it has changed
    return digest([path])


def test_staged_code_says_which_protocol_it_speaks(tmp_path):
    code = stage(tmp_path)
    assert protocol_of(code) == PROTOCOL
    (code / "bench" / "records" / "protocol.py").unlink()
    assert protocol_of(code) is None, "of before there were versions"
    assert recorded(tmp_path, code.name) is None


# --- the environment --------------------------------------------------------------------------------------------------


def test_a_workers_environment_has_none_of_the_users_python_settings(tmp_path, monkeypatch):
    for name in ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "PYTHONOPTIMIZE", "VIRTUAL_ENV"):
        monkeypatch.setenv(name, "/elsewhere")
    environment = child_environment(tmp_path)
    assert "/elsewhere" not in environment.values()
    assert environment["PYTHONPATH"] == str(tmp_path)


def test_a_workers_environment_keeps_what_else_the_user_set(tmp_path, monkeypatch):
    monkeypatch.setenv("LD_LIBRARY_PATH", "/opt/sdk/lib")
    assert child_environment(tmp_path)["LD_LIBRARY_PATH"] == "/opt/sdk/lib"


@pytest.mark.parametrize("name", ["ORT_DISABLE_TELEMETRY", "HF_HUB_OFFLINE", "HF_HUB_DISABLE_TELEMETRY"])
def test_a_worker_tells_nobody_anything(tmp_path, monkeypatch, name):
    monkeypatch.setenv(name, "0")
    assert child_environment(tmp_path)[name] == "1"


def test_a_provider_may_set_variables_of_its_own_but_not_the_workers(tmp_path, monkeypatch):
    monkeypatch.setenv("MESA_SHADER_CACHE_DIR", "/of/the/user")
    asked = {"MESA_SHADER_CACHE_DIR": "/of/the/run", "PYTHONPATH": "/elsewhere", "ORT_DISABLE_TELEMETRY": "0"}
    environment = child_environment(tmp_path, asked)
    assert environment["MESA_SHADER_CACHE_DIR"] == "/of/the/run"
    assert environment["PYTHONPATH"] == str(tmp_path)
    assert environment["ORT_DISABLE_TELEMETRY"] == "1"


def test_making_an_environment_changes_none(tmp_path):
    before = dict(os.environ)
    child_environment(tmp_path)
    assert dict(os.environ) == before


def test_the_code_behind_a_format_is_all_that_it_imports_in_its_functions_too():
    behind = {path.name for path in code_behind([PACKAGE / "worker" / "formats" / "gguf.py"], {"bench": PACKAGE})}
    assert {"gguf.py", "_gguf_architectures.py", "_safetensors.py", "llama_log.py", "refusal.py"} <= behind
    assert not {"genai.py", "torch.py", "warm_session.py"} & behind


def test_what_a_format_imports_far_away_changes_its_digest_and_no_other(monkeypatch, tmp_path):
    shutil.copytree(PACKAGE / "worker", tmp_path / "worker")
    monkeypatch.setattr(worker_code, "PACKAGE", tmp_path)
    before = {form: build_digest("text-generator", form) for form in ("gguf", "genai", "optimum")}
    with (tmp_path / "worker" / "llama_log.py").open("a", encoding="utf-8") as file:
        file.write("EDITED = 1\n")
    changed = {form for form, was in before.items() if build_digest("text-generator", form) != was}
    assert changed == {"gguf"}
