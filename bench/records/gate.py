"""Records of a gate: its pairs of processes, the verdict on each cell, and the run that holds them."""

from __future__ import annotations

from typing import Literal

from bench.records.base import Note, Record, Status
from bench.records.judged import Interval, TaskResult
from bench.records.machine import Machine, MachineState

PairKind = Literal["screen", "confirm", "null"]
"""What a pair is for: cells are screened, suspects confirmed on fresh pairs, and a null pair is the base twice."""
GateVerdict = Literal[
    "pass", "regression", "lost-support", "worse-answers", "inconclusive", "warning", "not-judged", "gone", "added"
]
"""`warning`: stored numbers look slower and prove nothing. `not-judged`: the base has no valid speed either.

`worse-answers`: the labelled samples are scored worse. `gone`: only the base has the cell. `added`: only the new
matrix has it.
"""


class Pair(Record, frozen=True):
    """One pair of fresh processes, base and new, whose bursts alternated; a line of `pairs.jsonl`."""

    cell: str
    kind: PairKind
    number: int
    """The number among the cell's pairs of this kind, from 1."""
    started: str
    """UTC, ISO 8601."""
    value: float | None
    """The natural logarithm of the time of new over base, above 0 where new is slower; None where a side failed."""
    base_ms: tuple[float, ...] = ()
    """The typical call of each burst of the base, in milliseconds, in order."""
    new_ms: tuple[float, ...] = ()
    order: str = ""
    """The side of each burst, `b` for base and `n` for new: `bnnbbn…`."""
    way: Literal["side by side", "in sequence"] = "side by side"
    state: MachineState = MachineState()
    """The state of the machine during the bursts."""
    set_aside: bool = False
    """True where other processes used the CPU: the pair was discarded and measured again, and no verdict uses it."""
    failure: str = ""
    """Which side failed and how; empty where none did."""
    seconds: float = 0.0


class NullControl(Record, frozen=True):
    """The base against itself in the same gate: what the machine shows where there is no difference."""

    pairs: int
    change: Interval | None
    """Relative change with its 95 % interval, 0.01 for 1 %; None with too few pairs."""
    fine: bool
    reason: str
    """`reason_facts` as text."""
    reason_facts: tuple[Note, ...] = ()


# Facts are for programs, and the words beside them for people who read `gate.json` without this package.
class GateCell(Record, frozen=True):
    """The verdict of a gate on one cell."""

    cell: str
    verdict: GateVerdict
    reason: str
    """`reason_facts` as text."""
    remedy: str = ""
    stage: Literal["screen", "confirm", "support", "stored", "labels", ""] = ""
    """The stage that decided; empty where nothing was measured."""
    change: Interval | None = None
    """Relative change of the time of a call with its 95 % interval: 0.031 is 3.1 % slower, -0.05 is 5 % less time."""
    pairs: int = 0
    """Pairs of fresh processes behind `change`."""
    detectable: float | None = None
    """The smallest slowdown that these pairs detect with 80 % power, 0.03 for 3 %."""
    base_ms: Interval | None = None
    new_ms: Interval | None = None
    """Typical call of each side in milliseconds, with its 95 % interval over pairs (or rounds, of stored numbers)."""
    base_status: Status | None = None
    new_status: Status | None = None
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    """Wall time of the cell's pairs."""
    task: TaskResult | None = None
    """The task metric of the new side on labelled samples; its reference is the base. None without labels."""
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
    """The verdict in one sentence."""
    notes: tuple[str, ...] = ()
    """Warnings about how the gate ran, e.g. that the base could not be run again."""
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
