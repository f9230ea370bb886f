"""The worker's code in, a folder that a runtime's interpreter can import it from out; and digests of its parts.

The code is copied aside by content, so that nothing of the orchestrator's packages is on a worker's path, an
interpreter of the user's is left as it is, and an edit amid a run changes nothing in that run.
"""

from __future__ import annotations

import ast
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from bench.declare import registry
from bench.files import writing
from bench.prepare.cache_use import touch_whole

PACKAGE = Path(__file__).parent.parent
GROUND = ("records", "worker")
DIGEST = re.compile(r"[0-9a-f]{16}")
"""A run's file may come from anywhere, and what it says becomes the name of a folder."""


def stage(cache: Path) -> Path:
    """The folder to put on a worker's path; made once for each state of the code."""
    files = dict(_worker_files())
    folder = cache / "worker" / digest(files.values())[:16]
    if folder.exists():
        touch_whole(folder)
        return folder
    with writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(dir=folder.parent, prefix="making-"))
        try:
            for relative, path in files.items():
                to = aside / "bench" / relative
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, to)
            aside.rename(folder)
        except OSError:
            if not folder.exists():  # else another run was first; its copy is the same
                raise
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    return folder


def recorded(cache: Path, name: str) -> Path | None:
    """The folder of the code that an earlier run measured with; None where it is gone or can not be spoken to.

    Orders and replies are strict, so a worker is spoken to only where its records are today's, letter by letter.
    """
    folder = cache / "worker" / name
    if not DIGEST.fullmatch(name) or not folder.is_dir():
        return None
    touch_whole(folder)
    return folder if _records(folder / "bench") == _records(PACKAGE) else None


def _records(package: Path) -> str:
    return digest(sorted((package / "records").glob("*.py")))


def build_digest(family: str, form: str | None = None, package: Path | None = None) -> str:
    """A digest of the code that makes a family's artifacts, in a format of its own: an edit there makes new ones."""
    package = package or PACKAGE
    worker, families = package / "worker", package / "worker" / "families"
    maker = [worker / "make.py", worker / "formats" / _file(form)] if form else [worker / "build.py"]
    texts = sorted(families.glob("*.txt"))
    return digest([*code_behind([*maker, families / _file(family)], package), *texts])[:16]


def code_behind(paths: Iterable[Path], package: Path | None = None) -> list[Path]:
    """The files and every file of the worker that they import, by whatever way; sorted by path."""
    found: set[Path] = set()
    waiting = list(paths)
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += _imported(path, package or PACKAGE)
    return sorted(found)


def _imported(path: Path, package: Path) -> Iterable[Path]:
    """The worker's files that a file imports, in its functions too: heavy libraries are imported late."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("bench.worker"):
            module = str(node.module)
            for name in (module, *(f"{module}.{alias.name}" for alias in node.names)):
                place = package.joinpath(*name.split(".")[1:])
                yield from (file for file in (place.with_suffix(".py"), place / "__init__.py") if file.is_file())


def _file(name: str) -> str:
    return f"{name.replace('-', '_')}.py"


def digest(paths: Iterable[Path]) -> str:
    """SHA-256 over the names and contents of files, 64 hex digits."""
    total = hashlib.sha256()
    for path in paths:
        total.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def _worker_files() -> Iterable[tuple[str, Path]]:
    yield "__init__.py", PACKAGE / "__init__.py"
    for folder in GROUND:
        for path in sorted((PACKAGE / folder).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                yield path.relative_to(PACKAGE).as_posix(), path
    for path in registry.extra_engine_files():
        yield f"worker/engines/{path.name}", path


def child_environment(code: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a worker: the user's, without its Python settings and with the libraries told to be quiet.

    `extra` is what a provider asks for; it can switch a library's settings, but not what keeps workers apart.
    """
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON") and key != "VIRTUAL_ENV"}
    return {**kept, **(extra or {})} | {
        "PYTHONPATH": str(code),
        "PYTHONNOUSERSITE": "1",
        # Else the folder that bench was started in comes first, and a numpy.py there is taken for NumPy.
        "PYTHONSAFEPATH": "1",
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
