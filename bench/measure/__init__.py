"""Measure: who is visited next, and until when."""
