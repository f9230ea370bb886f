"""A worker process: started in a runtime's interpreter, given orders, watched, and its end turned into a `Failure`."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import msgspec
import psutil

from bench.records import Done, Failed, Failure, Order, Reply, Stage, Status
from bench.shared import native_errors

WATCH_S = 0.25
"""How often the parent wakes to look at the worker's memory: 0.02 % of a core."""
CLOSE_WATCH_S = 0.02
"""The same for a worker that is expected to take too much: it can touch a gigabyte in a quarter of a second."""
WITHOUT_WORDS = ("fallback", "not-created", "signal", "exit")
"""Kinds of failures whose cause, if anyone told it, is in what a library printed."""
OVERLAP = 30
"""So many equal characters at an error's end are the same error."""
TAIL_LINES, TAIL_CHARACTERS = 40, 4000
CLOSE_S = 10.0
WINDOWS_ENDS = {
    0xC0000005: "access violation",
    0xC0000409: "stack buffer overrun",
    0xC00000FD: "stack overflow",
    0xC000001D: "illegal instruction",
    0xC0000135: "a DLL was not found",
}


REPLIES: msgspec.json.Decoder[Reply] = msgspec.json.Decoder(Reply)


class Worker:
    """One child process; whatever happens to it, `ask` ends and says so."""

    def __init__(
        self,
        executable: Path,
        log: Path,
        environment: dict[str, str],
        memory_limit_bytes: int | None = None,
        watch_s: float = WATCH_S,
    ) -> None:
        self.log = log
        self.memory_limit_bytes, self.watch_s = memory_limit_bytes, watch_s
        self.stage = "start"
        self.workload: str | None = None
        log.parent.mkdir(parents=True, exist_ok=True)
        self._stderr = log.open("ab")
        self._log_start = log.stat().st_size
        self._oom_kills = _oom_kills()
        self._replies: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._process = subprocess.Popen(
                [str(executable), "-m", "bench.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                env=environment,
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
                # Ctrl-C at the terminal is for the parent, which ends its worker in its own time.
                start_new_session=True,
            )
        except OSError as error:  # the interpreter is gone, or is none; the first order says so
            self._not_started = f"{executable.name} could not be started: {error.strerror}"
        else:
            threading.Thread(target=self._listen, args=[self._process.stdout], daemon=True).start()

    @property
    def alive(self) -> bool:
        """Whether the process can take an order."""
        return self._process is not None and self._process.poll() is None

    def ask(self, order: Order, timeout_s: float, *, each: bool = False) -> Iterator[Reply]:
        """Every reply to an order, as it comes; the last is a `Failed` where the process died or was ended.

        The time is allowed for the whole order, or for `each` reply.
        """
        self.stage, self.workload = "start", None
        end = time.monotonic() + timeout_s
        if not self._send(order):
            yield self._failed(self._death())
            return
        while True:
            reply = self._next(end)
            if isinstance(reply, Failure):
                yield self._failed(reply)
                return
            if isinstance(reply, Stage):
                self.stage, self.workload = reply.name, reply.workload
            if isinstance(reply, Failed):
                failure = msgspec.structs.replace(reply.failure, stderr_tail=self._tail())
                reply = Failed(_with_native_words(failure), reply.workload or self.workload)
            if isinstance(reply, Done):
                return
            yield reply
            if each:
                end = time.monotonic() + timeout_s

    def close(self) -> None:
        """Let the process end by itself, and end it when it does not."""
        self._stderr.close()
        if self._process is None:
            return
        with contextlib.suppress(OSError):
            if self._process.stdin:
                self._process.stdin.close()
        try:
            self._process.wait(CLOSE_S if self.alive else 0)
        except subprocess.TimeoutExpired:
            self.kill()
        self._end_process_group()

    def kill(self) -> None:
        """End the process and every process it started."""
        if self._process is None:
            return
        with contextlib.suppress(psutil.NoSuchProcess):
            parent = psutil.Process(self._process.pid)
            for child in [*parent.children(recursive=True), parent]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()
        self._process.wait()
        self._end_process_group()

    def _end_process_group(self) -> None:
        """End what a dead process left behind: its children are no one's now, but still of its group."""
        if self._process is not None and sys.platform != "win32":
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    @property
    def pid(self) -> int | None:
        """The process's id; None where it could not be started."""
        return None if self._process is None else self._process.pid

    def native_words(self) -> str:
        """The first error that a library printed so far; nothing where none did."""
        return native_errors.first_error(self._tail())

    def cpu_s(self) -> float:
        """CPU seconds that the process and its children have used so far; 0 once it is gone."""
        if self._process is None:
            return 0.0
        with contextlib.suppress(psutil.Error):
            times = psutil.Process(self._process.pid).cpu_times()
            return float(times.user + times.system + times.children_user + times.children_system)
        return 0.0

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self.kill()
        self.close()

    def _send(self, order: Order) -> bool:
        if self._process is None or self._process.stdin is None:
            return False
        try:
            self._process.stdin.write(msgspec.json.encode(order) + b"\n")
            self._process.stdin.flush()
        except OSError:  # it is dead already
            return False
        return True

    def _listen(self, stream: IO[bytes]) -> None:
        for line in stream:
            self._replies.put(line)
        self._replies.put(None)

    def _next(self, end: float) -> Reply | Failure:
        """The next reply, asleep until it comes; or why there will be none."""
        has_ended = False
        while True:
            remaining_s = end - time.monotonic()
            if remaining_s <= 0:
                self.kill()
                return self._failure("timeout", "timeout", "no answer in the time allowed, so the process was ended")
            try:
                line = self._replies.get(timeout=min(self.watch_s, remaining_s))
            except queue.Empty:
                if too_much := self._over_memory():
                    self.kill()
                    return self._failure("out-of-memory", "memory", too_much)
                if has_ended:  # for a whole turn, and all it said is read: a child that it forked holds the stream open
                    return self._death()
                has_ended = not self.alive
                continue
            if line is None:
                return self._death()
            try:
                return REPLIES.decode(line)
            except (msgspec.DecodeError, msgspec.ValidationError) as error:
                self.kill()
                return self._failure("failed", "protocol", f"the worker's reply could not be read: {error}")

    def _over_memory(self) -> str | None:
        if self.memory_limit_bytes is None or self._process is None:
            return None
        with contextlib.suppress(psutil.Error):
            used = psutil.Process(self._process.pid).memory_info().rss
            if used > self.memory_limit_bytes:
                limit = self.memory_limit_bytes
                over = max(1, round((used - limit) / 2**20))
                return f"held {used / 2**20:.0f} MiB, {over} MiB over the limit of {limit / 2**20:.0f} MiB"
        return None

    def _death(self) -> Failure:
        """Why the process ended without an answer."""
        if self._process is None:
            return self._failure("unavailable", "interpreter", self._not_started)
        try:
            code = self._process.wait(CLOSE_S)
        except subprocess.TimeoutExpired:  # it closed its stream and lives on
            self.kill()
            return self._failure("failed", "protocol", "the worker closed its stream without an answer")
        self._end_process_group()
        name = signal_name(code)
        if name == "SIGKILL" and _oom_kills() > self._oom_kills:
            return self._failure("out-of-memory", "memory", "the kernel killed the process: memory ran out", code)
        if name:
            return self._failure("crashed", "signal", f"the process died of {name}", code)
        return self._failure("crashed", "exit", f"the process ended with exit code {code}", code)

    def _failure(self, status: Status, kind: str, message: str, code: int | None = None) -> Failure:
        failure = Failure(
            status=status,
            stage=self.stage,
            kind=kind,
            message=message,
            remedy=REMEDIES.get(status, ""),
            exit_code=code,
            signal=None if code is None else signal_name(code),
            stderr_tail=self._tail(),
        )
        return _with_native_words(failure)

    def _failed(self, failure: Failure) -> Failed:
        return Failed(failure, self.workload)

    def _tail(self) -> str:
        """The last lines that the process wrote, without the user's folder names."""
        with self.log.open("rb") as file:
            file.seek(max(self._log_start, self.log.stat().st_size - 4 * TAIL_CHARACTERS))
            text = file.read().decode("utf-8", "replace")
        home = os.path.expanduser("~")  # noqa: PTH111 - Path.home() raises where there is none
        named = text.replace(home, "~") if len(home) > len("/") else text
        lines = named.splitlines()[-TAIL_LINES:]
        return "\n".join(lines)[-TAIL_CHARACTERS:]


def _with_native_words(failure: Failure) -> Failure:
    """A failure that does not know its own cause, with what the library said of it on stderr."""
    words = native_errors.first_error(failure.stderr_tail)
    if failure.message and failure.kind not in WITHOUT_WORDS:
        return failure
    return msgspec.structs.replace(failure, message=with_native_words(failure.message, words))


def with_native_words(error: str, words: str) -> str:
    """An error with what the library printed, unless the worker quoted that already: it cannot read its log everywhere.

    Where both are the same words, a reader must not see them twice; nothing else depends on it.
    """
    if words[-OVERLAP:] in error:
        return error
    return f"{error}; it said: {words}" if error else words


REMEDIES: dict[str, str] = {
    "unavailable": "check the runtime's interpreter in the matrix",
    "timeout": "raise [measure] timeout_s, or exclude the cell",
    "out-of-memory": "raise [measure] memory_limit_mb where the machine has more, or use a smaller workload",
    "crashed": "the end of its log says where; try another version of the provider, and report it there",
}


def signal_name(code: int) -> str | None:
    """The signal that ended a process, `SIGSEGV` of -11, or Windows' word for it; None for an exit of its own."""
    if code < 0:
        try:
            return signal.Signals(-code).name
        except ValueError:
            return f"signal {-code}"
    return WINDOWS_ENDS.get(code & 0xFFFFFFFF) if code > 0xFFFF else None


def _oom_kills() -> int:
    """How many processes the Linux kernel has killed for memory; 0 where that cannot be known."""
    try:
        text = Path("/proc/vmstat").read_text(encoding="ascii")
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith("oom_kill ")), 0)
