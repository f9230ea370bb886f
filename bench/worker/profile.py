"""Profiles some calls of a session, for the copies between devices and the time on other devices."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import cast

from bench.records import Placement, Profiled, Visit
from bench.worker import engines, feeds
from bench.worker.channel import Channel
from bench.worker.contracts import ProfilingEngine


def profile_session(visit: Visit, placement: Placement, channel: Channel) -> None:
    """Send the placement with the copies and times of some profiled calls, where nodes are on several providers.

    This comes last, so that a failure here loses no measurement.
    """
    engine = engines.named(visit.engine)
    if not engine.MANIFEST.profiles or not _on_several(placement):
        return
    channel.stage("profile")
    try:
        feed = feeds.load(Path(visit.jobs[0].reference) / "inputs.npz")[0]
        channel.say(Profiled(cast(ProfilingEngine, engine).profiled(visit, placement, feed)))
    except Exception:  # noqa: BLE001 - every workload is measured by now, and the profile's form is onnxruntime's
        traceback.print_exc()


def _on_several(placement: Placement) -> bool:
    """Whether nodes are on two or more providers; else a profile shows no copies and no time on other devices."""
    return sum(bool(sum(ops.values())) for ops in placement.nodes.values()) > 1
