"""Stores a labelled set as batches of a workload's sizes with its labels, and reads it part by part."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from bench.records import Note, TaskOptions
from bench.worker import feeds
from bench.worker.feeds import Feed

SET, SCORES = "set.json", "scores.json"
PART_BYTES, PART_BATCHES, PART_ROWS = 64 * 2**20, 256, 1024
"""The size of a part in memory; the outputs of a batch of texts may be a thousand times as large as its ids."""


@dataclass(frozen=True)
class LabelledSet:
    """Batches of the sizes of a workload, and what belongs to their samples."""

    feeds: Iterable[Feed]
    """The last batch is filled with repeated samples."""
    rows: int
    """Rows of the batches that count: texts, pictures, windows of a text."""
    labels: list[Any]
    """As JSON holds them: one for each sample."""
    facts: dict[str, Any] = field(default_factory=dict)
    """As JSON: what the scores need beside, such as the names of classes or the text of each token."""
    notes: tuple[Note, ...] = ()


def save(folder: Path, labelled: LabelledSet, task: TaskOptions, take: Callable[[list[Feed]], None]) -> None:
    """Write the set, and give each part to `take` while it is in memory."""
    for number, part in enumerate(_parts(labelled.feeds)):
        feeds.save(folder / f"{number:04}.npz", part)
        take(part)
    # Without the paths, which are those of the machine that made the set.
    options = msgspec.to_builtins(msgspec.structs.replace(task, inputs="", labels=""))
    content = {"task": options, "rows": labelled.rows, "labels": labelled.labels, "facts": labelled.facts}
    (folder / SET).write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def load(folder: Path) -> tuple[LabelledSet, TaskOptions]:
    """The set that `save` wrote, whose batches are read part by part, and how it is scored."""
    content = json.loads((folder / SET).read_text(encoding="utf-8"))
    batches = (batch for path in sorted(folder.glob("[0-9]*.npz")) for batch in feeds.load(path))
    labelled = LabelledSet(batches, content["rows"], content["labels"], content["facts"])
    return labelled, msgspec.convert(content["task"], TaskOptions)


def batched(rows: Feed, batch: int) -> Iterator[Feed]:
    """Batches of arrays that have the samples along their first axis; the last is filled with its last sample."""
    count = len(next(iter(rows.values())))
    for start in range(0, count, batch):
        places = [min(place, count - 1) for place in range(start, start + batch)]
        yield {name: array[places] for name, array in rows.items()}


def _parts(batches: Iterable[Feed]) -> Iterator[list[Feed]]:
    part: list[Feed] = []
    size = rows = 0
    for batch in batches:
        part.append(batch)
        size += sum(array.nbytes for array in batch.values())
        rows += max((len(array) for array in batch.values() if array.ndim), default=1)
        if size >= PART_BYTES or len(part) >= PART_BATCHES or rows >= PART_ROWS:
            yield part
            part, size, rows = [], 0, 0
    if part:
        yield part
