"""The cache of a decoder: the tensors that one step writes and the next one reads, with the shape of their buffers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from bench.worker.genai_config import Export
from bench.worker.onnx_runtime.onnx_protobuf import Value
from bench.worker.refusal import Refusal


@dataclass(frozen=True)
class CacheTensor:
    """One tensor of the cache: keys or values of a layer, or a state whose size does not depend on the tokens."""

    past: str
    """The name of the decoder's input."""
    present: str
    """The name of the output that replaces it."""
    element: str
    """The element type, `float16`."""
    dims: tuple[int, ...]
    """The sizes of all axes; those of the batch and of the tokens are 1."""
    token_axis: int | None
    """The axis that counts tokens; None for a state of a convolution or of a recurrent layer."""
    window: int = 0
    """The number of tokens that a layer with a sliding window attends to; 0 without one."""

    def shape(self, batch: int, tokens: int) -> list[int]:
        """The shape of its buffer for `tokens` tokens."""
        sizes = [batch, *self.dims[1:]]
        if self.token_axis is not None:
            sizes[self.token_axis] = tokens
        return sizes

    def room(self, tokens: int) -> int:
        """The number of tokens that a buffer needs room for, where past and present share it."""
        # The kernel of a sliding window refuses a buffer that is shorter than its window.
        return max(tokens, self.window)

    def elements(self, batch: int, tokens: int) -> int:
        """The number of elements of its buffer."""
        return prod(self.shape(batch, tokens))


def read(export: Export, values: Mapping[str, Value]) -> tuple[CacheTensor, ...]:
    """The tensors of the cache of a decoder with these inputs and outputs.

    Raises Refusal for a cache whose shape the file does not say.
    """
    return tuple(_tensor(export, values[past], present, layer) for past, present, layer in export.cache(values))


def _tensor(export: Export, past: Value, present: str, layer: int) -> CacheTensor:
    dims = list(past.dims)
    # The builder of onnxruntime-genai leaves the width of a head symbolic, for caches that are quantized.
    if export.head_size and len(dims) == 4 and isinstance(dims[3], str):
        dims[3] = export.head_size
    symbolic = [axis for axis, size in enumerate(dims) if axis and isinstance(size, str)]
    if len(symbolic) > 1:
        message = f"the decoder's input {past.name} has a shape that is not understood: {list(past.dims)}"
        raise Refusal("unsupported", message, "export it again, with optimum or with the project's own recipes")
    window = export.window if layer in export.windowed else 0
    sizes = tuple(size if axis and isinstance(size, int) else 1 for axis, size in enumerate(dims))
    return CacheTensor(past.name, present, past.element, sizes, symbolic[0] if symbolic else None, window)
