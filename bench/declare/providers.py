"""Reads a table `[providers.NAME]` as a target: a changed row of the catalogue, or the user's own provider."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from msgspec.structs import replace

from bench.declare import catalogue, registry
from bench.declare.catalogue import Row
from bench.declare.patterns import DEVICE_TYPES, MODULE, VARIABLE, device_choice
from bench.declare.suggest import nearest
from bench.declare.tables import Tables
from bench.declare.targets import Target
from bench.records import CompileCache, DeviceChoice, Option, Provider, ProviderBehavior
from bench.records.plan import Optimization

OWN_RUNTIME = "ort"
"""The runtime of a provider that the catalogue does not know, where its table names none."""
DEFAULT_ENGINE = "ort"
"""The engine of a provider whose table names none; each family then chooses its own."""
OVERRIDES = ("plugin", "optimization", "static_shapes", "emulated", "cache", "hint")
OPTIMIZATIONS = get_args(Optimization)


class _Table(ProviderBehavior, frozen=True):
    """The keys of a provider's table; a missing key keeps the row's value."""

    like: str | None = None
    engine: str | None = None
    ep: str | None = None
    plugin: str | None = None
    runtime: str | None = None
    device: Any = None
    options: dict[str, Any] = {}
    session: dict[str, Any] = {}
    optimization: str | None = None
    environment: dict[str, Any] = {}
    static_shapes: bool | None = None
    emulated: bool | None = None
    cache: CompileCache | None = None
    hint: str | None = None
    precisions: tuple[str, ...] = ()
    if_present: bool = False


def read_provider(tables: Tables, name: str, data: dict[str, Any]) -> Target:
    """The target of one table; its runtime is empty where the table names none."""
    where = f"providers.{name}"
    table = tables.struct(_Table, data, where)
    with tables.attempt():
        _check(tables, table, where)
    match = _row(tables, name, table, where)
    base = catalogue.provider(*match) if match else _unnamed(_ep(tables, name, table, where), table.plugin)
    provider = replace(
        base,
        options=_merged(base.options, table.options),
        session={**base.session, **table.session},
        environment={**base.environment, **table.environment},
        # By the keys that the file has: in the record, a default looks like a value that the user wrote.
        **{key: getattr(table, key) for key in (*OVERRIDES, *catalogue.BEHAVIOR) if key in data},
    )
    if match:
        provider = _on_device(tables, provider, match[0], table, where)
    elif table.device is not None:
        provider = replace(provider, device=_device(tables, table, where))
    row = match[0] if match else None
    needs, row_name = (row.needs, row.name) if row else ("", None)
    engine = _engine(tables, table, provider, where)
    given = table.optimization is not None
    runtime = table.runtime or ""
    return Target(
        name,
        engine,
        runtime,
        provider=provider,
        needs=needs,
        row=row_name,
        precisions=table.precisions,
        if_present=table.if_present,
        optimization_given=given,
    )


def _unnamed(ep: str, plugin: str | None) -> Provider:
    """A provider that is not in the catalogue; it gets the behavior of a known provider with the same `ep`."""
    return Provider(ep, **catalogue.behavior(ep, plugin))


def _engine(tables: Tables, table: _Table, provider: Provider, where: str) -> str:
    """The engine of the table, else the default."""
    # The default stands for "each family's own", so it is not checked against the provider.
    if table.engine is None:
        return DEFAULT_ENGINE
    known = {name for family in registry.families().values() for name in family.engines} & set(registry.engines())
    tables.one_of(table.engine, sorted(known), f"unknown engine '{table.engine}' in {where}")
    if not registry.engines()[table.engine].drives(provider):
        message = f"engine '{table.engine}' of {where} cannot drive {provider.ep}"
        raise tables.error(message, "leave engine out: each family takes one that can")
    return table.engine


def _check(tables: Tables, table: _Table, where: str) -> None:
    tables.plain(table.options, f"{where}.options")
    tables.strings(table.session, f"{where}.session")
    if table.optimization is not None:
        tables.one_of(table.optimization, OPTIMIZATIONS, f"unknown optimization '{table.optimization}' in {where}")
    tables.strings(table.environment, f"{where}.environment")
    for variable, value in table.environment.items():
        if not VARIABLE.fullmatch(variable) or "\0" in value:
            message = f"'{variable}' in {where}.environment is no environment variable"
            raise tables.error(message, "use letters, digits and '_'")
    if table.plugin is not None and not MODULE.fullmatch(table.plugin):
        hint = "name the Python module that has get_library_path(), such as onnxruntime_ep_webgpu"
        raise tables.error(f"plugin '{table.plugin}' of {where} is no module's name", hint)


def _row(tables: Tables, name: str, table: _Table, where: str) -> tuple[Row, int | None] | None:
    """The row that the table inherits, by `like` or by its own name, with the device's index; None without a row."""
    match = catalogue.find(name)
    if table.like is not None:
        like = catalogue.find(table.like)
        if like is None:
            raise tables.error(
                f"unknown provider '{table.like}' in {where}.like", nearest(table.like, catalogue.rows())
            )
        # The name says one device or provider and `like` another: it is not known which is meant.
        if match and match != like:
            message = f"{where} is called like one known provider and is like another, '{table.like}'"
            raise tables.error(message, "give it another name")
        match = like
    if match and table.ep not in {None, match[0].ep}:
        message = f"ep '{table.ep}' of {where} contradicts the known provider '{match[0].name}', {match[0].ep}"
        raise tables.error(message, "leave ep out, or give the table another name")
    return match


def _ep(tables: Tables, name: str, table: _Table, where: str) -> str:
    if table.ep:
        return table.ep
    message = f"'{name}' is no known provider, and {where} lacks the key 'ep'"
    raise tables.lacking(tables.error(message, nearest(name, catalogue.rows())), where)


def _merged(base: Mapping[str, Option], changes: Mapping[str, Option]) -> dict[str, Option]:
    """The options of the row with those of the table; an empty string removes an option of the row."""
    return {key: value for key, value in {**base, **changes}.items() if not (key in base and value == "")}


def _on_device(tables: Tables, provider: Provider, row: Row, table: _Table, where: str) -> Provider:
    """A known provider with the device that the table or its name chooses."""
    choice = provider.device
    if table.device is not None:
        wanted_device = _device(tables, table, where)
        # A plug-in without a device of its own may have several types.
        if wanted_device.type not in {None, row.device} and not (row.plugin and row.device is None):
            raise tables.error(
                f"device '{wanted_device}' of {where} is none of the known provider '{row.name}'",
                _other(row, wanted_device),
            )
        if None not in {wanted_device.index, choice.index} and wanted_device.index != choice.index:
            raise tables.error(f"device '{wanted_device}' of {where} contradicts its name", "say the device once")
        index = choice.index if wanted_device.index is None else wanted_device.index
        choice = DeviceChoice(wanted_device.type or row.device, index)
    provider = replace(provider, device=choice)
    # A plug-in's devices are listed by ONNX Runtime, so the worker picks one by index without an option.
    if choice.index is None or row.plugin:
        return provider
    return _with_index_option(tables, provider, row, table, where)


def _with_index_option(tables: Tables, provider: Provider, row: Row, table: _Table, where: str) -> Provider:
    """Set the option that gives the device's index to a provider inside a wheel."""
    option = provider.device_option
    if option is None or row.device not in option.indexed:
        message = f"{where} asks for a device by its index, and '{row.name}' has no option that says which"
        raise tables.error(message, f"leave the index out: {row.name} takes its only device")
    value = catalogue.index_value(option, row.device, str(provider.device.index))
    given = table.options.get(option.name, value)
    # The user may write the same option; only a contradiction is an error.
    if str(given) != value:
        message = f"{where}.options.{option.name} is {given!r}, and its device is '{provider.device}'"
        raise tables.error(message, "say the device once")
    return replace(provider, options={**provider.options, option.name: value})


def _device(tables: Tables, table: _Table, where: str) -> DeviceChoice:
    choice = device_choice(table.device)
    if choice is None:
        word = str(table.device).partition(".")[0] if isinstance(table.device, str) else ""
        hint = nearest(word, DEVICE_TYPES) if word not in {"", *DEVICE_TYPES} else 'write "gpu", "gpu.1" or 1'
        raise tables.error(f"device {table.device!r} of {where} is no device", hint)
    return choice


def _other(row: Row, wanted_device: DeviceChoice) -> str:
    """The remedy for a device that the row does not have: the row that has it."""
    for other in catalogue.rows().values():
        if (other.ep, other.plugin, other.device) == (row.ep, row.plugin, wanted_device.type):
            return f"did you mean like = '{other.name}'?"
    return f"it runs on '{row.device}'" if row.device else "leave device out: the provider chooses by its options"
