"""Runs for the bench's tests: everything that a pane can show, at any length."""

from __future__ import annotations

from random import Random

from kvlearn import Cluster, delete, get, put, value, version


def busy_run(seed: int = 7, records: int = 2000, nodes: int = 5) -> Cluster:
    """Writes, transactions, leases, watches, compactions, crashes and elections."""
    cluster, rng = Cluster(nodes, seed=seed), Random(seed)
    cluster.wait_for_leader()
    client = cluster.client()
    watcher = client.watch("k", prefix=True)
    lease = client.lease(ttl_s=8)
    lease.keep_alive()
    short = client.lease(ttl_s=3)
    client.put("temporary", "yes", lease=short)
    round_number = 0
    while len(cluster.trace) < records:
        round_number += 1
        key = f"k{rng.randrange(12)}"
        held = lease if rng.random() < 0.1 else None
        client.put(key, f"v{round_number}", lease=held)
        if rng.random() < 0.15:
            client.delete(f"k{rng.randrange(12)}")
        if rng.random() < 0.2:
            asked = client.txn().if_(version(key) > 1, value(key) == f"v{round_number}")
            asked.then(put("seen", key), get(key)).else_(put("new", key), delete("seen")).commit()
        if round_number % 40 == 0:
            client.compact(client.get(key).header.revision - 5)
        if round_number % 60 == 0:
            _fail_over(cluster)
        watcher.events()
    return cluster


def _fail_over(cluster: Cluster) -> None:
    crashed = cluster.leader
    cluster.crash(crashed)
    cluster.wait_for_leader()
    cluster.run(0.2)
    cluster.restart(crashed)
