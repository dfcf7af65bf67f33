"""How watches end, raw streams of many watches, and watches in a cluster that goes back in time."""

import pytest

from kvlearn import Cluster, StoreConfig
from kvlearn.errors import (
    InvalidArgument,
    Stopped,
    TimedOut,
    WatchCanceled,
)
from kvlearn.events import Notified, WatchAsked
from kvlearn.kv.requests import Put
from kvlearn.kv.watches import WatchProgress
from tests.sim.test_watching import history, made, said, server

# Its end --------------------------------------------------------------------------------------


def test_cancel():
    cluster, client = made()
    watcher = client.watch("a")
    client.put("a", "1")
    cluster.run(1)
    node = cluster._hosts[server(cluster, watcher)]
    watcher.cancel()
    watcher.cancel()
    client.put("a", "2")
    cluster.run(1)
    assert [event.kv.value for event in watcher.events()] == [b"1"], "what came before can be read"
    assert watcher.canceled == "closed" and not node.node.hub.streams and not node.streams
    with pytest.raises(WatchCanceled, match="closed"):
        watcher.recv()
    with pytest.raises(WatchCanceled, match="closed"):
        watcher.progress()
    assert list(watcher) == []
    watcher.hold()
    watcher.release()
    cluster.crash(node.name)
    cluster.run(1)
    assert not any(host.streams for host in cluster._hosts.values())


def test_the_context_manager_cancels():
    cluster, client = made()
    with client.watch("a") as watcher:
        assert watcher.canceled == ""
    assert watcher.canceled == "closed"


@pytest.mark.parametrize("end", ["close", "crash"])
def test_a_client_that_is_gone_watches_no_more(end):
    cluster, client = made()
    watcher, stream = client.watch("a"), client.watch_stream()
    stream.create(b"a")
    client.close() if end == "close" else cluster.crash(client.name)
    assert watcher.canceled == "the client is gone"
    with pytest.raises(WatchCanceled, match="the client is gone"):
        watcher.recv()
    stream.take()
    with pytest.raises(WatchCanceled):
        stream.take()
    with pytest.raises(WatchCanceled):
        stream.create(b"b")
    assert not any(host.streams for host in cluster._hosts.values())


def test_iterating_ends_when_nothing_comes():
    cluster = Cluster(3, seed=1)
    client = cluster.client(timeout_s=2.0)
    watcher = client.watch("a")
    client.put("a", "1")
    client.put("a", "2")
    assert [event.kv.value for event in watcher] == [b"1", b"2"]


def test_recv_says_what_it_waited_for():
    cluster, client = made()
    with pytest.raises(TimedOut, match="nothing to hear of watch a within 0.5 s"):
        client.watch("a").recv(0.5)


# Streams --------------------------------------------------------------------------------------


def test_ids_on_one_stream():
    cluster, client = made()
    client.put("a", "0")
    stream = client.watch_stream()
    stream.create(b"a", b"b", watch_id=2)
    stream.create(b"a", watch_id=2)
    for _ in range(3):
        stream.create(b"b")
    stream.create(b"c", b"a")
    stream.cancel(77)
    stream.cancel(0)
    stream.request_progress()
    answers = stream.take()
    assert [(one.watch_id, one.created, one.canceled) for one in answers] == [
        (2, True, False),
        (-1, True, True),
        (0, True, False),
        (1, True, False),
        (3, True, False),
        (-1, True, True),
        (0, False, True),
        (-1, False, False),
    ]
    assert answers[1].cancel_reason == "mvcc: duplicate watch ID provided on the WatchStream"
    assert stream.take() == []
    client.put("b", "1")
    cluster.run(1)
    assert [(one.watch_id, len(one.events)) for one in stream.take()] == [(1, 1), (3, 1)]


def test_a_raw_stream_ends_with_its_node_and_gives_what_came_first():
    cluster, client = made()
    stream = client.watch_stream()
    stream.create(b"a")
    cluster.crash(client.endpoint)
    assert [one.created for one in stream.take()] == [True]
    for again in (stream.take, lambda: stream.create(b"b"), stream.request_progress):
        with pytest.raises(Stopped, match="open another"):
            again()
    stream.close()


def test_nothing_can_be_asked_on_a_closed_stream():
    cluster, client = made()
    stream = client.watch_stream()
    stream.create(b"a")
    stream.close()
    with pytest.raises(WatchCanceled, match="closed"):
        stream.create(b"b")
    assert not any(host.node.hub.streams for host in cluster._hosts.values())


def test_a_node_that_is_no_member_serves_nobody():
    cluster, _ = made()
    cluster.add_node("n4")
    client = cluster.client("n4")
    stream = client.watch_stream()
    with pytest.raises(Stopped):
        stream.create(b"a")
        stream.create(b"a")
    watcher = client.watch("a")
    cluster.run(1)
    assert watcher.responses == []
    other = cluster.client("n1")
    other.add_member("n4")
    cluster.run(3)
    other.put("a", "1")
    cluster.run(1)
    assert said(watcher.events()) == history(cluster)


# Other times ----------------------------------------------------------------------------------


def test_rewind_to_before_a_watch():
    cluster, client = made()
    client.put("a", "0")
    start = cluster.now
    watcher, stream = client.watch("a"), client.watch_stream()
    stream.create(b"a")
    client.put("a", "1")
    watcher.recv()
    cluster.rewind(start)
    assert watcher.events() == [] and "before it" in watcher.canceled
    for ask in (watcher.recv, watcher.progress, stream.take, stream.request_progress):
        with pytest.raises(WatchCanceled, match="before it"):
            ask()
    for ask in (watcher.hold, watcher.release, watcher.cancel, stream.close, stream.hold):
        ask()
    cluster.rewind(start / 2)
    assert cluster.client().watch("a").stream not in (watcher.stream, stream.stream)


def test_rewind_with_an_open_watch():
    """What was told in the future that is gone was never told; what was read before stays read."""
    cluster, client = made()
    watcher, stream = client.watch("a"), client.watch_stream()
    stream.create(b"a")
    for k in range(2):
        client.put("a", str(k))
    cluster.run(1)
    assert watcher.recv().kv.value == b"0"
    assert len(stream.take()) == 3
    then = cluster.now
    client.put("a", "gone")
    cluster.run(1)
    assert [event.kv.value for event in watcher.events()] == [b"1", b"gone"]
    stream.take()
    cluster.rewind(then)
    for k in range(2, 4):
        client.put("a", str(k))
    cluster.run(1)
    # "1" was read after the moment that it is now again
    assert [event.kv.value for event in watcher.events()][-2:] == [b"2", b"3"]
    assert [one.events[0].kv.value for one in stream.take()] == [b"2", b"3"]
    assert said(event for one in watcher.responses for event in one.events) == history(cluster)


def test_rewind_before_a_watch_ended():
    cluster, client = made(store=StoreConfig(watch_queue=2))
    watcher = client.watch("a")
    then = cluster.now
    watcher.hold()
    for k in range(9):
        client.put("a", str(k))
    client.compact(9)
    watcher.release()
    cluster.run(1)
    assert watcher.canceled == "compacted at 9"
    cluster.rewind(then)
    client.put("a", "1")
    cluster.run(1)
    assert watcher.canceled == "" and [event.kv.value for event in watcher.events()] == [b"1"]
    watcher.cancel()
    cluster.rewind(then)
    assert watcher.canceled == ""


def test_a_fork_has_its_own_watches():
    cluster, client = made()
    watcher = client.watch("a")
    client.put("a", "both")
    twin = cluster.fork()
    twin.client().put("a", "twin")
    twin.run(1)
    client.put("a", "mine")
    cluster.run(1)
    assert [event.kv.value for event in watcher.events()] == [b"both", b"mine"]
    responses = twin._clients.streams[watcher.stream].responses
    told = [event.kv.value for one in responses for event in one.events]
    assert told == [b"both", b"twin"]
    twin.crash(twin._clients.streams[watcher.stream].node)
    twin.run(3)
    assert server(cluster, watcher) != twin._clients.streams[watcher.stream].node


# At the node ----------------------------------------------------------------------------------


def test_the_trace_tells_what_was_asked_and_told():
    cluster, client = made()
    watcher = client.watch("a")
    client.put("a", "1")
    watcher.recv()
    asked = list(cluster.trace.of(WatchAsked))
    told = list(cluster.trace.of(Notified))
    assert [record.event.request.key for record in asked] == [b"a"]
    assert [record.event.response for record in told] == watcher.responses
    assert {record.node for record in (*asked, *told)} == {server(cluster, watcher)}


def test_a_node_refuses_what_is_no_question():
    cluster, _ = made()
    node = cluster._hosts["n1"].node
    for wrong in (None, "a", Put(b"a", b"1")):
        with pytest.raises(InvalidArgument, match="WatchCreate"):
            node.watch("c1/w1", wrong)
    node.watch("nobody", WatchProgress())
    node.close_stream("nobody")
    assert node.hear("nobody") == [] and not node.hub.streams
