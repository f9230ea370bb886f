"""What a speech recognizer heard and what was said in, the word error rate out."""

from __future__ import annotations

from collections.abc import Iterable

from bench.records import Transcript

DASHES = r"[-‐‑–—/]"
"""Between two words as well as a space: without this `well-known` would be one word, and wrong."""


def worst_word_error_rate(transcripts: Iterable[Transcript]) -> float | None:
    """Words that are wrong, missing or too many, over the words that were said: the worst; None where none were."""
    known = [rate for transcript in transcripts if (rate := word_error_rate(transcript)) is not None]
    return max(known, default=None)


def word_error_rate(transcript: Transcript) -> float | None:
    """Of one transcript: case, punctuation and the width of gaps are no words; None where nothing was said."""
    import jiwer

    words = jiwer.Compose(
        [
            jiwer.ToLowerCase(),
            jiwer.SubstituteRegexes({DASHES: " "}),
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
