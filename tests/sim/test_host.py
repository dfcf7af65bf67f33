"""The driver of a node: its four lines, its causes, its pauses, crashes and timers."""

import pytest

from kvlearn import Cluster, Links
from kvlearn.events import (
    AskedPreVote,
    Applied,
    BecameCandidate,
    BecameLeader,
    Committed,
    Crashed,
    Dropped,
    Invoked,
    Paused,
    Received,
    Resumed,
    Returned,
    Saved,
    Sent,
    VoteGranted,
)
from kvlearn.kv.requests import Put, Range
from kvlearn.raft import Raft, RaftConfig
from kvlearn.raft.messages import AppendEntries, AppendResponse, VoteResponse


def settled(size: int = 3, seed: int = 1, **about) -> tuple[Cluster, str, list[str]]:
    """A cluster with a leader that everybody has heard of."""
    cluster = Cluster(size, seed=seed, **about)
    leader = cluster.wait_for_leader()
    cluster.run(0.5)
    return cluster, leader, [name for name in cluster.nodes if name != leader]


# The four lines -----------------------------------------------------------------------------


def test_a_put_runs_through_the_house():
    """Invoked, sent on, appended, saved, acknowledged, committed, applied, returned."""
    cluster, leader, (follower, _) = settled()
    start = len(cluster.trace)
    cluster.client(follower).put("k", "v")
    kinds = [type(r.event).__name__ for r in cluster.trace[start:]]
    order = ["Invoked", "Sent", "Received", "Appended", "Saved", "Committed", "Applied", "Returned"]
    places = [kinds.index(kind) for kind in order]
    assert places == sorted(places)
    [back] = [r for r in cluster.trace[start:] if isinstance(r.event, Returned)]
    chain = [type(r.event).__name__ for r in cluster.trace.causes(back.seq)]
    assert chain[-1] in ("Invoked", "BecameLeader") or "Received" in chain


def test_a_leader_sends_before_its_own_disk_has_the_entry():
    cluster, leader, _ = settled(fsync_s=0.05)
    start, asked = len(cluster.trace), cluster.now
    cluster.client(leader).put("k", "v")
    sent = next(
        r
        for r in cluster.trace.of(Sent, node=leader, start=start)
        if isinstance(r.event.message, AppendEntries)
    )
    saved = next(cluster.trace.of(Saved, node=leader, start=start))
    assert sent.seq < saved.seq and sent.time == pytest.approx(asked, abs=1e-4)


def test_a_follower_answers_after_its_disk_has_the_entry():
    cluster, leader, followers = settled(fsync_s=0.05)
    start = len(cluster.trace)
    cluster.client(leader).put("k", "v")
    for name in followers:
        heard = next(cluster.trace.of(Received, node=name, start=start))
        answered = next(
            (
                r
                for r in cluster.trace.of(Sent, node=name, start=heard.seq)
                if isinstance(r.event.message, AppendResponse)
            ),
            None,
        )
        if answered is not None:
            assert answered.time - heard.time == pytest.approx(0.05)


# Causes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_causes_are_true(seed):
    """Each answer is caused by its question, a vote by its request, a commit by what completed
    the majority; and a cause always stands earlier, on the same node or on the wire."""
    cluster = Cluster(3, seed=seed, fsync_s=(0.001, 0.03), links=Links(loss=0.05, duplicate=0.1))
    leader = cluster.wait_for_leader()
    for k in range(40):
        cluster.submit(Put(b"k", b"%d" % k), f"n{k % 3 + 1}")
        cluster.run(0.05)
    cluster.crash(leader)
    cluster.run(5)
    trace = cluster.trace
    for record in trace:
        if record.cause is None:
            continue
        cause = trace[record.cause]
        assert cause.seq < record.seq and cause.time <= record.time
        event = record.event
        match event:
            case Received():
                assert isinstance(cause.event, Sent) and cause.event.packet == event.packet
            case VoteGranted():
                assert cause.event.message.source == event.candidate
            case Committed() | Applied() | BecameLeader():
                assert cause.node == record.node
            case Sent(message=AppendResponse() | VoteResponse() as message):
                assert isinstance(cause.event, Received), f"{record} because of {cause}"
                assert cause.event.message.source == message.target, f"{record}: {cause}"


def test_what_is_answered_after_a_save_is_caused_by_what_came_not_by_the_disk():
    """During a save two messages come, of two senders; each answer points at its own question,
    whether the next Ready is forced to disk or not."""
    cluster, leader, followers = settled(5, fsync_s=0.08)
    cluster.client(leader, timeout_s=20).put("k", "v")
    cluster.run(5)
    answers = {
        r: cluster.trace[r.cause]
        for r in cluster.trace.of(Sent)
        if type(r.event.message).__name__ == "HeartbeatResponse"
    }
    assert len(answers) > 50
    for record, cause in answers.items():
        assert isinstance(cause.event, Received), f"{record} because of {cause}"
        assert cause.event.message.source == record.event.message.target


def test_timers_and_hands_have_no_cause():
    cluster, leader, (follower, _) = settled()
    cluster.campaign(follower)
    stood = list(cluster.trace.of(AskedPreVote))
    assert [record.node for record in stood] == [leader, follower]
    assert [record.cause for record in stood] == [None] * len(stood)
    assert next(cluster.trace.of(Invoked), None) is None


# Pauses -------------------------------------------------------------------------------------


def test_a_paused_node_neither_hears_nor_speaks():
    cluster, leader, (follower, _) = settled()
    cluster.pause(follower)
    start = len(cluster.trace)
    cluster.run(5)
    assert [r for r in cluster.trace[start:] if r.node == follower] == []
    assert cluster.nodes[follower].role == "paused" and cluster.nodes[follower].alive


def test_a_resumed_node_finds_its_mail_in_order():
    cluster, leader, (follower, _) = settled()
    cluster.pause(follower)
    for k in range(5):
        cluster.client(leader).put("k", str(k))
    cluster.resume(follower)
    kinds = [r for r in cluster.trace if r.node == follower]
    after = [r for r in kinds if r.seq > next(cluster.trace.of(Resumed)).seq]
    heard = [r.event.packet for r in after if isinstance(r.event, Received)]
    assert heard == sorted(heard) and len(heard) >= 5
    cluster.run(1)
    assert cluster.nodes[follower].log == cluster.nodes[leader].log
    assert [type(r.event) for r in cluster.trace.of(Paused, Resumed)] == [Paused, Resumed]


def test_the_clock_goes_on_during_a_pause_so_a_long_one_ends_in_an_election():
    """Its clock has jumped when it wakes: it believes that the leader was silent for long."""
    cluster, leader, (follower, _) = settled()
    cluster.pause(follower)
    cluster.run(10)
    cluster.resume(follower)
    stood = [r for r in cluster.trace.of(AskedPreVote) if r.node == follower]
    assert stood and stood[-1].cause == next(cluster.trace.of(Resumed)).seq
    cluster.run(3)
    assert cluster.leader is not None


def test_a_short_pause_disturbs_nobody():
    cluster, leader, (follower, _) = settled()
    start = len(cluster.trace)
    cluster.pause(follower)
    cluster.run(0.3)
    cluster.resume(follower)
    cluster.run(2)
    assert not list(cluster.trace.of(AskedPreVote, BecameCandidate, start=start))


def test_a_paused_leader_is_replaced_and_gives_way_when_it_wakes():
    cluster, leader, _ = settled()
    cluster.pause(leader)
    new = cluster.wait_for_leader()
    assert new != leader
    cluster.resume(leader)
    cluster.run(1)
    assert cluster.nodes[leader].role == "follower" and cluster.leader == new


def test_a_save_that_ends_during_a_pause_counts_from_the_waking_on():
    cluster, leader, _ = settled(fsync_s=0.1)
    start = len(cluster.trace)
    operation = cluster.submit(Put(b"k", b"v"), leader)
    cluster.pause(leader)
    cluster.run(0.5)
    assert not list(cluster.trace.of(Saved, node=leader, start=start))
    cluster.resume(leader)
    cluster.run(1)
    saved = next(cluster.trace.of(Saved, node=leader, start=start))
    assert saved.event.last == 2
    assert cluster.operation(operation).done


def test_a_request_to_a_paused_node_waits():
    cluster, leader, _ = settled()
    cluster.pause(leader)
    operation = cluster.submit(Range(b"k", serializable=True), leader)
    cluster.run(0.5)
    assert not cluster.operation(operation).done
    cluster.resume(leader)
    assert cluster.operation(operation).done


def test_a_paused_node_that_crashes_never_looks_at_its_mail():
    cluster, leader, (follower, _) = settled()
    cluster.pause(follower)
    operation = cluster.submit(Range(b"k"), follower)
    cluster.run(0.5)
    cluster.crash(follower)
    dropped = [r for r in cluster.trace.of(Dropped) if r.node == follower]
    assert len(dropped) >= 4 and {r.event.reason for r in dropped} == {"DOWN"}
    assert "crashed before it answered" in str(cluster.operation(operation).error)
    cluster.restart(follower)
    cluster.run(1)
    assert cluster.nodes[follower].role == "follower"


# Crashes ------------------------------------------------------------------------------------


def test_a_crashed_node_is_silent_and_its_timers_and_saves_are_void():
    cluster, leader, _ = settled(fsync_s=0.05)
    cluster.submit(Put(b"k", b"v"), leader)
    cluster.crash(leader)  # a save is under way, a heartbeat timer is set
    start = len(cluster.trace)
    cluster.run(0.5)
    assert {type(r.event) for r in cluster.trace[start:] if r.node == leader} <= {Dropped}
    cluster.restart(leader)
    cluster.run(0.01)
    assert not list(cluster.trace.of(Saved, node=leader, start=start)), "of the old process"


def test_an_fsync_of_the_process_before_says_nothing_of_the_next():
    cluster, leader, _ = settled(fsync_s=0.5, config=RaftConfig())
    cluster.submit(Put(b"k", b"v"), leader)
    cluster.run(0.3)
    cluster.crash(leader), cluster.restart(leader)
    start, begun = len(cluster.trace), cluster.now
    cluster.campaign(leader)  # its vote for itself has to be saved
    cluster.run(0.6)
    saved = next(cluster.trace.of(Saved, node=leader, start=start))
    assert saved.time - begun == pytest.approx(0.5, abs=1e-4)


def test_a_node_may_crash_and_restart_in_one_instant():
    cluster, leader, _ = settled(fsync_s=0.05)
    cluster.submit(Put(b"k", b"v"), leader)
    for _ in range(3):
        cluster.crash(leader), cluster.restart(leader)
    cluster.run(5)
    assert cluster.nodes[leader].role in ("follower", "leader") and cluster.leader
    assert len(list(cluster.trace.of(Crashed))) == 3


def test_all_nodes_down_is_a_quiet_place():
    cluster, *_ = settled()
    for name in cluster.nodes:
        cluster.crash(name)
    cluster.run(5)
    assert cluster.leader is None and cluster.in_flight == []
    assert cluster.step() == [], "there is nothing left to happen"
    for name in cluster.nodes:
        cluster.restart(name)
    assert cluster.wait_for_leader()


# Timers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "config", [RaftConfig.paper(), RaftConfig(), RaftConfig.etcd()], ids=["paper", "plain", "etcd"]
)
@pytest.mark.parametrize("seed", range(3))
def test_elections_come_when_the_timeout_has_run_out_by_the_nodes_own_clock(config, seed):
    """Neither earlier nor, but for one tick, later."""
    cluster = Cluster(3, seed=seed, config=config, links=Links(loss=1.0))
    cluster.run(40 * config.max_election_ticks * config.tick_s)
    for name in cluster.nodes:
        event = AskedPreVote if config.pre_vote else BecameCandidate
        stood = list(cluster.trace.of(event, node=name))
        assert len(stood) >= 20
        for before, record in zip(stood, stood[1:]):
            waited = before.event.timeout_ticks
            assert record.event.waited_ticks == waited
            assert record.time - before.time == pytest.approx(waited * config.tick_s)


def test_an_idle_cluster_costs_few_events():
    """One lazily armed timer a node: in a second of idling nothing happens but heartbeats."""
    cluster, *_ = settled(5)
    start = cluster.happened
    cluster.run(10)
    beats = 10 / cluster.config.tick_s * 4 * 2  # there and back
    assert cluster.happened - start < beats * 1.2


def test_a_broken_core_is_not_hidden():
    """Anything but a broken promise that comes out of a node ends the run where it happened."""

    class Stumbles(Raft):
        def may_commit(self, index):
            raise ZeroDivisionError("a bug in a student's rule")

    cluster = Cluster(3, seed=1, raft=Stumbles)
    with pytest.raises(ZeroDivisionError, match="student"):
        cluster.run(10)


def test_a_raft_that_lets_its_timeout_pass_does_not_stop_the_clock():
    """A deadline that passed and did not move is asked again a tick later, not for ever at once."""

    class Idle(Raft):
        def campaign(self) -> None:
            pass

    cluster = Cluster(3, seed=1, raft=Idle)
    cluster.run(5.0)
    assert cluster.now == 5.0 and cluster.leader is None
    assert cluster.happened < 3 * 5.0 / cluster.config.tick_s + 10
