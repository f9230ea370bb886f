"""`bench.run` from Python on a real, tiny ONNX file: the same run as the command's, and nothing is printed."""

from __future__ import annotations

import pytest

import bench

pytestmark = pytest.mark.end_to_end


def test_a_run_from_python_is_measured_read_and_made_a_table(matrix, cache, tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = bench.run(matrix(), out="mine", formats=("csv",), cache=cache)
    assert capfd.readouterr() == ("", "")
    assert [outcome.status for outcome in result.outcomes] == ["ok"]
    assert [path.name for path in result.files] == ["results.csv"]
    assert result.run.command.startswith("bench run --matrix matrix.toml --budget quick")
    again = bench.read_run("mine")
    assert again.outcomes == result.outcomes
    (row,) = bench.to_frame(again, drop_empty=True).itertuples()
    assert row.cell == "tiny/fp32/cpu/b1"
    assert row.latency_ms == result.outcomes[0].speed.latency_ms.value
    assert len(again.observations()) == row.rounds
