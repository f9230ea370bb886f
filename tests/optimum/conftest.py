"""What optimum exports and runs, tested by the interpreter of its runtime, which has transformers 4."""

from __future__ import annotations

import sys
from pathlib import Path

# The small visits and models of the worker's own tests.
sys.path.insert(0, str(Path(__file__).parent.parent / "worker"))
