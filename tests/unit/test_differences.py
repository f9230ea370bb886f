"""What differs between two runs is said in words, each thing once, and what is equal is not said."""

from __future__ import annotations

from typing import Any

import pytest
from builders import a_cell, a_device, a_machine, a_run, an_effort, some_facts
from matrices import MATRIX, matrix_text
from msgspec.structs import replace
from note_kinds import assert_words_fit

from bench.judge.changes import MOST
from bench.judge.differences import REQUEST_KINDS
from bench.judge.differences import differences as facts
from bench.records import Accelerator, Note, Recipe, Run, RuntimeRecord
from bench.report import text_differences as text


def differences(base: Run, new: Run) -> tuple[str, ...]:
    """What differs, in words."""
    return text.sentences(facts(base, new))


def a_runtime(name: str = "ort", **said: Any) -> RuntimeRecord:
    packages = {"onnxruntime": "1.30.0", "numpy": "2.4.6", "protobuf": "6.0.0"}
    record = RuntimeRecord(name, ("onnxruntime==1.30.0", "numpy"), "3.11.7", packages, "k")
    return replace(record, **said)


def with_packages(run: Run, **packages: str) -> Run:
    """The run with other versions in its runtime `ort`."""
    return replace(run, runtimes={"ort": a_runtime(packages={**a_runtime().packages, **packages})})


BASE = a_run(
    a_cell("minilm/fp32/cpu/b1"),
    a_cell("minilm/int8/cpu/b1", recipe=Recipe("dynamic-int8", {"per_channel": True})),
    runtimes={"ort": a_runtime()},
    matrix_text=MATRIX,
    source_digests={"minilm": "a" * 64},
    code="a" * 16,
    targets={"cpu": some_facts(("fp32", "fp32"))},
)
INT8 = "precision int8: "


def with_recipe(recipe: Recipe | None) -> Run:
    return replace(BASE, cells=(BASE.cells[0], replace(BASE.cells[1], recipe=recipe)))


def test_a_run_does_not_differ_from_itself_made_later():
    later = replace(BASE, created="2027-01-01T00:00:00Z", name="another", command="bench run --only x")
    assert differences(BASE, later) == ()


@pytest.mark.parametrize(
    ("new", "said"),
    [
        (with_packages(BASE, onnxruntime="1.31.1"), "onnxruntime 1.30.0 -> 1.31.1 in runtime 'ort'"),
        (
            with_packages(BASE, protobuf="6.1.0"),
            "runtime 'ort', packages that others brought along: protobuf 6.0.0 -> 6.1.0",
        ),
        (replace(BASE, runtimes={"ort": a_runtime(python="3.12.1")}), "runtime 'ort': Python 3.11.7 -> 3.12.1"),
        (with_recipe(Recipe("dynamic-int8")), INT8 + "recipe options changed: per_channel true -> not said"),
        (
            with_recipe(Recipe("dynamic-int8", {"per_channel": False})),
            INT8 + "recipe options changed: per_channel true -> false",
        ),
        (with_recipe(Recipe("static-qdq-int8")), INT8 + "recipe dynamic-int8 -> static-qdq-int8"),
        (with_recipe(None), INT8 + "recipe dynamic-int8 -> not said"),
        (replace(BASE, threads=1), "threads 2 -> 1"),
        (replace(BASE, code="b" * 16), f"worker code '{'a' * 16}' -> '{'b' * 16}': another state of touchstone-bench"),
        (replace(BASE, bench_version="0.2.0"), "touchstone-bench 0.1 -> 0.2.0"),
        (replace(BASE, seed=7), "seed 0 -> 7"),
        (replace(BASE, effort=an_effort(name="quick", burst_s=0.1)), "budget standard -> quick"),
        (replace(BASE, effort=an_effort(burst_s=0.5)), "budget standard: burst_s 0.25 -> 0.5"),
        (
            replace(BASE, source_digests={"minilm": "b" * 64}),
            "model minilm: another source (digest changed)",
        ),
        (replace(BASE, weights={"minilm": "random"}), "model minilm: weights pretrained -> random"),
        (
            replace(BASE, artifacts={"minilm/fp32": "def456"}),
            "artifacts with another key (other source, tools or recipe): minilm/fp32",
        ),
        (
            replace(BASE, machine=a_machine(key="f" * 12, memory_bytes=16_000_000_000)),
            "another machine (key 0123456789ab -> ffffffffffff): memory in GB 8 -> 16",
        ),
        (
            replace(BASE, machine=a_machine(python="3.13.0")),
            "the same machine, but Python of the suite 3.11.7 -> 3.13.0",
        ),
        (
            replace(BASE, targets={"cpu": some_facts(("fp32", "bf16"))}),
            "target 'cpu': fp32 computed in fp32 -> bf16",
        ),
        (
            replace(BASE, targets={"cpu": some_facts(("fp32", "fp32"), device=a_device(driver="590.1"))}),
            "target 'cpu': driver 580.65.06 -> 590.1",
        ),
        (
            replace(BASE, targets={"cpu": some_facts(available=False)}),
            "target 'cpu': available true -> false",
        ),
        (replace(BASE, cells=BASE.cells[:1]), "1 cell only in the base: minilm/int8/cpu/b1"),
        (replace(BASE, cells=(*BASE.cells, a_cell())), "1 cell only in the new run: minilm/fp32/webgpu/b1-s128"),
    ],
)
def test_each_thing_that_differs_is_said_once_with_both_values(new, said):
    assert differences(BASE, new) == (said,)


def test_a_source_by_another_name_is_said_and_its_digest_is_not():
    cells = tuple(replace(cell, source="path:mine") for cell in BASE.cells)
    new = replace(BASE, cells=cells, source_digests={"minilm": "b" * 64})
    assert differences(BASE, new) == (
        "model minilm: source 'hub:sentence-transformers/all-MiniLM-L6-v2' -> 'path:mine'",
    )


def test_one_version_that_changed_in_two_runtimes_is_one_sentence():
    older = replace(BASE, runtimes={name: a_runtime(name) for name in ("ort", "build")})
    packages = {**a_runtime().packages, "numpy": "2.5.0"}
    newer = replace(BASE, runtimes={name: a_runtime(name, packages=packages) for name in ("ort", "build")})
    assert differences(older, newer) == ("numpy 2.4.6 -> 2.5.0 in runtimes 'ort', 'build'",)


def test_a_target_that_moved_to_another_runtime_is_compared_across_the_two():
    base = replace(BASE, cells=tuple(replace(cell, runtime="ort") for cell in BASE.cells))
    packages = {**a_runtime().packages, "onnxruntime": "1.31.1"}
    new = replace(
        base,
        cells=tuple(replace(cell, runtime="next") for cell in BASE.cells),
        runtimes={"next": a_runtime("next", packages=packages)},
    )
    assert differences(base, new) == ("onnxruntime 1.30.0 -> 1.31.1 in runtime 'ort' -> 'next'",)


def test_accelerators_and_their_drivers_are_part_of_the_machine():
    card = Accelerator("gpu", "NVIDIA L4", "NVIDIA", "570.86", "CUDA 12.8")
    base, new = (
        replace(BASE, machine=a_machine(key=key, accelerators=(replace(card, driver=driver),)))
        for key, driver in (("a", "570.86"), ("b", "580.65"))
    )
    assert differences(base, new) == (
        "another machine (key a -> b): accelerators "
        '"NVIDIA L4 driver 570.86 CUDA 12.8" -> "NVIDIA L4 driver 580.65 CUDA 12.8"',
    )


# --- matrices ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (MATRIX + "# a comment more\n", ()),
        (
            matrix_text(('ep = "CPUExecutionProvider"', 'ep = "CPUExecutionProvider"\noptions = { arena = 1 }')),
            ('matrix: [providers.cpu] options not said -> {"arena": 1}',),
        ),
        (matrix_text(('eager"\n', 'compile"\n')), ("matrix: [baselines.torch-eager] mode eager -> compile",)),
        (matrix_text(("= true", "= false")), ("matrix: [baselines.torch-eager] control true -> false",)),
        (matrix_text(("control = true", "control = 1")), ("matrix: [baselines.torch-eager] control true -> 1",)),
        (matrix_text(more="[measure]\ntimeout_s = 5\n"), ("matrix: measure.timeout_s not said -> 5",)),
        (matrix_text(more="[measure]\nbudget = 'quick'\n"), ()),
        (
            matrix_text(more='[[exclude]]\ncells = "vit/*"\nreason = "x"\n'),
            ("matrix: the rule [[exclude]] cells = 'vit/*' only in the new run",),
        ),
        (
            matrix_text(("[precisions.int8]", "[precisions.int8]\ntolerance = { min_cosine = 0.9 }")),
            ("precision int8: tolerance min_cosine not said -> 0.9",),
        ),
        (
            matrix_text(("[models.vit]", "[models.deit]")),
            ("matrix: [models.vit] only in the base", "matrix: [models.deit] only in the new run"),
        ),
        ("schema = [", ("the matrices differ, and one of them cannot be read as TOML",)),
        ("x = " + "[" * 100_000, ("the matrices differ, and one of them cannot be read as TOML",)),
        ("#" * 2_000_000, ("the matrices differ, and one of them cannot be read as TOML",)),
    ],
)
def test_two_matrices_differ_by_what_they_mean(text, said):
    assert differences(BASE, replace(BASE, matrix_text=text)) == said


def test_an_option_of_a_provider_is_named_by_its_path():
    base, new = (
        matrix_text(('ep = "CPUExecutionProvider"', f'ep = "CPUExecutionProvider"\noptions = {{ arena = {size} }}'))
        for size in (1, 2)
    )
    found = differences(replace(BASE, matrix_text=base), replace(BASE, matrix_text=new))
    assert found == ("matrix: [providers.cpu] options.arena 1 -> 2",)


def test_deep_tables_of_a_stranger_are_compared_without_a_fault():
    deep = "x = " + "{a = " * 60 + "1" + "}" * 60
    base, new = (matrix_text(more=f"[providers.p]\n{text}\n") for text in (deep, deep.replace("1", "2")))
    (found,) = differences(replace(BASE, matrix_text=base), replace(BASE, matrix_text=new))
    assert found.startswith("matrix: [providers.p] x.a.a.a")
    assert len(found) < 300


def test_a_thousand_differences_end_in_a_count():
    base = replace(BASE, runtimes={"ort": a_runtime(packages={f"onnx{n}": "1" for n in range(1000)})})
    new = replace(BASE, runtimes={"ort": a_runtime(packages={f"onnx{n}": "2" for n in range(1000)})})
    found = differences(base, new)
    assert len(found) == MOST + 1
    assert found[-1] == "and 970 more differences of this kind"


# --- facts ------------------------------------------------------------------------------------------------------------


def test_a_difference_is_a_kind_with_its_values_before_and_after():
    (found,) = facts(BASE, with_packages(BASE, onnxruntime="1.31.1"))
    assert found.kind == "package"
    assert found.values == {
        "name": "onnxruntime",
        "before": "1.30.0",
        "after": "1.31.1",
        "runtimes": ("ort",),
        "runtimes_before": ("ort",),
        "more": 0,
    }


@pytest.mark.parametrize(
    "new",
    [
        replace(BASE, cells=BASE.cells[:1]),
        replace(BASE, matrix_text=matrix_text(more='[[exclude]]\ncells = "vit/*"\nreason = "x"\n')),
        replace(BASE, matrix_text=matrix_text(("[models.vit]", "[models.deit]"))),
    ],
)
def test_what_was_asked_for_is_distinguished_by_its_kind(new):
    assert {found.kind for found in facts(BASE, new)} <= REQUEST_KINDS


def test_a_recipe_that_differs_for_one_engine_alone_names_the_engine():
    cells = tuple(
        a_cell(f"minilm/int8/{engine}/b1", engine=engine, recipe=Recipe("dynamic-int8")) for engine in ("ort", "torch")
    )
    recipes = (Recipe("static-qdq-int8"), Recipe("dynamic-int8", {"per_channel": True}))
    new = tuple(replace(cell, recipe=recipe) for cell, recipe in zip(cells, recipes, strict=True))
    assert differences(replace(BASE, cells=cells), replace(BASE, cells=new)) == (
        f"precision int8: recipe dynamic-int8 -> static-qdq-int8 ({cells[0].family} on ort)",
        f"precision int8: recipe options changed: per_channel not said -> true ({cells[1].family} on torch)",
    )


def test_a_kind_that_this_version_does_not_know_shows_its_parameters():
    assert text.say(Note("fan-speed", {"rpm": 1200})) == "fan-speed: rpm=1200"
    assert text.say(Note("model-digest", {"rpm": 1200})) == "model-digest: rpm=1200"


def test_every_difference_has_words_with_its_parameters_and_no_words_are_left_over():
    assert_words_fit(text.WORDS, "judge/differences*.py", "judge/changes.py")
