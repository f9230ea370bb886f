"""Pairs of the fake engine in real worker processes: bursts alternate, a side that fails is told, nobody is left."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import psutil
import pytest
from fake_runs import a_fake_run

from bench.declare.budgets import TURNS
from bench.gating.pairs import Pairer
from bench.machine.energy import Meter
from bench.measure.visits import Visitor
from bench.measure.warm_session import Member
from bench.records import Energy

HALF = TURNS // 2
PAIRER = Pairer(seed=0, burst_s=0.01)


@pytest.fixture
def side(tmp_path: Path, strange_engines):
    """`side("base", "obeys")`: a side whose cell runs the fake engine in a mode."""
    made = []

    def make(name: str, mode: str, **settings) -> Member:
        run = a_fake_run(tmp_path / name, mode, **settings)
        visitor = Visitor(run.matrix, run.run, run.prepared, run.settings, lambda _: None)
        made.append(visitor)
        return Member(name, run.cells[:1], visitor)

    yield make
    for visitor in made:
        visitor.close()


def test_a_side_that_takes_twice_as_long_is_twice_as_slow(side):
    made = PAIRER.pair(side("base", "obeys"), side("new", "dawdles"), "screen", 1)
    assert made.pair.value is not None
    assert 1.5 < math.exp(made.pair.value) < 2.5
    assert made.pair.failure == ""


def test_six_bursts_of_each_side_alternate_in_an_order_that_is_drawn(side):
    made = PAIRER.pair(side("base", "obeys"), side("new", "obeys"), "screen", 1)
    order = made.pair.order
    assert Counter(order) == {"b": TURNS, "n": TURNS}
    turns = [order[at : at + 2] for at in range(0, len(order), 2)]
    assert set(turns) == {"bn", "nb"}, "each turn has one burst of either side, and the first of them is drawn"
    assert (len(made.pair.base_ms), len(made.pair.new_ms)) == (TURNS, TURNS)


def test_two_pairs_draw_other_orders_and_the_same_pair_draws_its_own_again(side):
    base, new = side("base", "obeys"), side("new", "obeys")
    first, again, second = (PAIRER.pair(base, new, "screen", number).pair.order for number in (1, 1, 2))
    assert first == again != second


def test_each_process_leaves_an_observation_with_its_checked_answers_and_every_call(side):
    made = PAIRER.pair(side("base", "obeys"), side("new", "obeys"), "screen", 1)
    for (seen,) in (made.base, made.new):
        assert seen.failure is None
        assert seen.parity is not None
        assert seen.parity.cosine == pytest.approx(1.0)
        assert seen.timing is not None
        assert len(seen.timing.samples_ns) == sum(seen.timing.burst_calls) >= TURNS
        assert len(seen.timing.burst_calls) == TURNS
        assert seen.timing.warmup_ns
        assert seen.load_ns is not None


def test_wrong_answers_are_seen_in_a_pair_too(side):
    made = PAIRER.pair(side("base", "obeys"), side("new", "lies"), "screen", 1)
    assert made.new[0].parity.cosine < 0


class Joules(Meter):
    """A meter that reads one joule a burst, from its beginning to its end."""

    def begin(self) -> None:
        self.spent = None
        self.before = ()

    def end(self) -> None:
        self.spent, self.before = (None if self.before is None else 1.0), None

    def energy(self, calls: int) -> Energy | None:
        return Energy(self.spent, calls, "a test") if self.spent else None


def test_the_energy_of_every_burst_is_in_the_observation_of_its_process(side):
    base, new = side("base", "obeys"), side("new", "obeys")
    base.visitor.meter = new.visitor.meter = lambda _: Joules()
    made = PAIRER.pair(base, new, "screen", 1)
    for (seen,) in (made.base, made.new):
        assert seen.energy == Energy(TURNS, len(seen.timing.samples_ns), "a test")


@pytest.mark.parametrize(
    ("mode", "status", "says"),
    [
        ("refuses", "unsupported", "new: this engine does not take that model"),
        ("segfaults", "crashed", "new: the process died of SIGSEGV"),
        ("raises", "failed", "new: [FakeRuntime] the kernel said no"),
    ],
)
def test_a_side_that_fails_gives_no_value_and_says_which_it_was(side, mode, status, says):
    made = PAIRER.pair(side("base", "obeys"), side("new", mode), "confirm", 3)
    assert made.pair.value is None
    assert made.pair.failure.startswith(says)
    assert made.new[0].failure.status == status
    assert made.base[0].failure is None


def test_no_process_is_left_when_a_side_dies(side):
    PAIRER.pair(side("base", "obeys"), side("new", "segfaults"), "screen", 1)
    left = [p for p in psutil.Process().children(recursive=True) if "bench.worker" in " ".join(p.cmdline())]
    assert left == []


def test_a_side_that_hangs_ends_at_the_time_limit(side):
    made = PAIRER.pair(side("base", "obeys"), side("new", "hangs", timeout_s=2.0), "screen", 1)
    assert made.pair.value is None
    assert made.new[0].failure.status == "timeout"


def test_models_too_big_for_two_run_one_after_another_first_one_side_then_twice_the_other(side):
    made = PAIRER.pair(side("base", "obeys"), side("new", "dawdles"), "screen", 1, in_sequence=True)
    assert made.pair.way == "in sequence"
    assert made.pair.order in (HALF * "b" + 2 * HALF * "n" + HALF * "b", HALF * "n" + 2 * HALF * "b" + HALF * "n")
    assert (len(made.base), len(made.new)) == (2, 2)
    assert 1.5 < math.exp(made.pair.value) < 2.5


def test_a_failure_in_sequence_ends_the_pair(side):
    made = PAIRER.pair(side("base", "obeys"), side("new", "refuses"), "screen", 1, in_sequence=True)
    assert made.pair.value is None
    assert "does not take that model" in made.pair.failure


def test_a_null_pair_has_the_base_twice_and_no_difference_to_speak_of(side):
    base = side("base", "obeys")
    made = PAIRER.pair(base, Member("new", base.cells, base.visitor), "null", 1)
    assert abs(made.pair.value) < math.log(1.5)
    assert made.base[0].cell == made.new[0].cell
