"""The format `gguf`: writes a GGUF file in FP32, and lets llama.cpp quantize it."""

from __future__ import annotations

import ctypes
import json
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from bench.records import FormatManifest, Note, Tolerance, note
from bench.worker.formats import _gguf_architectures as architectures
from bench.worker.formats import _gguf_tokenizers as tokenizers
from bench.worker.formats._safetensors import Weights
from bench.worker.recipes import Context, recipe
from bench.worker.refusal import Refusal

MANIFEST = FormatManifest(
    base="gguf-f32", from_source=("gguf-as-given",), build_runtime="build", convert_runtime="llama-cpp"
)

MODEL = "model.gguf"
# llama.cpp reports this in its log only.
FALLBACK = re.compile(r"(\d+) of (\d+) tensor\(s\) required fallback quantization")


@recipe("gguf-f32", number_format="fp32")
def gguf_f32(context: Context, out: Path) -> tuple[Note, ...]:
    """Every tensor in FP32, and the model's own tokenizer if llama.cpp supports its kind."""
    # Imported here because the other recipes run in llama.cpp's runtime, which does not have the package.
    import gguf

    with tempfile.TemporaryDirectory(dir=out) as scratch:
        folder = context.generating.folder(context.source, Path(scratch))
        config = json.loads((folder / "config.json").read_text(encoding="utf-8-sig"))
        writer = gguf.GGUFWriter(out / MODEL, architectures.name(config))
        notes = architectures.describe(writer, config)
        notes += tokenizers.write(writer, folder, config["vocab_size"])
        _write(writer, _contents(config, folder))
    return notes


@recipe(
    "gguf-as-given",
    number_format="fp32",
    # Its weights are those of the reference, so only the arithmetic differs: llama.cpp rounds activations to 8 bits.
    # Measured with SmolLM2 (Q4_1) over 4,088 tokens, mean KL divergence / top-1 agreement: 3.2e-3 / 0.96.
    tolerance={"text-generator": Tolerance(max_kl=2e-2, min_top1=0.8)},
)
def gguf_as_given(context: Context, out: Path) -> tuple[Note, ...]:
    """The user's own GGUF file, unchanged; it runs as llama.cpp runs it by default, with a cache in FP16."""
    # Imported here because the other recipes run in llama.cpp's runtime, which does not have the package.
    import gguf

    from bench.worker import gguf_types

    file = Path(context.source.file)
    if not context.source.file or file.suffix != ".gguf":
        remedy = "name a GGUF file as the model's source, or choose another recipe"
        raise Refusal("unsupported", "the model's source is no GGUF file", remedy, "source")
    # A link where the file system has them: the file may be large.
    try:
        (out / MODEL).hardlink_to(file)
    except OSError:
        shutil.copyfile(file, out / MODEL)
    formats = gguf_types.formats(gguf.GGUFReader(file))
    own = gguf_types.number_format(formats)
    return (note("file-format", number_format=own, op_types=formats),) if own != "fp32" else ()


def _contents(config: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The shape and a reader of every tensor, by llama.cpp's name."""
    import gguf

    kind = {name: model for model, name in gguf.MODEL_ARCH_NAMES.items()}[architectures.name(config)]
    names = gguf.get_tensor_name_map(kind, config["num_hidden_layers"])
    return architectures.tensors(config, Weights(folder), names)


def _write(writer: Any, contents: dict[str, Any]) -> None:
    """Write the file, with only one tensor in memory at a time."""
    import gguf
    import numpy as np

    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    for name, (shape, _) in contents.items():
        writer.add_tensor_info(name, shape, np.dtype(np.float32), 4 * int(np.prod(shape)))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    # The format has all descriptions before the data.
    for _, read in contents.values():
        writer.write_tensor_data(read())
    writer.close()


# --- by llama.cpp -----------------------------------------------------------------------------------------------------


@recipe("gguf-f16", number_format="fp16")
def gguf_f16(context: Context, out: Path) -> tuple[Note, ...]:
    """Weights in FP16; norms stay FP32."""
    return _quantized(context, out, "LLAMA_FTYPE_MOSTLY_F16")


@recipe(
    "gguf-q8_0",
    number_format="int8",
    # The limit of INT8 in every format; quantized weights without activations, in blocks of 32, have smaller errors.
    tolerance={"text-generator": Tolerance(max_kl=4e-2, min_top1=0.6)},
)
def gguf_q8_0(context: Context, out: Path) -> tuple[Note, ...]:
    """8 bits in blocks of 32, one FP16 scale each."""
    return _quantized(context, out, "LLAMA_FTYPE_MOSTLY_Q8_0")


@recipe(
    "gguf-q6_k",
    number_format="int6",
    # Measured at 32 positions of two texts, mean KL divergence / top-1 agreement: 5.2e-3 / 0.88.
    tolerance={"text-generator": Tolerance(max_kl=5e-2, min_top1=0.6)},
)
def gguf_q6_k(context: Context, out: Path) -> tuple[Note, ...]:
    """6 bits in blocks of 16, in groups of 256."""
    return _quantized(context, out, "LLAMA_FTYPE_MOSTLY_Q6_K")


@recipe(
    "gguf-q5_k_m",
    number_format="int5",
    # Measured as above: 2.1e-2 / 0.78.
    tolerance={"text-generator": Tolerance(max_kl=0.1, min_top1=0.5)},
)
def gguf_q5_k_m(context: Context, out: Path) -> tuple[Note, ...]:
    """5 bits in groups of 256, half of the values and down projections in 6."""
    return _quantized(context, out, "LLAMA_FTYPE_MOSTLY_Q5_K_M")


@recipe(
    "gguf-q4_k_m",
    number_format="int4",
    # Measured as above: 7.9e-2 / 0.69. With trained weights (SmolLM2, 4,088 tokens): 5.6e-2 / 0.87.
    tolerance={"text-generator": Tolerance(max_kl=0.45, max_kl_random=0.3, min_top1=0.3)},
)
def gguf_q4_k_m(context: Context, out: Path) -> tuple[Note, ...]:
    """4 bits in groups of 256, half of the values and down projections in 6."""
    return _quantized(context, out, "LLAMA_FTYPE_MOSTLY_Q4_K_M")


@recipe(
    "gguf-q4_0",
    number_format="int4",
    # Measured as above: 7.9e-2 / 0.69; 0.59 at the least with one scale each.
    tolerance={"text-generator": Tolerance(max_kl=0.45, max_kl_random=0.3, min_top1=0.3)},
)
def gguf_q4_0(context: Context, out: Path) -> tuple[Note, ...]:
    """4 bits in blocks of 32, one FP16 scale each; the output matrix in 6."""
    return _quantized(context, out, "LLAMA_FTYPE_MOSTLY_Q4_0")


def _quantized(context: Context, out: Path, kind: str) -> tuple[Note, ...]:
    """Let llama.cpp quantize the base artifact. Returns a note on tensors that stay in a wider format."""
    # Imported here because the base artifact's runtime does not have the package.
    import llama_cpp

    from bench.worker import llama_log

    base = context.base
    llama_log.listen()
    since = llama_log.mark()
    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.ftype = getattr(llama_cpp, kind)
    # llama.cpp takes paths in UTF-8 on every system.
    paths = [str(path).encode() for path in (base / MODEL, out / MODEL)]
    if llama_cpp.llama_model_quantize(*paths, ctypes.byref(parameters)) != 0:
        reasons = llama_log.errors(since) or ["llama.cpp gave no reason"]
        raise RuntimeError(f"llama.cpp did not quantize the model: {reasons[-1]}")
    return fallbacks(llama_log.warnings(since))


def fallbacks(warnings: list[str]) -> tuple[Note, ...]:
    """Notes on the tensors that llama.cpp quantized to a wider format, from its warnings."""
    counts = [FALLBACK.search(line) for line in warnings]
    return tuple(note("wider-tensors", tensors=int(match[1]), total=int(match[2])) for match in counts if match)
