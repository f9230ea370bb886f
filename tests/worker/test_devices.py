"""Which device a provider is opened on: chosen by type or index among stand-ins for what onnxruntime lists."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from msgspec.structs import replace
from visits import a_provider

from bench.records import DeviceChoice, DeviceOption, Note, Provider, note
from bench.worker.onnx_runtime import cuda_libraries, devices, options
from bench.worker.refusal import Refusal

CPU, OPENVINO, CUDA = "CPUExecutionProvider", "OpenVINOExecutionProvider", "CUDAExecutionProvider"


def a_handle(kind: str, ep: str = "StrawExecutionProvider", **metadata: str) -> SimpleNamespace:
    device = SimpleNamespace(type=SimpleNamespace(name=kind), vendor="Straw Works", metadata=metadata)
    return SimpleNamespace(ep_name=ep, device=device, ep_metadata={})


@pytest.fixture
def here(monkeypatch):
    """`here(handles, wheel=…)`: what this machine is said to have."""

    def say(*handles: SimpleNamespace, wheel: tuple[str, ...] = (CPU,)) -> None:
        monkeypatch.setattr(devices.ort, "get_ep_devices", lambda: list(handles))
        monkeypatch.setattr(devices.ort, "get_available_providers", lambda: list(wheel))

    return say


def straw(kind: str | None = None, index: int | None = None) -> Provider:
    return a_provider("StrawExecutionProvider", device=DeviceChoice(kind, index))


def refusal_of(provider: Provider) -> Refusal:
    with pytest.raises(Refusal) as refused:
        devices.find(provider)
    return refused.value


@pytest.mark.parametrize(
    ("kind", "index", "label"),
    [("gpu", 0, "gpu.0"), ("gpu", 1, "gpu.1"), ("npu", None, "npu.0"), (None, 0, "cpu.0"), (None, 2, "npu.0")],
)
def test_an_index_counts_within_its_type_and_among_all_without_one(here, kind, index, label):
    here(a_handle("CPU"), a_handle("GPU"), a_handle("NPU"), a_handle("GPU"), a_handle("GPU", ep="AnotherProvider"))
    found = devices.find(straw(kind, index))
    assert found.device.label == label
    assert [device.label for device in found.devices] == ["cpu.0", "gpu.0", "npu.0", "gpu.1"]
    assert found.handle.device.type.name.lower() == found.device.type


def test_two_devices_that_fit_are_refused_with_what_to_write(here):
    here(a_handle("GPU"), a_handle("GPU"))
    refusal = refusal_of(straw("gpu"))
    assert refusal.kind == "no-device"
    assert "'gpu.0' or 'gpu.1'" in refusal.remedy


def test_a_device_that_is_not_there_is_refused_with_those_that_are(here):
    here(a_handle("CPU"), a_handle("GPU"))
    assert "cpu.0, gpu.0" in refusal_of(straw("gpu", 1)).message
    assert refusal_of(straw("npu")).kind == "no-device"


def test_a_provider_of_neither_wheel_nor_system_is_refused_with_what_the_wheel_holds(here):
    here()
    refusal = refusal_of(straw())
    assert (refusal.status, refusal.kind) == ("unavailable", "not-installed")
    assert CPU in refusal.message


def test_what_a_device_says_of_itself_is_kept_but_for_paths(here):
    here(a_handle("GPU", Description="Straw One", LUID="7", driver_store="C:\\straw", where="/opt/straw"))
    device = devices.find(straw()).device
    assert (device.name, device.metadata) == ("Straw One", {"Description": "Straw One", "LUID": "7"})


def test_an_emulated_device_is_found_where_it_is_emulated(here):
    here(a_handle("CPU"))
    assert refusal_of(straw("npu")).kind == "no-device"
    emulated = a_provider("StrawExecutionProvider", device=DeviceChoice("npu"), emulated=True)
    assert devices.find(emulated).device.label == "cpu.0"


# --- providers of the wheel -------------------------------------------------------------------------------------------


def texts(provider: Provider, threads: int = 3, scratch: str = "") -> dict[str, str]:
    return options.texts(provider, devices.find(provider), threads, scratch)


def test_an_index_becomes_the_option_of_providers_that_take_one(here):
    here(wheel=(CUDA, CPU))
    provider = a_provider(CUDA, device=DeviceChoice("gpu", 1), options={"enable_cuda_graph": True})
    assert texts(provider) == {"enable_cuda_graph": "1", "device_id": "1"}
    assert devices.find(provider).device.label == "gpu.1"


def test_an_index_of_another_type_is_an_option_too(here):
    here(wheel=("CANNExecutionProvider", CPU))
    provider = a_provider("CANNExecutionProvider", device=DeviceChoice("npu", 1))
    assert texts(provider) == {"device_id": "1"}
    assert devices.find(provider).device.label == "npu.1"


def test_the_cpu_of_sessions_that_no_target_asks_for_behaves_as_the_catalogue_says():
    assert devices.ON_CPU == replace(a_provider(CPU), engine_names={}) != Provider(CPU)


def test_a_type_that_a_provider_never_has_is_refused(here):
    here(wheel=(CUDA, CPU))
    assert refusal_of(a_provider(CUDA, device=DeviceChoice("npu"))).kind == "no-device"
    assert refusal_of(a_provider(CPU, device=DeviceChoice("gpu"))).kind == "no-device"


@pytest.mark.parametrize(
    ("choice", "said", "device_type", "label"),
    [
        (DeviceChoice(), {}, "CPU", "cpu.0"),
        (DeviceChoice("gpu"), {}, "GPU", "gpu.0"),
        (DeviceChoice("gpu", 1), {"device_type": "GPU"}, "GPU.1", "gpu.1"),
        (DeviceChoice(), {"device_type": "GPU.1"}, "GPU.1", "gpu.1"),
        (DeviceChoice(), {"device_type": "AUTO:GPU,CPU"}, "AUTO:GPU,CPU", None),
    ],
)
def test_openvino_is_told_its_device_by_its_own_option(here, choice, said, device_type, label):
    here(wheel=(OPENVINO, CPU))
    provider = a_provider(OPENVINO, device=choice, options=said)
    assert texts(provider)["device_type"] == device_type
    device = devices.find(provider).device
    assert (device and device.label) == label


def test_a_row_that_asks_for_a_gpu_and_an_option_that_says_cpu_contradict_each_other(here):
    here(wheel=(OPENVINO, CPU))
    provider = a_provider(OPENVINO, device=DeviceChoice("gpu"), options={"device_type": "CPU"})
    assert refusal_of(provider).kind == "option"


def test_openvino_on_the_cpu_is_told_the_threads_unless_the_matrix_did(here):
    here(wheel=(OPENVINO, CPU))
    assert texts(a_provider(OPENVINO))["num_of_threads"] == "3"
    assert texts(a_provider(OPENVINO, options={"num_of_threads": 1}))["num_of_threads"] == "1"
    config = '{"CPU": {"INFERENCE_NUM_THREADS": "1"}}'
    assert "num_of_threads" not in texts(a_provider(OPENVINO, options={"load_config": config}))
    assert "num_of_threads" not in texts(a_provider(OPENVINO, device=DeviceChoice("gpu")))


def test_what_cannot_be_told_or_set_is_noted(here):
    def notes(provider: Provider) -> tuple[Note, ...]:
        return options.notes(provider, devices.find(provider))

    here(wheel=(OPENVINO, "DnnlExecutionProvider", "CoreMLExecutionProvider", CPU))
    assert notes(a_provider(CPU)) == notes(a_provider(OPENVINO)) == ()
    assert notes(a_provider("DnnlExecutionProvider")) == (note("own-threads"),)
    assert notes(a_provider("CoreMLExecutionProvider")) == (note("device-unknown"),)


def test_truth_is_written_as_each_provider_reads_it(here):
    here(wheel=(OPENVINO, CUDA, CPU))
    assert texts(a_provider(OPENVINO, options={"disable_dynamic_shapes": True}))["disable_dynamic_shapes"] == "True"
    assert texts(a_provider(CUDA, options={"do_copy_in_default_stream": False}))["do_copy_in_default_stream"] == "0"


class Driver:
    """CUDA's driver as `device_name` calls it, with these devices."""

    def __init__(self, *names: str, starts: int = 0) -> None:
        self.names, self.starts = names, starts

    def cuInit(self, flags: int) -> int:
        return self.starts

    def cuDeviceGet(self, device: object, index: int) -> int:
        device._obj.value = index  # type: ignore[attr-defined]
        return 0 if index < len(self.names) else 101

    def cuDeviceGetName(self, name: object, size: int, device: object) -> int:
        name.value = self.names[device.value].encode()  # type: ignore[attr-defined]
        return 0


@pytest.mark.parametrize(
    ("driver", "index", "vendor", "name"),
    [
        (Driver("NVIDIA H200"), 0, "NVIDIA", "NVIDIA H200"),
        (Driver("NVIDIA H200", "NVIDIA L4"), 1, "NVIDIA", "NVIDIA L4"),
        (Driver("NVIDIA H200"), 1, "", ""),
        (Driver("NVIDIA H200", starts=100), 0, "", ""),
    ],
)
def test_the_driver_names_a_gpu_that_onnxruntime_does_not_list(here, monkeypatch, driver, index, vendor, name):
    # onnxruntime-gpu 1.31.1 listed no device of its CUDA provider on an H200.
    here(wheel=(CUDA, CPU))
    monkeypatch.setattr(cuda_libraries, "_driver", lambda: driver)
    option = DeviceOption("device_id", ("gpu",))
    device = devices.find(
        a_provider(CUDA, uses_cuda=True, device_option=option, device=DeviceChoice("gpu", index))
    ).device
    assert (device.label, device.vendor, device.name) == (f"gpu.{index}", vendor, name)


def test_a_machine_without_cudas_driver_names_no_gpu(monkeypatch):
    def missing() -> None:
        raise OSError("libcuda.so.1: cannot open shared object file")

    monkeypatch.setattr(cuda_libraries, "_driver", missing)
    assert cuda_libraries.device_name(0) == ""
