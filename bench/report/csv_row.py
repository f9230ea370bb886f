"""One outcome in, its flat row of results.csv out."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from bench.records import GenerationSpeed, Interval, Outcome, Parity, Run, Speed, Start, Traits
from bench.report import cold_start, escaping, sustained, text_flags, versions
from bench.report import text as words
from bench.report.csv_schema import COLUMNS, Row
from bench.report.emulation import EmulatorTimes


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
        prompt=cell.sizes.get("prompt"),
        new=cell.sizes.get("new"),
        context=cell.sizes.get("context"),
        audio=cell.sizes.get("audio"),
        status=outcome.status,
        reason=words.reason(outcome) or None,
        stage=failure.stage if failure else None,
        **_speed(outcome.speed),
        **sustained.columns(outcome.sustained),
        **_interval("emulated_latency_ms", emulator.speed.latency_ms if emulator else None),
        nodes_on_target=outcome.nodes_on_target,
        nodes_elsewhere=outcome.nodes_elsewhere,
        fallback_ops=_list(outcome.fallback_ops),
        copies=placement.copies if placement else None,
        time_elsewhere=placement.time_elsewhere if placement else None,
        **_answers(parity),
        word_error_rate=outcome.word_error_rate,
        **_interval("import_ms", outcome.import_ms),
        **_interval("load_ms", outcome.load_ms),
        **_interval("first_call_ms", outcome.first_call_ms),
        **_interval("first_answer_ms", outcome.first_answer_ms),
        **_interval("first_token_from_nothing_ms", outcome.first_token_from_nothing_ms),
        **_start("cold", outcome.cold),
        **_start("cached", outcome.cached),
        peak_rss_bytes=outcome.peak_rss_bytes,
        model_rss_bytes=outcome.model_rss_bytes,
        device_memory_bytes=outcome.device_memory_bytes,
        **_interval("energy_j", outcome.energy_j),
        **_interval("energy_per_token_j", outcome.energy_per_token_j),
        energy_source=outcome.energy_source,
        **_traits(outcome.traits),
        bits_counted=outcome.bits_per_weight,
        threads=outcome.threads,
        rounds=outcome.rounds,
        calls=outcome.calls,
        warnings=_list(text_flags.names(outcome.flags)),
        warning_details=_list(tuple(f"{flag}: {said}" for flag, said in text_flags.details(outcome.flags).items())),
        artifact=outcome.artifact,
        onnxruntime=versions.onnxruntime(run, cell, outcome.versions),
        engine_version=next(iter(outcome.versions.values()), None),
        remedy=words.remedy(outcome) or None,
    )


def values(row: Row) -> Iterator[str]:
    """The row as the texts of a CSV file: missing is empty, and no text reads as a formula or as a number."""
    for name in COLUMNS:
        value = getattr(row, name)
        if isinstance(value, str):
            yield escaping.csv_cell(value)
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
        **_interval("latency_ms", speed.latency_ms),
        **_interval("p50_ms", speed.latency_ms),
        **_interval("p90_ms", speed.p90_ms),
        **_interval("p95_ms", speed.p95_ms),
        **_interval("p99_ms", speed.p99_ms),
        **_interval("throughput", throughput),
        "throughput_unit": f"{unit}/s" if unit else None,
        "ratio_to_control": ratio.value if ratio else None,
        **_ends("ratio", ratio),
        "control": speed.control,
        **_generation(speed.generation),
    }


def _generation(made: GenerationSpeed | None) -> dict[str, Any]:
    if made is None:
        return {}
    intervals = {
        "ttft_ms": made.first_token_ms,
        "prefill_tok_s": made.prefill_tok_s,
        "decode_tok_s": made.decode_tok_s,
        "encode_ms": made.encode_ms,
        "rtf": made.real_time_factor,
        "prefill_ratio": made.prefill_ratio,
        "decode_ratio": made.decode_ratio,
        "itl_p50_ms": made.token_p50_ms,
        "itl_p90_ms": made.token_p90_ms,
        "itl_p99_ms": made.token_p99_ms,
    }
    return {column: value for name, one in intervals.items() for column, value in _interval(name, one).items()}


def _answers(parity: Parity | None) -> dict[str, Any]:
    names = ("max_abs_error", "relative_error", "cosine", "effective_bits")
    of_tokens = ("kl_divergence", "top1_agreement", "tokens_same", "tokens_compared")
    return {name: getattr(parity, name) for name in (*names, *of_tokens)} if parity else {}


def _traits(traits: Traits | None) -> dict[str, Any]:
    if traits is None:
        return {}
    return {
        "kv_type": traits.kv_type or None,
        "kv_bytes": traits.kv_bytes,
        "logits": traits.logits or None,
        "weight_format": traits.weights or None,
        "bits_declared": traits.declared_bits,
        "tokens_counted_by": traits.counted_by or None,
    }


def _interval(name: str, interval: Interval | None) -> dict[str, Any]:
    return {name: interval.value if interval else None, **_ends(name, interval)}


def _ends(name: str, interval: Interval | None) -> dict[str, float | None]:
    return {f"{name}_low": interval.low if interval else None, f"{name}_high": interval.high if interval else None}


def _start(kind: str, start: Start | None) -> dict[str, Any]:
    found = cold_start.times(start)
    return {
        f"{kind}_load_ms": found.load_ms,
        f"{kind}_first_call_ms": found.first_call_ms,
        f"{kind}_answer_ms": found.answer_ms,
    }


def _list(items: tuple[str, ...]) -> str | None:
    return ";".join(items) or None
