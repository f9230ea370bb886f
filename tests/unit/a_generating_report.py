"""Hand-made outcomes of models that generate: small ones to vary, and a whole run that looks like life."""

from __future__ import annotations

from typing import Any

from a_report import CONTROL, a_cell, a_parity, a_run, a_runtime, a_speed, an_interval, an_outcome
from msgspec.structs import replace

from bench.records import Cell, GenerationSpeed, Interval, Outcome, Recipe, Run, Tolerance, Traits, note
from bench.report import model
from bench.report.model import Report

TEXT = {"batch": 1, "prompt": 128, "new": 64, "context": 0}
DEEP = {"batch": 4, "prompt": 128, "new": 64, "context": 1024}
CLIP = {"batch": 1, "audio": 30, "new": 64}
ENGINES = {
    "torch-eager": ("torch", None, None, "torch"),
    "cpu": ("genai", "CPUExecutionProvider", "genai", "default"),
    "webgpu": ("ort-generate", "WebGpuExecutionProvider", "genai", "default"),
    "llama-cpp": ("llama-cpp", None, "gguf", "llama-cpp"),
    "lm-studio": ("openai-http", None, None, "default"),
}
"""Engine, provider, format and runtime of each target."""
LLAMA = {
    ("torch-eager", "fp32"): (34, 853),
    ("cpu", "fp32"): (95, 1104),
    ("cpu", "int8"): (263, 1385),
    ("cpu", "int4"): (310, 1263),
    ("webgpu", "fp32"): (14, 120),
    ("webgpu", "int4"): (33, 131),
    ("llama-cpp", "fp32"): (84, 902),
    ("llama-cpp", "int8"): (282, 1264),
    ("llama-cpp", "int4"): (472, 1642),
    ("lm-studio", "int4"): (301, 980),
}
"""Decoded tokens and prompt tokens a second."""
WHISPER = {
    ("torch-eager", "fp32"): (55, 610),
    ("cpu", "fp32"): (130, 402),
    ("cpu", "int8"): (266, 333),
    ("webgpu", "fp32"): (21, 2400),
}
"""Decoded tokens a second, and milliseconds of the encoder."""
WEIGHTS = {
    ("torch", "fp32"): ("", 32.0, 32.0),
    ("genai", "fp32"): ("FP32", 32.0, 32.1),
    ("genai", "int8"): ("MatMulNBits, 8 bits, blocks of 32", 8.5, 9.12),
    ("genai", "int4"): ("MatMulNBits, 4 bits, blocks of 32", 4.5, 5.21),
    ("llama-cpp", "fp32"): ("F32", 32.0, 32.0),
    ("llama-cpp", "int8"): ("Q8_0", 8.5, 8.52),
    ("llama-cpp", "int4"): ("Q4_K_M", 4.85, 5.03),
}
TOLERANCES = {
    "fp32": Tolerance(max_kl=1e-4, min_top1=0.99, same_tokens=True),
    "int8": Tolerance(max_kl=0.02, min_top1=0.8),
    "int4": Tolerance(max_kl=0.5, min_top1=0.3),
}
SERVER = ("tokens-estimated", "tokens-not-compared")


def a_generator(**changes: Any) -> Cell:
    """A small Llama in int4 on onnxruntime-genai."""
    said = {"model": "llama-100m", "precision": "int4", "workload": "b1-p128-n64", "sizes": TEXT}
    said |= {"family": "text-generator", "source": "config:llama-100m", "engine": "genai", "format": "genai"}
    return replace(a_cell(**said, rates={"tokens": 64}, recipe=Recipe("k-quant-int4", number_format="int4")), **changes)


def a_recognizer(**changes: Any) -> Cell:
    """Whisper on half a minute of speech."""
    said = {"model": "whisper-tiny", "workload": "b1-a30-n64", "sizes": CLIP, "family": "speech-recognizer"}
    return replace(a_generator(**said), source="hub:openai/whisper-tiny", **changes)


def a_generation(decode: float = 310.0, prefill: float = 1263.0, share: float | None = 0.02, **changes: Any) -> Any:
    """The parts of a text generator's speed, by its tokens a second."""
    made = GenerationSpeed(
        first_token_ms=an_interval(128_000 / prefill, share),
        prefill_tok_s=an_interval(prefill, share),
        decode_tok_s=an_interval(decode, share),
        token_p50_ms=an_interval(1000 / decode, share),
        token_p90_ms=an_interval(1050 / decode, share),
        token_p99_ms=None,
        prefill_ratio=an_interval(prefill / 853, share),
        decode_ratio=an_interval(decode / 34, share),
    )
    return replace(made, **changes)


def heard(decode: float = 130.0, encode: float = 402.0, share: float | None = 0.02, **changes: Any) -> Any:
    """The parts of a speech recognizer's speed."""
    whole = encode + 12 + 63_000 / decode
    said = {"prefill_tok_s": None, "prefill_ratio": None, "encode_ms": an_interval(encode, share)}
    said |= {"first_token_ms": an_interval(encode + 12, share), "real_time_factor": an_interval(whole / 30_000, share)}
    return a_generation(decode, share=share, decode_ratio=an_interval(decode / 55, share), **{**said, **changes})


def some_traits(**changes: Any) -> Traits:
    """What onnxruntime-genai says of a model of 88 million weights in int4."""
    traits = Traits(
        kv_type="fp32",
        kv_bytes=7_077_888,
        logits="last token",
        weights="MatMulNBits, 4 bits, blocks of 32",
        declared_bits=4.5,
        weight_bytes=57_310_000,
        parameters=88_000_000,
    )
    return replace(traits, **changes)


def tokens_compared(precision: str = "int4", **changes: Any) -> Any:
    """The distance of a generator from the reference, as its precision leaves it."""
    kl, top1, same, cosine = {
        "fp32": (3.1e-10, 1.0, 64, 1.0),
        "int8": (4.1e-3, 0.906, 12, 0.9991),
        "int4": (0.38, 0.331, 0, 0.9417),
    }[precision]
    parity = a_parity(cosine, 1e-6 if precision == "fp32" else 0.04, tolerance=TOLERANCES[precision], samples=32)
    seen = {"kl_divergence": kl, "top1_agreement": top1, "tokens_same": same, "tokens_compared": 64}
    return replace(parity, **{**seen, **changes})


def a_generated(cell: Cell | None = None, made: GenerationSpeed | None = None, **changes: Any) -> Outcome:
    """An outcome of a generator that is fine; a status that has no speed takes it away."""
    cell = cell or a_generator()
    made = made or a_generation()
    latency = made.first_token_ms.value + (63 / made.decode_tok_s.value * 1000 if made.decode_tok_s else 0)
    said = {
        "speed": a_speed(latency, generation=made, control=f"{cell.model}/fp32/{CONTROL}/{cell.workload}"),
        "parity": tokens_compared(),
        "traits": some_traits(),
        "bits_per_weight": 5.21,
        "first_token_from_nothing_ms": an_interval(1430.0),
        "energy_per_token_j": an_interval(0.0614),
        "energy_j": an_interval(4.1),
        "energy_source": "RAPL package",
        "calls": 25,
        "versions": {"onnxruntime-genai": "0.18.0"},
    }
    if changes.get("status", "ok") not in {"ok", "partial"}:
        gone = ("speed", "first_token_from_nothing_ms", "energy_per_token_j", "energy_j", "energy_source")
        said |= dict.fromkeys(gone)
    return an_outcome(cell, **{**said, **changes})


def a_generating_report() -> Report:
    """One run of an encoder, a text generator and a speech recognizer, on an engine of each kind."""
    return model.build([a_generating_run()])


def a_generating_run() -> tuple[Run, list[Outcome]]:
    texts = [_llama(*place, sizes) for sizes in (TEXT, DEEP) for place in LLAMA]
    clips = [_whisper(*place) for place in WHISPER]
    outcomes = [an_outcome(weights="random"), *texts, *clips]
    weights = {"minilm": "random", "llama-100m": "random", "whisper-tiny": "pretrained"}
    genai = {"onnxruntime": "1.31.1", "onnxruntime-genai": "0.18.0"}
    runtimes = {
        "default": a_runtime("default", genai),
        "llama-cpp": a_runtime("llama-cpp", {"llama-cpp-python": "0.3.36"}),
    }
    run = a_run(tuple(outcome.cell for outcome in outcomes), weights=weights, runtimes=runtimes, name="generating")
    return run, outcomes


def two_generating_machines() -> Report:
    """The same run twice."""
    run, outcomes = a_generating_run()
    return model.build([(run, outcomes), (replace(run, name="again"), outcomes)])


def _cell(base: Cell, target: str, precision: str, sizes: dict[str, int]) -> Cell:
    engine, provider, form, runtime = ENGINES[target]
    label = "-".join(
        f"{letter}{sizes[size]}" for size, letter in zip(sizes, _letters(sizes), strict=True) if sizes[size]
    )
    recipe = {"fp32": "fp32", "int8": "int8", "int4": "k-quant-int4"}[precision]
    recipe = {"int8": "q8_0", "int4": "q4_k_m"}.get(precision, "f32") if engine == "llama-cpp" else recipe
    said: dict[str, Any] = {"engine": engine, "provider": provider, "format": form, "runtime": runtime}
    said["recipe"] = Recipe(recipe, number_format=precision)
    said |= {"target": target, "precision": precision, "sizes": sizes, "workload": label, "control": target == CONTROL}
    return replace(base, **said)


def _letters(sizes: dict[str, int]) -> list[str]:
    return [{"batch": "b", "prompt": "p", "new": "n", "context": "d", "audio": "a"}[size] for size in sizes]


def _llama(target: str, precision: str, sizes: dict[str, int]) -> Outcome:
    cell = _cell(a_generator(), target, precision, sizes)
    decode, prefill = (rate * (2.2 if sizes is DEEP else 1) for rate in LLAMA[target, precision])
    deep = 1 / 2.2 if sizes is DEEP else 1
    own = target == CONTROL
    control = Interval(1.0, 1.0, 1.0)
    made = a_generation(
        decode,
        prefill,
        prefill_ratio=control if own else an_interval(prefill / 853 * deep, 0.015),
        decode_ratio=control if own else an_interval(decode / 34 * deep, 0.02),
    )
    said = _said(cell, precision)
    if (target, precision) == ("webgpu", "int4"):
        high = note("figure-too-high", figure="kl_divergence", value=1.21, limit=0.5)
        low = note("figure-too-low", figure="top1_agreement", value=0.21, limit=0.3)
        reason = note("out-of-tolerance", high, low, reference="PyTorch 2.13.0, FP32", times=5, rounds=5)
        said["parity"] = tokens_compared(kl_divergence=1.21, top1_agreement=0.21, cosine=0.71)
        said |= {"status": "inaccurate", "reason": reason}
    return a_generated(cell, made, weights="random", **said)


def _whisper(target: str, precision: str) -> Outcome:
    cell = _cell(a_recognizer(), target, precision, CLIP)
    made = heard(*WHISPER[target, precision])
    if target == CONTROL:
        made = replace(made, decode_ratio=Interval(1.0, 1.0, 1.0))
    rate = 0.0476 if precision == "int8" else 0.0
    outcome = a_generated(cell, made, word_error_rate=rate, **_said(cell, precision))
    ratio = an_interval(heard(*WHISPER[CONTROL, "fp32"]).real_time_factor.value / made.real_time_factor.value, 0.01)
    return replace(outcome, speed=replace(outcome.speed, ratio_to_control=ratio))


def _said(cell: Cell, precision: str) -> dict[str, Any]:
    """What differs from engine to engine, beside the speed."""
    library = "genai" if cell.engine == "ort-generate" else cell.engine
    parity = tokens_compared(precision, cosine=1.0 if cell.engine == "torch" else tokens_compared(precision).cosine)
    if cell.engine == "openai-http":
        traits = Traits(weights="Q4_K_M", counted_by="chunks")
        none = dict.fromkeys(("kl_divergence", "tokens_same", "tokens_compared", "cosine", "relative_error"))
        none |= dict.fromkeys(("max_abs_error", "effective_bits"))
        answers = replace(parity, top1_agreement=0.875, tolerance=Tolerance(min_top1=0.3), samples=16, **none)
        notes = ("asks http://127.0.0.1:1234, which says that it is LM Studio",)
        said = {"traits": traits, "parity": answers, "flags": SERVER, "notes": notes, "bits_per_weight": None}
        return {**said, "versions": {"server": "LM Studio"}}
    weights, declared, counted = WEIGHTS[library, precision]
    kv_type = "fp16" if library == "llama-cpp" else "fp32"
    traits = some_traits(weights=weights, declared_bits=declared, kv_type=kv_type)
    if library == "torch":
        traits = replace(traits, logits="every token", weight_bytes=None)
    flags = ("reduced-precision",) if (library, precision) == ("llama-cpp", "fp32") else ()
    versions = {"torch": {"torch": "2.13.0"}, "llama-cpp": {"llama-cpp-python": "0.3.36"}}
    own = versions.get(library, {"onnxruntime-genai": "0.18.0"})
    return {"traits": traits, "bits_per_weight": counted, "parity": parity, "flags": flags, "versions": own}
