"""Patterns of the words in a matrix and the catalogue: names, modules, devices, what a provider needs."""

from __future__ import annotations

import re

from bench.records import DeviceChoice, DeviceType

# No slash, which separates the parts of a cell's id, and no dot or hyphen in front: names become names of files.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
LONGEST_NAME = 120
"""Names stand in tables, and several of them make the name of a file."""
MODULE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
KEY_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*")
"""Upper case only, as is usual for variables with keys: any other text may be the key itself."""
INDEX = re.compile(r"[0-9]{1,3}")
INDEXED = re.compile(rf"(.+)\.({INDEX.pattern})")
"""A catalogue row and the index of one of its devices, `cuda.1`."""

DEVICE_TYPES: dict[str, DeviceType] = {"cpu": "cpu", "gpu": "gpu", "npu": "npu"}
NEED = r"^((cpu|gpu|npu)(:(amd|apple|arm|huawei|intel|nvidia|qualcomm))?)?$"
"""What device a provider needs: nothing, a kind of device, or a kind and its vendor, `gpu:nvidia`."""
PLATFORM = r"^(linux|windows|macos)-(x86_64|aarch64)$"
PYTHONS = r"^>=3\.[0-9]+,<3\.[0-9]+$"
MAX_INDEX = 999
MAX_THREADS = 65_536
"""More than any machine has, and a number that every file can hold."""


def device_choice(value: object) -> DeviceChoice | None:
    """The device that `value` names, `"gpu"`, `"gpu.1"` or `1`; None where it names none."""
    # True and False are whole numbers to Python.
    if isinstance(value, int) and not isinstance(value, bool):
        return DeviceChoice(index=value) if 0 <= value <= MAX_INDEX else None
    if not isinstance(value, str):
        return None
    kind, dot, index = value.partition(".")
    if kind not in DEVICE_TYPES or (dot and not INDEX.fullmatch(index)):
        return None
    return DeviceChoice(DEVICE_TYPES[kind], int(index) if dot else None)
