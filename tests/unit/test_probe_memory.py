"""A usable target is not tried again in a second run; anything that may have changed it has it tried."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from builders import a_machine
from msgspec.structs import replace

from bench.declare.targets import Target
from bench.prepare import code_digest, probe_memory
from bench.prepare.environments import Environment
from bench.prepare.probe_memory import ProbeMemory
from bench.records import Provider, RuntimeRecord, TargetFacts

HERE = Environment(RuntimeRecord("ort", (), "3", {"onnxruntime": "1.31.1"}, "k"), Path(sys.executable))
CPU = Target("cpu", "ort", "ort", Provider("CPUExecutionProvider"))
USABLE = TargetFacts(True, versions={"onnxruntime": "1.31.1"})


def memory(folder: Path, code: str = "code", **machine: object) -> ProbeMemory:
    return ProbeMemory(folder, a_machine(**machine), Path(code))


def test_what_was_usable_is_recalled_with_all_its_facts(tmp_path):
    assert memory(tmp_path).recall(CPU, HERE) is None
    memory(tmp_path).keep(CPU, HERE, USABLE)
    assert memory(tmp_path).recall(CPU, HERE) == USABLE


def test_what_was_not_usable_is_tried_again_and_forgets_that_it_once_was(tmp_path):
    memory(tmp_path).keep(CPU, HERE, USABLE)
    memory(tmp_path).keep(CPU, HERE, TargetFacts(False, kind="no-device"))
    assert memory(tmp_path).recall(CPU, HERE) is None


def test_another_name_for_the_same_target_is_the_same_and_another_option_is_not(tmp_path):
    memory(tmp_path).keep(CPU, HERE, USABLE)
    assert memory(tmp_path).recall(replace(CPU, name="other"), HERE) == USABLE
    assert memory(tmp_path).recall(replace(CPU, provider=Provider("CPUExecutionProvider", {"a": 1})), HERE) is None


def test_another_machine_package_or_worker_code_has_the_target_tried(tmp_path):
    memory(tmp_path).keep(CPU, HERE, USABLE)
    assert memory(tmp_path, key="another").recall(CPU, HERE) is None
    assert memory(tmp_path, "newer").recall(CPU, HERE) is None
    newer = replace(HERE, record=replace(HERE.record, packages={"onnxruntime": "1.32.0"}))
    assert memory(tmp_path).recall(CPU, newer) is None


def test_after_a_start_of_the_machine_or_with_other_devices_visible_it_is_tried(tmp_path, monkeypatch):
    memory(tmp_path).keep(CPU, HERE, USABLE)
    with monkeypatch.context() as patch:
        patch.setenv("CUDA_VISIBLE_DEVICES", "1")
        assert memory(tmp_path).recall(CPU, HERE) is None
    monkeypatch.setattr(probe_memory, "_boot", lambda: "another")
    assert memory(tmp_path).recall(CPU, HERE) is None


def test_a_server_is_always_tried(tmp_path):
    server = Target("lm-studio", "openai-http", "http", options={"url": "http://127.0.0.1:1234/v1"})
    memory(tmp_path).keep(server, HERE, USABLE)
    assert memory(tmp_path).recall(server, HERE) is None


@pytest.mark.parametrize("content", [b"", b"{", b'{"available": "yes"}', b"\xff"])
def test_a_damaged_file_has_the_target_tried(tmp_path, content):
    memory(tmp_path).keep(CPU, HERE, USABLE)
    (file,) = (tmp_path / probe_memory.FOLDER).iterdir()
    file.write_bytes(content)
    assert memory(tmp_path).recall(CPU, HERE) is None


def test_a_cache_that_cannot_be_written_costs_no_run(tmp_path):
    (tmp_path / probe_memory.FOLDER).write_bytes(b"")
    memory(tmp_path).keep(CPU, HERE, USABLE)
    assert memory(tmp_path).recall(CPU, HERE) is None


# --- digests of code --------------------------------------------------------------------------------------------------


def test_a_digest_is_computed_once_and_again_where_its_file_is_damaged(tmp_path):
    file, computed = tmp_path / "digests.json", []

    def compute() -> str:
        computed.append(1)
        return "abc"

    assert [code_digest.remembered(file, "a", compute) for _ in range(3)] == ["abc"] * 3
    assert len(computed) == 1
    file.write_bytes(b"{")
    assert code_digest.remembered(file, "a", compute) == "abc"
    assert len(computed) == 2


def test_only_the_last_digests_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(code_digest, "MOST_KEPT", 2)
    for key in "abcd":
        code_digest.remembered(tmp_path / "digests.json", key, key.upper)
    assert code_digest._recall(tmp_path / "digests.json") == {"b": "B", "c": "C", "d": "D"}


def test_an_edit_a_name_and_the_border_between_files_change_the_digest_of_bytes(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    seen = set()
    for texts in (("ab", "c"), ("a", "bc"), ("ab", "d")):
        one.write_text(texts[0])
        two.write_text(texts[1])
        seen.add(code_digest.digest_of_bytes(b"", {"one": one, "two": two}))
    seen.add(code_digest.digest_of_bytes(b"", {"one": one, "other": two}))
    assert len(seen) == 4
