"""`matrix.toml` in, a checked `Matrix` out; every mistake is answered with its place and the nearest right word."""

from __future__ import annotations

import fnmatch
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec
from msgspec import Struct, field

from bench.declare import vocabulary
from bench.declare.budgets import BUDGETS
from bench.declare.nearest import nearest
from bench.errors import MatrixError
from bench.records import Option, Provider, Recipe, Tolerance

SCHEMA = 1
MAX_SIZE = 2**31 - 1
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
SOURCE_KINDS = ("hub", "path", "wheel", "config", "onnx")
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
    """Where the real inputs come from, `wheel:…` or `path:…`; None takes the family's own."""
    sha256: str | None = None
    """What the wheel that holds the model must hash to."""
    seed: int = 0
    opset: int | None = None


class Precision(Struct, frozen=True):
    """A row of `[precisions]`: a recipe for each family, and for the engines that make the precision themselves."""

    name: str
    families: dict[str, Recipe]
    engines: dict[str, dict[str, Recipe]]
    """By engine, then by family; the family `*` stands for every one."""
    tolerance: Tolerance | None = None

    def recipe(self, engine: str, family: str) -> Recipe | None:
        """The recipe of this precision for a family on an engine; None where there is none."""
        if vocabulary.engines()[engine].needs_artifact:
            return self.families.get(family)
        own = self.engines.get(engine, {})
        return own.get(family) or own.get("*")


class Runtime(Struct, frozen=True):
    """A row of `[runtimes]`: requirements to install, or an interpreter to use as it is."""

    name: str
    requires: tuple[str, ...] = ()
    python: str | None = None


class Target(Struct, frozen=True):
    """A row of `[providers]` or `[baselines]`: whatever a cell runs on."""

    name: str
    engine: str
    runtime: str
    provider: Provider | None = None
    mode: str = ""
    control: bool = False
    options: dict[str, Option] = {}
    """Of an engine that is no execution provider."""


class Exclude(Struct, frozen=True):
    """A rule that keeps cells from running, and why."""

    cells: str
    reason: str
    optional: bool = False
    """True for cells that `--only` can ask for; without it they stay out."""


class Measure(Struct, frozen=True):
    """The `[measure]` table: what holds for every cell."""

    threads: int | None = None
    """Threads of every target; None takes the usable physical cores."""
    budget: str = "quick"
    timeout_s: float = 600.0
    memory_limit_mb: int | None = None
    seed: int = 0


class Matrix(Struct, frozen=True):
    """A whole matrix file, checked."""

    models: dict[str, Model]
    precisions: dict[str, Precision]
    runtimes: dict[str, Runtime]
    targets: dict[str, Target]
    excludes: tuple[Exclude, ...] = ()
    measure: Measure = field(default_factory=Measure)
    text: str = ""
    place: str = "matrix.toml"


class _ModelTable(Struct, forbid_unknown_fields=True):
    family: str
    source: str
    workloads: list[dict[str, Any]] | None = None
    weights: str = "auto"
    inputs: str | None = None
    sha256: str | None = None
    seed: int = 0
    opset: int | None = None


class _RuntimeTable(Struct, forbid_unknown_fields=True):
    requires: list[str] = []
    python: str | None = None


class _ProviderTable(Struct, forbid_unknown_fields=True):
    ep: str
    runtime: str = "ort"
    options: dict[str, Any] = {}
    session: dict[str, Any] = {}


class _BaselineTable(Struct, forbid_unknown_fields=True):
    engine: str
    runtime: str = "build"
    mode: str = ""
    control: bool = False
    options: dict[str, Any] = {}


class _ExcludeTable(Struct, forbid_unknown_fields=True):
    cells: str
    reason: str
    optional: bool = False


class _MeasureTable(Struct, forbid_unknown_fields=True):
    threads: int | None = None
    budget: str = "quick"
    timeout_s: float = 600.0
    memory_limit_mb: int | None = None
    seed: int = 0


TOP = ("schema", "models", "precisions", "runtimes", "providers", "baselines", "exclude", "measure")
T = TypeVar("T")


def read(path: Path) -> Matrix:
    """Read a matrix file; `MatrixError` says what cannot be taken and where."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise MatrixError(f"there is no matrix at {path}", "name one with --matrix FILE") from None
    except (OSError, UnicodeDecodeError) as error:
        raise MatrixError(f"{path} cannot be read: {error}", "a matrix is a UTF-8 TOML file") from None
    return parse(text, str(path))


def parse(text: str, place: str = "matrix.toml") -> Matrix:
    """Check the text of a matrix; `place` names it in messages."""
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # tomllib's own, and what thousands of digits or brackets lead to
        raise MatrixError(f"{place} is not valid TOML: {error}", _toml_remedy(str(error))) from None
    return _Reader(data, text, place).matrix()


class _Reader:
    """Reads one file's tables; holds the place for messages."""

    def __init__(self, data: dict[str, Any], text: str, place: str) -> None:
        self.data, self.text, self.place = data, text, place

    def matrix(self) -> Matrix:
        self.only_known(self.data, TOP, "")
        found = self.data.get("schema")
        if found is True or found != SCHEMA:
            said = "missing" if found is None else repr(found)
            raise self.error(f"schema is {said}", f"this version reads `schema = {SCHEMA}`, in the first line")
        runtimes = {name: self.runtime(name, table) for name, table in self.tables("runtimes")}
        targets = self.targets(runtimes)
        matrix = Matrix(
            models={name: self.model(name, table) for name, table in self.tables("models", needed=True)},
            precisions={name: self.precision(name, table) for name, table in self.tables("precisions", needed=True)},
            runtimes=runtimes,
            targets=targets,
            excludes=tuple(self.excludes()),
            measure=self.measure(),
            text=self.text,
            place=self.place,
        )
        self.build_runtimes_exist(matrix)
        return matrix

    def error(self, message: str, hint: str = "") -> MatrixError:
        return MatrixError(f"{message} in {self.place}", hint)

    def only_known(self, table: Mapping[str, object], known: Iterable[str], where: str) -> None:
        for key in table:
            if key not in known:
                at = f" in {where}" if where else ""
                raise self.error(f"unknown key '{key}'{at}", nearest(key, known))

    def tables(self, axis: str, *, needed: bool = False) -> list[tuple[str, dict[str, Any]]]:
        found = self.data.get(axis, {})
        if not isinstance(found, dict):
            raise self.error(f"'{axis}' is no table", f"write [{axis}.NAME]")
        if needed and not found:
            raise self.error(f"the axis '{axis}' is empty", f"add a table [{axis}.NAME]")
        for name, table in found.items():
            if not NAME.fullmatch(name):
                raise self.error(f"'{name}' is no name for {axis}", "use letters, digits, '.', '_' and '-'")
            if not isinstance(table, dict):
                raise self.error(f"{axis}.{name} is no table", f"write [{axis}.{name}]")
        return list(found.items())

    def table(self, kind: type[T], data: object, where: str) -> T:
        if not isinstance(data, dict):
            raise self.error(f"'{where}' is no table", f"write [{where}]")
        self.only_known(data, [f.name for f in msgspec.structs.fields(kind)], where)  # type: ignore[arg-type]
        try:
            return msgspec.convert(data, kind)
        except msgspec.ValidationError as error:
            raise self.error(_placed(where, str(error))) from None

    def plain(self, options: Mapping[str, object], where: str) -> None:
        """Options are handed on as they are, so a list or a table has no meaning there."""
        for key, value in options.items():
            if not isinstance(value, bool | int | float | str):
                raise self.error(f"{where}.{key} is no plain value", "give it a string, a number, true or false")

    def model(self, name: str, data: dict[str, Any]) -> Model:
        where = f"models.{name}"
        table = self.table(_ModelTable, data, where)
        known = vocabulary.families()
        self.one_of(table.family, known, f"unknown family '{table.family}' in {where}")
        self.one_of(table.weights, WEIGHTS, f"unknown weights '{table.weights}' in {where}")
        kind = table.source.partition(":")[0]
        if ":" not in table.source or kind not in SOURCE_KINDS:
            hint = f"it starts with one of {', '.join(k + ':' for k in SOURCE_KINDS)}"
            raise self.error(f"source '{table.source}' of {where} has no known kind", hint)
        self.source_fits_family(kind, table.family, where)
        if table.inputs is not None and table.inputs.partition(":")[0] not in INPUT_KINDS:
            raise self.error(f"inputs '{table.inputs}' of {where} has no known kind", "it starts with wheel: or path:")
        if not 0 <= table.seed <= MAX_SIZE:
            raise self.error(f"{where}.seed is {table.seed}", f"a seed is a whole number from 0 to {MAX_SIZE}")
        workloads = tuple(self.workloads(where, known[table.family], table.workloads))
        rest = msgspec.structs.asdict(table) | {"workloads": workloads}
        return Model(name=name, **rest)

    def source_fits_family(self, kind: str, family: str, where: str) -> None:
        if (kind == "onnx") != (family == "onnx-file"):
            hint = "onnx:FILE goes with family 'onnx-file', every other source with another family"
            raise self.error(f"{where} has source kind '{kind}:' and family '{family}'", hint)

    def workloads(
        self, where: str, family: vocabulary.Family, given: list[dict[str, Any]] | None
    ) -> list[dict[str, int]]:
        """Every workload with the family's defaults filled in."""
        if given == []:
            raise self.error(f"{where}.workloads is empty", "leave it out, or name at least one workload")
        found: list[dict[str, int]] = []
        for number, workload in enumerate(given or [{}]):
            at = f"{where}.workloads[{number}]"
            if not family.open_sizes:
                self.only_known(workload, family.sizes, at)
            for key, size in workload.items():
                if type(size) is not int or not 1 <= size <= MAX_SIZE:
                    raise self.error(f"{at}.{key} is {size!r}", f"a size is a whole number from 1 to {MAX_SIZE}")
            sizes = {**family.sizes, **workload}
            if sizes in found:
                raise self.error(f"{at} is a duplicate of an earlier workload", "remove one of them")
            found.append(sizes)
        return found

    def precision(self, name: str, data: dict[str, Any]) -> Precision:
        where = f"precisions.{name}"
        families, engines = vocabulary.families(), vocabulary.engines()
        own = {engine.name for engine in engines.values() if not engine.needs_artifact}
        self.only_known(data, [*families, *own, "tolerance"], where)
        if not data:
            raise self.error(f"{where} is empty", 'give a family its recipe, e.g. text-encoder = "fp32"')
        built = vocabulary.build_recipes()
        by_family = {
            family: self.recipe(data[family], f"{where}.{family}", built) for family in families if family in data
        }
        by_engine = {engine: self.engine_recipes(engine, data[engine], where) for engine in own if engine in data}
        limit = self.table(Tolerance, data["tolerance"], f"{where}.tolerance") if "tolerance" in data else None
        return Precision(name=name, families=by_family, engines=by_engine, tolerance=limit)

    def engine_recipes(self, engine: str, said: object, where: str) -> dict[str, Recipe]:
        known: dict[str, tuple[str, ...]] = dict.fromkeys(vocabulary.engines()[engine].recipes, ())
        if not isinstance(said, dict) or "recipe" in said:
            return {"*": self.recipe(said, f"{where}.{engine}", known)}
        self.only_known(said, vocabulary.families(), f"{where}.{engine}")
        return {family: self.recipe(value, f"{where}.{engine}.{family}", known) for family, value in said.items()}

    def recipe(self, said: object, where: str, known: Mapping[str, tuple[str, ...]]) -> Recipe:
        """A recipe's name, or `{ recipe = NAME, OPTION = … }`."""
        table = {"recipe": said} if isinstance(said, str) else said
        if not isinstance(table, dict) or not isinstance(table.get("recipe"), str):
            raise self.error(f"{where} is no recipe", "write a recipe's name, or { recipe = NAME, OPTION = … }")
        name = table["recipe"]
        self.one_of(name, known, f"unknown recipe '{name}' in {where}")
        options = {key: value for key, value in table.items() if key != "recipe"}
        self.only_known(options, known[name], where)
        self.plain(options, where)
        return Recipe(name=name, options=options)

    def runtime(self, name: str, data: dict[str, Any]) -> Runtime:
        where = f"runtimes.{name}"
        table = self.table(_RuntimeTable, data, where)
        if bool(table.requires) == bool(table.python):
            hint = "a list of requirements, or an interpreter"
            raise self.error(f"{where} must have either 'requires' or 'python'", hint)
        return Runtime(name=name, requires=tuple(table.requires), python=table.python)

    def targets(self, runtimes: dict[str, Runtime]) -> dict[str, Target]:
        found: dict[str, Target] = {}
        for name, data in self.tables("providers"):
            where = f"providers.{name}"
            table = self.table(_ProviderTable, data, where)
            self.plain(table.options, f"{where}.options")
            for key, value in table.session.items():
                if not isinstance(value, str):
                    raise self.error(f"{where}.session.{key} is no string", f'write {key} = "…"')
            provider = Provider(ep=table.ep, options=table.options, session=table.session)
            found[name] = Target(name=name, engine="ort", runtime=table.runtime, provider=provider)
        for name, data in self.tables("baselines"):
            if name in found:
                raise self.error(f"'{name}' is both a provider and a baseline", "give one of them another name")
            found[name] = self.baseline(name, data)
        if not found:
            raise self.error("there is nothing to run on", "add a table [providers.NAME] or [baselines.NAME]")
        for target in found.values():
            self.one_of(target.runtime, runtimes, f"unknown runtime '{target.runtime}' of target '{target.name}'")
        controls = [target.name for target in found.values() if target.control]
        if len(controls) > 1:
            raise self.error(f"{' and '.join(controls)} are both the control", "only one baseline may be")
        return found

    def baseline(self, name: str, data: dict[str, Any]) -> Target:
        where = f"baselines.{name}"
        table = self.table(_BaselineTable, data, where)
        engines = vocabulary.engines()
        self.one_of(table.engine, engines, f"unknown engine '{table.engine}' in {where}")
        modes = engines[table.engine].modes
        if modes and table.mode not in modes:
            raise self.error(f"unknown mode '{table.mode}' in {where}", nearest(table.mode, modes))
        self.plain(table.options, f"{where}.options")
        return Target(name=name, **msgspec.structs.asdict(table))

    def excludes(self) -> Iterable[Exclude]:
        rules = self.data.get("exclude", [])
        if not isinstance(rules, list) or not all(isinstance(rule, dict) for rule in rules):
            raise self.error("'exclude' is no list of tables", "write [[exclude]]")
        for number, data in enumerate(rules):
            table = self.table(_ExcludeTable, data, f"exclude[{number}]")
            yield Exclude(**msgspec.structs.asdict(table))

    def measure(self) -> Measure:
        table = self.table(_MeasureTable, self.data.get("measure", {}), "measure")
        if table.threads is not None and table.threads < 1:
            raise self.error(f"measure.threads is {table.threads}", "it is at least 1")
        if not table.timeout_s > 0:  # nan is not, either
            raise self.error(f"measure.timeout_s is {table.timeout_s}", "it is more than 0")
        if table.memory_limit_mb is not None and table.memory_limit_mb < 1:
            raise self.error(f"measure.memory_limit_mb is {table.memory_limit_mb}", "it is at least 1")
        self.one_of(table.budget, BUDGETS, f"unknown budget '{table.budget}' in measure")
        return Measure(**msgspec.structs.asdict(table))

    def one_of(self, word: str, known: Iterable[str], message: str) -> None:
        if word not in known:
            raise self.error(message, nearest(word, known))

    def build_runtimes_exist(self, matrix: Matrix) -> None:
        for model in matrix.models.values():
            needed = vocabulary.families()[model.family].build_runtime
            if needed not in matrix.runtimes:
                raise self.error(f"no runtime '{needed}', which builds models.{model.name}", f"add [runtimes.{needed}]")


def matches(glob: str, cell_id: str) -> bool:
    """Whether a glob such as `minilm/*` or `*/int8/*/b1*` selects a cell's id; `*` crosses slashes."""
    return fnmatch.fnmatchcase(cell_id, glob)


def _placed(where: str, message: str) -> str:
    """msgspec's message with its place in front: `models.m.seed: expected int, got str`."""
    said, _, at = message.replace("`", "").partition(" - at $")
    missing = said.removeprefix("Object missing required field ")
    if missing != said:
        return f"{where}{at} lacks the key '{missing}'"
    return f"{where}{at}: {said[:1].lower()}{said[1:]}"


def _toml_remedy(message: str) -> str:
    twice = any(word in message for word in ("twice", "overwrite", "Duplicate", "mutate"))
    return "a table or key may stand only once" if twice else "put it right there"
