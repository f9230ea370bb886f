"""Our measured decode against a bare genai loop, and plain ONNX Runtime's against genai's: ratios in one process.

Run by `nox -s overhead` in the `build` runtime, on a Llama of 88 million random weights in FP32. Generations
alternate, so that what the machine does meanwhile falls on both sides alike. The goals: our figure of genai is the bare
loop's within 1 %, and ort-generate is within 5 % of genai.
"""

from __future__ import annotations

import math
import random
from statistics import median
from time import perf_counter_ns

import numpy as np
import onnxruntime_genai as og
import psutil
import pytest

from bench.declare import catalogue
from bench.records import Build, Effort, Job, Recipe, Source, Tolerance, Visit
from bench.worker import engines
from bench.worker.artifacts import build
from bench.worker.generation import Recorder

PAIRS = 60
PROMPT, NEW = 128, 64
CONFIG = "bench/worker/configs/llama-88m.json"
EFFORT = Effort("quick", 3, 3, None, 5, 0.3, 1.5, 0.25, 60.0)
THREADS = psutil.cpu_count(logical=False) or 1


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    """The FP32 export."""
    folder = tmp_path_factory.mktemp("llama")
    source = Source("config", CONFIG, "random", "0" * 64)
    build(Build("genai", "text-generator", source, Recipe("genai-fp32"), str(folder)))
    return folder


@pytest.fixture(scope="module")
def feed():
    """A prompt of random tokens."""
    return {"input_ids": np.random.default_rng(0).integers(300, 10_000, (1, PROMPT))}


def a_session(engine, artifact, reference):
    """The engine's session on the CPU."""
    sizes = {"batch": 1, "prompt": PROMPT, "new": NEW, "context": 0}
    visit = Visit(
        engine=engine,
        family="text-generator",
        source=Source("config", CONFIG, "random", "0" * 64),
        recipe=Recipe("genai-fp32", number_format="fp32"),
        tolerance=Tolerance(max_kl=1e-7),
        jobs=(Job("b1-p128-n64", sizes, str(reference)),),
        threads=THREADS,
        effort=EFFORT,
        artifact=str(artifact),
        provider=catalogue.target("cpu").provider,
    )
    return engines.named(engine).Session(visit)


@pytest.fixture(scope="module")
def recorders(artifact, feed, tmp_path_factory):
    """A recorder of each engine."""
    reference = tmp_path_factory.mktemp("reference")
    np.savez(reference / "inputs.npz", **{f"0/{name}": array for name, array in feed.items()})
    return {name: Recorder(a_session(name, artifact, reference), feed, NEW) for name in ("genai", "ort-generate")}


def bare_decode_ns(model, prompt):
    """What anyone would write: the time from the first token to the last."""
    params = og.GeneratorParams(model)
    params.set_search_options(do_sample=False, max_length=PROMPT + NEW, min_length=PROMPT + NEW)
    generator = og.Generator(model, params)
    generator.append_tokens(prompt)
    generator.generate_next_token()
    generator.get_next_tokens()
    start = perf_counter_ns()
    count = 1
    while not generator.is_done():
        generator.generate_next_token()
        generator.get_next_tokens()
        count += 1
    assert count == NEW
    return perf_counter_ns() - start


def compared(one, other):
    """The median ratio over pairs whose order is shuffled, with the 95 % half width of the mean."""
    order = random.Random(0)
    sides = [one, other]
    for side in sides:
        side()
        side()
    ratios = []
    for _ in range(PAIRS):
        turn = [0, 1]
        order.shuffle(turn)
        seen = {index: sides[index]() for index in turn}
        ratios.append(math.log(seen[0] / seen[1]))
    return math.exp(median(ratios)), 1.96 * float(np.std(ratios, ddof=1)) / math.sqrt(PAIRS)


def decode_ns(recorder):
    """Time between the first token and the last of one generation, as a row of the report has it."""
    recorder()
    return sum(recorder.generations[-1].token_ns)


def test_our_decode_is_a_bare_loops(feed, recorders):
    # The same model on both sides: a second one has weights at other places and threads of its own.
    model, prompt = recorders["genai"].session.model, feed["input_ids"].astype(np.int32)
    ratio, spread = compared(lambda: decode_ns(recorders["genai"]), lambda: bare_decode_ns(model, prompt))
    print(f"\nours / bare genai loop, decode: {ratio:.4f} ± {spread:.4f} over {PAIRS} pairs (goal: within 1 %)")


def test_plain_onnx_runtime_decodes_as_fast_as_genai(recorders):
    one, other = (lambda: decode_ns(recorders["ort-generate"])), (lambda: decode_ns(recorders["genai"]))
    ratio, spread = compared(one, other)
    print(f"\nort-generate / genai, decode: {ratio:.4f} ± {spread:.4f} over {PAIRS} pairs (goal: within 5 %)")
