"""The workload `store`: clients that use all of the store, in trouble.

Beside puts, gets and deletes there are transactions, leases that are kept alive, forgotten, revoked
and granted again, history that is given up, and watchers that begin in the past, do not read for a
while, and go on at another node when theirs fails. Each seed has its own limits of the store: how
many answers wait in a stream, how often watchers catch up, whether leases are checkpointed.

>>> store = StoreChaos(virtual_s=6.0, nemeses=("crash", "leader"))
>>> driver = Driver(store.setup(3, 17, Raft), seed=17)
>>> store.start(driver)
>>> store.finish(driver)
>>> [verdict.promise for verdict in store.check(driver.cluster) if not verdict.ok]
[]
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any

from kvlearn.check.answers import answers
from kvlearn.check.hand import Hand
from kvlearn.check.leases import leases
from kvlearn.check.service import no_stale_read
from kvlearn.check.verdict import Verdict
from kvlearn.check.watches import watches
from kvlearn.check.workloads import (
    SETTLE,
    WORKLOADS,
    Chaos,
    ClosedLoop,
    Driver,
    convergence,
    drawn_config,
    judged,
    liveness,
    progress,
)
from kvlearn.errors import TimedOut
from kvlearn.kv.config import StoreConfig
from kvlearn.kv.leases import (
    Compact,
    LeaseGrant,
    LeaseKeepAlive,
    LeaseLeases,
    LeaseRevoke,
    LeaseTimeToLive,
)
from kvlearn.kv.requests import DeleteRange, Put, Range, prefix_range
from kvlearn.kv.txn import Compare, Txn
from kvlearn.kv.watches import WatchCreate
from kvlearn.raft.raft import Raft
from kvlearn.sim.cluster import Cluster
from kvlearn.sim.network import Links

REST_S = 3.0  # virtual seconds in which there is a moment without work
LEASES = 4  # that clients share, by number
ALL = prefix_range(b"k")  # of the keys that clients use
SAME_LEASES = "All nodes hold the same leases"


@dataclass(frozen=True)
class StoreRequests:
    """What a client asks next. `newest` is the revision that it has heard of."""

    keys: int

    def __call__(self, rng: Random, value: bytes, newest: int) -> Any:
        kind = rng.random()
        if kind < 0.55:
            return self.of_keys(rng, value, newest)
        if kind < 0.72:
            return self.txn(rng, value)
        if kind < 0.97:
            return self.of_leases(rng)
        return Compact(rng.randint(max(1, newest - 20), max(1, newest)))

    def key(self, rng: Random) -> bytes:
        """One of a few."""
        return b"k%d" % rng.randrange(self.keys)

    def of_keys(self, rng: Random, value: bytes, newest: int) -> Any:
        """A put, on a lease or not, a read, now or in the past, or a delete."""
        kind, key = rng.random(), self.key(rng)
        if kind < 0.3:
            return Put(key, value, prev_kv=rng.random() < 0.3)
        if kind < 0.5:
            return Put(key, value, 1 + rng.randrange(LEASES))
        if kind < 0.6:
            return DeleteRange(*(ALL if rng.random() < 0.2 else (key,)))
        if kind < 0.7:
            return Range(*ALL, limit=rng.choice((0, 2)), serializable=rng.random() < 0.3)
        if kind < 0.8:
            return Range(key, revision=max(1, newest - rng.randrange(10)))
        return Range(key)

    def txn(self, rng: Random, value: bytes) -> Txn:
        """Of two keys: one is compared, both are written or read."""
        one, two = rng.sample([b"k%d" % k for k in range(max(2, self.keys))], 2)
        result = rng.choice(("equal", "greater", "less", "not_equal"))
        compare = Compare(one, rng.choice(("version", "lease")), result, rng.randrange(4))
        lease = rng.choice((0, 0, 1 + rng.randrange(LEASES)))
        writes = Put(one, value), Put(two, value, lease)
        then = rng.choice((writes, (*writes[:1], Range(one)), (DeleteRange(one), writes[1])))
        other = rng.choice(((), (Range(two),), (Put(two, value),), (Range(one), DeleteRange(two))))
        return Txn((compare,), then, other)

    def of_leases(self, rng: Random) -> Any:
        """A grant, a keep-alive, a question or an end."""
        kind, id = rng.random(), 1 + rng.randrange(LEASES)
        if kind < 0.35:
            return LeaseGrant(rng.choice((1, 2, 2, 3, 5)), id)
        if kind < 0.75:
            return LeaseKeepAlive(id)
        if kind < 0.85:
            return LeaseTimeToLive(id, keys=True)
        return LeaseRevoke(id) if kind < 0.93 else LeaseLeases()


class StoreLoop(ClosedLoop):
    """A closed loop whose client knows about where the store is."""

    def next(self, hand: Hand, value: bytes) -> Any:
        """The next request."""
        revisions = [node.revision or 1 for node in hand.cluster.nodes.values()]
        return self.choose(self.rng, value, max(revisions))


class WatchLoop:
    """A client that opens a watch, now and then does not read it, and opens another."""

    def __init__(self, name: str, rng: Random, keys: int):
        self.name, self.rng, self.keys = name, rng, keys
        self.due = rng.uniform(0.1, 1.0)
        self._opened = 0
        self._held = False

    def answered(self, now: float) -> None:
        """Watches are not answered."""

    def wake(self, hand: Hand) -> None:
        """Open a watch, or do something with the one that there is."""
        kind, stream = self.rng.random(), f"{self.name}/w{self._opened}"
        self.due = hand.now + self.rng.uniform(0.2, 2.0)
        if not self._opened or kind < 0.2:
            if self._opened:
                hand.do("close_watch", stream)
            self._opened += 1
            self._held = False
            hand.do("watch", self.name, self.rng.choice(list(hand.cluster.nodes)), self._asks(hand))
        elif self._held or kind < 0.6:
            self._held = not self._held
            hand.do("hold_watch", stream, self._held)

    def _asks(self, hand: Hand) -> WatchCreate:
        rng = self.rng
        newest = max(node.revision or 1 for node in hand.cluster.nodes.values())
        start = rng.choice((0, 0, 1, max(1, newest - rng.randrange(30)), newest + rng.randrange(5)))
        keys = ALL if rng.random() < 0.6 else (b"k%d" % rng.randrange(self.keys), b"")
        filters = rng.choice(((), (), ("put",), ("delete",)))
        wants = dict(prev_kv=rng.random() < 0.4, filters=filters)
        return WatchCreate(*keys, start, progress_notify=rng.random() < 0.5, **wants)


def drawn_store(rng: Random) -> StoreConfig:
    """Small limits, most of the time, so that they are met."""
    return StoreConfig(
        min_ttl_s=rng.choice((1, 2)),
        checkpoint_s=rng.choice((0.0, 0.0, 0.5, 2.0)),
        compact_every_s=rng.choice((0.0, 0.0, 3.0)),
        sweep_records=rng.choice((1, 3, 2000)),
        sync_s=rng.choice((0.02, 0.1, 0.5)),
        progress_s=rng.choice((0.3, 2.0)),
        watch_queue=rng.choice((1, 2, 128)),
        watch_batch=rng.choice((1, 3, 1000)),
    )


@dataclass(frozen=True)
class StoreChaos(Chaos):
    """Chaos for all of the store; `watchers` so many clients watch."""

    name: str = "store"
    clients: int = 5
    keys: int = 4
    watchers: int = 3
    think_s: tuple[float, float] = (0.02, 0.15)

    def setup(self, nodes: int, seed: int, raft: Any = Raft) -> Cluster:
        """A cluster whose configuration, store, links and disks are drawn from the seed."""
        rng = Random(f"{seed}/setup")
        config, store = drawn_config(rng), drawn_store(rng)
        fsync_s = rng.choice(((0.0005, 0.002), (0.005, 0.03)))
        return Cluster(nodes, seed, config, raft, Links((0.001, 0.008)), fsync_s, store=store)

    def add_clients(self, driver: Driver, rng: Random) -> None:
        """Clients that ask, and clients that watch."""
        longest_s, choose = driver.hand.longest_s, StoreRequests(self.keys)
        for k in range(1, self.clients + 1):
            name = f"c{k}"
            patience_s = rng.uniform(2.0, 8.0) * longest_s
            driver.add(StoreLoop(name, driver.luck(name), choose, self.think_s, patience_s), name)
        for k in range(1, self.watchers + 1):
            driver.add(WatchLoop(f"v{k}", driver.luck(f"v{k}"), self.keys))

    def finish(self, driver: Driver) -> None:
        """As chaos; whoever did not read reads again, and is told all."""
        super().finish(driver)
        for stream in driver.hand.streams():
            driver.hand.do("hold_watch", stream, False)
        cluster = driver.cluster
        cluster.run(60 * cluster.store.sync_s)
        try:  # leases end and history is given up at any time: wait for a moment of rest
            cluster.run_until(all_alike, SETTLE * driver.hand.longest_s + REST_S)
        except TimedOut:
            pass  # that is for the verdicts to say

    def check(self, cluster: Cluster) -> list:
        """The promises that can be judged at the end; those of Raft are checked on the way."""
        trace = cluster.trace
        told = answers(trace, cluster.store.min_ttl_s)
        return [
            no_stale_read(trace),
            told,
            *leases(trace),
            # They are held against the log, which must be what it seems.
            *(watches(trace) if told.ok else ()),
            *liveness(cluster),
            progress(cluster),
            convergence(cluster),
            same_leases(cluster),
        ]


def all_alike(cluster: Cluster) -> bool:
    """Whether all members have applied as much."""
    nodes = [cluster.nodes[name] for name in judged(cluster)]
    return len({(node.commit, node.applied, len(node.log) + node.base.index) for node in nodes}) < 2


def same_leases(cluster: Cluster) -> Verdict:
    """All members end with the same leases, and know the same keys of each."""
    ends: dict[tuple, list[str]] = {}
    for name in judged(cluster):
        found = cluster.nodes[name].leases
        if found is not None:
            ends.setdefault(found, []).append(name)
    told = "; ".join(f"{' '.join(names)}: {end}" for end, names in ends.items())
    why = f"they differ: {told}" if len(ends) > 1 else f"all alike: {told}"
    return Verdict(SAME_LEASES, len(ends) < 2, why, None, "etcd: lease API", cluster.seed)


WORKLOADS["store"] = StoreChaos()
