"""Which class an output means, and which a label means; each right value is computed by hand."""

from __future__ import annotations

import json
import wave
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from onnx_files import FLOAT, INT64, UINT8, a_file, a_node, onnx

from bench.records import InputOptions, Label, Source, TaskOptions, TaskReference
from bench.worker.labelled import classes, embeddings, label_files, orders, sets
from bench.worker.output_facts import OutputFacts
from bench.worker.refusal import Refusal

BOOL, STRING = onnx.TensorProto.BOOL, onnx.TensorProto.STRING
# Rows of scores whose best class is 2, 0, 1, 2.
X = np.array([[1, 2, 3], [9, 2, 3], [1, 7, 3], [1, 2, 5]], np.float32)
BEST = [2, 0, 1, 2]


def a_graph(
    path: Path,
    *nodes: Any,
    kind: int = FLOAT,
    shape: list[Any] | None = None,
    inputs: list[Any] | None = None,
    **w: Any,
) -> Source:
    """A graph from `x` to `y`, whose type and shape are these."""
    source = a_file(
        path, {"x": (FLOAT, inputs or ["batch", 3])}, *nodes, weights=w, outputs={"y": shape or ["batch", 3]}
    )
    model = onnx.load(source.path)
    model.graph.output[0].type.tensor_type.elem_type = kind
    onnx.save(model, source.path)
    return source


def scored(source: Source, labels: Any, x: Any = X, batch: int = 2, **task: Any) -> TaskReference:
    folder = Path(source.path).parent
    np.savez(folder / "x.npz", x=x)
    (folder / "labels.csv").write_text("\n".join(map(str, labels)) + "\n", encoding="utf-8")
    usual = {"metric": "accuracy", "inputs": str(folder / "x.npz"), "labels": str(folder / "labels.csv")}
    return labelled(source, TaskOptions(**(usual | task)), batch=batch)


def labelled(source: Source, task: TaskOptions, **sizes: int) -> TaskReference:
    out = Path(source.path).parent / "set"
    out.mkdir(exist_ok=True)
    orders.label(Label("onnx-file", source, sizes, task, str(out)))
    return msgspec.json.decode((out / sets.SCORES).read_bytes(), type=TaskReference)


def right(*arguments: Any, **changes: Any) -> tuple[float, ...]:
    return scored(*arguments, **changes).scores.columns["right"]


def complaint(*arguments: Any, **changes: Any) -> str:
    with pytest.raises(Refusal) as caught:
        scored(*arguments, **changes)
    assert caught.value.status == "unsupported"
    assert caught.value.remedy
    return caught.value.message


# --- outputs ----------------------------------------------------------------------------------------------------------


def test_whole_scores_are_scores_and_not_classes(tmp_path):
    source = a_graph(tmp_path / "m.onnx", a_node("Cast", "x", "y", to=UINT8), kind=UINT8)
    assert right(source, BEST) == (1.0,) * 4
    assert "the model has 3 classes" in complaint(source, [3, *BEST[1:]])


def test_a_row_of_flags_is_the_class_whose_flag_is_set_alone(tmp_path):
    source = a_graph(tmp_path / "m.onnx", a_node("Cast", "x", "y", to=BOOL), kind=BOOL)
    flags = np.array([[0, 0, 1], [1, 0, 0], [0, 1, 1], [0, 0, 0]], np.float32)
    columns = scored(source, [2, 0, 1, 0], flags).scores.columns
    assert columns["predicted"] == (2.0, 0.0, -1.0, -1.0)


def test_one_whole_score_takes_a_threshold(tmp_path):
    source = a_graph(
        tmp_path / "m.onnx", a_node("Cast", "x", "y", to=UINT8), kind=UINT8, shape=["batch", 1], inputs=["batch", 1]
    )
    scores = np.array([[200], [100], [130], [3]], np.float32)
    assert right(source, [1, 0, 1, 0], scores, threshold=128) == (1.0,) * 4


def test_samples_along_the_second_axis_are_scored_as_their_own(tmp_path):
    source = a_graph(tmp_path / "m.onnx", a_node("Transpose", "x", "y", perm=[1, 0]), shape=[3, "batch"])
    assert right(source, BEST) == (1.0,) * 4
    unit = a_graph(tmp_path / "u.onnx", a_node("Unsqueeze", "x a", "y"), shape=[1, "batch", 3], a=np.array([0]))
    assert right(unit, BEST) == (1.0,) * 4
    # Two layers of scores: which of them is meant is not known.
    twice = a_graph(tmp_path / "t.onnx", a_node("Concat", "u u", "y", axis=0), shape=[2, "batch", 3])
    model = onnx.load(twice.path)
    model.graph.node.insert(0, a_node("Unsqueeze", "x a", "u"))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([0]), "a"))
    onnx.save(model, twice.path)
    assert complaint(twice, BEST) == "output 'y' gives each sample values of shape [2, 3], which are no row of classes"


def test_scores_of_places_are_no_classes(tmp_path):
    source = a_graph(tmp_path / "m.onnx", shape=["batch", 3, 2, 2], inputs=["batch", 3, 2, 2])
    model = onnx.load(source.path)
    model.graph.node[0].output[0] = "y"
    onnx.save(model, source.path)
    x = np.zeros((4, 3, 2, 2), np.float32)
    assert "values of shape [3, 2, 2], which are no row of classes" in complaint(source, BEST, x)


def test_the_sorted_values_of_topk_are_no_scores_of_classes(tmp_path):
    source = a_graph(tmp_path / "m.onnx", a_node("TopK", "x k", "y i"), shape=["batch", 2], k=np.array([2]))
    assert complaint(source, BEST) == "output 'y' is what TopK gives, in an order of its own"


def test_a_map_of_scores_has_the_classes_that_are_its_keys():
    outputs = {"p": np.array([[0.1, 0.9], [0.8, 0.2]]), "p.keys": np.array([[1, 2], [1, 2]])}
    task = TaskOptions("accuracy", "", output="p")
    assert classes.best(outputs, {}, task, {"p": OutputFacts()})[:, 0].tolist() == [2, 1]
    named = outputs | {"p.keys": np.array([["cat", "dog"]] * 2)}
    assert classes.best(named, {}, task, {})[:, 0].tolist() == ["dog", "cat"]


def test_embeddings_of_samples_along_the_second_axis():
    hidden = np.arange(24.0).reshape(2, 3, 4)  # tokens, batch, width
    facts = {"h": OutputFacts(axis=1, samples=3)}
    feed = {"attention_mask": np.array([[1, 1], [1, 0], [0, 1]])}
    rows = embeddings.embedding({"h": hidden}, feed, TaskOptions("spearman", ""), facts)
    assert rows.tolist() == [hidden[:, 0].mean(0).tolist(), hidden[0, 1].tolist(), hidden[1, 2].tolist()]


# --- labels -----------------------------------------------------------------------------------------------------------


def an_identity(folder: Path) -> Source:
    return a_graph(folder / "m.onnx", a_node("Identity", "x", "y"))


def test_names_that_are_numbers_are_names(tmp_path):
    source, names = an_identity(tmp_path), ("2", "0", "1")
    assert right(source, [names[place] for place in BEST], classes=names) == (1.0,) * 4
    from_one = ("1", "2", "3")
    assert right(source, [place + 1 for place in BEST], classes=from_one) == (1.0,) * 4
    assert "the label '0' is no class of the model, such as 1, 2, 3" in complaint(source, BEST, classes=from_one)


def test_names_are_compared_as_they_are_written(tmp_path):
    source, names = an_identity(tmp_path), ("a", "A", "b")
    assert right(source, [names[place] for place in BEST], classes=names) == (1.0,) * 4
    assert "the label 'B' is no class" in complaint(source, ["B", "a", "A", "b"], classes=names)
    assert complaint(source, BEST, classes=("a", "b")) == "task.classes has 2 names, and the model has 3 classes"


def test_a_name_of_two_classes_is_refused():
    with pytest.raises(Refusal, match="'crane' is the name of the classes 0 and 2"):
        classes.indices(["crane"], ["crane", "dog", "crane"])


def a_namer(folder: Path, texts: list[str]) -> Source:
    nodes = (a_node("ArgMax", "x", "i", axis=1, keepdims=0), a_node("Gather", "t i", "y"))
    return a_graph(folder / "m.onnx", *nodes, kind=STRING, shape=["batch"], t=np.array(texts, object))


def test_texts_are_compared_as_texts(tmp_path):
    texts = ["01", "1", "x"]
    source = a_namer(tmp_path, texts)
    assert right(source, ["x", "01", "1", "x"]) == (1.0,) * 4
    numbers = a_namer(tmp_path, ["01", "02", "03"])
    assert right(numbers, ["03", "01", "02", "03"]) == (1.0,) * 4
    assert complaint(numbers, [3, 1, 2, 3]) == (
        "the model gives '01', '02', '03', and the labels are '1', '2', '3': none is the same"
    )
    partly = scored(numbers, ["03", "01", "2", "03"])
    (doubt,) = partly.notes
    assert (doubt.kind, doubt.values["count"]) == ("answers-without-label", 1)
    assert list(doubt.values["answers"]) == ["02"]
    assert partly.scores.columns["right"] == (1.0, 1.0, 0.0, 1.0)


def test_classes_counted_from_one_are_a_note(tmp_path):
    source = a_graph(tmp_path / "m.onnx", a_node("ArgMax", "x", "y", axis=1, keepdims=0), kind=INT64, shape=["batch"])
    assert [each.kind for each in scored(source, [place + 1 for place in BEST]).notes] == ["labels-from-one"]
    assert scored(source, BEST).notes == ()


# --- files ------------------------------------------------------------------------------------------------------------


def of_file(path: Path, content: str, count: int = 2, key: str = "label") -> Any:
    path.write_text(content, encoding="utf-8")
    return label_files.of_samples(path, count, key)


def refusal(*arguments: Any, **changes: Any) -> str:
    with pytest.raises(Refusal) as caught:
        of_file(*arguments, **changes)
    assert caught.value.status == "unsupported"
    return caught.value.message


def test_the_key_of_labels_in_json_lines_is_named_or_the_only_one(tmp_path):
    path = tmp_path / "l.jsonl"
    lines = '{"id": 5, "label": "a"}\n{"id": 6, "label": "b"}\n'
    assert of_file(path, lines) == ["a", "b"]
    assert of_file(path, lines, key="id") == [5, 6]
    assert of_file(path, '{"kind": 5}\n{"kind": 6}\n') == [5, 6]
    assert refusal(path, lines, key="score") == "l.jsonl holds id, label, and no key 'score'"
    separated = json.dumps({"label": "a\u2028b"}, ensure_ascii=False)
    assert of_file(path, f"{separated}\n{separated}\r\n") == ["a\u2028b"] * 2


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("l.csv", 'a\n"b\n', "l.csv is no table that can be read: unexpected end of data"),
        ("l.csv", "a\nb\0\n", "l.csv holds a zero byte, so it is no text"),
        ("l.csv", "a.png;1\nb.png;2\n", "l.csv separates its columns by semicolons"),
        ("l.csv", "a\n" + "b" * 200_000, "l.csv is no table that can be read: field larger than field limit (131072)"),
        ("l.jsonl", "[" * 200_000, "line 1 of l.jsonl is JSON of too many levels"),
        (
            "l.jsonl",
            '{"label": 1}\n{"label": 1' + "0" * 400 + "}",
            "label 2 of l.jsonl is too large: 1" + "0" * 56 + "…",
        ),
    ],
)
def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path, name: str, content: str, message: str):
    assert refusal(tmp_path / name, content) == message


@pytest.mark.parametrize("label", ["1e20", "18446744073709551615", "-9e18"])
def test_a_number_that_is_too_large_is_no_class(tmp_path, label: str):
    assert complaint(an_identity(tmp_path), [label, *BEST[1:]]) == f"label 1 is '{label}', which numbers no class"


def test_labels_of_any_size_are_refused_without_an_error():
    with pytest.raises(Refusal, match="which numbers no class"):
        classes.indices([10**400, 1], [])
    with pytest.raises(Refusal, match="a number of thousands of digits"):
        label_files.checked([10**5000])


def test_a_file_of_labels_names_each_file_once(tmp_path):
    root, table = tmp_path / "p", tmp_path / "l.csv"
    files = [root / "a" / "1.png", root / "b" / "1.png", root / "b" / "2.png"]

    def of(*lines: str) -> Any:
        table.write_text("\n".join(lines), encoding="utf-8")
        return label_files.of_pictures(table, files, root)

    assert of("a/1.png,x", "b/1.png,y", "2.png,z") == ["x", "y", "z"]
    with pytest.raises(Refusal, match=r"a label of 1\.png, and 2 files have this name"):
        of("1.png,x", "2.png,z")
    with pytest.raises(Refusal, match=r"a label of b/3\.png, which is not among the samples"):
        of("a/1.png,x", "b/1.png,y", "b/2.png,z", "b/3.png,z")
    with pytest.raises(Refusal, match=r"a label of 2\.png a second time"):
        of("a/1.png,x", "b/1.png,y", "b/2.png,z", "2.png,z")
    with pytest.raises(Refusal, match=r"has no label of b/2\.png"):
        of("a/1.png,x", "b/1.png,y", "c/2.png,z")


# --- sounds -----------------------------------------------------------------------------------------------------------


def a_sound(path: Path, count: int, rate: int = 8000) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", "NONE"))
        file.writeframes(np.full(count, 2**13, "<i2").tobytes())


def test_a_sound_that_is_not_one_sample_is_refused_by_name(tmp_path):
    options, sounds = InputOptions(), tmp_path / "sounds"
    nodes = (a_node("MatMul", "x w", "y"),)
    weights = {"w": np.stack([np.ones(100), -np.ones(100)], 1).astype(np.float32)}
    source = a_file(
        tmp_path / "m.onnx",
        {"x": (FLOAT, ["batch", 100])},
        *nodes,
        weights=weights,
        outputs={"y": ["batch", 2]},
        options=options,
    )
    for name, count in (("loud/a", 100), ("loud/b", 150), ("soft/c", 199)):
        a_sound(sounds / f"{name}.wav", count)
    task = TaskOptions("accuracy", str(sounds), classes=("loud", "soft"))
    assert labelled(source, task, batch=2).scores.columns["right"] == (1.0, 1.0, 0.0)

    def message() -> str:
        with pytest.raises(Refusal) as caught:
            labelled(source, task, batch=2)
        return caught.value.message

    # Two windows and none: as many samples as labels, which belong to others.
    a_sound(sounds / "loud/a.wav", 200)
    a_sound(sounds / "loud/b.wav", 50)
    assert message() == "a.wav has 200 samples, and a call takes 100, so it has no one label"
    a_sound(sounds / "loud/a.wav", 100)
    assert message() == "b.wav has 50 samples, and a call takes 100, so it has no one label"
    a_sound(sounds / "loud/b.wav", 100, rate=16000)
    assert message() == "b.wav has 16000 samples a second, and a.wav has 8000"
