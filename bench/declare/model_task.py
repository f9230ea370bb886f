"""Reads the table `task` of a model: its labelled samples, and the metric that they are scored with."""

from __future__ import annotations

import math

from msgspec import Struct

from bench.declare import registry
from bench.declare.model_inputs import INPUT_KINDS, MAX_SIZE
from bench.declare.tables import Tables
from bench.records import TaskOptions
from bench.shared.task_metrics import TASK_METRICS, default_metric


class TaskTable(Struct, frozen=True):
    """The table `task` of a model."""

    inputs: str | None = None
    labels: str | None = None
    field: str = ""
    metric: str = ""
    classes: list[str] = []
    output: str = ""
    threshold: float | None = None
    tokens: int = 1024


CLASS_KEYS = ("classes", "threshold")
OWN_LABELS = ("answers", "rankings")
"""Samples of which each line has its labels: a text or a list."""
LINES = (".jsonl", ".ndjson")
"""Files of labels that have keys."""


def read_task(
    tables: Tables, data: object, inputs: str | None, family: registry.Family, where: str
) -> TaskOptions | None:
    """The labelled set, whose paths are still sources; None without one. Raises `MatrixError`.

    `inputs` is the source of the model's own inputs, which are the samples where the table names none.
    """
    if data is None:
        return None
    place = f"{where}.task"
    if not isinstance(data, dict):
        raise tables.error(f"'{place}' is no table", f'write [{place}] with labels = "path:labels.csv"')
    table = tables.struct(TaskTable, data, place)
    metric = _metric(tables, table, family, place)
    samples = table.inputs or inputs
    if samples is None:
        raise tables.error(f"{place} has labels and no inputs", 'name the samples: inputs = "path:FOLDER"')
    for key, source in (("inputs", table.inputs), ("labels", table.labels)):
        if source is not None and source.partition(":")[0] not in INPUT_KINDS:
            raise tables.error(f"{key} '{source}' of {place} has no known kind", "it starts with wheel: or path:")
    _check_keys(tables, table, metric, family, place)
    if "tokens" in data and metric != "perplexity":
        raise tables.error(f"{place}.tokens is for perplexity", f"leave it out for the metric '{metric}'")
    return TaskOptions(
        metric=metric,
        inputs=samples,
        labels=table.labels or "",
        field=table.field,
        classes=tuple(table.classes),
        output=table.output,
        threshold=table.threshold,
        tokens=table.tokens,
    )


def _metric(tables: Tables, table: TaskTable, family: registry.Family, place: str) -> str:
    if not family.labelled:
        takers = ", ".join(name for name, each in registry.families().items() if each.labelled)
        raise tables.error(f"{place}: the family '{family.name}' takes no labelled samples", f"these do: {takers}")
    known = [name for name, metric in TASK_METRICS.items() if metric.samples in family.labelled]
    if table.metric:
        tables.one_of(table.metric, known, f"unknown metric '{table.metric}' for the family '{family.name}' in {place}")
        return table.metric
    return default_metric(family.labelled[0])


def _check_keys(tables: Tables, table: TaskTable, metric: str, family: registry.Family, place: str) -> None:
    """Raise `MatrixError` for a key that the metric or the family does not use."""
    samples = TASK_METRICS[metric].samples
    if samples != "classes" and (other := [key for key in CLASS_KEYS if getattr(table, key) not in (None, [])]):
        raise tables.error(f"{place}.{other[0]} is for classes", f"leave it out for the metric '{metric}'")
    if samples == "text" and (table.labels or table.field):
        raise tables.error(f"{place}: a text is its own label for '{metric}'", "leave labels and field out")
    if samples in OWN_LABELS and table.labels:
        message = f"{place}.labels is not read for '{metric}', whose labels are beside the samples"
        raise tables.error(message, "write them into the JSON lines, and leave labels out")
    if samples == "speech" and table.field and not table.labels:
        raise tables.error(f"{place}.field names a key, and clips have files beside them", "leave it out")
    if table.labels and table.field and not table.labels.lower().endswith(LINES):
        raise tables.error(f"{place} has both labels and field", "field names a key of JSON lines")
    if table.output and not family.open_sizes:
        raise tables.error(f"{place}.output is for ONNX files", f"leave it out for the family '{family.name}'")
    if len(set(table.classes)) != len(table.classes):
        raise tables.error(f"{place}.classes names a class twice", "give each class of the model once, in its order")
    if not all(name.strip() for name in table.classes):
        raise tables.error(f"{place}.classes holds an empty name", "name each class of the model, in its order")
    if table.threshold is not None and (metric == "top5" or len(table.classes) > 2):
        what = "of the metric 'top5'" if metric == "top5" else f"beside {len(table.classes)} classes"
        raise tables.error(f"{place}.threshold has no meaning {what}", "it parts one score into two classes")
    if table.threshold is not None and not math.isfinite(table.threshold):
        raise tables.error(f"{place}.threshold is {table.threshold}", "it is a score, such as 0.5 of a sigmoid")
    if not 0 < table.tokens <= MAX_SIZE:
        raise tables.error(f"{place}.tokens is {table.tokens}", "it is at least 1")
