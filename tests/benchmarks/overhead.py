"""What the harness adds to a bare `session.run` loop, and whether both see the same latency: ratios in one process.

Run by `nox -s overhead` in the `ort` runtime, with the loop that times the bursts of a block. Two questions, each
answered by bursts that alternate in one process:

1. What do the harness's clock reading and append cost in a call? Measured on a call that does nothing, where that cost
   is all there is, and set against a 5 ms call: the goal is at most 0.1 %.
2. Does the harness's latency of a model agree with the bare loop's? The goal is within 1 %.
"""

from __future__ import annotations

import math
import random
import sys
from statistics import median
from time import perf_counter_ns

import numpy as np
import onnxruntime as ort
import pytest

from bench.worker import timing, warm_session

CALL_NS = 5_000_000
BURSTS = 400
"""Short bursts that alternate quickly: what the machine does meanwhile falls on both sides alike."""
BURST_NS = 25_000_000
SIDE = 512
TWO_PRODUCTS = (
    "08093a570a110a01780a017812017922064d61744d756c0a110a01790a017812017a22064d61744d756c1201675a150a0178"
    "12100a0e0801120a0a0312016e0a0312016e62150a017a12100a0e0801120a0a0312016e0a0312016e42040a001011"
)
"""z = (x @ x) @ x as an ONNX model, since this runtime holds no package that could write one."""


def bare_burst(call, length_ns):
    """What anyone would write: read the clock before and after each call."""
    samples = []
    end = perf_counter_ns() + length_ns
    while perf_counter_ns() < end:
        start = perf_counter_ns()
        call()
        samples.append(perf_counter_ns() - start)
    return samples


@pytest.fixture(scope="module")
def call():
    """One `session.run` of a real model on the CPU provider."""
    session = ort.InferenceSession(bytes.fromhex(TWO_PRODUCTS), providers=["CPUExecutionProvider"])
    feed = {"x": np.random.default_rng(0).standard_normal((SIDE, SIDE)).astype(np.float32)}
    return lambda: session.run(None, feed)


def test_the_harness_costs_next_to_nothing(benchmark):
    empty = lambda: None  # noqa: E731
    # As a block does it, with a limit of calls, which is another comparison in each call; here it is never reached.
    loop = benchmark.pedantic(
        lambda: timing.burst(empty, 10_000_000, max_calls=sys.maxsize), rounds=20, warmup_rounds=3
    )
    cost_ns = median(loop)
    share = cost_ns / CALL_NS
    benchmark.extra_info["share_of_a_5_ms_call"] = share
    print(f"\nharness: {cost_ns:.0f} ns a call, {share:.4%} of a 5 ms call (goal: at most 0.1 %)")


def test_the_harness_and_a_bare_loop_see_the_same_latency(benchmark, call):
    for _ in range(20):
        call()
    ratios = []
    order = random.Random(0)
    for _ in range(BURSTS):
        pair = {
            "bench": lambda: timing.burst(call, BURST_NS, max_calls=warm_session.MAX_CALLS),
            "bare": lambda: bare_burst(call, BURST_NS),
        }
        names = list(pair)
        order.shuffle(names)
        seen = {name: median(pair[name]()) for name in names}
        ratios.append(math.log(seen["bench"] / seen["bare"]))
    benchmark.pedantic(call, rounds=20)
    middle = math.exp(median(ratios))
    spread = 1.96 * float(np.std(ratios, ddof=1)) / math.sqrt(len(ratios))
    benchmark.extra_info["ratio"] = middle
    print(f"\nbench / bare: {middle:.4f} ± {spread:.4f} over {BURSTS} pairs of bursts (goal: within 1 %)")
