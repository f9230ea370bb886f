"""Facts about a model's outputs that the comparison of answers uses, and their form in `reference.json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class OutputFacts:
    """What is known about one output."""

    bounded_by: str = ""
    """The operator that fixes its range, such as `Sigmoid`; empty where none does."""
    partly_bounded_by: str = ""
    """The operator that fixes the range of a part of it, such as the scores that Concat puts beside boxes."""
    class_scores: bool = False
    """Whether each sample has one score for each class."""
    sorted: bool = False
    """Whether TopK gives its values, so that their order is not that of the classes."""
    split: bool = False
    """Whether parts of unlike scale are compared by themselves; false where the family knows that there are none."""
    random: bool = False
    """Whether the reference gives another answer when it is made twice."""
    axis: int | None = None
    """The position of the samples, where the graph names it: 1 in an output of shape (steps, batch, …)."""
    samples: int | None = None
    """The samples of a call, for outputs without a known axis: these are along the first axis if it has this size.
    None where the family knows that they are."""


def to_json(facts: Mapping[str, OutputFacts]) -> dict[str, dict[str, Any]]:
    """The facts of each output by name, as JSON holds them."""
    return {name: asdict(known) for name, known in facts.items()}


def from_json(stored: Mapping[str, Mapping[str, Any]]) -> dict[str, OutputFacts]:
    """The facts that `to_json` wrote."""
    return {name: OutputFacts(**known) for name, known in stored.items()}


def of(facts: Mapping[str, OutputFacts], name: str) -> OutputFacts:
    """The facts of an output; an element of a sequence, `parts[0]`, has those of the sequence."""
    return facts.get(name) or facts.get(name.rpartition("[")[0]) or OutputFacts()
