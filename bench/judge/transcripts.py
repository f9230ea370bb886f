"""Computes the word error rate of a transcript against its label."""

from __future__ import annotations

from collections.abc import Iterable

from bench.records import Transcript

DASHES = r"[-‐‑–—/]"
"""Dashes separate words, as a space does; otherwise `well-known` would be one wrong word."""


def worst_word_error_rate(transcripts: Iterable[Transcript]) -> float | None:
    """The worst word error rate: wrong, missing and extra words over the words of the label. None without a word."""
    known = [rate for transcript in transcripts if (rate := word_error_rate(transcript)) is not None]
    return max(known, default=None)


def word_error_rate(transcript: Transcript) -> float | None:
    """The word error rate of one transcript, without case and punctuation; None where the label has no word."""
    # Imported here, so that a run without speech does not load it.
    import jiwer

    words = jiwer.Compose(
        [
            jiwer.ToLowerCase(),
            # Before the punctuation is removed, because that removes dashes too and would join the words.
            jiwer.SubstituteRegexes({DASHES: " "}),
            # jiwer gives this constructor no types.
            jiwer.RemovePunctuation(),  # type: ignore[no-untyped-call]
            jiwer.RemoveWhiteSpace(replace_by_space=True),
            jiwer.RemoveMultipleSpaces(),
            jiwer.Strip(),
            jiwer.ReduceToListOfListOfWords(),
        ]
    )
    # jiwer gives 1.0 for words beside an empty label, however many: there is nothing to divide by.
    if not any(words(transcript.label)):
        return None
    return float(jiwer.wer(transcript.label, transcript.text, reference_transform=words, hypothesis_transform=words))
