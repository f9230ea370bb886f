"""Makes a pandas DataFrame of runs, with typed columns and the same rows and values as results.csv."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from bench.records import Outcome, Run

DTYPES = {"number": "Float64", "integer": "Int64", "boolean": "boolean", "text": "string", "list": "string"}
"""The pandas type for each type of column. All can hold missing values; a list is joined by `;`, as in the CSV."""
CATEGORIES = {
    *("run", "machine", "model", "family", "weights", "precision", "executed", "target", "engine", "provider"),
    *("device", "runtime", "workload", "stage", "throughput_unit", "energy_source", "kv_type", "logits"),
    *("weight_format", "tokens_counted_by", "onnxruntime", "engine_version"),
}
"""Columns of texts that many rows share: as categories, pandas stores each text once."""


def frame_of(runs: Sequence[tuple[Run, Sequence[Outcome]]], *, drop_empty: bool) -> pd.DataFrame:
    """One row for each cell, in the order of the plan; `drop_empty` leaves out columns without any value."""
    # pandas is imported late, so that `bench plan` and `bench --help` start quickly.
    import pandas as pd

    rows = [row for run, outcomes in runs for row in rows_of(run, outcomes)]
    data = {name: _series(name, kind, [row[name] for row in rows]) for name, kind in column_types().items()}
    frame = pd.DataFrame(data)
    return frame.dropna(axis="columns", how="all") if drop_empty else frame


def _series(name: str, kind: str, values: Sequence[Any]) -> pd.Series:
    import pandas as pd

    from bench.report.text import STATUSES

    if name == "status":
        # Ordered as in the report, so that sorting by status puts what is right first.
        return pd.Series(pd.Categorical(values, categories=list(STATUSES), ordered=True))
    series = pd.Series(values, dtype=DTYPES[kind])
    return series.astype("category") if name in CATEGORIES else series


# --- how the columns are declared ----------------------------------------------------------------------


def column_types() -> dict[str, str]:
    """The type of every column, by name, in order."""
    from bench.report import metrics

    return {column.name: column.type for column in metrics.columns()}


def rows_of(run: Run, outcomes: Sequence[Outcome]) -> Iterator[Mapping[str, Any]]:
    """For each outcome the value of every column, by name; None where it is missing or not finite."""
    from bench.report import metrics, model

    # Through the model of the report, which has taken the times of emulators away.
    for sheet in model.build([(run, outcomes)]).sheets:
        for outcome in sheet.outcomes:
            yield metrics.row(sheet.result(outcome))
