"""Changes bytes and JSON as damage and malice would; every choice comes from the `Random` that is passed in."""

from __future__ import annotations

import copy
import json
from random import Random
from typing import Any

STRANGE: list[Any] = [
    None, True, False, 0, -1, 1, 2**31, 2**53, 2**63 - 1, 2**63, -(2**63) - 1, 10**40, 0.0, -0.0, -1.5, 1e-320, 1e308,
    float("inf"), float("-inf"), float("nan"), "", " ", "ok", "failed", "\x1b[31m", "::error::x", "[/]", "=1+1",
    "\u202e", "../../etc/passwd", "\ud800", "a/b/c/d", "a" * 5000, "nan", "2026-13-45T99:00:00", "2026-01-01T00:00:00",
    [], [[]], [None], [0], [0] * 50, [1e300, 1e-300], {}, {"": {}}, {"a": 0.0}, {"a": 1e308, "b": -1},
]  # fmt: skip
"""Values of which some code may not think."""


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every container in a JSON value with each of its keys or indexes."""
    found: list[tuple[Any, Any]] = []
    rest = [value]
    while rest:
        container = rest.pop()
        keys = list(container) if isinstance(container, dict) else list(range(len(container)))
        found += [(container, key) for key in keys]
        rest += [container[key] for key in keys if isinstance(container[key], dict | list)]
    return found


def changed_json(value: Any, random: Random) -> Any:
    """The value with one to four changes: a strange value, a key less, a value of another place, a longer list."""
    value = copy.deepcopy(value)
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        every = places(value)
        if not every:
            return value
        container, key = random.choice(every)
        kind = random.randrange(12)
        if kind == 0:
            del container[key]
        elif kind == 1:
            other, other_key = random.choice(every)
            container[key] = copy.deepcopy(other[other_key])
        elif kind == 2 and isinstance(container[key], list):
            container[key] = container[key] * 2
        elif kind == 3 and isinstance(container[key], int | float) and not isinstance(container[key], bool):
            container[key] = container[key] * random.choice((-1, 0, 1000, 1e-9, 1e300))
        elif kind == 4:
            container[key] = copy.deepcopy(random.choice(STRANGE))
        else:
            # Mostly of the same type: another one is refused before any code sees it.
            container[key] = copy.deepcopy(
                random.choice([strange for strange in STRANGE if _alike(strange, container[key])])
            )
    return value


def _alike(strange: Any, value: Any) -> bool:
    """Whether a strange value has the type of another; an optional value may be missing."""
    return strange is None or type(strange) is type(value) or value is None


def text_of(value: Any) -> bytes:
    """JSON, with what JSON has no word for as Python writes it: NaN and Infinity."""
    return json.dumps(value, ensure_ascii=random_ascii(value)).encode("utf-8", "surrogatepass")


def random_ascii(value: Any) -> bool:
    """Whether the text is escaped: half of the values are, always the same."""
    return len(str(value)) % 2 == 0


def changed_bytes(content: bytes, random: Random) -> bytes:
    """The bytes with one to five changes: a bit, a byte, a cut, a piece that is doubled, removed or made of digits."""
    data = bytearray(content)
    for _ in range(random.choice((1, 1, 2, 5))):
        if not data:
            return bytes(data)
        at = random.randrange(len(data))
        length = random.choice((1, 2, 4, 8, 64))
        kind = random.randrange(7)
        if kind == 0:
            data[at] ^= 1 << random.randrange(8)
        elif kind == 1:
            data[at] = random.choice((0, 1, 0x7F, 0x80, 0xFF, 0x22, 0x5B, 0x7B, 0x0A))
        elif kind == 2:
            del data[at:]
        elif kind == 3:
            del data[at : at + length]
        elif kind == 4:
            data[at:at] = data[at : at + length] * random.choice((1, 2, 100))
        elif kind == 5:
            data[at : at + length] = bytes(random.choice((0x00, 0xFF, 0x39)) for _ in range(length))
        else:
            data[at:at] = random.choice((b"\xff\xfe", b"\x00", b"[" * 300, b"9" * 25, b"\n", b'"', b"\x1b[2J"))
    return bytes(data)
