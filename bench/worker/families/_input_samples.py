"""Prepares pictures, sounds and texts as arrays for the inputs of an ONNX file, as the matrix says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.records import InputOptions
from bench.worker.families import _input_files
from bench.worker.families._input_files import Data, refused
from bench.worker.families._onnx_graph import Input
from bench.worker.feeds import Array, Feed
from bench.worker.marked_files import readable

CHANNELS = (3, 1, 4)
"""Numbers of channels of pictures, the likeliest first."""
MOST_SAMPLES = 4096
"""No more windows are cut out of sounds: an hour has very many."""
TOKENS = ("input_ids", "attention_mask", "token_type_ids", "position_ids")


def samples(data: Data, inputs: Sequence[Input], options: InputOptions, given: dict[str, int]) -> Feed:
    """All samples by input, with the samples along the first axis. `given` holds the sizes of the workload by name.

    Raises Refusal for data that fits no input.
    """
    if data.arrays:
        return {name: _typed(array, options) for name, array in data.arrays.items()}
    if data.single is not None:
        return {_target(inputs, options, data).name: _typed(data.single, options)}
    if data.records and not _are_texts(data, inputs):
        return _records(data, {value.name: value for value in inputs})
    if data.pictures:
        return _pictures(data, _target(inputs, options, data, ranks=(4, 3)), options, given)
    if data.sounds:
        return _sounds(data, _target(inputs, options, data, ranks=(3, 2, 1)), options, given)
    return _texts(data, inputs, options, given)


def _typed(array: Array, options: InputOptions) -> Array:
    """The array in the type that the matrix asks for; numbers only."""
    if not options.type or array.dtype.kind not in "fiub":
        return array
    return array.astype(options.type)


def _target(inputs: Sequence[Input], options: InputOptions, data: Data, ranks: Sequence[int] = ()) -> Input:
    """The input that the data is for: the one that the matrix names, else the only one that can be meant."""
    by_name = {value.name: value for value in inputs}
    if options.input:
        if options.input not in by_name:
            raise refused(
                f"inputs.input is {options.input!r}, and no input has this name", f"there are: {', '.join(by_name)}"
            )
        return by_name[options.input]
    free = [value for value in inputs if value.name not in options.values]
    for rank in ranks:
        fitting = [value for value in free if value.axes is not None and len(value.axes) == rank]
        fitting = [value for value in fitting if value.dtype is not None and np.dtype(value.dtype).kind in "fiu"]
        if fitting:
            free = fitting
            break
    if len(free) != 1:
        names = ", ".join(value.name for value in free or inputs)
        raise refused(f"{data.path.name} may be for any of these inputs: {names}", "name one: inputs = { input = … }")
    return free[0]


# --- JSON lines -------------------------------------------------------------------------------------------------------


def _are_texts(data: Data, inputs: Sequence[Input]) -> bool:
    return data.records[0].keys() == {"text"} and all(value.name != "text" for value in inputs)


def _records(data: Data, inputs: dict[str, Input]) -> Feed:
    return {name: np.stack(_column(data, name, inputs.get(name))) for name in data.records[0]}


def _column(data: Data, name: str, value: Input | None) -> list[Array]:
    """The values of one input, in its own type: JSON has no types of numbers."""
    if value is None:
        raise refused(f"{data.path.name} holds {name!r}, and no input has this name", "leave it out, or rename it")
    arrays = [
        _from_json(record[name], f"line {number} of {data.path.name}", name, value)
        for number, record in enumerate(data.records, 1)
    ]
    for number, array in enumerate(arrays, 1):
        if array.shape != arrays[0].shape:
            shapes = f"shape {list(array.shape)} for {name!r}, and the first has {list(arrays[0].shape)}"
            raise refused(f"line {number} of {data.path.name} has {shapes}", "pad the samples to one length")
    return arrays


def _from_json(content: Any, place: str, name: str, value: Input) -> Array:
    try:
        array = np.asarray(content)
    except ValueError as error:  # lists of several lengths
        raise refused(
            f"{place}: {name!r} is no array, its rows have several lengths", "pad them to one length"
        ) from error
    if value.kind == "STRING" and array.dtype.kind == "U":
        return array
    if value.dtype is None or array.dtype.kind not in "fiub":
        what = "texts" if array.dtype.kind == "U" else "no numbers"
        raise refused(f"{place}: {name!r} holds {what}, and the input takes {value.kind}", "give values of this type")
    if array.dtype.kind == "f" and np.dtype(value.dtype).kind in "iub":
        raise refused(f"{place}: {name!r} holds fractions, and the input takes {value.kind}", "give whole numbers")
    with np.errstate(all="ignore"):
        typed: Array = array.astype(value.dtype)
    if typed.dtype.kind in "iub" and not np.array_equal(typed, array):
        raise refused(f"{place}: {name!r} holds a number that {value.kind} cannot hold", "give smaller numbers")
    return typed


# --- pictures ---------------------------------------------------------------------------------------------------------


def _pictures(data: Data, value: Input, options: InputOptions, given: dict[str, int]) -> Feed:
    channels_first = _channels_first(value, options)
    height, width = _picture_size(value, options, channels_first, given)
    axes = value.axes or ()
    place = len(axes) - 3 if channels_first else len(axes) - 1
    channels = axes[place].size or 3
    if channels not in CHANNELS:
        remedy = 'name the layout: inputs = { layout = "NHWC" }'
        raise refused(f"input {value.name!r} of shape {value.shape_text} takes no pictures", remedy)
    dtype = np.dtype(options.type or value.dtype)
    pixels = [_picture(path, height, width, channels) for path in data.pictures[:MOST_SAMPLES]]
    prepared = _normalised(np.stack(pixels), options, channels, dtype)
    return {value.name: np.ascontiguousarray(prepared.transpose(0, 3, 1, 2) if channels_first else prepared)}


def _channels_first(value: Input, options: InputOptions) -> bool:
    if options.layout:
        return options.layout == "NCHW"
    sizes = [axis.size for axis in (value.axes or ())[-3:]]
    # The likelier number of channels decides: a side of 4 beside 3 channels is a side.
    first, last = (CHANNELS.index(size) if size in CHANNELS else len(CHANNELS) for size in (sizes[0], sizes[-1]))
    return first <= last


def _picture_size(value: Input, options: InputOptions, channels_first: bool, given: dict[str, int]) -> tuple[int, int]:
    """Height and width: those of the file, else of the matrix, else of the workload, else 224."""
    axes = (value.axes or ())[-3:]
    sides = axes[1:] if channels_first else axes[:2]
    asked = options.size or (None, None)
    sizes = [axis.size or wanted or given.get(axis.name) or 224 for axis, wanted in zip(sides, asked, strict=True)]
    for axis, wanted in zip(sides, asked, strict=True):
        if axis.size and wanted and axis.size != wanted:
            message = f"inputs.size asks for {wanted}, and the file fixes a side of {value.name!r} to {axis.size}"
            raise refused(message, "leave size out")
    return sizes[0], sizes[1]


def _picture(path: Path, height: int, width: int, channels: int) -> Array:
    """The whole picture, resized: uint8 of (height, width, channels)."""
    from PIL import Image

    opened = _input_files.picture(path, {1: "L", 3: "RGB", 4: "RGBA"}[channels])
    resized = opened.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(resized, np.uint8).reshape(height, width, channels)


def _normalised(pixels: Array, options: InputOptions, channels: int, dtype: np.dtype[Any]) -> Array:
    """`(pixel * scale - mean) / std` by channel, in the type of the input."""
    for name, numbers in (("mean", options.mean), ("std", options.std)):
        if len(numbers) not in (0, 1, channels):
            raise refused(
                f"inputs.{name} has {len(numbers)} numbers for {channels} channels", "give one, or one a channel"
            )
    if dtype.kind in "iu" and not (options.mean or options.std or options.scale):
        return pixels.astype(dtype)
    scaled = pixels * (options.scale if options.scale is not None else 1 / 255)
    return np.asarray((scaled - np.array(options.mean or (0.0,))) / np.array(options.std or (1.0,)), dtype)


# --- sounds -----------------------------------------------------------------------------------------------------------


def _sounds(data: Data, value: Input, options: InputOptions, given: dict[str, int]) -> Feed:
    """Windows of one length, one after another; the last of each sound, which is shorter, is left out."""
    clips = [_clip(path, options) for path in data.sounds]
    axes = value.axes or ()
    # The longest fixed size, else the last symbolic one: the others are samples and channels.
    place = max(range(len(axes)), key=lambda index: (axes[index].size or 2 if axes[index].size != 1 else 0, index))
    length = axes[place].size or options.length or given.get(axes[place].name) or min(map(len, clips))
    windows = [clip[start : start + length] for clip in clips for start in range(0, len(clip) - length + 1, length)]
    if not windows:
        longest = max(map(len, clips))
        raise refused(
            f"the sounds of {data.path.name} have at most {longest} samples, and a call takes {length}",
            "give longer ones",
        )
    dtype = np.dtype(options.type or value.dtype)
    stacked = np.stack(windows[:MOST_SAMPLES])
    scale = options.scale if options.scale is not None else float(np.iinfo(dtype).max) if dtype.kind == "i" else 1.0
    typed = (stacked * scale).astype(dtype)
    # A dimension of size 1 beside the samples is the channel.
    if len(axes) == 3:
        typed = typed[:, None, :] if place == 2 else typed[:, :, None]
    return {value.name: typed}


def _clip(path: Path, options: InputOptions) -> Array:
    samples, rate = _input_files.sound(path)
    if options.rate and rate != options.rate:
        remedy = f"ffmpeg -i {path.name} -ar {options.rate} out.wav"
        raise refused(f"{path.name} has {rate} samples a second, and inputs.rate is {options.rate}", remedy)
    return samples


# --- texts ------------------------------------------------------------------------------------------------------------


def _texts(data: Data, inputs: Sequence[Input], options: InputOptions, given: dict[str, int]) -> Feed:
    """Token ids, masks and types, as the graph has inputs for them; texts as they are for an input of strings."""
    texts = list(data.texts) or _input_files.texts(data.path)
    if not options.tokenizer:
        strings = [value for value in inputs if value.kind == "STRING"]
        if len(strings) != 1:
            remedy = 'name its folder: inputs = { source = "…", tokenizer = "path:FOLDER", length = 128 }'
            raise refused(f"{data.path.name} holds texts, and no tokenizer is given", remedy)
        # A column, where the graph has one: a table of features.
        column = len(strings[0].axes or ()) == 2
        return {strings[0].name: np.array(texts).reshape((-1, 1) if column else -1)}
    return _tokens(texts, inputs, options, given)


def _tokens(texts: list[str], inputs: Sequence[Input], options: InputOptions, given: dict[str, int]) -> Feed:
    by_name = {value.name: value for value in inputs}
    ids = by_name.get(options.input or "input_ids")
    if ids is None or not ids.axes:
        raise refused("no input is called 'input_ids'", "name the one that takes the tokens: inputs = { input = … }")
    axis = ids.axes[-1]
    length = axis.size or options.length or given.get(axis.name) or 128
    tokenizer = _tokenizer(options.tokenizer)
    rows = [tokenizer(text, truncation=True, max_length=length)["input_ids"] for text in texts]
    padding = tokenizer.pad_token_id or 0
    feed = {
        "input_ids": np.array([row + [padding] * (length - len(row)) for row in rows]),
        "attention_mask": np.array([[1] * len(row) + [0] * (length - len(row)) for row in rows]),
        "token_type_ids": np.zeros((len(rows), length)),
        "position_ids": np.tile(np.arange(length), (len(rows), 1)),
    }
    names = {ids.name: "input_ids"} | {name: name for name in TOKENS[1:] if name in by_name}
    return {name: feed[key].astype(by_name[name].dtype or np.int64) for name, key in names.items()}


def _tokenizer(folder: str) -> Any:
    from transformers import AutoTokenizer

    from bench.worker.hugging_face import LOCAL

    try:
        return AutoTokenizer.from_pretrained(readable(folder), **LOCAL)
    # A folder may hold any files, and each tokenizer has errors of its own.
    except Exception as error:
        raise refused(
            f"{Path(folder).name} holds no tokenizer that can be loaded: {error}", "name a folder with tokenizer.json"
        ) from error
