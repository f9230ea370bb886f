"""The file for pytest-benchmark, as its own command reads it."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from a_report import EMULATED, a_cell, a_report, a_run, a_speed, a_whole_report, an_interval, an_outcome, two_machines
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from pytest_benchmark.stats import Stats

from bench.records import Outcome
from bench.report import formats, model
from bench.report.renderers import pytest_benchmark

CELL = "minilm/int8/cpu/b1-s128"
OTHER = "minilm/int8/webgpu/b1-s128"
ROUNDS = (12.1, 12.2, 12.3, 12.5, 12.4, 12.3)


def seen(*outcomes: Outcome, **run: Any) -> dict[str, Any]:
    return read(a_report(*outcomes, **run))


def read(report: model.Report) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(pytest_benchmark.render(report))
    return found


def an_outcome_of(*rounds_ms: float, target: str = "cpu", **changes: Any) -> Outcome:
    return an_outcome(a_cell(target=target), speed=a_speed(rounds_ms=rounds_ms), **changes)


def command(folder: Path, *said: object) -> str:
    """What `pytest-benchmark` prints; it must end well."""
    words = [sys.executable, "-m", "pytest_benchmark", *map(str, said)]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Failed to load" not in done.stdout + done.stderr
    return re.sub(r"\x1b\[[0-9;]*m", "", done.stdout)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Two runs of two cells: in the second, one takes a quarter longer and the other is as it was."""
    slower = [an_outcome_of(*(1.25 * time for time in ROUNDS)), an_outcome_of(*ROUNDS, target="webgpu")]
    runs = {"base": [an_outcome_of(*ROUNDS), an_outcome_of(*ROUNDS, target="webgpu")], "new": slower}
    return [
        formats.write(a_report(*outcomes, name=name), ["pytest-benchmark"], tmp_path / name)[0]
        for name, outcomes in runs.items()
    ]


# --- the command that the file is made for ----------------------------------------------------------------------------


def test_compare_puts_a_cell_beside_itself_and_prints_how_much_slower_it_is(files: list[Path]) -> None:
    said = command(files[0].parents[1], "compare", *files, "--columns=median,mean,rounds")
    slow = said[said.index(f"benchmark '{CELL}': 2 tests") : said.index(f"benchmark '{OTHER}': 2 tests")]
    assert re.search(rf"{CELL} \(\S*base/pytest-bench\) +12\.3000 \(1\.0\)", slow)
    assert re.search(rf"{CELL} \(\S*new/pytest-bench\) +15\.3750 \(1\.25\)", slow)
    alike = said[said.index(f"benchmark '{OTHER}'") :]
    assert len(re.findall(r"12\.3000 \(1\.0\)", alike)) == 4, "mean and median of either"
    assert "1.25" not in alike


def test_compare_between_files_prints_the_change_in_percent(files: list[Path]) -> None:
    said = command(files[0].parents[1], "compare", *files, "--between=median", "--group-by=param:model")
    (slow,) = re.findall(rf"^{CELL} .*$", said, re.MULTILINE)
    (alike,) = re.findall(rf"^{OTHER} .*$", said, re.MULTILINE)
    assert slow.endswith("+25.0%")
    assert alike.endswith("+0.0%")


@pytest.mark.parametrize("group_by", ["group", "name", "func", "fullname", "fullfunc", "param", "param:target"])
def test_compare_groups_by_whatever_it_knows(files: list[Path], group_by: str) -> None:
    said = command(files[0].parents[1], "compare", *files, f"--group-by={group_by}")
    assert said.count(": 2 tests") == 2


def test_compare_writes_its_table_as_csv(files: list[Path]) -> None:
    folder = files[0].parents[1]
    command(folder, "compare", *files, "--csv=table.csv")
    with (folder / "table.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["param:target"], row["name"]) for row in rows] == [("cpu", CELL)] * 2 + [("webgpu", OTHER)] * 2
    assert sorted(float(row["median"]) for row in rows) == pytest.approx([0.0123, 0.0123, 0.0123, 0.015375])
    assert {row["rounds"] for row in rows} == {"6"}


def test_list_and_numbers_find_files_in_a_storage(files: list[Path]) -> None:
    folder = files[0].parents[1]
    storage = folder / ".benchmarks" / "machine"
    storage.mkdir(parents=True)
    for number, file in enumerate(files, 1):
        file.rename(storage / f"{number:04}_{file.parent.name}.json")
    assert [Path(one).name for one in command(folder, "list").split()] == ["0001_base.json", "0002_new.json"]
    assert "(1.25)" in command(folder, "compare", "0001", "0002")


def test_several_runs_in_one_file_are_compared_with_each_other(tmp_path: Path) -> None:
    (path,) = formats.write(two_machines(), ["pytest-benchmark"], tmp_path)
    said = command(tmp_path, "compare", path, "--columns=median", "-k", CELL)
    assert said.count(f"benchmark '{CELL}': 2 tests") == 1
    assert f"{CELL}[core-ultra-7-20261104-0830]" in said


# --- what other readers look for --------------------------------------------------------------------------------------


@given(st.lists(st.floats(1e-7, 100), min_size=1, max_size=12))
def test_the_statistics_are_those_that_pytest_benchmark_computes_itself(times: list[float]) -> None:
    theirs = Stats()
    for time in times:
        theirs.update(time)
    ours = pytest_benchmark.stats(times)
    assert ours.keys() == {*Stats.fields, "data", "iterations"}
    for name, value in theirs.as_dict().items():
        assert ours[name] == (value if isinstance(value, str) else pytest.approx(value)), name
    assert ours["data"] == times


def test_no_sample_has_no_statistics() -> None:
    with pytest.raises(ValueError, match="at least one sample"):
        pytest_benchmark.stats([])


def test_a_benchmark_has_every_field_that_pytest_benchmark_writes(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text("def test_it(benchmark):\n    benchmark(lambda: sum(range(9)))\n")
    words = ["-p", "no:cacheprovider", "--benchmark-json=real.json", "test_it.py"]
    plain = ["--benchmark-min-rounds=2", "--benchmark-max-time=0.01", "-c", "none.ini", "--rootdir=."]
    (tmp_path / "none.ini").write_text("[pytest]\n")
    # In a process of pytest-xdist, pytest-benchmark would measure nothing.
    environment = {name: value for name, value in os.environ.items() if name != "PYTEST_XDIST_WORKER"}
    command = [sys.executable, "-m", "pytest", *words, *plain]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)
    real = json.loads((tmp_path / "real.json").read_text())
    ours = seen(an_outcome())
    assert real.keys() <= ours.keys()
    assert real["commit_info"].keys() == ours["commit_info"].keys()
    assert real["benchmarks"][0].keys() <= ours["benchmarks"][0].keys()
    assert real["benchmarks"][0]["stats"].keys() == ours["benchmarks"][0]["stats"].keys()
    assert ours["benchmarks"][0]["options"].keys() <= real["benchmarks"][0]["options"].keys()


def test_a_history_finds_the_cell_again_by_a_name_that_has_no_run_in_it() -> None:
    """`github-action-benchmark` with `tool: pytest` keeps `ops` by `fullname`, and shows `stddev` and `rounds`."""
    (first,), (second,) = (seen(an_outcome_of(*ROUNDS), name=name)["benchmarks"] for name in ("monday", "tuesday"))
    assert first["fullname"] == second["fullname"] == CELL
    assert first["stats"]["ops"] == pytest.approx(1000 / (sum(ROUNDS) / 6))
    assert first["stats"]["stddev"] == pytest.approx(0.1414e-3, rel=1e-3)
    assert first["stats"]["rounds"] == 6


# --- what is in it, and what is not -----------------------------------------------------------------------------------


def test_the_samples_are_the_rounds_and_it_says_so() -> None:
    (benchmark,) = seen(an_outcome_of(*ROUNDS, calls=4120))["benchmarks"]
    assert benchmark["stats"]["data"] == pytest.approx([time / 1000 for time in ROUNDS])
    assert benchmark["extra_info"]["calls"] == 4120
    assert "median call of one round, a fresh process" in benchmark["extra_info"]["samples"]


def test_what_the_format_has_no_place_for_stands_beside_the_samples() -> None:
    speed = a_speed(rounds_ms=ROUNDS, ratio_to_control=an_interval(1.8, None))
    report = a_report(an_outcome(speed=speed, status="partial", flags=("noisy",)), name="a-run")
    extra = read(report)["benchmarks"][0]["extra_info"]
    assert (extra["cell"], extra["run"], extra["machine"]) == (CELL, "a-run", a_run().machine.key)
    assert (extra["status"], extra["flags"], extra["weights"]) == ("partial", ["noisy"], "pretrained")
    assert extra["latency_ms"] == {"value": 12.3, "low": 12.3 / 1.02, "high": 12.3 * 1.02}
    assert extra["ratio_to_control"] == {"value": 1.8, "low": None, "high": None}
    assert extra["control"] == "minilm/fp32/torch-eager/b1-s128"


def test_only_cells_with_a_valid_speed_are_benchmarks() -> None:
    report = a_whole_report()
    named = {benchmark["extra_info"]["cell"] for benchmark in read(report)["benchmarks"]}
    assert named == {outcome.cell.id for outcome in report.sheets[0].outcomes if outcome.speed}
    assert not [name for name in named if EMULATED in name]


def test_a_run_in_which_nothing_worked_is_an_empty_file_that_can_be_compared(tmp_path: Path) -> None:
    report = a_report(an_outcome(status="crashed", reason="session: Segmentation fault"))
    (path,) = formats.write(report, ["pytest-benchmark"], tmp_path)
    assert json.loads(path.read_text())["benchmarks"] == []
    command(tmp_path, "compare", path)


def test_the_machine_is_known_by_its_key_and_nothing_names_a_host_or_a_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.node", lambda: "secret-host")
    monkeypatch.setenv("USER", "secret-user")
    text = pytest_benchmark.render(a_whole_report())
    assert json.loads(text)["machine_info"]["node"] == a_run().machine.key
    assert "secret" not in text
    assert json.loads(text)["commit_info"]["id"] == "unversioned"


def test_runs_of_several_machines_keep_their_keys() -> None:
    keys = {benchmark["extra_info"]["machine"] for benchmark in read(two_machines())["benchmarks"]}
    assert keys == {"3f2a61c09be4", "c81d9a0be577"}


def test_names_of_a_foreign_run_do_nothing_to_a_terminal() -> None:
    hostile = a_cell(model="\x1b[31mminilm")
    run = replace(a_run((hostile,)), name="run\x1b]0;x\x07")
    text = pytest_benchmark.render(model.build([(run, [an_outcome(hostile)])]))
    assert "\\u001b" not in text
    assert json.loads(text)["benchmarks"][0]["name"] == CELL


def test_a_single_round_is_a_benchmark_without_scatter() -> None:
    (benchmark,) = seen(an_outcome_of(12.3))["benchmarks"]
    assert (benchmark["stats"]["rounds"], benchmark["stats"]["stddev"]) == (1, 0)
