"""Wraps a llama.cpp context of the size of a workload: evaluates batches of tokens and gives their logits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import llama_cpp
import numpy as np
import psutil

from bench.worker import llama_log
from bench.worker.feeds import Array

CELLS = 256
"""llama.cpp rounds the cache length of a sequence up to a multiple of this."""
KV_TYPES = {
    "f32": llama_cpp.GGML_TYPE_F32,
    "f16": llama_cpp.GGML_TYPE_F16,
    # llama-cpp-python has no name for it; this is its number in ggml's `enum ggml_type`.
    "bf16": 30,
    "q8_0": llama_cpp.GGML_TYPE_Q8_0,
}
# q8_0 stores 32 values and their scale of two bytes in 34 bytes.
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
    """The size of a context: the sequences, the total tokens of each, and the most tokens of each in one call."""

    rows: int
    length: int
    longest: int

    @property
    def cells(self) -> int:
        """The number of tokens of the cache."""
        return self.rows * -(-self.length // CELLS) * CELLS


@dataclass(frozen=True)
class Settings:
    """The compute settings of a context."""

    threads: int
    kv_type: str
    flash: str
    on_gpu: bool


class TokenBatch:
    """Tokens for one call, the same number for each sequence."""

    def __init__(self, rows: int, columns: int) -> None:
        self.rows, self.columns, self.count = rows, columns, rows * columns
        self.last = [(row + 1) * columns - 1 for row in range(rows)]
        self.native = llama_cpp.llama_batch_init(self.count, 0, 1)
        self.native.n_tokens = self.count
        self._tokens, self._positions = (self._view(name).reshape(rows, columns) for name in ("token", "pos"))
        # Each token belongs to one sequence, and only the last of each sequence needs logits.
        self._view("n_seq_id")[:] = 1
        logits_flags = self._view("logits")
        logits_flags[:] = 0
        logits_flags[self.last] = 1
        for index in range(self.count):
            self.native.seq_id[index][0] = index // columns

    def fill(self, ids: Array, at: int) -> TokenBatch:
        """Set tokens of shape (rows, columns), whose positions start at `at`; gives the batch itself."""
        self._tokens[:] = ids
        self._positions[:] = np.arange(at, at + self.columns)
        return self

    def _view(self, name: str) -> Array:
        view: Array = np.ctypeslib.as_array(getattr(self.native, name), (self.count,))
        return view

    def __del__(self) -> None:
        # `__init__` may have failed before the batch was allocated.
        if hasattr(self, "native"):
            llama_cpp.llama_batch_free(self.native)


class Context:
    """A llama.cpp context with a KV cache of exactly the size of a workload."""

    def __init__(self, model: Any, vocabulary: int, shape: Shape, settings: Settings) -> None:
        self.shape, self.vocabulary = shape, vocabulary
        refuse_beyond_memory(cache_bytes(model, shape, settings.kv_type), settings)
        since = llama_log.mark()
        self.pointer = llama_cpp.llama_init_from_model(model, _parameters(shape, settings))
        if not self.pointer:
            raise error("llama.cpp opened no context", since)
        self._memory = llama_cpp.llama_get_memory(self.pointer)

    def clear(self) -> None:
        """Remove all tokens from the cache."""
        # `False` leaves the old data in the buffers: it is not read again, and clearing it takes time.
        llama_cpp.llama_memory_clear(self._memory, False)

    def logits(self, batch: TokenBatch) -> list[Array]:
        """The logits after the last token of each sequence, as views that are valid until the next call."""
        since = llama_log.mark()
        code = llama_cpp.llama_decode(self.pointer, batch.native)
        if code != 0:
            raise error(f"llama.cpp did not compute: {DECODE_ERRORS.get(code, f'code {code}')}", since)
        return [self._row(index) for index in batch.last]

    def _row(self, index: int) -> Array:
        row: Array = np.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(self.pointer, index), (self.vocabulary,))
        return row

    def __del__(self) -> None:
        # `__init__` may have failed before the context was opened.
        if getattr(self, "pointer", None):
            llama_cpp.llama_free(self.pointer)
            self.pointer = None


def _parameters(shape: Shape, settings: Settings) -> Any:
    parameters = llama_cpp.llama_context_default_params()
    parameters.n_ctx = shape.cells
    parameters.n_seq_max = shape.rows
    parameters.n_batch = shape.rows * shape.longest
    # n_ubatch keeps llama.cpp's default, so that long prompts are split in the same way as for its users.
    parameters.n_ubatch = min(parameters.n_ubatch, parameters.n_batch)
    parameters.n_threads = parameters.n_threads_batch = settings.threads
    parameters.type_k = parameters.type_v = KV_TYPES[settings.kv_type]
    parameters.flash_attn_type = FLASH_ATTENTION[settings.flash]
    # Without this a GPU build computes long prompts on the GPU, even with no layer there.
    parameters.offload_kqv = parameters.op_offload = settings.on_gpu
    return parameters


def cache_bytes(model: Any, shape: Shape, kv_type: str) -> int:
    """The bytes of the keys and values of the workload."""
    heads, layers = llama_cpp.llama_model_n_head_kv(model), llama_cpp.llama_model_n_layer(model)
    width = metadata(model, f"{metadata(model, 'general.architecture')}.attention.key_length")
    depth = int(width) if width else llama_cpp.llama_model_n_embd(model) // llama_cpp.llama_model_n_head(model)
    return int(2 * layers * heads * depth * shape.cells * KV_BYTES[kv_type])


def refuse_beyond_memory(size: int, settings: Settings) -> None:
    """Raise MemoryError for a cache larger than the free memory: the system would kill the process."""
    free = psutil.virtual_memory().available
    # On a GPU the cache is in other memory.
    if size > free and not settings.on_gpu:
        raise MemoryError(f"the KV cache needs {size / 2**20:.0f} MiB, and {free / 2**20:.0f} MiB are free")


def metadata(model: Any, key: str) -> str:
    """A value of the file's metadata as text; an empty text where the key is missing."""
    text = bytes(256)
    length = llama_cpp.llama_model_meta_val_str(model, key.encode(), text, len(text))
    return text[:length].decode("utf-8", "replace") if length > 0 else ""


def error(summary: str, since: int) -> Exception:
    """The exception for a failed call of llama.cpp, with the first error that it logged since the mark."""
    causes = llama_log.errors(since)
    message = f"{summary}: {causes[0]}" if causes else summary
    return MemoryError(message) if any("alloc" in cause for cause in causes) else RuntimeError(message)
