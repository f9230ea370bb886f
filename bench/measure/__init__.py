"""Measure: worker processes, and who runs next."""
