"""The worker: runs in the runtimes' interpreters; nothing above imports it."""
