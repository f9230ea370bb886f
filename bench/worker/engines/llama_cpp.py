"""The engine `llama-cpp`: runs GGUF models through the C functions of llama.cpp."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np
from llama_cpp._ggml import libggml
from msgspec.structs import replace

from bench.records import (
    Device,
    EngineManifest,
    Note,
    Option,
    Placement,
    Probe,
    Provider,
    Recipe,
    TargetFacts,
    Traits,
    Visit,
    note,
)
from bench.worker import llama_log
from bench.worker.engines._llama_context import (
    FLASH_ATTENTION,
    KV_TYPES,
    Context,
    Settings,
    Shape,
    TokenBatch,
    cache_bytes,
    error,
    metadata,
)
from bench.worker.feeds import Array, Feed
from bench.worker.refusal import Refusal

MANIFEST = EngineManifest(format="gguf", tasks=("text-generation",))

MODEL = "model.gguf"
FILE_TYPES = {
    "0": ("F32", 32.0),
    "1": ("F16", 16.0),
    "2": ("Q4_0", 4.5),
    "3": ("Q4_1", 5.0),
    "7": ("Q8_0", 8.5),
    "8": ("Q5_0", 5.5),
    "9": ("Q5_1", 6.0),
    "14": ("Q4_K_S", 4.58),
    "15": ("Q4_K_M", 4.85),
    "16": ("Q5_K_S", 5.54),
    "17": ("Q5_K_M", 5.69),
    "18": ("Q6_K", 6.5625),
    "32": ("BF16", 16.0),
}
"""Name and bits per weight by `general.file_type`; for mixtures (_M) the bits are those of a Llama with 7 billion."""
KV_NAMES = {"f32": "fp32", "f16": "fp16", "bf16": "bf16", "q8_0": "q8_0"}
OPTIONS = ("n_gpu_layers", "flash_attention", "kv_type")


class Session:
    """One loaded GGUF model."""

    placement: Placement | None = None

    def __init__(self, visit: Visit) -> None:
        layers = gpu_layers(visit.options)
        flash, kv_type = attention(visit.options, _cache_format(visit.recipe))
        self.threads = visit.threads
        self.settings = Settings(visit.threads, kv_type, flash, on_gpu=layers != 0)
        self.device: Device | None = device(on_gpu=layers != 0)
        llama_log.listen()
        self._mark = llama_log.mark()
        self.model = _load(Path(visit.artifact or "") / MODEL, layers)
        self.vocabulary = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self.model))
        self.notes = _notes(self.settings, layers, llama_cpp.llama_model_n_layer(self.model))
        self._context: Context | None = None

    @property
    def complaint(self) -> str:
        """The first error that llama.cpp logged since the session was started."""
        return next(iter(llama_log.errors(self._mark)), "")

    def begin(self, feed: Feed, new: int) -> Stream:
        """Set up the generation of `new` tokens; the feed's context is in the cache already."""
        context, prompt, at = self._prepare(feed, new)
        return Stream(context, prompt, at, new)

    def score(self, feed: Feed, tokens: Array) -> Array:
        """Logits over a given continuation, float32 of (batch, n, vocabulary): the prompt at once, then each token."""
        context, batch, at = self._prepare(feed, tokens.shape[1])
        logits = np.empty((*tokens.shape, self.vocabulary), np.float32)
        step = TokenBatch(tokens.shape[0], 1)
        for index in range(tokens.shape[1]):
            # Copied at once: the views are valid only until the next call.
            logits[:, index] = context.logits(batch)
            batch = step.fill(tokens[:, index : index + 1], at + index)
        return logits

    def traits(self, sizes: dict[str, int]) -> Traits:
        """The formats and sizes of the weights and of the cache, for a workload."""
        name, bits = FILE_TYPES.get(metadata(self.model, "general.file_type"), ("", None))
        shape = _shape(sizes["batch"], sizes.get("context", 0), sizes["prompt"], sizes["new"])
        return Traits(
            kv_type=KV_NAMES[self.settings.kv_type],
            kv_bytes=cache_bytes(self.model, shape, self.settings.kv_type),
            logits="last token",
            weights=name,
            declared_bits=bits,
            weight_bytes=llama_cpp.llama_model_size(self.model),
        )

    def _prepare(self, feed: Feed, new: int) -> tuple[Context, TokenBatch, int]:
        """A context with the feed's context in its cache, the batch of the prompt, and the position after it."""
        before, prompt = feed.get("context_ids"), feed["input_ids"]
        rows, at = prompt.shape[0], before.shape[1] if before is not None else 0
        context = self._context_for(_shape(rows, at, prompt.shape[1], new))
        context.clear()
        if before is not None:
            context.logits(TokenBatch(rows, at).fill(before, 0))
        return context, TokenBatch(rows, prompt.shape[1]).fill(prompt, at), at + prompt.shape[1]

    def _context_for(self, shape: Shape) -> Context:
        """The context of a workload; that of another workload is freed first, so that never two take memory."""
        if self._context is None or self._context.shape != shape:
            self._context = None
            self._context = Context(self.model, self.vocabulary, shape, self.settings)
        return self._context


class Stream:
    """One greedy generation; a step takes the token with the largest logit for every sequence."""

    encode_ns: int | None = None
    tokens: int | None = None
    prompt_tokens: int | None = None

    def __init__(self, context: Context, prompt: TokenBatch, at: int, new: int) -> None:
        self._context, self._prompt, self._at, self._new = context, prompt, at, new
        self._step = TokenBatch(prompt.rows, 1)

    def __iter__(self) -> Iterator[Array]:
        """Yield the tokens of each step, int64 of (batch,)."""
        batch = self._prompt
        for index in range(self._new):
            best = np.array([row.argmax() for row in self._context.logits(batch)], np.int64)
            yield best
            batch = self._step.fill(best[:, None], self._at + index)


def _shape(rows: int, context: int, prompt: int, new: int) -> Shape:
    return Shape(rows, context + prompt + new, max(context, prompt))


def _load(path: Path, layers: int) -> Any:
    """Read the model into memory; RuntimeError or MemoryError with the reason that llama.cpp logged."""
    if not path.is_file():
        raise RuntimeError(f"there is no {path.name} in the artifact")
    llama_cpp.llama_backend_init()
    parameters = llama_cpp.llama_model_default_params()
    parameters.n_gpu_layers = layers
    # With the default, a memory-mapped file, the first generation and not the load would read the weights.
    parameters.load_mode = llama_cpp.LLAMA_LOAD_MODE_NONE
    since = llama_log.mark()
    model = llama_cpp.llama_model_load_from_file(str(path).encode(), parameters)
    if not model:
        raise error("llama.cpp did not load the GGUF", since)
    return model


def _notes(settings: Settings, layers: int, depth: int) -> tuple[Note, ...]:
    flash = note("flash-attention", setting=settings.flash)
    offloaded = depth if layers < 0 else min(layers, depth)
    return (flash, *((note("layers-on-gpu", layers=offloaded, total=depth),) if layers else ()))


# --- options ----------------------------------------------------------------------------------------------------------


def gpu_layers(options: dict[str, Option]) -> int:
    """The number of layers on the GPU, -1 for all; Refusal where there is no GPU or an option is invalid."""
    for name in options:
        if name not in OPTIONS:
            raise _refused(f"the engine llama-cpp has no option {name!r}", f"it has {', '.join(OPTIONS)}")
    layers = options.get("n_gpu_layers", 0)
    # In Python `True` is an integer, but it is no number of layers.
    if not isinstance(layers, int) or isinstance(layers, bool):
        raise _refused(f"n_gpu_layers is {layers!r}", "write a number of layers, or -1 for all")
    if layers and not (llama_cpp.llama_supports_gpu_offload() and _devices(GPU_TYPES)):
        remedy = "build llama-cpp-python with a GPU backend, e.g. CMAKE_ARGS=-DGGML_CUDA=on, or leave n_gpu_layers out"
        raise Refusal("unavailable", "this llama.cpp sees no GPU: it would use the CPU", remedy, "no-device")
    return layers


def attention(options: dict[str, Option], number_format: str) -> tuple[str, str]:
    """The setting of flash attention, and the type of the KV cache: FP32 for an FP32 model, else FP16.

    Flash attention converts FP32 keys and values to FP16. Measured: errors of 5e-3 in logits with and without an FP32
    cache, against 3e-6 with plain attention. It is therefore off for an FP32 cache.
    """
    kv_type = str(options.get("kv_type", "f32" if number_format == "fp32" else "f16"))
    setting = options.get("flash_attention", "off" if kv_type == "f32" else "auto")
    flash = {True: "on", False: "off"}[setting] if isinstance(setting, bool) else str(setting)
    if flash not in FLASH_ATTENTION:
        raise _refused(f"flash_attention is {setting!r}", f"write one of {', '.join(FLASH_ATTENTION)}")
    if kv_type not in KV_TYPES:
        raise _refused(f"kv_type is {kv_type!r}", f"write one of {', '.join(KV_TYPES)}")
    if kv_type == "f32" and flash != "off":
        raise _refused("llama.cpp's flash attention rounds a KV cache of FP32 to FP16", 'write flash_attention = "off"')
    return flash, kv_type


def _cache_format(recipe: Recipe) -> str:
    """The number format that decides on the cache: a user's own file runs by llama.cpp's own defaults."""
    return "" if recipe.name == "gguf-as-given" else recipe.number_format


def _refused(message: str, remedy: str) -> Refusal:
    return Refusal("unsupported", message, remedy, "option")


# --- devices ----------------------------------------------------------------------------------------------------------

CPU_TYPES, GPU_TYPES = (0,), (1, 2)
"""Values of `enum ggml_backend_dev_type`: the CPU, and GPUs with integrated ones."""


def device(*, on_gpu: bool) -> Device:
    """The device that computes."""
    name = next(iter(_devices(GPU_TYPES if on_gpu else CPU_TYPES)), "")
    return Device("gpu" if on_gpu else "cpu", 0, name=name)


def _devices(types: tuple[int, ...]) -> list[str]:
    """The devices of these types, as ggml describes them."""
    # From a private module: llama-cpp-python itself has no functions for ggml's devices.
    get, kind, describe = (getattr(libggml, f"ggml_backend_dev_{name}") for name in ("get", "type", "description"))
    # Without these types ctypes assumes int, and would truncate pointers.
    libggml.ggml_backend_dev_count.restype = ctypes.c_size_t
    get.argtypes, get.restype = [ctypes.c_size_t], ctypes.c_void_p
    kind.argtypes = describe.argtypes = [ctypes.c_void_p]
    kind.restype, describe.restype = ctypes.c_int, ctypes.c_char_p
    devices = [get(index) for index in range(libggml.ggml_backend_dev_count())]
    return [describe(device).decode("utf-8", "replace") for device in devices if kind(device) in types]


def probe(order: Probe) -> TargetFacts:
    """The features that llama.cpp was built with, and the device that it computes on."""
    facts = TargetFacts(available=False, versions=versions(order.provider))
    llama_log.listen()
    try:
        on_gpu = gpu_layers(order.options) != 0
        # Only checks the options: a probe has no number format.
        attention(order.options, "")
    except Refusal as refusal:
        return replace(facts, message=refusal.message, remedy=refusal.remedy, kind=refusal.kind)
    chosen = device(on_gpu=on_gpu)
    features = llama_cpp.llama_print_system_info().decode("utf-8", "replace").strip(" |")
    return replace(
        facts, available=True, device=chosen, devices=(chosen,), notes=(note("llama-cpp-features", text=features),)
    )


def versions(provider: Provider | None = None) -> dict[str, str]:
    """The versions that the libraries report."""
    reported = {"llama-cpp-python": str(llama_cpp.__version__), "llama.cpp": llama_cpp.llama_version().decode()}
    for name in ("version", "commit"):
        function = getattr(libggml, f"ggml_{name}")
        function.restype = ctypes.c_char_p
        reported[f"ggml {name}"] = function().decode()
    return reported
