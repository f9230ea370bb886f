"""What is not ok in a run: cells with the same reason stand together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from bench.records import Note, Outcome, Status
from bench.report import text as words


@dataclass(frozen=True, slots=True)
class ProblemGroup:
    """Cells that share one story of why they have no speed, or not the one that was asked for."""

    status: Status
    outcomes: tuple[Outcome, ...]
    target: str | None
    """The target that is not on this machine, where the story is about every cell of it."""

    @property
    def first(self) -> Outcome:
        """The outcome that tells the story."""
        return self.outcomes[0]

    @property
    def reason(self) -> str:
        """What the cells' reasons share: what fallen nodes cost differs from workload to workload."""
        alike = len({outcome.reason for outcome in self.outcomes}) == 1
        return words.say(self.first.reason if alike else _shared_reason(self.first))

    @property
    def remedy(self) -> str:
        """What to do about it; empty where nothing is known."""
        return words.remedy(self.first)

    @property
    def error(self) -> str:
        """The first line of the error, where the reason does not quote the whole of it."""
        message = self.first.failure.message if self.first.failure else ""
        quoted = self.first.reason.values.get("text")
        return message.splitlines()[0] if message and message != quoted else ""


def groups(outcomes: Sequence[Outcome]) -> tuple[ProblemGroup, ...]:
    """Outcomes that tell the same story stand together: a target that is missing is missing for every model."""
    by_key: dict[tuple[object, ...], list[Outcome]] = {}
    for outcome in outcomes:
        if outcome.status != "ok":
            by_key.setdefault(_group_key(outcome), []).append(outcome)
    order = list(words.STATUSES)
    ordered = sorted(by_key.values(), key=lambda group: order.index(group[0].status))
    return tuple(ProblemGroup(group[0].status, tuple(group), _missing_target(group, outcomes)) for group in ordered)


def _group_key(outcome: Outcome) -> tuple[object, ...]:
    failure = outcome.failure
    shared = (outcome.status, _shared_reason(outcome), outcome.remedy)
    if failure is None:
        return shared
    target = outcome.cell.target if failure.stage == "target" else None
    return (*shared, target, failure.stage, failure.kind, failure.message, failure.exit_code, failure.signal)


def _shared_reason(outcome: Outcome) -> Note:
    """The reason; of nodes that fell back only which, not what it cost."""
    return replace(outcome.reason, parts=()) if outcome.reason.kind == "fell-back" else outcome.reason


def _missing_target(group: Sequence[Outcome], outcomes: Sequence[Outcome]) -> str | None:
    target = group[0].cell.target
    own = sum(outcome.cell.target == target and outcome.status != "excluded" for outcome in outcomes)
    alone = all(outcome.cell.target == target for outcome in group)
    return target if group[0].status == "unavailable" and alone and own == len(group) else None
