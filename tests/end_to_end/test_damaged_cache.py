"""The real command takes a damaged model and a damaged worker from its cache: both are made again and told."""

from __future__ import annotations

import json
import os
from pathlib import Path

from .conftest import outcomes_of


def flip(path: Path) -> None:
    """Change one bit, and set the time of the last change back."""
    before, content = path.stat(), bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_flipped_byte_in_a_model_and_in_the_worker_is_mended_before_anything_is_measured(
    bench, matrix, tmp_path, cache
):
    own = tmp_path / "cache"
    own.mkdir()
    # The runtimes of all tests: they are large, and stay as they are.
    (own / "runtimes").symlink_to(cache / "runtimes", target_is_directory=True)
    path = matrix()
    first = bench("run", "--matrix", path, "--out", "first", "--format", "csv", BENCH_CACHE_DIR=str(own))
    assert first.returncode == 0, first.stderr
    (model,) = (own / "artifacts").glob("*/model.onnx")
    (code,) = [folder for folder in (own / "worker").iterdir() if folder.is_dir()]
    flip(model)
    flip(code / "bench" / "worker" / "timing.py")
    second = bench("run", "--matrix", path, "--out", "second", "--format", "json", BENCH_CACHE_DIR=str(own))
    assert second.returncode == 0, second.stderr
    assert "fp32 of tiny was damaged in the cache, and was made again: model.onnx has changed" in second.stderr
    assert "the worker's code was damaged in the cache, and was made again" in second.stderr
    assert [outcome["status"] for outcome in outcomes_of(tmp_path / "second", "target").values()] == ["ok"]
    notes = json.loads((tmp_path / "second" / "run.json").read_text(encoding="utf-8"))["cache_notes"]
    assert {note["values"]["kind"] for note in notes} == {"artifact", "worker-code"}
