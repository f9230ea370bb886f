"""Records of a sustained run: a summary of each minute, with a bounded sample of its calls."""

from __future__ import annotations

from bench.records.base import Record


class Minute(Record, frozen=True):
    """One minute of continuous calls. A small model makes millions of calls in it, so not all are kept."""

    seconds: float
    """From the end of the minute before: about 60, 30 to 90 for the last one, and more where one call takes longer."""
    calls: int
    median_ns: int
    p10_ns: int
    p90_ns: int
    """Percentiles of the minute's calls; with over a hundred thousand, of every second, fourth … call."""
    samples_ns: tuple[int, ...]
    """About two hundred of the calls, evenly spaced, in order."""
    first_ns: int | None = None
    """For models that generate: the median time to the first token."""
    token_ns: float | None = None
    """For models that generate: the median over generations of the time of one later token of each sequence."""


class Sustained(Record, frozen=True):
    """Marks an observation as a minute of a sustained run, which is not a round."""

    asked_s: float
    """The requested length of the run."""
    number: int
    """The number of the minute, from 1. An attempt begins with 1, and the last attempt counts."""
    minute: Minute | None = None
    """None where the run ended in a failure before the minute was over."""
