"""Exchanges orders and replies with the parent process, as JSON lines on streams that libraries cannot print to."""

from __future__ import annotations

import os
import queue
import sys
import threading
from collections.abc import Iterator

import msgspec

from bench.records import Done, Order, Reply, Stage

ORPHANED = 70
"""The exit code of a worker whose parent has ended during an order."""


class Channel:
    """The worker's side of the connection to its parent."""

    def __init__(self) -> None:
        # Copies: libraries print to descriptor 1 and may read from 0, which must not disturb the protocol.
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
        """Read orders in a thread; exit when the parent ends during an order.

        While a model is timed the thread is blocked in a read, so it uses no processor time.
        """
        for line in self._orders:
            self.busy = True
            self._queue.put(line)
        # Without its parent nobody would read the result or end this process.
        if self.busy:
            # Not `sys.exit`, which would end only this thread.
            os._exit(ORPHANED)
        self._queue.put(None)

    def orders(self) -> Iterator[Order]:
        """Yield each order as it arrives, until the parent closes the stream."""
        while (line := self._queue.get()) is not None:
            yield msgspec.json.decode(line, type=Order)

    def say(self, reply: Reply) -> None:
        """Send one reply immediately."""
        if isinstance(reply, Done):
            self.busy = False  # set before sending: a parent that has read `Done` may close the stream and end
        self._replies.write(msgspec.json.encode(reply) + b"\n")
        # A crash loses what is buffered, and the last stage that the parent has read tells where it happened.
        self._replies.flush()

    def stage(self, name: str, workload: str | None = None) -> None:
        """Tell the parent which stage begins, so that a crash can be attributed to it."""
        self.stage_name = name
        self.say(Stage(name, workload))
