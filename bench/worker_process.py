"""Starts a worker process in a runtime's interpreter, sends it orders, and reports its end as a `Failure`."""

from __future__ import annotations

import atexit
import contextlib
import errno
import itertools
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import msgspec
import psutil

from bench import privacy, reading
from bench.records import Done, Failed, Failure, Order, Reply, Stage, Status
from bench.shared import native_errors
from bench.worker_logs import LOGS

WATCH_S = 0.25
"""How often the parent wakes to look at the worker's memory: 0.02 % of a core."""
CLOSE_WATCH_S = 0.02
"""The same for a worker that may need much memory: it can use a gigabyte in a quarter of a second."""
WITHOUT_WORDS = ("fallback", "not-created", "signal", "exit")
"""Kinds of failures whose cause may be in a library's output."""
OVERLAP = 30
"""Two errors that end with this many equal characters are the same error."""
TAIL_LINES, TAIL_CHARACTERS = 40, 4000
CLOSE_S = 10.0
MOST_REPLY_BYTES = 256 * 2**20
"""The longest line of a worker, as of an observation."""
MOST_WAITING = 64
"""Replies that wait in this process; further ones stay in the pipe."""
MOST_BANNER_LINES, BANNER_S = 100, 30.0
"""How much a process may print before its first reply, and for how long: longer, it is no worker."""
PUT_S = 1.0
HELD_UP_S = 5.0
"""A wait that takes so much longer than it should: this process was stopped, as by Ctrl-Z, or the machine slept."""
MARK = "BENCH_WORKER"
"""The variable by which processes that left their worker are found: its children have it too."""
SHORT_OF = {errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE}
"""The machine has no room for a further process, which says nothing about a runtime's interpreter."""
WINDOWS_ENDS = {
    0xC0000005: "access violation",
    0xC0000409: "stack buffer overrun",
    0xC00000FD: "stack overflow",
    0xC000001D: "illegal instruction",
    0xC0000135: "a DLL was not found",
}


REPLIES: msgspec.json.Decoder[Reply] = msgspec.json.Decoder(Reply)


_NUMBERS = itertools.count(1)
_ALIVE: weakref.WeakSet[Worker] = weakref.WeakSet()
"""The workers that were not closed."""


@atexit.register
def _end_workers() -> None:
    """Kill what an interruption of an interruption has left: a hanging worker does not notice that its parent ends."""
    for worker in list(_ALIVE):
        worker.kill()


class Worker:
    """One child process; `ask` always ends, and reports a process that died."""

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
        # Several workers may write to one log; a failure quotes only this worker's part.
        self._stderr, self._log_start = LOGS.open(log)
        # SIGKILL alone does not say who sent it; this counter grows when it was the kernel.
        self._oom_kills = _oom_kills()
        self._replies: queue.Queue[bytes | None] = queue.Queue(MOST_WAITING)
        self._is_over = threading.Event()
        self._has_replied = False
        self._banner: list[bytes] = []
        """What the interpreter printed before its first reply."""
        self._banner_began = 0.0
        self._process: subprocess.Popen[bytes] | None = None
        self._is_suspended = False
        self._mark = f"{os.getpid()}-{time.monotonic_ns()}-{next(_NUMBERS)}"
        self._end_s = 0.0
        """When the order at work must be answered."""
        self._turned_s = 0.0
        """When the answer was last waited for."""
        self._looked_s = 0.0
        """When the memory was last looked at."""
        _ALIVE.add(self)
        try:
            self._process = subprocess.Popen(
                [str(executable), "-m", "bench.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                env={**environment, MARK: self._mark},
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
                # Ctrl-C at the terminal must reach the parent only, which then ends its worker.
                start_new_session=True,
            )
        except OSError as error:
            if error.errno in SHORT_OF:
                self.close()
                raise
            # The interpreter is missing or not executable; the first order reports it.
            self._not_started = f"{executable.name} could not be started: {error.strerror}"
        else:
            # A thread, since a pipe cannot be read with a time limit on Windows.
            # As a daemon: a child that the worker left may hold the pipe open, and must not keep this process alive.
            listener = threading.Thread(target=self._listen, args=[self._process.stdout], daemon=True)
            try:
                listener.start()
            except RuntimeError as error:
                self.kill()
                self.close()
                if self._process.stdout is not None:
                    self._process.stdout.close()
                raise OSError(errno.EAGAIN, str(error)) from None

    @property
    def alive(self) -> bool:
        """Whether the process can take an order."""
        return self._process is not None and self._process.poll() is None

    def ask(self, order: Order, timeout_s: float, *, each: bool = False) -> Iterator[Reply]:
        """Every reply to an order as it arrives; the last is a `Failed` where the process died or was killed.

        `timeout_s` is for the whole order, or with `each` for each reply.
        """
        self.stage, self.workload = "start", None
        if self._has_replied and not self._replies.empty():
            # Taken as the answer to this order, it would be that of another workload.
            line = self._replies.get_nowait()
            yield self._failed(self._death() if line is None else self._unreadable(line, "came without an order"))
            return
        # monotonic: the wall clock may be set while a worker runs.
        self._turned_s = time.monotonic()
        self._end_s = self._turned_s + timeout_s
        if not self._send(order):
            yield self._failed(self._death())
            return
        while True:
            reply = self._next()
            if isinstance(reply, Failure):
                yield self._failed(reply)
                return
            # A worker that dies cannot say what it was doing, so its last stage is remembered here.
            if isinstance(reply, Stage):
                self.stage, self.workload = reply.name, reply.workload
            if isinstance(reply, Failed):
                failure = msgspec.structs.replace(reply.failure, stderr_tail=self._tail())
                # Scrubbed here too, since a failure is printed before it is stored.
                reply = Failed(privacy.scrubbed(_with_native_words(failure)), reply.workload or self.workload)
            if isinstance(reply, Done):
                return
            yield reply
            if each:
                self._end_s = time.monotonic() + timeout_s

    def close(self) -> None:
        """Let the process end, kill it after `CLOSE_S` seconds, and take what is private out of its log."""
        self._is_over.set()
        if self._stderr.closed:
            return
        self._stderr.close()
        try:
            self._end()
        finally:
            LOGS.close(self.log)

    def _end(self) -> None:
        if self._process is None:
            return
        with contextlib.suppress(OSError):
            # Closing writes what is left in the buffer, which fails where the process is dead.
            if self._process.stdin:
                self._process.stdin.close()
        try:
            self._process.wait(CLOSE_S if self.alive else 0)
        except subprocess.TimeoutExpired:
            self.kill()
        self._end_process_group()
        _ALIVE.discard(self)

    def kill(self) -> None:
        """Kill the process and every process that it started."""
        if self._process is None:
            return
        with contextlib.suppress(psutil.NoSuchProcess):
            parent = psutil.Process(self._process.pid)
            # Children first: after the parent's death they could not be found by it.
            for child in [*parent.children(recursive=True), parent]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()
        # Not without a limit: a driver that hangs keeps even a killed process.
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(CLOSE_S)
        self._end_process_group()

    def death(self) -> Failure | None:
        """Why the process ended while no order was at work; None while it lives."""
        if self.alive:
            return None
        self.stage = "idle"
        return self._death()

    def suspend(self) -> None:
        """Stop the process until `resume`, where its threads use CPU although it is idle; Linux only."""
        # Elsewhere a stopped process would outlive a parent that is killed.
        if self._process is not None and sys.platform == "linux" and not self._is_suspended:
            with contextlib.suppress(psutil.Error):
                psutil.Process(self._process.pid).suspend()
                self._is_suspended = True

    def resume(self) -> None:
        """Let a suspended process go on."""
        if self._process is not None and self._is_suspended:
            self._is_suspended = False
            with contextlib.suppress(psutil.Error):
                psutil.Process(self._process.pid).resume()

    def _end_process_group(self) -> None:
        """Kill the children that a dead process left: they have no parent now, but its group, or at least its mark."""
        if self._process is not None and sys.platform != "win32":
            # No process is left in the group; macOS says PermissionError where only dead ones are.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            for pid in _marked(f"{MARK}={self._mark}"):
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)

    @property
    def pid(self) -> int | None:
        """The process's id; None where it could not be started."""
        return None if self._process is None else self._process.pid

    def native_words(self) -> str:
        """The first error that a library has printed; empty where there is none."""
        return native_errors.first_error(self._tail())

    def cpu_s(self) -> float:
        """CPU seconds that the process and its children have used; 0 after its end."""
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
        try:
            with stream:
                # With a limit: a process that prints without line ends must not fill this one's memory.
                while line := stream.readline(MOST_REPLY_BYTES):
                    if not self._put(line):
                        return
        # Also after an error here, which would else be waited for until the time limit.
        finally:
            self._put(None)

    def _put(self, line: bytes | None) -> bool:
        """Pass a line on; False where nobody will take it any more."""
        while True:
            try:
                # What nobody takes stays in the pipe, and the process waits.
                self._replies.put(line, timeout=PUT_S)
            except queue.Full:
                if self._is_over.is_set():
                    return False
            else:
                return True

    def _remaining_s(self) -> float:
        """Seconds until the order at work must be answered, without those in which this process was stopped."""
        now_s = time.monotonic()
        held_up_s = now_s - self._turned_s - self.watch_s
        self._turned_s = now_s
        if held_up_s > HELD_UP_S:
            self._end_s += held_up_s
        return self._end_s - now_s

    def _next(self) -> Reply | Failure:
        """Wait for the next reply; a `Failure` says why there is none."""
        has_ended = False
        while True:
            LOGS.bound_all()
            kept_bytes = LOGS.bound(self.log)
            if kept_bytes is not None:
                self._log_start = min(self._log_start, kept_bytes)
            remaining_s = self._remaining_s()
            if remaining_s <= 0:
                self.kill()
                return self._failure("timeout", "timeout", "no answer in the time allowed, so the process was ended")
            # Not only after a wait without a reply: the replies of short bursts follow one another more quickly.
            if too_much := self._over_memory():
                self.kill()
                return self._failure("out-of-memory", "memory", too_much)
            try:
                line = self._replies.get(timeout=min(self.watch_s, remaining_s))
            except queue.Empty:
                if self._banner and not self._has_replied and time.monotonic() - self._banner_began > BANNER_S:
                    return self._unreadable(self._banner[0])
                if has_ended:  # since the last turn, and its output is read: a forked child holds the stream open
                    return self._death()
                has_ended = not self.alive
                continue
            if line is None:
                return self._unreadable(self._banner[0]) if self._banner and not self._has_replied else self._death()
            reply = self._decoded(line)
            if reply is not None:
                return reply

    def _decoded(self, line: bytes) -> Reply | Failure | None:
        """The reply in a line; None for a line of a banner, which some interpreters print when they start."""
        # A banner without a line end stands in front of the first reply.
        start = 0 if self._has_replied else max(0, line.find(b'{"reply"'))
        try:
            reply = _reply(line[start:])
        except reading.UNREADABLE:
            if self._has_replied or len(line) >= MOST_REPLY_BYTES or len(self._banner) >= MOST_BANNER_LINES:
                return self._unreadable(line)
            self._banner_began = self._banner_began if self._banner else time.monotonic()
            self._banner.append(line[:TAIL_CHARACTERS])
            with contextlib.suppress(OSError, ValueError):
                self._stderr.write(self._banner[-1])
                self._stderr.flush()
            return None
        self._has_replied = True
        return reply

    def _unreadable(self, line: bytes, why: str = "") -> Failure:
        self.kill()
        if why:
            message = f"a reply of the worker {why}"
        elif len(line) >= MOST_REPLY_BYTES:
            message = f"the worker wrote {len(line) >> 20} MiB without a line end"
        else:
            try:
                error = repr(_reply(line))
            except reading.UNREADABLE as problem:
                error = str(problem)
            message = f"the worker's reply could not be read: {error}"
        return self._failure("failed", "protocol", message)

    def _over_memory(self) -> str | None:
        now_s = time.monotonic()
        if self.memory_limit_bytes is None or self._process is None or now_s - self._looked_s < self.watch_s:
            return None
        self._looked_s = now_s
        with contextlib.suppress(psutil.Error):
            # The process may have ended since, which its stream then shows.
            used = psutil.Process(self._process.pid).memory_info().rss
            if used > self.memory_limit_bytes:
                limit = self.memory_limit_bytes
                over = max(1, round((used - limit) / 2**20))
                return f"held {used / 2**20:.0f} MiB, {over} MiB over the limit of {limit / 2**20:.0f} MiB"
        return None

    def _death(self) -> Failure:
        """Why the process ended without a reply."""
        if self._process is None:
            return self._failure("unavailable", "interpreter", self._not_started)
        try:
            code = self._process.wait(CLOSE_S)
        except subprocess.TimeoutExpired:  # it closed its stream and still runs
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
        return privacy.scrubbed(_with_native_words(failure))

    def _failed(self, failure: Failure) -> Failed:
        return Failed(failure, self.workload)

    def _tail(self) -> str:
        """The last lines that the process wrote, without what is private; empty where somebody has removed the log."""
        text = ""
        with contextlib.suppress(OSError), self.log.open("rb") as file:
            # A character has up to four bytes in UTF-8.
            size = self.log.stat().st_size
            # Another worker may have cut the log that both write to.
            start = self._log_start if self._log_start <= size else 0
            file.seek(max(start, size - 4 * TAIL_CHARACTERS))
            text = file.read().decode("utf-8", "replace")
        lines = privacy.scrub(text).splitlines()[-TAIL_LINES:]
        return "\n".join(lines)[-TAIL_CHARACTERS:]


def _with_native_words(failure: Failure) -> Failure:
    """Add the library's error on stderr to a failure that does not name its cause."""
    words = native_errors.first_error(failure.stderr_tail)
    if failure.message and failure.kind not in WITHOUT_WORDS:
        return failure
    return msgspec.structs.replace(failure, message=with_native_words(failure.message, words))


def with_native_words(message: str, words: str) -> str:
    """Add a library's output to a message, unless the message quotes it: libraries print what they raise.

    A reader must not see the same text twice; nothing else depends on it.
    """
    if words[-OVERLAP:] in message:
        return message
    return f"{message}; it said: {words}" if message else words


REMEDIES: dict[str, str] = {
    "unavailable": "check the runtime's interpreter in the matrix",
    "timeout": "raise [measure] timeout_s, or exclude the cell",
    "out-of-memory": "raise [measure] memory_limit_mb where the machine has more, or use a smaller workload",
    "crashed": "the end of its log says where; try another version of the provider, and report it there",
}


def _reply(line: bytes) -> Reply:
    """The reply in a line. Raises one of `reading.UNREADABLE`, also for what could be stored and not be read again."""
    reply = REPLIES.decode(line)
    if reading.huge_integer(line, msgspec.json.decode):
        raise msgspec.ValidationError("an integer beyond 64 bits")
    return reply


def signal_name(code: int) -> str | None:
    """The signal that ended a process, `SIGSEGV` for -11, or Windows' name for it; None for a normal exit."""
    if code < 0:
        try:
            # Real-time signals have no names in Python.
            return signal.Signals(-code).name
        except ValueError:
            return f"signal {-code}"
    # Windows has no signals: a crash ends the process with an NTSTATUS as its exit code.
    return WINDOWS_ENDS.get(code & 0xFFFFFFFF) if code > 0xFFFF else None


def _marked(variable: str) -> list[int]:
    """The processes of this user with a variable of their environment; Linux only, and empty elsewhere."""
    found = []
    if sys.platform == "linux":
        for folder in Path("/proc").glob("[0-9]*"):
            # Of others it cannot be read, and many end meanwhile.
            with contextlib.suppress(OSError):
                if variable.encode() in (folder / "environ").read_bytes().split(b"\0"):
                    found.append(int(folder.name))
    return found


def _oom_kills() -> int:
    """The number of processes that the Linux kernel has killed for memory; 0 where it is not known."""
    try:
        text = Path("/proc/vmstat").read_text(encoding="ascii")
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith("oom_kill ")), 0)
