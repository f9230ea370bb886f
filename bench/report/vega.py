"""Draws a chart of Vega-Lite as inline SVG in the light or dark colours of the page: the charts of a history."""

from __future__ import annotations

import re
from typing import Any

import altair as alt
import vl_convert

from bench.report import drawing

# vl_convert contains several versions of Vega-Lite; the version must be the one that altair writes.
VEGA_LITE = "_".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])


def svg(
    chart: alt.LayerChart,
    title: str,
    points: list[dict[str, Any]],
    name: str,
    height: int,
    width: int,
) -> str:
    """The chart as one image, with a text alternative that lists the `name` and the `description` of each point.

    The ids in the SVG begin with `name`.
    """
    spec = chart.properties(width=width, height=height).configure(**_config()).to_dict()
    # All data is inline, so no URL is allowed.
    drawn = vl_convert.vegalite_to_svg(spec, vl_version=VEGA_LITE, allowed_base_urls=[])
    description = "; ".join(f"{point['name']}: {point['description']}" for point in points)
    return _described(drawn, title, description, name)


def _config() -> dict[str, Any]:
    return {
        "background": "transparent",
        "font": "system-ui, sans-serif",
        "view": {"stroke": None},
        "axis": {
            "labelColor": "var(--ink)",
            "labelFontSize": 12,
            "titleColor": "var(--ink-soft)",
            "titleFontSize": 12,
            "titleFontWeight": "normal",
            "gridColor": "var(--line)",
            "tickColor": "var(--line)",
            "domainColor": "var(--line)",
        },
        "axisY": {"grid": False},
    }


def _described(svg: str, title: str, description: str, name: str) -> str:
    """The SVG with a title and a description for the whole image, and with ids that begin with `name`."""
    # Vega labels every mark for screen readers; one description of the whole chart is easier to follow.
    inner = re.sub(r' (?:aria-[a-z]+|role)="[^"]*"', "", svg[svg.index(">") + 1 :])
    # Vega uses the same ids in every chart, and ids must be unique on a page.
    inner = re.sub(r'(id="|url\(#)', rf"\g<1>{name}-", inner)
    # The renderer writes both sizes into every image, so the search finds them.
    width, height = (float(re.search(rf' {side}="([\d.]+)"', svg)[1]) for side in ("width", "height"))  # type: ignore[index]
    return drawing.image(inner.removesuffix("</svg>"), width, height, title, description, name)
