"""The words for differences between two runs: versions, machines, recipes and matrices.

`bench.judge.differences` makes the notes; comparisons, histories and gates show them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from bench.records import Note
from bench.report import text_notes
from bench.report.text_notes import Words

SIDES = {"base": "base", "new": "new run"}
FACTS = {
    "brand": "processor",
    "physical_cores": "physical cores",
    "logical_cores": "logical cores",
    "usable_cores": "usable cores",
    "isa": "instruction sets",
    "memory_gb": "memory in GB",
    "os": "OS",
    "os_version": "OS version",
    "python": "Python of the suite",
    "checks_options": "checks its options",
}
"""The words for facts of machines and targets whose field names are not plain words."""
NOTHING = "not said"


def say(note: Note, words: Mapping[str, Words] | None = None) -> str:
    """The words of a note, by default from the table of this module; an unknown kind shows its parameters."""
    return text_notes.say(note, WORDS if words is None else words)


def sentences(notes: Iterable[Note]) -> tuple[str, ...]:
    """One sentence for each difference: `onnxruntime 1.30.0 -> 1.31.1 in runtime 'ort'`."""
    return tuple(map(say, notes))


# --- parts of sentences -----------------------------------------------------------------------------------------------


def arrow(before: object, after: object) -> str:
    """Both values as a matrix writes them, `true -> not said`; a missing value is `not said`."""
    return " -> ".join(NOTHING if value in (None, "") else str(value) for value in (before, after))


def listed(parts: Sequence[str], more: int = 0) -> str:
    """A list with the number of items that are left out: `a, b and 4 more`."""
    return ", ".join(parts) + (f" and {more} more" if more else "")


SHOWN_NAMES = 3
"""Names that a folded list shows."""


def folded_line(names: Sequence[str], where: str) -> str:
    """`12 cells only in the base: a, b, c and 9 more`."""
    plural = "" if len(names) == 1 else "s"
    shown = listed(names[:SHOWN_NAMES], max(0, len(names) - SHOWN_NAMES))
    return f"{len(names):,} cell{plural} {where}: {shown}"


def _changes(names: Sequence[str], before: Sequence[str], after: Sequence[str], more: int, link: str = " ") -> str:
    """`OS version 12 -> 13, kernel 6.1 -> 6.12 and 2 more`."""
    rows = zip(names, before, after, strict=True)
    # A field without words here, such as one of another version, is shown by its name.
    return listed([f"{FACTS.get(name, name)}{link}{arrow(old, new)}" for name, old, new in rows], more)


def _runtime(runtime: str, runtime_before: str) -> str:
    return f"'{runtime}'" if runtime == runtime_before else f"'{runtime_before}' -> '{runtime}'"


def _place(where: Sequence[str], more_places: int) -> str:
    return f" ({listed(where, more_places)})" if where else ""


# --- kinds ------------------------------------------------------------------------------------------------------------


def _another_machine(
    key_before: str, key_after: str, names: Sequence[str], before: Sequence[str], after: Sequence[str], more: int
) -> str:
    facts = f": {_changes(names, before, after, more)}" if names else ""
    return f"another machine (key {key_before} -> {key_after}){facts}"


def _package(
    name: str,
    before: str | None,
    after: str | None,
    runtimes: Sequence[str],
    runtimes_before: Sequence[str],
    more: int,
) -> str:
    places = [_runtime(new, old) for new, old in zip(runtimes, runtimes_before, strict=True)]
    where = f"in runtime{'s' if len(places) + more > 1 else ''} {listed(places, more)}"
    return f"{_version(name, before, after)} {where}"


def _version(name: str, before: str | None, after: str | None) -> str:
    if not before:
        return f"{name} {after} added"
    return f"{name} {before} -> {after}" if after else f"{name} {before} gone"


def _brought_along(
    runtime: str,
    runtime_before: str,
    names: Sequence[str],
    before: Sequence[str],
    after: Sequence[str],
    more: int,
) -> str:
    versions = [_version(*row) for row in zip(names, before, after, strict=True)]
    where = _runtime(runtime, runtime_before)
    return f"runtime {where}, packages that others brought along: {listed(versions, more)}"


def _origin(runtime: str, runtime_before: str, existing: bool) -> str:
    kinds = ["made by the suite", "an interpreter of the user's"]
    before, after = kinds if existing else reversed(kinds)
    return f"runtime {_runtime(runtime, runtime_before)}: {before} -> {after}"


def _recipe_options(
    precision: str,
    names: Sequence[str],
    before: Sequence[str],
    after: Sequence[str],
    more: int,
    where: Sequence[str],
    more_places: int,
) -> str:
    options = _changes(names, before, after, more)
    return f"precision {precision}: recipe options changed: {options}{_place(where, more_places)}"


def _cells(side: str, count: int, names: Sequence[str], more: int) -> str:
    return f"{count} cell{'' if count == 1 else 's'} only in the {SIDES[side]}: {listed(names, more)}"


def _target_formats(target: str, names: Sequence[str], before: Sequence[str], after: Sequence[str], more: int) -> str:
    return f"target '{target}': {_changes(names, before, after, more, ' computed in ')}"


WORDS: dict[str, Words] = {
    "text": lambda text: text,  # the words of somebody else
    "another-machine": _another_machine,
    "machine-facts": lambda names, before, after, more: f"the same machine, but {_changes(names, before, after, more)}",
    "package": _package,
    "runtime-python": lambda runtime, runtime_before, before, after: (
        f"runtime {_runtime(runtime, runtime_before)}: Python {before} -> {after}"
    ),
    "runtime-origin": _origin,
    "packages-brought-along": _brought_along,
    "target": lambda target, names, before, after, more: f"target '{target}': {_changes(names, before, after, more)}",
    "target-formats": _target_formats,
    "model-source": lambda model, before, after: f"model {model}: source '{before}' -> '{after}'",
    "model-digest": lambda model: f"model {model}: another source (digest changed)",
    "model-weights": lambda model, before, after: f"model {model}: weights {before} -> {after}",
    "recipe": lambda precision, before, after, where, more_places: (
        f"precision {precision}: recipe {arrow(before, after)}{_place(where, more_places)}"
    ),
    "recipe-options": _recipe_options,
    "artifacts": lambda names, more: (
        f"artifacts with another key (other source, tools or recipe): {listed(names, more)}"
    ),
    "bench-version": lambda before, after: f"touchstone-bench {before} -> {after}",
    "worker-code": lambda before, after: f"worker code '{before}' -> '{after}': another state of touchstone-bench",
    "run-setting": lambda name, before, after: f"{'record schema' if name == 'schema' else name} {before} -> {after}",
    "budget": lambda before, after: f"budget {before} -> {after}",
    "budget-settings": lambda budget, names, before, after, more: (
        f"budget {budget}: {_changes(names, before, after, more)}"
    ),
    "matrix-unreadable": lambda: "the matrices differ, and one of them cannot be read as TOML",
    "matrix-table": lambda axis, name, side: f"matrix: [{axis}.{name}] only in the {SIDES[side]}",
    "matrix-key": lambda axis, name, key, before, after: f"matrix: [{axis}.{name}] {key} {arrow(before, after)}",
    "matrix-variable": lambda axis, name, variable: f"matrix: [{axis}.{name}] environment.{variable} has another value",
    "matrix-measure": lambda key, before, after: f"matrix: measure.{key} {arrow(before, after)}",
    "matrix-rule": lambda cells, side: f"matrix: the rule [[exclude]] cells = '{cells}' only in the {SIDES[side]}",
    "tolerance": lambda precision, key, before, after: f"precision {precision}: tolerance {key} {arrow(before, after)}",
    "cells-of-one-run": _cells,
    "more-differences": lambda count: f"and {count} more differences of this kind",
}
"""The words of each kind, by the parameters of its note."""
