"""Reads the tables `[providers]`, `[baselines]` and `[runtimes]` as targets and their runtimes."""

from __future__ import annotations

from typing import Any

from msgspec import Struct
from msgspec.structs import asdict, replace

from bench.declare import catalogue, registry
from bench.declare.patterns import KEY_VARIABLE
from bench.declare.providers import OWN_RUNTIME, read_provider
from bench.declare.requirements import mistake_in
from bench.declare.suggest import nearest
from bench.declare.tables import TOP_LEVEL, Tables
from bench.declare.targets import Runtime, Target, known_runtimes


class _BaselineTable(Struct):
    engine: str
    runtime: str = ""
    mode: str = ""
    control: bool = False
    options: dict[str, Any] = {}
    precisions: tuple[str, ...] = ()


def read_targets(tables: Tables) -> tuple[dict[str, Target], dict[str, Runtime]]:
    """Every target and every runtime by name: the file's own, and those of the catalogue.

    Mistakes are kept in `tables`.
    """
    runtimes: dict[str, Runtime] = {}
    targets: dict[str, Target] = {}
    for name, data in tables.named("runtimes"):
        with tables.attempt():
            runtimes[name] = _runtime(tables, name, data)
    for name, data in tables.named("providers"):
        with tables.attempt():
            targets[name] = read_provider(tables, name, data)
    for name, data in tables.named("baselines"):
        with tables.attempt():
            # Both are targets, and a target's name is a part of its cells' ids.
            if name in targets:
                raise tables.error(f"'{name}' is both a provider and a baseline", "give one of them another name")
            targets[name] = _baseline(tables, name, data)
    with tables.attempt():
        if not tables.data.get("providers") and not tables.data.get("baselines"):
            mistake = tables.error("there is nothing to run on", "add a table [providers.NAME] or [baselines.NAME]")
            raise tables.lacking(mistake, TOP_LEVEL)
    with tables.attempt():
        controls = [target.name for target in targets.values() if target.control]
        # Speedups are relative to the control, so there can be one only.
        if len(controls) > 1:
            raise tables.error(f"{' and '.join(controls)} are both the control", "only one baseline may be")
    return _with_runtimes(tables, targets, runtimes)


def _runtime(tables: Tables, name: str, data: dict[str, Any]) -> Runtime:
    where = f"runtimes.{name}"
    runtime = tables.struct(Runtime, data, where, name=name, unavailable="", hint="", base=None)
    if bool(runtime.requires) == bool(runtime.python):
        hint = "a list of requirements, or an interpreter"
        raise tables.lacking(tables.error(f"{where} must have either 'requires' or 'python'", hint), where)
    for requirement in runtime.requires:
        if mistake := mistake_in(requirement):
            hint = "write a name with its version, such as onnxruntime==1.31.1; an index is set in pip's configuration"
            raise tables.error(f"{requirement!r} in {where}.requires {mistake}", hint)
    if runtime.python and runtime.extends:
        raise tables.error(
            f"{where} has both 'python' and 'extends'", "an interpreter is used unchanged: leave one out"
        )
    return runtime


def _baseline(tables: Tables, name: str, data: dict[str, Any]) -> Target:
    where = f"baselines.{name}"
    table = tables.struct(_BaselineTable, data, where)
    engines = registry.engines()
    tables.one_of(table.engine, engines, f"unknown engine '{table.engine}' in {where}")
    modes = engines[table.engine].modes
    if modes and not table.mode:
        raise tables.error(f"{where} lacks the key 'mode'", f"engine '{table.engine}' has {', '.join(sorted(modes))}")
    if modes and table.mode not in modes:
        raise tables.error(f"unknown mode '{table.mode}' in {where}", nearest(table.mode, modes))
    tables.plain(table.options, f"{where}.options")
    # Checked when the matrix is read: a run would already have recorded its text.
    _no_secrets(tables, engines[table.engine], table.options, f"{where}.options")
    fields = asdict(table) | {"runtime": table.runtime or engines[table.engine].runtime}
    return Target(name=name, **fields)


def _no_secrets(tables: Tables, engine: registry.Engine, options: dict[str, Any], where: str) -> None:
    """Raise `MatrixError` for a secret: every run holds the matrix's text, so a key would be published with it."""
    for option in engine.variables:
        if option in options and not KEY_VARIABLE.fullmatch(str(options[option])):
            hint = "write the variable's name, such as MY_API_KEY, and its value into the environment"
            raise tables.error(f"{where}.{option} is not the name of an environment variable", hint)
    for option in engine.addresses:
        # `https://user:password@host/…`: the part before the first slash.
        if "@" in str(options.get(option, "")).partition("://")[2].partition("/")[0]:
            raise tables.error(f"{where}.{option} holds a user or a password", "name a variable that holds the key")


def _with_runtimes(
    tables: Tables, targets: dict[str, Target], runtimes: dict[str, Runtime]
) -> tuple[dict[str, Target], dict[str, Runtime]]:
    """Give every target its runtime, and add the runtimes of the catalogue and the known ones that are used."""
    placed, every = {}, dict(runtimes)
    for target in targets.values():
        name = target.runtime or _default_runtime(target, runtimes)
        if name not in every and name in catalogue.rows():
            every[name] = catalogue.runtime(name)
        elif name not in every and name in known_runtimes():
            every[name] = known_runtimes()[name]
        # A table of the file that has a mistake of its own is known all the same.
        with tables.attempt():
            own = tables.data.get("runtimes")
            known = {*every, *(own if isinstance(own, dict) else ())}
            tables.one_of(name, known, f"unknown runtime '{name}' of target '{target.name}'")
        placed[target.name] = replace(target, runtime=name)
    return placed, every


def _default_runtime(target: Target, runtimes: dict[str, Runtime]) -> str:
    """The runtime of a provider whose table names none: the row's, or `ort` where there is no row."""
    # The CPU provider is in every build of ONNX Runtime, so it runs in the matrix's own runtime where there is one.
    if target.row is None or (target.row == "cpu" and "cpu" not in runtimes and OWN_RUNTIME in runtimes):
        return OWN_RUNTIME
    return target.row
