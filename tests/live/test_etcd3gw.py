"""A client that others wrote and that knows etcd's gateway alone: PyPI's etcd3gw."""

from __future__ import annotations

import queue

import pytest

pytest.importorskip("etcd3gw", reason="it is the client")
pytest.importorskip("aiohttp", reason="the gateway stands on it")
pytest.importorskip("google.protobuf", reason="its messages are protobuf's")

import etcd3gw

from tests.live.served import WAIT_S, Served


@pytest.fixture(scope="module")
def client():
    served = Served()
    yield etcd3gw.client(host="127.0.0.1", port=served.port, timeout=WAIT_S)
    served.stop()


def test_it_finds_the_api_and_the_member(client):
    assert client.api_path == "/v3/", "it asks for the version, and decides"
    status = client.status()
    (member,) = client.members()
    assert status["leader"] == member["ID"] and member["name"] == "default"
    assert member["clientURLs"] == [f"http://127.0.0.1:{client.port}"]


def test_it_puts_gets_and_deletes(client):
    assert client.get("nobody") == []
    assert client.put("foo", b"\xff\0bar")
    assert client.get("foo") == [b"\xff\0bar"]
    assert client.put("foo", "")
    ((value, metadata),) = client.get("foo", metadata=True)
    assert (value, metadata["key"], metadata["version"]) == (b"", b"foo", "2")
    assert client.delete("foo") is True
    assert client.delete("foo") is False


def test_it_reads_intervals(client):
    for name in ("a", "c", "b"):
        client.put(f"dir/{name}", name)
    client.put("dir0", "behind")
    assert [value for value, _ in client.get_prefix("dir/")] == [b"a", b"b", b"c"]
    told = client.get_prefix("dir/", sort_order="descend", sort_target="mod")
    assert [metadata["key"] for _, metadata in told] == [b"dir/b", b"dir/c", b"dir/a"]
    assert len(client.get_all()) == 4
    assert client.delete_prefix("dir/") is True
    assert [value for value, _ in client.get_all()] == [b"behind"]


def test_it_creates_and_replaces(client):
    assert client.create("once", "1") is True
    assert client.create("once", "2") is False
    assert client.replace("once", "2", "3") is False
    assert client.replace("once", "1", "3") is True
    assert client.get("once") == [b"3"]


def test_it_has_leases(client):
    lease = client.lease(ttl=100)
    assert client.put("leased", "1", lease=lease)
    assert 99 <= lease.ttl() <= 100
    assert lease.keys() == [b"leased"]
    assert lease.refresh() == 100, "a keep-alive: a stream of one"
    assert lease.revoke() is True
    assert client.get("leased") == []
    assert lease.ttl() == -1 and lease.refresh() == -1
    with pytest.raises(etcd3gw.exceptions.Etcd3Exception):
        lease.revoke()


def test_it_locks(client):
    with client.lock("door", ttl=100) as lock:
        assert lock.is_acquired()
        assert client.lock("door", ttl=100).acquire() is False
    assert client.lock("door", ttl=100).acquire() is True


def test_it_watches(client):
    events, cancel = client.watch("seen")
    client.put("seen", "1")
    client.put("unseen", "2")
    client.delete("seen")
    client.put("seen", "3")
    told = [next(events) for _ in range(3)]
    cancel()
    assert [(one.get("type", "PUT"), one["kv"].get("value")) for one in told] == [
        *(("PUT", b"1"), ("DELETE", None), ("PUT", b"3")),
    ]
    assert {one["kv"]["key"] for one in told} == {b"seen"}


def test_it_watches_a_prefix_and_waits_once(client):
    heard: queue.Queue = queue.Queue()
    events, cancel = client.watch_prefix("room/")
    client.put("room/1", "a")
    heard.put(next(events)["kv"]["key"])
    cancel()
    assert heard.get() == b"room/1"
    with pytest.raises(etcd3gw.exceptions.WatchTimedOut):
        client.watch_once("never", timeout=0.05)
