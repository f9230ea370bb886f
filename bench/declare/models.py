"""Reads and checks the tables `[models]` with their workloads."""

from __future__ import annotations

import re
from typing import Any, Literal, get_args

from msgspec import Struct
from msgspec.structs import replace

from bench.declare import registry
from bench.declare.model_inputs import MAX_SIZE, read_inputs
from bench.declare.model_task import read_task
from bench.declare.suggest import similar
from bench.declare.tables import Tables
from bench.records import InputOptions, SourceKind, TaskOptions

SOURCE_KINDS = get_args(SourceKind)
SHA256 = re.compile("[0-9a-fA-F]{64}")
KEYS = ("family", "source", "weights", "precisions", "sha256", "seed", "opset")
LATER = ("workloads", "inputs", "batch_axis", "task")
"""Keys whose meaning depends on the family."""
BATCH = re.compile(r"batch[_-]?(size|dim)?|batchsize|num_batch(es)?|n_batch", re.IGNORECASE)
"""Names of dimensions that count samples, as exporters write them."""
LETTERS = ("b", "bs", "bsz", "n")
WEIGHTS = ("auto", "pretrained", "random")
CLEARLY_MEANT = 0.75
"""How similar a misspelt family must be to one, from 0 to 1, for the rest of its table to be read as that family's."""


class Model(Struct, frozen=True):
    """A row of `[models]`."""

    name: str
    family: str
    source: str
    workloads: tuple[dict[str, int], ...] = ()
    weights: Literal["auto", "pretrained", "random"] = "auto"
    precisions: tuple[str, ...] = ()
    """The precisions that it is measured in; empty for all that each target can have."""
    inputs: str | None = None
    """The source of the input data, `wheel:…` or `path:…`; None for the family's own."""
    input_options: InputOptions = InputOptions()
    """How inputs are made from the data; its tokenizer is a source."""
    task: TaskOptions | None = None
    """Its labelled samples; their paths are sources. None where it has none."""
    sha256: str | None = None
    """The expected SHA-256 of the wheel that holds the model."""
    seed: int = 0
    opset: int | None = None


def read_models(tables: Tables) -> dict[str, Model]:
    """Every model by name, with the family's default sizes in each workload; mistakes are kept in `tables`."""
    models = {}
    for name, data in tables.named("models", needed=True):
        with tables.attempt():
            models[name] = _model(tables, name, data)
    return models


def _model(tables: Tables, name: str, data: dict[str, Any]) -> Model:
    where = f"models.{name}"
    weights = data.get("weights")
    with tables.attempt():
        tables.only_known(data, [*KEYS, *LATER], where)
    if isinstance(weights, str) and weights not in WEIGHTS:
        with tables.attempt():
            tables.one_of(weights, WEIGHTS, f"unknown weights '{weights}' in {where}")
        data = {**data, "weights": "auto"}
    # Workloads need the family's sizes, which are known only after the family is checked.
    rest = {key: data[key] for key in KEYS if key in data}
    model = tables.struct(
        Model, rest, where, name=name, workloads=(), inputs=None, input_options=InputOptions(), task=None
    )
    with tables.attempt():
        if model.sha256 is not None and not SHA256.fullmatch(model.sha256):
            hint = "a SHA-256 has 64 digits from 0 to 9 and a to f"
            raise tables.error(f"{where}.sha256 is {model.sha256!r}", hint)
    with tables.attempt():
        if not 0 <= model.seed <= MAX_SIZE:
            raise tables.error(f"{where}.seed is {model.seed}", f"a seed is a whole number from 0 to {MAX_SIZE}")
    known = registry.families()
    with tables.attempt():
        # Before all that depends on the family: then a misspelt one is the first of the mistakes.
        tables.one_of(model.family, known, f"unknown family '{model.family}' in {where}")
    with tables.attempt():
        _check_source_kind(tables, model, where)
    if model.family not in known:
        # The matrix is refused in any case; the other mistakes are told where it is clear which family is meant.
        meant = similar(model.family, sorted(known), least=CLEARLY_MEANT)
        if not meant:
            return model
        model = replace(model, family=meant[0])
    family = known[model.family]
    with tables.attempt():
        _check_sources(tables, model, where)
    with tables.attempt():
        inputs, options = read_inputs(tables, data.get("inputs"), data.get("batch_axis"), family, where)
        model = replace(model, inputs=inputs, input_options=options)
        model = replace(model, task=read_task(tables, data.get("task"), inputs, family, where))
    listed = data.get("workloads", [{}])  # a workload of nothing but the family's defaults
    given = tables.value(list[dict[str, Any]], listed, f"{where}.workloads")
    return replace(model, workloads=tuple(_workloads(tables, where, family, given, model.input_options.batch_axis)))


def _source_kind(model: Model) -> str:
    """The kind of source, `hub` of `hub:NAME`; empty for an unknown one."""
    kind, colon, _ = model.source.partition(":")
    return kind if colon and kind in SOURCE_KINDS else ""


def _check_source_kind(tables: Tables, model: Model, where: str) -> None:
    if not _source_kind(model):
        hint = f"it starts with one of {', '.join(k + ':' for k in SOURCE_KINDS)}"
        raise tables.error(f"source '{model.source}' of {where} has no known kind", hint)


def _check_sources(tables: Tables, model: Model, where: str) -> None:
    """Raise `MatrixError` for a source of a known kind that the family does not read."""
    kind = _source_kind(model)
    if not kind:
        return
    reads = registry.families()[model.family].sources
    if kind not in reads:
        hint = f"the family reads {', '.join(k + ':' for k in reads)}"
        raise tables.error(f"{where} has source kind '{kind}:' and family '{model.family}'", hint)
    files = sorted({ending for family in registry.families().values() for ending in family.files})
    ending = next((ending for ending in files if model.source.endswith(ending)), "")
    if ending and kind in ("path", "wheel") and ending not in registry.families()[model.family].files:
        able = sorted(name for name, family in registry.families().items() if ending in family.files)
        raise tables.error(
            f"source '{model.source}' of {where} names a {ending} file, and its family is '{model.family}'",
            f"the family of such a file is {' or '.join(able)}",
        )
    is_file = kind == "wheel" and model.source.endswith(".onnx")
    if kind == "wheel" and is_file != ("onnx" in reads):
        what = "names an ONNX file" if is_file else "names no .onnx file"
        hint = "its family is onnx-file" if is_file else "write wheel:NAME/FOLDER/model.onnx"
        raise tables.error(f"source '{model.source}' of {where} {what}", hint)


def _workloads(
    tables: Tables, where: str, family: registry.Family, given: list[dict[str, Any]], batch_axis: str
) -> list[dict[str, int]]:
    if not given:
        raise tables.error(f"{where}.workloads is empty", "leave it out, or name at least one workload")
    workloads: list[dict[str, int]] = []
    for number, workload in enumerate(given):
        with tables.attempt():
            sizes = _workload(tables, f"{where}.workloads[{number}]", family, workload, batch_axis)
            # Compared with the defaults filled in: two cells of one id would share a row.
            if sizes in workloads:
                message = f"{where}.workloads[{number}] is a duplicate of an earlier workload"
                raise tables.error(message, "remove one of them")
            workloads.append(sizes)
    return workloads


def _workload(
    tables: Tables, at: str, family: registry.Family, workload: dict[str, Any], batch_axis: str
) -> dict[str, int]:
    """The sizes of one workload, with the family's defaults. Raises `MatrixError`."""
    if not family.open_sizes:
        tables.only_known(workload, family.sizes, at)
    for key, size in workload.items():
        least = 0 if key in family.optional else 1
        # Not isinstance, for which True is a whole number.
        if type(size) is not int or not least <= size <= MAX_SIZE:
            raise tables.error(f"{at}.{key} is {size!r}", f"a size is a whole number from {least} to {MAX_SIZE}")
    if family.open_sizes:
        return _open_sizes(tables, family, workload, batch_axis, at)
    return {**family.sizes, **workload}


def _open_sizes(
    tables: Tables, family: registry.Family, workload: dict[str, int], batch_axis: str, at: str
) -> dict[str, int]:
    """The sizes by the names of dimensions; a dimension that counts samples is `batch`, whatever it is called.

    A letter such as `N` may count anything: then `batch` is left out, and the file decides.
    """
    samples = {
        name: size for name, size in workload.items() if name in ("batch", batch_axis) or _counts(name, batch_axis)
    }
    if len(set(samples.values())) > 1:
        words = " and ".join(f"{name} = {size}" for name, size in samples.items())
        hint = 'keep one, or name the dimension that counts them: batch_axis = "…" in the model\'s table'
        raise tables.error(f"{at}: {words} are two sizes of the samples of a call", hint)
    rest = {name: size for name, size in workload.items() if name not in samples}
    if samples:
        return {"batch": next(iter(samples.values())), **rest}
    may_count = any("batch" in name.lower() or name.lower() in LETTERS for name in rest)
    return rest if may_count else {**family.sizes, **rest}


def _counts(name: str, batch_axis: str) -> bool:
    return not batch_axis and BATCH.fullmatch(name) is not None
