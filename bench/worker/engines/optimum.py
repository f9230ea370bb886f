"""The engine `optimum`: ONNX Runtime behind transformers' `generate()`, the way in which most users run it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property, partial
from importlib import metadata
from math import prod
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from time import perf_counter_ns
from typing import Any

import numpy as np
import onnxruntime as ort
import torch
from msgspec.structs import replace
from optimum.onnxruntime import ORTModelForCausalLM, ORTModelForSpeechSeq2Seq
from transformers import AutoConfig, GenerationConfig, GenerationMixin
from transformers.generation.streamers import BaseStreamer

from bench.records import Device, EngineManifest, Note, Placement, Probe, Provider, TargetFacts, Traits, Visit, note
from bench.worker import feeds
from bench.worker.feeds import Array, Feed
from bench.worker.onnx_runtime import assignment, devices, native_log, probing
from bench.worker.onnx_runtime.devices import CPU, ON_CPU
from bench.worker.onnx_runtime.sessions import ERRORS_ONLY
from bench.worker.refusal import Refusal

MANIFEST = EngineManifest(format="optimum", runtime="optimum", tasks=("text-generation", "speech-recognition"))

WEIGHTS = {"fp32": ("FP32", 32.0), "int8": ("INT8, one scale a channel; embeddings FP32", 8.0)}
"""How the weights of a number format are stored, and bits each."""
NUMBER_TYPES = {"tensor(float)": ("fp32", 4), "tensor(float16)": ("fp16", 2)}
NOTES = (note("transformers-generate"), note("no-io-binding"))
TWO_DECODERS = note("two-decoders")
FIRST_KEY = "past_key_values.0.key"


class Session:
    """One loaded model on ONNX Runtime's CPU provider."""

    def __init__(self, visit: Visit) -> None:
        for name in visit.options:
            raise Refusal("unsupported", f"the engine optimum has no option {name!r}", "leave it out", "option")
        self.visit = visit
        self.threads = visit.threads
        # PyTorch runs the search between two steps of the model.
        torch.set_num_threads(visit.threads)
        self._log_mark = native_log.mark()
        self.model = open_model(Path(visit.artifact or ""), visit.threads)
        self.config = self.model.config
        self.decoder = decoder(self.model)
        _refuse_other_cache(self.model, self.decoder)

    @property
    def device(self) -> Device | None:
        """The CPU as onnxruntime lists it."""
        return devices.find(ON_CPU).device

    @property
    def notes(self) -> tuple[Note, ...]:
        """Notes for readers of the report."""
        return (*NOTES, TWO_DECODERS) if getattr(self.model, "decoder_with_past", None) else NOTES

    @cached_property
    def placement(self) -> Placement | None:
        """The decoder's nodes by provider and op type."""
        return assignment.placement(self.decoder.session, Path(self.decoder.path))

    @property
    def complaint(self) -> str:
        """The first error that onnxruntime logged."""
        return native_log.first_error(self._log_mark)

    def begin(self, feed: Feed, new: int) -> Generation:
        """Set up the generation of `new` tokens, with the context in the cache; the cache grows with each token."""
        ids = torch.from_numpy(feed["input_ids"])
        if "input_features" in feed:
            return Generation(self.model, {"decoder_input_ids": ids}, new, torch.from_numpy(feed["input_features"]))
        known = {"input_ids": ids}
        if "context_ids" in feed:
            context = torch.from_numpy(feed["context_ids"])
            past = step(self.model, context).past_key_values
            # `generate()` takes the ids of the whole text, and skips those that the cache holds.
            known = {"input_ids": torch.cat([context, ids], dim=1), "past_key_values": past}
        return Generation(self.model, known | {"attention_mask": torch.ones_like(known["input_ids"])}, new)

    def score(self, feed: Feed, tokens: Array) -> Array:
        """Logits over a given continuation; float32 of (batch, n, vocabulary)."""
        encoded = past = None
        if "input_features" in feed:
            encoded = self.model.encoder(torch.from_numpy(feed["input_features"]), attention_mask=None)
        if "context_ids" in feed:
            past = step(self.model, torch.from_numpy(feed["context_ids"])).past_key_values
        logits = []
        for ids in (feed["input_ids"], *np.split(tokens, tokens.shape[1], axis=1)[:-1]):
            outputs = step(self.model, torch.from_numpy(np.ascontiguousarray(ids)), past, encoded)
            past = outputs.past_key_values
            logits.append(outputs.logits[:, -1].numpy())
        return np.stack(logits, axis=1).astype(np.float32)

    def traits(self, sizes: dict[str, int]) -> Traits:
        """What differs between engines, for a workload; the bytes of the cache are those after the last step."""
        weights, bits = WEIGHTS.get(self.visit.recipe.number_format, ("", None))
        files = [path for path in Path(self.visit.artifact or "").iterdir() if ".onnx" in path.name]
        kv_type, kv_bytes = self._cache(sizes)
        return Traits(
            kv_type=kv_type,
            kv_bytes=kv_bytes,
            logits="every token",
            weights=weights,
            declared_bits=bits,
            weight_bytes=sum(path.stat().st_size for path in files),
        )

    def _cache(self, sizes: dict[str, int]) -> tuple[str, int]:
        """Number format and bytes of the cache at the end, when it lacks only the last token."""
        length = sizes.get("context", 0) + self._prompt(sizes) + sizes["new"] - 1
        total, name = 0, ""
        for value in self.decoder.session.get_inputs():
            if ".key" in value.name or ".value" in value.name:
                name, width = NUMBER_TYPES[value.type]
                steps = self.config.max_source_positions if "encoder" in value.name else length
                total += (
                    width
                    * sizes["batch"]
                    * steps
                    * prod(dimension for dimension in value.shape if isinstance(dimension, int))
                )
        return name, total

    def _prompt(self, sizes: dict[str, int]) -> int:
        """The number of prompt tokens; for speech they are the start tokens, which are not in the sizes."""
        if "prompt" in sizes:
            return sizes["prompt"]
        job = next(job for job in self.visit.jobs if job.sizes == sizes)
        return len(feeds.load(Path(job.reference) / "inputs.npz")[0]["input_ids"][0])


class Generation:
    """One generation that is set up, with the arguments of `generate()`."""

    tokens: int | None = None
    prompt_tokens: int | None = None

    def __init__(self, model: Any, known: dict[str, Any], new: int, features: torch.Tensor | None = None) -> None:
        self.model, self.known, self.new, self.features = model, known, new, features
        self.encode_ns: int | None = None

    def __iter__(self) -> Iterator[Array]:
        """Yield the tokens of each step as soon as `generate()` has them."""
        known = self.known
        if self.features is not None:
            start = perf_counter_ns()
            known = known | {"encoder_outputs": self.model.encoder(self.features, attention_mask=None)}
            self.encode_ns = perf_counter_ns() - start
        # Not the model's own method: that of Whisper first detects languages and timestamps, then calls this one.
        generate = partial(GenerationMixin.generate, self.model, **known, do_sample=False, max_new_tokens=self.new)
        yield from stream_tokens(generate)


class _StoppedByReader(Exception):  # noqa: N818 - not an error
    """Ends `generate()` when the reader wants no further tokens."""


# mypy does not read transformers, so the base class is `Any`.
class TokenStreamer(BaseStreamer):  # type: ignore[misc]
    """Passes tokens to another thread, and waits for its next request, so that only one thread runs at a time."""

    def __init__(self) -> None:
        self.requests: SimpleQueue[bool] = SimpleQueue()
        self.tokens: SimpleQueue[Array | BaseException | None] = SimpleQueue()
        self.begun = False

    def put(self, value: torch.Tensor) -> None:
        """Pass on the tokens of a step, (batch,); the first call has the prompt, which is not passed on."""
        if not self.begun:
            self.begun = True
            return
        # The wait below keeps `generate()` from computing the next step before the reader has taken this one's time.
        self.tokens.put(value.numpy())
        if not self.requests.get():
            raise _StoppedByReader

    def end(self) -> None:
        """Do nothing: the end of the thread marks the end of the stream."""


def stream_tokens(generate: Callable[..., object]) -> Iterator[Array]:
    """Yield the tokens that `generate(streamer=…)` streams; its exceptions are raised here."""
    streamer = TokenStreamer()

    def run() -> None:
        try:
            generate(streamer=streamer)
            streamer.tokens.put(None)
        except BaseException as error:  # noqa: BLE001 - it is raised again in the reading thread
            streamer.tokens.put(error)

    thread = Thread(target=run, daemon=True)
    thread.start()
    try:
        while (tokens := streamer.tokens.get()) is not None:
            if isinstance(tokens, BaseException):
                raise tokens
            yield tokens
            streamer.requests.put(True)
    finally:
        # Also when the reader stops early: the thread waits for a request and would never end.
        streamer.requests.put(False)
        thread.join()


def open_model(folder: Path, threads: int) -> Any:
    """Open the model with `from_pretrained`, set its threads, and make it generate greedily without an end."""
    ort.set_default_logger_severity(ERRORS_ONLY)
    settings = ort.SessionOptions()
    settings.log_severity_level = ERRORS_ONLY
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1
    settings.add_session_config_entry(assignment.RECORD, "1")
    # No access to the hub, because the artifact is complete.
    arguments: dict[str, Any] = {"local_files_only": True, "provider": CPU, "session_options": settings}
    if AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False).is_encoder_decoder:
        model = ORTModelForSpeechSeq2Seq.from_pretrained(folder, use_merged=False, **arguments)
    else:
        model = ORTModelForCausalLM.from_pretrained(folder, **arguments)
    # Replaces the model's defaults: suppressed, forced and end tokens would change a greedy search over all tokens.
    start = model.generation_config.decoder_start_token_id
    model.generation_config = GenerationConfig(use_cache=True, pad_token_id=0, decoder_start_token_id=start)
    return model


def decoder(model: Any) -> Any:
    """The part of the model that computes tokens after the first; it has a `session` and a `path`."""
    return getattr(model, "decoder_with_past", None) or getattr(model, "decoder", model)


def _refuse_other_cache(model: Any, decoder: Any) -> None:
    """Refuse a language model whose cache optimum takes for another one than its own export has.

    optimum computes the shape from the config, and not always as its exporter does.
    """
    shape = next((value.shape for value in decoder.session.get_inputs() if value.name == FIRST_KEY), None)
    heads = getattr(model, "num_key_value_heads", None)
    if shape is None or heads is None or len(shape) != 4:
        return
    width = getattr(model, "qk_head_dim", None) or model.embed_size_per_head
    if (shape[1], shape[3]) != (heads, width):
        message = (
            f"optimum gives a cache of {heads} heads of {width} numbers to a {model.config.model_type} model, "
            f"and its own export has {shape[1]} of {shape[3]}"
        )
        raise Refusal("unsupported", message, "the engine ort-optimum runs the same export", "cache")


def step(model: Any, ids: torch.Tensor, past: Any = None, encoded: Any = None) -> Any:
    """Call the model once on token ids (batch, n) after `past`; gives `logits` and `past_key_values`.

    `encoded` is the encoder's output of a speech model.
    """
    if encoded is not None:
        return model(decoder_input_ids=ids, encoder_outputs=encoded, past_key_values=past, use_cache=True)
    length = ids.shape[1] + (past[0][1].shape[-2] if past else 0)
    mask = torch.ones((len(ids), length), dtype=torch.int64)
    return model(input_ids=ids, attention_mask=mask, past_key_values=past, use_cache=True)


def probe(order: Probe) -> TargetFacts:
    """Facts about ONNX Runtime's CPU provider on this machine; the engine runs on it."""
    return replace(probing.probe(ON_CPU), versions=versions(order.provider))


def versions(provider: Provider | None) -> dict[str, str]:
    """The versions of onnxruntime and of the packages between it and the user."""
    packages = ("optimum", "optimum-onnx", "transformers", "torch")
    return probing.versions(ON_CPU) | {name: metadata.version(name).partition("+")[0] for name in packages}
