"""What the worker's files declare is read without importing them, strictly, and is what the worker itself sees."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from bench.declare import answer_limits, registry
from bench.declare import matrix as matrices
from bench.errors import MatrixError, PluginError
from bench.records import Tolerance

FAMILIES, ENGINES, FORMATS = sorted(registry.families()), sorted(registry.engines()), sorted(registry.formats())
CONTRACTS = registry.WORKER / "contracts.py"


def a_worker(tmp_path: Path, monkeypatch, **files: str) -> None:
    """A worker's folder of these files, `families/x.py` written as `families__x`."""
    for name, text in files.items():
        path = tmp_path / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    monkeypatch.setattr(registry, "WORKER", tmp_path)
    for read in (registry.families, registry.engines, registry.recipes, registry.formats):
        monkeypatch.setattr(registry, read.__name__, read.__wrapped__)


A_FAMILY = """
import a_library_that_is_nowhere
MANIFEST = FamilyManifest(
    task="forward",
    build_runtime="build",
    sizes={"batch": 1},
    labels={"batch": "b"},
    rates={"items": ["batch"]},
    opset=17,
    tolerances={"fp32": Tolerance(min_cosine=0.99)},
)
DIMENSIONS = {"batch": "batch_size"}
COMPUTED = len("not a literal")
"""


def test_the_known_families_and_engines_are_those_that_have_a_file():
    assert {"text-encoder", "image-classifier", "onnx-file"} <= set(FAMILIES)
    assert set(ENGINES) >= {"ort", "torch"}
    assert set(FORMATS) == {"onnx", "genai", "optimum", "gguf"}


@pytest.mark.parametrize("name", FAMILIES)
def test_every_rate_and_label_of_a_family_speaks_of_sizes_that_it_has(name):
    family = registry.families()[name]
    used = {size for sizes in family.rates.values() for size in sizes} | set(family.labels)
    assert used <= set(family.sizes)
    assert family.rates, "the first rate is the unit of throughput"


@pytest.mark.parametrize("name", FAMILIES)
def test_two_sizes_of_a_family_have_different_labels(name):
    labels = [registry.families()[name].labels.get(size, size) for size in registry.families()[name].sizes]
    assert len(labels) == len(set(labels))


def test_an_engine_that_makes_precisions_itself_says_which():
    for engine in registry.engines().values():
        assert engine.format or engine.recipes


def test_the_recipes_of_a_format_are_known_with_their_options():
    recipes = registry.recipes("onnx")
    assert {"fp32", "fp16", "dynamic-int8", "static-qdq-int8"} <= set(recipes)
    assert recipes["fp32"].options == ()
    assert "per_channel" in recipes["static-qdq-int8"].options


def test_the_base_of_a_format_is_one_of_its_recipes():
    for form in registry.formats().values():
        assert form.base is None or form.base in registry.recipes(form.name)


@pytest.mark.parametrize(
    ("engine", "families"),
    [
        ("ort", {"text-encoder", "image-classifier", "onnx-file"}),
        ("torch", {"text-encoder", "image-classifier", "text-generator", "speech-recognizer"}),
        ("genai", {"text-generator", "speech-recognizer"}),
        ("ort-generate", {"text-generator", "speech-recognizer"}),
        ("optimum", {"text-generator", "speech-recognizer"}),
        ("ort-optimum", {"text-generator"}),
        ("llama-cpp", {"text-generator"}),
        ("openai-http", {"text-generator"}),
    ],
)
def test_an_engine_runs_the_families_of_its_tasks(engine, families):
    known = registry.families().values()
    assert {family.name for family in known if registry.engines()[engine].runs(family)} == families


def test_reading_a_file_does_not_import_it(tmp_path, monkeypatch):
    a_worker(tmp_path, monkeypatch, families__a_family=A_FAMILY)
    family = registry.families()["a-family"]
    assert (family.opset, family.rates, family.open_sizes, family.inputs) == (17, {"items": ["batch"]}, False, None)
    assert family.tolerances == {"fp32": Tolerance(min_cosine=0.99)}


def test_a_file_that_begins_with_an_underscore_is_no_family(tmp_path, monkeypatch):
    a_worker(tmp_path, monkeypatch, families___helpers="X = 1", families__one=A_FAMILY)
    assert list(registry.families()) == ["one"]


def test_a_recipes_options_are_its_keyword_only_arguments(tmp_path, monkeypatch):
    text = """
@recipe("fp16", number_format="fp16")
def half(context, out): ...
@recipes.recipe("static-int8", number_format="int8", tolerance={"one": Tolerance(min_cosine=-0.5)})
def static(context, out, *, per_channel=True, samples=32): ...
def helper(context, *, other): ...
"""
    a_worker(tmp_path, monkeypatch, formats__onnx=text)
    found = registry.recipes("onnx")
    assert {name: recipe.options for name, recipe in found.items()} == {
        "fp16": (),
        "static-int8": ("per_channel", "samples"),
    }
    assert found["static-int8"].number_format == "int8"
    assert found["static-int8"].tolerance == {"one": Tolerance(min_cosine=-0.5)}


def test_extra_engines_come_from_the_environment_only(strange_engines, monkeypatch):
    assert "fake" in registry.engines()
    monkeypatch.delenv(registry.EXTRA_ENGINES)
    registry.engines.cache_clear()
    assert "fake" not in registry.engines()


# --- a manifest is strict ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "opset=17",
            "opsett=17",
            "MANIFEST in bench/worker/families/one.py has no field 'opsett'; did you mean 'opset'?",
        ),
        ("opset=17", 'opset="17"', "expected `int`, got `str` - at `$.opset`".replace("`", "'")),
        ("opset=17", "opset=COMPUTED", "field 'opset', in bench/worker/families/one.py holds 'COMPUTED', which is no"),
        ('task="forward"', 'task="forwards"', "invalid enum value 'forwards'"),
        ("min_cosine=0.99", "min_cosin=0.99", "contains unknown field 'min_cosin'"),
        ("    build_runtime=", "    # build_runtime=", "missing required field 'build_runtime'"),
        ("FamilyManifest(", "EngineManifest(", "MANIFEST in bench/worker/families/one.py is no FamilyManifest"),
        ("MANIFEST =", "MANIFESTO =", "bench/worker/families/one.py has no MANIFEST; write MANIFEST = FamilyManifest"),
        ("import a_library", "import (", "bench/worker/families/one.py cannot be read: invalid syntax"),
    ],
)
def test_a_mistake_in_a_manifest_names_the_file_and_the_field(tmp_path, monkeypatch, old, new, message):
    assert old in A_FAMILY
    a_worker(tmp_path, monkeypatch, families__one=A_FAMILY.replace(old, new))
    with pytest.raises(PluginError) as raised:
        registry.families()
    assert message.lower() in str(raised.value).lower()
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '@recipe("x", number_formt="int8")\ndef x(context, out): ...',
            "has no field 'number_formt'; did you mean 'number",
        ),
        (
            '@recipe("x")\ndef x(context, out): ...',
            "@recipe of x in bench/worker/formats/one.py: Object missing required",
        ),
        ("@recipe(NAME, number_format='int8')\ndef x(context, out): ...", "holds 'NAME', which is no literal"),
        (
            "@recipe('x', number_format='a')\ndef x(c, o): ...\n@recipe('x', number_format='a')\ndef y(c, o): ...",
            "has two recipes named 'x'",
        ),
    ],
)
def test_a_mistake_in_a_recipe_names_the_function_and_the_field(tmp_path, monkeypatch, text, message):
    a_worker(tmp_path, monkeypatch, formats__one=text)
    with pytest.raises(PluginError) as raised:
        registry.recipes("one")
    assert message in str(raised.value)


# --- contracts --------------------------------------------------------------------------------------------------------


def protocols() -> dict[str, dict[str, list[str]]]:
    """Of every Protocol in `contracts.py` the functions with their parameters, those that it inherits included."""
    found: dict[str, dict[str, list[str]]] = {}
    for node in ast.parse(CONTRACTS.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef):
            bases = [base.id for base in node.bases if isinstance(base, ast.Name) and base.id != "Protocol"]
            own = {child.name: parameters(child)[1:] for child in node.body if isinstance(child, ast.FunctionDef)}
            found[node.name] = {name: said for base in bases for name, said in found[base].items()} | own
    return found


def parameters(function: ast.FunctionDef) -> list[str]:
    return [argument.arg for argument in function.args.args]


def functions(path: Path) -> dict[str, list[str] | None]:
    """A module's functions with their parameters; None for a class, which is called as its `__init__` says."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    made = {node.name: parameters(node) for node in body if isinstance(node, ast.FunctionDef)}
    return made | {node.name: None for node in body if isinstance(node, ast.ClassDef)}


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_has_the_functions_of_its_protocol(name):
    wanted = protocols()["GeneratingFamily" if registry.families()[name].generates else "ExportingFamily"]
    have = functions(registry.file_of("families", name))
    assert {function: have.get(function) for function in wanted} == wanted


@pytest.mark.parametrize("name", ENGINES)
def test_an_engine_has_the_functions_of_its_protocol_and_of_the_abilities_that_it_declares(name):
    engine, have = registry.engines()[name], functions(registry.file_of("engines", name))
    wanted = protocols()["Engine"]
    for declared, ability in ((engine.profiles, "ProfilingEngine"), (engine.compiles_context, "CompilingEngine")):
        own = {
            function: said for function, said in protocols()[ability].items() if function not in protocols()["Engine"]
        }
        assert set(own) & set(have) == (set(own) if declared else set())
        wanted = wanted | (own if declared else {})
    assert {function: have.get(function) or said for function, said in wanted.items()} == wanted
    assert set(wanted) <= set(have)


# --- tolerances -------------------------------------------------------------------------------------------------------

FORWARD = {
    "text-encoder": {
        "fp32": (0.99999, 1e-4),
        "fp16": (0.9998, 0.02),
        "bf16": (0.999, 0.04),
        "int8": (0.97, 0.25),
        "int4": (0.945, 0.3),
    },
    "image-classifier": {
        "fp32": (0.99999, 1e-4),
        "fp16": (0.999, 0.04),
        "bf16": (0.997, 0.08),
        "int8": (0.96, 0.2),
        "int4": (0.87, 0.3),
    },
    "onnx-file": {
        "fp32": (0.99999, 1e-4),
        "fp16": (0.999, 0.04),
        "bf16": (0.99, 0.1),
        "int8": (0.97, 0.25),
        "int4": (0.9, 0.4),
    },
}
"""Lowest cosine and largest relative error, by family and number format."""
GENERATING = {
    "text-generator": {
        "fp32": (1e-7, 0.95, True),
        "fp16": (1e-3, 0.85, False),
        "bf16": (1e-2, 0.75, False),
        "int8": (4e-2, 0.6, False),
        "int6": (5e-2, 0.6, False),
        "int5": (0.1, 0.5, False),
        "int4": (0.3, 0.3, False),
    },
    "speech-recognizer": {
        "fp32": (1e-7, 0.95, True),
        "fp16": (1e-3, 0.85, False),
        "bf16": (1e-2, 0.75, False),
        "int8": (5e-2, 0.6, False),
        "int4": (0.4, 0.3, False),
    },
}
"""Largest KL divergence, least top-1 agreement, and whether the tokens must be the same."""
FOUR_BITS = Tolerance(max_kl=0.45, min_top1=0.3, max_kl_random=0.3)
ONE_SCALE_A_CHANNEL = Tolerance(max_kl=0.45, min_top1=0.6, max_kl_random=4e-2)
TRAINED = {
    "genai-int4": FOUR_BITS,
    "gguf-q4_k_m": FOUR_BITS,
    "gguf-q4_0": FOUR_BITS,
    "genai-dynamic-int8": ONE_SCALE_A_CHANNEL,
    "dynamic-int8": ONE_SCALE_A_CHANNEL,
    "gguf-as-given": Tolerance(max_kl=0.02, min_top1=0.8),
}
"""By recipe: limits of a text generator whose trained weights lose more than random ones do."""
NUMBER_FORMATS = {
    "onnx": {
        "fp32": "fp32",
        "fp16": "fp16",
        "dynamic-int8": "int8",
        "static-qdq-int8": "int8",
        "weight-only-int8": "int8",
        "weight-only-int4": "int4",
    },
    "genai": {
        "genai-fp32": "fp32",
        "genai-fp16": "fp16",
        "genai-int8": "int8",
        "genai-int4": "int4",
        "genai-dynamic-int8": "int8",
    },
    "optimum": {"fp32": "fp32", "dynamic-int8": "int8"},
    "gguf": {
        "gguf-as-given": "fp32",
        "gguf-f32": "fp32",
        "gguf-f16": "fp16",
        "gguf-q8_0": "int8",
        "gguf-q6_k": "int6",
        "gguf-q5_k_m": "int5",
        "gguf-q4_k_m": "int4",
        "gguf-q4_0": "int4",
    },
    "torch": {"fp32": "fp32", "fp16": "fp16", "bf16": "bf16", "dynamic-int8": "int8"},
    "openai-http": {
        "served-fp32": "fp32",
        "served-fp16": "fp16",
        "served-bf16": "bf16",
        "served-int8": "int8",
        "served-int4": "int4",
    },
}
"""By format, and by engine that makes its precisions itself."""


def expected(family: str, number_format: str, recipe: str) -> Tolerance:
    if family == "text-generator" and recipe in TRAINED:
        return TRAINED[recipe]
    if family in FORWARD:
        return Tolerance(*FORWARD[family][number_format])
    kl, top1, same = GENERATING[family][number_format]
    return Tolerance(max_kl=kl, min_top1=top1, same_tokens=same)


def test_every_recipe_has_its_number_format_and_for_every_family_that_can_use_it_its_tolerance():
    checked = 0
    for engine in registry.engines().values():
        formats = NUMBER_FORMATS[engine.format or engine.name]
        assert {name: recipe.number_format for name, recipe in engine.own_recipes.items()} == formats
        for family in registry.families().values():
            if engine.runs(family):
                for recipe in engine.own_recipes.values():
                    assert registry.tolerance(recipe, family) == expected(
                        family.name, recipe.number_format, recipe.name
                    )
                    checked += 1
    assert checked > 60


def test_the_families_themselves_give_tolerances_of_floating_point_formats_only():
    """What a quantization loses is its recipe's; it stands there. A user's own file may be quantized without one."""
    for family in registry.families().values():
        of_files = {"int16", "fp8", "int8", "fp4", "int4", "int2"} if "onnx" in family.sources else set()
        assert set(family.tolerances) == {"fp32", "fp16", "bf16"} | of_files


A_MATRIX = """schema = 1
[models.m]
family = "text-encoder"
source = "config:bert-base"
[precisions.p]
text-encoder = "odd-int3"
{more}
[providers.cpu]
ep = "CPUExecutionProvider"
[runtimes.ort]
requires = ["onnxruntime==1.31.1"]
"""


@pytest.fixture
def odd_recipe(tmp_path, monkeypatch):
    """The format `onnx` with one recipe more, of a number format that no family knows."""
    text = registry.file_of("formats", "onnx").read_text(encoding="utf-8")
    path = tmp_path / "onnx.py"
    path.write_text(
        text + '\n\n@recipe("odd-int3", number_format="int3")\ndef odd(context, out): ...\n', encoding="utf-8"
    )
    files = registry._files

    def with_it(kind):
        return files(kind) | ({"onnx": (path, "bench/worker/formats/onnx.py")} if kind == "formats" else {})

    monkeypatch.setattr(registry, "_files", with_it)
    registry.forget()
    yield
    registry.forget()


def test_a_recipe_without_a_tolerance_for_its_family_is_refused_when_the_matrix_is_read(odd_recipe):
    with pytest.raises(MatrixError) as raised:
        matrices.parse(A_MATRIX.format(more=""))
    assert str(raised.value) == (
        "recipe 'odd-int3' of precisions.p has no tolerance for family 'text-encoder' in matrix.toml; "
        "give the precision one, tolerance = { … }, or the recipe in bench/worker/formats/onnx.py"
    )


def test_the_precisions_own_tolerance_is_enough(odd_recipe):
    matrix = matrices.parse(A_MATRIX.format(more="tolerance = { min_cosine = 0.5 }"))
    limit = matrix.precisions["p"].tolerance_of("ort", "text-encoder")
    assert limit == answer_limits.completed(Tolerance(0.5), "int3")
