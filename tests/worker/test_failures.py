"""What exceptions of real libraries mean: their words, as they were seen, and the status that a cell gets."""

from __future__ import annotations

import numpy as np
import pytest

from bench.worker.failures import failure_of, reason_of
from bench.worker.refusal import Refusal


@pytest.mark.parametrize(
    "words",
    [
        "std::bad_alloc",
        "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Failed to allocate memory for requested buffer of size 42949",
        "CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 79.11 GiB",
        "CUDNN failure 2: CUDNN_STATUS_ALLOC_FAILED ; GPU=0",
        "CUDA failure 2: out of memory ; GPU=0",
        "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to"
        " allocate 4000000000000 bytes. Error code 12 (Cannot allocate memory)",
        "vkAllocateMemory failed with VK_ERROR_OUT_OF_DEVICE_MEMORY",
    ],
)
def test_memory_that_ran_out_is_known_by_its_words(words):
    assert failure_of(RuntimeError(words), "time").status == "out-of-memory"


def test_numpys_memory_error_is_one():
    with pytest.raises(MemoryError) as raised:
        np.ones((2**22, 2**30))
    assert failure_of(raised.value, "time").status == "out-of-memory"


def test_the_missing_bytes_are_told_in_mib():
    words = "Failed to allocate memory for requested buffer of size 4294967296"
    assert failure_of(RuntimeError(words), "time").message == f"{words} (4096 MiB)"


def test_an_allocator_that_is_only_spoken_of_is_no_lack_of_memory():
    assert failure_of(RuntimeError("no allocator for device memory of this node"), "time").status == "failed"


@pytest.mark.parametrize(
    ("stage", "status"),
    [("session", "unsupported"), ("export", "unsupported"), ("time", "failed"), ("begin", "failed")],
)
def test_an_exception_means_what_its_stage_means(stage, status):
    assert failure_of(RuntimeError("no"), stage).status == status


def test_a_refusal_for_want_of_memory_is_no_refusal():
    refusal = Refusal("unsupported", "does not open")
    refusal.__cause__ = RuntimeError("std::bad_alloc")
    assert failure_of(refusal, "export").status == "out-of-memory"


def test_a_refusal_says_itself_what_it_is():
    failure = failure_of(Refusal("unavailable", "no straw", "buy straw", "no-device"), "session")
    assert (failure.status, failure.kind, failure.message, failure.remedy) == (
        "unavailable",
        "no-device",
        "no straw",
        "buy straw",
    )
    assert failure_of(Refusal("unsupported", "no"), "session").kind == "Refusal"


WEBGPU = (
    "/onnxruntime_src/onnxruntime/core/session/plugin_ep/ep_plugin_provider_interfaces.cc:71 virtual "
    "std::unique_ptr<onnxruntime::IExecutionProvider> onnxruntime::PluginExecutionProviderFactory::CreateProvider("
    "const OrtSessionOptions&, const OrtLogger&) Error creating execution provider: [ONNXRuntimeError] : 11 : EP_FAIL "
    ": /onnxruntime_src/onnxruntime/core/providers/webgpu/webgpu_context.cc:136 onnxruntime::webgpu::WebGpuContext::"
    "Initialize(const onnxruntime::webgpu::WebGpuContextConfig&)::<lambda()> adapter_result.status == wgpu::"
    "RequestAdapterStatus::Success was false. Failed to get a WebGPU adapter: No supported adapters\n\n"
)
OPENVINO = (
    "/onnxruntime/onnxruntime/python/onnxruntime_pybind_state.cc:1053 std::shared_ptr<onnxruntime::"
    "IExecutionProviderFactory> onnxruntime::python::CreateExecutionProviderFactoryInstance(const onnxruntime::"
    "SessionOptions&, const std::string&, const onnxruntime::ProviderOptionsMap&) Invalid OpenVINO EP option: none\n\n"
)
OPENVINO_COMPILING = (
    "[ONNXRuntimeError] : 1 : FAIL : Exception during initialization: /onnxruntime/onnxruntime/core/providers/openvino/"
    "backends/basic_backend.cc:136 onnxruntime::openvino_ep::BasicBackend::BasicBackend(std::unique_ptr<onnx::"
    "ModelProto>&, onnxruntime::openvino_ep::SessionContext&) /onnxruntime/onnxruntime/core/providers/openvino/"
    "ov_interface.cc:28 auto onnxruntime::openvino_ep::OvExceptionBoundary(Func&&, std::format_string<Args ...>&&, "
    "Args&& ...) [with bool typed = false; Func = OVCore::CompileModel(std::shared_ptr<const ov::Model>&, "
    "std::string&, ov::AnyMap&, bool, const std::string&)::<lambda()>; Args = {const std::string&}] "
    "[OpenVINO-EP] Exception while Loading Network for graph OpenVINO-EP-subgraph_1_0"
)
OPENVINO_TRACE = (
    ": Exception from src/inference/src/cpp/core.cpp:114:\nException from src/inference/src/dev/plugin.cpp:53:\n"
    "Check 'jitter != jitters.end()' failed at src/common/snippets/src/lowered/target_machine.cpp:30:\n"
    "Supported precisions set is not available for Constant operation.\n\n\n\n"
)
OF_TWO_LINES = (
    "[ONNXRuntimeError] : 10 : INVALID_GRAPH : This is an invalid model. Error No opset import for domain "
    "'com.intel.ai'\n\n==> Context: Bad node spec for node."
)


@pytest.mark.parametrize(
    ("native", "plain"),
    [
        (OPENVINO_COMPILING + OPENVINO_TRACE, "Supported precisions set is not available for Constant operation."),
        (
            OPENVINO_COMPILING,
            "[OpenVINO-EP] Exception while Loading Network for graph OpenVINO-EP-subgraph_1_0",
        ),
        (OF_TWO_LINES, "This is an invalid model. Error No opset import for domain 'com.intel.ai'"),
        ("Exception during initialization: std::bad_alloc", "std::bad_alloc"),
        (WEBGPU, "Failed to get a WebGPU adapter: No supported adapters"),
        (OPENVINO, "Invalid OpenVINO EP option: none"),
        ("[ONNXRuntimeError] : 9 : NOT_IMPLEMENTED : Could not find (x) in (y)", "Could not find (x) in (y)"),
        ("/some/file.cc:12 The size (12) was wrong", "The size (12) was wrong"),
        ("The model is invalid:\n  Output:\n\n  y is missing\nmore", "The model is invalid: Output: y is missing"),
        ("[ONNXRuntimeError] : 1 : FAIL : ", "[ONNXRuntimeError] : 1 : FAIL :"),
    ],
)
def test_an_error_is_told_without_the_places_in_onnxruntimes_source(native, plain):
    assert reason_of(RuntimeError(native)) == plain


def test_a_bare_key_is_told_with_its_class():
    assert reason_of(KeyError("x")) == "KeyError: 'x'"
    assert reason_of(AssertionError()) == "AssertionError"
