"""What a worker prints, through a real pipe: its replies, and what its libraries and its interpreter print too."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from bench.records import (
    Burst,
    Bursted,
    Done,
    Failed,
    Failure,
    Held,
    Note,
    Opened,
    Parity,
    Probed,
    Stage,
    TargetFacts,
    Timing,
)
from bench.worker_process import Worker

from .changes import changed_bytes, changed_json, text_of
from .kind import Kind, check_sentence

REPLY_S = 4.0
RESULTS = Path(__file__).parents[1] / "recorded" / "several-engines" / "results.jsonl"
BANNERS = (
    b"Welcome!\n",
    b"",
    b"",
    b"\x1b[31mwarning\x1b[0m ",
    b"\xff\xfe\x00",
    b'{"reply"',
    b"x" * 70_000 + b"\n",
    b"\n" * 150,
)


@cache
def replies() -> list[bytes]:
    """Replies of each kind; those with much in them are made of a recorded run."""
    observed = _observed()
    note = (Note("x", {"a": 1}),)
    made: list[Any] = [
        Stage("load", "b1"),
        Failed(Failure("failed", "load", "RuntimeError", "no kernel", "try another", 1, "SIGSEGV", "tail"), "b1"),
        Bursted("b1", (1, 2, 3), 4),
        Opened(1, 2, 3, {"onnxruntime": "1.31.1"}, notes=note),
        Probed(TargetFacts(available=True, device=None, versions={"a": "1"}, notes=note)),
        *observed,
    ]
    return [msgspec.json.encode(reply) for reply in made]


def _observed() -> list[Any]:
    """`Held` with the timing and the answers of recorded cells."""
    lines = [json.loads(line) for line in RESULTS.read_bytes().splitlines()]
    measured = [line for line in lines if line.get("parity") and line.get("timing")]
    found: list[Any] = []
    for line in measured[:2]:
        timing, parity = (msgspec.convert(line[name], kind) for name, kind in (("timing", Timing), ("parity", Parity)))
        found.append(Held("b1", timing, parity))
    return found


@cache
def sound_talks() -> list[bytes]:
    """Everything that a worker prints for an order."""
    done = msgspec.json.encode(Done()) + b"\n"
    return [reply + b"\n" + replies()[0] + b"\n" + done for reply in replies()]


def changed_talk(content: bytes, random: Random) -> bytes:
    """Replies with changed values, with something between them, or with changed bytes."""
    lines = content.split(b"\n")
    for _ in range(random.choice((1, 1, 2))):
        at, kind = random.randrange(len(lines)), random.random()
        if kind < 0.6:
            try:
                lines[at] = text_of(changed_json(json.loads(lines[at] or b"{}"), random))
            except (ValueError, RecursionError):
                lines[at] = changed_bytes(lines[at], random)
        elif kind < 0.75:
            lines[at] = random.choice(BANNERS) + lines[at]
        elif kind < 0.9:
            lines.insert(at, random.choice((*replies(), lines[at])))
        else:
            return changed_bytes(b"\n".join(lines), random)
    return b"\n".join(lines)


def read_talk(folder: Path, content: bytes) -> None:
    """Ask a process that prints this: each reply is one of the protocol, and the last says what was wrong."""
    (folder / "said").write_bytes(content)
    program = folder / "python"
    # It waits for the order: a process that has ended before it is told as dead, whatever it has printed.
    program.write_text(f"#!/bin/sh\nread order\nexec cat {folder}/said\n", encoding="utf-8")
    program.chmod(0o755)
    with Worker(program, folder / "worker.log", {}) as worker:
        for reply in worker.ask(Burst("b1", 0.1), REPLY_S):
            # It is stored as it is, and must be readable again.
            stored = msgspec.json.encode(reply)
            assert msgspec.json.decode(stored, type=type(reply)) is not None
            assert not _is_huge(msgspec.json.decode(stored))
            if isinstance(reply, Failed):
                check_sentence(reply.failure.message.strip() or "-", cleaned=False)


def _is_huge(value: Any) -> bool:
    rest = [value]
    while rest:
        value = rest.pop()
        if isinstance(value, dict):
            rest += value.values()
        elif isinstance(value, list):
            rest += value
        elif isinstance(value, int) and abs(value) > 2**63:
            return True
    return False


KINDS = (Kind("worker-replies", sound_talks, changed_talk, read_talk),)
