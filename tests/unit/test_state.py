"""The machine's state: arithmetic on made-up looks, sensors in made-up folders, and one real pair of looks."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from bench.machine import state
from bench.machine.state import Snapshot


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n")
    return root


@pytest.fixture
def look(monkeypatch):
    """Make the next look at the CPU's times return these."""

    def see(**seconds: float) -> None:
        times = SimpleNamespace(_asdict=lambda: {"user": 0.0, "system": 0.0, "idle": 0.0} | seconds)
        monkeypatch.setattr(psutil, "cpu_times", lambda: times)

    return see


def test_what_others_used_is_the_machine_less_our_own_share(look):
    look(user=100.0, idle=100.0)
    before = state.snapshot()
    look(user=103.0, system=1.0, idle=104.0, iowait=2.0)
    seen = state.since(before, own_cpu_s=3.0)
    assert seen.other_cpu_percent == pytest.approx(100 * (4 - 3) / 10)
    assert state.since(before).other_cpu_percent is None


def test_our_own_clock_running_ahead_is_no_negative_load(look):
    look(idle=0.0)
    before = state.snapshot()
    look(user=1.0, idle=1.0)
    assert state.since(before, own_cpu_s=1.01).other_cpu_percent == 0.0


def test_time_stolen_by_the_hypervisor_is_neither_busy_nor_idle(look):
    look(steal=5.0)
    before = state.snapshot()
    look(user=2.0, idle=5.0, steal=8.0)
    seen = state.since(before, own_cpu_s=2.0)
    assert (seen.steal_percent, seen.other_cpu_percent) == (pytest.approx(30.0), 0.0)


def test_where_stealing_is_not_counted_it_is_unknown_and_not_zero(look):
    look()
    before = state.snapshot()
    look(user=1.0, idle=1.0)
    assert state.since(before, 0.0).steal_percent is None


def test_a_guests_time_is_counted_once(look):
    """Linux adds it to `user` too."""
    look(guest=0.0)
    before = state.snapshot()
    look(user=5.0, guest=5.0, idle=5.0)
    assert state.since(before, 0.0).other_cpu_percent == pytest.approx(50.0)


def test_an_interval_shorter_than_the_kernels_clock_says_nothing(look):
    look()
    before = state.snapshot()
    look(user=0.01, idle=0.01, steal=0.01)
    seen = state.since(before, 0.0)
    assert (seen.other_cpu_percent, seen.steal_percent) == (None, None)


def test_a_real_visit_that_kept_a_core_busy_is_seen():
    before, busy = state.snapshot(), time.process_time()
    while time.process_time() - busy < 0.4:
        pass
    used = time.process_time() - busy
    hidden, told = state.since(before, own_cpu_s=0.0), state.since(before, own_cpu_s=used)
    assert hidden.other_cpu_percent is not None
    assert told.other_cpu_percent is not None
    assert hidden.other_cpu_percent > told.other_cpu_percent
    assert told.available_bytes


@pytest.mark.alone
def test_looking_is_cheap():
    state.since(state.snapshot(), 0.0)
    spent = []
    for _ in range(5):
        start = time.perf_counter()
        state.since(state.snapshot(), 0.0)
        spent.append(time.perf_counter() - start)
    assert min(spent) < 0.002


# --- sensors ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(state, "ROOT", tmp_path)
    monkeypatch.setattr(state.platform, "system", lambda: "Linux")
    return tmp_path


def seen() -> state.MachineState:
    return state.since(Snapshot(0.0, 0.0, 0.0))


def test_without_sensors_nothing_is_made_up(root):
    found = seen()
    assert (found.frequency_mhz, found.temperature_c, found.on_battery) == (None, None, None)


def test_the_frequency_is_the_mean_of_a_few_cores(root):
    cores = {f"sys/devices/system/cpu/cpufreq/policy{i}/scaling_cur_freq": str(2_000_000 + 1000 * i) for i in range(64)}
    write(root, cores)
    assert 2000 <= seen().frequency_mhz <= 2063
    assert len(state._frequency_files(root)) == 8


def test_the_temperature_is_the_processors_and_not_a_disks(root):
    chips = {"nvme": "80000", "k10temp": "45500", "coretemp": "52000"}
    for number, (name, value) in enumerate(chips.items()):
        write(root / f"sys/class/hwmon/hwmon{number}", {"name": name, "temp1_input": value})
    assert seen().temperature_c == 52.0


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({"temp1_crit": "100000", "temp1_max": "80000"}, 100.0),
        ({"temp1_max": "95000"}, 95.0),
        ({"temp1_crit": "0"}, None),
        ({}, None),
    ],
)
def test_a_chip_says_at_what_temperature_it_holds_itself_back(root, files, limit):
    write(root / "sys/class/hwmon/hwmon0", {"name": "coretemp", "temp1_input": "97000", **files})
    assert (seen().temperature_c, seen().temperature_limit_c) == (97.0, limit)


def test_the_limit_is_that_of_the_sensor_that_is_told(root):
    write(root / "sys/class/hwmon/hwmon0", {"name": "coretemp", "temp1_input": "60000", "temp1_crit": "90000"})
    write(root / "sys/class/hwmon/hwmon1", {"name": "coretemp", "temp1_input": "71000", "temp1_crit": "105000"})
    assert (seen().temperature_c, seen().temperature_limit_c) == (71.0, 105.0)


def test_a_zones_limit_is_its_first_trip_point(root):
    trips = {"trip_point_0_type": "active", "trip_point_0_temp": "50000"}
    trips |= {"trip_point_1_type": "passive", "trip_point_1_temp": "85000"}
    trips |= {"trip_point_2_type": "critical", "trip_point_2_temp": "110000"}
    write(root / "sys/class/thermal/thermal_zone0", {"type": "cpu-thermal", "temp": "61000", **trips})
    assert seen().temperature_limit_c == 85.0


def test_what_the_sensors_said_at_work_counts_though_it_is_cooler_now(root):
    write(root / "sys/class/hwmon/hwmon0", {"name": "coretemp", "temp1_input": "50000"})
    found = state.since(Snapshot(0.0, 0.0, 0.0), 0.0, state.Sensors(3400.0, 97.0, 100.0))
    assert (found.frequency_mhz, found.temperature_c, found.temperature_limit_c) == (3400.0, 97.0, 100.0)


def test_a_board_without_chips_has_thermal_zones(root):
    write(root / "sys/class/thermal/thermal_zone0", {"type": "battery", "temp": "30000"})
    write(root / "sys/class/thermal/thermal_zone1", {"type": "cpu-thermal", "temp": "61000"})
    assert seen().temperature_c == 61.0


def test_a_sensor_that_fails_is_unknown(root):
    write(root / "sys/class/hwmon/hwmon0", {"name": "coretemp", "temp1_input": ""})
    assert seen().temperature_c is None


MAINS = {"AC/type": "Mains", "AC/online": "1"}
BATTERY = {"BAT0/type": "Battery", "BAT0/status": "Discharging"}


@pytest.mark.parametrize(
    ("supplies", "expected"),
    [
        (MAINS | BATTERY, False),
        (MAINS | BATTERY | {"AC/online": "0"}, True),
        (BATTERY, True),
        (BATTERY | {"BAT0/status": "Charging"}, False),
        (BATTERY | {"UCSI/type": "USB", "UCSI/online": "1"}, False),
        ({"MOUSE/type": "Battery", "MOUSE/scope": "Device", "MOUSE/status": "Discharging"}, False),
        ({"README": "no battery here"}, False),
    ],
)
def test_on_battery_means_that_a_battery_feeds_the_machine(root, supplies, expected):
    write(root / "sys/class/power_supply", supplies)
    assert seen().on_battery is expected
