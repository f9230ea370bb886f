"""Finds the tables and keys that differ between the texts of two matrices, as notes (pure).

Sources, recipes, workloads and requirements are left out: the runs record what they were resolved to.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from bench.judge.changes import cut, differs, values
from bench.records import Note, note
from bench.shared.hidden import are_other_values, as_set, without_credentials

LARGEST = 2**20
"""The longest text of a matrix that is read, in characters; a matrix written by a person is far shorter."""
DEEPEST = 4
"""The depth of nested tables that are compared key by key; below it whole values are compared."""
RECORDED_IN_RUNS = {"models": {"source", "workloads", "family"}, "runtimes": {"requires"}}
# `precisions` is not among them: runs record the recipes, so only its tolerances are compared, in `_tolerances`.
AXES = ("models", "providers", "baselines", "runtimes")


def matrix(base: str, new: str) -> Iterator[Note]:
    """A note for each key that differs; nothing where only comments or layout differ."""
    # Before parsing, so that two equal texts which this version cannot read give no note.
    if base == new:
        return
    try:
        before, after = _read(base), _read(new)
        yield from _axes(before, after)
        yield from _tolerances(before, after)
        for key, old, now in _walk(_table(before, "measure"), _table(after, "measure")):
            if key not in {"seed", "threads", "budget"}:  # the runs record the values that were used
                yield note("matrix-measure", key=cut(key), **values(old, now))
        yield from _rules(before, after)
    except (ValueError, RecursionError):  # invalid TOML, or thousands of digits or nested brackets
        yield note("matrix-unreadable")


def _read(text: str) -> dict[str, Any]:
    # Before parsing: the text may come from a stranger's run.
    if len(text) > LARGEST:
        raise ValueError("too large for a matrix")
    return tomllib.loads(text)


def _axes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Note]:
    """The tables of models, targets and runtimes."""
    for axis in AXES:
        old, new = _table(before, axis), _table(after, axis)
        for name in dict.fromkeys((*old, *new)):
            if name not in new or name not in old:
                yield note("matrix-table", axis=axis, name=cut(name), side="base" if name in old else "new")
                continue
            for variable in _other_values(old[name], new[name]):
                yield note("matrix-variable", axis=axis, name=cut(name), variable=cut(variable))
            for key, was, now in _walk(_hidden(old[name]), _hidden(new[name])):
                if key.partition(".")[0] not in RECORDED_IN_RUNS.get(axis, ()):
                    yield note("matrix-key", axis=axis, name=cut(name), key=cut(key), **values(was, now))


def _other_values(old: Any, new: Any) -> Iterator[str]:
    """The variables of a target whose values are known to differ: the seals of one cache tell it."""
    was, now = _table(old, "environment"), _table(new, "environment")
    yield from (name for name in was if name in now and are_other_values(str(was[name]), str(now[name])))


def _hidden(table: Any) -> Any:
    """A target's table without the values of its variables: they may be secrets, and older runs hold them."""
    environment = _table(table, "environment")
    if not environment:
        return table
    return {**table, "environment": {name: as_set(str(value)) for name, value in environment.items()}}


def _tolerances(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Note]:
    """Differences of the tolerances of each precision."""
    old, new = _table(before, "precisions"), _table(after, "precisions")
    for name in old:
        if name in new:
            for key, was, now in _walk(_table(old[name], "tolerance"), _table(new[name], "tolerance")):
                yield note("tolerance", precision=cut(name), key=cut(key), **values(was, now))


def _rules(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Note]:
    """Exclusion rules that only one of the matrices has."""
    # The text is parsed and not validated here, so a rule may be any value.
    old, new = ([rule for rule in _list(data, "exclude") if isinstance(rule, dict)] for data in (before, after))
    for rules, others, side in ((old, new, "base"), (new, old, "new")):
        for rule in rules:
            if rule not in others:
                yield note("matrix-rule", cells=cut(str(rule.get("cells"))), side=side)


def _walk(old: object, new: object, path: str = "", depth: int = 0) -> Iterator[tuple[str, object, object]]:
    """Every key whose value differs, such as `options.device_id`, with both values; None where a side lacks it."""
    if isinstance(old, dict) and isinstance(new, dict) and depth < DEEPEST:
        for key in dict.fromkeys((*old, *new)):
            yield from _walk(old.get(key), new.get(key), f"{path}.{key}" if path else str(key), depth + 1)
    elif differs(old, new):
        yield path or "table", _shown(old), _shown(new)


def _shown(value: object) -> object:
    # A run of an older version may hold a password in an address.
    return without_credentials(value) if isinstance(value, str) else value


def _table(data: object, name: str) -> dict[str, Any]:
    table = data.get(name) if isinstance(data, dict) else None
    return table if isinstance(table, dict) else {}


def _list(data: Mapping[str, Any], name: str) -> list[Any]:
    items: Iterable[Any] = data.get(name, [])
    return items if isinstance(items, list) else []
