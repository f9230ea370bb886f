"""Carries out a `Visit`: times and checks every workload of a cell in one process."""

from __future__ import annotations

import traceback
from functools import partial
from pathlib import Path
from typing import cast

from msgspec.structs import replace

from bench.records import Job, Measured, Placement, Profiled, Visit
from bench.worker import engines, families, feeds, generation, session_check, timing
from bench.worker.channel import Channel
from bench.worker.contracts import AnySession, Generator, ProfilingEngine, Session, TextGenerator
from bench.worker.memory import peak_rss_bytes


def visit(order: Visit, channel: Channel) -> None:
    """Load the model once, then time and check every workload in the order of the jobs."""
    placement = _measure(order, channel)
    if order.profile and placement is not None:
        profile_session(order, placement, channel)


def _measure(order: Visit, channel: Channel) -> Placement | None:
    """All but the profile. The session is freed at the end, so that the profiling session has its memory."""
    session = session_check.open_session(order, channel)
    for job in order.jobs:
        channel.say(_workload(order, job, session, channel))
    return session.placement


def _workload(order: Visit, job: Job, session: AnySession, channel: Channel) -> Measured:
    """Time the first feed, then compare the outputs of every feed with the reference."""
    channel.stage("bind", job.workload)
    if families.generates(order.family):
        return _generation(order, job, cast(Generator | TextGenerator, session), channel)
    session = cast(Session, session)
    batches, expected, facts = session_check.reference(Path(job.reference))
    call = session.bind(batches[0])
    channel.stage("time", job.workload)
    # The parent reads energy counters at the stages `burst` and `parity`: nothing but the bursts may be between them.
    measured = timing.measure(call, order.effort, before_burst=partial(channel.stage, "burst", job.workload))
    channel.stage("parity", job.workload)
    checked = session_check.check(order, session, batches, expected, facts)
    return Measured(job.workload, measured, checked, peak_rss_bytes())


def _generation(order: Visit, job: Job, session: Generator | TextGenerator, channel: Channel) -> Measured:
    """One workload of a model that generates: time the first prompt, then compare all prompts with the reference."""
    folder = Path(job.reference)
    batches, facts = feeds.load(folder / "inputs.npz"), session_check.reference_facts(folder)
    run = generation.Recorder(session, batches[0], job.sizes["new"])
    channel.stage("time", job.workload)
    timed = generation.measure(run, order.effort, before_burst=partial(channel.stage, "burst", job.workload))
    rss_bytes = peak_rss_bytes()  # read before the check, whose logits belong to the harness
    channel.stage("parity", job.workload)
    checked = session_check.check_generation(order, session, batches, run, folder)
    traits = replace(session.traits(job.sizes), parameters=facts.get("parameters"))
    return Measured(job.workload, timed, checked, rss_bytes, traits, session_check.transcript(run, facts))


def profile_session(order: Visit, placement: Placement, channel: Channel) -> None:
    """Send the placement with the copies and times of some profiled calls, where nodes are on several providers.

    This comes last, so that a failure here loses no measurement.
    """
    engine = engines.named(order.engine)
    if not engine.MANIFEST.profiles or not _on_several(placement):
        return
    channel.stage("profile")
    try:
        feed = feeds.load(Path(order.jobs[0].reference) / "inputs.npz")[0]
        channel.say(Profiled(cast(ProfilingEngine, engine).profiled(order, placement, feed)))
    except Exception:  # noqa: BLE001 - every workload is measured by now, and the profile's form is onnxruntime's
        traceback.print_exc()


def _on_several(placement: Placement) -> bool:
    """Whether nodes are on two or more providers; else a profile shows no copies and no time on other devices."""
    return sum(bool(sum(ops.values())) for ops in placement.nodes.values()) > 1
