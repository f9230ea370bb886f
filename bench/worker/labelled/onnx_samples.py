"""Makes a labelled set for an ONNX file: arrays, pictures, texts or JSON lines, prepared as for its inputs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.records import Source, TaskOptions
from bench.shared.task_metrics import TASK_METRICS
from bench.worker.families import _input_files, _input_samples
from bench.worker.families._input_files import Data, refused
from bench.worker.families._input_samples import MOST_SAMPLES
from bench.worker.families._onnx_inputs import OnnxInputs
from bench.worker.feeds import Feed
from bench.worker.labelled import classes, embeddings, label_files, pictures
from bench.worker.labelled.sets import LabelledSet

AT_ONCE = 256
"""Pictures that are in memory at once."""


def labelled(source: Source, sizes: dict[str, int], task: TaskOptions) -> LabelledSet:
    """Every sample as batches for the graph, with its label. Raises Refusal for data that do not fit."""
    data = _input_files.read(Path(task.inputs))
    if data.batches:
        raise refused(f"{data.path.name} holds whole batches", "give an array of samples for each input")
    if TASK_METRICS[task.metric].samples != "classes":
        texts, labels = embeddings.read(data, task)
        data = Data(data.path, texts=tuple(texts))
        rows, batches = _batches(source, sizes, data)
        return LabelledSet(batches, rows, labels)
    known, data = _labels(task, data)
    if data.sounds:
        _check_sounds(source, sizes, data)
    rows, batches = _batches(source, sizes, data)
    labels = label_files.of_samples(Path(task.labels), rows, task.field or "label") if known is None else known
    if len(labels) != rows:
        raise refused(f"{data.path.name} has {len(labels)} labels for {rows} samples", "give each sample exactly one")
    if task.classes:
        classes.indices(labels, task.classes)
    return LabelledSet(batches, rows, labels, {"names": list(task.classes)})


def _check_sounds(source: Source, sizes: dict[str, int], data: Data) -> None:
    """Raise Refusal unless each file is exactly one sample, of the same samples a second as the others."""
    if len(data.sounds) > MOST_SAMPLES:
        message = f"{data.path.name} holds {len(data.sounds)} sounds, and at most {MOST_SAMPLES} are read"
        raise refused(message, "give fewer")
    inputs = OnnxInputs(source, sizes, None, data).sizes
    (made,) = _input_samples.samples(data, inputs.inputs, source.inputs, dict(inputs.given)).values()
    length, first = made[0].size, 0
    for path in data.sounds:
        samples, rate = _input_files.sound(path)
        first = first or rate
        if rate != first:
            message = f"{path.name} has {rate} samples a second, and {data.sounds[0].name} has {first}"
            raise refused(message, f"ffmpeg -i {path.name} -ar {first} out.wav")
        if len(samples) // length != 1:
            message = f"{path.name} has {len(samples)} samples, and a call takes {length}, so it has no one label"
            raise refused(message, "cut or pad each sound to one call")


def _labels(task: TaskOptions, data: Data) -> tuple[list[Any] | None, Data]:
    """The labels that are known before the samples are made, and the data without them; None for those of a file."""
    root = data.path if data.path.is_dir() else data.path.parent
    files = data.pictures or data.sounds
    if files:
        return pictures.of_files(task, files, root), data
    if task.labels:
        return None, data
    if not data.records:
        raise refused(f"{data.path.name} has no labels beside it", 'name their file: labels = "path:labels.csv"')
    rest, labels = label_files.of_records(data, task.field or "label")
    return label_files.checked(labels, data.path.name), rest


def _batches(source: Source, sizes: dict[str, int], data: Data) -> tuple[int, Iterator[Feed]]:
    """The number of samples, and their batches; pictures are read part by part."""
    if data.pictures:
        first = OnnxInputs(source, sizes, None, replace(data, pictures=data.pictures[:1])).sizes.samples
        return len(data.pictures), _of_pictures(source, sizes, data, data.pictures, -(-AT_ONCE // first) * first)
    feeds, count = OnnxInputs(source, sizes, None, data).every()
    return count, iter(feeds)


def _of_pictures(
    source: Source, sizes: dict[str, int], data: Data, files: Sequence[Path], at_once: int
) -> Iterator[Feed]:
    for start in range(0, len(files), at_once):
        part = replace(data, pictures=tuple(files[start : start + at_once]))
        yield from OnnxInputs(source, sizes, None, part).every()[0]
