"""Describes the processor by stable facts, and reads the CPU and memory limits of a container."""

from __future__ import annotations

import contextlib
import platform
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import psutil

from bench.machine.tools import text_of
from bench.records import Cpu

ROOT = Path("/")

ISA = (
    *("sse4_2", "avx", "f16c", "fma", "avx2", "avx_vnni", "avx_vnni_int8", "avx_ne_convert"),
    *("avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni", "avx512_bf16", "avx512_fp16", "avx10"),
    *("amx_tile", "amx_int8", "amx_bf16", "amx_fp16"),
    *("neon", "fp16", "dotprod", "i8mm", "bf16", "sve", "sve2", "sme", "sme2"),
)
"""The instruction sets by which inference kernels are chosen, on x86 and ARM."""

ALIASES = {
    "avx512vnni": "avx512_vnni",
    "avx512bf16": "avx512_bf16",
    "avx512fp16": "avx512_fp16",
    "asimd": "neon",
    "asimdhp": "fp16",
    "asimddp": "dotprod",
    "advsimd": "neon",
    "avx1.0": "avx",
    "sse4.2": "sse4_2",
}
"""The names of py-cpuinfo, Linux on ARM and macOS, where they differ from ours."""

WINDOWS_ARM = {
    "neon": 19,
    "dotprod": 43,
    "sve": 46,
    "sve2": 47,
    "i8mm": 66,
    "fp16": 67,
    "bf16": 68,
    "sme": 70,
    "sme2": 71,
}
"""`PF_ARM_...` numbers of IsProcessorFeaturePresent, from winnt.h."""


# --- the processor ----------------------------------------------------------------------------------------------------


def raw_facts(root: Path = ROOT) -> dict[str, Any]:
    """Brand, flags, family and model as the system reports them.

    Linux on x86 needs one small file, which lists what the kernel has enabled. On other systems py-cpuinfo asks the
    registry, lscpu, sysctl or the CPUID instruction, in child processes (up to a second).
    """
    facts = _proc_cpuinfo(root / "proc/cpuinfo")
    if facts.get("brand"):
        return facts
    more = _py_cpuinfo()
    flags = facts.get("flags") or tuple(more.get("flags") or ())
    brand = str(more.get("brand_raw") or "")
    return more | {"brand": brand, "flags": (*flags, *_windows_arm_flags())}


def _proc_cpuinfo(path: Path) -> dict[str, Any]:
    """The first processor of /proc/cpuinfo; no brand on ARM."""
    try:
        first = path.read_text(encoding="utf-8", errors="replace").split("\n\n")[0]
    except OSError:
        return {}
    rows = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in first.splitlines())}
    return {
        "brand": rows.get("model name", ""),
        "flags": tuple((rows.get("flags") or rows.get("Features") or "").split()),
        "family": rows.get("cpu family"),
        "model": rows.get("model"),
    }


def _py_cpuinfo() -> dict[str, Any]:
    try:
        # Imported here: it looks at the processor while it is imported, and raises a bare Exception on one it lacks.
        import cpuinfo

        return dict(cpuinfo.get_cpu_info())
    except Exception:  # noqa: BLE001 - see above; a machine without a brand is still a machine
        return {}


def _windows_arm_flags() -> tuple[str, ...]:
    """The flags on Windows on ARM, which has no CPUID instruction and no file: each is asked for by number."""
    numbers: dict[str, int] = WINDOWS_ARM if platform.machine() == "ARM64" else {}
    if sys.platform == "win32":
        import ctypes

        present = ctypes.windll.kernel32.IsProcessorFeaturePresent
        numbers = {name: number for name, number in numbers.items() if present(number)}
    else:
        numbers = {}
    return tuple(numbers)


def read_cpu(raw: dict[str, Any], tools: dict[str, Any]) -> Cpu:
    """Make the record of the processor from `raw_facts` and the facts of the system's tools."""
    logical = psutil.cpu_count() or 1
    return Cpu(
        brand=_brand(raw),
        architecture=_architecture(),
        isa=isa((*raw.get("flags", ()), *_macos_flags(tools))),
        # psutil gives None where the system does not tell which threads share a core.
        physical_cores=psutil.cpu_count(logical=False) or logical,
        logical_cores=logical,
        usable_cores=usable_cores(logical),
        caches=_sysfs_caches(ROOT) or _reported_caches(raw, tools),
    )


def _brand(raw: dict[str, Any]) -> str:
    """The processor's name. Some virtual machines report only `AMD EPYC`; then family and model are added."""
    brand = re.sub(r"\s+", " ", raw.get("brand") or platform.processor() or "unknown").strip()
    if not re.search(r"\d", brand) and raw.get("family") and raw.get("model"):
        return f"{brand} (family {raw['family']}, model {raw['model']})"
    return brand


def _architecture() -> str:
    """One name for one architecture, whatever the system calls it."""
    machine = platform.machine()
    return {"AMD64": "x86_64", "ARM64": "aarch64", "arm64": "aarch64"}.get(machine, machine)


def isa(flags: Iterable[str]) -> tuple[str, ...]:
    """The flags that matter for inference, by the names in `ISA` and in its order."""
    present = {ALIASES.get(flag.lower(), flag.lower()) for flag in flags}
    return tuple(name for name in ISA if name in present)


def _macos_flags(tools: dict[str, Any]) -> tuple[str, ...]:
    """`hw.optional.arm.FEAT_BF16: 1` becomes `bf16`."""
    names = (
        re.fullmatch(r"hw\.optional\.(?:arm\.)?(?:FEAT_)?(\w+)", name) for name, value in tools.items() if value == "1"
    )
    return tuple(match[1].lower() for match in names if match)


def _sysfs_caches(root: Path) -> dict[str, int]:
    """Bytes of one cache of each level, as the first core sees them."""
    caches = {}
    for index in sorted((root / "sys/devices/system/cpu/cpu0/cache").glob("index*")):
        level, kind, size = (text_of(index / name) for name in ("level", "type", "size"))
        units = {"K": 2**10, "M": 2**20, "G": 2**30}
        match = re.fullmatch(r"(\d+)([KMG]?)", size)
        if level and match:
            suffix = {"Data": "d", "Instruction": "i"}.get(kind, "")
            # Unified caches (L2, L3) have no suffix.
            caches[f"L{level}{suffix}"] = int(match[1]) * units.get(match[2], 1)
    return caches


def _reported_caches(raw: dict[str, Any], tools: dict[str, Any]) -> dict[str, int]:
    """Cache sizes in bytes from the system's tools, else py-cpuinfo; on some systems the sum of a level's caches."""
    cpu = tools.get("cpu") or {}
    sizes: dict[str, Any] = {
        "L1d": tools.get("hw.l1dcachesize") or raw.get("l1_data_cache_size"),
        "L2": tools.get("hw.l2cachesize") or (cpu.get("L2CacheSize") or 0) * 1024 or raw.get("l2_cache_size"),
        "L3": tools.get("hw.l3cachesize") or (cpu.get("L3CacheSize") or 0) * 1024 or raw.get("l3_cache_size"),
    }
    return {level: int(size) for level, size in sizes.items() if str(size).isdigit() and int(size) > 0}


# --- limits of a container --------------------------------------------------------------------------------------------


def usable_cores(logical: int, root: Path = ROOT) -> float:
    """The cores that this process may use by its affinity and its container's quota, e.g. 1.5."""
    allowed = logical
    # macOS has no affinity to ask for.
    with contextlib.suppress(AttributeError, psutil.Error, OSError):
        allowed = min(logical, len(psutil.Process().cpu_affinity() or ()) or logical)
    return round(min([float(allowed), *_quotas(root)]), 2)


def memory_limit(root: Path = ROOT) -> int | None:
    """The lowest memory limit of this process's control groups, in bytes; None where there is none."""
    texts = [
        text for folder in _groups(root, "memory") for text in _files(folder, "memory.max", "memory.limit_in_bytes")
    ]
    # Version 1 writes "no limit" as a number near 2**63.
    return min((int(text) for text in texts if text.isdigit() and int(text) < 2**60), default=None)


def _quotas(root: Path) -> Iterator[float]:
    """CPU quotas in cores: `cpu.max` of control groups v2, two files of v1."""
    for folder in _groups(root, "cpu"):
        # Filled up with empty texts, since the file may be missing.
        quota, period = [*text_of(folder / "cpu.max").split(), "", ""][:2]
        quota = quota or text_of(folder / "cpu.cfs_quota_us")
        period = period or text_of(folder / "cpu.cfs_period_us")
        # Without a quota, version 2 writes `max` and version 1 writes -1: neither is digits only.
        if quota.isdigit() and period.isdigit() and int(quota) > 0 and int(period) > 0:
            yield int(quota) / int(period)


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """The folders of this process's control groups, from its own to the topmost: each can set a limit.

    In a container the path may not exist; the topmost mounted folder is then the container's own group.
    """
    for line in text_of(root / "proc/self/cgroup").splitlines():
        number, names, path = [*line.split(":", 2), "", ""][:3]
        if number == "0":
            mounts = [root / "sys/fs/cgroup", root / "sys/fs/cgroup/unified"]
        elif controller in names.split(","):
            mounts = [root / "sys/fs/cgroup" / names, root / "sys/fs/cgroup" / controller]
        else:
            continue
        for mount in mounts:
            own = mount / path.lstrip("/")
            chain = [own, *own.parents]
            yield from (folder for folder in chain[: chain.index(mount) + 1] if folder.is_dir())


def _files(folder: Path, *names: str) -> Iterator[str]:
    return (text for name in names if (text := text_of(folder / name)))
