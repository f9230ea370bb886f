"""GGUF files as sources: whole ones have a digest, broken ones are refused in one sentence before a worker starts."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path
from typing import Any

import pytest

from bench.errors import SourceError
from bench.prepare.sources import gguf_file, resolve
from bench.prepare.sources.gguf_file import check
from bench.records import Source


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def a_header(keys: dict[str, bytes], tensors: list[bytes] | None = None, version: int = 3) -> bytes:
    listed = tensors or []
    body = b"".join(text(name) + value for name, value in keys.items()) + b"".join(listed)
    return b"GGUF" + struct.pack("<IQQ", version, len(listed), len(keys)) + body


def whole_number(value: int) -> bytes:
    return struct.pack("<II", 4, value)


KEYS = {
    "general.architecture": struct.pack("<I", 8) + text("llama"),
    "tokenizer.ggml.tokens": struct.pack("<IIQ", 9, 8, 2) + text("a") + text("b"),
    "tokenizer.ggml.scores": struct.pack("<IIQ", 9, 6, 2) + struct.pack("<ff", 0.5, 1.5),
    "llama.block_count": whole_number(2),
}


def a_tensor(name: str, shape: tuple[int, ...], kind: int, start: int) -> bytes:
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, start)


def a_file(keys: dict[str, bytes] = KEYS, **changes: Any) -> bytes:
    """A file of an FP32 tensor of 64 bytes, and one of 64 numbers in Q4_0: 36 bytes."""
    header = a_header(keys, [a_tensor("a", (16,), 0, 0), a_tensor("b", (64,), 2, 64)], **changes)
    return header + b"\0" * (-len(header) % 32) + b"\1" * 100


@pytest.fixture
def find(tmp_path: Path) -> Any:
    def call(spec: str, **asked: Any) -> Source:
        return resolve(spec, **({"weights": "auto", "seed": 0, "cache": tmp_path / "c", "root": tmp_path} | asked))

    return call


def test_a_file_is_a_source_whatever_its_name_is(find, tmp_path):
    (tmp_path / "a.gguf").write_bytes(a_file())
    shutil.copy(tmp_path / "a.gguf", tmp_path / "b.gguf")
    source = find("path:a.gguf")
    assert (source.kind, source.weights, source.path) == ("file", "pretrained", str(tmp_path / "a.gguf"))
    assert find("path:b.gguf").digest == source.digest
    (tmp_path / "b.gguf").write_bytes(a_file()[:-1] + b"\2")
    assert find("path:b.gguf").digest != source.digest


def test_a_file_can_be_pinned_and_has_weights_of_its_own(find, tmp_path):
    (tmp_path / "a.gguf").write_bytes(a_file())
    with pytest.raises(SourceError, match="has SHA-256"):
        find("path:a.gguf", sha256="0" * 64)
    with pytest.raises(SourceError, match="has weights of its own"):
        find("path:a.gguf", weights="random")


WHOLE = a_file()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is no GGUF file: it has 0 bytes"),
        (b"PK\3\4" + b"\0" * 40, "is no GGUF file"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (WHOLE[:-1], rf"is truncated: {len(WHOLE) - 1} of at least {len(WHOLE)} bytes"),
        (WHOLE[:90], r"is truncated or damaged \(it ends within its header\)"),
        (a_file(version=1), "is GGUF of version 1"),
        (a_file(version=3 << 24), "on a little-endian machine"),
        (a_file(KEYS | {"split.count": struct.pack("<IH", 2, 3)}), "is one of 3 parts; .*llama-gguf-split --merge"),
        (a_file(KEYS | {"odd": struct.pack("<I", 99)}), "a value of the type 99"),
    ],
)
def test_a_file_that_cannot_be_used_says_what_is_wrong_with_it(find, tmp_path, content, says):
    (tmp_path / "m.gguf").write_bytes(content)
    with pytest.raises(SourceError, match=says) as caught:
        find("path:m.gguf")
    assert str(caught.value).startswith("source 'path:m.gguf': ")
    assert caught.value.hint


def test_no_cut_of_a_file_passes(tmp_path):
    for end in range(len(WHOLE)):
        (tmp_path / "m.gguf").write_bytes(WHOLE[:end])
        with pytest.raises(SourceError):
            check(tmp_path / "m.gguf")


def test_a_file_that_is_not_there_names_its_neighbours(find, tmp_path):
    (tmp_path / "a.gguf").write_bytes(a_file())
    with pytest.raises(SourceError, match=r"does not exist.*in that folder: a\.gguf"):
        find("path:b.gguf")


def test_a_state_dict_that_is_not_there_is_said(find, tmp_path):
    with pytest.raises(SourceError, match=r"net\.pth does not exist"):
        find("path:net.pth")
    (tmp_path / "net.pth").write_bytes(b"PK")
    assert find("path:net.pth").kind == "file"


def test_a_folder_and_another_file_under_the_name_of_a_gguf_file(find, tmp_path):
    (tmp_path / "beside.gguf").write_bytes(a_file())
    (tmp_path / "folder.gguf").mkdir()
    with pytest.raises(SourceError, match=r"folder\.gguf is a folder, and not a GGUF file") as refused:
        find("path:folder.gguf")
    assert refused.value.hint == "name a .gguf file"
    (tmp_path / "folder.gguf" / "a.gguf").write_bytes(a_file())
    with pytest.raises(SourceError) as refused:
        find("path:folder.gguf")
    assert refused.value.hint == "name a file in it: a.gguf"
    (tmp_path / "renamed.gguf").write_bytes(b"\x08\x0a" * 100)
    with pytest.raises(SourceError, match=r"renamed\.gguf is no GGUF file: it does not begin with") as refused:
        find("path:renamed.gguf")
    assert "convert the model to GGUF" in refused.value.hint


def test_a_header_of_more_parts_than_any_vocabulary_has_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(gguf_file, "MOST_PARTS", 100)
    tokens = struct.pack("<IIQ", 9, 8, 200) + text("") * 200
    (tmp_path / "m.gguf").write_bytes(a_file({"tokenizer.ggml.tokens": tokens}))
    with pytest.raises(SourceError, match="its header has more than 100 parts"):
        check(tmp_path / "m.gguf")
