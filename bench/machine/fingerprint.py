"""Takes the fingerprint of this machine, with a key that stays the same after a reboot.

It holds no hostname, serial number, user name or address: reports are published.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import psutil

from bench.machine.accelerators import accelerators, nvidia
from bench.machine.cpu import memory_limit, raw_facts, read_cpu
from bench.machine.tools import ask, os_facts
from bench.records import Accelerator, Machine

ROOT = Path("/")
MEMORY_STEP = 256 * 2**20
"""The kernel reserves a slightly different amount of memory at each boot and update."""
# What hypervisors and clouds write into the firmware as vendor or product.
VIRTUAL = re.compile(
    r"QEMU|KVM|VMware|VirtualBox|\bXen\b|Virtual Machine|Bochs|Parallels|Firecracker|OpenStack|Google Compute|"
    r"Amazon EC2|Alibaba Cloud|DigitalOcean|Apple Virtual",
    re.I,
)
# `accelerators` writes the id behind a device's name.
PCI_ID = re.compile(r"\(([0-9a-f]{4}:[0-9a-f]{4})\)$")


def fingerprint() -> Machine:
    """The fingerprint of this machine; this takes less than two seconds."""
    # In threads, since these wait for child processes.
    with ThreadPoolExecutor(max_workers=3) as pool:
        cpu, system, gpus = pool.submit(raw_facts), pool.submit(os_facts), pool.submit(nvidia)
        raw, tools, nvidia_gpus = cpu.result(), system.result(), gpus.result()
    os_name, os_version, kernel = _os()
    machine = Machine(
        cpu=read_cpu(raw, tools),
        # A container's limit counts: psutil reports the memory of the host.
        memory_bytes=min(psutil.virtual_memory().total, memory_limit() or 2**63),
        accelerators=tuple(accelerators(nvidia_gpus, tools)),
        os=os_name,
        os_version=os_version,
        kernel=kernel,
        hypervisor=_hypervisor(raw.get("flags", ()), tools),
        container=_container(ROOT),
        python=platform.python_version(),
        key="",
    )
    return msgspec.structs.replace(machine, key=machine_key(machine))


def machine_key(machine: Machine) -> str:
    """SHA-256 of the stable fields, 12 hex digits.

    Left out: the container and Python, which change on one machine from run to run, and a GPU's memory, which firmware
    settings change. A quota stays in: with another quota, times cannot be compared.
    """
    stable = {
        "cpu": msgspec.to_builtins(machine.cpu),
        "memory": round(machine.memory_bytes / MEMORY_STEP),
        # Sorted: the order in which a system lists its devices may change.
        "accelerators": sorted(_stable(device) for device in machine.accelerators),
        "os": [machine.os, machine.os_version, machine.kernel],
        "hypervisor": machine.hypervisor,
    }
    return hashlib.sha256(json.dumps(stable, sort_keys=True).encode()).hexdigest()[:12]


def _stable(device: Accelerator) -> list[str]:
    """The stable facts of an accelerator; its PCI id instead of its name, whose list may be installed later."""
    match = PCI_ID.search(device.name)
    return [device.kind, match[1] if match else device.name, device.vendor, device.driver or "", device.api or ""]


def _os() -> tuple[str, str, str]:
    """Name, version and the kernel's family, e.g. `("Debian GNU/Linux", "12", "Linux 6.1")`.

    A kernel's full release changes with every update, and may hold the name of whoever built it.
    """
    system, release = platform.system(), platform.release()
    if system == "Windows":
        version = platform.version()
        build = int(version.rpartition(".")[2] or 0) if version.rpartition(".")[2].isdigit() else 0
        # Python before 3.12 calls Windows 11 by its kernel's number.
        name = "11" if release == "10" and build >= 22000 else release
        return f"Windows {name}", version, f"Windows NT {'.'.join(version.split('.')[:2])}"
    if system == "Darwin":
        return "macOS", platform.mac_ver()[0], f"Darwin {release.split('.')[0]}"
    described: dict[str, str] = {}
    with contextlib.suppress(OSError, AttributeError):
        described = platform.freedesktop_os_release()
    name, version = described.get("NAME", system), described.get("VERSION_ID", "")
    return name, version, f"{system} {'.'.join(release.split('.')[:2])}"


def _hypervisor(flags: tuple[str, ...], tools: dict[str, Any]) -> str | None:
    """The hypervisor of a virtual machine; None on bare metal."""
    system = platform.system()
    if system == "Windows":
        return windows_hypervisor(tools.get("system") or {})
    if system == "Darwin":
        return "Apple Virtualization" if tools.get("kern.hv_vmm_present") == "1" else None
    if "microsoft" in platform.release().lower():
        return "WSL 2 (Hyper-V)"
    return linux_hypervisor(flags, platform.machine(), ROOT, ask(["systemd-detect-virt", "--vm"]))


def linux_hypervisor(flags: tuple[str, ...], architecture: str, root: Path, detected: str) -> str | None:
    """The hypervisor by the CPU's flag on x86, else by firmware or systemd (`detected`); firmware has the better name.

    A cloud's bare-metal machine has the cloud's name in its firmware, and no flag.
    """
    on_x86 = architecture in {"x86_64", "i686", "AMD64"}
    if on_x86 and "hypervisor" not in flags:
        return None
    firmware = " ".join(filter(None, (_text(root / "sys/class/dmi/id" / n) for n in ("sys_vendor", "product_name"))))
    is_virtual = bool(VIRTUAL.search(firmware)) and "metal" not in firmware
    if on_x86 or detected or is_virtual:
        return firmware or detected or _text(root / "sys/hypervisor/type") or "unknown"
    return None


def windows_hypervisor(system: dict[str, Any]) -> str | None:
    """The hypervisor by the firmware's names: virtualization-based security reports one on bare metal too."""
    firmware = f"{system.get('Manufacturer') or ''} {system.get('Model') or ''}".strip()
    return firmware if VIRTUAL.search(firmware) and "metal" not in firmware else None


def _container(root: Path) -> str | None:
    """The kind of container; None where there is none, or it cannot be detected."""
    # First, since Kubernetes runs other kinds of containers.
    if os.environ.get("KUBERNETES_SERVICE_HOST"):
        return "kubernetes"
    for name, kind in {".dockerenv": "docker", "run/.containerenv": "podman"}.items():
        if (root / name).exists():
            return kind
    groups = _text(root / "proc/self/cgroup") + _text(root / "proc/1/cgroup")
    # Cgroup paths name the tool that made the container, but with version 2 only `/` may be visible from inside.
    match = re.search(r"kubepods|docker|libpod|lxc|containerd", groups)
    names = {"kubepods": "kubernetes", "libpod": "podman"}
    return names.get(match[0], match[0]) if match else _text(root / "run/systemd/container") or None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
