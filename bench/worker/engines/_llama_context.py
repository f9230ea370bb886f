"""A llama.cpp context of the size of a workload: evaluates tokens piece by piece and gives their logits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import llama_cpp
import numpy as np
import psutil

from bench.worker import llama_log
from bench.worker.feeds import Array

CELLS = 256
"""llama.cpp rounds the cache of a sequence up to a multiple of it."""
KV_TYPES = {
    "f32": llama_cpp.GGML_TYPE_F32,
    "f16": llama_cpp.GGML_TYPE_F16,
    "bf16": 30,
    "q8_0": llama_cpp.GGML_TYPE_Q8_0,
}
KV_BYTES = {"f32": 4.0, "f16": 2.0, "bf16": 2.0, "q8_0": 34 / 32}
FLASH_ATTENTION = {
    "auto": llama_cpp.LLAMA_FLASH_ATTN_TYPE_AUTO,
    "on": llama_cpp.LLAMA_FLASH_ATTN_TYPE_ENABLED,
    "off": llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED,
}
DECODE_ERRORS = {
    1: "there is no room left in its KV cache",
    2: "it was aborted",
    -1: "the tokens are none of the model's",
}


@dataclass(frozen=True)
class Shape:
    """What a workload asks of a context: sequences, the tokens of each in all, and the most that come at once."""

    rows: int
    length: int
    longest: int

    @property
    def cells(self) -> int:
        """Tokens that the cache has room for."""
        return self.rows * -(-self.length // CELLS) * CELLS


@dataclass(frozen=True)
class Settings:
    """How a context computes."""

    threads: int
    kv_type: str
    flash: str
    on_gpu: bool


class TokenBatch:
    """Tokens that go in at once, the same number for each sequence."""

    def __init__(self, rows: int, columns: int) -> None:
        self.rows, self.columns, self.count = rows, columns, rows * columns
        self.last = [(row + 1) * columns - 1 for row in range(rows)]
        self.native = llama_cpp.llama_batch_init(self.count, 0, 1)
        self.native.n_tokens = self.count
        self._tokens, self._positions = (self._view(name).reshape(rows, columns) for name in ("token", "pos"))
        self._view("n_seq_id")[:] = 1
        logits_flags = self._view("logits")
        logits_flags[:] = 0
        logits_flags[self.last] = 1
        for index in range(self.count):
            self.native.seq_id[index][0] = index // columns

    def fill(self, ids: Array, at: int) -> TokenBatch:
        """Put in tokens of shape (rows, columns), which stand at the position `at` and after it."""
        self._tokens[:] = ids
        self._positions[:] = np.arange(at, at + self.columns)
        return self

    def _view(self, name: str) -> Array:
        view: Array = np.ctypeslib.as_array(getattr(self.native, name), (self.count,))
        return view

    def __del__(self) -> None:
        if hasattr(self, "native"):
            llama_cpp.llama_batch_free(self.native)


class Context:
    """A KV cache of just the size that a workload needs, and the means to compute with it."""

    def __init__(self, model: Any, vocabulary: int, shape: Shape, settings: Settings) -> None:
        self.shape, self.vocabulary = shape, vocabulary
        refuse_beyond_memory(cache_bytes(model, shape, settings.kv_type), settings)
        since = llama_log.mark()
        self.pointer = llama_cpp.llama_init_from_model(model, _parameters(shape, settings))
        if not self.pointer:
            raise error("llama.cpp opened no context", since)
        self._memory = llama_cpp.llama_get_memory(self.pointer)

    def clear(self) -> None:
        """Forget all tokens."""
        llama_cpp.llama_memory_clear(self._memory, False)

    def logits(self, batch: TokenBatch) -> list[Array]:
        """For each sequence those after its last token: views that hold until the next call."""
        since = llama_log.mark()
        code = llama_cpp.llama_decode(self.pointer, batch.native)
        if code != 0:
            raise error(f"llama.cpp did not compute: {DECODE_ERRORS.get(code, f'code {code}')}", since)
        return [self._row(index) for index in batch.last]

    def _row(self, index: int) -> Array:
        row: Array = np.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(self.pointer, index), (self.vocabulary,))
        return row

    def __del__(self) -> None:
        if getattr(self, "pointer", None):
            llama_cpp.llama_free(self.pointer)
            self.pointer = None


def _parameters(shape: Shape, settings: Settings) -> Any:
    parameters = llama_cpp.llama_context_default_params()
    parameters.n_ctx = shape.cells
    parameters.n_seq_max = shape.rows
    parameters.n_batch = shape.rows * shape.longest
    # n_ubatch stays llama.cpp's own: longer prompts are computed in pieces of it, as its users see them.
    parameters.n_ubatch = min(parameters.n_ubatch, parameters.n_batch)
    parameters.n_threads = parameters.n_threads_batch = settings.threads
    parameters.type_k = parameters.type_v = KV_TYPES[settings.kv_type]
    parameters.flash_attn_type = FLASH_ATTENTION[settings.flash]
    # Else a build with a GPU computes long prompts there although no layer is.
    parameters.offload_kqv = parameters.op_offload = settings.on_gpu
    return parameters


def cache_bytes(model: Any, shape: Shape, kv_type: str) -> int:
    """What keys and values of the workload take."""
    heads, layers = llama_cpp.llama_model_n_head_kv(model), llama_cpp.llama_model_n_layer(model)
    width = metadata(model, f"{metadata(model, 'general.architecture')}.attention.key_length")
    depth = int(width) if width else llama_cpp.llama_model_n_embd(model) // llama_cpp.llama_model_n_head(model)
    return int(2 * layers * heads * depth * shape.cells * KV_BYTES[kv_type])


def refuse_beyond_memory(size: int, settings: Settings) -> None:
    """MemoryError for a cache that is larger than what is free: llama.cpp would fill it, and the system kill."""
    free = psutil.virtual_memory().available
    if size > free and not settings.on_gpu:
        raise MemoryError(f"the KV cache needs {size / 2**20:.0f} MiB, and {free / 2**20:.0f} MiB are free")


def metadata(model: Any, key: str) -> str:
    """A value of the file's metadata as text; nothing where it has none."""
    text = bytes(256)
    length = llama_cpp.llama_model_meta_val_str(model, key.encode(), text, len(text))
    return text[:length].decode("utf-8", "replace") if length > 0 else ""


def error(summary: str, since: int) -> Exception:
    """The exception for what llama.cpp would not do, with the cause that it logged."""
    causes = llama_log.errors(since)
    message = f"{summary}: {causes[0]}" if causes else summary
    return MemoryError(message) if any("alloc" in cause for cause in causes) else RuntimeError(message)
