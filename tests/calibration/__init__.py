"""What the gate's decisions and the printed intervals are worth: `python -m tests.calibration`."""
