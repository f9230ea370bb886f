"""Finds what differs between the records of two runs, as notes with the values before and after (pure).

`bench.report.text_differences` turns the notes into sentences.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

from msgspec.structs import replace

from bench.judge import differences_machine, differences_matrix, differences_packages
from bench.judge.changes import both_differ, bounded, changes, cut, first, values
from bench.records import Cell, Effort, Note, NoteValue, Run, note

__all__ = ["REQUEST_KINDS", "differences"]

REQUEST_KINDS = {"cells-of-one-run", "matrix-table", "matrix-rule"}
"""Kinds that describe which cells a run was to measure; they do not change how a cell is measured."""
SHOWN_CELLS = 3


def differences(base: Run, new: Run) -> tuple[Note, ...]:
    """What differs between two runs, the most important first; empty where nothing that is recorded differs.

    Times, names and verdicts are not compared here. Values are quoted as the records hold them; the code that prints
    them escapes them.
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


def _models(base: Run, new: Run) -> Iterable[Note]:
    """Differences of the source, its weights and its content."""
    before, after = _by_model(base.cells), _by_model(new.cells)
    for model in _in_both(before, after):
        if before[model].source != after[model].source:
            sides = {"before": cut(before[model].source), "after": cut(after[model].source)}
            yield note("model-source", model=cut(model), **sides)
        # Another source has another digest anyway, so the digest is reported only for the same source.
        elif both_differ(base.source_digests, new.source_digests, model):
            yield note("model-digest", model=cut(model))
        if both_differ(base.weights, new.weights, model):
            yield note("model-weights", model=cut(model), before=base.weights[model], after=new.weights[model])


def _recipes(base: Run, new: Run) -> Iterable[Note]:
    """Differences between the recipes of the cells that both runs have, once for each precision.

    `where` names model families and engines where the cells of one precision do not all have the same difference.
    """
    before, after = _by_id(base.cells), _by_id(new.cells)
    facts_by_precision: dict[str, list[tuple[Note, list[str]]]] = {}
    for name in _in_both(before, after):
        cell = after[name]
        if (fact := _recipe(before[name], cell)) is None:
            continue
        facts = facts_by_precision.setdefault(cell.precision, [])
        places = next((places for other, places in facts if other == fact), None)
        if places is None:
            places = []
            facts.append((fact, places))
        places.append(f"{cell.family} on {cell.engine}")
    for facts in facts_by_precision.values():
        for fact, places in facts:
            # Where all cells of a precision differ alike, the precision alone says which cells are meant.
            where: dict[str, NoteValue] = first(dict.fromkeys(places) if len(facts) > 1 else ())
            yield replace(fact, values={**fact.values, "where": where["names"], "more_places": where["more"]})


def _recipe(before: Cell, after: Cell) -> Note | None:
    """What differs between the recipes of two cells; None where nothing differs."""
    old, new, precision = before.recipe, after.recipe, cut(after.precision)
    # Options of two recipes with different names have different meanings.
    if old is None or new is None or old.name != new.name:
        if old is None and new is None:
            return None
        return note("recipe", precision=precision, **values(old and old.name, new and new.name))
    options = changes((key, old.options.get(key), new.options.get(key)) for key in _either(old.options, new.options))
    return note("recipe-options", precision=precision, **options) if options else None


def _artifacts(base: Run, new: Run) -> Iterable[Note]:
    """Artifacts with the same name and another key: the source, the exporter, the recipe or a version differs."""
    names = [name for name in _in_both(base.artifacts, new.artifacts) if base.artifacts[name] != new.artifacts[name]]
    if names:
        yield note("artifacts", **first(names))


def _measuring(base: Run, new: Run) -> Iterable[Note]:
    """Differences of the suite itself and of its settings."""
    if base.bench_version != new.bench_version:
        yield note("bench-version", before=cut(base.bench_version), after=cut(new.bench_version))
    # Older runs did not record the code of the worker.
    if base.code and new.code and base.code != new.code:
        yield note("worker-code", before=cut(base.code), after=cut(new.code))
    for name, old, now in (
        ("schema", base.schema, new.schema),
        ("threads", base.threads, new.threads),
        ("seed", base.seed, new.seed),
    ):
        if old != now:
            yield note("run-setting", name=name, before=old, after=now)
    if base.effort != new.effort:
        yield _effort(base.effort, new.effort)


def _effort(old: Effort, new: Effort) -> Note:
    # Another budget has other settings, so they are not listed one by one.
    if old.name != new.name:
        return note("budget", before=cut(old.name), after=cut(new.name))
    fields = changes((field, getattr(old, field), getattr(new, field)) for field in Effort.__struct_fields__)
    return note("budget-settings", budget=cut(new.name), **(fields or {}))


def _cells(base: Run, new: Run) -> Iterable[Note]:
    """Cells that only one of the runs planned to measure."""
    # Cells that a rule excludes are left out, because the note of the rule reports them.
    before, after = ({cell.id for cell in run.cells if cell.excluded is None} for run in (base, new))
    for run, other, side in ((base, after, "base"), (new, before, "new")):
        names = [cell.id for cell in run.cells if cell.excluded is None and cell.id not in other]
        if names:
            shown: dict[str, NoteValue] = first(names, SHOWN_CELLS)
            yield note("cells-of-one-run", side=side, count=len(names), **shown)


def _by_id(cells: Sequence[Cell]) -> dict[str, Cell]:
    return {cell.id: cell for cell in cells}


def _by_model(cells: Sequence[Cell]) -> dict[str, Cell]:
    return {cell.model: cell for cell in cells}


def _in_both(before: Mapping[str, object], after: Mapping[str, object]) -> list[str]:
    return [name for name in before if name in after]


def _either(before: Mapping[str, object], after: Mapping[str, object]) -> list[str]:
    return list(dict.fromkeys((*before, *after)))
