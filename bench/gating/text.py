"""Turn the notes of a gate into words, and format the figures that all of its reports share (pure).

The decisions make notes, and this module holds their words. No code reads the words back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from bench.gating import text_budget
from bench.records import GateCell, GateRun, GateVerdict, Interval, Note, Outcome, TaskResult
from bench.report import numbers, task, text_differences
from bench.report import text as words
from bench.report.escaping import line
from bench.report.text_differences import folded_line
from bench.report.text_notes import Words

LONGEST = 240
"""Maximum length of a reason in a table, in characters; `gate.json` holds the whole reason."""
EXIT_CODES = {
    0: "nothing got slower or stopped working",
    1: "a confirmed regression, lost support, or worse answers",
    3: "too noisy, or too little time, to tell",
    4: "nothing could be judged",
}


class VerdictWords(NamedTuple):
    """The name of a verdict for one cell and for several, and its meaning."""

    singular: str
    plural: str
    meaning: str


VERDICTS: dict[GateVerdict, VerdictWords] = {
    "regression": VerdictWords("regression", "regressions", "slower, on fresh pairs that confirmed it"),
    "lost-support": VerdictWords("lost support", "cells that lost support", "worked in the base and does not now"),
    "worse-answers": VerdictWords(
        "worse answers", "cells with worse answers", "labelled samples are scored worse, by the paired test"
    ),
    "inconclusive": VerdictWords("inconclusive", "inconclusive", "undecided; never a pass"),
    "warning": VerdictWords("warning", "warnings", "stored numbers look slower, which proves nothing"),
    "gone": VerdictWords("gone", "gone", "only the base has the cell"),
    "pass": VerdictWords("pass", "pass", "no regression"),
    "not-judged": VerdictWords("not judged", "not judged", "the base has no valid speed to compare with"),
    "added": VerdictWords("added", "added", "only the new matrix has the cell"),
}
"""In the order of counts and lists: the worst first, and last the cells that were not compared."""
RED: tuple[GateVerdict, ...] = ("regression", "lost-support", "worse-answers")
NOT_COMPARED: tuple[GateVerdict, ...] = ("not-judged", "added")
ONE_SIDED: dict[GateVerdict, str] = {"gone": "only in the base", "added": "only in the new matrix"}
"""Verdicts of cells that one side has alone: every report for people folds them, since there may be hundreds."""
UNSURE: tuple[GateVerdict, ...] = ("inconclusive", "warning")
HOW_TO_READ = (
    "Change: the time of a call, new relative to base, with its 95 % interval; + is slower. Pairs: fresh processes of "
    "base and new side by side. Detectable: the smallest slowdown that these pairs detect with 80 % power."
)


def ordered(cells: Iterable[GateCell]) -> list[GateCell]:
    """Sort by verdict, the worst first, then by change, the slowest first."""
    ranks = list(VERDICTS)

    def place(cell: GateCell) -> tuple[int, float, str]:
        # The name comes last, so that cells with equal changes stand in the same order in each report.
        return ranks.index(cell.verdict), -cell.change.value if cell.change else 0.0, cell.cell

    return sorted(cells, key=place)


def one_sided(cells: Iterable[GateCell]) -> list[tuple[str, list[GateCell]]]:
    """The cells of one side alone, each side with its line: `12 cells only in the base: a, b, c and 9 more`."""
    sorted_cells = ordered(cells)
    sides = [(where, [cell for cell in sorted_cells if cell.verdict == name]) for name, where in ONE_SIDED.items()]
    return [(folded_line([cell.cell for cell in own], where), own) for where, own in sides if own]


def counted(cells: Iterable[GateCell]) -> str:
    """`1 regression, 2 inconclusive, 247 pass`."""
    counts = Counter(cell.verdict for cell in cells)
    return ", ".join(f"{counts[name]:,} {named(name, counts[name])}" for name in VERDICTS if counts[name]) or "no cells"


def named(verdict: GateVerdict, number: int = 1) -> str:
    """`regression` or `regressions`."""
    return VERDICTS[verdict].singular if number == 1 else VERDICTS[verdict].plural


def detectable(cell: GateCell) -> str:
    """The smallest slowdown that the cell's pairs can detect, `2.7 %`."""
    return numbers.percent(cell.detectable)


def sides(cell: GateCell) -> str:
    """Base and new side by side: `12.3 ± 0.1 ms → 12.9 ± 0.1 ms`, or the statuses where they differ, `ok → crashed`."""
    if cell.base_status != cell.new_status:
        return f"{cell.base_status or numbers.DASH} → {cell.new_status or numbers.DASH}"
    if cell.base_ms is None and cell.new_ms is None:
        return numbers.DASH
    return f"{_time(cell.base_ms)} → {_time(cell.new_ms)}"


def _time(interval: Interval | None) -> str:
    return numbers.DASH if interval is None else numbers.plus_minus(interval, " ms")


def explanation(cell: GateCell) -> str:
    """Reason, remedy and notes on one line. A pass shows its notes only, since the figures already say the rest."""
    remedy = f"Remedy: {cell.remedy}" if cell.remedy else ""
    parts = cell.notes if cell.verdict == "pass" else (cell.reason, remedy, *cell.notes)
    return cut("; ".join(line(part) for part in parts if part))


def figures(cell: GateCell) -> list[tuple[str, str]]:
    """The columns of a table row as names and values, for formats without tables."""
    return [
        ("verdict", named(cell.verdict)),
        ("change", numbers.change(cell.change)),
        ("pairs", numbers.count(cell.pairs)),
        ("detectable", detectable(cell)),
        ("base → new", sides(cell)),
    ]


def null_control(run: GateRun) -> str:
    """The result of the null control, base against base, on one line."""
    null = run.null
    verdict = "fine" if null.fine else "not fine"
    measured = f"{numbers.change(null.change)} over {_count(null.pairs, 'pair')}"
    return f"{verdict}: {line(null.reason) or 'no reason given'} ({measured})"


def about(run: GateRun) -> str:
    """Base, machine, time spent and exit code, on one line."""
    budget = f" of {run.budget_minutes:g}" if run.budget_minutes is not None else ""
    parts = [
        f"base {line(run.base)} of {words.moment(line(run.base_created))}",
        f"machine {line(run.machine.key)} ({line(run.machine.cpu.brand)})",
        f"{numbers.significant(run.minutes)}{budget} minutes",
        exit_code(run),
    ]
    return ", ".join(parts)


def exit_code(run: GateRun) -> str:
    """`exit code 1: a confirmed regression, or lost support`."""
    meaning = EXIT_CODES.get(run.exit_code)
    return f"exit code {run.exit_code}" + (f": {meaning}" if meaning else "")


def cut(text: str, longest: int = LONGEST) -> str:
    """Cut a text at `longest` characters."""
    return text if len(text) <= longest else f"{text[: longest - 1].rstrip()}…"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


# --- facts ------------------------------------------------------------------------------------------------------------


def say(note: Note) -> str:
    """The words of a note of a gate, or of a difference between base and new."""
    return text_differences.say(note, WORDS if note.kind in WORDS else text_differences.WORDS)


def sentences(facts: Iterable[Note]) -> tuple[str, ...]:
    """The words of each note."""
    return tuple(map(say, facts))


def joined(facts: Iterable[Note]) -> str:
    """The words of several notes on one line."""
    return "; ".join(map(say, facts))


def answer(facts: Sequence[Note]) -> str:
    """The result of a gate in one sentence: the first note, then the reasons if there are more."""
    return ": ".join(filter(None, (say(facts[0]), joined(facts[1:]))))


def outcome_reason(outcome: Outcome) -> str:
    """Why an outcome has its status, in words."""
    return words.reason(outcome)


def outcome_remedy(outcome: Outcome) -> str:
    """The remedy of an outcome, in words; empty if there is none."""
    return words.remedy(outcome)


def file_format(outcome: Outcome) -> str:
    """`the file is fp16` for a user's own file as it is, where that is not FP32; else empty."""
    return words.own_format(outcome)


def percent(share: float) -> str:
    """`5.1 %`; no decimals from 100 % up."""
    # At 0.9995 one decimal would already round up to 100.0. Rounding may also leave a minus before zero.
    figure = f"{100 * share:.0f}" if abs(share) >= 0.9995 else f"{100 * share:.1f}"
    return f"{'0.0' if figure == '-0.0' else figure} %"


def limit(share: float) -> str:
    """A threshold of the rules without trailing zeros: `2 %`, `1.5 %`."""
    return f"{100 * share:g} %"


def _ends(value: float, low: float | None, high: float | None) -> str:
    """`5.1 % (4.2 to 6.0 %)`."""
    if low is None or high is None:
        return percent(value)
    # The unit of the lower end is cut off, because it stands once, after the upper end.
    return f"{percent(value)} ({percent(low)[:-2]} to {percent(high)})"


def _cells(number: int) -> str:
    return _count(number, "cell")


def _not_slower(value: float, low: float | None, high: float | None, pairs: int, fresh: bool) -> str:
    kind = "fresh pair" if fresh else "pair"
    return f"no slowdown shown: {_ends(value, low, high)} in {_count(pairs, kind)}"


def _cannot_tell(value: float, low: float | None, high: float | None, pairs: int, limit: float) -> str:
    return (
        f"{_count(pairs, 'fresh pair')} cannot distinguish {_ends(value, low, high)} from no slowdown, "
        f"nor from the {100 * limit:g} % that fail a gate"
    )


def _regression(
    slower: int,
    worst: str | None,
    change: float | None,
    lost: int,
    first_lost: str | None,
    inconclusive: int,
    # Gates of earlier versions have neither.
    worse: int = 0,
    first_worse: str | None = None,
) -> str:
    parts = []
    if slower:
        named = f" ({worst}: {change:+.1%})" if worst and change is not None else ""
        parts.append(f"{_cells(slower)} slower{named}")
    if lost:
        parts.append(f"{_cells(lost)} lost support ({first_lost})")
    if worse:
        parts.append(f"{_cells(worse)} with worse answers ({first_worse})")
    others = f"; {_cells(inconclusive)} undecided" if inconclusive else ""
    return f"regression: {' and '.join(parts)}{others}"


def task_line(result: TaskResult) -> str:
    """The task metric of both sides in words: `accuracy 97.8 %, 98.0 % in the base, loss +0.2 points (-0.5 to 0.9)`."""
    line = f"{task.title(result.metric)}: {task.remark(result)}"
    if result.value is not None:
        figures = (
            f"{task.figure(result.metric, result.value)}, {task.figure(result.metric, result.reference)} in the base"
        )
        line = f"{task.title(result.metric)} {figures}, loss {task.loss(result)}"
        remark = task.remark(result)
        line += f"; {remark}" if result.needed is not None and remark else ""
    return line


def _answers(metric: str, base: float | None, value: float | None, loss: Interval, samples: int) -> str:
    return f"{task_line(TaskResult(metric, samples, value, base, loss))}, on {samples:,} labelled samples"


def _passed(passed: int, warned: int) -> str:
    return f"{_cells(passed)} passed" + (f", {_cells(warned)} warned of by stored numbers" if warned else "")


def _too_short(budget_minutes: float, cells: int, minutes: float | None) -> str:
    hint = "not one pair was made"
    if minutes is not None:
        hint = f"screening {cells} cells alone takes about {minutes:.0f} minutes"
    return f"--budget-minutes {budget_minutes:g} is too short to decide anything: {hint}"


def _against_stored(reason: str | None) -> str:
    return f"against stored numbers, as the base cannot be run again{f': {reason}' if reason else ''}"


def _other_worker_code(code: str) -> str:
    why = f"({code}) is not in the cache, or has another protocol" if code else "is not on record"
    return f"the base's own worker code {why}: both sides run under today's"


WORDS: dict[str, Words] = {
    # The speed of one cell, from pairs.
    "not-slower": _not_slower,
    "slower": lambda value, low, high, slower, pairs: (
        f"{slower} of {_count(pairs, 'fresh pair')} slower: {_ends(value, low, high)}"
    ),
    "under-limit": lambda value, low, high, pairs, limit: (
        f"not slower by {100 * limit:g} % or more: {_ends(value, low, high)} in {_count(pairs, 'fresh pair')}"
    ),
    "not-sure-enough": lambda value, low, high, pairs: (
        f"looks slower by {_ends(value, low, high)}, but {_count(pairs, 'fresh pair')} do not confirm it"
    ),
    "cannot-tell": _cannot_tell,
    "scatter-hides": lambda pairs, scatter, hidden: (
        f"{_count(pairs, 'pair')} that scatter by {percent(scatter)} each could hide a slowdown of {limit(hidden)}"
    ),
    "pairs-missing": lambda pairs, wanted, stage: f"only {pairs} of {_count(wanted, f'{stage} pair')} could be made",
    "unvouched": lambda: "the null control failed on this machine",
    # Base against base.
    "few-null-pairs": lambda pairs, needed: (
        f"only {_count(pairs, 'pair')} of base against base, and {needed} are needed"
    ),
    "null-differs": lambda value, low, high: (
        f"base against base differs by {_ends(value, low, high)}: the measurement is biased"
    ),
    "null-scatters": lambda scatter, pairs, hidden: (
        f"pairs scatter by {percent(scatter)}: {pairs} of them may miss a slowdown of {limit(hidden)}"
    ),
    "null-fine": lambda: "base against base shows no difference",
    "null-not-needed": lambda: "not needed: no cell was measured in pairs",
    # The speed of one cell, from stored numbers.
    "too-few-rounds": lambda: "too few rounds to decide",
    "slower-than-drift": lambda low: f"at least {low:.1%} slower, more than the drift of a machine",
    "slower-or-drift": lambda value: f"looks {value:.1%} slower, which drift of the machine may explain",
    "slowdown-possible": lambda high: f"a slowdown of {high:.0%} cannot be ruled out",
    "no-slowdown-over": lambda limit: f"no slowdown over {limit:.0%}",
    "against-stored": _against_stored,
    # The support of one cell, and cells that are not judged.
    "lost-status": lambda before, after, reason: f"was {before}, is {after}: {reason}",
    "lost-nodes": lambda provider, before, after, operators: (
        f"{after} nodes fell back from {provider}, and {before} did before: {', '.join(operators)}"
    ),
    "base-lost-too": lambda: "but the base has the same problem today, so this change is not the cause",
    "emulated-times": lambda: "emulated: its answers are judged, and its times say nothing",
    "new-side-unprepared": lambda: "the new side could not be prepared",
    "new-cell": lambda: "the base has no such cell",
    "no-valid-speed": lambda status, reason: f"the base has no valid speed: {status}: {reason}",
    "missing-cell": lambda: "the base measured it; the new matrix has no such cell",
    "excluded-now": lambda rule: f"the base measured it; a rule leaves it out: {rule}",
    # What to do.
    "new-baseline": lambda: "record a new baseline",
    "skip-or-new-baseline": lambda cell: f"leave it out with --skip '{cell}', or record a new baseline",
    # Labelled samples.
    "worse-answers": lambda metric, base, value, loss, low, high, samples: (
        f"worse answers: {_answers(metric, base, value, Interval(loss, low, high), samples)}"
    ),
    "maybe-worse-answers": lambda metric, base, value, loss, low, high, samples: (
        "perhaps worse answers, but the samples do not confirm it: "
        f"{_answers(metric, base, value, Interval(loss, low, high), samples)}"
    ),
    "samples-gone": lambda: "the base has labelled samples, and the new matrix has none",
    "samples-failed": lambda text: f"the labelled samples could not be run, and could be in the base: {text}",
    "samples-not-finite": lambda: "the scores of the labelled samples are missing or not finite",
    "other-samples": lambda: "not comparable: the labelled samples or their metric are others than the base's",
    "one-sample": lambda: "one labelled sample shows no difference",
    "more-samples": lambda needed: (
        f"give about {needed:,} labelled samples" if needed else "give more labelled samples"
    ),
    # The answer.
    "regression": _regression,
    "inconclusive": lambda: "inconclusive",
    "cells-inconclusive": lambda count, passed, warned: f"{_cells(count)} undecided; {_passed(passed, warned)}",
    "too-short": _too_short,
    "cells-gone": lambda count: f"not judged: the base measured {_cells(count)} that are no longer in the matrix",
    "nothing-to-judge": lambda: "nothing to judge: no cell of the base has a valid speed",
    "no-regression": lambda passed, warned: f"no regression: {_passed(passed, warned)}",
    # How the gate was run.
    **text_budget.WORDS,
    "base-matrix-unreadable": lambda text: f"its matrix cannot be read any more: {text}",
    "base-lacks-values": lambda text: text,
    "other-worker-code": _other_worker_code,
    "foreign-baseline": lambda: (
        "the baseline was not made by you on this machine, or was changed: its runtimes are those of the matrix"
    ),
    "trusted-baseline": lambda acts: (
        "--trust-baseline: the baseline was not made by you on this machine, or was changed; beyond the matrix it "
        + (", ".join(acts) if acts else "did nothing")
    ),
    "base-python": lambda runtime, before, after: (
        f"runtime '{runtime}' of the base has Python {after}, and had {before}"
    ),
    "base-packages": lambda runtime, names: (
        f"runtime '{runtime}' of the base has other versions than it had: {', '.join(names)}"
    ),
    "rebuilt-artifacts": lambda names: f"built again, by other tools or code than the base's: {', '.join(names)}",
    "stored-cells": lambda count, cells, limit: (
        f"{count} of {cells} cells are compared with stored numbers, which may warn, "
        f"and fail nothing under {100 * limit:g} %"
    ),
    "disturbed-pairs": lambda count, pairs: (
        f"{count} of {pairs} pairs were discarded and measured again: the CPU was busy"
    ),
}
"""The words of each kind, by the parameters of its note."""
