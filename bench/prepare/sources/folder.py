"""Reads a model's folder in Hugging Face's layout: the files that belong to the model, and its weights."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import reading
from bench.errors import SourceError

PLAIN_SUFFIXES = {".json", ".txt", ".model", ".vocab", ".merges"}
PLAIN_NAMES = {"vocab", "merges"}
PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
INDEX = "model.safetensors.index.json"
MODULE = re.compile(r"\d+_\w+")
"""A module's folder of sentence-transformers, e.g. `2_Dense`."""
MAX_HEADER_BYTES = 100_000_000
"""The safetensors library refuses longer headers, so they are not read here either."""

CONVERT = (
    "convert it where you trust it: AutoModel.from_pretrained(DIR).save_pretrained(NEW, safe_serialization=True); "
    'or ask for weights = "random"'
)


@dataclass(frozen=True)
class ModelFolder:
    """The files of a model, by their names relative to the folder."""

    folder: Path
    plain: dict[str, Path]
    """Config, tokenizer and similar files."""
    weights: dict[str, Path]
    """The safetensors files that a loader reads, and their index; empty where the folder has none."""


def read_folder(folder: Path, *, want_weights: bool) -> ModelFolder:
    """Read a model's folder; `want_weights=False` ignores the weights, even damaged ones.

    Raises SourceError where the folder, its `config.json` or one of its weight files cannot be used.
    """
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "does not exist"
        raise SourceError(f"{folder} {what}", "name a folder that holds config.json and *.safetensors")
    read_config(folder / "config.json")
    plain = plain_files(folder)
    weights = _weights(folder) if want_weights else {}
    # Only where there is no safe file: many folders have both, and then the pickle is not read.
    if want_weights and not weights:
        _refuse_pickles(folder)
    for path in weights.values():
        if path.suffix == ".safetensors":
            _check_safetensors(path)
    return ModelFolder(folder, plain, weights)


def read_config(path: Path) -> dict[str, Any]:
    """A model's configuration. Raises SourceError where the file is missing or holds no JSON object."""
    if not path.is_file():
        near = sorted(p.parent.name for p in path.parent.glob("*/config.json"))
        hint = f"did you mean its folder {near[0]!r}?" if near else "save the model with save_pretrained(), or copy it"
        raise SourceError(f"no {path.name} in {path.parent}", hint)
    try:
        content = reading.content(path, reading.CONFIG_BYTES, SourceError)
        reading.check_values(path, content, SourceError)
        config = json.loads(content.decode("utf-8-sig"))
    # RecursionError: thousands of nested brackets.
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{path} is not JSON ({error})", _lfs_hint(path) or "download it again") from error
    if not isinstance(config, dict):
        raise SourceError(f"{path} holds no JSON object", 'a configuration reads like {"model_type": "bert", ...}')
    return config


def plain_files(folder: Path) -> dict[str, Path]:
    """Config, tokenizer and similar files of a folder, by relative name."""
    return {name: path for name, path in _files(folder).items() if _is_plain(path)}


def _files(folder: Path) -> dict[str, Path]:
    """Files of the folder and one level below, without hidden ones (`.git`, `.cache`)."""
    paths = [*folder.glob("*"), *folder.glob("*/*")]
    names = {path.relative_to(folder).as_posix(): path for path in paths if path.is_file()}
    return {name: path for name, path in names.items() if not any(part.startswith(".") for part in name.split("/"))}


def _is_plain(path: Path) -> bool:
    is_index = path.name.endswith(".safetensors.index.json")
    return (path.suffix in PLAIN_SUFFIXES or path.name in PLAIN_NAMES) and not is_index


def _weights(folder: Path) -> dict[str, Path]:
    """The files that `from_pretrained` reads, in its order: one file, else shards by index, else any weight files."""
    single = folder / "model.safetensors"
    if single.is_file():
        top = {single.name: single}
    elif (folder / INDEX).is_file():
        top = _shards(folder)
    else:
        top = {path.name: path for path in folder.glob("*.safetensors") if path.is_file()}
    return top | _module_weights(folder) if top else {}


def _module_weights(folder: Path) -> dict[str, Path]:
    """Weights of the modules that sentence-transformers puts behind the encoder."""
    tensors = {name: path for name, path in _files(folder).items() if path.suffix == ".safetensors"}
    return {name: path for name, path in tensors.items() if MODULE.fullmatch(path.parent.name)}


def _index(path: Path) -> Any:
    content = reading.content(path, reading.CONFIG_BYTES, SourceError)
    reading.check_values(path, content, SourceError)
    return json.loads(content.decode("utf-8-sig"))


def _shards(folder: Path) -> dict[str, Path]:
    """The index and every shard it names; a missing shard is an error, for half a model is none."""
    index = folder / INDEX
    try:
        names = sorted(set(_index(index)["weight_map"].values()))
    # The file may hold any JSON: a list, a number, or a table without these keys.
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise SourceError(f"{index} is no index of shards", _lfs_hint(index) or "download it again") from error
    if not all(isinstance(name, str) and re.fullmatch(r"[\w][\w.\-]*\.safetensors", name) for name in names):
        raise SourceError(f"{index} names a shard outside its folder", "a shard is a plain name ending in .safetensors")
    missing = [name for name in names if not (reading.exists(folder / name) and (folder / name).is_file())]
    if missing:
        raise SourceError(
            f"{len(missing)} of {len(names)} shards are missing in {folder}, e.g. {missing[0][:200]}",
            'download them again, or ask for weights = "random"',
        )
    return {INDEX: index} | {name: folder / name for name in names}


def _refuse_pickles(folder: Path) -> None:
    """Raise SourceError for pickled weights: using random ones instead would hide them."""
    pickles = sorted(path.name for pattern in PICKLED for path in folder.glob(pattern))
    if pickles:
        raise SourceError(
            f"{folder} has its weights in {pickles[0]} only, and loading a pickle can run any code", CONVERT
        )


def _check_safetensors(path: Path) -> None:
    """Raise SourceError for an incomplete file: here it takes a millisecond, in a worker minutes."""
    size = path.stat().st_size
    with path.open("rb") as file:
        # A safetensors file begins with the length of its JSON header.
        length = int.from_bytes(file.read(8), "little")
        header = file.read(length) if length <= min(size, MAX_HEADER_BYTES) else b""
    reading.check_values(path, header, SourceError)
    try:
        entries = json.loads(header)
        ends = [entry["data_offsets"][1] for name, entry in entries.items() if name != "__metadata__"]
        need = 8 + length + max(ends, default=0)
    # Any bytes may stand here: no JSON, or JSON of another shape.
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        hint = _lfs_hint(path) or "download it again"
        raise SourceError(f"{path} is not a safetensors file, or only the start of one", hint) from error
    if size < need:
        raise SourceError(f"{path} is truncated: {size} of {need} bytes", "download it again")


def _lfs_hint(path: Path) -> str:
    """The remedy for a Git LFS pointer in place of the file; else empty."""
    with path.open("rb") as file:
        pointer = file.read(40).startswith(b"version https://git-lfs")
    return "it is a Git LFS pointer: run `git lfs pull` in its folder" if pointer else ""
