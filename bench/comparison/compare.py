"""Compare two stored runs cell by cell, with the conclusions that the data allow (pure).

A change of time within the drift of a machine is called unclear. Between two machines times are not compared, only
ratios to the same control from the same rounds. `bench.judge.stored_change` computes the intervals.
"""

from __future__ import annotations

from collections.abc import Sequence

from bench.comparison import conclusions
from bench.comparison.figures import Figure, figures
from bench.comparison.model import CellChange, Comparison, FigureChange, Judged, Nodes, SpeedVerdict, Support
from bench.judge import placement
from bench.judge.changes import Change, both_differ, cut, differs, values
from bench.judge.differences import differences
from bench.judge.outcome import ANSWERED, judge
from bench.judge.stored_change import change, direction, is_beyond_drift
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
    cells = [_cell(cell, base, new, same) for cell in chosen if _planned(cell, base) or _planned(cell, new)]
    run_differences = differences(base.run, new.run)
    return Comparison(
        base=base.run,
        new=new.run,
        same_machine=same,
        differences=run_differences,
        conclusions=conclusions.of_runs(base.run, new.run, cells, run_differences),
        cells=tuple(cells),
    )


def _planned(cell: str, side: Judged) -> bool:
    return cell in side.outcomes and side.outcomes[cell].status != "excluded"


def _cell(cell: str, base: Judged, new: Judged, same: bool) -> CellChange:
    old, now = (side.outcomes.get(cell) for side in (base, new))
    known = now or old
    # Every id comes from one of the two runs.
    assert known is not None
    before, after = (None if outcome is None else _nodes(outcome) for outcome in (old, now))
    support = _support(old, now, before, after)
    # A cell that one run excluded has no figure there that could be compared.
    both = _planned(cell, base) and _planned(cell, new)
    emulated = any(outcome.cell.emulated for outcome in (old, now) if outcome)
    cell_figures = _figures(cell, base, new, same) if both and not emulated else ()
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
        conclusions=conclusions.of_cell(support, old, now, emulated, same, bool(cell_figures)),
        changed=_changed(base, new, old, now) if both and old and now else (),
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


def _figures(cell: str, base: Judged, new: Judged, same: bool) -> tuple[FigureChange, ...]:
    """The changes of all figures that either run has of the cell."""
    old, now = ({figure.name: figure for figure in side.figures.get(cell, ())} for side in (base, new))
    beside_load = _busy(base.outcomes[cell], new.outcomes[cell])
    return tuple(
        figure_change(cell, name, old.get(name), now.get(name), same, beside_load)
        for name in dict.fromkeys((*old, *now))
    )


def _busy(old: Outcome, now: Outcome) -> Note | None:
    """A note if the cell was measured beside other load in a run: then a difference shows the load, not the change."""
    flags = {
        side: flag
        for side, outcome in (("base", old), ("new", now))
        for flag in outcome.flags
        if flag.kind == "busy-machine"
    }
    if not flags:
        return None
    # Runs of schema 1 have the flag without its figures.
    shares = {
        name: max((flag.values.get(name) or 0.0 for flag in flags.values()), default=0.0) or None
        for name in ("others_percent", "stolen_percent")
    }
    return note("busy-runs", sides=tuple(flags), **shares)


def figure_change(
    cell: str, name: str, old: Figure | None, now: Figure | None, same: bool, beside_load: Note | None = None
) -> FigureChange:
    """Compare one figure of a cell in two runs; None is a run without it, `same` is whether they share a machine.

    `beside_load` is the note on a run that was measured on a busy machine: nothing is concluded from its times.
    """
    both = old is not None and now is not None
    time = change(old.logs, now.logs) if old and now and same else None
    # Ratios to two different controls are two quantities, and their change means nothing.
    alike = bool(old and now and old.control == now.control)
    ratio = change(old.ratios, now.ratios) if old and now and alike else None
    is_control = bool(now and now.control == cell)
    verdict = _verdict(time, ratio, same)
    is_busy = beside_load is not None and verdict != "not compared"
    verdict = "not comparable, busy" if is_busy else verdict
    return FigureChange(
        name=name,
        base_ms=old.latency if old else None,
        new_ms=now.latency if now else None,
        change=time,
        base_ratio=old.ratio if old else None,
        new_ratio=now.ratio if now else None,
        ratio_change=ratio,
        verdict=verdict,
        conclusion=beside_load
        if beside_load is not None and is_busy
        else conclusions.of_figure(
            verdict=verdict,
            time=direction(time),
            ratio=direction(ratio, faster_is_more=True),
            both=both,
            same=same,
            compared=conclusions.Compared(is_control, alike, ratio is not None),
        ),
    )


def _verdict(time: Interval | None, ratio: Interval | None, same: bool) -> SpeedVerdict:
    """On two machines the ratio decides; on one a time beyond drift, if the ratio does not contradict it."""
    against = direction(ratio, faster_is_more=True)
    if not same:
        return "not compared" if ratio is None or ratio.low is None else against or "no difference shown"
    if time is None or time.low is None:
        return "not compared"
    time_direction = direction(time)
    if time_direction is None and against is None:
        return "no difference shown"
    if (
        time_direction is None
        # The interval excludes 0, but the drift between the runs is not in it.
        or not is_beyond_drift(time)
        or (ratio is not None and ratio.low is not None and against != time_direction)
    ):
        return "unclear"
    return time_direction


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
