"""Watches of clients in a simulated cluster: nothing is lost and nothing told twice, whatever
becomes of the node that tells it, and of time itself."""

from random import Random

import pytest

from kvlearn import Cluster, RaftConfig, StoreConfig, check, delete, put
from kvlearn.check.watches import _Truth, watches
from kvlearn.errors import (
    Compacted,
    InvalidArgument,
    RequestError,
    Stopped,
    TimedOut,
    WatchCanceled,
)
from kvlearn.events import WatchAsked
from kvlearn.kv.requests import KeyValue, Put
from kvlearn.kv.watches import Follow, WatchCreate
from kvlearn.mvcc.watch import KVEvent, WatchResponse


def made(size=3, seed=1, store=None, **config):
    """A cluster with a leader, and a client."""
    config = RaftConfig.etcd(**config)
    cluster = Cluster(size, seed=seed, store=store, config=config)
    cluster.wait_for_leader()
    return cluster, cluster.client()


def server(cluster, watcher):
    """The node that serves a watcher."""
    return cluster._clients.streams[watcher.stream].node


def said(events):
    """Events, short."""
    return [(event.kv.mod_revision, event.type, event.kv.key, event.kv.value) for event in events]


def history(cluster, start=2, keys=None):
    """All that happened, as the node knows it that has applied the most."""
    nodes = [host.node for host in cluster._hosts.values() if host.node]
    store = max(nodes, key=lambda node: node.machine.applied).machine.store
    records = [kv for _, kv in store.records(store.revision) if kv.mod_revision >= start]
    kinds = ((kv.mod_revision, "put" if kv.version else "delete", kv.key, kv.value, kv)
             for kv in records)  # fmt: skip
    return [kind[:4] for kind in kinds if keys is None or kind[2].startswith(keys)]


def promises_kept(cluster):
    """What watchers were promised, and Raft's own promises."""
    for verdicts in (watches(cluster.trace), check.invariants(cluster.trace)):
        assert verdicts.ok, [str(verdict) for verdict in verdicts if not verdict.ok]


# Where a watch begins -------------------------------------------------------------------------


def test_from_the_past_the_present_and_the_future():
    cluster, client = made()
    for k in range(4):
        client.put("a", str(k))  # revisions 2 to 5
    past = client.watch("a", start_revision=3)
    present = client.watch("a")
    future = client.watch("a", start_revision=8)
    for k in range(4, 8):
        client.put("a", str(k))  # 6 to 9
    cluster.run(1)
    assert [revision for revision, *_ in said(past.events())] == [3, 4, 5, 6, 7, 8, 9]
    assert [revision for revision, *_ in said(present.events())] == [6, 7, 8, 9]
    assert [revision for revision, *_ in said(future.events())] == [8, 9]
    promises_kept(cluster)


@pytest.mark.parametrize("start", [1, 4])
def test_what_is_compacted_cannot_be_watched(start):
    cluster, client = made()
    for k in range(6):
        client.put("a", str(k))
    client.compact(5)
    watcher = client.watch("a", start_revision=start)
    with pytest.raises(Compacted, match="5"):
        watcher.recv()
    assert watcher.canceled == "compacted at 5"
    assert [response.compact_revision for response in watcher.responses] == [0, 5]
    with pytest.raises(Compacted):
        next(iter(watcher))
    with pytest.raises(Compacted):
        watcher.progress()
    at = client.watch("a", start_revision=5)
    assert [at.recv().kv.mod_revision for _ in range(3)] == [5, 6, 7]


def test_a_negative_start_is_the_present():
    cluster, client = made()
    client.put("a", "0")
    watcher = client.watch("a", start_revision=-5)
    client.put("a", "1")
    assert watcher.recv().kv.value == b"1"


def test_one_revision_comes_in_one_answer_in_order():
    cluster, client = made()
    client.put("b", "old")
    watcher = client.watch("", from_key=True)
    client.txn().then(put("c", "1"), delete("b"), put("a", "2")).commit()
    cluster.run(1)
    (answer,) = [one for one in watcher.responses if one.events]
    kinds = [(3, "put", b"c", b"1"), (3, "delete", b"b", b""), (3, "put", b"a", b"2")]
    assert said(answer.events) == kinds
    kv = answer.events[1].kv
    assert (kv.create_revision, kv.version, kv.lease) == (0, 0, 0)


def test_filters_and_what_was_before():
    cluster, client = made()
    puts = client.watch("a", filters="delete", prev_kv=True)
    deletes = client.watch("a", filters=["put"])
    neither = client.watch("a", filters=("put", "delete"))
    for k in range(2):
        client.put("a", str(k))
    client.delete("a")
    cluster.run(1)
    assert [event.prev_kv and event.prev_kv.value for event in puts.events()] == [None, b"0"]
    assert said(deletes.events()) == [(4, "delete", b"a", b"")]
    assert neither.events() == [] and neither.progress() == 4


def test_bad_input_is_told_at_once():
    cluster, client = made()
    with pytest.raises(InvalidArgument, match="put or delete, not get"):
        client.watch("a", filters=["get"])
    with pytest.raises(ValueError, match="exclude each other"):
        client.watch("a", "b", prefix=True)
    with pytest.raises(TypeError, match="str or bytes"):
        client.watch(5)
    with pytest.raises(InvalidArgument, match="whole number"):
        client.watch("a", start_revision="5")
    stream = client.watch_stream()
    with pytest.raises(TypeError, match="str or bytes"):
        stream.create(5)
    with pytest.raises(InvalidArgument, match="a filter is"):
        stream.create(b"a", filters=("get",))
    assert not list(cluster.trace.of(WatchAsked))


def test_an_empty_interval_is_refused_in_band():
    cluster, client = made()
    watcher = client.watch("b", "a")
    with pytest.raises(WatchCanceled, match="mvcc: watcher range is empty"):
        watcher.recv()
    assert watcher.canceled == "mvcc: watcher range is empty"
    cluster.crash(server(cluster, watcher))
    cluster.run(1)
    assert len(watcher.responses) == 1, "nobody goes on with what was refused"


# The serving node fails -----------------------------------------------------------------------


@pytest.mark.parametrize("moment", range(12))
def test_a_crash_at_any_moment(moment):
    """The serving node crashes somewhere in a burst of writes, and comes back."""
    cluster, client = made(seed=moment)
    watcher, other = client.watch("", from_key=True), cluster.client()
    node = server(cluster, watcher)
    for k in range(8):
        cluster.submit(Put(b"k%d" % (k % 3), b"%d" % k), [n for n in cluster.nodes if n != node][0])
    cluster.run(0.0005 * moment)
    cluster.crash(node)
    cluster.run(2.5)
    cluster.restart(node)
    other.put("last", "1")
    cluster.run(2)
    assert said(watcher.events()) == history(cluster) != []
    assert server(cluster, watcher) != node
    promises_kept(cluster)


@pytest.mark.parametrize("seed", range(3))
def test_all_nodes_restart_again_and_again(seed):
    cluster, client = made(seed=seed)
    watcher = client.watch("", from_key=True)
    rng = Random(seed)
    for round in range(4):
        for k in range(rng.randrange(1, 4)):
            client.put(f"k{k}", str(round))
        for name in cluster.nodes:
            cluster.crash(name)
        cluster.run(rng.random())
        for name in cluster.nodes:
            cluster.restart(name)
        cluster.wait_for_leader()
    cluster.run(1)
    assert said(watcher.events()) == history(cluster)
    promises_kept(cluster)


def test_a_partition_tells_late_and_loses_nothing():
    cluster, client = made(seed=3)
    watcher = client.watch("a")
    node = server(cluster, watcher)
    cluster.isolate(node)
    others = cluster.client([name for name in cluster.nodes if name != node][0])
    cluster.run(4)
    for k in range(5):
        others.put("a", str(k))
    assert watcher.events() == [], "the client does not notice that its node is alone"
    cluster.heal()
    cluster.run(4)
    assert said(watcher.events()) == history(cluster)
    assert server(cluster, watcher) == node
    promises_kept(cluster)


@pytest.mark.parametrize("kept", [0, 3])
@pytest.mark.parametrize("compacts", [False, True])
def test_a_snapshot_on_the_serving_follower(kept, compacts):
    """The follower that serves gets the leader's state: its watchers go on from there, or are told
    that history is gone."""
    cluster, client = made(seed=5)
    follower = next(name for name in cluster.nodes if name != cluster.leader)
    watcher = cluster.client(follower).watch("a")
    client.put("a", "before")
    cluster.run(1)
    cluster.isolate(follower)
    writer = cluster.client(cluster.leader)
    for k in range(10):
        writer.put("a", str(k))
    if compacts:
        writer.compact(9)
    for name in cluster.nodes:
        if name != follower:
            cluster.compact(name, kept)
    cluster.heal()
    cluster.run(5)
    node = cluster._hosts[follower].node
    assert node.machine.revision == 12 and node.raft.log.base.index > 0
    told = [revision for revision, *_ in said(watcher.events())]
    if compacts:
        assert told == [2] and watcher.canceled == "compacted at 9"
    else:
        assert told == list(range(2, 13))
    writer.put("a", "after")
    cluster.run(1)
    assert [event.kv.value for event in watcher.events()] == ([] if compacts else [b"after"])
    promises_kept(cluster)


def test_the_serving_node_is_removed():
    """A removed member hears of nothing new; its watchers turn to the others."""
    cluster, client = made(seed=2)
    client.put("a", "0")
    watcher, stream = client.watch("a"), client.watch_stream()
    stream.create(b"a")
    node = server(cluster, watcher)
    admin = cluster.client()
    admin.remove_member(node)
    cluster.run(2)
    admin.put("a", "1")
    cluster.run(2)
    assert said(watcher.events()) == [(3, "put", b"a", b"1")]
    assert server(cluster, watcher) != node
    assert [one.created for one in stream.take()] == [True]
    with pytest.raises(Stopped, match="open another"):
        stream.take()
    assert not cluster._hosts[node].streams and not cluster._hosts[node].node.hub.streams


def test_a_node_that_was_removed_while_it_was_paused_passes_its_mail_on():
    """It finds the question for a watch in its mail, and that it is no member any more."""
    cluster, client = made(seed=2)
    node = next(name for name in cluster.nodes if name != cluster.leader)
    cluster.client(cluster.leader).remove_member(node)
    cluster.run(1)
    assert cluster._hosts[node].node.is_outside
    cluster.pause(node)
    cluster._clients.do("open_stream", "c1/w9", "c1", (), node, WatchCreate(b"a"))
    view = cluster._clients.streams["c1/w9"]
    view.node = node  # as one that was told of it before the removal
    cluster._hosts[node].watch("c1/w9", WatchCreate(b"a"))
    cluster.resume(node)
    cluster.run(1)
    assert view.error is None and view.node != node and not cluster._hosts[node].streams


def test_nodes_that_came_later_serve_too():
    """All founders are replaced, one by one; the watch outlives them."""
    cluster, client = made(seed=4)
    watcher = client.watch("a", progress_notify=True)
    for old, new in (("n1", "n4"), ("n2", "n5"), ("n3", "n6")):
        cluster.add_node(new)
        cluster.run(1)
        client.add_member(new)
        cluster.run(1)
        client.remove_member(old)
        cluster.run(3)
        cluster.crash(old)
        client.put("a", new)
        cluster.run(1)
    assert [event.kv.value for event in watcher.events()] == [b"n4", b"n5", b"n6"]
    assert server(cluster, watcher) in ("n4", "n5", "n6")


def test_a_watch_at_a_paused_node_begins_when_it_goes_on():
    cluster, client = made()
    client.put("a", "0")
    node = client.endpoint
    cluster.pause(node)
    watcher = client.watch("a", start_revision=1)
    cluster.run(1)
    assert watcher.responses == []
    cluster.resume(node)
    assert said([watcher.recv()]) == [(2, "put", b"a", b"0")]


def test_a_paused_node_crashes_with_a_watch_in_its_mail():
    cluster, client = made()
    client.put("a", "0")
    cluster.pause(client.endpoint)
    watcher = client.watch("a", start_revision=2)
    cluster.crash(client.endpoint)
    cluster.run(3)
    assert said(watcher.events()) == [(2, "put", b"a", b"0")]


def test_a_watch_that_was_closed_while_its_node_was_paused_leaves_nothing_behind():
    cluster, client = made()
    node = client.endpoint
    cluster.pause(node)
    with client.watch("a"):
        pass
    cluster.resume(node)
    cluster.run(1)
    assert not cluster._hosts[node].streams and not cluster._hosts[node].node.hub.streams


def test_asking_a_node_that_is_down_opens_no_second_watch():
    """The question for its progress finds the node down; what was on its way goes on once."""
    cluster, client = made()
    watcher = client.watch("a")
    cluster.crash(server(cluster, watcher))
    with pytest.raises(TimedOut):
        watcher.progress(0.001)
    assert watcher.progress() == 1, "the next node is asked anew"
    cluster.run(4)
    client.put("a", "1")
    cluster.run(1)
    assert said(watcher.events()) == [(2, "put", b"a", b"1")]


# Slow readers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 1000])
def test_a_slow_reader_falls_behind_and_catches_up(batch):
    cluster, client = made(store=StoreConfig(watch_queue=3, watch_batch=batch, sync_s=0.01))
    watcher, quick = client.watch("a"), client.watch("a")
    watcher.hold()
    for k in range(12):
        client.put("a", str(k))
    cluster.run(1)
    hub = cluster._hosts[server(cluster, watcher)].node.hub
    assert hub.unsynced == 1 and len(hub.streams[watcher.stream].queue) == 3
    assert watcher.events() == [] and len(quick.events()) == 12
    watcher.release()
    cluster.run(1)
    assert said(watcher.events()) == history(cluster)
    client.put("a", "last")
    cluster.run(1)
    assert [event.kv.value for event in watcher.events()] == [b"last"]
    promises_kept(cluster)


def test_a_slow_reader_is_told_that_history_is_gone():
    cluster, client = made(store=StoreConfig(watch_queue=3))
    watcher = client.watch("a")
    watcher.hold()
    for k in range(12):
        client.put("a", str(k))
    client.compact(13)
    cluster.run(1)
    watcher.release()
    cluster.run(1)
    assert said(watcher.recv() for _ in range(3)) == [
        (2, "put", b"a", b"0"),
        (3, "put", b"a", b"1"),
        (4, "put", b"a", b"2"),
    ]
    with pytest.raises(Compacted):
        watcher.recv()
    promises_kept(cluster)


def test_what_waited_at_a_node_that_crashed_is_told_by_the_next():
    cluster, client = made(seed=6)
    watcher = client.watch("a")
    watcher.hold()
    for k in range(3):
        client.put("a", str(k))
    cluster.crash(server(cluster, watcher))
    cluster.run(3)
    assert watcher.events() == []
    watcher.release()
    cluster.run(1)
    assert said(watcher.events()) == history(cluster, keys=b"a")
    promises_kept(cluster)


def test_a_paused_client_reads_later():
    cluster, client = made()
    watcher, other = client.watch("a"), cluster.client()
    cluster.pause(client.name)
    for k in range(3):
        other.put("a", str(k))
    cluster.run(1)
    assert watcher.events() == []
    cluster.resume(client.name)
    cluster.run(1)
    assert said(watcher.events()) == history(cluster)


def test_fragments():
    """A large revision comes in parts, and they are put together."""
    store = StoreConfig(max_request_bytes=2 << 20)  # an answer is cut half a MiB above that
    cluster, client = made(store=store)
    parts = client.watch("k", prefix=True, fragment=True)
    whole = client.watch("k", prefix=True)
    client.txn().then(*[put(f"k{k}", "x" * 256) for k in range(9)]).commit()
    client.put("k", "after")
    for host in cluster._hosts.values():
        host.node.hub.limit_bytes = 1000
    client.txn().then(*[put(f"k{k}", "y" * 256) for k in range(9)]).commit()
    cluster.run(1)
    assert [(len(one.events), one.fragment) for one in parts.responses if one.events] == [
        (9, False),
        (1, False),
        (3, True),
        (3, True),
        (3, False),
    ]
    assert [len(one.events) for one in whole.responses if one.events] == [9, 1, 9]
    assert said(parts.events()) == said(whole.events()) == history(cluster)


def test_a_node_fails_amid_fragments():
    """What the next node tells whole is not told twice."""
    kvs = [KeyValue(b"k%d" % k, b"", 2, 2, 1) for k in range(3)]
    event = {kv.key: KVEvent("put", kv) for kv in kvs}
    follow = Follow(WatchCreate(b"k", b"l"))
    follow.take(WatchResponse(0, 1, created=True))
    assert not follow.take(WatchResponse(0, 2, fragment=True, events=(event[b"k0"],)))
    assert follow.again.start_revision == 2, "it was not heard of as a whole"
    follow = Follow(WatchCreate(b"k", b"l"))  # whoever only listens and does not ask again
    answers = [WatchResponse(0, 2, fragment=True, events=(event[b"k0"],))]
    answers += [WatchResponse(0, 2, created=True)]
    answers += [WatchResponse(0, 2, fragment=k < 2, events=(event[b"k%d" % k],)) for k in range(3)]
    told = [one for answer in answers for one in follow.take(answer)]
    assert told == list(event.values())


# Progress -------------------------------------------------------------------------------------


def test_progress_on_request():
    cluster, client = made()
    watcher = client.watch("a")
    assert watcher.progress() == 1
    for k in range(3):
        client.put("b", str(k))
    cluster.run(1)
    assert watcher.progress() == 4 == watcher.revision
    assert watcher.events() == []
    future = client.watch("a", start_revision=100)
    assert future.revision == 4 == future.progress(), "nobody has heard of what is to come"
    past = client.watch("b", start_revision=3)
    assert past.revision == 2 and past.progress() == 4


def test_progress_of_a_node_that_lags_is_what_it_has_told():
    cluster, client = made(seed=3)
    watcher = client.watch("a")
    node = server(cluster, watcher)
    cluster.isolate(node)
    others = cluster.client([name for name in cluster.nodes if name != node][0])
    cluster.run(4)
    others.put("a", "1")
    assert watcher.progress() == 1, "nothing that it has not told"
    cluster.heal()
    cluster.run(3)
    assert watcher.progress() == 2 and len(watcher.events()) == 1


@pytest.mark.parametrize("trouble", ["pause", "hold", "crash"])
def test_progress_times_out_rather_than_tell_what_is_old(trouble):
    cluster, client = made(1)
    watcher = client.watch("a")
    assert watcher.progress() == 1
    if trouble == "hold":
        watcher.hold()
    else:
        getattr(cluster, trouble)("n1")
    with pytest.raises(TimedOut):
        watcher.progress(1.0)
    {"pause": cluster.resume, "crash": cluster.restart}.get(trouble, lambda n: watcher.release())(
        "n1"
    )
    assert watcher.progress() == 1


def test_progress_waits_until_a_watcher_has_caught_up():
    cluster, client = made(store=StoreConfig(watch_batch=2))
    for k in range(20):
        client.put("a", str(k))
    watcher = client.watch("a", start_revision=2)
    assert watcher.progress() == 21
    assert len(watcher.events()) == 20
    promises_kept(cluster)


def test_periodic_progress():
    cluster, client = made(store=StoreConfig(progress_s=2.0))
    quiet = client.watch("a", progress_notify=True)
    silent = client.watch("a")
    client.put("b", "1")
    cluster.run(7)
    told = [one for one in quiet.responses if not one.created]
    assert len(told) == 3
    assert {(one.watch_id, one.revision, one.events) for one in told} == {(0, 2, ())}
    assert quiet.revision == 2
    assert len(silent.responses) == 1
    node = server(cluster, quiet)
    cluster.crash(node)
    cluster.run(6)
    assert quiet.responses[-1].revision == 2 and server(cluster, quiet) != node
    promises_kept(cluster)


# Chaos ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(8))
def test_chaos(seed):
    """Clients write and watch, compact and hold while nodes come and go."""
    rng = Random(seed)
    store = StoreConfig(watch_queue=4, watch_batch=3, progress_s=1.0, sync_s=0.05, sweep_records=5)
    config = dict(snapshot_entries=20, kept_entries=5)
    cluster, client = made(3 + seed % 2 * 2, seed=seed, store=store, **config)
    client.timeout_s = 2.0
    watchers = [client.watch("k", prefix=True, progress_notify=True) for _ in range(2)]
    newest = 1
    for step in range(80):
        cluster.run(rng.random() * 0.3)
        trouble(cluster, rng)
        newest = max(newest, *(view.revision for view in cluster.nodes.values() if view.alive), 1)
        any_watch, key = rng.choice(watchers), f"k{rng.randrange(4)}"
        match rng.randrange(8):
            case 0:
                any_watch.hold()
            case 1 | 2:
                any_watch.release()
            case 3 if newest > 20 and rng.random() < 0.5:
                attempt(client.compact, newest - rng.randrange(15))
            case 4 if rng.random() < 0.5:
                watchers.append(client.watch(key, start_revision=rng.randint(0, newest + 3)))
            case 5:
                attempt(client.delete, key)
            case _:
                attempt(client.put, key, f"{step}")
        for k in range(rng.randrange(3)):
            data = b"%d/%d" % (step, k)
            cluster.submit(Put(b"k%d" % rng.randrange(4), data), rng.choice(list(cluster.nodes)))
    mend(cluster)
    for watcher in watchers:
        watcher.release()
    cluster.run(6)
    assert client.put("k", "end").header.revision > 20
    cluster.run(3)
    promises_kept(cluster)
    for watcher in watchers:
        all_was_told(cluster, watcher)
    saved = {str(host.node.machine.save()) for host in cluster._hosts.values()}
    assert len(saved) == 1, f"seed {seed}"


def trouble(cluster, rng):
    """Something breaks, or is mended; mending is more frequent."""
    name = rng.choice(list(cluster.nodes))
    view = cluster.nodes[name]
    if not view.alive:
        cluster.restart(name)
    elif view.paused:
        cluster.resume(name)
    else:
        match rng.randrange(12):
            case 0:
                cluster.crash(name)
            case 1:
                cluster.pause(name)
            case 2:
                cluster.isolate(name)
            case 3 | 4 | 5:
                cluster.heal()


def attempt(ask, *arguments):
    """Ask; troubles may refuse it."""
    try:
        ask(*arguments)
    except RequestError:
        pass


def all_was_told(cluster, watcher):
    """A client that has read everything was told all that its watch asked for, in order; of one
    that ended because of a compaction it is the beginning."""
    truth = _Truth(cluster.trace)
    request = watcher.request
    start = max(request.start_revision, 0) or watcher.responses[0].revision + 1
    due = [one for one in truth.asked(request)[0] if one.revision >= start]
    told = [(event.type, event.kv) for one in watcher.responses for event in one.events]
    compacted = truth.compacted(10**9)
    due = [
        (one.type, one.kv)
        for one in due
        if (one.type, one.kv) in told or not truth.excuses(one, compacted)
    ]
    if watcher.canceled:
        assert watcher.canceled.startswith("compacted")
        due = due[: len(told)]
    assert told == due, watcher


def mend(cluster):
    """All nodes run, and all links work."""
    cluster.heal()
    for name, view in cluster.nodes.items():
        if not view.alive:
            cluster.restart(name)
        elif view.paused:
            cluster.resume(name)
