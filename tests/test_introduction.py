"""What an introduction to etcd promises, example by example, on a simulated cluster."""

from __future__ import annotations

import pytest

from kvlearn import Cluster, delete, get, put, value, version
from kvlearn.course.exercises.revisions import first_changes, restart
from kvlearn.events import Applied


@pytest.fixture
def cluster() -> Cluster:
    """Three nodes in term 2 at revision 5: key1 was put four times."""
    cluster = first_changes()
    reply = cluster.client().get("key1")
    assert (reply.header.raft_term, reply.header.revision, reply.kv.version) == (2, 5, 4)
    return cluster


def test_eight_changes_across_a_restart(cluster):
    client = cluster.client()
    start = len(cluster.trace)
    client.put("key1", "a")
    client.put("key2", "b")
    client.txn().then(put("key3", "c"), put("key4", "d")).commit()  # two changes, one revision
    client.delete("key2")
    restart(cluster)
    client.put("key1", "e")
    client.put("key2", "f")
    last = client.delete("key3")

    assert last.header.revision == 12 and last.header.raft_term == 3
    told: dict[int, int] = {}
    for record in cluster.trace.of(Applied, start=start):
        event = record.event
        if event.command is not None and event.revision > 5:
            told.setdefault(event.revision, event.term)
    assert told == {6: 2, 7: 2, 8: 2, 9: 2, 10: 3, 11: 3, 12: 3}

    changes = [(event.kv.mod_revision, event.type, event.kv.key) for event in heard(cluster, 6)]
    assert changes == [
        (6, "put", b"key1"), (7, "put", b"key2"), (8, "put", b"key3"), (8, "put", b"key4"),
        (9, "delete", b"key2"), (10, "put", b"key1"), (11, "put", b"key2"), (12, "delete", b"key3"),
    ]  # fmt: skip
    kv = client.get("key1").kv
    assert (kv.create_revision, kv.mod_revision, kv.version) == (2, 10, 6)
    kv = client.get("key2").kv
    assert (kv.create_revision, kv.mod_revision, kv.version) == (11, 11, 1)


def heard(cluster: Cluster, start_revision: int) -> list:
    watcher = cluster.client().watch("key", prefix=True, start_revision=start_revision)
    cluster.run(0.5)
    return watcher.events()


def test_the_past_can_be_read(cluster):
    client = cluster.client()
    client.put("key1", "new")
    reply = client.get("key1", revision=5)
    assert (reply.text, reply.kv.version, reply.header.revision) == ("value 5", 4, 6)


def test_a_watch_from_a_past_revision(cluster):
    client = cluster.client()
    with client.watch("key1", start_revision=3) as watcher:
        assert [watcher.recv().kv.text for _ in range(3)] == ["value 3", "value 4", "value 5"]
        client.put("key1", "now")
        assert watcher.recv().kv.text == "now"


@pytest.mark.parametrize("first, succeeded", [("foo", True), ("bar", False), ("", False)])
def test_if_then_else(first, succeeded):
    client = Cluster(3, seed=7).client()
    client.put("key1", "anything")
    client.put("key1", first)
    client.put("key3", "x")
    reply = (
        client.txn()
        .if_(value("key1") > "bar", version("key1") == 2)
        .then(put("key2", "valueX"), delete("key3"))
        .else_(put("key2", "valueY"), get("key3"))
        .commit()
    )
    assert reply.succeeded is succeeded and reply.header.revision == 5
    assert client.get("key2").text == ("valueX" if succeeded else "valueY")
    assert client.get("key3").value == (None if succeeded else b"x")
    if not succeeded:
        assert reply.responses[1].text == "x"


def test_a_lease_of_ten_seconds_with_two_keys():
    cluster = Cluster(3, seed=7)
    client = cluster.client()
    lease = client.lease(ttl_s=10)
    client.put("key1", "a", lease=lease)
    client.put("key2", "b", lease=lease)
    cluster.run(6)
    lease.keep_alive_once()
    cluster.run(9)
    assert client.get("key", prefix=True).count == 2
    assert lease.time_to_live(keys=True).keys == (b"key1", b"key2")
    watcher = client.watch("key", prefix=True)
    cluster.run(3)
    gone = watcher.events()
    assert [(event.type, event.kv.key) for event in gone] == [
        ("delete", b"key1"),
        ("delete", b"key2"),
    ]
    assert {event.kv.mod_revision for event in gone} == {4}
    assert client.get("key", prefix=True).count == 0
    assert lease.time_to_live().ttl_s == -1
