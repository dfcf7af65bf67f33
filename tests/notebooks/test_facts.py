"""What the lessons' prose says of their seeded runs is so."""

from __future__ import annotations

from statistics import median

import pytest

from kvlearn import Cluster, RaftConfig
from kvlearn.course.exercises.election import late_candidate
from kvlearn.events import (
    AskedPreVote,
    BecameCandidate,
    BecameFollower,
    BecameLeader,
    Committed,
    VoteGranted,
)


def test_lesson_00_the_leader_is_n4_and_n3_follows_it_after_a_second_or_two():
    cluster = Cluster(5, seed=7)
    client = cluster.client()
    assert client.put("colour", "blue").header.revision == 2
    assert cluster.leader == "n4"
    cluster.crash("n4")
    crashed_s, start = cluster.now, len(cluster.trace)
    assert client.get("colour").text == "blue"
    answered_s = cluster.now
    assert cluster.leader == "n3" and 1.0 < cluster.now - crashed_s < 2.5
    assert len(cluster.nodes["n4"].log) < len(cluster.nodes["n3"].log)
    # The tables and the picture end before the next put; the picture begins just before n3 asks.
    (asked,) = cluster.trace.of(AskedPreVote, start=start)
    (stood,) = cluster.trace.of(BecameCandidate, start=start)
    (won,) = cluster.trace.of(BecameLeader, start=start)
    committed = next(cluster.trace.of(Committed, node="n3", start=won.seq))
    assert won.time - 0.02 < asked.time < stood.time < committed.time
    assert committed.time < won.time + 0.01 < answered_s
    assert [client.put("colour", text).header.revision for text in ("green", "red")] == [3, 4]
    assert list(client.history("colour").create_revision) == [2, 2, 2]


def test_lesson_02_who_drew_the_shortest_timeout_leads_first():
    cluster = Cluster(5, seed=3, config=RaftConfig())
    leader = cluster.wait_for_leader()
    started = [r for r in cluster.trace.of(BecameFollower) if r.event.reason == "STARTED"]
    assert min(started, key=lambda r: r.event.timeout_ticks).node == leader == "n3"


def test_lesson_02_the_split_vote():
    cluster = Cluster(5, seed=8, config=RaftConfig.paper())
    assert cluster.wait_for_leader() == "n3"
    cluster.client().put("colour", "blue")
    cluster.run(0.5)
    cluster.crash("n3")
    start = len(cluster.trace)
    assert cluster.wait_for_leader() == "n4" and cluster.nodes["n4"].term == 3
    stood = [(r.node, r.event.term) for r in cluster.trace.of(BecameCandidate, start=start)]
    assert stood == [("n1", 2), ("n2", 2), ("n4", 3)]
    times = [r.time for r in cluster.trace.of(BecameCandidate, start=start)]
    assert round(1000 * (times[1] - times[0]), 1) == 1.1
    votes = {(r.node, r.event.candidate) for r in cluster.trace.of(VoteGranted, start=start)}
    assert {("n4", "n1"), ("n5", "n2")} <= votes
    assert all(0.846 < time < 0.862 for time in times[:2])  # what the space-time diagram shows


def test_lesson_02_a_paused_leader_steps_down_when_it_goes_on():
    cluster = Cluster(5, seed=8, config=RaftConfig())
    old = cluster.wait_for_leader()
    cluster.run(1)
    cluster.pause(old)
    cluster.run(3)
    assert cluster.leader not in (None, old)
    start = len(cluster.trace)
    cluster.resume(old)
    cluster.run(0.05)
    reasons = [r.event.reason for r in cluster.trace.of(BecameFollower, node=old, start=start)]
    assert reasons == ["HIGHER_TERM", "LEADER_HEARD"]


def test_lesson_02_in_a_partition_two_nodes_lead_in_two_terms():
    cluster = Cluster(5, seed=8, config=RaftConfig())
    old = cluster.wait_for_leader()
    cluster.run(1)
    others = [name for name in cluster.nodes if name != old]
    cluster.partition([old, others[0]], others[1:])
    cluster.run(3)
    assert sorted(n.term for n in cluster.nodes.values() if n.role == "leader") == [1, 2]
    cluster.heal()
    cluster.run(0.5)
    assert [n.term for n in cluster.nodes.values() if n.role == "leader"] == [2]


def test_lesson_02_without_spread_elections_collide():
    def downtimes(high):
        config = RaftConfig.paper(election_ticks=150, max_election_ticks=high)
        for seed in range(60):
            cluster = Cluster(5, seed=seed, config=config, invariants=False)
            cluster.wait_for_leader(timeout_s=60)
            cluster.run(0.5 + seed * 0.0007)
            cluster.crash(cluster.leader)
            crashed_s = cluster.now
            cluster.wait_for_leader(timeout_s=60)
            yield cluster.now - crashed_s

    none, little, enough, more = (list(downtimes(high)) for high in (150, 155, 175, 300))
    assert median(none) > 1.5 * median(little) > 1.5 * 1.5 * median(enough)
    assert abs(median(enough) - median(more)) < 0.03
    assert sum(time > 0.35 for time in none) > 30 and sum(time > 0.35 for time in enough) < 6


def test_lesson_02_the_candidate_of_the_exercise():
    cluster = late_candidate()
    lengths = {name: len(node.log) for name, node in cluster.nodes.items()}
    assert lengths == {"n1": 3, "n2": 3, "n3": 3, "n4": 2, "n5": 1}
    assert cluster.nodes["n4"].role == "candidate" and cluster.nodes["n3"].role == "down"


@pytest.mark.parametrize("config", [RaftConfig(), None], ids=["paper", "default"])
def test_lesson_02_a_sick_follower_deposes_a_healthy_leader_but_for_pre_votes(config):
    cluster = Cluster(5, seed=3, config=config)
    leader = cluster.wait_for_leader()
    away = next(name for name in cluster.nodes if name != leader)
    cluster.run(1)
    cluster.isolate(away)
    cluster.run(30)
    assert cluster.nodes[leader].term == 1
    assert cluster.nodes[away].term == 1 if config is None else cluster.nodes[away].term > 15
    cluster.heal()
    cluster.run(5)
    led = [r.node for r in cluster.trace.of(BecameLeader)]
    assert led == ([leader] if config is None else [leader, away])
    assert cluster.leader == led[-1]
