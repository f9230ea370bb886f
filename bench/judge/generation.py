"""Computes the speed of generation of a cell, and the energy of a token."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import mean, median

from msgspec import Struct

from bench.judge import statistics
from bench.judge.bursts import BlockTimes, times_of
from bench.judge.ratios import NO_RATIOS, Ratios
from bench.judge.speed import items_per_second, over_blocks
from bench.records import Cell, Generation, GenerationSpeed, Interval, Observation

Rounds = Mapping[int, float]
"""Milliseconds by the round's number; a round is one process, so it gives one value."""
MS_PER_NS = 1e-6
"""Milliseconds in one nanosecond."""


class Parts(Struct, frozen=True):
    """The median time of each part of a generation by round, in milliseconds; rounds that cannot tell are left out.

    Prefill and decoding are the time of one token, because ratios are ratios of times.
    """

    first: Rounds
    prefill: Rounds
    decode: Rounds
    encode: Rounds
    audio: Rounds
    """The time of one second of audio."""


def speed(
    cell: Cell,
    observations: Sequence[Observation],
    control: str | None = None,
    prefill: Ratios = NO_RATIOS,
    decode: Ratios = NO_RATIOS,
) -> GenerationSpeed | None:
    """The generation speed from a cell's timed rounds; None without a generation, or where the clock did not advance.

    `prefill` and `decode` hold the ratios between the cells of the model, of these parts of a generation. The control's
    own ratios are 1 by definition, with no width.
    """
    own = parts(cell, observations)
    if not own.first:
        return None
    # Tails are of the steps between tokens; a generation of one token has none.
    bursts = ([time * MS_PER_NS for g in generations(o) for time in g.token_ns] for o in observations)
    steps = [burst for burst in bursts if burst]
    # The steps of one round are pooled, as they share a process; the rounds give the interval.
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
        prefill_ratio=prefill.ratio(cell.id, control) if control and own.prefill else None,
        decode_ratio=decode.ratio(cell.id, control) if control and own.decode else None,
    )


def generations(observation: Observation) -> tuple[Generation, ...]:
    """The timed generations of a round."""
    return observation.timing.generations if observation.timing else ()


def parts(cell: Cell, observations: Iterable[Observation]) -> Parts:
    """The parts of a cell's generations, by round."""
    rounds = {o.round: timed for o in observations if (timed := generations(o))}
    batch = cell.sizes.get("batch", 1)

    def every(duration_ns: Callable[[Generation], float | None]) -> Rounds:
        """The median by round; zero is left out, because a clock that did not advance gives no time."""
        known = {number: [duration_ns(generation) for generation in timed] for number, timed in rounds.items()}
        times = {number: [time * MS_PER_NS for time in values if time and time > 0] for number, values in known.items()}
        # The median, so that one generation that was delayed does not move its round.
        return {number: median(values) for number, values in times.items() if values}

    return Parts(
        first=every(lambda g: g.first_ns),
        prefill=every(lambda g: _prefill_ns(cell, g)),
        decode=every(lambda g: _decode_ns(cell, g)),
        encode=every(lambda g: g.encode_ns),
        audio=every(lambda g: _share(g.total_ns, batch * cell.sizes.get("audio", 0))),
    )


def prefill_times(cell: Cell, observation: Observation, shared: bool) -> BlockTimes | None:
    """The times of a prompt's token in one block."""
    return _times(observation, lambda g: _prefill_ns(cell, g), shared)


def decode_times(cell: Cell, observation: Observation, shared: bool) -> BlockTimes | None:
    """The times of a token after the first in one block."""
    return _times(observation, lambda g: _decode_ns(cell, g), shared)


def _times(
    observation: Observation, duration_ns: Callable[[Generation], float | None], shared: bool
) -> BlockTimes | None:
    timing = observation.timing
    return times_of([duration_ns(made) for made in timing.generations], timing, shared=shared) if timing else None


def _prefill_ns(cell: Cell, generation: Generation) -> float | None:
    return _share(generation.first_ns, cell.sizes.get("batch", 1) * _prompt(cell, generation))


def _decode_ns(cell: Cell, generation: Generation) -> float | None:
    # All sequences of a batch take the same steps, so a step emits `batch` tokens. The first token comes out of
    # prefill, so decoding has one token less than was emitted.
    return _share(sum(generation.token_ns), cell.sizes.get("batch", 1) * (generation.tokens - 1))


def _prompt(cell: Cell, generation: Generation) -> int:
    """Tokens of one prompt as the engine counted them, else of the workload; 0 where the prompt is audio."""
    # The start tokens of a speech model are no prompt.
    if "prompt" not in cell.sizes or "audio" in cell.sizes:
        return 0
    return cell.sizes["prompt"] if generation.prompt_tokens is None else generation.prompt_tokens


def _share(time_ns: int, items: int) -> float | None:
    """The time of one item."""
    return time_ns / items if items > 0 else None


# --- energy and cold start --------------------------------------------------------------------------------------------


def joules_per_token(cell: Cell, observations: Iterable[Observation]) -> Interval | None:
    """Joules of one emitted token: the energy of a burst over its tokens."""
    batch = cell.sizes.get("batch", 1)
    known = []
    for observation in observations:
        timed = generations(observation)
        # Emitted tokens and not requested ones, because a generation may stop early.
        emitted = batch * mean(generation.tokens for generation in timed) if timed else 0
        if observation.energy and observation.energy.calls > 0 and emitted > 0:
            known.append(observation.energy.joules / (observation.energy.calls * emitted))
    return statistics.typical(known)


def cold_first_token_ms(observations: Iterable[Observation]) -> Interval | None:
    """Import, load and first token of a fresh process, over the rounds that know all three."""
    return statistics.typical(
        time_from_start_ms(o, o.timing.first_token_ns if o.timing else None) for o in observations
    )


def time_from_start_ms(observation: Observation, first_ns: int | None) -> float | None:
    """Milliseconds of import, load and then the first call or token; None where one of them is unknown."""
    if observation.import_ns is None or observation.load_ns is None or first_ns is None:
        return None
    return (observation.import_ns + observation.load_ns + first_ns) * MS_PER_NS


# --- intervals --------------------------------------------------------------------------------------------------------


def _required(rounds: Rounds) -> Interval:
    return over_blocks([math.log(value) for value in rounds.values()])


def _interval(rounds: Rounds) -> Interval | None:
    return statistics.typical(rounds.values())


def _rate(rounds: Rounds) -> Interval | None:
    """Items a second, from the milliseconds of one item."""
    return items_per_second(1.0, _required(rounds)) if rounds else None


def _real_time(rounds: Rounds) -> Interval | None:
    """Seconds of computing for a second of audio, from milliseconds."""
    return _interval({number: value / 1000 for number, value in rounds.items()})
