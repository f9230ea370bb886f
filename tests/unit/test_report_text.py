"""Foreign text where a terminal, a spreadsheet or a Markdown renderer would act on it."""

from __future__ import annotations

import pytest

from bench.report import escaping


def test_terminal_colours_and_direction_overrides_are_taken_out() -> None:
    assert escaping.lines("\x1b[0;93mwarn\x1b[m\x1b]0;title\x07 a\u202eb\r\nnext\x00") == "warn ab\nnext"


def test_one_line_has_no_line_breaks() -> None:
    assert escaping.line(" a\n\tb\r\n c ") == "a b c"


@pytest.mark.parametrize("start", ["=1+1", "+1", "-1 is out of range", "@SUM(A1)", "\t=1", "＝1", " =1"])
def test_no_cell_opens_as_a_formula(start: str) -> None:
    assert escaping.csv_cell(start).startswith("'")


def test_no_part_of_a_list_opens_as_a_formula_where_the_separator_is_a_semicolon() -> None:
    assert escaping.csv_cell("Gather x3;=cmd|' /C calc'!A0; -1") == "Gather x3;'=cmd|' /C calc'!A0; '-1"


@pytest.mark.parametrize("value", ["123456789012", "12e5", "null", "NA", "nan", "inf", "True", "None"])
def test_no_text_reads_as_a_number_or_as_missing(value: str) -> None:
    assert escaping.csv_cell(value) == f"'{value}"


@pytest.mark.parametrize("value", ["minilm", "3f2a61c09be4", "1.31.1", "2.13.0+cpu", "hub:a/b", ""])
def test_plain_text_stays_as_it_is(value: str) -> None:
    assert escaping.csv_cell(value) == value


def test_a_csv_file_keeps_what_is_missing_exact_and_true_apart() -> None:
    rows = [{"name": "=1+1", "ms": 0.1 + 0.2, "rounds": 6, "right": True}, {"name": "a,b", "ms": None, "right": False}]
    text = escaping.csv_table(("name", "ms", "rounds", "right"), rows)
    assert text == 'name,ms,rounds,right\n\'=1+1,0.30000000000000004,6,true\n"a,b",,,false\n'


def test_a_row_of_a_csv_file_with_a_name_that_is_no_column_is_a_fault() -> None:
    with pytest.raises(ValueError, match="unknown"):
        escaping.csv_table(("name",), [{"unknown": 1}])


def test_markdown_shows_markup_as_the_characters_that_were_written() -> None:
    shown = escaping.markdown("a|b <img src=x> *bold* `code` [link](u) __init__ & 1\n2")
    assert shown == "a\\|b &lt;img src=x&gt; \\*bold\\* \\`code\\` \\[link\\](u) \\_\\_init\\_\\_ &amp; 1 2"


@pytest.mark.parametrize(
    ("written", "shown"), [("- a", "\\- a"), ("# a", "\\# a"), ("1. a", "1\\. a"), ("+ a", "\\+ a")]
)
def test_markdown_does_not_start_a_list_or_a_heading(written: str, shown: str) -> None:
    assert escaping.markdown(written) == shown


def test_markdown_mentions_nobody_and_no_issue() -> None:
    assert "@someone" not in escaping.markdown("ask @someone about #12")
    assert "#12" not in escaping.markdown("ask @someone about #12")


def test_a_code_span_survives_back_quotes_and_pipes() -> None:
    assert escaping.code("a`b|c") == "`` a`b\\|c ``"
    assert escaping.code("plain") == "`plain`"
