"""The timed generations of a cell and of its control in; the cell's `GenerationSpeed`, and what a token costs, out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import mean, median

from msgspec import Struct

from bench.judge import statistics
from bench.judge.speed import a_second
from bench.records import Cell, Generation, GenerationSpeed, Interval, Observation

Rounds = Mapping[int, float]
"""Milliseconds by the round's number; a round is one process, so it gives one value."""
NS = 1e-6
"""Nanoseconds in milliseconds."""


class Parts(Struct, frozen=True):
    """What each round's generations took, in milliseconds: the median of each round; rounds that cannot tell are out.

    Prefill and decoding are kept as times of one token, since ratios are taken between times.
    """

    first: Rounds
    prefill: Rounds
    decode: Rounds
    encode: Rounds
    audio: Rounds
    """Of one second of audio."""


def speed(
    cell: Cell, seen: Sequence[Observation], control: str | None, reference: Sequence[Observation] | None
) -> GenerationSpeed | None:
    """What the timed rounds of a cell say of its generations; None where it made none, or its clock did not tick.

    `reference` holds the timed rounds of the cell `control`, and is None where that has no valid speed. The control's
    own ratios are 1 by definition, with no width.
    """
    own = parts(cell, seen)
    if not own.first:
        return None
    theirs = None if reference is None else parts(cell, reference)
    is_control = control == cell.id
    steps = [burst for one in seen if (burst := [time * NS for made in generations(one) for time in made.token_ns])]
    tails = statistics.percentiles(steps)
    return GenerationSpeed(
        first_token_ms=_required(own.first),
        prefill_tok_s=_rate(own.prefill),
        decode_tok_s=_rate(own.decode),
        token_p50_ms=tails[50],
        token_p90_ms=tails[90],
        token_p99_ms=tails[99],
        encode_ms=_interval(own.encode),
        real_time_factor=_real_time(own.audio),
        prefill_ratio=_ratio(own.prefill, theirs.prefill if theirs else None, is_control),
        decode_ratio=_ratio(own.decode, theirs.decode if theirs else None, is_control),
    )


def generations(one: Observation) -> tuple[Generation, ...]:
    """The timed generations of a round."""
    return one.timing.generations if one.timing else ()


def parts(cell: Cell, seen: Iterable[Observation]) -> Parts:
    """The parts of a cell's generations, by round."""
    rounds = {one.round: made for one in seen if (made := generations(one))}
    batch = cell.sizes.get("batch", 1)

    def every(of: Callable[[Generation], float | None]) -> Rounds:
        """A clock that does not tick gives zero, which has no logarithm and is no time."""
        known = {number: [of(one) for one in made] for number, made in rounds.items()}
        times = {number: [time * NS for time in found if time and time > 0] for number, found in known.items()}
        return {number: median(found) for number, found in times.items() if found}

    return Parts(
        first=every(lambda made: made.first_ns),
        prefill=every(lambda made: _share(made.first_ns, batch * _prompt(cell, made))),
        decode=every(lambda made: _share(sum(made.token_ns), batch * (made.tokens - 1))),
        encode=every(lambda made: made.encode_ns),
        audio=every(lambda made: _share(made.total_ns, batch * cell.sizes.get("audio", 0))),
    )


def _prompt(cell: Cell, made: Generation) -> int:
    """Tokens of one prompt: as the engine counted them, else as the workload says; 0 where audio is the prompt."""
    if "prompt" not in cell.sizes or "audio" in cell.sizes:
        return 0
    return cell.sizes["prompt"] if made.prompt_tokens is None else made.prompt_tokens


def _share(time_ns: int, items: int) -> float | None:
    """The time of one item."""
    return time_ns / items if items > 0 else None


# --- what a token costs -----------------------------------------------------------------------------------------------


def joules_a_token(cell: Cell, seen: Iterable[Observation]) -> Interval | None:
    """The energy of a burst over the tokens that it emitted."""
    batch = cell.sizes.get("batch", 1)
    known = []
    for one in seen:
        emitted = batch * mean(made.tokens for made in generations(one)) if generations(one) else 0
        if one.energy and one.energy.calls > 0 and emitted > 0:
            known.append(one.energy.joules / (one.energy.calls * emitted))
    return statistics.typical(known)


def first_token_from_nothing_ms(seen: Iterable[Observation]) -> Interval | None:
    """Import, load and first token of a fresh process, over the rounds that know all three."""
    return statistics.typical(from_nothing_ms(one, one.timing.first_token_ns if one.timing else None) for one in seen)


def from_nothing_ms(one: Observation, first_ns: int | None) -> float | None:
    """Import and load of a round's process, and what came first after them."""
    if one.import_ns is None or one.load_ns is None or first_ns is None:
        return None
    return (one.import_ns + one.load_ns + first_ns) * NS


# --- intervals --------------------------------------------------------------------------------------------------------


def _required(rounds: Rounds) -> Interval:
    return statistics.interval([math.log(value) for value in rounds.values()])


def _interval(rounds: Rounds) -> Interval | None:
    return statistics.typical(rounds.values())


def _rate(rounds: Rounds) -> Interval | None:
    """Items a second, of the time of one."""
    return a_second(1.0, _required(rounds)) if rounds else None


def _real_time(rounds: Rounds) -> Interval | None:
    """Seconds a second, of milliseconds a second."""
    return _interval({number: value / 1000 for number, value in rounds.items()})


def _ratio(ours: Rounds, theirs: Rounds | None, is_control: bool) -> Interval | None:
    if is_control:
        return Interval(1.0, 1.0, 1.0) if ours else None
    paired = statistics.paired_logs(ours, theirs) if theirs else []
    return statistics.interval(paired) if paired else None
