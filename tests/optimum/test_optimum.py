"""The engine of optimum on small exports: its tokens and logits are PyTorch's, and what it tells of itself is true."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from visits import CPU, a_visit

from bench.records import Build, Job, Probe, Recipe, Source, Visit
from bench.worker import families, feeds
from bench.worker.artifacts import build
from bench.worker.engines import optimum as engine
from bench.worker.refusal import Refusal

CONFIGS = Path(engine.__file__).parents[1] / "configs"
SOURCES = {"text-generator": "llama-tiny", "speech-recognizer": "whisper-nano"}
NEW = 12
SIZES = {"text-generator": {"batch": 2, "prompt": 9, "new": NEW}, "speech-recognizer": {"batch": 2, "new": NEW}}
START = (1000, 1001, 1002, 1003)
"""What the decoder of the speech model begins with."""


def a_source(family: str) -> Source:
    return Source(kind="config", path=str(CONFIGS / f"{SOURCES[family]}.json"), weights="random", digest="")


def a_feed(family: str, context: int = 0) -> feeds.Feed:
    """Two prompts of noise."""
    rng = np.random.default_rng(7)
    if family == "speech-recognizer":
        features = rng.standard_normal((2, 80, 3000)).astype(np.float32)
        return {"input_ids": np.tile(np.array(START, np.int64), (2, 1)), "input_features": features}
    ids = rng.integers(3, 1000, (2, 9 + context))
    return {"input_ids": ids[:, context:]} | ({"context_ids": ids[:, :context]} if context else {})


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The FP32 exports of both families' smallest models."""
    found = {}
    for family in SOURCES:
        found[family] = tmp_path_factory.mktemp(family)
        build(Build("optimum", family, a_source(family), Recipe("fp32"), str(found[family])))
    return found


def a_generation(artifacts: dict[str, Path], family: str, folder: Path | None = None, **changes: object) -> Visit:
    """A visit of the engine."""
    said = {"engine": "optimum", "family": family, "source": a_source(family), "provider": None}
    return a_visit(folder or artifacts[family], **(said | changes))


@pytest.fixture(scope="module", params=SOURCES)
def family(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def expected(family: str) -> feeds.Feed:
    """PyTorch's own tokens and logits after the feed of a family."""
    return families.named(family).reference(a_source(family), [a_feed(family)], NEW)[0][0]


def tokens_of(session: engine.Session, feed: feeds.Feed, new: int = NEW) -> np.ndarray:
    return np.stack(list(session.begin(feed, new)), axis=1)


def relative_error(have: np.ndarray, want: np.ndarray) -> float:
    return float(np.abs(have - want).max() / np.abs(want).max())


def test_fp32_tokens_are_those_of_pytorch(artifacts, family, expected):
    tokens = tokens_of(engine.Session(a_generation(artifacts, family)), a_feed(family))
    np.testing.assert_array_equal(tokens, expected["tokens"])
    assert tokens.dtype == np.int64
    assert len(np.unique(tokens)) > 3, "a text of one token would prove little"


def test_scored_logits_are_those_of_pytorch(artifacts, family, expected):
    want = expected["logits"]
    scores = engine.Session(a_generation(artifacts, family)).score(a_feed(family), expected["tokens"])
    assert scores.dtype == np.float32
    assert relative_error(scores[:, : want.shape[1]], want) < 1e-4
    assert relative_error(scores[:, 1:], scores[:, :-1]) > 0.1, "another position has other logits"


def test_a_context_stands_before_the_prompt(artifacts):
    feed = a_feed("text-generator", context=20)
    want = families.named("text-generator").reference(a_source("text-generator"), [feed], NEW)[0][0]
    session = engine.Session(a_generation(artifacts, "text-generator"))
    np.testing.assert_array_equal(tokens_of(session, feed), want["tokens"])
    assert relative_error(session.score(feed, want["tokens"])[:, : want["logits"].shape[1]], want["logits"]) < 1e-4


def test_with_a_context_only_the_prompt_is_computed_while_it_is_timed(artifacts, monkeypatch):
    session = engine.Session(a_generation(artifacts, "text-generator"))
    stream = session.begin(a_feed("text-generator", context=20), 3)
    shapes = []
    real = session.model.session.run
    monkeypatch.setattr(session.model, "session", Spy(real, shapes))
    list(stream)
    assert shapes == [(2, 9), (2, 1), (2, 1)]


class Spy:
    """A session that notes the shape of the tokens it is given."""

    def __init__(self, run, shapes: list) -> None:
        self.real, self.shapes = run, shapes

    def run(self, names, inputs):
        self.shapes.append(inputs["input_ids"].shape)
        return self.real(names, inputs)


def test_neither_an_end_of_sequence_nor_a_suppressed_token_changes_what_greedy_search_finds(
    artifacts, family, expected, tmp_path
):
    first, third = (int(expected["tokens"][0, index]) for index in (0, 2))
    shutil.copytree(artifacts[family], tmp_path / "model")
    for name in ("config.json", "generation_config.json"):
        path = tmp_path / "model" / name
        said = json.loads(path.read_text(encoding="utf-8"))
        odd = {"eos_token_id": third, "begin_suppress_tokens": [first], "suppress_tokens": [first]}
        path.write_text(json.dumps(said | odd), encoding="utf-8")
    session = engine.Session(a_generation(artifacts, family, tmp_path / "model"))
    np.testing.assert_array_equal(tokens_of(session, a_feed(family)), expected["tokens"])


def test_only_speech_has_an_encoder_and_it_is_a_part_of_the_first_step(artifacts, family):
    stream = engine.Session(a_generation(artifacts, family)).begin(a_feed(family), 2)
    steps = iter(stream)
    assert stream.encode_ns is None
    next(steps)
    assert (stream.encode_ns or 0) > 0 if family == "speech-recognizer" else stream.encode_ns is None
    steps.close()  # type: ignore[attr-defined]


# --- tokens from another thread ---------------------------------------------------------------------------------------


def test_tokens_come_while_generate_still_runs():
    made = []

    def generate(streamer):
        for token in range(4):  # the prompt, and three steps
            made.append(token)
            streamer.put(torch.tensor([token]))

    steps = engine.stream_tokens(generate)
    assert next(steps).tolist() == [1]
    assert made == [0, 1], "it waits until the next is asked for"
    assert [step.tolist() for step in steps] == [[2], [3]]


def test_what_generate_raises_is_raised_where_its_tokens_are_read(artifacts):
    session = engine.Session(a_generation(artifacts, "text-generator"))
    with pytest.raises(Exception, match="indices element out of data bounds"):
        list(session.begin({"input_ids": np.full((1, 4), 10**6)}, 3))


def test_a_generation_that_nobody_reads_to_its_end_leaves_no_thread(artifacts):
    before = threading.active_count()
    steps = iter(engine.Session(a_generation(artifacts, "text-generator")).begin(a_feed("text-generator"), NEW))
    next(steps)
    assert threading.active_count() == before + 1
    steps.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


# --- what it tells of itself ------------------------------------------------------------------------------------------


def test_it_has_the_threads_that_it_is_told(artifacts, family):
    session = engine.Session(a_generation(artifacts, family, threads=2))
    assert session.threads == torch.get_num_threads() == 2
    options = session.decoder.session.get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (2, 1)


def test_every_node_of_the_decoder_is_on_the_cpu(artifacts, family):
    session = engine.Session(a_generation(artifacts, family))
    assert list(session.placement.nodes) == [CPU]
    assert sum(session.placement.nodes[CPU].values()) > 20
    assert (session.device.label, session.complaint) == ("cpu.0", "")


def test_what_the_notes_say_is_so(artifacts, family):
    session = engine.Session(a_generation(artifacts, family))
    assert not session.model.use_io_binding
    assert (engine.TWO_DECODERS in session.notes) == (family == "speech-recognizer")
    assert set(engine.NOTES) <= set(session.notes)


def test_the_bytes_of_the_cache_are_those_it_has_at_the_end(artifacts, family, tmp_path, monkeypatch):
    feeds.save(tmp_path / "inputs.npz", [a_feed(family)])
    sizes = SIZES[family]
    session = engine.Session(a_generation(artifacts, family, jobs=(Job("w", sizes, str(tmp_path)),)))
    last = {}
    update = session.model._update_model_kwargs_for_generation
    monkeypatch.setattr(
        session.model,
        "_update_model_kwargs_for_generation",
        lambda outputs, *rest, **more: last.update(past=outputs.past_key_values) or update(outputs, *rest, **more),
    )
    tokens_of(session, a_feed(family))
    traits = session.traits(sizes)
    assert traits.kv_bytes == sum(part.nbytes for layer in last["past"] for part in layer)
    assert (traits.kv_type, traits.logits, traits.sampling) == ("fp32", "every token", "greedy")


def test_the_weights_are_those_of_the_files(artifacts, family, tmp_path):
    feeds.save(tmp_path / "inputs.npz", [a_feed(family)])
    jobs = (Job("w", SIZES[family], str(tmp_path)),)
    traits = engine.Session(a_generation(artifacts, family, jobs=jobs)).traits(SIZES[family])
    assert traits.weight_bytes == sum(path.stat().st_size for path in artifacts[family].glob("*.onnx"))
    assert (traits.weights, traits.declared_bits) == ("FP32", 32.0)


def test_an_option_is_refused_by_its_name(artifacts):
    with pytest.raises(Refusal, match="no option 'io_binding'"):
        engine.Session(a_generation(artifacts, "text-generator", options={"io_binding": True}))


def test_a_probe_finds_the_cpu_and_the_versions_between_it_and_the_user():
    facts = engine.probe(Probe("optimum"))
    assert (facts.available, facts.device.label) == (True, "cpu.0")
    assert facts.versions["onnxruntime"] == onnxruntime.__version__
    assert set(facts.versions) == {"onnxruntime", "optimum", "optimum-onnx", "transformers", "torch"}
    assert facts.versions["torch"] == str(torch.__version__).partition("+")[0]
