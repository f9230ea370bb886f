"""Sessions of the fake engine in real worker processes: who shares one, what is compiled where, and how it starts."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any

import pytest
from fake_runs import EP, FakeRun, a_fake_run

from bench.measure import visits
from bench.measure.block_members import members_of
from bench.measure.blocks import Bursts, measure_block
from bench.measure.visits import Visitor
from bench.prepare import worker_environment
from bench.records import Begin, Burst, CompileCache, Hold, Observation, Order, Profile, Provider, Visit, note
from bench.worker_process import Worker

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="not on this system: signals")
OPTION, CONTEXT = CompileCache("option", "cache_dir"), CompileCache("context")
ENVIRONMENT = CompileCache("environment", "STRAW_CACHE_DIR")


class Diary:
    """The orders that workers were given, with the environment of each, and what was recorded."""

    def __init__(self) -> None:
        self.orders: list[Order] = []
        self.environments: list[dict[str, str]] = []
        self.recorded: list[Observation] = []

    @property
    def visits(self) -> list[Visit]:
        return [order.visit for order in self.orders if isinstance(order, Hold)]

    @property
    def starts(self) -> list[Begin]:
        return [order for order in self.orders if isinstance(order, Begin)]


@pytest.fixture
def diary(monkeypatch) -> Diary:
    """Every worker that is started writes into it."""
    diary = Diary()

    class Watched(Worker):
        def __init__(self, executable: Path, log: Path, environment: dict[str, str], *rest: Any) -> None:
            diary.environments.append(environment)
            super().__init__(executable, log, environment, *rest)

        def ask(self, order: Order, timeout_s: float):  # type: ignore[override]
            diary.orders.append(order)
            return super().ask(order, timeout_s)

    monkeypatch.setattr(visits, "Worker", Watched)
    return diary


@pytest.fixture
def made(tmp_path, strange_engines, diary):
    """Starts and first block of a run, as `measure` would make them; the observations."""

    def make(run: FakeRun, number: int = 1) -> list[Observation]:
        visitor = Visitor(run.matrix, run.run, run.prepared, run.settings, diary.recorded.append)
        try:
            if visitor.needs_starts(run.cells):
                visitor.measure_starts(run.cells)
            return block(visitor, run, number)
        finally:
            visitor.close()

    return make


def block(visitor: Visitor, run: FakeRun, number: int = 1) -> list[Observation]:
    """A block of the run's cells."""
    made = measure_block(members_of(visitor, run.cells), number, Bursts(2, 0.01, set_aside=False), random.Random(0))
    return [observation for session in made.sessions for observation in session.observations()]


def on(**said: Any) -> Provider:
    """The fake engine as an execution provider."""
    return Provider(EP, **said)


# --- processes --------------------------------------------------------------------------------------------------------


def test_the_workloads_of_a_group_share_a_process(made, diary, tmp_path):
    assert len(made(a_fake_run(tmp_path, "obeys", (1, 2), provider=on()))) == 2
    assert [sorted(job.workload for job in visit.jobs) for visit in diary.visits] == [["b1", "b2"]]


def test_with_fixed_shapes_each_workload_has_a_process_of_its_own(made, diary, tmp_path):
    assert len(made(a_fake_run(tmp_path, "obeys", (1, 2), provider=on(static_shapes=True)))) == 2
    assert sorted(job.workload for visit in diary.visits for job in visit.jobs) == ["b1", "b2"]
    assert [len(visit.jobs) for visit in diary.visits] == [1, 1]


def test_a_worker_has_the_variables_that_its_provider_asks_for(made, diary, tmp_path):
    made(a_fake_run(tmp_path, "obeys", provider=on(environment={"STRAW_ALLOWED": "1"})))
    assert diary.environments[0]["STRAW_ALLOWED"] == "1"


def test_a_worker_has_no_secret_of_the_user_but_the_one_that_its_target_names(made, diary, tmp_path, monkeypatch):
    for name in ("HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "STRAW_KEY", "OTHER_KEY"):
        monkeypatch.setenv(name, "s3cret")
    monkeypatch.setattr(worker_environment, "named_by", lambda target: ("STRAW_KEY",) if target.name == "fake" else ())
    made(a_fake_run(tmp_path, "obeys"))
    assert [name for name, value in diary.environments[0].items() if value == "s3cret"] == ["STRAW_KEY"]


def test_what_the_session_is_stands_in_the_observation(made, tmp_path):
    (seen,) = made(a_fake_run(tmp_path, "obeys", provider=on()))
    assert seen.device is not None
    assert seen.device.name == "Straw One"
    assert (seen.baseline_rss_bytes or 0) > 2**20
    assert (seen.baseline_rss_bytes or 0) <= (seen.peak_rss_bytes or 0)


# --- profiles ---------------------------------------------------------------------------------------------------------


def test_only_the_first_block_is_profiled(made, diary, tmp_path):
    made(a_fake_run(tmp_path, "obeys"), 1)
    made(a_fake_run(tmp_path, "obeys"), 2)
    asked = [type(order) for order in diary.orders]
    assert asked.count(Profile) == 1
    assert asked[: asked.index(Profile)] == [Hold, Burst, Burst], "after the bursts"


def test_the_placement_is_that_of_the_profile(made, tmp_path):
    (seen,) = made(a_fake_run(tmp_path, "falls-back-in-part", provider=on()))
    assert seen.placement is not None
    assert (seen.placement.copies, seen.placement.time_elsewhere) == (2, 0.25)
    assert seen.timing is not None


@posix_only
def test_a_crash_of_the_profile_costs_no_number(made, tmp_path):
    (seen,) = made(a_fake_run(tmp_path, "segfaults-when-profiled", provider=on()))
    assert seen.failure is None
    assert seen.timing is not None


# --- compiled things and starts ---------------------------------------------------------------------------------------


def test_a_target_with_a_cache_is_started_cold_and_then_from_what_it_compiled(made, diary, tmp_path):
    (seen,) = made(a_fake_run(tmp_path, "compiles", provider=on(cache=OPTION)))
    cold, cached = seen.starts
    assert (cold.kind, cached.kind) == ("cold", "cached")
    assert cold.load_ns > 300_000_000 > cached.load_ns
    assert len(diary.environments) == 3, "each start and the visit have a process of their own"
    assert seen.notes == ()


def test_a_visit_finds_what_the_start_compiled_and_the_next_run_does_not(made, diary, tmp_path):
    (first,) = made(a_fake_run(tmp_path, "compiles", provider=on(cache=OPTION)))
    (again,) = made(a_fake_run(tmp_path, "compiles", provider=on(cache=OPTION)))
    assert (first.load_ns or 0) < 300_000_000
    assert again.starts[0].load_ns > 300_000_000
    assert diary.visits[0].scratch == diary.starts[0].visit.scratch
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_cache_that_a_variable_names_is_put_where_the_run_keeps_it(made, diary, tmp_path):
    made(a_fake_run(tmp_path, "compiles", provider=on(cache=ENVIRONMENT)))
    places = {environment["STRAW_CACHE_DIR"] for environment in diary.environments}
    assert places == {diary.visits[0].scratch}
    assert Path(places.pop()).is_relative_to(tmp_path / "scratch")


def test_a_visit_never_opens_a_compiled_model_in_the_artifacts_place(made, diary, tmp_path):
    (seen,) = made(a_fake_run(tmp_path, "obeys", provider=on(cache=CONTEXT)))
    assert diary.starts[0].visit.scratch
    assert diary.visits[0].scratch == ""
    assert seen.timing is not None


def test_a_target_without_a_cache_has_no_starts_and_nothing_to_keep(made, diary, tmp_path):
    (seen,) = made(a_fake_run(tmp_path, "obeys", provider=on()))
    assert seen.starts == ()
    assert Begin not in {type(order) for order in diary.orders}
    assert diary.visits[0].scratch == ""


def test_another_engine_keeps_what_it_compiled_from_run_to_run(made, diary, tmp_path):
    made(a_fake_run(tmp_path, "compiles"))
    assert (tmp_path / "scratch" / "ort" / "fake" / "compiled").exists()


def test_only_the_first_workload_is_started_and_only_it_says_so(made, diary, tmp_path):
    seen = {o.cell: o for o in made(a_fake_run(tmp_path, "compiles", (1, 2), provider=on(cache=OPTION)))}
    assert [[job.workload for job in order.visit.jobs] for order in diary.starts] == [["b1"], ["b1"]]
    assert [len(seen[f"vit/fp32/fake/b{batch}"].starts) for batch in (1, 2)] == [2, 0]


def test_a_cached_start_that_is_refused_is_a_note_and_the_visit_goes_on(made, tmp_path):
    (seen,) = made(a_fake_run(tmp_path, "obeys", provider=on(cache=OPTION)))
    assert [start.kind for start in seen.starts] == ["cold"]
    kept = "the provider kept nothing in its cache folder"
    assert seen.notes == (note("start-failed", start="cached", status="unsupported", text=kept),)
    assert seen.timing is not None


def test_a_cached_start_that_never_ends_is_a_note_beside_the_visits_own_end(made, tmp_path):
    run = a_fake_run(tmp_path, "hangs-where-it-compiled", provider=on(cache=OPTION), timeout_s=3.0)
    (seen,) = made(run)
    assert [start.kind for start in seen.starts] == ["cold"]
    assert [(one.kind, one.values["start"], one.values["status"]) for one in seen.notes] == [
        ("start-failed", "cached", "timeout")
    ]
    assert seen.failure is not None
    assert seen.failure.status == "timeout"


@posix_only
def test_a_crash_at_the_start_is_a_note_and_the_visit_tells_the_rest(made, diary, tmp_path):
    (seen,) = made(a_fake_run(tmp_path, "segfaults", provider=on(cache=OPTION)))
    assert seen.starts == ()
    died = "the process died of SIGSEGV"
    assert seen.notes == (note("start-failed", start="cold", status="crashed", text=died),)
    assert seen.failure is not None
    assert seen.failure.signal == "SIGSEGV"
    assert len(diary.starts) == 1, "without a cold start there is nothing to start from"


def test_a_group_whose_first_workload_is_not_due_is_not_started(diary, strange_engines, tmp_path):
    run = a_fake_run(tmp_path, "compiles", (1, 2), provider=on(cache=OPTION))
    visitor = Visitor(run.matrix, run.run, run.prepared, run.settings, diary.recorded.append)
    assert visitor.needs_starts(run.cells)
    assert not visitor.needs_starts(run.cells[1:])


# --- what does not fit ------------------------------------------------------------------------------------------------


def test_what_is_expected_not_to_fit_says_by_how_much_when_it_is_ended(diary, strange_engines, tmp_path):
    run = a_fake_run(tmp_path, "eats-memory", memory_limit_bytes=300 * 2**20)
    why = {run.cells[0].group: "holds 3.1 GiB of weights, 2.8 GiB more than the limit of 300 MiB"}
    visitor = Visitor(run.matrix, run.run, run.prepared, run.settings, diary.recorded.append, why)
    (seen,) = block(visitor, run)
    assert seen.failure is not None
    assert seen.failure.status == "out-of-memory"
    assert seen.failure.message.startswith("holds 3.1 GiB of weights, 2.8 GiB more than the limit of 300 MiB; held 3")
