"""How rounds and minutes go, and what of that shows a processor that holds itself back."""

from __future__ import annotations

import numpy as np
import pytest
from builders import a_state
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import theilslopes

from bench.judge import throttling
from bench.judge.throttling import StateSample
from bench.judge.trend import between, slope, trend
from bench.records import note
from bench.report import text_notes


def test_a_course_is_the_slope_and_the_first_third_beside_the_last():
    found = trend([10.0, 11.0, 12.0, 13.0, 14.0, 15.0])
    assert found is not None
    assert (found.first, found.last) == (10.5, 14.5)
    assert found.shift == pytest.approx(14.5 / 10.5 - 1)
    assert found.rose(0.3)
    assert not found.rose(0.39)
    assert not found.fell(0.02)


def test_a_line_from_90_to_110_has_a_slope_of_a_fifth():
    assert slope([90, 95, 100, 105, 110]) == pytest.approx(0.2)


def test_one_wild_round_has_no_slope():
    assert slope([100, 100, 100, 100, 900]) == 0


@given(st.lists(st.floats(1, 100), min_size=3, max_size=12))
def test_the_slope_is_theil_and_sens(values):
    expected = theilslopes(values).slope * (len(values) - 1) / np.median(values)
    assert slope(values) == pytest.approx(expected, abs=1e-9)


def test_a_jump_at_the_end_is_a_rise_and_one_that_most_pairs_deny_is_none():
    late = trend([10.0, 10.0, 10.0, 10.0, 10.0, 10.0, 10.0, 13.0, 13.0])
    denied = trend([12.0, 9.9, 9.9, 10.8, 10.4, 10.0, 10.6, 10.2, 10.2])
    assert late is not None
    assert denied is not None
    assert late.rose(0.02)
    assert denied.shift > 0.02
    assert not denied.rose(0.02)


@pytest.mark.parametrize("values", [[], [1.0, 2.0], [1.0, 0.0, 2.0]])
def test_two_values_have_no_course_nor_have_values_that_are_none(values):
    assert trend(values) is None


def test_between_two_groups_the_medians_tell():
    found = between([10.0, 11.0, 30.0], [14.0, 15.0])
    assert found is not None
    assert (found.first, found.last) == (11.0, 14.5)
    assert found.rose(0.3)
    assert between([10.0], []) is None


# --- throttling -------------------------------------------------------------------------------------------------------


def samples(latencies, **states):
    """A sample for each round: these latencies, and by name of a state its values."""
    rows = [dict(zip(states, values, strict=True)) for values in zip(*states.values(), strict=True)]
    return [StateSample(ms, a_state(**row)) for ms, row in zip(latencies, rows, strict=True)]


def words(slowing):
    """What a flag says of calls that became slower; empty where they did not."""
    return text_notes.say(note("slowed-over-minutes", *slowing.signs, slower=slowing.slower)) if slowing else ""


SLOWER = [10.0, 10.0, 11.0, 11.0, 12.0, 12.0]
FALLING = [3400.0, 3400.0, 3100.0, 3000.0, 2900.0, 2900.0]


def test_a_clock_that_falls_while_calls_become_slower_is_told_in_figures():
    said = words(throttling.slowing(samples(SLOWER, frequency_mhz=FALLING)))
    assert said == "the clock fell from 3.4 to 2.9 GHz, while calls became 20 % slower"


def test_heat_that_comes_to_the_limit_is_told():
    heat = {"temperature_c": [70.0, 75.0, 85.0, 92.0, 97.0, 97.0], "temperature_limit_c": [100.0] * 6}
    said = words(throttling.slowing(samples(SLOWER, **heat)))
    assert said == ("the processor was at 97 °C, and holds itself back at 100 °C, while calls became 20 % slower")


@pytest.mark.parametrize(
    ("latencies", "state"),
    [
        (SLOWER, {"frequency_mhz": [3400.0] * 6}),
        (SLOWER, {"frequency_mhz": [3400.0, 3400.0, 3300.0, 3300.0, 3200.0, 3200.0]}),  # turbo comes and goes
        (SLOWER, {"frequency_mhz": [None] * 6}),
        ([10.0] * 6, {"frequency_mhz": FALLING}),  # a machine that idles between rounds clocks down
        (list(reversed(SLOWER)), {"frequency_mhz": FALLING}),
        (SLOWER, {"temperature_c": [70, 72, 75, 80, 84, 85], "temperature_limit_c": [100.0] * 6}),
        (SLOWER, {"temperature_c": [98.0] * 6, "temperature_limit_c": [None] * 6}),  # hot, and nobody knows how hot
        (list(reversed(SLOWER)), {"temperature_c": [90, 92, 95, 97, 98, 99], "temperature_limit_c": [100.0] * 6}),
    ],
)
def test_either_sign_alone_has_other_causes(latencies, state):
    assert words(throttling.slowing(samples(latencies, **state))) == ""


def test_a_sensor_that_was_not_read_in_some_rounds_is_judged_by_the_others():
    said = words(throttling.slowing(samples(SLOWER, frequency_mhz=[None, 3400.0, float("nan"), 3000.0, None, 2900.0])))
    assert "from 3.4 to 2.9 GHz" in said


def test_from_rounds_to_a_sustained_run_the_same_is_told():
    rounds = samples([10.0, 10.1, 9.9], frequency_mhz=[3400.0, 3400.0, 3350.0])
    said = words(throttling.slowing_since(rounds, samples([12.0], frequency_mhz=[2600.0])))
    assert said == "the clock fell from 3.4 to 2.6 GHz, while calls became 20 % slower"
    assert words(throttling.slowing_since(rounds, [])) == ""
