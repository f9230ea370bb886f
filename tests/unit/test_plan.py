"""A matrix becomes cells in an order that uses each artifact in one stretch, and every idle glob is told."""

from __future__ import annotations

from itertools import groupby

import pytest
from matrices import a_matrix

from bench.declare.matrix import Matrix
from bench.declare.plan import plan, select
from bench.errors import MatrixError, UsageError
from bench.records import Recipe

IDS = [
    "minilm/fp32/cpu/b1-s128",
    "minilm/fp32/cpu/b8-s128",
    "minilm/fp32/torch-eager/b1-s128",
    "minilm/fp32/torch-eager/b8-s128",
    "minilm/int8/cpu/b1-s128",
    "minilm/int8/cpu/b8-s128",
    "minilm/int8/torch-eager/b1-s128",
    "minilm/int8/torch-eager/b8-s128",
    "vit/fp32/cpu/b1",
    "vit/fp32/torch-eager/b1",
    "vit/int8/cpu/b1",
    "vit/int8/torch-eager/b1",
]


def rule(cells: str, reason: str = "known to hang") -> str:
    return f'[[exclude]]\ncells = "{cells}"\nreason = "{reason}"\n'


def by_id(matrix):
    return {cell.id: cell for cell in plan(matrix)}


def test_every_model_precision_target_and_workload_is_one_cell():
    assert [cell.id for cell in plan(a_matrix())] == IDS


def test_each_model_and_in_it_each_precision_is_used_in_one_stretch():
    cells = plan(a_matrix())
    for key in (lambda cell: cell.model, lambda cell: (cell.model, cell.precision)):
        stretches = [value for value, _ in groupby(cells, key)]
        assert len(stretches) == len(set(stretches))


def test_a_cell_carries_all_that_a_visit_needs():
    cell = by_id(a_matrix())["minilm/int8/cpu/b8-s128"]
    assert cell.recipe == Recipe("dynamic-int8", number_format="int8")
    assert cell.provider == "CPUExecutionProvider"
    assert (cell.engine, cell.runtime, cell.family) == ("ort", "ort", "text-encoder")
    assert cell.sizes == {"batch": 8, "sequence": 128}
    assert cell.group == "minilm/int8/cpu"


def test_rates_are_items_in_one_call_and_the_first_is_the_unit():
    cell = by_id(a_matrix())["minilm/fp32/cpu/b8-s128"]
    assert cell.rates == {"sequences": 8.0, "tokens": 1024.0}
    assert next(iter(cell.rates)) == "sequences"


def test_the_cells_of_the_control_know_it():
    assert {cell.target for cell in plan(a_matrix()) if cell.control} == {"torch-eager"}


def test_a_cell_that_a_rule_excludes_stays_in_the_plan_with_the_rules_reason():
    cells = by_id(a_matrix(more=rule("*/int8/torch-eager/*")))
    assert list(cells) == IDS
    assert {id_ for id_, cell in cells.items() if cell.excluded == "known to hang"} == {
        id_ for id_ in IDS if "int8/torch-eager" in id_
    }


def test_the_first_rule_that_matches_gives_the_reason():
    cells = by_id(a_matrix(more=rule("vit/*", "first") + rule("*", "second")))
    assert cells["vit/fp32/cpu/b1"].excluded == "first"
    assert cells["minilm/fp32/cpu/b1-s128"].excluded == "second"


def test_a_cell_without_a_recipe_of_its_family_says_so():
    cell = by_id(a_matrix())["vit/int8/cpu/b1"]
    assert cell.recipe is None
    assert cell.excluded == "precision 'int8' has no recipe for family 'image-classifier'"


def test_a_cell_without_a_recipe_of_its_engine_says_so():
    matrix = a_matrix(('torch = "fp32"\n', ""))
    said = by_id(matrix)["vit/fp32/torch-eager/b1"].excluded
    assert said.startswith("precision 'fp32' has no recipe for engine 'torch'")


def test_a_rule_that_matches_nothing_is_answered_with_the_nearest_cell():
    with pytest.raises(
        MatrixError, match=r"cells = 'minilm/int4/\*' in .* matches no cell; a cell is named like 'minilm/"
    ):
        plan(a_matrix(more=rule("minilm/int4/*")))


def test_only_keeps_what_any_of_its_globs_matches_in_the_plans_order():
    kept = [cell.id for cell in plan(a_matrix(), only=["vit/fp32/*", "*/fp32/cpu/b1*"])]
    assert kept == ["minilm/fp32/cpu/b1-s128", "vit/fp32/cpu/b1", "vit/fp32/torch-eager/b1"]


def test_skip_takes_from_what_only_keeps():
    kept = [cell.id for cell in plan(a_matrix(), only=["vit/*"], skip=["*/int8/*", "*/torch-*"])]
    assert kept == ["vit/fp32/cpu/b1"]


@pytest.mark.parametrize(
    ("only", "skip", "flag"), [(["minilm/fp16/*"], [], "--only"), ([], ["minilm/fp16/*"], "--skip")]
)
def test_a_glob_that_matches_nothing_is_answered_with_the_nearest_cell(only, skip, flag):
    with pytest.raises(UsageError) as caught:
        plan(a_matrix(), only, skip)
    said = str(caught.value)
    assert said.startswith(f"{flag} 'minilm/fp16/*' matches no cell; a cell is named like 'minilm/")


def test_one_idle_glob_among_good_ones_is_told():
    with pytest.raises(UsageError, match="'resnet"):
        plan(a_matrix(), only=["vit/*", "resnet/*"])


def test_globs_that_leave_no_cell_are_told():
    with pytest.raises(UsageError, match="--only and --skip leave no cell"):
        plan(a_matrix(), only=["vit/*"], skip=["vit/*"])


def test_a_glob_heeds_the_case_of_names():
    with pytest.raises(UsageError):
        plan(a_matrix(), only=["VIT/*"])


def test_without_globs_everything_is_selected():
    cells = plan(a_matrix())
    assert select(cells, (), ()) == cells


# --- workloads of the user's own ONNX file ----------------------------------------------------------------------------


def an_onnx_matrix(workloads: str) -> Matrix:
    """A matrix with these workloads of an ONNX file, whose dimensions may be called anything."""
    return a_matrix(
        ('family = "image-classifier"\nsource = "config:vit-tiny"', 'family = "onnx-file"\nsource = "onnx:m.onnx"'),
        ("\n[precisions.fp32]\n", f'workloads = {workloads}\n\n[precisions.fp32]\nonnx-file = "fp32"\n'),
    )


def onnx_workloads(workloads: str) -> list[str]:
    """The names of these workloads."""
    return [cell.workload for cell in plan(an_onnx_matrix(workloads), only=["vit/fp32/cpu/*"])]


def test_a_dimension_of_any_name_makes_a_name_that_is_one_part_of_an_id():
    assert onnx_workloads('[{ "past/length + 1" = 2 }, { "a\\nb" = 3 }]') == ["b1-past_length_1_2", "b1-a_b3"]


def test_a_dimension_that_ends_in_a_digit_does_not_run_into_its_size():
    assert onnx_workloads("[{ x1 = 1 }, { x = 11 }]") == ["b1-x1_1", "b1-x11"]


def test_a_long_name_of_a_dimension_is_shortened_to_its_initials():
    assert onnx_workloads("[{ past_sequence_length = 16, seq = 4 }]") == ["b1-psl16-seq4"]
    assert onnx_workloads('[{ "p2o.DynamicDimension.1" = 320 }]') == ["b1-pD1_320"]


@pytest.mark.parametrize("name", ["batch_size", "batch", "Batch_Size", "batch-size", "num_batches"])
def test_the_files_own_name_of_the_batch_counts_samples(name):
    matrix = an_onnx_matrix(f'[{{ "{name}" = 8 }}]')
    (cell,) = plan(matrix, only=["vit/fp32/cpu/*"])
    assert (cell.workload, cell.sizes, cell.rates) == ("b8", {"batch": 8}, {"samples": 8.0})


def test_two_sizes_for_the_samples_of_a_call_are_refused():
    with pytest.raises(MatrixError, match=r"workloads\[0\]: batch = 8 and batch_size = 2 are two sizes .* batch_axis"):
        an_onnx_matrix("[{ batch = 8, batch_size = 2 }]")


def test_a_letter_may_count_anything_so_the_file_decides():
    assert onnx_workloads("[{ N = 8 }, { batch = 2, N = 8 }]") == ["N8", "b2-N8"]


def test_the_axis_that_the_user_names_counts_samples():
    matrix = an_onnx_matrix('[{ rows = 8, batch_size = 3 }]\nbatch_axis = "rows"')
    (cell,) = plan(matrix, only=["vit/fp32/cpu/*"])
    assert (cell.workload, cell.sizes) == ("b8-batch_size3", {"batch": 8, "batch_size": 3})
    assert matrix.models["vit"].input_options.batch_axis == "rows"


def test_two_workloads_that_would_have_one_name_are_told():
    with pytest.raises(MatrixError, match=r"two workloads of models\.vit in .* have one name, 'b1-a_b1'"):
        onnx_workloads('[{ "a b" = 1 }, { "a/b" = 1 }]')


def test_an_optional_cell_runs_only_when_it_is_asked_for():
    matrix = a_matrix(more=rule("*/fp32/cpu/*", "it takes long") + "optional = true\n")
    plain, asked = plan(matrix), plan(matrix, only=["*/fp32/cpu/*"])
    assert {cell.excluded for cell in plain if cell.group.endswith("/fp32/cpu")} == {
        "it takes long; optional: --only '*/fp32/cpu/*' runs it"
    }
    assert asked
    assert all(cell.excluded is None for cell in asked)
