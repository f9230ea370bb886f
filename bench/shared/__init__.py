"""What the orchestrator and the worker both use: it needs the standard library alone, and is staged for the worker."""
