"""A table of a provider inherits from the known ones, and says nothing that would be measured as something else."""

from __future__ import annotations

import pytest
from matrices import a_matrix, matrix_text

from bench.declare import catalogue
from bench.declare.matrix import parse
from bench.declare.plan import plan
from bench.declare.targets import Runtime, Target
from bench.errors import MatrixError
from bench.records import CompileCache, DeviceChoice, DeviceOption, Provider, ThreadsOption
from bench.records.plan import KnownRefusal


def a_target(table: str) -> Target:
    """What `[providers.NAME]` and the lines after it come to, the last of the matrix's providers."""
    targets = a_matrix(more=table).targets
    return [target for target in targets.values() if target.provider][-1]


def complaint(table: str) -> str:
    """What is said of a matrix with this table."""
    with pytest.raises(MatrixError) as caught:
        parse(matrix_text(more=table), "m.toml")
    said = str(caught.value)
    assert "m.toml" in said
    assert "\n" not in said
    return said


# --- inheriting -------------------------------------------------------------------------------------------------------


def test_a_table_with_a_known_name_needs_nothing_else():
    assert a_target("[providers.webgpu]") == catalogue.target("webgpu")


def test_a_table_of_another_name_says_whom_it_is_like():
    target = a_target('[providers.mine]\nlike = "openvino-cpu"')
    assert (target.name, target.row, target.runtime) == ("mine", "openvino-cpu", "openvino-cpu")
    assert target.provider == catalogue.target("openvino-cpu").provider


def test_a_provider_that_is_not_known_is_what_its_table_says():
    table = """[providers.mine]
ep = "MyExecutionProvider"
plugin = "vendor.my_ep"
device = "npu"
options = { level = 3, fast = true }
session = { "session.intra_op.allow_spinning" = "0" }
environment = { MY_LOG = "" }
static_shapes = true
emulated = true
hint = "plug it in"
"""
    provider = Provider(
        ep="MyExecutionProvider",
        plugin="vendor.my_ep",
        device=DeviceChoice("npu"),
        options={"level": 3, "fast": True},
        session={"session.intra_op.allow_spinning": "0"},
        environment={"MY_LOG": ""},
        static_shapes=True,
        emulated=True,
        hint="plug it in",
    )
    assert a_target(table) == Target("mine", "ort", "ort", provider=provider)


def test_a_provider_of_the_users_own_says_how_it_behaves():
    table = """[providers.mine]
ep = "MyExecutionProvider"
device_option = { name = "card", indexed = ["npu"] }
threads_option = { name = "workers", unless = { config = "threads" } }
engine_names = { genai = "mine" }
engine = "genai"
device_memory = "mine"
boolean_words = true
cache = { kind = "option", name = "folder" }
refusals = [{ engine = "genai", part = "encoder", message = "it dies", remedy = "do not" }]
"""
    provider = Provider(
        ep="MyExecutionProvider",
        device_option=DeviceOption("card", ("npu",)),
        threads_option=ThreadsOption("workers", {"config": "threads"}),
        engine_names={"genai": "mine"},
        device_memory="mine",
        boolean_words=True,
        cache=CompileCache("option", "folder"),
        refusals=(KnownRefusal("genai", "encoder", "it dies", "do not"),),
    )
    assert a_target(table).provider == provider


def test_a_table_with_the_ep_of_a_known_provider_behaves_as_that_does_and_has_nothing_else_of_it():
    provider = a_target('[providers.mine]\nep = "TensorrtExecutionProvider"\ngraph_option = "other"').provider
    assert (provider.uses_cuda, provider.device_option.name) == (True, "device_id")
    assert (provider.graph_option, provider.cache, provider.options) == ("other", None, {})


def test_what_a_table_says_is_laid_over_what_the_known_provider_says():
    table = """[providers.qnn-emulator]
options = { soc_model = 88, vtcm_mb = 8 }
environment = { A = "1" }
static_shapes = false
emulated = false
hint = "ask Ann"
plugin = "our_qnn"
"""
    provider = a_target(table).provider
    assert provider.options == {"backend_type": "htp", "soc_model": 88, "htp_arch": 73, "vtcm_mb": 8}
    assert (provider.static_shapes, provider.emulated, provider.hint) == (False, False, "ask Ann")
    assert (provider.plugin, provider.environment) == ("our_qnn", {"A": "1"})
    assert provider.cache == CompileCache("context")


def test_a_level_of_graph_optimization_is_the_tables_own():
    assert a_target('[providers.plain]\nlike = "cpu"\noptimization = "basic"').provider.optimization == "basic"
    assert a_target('[providers.plain]\nlike = "cpu"').provider.optimization == "all"


def test_an_unknown_level_of_graph_optimization_is_answered_with_the_nearest():
    said = complaint('[providers.plain]\nlike = "cpu"\noptimization = "basics"')
    assert "unknown optimization 'basics' in providers.plain" in said
    assert "'basic'" in said


def test_an_empty_string_takes_an_option_of_the_known_provider_away():
    assert a_target('[providers.cuda]\noptions = { use_tf32 = "" }').provider.options == {}
    assert a_target('[providers.cuda]\noptions = { sdpa_kernel = "" }').provider.options["sdpa_kernel"] == ""


def test_an_option_that_the_catalogue_does_not_know_is_no_mistake_yet():
    provider = a_target("[providers.cuda]\noptions = { brand_new = 1 }").provider
    assert provider.options["brand_new"] == 1
    assert "brand_new" not in provider.known_options


@pytest.mark.parametrize(
    ("table", "said", "remedy"),
    [
        ("[providers.cudaa]", "'cudaa' is no known provider, and providers.cudaa lacks the key 'ep'", "'cuda'"),
        ('[providers.mine]\nep = ""', "'mine' is no known provider", ""),
        ('[providers.x]\nlike = "webgpuu"', "unknown provider 'webgpuu' in providers.x.like", "'webgpu'"),
        ('[providers.cuda]\nlike = "webgpu"', "providers.cuda is called like one known provider", "another name"),
        ('[providers.cuda]\nep = "CPUExecutionProvider"', "ep 'CPUExecutionProvider' of providers.cuda", "ep out"),
        ("[providers.cuda]\nuse_cuda = true", "unknown key 'use_cuda' in providers.cuda", "'uses_cuda'"),
        ('[providers.cuda]\nonly_device = "tpu"', "providers.cuda.only_device: invalid enum value 'tpu'", ""),
        (
            '[providers.cuda]\ndevice_option = { name = "x", indxed = [] }',
            "providers.cuda.device_option: object contains unknown field indxed",
            "",
        ),
        ('[providers.cuda]\nepp = "x"', "unknown key 'epp' in providers.cuda", "'ep'"),
        (
            '[providers.cuda]\nplugin = "lib/my.so"',
            "plugin 'lib/my.so' of providers.cuda is no module",
            "Python module",
        ),
        ('[providers.cuda]\nplugin = ""', "plugin '' of providers.cuda is no module", ""),
        ("[providers.cuda]\nenvironment = { A = 1 }", "providers.cuda.environment.A is no string", 'A = "…"'),
        ('[providers.cuda]\nenvironment = { "A=B" = "1" }', "'A=B' in providers.cuda.environment is no", ""),
        ("[providers.cuda]\nsession = { a = 1 }", "providers.cuda.session.a is no string", ""),
        ("[providers.cuda]\noptions = { a = {} }", "providers.cuda.options.a is no plain value", ""),
        ('[providers.cuda]\nemulated = "yes"', "providers.cuda.emulated: expected bool | null, got str", ""),
    ],
)
def test_a_mistake_is_named_by_its_place_and_remedy(table, said, remedy):
    answer = complaint(table)
    assert answer.startswith(said)
    assert remedy in answer


# --- devices ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "device"),
    [
        ("[providers.webgpu]", DeviceChoice("gpu")),
        ('[providers."webgpu.1"]', DeviceChoice("gpu", 1)),
        ('[providers.b]\nlike = "webgpu.1"', DeviceChoice("gpu", 1)),
        ("[providers.webgpu]\ndevice = 1", DeviceChoice("gpu", 1)),
        ('[providers.webgpu]\ndevice = "gpu.1"', DeviceChoice("gpu", 1)),
        ('[providers."webgpu.1"]\ndevice = "gpu.1"', DeviceChoice("gpu", 1)),
        ("[providers.coreml]", DeviceChoice()),
        ('[providers.x]\nep = "X"', DeviceChoice()),
        ('[providers.x]\nep = "X"\ndevice = 2', DeviceChoice(index=2)),
    ],
)
def test_a_device_is_chosen_by_kind_or_index_or_by_the_tables_name(table, device):
    assert a_target(table).provider.device == device


@pytest.mark.parametrize(
    ("table", "options"),
    [
        ('[providers."cuda.1"]', {"use_tf32": 0, "device_id": "1"}),
        ("[providers.cuda]\ndevice = 1\noptions = { device_id = 1 }", {"use_tf32": 0, "device_id": "1"}),
        ('[providers."openvino-gpu.0"]', {"device_type": "GPU.0"}),
        ("[providers.openvino-gpu]", {"device_type": "GPU"}),
        ('[providers."webgpu.1"]', {}),
    ],
)
def test_a_provider_inside_a_wheel_is_told_its_device_by_an_option(table, options):
    assert a_target(table).provider.options == options


def test_two_devices_of_one_provider_are_two_targets():
    cells = plan(a_matrix(more='[providers."cuda.0"]\n[providers."cuda.1"]'), only=["vit/fp32/cuda.*"])
    assert {cell.target: (cell.device, cell.runtime) for cell in cells} == {
        "cuda.0": ("gpu.0", "cuda"),
        "cuda.1": ("gpu.1", "cuda"),
    }


@pytest.mark.parametrize(
    ("table", "said", "remedy"),
    [
        ('[providers.webgpu]\ndevice = "gup"', "device 'gup' of providers.webgpu is no device", "mean 'gpu'"),
        ('[providers.webgpu]\ndevice = "gup.1"', "device 'gup.1' of providers.webgpu is no device", "mean 'gpu'"),
        ('[providers.webgpu]\ndevice = "gpu.x"', "device 'gpu.x' of providers.webgpu is no device", '"gpu.1"'),
        ('[providers.webgpu]\ndevice = "gpu."', "device 'gpu.' of providers.webgpu is no device", '"gpu.1"'),
        ("[providers.webgpu]\ndevice = -1", "device -1 of providers.webgpu is no device", '"gpu.1"'),
        ("[providers.webgpu]\ndevice = true", "device True of providers.webgpu is no device", '"gpu.1"'),
        ("[providers.webgpu]\ndevice = []", "device [] of providers.webgpu is no device", '"gpu.1"'),
        (
            '[providers.openvino-gpu]\ndevice = "npu"',
            "device 'npu' of providers.openvino-gpu is none of the known provider 'openvino-gpu'",
            "did you mean like = 'openvino-npu'?",
        ),
        ('[providers.cuda]\ndevice = "npu"', "device 'npu' of providers.cuda is none of", "it runs on 'gpu'"),
        ('[providers.coreml]\ndevice = "npu"', "device 'npu' of providers.coreml is none of", "leave device out"),
        ('[providers."cuda.1"]\ndevice = 0', "device '0' of providers.cuda.1 contradicts its name", "once"),
        ('[providers."cuda.1"]\noptions = { device_id = 0 }', "providers.cuda.1.options.device_id is 0", "once"),
        ('[providers."cpu.1"]', "providers.cpu.1 asks for a device by its index, and 'cpu' has no option", "only"),
    ],
)
def test_a_device_that_is_none_is_answered(table, said, remedy):
    answer = complaint(table)
    assert answer.startswith(said)
    assert remedy in answer


# --- runtimes ---------------------------------------------------------------------------------------------------------


def test_a_known_provider_brings_its_runtime():
    matrix = a_matrix(more='[providers.webgpu]\n[providers."cuda.1"]')
    assert matrix.runtimes["webgpu"] == catalogue.runtime("webgpu")
    assert matrix.targets["cuda.1"].runtime == "cuda"
    assert set(matrix.runtimes) == {"ort", "build", "webgpu", "cuda"}


def test_a_runtime_of_the_file_with_the_providers_name_is_used_in_its_stead():
    matrix = a_matrix(more='[providers.webgpu]\n[runtimes.webgpu]\npython = "python3"')
    assert matrix.runtimes["webgpu"] == Runtime("webgpu", (), "python3")


def test_a_runtime_that_the_table_names_wins():
    matrix = a_matrix(more='[providers.webgpu]\nruntime = "mine"\n[runtimes.mine]\nrequires = ["x"]')
    assert matrix.targets["webgpu"].runtime == "mine"
    assert "webgpu" not in matrix.runtimes


def test_a_table_can_name_the_runtime_of_another_known_provider():
    matrix = a_matrix(more='[providers.x]\nep = "X"\nruntime = "openvino-cpu"')
    assert matrix.runtimes["openvino-cpu"] == catalogue.runtime("openvino-cpu")


def test_the_cpu_runs_in_the_files_ort_runtime_or_else_in_its_own():
    assert a_matrix().targets["cpu"].runtime == "ort"
    matrix = a_matrix(("[runtimes.ort]", "[runtimes.other]"))
    assert matrix.targets["cpu"].runtime == "cpu"
    assert matrix.runtimes["cpu"] == catalogue.runtime("cpu")


def test_one_provider_under_two_versions_is_two_targets():
    table = '[runtimes.ort-1-30]\nrequires = ["onnxruntime==1.30.0"]\n'
    table += '[providers.cpu-1-30]\nlike = "cpu"\nruntime = "ort-1-30"\n'
    targets = a_matrix(more=table).targets
    assert targets["cpu"].provider == targets["cpu-1-30"].provider
    assert (targets["cpu"].runtime, targets["cpu-1-30"].runtime) == ("ort", "ort-1-30")


def test_a_runtime_that_cannot_be_made_here_says_so_in_the_matrix():
    runtime = a_matrix(more="[providers.vitisai]").runtimes["vitisai"]
    assert runtime.requires == ()
    assert runtime.unavailable == "no wheel with VitisAIExecutionProvider is published"
    assert "Ryzen AI" in runtime.hint


def test_no_table_can_call_a_runtime_unavailable():
    assert complaint('[runtimes.x]\nunavailable = "no"').startswith("unknown key 'unavailable' in runtimes.x")
