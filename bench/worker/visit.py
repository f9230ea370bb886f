"""A `Visit` in; for each workload a `Measured`, or the failure that stopped it, out."""

from __future__ import annotations

import itertools
import json
import traceback
from functools import partial
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import numpy as np
from msgspec.structs import replace

from bench.records import Job, Measured, Opened, Parity, Placement, Profiled, Recipe, Tolerance, Transcript, Visit
from bench.worker import engines, families, feeds, generation, parity, parity_tokens, timing
from bench.worker.channel import Channel
from bench.worker.memory import peak_rss_bytes
from bench.worker.placement import refuse_elsewhere


def visit(order: Visit, channel: Channel) -> None:
    """Load once, then check and time every workload in the order given."""
    placement = _measure(order, channel)
    if order.profile and placement is not None:
        _profile(order, placement, channel)


def _measure(order: Visit, channel: Channel) -> Placement | None:
    """All but the profile; the session ends with this, so that a second one finds its memory free."""
    session = _open(order, channel)
    channel.stage("placement")
    refuse_elsewhere(session.placement, order.provider, session.complaint)
    for job in order.jobs:
        channel.say(_workload(order, job, session, channel))
    return session.placement


def _open(order: Visit, channel: Channel) -> engines.Session:
    """The visit's session, told of before anything is done with it."""
    baseline = peak_rss_bytes()
    channel.stage("import")
    start = perf_counter_ns()
    engine = engines.named(order.engine)
    import_ns = perf_counter_ns() - start
    channel.stage("session")
    start = perf_counter_ns()
    session: engines.Session = engine.Session(order)
    load_ns = perf_counter_ns() - start
    opened = Opened(
        import_ns=import_ns,
        load_ns=load_ns,
        threads=session.threads,
        versions=engine.versions(order.provider),
        placement=session.placement,
        notes=session.notes,
        device=session.device,
        baseline_rss_bytes=baseline,
    )
    channel.say(opened)
    return session


def _workload(order: Visit, job: Job, session: engines.Session, channel: Channel) -> Measured:
    """The first feed is timed; afterwards every feed's output is held against the reference."""
    channel.stage("bind", job.workload)
    if families.generates(order.family):
        return _generation(order, job, session, channel)
    batches, expected, by = _reference(Path(job.reference))
    call = session.bind(batches[0])
    channel.stage("time", job.workload)
    # The parent reads energy counters at these two marks, so nothing may come between them and the burst.
    measured = timing.measure(call, order.effort, before_burst=partial(channel.stage, "burst", job.workload))
    channel.stage("parity", job.workload)
    checked = _check(order, session, batches, expected, by)
    return Measured(job.workload, measured, checked, peak_rss_bytes())


def _generation(order: Visit, job: Job, session: Any, channel: Channel) -> Measured:
    """One workload of a model that generates: the first prompt is timed, and all are held against the reference."""
    folder = Path(job.reference)
    batches, told = feeds.load(folder / "inputs.npz"), _told(folder)
    run = generation.Recorder(session, batches[0], job.sizes["new"])
    channel.stage("time", job.workload)
    timed = generation.measure(run, order.effort, before_burst=partial(channel.stage, "burst", job.workload))
    held = peak_rss_bytes()  # before the check, whose logits are the harness's own
    channel.stage("parity", job.workload)
    limit = order.tolerance or tolerance(order.family, order.recipe)
    if hasattr(session, "score"):
        expected = feeds.load(folder / "outputs.npz")
        checked = parity_tokens.check(session, batches, expected, run.tokens, limit, told["by"])
    else:
        checked = parity_tokens.check_texts(session, told.get("prefixes", []), limit, told["by"])
    traits = replace(session.traits(job.sizes), parameters=told.get("parameters"))
    return Measured(job.workload, timed, checked, held, traits, _transcript(run, told))


def _transcript(run: generation.Recorder, told: dict[str, Any]) -> Transcript | None:
    """What was heard, where the reference knows what was said."""
    if "label" not in told or run.tokens is None:
        return None
    # The end of sequence is no end of the generation, but it is the end of what was said.
    said = itertools.takewhile(lambda token: token not in told["end"], run.tokens[0].tolist())
    return Transcript("".join(told["pieces"][token] for token in said), told["label"])


def _reference(folder: Path) -> tuple[list[feeds.Feed], list[feeds.Feed], str]:
    """The inputs of a workload, the outputs they must lead to, and who computed those."""
    return feeds.load(folder / "inputs.npz"), feeds.load(folder / "outputs.npz"), _told(folder)["by"]


def _told(folder: Path) -> dict[str, Any]:
    """What the reference says of itself."""
    told: dict[str, Any] = json.loads((folder / "reference.json").read_text(encoding="utf-8"))
    return told


def _check(
    order: Visit, session: engines.Session, batches: list[feeds.Feed], expected: list[feeds.Feed], by: str
) -> Parity:
    """Parity over every batch, the timed one included and with the very call that was timed."""
    family = families.named(order.family)
    want: list[np.ndarray[Any, Any]] = []
    have: list[np.ndarray[Any, Any]] = []
    for feed, reference in zip(batches, expected, strict=True):
        outputs = session.outputs(session.bind(feed)())
        want.append(family.comparable(reference, feed))
        have.append(family.comparable(outputs, feed))
    limit = order.tolerance or tolerance(order.family, order.recipe)
    return parity.compare(want, have, limit, by)


def tolerance(family: str, recipe: Recipe) -> Tolerance:
    """The family's own tolerance for the number format that a recipe leaves."""
    table = families.named(family).TOLERANCES
    return Tolerance(**table[recipe.number_format])


def _profile(order: Visit, placement: Placement, channel: Channel) -> None:
    """What some profiled calls add to the placement: the last thing in a visit, since it is the first to do without."""
    engine = engines.named(order.engine)
    if not hasattr(engine, "profiled") or not _on_several(placement):
        return
    channel.stage("profile")
    try:
        feed = feeds.load(Path(order.jobs[0].reference) / "inputs.npz")[0]
        channel.say(Profiled(engine.profiled(order, placement, feed)))
    except Exception:  # noqa: BLE001 - every workload is measured by now
        traceback.print_exc()


def _on_several(placement: Placement) -> bool:
    """Whether nodes are on two providers or more, so that there are copies and time elsewhere to learn of."""
    return sum(bool(sum(ops.values())) for ops in placement.nodes.values()) > 1
