"""What native libraries print, as real ones printed it, in the words that a reader gets."""

from __future__ import annotations

import pytest

from bench.shared.native_errors import brief, first_error, plain

QNN = (
    "\x1b[0;93m2026-11-22 18:24:24.743134742 [W:onnxruntime:, qnn_execution_provider.cc:933 QnnEp] File mapped weights"
    " feature is only available on Windows arm64 devices\x1b[m\n"
    "\x1b[1;31m2026-11-22 18:24:24.746497645 [E:onnxruntime:, qnn_execution_provider.cc:2290 GetCapabilityImpl] QNN"
    " SetupBackend failed Unable to load backend, error:  /opt/qnn sdk/../nothing/lib/libQnnHtp.so: cannot open shared"
    " object file: No such file or directory\x1b[m\n"
    "\x1b[1;31m2026-11-22 18:24:24.746547940 [E:onnxruntime:, ep_plugin_provider_interfaces.cc:279 GetCapability] later"
)
OPENVINO = (
    "\x1b[1;31m2026-11-22 18:24:24.993 [E:onnxruntime:Default, provider_bridge_ort.cc:2310 Create] /onnxruntime/core/"
    "providers/openvino/openvino_provider_factory.cc:141 std::string onnxruntime::openvino_ep::ParseDeviceType("
    "std::shared_ptr<OVCore>, const onnxruntime::ProviderOptions&) [ERROR] [OpenVINO] Device NPU is not available\n"
)
CUDA = (
    "2026-11-22 10:00:00.1 [E:onnxruntime:Default, provider_bridge_ort.cc:2195 TryGetProviderInfo_CUDA] /src/"
    "onnxruntime/core/session/provider_bridge_ort.cc:1778 onnxruntime::Provider& onnxruntime::ProviderLibrary::Get() "
    "[ONNXRuntimeError] : 1 : FAIL : Failed to load library /venv/lib/libonnxruntime_providers_cuda.so with error: "
    "libcublasLt.so.12: cannot open shared object file: No such file or directory"
)
RETRIED = (
    "*************** EP Error ***************\n"
    "EP Error /onnxruntime_src/core/session/factories.cc:71 virtual void Factory::Create(const Options&, int) Failed to"
    " get a WebGPU adapter when using ['WebGpuExecutionProvider', 'CPUExecutionProvider']\n"
    "Falling back to ['CPUExecutionProvider'] and retrying."
)


@pytest.mark.parametrize(
    ("log", "words"),
    [
        (OPENVINO, "[OpenVINO] Device NPU is not available"),
        (
            CUDA,
            "Failed to load library libonnxruntime_providers_cuda.so with error: "
            "libcublasLt.so.12: cannot open shared object file: No such file or directory",
        ),
        (RETRIED, "Failed to get a WebGPU adapter"),
    ],
)
def test_an_error_is_told_without_times_colours_places_and_folders(log, words):
    assert first_error(log) == words


def test_the_first_error_counts_and_a_warning_is_none():
    told = first_error(QNN)
    assert told.startswith("QNN SetupBackend failed Unable to load backend, error: ")
    assert told.endswith("libQnnHtp.so: cannot open shared object file: No such file or directory")


def test_a_folder_of_windows_is_left_out_and_an_address_is_not():
    line = r"x [E:onnxruntime:, a.cc:1 F] C:\Users\me\lib\x.dll is missing, see https://onnxruntime.ai/docs/ep"
    assert first_error(line) == "x.dll is missing, see https://onnxruntime.ai/docs/ep"


def test_endless_words_are_cut():
    assert len(first_error("x [E:onnxruntime:, a.cc:1 F] " + "word " * 500)) < 310


def test_what_holds_no_error_says_nothing():
    assert first_error("Warning: maxDynamicUniformBuffersPerPipelineLayout artificially reduced\nno [E: here") == ""


NODE = (
    "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Non-zero status code returned while running GRU. Name:'/a/b/gru' "
    "Status Message: /src/onnxruntime/core/providers/cpu/rnn/gru.h:56 onnxruntime::Gru::Gru(const OpKernelInfo&) "
    "Batchwise operations are not supported"
)


def test_a_place_inside_an_error_is_left_out_and_the_name_of_a_node_is_not():
    words = "Non-zero status code returned while running GRU. Name:'{}' Status Message: Batchwise operations"
    assert plain(NODE) == f"{words.format('/a/b/gru')} are not supported"
    assert brief(NODE) == f"{words.format('gru')} are not supported"


def test_a_place_that_follows_a_colon_at_once_is_left_out_too():
    words = "Load model from /tmp/ab/model.onnx failed:/src/graph/graph.cc:15 void ort::Graph::Read() It is invalid"
    assert brief(words) == "Load model from model.onnx failed: It is invalid"
