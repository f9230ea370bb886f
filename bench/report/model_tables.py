"""Groups the outcomes of each model by workload, for the tables of its speed and accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.records import Cell, Outcome, Run, Weights
from bench.report import generation, text


@dataclass(frozen=True, slots=True)
class WorkloadPart:
    """The outcomes of one model and workload that gave an answer; their speeds can be compared."""

    name: str
    sizes: dict[str, int]
    rates: tuple[str, ...]
    outcomes: tuple[Outcome, ...]


@dataclass(frozen=True, slots=True)
class ModelPart:
    """The outcomes that the tables of one model show."""

    name: str
    family: str
    source: str
    weights: Weights | None
    workloads: tuple[WorkloadPart, ...]
    emulated: tuple[Outcome, ...]
    """The outcomes of emulated cells: they are judged like others, but are in no table of speeds."""
    unchecked: tuple[Outcome, ...]
    """The outcomes of random models, whose answers nobody can check: they have a speed, and are in no ranking."""
    ran: tuple[Outcome, ...]
    """Every outcome with an answer, in the order of the plan."""
    unanswered: int
    """How many cells of the model gave no answer, and so have no row in these tables."""

    @property
    def rates(self) -> tuple[str, ...]:
        """Every unit of throughput of the model, each once, in the order of the workloads."""
        return tuple(dict.fromkeys(rate for part in self.workloads for rate in part.rates))

    @property
    def generates(self) -> bool:
        """Whether the model generates: its speeds are then those of prefill and decoding."""
        return any(generation.generates(outcome) for outcome in self.ran)

    @property
    def scored(self) -> bool:
        """Whether a score of the task itself was measured, such as a word error rate or an accuracy."""
        return any(outcome.word_error_rate is not None or outcome.task is not None for outcome in self.ran)

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """Every outcome in the model's tables of speeds."""
        return tuple(outcome for part in self.workloads for outcome in part.outcomes)

    @property
    def tells_cpu(self) -> bool:
        """Whether the CPU time of a call is known of at least one cell; older runs did not record it."""
        return any(outcome.cpu_ms for outcome in self.outcomes)

    @property
    def approximate(self) -> int:
        """How many cells in the tables of speeds are ranked only when the reader asks for them."""
        return sum(outcome.status == "approximate" for outcome in self.outcomes)

    @property
    def checked(self) -> tuple[Outcome, ...]:
        """The outcomes whose answers were compared with the reference."""
        return tuple(outcome for outcome in self.ran if outcome.parity is not None)


def parts(run: Run, outcomes: Sequence[Outcome], unreached: Sequence[Cell]) -> tuple[ModelPart, ...]:
    """A part for each model that has at least one outcome."""
    models = dict.fromkeys(outcome.cell.model for outcome in outcomes)
    return tuple(_part(run, [o for o in outcomes if o.cell.model == model], unreached) for model in models)


def _part(run: Run, own: Sequence[Outcome], unreached: Sequence[Cell]) -> ModelPart:
    cell = own[0].cell
    ran = tuple(outcome for outcome in own if outcome.status in text.RAN)
    real = [outcome for outcome in ran if not outcome.cell.emulated and outcome.status != "unchecked"]
    return ModelPart(
        name=cell.model,
        family=cell.family,
        source=cell.source,
        weights=text.weights_behind(run, own, cell.model),
        workloads=tuple(_workload(name, real) for name in dict.fromkeys(answered.cell.workload for answered in real)),
        emulated=tuple(outcome for outcome in ran if outcome.cell.emulated),
        unchecked=tuple(o for o in ran if not o.cell.emulated and o.status == "unchecked"),
        ran=ran,
        # A crashed or refused cell has no row here, so its number must be said: a short table would look complete.
        unanswered=len(own) - len(ran) + sum(missed.model == cell.model for missed in unreached),
    )


def _workload(name: str, ran: Sequence[Outcome]) -> WorkloadPart:
    own = tuple(outcome for outcome in ran if outcome.cell.workload == name)
    rates = dict.fromkeys(rate for outcome in own for rate in outcome.cell.rates)
    return WorkloadPart(name, own[0].cell.sizes, tuple(rates), own)
