"""The verdicts of operator cases in; what the page and the table show of them, counted, out (pure)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from msgspec import Struct

from bench.conformance.verdicts import RIGHT, VERDICTS
from bench.records import Case, CaseOutcome, OperatorRun, OperatorTarget, Verdict

ONNX_DOMAIN = "ai.onnx"
SAYS_NOTHING: tuple[Verdict, ...] = ("newer", "folded", "not-run")
"""Verdicts that say nothing of whether a provider has an operator."""
TONES: dict[Verdict, str] = {
    "full": "good",
    "partial": "warn",
    "elsewhere": "away",
    "folded": "absent",
    "unplaced": "absent",
    "coarse": "warn",
    "wrong": "wrong",
    "refused": "refused",
    "newer": "absent",
    "crashed": "bad",
    "timeout": "bad",
    "not-run": "absent",
}


class Summary(Struct, frozen=True):
    """One target: how its cases ended, and its operators."""

    target: OperatorTarget
    onnxruntime: str | None
    counts: dict[Verdict, int]
    """In the order of `VERDICTS`; without those that no case has."""
    operators: int
    whole: int
    """Operators of which every case that says anything of the provider is right, with every node on it."""
    some: int
    """Operators of which that holds for some cases."""

    @property
    def cases(self) -> int:
        """How many cases it was asked for."""
        return sum(self.counts.values())

    @property
    def right(self) -> int:
        """How many cases came out right, wherever they were computed."""
        return sum(self.counts.get(one, 0) for one in RIGHT)


class Group(Struct, frozen=True):
    """One operator of one opset: its cases, and their verdicts by target."""

    operator: str
    domain: str
    opset: int
    cases: tuple[Case, ...]
    outcomes: dict[str, dict[str, CaseOutcome]]
    """By target, then by case."""

    def counts(self, target: str) -> dict[Verdict, int]:
        """How the group's cases ended on a target."""
        return counted(self.outcomes[target].values())


class OpsetLine(Struct, frozen=True):
    """The cases of one opset: how they ended, by target."""

    domain: str
    opset: int
    cases: int
    counts: dict[str, dict[Verdict, int]]


def tried(run: OperatorRun) -> tuple[OperatorTarget, ...]:
    """The targets that have rows."""
    return tuple(target for target in run.targets if target.tried)


def counted(outcomes: Iterable[CaseOutcome]) -> dict[Verdict, int]:
    """Verdicts by number, in the order of `VERDICTS`."""
    counts = Counter(one.verdict for one in outcomes)
    return {verdict: counts[verdict] for verdict in VERDICTS if counts[verdict]}


def domain(case: Case) -> str:
    """The domain as it is written out."""
    return case.domain or ONNX_DOMAIN


def summaries(run: OperatorRun, outcomes: Sequence[CaseOutcome]) -> tuple[Summary, ...]:
    """One for every target that was tried."""
    return tuple(_summary(target, [one for one in outcomes if one.target == target.name]) for target in tried(run))


def _summary(target: OperatorTarget, outcomes: Sequence[CaseOutcome]) -> Summary:
    telling: dict[tuple[str, str], list[bool]] = {}
    for one in outcomes:
        if one.verdict not in SAYS_NOTHING:
            telling.setdefault((one.case.domain, one.case.operator), []).append(one.verdict == "full")
    return Summary(
        target=target,
        onnxruntime=onnxruntime_of(target),
        counts=counted(outcomes),
        operators=len({(one.case.domain, one.case.operator) for one in outcomes}),
        whole=sum(all(found) for found in telling.values()),
        some=sum(any(found) and not all(found) for found in telling.values()),
    )


def onnxruntime_of(target: OperatorTarget) -> str | None:
    """The version of onnxruntime itself, from the probe, or from the runtime's packages."""
    if said := target.facts.versions.get("onnxruntime"):
        return said
    packages = target.runtime.packages if target.runtime else {}
    names = sorted(name for name in packages if name.startswith("onnxruntime") and "ep-" not in name)
    return next((packages[name] for name in ("onnxruntime", *names) if name in packages), None)


def is_software(target: OperatorTarget) -> bool:
    """Whether the CPU imitates the target's device."""
    return any(note.kind == "software-adapter" for note in target.facts.notes)


def groups(run: OperatorRun, outcomes: Sequence[CaseOutcome]) -> tuple[Group, ...]:
    """Every operator and opset, by domain and name; ONNX's own domain first."""
    cases: dict[tuple[str, str, int], list[Case]] = {}
    for case in run.suite.cases:
        cases.setdefault((case.domain, case.operator, case.opset), []).append(case)
    found = {(one.target, one.case.name): one for one in outcomes}
    targets = [target.name for target in tried(run)]
    made = []
    for (_, operator, opset), mine in sorted(
        cases.items(), key=lambda item: (item[0][0], item[0][1].lower(), item[0][2])
    ):
        by_target = {name: {case.name: found[name, case.name] for case in mine} for name in targets}
        made.append(Group(operator, domain(mine[0]), opset, tuple(mine), by_target))
    return tuple(made)


def opsets(run: OperatorRun, outcomes: Sequence[CaseOutcome]) -> tuple[OpsetLine, ...]:
    """Every opset by domain and version; ONNX's own domain first."""
    keys = sorted({(case.domain, case.opset) for case in run.suite.cases})
    lines = []
    for key in keys:
        mine = [one for one in outcomes if (one.case.domain, one.case.opset) == key]
        counts = {t.name: counted([one for one in mine if one.target == t.name]) for t in tried(run)}
        cases = sum((case.domain, case.opset) == key for case in run.suite.cases)
        lines.append(OpsetLine(key[0] or ONNX_DOMAIN, key[1], cases, counts))
    return tuple(lines)
