"""Cases in workers that crash, hang and never start: real processes, and every case has its line."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import psutil
import pytest
from builders import WEBGPU
from operator_cases import a_case

from bench.conformance import execution, text
from bench.progress import Quiet
from bench.records import CaseSeen, Provider
from bench.worker_process import Worker

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="not on this system: a script as an interpreter")

WORKER = """#!{python} -I
import json, os, signal, sys, time
served = 0
for line in sys.stdin:
    order = json.loads(line)
    name = order["case"]["name"]
    def say(**reply):
        print(json.dumps(reply), flush=True)
    say(reply="stage", name="session", workload=name)
    with open({told!r}, "a") as told:
        told.write(f"{{os.getpid()}} {{name}}\\n")
    if "segfault" in name or ("used" in name and served):
        os.kill(os.getpid(), signal.SIGSEGV)
    if "hang" in name:
        time.sleep(600)
    if "refuse" in name:
        failure = dict(status="unsupported", stage="session", kind="Fail", message="[ONNXRuntimeError] : 1 : FAIL : no")
        say(reply="failed", failure=failure)
    elif "absent" in name:
        failure = dict(status="unavailable", stage="session", kind="no-device", message="no GPU")
        say(reply="failed", failure=failure)
    else:
        say(reply="case-done", placement=None, deviations=[])
    served += 1
    say(reply="done")
"""


@pytest.fixture
def told(tmp_path: Path) -> Path:
    """Which process was asked for which case."""
    return tmp_path / "told"


@pytest.fixture
def bench(tmp_path: Path, told: Path) -> execution.CaseTarget:
    """A target whose worker does what the names of its cases say."""
    script = tmp_path / "python"
    script.write_text(WORKER.format(python=sys.executable, told=str(told)), encoding="utf-8")
    script.chmod(0o755)

    def start() -> Worker:
        return Worker(script, tmp_path / "worker.log", dict(os.environ))

    return execution.CaseTarget("webgpu", Provider(WEBGPU), tmp_path / "payloads.bin", start, Quiet())


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What hangs is given up after a second."""
    monkeypatch.setattr(execution, "CASE_TIMEOUT_S", 1.0)
    monkeypatch.setattr(execution, "START_S", 1.0)


def walk(bench: execution.CaseTarget, *names: str) -> dict[str, CaseSeen]:
    found = list(execution.run(bench, tuple(a_case(name) for name in names)))
    assert len({one.case for one in found}) == len(found) == len(names)
    return {one.case: one for one in found}


def statuses(found: dict[str, CaseSeen]) -> dict[str, str]:
    return {name: one.failure.status if one.failure else "done" for name, one in found.items()}


def asked(told: Path) -> list[tuple[str, str]]:
    """Pid and case of everything that was asked, in order."""
    return [tuple(line.split()) for line in told.read_text(encoding="utf-8").splitlines()]  # type: ignore[misc]


def test_one_worker_serves_them_all(bench, told):
    found = walk(bench, *(f"test_{number}" for number in range(30)))
    assert set(statuses(found).values()) == {"done"}
    assert len({pid for pid, _ in asked(told)}) == 1


def test_a_crash_costs_its_case_and_no_other(bench):
    found = walk(bench, "test_a", "test_segfault", "test_b", "test_c")
    assert statuses(found) == {"test_a": "done", "test_segfault": "crashed", "test_b": "done", "test_c": "done"}
    assert found["test_segfault"].failure.signal == "SIGSEGV"
    assert found["test_segfault"].failure.stage == "session"


def test_a_case_that_only_kills_a_used_process_is_tried_in_a_fresh_one(bench, told):
    found = walk(bench, "test_a", "test_b", "test_used", "test_c", "test_d")
    assert statuses(found)["test_used"] == "done"
    tries = [pid for pid, name in asked(told) if name == "test_used"]
    assert len(tries) == len(set(tries))
    if len(tries) == 2:
        assert "the first try died" in text.say(found["test_used"].first_death)


def test_a_hang_is_ended_and_costs_its_case(bench):
    began = time.monotonic()
    found = walk(bench, "test_a", "test_hang", "test_b")
    assert statuses(found) == {"test_a": "done", "test_hang": "timeout", "test_b": "done"}
    assert time.monotonic() - began < 20


def test_a_refusal_keeps_the_worker_and_loses_the_error_code(bench, told):
    found = walk(bench, "test_a", "test_refuse", "test_b")
    assert found["test_refuse"].failure.message == "no"
    assert len({pid for pid, _ in asked(told)}) == 1


def test_hundreds_of_crashes_end_and_every_case_has_its_line(bench, told):
    found = walk(bench, *(f"test_segfault_{number}" for number in range(200)))
    assert len(asked(told)) <= 2 * execution.MAX_LOST_IN_A_ROW
    given_up = [one for one in found.values() if one.failure.kind == "not-run"]
    assert len(given_up) == 200 - execution.MAX_LOST_IN_A_ROW
    assert "25 cases in a row were lost" in given_up[0].failure.message
    assert "SIGSEGV" in given_up[0].failure.message


def test_crashes_among_good_cases_do_not_end_it(bench):
    names = [f"test_{'segfault' if number % 2 else 'fine'}_{number}" for number in range(60)]
    found = statuses(walk(bench, *names))
    assert list(found.values()).count("done") == 30
    assert list(found.values()).count("crashed") == 30


def test_a_provider_that_is_not_there_after_all_is_given_up(bench, told):
    walk(bench, *(f"test_absent_{number}" for number in range(100)))
    assert len(asked(told)) == execution.MAX_LOST_IN_A_ROW


def test_too_many_hangs_end_it(bench, told, monkeypatch):
    monkeypatch.setattr(execution, "MAX_TIMEOUTS", 2)
    found = walk(bench, *(f"test_hang_{number}" for number in range(5)))
    assert len(asked(told)) == 2
    assert sum("did not end" in one.failure.message for one in found.values()) == 3


def test_an_interpreter_that_is_gone_ends_it(bench, tmp_path):
    (tmp_path / "python").unlink()
    found = walk(bench, *(f"test_{number}" for number in range(40)))
    assert {one.failure.status for one in found.values()} == {"unavailable", "failed"}


def test_an_interruption_leaves_no_process(bench, told):
    cases = tuple(a_case(f"test_{number}") for number in range(5))
    reading = execution.run(bench, cases)
    next(reading)
    ((pid, _),) = asked(told)
    reading.close()
    assert not psutil.pid_exists(int(pid))
