"""For every test: in CI, what is skipped because something is missing has failed."""

from __future__ import annotations

import os

import pytest

NOT_ON_THIS_SYSTEM = "not on this system"
"""How the reason of a skip begins that no installation could cure."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.skipped and os.environ.get("CI") and not hasattr(report, "wasxfail"):
        reason = str(report.longrepr[-1] if isinstance(report.longrepr, tuple) else report.longrepr)
        if NOT_ON_THIS_SYSTEM not in reason:
            report.outcome = "failed"
            report.longrepr = f"{item.nodeid} was skipped, and CI must hold all it needs: {reason}"
    return report
