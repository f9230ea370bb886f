"""The documentation is held to the code: commands and options exist, rooms are on the map, quoted messages are real."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest
import typer
from test_floors import ROOMS

from bench.cli.app import build
from bench.records import Status

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "bench"
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "reports/README.md", "examples/ci/README.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
COMMAND = re.compile(r"(?<![\w.-])bench ([a-z]+)\b([^`\n#|,;]*)")
OPTION = re.compile(r"(?<!\S)(--[a-z][a-z-]*)")
LINK = re.compile(r"\]\((?!\w+:|#)([^)\s#]+)(?:#[^)\s]*)?\)")


def verbs() -> dict[str, set[str]]:
    """The options of every verb, and of its own verbs as `cache prune`."""
    group = typer.main.get_command(build())
    commands = getattr(group, "commands", {})
    options = {name: {opt for p in command.params for opt in p.opts} for name, command in commands.items()}
    for name, command in commands.items():
        for below in getattr(command, "commands", {}).values():
            options[name] |= {opt for p in below.params for opt in p.opts}
    return options


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def code(text: str) -> str:
    """What is set as code: in backticks, in fences, or indented."""
    inline = re.findall(r"`([^`\n]+)`", text)
    blocks = re.findall(r"^```[^\n]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    indented = re.findall(r"^    (.+)$", text, re.MULTILINE)
    return "\n".join([*inline, *blocks, *indented])


@pytest.mark.parametrize("path", PAGES, ids=named)
def test_every_command_in_the_documentation_exists(path):
    known = verbs()
    for verb, rest in COMMAND.findall(code(path.read_text(encoding="utf-8"))):
        assert verb in known, f"bench {verb}"
        assert not [option for option in OPTION.findall(rest) if option not in known[verb] | {"--help"}], verb


@pytest.mark.parametrize("path", PAGES, ids=named)
def test_every_link_between_files_leads_somewhere(path):
    text = path.read_text(encoding="utf-8")
    assert not [target for target in LINK.findall(text) if not (path.parent / target).exists()]


def test_the_readme_lists_every_verb_with_options_that_it_has():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = {row.split()[1].rstrip("`"): row for row in re.findall(r"^\| `(bench .+) \|$", text, re.MULTILINE)}
    assert set(rows) == set(verbs())
    for verb, row in rows.items():
        assert not set(re.findall(r"--[a-z][a-z-]*", row)) - verbs()[verb], verb


def test_every_room_of_the_package_is_on_the_map():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`.+?) \|", text, re.MULTILINE)
    listed = {name for row in rows for name in re.findall(r"`([^`]+)`", row)}
    rooms = [path for path in PACKAGE.iterdir() if not path.name.startswith("__")]
    rooms += [path for path in (PACKAGE / "worker").iterdir() if path.is_dir() and path.name != "__pycache__"]
    names = {f"{path.name}/" if path.is_dir() else path.name for path in rooms if path.is_dir() or path.suffix == ".py"}
    assert not names - listed


def test_every_path_on_the_map_exists():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    paths = {
        path for path in re.findall(r"`((?:bench|tests|docs)/[\w/.]+)`", text) if not re.search("NAME|FORMAT", path)
    }
    rooms = {
        room
        for row in re.findall(r"^\| (`.+?) \|", text, re.MULTILINE)
        for room in re.findall(r"`([\w/]+(?:\.py|/))`", row)
    }
    assert len(paths) > 10
    assert len(rooms) > 20
    assert not [path for path in paths if not (ROOT / path).exists()]
    assert not [room for room in rooms if not (PACKAGE / room).exists() and not (PACKAGE / "worker" / room).exists()]


def rooms_in(text: str, groups: dict[str, set[str]]) -> set[str]:
    """The rooms that a cell of a table names, by themselves or by a group; `never …` takes nothing in."""
    text = text.partition("; never")[0]
    return set(re.findall(r"`(\w+)`", text)).union(
        *(rooms for name, rooms in groups.items() if name in text.split(", "))
    )


def test_the_map_says_what_the_floors_test_holds():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    group_rows, rows = (re.findall(r"^\| (.+?) \| (.+?) \|$", part, re.MULTILINE)[1:] for part in tables(text))
    groups: dict[str, set[str]] = {}
    for name, members in group_rows:
        groups[name] = rooms_in(members, groups)
    told = {room: rooms_in(allowed, groups) for names, allowed in rows for room in re.findall(r"`(\w+)`", names)}
    held = {room: allowed - {room} for room, allowed in ROOMS.items() if room != "__main__"}
    assert told == {room: held[room] for room in told}
    assert set(told) >= set(ROOMS) - {"__main__"}


def tables(text: str) -> tuple[str, str]:
    """The table of the groups, and the table of what each room may import."""
    part = text.partition("## What may know what")[2]
    groups, _, rest = part.partition("| room | may import |")
    return groups, "| room | may import |" + rest.partition("\n\n")[0]


def test_the_glossary_has_each_term_once_and_every_status():
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    terms = [term for row in re.findall(r"^\| ([^|]+) \| [^|]+ \|$", text, re.MULTILINE) for term in row.split(", ")]
    terms = [term for term in terms if term not in {"term", "status", "---"}]
    assert len(terms) == len(set(terms))
    assert {f"`{status}`" for status in get_args(Status)} <= set(terms)


def test_troubleshooting_quotes_messages_of_the_product():
    text = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    quoted = [
        message
        for row in re.findall(r"^\| (`[^|]+) \|", text, re.MULTILINE)
        for message in re.findall(r"`([^`]+)`", row)
    ]
    source = "\n".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
    assert len(quoted) > 20
    assert not [message for message in quoted if message not in source]


def test_decisions_are_listed_and_have_their_three_parts():
    folder = ROOT / "docs" / "decisions"
    index = (folder / "index.md").read_text(encoding="utf-8")
    records = sorted(folder.glob("[0-9]*.md"))
    assert records
    for path in records:
        text = path.read_text(encoding="utf-8")
        title = text.splitlines()[0].partition(": ")[2]
        assert f"({path.name}) | {title} |" in index
        assert all(part in text for part in ("**Context.**", "**Decision.**", "**Consequences.**"))
