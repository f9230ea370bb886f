"""Takes what is private out of what is recorded: folders, the names of user and host, and the values of secrets.

Records pass `scrubbed` when they are stored, and logs `clean_log` when their worker has ended.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import getpass
import json
import os
import platform
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, unquote

import msgspec
from msgspec.structs import replace

from bench.errors import DiskError
from bench.files import write_atomically
from bench.foreign_text import json_text, lines
from bench.records import CaseSuite, Cell, Machine, Provider, Transcript
from bench.shared.hidden import SECRET_NAME, as_set, without_credentials

T = TypeVar("T")

ANYBODY = {
    *("root", "user", "users", "admin", "administrator", "runner", "runneradmin", "ubuntu", "debian", "docker"),
    *("nobody", "vscode", "jovyan", "ec2-user", "azureuser", "codespace", "guest", "test", "build", "ci"),
    *("localhost", "host", "home", "default", "local", "none", "unknown", "vm", "python", "bench"),
}
"""Names of users and hosts that tell nothing, and that messages use as words."""
SHORTEST_NAME, SHORTEST_SECRET = 3, 6
IDENTIFIERS = {
    *("cell", "case", "name", "target", "runtime_name", "workload", "base", "key", "code"),
    *("matrix_text", "matrix_path", "command"),
}
"""Fields whose texts are what the user typed, or what other records and commands refer to."""
AS_THEY_ARE = (Cell, Machine, Transcript, CaseSuite)
"""Records of what the user typed, of the machine (which holds no names), of answers, and of ONNX's own tests."""
CHUNK_BYTES = 2**20
SHORTEST_CUT = 150
"""A text of fewer characters was not cut: libraries and workers keep more."""
CUTS = (" …", "…", "...")
WITH_PASSWORD = re.compile(r"://([^\s/:@]*):?([^\s/@]*)@")


class _Known:
    """The folders, the secrets and the words of the runs of this process; another run only adds to them."""

    # One for the process: a message of any thread may name any of them, and records are stored far below `pipeline`.
    folders: tuple[tuple[str, str], ...] = ()
    secrets: tuple[tuple[str, str], ...] = ()
    typed: frozenset[str] = frozenset()


def know(folders: Mapping[str, Path], typed: str = "", secrets: Mapping[str, str] | None = None) -> None:
    """Name folders that stand in records by these names, `CACHE`, and secrets; words of `typed` are never taken out.

    `typed` is the text of the matrix: a user `bert` keeps a model `bert`.
    """
    named = {path: name for name, folder in folders.items() for path in _forms(folder)}
    _Known.folders = tuple((dict(_Known.folders) | named).items())
    hidden = {value: name for name, value in (secrets or {}).items() if _is_secret(name, value) or _is_random(value)}
    _Known.secrets = tuple((dict(_Known.secrets) | hidden).items())
    _Known.typed |= frozenset(re.findall(r"[\w-]+", typed.lower()) + re.findall(r"[a-z0-9]+", typed.lower()))


def scrub(text: str) -> str:
    """The text without secrets, with `~`, `CACHE`, `MATRIX`, `RUN` for folders, and `USER` and `HOST` for their names.

    A folder of another user or machine stays: only what this process can know is taken out.
    """
    return _scrubber()(text)


def scrubbed(record: T) -> T:
    """The record with every text scrubbed that is not an identifier, and environment variables as set or not set."""
    return _walked(record, _scrubber())  # type: ignore[no-any-return]


def stored(record: object) -> bytes:
    """The record as JSON on one line, as it may be published."""
    return json_text(msgspec.json.encode(scrubbed(record)).decode()).encode()


def clean_log(log: Path, start: int = 0) -> None:
    """Scrub a log from a position on, and remove its control characters; it is replaced whole or not at all.

    No process may write to it any more. A log that cannot be written, or is a link, stays as it is.
    """
    # A full disk must not end a run for the sake of its log.
    with contextlib.suppress(OSError, DiskError):
        if log.is_symlink() or not log.is_file() or log.stat().st_size <= start:
            return
        with log.open("rb") as file:
            head = file.read(start)
            # Up to the end of now: a process that its worker left behind may still write.
            content = file.read(max(0, log.stat().st_size - start))
        clean = b"".join(_clean_lines(content))
        if clean != content:
            write_atomically(log, head + clean)


def clean_logs(folder: Path) -> None:
    """Clean every log of a folder: those of workers that a killed run left are still as libraries wrote them."""
    for log in sorted(folder.glob("*.log")):
        clean_log(log)


def _clean_lines(content: bytes) -> Iterator[bytes]:
    scrubber = _scrubber()
    for line in content.splitlines(keepends=True):
        for at in range(0, len(line), CHUNK_BYTES):
            text = line[at : at + CHUNK_BYTES].decode("utf-8", "backslashreplace")
            yield scrubber(lines(text)).encode()


def _walked(value: Any, scrubber: Any) -> Any:
    """The same object where nothing in it changes, so that thousands of numbers are not copied."""
    if isinstance(value, str):
        return scrubber(value)
    if isinstance(value, AS_THEY_ARE):
        return value
    if isinstance(value, msgspec.Struct):
        fields = {name: getattr(value, name) for name in value.__struct_fields__ if name not in IDENTIFIERS}
        if isinstance(value, Provider):
            fields["environment"] = {name: as_set(given) for name, given in value.environment.items()}
        changes = {name: new for name, old in fields.items() if (new := _walked(old, scrubber)) != getattr(value, name)}
        return replace(value, **changes) if changes else value
    if isinstance(value, dict):
        return {key: _walked(each, scrubber) for key, each in value.items()}
    # Raw nanoseconds: the elements of a tuple have one type.
    if isinstance(value, tuple) and value and not isinstance(value[0], (int, float)):
        return tuple(_walked(each, scrubber) for each in value)
    return value


class _Scrubber:
    def __init__(
        self, words: Mapping[str, str], patterns: Iterable[tuple[str, str]], folders: Iterable[tuple[str, str]] = ()
    ) -> None:
        parts = [(re.escape(word), by) for word, by in words.items()] + list(patterns)
        self.replacements = [by for _, by in parts]
        alternatives = "|".join(f"({part})" for part, _ in parts)
        flags = re.IGNORECASE if os.name == "nt" else 0
        self.pattern = re.compile(alternatives or r"(?!)", flags)
        # What is left of a word at an end of a text: a few letters of a secret, and a folder beyond its parent.
        self.parts = [(word, SHORTEST_SECRET, by) for word, by in words.items() if len(word) > SHORTEST_SECRET]
        self.parts += [(path, max(map(path.rfind, "/\\")) + 2, by) for path, by in folders]

    def __call__(self, text: str) -> str:
        shown = self.pattern.sub(lambda match: self.replacements[(match.lastindex or 1) - 1], text)
        if len(text) >= SHORTEST_CUT:
            shown = self._without_parts(shown)
        return without_credentials(shown)

    def _without_parts(self, text: str) -> str:
        """The text without the part of a word that was left where it was cut at its end or at its start."""
        cut = next((mark for mark in CUTS if text.endswith(mark)), "")
        text = text.removesuffix(cut)
        for word, least, by in self.parts:
            for length in range(min(len(word), len(text)) - 1, least - 1, -1):
                if text.endswith(word[:length]):
                    text = text[:-length] + by
                    break
            for length in range(min(len(word), len(text)) - 1, SHORTEST_SECRET - 1, -1):
                if text.startswith(word[-length:]):
                    text = by + text[length:]
                    break
        return text + cut


def _scrubber() -> _Scrubber:
    # Computed each time, since tests and programs change the environment.
    secrets = {value: name for name, value in os.environ.items() if _is_secret(name, value)}
    secrets |= dict(_passwords(os.environ))
    home = os.path.expanduser("~")  # noqa: PTH111 - Path.home() raises where there is none
    return _made(
        (*_temporary(), *_Known.folders, *((form, "~") for form in sorted(_forms(Path(home))))),
        (*_Known.secrets, *sorted(secrets.items())),
        tuple(sorted(_names())),
    )


@functools.lru_cache(maxsize=8)
def _made(
    folders: tuple[tuple[str, str], ...], secrets: tuple[tuple[str, str], ...], names: tuple[tuple[str, str], ...]
) -> _Scrubber:
    # Line by line, since a log is: a private key has many.
    parts = [(part, name) for value, name in secrets for part in value.splitlines() if len(part) >= SHORTEST_SECRET]
    words = {part: f"${name}" for part, name in sorted(parts, key=lambda item: -len(item[0]))}
    # The longest first: the cache is mostly below the home.
    folders = tuple(sorted(folders, key=lambda item: -len(item[0])))
    patterns = [(_folder(path), by) for path, by in folders]
    patterns += [(rf"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])", by) for name, by in names]
    deep = [(path, by) for path, by in folders if len(re.findall(r"[\\/]+", path)) > 1]
    return _Scrubber(words, patterns, deep)


def _folder(path: str) -> str:
    # `fp32/root/b1` is no path: a folder of one part must begin where a word does not go on.
    start = "" if len(re.findall(r"[\\/]+", path)) > 1 else r"(?<![\w.~])"
    return rf"{start}{re.escape(path)}(?![\w-]|\.\w)"


def _forms(folder: Path) -> set[str]:
    """How a folder is written: as given, without links, as in an address, and in JSON and Python; never `/`."""
    forms: set[str] = set()
    with contextlib.suppress(OSError, RuntimeError):
        for path in (folder.expanduser().absolute(), folder.expanduser().resolve()):
            if path != Path(path.anchor):
                text = str(path)
                forms |= {text, path.as_posix(), text.replace("\\", "\\\\"), quote(path.as_posix())}
                # `caf\\u00e9`, and `caf\\xc3\\xa9` of bytes.
                forms |= {json.dumps(text)[1:-1], ascii(text)[1:-1], repr(os.fsencode(path))[2:-1]}
    return forms


def _temporary() -> Iterator[tuple[str, str]]:
    """The folder of temporary files, where it is not that of every system."""
    # Read here: `tempfile` makes a file to find it.
    for name in ("TMPDIR", "TEMP", "TMP"):
        given = os.environ.get(name, "")
        # `/tmp` is everybody's.
        if len(Path(given).parts) > 2:
            yield from ((form, "TMP") for form in sorted(_forms(Path(given))))


def _passwords(environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Passwords and tokens in the addresses of variables, such as that of an index, also as a request carries them."""
    for name, value in environment.items():
        for user, password in WITH_PASSWORD.findall(value) if "@" in value else ():
            encoded = base64.b64encode(f"{unquote(user)}:{unquote(password)}".encode()).decode()
            secrets = (password, unquote(password), encoded) if password else (user,) if _is_random(user) else ()
            yield from ((each, name) for each in secrets if len(each) >= SHORTEST_SECRET)


def _names() -> set[tuple[str, str]]:
    """The names of the user and the host with what stands for them."""
    user = ""
    # The password database may not know the user of a container.
    with contextlib.suppress(OSError, KeyError, ImportError):
        user = getpass.getuser()
    host = platform.node()
    home = Path(os.path.expanduser("~")).name  # noqa: PTH111 - see above
    named = [(user, "USER"), (home, "USER"), (host, "HOST"), (host.partition(".")[0], "HOST")]
    return {
        (name, by)
        for name, by in named
        if len(name) >= SHORTEST_NAME and not name.isdigit() and name.lower() not in ANYBODY | _Known.typed
    }


def _is_secret(name: str, value: str) -> bool:
    if len(value) < SHORTEST_SECRET or value.isdigit():
        return False
    return bool(SECRET_NAME.search(name))


def _is_random(value: str) -> bool:
    """Whether a value looks like a password, and not like a word or a path that messages may hold."""
    return (
        len(value) >= 12 and "/" not in value and bool(re.search(r"\d", value)) and bool(re.search("[a-zA-Z]", value))
    )
