"""Make ONNX's operator tests once in a worker that has `onnx`, keep them in the cache, and select them by name."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from bench.declare.matrix import Runtime
from bench.errors import RuntimeSetupError, UsageError
from bench.prepare import code_digest, environments, worker_code
from bench.prepare.artifacts import Artifacts
from bench.progress import Progress
from bench.records import CaseSuite, Collect, Failed
from bench.worker_process import Worker

# Fixed: verdicts of two machines are compared case by case, and another release has other cases.
ONNX = "1.23.2"
RUNTIME = Runtime(name="onnx", requires=(f"onnx=={ONNX}",))
"""A separate runtime, since the tests do not depend on the provider, and few providers' runtimes have `onnx`."""
SUITE, PAYLOADS = "cases.json", "payloads.bin"
# Far over what was measured: 6.5 s for the 1,884 cases on two cores of a server.
COLLECT_TIMEOUT_S = 600.0
# The code that decides what the cached file holds: a change elsewhere makes no cases again.
CODE = (
    "worker/conformance_collect.py",
    "worker/element_types.py",
    "shared/onnx_elements.py",
    "records/conformance.py",
)


class Cases(Struct, frozen=True):
    """The suite, and the file with the inputs and outputs of its cases."""

    suite: CaseSuite
    payloads: Path


def ensure(cache: Path, log: Path, progress: Progress) -> Cases:
    """The cases from the cache; they are made if it has none for this version of onnx and of the code.

    Raises `RuntimeSetupError` if they cannot be made.
    """
    # The key of the cached cases: other code or another onnx makes new ones.
    code = code_digest.digest(worker_code.PACKAGE / name for name in CODE)[:16]
    parts = {"what": "operator cases", "model": "onnx-node-tests", "workload": f"onnx-{ONNX}", "code": code}

    def build(folder: Path) -> tuple[()]:
        progress.step(f"making the operator tests of onnx {ONNX}")
        _collect(cache, log, folder, progress)
        return ()

    folder = Artifacts(cache / "artifacts").ensure("reference", parts, build).folder
    suite = msgspec.json.decode((folder / SUITE).read_bytes(), type=CaseSuite)
    return Cases(suite, folder / PAYLOADS)


def _collect(cache: Path, log: Path, folder: Path, progress: Progress) -> None:
    runtime = environments.ensure(RUNTIME, cache, progress)
    environment = worker_code.child_environment(worker_code.stage(cache))
    with Worker(runtime.executable, log, environment) as worker:
        for reply in worker.ask(Collect(str(folder)), COLLECT_TIMEOUT_S):
            if isinstance(reply, Failed):
                message = f"the operator tests could not be made: {reply.failure.message}"
                raise RuntimeSetupError(message, f"see {log}")


def only(suite: CaseSuite, globs: Sequence[str]) -> CaseSuite:
    """The cases whose names match one of the globs; all if there are no globs. `UsageError` if none matches."""
    # Not fnmatch, which ignores case on Windows.
    cases = tuple(case for case in suite.cases if not globs or any(fnmatch.fnmatchcase(case.name, g) for g in globs))
    if not cases:
        raise UsageError(f"no case is named like {' or '.join(globs)}", "the names begin with test_, e.g. 'test_conv*'")
    return replace(suite, cases=cases)
