"""Leases in a simulated cluster: never shorter than promised, on the clock of whoever counts, and
all nodes agree on what became of them."""

from random import Random

import pytest

from kvlearn import Cluster, RaftConfig, StoreConfig, check, delete, put
from kvlearn.check.watches import watches
from kvlearn.errors import (
    InvalidArgument,
    LeaseExists,
    LeaseNotFound,
    LeaseTtlTooLarge,
    RequestError,
    TimedOut,
    Unavailable,
)
from kvlearn.events import Applied, LeaseExpired, LeaseRenewed, LeasesCounted, Returned
from kvlearn.kv.leases import LeaseCheckpoint, LeaseGrant, LeaseKeepAlive, LeaseRevoke
from kvlearn.kv.requests import Put


def made(size=3, seed=1, config=None, **more):
    """A cluster with a leader, and a client."""
    cluster = Cluster(size, seed=seed, config=config or RaftConfig.etcd(), **more)
    cluster.wait_for_leader()
    return cluster, cluster.client()


def expiries(cluster):
    """(when, lease) of every expiry that a leader noticed."""
    return [(one.time, one.event.lease) for one in cluster.trace.of(LeaseExpired)]


def gone_at(cluster, id):
    """When the end of the lease was applied first."""
    return min(
        one.time
        for one in cluster.trace.of(Applied)
        if getattr(one.event.command, "request", None) == LeaseRevoke(id) and not one.event.error
    )


def agree(cluster):
    """All running nodes hold the same, and kept their promises."""
    cluster.run(2)
    nodes = [host.node for host in cluster._hosts.values() if host.node]
    assert len({str(node.machine.save()) for node in nodes}) == 1
    held = [
        {id: sorted(lease.keys) for id, lease in node.machine.lessor.leases.items()}
        for node in nodes
    ]
    assert held[1:] == held[:-1]
    for verdicts in (check.invariants(cluster.trace), watches(cluster.trace)):
        assert verdicts.ok, [str(verdict) for verdict in verdicts if not verdict.ok]


def leader_of(cluster):
    return cluster._hosts[cluster.leader]


# Granting -------------------------------------------------------------------------------------


def test_granting():
    cluster, client = made()
    chosen = [client.lease(10).id for _ in range(5)]
    assert len(set(chosen)) == 5 and all(0 < id < 2**63 for id in chosen)
    assert client.lease(10, id=7).id == 7
    assert client.lease(10, id=-7).id == -7
    with pytest.raises(LeaseExists):
        client.lease(10, id=7)
    assert set(client.leases().ids) == {*chosen, 7, -7}
    assert client.leases().header.revision == 1, "leases alone move no revision"
    agree(cluster)


@pytest.mark.parametrize("ttl_s, granted", [(0, 2), (-5, 2), (1, 2), (2, 2), (9_000_000_000, None)])
def test_short_times_are_raised(ttl_s, granted):
    cluster, client = made()
    assert client.lease(ttl_s).ttl_s == (granted or ttl_s)


def test_a_longer_minimum():
    _, client = made(store=StoreConfig(min_ttl_s=15))
    lease = client.lease(3)
    assert lease.ttl_s == 15 == lease.time_to_live().granted_ttl_s


def test_what_cannot_be_granted():
    _, client = made()
    with pytest.raises(LeaseTtlTooLarge):
        client.lease(9_000_000_001)
    for wrong in ("10", None, 2.5):
        with pytest.raises(InvalidArgument):
            client.lease(wrong)
    with pytest.raises(InvalidArgument):
        client.lease(10, id="seven")
    assert client.leases().ids == ()


def test_unknown_leases():
    _, client = made()
    lease = client.lease(10)
    lease.revoke()
    with pytest.raises(LeaseNotFound):
        lease.revoke()
    with pytest.raises(LeaseNotFound):
        lease.keep_alive_once()
    left = lease.time_to_live(keys=True)
    assert (left.id, left.ttl_s, left.granted_ttl_s, left.keys) == (lease.id, -1, 0, ())
    with pytest.raises(LeaseNotFound):
        client.put("a", "1", lease=lease)
    with pytest.raises(TypeError, match="client.lease"):
        client.put("a", "1", lease="seven")


def test_ids_of_other_nodes_and_other_lives_differ():
    cluster, _ = made()
    ids = []
    for _ in range(3):
        for name in cluster.nodes:
            ids += [cluster.client(name).lease(1000).id for _ in range(3)]
            cluster.crash(name)
            cluster.restart(name)
            cluster.run(3)
    assert len(set(ids)) == len(ids)


# Keys -----------------------------------------------------------------------------------------


def test_an_expiry_deletes_all_keys_in_one_revision_in_byte_order():
    cluster, client = made()
    watcher = client.watch("", from_key=True, prev_kv=True)
    lease = client.lease(3)
    keys = [b"\xff", b"b", b"a\x00", b"a", b"\x01", b"ab"]
    for key in keys:
        client.put(key, "x", lease=lease)
    client.put("free", "x")
    cluster.run(5)
    told = [event for event in watcher.events() if event.type == "delete"]
    assert [event.kv.key for event in told] == sorted(keys)
    assert {event.kv.mod_revision for event in told} == {9}
    assert {event.prev_kv.lease for event in told} == {lease.id}
    assert [kv.key for kv in client.get("", from_key=True).kvs] == [b"free"]
    assert client.get("a", revision=8).kv.lease == lease.id, "the past shows it"
    agree(cluster)


def test_what_attaches_and_what_detaches():
    cluster, client = made()
    short, long = client.lease(3), client.lease(60)
    for key in ("moved", "plain", "kept", "value", "txn", "gone", "back"):
        client.put(key, "x", lease=short)
    client.put("moved", "y", lease=long)
    client.put("plain", "y")
    client.put("kept", "y", ignore_lease=True)
    client.put("value", ignore_value=True)
    client.txn().then(put("txn", "y")).commit()
    client.delete("gone")
    client.txn().then(delete("back"), get_nothing()).commit()
    client.put("back", "y")
    assert short.time_to_live(keys=True).keys == (b"kept",)
    assert long.time_to_live(keys=True).keys == (b"moved",)
    cluster.run(5)
    left = {kv.key_text for kv in client.get("", from_key=True).kvs}
    assert left == {"moved", "plain", "value", "txn", "back"}
    agree(cluster)


def get_nothing():
    from kvlearn import get

    return get("nothing")


def test_a_lease_without_keys_leaves_no_revision():
    cluster, client = made()
    client.lease(2)
    cluster.run(4)
    assert client.leases().ids == () and client.get("a").header.revision == 1
    client.lease(9, id=5).revoke()
    assert client.get("a").header.revision == 1


def test_revoking():
    cluster, client = made()
    with client.lease(50) as lease:
        client.put("a", "1", lease=lease)
        reply = client.lease(50, id=3).revoke()
        assert reply.header.revision == 2
    assert client.get("a").kv is None and client.leases().ids == ()
    assert client.get("a").header.revision == 3
    agree(cluster)


# Time -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("fsync_s", [(0.0005, 0.002), (0.3, 0.4)])
def test_never_before_its_time_and_soon_after(seed, fsync_s):
    """From the answer on, the time that was granted; however slow the disk is."""
    cluster, client = made(1 if fsync_s[0] > 0.1 else 3, seed=seed, fsync_s=fsync_s)
    for ttl_s in (2, 3, 5):
        lease = client.lease(ttl_s)
        answered = cluster.now
        client.put("a", "1", lease=lease)
        cluster.run_until(lambda c: any(id == lease.id for _, id in expiries(c)), 20)
        noticed, _ = expiries(cluster)[-1]
        assert noticed >= answered + ttl_s - 0.02, f"{answered + ttl_s - noticed} s early"
        cluster.run_until(lambda c: lease.id not in leader_of(c).node.machine.lessor.leases, 5)
        assert answered + ttl_s - 0.02 < cluster.now < answered + ttl_s + 1.2


def test_renewing_gives_the_whole_time_again():
    cluster, client = made()
    lease = client.lease(5)
    for _ in range(4):
        cluster.run(4)
        assert lease.time_to_live().ttl_s in (0, 1)
        assert lease.keep_alive_once().ttl_s == 5
        renewed = cluster.now
    cluster.run_until(lambda c: expiries(c), 10)
    assert 4.95 < cluster.now - renewed < 5.3


def test_time_to_live_counts_down_and_leases_are_sorted_by_it():
    cluster, client = made()
    slow, quick, middle = (client.lease(ttl_s) for ttl_s in (30, 5, 10))
    assert client.leases().ids == (quick.id, middle.id, slow.id)
    cluster.run(4)
    quick.keep_alive_once()
    cluster.run(3)
    assert [one.time_to_live().ttl_s for one in (slow, quick, middle)] == [22, 1, 2]
    middle.keep_alive_once()
    assert client.leases().ids == (quick.id, middle.id, slow.id)
    for name in cluster.nodes:
        assert cluster.client(name).leases().ids == (quick.id, middle.id, slow.id)


@pytest.mark.parametrize("rate, least, most", [(1.5, 6.5, 7.0), (0.5, 19.9, 20.6)])
def test_the_leaders_clock_counts(rate, least, most):
    """A lease is a promise on one clock: a quick one ends it early for everybody else."""
    cluster, client = made()
    cluster.clock(cluster.leader).rate = rate
    leader = cluster.leader
    client.lease(10)
    start = cluster.now
    cluster.run_until(lambda c: expiries(c), 30)
    assert cluster.leader == leader and least < cluster.now - start < most


def test_a_follower_with_a_quick_clock_ends_nothing():
    cluster, client = made()
    follower = next(name for name in cluster.nodes if name != cluster.leader)
    cluster.clock(follower).rate = 1.5
    lease = client.lease(10)
    cluster.run(9)
    assert lease.time_to_live().ttl_s == 0 and not expiries(cluster)


# Another leader -------------------------------------------------------------------------------


def test_a_new_leader_gives_the_full_time_anew():
    cluster, client = made()
    lease = client.lease(10)
    cluster.run(9)
    cluster.crash(cluster.leader)
    cluster.run_until(counted, 10)
    start = cluster.now
    ((_, left),) = counted(cluster)[-1].event.left
    assert left == 11.0, "and an election timeout"
    cluster.run_until(lambda c: expiries(c), 20)
    assert 10.9 < cluster.now - start < 11.3
    assert lease.time_to_live().ttl_s == -1


def counted(cluster):
    return list(cluster.trace.of(LeasesCounted))


def test_without_checkpoints_a_lease_outlives_its_time_by_many_leaders():
    cluster, client = made(5)
    client.lease(10, id=7)
    for _ in range(4):
        cluster.run(7)
        leader = cluster.leader
        cluster.crash(leader)
        cluster.run(1)
        cluster.restart(leader)
        cluster.wait_for_leader()
    assert client.leases().ids == (7,) and not expiries(cluster)
    cluster.run(14)
    assert client.leases().ids == ()
    agree(cluster)


def test_with_checkpoints_a_new_leader_goes_on_where_the_old_one_was():
    cluster, client = made(5, store=StoreConfig(checkpoint_s=2.0))
    client.lease(20, id=7)
    start = cluster.now
    for _ in range(3):
        cluster.run(4)
        leader = cluster.leader
        cluster.crash(leader)
        cluster.run(3)
        cluster.restart(leader)
    cluster.run_until(lambda c: expiries(c), 30)
    # each change may cost an election timeout, its pause, and what was not noted yet
    assert 19.9 < cluster.now - start < 20 + 3 * (1 + 2.2 + 2)
    agree(cluster)


def test_a_renewal_outlives_the_checkpoint_before_it():
    """What was noted before the renewal must not end the lease early at the next leader."""
    for moment in (0.0, 0.001, 0.05, 0.3):
        cluster, client = made(store=StoreConfig(checkpoint_s=5.0))
        lease = client.lease(30)
        client.put("k", "1", lease=lease)
        cluster.run(27)
        lease.keep_alive_once()
        renewed = cluster.now
        cluster.run(moment)
        cluster.crash(cluster.leader)
        cluster.wait_for_leader()
        cluster.run_until(lambda c: expiries(c), 60)
        assert cluster.now - renewed >= 30, moment


def test_checkpoints_are_few():
    cluster, client = made(store=StoreConfig(checkpoint_s=5.0))
    for id in range(1, 9):
        client.lease(60, id=id)
    before = leader_of(cluster).node.raft.log.last_index
    cluster.run(21)
    grown = leader_of(cluster).node.raft.log.last_index - before
    assert 4 <= grown <= 8, "an entry for all that are due, not one for each lease"
    noted = {
        lease.remaining_s
        for host in cluster._hosts.values()
        for lease in host.node.machine.lessor.leases.values()
    }
    assert len(noted) <= 2 and 38 <= min(noted) and max(noted) <= 41
    agree(cluster)


def test_checkpoints_survive_restarts_and_snapshots():
    cluster, client = made(store=StoreConfig(checkpoint_s=3.0))
    client.lease(60, id=7)
    client.put("a", "1", lease=7)
    cluster.run(10)
    follower = next(name for name in cluster.nodes if name != cluster.leader)
    cluster.crash(follower)
    cluster.run(10)
    for name in cluster.nodes:
        if name != follower:
            cluster.compact(name)
    cluster.restart(follower)
    cluster.run(3)
    machine = cluster._hosts[follower].node.machine
    assert machine.lessor.leases[7].keys == {b"a"} and 36 <= machine.lessor.leases[7].remaining_s
    assert machine.lessor.leases[7].remaining_s <= 44
    agree(cluster)
    for name in cluster.nodes:
        cluster.crash(name)
    for name in cluster.nodes:
        cluster.restart(name)
    cluster.wait_for_leader()
    cluster.run_until(counted, 10)
    ((_, left),) = counted(cluster)[-1].event.left
    assert 30 < left < 44, "not the full time"
    agree(cluster)


def test_no_quorum_no_end():
    """Time passes, and nobody may say so; a lease ends after the heal."""
    cluster, client = made()
    client.lease(3, id=7)
    client.put("a", "1", lease=7)
    for name in cluster.nodes:
        cluster.isolate(name)
    cluster.run(20)
    assert all(7 in host.node.machine.lessor.leases for host in cluster._hosts.values())
    cluster.heal()
    cluster.run(8)
    assert client.get("a").kv is None and client.leases().ids == ()
    agree(cluster)


@pytest.mark.parametrize("config", [RaftConfig.etcd(), RaftConfig.paper()], ids=["etcd", "paper"])
def test_an_isolated_old_leader_renews_nothing(config):
    cluster, client = made(config=config)
    lease = client.lease(8, id=7)
    old = cluster.leader
    lonely = cluster.client(old, timeout_s=2.0)
    cluster.isolate(old)
    asked = len(cluster.trace)
    with pytest.raises((TimedOut, Unavailable)):
        lonely.call(LeaseKeepAlive(7))
    cluster.run(3)
    with pytest.raises((TimedOut, Unavailable)):
        lonely.call(LeaseKeepAlive(7))
    mine = [one for one in cluster.trace[asked:] if one.node == old]
    assert not [one for one in mine if isinstance(one.event, (LeaseRenewed, LeasesCounted))]
    others = cluster.client(next(name for name in cluster.nodes if name != old))
    assert others.call(LeaseKeepAlive(7)).ttl_s == 8
    cluster.run(10)
    assert others.leases().ids == ()
    cluster.heal()
    cluster.run(3)
    assert lease.time_to_live().ttl_s == -1
    agree(cluster)


def test_a_lease_granted_anew_is_not_ended_by_the_end_of_the_old_one():
    """A leader whose entries are not committed for long asks once for the end of a lease: a second
    time could hit another lease of that name, which stands between the two in the log."""
    cluster, client = made(config=RaftConfig.paper())  # without check_quorum an old leader stays
    leader = cluster.leader
    client.lease(4, id=7)
    cluster.run(3.5)
    followers = [name for name in cluster.nodes if name != leader]
    for name in followers:
        cluster.cut(name, leader, one_way=True)  # it is heard, and hears nothing
    cluster.run_until(lambda c: expiries(c), 5)
    again = cluster.submit(LeaseGrant(60, 7), leader)
    cluster.run(3)
    assert cluster.leader == leader and not cluster.operation(again).done
    cluster.heal()
    cluster.run(3)
    assert cluster.operation(again).error is None
    assert client.leases().ids == (7,)
    agree(cluster)


# Kept alive -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_kept_alive_in_the_background(seed):
    """Through followers, over crashes of any node and changes of the leader."""
    cluster, client = made(5, seed=seed)
    lease = client.lease(5).keep_alive()
    client.put("a", "1", lease=lease)
    assert lease.is_kept and "kept alive" in repr(lease)
    rng = Random(seed)
    for _ in range(8):
        name = rng.choice([cluster.leader, *cluster.nodes])
        cluster.crash(name)
        cluster.run(rng.uniform(2, 6))
        cluster.restart(name)
        cluster.run(rng.uniform(0.1, 2))
    assert client.get("a").text == "1" and not expiries(cluster)
    assert lease.time_to_live().ttl_s >= 2
    lease.stop_keep_alive()
    assert not lease.is_kept
    cluster.run(8)
    assert client.get("a").kv is None
    agree(cluster)


@pytest.mark.parametrize("ttl_s", [2, 3, 10])
def test_a_keeper_finds_another_node_in_time(ttl_s):
    """Whatever happens to the node that it talks to, at any moment of its round."""
    for trouble in ("crash", "pause", "isolate"):
        for moment in (0.0, 0.2, 0.5, 0.9):
            cluster, client = made(seed=int(moment * 10))
            follower = next(name for name in cluster.nodes if name != cluster.leader)
            cluster.run(0.5)  # all know the leader
            client._turn = list(cluster.nodes).index(follower)
            lease = client.lease(ttl_s).keep_alive()
            keeper = cluster._clients.keepers[client.name, lease.id]
            assert keeper.node == follower
            cluster.run(ttl_s / 3 * moment)
            getattr(cluster, trouble)(follower)
            cluster.run(3 * ttl_s)
            assert not expiries(cluster), f"{trouble} at {moment}"
            assert keeper.node != follower and lease.is_kept


@pytest.mark.parametrize("end", ["close", "crash", "stop", "pause"])
def test_who_is_gone_keeps_nothing_alive(end):
    cluster, client = made()
    other = cluster.client()
    lease = client.lease(4).keep_alive()
    client.put("a", "1", lease=lease)
    cluster.run(10)
    assert other.get("a").text == "1"
    match end:
        case "close":
            client.close()
        case "stop":
            lease.stop_keep_alive()
        case _:
            getattr(cluster, end)(client.name)
    start = cluster.now
    cluster.run(7)
    assert other.get("a").kv is None
    assert 2.6 < expiries(cluster)[0][0] - start < 4.2
    if end == "pause":
        assert lease.is_kept, "it does not know yet"
        cluster.resume(client.name)
        cluster.run(1)
    assert not lease.is_kept


def test_a_short_pause_costs_nothing():
    cluster, client = made()
    lease = client.lease(6).keep_alive()
    for _ in range(5):
        cluster.pause(client.name)
        cluster.run(3.5)
        cluster.resume(client.name)
        cluster.run(0.1)
    assert lease.is_kept and not expiries(cluster)


def test_a_keeper_stops_when_the_lease_is_revoked_by_another():
    cluster, client = made()
    lease = client.lease(6, id=7).keep_alive()
    cluster.client().call(LeaseRevoke(7))
    cluster.run(3)
    assert not lease.is_kept
    asked = len(cluster.trace)
    cluster.run(5)
    later = [one for one in cluster.trace[asked:] if isinstance(one.event, Returned)]
    assert later == []


def test_keeping_alive_what_just_ran_out():
    """From the moment on at which the leader's clock says so, though nobody has it in the log."""
    cluster, client = made()
    lease = client.lease(3)
    leader = leader_of(cluster).name
    for name in cluster.nodes:
        if name != leader:
            cluster.disk(name).fsync_s = (0.5, 0.5)  # its end takes a while
    cluster.run_until(lambda c: expiries(c), 10)
    assert lease.id in leader_of(cluster).node.machine.lessor.leases
    with pytest.raises(LeaseNotFound, match="run out"):
        lease.keep_alive_once()
    cluster.run(2)
    assert client.leases().ids == ()
    agree(cluster)


def test_asking_a_follower_whose_leader_is_down():
    cluster, client = made()
    lease = client.lease(60)
    leader = cluster.leader
    follower = cluster.client(next(name for name in cluster.nodes if name != leader))
    cluster.crash(leader)
    assert follower.call(LeaseKeepAlive(lease.id)).ttl_s == 60
    assert follower.leases().ids == (lease.id,)
    for host in cluster._hosts.values():
        assert host.node is None or not host.node._reads


def test_lost_and_doubled_questions():
    cluster, client = made(seed=4)
    cluster.links.loss = 0.2
    cluster.links.duplicate = 0.3
    client.timeout_s = 30.0
    lease = client.lease(60)
    for name in cluster.nodes:
        asking = cluster.client(name, timeout_s=30.0)
        for _ in range(5):
            assert asking.call(LeaseKeepAlive(lease.id)).ttl_s == 60
            assert asking.leases().ids == (lease.id,)
    cluster.links.loss = cluster.links.duplicate = 0.0
    agree(cluster)


# Other times, chaos ---------------------------------------------------------------------------


def test_rewind_and_fork_take_keepers_along():
    cluster, client = made()
    lease = client.lease(4).keep_alive()
    cluster.run(5)
    then = cluster.now
    lease.stop_keep_alive()
    cluster.run(6)
    assert client.leases().ids == ()
    cluster.rewind(then)
    assert lease.is_kept and client.leases().ids == (lease.id,)
    twin = cluster.fork()
    lease.stop_keep_alive()
    twin.run(10)
    cluster.run(10)
    assert twin.client().leases().ids == (lease.id,) and client.leases().ids == ()


@pytest.mark.parametrize("seed", range(8))
def test_chaos(seed):
    """Holders come and go, nodes too. No lease ends before its time, counted from what its holder
    was told last; and all nodes agree."""
    rng = Random(seed)
    checkpoint_s = (0.0, 1.0)[seed % 2]
    store = StoreConfig(checkpoint_s=checkpoint_s)
    config = RaftConfig.etcd(snapshot_entries=25, kept_entries=5)
    cluster, client = made(3 + seed % 3, seed=seed, store=store, config=config)
    client.timeout_s = 2.0
    leases, known_s = [], {}
    for step in range(50):
        cluster.run(rng.random())
        trouble(cluster, rng)
        try:
            lease = rng.choice(leases) if leases else None
            match rng.randrange(7):
                case 0 | 1:
                    lease = client.lease(rng.randrange(2, 9))
                    leases.append(lease)
                    known_s[lease.id] = cluster.now + lease.ttl_s - 0.1  # the way of the answer
                case 2 if lease:
                    lease.keep_alive_once()
                    known_s[lease.id] = cluster.now + lease.ttl_s - 1.0
                case 3 if lease:
                    lease.keep_alive()
                case 4 if lease:
                    lease.stop_keep_alive()
                case 5 if lease and rng.random() < 0.3:
                    known_s[lease.id] = 0.0
                    lease.revoke()
                case _:
                    client.put(f"k{rng.randrange(6)}", f"{step}", lease=lease)
        except RequestError:
            pass
    mend(cluster)
    cluster.run(3)
    for lease in leases:
        lease.stop_keep_alive()
    cluster.run(14)
    assert {lease.id for lease in leases} >= set(known_s) != set()
    for id, known in known_s.items():
        assert gone_at(cluster, id) >= known, f"seed {seed}: lease {id:x} is gone early"
    assert client.leases().ids == ()
    kvs = client.get("", from_key=True).kvs
    assert all(kv.lease == 0 for kv in kvs)
    agree(cluster)


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
            case 0 | 1:
                cluster.crash(name)
            case 2:
                cluster.pause(name)
            case 3:
                cluster.isolate(name)
            case 4 | 5 | 6:
                cluster.heal()


def mend(cluster):
    """All nodes run, and all links work."""
    cluster.heal()
    for name, view in cluster.nodes.items():
        if not view.alive:
            cluster.restart(name)
        elif view.paused:
            cluster.resume(name)


def test_a_checkpoint_of_an_unknown_lease_is_no_error():
    cluster, client = made()
    node = leader_of(cluster).node
    machine = node.machine
    index = machine.applied + 1
    from kvlearn.kv.requests import Command

    command = Command("n1", 0, LeaseCheckpoint(((99, 5),)))
    assert machine.apply(index, node.raft.term, command) == (None, None)
    assert machine.apply(index + 1, 1, Command("n1", 0, Put(b"a", b"1")))[1] is None
