"""One outcome in, its flat row of results.csv out: every column is named, typed and explained here, once."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any

from bench.records import Interval, Outcome, Run, Speed, Start
from bench.report import starts, text, versions, words
from bench.report.emulation import EmulatorTimes


def column(meaning: str) -> Any:
    """A field of `Row`, missing unless given, with what it means to a reader."""
    return field(default=None, metadata={"meaning": meaning})


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The columns of results.csv in their order. A column is added at will; its meaning never changes."""

    run: str = column("Name of the run, also its folder's.")
    machine: str = column("Key of the machine: equal for runs on one machine, reboots included.")
    model: str = column("Row of `[models]`.")
    family: str = column("Kind of model: it owns inputs, reference, tolerance and the units of throughput.")
    weights: str | None = column("`pretrained`, or `random`: the same architecture without trained values.")
    source: str = column("Where the model came from, as the matrix says it.")
    precision: str = column("Row of `[precisions]`.")
    recipe: str | None = column("How the precision was made: the recipe and its options.")
    executed: str | None = column("Number format that a probe found the target to compute this precision in.")
    target: str = column("Row of `[providers]` or `[baselines]`: what the cell ran on.")
    engine: str = column("Kind of library that ran it, `ort` for ONNX Runtime.")
    provider: str | None = column("ONNX Runtime execution provider that the nodes had to be on.")
    device: str | None = column("Device of the target; empty where the run does not record one.")
    emulated: bool | None = column("`true` where an emulator stands in for the device; else empty.")
    runtime: str = column("Named Python environment that it ran in.")
    workload: str = column("Label of the shape of the work.")
    batch: int | None = column("Inputs in one call.")
    sequence: int | None = column("Tokens in one input; empty for models without a sequence.")
    status: str = column(f"Verdict: {', '.join(f'`{status}`' for status in words.STATUSES)}.")
    reason: str | None = column("The verdict in words, in one line.")
    stage: str | None = column("What the worker was doing when it failed.")
    latency_ms: float | None = column("Milliseconds a call takes; empty unless a device gave right answers.")
    latency_ms_low: float | None = column("Lower end of its 95 % confidence interval; empty after a single round.")
    latency_ms_high: float | None = column("Upper end of that interval.")
    p50_ms: float | None = column("Median of the calls, in milliseconds.")
    p90_ms: float | None = column("90th percentile; empty below 64 calls.")
    p95_ms: float | None = column("95th percentile; empty below 130 calls.")
    p99_ms: float | None = column("99th percentile; empty below 662 calls.")
    throughput: float | None = column("Items a second, in `throughput_unit`.")
    throughput_low: float | None = column("Lower end of its 95 % confidence interval; empty after a single round.")
    throughput_high: float | None = column("Upper end of that interval.")
    throughput_unit: str | None = column("First rate of the family, e.g. `sequences/s`; results.json has every rate.")
    ratio_to_control: float | None = column("Speed over the control's in the same rounds: 2.0 is twice as fast.")
    ratio_low: float | None = column("Lower end of its 95 % confidence interval; a span over 1 shows no difference.")
    ratio_high: float | None = column("Upper end of that interval.")
    control: str | None = column("The cell that the ratio is against.")
    emulated_latency_ms: float | None = column("Milliseconds a call takes in an emulator: no speed of any device.")
    nodes_on_target: int | None = column("Graph nodes that were assigned to the provider.")
    nodes_elsewhere: int | None = column("Graph nodes that were assigned to another provider, bookkeeping included.")
    fallback_ops: str | None = column("Types of the operators that fell back elsewhere, bookkeeping excepted.")
    copies: int | None = column("Copies between devices in one call; empty where no call was profiled.")
    time_elsewhere: float | None = column("Share of a call's time in nodes elsewhere, 0 to 1; empty if not profiled.")
    max_abs_error: float | None = column("Largest absolute difference from the FP32 reference.")
    relative_error: float | None = column("RMS of the difference over RMS of the reference.")
    cosine: float | None = column("Lowest cosine with the reference in a batch.")
    effective_bits: float | None = column("-log2 of the relative error: how many bits of the answer are right.")
    import_ms: float | None = column("Milliseconds to import the engine.")
    load_ms: float | None = column("Milliseconds from the model's file to a session that can be called.")
    first_call_ms: float | None = column("Milliseconds of the first call; a provider may compile here.")
    cold_load_ms: float | None = column("The same as `load_ms`, with the provider's compile cache empty.")
    cold_first_call_ms: float | None = column("First call of that start.")
    cold_answer_ms: float | None = column("Import, load and first call of that start: the time to the first answer.")
    cached_load_ms: float | None = column("The same as `load_ms`, from what an earlier start had compiled.")
    cached_first_call_ms: float | None = column("First call of that start.")
    cached_answer_ms: float | None = column("Import, load and first call of that start: the time to the first answer.")
    peak_rss_bytes: int | None = column("Most main memory that the process held, in bytes.")
    model_rss_bytes: int | None = column("That peak above the empty worker's: what engine and model took.")
    device_memory_bytes: int | None = column("Most memory of the device that the process held; empty if unreadable.")
    energy_j: float | None = column("Joules of one call; empty where no meter could be read.")
    energy_source: str | None = column("What the energy was read from: it measures more than this process.")
    threads: int | None = column("Threads that the engine was given.")
    rounds: int = column("Rounds behind the numbers, each in a fresh process.")
    calls: int = column("Timed calls behind the numbers.")
    flags: str | None = column("What a reader must know before using the number; the report explains each.")
    artifact: str | None = column("Key of the exported or quantized model in the cache.")
    onnxruntime: str | None = column("Version of ONNX Runtime; empty where it took no part.")
    engine_version: str | None = column("Version of the engine's own library.")
    remedy: str | None = column("What would make the cell run.")


COLUMNS: dict[str, str] = {each.name: each.metadata["meaning"] for each in fields(Row)}
"""What every column means, in order."""


def of(run: Run, outcome: Outcome, emulator: EmulatorTimes | None = None) -> Row:
    """The row of one cell, and what it took in its emulator where it has one; missing is None."""
    cell, failure, parity, placement = outcome.cell, outcome.failure, outcome.parity, outcome.placement
    return Row(
        run=run.name,
        machine=run.machine.key,
        model=cell.model,
        family=cell.family,
        weights=words.weights_of(run, outcome),
        source=cell.source,
        precision=cell.precision,
        recipe=words.recipe(cell) or None,
        executed=outcome.executed,
        target=cell.target,
        engine=cell.engine,
        provider=cell.provider,
        device=outcome.device,
        emulated=cell.emulated or None,
        runtime=cell.runtime,
        workload=cell.workload,
        batch=cell.sizes.get("batch"),
        sequence=cell.sizes.get("sequence"),
        status=outcome.status,
        reason=outcome.reason or None,
        stage=failure.stage if failure else None,
        **_speed(outcome.speed),
        emulated_latency_ms=emulator.speed.latency_ms.value if emulator else None,
        nodes_on_target=outcome.nodes_on_target,
        nodes_elsewhere=outcome.nodes_elsewhere,
        fallback_ops=_list(outcome.fallback_ops),
        copies=placement.copies if placement else None,
        time_elsewhere=placement.time_elsewhere if placement else None,
        max_abs_error=parity.max_abs_error if parity else None,
        relative_error=parity.relative_error if parity else None,
        cosine=parity.cosine if parity else None,
        effective_bits=parity.effective_bits if parity else None,
        import_ms=outcome.import_ms,
        load_ms=outcome.load_ms,
        first_call_ms=outcome.first_call_ms,
        **_start("cold", outcome.cold),
        **_start("cached", outcome.cached),
        peak_rss_bytes=outcome.peak_rss_bytes,
        model_rss_bytes=outcome.model_rss_bytes,
        device_memory_bytes=outcome.device_memory_bytes,
        energy_j=outcome.energy_j,
        energy_source=outcome.energy_source,
        threads=outcome.threads,
        rounds=outcome.rounds,
        calls=outcome.calls,
        flags=_list(outcome.flags),
        artifact=outcome.artifact,
        onnxruntime=versions.onnxruntime(run, cell, outcome.versions),
        engine_version=next(iter(outcome.versions.values()), None),
        remedy=outcome.remedy or None,
    )


def values(row: Row) -> Iterator[str]:
    """The row as the texts of a CSV file: missing is empty, and no text reads as a formula or as a number."""
    for name in COLUMNS:
        value = getattr(row, name)
        if isinstance(value, str):
            yield text.csv_cell(value)
        elif isinstance(value, bool):
            yield str(value).lower()
        else:
            yield str(value) if value is not None and math.isfinite(value) else ""


def _speed(speed: Speed | None) -> dict[str, Any]:
    if speed is None:
        return {}
    unit, throughput = next(iter(speed.throughput.items()), (None, None))
    ratio = speed.ratio_to_control
    return {
        "latency_ms": speed.latency_ms.value,
        **_ends("latency_ms", speed.latency_ms),
        "p50_ms": speed.p50_ms,
        "p90_ms": speed.p90_ms,
        "p95_ms": speed.p95_ms,
        "p99_ms": speed.p99_ms,
        "throughput": throughput.value if throughput else None,
        **_ends("throughput", throughput),
        "throughput_unit": f"{unit}/s" if unit else None,
        "ratio_to_control": ratio.value if ratio else None,
        **_ends("ratio", ratio),
        "control": speed.control,
    }


def _ends(name: str, interval: Interval | None) -> dict[str, float | None]:
    return {f"{name}_low": interval.low if interval else None, f"{name}_high": interval.high if interval else None}


def _start(kind: str, start: Start | None) -> dict[str, Any]:
    found = starts.times(start)
    return {
        f"{kind}_load_ms": found.load_ms,
        f"{kind}_first_call_ms": found.first_call_ms,
        f"{kind}_answer_ms": found.answer_ms,
    }


def _list(items: tuple[str, ...]) -> str | None:
    return ";".join(items) or None
