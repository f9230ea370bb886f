"""Judge: observations to outcomes; pure functions only."""
