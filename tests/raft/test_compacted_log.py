"""Raft on a log that begins after a base: what is cut, told and stored is named by its index."""

import pytest

from kvlearn import Cluster, RaftConfig
from kvlearn.check import invariants
from kvlearn.events import LogCompacted, SnapshotInstalled, Truncated
from kvlearn.kv.requests import Put
from kvlearn.raft import Entry, EntryID
from kvlearn.raft.log import RaftLog
from kvlearn.raft.messages import AppendEntries
from tests.raft.net import Member


def test_a_conflict_behind_the_base_is_cut_by_its_index():
    member = Member(term=2)
    entries = [Entry(4, 1, "a"), Entry(5, 1, "b"), Entry(6, 1, "c")]
    member.raft.log = RaftLog(entries, committed=4, applied=4, base=EntryID(1, 3))
    new = Entry(5, 2, "x")
    member.raft.step(AppendEntries("n2", "n1", 2, EntryID(1, 4), (new,), 4))
    (cut,) = [event for event in member.said if isinstance(event, Truncated)]
    assert cut == Truncated(4, (EntryID(1, 5), EntryID(1, 6)), new.id)
    assert member.raft.log.entries == [entries[0], new]


@pytest.mark.parametrize("seed", range(6))
def test_a_cluster_with_short_logs_cuts_compacts_and_keeps_its_promises(seed):
    config = RaftConfig.etcd(snapshot_entries=8, kept_entries=2, chunk_records=3)
    cluster = Cluster(3, seed=seed, config=config)
    client = cluster.client()
    for k in range(60):
        client.put(f"k{k % 20}", str(k))
        if k % 12 == 5:
            leader = cluster.leader
            other = next(name for name in cluster.nodes if name != leader)
            cluster.isolate(leader if k % 24 == 5 else other)
            # A leader that is cut off takes it and cannot commit it.
            cluster.submit(Put(b"lost", str(k).encode()), leader)
            cluster.run(2.5)
        if k % 12 == 11:
            cluster.heal()
            cluster.run(1.5)
    cluster.heal()
    cluster.run(5)
    assert cluster.trace.of(LogCompacted) and cluster.trace.of(SnapshotInstalled)
    assert invariants(cluster).ok
    assert len({node.store.hash() for node in cluster.nodes.values()}) == 1
