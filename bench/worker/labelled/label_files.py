"""Reads labels: one a line, beside the names of files, as an array, under a key of JSON lines, or as folder names.

The files are not trusted: pickled arrays and archives are refused.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.worker.families import _input_files
from bench.worker.families._input_files import Data, refused

Label = int | float | str
WAYS = ".csv or .txt with a label a line, .npy, or .jsonl"
HEADINGS = ("label", "labels", "class", "target", "score", "text", "transcript")
"""Words that make the first line of a .csv file a heading, if they stand in the column of the labels."""


def of_pictures(path: Path, pictures: Sequence[Path], root: Path) -> list[Label]:
    """The label of each picture or sound: from a file, by name or in the order of the names. Raises Refusal."""
    rows = _table(path)
    if all(len(row) == 1 for row in rows):
        return counted([row[0] for row in rows], len(pictures), path.name, "files")
    by_name = _by_name(path, rows)
    labels = []
    for picture in pictures:
        name = picture.relative_to(root).as_posix() if picture.is_relative_to(root) else picture.name
        if name not in by_name and picture.name not in by_name:
            raise refused(f"{path.name} has no label of {name}", "give each file a line: name,label")
        labels.append(by_name.get(name, by_name.get(picture.name, "")))
    if len(by_name) != len(pictures):
        known = {picture.name for picture in pictures}
        other = next((name for name in by_name if Path(name).name not in known), next(iter(by_name)))
        raise refused(f"{path.name} has a label of {other}, which is not among the samples", "remove its line")
    return typed(labels)


def of_samples(path: Path, count: int) -> list[Label]:
    """The label of each sample in order. Raises Refusal for another count."""
    rows = _table(path)
    # A name of a file beside a label means nothing for samples that have no name.
    if wide := next((number for number, row in enumerate(rows, 1) if len(row) != 1), None):
        message = f"line {wide} of {path.name} has {len(rows[wide - 1])} columns, and the samples have no names"
        raise refused(message, "write one label a line")
    return counted([row[0] for row in rows], count, path.name, "samples")


def of_folders(pictures: Sequence[Path], root: Path) -> list[Label]:
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
    """The labels as numbers or texts, refused if there are not as many as samples."""
    if len(values) != count:
        raise refused(f"{name} has {len(values)} labels for {count} {what}", "give each sample exactly one")
    return typed(values, name)


def typed(values: Sequence[Any], name: str = "") -> list[Label]:
    """Whole numbers, else numbers, else texts; one type for all. Raises Refusal for NaN and for other values."""
    for number, value in enumerate(values, 1):
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise refused(f"label {number}{_of(name)} is {value!r}", "a label is a number or a text")
        if value == "" or (isinstance(value, float) and not math.isfinite(value)):
            raise refused(f"label {number}{_of(name)} is {'empty' if value == '' else value}", "give it a value")
    numbers = [_number(value) for value in values]
    if any(number is None for number in numbers):
        return [str(value) for value in values]
    for place, known in enumerate(numbers, 1):
        if known is not None and not math.isfinite(known):
            raise refused(f"label {place}{_of(name)} is {known}", "give it a value")
    if all(known is not None and known == int(known) for known in numbers):
        return [int(known) for known in numbers if known is not None]
    return [known for known in numbers if known is not None]


def _of(name: str) -> str:
    return f" of {name}" if name else ""


def _number(value: Label) -> float | None:
    try:
        return float(value)
    except ValueError:
        return None


def _table(path: Path) -> list[list[Any]]:
    """The rows of a file of labels, without its heading."""
    suffix = path.suffix.lower()
    if suffix in (".csv", ".tsv"):
        return _csv(path, "\t" if suffix == ".tsv" else ",")
    if suffix == ".txt":
        return [[line] for line in _input_files.texts(path)]
    if suffix == ".npy":
        return _array(path)
    if suffix in _input_files.LINES:
        records = _input_files.read(path).records
        key = "label" if "label" in records[0] else next(iter(records[0]))
        return [[record[key]] for record in records]
    raise refused(f"{path.name} is no kind of labels that can be read", f"give {WAYS}")


def _csv(path: Path, delimiter: str) -> list[list[Any]]:
    try:
        content = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise refused(f"{path.name} is no text in UTF-8", "save it as UTF-8") from error
    rows = [[cell.strip() for cell in row] for row in csv.reader(io.StringIO(content), delimiter=delimiter) if row]
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
