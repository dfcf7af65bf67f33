"""Requests about leases and compaction, and what they give.

Granting, revoking and checkpointing go through the log. Keeping alive, asking for the time that is
left and listing do not: the leader's clock knows, so whoever is asked passes them on to the leader,
which first makes sure that it still leads, as for a read.

Source: etcd api/etcdserverpb/rpc.proto; server/etcdserver/v3_server.go (LeaseRenew).
"""

from __future__ import annotations

from typing import Any

from kvlearn.kv.requests import Answer
from kvlearn.mvcc.revision import short
from kvlearn.raft.messages import ForNode
from kvlearn.values import value


@value
class LeaseGrant:
    """A new lease of `ttl_s` seconds; id 0: the node that is asked chooses one."""

    ttl_s: int
    id: int = 0

    def __str__(self) -> str:
        return f"grant lease{f' {self.id:x}' if self.id else ''} of {self.ttl_s} s"


@value
class LeaseRevoke:
    """End a lease; its keys go with it, all in one revision."""

    id: int

    def __str__(self) -> str:
        return f"revoke lease {self.id:x}"


@value
class LeaseCheckpoint:
    """The leader's note: (id, seconds left). A later leader counts from there."""

    left: tuple[tuple[int, int], ...]

    def __str__(self) -> str:
        return "checkpoint " + ", ".join(f"lease {id:x}: {left_s} s" for id, left_s in self.left)


@value
class LeaseKeepAlive:
    """Its holder is alive: the whole time again."""

    id: int

    def __str__(self) -> str:
        return f"keep lease {self.id:x} alive"


@value
class LeaseTimeToLive:
    """How much time is left, and with `keys` which keys hang on it."""

    id: int
    keys: bool = False

    def __str__(self) -> str:
        return f"time of lease {self.id:x}"


@value
class LeaseLeases:
    """Which leases are there?"""

    def __str__(self) -> str:
        return "leases"


@value
class Compact:
    """Give up the history below `revision`; with `physical` the answer waits until it is gone."""

    revision: int
    physical: bool = False

    def __str__(self) -> str:
        return f"compact at {self.revision}"


@value
class LeaseResult:
    """`ttl_s`: of a grant or a keep-alive the granted time, and 0 if there is no such lease."""

    id: int
    ttl_s: int = 0

    def __str__(self) -> str:
        return f"lease {self.id:x} of {self.ttl_s} s"


@value
class LeaseTimeResult:
    """`ttl_s` is what is left, in whole seconds, and -1 if there is no such lease."""

    id: int
    ttl_s: int
    granted_ttl_s: int = 0
    keys: tuple[bytes, ...] = ()

    def __str__(self) -> str:
        keys = f", keys {' '.join(map(short, self.keys))}" if self.keys else ""
        return f"lease {self.id:x}: {self.ttl_s} of {self.granted_ttl_s} s{keys}"


@value
class LeasesResult:
    """The ids, soonest to run out first."""

    ids: tuple[int, ...] = ()

    def __str__(self) -> str:
        return " ".join(f"{id:x}" for id in self.ids) or "no leases"


@value
class CompactResult:
    def __str__(self) -> str:
        return "ok"


LEADER_ONLY = (LeaseKeepAlive, LeaseTimeToLive, LeaseLeases)  # what the leader's clock knows


@value
class AskLeader(ForNode):
    """A follower passes on what only the leader's clock knows. etcd: an HTTP request to it."""

    op_id: int
    request: Any

    def __str__(self) -> str:
        return f"Lease? {self.request}"


@value
class LeaderAnswer(ForNode):
    """What the leader said; the follower puts its own header on it."""

    answer: Answer

    def __str__(self) -> str:
        return f"Lease: {self.answer}"
