"""Makes a labelled set of pictures for a classifier: a folder, with labels by folder or by file, or arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from bench.records import TaskOptions
from bench.worker.families import _input_files
from bench.worker.families._input_files import refused
from bench.worker.feeds import Array, Feed
from bench.worker.labelled import classes, label_files, sets
from bench.worker.labelled.label_files import Label
from bench.worker.labelled.sets import LabelledSet

INPUT = "pixel_values"
Prepare = Callable[[Image.Image], Array]
"""Converts an RGB picture to float32 (channels, height, width)."""


def labelled(task: TaskOptions, batch: int, names: Sequence[str], prepare: Prepare, channels: int) -> LabelledSet:
    """Every picture as batches of `pixel_values`, with the place of its class among `names`. Raises Refusal."""
    path = Path(task.inputs)
    data = _input_files.read(path)
    if data.pictures:
        labels = of_files(task, data.pictures, path)
        classes.indices(labels, names)
        feeds = _prepared(data.pictures, batch, prepare)
        return LabelledSet(feeds, len(data.pictures), labels, {"names": list(names)})
    if data.single is None and INPUT not in data.arrays:
        raise refused(f"{path.name} holds no pictures", f"give a folder of pictures, or an array {INPUT!r} in .npz")
    if not task.labels:
        raise refused(f"{path.name} holds arrays and no labels", 'name their file: labels = "path:labels.csv"')
    count = len(data.single if data.single is not None else data.arrays[INPUT])
    array = _input_files.rows(path, INPUT, count, checked=True, channels=channels, everything=True)
    labels = label_files.of_samples(Path(task.labels), count, task.field or "label")
    classes.indices(labels, names)
    return LabelledSet(sets.batched({INPUT: array}, batch), count, labels, {"names": list(names)})


def of_files(task: TaskOptions, files: Sequence[Path], root: Path) -> list[Label]:
    """The labels of files: from the file that the matrix names, else the names of their folders."""
    if task.labels:
        return label_files.of_pictures(Path(task.labels), files, root, task.field or "label")
    if task.field:
        message = f"field is {task.field!r}, and {root.name} holds files, which have no keys"
        raise refused(message, 'leave it out, or give labels = "path:labels.jsonl"')
    return list(label_files.of_folders(files, root))


def _prepared(files: Sequence[Path], batch: int, prepare: Prepare) -> Iterator[Feed]:
    shape: tuple[int, ...] | None = None
    for start in range(0, len(files), batch):
        # The last batch is filled with its last picture.
        chosen = [files[min(place, len(files) - 1)] for place in range(start, start + batch)]
        pixels = [np.asarray(prepare(_opened(path)), np.float32) for path in chosen]
        for path, picture in zip(chosen, pixels, strict=True):
            shape = shape or picture.shape
            if picture.shape != shape:
                message = f"the model's own preprocessing makes {list(picture.shape)} of {path.name}, not {list(shape)}"
                raise refused(message, "set a fixed size and a crop in preprocessor_config.json")
        yield {INPUT: np.stack(pixels)}


def _opened(path: Path) -> Image.Image:
    opened: Image.Image = _input_files.picture(path, "RGB")
    return opened
