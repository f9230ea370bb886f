"""The worker: the part that runs in the interpreters of the runtimes. No other package of `bench` imports it."""
