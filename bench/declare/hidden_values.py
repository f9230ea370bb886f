"""Writes the text of a matrix without the values of environment variables, and puts them back where a run goes on.

A run stores its matrix, and runs are published. A value may be a secret, so none is stored.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from msgspec.structs import replace

from bench.declare.matrix import Matrix
from bench.errors import MatrixError
from bench.shared.hidden import SET, as_set

TOKEN = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}' r"|'''.*?'{3,5}" r'|"(?:[^"\\\n]|\\.)*"' r"|'[^'\n]*'" r"|#[^\n]*",
    re.DOTALL,
)
"""A text or a comment of TOML."""
KEY = re.compile(r"""([A-Za-z_]\w*)["']?[ \t]*=[ \t]*$""")
"""The end of what stands before a value, with the last part of its key."""
IN_COMMENT = re.compile(r"""(\w*(?:TOKEN|SECRET|PASS|KEY)\w*["']?\s*=\s*)("[^"]*"|'[^']*')""", re.IGNORECASE)
SHORTEST = 6
"""A shorter value may be part of another word of a comment."""


def hidden(text: str) -> str:
    """The text of a matrix with `<set>` for each value in `environment`; the rest means the same.

    Layout and comments stay, unless a value could be left in them: then the text is written anew without either.
    """
    data = tomllib.loads(text.removeprefix("\ufeff"))
    values = set(_values(data))
    expected = _without(data)
    shown = TOKEN.sub(lambda match: _token(match, text, values), text)
    if _read(shown) == expected and not any(value in shown for _, value in values if _is_telling(value, expected)):
        return shown
    return "".join(_tables(expected))


def variables(matrix: Matrix) -> dict[str, str]:
    """The environment variables that the matrix gives to its targets."""
    return {name: value for target in matrix.targets.values() for name, value in _given(target.provider).items()}


def restored(
    matrix: Matrix, current: Matrix | None, environment: Mapping[str, str], targets: Collection[str]
) -> Matrix:
    """A stored matrix with the values of today's matrix, else of this process, for the variables of some targets.

    Raises `MatrixError` for a variable that neither has.
    """
    changed = dict(matrix.targets)
    for name, target in matrix.targets.items():
        if target.provider is None or SET not in target.provider.environment.values():
            continue
        now = _given(current.targets[name].provider) if current and name in current.targets else {}
        values: dict[str, str] = {}
        for variable, value in target.provider.environment.items():
            if value != SET:
                values[variable] = value
            elif found := now.get(variable) or environment.get(variable):
                values[variable] = found
            elif name in targets:
                message = f"{variable} of providers.{name}.environment is not stored in the run"
                raise MatrixError(message, f"set the variable {variable}, or keep the matrix at {matrix.place}")
        changed[name] = replace(target, provider=replace(target.provider, environment=values))
    return replace(matrix, targets=changed)


def _given(provider: Any) -> dict[str, str]:
    return {name: value for name, value in provider.environment.items() if value not in ("", SET)} if provider else {}


def _values(data: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Each variable with its value."""
    for table in _providers(data).values():
        environment = table.get("environment") if isinstance(table, dict) else None
        if isinstance(environment, dict):
            yield from ((name, value) for name, value in environment.items() if isinstance(value, str) and value)


def _providers(data: Mapping[str, Any]) -> Mapping[str, Any]:
    providers = data.get("providers")
    return providers if isinstance(providers, dict) else {}


def _without(data: dict[str, Any]) -> dict[str, Any]:
    """The tables with `<set>` for each value of a variable."""
    shown = dict(data)
    if providers := _providers(data):
        shown["providers"] = {name: _provider_without(table) for name, table in providers.items()}
    return shown


def _provider_without(table: Any) -> Any:
    if not isinstance(table, dict) or not isinstance(table.get("environment"), dict):
        return table
    environment = {
        name: as_set(value) if isinstance(value, str) else value for name, value in table["environment"].items()
    }
    return {**table, "environment": environment}


def _token(match: re.Match[str], text: str, values: set[tuple[str, str]]) -> str:
    token = match[0]
    if token.startswith("#"):
        for _, value in values:
            token = token.replace(value, SET) if len(value) >= SHORTEST else token
        return IN_COMMENT.sub(rf'\1"{SET}"', token)
    key = KEY.search(text, max(0, match.start() - 200), match.start())
    if key is None:
        return token
    try:
        value = tomllib.loads(f"x = {token}")["x"]
    except tomllib.TOMLDecodeError:
        return token
    return f'"{SET}"' if (key[1], value) in values else token


def _is_telling(value: str, expected: Mapping[str, Any]) -> bool:
    """Whether a value can be looked for: a short one, or one of another key, is met anyway."""
    return len(value) >= SHORTEST and value not in json.dumps(expected, default=str, ensure_ascii=False)


def _read(text: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(text.removeprefix("\ufeff"))
    except tomllib.TOMLDecodeError:
        return None


def _tables(data: Mapping[str, Any]) -> Iterator[str]:
    """The tables as TOML: a line for each key of the top, with everything below it inline."""
    for key, value in data.items():
        yield f"{_toml(key)} = {_value(value)}\n"


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_toml(key)} = {_value(each)}" for key, each in value.items()) + " }"
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    return _toml(value) if isinstance(value, str) else str(value)


def _toml(text: str) -> str:
    # JSON's escapes are TOML's too, but for DEL, which JSON leaves as it is.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
