"""Loads the libraries of CUDA and cuDNN that are not beside onnxruntime's own package, and asks CUDA's driver."""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import onnxruntime as ort


def load_from_other_folders() -> None:
    """Load each library that onnxruntime does not find beside itself from the other folders of packages.

    `onnxruntime.preload_dlls` looks only beside onnxruntime. A runtime that extends another one has torch and CUDA in
    the folder of that one. A library that is loaded already is found by its name.
    """
    own = Path(ort.__file__).parents[1]
    for path in found(wanted(), own, sys.path):
        # What cannot be loaded is missed by onnxruntime too, whose message says more.
        with contextlib.suppress(OSError):
            ctypes.CDLL(str(path))


def device_name(index: int) -> str:
    """The name of a CUDA device; empty where the driver does not give it.

    `index` counts the devices that CUDA shows to this process, as the options of onnxruntime's providers do.
    """
    name, device = ctypes.create_string_buffer(256), ctypes.c_int()
    try:
        driver = _driver()
    except OSError:
        return ""
    # Every call returns 0 where it succeeded, and nothing is left behind: no context is made.
    failed = (
        driver.cuInit(0)
        or driver.cuDeviceGet(ctypes.byref(device), index)
        or driver.cuDeviceGetName(name, len(name), device)
    )
    return "" if failed else name.value.decode("utf-8", "replace")


def _driver() -> Any:
    return ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")


def wanted() -> list[Path]:
    """The libraries that this build of onnxruntime loads, relative to a folder of packages, in the order of loading."""
    # The names and places follow the version of CUDA that onnxruntime was built with, and only it knows them.
    names = getattr(ort, "_get_nvidia_dll_paths", None)
    return [Path(*parts) for parts in names(sys.platform == "win32", True, True)] if names else []


def found(libraries: Sequence[Path], own: Path, folders: Sequence[str]) -> Iterator[Path]:
    """Each library in the first folder that has it; those that the folder `own` has are left out."""
    for library in libraries:
        if (own / library).is_file():
            continue
        places = (Path(folder) / library for folder in folders if folder)
        if place := next((place for place in places if place.is_file()), None):
            yield place
