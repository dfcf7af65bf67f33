"""What clients and operators rely on: histories that must be acquitted, and that must not."""

import pytest

from kvlearn import Cluster, RaftConfig
from kvlearn.check.service import (
    LEADER_ACTIVITY,
    LEADER_STABILITY,
    NO_STALE_READ,
    leader_activity,
    leader_stability,
    no_stale_read,
    service,
)
from kvlearn.course.mutants import HelpsDisturbers, LeadsAlone
from kvlearn.events import Invoked, Received, Returned, Started, VoteGranted
from kvlearn.kv.requests import Range
from kvlearn.raft.messages import Heartbeat, RequestVote
from kvlearn.raft.types import ZERO
from kvlearn.sim.script import play
from kvlearn.trace import Trace


def test_a_stale_read_is_seen_and_a_serializable_one_may_be_stale():
    told = play("cluster 1\ntick n1 20\nstabilize\nput n1 a=1\nput n1 a=2\nstabilize").trace
    assert no_stale_read(told).ok
    told.add(9.0, "c2", Invoked(91, "n1", Range(b"a", serializable=True)), None)
    told.add(9.0, "c2", Returned(91, "n1", None, revision=2), None)
    assert no_stale_read(told).ok
    told.add(9.0, "c2", Invoked(90, "n1", Range(b"a")), None)
    told.add(9.0, "c2", Returned(90, "n1", None, revision=2), None)
    assert not no_stale_read(told).ok


@pytest.mark.parametrize("after_s, ok", [(0.85, False), (0.95, True)])
@pytest.mark.parametrize("transfer", [False, True])
def test_a_vote_against_a_leader_that_was_heard(after_s, transfer, ok):
    trace = Trace(0, {"nodes": ["n1", "n2", "n3"]})
    trace.add(0.0, "n2", Started(1, None, (), 0, 0, ("n1", "n2", "n3"), 1), None)
    trace.add(1.0, "n2", Received(Heartbeat("n1", "n2", 1, 0), 1), None)
    asked = RequestVote("n3", "n2", 2, ZERO, False, transfer)
    seq = trace.add(1.0 + after_s, "n2", Received(asked, 2), None)
    trace.add(1.0 + after_s, "n2", VoteGranted(2, "n3", pre=True), seq)
    assert leader_stability(trace, 1.0, 0.1).ok, "a pre-vote promises nothing"
    trace.add(1.0 + after_s, "n2", VoteGranted(2, "n3"), seq)
    assert leader_stability(trace, 1.0, 0.1).ok is (ok or transfer)


def test_what_a_leader_of_an_old_term_says_and_a_vote_that_is_given_again_break_nothing():
    trace = Trace(0, {"nodes": ["n1", "n2", "n3"]})
    trace.add(0.0, "n2", Started(4, None, (), 0, 0, ("n1", "n2", "n3"), 1), None)
    trace.add(1.0, "n2", Received(Heartbeat("n1", "n2", 3, 0), 1), None)
    seq = trace.add(1.1, "n2", Received(RequestVote("n3", "n2", 5, ZERO), 2), None)
    trace.add(1.1, "n2", VoteGranted(5, "n3"), seq)
    assert leader_stability(trace, 1.0, 0.1).ok
    trace.add(1.2, "n2", Received(Heartbeat("n3", "n2", 5, 0), 3), None)
    seq = trace.add(1.3, "n2", Received(RequestVote("n3", "n2", 5, ZERO), 4), None)
    trace.add(1.3, "n2", VoteGranted(5, "n3"), seq)
    assert leader_stability(trace, 1.0, 0.1).ok
    seq = trace.add(1.4, "n2", Received(RequestVote("n1", "n2", 6, ZERO), 5), None)
    trace.add(1.4, "n2", VoteGranted(6, "n1"), seq)
    assert not leader_stability(trace, 1.0, 0.1).ok


def test_the_promises_are_those_of_the_configuration():
    plain, etcd = Cluster(3, seed=1, config=RaftConfig()), Cluster(3, seed=1)
    assert [verdict.promise for verdict in service(plain)] == [NO_STALE_READ]
    promises = [NO_STALE_READ, LEADER_STABILITY, LEADER_ACTIVITY]
    assert [verdict.promise for verdict in service(etcd)] == promises


@pytest.mark.parametrize("seed", range(5))
def test_a_leader_without_a_majority_is_convicted_and_one_that_steps_down_is_not(seed):
    def cut_off(raft):
        cluster = Cluster(3, seed=seed, raft=raft, config=RaftConfig(check_quorum=True))
        leader = cluster.wait_for_leader()
        cluster.run(2)
        cluster.isolate(leader)
        cluster.run(3)
        return cluster, leader

    from kvlearn.raft import Raft

    honest, leader = cut_off(Raft)
    assert service(honest).ok and honest.nodes[leader].role != "leader"
    alone, leader = cut_off(LeadsAlone)
    assert [v.promise for v in service(alone).broken] == [LEADER_ACTIVITY]
    assert alone.nodes[leader].role == "leader"
    assert not leader_activity(alone.trace, 10, 1).ok


@pytest.mark.parametrize("seed", range(5))
def test_a_disturber_deposes_a_leader_only_where_somebody_helps(seed):
    def come_back(raft):
        cluster = Cluster(3, seed=seed, raft=raft, config=RaftConfig(check_quorum=True))
        leader = cluster.wait_for_leader()
        cluster.run(2)
        away = next(name for name in cluster.nodes if name != leader)
        cluster.isolate(away)
        cluster.run(8)
        cluster.heal()
        cluster.run(4)
        return cluster

    from kvlearn.raft import Raft

    assert service(come_back(Raft)).ok
    broken = [v.promise for v in service(come_back(HelpsDisturbers)).broken]
    assert broken in ([], [LEADER_STABILITY]), "it may come back by an answer to the old leader"
