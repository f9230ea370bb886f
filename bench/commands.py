"""Writes a command line of `bench` as text, which a run, a gate and a run of operator tests record."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
IN_PACKAGE = "BENCH"
"""What a recorded path has in place of the folder of this package, such as that of the built-in matrix."""
Value = str | int | float | Path | Sequence[str] | None
"""What a flag takes. True is a flag without a value; None, False and an empty list leave the flag out."""


def command_line(verb: str, flags: Mapping[str, Value]) -> str:
    """`bench VERB --flag value …`, quoted for a shell; a list repeats its flag."""
    words = ["bench", verb]
    for flag, value in flags.items():
        # `is`, since 1 == True: the number 1 is a value and no switch.
        if value is True:
            words.append(flag)
        elif isinstance(value, Sequence) and not isinstance(value, str):
            words += [word for item in value for word in (flag, item)]
        elif isinstance(value, Path) and value.resolve().is_relative_to(PACKAGE):
            # The built-in matrix is the default, and has another path on another machine.
            continue
        elif value is not None and value is not False:
            words += [flag, _text(value)]
    return joined(words)


def joined(words: Iterable[str]) -> str:
    """Words as a shell takes them; a leading `~/` stays outside of the quotes, where a shell knows it."""
    return " ".join("~/" + shlex.quote(word[2:]) if word[:2] == "~/" else shlex.quote(word) for word in words)


def _text(value: str | float | Path) -> str:
    if isinstance(value, Path):
        return shown_path(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def shown_model(model: str) -> str:
    """A model as a command line names it: the path of a file or a folder, or a name as it is."""
    path = Path(model.strip()).expanduser()
    return shown_path(path) if path.exists() else model.strip()


def shown_path(path: Path) -> str:
    """A path as text for a published report: relative where possible, `~` for the home, `BENCH` for this package.

    Any other path is shown as it was typed; `path_of` reads the text again.
    """
    absolute = path.expanduser().resolve()
    # The home folder's name is often the user's name, and reports are published.
    for root, prefix in ((Path.cwd(), ""), (PACKAGE, f"{IN_PACKAGE}/"), (Path.home(), "~/")):
        if absolute.is_relative_to(root):
            return prefix + absolute.relative_to(root).as_posix()
    return path.as_posix()


def is_built_in(shown: str) -> bool:
    """Whether a path that `shown_path` wrote is in this package."""
    return shown.partition("/")[0] == IN_PACKAGE


def path_of(shown: str) -> Path:
    """The path that `shown_path` wrote; a relative one starts at the current folder."""
    return PACKAGE / shown.partition("/")[2] if is_built_in(shown) else Path(shown).expanduser()
