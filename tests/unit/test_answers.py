"""The answers that a report opens with: the fastest right cell, how sure that is, the smallest, and what failed."""

from __future__ import annotations

import math

import msgspec
import pytest
from a_generating_report import a_generated, a_generation
from a_report import a_cell, a_report, a_run, a_speed, a_whole_report, an_interval, an_outcome
from hypothesis import given
from hypothesis import strategies as st

from bench.judge import margins
from bench.records import Comparison, Interval, Outcome, note
from bench.report import answers, model, text_answers
from bench.report.renderers import html, json, markdown

CONTROL = a_cell(target="torch-eager", precision="fp32", control=True)
ONE = Interval(1.0, 1.0, 1.0)
MIB = 2**20


def an_answer(target: str, ratio: Interval, latency_ms: float = 10.0, **changes: object) -> Outcome:
    speed = a_speed(latency_ms, ratio_to_control=ratio, control=CONTROL.id)
    return an_outcome(a_cell(target=target), speed=speed, **changes)


def the_control(**changes: object) -> Outcome:
    return an_outcome(CONTROL, speed=a_speed(20.0, ratio_to_control=ONE, control=CONTROL.id), **changes)


def the_answer(*outcomes: Outcome, **choices: bool) -> answers.WorkloadAnswer:
    ((workload,),) = (found.workloads for found in answers.answers(outcomes, **choices))
    return workload


def words(*outcomes: Outcome) -> tuple[str, ...]:
    fastest = the_answer(*outcomes).fastest
    assert fastest is not None
    return text_answers.certainty(fastest, {outcome.cell.id: outcome for outcome in outcomes})


def ends(interval: Interval | None) -> tuple[float | None, ...]:
    assert interval is not None
    return interval.value, interval.low, interval.high


# --- margins ----------------------------------------------------------------------------------------------------------


def test_the_margin_over_the_control_is_the_ratio_to_it() -> None:
    ratio = Interval(1.5, 1.4, 1.6)
    assert ends(margins.margin(an_answer("cpu", ratio), the_control(), {})) == pytest.approx((1.5, 1.4, 1.6))
    inverse = margins.margin(the_control(), an_answer("cpu", ratio), {})
    assert ends(inverse) == pytest.approx((1 / 1.5, 1 / 1.6, 1 / 1.4))


def test_a_margin_that_the_blocks_tell_is_taken_from_them() -> None:
    one, other = an_answer("a", an_interval(3.0)), an_answer("b", an_interval(2.0))
    narrow = Interval(1.4, 1.39, 1.41)
    known = {(one.cell.id, other.cell.id): narrow}
    assert margins.margin(one, other, known) == narrow
    assert ends(margins.margin(other, one, known)) == pytest.approx((1 / 1.4, 1 / 1.41, 1 / 1.39))
    compared = [Comparison(one.cell.id, other.cell.id, narrow, decided=True)]
    ((answer,),) = (found.workloads for found in answers.answers([one, other], compared))
    assert answer.fastest is not None
    assert answer.fastest.over_next == answers.Margin(other.cell.id, narrow, shown=True)
    report = model.build([(a_run((one.cell, other.cell)), [one, other])], [compared])
    stored = msgspec.json.decode(json.render(report), type=json.Results).runs[0]
    assert (stored.comparisons, stored.answers) == (tuple(compared), report.sheets[0].answers)


def test_a_margin_between_two_has_the_scatter_of_both() -> None:
    found = margins.margin(an_answer("a", an_interval(3.0, 0.03)), an_answer("b", an_interval(2.0, 0.04)), {})
    assert found is not None
    both = math.exp(math.hypot(math.log(1.03), math.log(1.04)))
    assert (found.value, found.low, found.high) == pytest.approx((1.5, 1.5 / both, 1.5 * both))


def test_without_a_common_control_the_rates_are_compared() -> None:
    fast, slow = (an_outcome(speed=a_speed(ms, 0.1, ratio_to_control=None, control=None)) for ms in (10.0, 20.0))
    found = margins.margin(fast, slow, {})
    assert found is not None
    assert found.value == pytest.approx(2.0)
    assert found.low is not None
    assert found.low < 2.0 / 1.1


def test_a_margin_without_an_interval_or_a_speed_says_so() -> None:
    alone = margins.margin(an_answer("a", an_interval(3.0, None)), an_answer("b", an_interval(2.0)), {})
    assert alone == Interval(1.5, None, None)
    assert margins.margin(an_answer("a", ONE), an_outcome(status="failed", reason="no", speed=None), {}) is None
    assert margins.quotient(Interval(0.0, 0.0, 0.0), ONE) is None


@given(st.floats(0.01, 100), st.floats(0.01, 100), st.floats(0.001, 2), st.floats(0.001, 2))
def test_a_margin_and_its_inverse_agree(first: float, second: float, wide: float, narrow: float) -> None:
    above, below = an_interval(first, wide), an_interval(second, narrow)
    one, other = margins.quotient(above, below), margins.quotient(below, above)
    assert one is not None
    assert other is not None
    assert one.low is not None
    assert one.low <= one.value
    assert one.value * other.value == pytest.approx(1)
    assert one.low * (other.high or 0) == pytest.approx(1)


# --- the fastest ------------------------------------------------------------------------------------------------------


def test_the_fastest_right_cell_is_named_with_its_margins() -> None:
    outcomes = (
        the_control(),
        an_answer("slow", Interval(1.2, 1.19, 1.21)),
        an_answer("fast", Interval(1.5, 1.48, 1.52)),
    )
    answer = the_answer(*outcomes)
    assert answer.ranking == ("minilm/int8/fast/b1-s128", "minilm/int8/slow/b1-s128", CONTROL.id)
    fastest = answer.fastest
    assert fastest is not None
    assert fastest.over_next is not None
    assert (fastest.over_next.other, fastest.over_next.shown) == ("minilm/int8/slow/b1-s128", True)
    assert fastest.undecided == ()
    assert words(*outcomes) == ("1.50× torch-eager, ± 1.3 %", "next slow · int8: 1.25×, ± 1.6 %")


def test_without_a_control_the_ratios_of_common_blocks_rank_and_the_next_is_never_faster() -> None:
    slow, fast, other = (
        an_outcome(a_cell(target=target), speed=a_speed(latency_ms, ratio_to_control=None, control=None))
        for target, latency_ms in (("slow", 9.0), ("fast", 10.0), ("other", 30.0))
    )
    compared = [Comparison(slow.cell.id, fast.cell.id, Interval(0.95, None, None), decided=False)]
    ((answer,),) = (found.workloads for found in answers.answers([slow, other, fast], compared))
    assert answer.ranking == (fast.cell.id, slow.cell.id, other.cell.id)
    assert answer.fastest is not None
    assert answer.fastest.over_next is not None
    assert answer.fastest.over_next.ratio.value == pytest.approx(1 / 0.95)


def test_what_may_be_as_fast_is_named() -> None:
    wide = Interval(1.5, 1.2, 1.9)
    found = words(the_control(), *(an_answer(target, wide) for target in ("a", "b", "c", "d", "e", "f")))
    assert found == (
        "1.5× torch-eager (1.2–1.9)",
        "next b · int8: no difference shown (within 38 %)",
        "no difference shown to c · int8, d · int8, e · int8 and 1 more",
    )


def test_a_control_that_is_the_fastest_has_no_margin_over_itself() -> None:
    found = words(the_control(), an_answer("cpu", Interval(0.5, 0.49, 0.51)))
    assert found == ("next cpu · int8: 2.00×, ± 2 %",)
    assert words(an_answer("cpu", ONE)) == ("the only right cell",)


def test_wrong_visibly_other_emulated_and_random_answers_are_never_the_fastest() -> None:
    others = (
        an_answer("approximate", Interval(9, 8, 10), status="approximate"),
        an_answer("unchecked", Interval(9, 8, 10), status="unchecked"),
        an_outcome(a_cell(target="wrong"), status="inaccurate", reason="cosine 0.5 is below 0.98", speed=None),
    )
    right = an_answer("cpu", Interval(1.5, 1.4, 1.6))
    assert the_answer(*others, right).ranking == (right.cell.id,)
    asked = the_answer(*others, right, rank_approximate=True)
    assert asked.ranking == (others[0].cell.id, right.cell.id)
    emulated = an_outcome(a_cell(target="qnn", emulated=True))
    (sheet,) = a_report(emulated, right).sheets
    assert sheet.answers[0].workloads[0].ranking == (right.cell.id,)


def test_a_generator_is_ranked_by_decoding() -> None:
    outcomes = [
        a_generated(a_cell(target=target), made=a_generation(decode_ratio=an_interval(ratio)))
        for target, ratio in (("slow", 2.0), ("fast", 3.0))
    ]
    fastest = the_answer(*outcomes).fastest
    assert fastest is not None
    assert fastest.cell.split("/")[2] == "fast"
    assert fastest.unit == "tok/s"


def test_the_least_memory_is_of_host_and_device_together() -> None:
    outcomes = (
        an_answer("gpu", an_interval(3.0), model_rss_bytes=50 * MIB, device_memory_bytes=80 * MIB),
        an_answer("cpu", an_interval(2.0), model_rss_bytes=100 * MIB),
        an_answer("unknown", an_interval(1.5)),
    )
    smallest = the_answer(*outcomes).smallest
    assert smallest == answers.Smallest("minilm/int8/cpu/b1-s128", 100 * MIB, 130 * MIB)
    assert text_answers.size(smallest) == "100 MiB; the fastest takes 130 MiB"
    assert the_answer(an_answer("cpu", an_interval(2.0))).smallest is None
    nearly = answers.Smallest("minilm/int8/cpu/b1-s128", 100 * MIB, 100 * MIB + 4096)
    assert text_answers.size(nearly) == "100 MiB; the fastest takes as much"


# --- what did not work ------------------------------------------------------------------------------------------------


def test_cells_that_fail_for_one_reason_share_a_line() -> None:
    refused = note("text", text="no kernel")
    outcomes = [
        an_outcome(a_cell(target=target, precision=precision), status="unsupported", reason=refused, speed=None)
        for precision in ("fp16", "int4")
        for target in ("a", "b")
    ]
    crashed = an_outcome(a_cell(target="a"), status="crashed", reason=note("text", text="SIGSEGV"), speed=None)
    absent = an_outcome(a_cell(target="cuda"), status="unavailable", reason="no", speed=None)
    found = [*outcomes, crashed, absent, an_answer("cpu", an_interval(2.0))]
    ((other, one),) = (each.setbacks for each in answers.answers(found))
    by_id = {outcome.cell.id: outcome for outcome in found}
    assert (one.status, other.status) == ("unsupported", "crashed"), "in the order of the statuses"
    assert text_answers.setback_cells(one, by_id) == "a, b · fp16, int4"
    assert text_answers.setback_reason(one) == "no kernel"


def test_a_long_reason_is_cut_between_words_and_wrong_answers_say_only_what_is_wrong() -> None:
    assert len(text_answers.brief(note("text", text="word " * 100))) <= text_answers.REASON_CHARACTERS
    wrong = note(
        "out-of-tolerance",
        note("figure-too-low", figure="cosine", value=0.5, limit=0.98),
        reference="PyTorch",
        times=5,
        rounds=5,
    )
    assert text_answers.brief(wrong) == "cosine 0.5 is below 0.98"
    later = msgspec.structs.replace(wrong, values=wrong.values | {"times": 1})
    assert text_answers.brief(later) == "cosine 0.5 is below 0.98 (in 1 of 5 rounds)"


# --- in every format --------------------------------------------------------------------------------------------------


def test_page_summary_and_json_hold_the_same_answers() -> None:
    report = a_whole_report()
    page, summary = html.render(report), markdown.render(report)
    stored = msgspec.json.decode(json.render(report), type=json.Results).runs[0]
    (sheet,) = report.sheets
    assert stored.answers == sheet.answers
    fastest = sheet.answers[0].workloads[0].fastest
    assert fastest is not None
    shown = page.partition('<section id="answers">')[2].partition("</section>")[0]
    listed = summary.partition("### Answers")[2].partition("### Compatibility")[0]
    for clause in text_answers.certainty(fastest, sheet.by_id):
        assert clause in shown
        assert clause in listed.replace("\\", "")
    for setback in sheet.answers[0].setbacks:
        assert text_answers.setback_cells(setback, sheet.by_id) in shown
        assert f"**{setback.status}**" in listed


def test_a_model_without_a_right_answer_has_no_fastest() -> None:
    broken = an_outcome(status="crashed", reason=note("text", text="SIGSEGV"), speed=None)
    report = model.build([(a_run((broken.cell,)), [broken])])
    assert "no right answer with a speed" in html.render(report)
    assert "| minilm, b1-s128 | none | – | – |" in markdown.render(report)
