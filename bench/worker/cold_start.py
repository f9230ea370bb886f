"""Measures the cold start of a fresh process: import, model load and the first answer."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from pathlib import Path
from time import perf_counter_ns
from typing import cast

from bench.records import Begin, CompileCache, Note, Start, Started, Visit, note
from bench.worker import engines, families, feeds
from bench.worker.channel import Channel
from bench.worker.contracts import AnySession, CompilingEngine, Engine, Generator, Session, TextGenerator
from bench.worker.failures import reason_of
from bench.worker.placement import refuse_fallback
from bench.worker.refusal import Refusal


def start(order: Begin, channel: Channel) -> None:
    """Open a session on the visit's artifact, run the first feed of the first job once, and send `Started`."""
    visit = order.visit
    feed = feeds.load(Path(visit.jobs[0].reference) / "inputs.npz")[0]
    # Feeds are read before the clock starts: they are the harness's own work.
    channel.stage("import")
    begin = perf_counter_ns()
    engine = engines.named(visit.engine)
    import_ns = perf_counter_ns() - begin
    cache = visit.provider.cache if visit.provider else None
    if order.kind == "cached":
        _refuse_empty(cache, visit.scratch)
    channel.stage("session")
    begin = perf_counter_ns()
    session = _open(engine, order, cache)
    load_ns = perf_counter_ns() - begin
    channel.stage("placement")
    refuse_fallback(session.placement, visit.provider, session.complaint)
    channel.stage("begin", visit.jobs[0].workload)
    # Before the clock starts, as in a burst: the setup of a call is not part of the call.
    call = _first(session, visit, feed)
    begin = perf_counter_ns()
    call()
    first_call_ns = perf_counter_ns() - begin
    no_compiled_model = _kept(engine, order, cache)
    channel.say(Started(Start(order.kind, import_ns, load_ns, first_call_ns, no_compiled_model)))


def _first(session: AnySession, visit: Visit, feed: feeds.Feed) -> Callable[[], object]:
    """The call that gives the first answer: a whole call, or for a model that generates its first token."""
    if not families.generates(visit.family):
        return cast(Session, session).bind(feed)
    steps = iter(cast(Generator | TextGenerator, session).begin(feed, visit.jobs[0].sizes["new"]))
    return lambda: next(steps)


def _open(engine: Engine, order: Begin, cache: CompileCache | None) -> AnySession:
    """Open the model, or the compiled model that an earlier cold start wrote; Refusal where the latter fails."""
    if order.kind == "cold" or cache is None or cache.kind != "context":
        return engine.Session(order.visit)
    compiling = _compiling(engine)
    try:
        session = compiling.Session(order.visit, compiled=True)
    except Refusal:
        # A refusal has its own reason already, such as that no compiled model was kept.
        raise
    # Only the cached start is refused: the cell's other measurements do not need the compiled model. A provider may
    # refuse it with any exception, and the traceback is in the log.
    except Exception as error:
        raise Refusal(
            "unsupported", f"the compiled model does not open: {reason_of(error)}", kind="no-cache"
        ) from error
    return session


def _kept(engine: Engine, order: Begin, cache: CompileCache | None) -> Note | None:
    """Compile the model for the next start, outside of the timing; a note with the reason where that fails."""
    if order.kind == "cached" or cache is None or cache.kind != "context":
        return None
    try:
        _compiling(engine).compile_context(order.visit)
    except Exception as error:  # noqa: BLE001 - this start is measured; the note says why there is no cached one
        # The note has one line, and a fault of this program needs its traceback.
        traceback.print_exc()
        return note("no-compiled-model", text=reason_of(error))
    return None


def _compiling(engine: Engine) -> CompilingEngine:
    if not engine.MANIFEST.compiles_context:
        raise Refusal("unsupported", "this engine opens no compiled models", kind="no-cache")
    return cast(CompilingEngine, engine)


def _refuse_empty(cache: CompileCache | None, scratch: str) -> None:
    """Refuse a cached start from an empty cache: it would be a cold start under a wrong name."""
    if cache is None or cache.kind == "context":
        return
    folder = Path(os.environ.get(cache.name, "")) if cache.kind == "environment" else Path(scratch)
    # Files and not folders: an empty folder is no compiled model.
    if not any(path.is_file() for path in folder.rglob("*")):
        raise Refusal("unsupported", "the provider kept nothing in its cache folder", kind="no-cache")
