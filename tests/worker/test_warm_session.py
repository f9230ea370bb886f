"""Warm sessions of the real CPU provider: what its threads do between two bursts, and what is freed for a profile."""

from __future__ import annotations

import gc
import time
import weakref
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from visits import CPU, HASTE, Recorder, a_job, a_whole_visit

from bench.records import Burst, Failed, Held, Hold, Job, Opened, Placement, Profile, Profiled
from bench.worker import feeds, warm_session
from bench.worker.engines import ort
from bench.worker.onnx_runtime import onnx_protobuf

SIDE = 512
"""A product of matrices of this side is shared by the threads of a session."""
SPIN_S = 0.03
"""Half of the time that ONNX Runtime's threads spin after a call."""


@pytest.fixture(autouse=True)
def freed():
    """Nothing stays warm after a test."""
    yield
    warm_session.free()


def a_product(folder: Path, threads: int):
    """A visit of y = x @ w with large matrices."""
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((SIDE, SIDE)).astype(np.float32)
    feed = {"x": rng.standard_normal((SIDE, SIDE)).astype(np.float32)}
    visit = a_whole_visit(folder, threads=threads)
    feeds.save(folder / "b1" / "inputs.npz", [feed])
    feeds.save(folder / "b1" / "outputs.npz", [{"y": feed["x"] @ weight}])
    (folder / "model" / "model.onnx").write_bytes(onnx_protobuf.matrix_products([weight], ("batch", SIDE)))
    return visit


def used_share(seconds: float) -> float:
    """The CPU time that this process uses in the next seconds, as a share of a core."""
    used_ns, began = time.process_time_ns(), time.perf_counter_ns()
    time.sleep(seconds)
    return (time.process_time_ns() - used_ns) / (time.perf_counter_ns() - began)


def test_after_a_burst_of_two_threads_the_process_is_idle(tmp_path):
    channel = Recorder()
    warm_session.hold(Hold(a_product(tmp_path, threads=2)), channel)
    assert channel.of(Opened)[0].threads == 2
    warm_session._warm.session.bind(feeds.load(tmp_path / "b1" / "inputs.npz")[0])()
    spinning = used_share(SPIN_S)
    warm_session.burst(Burst("b1", 0.05), channel)
    # The reply says at once whether it is idle, since the parent can stop a process that spins; it ends by itself too.
    assert warm_session.wait_until_idle(limit_s=2.0)
    assert used_share(SPIN_S) < min(0.05, spinning), "its threads have stopped spinning"


def test_the_cpu_time_of_a_burst_is_that_of_both_threads(tmp_path):
    def of_a_call(threads: int) -> float:
        warm_session.hold(Hold(a_product(tmp_path, threads)), Recorder())
        bursted = warm_session.burst(Burst("b1", 0.1), Recorder())
        assert 0 < bursted.cpu_ns < 1.1 * threads * sum(bursted.samples_ns)
        return bursted.cpu_ns / len(bursted.samples_ns)

    # Compared with CPU time, because wall time depends on what else the machine does. One thread of two does half.
    assert of_a_call(threads=2) > 0.75 * of_a_call(threads=1)


def test_each_workload_of_a_real_session_stays_warm(tmp_path):
    channel = Recorder()
    warm_session.hold(Hold(a_whole_visit(tmp_path, jobs=(a_job(tmp_path, 2), a_job(tmp_path, 3)))), channel)
    assert [held.workload for held in channel.of(Held)] == ["b2", "b3"]
    for workload in ("b3", "b2", "b3"):
        assert warm_session.burst(Burst(workload, 0.005), channel).workload == workload


def test_a_workload_whose_reference_is_gone_costs_the_others_nothing(tmp_path):
    first, second = a_job(tmp_path, 2), a_job(tmp_path, 3)
    missing = Job("b9", {"batch": 9}, str(tmp_path / "nowhere"))
    channel = Recorder()
    warm_session.hold(Hold(a_whole_visit(tmp_path, jobs=(first, missing, second))), channel)
    assert [held.workload for held in channel.of(Held)] == ["b2", "b3"]
    (failed,) = channel.of(Failed)
    assert (failed.workload, failed.failure.kind) == ("b9", "FileNotFoundError")


def test_a_profile_has_the_memory_of_the_warm_session(tmp_path, monkeypatch):
    placed = Placement({"E": {"MatMul": 1}, CPU: {"Relu": 1}}, "assignment-info")
    monkeypatch.setattr(ort.Session, "placement", placed)
    monkeypatch.setattr("bench.worker.session_check.refuse_fallback", lambda *_: None)
    visit, channel = a_whole_visit(tmp_path, profile=True, effort=HASTE), Recorder()
    warm_session.hold(Hold(visit), channel)
    session = weakref.ref(warm_session._warm.session.session)
    assert isinstance(session(), onnxruntime.InferenceSession)
    there: list[bool] = []
    real = ort.profiled

    def profiled(*given):
        gc.collect()
        there.append(session() is not None)
        return real(*given)

    monkeypatch.setattr(ort, "profiled", profiled)
    warm_session.profile(Profile(visit), channel)
    assert there == [False]
    assert channel.of(Profiled)[0].placement.nodes == placed.nodes
