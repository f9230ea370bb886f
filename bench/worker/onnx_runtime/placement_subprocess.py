"""Finds the placement of graphs on a provider, in a separate process if needed, and merges placements.

An engine that hides its sessions cannot report where its nodes are placed. Another session of the same graph can. In
another process it does not add to the memory of the process that is measured.
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
    """The graphs to open, and the provider to open them on."""

    provider: Provider
    graphs: tuple[str, ...]


def merge_placements(placements: Iterable[Placement | None]) -> Placement | None:
    """The sum of several graphs' placements; None if any of them is unknown."""
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
    """The placement of the graphs, found in another process; None if that process fails: its log has the reason."""
    order = msgspec.json.encode(PlacementOrder(provider, tuple(map(str, graphs))))
    # A fresh interpreter and not a fork: a forked process hangs once a provider was used.
    command = [sys.executable, "-m", __name__]
    try:
        process = subprocess.run(command, input=order, stdout=subprocess.PIPE, timeout=TIMEOUT_S, check=True)
        return msgspec.json.decode(process.stdout.splitlines()[-1], type=Placement | None)
    except (subprocess.SubprocessError, IndexError, msgspec.DecodeError) as error:
        sys.stderr.write(f"the placement of the nodes is unknown: {type(error).__name__}\n")
        return None


def main() -> None:
    """Read an order from stdin and write its placement to stdout.

    The placement is the last line: native code may print lines before it.
    """
    from bench.worker.onnx_runtime import assignment, sessions

    order = msgspec.json.decode(sys.stdin.buffer.read(), type=PlacementOrder)
    placements = []
    for graph in map(Path, order.graphs):
        # One session at a time, so that the memory of one graph is enough.
        opened = sessions.open_session(order.provider, sessions.Request(graph))
        placements.append(assignment.placement(opened.session, graph))
        del opened
    # A new line first: native code may have printed one without an end.
    sys.stdout.write(f"\n{msgspec.json.encode(merge_placements(placements)).decode()}\n")


if __name__ == "__main__":
    main()
