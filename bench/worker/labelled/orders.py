"""Carries out `Label` and `Assess`: writes a labelled set with the reference's scores, and scores a session on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, cast

import msgspec
import numpy as np

from bench.records import Assess, Assessed, Built, Label, Note, TaskOptions, TaskReference, TaskScores
from bench.worker import contracts, engines, families, onnx_outputs, output_facts, output_values, session_check
from bench.worker.channel import Channel
from bench.worker.contracts import Session
from bench.worker.families._onnx_inputs import OnnxInputs
from bench.worker.feeds import Array, Feed
from bench.worker.labelled import scoring, sets
from bench.worker.labelled.sets import LabelledSet
from bench.worker.output_facts import OutputFacts
from bench.worker.refusal import Refusal

if TYPE_CHECKING:
    import torch

TICK_S = 5.0
"""How often a long check says that it goes on: the time limit of the orchestrator is for each reply."""
GENERATED_AT_ONCE = 32
"""Prompts whose reference is computed with one loaded model: it keeps some logits of each."""


def label(order: Label) -> Built:
    """Write the set and the scores of the FP32 reference into `order.out`. Raises Refusal for data that do not fit."""
    family, out, task = families.named(order.family), Path(order.out), order.task
    labelled = contracts.labelling(family).labelled(order.source, order.sizes, task)
    doubts: tuple[Note, ...] = ()
    if family.MANIFEST.task == "forward":
        columns, by, doubts = _forward(order, labelled)
    else:
        columns, by = _generated(order, labelled)
    scoring.check_columns(columns, task)
    notes = (*labelled.notes, *doubts)
    reference = TaskReference(TaskScores(task.metric, task.digest, scoring.frozen(columns)), by, notes)
    (out / sets.SCORES).write_bytes(msgspec.json.encode(reference))
    return Built(notes)


def _forward(order: Label, labelled: LabelledSet) -> tuple[scoring.Columns, str, tuple[Note, ...]]:
    family = contracts.forward(families.named(order.family))
    known = dict.fromkeys(family.MANIFEST.class_scores, OutputFacts(class_scores=True))
    if order.source.kind == "onnx":
        onnx_outputs.refuse_unreadable(Path(order.source.path))
        inputs = OnnxInputs(order.source, order.sizes, None)
        known |= onnx_outputs.facts(Path(order.source.path), inputs.output_axes(), inputs.sizes.samples)
    labelled = LabelledSet(
        labelled.feeds,
        labelled.rows,
        labelled.labels,
        labelled.facts | {"outputs": output_facts.to_json(known)},
        labelled.notes,
    )
    scores = scoring.forward_scores(order.task, labelled)
    computed_by = ""

    def take(part: list[Feed]) -> None:
        nonlocal computed_by
        given, computed_by = family.reference(order.source, part)
        for outputs, feed in zip(given, part, strict=True):
            scores.take(output_values.arrays(outputs), feed)

    sets.save(Path(order.out), labelled, order.task, take)
    return scores.columns(labelled), computed_by, scores.doubts(labelled)


def _generated(order: Label, labelled: LabelledSet) -> tuple[scoring.Columns, str]:
    sets.save(Path(order.out), labelled, order.task, lambda part: None)
    stored, task = sets.load(Path(order.out))
    family = contracts.generating(families.named(order.family))
    from bench.worker import hugging_face

    reference = _Reference(family, order)
    columns = scoring.generated_scores(reference, stored, task, order.sizes, lambda: None)
    return columns, hugging_face.computed_by()


class _Reference:
    """PyTorch in FP32 as a session: a whole window in one call, and the family's own greedy generation."""

    def __init__(self, family: contracts.GeneratingFamily, order: Label) -> None:
        self.family, self.order = family, order
        self.module: torch.nn.Module | None = None
        self.ready: Iterator[Array] | None = None

    def score(self, feed: Feed, tokens: Array) -> Array:
        """Logits over a given continuation, float32 of (batch, n, vocabulary)."""
        import torch

        if self.module is None:
            self.module = self.family.load(self.order.source)
        ids = np.concatenate([feed["input_ids"], tokens], axis=1)
        with torch.inference_mode():
            logits = self.module(input_ids=torch.from_numpy(ids)).logits
        first = feed["input_ids"].shape[1] - 1
        result: Array = logits[:, first : first + tokens.shape[1]].float().numpy()
        return result

    def begin(self, feed: Feed, new: int) -> list[Array]:
        """The tokens of each step; every prompt of the set is generated at the first call."""
        if self.ready is None:
            self.ready = self._every(new)
        return list(next(self.ready).T)

    def _every(self, new: int) -> Iterator[Array]:
        waiting: list[Feed] = []
        for feed in sets.load(Path(self.order.out))[0].feeds:
            waiting.append(feed)
            if len(waiting) == GENERATED_AT_ONCE:
                yield from self._tokens(waiting, new)
                waiting = []
        yield from self._tokens(waiting, new)

    def _tokens(self, waiting: list[Feed], new: int) -> list[Array]:
        if not waiting:
            return []
        return [outputs["tokens"] for outputs in self.family.reference(self.order.source, waiting, new)[0]]


def assess(order: Assess, channel: Channel) -> None:
    """Open the visit's session, run every sample, and send the scores."""
    visit, folder = order.visit, Path(order.labelled)
    reference = msgspec.json.decode((folder / sets.SCORES).read_bytes(), type=TaskReference)
    session = session_check.open_session(visit, channel)
    job = visit.jobs[0]
    channel.stage("labelled", job.workload)
    labelled, task = sets.load(folder)
    tick = _ticker(channel, job.workload)
    if families.generates(visit.family):
        if engines.named(visit.engine).MANIFEST.checked_by != "logits":
            message = f"the engine {visit.engine} gives no tokens and no logits, so labelled samples are not scored"
            raise Refusal("unsupported", message, "", "no-tokens")
        columns = scoring.generated_scores(cast(scoring.Answerer, session), labelled, task, job.sizes, tick)
    else:
        columns = _of_session(cast(Session, session), labelled, task, tick)
    channel.say(Assessed(TaskScores(reference.scores.metric, reference.scores.digest, scoring.frozen(columns))))


def _of_session(
    session: Session, labelled: LabelledSet, task: TaskOptions, tick: Callable[[], None]
) -> scoring.Columns:
    scores = scoring.forward_scores(task, labelled)
    for feed in labelled.feeds:
        tick()
        scores.take(output_values.arrays(session.outputs(session.bind(feed)())), feed)
    return scores.columns(labelled)


def _ticker(channel: Channel, workload: str) -> Callable[[], None]:
    last = monotonic()

    def tick() -> None:
        nonlocal last
        if monotonic() - last > TICK_S:
            last = monotonic()
            channel.stage("labelled", workload)

    return tick
