"""What lesson 07's prose says of its seeded runs is so."""

from __future__ import annotations

import pytest

from kvlearn import Cluster, RaftConfig
from kvlearn.course import compare
from kvlearn.course.exercises.membership import (
    TWO_STEPS,
    after_removal,
    ask,
    comes_back,
    unplugged,
)
from kvlearn.course.mutants import ChangesAtOnce
from kvlearn.errors import LearnerNotReady, TimedOut, TooManyLearners, Unhealthy
from kvlearn.events import BecameCandidate, BecameLeader, ConfChanged, Refused
from kvlearn.raft.quorum import majority
from kvlearn.raft.types import ConfState
from kvlearn.sim.script import play
from kvlearn.viz import quorums

OLD = ["n1", "n2", "n3"]


def test_majorities_of_three_and_of_five_need_not_meet_and_of_neighbours_must():
    assert "Nobody is in both" in str(quorums(OLD, [*OLD, "n4", "n5"]))
    assert "Both hold n2" in str(quorums(OLD, [*OLD, "n4"]))
    for size in range(1, 30):
        assert majority(size) + majority(size + 1) > size + 1


def test_for_a_while_one_counts_by_four_and_the_others_by_three():
    moves = "conf n1 +n4\nready n1\ndeliver n1→n2\nready n2\ndeliver n2→n1\nready n1\n"
    text = f"cluster 3\nquiet\ncampaign n1\nstabilize\njoin n4\n{moves}loud\nmembers\n"
    told = play(text).text
    assert told.count("counts by (n1 n2 n3)\n") + told.endswith("counts by (n1 n2 n3)") == 3
    assert "n1 counts by (n1 n2 n3 n4)" in told


def test_a_voter_that_is_not_there_makes_the_cluster_fragile():
    future = unplugged()
    assert future.leader == "n3" and str(future.nodes["n3"].conf) == "(n1 n2 n3 n4)"
    assert (future.nodes["n4"].role, future.nodes["n4"].log) == ("outside", ())
    future.crash("n1")
    with pytest.raises(TimedOut):
        future.client().put("colour", "red")
    assert future.leader is None
    reasons = {r.event.reason for r in future.trace if type(r.event).__name__ == "BecameFollower"}
    assert "QUORUM_LOST" in reasons
    future.heal()
    future.run(3)
    assert future.client().put("colour", "green").header.revision == 6
    puts = [str(entry.data) for entry in future.nodes["n4"].log]
    assert any("red" in put for put in puts)  # it was carried out after all


def test_with_the_other_order_nothing_is_lost():
    cluster = unplugged()
    cluster.heal()
    cluster.run(0.5)
    assert cluster.nodes["n4"].log[-1].index == 5
    cluster.crash("n1")
    assert cluster.client("n3").put("colour", "red").header.revision == 5


def test_learners_and_what_is_refused(capsys):
    grown = Cluster(3, seed=2)
    grown.wait_for_leader()
    client = grown.client()
    for number in range(20):
        client.put("k", str(number))
    grown.add_node("n4", learner=True)
    grown.isolate("n4")
    client.add_member("n4", learner=True)
    with pytest.raises(LearnerNotReady, match="n4 has 0 of 22 entries"):
        client.promote_member("n4")
    with pytest.raises(TooManyLearners):
        client.add_member("n5", learner=True)
    grown.heal()
    grown.run(0.5)
    ask(client.promote_member, "n4")
    assert grown.leader != "n1"
    grown.crash("n1")
    grown.run(2)
    with pytest.raises(Unhealthy, match="n1 has not answered"):
        client.add_member("n5")
    grown.wipe("n1")
    assert len(client.remove_member("n1").members) == 3
    grown.add_node("n1", learner=True)
    client.add_member("n1", learner=True)
    grown.run(0.5)
    ask(client.promote_member, "n1")
    assert capsys.readouterr().out.count("✓ <n1, n2, n3, n4 at revision 21>") == 2


def test_a_joint_change_enters_and_leaves_by_itself():
    moved = Cluster(3, seed=5)
    leader = moved.wait_for_leader()
    assert leader == "n3"
    for name in ("n4", "n5"):
        moved.add_node(name)
    moved.run(0.3)
    moved.client().reconfigure(add=["n4", "n5"], remove=["n1", "n2"])
    moved.run(0.3)
    seen = [str(r.event.conf) for r in moved.trace.of(ConfChanged)]
    assert seen == ["(n3 n4 n5)&&(n1 n2 n3) auto-leave"] * 5 + ["(n3 n4 n5)"] * 5
    assert "Both hold" in str(quorums(ConfState(("n3", "n4", "n5"), ("n1", "n2", "n3"))))


def test_three_ways_to_remove_the_leader():
    assert after_removal("leads on") is None
    assert 0.9 < after_removal("steps down") < 2.0
    assert after_removal("hands over first") < 0.1


def test_who_was_removed_disturbs_the_paper_s_raft_and_not_etcd_s():
    paper, etcd = comes_back(RaftConfig()), comes_back(RaftConfig.etcd())
    assert [sum(1 for _ in cluster.trace.of(BecameLeader)) for cluster in (paper, etcd)] == [7, 1]
    assert max(node.term for node in paper.nodes.values()) == 15
    assert {node.term for node in etcd.nodes.values()} == {1}
    assert any(paper.trace.of(BecameCandidate, node="n2"))
    assert str(etcd.nodes["n2"].conf) == "(n1 n2 n3 n4 n5)"  # it still does not know
    denied = [r.event for r in etcd.trace.of(Refused) if r.event.peer == "n2"]
    assert denied and {event.reason for event in denied} <= {"LEADER_ALIVE", "LEADING"}


def test_two_changes_at_once_make_two_leaders():
    told = str(compare(TWO_STEPS, ChangesAtOnce))
    assert "- n1 cannot take a proposal" in told and "+ n1 counts by (n1 n2 n3 n4 n5)" in told
    assert "+ n4 becomes leader in term 2 with the votes of n1 n4 n5" in told
    assert "  n2 becomes leader in term 2 with the votes of n2 n3" in told
    assert "✗ Election Safety is broken" in told and "- ✓ every promise is kept" in told


def test_the_two_lists_of_2015_share_nobody():
    five, three = [*OLD, "n4", "n5"], ["n2", "n3", "n4"]
    pair = (["n1", "n4", "n5"], ["n2", "n3"])
    told = str(quorums(five, three, pair=pair))
    assert told.count("a majority)") == 2 and "Nobody is in both" in told
