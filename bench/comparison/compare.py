"""Compare two stored runs cell by cell, with the conclusions that the data allow (pure).

On one machine a verdict rests on the change of the ratio to the control or on that of the time, whichever is surer
(`evidence`); a change within the drift of a machine is called unclear. Between two machines times are not compared,
only ratios to the same control from the same blocks. `bench.judge.stored_change` computes the intervals.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bench.comparison import conclusions
from bench.comparison.busy_runs import beside_load
from bench.comparison.control_changes import Seen, moved_alone
from bench.comparison.evidence import Basis, Decision, decide
from bench.comparison.figures import Figure, figures
from bench.comparison.model import CellChange, Comparison, FigureChange, Judged, Nodes, SpeedVerdict, Support
from bench.judge import placement
from bench.judge.changes import Change, both_differ, cut, differs, values
from bench.judge.differences import differences
from bench.judge.outcome import ANSWERED, judge
from bench.judge.speed import LEAST_BLOCKS
from bench.judge.stored_change import change, direction, ratio_change
from bench.records import Interval, Note, Observation, Outcome, Run, note


def judged(run: Run, observations: Sequence[Observation]) -> Judged:
    """Judge a run's observations, and keep the outcomes and figures without the raw samples."""
    outcomes = judge(run, observations)
    return Judged(run, {outcome.cell.id: outcome for outcome in outcomes}, figures(run, outcomes, observations))


def compare(base: Judged, new: Judged, only: Sequence[str] | None = None) -> Comparison:
    """Compare every cell that a run planned to measure: cells of the new run first, then those that only the base has.

    `only` holds the ids of the cells to compare; None is all.
    """
    same = base.run.machine.key == new.run.machine.key
    ids = dict.fromkeys((*new.outcomes, *base.outcomes))
    chosen = [cell for cell in ids if only is None or cell in only]
    controls = _Controls(base, new, ids, same)
    cells = [_cell(cell, base, new, controls) for cell in chosen if _planned(cell, base) or _planned(cell, new)]
    run_differences = differences(base.run, new.run)
    moved = [control for control in dict.fromkeys(control for control, _ in controls.moved) if control in chosen]
    return Comparison(
        base=base.run,
        new=new.run,
        same_machine=same,
        differences=run_differences,
        conclusions=(
            *conclusions.of_runs(base.run, new.run, cells, run_differences),
            *conclusions.of_moved_controls(moved),
        ),
        cells=tuple(cells),
    )


class _Controls:
    """What changed of the cells themselves, and which controls moved alone, between two runs of one machine or two."""

    def __init__(self, base: Judged, new: Judged, cells: Iterable[str], same: bool) -> None:
        self.same = same
        self.facts = {
            cell: _changed(base, new, base.outcomes[cell], new.outcomes[cell])
            for cell in cells
            if _planned(cell, base) and _planned(cell, new)
        }
        """What changed of each cell that both runs planned."""
        # On another machine nothing is unchanged.
        self.moved = moved_alone(self._seen(base, new)) if same else frozenset()
        """Each control that moved alone, with the name of the figure."""

    def _seen(self, base: Judged, new: Judged) -> Iterable[Seen]:
        for cell, changed in self.facts.items():
            before = {figure.name: figure for figure in base.figures.get(cell, ())}
            for now in new.figures.get(cell, ()):
                old = before.get(now.name)
                if old is None or now.control is None or now.control != old.control:
                    continue
                difference = ratio_change(old.ratio, now.ratio)
                if difference is not None:
                    yield Seen(cell, now.name, now.control, difference, not changed)

    def changed(self, control: str | None, figure: str) -> bool:
        """Whether a ratio to this control may have changed by the control alone."""
        return control is not None and (bool(self.facts.get(control)) or (control, figure) in self.moved)


def _planned(cell: str, side: Judged) -> bool:
    return cell in side.outcomes and side.outcomes[cell].status != "excluded"


def _cell(cell: str, base: Judged, new: Judged, controls: _Controls) -> CellChange:
    old, now = (side.outcomes.get(cell) for side in (base, new))
    known = now or old
    # Every id comes from one of the two runs.
    assert known is not None
    before, after = (None if outcome is None else _nodes(outcome) for outcome in (old, now))
    support = _support(old, now, before, after)
    # A cell that one run excluded has no figure there that could be compared.
    both = _planned(cell, base) and _planned(cell, new)
    emulated = any(outcome.cell.emulated for outcome in (old, now) if outcome)
    cell_figures = _figures(cell, base, new, controls) if both and not emulated else ()
    return CellChange(
        cell=cell,
        base_status=old.status if old else None,
        new_status=now.status if now else None,
        support=support,
        base_nodes=before,
        new_nodes=after,
        emulated=emulated,
        is_control=known.cell.control,
        figures=cell_figures,
        conclusions=conclusions.of_cell(support, old, now, emulated, controls.same, bool(cell_figures)),
        changed=controls.facts.get(cell, ()),
        flags=(*_file_format(now or old), *_flags(old, now)),
    )


def _nodes(outcome: Outcome) -> Nodes | None:
    if outcome.placement is None or outcome.cell.provider is None:
        return None
    parts = placement.split(outcome.placement, outcome.cell.provider)
    return Nodes(parts.on_target, parts.fallback_nodes)


def _support(old: Outcome | None, now: Outcome | None, before: Nodes | None, after: Nodes | None) -> Support:
    """How the support of a cell changed from base to new."""
    if old is None or old.status == "excluded":
        return "added"
    # A rule that excludes the cell today is a decision of the user, and no loss of support.
    if now is None or now.status == "excluded":
        return "gone"
    # A run that ended before the cell's turn says nothing about its support.
    if "not-measured" in (old.status, now.status):
        return "not measured"
    was, works = old.status in ANSWERED, now.status in ANSWERED
    if was != works:
        return "gained" if works else "lost"
    # Nodes that compute, not all nodes: shape arithmetic on the CPU is no loss of support.
    if before and after and before.fell_back != after.fell_back:
        return "lost nodes" if after.fell_back > before.fell_back else "gained nodes"
    # A cell that fails in both runs may fail in another way.
    return "same" if old.status == now.status else "changed"


def _figures(cell: str, base: Judged, new: Judged, controls: _Controls) -> tuple[FigureChange, ...]:
    """The changes of all figures that either run has of the cell."""
    old, now = ({figure.name: figure for figure in side.figures.get(cell, ())} for side in (base, new))
    return tuple(
        figure_change(
            cell,
            name,
            old.get(name),
            now.get(name),
            controls.same,
            busy=beside_load(
                {
                    "base": _with_control(cell, old.get(name), base),
                    "new": _with_control(cell, now.get(name), new),
                }
            ),
            control_changed=any(
                controls.changed(figure.control, name) for figure in (old.get(name), now.get(name)) if figure
            ),
        )
        for name in dict.fromkeys((*old, *now))
    )


def _with_control(cell: str, figure: Figure | None, side: Judged) -> tuple[Outcome | None, Outcome | None]:
    control = figure.control if figure else None
    return side.outcomes.get(cell), side.outcomes.get(control) if control else None


def figure_change(
    cell: str,
    name: str,
    old: Figure | None,
    now: Figure | None,
    same: bool,
    *,
    busy: Note | None = None,
    control_changed: bool = False,
) -> FigureChange:
    """Compare one figure of a cell in two runs; None is a run without it, `same` is whether they share a machine.

    `busy` is the note on a run that was measured beside other load: nothing is concluded from its figures. Nor is
    anything from the ratio where the control itself changed.
    """
    # Ratios to two different controls are two quantities, and their change means nothing.
    alike = bool(old and now and old.control == now.control)
    time = _time_change(old, now) if old and now and same else None
    ratio = ratio_change(old.ratio, now.ratio) if old and now and alike else None
    is_control = bool(now and now.control == cell)
    compared = conclusions.Compared(is_control, alike, ratio is not None, control_changed and not is_control)
    decision = decide(time, ratio, control_changed=compared.changed) if same else None
    verdict = _verdict(decision, ratio, same)
    if old is None or now is None:
        conclusion = note("one-valid-speed")
    else:
        conclusion = (
            conclusions.on_one_machine(decision, compared) if same else conclusions.across_machines(verdict, compared)
        )
    # Where a time has no interval either, that it was disturbed matters more than that.
    if busy is not None and old and now and (same or verdict != "not compared"):
        verdict, conclusion = "not comparable, busy", busy
    return FigureChange(
        name=name,
        base_ms=old.latency if old else None,
        new_ms=now.latency if now else None,
        change=time,
        base_ratio=old.ratio if old else None,
        new_ratio=now.ratio if now else None,
        ratio_change=ratio,
        verdict=verdict,
        rests_on=_basis(decision, verdict, same),
        conclusion=conclusion,
    )


def _time_change(old: Figure, now: Figure) -> Interval | None:
    """The change of the time; it has no interval where one of the times has none."""
    difference = change(old.logs, now.logs)
    if difference is None or min(len(old.logs), len(now.logs)) >= LEAST_BLOCKS:
        return difference
    return Interval(difference.value, None, None)


def _verdict(decision: Decision | None, ratio: Interval | None, same: bool) -> SpeedVerdict:
    """On two machines the ratio alone decides."""
    if same:
        return decision.verdict if decision else "not compared"
    if ratio is None or ratio.low is None:
        return "not compared"
    return direction(ratio, faster_is_more=True) or "no difference shown"


def _basis(decision: Decision | None, verdict: SpeedVerdict, same: bool) -> Basis | None:
    if verdict in {"not compared", "not comparable, busy"}:
        return None
    return decision.basis if decision else None if same else "ratio"


def _file_format(outcome: Outcome | None) -> tuple[Note, ...]:
    """The number format of the user's own file, which the name of a cell does not tell; empty for FP32."""
    held = outcome.file_format if outcome else None
    return (note("file-holds", number_format=held),) if held else ()


def _flags(old: Outcome | None, now: Outcome | None) -> tuple[Note, ...]:
    """The flags of both runs, then those of one run alone, without `emulated`: the cell has a field for that."""
    sides = [{flag.kind for flag in outcome.flags} - {"emulated"} if outcome else set() for outcome in (old, now)]
    parts = (("both", sides[0] & sides[1]), ("base", sides[0] - sides[1]), ("new", sides[1] - sides[0]))
    return tuple(note("flags", side=side, flags=tuple(sorted(flags))) for side, flags in parts if flags)


def _changed(base: Judged, new: Judged, old: Outcome, now: Outcome) -> tuple[Note, ...]:
    """The differences of the cell itself: versions, provider, device, weights, threads, recipe, source."""
    facts: list[Change] = [
        (cut(name), version, now.versions[name]) for name, version in old.versions.items() if name in now.versions
    ]
    facts += [("provider", old.cell.provider, now.cell.provider), ("device", old.device, now.device)]
    facts += [("weights", old.weights, now.weights)]
    # Some engines cannot tell their threads, and an unknown number is no difference.
    if None not in {old.threads, now.threads}:
        facts.append(("threads", old.threads, now.threads))
    notes = [note("changed", name=name, **values(was, is_now)) for name, was, is_now in facts if differs(was, is_now)]
    if old.cell.recipe != now.cell.recipe:
        notes.append(note("another-recipe"))
    if both_differ(base.run.source_digests, new.run.source_digests, now.cell.model):
        notes.append(note("another-source"))
    return tuple(notes)
