"""Reads tensors of a safetensors folder, in one file or sharded, one at a time as FP32.

The `safetensors` package needs PyTorch to read BF16, so this module reads the files itself: 8 bytes with the length of
a JSON header, the header, then the bytes of every tensor.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import numpy.typing as npt

from bench.worker.refusal import Refusal

Tensor = npt.NDArray[np.float32]

SINGLE_FILE, INDEX = "model.safetensors", "model.safetensors.index.json"
# NumPy has no BF16, so its bits are read as integers.
TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
KEYS = ("dtype", "shape", "data_offsets")
"""What the header says of each tensor."""
LARGEST = 2**48
"""No file has so many bytes."""
REMEDY = "give a folder with the model's weights as safetensors, in FP32, FP16 or BF16"


class Weights:
    """The tensors of a Hugging Face folder by name; `read` loads a single one.

    Raises Refusal for other types, and for files that are cut short or damaged.
    """

    def __init__(self, folder: Path) -> None:
        self._entries: dict[str, tuple[Path, int, dict[str, Any]]] = {}
        for path in _files(folder):
            start, header = _header(path)
            self._entries |= {name: (path, start, entry) for name, entry in header.items() if name != "__metadata__"}
        for name, (_, _, entry) in self._entries.items():
            if entry["dtype"] not in TYPES:
                message = f"the weights hold {name} as {entry['dtype']}, which is not widened to FP32 here"
                raise Refusal("unsupported", message, REMEDY)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every tensor, in the order of the files."""
        return {name: tuple(entry["shape"]) for name, (_, _, entry) in self._entries.items()}

    def read(self, name: str) -> Tensor:
        """The tensor as FP32; only this tensor is read from the file."""
        path, start, entry = self._entries[name]
        first, last = entry["data_offsets"]
        # A memory map needs at least one byte.
        raw = np.memmap(path, np.uint8, "r", start + first, (last - first,)) if last > first else np.empty(0, np.uint8)
        values = raw.view(TYPES[entry["dtype"]]).reshape(entry["shape"])
        if entry["dtype"] == "BF16":
            # BF16 is the upper half of an FP32.
            return (values.astype(np.uint32) << 16).view(np.float32)
        return values.astype(np.float32)


def _files(folder: Path) -> list[Path]:
    """The single file, or the shards in the index; the folder may have further copies of the weights."""
    if (folder / SINGLE_FILE).is_file():
        return [folder / SINGLE_FILE]
    if (folder / INDEX).is_file():
        paths = [folder / name for name in _shard_names(folder / INDEX)]
        # The index is not trusted: its names must not leave the folder.
        missing = [path.name for path in paths if path.parent != folder or not path.is_file()]
        if not missing:
            return paths
        raise Refusal("unsupported", f"the index of the weights names {missing[0]}, which is not there", REMEDY)
    raise Refusal("unsupported", f"there is neither {SINGLE_FILE} nor {INDEX} in the model's folder", REMEDY)


def _shard_names(index: Path) -> list[str]:
    content = _json(index.read_bytes())
    names = content.get("weight_map") if content is not None else None
    if not isinstance(names, dict) or not all(isinstance(name, str) and name for name in names.values()):
        raise Refusal("unsupported", f"{index.name} is no index of weights", REMEDY)
    return sorted(set(names.values()))


def _header(path: Path) -> tuple[int, dict[str, Any]]:
    """The offset of the tensors' bytes, and the header. Raises Refusal if the file is truncated or damaged."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        # Before the header is read: the length in a damaged file could exceed the memory.
        if size < 8 or length > size - 8:
            raise Refusal("unsupported", f"{path.name} is cut short, or is no safetensors file", REMEDY)
        header = _json(file.read(length))
    if header is None:
        raise Refusal("unsupported", f"{path.name} is no safetensors file: its header is damaged", REMEDY)
    for name, entry in header.items():
        if name != "__metadata__":
            _check_entry(path, name, entry, size - 8 - length)
    return 8 + length, header


def _json(content: bytes) -> dict[str, Any] | None:
    """The object that JSON holds; None for anything else."""
    try:
        value = json.loads(content)
    # RecursionError: thousands of nested brackets.
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _check_entry(path: Path, name: str, entry: Any, held_bytes: int) -> None:
    """Raise Refusal for a tensor that is not described whole, or whose bytes the file does not hold."""
    kind, shape, offsets = (entry.get(key) for key in KEYS) if isinstance(entry, dict) else (None, None, None)
    if not (isinstance(kind, str) and _are_sizes(shape) and _are_sizes(offsets) and len(offsets) == 2):
        raise Refusal("unsupported", f"{path.name} describes the tensor {name!r} wrong", REMEDY)
    if offsets[1] > held_bytes:
        raise Refusal("unsupported", f"{path.name} is cut short: its last tensors are not in it", REMEDY)
    # Types of other sizes are refused by their names.
    if kind in TYPES and offsets[1] - offsets[0] != math.prod(shape) * np.dtype(TYPES[kind]).itemsize:
        message = f"{path.name} holds {offsets[1] - offsets[0]} bytes for the tensor {name!r} of shape {shape}"
        raise Refusal("unsupported", message, REMEDY)


def _are_sizes(value: Any) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(type(size) is int and 0 <= size < LARGEST for size in value)
