"""What the doctor makes of targets: where each one stands, and what a newcomer reads."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import msgspec
import pytest
from builders import a_machine
from fake_runs import fake_matrix
from matrices import of_matrix
from rich.console import Console

from bench import doctor
from bench.cli.doctor import doctor_tables
from bench.declare import catalogue
from bench.doctor import Finding, Findings, chosen, examine, standing
from bench.errors import UsageError
from bench.prepare import environments
from bench.prepare.environments import Environment
from bench.prepare.probe import without_device
from bench.progress import Quiet
from bench.records import Accelerator, Device, Executed, RuntimeRecord, TargetFacts, note

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="not on this system: signals")
PLAIN = a_machine()
WITH_NVIDIA = a_machine(accelerators=(Accelerator("gpu", "NVIDIA L4", "NVIDIA", "580.65", "CUDA 13.0", 24 * 2**30),))
CPU = Device("cpu", 0, "AMD")


@pytest.fixture(autouse=True)
def on_linux(monkeypatch):
    """The catalogue as it is on x86-64 Linux."""
    monkeypatch.setattr(catalogue, "platform_word", lambda: "linux-x86_64")


# --- which targets ----------------------------------------------------------------------------------------------------


def test_the_matrix_comes_first_and_then_what_else_is_known_once_each():
    names = [target.name for target in chosen(of_matrix('[providers.mine]\nlike = "webgpu"'))]
    assert names[0] == "mine"
    assert "webgpu" not in names
    assert {"cpu", "cuda", "qnn-emulator"} <= set(names)
    assert len(names) == len(set(names))


def test_a_target_a_known_provider_and_one_of_its_devices_can_be_asked_for_by_name():
    assert [t.name for t in chosen(of_matrix(), ["cuda.1", "cpu"])] == ["cuda.1", "cpu"]


def test_a_name_that_is_none_is_answered_with_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'webgpu'"):
        chosen(of_matrix(), ["webgpo"])


# --- where they stand -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "facts", "expected"),
    [
        ("cpu", TargetFacts(True), "usable"),
        ("webgpu-software", TargetFacts(False, kind="no-device"), "could-be-enabled"),
        ("openvino-cpu", TargetFacts(False, kind="no-runtime"), "could-be-enabled"),
        ("xnnpack", TargetFacts(False, kind="no-wheel"), "could-be-enabled"),
        ("openvino-cpu", TargetFacts(False, kind="crashed"), "could-be-enabled"),
        ("coreml", TargetFacts(False, kind="no-wheel"), "not-for-this-machine"),
        ("cuda", TargetFacts(False, kind="no-device"), "not-for-this-machine"),
        ("openvino-gpu", TargetFacts(False, kind="not-created"), "not-for-this-machine"),
    ],
)
def test_where_a_target_stands_on_a_plain_machine(name, facts, expected):
    assert standing(catalogue.target(name), PLAIN, facts) == expected


def test_a_gpu_that_is_there_but_not_offered_is_a_matter_of_installing_something():
    facts = TargetFacts(False, kind="no-device")
    assert standing(catalogue.target("cuda"), WITH_NVIDIA, facts) == "could-be-enabled"


# --- tried for real ---------------------------------------------------------------------------------------------------


@pytest.fixture
def doctored(tmp_path, strange_engines, monkeypatch):
    """Examine the fake engine in a real worker, in a mode; its row."""

    def run(mode: str) -> Finding:
        here = Environment(RuntimeRecord("ort", (), "3", {}, "k"), Path(sys.executable))
        monkeypatch.setattr(environments, "find", lambda *_: here)
        monkeypatch.setattr(doctor, "fingerprint", lambda: PLAIN)
        matrix = fake_matrix("obeys")
        target = msgspec.structs.replace(matrix.targets["fake"], mode=mode)
        matrix = msgspec.structs.replace(matrix, targets={"fake": target})
        (found,) = examine(matrix, tmp_path, Quiet(), only=["fake"]).targets
        return found

    return run


def test_a_target_that_works_tells_all_that_its_probe_found(doctored):
    found = doctored("obeys")
    assert (found.standing, found.in_matrix, found.tested) == ("usable", True, None)
    assert found.facts.devices[0].name == "Straw One"
    assert found.facts.checks_options is True


@posix_only
def test_a_crash_is_one_row(doctored):
    found = doctored("segfaults")
    assert (found.standing, found.facts.kind) == ("could-be-enabled", "crashed")
    assert "SIGSEGV" in found.facts.message


def test_without_install_nothing_is_made_and_every_known_provider_has_its_row(tmp_path, monkeypatch):
    monkeypatch.setattr(environments, "find", lambda *_: None)
    monkeypatch.setattr(environments, "ensure", lambda *_: pytest.fail("nothing is to be made"))
    monkeypatch.setattr(doctor, "fingerprint", lambda: PLAIN)
    found = examine(of_matrix(), tmp_path, Quiet())
    assert {finding.target for finding in found.targets} == set(catalogue.rows())
    kinds = {finding.target: finding.facts.kind for finding in found.targets}
    assert kinds["webgpu-software"] == "not-made"
    assert kinds["cuda"] == "no-device"
    assert kinds["coreml"] == "no-wheel"
    assert kinds["vitisai"] == "no-device", "that a wheel is missing as well is no help to who has no such device"


# --- what is read -----------------------------------------------------------------------------------------------------


def a_finding(target: str = "cpu", facts: TargetFacts | None = None, **said) -> Finding:
    facts = facts or TargetFacts(
        True,
        {"onnxruntime": "1.31.1"},
        CPU,
        (CPU,),
        (Executed("fp32", "fp32", 22.8), Executed("fp16", "fp32 between casts", 12.2)),
    )
    place = standing(catalogue.target(target), PLAIN, facts)
    finding = Finding(target, place, "ort", target, True, facts)
    return msgspec.structs.replace(finding, **said)


def printed(*findings: Finding, machine=PLAIN) -> str:
    """What stands on a wide terminal."""
    out = Console(width=200, record=True, file=io.StringIO())
    doctor_tables(Findings(machine, findings), out)
    return out.export_text()


def line(text: str, start: str) -> str:
    return next(line for line in text.splitlines() if line.startswith(start))


def test_a_usable_target_is_told_by_device_precision_and_versions():
    words = line(printed(a_finding()), "cpu").split("  ")
    assert [word.strip() for word in words if word.strip()] == [
        *("cpu", "yes", "cpu.0 AMD", "fp32, 22.8 bits", "fp32 between casts, 12.2 bits", "onnxruntime 1.31.1"),
    ]


def test_other_devices_of_a_provider_are_told_beside_the_chosen_one():
    gpus = tuple(Device("gpu", n, "NVIDIA", f"NVIDIA L{n}") for n in (0, 1))
    assert "gpu.1 NVIDIA L1 (also offers gpu.0)" in printed(a_finding("cuda", TargetFacts(True, {}, gpus[1], gpus)))


def test_what_must_be_known_before_a_row_is_believed_stands_under_it():
    facts = TargetFacts(
        True, device=CPU, checks_options=False, notes=(note("software-adapter"), note("emulated-device"))
    )
    text = printed(a_finding("webgpu-software", facts, tested=False, emulated=True))
    said = [line for line in text.splitlines() if line.startswith("webgpu-software: ")]
    assert len(said) == 4
    assert any("a misspelt one has no effect" in note for note in said)


def test_what_is_only_not_installed_is_one_line():
    absent = TargetFacts(False, kind="not-made", message="runtime 'x' is not made yet", remedy="…")
    text = printed(a_finding("openvino-cpu", absent), a_finding("webgpu-software", absent))
    assert line(text, "openvino-cpu, webgpu-software: not installed yet").endswith("downloads and tries them")


def test_rows_with_one_reason_share_a_line():
    absent = without_device("NVIDIA GPU", "buy one")
    text = printed(a_finding("cuda", absent), a_finding("tensorrt", absent))
    assert line(text, "cuda") == "cuda, tensorrt: this machine shows no NVIDIA GPU"


def test_what_could_be_enabled_says_how():
    facts = TargetFacts(False, kind="no-device", message="it offers no device", remedy="install Mesa 25 or newer")
    text = printed(a_finding("webgpu-software", facts))
    assert line(text, "webgpu-software") == "webgpu-software: it offers no device; install Mesa 25 or newer"


def test_an_accelerator_is_told_with_its_memory_driver_and_interface():
    assert "NVIDIA L4 (24.0 GiB, driver 580.65, CUDA 13.0)" in printed(a_finding(), machine=WITH_NVIDIA)


@pytest.mark.parametrize(
    ("hypervisor", "container", "words"),
    [
        (None, None, "no"),
        ("KVM", None, "KVM"),
        (None, "docker", "docker"),
        ("unknown", "docker", "a hypervisor without a name, docker"),
    ],
)
def test_a_virtual_machine_whose_hypervisor_has_no_name_is_one_all_the_same(hypervisor, container, words):
    text = printed(machine=a_machine(hypervisor=hypervisor, container=container))
    (line,) = (line for line in text.splitlines() if line.startswith("Virtual"))
    assert line.removeprefix("Virtual").strip() == words
