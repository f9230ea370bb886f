"""What a real `bench run --budget standard` spends its time on, and what its parent uses meanwhile: printed figures.

Run by `nox -s overhead`. Two small ONNX models are measured with the real command in this process, whose CPU time is
read around every visit. The goals: 40 % of the rounds' wall time inside timed bursts, and a parent under 1 % of a core.
Then `bench plan`, the fingerprint of the machine, and every operator test of ONNX on the CPU provider are timed. A goal
that is missed is printed as missed, and fails nothing: the figures are this machine's.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

from bench import store
from bench.cli import app
from bench.machine.fingerprint import fingerprint
from bench.measure.observations import ObservationRecorder
from bench.measure.visits import Visitor
from bench.records import Measured, Stage

SHARE_GOAL, PARENT_GOAL = 0.40, 0.01
PLAN_GOAL_S, FINGERPRINT_GOAL_S, OPERATORS_GOAL_S = 0.3, 2.0, 30.0
PRODUCTS = (
    "08093a570a110a01780a017812017922064d61744d756c0a110a01790a017812017a22064d61744d756c1201675a150a0178"
    "12100a0e0801120a0a0312016e0a0312016e62150a017a12100a0e0801120a0a0312016e0a0312016e42040a001011"
)
"""z = (x @ x) @ x as an ONNX model, x of (n, n)."""
MATRIX = """
schema = 1
[models.milliseconds]
family = "onnx-file"
source = "onnx:{file}"
workloads = [{{ n = 512 }}]
[models.microseconds]
family = "onnx-file"
source = "onnx:{file}"
workloads = [{{ n = 16 }}]
[precisions.fp32]
onnx-file = "fp32"
[providers.cpu]
[runtimes.ort]
requires = {requires}
"""
DEFAULT_MATRIX = Path(__file__).parents[2] / "matrix.toml"
"""Its runtime is used, so that it need not be made twice."""
PARTS = {
    "start": "the interpreter's start",
    "import": "importing the engine",
    "session": "loading the model",
    "placement": "loading the model",
    "bind": "reading inputs and reference",
    "time": "first call and warm-up",
    "burst": "bursts, as the parent sees them",
    "parity": "checking the answers",
    "end": "the process's end",
}
"""What the stages of a visit are called."""


class Watch:
    """Reads two clocks around every visit, and one whenever its worker enters a stage."""

    def __init__(self) -> None:
        self.spent: dict[str, defaultdict[str, float]] = {}
        self.model, self.part, self.since = "", "start", 0.0
        self.wall: defaultdict[str, float] = defaultdict(float)
        self.cpu: defaultdict[str, float] = defaultdict(float)
        self.first: dict[str, float] = {}
        self.last: dict[str, float] = {}

    def enter(self, name: str) -> None:
        """The worker does something else from here on."""
        now = time.perf_counter()
        self.spent[self.model][PARTS.get(self.part, self.part)] += now - self.since
        self.part, self.since = name, now

    def install(self) -> None:
        """Put the watch around the two methods that see every visit and every reply."""
        once, take = Visitor.visit_once, ObservationRecorder.take

        def watched_once(visitor, cells, number):
            self.model, self.part = cells[0].model, "start"
            self.spent.setdefault(self.model, defaultdict(float))
            self.since = start = time.perf_counter()
            self.first.setdefault(self.model, start)
            cpu = time.process_time()
            try:
                return once(visitor, cells, number)
            finally:
                self.enter("over")
                self.cpu[self.model] += time.process_time() - cpu
                self.wall[self.model] += self.since - start
                self.last[self.model] = self.since

        def watched_take(sheet, reply):
            if isinstance(reply, Stage):
                self.enter(reply.name)
            take(sheet, reply)
            if isinstance(reply, Measured):
                self.enter("end")

        Visitor.visit_once, ObservationRecorder.take = watched_once, watched_take  # type: ignore[method-assign]


def main() -> None:
    """Measure, and print the figures of both models."""
    watch = Watch()
    watch.install()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        products, matrix = folder / "products.onnx", folder / "matrix.toml"
        products.write_bytes(bytes.fromhex(PRODUCTS))
        requires = json.dumps(tomllib.loads(DEFAULT_MATRIX.read_text("utf-8"))["runtimes"]["ort"]["requires"])
        matrix.write_text(MATRIX.format(file=products.as_posix(), requires=requires), "utf-8")
        bench("run", "--budget", "standard", "--matrix", str(matrix), "--out", str(folder / "run"), *sys.argv[1:])
        _, seen = store.read(folder / "run")
    for model in watch.wall:
        timed_s = sum(sum(o.timing.samples_ns) for o in seen if o.timing and o.cell.startswith(f"{model}/")) / 1e9
        for line in describe(watch, model, timed_s):
            print(line)
    plan = (sys.executable, "-m", "bench", "plan", "--matrix", str(DEFAULT_MATRIX))
    plans = [seconds(lambda: subprocess.run(plan, check=True, capture_output=True)) for _ in range(6)]
    print()
    print(compare("bench plan, median of five", statistics.median(plans[1:]), PLAN_GOAL_S))
    print(compare("the fingerprint of the machine", seconds(fingerprint), FINGERPRINT_GOAL_S))
    print(compare("all operator tests on the CPU provider", operators_s(), OPERATORS_GOAL_S))


def bench(*arguments: str) -> None:
    """The command in this process; what it cannot do ends this too."""
    try:
        app.main(list(arguments))
    except SystemExit as ended:
        if ended.code:
            raise


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


def describe(watch: Watch, model: str, timed_s: float) -> Iterator[str]:
    """The figures of one model in lines."""
    whole = watch.last[model] - watch.first[model]
    share, parent = timed_s / whole, watch.cpu[model] / watch.wall[model]
    yield f"\n{model}: {whole:.1f} s of rounds"
    yield f"  inside timed bursts: {share:.1%} (goal: {SHARE_GOAL:.0%}{', missed' if share < SHARE_GOAL else ''})"
    for part, seconds in watch.spent[model].items():
        yield f"    {part}: {seconds / whole:.1%}"
    yield f"    between visits: {1 - watch.wall[model] / whole:.1%}"
    missed = ", missed" if parent > PARENT_GOAL else ""
    yield f"  CPU of the parent while a worker measures: {parent:.2%} of a core (goal: under {PARENT_GOAL:.0%}{missed})"


if __name__ == "__main__":
    main()
