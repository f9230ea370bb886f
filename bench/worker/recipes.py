"""Defines the decorator `recipe`, which declares a function as a recipe with its number format and tolerance."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from bench.records import Note, Source, Tolerance
from bench.worker import contracts
from bench.worker.contracts import ExportingFamily, Family, GeneratingFamily


@dataclass(frozen=True)
class Context:
    """The inputs of a recipe."""

    family: Family
    source: Source
    parent: Path | None = None
    """The folder of the format's base artifact; None for a recipe that starts from the source."""
    inputs: str | None = None
    """The folder or file of the model's own input data, for calibration; None takes the family's."""
    opset: int = 0
    workloads: tuple[dict[str, int], ...] = ()
    """The sizes of the model's workloads, for calibration."""

    @property
    def exporting(self) -> ExportingFamily:
        """The family as one that is exported to ONNX; ValueError for other families."""
        return contracts.exporting(self.family)

    @property
    def generating(self) -> GeneratingFamily:
        """The family as one that generates; ValueError for the task `forward`."""
        return contracts.generating(self.family)

    @property
    def base(self) -> Path:
        """The folder of the base artifact; ValueError without one."""
        if self.parent is None:
            raise ValueError("this recipe starts from the artifact of the format's base recipe, and there is none")
        return self.parent


Write = Callable[..., tuple[Note, ...]]
"""`(context, out, *, option=default, …)`: writes the artifact's files into the folder `out` and returns notes."""


@dataclass(frozen=True)
class RecipeFunction:
    """A recipe that the worker can call."""

    name: str
    write: Write
    number_format: str
    """The number format of the artifact, such as `int8`."""
    tolerance: Mapping[str, Tolerance] = field(default_factory=dict)
    """The largest accepted deviation from the FP32 reference, by family."""

    def __call__(self, context: Context, out: Path, **options: Any) -> tuple[Note, ...]:
        """Write the artifact; ValueError names an unknown option."""
        # Checked here, because a TypeError of Python would not list the options that there are.
        for option in options:
            if option not in self.options:
                known = ", ".join(self.options) or "none"
                raise ValueError(f"recipe {self.name!r} has no option {option!r}; it has {known}")
        return tuple(self.write(context, out, **options))

    @property
    def options(self) -> tuple[str, ...]:
        """The names of the options: the keyword-only parameters of the function."""
        # The signature is the only list of the options, so the two cannot differ.
        return tuple(getattr(self.write, "__kwdefaults__", None) or ())


def recipe(
    name: str, *, number_format: str, tolerance: Mapping[str, Tolerance] | None = None
) -> Callable[[Write], RecipeFunction]:
    """Declare a function as the recipe `name`; the arguments must be literals, because the source text is read.

    A family that `tolerance` does not name takes the tolerance of its own manifest for the number format. Without one
    there, a matrix that uses the family with this recipe is refused.
    """
    return lambda write: RecipeFunction(name, write, number_format, tolerance or {})


def recipes_of(module: ModuleType) -> dict[str, RecipeFunction]:
    """The recipes of a format's module by name."""
    return {value.name: value for value in vars(module).values() if isinstance(value, RecipeFunction)}
