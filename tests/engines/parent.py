"""An engine that starts a process of its own and comes to a bad end; that process is named in `scratch/child`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from bench.records import EngineManifest, EngineRecipe, Visit

MANIFEST = EngineManifest(
    format=None,
    modes=("hangs-with-a-child", "segfaults-with-a-child", "forks-and-segfaults", "ends-with-a-child"),
    recipes={"fp32": EngineRecipe(number_format="fp32")},
)


class Session:
    """Never opened: its child is started, and then comes what the mode says."""

    def __init__(self, visit: Visit) -> None:
        note = Path(visit.scratch) / "child"
        if visit.mode == "forks-and-segfaults":
            child = os.fork()
            if child == 0:
                time.sleep(600)  # it holds a copy of every stream that its parent had
                os._exit(0)
            note.write_text(str(child), encoding="ascii")
        else:
            sleeping = [sys.executable, "-c", "import time; time.sleep(600)"]
            note.write_text(str(subprocess.Popen(sleeping).pid), encoding="ascii")
        if visit.mode == "hangs-with-a-child":
            time.sleep(600)
        if visit.mode == "ends-with-a-child":
            raise RuntimeError("and leaves it behind")
        os.kill(os.getpid(), signal.SIGSEGV)
