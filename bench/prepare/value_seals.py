"""Seals the values of environment variables, so that runs of one cache tell whether a value has changed.

A seal is a keyed digest. The key is in the cache and never in a run, so nobody else can try likely values, such as
numbers of threads, against a published seal.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import re
import secrets
import tempfile
from pathlib import Path

from bench.declare.hidden_values import Seal, unsealed
from bench.prepare.own_runs import FOLDER

FILE = "value-key"
KEY = re.compile(r"[0-9a-f]{64}")


def sealing(cache: Path) -> Seal:
    """What makes `<set KEY:DIGEST>` of a value; `<set>` alone where the cache has no key and cannot be written."""
    key = _read(cache / FOLDER / FILE) or _made(cache / FOLDER / FILE)
    if key is None:
        return unsealed

    def seal(variable: str, value: str) -> str:
        # With the name: two variables of one value are not seen to be equal.
        return f"<set {_digest(key, b'')[:8]}:{_digest(key, f'{variable}={value}'.encode())[:16]}>" if value else ""

    return seal


def _digest(key: bytes, text: bytes) -> str:
    return hmac.new(key, text, hashlib.sha256).hexdigest()


def _read(path: Path) -> bytes | None:
    try:
        text = path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return None
    return bytes.fromhex(text) if KEY.fullmatch(text) else None


def _made(path: Path) -> bytes | None:
    """A new key, or that of another process which was faster; None where it cannot be written."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        # A temporary file is readable by its owner alone, and so is the key.
        handle, aside = tempfile.mkstemp(dir=path.parent, prefix=f".{FILE}-")
        try:
            with os.fdopen(handle, "w", encoding="ascii") as file:
                file.write(secrets.token_hex(32))
            if path.exists() and _read(path) is None:
                path.unlink()  # damaged
            # A link is made by one process only; the others read its key.
            with contextlib.suppress(FileExistsError):
                os.link(aside, path)
        finally:
            Path(aside).unlink(missing_ok=True)
    return _read(path)
