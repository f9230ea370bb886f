"""Labelled samples in real worker processes of the fake engine: scores, and every way in which none come."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from fake_runs import FakeRun, a_fake_run
from msgspec.structs import replace

from bench.measure.visits import Visitor
from bench.prepare.artifacts import Artifact
from bench.records import ArtifactRecord, TaskOptions, TaskReference, TaskScores
from bench.worker import feeds
from bench.worker.labelled import sets
from bench.worker.labelled.sets import LabelledSet


def with_labels(run: FakeRun, folder: Path) -> FakeRun:
    """The run with the inputs of each workload as labelled samples, all of which the reference gets right."""
    scores, labelled = {}, {}
    for (model, workload), reference in run.prepared.references.items():
        batches = feeds.load(reference.folder / "inputs.npz")
        outputs = feeds.load(reference.folder / "outputs.npz")
        labels = [int(best) for batch in outputs for best in next(iter(batch.values())).argmax(axis=1)]
        out = folder / f"labelled-{workload}"
        out.mkdir()
        task = TaskOptions("accuracy", "samples", digest="d1")
        sets.save(out, LabelledSet(batches, len(labels), labels), task, lambda part: None)
        known = TaskReference(TaskScores("accuracy", "d1", {"right": (1.0,) * len(labels)}), "a test")
        (out / sets.SCORES).write_bytes(msgspec.json.encode(known))
        labelled[model, workload] = Artifact(ArtifactRecord("l", "reference", {}, {}, 0, 0.0, ""), out)
        scores[f"{model}/{workload}"] = known
    run.prepared.labelled = labelled
    return replace(run, run=replace(run.run, tasks=scores))


@pytest.fixture
def assessed(tmp_path, strange_engines):
    """The scores of the first cell of a run in a mode."""

    def assess(mode: str, **settings: object) -> TaskScores:
        run = with_labels(a_fake_run(tmp_path, mode, (3,), **settings), tmp_path)
        visitor = Visitor(run.matrix, run.run, run.prepared, run.settings, lambda observation: None)
        try:
            folder = visitor.labelled(run.cells[0])
            assert folder is not None
            return visitor.assess(run.cells[0], folder)
        finally:
            visitor.close()

    return assess


def test_a_right_engine_gets_every_sample_right(assessed):
    scores = assessed("obeys")
    assert scores.failure is None
    assert (scores.metric, scores.digest) == ("accuracy", "d1")
    assert set(scores.columns["right"]) == {1.0}
    assert len(scores.columns["right"]) == len(scores.columns["predicted"]) > 1


def test_a_wrong_engine_gets_none_right(assessed):
    assert set(assessed("lies").columns["right"]) == {0.0}


def test_an_engine_without_numbers_predicts_no_class(assessed):
    assert set(assessed("gives-nan").columns["predicted"]) == {-1.0}


@pytest.mark.parametrize(
    ("mode", "status", "words"),
    [
        ("raises", "failed", "the kernel said no"),
        ("refuses", "unsupported", "this engine does not take that model"),
        ("segfaults", "crashed", ""),
    ],
)
def test_what_goes_wrong_is_a_failure_of_the_samples(assessed, mode: str, status: str, words: str):
    scores = assessed(mode)
    assert scores.failure is not None
    assert scores.failure.status == status
    assert words in scores.failure.message
    assert scores.columns == {}
    assert scores.digest == "d1"


def test_a_session_that_hangs_ends_with_the_time_limit(assessed):
    scores = assessed("hangs", timeout_s=3.0)
    assert scores.failure is not None
    assert scores.failure.kind == "timeout"


def test_one_workload_runs_the_samples_of_its_group(tmp_path, strange_engines):
    run = with_labels(a_fake_run(tmp_path, "obeys", (1, 2)), tmp_path)
    visitor = Visitor(run.matrix, run.run, run.prepared, run.settings, lambda observation: None)
    assert [visitor.labelled(cell) is not None for cell in run.cells] == [True, False]
    # The next one takes over where the first could not be prepared.
    del run.prepared.labelled["vit", "b1"]
    assert [visitor.labelled(cell) is not None for cell in run.cells] == [False, True]
    visitor.close()
