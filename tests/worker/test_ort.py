"""The engine of ONNX Runtime on its CPU provider: what a session places where, what it refuses, what a call gives."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from msgspec.structs import replace
from onnx import TensorProto, helper, numpy_helper
from visits import CPU, a_job, a_model, a_provider, a_visit

from bench.records import Probe, note
from bench.worker.engines import ort
from bench.worker.onnx_runtime import binding, probing, sessions
from bench.worker.refusal import Refusal


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    """A folder with a small model: y = relu(x @ w), of any batch."""
    weight = np.random.default_rng(0).standard_normal((8, 4)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Relu", ["h"], ["y"])],
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 4])],
        [numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, tmp_path / "model.onnx")
    return tmp_path


def test_a_call_gives_what_onnxruntime_gives(artifact):
    session = ort.Session(a_visit(artifact))
    feed = {"x": np.ones((3, 8), np.float32)}
    expected = onnxruntime.InferenceSession(artifact / "model.onnx").run(None, feed)[0]
    np.testing.assert_array_equal(session.outputs(session.bind(feed)())["y"], expected)


def test_the_placement_counts_every_node_by_its_provider(artifact):
    placement = ort.Session(a_visit(artifact)).placement
    assert placement is not None
    assert placement.nodes == {CPU: {"MatMul": 1, "Relu": 1}}
    assert placement.source == "assignment-info"


def test_an_input_that_the_model_does_not_take_is_left_out(artifact):
    session = ort.Session(a_visit(artifact))
    feed = {"x": np.ones((1, 8), np.float32), "token_type_ids": np.zeros((1, 8), np.int64)}
    assert session.outputs(session.bind(feed)())["y"].shape == (1, 4)


def test_a_provider_that_the_wheel_lacks_is_refused_and_not_replaced_by_the_cpu(artifact):
    with pytest.raises(Refusal) as refused:
        ort.Session(a_visit(artifact, provider=a_provider("CUDAExecutionProvider", hint="install onnxruntime-gpu")))
    assert (refused.value.status, refused.value.kind) == ("unavailable", "not-installed")
    assert CPU in refused.value.message
    assert "onnxruntime-gpu" in refused.value.remedy


def test_a_plugin_named_without_its_module_is_refused_and_not_a_silent_cpu_session(artifact):
    with pytest.raises(Refusal, match="WebGpuExecutionProvider is not in this onnxruntime"):
        ort.Session(a_visit(artifact, provider=a_provider("WebGpuExecutionProvider")))


def test_a_session_entry_reaches_onnxruntime(artifact):
    entry = {"session.disable_cpu_ep_fallback": "1"}
    with pytest.raises(Exception, match="disabled fallback to the CPU"):
        ort.Session(a_visit(artifact, provider=a_provider(CPU, session=entry)))


def test_the_level_of_graph_optimization_reaches_onnxruntime(artifact):
    levels = onnxruntime.GraphOptimizationLevel
    for said, level in (("none", levels.ORT_DISABLE_ALL), ("basic", levels.ORT_ENABLE_BASIC)):
        session = ort.Session(a_visit(artifact, provider=a_provider(CPU, optimization=said)))
        assert session.session.get_session_options().graph_optimization_level == level


def test_fixed_shapes_are_those_of_the_visits_workload(tmp_path):
    visit = a_visit(a_model(tmp_path), provider=a_provider(CPU, static_shapes=True), jobs=(a_job(tmp_path, 5),))
    session = ort.Session(visit)
    assert session.session.get_inputs()[0].shape == [5, 8]
    assert session.notes == (note("static-shapes", sizes=("batch=5",)),)


def test_what_the_session_ran_on_is_told(artifact):
    session = ort.Session(a_visit(artifact))
    assert session.device.label == "cpu.0"
    assert ort.versions(a_provider(CPU)) == {"onnxruntime": onnxruntime.__version__}
    assert session.notes == ()


# --- CUDA graphs ------------------------------------------------------------------------------------------------------


class Capturing:
    """A session on the CPU that answers as onnxruntime 1.31.1 did with `enable_cuda_graph` on an H200.

    Its first plain run has outputs and is recorded; further plain runs replay it, and have none.
    """

    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        self.session, self.is_recorded = session, False

    def __getattr__(self, name: str) -> object:
        return getattr(self.session, name)

    def run(self, names, feed, options=None):
        if options is not None and options.get_run_config_entry(binding.GRAPH) == binding.NO_GRAPH:
            return self.session.run(names, feed)
        if self.is_recorded:
            return []
        self.is_recorded = True
        return self.session.run(names, feed)


@pytest.fixture
def with_graphs(monkeypatch):
    """A provider with graphs, whose sessions are `Capturing`."""
    opened_by = sessions.open_session

    def open_session(provider, request):
        opened = opened_by(replace(provider, options={}), request)
        return dataclasses.replace(opened, session=Capturing(opened.session), text={"graphs": "1"})

    monkeypatch.setattr(sessions, "open_session", open_session)
    monkeypatch.setattr(ort, "open_session", open_session)
    return a_provider(CPU, graph_option="graphs", options={"graphs": "1"}, device_memory="cpu")


def test_a_probe_calls_a_session_with_graphs_as_a_cell_does(with_graphs):
    facts = ort.probe(Probe(engine="ort", provider=with_graphs))
    assert [each.format for each in facts.executes] == ["fp32", "fp32 between casts"]


def test_a_profile_of_a_session_with_graphs_has_the_nodes_of_every_call(artifact, with_graphs):
    visit = a_visit(artifact, provider=with_graphs)
    placement = ort.Session(visit).placement
    profiled = ort.profiled(visit, placement, {"x": np.ones((1, 8), np.float32)})
    assert (profiled.copies, profiled.time_elsewhere) == (0, 0.0)


@pytest.mark.parametrize(("is_fixed", "remedy"), [(False, "static_shapes = true"), (True, "leave graphs out")])
def test_a_model_that_graphs_cannot_hold_is_refused_with_a_remedy(artifact, monkeypatch, is_fixed, remedy):
    # As an H200 said it of a BERT whose graph copies one value between the GPU and the CPU.
    message = (
        "[ONNXRuntimeError] : 1 : FAIL : This session cannot use the graph capture feature as requested by the user "
        " as all compute graph nodes have not been partitioned to the CUDAExecutionProvider"
    )

    def fails(*_: object, **__: object) -> None:
        raise RuntimeError(message)

    monkeypatch.setattr(sessions.ort, "InferenceSession", fails)
    provider = a_provider(CPU, graph_option="graphs", options={"graphs": "1"}, static_shapes=is_fixed)
    with pytest.raises(Refusal, match="graph capture") as refused:
        sessions.open_session(provider, sessions.Request(artifact / "model.onnx"))
    assert (refused.value.status, refused.value.kind) == ("unsupported", "option")
    assert remedy in refused.value.remedy


# --- probes -----------------------------------------------------------------------------------------------------------


def test_a_probe_of_the_cpu_finds_fp32_and_fp16_that_is_casts_around_fp32():
    facts = ort.probe(Probe(engine="ort", provider=a_provider(CPU)))
    assert (facts.available, facts.device.label) == (True, "cpu.0")
    assert [each.format for each in facts.executes] == ["fp32", "fp32 between casts"]
    assert facts.executes[0].bits > 20
    assert facts.checks_options is None


def test_a_probe_of_what_is_not_there_says_why_and_what_to_do():
    facts = ort.probe(Probe(engine="ort", provider=a_provider("NoSuchExecutionProvider")))
    assert not facts.available
    assert facts.kind == "not-installed"
    assert facts.remedy


@pytest.mark.parametrize("fault", ["effective_bits", "random_pair"])
def test_a_fault_in_a_probe_is_its_result_and_leaves_its_traceback_in_the_log(monkeypatch, capsys, fault):
    def broken(*_: object) -> None:
        raise KeyError("straw")

    monkeypatch.setattr(probing.precision, fault, broken)
    facts = ort.probe(Probe(engine="ort", provider=a_provider(CPU)))
    assert "straw" in facts.message + "".join(each.message for each in facts.executes)
    assert "Traceback" in capsys.readouterr().err


def test_a_refused_probe_leaves_the_log_to_the_provider(capsys):
    assert ort.probe(Probe(engine="ort", provider=a_provider("NoSuchExecutionProvider"))).message
    assert "Traceback" not in capsys.readouterr().err


def test_a_provider_that_takes_no_node_is_found_elsewhere_and_its_fp16_too():
    facts = ort.probe(Probe(engine="ort", provider=a_provider("AzureExecutionProvider")))
    if not facts.available:
        pytest.skip("a wheel with the Azure provider is not on this system")
    assert [each.format for each in facts.executes] == ["elsewhere", "elsewhere"]
    assert facts.checks_options is None, "a provider that runs nothing proves nothing"


# --- a CUDA graph, as far as a CPU can go -----------------------------------------------------------------------------


@pytest.fixture
def graphs(artifact):
    session = ort.Session(a_visit(artifact))
    return session, binding.Graphs(session.session, session.names, "cpu", 0)


def test_bound_calls_give_what_ordinary_calls_give_feed_after_feed(graphs):
    session, bound = graphs
    feeds = [{"x": np.random.default_rng(n).standard_normal((2, 8)).astype(np.float32)} for n in range(3)]
    calls = [bound.bind(feed) for feed in feeds]
    for call, feed in [*zip(calls, feeds, strict=True), (calls[0], feeds[0])]:
        np.testing.assert_array_equal(call()[0], session.bind(feed)()[0])
    assert len(bound.recorded) == 1, "feeds of one shape share one graph"


def test_each_shape_has_a_graph_of_its_own(graphs):
    _, bound = graphs
    for batch in (1, 4, 1):
        assert bound.bind({"x": np.ones((batch, 8), np.float32)})()[0].shape == (batch, 4)
    assert len(bound.recorded) == 2


@pytest.mark.parametrize(
    ("options", "wanted"), [({}, False), ({"enable_cuda_graph": "0"}, False), ({"enable_cuda_graph": "1"}, True)]
)
def test_a_graph_is_recorded_where_the_options_ask_for_it(options, wanted):
    assert binding.wants_graph(a_provider("CUDAExecutionProvider"), options) is wanted


def test_a_model_without_listed_nodes_is_on_no_provider(tmp_path, monkeypatch):
    session = ort.Session(a_visit(a_model(tmp_path)))
    session.provider = replace(session.provider, ep="StrawExecutionProvider")
    monkeypatch.setattr(ort.assignment, "placement", lambda *_: ort.assignment.Placement({}, "assignment-info"))
    assert session.placement.nodes == {"no provider": {"MatMul": 1}}
