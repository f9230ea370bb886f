"""The machine: what it is, what it is doing, and the energy and memory that it uses."""
