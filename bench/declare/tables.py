"""Checks the tables of a matrix file and converts them to records; each error names its place and a remedy."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from bench.declare.patterns import LONGEST_NAME, NAME
from bench.declare.suggest import nearest
from bench.errors import MatrixError

T = TypeVar("T")
TOP_LEVEL = "the file"
"""Where keys stand that are in no table."""


class Tables:
    """The tables of a file, with checks for all its parts; `place` names the file in messages.

    A check raises `MatrixError`. Inside `with tables.attempt():` it ends the block only, and the mistake is kept until
    `raise_mistakes`, so that all mistakes of a file are told at once.
    """

    def __init__(self, data: dict[str, Any], place: str) -> None:
        self.data, self.place = data, place
        self.mistakes: list[MatrixError] = []
        self._with_unknown_keys: set[str] = set()

    def error(self, message: str, hint: str = "") -> MatrixError:
        """An error to raise: the mistake, and the remedy."""
        return MatrixError(f"{message} in {self.place}", hint)

    @contextlib.contextmanager
    def attempt(self) -> Iterator[None]:
        """Keep a mistake of this block, and go on after it."""
        try:
            yield
        except MatrixError as error:
            mistakes = error.mistakes or (error,)
            # A key that looks missing because it is misspelt is one mistake and not two.
            self.mistakes += [each for each in mistakes if each.lacks_in not in self._with_unknown_keys]

    def raise_mistakes(self) -> None:
        """Raise the mistakes that were kept: one as it is, several as one error that lists them."""
        if self.mistakes:
            raise self._together(self.mistakes)

    def _together(self, mistakes: Sequence[MatrixError]) -> MatrixError:
        if len(mistakes) == 1:
            return mistakes[0]
        error = MatrixError(f"{self.place} has {len(mistakes)} mistakes")
        error.mistakes = tuple(sorted(mistakes, key=lambda mistake: not mistake.is_misspelt_key))
        return error

    def only_known(self, table: Mapping[str, object], known: Iterable[str], where: str) -> None:
        """Raise `MatrixError` for every key that is not in `known`."""
        words = list(known)
        at = f" in {where}" if where else ""
        unknown = [self.error(f"unknown key '{key}'{at}", nearest(key, words)) for key in table if key not in words]
        for mistake in unknown:
            mistake.is_misspelt_key = True
        if unknown:
            self._with_unknown_keys.add(where or TOP_LEVEL)
            raise self._together(unknown)

    def one_of(self, word: str, known: Iterable[str], message: str) -> None:
        """Raise `MatrixError` with this message for a word that is not in `known`."""
        if word not in known:
            raise self.error(message, nearest(word, known))

    def named(self, axis: str, *, needed: bool = False) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the tables `[axis.NAME]` with their names; mistakes are kept, also that a `needed` axis has none."""
        entries = self.data.get(axis, {})
        with self.attempt():
            if not isinstance(entries, dict):
                raise self.error(f"'{axis}' is no table", f"write [{axis}.NAME]")
            if needed and not entries:
                raise self.lacking(self.error(f"the axis '{axis}' is empty", f"add a table [{axis}.NAME]"), TOP_LEVEL)
        for name, table in entries.items() if isinstance(entries, dict) else ():
            # A name becomes a part of cells' ids and of file names.
            if len(name) > LONGEST_NAME:
                shown = f"{name[:20]}…"
                self.mistakes.append(
                    self.error(f"{axis}.{shown} has a name of {len(name)} characters", f"use at most {LONGEST_NAME}")
                )
            elif not NAME.fullmatch(name):
                self.mistakes.append(
                    self.error(f"'{name}' is no name for {axis}", "use letters, digits, '.', '_' and '-'")
                )
            elif not isinstance(table, dict):
                self.mistakes.append(self.error(f"{axis}.{name} is no table", f"write [{axis}.{name}]"))
            else:
                yield name, table

    def struct(self, kind: type[T], data: object, where: str, **given: object) -> T:
        """A table as a record; the user may not set the fields in `given`. Raises `MatrixError`."""
        if not isinstance(data, dict):
            raise self.error(f"'{where}' is no table", f"write [{where}]")
        # The type checker cannot know that every `kind` here is a struct.
        fields = [field.name for field in msgspec.structs.fields(kind)]  # type: ignore[arg-type]
        known = [name for name in fields if name not in given]
        # Before the conversion, whose own message has no suggestion.
        with self.attempt():
            self.only_known(data, known, where)
        return self.value(kind, {**{name: data[name] for name in known if name in data}, **given}, where)

    def value(self, kind: type[T], data: object, where: str) -> T:
        """Convert a value to this type. Raises `MatrixError` with the place of a value of another type."""
        try:
            return msgspec.convert(data, kind)
        except msgspec.ValidationError as error:
            message, lacks_in = _placed(where, str(error))
            raise self.lacking(self.error(message), lacks_in) from None

    def lacking(self, mistake: MatrixError, where: str) -> MatrixError:
        """The mistake, marked as explained where the table `where` has a misspelt key."""
        mistake.lacks_in = where
        return mistake

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


def _placed(where: str, message: str) -> tuple[str, str]:
    """msgspec's message with the place first, `models.m.seed: expected int, got str`; the table that lacks a key."""
    # msgspec ends its messages with the place, ` - at `$.seed``; ours begin with it, as the other errors do.
    described, _, at = message.replace("`", "").partition(" - at $")
    missing = described.removeprefix("Object missing required field ")
    if missing != described:
        return f"{where}{at} lacks the key '{missing}'", f"{where}{at}"
    return f"{where}{at}: {described[:1].lower()}{described[1:]}", ""
