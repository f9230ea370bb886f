"""Count the verdicts of operator cases by target, operator and opset (pure)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from msgspec import Struct

from bench.conformance.verdicts import RIGHT, VERDICTS
from bench.records import Case, CaseOutcome, OperatorRun, OperatorTarget, OperatorVerdict

ONNX_DOMAIN = "ai.onnx"
SAYS_NOTHING: tuple[OperatorVerdict, ...] = ("newer", "folded", "not-run")
"""Verdicts that do not show whether a provider supports an operator."""
TONES: dict[OperatorVerdict, str] = {
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
    """One target: the counts of its verdicts and operators."""

    target: OperatorTarget
    onnxruntime: str | None
    counts: dict[OperatorVerdict, int]
    """In the order of `VERDICTS`, without verdicts that no case has."""
    operators: int
    whole: int
    """Operators that the provider supports in every conclusive case: right, with every node on it."""
    some: int
    """Operators that it supports in some conclusive cases only."""

    @property
    def cases(self) -> int:
        """Number of cases."""
        return sum(self.counts.values())

    @property
    def right(self) -> int:
        """Number of cases with a right answer, on any provider."""
        return sum(self.counts.get(verdict, 0) for verdict in RIGHT)


class Group(Struct, frozen=True):
    """One operator of one opset, with its cases and their verdicts by target."""

    operator: str
    domain: str
    opset: int
    cases: tuple[Case, ...]
    outcomes: dict[str, dict[str, CaseOutcome]]
    """Outcomes by target name, then by case name."""

    def counts(self, target: str) -> dict[OperatorVerdict, int]:
        """The number of each verdict of the group's cases on a target."""
        return counted(self.outcomes[target].values())


class OpsetLine(Struct, frozen=True):
    """The cases of one opset, with the counts of their verdicts by target."""

    domain: str
    opset: int
    cases: int
    counts: dict[str, dict[OperatorVerdict, int]]


def tried(run: OperatorRun) -> tuple[OperatorTarget, ...]:
    """The targets that could be run."""
    return tuple(target for target in run.targets if target.tried)


def counted(outcomes: Iterable[CaseOutcome]) -> dict[OperatorVerdict, int]:
    """The number of cases of each verdict, in the order of `VERDICTS`."""
    counts = Counter(outcome.verdict for outcome in outcomes)
    return {verdict: counts[verdict] for verdict in VERDICTS if counts[verdict]}


def domain(case: Case) -> str:
    """The domain of a case; ONNX's own, which models leave empty, is `ai.onnx`."""
    return case.domain or ONNX_DOMAIN


def summaries(run: OperatorRun, outcomes: Sequence[CaseOutcome]) -> tuple[Summary, ...]:
    """The summaries of all targets that could be run."""
    return tuple(
        _summary(target, [outcome for outcome in outcomes if outcome.target == target.name]) for target in tried(run)
    )


def _summary(target: OperatorTarget, outcomes: Sequence[CaseOutcome]) -> Summary:
    results_by_operator: dict[tuple[str, str], list[bool]] = {}
    for outcome in outcomes:
        if outcome.verdict not in SAYS_NOTHING:
            # With the domain: ONNX's own and its domains for training and machine learning are versioned apart.
            results_by_operator.setdefault((outcome.case.domain, outcome.case.operator), []).append(
                outcome.verdict == "full"
            )
    return Summary(
        target=target,
        onnxruntime=onnxruntime_of(target),
        counts=counted(outcomes),
        operators=len({(outcome.case.domain, outcome.case.operator) for outcome in outcomes}),
        whole=sum(all(results) for results in results_by_operator.values()),
        some=sum(any(results) and not all(results) for results in results_by_operator.values()),
    )


def onnxruntime_of(target: OperatorTarget) -> str | None:
    """The version of onnxruntime from the probe, else from the runtime's packages; None if unknown."""
    if version := target.facts.versions.get("onnxruntime"):
        return version
    # Builds have their own names (onnxruntime-gpu); `ep-` marks plugins, whose versions are their own.
    packages = target.runtime.packages if target.runtime else {}
    names = sorted(name for name in packages if name.startswith("onnxruntime") and "ep-" not in name)
    return next((packages[name] for name in ("onnxruntime", *names) if name in packages), None)


def is_software(target: OperatorTarget) -> bool:
    """Whether the CPU imitates the target's device."""
    return any(note.kind == "software-adapter" for note in target.facts.notes)


def device(target: OperatorTarget) -> str | None:
    """`gpu.0 NVIDIA H100`; None if it is unknown."""
    probed = target.facts.device
    return f"{probed.label} {probed.name or probed.vendor}".strip() if probed else None


def imitated(target: OperatorTarget) -> str | None:
    """`emulated` or `software` if the CPU imitates the device; None for a real device."""
    if target.provider.emulated:
        return "emulated"
    return "software" if is_software(target) else None


def groups(run: OperatorRun, outcomes: Sequence[CaseOutcome]) -> tuple[Group, ...]:
    """The groups sorted by domain, operator and opset; ONNX's own domain is first."""
    cases: dict[tuple[str, str, int], list[Case]] = {}
    for case in run.suite.cases:
        cases.setdefault((case.domain, case.operator, case.opset), []).append(case)
    by_target_and_name = {(outcome.target, outcome.case.name): outcome for outcome in outcomes}
    targets = [target.name for target in tried(run)]
    operator_groups = []
    for (_, operator, opset), group_cases in sorted(
        cases.items(), key=lambda item: (item[0][0], item[0][1].lower(), item[0][2])
    ):
        # Judging gives each case an outcome on each target that was tried, so no key is missing.
        by_target = {name: {case.name: by_target_and_name[name, case.name] for case in group_cases} for name in targets}
        operator_groups.append(Group(operator, domain(group_cases[0]), opset, tuple(group_cases), by_target))
    return tuple(operator_groups)


def opsets(run: OperatorRun, outcomes: Sequence[CaseOutcome]) -> tuple[OpsetLine, ...]:
    """The opsets sorted by domain and version; ONNX's own domain is first."""
    keys = sorted({(case.domain, case.opset) for case in run.suite.cases})
    lines = []
    for key in keys:
        opset_outcomes = [outcome for outcome in outcomes if (outcome.case.domain, outcome.case.opset) == key]
        counts = {
            t.name: counted([outcome for outcome in opset_outcomes if outcome.target == t.name]) for t in tried(run)
        }
        cases = sum((case.domain, case.opset) == key for case in run.suite.cases)
        lines.append(OpsetLine(key[0] or ONNX_DOMAIN, key[1], cases, counts))
    return tuple(lines)
