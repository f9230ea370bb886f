"""Reads and checks `matrix.toml`; an error names the place of the mistake and the nearest valid word."""

from __future__ import annotations

import fnmatch
import re
import tomllib
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

from msgspec import Struct, field

from bench import reading
from bench.declare import registry
from bench.declare.budgets import BUDGETS, MOST_MINUTES
from bench.declare.models import Model, read_models
from bench.declare.patterns import MAX_THREADS
from bench.declare.precisions import Precision, read_precisions
from bench.declare.providers import DEFAULT_ENGINE
from bench.declare.tables import Tables
from bench.declare.target_tables import read_targets
from bench.declare.targets import Runtime, Target, known_runtimes, with_bases
from bench.errors import MatrixError

__all__ = [
    "SCHEMA",
    "TOP",
    "Exclude",
    "Matrix",
    "Measure",
    "Model",
    "Precision",
    "Runtime",
    "Target",
    "checked",
    "engine_of",
    "matcher",
    "matches",
    "parse",
    "read",
]

SCHEMA = 1
TOP = ("schema", "models", "precisions", "runtimes", "providers", "baselines", "exclude", "measure")


THREADS = f"at least 1 and at most {MAX_THREADS}"
MINUTES = f"more than 0 and at most {MOST_MINUTES}"


class Exclude(Struct, frozen=True):
    """A rule that excludes cells, with its reason."""

    cells: str
    reason: str
    optional: bool = False
    """True for cells that only `--with-optional` adds."""


class Measure(Struct, frozen=True):
    """The `[measure]` table: settings for all cells."""

    threads: int | None = None
    """Threads of every target; None takes the usable physical cores."""
    budget: str = "quick"
    minutes: float | None = None
    """Minutes for measuring, after everything is prepared; None takes those of the budget."""
    timeout_s: float = 600.0
    memory_limit_mb: int | None = None
    seed: int = 0


class Matrix(Struct, frozen=True):
    """A whole matrix file, checked."""

    models: dict[str, Model]
    precisions: dict[str, Precision]
    runtimes: dict[str, Runtime]
    """The runtimes of the file, and those that its targets take from the catalogue."""
    targets: dict[str, Target]
    excludes: tuple[Exclude, ...] = ()
    measure: Measure = field(default_factory=Measure)
    text: str = ""
    place: str = "matrix.toml"


def read(path: Path) -> Matrix:
    """Read a matrix file. Raises `MatrixError` with the mistake and its place."""
    try:
        # Some editors of Windows begin a file with a byte-order mark.
        text = reading.content(path, reading.MATRIX_BYTES, MatrixError).decode("utf-8-sig")
        # As Python reads a text file.
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    except FileNotFoundError:
        raise MatrixError(f"there is no matrix at {path}", "name one with --matrix FILE") from None
    except (OSError, UnicodeDecodeError) as error:
        raise MatrixError(f"{path} cannot be read: {error}", "a matrix is a UTF-8 TOML file") from None
    return parse(text, str(path))


def parse(text: str, place: str = "matrix.toml") -> Matrix:
    """Check the text of a matrix; `place` names it in messages. Raises `MatrixError`."""
    try:
        data = tomllib.loads(text.removeprefix("\ufeff"))
    except (ValueError, RecursionError) as error:  # RecursionError: thousands of nested brackets
        raise MatrixError(f"{place} is not valid TOML: {error}", _toml_remedy(str(error))) from None
    return checked(data, text, place)


def checked(data: dict[str, Any], text: str, place: str) -> Matrix:
    """The matrix of a file's tables. Raises `MatrixError` with all mistakes."""
    tables = Tables(data, place)
    with tables.attempt():
        tables.only_known(data, TOP, "")
    _check_schema(tables)
    targets, runtimes = read_targets(tables)
    models, precisions = read_models(tables), read_precisions(tables)
    _check_precisions(tables, models, targets)
    excludes, measure = tuple(_excludes(tables)), _measure(tables)
    # What follows puts the tables together, so it would repeat the mistakes of single ones.
    tables.raise_mistakes()
    runtimes = _with_builders(tables, models, targets, runtimes)
    # Found when the matrix is read, since artifacts take minutes to build.
    _check_tolerances(tables, models, precisions, targets)
    return Matrix(models, precisions, runtimes, targets, excludes, measure, text, place)


def _check_schema(tables: Tables) -> None:
    schema = tables.data.get("schema")
    # `True == 1` in Python, and `schema = true` is a mistake.
    if schema is True or schema != SCHEMA:
        shown = "missing" if schema is None else repr(schema)
        hint = f"this version reads `schema = {SCHEMA}`, above the first table"
        tables.mistakes.append(tables.error(f"schema is {shown}", hint))
    # What another version means by its tables is not known here.
    if schema is not None and schema != SCHEMA:
        tables.raise_mistakes()


def _check_precisions(tables: Tables, models: dict[str, Model], targets: dict[str, Target]) -> None:
    """Keep a mistake for each listed precision that no table describes."""
    known = tables.data.get("precisions")
    listed = [(f"models.{name}", model.precisions) for name, model in models.items()]
    for name, target in targets.items():
        listed.append((f"{'providers' if target.provider else 'baselines'}.{name}", target.precisions))
    for where, precision in ((where, precision) for where, names in listed for precision in names):
        with tables.attempt():
            message = f"unknown precision '{precision}' in {where}.precisions"
            tables.one_of(precision, known if isinstance(known, dict) else (), message)


def engine_of(target: Target, family: registry.Family) -> str:
    """The engine that runs a family on a target: the target's own, or for a provider the first that can drive it."""
    if target.provider is None or target.engine != DEFAULT_ENGINE:
        return target.engine
    known = registry.engines()
    provider = target.provider
    # The family lists its engines by preference: genai where it knows the provider, plain ONNX Runtime elsewhere.
    return next((name for name in family.engines if name in known and known[name].drives(provider)), target.engine)


def matches(glob: str, cell_id: str) -> bool:
    """Whether a glob such as `minilm/*` or `*/int8/*/b1*` matches a cell's id; `*` also matches slashes."""
    return bool(matcher(glob)(cell_id))


@lru_cache(maxsize=256)
def matcher(glob: str) -> Callable[[str], object]:
    """The test of `matches` for one glob and many ids: true for an id that matches."""
    # Not fnmatch.fnmatch, which ignores case on Windows.
    return re.compile(fnmatch.translate(glob)).match


def _excludes(tables: Tables) -> Iterable[Exclude]:
    rules = tables.data.get("exclude", [])
    if not isinstance(rules, list) or not all(isinstance(rule, dict) for rule in rules):
        tables.mistakes.append(tables.error("'exclude' is no list of tables", "write [[exclude]]"))
        return
    for number, data in enumerate(rules):
        with tables.attempt():
            yield tables.struct(Exclude, data, f"exclude[{number}]")


def _measure(tables: Tables) -> Measure:
    measure = Measure()
    with tables.attempt():
        measure = tables.struct(Measure, tables.data.get("measure", {}), "measure")
    limits = (
        # `not … > 0`: nan is not, either.
        ("threads", measure.threads is not None and not 1 <= measure.threads <= MAX_THREADS, THREADS),
        ("timeout_s", not measure.timeout_s > 0, "more than 0"),
        ("minutes", measure.minutes is not None and not 0 < measure.minutes <= MOST_MINUTES, MINUTES),
        ("memory_limit_mb", measure.memory_limit_mb is not None and measure.memory_limit_mb < 1, "at least 1"),
    )
    for key, is_wrong, right in limits:
        if is_wrong:
            tables.mistakes.append(tables.error(f"measure.{key} is {getattr(measure, key)}", f"it is {right}"))
    with tables.attempt():
        tables.one_of(measure.budget, BUDGETS, f"unknown budget '{measure.budget}' in measure")
    return measure


def _with_builders(
    tables: Tables, models: dict[str, Model], targets: dict[str, Target], runtimes: dict[str, Runtime]
) -> dict[str, Runtime]:
    """Add the runtimes in which references and artifacts are made: the file's own, else the known ones."""
    every = dict(runtimes)
    for needed, what in _builders(models, targets):
        if needed not in every and needed in known_runtimes():
            every[needed] = known_runtimes()[needed]
        if needed not in every:
            raise tables.error(f"no runtime '{needed}', which {what}", f"add [runtimes.{needed}]")
    return _with_extended(tables, every)


def _with_extended(tables: Tables, runtimes: dict[str, Runtime]) -> dict[str, Runtime]:
    """Add the runtimes that others extend, and give each its base."""
    every = dict(runtimes)
    for runtime in runtimes.values():
        if not runtime.extends:
            continue
        if runtime.extends not in every and runtime.extends in known_runtimes():
            every[runtime.extends] = known_runtimes()[runtime.extends]
        where = f"runtimes.{runtime.name}.extends"
        tables.one_of(runtime.extends, every, f"unknown runtime '{runtime.extends}' in {where}")
        if every[runtime.extends].extends:
            hint = "name one that extends no other"
            raise tables.error(f"{where} names '{runtime.extends}', which extends a runtime itself", hint)
    return with_bases(every)


def _check_tolerances(
    tables: Tables, models: dict[str, Model], precisions: dict[str, Precision], targets: dict[str, Target]
) -> None:
    """Raise `MatrixError` for a used recipe without a tolerance for its family: its outputs could not be checked."""
    families = {model.family: registry.families()[model.family] for model in models.values()}
    used = {(engine_of(target, family), family.name) for family in families.values() for target in targets.values()}
    for precision in precisions.values():
        for engine, family in sorted(used):
            recipe = precision.recipe(engine, family)
            runs = registry.engines()[engine].runs(families[family])
            if recipe and runs and precision.tolerance_of(engine, family) is None:
                place = registry.engines()[engine].own_recipes[recipe.name].place
                message = (
                    f"recipe '{recipe.name}' of precisions.{precision.name} has no tolerance for family '{family}'"
                )
                hint = f"give the precision one, tolerance = {{ … }}, or the recipe in {place}"
                raise tables.error(message, hint)


def _builders(models: dict[str, Model], targets: dict[str, Target]) -> Iterable[tuple[str, str]]:
    """The names of the build runtimes that are needed, each with what it makes."""
    families, engines, formats = registry.families(), registry.engines(), registry.formats()
    for model in models.values():
        yield families[model.family].build_runtime, f"builds models.{model.name}"
    used = {families[model.family].format for model in models.values()}
    used |= {own for target in targets.values() if (own := engines[target.engine].format)}
    for form in (formats[name] for name in sorted(used)):
        for runtime in filter(None, (form.build_runtime, form.convert_runtime)):
            yield runtime, f"makes artifacts of the format '{form.name}'"


def _toml_remedy(error: str) -> str:
    # tomllib has several messages for this one mistake.
    twice = any(word in error for word in ("twice", "overwrite", "Duplicate", "mutate"))
    return "a table or key may stand only once" if twice else "put it right there"
