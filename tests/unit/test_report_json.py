"""results.json read back."""

from __future__ import annotations

import msgspec
from a_report import a_whole_run, two_machines

from bench.records import SCHEMA
from bench.report import grid, json


def test_the_file_reads_back_strictly_as_what_went_in() -> None:
    run, outcomes = a_whole_run()
    read = msgspec.json.decode(json.render(grid.build([(run, outcomes)])), type=json.Results)
    assert read.schema == SCHEMA
    assert read.runs[0].run == run
    assert list(read.runs[0].outcomes) == outcomes


def test_several_runs_share_one_file() -> None:
    read = msgspec.json.decode(json.render(two_machines()), type=json.Results)
    assert len({sheet.run.machine.key for sheet in read.runs}) == 2
