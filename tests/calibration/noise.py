"""Simulate the log ratios of pairs of identical processes on a kind of machine.

A pair is two processes of twelve bursts each, which take turns in a random order. The time of a burst has three parts:
a constant of its process (memory layout, placement), the state of the machine, which the next burst of the other side
shares, and its own jitter. The value of a pair is computed as in the product: the log ratio of the fast bursts on a
shared machine, elsewhere the median over the turns of log(new / base).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import signal, special

from bench.judge.bursts import FAST

TURNS = 12
"""Bursts of each side in a pair; the product makes sixteen, which scatter less."""
SLOTS = 70
"""Bursts that fit between the starts of two pairs; loading and warm-up take more than half of that time."""
SLOT_S = 0.085
"""Seconds of a burst with what comes before and after it."""
NOTICED = 0.2
"""A load during this share of a pair's bursts makes it count as disturbed: half of two cores is 10 % on average."""
TAILS = 4
"""Degrees of freedom of a burst's jitter: Student's t has more outliers than a normal distribution."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Loads:
    """Work of others for seconds at a time, about once a minute."""

    apart_s: float = 60.0
    """Mean time from one to the next (exponential)."""
    lasts_s: float = 4.0
    """Mean duration (exponential)."""
    least: float = 0.10
    most: float = 0.50
    """A load slows calls by a share between these two; each burst gets between half and one and a half of it."""
    seen: float = 0.0
    """The probability that the system reports a load, as time stolen or used by others: such pairs are set aside."""


@dataclass(frozen=True)
class Flip:
    """A slow state of the machine that comes and goes."""

    share: float
    """The share of time in it."""
    lasts_s: float
    """Mean duration (exponential)."""
    cost: float
    """How much slower it is, in log time; each burst gets between 0.7 and 1.3 of it."""


@dataclass(frozen=True)
class Kind:
    """The disturbances of one kind of machine, in log time: 0.01 is 1 %."""

    name: str
    process: float
    """Standard deviation of the constant of a process."""
    jitter: float
    """Standard deviation of a burst's own jitter."""
    drift: float
    """Standard deviation of the slow drift of the machine, which all processes share."""
    memory: float
    """Correlation of the drift from one burst to the next."""
    mode: tuple[float, float] = (0.0, 0.0)
    """The probability that a process is in a slow mode, and the slowdown of that mode."""
    contention: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """The share of time in which something else runs, the slowdown, and the correlation between bursts."""
    spikes: tuple[float, float] = (0.0, 0.0)
    """The probability that a burst is delayed, and the mean delay (exponential)."""
    loads: Loads | None = None
    """Work of other programs or guests that comes and goes; None for none."""
    flips: tuple[Flip, ...] = ()
    """What other guests do: the machine is slow for a while, again and again."""
    shared: bool = False
    """Whether the product takes the machine for a shared one, and compares the fast bursts."""
    bimodal: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """The share of cells with two modes, the probability of a process to be in the slow one, and its slowdown."""


QUIET = Kind("quiet", process=0.002, jitter=0.003, drift=0.004, memory=0.994)
SHARED_VM = Kind(
    "shared VM",
    process=0.005,
    jitter=0.01,
    drift=0.042,
    memory=0.9875,
    mode=(0.03, 0.015),
    spikes=(0.015, 0.10),
    shared=True,
)
"""These figures were measured on a 2-core VM: see `test_the_shared_vm_is_the_one_that_was_measured`."""
FLIPPING_VM = replace(
    SHARED_VM,
    name="shared VM that others slow",
    drift=0.02,
    flips=(Flip(0.2, 0.15, 0.3), Flip(0.2, 3.0, 0.3)),
)
"""The same VM on another day: see `test_on_another_day_other_guests_slowed_the_vm_as_was_measured`."""
LAPTOP = Kind(
    "throttling laptop",
    process=0.0065,
    jitter=0.014,
    drift=0.06,
    memory=0.9915,
    contention=(0.35, 0.18, 0.983),
    spikes=(0.01, 0.08),
)
"""The contention models heat: a third of the time the clock is lower by a sixth, for some seconds each."""
BUSY = Kind(
    "busy",
    process=0.016,
    jitter=0.06,
    drift=0.08,
    memory=0.971,
    mode=(0.10, 0.06),
    contention=(0.30, 0.35, 0.88),
    spikes=(0.06, 0.30),
)
SHIFTING_VM = Kind(
    "shared VM with shifts and loads",
    process=0.007,
    jitter=0.01,
    drift=0.042,
    memory=0.9875,
    bimodal=(0.13, 0.4, 0.045),
    spikes=(0.015, 0.10),
    loads=Loads(),
    shared=True,
)
"""With the looks of earlier versions (6, 12 and 24 pairs), one in five gates without a change could not tell."""
SHIFTING_LAPTOP = Kind(
    "laptop with shifts and loads",
    process=0.0065,
    jitter=0.014,
    drift=0.06,
    memory=0.9915,
    bimodal=(0.05, 0.3, 0.02),
    contention=(0.35, 0.18, 0.983),
    spikes=(0.01, 0.08),
    loads=Loads(most=0.40),
)
"""With the looks of earlier versions, one in nine gates without a change could not tell."""
KINDS = (QUIET, SHARED_VM, FLIPPING_VM, LAPTOP, BUSY, SHIFTING_VM, SHIFTING_LAPTOP)


def reporting(kind: Kind) -> Kind:
    """The same machine, where the system reports every load: pairs beside one are set aside and made again."""
    assert kind.loads is not None
    return replace(kind, name=f"{kind.name}, reported", loads=replace(kind.loads, seen=1.0))


class Noise:
    """An endless series of pairs on one machine; the state of the machine continues from pair to pair."""

    def __init__(self, kind: Kind, seed: int | tuple[int, ...], ahead: int = 256) -> None:
        self.kind, self.ahead = kind, ahead
        self.rng = np.random.default_rng(seed)
        self.drift, self.load = self.rng.normal(size=2)
        self.slow = [bool(self.rng.random() < flip.share) for flip in kind.flips]
        self.values: list[tuple[float, bool]] = []
        self.reported: list[bool] = []
        """For each pair of the last `bursts`, whether it counts as disturbed."""

    def next(self) -> float:
        """The log ratio of the next pair of identical processes."""
        return self.pair()[0]

    def pair(self) -> tuple[float, bool]:
        """The log ratio of the next pair, and whether the system reports that others used the processor during it."""
        if not self.values:
            base, new = self.bursts(self.ahead)
            # Reversed, since `pop` takes from the end.
            self.values = list(zip(self.value(base, new)[::-1].tolist(), self.reported[::-1], strict=True))
        return self.values.pop()

    def value(self, base: Array, new: Array) -> Array:
        """The log ratio of each pair, as `bench.judge.bursts` computes it."""
        if self.kind.shared:
            fast: Array = np.percentile(new, FAST, axis=1) - np.percentile(base, FAST, axis=1)
            return fast
        return np.asarray(np.median(new - base, axis=1))

    def bursts(self, pairs: int, *, alternating: bool = True) -> tuple[Array, Array]:
        """Log times of the bursts of base and new, each of shape (pairs, TURNS).

        If not alternating, all bursts of base come first.
        """
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
        """The state of the machine in log time, by pair and slot."""
        drift, self.drift = self._series(pairs, self.kind.memory, self.drift)
        share, cost, memory = self.kind.contention
        state = self.kind.drift * drift
        if share:
            load, self.load = self._series(pairs, memory, self.load)
            state = state + cost * (load > -special.ndtri(share))
        for place, flip in enumerate(self.kind.flips):
            state = state + self._flips(pairs, flip, place)
        return state + self._loads(pairs)

    def _flips(self, pairs: int, flip: Flip, place: int) -> Array:
        """What a slow state adds in log time, by pair and slot; it goes on from the last pair."""
        slots, slow, at = np.zeros(pairs * SLOTS), self.slow[place], 0.0
        while at < slots.size:
            mean_s = flip.lasts_s if slow else flip.lasts_s * (1 - flip.share) / flip.share
            ends = at + self.rng.exponential(mean_s / SLOT_S)
            # A state that ends within a burst slows that burst by its part.
            first, last = int(at), min(int(ends), slots.size - 1)
            if slow and first == last:
                slots[first] += min(ends, slots.size) - at
            elif slow:
                slots[first] += first + 1 - at
                slots[first + 1 : last] += 1
                slots[last] += ends - last if ends < slots.size else 1
            at, slow = ends, not slow
        self.slow[place] = not slow
        slots *= flip.cost * self.rng.uniform(0.7, 1.3, size=slots.size)
        return slots.reshape(pairs, SLOTS)[:, -2 * TURNS :]

    def _loads(self, pairs: int) -> Array:
        """What the work of others adds in log time, by pair and slot."""
        slots, loads = np.zeros(pairs * SLOTS), self.kind.loads
        seen = slots.copy()
        if loads is None:
            self.reported = [False] * pairs
            return slots.reshape(pairs, SLOTS)[:, -2 * TURNS :]
        end = pairs * SLOTS * SLOT_S
        moment = self.rng.exponential(loads.apart_s)
        while moment < end:
            lasts = self.rng.exponential(loads.lasts_s)
            cost = self.rng.uniform(loads.least, loads.most)
            active = slice(int(moment / SLOT_S), int((moment + lasts) / SLOT_S) + 1)
            slots[active] += math.log1p(cost)
            seen[active] += self.rng.random() < loads.seen
            moment += lasts + self.rng.exponential(loads.apart_s)
        slots *= self.rng.uniform(0.5, 1.5, size=slots.size)
        bursting = seen.reshape(pairs, SLOTS)[:, -2 * TURNS :]
        self.reported = (bursting.mean(axis=1) > NOTICED).tolist()
        return slots.reshape(pairs, SLOTS)[:, -2 * TURNS :]

    def _series(self, pairs: int, memory: float, last: float) -> tuple[Array, float]:
        """A Gaussian series of unit variance that continues from `last`, at the bursts of pairs, and its last value."""
        # This size of shocks gives the autoregressive series unit variance.
        shocks = self.rng.normal(size=pairs * SLOTS) * math.sqrt(1 - memory**2)
        series, _ = signal.lfilter([1.0], [1.0, -memory], shocks, zi=[memory * last])
        return series.reshape(pairs, SLOTS)[:, -2 * TURNS :], float(series[-1])

    def _own(self, pairs: int) -> Array:
        """Each burst's own jitter and spikes, by pair and slot."""
        size = (pairs, 2 * TURNS)
        # Student's t has the variance n / (n - 2), which is divided out.
        jitter = self.rng.standard_t(TAILS, size=size) * self.kind.jitter / math.sqrt(TAILS / (TAILS - 2))
        chance, mean = self.kind.spikes
        return jitter + (self.rng.random(size) < chance) * self.rng.exponential(mean or 1.0, size)

    def _stuck(self, pairs: int) -> Array:
        """The constants of the processes of one side, of shape (pairs, 1)."""
        chance, cost = self.kind.mode
        mode = (self.rng.random(pairs) < chance) * cost
        return (self.rng.normal(size=pairs) * self.kind.process + mode)[:, None]
