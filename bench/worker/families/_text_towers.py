"""Finds in a checkpoint the part that encodes text, and says which of its parts are not run."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn
from transformers import MODEL_FOR_TEXT_ENCODING_MAPPING, MODEL_MAPPING

from bench.records import Note, Source, note
from bench.worker import hugging_face
from bench.worker.pytorch import pooling
from bench.worker.pytorch.encoders import TextEncoder
from bench.worker.refusal import Refusal

ENCODERS = re.compile(r"(?<!Dual)(Encoder|EncoderModel|TextModel|TextModelWithProjection)$")
"""The names of classes that are an encoder of text by themselves, such as `T5EncoderModel`."""
MASK, TYPES = "attention_mask", "token_type_ids"
OTHER_DATA = ("bbox", "pixel_values", "image", "entity_ids", "xpath_tags_seq", "input_shape_ids", "langs")
"""What some models take beside text, and this family does not give."""


class TextSide(nn.Module):  # type: ignore[misc]
    """The text side of a model like CLIP; the weights of the other side are dropped."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        for name in ("vision_model", "audio_model", "image_model"):
            if hasattr(model, name):
                setattr(model, name, nn.Identity())

    def forward(self, **inputs: torch.Tensor) -> Any:
        """The embedding of texts in the space that they share with pictures or sounds."""
        return self.model.get_text_features(**inputs)


def load(source: Source) -> TextEncoder:
    """The part that encodes text, in FP32, with its pooling. Raises Refusal where the checkpoint holds no such part."""
    config = hugging_face.config(source)
    chosen = _class(source, config)
    # T5Gemma's encoder by itself refuses the configuration of the pair.
    alone = {"is_encoder_decoder": False} if config.is_encoder_decoder and ENCODERS.search(chosen.__name__) else {}
    model = hugging_face.load(source, chosen, strict=True, fields=alone, part=_tower)
    model.config.use_cache = False
    tower = _tower(model)
    embedding = None
    if source.kind == "folder":
        width = getattr(text_config(config), "hidden_size", None)
        embedding = pooling.read(Path(source.path), width=width, random=source.weights == "random")
    inputs = ["input_ids"]
    if MASK in _parameters(type(model) if isinstance(tower, TextSide) else type(tower)):
        inputs.append(MASK)
    if takes_token_types(source, given=_gives_types(source)):
        inputs.append(TYPES)
    pooled = embedding is None and _gives_embedding(chosen)
    encoder = TextEncoder(tower, tuple(inputs), embedding, pooled=pooled)
    encoder.eval()
    return encoder


def describe(source: Source) -> tuple[Note, ...]:
    """Notes on custom code, on parts of the checkpoint that are not run, and on the pooling that is."""
    config, fields = hugging_face.config(source), hugging_face.config_fields(source)
    chosen = _class(source, config)
    notes = [note("custom-code", model=chosen.__name__)] if fields.get("auto_map") else []
    saved = (config.architectures or [""])[0]
    part = "text side" if _is_dual(chosen) else chosen.__name__
    if config.is_encoder_decoder and not ENCODERS.search(chosen.__name__):
        part = "encoder"
    if source.weights == "pretrained" and saved and saved != part:
        notes.append(note("part-of-checkpoint", checkpoint=saved, part=part))
    beside = tuple(name for name in OTHER_DATA if name in _parameters(chosen) and not _is_dual(chosen))
    if beside:
        notes.append(note("inputs-left-out", names=beside))
    if source.kind == "folder":
        # Without weights, which are large and say nothing here.
        embedding = pooling.read(Path(source.path), random=True)
        if embedding is not None:
            notes.append(note("pooling", steps=embedding.steps))
    return tuple(notes)


def takes_token_types(source: Source, *, given: bool) -> bool:
    """Whether the model takes token types; `given` says whether its tokenizer gives them.

    Several tables of one row, as RoBERTa has, make no input: all token types are zero there.
    """
    config = hugging_face.config(source)
    if _is_dual(_class(source, config)) or TYPES not in _parameters(_class(source, config)):
        return False
    types = getattr(config, "type_vocab_size", None)
    return given if types is None else types > 1


def positions(source: Source) -> int | None:
    """The largest number of tokens that the model has positions for; None where it has no limit of its own."""
    config = hugging_face.config(source)
    text = text_config(config)
    declared: int | None = getattr(text, "max_position_embeddings", None)
    # DeBERTa has only relative positions then, which have no end.
    if not getattr(text, "position_biased_input", True):
        return None
    if getattr(text, "position_embedding_type", "absolute") != "absolute" or not declared:
        return declared
    return declared - _offset(_class(source, config), hugging_face.config_for(_class(source, config), config))


def lowers_case(source: Source) -> bool:
    """Whether sentence-transformers gives the tokenizer text in lower case."""
    return source.kind == "folder" and pooling.lowers_case(Path(source.path))


def text_config(config: Any) -> Any:
    """The part of a configuration that describes the text encoder."""
    try:
        return config.get_text_config()
    except ValueError:  # an encoder and a decoder with a configuration each
        return config.encoder


# --- which class ------------------------------------------------------------------------------------------------------


def _class(source: Source, config: Any) -> Any:
    """The class of the encoder, or of the model that has it as a part.

    Raises Refusal where the checkpoint takes no text.
    """
    named = [getattr(transformers, name, None) for name in config.architectures or () if ENCODERS.search(name)]
    chosen = next((each for each in named if each is not None and _parameters(each)), None)
    if chosen is None and config.is_encoder_decoder:
        chosen = hugging_face.class_in(MODEL_FOR_TEXT_ENCODING_MAPPING, config)
    if chosen is None:
        chosen = hugging_face.class_in(MODEL_MAPPING, config)
    saved = (config.architectures or [config.model_type])[0]
    if chosen is None:
        message = f"the checkpoint holds a {saved}, of which transformers {transformers.__version__} has no base model"
        raise Refusal("unsupported", message, "export it, and name the file: onnx:FILE", "architecture")
    if "input_ids" not in _parameters(chosen):
        taken = [name for name in _parameters(chosen) if name.startswith(("pixel", "input", "hidden"))]
        message = f"the checkpoint holds a {saved}, which takes {', '.join(taken) or 'no tokens'}: it encodes no text"
        raise Refusal("unsupported", message, "give the model the family of its kind", "no-text")
    return chosen


def _is_dual(chosen: Any) -> bool:
    """Whether the class has a side for text beside one for pictures or sounds, as CLIP has."""
    return "get_text_features" in dir(chosen)


def _gives_embedding(chosen: Any) -> bool:
    """Whether the model's own pooled output is what its users take: the text side of CLIP, and DPR."""
    return _is_dual(chosen) or bool(re.search(r"WithProjection$|^DPR", chosen.__name__))


def _parameters(chosen: Any) -> tuple[str, ...]:
    """The names of the parameters of a class's `forward`."""
    return tuple(inspect.signature(chosen.forward).parameters)


def _tower(model: Any) -> nn.Module:
    """The part of a model that encodes text: its text side, its encoder, or all of it."""
    if _is_dual(type(model)):
        return TextSide(model)
    if model.config.is_encoder_decoder and MASK in _parameters(type(model)) and hasattr(model, "get_encoder"):
        encoder: nn.Module = model.get_encoder()
        return encoder
    whole: nn.Module = model
    return whole


def _gives_types(source: Source) -> bool:
    tokenizer = hugging_face.tokenizer(source)
    return tokenizer is not None and TYPES in tokenizer("a")


def _offset(chosen: Any, config: Any) -> int:
    """The rows of the position table that no token has: RoBERTa counts from behind the row of padding."""
    try:
        # Without memory: only the modules are looked at.
        with torch.device("meta"):
            model = chosen._from_config(config)
    except Exception:  # noqa: BLE001 - a class that cannot be made so declares its limit in its config
        return 0
    for name, module in model.named_modules():
        padding: int | None = getattr(module, "padding_idx", None)
        if name.endswith("position_embeddings") and padding is not None:
            return padding + 1
    return 0
