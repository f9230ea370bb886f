"""Labelled samples: reading labels, running every sample, and the scores of each."""
