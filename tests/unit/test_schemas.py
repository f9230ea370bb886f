"""The JSON Schemas: equal to what they are made from, and true of real files."""

from __future__ import annotations

import json
import tomllib
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from a_generating_report import a_generating_run
from a_report import a_whole_run
from fake_runs import a_fake_run
from jsonschema import Draft7Validator, Draft202012Validator
from jsonschema.exceptions import ValidationError
from matrices import MATRIX, matrix_text

from bench import schemas, store
from bench.judge.cell_states import CellHistory
from bench.measure.measuring import measure
from bench.progress import Quiet
from bench.report import metrics, model
from bench.report.renderers import json as json_report
from bench.schemas.matrix import matrix

ROOT = Path(__file__).parents[2]
MATRICES = sorted([ROOT / "matrix.toml", *(ROOT / "examples").rglob("*.toml")])


def shipped(name: str) -> dict[str, Any]:
    schema: dict[str, Any] = json.loads((schemas.FOLDER / name).read_text(encoding="utf-8"))
    return schema


def check(name: str, document: object) -> None:
    Draft202012Validator(shipped(name)).validate(document)


def check_matrix(text: str) -> None:
    Draft7Validator(shipped("matrix.schema.json")).validate(tomllib.loads(text))


# --- made from the records --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", schemas.SCHEMAS)
def test_the_file_is_what_the_records_and_the_tables_say(name: str) -> None:
    assert (schemas.FOLDER / name).read_text(encoding="utf-8") == schemas.text(name), "python -m bench.schemas"


@pytest.mark.parametrize("name", schemas.SCHEMAS)
def test_every_schema_is_one(name: str) -> None:
    (Draft7Validator if name.startswith("matrix") else Draft202012Validator).check_schema(shipped(name))


def test_they_are_written_where_they_are_asked_for(tmp_path: Path) -> None:
    paths = schemas.write(tmp_path)
    assert [path.name for path in paths] == list(schemas.SCHEMAS)
    assert paths[0].read_bytes() == (schemas.FOLDER / paths[0].name).read_bytes()


def test_a_field_is_described_by_the_text_below_it_in_the_records() -> None:
    path = shipped("run.schema.json")["$defs"]["Run"]["properties"]["matrix_path"]
    assert path["description"].startswith("As it may be published: relative to")


def test_the_metrics_of_the_report_are_the_rows() -> None:
    found = shipped("results.schema.json")["$defs"]["Metrics"]["properties"]
    assert {name: one["description"] for name, one in found.items()} == {
        column.name: column.meaning for column in metrics.measured_columns()
    }
    assert {kind for one in found.values() for kind in one["type"]} == {"number", "integer", "null"}


def test_a_metric_that_is_added_is_in_the_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    more = metrics.Metric("seconds_lost", "s", "number", lambda _: 1.0, "Seconds that were lost.")
    monkeypatch.setattr(metrics, "METRICS", (*metrics.METRICS, more))
    found = schemas.SCHEMAS["results.schema.json"]()["$defs"]["Metrics"]
    assert found["properties"]["seconds_lost"] == {"description": "Seconds that were lost.", "type": ["number", "null"]}


# --- true of runs -----------------------------------------------------------------------------------------------------


def test_a_recorded_run_and_each_of_its_observations_are_valid(tmp_path: Path, strange_engines: None) -> None:
    made, folder = a_fake_run(tmp_path / "made", "obeys", (1, 2)), tmp_path / "run"
    store.create(folder, made.run)
    measure(
        made.matrix, made.run, made.prepared, made.settings, CellHistory(()), partial(store.append, folder), Quiet()
    )
    check("run.schema.json", json.loads((folder / store.RUN).read_text(encoding="utf-8")))
    lines = (folder / store.RESULTS).read_text(encoding="utf-8").splitlines()
    assert len(lines) == 4
    for line in lines:
        check("observation.schema.json", json.loads(line))
        assert json.loads(line)["timing"]["samples_ns"]


def test_a_report_with_every_status_is_valid() -> None:
    document = json.loads(json_report.render(model.build([a_whole_run(), a_generating_run()])))
    check("results.schema.json", document)


def test_a_field_that_no_record_has_is_not() -> None:
    run, _ = a_whole_run()
    document = json.loads(msgspec.json.encode(run))
    check("run.schema.json", document)
    with pytest.raises(ValidationError, match="'speed' was unexpected"):
        check("run.schema.json", {**document, "speed": 1})
    with pytest.raises(ValidationError, match="'seed' is a required property"):
        check("run.schema.json", {name: value for name, value in document.items() if name != "seed"})


# --- true of matrices -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", MATRICES, ids=lambda path: path.name)
def test_the_matrices_of_the_project_are_valid_and_name_the_schema(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    check_matrix(text)
    first = text.splitlines()[0]
    assert first.startswith("#:schema ")
    assert (path.parent / first.removeprefix("#:schema ")).resolve() == schemas.FOLDER / "matrix.schema.json"


@pytest.mark.parametrize(
    "more",
    [
        '[providers.mine]\nep = "MyProvider"\ndevice = 1\noptions = { a = 1, b = "x", c = true }',
        '[providers."cuda.1"]',
        '[providers.tf32]\nlike = "cuda"\ndevice = "gpu.1"\nenvironment = { A = "b" }',
        '[runtimes.mine]\npython = "path/to/python"',
        '[precisions.int4]\ntext-generator = { recipe = "genai-int4", block_size = 128 }\ntolerance = { max_kl = 0.1 }',
        '[models.other]\nfamily = "of-another-package"\nsource = "hub:a/b"\nworkloads = [{ width = 3 }]',
        "[measure]\nthreads = 2\ntimeout_s = 60",
    ],
)
def test_what_a_matrix_may_say_is_taken(more: str) -> None:
    check_matrix(f"{MATRIX}\n{more}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (matrix_text(("workloads =", "workload =")), "'workload' was unexpected"),
        (matrix_text(("schema = 1", "schema = 3")), "1 was expected"),
        (matrix_text(('"config:bert-base"', '"bert-base"')), "does not match"),
        (matrix_text(("batch = 1, sequence", 'batch = "1", sequence')), "is not of type 'integer'"),
        (matrix_text(("control = true", 'control = "yes"')), "is not of type 'boolean'"),
        (matrix_text(more='[measure]\nbudget = "quik"'), "'quik' is not one of"),
        (matrix_text(more="[measure]\nthreads = 0"), "less than the minimum"),
        (matrix_text(more='[[exclude]]\ncells = "*"'), "'reason' is a required property"),
        (matrix_text(more="[runtimes.none]"), "is not valid under any"),
        (matrix_text(more='[providers.cuda]\noptions = { a = ["b"] }'), "is not of type"),
        (matrix_text(more='[providers.cuda]\noptimisation = "all"'), "optimisation"),
    ],
)
def test_what_it_may_not_say_is_named(text: str, message: str) -> None:
    with pytest.raises(ValidationError) as error:
        check_matrix(text)
    assert message in error.value.message


def offered(schema: dict[str, Any]) -> set[str]:
    """The names that an editor completes a key with."""
    return {*schema.get("enum", ())}.union(*map(offered, schema.get("anyOf", ())))


def test_names_are_offered_for_completion() -> None:
    made = matrix()["properties"]
    assert "text-encoder" in offered(made["models"]["additionalProperties"]["properties"]["family"])
    precision = made["precisions"]["additionalProperties"]["properties"]
    assert "dynamic-int8" in offered(precision["text-encoder"])
    assert "bf16" in offered(precision["torch"])
    assert {"cpu", "cuda", "webgpu"} <= made["providers"]["properties"].keys()
