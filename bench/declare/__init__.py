"""Declare: what is to be measured, as the user wrote it."""
