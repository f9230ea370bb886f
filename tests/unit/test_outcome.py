import math
from itertools import pairwise

import pytest
from builders import (
    CPU,
    WEBGPU,
    a_cell,
    a_control,
    a_device,
    a_failed,
    a_failure,
    a_generated,
    a_generation,
    a_generator,
    a_parity,
    a_parity_of_tokens,
    a_placement,
    a_run,
    a_start,
    a_state,
    a_timing,
    an_energy,
    an_observation,
    rounds_of,
    some_facts,
    some_traits,
)
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from bench.judge import statistics
from bench.judge.outcome import SEVERITY, judge, violations
from bench.records import Generation, Interval, Placement, Recipe, Tolerance, Transcript, note
from bench.report import text

CELL = a_cell()
A, B, C = note("a", sizes=("batch=1",)), note("b", note("a"), share=0.5), note("c")


def judged(*observations, cell=CELL, **run):
    """The outcome of one cell of which these were seen."""
    (outcome,) = judge(a_run(cell, **run), [replace(one, cell=cell.id) for one in observations])
    return outcome


def flags_of(outcome):
    """The kinds of its flags."""
    return [flag.kind for flag in outcome.flags]


def rounds(*changes):
    """One healthy round for each dict, with what it changes."""
    return [an_observation(round=number, **change) for number, change in enumerate(changes)]


# --- every planned cell has one outcome -------------------------------------------------------------------------------


def test_a_healthy_cell_is_ok_and_says_why():
    outcome = judged(*rounds({}, {}, {}))
    assert outcome.status == "ok"
    assert text.reason(outcome) == f"every node on {WEBGPU}; answers within tolerance"
    assert (outcome.rounds, outcome.calls) == (3, 30)
    assert outcome.speed.latency_ms.value == pytest.approx(2.0)


def test_a_cell_that_a_rule_excludes_carries_the_rules_reason():
    outcome = judged(cell=a_cell(excluded="no int4 recipe for speech models yet"))
    assert (outcome.status, text.reason(outcome)) == ("excluded", "no int4 recipe for speech models yet")


def test_an_excluded_cell_stays_excluded_though_a_file_holds_rounds_of_it():
    outcome = judged(an_observation(), cell=a_cell(excluded="why"))
    assert (outcome.status, outcome.speed) == ("excluded", None)


def test_a_cell_whose_turn_never_came_names_the_command_that_goes_on():
    outcome = judged()
    assert (outcome.status, outcome.failure) == ("not-measured", None)
    assert text.reason(outcome) == "not measured: the run ended before its turn"
    assert text.remedy(outcome) == "go on with `bench run --resume RUN`, where RUN is the folder of vm-20261102"


def test_outcomes_come_in_plan_order_and_strangers_are_passed_over():
    cells = [a_cell(f"minilm/fp32/{target}/b1-s128") for target in ("z", "a", "m")]
    seen = [an_observation("minilm/fp32/a/b1-s128"), an_observation("other/fp32/a/b1-s128")]
    outcomes = judge(a_run(*cells), seen)
    assert [outcome.cell for outcome in outcomes] == cells
    assert [outcome.status for outcome in outcomes] == ["not-measured", "ok", "not-measured"]


def test_a_plan_without_cells_has_no_outcomes():
    assert judge(replace(a_run(), cells=()), [an_observation()]) == ()


def test_a_round_that_was_visited_again_counts_as_it_was_last_seen():
    outcome = judged(*rounds({}, {}), a_failed(round=2), an_observation(round=2))
    assert (outcome.status, outcome.rounds) == ("ok", 3)


# --- failures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", SEVERITY)
def test_a_failure_becomes_the_status_with_its_stage_its_first_line_and_its_remedy(status):
    outcome = judged(a_failed(failure=a_failure(status, message="\n  no kernel for Foo \nat line 9")))
    assert (outcome.status, text.reason(outcome), text.remedy(outcome)) == (
        status,
        "session: no kernel for Foo",
        "drop Foo",
    )
    assert outcome.failure.message.endswith("line 9")
    assert outcome.speed is None


def test_one_bad_round_of_five_withholds_the_speed_and_is_counted():
    outcome = judged(*rounds({}, {}, {}, {}), a_failed(round=4, status="crashed"))
    assert outcome.status == "crashed"
    assert text.reason(outcome).endswith("(in 1 of 5 rounds)")
    assert (outcome.speed, outcome.rounds) == (None, 4)


def test_a_failure_of_every_round_needs_no_count():
    assert "rounds" not in text.reason(judged(a_failed(round=0), a_failed(round=1)))


WORST_FIRST = ["crashed", "out-of-memory", "timeout", "failed", "unavailable", "unsupported"]


@pytest.mark.parametrize(("worse", "better"), list(pairwise(WORST_FIRST)))
def test_the_worst_failure_wins_whichever_came_first(worse, better):
    first = judged(a_failed(round=0, status=worse), a_failed(round=1, status=better))
    last = judged(a_failed(round=0, status=better), a_failed(round=1, status=worse))
    assert first.status == last.status == worse
    assert text.reason(first).endswith("(in 1 of 2 rounds)")


def test_a_failure_without_a_message_says_its_signal_or_its_kind():
    killed = a_failure("crashed", message="", signal="SIGSEGV")
    assert text.reason(judged(a_failed(failure=killed))) == "session: SIGSEGV"
    assert text.reason(judged(a_failed(failure=a_failure(message=" \n ", kind="exit")))) == "session: exit"


def test_a_failure_that_claims_to_be_fine_is_failed():
    assert judged(a_failed(failure=a_failure("ok"))).status == "failed"


def test_a_failure_beside_a_timing_withholds_the_timing():
    outcome = judged(an_observation(failure=a_failure("timeout")))
    assert (outcome.status, outcome.speed) == ("timeout", None)


def test_an_endless_error_line_is_cut():
    assert len(text.reason(judged(a_failed(message="x" * 10_000)))) < 500


# --- answers ----------------------------------------------------------------------------------------------------------


def test_a_timing_whose_answers_were_not_checked_is_no_number():
    outcome = judged(*rounds({}, {"parity": None}, {}))
    assert (outcome.status, outcome.speed) == ("failed", None)
    assert "not checked" in text.reason(outcome)
    assert text.reason(outcome).endswith("(in 1 of 3 rounds)")


def test_a_check_over_no_input_is_no_check():
    assert judged(an_observation(parity=a_parity(samples=0))).failure.kind == "unchecked"


@pytest.mark.parametrize("timing", [None, a_timing(()), a_timing((0, 0, 0))])
def test_a_worker_that_timed_nothing_failed(timing):
    outcome = judged(an_observation(timing=timing))
    assert (outcome.status, outcome.failure.kind, outcome.speed) == ("failed", "untimed", None)


def test_a_round_that_only_looked_at_memory_takes_nothing_from_the_others():
    outcome = judged(*rounds({}, {"timing": None, "parity": None, "peak_rss_bytes": 900_000_000}, {}))
    assert (outcome.status, outcome.rounds, outcome.peak_rss_bytes) == ("ok", 2, 900_000_000)


@pytest.mark.parametrize(
    ("parity", "words"),
    [
        (a_parity(cosine=0.85), "cosine 0.85 is below 0.99"),
        (a_parity(relative_error=0.2), "relative error 0.2 is above 0.05"),
        (a_parity(cosine=0.5, relative_error=0.9), "cosine 0.5 is below 0.99 and relative error 0.9 is above 0.05"),
        (a_parity(finite=False, cosine=None, relative_error=None), "the outputs hold NaN or infinity"),
        (a_parity(cosine=None), "the cosine is undefined"),
        (a_parity(cosine=math.nan), "the cosine is undefined"),
        (a_parity(relative_error=None), "the error is undefined"),
        (a_parity(relative_error=math.nan), "the error is undefined"),
    ],
)
def test_wrong_answers_have_no_speed_and_say_how_wrong_they_are(parity, words):
    outcome = judged(*rounds({"parity": parity}, {"parity": parity}))
    assert (outcome.status, outcome.speed) == ("inaccurate", None)
    assert text.reason(outcome) == f"{words}, against PyTorch 2.13.0, FP32"


@pytest.mark.parametrize(
    "parity",
    [
        a_parity(cosine=0.99, relative_error=0.05),  # on the limit is within
        a_parity(relative_error=None, tolerance=Tolerance(min_cosine=0.99)),
        a_parity(relative_error=0.0, max_abs_error=0.0, cosine=1.0, effective_bits=None),
    ],
)
def test_answers_within_the_tolerance_are_right(parity):
    assert judged(an_observation(parity=parity)).status == "ok"


def test_the_scheduler_can_ask_whether_one_answer_is_right():
    assert violations(a_parity()) == []
    assert violations(a_parity(cosine=0.5)) == [note("figure-too-low", figure="cosine", value=0.5, limit=0.99)]
    assert violations(a_parity(samples=0)) == [note("nothing-compared")]


def test_one_wrong_round_is_enough_and_the_worst_is_the_one_shown():
    worst = a_parity(cosine=0.2)
    outcome = judged(*rounds({}, {"parity": a_parity(cosine=0.9)}, {"parity": worst}))
    assert outcome.status == "inaccurate"
    assert outcome.parity == worst
    assert text.reason(outcome) == "cosine 0.2 is below 0.99, against PyTorch 2.13.0, FP32 (in 2 of 3 rounds)"


def test_a_target_that_computes_in_fewer_bits_is_named_beside_its_error():
    # As with use_tf32 = 1 on an H200, where the relative error of a BERT was 0.000513.
    in_tf32 = an_observation(parity=a_parity(relative_error=0.000513, tolerance=Tolerance(max_relative_error=0.0001)))
    fewer = note("full-precision", asked="fp32", executed="tf32")
    for computes, remedy in (("tf32", fewer), ("fp32", note("try-other-recipe"))):
        outcome = judged(in_tf32, targets={CELL.target: some_facts(("fp32", computes))})
        assert (outcome.status, outcome.remedy) == ("inaccurate", remedy)
    words = "the target computes FP32 in TF32: see its options, or ask for that precision"
    assert text.say(fewer) == words


def test_outputs_that_are_not_finite_are_worse_than_any_cosine():
    broken = a_parity(finite=False, cosine=0.999)
    assert judged(*rounds({"parity": a_parity(cosine=-1.0)}, {"parity": broken})).parity == broken


def test_of_right_answers_the_worst_is_shown_too():
    worst = a_parity(cosine=0.995)
    assert judged(*rounds({}, {"parity": worst}, {})).parity == worst


# --- placement --------------------------------------------------------------------------------------------------------


def test_nodes_that_fell_back_make_it_partial_with_a_speed_and_the_ops():
    placed = a_placement(WebGpu={"MatMul": 10}, CPU={"Gather": 2, "Cast": 1, "Shape": 4})
    outcome = judged(an_observation(placement=placed))
    assert outcome.status == "partial"
    assert text.reason(outcome) == (
        f"3 of 17 nodes fell back to {CPU}: Gather x2, Cast x1; "
        "their share of the time cannot be told: no call was profiled"
    )
    assert (outcome.nodes_on_target, outcome.nodes_elsewhere) == (10, 7)
    assert (outcome.fallback_ops, outcome.bookkeeping_ops) == (("Gather x2", "Cast x1"), ("Shape x4",))
    assert outcome.speed is not None


@pytest.mark.parametrize(
    ("profiled", "words"),
    [
        ({"copies": 8, "time_elsewhere": 0.0001}, "; 0.01 % of the time and 8 copies between devices a call"),
        ({"copies": 1, "time_elsewhere": 0.254}, "; 25 % of the time and 1 copy between devices a call"),
        ({"time_elsewhere": 1.0}, "; 100 % of the time"),
        (
            {"copies": 2},
            "; 2 copies between devices a call, their share of the time cannot be told: no call was profiled",
        ),
    ],
)
def test_a_partial_cell_says_what_its_fallen_nodes_cost_where_a_profile_can_tell(profiled, words):
    placed = replace(a_placement(WebGpu={"MatMul": 10}, CPU={"Cast": 1}), **profiled)
    outcome = judged(*rounds({}, {"placement": placed}, {}))
    assert text.reason(outcome) == f"1 of 11 nodes fell back to {CPU}: Cast x1{words}"
    assert outcome.placement == placed


def test_the_round_that_was_profiled_speaks_for_all_of_the_same_placement():
    plain = a_placement(WebGpu={"MatMul": 10}, CPU={"Cast": 1})
    profiled = replace(plain, copies=8, time_elsewhere=0.02)
    outcome = judged(*rounds({"placement": plain}, {"placement": profiled}, {"placement": plain}))
    assert outcome.placement.copies == 8
    assert "placement-varies" not in flags_of(outcome)


def test_bookkeeping_elsewhere_is_ok_and_listed():
    outcome = judged(an_observation(placement=a_placement(WebGpu={"MatMul": 10}, CPU={"Shape": 4})))
    assert outcome.status == "ok"
    assert "but for Shape x4" in text.reason(outcome)
    assert (outcome.nodes_elsewhere, outcome.bookkeeping_ops) == (4, ("Shape x4",))


def test_shape_arithmetic_elsewhere_is_ok_and_a_long_list_of_it_is_cut_in_the_reason_only():
    ops = {"Cast": 6, "Concat": 13, "Gather": 15, "Shape": 2, "Slice": 7, "Unsqueeze": 15}
    placed = replace(a_placement(WebGpu={"MatMul": 10}, CPU=ops), shape_nodes={CPU: ops})
    outcome = judged(an_observation(placement=placed))
    assert outcome.status == "ok"
    excused = "Gather x15, Unsqueeze x15, Concat x13, Slice x7, Cast x6 and 1 more op type, which handle shapes only"
    assert text.reason(outcome) == f"every node on {WEBGPU} but for {excused}; answers within tolerance"
    assert len(outcome.bookkeeping_ops) == 6


def test_a_long_list_of_ops_is_cut_in_the_reason_only():
    ops = {f"Op{i}": 1 for i in range(9)}
    outcome = judged(an_observation(placement=a_placement(WebGpu={"MatMul": 1}, CPU=ops)))
    assert "Op4 x1 and 4 more op types;" in text.reason(outcome)
    assert len(outcome.fallback_ops) == 9


def test_a_target_without_a_node_did_not_run_there_and_shows_no_speed():
    outcome = judged(an_observation(placement=a_placement(CPU={"MatMul": 18})))
    assert (outcome.status, outcome.speed) == ("unsupported", None)
    assert text.reason(outcome) == f"no node was placed on {WEBGPU}: everything ran on {CPU}"
    assert outcome.failure.stage == "placement"
    assert (outcome.nodes_on_target, outcome.nodes_elsewhere) == (0, 18)


def test_a_target_that_got_nothing_but_shapes_did_not_run_there_either():
    outcome = judged(an_observation(placement=a_placement(WebGpu={"Shape": 2}, CPU={"MatMul": 18})))
    assert outcome.status == "unsupported"
    words = f"nothing but shapes and constants was placed on {WEBGPU}: everything else ran on {CPU}"
    assert text.reason(outcome) == words


def test_a_session_that_the_worker_refused_for_want_of_nodes_says_what_the_provider_said():
    message = "no node was placed on the provider; it said: QNN SetupBackend failed Unable to load backend"
    refused = a_failure("unsupported", stage="placement", kind="fallback", message=message)
    seen = replace(a_failed(failure=refused), placement=a_placement(CPU={"MatMul": 18}))
    outcome = judged(seen)
    assert (outcome.status, text.reason(outcome)) == ("unsupported", message)
    assert (outcome.nodes_on_target, outcome.nodes_elsewhere) == (0, 18)


@pytest.mark.parametrize(("asked", "ran_on"), [("gpu", "cpu.0"), ("gpu.1", "gpu.0"), ("npu.0", "gpu.0")])
def test_a_timing_of_another_device_than_the_row_names_is_no_number(asked, ran_on):
    outcome = judged(an_observation(device=a_device(ran_on)), cell=a_cell(device=asked))
    assert (outcome.status, outcome.speed) == ("failed", None)
    assert text.reason(outcome) == f"ran on {ran_on}, and the row asks for {asked}"


@pytest.mark.parametrize("asked", [None, "gpu", "gpu.1", "1"])
def test_the_device_that_the_row_names_is_the_right_one(asked):
    assert judged(an_observation(device=a_device("gpu.1")), cell=a_cell(device=asked)).status == "ok"


def test_an_emulator_stands_in_for_another_device_by_its_nature():
    assert judged(an_observation(device=a_device("cpu.0")), cell=a_cell(device="npu", emulated=True)).status == "ok"


def test_one_round_that_silently_ran_on_the_cpu_is_enough():
    outcome = judged(*rounds({}, {"placement": a_placement(CPU={"MatMul": 18})}, {}))
    assert (outcome.status, outcome.speed) == ("unsupported", None)


@pytest.mark.parametrize("placed", [None, Placement(nodes={}, source="x"), Placement(nodes={WEBGPU: {}}, source="x")])
def test_a_placement_that_could_not_be_learnt_is_never_ok(placed):
    outcome = judged(*rounds({"placement": placed}, {}, {}))
    assert outcome.status == "partial"
    assert "could not tell which provider ran the nodes (in 1 of 3 rounds)" in text.reason(outcome)
    assert "placement-unknown" in flags_of(outcome)


def test_an_engine_without_providers_makes_no_claim_about_nodes():
    outcome = judged(an_observation(placement=None), cell=a_control())
    assert (outcome.status, text.reason(outcome)) == ("ok", "answers within tolerance")
    assert (outcome.nodes_on_target, outcome.nodes_elsewhere) == (None, None)


def test_on_the_cpu_provider_the_cpu_is_the_target():
    cell = a_cell("minilm/fp32/cpu/b1-s128", provider=CPU)
    assert judged(an_observation(placement=a_placement(CPU={"MatMul": 3})), cell=cell).status == "ok"
    moved = a_placement(CPU={"MatMul": 3}, XNNPACK={"Conv": 1})
    assert judged(an_observation(placement=moved), cell=cell).status == "partial"


# --- what outranks what -----------------------------------------------------------------------------------------------

FALLEN = {"placement": a_placement(WebGpu={"MatMul": 1}, CPU={"Cast": 1})}
GONE = {"placement": a_placement(CPU={"Cast": 1})}
WRONG = {"parity": a_parity(cosine=0.1)}


def test_wrong_answers_outrank_fallen_nodes():
    outcome = judged(an_observation(**FALLEN, **WRONG))
    assert (outcome.status, outcome.fallback_ops) == ("inaccurate", ("Cast x1",))


def test_wrong_answers_of_another_provider_are_not_the_targets():
    assert judged(an_observation(**GONE, **WRONG)).status == "unsupported"


def test_a_failure_outranks_wrong_answers():
    assert judged(an_observation(**WRONG), a_failed(round=1, status="unsupported")).status == "unsupported"
    assert text.reason(judged(an_observation(**WRONG), a_failed(round=1, status="timeout"))).startswith("session:")


# --- what stands beside the verdict -----------------------------------------------------------------------------------


def test_loading_and_first_calls_are_means_over_rounds_with_intervals_and_memory_is_the_peak():
    outcome = judged(
        *rounds(
            {"import_ns": 50_000_000, "load_ns": 900_000_000, "peak_rss_bytes": 5, "timing": a_timing(first_call_ns=9)},
            {"import_ns": None, "load_ns": 100_000_000, "peak_rss_bytes": None},
            {"import_ns": 70_000_000, "load_ns": 200_000_000, "peak_rss_bytes": 7},
        )
    )
    assert outcome.import_ms.value == pytest.approx(math.sqrt(50 * 70))
    assert outcome.load_ms == statistics.interval([math.log(time) for time in (900, 100, 200)])
    assert outcome.first_call_ms.low < outcome.first_call_ms.value < outcome.first_call_ms.high
    assert outcome.first_answer_ms.value == pytest.approx(math.sqrt((50 + 900 + 9e-6) * (70 + 200 + 50)))
    assert outcome.peak_rss_bytes == 7


@pytest.mark.parametrize("change", [WRONG, GONE])
def test_times_of_wrong_answers_or_of_another_provider_are_withheld_with_the_speed(change):
    outcome = judged(an_observation(**change))
    assert (outcome.speed, outcome.load_ms, outcome.first_call_ms, outcome.first_answer_ms) == (None,) * 4


NOTES_OF_BUILDS = {
    "artifacts": {"minilm/int8": "0a", "minilm/fp32": "0b"},
    "references": {"minilm/b1-s128": "0c", "minilm/b8-s128": "0d"},
    "build_notes": {"0a": (A, B), "0b": (B,), "0c": (C,), "0d": (A,)},
}


def test_a_cell_has_the_notes_of_its_own_artifact_and_then_of_its_reference():
    cell = a_cell("minilm/int8/webgpu/b1-s128")
    assert (cell.artifact_name, cell.workload) == ("minilm/int8", "b1-s128")
    assert judged(*rounds({}, {}), cell=cell, **NOTES_OF_BUILDS).build_notes == (A, B, C)
    assert judged(a_failed(), cell=cell, **NOTES_OF_BUILDS).build_notes == (A, B, C)
    assert judged(*rounds({}), cell=cell).build_notes == ()


def test_a_cell_without_an_artifact_has_only_the_notes_of_its_reference():
    control = a_control()
    assert control.provider is None
    assert judged(*rounds({}), cell=control, **NOTES_OF_BUILDS).build_notes == (C,)


def test_a_cell_that_could_not_be_tried_has_no_notes_of_what_others_ran():
    excluded = a_cell("minilm/int8/webgpu/b1-s128", excluded="why")
    assert judged(cell=excluded, **NOTES_OF_BUILDS).build_notes == ()
    absent = a_failed(failure=a_failure("unavailable"))
    assert judged(absent, cell=a_cell("minilm/int8/webgpu/b1-s128"), **NOTES_OF_BUILDS).build_notes == ()


def test_threads_notes_and_versions_are_taken_from_the_rounds():
    outcome = judged(
        *rounds(
            {"threads": 1, "notes": (A, B), "versions": {"torch": "2.12"}},
            {"threads": 2},
            {"threads": None, "notes": (B, C), "versions": {"torch": "2.13", "numpy": "2.4"}},
        )
    )
    assert (outcome.threads, outcome.notes) == (2, (A, B, C))
    assert outcome.versions == {"onnxruntime": "1.31.1", "torch": "2.13", "numpy": "2.4"}
    assert "mixed-versions" in flags_of(outcome)


def test_the_device_is_the_one_that_was_seen_else_the_one_a_probe_found_else_the_one_asked_for():
    cell = a_cell(device="gpu")
    targets = {"webgpu": some_facts(device=a_device(name="", vendor="Mesa"))}
    assert judged(an_observation(device=a_device()), cell=cell, targets=targets).device == "gpu.0 NVIDIA H100"
    assert judged(a_failed(), cell=cell, targets=targets).device == "gpu.0 Mesa"
    assert judged(a_failed(), cell=cell).device == "gpu"
    assert judged(an_observation()).device is None


def test_the_format_computed_in_is_what_the_probe_found_for_the_format_asked_for():
    targets = {"webgpu": some_facts(("fp32", "bf16"), ("fp16", "fp16"))}
    assert judged(an_observation(), targets=targets).executed == "bf16"
    half, eight = a_cell("minilm/fp16/webgpu/b1-s128"), a_cell("minilm/int8/webgpu/b1-s128")
    assert judged(an_observation(), cell=half, targets=targets).executed == "fp16"
    assert judged(an_observation(), cell=eight, targets=targets).executed is None
    assert judged(an_observation()).executed is None


def test_cold_and_cached_starts_are_kept_apart_and_a_repeated_one_counts_as_it_was_last_seen():
    cold, cached, again = a_start("cold"), a_start("cached", first_call_ns=7), a_start("cold", load_ns=5)
    outcome = judged(*rounds({"starts": (cold, cached)}, {}, {"starts": (again,)}))
    assert (outcome.cold, outcome.cached) == (again, cached)


def test_memory_above_the_baseline_is_the_most_that_one_round_took():
    outcome = judged(
        *rounds(
            {"peak_rss_bytes": 500, "baseline_rss_bytes": 100, "device_memory_bytes": 7},
            {"peak_rss_bytes": 700, "baseline_rss_bytes": 400, "device_memory_bytes": 9},
            {"peak_rss_bytes": 900},
        )
    )
    assert (outcome.model_rss_bytes, outcome.peak_rss_bytes, outcome.device_memory_bytes) == (400, 900, 9)
    assert judged(an_observation(peak_rss_bytes=5, baseline_rss_bytes=9)).model_rss_bytes is None


def test_the_energy_of_an_inference_is_the_mean_of_the_rounds_that_could_read_it():
    readings = [an_energy(1.0), an_energy(2.0), an_energy(4.0), an_energy(5.0, calls=0), an_energy(0.0)]
    outcome = judged(*rounds({}, *({"energy": energy} for energy in readings)))
    assert outcome.energy_j == statistics.interval([math.log(joules) for joules in (0.01, 0.02, 0.04)])
    assert outcome.energy_source == "RAPL package"
    unread = judged(an_observation())
    assert (unread.energy_j, unread.energy_source) == (None, None)


def test_cpu_time_is_of_a_call_and_stands_beside_the_wall_time_of_the_same_calls():
    timings = [a_timing([2_000_000] * 10, cpu_ns=cpu_ns) for cpu_ns in (38_000_000, 40_000_000, None)]
    outcome = judged(*rounds(*({"timing": timing} for timing in timings)))
    assert outcome.cpu_ms == statistics.interval([math.log(3.8), math.log(4.0)])
    assert outcome.cores_used is not None
    assert outcome.cores_used.value == pytest.approx(math.sqrt(1.9 * 2.0))
    unknown = judged(an_observation())
    assert (unknown.cpu_ms, unknown.cores_used) == (None, None)
    wrong = judged(an_observation(**WRONG, timing=timings[0]))
    assert (wrong.cpu_ms, wrong.cores_used) == (None, None)


@pytest.mark.parametrize("change", [WRONG, GONE])
def test_starts_and_energy_of_wrong_answers_or_of_another_provider_are_withheld_too(change):
    outcome = judged(an_observation(**change, starts=(a_start(),), energy=an_energy()))
    assert (outcome.cold, outcome.energy_j, outcome.energy_source) == (None, None, None)


def test_what_was_never_seen_is_missing_and_not_zero():
    outcome = judged(a_failed())
    assert (outcome.model_rss_bytes, outcome.device_memory_bytes, outcome.energy_j) == (None, None, None)
    assert (outcome.device, outcome.executed, outcome.cold, outcome.cached) == (None, None, None, None)
    assert (outcome.import_ms, outcome.peak_rss_bytes, outcome.threads, outcome.parity) == (None, None, None, None)


def test_weights_and_artifact_come_from_the_run():
    cell = a_cell("minilm/int8/webgpu/b1-s128", recipe=Recipe("dynamic-int8", number_format="int8"))
    outcome = judged(cell=cell, weights={"minilm": "random"}, artifacts={"minilm/int8": "key"})
    assert (outcome.weights, outcome.artifact) == ("random", "key")
    assert judged(cell=cell, weights={}, artifacts={}).weights is None


def test_an_engine_that_loads_the_source_itself_ran_no_artifact():
    assert judged(an_observation(), cell=a_control(), artifacts={"minilm/fp32": "key"}).artifact is None


def test_a_clock_that_falls_while_times_rise_is_throttled():
    clocks = zip([3000, 2900, 2700, 2500, 2400], [2.0, 2.1, 2.2, 2.3, 2.4], strict=True)
    seen = [
        an_observation(round=number, samples_ns=[int(ms * 1e6)] * 10, state=a_state(frequency_mhz=float(clock)))
        for number, (clock, ms) in enumerate(clocks)
    ]
    assert "throttled" in flags_of(judged(*seen))


def test_a_cell_without_a_timed_call_carries_no_flags():
    assert judged(a_failed()).flags == ()


def test_a_wrong_cell_keeps_the_flags_that_may_be_why():
    coarse = a_parity(cosine=0.9, effective_bits=8.0)
    assert "reduced-precision" in flags_of(judged(*rounds(*[{"parity": coarse}] * 3)))


# --- the control ------------------------------------------------------------------------------------------------------


def with_control(control_rounds, cell_rounds):
    control = a_control()
    seen = [replace(one, cell=control.id) for one in control_rounds]
    seen += [replace(one, cell=CELL.id) for one in cell_rounds]
    return judge(a_run(CELL, control), seen)


def test_a_cell_is_compared_to_the_control_round_by_round():
    cell, control = with_control(rounds_of(CELL, [4.0, 8.0, 4.0]), rounds_of(CELL, [2.0, 4.0, 2.0]))
    assert cell.speed.ratio_to_control.value == pytest.approx(2.0)
    assert cell.speed.control == control.cell.id
    assert control.speed.ratio_to_control == Interval(1.0, 1.0, 1.0)


@pytest.mark.parametrize("control_rounds", [[], [a_failed()], rounds(WRONG), rounds({"parity": None})])
def test_a_control_without_a_valid_speed_gives_no_ratio(control_rounds):
    cell, _ = with_control(control_rounds, rounds_of(CELL, [2.0, 2.0, 2.0]))
    assert cell.status == "ok"
    assert (cell.speed.ratio_to_control, cell.speed.control) == (None, None)


# --- models that generate ---------------------------------------------------------------------------------------------

GENERATOR = a_generator()
SLOW = a_generator("llama/fp32/torch-eager/b1-p128-n64", engine="torch", provider=None, control=True)


def generator_and_control(*rounds, **control):
    """The outcomes of a generator of which these were seen, and of a control that decodes half as fast."""
    twice = {"generations": [a_generation(token_ms=20)], "placement": None, **control}
    slow = [a_generated(SLOW, one.round, **twice) for one in rounds]
    return judge(a_run(GENERATOR, SLOW), [*rounds, *slow])


def test_a_generators_parts_stand_beside_the_speed_of_its_whole_calls():
    outcome, control = generator_and_control(a_generated(round=0), a_generated(round=1))
    assert outcome.speed.latency_ms.value == pytest.approx(128 + 63 * 10)
    assert outcome.speed.generation.decode_tok_s.value == pytest.approx(100)
    assert outcome.speed.generation.decode_ratio.value == pytest.approx(2.0)
    assert outcome.speed.generation.prefill_ratio.value == pytest.approx(1.0)
    assert outcome.speed.ratio_to_control.value == pytest.approx((128 + 63 * 20) / (128 + 63 * 10))
    assert control.speed.generation.decode_ratio == Interval(1.0, 1.0, 1.0)
    assert judged(an_observation()).speed.generation is None


def test_a_control_that_generated_something_else_gives_no_ratio():
    outcome, control = generator_and_control(a_generated(), parity=a_parity_of_tokens(tokens_same=11))
    assert text.reason(control).startswith("tokens differ from the reference's at step 12 of 64, against PyTorch")
    assert (control.status, control.speed) == ("inaccurate", None)
    assert (outcome.speed.generation.decode_ratio, outcome.speed.generation.prefill_ratio) == (None, None)


def test_what_differs_between_engines_is_kept_with_the_bits_that_were_counted():
    outcome = judged(a_generated(energy=an_energy(640, 10)), cell=GENERATOR)
    assert outcome.traits == some_traits()
    assert outcome.bits_per_weight == 32.0
    assert outcome.energy_per_token_j.value == pytest.approx(1.0)
    assert outcome.first_token_from_nothing_ms.value == pytest.approx(60 + 300 + 256)


@pytest.mark.parametrize("unknown", [None, some_traits(weight_bytes=None), some_traits(parameters=None)])
def test_bits_that_cannot_be_counted_are_missing(unknown):
    assert judged(a_generated(traits=unknown), cell=GENERATOR).bits_per_weight is None


def test_times_of_a_generator_with_wrong_answers_are_withheld_and_its_traits_are_not():
    wrong = a_parity_of_tokens(kl_divergence=0.5)
    outcome = judged(a_generated(parity=wrong, energy=an_energy()), cell=GENERATOR)
    assert text.reason(outcome) == "KL divergence 0.5 is above 0.0001, against PyTorch 2.13.0, FP32"
    assert (outcome.speed, outcome.first_token_from_nothing_ms, outcome.energy_per_token_j) == (None, None, None)
    assert outcome.traits == some_traits()


def test_words_are_wrong_only_where_somebody_could_have_heard_them():
    heard = a_generated(transcript=Transcript("one too", "one two"))
    assert judged(heard, cell=GENERATOR, weights={"llama": "pretrained"}).word_error_rate == 0.5
    assert judged(heard, cell=GENERATOR, weights={"llama": "random"}).word_error_rate is None
    assert judged(a_generated(), cell=GENERATOR).word_error_rate is None


def test_an_engine_that_is_no_provider_names_the_artifact_of_its_own_format():
    cell = a_generator("llama/int4/llama-cpp/b1-p128-n64", provider=None, format="gguf")
    artifacts = {"llama/int4": "onnx", "llama/int4/gguf": "gguf"}
    assert judged(a_generated(parity=a_parity_of_tokens()), cell=cell, artifacts=artifacts).artifact == "gguf"


NANOSECONDS = st.integers(-1, 2**62)
generations = st.builds(
    Generation,
    first_ns=NANOSECONDS,
    token_ns=st.lists(NANOSECONDS, max_size=8).map(tuple),
    tokens=st.integers(-1, 2**62),
    prompt_tokens=st.none() | st.integers(-1, 2**62),
    encode_ns=st.none() | NANOSECONDS,
)


@given(st.lists(st.lists(generations, max_size=4), min_size=1, max_size=4))
def test_whatever_a_file_claims_of_generations_has_an_outcome(rounds):
    timings = [a_timing(generations=tuple(made)) for made in rounds]
    seen = [a_generated(GENERATOR, n, timing=timing, energy=an_energy()) for n, timing in enumerate(timings)]
    (outcome,) = judge(a_run(GENERATOR), seen)
    assert outcome.status == "ok"
    assert outcome.speed is not None


# --- emulators and targets that are not there -------------------------------------------------------------------------


def test_an_emulated_cell_is_judged_by_its_answers_and_compared_with_nothing():
    cell, control = a_cell(emulated=True), a_control()
    seen = [*rounds_of(cell, [2.0, 9.0, 2.0]), *rounds_of(control, [4.0, 4.0, 4.0])]
    outcome, _ = judge(a_run(cell, control), seen)
    assert (outcome.status, flags_of(outcome)) == ("ok", ["emulated"])
    assert (outcome.speed.ratio_to_control, outcome.speed.control, outcome.speed.resolvable) == (None, None, None)
    assert judged(an_observation(**WRONG), cell=cell).status == "inaccurate"


def test_an_emulated_control_is_nobodys_control():
    control = a_control(emulated=True)
    cell, _ = judge(a_run(CELL, control), [*rounds_of(CELL, [2.0, 2.0]), *rounds_of(control, [4.0, 4.0])])
    assert (cell.speed.ratio_to_control, cell.speed.control) == (None, None)


def test_a_target_that_the_probe_did_not_find_is_unavailable_though_its_turn_never_came():
    targets = {"webgpu": some_facts(available=False, kind="no-device", message="no adapter", remedy="plug one in")}
    outcome = judged(targets=targets)
    assert (outcome.status, text.reason(outcome), text.remedy(outcome)) == ("unavailable", "no adapter", "plug one in")
    assert (outcome.failure.stage, outcome.failure.kind) == ("target", "no-device")
    assert judged(targets={"webgpu": some_facts()}).status == "not-measured"


# --- whatever the observations hold -----------------------------------------------------------------------------------

CELLS = (CELL, a_control(), a_cell("minilm/int8/webgpu/b1-s128"), a_cell("minilm/int8/cpu/b1-s128", excluded="so"))
WILD = st.none() | st.floats(-2, 2) | st.just(math.nan)


def mostly(healthy, unusual):
    """Nine times in ten what is healthy, so that whole cells come out well often enough to be looked at."""
    return st.integers(0, 9).flatmap(lambda draw: unusual if draw == 9 else st.just(healthy))


parities = st.none() | st.builds(
    a_parity, samples=st.integers(0, 2), finite=st.booleans(), cosine=WILD, relative_error=WILD, effective_bits=WILD
)
op_counts = st.dictionaries(st.sampled_from(["MatMul", "Shape", "Cast"]), st.integers(0, 3))
placements = st.none() | st.builds(
    Placement,
    nodes=st.dictionaries(st.sampled_from([CPU, WEBGPU, ""]), op_counts),
    source=st.just("assignment-info"),
)
timings = st.none() | st.builds(a_timing, st.lists(st.integers(0, 2**63 - 1), max_size=12), steady=st.booleans())
failures = st.builds(a_failure, st.sampled_from([*SEVERITY, "ok", "partial"]), message=st.text())
states = st.builds(
    a_state, frequency_mhz=WILD, load_1min=WILD, steal_percent=WILD, on_battery=st.none() | st.booleans()
)
seen_at_all = st.lists(
    st.builds(
        an_observation,
        st.sampled_from([CELL.id, CELL.id, *(cell.id for cell in CELLS), "a/stranger/to/us"]),
        st.integers(0, 6),
        failure=mostly(None, failures),
        timing=mostly(a_timing(), timings),
        parity=mostly(a_parity(), parities),
        placement=mostly(a_placement(), placements),
        state=states,
        threads=st.none() | st.integers(1, 4),
        notes=st.lists(st.sampled_from((A, B, C)), max_size=2).map(tuple),
    ),
    max_size=12,
)


@pytest.mark.parametrize("status", ["ok", "partial", "inaccurate", "unsupported", "failed", "crashed"])
def test_the_observations_drawn_for_the_laws_below_reach_every_kind_of_outcome(status):
    drawn = settings(phases=[Phase.generate], max_examples=2000, database=None, derandomize=True)
    find(seen_at_all, lambda seen: status in {o.status for o in judge(a_run(CELL), seen)}, settings=drawn)


@given(seen_at_all)
def test_every_cell_has_one_outcome_with_a_reason_whatever_was_seen(observations):
    outcomes = judge(a_run(*CELLS), observations)
    assert tuple(outcome.cell for outcome in outcomes) == CELLS
    assert all(text.reason(outcome) for outcome in outcomes)


@given(seen_at_all)
def test_a_speed_is_there_exactly_where_the_target_answered_rightly(observations):
    for outcome in judge(a_run(*CELLS), observations):
        assert (outcome.speed is not None) == (outcome.status in ("ok", "partial"))
        if outcome.speed is None:
            assert (outcome.first_call_ms, outcome.load_ms) == (None, None)
        else:
            assert outcome.parity.finite
            assert outcome.parity.cosine >= outcome.parity.tolerance.min_cosine


@given(seen_at_all, st.randoms(use_true_random=False))
def test_the_order_in_which_rounds_were_written_does_not_matter(observations, random):
    single = list({(one.cell, one.round): one for one in observations}.values())
    shuffled = random.sample(single, len(single))
    assert str(judge(a_run(*CELLS), shuffled)) == str(judge(a_run(*CELLS), single))  # as text: NaN equals itself


@given(seen_at_all)
def test_reading_a_run_twice_over_changes_nothing(observations):
    assert str(judge(a_run(*CELLS), [*observations, *observations])) == str(judge(a_run(*CELLS), observations))


@given(seen_at_all, seen_at_all)
def test_a_resumed_round_replaces_what_it_visits_again(before, after):
    replaced = {(one.cell, one.round) for one in after}
    kept = [one for one in before if (one.cell, one.round) not in replaced]
    assert str(judge(a_run(*CELLS), [*before, *after])) == str(judge(a_run(*CELLS), [*kept, *after]))


def test_a_preparation_that_failed_counts_only_where_nothing_was_measured_before_or_after_it():
    failed = a_failed(CELL, 0, failure=a_failure(status="unavailable", stage="source"))
    blocks = [an_observation(CELL, number) for number in (1, 2)]
    for seen in ([failed, *blocks], [*blocks, failed], [blocks[0], failed, blocks[1]]):
        (outcome,) = judge(a_run(CELL), seen)
        assert (outcome.status, outcome.rounds) == ("ok", 2)
    (outcome,) = judge(a_run(CELL), [failed])
    assert (outcome.status, outcome.failure.stage) == ("unavailable", "source")
    (outcome,) = judge(a_run(CELL), [failed, a_failed(CELL, 1, failure=a_failure(status="crashed"))])
    assert outcome.status == "crashed"


@given(seen_at_all)
def test_ok_means_nothing_that_computes_was_elsewhere(observations):
    for outcome in judge(a_run(*CELLS), observations):
        if outcome.status == "ok" and outcome.cell.provider:
            assert outcome.fallback_ops == ()
            assert outcome.nodes_on_target > 0
