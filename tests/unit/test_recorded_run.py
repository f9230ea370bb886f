"""A run that was recorded before the refactoring of 2026-11 keeps its figures, verdicts and words.

`tests/recorded/several-engines` holds 139 cells of eight models, from ONNX Runtime, genai, optimum, PyTorch and
llama.cpp, on real and emulated devices: right, partly placed, wrong, refused, unavailable and crashed.
`expected/results.csv` is what the code of that day made of it.
"""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from pathlib import Path

import pytest

from bench import pipeline

RECORDED = Path(__file__).parents[1] / "recorded" / "several-engines"
RENAMED = {"flags": "warnings", "flag_details": "warning_details", "sustained_flags": "sustained_warnings"}
"""Columns whose name changed since: `df.flags` is an attribute of every pandas table."""
KEYS = ("model", "precision", "target", "workload")


def rows(text: str) -> dict[tuple[str, ...], dict[str, str]]:
    return {tuple(row[key] for key in KEYS): row for row in csv.DictReader(io.StringIO(text))}


@pytest.fixture(scope="module")
def expected() -> dict[tuple[str, ...], dict[str, str]]:
    return rows((RECORDED / "expected" / "results.csv").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, ...], dict[str, str]]:
    out = tmp_path_factory.mktemp("report")
    pipeline.report([RECORDED], ["csv"], out)
    return rows((out / "results.csv").read_text(encoding="utf-8"))


def same(before: str, now: str) -> bool:
    """Equal texts, or numbers that differ by no more than the order of a sum can make them differ."""
    if before == now:
        return True
    try:
        return math.isclose(float(before), float(now), rel_tol=1e-9)
    except ValueError:
        return False


def test_the_recording_holds_every_kind_of_verdict(expected):
    statuses = Counter(row["status"] for row in expected.values())
    assert len(expected) == 139
    assert set(statuses) == {
        "ok",
        "partial",
        "inaccurate",
        "unsupported",
        "unavailable",
        "crashed",
        "excluded",
    }
    engines = {row["engine"] for row in expected.values() if row["status"] == "ok"}
    assert {"ort", "genai", "ort-generate", "optimum", "torch", "llama-cpp"} <= engines


def test_every_figure_and_verdict_of_a_recorded_run_is_as_it_was(expected, rendered):
    assert rendered.keys() == expected.keys()
    differences = []
    for cell, before in expected.items():
        now = rendered[cell]
        for column, value in before.items():
            new_name = RENAMED.get(column, column)
            new_name = new_name if new_name in now else column
            if not same(value, now[new_name]):
                differences.append(f"{'/'.join(cell)} {column}: {value!r} became {now[new_name]!r}")
    assert not differences, "\n".join(differences[:20])
