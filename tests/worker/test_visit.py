"""What a worker of a block does, and starts, on the real CPU provider: replies and their order, what is never timed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from msgspec.structs import replace
from onnx import helper, numpy_helper
from visits import CPU, HASTE, Recorder, a_job, a_provider, a_whole_visit, measure

from bench.records import Begin, Bursted, CompileCache, Held, Opened, Placement, Profiled, Provider, Started, note
from bench.worker import placement
from bench.worker.cold_start import start
from bench.worker.engines import ort
from bench.worker.onnx_runtime import profiles
from bench.worker.refusal import Refusal


def test_a_worker_says_what_it_does_and_marks_the_burst(tmp_path):
    channel = Recorder()
    measure(a_whole_visit(tmp_path), channel)
    assert channel.kinds() == [
        "stage import",
        "stage session",
        "opened",
        "stage placement",
        "stage bind",
        "stage time",
        "stage parity",
        "held",
        "stage lead-in",
        "stage burst",
        "stage idle",
        "bursted",
    ]
    (held,) = channel.of(Held)
    assert held.parity.cosine > 0.999999
    (opened,) = channel.of(Opened)
    assert opened.device.label == "cpu.0"
    # The kernel counts pages in batches, so two readings differ by a few.
    (bursted,) = channel.of(Bursted)
    assert 0 < opened.baseline_rss_bytes < bursted.peak_rss_bytes + 2**20


def test_every_workload_has_its_own_marks(tmp_path):
    channel = Recorder()
    measure(a_whole_visit(tmp_path, jobs=(a_job(tmp_path, 2), a_job(tmp_path, 3))), channel)
    marks = [(stage.name, stage.workload) for stage in channel.said if getattr(stage, "name", "") in ("burst", "idle")]
    assert marks == [("burst", "b2"), ("idle", "b2"), ("burst", "b3"), ("idle", "b3")]


# --- nothing is timed elsewhere ---------------------------------------------------------------------------------------


def test_a_session_whose_nodes_are_all_elsewhere_is_told_of_and_never_timed(tmp_path):
    channel = Recorder()
    order = a_whole_visit(tmp_path, provider=a_provider("AzureExecutionProvider"))
    with pytest.raises(Refusal) as refused:
        measure(order, channel)
    assert (refused.value.status, refused.value.kind) == ("unsupported", "fallback")
    assert "no node is on AzureExecutionProvider: all 1 went to CPUExecutionProvider" in refused.value.message
    assert channel.kinds()[-2:] == ["opened", "stage placement"]
    (opened,) = channel.of(Opened)
    assert opened.placement.nodes == {CPU: {"MatMul": 1}}


def test_a_start_that_would_be_on_another_device_is_not_timed_either(tmp_path):
    channel = Recorder()
    with pytest.raises(Refusal, match="no node is on"):
        start(Begin(a_whole_visit(tmp_path, provider=a_provider("AzureExecutionProvider")), "cold"), channel)
    assert not channel.of(Started)


@pytest.mark.parametrize(
    ("nodes", "absent"),
    [
        ({"E": {"MatMul": 2}}, False),
        ({"E": {"MatMul": 1}, CPU: {"Softmax": 9}}, False),
        ({CPU: {"MatMul": 1}}, True),
        ({"E": {"Shape": 4}, CPU: {"MatMul": 1}}, True),
        ({"E": {"Shape": 1}, CPU: {"Shape": 1}}, False),
        ({"E": {}, CPU: {}}, False),
        ({}, False),
        ({"no provider": {"MatMul": 1}}, True),
    ],
)
def test_a_provider_is_absent_where_nothing_that_computes_is_on_it(nodes, absent):
    assert Placement(nodes, "").has_nothing_on("E") is absent


def test_a_provider_that_got_nothing_but_shape_arithmetic_is_refused_and_the_rest_counted():
    shapes = {"E": {"Gather": 2}, CPU: {"Concat": 1}}
    placed = Placement({"E": {"Gather": 2}, CPU: {"MatMul": 3, "Concat": 1}}, "", shape_nodes=shapes)
    with pytest.raises(Refusal) as refused:
        placement.refuse_fallback(placed, Provider("E"))
    assert refused.value.kind == "fallback"
    assert refused.value.message == f"nothing but shapes and constants was placed on E: the other 4 went to {CPU}"


def test_a_gather_of_data_beside_those_of_shapes_is_work():
    placed = Placement({"E": {"Gather": 3}, CPU: {"MatMul": 3}}, "", shape_nodes={"E": {"Gather": 2}})
    placement.refuse_fallback(placed, Provider("E"))


# --- the profile ------------------------------------------------------------------------------------------------------

IN_PART = Placement({"E": {"MatMul": 1}, CPU: {"Relu": 1}}, "assignment-info")


@pytest.fixture
def in_part(monkeypatch):
    """As if the nodes were on two providers."""
    monkeypatch.setattr(ort.Session, "placement", IN_PART)
    monkeypatch.setattr("bench.worker.session_check.refuse_fallback", lambda *_: None)


def test_a_profile_comes_last_and_only_where_nodes_are_on_two_providers(tmp_path, in_part):
    channel = Recorder()
    measure(a_whole_visit(tmp_path, profile=True), channel)
    assert channel.kinds()[-3:] == ["bursted", "stage profile", "profiled"]
    (profiled,) = channel.of(Profiled)
    assert profiled.placement.nodes == IN_PART.nodes
    assert profiled.placement.copies == 0
    assert profiled.placement.time_elsewhere == 0, "its one node is on the CPU, which is the target"


def test_a_profile_that_fails_takes_nothing_from_what_was_measured(tmp_path, in_part, monkeypatch, capsys):
    monkeypatch.setattr(ort, "profiled", lambda *_: 1 / 0)
    channel = Recorder()
    measure(a_whole_visit(tmp_path, profile=True), channel)
    assert channel.kinds()[-2:] == ["bursted", "stage profile"]
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_a_session_on_one_provider_is_not_profiled(tmp_path):
    channel = Recorder()
    measure(a_whole_visit(tmp_path, profile=True), channel)
    assert channel.kinds()[-1] == "bursted"


def test_no_profile_is_left_behind(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    order = a_whole_visit(tmp_path / "work")
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    ort.profiled(order, IN_PART, {"x": profile_feed()})
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == before


def profile_feed():
    return np.ones((1, 8), np.float32)


def events(*calls: tuple[int, list[tuple[str, str, int]]]) -> list[dict]:
    """Profile events of some calls, each of so many microseconds, with nodes (provider, op, microseconds)."""
    found, now = [{"cat": "Session", "name": "session_initialization", "ts": 0, "dur": 5}], 100
    for wall, nodes in calls:
        at = now
        for ep, op, took in nodes:
            found.append({"cat": "Node", "ts": at, "dur": took, "args": {"provider": ep, "op_name": op}})
            at += took
        found.append({"cat": "Session", "name": "model_run", "ts": now, "dur": wall})
        now += wall + 10
    return found


def test_copies_and_time_elsewhere_are_medians_over_the_calls_after_the_first():
    slow = (9000, [("E", "MatMul", 10), (CPU, "Relu", 8000)])
    usual = (100, [("E", "MemcpyFromHost", 3), ("E", "MatMul", 10), (CPU, "Relu", 20), ("E", "MemcpyToHost", 30)])
    assert profiles.read(events(slow, usual, usual, usual), "E") == (2, pytest.approx(0.2))


def test_a_copy_is_no_time_of_another_provider():
    call = (100, [(CPU, "MemcpyToHost", 50), ("E", "MatMul", 10)])
    assert profiles.read(events(call, call), "E") == (1, 0.0)


def test_a_loops_time_is_told_without_that_of_the_nodes_in_its_body():
    """onnxruntime's event of a Loop spans those of its body: added up, they came to twice the call."""
    call = {"cat": "Session", "name": "model_run", "ts": 0, "dur": 100}
    loop = {"cat": "Node", "ts": 10, "dur": 80, "args": {"provider": CPU, "op_name": "Loop"}}
    body = [{"cat": "Node", "ts": ts, "dur": 30, "args": {"provider": "E", "op_name": "MatMul"}} for ts in (10, 45)]
    after = {"cat": "Node", "ts": 90, "dur": 5, "args": {"provider": CPU, "op_name": "Relu"}}
    early = dict(call, ts=-200)
    assert profiles.read([early, *body, loop, after, call], "E") == (0, pytest.approx(0.25))


def test_a_real_loop_on_another_provider_takes_no_more_than_the_whole_call(tmp_path):
    events = events_of_a_loop(tmp_path)
    _, share = profiles.read(events, "E")
    assert sum(event["args"].get("op_name") == "MatMul" for event in events) == 60
    assert 0 < share < 1, "1 would be the limit that hides a sum beyond it"


def events_of_a_loop(folder: Path) -> list[dict]:
    """What onnxruntime itself profiles of three calls of a loop over a MatMul."""
    matrix, flag = helper.make_tensor_value_info("h", 1, [64, 64]), helper.make_tensor_value_info("c", 9, [])
    outputs = [helper.make_tensor_value_info("c2", 9, []), helper.make_tensor_value_info("h2", 1, [64, 64])]
    nodes = [helper.make_node("MatMul", ["h", "h"], ["h2"]), helper.make_node("Identity", ["c"], ["c2"])]
    body = helper.make_graph(nodes, "body", [helper.make_tensor_value_info("n", 7, []), flag, matrix], outputs)
    count = numpy_helper.from_array(np.array(20, np.int64), "times")
    loop = helper.make_node("Loop", ["times", "", "x"], ["y"], body=body)
    ends = [helper.make_tensor_value_info(name, 1, [64, 64]) for name in "xy"]
    model = helper.make_model(
        helper.make_graph([loop], "g", ends[:1], ends[1:], [count]),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=9,
    )
    settings = onnxruntime.SessionOptions()
    settings.enable_profiling, settings.profile_file_prefix = True, str(folder / "profile")
    session = onnxruntime.InferenceSession(model.SerializeToString(), settings, providers=[CPU])
    for _ in range(3):
        session.run(None, {"x": np.zeros((64, 64), np.float32)})
    return json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))


def test_a_profile_without_a_second_call_says_nothing():
    assert profiles.read(events((100, [("E", "MatMul", 10)])), "E") == (None, None)
    assert profiles.read(json.loads("[]"), "E") == (None, None)


# --- starts -----------------------------------------------------------------------------------------------------------


def started(order, kind):
    channel = Recorder()
    start(Begin(order, kind), channel)
    return channel.of(Started)[0].start


def test_a_start_is_import_load_and_one_first_call(tmp_path):
    told = started(a_whole_visit(tmp_path, effort=HASTE), "cold")
    assert told.kind == "cold"
    assert min(told.load_ns, told.first_call_ns) > 0
    assert told.note is None


def test_a_cached_start_without_anything_cached_is_refused(tmp_path):
    cache = a_provider(CPU, cache=CompileCache("option", "cache_dir"))
    order = a_whole_visit(tmp_path, provider=cache, scratch=str(tmp_path / "empty"))
    with pytest.raises(Refusal, match="kept nothing"):
        start(Begin(order, "cached"), Recorder())


def test_a_cache_named_by_the_environment_is_looked_for_there(tmp_path, monkeypatch):
    order = a_whole_visit(tmp_path, provider=a_provider(CPU, cache=CompileCache("environment", "STRAW_CACHE")))
    monkeypatch.setenv("STRAW_CACHE", str(tmp_path / "cache"))
    with pytest.raises(Refusal, match="kept nothing"):
        start(Begin(order, "cached"), Recorder())
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "kernel.bin").write_bytes(b"kernel")
    assert started(order, "cached").kind == "cached"


def test_a_context_that_was_never_compiled_is_refused(tmp_path):
    order = a_whole_visit(tmp_path, provider=a_provider(CPU, cache=CompileCache("context")))
    with pytest.raises(Refusal, match="no compiled model"):
        start(Begin(order, "cached"), Recorder())


def test_a_compiled_model_that_is_none_says_so_and_ends_nothing(tmp_path):
    order = a_whole_visit(tmp_path, provider=a_provider(CPU, cache=CompileCache("context")))
    (tmp_path / "compiled_ctx.onnx").write_bytes(b"straw")
    with pytest.raises(Refusal, match="compiled model does not open"):
        start(Begin(order, "cached"), Recorder())


def test_a_cold_start_that_cannot_keep_what_it_compiled_says_why_and_counts(tmp_path, monkeypatch, capsys):
    order = a_whole_visit(tmp_path, provider=a_provider(CPU, cache=CompileCache("context")))

    def refuse(_visit) -> None:
        raise RuntimeError("no contexts here")

    monkeypatch.setattr(ort, "compile_context", refuse)
    told = started(order, "cold")
    assert told.note == note("no-compiled-model", text="no contexts here")
    assert "in refuse" in capsys.readouterr().err, "the log has the traceback"
    assert told.load_ns > 0


def test_a_compiled_model_is_opened_in_the_models_place(tmp_path):
    order = a_whole_visit(tmp_path, provider=a_provider(CPU, cache=CompileCache("context")))
    model = (tmp_path / "model" / "model.onnx").rename(tmp_path / "compiled_ctx.onnx")
    assert model.exists()
    assert started(replace(order, artifact=str(tmp_path / "gone")), "cached").kind == "cached"
