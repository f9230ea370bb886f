"""The search for the optimization at fault: over faults that are simulated, and in real worker processes."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
from builders import a_cell, a_parity, a_run, an_observation
from fake_runs import EP, FakeRun, a_fake_run
from msgspec.structs import replace

from bench.judge.cell_states import CellHistory
from bench.judge.outcome import judge
from bench.measure import optimization
from bench.measure.graph_optimizers import DISABLED, LEVELS, OPTIMIZERS, Result, TimeUsedUpError, search
from bench.measure.measuring import measure
from bench.measure.optimization import at_right_level
from bench.measure.visits import Visitor
from bench.measure.warm_session import Member, WarmSession
from bench.progress import Quiet
from bench.records import Observation, Provider, note
from bench.records.plan import Optimization
from bench.report import text, text_flags


class Model:
    """A model that breaks where all optimizers of a group are on; `end` is how, and `most` limits the attempts."""

    def __init__(self, *groups: tuple[str, ...], end: Result = "failed", most: int = 100) -> None:
        self.groups, self.end, self.most = groups, end, most
        self.attempts = 0

    def __call__(self, level: Optimization, without: Sequence[str]) -> Result:
        self.attempts += 1
        if self.attempts > self.most:
            raise TimeUsedUpError
        on = {name for below in LEVELS[: LEVELS.index(level) + 1] for name in OPTIMIZERS.get(below, ())} - set(without)
        return self.end if any(set(group) <= on for group in self.groups) else "right"


@pytest.mark.parametrize(
    ("name", "works"),
    [
        ("NchwcTransformer", "extended"),
        ("SimplifiedLayerNormFusion", "basic"),
        ("ConstantFolding", "none"),
        ("EnsureUniqueDQForNodeUnit", "none"),
    ],
)
def test_the_highest_level_that_is_right_and_the_optimizer_are_found(name, works):
    found = search("all", Model((name,)))
    assert found is not None
    assert (found.works, found.optimizers) == (works, (name,))


def test_every_optimizer_can_be_found():
    for level, names in OPTIMIZERS.items():
        below = LEVELS[LEVELS.index(level) - 1]
        for name in names:
            found = search("all", Model((name,)))
            assert found is not None
            assert (found.works, found.optimizers) == (below, (name,))


def test_of_two_optimizers_that_break_a_model_together_the_later_one_is_named():
    found = search("all", Model(("MatmulTransposeFusion", "NchwcTransformer")))
    assert found is not None
    assert (found.works, found.optimizers) == ("extended", ("NchwcTransformer",))


def test_two_optimizers_that_each_break_it_are_both_named():
    found = search("all", Model(("NchwcTransformer",), ("AttentionFusion",)))
    assert found is not None
    assert (found.works, found.optimizers) == ("basic", ("AttentionFusion", "NchwcTransformer"))


def test_more_than_three_explain_nothing_and_the_level_is_still_named():
    found = search("all", Model(*((name,) for name in OPTIMIZERS["extended"][4:9])))
    assert found is not None
    assert (found.works, found.optimizers) == ("basic", ())


def test_an_optimizer_without_a_known_name_leaves_the_level():
    class Nameless(Model):
        def __call__(self, level: Optimization, without: Sequence[str]) -> Result:
            return "failed" if level == "all" else "right"

    found = search("all", Nameless())
    assert found is not None
    assert (found.works, found.optimizers) == ("extended", ())


def test_answers_that_are_wrong_without_any_optimization_cost_one_attempt():
    model = Model((), end="wrong")
    assert search("all", model) is None
    assert model.attempts == 1


def test_a_model_that_never_opens_has_no_finding():
    model = Model(())
    assert search("all", model) is None
    assert model.attempts == 3


def test_a_model_that_needs_an_optimization_to_open_at_all_is_right_above_none():
    class Needy(Model):
        def __call__(self, level: Optimization, without: Sequence[str]) -> Result:
            return "failed" if level == "none" else super().__call__(level, without)

    found = search("all", Needy(("NchwcTransformer",)))
    assert found is not None
    assert (found.works, found.optimizers) == ("extended", ("NchwcTransformer",))


def test_only_levels_below_the_one_asked_for_are_tried():
    found = search("extended", Model(("SimplifiedLayerNormFusion",)))
    assert found is not None
    assert (found.works, found.optimizers) == ("basic", ("SimplifiedLayerNormFusion",))
    assert search("none", Model(())) is None


def test_a_search_out_of_time_keeps_what_it_knows():
    assert search("all", Model(("NchwcTransformer",), most=0)) is None
    assert getattr(search("all", Model(("NchwcTransformer",), most=1)), "works", None) == "none"
    unnamed = search("all", Model(("NchwcTransformer",), most=4))
    assert unnamed is not None
    assert (unnamed.works, unnamed.optimizers) == ("extended", ())


# --- in real processes ------------------------------------------------------------------------------------------------


class Lines(Quiet):
    """Keeps the steps."""

    def __init__(self) -> None:
        self.steps: list[str] = []

    def step(self, text: str) -> None:
        self.steps.append(text)


def ran(run: FakeRun, lines: Lines, seen: Sequence[Observation] = ()) -> list[Observation]:
    """All rounds of a run: what was recorded."""
    recorded = list(seen)
    measure(run.matrix, run.run, run.prepared, run.settings, CellHistory(seen), recorded.append, lines)
    return recorded


def last(observations: Sequence[Observation]) -> dict[tuple[str, int], Observation]:
    return {(observation.cell, observation.round): observation for observation in observations}


def a_faulty_run(folder: Any, mode: str, batches: Sequence[int] = (1,), **said: Any) -> FakeRun:
    return a_fake_run(folder, mode, batches, provider=Provider(EP, **said))


@pytest.mark.parametrize(("mode", "status"), [("segfaults-optimized", "crashed"), ("lies-optimized", "inaccurate")])
def test_a_model_that_an_optimizer_breaks_is_measured_below_it_and_every_round_says_so(
    tmp_path, strange_engines, mode, status
):
    run, lines = a_faulty_run(tmp_path, mode, (1, 2)), Lines()
    rounds = last(ran(run, lines))
    assert len(rounds) == 2 * run.settings.effort.min_rounds
    for observation in rounds.values():
        assert observation.failure is None
        assert observation.timing is not None
        (fact,) = [fact for fact in observation.notes if fact.kind == "optimization-fault"]
        said = {name: fact.values[name] for name in ("asked", "status", "works", "optimizers", "measured")}
        assert said == {
            "asked": "all",
            "status": status,
            "works": "basic",
            "optimizers": ("SimplifiedLayerNormFusion",),
            "measured": True,
        }
    assert any("(SimplifiedLayerNormFusion); basic is right, and is measured" in line for line in lines.steps)


def test_a_level_that_the_matrix_sets_is_kept_and_the_row_says_which_would_be_right(tmp_path, strange_engines):
    run, lines = a_faulty_run(tmp_path, "segfaults-optimized"), Lines()
    target = replace(run.matrix.targets["fake"], optimization_given=True)
    run = replace(run, matrix=replace(run.matrix, targets={**run.matrix.targets, "fake": target}))
    rounds = last(ran(run, lines))
    ((_, number),) = rounds
    (observation,) = rounds.values()
    assert number == 1
    assert observation.failure is not None
    assert observation.failure.status == "crashed"
    (outcome,) = [each for each in judge(run.run, list(rounds.values())) if each.cell.id == observation.cell]
    assert outcome.status == "crashed"
    assert outcome.optimization is None
    assert outcome.faulty_optimizers == ("SimplifiedLayerNormFusion",)
    assert text.remedy(outcome) == (
        "set optimization = 'basic' for the provider, or switch off SimplifiedLayerNormFusion alone by a session entry"
    )


def test_a_resumed_run_goes_on_at_the_level_without_a_search(tmp_path, strange_engines, monkeypatch):
    run = a_faulty_run(tmp_path, "segfaults-optimized")
    first = [each for each in last(ran(run, Lines())).values() if each.round == 1]
    monkeypatch.setattr(optimization, "_Search", None)
    rounds = last(ran(run, Lines(), first))
    assert sorted(number for _, number in rounds) == list(range(1, run.settings.effort.min_rounds + 1))
    assert all(each.failure is None and each.notes == first[0].notes for each in rounds.values())


def test_a_gate_measures_at_the_level_of_its_base_unless_the_matrix_sets_one(tmp_path, strange_engines):
    run = a_faulty_run(tmp_path, "obeys")
    fact = note("optimization-fault", works="basic", measured=True)
    seen = an_observation(run.cells[0], 1, notes=(fact,))
    visitor = Visitor(run.matrix, run.run, run.prepared, run.settings, lambda _: None)
    visitor.adopt([seen, an_observation("another/fp32/cell/b1", 1, notes=(fact,))])
    provider = visitor.order(run.cells, 1, "").provider
    assert provider is not None
    assert provider.optimization == "basic"
    fixed = replace(run.matrix.targets["fake"], optimization_given=True)
    matrix = replace(run.matrix, targets={**run.matrix.targets, "fake": fixed})
    visitor = Visitor(matrix, run.run, run.prepared, run.settings, lambda _: None)
    visitor.adopt([seen])
    provider = visitor.order(run.cells, 1, "").provider
    assert provider is not None
    assert provider.optimization == "all"


@pytest.mark.parametrize("values", [{}, {"works": None}, {"works": "evil"}, {"works": 3}, {"works": ("all",)}])
@pytest.mark.parametrize("measured", [True, False])
def test_a_fact_of_a_strangers_run_without_its_values_is_none(tmp_path, strange_engines, values, measured):
    fake = a_fake_run(tmp_path, "segfaults-optimized")
    fact = note("optimization-fault", measured=measured, **values)
    seen = an_observation(fake.run.cells[0].id, 1, notes=(fact,))
    visitor = Visitor(fake.matrix, fake.run, fake.prepared, fake.settings, [].append)
    visitor.adopt([seen])
    assert visitor.findings == {}
    (outcome,) = judge(a_run(fake.run.cells[0]), [seen])
    assert outcome.optimization in (None, "evil")


def test_an_optimizer_that_the_user_switched_off_stays_off(tmp_path, strange_engines):
    run = a_faulty_run(tmp_path, "segfaults-optimized", session={DISABLED: "SimplifiedLayerNormFusion"})
    rounds = last(ran(run, Lines()))
    assert all(each.failure is None and not each.notes for each in rounds.values())


@pytest.mark.parametrize("mode", ["segfaults", "lies", "refuses", "is-missing"])
def test_what_no_level_mends_stays_as_it_is(tmp_path, strange_engines, mode):
    run, lines = a_faulty_run(tmp_path, mode), Lines()
    (observation,) = last(ran(run, lines)).values()
    assert not observation.notes
    assert not any("optimization" in line for line in lines.steps)


def test_answers_at_their_limit_are_no_fault_of_an_optimizer(tmp_path):
    states = CellHistory(())
    limit = an_observation(parity=a_parity(relative_error=0.051))
    assert states.is_far_better(an_observation(parity=a_parity(relative_error=0.02)), limit)
    assert not states.is_far_better(an_observation(parity=a_parity(relative_error=0.049)), limit)
    tokens, better = a_parity(relative_error=None, kl_divergence=0.2), a_parity(relative_error=None, kl_divergence=1e-9)
    assert states.is_far_better(an_observation(parity=better), an_observation(parity=tokens))
    assert not states.is_far_better(an_observation(parity=tokens), an_observation(parity=tokens))


def test_a_target_without_a_provider_has_no_levels(tmp_path, strange_engines):
    run = a_fake_run(tmp_path, "segfaults")
    visitor = Visitor(run.matrix, run.run, run.prepared, run.settings, lambda _: None)
    with WarmSession(Member("fake", run.cells, visitor), 1) as session:
        session.warm()
        sessions = [session]
        at_right_level(sessions, CellHistory(()), Quiet(), Random(0))
    assert sessions == [session]
    assert visitor.findings == {}


# --- what a reader sees -----------------------------------------------------------------------------------------------


def test_the_row_names_the_level_the_optimizer_and_what_happened():
    cell = a_cell("minilm/fp32/cpu/b1-s128")
    fact = note(
        "optimization-fault",
        asked="all",
        status="crashed",
        text="the process died of SIGSEGV",
        works="extended",
        optimizers=("NchwcTransformer",),
        measured=True,
    )
    (outcome,) = judge(a_run(cell), [an_observation(cell, number, notes=(fact,)) for number in (1, 2, 3)])
    assert (outcome.status, outcome.optimization, outcome.faulty_optimizers) == (
        "ok",
        "extended",
        ("NchwcTransformer",),
    )
    (flag,) = [flag for flag in outcome.flags if flag.kind == "lower-optimization"]
    assert text_flags.name(flag.kind) == "lower optimization"
    assert text_flags.detail(flag) == "optimization 'all' crashes because of NchwcTransformer; measured at 'extended'"
    assert text.notes(outcome) == (
        "optimization 'all' crashes because of NchwcTransformer (the process died of SIGSEGV); "
        "this is measured at 'extended'",
    )


def test_a_cell_without_a_finding_has_no_level():
    cell = a_cell()
    (outcome,) = judge(a_run(cell), [an_observation(cell, number) for number in (1, 2, 3)])
    assert (outcome.optimization, outcome.faulty_optimizers) == (None, ())
    assert "lower-optimization" not in {flag.kind for flag in outcome.flags}
