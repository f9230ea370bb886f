"""Runs of the fake engine in real worker processes: all that rounds and visits need, without a build."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from builders import a_cell, a_run
from matrices import a_matrix
from msgspec import Struct
from msgspec.structs import replace
from workers import FAMILY, HASTE, a_reference

from bench.declare.matrix import Matrix
from bench.measure.visits import Settings
from bench.prepare import worker_code
from bench.prepare.artifacts import Artifact
from bench.prepare.builds import Prepared
from bench.prepare.environments import Environment
from bench.records import ArtifactRecord, Cell, Provider, Recipe, Run, RuntimeRecord, Source

EP = "FakeExecutionProvider"


class FakeRun(Struct, frozen=True):
    """What `measure` and a `Visitor` take."""

    matrix: Matrix
    run: Run
    prepared: Prepared
    settings: Settings
    cells: tuple[Cell, ...]


def fake_matrix(mode: str, provider: Provider | None = None) -> Matrix:
    """A matrix whose target `fake` is the fake engine in a mode, on a provider if one is given."""
    matrix = a_matrix(
        ('engine = "torch"\nmode = "eager"', f'engine = "fake"\nmode = "{mode}"'),
        ("[baselines.torch-eager]", "[baselines.fake]"),
        ("[precisions.fp32]", "[precisions.fp32]\ntolerance = { min_cosine = 0.99 }"),
    )
    target = replace(matrix.targets["fake"], provider=provider, runtime="ort")
    return replace(matrix, targets={**matrix.targets, "fake": target})


def a_fake_run(
    folder: Path,
    mode: str,
    batches: Sequence[int] = (1,),
    *,
    provider: Provider | None = None,
    **settings: Any,
) -> FakeRun:
    """A run of the fake engine in a mode, with a cell for each batch; needs the fixture `strange_engines`."""
    cells = tuple(
        a_cell(
            f"vit/fp32/fake/b{batch}",
            family=FAMILY,
            engine="fake",
            runtime="ort",
            provider=provider.ep if provider else None,
            sizes={"batch": batch},
            recipe=Recipe("fp32", number_format="fp32"),
        )
        for batch in batches
    )
    prepared = Prepared(
        code=worker_code.stage(folder / "cache"),
        runtimes={"ort": Environment(RuntimeRecord("ort", (), "3", {}, "k"), Path(sys.executable))},
        sources={"vit": Source("config", "nowhere", "random", "0")},
        references={
            ("vit", f"b{batch}"): Artifact(
                ArtifactRecord("k", "reference", {}, {}, 0, 0.0, ""), a_reference(folder / f"b{batch}", batch)
            )
            for batch in batches
        },
    )
    given = Settings(HASTE, 1, 60.0, None, folder / "logs", folder / "scratch")
    run = a_run(*cells, effort=HASTE)
    return FakeRun(fake_matrix(mode, provider), run, prepared, replace(given, **settings), cells)
