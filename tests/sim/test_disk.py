"""Disks: what a crash leaves of what was written, whatever the instant."""

from random import Random

import pytest

from kvlearn import Cluster, RaftConfig
from kvlearn.errors import TimedOut
from kvlearn.events import Applied, Committed, Crashed, Saved, Sent, Started, Truncated, Wiped
from kvlearn.kv.requests import Put
from kvlearn.mvcc.revision import KeyValue
from kvlearn.raft import HardState, Ready
from kvlearn.raft.messages import AppendResponse, RequestVote, VoteResponse
from kvlearn.sim.disk import Disk
from tests.raft.net import Member, entries_of


def disk_of(*terms: int, seed: int = 0, hard_state: HardState = HardState()) -> Disk:
    """A disk with a durable log of these terms."""
    disk = Disk((0.001, 0.002), Random(seed))
    disk.write(Ready(hard_state=hard_state, entries=entries_of(*terms)))
    disk.sync()
    return disk


def test_what_was_written_is_durable_after_the_sync():
    disk = disk_of(1, 1)
    disk.write(Ready(hard_state=HardState(2, "n3", 1), entries=entries_of(1, 1, 2)[2:]))
    assert len(disk.entries) == 2 and disk.hard_state.term == 0
    disk.sync()
    assert [e.term for e in disk.entries] == [1, 1, 2] and disk.hard_state.vote == "n3"
    assert disk.pending == []


def test_a_smaller_index_replaces_the_tail():
    disk = disk_of(1, 1, 1)
    disk.write(Ready(entries=entries_of(1, 2)[1:]))
    disk.sync()
    assert [entry.term for entry in disk.entries] == [1, 2]


def test_fsyncs_take_their_time():
    disk = disk_of()
    times = [disk.fsync_time() for _ in range(50)]
    assert all(0.001 <= time <= 0.002 for time in times) and len(set(times)) == 50


def test_a_crash_keeps_some_first_part_and_every_part_is_possible():
    left = set()
    for seed in range(60):
        disk = disk_of(1, seed=seed)
        disk.write(Ready(hard_state=HardState(2, "n2", 1), entries=entries_of(1, 2, 2)[1:]))
        disk.crash()
        left.add((len(disk.entries), disk.hard_state.term))
        assert disk.pending == []
    assert left == {(1, 0), (2, 0), (3, 0), (3, 2)}


def test_a_crash_without_anything_unforced_changes_nothing():
    disk = disk_of(1, 1, hard_state=HardState(1, "n1", 2))
    disk.crash()
    assert len(disk.entries) == 2 and disk.hard_state == HardState(1, "n1", 2)


def test_a_crash_takes_the_open_batch_of_the_store_back():
    disk = disk_of()
    record = KeyValue(b"k", b"v", 2, 2, 1)
    disk.backend.put(b"a", record), disk.backend.set_meta("applied", 5), disk.backend.commit()
    disk.backend.put(b"b", record), disk.backend.set_meta("applied", 6)
    disk.crash()
    assert disk.backend.get(b"b") is None and disk.backend.get_meta("applied") == 5


def test_a_wiped_disk_is_like_new():
    disk = disk_of(1, 1, hard_state=HardState(1, "n1", 2))
    disk.backend.set_meta("applied", 5), disk.backend.commit()
    disk.write(Ready(hard_state=HardState(9)))
    disk.wipe()
    assert (disk.entries, disk.hard_state, disk.pending) == ([], HardState(), [])
    assert disk.backend.get_meta("applied") == 0


@pytest.mark.parametrize("seed", range(20))
def test_a_commit_index_never_speaks_of_a_tail_that_was_to_be_replaced(seed):
    """A follower with 2@1 3@1 takes 2@2 3@2 and the news that 3 is committed, and crashes while
    it saves. If the commit index were kept and the entries were not, it would apply 2@1 and 3@1."""
    disk = disk_of(1, 1, 1, seed=seed, hard_state=HardState(1, None, 1))
    disk.write(Ready(hard_state=HardState(2, None, 3), entries=entries_of(1, 2, 2)[1:]))
    disk.crash()
    member = Member("n3")
    raft = type(member.raft)
    again = raft(
        "n3", member.raft.conf, member.raft.config, Random(1), lambda e: None,
        disk.hard_state, tuple(disk.entries),
    )  # fmt: skip
    committed = again.log.entries[: again.log.committed]
    assert [e.term for e in committed] in ([1], [1, 2, 2])


@pytest.mark.parametrize("given", [0.1, (0.1, 0.1)])
def test_a_time_for_fsyncs_may_be_a_number_or_a_pair(given):
    assert Cluster(3, fsync_s=given).nodes["n1"].fsync_s == (0.1, 0.1)


@pytest.mark.parametrize("bad", [(-1, 0), (0.2, 0.1), (0.1,), "fast", float("inf"), None])
def test_a_time_for_fsyncs_that_makes_no_sense(bad):
    with pytest.raises(ValueError, match="fsync_s is .shortest, longest. in seconds"):
        Cluster(3, fsync_s=bad)


# In a cluster -------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_promises_leave_after_the_save_that_they_speak_of(seed):
    """Votes and acknowledgements are sent when their Saved record stands in the trace."""
    cluster = Cluster(3, seed=seed, fsync_s=(0.01, 0.05))
    client = cluster.client(cluster.wait_for_leader())
    for k in range(5):
        client.put("k", str(k))
    cluster.crash(cluster.leader)
    cluster.wait_for_leader()
    saved: dict = {name: Saved(0, None, 0) for name in cluster.nodes}
    last = dict.fromkeys(cluster.nodes, 0)
    for record in cluster.trace.of(Saved, Sent):
        name, event = record.node, record.event
        if isinstance(event, Saved):
            saved[name] = event
            last[name] = event.last or last[name]
            continue
        match event.message:
            case RequestVote(term=term, pre=False):
                assert (saved[name].term, saved[name].vote) == (term, name)
            case VoteResponse(term=term, granted=True, target=candidate, pre=False):
                assert (saved[name].term, saved[name].vote) == (term, candidate)
            case AppendResponse(match=match, rejected=0):
                assert match <= last[name]


def test_a_crash_before_the_fsync_ends_takes_the_vote_back():
    cluster = Cluster(3, seed=1, fsync_s=1.0)
    cluster.run_until(lambda c: any(node.vote for node in c.nodes.values()))
    name = next(name for name, node in cluster.nodes.items() if node.vote)
    torn = set()
    for seed in range(6):
        twin = cluster.fork()
        twin._hosts[name].disk._rng = Random(seed)
        twin.crash(name)
        torn.add((twin.nodes[name].term, twin.nodes[name].vote))
        assert all(r.event.message.pre for r in twin.trace.of(Sent, node=name))
    assert torn == {(0, None), (1, name)}


def test_a_promise_of_a_term_that_was_never_saved_outlives_the_crash():
    """A node answers its first heartbeat, crashes before the term is saved, and is asked for a vote
    at once: the leader that it answered still reads by lease, so nobody else may be elected."""
    cluster = Cluster(3, seed=1, config=RaftConfig.etcd(lease_reads=True, max_election_ticks=10))
    cluster.isolate("n3")
    old, new = cluster.wait_for_leader(), "n1"
    assert old == "n2"
    cluster.client(old).put("k", "old")
    cluster.run(0.3)
    cluster.cut(new, old)
    cluster.run(0.75)
    cluster.heal()
    cluster.cut(new, old)
    cluster.cut(new, "n3")
    cluster.disk("n3").fsync_s = 0.2
    cluster.run_until(lambda c: c.nodes["n3"].term)
    cluster.run(0.006)  # the answer is there, the term is not saved
    cluster.crash("n3")
    assert not cluster.nodes["n3"].term
    cluster.heal()
    cluster.isolate(old)
    cluster.restart("n3")
    with pytest.raises(TimedOut):
        cluster.run_until(lambda c: c.nodes[new].role == "leader", 0.6)
    assert cluster.client("n3").put("k", "new").header.revision == 3


@pytest.mark.parametrize("seed", range(12))
def test_crashes_at_any_instant_lose_nothing_that_was_committed(seed):
    """With slow disks nearly every crash tears a write; the promises are checked all along."""
    rng = Random(seed)
    cluster = Cluster(3, seed=seed, fsync_s=(0.01, 0.2))
    for k in range(25):
        cluster.run(rng.random() * 0.8)
        for name, node in cluster.nodes.items():
            if node.alive:
                cluster.submit(Put(b"k", b"%d" % k), name)
        name = f"n{rng.randint(1, 3)}"
        if cluster.nodes[name].alive:
            cluster.run(rng.random() * 0.2)
            cluster.crash(name)
            cluster.run(rng.random())
            cluster.restart(name)
    cluster.run(10)
    assert len({tuple(node.log) for node in cluster.nodes.values()}) == 1
    assert any(cluster.trace.of(Committed))


@pytest.mark.parametrize("seed", range(4))
def test_a_restarted_node_goes_on_where_its_store_was(seed):
    cluster = Cluster(3, seed=seed)
    client = cluster.client(cluster.wait_for_leader())
    for k in range(4):
        client.put("k", str(k))
    cluster.run(1)
    cluster.crash("n2")
    assert cluster.nodes["n2"].applied == 5
    cluster.restart("n2")
    started = [r for r in cluster.trace.of(Started, node="n2")][-1].event
    assert (started.applied, started.revision, started.boot, started.commit) == (5, 5, 2, 5)
    start = len(cluster.trace)
    cluster.run(2)
    again = [r.event.index for r in cluster.trace.of(Applied, node="n2", start=start)]
    assert all(index > 5 for index in again), "nothing is applied twice"
    assert cluster.client("n2").get("k").kv.version == 4


def test_the_trace_tells_how_much_the_disk_kept():
    cluster = Cluster(3, seed=1)
    cluster.client(cluster.wait_for_leader()).put("k", "v")
    cluster.run(1)
    cluster.crash("n1")
    crashed = cluster.trace[-1].event
    assert isinstance(crashed, Crashed) and crashed.last == 2
    assert "the log up to 2" in str(crashed)
    cluster.wipe("n1")
    assert isinstance(cluster.trace[-1].event, Wiped) and cluster.nodes["n1"].log == ()


def test_a_wiped_voter_comes_back_empty_and_the_cluster_lives():
    cluster = Cluster(3, seed=1, config=RaftConfig())  # whoever stands, wins
    leader = cluster.wait_for_leader()
    client = cluster.client(leader)
    client.put("k", "v")
    cluster.run(1)
    wiped = next(name for name in cluster.nodes if name != leader)
    cluster.wipe(wiped), cluster.restart(wiped)
    start = len(cluster.trace)
    cluster.run(5)
    assert len(cluster.trace) - start < 2000, "no storm of messages"
    client.put("k", "w")
    other = next(name for name in cluster.nodes if name not in (leader, wiped))
    cluster.campaign(other)  # the next leader fills it
    cluster.run(3)
    assert cluster.client(wiped).get("k", serializable=True).text == "w"
    assert not list(cluster.trace.of(Truncated))


# Slow disks ---------------------------------------------------------------------------------


def test_a_disk_can_become_slow_while_the_cluster_runs():
    cluster = Cluster(3, seed=1)
    leader = cluster.wait_for_leader()
    cluster.run(1)
    cluster.disk(leader).fsync_s = 0.5
    assert (cluster.disk(leader).fsync_s, cluster.nodes[leader].fsync_s) == ((0.5, 0.5),) * 2
    cluster.submit(Put(b"k", b"v"), leader)
    assert cluster.disk(leader).saving and "saving" in repr(cluster.disk(leader))
    cluster.run(0.4)
    assert cluster.disk(leader).saving
    assert cluster.nodes[leader].commit == 2, "the others' disks are a majority"
    assert cluster.nodes[leader].applied == 1
    cluster.run(0.2)
    assert cluster.nodes[leader].applied == 2 and not cluster.disk(leader).saving


@pytest.mark.parametrize("bad", [-1, (2, 1), "slow", None, float("nan")])
def test_a_disk_that_no_one_could_build(bad):
    cluster = Cluster(3, seed=1)
    before = list(cluster.trace.lines())
    with pytest.raises(ValueError, match="fsync_s is .shortest, longest. in seconds"):
        cluster.disk("n1").fsync_s = bad
    with pytest.raises(AttributeError, match="a disk has an fsync_s, but no 'size'"):
        cluster.disk("n1").size = 5
    with pytest.raises(ValueError, match="there is no node 'n4'"):
        cluster.disk("n4")
    assert list(cluster.trace.lines()) == before
