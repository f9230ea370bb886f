"""The engine `genai`: runs models that generate with onnxruntime-genai, on the providers that it supports."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import onnxruntime_genai as og

from bench.records import Device, EngineManifest, Note, Placement, Probe, Provider, TargetFacts, Traits, Visit
from bench.worker import genai_config
from bench.worker.engines import _genai_model
from bench.worker.feeds import Array, Feed
from bench.worker.onnx_runtime import (
    devices,
    genai_traits,
    generating,
    native_log,
    options,
    placement_subprocess,
    probing,
    sessions,
)
from bench.worker.onnx_runtime.devices import CPU
from bench.worker.onnx_runtime.onnx_protobuf import read_graph
from bench.worker.refusal import Refusal

MANIFEST = EngineManifest(
    format="genai",
    tasks=("text-generation", "speech-recognition"),
    names_providers=True,
)
"""It runs on the providers whose catalogue row has a name for genai; `ort-generate` runs on the others.

The wheels of DirectML and OpenVINO are too old for genai 0.18. QNN and Vitis AI need exports of fixed shapes. The part
of genai that TensorRT-RTX needs is only in the wheel for CUDA.
"""
GREEDY = {
    "do_sample": False,
    "num_beams": 1,
    "num_return_sequences": 1,
    "repetition_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "length_penalty": 1.0,
    "diversity_penalty": 0.0,
    "min_length": 0,
}
"""Options of plain greedy search; without them an export applies the penalties of its generation config."""


class Session:
    """One loaded model on one provider."""

    def __init__(self, visit: Visit) -> None:
        provider = _provider_of(visit)
        self.provider, self.export = provider, genai_config.read(Path(visit.artifact or ""))
        _genai_model.refuse(provider, self.export)
        self._log_mark = native_log.mark()
        ort.set_default_logger_severity(sessions.ERRORS_ONLY)
        sessions.load_libraries(provider)
        self.found = devices.find(provider)
        _genai_model.register(provider)
        text = options.texts(provider, self.found, visit.threads, visit.scratch)
        self.threads = options.threads(provider, text, visit.threads)
        name = provider.engine_names[_genai_model.ENGINE]
        self.model = _genai_model.load(provider, self.export, name, self.found, text, visit.threads)
        self.prompt = 0

    @property
    def device(self) -> Device | None:
        """The selected device."""
        return self.found.device

    @property
    def notes(self) -> tuple[Note, ...]:
        """Notes for readers of the report."""
        return options.notes(self.provider, self.found)

    @cached_property
    def placement(self) -> Placement | None:
        """The nodes by provider and op type.

        genai does not report them. On the CPU the nodes of the graphs are counted; for other providers onnxruntime
        places the graphs again in another process.
        """
        paths = self.export.graphs
        if self.provider.ep == CPU:
            return placement_subprocess.merge_placements(
                Placement({CPU: dict(read_graph(path).operators)}, "graph") for path in paths
            )
        return placement_subprocess.placement_in_subprocess(self.provider, paths)

    @property
    def complaint(self) -> str:
        """The first error logged since the session was started."""
        return native_log.first_error(self._log_mark)

    def begin(self, feed: Feed, new: int) -> Stream:
        """Set up the generation of `new` tokens after the feed's prompt."""
        self.prompt = feed["input_ids"].shape[1]
        return Stream(self, feed, new)

    def score(self, feed: Feed, tokens: Array) -> Array:
        """Logits over a given continuation, float32 of (batch, n, vocabulary).

        Row by row, because genai accepts tokens for several sequences only once.
        """
        rows = range(len(tokens))
        return np.stack([self._scored({name: part[i : i + 1] for name, part in feed.items()}, tokens[i]) for i in rows])

    def _scored(self, feed: Feed, tokens: Array) -> Array:
        stream = Stream(self, feed, len(tokens))
        generator = stream.generator
        generator.append_tokens(stream.prompt)
        # The last row: exports with `prune_lm_head` have only that one, others have one for each token of the prompt.
        logits = [generator.get_logits()[0, -1]]
        for token in tokens[:-1]:
            generator.append_tokens(_int32(token.reshape(1, 1)))
            logits.append(generator.get_logits()[0, -1])
        return np.stack(logits).astype(np.float32)

    def traits(self, sizes: dict[str, int]) -> Traits:
        """What differs between engines, for a workload."""
        length = sizes.get("context", 0) + sizes.get("prompt", self.prompt) + sizes["new"]
        return genai_traits.traits(self.export, sizes.get("batch", 1), length, keeps_windows=True)

    @cached_property
    def feature_type(self) -> str:
        """The element type of the encoder's features; an empty text without an encoder."""
        return (
            read_graph(self.export.graphs[0]).values[self.export.encoded["audio_features"]].element
            if self.export.encoder
            else ""
        )


class Stream:
    """One greedy generation with its context in the cache, which has room for exactly the tokens to come."""

    encode_ns: int | None = None  # the encoder runs inside `append_tokens`
    tokens: int | None = None
    prompt_tokens: int | None = None

    def __init__(self, session: Session, feed: Feed, new: int) -> None:
        self.prompt, self.new, self.end = _int32(feed["input_ids"]), new, session.export.end
        before = generating.context(feed, session.export)
        length = self.prompt.shape[1] + new + (before.shape[1] if before is not None else 0)
        # The kernel of a sliding window refuses a cache that is shorter than its window.
        room = max(generating.room(session.export, length), session.export.window)
        self.generator = _generator(session.model, len(self.prompt), room)
        if session.feature_type:
            # Kept as an attribute: genai reads this memory without owning it, and gives NaN once it is freed.
            self.features = np.ascontiguousarray(feed["input_features"], session.feature_type)
            self.generator.set_model_input(session.export.encoded["audio_features"], self.features)
        if before is not None:
            self.generator.append_tokens(_int32(before))

    def __iter__(self) -> Iterator[Array]:
        """Yield the tokens of each step, int64 of (batch,); the first step includes prefill."""
        # `append_tokens` is all of prefill: the first `generate_next_token` only samples.
        generate, tokens = self.generator.generate_next_token, self.generator.get_next_tokens
        self.generator.append_tokens(self.prompt)
        for step in range(self.new):
            generate()
            written = np.array(tokens(), np.int64)
            if self.end in written and step + 1 < self.new:
                raise self._ended(step + 1)
            yield written

    def _ended(self, count: int) -> Refusal:
        message = f"genai ends a text at the padding token {self.end}, and the model wrote it as token {count}"
        return Refusal("unsupported", message, "ort-generate runs the same export to its end", "ended")


def _provider_of(visit: Visit) -> Provider:
    if visit.provider is None or _genai_model.ENGINE not in visit.provider.engine_names:
        requested = visit.provider.ep if visit.provider else "no execution provider"
        message = f"onnxruntime-genai has no name for {requested}"
        raise Refusal("unsupported", message, "ort-generate runs the same model on it")
    return visit.provider


def _generator(model: Any, batch: int, length: int) -> Any:
    parameters = og.GeneratorParams(model)
    # genai allocates the cache for `max_length`, by default 2048 tokens, so it is always set.
    parameters.set_search_options(**GREEDY, batch_size=batch, max_length=length)
    try:
        return og.Generator(model, parameters)
    except RuntimeError as error:
        # genai's errors have no class and no code, only a message.
        if str(error).startswith("batch_size"):
            raise Refusal("unsupported", f"genai: {error}", "ort-generate takes larger batches") from error
        # genai raises RuntimeError for exhausted memory, with a message that `failures` does not know.
        raise MemoryError(str(error)) if "Could not allocate" in str(error) else error from error


def _int32(tokens: Array) -> Array:
    """Tokens as int32, which genai needs."""
    return np.ascontiguousarray(tokens, np.int32)


def probe(order: Probe) -> TargetFacts:
    """Facts about the target on this machine."""
    if order.provider is None:
        raise Refusal("unsupported", "the engine genai needs an execution provider", "give the target an ep")
    return probing.probe(order.provider)


def versions(provider: Provider | None) -> dict[str, str]:
    """The versions that the libraries report."""
    return {**probing.versions(provider), "onnxruntime-genai": str(og.__version__)}
