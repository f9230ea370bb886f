"""Touchstone: a benchmark and compatibility matrix for ONNX Runtime."""

__version__ = "0.1.0"
