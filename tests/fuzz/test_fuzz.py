"""Seeded examples of each kind of input for each change, always the same ones; `nox -s fuzz` tries 10,000 others."""

from __future__ import annotations

import itertools
import os
import sys
import time
from collections import Counter
from pathlib import Path
from random import Random

import pytest

pytest.importorskip("resource", reason="not on this system: memory and time are told otherwise")

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from . import limits
from .kind import outcome
from .kinds import KINDS

ASKED = os.environ.get("FUZZ_EXAMPLES")
FOUND = Path(__file__).parent / "found"
"""Examples that once were a fault, by kind."""
KEPT = Path(os.environ.get("FUZZ_KEPT", "build/fuzz"))
"""Where an example that is a fault is written."""

pytestmark = [
    # Numbers that no measurement has make NumPy warn; what it computes then is in the report, as `nan` or `inf`.
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning"),
]


@pytest.mark.timeout(6 * 3600)
@pytest.mark.parametrize("name", KINDS)
def test_every_input_gives_a_value_or_a_sentence(name, capsys):
    kind, seen, took = KINDS[name], Counter(), limits.Seen()
    examples = int(ASKED) if ASKED else kind.in_ci

    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=ASKED is None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.integers(0, 2**64 - 1))
    def fuzzed(seed):
        read(name, kind.example(Random(seed)), seen, took)

    # Once before anything is measured: imports are neither slow nor large examples.
    for content in kind.sound():
        outcome(kind, content)
    began = time.perf_counter()
    with limits.address_space():
        fuzzed()
    with capsys.disabled():
        figures = f"slowest {took.slowest_s:.2f} s, at most +{took.most_bytes / 2**20:.0f} MiB"
        elapsed = time.perf_counter() - began
        print(f"\n{name}: {sum(seen.values())} examples in {elapsed:.1f} s, {figures}, {dict(seen.most_common())}")


def read(name, content, seen, took):
    """Read one example; a fault leaves its bytes in a file."""
    try:
        with limits.enforced(took):
            seen[outcome(KINDS[name], content)] += 1
    except BaseException as error:
        if not isinstance(error, KeyboardInterrupt):
            KEPT.mkdir(parents=True, exist_ok=True)
            path = KEPT / f"{name}.example"
            path.write_bytes(content)
            error.add_note(f"the example is in {path}")
        raise


@pytest.mark.parametrize("name", KINDS)
def test_sound_examples_are_read(name):
    """Else the changed ones would be refused for another reason than their change."""
    kind = KINDS[name]
    ends = Counter(outcome(kind, content) for content in kind.sound())
    # Some are refused on purpose: an answer that is an error, a sound of 24 bits, a record of what is not there.
    assert ends["value"] > ends.total() // 2, ends


@pytest.mark.parametrize("name", KINDS)
def test_changes_are_seen(name):
    """Else the sound examples alone would be read."""
    kind = KINDS[name]
    changed = {kind.example(Random(seed)) for seed in range(40)}
    assert len(changed - set(kind.sound())) > 20


@pytest.mark.parametrize("path", sorted(FOUND.glob("*/*")), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_was_found_stays_mended(path):
    read(path.parent.name, path.read_bytes(), Counter(), limits.Seen())


DEEP = b"[" * 100_000
MADE = {
    "worker-replies": b'{"reply":"stage","name":"load"}\n{"reply":"built","notes":[{"kind":"x","values":{"a":' + DEEP,
    "cache": b'\x03{"available":true,"notes":[{"kind":"x","values":{"a":' + DEEP,
    "results.jsonl": b'{"notes":[{"kind":"x","values":{"a":' + DEEP + b"\n",
    "run.json": b'{"schema":2,"machine":' + DEEP,
    "gate": b'{"schema":2,"note_facts":[{"kind":"x","values":{"a":' + DEEP,
    "matrix": b"x = " + DEEP,
    "safetensors": (2**17).to_bytes(8, "little") + b'{"w":' + DEEP + bytes(2**15),
    "model-config": b'{"model_type":' + DEEP,
}
"""Brackets without an end, where a reader may follow them to the end of Python's stack."""


@pytest.mark.parametrize("name", MADE)
def test_brackets_without_an_end_are_refused(name):
    read(name, MADE[name], seen := Counter(), limits.Seen())
    assert seen["value"] == 0 or name in ("worker-replies", "cache")


def test_the_limits_are_enforced():
    """An endless loop and a large allocation end in the error of their limit."""
    with pytest.raises(limits.TooSlowError), limits.enforced(limits.Seen()):
        sum(1 for _ in itertools.count())
    with pytest.raises(limits.TooMuchMemoryError), limits.enforced(limits.Seen()):
        assert bytearray(limits.MOST_BYTES + 2**20)
    if sys.platform == "linux":
        with limits.address_space(), pytest.raises(MemoryError):
            bytearray(4 * limits.HARD_BYTES)
