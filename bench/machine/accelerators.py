"""Lists the GPUs and NPUs of this machine from drivers, /sys and the system's tools."""

from __future__ import annotations

import contextlib
import platform
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from bench.machine.tools import rows_of, text_of
from bench.records import Accelerator

ROOT = Path("/")
VENDORS = {
    "1002": "AMD",
    "1022": "AMD",
    "10de": "NVIDIA",
    "106b": "Apple",
    "1414": "Microsoft",
    "14e4": "Broadcom",
    "15ad": "VMware",
    "17cb": "Qualcomm",
    "1af4": "Red Hat",
    "1d0f": "Amazon",
    "1da3": "Habana",
    "8086": "Intel",
}
NPU_NODES = (
    ("dev/fastrpc-cdsp", "Hexagon", "Qualcomm"),
    ("dev/davinci0", "Ascend", "Huawei"),
)
"""Drivers outside the kernel's class of accelerators: the device file, the device's name and its vendor."""
PCI_LISTS = ("usr/share/hwdata/pci.ids", "usr/share/misc/pci.ids")


def accelerators(nvidia_gpus: list[Accelerator], tools: dict[str, Any]) -> list[Accelerator]:
    """Every GPU and NPU; NVIDIA's devices come from its own library, which knows more than the system."""
    system = platform.system()
    if system == "Windows":
        others = [*windows_gpus(tools), *windows_npus(tools)]
    elif system == "Darwin":
        others = macos_accelerators(tools, platform.machine())
    else:
        others = [*linux_gpus(ROOT), *linux_npus(ROOT)]
    return [*nvidia_gpus, *(device for device in others if not (nvidia_gpus and device.vendor == "NVIDIA"))]


# --- NVIDIA -----------------------------------------------------------------------------------------------------------


def nvidia() -> list[Accelerator]:
    """NVIDIA's GPUs as the driver lists them; empty without a driver or where it reports an error."""
    # Imported late: only machines with an NVIDIA driver need it.
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        driver, api = _word(pynvml.nvmlSystemGetDriverVersion()), _cuda(pynvml)
        return [gpu for i in range(pynvml.nvmlDeviceGetCount()) for gpu in _nvidia_gpu(pynvml, i, driver, api)]
    except pynvml.NVMLError:
        return []
    finally:
        with contextlib.suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def _cuda(nvml: Any) -> str | None:
    """The newest CUDA that the driver can run, `CUDA 13.0`; NVML says 13000."""
    with contextlib.suppress(nvml.NVMLError, TypeError):
        version = int(nvml.nvmlSystemGetCudaDriverVersion())
        return f"CUDA {version // 1000}.{version % 1000 // 10}"
    return None


def _nvidia_gpu(nvml: Any, index: int, driver: str, api: str | None) -> Iterator[Accelerator]:
    """One device; empty where it does not respond. A device with shared memory has no memory size."""
    memory: int | None = None
    try:
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        name = _word(nvml.nvmlDeviceGetName(handle))
    except nvml.NVMLError:
        return
    with contextlib.suppress(nvml.NVMLError):
        memory = int(nvml.nvmlDeviceGetMemoryInfo(handle).total)
    yield Accelerator(kind="gpu", name=name, vendor="NVIDIA", driver=driver, api=api, memory_bytes=memory)


def _word(text: str | bytes) -> str:
    """Older bindings return bytes."""
    return text.decode("utf-8", "replace") if isinstance(text, bytes) else text


# --- Linux ------------------------------------------------------------------------------------------------------------


def linux_gpus(root: Path) -> list[Accelerator]:
    """The GPUs with a render node; others, such as a server's display controller, cannot compute."""
    return [_linux_device("gpu", node / "device", root) for node in _nodes(root / "sys/class/drm", "renderD")]


def linux_npus(root: Path) -> list[Accelerator]:
    """The kernel's compute accelerators (intel_vpu, amdxdna, habanalabs, qaic …), and those of `NPU_NODES`."""
    devices = [_linux_device("npu", node / "device", root) for node in _nodes(root / "sys/class/accel", "accel")]
    others = [Accelerator("npu", name, vendor) for node, name, vendor in NPU_NODES if (root / node).exists()]
    return [*devices, *others]


def _nodes(folder: Path, prefix: str) -> list[Path]:
    numbers = {
        p: int(p.name.removeprefix(prefix)) for p in folder.glob(f"{prefix}*") if p.name.removeprefix(prefix).isdigit()
    }
    # By number: as text, accel10 would come before accel2.
    return sorted(numbers, key=lambda path: numbers[path])


def _linux_device(kind: Literal["gpu", "npu"], device: Path, root: Path) -> Accelerator:
    """A device by its PCI ids; on ARM boards without them, by its name in the device tree."""
    vendor, number = (text_of(device / name).removeprefix("0x").lower() for name in ("vendor", "device"))
    module = (device / "driver").resolve().name if (device / "driver").exists() else ""
    version = text_of(root / "sys/module" / module / "version") if module else ""
    # Only AMD's driver has this file.
    memory = text_of(device / "mem_info_vram_total")
    if vendor and number:
        name = f"{_pci_name(root, vendor, number) or kind.upper()} ({vendor}:{number})"
    else:
        tree = re.search(r"^OF_COMPATIBLE_0=(.+)$", text_of(device / "uevent"), re.M)
        name = tree[1] if tree else module or "unknown"
    maker = VENDORS.get(vendor) or (vendor or name.partition(",")[0] or "unknown")
    driver = f"{module} {version}".strip() or None
    memory_bytes = int(memory) if memory.isdigit() and kind == "gpu" else None
    return Accelerator(kind, name, maker, driver, memory_bytes=memory_bytes)


def _pci_name(root: Path, vendor: str, number: str) -> str:
    """The name in the list of PCI ids; empty where the list is not installed."""
    # Distributions install the list in one of two folders.
    text = next((text for name in PCI_LISTS if (text := text_of(root / name))), "")
    # In this list a vendor begins a line, its devices stand behind one tab, and their boards behind two.
    section = re.search(rf"^{vendor}  .*\n((?:[\t#].*\n)*)", text, re.M)
    match = re.search(rf"^\t{number}  (.+)$", section[1], re.M) if section else None
    return match[1].strip() if match else ""


# --- Windows and macOS ------------------------------------------------------------------------------------------------


def windows_gpus(tools: dict[str, Any]) -> list[Accelerator]:
    """The hardware adapters; those of a remote desktop or a screen-sharing tool exist only during a session."""
    rows = [
        row
        for row in rows_of(tools, "gpus")
        if str(row.get("PNPDeviceID") or "").upper().startswith(("PCI\\", "ACPI\\"))
    ]
    return [
        _reported_device("gpu", row.get("Name"), row.get("AdapterCompatibility"), row.get("DriverVersion"))
        for row in rows
    ]


def windows_npus(tools: dict[str, Any]) -> list[Accelerator]:
    """Windows 11's class of compute accelerators."""
    rows = rows_of(tools, "npus")
    return [
        _reported_device("npu", row.get("FriendlyName"), row.get("Manufacturer"), row.get("DriverVersion"))
        for row in rows
    ]


def macos_accelerators(tools: dict[str, Any], architecture: str) -> list[Accelerator]:
    """The display adapters, and the Neural Engine, which every Apple chip has but the system does not list.

    Virtual Macs cannot use the Neural Engine. Drivers are part of macOS.
    """
    rows = rows_of(tools, "SPDisplaysDataType")
    devices = [
        _reported_device("gpu", row.get("sppci_model") or row.get("_name"), row.get("spdisplays_vendor"), None)
        for row in rows
    ]
    if architecture == "arm64" and tools.get("kern.hv_vmm_present") != "1":
        devices.append(Accelerator(kind="npu", name="Apple Neural Engine", vendor="Apple"))
    return devices


def _reported_device(kind: Literal["gpu", "npu"], name: Any, vendor: Any, driver: Any) -> Accelerator:
    """A row of a tool's output; `Advanced Micro Devices, Inc.` and `sppci_vendor_amd` are one vendor."""
    words = str(vendor or "").removeprefix("sppci_vendor_")
    aliases = {
        "advanced micro devices": "AMD",
        "amd": "AMD",
        "nvidia": "NVIDIA",
        "intel": "Intel",
        "qualcomm": "Qualcomm",
    }
    known = next((short for word, short in aliases.items() if word in words.lower()), words or "unknown")
    return Accelerator(
        kind=kind, name=str(name or "unknown").strip(), vendor=known, driver=str(driver) if driver else None
    )
