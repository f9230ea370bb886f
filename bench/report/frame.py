"""Runs as a pandas DataFrame with typed columns: the same rows and values as results.csv."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from bench.records import Outcome, Run

DTYPES = {"number": "Float64", "integer": "Int64", "boolean": "boolean", "text": "string", "list": "string"}
"""The types of pandas that know missing values, by the type of a column; a list is joined by `;`, as in the CSV."""
CATEGORIES = {
    *("run", "machine", "model", "family", "weights", "precision", "executed", "target", "engine", "provider"),
    *("device", "runtime", "workload", "stage", "throughput_unit", "energy_source", "kv_type", "logits"),
    *("weight_format", "tokens_counted_by", "onnxruntime", "engine_version"),
}
"""Texts that many rows share: pandas keeps each once, and can group by them."""


def frame_of(runs: Sequence[tuple[Run, Sequence[Outcome]]], *, drop_empty: bool) -> pd.DataFrame:
    """One row a cell, in the order of the plan; columns without a value are left out on request."""
    import pandas as pd

    rows = [row for run, outcomes in runs for row in rows_of(run, outcomes)]
    data = {name: _series(name, kind, [row[name] for row in rows]) for name, kind in column_types().items()}
    frame = pd.DataFrame(data)
    return frame.dropna(axis="columns", how="all") if drop_empty else frame


def _series(name: str, kind: str, values: Sequence[Any]) -> pd.Series:
    import pandas as pd

    from bench.report.text import STATUSES

    if name == "status":
        return pd.Series(pd.Categorical(values, categories=list(STATUSES), ordered=True))
    series = pd.Series(values, dtype=DTYPES[kind])
    return series.astype("category") if name in CATEGORIES else series


# --- all that knows how the columns are declared ----------------------------------------------------------------------


def column_types() -> dict[str, str]:
    """The type of every column, by name, in order."""
    from bench.report import metrics

    return {column.name: column.type for column in metrics.columns()}


def rows_of(run: Run, outcomes: Sequence[Outcome]) -> Iterator[Mapping[str, Any]]:
    """The values of every column, by name, of each outcome; missing, and not finite, is None."""
    from bench.report import metrics, model

    for sheet in model.build([(run, outcomes)]).sheets:
        for outcome in sheet.outcomes:
            yield metrics.row(sheet.result(outcome))
