"""The table `task` of a model: what it may say, and one sentence for everything else."""

from __future__ import annotations

import pytest
from matrices import a_matrix, matrix_text

from bench.declare.matrix import parse
from bench.errors import MatrixError
from bench.records import TaskOptions

VIT = '[models.vit]\nfamily = "image-classifier"\nsource = "config:vit-tiny"\n'


def complaint(task: str, model: str = VIT) -> str:
    with pytest.raises(MatrixError) as caught:
        parse(matrix_text((VIT, f"{model}task = {task}\n")), "some.toml")
    assert caught.value.hint
    return caught.value.message


def test_samples_labels_and_metric_have_defaults():
    matrix = a_matrix((VIT, f'{VIT}inputs = "path:pictures"\n[models.vit.task]\nlabels = "path:labels.csv"\n'))
    assert matrix.models["vit"].task == TaskOptions("accuracy", "path:pictures", "path:labels.csv")
    assert matrix.models["minilm"].task is None


def test_a_set_of_its_own_with_another_metric():
    task = '{ inputs = "path:val", metric = "f1", classes = ["cat", "dog"], threshold = 0.5 }'
    matrix = a_matrix((VIT, f"{VIT}task = {task}\n"))
    assert matrix.models["vit"].task == TaskOptions("f1", "path:val", classes=("cat", "dog"), threshold=0.5)


def test_a_file_of_labels_in_json_lines_may_have_a_key_of_its_own():
    task = '{ inputs = "path:val", labels = "path:l.jsonl", field = "kind" }'
    matrix = a_matrix((VIT, f"{VIT}task = {task}\n"))
    assert matrix.models["vit"].task == TaskOptions("accuracy", "path:val", "path:l.jsonl", field="kind")


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ('{ labels = "path:labels.csv" }', "models.vit.task has labels and no inputs"),
        ('{ inputs = "val" }', "inputs 'val' of models.vit.task has no known kind"),
        ('{ inputs = "path:val", labels = "labels.csv" }', "labels 'labels.csv' of models.vit.task has no known kind"),
        ('{ inputs = "path:val", metric = "acuracy" }', "unknown metric 'acuracy' for the family 'image-classifier'"),
        ('{ inputs = "path:val", metric = "wer" }', "unknown metric 'wer' for the family 'image-classifier'"),
        ('{ inputs = "path:val", lables = "path:x" }', "unknown key 'lables' in models.vit.task"),
        ('{ inputs = "path:val", labels = "path:x", field = "y" }', "models.vit.task has both labels and field"),
        ('{ inputs = "path:val", output = "y" }', "models.vit.task.output is for ONNX files"),
        ('{ inputs = "path:val", classes = ["a", "a"] }', "models.vit.task.classes names a class twice"),
        ('{ inputs = "path:val", threshold = nan }', "models.vit.task.threshold is nan"),
        ('{ inputs = "path:val", tokens = 64 }', "models.vit.task.tokens is for perplexity"),
        ('{ inputs = "path:val", labels = "" }', "labels '' of models.vit.task has no known kind"),
        ('{ inputs = "path:val", classes = ["a", " "] }', "models.vit.task.classes holds an empty name"),
        ('{ inputs = "path:val", metric = "top5", threshold = 0.5 }', "models.vit.task.threshold has no meaning of"),
        (
            '{ inputs = "path:val", classes = ["a", "b", "c"], threshold = 0.5 }',
            "models.vit.task.threshold has no meaning beside 3 classes",
        ),
        ('"path:val"', "'models.vit.task' is no table"),
    ],
)
def test_a_mistake_is_one_sentence_with_its_place(task: str, message: str):
    assert complaint(task).startswith(message)


def test_keys_of_another_kind_of_samples():
    model = '[models.vit]\nfamily = "text-generator"\nsource = "config:llama-tiny"\n'
    recipes = ('image-classifier = "fp32"\n', 'image-classifier = "fp32"\ntext-generator = "genai-fp32"\n')

    def said(task: str) -> str:
        with pytest.raises(MatrixError) as caught:
            parse(matrix_text((VIT, f"{model}task = {task}\n"), recipes), "some.toml")
        return caught.value.message

    assert "task.classes is for classes" in said('{ inputs = "path:t.txt", classes = ["a"] }')
    refused = said('{ inputs = "path:q.jsonl", metric = "exact-match", labels = "path:l.txt" }')
    assert "task.labels is not read for 'exact-match'" in refused
    assert "task.threshold is for classes" in said('{ inputs = "path:t.txt", threshold = 0.0 }')
    assert "task.tokens is 0" in said('{ inputs = "path:t.txt", metric = "perplexity", tokens = 0 }')
    assert "a text is its own label" in said('{ inputs = "path:t.txt", labels = "path:l.txt" }')


def test_clips_without_a_file_of_labels_have_no_keys():
    model = '[models.vit]\nfamily = "speech-recognizer"\nsource = "config:whisper-nano"\n'
    recipes = ('image-classifier = "fp32"\n', 'image-classifier = "fp32"\nspeech-recognizer = "genai-fp32"\n')
    with pytest.raises(MatrixError, match=r"models\.vit\.task\.field names a key"):
        parse(matrix_text((VIT, f'{model}task = {{ inputs = "path:clips", field = "text" }}\n'), recipes), "some.toml")
