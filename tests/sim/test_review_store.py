"""What somebody meets who leaves the beaten track: refusals that name the true reason, requests
that no store can carry out, a store that is full, and how everything shows itself."""

from __future__ import annotations

import pytest

from kvlearn import Cluster, StoreConfig, put, version
from kvlearn.errors import (
    InvalidArgument,
    NoLeader,
    NoSpace,
    Stopped,
    TimedOut,
    TooManyOps,
    Unavailable,
)
from kvlearn.kv.txn import Compare, Txn
from kvlearn.recipes import Lock


def test_without_a_majority_the_refusal_is_that_of_the_node_that_runs():
    cluster = Cluster(3, seed=7)
    client = cluster.client()
    client.put("k", "1")
    cluster.crash("n1")
    cluster.crash("n2")
    cluster.run(5)  # n3 has given the leader up
    for call in (lambda: client.put("k", "2"), lambda: client.get("k"), lambda: client.lease(5)):
        for _ in range(3):  # whichever node comes last
            with pytest.raises((NoLeader, TimedOut)) as refused:
                call()
            assert "ask another node" not in str(refused.value)


def test_with_no_node_running_the_refusal_says_so():
    cluster = Cluster(3, seed=7)
    client = cluster.client()
    cluster.wait_for_leader()
    for name in cluster.nodes:
        cluster.crash(name)
    with pytest.raises(Stopped):
        client.get("k")


def test_a_removed_node_s_refusal_does_not_hide_that_of_the_members():
    cluster = Cluster(3, seed=5)
    client = cluster.client("n2")
    cluster.client("n2").remove_member("n1")
    everyone = cluster.client()
    cluster.crash("n3")
    cluster.run(5)
    for _ in range(3):
        with pytest.raises((Unavailable, TimedOut)) as refused:
            everyone.put("k", "1")
        assert "n1 is no member" not in str(refused.value)
    cluster.restart("n3")
    client.put("k", "2")


@pytest.mark.parametrize("depth", [128, 300, 5000])
def test_transactions_in_transactions_end_somewhere(depth, tmp_path):
    cluster = Cluster(3, seed=7)
    client = cluster.client()
    txn = client.txn().then(put("k", "1"))
    with pytest.raises(TooManyOps):
        for _ in range(depth):
            txn = client.txn().then(txn)
        txn.commit()
    repr(txn)
    cluster.trace.to_pandas()  # what was refused does no harm to the story
    cluster.trace.save(tmp_path / "run.jsonl")
    assert client.put("k", "2").header.revision == 2


def test_as_deep_as_etcd_goes():
    client = Cluster(1, seed=7).client()
    txn = client.txn().then(put("k", "1"))
    for _ in range(127):
        txn = client.txn().then(txn)
    assert txn.commit().header.revision == 2


def test_a_full_store_is_emptied_by_doing_what_the_refusal_says():
    cluster = Cluster(3, seed=7, store=StoreConfig(quota_bytes=100_000))
    client = cluster.client()
    with pytest.raises(NoSpace) as refused:
        for _ in range(100):
            client.put("k", "x" * 5000)
    assert "physical=True" in refused.value.hint and "every node" in refused.value.hint
    client.compact(client.get("k").header.revision, physical=True)
    for name in cluster.nodes:
        cluster.client(name).defragment()
    client.disarm()
    client.put("k", "1")
    cluster.run(2)
    client.put("k", "2")
    assert not client.alarms().alarms


def test_whatever_a_client_gives_shows_itself():
    client = Cluster(3, seed=7).client()
    watcher = client.watch("<b>")
    stream = client.watch_stream()
    client.put("<b>", "<i>")
    lease = client.lease(10).keep_alive()
    txn = client.txn().if_(version("<b>") == 1).then(put("<b>", "<u>"))
    for shown in (client, watcher, watcher.recv(), stream, lease, txn):
        assert " at 0x" not in repr(shown)
        html = shown._repr_html_()
        assert html and not any(tag in html for tag in ("<b>", "<i>", "<u>"))


@pytest.mark.parametrize("never", [float("inf"), float("nan"), None, "1"])
def test_nothing_waits_for_ever_in_virtual_time(never):
    cluster = Cluster(3, seed=7)
    client = cluster.client()
    client.put("k", "1")
    watcher = client.watch("k")
    Lock(client, "lock").acquire()
    waits = (
        lambda: watcher.recv(timeout_s=never),
        lambda: watcher.progress(timeout_s=never),
        lambda: cluster.run_until(lambda c: False, timeout_s=never),
        lambda: cluster.wait_for_leader(timeout_s=never),
        lambda: cluster.client(timeout_s=never),
        lambda: Lock(cluster.client(), "lock").acquire(timeout_s=never),
    )
    for wait in waits:
        with pytest.raises(ValueError, match="timeout_s is a number of seconds"):
            wait()
    client.put("k", "2")
    assert watcher.recv(timeout_s=1).kv.text == "2"


def test_a_paused_client_does_nothing():
    cluster = Cluster(3, seed=1)
    client = cluster.client()
    lease = client.lease(5)
    cluster.pause("c1")
    for ask in (
        lambda: client.put("a", "1"),
        lambda: client.watch("a"),
        lambda: lease.keep_alive(),
        lambda: cluster.pause("c1"),
    ):
        with pytest.raises(ValueError, match="c1 is paused"):
            ask()
    cluster.resume("c1")
    assert client.put("a", "1").header.revision == 2
    with pytest.raises(ValueError, match="c1 is not paused"):
        cluster.resume("c1")
    cluster.crash("c1")
    with pytest.raises(ValueError, match="c1 is gone"):
        cluster.crash("c1")


def test_raw_requests_that_make_no_sense_are_told_so():
    cluster = Cluster(3, seed=1)
    client = cluster.client()
    with pytest.raises(TypeError, match="are tuples"):
        Txn(success=5)
    for wrong in (Txn(("a",)), Txn((Compare(b"k", []),))):
        with pytest.raises(InvalidArgument, match="omparison"):
            client.call(wrong)
    deep = Txn()
    for _ in range(300):
        deep = Txn(success=(deep,))
    with pytest.raises(TooManyOps, match="in one another"):
        client.call(deep)
    cluster.trace.to_pandas()
    with pytest.raises(ValueError, match="no form in UTF-8"):
        client.put("\ud800", "x")
    stream = client.watch_stream()
    stream.create("a")
    client.put("a", "1")
    assert [str(event) for one in stream.take() for event in one.events] == ["put a=1"]
