"""The QNN plugin on its HTP emulator: fixed shapes or nothing, options that it echoes and ignores."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from visits import CPU, Recorder, a_model_with_shape_arithmetic, a_provider, a_visit, a_whole_visit, measure

from bench.records import Begin, CompileCache, Held, Opened, Probe, note
from bench.worker.cold_start import start
from bench.worker.engines import ort
from bench.worker.refusal import Refusal

EP = "QNNExecutionProvider"
OPTIONS = {"backend_type": "htp", "soc_model": 60, "htp_arch": 73}
QNN = a_provider(EP, plugin="onnxruntime_qnn", options=OPTIONS, static_shapes=True, emulated=True)


def refusal_of(order) -> tuple[Refusal, Recorder]:
    channel = Recorder()
    with pytest.raises(Refusal) as refused:
        measure(order, channel)
    return refused.value, channel


def test_with_fixed_shapes_all_nodes_are_on_it_and_the_device_is_called_emulated(tmp_path):
    channel = Recorder()
    measure(a_whole_visit(tmp_path, provider=QNN), channel)
    (opened,), (held,) = channel.of(Opened), channel.of(Held)
    assert set(opened.placement.nodes) == {EP}
    assert held.parity.cosine > 0.999
    assert note("emulated-device") in opened.notes
    assert note("static-shapes", sizes=("batch=1",)) in opened.notes


def test_with_a_dynamic_batch_no_node_is_on_it_and_nothing_is_timed(tmp_path):
    refusal, channel = refusal_of(a_whole_visit(tmp_path, provider=replace(QNN, static_shapes=False)))
    assert (refusal.status, refusal.kind) == ("unsupported", "fallback")
    assert "static_shapes" in refusal.remedy
    (opened,) = channel.of(Opened)
    assert set(opened.placement.nodes) == {CPU}
    assert "stage time" not in channel.kinds()


def test_shape_arithmetic_alone_is_no_model_on_it(tmp_path):
    a_model_with_shape_arithmetic(tmp_path / "model")
    order = a_visit(tmp_path / "model", provider=replace(QNN, static_shapes=False), scratch=str(tmp_path))
    with pytest.raises(Refusal, match="nothing but shapes and constants was placed on") as refused:
        measure(order, Recorder())
    assert refused.value.kind == "fallback"


def test_a_backend_that_does_not_load_is_told_in_qnns_own_words(tmp_path):
    missing = replace(QNN, options={"backend_path": "/nowhere/no-such-backend.so"})
    refusal, _ = refusal_of(a_whole_visit(tmp_path, provider=missing))
    assert refusal.kind == "fallback"
    assert "no-such-backend.so" in refusal.message
    assert "/nowhere" not in refusal.message


def test_a_probe_finds_fp16_arithmetic_under_fp32_and_options_that_nobody_checks():
    facts = ort.probe(Probe("ort", QNN))
    assert facts.available
    assert [each.format for each in facts.executes] == ["fp16", "fp16"]
    assert facts.checks_options is False
    assert "onnxruntime-qnn" in facts.versions


def test_a_probe_of_a_broken_backend_says_that_nothing_ran_on_it():
    facts = ort.probe(Probe("ort", replace(QNN, options={"backend_path": "/nowhere/no-such-backend.so"})))
    assert [each.format for each in facts.executes] == ["elsewhere", "elsewhere"]
    assert facts.checks_options is None
    assert "no-such-backend.so" in facts.message


def test_a_compiled_model_is_kept_by_the_cold_start_and_opened_or_refused_by_the_cached_one(tmp_path):
    order = a_whole_visit(tmp_path, provider=replace(QNN, cache=CompileCache("context")))
    start(Begin(order, "cold"), Recorder())
    assert (tmp_path / "compiled_ctx.onnx").stat().st_size > 0
    assert _cached(order) in ("cached", "the compiled model does not open")


def _cached(order) -> str:
    """What became of a cached start: QNN 2.7.0 opens what it compiled of this model, and not of MiniLM."""
    channel = Recorder()
    try:
        start(Begin(order, "cached"), channel)
    except Refusal as refusal:
        return refusal.message.partition(":")[0]
    return channel.said[-1].start.kind
