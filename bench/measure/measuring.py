"""Measures the cells of a run: one block of every model first, then blocks where comparisons are undecided."""

from __future__ import annotations

import math
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from statistics import median

from msgspec.structs import replace

from bench.declare.matrix import Matrix
from bench.measure.block_members import Memory, choose, controls, members_of
from bench.measure.blocks import TURNS_S, Block, Bursts, measure_block, measure_in_sequence
from bench.measure.eta import BlockEta, Eta
from bench.measure.memory_check import shortfalls
from bench.measure.observations import Record, now, unanswered
from bench.measure.optimization import at_right_level
from bench.measure.schedule import ModelProgress, next_model
from bench.measure.stopping import CellStates
from bench.measure.sustained import sustain
from bench.measure.visits import Settings, Visitor
from bench.measure.warm_session import Member, WarmSession
from bench.prepare.builds import Prepared
from bench.progress import Progress, duration
from bench.records import Cell, Comparisons, Effort, Observation, Run

WITHHELD = "its answers are outside the tolerance, so its speed is withheld"
COMPILING_S, COMPILING_CALLS = 2.0, 20
"""A first call of more than these seconds, and of more than so many calls, has compiled."""
CACHED_SHARE = 0.75
"""The share of it that a later process does not need: a process of torch.compile opened in 54 s without a
cache, and in 14 s with one."""
LONE_BLOCKS = 3
"""Blocks of a model whose cells are compared with nothing."""
ATTEMPTS = 3
"""Blocks that may hold a cell without any result of it, before it counts as failed."""


def measure(
    matrix: Matrix,
    run: Run,
    prepared: Prepared,
    settings: Settings,
    history: CellStates,
    record: Record,
    progress: Progress,
    after_block: Callable[[], None] = lambda: None,
    record_all: Callable[[Sequence[Observation]], None] | None = None,
) -> None:
    """Measure blocks of every model; `history` holds the observations of an interrupted run.

    Models that are expected not to fit their device come last: if one crashes the machine, the rest is measured. Then
    each cell has its sustained run, where the run asks for it. `after_block` is called after each block. `record_all`
    records the observations of a block together, so that a block is on the disk whole or not at all.
    """

    def note(observation: Observation) -> None:
        history.add(observation)
        record(observation)

    def note_all(observations: Sequence[Observation]) -> None:
        for observation in observations:
            history.add(observation)
        if record_all:
            record_all(observations)
        else:
            for observation in observations:
                record(observation)

    cells = [cell for cell in run.cells if cell.excluded is None]
    for cell in cells:
        # A failure of preparation is recorded as block 0, once: a resumed run has it already.
        failure = prepared.failures.get(cell.id)
        if failure and not history.ended(cell.id):
            note(Observation(cell=cell.id, round=0, started=now(), failure=failure))
    too_large = shortfalls(run, prepared, settings.memory_limit_bytes)
    for group, why in too_large.items():
        progress.step(f"{group} comes last, as it is expected not to fit: it {why}")
    visitor = Visitor(matrix, run, prepared, settings, note, too_large)
    # A resumed run goes on at the levels that it had to take.
    visitor.adopt(observation for cell in cells for observation in history.rounds[cell.id].values())
    blocks = RunBlocks(run, cells, visitor, history, progress, note_all)
    try:
        while blocks.next():
            after_block()
        eta = Eta(cells, history, run.sustained_minutes)
        sustain(run, visitor, history, eta, progress)
    finally:
        # Also after Ctrl-C: a compile cache that stays would make the next cold start warm.
        visitor.close()


class RunBlocks:
    """The blocks of a run, one after another."""

    def __init__(
        self,
        run: Run,
        cells: Sequence[Cell],
        visitor: Visitor,
        history: CellStates,
        progress: Progress,
        note_all: Callable[[Sequence[Observation]], None],
    ) -> None:
        self.note_all = note_all
        self.run, self.visitor, self.history, self.progress = run, visitor, history, progress
        self.effort: Effort = visitor.settings.effort
        self.models: dict[str, list[Cell]] = {}
        large: dict[str, list[Cell]] = {}
        for cell in cells:
            # A model that is expected not to fit is measured after all others, under a name of its own.
            place = large if cell.group in visitor.shortfalls else self.models
            place.setdefault(cell.model, []).append(cell)
        for name, group in large.items():
            # With the control, as every block.
            self.models[f"{name}, too large"] = [*controls(self.models.get(name, [])), *group]
        self.memory = Memory(run, visitor, history)
        self.block_s: dict[str, float] = {}
        self.eta = BlockEta(self.models, self.effort)
        self.count: Counter[str] = Counter()
        """Blocks of each model that this process has made."""
        self.attempts: Counter[str] = Counter()
        """By cell: blocks that held it and gave neither a time nor a failure."""
        self.announced: set[str] = set()
        """Cells whose failure was told before the end of their block."""
        self.began = time.monotonic()

    def next(self) -> bool:
        """Measure the next block; False if there is none."""
        state = {model: self._state(model) for model in self.models}
        model = next_model(state, self.effort, self.left_s())
        if model is None:
            self._say_if_too_short(state)
            return False
        number = self._measure(model, state[model])
        after = self._state(model)
        self.progress.step(f"{model}: block {number} done{_open_text(after)}")
        return True

    def _say_if_too_short(self, state: Mapping[str, ModelProgress]) -> None:
        """Say what is enough, where the time left no second block to any cell."""
        minutes, once_s = self.effort.minutes, sum(self.block_s.values())
        most = max((self._blocks(cell) for model in state for cell in self.models[model]), default=0)
        if minutes is None or not once_s or most > 1:
            return
        if 60 * minutes < 2 * once_s and self.effort.max_rounds > 1:
            self.progress.step(
                f"one block of each model took {once_s / 60:.1f} min, and no second one fits into {minutes:g} min; "
                f"one block gives no intervals; --minutes {math.ceil(2 * once_s / 60)} is enough for two"
            )

    def left_s(self) -> float:
        """Seconds of the time for measuring that are left; the first blocks of models may exceed it."""
        minutes = self.effort.minutes
        return float("inf") if minutes is None else self.began + 60 * minutes - time.monotonic()

    def _alive(self, model: str) -> list[Cell]:
        return [cell for cell in self.models[model] if not self.history.ended(cell.id)]

    def _due(self, model: str) -> list[Cell]:
        """The cells that can still be measured: emulated ones need no second block, as their times mean nothing."""
        return [cell for cell in self._alive(model) if not (cell.emulated and self.history.rounds[cell.id])]

    def _state(self, model: str) -> ModelProgress:
        alive = [cell for cell in self._alive(model) if not cell.emulated]
        least = min((self._blocks(cell) for cell in alive), default=0)
        half_width = self.effort.half_width
        compared = self.history.comparisons(alive, half_width) if half_width else Comparisons(0, 0)
        named = compared.total
        if not compared.total:
            # Nothing to compare with: the blocks are for the intervals of the cells themselves.
            compared = Comparisons(0, int(least < LONE_BLOCKS))
        waiting = {cell.group for cell in self._due(model) if not self.history.rounds[cell.id]}
        # A model whose groups take turns has as many blocks as the group with the fewest.
        return ModelProgress(
            blocks=least,
            total=max(compared.total, int(bool(alive))),
            undecided=compared.undecided,
            block_s=self.block_s.get(model, 0.0),
            waiting=len(waiting),
            compared=named,
        )

    def _blocks(self, cell: Cell) -> int:
        return sum(1 for number in self.history.rounds[cell.id] if number > 0)

    def _measure(self, model: str, state: ModelProgress) -> int:
        """Measure a block of a model; gives its number."""
        cells = self._due(model)
        self.count[model] += 1
        self._show_share()
        # One series of numbers for a model, as ratios come from cells of one block.
        same = [cell for cell in self.run.cells if cell.model == cells[0].model]
        number = 1 + max((number for cell in same for number in self.history.rounds[cell.id]), default=0)
        # The seed makes the random order the same when the run is resumed.
        rng = random.Random(f"{self.run.seed}/{model}/{number}")
        real = [cell for cell in cells if not cell.emulated]
        emulated = [cell for cell in cells if cell.emulated]
        if real and (state.waiting == 0 or any(not self.history.rounds[cell.id] for cell in real)):
            counts = {cell.id: self._blocks(cell) for cell in real}
            choice = choose(real, counts, self.visitor, self.memory)
            names = f"{len(choice.members)} processes"
            self.progress.detail(f"block {number} of {model}: {names}; {self._left_text()}")
            block = self._block(choice.members, number, rng, in_sequence=choice.in_sequence)
            self._keep(model, block)
        # Alone, since an emulator takes minutes for what the others do in milliseconds.
        for member in members_of(self.visitor, emulated):
            self.progress.detail(f"{member.name}: answers of an emulated device")
            self._keep(model, self._block([member], number, rng, turns=1))
        return number

    def _block(
        self,
        members: Sequence[Member],
        number: int,
        rng: random.Random,
        *,
        in_sequence: bool = False,
        turns: int | None = None,
    ) -> Block:
        bursts = Bursts(turns or self.effort.bursts, self.effort.burst_s, TURNS_S)
        for member in members:
            # Before the first process of a group, because that fills the compile cache.
            fresh = not any(self.history.rounds[cell.id] for cell in member.cells)
            if fresh and self.visitor.needs_starts(member.cells):
                self.progress.detail(f"cold and cached start of {member.name}")
                self.visitor.measure_starts(member.cells)

        def warmed(sessions: list[WarmSession]) -> None:
            warm = f"{len(sessions)} of {len(members)} processes warm"
            # In the first block only: a cell that fails later has worked as it is.
            if any(self.history.rounds[cell.id] for cell in sessions[-1].member.cells):
                self.progress.detail(f"block {number} of {members[0].cells[0].model}: {warm}")
                return
            at_right_level(sessions, self.history, self.progress, rng)
            self._say_verdict(sessions[-1], warm)

        def opening(member: Member) -> None:
            self.progress.detail(f"block {number}: {member.name} is opened and warms up")

        if in_sequence:
            return measure_in_sequence(members[0], members[1], number, bursts, rng, numbered_apart=True)
        return measure_block(members, number, bursts, rng, warmed, opening)

    def _keep(self, model: str, block: Block) -> None:
        """Record the observations of a block, and run the labelled samples of groups that were measured first."""
        if len(block.sessions) > 1 or model not in self.block_s:
            # What failed for good is not in the next block: a target that hangs would leave no time for the others.
            lost_s = sum(session.lost_s for session in block.sessions if session.failed_whole)
            self.block_s[model] = max(0.0, block.seconds - lost_s - self._compiled_s(block))
            self.eta.done(model, block.seconds)
        first = [cell for session in block.sessions for cell in session.member.cells if self._is_first(cell)]
        newly = {cell.id for cell in first}
        observations = [observation for session in block.sessions for observation in session.observations()]
        self.note_all(observations)
        for observation in observations:
            self._say_later(observation, is_first=observation.cell in newly)
        for cell in first:
            # Neither a burst nor a failure, after another cell of its process crashed: the next block has it again.
            self.attempts[cell.id] += not self.history.rounds[cell.id]
            if self.attempts[cell.id] == ATTEMPTS:
                failure = unanswered("burst", "block")
                self.visitor.record(Observation(cell=cell.id, round=1, started=now(), failure=failure))
            self._assess(cell)
            if line := self._cell_line(cell):
                self.progress.step(line)

    def _say_verdict(self, session: WarmSession, warm: str) -> None:
        """Say what the check of the answers has shown: times come when all processes of the block are warm."""
        answered = [session.observation(cell, answered=True) for cell in session.member.cells]
        known = [observation for observation in answered if observation is not None]
        for observation in known:
            if observation.failure:
                self.announced.add(observation.cell)
                self.progress.step(_failed_line(observation))
        checked = [observation for observation in known if observation.failure is None]
        if checked:
            right = all(self.history.is_right(observation) for observation in checked)
            shown = "answers within tolerance" if right else "answers outside the tolerance"
            self.progress.step(f"{session.first.group}: {shown} ({warm})")

    def _compiled_s(self, block: Block) -> float:
        """Seconds of first calls that compiled in a first block: later processes find that in the compile cache."""
        compiled_s = 0.0
        for session in block.sessions:
            for observation in session.observations():
                timing = observation.timing
                if timing is None or not timing.samples_ns or self.history.rounds[observation.cell]:
                    continue
                first_s, call_s = timing.first_call_ns / 1e9, median(timing.samples_ns) / 1e9
                if first_s > max(COMPILING_S, COMPILING_CALLS * call_s):
                    compiled_s += CACHED_SHARE * first_s
        return compiled_s

    def _say_later(self, observation: Observation, *, is_first: bool) -> None:
        """Say a failure that was not told yet, and answers that are wrong for the first time in a later block."""
        if observation.failure:
            if observation.cell not in self.announced:
                self.progress.step(_failed_line(observation))
        elif not is_first and not self.history.is_right(observation):
            self.progress.step(f"{observation.cell}: inaccurate in block {observation.round}: {WITHHELD}")

    def _is_first(self, cell: Cell) -> bool:
        return not self.history.rounds[cell.id]

    def _assess(self, cell: Cell) -> None:
        """Run the labelled samples of a group once, and record its first observation again with their scores."""
        observation = next((o for o in self.history.rounds[cell.id].values() if o.failure is None and o.timing), None)
        labelled = self.visitor.labelled(cell)
        if observation is None or labelled is None:
            return
        self.progress.detail(f"labelled samples of {cell.group}")
        scores = self.visitor.assess(cell, labelled)
        # The last observation of a cell and a block counts: the times were on disk before.
        self.visitor.record(replace(observation, task=scores))
        if scores.failure:
            self.progress.step(f"{cell.group}: its labelled samples could not be run: {scores.failure.message}")

    def _show_share(self) -> None:
        """Show how much of the time for measuring is over; first blocks may take longer than that."""
        elapsed_s = time.monotonic() - self.began
        waiting = [model for model in self.models if any(not self.history.rounds[c.id] for c in self._due(model))]
        left_s = self.left_s()
        if waiting or left_s < float("inf"):
            left_s = max(self.eta.first_blocks_s(waiting), 0.0 if left_s == float("inf") else left_s)
            self.progress.share(elapsed_s / max(elapsed_s + left_s, 1e-9))

    def _left_text(self) -> str:
        """`3 first blocks left, about 2 min 10 s`, or how much of the time is left."""
        waiting = [model for model in self.models if any(not self.history.rounds[c.id] for c in self._due(model))]
        if waiting:
            blocks = "first block" if len(waiting) == 1 else "first blocks"
            return f"{len(waiting)} {blocks} left, about {duration(self.eta.first_blocks_s(waiting))}"
        left_s = self.left_s()
        return "" if left_s == float("inf") else f"at most {duration(max(0.0, left_s))} more"

    def _cell_line(self, cell: Cell) -> str | None:
        """The first result of a cell in one line; None for a failure, which was reported when it happened."""
        observations = list(self.history.rounds[cell.id].values())
        if not observations or any(o.failure for o in observations):
            return None
        if not all(self.history.is_right(o) for o in observations):
            return f"{cell.id}: inaccurate: {WITHHELD}"
        if cell.emulated:
            return f"{cell.id}: answers within tolerance; emulated, so its times mean nothing"
        latency_ms = self.history.latency_ms(cell.id)
        return None if latency_ms is None else f"{cell.id}: answers within tolerance; {latency_ms:.3g} ms"


def _open_text(state: ModelProgress) -> str:
    """`, 3 of 9 comparisons are open`; empty for cells that are compared with nothing."""
    if not state.compared:
        return ""
    verb = "comparison is" if state.compared == 1 else "comparisons are"
    return f", {state.undecided} of {state.compared} {verb} open"


def _failed_line(observation: Observation) -> str:
    failure = observation.failure
    assert failure is not None
    return f"{observation.cell}: {failure.status} at stage '{failure.stage}': {failure.message}"
