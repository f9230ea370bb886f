"""The replies of one process, told by hand, as the observations that they become."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from builders import a_cell, a_failure, a_parity, a_placement, a_timing
from msgspec.structs import replace

from bench.machine.energy import Meter
from bench.measure.cold_start import StartResults
from bench.measure.observations import ReplyMapper, TimedBurst
from bench.measure.warm_session import Member, WarmSession
from bench.records import (
    Burst,
    Bursted,
    Cell,
    Device,
    Energy,
    Failed,
    Held,
    Hold,
    Lasted,
    MachineState,
    Minute,
    Note,
    Observation,
    Opened,
    Order,
    Profile,
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
Answer = Callable[[Order], Sequence[Reply]]


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


class AWorker:
    """A worker that answers each order as a test says; a reply that is a crash ends it."""

    pid = None

    def __init__(self, answer: Answer) -> None:
        self.answer, self.alive, self.suspended = answer, True, 0

    def cpu_s(self) -> float:
        return 0.0

    def ask(self, order: Order, timeout_s: float) -> Iterator[Reply]:
        for reply in self.answer(order):
            yield reply
            if isinstance(reply, Failed) and reply.failure.status == "crashed":
                self.alive = False
                return

    def suspend(self) -> None:
        self.suspended += 1

    def resume(self) -> None:
        pass

    def close(self) -> None:
        pass


class Visitor:
    """What a session asks its visitor for."""

    shortfalls: dict[str, str]

    def __init__(self, answers: Sequence[Answer], shortfall: str | None = None) -> None:
        self.answers, self.meters = list(answers), Marks()
        self.workers: list[AWorker] = []
        self.shortfalls = {ONE.group: shortfall} if shortfall else {}
        self.starts: dict[str, StartResults] = {}
        self.settings = type("Settings", (), {"timeout_s": 1.0})()

    def folder(self, cell: Cell) -> str:
        return ""

    def meter(self, cell: Cell) -> Marks:
        return self.meters

    def found(self, cell: Cell) -> tuple[Note, ...]:
        return ()

    def worker(self, cell: Cell, folder: str) -> AWorker:
        self.workers.append(AWorker(self.answers[min(len(self.workers), len(self.answers) - 1)]))
        return self.workers[-1]

    def order(self, cells: Sequence[Cell], number: int, folder: str) -> object:
        return type("Visit", (), {"jobs": tuple(cells), "profile": number == 1})()


def opened(**said) -> Opened:
    return Opened(import_ns=1, load_ns=2, threads=2, versions={"onnxruntime": "1.31.1"}, **said)


def held(cell: Cell, **said) -> Held:
    return Held(cell.workload, replace(a_timing(), samples_ns=()), a_parity(), **said)


def burst(workload: str, *samples: int, peak: int = 900, **said) -> list[Reply]:
    return [Stage("burst"), Stage("idle"), Bursted(workload, samples or (5, 6), peak, **said)]


def answering(*at_hold: Reply, profiled: Reply | None = None) -> Answer:
    """Replies to `Hold`, and two calls for each burst."""

    def answer(order: Order) -> Sequence[Reply]:
        if isinstance(order, Hold):
            return at_hold
        if isinstance(order, Profile):
            return [profiled] if profiled else []
        assert isinstance(order, Burst)
        return burst(order.workload)

    return answer


def measured(*answers: Answer, cells: tuple[Cell, ...] = (ONE, OTHER), turns: int = 1, **said) -> list[Observation]:
    """A session of these cells, warmed up and timed for some turns; its observations."""
    starts = said.pop("starts", {})
    visitor = Visitor(answers, **said)
    visitor.starts = starts
    with WarmSession(Member("a", cells, visitor), 1) as session:  # type: ignore[arg-type]
        session.warm()
        for turn in range(turns):
            for cell in session.warm_cells:
                session.burst(cell, turn, 0.1)
        session.profile()
    return session.observations()


def test_a_worker_that_ends_without_a_word_has_a_fault():
    seen = measured(answering(), cells=(ONE,))
    assert [(o.cell, o.failure.kind) for o in seen if o.failure] == [(ONE.id, "protocol")]


def test_a_failure_without_a_workload_fails_all_that_are_not_warm():
    seen = measured(answering(opened(), held(ONE), Failed(a_failure())))
    assert [(o.cell, bool(o.failure)) for o in seen] == [(ONE.id, True), (OTHER.id, True)]


def test_a_workload_that_fails_leaves_the_others_warm():
    seen = measured(answering(opened(), held(ONE), Failed(a_failure(), OTHER.workload)))
    assert [(o.cell, bool(o.failure), bool(o.timing)) for o in seen] == [(ONE.id, False, True), (OTHER.id, True, False)]


def test_after_a_crash_the_others_get_a_fresh_process_and_their_numbers_are_its_own():
    dies = answering(opened(), held(ONE), Failed(a_failure("crashed"), OTHER.workload))
    goes_on = answering(replace(opened(), load_ns=3), held(ONE))
    one, other = measured(dies, goes_on)
    assert (one.failure, one.load_ns) == (None, 3)
    assert other.failure is not None
    assert other.failure.status == "crashed"


def test_a_crash_that_names_no_workload_is_not_tried_again():
    asked: list[Order] = []

    def dies(order: Order) -> Sequence[Reply]:
        asked.append(order)
        return [Failed(a_failure("crashed"))]

    seen = measured(dies)
    assert [bool(o.failure) for o in seen] == [True, True]
    assert [type(order) for order in asked] == [Hold]


def test_a_crash_in_a_burst_fails_its_cell_and_keeps_the_calls_of_the_others():
    def dies_later(order: Order) -> Sequence[Reply]:
        if isinstance(order, Hold):
            return [opened(), held(ONE), held(OTHER)]
        assert isinstance(order, Burst)
        if order.workload == OTHER.workload:
            return [Stage("burst"), Failed(a_failure("crashed"))]
        return burst(order.workload)

    one, other = measured(dies_later, turns=2)
    assert (one.failure, one.timing.turns if one.timing else None) == (None, (0,)), "its second turn has no process"
    assert other.failure is not None


def test_what_was_said_of_the_session_stands_in_every_observation():
    device = Device("gpu", 0, "NVIDIA", "NVIDIA L4")
    said = opened(device=device, baseline_rss_bytes=55, notes=(X,))
    seen = measured(answering(said, held(ONE), held(OTHER)))
    assert [(o.device, o.baseline_rss_bytes, o.notes, o.load_ns) for o in seen] == [(device, 55, (X,), 2)] * 2


def test_a_refusal_after_the_session_was_opened_shows_where_its_nodes_are():
    placement = a_placement(CPU={"MatMul": 3})
    refused = Failed(a_failure("unsupported", stage="placement", kind="fallback"))
    seen = measured(answering(opened(placement=placement), refused))
    assert [o.placement for o in seen] == [placement] * 2
    assert all(o.failure for o in seen)


def test_a_profile_makes_the_placement_fuller_and_leaves_the_numbers():
    fuller = a_placement(WebGpu={"MatMul": 3}, CPU={"Cast": 1})
    seen = measured(answering(opened(placement=a_placement()), held(ONE), held(OTHER), profiled=Profiled(fuller)))
    assert [o.placement for o in seen] == [fuller] * 2
    assert all(o.timing for o in seen)


def test_a_death_while_profiling_costs_no_number():
    seen = measured(answering(opened(), held(ONE), held(OTHER), profiled=Failed(a_failure("crashed"))))
    assert [o.failure for o in seen] == [None, None]


def test_starts_stand_beside_the_workload_that_was_started_and_no_other():
    died = note("start-failed", start="cached", status="crashed", text="the process died of SIGSEGV")
    starts = {ONE.id: StartResults((COLD,), (died,))}
    seen = measured(answering(opened(notes=(X,)), held(ONE), held(OTHER)), starts=starts)
    assert [o.starts for o in seen] == [(COLD,), ()]
    assert seen[0].notes == (X, died)


def test_a_model_that_does_not_fit_says_by_how_much_beside_what_it_held():
    end = a_failure("out-of-memory", message="held 2000 MiB, 100 MiB over the limit of 1900 MiB")
    (seen,) = measured(
        answering(Failed(end)), cells=(ONE,), shortfall="holds 3.1 GiB of weights, 1.2 GiB more than the limit"
    )
    assert seen.failure is not None
    assert seen.failure.message == (
        "holds 3.1 GiB of weights, 1.2 GiB more than the limit; held 2000 MiB, 100 MiB over the limit of 1900 MiB"
    )


def test_a_refusal_has_nothing_to_do_with_a_models_size():
    (seen,) = measured(answering(Failed(a_failure("unsupported"))), cells=(ONE,), shortfall="holds too much")
    assert seen.failure == a_failure("unsupported")


def test_a_process_whose_threads_go_on_after_a_burst_is_suspended():
    def spins(order: Order) -> Sequence[Reply]:
        return burst(order.workload, idle=False) if isinstance(order, Burst) else [opened(), held(ONE)]

    visitor = Visitor([spins])
    with WarmSession(Member("a", (ONE,), visitor), 1) as session:  # type: ignore[arg-type]
        session.warm()
        session.burst(ONE, 0, 0.1)
    assert visitor.workers[0].suspended == 1


def test_a_second_burst_of_a_turn_replaces_the_first_and_is_counted():
    def answer(order: Order) -> Sequence[Reply]:
        if isinstance(order, Hold):
            return [opened(), held(ONE)]
        assert isinstance(order, Burst)
        calls.append(len(calls))
        return burst(order.workload, 10 * len(calls), cpu_ns=len(calls))

    calls: list[int] = []
    with WarmSession(Member("a", (ONE,), Visitor([answer])), 1) as session:  # type: ignore[arg-type]
        session.warm()
        for turn in (0, 1, 1):
            session.burst(ONE, turn, 0.1)
        session.again = 1
    (seen,) = session.observations()
    assert seen.timing is not None
    assert (seen.timing.samples_ns, seen.timing.turns, seen.timing.cpu_ns) == ((10, 30), (0, 1), 4)
    assert seen.bursts_set_aside == 1


# --- the mapper alone -------------------------------------------------------------------------------------------------


def mapped(*replies: Reply, asked_s: float | None = None) -> tuple[list[Observation | None], ReplyMapper]:
    """What a mapper makes of each reply, and the mapper."""
    mapper = ReplyMapper(3, Marks(), asked_s)
    mapper.watch(AWorker(lambda _: ()))  # type: ignore[arg-type]
    return [mapper.take(reply) for reply in replies], mapper


def test_the_meter_is_read_when_a_burst_begins_and_when_it_has_ended_and_not_otherwise():
    stages = [Stage(name, ONE.workload) for name in ("import", "session", "bind", "time", "parity", "burst", "idle")]
    _, mapper = mapped(*stages)
    assert vars(mapper.meter)["marks"] == ["begin", "end"]


def test_an_observation_has_the_calls_the_energy_and_the_cpu_time_of_all_its_bursts():
    completed, mapper = mapped(opened(baseline_rss_bytes=55), held(ONE))
    assert completed == [None, None]
    mapper.meter.end()
    bursts = [
        TimedBurst(0, Bursted(ONE.workload, (5, 6), 900, cpu_ns=20), Energy(1.5, 2, "a test")),
        TimedBurst(1, Bursted(ONE.workload, (7,), 800, cpu_ns=14), Energy(1.5, 1, "a test")),
    ]
    seen = mapper.warm(ONE.workload, bursts, MachineState(steal_percent=1.0))
    assert seen.timing is not None
    assert (seen.round, seen.timing.samples_ns, seen.timing.burst_calls) == (3, (5, 6, 7), (2, 1))
    assert (seen.timing.turns, seen.timing.cpu_ns) == ((0, 1), 34)
    assert seen.energy == Energy(3.0, 3, "a test")
    assert (seen.peak_rss_bytes, seen.device_memory_bytes, seen.baseline_rss_bytes) == (900, 77, 55)
    assert seen.state == MachineState(steal_percent=1.0)


def test_the_cpu_time_of_a_server_is_not_known_so_there_is_none():
    _, mapper = mapped(opened(), held(ONE))
    seen = mapper.warm(ONE.workload, [TimedBurst(0, Bursted(ONE.workload, (5,), 900), None)], MachineState())
    assert seen.timing is not None
    assert seen.timing.cpu_ns is None


def test_every_minute_of_a_sustained_run_is_numbered_and_so_is_the_failure_that_ends_it():
    minute = Minute(60.0, 3, 20, 10, 30, (10, 20, 30))
    replies = [opened(), Stage("sustain"), Lasted(minute), Lasted(minute), Failed(a_failure("crashed"))]
    completed, _ = mapped(*replies, asked_s=120.0)
    assert completed[:2] == [None, None]
    seen = [observation for observation in completed[2:] if observation]
    assert [o.sustained for o in seen] == [
        Sustained(120.0, 1, minute),
        Sustained(120.0, 2, minute),
        Sustained(120.0, 3),
    ]
    assert [o.failure for o in seen] == [None, None, a_failure("crashed")]
    assert {o.load_ns for o in seen} == {2}
