"""Finds the external data files of an ONNX model without the onnx package."""

from __future__ import annotations

import mmap
import re
from pathlib import Path
from typing import BinaryIO

from bench.errors import SourceError
from bench.reading import exists
from bench.shared import protobuf

GRAPH_FIELD = 7
"""`ModelProto.graph`; onnx.proto numbers the fields of a model 1 to 25."""
EXTERNAL_LOCATION = re.compile(rb"\x0a\x08location\x12([\x01-\xff][\x01-\x7f]?)", re.DOTALL)
"""The bytes of `StringStringEntryProto(key="location", value=...)`, up to the value's length, a varint."""


def onnx_files(path: Path) -> dict[str, Path]:
    """The model's file and its external data by relative name.

    Raises SourceError where the file is missing, empty or no ONNX model, or lacks a data file. Damage inside the graph
    is found by the worker, which parses it.
    """
    if not path.is_file():
        near = sorted(p.name for p in path.parent.glob("*.onnx"))[:3] if path.parent.is_dir() else []
        hint = f"in that folder: {', '.join(near)}" if near else "a relative path starts at the matrix's folder"
        raise SourceError(f"{path} {'is a folder' if path.is_dir() else 'does not exist'}", hint)
    with path.open("rb") as file:
        _check_outline(path, file)
        # A search of the bytes and no parser: a model may have gigabytes of weights.
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            names = {name for match in EXTERNAL_LOCATION.finditer(content) if (name := _location(content, match))}
    return {path.name: path} | {name: _data_file(path, name) for name in sorted(names)}


def _check_outline(path: Path, file: BinaryIO) -> None:
    """Read only the top level of the protobuf, which shows whether it is a model. Raises SourceError."""
    size, fields = path.stat().st_size, set[int]()
    if size == 0:
        raise SourceError(f"{path} is empty", "export or download it again")
    try:
        for field, wire, (_, end) in protobuf.fields(protobuf.Bounded(file), (0, size)):
            if wire not in {protobuf.VARINT, protobuf.LENGTH} or not 1 <= field <= 25:
                raise SourceError(f"{path} is no ONNX model", _pointer_hint(path))
            if wire == protobuf.LENGTH and end > size:
                raise SourceError(f"{path} is truncated: {size} of at least {end} bytes", "download it again")
            fields.add(field)
    except ValueError as error:
        raise SourceError(f"{path} is truncated: {error}", "download it again") from None
    if GRAPH_FIELD not in fields:
        raise SourceError(f"{path} holds no graph", "export or download it again")
    file.seek(0)


def _location(content: mmap.mmap, match: re.Match[bytes]) -> str | None:
    """The name of an external data file; None where the bytes are no text: then they are weights."""
    prefix = match.group(1)
    # A length below 128 is one byte of a varint, one below 16,384 is two; what claims to be longer is no name.
    if prefix[0] < 0x80:
        start, length = match.start(1) + 1, prefix[0]
    elif len(prefix) == 2:
        start, length = match.end(1), (prefix[0] & 0x7F) | prefix[1] << 7
    else:
        return None
    try:
        name = content[start : start + length].decode()
    except UnicodeDecodeError:
        return None
    return name if name.isprintable() else None


def _data_file(model: Path, name: str) -> Path:
    """A data file beside the model. Raises SourceError where it is missing or lies outside the model's folder."""
    parts = re.split(r"[/\\]", name)
    # A model from elsewhere must not read any file of this machine.
    if ".." in parts or not parts[0] or ":" in parts[0]:
        raise SourceError(f"{model} keeps its weights outside its folder, in {name!r}", "export it into one folder")
    path = model.parent.joinpath(*parts)
    missing = SourceError(f"{model} keeps its weights in {name[:200]!r}, which is not there", "put it beside the model")
    if not exists(path):
        raise missing
    # The hub's cache has a link for each file, and all of them lead into one folder.
    if not any(path.resolve().is_relative_to(home) for home in (model.parent.resolve(), model.resolve().parent)):
        message = f"{model} keeps its weights in {name!r}, which is a link to a file outside its folder"
        raise SourceError(message, "copy the weights into the folder")
    if not path.is_file():
        raise missing
    return path


def _pointer_hint(path: Path) -> str:
    with path.open("rb") as file:
        pointer = file.read(40).startswith(b"version https://git-lfs")
    return "it is a Git LFS pointer: run `git lfs pull` in its folder" if pointer else "name what an exporter wrote"
