"""Changes bytes and JSON as damage and malice would; every choice comes from the `Random` that is passed in."""

from __future__ import annotations

import copy
import json
import math
import re
from random import Random
from typing import Any

STRANGE: list[Any] = [
    None, True, False, 0, -1, 1, 2**31, 2**53, 2**63 - 1, 2**63, -(2**63) - 1, 10**40, 0.0, -0.0, -1.5, 1e-320, 1e308,
    float("inf"), float("-inf"), float("nan"), "", " ", "ok", "failed", "\x1b[31m", "::error::x", "[/]", "=1+1",
    "\u202e", "../../etc/passwd", "\ud800", "a/b/c/d", "a" * 5000, "nan", "2026-13-45T99:00:00",
    "2026-01-01T00:00:00", [], [[]], [None], [0], [0] * 50, [1e300, 1e-300], {}, {"": {}}, {"a": 0.0},
    {"a": 1e308, "b": -1},
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
        held, kind = container[key], random.random()
        if kind < 0.04:
            del container[key]
        elif kind < 0.08:
            container[key] = copy.deepcopy(random.choice(STRANGE))
        elif kind < 0.24:
            # Mostly of the same type: another one is refused before any code sees it.
            alike = [each for where, name in every if type(each := where[name]) is type(held)]
            container[key] = copy.deepcopy(random.choice(alike))
        elif kind < 0.32 and isinstance(held, list):
            container[key] = random.choice((held * 2, held[:1], held[::-1], held * 50 if len(held) < 100 else held))
        elif kind < 0.5 and isinstance(held, int | float) and not isinstance(held, bool):
            changed = held * random.choice((-1, 0, 1000, 1e-9, 1e12, 1 + 1e-9))
            container[key] = type(held)(changed) if abs(changed) < 2**62 else changed
        else:
            container[key] = copy.deepcopy(_strange(held, random))
    return value


def _strange(value: Any, random: Random) -> Any:
    """A strange value of the same type; seldom one that no file of ours may hold, which is refused at once."""
    if value is None:
        return random.choice(STRANGE)
    alike = [strange for strange in STRANGE if type(strange) is type(value)]
    readable = [strange for strange in alike if not _is_refused(strange)]
    return random.choice(readable if readable and random.random() < 0.9 else [*alike, None])


def _is_refused(value: Any) -> bool:
    if isinstance(value, float):
        return not math.isfinite(value)
    return value == "\ud800" or (isinstance(value, int) and not -(2**63) <= value < 2**63)


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
        if random.random() < 0.02:
            # Brackets without an end, where a value of JSON stands.
            places = [place for place, byte in enumerate(data) if byte == 0x3A]
            at = random.choice(places or [at]) + 1
            data[at:at] = b"[" * 100_000
        elif kind == 0:
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


WORD = re.compile(rb'"[^"\n]*"|[\w.+-]+|[\[\]{}=,:;]')
WORDS = (
    b'"', b'""', b'"\x1b[31m"', b"nan", b"-inf", b"1e400", b"true", b"[[]]", b"{}", b"9" * 25, b"9" * 5000, b"0x",
    b"-1", b"2026-01-01", b'"' + b"x" * 5000 + b'"', b'"../../x"', b'"::error::x"', "\u202e".encode(), b"\xff\xfe",
    b"\0", b"\r", b"01", b"1_0", b"'''", b'"""', b"#", b"=", b"[" * 2000, b"a.b.c.d.e", b'"\\ud800"', b'"\\u0000"',
)  # fmt: skip
"""What some reader of text may not expect in place of a word."""


def changed_words(content: bytes, random: Random) -> bytes:
    """A text with one to four changes: a word of another kind or of another place, a line less, twice or elsewhere."""
    for _ in range(random.choice((1, 1, 2, 4))):
        if random.random() < 0.3:
            lines = content.split(b"\n")
            at, to = random.randrange(len(lines)), random.randrange(len(lines))
            line = lines[at] if random.random() < 0.5 else lines.pop(at)
            if random.random() < 0.7:
                lines.insert(to, line)
            content = b"\n".join(lines)
            continue
        found = list(WORD.finditer(content))
        if not found:
            return changed_bytes(content, random)
        word = random.choice(found)
        new = random.choice(WORDS) if random.random() < 0.6 else random.choice(found)[0]
        content = content[: word.start()] + new + content[word.end() :]
    return content


# --- Protobuf ---------------------------------------------------------------------------------------------------------

Field = tuple[int, int, "int | bytes | list[Any]"]
NUMBERS = (0, 1, 2, 7, 8, 127, 128, 2**31 - 1, 2**31, 2**32, 2**40, 2**62, 2**63 - 1, 2**63, 2**64 - 1)
DEEPEST = 12


def changed_message(content: bytes, random: Random) -> bytes:
    """A Protobuf message with one to four changes of its fields; lengths fit mostly, and some lie."""
    message = _message(content, 0)
    if message is None:
        return changed_bytes(content, random)
    for _ in range(random.choice((1, 1, 2, 4))):
        _change_field(message, random)
    return _encoded(message, random, lies=random.random() < 0.3)


def _message(content: bytes, depth: int) -> list[Any] | None:
    """The fields of a message; None for bytes that are none."""
    fields: list[Any] = []
    at = 0
    try:
        while at < len(content):
            key, at = _varint(content, at)
            number, wire = divmod(key, 8)
            if not 0 < number < 64 or wire not in (0, 2):
                return None
            value, at = _varint(content, at)
            if wire == 2:
                if at + value > len(content):
                    return None
                inner = content[at : at + value]
                at += value
                nested = _message(inner, depth + 1) if inner and depth < DEEPEST else None
                fields.append([number, wire, inner if nested is None else nested])
            else:
                fields.append([number, wire, value])
    except IndexError:
        return None
    return fields


def _varint(content: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = content[at]
        value, shift, at = value | (byte & 0x7F) << shift, shift + 7, at + 1
        if byte < 0x80:
            return value, at


def _change_field(message: list[Any], random: Random) -> None:
    """Change one field of the message or of one that is nested in it."""
    every = [message]
    for inner in every:
        every += [value for _, _, value in inner if isinstance(value, list)]
    where = random.choice([inner for inner in every if inner] or [message])
    if not where:
        where.append([random.randrange(1, 30), 0, random.choice(NUMBERS)])
        return
    field = random.choice(where)
    kind = random.randrange(8)
    if kind == 0:
        where.remove(field)
    elif kind == 1:
        where.extend(copy.deepcopy([field]) * random.choice((1, 1, 50)))
    elif kind == 2:
        field[0] = random.choice((1, 2, 3, 5, 7, 8, 11, 12, 20, 25, 26, 63))
    elif kind == 3:
        other = random.choice(every)
        other.append(copy.deepcopy(field))
    elif isinstance(field[2], list):
        # The same message within itself, many times.
        for _ in range(random.choice((1, 1, 5, 40))):
            field[2] = [*copy.deepcopy(field[2][:2]), [field[0], 2, field[2]]]
    elif isinstance(field[2], bytes):
        field[2] = (
            changed_bytes(field[2], random) if kind < 6 else random.choice((b"", b"\xff\xfe", b"../x", b"a" * 5000))
        )
    else:
        field[2] = random.choice(NUMBERS)


def _encoded(message: list[Any], random: Random, *, lies: bool) -> bytes:
    out = bytearray()
    for number, wire, value in message:
        out += _as_varint(number << 3 | wire)
        if wire == 0 and isinstance(value, int):
            out += _as_varint(value)
            continue
        inner = _encoded(value, random, lies=lies) if isinstance(value, list) else bytes(value)
        length = (
            random.choice((len(inner) + 1, 2**31, 2**40, 2**62, 2**64 - 1))
            if lies and random.random() < 0.1
            else len(inner)
        )
        out += _as_varint(length) + inner
    return bytes(out)


def _as_varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
