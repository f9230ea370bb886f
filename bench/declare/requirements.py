"""Checks the texts that pip or uv get as requirements: no text of a matrix or of a run may be read as an option."""

from __future__ import annotations

import re

PATH = re.compile(r"(\.{0,2}|~|[A-Za-z]:)[/\\][^\0\r\n]*|[^\s\0@;-][^\0\r\n@;]*\.whl")
"""A folder or a wheel on this disk: `./wheels/x.whl`, `/srv/x`, `~/x`, `C:\\x`, `x.whl`."""
PLAIN = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?==[0-9]+(\.[0-9]+)*")
"""A name with a plain version, which needs no parser: its import would make every `bench plan` slower."""
OPTIONS = re.compile(r"(^|\s)-")


def mistake_in(requirement: str) -> str:
    """What is wrong with a requirement of a matrix, as the end of a sentence; empty where nothing is.

    A requirement is a name with extras, versions and markers, `name @ URL`, or the path of a folder or a wheel.
    """
    if PLAIN.fullmatch(requirement):
        return ""
    from packaging.requirements import InvalidRequirement, Requirement

    if OPTIONS.search(requirement):
        return "holds an option of the installer"
    try:
        Requirement(requirement)
    except InvalidRequirement:
        return "" if PATH.fullmatch(requirement) else "is no requirement"
    return ""


def exact(name: str, version: str) -> str | None:
    """`torch==2.13.0` of a package's name and version; None where one of them is something else.

    A local version (2.13.0+cpu) is a build of the public one, and package indexes do not list it.
    """
    # Imported late: `bench plan` does without.
    from packaging.utils import InvalidName, canonicalize_name
    from packaging.version import InvalidVersion, Version

    try:
        canonicalize_name(name, validate=True)
        return f"{name}=={Version(version).public}"
    except (InvalidName, InvalidVersion):
        return None


def is_exact(requirement: str) -> bool:
    """Whether a requirement is a name with one exact version: no URL, no wildcard, no marker; extras are allowed."""
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        parsed = Requirement(requirement)
    except InvalidRequirement:
        return False
    specifiers = list(parsed.specifier)
    if parsed.url or parsed.marker or len(specifiers) != 1 or specifiers[0].operator != "==":
        return False
    return exact(parsed.name, specifiers[0].version) is not None


def names_package(requirement: str) -> bool:
    """Whether a requirement is a name that an index knows, and no URL and no path."""
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        return Requirement(requirement).url is None
    except InvalidRequirement:
        return False
