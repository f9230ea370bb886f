"""Reads what a search found about the graph optimization of a cell (pure)."""

from __future__ import annotations

from collections.abc import Iterable

from bench.records import Note, Observation

VALUES = {"asked", "status", "works", "optimizers"}


def optimization_fault(observations: Iterable[Observation]) -> Note | None:
    """The optimization that makes the cell fail or answer wrong, as its last observation has it; None without one."""
    facts = [fact for observation in observations for fact in observation.notes if fact.kind == "optimization-fault"]
    # A file of somebody else may hold a fact without its values.
    return facts[-1] if facts and facts[-1].values.keys() >= VALUES else None


def measured_level(fact: Note | None) -> str | None:
    """The lower level that the cell was measured at; None where it was measured as the matrix says."""
    return str(fact.values["works"]) if fact is not None and fact.values.get("measured") else None


def optimizers_at_fault(fact: Note | None) -> tuple[str, ...]:
    """The optimizers at fault; empty where there are none, or they were not found."""
    names = fact.values.get("optimizers") if fact is not None else None
    return names if isinstance(names, tuple) else ()
