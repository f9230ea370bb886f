"""Prepare: install the runtimes, fetch the sources and build the artifacts that the cells need."""
