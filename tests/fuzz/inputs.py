"""Data of others: arrays, JSON lines, sounds, texts and labels."""

from __future__ import annotations

import io
import json
import wave
import zipfile
from functools import cache
from pathlib import Path
from random import Random

import numpy as np

from bench.worker.families import _input_files
from bench.worker.labelled import label_files

from .changes import changed_bytes, changed_json, changed_words, text_of
from .kind import Kind

SUFFIXES = (".npz", ".npy", ".jsonl", ".txt", ".wav", ".csv", ".tsv")
"""An example begins with a byte that tells which of these it is."""


def _example(suffix: str, content: bytes) -> bytes:
    return bytes([SUFFIXES.index(suffix)]) + content


def _named(folder: Path, content: bytes) -> Path:
    path = folder / f"x{SUFFIXES[content[0] % len(SUFFIXES) if content else 0]}"
    path.write_bytes(content[1:])
    return path


def _npy(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, array, allow_pickle=False)
    return out.getvalue()


def _npz(**arrays: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.savez_compressed(out, allow_pickle=False, **arrays)
    return out.getvalue()


def _wav(width: int) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(width)
        file.setframerate(16000)
        file.writeframes(bytes(range(240)))
    return out.getvalue()


PIXELS = np.zeros((3, 3, 4, 4), np.float32)


@cache
def sound_data() -> list[bytes]:
    lines = b"\n".join(
        text_of(each) for each in [{"input_ids": [1, 2], "text": "a"}, {"input_ids": [3, 4], "text": "b"}]
    )
    return [
        _example(".npz", _npz(x=PIXELS, y=np.arange(3))),
        _example(".npz", _npz(**{"0/x": PIXELS, "1/x": PIXELS})),
        _example(".npy", _npy(PIXELS)),
        _example(".npy", _npy(np.array(["a", "b"]))),
        _example(".jsonl", lines),
        _example(".txt", b"a sentence\nand another\n"),
        *(_example(".wav", _wav(width)) for width in (1, 2, 3, 4)),
    ]


@cache
def sound_labels() -> list[bytes]:
    return [
        _example(".csv", b"name,label\na.png,1\nb.png,2\nd/c.png,3\n"),
        _example(".csv", b"label\n1\n0.5\n-2\n"),
        _example(".tsv", b"a.png\tcat\nb.png\tdog\nc.png\t01\n"),
        _example(".txt", b"cat\ndog\ncat\n"),
        _example(".npy", _npy(np.array([1, 2, 3]))),
        _example(".npy", _npy(np.array([[0.5], [1.0], [2.0]]))),
        _example(".npy", _npy(np.array(["a", "b", "c"]))),
        _example(".jsonl", b'{"label": 1}\n{"label": 2.5}\n{"label": "x"}\n'),
    ]


def changed_data(content: bytes, random: Random) -> bytes:
    """The content of the file, changed as what it is, else as bytes; its kind stays."""
    kind, rest = content[:1], content[1:]
    suffix = SUFFIXES[kind[0] % len(SUFFIXES)] if kind else ".npz"
    if random.random() < 0.35:
        return kind + changed_bytes(rest, random)
    if suffix == ".jsonl":
        lines = rest.split(b"\n")
        at = random.randrange(len(lines))
        try:
            lines[at] = text_of(changed_json(json.loads(lines[at]), random))
        except (ValueError, RecursionError):
            lines[at] = changed_bytes(lines[at], random)
        return kind + b"\n".join(lines)
    if suffix == ".npz":
        return kind + _changed_archive(rest, random)
    if suffix == ".npy":
        return kind + _changed_header(rest, random)
    return kind + (changed_bytes(rest, random) if suffix == ".wav" else changed_words(rest, random))


def _changed_header(content: bytes, random: Random) -> bytes:
    """An array whose header, a dictionary of Python's, is changed; its length fits mostly."""
    start = 10
    length = int.from_bytes(content[8:start], "little")
    header = changed_words(content[start : start + length], random)
    if random.random() < 0.3:
        shape = random.choice((b"(2**40,)", b"(9999999999,)", b"(0,)", b"(-1,)", b"()", b"(1,)*9", b"(4,4,4,4,4,4,4)"))
        header = header.replace(b"(3, 3, 4, 4)", shape).replace(b"(3,)", shape)
    size = len(header) if random.random() < 0.8 else random.randrange(2**16)
    return content[:8] + (size % 2**16).to_bytes(2, "little") + header + content[start + length :]


def _changed_archive(content: bytes, random: Random) -> bytes:
    """An archive whose members are changed or have other names."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
    # The archive itself may be changed already.
    except Exception:  # noqa: BLE001
        return changed_bytes(content, random)
    if not members:
        return changed_bytes(content, random)
    name = random.choice(list(members))
    inner = members.pop(name)
    other = random.choice(
        (name, name, name, "../x.npy", "/x.npy", "0/x.npy", "5/y.npy", "x/", "", "a" * 300, "x.npy.npy")
    )
    members[other] = _changed_header(inner, random) if random.random() < 0.6 else changed_bytes(inner, random)
    if random.random() < 0.05:
        # 32 MiB of zeros, which are packed into 32 KiB.
        members["bomb.npy"] = _npy(np.zeros(2**22))
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for each, data in members.items():
            archive.writestr(each or "x", data)
    return out.getvalue()


def read_data(folder: Path, content: bytes) -> None:
    """A file of inputs, as each of its readers takes it."""
    path = _named(folder, content)
    data = _input_files.read(path)
    for sound in data.sounds:
        _input_files.sound(sound)
    if data.records or data.texts:
        _input_files.texts(path)
    if data.arrays or data.batches or data.single is not None:
        _input_files.rows(path, "x", 4, checked=True, channels=3)


def read_labels(folder: Path, content: bytes) -> None:
    """A file of labels, for samples with names and without."""
    path = _named(folder, content)
    pictures = [folder / name for name in ("a.png", "b.png", "d/c.png")]
    random = Random(content)
    if random.random() < 0.5:
        label_files.typed(label_files.of_pictures(path, pictures, folder, "label"))
    else:
        label_files.typed(label_files.of_samples(path, 3, "label"))


KINDS = (
    Kind("input-data", sound_data, changed_data, read_data),
    Kind("labels", sound_labels, changed_data, read_labels),
)
