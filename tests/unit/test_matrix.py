"""Every mistake in a matrix is answered with its place and a remedy, and with nothing but a `MatrixError`."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from matrices import MATRIX, a_matrix, matrix_text

from bench.declare import matrix as matrices
from bench.declare.budgets import BUDGETS, effort_named
from bench.declare.matrix import Matrix, Runtime, parse, read
from bench.declare.plan import plan, whole_plan
from bench.declare.suggest import nearest
from bench.declare.targets import known_runtimes
from bench.errors import BenchError, MatrixError, UsageError
from bench.prepare.presence import Hardware, absent_targets
from bench.records import InputOptions, Recipe, Tolerance

DEFAULT = Path(__file__).parents[2] / "matrix.toml"


def complaint(*changes: tuple[str, str], more: str = "") -> str:
    """What is said of the matrix with these changes: one line, with the file's name in it."""
    with pytest.raises(MatrixError) as caught:
        parse(matrix_text(*changes, more=more), "some.toml")
    said = str(caught.value)
    assert "some.toml" in said
    assert "\n" not in said
    return said


# --- what is right ----------------------------------------------------------------------------------------------------


def test_a_matrix_holds_what_its_file_says():
    matrix = a_matrix()
    assert list(matrix.models) == ["minilm", "vit"]
    assert matrix.models["minilm"].workloads == ({"batch": 1, "sequence": 128}, {"batch": 8, "sequence": 128})
    assert matrix.runtimes["ort"] == Runtime("ort", ("onnxruntime==1.31.1",))
    assert matrix.targets["cpu"].provider.ep == "CPUExecutionProvider"
    assert matrix.targets["torch-eager"].control
    assert matrix.text == MATRIX


def test_a_model_without_workloads_is_run_at_its_familys_sizes():
    assert a_matrix().models["vit"].workloads == ({"batch": 1},)


def test_a_workload_takes_the_sizes_it_does_not_name_from_its_family():
    model = a_matrix(("{ batch = 8, sequence = 128 }", "{ batch = 8 }")).models["minilm"]
    assert model.workloads[1] == {"batch": 8, "sequence": 128}


def test_a_precision_has_a_recipe_for_each_family_and_for_each_engine_that_makes_its_own():
    int8 = a_matrix().precisions["int8"]
    assert int8.recipe("ort", "text-encoder") == Recipe("dynamic-int8", number_format="int8")
    assert int8.recipe("ort", "image-classifier") is None
    assert int8.recipe("torch", "text-encoder") == Recipe("dynamic-int8", number_format="int8")
    assert int8.recipe("torch", "image-classifier") is None


def test_an_engines_plain_recipe_holds_for_every_family():
    assert a_matrix().precisions["fp32"].recipe("torch", "image-classifier") == Recipe("fp32", number_format="fp32")


def test_a_tolerance_of_the_users_own_is_taken():
    tolerance = "[precisions.fp32]\ntolerance = { min_cosine = 0.9 }"
    assert a_matrix(("[precisions.fp32]", tolerance)).precisions["fp32"].tolerance == Tolerance(0.9)


def test_an_interpreter_of_the_users_can_be_a_runtime():
    runtime = a_matrix(('requires = ["onnxruntime==1.31.1"]', 'python = "/opt/sdk/bin/python"')).runtimes["ort"]
    assert runtime == Runtime("ort", (), "/opt/sdk/bin/python")


def test_what_the_measure_table_leaves_out_has_its_default():
    measure = a_matrix(more="[measure]\nthreads = 4\n").measure
    assert (measure.threads, measure.budget, measure.memory_limit_mb) == (4, "quick", None)


def test_the_default_matrix_can_be_read_and_planned():
    cells = plan(read(DEFAULT))
    assert sum(cell.excluded is None for cell in cells) > 10
    assert any(cell.control for cell in cells)


def test_the_default_matrix_installs_only_what_the_machine_has_a_use_for():
    matrix = read(DEFAULT)
    absent = absent_targets(matrix, Hardware((), "x86_64"))
    planned = whole_plan(matrix, absent=absent)
    usual = {"cpu", "openvino-cpu", "torch-eager", "torch-compile"}
    assert {cell.target for cell in planned.cells} == usual - absent.keys()
    assert {"cuda", "webgpu"} <= {cell.target for cell in planned.left_out}
    assert all(cell.excluded is None for cell in planned.cells)
    assert planned.warnings == ()


def test_what_an_imitated_device_runs_is_marked_in_every_cell():
    cells = plan(read(DEFAULT), only=["*/qnn-emulator/*", "*/cpu/*"], with_optional=True)
    assert {cell.target for cell in cells if cell.emulated} == {"qnn-emulator"}
    assert {cell.device for cell in cells if cell.emulated} == {"npu"}


# --- unknown keys -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "key", "place", "right"),
    [
        ([("[models.minilm]", "[model.minilm]")], "model", "", "models"),
        ([('family = "text-encoder"', 'familly = "text-encoder"')], "familly", "models.minilm", "family"),
        ([("{ batch = 1, ", "{ bach = 1, ")], "bach", "models.minilm.workloads[0]", "batch"),
        ([("text-encoder = ", "text-encode = ")], "text-encode", "precisions.fp32", "text-encoder"),
        ([("{ text-encoder = ", "{ txt-encoder = ")], "txt-encoder", "precisions.int8.torch", "text-encoder"),
        ([("requires = ", "require = ")], "require", "runtimes.ort", "requires"),
        ([("ep = ", "eps = ")], "eps", "providers.cpu", "ep"),
        ([("engine = ", "engin = ")], "engin", "baselines.torch-eager", "engine"),
    ],
)
def test_a_misspelt_key_is_answered_with_the_nearest_right_one(changes, key, place, right):
    where = f" in {place}" if place else ""
    assert complaint(*changes) == f"unknown key '{key}'{where} in some.toml; did you mean '{right}'?"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("[measure]\nthread = 2\n", "unknown key 'thread' in measure in some.toml; did you mean 'threads'?"),
        (
            '[[exclude]]\ncell = "*"\nreason = ""\n',
            "unknown key 'cell' in exclude[0] in some.toml; did you mean 'cells'?",
        ),
        ("[excludes]\n", "unknown key 'excludes' in some.toml; did you mean 'exclude'?"),
    ],
)
def test_a_misspelt_key_of_a_table_that_may_be_left_out_is_answered_too(more, said):
    assert complaint(more=more) == said


def test_a_key_like_no_other_is_answered_with_all_that_are_known():
    said = complaint(("requires = ", "zzz = "))
    assert said == "unknown key 'zzz' in runtimes.ort in some.toml; known are extends, python, requires"


def test_an_option_that_a_recipe_does_not_have_is_answered():
    said = complaint(('text-encoder = "dynamic-int8"', 'text-encoder = { recipe = "dynamic-int8", per_chanel = true }'))
    assert said.startswith("unknown key 'per_chanel' in precisions.int8.text-encoder in some.toml; ")


# --- misspelt names ---------------------------------------------------------------------------------------------------


def test_a_baseline_without_its_mode_is_told_the_key_and_the_modes():
    said = complaint(('mode = "eager"\n', ""))
    assert said == "baselines.torch-eager lacks the key 'mode' in some.toml; engine 'torch' has compile, eager"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (('"text-encoder"', '"text-encodr"'), "unknown family 'text-encodr' in models.minilm"),
        (('text-encoder = "fp32"', 'text-encoder = "fp23"'), "unknown recipe 'fp23' in precisions.fp32.text-encoder"),
        (('torch = "fp32"', 'torch = "f32"'), "unknown recipe 'f32' in precisions.fp32.torch"),
        (('engine = "torch"', 'engine = "troch"'), "unknown engine 'troch' in baselines.torch-eager"),
        (('mode = "eager"', 'mode = "eagre"'), "unknown mode 'eagre' in baselines.torch-eager"),
        (('ep = "CPU', 'runtime = "otr"\nep = "CPU'), "unknown runtime 'otr' of target 'cpu'"),
        (('source = "config:bert', 'weights = "randon"\nsource = "config:bert'), "unknown weights 'randon'"),
    ],
)
def test_a_misspelt_name_is_answered_with_the_nearest_right_one(change, said):
    right = {"text-encodr": "text-encoder", "fp23": "fp32", "f32": "fp32", "troch": "torch", "eagre": "eager"}
    right |= {"otr": "ort", "randon": "random"}
    answer = complaint(change)
    assert answer.startswith(said)
    wrong = said.split("'")[1]
    assert answer.endswith(f"did you mean '{right[wrong]}'?")


def test_a_misspelt_budget_is_found_before_anything_is_measured():
    said = complaint(more='[measure]\nbudget = "quik"\n')
    assert said == "unknown budget 'quik' in measure in some.toml; did you mean 'quick'?"


def test_a_misspelt_budget_of_the_command_line_is_answered_with_the_nearest_one():
    assert effort_named("standard") is BUDGETS["standard"]
    with pytest.raises(UsageError, match="unknown budget 'standart'; did you mean 'standard'"):
        effort_named("standart")


def test_a_test_engine_cannot_be_reached_from_a_users_matrix():
    assert complaint(('engine = "torch"', 'engine = "fake"')).startswith("unknown engine 'fake'")


def test_a_test_engine_can_be_reached_when_the_environment_names_its_folder(strange_engines):
    matrix = a_matrix(('engine = "torch"\nmode = "eager"', 'engine = "fake"\nmode = "segfaults"'))
    assert matrix.targets["torch-eager"].engine == "fake"


# --- wrong types and values -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("batch = 1", 'batch = "1"'), "models.minilm.workloads[0].batch is '1'"),
        (("batch = 8", "batch = true"), "models.minilm.workloads[1].batch is True"),
        (("batch = 8", "batch = 8.0"), "models.minilm.workloads[1].batch is 8.0"),
        (("batch = 1", "batch = 0"), "models.minilm.workloads[0].batch is 0"),
        (("batch = 1", "batch = -1"), "models.minilm.workloads[0].batch is -1"),
        (("batch = 1,", f"batch = {10**30},"), f"models.minilm.workloads[0].batch is {10**30}"),
        (('requires = ["onnxruntime==1.31.1"]', "requires = 3"), "runtimes.ort.requires: expected array, got int"),
        (('requires = ["onnxruntime==1.31.1"]', "requires = [3]"), "runtimes.ort.requires[0]: expected str, got int"),
        (('family = "text-encoder"', "family = 3"), "models.minilm.family: expected str, got int"),
        (("control = true", 'control = "yes"'), "baselines.torch-eager.control: expected bool, got str"),
        (('mode = "eager"', 'mode = "eager"\noptions = { x = [1] }'), "baselines.torch-eager.options.x is no plain"),
        (('requires = ["onnxruntime==1.31.1"]', 'name = "x"'), "unknown key 'name' in runtimes.ort"),
        (("source =", 'name = "x"\nsource ='), "unknown key 'name' in models.minilm"),
        (
            ("workloads = [{ batch = 1, sequence = 128 }, { batch = 8, sequence = 128 }]", "workloads = 3"),
            "models.minilm.workloads: expected array, got int",
        ),
        (('text-encoder = "fp32"', "text-encoder = 32"), "precisions.fp32.text-encoder is no recipe"),
        (('image-classifier = "fp32"', "tolerance = 3"), "'precisions.fp32.tolerance' is no table"),
        (("source =", "seed = -1\nsource ="), "models.minilm.seed is -1"),
        (("source =", 'inputs = "photographs"\nsource ='), "inputs 'photographs' of models.minilm has no known kind"),
        (("schema = 1", "schema = 1\nmeasure = 3"), "'measure' is no table"),
        (("schema = 1", "schema = 1\nexclude = 3"), "'exclude' is no list of tables"),
        (("schema = 1", "schema = 1\nexclude = [1]"), "'exclude' is no list of tables"),
        (("[models.minilm]", "[models]\nminilm = 3\n[models.other]"), "models.minilm is no table"),
        (("[models.minilm]", '[models."a/b"]'), "'a/b' is no name for models"),
    ],
)
def test_a_wrong_value_is_named_by_its_place(change, said):
    assert complaint(change).startswith(said)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("threads = 0", "measure.threads is 0"),
        ("timeout_s = 0", "measure.timeout_s is 0"),
        ("timeout_s = nan", "measure.timeout_s is nan"),
        ("memory_limit_mb = 0", "measure.memory_limit_mb is 0"),
        ('threads = "2"', "measure.threads: expected int | null, got str"),
    ],
)
def test_a_limit_that_would_let_nothing_run_is_refused(line, said):
    assert complaint(more=f"[measure]\n{line}\n").startswith(said)


@pytest.mark.parametrize("key", ["family", "source"])
def test_a_key_that_is_needed_and_missing_is_named(key):
    line = next(line for line in MATRIX.splitlines() if line.startswith(key))
    assert complaint((line, "")) == f"models.minilm lacks the key '{key}' in some.toml"


def test_a_name_with_escape_sequences_does_not_reach_the_terminal_raw():
    said = complaint(("[models.minilm]", '"\\u001b[31m\\n" = 1\n[models.minilm]'))
    assert "\x1b" not in said
    assert "\\x1b[31m\\n" in said


# --- the axes ---------------------------------------------------------------------------------------------------------


def without(table: str) -> str:
    """The matrix without the tables whose header begins so."""
    blocks = MATRIX.split("\n\n")
    return "\n\n".join(block for block in blocks if not block.startswith(f"[{table}"))


@pytest.mark.parametrize("axis", ["models", "precisions"])
def test_an_empty_axis_is_named(axis):
    with pytest.raises(MatrixError, match=rf"the axis '{axis}' is empty .*add a table \[{axis}.NAME\]"):
        parse(without(axis))


def test_a_matrix_without_targets_has_nothing_to_run_on():
    text = without("baselines").replace('[providers.cpu]\nep = "CPUExecutionProvider"', "")
    with pytest.raises(MatrixError, match="there is nothing to run on"):
        parse(text)


def test_empty_workloads_are_refused():
    text = matrix_text(("workloads = [{ batch = 1, sequence = 128 }, { batch = 8, sequence = 128 }]", "workloads = []"))
    with pytest.raises(MatrixError, match=r"models\.minilm\.workloads is empty"):
        parse(text)


def test_a_precision_without_a_recipe_is_refused():
    assert complaint(more="[precisions.fp16]\n").startswith("precisions.fp16 is empty")


def test_a_build_runtime_that_the_matrix_does_not_describe_is_the_known_one():
    found = parse(without("runtimes.build")).runtimes["build"]
    assert found == known_runtimes()["build"]
    assert "torch==2.13.0" in found.requires


def test_a_runtime_that_another_extends_is_added_unless_the_file_has_it():
    text = without("runtimes.build").replace(
        "[runtimes.ort]", '[runtimes.more]\nrequires = ["a==1"]\nextends = "build"\n[runtimes.ort]'
    )
    assert parse(text).runtimes["more"].base == known_runtimes()["build"]
    own = parse(text + '[runtimes.build]\nrequires = ["b==1"]\n')
    assert own.runtimes["more"].base == own.runtimes["build"]
    assert own.runtimes["build"].requires == ("b==1",)


@pytest.mark.parametrize(
    ("table", "mistake"),
    [
        ('requires = ["a==1"]\nextends = "biuld"', r"unknown runtime 'biuld' in runtimes\.more\.extends .*build"),
        ('requires = ["a==1"]\nextends = "optimum"', "'optimum', which extends a runtime itself"),
        ('python = "python3"\nextends = "build"', "runtimes.more has both 'python' and 'extends'"),
    ],
)
def test_a_runtime_that_cannot_extend_another_is_refused(table, mistake):
    with pytest.raises(MatrixError, match=mistake):
        parse(without("nothing") + f"[runtimes.more]\n{table}\n")


def test_a_runtime_of_the_matrix_is_used_in_the_known_ones_stead():
    text = without("runtimes.build") + '[runtimes.build]\npython = "/opt/mine"\n'
    assert parse(text).runtimes["build"].python == "/opt/mine"


def test_a_build_runtime_that_nobody_knows_is_named(monkeypatch):
    monkeypatch.setattr("bench.declare.matrix.known_runtimes", dict)
    text = without("runtimes.build").replace('mode = "eager"', 'mode = "eager"\nruntime = "ort"')
    with pytest.raises(
        MatrixError, match=r"no runtime 'build', which builds models\.minilm .*; add \[runtimes\.build\]"
    ):
        parse(text)


# --- said twice -------------------------------------------------------------------------------------------------------


def test_a_table_that_stands_twice_is_refused():
    said = complaint(more='[models.vit]\nfamily = "image-classifier"\n')
    assert "'vit') twice" in said
    assert said.endswith("a table or key may stand only once")


def test_a_key_that_stands_twice_is_refused():
    assert complaint(("schema = 1", "schema = 1\nschema = 1")).endswith("a table or key may stand only once")


def test_a_workload_that_stands_twice_is_refused():
    said = complaint(("batch = 8", "batch = 1"))
    assert said.startswith("models.minilm.workloads[1] is a duplicate of an earlier workload")


def test_a_workload_that_the_defaults_make_equal_to_another_is_a_duplicate():
    said = complaint(("{ batch = 8, sequence = 128 }", "{}"))
    assert said.startswith("models.minilm.workloads[1] is a duplicate")


def test_a_provider_and_a_baseline_may_not_share_a_name():
    assert complaint(("[baselines.torch-eager]", "[baselines.cpu]")).startswith(
        "'cpu' is both a provider and a baseline"
    )


def test_only_one_baseline_may_be_the_control():
    more = '[baselines.torch-compile]\nengine = "torch"\nmode = "compile"\ncontrol = true\n'
    assert complaint(more=more).startswith("torch-eager and torch-compile are both the control")


def test_a_runtime_has_requirements_or_an_interpreter_but_not_both():
    both = ('requires = ["onnxruntime==1.31.1"]', 'requires = ["x"]\npython = "python3"')
    neither = ('requires = ["onnxruntime==1.31.1"]', "requires = []")
    for change in (both, neither):
        assert complaint(change).startswith("runtimes.ort must have either 'requires' or 'python'")


# --- sources ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["bert-base", "hug:bert", "", ":", "C:\\models\\bert"])
def test_a_source_of_no_known_kind_is_answered_with_the_kinds(source):
    said = complaint(('"config:bert-base"', f"'{source}'"))
    assert said.endswith("it starts with one of hub:, path:, wheel:, config:, onnx:")


def test_an_onnx_file_goes_with_its_own_family_only():
    said = complaint(('"config:bert-base"', '"onnx:model.onnx"'))
    assert said.startswith("models.minilm has source kind 'onnx:' and family 'text-encoder'")


def test_a_gguf_file_is_read_by_the_family_of_language_models_alone():
    file = ('"config:bert-base"', '"path:m.gguf"')
    said = complaint(file)
    assert "names a .gguf file, and its family is 'text-encoder'" in said
    assert said.endswith("the family of such a file is text-generator")


ONNX = ('family = "image-classifier"\nsource = "config:vit-tiny"', 'family = "onnx-file"\nsource = "onnx:m.onnx"')


def test_an_onnx_file_in_a_wheel_goes_with_its_own_family_only():
    wheel = '"wheel:tiny-model==1.0/data/model.onnx"'
    assert parse(matrix_text(ONNX, ('"onnx:m.onnx"', wheel))).models["vit"].source == wheel.strip('"')
    assert complaint(('"config:vit-tiny"', wheel)).endswith("its family is onnx-file")
    assert complaint(ONNX, ('"onnx:m.onnx"', '"wheel:tiny-model/data"')).endswith("write wheel:NAME/FOLDER/model.onnx")


def test_a_table_says_how_inputs_are_made():
    inputs = """[models.vit.inputs]
source = "path:photos"
size = 32
mean = 0.5
std = [0.1, 0.2, 0.3]
values = { sr = 16000, state = [[0.0]] }
shapes = { x = ["batch", 64] }
tokenizer = "wheel:tiny/tokenizer"

[precisions.fp32]
"""
    model = parse(matrix_text(ONNX, ("[precisions.fp32]\n", inputs + 'onnx-file = "fp32"\n'))).models["vit"]
    assert model.inputs == "path:photos"
    assert model.input_options == InputOptions(
        size=(32, 32),
        mean=(0.5,),
        std=(0.1, 0.2, 0.3),
        values={"sr": 16000, "state": [[0.0]]},
        shapes={"x": ("batch", 64)},
        tokenizer="wheel:tiny/tokenizer",
    )


@pytest.mark.parametrize(
    ("inputs", "says"),
    [
        ('"file.npz"', "inputs 'file.npz' of models.vit has no known kind"),
        ("3", "models.vit.inputs is neither a source nor a table"),
        ('{ source = "hub:x/y" }', "source 'hub:x/y' of models.vit.inputs has no known kind"),
        ('{ sauce = "path:x" }', "unknown key 'sauce' in models.vit.inputs"),
        ('{ layout = "NHCW" }', "unknown layout 'NHCW' in models.vit.inputs"),
        ('{ type = "float" }', "unknown type 'float' in models.vit.inputs"),
        ("{ size = [1, 2, 3] }", "models.vit.inputs.size is [1, 2, 3]"),
        ("{ std = [1, 0] }", "models.vit.inputs.std is 0"),
        ("{ length = 0 }", "models.vit.inputs.length is 0"),
        ("{ shapes = { x = [0] } }", "models.vit.inputs.shapes.x holds 0"),
        ('{ tokenizer = "bert" }', "tokenizer 'bert' of models.vit.inputs has no known kind"),
    ],
)
def test_a_mistake_in_the_table_of_inputs_is_named(inputs, says):
    assert complaint((ONNX[0], f"{ONNX[1]}\ninputs = {inputs}")).startswith(says)


def test_the_keys_of_onnx_files_are_for_no_other_family():
    text = 'family = "image-classifier"\n'
    said = complaint((text, text + 'inputs = { source = "path:x", size = 32 }\n'))
    assert said.startswith("models.vit.inputs.size is for ONNX files")
    assert complaint((text, text + 'batch_axis = "n"\n')).startswith("models.vit.batch_axis is for ONNX files")


def test_the_onnx_family_takes_no_other_source():
    said = complaint(
        ('family = "text-encoder"', 'family = "onnx-file"'),
        ("workloads = [{ batch = 1, sequence = 128 }, { batch = 8, sequence = 128 }]", ""),
    )
    assert said.startswith("models.minilm has source kind 'config:' and family 'onnx-file'")


# --- the file itself --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("line", "found"), [("", "missing"), ("schema = 2", "2"), ('schema = "1"', "'1'")])
def test_a_schema_that_is_missing_or_another_is_named(line, found):
    assert complaint(("schema = 1", line)).startswith(
        f"schema is {found} in some.toml; this version reads `schema = 1`"
    )


@pytest.mark.parametrize("text", ["schema = ", "[models", "a = 1 b = 2", "a = " + "9" * 5000, "a = " + "[" * 5000])
def test_what_is_not_toml_is_told_so(text):
    with pytest.raises(MatrixError, match=r"m\.toml is not valid TOML"):
        parse(text, "m.toml")


def test_a_matrix_that_is_not_there_names_the_flag(tmp_path):
    with pytest.raises(MatrixError, match=r"there is no matrix at .*none\.toml; name one with --matrix FILE"):
        read(tmp_path / "none.toml")


def test_a_folder_is_no_matrix(tmp_path):
    with pytest.raises(MatrixError, match="cannot be read"):
        read(tmp_path)


def test_a_matrix_that_is_not_utf8_is_told_so(tmp_path):
    path = tmp_path / "latin.toml"
    path.write_bytes("schema = 1 # ä".encode("latin-1"))
    with pytest.raises(MatrixError, match="a matrix is a UTF-8 TOML file"):
        read(path)


def test_a_matrix_may_begin_with_a_byte_order_mark(tmp_path):
    path = tmp_path / "windows.toml"
    text = matrix_text()
    path.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert read(path).models == parse(text).models
    assert parse(f"\ufeff{text}").models == parse(text).models


# --- anything at all --------------------------------------------------------------------------------------------------

WORDS = sorted(
    {*matrices.TOP, "minilm", "vit", "fp32", "int8", "ort", "build", "cpu", "torch-eager", "family", "source", "ep"}
    | {"text-encoder", "image-classifier", "torch", "workloads", "batch", "sequence", "requires", "python", "engine"}
    | {"mode", "control", "options", "session", "cells", "reason", "recipe", "tolerance", "min_cosine", "threads"}
    | {"timeout_s", "memory_limit_mb", "budget", "seed", "opset", "inputs", "weights", "runtime", "like", "device"}
    | {"plugin", "environment", "static_shapes", "emulated", "hint", "cuda", "openvino-gpu.1", "gpu.1", "unavailable"}
)
SCALARS = st.one_of(
    st.sampled_from(WORDS), st.text(max_size=8), st.integers(), st.floats(), st.booleans(), st.dates(), st.none()
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=4),
    max_leaves=12,
)


def held_to_its_promise(make) -> Matrix | None:
    """What `make` reads, or None; it may complain in no other way than by a `MatrixError`."""
    try:
        return make()
    except MatrixError:
        return None


@given(st.text())
@example("\x00")
def test_any_text_is_a_matrix_or_a_matrix_error(text):
    assert held_to_its_promise(lambda: parse(text)) is None


@given(st.data())
def test_a_matrix_with_any_damage_is_a_matrix_or_a_matrix_error(data):
    at = data.draw(st.integers(0, len(MATRIX)))
    to = data.draw(st.integers(at, min(len(MATRIX), at + 40)))
    put = data.draw(st.sampled_from(["", *WORDS, "1", "[", "]", '"', "=", "\n", "{", "}", "[[", "-0x1"]))
    matrix = held_to_its_promise(lambda: parse(MATRIX[:at] + put + MATRIX[to:]))
    if matrix:
        planned_or_told(matrix)


@given(st.data())
def test_any_value_in_any_place_is_a_matrix_or_a_matrix_error(data):
    import tomllib

    tables = tomllib.loads(MATRIX)
    here = tables
    while True:  # walk down to a random place, and put anything there
        key = data.draw(st.sampled_from([*here, "new"]))
        if not isinstance(here.get(key), dict) or data.draw(st.booleans()):
            break
        here = here[key]
    here[key] = data.draw(VALUES)
    matrix = held_to_its_promise(lambda: matrices.checked(tables, "", "m.toml"))
    if matrix:
        planned_or_told(matrix)


def planned_or_told(matrix: Matrix) -> None:
    """A matrix that was taken can be planned, unless a rule of it matches nothing."""
    try:
        cells = plan(matrix)
    except BenchError:
        return
    assert len({cell.id for cell in cells}) == len(cells)


@given(st.text(max_size=20), st.lists(st.text(max_size=20), max_size=5))
def test_every_unknown_word_has_a_remedy(word, known):
    assert nearest(word, known)


@pytest.mark.parametrize("hash_", ["", "abc", "z" * 64, "0" * 63])
def test_a_sha256_that_is_none_is_refused(hash_):
    source = 'source = "config:vit-tiny"'
    with pytest.raises(MatrixError, match=r"models\.vit\.sha256 is") as refused:
        a_matrix((source, f'{source}\nsha256 = "{hash_}"'))
    assert "64 digits" in refused.value.hint


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        ("min_cosine = nan", r"tolerance\.min_cosine is nan"),
        ("max_kl = inf", r"tolerance\.max_kl is inf"),
        ("max_relative_error = -0.1", r"tolerance\.max_relative_error is -0\.1"),
        ("min_top1 = 95.0", r"tolerance\.min_top1 is 95"),
    ],
)
def test_a_limit_that_accepts_all_or_nothing_is_refused(limit, message):
    with pytest.raises(MatrixError, match=message):
        a_matrix(('text-encoder = "fp32"', f'text-encoder = "fp32"\ntolerance = {{ {limit} }}'))


# --- several mistakes -------------------------------------------------------------------------------------------------

TEN_MISTAKES = """
schema = 1

[models.first]
familly = "text-encoder"
source = "config:bert-base"

[models.second]
family = "text-encodr"
source = "config:bert-base"
sha256 = "short"

[models.third]
family = "text-encoder"
source = "cnfig:bert-base"
precisions = ["in8"]
workloads = [{ batch = 0 }, { bach = 2 }]

[precisions.int8]
text-encoder = "fp23"
torch = "fp33"

[providers.cpuu]

[measure]
threads = 0
"""


def test_a_misspelt_family_hides_no_later_mistake_of_its_model():
    text = """schema = 1
[models.m]
family = "text-encoderr"
source = "hub:a/b"
seed = -1
workloads = [{ batc = 1 }, { sequence = 0 }]
[precisions.fp32]
text-encoder = "fp32"
[providers.cpu]
"""
    with pytest.raises(MatrixError) as caught:
        parse(text, "some.toml")
    places = ("workloads[0]", "seed is -1", "unknown family 'text-encoderr'", "workloads[1].sequence is 0")
    first, *rest = str(caught.value).splitlines()
    assert first == "some.toml has 4 mistakes"
    assert all(place in line for place, line in zip(places, rest, strict=True))


def test_what_depends_on_a_family_is_not_guessed_where_any_may_be_meant():
    text = """schema = 1
[models.m]
family = "zzz"
source = "huub:x"
workloads = [{ batc = 1 }]
[precisions.fp32]
text-encoder = "fp32"
[providers.cpu]
"""
    with pytest.raises(MatrixError) as caught:
        parse(text, "some.toml")
    _, *rest = str(caught.value).splitlines()
    assert [line.strip().split(" ")[0] for line in rest] == ["unknown", "source"]


def test_all_mistakes_are_told_at_once_with_the_misspelt_keys_first():
    with pytest.raises(MatrixError) as caught:
        parse(TEN_MISTAKES, "some.toml")
    first, *lines = str(caught.value).splitlines()
    assert first == "some.toml has 11 mistakes"
    assert [line.partition(" in ")[0].strip() for line in lines] == [
        "unknown key 'familly'",
        "unknown key 'bach'",
        "'cpuu' is no known provider, and providers.cpuu lacks the key 'ep'",
        "models.second.sha256 is 'short'",
        "unknown family 'text-encodr'",
        "source 'cnfig:bert-base' of models.third has no known kind",
        "models.third.workloads[0].batch is 0",
        "unknown recipe 'fp23'",
        "unknown recipe 'fp33'",
        "unknown precision 'in8'",
        "measure.threads is 0",
    ]
    assert all("; " in line for line in lines)


def test_a_key_that_is_missing_because_it_is_misspelt_is_one_mistake():
    assert complaint(('family = "text-encoder"', 'familly = "text-encoder"')).startswith("unknown key 'familly'")
    assert complaint(("requires = ", "require = ")).startswith("unknown key 'require'")


def test_a_precision_that_no_table_describes_is_answered_with_the_nearest():
    said = complaint(('source = "config:bert-base"', 'source = "config:bert-base"\nprecisions = ["in8"]'))
    assert said == "unknown precision 'in8' in models.minilm.precisions in some.toml; did you mean 'int8'?"


def test_runtimes_that_are_no_table_are_a_mistake_and_no_fault():
    data = tomllib.loads(MATRIX) | {"runtimes": 3}
    with pytest.raises(MatrixError, match="'runtimes' is no table"):
        matrices.checked(data, "", "m.toml")
