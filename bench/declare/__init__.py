"""Declare: read and check what the user wants to measure."""
