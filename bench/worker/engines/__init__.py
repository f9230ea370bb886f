"""Engines: one file drives one library."""
