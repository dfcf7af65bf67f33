"""Virtual time: one queue for everything that will happen, and a clock for each node.

The queue holds data, never closures, so a cluster can be copied in mid-flight. Things that happen
at the same instant happen in the order in which they were put into the queue.
"""

from __future__ import annotations

from heapq import heappush
from typing import Any

PACKET, TIMER, DISK, REFUSAL, CLIENT = 0, 1, 2, 3, 4  # what an item of the queue is


class VirtualClock:
    """Invariant: `now` never decreases but for a rewind; no item of the queue lies in the past."""

    __slots__ = ("now", "queue", "happened", "order")

    def __init__(self) -> None:
        self.now = 0.0  # virtual seconds
        self.queue: list[tuple[float, int, int, Any]] = []  # a heap: (time, order, kind, what)
        self.happened = 0  # items taken out so far
        self.order = 0

    def push(self, time: float, kind: int, what: Any) -> None:
        """Let `what` happen at `time` (virtual seconds)."""
        self.order += 1
        heappush(self.queue, (time, self.order, kind, what))


def rate_of_clock(rate: float) -> float:
    """The rate, if a clock can have it.

    Raises: ValueError unless 0.01 <= rate <= 100.
    """
    if not isinstance(rate, (int, float)) or not 0.01 <= rate <= 100:
        raise ValueError(f"a clock's rate is between 0.01 and 100 (1 is right), not {rate!r}")
    return rate


class NodeClock:
    """A node's own clock: seconds since the node started, at `rate` times the true speed.

    Clocks start at a random phase below one tick, as those of real machines do.
    """

    __slots__ = ("_rate", "_shown", "_since")

    def __init__(self, now: float, phase_s: float, rate: float = 1.0):
        self._rate = rate
        self._shown = phase_s
        self._since = now

    def read(self, now: float) -> float:
        """What the clock shows at virtual time `now`."""
        return self._shown + (now - self._since) * self._rate

    def when(self, shown: float) -> float:
        """The virtual time at which the clock will show `shown`."""
        return self._since + (shown - self._shown) / self._rate

    @property
    def rate(self) -> float:
        return self._rate

    def set_rate(self, rate: float, now: float) -> None:
        """Go on from what it shows now, at another speed."""
        self._shown, self._since, self._rate = self.read(now), now, rate_of_clock(rate)
