"""Measure the error rates of the gate and the coverage of printed intervals: `python -m tests.calibration`."""
