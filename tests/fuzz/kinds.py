"""Every kind of input that is fuzzed."""

from __future__ import annotations

from . import cached, declared, inputs, models, runs, server, worker
from .kind import Kind

KINDS: dict[str, Kind] = {
    kind.name: kind for room in (declared, runs, models, inputs, cached, worker, server) for kind in room.KINDS
}
