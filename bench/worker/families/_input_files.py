"""Reads the user's input data: arrays, JSON lines, and folders of pictures, sounds or texts.

The files are not trusted: pickled arrays and archives with odd names are refused, and nothing is unpacked to the disk.
"""

from __future__ import annotations

import json
import lzma
import math
import struct
import sys
import tokenize
import wave
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any

import numpy as np

from bench.worker.feeds import Array, Feed
from bench.worker.refusal import Refusal

# Not TIFF, which holds several pictures or none that a library reads.
PICTURES = {".bmp", ".jpeg", ".jpg", ".png", ".webp"}
SOUNDS = {".wav"}
TEXTS = {".txt"}
LINES = {".jsonl", ".ndjson"}
MAX_BYTES = 16 * 2**30
# zipfile has the errors of the modules that unpack, and NumPy those of Python's own parser: it reads a header with it.
UNREADABLE = (
    *(OSError, ValueError, TypeError, EOFError, LookupError, ArithmeticError, RuntimeError, MemoryError),
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, SyntaxError, tokenize.TokenError),
)
ENCRYPTED = 1
"""The bit of a member of an archive that says so."""
DEEPEST = 2**16 - 1
"""The largest value of a picture with 16 bits a channel."""
WAYS = ".npz, .npy, .jsonl, .txt, or a folder of pictures, .wav or .txt files"


@dataclass(frozen=True)
class Data:
    """What a file or folder holds; one of the fields is not empty."""

    path: Path
    arrays: Feed = field(default_factory=dict)
    """By input, all samples."""
    batches: tuple[Feed, ...] = ()
    """Whole batches, from keys such as `0/input_ids`."""
    single: Array | None = None
    """All samples of the only input."""
    records: tuple[dict[str, Any], ...] = ()
    """By sample, the values of each input."""
    texts: tuple[str, ...] = ()
    pictures: tuple[Path, ...] = ()
    sounds: tuple[Path, ...] = ()


def read(path: Path) -> Data:
    """Read a file or a folder. Raises Refusal for one that is of no known kind, empty or damaged."""
    if path.is_dir():
        return _folder(path)
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise refused(f"{path.name} is no kind of input data that can be read", f"give {WAYS}")
    return reader(path)


def texts(path: Path) -> list[str]:
    """The texts of a file or folder: lines of `.txt`, the key `text` of `.jsonl`, or each `.txt` file of a folder."""
    # Any other file is read as a text too: people keep sentences under many names.
    if path.is_file() and path.suffix.lower() not in (*LINES, ".npz", ".npy", *SOUNDS, *PICTURES):
        return [line.strip() for line in _text(path).split("\n") if line.strip()]
    data = read(path)
    if data.texts:
        return list(data.texts)
    if not data.records:
        raise refused(f"{path.name} holds no texts", "give a .txt file with a text in each line, a .jsonl, or a folder")
    for number, record in enumerate(data.records, 1):
        if not isinstance(record.get("text"), str):
            raise refused(f'line {number} of {path.name} has no "text"', 'write lines such as {"text": "…"}')
    return [record["text"] for record in data.records]


def rows(path: Path, name: str, count: int, *, checked: bool, channels: int, everything: bool = False) -> Array:
    """`count` prepared pictures of a .npz or .npy file: float32 (count, channels, height, width).

    The first two thirds are to check outputs with, and the last third is for calibration; they repeat as needed. With
    `everything` they are all the pictures in order.
    """
    data = read(path)
    array = data.single if data.single is not None else data.arrays.get(name)
    if array is None:
        held = ", ".join(data.arrays) or "whole batches"
        raise refused(f"{path.name} holds {held}, and the model takes {name!r}", f"name the array {name!r}")
    if array.dtype != np.float32 or array.ndim != 4 or array.shape[1] != channels or not len(array):
        message = f"{path.name} holds {array.dtype} of shape {list(array.shape)} for {name!r}"
        raise refused(message, f"give float32 of (samples, {channels}, height, width)")
    if np.isnan(array).any():
        raise refused(
            f"{path.name} holds a NaN in {name!r}, in sample {int(np.argwhere(np.isnan(array))[0][0])}", "replace it"
        )
    cut = 2 * len(array) // 3 if len(array) > 2 and not everything else len(array)
    chosen = array[:cut] if checked or cut == len(array) else array[cut:]
    return np.ascontiguousarray(chosen[np.arange(count) % len(chosen)])


def sound(path: Path) -> tuple[Array, int]:
    """The samples of a WAV file, float32 from -1 to 1, the mean of its channels; and the samples of a second."""
    try:
        with wave.open(str(path), "rb") as file:
            channels, width, rate = file.getnchannels(), file.getsampwidth(), file.getframerate()
            frames = file.readframes(file.getnframes())
    # `wave` raises EOFError for a file that ends within its header, and RuntimeError for a length that leads out of it.
    except (wave.Error, EOFError, RuntimeError, ValueError, OverflowError) as error:
        reason = str(error) or "it ends too early"
        raise refused(f"{path.name} is no WAV file that can be read: {reason}", "save it as 16-bit PCM") from error
    kind = {1: "u1", 2: "<i2", 4: "<i4"}.get(width)
    if kind is None:
        raise refused(f"{path.name} has samples of {8 * width} bits", "save it as 16-bit PCM")
    whole = len(frames) // (width * channels) * width * channels
    if not whole:
        raise refused(f"{path.name} holds no audio", "leave it out")
    samples = np.frombuffer(frames[:whole], kind).astype(np.float64).reshape(-1, channels).mean(axis=1)
    # Eight bits are stored without a sign.
    scaled = (samples - 128) / 128 if width == 1 else samples / 2.0 ** (8 * width - 1)
    return scaled.astype(np.float32), rate


def picture(path: Path, mode: str) -> Any:
    """The picture of a file as Pillow's, in the mode `L`, `RGB` or `RGBA`; 16 bits a channel become 8."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            deep = image.mode == "I" or image.mode.startswith("I;16")
            # Pillow would clip the values at 255. 65535 is 257 * 255.
            return (_of_8_bits(path, np.asarray(image)) if deep else image).convert(mode)
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError, ValueError, SyntaxError) as error:
        # Without the path, which Pillow adds at the end.
        reason = str(error).partition(" '")[0]
        raise refused(
            f"{path.name} is no picture that can be read: {reason}", "save it again, or leave it out"
        ) from error


def _of_8_bits(path: Path, values: Array) -> Any:
    from PIL import Image

    if values.min(initial=0) < 0 or values.max(initial=0) > DEEPEST:
        raise refused(f"{path.name} has values from {values.min()} to {values.max()}", "save it with 8 bits a channel")
    return Image.fromarray(np.round(values / (DEEPEST / 255)).astype(np.uint8))


def refused(message: str, remedy: str) -> Refusal:
    """The refusal of input data."""
    return Refusal("unsupported", message, remedy, "inputs")


def _folder(folder: Path) -> Data:
    """Pictures, else sounds, else texts; in the order of their names, which differs between file systems."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not _is_hidden(path.relative_to(folder)))
    if pictures := tuple(path for path in files if path.suffix.lower() in PICTURES):
        return Data(folder, pictures=pictures)
    if sounds := tuple(path for path in files if path.suffix.lower() in SOUNDS):
        return Data(folder, sounds=sounds)
    found = tuple(text for path in files if path.suffix.lower() in TEXTS if (text := _text(path).strip()))
    if not found:
        raise refused(f"{folder.name} holds no pictures, .wav or .txt files", f"give {WAYS}")
    return Data(folder, texts=found)


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise refused(f"{path.name} is no text in UTF-8", "save it as UTF-8") from error


def _text_lines(path: Path) -> list[str]:
    lines = [line.strip() for line in _text(path).split("\n") if line.strip()]
    if not lines:
        raise refused(f"{path.name} is empty", "write a text in each line")
    return lines


def _npz(path: Path) -> Data:
    """Arrays by input, or batches under keys such as `0/input_ids`."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
        # np.load reads members where they are, and these names would lead out of a folder in another program.
        for member in members:
            if _leads_out(member.filename):
                raise refused(
                    f"{path.name} holds {member.filename!r}, which points outside its folder", "do not use it"
                )
        # A small archive may unpack to any size.
        if sum(member.file_size for member in members) > MAX_BYTES:
            raise refused(f"{path.name} unpacks to over {MAX_BYTES >> 30} GiB", "give fewer samples")
        arrays = _members(path)
    except UNREADABLE as error:
        raise refused(f"{path.name} is no .npz file that can be read: {error}", "write it with numpy.savez") from error
    if not arrays:
        raise refused(f"{path.name} holds no array", "write it with numpy.savez, with an array for each input")
    numbered = {name for name in arrays if name.partition("/")[0].isdecimal() and name.partition("/")[2]}
    if not numbered:
        return Data(path, arrays=arrays)
    if odd := sorted(arrays.keys() - numbered):
        message = f"{path.name} holds {odd[0]!r} beside keys such as {min(numbered)!r}"
        raise refused(message, "name all arrays by input, or all by batch and input")
    return Data(path, batches=_batches(path, arrays))


def _batches(path: Path, arrays: Feed) -> tuple[Feed, ...]:
    batches: dict[int, Feed] = {}
    for key, array in arrays.items():
        number, _, name = key.partition("/")
        batches.setdefault(int(number), {})[name] = array
    missing = next((number for number in range(len(batches)) if number not in batches), None)
    if missing is not None:
        raise refused(f"{path.name} lacks the batch {missing}", "number the batches from 0, without a gap")
    return tuple(batches[number] for number in range(len(batches)))


def _leads_out(name: str) -> bool:
    path = PurePosixPath(name.replace("\\", "/"))
    return path.is_absolute() or ".." in path.parts or ":" in name


def _members(path: Path) -> Feed:
    arrays: Feed = {}
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if member.is_dir():
                continue
            name = member.filename.removesuffix(".npy")
            what = f"the array {name!r} of {path.name}"
            if member.flag_bits & ENCRYPTED:
                raise refused(f"{what} is encrypted", "write it with numpy.savez")
            if name in arrays:
                raise refused(f"{path.name} holds {name!r} twice", "write it with numpy.savez")
            with archive.open(member) as file:
                arrays[name] = _array(what, file, member.file_size)
    return arrays


def _array(what: str, file: IO[bytes], size: int) -> Array:
    """The array in a file of NumPy's own format that has `size` bytes. The header is checked before memory is taken."""
    form = np.lib.format
    start = file.read(len(form.MAGIC_PREFIX))
    file.seek(0)
    if start != form.MAGIC_PREFIX:
        # The first byte of every pickle since Python 3.
        if start.startswith(b"\x80"):
            raise _pickled(what)
        raise refused(f"{what} is no array in NumPy's format", "write it with numpy.save or numpy.savez")
    version = form.read_magic(file)
    header = form.read_array_header_1_0(file) if version == (1, 0) else form.read_array_header_2_0(file)
    shape, _, dtype = header
    if dtype.hasobject:
        raise _pickled(what)
    need = math.prod(shape) * dtype.itemsize
    if need > size or min(shape, default=0) < 0:
        message = f"{what} says that it is {dtype} of shape {list(shape)}, and it has {size} bytes"
        raise refused(message, "write it again with numpy.save or numpy.savez")
    file.seek(0)
    array: Array = form.read_array(file, allow_pickle=False)
    if dtype.kind == "U" and _codes(array).max(initial=0) > sys.maxunicode:
        raise refused(f"{what} holds texts with characters that do not exist", "write it again with numpy.save")
    return array


def _codes(texts: Array) -> Array:
    """The characters of an array of texts as numbers; NumPy reads any number as one."""
    return np.frombuffer(np.ascontiguousarray(texts).tobytes(), np.dtype("u4").newbyteorder(texts.dtype.byteorder))


def _npy(path: Path) -> Array:
    try:
        with path.open("rb") as file:
            return _array(path.name, file, path.stat().st_size)
    except UNREADABLE as error:
        raise refused(f"{path.name} is no .npy file that can be read: {error}", "write it with numpy.save") from error


def _pickled(what: str) -> Refusal:
    return refused(
        f"{what} is pickled, and loading a pickle can run any code", "save numbers or texts: array.astype('float32')"
    )


def _lines(path: Path) -> Data:
    records: list[dict[str, Any]] = []
    # Not splitlines(): a text in JSON may hold other line separators.
    for number, line in enumerate(_text(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            # NaN is no JSON, but Python reads it.
            record = json.loads(line)
        except RecursionError:
            message = f"line {number} of {path.name} is JSON of too many levels"
            raise refused(message, "write a JSON object of few levels a line") from None
        except ValueError as error:
            raise refused(f"line {number} of {path.name} is no JSON: {error}", "write a JSON object a line") from error
        if not isinstance(record, dict) or not record:
            what = "an empty object" if record == {} else "no JSON object"
            raise refused(f"line {number} of {path.name} is {what}", 'write lines such as {"input_ids": [1, 2]}')
        if records and record.keys() != records[0].keys():
            difference = ", ".join(sorted(record.keys() ^ records[0].keys()))
            raise refused(
                f"line {number} of {path.name} has other keys than the first: {difference}", "give each line the same"
            )
        records.append(record)
    if not records:
        raise refused(f"{path.name} is empty", "write a JSON object a line, one for each sample")
    return Data(path, records=tuple(records))


READERS: dict[str, Callable[[Path], Data]] = {
    ".npz": _npz,
    ".npy": lambda path: Data(path, single=_npy(path)),
    **dict.fromkeys(LINES, _lines),
    **dict.fromkeys(TEXTS, lambda path: Data(path, texts=tuple(_text_lines(path)))),
    **dict.fromkeys(SOUNDS, lambda path: Data(path, sounds=(path,))),
    **dict.fromkeys(PICTURES, lambda path: Data(path, pictures=(path,))),
}
