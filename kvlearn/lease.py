"""Leases: keys that live only as long as somebody says "I am here".

A lease is granted with a time to live; keys are attached to it; whoever holds it keeps it alive.
When nobody does for that long, the lease expires and its keys are deleted, all in one revision. So
the others learn from the store itself that somebody died.

Two kinds of facts, and only one of them is replicated:

```
  replicated (through the log, equal on every node)       the leader's own (a clock's reading)
  id, granted ttl, checkpointed remaining ttl             expiry: when it runs out, on my clock
  which key is attached to which lease
```

No two clocks agree, so no two nodes could agree on an instant. The leader alone counts down, and
what it concludes ("lease 7 has expired") goes through the log like any other command. A new leader
counts anew: from the full time to live, or from the remaining one where that was checkpointed. A
lease never ends early by that; it may live longer.

>>> lessor = Lessor()
>>> lease = lessor.grant(7, ttl_s=10); lessor.attach(7, b"b"); lessor.attach(7, b"a")
>>> lessor.promote(now=100.0)         # this node leads: it starts to count
>>> lessor.expired(now=109.9), lessor.remaining(7, now=104.0)
([], 6.0)
>>> lessor.renew(7, now=105.0)        # "I am here"
10
>>> lessor.expired(now=110.0), lessor.expired(now=115.0)
([], [7])
>>> lessor.revoke(7)                  # what the log says then, on every node: delete these keys
[b'a', b'b']

Source: C. Gray, D. Cheriton: Leases (1989); etcd server/lease/lessor.go. Differs: etcd's lessor
deletes the keys itself and needs the store for that; here `revoke` returns them.
"""

from __future__ import annotations

from math import ceil, inf
from typing import Any

from kvlearn.errors import LeaseExists, LeaseNotFound, LeaseTtlTooLarge

LeaseId = int
MAX_TTL_S = 9_000_000_000  # etcd: beyond it a time would not fit its 64 bits


class Lease:
    """Invariant: `keys` are attached to this lease and to no other; `expiry_s` is infinite unless
    this node counts."""

    __slots__ = ("id", "ttl_s", "remaining_s", "expiry_s", "keys")

    def __init__(self, id: LeaseId, ttl_s: int):
        self.id = id
        self.ttl_s = ttl_s  # as granted
        self.remaining_s = 0  # as checkpointed; 0: the whole ttl
        self.expiry_s = inf  # on this node's clock, while it leads
        self.keys: set[bytes] = set()

    def __repr__(self) -> str:
        return f"<lease {self.id:x}: {self.ttl_s} s, {len(self.keys)} keys>"


class Lessor:
    """The leases of one node. `now` is always in seconds of that node's own clock.

    `min_ttl_s`: shorter times are raised to it; below that an election would outlast the lease.
    """

    def __init__(self, min_ttl_s: int = 2):
        self.min_ttl_s = min_ttl_s
        self.leases: dict[LeaseId, Lease] = {}
        self._lease_of: dict[bytes, LeaseId] = {}
        self.counts = False  # this node leads

    # What the log says ------------------------------------------------------------------------

    def grant(self, id: LeaseId, ttl_s: int) -> Lease:
        """A new lease; its time begins when the leader applies this.

        Raises: LeaseExists, LeaseTtlTooLarge.
        """
        if ttl_s > MAX_TTL_S:
            raise LeaseTtlTooLarge(hint=f"at most {MAX_TTL_S} seconds, not {ttl_s}")
        if id in self.leases:
            raise LeaseExists(hint=f"lease {id:x}")
        lease = self.leases[id] = Lease(id, max(ttl_s, self.min_ttl_s))
        return lease

    def revoke(self, id: LeaseId) -> list[bytes]:
        """End a lease; the keys that have to go with it, in byte order. Raises: LeaseNotFound."""
        lease = self.known(id)
        del self.leases[id]
        for key in lease.keys:
            self._lease_of.pop(key, None)
        return self.goes_with(lease)

    def attach(self, id: LeaseId, key: bytes) -> None:
        """The key belongs to this lease now, and to no other; 0 is no lease at all."""
        old = self._lease_of.pop(key, None)
        if old is not None and self.lets_go(self.leases[old], id):
            self.leases[old].keys.discard(key)
        if id:
            self.known(id).keys.add(key)
            self._lease_of[key] = id

    def checkpoint(self, id: LeaseId, remaining_s: int) -> None:
        """So much was left when the leader looked; a lease that is gone is no error."""
        if lease := self.leases.get(id):
            lease.remaining_s = remaining_s

    def known(self, id: LeaseId) -> Lease:
        """The lease. Raises: LeaseNotFound."""
        if id not in self.leases:
            raise LeaseNotFound(hint=f"lease {id:x}")
        return self.leases[id]

    def lives(self, id: LeaseId, now: float) -> bool:
        """Whether there is such a lease and its time is not over."""
        return id in self.leases and not self.is_expired(self.leases[id], now)

    def lease_of(self, key: bytes) -> LeaseId:
        """The lease that the key is attached to; 0: none."""
        return self._lease_of.get(key, 0)

    def save(self) -> tuple[tuple[LeaseId, int, int], ...]:
        """(id, ttl, remaining) of every lease, in order: what a snapshot holds of them."""
        leases = sorted(self.leases.items())
        return tuple((id, lease.ttl_s, lease.remaining_s) for id, lease in leases)

    def load(self, saved: Any) -> None:
        """Hold these leases and no others; who reads the store back attaches the keys."""
        self.leases, self._lease_of = {}, {}
        for id, ttl_s, remaining_s in saved:
            lease = self.leases[id] = Lease(id, ttl_s)
            lease.remaining_s = remaining_s

    # What the leader's clock says -------------------------------------------------------------

    def promote(self, now: float, extend_s: float = 0.0) -> None:
        """This node leads from now on: every lease has its time before it, all of it or what was
        checkpointed, and `extend_s` (an election's time) more: holders could not reach anybody."""
        self.counts = True
        for lease in self.leases.values():
            lease.expiry_s = now + self.time_of(lease) + extend_s

    def demote(self) -> None:
        """Another node counts."""
        self.counts = False
        for lease in self.leases.values():
            lease.expiry_s = inf

    def started(self, id: LeaseId, now: float) -> None:
        """A granted lease was applied at the leader: its time begins."""
        if self.counts and id in self.leases:
            self.leases[id].expiry_s = now + self.leases[id].ttl_s

    def renew(self, id: LeaseId, now: float) -> int:
        """Its holder is alive: the whole time again. Returns the granted time in seconds.

        Raises: LeaseNotFound, also for one that has run out and is not yet revoked.
        """
        lease = self.known(id)
        if not self.may_renew(lease, now):
            raise LeaseNotFound(hint=f"lease {id:x} has run out")
        lease.expiry_s = self.renewed_until(lease, now) if self.counts else inf
        return lease.ttl_s

    def expired(self, now: float) -> list[LeaseId]:
        """The leases that have run out, soonest first; only the leader can tell."""
        gone = [lease for lease in self.leases.values() if self.is_expired(lease, now)]
        return [lease.id for lease in sorted(gone, key=lambda lease: (lease.expiry_s, lease.id))]

    def remaining(self, id: LeaseId, now: float) -> float:
        """Seconds until the lease runs out, as far as this node can tell. Raises: LeaseNotFound."""
        lease = self.known(id)
        return max(lease.expiry_s - now, 0.0) if self.counts else float(self.time_of(lease))

    def due_checkpoints(self, now: float, every_s: float) -> list[tuple[LeaseId, int]]:
        """(id, remaining seconds) of the leases whose count-down should be noted in the log: those
        that have lost `every_s` seconds since the last note, and those that were renewed since (0:
        the whole time again)."""
        due = []
        for id, lease in sorted(self.leases.items()):
            left = lease.expiry_s - now
            if lease.remaining_s and left > lease.remaining_s:
                due.append((id, 0))
            elif 0 < left <= self.time_of(lease) - every_s:
                due.append((id, ceil(left)))
        return due

    @property
    def next_expiry_s(self) -> float:
        """When the next lease runs out, on this node's clock; infinite if none does."""
        return min((lease.expiry_s for lease in self.leases.values()), default=inf)

    # Rules ------------------------------------------------------------------------------------

    def is_expired(self, lease: Lease, now: float) -> bool:
        """A lease ends only when its whole time has passed on the leader's clock (Gray 1989, 2)."""
        return lease.expiry_s <= now

    def may_renew(self, lease: Lease, now: float) -> bool:
        """What has run out is not renewed: its end may be on its way (etcd lessor.go, Renew)."""
        return not self.is_expired(lease, now)

    def renewed_until(self, lease: Lease, now: float) -> float:
        """A keep-alive gives the whole time from now on, and no more (etcd lessor.go, refresh)."""
        return now + lease.ttl_s

    def time_of(self, lease: Lease) -> int:
        """A new leader counts from what was checkpointed, else from the start (etcd lessor.go)."""
        return lease.remaining_s or lease.ttl_s

    def lets_go(self, old: Lease, id: LeaseId) -> bool:
        """A key that is put again hangs on its new lease alone, or on none (etcd mvcc: put)."""
        return True

    def goes_with(self, lease: Lease) -> list[bytes]:
        """All keys of a lease go with it, in byte order (etcd lessor.go, Revoke)."""
        return sorted(lease.keys)
