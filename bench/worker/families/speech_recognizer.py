"""The family of speech recognizers like Whisper: an encoder for 30 seconds of audio, and a decoder for the text."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.records import FamilyManifest, Note, Source, TaskOptions, Tolerance, note
from bench.worker.feeds import Array, Feed
from bench.worker.marked_files import readable
from bench.worker.refusal import Refusal

# For type checks only: a family is also imported in runtimes without torch.
if TYPE_CHECKING:
    import torch

    from bench.worker.families._speech import Clip
    from bench.worker.labelled.sets import LabelledSet

MANIFEST = FamilyManifest(
    task="speech-recognition",
    format="genai",
    engines=("genai", "ort-generate"),
    build_runtime="build",
    sizes={"batch": 1, "audio": 30, "new": 64},
    labels={"batch": "b", "audio": "a", "new": "n"},
    rates={"tokens": ["batch", "new"]},
    labelled=("speech",),
    # Measured with random weights (whisper-nano, whisper-tiny) at 32 positions of two clips: mean KL divergence / top-1
    # agreement. The smallest errors of faults: 0.62 / 0.44 with the audio of the other clip, 0.56 / 0.41 without
    # positions in the encoder, 2.1 / 0.28 with a start that lacks a token, 5.8 / 0 with other weights.
    tolerances={
        # 8e-12 / 1.00 in genai. Weights rounded to FP16 have 3e-6, arithmetic in FP16 has 8e-6, in BF16 6e-4: none of
        # them is FP32.
        "fp32": Tolerance(max_kl=1e-7, min_top1=0.95, same_tokens=True),
        # 1.3e-5 / 1.00; the limit is wider because some kernels accumulate in FP16.
        "fp16": Tolerance(max_kl=1e-3, min_top1=0.85),
        # 8.1e-4 / 0.94.
        "bf16": Tolerance(max_kl=1e-2, min_top1=0.75),
    },
)

CHECKED_CLIPS = 2
LONGEST_S = 30
# The order in which Whisper is trained to read them.
TASK = ("<|startoftranscript|>", "<|en|>", "<|transcribe|>", "<|notimestamps|>")
ENGLISH_ONLY = ("<|startoftranscript|>", "<|notimestamps|>")
ENGLISH_VOCABULARY = 51864
"""The vocabulary of English-only models, one token smaller; their tokenizers list the other languages too."""


def load(source: Source) -> torch.nn.Module:
    """The Whisper in FP32; random weights are made so that its outputs can be checked."""
    from transformers import AutoModelForSpeechSeq2Seq

    from bench.worker import hugging_face
    from bench.worker.families import _random_weights

    config = _config(source)
    model = hugging_face.load(source, AutoModelForSpeechSeq2Seq, _random_weights.fill_language_model)
    if source.weights == "random":
        model.generation_config = _generation_config(config, _tokenizer(source))
    return model


def save(source: Source, out: Path) -> None:
    """Write a Hugging Face folder: config, safetensors in FP32, the tokenizer and the feature extractor."""
    from bench.worker import hugging_face

    hugging_face.save(load(source), _tokenizer(source), out)
    _extractor(source).save_pretrained(out)


def folder(source: Source, scratch: Path) -> Path:
    """The source's own folder if it is complete; else one that is written to `scratch`."""
    from bench.worker import hugging_face

    # Refuses a model that is not a Whisper, before anything is written.
    _config(source)
    has_features = (Path(source.path) / "preprocessor_config.json").is_file()
    if source.weights == "pretrained" and has_features and hugging_face.tokenizer(source):
        return readable(source.path)
    save(source, scratch)
    return scratch


def make_inputs(source: Source, sizes: dict[str, int], inputs: str | None) -> list[Feed]:
    """Batches of log-mel features, float32 (batch, mels, frames), with the tokens that start every transcript."""
    batch, config = sizes["batch"], _config(source)
    start = _start(source)
    _refuse_longer(config, sizes["audio"], len(start) + sizes["new"])
    count = -(-CHECKED_CLIPS // batch) * batch
    clips = _clips(sizes["audio"], count, inputs)
    features = _features(source, [clip.samples for clip in clips])
    ids = np.array([start] * batch, np.int64)
    feeds = [
        {"input_features": features[start_row : start_row + batch], "input_ids": ids}
        for start_row in range(0, count, batch)
    ]
    if clips[0].label:
        # The first clip's transcript is stored with it for `facts`; engines do not read it.
        feeds[0]["label"] = np.frombuffer(clips[0].label.encode("utf-8"), np.uint8)
    return feeds


def describe_inputs(source: Source, sizes: dict[str, int], inputs: str | None) -> tuple[Note, ...]:
    """A note if the inputs are not recordings."""
    return () if inputs else (note("synthetic-speech"),)


def reference(source: Source, feeds: list[Feed], new: int) -> tuple[list[Feed], str]:
    """PyTorch's outputs in FP32, as `_greedy.decode` returns them, and a description of how they are computed."""
    import torch

    from bench.worker import hugging_face
    from bench.worker.families import _greedy

    model = load(source)
    outputs = []
    with torch.inference_mode():
        for feed in feeds:
            encoded = model.get_encoder()(torch.from_numpy(feed["input_features"])).last_hidden_state
            outputs.append(_greedy.decode(_Forward(model, encoded), torch.from_numpy(feed["input_ids"]), new))
    return outputs, hugging_face.computed_by()


class _Forward:
    """Forward passes of the decoder with the encoder's output; each continues after the tokens of earlier ones."""

    def __init__(self, model: torch.nn.Module, encoded: torch.Tensor) -> None:
        self.model = model
        self.encoded = (encoded,)
        self.past: Any = None

    def __call__(self, ids: torch.Tensor) -> torch.Tensor:
        outputs = self.model(
            encoder_outputs=self.encoded, decoder_input_ids=ids, past_key_values=self.past, use_cache=True
        )
        self.past = outputs.past_key_values
        logits: torch.Tensor = outputs.logits[:, -1]
        return logits


def facts(source: Source, feeds: list[Feed], outputs: list[Feed]) -> dict[str, Any]:
    """The number of parameters; if the timed clip has a transcript, also that and the text of each token.

    `end` lists the tokens that end a trained model's transcript.
    """
    from bench.worker import hugging_face

    values: dict[str, Any] = {"parameters": hugging_face.parameters(load(source))}
    if "label" in feeds[0]:
        tokenizer, config = _tokenizer(source), _config(source)
        pieces = [tokenizer.decode([number], skip_special_tokens=True) for number in range(config.vocab_size)]
        values["label"] = feeds[0]["label"].tobytes().decode("utf-8")
        values["pieces"] = ["" if piece.startswith("<|") else piece for piece in pieces]
        values["end"] = [config.eos_token_id]
    return values


def _config(source: Source) -> Any:
    """The model's config. Raises Refusal if it is not a Whisper."""
    from bench.worker import hugging_face

    config = hugging_face.config(source)
    if config.model_type != "whisper":
        message = f"a model of the type {config.model_type!r} is no Whisper"
        raise Refusal("unsupported", message, "only Whisper models are known to this family", "no-whisper")
    return config


def _generation_config(config: Any, tokenizer: Any) -> Any:
    """The generation config that published models have, so that users' own calls of `generate` accept a random one."""
    from transformers import GenerationConfig

    ids = {name: tokenizer.convert_tokens_to_ids(name) for name in ("<|en|>", "<|transcribe|>", "<|translate|>")}
    return GenerationConfig(
        bos_token_id=config.bos_token_id,
        eos_token_id=config.eos_token_id,
        pad_token_id=config.pad_token_id,
        decoder_start_token_id=config.decoder_start_token_id,
        max_length=config.max_target_positions,
        is_multilingual=config.vocab_size != ENGLISH_VOCABULARY,
        lang_to_id={"<|en|>": ids["<|en|>"]},
        task_to_id={"transcribe": ids["<|transcribe|>"], "translate": ids["<|translate|>"]},
        no_timestamps_token_id=tokenizer.convert_tokens_to_ids("<|notimestamps|>"),
    )


def _refuse_longer(config: Any, seconds: int, tokens: int) -> None:
    """Refuse more audio than Whisper's encoder takes, and more tokens than its decoder has positions for."""
    if seconds > LONGEST_S:
        message = f"{seconds} seconds of audio are more than the {LONGEST_S} that Whisper hears at once"
        raise Refusal("unsupported", message, "ask for 30 seconds or fewer", "too-long")
    if tokens > config.max_target_positions:
        message = f"start and new tokens are {tokens}, the decoder's context is {config.max_target_positions}"
        raise Refusal("unsupported", message, "ask for fewer tokens", "too-long")


def _tokenizer(source: Source) -> Any:
    """The model's own tokenizer; if it has none, one of bytes with Whisper's special tokens."""
    from bench.worker import hugging_face
    from bench.worker.families import _byte_tokenizer

    return hugging_face.tokenizer(source) or _byte_tokenizer.speech(_config(source))


def _start(source: Source) -> list[int]:
    """The tokens that request an English transcript without timestamps. Raises Refusal if the tokenizer lacks one."""
    tokenizer = _tokenizer(source)
    known = tokenizer.get_vocab()
    prompt = ENGLISH_ONLY if _config(source).vocab_size == ENGLISH_VOCABULARY else TASK
    missing = [name for name in prompt if name not in known]
    if missing:
        message = f"the model's tokenizer has no {missing[0]!r}, which every transcript begins with"
        raise Refusal("unsupported", message, "give the folder of a whole Whisper, tokenizer included", "tokenizer")
    return [known[name] for name in prompt]


def _extractor(source: Source) -> Any:
    """The feature extractor for log-mel features: the model's own if its folder has one."""
    from transformers import WhisperFeatureExtractor

    from bench.worker import hugging_face

    if (Path(source.path) / "preprocessor_config.json").is_file():
        return WhisperFeatureExtractor.from_pretrained(readable(source.path), **hugging_face.LOCAL)
    return WhisperFeatureExtractor(feature_size=_config(source).num_mel_bins)


def _features(source: Source, samples: list[Array]) -> Array:
    """Log-mel features of clips, padded with silence to 30 seconds; float32 (clips, mels, frames)."""
    features = _extractor(source)(samples, sampling_rate=16000, return_tensors="np")["input_features"]
    contiguous: Array = np.ascontiguousarray(features, np.float32)
    return contiguous


def _clips(seconds: int, count: int, inputs: str | None) -> list[Clip]:
    """`count` clips of this length: those of the folder in turn, cut or padded; seeded sounds without a folder."""
    from bench.worker.families import _speech

    if not inputs:
        return [_speech.babble(seconds, seed) for seed in range(count)]
    clips = _speech.clips(Path(inputs))
    return [clips[index % len(clips)].cut(seconds) for index in range(count)]


def labelled(source: Source, sizes: dict[str, int], task: TaskOptions) -> LabelledSet:
    """Every clip with its transcript. Raises Refusal for a clip without one, or longer than the workload's audio."""
    from bench.worker.labelled import prompts, sets, speech

    config, start = _config(source), _start(source)
    _refuse_longer(config, sizes["audio"], len(start) + sizes["new"])
    clips, labels = speech.clips(task, sizes["audio"])
    tokenizer = _tokenizer(source)
    feeds = sets.batched(
        {"input_features": _features(source, clips), "input_ids": np.array([start] * len(clips), np.int64)},
        sizes["batch"],
    )
    facts = {"pieces": prompts.pieces_of(tokenizer, config), "end": prompts.ends(tokenizer, config)}
    return sets.LabelledSet(feeds, len(clips), labels, facts)
