"""Compaction, quotas, alarms, hashes, snapshots and status of a simulated cluster."""

from random import Random

import pytest

from kvlearn import Cluster, RaftConfig, StoreConfig, check, delete, get, put, version
from kvlearn.check import NEMESES
from kvlearn.check.hand import Hand
from kvlearn.check.watches import watches
from kvlearn.errors import (
    Compacted,
    FutureRevision,
    InvalidArgument,
    NoSpace,
    RequestError,
    RequestTooLarge,
    TimedOut,
)
from kvlearn.events import Applied, StateLoaded
from kvlearn.kv.chores import REVISIONS_LOOK_S
from kvlearn.kv.leases import Compact
from kvlearn.kv.machine import KVMachine
from kvlearn.kv.members import member_id
from kvlearn.kv.requests import Put
from kvlearn.kv.snapshots import load_snapshot
from kvlearn.kv.upkeep import NOSPACE, Alarm, HashKV
from kvlearn.mvcc.backend import MemoryBackend
from tests.sim.busy import digest

FULL = "etcdserver: mvcc: database space exceeded"


def made(size=3, seed=1, store=None, **config):
    """A cluster with a leader, and a client."""
    cluster = Cluster(size, seed=seed, store=store, config=RaftConfig.etcd(**config))
    cluster.wait_for_leader()
    return cluster, cluster.client()


def machines(cluster):
    return {name: host.node.machine for name, host in cluster._hosts.items() if host.node}


def agree(cluster):
    """All nodes hold the same, and kept their promises."""
    cluster.run(3)
    assert len({str(machine.save()) for machine in machines(cluster).values()}) == 1
    for verdicts in (check.invariants(cluster.trace), watches(cluster.trace)):
        assert verdicts.ok, [str(verdict) for verdict in verdicts if not verdict.ok]


# Compaction -----------------------------------------------------------------------------------


def test_compacting_takes_the_past_away():
    cluster, client = made()
    for k in range(6):
        client.put("a", str(k))  # revisions 2 to 7
    assert client.compact(5).header.revision == 7
    with pytest.raises(Compacted):
        client.get("a", revision=4)
    with pytest.raises(Compacted):
        client.get("missing", revision=4, count_only=True)
    assert client.get("a", revision=5).text == "3"
    for again in (5, 4, 1):
        with pytest.raises(Compacted):
            client.compact(again)
    with pytest.raises(FutureRevision):
        client.compact(8)
    with pytest.raises(InvalidArgument):
        client.compact("5")
    assert list(client.history("a").value) == ["3", "4", "5"]
    agree(cluster)


def test_the_revision_survives_compacting_at_a_deletion():
    cluster, client = made()
    client.put("a", "1")
    client.delete("a")
    client.compact(3, physical=True)
    for name in cluster.nodes:
        cluster.crash(name)
    for name in cluster.nodes:
        cluster.restart(name)
    cluster.wait_for_leader()
    assert client.put("b", "1").header.revision == 4
    agree(cluster)


def filled(step=20, **more):
    """A cluster with 200 records, of which a compaction at 201 takes 198."""
    cluster, client = made(store=StoreConfig(sweep_records=step, **more))
    for k in range(100):
        client.put(f"k{k % 2}", str(k))
        client.put("gone", str(k))
    client.delete("gone")
    return cluster, client


def left(machine):
    return sum(1 for _ in machine.backend.range())


def test_a_sweep_goes_on_in_steps():
    """Each step is short, and other requests come in between."""
    cluster, client = filled(step=5)
    node = cluster._hosts[client.endpoint].node
    client.compact(202)
    sizes = [left(node.machine)]
    while node.machine.store.sweeping:
        assert client.get("k1", revision=202).text == "99"
        cluster.run(0.05)
        sizes.append(left(node.machine))
    steps = [a - b for a, b in zip(sizes, sizes[1:]) if a != b]
    assert len(steps) > 10 and max(steps) <= 10 and sizes[-1] == 2
    agree(cluster)


def test_physical_waits_until_the_records_are_gone():
    cluster, client = filled(step=5)
    node = cluster._hosts[client.endpoint].node
    start = cluster.now
    client.compact(150)
    assert cluster.now - start < 0.1 and left(node.machine) > 100
    client.compact(202, physical=True)
    assert cluster.now - start > 1 and left(node.machine) == 2
    assert not node.machine.store.sweeping and not node._swept_for
    agree(cluster)


def test_several_wait_for_one_sweep():
    cluster, client = filled(step=5)
    name = client.endpoint
    asked = [cluster.submit(Compact(revision, True), name) for revision in (100, 150, 202)]
    cluster.run(10)
    assert [cluster.operation(op_id).error for op_id in asked] == [None] * 3
    refused = cluster.submit(Compact(202, True), name)
    cluster.run(1)
    assert isinstance(cluster.operation(refused).error, Compacted)


@pytest.mark.parametrize("fsyncs", range(4))
def test_a_crash_in_a_sweep(fsyncs):
    """What is left to sweep is swept after the restart; all nodes hold the same throughout."""
    cluster, client = filled(step=5)
    name = next(name for name in cluster.nodes if name != cluster.leader)
    client.compact(202)
    cluster.run(0.3 + 0.37 * fsyncs)
    machine = cluster._hosts[name].node.machine
    assert machine.store.sweeping and 2 < left(machine) < 201
    cluster.crash(name)
    cluster.run(1)
    cluster.restart(name)
    assert cluster._hosts[name].node.machine.store.sweeping
    cluster.run(6)
    assert {left(machine) for machine in machines(cluster).values()} == {2}
    agree(cluster)


def test_a_snapshot_ends_a_sweep_that_somebody_waits_for():
    """The node that sweeps is cut off, and gets the state from the leader instead."""
    cluster, client = filled(step=1)
    follower = next(name for name in cluster.nodes if name != cluster.leader)
    cluster.run(1)
    asked = cluster.submit(Compact(202, True), follower)
    cluster.run(0.5)
    assert cluster._hosts[follower].node._swept_for and not cluster.operation(asked).done
    cluster.isolate(follower)
    others = cluster.client(cluster.leader)
    for k in range(5):
        others.put("new", str(k))
    for name in cluster.nodes:
        if name != follower:
            cluster.compact(name)
    cluster.heal()
    cluster.run(4)
    assert list(cluster.trace.of(StateLoaded)) and cluster.operation(asked).done
    assert cluster.operation(asked).error is None
    agree(cluster)


# Automatic compaction -------------------------------------------------------------------------


def test_so_many_revisions_are_kept():
    cluster, client = made(store=StoreConfig(compact_behind=10))
    for k in range(30):
        client.put("a", str(k))
    cluster.run(REVISIONS_LOOK_S - cluster.now - 2)
    assert {machine.store.compacted for machine in machines(cluster).values()} == {0}
    cluster.run(4)
    assert {machine.store.compacted for machine in machines(cluster).values()} == {21}
    cluster.run(REVISIONS_LOOK_S)
    assert {machine.store.compacted for machine in machines(cluster).values()} == {21}
    old = cluster.leader
    cluster.crash(old)
    for k in range(10):
        client.put("a", str(k))
    cluster.run(REVISIONS_LOOK_S)
    assert {machine.store.compacted for machine in machines(cluster).values()} == {31}
    assert len(compactions(cluster)) == 2, "only who leads says so"


def compactions(cluster):
    """The compactions that a node has asked for, by index."""
    return {
        one.event.index: one.event.command.request.revision
        for one in cluster.trace.of(Applied)
        if one.event.command is not None
        and isinstance(getattr(one.event.command, "request", None), Compact)
        and not one.event.error
    }


@pytest.mark.parametrize("change", [False, True])
def test_so_much_time_is_kept(change):
    """Between one and two periods, across a change of the leader."""
    cluster, client = made(store=StoreConfig(compact_every_s=20.0))
    put_at = {}
    for k in range(50):
        revision = client.put("a", str(k)).header.revision
        put_at[revision] = cluster.now
        if change and k == 25:
            cluster.crash(cluster.leader)
        cluster.run(2)
    compacted = {machine.store.compacted for machine in machines(cluster).values()}
    assert len(compacted) == 1
    (revision,) = compacted
    age = cluster.now - put_at[revision]
    assert 20 < age < 45, age
    assert len(compactions(cluster)) >= 3
    assert sorted(compactions(cluster).values()) == list(compactions(cluster).values())


def test_nothing_is_compacted_unless_asked_for():
    cluster, client = made()
    client.put("a", "1")
    cluster.run(2 * REVISIONS_LOOK_S)
    assert not compactions(cluster)


# Room -----------------------------------------------------------------------------------------


def full(quota=3000):
    """A cluster whose quota is used up."""
    cluster, client = made(store=StoreConfig(quota_bytes=quota))
    with pytest.raises(NoSpace, match=FULL):
        for k in range(200):
            client.put("a", "x" * 20)
    cluster.run(1)
    return cluster, client


def test_a_full_backend_refuses_what_needs_room_and_nothing_else():
    cluster, client = full()
    for name in cluster.nodes:  # the alarm holds at all of them
        one = cluster.client(name)
        refused = (
            lambda: one.put("b", "1"),
            lambda: one.lease(10),
            lambda: one.txn().then(put("b", "1")).commit(),
            lambda: one.txn().if_(version("a") == 0).then(put("b", "1")).else_(get("a")).commit(),
            lambda: one.txn().then(one.txn().else_(put("b", "1"))).commit(),
        )
        for ask in refused:
            with pytest.raises(NoSpace, match=FULL) as caught:
                ask()
            assert caught.value.code == "RESOURCE_EXHAUSTED"
        assert one.get("a").count == 1 and one.leases().ids == ()
        assert one.status().errors and "NOSPACE" in one.status().errors[0]
        assert (member_id(name), NOSPACE) in one.alarms().alarms
    assert client.delete("b").deleted == 0
    assert client.txn().then(delete("a")).commit().succeeded
    assert client.get("a").kv is None
    agree(cluster)


def test_compact_defragment_disarm_and_go_on():
    cluster, client = full()
    revision = client.get("a").header.revision
    client.compact(revision, physical=True)
    freed = {name: cluster.client(name).defragment().freed_bytes for name in cluster.nodes}
    assert all(2000 < bytes < 3500 for bytes in freed.values()), freed
    assert client.defragment().freed_bytes == 0
    with pytest.raises(NoSpace):
        client.put("a", "1")
    changed = client.disarm().alarms
    assert len(changed) == 1 and client.alarms().alarms == ()
    assert client.disarm().alarms == ()
    assert client.put("a", "1").header.revision == revision + 1
    assert client.status().errors == ()
    agree(cluster)


def test_a_compaction_alone_makes_the_backend_no_smaller():
    """What it frees is used again, but the file counts, until it is defragmented."""
    cluster, client = full()
    client.compact(client.get("a").header.revision, physical=True)
    client.disarm()
    with pytest.raises(NoSpace):
        client.put("a", "1")
    agree(cluster)


def test_disarming_without_making_room_helps_nobody():
    cluster, client = full()
    client.disarm()
    with pytest.raises(NoSpace):
        client.put("a", "1")
    cluster.run(1)
    assert len(client.alarms().alarms) == 1
    agree(cluster)


def test_alarms_survive_restarts_and_snapshots():
    cluster, client = full()
    follower = next(name for name in cluster.nodes if name != cluster.leader)
    cluster.wipe(follower)
    client.remove_member(follower)
    cluster.add_node(follower)
    for name in cluster.nodes:
        if name != follower:
            cluster.compact(name)
    client.add_member(follower)
    cluster.run(5)
    assert cluster.client(follower).alarms().alarms == client.alarms().alarms != ()
    for name in cluster.nodes:
        cluster.crash(name)
    for name in cluster.nodes:
        cluster.restart(name)
    cluster.wait_for_leader()
    with pytest.raises(NoSpace):
        client.put("a", "1")
    agree(cluster)


def test_alarms_of_one_member_or_kind():
    cluster, client = made()
    for member in (5, 6):
        client.call(Alarm("activate", member, NOSPACE))
    assert client.alarms().alarms == ((5, NOSPACE), (6, NOSPACE))
    assert client.disarm(member=7).alarms == ()
    assert client.disarm(member=5).alarms == ((5, NOSPACE),)
    assert client.disarm(alarm="CORRUPT").alarms == ()
    assert client.disarm(member=6, alarm=NOSPACE).alarms == ((6, NOSPACE),)
    with pytest.raises(InvalidArgument, match="get or activate or deactivate"):
        client.call(Alarm("ring"))
    agree(cluster)


def test_requests_that_are_too_large():
    """The request as a whole counts, whatever in it is large."""
    cluster, client = made(store=StoreConfig(max_request_bytes=1000))
    from kvlearn import value

    large = "x" * 1001
    asks = (
        lambda: client.put("a", large),
        lambda: client.put(large, "a"),
        lambda: client.delete(large),
        lambda: client.delete("a", range_end=large),
        lambda: client.txn().then(*[put(f"k{k}", "x" * 40) for k in range(20)]).commit(),
        lambda: client.txn().then(client.txn().then(put("a", large))).commit(),
        lambda: client.txn().else_(put("a", large)).commit(),
        lambda: client.txn().if_(value("a") == large).then(put("a", "1")).commit(),
        lambda: client.txn().if_(value("a", range_end=large) == "").then(put("a", "1")).commit(),
    )
    before = client.get("a").header.revision
    for ask in asks:
        with pytest.raises(RequestTooLarge, match="etcdserver: request is too large"):
            ask()
    client.put("a", "x" * 900)
    assert client.get("a").header.revision == before + 1
    agree(cluster)


# Looking --------------------------------------------------------------------------------------


def test_status():
    cluster, client = made()
    client.put("a", "1")
    cluster.run(1)
    cluster.add_node("n4", learner=True)
    client.add_member("n4", learner=True)
    cluster.run(2)
    leader = member_id(cluster.leader)
    for name in cluster.nodes:
        reply = cluster.client(name).status()
        assert reply.header.member_id == member_id(name)
        assert reply.leader == leader and reply.header.raft_term == 1 and reply.errors == ()
        assert reply.raft_applied_index == reply.raft_index == 3
        assert reply.db_bytes == reply.db_in_use_bytes > 0
        assert reply.is_learner is (name == "n4") and reply.version == "3.5.0"
    for k in range(50):
        client.put("a", str(k))
    client.compact(52, physical=True)
    reply = client.status()
    assert reply.db_bytes > 10 * reply.db_in_use_bytes
    cluster.isolate("n1")
    cluster.run(5)
    alone = cluster.client("n1").status()
    assert alone.leader == 0 or alone.header.raft_term == reply.header.raft_term


def test_hashes_are_equal_at_the_same_revision():
    cluster, client = filled(step=3)
    client.lease(60, id=7)
    client.put("leased", "1", lease=7)
    cluster.run(1)
    hashes = {
        revision: {cluster.client(name).hash_kv(revision).hash for name in cluster.nodes}
        for revision in (0, 2, 50, 150, 202)
    }
    assert [len(found) for found in hashes.values()] == [1] * 5
    assert len(set.union(*hashes.values())) == 5, "a hash tells histories apart"
    client.compact(100)
    follower = next(name for name in cluster.nodes if name != cluster.leader)
    cluster.crash(follower)  # its sweep stands elsewhere
    cluster.restart(follower)
    for moment in range(5):
        cluster.run(0.3)
        for revision in (0, 101, 150, 202):
            replies = [cluster.client(name).hash_kv(revision) for name in cluster.nodes]
            assert len({reply.hash for reply in replies}) == 1, (moment, revision)
            assert {reply.compact_revision for reply in replies} == {100}
    for revision in (100, 99, 1):
        with pytest.raises(Compacted):
            client.hash_kv(revision)
    with pytest.raises(FutureRevision):
        client.hash_kv(1000)
    with pytest.raises(InvalidArgument):
        client.hash_kv("1")
    assert client.call(HashKV(-1)).hash == client.hash_kv(0).hash


def test_a_snapshot_file_makes_a_machine(tmp_path):
    cluster, client = filled()
    client.lease(60, id=7)
    client.put("leased", "Å", lease=7)
    client.compact(150)
    cluster.run(1)
    states = []
    for name in cluster.nodes:
        path = tmp_path / name
        assert cluster.client(name).snapshot(str(path)) == path.stat().st_size
        states.append(load_snapshot(path))
    assert states[1:] == states[:-1]
    machine = KVMachine(MemoryBackend())
    machine.load(states[0])
    assert machine.store.hash() == client.hash_kv().hash
    assert machine.lessor.leases[7].keys == {b"leased"}
    before = machines(cluster)["n1"]
    assert machine.save() == before.save() and machine.revision == before.revision


def test_looking_at_a_node_that_is_alone():
    """Status, hash and snapshot are local: they need no quorum, and tell this node's past."""
    cluster, client = made()
    client.put("a", "1")
    cluster.run(1)
    cluster.isolate("n1")
    alone = cluster.client("n1", timeout_s=0.5)
    cluster.run(5)
    assert alone.status().raft_applied_index == 2 and alone.hash_kv().header.revision == 2
    assert alone.defragment().freed_bytes == 0
    with pytest.raises((TimedOut, RequestError)):
        alone.compact(2)


# The same again, and chaos --------------------------------------------------------------------


def lively(seed):
    """A program of clients with leases, watches, transactions and compactions, in trouble."""
    rng = Random(seed)
    store = StoreConfig(
        checkpoint_s=(0.0, 1.0)[seed % 2],
        sweep_records=4,
        watch_queue=5,
        watch_batch=4,
        progress_s=3.0,
        compact_every_s=(0.0, 10.0)[seed // 2 % 2],
    )
    config = dict(snapshot_entries=30, kept_entries=10)
    cluster, client = made(3 + seed % 2 * 2, seed=seed, store=store, **config)
    hand, other = Hand(cluster), cluster.client()
    client.timeout_s = other.timeout_s = 1.5
    watchers = [client.watch("k", prefix=True, prev_kv=True, progress_notify=True)]
    raw = other.watch_stream()
    leases = []
    for step in range(60):
        cluster.run(rng.random() * 0.4)
        trouble(hand, rng)
        who, key = rng.choice((client, other)), f"k{rng.randrange(5)}"
        newest = max((view.revision or 0 for view in cluster.nodes.values()), default=0)
        lease = rng.choice(leases) if leases else None
        if rng.random() < 0.5:
            cluster.submit(Put(key.encode(), b"%d" % step), rng.choice(list(cluster.nodes)))
        acts = (
            lambda: who.put(key, f"Å{step}", lease=lease),
            lambda: who.put(key, f"{step}"),
            lambda: who.delete(key, prefix=rng.random() < 0.2),
            lambda: leases.append(who.lease(rng.randrange(2, 8)).keep_alive()),
            lambda: lease and rng.choice((lease.revoke, lease.stop_keep_alive))(),
            lambda: (
                who.txn()
                .if_(version(key) > rng.randrange(3))
                .then(put(key, "t"), delete("gone"))
                .else_(put("gone", "x", lease=lease), get(key))
                .commit()
            ),
            lambda: who.compact(newest - rng.randrange(12), physical=rng.random() < 0.3),
            lambda: watchers.append(who.watch(key, start_revision=rng.randint(0, newest + 2))),
            lambda: rng.choice((rng.choice(watchers).hold, rng.choice(watchers).release))(),
            lambda: raw.create(b"k", b"l", watch_id=rng.randrange(4), progress_notify=True),
            lambda: rng.choice((raw.take, raw.request_progress, lambda: raw.cancel(1)))(),
            lambda: rng.choice((client, other)).leases(),
            lambda: watchers[1:] and watchers.pop().cancel(),
        )
        try:
            rng.choice(acts)()
        except RequestError:
            pass
        if raw._channel.stream_error(raw.stream):
            raw = other.watch_stream()
    return hand, client, watchers


def trouble(hand, rng):
    """Something breaks that a cluster can bear, or is mended; mending is more frequent."""
    name = rng.choice(list(hand.cluster.nodes))
    view = hand.cluster.nodes[name]
    kind = rng.randrange(14)
    if not view.alive:
        verbs = [("restart", name)]
    elif view.paused:
        verbs = [("resume", name)]
    else:
        verbs = {0: [("crash", name)], 1: [("pause", name)], 2: [("isolate", name)]}.get(kind, ())
    if kind in (3, 4, 5):
        verbs = [("heal",)]
    for verb in verbs:
        if not hand.objection(*verb):
            hand.do(*verb)
    if kind > 10:  # a disk is lost, or a fresh node goes on taking the place of a lost one
        NEMESES["wipe"].strike(hand, rng)


@pytest.mark.parametrize("seed", range(8))
def test_chaos(seed):
    hand, client, watchers = lively(seed)
    cluster = hand.cluster
    hand.mend()
    cluster.run(5)
    for watcher in watchers:
        watcher.release()
    client.timeout_s = 20.0
    client.put("k", "end")
    cluster.run(15)
    inside = {member.name for member in client.members().members}
    held = {name: machine for name, machine in machines(cluster).items() if name in inside}
    cluster.run_until(lambda c: len({one.applied for one in held.values()}) == 1, 5)
    assert len({str(machine.save()) for machine in held.values()}) == 1, f"seed {seed}"
    assert len({machine.store.hash() for machine in held.values()}) == 1
    for verdicts in (check.invariants(cluster.trace), watches(cluster.trace)):
        assert verdicts.ok, [str(verdict) for verdict in verdicts if not verdict.ok]
    assert watchers[0].canceled or watchers[0].responses[-1].revision >= 2


def test_the_same_seed_tells_the_same_story(tmp_path):
    first, _, _ = lively(4)
    second, _, _ = lively(4)
    assert digest(first.cluster) == digest(second.cluster)
    kinds = {type(record.event).__name__ for record in first.cluster.trace}
    told = {"WatchAsked", "Notified", "StreamClosed"}
    assert kinds >= told | {"LeaseRenewed", "LeasesCounted", "LeaseExpired"}


def test_a_trace_of_all_that_survives_a_file(tmp_path):
    from kvlearn.trace import Trace

    cluster = lively(4)[0].cluster
    path = tmp_path / "trace.jsonl"
    cluster.trace.save(path)
    again = Trace.load(path)
    assert list(again.lines()) == list(cluster.trace.lines())
    assert [record.event for record in again] == [record.event for record in cluster.trace]


def test_rewind_relives_it_all():
    cluster = lively(4)[0].cluster
    then, told = cluster.now, list(cluster.trace.lines())
    cluster.rewind(then)
    assert list(cluster.trace.lines()) == told
    twin = cluster.fork()
    cluster.run(5)
    twin.run(5)
    assert list(twin.trace.lines()) == list(cluster.trace.lines())
