"""Tells which targets this machine plainly lacks, by its devices and its platform, without starting any of them."""

from __future__ import annotations

import platform
from pathlib import Path

from msgspec import Struct

from bench.declare.matrix import Matrix
from bench.declare.targets import Target
from bench.machine.accelerators import accelerators, nvidia
from bench.machine.tools import os_facts
from bench.records import Accelerator, Machine

ARCHITECTURES = {"arm": ("arm64", "aarch64", "armv8l"), "x86": ("x86_64", "amd64", "i686")}
NAMES = {
    "nvidia": "NVIDIA",
    "amd": "AMD",
    "intel": "Intel",
    "qualcomm": "Qualcomm",
    "apple": "Apple",
    "arm": "Arm",
    "huawei": "Huawei",
}
NVIDIA_DRIVER = ("dev/nvidiactl", "dev/dxg", "proc/driver/nvidia")
"""One of them exists on a Linux with NVIDIA's driver: of its own, or of Windows below it."""
ROOT = Path("/")


class Hardware(Struct, frozen=True):
    """The part of a machine's fingerprint that decides which targets may run on it."""

    accelerators: tuple[Accelerator, ...]
    architecture: str
    cpu: str = ""
    """The brand of the processor; empty where it was not read."""


def hardware() -> Hardware:
    """The hardware as `bench plan` needs it: in milliseconds on Linux, in about a second elsewhere."""
    is_linux = platform.system() == "Linux"
    # Where no driver is, its library is not loaded: that alone takes a tenth of a plan's time.
    gpus = nvidia() if not is_linux or any((ROOT / name).exists() for name in NVIDIA_DRIVER) else []
    return Hardware(tuple(accelerators(gpus, os_facts())), platform.machine())


def hardware_of(machine: Machine) -> Hardware:
    """The hardware of a whole fingerprint."""
    return Hardware(machine.accelerators, machine.cpu.architecture, machine.cpu.brand)


def absent_targets(matrix: Matrix, here: Hardware) -> dict[str, str]:
    """Why a target is not on this machine, by its name; targets that may be on it are left out."""
    reasons = ((name, absence(matrix, target, here)) for name, target in matrix.targets.items())
    return {name: reason for name, reason in reasons if reason}


def absence(matrix: Matrix, target: Target, here: Hardware) -> str:
    """Why a target is not on this machine: no wheel for the platform, or no device; empty where it may be."""
    if unavailable := matrix.runtimes[target.runtime].unavailable:
        return unavailable
    missing = missing_device(target.needs, here)
    return f"this machine shows no {missing}" if missing else ""


def missing_device(needs: str, here: Hardware) -> str | None:
    """The needed device that the machine does not show, `NVIDIA GPU`; None where none is missing."""
    if not needs:
        return None
    kind, _, vendor = needs.partition(":")
    device = f"{NAMES.get(vendor, vendor.title())} {kind.upper()}".strip()
    if kind == "cpu":
        return None if not vendor or _is_cpu(vendor, here) else device
    shown = any(
        accelerator.kind == kind and vendor.lower() in accelerator.vendor.lower() for accelerator in here.accelerators
    )
    return None if shown else device


def _is_cpu(vendor: str, here: Hardware) -> bool:
    known = ARCHITECTURES.get(vendor)
    if known:
        return here.architecture.lower() in known
    return vendor.lower() in here.cpu.lower()
