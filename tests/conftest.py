"""For every test: what cannot run here is skipped with the reason; in CI, which must hold all it needs, it fails."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

import pytest

NOT_ON_THIS_SYSTEM = "not on this system"
"""How the reason of a skip begins that no installation could cure."""
HERE = Path(__file__).parent
NEEDS = {
    "worker": "onnxruntime",
    "generation": "onnxruntime_genai",
    "optimum": "optimum",
    "llama_cpp": "llama_cpp",
    "providers/test_openvino.py": "onnxruntime",
    "providers/test_qnn.py": "onnxruntime_qnn",
    "providers/test_webgpu.py": "onnxruntime_ep_webgpu",
}
"""What the interpreter of a runtime has and the others lack, by the tests that run in that interpreter."""


class InAnotherInterpreter(pytest.File):
    """A file of tests that this interpreter cannot import."""

    def collect(self):
        pytest.skip("it runs in the interpreter of a runtime: nox -s workers", allow_module_level=True)


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.File | None:
    """In place of a module whose runtime this is not, a skip."""
    path = module_path.relative_to(HERE)
    needed = NEEDS.get(path.parts[0]) or NEEDS.get(path.as_posix())
    if needed is None or find_spec(needed) is not None:
        return None
    return InAnotherInterpreter.from_parent(parent, path=module_path)


def in_ci(report, where: str):
    """The report of what was skipped; in CI it is a failure, unless no installation could cure it."""
    if report.skipped and os.environ.get("CI") and not hasattr(report, "wasxfail"):
        reason = str(report.longrepr[-1] if isinstance(report.longrepr, tuple) else report.longrepr)
        if NOT_ON_THIS_SYSTEM not in reason:
            report.outcome = "failed"
            report.longrepr = f"{where} was skipped, and CI must hold all it needs: {reason}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    return in_ci((yield), item.nodeid)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    return in_ci((yield), collector.nodeid)


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of this test session, which all processes of pytest-xdist share: see `tests.shared`."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
