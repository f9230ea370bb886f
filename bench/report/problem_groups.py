"""Groups the cells of a run that are not ok by their reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from bench.records import Note, Outcome, Status
from bench.report import text as words


@dataclass(frozen=True, slots=True)
class ProblemGroup:
    """Cells that are not ok for the same reason."""

    status: Status
    outcomes: tuple[Outcome, ...]
    target: str | None
    """The target, if it is not on this machine and the group has every cell of it; else None."""

    @property
    def first(self) -> Outcome:
        """The outcome that represents the group."""
        return self.outcomes[0]

    @property
    def reason(self) -> str:
        """The reason that all cells share, without the cost of fallback nodes if that differs between workloads."""
        alike = len({outcome.reason for outcome in self.outcomes}) == 1
        return words.say(self.first.reason if alike else _shared_reason(self.first))

    @property
    def remedy(self) -> str:
        """What to do about it; empty if nothing is known."""
        return words.remedy(self.first)

    @property
    def error(self) -> str:
        """The first line of the error message; empty if the reason already quotes the whole message."""
        message = self.first.failure.message if self.first.failure else ""
        quoted = self.first.reason.values.get("text")
        return message.splitlines()[0] if message and message != quoted else ""


def groups(outcomes: Sequence[Outcome]) -> tuple[ProblemGroup, ...]:
    """The groups in the order of `STATUSES`; a missing target makes one group for all models."""
    by_key: dict[tuple[object, ...], list[Outcome]] = {}
    for outcome in outcomes:
        if outcome.status != "ok":
            by_key.setdefault(_group_key(outcome), []).append(outcome)
    order = list(words.STATUSES)
    # The sort is stable: groups of one status stay in the order of the plan.
    ordered = sorted(by_key.values(), key=lambda group: order.index(group[0].status))
    return tuple(ProblemGroup(group[0].status, tuple(group), _missing_target(group, outcomes)) for group in ordered)


def _group_key(outcome: Outcome) -> tuple[object, ...]:
    failure = outcome.failure
    shared = (outcome.status, _shared_reason(outcome), outcome.remedy)
    if failure is None:
        return shared
    # Missing targets are separate problems even if the message is the same; other failures are shared by targets.
    target = outcome.cell.target if failure.stage == "target" else None
    return (*shared, target, failure.stage, failure.kind, failure.message, failure.exit_code, failure.signal)


def _shared_reason(outcome: Outcome) -> Note:
    """The reason without its parts if nodes fell back: the parts say the cost, which differs between workloads."""
    return replace(outcome.reason, parts=()) if outcome.reason.kind == "fell-back" else outcome.reason


def _missing_target(group: Sequence[Outcome], outcomes: Sequence[Outcome]) -> str | None:
    target = group[0].cell.target
    own = sum(outcome.cell.target == target and outcome.status != "excluded" for outcome in outcomes)
    alone = all(outcome.cell.target == target for outcome in group)
    # Only where the group is the whole target: then its name stands for the list of its cells.
    return target if group[0].status == "unavailable" and alone and own == len(group) else None
