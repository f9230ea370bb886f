"""Records of the machine: its fingerprint, its state, and what its targets are."""

from __future__ import annotations

from typing import Literal

from bench.records.base import DeviceType, Note, Record


class Cpu(Record, frozen=True):
    """The processor; only facts that do not change."""

    brand: str
    architecture: str
    isa: tuple[str, ...]
    """The instruction sets that matter to inference, e.g. `avx2`, `avx512_vnni`, `avx512_bf16`, `amx_int8`."""
    physical_cores: int
    logical_cores: int
    usable_cores: float
    """The cores that CPU affinity and the quota of a container leave."""
    caches: dict[str, int]
    """Bytes by level, e.g. `{"L2": 1048576}`."""


class Accelerator(Record, frozen=True):
    """A GPU or NPU that the operating system shows."""

    kind: Literal["gpu", "npu"]
    name: str
    vendor: str
    driver: str | None = None
    api: str | None = None
    """The version of the interface that the driver offers, e.g. `CUDA 13.0`."""
    memory_bytes: int | None = None


class Machine(Record, frozen=True):
    """The fingerprint. It holds no hostname, serial number, user name or address."""

    cpu: Cpu
    memory_bytes: int
    accelerators: tuple[Accelerator, ...]
    os: str
    os_version: str
    # The family only, because the full release changes with every update and may hold the name of its builder.
    kernel: str
    hypervisor: str | None
    container: str | None
    python: str
    key: str
    """SHA-256 over the stable fields, 12 hex digits; equal for two runs on one machine, also after a reboot."""


class MachineState(Record, frozen=True):
    """The state of the machine during the bursts of a block; it is not part of the machine's key.

    Frequency and temperature are read right after the timed bursts, or after a minute of a sustained run.
    """

    load_1min: float | None = None
    frequency_mhz: float | None = None
    temperature_c: float | None = None
    on_battery: bool | None = None
    steal_percent: float | None = None
    """Share of CPU time taken by the hypervisor meanwhile."""
    other_cpu_percent: float | None = None
    """CPU time that other processes used meanwhile, as a share of all cores."""
    available_bytes: int | None = None
    temperature_limit_c: float | None = None
    """The temperature at which the processor throttles, from the same sensor as its temperature."""


class Device(Record, frozen=True):
    """One device of an execution provider, as ONNX Runtime or the provider itself reports it."""

    type: DeviceType
    index: int
    """The index among the provider's devices of this type, from 0."""
    vendor: str = ""
    name: str = ""
    """What the device is called, where that can be known."""
    driver: str | None = None
    metadata: dict[str, str] = {}
    """As the provider reports it, without paths."""

    @property
    def label(self) -> str:
        """`gpu.0`, as a matrix asks for it."""
        return f"{self.type}.{self.index}"


# Measured and not asked for: the OpenVINO plugin computes FP32 graphs in BF16 on processors that have BF16.
class Executed(Record, frozen=True):
    """The number format in which a probe model was computed, as measured, for one requested format."""

    asked: str
    """`fp32` or `fp16`."""
    format: str
    """`fp32`, `tf32`, `fp16`, `bf16`; `fp32 between casts` for FP16 tensors around FP32 kernels; `elsewhere` where the
    node was not on the provider; `refused` where the provider refused the model; `unknown` where no known format
    fits."""
    bits: float | None = None
    """Effective bits of the product of two random matrices against its FP64 result."""
    message: str = ""


class TargetFacts(Record, frozen=True):
    """What one target is on this machine, as a probe in a worker found it."""

    available: bool
    versions: dict[str, str] = {}
    device: Device | None = None
    """The device that the target's cells run on."""
    devices: tuple[Device, ...] = ()
    """Every device that the provider offers here."""
    executes: tuple[Executed, ...] = ()
    # The OpenVINO plugin ignores an unknown key and still returns it from `get_provider_options()`.
    checks_options: bool | None = None
    """False where the provider accepts an option that does not exist, so that a misspelt option has no effect."""
    notes: tuple[Note, ...] = ()
    message: str = ""
    """Why it is not available, or what a reader should know."""
    remedy: str = ""
    kind: str = ""
    """Why it is not available, in one word for programs: `no-wheel`, `not-made`, `not-installed`, `no-device`,
    `not-loaded`, `registers-nothing`, `version`, `not-created`, `option`, `no-runtime`, `damaged-cache`,
    `read-only-cache`, `crashed`, `timeout`."""
    missing: str = ""
    """The device that the target needs and the machine lacks, `NVIDIA GPU`: the target was not tried."""
