"""Opens a visit's session, reports it to the orchestrator, and compares its outputs with the reference."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from time import perf_counter_ns
from typing import Any, cast

from bench.records import Opened, Parity, Transcript, Visit
from bench.worker import (
    contracts,
    engines,
    families,
    feeds,
    generation,
    output_facts,
    output_values,
    parity,
    parity_tokens,
)
from bench.worker.channel import Channel
from bench.worker.contracts import AnySession, Generator, Session, TextGenerator
from bench.worker.memory import peak_rss_bytes
from bench.worker.placement import refuse_fallback


def open_session(order: Visit, channel: Channel) -> AnySession:
    """Open the visit's session, send `Opened`, and refuse a session that runs on another provider.

    The reply is sent before the check, so that the record has the session's facts also where it is refused.
    """
    # Before the import, so that the difference to the peak is the memory of the engine and the model.
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
    """Parity of a model that generates: by its logits where the engine gives them, else by the next texts."""
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
    """The recognised text beside the label; None where the reference has no label or there are no token ids."""
    if "label" not in facts or run.tokens is None:
        return None
    # A timed generation goes on after the end-of-sequence token, but the transcript ends there.
    # The label is that of the first clip, so only the first row is read.
    spoken_tokens = itertools.takewhile(lambda token: token not in facts["end"], run.tokens[0].tolist())
    return Transcript("".join(facts["pieces"][token] for token in spoken_tokens), facts["label"])


def reference(folder: Path) -> tuple[list[feeds.Feed], list[feeds.Feed], dict[str, Any]]:
    """The inputs of a workload, the expected outputs, and the facts of the reference."""
    return feeds.load(folder / "inputs.npz"), feeds.load(folder / "outputs.npz"), reference_facts(folder)


def reference_facts(folder: Path) -> dict[str, Any]:
    """The facts of a reference: the content of its `reference.json`."""
    facts: dict[str, Any] = json.loads((folder / "reference.json").read_text(encoding="utf-8"))
    return facts


def check(
    order: Visit, session: Session, batches: list[feeds.Feed], expected: list[feeds.Feed], facts: dict[str, Any]
) -> Parity:
    """Parity over every batch, the timed one included; outputs come from the same call as in the timing."""
    family = contracts.forward(families.named(order.family))
    rights: list[feeds.Feed] = []
    givens: list[feeds.Feed] = []
    for feed, reference in zip(batches, expected, strict=True):
        outputs = output_values.arrays(session.outputs(session.bind(feed)()))
        rights.append(family.comparable(reference, feed))
        givens.append(family.comparable(outputs, feed))
    known = output_facts.from_json(facts.get("outputs", {}))
    return parity.compare(rights, givens, order.tolerance, facts["by"], known)
