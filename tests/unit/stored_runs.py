"""Runs on the disk for the tests of what judges stored runs: seeded noise, steps where a test wants them."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
from builders import CPU, a_cell, a_control, a_failed, a_generated, a_generation, a_generator, a_run, rounds_of
from msgspec.structs import replace

from bench import store
from bench.records import Cell, Observation, Run, RuntimeRecord

CONTROL = "minilm/fp32/torch-eager/b1-s128"
FP32 = "minilm/fp32/cpu/b1-s128"
INT8 = "minilm/int8/cpu/b1-s128"
EMULATED = "minilm/fp32/qnn-emulator/b1-s128"
GENERATOR = "llama/fp32/cpu/b1-p128-n64"
GENERATOR_CONTROL = "llama/fp32/torch-eager/b1-p128-n64"
TIMES_MS = {CONTROL: 12.0, FP32: 8.0, INT8: 4.0, EMULATED: 90.0}
CELLS = (
    a_control(CONTROL, runtime="torch"),
    a_cell(FP32, provider=CPU, runtime="ort"),
    a_cell(INT8, provider=CPU, runtime="ort"),
    a_cell(EMULATED, runtime="ort", emulated=True),
)
DAY = dt.datetime(2026, 11, 1, 9, tzinfo=dt.UTC)


def a_stored_run(day: int = 0, **said: Any) -> Run:
    """The run of one day: a text encoder in two precisions, on the CPU, on an emulator and in PyTorch."""
    made = {"onnxruntime": "1.31.1", "numpy": "2.4.6"}
    run = a_run(
        *CELLS,
        name=f"vm-{day:03}",
        created=(DAY + dt.timedelta(days=day)).isoformat(timespec="seconds"),
        runtimes={"ort": RuntimeRecord("ort", ("onnxruntime==1.31.1",), "3.11.7", made, "k")},
    )
    return replace(run, **said)


def observed(
    run: Run, seed: int = 0, rounds: int = 6, noise: float = 0.01, slower: dict[str, float] | None = None
) -> list[Observation]:
    """Rounds of every cell with a log-normal scatter; `slower` multiplies the times of some, by id or by `*` of all."""
    random = np.random.default_rng(seed)
    factors = slower or {}
    found: list[Observation] = []
    for cell in run.cells:
        if cell.excluded is not None:
            continue
        factor = factors.get(cell.id, 1.0) * factors.get("*", 1.0)
        scatter = np.exp(random.normal(0, noise, rounds)) * factor
        found += _rounds(cell, scatter.tolist())
    return found


def _rounds(cell: Cell, factors: list[float]) -> list[Observation]:
    if cell.family == "text-generator":
        made = [(a_generation(128 * factor, 10 * factor),) for factor in factors]
        return [a_generated(cell, number, generations=each, **_where(cell)) for number, each in enumerate(made)]
    return rounds_of(cell, [TIMES_MS.get(cell.id, 5.0) * factor for factor in factors], **_where(cell))


def _where(cell: Cell) -> dict[str, Any]:
    from builders import a_placement

    return (
        {"placement": a_placement(**{cell.provider.removesuffix("ExecutionProvider"): {"MatMul": 18}})}
        if (cell.provider)
        else {"placement": None, "versions": {"torch": "2.13.0"}}
    )


def generators() -> tuple[Cell, ...]:
    """A text generator and its control."""
    return (
        a_generator(GENERATOR, runtime="ort"),
        a_generator(GENERATOR_CONTROL, engine="torch", provider=None, control=True),
    )


def failing(run: Run, cell: str, **said: Any) -> list[Observation]:
    """Observations of a run in which one cell fails in its first round."""
    return [*(one for one in observed(run) if one.cell != cell), a_failed(cell, 0, **said)]


def write(folder: Path, run: Run, observations: list[Observation]) -> Path:
    """Put a run on the disk as `bench run` does; its folder."""
    store.create(folder, run)
    with (folder / store.RESULTS).open("wb") as file:
        for one in observations:
            file.write(store.msgspec.json.encode(one) + b"\n")
    return folder
