"""A visit and a way to start a worker in; how the target starts cold, and from what it has compiled, out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from msgspec import Struct

from bench.records import Begin, Failed, Start, Started, Visit
from bench.worker_process import Worker

KINDS: tuple[Literal["cold", "cached"], ...] = ("cold", "cached")
NOTE_CHARACTERS = 300


class Starts(Struct, frozen=True):
    """The starts that were seen, and a note for each that was not."""

    seen: tuple[Start, ...] = ()
    notes: tuple[str, ...] = ()


def begin(visit: Visit, worker: Callable[[], Worker], timeout_s: float) -> Starts:
    """Start twice, each time in a fresh process: with the scratch folder empty, then as the first start left it.

    Whatever goes wrong is a note: the visit itself will tell what the cell comes to.
    """
    seen: list[Start] = []
    notes: list[str] = []
    for kind in KINDS:
        with worker() as process:
            found = _answer(process, Begin(visit, kind), timeout_s)
        if isinstance(found, str):
            notes.append(f"{kind} start: {found}"[:NOTE_CHARACTERS])
            break  # without a cold start there is nothing to start from
        seen.append(found)
    return Starts(tuple(seen), tuple(notes))


def _answer(worker: Worker, order: Begin, timeout_s: float) -> Start | str:
    found: Start | str = "the worker ended without an answer"
    for reply in worker.ask(order, timeout_s):
        if isinstance(reply, Started):
            found = reply.start
        if isinstance(reply, Failed):
            found = f"{reply.failure.status}: {reply.failure.message}"
    return found
