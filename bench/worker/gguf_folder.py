"""Turns a GGUF file into a Hugging Face folder once: weights dequantized to FP32, config and tokenizer."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from safetensors.numpy import save_file
from transformers import AutoConfig, AutoModelForCausalLM

from bench.records import Note, note
from bench.worker import gguf_config, gguf_tokenizer, gguf_types
from bench.worker.formats._gguf_architectures import INTERLEAVED
from bench.worker.formats._safetensors import INDEX, SINGLE_FILE, Tensor
from bench.worker.refusal import Refusal

SHARD_BYTES = 2 * 2**30
"""Only one shard is in memory at a time."""
EXACT = ("F32", "F16", "BF16")
"""Types that hold their numbers as they are, without a scale."""


def convert(file: Path, out: Path) -> tuple[Note, ...]:
    """Write the folder of a GGUF file into `out`.

    The note says which number formats the weights were dequantized from. Raises Refusal for what is not understood.
    """
    try:
        reader = gguf.GGUFReader(file)
    except Exception as error:
        message = f"{file.name} is no GGUF file that can be read ({error})"
        raise Refusal("unsupported", message, "download or convert it again", "unreadable") from error
    metadata = {name: field.contents() for name, field in reader.fields.items() if _is_small(name)}
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    shapes = {name: tuple(int(size) for size in reversed(tensor.shape)) for name, tensor in tensors.items()}
    factors = {name: _values(tensors[name]) for name in gguf_config.FACTORS if name in tensors}
    config = gguf_config.config(metadata, shapes, factors)
    # Named also where the file has none: some classes assume an id of another vocabulary.
    config |= gguf_config.ends(metadata, gguf_tokenizer.ENDS, config["vocab_size"])
    _check_tokens(reader, config["vocab_size"])
    model = _model(config)
    # The exporter of onnxruntime-genai chooses by this name.
    config["architectures"] = [type(model).__name__]
    names = _names(model, config, set(shapes) - set(gguf_config.FACTORS))
    own = model.state_dict()
    gguf_config.check_shapes(config, shapes, {held: own[name].shape for name, held in names.items()})
    _save(_contents(config, tensors, names), out)
    notes = gguf_tokenizer.save(file, metadata, out)
    (out / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
    return (_origin(file, reader), *notes)


def _is_small(name: str) -> bool:
    """Whether a field is no list of tokens: those are read by the tokenizer's own reader."""
    return name not in gguf_tokenizer.LISTS


def _check_tokens(reader: Any, size: int) -> None:
    """Raise Refusal where the tokenizer has ids beyond the embedding; fewer tokens than rows are usual."""
    for key in gguf_tokenizer.LISTS[:2]:
        count = len(reader.fields[key].data) if key in reader.fields else 0
        if count > size:
            message = f"the GGUF file has {count} values in {key}, and its embedding has {size} rows"
            raise Refusal("unsupported", message, gguf_config.DAMAGED, "architecture")


def _model(config: dict[str, Any]) -> Any:
    """The model without memory for its weights."""
    try:
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(AutoConfig.for_model(**config))
    # Each class checks its own configuration, with errors of its own.
    except Exception as error:
        message = f"transformers builds no {config['model_type']} of the sizes in the GGUF file's metadata"
        raise Refusal("unsupported", message, gguf_config.DAMAGED, "architecture") from error


def _names(model: Any, config: dict[str, Any], held: set[str]) -> dict[str, str]:
    """llama.cpp's name of every tensor by Hugging Face's. Raises Refusal unless the file has exactly these."""
    architecture = gguf_config.KINDS[config["model_type"]]
    kind = {name: number for number, name in gguf.MODEL_ARCH_NAMES.items()}[architecture]
    table = gguf.get_tensor_name_map(kind, config["num_hidden_layers"])
    wanted = [name for name in model.state_dict() if not (config["tie_word_embeddings"] and name == "lm_head.weight")]
    names = {name: table.get_name(name, try_suffixes=(".weight", ".bias")) or name for name in wanted}
    missing, others = sorted(set(names.values()) - held), sorted(held - set(names.values()))
    if missing or others:
        what = f"lacks {missing[0]}" if missing else f"has {others[0]}, which {type(model).__name__} does not have"
        count = len(missing) + len(others)
        message = f"the GGUF file {what}" + (f" ({count} tensors differ in all)" if count > 1 else "")
        raise Refusal("unsupported", message, gguf_config.REMEDY, "architecture")
    return names


def _contents(
    config: dict[str, Any], tensors: Mapping[str, Any], names: Mapping[str, str]
) -> Iterator[tuple[str, Tensor]]:
    heads, groups = config["num_attention_heads"], config["num_key_value_heads"]
    interleaved = gguf_config.KINDS[config["model_type"]] in INTERLEAVED
    for name, name_in_gguf in names.items():
        values = _values(tensors[name_in_gguf])
        part = name.split(".")[-2]
        if interleaved and part in ("q_proj", "k_proj"):
            values = in_halves(values, heads if part == "q_proj" else groups)
        yield name, values


def in_halves(rows: Tensor, heads: int) -> Tensor:
    """Put the rows of Q or K in the order of Hugging Face: the first and then the second half of each head."""
    split = rows.reshape(heads, rows.shape[0] // heads // 2, 2, *rows.shape[1:])
    return np.ascontiguousarray(split.swapaxes(1, 2).reshape(rows.shape))


def _values(tensor: Any) -> Tensor:
    """A tensor in FP32."""
    try:
        values: Tensor = gguf.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
    except NotImplementedError as error:
        message = f"the GGUF file holds {tensor.name} as {tensor.tensor_type.name}, which cannot be dequantized here"
        raise Refusal("unsupported", message, gguf_config.REMEDY, "number-format") from error
    return values.reshape(tuple(int(size) for size in reversed(tensor.shape)))


def _save(contents: Iterator[tuple[str, Tensor]], out: Path) -> None:
    """Write one file, or shards with an index where the weights are larger than a shard."""
    shards: list[list[str]] = []
    total = size = 0
    shard: dict[str, Tensor] = {}

    def flush() -> None:
        save_file(shard, out / f"shard-{len(shards)}.safetensors", metadata={"format": "pt"})
        shards.append(list(shard))

    for name, values in contents:
        if shard and size + values.nbytes > SHARD_BYTES:
            flush()
            shard, size = {}, 0
        # A copy that is contiguous: the file holds the bytes as they lie in memory.
        shard[name] = np.ascontiguousarray(values)
        size, total = size + values.nbytes, total + values.nbytes
    flush()
    if len(shards) == 1:
        (out / "shard-0.safetensors").rename(out / SINGLE_FILE)
        return
    places: dict[str, str] = {}
    for number, held in enumerate(shards):
        file = f"model-{number + 1:05d}-of-{len(shards):05d}.safetensors"
        (out / f"shard-{number}.safetensors").rename(out / file)
        places |= dict.fromkeys(held, file)
    index = {"metadata": {"total_size": total}, "weight_map": places}
    (out / INDEX).write_text(json.dumps(index, indent=2), encoding="utf-8")


def _origin(file: Path, reader: Any) -> Note:
    """The number formats that the weights come from, by their share of the weights, largest first."""
    formats = gguf_types.formats(reader)
    if set(formats) <= set(EXACT):
        return note("widened", formats=formats, file=file.name)
    return note("dequantized", formats=formats, file=file.name)
