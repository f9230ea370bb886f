"""60 examples of each kind of input, and 300 each night, always the same ones; `nox -s fuzz` tries 10,000 others."""

from __future__ import annotations

import os
import resource
import sys
import time
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .readers import READERS, outcome

ASKED = os.environ.get("FUZZ_EXAMPLES")
EXAMPLES = [int(ASKED)] if ASKED else [60, pytest.param(300, marks=pytest.mark.nightly)]
LONGEST_S = 5.0
MOST_KIB = 512 * 1024

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="not on this system: memory is told otherwise"),
    # Numbers that no measurement has make NumPy warn; what it computes then is in the report, as `nan` or `inf`.
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
]


@pytest.mark.timeout(4 * 3600)
@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize("examples", EXAMPLES)
def test_every_input_gives_a_value_or_a_sentence(kind, examples, capsys):
    seen: Counter[str] = Counter()
    slowest = [0.0]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=ASKED is None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.randoms(use_true_random=True))
    def fuzzed(random):
        began = time.process_time()
        seen[outcome(READERS[kind], random)] += 1
        took = time.process_time() - began
        slowest[0] = max(slowest[0], took)
        assert took < LONGEST_S

    fuzzed()
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    with capsys.disabled():
        figures = f"slowest {slowest[0]:.2f} s, +{grown / 1024:.0f} MiB"
        print(f"\n{kind}: {sum(seen.values())} examples, {figures}, {dict(seen)}")
    assert grown < MOST_KIB
    # Damage that never shows would mean that the sound example alone was read.
    assert len(seen) > 1 or kind in ("worker reply", "server")
