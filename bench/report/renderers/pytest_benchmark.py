"""The format `pytest-benchmark`: a file for `pytest-benchmark compare` and other readers of its format.

Every cell with a valid speed is one benchmark. Its samples are the rounds, each with the median call of its process,
because the replicate is the process and not the call. Cells are grouped by their id, so that a comparison of two files,
or a file of several runs, shows the results of one cell side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean, median, stdev
from typing import Any

import msgspec

from bench import __version__
from bench.foreign_text import json_text
from bench.records import Interval, Machine, Outcome, Run, Speed
from bench.report import text, text_flags
from bench.report.escaping import line
from bench.report.model import Report

NAME = "pytest-benchmark"
FILE = "pytest-benchmark.json"
FORMAT_VERSION = "5.1.0"
"""The version of pytest-benchmark whose format this is."""
SAMPLES = (
    "Each of the data is the median call of one round, a fresh process. Calls of one process are no replicates, so a "
    "comparison by iterations would promise too much; `bench gate` decides what got slower."
)
UNVERSIONED = {"id": "unversioned", "time": None, "author_time": None, "dirty": False, "branch": "(unknown)"}
"""What pytest-benchmark writes outside a repository: a run records its packages, but no commit of the caller."""


def render(report: Report) -> str:
    """Indented JSON; if there are several runs, the name of each benchmark ends with its run in brackets.

    The machine is that of the first run, named by its key and never by host or user. Times are in seconds.
    """
    first = report.sheets[0].run
    several = len(report.sheets) > 1
    benchmarks = [
        _benchmark(sheet.run, outcome, outcome.speed, several)
        for sheet in report.sheets
        for outcome in sheet.outcomes
        # A random model is in no ranking, and this file is made for one.
        if outcome.speed and outcome.status != "unchecked"
    ]
    document = {
        "machine_info": _machine(first.machine),
        "commit_info": {**UNVERSIONED, "project": "touchstone-bench"},
        "benchmarks": benchmarks,
        "datetime": line(first.created),
        "version": FORMAT_VERSION,
    }
    return json_text(msgspec.json.format(msgspec.json.encode(document), indent=2).decode()) + "\n"


def _benchmark(run: Run, outcome: Outcome, speed: Speed, several: bool) -> dict[str, Any]:
    """One benchmark; in a file of one run its name is the cell alone, so that a history of files can match it."""
    cell = outcome.cell
    name = f"{line(cell.id)}[{line(run.name)}]" if several else line(cell.id)
    axes = {"model": cell.model, "precision": cell.precision, "target": cell.target, "workload": cell.workload}
    return {
        "group": line(cell.id),
        "name": name,
        "fullname": name,
        "params": {axis: line(value) for axis, value in axes.items()},
        "param": line(cell.id),
        "extra_info": _extra(run, outcome, speed),
        "options": {
            # The fields that pytest-benchmark writes, with the budget's values where they have a meaning here.
            "disable_gc": False,
            "timer": "perf_counter",
            "min_rounds": run.effort.min_rounds,
            "max_time": run.effort.cell_limit_s,
            "min_time": run.effort.burst_s,
            "warmup": True,
        },
        # pytest-benchmark keeps times in seconds.
        "stats": stats([time / 1000 for time in speed.rounds_ms]),
    }


def _extra(run: Run, outcome: Outcome, speed: Speed) -> dict[str, Any]:
    """Facts for which the format has no field; intervals are 95 % confidence intervals."""
    return {
        "samples": SAMPLES,
        "cell": line(outcome.cell.id),
        "run": line(run.name),
        "created": line(run.created),
        "machine": line(run.machine.key),
        "status": outcome.status,
        "flags": [line(flag) for flag in text_flags.names(outcome.flags)],
        "weights": text.weights_of(run, outcome),
        "file_format": outcome.file_format,
        "calls": outcome.calls,
        "latency_ms": _interval(speed.latency_ms),
        "ratio_to_control": _interval(speed.ratio_to_control),
        "control": None if speed.control is None else line(speed.control),
        "resolvable": speed.resolvable,
        "versions": {line(name): line(version) for name, version in outcome.versions.items()},
        "bench_version": __version__,
    }


def _interval(interval: Interval | None) -> dict[str, float | None] | None:
    return None if interval is None else {"value": interval.value, "low": interval.low, "high": interval.high}


def _machine(machine: Machine) -> dict[str, Any]:
    """The machine in the fields of pytest-benchmark; `node` is the machine key, which stays the same after a reboot."""
    cpu = {"brand_raw": line(machine.cpu.brand), "arch": line(machine.cpu.architecture)}
    return {
        "node": line(machine.key),
        "processor": line(machine.cpu.brand),
        "machine": line(machine.cpu.architecture),
        "python_version": line(machine.python),
        "release": line(machine.kernel),
        "system": line(machine.os),
        "cpu": {**cpu, "count": machine.cpu.logical_cores, "flags": [line(flag) for flag in machine.cpu.isa]},
    }


def stats(times_s: Sequence[float]) -> dict[str, Any]:
    """The samples, in seconds, and their statistics as pytest-benchmark defines them.

    Raises `ValueError` if there are no samples.
    """
    if not times_s:
        raise ValueError("statistics need at least one sample")
    data = sorted(times_s)
    middle, spread = mean(data), stdev(data) if len(data) > 1 else 0
    q1, q3 = _quartiles(data)
    # Tukey's fence, as pytest-benchmark has it: `ld15iqr` and `hd15iqr` are the last samples inside.
    fence = 1.5 * (q3 - q1)
    inside = [time for time in data if q1 - fence <= time <= q3 + fence]
    beyond, outside = sum(abs(time - middle) > spread for time in data), len(data) - len(inside)
    return {
        "min": data[0],
        "max": data[-1],
        "mean": middle,
        "stddev": spread,
        "rounds": len(data),
        "median": median(data),
        "iqr": q3 - q1,
        "q1": q1,
        "q3": q3,
        "iqr_outliers": outside,
        "stddev_outliers": beyond,
        "outliers": f"{beyond};{outside}",
        "ld15iqr": inside[0],
        "hd15iqr": inside[-1],
        "ops": len(data) / sum(data),
        "total": sum(data),
        "data": list(times_s),
        "iterations": 1,
    }


def _quartiles(data: Sequence[float]) -> tuple[float, float]:
    """The first and third quartiles of sorted data.

    Those of an even number of values are the medians of both halves; of an odd number, they are interpolated.
    """
    half, rest = divmod(len(data), 2)
    if not rest:
        return median(data[:half]), median(data[half:])
    if half == 0:
        return data[0], data[0]
    # A test compares these formulas with pytest-benchmark's own on random samples.
    n, is_three = divmod(len(data), 4)
    if is_three == 1:
        return 0.25 * data[n - 1] + 0.75 * data[n], 0.75 * data[3 * n] + 0.25 * data[3 * n + 1]
    return 0.75 * data[n] + 0.25 * data[n + 1], 0.25 * data[3 * n + 1] + 0.75 * data[3 * n + 2]
