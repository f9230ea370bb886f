"""Faults while a run measures: the real command with the fake engine of `tests/engines`, killed and interrupted."""
