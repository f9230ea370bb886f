"""Writes the text of a matrix without values of environment variables and passwords in addresses, and restores them.

A run stores its matrix, and runs are published. A value may be a secret, so none is stored.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from msgspec.structs import replace

from bench.declare.matrix import Matrix
from bench.declare.targets import Runtime, Target, with_bases
from bench.errors import MatrixError
from bench.shared.hidden import (
    SECRET_NAME,
    SET,
    are_other_values,
    as_set,
    is_hidden,
    lacks_credentials,
    without_credentials,
)

Seal = Callable[[str, str], str]
"""`(variable, value)`: what is stored in place of the value, `<set>` with or without a seal."""

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


def unsealed(variable: str, value: str) -> str:
    """`<set>`, which tells nothing about the value."""
    return as_set(value)


def hidden(text: str, seal: Seal = unsealed) -> str:
    """The text of a matrix with `<set>` for each value in `environment`, and no password in an address.

    The rest means the same. Layout and comments stay, unless a value could be left in them: then the text is written
    anew without either.
    """
    data = tomllib.loads(text.removeprefix("\ufeff"))
    # Of a matrix that was stored before: what is hidden stays as it is.
    values = {(name, value): seal(name, value) for name, value in _values(data) if not is_hidden(value)}
    expected = _without(data, values)
    shown = without_credentials(TOKEN.sub(lambda match: _token(match, text, values), text))
    if _read(shown) == expected and not any(value in shown for _, value in values if _is_telling(value, expected)):
        return shown
    return "".join(_tables(expected))


def variables(matrix: Matrix) -> dict[str, str]:
    """The environment variables that the matrix gives to its targets, whose values are known."""
    return {name: value for target in matrix.targets.values() for name, value in _given(target.provider).items()}


def restored(
    matrix: Matrix,
    current: Matrix | None,
    environment: Mapping[str, str],
    targets: Collection[str],
    seal: Seal = unsealed,
) -> Matrix:
    """A stored matrix with the values of today's matrix, else of this process, for the variables of some targets.

    Passwords in addresses are those of today's matrix. Raises `MatrixError` for a variable that neither has, and for
    one that is known to have another value now, unless it is called like a secret.
    """
    changed = dict(matrix.targets)
    for name, target in matrix.targets.items():
        if target.provider is None or not any(map(is_hidden, target.provider.environment.values())):
            continue
        now = _given(current.targets[name].provider) if current and name in current.targets else {}
        values: dict[str, str] = {}
        for variable, value in target.provider.environment.items():
            if not is_hidden(value):
                values[variable] = value
                continue
            known = [each for each in (now.get(variable), environment.get(variable)) if each]
            fitting = [each for each in known if not are_other_values(value, seal(variable, each))]
            # Secrets are renewed, and nobody measures them.
            if chosen := fitting or (known if SECRET_NAME.search(variable) else []):
                values[variable] = chosen[0]
            elif name in targets:
                raise _lost(matrix, name, variable, has_other=bool(known))
        changed[name] = replace(target, provider=replace(target.provider, environment=values))
    runtimes = {name: _with_credentials(runtime, current) for name, runtime in matrix.runtimes.items()}
    return replace(matrix, targets=changed, runtimes=with_bases(runtimes))


def _lost(matrix: Matrix, target: str, variable: str, *, has_other: bool) -> MatrixError:
    place = f"{variable} of providers.{target}.environment"
    if has_other:
        message = f"{place} has another value now than when the run was measured"
        return MatrixError(message, "set the value of then, or start a new run")
    message = f"{place} is not stored in the run"
    return MatrixError(message, f"set the variable {variable}, or keep the matrix at {matrix.place}")


def _with_credentials(runtime: Runtime, current: Matrix | None) -> Runtime:
    """The runtime with the addresses of today's matrix that differ in their user and password alone."""
    if not any(map(lacks_credentials, runtime.requires)):
        return runtime
    now = current.runtimes.get(runtime.name) if current else None
    typed = {without_credentials(requirement): requirement for requirement in (now.requires if now else ())}
    return replace(runtime, requires=tuple(typed.get(requirement, requirement) for requirement in runtime.requires))


def hidden_of(target: Target) -> tuple[str, ...]:
    """The variables of a stored target whose values are hidden."""
    environment = target.provider.environment if target.provider else {}
    return tuple(name for name, value in environment.items() if is_hidden(value))


def _given(provider: Any) -> dict[str, str]:
    environment = provider.environment if provider else {}
    return {name: value for name, value in environment.items() if value and not is_hidden(value)}


def _values(data: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Each variable with its value."""
    for table in _providers(data).values():
        environment = table.get("environment") if isinstance(table, dict) else None
        if isinstance(environment, dict):
            yield from ((name, value) for name, value in environment.items() if isinstance(value, str) and value)


def _providers(data: Mapping[str, Any]) -> Mapping[str, Any]:
    providers = data.get("providers")
    return providers if isinstance(providers, dict) else {}


def _without(data: dict[str, Any], values: Mapping[tuple[str, str], str]) -> dict[str, Any]:
    """The tables with what stands for each value of a variable, and without passwords in addresses."""
    shown = dict(data)
    if providers := _providers(data):
        shown["providers"] = {name: _provider_without(table, values) for name, table in providers.items()}
    return {key: _without_credentials(value) for key, value in shown.items()}


def _without_credentials(value: Any) -> Any:
    if isinstance(value, str):
        return without_credentials(value)
    if isinstance(value, dict):
        return {without_credentials(key): _without_credentials(each) for key, each in value.items()}
    return list(map(_without_credentials, value)) if isinstance(value, list) else value


def _provider_without(table: Any, values: Mapping[tuple[str, str], str]) -> Any:
    if not isinstance(table, dict) or not isinstance(table.get("environment"), dict):
        return table
    environment = {
        name: values.get((name, value), value) if isinstance(value, str) else value
        for name, value in table["environment"].items()
    }
    return {**table, "environment": environment}


def _token(match: re.Match[str], text: str, values: Mapping[tuple[str, str], str]) -> str:
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
    return f'"{values[key[1], value]}"' if (key[1], value) in values else token


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
