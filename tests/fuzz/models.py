"""Models of others: GGUF, safetensors, ONNX, configurations, and wheels that hold a model."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import importlib
import io
import json
import struct
import zipfile
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from onnx_bytes import an_input, an_onnx_file

from bench.prepare.sources import folder as folders
from bench.prepare.sources import gguf_file, onnx_file, wheel
from bench.shared import onnx_inputs
from bench.shared.protobuf import content as field
from bench.shared.protobuf import number, text
from bench.worker import gguf_config
from bench.worker.formats import _safetensors
from bench.worker.onnx_runtime import onnx_protobuf

from .changes import NUMBERS, changed_bytes, changed_json, changed_message, text_of
from .kind import Kind, bench, chosen

# --- GGUF -------------------------------------------------------------------------------------------------------------


@cache
def sound_gguf() -> list[bytes]:
    """Files of every type of value, and of lists."""
    made: Any = importlib.import_module("test_gguf_file")
    scalars = {f"k.{kind}": struct.pack("<I", kind) + bytes(size) for kind, size in gguf_file.SCALARS.items()}
    nested = (
        struct.pack("<IIQ", 9, 9, 2) + struct.pack("<IQ", 4, 2) + bytes(8) + struct.pack("<IQ", 8, 1) + made.text("a")
    )
    more = {"general.alignment": made.whole_number(64), "split.count": struct.pack("<IH", 2, 1), "l": nested}
    return [made.a_file(), made.a_file(made.KEYS | scalars | more), made.a_file({}), made.a_file(version=2)]


def changed_gguf(content: bytes, random: Random) -> bytes:
    """The file with another number in place of a count, a length, a type or a size; else with changed bytes."""
    if random.random() < 0.5 or len(content) < 32:
        return changed_bytes(content, random)
    data = bytearray(content)
    for _ in range(random.choice((1, 1, 2))):
        form = random.choice(["<I", "<Q", "<H"])
        size = struct.calcsize(form)
        at = random.randrange(4, len(data) - size)
        # Numbers stand at any place, and most are small: where one is, another is put.
        places = [p for p in range(4, len(data) - 8) if data[p] and not any(data[p + 1 : p + 4])]
        at = random.choice(places) if places and random.random() < 0.8 else at
        value = random.choice((*NUMBERS, *range(16), random.randrange(len(data) + 1))) % 256**size
        data[at : at + size] = struct.pack(form, value)
    return bytes(data)


def read_gguf(folder: Path, content: bytes) -> None:
    """The outline of a GGUF file, and a matrix that is drafted for it."""
    path = folder / "m.gguf"
    path.write_bytes(content)
    gguf_file.check(path)
    if chosen(content).random() < 0.1:
        bench(folder, "init", str(path))


METADATA: list[dict[str, Any]] = [
    {
        "general.architecture": architecture,
        f"{architecture}.context_length": 4096,
        f"{architecture}.embedding_length": 64,
        f"{architecture}.block_count": 2,
        f"{architecture}.feed_forward_length": 128,
        f"{architecture}.attention.head_count": 4,
        f"{architecture}.attention.head_count_kv": 2,
        f"{architecture}.attention.layer_norm_rms_epsilon": 1e-5,
        f"{architecture}.rope.dimension_count": 16,
        f"{architecture}.rope.freq_base": 10000.0,
        f"{architecture}.rope.scaling.type": "linear",
        f"{architecture}.rope.scaling.factor": 2.0,
        f"{architecture}.rope.scaling.original_context_length": 2048,
        f"{architecture}.rope.scaling.attn_factor": 1.0,
        f"{architecture}.attention.key_length": 16,
        "tokenizer.ggml.bos_token_id": 1,
    }
    for architecture in ("llama", "qwen2", "qwen3", "phi3")
]
SHAPES = {"token_embd.weight": [300, 64], "output.weight": [300, 64], "blk.0.attn_q.bias": [64]}
FACTORS = {
    "rope_factors_long.weight": [1.5] * 8,
    "rope_factors_short.weight": [1.0] * 8,
    "rope_freqs.weight": [1.0] * 8,
}


@cache
def sound_metadata() -> list[bytes]:
    whole = [[metadata, SHAPES, {}] for metadata in METADATA]
    return [
        text_of(each)
        for each in [
            *whole,
            [METADATA[3] | {"phi3.rope.scaling.attn_factor": 1.0445}, SHAPES, FACTORS],
            [METADATA[0], SHAPES, FACTORS],
        ]
    ]


def changed_values(content: bytes, random: Random) -> bytes:
    """JSON with changed values; it stays JSON."""
    return text_of(changed_json(json.loads(content), random))


def read_metadata(_: Path, content: bytes) -> None:
    """The configuration of a model by the metadata of a GGUF file, as its library hands them over."""
    values = json.loads(content)
    if not (isinstance(values, list) and len(values) == 3 and all(isinstance(part, dict) for part in values)):
        return
    metadata, shapes, factors = values
    # A file holds numbers there, and no shape is without dimensions.
    sizes = {
        name: tuple(s) for name, s in shapes.items() if isinstance(s, list) and s and all(type(n) is int for n in s)
    }
    arrays = {
        name: np.array(numbers, np.float32)
        for name, numbers in factors.items()
        if isinstance(numbers, list) and all(type(n) is float for n in numbers)
    }
    with np.errstate(all="ignore"):
        config = gguf_config.config(metadata, sizes, arrays)
    gguf_config.ends(metadata, {"bos_token_id": "tokenizer.ggml.bos_token_id"}, config["vocab_size"])


# --- safetensors and configurations -----------------------------------------------------------------------------------

HEADER = {
    "w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
    "h": {"dtype": "BF16", "shape": [2, 2], "data_offsets": [8, 16]},
    "e": {"dtype": "F16", "shape": [0], "data_offsets": [16, 16]},
    "__metadata__": {"format": "pt"},
}


@cache
def sound_safetensors() -> list[bytes]:
    return [_safetensors_file(HEADER), _safetensors_file({"w": HEADER["w"]})]


def _safetensors_file(header: Any) -> bytes:
    described = text_of(header)
    return len(described).to_bytes(8, "little") + described + bytes(16)


def changed_safetensors(content: bytes, random: Random) -> bytes:
    """The file with a changed header, whose length fits or lies; else with changed bytes."""
    length = int.from_bytes(content[:8], "little")
    if random.random() < 0.25:
        return changed_bytes(content, random)
    try:
        header = changed_json(json.loads(content[8 : 8 + length]), random)
    except (ValueError, RecursionError):
        return changed_bytes(content, random)
    described = text_of(header)
    size = random.choice((len(described), len(described), len(described), 0, 2**40, 2**64 - 1, 99_999_999))
    return size.to_bytes(8, "little") + described + content[8 + length :]


def read_safetensors(folder: Path, content: bytes) -> None:
    """A file of weights, before a worker starts and in the worker."""
    (folder / "config.json").write_text('{"model_type": "bert"}', encoding="utf-8")
    (folder / "model.safetensors").write_bytes(content)
    folders.read_folder(folder, want_weights=True)
    weights = _safetensors.Weights(folder)
    for name in weights.shapes():
        weights.read(name)


CONFIG = {"model_type": "bert", "architectures": ["BertForCausalLM"], "vocab_size": 100}
INDEX = {"metadata": {"total_size": 16}, "weight_map": {"w": "model-1.safetensors", "v": "model-2.safetensors"}}


@cache
def sound_configs() -> list[bytes]:
    return [text_of(CONFIG), text_of(CONFIG | {"model_type": "whisper"}), text_of(INDEX)]


def changed_config(content: bytes, random: Random) -> bytes:
    """A configuration or an index of shards that is changed as JSON, else as bytes."""
    if random.random() < 0.2:
        return changed_bytes(content, random)
    try:
        return text_of(changed_json(json.loads(content), random))
    except (ValueError, RecursionError):
        return changed_bytes(content, random)


def read_config(folder: Path, content: bytes) -> None:
    """The bytes as `config.json` and as the index of shards."""
    (folder / "config.json").write_bytes(content)
    for shard in ("model-1.safetensors", "model-2.safetensors"):
        (folder / shard).write_bytes(_safetensors_file({"w": HEADER["w"]}))
    if b"weight_map" in content:
        (folder / "config.json").write_bytes(text_of(CONFIG))
        (folder / folders.INDEX).write_bytes(content)
        folders.read_folder(folder, want_weights=True)
        _safetensors.Weights(folder)
    else:
        folders.read_folder(folder, want_weights=False)
        bench(folder, "init", str(folder))


# --- ONNX -------------------------------------------------------------------------------------------------------------


@cache
def sound_onnx() -> list[bytes]:
    """Files with inputs of every kind, nodes with attributes and bodies, and data in other files."""
    dims = (1, "n", "n + 1", None)
    inputs = [an_input("x", dims), an_input("y", (2,), 7), an_input("z", None)]
    location = text(1, "location") + text(2, "w.bin")
    tensor = number(1, 2) + number(2, 1) + text(8, "w") + field(9, bytes(8))
    outside = number(1, 2) + number(2, 1) + text(8, "v") + field(13, location) + number(14, 1)
    body = field(1, text(1, "x") + text(2, "y") + text(4, "Relu"))
    attribute = field(5, text(1, "axis") + number(3, 1)) + field(5, text(1, "then_branch") + field(6, body))
    node = text(1, "x") + text(2, "o") + text(3, "node") + text(4, "If") + attribute + text(7, "custom")
    graph = field(1, node) + text(2, "graph") + field(5, tensor) + b"".join(field(11, value) for value in inputs)
    model = number(1, 9) + text(2, "tests") + field(8, text(1, "") + number(2, 20))
    return [
        an_onnx_file(an_input("x", (1, "n")), an_input("y", (2,)), weights=("w",)),
        model + field(7, graph + field(12, an_input("o", dims))),
        model + field(7, graph + field(5, outside)),
    ]


def changed_onnx(content: bytes, random: Random) -> bytes:
    """A model whose fields are changed, else its bytes."""
    return changed_message(content, random) if random.random() < 0.75 else changed_bytes(content, random)


def read_onnx(folder: Path, content: bytes) -> None:
    """An ONNX file: its data files, its inputs, a matrix that is drafted for it, and its graph as a worker reads it."""
    path = folder / "m.onnx"
    path.write_bytes(content)
    (folder / "w.bin").write_bytes(bytes(8))
    onnx_file.onnx_files(path)
    # Documented: their callers say it in a sentence.
    with contextlib.suppress(ValueError):
        onnx_inputs.symbolic_names(onnx_inputs.read_inputs(path))
    # Of files that ONNX's own parser has read.
    with contextlib.suppress(ValueError):
        graph = onnx_protobuf.read_graph(path)
        assert graph.operators is not None
        onnx_protobuf.fixed_sizes(path, {"x": np.zeros((1, 2))})
        onnx_protobuf.operators(path)
    if chosen(content).random() < 0.15:
        bench(folder, "init", str(path))


# --- wheels -----------------------------------------------------------------------------------------------------------

INFO = "tiny_model-1.0.dist-info"
FILES = {
    "tiny/model/config.json": b'{"model_type": "bert"}',
    "tiny/model/vocab.txt": b"[PAD]\n[UNK]\n",
    "tiny/other.py": b"raise SystemExit\n",
    f"{INFO}/METADATA": b"Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n",
    f"{INFO}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
}
LARGER = FILES | {"tiny/model/z": bytes(100_000)}
NAMES = ("tiny/model/../../x", "/x", "tiny/model/a\\..\\x", "C:/x", "tiny/model/\0", "tiny/model/", "tiny/model/é" * 50)


def _wheel(files: dict[str, bytes], record: bytes | None, random: Random | None = None) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            member = zipfile.ZipInfo(name)
            member.compress_type = zipfile.ZIP_DEFLATED
            # A link, for some.
            member.external_attr = (0o120777 if random and random.random() < 0.2 else 0o100644) << 16
            archive.writestr(member, content)
        if record is not None:
            archive.writestr(f"{INFO}/RECORD", record)
    return out.getvalue()


def _record(files: dict[str, bytes]) -> bytes:
    rows = [f"{INFO}/RECORD,,"]
    for name, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        rows.append(f"{name},sha256={digest},{len(content)}")
    return "\n".join(rows).encode() + b"\n"


@cache
def sound_wheels() -> list[bytes]:
    return [_wheel(FILES, _record(FILES)), _wheel(LARGER, _record(LARGER))]


def changed_wheel(content: bytes, random: Random) -> bytes:
    """A wheel with other names, links, another RECORD or changed bytes."""
    kind = random.random()
    if kind < 0.4:
        return changed_bytes(content, random)
    files = dict(FILES)
    if kind < 0.7:
        name = random.choice(list(files))
        files[random.choice((*NAMES, name + "/x", name))] = files.pop(name)
    if kind < 0.6:
        return _wheel(files, _record(files), random)
    record = changed_bytes(_record(files), random)
    return _wheel(files, random.choice((record, record, record, None)))


def read_wheel(folder: Path, content: bytes) -> None:
    """Unpack a wheel: whatever it says, nothing is written outside its folder, and no link and no code is."""
    path, into = folder / "tiny_model-1.0-py3-none-any.whl", folder / "into"
    path.write_bytes(content)
    into.mkdir()
    try:
        wheel.unpack(path, "tiny/model", into)
    finally:
        assert sorted(each.name for each in folder.iterdir()) == ["into", path.name]
        assert not [each for each in into.rglob("*") if each.is_symlink() or each.suffix == ".py"]


KINDS = (
    Kind("gguf", sound_gguf, changed_gguf, read_gguf),
    Kind("gguf-metadata", sound_metadata, changed_values, read_metadata),
    Kind("safetensors", sound_safetensors, changed_safetensors, read_safetensors),
    Kind("model-config", sound_configs, changed_config, read_config, in_ci=100),
    Kind("onnx", sound_onnx, changed_onnx, read_onnx),
    Kind("wheel", sound_wheels, changed_wheel, read_wheel, in_ci=100),
)
