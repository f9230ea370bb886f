"""What a cell can lose beside its speed: its status, and nodes of its provider."""

from __future__ import annotations

from builders import CPU, WEBGPU, a_cell, a_placement, an_outcome

from bench.gating import text
from bench.gating.cells import support

BASELINE_OF_TORCH = a_cell("minilm/fp32/torch/b1", engine="torch", provider=None)


def placed(on_cpu: int, status: str = "partial"):
    """An outcome with so many products of matrices on the CPU, and the rest on WebGPU."""
    nodes = {"WebGpu": {"MatMul": 10 - on_cpu}, **({"CPU": {"MatMul": on_cpu}} if on_cpu else {})}
    ops = (f"MatMul x{on_cpu}",) if on_cpu else ()
    return an_outcome(status=status, placement=a_placement(**nodes), fallback_ops=ops)


def test_a_cell_that_is_what_it_was_has_lost_nothing():
    assert support(placed(0, "ok"), placed(0, "ok"), placed(0, "ok")).lost is None


def test_a_cell_that_was_ok_and_is_refused_has_lost_its_support():
    new = an_outcome(status="unsupported", reason="session: no kernel for Foo")
    found = support(placed(0, "ok"), placed(0, "ok"), new)
    assert text.say(found.lost) == "was ok, is unsupported: session: no kernel for Foo"
    assert found.blamed


def test_a_cell_that_was_ok_and_is_partial_has_lost_support():
    assert "was ok, is partial" in text.say(support(placed(0, "ok"), placed(0, "ok"), placed(2)).lost)


def test_answers_that_become_visibly_others_are_lost_support_and_others_that_stay_are_not():
    other = an_outcome(status="approximate", reason="top-1 agreement 0.5 is below 0.9")
    for before in (placed(0, "ok"), placed(2)):
        assert "is approximate: top-1 agreement 0.5" in text.say(support(before, None, other).lost)
    assert support(other, other, other).lost is None
    assert support(other, other, placed(2)).lost is None
    assert "was approximate, is inaccurate" in text.say(support(other, None, an_outcome(status="inaccurate")).lost)


def test_wrong_answers_are_lost_support():
    new = an_outcome(status="inaccurate", reason="cosine 0.8 is below 0.99")
    assert "is inaccurate: cosine 0.8" in text.say(support(placed(0, "ok"), None, new).lost)


def test_a_partial_cell_that_loses_more_nodes_has_lost_support():
    found = support(placed(2), placed(2), placed(3))
    assert text.say(found.lost) == f"3 nodes fell back from {WEBGPU}, and 2 did before: MatMul x3"


def test_a_cell_that_wins_nodes_or_a_better_status_has_lost_nothing():
    assert support(placed(3), placed(3), placed(2)).lost is None
    assert support(placed(3), placed(3), placed(0, "ok")).lost is None
    assert support(an_outcome(status="crashed"), None, placed(2)).lost is None


def test_nodes_of_an_engine_that_has_none_are_not_compared():
    old = an_outcome(BASELINE_OF_TORCH, placement=None)
    assert support(old, old, an_outcome(BASELINE_OF_TORCH, placement=None)).lost is None


def test_what_the_base_has_lost_today_as_well_is_not_the_changes_doing():
    refused = an_outcome(status="unsupported", reason="the driver is gone")
    found = support(placed(0, "ok"), refused, refused)
    assert found.lost
    assert not found.blamed


def test_what_only_the_new_side_has_lost_is_its_doing_even_where_the_base_lost_a_little():
    refused = an_outcome(status="unsupported", reason="no kernel")
    assert support(placed(0, "ok"), placed(2), refused).blamed


def test_shape_arithmetic_on_the_cpu_is_no_loss():
    shapes = a_placement(WebGpu={"MatMul": 10}, CPU={"Shape": 4})
    assert support(placed(0, "ok"), placed(0, "ok"), an_outcome(status="ok", placement=shapes)).lost is None
    assert CPU in shapes.nodes
