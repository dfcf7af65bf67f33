"""Clients of a simulated cluster as parts of its story: they have names, they pause and end, and
what they do on their own goes on in virtual time."""

import pytest

from kvlearn import Cluster
from kvlearn.errors import ClientGone, LeaseNotFound, RequestError, WatchCanceled
from kvlearn.events import ClientChanged, Invoked, LeaseExpired, Returned, WatchAsked
from kvlearn.kv.leases import LeaseKeepAlive
from kvlearn.kv.requests import Put
from kvlearn.sim.clients import KEEP_AGAIN_S, RECONNECT_S


def made(size=3, seed=1, **more):
    """A cluster whose nodes know their leader, and a client."""
    cluster = Cluster(size, seed=seed, **more)
    cluster.wait_for_leader()
    cluster.run(0.5)
    return cluster, cluster.client()


def asked(cluster, kind):
    """(when, node) of every request of that kind."""
    return [
        (record.time, record.event.node)
        for record in cluster.trace.of(Invoked)
        if isinstance(record.event.request, kind)
    ]


def streams(cluster):
    """Which node serves which streams."""
    return {
        name: sorted(host.streams) for name, host in cluster._hosts.items() if host.node is not None
    }


# Names and lives ------------------------------------------------------------------------------


def test_names():
    cluster, first = made()
    second = cluster.client("n2")
    assert (first.name, second.name) == ("c1", "c2")
    names = [client.watch("a").stream for client in (first, second, first)]
    assert names == ["c1/w1", "c2/w1", "c1/w2"]
    assert {record.event.stream for record in cluster.trace.of(WatchAsked)} == set(names)


def test_names_are_not_given_twice_in_another_time():
    cluster, client = made()
    then = cluster.now
    late = cluster.client()
    stream = client.watch("a").stream
    cluster.rewind(then)
    assert cluster.client().name not in (client.name, late.name)
    assert client.watch("a").stream != stream


def test_the_story_of_a_client():
    cluster, client = made()
    cluster.pause(client.name)
    cluster.resume(client.name)
    cluster.crash(client.name)
    told = [(one.node, one.event.state) for one in cluster.trace.of(ClientChanged)]
    assert told == [("c1", "pauses"), ("c1", "goes on"), ("c1", "is gone")]


@pytest.mark.parametrize("verb", ["crash", "pause", "resume"])
def test_nobody_is_called_so(verb):
    cluster, _ = made()
    for name in ("c2", "c0", "c01", "c1/w1", ""):
        with pytest.raises((ValueError, KeyError), match="there is no"):
            getattr(cluster, verb)(name)


def test_a_client_that_ends_while_it_pauses():
    cluster, client = made()
    lease, watcher = client.lease(3).keep_alive(), client.watch("a")
    cluster.pause(client.name)
    cluster.crash(client.name)
    cluster.run(5)
    assert not lease.is_kept and watcher.canceled and not any(streams(cluster).values())


def test_one_client_does_not_end_another():
    cluster, first = made()
    second = cluster.client()
    kept = second.lease(3).keep_alive()
    first.lease(3, id=9).keep_alive()
    watcher = second.watch("a")
    first.close()
    cluster.run(6)
    assert kept.is_kept and second.leases().ids == (kept.id,)
    second.put("a", "1")
    assert watcher.recv().kv.value == b"1"


# Keepers --------------------------------------------------------------------------------------


def test_every_third_of_its_time():
    cluster, client = made()
    client.lease(9).keep_alive()
    start = cluster.now
    cluster.run(20)
    times = [time - start for time, _ in asked(cluster, LeaseKeepAlive)]
    assert times == pytest.approx([0, 3, 6, 9, 12, 15, 18], abs=0.01)


def test_asked_twice_it_is_kept_once():
    cluster, client = made()
    lease = client.lease(9).keep_alive()
    cluster.run(1)
    lease.keep_alive()
    start = cluster.now
    cluster.run(10)
    times = [round(time - start) for time, _ in asked(cluster, LeaseKeepAlive)][1:]
    assert times == [0, 3, 6, 9]


def test_two_holders():
    """One of them is enough."""
    cluster, first = made()
    second = cluster.client()
    lease = first.lease(3, id=7).keep_alive()
    second.channel.keep(7, "n2", 1.0)
    cluster.crash(first.name)
    cluster.run(6)
    assert second.leases().ids == (7,) and not lease.is_kept
    second.channel.unkeep(7)
    second.channel.unkeep(7)
    cluster.run(6)
    assert second.leases().ids == ()


def test_a_keeper_looks_for_another_node_soon():
    cluster, client = made(5)
    node = next(name for name in cluster.nodes if name != cluster.leader)
    client._turn = list(cluster.nodes).index(node)
    client.lease(9).keep_alive()
    cluster.run(0.1)
    cluster.crash(node)
    before = cluster.now
    cluster.run(6.5)
    (first, old), (second, new) = asked(cluster, LeaseKeepAlive)[1:3]
    assert old == node != new and first - before == pytest.approx(2.9, abs=0.01)
    assert second - first == pytest.approx(KEEP_AGAIN_S)


def test_a_client_of_one_node_waits_for_it():
    cluster, _ = made()
    client = cluster.client("n2")
    lease, watcher = client.lease(9).keep_alive(), client.watch("a")
    cluster.crash("n2")
    cluster.run(4)
    assert {node for _, node in asked(cluster, LeaseKeepAlive)} == {"n2"}
    cluster.restart("n2")
    cluster.run(4)
    cluster.client().put("a", "1")
    assert watcher.recv().kv.value == b"1" and lease.is_kept
    assert streams(cluster)["n2"] == [watcher.stream]
    assert not list(cluster.trace.of(LeaseExpired))


def test_a_removed_node_is_left():
    cluster, client = made()
    lease, node = client.lease(3).keep_alive(), client.endpoint
    cluster.client().remove_member(node)
    cluster.run(8)
    assert asked(cluster, LeaseKeepAlive)[-1][1] != node
    assert lease.is_kept and not list(cluster.trace.of(LeaseExpired))


def test_a_keeper_that_waits_for_an_answer_gives_up():
    cluster, client = made(1)
    lease = client.lease(6).keep_alive()
    cluster.run(1)
    cluster.pause("n1")
    cluster.run(4)
    cluster.resume("n1")
    cluster.run(4)
    returned = [one.event.error for one in cluster.trace.of(Returned) if one.event.error]
    assert returned and all("no answer from n1 within" in error for error in returned)
    assert "not known" not in returned[0], "asking again does no harm"
    assert lease.is_kept


def test_what_is_gone_is_told_once():
    cluster, client = made()
    lease = client.lease(6).keep_alive()
    lease.revoke()
    assert not lease.is_kept
    with pytest.raises(LeaseNotFound):
        lease.revoke()
    lease.keep_alive()
    cluster.run(1)
    assert not lease.is_kept, "the first answer says so"
    lease.stop_keep_alive()


# Streams --------------------------------------------------------------------------------------


def test_a_watch_is_served_once_wherever_it_goes():
    """Whatever fails: never by two nodes."""
    cluster, client = made(5)
    watcher, other = client.watch("a"), cluster.client()
    for round in range(6):
        node = cluster._clients.streams[watcher.stream].node
        cluster.crash(node)
        for _ in range(3):
            try:
                watcher.progress(0.01)
            except RequestError:
                pass
        cluster.run(2.5)
        assert sum(streams(cluster).values(), []) == [watcher.stream]
        cluster.restart(node)
        other.put("a", str(round))
        assert watcher.recv().kv.value == str(round).encode()
    assert watcher.events() == []


def test_it_finds_a_node_within_a_moment():
    cluster, client = made(3)
    watcher = client.watch("a")
    cluster.crash(cluster._clients.streams[watcher.stream].node)
    cluster.run(RECONNECT_S * 1.5)
    assert sum(streams(cluster).values(), []) == [watcher.stream]


def test_nobody_is_there_for_long():
    cluster, client = made()
    watcher = client.watch("a")
    for name in cluster.nodes:
        cluster.crash(name)
    other = client.watch("a")  # opened while all are down
    cluster.run(30)
    waiting = [one[3][1] for one in cluster._clock.queue if one[3][0] == "resume"]
    assert sorted(waiting) == [watcher.stream, other.stream], "one item each, and no more"
    cluster.restart("n2")
    cluster.run(1)
    assert streams(cluster)["n2"] == sorted([watcher.stream, other.stream])
    for name in ("n1", "n3"):
        cluster.restart(name)
    cluster.wait_for_leader()
    client.put("a", "1")
    assert watcher.recv() == other.recv()


def test_a_watch_that_was_closed_while_nobody_was_there():
    cluster, client = made()
    watcher = client.watch("a")
    for name in cluster.nodes:
        cluster.crash(name)
    watcher.cancel()
    for name in cluster.nodes:
        cluster.restart(name)
    cluster.run(3)
    assert not any(streams(cluster).values())
    assert not [one for one in cluster._clock.queue if one[3][0] == "resume"]


def test_a_held_watch_goes_on_after_a_rewind():
    cluster, client = made()
    watcher = client.watch("a")
    then = cluster.now
    watcher.hold()
    client.put("a", "gone")
    cluster.rewind(then)
    client.put("a", "1")
    assert watcher.recv().kv.value == b"1", "in this time nobody holds it"


def test_answers_of_a_node_that_was_left_are_not_heard():
    """It was paused when its client found another node."""
    cluster, client = made()
    watcher = client.watch("a")
    view = cluster._clients.streams[watcher.stream]
    node = view.node
    client.put("a", "1")
    cluster.run(0.5)
    cluster._clients.told(watcher.stream, "n9", view.responses[1:])
    assert [event.kv.value for event in watcher.events()] == [b"1"]
    cluster._clients.lost(watcher.stream, "n9")
    assert view.order == 0 and view.node == node


def test_what_clients_do_is_in_the_queue_as_data():
    """So a copy of the cluster has its own, and does the same."""
    cluster, client = made()
    client.lease(3).keep_alive()
    watcher = client.watch("a")
    cluster.crash(cluster._clients.streams[watcher.stream].node)
    twin = cluster.fork()
    for one in (cluster, twin):
        one.run(0.01)
        one.submit(Put(b"a", b"1"), one.leader or "n3")
        one.run(8)
    assert list(twin.trace.lines()) == list(cluster.trace.lines())
    twin.crash("c1")
    assert watcher.canceled == "" and twin._clients.streams[watcher.stream].closed


def test_a_client_that_is_gone_says_so():
    cluster, client = made()
    watcher = client.watch("a")
    with client:
        pass
    with pytest.raises(WatchCanceled, match="the client is gone"):
        watcher.recv()


def test_a_client_that_is_gone_asks_nothing_any_more():
    cluster = Cluster(3, seed=1)
    client, other = cluster.client(), cluster.client()
    client.put("a", "1")
    with client:
        pass
    client.close()  # twice is no fault
    for ask in (
        lambda: client.put("a", "2"),
        lambda: client.get("a"),
        lambda: client.watch("a"),
        lambda: client.lease(5),
    ):
        with pytest.raises(ClientGone, match="make another client"):
            ask()
    assert other.get("a").text == "1"
    with pytest.raises(ValueError, match="c1 is a client; cluster.client"):
        cluster.restart("c1")
