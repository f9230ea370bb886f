"""What a kind of input is, and what reading one example may end with."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from unittest import mock

from bench.cli import app
from bench.errors import EXIT_CODES, FAULT, BenchError
from bench.worker.refusal import Refusal

LONGEST_SENTENCE = 100_000
HIDDEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""What reaches no terminal: control characters but tabs and line ends, and bidirectional overrides."""
REPORT = re.compile(r"\S*crash-\S*\.txt")


class SaidNoError(Exception):
    """The command ended with an exit code that says what is wrong."""


@dataclass(frozen=True)
class Kind:
    """One kind of input: sound examples, how they are changed, and the code that reads and uses one."""

    name: str
    sound: Callable[[], Sequence[bytes]]
    change: Callable[[bytes, Random], bytes]
    read: Callable[[Path, bytes], object]
    """Reads the bytes of an example, with an empty folder for it."""
    in_ci: int = 300
    """Examples for each change; fewer where one takes long."""

    def example(self, random: Random) -> bytes:
        """A sound example with some changes; seldom as it is."""
        content = random.choice(self.sound())
        for _ in range(random.choice((1, 1, 1, 1, 2, 3, 0) if random.random() < 0.3 else (1,))):
            content = self.change(content, random)
        return content


def outcome(kind: Kind, content: bytes) -> str:
    """Read an example: `value`, or the error that `bench` or a worker says; any other exception passes."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        try:
            kind.read(Path(folder), content)
        except SaidNoError as ended:
            return str(ended)
        except (BenchError, Refusal) as error:
            # What a worker refuses is cleaned at the border of what is printed.
            check_sentence(str(error), cleaned=isinstance(error, BenchError))
            return type(error).__name__
    return "value"


def check_sentence(sentence: str, *, cleaned: bool = True) -> None:
    """A sentence of its own, without what could harm a terminal."""
    assert sentence.strip()
    assert "Traceback" not in sentence
    assert len(sentence) < LONGEST_SENTENCE
    assert not cleaned or not HIDDEN.search(sentence), repr(sentence[:500])


def chosen(content: bytes) -> Random:
    """Choices of a reader: the same for the same example."""
    return Random(content)


def bench(folder: Path, *words: str, codes: Sequence[int] = (0, 2, 4)) -> str:
    """Run a command line of `bench` in this process; its standard output.

    Raises `SaidNoError` for an exit code that is not 0, and AssertionError for a fault, or for a code not in `codes`.
    """
    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.dict(os.environ, {"BENCH_CACHE_DIR": str(folder / "cache"), "COLUMNS": "160"}),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        # Typer's application of a verb, made once.
        mock.patch.object(app, "build", _built),
        contextlib.chdir(folder),
    ):
        code = app._code_of(list(words))
    said = err.getvalue()
    if code == FAULT:
        reports = [Path(path).read_text(encoding="utf-8") for path in REPORT.findall(said) if Path(path).is_file()]
        raise AssertionError("\n".join([said, *reports]))
    assert code in codes, (code, EXIT_CODES.get(code), said)
    assert not HIDDEN.search(out.getvalue()), repr(HIDDEN.search(out.getvalue()))
    if code:
        check_sentence(said)
        raise SaidNoError(f"exit code {code}")
    return out.getvalue()


_built = functools.cache(app.build)
