"""Copies the worker's code to the cache, where runtimes import it from, and digests its parts.

So none of the orchestrator's packages are on a worker's path, the user's own interpreter stays unchanged, and an edit
during a run does not change that run. The folder's name is a digest of the code's syntax trees.
"""

from __future__ import annotations

import ast
import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from msgspec.structs import replace

from bench.declare import registry
from bench.declare.entry_points import Plugin
from bench.files import writing
from bench.prepare import beside, code_digest, worker_environment
from bench.prepare.cache_check import CacheCheck, Thing
from bench.prepare.cache_use import touch_whole
from bench.records import PROTOCOL
from bench.shared import syntax

PACKAGE = Path(__file__).parent.parent
GROUND = ("records", "shared", "worker")
PLUGINS = "touchstone-plugins.json"
"""A file beside the copied package: by kind and name, the modules that other packages add."""
DIGESTS = "code-digests.json"
"""A file of the cache: digests of code that was read before, since reading it as syntax trees takes a second."""
DIGEST = re.compile(r"[0-9a-f]{16}")
"""A run's file may come from anywhere, and this text becomes the name of a folder: nothing else is accepted."""


def stage(cache: Path, check: CacheCheck | None = None) -> Path:
    """Copy the worker's code and return the folder for a worker's path; one folder for each state of the code.

    A copy that is damaged is replaced. Where the cache cannot be written, the copy is made beside it.
    """
    check = check or CacheCheck()
    files, plugins = dict(_worker_files()), _plugin_modules()
    as_written = code_digest.digest_of_bytes(plugins.encode(), files)

    def name(of: Mapping[str, Path]) -> str:
        total = hashlib.sha256(plugins.encode())
        for relative, path in of.items():
            total.update(relative.encode() + b"\0" + code_digest.meaning(path))
        return total.hexdigest()[:16]

    def unlike(folder: Path) -> list[str]:
        # Of a copy without a seal: its name says what is in it.
        try:
            is_same = name({relative: folder / relative for relative in files}) == folder.name
        except OSError as error:
            return [f"{error.filename} cannot be read: {error.strerror}"]
        return [] if is_same else ["its content is not what its name says"]

    digest = code_digest.remembered(cache / DIGESTS, f"stage {as_written}", lambda: name(files))
    folder, code = cache / "worker" / digest, replace(CODE, adopt=unlike)
    if _is_whole(folder, check, code):
        return folder
    if not beside.is_writable(cache):
        folder = beside.beside(cache) / "worker" / digest
        if _is_whole(folder, check, code):
            return folder
    with writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(dir=folder.parent, prefix="making-"))
        try:
            for relative, path in files.items():
                to = aside / relative
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, to)
            (aside / PLUGINS).write_text(plugins, encoding="utf-8")
            if folder in check.damaged:
                shutil.rmtree(folder, ignore_errors=True)
            aside.rename(folder)
            CODE.seal(folder)
        except OSError:
            if not folder.exists():  # else another run was faster; its copy is the same
                raise
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    check.healed(CODE, folder, "the worker's code")
    return folder


def damage(folder: Path) -> list[str]:
    """The problems of copied code that a copy without a seal shows: files that are not valid Python."""
    wrong = []
    for path in sorted(folder.rglob("*.py")):
        try:
            syntax.module(path.read_bytes())
        # ValueError: a damaged file may hold null bytes, which the parser refuses.
        except (OSError, SyntaxError, ValueError):
            wrong.append(f"{path.relative_to(folder).as_posix()} is no Python")
    return wrong


# All that is in the folder can be imported, so nothing may be added. It is small, so all of it is read in every run.
CODE = Thing("worker-code", damage, frozenset(), lambda _: True, is_beside=True)


def _is_whole(folder: Path, check: CacheCheck, code: Thing = CODE) -> bool:
    """Whether a copy is there and is as it was made. This counts as a use."""
    if not folder.is_dir():
        return False
    # Not `touch`, which adds a file: staged code stays byte for byte as it is.
    touch_whole(folder)
    return not check.problems(code, folder, thorough=True)


def recorded(cache: Path, name: str, check: CacheCheck | None = None) -> Path | None:
    """The folder of an earlier run's worker code; None where it is missing, damaged, or of another protocol version.

    Orders and replies are strict, so only a worker with this protocol version can be used.
    """
    if not DIGEST.fullmatch(name):
        return None
    check = check or CacheCheck()
    folder = next((place for place in places(cache, name) if _is_whole(place, check)), None)
    return folder if folder is not None and protocol_of(folder) == PROTOCOL else None


def places(cache: Path, name: str) -> tuple[Path, Path]:
    """Where code of a digest may be: in the cache, or beside one that cannot be written."""
    return cache / "worker" / name, beside.beside(cache) / "worker" / name


def protocol_of(code: Path) -> int | None:
    """The protocol version of copied code; None for code from before there were versions."""
    try:
        tree = syntax.module((code / "bench" / "records" / "protocol.py").read_bytes())
    except (OSError, SyntaxError, ValueError):
        return None
    # Read from the source: importing two versions of one package in one process is not possible.
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "PROTOCOL":
            version = ast.literal_eval(node.value)
            return version if isinstance(version, int) else None
    return None


def build_digest(family: str, form: str | None = None, package: Path | None = None, *, labelled: bool = False) -> str:
    """A digest of the code that builds a family's artifacts of a format, or its references where `form` is None.

    An edit that changes this digest makes new artifacts. `package` is the `bench` folder of copied code. `labelled`
    adds the code that makes labelled sets.
    """
    homes = _homes(package)
    bench = homes["bench"]
    modules = [("families", family), *([("formats", form)] if form else [])]
    files = [file for kind, name in modules for file in code_digest.module_files(_module(kind, name), homes)]
    start = bench / "worker" / ("labelled/orders.py" if labelled else "artifacts.py")
    code = code_digest.code_behind([start, *files], homes)
    return code_digest.digest([*code, *_data(family, homes)])[:16]


def staged_build_digest(
    cache: Path, code: Path, family: str, form: str | None = None, *, labelled: bool = False
) -> str:
    """`build_digest` of staged code, remembered by the name of its folder, which is a digest of what is in it."""

    def compute() -> str:
        return build_digest(family, form, code / "bench", labelled=labelled)

    if not DIGEST.fullmatch(code.name):
        return compute()
    key = f"build {code.name} {family} {form or ''} {'labelled' if labelled else ''}".strip()
    return code_digest.remembered(cache / DIGESTS, key, compute)


def _homes(package: Path | None) -> dict[str, Path]:
    """The folders of `bench` and of every package with plug-ins: as copied, or as installed."""
    if package is None:
        return {"bench": PACKAGE} | {plugin.top: plugin.root / plugin.top for plugin in registry.plugins()}
    return {"bench": package} | {plugin.top: package.parent / plugin.top for plugin in registry.plugins()}


def _module(kind: str, name: str) -> str:
    added = (plugin.module for plugin in registry.plugins() if (plugin.kind, plugin.name) == (kind, name))
    return next(added, f"bench.worker.{kind}.{name.replace('-', '_')}")


def _data(family: str, homes: Mapping[str, Path]) -> list[Path]:
    """The data files beside a family's code: its inputs may come from them."""
    module = _module("families", family)
    top = module.partition(".")[0]
    if top == "bench":
        return sorted((homes["bench"] / "worker" / "families").glob("*.txt"))
    return sorted(path for path in homes[top].rglob("*") if _is_kept(path) and path.suffix != ".py")


def _plugin_modules() -> str:
    """The content of `PLUGINS`, from which the worker knows the modules of other packages."""
    modules: dict[str, dict[str, str]] = {}
    for plugin in registry.plugins():
        modules.setdefault(plugin.kind, {})[plugin.name] = plugin.module
    return json.dumps(modules, sort_keys=True, indent=1)


def _worker_files() -> Iterable[tuple[str, Path]]:
    """Every file to copy, with its path in the copy."""
    # Only these rooms: the worker must not be able to import the orchestrator.
    yield "bench/__init__.py", PACKAGE / "__init__.py"
    for folder in GROUND:
        for path in sorted((PACKAGE / folder).rglob("*")):
            if _is_kept(path):
                yield f"bench/{path.relative_to(PACKAGE).as_posix()}", path
    for path in registry.extra_engine_files():
        yield f"bench/worker/engines/{path.name}", path
    for top, plugin in sorted({plugin.top: plugin for plugin in registry.plugins()}.items()):
        yield from ((path.relative_to(plugin.root).as_posix(), path) for path in _files_of(plugin, top))


def _files_of(plugin: Plugin, top: str) -> Iterable[Path]:
    """The files of a plug-in's top-level package, since its modules import one another; or its single file."""
    folder = plugin.root / top
    return [path for path in sorted(folder.rglob("*")) if _is_kept(path)] if folder.is_dir() else [plugin.file]


def _is_kept(path: Path) -> bool:
    return path.is_file() and "__pycache__" not in path.parts


def child_environment(code: Path, extra: Mapping[str, str] | None = None, named: Iterable[str] = ()) -> dict[str, str]:
    """The environment of a worker: what libraries need of the user's, no secrets, and libraries offline and quiet.

    `extra` holds a provider's variables; they cannot change the settings that isolate a worker. `named` are variables
    of the user that the matrix asks for by name.
    """
    return {**worker_environment.of_user(named), **(extra or {})} | {
        "PYTHONPATH": str(code),
        "PYTHONNOUSERSITE": "1",
        # Else the current folder comes first on the path, and a numpy.py in it would be imported as NumPy.
        "PYTHONSAFEPATH": "1",
        # The folder's name is the digest of what is in it, so nothing may be added.
        "PYTHONDONTWRITEBYTECODE": "1",
        # Else Windows reads and writes text in the code page of its region.
        "PYTHONUTF8": "1",
        # A crash in native code then leaves the Python stack in the log.
        "PYTHONFAULTHANDLER": "1",
        # Sources are fetched and digested before: from the hub, a worker could get other files.
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TOKENIZERS_PARALLELISM": "false",
        # onnxruntime 1.31 writes a device id and queues events otherwise (PROVIDERS 4).
        "ORT_DISABLE_TELEMETRY": "1",
    }
