"""What a leader knows of one follower, and how much it may send.

```
            a refusal, or a lost message                 an acknowledgement
  replicate ---------------------------> probe ---------------------------> replicate
  many messages on their way             one at a time, to find where
  (at most `max_inflight`)               the logs still agree
```

Source: paper figure 2 (nextIndex, matchIndex), 5.3; etcd-io/raft tracker/progress.go, inflights.go.
Differs: etcd keeps inflight sizes in bytes as well; here the number of messages is bounded.
"""

from __future__ import annotations

from collections import deque

from kvlearn.raft.types import Index

PROBE, REPLICATE = "probe", "replicate"


class Progress:
    """Invariant: 0 <= match < next. In state replicate, `inflight` holds the last index of each
    message that was sent and not acknowledged, ascending; in state probe at most one message is
    on its way, and `waiting` says so. `told` is the commit index that was sent last."""

    __slots__ = ("match", "next", "told", "state", "inflight", "waiting", "max_inflight")

    def __init__(self, next: Index, max_inflight: int):
        self.match: Index = 0
        self.next: Index = next
        self.told: Index = 0
        self.state = PROBE
        self.inflight: deque[Index] = deque()
        self.waiting = False
        self.max_inflight = max_inflight

    def may_send(self) -> bool:
        """Whether another message with entries may leave now."""
        if self.state == PROBE:
            return not self.waiting
        return len(self.inflight) < self.max_inflight

    def sent(self, last: Index) -> None:
        """Entries up to `last` are on their way. A probe waits for its answer; replication hopes
        for the best and goes on behind it."""
        if self.state == PROBE:
            self.waiting = True
        else:
            self.next = last + 1
            self.inflight.append(last)

    def acked(self, match: Index) -> bool:
        """The follower's log agrees up to `match`; false if that is old news."""
        while self.inflight and self.inflight[0] <= match:
            self.inflight.popleft()
        self.waiting = False
        if match <= self.match:
            return False
        self.match = match
        self.next = max(self.next, match + 1)
        return True

    def rejected(self, at: Index, try_next: Index) -> bool:
        """A message that continued index `at` did not fit; false if that is old news.

        `try_next` is the index after the last entry that both logs may share.
        """
        if at <= self.match:
            return False  # an answer that was overtaken by a later acknowledgement
        if self.state == REPLICATE:
            self.become_probe()
            return True
        if at != self.next - 1:
            return False
        self.next = max(min(at, try_next), self.match + 1)
        self.waiting = False
        return True

    def become_probe(self) -> None:
        """Start looking for the place where the logs agree, from the last one that is certain."""
        self.state = PROBE
        self.next = self.match + 1
        self.inflight.clear()
        self.waiting = False

    def become_replicate(self) -> None:
        """The logs agree up to `match`: send without waiting for answers."""
        self.state = REPLICATE
        self.next = self.match + 1
        self.inflight.clear()
        self.waiting = False

    def __str__(self) -> str:
        return f"{self.state} match={self.match} next={self.next}"
