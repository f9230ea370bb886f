"""A gate: the pairs of processes that it saw, what was decided of each cell, and the run that holds them."""

from __future__ import annotations

from typing import Literal

from bench.records.base import Record, Status
from bench.records.judged import Interval
from bench.records.machine import Machine, MachineState
from bench.records.notes import Note

PairKind = Literal["screen", "confirm", "null"]
"""What a pair is for: cells are screened, suspects confirmed on fresh pairs, and a null pair is the base twice."""
GateVerdict = Literal["pass", "regression", "lost-support", "inconclusive", "warning", "not-judged", "gone", "added"]
"""`warning`: stored numbers look slower and prove nothing. `not-judged`: the base has no valid speed either.

`gone`: only the base has the cell. `added`: only the new matrix has it.
"""


class Pair(Record, frozen=True):
    """One pair of fresh processes, base and new, whose bursts alternated; a line of `pairs.jsonl`."""

    cell: str
    kind: PairKind
    number: int
    """Among the cell's pairs of this kind, from 1."""
    started: str
    """UTC, ISO 8601."""
    value: float | None
    """The natural log of new over base, so above 0 is slower; None where a side failed."""
    base_ms: tuple[float, ...] = ()
    """The base's bursts in the order they were made: each burst's typical call in milliseconds."""
    new_ms: tuple[float, ...] = ()
    order: str = ""
    """Which side each burst was of: `bnnbbn…`."""
    way: Literal["side by side", "in sequence"] = "side by side"
    state: MachineState = MachineState()
    """What the machine was doing beside the two sides while they burst."""
    set_aside: bool = False
    """True where others used the processor meanwhile, so that the pair was made again: it is in no verdict."""
    failure: str = ""
    """Where a side failed: which, and how."""
    seconds: float = 0.0


class NullControl(Record, frozen=True):
    """Base against base in the same gate: what the machine makes of no difference at all."""

    pairs: int
    change: Interval | None
    """Relative change with its 95 % interval, 0.01 for 1 %; None with too few pairs."""
    fine: bool
    reason: str
    """The words of `reason_facts`."""
    reason_facts: tuple[Note, ...] = ()


class GateCell(Record, frozen=True):
    """What a gate says of one cell."""

    cell: str
    verdict: GateVerdict
    reason: str
    """The words of `reason_facts`."""
    remedy: str = ""
    stage: Literal["screen", "confirm", "support", "stored", ""] = ""
    """What decided; empty where nothing was measured."""
    change: Interval | None = None
    """Relative change of the time of a call with its 95 % interval: 0.031 is 3.1 % slower, -0.05 is 5 % faster."""
    pairs: int = 0
    """Pairs of fresh processes behind `change`."""
    detectable: float | None = None
    """The smallest slowdown that these pairs would have shown four times in five, 0.03 for 3 %."""
    base_ms: Interval | None = None
    new_ms: Interval | None = None
    """Typical call of each side in milliseconds, with its 95 % interval over pairs (or rounds, of stored numbers)."""
    base_status: Status | None = None
    new_status: Status | None = None
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    """Wall time that the cell's pairs took."""
    reason_facts: tuple[Note, ...] = ()
    """Why the verdict is what it is, as kinds with values."""


class GateRun(Record, frozen=True):
    """`gate.json`: the whole of one gate."""

    schema: int
    bench_version: str
    created: str
    name: str
    command: str
    machine: Machine
    base: str
    """Name of the run that is the base."""
    base_created: str
    differences: tuple[str, ...]
    """What differs between base and new, in words: `onnxruntime 1.30.0 -> 1.31.1 in runtime 'ort'`."""
    null: NullControl
    cells: tuple[GateCell, ...]
    exit_code: int
    verdict: str
    """The answer in one sentence."""
    notes: tuple[str, ...] = ()
    """What a reader must know of how the gate was run, e.g. that the base could not be re-run."""
    minutes: float = 0.0
    budget_minutes: float | None = None
    effects: dict[str, float] = {}
    """The rules that decided: `suspect`, `clear`, `regression`, `q` …"""
    difference_facts: tuple[Note, ...] = ()
    """`differences` as kinds with values."""
    verdict_facts: tuple[Note, ...] = ()
    """`verdict` as kinds with values."""
    note_facts: tuple[Note, ...] = ()
    """`notes` as kinds with values."""
