"""llama.cpp, its format and its server, tested by the interpreter of llama.cpp's own runtime."""

from __future__ import annotations

import sys
from pathlib import Path

# The small visits and models of the worker's own tests.
sys.path.insert(0, str(Path(__file__).parent.parent / "worker"))
