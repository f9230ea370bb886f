"""Reads what a model's table says about its inputs: where they come from, and how they are made from files."""

from __future__ import annotations

import math
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from bench.declare import registry
from bench.declare.tables import Tables
from bench.records import InputOptions

INPUT_KINDS = ("wheel", "path")
LAYOUTS = ("NCHW", "NHWC")
TYPES = (
    "float16",
    "float32",
    "float64",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "bool",
)
MAX_SIZE = 2**31 - 1


class InputTable(Struct, frozen=True):
    """The table `inputs` of a model."""

    source: str | None = None
    input: str = ""
    values: dict[str, Any] = {}
    shapes: dict[str, list[int | str]] = {}
    type: str = ""
    layout: str = ""
    size: int | list[int] | None = None
    scale: float | None = None
    mean: float | list[float] | None = None
    std: float | list[float] | None = None
    rate: int | None = None
    length: int | None = None
    tokenizer: str = ""


def read_inputs(
    tables: Tables, data: object, batch_axis: object, family: registry.Family, where: str
) -> tuple[str | None, InputOptions]:
    """The source of the inputs, and how they are made; `tokenizer` is still a source. Raises `MatrixError`."""
    options = InputOptions()
    if batch_axis is not None:
        if not isinstance(batch_axis, str) or not batch_axis.strip():
            raise tables.error(f"{where}.batch_axis is {batch_axis!r}", "name a dimension, or input and position: x[1]")
        if not family.open_sizes:
            raise tables.error(f"{where}.batch_axis is for ONNX files", f"leave it out for the family '{family.name}'")
        options = replace(options, batch_axis=batch_axis.strip())
    if data is None or isinstance(data, str):
        return _source(tables, data, f"inputs '{data}' of {where}"), options
    place = f"{where}.inputs"
    if not isinstance(data, dict):
        raise tables.error(f"{place} is neither a source nor a table", 'write inputs = "path:FILE"')
    table = tables.struct(InputTable, data, place)
    source = _source(tables, table.source, f"source '{table.source}' of {place}")
    if not family.open_sizes and (other := [key for key in data if key != "source"]):
        message = f"{place}.{other[0]} is for ONNX files"
        raise tables.error(message, f"the family '{family.name}' prepares its inputs itself")
    return source, _options(tables, table, options, place)


def _source(tables: Tables, source: str | None, what: str) -> str | None:
    if source is not None and source.partition(":")[0] not in INPUT_KINDS:
        raise tables.error(f"{what} has no known kind", "it starts with wheel: or path:")
    return source


def _options(tables: Tables, table: InputTable, options: InputOptions, place: str) -> InputOptions:
    for word, known, key in ((table.layout, LAYOUTS, "layout"), (table.type, TYPES, "type")):
        if word:
            tables.one_of(word, known, f"unknown {key} '{word}' in {place}")
    for key, number in (("rate", table.rate), ("length", table.length)):
        if number is not None and not 0 < number <= MAX_SIZE:
            raise tables.error(f"{place}.{key} is {number}", "it is at least 1")
    for key, factor in (("scale", table.scale), *(("std", number) for number in _numbers(table.std))):
        if factor is not None and (not math.isfinite(factor) or factor == 0):
            raise tables.error(f"{place}.{key} is {factor}", "it is a number other than 0")
    if table.tokenizer:
        _source(tables, table.tokenizer, f"tokenizer '{table.tokenizer}' of {place}")
    return replace(
        options,
        input=table.input,
        values=table.values,
        shapes=_shapes(tables, table, place),
        type=table.type,
        layout=table.layout,
        size=_size(tables, table.size, place),
        scale=table.scale,
        mean=_numbers(table.mean),
        std=_numbers(table.std),
        rate=table.rate,
        length=table.length,
        tokenizer=table.tokenizer,
    )


def _shapes(tables: Tables, table: InputTable, place: str) -> dict[str, tuple[int | str, ...]]:
    for name, shape in table.shapes.items():
        for size in shape:
            if (isinstance(size, int) and not 0 < size <= MAX_SIZE) or size == "":
                raise tables.error(
                    f"{place}.shapes.{name} holds {size!r}", "a dimension is a name, or a size of at least 1"
                )
    return {name: tuple(shape) for name, shape in table.shapes.items()}


def _size(tables: Tables, size: int | list[int] | None, place: str) -> tuple[int, int] | None:
    if size is None:
        return None
    sides = [size, size] if isinstance(size, int) else size
    if len(sides) != 2 or not all(0 < side <= MAX_SIZE for side in sides):
        raise tables.error(f"{place}.size is {size}", "it is height and width, [224, 224]")
    return sides[0], sides[1]


def _numbers(numbers: float | list[float] | None) -> tuple[float, ...]:
    return () if numbers is None else tuple(numbers) if isinstance(numbers, list) else (numbers,)
