"""Records of the cache: the disk may damage them, and whoever shares a cache may write them."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from random import Random

import msgspec

from bench.declare import registry
from bench.prepare import artifacts, code_digest, environments, own_runs, probe_memory
from bench.records import ArtifactRecord, RuntimeRecord, TargetFacts, note

from .changes import changed_bytes, changed_json, text_of
from .kind import Kind, bench, chosen

PLACES = (
    f"artifacts/{'a' * 24}/{artifacts.MANIFEST}",
    f"runtimes/ort-{'b' * 12}/{environments.RECORD}",
    "sources/wheels/tiny-model/resolved.json",
    f"{probe_memory.FOLDER}/{'c' * 24}.json",
    f"{own_runs.FOLDER}/{'d' * 32}.json",
    registry.MEMORY,
    "code.json",
)
"""Where each record is; an example begins with a byte that tells which it is."""


@cache
def sound_records() -> list[bytes]:
    """A record of each place, as it is written."""
    facts = TargetFacts(
        available=True, device=None, versions={"onnxruntime": "1.31.1"}, notes=(note("server-settings"),)
    )
    artifact = ArtifactRecord(
        "a" * 24, "reference", {"model": "m"}, {"x": "0" * 64}, 4, 1.5, "2026-01-01T00:00:00+00:00"
    )
    wheels = {"": {"version": "1.0", "file": "x.whl", "sha256": "0" * 64}}
    records = (
        msgspec.json.encode(artifact),
        msgspec.json.encode(RuntimeRecord("ort", ("onnxruntime==1.31.1",), "3.11.7", {"numpy": "2.0"}, "b" * 12)),
        text_of(wheels),
        msgspec.json.encode(facts),
        text_of(["0" * 64]),
        text_of({"reader": "0" * 64, "values": {"0" * 64: {"a": 1}}}),
        text_of({"bench/x.py": "0" * 64}),
    )
    return [bytes([place]) + record for place, record in enumerate(records)]


def changed_record(content: bytes, random: Random) -> bytes:
    """A record that is changed as JSON, else as bytes; its place stays."""
    kind, rest = content[:1], content[1:]
    if random.random() < 0.25:
        return kind + changed_bytes(rest, random)
    try:
        return kind + text_of(changed_json(json.loads(rest), random))
    except (ValueError, RecursionError):
        return kind + changed_bytes(rest, random)


def read_record(folder: Path, content: bytes) -> None:
    """List a cache with such a record, and check it; what is damaged is said."""
    path = folder / "cache" / PLACES[content[0] % len(PLACES) if content else 0]
    path.parent.mkdir(parents=True)
    path.write_bytes(content[1:])
    random = chosen(content)
    if path.parent.name == "tiny-model":
        (path.parent / "x.whl").write_bytes(b"PK")
    words = random.choice((("list",), ("verify",), ("list", "--json"), ("verify", "--json")))
    bench(folder, "cache", *words, "--cache-dir", str(folder / "cache"))
    # What uses it takes it for what it is, or makes it again.
    if path.name == "code.json":
        code_digest.digest([Path(__file__)])


KINDS = (Kind("cache", sound_records, changed_record, read_record, in_ci=100),)
