"""Reduces the outputs of a classifier to the best classes of each sample, and compares them with the labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bench.records import TaskOptions
from bench.worker.families._input_files import refused
from bench.worker.feeds import Array, Feed
from bench.worker.labelled.label_files import Label
from bench.worker.output_facts import OutputFacts

BEST = 5
NONE = -1
"""The class of a sample for which the model gives no usable answer."""


def indices(labels: Sequence[Label], names: Sequence[str]) -> list[Label]:
    """The place of each label among the classes; names stay as they are where the classes have none.

    Raises Refusal for a name that is no class, and for fractions.
    """
    if all(isinstance(label, int) for label in labels):
        return list(labels)
    if any(isinstance(label, float) for label in labels):
        fraction = next(label for label in labels if isinstance(label, float))
        raise refused(f"the label {fraction} is no class", "give whole numbers from 0, or the names of the classes")
    if not names:
        return list(labels)
    places = {name.lower(): place for place, name in enumerate(names)}
    for label in labels:
        if str(label).lower() not in places:
            shown = ", ".join(names[:3])
            raise refused(f"the label {label!r} is no class of the model, such as {shown}", "name its own classes")
    return [places[str(label).lower()] for label in labels]


def best(outputs: Feed, feed: Feed, task: TaskOptions, facts: dict[str, OutputFacts]) -> Array:
    """The best classes of each sample, best first, int64 of (batch, at most 5); texts where the output has texts.

    A sample whose scores are not all numbers has no class. Raises Refusal where no output holds classes.
    """
    name, values = output_of(outputs, task, facts)
    if values.dtype.kind == "U":
        return values.reshape(len(values), -1)[:, :1]
    flat = values.reshape(len(values), -1)
    if values.dtype.kind in "iub":
        return flat[:, :1].astype(np.int64)
    if flat.shape[1] == 1 or task.threshold is not None:
        return _binary(name, flat, task)
    ranked = np.argsort(-flat, axis=1, kind="stable")[:, :BEST].astype(np.int64)
    ranked[np.isnan(flat).any(axis=1)] = NONE
    return ranked


def _binary(name: str, flat: Array, task: TaskOptions) -> Array:
    if flat.shape[1] != 1:
        raise refused(f"output {name!r} has {flat.shape[1]} scores, and task.threshold is for one", "leave it out")
    if task.threshold is None:
        raise refused(
            f"output {name!r} has one score for each sample", "say above which it is class 1: threshold = 0.5"
        )
    return np.where(np.isnan(flat), NONE, flat > task.threshold).astype(np.int64)


def output_of(outputs: Feed, task: TaskOptions, facts: dict[str, OutputFacts]) -> tuple[str, Array]:
    """The output that holds the classes: the one that the matrix names, one of class scores, or the only one."""
    if task.output:
        if task.output not in outputs:
            raise refused(
                f"task.output is {task.output!r}, and no output has this name", f"there are: {_list(outputs)}"
            )
        return task.output, np.asarray(outputs[task.output])
    scores = [name for name in outputs if facts.get(name, OutputFacts()).class_scores]
    floats = [name for name in scores if np.asarray(outputs[name]).dtype.kind == "f"]
    chosen = floats if len(floats) == 1 else scores if len(scores) == 1 else list(outputs)
    if len(chosen) != 1:
        raise refused(f"the classes may be in any of these outputs: {_list(outputs)}", 'name one: task.output = "…"')
    return chosen[0], np.asarray(outputs[chosen[0]])


def _list(outputs: Feed) -> str:
    return ", ".join(outputs)


def classes(outputs: Feed, task: TaskOptions, facts: dict[str, OutputFacts]) -> int | None:
    """The number of classes of the model; None where its output is the class itself."""
    values = output_of(outputs, task, facts)[1]
    if values.dtype.kind != "f":
        return None
    width = int(np.prod(values.shape[1:]))
    return 2 if width == 1 else width


def check(labels: Sequence[Label], classes_of_model: int | None, example: Array) -> None:
    """Raise Refusal for labels that are no classes of the model. `example` is what `best` gave for a batch."""
    texts = example.dtype.kind == "U"
    if not texts and (text := next((label for label in labels if isinstance(label, str)), None)):
        message = f"the label {text!r} is a name, and the model gives numbers"
        raise refused(message, 'name its classes in their order: task.classes = ["…", "…"]')
    whole = [label for label in labels if isinstance(label, int)]
    for place, label in enumerate(whole):
        if label < 0 or (classes_of_model is not None and label >= classes_of_model):
            many = f", and the model has {classes_of_model} classes" if classes_of_model is not None else ""
            raise refused(f"the label of sample {place} is {label}{many}", "number the classes from 0")


def columns(rows: Array, labels: Sequence[Label], classes_of_model: int | None) -> dict[str, list[float]]:
    """`label`, `predicted`, `right` and, with more than five classes, `in_top5` of each sample."""
    if rows.dtype.kind == "U":
        # Texts become places among all labels; a text that is no label is wrong in any case.
        names = {name: place for place, name in enumerate(sorted(map(str, labels)))}
        rows = np.array([[names.get(str(text), NONE)] for text in rows[:, 0]], np.int64)
        labels = [names[str(label)] for label in labels]
    right = np.asarray(labels, np.int64)
    scores = {
        "label": right.astype(float).tolist(),
        "predicted": rows[:, 0].astype(float).tolist(),
        "right": (rows[:, 0] == right).astype(float).tolist(),
    }
    if classes_of_model is not None and classes_of_model > BEST:
        scores["in_top5"] = (rows == right[:, None]).any(axis=1).astype(float).tolist()
    return scores
