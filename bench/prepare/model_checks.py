"""Finds mistakes in a model's table that need its files, and no heavy library: missing files and unknown dimensions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bench.declare import registry
from bench.declare.matrix import Matrix
from bench.declare.models import Model
from bench.declare.suggest import nearest
from bench.shared.onnx_inputs import read_inputs, symbolic_names

CONFIGS = Path(__file__).parents[1] / "worker" / "configs"
ON_DISK = ("path", "onnx", "config")
"""The kinds of sources that name something that must be there before a run."""


def mistakes(matrix: Matrix, names: list[str]) -> dict[str, str]:
    """By model, the first reason why its cells cannot run; models without one are left out."""
    root = Path(matrix.place).parent
    reasons = ((name, next(_of_model(matrix.models[name], root), "")) for name in names)
    return {name: reason for name, reason in reasons if reason}


def _of_model(model: Model, root: Path) -> Iterator[str]:
    task = model.task
    sources = (model.source, model.inputs, model.input_options.tokenizer, *((task.inputs, task.labels) if task else ()))
    for source in filter(None, sources):
        yield from _missing(source, root)
    kind, _, rest = model.source.partition(":")
    if kind == "onnx":
        yield from _unknown_dimensions(model, _located(rest, root))


def _missing(source: str, root: Path) -> Iterator[str]:
    kind, _, rest = source.partition(":")
    if kind == "config" and not rest.endswith(".json"):
        known = [path.stem for path in CONFIGS.glob("*.json")]
        if rest not in known:
            yield f"unknown config '{rest}'; {nearest(rest, known)}"
    elif kind in ON_DISK and not _located(rest, root).exists():
        yield f"there is no {source}; a relative path starts at the matrix's folder"


def _unknown_dimensions(model: Model, path: Path) -> Iterator[str]:
    try:
        inputs = read_inputs(path)
    except (OSError, ValueError) as error:
        yield f"{path.name} is no ONNX model that can be read ({error}); export or download it again"
        return
    options = model.input_options
    known = {*symbolic_names(inputs), *(name for shape in options.shapes.values() for name in map(str, shape))}
    # `batch` counts samples whatever the file calls them.
    known |= {*registry.families()[model.family].sizes, options.batch_axis}
    for number, workload in enumerate(model.workloads):
        for name in workload:
            if name not in known:
                yield f"workloads[{number}]: no input has a symbolic dimension '{name}'; {nearest(name, known - {''})}"


def _located(rest: str, root: Path) -> Path:
    return (root / Path(rest.strip()).expanduser()).absolute()
