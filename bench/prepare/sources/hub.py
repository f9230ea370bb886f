"""Downloads a model's safe files at one commit from the hub into the cache."""

from __future__ import annotations

import contextlib
import fnmatch
import hashlib
import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from bench.errors import SourceError
from bench.prepare.cache_check import CacheCheck, Thing
from bench.prepare.cache_use import touch
from bench.prepare.sources.folder import CONVERT

PLAIN = [
    "*.json",
    "*.txt",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
    "vocab",
    "merges",
    "*.vocab",
    "*.merges",
]
"""Config and tokenizer. Never code, and never a pickle: loading one can run any code."""
WEIGHTS = ["*.safetensors"]
UNWANTED = ["original/*", "consolidated*", "*.fp16.*", "onnx/*", "openvino/*"]
"""Second copies of the same weights, in other layouts."""
COMMIT = re.compile(r"[0-9a-f]{40}")
PICKLED = re.compile(r"pytorch_model.*\.bin|.*\.(pt|pth|ckpt)")
ASIDE = ".damaged"
OFFLINE_WORDS = {"1", "ON", "YES", "TRUE"}

FETCH_OR_COPY = "connect once to fetch it, or copy the model here and write path:DIR"


class _Unreachable(Exception):  # noqa: N818 - it never leaves this file
    """The hub did not answer, and the cache does not hold all requested files."""


def hub_folder(
    name: str,
    *,
    weights: str,
    cache: Path,
    offline: bool,
    say: Callable[[str], None],
    check: CacheCheck | None = None,
) -> Path:
    """Download `ID[@revision]` into `cache`, or find it there, and return the folder of the commit.

    `weights` is `pretrained`, `random` (config and tokenizer only) or `auto` (weights where available).
    HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE are used. What `check` finds damaged is fetched again. Raises SourceError
    where the model does not exist or is gated, or where neither the hub nor the cache has it.
    """
    repo = name.partition("@")[0]
    check = check or CacheCheck()
    home = cache / f"models--{repo.replace('/', '--')}"
    blobs = home / "blobs"
    # Before they are looked at: from now on they are not removed.
    touch(home)
    if not blobs.is_dir() or not check.problems(BLOBS, blobs):
        folder = _folder(name, weights=weights, cache=cache, offline=offline, say=say)
        _seal(blobs, check)
        return folder
    what = f"the model {repo}"
    changed = {blobs / name for name in check.names.get(blobs, ())} | {p for p in blobs.iterdir() if not _is_known(p)}
    aside = {path: path.with_name(f"{path.name}{ASIDE}") for path in changed if path.exists()}
    for path, other in aside.items():
        path.rename(other)
    try:
        folder = _folder(name, weights=weights, cache=cache, offline=offline, say=say)
        _refuse_lost(name, folder, aside, weights, offline=offline)
    except BaseException as error:
        # They stay: else nobody could tell afterwards that they were damaged and not missing.
        for path, other in aside.items():
            other.replace(path)
        if isinstance(error, SourceError) and (known := check.of_damage(blobs, what, error)):
            raise known from None
        raise
    for other in aside.values():
        other.unlink()
    check.healed(BLOBS, blobs, what)
    _seal(blobs, check)
    return folder


def _refuse_lost(name: str, folder: Path, aside: Iterable[Path], weights: str, *, offline: bool) -> None:
    """Raise SourceError where a file of a commit leads to one that was put aside and is not there again.

    Random weights stand in for weights that were never fetched, not for those that were lost.
    """
    gone = {path.resolve() for path in aside if not path.exists()}
    needed = (path for path in sorted(folder.rglob("*")) if weights != "random" or path.suffix != ".safetensors")
    if lost := next((path.name for path in needed if path.resolve() in gone), ""):
        raise _no_answer(name, f"{lost} was not fetched again", offline=offline)


def _seal(blobs: Path, check: CacheCheck) -> None:
    """Seal the files that were just fetched: at the next use it would be too late to know how they were."""
    if blobs.is_dir():
        check.problems(BLOBS, blobs, again=True)


def _folder(name: str, *, weights: str, cache: Path, offline: bool, say: Callable[[str], None]) -> Path:
    """The folder of a commit whose files in the cache are whole, or are missing."""
    repo, _, revision = name.partition("@")
    offline = offline or os.environ.get("HF_HUB_OFFLINE", "").upper() in OFFLINE_WORDS
    patterns = PLAIN if weights == "random" else PLAIN + WEIGHTS
    if folder := _fetched_whole(cache, repo, revision, weights):
        touch(folder.parents[1])
        say(f"{repo} at commit {folder.name[:12]}, of the cache")
        return folder
    say(f"looking for {name} {'in the cache' if offline else 'on the hub'}")
    try:
        folder = _snapshot(repo, revision, patterns, cache, offline=offline)
    except _Unreachable as error:
        if weights != "auto":
            raise _no_answer(name, str(error), offline=offline) from error
        folder = _cached_config(name, cache, error, offline=offline)
    # The pickles are not fetched, so that a model has them is known only by asking the hub.
    if weights != "random" and not offline and not any(folder.glob("*.safetensors")):
        _refuse_pickles(repo, folder.name)
    if revision == folder.name and not offline and _is_whole(repo, folder, patterns):
        _mark(folder, weights).touch()
    # The folder of the model, above `snapshots/COMMIT`: this is what `bench cache` lists and removes.
    touch(folder.parents[1])
    say(f"{repo} at commit {folder.name[:12]}")
    return folder


def _fetched_whole(cache: Path, repo: str, revision: str, weights: str) -> Path | None:
    """The folder of a commit of which an earlier run has fetched all files: it cannot change, so nobody is asked."""
    if not COMMIT.fullmatch(revision):
        return None
    folder = cache / f"models--{repo.replace('/', '--')}" / "snapshots" / revision
    known = any(_mark(folder, kind).exists() for kind in dict.fromkeys(("auto", weights)))
    # A link to nothing is of a file that was removed.
    return folder if known and folder.is_dir() and all(path.exists() for path in folder.rglob("*")) else None


def _mark(folder: Path, weights: str) -> Path:
    """The file that says that a commit was fetched whole, with its weights or without them."""
    return folder.parents[1] / f"whole-{folder.name}-{'plain' if weights == 'random' else 'weights'}"


def hub_config(name: str, cache: Path) -> Path:
    """The `config.json` of `ID[@revision]`, fetched alone or of an earlier download. Raises SourceError without it."""
    repo, _, revision = name.partition("@")
    offline = os.environ.get("HF_HUB_OFFLINE", "").upper() in OFFLINE_WORDS
    try:
        folder = _snapshot(repo, revision, ["config.json"], cache, offline=offline)
    except _Unreachable as error:
        folder = _cached_config(name, cache, error, offline=offline)
    if not (folder / "config.json").is_file():
        raise SourceError(f"{repo} has no config.json", "name a model in the format of transformers")
    return folder / "config.json"


def _cached_config(name: str, cache: Path, reason: Exception, *, offline: bool) -> Path:
    """The fallback of `auto`: the config in the cache, where it was fetched before. Raises SourceError."""
    repo, _, revision = name.partition("@")
    try:
        folder = _snapshot(repo, revision, PLAIN, cache, offline=True)
    except _Unreachable:
        folder = None
    if folder is None or not (folder / "config.json").is_file():
        raise _no_answer(name, str(reason), offline=offline)
    return folder


def _snapshot(repo: str, revision: str, patterns: list[str], cache: Path, *, offline: bool) -> Path:
    """One call of the hub's own client. Raises SourceError, or `_Unreachable` where the hub does not answer."""
    # Imported late: it takes longer than the whole `bench plan` may.
    from huggingface_hub import errors, snapshot_download

    # The client's own HTTP library changed twice (requests, httpx, httpx2); its errors all have this base.
    http_error: type[Exception] = getattr(errors, "HTTPError", OSError)
    try:
        with _quiet():
            folder = snapshot_download(
                repo,
                revision=revision or None,
                cache_dir=cache,
                allow_patterns=patterns,
                ignore_patterns=UNWANTED,
                local_files_only=offline,
                endpoint=_endpoint(),
            )
        return Path(folder)
    except errors.GatedRepoError as error:
        raise SourceError(
            f"{repo} is gated on the hub, and this machine has no access",
            "accept its terms on its page and set HF_TOKEN, or write path:DIR",
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise SourceError(
            f"the hub has no model {repo!r} that this machine may see",
            "check the spelling, OWNER/NAME; a private one needs HF_TOKEN",
        ) from error
    except errors.RevisionNotFoundError as error:
        raise SourceError(f"{repo} has no revision {revision!r}", "name a branch, a tag or a commit hash") from error
    except errors.HFValidationError as error:
        raise SourceError(f"{repo!r} is no name of a model on the hub", "write hub:OWNER/NAME[@revision]") from error
    except (OSError, http_error) as error:
        if _is_of_the_disk(error):
            raise
        raise _Unreachable(_reason(error)) from error


def _is_of_the_disk(error: Exception) -> bool:
    """Whether the disk failed. The client's own errors have no number; a socket's are connection errors or timeouts."""
    numbered = isinstance(error, OSError) and error.errno is not None
    return numbered and not isinstance(error, ConnectionError | TimeoutError)


def _reason(error: BaseException) -> str:
    """The first line of the deepest cause: the client wraps `connection refused` in two of its own errors."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _no_answer(name: str, reason: str, *, offline: bool) -> SourceError:
    if offline:
        return SourceError(f"{name} is not complete in the cache, and this run is offline", FETCH_OR_COPY)
    return SourceError(f"the hub did not answer for {name} ({reason}), and the cache does not hold it", FETCH_OR_COPY)


def _refuse_pickles(repo: str, commit: str) -> None:
    """Raise SourceError for pickled weights: using random ones instead would hide them."""
    pickles = sorted(name for name in _names(repo, commit) if PICKLED.fullmatch(name))
    if pickles:
        raise SourceError(
            f"{repo} has its weights in {pickles[0]} only, and loading a pickle can run any code", CONVERT
        )


def _is_whole(repo: str, folder: Path, patterns: list[str]) -> bool:
    """Whether the folder of a commit holds all files: where the hub does not answer, the client returns what is there.

    False where the hub does not answer now.
    """

    def is_any(globs: list[str], name: str) -> bool:
        return any(fnmatch.fnmatchcase(name, glob) for glob in globs)

    wanted = [name for name in _names(repo, folder.name) if is_any(patterns, name) and not is_any(UNWANTED, name)]
    return bool(wanted) and all((folder / name).is_file() for name in wanted)


def _names(repo: str, commit: str) -> list[str]:
    """The names of all files of a commit; empty where the hub does not answer."""
    from huggingface_hub import HfApi, errors

    http_error: type[Exception] = getattr(errors, "HTTPError", OSError)
    with contextlib.suppress(OSError, http_error), _quiet():
        # Not list_repo_files, which tries for 23 s where the hub does not answer.
        files = HfApi(endpoint=_endpoint()).model_info(repo, revision=commit, timeout=10).siblings or []
        return [file.rfilename for file in files]
    return []


def damage(repo: Path) -> list[str]:
    """The problems of a fetched model: files that are missing, or whose content does not match their names.

    The hub's client names each file by its hash: SHA-256 for large files, Git's SHA-1 for the others.
    """
    wrong = [f"{path.name} has changed" for path in sorted(repo.glob("blobs/*")) if not _is_sound(path)]
    links = (path for path in sorted(repo.glob("snapshots/*/**/*")) if not path.is_dir())
    return wrong + [f"{path.name} is missing" for path in links if not path.exists()]


def _changed_blobs(blobs: Path) -> list[str]:
    return [f"{path.name} has changed" for path in sorted(blobs.iterdir()) if not _is_known(path)]


def _is_known(blob: Path) -> bool:
    """Whether a file may be as it was fetched: mirrors of the hub give small files other names than Git's hash."""
    return len(blob.name) != 64 or _is_sound(blob)


def _is_sound(blob: Path) -> bool:
    if not re.fullmatch("[0-9a-f]{40}|[0-9a-f]{64}", blob.name):
        return True  # an incomplete download, to which nothing links
    digest = hashlib.sha256() if len(blob.name) == 64 else hashlib.sha1(usedforsecurity=False)
    if len(blob.name) == 40:
        # Git's hash is over a header with the size, then the content.
        digest.update(f"blob {blob.stat().st_size}\0".encode())
    with blob.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest() == blob.name


BLOBS = Thing("hub-model", _changed_blobs, frozenset(), is_sound=_is_known, is_beside=True)


def _endpoint() -> str | None:
    """The hub's address. Read at each call, since the client reads it only when it is imported."""
    return os.environ.get("HF_ENDPOINT", "").rstrip("/") or None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Switch off the client's progress bars and warnings, which would mix with our own progress."""
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    logger = logging.getLogger("huggingface_hub")
    level, were_disabled = logger.level, are_progress_bars_disabled()
    logger.setLevel(logging.ERROR)
    disable_progress_bars()
    try:
        yield
    finally:
        logger.setLevel(level)
        if not were_disabled:
            enable_progress_bars()
