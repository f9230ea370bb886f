import pytest

from bench.judge.transcripts import word_error_rate, worst_word_error_rate
from bench.records import Transcript


@pytest.mark.parametrize(
    ("label", "text", "expected"),
    [
        ("one two three four", "one two three four", 0.0),
        ("one two three four", "one too three four", 0.25),
        ("one two three four", "one two four", 0.25),
        ("one two three four", "one two two three four", 0.25),
        ("one two", "", 1.0),
        ("one", "one two three", 2.0),
        ("Hello, World!", "hello world", 0.0),
        ("a well-known man – he", "a well known man, he", 0.0),
        ("don't", "don’t", 0.0),
        (" one \t two\n three ", "one two three", 0.0),
    ],
)
def test_words_that_are_wrong_missing_or_too_many_are_counted_and_nothing_else(label, text, expected):
    assert word_error_rate(Transcript(text, label)) == pytest.approx(expected)


@pytest.mark.parametrize("label", ["", "  ", "…!"])
def test_where_nothing_was_said_no_rate_can_be_told(label):
    assert word_error_rate(Transcript("one two", label)) is None


def test_the_worst_round_speaks():
    right, wrong, silent = Transcript("one two", "one two"), Transcript("one", "one two"), Transcript("one", "")
    assert worst_word_error_rate([right, wrong, silent, right]) == 0.5
    assert worst_word_error_rate([silent]) is None
    assert worst_word_error_rate([]) is None
