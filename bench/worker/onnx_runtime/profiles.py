"""Reads onnxruntime's profile: copies between devices, and the share of time in other providers, for each call."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import monotonic
from typing import Any

import onnxruntime as ort
from msgspec.structs import replace

from bench.records import Placement

CALLS = 6
LIMIT_S = 20.0
"""Five calls after the first are enough; if a call takes seconds, one is enough."""

Event = dict[str, Any]


def profiled(
    open_with: Callable[[Path], tuple[ort.InferenceSession, ort.RunOptions | None]],
    feed: dict[str, Any],
    ep: str,
    placement: Placement,
) -> Placement:
    """The placement with copies and times from the profile of an extra session; the profile is deleted afterwards.

    `open_with` opens the session with a prefix for its profile, and gives the options of its runs.
    """
    with tempfile.TemporaryDirectory() as folder:
        session, run_options = open_with(Path(folder) / "profile")
        end = monotonic() + LIMIT_S
        for number in range(CALLS):
            session.run(None, feed, run_options)
            # At least two calls, because the first is not counted.
            if number and monotonic() > end:
                break
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    copies, elsewhere = read(events, ep)
    return replace(placement, copies=copies, time_elsewhere=elsewhere)


def read(events: list[Event], ep: str) -> tuple[int | None, float | None]:
    """The copies in one call, and the share of its wall time in nodes of other providers.

    Both are medians over the calls after the first; None if there is no such call. A GPU node's duration is that of
    enqueueing, but a CPU node's duration and the wall time are real, so the share is valid for every provider. The
    event of a Loop covers the events of its body; they are subtracted from its time.
    """
    # The first call may include allocation and compilation.
    runs = [event for event in events if event.get("name") == "model_run"][1:]
    nodes = [event for event in events if event.get("cat") == "Node" and "provider" in event.get("args", {})]
    copies, shares = [], []
    for run in runs:
        nodes_of_run = [node for node in nodes if run["ts"] <= node["ts"] <= run["ts"] + run["dur"]]
        copies.append(sum(_is_copy(node) for node in nodes_of_run))
        times_elsewhere = [
            own_time
            for node, own_time in _own_times(nodes_of_run)
            if node["args"]["provider"] != ep and not _is_copy(node)
        ]
        # Durations are whole microseconds, so a very short run may have 0.
        if run["dur"]:
            shares.append(sum(times_elsewhere) / run["dur"])
    if not runs or not nodes:
        return None, None
    # Durations are rounded to microseconds, so those of the nodes may add up to more than the call.
    return round(median(copies)), min(1.0, median(shares)) if shares else None


def _own_times(nodes: list[Event]) -> list[tuple[Event, int]]:
    """Each node with its own time: its duration without that of the nodes in its body."""
    # A node that starts together with its body comes before it: it lasts longer.
    ordered = sorted(nodes, key=lambda node: (node["ts"], -node["dur"]))
    own_times = [node["dur"] for node in ordered]
    enclosing: list[int] = []
    for index, node in enumerate(ordered):
        while enclosing and ordered[enclosing[-1]]["ts"] + ordered[enclosing[-1]]["dur"] <= node["ts"]:
            enclosing.pop()
        if enclosing:
            own_times[enclosing[-1]] -= node["dur"]
        enclosing.append(index)
    return list(zip(ordered, own_times, strict=True))


def _is_copy(node: Event) -> bool:
    return str(node["args"].get("op_name", "")).startswith("Memcpy")
