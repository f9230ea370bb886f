"""The engine `openai-http`: measures any OpenAI-compatible server by its streamed completions."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
from msgspec.structs import replace

from bench.records import (
    EngineManifest,
    EngineRecipe,
    Note,
    Placement,
    Probe,
    Provider,
    TargetFacts,
    Tolerance,
    Traits,
    Visit,
    note,
)
from bench.worker import feeds
from bench.worker.engines import _openai_options, _server_sent
from bench.worker.engines._openai_client import Client
from bench.worker.feeds import Feed
from bench.worker.refusal import Refusal

MANIFEST = EngineManifest(
    format=None,
    tasks=("text-generation",),
    variables=("key",),
    addresses=("url",),
    checked_by="text",
    # The limits of the exports of the same number format: how a server quantizes its model is not known.
    recipes={
        "served-fp32": EngineRecipe(number_format="fp32"),
        "served-fp16": EngineRecipe(number_format="fp16"),
        "served-bf16": EngineRecipe(number_format="bf16"),
        "served-int8": EngineRecipe(
            number_format="int8", tolerance={"text-generator": Tolerance(max_kl=4e-2, min_top1=0.6)}
        ),
        "served-int4": EngineRecipe(
            number_format="int4", tolerance={"text-generator": Tolerance(max_kl=0.3, min_top1=0.3)}
        ),
    },
)

DIGITS = 6
"""The digits of the number that replaces as many letters at the start of a timed prompt."""
MAX_PIECES_PER_TOKEN = 4
"""The most pieces of text per requested token; a server that sends more is stopped."""


class Session:
    """A session with one model of a running server."""

    placement: Placement | None = None
    complaint = ""
    threads: int | None = None
    """The threads of the server are not known to a client."""

    def __init__(self, visit: Visit) -> None:
        server = _openai_options.read(visit.options)
        self.client = Client(server)
        self.model = _model(self.client)
        self.device = server.device
        self.extra = dict(server.extra)
        self.counted_by = "chunks"
        self.early_end_text = ""
        self._prompts = _prompts(visit)
        # A random start: each block has a new process, and no prompt may repeat one that the server has cached.
        self._numbers = itertools.count(random.randrange(10**DIGITS))

    @property
    def notes(self) -> tuple[Note, ...]:
        """The server, and the changes to the prompt that make it compute each time."""
        fields = (note("extra-fields", names=tuple(sorted(self.extra))),) if self.extra else ()
        return (
            note("server", label=self.client.server.label, model=self.model),
            note("own-digits", digits=DIGITS),
            note("server-settings"),
            *fields,
        )

    def begin(self, feed: Feed, new: int) -> Stream:
        """Prepare the request of one generation; it is sent at the first step.

        Refusal for a context, for a batch, and for a prompt whose text is not known.
        """
        if "context_ids" in feed:
            message = "what is in a server's KV cache cannot be set from outside"
            raise Refusal("unsupported", message, "leave the workloads with a context out for this row")
        if feed["input_ids"].shape[0] != 1:
            message = "how a server puts requests into a batch cannot be set from outside"
            raise Refusal("unsupported", message, "leave the workloads with a batch out for this row")
        text = self._prompts.get(feed["input_ids"].tobytes())
        if text is None:
            message = "the reference holds no text of this prompt, and a server takes text only"
            raise Refusal("unsupported", message, "give a model with a tokenizer")
        return Stream(self, self._body(numbered(text, next(self._numbers)), new), new)

    def next_texts(self, prefixes: Sequence[str]) -> list[str]:
        """The text of the most likely next token of the server after each prefix."""
        return [self.client.complete(self._body(prefix, 1)) for prefix in prefixes]

    def traits(self, sizes: dict[str, int]) -> Traits:
        """The known traits of the last generation; a server reports neither weights nor cache."""
        return Traits(sampling=f"greedy, by temperature 0{self.early_end_text}", counted_by=self.counted_by)

    def _body(self, prompt: str, new: int) -> dict[str, Any]:
        # `extra` cannot replace the other fields: its reader refuses those that define the measurement.
        return {"model": self.model, "prompt": prompt, "max_tokens": new, "temperature": 0, **self.extra}


class Stream:
    """One streamed generation; a step is a piece of text, mostly one token."""

    encode_ns: int | None = None

    def __init__(self, session: Session, body: dict[str, Any], new: int) -> None:
        self.tokens: int | None = None
        self.prompt_tokens: int | None = None
        self._session, self._body, self._new = session, body, new

    def __iter__(self) -> Iterator[None]:
        """Yield None for every piece of text, because there are no token ids; at the end count the tokens."""
        pieces, ended, usage = 0, False, None
        for event in self._session.client.stream(self._body):
            text, finished = _piece(event)
            ended = ended or finished
            usage = (event or {}).get("usage") or usage
            if text:
                pieces += 1
                if pieces > MAX_PIECES_PER_TOKEN * self._new:
                    raise Refusal(
                        "failed", f"the server goes on beyond the {self._new} tokens asked for", "see its log"
                    )
                yield None
        # A broken connection may also just end the stream: only the mark of the end shows that the text is complete.
        if not ended:
            message = f"the server closed the stream in the middle, after {pieces} pieces of text"
            raise Refusal("failed", message, "see the server's log")
        self._count(pieces, usage)

    def _count(self, pieces: int, usage: Any) -> None:
        """Set the tokens as the server counts them, else the pieces; Refusal where they give no speed."""
        expected = self._new
        counts = usage if isinstance(usage, dict) else {}
        counted = _number(counts.get("completion_tokens"))
        self.tokens = counted or pieces
        self.prompt_tokens = _number(counts.get("prompt_tokens"))
        self._session.counted_by = "server" if counted else "chunks"
        self._session.early_end_text = (
            f", ended after {self.tokens} of {expected} tokens" if self.tokens < expected else ""
        )
        if self.tokens > expected and counted:
            message = f"the server counts {counted} tokens where {expected} were asked for"
            raise Refusal("failed", message, "its count cannot be taken for a speed")
        if min(self.tokens, pieces) < min(2, expected):
            message = (
                f"the server sent {self.tokens} tokens in {pieces} pieces: there is nothing between tokens to time"
            )
            remedy = """where it knows the field, let it go on: extra = '{"ignore_eos": true}'"""
            raise Refusal("failed", message, remedy)


def numbered(text: str, number: int) -> str:
    """The text with its first letters replaced by a number, so that the length of the prompt stays the same.

    The digits are reversed: consecutive numbers differ in the first digit, so that a server's prompt cache finds no
    common prefix.
    """
    digits = f"{number % 10**DIGITS:0{DIGITS}d}"[::-1]
    return digits + text[DIGITS:]


def _piece(event: dict[str, Any] | None) -> tuple[str, bool]:
    """The text of an event, and whether it marks the end of the text."""
    if event is None:
        return "", True
    choices = event.get("choices")
    first = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
    return _server_sent.text_of(event), bool(first.get("finish_reason"))


def _number(value: Any) -> int | None:
    """The value where it is a positive count, else None."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _prompts(visit: Visit) -> dict[bytes, str]:
    """The text of each workload's timed prompt, by the bytes of its token ids."""
    prompts = {}
    for folder in (Path(job.reference) for job in visit.jobs):
        texts = json.loads((folder / "reference.json").read_text(encoding="utf-8")).get("prompts") or []
        timed = feeds.load(folder / "inputs.npz")[0]
        if texts:
            # Only the first prompt: it is the timed one, and requests have a batch of one.
            prompts[timed["input_ids"].tobytes()] = texts[0]
    return prompts


def _model(client: Client) -> str:
    """The model that the matrix names, else the only model of the server; Refusal where there is no single one."""
    named_model = client.server.model
    try:
        names = client.models()
    except Refusal as refusal:
        # Some servers have no list of models; the first request shows whether the model exists.
        if named_model and refusal.kind == "not-loaded":
            return named_model
        raise
    if named_model:
        return named_model
    if len(names) == 1:
        return names[0]
    if not names:
        raise Refusal("unavailable", "the server has no model", "load one", "not-loaded")
    listed = ", ".join(names[:12])
    raise _openai_options.option_refusal(
        f"the server has {len(names)} models: {listed}", f'name one: model = "{names[0]}"'
    )


def probe(order: Probe) -> TargetFacts:
    """Whether the server responds and has the model."""
    facts = TargetFacts(available=False, versions=versions(order.provider))
    try:
        server = _openai_options.read(order.options)
        model = _model(Client(server))
    except Refusal as refusal:
        return replace(facts, message=refusal.message, remedy=refusal.remedy, kind=refusal.kind)
    devices = (server.device,) if server.device else ()
    notes = (note("server", label=server.label, model=model),)
    return replace(facts, available=True, device=server.device, devices=devices, notes=notes)


def versions(provider: Provider | None = None) -> dict[str, str]:
    """The version of the client; a server does not report its own."""
    return {"httpx": httpx.__version__}
