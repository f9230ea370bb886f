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
from bench.worker.placement import refuse_fallback


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
    refuse_fallback(session.placement, order.provider, session.complaint)
    return session


def check_generation(
    order: Visit, session: Generator | TextGenerator, batches: list[feeds.Feed], run: generation.Recorder, folder: Path
) -> Parity:
    """Parity of a model that generates: by its logits where it shows them, else by the words it says next."""
    facts = reference_facts(folder)
    if engines.named(order.engine).MANIFEST.checked_by == "logits":
        expected = feeds.load(folder / "outputs.npz")
        return parity_tokens.check(
            cast(Generator, session), batches, expected, run.tokens, order.tolerance, facts["by"]
        )
    return parity_tokens.check_texts(
        cast(TextGenerator, session), facts.get("prefixes", []), order.tolerance, facts["by"]
    )


def transcript(run: generation.Recorder, facts: dict[str, Any]) -> Transcript | None:
    """What was heard, where the reference knows what was said."""
    if "label" not in facts or run.tokens is None:
        return None
    # The end of sequence is no end of the generation, but it is the end of what was said.
    spoken_tokens = itertools.takewhile(lambda token: token not in facts["end"], run.tokens[0].tolist())
    return Transcript("".join(facts["pieces"][token] for token in spoken_tokens), facts["label"])


def reference(folder: Path) -> tuple[list[feeds.Feed], list[feeds.Feed], str]:
    """The inputs of a workload, the outputs they must lead to, and who computed those."""
    return feeds.load(folder / "inputs.npz"), feeds.load(folder / "outputs.npz"), reference_facts(folder)["by"]


def reference_facts(folder: Path) -> dict[str, Any]:
    """What the reference says of itself."""
    facts: dict[str, Any] = json.loads((folder / "reference.json").read_text(encoding="utf-8"))
    return facts


def check(order: Visit, session: Session, batches: list[feeds.Feed], expected: list[feeds.Feed], by: str) -> Parity:
    """Parity over every batch, the timed one included and with the very call that was timed."""
    family = contracts.forward(families.named(order.family))
    expected_rows: list[np.ndarray[Any, Any]] = []
    actual_rows: list[np.ndarray[Any, Any]] = []
    for feed, reference in zip(batches, expected, strict=True):
        outputs = session.outputs(session.bind(feed)())
        expected_rows.append(family.comparable(reference, feed))
        actual_rows.append(family.comparable(outputs, feed))
    return parity.compare(expected_rows, actual_rows, order.tolerance, by)
