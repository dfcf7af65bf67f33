"""Broken lessors: each overrides one rule, and each breaks a promise to those who hold leases.

Every rule of `kvlearn/lease.py` has a subclass here that gets it wrong in the way in which people
do, and a *witness*: a short program on a simulated cluster, after which `check.leases` finds the
promise broken. In a cluster: `Cluster(store=StoreConfig(lessor=ExpiresEarly))`; in a transcript:
`cluster 3 lessor=ExpiresEarly`.

>>> from kvlearn.check.leases import leases
>>> print(leases(WITNESSES["nearly_over"](ExpiresEarly))["Lease Safety"].why)
n3 finds that lease 7 has run out, 4.066 s on the clock of n3 after its holder has asked for 5 s
>>> leases(WITNESSES["nearly_over"](Lessor)).ok
True

Tests convict each mutant by its witness, and acquit the reference by all of them.
"""

from __future__ import annotations

from collections.abc import Callable

from kvlearn.check.leases import EXPIRY, ONE_REVISION, SAFETY
from kvlearn.kv.config import StoreConfig
from kvlearn.kv.leases import LeaseGrant, LeaseKeepAlive
from kvlearn.lease import Lease, LeaseId, Lessor
from kvlearn.raft.config import RaftConfig
from kvlearn.sim.bench import Bench
from kvlearn.sim.cluster import Cluster
from kvlearn.trace import Trace


class ExpiresEarly(Lessor):
    """Ends with one lease those that are nearly over as well, which spares the log some entries."""

    rule = "is_expired"
    promise = SAFETY
    witness = "nearly_over"

    def is_expired(self, lease: Lease, now: float) -> bool:
        return lease.expiry_s - 2.0 <= now


class RenewsTheDead(Lessor):
    """Says yes to a keep-alive as long as the lease is there, though its end is on its way."""

    rule = "may_renew"
    promise = SAFETY
    witness = "kept_too_late"

    def may_renew(self, lease: Lease, now: float) -> bool:
        return True


class AddsUp(Lessor):
    """Adds the whole time to what is left: who says often that it lives is dead for long."""

    rule = "renewed_until"
    promise = EXPIRY
    witness = "kept_often"

    def renewed_until(self, lease: Lease, now: float) -> float:
        return lease.expiry_s + lease.ttl_s


class ForgetsTheNote(Lessor):
    """Counts from the start whenever a leader is new: a lease may never end."""

    rule = "time_of"
    promise = EXPIRY
    witness = "leaders_change"

    def time_of(self, lease: Lease) -> int:
        return lease.ttl_s


class StartsFromNothing(Lessor):
    """A new leader gives nobody time who was not noted: all leases end soon after an election."""

    rule = "time_of"
    promise = SAFETY
    witness = "leader_crashes"

    def time_of(self, lease: Lease) -> int:
        return lease.remaining_s


class HoldsOn(Lessor):
    """Does not let go of a key that was put again without its lease: it dies with that still."""

    rule = "lets_go"
    promise = ONE_REVISION
    witness = "key_is_freed"

    def lets_go(self, old: Lease, id: LeaseId) -> bool:
        return False


class LeavesTheRest(Lessor):
    """Takes one key with the lease, and leaves the others for later: half a member is gone."""

    rule = "goes_with"
    promise = ONE_REVISION
    witness = "two_keys"

    def goes_with(self, lease: Lease) -> list[bytes]:
        return sorted(lease.keys)[:1]


LEASE_MUTANTS: dict[str, type[Lessor]] = {
    mutant.__name__: mutant
    for mutant in (
        ExpiresEarly,
        RenewsTheDead,
        AddsUp,
        ForgetsTheNote,
        StartsFromNothing,
        HoldsOn,
        LeavesTheRest,
    )
}


# Witnesses --------------------------------------------------------------------------------------


def stage(lessor: type[Lessor], nodes: int = 3, checkpoint_s: float = 0.0) -> Cluster:
    """A cluster with a leader, whose nodes count their leases so."""
    cluster = Cluster(nodes, seed=7, store=StoreConfig(lessor=lessor, checkpoint_s=checkpoint_s))
    cluster.wait_for_leader()
    return cluster


def nearly_over(lessor: type[Lessor]) -> Trace:
    """A lease of four seconds, another of five, and no word from their holder."""
    cluster = stage(lessor)
    client = cluster.client()
    client.lease(4, id=6)
    client.lease(5, id=7)
    cluster.run(7)
    return cluster.trace


def kept_too_late(lessor: type[Lessor]) -> Trace:
    """The leader finds that a lease has run out, and what it sends of that is late: the holder is
    back before the end is committed."""
    config = RaftConfig(tick_s=0.5)
    bench = Bench(3, config=config, store=StoreConfig(lessor=lessor))
    bench.campaign("n1")
    bench.stabilize()
    bench.ask("n1", LeaseGrant(2, 7))
    bench.stabilize()
    for _ in range(4):
        bench.tick("n1")
    bench.ready("n1")
    for parcel in bench.select(label="App"):
        bench.hold(parcel)
    bench.ask("n1", LeaseKeepAlive(7))
    bench.stabilize()
    for parcel in bench.select(label="App"):
        bench.deliver(parcel)
    bench.stabilize()
    return bench.trace


def kept_often(lessor: type[Lessor]) -> Trace:
    """The holder says four times that it lives, and then no more."""
    cluster = stage(lessor)
    lease = cluster.client().lease(5, id=7)
    for _ in range(4):
        lease.keep_alive_once()
    cluster.run(12)
    return cluster.trace


def leaders_change(lessor: type[Lessor]) -> Trace:
    """Nobody keeps a lease alive. Two leaders have counted most of its time when one crashes."""
    cluster = stage(lessor, checkpoint_s=2.0)
    cluster.client().lease(10, id=7)
    cluster.run(7)
    cluster.crash(cluster.leader)
    cluster.wait_for_leader()
    cluster.run(12)
    return cluster.trace


def leader_crashes(lessor: type[Lessor]) -> Trace:
    """The leader crashes as soon as the lease is granted."""
    cluster = stage(lessor)
    client = cluster.client()
    client.put("a", "1", lease=client.lease(5, id=7))
    cluster.crash(cluster.leader)
    cluster.wait_for_leader()
    cluster.run(8)
    return cluster.trace


def key_is_freed(lessor: type[Lessor]) -> Trace:
    """A key hangs on a lease, and then on none."""
    cluster = stage(lessor)
    client = cluster.client()
    client.put("a", "1", lease=client.lease(5, id=7))
    client.put("a", "2")
    cluster.run(7)
    client.get("a")
    return cluster.trace


def two_keys(lessor: type[Lessor]) -> Trace:
    """Two keys hang on a lease; somebody looks at them when it is over."""
    cluster = stage(lessor)
    client = cluster.client()
    lease = client.lease(5, id=7)
    client.put("a", "1", lease=lease)
    client.put("b", "1", lease=lease)
    cluster.run(7)
    client.get("a", "c")
    return cluster.trace


WITNESSES: dict[str, Callable[[type[Lessor]], Trace]] = {
    witness.__name__: witness
    for witness in (
        nearly_over,
        kept_too_late,
        kept_often,
        leaders_change,
        leader_crashes,
        key_is_freed,
        two_keys,
    )
}
