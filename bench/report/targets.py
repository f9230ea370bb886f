"""Describes each target of a run: its device, its versions, and the number formats that it computes in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from bench.records import Cell, Device, Executed, Note, Outcome, Run, TargetFacts
from bench.report import text

ABSENT = {"unavailable", "excluded"}
PROBED = ("fp32", "fp16")
"""The number formats that a probe tests."""
NO_WHEELS = ("onnxruntime-ep-", "onnxruntime-qnn", "onnxruntime-genai", "onnxruntime-extensions")
"""Packages whose names begin like a wheel of ONNX Runtime, but that contain something else."""


@dataclass(frozen=True, slots=True)
class TargetPart:
    """A row of `[providers]` or `[baselines]` on the machine of the run."""

    cell: Cell
    """Any cell of the target: it names the provider, the engine and the runtime."""
    cells: int
    facts: TargetFacts | None
    device: str | None
    """The device in its outcomes, else the one that the row asks for."""
    versions: Mapping[str, str]
    software: bool
    """True if a program on the CPU does the work of a GPU."""
    control: bool
    absent: bool
    """True if no cell of it could run, because it is not on this machine."""
    excluded: bool
    """True if rules of the matrix exclude every cell of it."""
    message: str
    remedy: str
    distinction: str = ""
    """What distinguishes it from the other targets of its provider: a version, a device."""

    @property
    def name(self) -> str:
        """Its name in the matrix."""
        return self.cell.target

    @property
    def library(self) -> str:
        """The execution provider, or the engine of a baseline."""
        return self.cell.provider or self.cell.engine

    @property
    def emulated(self) -> bool:
        """True if an emulator replaces the device."""
        return self.cell.emulated

    @property
    def chosen_device(self) -> Device | None:
        """The device that its cells run on, according to the probe."""
        return self.facts.device if self.facts else None

    @property
    def notes(self) -> tuple[str, ...]:
        """The notes and the message of the probe, as text."""
        if self.facts is None:
            return ()
        notes = (text.say(note) for note in self.facts.notes if note.kind != "emulated-device")
        return (*notes, *([self.facts.message] if self.facts.message else []))

    @property
    def others(self) -> tuple[Device, ...]:
        """The provider's other devices."""
        return tuple(device for device in self.facts.devices if device != self.chosen_device) if self.facts else ()

    def executed(self, number_format: str) -> Executed | None:
        """The result of the probe for a requested number format; None if there is none."""
        return (
            next((result for result in self.facts.executes if result.asked == number_format), None)
            if self.facts
            else None
        )


@dataclass(frozen=True, slots=True)
class Lacking:
    """A target that is not on the machine of the run, and what would enable it."""

    name: str
    library: str
    """The execution provider or the engine, and the device that it asks for; empty where the run has no cell of it."""
    reason: str
    remedy: str
    cells: int
    """How many cells of the run it has; 0 where none was planned because the machine lacks it."""


def lacking(run: Run, absent: Sequence[TargetPart]) -> tuple[Lacking, ...]:
    """The targets that could not run, then those that were not planned because the machine lacks them."""
    planned = {cell.target for cell in run.cells}
    return (
        *(
            Lacking(
                part.name, ", ".join(filter(None, (part.library, part.device))), part.message, part.remedy, part.cells
            )
            for part in absent
        ),
        *(
            Lacking(name, "", facts.message, facts.remedy, 0)
            for name, facts in run.targets.items()
            if name not in planned and not facts.available
        ),
    )


def parts(run: Run, cells: Sequence[Cell], outcomes: Sequence[Outcome]) -> tuple[TargetPart, ...]:
    """Every target of the cells, in their order."""
    target_parts = tuple(
        _part(run, [cell for cell in cells if cell.target == name], [o for o in outcomes if o.cell.target == name])
        for name in dict.fromkeys(cell.target for cell in cells)
    )
    return tuple(replace(part, distinction=_distinction(part, _siblings(part, target_parts))) for part in target_parts)


def _part(run: Run, cells: Sequence[Cell], outcomes: Sequence[Outcome]) -> TargetPart:
    cell, facts = cells[0], run.targets.get(cells[0].target)
    reached = {outcome.cell.id for outcome in outcomes}
    unavailable = next((outcome for outcome in outcomes if outcome.status == "unavailable"), None)
    # A cell that was not reached could still have run, so its target keeps its column.
    absent = unavailable is not None and len(reached) == len(cells) and {o.status for o in outcomes} <= ABSENT
    return TargetPart(
        cell=cell,
        cells=len(cells),
        facts=facts,
        device=next((outcome.device for outcome in outcomes if outcome.device), cell.device),
        versions=_versions(run, cell, facts, outcomes),
        software=any(note.kind == "software-adapter" for note in _notes(facts, outcomes)),
        control=any(cell.control and not cell.emulated for cell in cells),
        absent=absent,
        excluded=bool(outcomes) and len(reached) == len(cells) and {o.status for o in outcomes} == {"excluded"},
        message=_message(facts, unavailable),
        remedy=(facts.remedy if facts else "") or (text.remedy(unavailable) if unavailable else ""),
    )


def _message(facts: TargetFacts | None, unavailable: Outcome | None) -> str:
    if facts is not None and facts.message:
        return facts.message
    if unavailable is None:
        return ""
    return (
        unavailable.failure.message if unavailable.failure and unavailable.failure.message else text.reason(unavailable)
    )


def _notes(facts: TargetFacts | None, outcomes: Sequence[Outcome]) -> list[Note]:
    return [*(facts.notes if facts else ()), *(note for outcome in outcomes for note in outcome.notes)]


def _versions(run: Run, cell: Cell, facts: TargetFacts | None, outcomes: Sequence[Outcome]) -> dict[str, str]:
    """The versions from the probe, else from the last outcome, with that of ONNX Runtime first."""
    by_outcome = (outcome.versions for outcome in reversed(outcomes) if outcome.versions)
    known = dict((facts.versions if facts else None) or next(by_outcome, {}))
    onnxruntime = onnxruntime_version(run, cell, known)
    return {"onnxruntime": onnxruntime, **known} if onnxruntime else known


def onnxruntime_version(run: Run, cell: Cell, known: Mapping[str, str]) -> str | None:
    """The version of ONNX Runtime that a cell ran with: in `known`, by the worker, else of the wheel in its runtime.

    The wheel has different names, such as onnxruntime-gpu. None for a cell without a provider or without such a wheel.
    """
    if "onnxruntime" in known:
        return known["onnxruntime"]
    if cell.provider is None or cell.runtime not in run.runtimes:
        return None
    packages = run.runtimes[cell.runtime].packages
    # Sorted, so that two machines name the same wheel.
    wheels = (name for name in sorted(packages) if name.startswith("onnxruntime") and not name.startswith(NO_WHEELS))
    return next((packages[name] for name in wheels), None)


def _siblings(part: TargetPart, every: Sequence[TargetPart]) -> list[TargetPart]:
    # Targets that are missing are listed elsewhere, without columns to confuse.
    return [other for other in every if other.library == part.library and other.absent == part.absent]


def _distinction(part: TargetPart, siblings: Sequence[TargetPart]) -> str:
    """The first version that differs between the siblings, and the device if that differs too."""
    names = dict.fromkeys(name for sibling in siblings for name in sibling.versions)
    different = [
        name for name in names if len({sibling.versions[name] for sibling in siblings if name in sibling.versions}) > 1
    ]
    version = next((f"{name} {part.versions[name]}" for name in different if name in part.versions), "")
    devices = {sibling.device for sibling in siblings}
    # Only the label of the device, such as `gpu.0`, without its name.
    device = part.device.partition(" ")[0] if part.device and len(devices) > 1 else ""
    return ", ".join(filter(None, (version, device)))
