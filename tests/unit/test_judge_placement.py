import pytest
from builders import CPU, WEBGPU, a_placement, an_observation
from msgspec.structs import replace

from bench.judge import placement
from bench.records import Placement


def test_nodes_are_counted_on_the_target_and_elsewhere():
    parts = placement.split(a_placement(WebGpu={"MatMul": 10, "Add": 2}, CPU={"Gather": 3, "Shape": 1}), WEBGPU)
    assert (parts.on_target, parts.elsewhere, parts.fallback_nodes) == (12, 4, 3)
    assert parts.others == (CPU,)


def test_ops_that_only_handle_shapes_or_constants_are_excused_and_listed():
    ops = {"Shape": 2, "Size": 1, "Constant": 4, "ConstantOfShape": 1}
    parts = placement.split(a_placement(WebGpu={"MatMul": 1}, CPU=ops), WEBGPU)
    assert parts.bookkeeping_ops == ("Constant x4", "Shape x2", "ConstantOfShape x1", "Size x1")
    assert (parts.fallback_ops, parts.fallback_nodes) == ((), 0)


def test_nodes_that_the_graph_proved_to_handle_shapes_only_are_excused_and_listed():
    placed = a_placement(WebGpu={"MatMul": 1}, CPU={"Gather": 3, "Concat": 2, "Shape": 1})
    parts = placement.split(replace(placed, shape_nodes={CPU: {"Gather": 2, "Concat": 2, "Shape": 1}}), WEBGPU)
    assert parts.fallback_ops == ("Gather x1",), "the third one is an embedding"
    assert parts.bookkeeping_ops == ("Concat x2", "Gather x2", "Shape x1")
    assert (parts.elsewhere, parts.fallback_nodes) == (6, 1)


def test_a_target_that_got_only_shape_arithmetic_is_absent():
    placed = a_placement(WebGpu={"Gather": 2}, CPU={"MatMul": 9})
    assert placement.split(replace(placed, shape_nodes={WEBGPU: {"Gather": 2}}), WEBGPU).absent
    assert not placement.split(replace(placed, shape_nodes={WEBGPU: {"Gather": 1}}), WEBGPU).absent


@pytest.mark.parametrize("op", ["Gather", "Unsqueeze", "Concat", "Cast", "Slice", "Identity", "Range", "com.x.Shape"])
def test_ops_that_may_carry_data_count_as_fallback_even_if_they_often_handle_shapes(op):
    parts = placement.split(a_placement(WebGpu={"MatMul": 1}, CPU={op: 1}), WEBGPU)
    assert parts.fallback_ops == (f"{op} x1",)


def test_fallback_ops_of_several_providers_are_added_up_the_most_frequent_first():
    parts = placement.split(
        a_placement(WebGpu={"MatMul": 1}, CPU={"Add": 2, "Cast": 2}, Azure={"Cast": 1, "Abs": 1}), WEBGPU
    )
    assert parts.fallback_ops == ("Cast x3", "Add x2", "Abs x1")
    assert parts.others == (CPU, "AzureExecutionProvider")


def test_on_the_cpu_provider_everything_but_the_cpu_is_elsewhere():
    parts = placement.split(a_placement(CPU={"MatMul": 3}, XNNPACK={"Conv": 1}), CPU)
    assert (parts.on_target, parts.fallback_ops) == (3, ("Conv x1",))


def test_a_target_that_got_only_a_shape_is_absent():
    assert placement.split(a_placement(WebGpu={"Shape": 1}, CPU={"MatMul": 9}), WEBGPU).absent
    assert placement.split(a_placement(CPU={"MatMul": 9}), WEBGPU).absent
    assert not placement.split(a_placement(WebGpu={"MatMul": 1}, CPU={"MatMul": 9}), WEBGPU).absent


def test_a_graph_of_shapes_alone_is_present_where_its_nodes_are():
    assert not placement.split(a_placement(WebGpu={"Shape": 1}), WEBGPU).absent


def test_a_provider_listed_without_nodes_holds_nothing_and_is_not_named():
    parts = placement.split(a_placement(WebGpu={"MatMul": 1}, CPU={}), WEBGPU)
    assert (parts.elsewhere, parts.others) == (0, ())


def test_the_worst_round_stands_for_all():
    good, bad = a_placement(WebGpu={"MatMul": 4}), a_placement(WebGpu={"MatMul": 3}, CPU={"MatMul": 1})
    rounds = [an_observation(round=i, placement=p) for i, p in enumerate([good, bad, good])]
    assert placement.worst(rounds, WEBGPU) == bad
    assert placement.worst(rounds, None) == good


def test_a_placement_without_nodes_is_not_known():
    empty = Placement(nodes={CPU: {}}, source="assignment-info")
    assert not placement.known(an_observation(placement=empty))
    assert placement.worst([an_observation(placement=empty), an_observation(placement=None)], WEBGPU) is None


def test_of_equal_placements_the_profiled_one_wins_and_a_worse_one_still_outranks_it():
    plain = a_placement(WebGpu={"MatMul": 3}, CPU={"Cast": 1})
    profiled, bad = replace(plain, copies=2), a_placement(WebGpu={"MatMul": 2}, CPU={"Cast": 2})
    rounds = [an_observation(round=i, placement=p) for i, p in enumerate([plain, profiled, plain])]
    assert placement.worst(rounds, WEBGPU) == profiled
    assert placement.worst([*rounds, an_observation(placement=bad)], WEBGPU) == bad
