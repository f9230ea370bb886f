"""Measure error rates of gates and of ratios on simulated machines, or the coverage of intervals on recorded blocks."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.calibration import blocks, coverage, table
from tests.calibration.figures import figures, row
from tests.calibration.gates import all_counted
from tests.calibration.noise import KINDS


def main() -> int:
    """Print the tables; return 1 if a figure is missed, or if too few gates were run to show it."""
    arguments = _arguments()
    if arguments.replay:
        return _replayed(arguments.replay, arguments.seed)
    missed = _blocks(arguments.runs, arguments.seed, arguments.processes) if arguments.runs else []
    return _ended(
        missed + (_simulated(arguments.gates, arguments.seed, arguments.processes) if arguments.gates else [])
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.calibration", description=__doc__)
    parser.add_argument("--gates", type=int, default=1000, help="gates of each scenario (1000)")
    parser.add_argument(
        "--runs", type=int, default=200, help="runs of blocks of two cells in each scenario (200); of more cells fewer"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=min(os.cpu_count() or 1, 8))
    parser.add_argument("--replay", type=Path, nargs="+", metavar="RUN", help="folders of runs of 30 blocks or more")
    return parser.parse_args()


def _blocks(runs: int, seed: int, processes: int) -> list[str]:
    """What the ratios of a run are worth, whose blocks stop when its comparisons are decided."""
    missed: list[str] = []
    for kind in blocks.KINDS:
        found = blocks.rows(kind, runs, seed, processes)
        print("\n".join(blocks.lines(kind, found)), flush=True)
        missed += [f"{kind.name}, {row.scenario.cells} cells: {what}" for row in found for what in row.missed()]
    return missed


def _simulated(gates: int, seed: int, processes: int) -> list[str]:
    missed: list[str] = []
    for kind in KINDS:
        kind_figures = figures(kind)
        scenarios = list(dict.fromkeys(figure.scenario for figure in kind_figures))
        counts = all_counted([(scenario, gates) for scenario in scenarios], seed, processes)
        counts_by_scenario = dict(zip(scenarios, counts, strict=True))
        rows = [row(figure, counts_by_scenario[figure.scenario]) for figure in kind_figures]
        print("\n".join((*table.lines(kind.name, rows), f"  {table.cost(counts[0])}")), flush=True)
        missed += [
            f"{kind.name}, {result.figure.what}" for result in rows if result.reached() in {"no", "too few gates"}
        ]
    return missed


def _replayed(runs: Sequence[Path], seed: int) -> int:
    rows = [row_of_run for run in runs for row_of_run in coverage.replayed(run, seed)]
    if not rows:
        print(f"no cell of {', '.join(map(str, runs))} has {coverage.MIN_ROUNDS} blocks; record more of them")
        return 1
    print("\n".join(coverage.lines(rows)))
    return _ended([] if coverage.reached(rows) else ["coverage of recorded rounds"])


def _ended(missed: Sequence[str]) -> int:
    print("\n".join(("\nmissed, or not shown by so few:", *missed) if missed else ("\nevery figure is reached",)))
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
