"""Chooses the processes of the next block of a model: as many groups of cells as the memory holds at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import psutil
from msgspec import Struct

from bench.measure.memory_check import memory_bound, weights_bytes
from bench.measure.stopping import CellStates
from bench.measure.visits import Visitor
from bench.measure.warm_session import Member
from bench.records import Cell, Run

MEMORY_SHARE = 0.8
"""The share of the free memory that the processes of a block may fill together."""
BASE_BYTES = 500 * 2**20
WEIGHTS_FACTOR = 2.5
"""A process of a model that was not measured so far: its libraries, and its weights as file, as tensors and packed."""


class Choice(Struct, frozen=True):
    """The members of the next block."""

    members: tuple[Member, ...]
    in_sequence: bool = False
    """Whether the two members do not fit into memory at once."""


def members_of(visitor: Visitor, cells: Sequence[Cell]) -> tuple[Member, ...]:
    """The processes of some cells: one a group; one a workload where a provider takes fixed shapes only."""
    groups: dict[str, list[Cell]] = {}
    for cell in cells:
        provider = visitor.provider(cell)
        fixed = provider is not None and provider.static_shapes
        groups.setdefault(cell.id if fixed else cell.group, []).append(cell)
    return tuple(Member(name, tuple(group), visitor) for name, group in groups.items())


def controls(cells: Sequence[Cell]) -> list[Cell]:
    """The cells that the others are compared with, which every block holds: the FP32 ones among them, if there are."""
    named = [cell for cell in cells if cell.control and not cell.emulated]
    full = [cell for cell in named if cell.recipe is not None and cell.recipe.number_format == "fp32"]
    return full or named


class Memory:
    """What processes need, from the blocks so far or from their weights, and what is there."""

    def __init__(self, run: Run, visitor: Visitor, states: CellStates) -> None:
        self.run, self.visitor, self.states = run, visitor, states

    def fits(self, members: Sequence[Member]) -> bool:
        """Whether the processes fit at once into the memory of the host, and of the device that they share."""
        if len(members) < 2:
            return True
        if sum(self._host_bytes(member) for member in members) > MEMORY_SHARE * psutil.virtual_memory().available:
            return False
        by_device: dict[str, list[Member]] = {}
        for member in members:
            facts = self.run.targets.get(member.cells[0].target)
            if facts and facts.device and facts.device.type != "cpu":
                by_device.setdefault(facts.device.label, []).append(member)
        return all(self._fits_device(sharing) for sharing in by_device.values())

    def _fits_device(self, members: Sequence[Member]) -> bool:
        bound = memory_bound(members[0].cells[0], self.run, None)
        return bound is None or sum(self._device_bytes(member) for member in members) <= MEMORY_SHARE * bound.size_bytes

    def _host_bytes(self, member: Member) -> int:
        seen = self._seen(member, "peak_rss_bytes")
        return seen or BASE_BYTES + int(WEIGHTS_FACTOR * (self._weights(member) or 0))

    def _device_bytes(self, member: Member) -> int:
        seen = self._seen(member, "device_memory_bytes")
        return seen or BASE_BYTES + int(WEIGHTS_FACTOR * (self._weights(member) or 0))

    def _seen(self, member: Member, field: str) -> int:
        rounds = [observation for cell in member.cells for observation in self.states.rounds[cell.id].values()]
        return max((getattr(observation, field) or 0 for observation in rounds), default=0)

    def _weights(self, member: Member) -> int | None:
        return weights_bytes(member.cells[0], self.visitor.prepared)


def choose(cells: Sequence[Cell], blocks: Mapping[str, int], visitor: Visitor, memory: Memory) -> Choice:
    """The members of the next block of a model: those with the fewest blocks first, and the control in every block.

    `cells` are those that can still be measured, `blocks` says by cell how many blocks have held it. Where the memory
    does not hold all, the rest comes in the next block. Where it does not hold a member beside the control, both run in
    sequence.
    """
    every = members_of(visitor, cells)
    control_ids = {cell.id for cell in controls(cells)}
    held = [member for member in every if control_ids & {cell.id for cell in member.cells}]
    others = sorted(
        (member for member in every if member not in held),
        key=lambda member: min(blocks.get(cell.id, 0) for cell in member.cells),
    )
    if memory.fits(every):
        return Choice(every)
    # Several controls, of several workloads with fixed shapes or of several baselines, may not fit either.
    chosen = held[:1]
    for member in [*held[1:], *others]:
        if memory.fits([*chosen, member]):
            chosen.append(member)
    if len(chosen) > 1 or not others:
        return Choice(tuple(chosen))
    return Choice((*chosen, others[0]), in_sequence=bool(chosen))
