"""The task metric of a cell: from its group's samples, with the loss against FP32, in every report."""

from __future__ import annotations

import csv
import io
import math

import pytest
from builders import a_cell, a_failure, a_run, an_observation
from msgspec.structs import replace

from bench.judge import task_values
from bench.judge.outcome import judge
from bench.records import TaskReference, TaskScores, note
from bench.report import metrics, model, task
from bench.report.metric import CellResult
from bench.report.renderers import csv as csv_renderer
from bench.report.renderers import html, markdown

FIRST, SECOND = a_cell("clf/int8/cpu/b1"), a_cell("clf/int8/cpu/b8")


def scores(*right: float, digest: str = "d1", **said) -> TaskScores:
    return TaskScores("accuracy", digest, {"right": right}, **said)


REFERENCE = TaskReference(scores(*[1.0] * 90, *[0.0] * 10), "PyTorch 2.13.0, FP32")
OURS = scores(*[0.0] * 4, *[1.0] * 88, *[0.0] * 8)
"""Four samples are lost, and two are won."""


def judged(task_scores: TaskScores | None, **said):
    run = a_run(FIRST, SECOND, tasks={"clf/b1": REFERENCE}, **said)
    observations = [an_observation(FIRST, 1, task=task_scores), an_observation(SECOND, 1)]
    return run, judge(run, observations)


def test_every_workload_of_a_group_has_the_metric_of_the_one_that_ran_the_samples():
    _, outcomes = judged(OURS)
    for outcome in outcomes:
        result = outcome.task
        assert result is not None
        assert (result.samples, result.value, result.reference) == (100, 0.88, 0.9)
        assert result.loss is not None
        assert (round(result.loss.value, 9), result.fault) == (2.0, None)
        assert result.loss.low < 0 < result.loss.high
        assert (result.needed or 0) > 100


def test_doubts_about_the_labels_stand_beside_the_figures():
    doubted = TaskReference(REFERENCE.scores, REFERENCE.by, (note("labels-from-one"),))
    run = a_run(FIRST, tasks={"clf/b1": doubted})
    result = judge(run, [an_observation(FIRST, 1, task=OURS)])[0].task
    assert result is not None
    assert task.remark(result).endswith("are the labels counted from 1?")
    assert task.remark(replace(result, notes=())).endswith("there are 100")


def test_a_run_without_labels_has_no_metric():
    run = a_run(FIRST)
    assert judge(run, [an_observation(FIRST, 1)])[0].task is None


def test_each_reason_for_no_value_is_said():
    said = [
        (None, "the labelled samples were not run"),
        (
            TaskScores("accuracy", "d1", failure=a_failure("crashed", message="signal 11")),
            "the labelled samples could not be run: crashed: signal 11",
        ),
        (scores(*[1.0] * 100, digest="d2"), "the scores are of other labelled samples than the reference's"),
        (scores(*[1.0] * 99), "the scores are of other labelled samples than the reference's"),
        (
            TaskScores("accuracy", "d1", {"wrong": (1.0,) * 100}),
            "the scores of the labelled samples are missing or not finite",
        ),
    ]
    for given, words in said:
        result = judged(given)[1][0].task
        assert result is not None
        assert (result.value, task.remark(result)) == (None, words)


def test_a_failure_of_the_samples_leaves_the_speed():
    outcome = judged(TaskScores("accuracy", "d1", failure=a_failure("crashed")))[1][0]
    assert outcome.status == "ok"
    assert outcome.speed is not None


def test_the_columns_of_the_metric_are_filled():
    run, outcomes = judged(OURS)
    row = metrics.row(CellResult(run, outcomes[0]))
    assert (row["task_metric"], row["task_value"], row["task_reference"]) == ("accuracy", 0.88, 0.9)
    assert row["task_samples"] == 100
    result = outcomes[0].task
    assert result is not None
    assert result.loss is not None
    assert [row[f"task_loss{end}"] for end in ("", "_low", "_high")] == [
        result.loss.value,
        result.loss.low,
        result.loss.high,
    ]
    names = [column.name for column in metrics.columns()]
    first = names.index("task_metric")
    assert names[first : first + 8] == [
        "task_metric",
        "task_value",
        "task_reference",
        "task_loss",
        "task_loss_low",
        "task_loss_high",
        "task_samples",
        "task_samples_needed",
    ]
    figures = {metric.name: text for metric, text in metrics.figures(CellResult(run, outcomes[0]))}
    assert figures["task_value"] == "88.0 %"
    assert figures["task_loss"].startswith("+2 points (-")


def test_every_report_shows_the_metric_once_for_a_group_and_how_many_samples_it_needs():
    run, outcomes = judged(OURS)
    report = model.build([(run, outcomes)])
    summary, page = markdown.render(report), html.render(report)
    section = summary[summary.index("### Task metrics") : summary.index("### Startup time")]
    assert section.count("clf/int8/cpu") == 1
    for text in (section.replace("\\", ""), page):
        assert "88.0 %" in text
        assert "90.0 %" in text
        assert "samples would show half a point; there are 100" in text
    assert '<section id="task">' in page
    rows = list(csv.DictReader(io.StringIO(csv_renderer.render(report))))
    assert [row["task_value"] for row in rows] == ["0.88", "0.88"]
    without = model.build([(a_run(FIRST), judge(a_run(FIRST), [an_observation(FIRST, 1)]))])
    assert "Task metrics" not in markdown.render(without) + html.render(without)


def test_a_class_of_any_number_takes_no_memory():
    labels = {"label": (2.0**53, 0.0, 5.0), "predicted": (2.0**53, 5.0, -1.0)}
    assert task_values.value("f1", labels) == pytest.approx((1.0 + 0.0 + 0.0) / 3)


def test_columns_of_other_lengths_and_numbers_beyond_use_are_no_scores():
    assert task_values.has_columns("f1", {"label": (1.0, 2.0), "predicted": (1.0, 2.0)})
    assert not task_values.has_columns("f1", {"label": (1.0, 2.0), "predicted": (1.0,)})
    assert not task_values.has_columns("f1", {"label": (1e300,), "predicted": (1.0,)})


def test_a_perplexity_beyond_every_number_is_infinite_and_its_loss_is_known():
    huge, small = ({"nll": (nll, nll, 3 * nll), "tokens": (1.0, 1.0, 1.0)} for nll in (1e6, 1.0))
    assert task_values.value("perplexity", huge) == math.inf
    loss = task_values.paired("perplexity", small, huge)
    assert loss is not None
    assert loss.value == pytest.approx(5 / 3 * (1e6 - 1))
    assert task_values.shown("perplexity", loss).value > 1e300
