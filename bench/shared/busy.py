"""Tells from the state of the machine whether other programs used its processor."""

from __future__ import annotations

CPU_PERCENT = 10.0
"""Other processes' share of all cores, in percent: their part of a call's time is more than figures scatter by."""
STEAL_PERCENT = 2.0
"""Time that other guests of a virtual machine's host took, in percent."""
BURST_CPU_PERCENT = 20.0
BURST_STEAL_PERCENT = 10.0
"""The same for one burst: the kernel counts CPU time in steps of 10 ms, which is 3 % of a burst on two cores."""
