"""The `bench` command on the fake engine: `python -m tests.faults.fake_bench run --matrix FILE --out FOLDER`.

With `--serve` it loads everything once, and makes a process for each command line that it reads: half of the time of
a short run is its imports.

Only the preparation is replaced, and the budget: there is nothing to install and to build, and a call takes a
millisecond. Options, folders, workers, blocks, signals, reports and exit codes are those of the real command.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path

HERE = Path(__file__).parents[1]
sys.path.insert(0, str(HERE / "unit"))
os.environ["BENCH_ENGINES"] = str(HERE / "engines")

from msgspec.structs import replace  # noqa: E402 - after the path
from workers import HASTE, a_reference  # noqa: E402

from bench import pipeline, store  # noqa: E402
from bench.cli import app  # noqa: E402
from bench.prepare import quiet_machine, worker_code  # noqa: E402
from bench.prepare.artifacts import Artifact  # noqa: E402
from bench.prepare.builds import Prepared  # noqa: E402
from bench.prepare.environments import Environment  # noqa: E402
from bench.records import ArtifactRecord, RuntimeRecord, Source  # noqa: E402


def prepare(matrix, record, cache, folder, *_, **__):
    """Everything that the cells need, made by hand."""
    pairs = {(cell.model, cell.workload): cell.sizes["batch"] for cell in record.cells}
    reference = ArtifactRecord("k", "reference", {}, {}, 0, 0.0, "")
    prepared = Prepared(
        code=worker_code.stage(cache),
        runtimes={"ort": Environment(RuntimeRecord("ort", (), "3", {}, "k"), Path(sys.executable))},
        sources={"vit": Source("config", "nowhere", "random", "0")},
        references={
            pair: Artifact(reference, a_reference(folder / "references" / pair[1], batch))
            for pair, batch in pairs.items()
        },
    )
    store.save(folder, record)
    return prepared, record


LATE = (
    "scipy.stats",
    "bench.cli.run",
    "bench.gating",
    "bench.judge.cell_states",
    "bench.judge.outcome",
    "bench.machine.fingerprint",
    "bench.measure.measuring",
    "bench.prepare.artifacts",
    "bench.prepare.forecast",
    "bench.report.formats",
    "bench.report.model",
    "bench.report.renderers.csv",
)
"""What a run loads when it needs it."""


def serve() -> None:
    """Run each command line of the input in a process of its own; say its number, and then how it ended."""
    for name in LATE:
        importlib.import_module(name)
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            os.environ["FAKE_BLOCKS"] = str(order["blocks"])
            log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            empty = os.open(os.devnull, os.O_RDONLY)
            for number, stream in ((empty, 0), (log, 1), (log, 2)):
                os.dup2(number, stream)
            sys.argv[1:] = order["words"]
            main()
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


def main() -> None:
    """Run the command."""
    setattr(pipeline, "prepare", prepare)  # noqa: B010
    number = int(os.environ.get("FAKE_BLOCKS", "2"))
    effort = replace(HASTE, min_rounds=number, max_rounds=number)
    setattr(pipeline, "effort_named", lambda _: effort)  # noqa: B010 - as mypy wants it
    setattr(quiet_machine, "check_quiet", lambda *_: None)  # noqa: B010
    app.main()


if __name__ == "__main__":
    serve() if sys.argv[1:] == ["--serve"] else main()
