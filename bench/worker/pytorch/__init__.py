"""PyTorch: what its engine loads models with, and how it generates."""
