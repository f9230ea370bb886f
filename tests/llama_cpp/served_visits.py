"""Visits of small servers: a session whose one workload has a prompt, its generations, and how they are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from servers import DONE, event, scripted, usage
from visits import a_visit

from bench.records import Job, Recipe, Visit
from bench.worker import feeds
from bench.worker.engines import openai_http as engine
from bench.worker.failures import failure_of
from bench.worker.refusal import Refusal

TEXT = "Salt cost its weight in gold once."
KEY = "sk-very-secret-0123456789"

SERVED = Recipe("served-fp32", number_format="fp32")


def a_feed(text: str = TEXT) -> dict[str, np.ndarray]:
    return {"input_ids": np.array([list(text.encode())])}


def a_session(folder: Path, url: str, prompts: list[str] | None = None, **options: Any) -> engine.Session:
    """A session whose one workload has the prompt above."""
    return engine.Session(a_served_visit(folder, url, prompts, **options))


def a_served_visit(folder: Path, url: str, prompts: list[str] | None = None, **options: Any) -> Visit:
    """A visit whose one workload has the prompt above."""
    feeds.save(folder / "inputs.npz", [a_feed(), a_feed("Another one.")])
    told = {"by": "NumPy", "prompts": [TEXT] if prompts is None else prompts}
    (folder / "reference.json").write_text(json.dumps(told), encoding="utf-8")
    job = Job("p34-n4", {"batch": 1, "prompt": len(TEXT), "new": 4, "context": 0}, str(folder))
    said = {"engine": "openai-http", "family": "text-generator", "provider": None, "recipe": SERVED}
    return a_visit(jobs=(job,), options={"url": url, **options}, **said)


def generated(session: engine.Session, new: int = 4) -> engine.Stream:
    """The stream of a generation, run to its end."""
    stream = session.begin(a_feed(), new)
    stream.steps = list(stream)  # type: ignore[attr-defined]
    return stream


def refusal_of(folder: Path, answer: Any, new: int = 4, **options: Any) -> Refusal:
    """How a generation of a server that answers so is refused."""
    with scripted(completions=answer) as server:
        session = a_session(folder, server.url, **options)
        with pytest.raises(Refusal) as refused:
            generated(session, new)
    assert refused.value.remedy
    assert failure_of(refused.value, "time").status == refused.value.status
    return refused.value


def good(*words: str) -> Any:
    """An answer of so many pieces, counted."""
    pieces = [event(word) for word in words]
    return lambda asked: asked.stream(*pieces, event(finish="length"), usage(len(words)), DONE)


FOUR = ("one", " two", " three", " four")
