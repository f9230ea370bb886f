"""The machine: what it is, and what it was doing."""

from __future__ import annotations

from typing import Literal

from bench.records.base import DeviceType, Record
from bench.records.notes import Note


class Cpu(Record, frozen=True):
    """The processor, by stable facts only."""

    brand: str
    architecture: str
    isa: tuple[str, ...]
    """The instruction sets that matter to inference, e.g. `avx2`, `avx512_vnni`, `avx512_bf16`, `amx_int8`."""
    physical_cores: int
    logical_cores: int
    usable_cores: float
    """What affinity and a container's quota leave, in cores."""
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
    kernel: str
    hypervisor: str | None
    container: str | None
    python: str
    key: str
    """SHA-256 over the stable fields, 12 hex digits: equal on two runs of one machine, reboots included."""


class MachineState(Record, frozen=True):
    """What the machine was doing beside one visit; state is no part of the machine's key.

    Frequency and temperature are read the moment that the timed bursts, or a minute of a sustained run, are over.
    """

    load_1min: float | None = None
    frequency_mhz: float | None = None
    temperature_c: float | None = None
    on_battery: bool | None = None
    steal_percent: float | None = None
    """Share of CPU time taken by the hypervisor during the visit."""
    other_cpu_percent: float | None = None
    """CPU time that other processes used during the visit, as a share of all cores."""
    available_bytes: int | None = None
    temperature_limit_c: float | None = None
    """The temperature at which the processor holds itself back, as the sensor that tells its temperature has it."""


class Device(Record, frozen=True):
    """One device of an execution provider, as ONNX Runtime or the provider itself tells of it."""

    type: DeviceType
    index: int
    """Among the provider's devices of this type, from 0."""
    vendor: str = ""
    name: str = ""
    """What the device is called, where that can be known."""
    driver: str | None = None
    metadata: dict[str, str] = {}
    """As the provider gives it, without paths."""

    @property
    def label(self) -> str:
        """`gpu.0`, as a matrix asks for it."""
        return f"{self.type}.{self.index}"


class Executed(Record, frozen=True):
    """What a probe model that asked for one number format was computed in, as measured."""

    asked: str
    """`fp32` or `fp16`."""
    format: str
    """`fp32`, `tf32`, `fp16`, `bf16`; `fp32 between casts` for FP16 tensors around FP32 kernels; `elsewhere` where the
    node was not on the provider; `refused` where it did not take the model; `unknown` where no known format fits."""
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
    checks_options: bool | None = None
    """False where the provider took an option that does not exist without a word: a misspelt one has no effect."""
    notes: tuple[Note, ...] = ()
    message: str = ""
    """Why it is not available, or what a reader should know."""
    remedy: str = ""
    kind: str = ""
    """What stands in the way, in one word for programs: `no-wheel`, `not-made`, `not-installed`, `no-device`,
    `not-loaded`, `registers-nothing`, `version`, `not-created`, `option`, `no-runtime`, `crashed`, `timeout`."""
    missing: str = ""
    """The device that the target needs and the machine does not show, `NVIDIA GPU`: the target was not tried."""
