"""Graphs and a provider in, where their nodes are placed out; in a process of its own where the caller must hold none.

An engine that hides its sessions cannot say where its nodes are. Another session of the same graph can, and in another
process it adds nothing to the memory of the one that is measured.
"""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import msgspec

from bench.records import Placement, Provider

TIMEOUT_S = 600.0


class PlacementOrder(msgspec.Struct, frozen=True):
    """What is opened: every graph on the provider."""

    provider: Provider
    graphs: tuple[str, ...]


def merge_placements(placements: Iterable[Placement | None]) -> Placement | None:
    """The placement of several graphs as one; None where that of any cannot be told."""
    listed = list(placements)
    known = [placement for placement in listed if placement is not None]
    if not known or len(known) < len(listed):
        return None
    nodes = _sum_counts(placement.nodes for placement in known)
    return Placement(
        nodes=nodes, source=known[0].source, shape_nodes=_sum_counts(placement.shape_nodes for placement in known)
    )


def _sum_counts(tables: Iterable[dict[str, dict[str, int]]]) -> dict[str, dict[str, int]]:
    total: dict[str, Counter[str]] = {}
    for table in tables:
        for ep, ops in table.items():
            total.setdefault(ep, Counter()).update(ops)
    return {ep: dict(sorted(ops.items())) for ep, ops in total.items()}


def placement_in_subprocess(provider: Provider, graphs: Iterable[Path]) -> Placement | None:
    """The placement as another process finds it; None where it does not come that far, and its log says why."""
    order = msgspec.json.encode(PlacementOrder(provider, tuple(map(str, graphs))))
    command = [sys.executable, "-m", __name__]
    try:
        process = subprocess.run(command, input=order, stdout=subprocess.PIPE, timeout=TIMEOUT_S, check=True)
        return msgspec.json.decode(process.stdout.splitlines()[-1], type=Placement | None)
    except (subprocess.SubprocessError, IndexError, msgspec.DecodeError) as error:
        sys.stderr.write(f"where the nodes are cannot be told: {type(error).__name__}\n")
        return None


def main() -> None:
    """Answer one question, on the last line of stdout."""
    from bench.worker.onnx_runtime import assignment, sessions

    order = msgspec.json.decode(sys.stdin.buffer.read(), type=PlacementOrder)
    placements = []
    for graph in map(Path, order.graphs):
        # One after another, so that two of them never hold memory at the same time.
        opened = sessions.open_session(order.provider, sessions.Request(graph))
        placements.append(assignment.placement(opened.session, graph))
        del opened
    sys.stdout.write(f"\n{msgspec.json.encode(merge_placements(placements)).decode()}\n")


if __name__ == "__main__":
    main()
