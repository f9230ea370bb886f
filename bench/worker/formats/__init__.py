"""Formats: one file makes one kind of artifact that is no plain `model.onnx`."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def named(name: str) -> Any:
    """The module of the format `name`; importing it may load heavy libraries.

    It declares `BUILD_RUNTIME` and, where recipes are made from the artifact of another one, `BASE` and
    `CONVERT_RUNTIME`. Its `RECIPES` are functions of `(context, out, *, options)` that write the artifact's files into
    the folder `out` and return notes.
    """
    return import_module(f"{__name__}.{name.replace('-', '_')}")
