"""Chooses the environment variables that a worker process gets: a list of what libraries need, and never a secret.

Workers run the code of packages and read the files of strangers. Both could use a token in their environment.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from bench.declare import registry
from bench.declare.targets import Target

PASSED_VARIABLE = "BENCH_PASS_ENVIRONMENT"
"""A variable of the user: further names for every worker, separated by commas; `NAME_*` for all that begin so."""
LISTS = Path(__file__).with_name("worker_environment.toml")
SECRET = re.compile(r"(TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL|APIKEY|KEY|AUTH)S?(?![A-Z])", re.IGNORECASE)
"""Names of secrets, such as `HF_TOKEN` and `AWS_SECRET_ACCESS_KEY`; `TOKENIZERS_PARALLELISM` is none."""
USER_IN_ADDRESS = re.compile(r"^([a-z0-9+.-]+://)?[^/@]*@", re.IGNORECASE)


def inherited(environment: Mapping[str, str], named: Iterable[str] = ()) -> dict[str, str]:
    """The variables of `environment` that a worker gets: those of the list, and `named` whatever their names are.

    `named` are those that the matrix of the user asks for, such as the key of a server.
    """
    proxies, needed = _lists()
    asked = [*named, *environment.get(PASSED_VARIABLE, "").split(",")]
    passed = {}
    for name, value in environment.items():
        plain = name.upper()
        # Settings of Python are those of the orchestrator's interpreter, whoever asks for them.
        if plain.startswith("PYTHON") or plain == "VIRTUAL_ENV":
            continue
        if _matches(name, asked):
            passed[name] = value
        elif _matches(plain, proxies):
            passed[name] = USER_IN_ADDRESS.sub(r"\1", value)
        elif _matches(plain, needed) and not SECRET.search(plain):
            passed[name] = USER_IN_ADDRESS.sub(r"\1", value) if "://" in value else value
    return passed


def named_by(target: Target) -> tuple[str, ...]:
    """The variables of the user that the options of a target name, such as that with the key of a server."""
    engine = registry.engines().get(target.engine)
    options = (target.options.get(option) for option in (engine.variables if engine else ()))
    return tuple(str(name) for name in options if name)


def of_user(named: Iterable[str] = ()) -> dict[str, str]:
    """`inherited` from the environment of this process."""
    return inherited(os.environ, named)


def _matches(name: str, patterns: Iterable[str]) -> bool:
    words = (pattern.strip() for pattern in patterns)
    return any(name == word or (word.endswith("*") and name.startswith(word[:-1])) for word in words)


@cache
def _lists() -> tuple[list[str], list[str]]:
    """The names of proxies, and all other names of the list."""
    lists: dict[str, list[str]] = tomllib.loads(LISTS.read_text(encoding="utf-8"))
    return lists.pop("proxies"), [name for names in lists.values() for name in names]
