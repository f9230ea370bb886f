"""Stored runs beside each other, and over time."""
