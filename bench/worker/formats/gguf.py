"""A language model's source in, a GGUF file in FP32 out; and that in, quantized by llama.cpp itself, out."""

from __future__ import annotations

import ctypes
import json
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.worker.formats import _gguf_architectures as architectures
from bench.worker.formats import _gguf_tokenizers as tokenizers
from bench.worker.formats._safetensors import Weights

BUILD_RUNTIME = "genai-build"
BASE = "gguf-f32"
CONVERT_RUNTIME = "llama-cpp"

MODEL = "model.gguf"
FALLBACK = re.compile(r"(\d+) of (\d+) tensor\(s\) required fallback quantization")


def gguf_f32(context: Any, out: Path) -> tuple[str, ...]:
    """Every tensor in FP32, and the model's own tokenizer where llama.cpp knows its kind."""
    # The package is in the runtime of this recipe; the other recipes run in llama.cpp's, which lacks it.
    import gguf

    with tempfile.TemporaryDirectory(dir=out) as scratch:
        folder = context.family.folder(context.source, Path(scratch))
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        writer = gguf.GGUFWriter(out / MODEL, architectures.name(config))
        notes = architectures.describe(writer, config)
        notes += tokenizers.write(writer, folder, config["vocab_size"])
        _write(writer, _contents(config, folder))
    return notes


def _contents(config: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Every tensor by llama.cpp's name."""
    import gguf

    kind = {name: model for model, name in gguf.MODEL_ARCH_NAMES.items()}[architectures.name(config)]
    names = gguf.get_tensor_name_map(kind, config["num_hidden_layers"])
    return architectures.tensors(config, Weights(folder), names)


def _write(writer: Any, contents: dict[str, Any]) -> None:
    """Write the file; of the tensors one at a time is in memory."""
    import gguf
    import numpy as np

    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    for name, (shape, _) in contents.items():
        writer.add_tensor_info(name, shape, np.dtype(np.float32), 4 * int(np.prod(shape)))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for _, read in contents.values():
        writer.write_tensor_data(read())
    writer.close()


# --- by llama.cpp -----------------------------------------------------------------------------------------------------


def gguf_f16(context: Any, out: Path) -> tuple[str, ...]:
    """Weights in FP16; norms stay FP32."""
    return _quantized(context, out, "LLAMA_FTYPE_MOSTLY_F16")


def gguf_q8_0(context: Any, out: Path) -> tuple[str, ...]:
    """8 bits in blocks of 32, one FP16 scale each."""
    return _quantized(context, out, "LLAMA_FTYPE_MOSTLY_Q8_0")


def gguf_q6_k(context: Any, out: Path) -> tuple[str, ...]:
    """6 bits in blocks of 16, in groups of 256."""
    return _quantized(context, out, "LLAMA_FTYPE_MOSTLY_Q6_K")


def gguf_q5_k_m(context: Any, out: Path) -> tuple[str, ...]:
    """5 bits in groups of 256, half of the values and down projections in 6."""
    return _quantized(context, out, "LLAMA_FTYPE_MOSTLY_Q5_K_M")


def gguf_q4_k_m(context: Any, out: Path) -> tuple[str, ...]:
    """4 bits in groups of 256, half of the values and down projections in 6."""
    return _quantized(context, out, "LLAMA_FTYPE_MOSTLY_Q4_K_M")


def gguf_q4_0(context: Any, out: Path) -> tuple[str, ...]:
    """4 bits in blocks of 32, one FP16 scale each; the output matrix in 6."""
    return _quantized(context, out, "LLAMA_FTYPE_MOSTLY_Q4_0")


def _quantized(context: Any, out: Path, kind: str) -> tuple[str, ...]:
    """Have llama.cpp quantize the base artifact; notes say which tensors did not take the format."""
    # The package is in the runtime of these recipes; that of the base artifact lacks it.
    import llama_cpp

    from bench.worker import llama_log

    if context.parent is None:
        raise ValueError(f"{kind} is made from the artifact of {BASE}, and there is none")
    llama_log.listen()
    since = llama_log.mark()
    wanted = llama_cpp.llama_model_quantize_default_params()
    wanted.ftype = getattr(llama_cpp, kind)
    # llama.cpp takes UTF-8 on every system.
    paths = [str(path).encode() for path in (context.parent / MODEL, out / MODEL)]
    if llama_cpp.llama_model_quantize(*paths, ctypes.byref(wanted)) != 0:
        told = llama_log.errors(since) or ["llama.cpp gave no reason"]
        raise RuntimeError(f"llama.cpp did not quantize the model: {told[-1]}")
    return fallbacks(llama_log.warnings(since))


def fallbacks(warnings: list[str]) -> tuple[str, ...]:
    """What llama.cpp's own count of exceptions means."""
    counts = [FALLBACK.search(line) for line in warnings]
    return tuple(
        f"{found[1]} of {found[2]} tensors are in a wider format: their rows do not divide into blocks of this one"
        for found in counts
        if found
    )


RECIPES: dict[str, Callable[..., tuple[str, ...]]] = {
    "gguf-f32": gguf_f32,
    "gguf-f16": gguf_f16,
    "gguf-q8_0": gguf_q8_0,
    "gguf-q6_k": gguf_q6_k,
    "gguf-q5_k_m": gguf_q5_k_m,
    "gguf-q4_k_m": gguf_q4_k_m,
    "gguf-q4_0": gguf_q4_0,
}
