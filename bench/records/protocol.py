"""The version of the protocol between the orchestrator and its workers.

Raise it when an order or a reply changes: a field, a type, a meaning. Workers of recorded runs are spoken to only where
their version is this one, so a recorded base is run again under its own code for as long as the number stays.
"""

from __future__ import annotations

PROTOCOL = 1
