"""What lesson 10 says of its runs is so."""

from __future__ import annotations

from kvlearn import Cluster
from kvlearn.course.exercises.revisions import (
    SavesIndexFirst,
    after_crashes,
    changes,
    counted,
    eight_changes,
    first_changes,
)
from kvlearn.kv.machine import KVMachine


def test_the_five_requests():
    cluster = Cluster(3, seed=4)
    client = cluster.client()
    asked = (
        lambda: client.put("a", "1"),
        lambda: client.get("a"),
        lambda: client.put("a", "1"),
        lambda: client.delete("b"),
        lambda: client.delete("a"),
    )
    told = []
    for ask in asked:
        header = ask().header
        told.append((cluster.nodes[cluster.leader].commit, header.revision, header.raft_term))
    assert told == [(2, 2, 1), (2, 2, 1), (3, 3, 1), (4, 3, 1), (5, 4, 1)]


def test_eight_changes():
    first = first_changes()
    assert first.client().get("key1").header.revision == 5
    assert first.client().get("key1").header.raft_term == 2
    cluster = eight_changes()
    table = changes(cluster, since=6)
    assert list(table.index) == [6, 7, 8, 8, 9, 10, 11, 12]
    assert list(table.term) == [2] * 5 + [3] * 3
    assert list(table["index"]) == [7, 8, 9, 9, 10, 12, 13, 14]
    kvs = {kv.key: kv for kv in cluster.client().get("", from_key=True).kvs}
    assert set(kvs) == {b"key1", b"key2", b"key4"}
    two = kvs[b"key2"]
    assert (two.create_revision, two.mod_revision, two.version) == (11, 11, 1)
    assert kvs[b"key1"].create_revision == 2
    for name in cluster.nodes:
        reply = cluster.client(name).get("key", prefix=True, revision=9, serializable=True)
        assert [str(kv) for kv in reply.kvs] == ["key1=a", "key3=c", "key4=d"]
    at_10 = {kv.key for kv in cluster.client().get("key", prefix=True, revision=10).kvs}
    assert at_10 == {b"key1", b"key3", b"key4"}  # the panel's question: which key is absent there?


def test_the_index_saved_first_loses_a_change_for_ever():
    whole, broken = after_crashes(KVMachine, 5), after_crashes(SavesIndexFirst, 5)
    assert (whole.applied, whole.revision) == (8, 9)
    assert (broken.applied, broken.revision) == (8, 8)
    assert whole.store.hash() == after_crashes(KVMachine).store.hash() != broken.store.hash()
    assert after_crashes(SavesIndexFirst).store.hash() == whole.store.hash()


def test_the_requests_of_the_first_exercise():
    assert list(changes(counted()).index) == [2, 3, 4, 4, 4, 5, 6, 6]
