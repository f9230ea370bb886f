"""Damaged and hostile inputs for everything that reads what others wrote: `nox -s fuzz`.

An input gives a value or an error that `bench` prints as a sentence; never another exception, more than 5 s, or more
than 512 MB.
"""
