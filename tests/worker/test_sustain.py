"""A sustained run on the real CPU provider: minutes of a tenth of a second."""

from __future__ import annotations

import pytest
from visits import Recorder, a_provider, a_whole_visit

from bench.records import Lasted, Sustain
from bench.worker.refusal import Refusal
from bench.worker.sustained import sustain


def test_a_real_model_is_run_on_end_and_told_of_minute_by_minute(tmp_path):
    channel = Recorder()
    sustain(Sustain(a_whole_visit(tmp_path), (0.5, 1.0, 1.5)), channel)
    assert channel.kinds() == [
        "stage import",
        "stage session",
        "opened",
        "stage placement",
        "stage bind",
        "stage time",
        "stage sustain",
        *["lasted"] * 3,
    ]
    minutes = [reply.minute for reply in channel.of(Lasted)]
    assert sum(minute.seconds for minute in minutes) >= 1.5
    for minute in minutes:
        assert minute.calls > 1
        assert 0 < minute.p10_ns <= minute.median_ns <= minute.p90_ns
        assert minute.first_ns is minute.token_ns is None


def test_a_model_whose_nodes_are_all_elsewhere_is_not_run_on_end(tmp_path):
    channel = Recorder()
    visit = a_whole_visit(tmp_path, provider=a_provider("AzureExecutionProvider"))
    with pytest.raises(Refusal, match="no node is on"):
        sustain(Sustain(visit, (0.1,)), channel)
    assert not channel.of(Lasted)
