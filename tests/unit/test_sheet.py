"""The replies of one visit, told by hand, as the observations that they become."""

from __future__ import annotations

from builders import a_cell, a_failure, a_parity, a_placement, a_timing
from msgspec.structs import replace

from bench.machine import state
from bench.machine.energy import Meter
from bench.measure.cold_start import StartResults
from bench.measure.observations import ObservationRecorder, ReplyMapper
from bench.records import (
    Bursted,
    Cell,
    Device,
    Done,
    Energy,
    Failed,
    Held,
    Lasted,
    MachineState,
    Measured,
    Minute,
    Observation,
    Opened,
    Profiled,
    Reply,
    Stage,
    Start,
    Sustained,
    note,
)

ONE, OTHER = a_cell("minilm/fp32/webgpu/b1-s128"), a_cell("minilm/fp32/webgpu/b8-s128")
COLD = Start("cold", 1, 2, 3)
X = note("x")


class AWorker:
    """Stands for a worker whose CPU time is asked for."""

    def cpu_s(self) -> float:
        return 0.0


class Marks(Meter):
    """A meter that remembers when it was read."""

    def __init__(self) -> None:
        super().__init__()
        self.marks: list[str] = []

    def begin(self) -> None:
        self.marks.append("begin")

    def end(self) -> None:
        self.marks.append("end")
        self.device_memory_bytes = 77

    def energy(self, calls: int) -> Energy:
        return Energy(1.5, calls, "a test")


def opened(**said) -> Opened:
    return Opened(import_ns=1, load_ns=2, threads=2, versions={"onnxruntime": "1.31.1"}, **said)


def measured(cell: Cell) -> Measured:
    return Measured(cell.workload, a_timing(), a_parity(), 1)


def recorded(*replies: Reply, cells=(ONE, OTHER), **said) -> tuple[list[Observation], ObservationRecorder]:
    """What these replies of a visit to the cells were recorded as, in order."""
    made: list[Observation] = []
    recorder = ObservationRecorder(cells, 1, made.append, said.pop("meter", Meter()), **said)
    recorder.watch(AWorker())  # type: ignore[arg-type]
    for reply in replies:
        recorder.take(reply)
    recorder.unanswered()
    return made, recorder


def test_a_worker_that_ends_without_a_word_has_a_fault():
    made, _ = recorded(Done(), cells=(ONE,))
    assert [(o.cell, o.failure.kind) for o in made if o.failure] == [(ONE.id, "protocol")]


def test_a_failure_without_a_workload_fails_all_that_are_open():
    made, _ = recorded(measured(ONE), Failed(a_failure()))
    assert [(o.cell, bool(o.failure)) for o in made] == [(ONE.id, False), (OTHER.id, True)]


def test_what_was_said_of_the_session_stands_in_every_observation():
    device = Device("gpu", 0, "NVIDIA", "NVIDIA L4")
    made, _ = recorded(opened(device=device, baseline_rss_bytes=55, notes=(X,)), measured(ONE), measured(OTHER))
    assert [(o.device, o.baseline_rss_bytes, o.notes, o.load_ns) for o in made] == [(device, 55, (X,), 2)] * 2


def test_a_refusal_after_the_session_was_opened_shows_where_its_nodes_are():
    placement = a_placement(CPU={"MatMul": 3})
    refused = Failed(a_failure("unsupported", stage="placement", kind="fallback"))
    made, _ = recorded(opened(placement=placement), refused)
    assert [o.placement for o in made] == [placement] * 2
    assert all(o.failure for o in made)


def test_the_meter_is_read_when_the_burst_begins_and_when_it_has_ended_and_not_otherwise():
    meter = Marks()
    stages = [Stage(name, ONE.workload) for name in ("bind", "time", "burst", "parity")]
    made, _ = recorded(*stages, measured(ONE), Stage("bind", OTHER.workload), cells=(ONE,), meter=meter)
    assert meter.marks == ["begin", "end"]
    assert made[0].energy == Energy(1.5, 10, "a test")
    assert made[0].device_memory_bytes == 77


def test_clock_and_heat_are_those_at_the_end_of_the_burst_and_not_after_the_check(monkeypatch):
    readings = iter([state.Sensors(2900.0, 97.0, 100.0), state.Sensors(3400.0, 60.0, 100.0)])
    monkeypatch.setattr(state, "sensors", lambda: next(readings))
    replies = [Stage("burst", ONE.workload), Stage("parity", ONE.workload), measured(ONE), measured(OTHER)]
    made, _ = recorded(*replies)
    assert [(o.state.frequency_mhz, o.state.temperature_c) for o in made] == [(2900.0, 97.0), (3400.0, 60.0)]


def test_nothing_is_read_while_a_burst_runs(monkeypatch):
    read: list[str] = []
    now: list[str] = []
    monkeypatch.setattr(state, "sensors", lambda: read.append(now[-1]) or state.Sensors())
    recorder = ObservationRecorder((ONE,), 1, lambda _: None, Meter())
    recorder.watch(AWorker())  # type: ignore[arg-type]
    for name in ("import", "session", "placement", "bind", "time", "burst", "parity"):
        now.append(name)
        recorder.take(Stage(name, ONE.workload))
    assert read == ["parity"]


def test_a_profile_that_comes_later_is_recorded_once_more_beside_numbers_that_are_kept():
    fuller = a_placement(WebGpu={"MatMul": 3}, CPU={"Cast": 1})
    made, recorder = recorded(opened(placement=a_placement()), measured(ONE), measured(OTHER), Profiled(fuller))
    assert [(o.cell, o.round) for o in made] == [(ONE.id, 1), (OTHER.id, 1)] * 2
    assert [o.placement for o in made] == [a_placement()] * 2 + [fuller] * 2
    assert made[2].timing == made[0].timing
    assert len(recorder.observations) == 2


def test_a_profile_does_not_turn_a_failure_into_anything_else():
    made, _ = recorded(measured(ONE), Failed(a_failure(), OTHER.workload), Profiled(a_placement()))
    assert [bool(o.failure) for o in made] == [False, True, False]


def test_a_death_while_profiling_costs_no_number():
    made, _ = recorded(opened(), measured(ONE), measured(OTHER), Stage("profile"), Failed(a_failure("crashed")))
    assert [o.failure for o in made] == [None, None]


def test_starts_stand_beside_the_workload_that_was_started_and_no_other():
    died = note("start-failed", start="cached", status="crashed", text="the process died of SIGSEGV")
    starts = {ONE.id: StartResults((COLD,), (died,))}
    made, _ = recorded(opened(notes=(X,)), measured(ONE), measured(OTHER), starts=starts)
    assert [o.starts for o in made] == [(COLD,), ()]
    assert made[0].notes == (X, died)


def test_a_model_that_does_not_fit_says_by_how_much_beside_what_it_held():
    end = a_failure("out-of-memory", message="held 2000 MiB, 100 MiB over the limit of 1900 MiB")
    made, _ = recorded(Failed(end), cells=(ONE,), shortfall="holds 3.1 GiB of weights, 1.2 GiB more than the limit")
    assert made[0].failure is not None
    assert made[0].failure.message == (
        "holds 3.1 GiB of weights, 1.2 GiB more than the limit; held 2000 MiB, 100 MiB over the limit of 1900 MiB"
    )


def test_a_refusal_has_nothing_to_do_with_a_models_size():
    made, _ = recorded(Failed(a_failure("unsupported")), cells=(ONE,), shortfall="holds too much")
    assert made[0].failure == a_failure("unsupported")


# --- the same mapper for warm sessions and sustained runs -------------------------------------------------------------


def mapped(*replies: Reply, asked_s: float | None = None) -> tuple[list[Observation | None], ReplyMapper]:
    """What a mapper makes of each reply, and the mapper."""
    mapper = ReplyMapper(3, Marks(), asked_s)
    mapper.watch(AWorker())  # type: ignore[arg-type]
    return [mapper.take(reply) for reply in replies], mapper


def test_a_warm_session_has_the_calls_and_the_energy_of_all_its_bursts():
    held = Held(replace(a_timing(), samples_ns=()), a_parity())
    burst = [Stage("burst"), Bursted((5, 6), 900), Stage("burst"), Bursted((7,), 800)]
    completed, mapper = mapped(opened(baseline_rss_bytes=55), held, *burst)
    assert completed == [None] * 6
    seen = mapper.warm(None, MachineState(steal_percent=1.0))
    assert (seen.round, seen.timing.samples_ns, seen.timing.burst_calls) == (3, (5, 6, 7), (2, 1))
    assert seen.energy == Energy(3.0, 3, "a test")
    assert vars(mapper.meter)["marks"] == ["begin", "end"] * 2
    assert (seen.peak_rss_bytes, seen.device_memory_bytes, seen.baseline_rss_bytes) == (900, 77, 55)
    assert seen.state == MachineState(steal_percent=1.0)


def test_a_warm_session_that_failed_keeps_what_was_said_of_its_process_and_no_number():
    _, mapper = mapped(opened(), Held(a_timing(), a_parity()), Bursted((5,), 900))
    seen = mapper.warm(a_failure(), MachineState())
    assert (seen.failure, seen.timing, seen.energy, seen.load_ns) == (a_failure(), None, None, 2)


def test_a_visit_and_a_warm_session_of_the_same_replies_are_the_same_observation():
    timing = replace(a_timing(), burst_calls=(len(a_timing().samples_ns),))
    visit, _ = recorded(opened(), Stage("burst"), Stage("parity"), Measured(ONE.workload, timing, a_parity(), 9))
    held = Held(replace(timing, samples_ns=()), a_parity())
    _, mapper = mapped(opened(), held, Stage("burst"), Bursted(timing.samples_ns, 9))
    alike = {"cell": "", "started": "", "state": MachineState(), "visit_s": None, "round": 1}
    session = replace(mapper.warm(None, MachineState()), energy=None, device_memory_bytes=None)
    assert replace(visit[0], **alike) == replace(session, **alike)


def test_every_minute_of_a_sustained_run_is_numbered_and_so_is_the_failure_that_ends_it():
    minute = Minute(60.0, 3, 20, 10, 30, (10, 20, 30))
    replies = [opened(), Stage("sustain"), Lasted(minute), Lasted(minute), Failed(a_failure("crashed"))]
    completed, _ = mapped(*replies, asked_s=120.0)
    assert completed[:2] == [None, None]
    told = [seen.sustained for seen in completed[2:]]
    assert told == [Sustained(120.0, 1, minute), Sustained(120.0, 2, minute), Sustained(120.0, 3)]
    assert [seen.failure for seen in completed[2:]] == [None, None, a_failure("crashed")]
    assert {seen.load_ns for seen in completed[2:]} == {2}
