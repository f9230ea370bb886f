"""An example of what another package can add to Touchstone; it needs NumPy alone."""
