"""An engine that misbehaves on request; tests name its folder in BENCH_ENGINES, and no user's matrix reaches it."""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
from msgspec.structs import replace

from bench.records import (
    Device,
    EngineManifest,
    EngineRecipe,
    Executed,
    Note,
    Placement,
    Probe,
    Provider,
    TargetFacts,
    Visit,
)
from bench.worker.refusal import Refusal

MANIFEST = EngineManifest(
    format=None,
    recipes={"fp32": EngineRecipe(number_format="fp32")},
    profiles=True,
    modes=(
        "obeys",
        "segfaults",
        "aborts",
        "exits",
        "hangs",
        "eats-memory",
        "lies",
        "gives-nan",
        "falls-back",
        "falls-back-in-part",
        "segfaults-when-profiled",
        "is-missing",
        "raises",
        "refuses",
        "runs-out-of-memory",
        "segfaults-in-the-second-workload",
        "chatters",
        "compiles",
        "hangs-where-it-compiled",
        "complains-and-falls-back",
        "complains-and-segfaults",
        "hangs-when-probed",
        "dawdles",
        "segfaults-after-a-while",
        "hangs-after-a-while",
        "tires",
        "spins",
        "segfaults-optimized",
        "lies-optimized",
        "tells",
        "tells-and-raises",
        "tells-and-segfaults",
    ),
)
A_WHILE = 450
"""Calls of a session, of a millisecond each: more than its part of a hasty block, and fewer than a sustained run."""


class Session:
    """Answers with an image's mean colours, unless its mode says otherwise."""

    def __init__(self, visit: Visit) -> None:
        self.mode, self.threads = visit.mode, visit.threads
        self.notes: tuple[Note, ...] = ()
        self.placement = PLACEMENTS.get(visit.mode)
        self.device: Device | None = STRAW
        self.complaint = ""
        self.bound = self.calls = 0
        self.visit = visit
        if visit.mode == "chatters":
            print('{"reply": "done"}')
            os.write(1, b"a C library's word on file descriptor 1\n")
        if visit.mode in AT_OPENING:
            AT_OPENING[visit.mode]()
        if visit.mode.startswith("tells"):
            self.notes = (Note("text", {"text": tell(), "names": (tell(),)}),)
        if visit.mode == "tells-and-raises":
            raise RuntimeError(f"loading failed: {tell()}")
        if visit.mode == "tells-and-segfaults":
            segfault()
        if visit.mode == "segfaults-optimized" and is_fused(visit):
            segfault()
        if "compile" in visit.mode and visit.scratch:
            compile_into(Path(visit.scratch), visit.mode)

    def bind(self, feed):
        """A call that takes a millisecond, or never ends well."""
        self.bound += 1
        reference = self.reference_of(feed)

        def call():
            time.sleep(0.002 if self.mode == "dawdles" else 0.001)
            self.calls += 1
            if self.calls > A_WHILE and self.mode in AFTER_A_WHILE:
                AFTER_A_WHILE[self.mode]()
            if self.mode in AT_CALL:
                AT_CALL[self.mode]()
            if self.mode == "segfaults-in-the-second-workload" and self.visit.jobs[0].sizes["batch"] != len(reference):
                segfault()
            return reference

        return call

    def reference_of(self, feed):
        """The right answer, as the family's own reference gave it: found beside the inputs."""
        from bench.worker import feeds

        for job in self.visit.jobs:
            inputs = feeds.load(Path(job.reference) / "inputs.npz")
            outputs = feeds.load(Path(job.reference) / "outputs.npz")
            for given, answer in zip(inputs, outputs, strict=True):
                if all(np.array_equal(given[name], feed[name]) for name in given):
                    return _Answer(answer)
        raise AssertionError("an input that no reference has")

    def outputs(self, result):
        """The answer, or a lie."""
        lies = self.mode == "lies-optimized" and is_fused(self.visit)
        lie = {"lies": lambda x: -x, self.mode if lies else "": lambda x: -x, "gives-nan": lambda x: x * np.nan}.get(
            self.mode, lambda x: x
        )
        return {name: lie(value) for name, value in result.items()}


def is_fused(visit: Visit) -> bool:
    """Whether the level of optimization has the optimizer at fault, and no session entry switches it off."""
    if visit.provider is None:
        return False
    off = visit.provider.session.get("optimization.disable_specified_optimizers", "")
    return visit.provider.optimization in ("extended", "all") and "SimplifiedLayerNormFusion" not in off.split(";")


class _Answer(dict):
    def __len__(self) -> int:
        return len(next(iter(self.values())))


def spin() -> None:
    """Use a processor for as long as the process lives, as threads of OpenMP may do after a call."""
    if not any(thread.name == "spinner" for thread in threading.enumerate()):
        long = ("sha256", b"", b"", 2**31 - 1)  # it releases the interpreter's lock, as a native thread does
        threading.Thread(target=hashlib.pbkdf2_hmac, args=long, name="spinner", daemon=True).start()


def segfault() -> None:
    """Die as a provider's bug would make us."""
    print("about to read address 0", file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGSEGV)


def eat_memory() -> None:
    """Hold ever more memory, really touched."""
    held = []
    while True:
        held.append(np.ones(2**22))
        time.sleep(0.01)


def compile_into(scratch: Path, mode: str) -> None:
    """Take a while where nothing was compiled yet; a start from what is there is quick, or never ends."""
    scratch.mkdir(parents=True, exist_ok=True)
    kept = scratch / "compiled"
    if not kept.exists():
        time.sleep(0.3)
        kept.write_text("a kernel of straw", encoding="ascii")
    elif mode == "hangs-where-it-compiled":
        time.sleep(3600)


def tell() -> str:
    """Print what a test wrote into a file of the home folder, as libraries print paths; the same text."""
    text = (Path.home() / "tell.txt").read_text(encoding="utf-8")
    print(f"\x1b[31m{text}\x1b[0m\n::error::{text}", file=sys.stderr, flush=True)
    return text


def complain() -> None:
    """Say on stderr alone why there will be no provider, as native libraries do."""
    print("warning: something of no weight", file=sys.stderr)
    place = "[E:onnxruntime:, straw_provider.cc:2290 GetCapability]"
    print(
        f"2026-11-22 18:24:24.7 {place} no backend: /opt/straw/lib/libStraw.so is missing", file=sys.stderr, flush=True
    )


def complain_and_die() -> None:
    """The same, and then the end."""
    complain()
    segfault()


def _raise() -> None:
    raise RuntimeError("[FakeRuntime] the kernel said no\nsecond line")


def _miss() -> None:
    raise Refusal("unavailable", "the plugin of straw is not installed", "install straw", "not-installed")


def _refuse() -> None:
    raise Refusal("unsupported", "this engine does not take that model", "use another")


def _exhaust() -> None:
    raise MemoryError("std::bad_alloc")


STRAW = Device("gpu", 0, vendor="Straw Works", name="Straw One")
ELSEWHERE = Placement(nodes={"CPUExecutionProvider": {"MatMul": 3}}, source="made up by a test")
IN_PART = Placement(nodes={"FakeExecutionProvider": {"MatMul": 2}, **ELSEWHERE.nodes}, source="made up by a test")
PLACEMENTS = {
    "falls-back": ELSEWHERE,
    "complains-and-falls-back": ELSEWHERE,
    "falls-back-in-part": IN_PART,
    "segfaults-when-profiled": IN_PART,
}
AT_OPENING = {"refuses": _refuse, "aborts": os.abort, "is-missing": _miss, "complains-and-falls-back": complain}
AT_CALL = {
    "complains-and-segfaults": complain_and_die,
    "segfaults": segfault,
    "exits": lambda: os._exit(3),
    "hangs": lambda: time.sleep(3600),
    "eats-memory": eat_memory,
    "raises": _raise,
    "runs-out-of-memory": _exhaust,
    "spins": spin,
}
AFTER_A_WHILE = {
    "segfaults-after-a-while": segfault,
    "hangs-after-a-while": lambda: time.sleep(3600),
    "tires": lambda: time.sleep(0.004),
}


def profiled(visit: Visit, placement: Placement, feed: object) -> Placement:
    """Two copies a call, and a quarter of the time elsewhere."""
    if visit.mode == "segfaults-when-profiled":
        segfault()
    return replace(placement, copies=2, time_elsewhere=0.25)


def probe(order: Probe) -> TargetFacts:
    """It is there, unless it crashes or is missing."""
    if order.mode == "segfaults":
        segfault()
    if order.mode == "hangs-when-probed":
        time.sleep(3600)
    if order.mode == "raises":
        _raise()
    if order.mode == "is-missing":
        _miss()
    executes = (Executed("fp32", "fp32", 23.0), Executed("fp16", "refused", message="straw takes no FP16"))
    return TargetFacts(True, versions(), STRAW, (STRAW,), executes, checks_options=True)


def versions(provider: Provider | None = None) -> dict[str, str]:
    """Its version."""
    return {"fake": "1"}
