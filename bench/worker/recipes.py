"""The decorator that makes a function of a format's file a recipe, with its number format and tolerance beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from bench.records import Source, Tolerance
from bench.worker import contracts
from bench.worker.contracts import ExportingFamily, Family, GeneratingFamily


@dataclass(frozen=True)
class Context:
    """What a recipe builds from."""

    family: Family
    source: Source
    parent: Path | None = None
    """The folder of the format's base artifact; None for a recipe that starts from the source."""
    inputs: str | None = None
    """The folder or file of the model's own input data, for calibration; None takes the family's."""
    opset: int = 0

    @property
    def exporting(self) -> ExportingFamily:
        """The family, where it is exported to ONNX; ValueError where it is not."""
        return contracts.exporting(self.family)

    @property
    def generating(self) -> GeneratingFamily:
        """The family, where it generates; ValueError where one call gives the whole answer."""
        return contracts.generating(self.family)

    @property
    def base(self) -> Path:
        """The folder of the base artifact; ValueError where there is none."""
        if self.parent is None:
            raise ValueError("this recipe starts from the artifact of the format's base recipe, and there is none")
        return self.parent


Write = Callable[..., tuple[str, ...]]
"""`(context, out, *, option=default, …)`: writes the artifact's files into the folder `out`, and returns notes."""


@dataclass(frozen=True)
class RecipeFunction:
    """A recipe as the worker calls it."""

    name: str
    write: Write
    number_format: str
    """The number format that the recipe leaves: `int8`."""
    tolerance: Mapping[str, Tolerance] = field(default_factory=dict)
    """By family: how far an answer may be from the FP32 reference."""

    def __call__(self, context: Context, out: Path, **options: Any) -> tuple[str, ...]:
        """Write the artifact; ValueError names an option that the recipe does not have."""
        for option in options:
            if option not in self.options:
                known = ", ".join(self.options) or "none"
                raise ValueError(f"recipe {self.name!r} has no option {option!r}; it has {known}")
        return tuple(self.write(context, out, **options))

    @property
    def options(self) -> tuple[str, ...]:
        """The names of its options: the keyword-only parameters."""
        return tuple(getattr(self.write, "__kwdefaults__", None) or ())


def recipe(
    name: str, *, number_format: str, tolerance: Mapping[str, Tolerance] | None = None
) -> Callable[[Write], RecipeFunction]:
    """Declare a function as the recipe `name`; the orchestrator reads these arguments as literals.

    A family that `tolerance` does not name takes what its own manifest says of the number format. Where neither says
    anything, a matrix that uses the two together is refused.
    """
    return lambda write: RecipeFunction(name, write, number_format, tolerance or {})


def recipes_of(module: ModuleType) -> dict[str, RecipeFunction]:
    """The recipes of a format's file by name."""
    return {value.name: value for value in vars(module).values() if isinstance(value, RecipeFunction)}
