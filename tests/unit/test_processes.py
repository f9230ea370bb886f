"""Real worker processes that crash, hang, eat memory and lie: every end becomes data, and no process is left behind."""

from __future__ import annotations

import contextlib
import errno
import io
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from workers import a_hold, a_worker

from bench import privacy, worker_logs, worker_process
from bench.files import error_of_the_machine
from bench.prepare import worker_code
from bench.records import (
    Burst,
    Bursted,
    Failed,
    Failure,
    Held,
    Opened,
    Order,
    Probe,
    Probed,
    Provider,
    Recipe,
    Reply,
    Stage,
)
from bench.worker_ends import signal_name
from bench.worker_process import CLOSE_WATCH_S, Worker

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="not on this system: signals and process groups")
linux_only = pytest.mark.skipif(
    sys.platform != "linux", reason="not on this system: workers are suspended on Linux only"
)
SOON_S = 60.0
"""Far more than any of these orders takes."""
HANG_S = 3.0
"""Enough for a worker to come to where it hangs."""


@pytest.fixture
def code(tmp_path, strange_engines) -> Path:
    """The worker's code, staged with the engines that misbehave."""
    return worker_code.stage(tmp_path / "cache")


@pytest.fixture
def worker(tmp_path, code):
    """A worker that is ended with the test."""
    with a_worker(tmp_path, code) as worker:
        yield worker


def replies(worker: Worker, order: Order, timeout_s: float = SOON_S) -> list[Reply]:
    return list(worker.ask(order, timeout_s))


def failure(worker: Worker, order: Order, timeout_s: float = SOON_S) -> Failure:
    """The failure that an order ends with."""
    last = replies(worker, order, timeout_s)[-1]
    assert isinstance(last, Failed)
    return last.failure


def gone(pid: int, within_s: float = 10.0) -> bool:
    """Whether a process ends within the time."""
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True  # dead, and nobody of ours to collect it
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.02)
    return False


def child_of(tmp_path: Path) -> int:
    """The process that the engine `parent` started."""
    return int((tmp_path / "child").read_text(encoding="ascii"))


# --- what goes well ---------------------------------------------------------------------------------------------------


def test_an_obedient_engine_is_opened_and_each_workload_held_and_timed(tmp_path, worker):
    opened, *held = (r for r in replies(worker, a_hold(tmp_path, batches=(1, 4))) if not isinstance(r, Stage))
    assert isinstance(opened, Opened)
    assert opened.versions == {"fake": "1"}
    assert [each.workload for each in held if isinstance(each, Held)] == ["b1", "b4"]
    for each in held:
        assert isinstance(each, Held)
        assert each.timing.first_call_ns >= 1_000_000, "the engine sleeps for a millisecond"
        assert each.timing.samples_ns == ()
        assert each.parity.cosine == 1.0
        assert each.parity.reference == "a test, FP32"
    for workload in ("b4", "b1", "b4"):
        bursted = replies(worker, Burst(workload, 0.01))[-1]
        assert isinstance(bursted, Bursted)
        assert bursted.workload == workload
        assert min(bursted.samples_ns) >= 1_000_000
        assert sum(bursted.samples_ns) >= 10_000_000
        assert bursted.peak_rss_bytes > 2**20


def test_each_stage_is_told_as_it_is_entered(tmp_path, worker):
    said = [*replies(worker, a_hold(tmp_path)), *replies(worker, Burst("b1", 0.01))]
    stages = [(r.name, r.workload) for r in said if isinstance(r, Stage)]
    opened = [("import", None), ("session", None), ("placement", None)]
    held = [("bind", "b1"), ("time", "b1"), ("parity", "b1")]
    assert stages == [*opened, *held, ("lead-in", "b1"), ("burst", "b1"), ("idle", "b1")]


def test_a_burst_of_a_workload_that_is_not_warm_is_an_error(tmp_path, worker):
    replies(worker, a_hold(tmp_path))
    assert failure(worker, Burst("b9", 0.01)).kind == "KeyError"
    assert isinstance(replies(worker, Burst("b1", 0.01))[-1], Bursted)


def test_a_worker_takes_one_order_after_another(tmp_path, worker):
    first, second = (replies(worker, a_hold(tmp_path))[-1] for _ in range(2))
    assert isinstance(first, Held)
    assert isinstance(second, Held)


def test_a_probe_needs_no_model(worker):
    found = replies(worker, Probe("fake"))[-1]
    assert isinstance(found, Probed)
    assert (found.facts.available, found.facts.versions) == (True, {"fake": "1"})


def test_an_engine_that_chatters_on_stdout_harms_no_reply_and_is_found_in_the_log(tmp_path, worker):
    assert isinstance(replies(worker, a_hold(tmp_path, "chatters"))[-1], Held)
    log = worker.log.read_text(encoding="utf-8")
    assert '{"reply": "done"}' in log
    assert "a C library's word on file descriptor 1" in log


def test_a_worker_ends_by_itself_when_it_is_closed(tmp_path, code):
    with a_worker(tmp_path, code) as worker:
        replies(worker, a_hold(tmp_path))
        process = worker._process
    assert process is not None
    assert process.returncode == 0


@pytest.mark.parametrize(("mode", "finite"), [("lies", True), ("gives-nan", False)])
def test_a_wrong_answer_is_kept_warm_and_told_by_its_parity(tmp_path, worker, mode, finite):
    last = replies(worker, a_hold(tmp_path, mode))[-1]
    assert isinstance(last, Held)
    assert last.parity.finite is finite
    assert last.parity.cosine is None or last.parity.cosine < 0


@pytest.mark.parametrize("decoy", ["bench/__init__.py", "numpy.py", "msgspec.py"])
def test_what_lies_in_the_folder_that_bench_was_started_in_is_not_imported(tmp_path, code, monkeypatch, decoy):
    (tmp_path / "here" / "bench").mkdir(parents=True)
    (tmp_path / "here" / decoy).write_text("raise RuntimeError('a decoy')", encoding="utf-8")
    monkeypatch.chdir(tmp_path / "here")
    with a_worker(tmp_path, code) as worker:
        assert isinstance(replies(worker, a_hold(tmp_path))[-1], Held)


# --- refusals and errors: the worker lives on -------------------------------------------------------------------------


def test_an_error_keeps_its_class_and_its_first_line(tmp_path, worker):
    seen = failure(worker, a_hold(tmp_path, "raises"))
    assert (seen.status, seen.stage, seen.kind) == ("failed", "time", "RuntimeError")
    assert seen.message == "[FakeRuntime] the kernel said no"
    assert "second line" in seen.stderr_tail, "the whole of it is in the log"
    assert worker.alive


def test_a_refusal_is_unsupported_with_the_engines_own_remedy(tmp_path, worker):
    seen = failure(worker, a_hold(tmp_path, "refuses"))
    assert (seen.status, seen.stage) == ("unsupported", "session")
    assert (seen.message, seen.remedy) == ("this engine does not take that model", "use another")


def test_an_allocation_that_fails_is_out_of_memory(tmp_path, worker):
    seen = failure(worker, a_hold(tmp_path, "runs-out-of-memory"))
    assert (seen.status, seen.kind, seen.message) == ("out-of-memory", "MemoryError", "std::bad_alloc")
    assert worker.alive


def test_a_package_that_the_runtime_lacks_is_unavailable(tmp_path, worker):
    seen = failure(worker, a_hold(tmp_path, engine="an-engine-of-straw"))
    assert (seen.status, seen.stage, seen.kind) == ("unavailable", "import", "ModuleNotFoundError")
    assert "the runtime lacks a package" in seen.remedy


def test_a_reference_that_is_not_there_fails_the_workload_and_names_the_file(tmp_path, worker):
    order = a_hold(tmp_path)
    (Path(order.visit.jobs[0].reference) / "reference.json").unlink()
    last = replies(worker, order)[-1]
    assert isinstance(last, Failed)
    assert last.workload == "b1"
    assert "reference.json" in last.failure.message


def test_a_worker_that_had_an_error_takes_the_next_order(tmp_path, worker):
    failure(worker, a_hold(tmp_path, "raises"))
    assert isinstance(replies(worker, a_hold(tmp_path))[-1], Held)


# --- deaths -----------------------------------------------------------------------------------------------------------


@posix_only
def test_a_segfault_is_a_crash_with_its_signal_its_stage_and_the_last_words(tmp_path, worker):
    seen = failure(worker, a_hold(tmp_path, "segfaults"))
    assert (seen.status, seen.stage, seen.kind) == ("crashed", "time", "signal")
    assert (seen.signal, seen.exit_code) == ("SIGSEGV", -11)
    assert "about to read address 0" in seen.stderr_tail
    assert "Fatal Python error: Segmentation fault" in seen.stderr_tail
    assert not worker.alive


@posix_only
def test_an_abort_while_the_model_is_loaded_is_a_crash_at_that_stage(tmp_path, worker):
    seen = failure(worker, a_hold(tmp_path, "aborts"))
    assert (seen.status, seen.stage, seen.signal) == ("crashed", "session", "SIGABRT")


def test_an_exit_is_a_crash_with_its_code(tmp_path, worker):
    seen = failure(worker, a_hold(tmp_path, "exits"))
    assert (seen.status, seen.kind, seen.exit_code, seen.signal) == ("crashed", "exit", 3, None)
    assert seen.message == "the process ended with exit code 3"
    assert seen.remedy


@posix_only
def test_a_crash_amid_the_second_workload_leaves_the_answers_of_the_first(tmp_path, worker):
    *seen, last = replies(worker, a_hold(tmp_path, "segfaults-in-the-second-workload", batches=(1, 4)))
    assert [reply.workload for reply in seen if isinstance(reply, Held)] == ["b1"]
    assert isinstance(last, Failed)
    assert (last.workload, last.failure.signal) == ("b4", "SIGSEGV")


def test_a_dead_worker_answers_the_next_order_with_its_death(tmp_path, worker):
    failure(worker, a_hold(tmp_path, "exits"))
    assert failure(worker, a_hold(tmp_path)).exit_code == 3


def test_a_probe_that_crashes_costs_its_worker_only(worker):
    assert failure(worker, Probe("fake", mode="segfaults")).status == "crashed"


def test_the_tail_of_the_log_is_of_this_worker_and_not_of_an_earlier_one(tmp_path, code):
    (tmp_path / "worker.log").write_text("words of yesterday\n" * 3, encoding="utf-8")
    with a_worker(tmp_path, code) as worker:
        assert "yesterday" not in failure(worker, a_hold(tmp_path, "exits")).stderr_tail
    assert "yesterday" in (tmp_path / "worker.log").read_text(encoding="utf-8")


def test_the_users_home_is_not_in_what_may_be_published(tmp_path, code, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    with a_worker(tmp_path, code) as worker:
        tail = failure(worker, a_hold(tmp_path, "raises")).stderr_tail
    assert str(tmp_path) not in tail
    assert "~" in tail


def test_a_home_that_is_the_root_does_not_eat_the_slashes(tmp_path, code, monkeypatch):
    monkeypatch.setenv("HOME", "/")
    with a_worker(tmp_path, code) as worker:
        tail = failure(worker, a_hold(tmp_path, "raises")).stderr_tail
    assert "fake.py" in tail
    assert "~" not in tail


@posix_only
def test_a_crash_is_told_with_what_the_library_said_before_it(tmp_path, worker):
    seen = failure(worker, a_hold(tmp_path, "complains-and-segfaults"))
    assert seen.message == "the process died of SIGSEGV; it said: no backend: libStraw.so is missing"


def test_a_fallback_is_told_with_what_the_library_said_of_it(tmp_path, worker):
    seen = failure(worker, a_hold(tmp_path, "complains-and-falls-back", provider=Provider("FakeExecutionProvider")))
    assert (seen.status, seen.stage, seen.kind) == ("unsupported", "placement", "fallback")
    assert seen.message.endswith("it said: no backend: libStraw.so is missing")


def test_what_a_library_said_is_not_put_to_an_error_that_has_words_of_its_own(tmp_path, worker):
    replies(worker, a_hold(tmp_path, "complains-and-falls-back"))
    assert failure(worker, a_hold(tmp_path, "raises")).message == "[FakeRuntime] the kernel said no"
    assert worker.native_words() == "no backend: libStraw.so is missing"


# --- time and memory --------------------------------------------------------------------------------------------------


def test_a_hang_is_a_timeout_that_names_stage_and_workload_and_its_process_is_ended(tmp_path, worker):
    started = time.monotonic()
    last = replies(worker, a_hold(tmp_path, "hangs"), timeout_s=HANG_S)[-1]
    assert HANG_S <= time.monotonic() - started < HANG_S + 10
    assert isinstance(last, Failed)
    seen = last.failure
    assert (last.workload, seen.status, seen.stage, seen.kind) == ("b1", "timeout", "time", "timeout")
    assert "timeout_s" in seen.remedy
    assert not worker.alive


def test_an_engine_that_eats_memory_is_ended_at_the_limit(tmp_path, code):
    with a_worker(tmp_path, code, memory_limit_bytes=400 * 2**20) as worker:
        seen = failure(worker, a_hold(tmp_path, "eats-memory"))
        assert not worker.alive
    assert (seen.status, seen.stage, seen.kind) == ("out-of-memory", "time", "memory")
    held, over = map(int, re.findall(r"(\d+) MiB", seen.message)[:2])
    assert held == 400 + over
    assert seen.message == f"held {held} MiB, {over} MiB over the limit of 400 MiB"
    assert "memory_limit_mb" in seen.remedy


@linux_only
def test_memory_is_watched_too_where_replies_follow_one_another_quickly(tmp_path, worker):
    replies(worker, a_hold(tmp_path))
    worker.memory_limit_bytes, worker.watch_s = 2**20, 0.05
    time.sleep(0.1)
    seen = failure(worker, Burst("b1", 0.001))
    assert (seen.status, seen.kind) == ("out-of-memory", "memory")
    assert not worker.alive


def test_a_close_watch_ends_an_engine_sooner(tmp_path, code):
    """It takes 32 MiB each hundredth of a second: so much more between two looks."""

    def over(watch_s: float) -> int:
        environment = worker_code.child_environment(code)
        with Worker(Path(sys.executable), tmp_path / "worker.log", environment, 400 * 2**20, watch_s) as worker:
            return int(re.findall(r"(\d+) MiB over", failure(worker, a_hold(tmp_path, "eats-memory")).message)[0])

    assert over(CLOSE_WATCH_S) < over(1.0)


def test_a_limit_that_is_not_reached_ends_nothing(tmp_path, code):
    with a_worker(tmp_path, code, memory_limit_bytes=4 * 2**30) as worker:
        assert isinstance(replies(worker, a_hold(tmp_path))[-1], Held)


# --- children of the worker -------------------------------------------------------------------------------------------


def test_a_hang_takes_its_children_with_it(tmp_path, worker):
    failure(worker, a_hold(tmp_path, "hangs-with-a-child", engine="parent"), timeout_s=HANG_S)
    assert gone(child_of(tmp_path))


@posix_only
def test_a_crash_takes_its_children_with_it(tmp_path, worker):
    assert failure(worker, a_hold(tmp_path, "segfaults-with-a-child", engine="parent")).signal == "SIGSEGV"
    assert gone(child_of(tmp_path))


@posix_only
def test_a_crash_is_seen_though_a_forked_child_holds_the_stream_open(tmp_path, worker):
    started = time.monotonic()
    assert failure(worker, a_hold(tmp_path, "forks-and-segfaults", engine="parent")).signal == "SIGSEGV"
    assert time.monotonic() - started < 20, "and not only when the time is over"
    assert gone(child_of(tmp_path))


@posix_only
def test_a_worker_that_is_closed_takes_its_children_with_it(tmp_path, code):
    with a_worker(tmp_path, code) as worker:
        assert failure(worker, a_hold(tmp_path, "ends-with-a-child", engine="parent")).status == "unsupported"
        assert not gone(child_of(tmp_path), within_s=0.1)
    assert gone(child_of(tmp_path))


# --- the parent -------------------------------------------------------------------------------------------------------

PARENT = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from workers import a_hold, a_worker

folder = Path(sys.argv[2])
with a_worker(folder, Path(sys.argv[3])) as worker:
    print(worker._process.pid, flush=True)
    for reply in worker.ask(a_hold(folder, "hangs"), 600):
        print(reply, flush=True)
"""


def test_a_worker_whose_parent_dies_does_not_live_on(tmp_path, code):
    command = [sys.executable, "-c", PARENT, str(Path(__file__).parent), str(tmp_path), str(code)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        while "time" not in parent.stdout.readline():
            assert parent.poll() is None
        parent.kill()
    assert gone(pid)


SUSPENDING_PARENT = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from workers import a_hold, a_worker

folder = Path(sys.argv[2])
with a_worker(folder, Path(sys.argv[3])) as worker:
    list(worker.ask(a_hold(folder), 600))
    worker.suspend()
    print(worker.pid, flush=True)
    sys.stdin.read()
"""


@linux_only
def test_a_suspended_worker_whose_parent_is_killed_does_not_live_on(tmp_path, code):
    command = [sys.executable, "-c", SUSPENDING_PARENT, str(Path(__file__).parent), str(tmp_path), str(code)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert comes_to(pid, psutil.STATUS_STOPPED)
        parent.kill()
    try:
        assert gone(pid)
    finally:
        # Nothing else would end a process that is stopped for ever.
        with contextlib.suppress(psutil.NoSuchProcess):
            psutil.Process(pid).kill()


@linux_only
def test_a_suspended_worker_is_stopped_and_goes_on_when_it_is_resumed(tmp_path, worker):
    replies(worker, a_hold(tmp_path))
    worker.resume()
    assert comes_to(worker.pid, psutil.STATUS_SLEEPING), "resuming a worker that runs changes nothing"
    for _ in range(2):
        worker.suspend()
        worker.suspend()
        assert comes_to(worker.pid, psutil.STATUS_STOPPED)
        worker.resume()
        assert isinstance(replies(worker, Burst("b1", 0.01))[-1], Bursted)


@linux_only
def test_a_suspended_worker_is_ended_by_a_time_limit(tmp_path, worker):
    replies(worker, a_hold(tmp_path))
    worker.suspend()
    assert failure(worker, Burst("b1", 0.01), timeout_s=0.5).status == "timeout"
    assert not worker.alive


def comes_to(pid: int | None, status: str, within_s: float = 10.0) -> bool:
    """Whether a process has a status within the time."""
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        if psutil.Process(pid).status() == status:
            return True
        time.sleep(0.02)
    return False


def test_an_exception_in_the_parent_ends_the_worker_at_once(tmp_path, code):
    worker = a_worker(tmp_path, code)

    def interrupted_while_timing() -> None:
        with worker:
            for reply in worker.ask(a_hold(tmp_path, "hangs"), SOON_S):
                if isinstance(reply, Stage) and reply.name == "time":
                    raise KeyboardInterrupt

    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        interrupted_while_timing()
    assert not worker.alive
    assert time.monotonic() - started < 9, "it is not asked to end by itself first"


# --- interpreters that are none ---------------------------------------------------------------------------------------


def test_an_interpreter_that_is_gone_is_data_like_any_other_failure(tmp_path, code):
    environment = worker_code.child_environment(code)
    with Worker(tmp_path / "no" / "python", tmp_path / "worker.log", environment) as worker:
        assert not worker.alive
        assert worker.cpu_s() == 0.0
        seen = failure(worker, a_hold(tmp_path))
    assert (seen.status, seen.stage, seen.kind) == ("unavailable", "start", "interpreter")
    assert seen.message.startswith("python could not be started: ")
    assert seen.remedy


@posix_only
def test_a_file_that_cannot_be_run_is_data_too(tmp_path, code):
    broken = tmp_path / "python"
    broken.write_bytes(b"\x00 no program")
    broken.chmod(0o755)
    with Worker(broken, tmp_path / "worker.log", worker_code.child_environment(code)) as worker:
        assert failure(worker, a_hold(tmp_path)).message.startswith("python could not be started: ")


@posix_only
def test_a_program_that_is_no_worker_is_told_by_its_exit(tmp_path, code):
    other = tmp_path / "python"
    other.write_text("#!/bin/sh\necho 'wrong libc' >&2\nexit 7\n", encoding="utf-8")
    other.chmod(0o755)
    with Worker(other, tmp_path / "worker.log", worker_code.child_environment(code)) as worker:
        seen = failure(worker, a_hold(tmp_path))
    assert (seen.status, seen.exit_code, seen.stderr_tail) == ("crashed", 7, "wrong libc")


@posix_only
def test_a_program_that_answers_something_else_is_a_protocol_failure(tmp_path, code, monkeypatch):
    monkeypatch.setattr(worker_process, "BANNER_S", 0.5)
    other = tmp_path / "python"
    other.write_text("#!/bin/sh\necho hello\nsleep 60\n", encoding="utf-8")
    other.chmod(0o755)
    with Worker(other, tmp_path / "worker.log", worker_code.child_environment(code)) as worker:
        seen = failure(worker, a_hold(tmp_path))
        assert not worker.alive
    assert (seen.status, seen.kind) == ("failed", "protocol")


@posix_only
def test_a_banner_of_the_interpreter_is_no_reply_and_is_in_the_log(tmp_path, code):
    other = tmp_path / "python"
    banner = 'echo "Welcome"; echo "{\\"licence\\": 3 days}"; printf "Vendor SDK 3 > "'
    other.write_text(f'#!/bin/sh\n{banner}\nexec {sys.executable} "$@"\n', encoding="utf-8")
    other.chmod(0o755)
    with Worker(other, tmp_path / "worker.log", worker_code.child_environment(code)) as worker:
        replies = list(worker.ask(a_hold(tmp_path), 60))
    assert replies
    assert not any(isinstance(reply, Failed) for reply in replies)
    assert (tmp_path / "worker.log").read_text(encoding="utf-8").startswith('Welcome\n{"licence": 3 days}\n')


@posix_only
def test_a_worker_that_prints_without_line_ends_does_not_fill_the_memory(tmp_path, code, monkeypatch):
    monkeypatch.setattr(worker_process, "MOST_REPLY_BYTES", 2**20)
    other = tmp_path / "python"
    other.write_text("#!/bin/sh\nexec cat /dev/zero\n", encoding="utf-8")
    other.chmod(0o755)
    with Worker(other, tmp_path / "worker.log", worker_code.child_environment(code)) as worker:
        time.sleep(0.5)
        waiting = worker._replies.qsize()
        seen = failure(worker, a_hold(tmp_path))
        assert not worker.alive
    assert waiting <= worker_process.MOST_WAITING
    assert (seen.status, seen.kind) == ("failed", "protocol")
    assert seen.message == "the worker wrote 1 MiB without a line end"


def a_program(tmp_path: Path, lines: str) -> Worker:
    """A stand-in for a worker: a Python program that reads orders as lines and answers them as it likes."""
    program = tmp_path / "python"
    head = "import os, sys, time\nread = sys.stdin.readline\ndef say(word): print(word, flush=True)\n"
    program.write_text(f"#!{sys.executable}\n{head}{lines}", encoding="utf-8")
    program.chmod(0o755)
    return Worker(program, tmp_path / "worker.log", {})


DONE = '{"reply":"done"}'
STAGE = '{"reply":"stage","name":"a"}'


@posix_only
def test_an_answer_without_an_order_is_not_taken_for_the_next_one(tmp_path):
    with a_program(
        tmp_path, f"read()\nsay('{DONE}')\nsay('{DONE}')\nread()\nsay('{STAGE}')\nsay('{DONE}')\n"
    ) as worker:
        assert replies(worker, Burst("b1", 0.01)) == []
        while worker._replies.empty():
            time.sleep(0.01)
        seen = failure(worker, Burst("b2", 0.01))
        assert not worker.alive
    assert (seen.status, seen.kind) == ("failed", "protocol")
    assert seen.message == "a reply of the worker came without an order"


@posix_only
def test_a_worker_that_dies_between_two_orders_is_told_by_its_end(tmp_path):
    with a_program(tmp_path, f"read()\nsay('{DONE}')\nos._exit(0)\n") as worker:
        assert replies(worker, Burst("b1", 0.01)) == []
        while worker.alive:
            time.sleep(0.01)
        assert (failure(worker, Burst("b2", 0.01)).message, worker.pid) == (
            "the process ended with exit code 0",
            worker.pid,
        )


@posix_only
def test_time_in_which_this_process_was_stopped_is_not_the_workers(tmp_path, monkeypatch):
    clock = time.monotonic
    slept_s = 0.0
    monkeypatch.setattr(worker_process.time, "monotonic", lambda: clock() + slept_s)
    with a_program(tmp_path, f"read()\nsay('{STAGE}')\nread()\nsay('{DONE}')\nread()\n") as worker:
        asked = worker.ask(Burst("b1", 0.01), SOON_S)
        assert isinstance(next(asked), Stage)
        # As after Ctrl-Z and `fg`, or where the clock counts the sleep of a laptop.
        slept_s = 10 * SOON_S
        worker._send(Burst("b1", 0.01))
        assert list(asked) == []
        assert worker.alive


@posix_only
def test_a_log_that_somebody_removes_ends_nothing(tmp_path):
    with a_program(tmp_path, "read()\nos._exit(3)\n") as worker:
        worker.log.unlink()
        seen = failure(worker, Burst("b1", 0.01))
    assert (seen.exit_code, seen.stderr_tail) == (3, "")


@linux_only
def test_a_child_that_leaves_its_group_is_ended_too(tmp_path):
    leave = "if os.fork() == 0:\n os.setsid()\n if os.fork() == 0: time.sleep(600)\n os._exit(0)\n"
    with a_program(tmp_path, f"read()\n{leave}os.wait()\nsay('{DONE}')\nread()\n") as worker:
        assert replies(worker, Burst("b1", 0.01)) == []
        mark = f"{worker_process.MARK}={worker._mark}"
        (left,) = set(worker_process._marked(mark)) - {worker.pid}
    assert gone(left)


@posix_only
@pytest.mark.parametrize("what", ["process", "thread"])
def test_a_machine_without_room_is_not_a_fault_of_the_runtime(tmp_path, monkeypatch, what):
    def full(*_, **__):
        if what == "process":
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        raise RuntimeError("can't start new thread")

    if what == "process":
        monkeypatch.setattr(worker_process.subprocess, "Popen", full)
    else:
        # Not `Thread.start` itself, which the runner of the tests needs too.
        thread = SimpleNamespace(Thread=lambda **_: SimpleNamespace(start=full), Event=threading.Event)
        monkeypatch.setattr(worker_process, "threading", thread)
    before = set(psutil.Process().children())
    with pytest.raises(OSError) as caught:  # noqa: PT011 - its number is looked at
        a_program(tmp_path, "time.sleep(600)\n")
    known = error_of_the_machine(caught.value)
    assert known is not None
    assert str(known).startswith("the machine has no room for more: ")
    assert set(psutil.Process().children()) <= before


@posix_only
def test_a_log_without_end_is_cut_and_says_so(tmp_path, code, monkeypatch):
    monkeypatch.setattr(worker_logs, "MOST_LOG_BYTES", 2**20)
    monkeypatch.setattr(worker_logs, "LOG_START_BYTES", 2**18)
    monkeypatch.setattr(worker_logs, "LOG_END_BYTES", 2**16)
    other = tmp_path / "python"
    other.write_text("#!/bin/sh\necho first >&2\nyes a line of a log >&2\n", encoding="utf-8")
    other.chmod(0o755)
    log = tmp_path / "worker.log"
    with Worker(other, log, worker_code.child_environment(code)) as worker:
        seen = list(worker.ask(a_hold(tmp_path), 2.0))[-1]
    assert isinstance(seen, Failed)
    assert seen.failure.status == "timeout"
    content = log.read_text(encoding="utf-8")
    assert content.startswith("first\n")
    assert "MiB of this log were removed here: it has at most 1 MiB]" in content
    assert "a line of a log" in seen.failure.stderr_tail


@posix_only
def test_the_log_of_a_worker_that_waits_is_bounded_too(tmp_path, monkeypatch):
    monkeypatch.setattr(worker_logs, "MOST_LOG_BYTES", 2**20)
    monkeypatch.setattr(worker_logs, "LOG_START_BYTES", 2**18)
    monkeypatch.setattr(worker_logs, "LOG_END_BYTES", 2**16)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    prints = "for _ in range(3000): sys.stderr.write('a line of a log\\n' * 50)\nread()\n"
    with a_program(tmp_path / "a", prints) as waiting, a_program(tmp_path / "b", "time.sleep(600)\n") as other:
        while waiting.log.stat().st_size < 2**21:
            time.sleep(0.01)
        assert failure(other, Burst("b1", 0.01), timeout_s=0.5).status == "timeout"
        assert "MiB of this log were removed here" in waiting.log.read_text(encoding="utf-8")


class Endless(io.FileIO):
    """A file that somebody writes to as fast as it is read."""

    def read(self, size: int | None = -1, /) -> bytes:
        assert size is not None
        assert size >= 0, "the end of the file never comes"
        return super().read(size)


@pytest.mark.parametrize("tidy", [worker_logs._cut, privacy.clean_log])
def test_a_log_that_grows_while_it_is_read_is_read_up_to_a_limit(tmp_path, monkeypatch, tidy):
    monkeypatch.setattr(worker_logs, "LOG_START_BYTES", 2**10)
    monkeypatch.setattr(worker_logs, "LOG_END_BYTES", 2**10)
    log = tmp_path / "worker.log"
    log.write_bytes(b"a line\n" * 2000)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", lambda path, mode: Endless(path, mode.replace("b", "")))
        tidy(log)
    assert log.read_bytes().startswith(b"a line\n")


# --- words for ends ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (0, None),
        (3, None),
        (255, None),
        (-11, "SIGSEGV"),
        (-6, "SIGABRT"),
        (-9, "SIGKILL"),
        (-63, "signal 63"),
        (0xC0000005, "access violation"),
        (0xC0000135, "a DLL was not found"),
    ],
)
def test_an_exit_code_is_read_as_a_signal_where_it_is_one(code, name):
    assert signal_name(code) == name


def test_a_recipe_is_handed_to_the_worker_as_the_matrix_says_it(tmp_path, worker):
    order = a_hold(tmp_path, recipe=Recipe("fp32", {"per_channel": True, "samples": 3}))
    assert isinstance(replies(worker, order)[-1], Held)
