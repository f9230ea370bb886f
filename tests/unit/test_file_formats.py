"""What a user's own file holds: its tolerance, the format that it computes in, and what reports call it."""

from __future__ import annotations

import json

import pytest
from builders import a_cell, a_run, an_observation, an_outcome, rounds_of, some_facts
from matrices import of_matrix
from msgspec.structs import replace

from bench.cli import result_rows
from bench.comparison import compare
from bench.comparison import text as comparison_text
from bench.declare import answer_limits
from bench.declare.precisions import wider
from bench.gating import text as gating_text
from bench.gating.cells import Support, cell_row, supported
from bench.judge.number_formats import held
from bench.judge.outcome import judge
from bench.measure.visits import tolerance_of
from bench.records import Note, Recipe, Tolerance, note
from bench.report import model, text
from bench.report.renderers import html, pytest_benchmark
from bench.shared.number_formats import coarsest, of_file

INT8 = note("file-format", number_format="int8", op_types=("QLinearConv x9",))
HALF = note("file-format", number_format="fp16", op_types=())
AS_IT_IS = Recipe("fp32", number_format="fp32")


def a_file_cell(recipe: Recipe = AS_IT_IS, precision: str = "fp32"):
    return a_cell(f"file/{precision}/webgpu/b1", family="onnx-file", recipe=recipe, format="onnx")


def judged(own: Note | None, recipe: Recipe = AS_IT_IS, **facts):
    cell = a_file_cell(recipe)
    notes = {"0a": (own,)} if own else {}
    run = a_run(cell, artifacts={cell.artifact_name: "0a"}, build_notes=notes, **facts)
    return judge(run, [an_observation(cell=cell.id)])[0]


def test_the_coarsest_format_has_the_fewest_bits():
    assert coarsest(("fp32", "int8", "fp16")) == "int8"
    assert coarsest(("fp64", "fp32")) == "fp32"
    assert coarsest(("gguf-q4", "straw")) == "fp32"


def test_a_file_without_a_note_on_its_format_is_fp32():
    assert of_file((note("noise"), HALF)) == "fp16"
    assert of_file((note("noise"),)) is None


@pytest.mark.parametrize(
    ("own", "recipe", "runs"),
    [
        (INT8, AS_IT_IS, "int8"),
        (note("file-format", number_format="fp64", op_types=()), AS_IT_IS, "fp64"),
        (HALF, Recipe("weight-only-int4", number_format="int4"), "int4"),
        (INT8, Recipe("fp16", number_format="fp16"), "int8"),
        (note("noise"), AS_IT_IS, "fp32"),
    ],
)
def test_a_cell_runs_what_the_file_holds_or_what_the_recipe_makes_of_it(own: Note, recipe: Recipe, runs: str):
    assert held(a_file_cell(recipe), (own,)) == runs


def test_a_file_that_is_quantized_computes_in_its_own_format():
    outcome = judged(INT8)
    assert (outcome.file_format, outcome.executed) == ("int8", "int8")
    assert text.asked_and_computed(outcome) is None


def test_a_file_in_half_precision_computes_in_what_the_probe_found_for_half_precision():
    targets = {"webgpu": some_facts(("fp32", "fp32"), ("fp16", "fp32 between casts"))}
    outcome = judged(HALF, targets=targets)
    assert (outcome.file_format, outcome.executed) == ("fp16", "fp32 between casts")
    assert text.asked_and_computed(outcome) == "the file is fp16, computes in fp32 between casts"
    assert "casts-around-fp32" in {flag.kind for flag in outcome.flags}


def test_the_errors_of_a_quantized_file_are_no_reduced_precision():
    cell = a_file_cell()
    seen = an_observation(cell=cell.id)
    coarse = replace(seen, parity=replace(seen.parity, effective_bits=7.0))
    run = a_run(cell, artifacts={cell.artifact_name: "0a"}, build_notes={"0a": (INT8,)})
    assert "reduced-precision" not in {flag.kind for flag in judge(run, [coarse])[0].flags}
    assert "reduced-precision" in {flag.kind for flag in judge(a_run(cell), [coarse])[0].flags}


def test_reports_never_call_such_a_file_fp32():
    cell = a_file_cell()
    outcome = an_outcome(cell, file_format="fp16", build_notes=(HALF,))
    assert text.precision(cell, outcome.file_format) == "fp16 file"
    assert text.recipe(cell, outcome.file_format) == "the file as it is"
    assert text.precision(cell) == "fp32"
    assert text.remark(outcome) == "the file is fp16"
    # A recipe makes something of its own.
    made = a_file_cell(Recipe("weight-only-int4", number_format="int4"), "int4")
    assert text.precision(made, "fp16") == "int4"
    assert text.recipe(made, "fp16") == "weight-only-int4"


def test_terminal_comparison_gate_and_histories_of_others_name_what_the_file_holds():
    cell = a_file_cell()
    outcome = an_outcome(cell, file_format="fp16", build_notes=(HALF,))
    assert "the file is fp16" in result_rows.row(outcome).remarks
    assert result_rows.row(outcome).name == "webgpu · fp16 file"
    failed = an_outcome(cell, status="failed", reason="no kernel", speed=None, file_format="fp16")
    (trouble,) = result_rows.troubles([failed])
    assert trouble.entries[0].words == "file: webgpu · fp16 file: no kernel"
    row = supported(cell_row(cell.id, "pass"), Support(), outcome, outcome)
    assert gating_text.explanation(row) == "the file is fp16"
    written = json.loads(pytest_benchmark.render(model.build([(a_run(cell), [outcome])])))
    assert written["benchmarks"][0]["extra_info"]["file_format"] == "fp16"
    run = a_run(cell, artifacts={cell.artifact_name: "0a"}, build_notes={"0a": (HALF,)})
    sides = [compare.judged(run, rounds_of(cell, [2, 2, 2])) for _ in range(2)]
    (changed,) = compare.compare(*sides).cells
    assert comparison_text.joined(changed.flags).startswith("the file is fp16")
    random = an_outcome(cell, status="unchecked", file_format="fp16", build_notes=(HALF,))
    page = html.render(model.build([(a_run(cell), [random])]))
    assert "fp16 file" in page
    assert f"{cell.target} · fp32" not in page


# --- tolerances -------------------------------------------------------------------------------------------------------


def test_the_wider_tolerance_accepts_what_either_accepts():
    narrow, wide = Tolerance(min_cosine=0.99999, max_relative_error=1e-4), Tolerance(0.97, 0.25)
    assert wider(narrow, wide) == wider(wide, narrow) == wide
    assert wider(narrow, None) == narrow
    assert wider(narrow, Tolerance(min_cosine=0.9)) == Tolerance(min_cosine=0.9)
    exact = Tolerance(max_kl=1e-4, same_tokens=True)
    assert wider(exact, Tolerance(max_kl=0.1)) == Tolerance(max_kl=0.1)


@pytest.mark.parametrize(
    ("notes", "limit"),
    [
        ((INT8,), 0.97),
        ((HALF, note("noise")), 0.999),
        ((note("noise"),), 0.99999),
        # A format that no limit is known for takes none of the checks away.
        ((note("file-format", number_format="fp64", op_types=()),), 0.99999),
    ],
)
def test_a_file_is_held_to_what_its_own_format_allows(notes: tuple[Note, ...], limit: float):
    precision = of_matrix().precisions["fp32"]
    assert tolerance_of(a_file_cell(), precision, notes).min_cosine == limit


def test_a_tolerance_of_the_matrix_is_not_widened():
    cell, own = a_file_cell(), Tolerance(min_cosine=0.9999)
    precision = replace(of_matrix().precisions["fp32"], tolerance=own)
    assert tolerance_of(cell, precision, (INT8,)) == answer_limits.completed(own, "int8")
    assert tolerance_of(cell, precision, ()) == answer_limits.completed(own, "fp32")


def test_random_weights_have_a_limit_of_their_own_where_a_recipe_declares_one():
    limit = Tolerance(max_kl=0.45, max_kl_random=0.3, min_top1=0.3)
    assert answer_limits.for_weights(limit, "random").max_kl == 0.3
    assert answer_limits.for_weights(limit, "pretrained").max_kl == 0.45
    assert answer_limits.for_weights(Tolerance(max_kl=0.45), "random").max_kl == 0.45
