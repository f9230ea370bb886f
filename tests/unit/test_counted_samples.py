"""What a call was fed decides the rate, once the reference of the workload is made."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from matrices import of_matrix

from bench import run_steps
from bench.declare.plan import plan
from bench.prepare.builds import Prepared
from bench.records import Note, note


def counted(*notes: Note) -> dict[str, float]:
    (cell,) = plan(of_matrix())
    reference: Any = SimpleNamespace(record=SimpleNamespace(notes=notes))
    prepared = Prepared(Path("code"), references={(cell.model, cell.workload): reference})
    return run_steps._counted(cell, prepared).rates


def test_the_samples_that_the_file_fixes_are_counted_and_not_the_default():
    assert counted(note("noise"), note("guessed-samples", samples=8, axis="x[0]")) == {"samples": 8.0}
    assert counted(note("counted-samples", samples=4, axis="batch")) == {"samples": 4.0}


def test_without_a_count_the_plan_holds():
    assert counted(note("noise")) == {"samples": 1.0}
