"""Checks the tables of a matrix file and converts them to records; each error names its place and a remedy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import msgspec

from bench.declare.patterns import NAME
from bench.declare.suggest import nearest
from bench.errors import MatrixError

T = TypeVar("T")


class Tables:
    """The tables of a file, with checks for all its parts; `place` names the file in messages."""

    def __init__(self, data: dict[str, Any], place: str) -> None:
        self.data, self.place = data, place

    def error(self, message: str, hint: str = "") -> MatrixError:
        """An error to raise: the mistake, and the remedy."""
        return MatrixError(f"{message} in {self.place}", hint)

    def only_known(self, table: Mapping[str, object], known: Iterable[str], where: str) -> None:
        """Raise `MatrixError` for a key that is not in `known`."""
        for key in table:
            if key not in known:
                at = f" in {where}" if where else ""
                raise self.error(f"unknown key '{key}'{at}", nearest(key, known))

    def one_of(self, word: str, known: Iterable[str], message: str) -> None:
        """Raise `MatrixError` with this message for a word that is not in `known`."""
        if word not in known:
            raise self.error(message, nearest(word, known))

    def named(self, axis: str, *, needed: bool = False) -> list[tuple[str, dict[str, Any]]]:
        """The tables `[axis.NAME]` with their names. Raises `MatrixError`, also for none where one is `needed`."""
        entries = self.data.get(axis, {})
        if not isinstance(entries, dict):
            raise self.error(f"'{axis}' is no table", f"write [{axis}.NAME]")
        if needed and not entries:
            raise self.error(f"the axis '{axis}' is empty", f"add a table [{axis}.NAME]")
        for name, table in entries.items():
            # A name becomes a part of cells' ids and of file names.
            if not NAME.fullmatch(name):
                raise self.error(f"'{name}' is no name for {axis}", "use letters, digits, '.', '_' and '-'")
            if not isinstance(table, dict):
                raise self.error(f"{axis}.{name} is no table", f"write [{axis}.{name}]")
        return list(entries.items())

    def struct(self, kind: type[T], data: object, where: str, **given: object) -> T:
        """A table as a record; the user may not set the fields in `given`. Raises `MatrixError`."""
        if not isinstance(data, dict):
            raise self.error(f"'{where}' is no table", f"write [{where}]")
        # The type checker cannot know that every `kind` here is a struct.
        fields = [field.name for field in msgspec.structs.fields(kind)]  # type: ignore[arg-type]
        # Before the conversion, whose own message has no suggestion.
        self.only_known(data, [name for name in fields if name not in given], where)
        return self.value(kind, {**data, **given}, where)

    def value(self, kind: type[T], data: object, where: str) -> T:
        """Convert a value to this type. Raises `MatrixError` with the place of a value of another type."""
        try:
            return msgspec.convert(data, kind)
        except msgspec.ValidationError as error:
            raise self.error(_placed(where, str(error))) from None

    def plain(self, options: Mapping[str, object], where: str) -> None:
        """Raise `MatrixError` for an option that is a list or a table: options are passed on unchanged."""
        for key, value in options.items():
            if not isinstance(value, bool | int | float | str):
                raise self.error(f"{where}.{key} is no plain value", "give it a string, a number, true or false")

    def strings(self, entries: Mapping[str, object], where: str) -> None:
        """Raise `MatrixError` for a value that is no string."""
        for key, value in entries.items():
            if not isinstance(value, str):
                raise self.error(f"{where}.{key} is no string", f'write {key} = "…"')


def _placed(where: str, message: str) -> str:
    """msgspec's message with the place first: `models.m.seed: expected int, got str`."""
    # msgspec ends its messages with the place, ` - at `$.seed``; ours begin with it, as the other errors do.
    described, _, at = message.replace("`", "").partition(" - at $")
    missing = described.removeprefix("Object missing required field ")
    if missing != described:
        return f"{where}{at} lacks the key '{missing}'"
    return f"{where}{at}: {described[:1].lower()}{described[1:]}"
