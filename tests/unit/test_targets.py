"""Targets tried before anything is measured: what is not there is told with its remedy, and nothing is made for it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from builders import a_cell, a_machine
from fake_runs import EP, fake_matrix
from matrices import of_matrix
from msgspec.structs import replace

from bench.declare import catalogue
from bench.declare.matrix import Matrix
from bench.declare.targets import Runtime
from bench.errors import RuntimeSetupError
from bench.prepare import environments
from bench.prepare import probe as targets
from bench.prepare.environments import Environment, EnvironmentPool
from bench.prepare.probe import examine, is_unusable, missing_device, new_targets, wanted
from bench.prepare.threads import Threads
from bench.progress import Quiet
from bench.records import Accelerator, Cell, Machine, Provider, RuntimeRecord, TargetFacts

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="not on this system: signals")
PLAIN = a_machine()
WITH_NVIDIA = a_machine(accelerators=(Accelerator("gpu", "NVIDIA L4", "NVIDIA"),))
HERE = Environment(RuntimeRecord("ort", (), "3", {}, "k"), Path(sys.executable))


class Installer:
    """Stands for the making of runtimes: which are there already, and what was asked for."""

    def __init__(self, *there: str, broken: bool = False) -> None:
        self.there, self.broken = set(there), broken
        self.asked: list[str] = []

    def find(self, runtime: Runtime, cache: Path, *_: object) -> Environment | None:
        return HERE if runtime.name in self.there or runtime.python else None

    def ensure(self, runtime: Runtime, cache: Path, *_: object) -> Environment:
        self.asked.append(runtime.name)
        if self.broken:
            raise RuntimeSetupError(f"runtime '{runtime.name}' could not be installed: no network", "plug it in")
        return HERE


@pytest.fixture
def installer(monkeypatch):
    """`installer(*there)`: these runtimes are there, and no other is really made."""

    def stand_in(*there: str, broken: bool = False) -> Installer:
        made = Installer(*there, broken=broken)
        monkeypatch.setattr(environments, "find", made.find)
        monkeypatch.setattr(environments, "ensure", made.ensure)
        return made

    return stand_in


@pytest.fixture
def probed(monkeypatch):
    """Probes answer that all is well, without a worker; the targets that were probed."""
    asked: list[str] = []

    def probe(target, ready, code, log, limit=None, stop=None) -> TargetFacts:
        asked.append(target.name)
        return TargetFacts(True)

    monkeypatch.setattr(targets, "probe", probe)
    return asked


def facts_of(matrix: Matrix, name: str, machine: Machine = PLAIN, **said: Any) -> TargetFacts:
    pool = EnvironmentPool(matrix.runtimes, Path("cache"), Quiet())
    return examine(matrix.targets[name], pool, machine, Path("code"), Path("log"), Quiet(), **said)


def probe_targets(matrix: Matrix, cells: list[Cell], machine: Machine, cache: Path, logs: Path, progress: Any):
    """Every target that a cell needs, tried as a run tries them: beside each other."""
    found = new_targets(matrix, machine, cache, logs, progress)
    with Threads(found.stop) as threads:
        for target in wanted(matrix, cells):
            threads.start(found.examine, target)
    return found


def probed_targets(tmp_path: Path, matrix: Matrix, *names: str, machine: Machine = PLAIN) -> targets.ProbedTargets:
    """The targets of a run with a cell on each of these."""
    cells = [a_cell(f"m/fp32/{name}/b1") for name in names]
    return probe_targets(matrix, cells, machine, tmp_path / "cache", tmp_path / "logs", Quiet())


# --- before anything is installed -------------------------------------------------------------------------------------


def test_for_a_device_that_the_machine_does_not_show_nothing_is_installed(installer, probed, monkeypatch):
    monkeypatch.setattr(catalogue, "platform_word", lambda: "linux-x86_64")
    made = installer()
    facts = facts_of(of_matrix("[providers.cuda]"), "cuda")
    assert (facts.available, facts.kind) == (False, "no-device")
    assert facts.message == "not tried: this machine shows no NVIDIA GPU"
    assert facts.missing == "NVIDIA GPU"
    assert "NVIDIA GPU" in facts.remedy
    assert (made.asked, probed) == ([], [])


def test_where_the_device_is_shown_the_runtime_is_made_and_tried(installer, probed, monkeypatch):
    monkeypatch.setattr(catalogue, "platform_word", lambda: "linux-x86_64")
    made = installer()
    assert facts_of(of_matrix("[providers.cuda]"), "cuda", WITH_NVIDIA).available
    assert (made.asked, probed) == (["cuda"], ["cuda"])


def test_a_runtime_that_is_there_is_tried_whatever_the_machine_shows(installer, probed):
    installer("cuda")
    assert facts_of(of_matrix("[providers.cuda]"), "cuda").available
    assert probed == ["cuda"]


@pytest.mark.parametrize(
    "runtime", ['requires = ["onnxruntime-gpu==1.31.1"]', f'python = "{Path(sys.executable).as_posix()}"']
)
def test_a_runtime_that_the_matrix_names_is_tried_whatever_the_machine_shows(installer, probed, runtime):
    installer()
    matrix = of_matrix(f'[providers.cuda]\nruntime = "own"\n[runtimes.own]\n{runtime}')
    assert facts_of(matrix, "cuda").available
    assert probed == ["cuda"]


def test_a_wheel_that_there_is_none_of_is_told_with_what_would_help(installer, probed, monkeypatch):
    monkeypatch.setattr(catalogue, "platform_word", lambda: "linux-x86_64")
    made = installer()
    facts = facts_of(of_matrix("[providers.coreml]"), "coreml")
    assert (facts.available, facts.kind) == (False, "no-wheel")
    assert "macos-aarch64" in facts.message
    assert "Mac" in facts.remedy
    assert (made.asked, probed) == ([], [])


def test_a_runtime_that_cannot_be_made_is_told_by_the_installers_words(installer, probed):
    installer(broken=True)
    facts = facts_of(of_matrix("[providers.cpu]"), "cpu")
    assert (facts.kind, facts.remedy) == ("no-runtime", "plug it in")
    assert facts.message.endswith("no network")


def test_without_leave_to_install_a_runtime_that_is_not_there_is_named(installer, probed):
    made = installer()
    facts = facts_of(of_matrix("[providers.cpu]"), "cpu", install=False)
    assert (facts.kind, facts.message) == ("not-made", "runtime 'cpu' is not made yet")
    assert "--install" in facts.remedy
    assert (made.asked, probed) == ([], [])


@pytest.mark.parametrize(
    ("needs", "missing"),
    [
        ("", None),
        ("gpu", "GPU"),
        ("gpu:nvidia", "NVIDIA GPU"),
        ("npu:qualcomm", "Qualcomm NPU"),
        ("cpu:arm", "Arm CPU"),
        ("cpu:amd", None),
        ("cpu", None),
    ],
)
def test_what_a_machine_without_accelerators_lacks(needs, missing):
    assert missing_device(needs, PLAIN) == missing


@pytest.mark.parametrize(("needs", "missing"), [("gpu", None), ("gpu:nvidia", None), ("gpu:amd", "AMD GPU")])
def test_what_a_machine_with_an_nvidia_gpu_lacks(needs, missing):
    assert missing_device(needs, WITH_NVIDIA) == missing


def test_an_arm_processor_is_known_by_its_architecture():
    arm = msgspec.structs.replace(PLAIN.cpu, architecture="aarch64", brand="Neoverse-N1")
    assert missing_device("cpu:arm", a_machine(cpu=arm)) is None


# --- a run's targets --------------------------------------------------------------------------------------------------


def test_a_target_that_is_not_there_ends_its_cells_with_a_reason_and_a_remedy(installer, probed, tmp_path):
    installer()
    found = probed_targets(tmp_path, of_matrix("[providers.cpu]\n[providers.cuda]"), "cpu", "cuda")
    assert list(found.failures) == ["cuda"]
    failure = found.failures["cuda"]
    assert (failure.status, failure.stage, failure.kind) == ("unavailable", "target", found.facts["cuda"].kind)
    assert failure.message
    assert failure.remedy
    assert found.facts["cpu"].available


def test_only_targets_that_a_cell_wants_are_tried(installer, probed, tmp_path):
    installer()
    matrix = of_matrix("[providers.cpu]\n[providers.webgpu-software]")
    cells = [a_cell("m/fp32/cpu/b1"), a_cell("m/fp32/webgpu-software/b1", excluded="a rule says so")]
    found = probe_targets(matrix, cells, PLAIN, tmp_path / "cache", tmp_path / "logs", Quiet())
    assert list(found.facts) == probed == ["cpu"]


def test_targets_that_share_a_runtime_make_it_once_and_hear_of_its_failure_once(installer, probed, tmp_path):
    made = installer(broken=True)
    matrix = of_matrix('[providers.cpu]\n[providers.other]\nlike = "cpu"\nruntime = "own"\n[providers.third]\n'
                       'like = "cpu"\nruntime = "own"\n[runtimes.own]\nrequires = ["onnxruntime"]')  # fmt: skip
    found = probed_targets(tmp_path, matrix, "cpu", "other", "third")
    assert made.asked.count("own") == 1
    assert {failure.kind for failure in found.failures.values()} == {"no-runtime"}


# --- real probes ------------------------------------------------------------------------------------------------------


@pytest.fixture
def tried(tmp_path, strange_engines, installer):
    """Settle a run with one cell on the fake engine, probed in a real worker."""

    def run(mode: str, provider: Provider | None = None) -> targets.ProbedTargets:
        installer("ort")
        cell: Cell = a_cell("vit/fp32/fake/b1")
        matrix = fake_matrix("obeys", provider)
        target = replace(matrix.targets["fake"], mode=mode)
        matrix = replace(matrix, targets={"fake": target})
        return probe_targets(matrix, [cell], PLAIN, tmp_path / "cache", tmp_path / "logs", Quiet())

    return run


def test_a_probe_tells_device_versions_and_what_is_computed_in(tried):
    found = tried("obeys")
    facts = found.facts["fake"]
    assert facts.available
    assert facts.versions == {"fake": "1"}
    assert facts.device is not None
    assert facts.device.label == "gpu.0"
    assert [one.asked for one in facts.executes] == ["fp32", "fp16"]
    assert found.failures == {}


def test_a_refusal_of_the_probe_ends_the_cells(tried):
    found = tried("is-missing")
    failure = found.failures["fake"]
    assert (failure.kind, failure.remedy) == ("not-installed", "install straw")
    assert failure.message == "the plugin of straw is not installed"


@posix_only
def test_a_probe_that_crashes_is_told_and_leaves_the_cells_to_be_tried(tried):
    found = tried("segfaults")
    facts = found.facts["fake"]
    assert (facts.available, facts.kind) == (False, "crashed")
    assert "SIGSEGV" in facts.message
    assert found.failures == {}


def test_a_probe_that_hangs_is_told_and_leaves_the_cells_to_be_tried(tried, monkeypatch):
    monkeypatch.setattr(targets, "PROBE_TIMEOUT_S", 3.0)
    found = tried("hangs-when-probed")
    assert found.facts["fake"].kind == "timeout"
    assert found.failures == {}


def test_the_hint_of_the_catalogue_is_the_remedy_where_the_probe_has_none(tried):
    facts = tried("raises", Provider(EP, hint="plug in straw")).facts["fake"]
    assert (facts.kind, facts.remedy) == ("failed", "plug in straw")
    assert facts.message == "the probe ended at stage 'probe': [FakeRuntime] the kernel said no"


def test_only_a_refusal_condemns():
    kinds = (
        "no-device",
        "not-installed",
        "no-wheel",
        "not-created",
        "no-runtime",
        "not-made",
        "crashed",
        "timeout",
        "failed",
    )
    condemned = [kind for kind in kinds if is_unusable(TargetFacts(False, kind=kind))]
    assert condemned == ["no-device", "not-installed", "no-wheel", "not-created", "no-runtime", "not-made"]
    assert not is_unusable(TargetFacts(True))
