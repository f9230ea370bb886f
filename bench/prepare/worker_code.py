"""The worker's code in, a folder that a runtime's interpreter can import it from out; and digests of its parts.

The code is copied aside by content, so that nothing of the orchestrator's packages is on a worker's path, an interpreter
of the user's is left as it is, and an edit amid a run changes nothing in that run.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from bench.declare import vocabulary

PACKAGE = Path(__file__).parent.parent
GROUND = ("__init__.py", "records.py")
BUILD_FILES = ("build.py", "recipes.py", "hugging_face.py", "feeds.py")


def stage(cache: Path) -> Path:
    """The folder to put on a worker's path; made once for each state of the code."""
    files = {relative: path for relative, path in _worker_files()}
    folder = cache / "worker" / digest(files.values())[:16]
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(dir=folder.parent, prefix="making-"))
    for relative, path in files.items():
        to = aside / "bench" / relative
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, to)
    try:
        aside.rename(folder)
    except OSError:  # another run was first; its copy is the same
        shutil.rmtree(aside, ignore_errors=True)
        if not folder.exists():
            raise
    return folder


def build_digest(family: str) -> str:
    """A digest of the code that makes a family's artifacts: an edit there makes new ones."""
    stem = family.replace("-", "_")
    own = sorted((PACKAGE / "worker" / "families").glob(f"{stem}*"))
    shared = [PACKAGE / "worker" / name for name in BUILD_FILES]
    data = sorted((PACKAGE / "worker" / "families").glob("*.txt"))
    return digest([*shared, *own, *data])[:16]


def digest(paths: Iterable[Path]) -> str:
    """SHA-256 over the names and contents of files, 64 hex digits."""
    total = hashlib.sha256()
    for path in paths:
        total.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def _worker_files() -> Iterable[tuple[str, Path]]:
    for name in GROUND:
        yield name, PACKAGE / name
    for path in sorted((PACKAGE / "worker").rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path.relative_to(PACKAGE).as_posix(), path
    for path in vocabulary.extra_engine_files():
        yield f"worker/engines/{path.name}", path


def child_environment(code: Path) -> dict[str, str]:
    """The environment of a worker: the user's, without its Python settings and with the libraries told to be quiet."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON") and key != "VIRTUAL_ENV"}
    return kept | {
        "PYTHONPATH": str(code),
        "PYTHONNOUSERSITE": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUTF8": "1",
        "PYTHONFAULTHANDLER": "1",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TOKENIZERS_PARALLELISM": "false",
        # onnxruntime 1.31 writes a device id and queues events otherwise (PROVIDERS 4).
        "ORT_DISABLE_TELEMETRY": "1",
    }
