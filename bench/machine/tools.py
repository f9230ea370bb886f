"""Reads hardware facts from small files of Linux, and from the tools of Windows and macOS."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

ASK_LIMIT_S = 8.0
NO_WINDOW = getattr(subprocess, "CREATE_NO_WINDOW", 0)

POWERSHELL = r"""
$ErrorActionPreference = 'SilentlyContinue'
[Console]::OutputEncoding = [Text.Encoding]::UTF8
$version = @{n='DriverVersion'; e={(Get-PnpDeviceProperty -InstanceId $_.InstanceId -KeyName DEVPKEY_Device_DriverVersion).Data}}
@{
  gpus = @(Get-CimInstance Win32_VideoController | Select-Object Name, AdapterCompatibility, DriverVersion, PNPDeviceID)
  npus = @(Get-PnpDevice -Class ComputeAccelerator -PresentOnly | Select-Object FriendlyName, Manufacturer, $version)
  system = Get-CimInstance Win32_ComputerSystem | Select-Object Manufacturer, Model
  cpu = Get-CimInstance Win32_Processor | Select-Object -First 1 L2CacheSize, L3CacheSize
} | ConvertTo-Json -Depth 3 -Compress
"""  # noqa: E501 - PowerShell breaks a line at fewer places than it seems

SYSCTL = ("kern.hv_vmm_present", "hw.l1dcachesize", "hw.l2cachesize", "hw.l3cachesize", "hw.optional")


def os_facts() -> dict[str, Any]:
    """Facts by name: `gpus`, `npus`, `system`, `cpu` of Windows; sysctl names and `SPDisplaysDataType` of macOS."""
    system = platform.system()
    if system == "Windows":
        return parse_json(ask(["powershell", "-NoProfile", "-NonInteractive", "-Command", POWERSHELL]))
    if system == "Darwin":
        shown = parse_json(ask(["system_profiler", "-json", "SPDisplaysDataType"]))
        # sysctl exits with 1 where one of the names is unknown, and prints the others.
        return shown | parse_sysctl(ask(["sysctl", *SYSCTL], ok_codes=(0, 1)))
    return {}


def ask(command: list[str], ok_codes: tuple[int, ...] = (0,)) -> str:
    """The output of a tool, stripped; empty where the tool is missing, fails or takes too long."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=ASK_LIMIT_S,
            check=False,
            # Without it, Windows would open a console window for a moment.
            creationflags=NO_WINDOW if sys.platform == "win32" else 0,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode("utf-8", "replace").strip() if done.returncode in ok_codes else ""


def parse_json(text: str) -> dict[str, Any]:
    """A JSON object; empty where the text is none, since a tool's output must not stop a run."""
    try:
        # PowerShell begins its output with a byte order mark.
        value = json.loads(text.removeprefix("\ufeff"))
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def parse_sysctl(text: str) -> dict[str, str]:
    """The values of sysctl's lines by name, such as `hw.optional.arm.FEAT_BF16: 1`."""
    pairs = (line.partition(":") for line in text.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs if value}


def rows_of(facts: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """A list of objects. PowerShell 5 writes a list of one object as the object, or a list as `{"value": [...]}`."""
    rows = facts.get(name)
    if isinstance(rows, dict):
        rows = rows.get("value", [rows])
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


# --- files of Linux ---------------------------------------------------------------------------------------------------


def number_of(path: Path) -> float | None:
    """The number that a small file holds; None where there is none."""
    try:
        return float(text_of(path))
    except ValueError:
        return None


def text_of(path: Path) -> str:
    """What a small file holds; empty where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
