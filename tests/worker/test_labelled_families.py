"""Labelled samples of the families that load PyTorch models: pairs, texts, prompts, clips and pictures."""

from __future__ import annotations

import json
import wave
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from tiny_models import BERT, saved  # noqa: E402

from bench.records import Label, Source, TaskOptions, TaskReference  # noqa: E402
from bench.worker.families import (  # noqa: E402
    image_classifier,
    speech_recognizer,
    text_encoder,
    text_generator,
)
from bench.worker.labelled import orders, sets  # noqa: E402
from bench.worker.refusal import Refusal  # noqa: E402

CONFIGS = Path(__file__).parents[2] / "bench" / "worker" / "configs"
TEXT = text_generator.SENTENCES.read_text(encoding="utf-8")


def of_config(name: str) -> Source:
    return Source(kind="config", path=str(CONFIGS / f"{name}.json"), weights="random", digest="")


def labelled(folder: Path, family: str, source: Source, task: TaskOptions, **sizes: int) -> TaskReference:
    out = folder / "set"
    out.mkdir(exist_ok=True)
    orders.label(Label(family, source, sizes, task, str(out)))
    return msgspec.json.decode((out / sets.SCORES).read_bytes(), type=TaskReference)


def complaint(*arguments: Any, **sizes: int) -> str:
    with pytest.raises(Refusal) as caught:
        labelled(*arguments, **sizes)
    assert caught.value.remedy
    return caught.value.message


# --- perplexity -------------------------------------------------------------------------------------------------------


def test_the_perplexity_of_a_text_is_that_of_pytorchs_own_loss(tmp_path):
    (tmp_path / "text.txt").write_text(TEXT, encoding="utf-8")
    source, task = of_config("llama-tiny"), TaskOptions("perplexity", str(tmp_path / "text.txt"), tokens=64)
    reference = labelled(tmp_path, "text-generator", source, task, batch=3, prompt=24, new=8)
    columns = reference.scores.columns
    assert columns["tokens"] == (8.0,) * 8
    assert [note.kind for note in reference.notes] == ["windows-of-text"]

    # Apart: transformers' own loss, over labels that leave the context out.
    model = text_generator.load(source)
    ids = torch.tensor([text_generator._tokenizer(source)(TEXT)["input_ids"]])
    losses = []
    for start in range(0, 64, 8):
        window = ids[:, start : start + 32].clone()
        if ids[0, 0] == model.config.bos_token_id:
            window[:, 0] = ids[0, 0]
        labels = window.clone()
        labels[:, :24] = -100
        with torch.inference_mode():
            losses.append(float(model(input_ids=window, labels=labels).loss))
    assert columns["nll"] == pytest.approx([8 * loss for loss in losses], rel=1e-5)


def test_a_text_that_is_shorter_than_a_window_is_refused(tmp_path):
    (tmp_path / "text.txt").write_text("Short.", encoding="utf-8")
    task = TaskOptions("perplexity", str(tmp_path / "text.txt"))
    message = complaint(tmp_path, "text-generator", of_config("llama-tiny"), task, batch=1, prompt=24, new=8)
    assert message.startswith("text.txt has ")
    assert message.endswith("tokens, and one window takes 32")


# --- answers ----------------------------------------------------------------------------------------------------------


def test_an_answer_is_the_first_line_that_the_model_itself_generates(tmp_path):
    source, prompt = of_config("llama-tiny"), "The river"
    tokenizer = text_generator._tokenizer(source)
    feed = {"input_ids": np.array([tokenizer(prompt)["input_ids"]])}
    tokens = text_generator.reference(source, [feed], 6)[0][0]["tokens"][0].tolist()
    spoken = tokenizer.decode(tokens, skip_special_tokens=True)
    kept = next((line for line in spoken.splitlines() if line.strip()), "")
    lines = [
        {"prompt": prompt, "answer": ["nothing of it", kept or "x"]},
        {"prompt": "A longer prompt", "answer": "zz"},
    ]
    (tmp_path / "qa.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    task = TaskOptions("exact-match", str(tmp_path / "qa.jsonl"))
    columns = labelled(tmp_path, "text-generator", source, task, batch=4, prompt=24, new=6).scores.columns
    assert columns["exact"] == (1.0, 0.0)
    assert columns["token_f1"] == (1.0, 0.0)


def test_lines_without_a_prompt_or_an_answer_are_refused(tmp_path):
    task = TaskOptions("exact-match", str(tmp_path / "qa.jsonl"))

    def of_line(**line: Any) -> str:
        (tmp_path / "qa.jsonl").write_text(json.dumps(line), encoding="utf-8")
        return complaint(tmp_path, "text-generator", of_config("llama-tiny"), task, batch=1, prompt=8, new=4)

    assert of_line(prompt="Why?") == "line 1 of qa.jsonl has no prompt with 'answer'"
    assert "the answer is {'a': 1}" in of_line(prompt="Why?", answer={"a": 1})
    assert "the answer holds no word" in of_line(prompt="Why?", answer="?!")


# --- speech -----------------------------------------------------------------------------------------------------------


def a_clip(path: Path, transcript: str | None, seconds: float = 1.0) -> None:
    tone = np.sin(np.arange(int(seconds * 16000)) / 9) * 2**14
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", "NONE"))
        file.writeframes(tone.astype("<i2").tobytes())
    if transcript is not None:
        path.with_suffix(".txt").write_text(transcript, encoding="utf-8")


def test_every_clip_is_compared_with_its_transcript(tmp_path):
    clips = tmp_path / "clips"
    clips.mkdir()
    a_clip(clips / "a.wav", "hello there world")
    a_clip(clips / "b.wav", "one")
    a_clip(clips / "c.wav", "two words")
    task = TaskOptions("wer", str(clips))
    columns = labelled(
        tmp_path, "speech-recognizer", of_config("whisper-nano"), task, batch=2, audio=30, new=8
    ).scores.columns
    assert columns["words"] == (3.0, 1.0, 2.0)
    # Random weights get nothing right: at least every word is missing or another.
    assert all(edits >= words for edits, words in zip(columns["edits"], columns["words"], strict=True))
    a_clip(clips / "d.wav", None)
    sizes = {"batch": 2, "audio": 30, "new": 8}
    assert (
        complaint(tmp_path, "speech-recognizer", of_config("whisper-nano"), task, **sizes) == "d.wav has no transcript"
    )
    a_clip(clips / "d.wav", "longer", seconds=2.5)
    message = complaint(tmp_path, "speech-recognizer", of_config("whisper-nano"), task, **(sizes | {"audio": 2}))
    assert message == "d.wav lasts 2.5 seconds, and the workload has 2"


# --- encoders and classifiers -----------------------------------------------------------------------------------------


def test_an_encoder_without_a_tokenizer_takes_no_labelled_texts(tmp_path):
    (tmp_path / "p.jsonl").write_text('{"sentence1": "a", "sentence2": "b", "score": 1}', encoding="utf-8")
    task = TaskOptions("spearman", str(tmp_path / "p.jsonl"))
    message = complaint(tmp_path, "text-encoder", of_config("bert-base"), task, batch=1, sequence=8)
    assert message == "the model has no tokenizer, so labelled texts cannot be given to it"


def test_a_folder_for_each_class_of_the_models_own_names(tmp_path):
    from PIL import Image

    for place, name in enumerate(("LABEL_7", "LABEL_2", "LABEL_2")):
        (tmp_path / "val" / name).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (300, 260), (80 * place, 20, 9)).save(tmp_path / "val" / name / f"{place}.png")
    task = TaskOptions("top5", str(tmp_path / "val"))
    columns = labelled(tmp_path, "image-classifier", of_config("vit-tiny"), task, batch=2).scores.columns
    assert columns["label"] == (2.0, 2.0, 7.0)
    (tmp_path / "val" / "LABEL_2").rename(tmp_path / "val" / "cat")
    message = complaint(tmp_path, "image-classifier", of_config("vit-tiny"), task, batch=2)
    assert message == "the label 'cat' is no class of the model, such as LABEL_0, LABEL_1, LABEL_2"


def test_rankings_and_pairs_are_scored_by_the_mean_of_the_tokens_that_pytorch_gives(tmp_path):
    source = saved(tmp_path / "bert", transformers.BertModel(transformers.BertConfig(**BERT)))
    query, documents = "The river", ["The old bridge over the river", "She bought bread", "river"]
    line = {"query": query, "documents": documents, "relevance": [1, 0, 2]}
    (tmp_path / "r.jsonl").write_text(json.dumps(line), encoding="utf-8")
    pairs = [{"sentence1": query, "sentence2": text, "score": place} for place, text in enumerate(documents)]
    (tmp_path / "p.jsonl").write_text("\n".join(map(json.dumps, pairs)), encoding="utf-8")

    # Apart: one text at a time, without padding.
    model, tokenizer = text_encoder.load(source), transformers.AutoTokenizer.from_pretrained(source.path)
    means = []
    for text in (query, *documents):
        ids = torch.tensor([tokenizer(text)["input_ids"]])
        with torch.inference_mode():
            hidden = model(input_ids=ids, attention_mask=torch.ones_like(ids), token_type_ids=torch.zeros_like(ids))
        means.append(hidden["last_hidden_state"][0].mean(0))
    cosines = [float(torch.cosine_similarity(means[0], other, dim=0)) for other in means[1:]]

    task = TaskOptions("spearman", str(tmp_path / "p.jsonl"))
    columns = labelled(tmp_path, "text-encoder", source, task, batch=4, sequence=12).scores.columns
    assert columns["similarity"] == pytest.approx(cosines, abs=1e-5)
    task = TaskOptions("ndcg", str(tmp_path / "r.jsonl"))
    columns = labelled(tmp_path, "text-encoder", source, task, batch=3, sequence=12).scores.columns
    gains = np.array([1, 0, 2])[np.argsort(cosines)[::-1]]
    discount = 1 / np.log2([2, 3, 4])
    assert columns["ndcg"] == pytest.approx([(gains * discount).sum() / (np.array([2, 1, 0]) * discount).sum()])


def test_a_classifier_of_pictures_takes_labels_by_place_and_checks_them(tmp_path):
    source, pixels = of_config("vit-tiny"), np.random.default_rng(2).random((5, 3, 224, 224), np.float32)
    np.savez(tmp_path / "x.npz", pixel_values=pixels)
    logits = image_classifier.reference(source, [{"pixel_values": pixels}])[0][0]["logits"]
    best = logits.argmax(1)
    labels = [*best[:3], (best[3] + 1) % 1000, (best[4] + 1) % 1000]
    (tmp_path / "labels.txt").write_text("\n".join(map(str, labels)), encoding="utf-8")
    task = TaskOptions("accuracy", str(tmp_path / "x.npz"), str(tmp_path / "labels.txt"))
    columns = labelled(tmp_path, "image-classifier", source, task, batch=2).scores.columns
    assert columns["right"] == (1.0, 1.0, 1.0, 0.0, 0.0)
    (tmp_path / "labels.txt").write_text("\n".join(["1000"] * 5), encoding="utf-8")
    message = complaint(tmp_path, "image-classifier", source, task, batch=2)
    assert message == "the label of sample 0 is 1000, and the model has 1000 classes"


def test_the_families_declare_what_they_take():
    kinds = {
        module.__name__.rpartition(".")[2]: module.MANIFEST.labelled
        for module in (image_classifier, speech_recognizer, text_encoder, text_generator)
    }
    assert kinds == {
        "image_classifier": ("classes",),
        "speech_recognizer": ("speech",),
        "text_encoder": ("pairs", "rankings"),
        "text_generator": ("text", "answers"),
    }
