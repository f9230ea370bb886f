"""Run operator cases on a provider, so that every case has a result even if its worker dies."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Generator
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from bench.conformance import text
from bench.conformance.verdicts import coarse, margins
from bench.progress import Progress, duration
from bench.records import Case, CaseDone, CaseSeen, Conform, Failed, Failure, Note, Provider, note
from bench.shared import native_errors
from bench.worker_process import Worker

CASE_TIMEOUT_S = 30.0
# A first session on WebGPU compiles shaders for 3 to 13 s on a software adapter.
START_S = 60.0
"""Additional seconds of the first case of a process: it imports, and loads plugin and driver."""
# In a row: single crashes among good cases concern these cases only, and do not end the target.
MAX_LOST_IN_A_ROW = 25
"""After so many cases in a row that end the process or find no provider, the target is abandoned."""
MAX_TIMEOUTS = 20
"""After so many timeouts in all the target is abandoned, since each takes half a minute."""
ESTIMATE_AFTER_S, PRINT_EVERY_S = 3.0, 15.0
"""Seconds before the first estimate, which is unreliable earlier, and between printed lines."""
# These have no message of the library's own, so the end of its output may be the only cause that is known.
KEEPS_STDERR = ("crashed", "timeout", "out-of-memory")


class CaseTarget(Struct, frozen=True):
    """A target and what its cases need to run."""

    target: str
    provider: Provider
    payloads: Path
    start: Callable[[], Worker]
    """Starts a fresh worker in the target's runtime."""
    progress: Progress


def run(target: CaseTarget, cases: tuple[Case, ...]) -> Generator[CaseSeen]:
    """Run every case, and yield its result when it ends. One worker serves many cases, until a case kills it.

    The order is shuffled with a fixed seed: long cases are next to each other in the suite, so an estimate from the
    first hundred would be wrong.
    """
    shuffled = list(cases)
    random.Random(0).shuffle(shuffled)
    runner = _CaseRunner(target, len(cases))
    try:
        for case in shuffled:
            yield runner.run_case(case)
    except BaseException:  # interrupted, or the generator is closed: the worker may be in a case, so it is killed
        runner.end(Worker.kill)
        raise
    runner.end(Worker.close)


class _CaseRunner:
    """Runs cases in a worker, replaces a worker that died, counts failures, and reports the remaining time."""

    def __init__(self, target: CaseTarget, total: int) -> None:
        self.target, self.total = target, total
        self.worker: Worker | None = None
        self.served = 0
        """Number of cases that the present worker has finished."""
        self.done = self.lost_in_a_row = self.timeouts = 0
        self.given_up: Note | None = None
        self.began = self.printed = time.monotonic()

    def end(self, release: Callable[[Worker], None]) -> None:
        """End the worker with `release`, if there is one."""
        if self.worker:
            release(self.worker)
        self.worker, self.served = None, 0

    def run_case(self, case: Case) -> CaseSeen:
        """Run one case; if the process dies, run it again in a fresh one unless it was fresh already."""
        # The cases that follow get a line too: a case without a verdict would look as if it had been left out.
        if self.given_up:
            failure = Failure("failed", "start", "not-run", text.say(self.given_up))
            return CaseSeen(self.target.target, case.name, failure=failure)
        served = self.served
        result = self.ask(case)
        if result.failure and result.failure.status == "crashed" and served:
            # Earlier cases may have damaged the process, so this case may not be the cause.
            second = self.ask(case)
            how = result.failure.signal or result.failure.message
            died = note("first-try-died", how=how, stage=result.failure.stage, cases=served)
            # A case that kills a fresh process too is itself the cause, so the first death says nothing more.
            crashed_again = second.failure is not None and second.failure.status == "crashed"
            result = second if crashed_again else replace(second, first_death=died)
        self.count(result)
        return result

    def ask(self, case: Case) -> CaseSeen:
        """Run one case in the present worker, or in a fresh one."""
        if self.worker is None:
            self.worker = self.target.start()
        # Only the first case of a process pays for imports and the driver.
        allowed = CASE_TIMEOUT_S + (0 if self.served else START_S)
        order = Conform(self.target.provider, str(self.target.payloads), case, margins(case), coarse())
        result = CaseSeen(self.target.target, case.name)
        for reply in self.worker.ask(order, allowed):
            if isinstance(reply, CaseDone):
                result = replace(result, done=reply)
            elif isinstance(reply, Failed):
                result = replace(result, done=None, failure=_plain(reply.failure))
        self.served += 1
        # Closed at once, so that the next case starts a fresh process.
        if not self.worker.alive:
            self.end(Worker.close)
        return result

    def count(self, result: CaseSeen) -> None:
        """Count a result, and abandon the target after too many lost cases."""
        self.done += 1
        status = result.failure.status if result.failure else "ok"
        self.timeouts += status == "timeout"
        # A refused case leaves the process alive and is a normal result, so it is not counted.
        lost = status in ("crashed", "timeout", "unavailable", "out-of-memory")
        self.lost_in_a_row = self.lost_in_a_row + 1 if lost else 0
        if self.lost_in_a_row >= MAX_LOST_IN_A_ROW:
            last = result.failure.message if result.failure else ""
            self.given_up = note("cases-lost", count=self.lost_in_a_row, last=last)
        elif self.timeouts >= MAX_TIMEOUTS:
            self.given_up = note("cases-timed-out", count=self.timeouts)
        self.report_progress(result.case)

    def report_progress(self, case: str) -> None:
        """Show the number of finished cases, and the remaining time at the speed so far."""
        now = time.monotonic()
        spent = now - self.began
        remaining = duration(spent / self.done * (self.total - self.done)) if spent > ESTIMATE_AFTER_S else "a while"
        state = f"{self.target.target}: {self.done} of {self.total} cases, about {remaining} to go"
        self.target.progress.detail(f"{state}; {case}")
        if now - self.printed > PRINT_EVERY_S and self.done < self.total:
            self.printed = now
            self.target.progress.step(state)


def _plain(failure: Failure) -> Failure:
    """A failure with a short message. A refused case keeps no stderr: there are hundreds, and the log has it."""
    tail = failure.stderr_tail if failure.status in KEEPS_STDERR else ""
    return replace(failure, message=native_errors.brief(failure.message), stderr_tail=tail)
