"""Reads and checks the tables `[models]` with their workloads."""

from __future__ import annotations

from typing import Any, Literal, get_args

from msgspec import Struct
from msgspec.structs import replace

from bench.declare import registry
from bench.declare.tables import Tables
from bench.records import SourceKind

MAX_SIZE = 2**31 - 1
SOURCE_KINDS = get_args(SourceKind)
INPUT_KINDS = ("wheel", "path")
WEIGHTS = ("auto", "pretrained", "random")


class Model(Struct, frozen=True):
    """A row of `[models]`."""

    name: str
    family: str
    source: str
    workloads: tuple[dict[str, int], ...] = ()
    weights: Literal["auto", "pretrained", "random"] = "auto"
    inputs: str | None = None
    """The source of the input data, `wheel:…` or `path:…`; None for the family's own."""
    sha256: str | None = None
    """The expected SHA-256 of the wheel that holds the model."""
    seed: int = 0
    opset: int | None = None


def read_models(tables: Tables) -> dict[str, Model]:
    """Every model by name, with the family's default sizes in each workload. Raises `MatrixError`."""
    return {name: _model(tables, name, data) for name, data in tables.named("models", needed=True)}


def _model(tables: Tables, name: str, data: dict[str, Any]) -> Model:
    where = f"models.{name}"
    weights = data.get("weights")
    if isinstance(weights, str):
        tables.one_of(weights, WEIGHTS, f"unknown weights '{weights}' in {where}")
    # Workloads need the family's sizes, which are known only after the family is checked.
    rest = {key: value for key, value in data.items() if key != "workloads"}
    model = tables.struct(Model, rest, where, name=name, workloads=())
    known = registry.families()
    # Before the sources: which kinds of source are valid depends on the family.
    tables.one_of(model.family, known, f"unknown family '{model.family}' in {where}")
    _check_sources(tables, model, where)
    if not 0 <= model.seed <= MAX_SIZE:
        raise tables.error(f"{where}.seed is {model.seed}", f"a seed is a whole number from 0 to {MAX_SIZE}")
    listed = data.get("workloads", [{}])  # a workload of nothing but the family's defaults
    given = tables.value(list[dict[str, Any]], listed, f"{where}.workloads")
    return replace(model, workloads=tuple(_workloads(tables, where, known[model.family], given)))


def _check_sources(tables: Tables, model: Model, where: str) -> None:
    kind, colon, _ = model.source.partition(":")
    if not colon or kind not in SOURCE_KINDS:
        hint = f"it starts with one of {', '.join(k + ':' for k in SOURCE_KINDS)}"
        raise tables.error(f"source '{model.source}' of {where} has no known kind", hint)
    reads = registry.families()[model.family].sources
    if kind not in reads:
        hint = f"the family reads {', '.join(k + ':' for k in reads)}"
        raise tables.error(f"{where} has source kind '{kind}:' and family '{model.family}'", hint)
    if model.inputs is not None and model.inputs.partition(":")[0] not in INPUT_KINDS:
        raise tables.error(f"inputs '{model.inputs}' of {where} has no known kind", "it starts with wheel: or path:")


def _workloads(
    tables: Tables, where: str, family: registry.Family, given: list[dict[str, Any]]
) -> list[dict[str, int]]:
    if not given:
        raise tables.error(f"{where}.workloads is empty", "leave it out, or name at least one workload")
    workloads: list[dict[str, int]] = []
    for number, workload in enumerate(given):
        at = f"{where}.workloads[{number}]"
        if not family.open_sizes:
            tables.only_known(workload, family.sizes, at)
        for key, size in workload.items():
            least = 0 if key in family.optional else 1
            # Not isinstance, for which True is a whole number.
            if type(size) is not int or not least <= size <= MAX_SIZE:
                raise tables.error(f"{at}.{key} is {size!r}", f"a size is a whole number from {least} to {MAX_SIZE}")
        sizes = {**family.sizes, **workload}
        # Compared with the defaults filled in: two cells of one id would share a row.
        if sizes in workloads:
            raise tables.error(f"{at} is a duplicate of an earlier workload", "remove one of them")
        workloads.append(sizes)
    return workloads
