"""Labelled samples: read, run in batches and scored; each score is computed by hand or by another library."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from onnx_files import FLOAT, INT64, a_file, a_node, onnx
from visits import CPU, HASTE, Recorder, a_provider

from bench.records import (
    Assess,
    Assessed,
    InputOptions,
    Job,
    Label,
    Recipe,
    Source,
    TaskOptions,
    TaskReference,
    TaskScores,
    Tolerance,
    Visit,
)
from bench.worker.families._input_files import Data
from bench.worker.labelled import embeddings, orders, sets, texts
from bench.worker.refusal import Refusal

RNG = np.random.default_rng(1)
CLASSES, WIDTH, COUNT = 7, 16, 41
WEIGHT = RNG.standard_normal((WIDTH, CLASSES)).astype(np.float32)
X = RNG.standard_normal((COUNT, WIDTH)).astype(np.float32)
SCORES = X @ WEIGHT
LABELS = np.where(RNG.random(COUNT) < 0.7, SCORES.argmax(1), RNG.integers(0, CLASSES, COUNT))


def a_classifier(folder: Path, weight: np.ndarray = WEIGHT, output: str = "logits") -> Source:
    nodes = (a_node("MatMul", "x w", output),)
    path = folder / "model.onnx"
    return a_file(
        path, {"x": (FLOAT, ["batch", WIDTH])}, *nodes, weights={"w": weight}, outputs={output: ["batch", CLASSES]}
    )


def a_task(folder: Path, labels: Any = None, **changes: Any) -> TaskOptions:
    """The samples `X` with labels in a .csv file."""
    np.savez(folder / "x.npz", x=changes.pop("x", X))
    lines = LABELS if labels is None else labels
    (folder / "labels.csv").write_text("label\n" + "\n".join(map(str, lines)) + "\n", encoding="utf-8")
    usual = {
        "metric": "accuracy",
        "inputs": str(folder / "x.npz"),
        "labels": str(folder / "labels.csv"),
        "digest": "d1",
    }
    return TaskOptions(**(usual | changes))


def labelled(folder: Path, source: Source, task: TaskOptions, family: str = "onnx-file", **sizes: int) -> TaskReference:
    """The scores of the reference, as `Label` leaves them in `folder/set`."""
    out = folder / "set"
    out.mkdir(exist_ok=True)
    orders.label(Label(family, source, sizes or {"batch": 4}, task, str(out)))
    return msgspec.json.decode((out / sets.SCORES).read_bytes(), type=TaskReference)


def assessed(folder: Path, source: Source, artifact: Path, **sizes: int) -> TaskScores:
    """What ONNX Runtime's session makes of the set in `folder/set`."""
    visit = Visit(
        engine="ort",
        family="onnx-file",
        source=source,
        recipe=Recipe("fp32"),
        tolerance=Tolerance(),
        jobs=(Job("b4", sizes or {"batch": 4}, ""),),
        threads=1,
        effort=HASTE,
        artifact=str(artifact),
        provider=a_provider(CPU),
    )
    channel = Recorder()
    orders.assess(Assess(visit, str(folder / "set")), channel)
    return channel.of(Assessed)[0].scores


def complaint(folder: Path, source: Source, task: TaskOptions, **sizes: int) -> str:
    with pytest.raises(Refusal) as caught:
        labelled(folder, source, task, **sizes)
    assert caught.value.remedy
    return caught.value.message


# --- classes ----------------------------------------------------------------------------------------------------------


def test_accuracy_and_top5_of_every_sample_are_those_of_numpy_whatever_the_batch(tmp_path):
    source, task = a_classifier(tmp_path), a_task(tmp_path)
    # 41 samples fill no whole number of batches of 4.
    columns = labelled(tmp_path, source, task, batch=4).scores.columns
    assert columns["right"] == tuple((SCORES.argmax(1) == LABELS).astype(float))
    best = np.argsort(-SCORES, axis=1)[:, :5]
    assert columns["in_top5"] == tuple((best == LABELS[:, None]).any(axis=1).astype(float))
    assert 0 < sum(columns["right"]) < sum(columns["in_top5"]) < COUNT
    assert labelled(tmp_path, source, task, batch=1).scores.columns == columns


def test_a_session_is_scored_on_the_same_samples_and_a_zeroed_class_is_lost(tmp_path):
    source, task = a_classifier(tmp_path), a_task(tmp_path)
    reference = labelled(tmp_path, source, task).scores
    assert assessed(tmp_path, source, tmp_path) == reference
    broken = WEIGHT.copy()
    broken[:, 3] = 0
    other = tmp_path / "broken"
    other.mkdir()
    a_classifier(other, broken)
    scores = assessed(tmp_path, source, other)
    assert scores.columns["right"] == tuple(((X @ broken).argmax(1) == LABELS).astype(float))
    assert sum(scores.columns["right"]) < sum(reference.columns["right"])


def test_names_of_classes_and_a_field_of_json_lines(tmp_path):
    names = [f"class {place}" for place in range(CLASSES)]
    lines = [json.dumps({"x": x.tolist(), "kind": names[y]}) for x, y in zip(X, LABELS, strict=True)]
    (tmp_path / "x.jsonl").write_text("\n".join(lines), encoding="utf-8")
    task = TaskOptions("accuracy", str(tmp_path / "x.jsonl"), field="kind", classes=tuple(names))
    columns = labelled(tmp_path, a_classifier(tmp_path), task).scores.columns
    assert columns["right"] == tuple((SCORES.argmax(1) == LABELS).astype(float))


def test_one_score_needs_a_threshold(tmp_path):
    nodes = (a_node("MatMul", "x w", "m"), a_node("Sigmoid", "m", "p"))
    inputs, outputs = {"x": (FLOAT, ["batch", WIDTH])}, {"p": ["batch", 1]}
    source = a_file(tmp_path / "m.onnx", inputs, *nodes, weights={"w": WEIGHT[:, :1]}, outputs=outputs)
    right = (SCORES[:, 0] > 0).astype(int)
    assert "one score for each sample" in complaint(tmp_path, source, a_task(tmp_path, right))
    columns = labelled(tmp_path, source, a_task(tmp_path, right, threshold=0.5)).scores.columns
    assert columns["right"] == (1.0,) * COUNT
    assert "in_top5" not in columns


def test_an_output_that_is_the_class_itself(tmp_path):
    nodes = (a_node("MatMul", "x w", "m"), a_node("ArgMax", "m", "y", axis=1, keepdims=0))
    weights, outputs = {"w": WEIGHT}, {"y": ["batch"]}
    source = a_file(tmp_path / "m.onnx", {"x": (FLOAT, ["batch", WIDTH])}, *nodes, weights=weights, outputs=outputs)
    model = onnx.load(source.path)
    model.graph.output[0].type.tensor_type.elem_type = INT64
    onnx.save(model, source.path)
    task = a_task(tmp_path, output="y")
    columns = labelled(tmp_path, source, task).scores.columns
    assert columns["right"] == tuple((SCORES.argmax(1) == LABELS).astype(float))
    assert "in_top5" not in columns
    assert "more than five classes" in complaint(tmp_path, source, a_task(tmp_path, output="y", metric="top5"))


def test_a_sample_without_a_number_is_wrong(tmp_path):
    nodes = (a_node("MatMul", "x w", "m"), a_node("Sqrt", "m", "logits"))
    source = a_file(tmp_path / "m.onnx", {"x": (FLOAT, ["batch", WIDTH])}, *nodes, weights={"w": WEIGHT})
    columns = labelled(tmp_path, source, a_task(tmp_path)).scores.columns
    # The root of a negative score is NaN, and nearly every sample has one.
    negative = (SCORES < 0).any(axis=1)
    assert [value for value, bad in zip(columns["predicted"], negative, strict=True) if bad] == [-1.0] * negative.sum()


def test_a_folder_of_pictures_has_the_names_of_its_folders_as_labels(tmp_path):
    from PIL import Image

    # The mean of a channel decides: red, green or blue.
    nodes = (a_node("ReduceMean", "x axes", "scores", keepdims=0),)
    source = a_file(
        tmp_path / "m.onnx",
        {"x": (FLOAT, ["batch", 3, 8, 8])},
        *nodes,
        weights={"axes": np.array([2, 3])},
        outputs={"scores": ["batch", 3]},
    )
    colours = {"red": (250, 5, 5), "green": (5, 250, 5), "blue": (5, 5, 250)}
    for name, colour in colours.items():
        for number in range(3):
            (tmp_path / "pictures" / name).mkdir(parents=True, exist_ok=True)
            # One blue picture is in the folder of the green ones.
            shown = colours["blue"] if (name, number) == ("green", 0) else colour
            Image.new("RGB", (10, 10), shown).save(tmp_path / "pictures" / name / f"{number}.png")
    task = TaskOptions("accuracy", str(tmp_path / "pictures"), classes=("red", "green", "blue"))
    columns = labelled(tmp_path, source, task, batch=2).scores.columns
    # Sorted by path: blue, green, red.
    assert columns["label"] == (2.0,) * 3 + (1.0,) * 3 + (0.0,) * 3
    assert columns["predicted"] == (2.0,) * 3 + (2.0, 1.0, 1.0) + (0.0,) * 3
    table = "\n".join(f"{name}/{number}.png,{name}" for name in colours for number in range(3))
    (tmp_path / "by-name.csv").write_text(f"file,label\n{table}\n", encoding="utf-8")
    by_file = msgspec.structs.replace(task, labels=str(tmp_path / "by-name.csv"))
    assert labelled(tmp_path, source, by_file, batch=2).scores.columns == columns
    (tmp_path / "pictures" / "alone.png").write_bytes((tmp_path / "pictures" / "red" / "0.png").read_bytes())
    assert "alone.png is in no folder of its class" in complaint(tmp_path, source, task, batch=2)
    assert "has no label of alone.png" in complaint(tmp_path, source, by_file, batch=2)


# --- texts ------------------------------------------------------------------------------------------------------------


def an_encoder(folder: Path) -> Source:
    """Embeddings of ids, from a table: (batch, tokens, 4), with an attention mask that it does not need."""
    table = RNG.standard_normal((32, 4)).astype(np.float32)
    nodes = (
        a_node("Gather", "table input_ids", "h"),
        a_node("Cast", "attention_mask", "m", to=FLOAT),
        a_node("Unsqueeze", "m last", "u"),
        a_node("Mul", "h u", "last_hidden_state"),
    )
    source = a_file(
        folder / "m.onnx",
        {"input_ids": (INT64, ["batch", "seq"]), "attention_mask": (INT64, ["batch", "seq"])},
        *nodes,
        weights={"table": table, "last": np.array([-1])},
        outputs={"last_hidden_state": ["batch", "seq", 4]},
        options=InputOptions(tokenizer=str(a_tokenizer(folder)), length=6),
    )
    np.save(folder / "table.npy", table)
    return source


def a_tokenizer(folder: Path) -> Path:
    tokenizers, transformers = pytest.importorskip("tokenizers"), pytest.importorskip("transformers")
    words = {"<pad>": 0, "<unk>": 1} | {word: place for place, word in enumerate("abcdefgh", 2)}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="<unk>"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(tokenizer_object=made, pad_token="<pad>").save_pretrained(folder / "tok")
    return folder / "tok"


PAIRS = [("a b", "a b c", 4.0), ("a b", "g h", 1.0), ("c d e", "c d f", 3.0), ("e", "h a", 0.5)]


def mean_of(folder: Path, text: str) -> np.ndarray:
    table = np.load(folder / "table.npy")
    return table[["abcdefgh".index(word) + 2 for word in text.split()]].mean(axis=0)


def test_the_similarity_of_a_pair_is_the_cosine_of_the_means_of_its_tokens(tmp_path):
    source = an_encoder(tmp_path)
    lines = [json.dumps({"sentence1": a, "sentence2": b, "score": score}) for a, b, score in PAIRS]
    (tmp_path / "pairs.jsonl").write_text("\n".join(lines), encoding="utf-8")
    task = TaskOptions("spearman", str(tmp_path / "pairs.jsonl"))
    columns = labelled(tmp_path, source, task, batch=3).scores.columns
    expected = []
    for first, second, _ in PAIRS:
        one, two = mean_of(tmp_path, first), mean_of(tmp_path, second)
        expected.append(float(one @ two / np.linalg.norm(one) / np.linalg.norm(two)))
    assert columns["similarity"] == pytest.approx(expected, abs=1e-6)
    assert columns["label"] == (4.0, 1.0, 3.0, 0.5)


def test_ndcg_by_hand():
    # Ranked 3, 1, 2 by similarity: gains 0, 3 and 1 at places 1, 2 and 3; the best order has 3, 1 and 0.
    gained = 3 / np.log2(3) + 1 / np.log2(4)
    best = 3 / np.log2(2) + 1 / np.log2(3)
    assert embeddings.ndcg(np.array([3.0, 1.0, 0.0]), np.array([0.5, 0.1, 0.9])) == pytest.approx(gained / best)
    # A model that answers everything alike has no credit for the order of the file.
    assert embeddings.ndcg(np.array([1.0, 0.0]), np.array([0.5, 0.5])) == pytest.approx(1 / np.log2(3))


def test_words_edits_and_f1_by_hand():
    assert texts.words("Well-known, isn't it?") == ["well", "known", "isnt", "it"]
    assert texts.edits(["the", "cat", "sat"], ["the", "cat", "sat", "on", "the", "mat"]) == 3
    assert texts.edits(["a", "x", "c", "d"], ["a", "b", "c"]) == 2
    assert texts.edits([], ["a", "b"]) == 2
    columns = texts.answer_columns(
        ["\n The Eiffel tower.\nMore", "no idea"], [["eiffel tower", "The tower"], ["Paris"]]
    )
    assert columns["exact"] == [0.0, 0.0]
    # {the, eiffel, tower} and {eiffel, tower}: 2 * 2 / 5; and {the, tower}: the same.
    assert columns["token_f1"] == pytest.approx([0.8, 0.0])
    assert texts.answer_columns(["Paris!"], [["London", "paris"]])["exact"] == [1.0]
    assert texts.speech_columns(["hello word"], ["Hello, world"]) == {"edits": [1.0], "words": [2.0]}


def test_windows_score_each_token_once_with_the_same_context():
    rows = texts.windows(list(range(20)), prompt=4, new=3, most=100, start=None)
    assert rows[:, -3:].ravel().tolist() == list(range(4, 19))
    assert rows[1].tolist() == [3, 4, 5, 6, 7, 8, 9]
    assert texts.windows(list(range(20)), 4, 3, most=5, start=99)[:, 0].tolist() == [99, 99]
    assert len(texts.windows(list(range(6)), 4, 3, 100, None)) == 0


# --- what does not fit ------------------------------------------------------------------------------------------------


def test_labels_of_another_count_range_or_type_are_refused_by_name(tmp_path):
    source = a_classifier(tmp_path)
    assert complaint(tmp_path, source, a_task(tmp_path, LABELS[:-1])) == "labels.csv has 40 labels for 41 samples"
    beyond = [*LABELS[:-1], CLASSES]
    message = complaint(tmp_path, source, a_task(tmp_path, beyond))
    assert message == f"the label of sample 40 is {CLASSES}, and the model has {CLASSES} classes"
    assert "is -1" in complaint(tmp_path, source, a_task(tmp_path, [-1, *LABELS[1:]]))
    assert "label 2 of labels.csv is nan" in complaint(tmp_path, source, a_task(tmp_path, [0, "nan", *LABELS[2:]]))
    assert "the label 0.5 is no class" in complaint(tmp_path, source, a_task(tmp_path, [0.5, *LABELS[1:]]))
    assert "the label 'cat' is a name" in complaint(tmp_path, source, a_task(tmp_path, ["cat"] * COUNT))
    named = a_task(tmp_path, ["cat"] * COUNT, classes=tuple("abcdefg"))
    assert "the label 'cat' is no class of the model, such as a, b, c" in complaint(tmp_path, source, named)


def test_files_that_are_not_trusted_are_refused(tmp_path):
    source, task = a_classifier(tmp_path), a_task(tmp_path)

    def with_labels(path: Path) -> str:
        return complaint(tmp_path, source, msgspec.structs.replace(task, labels=str(path)))

    np.save(tmp_path / "pickled.npy", np.array([{"a": 1}] * COUNT, dtype=object), allow_pickle=True)
    assert "pickled.npy is pickled" in with_labels(tmp_path / "pickled.npy")
    with zipfile.ZipFile(tmp_path / "labels.zip", "w") as archive:
        archive.writestr("../out.csv", "1")
    assert with_labels(tmp_path / "labels.zip") == "labels.zip is no kind of labels that can be read"
    np.save(tmp_path / "nan.npy", np.array([np.nan] * COUNT))
    assert with_labels(tmp_path / "nan.npy") == "nan.npy holds nan as the label of sample 0"
    np.save(tmp_path / "table.npy", np.zeros((COUNT, 2)))
    assert "has the shape [41, 2]" in with_labels(tmp_path / "table.npy")
    np.save(tmp_path / "whole.npy", LABELS)
    whole = msgspec.structs.replace(task, labels=str(tmp_path / "whole.npy"))
    assert sum(labelled(tmp_path, source, whole).scores.columns["right"]) == (SCORES.argmax(1) == LABELS).sum()


def test_a_nan_among_the_samples_is_refused(tmp_path):
    broken = X.copy()
    broken[3, 2] = np.nan
    assert "'x' in x.npz holds a NaN, at [3, 2]" in complaint(
        tmp_path, a_classifier(tmp_path), a_task(tmp_path, x=broken)
    )


def test_samples_without_labels_are_refused(tmp_path):
    task = msgspec.structs.replace(a_task(tmp_path), labels="")
    assert complaint(tmp_path, a_classifier(tmp_path), task) == "x.npz has no labels beside it"
    (tmp_path / "x.jsonl").write_text(json.dumps({"x": X[0].tolist()}), encoding="utf-8")
    task = TaskOptions("accuracy", str(tmp_path / "x.jsonl"))
    assert "no key 'label'" in complaint(tmp_path, a_classifier(tmp_path), task)


def test_pairs_without_scores_are_refused(tmp_path):
    source = an_encoder(tmp_path)

    def of_lines(*lines: dict[str, Any]) -> str:
        (tmp_path / "p.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
        return complaint(tmp_path, source, TaskOptions("spearman", str(tmp_path / "p.jsonl")))

    assert "holds no pairs of sentences" in of_lines({"text": "a"})
    assert "is None" in of_lines({"sentence1": "a", "sentence2": "b"})
    assert "all scores in 'score' of p.jsonl are 1.0" in of_lines({"sentence1": "a", "sentence2": "b", "score": 1})
    assert "'sentence2' is no text" in of_lines({"sentence1": "a", "sentence2": " ", "score": 1})


def test_scores_that_are_all_equal_are_named_by_the_file_that_holds_them(tmp_path: Path) -> None:
    labels = tmp_path / "scores.csv"
    labels.write_text("4\n4\n", encoding="utf-8")
    data = Data(tmp_path / "p.jsonl", records=({"sentence1": "a", "sentence2": "b"},) * 2)
    with pytest.raises(Refusal, match=r"all scores in scores\.csv are 4\.0"):
        embeddings.pairs(data, "score", labels)
