"""The WebGPU plugin on a software adapter: registered once, never silently the CPU, and told for what it is."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from msgspec.structs import replace
from visits import CPU, Recorder, a_model_with_shape_arithmetic, a_provider, a_visit, a_whole_visit, measure

from bench.records import DeviceChoice, Held, Opened, Probe, note
from bench.worker.engines import ort
from bench.worker.onnx_runtime import plugins
from bench.worker.refusal import Refusal

EP = "WebGpuExecutionProvider"
WEBGPU = a_provider(EP, plugin="onnxruntime_ep_webgpu", hint="pip install onnxruntime-ep-webgpu")


def test_its_nodes_are_on_it_its_answers_are_right_and_its_adapter_is_told(tmp_path):
    channel = Recorder()
    measure(a_whole_visit(tmp_path, provider=WEBGPU), channel)
    (opened,), (held,) = channel.of(Opened), channel.of(Held)
    assert opened.placement.nodes == {EP: {"MatMul": 1}}
    assert held.parity.cosine > 0.999999
    assert "onnxruntime-ep-webgpu" in opened.versions
    if opened.device.type == "cpu":
        assert note("software-adapter") in opened.notes


def test_two_sessions_register_the_plugin_once(tmp_path, monkeypatch):
    ort.Session(a_whole_visit(tmp_path, provider=WEBGPU))

    def again(*_: str) -> None:
        raise AssertionError("a second registration makes the next session segfault")

    monkeypatch.setattr(onnxruntime, "register_execution_provider_library", again)
    session = ort.Session(a_whole_visit(tmp_path, provider=WEBGPU))
    assert session.placement.nodes == {EP: {"MatMul": 1}}


def test_another_plugin_in_the_same_process_is_not_even_loaded(tmp_path):
    ort.Session(a_whole_visit(tmp_path, provider=WEBGPU))
    with pytest.raises(RuntimeError, match="another process"):
        plugins.register(a_provider("QNNExecutionProvider", plugin="onnxruntime_qnn"))


def test_the_plugin_by_name_alone_would_be_a_silent_cpu_session_and_so_is_given_by_device(tmp_path):
    """That onnxruntime still passes it over in `providers=` is why; when it stops, this says so."""
    order = a_whole_visit(tmp_path, provider=WEBGPU)
    ort.Session(order)
    silent = onnxruntime.InferenceSession(f"{order.artifact}/model.onnx", providers=[EP], enable_fallback=0)
    assert silent.get_providers() == [CPU]
    assert EP in ort.Session(order).session.get_providers()


def test_a_device_that_is_not_there_is_refused_with_those_that_are(tmp_path):
    missing = replace(WEBGPU, device=DeviceChoice("npu"))
    with pytest.raises(Refusal) as refused:
        ort.Session(a_whole_visit(tmp_path, provider=missing))
    assert (refused.value.status, refused.value.kind) == ("unavailable", "no-device")
    assert ort.Session(a_whole_visit(tmp_path, provider=WEBGPU)).device.label in refused.value.message


def test_an_ep_that_the_plugin_does_not_offer_is_refused_with_its_right_name(monkeypatch):
    # As if the plugin had been registered under the matrix's wrong name, which can be done once in a process.
    monkeypatch.setattr(plugins, "register", lambda _provider: None)
    ort_facts = ort.probe(Probe("ort", replace(WEBGPU, ep="WebGPU")))
    assert ort_facts.kind == "registers-nothing"
    assert f'ep = "{EP}"' in ort_facts.remedy


def test_a_bad_value_of_an_option_is_told_as_an_option(tmp_path):
    with pytest.raises(Refusal) as refused:
        ort.Session(a_whole_visit(tmp_path, provider=replace(WEBGPU, options={"enableGraphCapture": "banana"})))
    assert "banana" in refused.value.message


def test_a_probe_finds_fp32_and_fp16_and_that_options_are_not_checked():
    facts = ort.probe(Probe("ort", WEBGPU))
    assert facts.available
    assert [each.format for each in facts.executes] == ["fp32", "fp16"]
    assert facts.checks_options is False


def test_no_path_of_this_machine_is_in_what_a_probe_says():
    facts = ort.probe(Probe("ort", WEBGPU))
    assert not any("/" in value for device in facts.devices for value in device.metadata.values())


def test_shape_arithmetic_that_onnxruntime_keeps_on_the_cpu_is_told_from_what_fell_back(tmp_path):
    """When onnxruntime gives it to the provider, or folds it away, this says so."""
    placed = ort.Session(a_visit(a_model_with_shape_arithmetic(tmp_path), provider=WEBGPU)).placement
    assert placed.nodes[CPU]["Gather"] == 1
    assert placed.shape_nodes[CPU]["Gather"] == 1
    assert placed.working(CPU) == {}
    assert placed.working(EP) == {"MatMul": 1, "Reshape": 1}


def test_a_profile_counts_copies_and_the_time_on_the_cpu(tmp_path):
    order = a_whole_visit(tmp_path, provider=WEBGPU)
    session = ort.Session(order)
    seen = ort.profiled(order, session.placement, {"x": np.ones((1, 8), np.float32)})
    assert seen.nodes == session.placement.nodes
    assert seen.copies is not None
    assert seen.time_elsewhere == 0


def test_a_model_that_is_none_is_the_models_fault_and_not_the_targets(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"straw")
    with pytest.raises(Exception, match=r"(?i)protobuf|parse|load") as raised:
        ort.Session(a_visit(tmp_path, provider=WEBGPU))
    assert not isinstance(raised.value, Refusal)
