"""Remembers which targets were found usable, so that a second run need not try them again."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path

import msgspec
import psutil

from bench import reading
from bench.declare import registry
from bench.declare.targets import Target
from bench.errors import DiskError
from bench.files import write_atomically
from bench.prepare.cache_use import touch_whole
from bench.prepare.environments import Environment
from bench.records import Machine, Probe, TargetFacts

FOLDER = "probes"
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
KEPT_FROM_ENVIRONMENT = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "LD_LIBRARY_PATH", "PATH", "VK_DRIVER_FILES")
"""Variables that decide which devices and libraries a target finds."""


class ProbeMemory:
    """The facts of usable targets, in one file each; a target that was not usable is always tried again.

    They hold for the same runtime, worker code, machine and settings, until the machine starts again.
    """

    def __init__(self, cache: Path, machine: Machine, code: Path) -> None:
        self.folder = cache / FOLDER
        self.place = [machine.key, _boot(), code.name, *(os.environ.get(name, "") for name in KEPT_FROM_ENVIRONMENT)]

    def recall(self, target: Target, environment: Environment) -> TargetFacts | None:
        """The facts of an earlier probe; None where there are none that still hold."""
        if not _is_local(target):
            return None
        with contextlib.suppress(OSError, *reading.UNREADABLE):
            file = self._file(target, environment)
            facts = read(file)
            touch_whole(file)
            return facts if facts.available else None
        return None

    def keep(self, target: Target, environment: Environment, facts: TargetFacts) -> None:
        """Keep the facts of a target that is usable, and drop earlier ones of one that is not."""
        if not _is_local(target):
            return
        file = self._file(target, environment)
        # A run does not depend on it: where it cannot be kept, the next run tries the target again.
        with contextlib.suppress(OSError, DiskError):
            if facts.available:
                write_atomically(file, msgspec.json.encode(facts))
            else:
                file.unlink(missing_ok=True)

    def _file(self, target: Target, environment: Environment) -> Path:
        order = msgspec.json.encode(order_of(target), order="sorted").decode()
        # The packages too: an interpreter of the user's may have others today, and the same key.
        packages = json.dumps(environment.record.packages, sort_keys=True)
        parts = [*self.place, environment.record.key, str(environment.executable), packages, order]
        return self.folder / f"{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]}.json"


def read(file: Path) -> TargetFacts:
    """The facts in a file. Raises `OSError`, `UnicodeDecodeError` and msgspec's errors."""
    return msgspec.json.decode(file.read_bytes(), type=TargetFacts)


def order_of(target: Target) -> Probe:
    """The order that probes a target."""
    return Probe(engine=target.engine, provider=target.provider, mode=target.mode, options=target.options)


def _is_local(target: Target) -> bool:
    """Whether the target runs in its own process: a server may be gone, or have loaded another model."""
    return not registry.engines()[target.engine].addresses


def _boot() -> str:
    """What identifies the time since the machine started."""
    with contextlib.suppress(OSError):
        return BOOT_ID.read_text(encoding="ascii").strip()
    # In minutes, since some systems compute it anew from two clocks at each call.
    return str(round(psutil.boot_time() / 60))
