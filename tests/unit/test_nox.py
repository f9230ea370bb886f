"""`nox -s bench` and `nox -s gate` end with the exit code of `bench`."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest


class CommandFailed(Exception):
    """As nox raises it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@pytest.fixture
def noxfile(monkeypatch) -> Any:
    """The file, with a stand-in for nox, which is not installed in the session that runs the tests."""
    given = {"session": lambda *words, **_: words[0] if words else lambda function: function}
    nox = SimpleNamespace(**given, options=SimpleNamespace(), command=SimpleNamespace(CommandFailed=CommandFailed))
    monkeypatch.setitem(sys.modules, "nox", nox)
    spec = importlib.util.spec_from_file_location("noxfile", Path(__file__).parents[2] / "noxfile.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["bench", "gate"])
@pytest.mark.parametrize(
    ("reason", "code"),
    [("Returned code 1", 1), ("Returned code 3", 3), ("Returned code -9", 137), ("Program bench not found", 2)],
)
def test_the_exit_code_of_bench_is_handed_on(noxfile, monkeypatch, name, reason, code):
    def run(*_: str, **__: float) -> None:
        raise CommandFailed(reason)

    monkeypatch.setattr(noxfile, "install", lambda *_: None)
    with pytest.raises(SystemExit) as caught:
        getattr(noxfile, name)(SimpleNamespace(run=run, posargs=[]))
    assert caught.value.code == code


def test_an_installation_that_fails_is_no_regression(noxfile, monkeypatch):
    def install(*_: str) -> None:
        raise CommandFailed("Returned code 1")

    monkeypatch.setattr(noxfile, "install", install)
    with pytest.raises(SystemExit) as caught:
        noxfile.gate(SimpleNamespace(posargs=[]))
    assert caught.value.code == 2
