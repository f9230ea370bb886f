"""Compare two stored runs, and follow stored runs over time."""
