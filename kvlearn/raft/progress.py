"""What a leader knows of one follower, and how much it may send.

```
            a refusal, or a lost message                 an acknowledgement
  replicate ---------------------------> probe ---------------------------> replicate
  many messages on their way             one at a time, to find where
  (at most `max_inflight`)               the logs still agree
                                           |    ^
    what it needs is no longer in the log  |    |  it has the snapshot, or it failed
                                           v    |
                                         snapshot -- an acknowledgement --> replicate
                                         one chunk at a time
```

Source: paper figure 2 (nextIndex, matchIndex), 5.3; etcd-io/raft tracker/progress.go, inflights.go.
Differs: etcd keeps inflight sizes in bytes as well; here the number of messages is bounded. When a
follower was heard last is kept as a time, where etcd keeps a flag that it clears now and then.
"""

from __future__ import annotations

from collections import deque

from kvlearn.raft.types import Index, Snapshot, Ticks

PROBE, REPLICATE, SNAPSHOT = "probe", "replicate", "snapshot"
NEVER: Ticks = -(2**62)


class Progress:
    """Invariant: 0 <= match < next. In state replicate, `inflight` holds the last index of each
    message that was sent and not acknowledged, ascending; in state probe at most one message is
    on its way, in state snapshot one chunk, and `waiting` says so. `told` is the commit index that
    was sent last, `heard` when a message of the follower came last, and `proven` when the newest
    heartbeat had left that it has answered."""

    __slots__ = (
        *("match", "next", "told", "state", "inflight", "waiting", "max_inflight"),
        *("snapshot", "offset", "heard", "proven"),
    )

    def __init__(self, next: Index, max_inflight: int, now: Ticks = 0):
        self.match: Index = 0
        self.next: Index = next
        self.told: Index = 0
        self.state = PROBE
        self.inflight: deque[Index] = deque()
        self.waiting = False
        self.max_inflight = max_inflight
        self.snapshot: Snapshot | None = None  # in state snapshot: which one is being sent
        self.offset = 0  # in state snapshot: the first record of the chunk on its way
        self.heard: Ticks = now  # nobody is taken for dead before it had a chance to answer
        self.proven: Ticks = NEVER

    def may_send(self) -> bool:
        """Whether another message with entries, or the next chunk, may leave now."""
        if self.state == REPLICATE:
            return len(self.inflight) < self.max_inflight
        return not self.waiting

    def sent(self, last: Index) -> None:
        """Entries up to `last` are on their way. A probe waits for its answer; replication hopes
        for the best and goes on behind it."""
        if self.state == REPLICATE:
            self.next = last + 1
            self.inflight.append(last)
        else:
            self.waiting = True

    def acked(self, match: Index) -> bool:
        """The follower's log agrees up to `match`; false if that is old news."""
        while self.inflight and self.inflight[0] <= match:
            self.inflight.popleft()
        if self.state == PROBE:
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
        if at <= self.match or self.state == SNAPSHOT:
            return False  # an answer that was overtaken
        if self.state == REPLICATE:
            self.become_probe()
            return True
        if at != self.next - 1:
            return False
        self.next = max(min(at, try_next), self.match + 1)
        self.waiting = False
        return True

    def stuck(self) -> None:
        """It answers heartbeats and lacks something: what was on its way may have been lost."""
        self.waiting = False
        if len(self.inflight) >= self.max_inflight:
            self.inflight.popleft()

    def chunk_acked(self, offset: int) -> bool:
        """It has `offset` records of the snapshot: whether another chunk is to be sent.

        With all of them it goes on as after a report that the snapshot arrived.
        """
        if offset >= len(self.snapshot.data):
            self.reported(True)
        elif offset != self.offset or not self.waiting:
            self.offset, self.waiting = offset, False
            return True
        return False  # an answer to the chunk before: this one is still on its way

    def reported(self, arrived: bool) -> None:
        """The snapshot arrived, or it did not: probe behind it, or from where it was needed.

        The probe waits for the next sign of life, as the snapshot has yet to be saved."""
        after = self.snapshot.last.index if arrived else 0
        self.become_probe()
        self.next = max(self.next, after + 1)
        self.waiting = True

    def may_replicate(self, base: Index) -> bool:
        """Whether an acknowledgement ends the probe, or the snapshot: that arrived, or what the
        follower lacked came otherwise, and the log, which begins after `base`, can go on."""
        if self.state == SNAPSHOT:
            return self.match >= min(self.snapshot.last.index, base)
        return self.state == PROBE

    def become_probe(self) -> None:
        """Start looking for the place where the logs agree, from the last one that is certain."""
        self._become(PROBE, self.match + 1)

    def become_replicate(self) -> None:
        """The logs agree up to `match`: send without waiting for answers."""
        self._become(REPLICATE, self.match + 1)

    def become_snapshot(self, snapshot: Snapshot) -> None:
        """It needs entries that the log has no more: send the state instead."""
        self._become(SNAPSHOT, max(self.match, snapshot.last.index) + 1)
        self.snapshot = snapshot

    def _become(self, state: str, next: Index) -> None:
        self.state, self.next = state, next
        self.inflight.clear()
        self.waiting = False
        self.snapshot, self.offset = None, 0

    def __str__(self) -> str:
        return f"{self.state} match={self.match} next={self.next}"
