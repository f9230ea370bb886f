"""Runs the graphs of a genai export step by step; keys and values stay in the device's memory."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime as ort

from bench.records import Provider
from bench.shared import onnx_elements
from bench.worker.feeds import Array, Feed
from bench.worker.genai_config import Export
from bench.worker.onnx_runtime import decoder_cache, onnx_protobuf
from bench.worker.onnx_runtime.devices import SelectedDevice
from bench.worker.refusal import Refusal

ARITHMETIC = {"float32": np.float32, "float16": np.float16}
"""The element types of logits that NumPy can hold."""


@dataclass(frozen=True)
class Memory:
    """Allocates buffers in the memory that a provider computes in, so that binding them needs no copies."""

    kind: str = "cpu"
    index: int = 0
    info: Any = None
    """The OrtMemoryInfo of a provider that is opened by device."""

    def empty(self, shape: list[int], element: str) -> ort.OrtValue:
        """A buffer of this shape and element type; its content is not initialised."""
        number = onnx_elements.NUMBERS[element]
        if self.info is not None:
            return ort.OrtValue.ortvalue_from_shape_and_type(shape, number, memory_info=self.info)
        return ort.OrtValue.ortvalue_from_shape_and_type(shape, number, self.kind, self.index)

    def zeros(self, shape: list[int], element: str) -> ort.OrtValue:
        """A buffer of zeros."""
        value = self.empty(shape, element)
        if math.prod(shape):
            value.update_inplace(np.zeros(shape, element))
        return value


def memory_of(provider: Provider, selected: SelectedDevice) -> Memory:
    """The memory of the selected device; host memory if the provider has no memory of its own."""
    if selected.handle is not None:
        return Memory(info=selected.handle.memory_info(ort.OrtDeviceMemoryType.DEFAULT))
    index = selected.device.index if selected.device else 0
    kind = provider.device_memory
    return Memory(kind, index if kind != "cpu" else 0)


def element(tensor: Any) -> str:
    """The element type of a session's input or output: `float16` for `tensor(float16)`."""
    type_name = str(tensor.type).removeprefix("tensor(").removesuffix(")")
    return {"float": "float32", "double": "float64"}.get(type_name, type_name)


def context(feed: Feed, export: Export) -> Array | None:
    """The tokens before the prompt, or None.

    Raises Refusal for a batch, if attention appends to one buffer: GroupQueryAttention does not support that.
    """
    before = feed.get("context_ids")
    if before is not None and len(before) > 1 and export.shares:
        message = "GroupQueryAttention takes a prompt after a context for one sequence only"
        raise Refusal("unsupported", message, "batch = 1 where there is a context", "batched-context")
    return before


def room(export: Export, length: int) -> int:
    """Return `length`, the tokens of a whole sequence. Raises Refusal if the model's context is shorter."""
    if length > export.context:
        message = f"context, prompt and new tokens are {length}, the model's context is {export.context}"
        raise Refusal("unsupported", message, "ask for fewer tokens", "too-long")
    return length


class Decoder:
    """The session of a decoder, with the names and types of its inputs and outputs."""

    def __init__(self, session: ort.InferenceSession, export: Export, memory: Memory) -> None:
        self.session, self.export, self.memory = session, export, memory
        self.inputs = {tensor.name: tensor for tensor in session.get_inputs()}
        self.outputs = {tensor.name: tensor for tensor in session.get_outputs()}
        names = export.names
        self.ids, self.mask, self.logits = names["input_ids"], names.get("attention_mask"), names["logits"]
        self.positions = names.get("position_ids")
        self.cache = decoder_cache.read(export, onnx_protobuf.read_graph(export.decoder).values)
        self.cross = [
            names[role] % layer
            for role in ("cross_past_key_names", "cross_past_value_names")
            if role in names
            for layer in range(export.layers)
        ]
        self._refuse_unknown()
        self.ids_type = element(self.inputs[self.ids])
        self.logits_type = ARITHMETIC[element(self.outputs[self.logits])]
        self.masked, self.positioned = self.mask in self.inputs, self.positions in self.inputs
        # Some exports compute logits for the last token of a prompt only.
        self.last_only = self.outputs[self.logits].shape[1] == 1
        self.vocabulary = _vocabulary(self.outputs[self.logits])

    def _refuse_unknown(self) -> None:
        known = {self.ids, self.mask, self.positions, *self.cross, *(tensor.past for tensor in self.cache)}
        if odd := sorted(set(self.inputs) - known):
            message = f"the decoder has an input that plain onnxruntime is not given here: {odd[0]}"
            raise Refusal("unsupported", message, "use the engine genai for this architecture")
        if element(self.outputs[self.logits]) not in ARITHMETIC:
            message = f"the logits are {element(self.outputs[self.logits])}, which NumPy has not"
            raise Refusal("unsupported", message, "use the engine genai for this precision")


def _vocabulary(logits: Any) -> int:
    size = logits.shape[2]
    if not isinstance(size, int):
        raise Refusal("unsupported", "the export does not say how large its vocabulary is", "export it again")
    return size


class State:
    """The cache and the bindings of one generation of up to `length` tokens.

    Each step binds only what changes: the tokens, their mask, and the cache if past and present are separate buffers.
    """

    def __init__(self, decoder: Decoder, batch: int, length: int) -> None:
        self.decoder, self.batch, self.length = decoder, batch, length
        self.position = 0
        # Without a binding onnxruntime would copy the cache to the host and back at every step.
        self.binding = decoder.session.io_binding()
        self.options = ort.RunOptions()
        self.last_logits: Array = np.empty((0, 0, 0))
        # The same buffer as past and present: attention appends to it in place, without a copy of the cache.
        shares = decoder.export.shares
        self.shared = [tensor for tensor in decoder.cache if shares and tensor.token_axis is not None]
        self.renewed = [tensor for tensor in decoder.cache if tensor not in self.shared]
        try:
            self._bind_cache()
        # onnxruntime does not say what the memory was for.
        except MemoryError as error:
            raise MemoryError(f"no memory for a key-value cache of {self.length} tokens ({error})") from error

    def _bind_cache(self) -> None:
        """Bind a buffer of the whole length for each tensor that shares one, and an empty past for the others."""
        for tensor in self.shared:
            buffer = self.decoder.memory.empty(tensor.shape(self.batch, tensor.room(self.length)), tensor.element)
            self.binding.bind_ortvalue_input(tensor.past, buffer)
            self.binding.bind_ortvalue_output(tensor.present, buffer)
        for tensor in self.renewed:
            past = self.decoder.memory.zeros(tensor.shape(self.batch, 0), tensor.element)
            self.binding.bind_ortvalue_input(tensor.past, past)

    def give(self, values: dict[str, ort.OrtValue]) -> None:
        """Bind the encoder's outputs; they are the same for all steps."""
        for name, value in values.items():
            self.binding.bind_ortvalue_input(name, value)

    def run(self, tokens: Array) -> Array:
        """Append tokens, integers (batch, n), and return the last token's logits (batch, vocabulary).

        The next call overwrites the returned array.
        """
        fed = tokens.shape[1]
        if self.position + fed > self.length:
            raise ValueError(f"{self.position + fed} tokens do not fit into a cache for {self.length}")
        self._bind_tokens(tokens)
        self._bind_logits(fed)
        # A shared cache has its whole length from the start; else each step needs a new output.
        presents = self._bind_presents(self.position + fed)
        self.decoder.session.run_with_iobinding(self.binding, self.options)
        for tensor, value in zip(self.renewed, presents, strict=True):
            self.binding.bind_ortvalue_input(tensor.past, value)
        self.position += fed
        return self.last_logits[:, -1]

    def _bind_tokens(self, tokens: Array) -> None:
        decoder, end = self.decoder, self.position + tokens.shape[1]
        self.binding.bind_cpu_input(decoder.ids, np.ascontiguousarray(tokens, decoder.ids_type))
        if decoder.masked:
            # All ones: the sequences of a batch have equal lengths, so none is padded.
            self.binding.bind_cpu_input(decoder.mask, np.ones((self.batch, end), np.int64))
        if decoder.positioned:
            positions = np.arange(self.position, end, dtype=np.int64)
            self.binding.bind_cpu_input(decoder.positions, np.tile(positions, (self.batch, 1)))

    def _bind_logits(self, fed: int) -> None:
        """Bind a host buffer for the logits; steps of equal length use the same one again."""
        decoder = self.decoder
        rows = 1 if decoder.last_only else fed
        if self.last_logits.shape[1] == rows:
            return
        self.last_logits = np.empty((self.batch, rows, decoder.vocabulary), decoder.logits_type)
        shape, address = list(self.last_logits.shape), self.last_logits.ctypes.data
        # On the host, so that a step ends when its logits are readable there. With an output bound to the device and a
        # call to synchronize, a WebGPU inference of 1.5 s looked like 0.4 ms.
        self.binding.bind_output(decoder.logits, "cpu", 0, decoder.logits_type, shape, address)

    def _bind_presents(self, length: int) -> list[ort.OrtValue]:
        """Bind new buffers for what is not shared; the old ones are freed with their OrtValue."""
        memory = self.decoder.memory
        values = [memory.empty(tensor.shape(self.batch, length), tensor.element) for tensor in self.renewed]
        for tensor, value in zip(self.renewed, values, strict=True):
            self.binding.bind_ortvalue_output(tensor.present, value)
        return values


class Encoder:
    """The session of an audio encoder, whose outputs are the decoder's cross-attention keys and values."""

    def __init__(self, session: ort.InferenceSession, export: Export, memory: Memory) -> None:
        self.session, self.memory = session, memory
        self.features = export.encoded["audio_features"]
        self.kind = element(next(tensor for tensor in session.get_inputs() if tensor.name == self.features))
        self.outputs = {tensor.name: tensor for tensor in session.get_outputs()}
        self.cross = {
            export.names[f"cross_past_{role}_names"] % layer: export.encoded[f"cross_present_{role}_names"] % layer
            for role in ("key", "value")
            for layer in range(export.layers)
        }
        """The name of the encoder's output for each name of a decoder's input."""

    def prepare(self, batch: int) -> tuple[ort.IOBinding, dict[str, ort.OrtValue]]:
        """A binding of the outputs to new buffers, and the buffers by the names of the decoder's inputs."""
        binding = self.session.io_binding()
        buffers = {}
        for name, tensor in self.outputs.items():
            shape = [batch, *(int(size) for size in tensor.shape[1:])]
            buffers[name] = self.memory.empty(shape, element(tensor))
            binding.bind_ortvalue_output(name, buffers[name])
        return binding, {decoder_name: buffers[encoder_name] for decoder_name, encoder_name in self.cross.items()}

    def run(self, binding: ort.IOBinding, features: Array) -> None:
        """Encode the features, float32 (batch, mels, frames), into the buffers of the binding."""
        binding.bind_cpu_input(self.features, np.ascontiguousarray(features, self.kind))
        self.session.run_with_iobinding(binding)
