"""One row for each value that a report gives of a cell; every format, the JSON Schema and docs/metrics.md read it here.

To add a metric, measure it, keep it in `Outcome`, and add a row: results.csv, results.json, the details of a cell in
report.html and summary.md, the schema and the documentation follow.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from bench.report import numbers, targets, task, text, text_flags
from bench.report.generation import perplexity_increase
from bench.report.metric import (
    CellResult,
    Column,
    Metric,
    Scalar,
    against_control,
    count,
    fact,
    generation,
    labelled,
    last,
    parity,
    rate,
    size,
    speed,
    start,
    sustained,
    time,
    trait,
    within,
)
from bench.report.sustained import ONE_PROCESS

PREDICTION_LOW = (
    "Lower end of its 95 % prediction interval: a span over 1 is no more than one process differs from another."
)

# --- the rows ---------------------------------------------------------------------------------------------------------

METRICS: tuple[Metric, ...] = (
    # First, as the key of a row: no other column alone names a cell.
    fact("cell", "text", lambda r: r.cell.id, "Id of the cell: `model/precision/target/workload`."),
    fact("run", "text", lambda r: r.run.name, "Name of the run, also its folder's."),
    fact(
        "machine",
        "text",
        lambda r: r.run.machine.key,
        "Key of the machine: equal for runs on one machine, reboots included.",
    ),
    fact("model", "text", lambda r: r.cell.model, "Row of `[models]`."),
    fact(
        "family",
        "text",
        lambda r: r.cell.family,
        "Kind of model: it decides inputs, reference, tolerance and the units of throughput.",
    ),
    fact(
        "weights",
        "text",
        lambda r: text.weights_of(r.run, r.outcome),
        "`pretrained`, or `random`: the same architecture without trained values.",
    ),
    fact(
        "inputs",
        "text",
        lambda r: "; ".join(text.input_notes(r.outcome)) or None,
        "What is made up or guessed about the inputs: noise, default sizes, integers, the sample axis; else empty.",
    ),
    fact("source", "text", lambda r: r.cell.source, "Where the model came from, as the matrix says it."),
    fact("precision", "text", lambda r: r.cell.precision, "Row of `[precisions]`."),
    fact(
        "recipe",
        "text",
        lambda r: text.recipe(r.cell, r.outcome.file_format),
        "How the precision was made: the recipe and its options.",
    ),
    fact(
        "file_format",
        "text",
        lambda r: r.outcome.file_format,
        "Number format that the model's own ONNX file holds, read from it; empty for FP32, and for exports.",
    ),
    fact(
        "executed",
        "text",
        lambda r: r.outcome.executed,
        "Number format that a probe found the target to compute this precision in.",
    ),
    fact("target", "text", lambda r: r.cell.target, "Row of `[providers]` or `[baselines]`: what the cell ran on."),
    fact("engine", "text", lambda r: r.cell.engine, "Kind of library that ran it, `ort` for ONNX Runtime."),
    fact("provider", "text", lambda r: r.cell.provider, "ONNX Runtime execution provider that the nodes had to be on."),
    fact(
        "device", "text", lambda r: r.outcome.device, "Device of the target; empty where the run does not record one."
    ),
    fact(
        # None and not False: the column holds nothing, and can be left out, where nothing is emulated.
        "emulated",
        "boolean",
        lambda r: r.cell.emulated or None,
        "`true` where an emulator stands in for the device; else empty.",
    ),
    fact("runtime", "text", lambda r: r.cell.runtime, "Named Python environment that it ran in."),
    fact("workload", "text", lambda r: r.cell.workload, "Label of the shape of the work."),
    size("batch", "", "Inputs in one call."),
    size("sequence", "tokens", "Tokens in one input; empty for models without a sequence."),
    size("prompt", "tokens", "Tokens of one prompt, for models that generate."),
    size("new", "tokens", "Tokens to generate after each prompt."),
    size("context", "tokens", "Tokens that stand in the key-value cache before the prompt."),
    size("audio", "s", "Seconds of audio in one input, for speech."),
    fact(
        "status",
        "text",
        lambda r: r.outcome.status,
        f"Verdict: {', '.join(f'`{status}`' for status in text.STATUSES)}.",
    ),
    fact("reason", "text", lambda r: text.reason(r.outcome), "The verdict in words, in one line."),
    fact(
        "stage",
        "text",
        lambda r: r.outcome.failure.stage if r.outcome.failure else None,
        "What the worker was doing when it failed.",
    ),
    speed(
        "latency_ms",
        "ms",
        lambda s: s.latency_ms,
        "Milliseconds a call takes; empty unless a device gave right answers.",
    ),
    speed("p50_ms", "ms", lambda s: s.latency_ms, "Median of a round's calls: `latency_ms` as a percentile."),
    # With so many independent calls at least two lie beyond the percentile, with 99 % confidence (binomial).
    speed("p90_ms", "ms", lambda s: s.p90_ms, "90th percentile of a round's calls; empty below 64 independent calls."),
    speed("p95_ms", "ms", lambda s: s.p95_ms, "95th percentile; empty below 130 independent calls."),
    speed("p99_ms", "ms", lambda s: s.p99_ms, "99th percentile; empty below 662 independent calls."),
    speed("throughput", "items/s", lambda s: rate(s)[1], "Items a second, in `throughput_unit`."),
    replace(
        speed(
            # Made as a part of the speed, so that a cell without a speed has no unit either.
            "throughput_unit",
            "",
            lambda s: f"{unit}/s" if (unit := rate(s)[0]) else None,
            "First rate of the family, e.g. `sequences/s`; results.json has every rate.",
            "text",
        ),
        kind="fact",
    ),
    replace(
        speed(
            "ratio_to_control",
            "×",
            lambda s: s.ratio_to_control,
            "Speed over the control's in the same rounds: 2.0 is twice as fast.",
        ),
        # These columns are older than the rows, and a column keeps its name.
        ends="ratio",
        form=against_control,
        low="Lower end of its 95 % confidence interval; a span over 1 shows no difference.",
    ),
    replace(speed("control", "", lambda s: s.control, "The cell that the ratio is against.", "text"), kind="fact"),
    generation(
        "ttft_ms",
        "ms",
        lambda g: g.first_token_ms,
        "Milliseconds to the first token of a generation: prompt or audio in, one token out.",
    ),
    generation(
        "prefill_tok_s",
        "tok/s",
        lambda g: g.prefill_tok_s,
        "Prompt tokens a second, over the whole batch; empty for speech.",
    ),
    generation(
        "decode_tok_s", "tok/s", lambda g: g.decode_tok_s, "Tokens a second after the first, over the whole batch."
    ),
    generation("itl_p50_ms", "ms", lambda g: g.token_p50_ms, "Median of the time between tokens, in milliseconds."),
    generation(
        "itl_p90_ms", "ms", lambda g: g.token_p90_ms, "90th percentile of it; empty with too few independent steps."
    ),
    generation(
        "itl_p99_ms", "ms", lambda g: g.token_p99_ms, "99th percentile of it; empty with too few independent steps."
    ),
    generation("encode_ms", "ms", lambda g: g.encode_ms, "Milliseconds that the encoder took of `ttft_ms`."),
    generation(
        "rtf", "", lambda g: g.real_time_factor, "Real-time factor: seconds of computing for a second of audio."
    ),
    generation(
        "prefill_ratio", "×", lambda g: g.prefill_ratio, "Speed of prefill over the control's in the same rounds."
    ),
    generation(
        "decode_ratio", "×", lambda g: g.decode_ratio, "Speed of decoding over the control's in the same rounds."
    ),
    sustained(
        "sustained_minutes",
        "min",
        lambda s: sum(minute.seconds for minute in s.minutes) / 60,
        "Minutes that the cell ran continuously; empty if that was not asked for.",
    ),
    sustained(
        "sustained_ms",
        "ms",
        last(lambda minute: minute.latency_ms),
        "Median call of the last of these minutes, in milliseconds: of one process.",
    ),
    sustained(
        "sustained_decode_tok_s",
        "tok/s",
        last(lambda minute: minute.decode_tok_s),
        "Tokens a second after the first in the last minute: of one process.",
    ),
    replace(
        sustained(
            "sustained_ratio",
            "×",
            lambda s: s.ratio,
            "Speed of the last minute over the rounds', of decoding for models that generate: 0.9 is a tenth slower.",
            "interval",
        ),
        low=PREDICTION_LOW,
    ),
    replace(
        sustained(
            "sustained_ratio_to_first",
            "×",
            lambda s: s.ratio_to_first,
            "Speed of the last minute over the first's, in the same process.",
        ),
        form=lambda value, _: f"{numbers.significant(value)} ({ONE_PROCESS})",
    ),
    replace(
        sustained(
            "sustained_warnings",
            "",
            lambda s: text_flags.names(s.flags),
            "What a reader must know of these minutes: `throttled` and others.",
            "list",
        ),
        kind="fact",
    ),
    replace(
        sustained("sustained_ended", "", lambda s: text.say(s.ended), "Why it ended before its time.", "text"),
        kind="fact",
    ),
    Metric(
        # Not `speed`, which an emulated cell never has: this column is for those cells alone.
        "emulated_latency_ms",
        "ms",
        "interval",
        lambda r: within(r.emulated_speed, lambda speed: speed.latency_ms),
        "Milliseconds a call takes in an emulator: no speed of any device.",
    ),
    count("nodes_on_target", lambda o: o.nodes_on_target, "Graph nodes that were assigned to the provider."),
    count(
        "nodes_elsewhere",
        lambda o: o.nodes_elsewhere,
        "Graph nodes that were assigned to another provider, bookkeeping included.",
    ),
    fact(
        "fallback_ops",
        "list",
        lambda r: r.outcome.fallback_ops,
        "Types of the operators that fell back elsewhere, bookkeeping excepted.",
    ),
    count(
        "copies",
        lambda o: o.placement.copies if o.placement else None,
        "Copies between devices in one call; empty where no call was profiled.",
    ),
    Metric(
        "time_elsewhere",
        "share",
        "number",
        lambda r: within(r.outcome.placement, lambda placement: placement.time_elsewhere),
        "Share of a call's time in nodes elsewhere, 0 to 1, in one profile.",
    ),
    parity("max_abs_error", lambda p: p.max_abs_error, "Largest absolute difference from the FP32 reference."),
    parity("relative_error", lambda p: p.relative_error, "RMS of the difference over RMS of the reference."),
    replace(
        # With a form of its own, since three figures would show 0.9996 as 1.00.
        parity("cosine", lambda p: p.cosine, "Lowest cosine with the reference in a batch."),
        form=lambda value, _: numbers.cosine(value),
    ),
    parity(
        "effective_bits",
        lambda p: p.effective_bits,
        "-log2 of the relative error: how many bits of the answer are right.",
        "bits",
    ),
    parity(
        "kl_divergence",
        lambda p: p.kl_divergence,
        "Mean KL divergence of the next token's distribution, in nats.",
        "nats",
    ),
    parity(
        "perplexity_increase",
        perplexity_increase,
        "Share by which the perplexity of text that the reference itself writes is higher: exp(KL divergence) - 1.",
        "share",
    ),
    parity(
        "top1_agreement",
        lambda p: p.top1_agreement,
        "Share of positions with the reference's likeliest next token, or of samples with its best class, 0 to 1.",
        "share",
    ),
    parity(
        "top5_agreement",
        lambda p: p.top5_agreement,
        "Share of samples with the reference's best class among the best five, 0 to 1.",
        "share",
    ),
    parity(
        "agreement",
        lambda p: p.agreement,
        "Share of integers, booleans or texts that equal the reference's, 0 to 1.",
        "share",
    ),
    parity(
        "found",
        lambda p: p.found,
        "Share of inputs for which every output has values; empty where no output is ever empty.",
        "share",
    ),
    fact(
        "decides",
        "text",
        lambda r: within(r.outcome.parity, lambda p: p.decides),
        "The output whose figures these are: the worst against its limit.",
    ),
    replace(
        parity(
            "tokens_same",
            lambda p: p.tokens_same,
            "Generated tokens that are the reference's, before the first that is not.",
        ),
        type="integer",
    ),
    replace(
        parity(
            "tokens_compared", lambda p: p.tokens_compared, "Generated tokens that were compared with the reference's."
        ),
        type="integer",
    ),
    Metric(
        "word_error_rate",
        "share",
        "number",
        lambda r: r.outcome.word_error_rate,
        "Words wrong, missing or too many, over the words said; the worst round's.",
    ),
    # Not `time`: an emulated cell keeps it, since no device takes part in an import.
    Metric("import_ms", "ms", "interval", lambda r: r.outcome.import_ms, "Milliseconds to import the engine."),
    time("load_ms", "ms", lambda o: o.load_ms, "Milliseconds from the model's file to a session that can be called."),
    time(
        "first_call_ms", "ms", lambda o: o.first_call_ms, "Milliseconds of the first call; a provider may compile here."
    ),
    time("first_answer_ms", "ms", lambda o: o.first_answer_ms, "Import, load and first call of a fresh process."),
    time(
        "first_token_from_nothing_ms",
        "ms",
        lambda o: o.first_token_from_nothing_ms,
        "Import, load and first token of a fresh process.",
    ),
    start("cold", "load_ms", lambda s: s.load_ms, "Load of one start with the provider's compile cache empty."),
    start("cold", "first_call_ms", lambda s: s.first_call_ms, "First call of that start."),
    start(
        "cold",
        "answer_ms",
        lambda s: s.answer_ms,
        "Import, load and first call of that start: the time to the first answer.",
    ),
    start("cached", "load_ms", lambda s: s.load_ms, "Load of one start from what an earlier start had compiled."),
    start("cached", "first_call_ms", lambda s: s.first_call_ms, "First call of that start."),
    start(
        "cached",
        "answer_ms",
        lambda s: s.answer_ms,
        "Import, load and first call of that start: the time to the first answer.",
    ),
    count("peak_rss_bytes", lambda o: o.peak_rss_bytes, "Most main memory that the process held, in bytes.", "bytes"),
    count(
        "model_rss_bytes",
        lambda o: o.model_rss_bytes,
        "That peak above the empty worker's: what engine and model took.",
        "bytes",
    ),
    count(
        "device_memory_bytes",
        lambda o: o.device_memory_bytes,
        "Most memory of the device that the process held; empty if unreadable.",
        "bytes",
    ),
    time(
        "energy_j",
        "J",
        lambda o: o.energy_j,
        "Joules of one call; empty where no meter could be read, and on NVIDIA GPUs where a burst takes less than 1 s.",
    ),
    time("energy_per_token_j", "J", lambda o: o.energy_per_token_j, "Joules of one emitted token."),
    Metric(
        # A fact that is treated as a time: an emulated cell has no energy, and so nothing that it was read from.
        "energy_source",
        "",
        "text",
        lambda r: r.outcome.energy_source,
        "What the energy was read from: it measures more than this process.",
        kind="fact",
        is_time=True,
        field="energy_source",
    ),
    trait("kv_type", "text", lambda t: t.kv_type, "Number format of the key-value cache."),
    Metric(
        "kv_bytes",
        "bytes",
        "integer",
        lambda r: within(r.outcome.traits, lambda traits: traits.kv_bytes),
        "Bytes that the cache of this workload takes.",
    ),
    trait("logits", "text", lambda t: t.logits, "Which logits prefill computes: `last token` or `every token`."),
    trait("weight_format", "text", lambda t: t.weights, "How the weights are stored, in the format's own words."),
    trait(
        "bits_declared", "number", lambda t: t.declared_bits, "Bits a weight as the format promises, scales included."
    ),
    Metric(
        "bits_counted",
        "bits",
        "number",
        lambda r: r.outcome.bits_per_weight,
        "Bits of the files that hold the weights, over the number of weights.",
    ),
    trait(
        "tokens_counted_by",
        "text",
        lambda t: t.counted_by,
        "Who counted the tokens: `engine`, `server`, or `chunks` of a stream.",
    ),
    fact("threads", "integer", lambda r: r.outcome.threads, "Threads that the engine was given."),
    count("rounds", lambda o: o.rounds, "Rounds behind the numbers, each in a fresh process."),
    count("calls", lambda o: o.calls, "Timed calls behind the numbers."),
    fact(
        "warnings",
        "list",
        lambda r: text_flags.names(r.outcome.flags),
        "What a reader must know before using the number; the report explains each.",
    ),
    fact(
        "warning_details",
        "list",
        lambda r: tuple(f"{flag}: {words}" for flag, words in text_flags.details(r.outcome.flags).items()),
        "What raised each warning in figures, where more is known than its name says.",
    ),
    fact("artifact", "text", lambda r: r.outcome.artifact, "Key of the exported or quantized model in the cache."),
    fact(
        "onnxruntime",
        "text",
        lambda r: targets.onnxruntime_version(r.run, r.cell, r.outcome.versions),
        "Version of ONNX Runtime; empty where it took no part.",
    ),
    fact(
        "engine_version",
        "text",
        lambda r: next(iter(r.outcome.versions.values()), None),
        "Version of the engine's own library.",
    ),
    fact("remedy", "text", lambda r: text.remedy(r.outcome), "What would make the cell run."),
    fact(
        "optimization",
        "text",
        lambda r: r.outcome.optimization,
        "Level of graph optimization that was measured, where the one asked for fails or is wrong; else empty.",
    ),
    fact(
        "faulty_optimizers",
        "list",
        lambda r: r.outcome.faulty_optimizers,
        "Graph optimizers that make the model fail or answer wrong at the level asked for, where they were found.",
    ),
    fact(
        "task_metric",
        "text",
        lambda r: within(r.outcome.task, lambda t: t.metric),
        "Metric of the labelled samples: `accuracy`, `perplexity` and others; empty without labelled samples.",
    ),
    replace(
        labelled("task_value", lambda t: t.value, "Its value, a share of 1, or a perplexity."),
        form=lambda value, result: task.shown(value, result.outcome),
    ),
    replace(
        labelled("task_reference", lambda t: t.reference, "Its value of the FP32 reference on the same samples."),
        form=lambda value, result: task.shown(value, result.outcome),
    ),
    replace(
        labelled(
            "task_loss",
            lambda t: t.loss,
            "Loss against FP32 on the same samples, above 0 is worse: points, or percent of a perplexity.",
            "interval",
        ),
        low="Lower end of its 95 % confidence interval, from paired samples.",
        form=lambda _, result: task.shown_loss(result.outcome),
    ),
    labelled("task_samples", lambda t: t.samples, "Labelled samples, each run once.", "integer"),
    labelled(
        "task_samples_needed",
        lambda t: t.needed,
        "Samples that would show a loss of half a point, or 0.5 % of a perplexity, with 80 % power.",
        "integer",
    ),
    time(
        "cpu_ms",
        "ms",
        lambda o: o.cpu_ms,
        "CPU milliseconds of one call, all threads; empty where another process computes.",
    ),
    time("cores_used", "", lambda o: o.cores_used, "That CPU time over the wall time of the same calls."),
)
"""In the order of the columns of results.csv. A row may be added at any place; its meaning never changes."""


def columns() -> tuple[Column, ...]:
    """Every column of results.csv, in order."""
    return tuple(column for metric in METRICS for column in metric.columns())


def row(result: CellResult) -> dict[str, Scalar | None]:
    """The row of one cell in results.csv, by column; missing is None."""
    return {
        column.name: value
        for metric in METRICS
        for column, value in zip(metric.columns(), metric.scalars(result), strict=True)
    }


def measured(result: CellResult) -> dict[str, Scalar | None]:
    """The same without facts: the flat `metrics` of one cell in results.json."""
    values = row(result)
    return {column.name: values[column.name] for column in measured_columns()}


def measured_columns() -> tuple[Column, ...]:
    """The columns of metrics, without those of facts."""
    return tuple(column for metric in METRICS if metric.kind == "metric" for column in metric.columns())


def figures(result: CellResult) -> tuple[tuple[Metric, str], ...]:
    """Each metric that the cell has, with its value as text: what the details of a cell show."""
    shown = ((metric, metric.shown(result)) for metric in METRICS if metric.kind == "metric")
    return tuple((metric, value) for metric, value in shown if value is not None)


def present(results: Iterable[CellResult]) -> tuple[Metric, ...]:
    """The metrics that at least one of the cells has, in the order of the rows."""
    names = {metric.name for result in results for metric, _ in figures(result)}
    return tuple(metric for metric in METRICS if metric.name in names)


def time_fields() -> frozenset[str]:
    """The fields of `Outcome` that hold times."""
    return frozenset(metric.field for metric in METRICS if metric.is_time)
