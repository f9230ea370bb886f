"""What a sustained run leaves: a summary of each minute, with a bounded sample of its calls."""

from __future__ import annotations

from bench.records.base import Record


class Minute(Record, frozen=True):
    """One minute of calls on end. A model of microseconds makes millions of calls in one, so not all are kept."""

    seconds: float
    """From the end of the minute before: some 60, 30 to 90 for the last one, and more where one call takes as long."""
    calls: int
    median_ns: int
    p10_ns: int
    p90_ns: int
    """Of the minute's calls; where there are over a hundred thousand, of every second, fourth … call."""
    samples_ns: tuple[int, ...]
    """Some two hundred of the calls, evenly spaced, in order."""
    first_ns: int | None = None
    """For models that generate: the median time to the first token."""
    token_ns: float | None = None
    """For models that generate: the median over generations of the time of one later token of each sequence."""


class Sustained(Record, frozen=True):
    """What makes an observation one of a sustained run, which is no round: there is one for each minute as it ends."""

    asked_s: float
    """How long the run is to last."""
    number: int
    """Of the minute, from 1: with it an attempt begins, and the last attempt counts."""
    minute: Minute | None = None
    """None where the run ended in a failure before the minute was over."""
