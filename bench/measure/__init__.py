"""Measuring decides which cell is visited next, starts its worker and records its observations."""
