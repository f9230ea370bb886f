"""Declares the base of all records, and the types that several of them use."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

# A new field with a default needs no new number; any other change needs one, and a converter for older files.
SCHEMA = 2
"""The version of the files of a run; `bench.records` has its history."""

# Stored runs hold these words in their failures, so none of them may be renamed.
Status = Literal[
    "ok",
    "partial",
    "inaccurate",
    "unsupported",
    "unavailable",
    "excluded",
    "failed",
    "crashed",
    "timeout",
    "out-of-memory",
]
Weights = Literal["pretrained", "random"]
DeviceType = Literal["cpu", "gpu", "npu"]
Option = bool | int | float | str
"""A provider's option, as a matrix writes it."""


# Defaults are written too, so that a missing value is `null` in a file, and never an absent field.
class Record(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=False):
    """The base of all records: frozen, and strict when it is read."""
