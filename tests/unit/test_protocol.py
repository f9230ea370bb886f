"""The version of the worker's protocol is raised whenever its messages change."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import msgspec

from bench.records import PROTOCOL, Order, Reply

DIGESTS = {1: "c29786a48b9184b1"}
"""By version, the digest of its messages. When a message changes: raise `PROTOCOL`, and add the new version here.

Until a version is released, its digest may be replaced instead: no recorded run speaks it yet.
"""


def without_words(schema: Any) -> Any:
    """The schema without descriptions and titles, which are docstrings and names of classes."""
    if isinstance(schema, dict):
        kept = {key: value for key, value in schema.items() if key != "description" and not is_title(key, value)}
        return {key: without_words(value) for key, value in kept.items()}
    return [without_words(element) for element in schema] if isinstance(schema, list) else schema


def is_title(key: str, value: Any) -> bool:
    return key == "title" and isinstance(value, str)


def digest_of(*messages: Any) -> str:
    schemas, components = msgspec.json.schema_components(messages)
    return hashlib.sha256(json.dumps(without_words([schemas, components]), sort_keys=True).encode()).hexdigest()[:16]


def test_the_digest_of_this_versions_messages_is_on_record():
    found = digest_of(Order, Reply)
    remedy = f"raise PROTOCOL in bench/records/protocol.py, and put {found!r} beside the new version here"
    assert found == DIGESTS[PROTOCOL], f"orders or replies have changed: {remedy}"


class Message(msgspec.Struct, tag="message"):
    """Words."""

    x: int


def test_another_field_or_type_is_another_digest_and_other_words_are_not():
    def other(field: str, kind: type, words: str) -> type:
        return msgspec.defstruct("Message", [(field, kind)], tag="message", namespace={"__doc__": words})

    assert digest_of(other("x", int, "Other words.")) == digest_of(Message)
    assert digest_of(other("y", int, "Words.")) != digest_of(Message)
    assert digest_of(other("x", float, "Words.")) != digest_of(Message)
