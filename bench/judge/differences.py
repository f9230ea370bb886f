"""Two runs' records in; what differs between them out, in sentences that say what was before and what is now (pure).

Runs of other machines are untrusted input: values are cut short, and every list of sentences has an end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

from bench.judge import differences_machine, differences_matrix, differences_packages
from bench.judge.changes import bounded, changed, differ, listed, quoted
from bench.records import Cell, Effort, Run

__all__ = ["differences"]


def differences(base: Run, new: Run) -> tuple[str, ...]:
    """What differs between two runs, the weightiest first: `onnxruntime 1.30.0 -> 1.31.1 in runtime 'ort'`.

    Empty where nothing that is recorded differs. Times, names and verdicts are no differences of this kind. The
    sentences quote what the records say, as it stands there: whoever prints them escapes them.
    """
    return tuple(
        chain(
            differences_machine.machine(base, new),
            bounded(differences_packages.packages(base, new)),
            bounded(differences_machine.targets(base, new)),
            bounded(_models(base, new)),
            bounded(_recipes(base, new)),
            _artifacts(base, new),
            _measuring(base, new),
            bounded(differences_matrix.matrix(base.matrix_text, new.matrix_text)),
            _cells(base, new),
        )
    )


def _models(base: Run, new: Run) -> Iterable[str]:
    """Source, weights, and the content that the source turned out to have."""
    before, after = _by_model(base.cells), _by_model(new.cells)
    for model in _in_both(before, after):
        if before[model].source != after[model].source:
            yield f"model {model}: source {quoted(before[model].source)} -> {quoted(after[model].source)}"
        elif differ(base.source_digests, new.source_digests, model):
            yield f"model {model}: another source (digest changed)"
        if differ(base.weights, new.weights, model):
            yield f"model {model}: weights {base.weights[model]} -> {new.weights[model]}"


def _recipes(base: Run, new: Run) -> Iterable[str]:
    """How the cells that both runs have are made, each difference once for its precision."""
    before, after = _by_id(base.cells), _by_id(new.cells)
    found: dict[str, dict[str, list[str]]] = {}
    for name in _in_both(before, after):
        cell = after[name]
        if said := _recipe(before[name], cell):
            found.setdefault(cell.precision, {}).setdefault(said, []).append(f"{cell.family} on {cell.engine}")
    for precision, sayings in found.items():
        for said, of in sayings.items():
            where = f" ({listed(dict.fromkeys(of))})" if len(sayings) > 1 else ""
            yield f"precision {precision}: {said}{where}"


def _recipe(before: Cell, after: Cell) -> str:
    """What differs between two cells' recipes; empty where nothing does."""
    old, new = before.recipe, after.recipe
    if old is None or new is None or old.name != new.name:
        return changed("recipe", old and old.name, new and new.name)
    options = (changed(key, old.options.get(key), new.options.get(key)) for key in _either(old.options, new.options))
    said = [one for one in options if one]
    return f"recipe options changed: {listed(said)}" if said else ""


def _artifacts(base: Run, new: Run) -> Iterable[str]:
    """Artifacts of one name and another key: something of source, exporter, recipe or their versions differs."""
    names = [name for name in _in_both(base.artifacts, new.artifacts) if base.artifacts[name] != new.artifacts[name]]
    if names:
        yield f"artifacts made by other means (key changed): {listed(names)}"


def _measuring(base: Run, new: Run) -> Iterable[str]:
    """The suite itself, and how it was told to measure."""
    if base.bench_version != new.bench_version:
        yield f"touchstone-bench {base.bench_version} -> {new.bench_version}"
    if base.code and new.code and base.code != new.code:
        yield f"worker code {quoted(base.code)} -> {quoted(new.code)}: another state of touchstone-bench"
    for name, old, now in (
        ("record schema", base.schema, new.schema),
        ("threads", base.threads, new.threads),
        ("seed", base.seed, new.seed),
    ):
        if old != now:
            yield f"{name} {old} -> {now}"
    if base.effort != new.effort:
        yield _effort(base.effort, new.effort)


def _effort(old: Effort, new: Effort) -> str:
    if old.name != new.name:
        return f"budget {old.name} -> {new.name}"
    fields = (field for field in Effort.__struct_fields__ if getattr(old, field) != getattr(new, field))
    return f"budget {new.name}: {listed(changed(field, getattr(old, field), getattr(new, field)) for field in fields)}"


def _cells(base: Run, new: Run) -> Iterable[str]:
    """Cells that only one of the runs planned to measure."""
    before, after = ({cell.id for cell in run.cells if cell.excluded is None} for run in (base, new))
    for run, other, where in ((base, after, "the base"), (new, before, "the new run")):
        only = [cell.id for cell in run.cells if cell.excluded is None and cell.id not in other]
        if only:
            yield f"{len(only)} cell{'s' if len(only) > 1 else ''} only in {where}: {listed(only, few=3)}"


def _by_id(cells: Sequence[Cell]) -> dict[str, Cell]:
    return {cell.id: cell for cell in cells}


def _by_model(cells: Sequence[Cell]) -> dict[str, Cell]:
    return {cell.model: cell for cell in cells}


def _in_both(before: Mapping[str, object], after: Mapping[str, object]) -> list[str]:
    return [name for name in before if name in after]


def _either(before: Mapping[str, object], after: Mapping[str, object]) -> list[str]:
    return list(dict.fromkeys((*before, *after)))
