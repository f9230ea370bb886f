"""Write the report of a gate: `gate.json`, `gate.xml`, `gate.md`, and the job summary on GitHub."""

from __future__ import annotations

from pathlib import Path

from bench.files import write_atomically, writing
from bench.gating.reports import json, junit, markdown
from bench.records import GateRun

FORMATS = (json, junit, markdown)
MAX_SUMMARY_BYTES = 2**20
"""GitHub refuses the whole summary of a step if it is longer."""
CUT = "\n\nCut here, as GitHub shows no more of a job's summary; gate.md holds the whole.\n"
_CLOSE = "\n\n</details>\n"


def write(run: GateRun, folder: Path) -> list[Path]:
    """Write every format, and return the paths. Each file is replaced atomically.

    Raises `DiskError` if a file cannot be written.
    """
    paths = []
    for form in FORMATS:
        path = folder / form.FILE
        write_atomically(path, form.render(run).encode("utf-8", errors="replace"))
        paths.append(path)
    return paths


def append_summary(run: GateRun, path: Path) -> None:
    """Append the Markdown to the file that `GITHUB_STEP_SUMMARY` names, cut to the size that GitHub accepts.

    Raises `DiskError` if the file cannot be written.
    """
    with writing(path):
        # Other steps of the job may have written to it already, and the limit is for the whole file.
        existing = path.stat().st_size if path.exists() else 0
        content = shortened("\n" + markdown.render(run), MAX_SUMMARY_BYTES - existing)
        with path.open("ab") as file:
            file.write(content)


def shortened(content: str, available: int) -> bytes:
    """UTF-8 of at most `room` bytes: the whole text, or whole lines and a sentence that it was cut.

    Empty if not even that sentence fits.
    """
    encoded = content.encode("utf-8", errors="replace")
    if len(encoded) <= available:
        return encoded
    available -= len((_CLOSE + CUT).encode())
    if available <= 0:
        return b""
    # Cut at a line feed, which is never inside a character or a row of a table.
    whole_lines = encoded[: encoded.rfind(b"\n", 0, available) + 1]
    # A <details> that stays open would hide what the next step writes.
    lines = whole_lines.splitlines()
    opened = sum(line.startswith(b"<details>") for line in lines) > lines.count(b"</details>")
    return whole_lines + (_CLOSE if opened else "").encode() + CUT.encode()
