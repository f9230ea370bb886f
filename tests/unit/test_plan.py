"""A matrix becomes cells in an order that uses each artifact in one stretch, and every idle glob is told."""

from __future__ import annotations

from itertools import groupby

import pytest
from matrices import a_matrix

from bench.declare.matrix import Matrix
from bench.declare.plan import plan, select, whole_plan
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
]


def rule(cells: str, reason: str = "known to hang") -> str:
    return f'[[exclude]]\ncells = "{cells}"\nreason = "{reason}"\n'


def by_id(matrix):
    return {cell.id: cell for cell in plan(matrix)}


def test_every_model_precision_target_and_workload_with_a_recipe_is_one_cell():
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


# --- combinations that cannot be --------------------------------------------------------------------------------------

OF_VIT = ('source = "config:vit-tiny"', 'source = "config:vit-tiny"\nprecisions = ["fp32", "int8"]')
OF_TORCH = ('mode = "eager"', 'mode = "eager"\nprecisions = ["fp32", "int8"]')


def test_a_precision_without_a_recipe_of_the_family_or_the_engine_is_no_cell():
    assert not [id_ for id_ in by_id(a_matrix()) if id_.startswith("vit/int8")]
    assert "vit/fp32/torch-eager/b1" not in by_id(a_matrix(('torch = "fp32"\n', "")))


def test_a_precision_that_a_model_lists_stays_in_the_plan_with_the_reason():
    cell = by_id(a_matrix(OF_VIT))["vit/int8/cpu/b1"]
    assert cell.recipe is None
    assert cell.excluded == "precision 'int8' has no recipe for family 'image-classifier'"


def test_a_precision_that_a_target_lists_stays_in_the_plan_with_the_reason():
    cells = by_id(a_matrix(OF_TORCH))
    reason = "precision 'int8' has no recipe for engine 'torch', family 'image-classifier'"
    assert cells["vit/int8/torch-eager/b1"].excluded == reason
    assert "vit/int8/cpu/b1" not in cells


def test_a_model_and_a_target_are_measured_in_the_precisions_that_they_list_alone():
    only_fp32 = (OF_VIT[0], OF_VIT[1].replace(', "int8"', "")), (OF_TORCH[0], OF_TORCH[1].replace(', "int8"', ""))
    assert list(by_id(a_matrix(*only_fp32))) == [id_ for id_ in IDS if "int8/torch-eager" not in id_]


def test_an_engine_that_does_not_run_a_family_makes_no_cell_and_is_warned_of_where_it_runs_nothing():
    baseline = '[baselines.llama-cpp]\nengine = "llama-cpp"\n'
    planned = whole_plan(a_matrix(more=baseline))
    assert [cell.id for cell in planned.cells] == IDS
    assert planned.warnings == (
        "baselines.llama-cpp in matrix.toml has no cell: engine 'llama-cpp' does not run family 'text-encoder'",
    )


def test_a_precision_that_no_model_can_have_is_a_warning():
    planned = whole_plan(a_matrix(more='[precisions.four]\ntext-generator = "genai-int4"\n'))
    assert planned.warnings == (
        "precisions.four in matrix.toml has no cell: precision 'four' has no recipe for family 'text-encoder'",
    )


def test_a_matrix_without_any_cell_is_a_mistake_with_a_reason():
    nothing = a_matrix(
        ('text-encoder = "fp32"\nimage-classifier = "fp32"\ntorch = "fp32"', 'onnx-file = "fp32"'),
        ('text-encoder = "dynamic-int8"\ntorch = { text-encoder = "dynamic-int8" }', 'onnx-file = "dynamic-int8"'),
    )
    with pytest.raises(MatrixError, match=r"matrix\.toml has no cell: precision 'fp32' has no recipe for "):
        plan(nothing)


# --- rules ------------------------------------------------------------------------------------------------------------


def test_a_rule_that_matches_nothing_is_a_warning_with_the_nearest_cell():
    planned = whole_plan(a_matrix(more=rule("minilm/int4/*")))
    assert [cell.id for cell in planned.cells] == IDS
    (warning,) = planned.warnings
    assert warning.startswith("the rule [[exclude]] cells = 'minilm/int4/*' in matrix.toml matches no cell; a cell is ")
    assert "named like 'minilm/" in warning


def test_a_rule_for_what_can_be_no_cell_is_idle_and_right():
    assert whole_plan(a_matrix(more=rule("vit/int8/*"))).warnings == ()


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


# --- optional cells ---------------------------------------------------------------------------------------------------

OPTIONAL = rule("*/fp32/cpu/*", "it takes long") + "optional = true\n"
ON_CPU = [id_ for id_ in IDS if "/fp32/cpu/" in id_]


def test_an_optional_cell_is_planned_with_optional_alone():
    planned = whole_plan(a_matrix(more=OPTIONAL))
    assert [cell.id for cell in planned.cells] == [id_ for id_ in IDS if id_ not in ON_CPU]
    assert {cell.id: cell.excluded for cell in planned.left_out} == dict.fromkeys(ON_CPU, "it takes long")
    whole = whole_plan(a_matrix(more=OPTIONAL), with_optional=True)
    assert [cell.id for cell in whole.cells] == IDS
    assert all(cell.excluded is None for cell in whole.cells)
    assert whole.left_out == ()


def test_only_narrows_and_never_widens():
    matrix = a_matrix(more=OPTIONAL)
    assert [cell.id for cell in plan(matrix, only=["vit/*"])] == ["vit/fp32/torch-eager/b1"]
    assert [cell.id for cell in plan(matrix, only=["vit/*"], with_optional=True)] == IDS[-2:]


def test_what_only_names_and_is_optional_is_told_with_the_flag_that_runs_it():
    message = (
        r"^--only 'vit/fp32/cpu/\*' matches only optional cells \(it takes long\); add --with-optional to run them$"
    )
    with pytest.raises(UsageError, match=message):
        plan(a_matrix(more=OPTIONAL), only=["minilm/*", "vit/fp32/cpu/*"])


def test_what_skip_names_may_be_optional():
    assert plan(a_matrix(more=OPTIONAL), skip=["*/fp32/cpu/*"]) == plan(a_matrix(more=OPTIONAL))


def test_what_only_names_and_can_be_no_cell_is_told_with_the_reason():
    with pytest.raises(UsageError, match=r"'vit/int8/\*' matches no cell: precision 'int8' has no recipe for family"):
        plan(a_matrix(), only=["vit/int8/*"])


def test_a_cell_that_a_rule_excludes_for_good_is_not_offered_as_optional():
    planned = whole_plan(a_matrix(more=rule("vit/*/cpu/*") + OPTIONAL))
    assert "vit/fp32/cpu/b1" not in {cell.id for cell in (*planned.cells, *planned.left_out)}
    whole = {cell.id: cell.excluded for cell in plan(a_matrix(more=rule("vit/*/cpu/*") + OPTIONAL), with_optional=True)}
    assert whole["vit/fp32/cpu/b1"] == "known to hang"


def test_a_matrix_of_optional_cells_alone_names_the_flag():
    with pytest.raises(MatrixError, match=r"every cell of matrix\.toml is optional \(known to hang\); add --with-opt"):
        plan(a_matrix(more=rule("*") + "optional = true\n"))


# --- what is not on this machine --------------------------------------------------------------------------------------

CUDA = "[providers.cuda]\n"
NO_GPU = {"cuda": "this machine shows no NVIDIA GPU"}


def test_a_target_that_is_not_here_keeps_its_cells_where_the_matrix_lists_it():
    cells = plan(a_matrix(more=CUDA), absent=NO_GPU)
    assert {cell.excluded for cell in cells if cell.target == "cuda"} == {None}


def test_a_target_with_if_present_that_is_not_here_is_optional():
    matrix = a_matrix(more=CUDA + "if_present = true\n")
    planned = whole_plan(matrix, absent=NO_GPU)
    assert [cell.id for cell in planned.cells] == IDS
    assert {(cell.target, cell.excluded) for cell in planned.left_out} == {("cuda", NO_GPU["cuda"])}
    assert len(plan(matrix)) == len(plan(matrix, absent=NO_GPU, with_optional=True)) > len(IDS)
