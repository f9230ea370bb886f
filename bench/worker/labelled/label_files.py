"""Reads labels: one a line, beside the names of files, as an array, under a key of JSON lines, or as folder names.

The files are not trusted: pickled arrays and archives are refused.
"""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.worker.families import _input_files
from bench.worker.families._input_files import Data, refused

Label = int | float | str
WAYS = ".csv or .txt with a label a line, .npy, or .jsonl"
LARGEST = 2**53
"""The largest whole number up to which a float holds each one."""
HEADINGS = ("label", "labels", "class", "target", "score", "text", "transcript")
"""Words that make the first line of a .csv file a heading, if they stand in the column of the labels."""


def of_pictures(path: Path, pictures: Sequence[Path], root: Path, key: str = "") -> list[Label]:
    """The label of each picture or sound: from a file, by name or in the order of the names. Raises Refusal.

    `key` is that of the labels in JSON lines.
    """
    rows = _table(path, key)
    if all(len(row) == 1 for row in rows):
        return counted([row[0] for row in rows], len(pictures), path.name, "files")
    by_name = _by_name(path, rows)
    names = [_name(picture, root) for picture in pictures]
    bare = Counter(picture.name for picture in pictures)
    chosen: dict[str, Any] = {}
    for picture, name in zip(pictures, names, strict=True):
        if name in by_name:
            chosen[name] = by_name.pop(name)
        elif picture.name in by_name and bare[picture.name] > 1:
            message = f"{path.name} has a label of {picture.name}, and {bare[picture.name]} files have this name"
            raise refused(message, f"name each with its folder, such as {name}")
        elif picture.name in by_name:
            chosen[name] = by_name.pop(picture.name)
        else:
            raise refused(f"{path.name} has no label of {name}", "give each file a line: name,label")
    if by_name:
        other = next(iter(by_name))
        twice = " a second time" if Path(other).name in bare and "/" not in other else ""
        message = f"{path.name} has a label of {other}{twice or ', which is not among the samples'}"
        raise refused(message, "remove its line")
    return checked([chosen[name] for name in names], path.name)


def _name(picture: Path, root: Path) -> str:
    return picture.relative_to(root).as_posix() if picture.is_relative_to(root) else picture.name


def of_samples(path: Path, count: int, key: str = "") -> list[Label]:
    """The label of each sample in order; `key` is as above. Raises Refusal for another count."""
    rows = _table(path, key)
    # A name of a file beside a label means nothing for samples that have no name.
    if wide := next((number for number, row in enumerate(rows, 1) if len(row) != 1), None):
        message = f"line {wide} of {path.name} has {len(rows[wide - 1])} columns, and the samples have no names"
        raise refused(message, "write one label a line")
    return counted([row[0] for row in rows], count, path.name, "samples")


def of_folders(pictures: Sequence[Path], root: Path) -> list[str]:
    """The name of the folder of each picture. Raises Refusal for pictures that are in no folder of their own."""
    for picture in pictures:
        if picture.parent == root:
            message = f"{picture.name} is in no folder of its class, and {root.name} has no labels"
            raise refused(message, 'sort the files into folders, or give labels = "path:labels.csv"')
    return [picture.relative_to(root).parts[0] for picture in pictures]


def of_records(data: Data, key: str) -> tuple[Data, list[Any]]:
    """JSON lines without the key of the label, and the labels as JSON holds them."""
    if not data.records or key not in data.records[0]:
        held = ", ".join(data.records[0]) if data.records else "no JSON lines"
        message = f"{data.path.name} holds {held}, and no key {key!r}"
        raise refused(message, 'name the key of the label: field = "…", or give labels = "path:labels.csv"')
    rest = tuple({name: value for name, value in record.items() if name != key} for record in data.records)
    return Data(data.path, records=rest), [record[key] for record in data.records]


def counted(values: Sequence[Any], count: int, name: str, what: str) -> list[Label]:
    """The labels as they are written, refused if there are not as many as samples."""
    if len(values) != count:
        raise refused(f"{name} has {len(values)} labels for {count} {what}", "give each sample exactly one")
    return checked(values, name)


def checked(values: Sequence[Any], name: str = "") -> list[Label]:
    """The labels as they are written: `01` stays a text. Raises Refusal for NaN, and for what is no number or text."""
    for place, value in enumerate(values, 1):
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise refused(f"label {place}{_of(name)} is {brief(value)}", "a label is a number or a text")
        if value == "" or (isinstance(value, float) and not math.isfinite(value)):
            raise refused(f"label {place}{_of(name)} is {'empty' if value == '' else value}", "give it a value")
    numbers = [number(value) for value in values]
    if all(known is not None for known in numbers):
        for place, known in enumerate(numbers, 1):
            if known is not None and not math.isfinite(known):
                shown, large = brief(values[place - 1]).strip("'"), isinstance(values[place - 1], int)
                message = f"label {place}{_of(name)} is {'too large: ' if large else ''}{shown}"
                raise refused(message, "give a smaller number" if large else "give it a value")
    return list(values)


def typed(values: Sequence[Label]) -> list[Label]:
    """Whole numbers, else numbers, else texts; one type for all. Raises Refusal for a class that is too large."""
    numbers = [number(value) for value in values]
    if any(known is None for known in numbers):
        return [text(value) for value in values]
    if any(known is not None and math.isfinite(known) and not known.is_integer() for known in numbers):
        return [known for known in numbers if known is not None]
    for place, known in enumerate(numbers, 1):
        if known is not None and abs(known) > LARGEST:
            raise refused(f"label {place} is {brief(values[place - 1])}, which numbers no class", "give a class from 0")
    return [int(known) for known in numbers if known is not None]


def number(value: Label) -> float | None:
    """The number that a label is or that its text says, else None."""
    if isinstance(value, str) and "_" in value:
        return None  # Python's way to group digits
    try:
        return float(value)
    except ValueError:
        return None
    except OverflowError:
        return math.inf


def text(value: Label) -> str:
    """The text of a label; whole numbers have no fraction."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def brief(value: object) -> str:
    """A value from a file in a sentence: shortened, since it may have any length."""
    try:
        shown = repr(value)
    except ValueError:  # Python writes no whole number of more than 4300 digits
        return "a number of thousands of digits"
    return shown if len(shown) <= 60 else f"{shown[:57]}…"


def _of(name: str) -> str:
    return f" of {name}" if name else ""


def _table(path: Path, key: str) -> list[list[Any]]:
    """The rows of a file of labels, without its heading."""
    suffix = path.suffix.lower()
    if suffix in (".csv", ".tsv"):
        return _csv(path, "\t" if suffix == ".tsv" else ",")
    if suffix == ".txt":
        return [[line] for line in _input_files.texts(path)]
    if suffix == ".npy":
        return _array(path)
    if suffix in _input_files.LINES:
        return _json(path, key)
    raise refused(f"{path.name} is no kind of labels that can be read", f"give {WAYS}")


def _json(path: Path, key: str) -> list[list[Any]]:
    """The values of the key, else of the only one."""
    records = _input_files.read(path).records
    held = list(records[0])
    if key not in held and len(held) == 1:
        key = held[0]
    if key not in held:
        message = f"{path.name} holds {', '.join(held)}, and no key {key!r}"
        raise refused(message, 'name the key of the label: field = "…"')
    return [[record[key]] for record in records]


def _csv(path: Path, delimiter: str) -> list[list[Any]]:
    try:
        content = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise refused(f"{path.name} is no text in UTF-8", "save it as UTF-8") from error
    if "\0" in content:
        raise refused(f"{path.name} holds a zero byte, so it is no text", "save it as text in UTF-8")
    try:
        lines = [row for row in csv.reader(io.StringIO(content), delimiter=delimiter, strict=True) if row]
    except csv.Error as error:
        # Such as a quote that is never closed, or a cell of more than 131,072 characters.
        raise refused(
            f"{path.name} is no table that can be read: {error}", "close each quote, and keep cells short"
        ) from error
    rows = [[cell.strip() for cell in row] for row in lines]
    if rows and all(len(row) == 1 and row[0].count(";") == 1 for row in rows):
        raise refused(f"{path.name} separates its columns by semicolons", "separate them by commas")
    if rows and rows[0][-1].lower() in HEADINGS:
        rows = rows[1:]
    if not rows:
        raise refused(f"{path.name} is empty", "write a label in each line")
    if uneven := next((number for number, row in enumerate(rows, 1) if len(row) not in (1, 2)), None):
        message = f"row {uneven} of {path.name} has {len(rows[uneven - 1])} columns"
        raise refused(message, "write a label, or the name of a file and its label")
    return rows


def _array(path: Path) -> list[list[Any]]:
    data = _input_files.read(path)
    assert data.single is not None
    array = data.single
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise refused(f"{path.name} has the shape {list(array.shape)}", "give one label for each sample: (samples,)")
    if array.dtype.kind not in "fiuU":
        raise refused(f"{path.name} holds {array.dtype}", "give whole numbers, numbers or texts")
    if array.dtype.kind == "f" and (places := np.argwhere(~np.isfinite(array))).size:
        place = int(places[0][0])
        raise refused(f"{path.name} holds {array[place]} as the label of sample {place}", "give it a value")
    return [[value] for value in array.tolist()]


def _by_name(path: Path, rows: Sequence[Sequence[Any]]) -> dict[str, Any]:
    by_name: dict[str, Any] = {}
    for number, row in enumerate(rows, 1):
        if len(row) != 2:
            raise refused(f"row {number} of {path.name} has {len(row)} columns", "give each line a name and a label")
        if row[0] in by_name:
            raise refused(f"{path.name} has two labels of {row[0]}", "keep one of them")
        by_name[str(row[0])] = row[1]
    return by_name
