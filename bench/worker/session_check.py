"""Opens a visit's session, reports it to the orchestrator, and compares its answers with the reference."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from time import perf_counter_ns
from typing import Any, cast

import numpy as np

from bench.records import Opened, Parity, Transcript, Visit
from bench.worker import contracts, engines, families, feeds, generation, parity, parity_tokens
from bench.worker.channel import Channel
from bench.worker.contracts import AnySession, Generator, Session, TextGenerator
from bench.worker.memory import peak_rss_bytes
from bench.worker.placement import refuse_elsewhere


def open_session(order: Visit, channel: Channel) -> AnySession:
    """The visit's session, told of before anything is done with it."""
    baseline = peak_rss_bytes()
    channel.stage("import")
    start = perf_counter_ns()
    engine = engines.named(order.engine)
    import_ns = perf_counter_ns() - start
    channel.stage("session")
    start = perf_counter_ns()
    session = engine.Session(order)
    load_ns = perf_counter_ns() - start
    opened = Opened(
        import_ns=import_ns,
        load_ns=load_ns,
        threads=session.threads,
        versions=engine.versions(order.provider),
        placement=session.placement,
        notes=session.notes,
        device=session.device,
        baseline_rss_bytes=baseline,
    )
    channel.say(opened)
    channel.stage("placement")
    refuse_elsewhere(session.placement, order.provider, session.complaint)
    return session


def check_generation(
    order: Visit, session: Generator | TextGenerator, batches: list[feeds.Feed], run: generation.Recorder, folder: Path
) -> Parity:
    """Parity of a model that generates: by its logits where it shows them, else by the words it says next."""
    told = told_by(folder)
    if engines.named(order.engine).MANIFEST.checked_by == "logits":
        expected = feeds.load(folder / "outputs.npz")
        return parity_tokens.check(cast(Generator, session), batches, expected, run.tokens, order.tolerance, told["by"])
    return parity_tokens.check_texts(
        cast(TextGenerator, session), told.get("prefixes", []), order.tolerance, told["by"]
    )


def transcript(run: generation.Recorder, told: dict[str, Any]) -> Transcript | None:
    """What was heard, where the reference knows what was said."""
    if "label" not in told or run.tokens is None:
        return None
    # The end of sequence is no end of the generation, but it is the end of what was said.
    said = itertools.takewhile(lambda token: token not in told["end"], run.tokens[0].tolist())
    return Transcript("".join(told["pieces"][token] for token in said), told["label"])


def reference(folder: Path) -> tuple[list[feeds.Feed], list[feeds.Feed], str]:
    """The inputs of a workload, the outputs they must lead to, and who computed those."""
    return feeds.load(folder / "inputs.npz"), feeds.load(folder / "outputs.npz"), told_by(folder)["by"]


def told_by(folder: Path) -> dict[str, Any]:
    """What the reference says of itself."""
    told: dict[str, Any] = json.loads((folder / "reference.json").read_text(encoding="utf-8"))
    return told


def check(order: Visit, session: Session, batches: list[feeds.Feed], expected: list[feeds.Feed], by: str) -> Parity:
    """Parity over every batch, the timed one included and with the very call that was timed."""
    family = contracts.forward(families.named(order.family))
    want: list[np.ndarray[Any, Any]] = []
    have: list[np.ndarray[Any, Any]] = []
    for feed, reference in zip(batches, expected, strict=True):
        outputs = session.outputs(session.bind(feed)())
        want.append(family.comparable(reference, feed))
        have.append(family.comparable(outputs, feed))
    return parity.compare(want, have, order.tolerance, by)
