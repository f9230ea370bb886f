"""Writes the text of a small matrix for one model, with comments that say how to go on."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator

from msgspec import Struct

from bench.declare import catalogue, registry
from bench.shared.dimensions import default_size, is_sum
from bench.shared.onnx_inputs import Dimension, OnnxInput, symbolic_names

PICTURE_SIDE = 224
CHANNELS = (1, 3, 4)
STEPS = re.compile(r"seq|time|step|len|frame|token|height|width|channel|point|past|^(t|s|l|h|w|c)$", re.IGNORECASE)
"""Names of first dimensions that count no samples."""
RATE = re.compile(r"^sr$|rate", re.IGNORECASE)
FEW = 8
BARE = re.compile(r"[A-Za-z0-9_-]+")
RECIPES = {
    "fp32": {
        "text-encoder": "fp32",
        "image-classifier": "fp32",
        "onnx-file": "fp32",
        "text-generator": "genai-fp32",
        "speech-recognizer": "genai-fp32",
        "torch": "fp32",
    },
    "fp16": {
        "text-encoder": "fp16",
        "image-classifier": "fp16",
        "onnx-file": "fp16",
        "torch": "fp16",
    },
    "int8": {
        "text-encoder": "dynamic-int8",
        "image-classifier": "static-qdq-int8",
        "onnx-file": "dynamic-int8",
        "text-generator": "genai-int8",
        "speech-recognizer": "genai-int8",
    },
    "int4": {
        "text-generator": "genai-int4",
        "speech-recognizer": "genai-int4",
    },
}
"""The recipe of each family, and of PyTorch, for the precisions of a draft."""
COMPILED = ("text-encoder",)
"""The families that PyTorch compiles in less than a minute on two cores."""


class Drafted(Struct, frozen=True):
    """The model of a draft."""

    name: str
    family: str
    source: str
    inputs: tuple[OnnxInput, ...] = ()
    """Of an ONNX file, where it could be read."""


def text_of(model: Drafted) -> str:
    """The text of the matrix, which ends with a line feed."""
    family = registry.families()[model.family]
    drafted = {name: row.drafted for name, row in catalogue.rows().items() if row.drafted}
    lines = [
        f"# What is measured of {_text(model.name)}: each precision on each target, at each workload.",
        "# `bench plan` prints what this file means and how long it takes; docs/matrix.md explains every key.",
        "schema = 1",
        "",
        "[measure]",
        'budget = "quick"            # a first look; for numbers to publish: "standard"',
        "",
        *_model(model),
        "",
        *_precisions(model.family, with_torch=family.has_module),
        "[providers.cpu]",
        "",
        "# Left out on a machine that lacks the device or the wheel; docs/providers.md lists the other providers.",
    ]
    for name, what in drafted.items():
        lines += [f"[providers.{name}]".ljust(27) + f" # {what}", "if_present = true", ""]
    if family.has_module:
        lines += _torch(model.family)
    return "\n".join(lines).rstrip() + "\n"


def _model(model: Drafted) -> Iterator[str]:
    yield f"[models.{_key(model.name)}]"
    yield f'family = "{model.family}"'
    yield f"source = {_string(model.source)}"
    for value in model.inputs:
        yield f"# input {_string(value.name)}: {_shape(value)}"
    if model.inputs:
        yield from _about_inputs(model.inputs)
    sizes = workload(model.inputs) if model.inputs else registry.families()[model.family].sizes
    yield f"workloads = [{{ {', '.join(f'{_key(name)} = {size}' for name, size in sizes.items())} }}]"


def _about_inputs(inputs: tuple[OnnxInput, ...]) -> Iterator[str]:
    scalars = [value for value in inputs if _is_setting(value)]
    shapeless = [value for value in inputs if value.dimensions is None and value.element]
    if shapeless:
        given = ", ".join(f'{_key(value.name)} = ["batch", 64]' for value in shapeless)
        yield "# A shape that the file lacks has to be given:"
        yield f"# inputs = {{ shapes = {{ {given} }} }}"
    if scalars:
        given = ", ".join(f"{_key(value.name)} = {16000 if RATE.search(value.name) else 1}" for value in scalars)
        yield "# Whole numbers such as these are guessed. Give those that matter:"
        yield f"# inputs = {{ values = {{ {given} }} }}"
    yield '# Inputs are made up from these shapes; real ones: inputs = "path:FILE.npz" (docs/matrix.md, "Inputs").'


def _is_setting(value: OnnxInput) -> bool:
    """Whether an input is a few whole numbers of fixed shape: more likely a setting, such as a size, than data."""
    sizes = [each.size or 0 for each in value.dimensions or ()]
    return "int" in value.element and value.dimensions is not None and 0 < math.prod(sizes) <= FEW


def _shape(value: OnnxInput) -> str:
    if value.dimensions is None:
        return f"{value.element or 'no tensor'}, without a shape"
    dims = ", ".join(str(each.size) if each.size is not None else _text(each.name) for each in value.dimensions)
    return f"{value.element} [{dims}]"


def _precisions(family: str, *, with_torch: bool) -> Iterator[str]:
    for precision, recipes in RECIPES.items():
        if family in recipes:
            yield f"[precisions.{precision}]"
            yield f'{family} = "{recipes[family]}"'
            if with_torch and "torch" in recipes:
                yield f'torch = "{recipes["torch"]}"'
            yield ""


def _torch(family: str) -> Iterator[str]:
    yield from ("[baselines.torch-eager]", 'engine = "torch"', 'mode = "eager"')
    yield "control = true              # ratios are reported against this one, in FP32"
    yield from ("", "[baselines.torch-compile]", 'engine = "torch"', 'mode = "compile"')
    if family not in COMPILED:
        yield from (
            "",
            "[[exclude]]",
            'cells = "*/torch-compile/*"',
            'reason = "compiling it takes minutes on few cores"',
        )
        yield "optional = true             # bench run --with-optional"


def workload(inputs: tuple[OnnxInput, ...]) -> dict[str, int]:
    """The sizes of a call of one sample: `batch`, and a default for every other symbolic dimension."""
    samples = _counts_samples(inputs)
    sides = {each.name for value in inputs for each in _sides(value)}
    # A sum follows from its terms.
    names = [name for name in symbolic_names(inputs) if name not in samples and not is_sum(name)]
    return {"batch": 1} | {name: PICTURE_SIDE if name in sides else default_size(name) for name in names}


def _counts_samples(inputs: tuple[OnnxInput, ...]) -> set[str]:
    """The dimensions that `batch` stands for: called so, or symbolic, first, and no steps of a sequence."""
    symbolic = [each for value in inputs for each in value.dimensions or () if each.size is None]
    if called := {each.name for each in symbolic if "batch" in each.name.lower() and each.is_named}:
        return called
    first = [value.dimensions[0] for value in inputs if value.dimensions]
    lead = {each.name for each in first if each.size is None and not (each.is_named and STEPS.search(each.name))}
    return lead | ({each.name for value in inputs for each in _state(value)} if lead else set())


def _state(value: OnnxInput) -> tuple[Dimension, ...]:
    """The batch of a recurrent state, [layers, batch, width]: the only symbolic dimension, without a name."""
    dimensions = value.dimensions or ()
    symbolic = tuple(each for each in dimensions if each.size is None)
    return symbolic if len(dimensions) == 3 and symbolic == (dimensions[1],) and not dimensions[1].is_named else ()


def _sides(value: OnnxInput) -> tuple[Dimension, ...]:
    """The sides of pictures: dimensions beside 1, 3 or 4 channels."""
    dimensions = value.dimensions or ()
    if len(dimensions) != 4:
        return ()
    if dimensions[1].size in CHANNELS:
        return dimensions[2:]
    return dimensions[1:3] if dimensions[3].size in CHANNELS else ()


def _key(name: str) -> str:
    return name if BARE.fullmatch(name) else _string(name)


def _string(text: str) -> str:
    """A text as TOML writes it."""
    # JSON's escapes are TOML's too, but for DEL, which JSON leaves as it is.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _text(name: str) -> str:
    """A name within a comment, which ends with the line."""
    return "".join(letter if letter.isprintable() else "?" for letter in name)
