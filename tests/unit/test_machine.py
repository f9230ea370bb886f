"""The fingerprint: of this real machine, and of made-up ones of every kind."""

from __future__ import annotations

import getpass
import json
import re
import socket
import subprocess
import sys
import uuid
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from bench.machine import accelerators
from bench.machine import cpu as machine_cpu
from bench.machine import fingerprint as machine
from bench.machine import tools as machine_tools
from bench.machine.accelerators import linux_gpus, linux_npus, macos_accelerators, nvidia
from bench.machine.cpu import isa, memory_limit, raw_facts, usable_cores
from bench.machine.fingerprint import fingerprint, linux_hypervisor, machine_key, windows_hypervisor
from bench.records import Accelerator, Cpu, Machine


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n")
    return root


def a_machine(**changes: Any) -> Machine:
    cpu = Cpu("Ryzen 7 7840U", "x86_64", ("avx2", "avx512_vnni"), 8, 16, 16.0, {"L2": 1048576})
    gpu = Accelerator("gpu", "Phoenix1 (1002:15bf)", "AMD", "amdgpu", memory_bytes=512 * 2**20)
    given = {"cpu": cpu, "memory_bytes": 32 * 2**30 - 700_000_000, "accelerators": (gpu,), "os": "Fedora Linux"}
    given |= {"os_version": "42", "kernel": "Linux 6.14", "hypervisor": None, "container": None, "python": "3.13.1"}
    return Machine(**(given | {"key": ""} | changes))


# --- this machine -----------------------------------------------------------------------------------------------------


def test_this_machine_is_known_again():
    first = fingerprint()
    assert fingerprint() == first
    assert re.fullmatch(r"[0-9a-f]{12}", first.key)
    assert first.cpu.brand
    assert 0 < first.cpu.usable_cores <= first.cpu.logical_cores
    assert first.cpu.physical_cores <= first.cpu.logical_cores
    assert first.memory_bytes > 2**28


def test_the_key_is_the_same_in_another_process():
    code = "from bench.machine.fingerprint import fingerprint; print(fingerprint().key)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == fingerprint().key


def test_the_fingerprint_tells_nobody_whose_machine_it_is():
    text = msgspec.json.encode(fingerprint()).decode().lower()
    address = f"{uuid.getnode():012x}"
    words = {socket.gethostname(), getpass.getuser(), address, ":".join(re.findall("..", address)), str(Path.home())}
    for word in words:
        assert not re.search(rf"(?<![a-z0-9]){re.escape(word.lower())}(?![a-z0-9])", text), word


def test_the_fingerprint_survives_its_file():
    first = fingerprint()
    assert msgspec.json.decode(msgspec.json.encode(first), type=Machine) == first


# --- the key ----------------------------------------------------------------------------------------------------------


def test_what_changes_from_boot_to_boot_is_no_part_of_the_key():
    before = a_machine()
    after = a_machine(memory_bytes=before.memory_bytes - 5_000_000, python="3.13.2", container="docker")
    assert machine_key(before) == machine_key(after)


def changed_cpu(**changes: Any) -> Cpu:
    return msgspec.structs.replace(a_machine().cpu, **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"cpu": changed_cpu(brand="Ryzen 7 8840U")},
        {"cpu": changed_cpu(isa=("avx2",))},
        {"cpu": changed_cpu(usable_cores=2.0)},
        {"cpu": changed_cpu(logical_cores=8)},
        {"memory_bytes": 64 * 2**30},
        {"accelerators": ()},
        {"accelerators": (Accelerator("gpu", "Phoenix1 (1002:15bf)", "AMD", "amdgpu 6.12"),)},
        {"accelerators": (Accelerator("gpu", "Phoenix1 (1002:15bf)", "AMD", "amdgpu", "ROCm 7.0"),)},
        {"os_version": "43"},
        {"kernel": "Linux 6.15"},
        {"hypervisor": "QEMU Standard PC"},
    ],
)
def test_what_makes_another_machine_changes_the_key(changes):
    assert machine_key(a_machine(**changes)) != machine_key(a_machine())


def test_a_list_of_names_installed_later_does_not_change_the_key():
    unnamed = Accelerator("gpu", "GPU (1002:15bf)", "AMD", "amdgpu")
    assert machine_key(a_machine(accelerators=(unnamed,))) == machine_key(a_machine())


# --- processors -------------------------------------------------------------------------------------------------------

INTEL = """processor\t: 0
cpu family\t: 6
model\t\t: 143
model name\t: Intel(R)  Xeon(R) Platinum 8481C
bogomips\t: 5400.00
cpu MHz\t\t: 2700.000
flags\t\t: fpu sse4_2 avx avx2 fma hypervisor avx512f avx512_vnni amx_tile amx_int8 amx_bf16

processor\t: 1
model name\t: another"""


def test_an_intel_server_is_read_from_one_file(tmp_path):
    raw = raw_facts(write(tmp_path, {"proc/cpuinfo": INTEL}))
    assert machine_cpu._brand(raw) == "Intel(R) Xeon(R) Platinum 8481C"
    assert isa(raw["flags"]) == (
        "sse4_2",
        "avx",
        "fma",
        "avx2",
        "avx512f",
        "avx512_vnni",
        "amx_tile",
        "amx_int8",
        "amx_bf16",
    )


def test_a_bare_brand_gets_its_generation(tmp_path):
    raw = raw_facts(write(tmp_path, {"proc/cpuinfo": INTEL.replace("Intel(R)  Xeon(R) Platinum 8481C", "AMD EPYC")}))
    assert machine_cpu._brand(raw) == "AMD EPYC (family 6, model 143)"


def test_an_arm_server_gets_its_brand_elsewhere(tmp_path, monkeypatch):
    monkeypatch.setattr(machine_cpu, "_py_cpuinfo", lambda: {"brand_raw": "Neoverse-V1", "flags": ["wrong"]})
    text = "processor\t: 0\nBogoMIPS\t: 2100.00\nFeatures\t: fp asimd asimdhp asimddp sve i8mm bf16\nCPU part\t: 0xd40"
    raw = raw_facts(write(tmp_path, {"proc/cpuinfo": text}))
    assert raw["brand"] == "Neoverse-V1"
    assert isa(raw["flags"]) == ("neon", "fp16", "dotprod", "i8mm", "bf16", "sve")


def test_a_mac_tells_its_instruction_sets_through_sysctl():
    flags = {"AdvSIMD": 1, "arm.FEAT_DotProd": 1, "arm.FEAT_BF16": 1, "arm.FEAT_SME": 0}
    text = "\n".join(f"hw.optional.{name}: {value}" for name, value in flags.items())
    assert isa(machine_cpu._macos_flags(machine_tools.parse_sysctl(text))) == ("neon", "dotprod", "bf16")


def test_a_processor_that_py_cpuinfo_refuses_is_still_a_machine(monkeypatch):
    def refuse() -> dict[str, Any]:
        raise Exception("py-cpuinfo currently only works on X86 and some ARM CPUs")  # noqa: TRY002 - so it does

    monkeypatch.setitem(sys.modules, "cpuinfo", SimpleNamespace(get_cpu_info=refuse))
    assert raw_facts(Path("/nowhere"))["brand"] == ""
    assert machine_cpu.read_cpu({}, {}).brand


def test_py_cpuinfo_does_not_run_the_callers_script_again(tmp_path):
    """Where it starts child processes by spawning, a script without a main guard would print twice."""
    script = "print('top')\nfrom pathlib import Path\nfrom bench.machine.cpu import raw_facts\n"
    script += "import multiprocessing\nmultiprocessing.set_start_method('spawn')\nraw_facts(Path('/nowhere'))\n"
    write(tmp_path, {"script.py": script})
    done = subprocess.run([sys.executable, tmp_path / "script.py"], capture_output=True, text=True, check=True)
    assert done.stdout == "top\n"


def test_caches_are_those_of_one_core(tmp_path):
    caches = [("1", "Data", "48K"), ("1", "Instruction", "32K"), ("2", "Unified", "2M"), ("3", "Unified", "30720K")]
    for number, (level, kind, size) in enumerate(caches):
        folder = f"sys/devices/system/cpu/cpu0/cache/index{number}"
        write(tmp_path / folder, {"level": level, "type": kind, "size": size})
    expected = {"L1d": 48 * 2**10, "L1i": 32 * 2**10, "L2": 2 * 2**20, "L3": 30 * 2**20}
    assert machine_cpu._sysfs_caches(tmp_path) == expected


def test_caches_of_windows_and_macos_come_from_their_tools():
    windows = machine_cpu._reported_caches(
        {"l2_cache_size": "odd"}, {"cpu": {"L2CacheSize": 1024, "L3CacheSize": None}}
    )
    assert windows == {"L2": 2**20}
    assert machine_cpu._reported_caches({}, {"hw.l2cachesize": "4194304"}) == {"L2": 2**22}


# --- containers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "150000 100000"}, 1.5),
        ({"proc/self/cgroup": "0::/a/b", "sys/fs/cgroup/a/b/cpu.max": "max 100000"}, None),
        (
            {
                "proc/self/cgroup": "0::/a/b",
                "sys/fs/cgroup/a/cpu.max": "50000 100000",
                "sys/fs/cgroup/a/b/cpu.max": "max 100000",
            },
            0.5,
        ),
        (
            {
                "proc/self/cgroup": "4:memory:/x\n3:cpu,cpuacct:/docker/abc",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "25000",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000",
            },
            0.25,
        ),
        (
            {
                "proc/self/cgroup": "1:cpu:/",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            },
            None,
        ),
        ({"proc/self/cgroup": "garbage", "sys/fs/cgroup/cpu.max": "100000 100000"}, None),
        ({}, None),
    ],
)
def test_a_quota_leaves_fewer_cores(tmp_path, files, cores):
    unlimited = usable_cores(2, tmp_path / "nowhere")
    assert usable_cores(2, write(tmp_path, files)) == (unlimited if cores is None else cores)


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({"proc/self/cgroup": "0::/a", "sys/fs/cgroup/a/memory.max": "1073741824"}, 2**30),
        ({"proc/self/cgroup": "0::/a", "sys/fs/cgroup/a/memory.max": "max"}, None),
        ({"proc/self/cgroup": "4:memory:/", "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712"}, None),
        ({"proc/self/cgroup": "4:memory:/d", "sys/fs/cgroup/memory/memory.limit_in_bytes": "536870912"}, 2**29),
    ],
)
def test_a_container_leaves_less_memory(tmp_path, files, limit):
    assert memory_limit(write(tmp_path, files)) == limit


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        ({}, None),
        ({".dockerenv": ""}, "docker"),
        ({"run/.containerenv": ""}, "podman"),
        ({"proc/self/cgroup": "0::/kubepods/burstable/pod1"}, "kubernetes"),
        ({"proc/1/cgroup": "1:name=systemd:/lxc/box"}, "lxc"),
        ({"run/systemd/container": "systemd-nspawn"}, "systemd-nspawn"),
        ({"proc/self/cgroup": "0::/user.slice/session-2.scope"}, None),
    ],
)
def test_a_container_is_told_by_what_it_leaves(tmp_path, monkeypatch, files, kind):
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    assert machine._container(write(tmp_path, files)) == kind


# --- virtual machines -------------------------------------------------------------------------------------------------


def firmware(root: Path, vendor: str, product: str) -> Path:
    return write(root, {"sys/class/dmi/id/sys_vendor": vendor, "sys/class/dmi/id/product_name": product})


@pytest.mark.parametrize(
    ("flags", "arch", "names", "detected", "expected"),
    [
        (("hypervisor",), "x86_64", ("Amazon EC2", "c6i.large"), "amazon", "Amazon EC2 c6i.large"),
        ((), "x86_64", ("Amazon EC2", "c6i.metal"), "", None),
        ((), "x86_64", ("LENOVO", "21CB"), "", None),
        (("hypervisor",), "x86_64", ("", ""), "kvm", "kvm"),
        (("hypervisor",), "x86_64", ("", ""), "", "unknown"),
        ((), "aarch64", ("Amazon EC2", "c7g.large"), "", "Amazon EC2 c7g.large"),
        ((), "aarch64", ("Amazon EC2", "c7g.metal"), "", None),
        ((), "aarch64", ("", ""), "", None),
    ],
)
def test_a_virtual_machine_is_told_from_bare_metal(tmp_path, flags, arch, names, detected, expected):
    assert linux_hypervisor(flags, arch, firmware(tmp_path, *names), detected) == expected


def test_windows_security_is_no_virtual_machine():
    assert windows_hypervisor({"Manufacturer": "LENOVO", "Model": "21CB"}) is None
    expected = "Microsoft Corporation Virtual Machine"
    assert windows_hypervisor({"Manufacturer": "Microsoft Corporation", "Model": "Virtual Machine"}) == expected
    assert windows_hypervisor({}) is None


@pytest.mark.parametrize(
    ("system", "release", "version", "expected"),
    [
        ("Windows", "10", "10.0.26100", ("Windows 11", "10.0.26100", "Windows NT 10.0")),
        ("Windows", "10", "10.0.19045", ("Windows 10", "10.0.19045", "Windows NT 10.0")),
        ("Windows", "2022Server", "10.0.20348", ("Windows 2022Server", "10.0.20348", "Windows NT 10.0")),
        ("Darwin", "24.5.0", "Darwin Kernel Version 24.5.0", ("macOS", "15.5", "Darwin 24")),
        ("Linux", "6.1.0-alice-custom", "#1 SMP", ("Arch Linux", "", "Linux 6.1")),
    ],
)
def test_the_kernel_is_a_family_without_its_builders_name(monkeypatch, system, release, version, expected):
    told = {"system": system, "release": release, "version": version}
    for name, value in told.items():
        monkeypatch.setattr(machine.platform, name, lambda value=value: value)
    monkeypatch.setattr(machine.platform, "mac_ver", lambda: ("15.5", ("", "", ""), "arm64"))
    monkeypatch.setattr(machine.platform, "freedesktop_os_release", lambda: {"NAME": "Arch Linux"})
    assert machine._os() == expected


# --- accelerators -----------------------------------------------------------------------------------------------------


class FakeNvml:
    """The part of pynvml that is called; `broken` names the calls that raise."""

    class NVMLError(Exception):
        pass

    def __init__(self, *broken: str, names: tuple[str | bytes, ...] = ("NVIDIA L4",)) -> None:
        self.broken, self.names, self.open = broken, names, False

    def _call(self, name: str, value: Any) -> Any:
        if name in self.broken:
            raise self.NVMLError(name)
        return value

    def nvmlInit(self) -> None:
        self._call("init", None)
        self.open = True

    def nvmlShutdown(self) -> None:
        self.open = False

    def nvmlSystemGetDriverVersion(self) -> str:
        return self._call("driver", "570.86")

    def nvmlSystemGetCudaDriverVersion(self) -> int:
        return self._call("cuda", 12080)

    def nvmlDeviceGetCount(self) -> int:
        return self._call("count", len(self.names))

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return self._call(f"handle{index}", index)

    def nvmlDeviceGetName(self, handle: int) -> str | bytes:
        return self.names[handle]

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> SimpleNamespace:
        return self._call("memory", SimpleNamespace(total=24 * 2**30))


@pytest.mark.parametrize(
    ("nvml", "found"),
    [
        (FakeNvml(), [("NVIDIA L4", 24 * 2**30)]),
        (FakeNvml(names=(b"Tesla T4", "NVIDIA L4")), [("Tesla T4", 24 * 2**30), ("NVIDIA L4", 24 * 2**30)]),
        (FakeNvml("init"), []),
        (FakeNvml("driver"), []),
        (FakeNvml("count"), []),
        (FakeNvml("memory"), [("NVIDIA L4", None)]),
        (FakeNvml("handle0", names=("lost", "NVIDIA L4")), [("NVIDIA L4", 24 * 2**30)]),
    ],
)
def test_nvidias_driver_may_fail_at_every_step(monkeypatch, nvml, found):
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    assert [(gpu.name, gpu.memory_bytes) for gpu in nvidia()] == found
    assert not nvml.open


@pytest.mark.parametrize(("nvml", "api"), [(FakeNvml(), "CUDA 12.8"), (FakeNvml("cuda"), None)])
def test_the_newest_cuda_that_the_driver_runs_is_told_where_it_can_be(monkeypatch, nvml, api):
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    assert [(gpu.driver, gpu.api) for gpu in nvidia()] == [("570.86", api)]


class H200(FakeNvml):
    """What the driver answered on a virtual machine with an NVIDIA H200."""

    def nvmlSystemGetDriverVersion(self) -> str:
        return "580.159.04"

    def nvmlSystemGetCudaDriverVersion(self) -> int:
        return 13000

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> SimpleNamespace:
        return SimpleNamespace(total=150754820096, free=147076546560, used=3678273536)


def test_an_h200_is_what_its_driver_answered(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", H200(names=("NVIDIA H200",)))
    assert nvidia() == [Accelerator("gpu", "NVIDIA H200", "NVIDIA", "580.159.04", "CUDA 13.0", 150754820096)]


AMD = {"vendor": "0x1002", "device": "0x744c", "mem_info_vram_total": "25753026560", "serial_number": "secret"}


PCI_IDS = """# a comment
1001  Another maker
\t744c  Wrong
1002  Advanced Micro Devices, Inc. [AMD/ATI]
\t73bf  Navi 21
\t\t1002 0e3a  A board
\t744c  Navi 31 [Radeon RX 7900 XTX]
1003  A third"""


def a_device(root: Path, node: str, driver: str, files: dict[str, str]) -> None:
    """A node of /sys/class with a device behind it and a driver bound to that."""
    device = write(root / f"sys/devices/{node.rpartition('/')[2]}", files)
    (root / f"sys/bus/drivers/{driver}").mkdir(parents=True, exist_ok=True)
    (device / "driver").symlink_to(root / f"sys/bus/drivers/{driver}")
    (root / "sys/class" / node).mkdir(parents=True)
    (root / "sys/class" / node / "device").symlink_to(device)


@pytest.fixture
def linux(tmp_path) -> Path:
    try:
        (tmp_path / "link").symlink_to(tmp_path)
    except OSError:
        pytest.skip("no links can be made here")
    return tmp_path


def test_an_amd_gpu_is_named_and_its_serial_number_is_not(linux):
    a_device(linux, "drm/renderD128", "amdgpu", AMD)
    write(linux, {"sys/module/amdgpu/version": "6.12.12"})
    write(linux, {"usr/share/misc/pci.ids": PCI_IDS})
    name = "Navi 31 [Radeon RX 7900 XTX] (1002:744c)"
    expected = Accelerator("gpu", name, "AMD", "amdgpu 6.12.12", memory_bytes=25753026560)
    assert linux_gpus(linux) == [expected]


def test_a_display_controller_is_no_gpu(linux):
    """A server's own display has a card, and no render node."""
    a_device(linux, "drm/card0", "ast", {"vendor": "0x1a03", "device": "0x2000"})
    assert linux_gpus(linux) == []


def test_a_boards_gpu_is_named_by_its_device_tree(linux):
    a_device(linux, "drm/renderD128", "panfrost", {"uevent": "DRIVER=panfrost\nOF_COMPATIBLE_0=arm,mali-bifrost"})
    assert linux_gpus(linux) == [Accelerator("gpu", "arm,mali-bifrost", "arm", "panfrost")]


def test_an_intel_npu_is_found(linux):
    a_device(linux, "accel/accel0", "intel_vpu", {"vendor": "0x8086", "device": "0x7d1d"})
    assert linux_npus(linux) == [Accelerator("npu", "NPU (8086:7d1d)", "Intel", "intel_vpu")]


@pytest.mark.parametrize(("node", "vendor"), [("dev/fastrpc-cdsp", "Qualcomm"), ("dev/davinci0", "Huawei")])
def test_an_npu_with_a_node_of_its_own_is_found(linux, node, vendor):
    write(linux, {node: ""})
    assert [(npu.kind, npu.vendor) for npu in linux_npus(linux)] == [("npu", vendor)]


def test_nvidias_own_answer_replaces_the_systems(linux, monkeypatch):
    a_device(linux, "drm/renderD128", "nvidia", {"vendor": "0x10de", "device": "0x27b8"})
    a_device(linux, "drm/renderD129", "i915", {"vendor": "0x8086", "device": "0x46a6"})
    monkeypatch.setattr(accelerators, "ROOT", linux)
    monkeypatch.setattr(accelerators.platform, "system", lambda: "Linux")
    own = Accelerator("gpu", "NVIDIA L4", "NVIDIA", "570.86", "CUDA 12.8", 24 * 2**30)
    assert [gpu.vendor for gpu in accelerators.accelerators([own], {})] == ["NVIDIA", "Intel"]
    assert [gpu.vendor for gpu in accelerators.accelerators([], {})] == ["NVIDIA", "Intel"]


WINDOWS = {
    "gpus": [
        {
            "Name": "AMD Radeon 780M",
            "AdapterCompatibility": "Advanced Micro Devices, Inc.",
            "DriverVersion": "32.0.1",
            "PNPDeviceID": "PCI\\VEN_1002&DEV_15BF&SUBSYS_1\\4&2DA",
        },
        {
            "Name": "Microsoft Remote Display Adapter",
            "AdapterCompatibility": "Microsoft",
            "DriverVersion": "10.0",
            "PNPDeviceID": "SWD\\REMOTEDISPLAYENUM\\1",
        },
    ],
    "npus": {
        "FriendlyName": "NPU Compute Accelerator Device",
        "Manufacturer": "Advanced Micro Devices, Inc",
        "DriverVersion": None,
    },
}


def test_a_windows_laptop_has_its_gpu_and_npu_and_no_remote_display(monkeypatch):
    monkeypatch.setattr(accelerators.platform, "system", lambda: "Windows")
    tools = machine_tools.parse_json("\ufeff" + json.dumps(WINDOWS))
    assert accelerators.accelerators([], tools) == [
        Accelerator("gpu", "AMD Radeon 780M", "AMD", "32.0.1"),
        Accelerator("npu", "NPU Compute Accelerator Device", "AMD", None),
    ]


MAC = {
    "SPDisplaysDataType": [
        {
            "_name": "Apple M2",
            "sppci_model": "Apple M2",
            "spdisplays_vendor": "sppci_vendor_Apple",
            "spdisplays_ndrvs": [{"_spdisplays_display-serial-number": "secret"}],
        }
    ]
}


def test_a_mac_has_a_gpu_and_a_neural_engine():
    expected = [Accelerator("gpu", "Apple M2", "Apple"), Accelerator("npu", "Apple Neural Engine", "Apple")]
    assert macos_accelerators(MAC, "arm64") == expected
    assert macos_accelerators(MAC | {"kern.hv_vmm_present": "1"}, "arm64") == expected[:1]
    assert macos_accelerators(MAC, "x86_64") == expected[:1]


@pytest.mark.parametrize("answer", ["", "not json", "[]", '{"gpus": null, "npus": 3, "SPDisplaysDataType": [1]}'])
def test_a_tool_that_answers_nonsense_leaves_a_machine_without_accelerators(answer):
    tools = machine_tools.parse_json(answer)
    assert accelerators.windows_gpus(tools) == []
    assert accelerators.windows_npus(tools) == []
    assert macos_accelerators(tools, "x86_64") == []


def test_a_tool_that_is_missing_fails_or_hangs_says_nothing(monkeypatch):
    monkeypatch.setattr(machine_tools, "ASK_LIMIT_S", 0.3)
    assert machine_tools.ask(["no-such-tool-here"]) == ""
    assert machine_tools.ask([sys.executable, "-c", "print('x'); raise SystemExit(3)"]) == ""
    assert machine_tools.ask([sys.executable, "-c", "import time; time.sleep(30)"]) == ""
