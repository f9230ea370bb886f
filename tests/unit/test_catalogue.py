"""The catalogue of known providers is sound, and gives each platform what was published for it."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

import msgspec
import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from bench.declare import catalogue, handbook, registry
from bench.declare.catalogue import Row, admits
from bench.declare.patterns import MODULE, VARIABLE
from bench.declare.targets import Runtime
from bench.errors import UsageError
from bench.records import CompileCache, DeviceChoice

ROWS = catalogue.rows()
PAGE = Path(__file__).parents[2] / "docs" / "providers.md"


@pytest.fixture
def machine(monkeypatch):
    """`machine("win32", "AMD64", (3, 12))`: what Python says that it runs on."""

    def be(system: str, processor: str, python: tuple[int, int] = (3, 11)) -> None:
        monkeypatch.setattr(sys, "platform", system)
        monkeypatch.setattr(sys, "version_info", (*python, 0))
        monkeypatch.setattr(platform, "machine", lambda: processor)

    return be


def a_row(**said: object) -> Row:
    """A row with the fewest words, and what a test says."""
    return msgspec.convert({"name": "x", "ep": "X", "title": "x", "install": "x", "tested": False, **said}, Row)


# --- the file ---------------------------------------------------------------------------------------------------------


def test_every_provider_that_users_ask_for_is_there():
    asked = {"cpu", "cuda", "tensorrt", "nv-tensorrt-rtx", "directml", "coreml", "qnn", "qnn-emulator", "webgpu"}
    asked |= {f"openvino-{device}" for device in ("cpu", "gpu", "npu")} | {"webgpu-software", "migraphx", "rocm"}
    asked |= {f"openvino-plugin-{device}" for device in ("cpu", "gpu", "npu")} | {"vitisai", "xnnpack"}
    assert asked | {"dnnl", "acl", "cann", "mlx", "ggml"} == set(ROWS)


@pytest.mark.parametrize("row", ROWS.values(), ids=list(ROWS))
def test_a_row_speaks_in_words_that_are_known(row):
    # A plugin may call itself anything.
    assert row.plugin or row.ep.endswith("ExecutionProvider")
    assert row.plugin is None or MODULE.fullmatch(row.plugin)
    assert all(VARIABLE.fullmatch(name) for name in row.environment)
    assert not row.install.endswith("."), "it is part of a longer sentence"


@pytest.mark.parametrize("row", ROWS.values(), ids=list(ROWS))
def test_every_requirement_is_pinned_to_one_version(row):
    for requirement in (Requirement(said) for wheel in row.wheels for said in wheel.requires):
        assert [clause.operator for clause in requirement.specifier] == ["=="], str(requirement)


@pytest.mark.parametrize("row", ROWS.values(), ids=list(ROWS))
def test_the_options_that_a_row_uses_itself_are_known(row):
    used = {option.name for option in (row.device_option, row.threads_option) if option}
    used |= {row.graph_option} if row.graph_option else set()
    used |= {row.cache.name} if row.cache and row.cache.kind == "option" else set()
    assert row.known is None or used | set(row.options) <= set(row.known)


def test_every_wheel_of_a_provider_that_genai_drives_brings_genai():
    driven = [row for row in ROWS.values() if registry.engines()["genai"].drives(row)]
    assert {row.name for row in driven} == {"cpu", "cuda", "webgpu", "webgpu-software"}
    for wheel in (wheel for row in driven for wheel in row.wheels):
        assert any(said.startswith("onnxruntime-genai") for said in wheel.requires), wheel.platforms


def test_only_what_was_run_says_so():
    run = {name for name, row in ROWS.items() if row.tested}
    assert run == {"cpu", "cuda", "ggml", "openvino-cpu", "qnn-emulator", "webgpu-software"}
    assert all("2026" in str(ROWS[name].tested) for name in run)


def test_a_row_that_was_run_must_say_on_what():
    with pytest.raises(msgspec.ValidationError, match=r"at `\$.tested`"):
        a_row(tested=True)


@pytest.mark.parametrize(
    ("said", "place"),
    [
        ({"optoins": {}}, "unknown field `optoins`"),
        ({"needs": "gpu:nvida"}, "needs"),
        ({"needs": "gpu:"}, "needs"),
        ({"device": "tpu"}, "device"),
        ({"wheels": [{"requires": ["x"], "platforms": ["linux-amd64"], "python": ">=3.11,<3.15"}]}, "platforms"),
        ({"wheels": [{"requires": ["x"], "platforms": ["linux-x86_64"], "python": "~=3.11"}]}, "python"),
    ],
)
def test_a_word_that_is_misspelt_in_the_file_is_refused(said, place):
    assert a_row().tested is False
    with pytest.raises(msgspec.ValidationError, match=place):
        a_row(**said)


def test_a_row_that_is_like_another_takes_what_it_does_not_say():
    plain, emulator = ROWS["qnn"], ROWS["qnn-emulator"]
    assert (emulator.ep, emulator.plugin, emulator.known) == (plain.ep, plain.plugin, plain.known)
    assert (plain.needs, emulator.needs, plain.emulated, emulator.emulated) == ("npu:qualcomm", "", False, True)
    assert emulator.options == {"backend_type": "htp", "soc_model": 60, "htp_arch": 73}


# --- behavior ---------------------------------------------------------------------------------------------------------


def test_a_provider_that_is_no_row_behaves_as_the_first_row_of_its_ep_and_sort():
    assert catalogue.behavior("CUDAExecutionProvider")["graph_option"] == "enable_cuda_graph"
    wheel, plugin = (catalogue.behavior("OpenVINOExecutionProvider", name) for name in (None, "their_openvino"))
    assert wheel == catalogue.behavior_of(ROWS["openvino-cpu"])
    assert plugin == catalogue.behavior_of(ROWS["openvino-plugin-cpu"]) != wheel
    assert catalogue.behavior("WebGpuExecutionProvider") == catalogue.behavior_of(ROWS["webgpu"])
    assert catalogue.behavior("MyExecutionProvider") == {}


@pytest.mark.parametrize("row", ROWS.values(), ids=list(ROWS))
def test_the_behavior_of_a_row_reaches_the_worker(row):
    provider = catalogue.target(row.name).provider
    assert catalogue.behavior_of(provider) == catalogue.behavior_of(row)


@pytest.mark.parametrize("row", ROWS.values(), ids=list(ROWS))
def test_a_row_names_engines_that_there_are(row):
    named = {*row.engine_names, *(refusal.engine for refusal in row.refusals)}
    assert named <= set(registry.engines())
    assert all(registry.engines()[name].names_providers for name in row.engine_names)


def test_a_key_of_behavior_that_is_misspelt_is_refused():
    assert a_row(device_option={"name": "x", "indexed": ["gpu"]}).device_option.indexed == ("gpu",)
    for said in ({"device_option": {"nmae": "x"}}, {"only_device": "tpu"}, {"uses_cudaa": True}):
        with pytest.raises(msgspec.ValidationError):
            a_row(**said)


# --- targets ----------------------------------------------------------------------------------------------------------


def test_a_target_holds_all_that_a_worker_needs():
    target = catalogue.target("webgpu-software")
    assert (target.engine, target.runtime, target.row, target.needs) == (
        "ort",
        "webgpu-software",
        "webgpu-software",
        "",
    )
    provider = target.provider
    assert (provider.ep, provider.plugin) == ("WebGpuExecutionProvider", "onnxruntime_ep_webgpu")
    assert provider.device == DeviceChoice("cpu")
    assert provider.environment == {"ORT_WEBGPU_EP_ALLOW_SOFTWARE_ADAPTER": "1"}
    assert provider.cache == CompileCache("environment", "MESA_SHADER_CACHE_DIR")
    assert "Mesa 25" in provider.hint
    assert "powerPreference" in provider.known_options


def test_fp32_on_cuda_is_fp32_unless_the_user_says_otherwise():
    assert catalogue.target("cuda").provider.options == {"use_tf32": 0}


def test_a_provider_without_a_list_of_options_knows_none_and_one_that_takes_none_knows_that():
    assert catalogue.target("dnnl").provider.known_options is None
    assert catalogue.target("cpu").provider.known_options == ()


def test_a_name_that_is_no_rows_is_no_target():
    with pytest.raises(KeyError, match="cudaa"):
        catalogue.target("cudaa")


# --- wheels -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("system", "processor", "word"),
    [
        ("linux", "x86_64", "linux-x86_64"),
        ("linux", "aarch64", "linux-aarch64"),
        ("win32", "AMD64", "windows-x86_64"),
        ("win32", "ARM64", "windows-aarch64"),
        ("darwin", "arm64", "macos-aarch64"),
        ("freebsd14", "amd64", "freebsd14-x86_64"),
    ],
)
def test_a_platform_is_named_as_wheels_name_it(machine, system, processor, word):
    machine(system, processor)
    assert catalogue.platform_word() == word


def test_a_runtime_is_what_was_published_for_the_platform(machine):
    machine("win32", "AMD64")
    assert catalogue.runtime("directml") == Runtime("directml", ("onnxruntime-directml==1.24.4", "numpy==2.4.6"))


def test_a_platform_without_a_wheel_is_told_which_have_one(machine):
    machine("linux", "x86_64")
    found = catalogue.runtime("directml")
    assert found.requires == ()
    assert found.unavailable == "there is no wheel with DmlExecutionProvider for linux-x86_64, only for windows-x86_64"
    assert found.hint.startswith("it needs Windows")


def test_a_python_without_a_wheel_is_told_which_have_one(machine):
    machine("linux", "x86_64", (3, 11))
    said = catalogue.runtime("migraphx").unavailable
    assert said == "the wheels with MIGraphXExecutionProvider are for Python >=3.12,<3.15, and this is 3.11"
    machine("linux", "x86_64", (3, 12))
    assert catalogue.runtime("migraphx").requires


def test_a_provider_that_only_vendors_build_is_told_so():
    assert catalogue.runtime("vitisai").unavailable == "no wheel with VitisAIExecutionProvider is published"


@pytest.mark.parametrize("said", sorted({wheel.python for row in ROWS.values() for wheel in row.wheels}))
def test_bounds_of_python_mean_what_they_mean_to_pip(said):
    for minor in range(9, 18):
        assert admits(said, (3, minor)) == SpecifierSet(said).contains(f"3.{minor}")


# --- the page ---------------------------------------------------------------------------------------------------------


def test_the_page_of_providers_says_what_the_catalogue_says():
    text = PAGE.read_text(encoding="utf-8")
    assert handbook.rewritten(text) == text, "run: python -m bench.declare.handbook docs/providers.md"


def test_the_page_names_every_option_of_every_provider():
    sections = handbook.handbook().split("\n### ")
    for row, section in zip(ROWS.values(), sections[2:], strict=True):
        assert section.startswith(row.name)
        assert all(f"`{name}`" in section for name in row.known or ())


def test_the_page_says_what_every_key_of_behavior_means():
    section = handbook.handbook().partition("### Keys of behavior")[2].partition("\n### ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    assert [row.split("`")[1] for row in rows] == list(catalogue.BEHAVIOR)
    assert all(len(row.split(" | ")[2]) > 20 for row in rows)


def test_a_page_without_its_marks_is_told():
    with pytest.raises(UsageError, match="lacks a mark"):
        handbook.rewritten("# Providers\n")
