"""Damaged and hostile inputs for everything that reads what others wrote: `nox -s fuzz`.

An input gives a value or an error that `bench` prints as a sentence; never another exception, more than 5 s, or more
than 512 MB. `KINDS` of `kinds.py` is the one list of what is fuzzed: `test_fuzz.py` takes seeded examples of each,
and `guided.py` lets atheris look for those that reach new code.
"""
