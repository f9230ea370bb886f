"""Draws the parts of a chart as SVG: scales, ticks, axes and marks, and the image with its text for screen readers.

Colours are variables of the page, so that a chart follows the reader's light or dark theme.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from xml.sax import saxutils

from bench import foreign_text

DECADES = [10.0**power for power in range(-12, 10)]
COARSE_TICKS = [mantissa * decade for decade in DECADES for mantissa in (1, 2, 5)]
MOST_TICKS = 6
CHARACTER_WIDTH = 6.2
"""Pixels of a character of a label, on average over the fonts that readers have, at 12 pixels."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps values from `low` to `high` to pixels from `start` to `end`, in proportion or by their logarithms."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def at(self, value: float) -> float:
        """The place of a value in pixels."""
        low, high, place = (math.log(each) if self.log else each for each in (self.low, self.high, value))
        share = (place - low) / (high - low) if high > low else 0.5
        return self.start + share * (self.end - self.start)


def log_ticks(low: float, high: float) -> list[float]:
    """Round numbers between the ends of a log scale, few enough not to overlap."""
    coarse = [tick for tick in COARSE_TICKS if low <= tick <= high]
    if len(coarse) > MOST_TICKS:
        decades = [tick for tick in DECADES if low <= tick <= high]
        return decades[:: math.ceil(len(decades) / MOST_TICKS)]
    # Where the range is so short that fewer than three occur, linear steps divide it better.
    return coarse if len(coarse) >= 3 else linear_ticks(low, high, 4)


def linear_ticks(low: float, high: float, parts: int) -> list[float]:
    """Multiples of a round number between the ends, about as many as asked for."""
    if not high > low:
        return [low]
    rough = (high - low) / parts
    decade = 10.0 ** math.floor(math.log10(rough))
    step = next(size * decade for size in (1, 2, 2.5, 5, 10) if size * decade >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def short(value: float) -> str:
    """A number on an axis: `0.5`, `12k`, `1e-5`. Long figures would run into one another on so narrow a plot."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e4)):
        if abs(value) >= size:
            return f"{value / {'G': 1e9, 'M': 1e6, 'k': 1e3}[unit]:g}{unit}"
    return f"{value:g}".replace("e-0", "e-")


def cut(label: str, width: float) -> str:
    """A label that is no wider than `width` pixels; the text of the image has it whole."""
    most = int(width / CHARACTER_WIDTH)
    return label if len(label) <= most else f"{label[: most - 1]}…"


# --- marks ------------------------------------------------------------------------------------------------------------


def line(x1: float, y1: float, x2: float, y2: float, stroke: str, width: float = 1, dash: str = "") -> str:
    """A straight line; `dash` such as `4 3`."""
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
        f'stroke="{stroke}" stroke-width="{width:g}"{dashed}/>'
    )


def text(x: float, y: float, words: str, anchor: str = "start", fill: str = "var(--ink)") -> str:
    """A line of text whose middle height is at `y`."""
    return f'<text x="{x:.1f}" y="{y + 4:.1f}" text-anchor="{anchor}" fill="{fill}">{escaped(words)}</text>'


def circle(x: float, y: float, radius: float, fill: str) -> str:
    """A filled circle."""
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" fill="{fill}"/>'


def path(points: Iterable[tuple[float, float]], stroke: str, width: float = 1.5) -> str:
    """A line through the points."""
    steps = " ".join(f"{'L' if number else 'M'}{x:.1f} {y:.1f}" for number, (x, y) in enumerate(points))
    return f'<path d="{steps}" fill="none" stroke="{stroke}" stroke-width="{width:g}"/>'


def shape(kind: str, x: float, y: float, fill: str) -> str:
    """A mark by its name: `circle`, `square`, `triangle` or `cross`."""
    if kind == "circle":
        return circle(x, y, 4.5, fill)
    if kind == "cross":
        return f'<path d="M{x - 4:.1f} {y - 4:.1f}l8 8m0 -8l-8 8" fill="none" stroke="{fill}" stroke-width="2"/>'
    outline = {"square": f"M{x - 4:.1f} {y - 4:.1f}h8v8h-8z", "triangle": f"M{x:.1f} {y - 5.5:.1f}l5.5 9.5h-11z"}[kind]
    return f'<path d="{outline}" fill="{fill}"/>'


def named(words: str, inner: str) -> str:
    """Marks that belong together: a pointer on one of them brings up the words, and the page highlights all."""
    return f'<g class="point"><title>{escaped(words)}</title>{inner}</g>'


def bar(x: float, y: float, width: float, height: float, fill: str) -> str:
    """A bar that begins at `x`, whose middle height is at `y`."""
    return (
        f'<rect x="{x:.1f}" y="{y - height / 2:.1f}" width="{max(width, 0):.1f}" height="{height:g}" rx="2" '
        f'fill="{fill}" fill-opacity="0.55"/>'
    )


def whisker(scale: Scale, low: float, high: float, y: float, stroke: str) -> str:
    """A horizontal interval with a mark at each end."""
    left, right = scale.at(low), scale.at(high)
    ends = "".join(line(x, y - 4.5, x, y + 4.5, stroke, 1.5) for x in (left, right))
    return line(left, y, right, y, stroke, 1.5) + ends


def axis_below(
    scale: Scale, ticks: Sequence[float], top: float, bottom: float, title: str, form: Callable[[float], str] = short
) -> str:
    """A horizontal axis at `bottom` with grid lines up to `top`; it takes 40 pixels below."""
    parts = [line(scale.start, bottom, scale.end, bottom, "var(--line)")]
    for tick in ticks:
        x = scale.at(tick)
        parts += [line(x, top, x, bottom + 4, "var(--line)"), text(x, bottom + 13, form(tick), "middle")]
    parts.append(text((scale.start + scale.end) / 2, bottom + 30, title, "middle", "var(--ink-soft)"))
    return "".join(parts)


def axis_left(
    scale: Scale, ticks: Sequence[float], left: float, right: float, form: Callable[[float], str] = short
) -> str:
    """A vertical axis at `left` with grid lines to `right`; its labels stand left of it."""
    parts = []
    for tick in ticks:
        y = scale.at(tick)
        parts += [line(left, y, right, y, "var(--line)"), text(left - 6, y, form(tick), "end")]
    return "".join(parts)


def image(inner: str, width: float, height: float, title: str, description: str, name: str) -> str:
    """The whole image, with a title and a description for screen readers; its ids begin with `name`."""
    across, down = math.ceil(width), math.ceil(height)
    return (
        f'<svg class="chart" role="img" aria-labelledby="{name}-title {name}-desc" viewBox="0 0 {across} {down}" '
        f'width="{across}" height="{down}" font-family={saxutils.quoteattr("system-ui, sans-serif")} font-size="12">'
        f'<title id="{name}-title">{escaped(title)}</title><desc id="{name}-desc">{escaped(description)}</desc>'
        f"{inner}</svg>"
    )


def escaped(words: str) -> str:
    """Text on one line between the tags of an SVG: every text of a chart passes here."""
    return saxutils.escape(foreign_text.line(words))
