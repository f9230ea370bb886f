"""Measures the cold and the cached start of a target, each in a fresh process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from msgspec import Struct

from bench.records import Begin, Failed, Note, Start, Started, Visit, note
from bench.worker_process import Worker

KINDS: tuple[Literal["cold", "cached"], ...] = ("cold", "cached")
NOTE_CHARACTERS = 300


class StartResults(Struct, frozen=True):
    """The starts that were measured, and a note for each that was not."""

    starts: tuple[Start, ...] = ()
    notes: tuple[Note, ...] = ()


def measure_starts(visit: Visit, worker: Callable[[], Worker], timeout_s: float) -> StartResults:
    """Start twice, each time in a fresh process: with an empty compile cache, then with what the first start left.

    An error becomes a note and not a failure, because the visit that follows decides the status of the cell.
    """
    starts: list[Start] = []
    notes: list[Note] = []
    for kind in KINDS:
        with worker() as process:
            answer = _start_once(process, Begin(visit, kind), timeout_s)
        if isinstance(answer, Note):
            notes.append(answer)
            break  # without a cold start there is nothing to start from
        starts.append(answer)
    return StartResults(tuple(starts), tuple(notes))


def _start_once(worker: Worker, order: Begin, timeout_s: float) -> Start | Note:
    answer: Start | Note = note("start-unanswered", start=order.kind)
    for reply in worker.ask(order, timeout_s):
        if isinstance(reply, Started):
            answer = reply.start
        if isinstance(reply, Failed):
            failure = reply.failure
            text = failure.message[:NOTE_CHARACTERS]
            answer = note("start-failed", start=order.kind, status=failure.status, text=text)
    return answer
