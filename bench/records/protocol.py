"""Holds the version of the protocol between the orchestrator and its workers.

Raise it when an order or a reply changes: a field, a type or a meaning. A worker of a recorded run is used only where
its version is this one, so a recorded base can run again under its own code as long as the number stays.

The code of a recorded run is asked for this number by this file's name, so the file is not moved.
"""

from __future__ import annotations

PROTOCOL = 1
