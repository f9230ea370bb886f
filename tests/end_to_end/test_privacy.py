"""The real command under a home folder and a user of its own: no file of its run holds either, nor a secret."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.end_to_end.conftest import CPU, ENGINES, call_bench

pytestmark = pytest.mark.end_to_end

USER, TOKEN, VALUE = "zaphodb", "hf_dontPanic42dontPanic", "mostly-harmless"
TARGETS = (
    CPU
    + '[providers.secretive]\nep = "CPUExecutionProvider"\nenvironment = { STRAW_PASS = "mostly-harmless" }\n'
    + '[baselines.told]\nengine = "fake"\nmode = "tells"\nruntime = "ort"\n'
    + '[baselines.raised]\nengine = "fake"\nmode = "tells-and-raises"\nruntime = "ort"\n'
    + '[providers.no-runtime]\nep = "CPUExecutionProvider"\nruntime = "missing"\n'
    + '[providers.no-file]\nep = "CPUExecutionProvider"\nruntime = "gone"\n'
)
RUNTIMES = (
    '[runtimes.missing]\nrequires = ["touchstone-no-such-package==1.0"]\n[runtimes.gone]\npython = "~/no/bin/python"\n'
)
LOST = 'family = "onnx-file"\nsource = "onnx:lost/model.onnx"\n'


def test_no_file_of_a_run_holds_a_folder_a_name_or_a_secret(
    tmp_path: Path, environment: dict[str, str], matrix: Callable[..., Path], tiny_model: Path
):
    home = tmp_path / "homes" / USER
    home.mkdir(parents=True)
    named = dict.fromkeys(("HOME", "USERPROFILE"), str(home)) | dict.fromkeys(("USER", "LOGNAME", "USERNAME"), USER)
    mine = environment | named | {"HF_TOKEN": TOKEN, "BENCH_ENGINES": str(ENGINES)}
    host = socket.gethostname()
    (home / "tell.txt").write_text(
        f"no {home}/a, {environment['BENCH_CACHE_DIR']}/b, {tmp_path}/c: {TOKEN} {USER}", encoding="utf-8"
    )
    path = matrix(targets=TARGETS, more=f"{RUNTIMES}[models.lost]\n{LOST}", fp32='fake = "fp32"')
    (home / "tiny.onnx").write_bytes(tiny_model.read_bytes())
    # As a user writes it; a path that is typed in full stays as it was typed.
    text = path.read_text(encoding="utf-8").replace(tiny_model.as_posix(), "~/tiny.onnx")
    path.write_text(text, encoding="utf-8")
    arguments = ("--format", "html,csv,markdown,json,pytest-benchmark")
    done = call_bench(tmp_path, mine, "run", "--matrix", path, "--out", home / "run", *arguments)
    assert done.returncode == 0, done.stderr
    again = call_bench(tmp_path, mine, "run", "--resume", home / "run", "--minutes", "0.4")
    assert again.returncode == 0, again.stderr
    files = [file for file in (home / "run").rglob("*") if file.is_file()]
    assert any(file.suffix == ".log" for file in files)
    for file in files:
        content = file.read_text(encoding="utf-8")
        for word in (str(tmp_path), USER, TOKEN, VALUE, environment["BENCH_CACHE_DIR"]):
            assert word not in content, f"{word} in {file.name}"
        if len(host) > 5:
            assert host not in content, file.name
    # The value is needed, and asked for where nothing has it.
    path.unlink()
    asked = call_bench(tmp_path, mine, "run", "--resume", home / "run")
    assert asked.returncode == 2
    assert "STRAW_PASS of providers.secretive.environment is not stored in the run" in asked.stderr
