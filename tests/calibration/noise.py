"""A kind of machine and a seed in; the log ratios of pairs of identical processes, as they would be measured, out.

A pair is two processes of six bursts each, the two taking turns in an order drawn anew for each turn. A burst's time is
made of what its process is stuck with (memory layout, placement), of what the machine does at that moment and the other
side's burst a moment later sees too, and of its own jitter. The value of a pair is the product's: the median over the
six turns of log(new / base).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import signal, special

TURNS = 6
"""Bursts of each side in a pair."""
SLOTS = 40
"""Bursts that would fit into the time between the starts of two pairs: loading and warming up take more than half."""
TAILS = 4
"""Degrees of freedom of a burst's jitter: Student's t has outliers that a normal law does not."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Kind:
    """What disturbs one kind of machine; sizes are log time, 0.01 for 1 %."""

    name: str
    process: float
    """Standard deviation of what a process is stuck with."""
    jitter: float
    """Standard deviation of a burst's own."""
    drift: float
    """Standard deviation of the machine's slow change, which is common to all processes of a moment …"""
    memory: float
    """… and its correlation from one burst to the next."""
    mode: tuple[float, float] = (0.0, 0.0)
    """The chance of a process of being in its slow mode, and how slow that is."""
    contention: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """The share of time in which something else runs, what that costs, and its memory as of `drift`."""
    spikes: tuple[float, float] = (0.0, 0.0)
    """The chance of a burst of being held up, and by how much in the mean (exponential)."""


QUIET = Kind("quiet", process=0.002, jitter=0.002, drift=0.004, memory=0.99)
SHARED_VM = Kind(
    "shared VM",
    process=0.005,
    jitter=0.007,
    drift=0.042,
    memory=0.978,
    mode=(0.03, 0.015),
    spikes=(0.03, 0.10),
)
"""Its figures are those measured on a 2-core VM: see `test_the_shared_vm_is_the_one_that_was_measured`."""
LAPTOP = Kind(
    "throttling laptop",
    process=0.005,
    jitter=0.008,
    drift=0.06,
    memory=0.985,
    contention=(0.35, 0.18, 0.97),
    spikes=(0.02, 0.08),
)
"""Its contention is heat: for a third of the time the clock is lower by a sixth, in stretches of some seconds."""
BUSY = Kind(
    "busy",
    process=0.012,
    jitter=0.03,
    drift=0.08,
    memory=0.95,
    mode=(0.10, 0.06),
    contention=(0.30, 0.35, 0.80),
    spikes=(0.10, 0.30),
)
KINDS = (QUIET, SHARED_VM, LAPTOP, BUSY)


class Noise:
    """An endless series of pairs on one machine, in the order of time; its state goes on from pair to pair."""

    def __init__(self, kind: Kind, seed: int | tuple[int, ...], ahead: int = 256) -> None:
        self.kind, self.ahead = kind, ahead
        self.rng = np.random.default_rng(seed)
        self.drift, self.load = self.rng.normal(size=2)
        self.values: list[float] = []

    def next(self) -> float:
        """The log ratio of the next pair of identical processes."""
        if not self.values:
            base, new = self.bursts(self.ahead)
            self.values = np.median(new - base, axis=1)[::-1].tolist()
        return self.values.pop()

    def bursts(self, pairs: int, *, alternating: bool = True) -> tuple[Array, Array]:
        """Log times of the bursts of base and new, `pairs` x `TURNS` each; not alternating, all of base come first."""
        moments = self._machine(pairs) + self._own(pairs)
        if alternating:
            turns = moments.reshape(pairs, TURNS, 2)
            first = self.rng.integers(0, 2, size=(pairs, TURNS, 1))
            base = np.take_along_axis(turns, first, axis=2)[..., 0]
            new = np.take_along_axis(turns, 1 - first, axis=2)[..., 0]
        else:
            base, new = moments[:, :TURNS], moments[:, TURNS:]
        return base + self._stuck(pairs), new + self._stuck(pairs)

    def _machine(self, pairs: int) -> Array:
        """What is common to all processes of a moment, by pair and slot in it."""
        drift, self.drift = self._series(pairs, self.kind.memory, self.drift)
        share, cost, memory = self.kind.contention
        state = self.kind.drift * drift
        if share:
            load, self.load = self._series(pairs, memory, self.load)
            state = state + cost * (load > -special.ndtri(share))
        return state

    def _series(self, pairs: int, memory: float, last: float) -> tuple[Array, float]:
        """A Gaussian series with unit variance that goes on from `last`, at the bursts of pairs; and its last value."""
        shocks = self.rng.normal(size=pairs * SLOTS) * math.sqrt(1 - memory**2)
        series, _ = signal.lfilter([1.0], [1.0, -memory], shocks, zi=[memory * last])
        return series.reshape(pairs, SLOTS)[:, -2 * TURNS :], float(series[-1])

    def _own(self, pairs: int) -> Array:
        """Each burst's own jitter and spikes, by pair and slot."""
        size = (pairs, 2 * TURNS)
        jitter = self.rng.standard_t(TAILS, size=size) * self.kind.jitter / math.sqrt(TAILS / (TAILS - 2))
        chance, mean = self.kind.spikes
        return jitter + (self.rng.random(size) < chance) * self.rng.exponential(mean or 1.0, size)

    def _stuck(self, pairs: int) -> Array:
        """What the processes of one side are stuck with, a column."""
        chance, cost = self.kind.mode
        mode = (self.rng.random(pairs) < chance) * cost
        return (self.rng.normal(size=pairs) * self.kind.process + mode)[:, None]
