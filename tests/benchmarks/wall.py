"""What the blocks of a real run spend their time on, and what idle processes and the parent use: printed figures.

Run by `nox -s overhead`. The real command measures one model in ONNX Runtime, PyTorch and, where its runtime is
installed, OpenVINO. This process, its parent, reads a clock at each reply. A second run tells the threads of OpenMP to
spin between two calls (`OMP_WAIT_POLICY=ACTIVE`). The goals: 40 % of a block's wall time inside timed bursts, an idle
process under 0.5 % of a core, the parent under 1 %. Then `bench plan`, the fingerprint of the machine, and every
operator test of ONNX on the CPU provider are timed. A missed goal is printed as missed, and fails nothing: the figures
are those of this machine.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from bench import store
from bench.cli import app
from bench.cli.options import cache_path
from bench.declare import budgets
from bench.declare.matrix import parse
from bench.machine.fingerprint import fingerprint
from bench.measure import measuring
from bench.measure.observations import ReplyMapper
from bench.measure.warm_session import WarmSession
from bench.prepare import environments
from bench.records import Bursted, Held, Observation, Stage

SHARE_GOAL, PARENT_GOAL, IDLE_GOAL_PERCENT = 0.40, 0.01, 0.5
PLAN_GOAL_S, FINGERPRINT_GOAL_S, OPERATORS_GOAL_S = 0.3, 2.0, 30.0
BLOCKS = 3
"""Blocks of a run, whatever is decided before."""
MATRIX = """
schema = 1
[models.vit-tiny]
family = "image-classifier"
source = "config:vit-tiny"
workloads = [{{ batch = 1 }}]
[precisions.fp32]
image-classifier = "fp32"
torch = "fp32"
[providers.cpu]
{openvino}
[baselines.torch-eager]
engine = "torch"
mode = "eager"
control = true
[runtimes.ort]
requires = {requires}
"""
OPENVINO = "[providers.openvino-cpu]"
DEFAULT_MATRIX = Path(__file__).parents[2] / "matrix.toml"
"""Its runtime is used, so that it need not be made twice."""
ACTIVE = {"OMP_WAIT_POLICY": "ACTIVE"}
"""Threads of OpenMP spin between two calls, for as long as their process lives."""
PARTS = {
    "start": "starting Python",
    "import": "importing the engine",
    "session": "loading the model",
    "placement": "loading the model",
    "bind": "reading inputs and reference",
    "first": "first call",
    "time": "warm-up",
    "parity": "checking the answers",
    "lead-in": "lead-in of bursts, with resuming",
    "burst": "bursts",
    "idle": "waiting until idle",
    "profile": "profile",
    "end": "ending processes",
}
"""What the parts of a block are called, in their order."""


class Watch:
    """Reads a clock whenever a process of a block begins something else, and the parent's CPU time around blocks."""

    def __init__(self) -> None:
        self.spent: defaultdict[str, float] = defaultdict(float)
        self.part, self.since = "", 0.0
        self.wall_s = self.cpu_s = 0.0
        self.blocks = 0
        self.bursted: Bursted | None = None
        """The last burst."""
        self.spinning: defaultdict[str, int] = defaultdict(int)
        """By target: bursts after which the process was not idle, so that it was suspended."""

    def enter(self, name: str) -> None:
        """Something else is done from here on."""
        now = time.perf_counter()
        self.spent[self.part] += now - self.since
        self.part, self.since = name, now

    def take(self, reply: object) -> None:
        """A worker has sent a reply."""
        if isinstance(reply, Stage):
            self.enter(reply.name)
        elif isinstance(reply, Held):
            first_s = reply.timing.first_call_ns / 1e9
            self.spent["first"] += first_s
            self.spent["time"] -= first_s
            self.enter("other")
        elif isinstance(reply, Bursted):
            self.bursted = reply
            self.enter("other")

    def block(self, measure: Callable[..., Any], *given: Any, **named: Any) -> Any:
        """Measure a block, and add what it took."""
        self.part, self.since = "other", time.perf_counter()
        start, cpu = self.since, time.process_time()
        try:
            return measure(*given, **named)
        finally:
            self.enter("outside")
            self.blocks += 1
            self.cpu_s += time.process_time() - cpu
            self.wall_s += self.since - start


def watched(watch: Watch) -> Callable[[], None]:
    """Put the watch around what sees every block, process and reply; gives a function that takes it away."""
    begin, burst, profile, close = (getattr(WarmSession, name) for name in ("_start", "burst", "profile", "close"))
    take, block = ReplyMapper.take, measuring.measure_block

    def at(part: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(session: WarmSession, *given: Any) -> Any:
            watch.enter(part)
            try:
                return method(session, *given)
            finally:
                watch.enter("other")

        return call

    def start(session: WarmSession) -> None:
        # Until the worker's first stage.
        watch.enter("start")
        begin(session)

    def bursts(session: WarmSession, *given: Any) -> bool:
        watch.bursted = None
        made = bool(at("lead-in", burst)(session, *given))
        watch.spinning[session.first.target] += watch.bursted is not None and not watch.bursted.idle
        return made

    def taken(mapper: ReplyMapper, reply: Any) -> Observation | None:
        watch.take(reply)
        return take(mapper, reply)

    def put(changes: dict[tuple[Any, str], Any]) -> None:
        for (owner, name), value in changes.items():
            setattr(owner, name, value)

    changes: dict[tuple[Any, str], Any] = {
        (WarmSession, "_start"): start,
        (WarmSession, "burst"): bursts,
        (WarmSession, "profile"): at("profile", profile),
        (WarmSession, "close"): at("end", close),
        (ReplyMapper, "take"): taken,
        (measuring, "measure_block"): lambda *given, **named: watch.block(block, *given, **named),
    }
    before = {(owner, name): getattr(owner, name) for owner, name in changes}
    put(changes)
    return lambda: put(before)


def main() -> None:
    """Measure, and print the figures."""
    budgets.BUDGETS["quick"] = replace(budgets.BUDGETS["quick"], min_rounds=BLOCKS, max_rounds=BLOCKS, minutes=None)
    for title, environment in (("as it is", {}), ("with OMP_WAIT_POLICY=ACTIVE", ACTIVE)):
        watch, seen = measured(environment)
        print(f"\nBlocks of vit-tiny, {title}")
        for line in (*shares(watch, seen), *idle(watch, seen)):
            print(line)
    plan = (sys.executable, "-m", "bench", "plan", "--matrix", str(DEFAULT_MATRIX))
    plans = [seconds(lambda: subprocess.run(plan, check=True, capture_output=True)) for _ in range(6)]
    print()
    print(compare("bench plan, median of five", statistics.median(plans[1:]), PLAN_GOAL_S))
    print(compare("the fingerprint of the machine", seconds(fingerprint), FINGERPRINT_GOAL_S))
    print(compare("all operator tests on the CPU provider", operators_s(), OPERATORS_GOAL_S))


def measured(environment: dict[str, str]) -> tuple[Watch, tuple[Observation, ...]]:
    """Run the real command with these variables; gives the watch of its blocks, and its observations."""
    requires = json.dumps(tomllib.loads(DEFAULT_MATRIX.read_text("utf-8"))["runtimes"]["ort"]["requires"])
    watch = Watch()
    take_away = watched(watch)
    os.environ.update(environment)
    try:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            matrix = folder / "matrix.toml"
            text = MATRIX.format(openvino=OPENVINO, requires=requires)
            if not is_installed("openvino-cpu", text):
                text = MATRIX.format(openvino="", requires=requires)
            matrix.write_text(text, "utf-8")
            bench("run", "--budget", "quick", "--matrix", str(matrix), "--out", str(folder / "run"), *sys.argv[1:])
            return watch, store.read(folder / "run")[1]
    finally:
        take_away()
        for variable in environment:
            del os.environ[variable]


def is_installed(target: str, text: str) -> bool:
    """Whether the runtime of a target of a matrix is in the cache."""
    matrix = parse(text, "matrix.toml")
    named = os.environ.get("BENCH_CACHE_DIR")
    runtime = matrix.runtimes[matrix.targets[target].runtime]
    return environments.find(runtime, cache_path(Path(named) if named else None)) is not None


def bench(*arguments: str) -> None:
    """The command in this process; what it cannot do ends this too."""
    try:
        app.main(list(arguments))
    except SystemExit as ended:
        if ended.code:
            raise


def shares(watch: Watch, seen: tuple[Observation, ...]) -> Iterator[str]:
    """How the wall time of the blocks splits, in lines."""
    processes = len({observation.cell for observation in seen if observation.timing})
    timed_s = sum(sum(observation.timing.samples_ns) for observation in seen if observation.timing) / 1e9
    share, parent = timed_s / watch.wall_s, watch.cpu_s / watch.wall_s
    yield f"  {watch.blocks} blocks of {processes} processes, {watch.wall_s / max(1, watch.blocks):.1f} s each"
    missed = ", missed" if share < SHARE_GOAL else ""
    yield f"  inside timed bursts: {share:.1%} (goal: {SHARE_GOAL:.0%}{missed})"
    named: defaultdict[str, float] = defaultdict(float)
    for part, spent_s in watch.spent.items():
        if part != "outside":
            named[PARTS.get(part, "everything else")] += spent_s
    for name in dict.fromkeys((*PARTS.values(), "everything else")):
        if named[name]:
            yield f"    {name:34} {named[name] / watch.wall_s:6.1%}  {named[name] / watch.blocks:6.2f} s a block"
    missed = ", missed" if parent > PARENT_GOAL else ""
    yield f"  CPU of the parent in a block: {parent:.2%} of a core (goal: under {PARENT_GOAL:.0%}{missed})"


def idle(watch: Watch, seen: tuple[Observation, ...]) -> Iterator[str]:
    """What each target's process used while others made their bursts, in lines."""
    yield f"  CPU of an idle process, of a core (goal: under {IDLE_GOAL_PERCENT} %)"
    by_target: defaultdict[str, list[float]] = defaultdict(list)
    for observation in seen:
        if observation.idle_cpu_percent is not None:
            by_target[observation.cell.split("/")[2]].append(observation.idle_cpu_percent)
    for target, percents in by_target.items():
        missed = ", missed" if max(percents) > IDLE_GOAL_PERCENT else ""
        suspended = watch.spinning[target]
        yield f"    {target:34} {max(percents):5.2f} %{missed}" + (
            f"; its threads went on spinning after {suspended} bursts, so it was suspended" if suspended else ""
        )


def operators_s() -> float:
    """The seconds of `bench ops` on the CPU provider, without the installation."""
    command = ("ops", "--matrix", str(DEFAULT_MATRIX), "--provider", "cpu")
    with tempfile.TemporaryDirectory() as name:
        # The first installs the runtimes and makes the cases.
        bench(*command, "--only", "test_abs", "--out", str(Path(name, "first")))
        return seconds(lambda: bench(*command, "--out", str(Path(name, "all"))))


def seconds(work: Callable[[], object]) -> float:
    """The wall time of a call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def compare(what: str, taken_s: float, goal_s: float) -> str:
    """A line with a time and its goal."""
    return f"{what}: {taken_s:.2f} s (goal: under {goal_s:g} s{', missed' if taken_s > goal_s else ''})"


if __name__ == "__main__":
    main()
