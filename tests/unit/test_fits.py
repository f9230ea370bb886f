"""Which cells are expected not to fit: their weights against what their device has."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders import a_cell, a_control, a_failure, a_machine, a_run

from bench.measure.memory_check import accelerator, shortfalls, size
from bench.prepare.artifacts import Artifact
from bench.prepare.builds import Prepared
from bench.records import Accelerator, ArtifactRecord, Cell, Device, Source, TargetFacts

GIB = 2**30
CELL, TORCH = a_cell("minilm/fp32/webgpu/b1-s128"), a_control()
L4 = Accelerator("gpu", "NVIDIA L4", "NVIDIA", memory_bytes=24 * GIB)
ARC = Accelerator("gpu", "Arc A770", "Intel", memory_bytes=16 * GIB)


def an_artifact(size_bytes: int) -> Artifact:
    return Artifact(ArtifactRecord("k", "model", {}, {}, size_bytes, 0.0, ""), Path())


def told(
    *cells: Cell,
    weights: int = 3 * GIB,
    limit: int | None = 2 * GIB,
    device: Device | None = None,
    machine=None,
    source: Source | None = None,
    **prepared,
) -> dict[str, str]:
    """The shortfalls of cells whose artifact weighs this much, on this device."""
    facts = {CELL.target: TargetFacts(True, device=device)}
    run = a_run(*cells, targets=facts, machine=machine or a_machine())
    sources = {"minilm": source or Source("config", "nowhere", "random", "0")}
    artifacts = {CELL.artifact_name: an_artifact(weights)}
    return shortfalls(run, Prepared(Path(), sources=sources, artifacts=artifacts, **prepared), limit)


def test_weights_beyond_the_limit_are_told_with_how_much_is_missing():
    assert told(CELL) == {CELL.group: "holds 3.0 GiB of weights, 1.0 GiB more than the limit of 2.0 GiB"}


def test_weights_within_the_limit_are_expected_to_fit():
    assert told(CELL, weights=2 * GIB) == {}


def test_without_a_limit_everything_is_expected_to_fit():
    assert told(CELL, limit=None) == {}


def test_on_a_gpu_its_own_memory_is_the_bound():
    gpu = Device("gpu", 0, "NVIDIA", "NVIDIA L4")
    machine = a_machine(accelerators=(L4,))
    assert told(CELL, weights=20 * GIB, limit=2 * GIB, device=gpu, machine=machine) == {}
    found = told(CELL, weights=25 * GIB, limit=99 * GIB, device=gpu, machine=machine)
    assert found == {CELL.group: "holds 25.0 GiB of weights, 1.0 GiB more than the 24.0 GiB of NVIDIA L4"}


def test_a_gpu_whose_memory_nobody_tells_is_bound_by_the_process():
    shared = a_machine(accelerators=(Accelerator("gpu", "Iris", "Intel"),))
    assert CELL.group in told(CELL, device=Device("gpu", 0, "Intel"), machine=shared)


@pytest.mark.parametrize(
    ("device", "found"),
    [
        (Device("gpu", 0, "Intel"), ARC),
        (Device("gpu", 0, "NVIDIA Corporation", ""), L4),
        (Device("gpu", 1, "", "nvidia l4"), L4),
        (Device("gpu", 0, "AMD"), None),
        (Device("npu", 0, "Intel"), None),
        (Device("gpu", 1, "Intel"), None),
    ],
)
def test_a_providers_device_is_found_among_the_machines(device, found):
    assert accelerator(a_machine(accelerators=(L4, ARC)), device) == found


def test_an_engine_without_an_artifact_holds_the_sources_weights(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"\0" * 3000)
    (tmp_path / "pytorch_model.bin").write_bytes(b"\0" * 9000)
    found = told(TORCH, limit=2000, source=Source("folder", str(tmp_path), "pretrained", "0"))
    assert list(found) == [TORCH.group]
    assert told(TORCH, limit=4000, source=Source("folder", str(tmp_path), "pretrained", "0")) == {}


def test_what_will_not_be_visited_is_not_weighed():
    assert told(a_cell(CELL.id, excluded="a rule says so")) == {}
    assert told(CELL, failures={CELL.id: a_failure()}) == {}


@pytest.mark.parametrize(("count", "said"), [(3 * GIB // 2, "1.5 GiB"), (412 * 2**20, "412 MiB"), (5, "1 MiB")])
def test_sizes_are_told_in_the_unit_that_fits(count, said):
    assert size(count) == said
