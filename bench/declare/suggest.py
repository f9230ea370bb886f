"""Suggests the nearest known words for an unknown one."""

from __future__ import annotations

from collections.abc import Iterable


def nearest(word: str, known: Iterable[str]) -> str:
    """A remedy: the nearest known word, or all of them."""
    words = sorted(known)
    if close := similar(word, words):
        return f"did you mean '{close[0]}'?"
    return f"known are {', '.join(words)}" if words else "none is known"


def similar(word: str, known: Iterable[str], *, most: int = 1, least: float = 0.5) -> list[str]:
    """At most `most` known words, the most similar first; `least` is the lowest similarity, from 0 to 1."""
    # Late: it is needed for a mistake only, and is slow to import.
    import difflib

    return difflib.get_close_matches(word, list(known), n=most, cutoff=least)
