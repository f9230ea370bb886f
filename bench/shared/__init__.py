"""Code that the orchestrator and the worker share; it imports the standard library only and is copied to the worker."""
