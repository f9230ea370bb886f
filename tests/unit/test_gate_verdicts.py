"""The rows of a gate: from pairs, else from stored numbers; and support wherever something was seen."""

from __future__ import annotations

from builders import CPU, a_cell, a_failed, a_failure, a_placement, a_run, an_observation, rounds_of

from bench.gating import text
from bench.gating.choice import Choice, CommonCell
from bench.gating.decision import CellDecision, Rules
from bench.gating.verdicts import GateObservations, SideResult, notes, rows, too_short
from bench.records import GateCell, Interval, Pair, note

CELL = a_cell("minilm/fp32/cpu/b1", provider=CPU)
EMULATED = a_cell("minilm/fp32/npu/b1", emulated=True)
ON_CPU = a_placement(CPU={"MatMul": 3})


def half(*observations, cells=(CELL,), **failures) -> SideResult:
    return SideResult(a_run(*cells), observations, failures)


def healthy(number: int = 1, cell=CELL, **said):
    return an_observation(cell, number, **{"placement": ON_CPU, **said})


def sighted(**said) -> GateObservations:
    decided = CellDecision(
        CELL.id, "pass", (note("text", text="no slowdown shown"),), "screen", Interval(0.0, -0.01, 0.01), 2, 0.02
    )
    usual = {
        "choice": Choice((CommonCell(CELL, CELL),), ()),
        "base": half(healthy()),
        "new": half(healthy()),
        "remeasured_base": half(healthy()),
        "not_remeasured": None,
        "decided": (decided,),
        "pairs": (Pair(CELL.id, "screen", 1, "now", 0.0, (2.0,), (2.0,)),),
    }
    return GateObservations(**{**usual, **said})


def row(**said) -> GateCell:
    return rows(sighted(**said), Rules())[0]


def test_a_cell_that_is_as_it_was_passes():
    found = row()
    assert (found.verdict, found.base_status, found.new_status) == ("pass", "ok", "ok")


def test_a_cell_whose_turn_never_came_has_lost_no_support():
    open_ = CellDecision(CELL.id, "inconclusive", (), "", None, 0, None)
    found = row(new=half(), remeasured_base=half(), decided=(open_,), pairs=())
    assert (found.verdict, found.stage, found.new_status) == ("inconclusive", "", None)


def test_a_target_that_only_the_new_side_has_not_is_lost_support():
    failure = a_failure("unavailable", stage="target", message="no such provider")
    new = half(a_failed(CELL, 0, failure=failure), **{CELL.id: failure})
    found = row(new=new, decided=(), pairs=())
    assert found.verdict == "lost-support"
    assert "no such provider" in found.reason


def test_a_target_that_neither_side_has_today_is_not_the_changes_doing():
    failure = a_failure("unavailable", stage="target", message="the device is unplugged")
    gone = half(a_failed(CELL, 0, failure=failure), **{CELL.id: failure})
    assert row(new=gone, remeasured_base=gone, decided=(), pairs=()).verdict == "inconclusive"


def test_a_base_that_could_not_be_made_again_takes_no_blame_from_the_new_side():
    unmade = a_failure("unavailable", stage="runtime", message="no such package")
    again = half(a_failed(CELL, 0, failure=unmade), **{CELL.id: unmade})
    new = half(a_failed(CELL, 1, status="crashed", message="SIGSEGV"))
    assert row(new=new, remeasured_base=again, decided=(), pairs=()).verdict == "lost-support"


def test_a_base_that_cannot_be_made_again_is_held_against_its_stored_numbers():
    unmade = a_failure("unavailable", stage="runtime", message="no such package")
    again = half(a_failed(CELL, 0, failure=unmade), **{CELL.id: unmade})
    quiet = tuple(rounds_of(CELL, [2.0, 2.01, 2.0, 1.99, 2.0, 2.01], placement=ON_CPU))
    found = row(base=half(*quiet), new=half(*quiet), remeasured_base=again, decided=(), pairs=())
    assert (found.verdict, found.stage) == ("pass", "stored")
    assert "no such package" in found.reason


def test_a_matrix_that_cannot_be_read_any_more_leaves_stored_numbers_as_well():
    slow = tuple(rounds_of(CELL, [3.0, 3.01, 3.0, 2.99, 3.0, 3.01], placement=ON_CPU))
    quick = tuple(rounds_of(CELL, [2.0, 2.01, 2.0, 1.99, 2.0, 2.01], placement=ON_CPU))
    found = row(
        base=half(*quick),
        new=half(*slow),
        remeasured_base=None,
        not_remeasured=note("text", text="its matrix is gone"),
        decided=(),
        pairs=(),
    )
    assert (found.verdict, found.stage) == ("regression", "stored")
    assert "its matrix is gone" in found.reason


def test_an_emulated_cell_is_judged_by_its_answers_alone():
    both = Choice((CommonCell(EMULATED, EMULATED),), ())
    base, new = (half(an_observation(EMULATED, 1), cells=(EMULATED,)) for _ in range(2))
    found = row(choice=both, base=base, new=new, remeasured_base=None, decided=(), pairs=())
    assert (found.verdict, found.change, found.pairs) == ("pass", None, 0)


def test_rows_that_are_not_judged_come_last():
    gone = GateCell("minilm/int8/cpu/b1", "gone", "the base measured it")
    assert rows(sighted(choice=Choice((CommonCell(CELL, CELL),), (gone,))), Rules())[-1] == gone


# --- notes and sentences ----------------------------------------------------------------------------------------------


def test_what_is_held_against_stored_numbers_is_counted_and_each_note_stands_once():
    same = note("rebuilt-artifacts", names=("minilm/fp32",))
    found = notes(sighted(decided=(), pairs=()), [same, note("rebuilt-artifacts", names=("minilm/fp32",))])
    assert found[0] == same
    assert text.say(found[1]).startswith("1 of 1 cells are compared with stored numbers")
    assert len(found) == 2


def test_pairs_that_were_set_aside_are_counted():
    aside = Pair(CELL.id, "screen", 1, "now", 0.3, (2.0,), (2.6,), set_aside=True)
    (found,) = notes(sighted(pairs=(aside, aside, *sighted().pairs)), [])
    assert text.say(found).startswith("2 of 3 pairs were discarded")


def test_a_time_that_decided_nothing_says_what_would_be_enough():
    open_ = GateCell(CELL.id, "inconclusive", "0 of 2 pairs")
    assert text.say(too_short([open_], 0.5, 30.0, 10)) == (
        "--budget-minutes 0.5 is too short to decide anything: screening 10 cells alone takes about 10 minutes"
    )
    assert text.say(too_short([open_], 0.5, 0.0, 10)).endswith("not one pair was made")


def test_a_time_in_which_something_was_decided_was_not_too_short():
    assert too_short([GateCell(CELL.id, "pass", "", stage="screen")], 0.5, 30.0, 10) is None
    assert too_short([GateCell(CELL.id, "regression", "", stage="confirm")], 0.5, 30.0, 10) is None
