"""Orders in, replies out: single JSON lines on streams of their own, so that what a library prints cannot mix in."""

from __future__ import annotations

import os
import queue
import sys
import threading
from collections.abc import Iterator

import msgspec

from bench.records import Done, Order, Reply, Stage

ORPHANED = 70


class Channel:
    """The worker's end of the conversation."""

    def __init__(self) -> None:
        self._orders = os.fdopen(os.dup(0), "rb")
        self._replies = os.fdopen(os.dup(1), "wb")
        # From here on file descriptor 1 is the log, for C libraries too, and 0 is empty.
        os.dup2(2, 1)
        empty = os.open(os.devnull, os.O_RDONLY)
        os.dup2(empty, 0)
        sys.stdout = sys.stderr
        self._queue: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self.busy = False
        self.stage_name = "start"
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        """Wait for lines; a parent that vanishes amid an order takes its worker with it.

        The thread is blocked in a read while a model is timed, so it costs nothing.
        """
        for line in self._orders:
            self.busy = True
            self._queue.put(line)
        if self.busy:
            os._exit(ORPHANED)
        self._queue.put(None)

    def orders(self) -> Iterator[Order]:
        """Each order as it comes, until the parent closes the stream."""
        while (line := self._queue.get()) is not None:
            yield msgspec.json.decode(line, type=Order)

    def say(self, reply: Reply) -> None:
        """Send one reply at once."""
        if isinstance(reply, Done):
            self.busy = False  # before it is sent: a parent that has read it may close the stream, and leave
        self._replies.write(msgspec.json.encode(reply) + b"\n")
        self._replies.flush()

    def stage(self, name: str, workload: str | None = None) -> None:
        """Tell the parent what is being done, so that a death can be placed."""
        self.stage_name = name
        self.say(Stage(name, workload))
