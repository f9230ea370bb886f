"""Energy and GPU memory, from files as Linux has them and from a driver that is made up."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from builders import a_machine

from bench.declare import catalogue
from bench.machine.energy import Battery, GpuMeter, Meter, Meters, Nvml, Rapl
from bench.records import Accelerator, Device, Energy, Provider

NVIDIA = Device("gpu", 0, "NVIDIA", "NVIDIA L4")


def write(root: Path, files: dict[str, object]) -> Path:
    for name, value in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{value}\n", encoding="ascii")
    return root


def clock(*times: float):
    """A clock that tells these times, one after the other."""
    left = list(times)
    return lambda: left.pop(0)


# --- RAPL -------------------------------------------------------------------------------------------------------------

ZONE = "sys/class/powercap/intel-rapl:"


def packages(root: Path, *energies_uj: int) -> Path:
    """A server's counters: each package, its cores beside it, and one for the whole platform."""
    for number, energy in enumerate(energies_uj):
        zone = f"{ZONE}{number}"
        write(root, {f"{zone}/name": f"package-{number}", f"{zone}/energy_uj": energy})
        write(root, {f"{zone}/max_energy_range_uj": 1_000_000, f"{zone}:0/name": "core", f"{zone}:0/energy_uj": 5})
    return write(root, {f"{ZONE}9/name": "psys", f"{ZONE}9/energy_uj": 7})


def burst(root: Path, *after_uj: int) -> Meter:
    """A meter that saw a burst end with the counters at these values."""
    meter = Meter((Rapl(root),))
    meter.begin()
    packages(root, *after_uj)
    meter.end()
    return meter


def test_the_packages_are_summed_and_nothing_is_counted_twice(tmp_path):
    packages(tmp_path, 100_000, 200_000)
    assert burst(tmp_path, 400_000, 700_000).energy(10) == Energy(0.8, 10, "RAPL package")


def test_a_counter_that_runs_over_begins_again(tmp_path):
    packages(tmp_path, 900_000)
    assert burst(tmp_path, 100_000).energy(1) == Energy(0.2, 1, "RAPL package")


def test_a_counter_that_stands_still_tells_nothing(tmp_path):
    packages(tmp_path, 100_000)
    assert burst(tmp_path, 100_000).energy(1) is None


def test_counters_that_may_not_be_read_tell_nothing(tmp_path):
    packages(tmp_path, 1)
    (tmp_path / f"{ZONE}0/energy_uj").unlink()
    assert burst(tmp_path, 1).energy(1) is None


def test_a_burst_that_was_not_marked_has_no_energy_of_the_one_before(tmp_path):
    packages(tmp_path, 100_000)
    meter = burst(tmp_path, 200_000)
    meter.begin()
    assert meter.energy(1) is None


# --- batteries --------------------------------------------------------------------------------------------------------

BATTERY = "sys/class/power_supply/BAT0"
FULL = {f"{BATTERY}/type": "Battery", f"{BATTERY}/status": "Discharging", f"{BATTERY}/power_now": 10_000_000}


def drained(root: Path) -> Energy | None:
    """The energy of a burst of two seconds."""
    meter = Meter((Battery(root),), clock(10.0, 12.0))
    meter.begin()
    if (root / f"{BATTERY}/power_now").exists():
        write(root, {f"{BATTERY}/power_now": 20_000_000})
    meter.end()
    return meter.energy(4)


def test_a_discharging_battery_tells_its_mean_power(tmp_path):
    assert drained(write(tmp_path, FULL)) == Energy(30.0, 4, "battery")


def test_a_battery_that_tells_current_and_voltage_will_do(tmp_path):
    write(tmp_path, FULL)
    (tmp_path / f"{BATTERY}/power_now").unlink()
    write(tmp_path, {f"{BATTERY}/current_now": -1_000_000, f"{BATTERY}/voltage_now": 12_000_000})
    assert drained(tmp_path) == Energy(24.0, 4, "battery")


@pytest.mark.parametrize(
    "change",
    [{f"{BATTERY}/status": "Charging"}, {f"{BATTERY}/status": "Full"}, {f"{BATTERY}/scope": "Device"}],
)
def test_a_battery_that_does_not_feed_the_machine_tells_nothing(tmp_path, change):
    assert drained(write(tmp_path, FULL | change)) is None


# --- NVIDIA -----------------------------------------------------------------------------------------------------------


class FakeNvml:
    """Devices whose counters a test moves; `processes` is by device, then by process id."""

    class NVMLError(Exception):
        pass

    def __init__(self, *processes: dict[int, int | None], counts: bool = True) -> None:
        self.processes = list(processes)
        self.counters = [1000.0] * len(processes)
        self.counts = counts
        self.open = False

    def nvmlInit(self) -> None:
        self.open = True

    def nvmlShutdown(self) -> None:
        self.open = False

    def nvmlDeviceGetCount(self) -> int:
        return len(self.processes)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetTotalEnergyConsumption(self, device: int) -> float:
        if not self.counts:
            raise self.NVMLError
        return self.counters[device]

    def nvmlDeviceGetComputeRunningProcesses(self, device: int) -> list[SimpleNamespace]:
        return [SimpleNamespace(pid=pid, usedGpuMemory=held) for pid, held in self.processes[device].items()]

    def nvmlDeviceGetGraphicsRunningProcesses(self, device: int) -> list[SimpleNamespace]:
        raise self.NVMLError


def after_burst(
    driver: FakeNvml, *then: dict[int, int | None], in_container: bool = False, seconds: float = 1.0
) -> GpuMeter:
    """A meter of process 7 after a burst that took 2 J of the first device and 5 J of the second."""
    meter = GpuMeter(Nvml(driver), in_container, clock(0.0, seconds))
    meter.watch(7)
    meter.begin()
    driver.processes = list(then)
    driver.counters = [before + spent for before, spent in zip(driver.counters, (2000.0, 5000.0), strict=False)]
    meter.end()
    return meter


def test_a_gpus_energy_and_the_workers_memory_are_told():
    meter = after_burst(FakeNvml({}), {7: 300, 8: 900})
    assert meter.device_memory_bytes == 300
    assert meter.energy(10) == Energy(2.0, 10, "NVML")


def test_of_several_gpus_the_one_counts_that_the_worker_is_on():
    meter = after_burst(FakeNvml({}, {}), {8: 900}, {7: 300})
    assert meter.device_memory_bytes == 300
    assert meter.energy(1) == Energy(5.0, 1, "NVML")


def test_of_several_gpus_none_counts_where_the_worker_is_not_seen():
    meter = after_burst(FakeNvml({}, {}), {}, {})
    assert (meter.device_memory_bytes, meter.energy(1)) == (None, None)


def test_in_a_container_the_only_new_process_is_the_worker():
    assert after_burst(FakeNvml({8: 900}), {8: 900, 4711: 300}, in_container=True).device_memory_bytes == 300
    assert after_burst(FakeNvml({8: 900}), {8: 900, 4711: 300}).device_memory_bytes is None
    assert after_burst(FakeNvml({}), {8: 900, 4711: 300}, in_container=True).device_memory_bytes is None


def test_a_driver_that_tells_no_amounts_leaves_memory_out_and_energy_in():
    meter = after_burst(FakeNvml({}), {7: None})
    assert meter.device_memory_bytes is None
    assert meter.energy(1) == Energy(2.0, 1, "NVML")


def test_a_gpu_without_a_counter_has_no_energy():
    meter = after_burst(FakeNvml({}, counts=False), {7: 300})
    assert meter.energy(1) is None
    assert meter.device_memory_bytes == 300


# The first changes of an H200's energy counter under load, read without a pause: seconds, millijoules.
H200_STEPS = [(0.002, 17289069), (0.094, 17323480), (0.169, 17334776), (0.29, 17348112), (0.371, 17359346)]


def h200_counter(at: float) -> float:
    return float(max(millijoules for since, millijoules in H200_STEPS if since <= at))


@pytest.mark.parametrize(("begin", "end"), [(0.01, 0.06), (0.05, 0.10), (0.10, 0.16), (0.25, 0.31)])
def test_a_burst_that_is_short_beside_the_counters_steps_has_no_energy(begin, end):
    # Of these bursts two would take nothing, and one 34 J in 50 ms: 690 W, where the mean is 190 W.
    driver = FakeNvml({})
    meter = GpuMeter(Nvml(driver), False, clock(begin, end))
    meter.watch(7)
    driver.counters = [h200_counter(begin)]
    meter.begin()
    driver.processes, driver.counters = [{7: 300}], [h200_counter(end)]
    meter.end()
    assert meter.energy(1) is None
    assert meter.device_memory_bytes == 300


def test_a_burst_as_long_as_ten_steps_of_the_counter_has_energy():
    assert after_burst(FakeNvml({}), {7: 300}, seconds=0.99).energy(1) is None
    assert after_burst(FakeNvml({}), {7: 300}, seconds=1.0).energy(1) == Energy(2.0, 1, "NVML")


# --- which meter for which target -------------------------------------------------------------------------------------


@pytest.fixture
def kit(tmp_path, monkeypatch):
    """The meters of a machine with processor counters and an NVIDIA GPU."""
    driver = FakeNvml({})
    monkeypatch.setitem(sys.modules, "pynvml", driver)
    packages(tmp_path, 1)
    kit = Meters(a_machine(accelerators=(Accelerator("gpu", "NVIDIA L4", "NVIDIA"),)), tmp_path)
    yield kit
    kit.close()
    assert not driver.open


def source(meter: Meter) -> str | None:
    return meter.source.name if meter.source else None


def test_each_target_is_metered_where_it_computes(kit):
    assert isinstance(kit.meter(NVIDIA, Provider("WebGpuExecutionProvider")), GpuMeter)
    assert isinstance(kit.meter(None, catalogue.target("cuda").provider), GpuMeter)
    assert source(kit.meter(Device("cpu", 0), Provider("CPUExecutionProvider"))) == "RAPL package"
    assert source(kit.meter(None, None)) == "RAPL package"


def test_the_processors_counters_do_not_stand_for_a_gpu_that_is_not_in_them(kit):
    assert source(kit.meter(Device("gpu", 0, "AMD"), Provider("MIGraphXExecutionProvider"))) is None


def test_what_a_device_takes_that_is_imitated_says_nothing(kit):
    assert source(kit.meter(Device("cpu", 0), Provider("QNNExecutionProvider", emulated=True))) is None


def test_a_machine_without_a_driver_has_meters_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr("bench.machine.energy.nvidia_driver", lambda: None)
    kit = Meters(a_machine(accelerators=(Accelerator("gpu", "NVIDIA L4", "NVIDIA"),)), tmp_path)
    meter = kit.meter(NVIDIA, catalogue.target("cuda").provider)
    meter.watch(7)
    meter.begin()
    meter.end()
    assert (meter.energy(1), meter.device_memory_bytes) == (None, None)
    kit.close()
