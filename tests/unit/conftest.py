"""For the unit tests: a small matrix, an engine that misbehaves on request, and no clock in hypothesis."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

from bench.declare import registry

settings.register_profile("bench", deadline=None, max_examples=60, derandomize=True)
settings.register_profile("nightly", deadline=None, max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "bench"))

ENGINES = Path(__file__).parent.parent / "engines"


@pytest.fixture
def strange_engines(monkeypatch):
    """The matrix may name the engines of `tests/engines`, and a worker can load them."""
    monkeypatch.setenv(registry.EXTRA_ENGINES, str(ENGINES))
    registry.engines.cache_clear()
    yield
    registry.engines.cache_clear()
