"""Speech recognizers: audio and its features, what the model answers, and that it depends on what it hears."""

from __future__ import annotations

import hashlib
import json
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from limits import limits

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from bench.records import Source, note  # noqa: E402
from bench.worker import hugging_face, parity_tokens  # noqa: E402
from bench.worker.families import _speech, speech_recognizer  # noqa: E402
from bench.worker.refusal import Refusal  # noqa: E402

CONFIGS = Path(__file__).parent.parent.parent / "bench" / "worker" / "configs"
SIZES = {"batch": 1, "audio": 30, "new": 24}
LIMITS = limits("speech-recognizer")
FORMATS = sorted(LIMITS)


def nano(seed: int = 0) -> Source:
    return Source(kind="config", path=str(CONFIGS / "whisper-nano.json"), weights="random", digest="", seed=seed)


def a_recording(path: Path, seconds: float = 1.0, channels: int = 1, width: int = 2, rate: int = 16000) -> Path:
    tone = np.sin(np.arange(int(seconds * rate) * channels) / 9) * 2**14
    with wave.open(str(path), "wb") as file:
        file.setparams((channels, width, rate, 0, "NONE", "NONE"))
        file.writeframes(tone.astype("<i2").tobytes() if width == 2 else tone.astype(np.uint8).tobytes())
    return path


@pytest.fixture(scope="module")
def referred() -> tuple[list[Any], list[Any]]:
    feeds = speech_recognizer.make_inputs(nano(), SIZES, None)
    return feeds, speech_recognizer.reference(nano(), feeds, SIZES["new"])[0]


def scored(model: Any, feeds: list[Any], outputs: list[Any]) -> Any:
    """Logits of (positions, vocabulary) over the reference's transcript, in one pass."""
    rows = []
    for feed, output in zip(feeds, outputs, strict=True):
        count = output["logits"].shape[1]
        ids = torch.from_numpy(np.concatenate([feed["input_ids"], output["tokens"][:, : count - 1]], axis=1))
        features = torch.from_numpy(feed["input_features"]).to(model.dtype)
        with torch.inference_mode():
            rows.append(model(features, decoder_input_ids=ids).logits[:, -count:].float().numpy())
    return np.concatenate(rows)


def within(number_format: str, outputs: list[Any], have: Any) -> bool:
    want = np.concatenate([output["logits"] for output in outputs])
    limit = LIMITS[number_format]
    divergence = parity_tokens.kl(want.astype(np.float64), have.astype(np.float64)).mean()
    agreement = (want.argmax(-1) == have.argmax(-1)).mean()
    return bool(divergence <= limit.max_kl and agreement >= limit.min_top1)


# --- audio ------------------------------------------------------------------------------------------------------------


def test_made_up_audio_is_as_long_as_asked_loud_and_another_for_each_seed() -> None:
    one, other = (_speech.babble(3, seed).samples for seed in (0, 1))
    assert one.shape == other.shape == (48000,)
    assert one.dtype == np.float32
    assert 0.4 < np.abs(one).max() <= 0.5
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.1
    np.testing.assert_array_equal(one, _speech.babble(3, 0).samples)


def test_recordings_are_read_in_the_order_of_their_names_with_what_is_said(tmp_path: Path) -> None:
    a_recording(tmp_path / "b.wav", 0.5)
    a_recording(tmp_path / "a.WAV", 0.25)
    (tmp_path / "b.txt").write_text(" hello there \n", encoding="utf-8")
    clips = _speech.clips(tmp_path)
    assert [(len(clip.samples), clip.label) for clip in clips] == [(4000, None), (8000, "hello there")]
    assert clips[0].samples.dtype == np.float32
    assert 0.4 < np.abs(clips[0].samples).max() <= 0.5


def test_a_clip_that_is_cut_loses_its_label_and_a_short_one_ends_in_silence() -> None:
    clip = _speech.Clip(np.ones(24000, np.float32), "one and a half seconds")
    assert (len(clip.cut(1).samples), clip.cut(1).label) == (16000, None)
    padded = clip.cut(2)
    assert (len(padded.samples), padded.samples[24000:].any(), padded.label) == (32000, False, clip.label)


@pytest.mark.parametrize(
    ("channels", "width", "rate", "told"),
    [(2, 2, 16000, "2 channels of 16 bits at 16000"), (1, 2, 44100, "at 44100 Hz"), (1, 1, 16000, "of 8 bits")],
)
def test_a_recording_in_another_shape_says_how_to_convert_it(
    tmp_path: Path, channels: int, width: int, rate: int, told: str
) -> None:
    a_recording(tmp_path / "a.wav", 0.1, channels, width, rate)
    with pytest.raises(Refusal, match=rf"a\.wav has .*{told}") as refused:
        _speech.clips(tmp_path)
    assert refused.value.remedy.startswith("ffmpeg -i a.wav")


@pytest.mark.parametrize("content", [b"", b"RIFF", b"RIFF\x24\x00\x00\x00WAVEjunk", b"ID3 an mp3"])
def test_a_file_that_is_no_recording_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(Refusal, match=r"a\.wav is no WAV file"):
        _speech.clips(tmp_path)


def test_a_recording_of_nothing_and_a_folder_of_none_are_named(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="no WAV files in"):
        _speech.clips(tmp_path)
    a_recording(tmp_path / "a.wav", 0)
    with pytest.raises(Refusal, match="holds no audio"):
        _speech.clips(tmp_path)


# --- inputs -----------------------------------------------------------------------------------------------------------


def test_features_are_thirty_seconds_of_every_clip_and_the_start_asks_for_english(referred: Any) -> None:
    feeds, _ = referred
    assert [(feed["input_features"].shape, feed["input_features"].dtype.name) for feed in feeds] == [
        ((1, 80, 3000), "float32")
    ] * 2
    assert not np.array_equal(feeds[0]["input_features"], feeds[1]["input_features"])
    names = speech_recognizer._tokenizer(nano()).convert_ids_to_tokens(feeds[0]["input_ids"][0].tolist())
    assert names == ["<|startoftranscript|>", "<|en|>", "<|transcribe|>", "<|notimestamps|>"]


def test_a_model_that_knows_english_only_is_not_asked_for_it(tmp_path: Path) -> None:
    config = json.loads((CONFIGS / "whisper-tiny.json").read_text(encoding="utf-8"))
    ends = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), 50256)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config | ends | {"vocab_size": 51864, "decoder_start_token_id": 50257}))
    # As in openai/whisper-tiny.en.
    assert speech_recognizer._start(Source("config", str(path), "random", "")) == [50257, 50362]


def test_shorter_audio_is_padded_and_a_batch_holds_different_clips() -> None:
    feeds = speech_recognizer.make_inputs(nano(), {"batch": 2, "audio": 5, "new": 4}, None)
    assert [feed["input_features"].shape for feed in feeds] == [(2, 80, 3000)]
    rows = feeds[0]["input_features"]
    assert rows[0, :, 600:].std() < 1e-6
    assert rows[0, :, :400].std() > 0.1
    assert not np.array_equal(rows[0], rows[1])


@pytest.mark.parametrize(
    ("sizes", "told"), [({"audio": 31}, "31 seconds of audio"), ({"new": 445}, "449, the decoder's context is 448")]
)
def test_more_than_whisper_takes_is_refused(sizes: dict[str, int], told: str) -> None:
    with pytest.raises(Refusal, match=told):
        speech_recognizer.make_inputs(nano(), SIZES | sizes, None)


def test_a_model_that_is_no_whisper_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llama"}', encoding="utf-8")
    with pytest.raises(Refusal, match="'llama' is no Whisper"):
        speech_recognizer.load(Source("config", str(tmp_path / "config.json"), "random", ""))


def test_a_tokenizer_without_the_special_tokens_is_refused(tmp_path: Path) -> None:
    speech_recognizer.save(nano(), tmp_path)
    for path in (tmp_path / "tokenizer.json", tmp_path / "tokenizer_config.json"):
        told = path.read_text(encoding="utf-8").replace("<|transcribe|>", "<|other|>")
        path.write_text(told, encoding="utf-8")
    with pytest.raises(Refusal, match=r"no '<\|transcribe\|>'"):
        speech_recognizer.make_inputs(Source("folder", str(tmp_path), "pretrained", ""), SIZES, None)


# --- the tokenizer and the folder -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["whisper-tiny", "whisper-base", "whisper-small", "whisper-large-v3"])
def test_special_tokens_stand_where_the_published_models_have_them(name: str) -> None:
    tokenizer = speech_recognizer._tokenizer(Source("config", str(CONFIGS / f"{name}.json"), "random", ""))
    shift = 1 if name == "whisper-large-v3" else 0
    published = {"<|endoftext|>": 50257, "<|startoftranscript|>": 50258, "<|en|>": 50259}
    later = {"<|translate|>": 50358, "<|transcribe|>": 50359, "<|notimestamps|>": 50363, "<|0.00|>": 50364}
    published |= {token: number + shift for token, number in (later | {"<|30.00|>": 51864}).items()}
    assert {token: tokenizer.convert_tokens_to_ids(token) for token in published} == published
    assert len(tokenizer) == 51865 + shift
    assert tokenizer.decode(tokenizer("a café")["input_ids"]) == "a café"


@pytest.mark.parametrize(
    ("name", "millions"),
    [("whisper-tiny", 38), ("whisper-base", 73), ("whisper-small", 242), ("whisper-large-v3", 1543)],
)
def test_the_configs_describe_models_of_the_published_size(name: str, millions: int) -> None:
    source = Source("config", str(CONFIGS / f"{name}.json"), "random", "")
    with torch.device("meta"):
        model = transformers.AutoModelForSpeechSeq2Seq.from_config(hugging_face.config(source))
    assert round(hugging_face.parameters(model) / 1e6) == millions


def test_a_saved_folder_is_the_same_model_and_hears_the_same(tmp_path: Path) -> None:
    assert speech_recognizer.folder(nano(), tmp_path) == tmp_path
    saved = Source(kind="folder", path=str(tmp_path), weights="pretrained", digest="")
    assert speech_recognizer.folder(saved, tmp_path / "unused") == tmp_path
    made, loaded = speech_recognizer.load(nano()).state_dict(), speech_recognizer.load(saved).state_dict()
    assert all(torch.equal(tensor, loaded[name]) for name, tensor in made.items())
    one, other = (speech_recognizer.make_inputs(source, SIZES, None)[0] for source in (nano(), saved))
    assert all(np.array_equal(one[name], other[name]) for name in ("input_ids", "input_features"))


def test_a_whisper_whose_files_begin_with_a_byte_order_mark_is_read(tmp_path: Path, referred: Any) -> None:
    speech_recognizer.save(nano(), tmp_path / "model")
    files = list((tmp_path / "model").glob("*.json"))
    assert {"config.json", "preprocessor_config.json", "tokenizer.json"} <= {path.name for path in files}
    for path in files:
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    marked = Source(kind="folder", path=str(tmp_path / "model"), weights="pretrained", digest="")
    feeds = speech_recognizer.make_inputs(marked, SIZES, None)
    np.testing.assert_array_equal(feeds[0]["input_features"], referred[0][0]["input_features"])
    # Exporters read the files of the folder themselves.
    folder = speech_recognizer.folder(marked, tmp_path / "scratch")
    assert json.loads((folder / "generation_config.json").read_text(encoding="utf-8"))
    assert (folder / "model.safetensors").is_file()


def test_users_own_generation_calls_take_a_saved_folder(tmp_path: Path, referred: Any) -> None:
    speech_recognizer.save(nano(), tmp_path)
    model = transformers.WhisperForConditionalGeneration.from_pretrained(tmp_path)
    feeds, outputs = referred
    features = torch.from_numpy(feeds[0]["input_features"])
    ids = model.generate(features, language="en", task="transcribe", max_new_tokens=24, min_new_tokens=24)[0].tolist()
    end = model.config.eos_token_id
    assert end not in outputs[0]["tokens"]
    assert ids[-24:] == outputs[0]["tokens"][0].tolist()


# --- the reference ----------------------------------------------------------------------------------------------------


def test_the_reference_is_greedy_and_its_logits_are_those_of_one_pass_over_its_tokens(referred: Any) -> None:
    feeds, outputs = referred
    first = outputs[0]
    assert (first["tokens"].dtype, first["tokens"].shape) == (np.int64, (1, 24))
    assert (first["logits"].dtype, first["logits"].shape) == (np.float32, (1, 16, 1024))
    assert first["gaps"].shape == (1, 24)
    np.testing.assert_array_equal(first["logits"].argmax(-1), first["tokens"][:, :16])
    assert within("fp32", outputs, scored(speech_recognizer.load(nano()), feeds, outputs))


def test_a_labelled_recording_is_told_with_what_each_token_says(tmp_path: Path) -> None:
    a_recording(tmp_path / "a.wav", 2)
    (tmp_path / "a.txt").write_text("a tone", encoding="utf-8")
    feeds = speech_recognizer.make_inputs(nano(), {"batch": 2, "audio": 2, "new": 2}, str(tmp_path))
    outputs = speech_recognizer.reference(nano(), feeds, 2)[0]
    facts = json.loads(json.dumps(speech_recognizer.facts(nano(), feeds, outputs)))
    assert (facts["label"], len(facts["pieces"]), facts["end"]) == ("a tone", 1024, [999])
    said = speech_recognizer._tokenizer(nano())("a tone")["input_ids"]
    assert "".join(facts["pieces"][number] for number in said) == "a tone"
    assert facts["pieces"][1001] == ""
    assert speech_recognizer.describe_inputs(nano(), SIZES, str(tmp_path)) == ()


def test_without_a_label_nothing_is_told_of_words(tmp_path: Path, referred: Any) -> None:
    feeds, outputs = referred
    assert speech_recognizer.facts(nano(), feeds, outputs) == {"parameters": 1_385_984}
    assert speech_recognizer.describe_inputs(nano(), SIZES, None) == (note("synthetic-speech"),)


# --- random weights ---------------------------------------------------------------------------------------------------


def test_random_weights_are_the_same_bytes_under_every_version() -> None:
    total = hashlib.sha256()
    for name, parameter in sorted(speech_recognizer.load(nano()).named_parameters()):
        total.update(name.encode() + parameter.detach().numpy().tobytes())
    assert total.hexdigest()[:16] == "51c22299e23c3d61"


def test_no_random_parameter_is_left_constant_and_logits_are_not_flat(referred: Any) -> None:
    model = speech_recognizer.load(nano())
    assert [n for n, values in model.named_parameters() if bool((values == values.flatten()[0]).all())] == []
    rows = model.model.decoder.embed_tokens.weight.abs().sum(dim=1)
    assert bool((rows > 0).all())
    _, outputs = referred
    assert 2.0 < np.concatenate([output["logits"] for output in outputs]).std(axis=-1).mean() < 3.0
    assert (outputs[0]["tokens"] == outputs[1]["tokens"]).mean() < 0.3
    assert min(len(set(output["tokens"][0].tolist())) for output in outputs) > 12


def spoilt(feeds: list[Any], **edits: Callable[[Any], Any]) -> list[Any]:
    return [feed | {name: edit(feed[name]) for name, edit in edits.items()} for feed in feeds]


@pytest.mark.parametrize("number_format", FORMATS)
def test_other_weights_other_audio_and_a_start_that_lacks_a_token_pass_no_tolerance(
    referred: Any, number_format: str
) -> None:
    feeds, outputs = referred
    model = speech_recognizer.load(nano())
    others = [feed["input_features"] for feed in feeds[::-1]]
    crossed = [feed | {"input_features": other} for feed, other in zip(feeds, others, strict=True)]
    shortened = spoilt(feeds, input_ids=lambda ids: ids[:, 1:])
    silent = spoilt(feeds, input_features=lambda features: np.full_like(features, features.min()))
    assert not within(number_format, outputs, scored(speech_recognizer.load(nano(seed=1)), feeds, outputs))
    assert not within(number_format, outputs, scored(model, crossed, outputs))
    assert not within(number_format, outputs, scored(model, shortened, outputs))
    assert not within(number_format, outputs, scored(model, silent, outputs))


def test_half_precision_passes_its_own_tolerance_and_not_that_of_fp32(referred: Any) -> None:
    feeds, outputs = referred
    have = scored(speech_recognizer.load(nano()).bfloat16(), feeds, outputs)
    assert within("bf16", outputs, have)
    assert not within("fp32", outputs, have)
