"""Reduces the outputs of a text encoder to one embedding for each text, and scores pairs and rankings with them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.records import TaskOptions
from bench.shared.task_metrics import TASK_METRICS
from bench.worker import output_facts
from bench.worker.families._input_files import Data, refused
from bench.worker.feeds import Array, Feed
from bench.worker.labelled import label_files
from bench.worker.output_facts import OutputFacts
from bench.worker.refusal import Refusal

EMBEDDING, HIDDEN, MASK = "sentence_embedding", "last_hidden_state", "attention_mask"
CUT = 10
"""Documents that count in nDCG@10."""
PAIR_KEYS = (("sentence1", "sentence2"), ("text1", "text2"), ("a", "b"))


def embedding(outputs: Feed, feed: Feed, task: TaskOptions, facts: dict[str, OutputFacts]) -> Array:
    """One row for each text, float64 of (batch, width): the model's own embedding, else the mean of its tokens.

    The mean leaves padding out. Raises Refusal where it is not clear which output holds an embedding.
    """
    name = _output(outputs, task)
    values = np.asarray(outputs[name], np.float64)
    axis = output_facts.of(facts, name).axis
    if axis is not None and axis < values.ndim:
        values = np.moveaxis(values, axis, 0)
    if values.ndim == 2:
        return values
    if values.ndim != 3 or MASK not in feed:
        message = f"output {name!r} of shape {list(values.shape)} is no embedding of texts"
        raise refused(message, "name one of shape (batch, width), or of (batch, tokens, width) with an attention mask")
    mask = np.asarray(feed[MASK], np.float64)[..., None]
    # Not a product alone: what a model computes at padding may be infinite.
    mean: Array = np.where(mask > 0, values, 0.0).sum(axis=1) / mask.sum(axis=1).clip(1)
    return mean


def _output(outputs: Feed, task: TaskOptions) -> str:
    if task.output:
        if task.output not in outputs:
            there = ", ".join(outputs)
            raise refused(f"task.output is {task.output!r}, and no output has this name", f"there are: {there}")
        return task.output
    chosen = next((name for name in (EMBEDDING, HIDDEN) if name in outputs), None)
    if chosen is None and len(outputs) == 1:
        return next(iter(outputs))
    if chosen is None:
        there = ", ".join(outputs)
        raise refused(f"the embedding may be in any of these outputs: {there}", 'name one: task.output = "…"')
    return chosen


def pairs(data: Data, key: str, labels: Path | None) -> tuple[list[str], list[Any]]:
    """The two texts of each JSON line one after the other, and the score of each pair. Raises Refusal.

    The scores are in a file of their own, or under a key of each line.
    """
    keys = next((two for two in PAIR_KEYS if data.records and set(two) <= data.records[0].keys()), None)
    if keys is None:
        raise refused(
            f"{data.path.name} holds no pairs of sentences",
            'write lines such as {"sentence1": "…", "sentence2": "…", "score": 4.2}',
        )
    texts: list[str] = []
    given: list[Any] = [record.get(key) for record in data.records]
    if labels:
        given = [_as_number(value) for value in label_files.of_samples(labels, len(data.records), key)]
    for number, record in enumerate(data.records, 1):
        place = f"line {number} of {data.path.name}"
        for name in keys:
            texts.append(_text(record.get(name), f"{place}: {name!r}"))
    where = labels.name if labels else f"{key!r} of {data.path.name}"
    scores = [_score(value, f"label {number}, {where},") for number, value in enumerate(given, 1)]
    if len(set(scores)) < 2:
        raise refused(f"all scores in {where} are {scores[0]}", "pairs need different scores to be ranked")
    return texts, scores


def rankings(data: Data, key: str) -> tuple[list[str], list[Any]]:
    """Each query followed by its documents, and the relevance of each document by query. Raises Refusal."""
    texts: list[str] = []
    relevance: list[list[float]] = []
    for number, record in enumerate(data.records, 1):
        place = f"line {number} of {data.path.name}"
        documents, values = record.get("documents"), record.get(key)
        if not isinstance(documents, list) or not isinstance(values, list) or "query" not in record:
            remedy = '{"query": "…", "documents": ["…", "…"], "relevance": [1, 0]}'
            raise refused(f"{place} is no query with documents", f"write lines such as {remedy}")
        if len(documents) != len(values) or not documents:
            raise refused(f"{place} has {len(values)} labels for {len(documents)} documents", "give each exactly one")
        scores = [_score(value, f"{place}: {key!r}") for value in values]
        if max(scores) <= 0 or min(scores) < 0:
            raise refused(f"{place} has no relevant document, or a relevance below 0", "use 0, 1, 2 … with one above 0")
        texts += [
            _text(record["query"], f"{place}: 'query'"),
            *(_text(each, f"{place}: a document") for each in documents),
        ]
        relevance.append(scores)
    if not relevance:
        raise refused(f"{data.path.name} holds no JSON lines", "write a query with its documents in each line")
    return texts, relevance


def _text(value: object, place: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise refused(f"{place} is no text", "give a text that is not empty")
    return value


def _score(value: object, place: str) -> float:
    number = None if isinstance(value, bool) or not isinstance(value, int | float) else label_files.number(value)
    if number is None or not np.isfinite(number):
        raise refused(f"{place} is {label_files.brief(value)}", "a label here is a number")
    return number


def _as_number(label: label_files.Label) -> label_files.Label:
    number = label_files.number(label)
    return label if number is None else number


def pair_columns(rows: Array, labels: Sequence[float]) -> dict[str, list[float]]:
    """`label` and `similarity`, the cosine of the two embeddings, of each pair."""
    first, second = rows[0::2], rows[1::2]
    return {"label": [float(label) for label in labels], "similarity": _cosines(first, second).tolist()}


def ranking_columns(rows: Array, labels: Sequence[Sequence[float]]) -> dict[str, list[float]]:
    """`ndcg` of each query: the documents are ranked by cosine, and a gain is the relevance itself."""
    values, start = [], 0
    for relevance in labels:
        query, documents = rows[start], rows[start + 1 : start + 1 + len(relevance)]
        values.append(ndcg(np.asarray(relevance), _cosines(np.broadcast_to(query, documents.shape), documents)))
        start += 1 + len(relevance)
    return {"ndcg": values}


def ndcg(relevance: Array, similarity: Array) -> float:
    """Normalised discounted cumulative gain of the first ten documents; of equal ones the less relevant is first."""
    # Ties against the model, or one that gives the same answer to everything would be perfect in a sorted file.
    order = np.lexsort((relevance, -similarity))[:CUT]
    ideal = np.sort(relevance)[::-1][:CUT]
    discount = 1 / np.log2(np.arange(2, len(ideal) + 2))
    return float((relevance[order] * discount).sum() / (ideal * discount).sum())


def _cosines(first: Array, second: Array) -> Array:
    """The cosine of each pair of rows. Raises Refusal for embeddings that are zero or not finite."""
    with np.errstate(all="ignore"):
        norms = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
        cosines: Array = (first * second).sum(axis=1) / norms
    if not np.isfinite(cosines).all():
        count = int((~np.isfinite(cosines)).sum())
        message = f"{count} of {len(cosines)} pairs of embeddings have no cosine: one is zero or not finite"
        raise Refusal("inaccurate", message, "see how far its answers are from the reference", "not-finite")
    return cosines


def read(data: Data, task: TaskOptions) -> tuple[list[str], list[Any]]:
    """All texts of a labelled set in order, and its labels. Raises Refusal for data of another form."""
    if TASK_METRICS[task.metric].samples == "rankings":
        return rankings(data, task.field or "relevance")
    return pairs(data, task.field or "score", Path(task.labels) if task.labels else None)
