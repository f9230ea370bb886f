"""Turns the outcomes of runs into pages, tables and files."""
