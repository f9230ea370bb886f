"""Writes the catalogue into `docs/providers.md`: `python -m bench.declare.handbook FILE`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import get_type_hints

import msgspec
from msgspec import Struct

from bench.declare import catalogue
from bench.declare.catalogue import Row
from bench.errors import UsageError
from bench.records import ProviderBehavior

BEGIN = (
    "<!-- from here on made from bench/declare/catalogue.toml: python -m bench.declare.handbook docs/providers.md -->"
)
END = "<!-- to here -->"


def rewritten(text: str) -> str:
    """The page with new text between the two marks. Raises `UsageError` where a mark is missing."""
    # Only the part between the marks is written, so that people can edit the rest of the page.
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise UsageError("the page lacks a mark", f"it holds '{BEGIN}' and '{END}'")
    return f"{before}{BEGIN}\n\n{handbook()}\n{END}{after}"


def handbook() -> str:
    """The overview of all rows, then a section for each."""
    rows = catalogue.rows().values()
    lines = [*_table(("name", "runs on", "needs", "wheels for", "run by us"), map(_overview, rows))]
    lines += ["", *_keys()]
    for row in rows:
        lines += ["", *_section(row)]
    return "\n".join(lines) + "\n"


def _keys() -> Iterator[str]:
    """The keys of a provider's behavior, with their meaning."""
    yield "### Keys of behavior"
    yield ""
    yield "These keys say what the provider of a row does differently. A table `[providers.NAME]` can set them too,"
    yield "for a provider that is not listed here or to correct one that is."
    yield ""
    # From the record's own annotations, so that the page and the schema cannot differ from it.
    meanings = get_type_hints(ProviderBehavior, include_extras=True)
    plain = msgspec.structs.asdict(ProviderBehavior())
    rows = ((f"`{key}`", _default(plain[key]), meanings[key].__metadata__[0].description) for key in catalogue.BEHAVIOR)
    yield from _table(("key", "if left out", "meaning"), rows)


def _default(value: object) -> str:
    return f"`{_text(value)}`" if value not in (None, "", {}, ()) else "nothing"


def _overview(row: Row) -> tuple[str, ...]:
    platforms = dict.fromkeys(word for wheel in row.wheels for word in wheel.platforms)
    wheels = ", ".join(platforms) or "none is published"
    return f"[`{row.name}`](#{row.name})", row.title, row.needs and f"`{row.needs}`", wheels, row.tested or "no"


def _section(row: Row) -> Iterator[str]:
    yield f"### {row.name}"
    yield ""
    yield f"{row.title[0].upper()}{row.title[1:]}. {row.install[0].upper()}{row.install[1:]}."
    yield ""
    yield from _table(("", ""), _facts(row))
    known = sorted((row.known or {}).items())
    if known:
        yield ""
        yield from _table(("option", "meaning"), ((f"`{name}`", meaning) for name, meaning in known))


def _facts(row: Row) -> Iterator[tuple[str, str]]:
    yield "provider", f"`{row.ep}`" + (f", the plugin `{row.plugin}`" if row.plugin else "")
    for wheel in row.wheels:
        requires = " ".join(f"`{requirement}`" for requirement in wheel.requires)
        yield "wheels", f"{requires} for {', '.join(wheel.platforms)}, Python {wheel.python}"
    yield "device", f"`{row.device}`" if row.device else "the provider chooses"
    if row.options:
        yield "given options", ", ".join(f"`{name} = {value}`" for name, value in row.options.items())
    option = row.device_option
    if option and row.device in option.indexed:
        yield "the device's index", f"`{option.name} = {catalogue.index_value(option, row.device, '{index}')}`"
    if row.environment:
        yield "environment", ", ".join(f"`{name}={value}`" for name, value in row.environment.items())
    yield "computes", row.computes or "not known"
    if row.static_shapes:
        yield "shapes", "fixed ones only: each workload gets a session of its own"
    if row.emulated:
        yield "emulated", "yes: its times mean nothing, and it is in no ranking"
    if row.cache:
        yield "keeps what it compiled", _cache(row.cache.kind, row.cache.name)
    if behavior := ", ".join(f"`{key} = {_text(value)}`" for key, value in _behavior(row)):
        yield "behavior", behavior
    yield "options", _options(row)
    yield "run by us", row.tested if isinstance(row.tested, str) else "no: written from documentation"


def _behavior(row: Row) -> Iterator[tuple[str, object]]:
    """The keys of behavior that a row sets to other values than the default."""
    plain = msgspec.structs.asdict(ProviderBehavior())
    for key, value in catalogue.behavior_of(row).items():
        if value != plain[key]:
            yield key, value


def _text(value: object) -> str:
    """A value as TOML text, without fields that have their default value."""
    if isinstance(value, Struct):
        given = {field.name: getattr(value, field.name) for field in msgspec.structs.fields(value)}
        plain = {field.name: field.default for field in msgspec.structs.fields(value)}
        return _text({key: item for key, item in given.items() if item not in (plain[key], {}, ())})
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key} = {_text(item)}' for key, item in value.items())} }}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_text, value))}]"
    # Strings, numbers and booleans are written in TOML as in JSON.
    return json.dumps(value, ensure_ascii=False)


def _cache(kind: str, name: str) -> str:
    where = {"option": f"in the folder of its option `{name}`", "environment": f"in the folder of `{name}`"}
    return where.get(kind, "in an EP context model")


def _options(row: Row) -> str:
    if row.known is None:
        return "no list of them is to be had, so none is checked"
    return "see below" if row.known else "it takes none"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    for cells in (head, ("---",) * len(head), *rows):
        # A bar inside a cell would end it; chr(92) is a backslash, which an f-string's expression may not hold before
        # 3.12.
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def main(path: Path) -> None:
    """Write the page with the current catalogue."""
    path.write_text(rewritten(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
