"""Who waits for the disk: a thread of its own, or, for what takes no time, the loop itself.

A batch of writes is on the disk when one fdatasync returns. While a thread waits for that, the loop
goes on, and the next batch gathers: so throughput grows with the load. But a put that comes alone
gains nothing by it, and pays for two hand-overs between threads on every member, which cost more
than half of what a quick disk needs. So a batch of a few sectors is forced in the loop, if the last
one took less than a millisecond; a disk that is slow, or becomes it, is waited for in the thread.
(etcd's loop for Raft waits for every batch.)

Source: etcd server/etcdserver/raft.go (start: Save, between Ready and Advance).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from time import perf_counter
from typing import Any

QUICK_S = 0.001  # a disk that takes less than this is not worth a thread
Done = Callable[[BaseException | None], None]


class Forcing:
    """Invariant: one batch at a time; what came of it is told in the loop, never before `force`
    has returned, and never after `stop`."""

    def __init__(self, storage: Any, name: str, meter: Any):
        """`storage` forces; `meter` is told how many seconds each batch took."""
        self._storage, self._meter = storage, meter
        self._loop = asyncio.get_running_loop()
        self._last_s = QUICK_S  # nobody knows yet
        self._jobs: SimpleQueue[tuple[Any, Done] | None] = SimpleQueue()
        self._thread = Thread(target=self._work, name=f"{name} disk", daemon=True)
        self._thread.start()

    def force(self, batch: Any, done: Done) -> None:
        """Force a batch of the storage, then `done(None)`, or with the error."""
        if self._last_s < QUICK_S and self._storage.is_small(batch):
            # Not at once: what was sent in this turn leaves first, and others are at work with it.
            self._loop.call_soon(lambda: done(self._try(batch)))
        else:
            self._jobs.put((batch, done))

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            batch, done = job
            error = self._try(batch)
            try:
                self._loop.call_soon_threadsafe(done, error)
            except RuntimeError:
                return  # the loop has ended

    def _try(self, batch: Any) -> BaseException | None:
        error = None
        began_s = perf_counter()
        try:
            self._storage.force(batch)
        except BaseException as raised:
            error = raised
        self._last_s = perf_counter() - began_s
        self._meter.add(self._last_s)
        return error

    async def stop(self) -> None:
        """Let the batch that is under way end; nothing is forced any more."""
        self._jobs.put(None)
        await self._loop.run_in_executor(None, self._thread.join)
