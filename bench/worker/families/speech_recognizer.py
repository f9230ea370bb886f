"""A model that writes down what is said in 30 seconds of audio: an encoder, and a decoder that emits tokens."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.records import FamilyManifest, Source, Tolerance
from bench.worker.feeds import Array, Feed
from bench.worker.refusal import Refusal

if TYPE_CHECKING:
    import torch

    from bench.worker.families._speech import Clip

MANIFEST = FamilyManifest(
    task="speech-recognition",
    format="genai",
    engines=("genai", "ort-generate"),
    build_runtime="genai-build",
    sizes={"batch": 1, "audio": 30, "new": 64},
    labels={"batch": "b", "audio": "a", "new": "n"},
    rates={"tokens": ["batch", "new"]},
    # Measured with random weights (whisper-nano, whisper-tiny) at 32 positions of two clips: mean KL divergence / top-1
    # agreement. The other clip's audio has 0.62 / 0.44 at the least, no positions in the encoder 0.56 / 0.41, a start
    # that lacks a token 2.1 / 0.28, other weights 5.8 / 0.
    tolerances={
        # 8e-12 / 1.00 in genai. Weights rounded to FP16 have 3e-6, what computes in FP16 8e-6, in BF16 6e-4: none is
        # FP32.
        "fp32": Tolerance(max_kl=1e-7, min_top1=0.95, same_tokens=True),
        # 1.3e-5 / 1.00; with the room that kernels need which add up in FP16.
        "fp16": Tolerance(max_kl=1e-3, min_top1=0.85),
        # 8.1e-4 / 0.94.
        "bf16": Tolerance(max_kl=1e-2, min_top1=0.75),
    },
)

CHECKED_CLIPS = 2
LONGEST_S = 30
TASK = ("<|startoftranscript|>", "<|en|>", "<|transcribe|>", "<|notimestamps|>")
ENGLISH_ONLY = ("<|startoftranscript|>", "<|notimestamps|>")
ENGLISH_VOCABULARY = 51864
"""The models that know English only have one token fewer; their tokenizers list the languages all the same."""


def load(source: Source) -> torch.nn.Module:
    """The Whisper in FP32; random weights are given what lets its answers be checked."""
    from transformers import AutoModelForSpeechSeq2Seq

    from bench.worker import hugging_face
    from bench.worker.families import _random_weights

    config = _config(source)
    model = hugging_face.load(source, AutoModelForSpeechSeq2Seq, _random_weights.fill_language_model)
    if source.weights == "random":
        model.generation_config = _generation_config(config, _tokenizer(source))
    return model


def save(source: Source, out: Path) -> None:
    """Write a Hugging Face folder: config, safetensors in FP32, the tokenizer, and how audio becomes features."""
    from bench.worker import hugging_face

    hugging_face.save(load(source), _tokenizer(source), out)
    _extractor(source).save_pretrained(out)


def folder(source: Source, scratch: Path) -> Path:
    """The source's own folder where a builder can take it as it is; else one that is written to `scratch`."""
    from bench.worker import hugging_face

    _config(source)
    has_features = (Path(source.path) / "preprocessor_config.json").is_file()
    if source.weights == "pretrained" and has_features and hugging_face.tokenizer(source):
        return Path(source.path)
    save(source, scratch)
    return scratch


def make_inputs(source: Source, sizes: dict[str, int], inputs: str | None) -> list[Feed]:
    """Batches of log-mel features, float32 (batch, mels, frames), with the tokens that every transcript begins with."""
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
        # What is said in the first clip travels with it: no engine reads it, `facts` does.
        feeds[0]["label"] = np.frombuffer(clips[0].label.encode("utf-8"), np.uint8)
    return feeds


def describe_inputs(source: Source, sizes: dict[str, int], inputs: str | None) -> tuple[str, ...]:
    """What the inputs are, where a reader would not expect it."""
    return () if inputs else ("inputs: seeded sounds in the rhythm of speech, no recordings were given",)


def reference(source: Source, feeds: list[Feed], new: int) -> tuple[list[Feed], str]:
    """Greedy tokens, the distance of each from the second best, and the first logits, by PyTorch in FP32."""
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
    """Plain forward passes of the decoder over what the encoder heard, each after all tokens that went before."""

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
    """What readers need: weights counted; and where the timed clip has a label, that and what each token says.

    `end` names the tokens after which nothing is said any more: a trained model's transcript ends there.
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
    """The config of a Whisper; Refusal where it is none."""
    from bench.worker import hugging_face

    config = hugging_face.config(source)
    if config.model_type != "whisper":
        message = f"a model of the type {config.model_type!r} is no Whisper"
        raise Refusal("unsupported", message, "only Whisper models are known to this family", "no-whisper")
    return config


def _generation_config(config: Any, tokenizer: Any) -> Any:
    """What the published models say besides their config, so that users' own generation calls take a random one."""
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
    """Refuse more audio than Whisper hears at once, and more tokens than its decoder has positions for."""
    if seconds > LONGEST_S:
        message = f"{seconds} seconds of audio are more than the {LONGEST_S} that Whisper hears at once"
        raise Refusal("unsupported", message, "ask for 30 seconds or fewer", "too-long")
    if tokens > config.max_target_positions:
        message = f"start and new tokens are {tokens}, the decoder's context is {config.max_target_positions}"
        raise Refusal("unsupported", message, "ask for fewer tokens", "too-long")


def _tokenizer(source: Source) -> Any:
    """The model's own tokenizer, or one of bytes with Whisper's special tokens where it has none."""
    from bench.worker import hugging_face
    from bench.worker.families import _byte_tokenizer

    return hugging_face.tokenizer(source) or _byte_tokenizer.speech(_config(source))


def _start(source: Source) -> list[int]:
    """The tokens that ask for an English transcript without times; Refusal where the tokenizer lacks one of them."""
    tokenizer = _tokenizer(source)
    known = tokenizer.get_vocab()
    prompt = ENGLISH_ONLY if _config(source).vocab_size == ENGLISH_VOCABULARY else TASK
    missing = [name for name in prompt if name not in known]
    if missing:
        message = f"the model's tokenizer has no {missing[0]!r}, which every transcript begins with"
        raise Refusal("unsupported", message, "give the folder of a whole Whisper, tokenizer included", "tokenizer")
    return [known[name] for name in prompt]


def _extractor(source: Source) -> Any:
    """What makes log-mel features of audio: the model's own where its folder has one."""
    from transformers import WhisperFeatureExtractor

    from bench.worker import hugging_face

    if (Path(source.path) / "preprocessor_config.json").is_file():
        return WhisperFeatureExtractor.from_pretrained(source.path, **hugging_face.LOCAL)
    return WhisperFeatureExtractor(feature_size=_config(source).num_mel_bins)


def _features(source: Source, samples: list[Array]) -> Array:
    """Log-mel features of clips, padded with silence to 30 seconds."""
    features = _extractor(source)(samples, sampling_rate=16000, return_tensors="np")["input_features"]
    contiguous: Array = np.ascontiguousarray(features, np.float32)
    return contiguous


def _clips(seconds: int, count: int, inputs: str | None) -> list[Clip]:
    """`count` clips of that length: those of the folder in turn, cut or padded; made-up ones where there is none."""
    from bench.worker.families import _speech

    if not inputs:
        return [_speech.babble(seconds, seed) for seed in range(count)]
    clips = _speech.clips(Path(inputs))
    return [clips[index % len(clips)].cut(seconds) for index in range(count)]
