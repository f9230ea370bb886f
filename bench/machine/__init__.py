"""Machine: its fingerprint, its state, and the energy and GPU memory that it uses."""
