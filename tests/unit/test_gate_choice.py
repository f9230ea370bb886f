"""Which cells of a baseline are judged, and what becomes of the others; nothing is left out silently."""

from __future__ import annotations

import pytest
from builders import a_run, an_outcome
from matrices import a_matrix

from bench.declare.matrix import Matrix
from bench.declare.plan import plan
from bench.errors import BaselineError, UsageError
from bench.gating.choice import choose


def chosen(old: Matrix, new: Matrix, only=(), skip=(), statuses=None):
    """The choice between a run of one matrix, all of it ok unless said otherwise, and another matrix."""
    cells = plan(old)
    statuses = statuses or {}
    recorded = {
        cell.id: an_outcome(cell, status="excluded" if cell.excluded else statuses.get(cell.id, "ok"), reason="so")
        for cell in cells
    }
    return choose(a_run(*cells, matrix_text=old.text), recorded, new, only, skip)


def verdicts(choice) -> dict[str, str]:
    return {row.cell: row.verdict for row in choice.rest}


def test_cells_that_both_have_are_judged_in_the_order_of_the_base():
    choice = chosen(a_matrix(), a_matrix())
    assert [both.id for both in choice.both] == [cell.id for cell in plan(a_matrix()) if cell.excluded is None]
    assert choice.rest == ()


def test_a_cell_may_mean_something_else_now():
    new = a_matrix(("[providers.cpu]", '[providers.cpu]\nsession = { "session.disable_prepacking" = "1" }'))
    assert len(chosen(a_matrix(), new).both) == len(chosen(a_matrix(), a_matrix()).both)


def test_a_cell_that_the_new_matrix_has_not_is_gone_and_said_to_be():
    new = a_matrix(("{ batch = 1, sequence = 128 }, ", ""))
    choice = chosen(a_matrix(), new)
    gone = {cell for cell, verdict in verdicts(choice).items() if verdict == "gone"}
    assert gone == {cell.id for cell in plan(a_matrix()) if cell.excluded is None and cell.id.endswith("b1-s128")}
    assert gone


def test_a_cell_that_a_rule_leaves_out_now_is_gone_with_the_rules_reason():
    new = a_matrix(more='\n[[exclude]]\ncells = "minilm/fp32/cpu/b1-*"\nreason = "it burns"\n')
    row = next(row for row in chosen(a_matrix(), new).rest if row.verdict == "gone")
    assert "a rule leaves it out: it burns" in row.reason


def test_a_cell_that_only_the_new_matrix_has_is_added():
    old = a_matrix(("{ batch = 1, sequence = 128 }, ", ""))
    assert "added" in verdicts(chosen(old, a_matrix())).values()


def test_a_cell_that_the_base_left_out_with_only_is_not_added():
    cells = plan(a_matrix(), only=["minilm/fp32/cpu/*"])
    recorded = {cell.id: an_outcome(cell) for cell in cells}
    choice = choose(a_run(*cells, matrix_text=a_matrix().text), recorded, a_matrix(), (), ())
    assert choice.rest == ()
    assert len(choice.both) == len(cells)


def test_a_base_whose_matrix_cannot_be_read_any_more_still_tells_what_is_added():
    cells = plan(a_matrix(), only=["minilm/fp32/cpu/*"])
    recorded = {cell.id: an_outcome(cell) for cell in cells}
    choice = choose(a_run(*cells, matrix_text="schema = 0"), recorded, a_matrix(), (), ())
    assert "added" in verdicts(choice).values()


def test_a_cell_without_a_valid_speed_in_the_base_is_not_judged_and_says_why():
    choice = chosen(a_matrix(), a_matrix(), statuses={"minilm/fp32/cpu/b1-s128": "crashed"})
    row = choice.rest[0]
    assert (row.cell, row.verdict) == ("minilm/fp32/cpu/b1-s128", "not-judged")
    assert "crashed: so" in row.reason


def test_an_optional_cell_that_the_base_measured_is_judged_without_being_asked_for():
    rule = '\n[[exclude]]\ncells = "minilm/*"\nreason = "slow"\noptional = true\n'
    old, new = a_matrix(), a_matrix(more=rule)
    assert {both.id for both in chosen(old, new).both} >= {"minilm/fp32/cpu/b1-s128"}


def test_an_optional_cell_that_neither_side_has_measured_is_new_only_where_it_is_asked_for():
    new = a_matrix(
        ("[precisions.int8]", '[precisions.half]\ntext-encoder = "fp16"\n\n[precisions.int8]'),
        more='\n[[exclude]]\ncells = "*/half/*"\nreason = "slow"\noptional = true\n',
    )
    cells = plan(a_matrix())
    recorded = {cell.id: an_outcome(cell) for cell in cells}
    run = a_run(*cells, matrix_text=a_matrix().text)
    assert choose(run, recorded, new, (), ()).rest == ()
    asked = verdicts(choose(run, recorded, new, (), (), with_optional=True))
    assert asked == {"minilm/half/cpu/b1-s128": "added", "minilm/half/cpu/b8-s128": "added"}


def test_a_new_target_that_is_not_on_this_machine_is_no_new_cell():
    new = a_matrix(more="[providers.cuda]\nif_present = true\n")
    cells = plan(a_matrix())
    run, recorded = a_run(*cells, matrix_text=a_matrix().text), {cell.id: an_outcome(cell) for cell in cells}
    assert choose(run, recorded, new, (), (), absent={"cuda": "no GPU"}).rest == ()
    assert {row.verdict for row in choose(run, recorded, new, (), ()).rest} == {"added"}


def test_globs_narrow_the_choice():
    choice = chosen(a_matrix(), a_matrix(), only=["minilm/fp32/*"], skip=["*/b8-*"])
    assert {both.id for both in choice.both} == {"minilm/fp32/cpu/b1-s128", "minilm/fp32/torch-eager/b1-s128"}
    assert choice.rest == ()


def test_a_glob_that_matches_nothing_of_the_base_is_a_mistake():
    with pytest.raises(UsageError, match="matches no cell"):
        chosen(a_matrix(), a_matrix(), only=["nothing/*"])


def test_a_baseline_of_other_cells_is_refused_with_one_of_them():
    new = a_matrix(("[models.minilm]", "[models.other]"), ("[models.vit]", "[models.another]"))
    with pytest.raises(BaselineError, match="holds other cells than the matrix: it has 'minilm/fp32/cpu/b1-s128'"):
        chosen(a_matrix(), new)


def test_a_baseline_without_a_valid_speed_is_refused_with_a_reason():
    statuses = {cell.id: "unavailable" for cell in plan(a_matrix())}
    with pytest.raises(BaselineError, match=r"has no cell with a valid speed; .*: so"):
        chosen(a_matrix(), a_matrix(), statuses=statuses)
