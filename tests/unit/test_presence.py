"""What a machine plainly lacks is known without starting anything: by its devices, its platform and its processor."""

from __future__ import annotations

import pytest
from builders import a_machine
from matrices import a_matrix

from bench.declare import catalogue
from bench.machine.fingerprint import fingerprint
from bench.prepare.presence import Hardware, absent_targets, hardware, hardware_of, missing_device
from bench.records import Accelerator
from bench.run_steps import not_here, planned_here

GEFORCE = Accelerator("gpu", "GeForce", "NVIDIA")
RADEON = Accelerator("gpu", "Radeon", "AMD")


@pytest.mark.parametrize(
    ("needs", "devices", "missing"),
    [
        ("", (), None),
        ("gpu", (RADEON,), None),
        ("gpu:nvidia", (RADEON,), "NVIDIA GPU"),
        ("gpu:nvidia", (GEFORCE,), None),
        ("npu", (GEFORCE,), "NPU"),
        ("cpu", (), None),
        ("cpu:arm", (), "Arm CPU"),
    ],
)
def test_a_device_is_missing_where_the_machine_shows_none_of_its_kind_and_vendor(needs, devices, missing):
    assert missing_device(needs, Hardware(devices, "x86_64")) == missing


def test_targets_are_absent_for_want_of_a_device_or_of_a_wheel(monkeypatch):
    monkeypatch.setattr(catalogue, "platform_word", lambda: "linux-x86_64")
    providers = "".join(f"[providers.{name}]\n" for name in ("cuda", "webgpu", "coreml", "openvino-cpu"))
    absent = absent_targets(a_matrix(more=providers), Hardware((RADEON,), "x86_64"))
    assert absent.keys() - {"openvino-cpu"} == {"cuda", "coreml"}
    assert absent["cuda"] == "this machine shows no NVIDIA GPU"
    assert absent["coreml"].startswith("there is no wheel with CoreMLExecutionProvider for linux-x86_64, only for ")


def test_what_a_machine_lacks_has_its_reason_and_its_remedy_for_the_report(monkeypatch):
    monkeypatch.setattr(catalogue, "platform_word", lambda: "linux-x86_64")
    providers = "".join(f"[providers.{name}]\nif_present = true\n" for name in ("cuda", "coreml", "webgpu"))
    machine = a_machine(accelerators=(RADEON,))
    matrix = a_matrix(more=providers)
    facts = not_here(matrix, machine, planned_here(matrix, machine, (), ()))
    assert {name: found.kind for name, found in facts.items()} == {"cuda": "no-device", "coreml": "no-wheel"}
    assert facts["cuda"].message == "not tried: this machine shows no NVIDIA GPU"
    assert all(found.remedy and not found.available for found in facts.values())


def test_what_no_selection_would_run_is_not_told(monkeypatch):
    monkeypatch.setattr(catalogue, "platform_word", lambda: "linux-x86_64")
    matrix = a_matrix(more="[providers.cuda]\nif_present = true\n")
    machine = a_machine(accelerators=())
    assert not_here(matrix, machine, planned_here(matrix, machine, ("*/cpu/*",), ())) == {}


def test_the_quick_look_sees_the_devices_that_the_whole_fingerprint_sees():
    assert hardware().accelerators == hardware_of(fingerprint()).accelerators
