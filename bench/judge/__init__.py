"""Judging turns observations into outcomes; it has pure functions only."""
