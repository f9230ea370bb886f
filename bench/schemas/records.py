"""Makes the schemas of run.json, of a line of results.jsonl, and of results.json from the records."""

from __future__ import annotations

import ast
import inspect
import textwrap
from typing import Any

import msgspec

from bench import records
from bench.records import Observation, Record, Run
from bench.report import answers, emulation, metrics
from bench.report.renderers import json as report

# The draft that msgspec writes; the matrix has an older one, for the editors.
DRAFT = "https://json-schema.org/draft/2020-12/schema"
METRICS = "Metrics"


def run() -> dict[str, Any]:
    """The schema of run.json."""
    return _document(Run, "run.json: all that is needed to read a run's observations, and to run it again")


def observation() -> dict[str, Any]:
    """The schema of a line of results.jsonl."""
    return _document(Observation, "A line of results.jsonl: what one round, or one minute, saw of one cell")


def results() -> dict[str, Any]:
    """The schema of results.json; the metrics of a cell come from the rows of `bench.report.metrics`."""
    schema = _document(report.Results, "results.json: the whole outcomes and their metrics, beside their runs")
    definitions = schema["$defs"]
    definitions[METRICS] = _metrics()
    # In the record the metrics are a plain dict; their names are known only from the rows.
    definitions["RunResults"]["properties"]["metrics"]["additionalProperties"] = {"$ref": f"#/$defs/{METRICS}"}
    return schema


def _document(kind: type[Record], title: str) -> dict[str, Any]:
    (root,), definitions = msgspec.json.schema_components([kind])
    for name, definition in definitions.items():
        _describe(_record(name), definition)
    return {"$schema": DRAFT, "title": title, **root, "$defs": definitions}


def _record(name: str) -> type[Record]:
    """The record of that name, from the modules whose records the schemas contain."""
    record: type[Record] = next(
        getattr(module, name) for module in (report, records, emulation, answers) if hasattr(module, name)
    )
    return record


def _describe(record: type[Record], definition: dict[str, Any]) -> None:
    """Add to each field the text that stands below it in the source, if there is one."""
    for field, meaning in field_meanings(record).items():
        own = definition["properties"][field]
        # The field's schema comes last: a description of its own is the more exact one.
        definition["properties"][field] = {"description": meaning, **own}


def field_meanings(record: type[Any]) -> dict[str, str]:
    """For each field the string below it in the source of the class, on one line."""
    # Python does not keep these strings, so they are read from the source.
    tree = ast.parse(textwrap.dedent(inspect.getsource(record))).body[0]
    assert isinstance(tree, ast.ClassDef)
    meanings: dict[str, str] = {}
    for field, below in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            meanings[ast.unparse(field.target)] = " ".join(str(below.value.value).split())
    return meanings


def _metrics() -> dict[str, Any]:
    columns = metrics.measured_columns()
    return {
        "title": METRICS,
        "description": "The metrics of one cell; null where a metric is missing.",
        "type": "object",
        "properties": {c.name: {"description": c.meaning, "type": [c.type, "null"]} for c in columns},
        "required": [column.name for column in columns],
        "additionalProperties": False,
    }
