"""The life of a cluster in one scene, on 200 seeds: five nodes elect a leader, lose it, elect
another, and no acknowledged put is lost. To play one again:

    python3 -m tests.sim.test_elect_and_lose 17          (seed)
"""

import sys

import pytest

from kvlearn import Cluster, check
from kvlearn.events import Truncated
from kvlearn.kv.requests import Put


def elect_and_lose(seed: int) -> Cluster:
    cluster = Cluster(5, seed=seed)
    first = cluster.wait_for_leader()
    client = cluster.client(first)
    acknowledged = {}
    for key in "abc":
        acknowledged[key] = client.put(key, f"{key} in the first term").header.revision

    # One more put gets as far as the leader's own disk; nobody else ever hears of it.
    cluster.isolate(first)
    lost = cluster.submit(Put(b"d", b"never acknowledged"), first)
    cluster.run(0.05)
    cluster.crash(first)
    cluster.heal()
    assert cluster.leader is None and cluster.operation(lost).error is not None

    second = cluster.wait_for_leader()
    assert second != first and cluster.nodes[second].term > 1
    client = cluster.client(second)
    look(client, acknowledged)
    acknowledged["e"] = client.put("e", "e in a later term").header.revision

    cluster.restart(first)
    cluster.run(3.0)
    assert list(cluster.trace.of(Truncated, node=first)), (
        f"{first} still has the put that nobody else knew of"
    )
    logs = {tuple(node.log) for node in cluster.nodes.values()}
    assert len(logs) == 1, f"the logs differ:\n{cluster.nodes}"
    for name in cluster.nodes:  # of each node, whoever leads
        look(cluster.client(name), acknowledged)
    assert check.invariants(cluster).ok
    return cluster


def look(client, acknowledged: dict[str, int]) -> None:
    """Every acknowledged put is there, under the revision that was told; the lost one is not."""
    for key, revision in acknowledged.items():
        reply = client.get(key)
        assert reply.text.startswith(f"{key} in ") and reply.kv.mod_revision == revision
    assert client.get("d").count == 0


@pytest.mark.parametrize("seed", range(200))
def test_no_acknowledged_put_is_lost(seed):
    try:
        elect_and_lose(seed)
    except Exception as error:
        replay = f"python3 -m tests.sim.test_elect_and_lose {seed}"
        raise AssertionError(f"{error}\nto play it again: {replay}") from error


if __name__ == "__main__":
    print(check.invariants(elect_and_lose(int(sys.argv[1]))))
