"""A base made again from its record: runtimes by every version, its own code, its own artifacts, and what differs."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from builders import a_cell, a_run
from matrices import MATRIX, matrix_text
from msgspec.structs import replace

from bench.declare.matrix import parse
from bench.gating import text
from bench.gating.remeasured_base import rebuild_differences, recreate
from bench.prepare import environments, worker_code
from bench.prepare.artifacts import Artifacts, RecordedArtifacts, recorded_artifacts
from bench.records import PROTOCOL, Recipe, RuntimeRecord, Source

PACKAGES = {"numpy": "2.4.6", "onnxruntime": "1.31.1", "torch": "2.13.0+cpu"}


def a_runtime(name: str = "ort", packages=PACKAGES, **said) -> RuntimeRecord:
    record = RuntimeRecord(name, ("onnxruntime==1.31.1",), "3.11.7", packages, "0" * 16)
    return replace(record, **said)


def a_base(**said):
    return a_run(a_cell("minilm/fp32/cpu/b1"), **{"matrix_text": MATRIX, "runtimes": {"ort": a_runtime()}, **said})


def made_on_disk(cache: Path, packages) -> None:
    """The runtime `ort` of the matrix as an earlier run would have left it in the cache."""
    runtime = parse(MATRIX).runtimes["ort"]
    folder = cache / "runtimes" / environments.key(runtime)
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").touch()
    (folder / environments.RECORD).write_bytes(msgspec.json.encode(a_runtime(packages=packages)))


def test_a_record_whose_matrix_lacks_a_target_of_its_cells_cannot_be_made_again(tmp_path):
    base = a_run(a_cell("minilm/fp32/gone/b1"), matrix_text=MATRIX, runtimes={"ort": a_runtime()})
    made = recreate(base, tmp_path)
    assert made.matrix is None
    assert text.say(made.reason).endswith("it has no target 'gone' of minilm/fp32/gone/b1")


def test_a_runtime_that_is_gone_is_made_of_every_version_that_was_recorded(tmp_path):
    made = recreate(a_base(), tmp_path).matrix.runtimes["ort"]
    assert made.requires == ("numpy==2.4.6", "onnxruntime==1.31.1", "torch==2.13.0")


def test_a_runtime_that_is_still_there_as_it_was_is_used(tmp_path):
    made_on_disk(tmp_path, PACKAGES)
    assert recreate(a_base(), tmp_path).matrix.runtimes["ort"] == parse(MATRIX).runtimes["ort"]


def test_a_runtime_of_the_same_requirements_and_other_versions_is_not_taken_for_it(tmp_path):
    made_on_disk(tmp_path, {**PACKAGES, "numpy": "2.5.0"})
    assert "numpy==2.4.6" in recreate(a_base(), tmp_path).matrix.runtimes["ort"].requires


def test_an_interpreter_of_the_users_is_used_as_it_is(tmp_path):
    text = matrix_text(('[runtimes.ort]\nrequires = ["onnxruntime==1.31.1"]', '[runtimes.ort]\npython = "/usr/bin/py"'))
    made = recreate(a_base(matrix_text=text), tmp_path).matrix.runtimes["ort"]
    assert (made.python, made.requires) == ("/usr/bin/py", ())


def test_a_matrix_that_cannot_be_read_any_more_says_why(tmp_path):
    found = recreate(a_base(matrix_text=matrix_text(('engine = "torch"', 'engine = "gone"'))), tmp_path)
    assert found.matrix is None
    assert "its matrix cannot be read any more" in text.say(found.reason)
    assert "gone" in text.say(found.reason)


# --- the code that measured -----------------------------------------------------------------------------------------


def test_a_base_that_was_measured_by_todays_code_needs_no_note(tmp_path):
    code = worker_code.stage(tmp_path)
    assert recreate(a_base(code=code.name), tmp_path).notes == ()


def test_the_bases_own_code_is_taken_from_the_cache(tmp_path):
    older = worker_code.stage(tmp_path).rename(tmp_path / "worker" / ("a" * 16))
    (older / "bench" / "worker" / "timing.py").write_text("# another harness", encoding="utf-8")
    found = recreate(a_base(code="a" * 16), tmp_path)
    assert found.code == older
    assert found.notes == ()


def test_code_of_another_protocol_cannot_be_spoken_to(tmp_path):
    older = worker_code.stage(tmp_path).rename(tmp_path / "worker" / ("b" * 16))
    (older / "bench" / "records" / "protocol.py").write_text(f"PROTOCOL = {PROTOCOL - 1}\n", encoding="utf-8")
    found = recreate(a_base(code="b" * 16), tmp_path)
    assert found.code is None
    assert "both sides run under today's" in text.say(found.notes[0])


@pytest.mark.parametrize("name", ["", "../../etc", "c" * 16])
def test_code_that_is_not_there_or_has_no_name_of_ours_is_noted(tmp_path, name):
    found = recreate(a_base(code=name), tmp_path)
    assert found.code is None
    assert len(found.notes) == 1


# --- what differs ---------------------------------------------------------------------------------------------------


def test_what_was_made_again_as_it_was_strays_nowhere():
    assert rebuild_differences(a_base(), a_base()) == ()


def test_another_python_other_packages_and_rebuilt_artifacts_are_said():
    base = a_base(artifacts={"minilm/fp32": "old", "minilm/int8": "same"})
    other = a_runtime(packages={**PACKAGES, "numpy": "2.5.0"}, python="3.12.1")
    again = replace(base, runtimes={"ort": other}, artifacts={"minilm/fp32": "new", "minilm/int8": "same"})
    assert text.sentences(rebuild_differences(base, again)) == (
        "runtime 'ort' of the base has Python 3.12.1, and had 3.11.7",
        "runtime 'ort' of the base has other versions than it had: numpy",
        "built again, by other tools or code than the base's: minilm/fp32",
    )


# --- what the cache still holds ---------------------------------------------------------------------------------------


def an_artifact(cache: Artifacts, what: str):
    def build(folder: Path) -> tuple[str, ...]:
        (folder / "model.onnx").write_text(what, encoding="utf-8")
        return ()

    return cache.ensure("model", {"what": what}, build)


CELL = a_cell("minilm/fp32/cpu/b1", recipe=Recipe("fp32"), format="onnx")


def test_recorded_artifacts_are_found_by_their_keys(tmp_path):
    cache = Artifacts(tmp_path / "artifacts")
    model, reference = an_artifact(cache, "model"), an_artifact(cache, "reference")
    run = a_base(artifacts={"minilm/fp32": model.record.key}, references={"minilm/b1": reference.record.key})
    recorded = recorded_artifacts(run)
    assert recorded.artifact(CELL, cache).folder == model.folder
    assert recorded.reference(CELL, cache).folder == reference.folder
    assert recorded.is_runnable_from_cache(CELL, cache)


def test_what_the_cache_has_lost_does_not_stand(tmp_path):
    cache = Artifacts(tmp_path / "artifacts")
    run = a_base(artifacts={"minilm/fp32": an_artifact(cache, "model").record.key}, references={"minilm/b1": "0" * 24})
    assert not recorded_artifacts(run).is_runnable_from_cache(CELL, cache)


def test_an_engine_that_loads_the_source_itself_does_not_stand_without_it(tmp_path):
    cache = Artifacts(tmp_path / "artifacts")
    key = an_artifact(cache, "model").record.key
    recorded = RecordedArtifacts({"minilm/fp32": key}, {"minilm/b1": key})
    assert not recorded.is_runnable_from_cache(replace(CELL, format=None), cache)


def test_a_key_that_is_a_path_leads_nowhere(tmp_path):
    cache = Artifacts(tmp_path / "artifacts")
    an_artifact(cache, "model").folder.rename(tmp_path / "elsewhere")
    assert RecordedArtifacts({"minilm/fp32": "../elsewhere"}).artifact(CELL, cache) is None


def test_a_source_of_another_digest_is_known_to_differ():
    recorded = RecordedArtifacts(sources={"minilm": "d" * 64})
    assert recorded.differs("minilm", Source("folder", "x", "random", "e" * 64))
    assert not recorded.differs("minilm", Source("folder", "x", "random", "d" * 64))
    assert not recorded.differs("bert", Source("folder", "x", "random", "e" * 64))
