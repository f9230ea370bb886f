"""Files of strangers before a worker sees them: links that lead outside, and brackets without an end."""

from __future__ import annotations

import json
import struct
import tomllib
from pathlib import Path

import pytest

from bench import reading
from bench.declare import draft_text
from bench.errors import SourceError
from bench.prepare.sources import resolve
from bench.records import Source
from bench.shared.onnx_inputs import Dimension, OnnxInput
from bench.shared.protobuf import content, text

DEEP = 100_000


def a_model_with_weights_in(name: str) -> bytes:
    """An ONNX file whose one weight is in another file."""
    weight = text(8, "w") + content(13, text(1, "location") + text(2, name))
    return content(7, content(5, weight))


def find(folder: Path, spec: str) -> Source:
    return resolve(spec, weights="auto", seed=0, cache=folder / "cache", root=folder)


def test_weights_behind_a_link_that_leads_outside_are_refused(tmp_path):
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "m.onnx").write_bytes(a_model_with_weights_in("w.bin"))
    (tmp_path / "model" / "w.bin").symlink_to("../secret")
    with pytest.raises(SourceError, match=r"'w\.bin', which is a link to a file outside its folder"):
        find(tmp_path, "onnx:model/m.onnx")


def test_links_within_one_folder_as_the_hubs_cache_has_them_are_followed(tmp_path):
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / "a").write_bytes(a_model_with_weights_in("w.bin"))
    (tmp_path / "blobs" / "b").write_bytes(b"weights")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "m.onnx").symlink_to("../blobs/a")
    (tmp_path / "model" / "w.bin").symlink_to("../blobs/b")
    assert find(tmp_path, "onnx:model/m.onnx").kind == "onnx"


def test_a_link_to_the_whole_folder_is_the_users_own(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "m.onnx").write_bytes(a_model_with_weights_in("w.bin"))
    (tmp_path / "disk" / "w.bin").write_bytes(b"weights")
    (tmp_path / "model").symlink_to("disk")
    assert find(tmp_path, "onnx:model/m.onnx").kind == "onnx"


def test_lists_in_lists_of_a_gguf_file_are_refused_in_a_sentence(tmp_path):
    header = b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 1) + b"k" + struct.pack("<I", 9)
    (tmp_path / "m.gguf").write_bytes(header + struct.pack("<IQ", 9, 1) * DEEP)
    with pytest.raises(SourceError, match="truncated or damaged"):
        find(tmp_path, "path:m.gguf")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "model.safetensors.index.json"])
def test_json_without_an_end_of_brackets_is_refused_in_a_sentence(tmp_path, name):
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}), encoding="utf-8")
    deep = b"[" * DEEP
    (folder / name).write_bytes(len(deep).to_bytes(8, "little") + deep if name.endswith(".safetensors") else deep)
    with pytest.raises(SourceError, match=r"is not JSON|is not a safetensors file|is no index of shards"):
        find(tmp_path, "path:m")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "model.safetensors.index.json"])
def test_json_of_too_many_values_is_refused_before_it_takes_memory(tmp_path, monkeypatch, name):
    monkeypatch.setattr(reading, "MOST_VALUES", 1000)
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}), encoding="utf-8")
    many = json.dumps({"weight_map": [[]] * 1000}).encode()
    (folder / name).write_bytes(len(many).to_bytes(8, "little") + many if name.endswith(".safetensors") else many)
    with pytest.raises(SourceError, match="holds more than 1,000 values"):
        find(tmp_path, "path:m")


HOSTILE_NAMES = [
    '"',
    '"]\n[runtimes.build]\npython = "/tmp/evil"\n',
    "'''",
    "\\",
    "#",
    "\r\n[providers.evil]",
    "\x00\x1b]0;x\x07",
    "\u2028x",
]


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_no_name_in_a_model_writes_a_table_into_the_matrix_that_is_drafted_for_it(name):
    plain = draft_text.Drafted("m", "onnx-file", "onnx:m.onnx", (OnnxInput("x", "float", (Dimension("n", None),)),))
    named = OnnxInput(name, "float", (Dimension(name, None), Dimension(name, 3)))
    hostile = draft_text.Drafted(name, "onnx-file", f"onnx:{name}.onnx", (named, OnnxInput(name, "int64", None)))
    tables, expected = (tomllib.loads(draft_text.text_of(model)) for model in (hostile, plain))
    assert list(tables["models"]) == [name]
    assert tables["models"][name]["source"] == f"onnx:{name}.onnx"
    assert {key: tables[key] for key in tables if key != "models"} == {
        key: expected[key] for key in expected if key != "models"
    }
