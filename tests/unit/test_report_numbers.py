"""Figures as readers see them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.records import Interval
from bench.report import numbers


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (12.345, "12.3"),
        (12345.0, "12,300"),
        (0.012345, "0.0123"),
        (9.996, "10.0"),
        (0.0, "0"),
        (-3.14159, "-3.14"),
        (1.234e-7, "1.23e-7"),
        (None, "–"),
        (math.nan, "–"),
        (math.inf, "–"),
    ],
)
def test_three_significant_figures(value: float | None, text: str) -> None:
    assert numbers.significant(value) == text


@pytest.mark.parametrize(
    ("interval", "text"),
    [
        (Interval(12.345, 12.3, 12.39), ("12.3", "12.3", "12.4")),
        (Interval(1.834, 1.788, 1.881), ("1.83", "1.79", "1.88")),
        (Interval(12.345, 11.1, 13.7), ("12.3", "11.1", "13.7")),
        (Interval(123.4, 118, 129), ("123", "118", "129")),
        (Interval(1234, 1180, 1290), ("1,230", "1,180", "1,290")),
        (Interval(1234, 900, 1700), ("1,200", "900", "1,700")),
        (Interval(3, 0.2, 60), ("3", "0.2", "60")),
        (Interval(15.6, 1.4, 188), ("20", "1", "190")),
        (Interval(0.72, 0.031, 18.44), ("0.7", "0.03", "18")),
        (Interval(99.2, 98.1, 100.2), ("99.2", "98.1", "100.2")),
        (Interval(5.0, 5.0, 5.0), ("5.00", "5.00", "5.00")),
    ],
)
def test_an_interval_ends_where_its_width_no_longer_supports_figures(
    interval: Interval, text: tuple[str, str, str]
) -> None:
    assert tuple(numbers.shown(interval))[:3] == text


def test_one_round_has_no_interval_and_says_so() -> None:
    alone = Interval(12.345, None, None)
    assert numbers.shown(alone).range == "no interval"
    assert numbers.plus_minus(alone) == "12.3 · no interval"
    assert numbers.ratio(alone) == "12.3× · no interval"


def test_ends_a_thousand_times_apart_are_no_interval() -> None:
    hopeless = Interval(800, 2e-5, 4.4e10)
    assert numbers.shown(hopeless) == ("800", None, None, "no usable interval")
    assert numbers.plus_minus(hopeless, " ms") == "800 ms · no usable interval"
    assert numbers.ratio(Interval(3, 2e-5, 4.4e10)) == "no difference shown (no usable interval)"


def test_plus_minus_is_half_of_the_width() -> None:
    assert numbers.plus_minus(Interval(12.3, 11.9, 12.7)) == "12.3 ± 0.4"
    assert numbers.plus_minus(Interval(1234, 1180, 1290), " tokens/s") == "1,230 ± 60 tokens/s"


def test_a_lopsided_interval_is_not_squeezed_into_plus_minus() -> None:
    assert numbers.plus_minus(Interval(15.6, 1.4, 188), " ms") == "20 ms (1–190)"


@pytest.mark.parametrize(
    ("interval", "text", "words"),
    [
        (Interval(1.834, 1.788, 1.881), "1.83× (1.79–1.88)", "1.83× cpu, ± 2.5 %"),
        (
            Interval(1.01, 0.98, 1.04),
            "no difference shown (0.98–1.04)",
            "no difference shown to cpu (within 4 %)",
        ),
        (
            Interval(0.97, 0.93, 1.01),
            "no difference shown (0.93–1.01)",
            "no difference shown to cpu (within 7.5 %)",
        ),
        (Interval(0.9, 0.2, 4.1), "no difference shown (0.2–4.1)", "no difference shown to cpu (within 5.0×)"),
        (Interval(0.4, 0.37, 0.43), "0.40× (0.37–0.43)", "0.40× cpu, ± 7.5 %"),
        (Interval(1.03, 1.02, 1.04), "1.03× (1.02–1.04)", "1.03× cpu, ± 0.97 %"),
        (Interval(12.6, 2.1, 121.0), "10× (2–120)", "10× cpu (2–120)"),
        (Interval(2.0, None, None), "2.00× · no interval", "2.00× cpu, no interval"),
        (None, "–", "–"),
    ],
)
def test_a_ratio_is_a_difference_only_where_its_interval_shows_one(
    interval: Interval | None, text: str, words: str
) -> None:
    assert numbers.ratio(interval) == text
    assert numbers.versus(interval, "cpu") == words


def test_a_ratio_in_words_needs_no_name() -> None:
    assert numbers.versus(Interval(1.01, 0.98, 1.04)) == "no difference shown (within 4 %)"
    assert numbers.versus(Interval(1.2, 1.1, 1.3)) == "1.20×, ± 8.3 %"
    assert numbers.versus(Interval(800, 2e-5, 4.4e10)) == "no difference shown (no usable interval)"


def test_an_interval_that_touches_one_as_printed_shows_no_difference() -> None:
    assert numbers.ratio(Interval(1.021, 1.0004, 1.042)) == "no difference shown (1.00–1.04)"


@given(st.floats(0.01, 100), st.floats(0.0005, 0.9), st.floats(0.0005, 0.9))
def test_a_printed_difference_never_spans_one(value: float, below: float, above: float) -> None:
    interval = Interval(value, value * (1 - below), value * (1 + above))
    low, high = (float(end.replace(",", "")) for end in numbers.shown(interval)[1:3] if end)
    for words in (numbers.ratio(interval), numbers.versus(interval)):
        assert words.startswith(numbers.NO_DIFFERENCE) == (low <= 1 <= high)


@given(st.floats(1e-6, 1e9), st.floats(1e-6, 0.9))
def test_no_more_figures_than_the_interval_supports(value: float, share: float) -> None:
    interval = Interval(value, value * (1 - share), value * (1 + share))
    text = numbers.shown(interval).value
    decimals = len(text.partition(".")[2])
    # One figure of the half-width; two where the first of them is a 1.
    assert decimals == 0 or 10.0**-decimals >= value * share / 20.02


@pytest.mark.parametrize(
    ("interval", "text"),
    [
        (Interval(84.6, 82.9, 86.3), "84.6 ± 1.7 ms"),
        (Interval(1240, 1210, 1270), "1.24 ± 0.03 s"),
        (Interval(0.0421, 0.0411, 0.0431), "42.1 ± 1.0 µs"),
        (Interval(125_000, 120_000, 130_000), "125 ± 5 s"),
        (Interval(15.6, 1.4, 188), "20 ms (1–190)"),
        (Interval(61.2, None, None), "61.2 ms · no interval"),
        (None, "–"),
    ],
)
def test_a_time_and_its_interval_are_in_one_unit(interval: Interval | None, text: str) -> None:
    assert numbers.time(interval) == text


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (0.0853, "85.3 µs"),
        (12.34, "12.3 ms"),
        (999.4, "999 ms"),
        (999.6, "1.00 s"),
        (13240, "13.2 s"),
        (125_000, "2 min 5 s"),
        (0, "0 ms"),
        (None, "–"),
    ],
)
def test_durations(milliseconds: float | None, text: str) -> None:
    assert numbers.duration(milliseconds) == text


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (999, "999 B"), (212_000_000, "202 MiB"), (8_323_000_000, "7.75 GiB"), (None, "–")]
)
def test_sizes(size: int | None, text: str) -> None:
    assert numbers.size(size) == text


@pytest.mark.parametrize(("share", "text"), [(0.02, "2 %"), (0.0213, "2.1 %"), (0.143, "14 %"), (None, "–")])
def test_percents(share: float | None, text: str) -> None:
    assert numbers.percent(share) == text


@pytest.mark.parametrize(
    ("cosine", "text"),
    [(1.0, "1"), (0.9901, "0.9901"), (0.999996, "0.9999960"), (0.8531, "0.8531"), (-0.2, "-0.2000"), (None, "–")],
)
def test_a_cosine_is_never_rounded_up_to_one(cosine: float | None, text: str) -> None:
    assert numbers.cosine(cosine) == text


@pytest.mark.parametrize(
    ("interval", "text"),
    [
        (Interval(1.234, 1.194, 1.274), "1.23 ± 0.04 J"),
        (Interval(0.9999, None, None), "1.00 J · no interval"),
        (Interval(0.0123, 0.0119, 0.0127), "12.3 ± 0.4 mJ"),
        (Interval(0.00042, 0.00041, 0.00043), "420 ± 10 µJ"),
        (None, "–"),
    ],
)
def test_an_energy_and_its_interval_are_in_one_unit(interval: Interval | None, text: str) -> None:
    assert numbers.joules(interval) == text


def test_a_change_whose_percentage_overflows_is_a_dash_and_no_fault():
    assert numbers.change(Interval(1e308, 1e307, 1.2e308)).startswith(numbers.DASH)
    assert numbers.signed(Interval(1e308, -1e308, 1e308), "points")
