"""The engine `optimum`: ONNX Runtime behind transformers' `generate()`, the route that most users take."""

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

MANIFEST = EngineManifest(format="optimum", tasks=("text-generation", "speech-recognition"))

WEIGHTS = {"fp32": ("FP32", 32.0), "int8": ("INT8, one scale a channel; embeddings FP32", 8.0)}
"""How the weights of a number format are stored, and bits each."""
NUMBER_TYPES = {"tensor(float)": ("fp32", 4), "tensor(float16)": ("fp16", 2)}
NOTES = (note("transformers-generate"), note("no-io-binding"))
TWO_DECODERS = note("two-decoders")


class Session:
    """One loaded model on ONNX Runtime's CPU provider."""

    def __init__(self, visit: Visit) -> None:
        for name in visit.options:
            raise Refusal("unsupported", f"the engine optimum has no option {name!r}", "leave it out", "option")
        self.visit = visit
        self.threads = visit.threads
        # The search between two steps of the model is PyTorch's.
        torch.set_num_threads(visit.threads)
        self._log_mark = native_log.mark()
        self.model = open_model(Path(visit.artifact or ""), visit.threads)
        self.config = self.model.config
        self.decoder = decoder(self.model)

    @property
    def device(self) -> Device | None:
        """The CPU as onnxruntime lists it."""
        return devices.find(ON_CPU).device

    @property
    def notes(self) -> tuple[Note, ...]:
        """What a reader must know of this route."""
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
        """The generation of `new` tokens, with a context already in the cache; the cache grows as it goes on."""
        ids = torch.from_numpy(feed["input_ids"])
        if "input_features" in feed:
            return Generation(self.model, {"decoder_input_ids": ids}, new, torch.from_numpy(feed["input_features"]))
        known = {"input_ids": ids}
        if "context_ids" in feed:
            context = torch.from_numpy(feed["context_ids"])
            past = step(self.model, context).past_key_values
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
        """What differs from other engines; the bytes of the cache are those after the last step."""
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
        """Number format and bytes of the cache at the end: the last token is never put into it."""
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
        """The prompt's tokens: those of speech are forced, and in no size."""
        if "prompt" in sizes:
            return sizes["prompt"]
        job = next(job for job in self.visit.jobs if job.sizes == sizes)
        return len(feeds.load(Path(job.reference) / "inputs.npz")[0]["input_ids"][0])


class Generation:
    """One generation that is set up: what `generate()` is called with, and what it tells."""

    tokens: int | None = None
    prompt_tokens: int | None = None

    def __init__(self, model: Any, known: dict[str, Any], new: int, features: torch.Tensor | None = None) -> None:
        self.model, self.known, self.new, self.features = model, known, new, features
        self.encode_ns: int | None = None

    def __iter__(self) -> Iterator[Array]:
        """The tokens of each step, as soon as `generate()` has them."""
        known = self.known
        if self.features is not None:
            start = perf_counter_ns()
            known = known | {"encoder_outputs": self.model.encoder(self.features, attention_mask=None)}
            self.encode_ns = perf_counter_ns() - start
        # Not the model's own method: Whisper's would look for languages and timestamps before it calls this one.
        generate = partial(GenerationMixin.generate, self.model, **known, do_sample=False, max_new_tokens=self.new)
        yield from stream_tokens(generate)


class _StoppedByReader(Exception):  # noqa: N818 - nothing went wrong
    """Nobody asks for further tokens."""


class TokenStreamer(BaseStreamer):  # type: ignore[misc]
    """Gives each token to another thread, and waits until that one asks for the next: else the two would compete."""

    def __init__(self) -> None:
        self.requests: SimpleQueue[bool] = SimpleQueue()
        self.tokens: SimpleQueue[Array | BaseException | None] = SimpleQueue()
        self.begun = False

    def put(self, value: torch.Tensor) -> None:
        """Take the tokens of a step, (batch,); the prompt comes first, and is not handed on."""
        if not self.begun:
            self.begun = True
            return
        self.tokens.put(value.numpy())
        if not self.requests.get():
            raise _StoppedByReader

    def end(self) -> None:
        """The end of the thread says it."""


def stream_tokens(generate: Callable[..., object]) -> Iterator[Array]:
    """The tokens that `generate(streamer=…)` streams, one by one; what it raises is raised here."""
    streamer = TokenStreamer()

    def run() -> None:
        try:
            generate(streamer=streamer)
            streamer.tokens.put(None)
        except BaseException as error:  # noqa: BLE001 - it is raised again where it is waited for
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
        streamer.requests.put(False)
        thread.join()


def open_model(folder: Path, threads: int) -> Any:
    """The folder's model as `from_pretrained` opens it, but for the threads; it generates greedily and never stops."""
    ort.set_default_logger_severity(ERRORS_ONLY)
    settings = ort.SessionOptions()
    settings.log_severity_level = ERRORS_ONLY
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1
    settings.add_session_config_entry(assignment.RECORD, "1")
    arguments: dict[str, Any] = {"local_files_only": True, "provider": CPU, "session_options": settings}
    if AutoConfig.from_pretrained(folder, local_files_only=True).is_encoder_decoder:
        model = ORTModelForSpeechSeq2Seq.from_pretrained(folder, use_merged=False, **arguments)
    else:
        model = ORTModelForCausalLM.from_pretrained(folder, **arguments)
    # Without the model's own defaults: what it suppresses, forces, or ends at, greedy search over all tokens does not.
    start = model.generation_config.decoder_start_token_id
    model.generation_config = GenerationConfig(use_cache=True, pad_token_id=0, decoder_start_token_id=start)
    return model


def decoder(model: Any) -> Any:
    """The part of the model that computes a token after the first; it has a `session`, and a `path`."""
    return getattr(model, "decoder_with_past", None) or getattr(model, "decoder", model)


def step(model: Any, ids: torch.Tensor, past: Any = None, encoded: Any = None) -> Any:
    """One call of the model on token ids (batch, n) after `past`; it gives `logits` and `past_key_values`."""
    if encoded is not None:
        return model(decoder_input_ids=ids, encoder_outputs=encoded, past_key_values=past, use_cache=True)
    length = ids.shape[1] + (past[0][1].shape[-2] if past else 0)
    mask = torch.ones((len(ids), length), dtype=torch.int64)
    return model(input_ids=ids, attention_mask=mask, past_key_values=past, use_cache=True)


def probe(order: Probe) -> TargetFacts:
    """What ONNX Runtime's CPU provider, on which this engine runs, is on this machine."""
    return replace(probing.probe(ON_CPU), versions=versions(order.provider))


def versions(provider: Provider | None) -> dict[str, str]:
    """The versions of onnxruntime and of the packages between it and the user."""
    packages = ("optimum", "optimum-onnx", "transformers", "torch")
    return probing.versions(ON_CPU) | {name: metadata.version(name).partition("+")[0] for name in packages}
