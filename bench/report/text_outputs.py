"""The words for the outputs of a cell, each compared by itself, and for what an approximate cell agrees in."""

from __future__ import annotations

from typing import NamedTuple

from bench.judge.tolerance import output_violations
from bench.records import Outcome, OutputParity
from bench.report import numbers, text_notes


class OutputRow(NamedTuple):
    """One output in the details of a cell."""

    name: str
    figures: str
    verdict: str
    """Why it is out of tolerance, `decides`, or empty."""


def rows(outcome: Outcome) -> tuple[OutputRow, ...]:
    """A row for each output; empty where the model has none that is compared by itself."""
    parity = outcome.parity
    return tuple(_row(outcome, output) for output in parity.outputs) if parity else ()


def agreement(outcome: Outcome) -> str | None:
    """`top-1 0.81`, `81 % equal`, `0 of 64 tokens`: what an approximate cell agrees in; None for other cells."""
    parity = outcome.parity
    if outcome.status != "approximate" or parity is None:
        return None
    parts = [
        f"top-1 {numbers.significant(parity.top1_agreement, 2)}" if parity.top1_agreement is not None else "",
        f"{numbers.percent(parity.agreement)} equal" if parity.agreement is not None else "",
        f"{parity.tokens_same or 0} of {parity.tokens_compared} tokens" if parity.tokens_compared else "",
    ]
    return ", ".join(filter(None, parts)) or None


def block(output: OutputParity) -> str:
    """`4..11 of axis 1`: the place of the worst block; empty where there is none."""
    if output.block is None:
        return ""
    worst = output.blocks[output.block]
    return f"{worst.first}..{worst.last} of axis {worst.axis}"


def _row(outcome: Outcome, output: OutputParity) -> OutputRow:
    parity = outcome.parity
    assert parity is not None
    faults = " and ".join(map(text_notes.say, output_violations(output, parity.tolerance)))
    decides = "decides" if output.name == parity.decides and len(parity.outputs) > 1 else ""
    return OutputRow(output.name, _figures(output), "; ".join(filter(None, (decides, faults))))


def _figures(output: OutputParity) -> str:
    """`relative error 1.2e-06, cosine 1.000000, largest error 4e-06, range fixed by Sigmoid`."""
    if output.random:
        return "random: the reference itself gives another answer each time"
    if output.fault is not None:
        return output.kind
    if not output.elements:
        return "empty, as the reference is"
    parts = [
        f"{numbers.percent(output.agreement)} of {output.elements:,} equal" if output.agreement is not None else ""
    ]
    if output.cosine is not None:
        relative = "undefined" if output.relative_error is None else numbers.significant(output.relative_error)
        parts += [f"relative error {relative}", f"cosine {numbers.cosine(output.cosine)}"]
    if output.max_abs_error is not None:
        parts.append(f"largest error {numbers.significant(output.max_abs_error)}")
    if output.top1_agreement is not None:
        parts.append(f"top-1 {numbers.significant(output.top1_agreement)}")
    if output.top5_agreement is not None:
        parts.append(f"top-5 {numbers.significant(output.top5_agreement)}")
    parts.append(f"range fixed by {output.bounded_by}" if output.bounded_by else "")
    parts += [
        f"{part.slices} slices ({part.first}..{part.last} of axis {part.axis}) of scale "
        f"{numbers.significant(part.scale)}: relative error "
        f"{'undefined' if part.relative_error is None else numbers.significant(part.relative_error)}"
        for part in output.blocks
    ]
    return ", ".join(filter(None, parts))
