"""Prepare: the machine, the runtimes, the sources and the artifacts that the cells need."""
