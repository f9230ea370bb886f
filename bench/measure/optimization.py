"""Where a model fails or is wrong as optimized, finds the optimization at fault and measures at a level that is right.

Each attempt is a process of its own, so that a crash costs nothing but that process.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence

from msgspec.structs import replace

from bench.measure import graph_optimizers
from bench.measure.graph_optimizers import DISABLED, Finding, Result, TimeUsedUpError
from bench.measure.stopping import CellStates
from bench.measure.visits import Visitor
from bench.measure.warm_session import WarmSession
from bench.progress import Progress
from bench.records import Cell, Effort, Failed, Failure, Held, Hold, Note, Observation, Provider, Visit, note
from bench.records.plan import Optimization

LIMIT_S = 120.0
"""Seconds that the search for one model on one target may take; a small model takes ten to twenty."""
TRIAL = Effort("trial", 1, 1, None, warmup_calls=0, warmup_s=0.0, warmup_limit_s=0.0, burst_s=0.0, cell_limit_s=0.0)
"""The fewest calls: only the answers are of interest."""
STAGES = ("session", "bind", "time", "lead-in", "burst", "parity")
"""Where a failure may be that of an optimization: the session is there, or is being created."""
# A refusal of the engine, such as an unknown option, and a missing package are not among them.
KINDS = {"signal", "exit"} | {
    "Fail",
    "EPFail",
    "InvalidArgument",
    "InvalidGraph",
    "NotImplemented",
    "RuntimeError",
    "RuntimeException",
}
"""The ends of a process, and the exceptions of ONNX Runtime, that an optimization may cause."""
STATUSES = ("crashed", "failed", "unsupported")
"""The statuses of such a failure; what refuses while the session is created is `unsupported`."""
TEXT_CHARACTERS = 300


def at_right_level(sessions: list[WarmSession], states: CellStates, progress: Progress, rng: random.Random) -> None:
    """Replace the last session, where it fails or is wrong as optimized, by one at a level that is right.

    Where the matrix sets the level of its provider, the session stays as it is, and its observations say which level
    would be right.
    """
    session = sessions[-1]
    visitor, cells = session.member.visitor, session.member.cells
    provider, group = visitor.provider(cells[0]), cells[0].group
    if provider is None or group in visitor.findings:
        return
    answered = [observation for cell in cells if (observation := session.observation(cell, answered=True)) is not None]
    suspects = [observation for observation in answered if _is_suspect(observation, states)]
    if not suspects:
        return
    progress.detail(f"{group}: {_what(suspects[0])} at optimization {provider.optimization}; trying lower levels")
    search = _Search(visitor, cells, suspects, provider, states)
    finding = graph_optimizers.search(provider.optimization, search.attempt)
    if finding is None:
        return
    fixed = visitor.matrix.targets[cells[0].target].optimization_given
    fact = _fact(finding, provider.optimization, suspects[0], measured=not fixed)
    progress.step(_line(group, finding, provider.optimization, suspects[0], fixed=fixed))
    if fixed:
        session.facts |= {observation.cell: (fact,) for observation in suspects}
        return
    visitor.findings[group] = fact
    # What the session at the level asked for has compiled would make the next cold start warm.
    visitor.compile_caches.empty(group)
    if visitor.needs_starts(cells):
        visitor.measure_starts(cells)
    # All workloads, also those that were right: the rows of one model on one target are of one level.
    for index, other in enumerate(sessions):
        if other.first.group == group:
            other.close()
            sessions[index] = WarmSession(other.member, other.number, rng)
            sessions[index].warm()


class _Search:
    """The attempts of one group: its suspect workloads at other levels, within `LIMIT_S`."""

    def __init__(
        self,
        visitor: Visitor,
        cells: Sequence[Cell],
        suspects: Sequence[Observation],
        provider: Provider,
        states: CellStates,
    ) -> None:
        self.visitor, self.provider, self.states = visitor, provider, states
        self.before = {observation.cell: observation for observation in suspects}
        tried = [cell for cell in cells if cell.id in self.before]
        # A provider with fixed shapes has a session for each workload, so one stands for all.
        self.cells = tried[:1] if provider.static_shapes else tried
        self.ends = time.monotonic() + LIMIT_S

    def attempt(self, level: Optimization, without: Sequence[str]) -> Result:
        """Run the workloads once at a level, without some optimizers. Raises `TimeUsedUpError`."""
        left_s = self.ends - time.monotonic()
        if left_s <= 0:
            raise TimeUsedUpError
        # No folder, so that nothing that is compiled here is used by a start or a visit.
        visit = replace(self._at(self.visitor.order(self.cells, 0, ""), level, without), effort=TRIAL)
        right: list[bool] = []
        with self.visitor.worker(self.cells[0], "") as worker:
            for reply in worker.ask(Hold(visit), min(left_s, self.visitor.settings.timeout_s)):
                if isinstance(reply, Failed):
                    # What takes too long is neither right nor wrong.
                    if reply.failure.status == "timeout":
                        raise TimeUsedUpError
                    return "failed"
                if isinstance(reply, Held):
                    right.append(self._is_right(reply))
        if len(right) < len(self.cells):
            return "failed"
        return "right" if all(right) else "wrong"

    def _at(self, order: Visit, level: Optimization, without: Sequence[str]) -> Visit:
        session = dict(self.provider.session)
        if without:
            session[DISABLED] = ";".join(filter(None, (session.get(DISABLED), *without)))
        return replace(order, provider=replace(self.provider, optimization=level, session=session))

    def _is_right(self, reply: Held) -> bool:
        cell = next(cell for cell in self.cells if cell.workload == reply.workload)
        before = self.before[cell.id]
        now = replace(before, failure=None, parity=reply.parity)
        # Where both are at their limit, rounding decides which is inside, and no optimization is at fault.
        return self.states.is_right(now) and (before.parity is None or self.states.is_far_better(now, before))


def _is_suspect(observation: Observation, states: CellStates) -> bool:
    failure = observation.failure
    if failure is not None:
        return failure.stage in STAGES and failure.kind in KINDS and failure.status in STATUSES
    return not states.is_right(observation)


def _fact(finding: Finding, asked: Optimization, before: Observation, *, measured: bool) -> Note:
    """The finding as a fact of the observations. `measured` says whether they are of the level that works."""
    return note(
        "optimization-fault",
        asked=asked,
        status=_status(before),
        text=_message(before.failure),
        works=finding.works,
        optimizers=finding.optimizers,
        measured=measured,
    )


def _status(observation: Observation) -> str:
    return observation.failure.status if observation.failure else "inaccurate"


def _message(failure: Failure | None) -> str:
    return failure.message.splitlines()[0][:TEXT_CHARACTERS] if failure and failure.message else ""


def _what(observation: Observation) -> str:
    return f"{observation.failure.status}" if observation.failure else "wrong answers"


def _line(group: str, finding: Finding, asked: Optimization, before: Observation, *, fixed: bool) -> str:
    """The finding in one line of progress."""
    named = f" ({', '.join(finding.optimizers)})" if finding.optimizers else ""
    then = "is right, but the matrix sets the level" if fixed else "is right, and is measured"
    return f"{group}: {_what(before)} at optimization {asked}{named}; {finding.works} {then}"
