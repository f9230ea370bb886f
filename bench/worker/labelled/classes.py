"""Reduces the outputs of a classifier to the best classes of each sample, and compares them with the labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bench.records import Note, TaskOptions, note
from bench.worker import output_facts, output_values
from bench.worker.families._input_files import refused
from bench.worker.feeds import Array, Feed
from bench.worker.labelled import label_files
from bench.worker.labelled.label_files import Label
from bench.worker.output_facts import OutputFacts

BEST = 5
NONE = -1
"""The class of a sample for which the model gives no usable answer."""
NUMBERS = "fiubV"
"""Kinds of numpy types that hold scores; V is that of bfloat16."""


def indices(labels: Sequence[Label], names: Sequence[str]) -> list[Label]:
    """The place of each label among the classes; texts stay as they are where the classes have no names.

    A label is a name where it can be one: where a class is called `2`, labels are never places. Raises Refusal for a
    label that is no class or the name of two, and for fractions.
    """
    typed = label_files.typed(labels)
    whole = all(isinstance(label, int) for label in typed)
    if names and (not whole or any(label_files.number(name) is not None for name in names)):
        return [_place(label, names) for label in labels]
    if any(isinstance(label, float) for label in typed):
        fraction = next(label for label in typed if isinstance(label, float) and label != int(label))
        raise refused(f"the label {fraction} is no class", "give whole numbers from 0, or the names of the classes")
    return typed


def _place(label: Label, names: Sequence[str]) -> int:
    places = [place for place, name in enumerate(names) if name == label_files.text(label)]
    if not places:
        shown = ", ".join(names[:3])
        raise refused(f"the label {label!r} is no class of the model, such as {shown}", "write the names exactly so")
    if len(places) > 1:
        message = f"the label {label!r} is the name of the classes {places[0]} and {places[1]}"
        raise refused(message, "give labels as numbers, or own names of all classes: task.classes")
    return places[0]


def best(outputs: Feed, feed: Feed, task: TaskOptions, facts: dict[str, OutputFacts]) -> Array:
    """The best classes of each sample, best first, int64 of (batch, at most 5); texts where the output has texts.

    One whole number for a sample is its class; several are scores. A sample whose scores are not all numbers, or of
    whose flags not exactly one is set, has no class. Raises Refusal where no output holds classes.
    """
    name, values = output_of(outputs, task, facts)
    known = output_facts.of(facts, name)
    flat = _by_sample(name, values, known)
    if known.sorted and flat.shape[1] > 1:
        message = f"output {name!r} is what TopK gives, in an order of its own"
        raise refused(message, 'name the output with a score for each class: task.output = "…"')
    if flat.dtype.kind == "U":
        if flat.shape[1] != 1:
            message = f"output {name!r} gives {flat.shape[1]} texts for each sample, and a class is one"
            raise refused(message, 'name another output: task.output = "…"')
        return flat
    if flat.dtype.kind not in NUMBERS:
        raise refused(f"output {name!r} holds {flat.dtype}, which are no scores", 'name another: task.output = "…"')
    if task.threshold is not None or (flat.shape[1] == 1 and flat.dtype.kind not in "iub"):
        return _binary(name, flat, task)
    if flat.shape[1] == 1:
        return flat.astype(np.int64)
    keys = outputs.get(name + output_values.KEYS)
    return _ranked(flat) if keys is None else _by_key(name, _ranked(flat), np.asarray(keys))


def _by_sample(name: str, values: Array, facts: OutputFacts) -> Array:
    """The values of each sample, of shape (batch, values). Raises Refusal where they are no row of classes."""
    shape, axis = values.shape, facts.axis
    if axis is None and shape and facts.samples in (None, shape[0]):
        axis = 0
    if axis is None and facts.samples == 1:
        # A graph for one sample may leave its axis out.
        values, axis = values[None], 0
    if axis is None or axis >= values.ndim or facts.samples not in (None, values.shape[axis]):
        many = "" if facts.samples is None else f"{facts.samples} "
        message = f"output {name!r} has the shape {list(shape)}, in which no axis holds the {many}samples"
        raise refused(message, 'name an output of shape (batch, classes): task.output = "…"')
    rows = np.moveaxis(values, axis, 0)
    if sum(size != 1 for size in rows.shape[1:]) > 1 or 0 in rows.shape[1:]:
        message = (
            f"output {name!r} gives each sample values of shape {list(rows.shape[1:])}, which are no row of classes"
        )
        raise refused(message, 'name an output of shape (batch, classes): task.output = "…"')
    return rows.reshape(len(rows), max(rows.shape[1:], default=1))


def _ranked(flat: Array) -> Array:
    scores = flat.astype(np.float64)
    ranked = np.argsort(-scores, axis=1, kind="stable")[:, :BEST].astype(np.int64)
    ranked[np.isnan(scores).any(axis=1)] = NONE
    if flat.dtype.kind == "b":
        ranked[flat.sum(axis=1) != 1] = NONE
    return ranked


def _by_key(name: str, ranked: Array, keys: Array) -> Array:
    """The classes that a map of scores names itself, instead of their places."""
    if len(keys) != len(ranked):
        raise refused(f"the maps of output {name!r} have different keys", 'name another output: task.output = "…"')
    if keys.dtype.kind == "U":
        return np.where(ranked[:, :1] == NONE, "", np.take_along_axis(keys, ranked[:, :1].clip(0), axis=1))
    return np.where(ranked == NONE, NONE, np.take_along_axis(keys, ranked.clip(0), axis=1)).astype(np.int64)


def _binary(name: str, flat: Array, task: TaskOptions) -> Array:
    if flat.shape[1] != 1:
        raise refused(f"output {name!r} has {flat.shape[1]} scores, and task.threshold is for one", "leave it out")
    if task.threshold is None:
        raise refused(
            f"output {name!r} has one score for each sample", "say above which it is class 1: threshold = 0.5"
        )
    scores = flat.astype(np.float64)
    return np.where(np.isnan(scores), NONE, scores > task.threshold).astype(np.int64)


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
    every = [name for name in outputs if not name.endswith(output_values.KEYS)]
    chosen = floats if len(floats) == 1 else scores if len(scores) == 1 else every
    if len(chosen) != 1:
        raise refused(f"the classes may be in any of these outputs: {_list(outputs)}", 'name one: task.output = "…"')
    return chosen[0], np.asarray(outputs[chosen[0]])


def _list(outputs: Feed) -> str:
    return ", ".join(outputs)


def classes(outputs: Feed, task: TaskOptions, facts: dict[str, OutputFacts]) -> int | None:
    """The number of classes of the model; None where its output is the class itself, or names it."""
    name, values = output_of(outputs, task, facts)
    flat = _by_sample(name, values, output_facts.of(facts, name))
    if flat.dtype.kind == "U" or name + output_values.KEYS in outputs:
        return None
    if flat.shape[1] > 1:
        return int(flat.shape[1])
    return None if flat.dtype.kind in "iu" and task.threshold is None else 2


def check(
    labels: Sequence[Label], classes_of_model: int | None, example: Array, own: Sequence[str], names: Sequence[str]
) -> None:
    """Raise Refusal for labels that are no classes of the model. `example` is what `best` gave for a batch.

    `own` are the names that the matrix gives, and `names` those or the model's.
    """
    if own and classes_of_model not in (None, len(own)):
        message = f"task.classes has {len(own)} names, and the model has {classes_of_model} classes"
        raise refused(message, "name each class once, in the order of the scores")
    if example.dtype.kind == "U":
        return
    known = indices(labels, names)
    if text := next((label for label in known if isinstance(label, str)), None):
        message = f"the label {text!r} is a name, and the model gives numbers"
        raise refused(message, 'name its classes in their order: task.classes = ["…", "…"]')
    for place, label in enumerate(known):
        if int(label) < 0 or (classes_of_model is not None and int(label) >= classes_of_model):
            many = f", and the model has {classes_of_model} classes" if classes_of_model is not None else ""
            raise refused(f"the label of sample {place} is {label}{many}", "number the classes from 0")


def columns(
    rows: Array, labels: Sequence[Label], classes_of_model: int | None, names: Sequence[str]
) -> dict[str, list[float]]:
    """`label`, `predicted`, `right` and, with more than five classes, `in_top5` of each sample."""
    if rows.dtype.kind == "U":
        # Texts become places among all labels; a text that is no label is wrong in any case.
        places = {name: place for place, name in enumerate(sorted(set(map(label_files.text, labels))))}
        rows = np.array([[places.get(str(text), NONE)] for text in rows[:, 0]], np.int64)
        right = np.array([places[label_files.text(label)] for label in labels], np.int64)
    else:
        right = np.asarray(indices(labels, names), np.int64)
    scores = {
        "label": right.astype(float).tolist(),
        "predicted": rows[:, 0].astype(float).tolist(),
        "right": (rows[:, 0] == right).astype(float).tolist(),
    }
    if classes_of_model is not None and classes_of_model > BEST:
        scores["in_top5"] = (rows == right[:, None]).any(axis=1).astype(float).tolist()
    return scores


def doubts(rows: Array, labels: Sequence[Label], names: Sequence[str]) -> tuple[Note, ...]:
    """What suggests that the labels are others than the reference's classes.

    Raises Refusal where the model gives texts, and none of them is a label.
    """
    if rows.dtype.kind == "U":
        given, known = set(rows[:, 0].tolist()), set(map(label_files.text, labels))
        if not given & known:
            message = f"the model gives {_some(given)}, and the labels are {_some(known)}: none is the same"
            raise refused(message, "write the labels as the model writes its classes")
        other = sorted(given - known)
        return (note("answers-without-label", answers=tuple(other[:3]), count=len(other)),) if other else ()
    if names and indices(labels, names) != label_files.typed(labels):
        return ()
    right = np.asarray(indices(labels, names), np.int64)
    better = (rows[:, 0] == right - 1).sum() > (rows[:, 0] == right).sum()
    return (note("labels-from-one"),) if right.min() > 0 and better else ()


def _some(texts: set[str]) -> str:
    return ", ".join(map(repr, sorted(texts)[:3])) + (" …" if len(texts) > 3 else "")
