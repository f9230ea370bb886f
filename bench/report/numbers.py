"""Writes numbers as text. All rounding and every choice of a unit happens in this module."""

from __future__ import annotations

import math
from typing import NamedTuple

from bench.records import Interval

DASH = "–"
NO_INTERVAL = "no interval"
UNUSABLE = "no usable interval"
NO_DIFFERENCE = "no difference shown"
DIGITS = 3
"""How many significant figures a number has by default."""
WIDE_RATIO = 1.5
"""Above this ratio of the upper to the lower end, an interval is written as its ends and not as ±."""
UNUSABLE_RATIO = 1000
"""Above this ratio of the upper to the lower end, an interval says nothing."""


class Shown(NamedTuple):
    """An interval as text. `range` is `12.1–12.5`, or says why there is no interval."""

    value: str
    low: str | None
    high: str | None
    range: str


def significant(value: float | None, digits: int = DIGITS) -> str:
    """A number with `digits` significant figures and a comma between thousands: `0.0123`, `12,300`, `1.23e-7`."""
    if value is None or not math.isfinite(value):
        return DASH
    if value == 0:
        return "0"
    if abs(value) < 1e-4:
        mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
        return f"{mantissa}e{int(exponent)}"
    return _rounded(value, _exponent(value) - digits + 1)


def count(value: int | None) -> str:
    """A whole number with a comma between thousands."""
    return DASH if value is None else f"{value:,}"


def shown(interval: Interval) -> Shown:
    """An interval rounded to three figures, or to fewer if its width does not support three."""
    place = _place(interval)
    value = _rounded(interval.value, place)
    if interval.low is None or interval.high is None:
        return Shown(value, None, None, NO_INTERVAL)
    if not is_usable(interval):
        return Shown(value, None, None, UNUSABLE)
    wide = _is_wide(interval)
    low, high = (_rounded(end, _own_place(end, place) if wide else place) for end in (interval.low, interval.high))
    return Shown(value, low, high, f"{low}–{high}")


def plus_minus(interval: Interval, unit: str = "") -> str:
    """`12.3 ± 0.4 ms` with half of the interval's width, or `20 ms (1–190)` for a wide interval."""
    text = shown(interval)
    if interval.low is None or interval.high is None or text.low is None:
        return f"{text.value}{unit} · {text.range}"
    if _is_wide(interval):
        return f"{text.value}{unit} ({text.range})"
    half = (interval.high - interval.low) / 2
    # A half width below the last place of the value would be printed as 0.
    return f"{text.value} ± {_rounded(half, min(_place(interval), _exponent(half)))}{unit}"


def ratio(interval: Interval | None) -> str:
    """`1.83× (1.79–1.88)`, or `no difference shown (0.98–1.04)`."""
    if interval is None:
        return DASH
    text = shown(interval)
    if interval.low is None:
        return f"{text.value}× · {text.range}"
    if not is_difference(interval):
        return f"{NO_DIFFERENCE} ({text.range})"
    return f"{text.value}× ({text.range})"


def versus(interval: Interval | None, other: str = "") -> str:
    """A ratio in words: `1.15× torch-eager, ± 3 %`, or `no difference shown to torch-eager (within 4 %)`.

    `within` is the largest difference that the interval allows. A wide interval is written as its ends.
    """
    if interval is None:
        return DASH
    low, high = interval.low, interval.high
    if low is None or high is None or is_difference(interval):
        return factor(interval, other)
    words = f"{NO_DIFFERENCE} to {other}" if other else NO_DIFFERENCE
    # Half as fast is as large a difference as twice as fast.
    return f"{words} ({UNUSABLE if shown(interval).low is None else f'within {_bound(max(high, 1 / low))}'})"


def factor(interval: Interval, other: str = "") -> str:
    """`1.15× torch-eager, ± 3 %`, also where no difference is shown; `2.3× torch-eager (1.1–4.8)` where it is wide."""
    text = shown(interval)
    low, high = interval.low, interval.high
    words = f"{text.value}× {other}".rstrip()
    if low is None or high is None or text.low is None:
        return f"{words}, {text.range}"
    if _is_wide(interval):
        return f"{words} ({text.range})"
    return f"{words}, ± {percent((high - low) / 2 / interval.value)}"


def _bound(factor: float) -> str:
    """`4 %`, and from twice as much on `2.6×`."""
    return percent(factor - 1) if factor < 2 else f"{significant(factor, 2)}×"


def difference(share: float) -> str:
    """A relative difference: `2.7 %`, and from twice as much on `a factor of 2.5`."""
    if share < 1:
        return percent(share)
    if share > UNUSABLE_RATIO:
        return f"a factor of {UNUSABLE_RATIO:,} and more"
    return f"a factor of {significant(share + 1, 2)}"


def times(interval: Interval | None) -> str:
    """`2.1x (1.4–3.3)`, even if the interval contains 1."""
    if interval is None:
        return DASH
    text = shown(interval)
    return f"{text.value}x ({text.range})"


def is_difference(interval: Interval) -> bool:
    """True if the printed interval of a ratio does not contain 1.

    The printed ends decide, so that no line reads "1.02× (1.00–1.04)" and calls that a difference.
    """
    text = shown(interval)
    if text.low is None or text.high is None or interval.value <= 0:
        return False
    return not _number(text.low) <= 1 <= _number(text.high)


def change(interval: Interval | None) -> str:
    """A relative change in percent, `+5.1 % (4.2 to 6.0)` for 0.051, with as many figures as its width supports.

    The figures end between whole percents and hundredths. A change is near 0, so its own first figure cannot decide.
    """
    if interval is None or not math.isfinite(interval.value):
        return DASH
    low, high = interval.low, interval.high
    width = None if low is None or high is None else 100 * (high - low)
    place = min(max(_supported(width / 2) if width and math.isfinite(width) else -1, -2), 0)
    value = f"{_signed(100 * interval.value, place)} %"
    if low is None or high is None:
        return f"{value} · no interval"
    # A change of -0.5 to 0.5 has no ratio of its ends; the factors 0.5 to 1.5 behind it have one.
    if not is_usable(Interval(1 + interval.value, 1 + low, 1 + high)):
        return f"{value} · {UNUSABLE}"
    return f"{value} ({_rounded_end(100 * low, place)} to {_rounded_end(100 * high, place)})"


def signed(interval: Interval | None, unit: str) -> str:
    """A difference that may be below 0 with its interval, `+0.8 points (-0.4 to 2.1)`, to hundredths at the most."""
    if interval is None or not math.isfinite(interval.value):
        return DASH
    low, high = interval.low, interval.high
    if low is None or high is None:
        return f"{_signed(interval.value, -2)} {unit}"
    place = min(max(_supported((high - low) / 2) if high > low else -2, -2), 0)
    return f"{_signed(interval.value, place)} {unit} ({_rounded_end(low, place)} to {_rounded_end(high, place)})"


def given(value: float | None) -> str:
    """A figure from a matrix or an option, as short as it was written there: `0.98`."""
    return DASH if value is None else f"{value:g}"


def cosine(value: float | None) -> str:
    """As many figures as distinguish it from 1, and one more: `0.9901`, `0.9999960`."""
    if value is None or not math.isfinite(value):
        return DASH
    if value >= 1:
        return "1"
    # -log10(1 - value) counts the nines: 0.990 of an INT8 model and 0.999999 of FP16 must both be readable.
    return f"{value:.{max(4, math.floor(-math.log10(1 - value)) + 2)}f}"


def is_usable(interval: Interval) -> bool:
    """False if the ends are so far apart that the interval says nothing, as after two rounds that disagree."""
    if interval.low is None or interval.high is None:
        return True
    return math.isfinite(interval.high) and interval.low >= 0 and interval.high <= UNUSABLE_RATIO * interval.low


def duration(milliseconds: float | None) -> str:
    """A time in milliseconds, written in the unit that reads best: `85.0 µs`, `12.3 ms`, `1.24 s`, `2 min 5 s`."""
    if milliseconds is None or not math.isfinite(milliseconds):
        return DASH
    if milliseconds >= 120_000:
        minutes, seconds = divmod(round(milliseconds / 1000), 60)
        return f"{minutes:,} min {seconds} s"
    # From 999.5 on, a value with three figures rounds to 1,000 ms.
    if milliseconds >= 999.5:
        return f"{significant(milliseconds / 1000)} s"
    if 0 < milliseconds < 0.1:
        return f"{significant(milliseconds * 1000)} µs"
    return f"{significant(milliseconds)} ms"


def in_time(milliseconds: Interval) -> tuple[Interval, str]:
    """An interval in milliseconds, converted to the unit that reads best, and that unit."""
    if milliseconds.value >= 999.5:
        return scaled(milliseconds, 1e-3), "s"
    return (scaled(milliseconds, 1e3), "µs") if 0 < milliseconds.value < 0.1 else (milliseconds, "ms")


def in_energy(joules: Interval) -> tuple[Interval, str]:
    """An interval in joules, converted to the unit that reads best, and that unit."""
    # From 0.9995 on, a value with three figures rounds to 1.00 of the unit.
    for unit, size_j in (("J", 1.0), ("mJ", 1e-3)):
        if joules.value >= 0.9995 * size_j:
            return scaled(joules, 1 / size_j), unit
    return scaled(joules, 1e6), "µJ"


def time(milliseconds: Interval | None) -> str:
    """`84.6 ± 1.7 ms`, `1.24 ± 0.03 s`."""
    return DASH if milliseconds is None else _with_unit(*in_time(milliseconds))


def cpu(milliseconds: Interval | None, cores: Interval | None) -> str:
    """`38.1 ms, 1.9 cores`: the CPU time of a call, and the cores that it keeps busy."""
    if milliseconds is None:
        return DASH
    interval, unit = in_time(milliseconds)
    return f"{shown(interval).value} {unit}" + ("" if cores is None else f", {significant(cores.value, 2)} cores")


def joules(interval: Interval | None) -> str:
    """`12.3 ± 0.4 mJ`."""
    return DASH if interval is None else _with_unit(*in_energy(interval))


def scaled(interval: Interval, factor: float) -> Interval:
    """The same interval in another unit."""
    low, high = (None if end is None else end * factor for end in (interval.low, interval.high))
    return Interval(interval.value * factor, low, high)


def size(size_bytes: float | None) -> str:
    """Bytes in the binary unit that reads best: `412 MiB`, `7.75 GiB`."""
    if size_bytes is None:
        return DASH
    amount = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        # 1000 to 1023 of a unit are written in the next one, which needs three figures only.
        if amount < 1000:
            return f"{amount:.0f} B" if unit == "B" else f"{significant(amount)} {unit}"
        amount /= 1024
    return f"{significant(amount)} TiB"


def percent(share: float | None) -> str:
    """A share of 1 with at most two figures: `2.7 %`, `2 %`."""
    if share is None or not math.isfinite(share):
        return DASH
    text = significant(share * 100, 2)
    return f"{text.rstrip('0').rstrip('.') if '.' in text else text} %"


def _with_unit(interval: Interval, unit: str) -> str:
    return plus_minus(interval, f" {unit}")


def _place(interval: Interval) -> int:
    """The power of ten of the last figure to print: 12.345 ± 0.4 ends at the tenths."""
    place = _exponent(interval.value) - DIGITS + 1
    if interval.low is None or interval.high is None or interval.high <= interval.low:
        return place
    return min(max(place, _supported((interval.high - interval.low) / 2)), _exponent(interval.value))


def _supported(half: float) -> int:
    """The power of ten of the last figure that an interval's half width supports.

    A half width that starts with 1 keeps one figure more, as in the rule of the Particle Data Group: 0.10 and 0.14
    differ too much to be rounded to one figure.
    """
    return _exponent(half) - (f"{half:e}"[0] == "1")


def _signed(value: float, place: int) -> str:
    """`+5.1`, `-3.0`; a change that rounds to zero has no sign."""
    text = _rounded_end(value, place)
    return f"+{text}" if value > 0 and text != DASH and _number(text) else text


def _rounded_end(value: float, place: int) -> str:
    text = _rounded(value, place)
    # A percentage may overflow although the share does not.
    return text if text == DASH or _number(text) else text.removeprefix("-")


def _is_wide(interval: Interval) -> bool:
    """Whether the ends differ so much that the interval is clearly not symmetric, so that ± would mislead."""
    return interval.low is not None and interval.high is not None and interval.high > WIDE_RATIO * interval.low


def _own_place(end: float, place: int) -> int:
    """The last place of an end that is far from the value: it shows one or two of its own figures."""
    return max(min(place, _exponent(end)), _exponent(end) - 1)


def _exponent(value: float) -> int:
    """The power of ten of a number's first figure after rounding: that of 9.996 is the one of 10.0."""
    if value == 0 or not math.isfinite(value):
        return 0
    return int(f"{value:.{DIGITS - 1}e}".split("e")[1])


def _rounded(value: float, place: int) -> str:
    if not math.isfinite(value):
        return DASH
    return f"{round(value, -place):,.{max(-place, 0)}f}"


def _number(text: str) -> float:
    return float(text.replace(",", ""))
