"""The OpenVINO wheel on the CPU: its device, its threads, its precision, and what it does when asked for nonsense."""

from __future__ import annotations

from pathlib import Path

import pytest
from visits import CPU, Recorder, a_provider, a_whole_visit, measure

from bench.records import Begin, CompileCache, DeviceChoice, Opened, Probe
from bench.worker.cold_start import start
from bench.worker.engines import ort
from bench.worker.refusal import Refusal

EP = "OpenVINOExecutionProvider"
OPENVINO = a_provider(EP, options={"device_type": "CPU"}, hint="see OpenVINO's system requirements")
CPU_INFO = Path("/proc/cpuinfo")


def refusal_of(order) -> Refusal:
    with pytest.raises(Refusal) as refused:
        measure(order, Recorder())
    return refused.value


def test_its_nodes_are_on_it_with_the_device_and_the_threads_that_were_asked_for(tmp_path):
    channel = Recorder()
    measure(a_whole_visit(tmp_path, provider=OPENVINO, threads=1), channel)
    (opened,) = channel.of(Opened)
    assert opened.placement.nodes == {EP: {"MatMul": 1}}
    assert (opened.device.label, opened.threads) == ("cpu.0", 1)


def test_a_gpu_that_is_not_there_is_unavailable_in_openvinos_own_words(tmp_path):
    if list(Path("/dev/dri").glob("renderD*")):
        pytest.skip("a machine without a GPU is not on this system")
    refusal = refusal_of(a_whole_visit(tmp_path, provider=a_provider(EP, device=DeviceChoice("gpu"))))
    assert (refusal.status, refusal.kind) == ("unavailable", "not-created")
    assert "Device GPU is not available" in refusal.message


def test_a_device_type_that_is_nonsense_runs_nothing_and_is_refused(tmp_path):
    refusal = refusal_of(a_whole_visit(tmp_path, provider=a_provider(EP, options={"device_type": "banana"})))
    assert (refusal.status, refusal.kind) == ("unsupported", "fallback")
    assert CPU in refusal.message


def test_an_unknown_option_is_refused_by_its_name(tmp_path):
    refusal = refusal_of(a_whole_visit(tmp_path, provider=a_provider(EP, options={"no_such_option": 1})))
    assert refusal.kind == "option"
    assert "no_such_option" in refusal.message


def test_a_bad_value_is_not_a_silent_cpu_session(tmp_path):
    refusal = refusal_of(a_whole_visit(tmp_path, provider=a_provider(EP, options={"num_of_threads": "banana"})))
    assert refusal.kind == "not-created"
    assert "threads should be a number" in refusal.message


def test_a_probe_finds_fp32_and_fp16_that_is_casts_around_it_and_options_that_are_checked():
    facts = ort.probe(Probe("ort", OPENVINO))
    assert facts.available
    assert facts.executes[0].format == "fp32"
    assert facts.executes[1].format in ("fp32 between casts", "fp16")
    assert facts.checks_options is True


def test_fp32_that_is_computed_in_bf16_is_found_out():
    if not CPU_INFO.is_file() or "avx512_bf16" not in CPU_INFO.read_text(encoding="utf-8"):
        pytest.skip("BF16 arithmetic is not on this system")
    hint = {"device_type": "CPU", "load_config": '{"CPU": {"INFERENCE_PRECISION_HINT": "bf16"}}'}
    facts = ort.probe(Probe("ort", a_provider(EP, options=hint)))
    assert facts.executes[0].format == "bf16"
    assert facts.executes[0].bits < 10


def test_a_probe_of_a_gpu_that_is_not_there_names_no_device():
    if list(Path("/dev/dri").glob("renderD*")):
        pytest.skip("a machine without a GPU is not on this system")
    facts = ort.probe(Probe("ort", a_provider(EP, device=DeviceChoice("gpu"), hint="see the requirements")))
    assert (facts.available, facts.device, facts.devices) == (False, None, ())
    assert "see the requirements" in facts.remedy


def test_the_cold_start_fills_the_cache_folder_that_the_cached_one_needs(tmp_path):
    cached = a_provider(EP, options={"device_type": "CPU"}, cache=CompileCache("option", "cache_dir"))
    order = a_whole_visit(tmp_path / "work", provider=cached, scratch=str(tmp_path / "cache"))
    with pytest.raises(Refusal, match="kept nothing"):
        start(Begin(order, "cached"), Recorder())
    start(Begin(order, "cold"), Recorder())
    channel = Recorder()
    start(Begin(order, "cached"), channel)
    assert channel.said[-1].start.kind == "cached"
