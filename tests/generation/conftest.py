"""What generates text or speech, tested by the interpreter of the runtime that exports it."""

from __future__ import annotations

import sys
from pathlib import Path

# The small visits and models of the worker's own tests.
sys.path.insert(0, str(Path(__file__).parent.parent / "worker"))
