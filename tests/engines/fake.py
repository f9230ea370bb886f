"""An engine that misbehaves on request; tests name its folder in BENCH_ENGINES, and no user's matrix reaches it."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import numpy as np

from bench.records import Placement, Probe, Probed, Visit
from bench.worker.refusal import Refusal

NEEDS_ARTIFACT = False
MODES = (
    "obeys",
    "segfaults",
    "aborts",
    "exits",
    "hangs",
    "eats-memory",
    "lies",
    "gives-nan",
    "falls-back",
    "raises",
    "refuses",
    "runs-out-of-memory",
    "segfaults-in-the-second-workload",
    "chatters",
)
RECIPES = ("fp32",)


class Session:
    """Answers with an image's mean colours, unless its mode says otherwise."""

    def __init__(self, visit: Visit) -> None:
        self.mode, self.threads = visit.mode, visit.threads
        self.notes: tuple[str, ...] = ()
        self.placement = _placement(visit) if visit.mode == "falls-back" else None
        self.bound = 0
        self.visit = visit
        if visit.mode == "chatters":
            print('{"reply": "done"}')
            os.write(1, b"a C library's word on file descriptor 1\n")
        if visit.mode in AT_OPENING:
            AT_OPENING[visit.mode]()

    def bind(self, feed):
        """A call that takes a millisecond, or never ends well."""
        self.bound += 1
        reference = self.reference_of(feed)

        def call():
            time.sleep(0.001)
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
        lie = {"lies": lambda x: -x, "gives-nan": lambda x: x * np.nan}.get(self.mode, lambda x: x)
        return {name: lie(value) for name, value in result.items()}


class _Answer(dict):
    def __len__(self) -> int:
        return len(next(iter(self.values())))


def _placement(visit: Visit) -> Placement:
    return Placement(nodes={"CPUExecutionProvider": {"MatMul": 3}}, source="made up by a test")


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


def _raise() -> None:
    raise RuntimeError("[FakeRuntime] the kernel said no\nsecond line")


def _refuse() -> None:
    raise Refusal("unsupported", "this engine does not take that model", "use another")


def _exhaust() -> None:
    raise MemoryError("std::bad_alloc")


AT_OPENING = {"refuses": _refuse, "aborts": os.abort}
AT_CALL = {
    "segfaults": segfault,
    "exits": lambda: os._exit(3),
    "hangs": lambda: time.sleep(3600),
    "eats-memory": eat_memory,
    "raises": _raise,
    "runs-out-of-memory": _exhaust,
}


def probe(order: Probe) -> Probed:
    """It is always there, unless it crashes."""
    if order.mode == "segfaults":
        segfault()
    return Probed(True, versions(), ("a device of straw",))


def versions() -> dict[str, str]:
    """Its version."""
    return {"fake": "1"}
