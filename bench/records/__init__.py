"""Every value that crosses a file or a process, and the history of its schema.

Schema 1 (2026-11): the first; not released yet, so it may still gain fields that have a default.

Missing is `None`, never zero. Times are integer nanoseconds (`_ns`), memory is bytes, and units live in the names.
Raw samples are kept for ever; what is derived from them is computed when it is read.
"""

from __future__ import annotations

from bench.records.base import SCHEMA, DeviceType, Option, Record, Status, Weights
from bench.records.judged import Interval, Outcome, Speed
from bench.records.machine import Accelerator, Cpu, Device, Executed, Machine, MachineState, TargetFacts
from bench.records.orders import (
    Begin,
    Built,
    Convert,
    Done,
    Export,
    Failed,
    Job,
    Measured,
    Opened,
    Order,
    Probe,
    Probed,
    Profiled,
    Refer,
    Reply,
    Stage,
    Started,
    Visit,
)
from bench.records.plan import Cell, CompileCache, DeviceChoice, Provider, Recipe, Tolerance
from bench.records.prepared import ArtifactRecord, Failure, RuntimeRecord, Source
from bench.records.seen import Effort, Energy, Observation, Parity, Placement, Run, Start, Timing

__all__ = [
    "SCHEMA",
    "Accelerator",
    "ArtifactRecord",
    "Begin",
    "Built",
    "Cell",
    "CompileCache",
    "Convert",
    "Cpu",
    "Device",
    "DeviceChoice",
    "DeviceType",
    "Done",
    "Effort",
    "Energy",
    "Executed",
    "Export",
    "Failed",
    "Failure",
    "Interval",
    "Job",
    "Machine",
    "MachineState",
    "Measured",
    "Observation",
    "Opened",
    "Option",
    "Order",
    "Outcome",
    "Parity",
    "Placement",
    "Probe",
    "Probed",
    "Profiled",
    "Provider",
    "Recipe",
    "Record",
    "Refer",
    "Reply",
    "Run",
    "RuntimeRecord",
    "Source",
    "Speed",
    "Stage",
    "Start",
    "Started",
    "Status",
    "TargetFacts",
    "Timing",
    "Tolerance",
    "Visit",
    "Weights",
]
