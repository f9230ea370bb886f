"""Plain ONNX Runtime over a genai export: PyTorch's own tokens and logits, a cache that is not copied, and refusals."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from genai_visits import SIZES, a_copy, a_generation, a_reference, an_export, distance, generated, several
from visits import CPU, a_provider

from bench.records import Placement, Probe
from bench.worker import genai_config
from bench.worker.engines import ort_generate
from bench.worker.onnx_runtime import generating, placement_subprocess
from bench.worker.refusal import Refusal

FAMILIES = ("text-generator", "speech-recognizer")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """By family: the FP32 export, its workload, feeds and reference."""
    folder = tmp_path_factory.mktemp("exports")
    return {name: (an_export(folder / name, name), *a_reference(folder / f"{name}-ref", name)) for name in FAMILIES}


@pytest.fixture(scope="module")
def sessions(made):
    return {name: ort_generate.Session(a_generation(made[name][0], name, "ort-generate")) for name in FAMILIES}


@pytest.mark.parametrize("family", FAMILIES)
def test_fp32_gives_pytorchs_tokens_and_its_logits(made, sessions, family):
    _, job, batches, expected = made[family]
    for feed, outputs in zip(batches, expected, strict=True):
        np.testing.assert_array_equal(generated(sessions[family], feed, job.sizes["new"]), outputs["tokens"])
        logits = sessions[family].score(feed, outputs["tokens"])
        assert distance(outputs["logits"], logits) < 1e-8


@pytest.mark.parametrize("family", FAMILIES)
def test_a_second_generation_finds_nothing_of_the_first(made, sessions, family):
    batches = made[family][2]
    first = generated(sessions[family], batches[0], 6)
    generated(sessions[family], batches[1], 6)
    np.testing.assert_array_equal(generated(sessions[family], batches[0], 6), first)


@pytest.mark.parametrize("family", FAMILIES)
def test_each_row_of_a_batch_is_what_it_is_alone(made, sessions, family):
    rows = several(made[family][2][0], 3)
    together = generated(sessions[family], rows, 6)
    for row in range(3):
        alone = generated(sessions[family], {name: part[row : row + 1] for name, part in rows.items()}, 6)
        np.testing.assert_array_equal(together[row : row + 1], alone)


def test_a_filled_context_gives_what_one_long_prompt_gives(tmp_path, made, sessions):
    _, (feed, _), (outputs, _) = a_reference(tmp_path / "deep", "text-generator", context=32)
    assert feed["context_ids"].shape == (1, 32)
    np.testing.assert_array_equal(generated(sessions["text-generator"], feed, 12), outputs["tokens"])


def test_a_context_of_several_sequences_is_refused_as_the_kernel_would(made, sessions):
    feed = several(made["text-generator"][2][0], 2)
    with pytest.raises(Refusal, match="one sequence only") as refused:
        sessions["text-generator"].begin({**feed, "context_ids": feed["input_ids"]}, 4)
    assert refused.value.status == "unsupported"


@pytest.mark.parametrize("family", FAMILIES)
def test_the_encoder_is_timed_apart_where_there_is_one(made, sessions, family):
    stream = sessions[family].begin(made[family][2][0], 2)
    assert stream.encode_ns is None
    next(iter(stream))
    assert (stream.encode_ns is not None and stream.encode_ns > 0) == (family == "speech-recognizer")


def test_past_and_present_are_one_buffer_that_no_step_replaces(made, sessions):
    stream = sessions["text-generator"].begin(made["text-generator"][2][0], 4)
    held = stream.state.binding._bound_inputs | stream.state.binding._bound_outputs
    list(stream)
    now = stream.state.binding._bound_inputs | stream.state.binding._bound_outputs
    cache = sessions["text-generator"].decoder.cache
    assert len(cache) == 4
    assert all(held[each.past] is held[each.present] is now[each.past] is now[each.present] for each in cache)


def test_more_tokens_than_the_cache_has_room_for_are_an_error_and_not_an_overwritten_cache(made, sessions):
    state = generating.State(sessions["text-generator"].decoder, 1, 4)
    state.run(np.array([[1, 2, 3]]))
    with pytest.raises(ValueError, match="5 tokens do not fit into a cache for 4"):
        state.run(np.array([[4, 5]]))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_traits_count_the_cache_of_the_workload(made, sessions, family):
    generated(sessions[family], made[family][2][0], 2)
    traits = sessions[family].traits(SIZES[family])
    layer = {"text-generator": 2 * 36 * 64, "speech-recognizer": 2 * (16 + 1500) * 64}[family]
    assert traits.kv_bytes == 2 * 2 * 4 * layer
    assert (traits.kv_type, traits.logits, traits.weights) == ("fp32", "last token", "fp32")


@pytest.mark.parametrize("family", FAMILIES)
def test_every_graph_is_in_the_placement(sessions, family):
    nodes = sessions[family].placement.nodes
    assert set(nodes) == {CPU}
    attention = {"text-generator": "GroupQueryAttention", "speech-recognizer": "Attention"}[family]
    assert nodes[CPU][f"com.microsoft.{attention}"] == 2


def test_a_placement_of_several_graphs_is_their_sum_and_none_where_one_is_unknown():
    one = Placement({CPU: {"MatMul": 2}}, "assignment-info", shape_nodes={CPU: {"Cast": 1}})
    two = Placement({CPU: {"MatMul": 1, "Add": 1}, "Straw": {"Add": 3}}, "assignment-info")
    total = placement_subprocess.merge_placements([one, two])
    assert total.nodes == {CPU: {"Add": 1, "MatMul": 3}, "Straw": {"Add": 3}}
    assert total.shape_nodes == {CPU: {"Cast": 1}}
    assert placement_subprocess.merge_placements([one, None]) is None


def test_another_process_finds_the_same_placement(made, sessions):
    export = genai_config.read(made["text-generator"][0])
    assert (
        placement_subprocess.placement_in_subprocess(a_provider(CPU), export.graphs)
        == sessions["text-generator"].placement
    )


def test_a_placement_that_another_process_cannot_find_is_unknown(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"straw")
    assert placement_subprocess.placement_in_subprocess(a_provider(CPU), [tmp_path / "model.onnx"]) is None


# --- what it refuses --------------------------------------------------------------------------------------------------


def test_a_provider_of_fixed_shapes_is_refused_since_the_mask_grows(made):
    with pytest.raises(Refusal, match="fixed shapes only") as refused:
        ort_generate.Session(
            a_generation(made["text-generator"][0], FAMILIES[0], provider=a_provider(CPU, static_shapes=True))
        )
    assert refused.value.status == "unsupported"


def test_a_folder_that_is_no_export_is_refused(tmp_path):
    with pytest.raises(Refusal, match=r"genai_config.json"):
        ort_generate.Session(a_generation(tmp_path, FAMILIES[0]))


def test_an_input_that_nobody_gives_is_refused_by_its_name(made, sessions, monkeypatch):
    decoder = sessions["text-generator"].decoder
    monkeypatch.setattr(decoder, "mask", None)
    with pytest.raises(Refusal, match="attention_mask"):
        decoder._refuse_unknown()


def test_a_provider_that_is_not_there_is_unavailable_and_not_the_cpu(made):
    with pytest.raises(Refusal) as refused:
        ort_generate.Session(
            a_generation(made["text-generator"][0], FAMILIES[0], provider=a_provider("CUDAExecutionProvider"))
        )
    assert refused.value.status == "unavailable"


def test_more_tokens_than_the_model_has_positions_are_refused(made, sessions):
    with pytest.raises(Refusal, match="the model's context is 256") as refused:
        sessions["text-generator"].begin(made["text-generator"][2][0], 1000)
    assert (refused.value.status, refused.value.kind) == ("unsupported", "too-long")


def test_a_cache_that_memory_does_not_hold_is_out_of_memory(tmp_path, made):
    endless = a_copy(
        made[FAMILIES[0]][0], tmp_path / "endless", lambda said: said["model"].update(context_length=2**31 - 1)
    )
    session = ort_generate.Session(a_generation(endless, FAMILIES[0]))
    with pytest.raises(MemoryError, match=r"(?i)key-value cache"):
        session.begin(made[FAMILIES[0]][2][0], 10**9)


def test_it_is_probed_as_onnxruntime_is():
    facts = ort_generate.probe(Probe("ort-generate", a_provider(CPU)))
    assert facts.available
    assert ort_generate.versions(a_provider(CPU)) == {"onnxruntime": onnxruntime.__version__}
