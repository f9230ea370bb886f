"""A `Visit` in; for each workload a `Measured`, or the failure that stopped it, out."""

from __future__ import annotations

import json
from pathlib import Path
from time import perf_counter_ns

import numpy as np

from bench.records import Job, Measured, Opened, Parity, Recipe, Tolerance, Visit
from bench.worker import engines, families, feeds, parity, timing
from bench.worker.channel import Channel
from bench.worker.memory import peak_rss_bytes


def visit(order: Visit, channel: Channel) -> None:
    """Load once, then check and time every workload in the order given."""
    channel.stage("import")
    start = perf_counter_ns()
    engine = engines.named(order.engine)
    imported = perf_counter_ns()
    channel.stage("session")
    loading = perf_counter_ns()
    session = engine.Session(order)
    opened = Opened(
        import_ns=imported - start,
        load_ns=perf_counter_ns() - loading,
        threads=session.threads,
        versions=engine.versions(),
        placement=session.placement,
        notes=tuple(session.notes),
    )
    channel.say(opened)
    for job in order.jobs:
        channel.say(_workload(order, job, session, channel))


def _workload(order: Visit, job: Job, session: object, channel: Channel) -> Measured:
    """The first feed is timed; afterwards every feed's output is held against the reference."""
    channel.stage("bind", job.workload)
    batches, expected, by = _reference(Path(job.reference))
    call = session.bind(batches[0])  # type: ignore[attr-defined]
    channel.stage("time", job.workload)
    measured = timing.measure(call, order.effort)
    channel.stage("parity", job.workload)
    checked = _check(order, session, batches, expected, by)
    return Measured(job.workload, measured, checked, peak_rss_bytes())


def _reference(folder: Path) -> tuple[list[feeds.Feed], list[feeds.Feed], str]:
    """The inputs of a workload, the outputs they must lead to, and who computed those."""
    told = json.loads((folder / "reference.json").read_text(encoding="utf-8"))
    return feeds.load(folder / "inputs.npz"), feeds.load(folder / "outputs.npz"), told["by"]


def _check(order: Visit, session: object, batches: list[feeds.Feed], expected: list[feeds.Feed], by: str) -> Parity:
    """Parity over every batch, the timed one included and with the very call that was timed."""
    family = families.named(order.family)
    want: list[np.ndarray] = []
    have: list[np.ndarray] = []
    for feed, reference in zip(batches, expected, strict=True):
        outputs = session.outputs(session.bind(feed)())  # type: ignore[attr-defined]
        want.append(family.comparable(reference, feed))
        have.append(family.comparable(outputs, feed))
    limit = order.tolerance or tolerance(order.family, order.recipe)
    return parity.compare(want, have, limit, by)


def tolerance(family: str, recipe: Recipe) -> Tolerance:
    """The family's own tolerance for the number format that a recipe leaves."""
    table = families.named(family).TOLERANCES
    return Tolerance(**table[recipe.number_format])
