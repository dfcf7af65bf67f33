"""What lesson 03 says of its runs is so."""

from __future__ import annotations

import pytest

from kvlearn import Cluster, Raft, RaftConfig
from kvlearn.course import blank, check
from kvlearn.course.comparison import compare
from kvlearn.course.exercises.replication import (
    FIGURE_7,
    TellsAll,
    figure_7,
    new_leader,
)
from kvlearn.course.mutants import TruncatesAlways, TrustsAnyPrev
from kvlearn.events import Committed, Received, Refused, Returned, Truncated
from kvlearn.kv.requests import Put
from kvlearn.raft.config import RaftConfig as Config
from kvlearn.raft.messages import AppendEntries, AppendResponse
from kvlearn.sim.script import play


@pytest.fixture
def scene():
    """The lesson's cluster, with n1 cut off and both sides written to."""
    cluster = Cluster(5, seed=12, config=RaftConfig())
    assert cluster.wait_for_leader() == "n1"
    cluster.run(0.5)
    cluster.client().put("a", "1")
    cluster.run(0.012)
    cluster.isolate("n1")
    for letter in "wxyz":
        cluster.submit(Put(letter.encode(), b"9"), "n1")
    cluster.run_until(lambda c: c.leader == "n2")
    client = cluster.client("n2")
    client.put("b", "2")
    client.put("c", "3")
    cluster.run(0.2)
    return cluster


def entries(cluster, name):
    return [str(entry.id) for entry in cluster.nodes[name].log]


def test_a_put_is_answered_after_two_acknowledgements_and_the_commit_is_told_at_once():
    cluster = Cluster(5, seed=12, config=RaftConfig())
    cluster.wait_for_leader()
    cluster.run(0.5)
    asked_s, start = cluster.now, len(cluster.trace)
    cluster.client().put("a", "1")
    cluster.run(0.012)
    (answered,) = cluster.trace.of(Returned, start=start)
    acks = [
        r for r in cluster.trace.of(Received, node="n1", start=start)
        if isinstance(r.event.message, AppendResponse)
    ]  # fmt: skip
    assert sum(r.time <= answered.time for r in acks) == 2
    # The picture ends where all know: it shows the entry, both ways, and its commit on all five.
    committed = {r.node for r in cluster.trace.of(Committed, start=start) if r.event.index == 2}
    assert committed == set(cluster.nodes) and cluster.now - asked_s < 0.025


def test_two_leaders_have_different_entries_in_the_same_places(scene):
    assert entries(scene, "n1") == ["1@1", "2@1", "3@1", "4@1", "5@1", "6@1"]
    assert entries(scene, "n2") == ["1@1", "2@1", "3@2", "4@2", "5@2"]
    assert scene.nodes["n1"].role == scene.nodes["n2"].role == "leader"
    assert scene.nodes["n1"].commit == 2 and scene.nodes["n2"].commit == 5
    asked = [scene.operation(number) for number in range(2, 6)]
    assert [str(op.request.key, "utf-8") for op in asked] == list("wxyz")
    assert not any(op.done for op in asked)


def test_after_healing_the_old_leader_throws_four_entries_away(scene):
    start = len(scene.trace)
    scene.heal()
    scene.run(0.3)
    (dropped,) = scene.trace.of(Truncated, start=start)
    assert dropped.node == "n1" and len(dropped.event.dropped) == 4
    assert all(entries(scene, name) == entries(scene, "n2") for name in scene.nodes)


def test_without_n2_the_longest_log_is_still_not_elected(scene):
    scene.crash("n2")
    scene.heal()
    scene.run(10.0)
    assert scene.leader in ("n3", "n4", "n5")
    scene.restart("n2")
    scene.run(2.0)
    assert {tuple(entries(scene, name)) for name in scene.nodes} == {tuple(entries(scene, "n3"))}


def test_a_lost_append_is_noticed_at_the_answer_to_a_heartbeat(scene):
    scene.heal()

    def appends(cluster):
        flying = [p for p in cluster.in_flight if isinstance(p.message, AppendEntries)]
        return [p for p in flying if p.message.source == "n2" and p.message.target == "n1"]

    scene.run_until(appends)
    (first,) = appends(scene)
    scene.drop(first)
    lost_s = scene.now
    scene.run_until(appends)
    assert 0.08 < scene.now - lost_s < 0.13  # a heartbeat later


def test_figure_7_takes_one_refusal_of_each_that_does_not_fit():
    bench = figure_7()
    start = len(bench.trace)
    bench.campaign("n1")
    bench.stabilize()
    refused = [r for r in bench.trace.of(Refused, start=start) if r.event.action == "append"]
    assert [r.node for r in refused] == ["n2", "n3", "n6", "n7"]
    assert [r for r in bench.trace[start:] if "refuses n1's entries" in str(r)] == refused
    gone = {r.node: len(r.event.dropped) for r in bench.trace.of(Truncated, start=start)}
    assert gone == {"n4": 1, "n5": 2, "n6": 2, "n7": 8}
    logs = {name: [e.term for e in host.disk.entries] for name, host in bench.hosts.items()}
    assert set(map(tuple, logs.values())) == {(1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 8)}


def test_figure_7_is_that_of_the_transcripts():
    told = play(FIGURE_7 + "log\n").text
    assert "n7: | 1@1 2@1 3@1 4@2 5@2 6@2 7@3 8@3 9@3 10@3 11@3" in told


def test_the_worst_two_in_a_cluster_of_three():
    told = play(
        "cluster 3\nlog n1 1 1 1 4 4 5 5 6 6 6 term=7 commit=9\nlog n2 1 1 1 4 4 4 4 term=7\n"
        "log n3 1 1 1 2 2 2 3 3 3 3 3 term=7\ncampaign n1\nstabilize\n"
    ).text
    for line in ("No 10, try 10@3", "App 3@1→11@8", "App 10@6→11@8", "App 5@4→11@8"):
        assert line in told


STORY = """
cluster 3
log n1 1 2
log n2 1 2
log n3 1 1 term=2
campaign n1
stabilize
"""


def test_without_the_check_nothing_repairs_it():
    different = compare(STORY, TrustsAnyPrev)
    assert "Log Matching is broken" in str(different)
    bench = play(STORY, TrustsAnyPrev).cluster
    for _ in range(30):
        bench.tick("n1")
        bench.stabilize()
    assert [str(e.id) for e in bench.hosts["n3"].disk.entries] == ["1@1", "2@1", "3@3"]


LATE = """
cluster 3
quiet
campaign n1
stabilize
partition n1 n2
put n1 a=1
ready n1
duplicate n1→n2 App 1@1→2@1
deliver n1→n2
put n1 b=2
ready n1
deliver n1→n2
ready n2
loud
deliver n2→n1
ready n1
deliver n1→n2 App 1@1→2@1
quiet
crash n1
heal
campaign n2
stabilize
loud
log
"""


def test_without_restraint_an_acknowledged_write_is_lost():
    different = compare(LATE, TruncatesAlways)
    assert different.first[1].strip() == "n2 drops 2@1 3@1: the leader has 2@1 there"
    told = str(different)
    assert told.index("c1 gets ok from n1 at revision 3") < told.index("n2 drops 2@1 3@1")
    assert "n2: 1@1 2@1(put a=1) 3@2 |" in told and "Leader Completeness is broken" in told


def test_the_new_leader_of_the_exercise_begins_behind_4_4():
    bench = new_leader()
    leader = bench.hosts["n1"].node.raft
    assert leader.role == "leader" and leader.term == 5 and str(leader.log.last) == "5@5"
    assert {peer.next for peer in leader.progress.values()} == {5}
    assert not bench.pool


# The likely wrong answers ---------------------------------------------------------------------

BASE = blank(Raft, "log_matches")


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (lambda self, prev: True, "Log Matching"),
        (
            lambda self, prev: prev.index <= self.log.last_index,
            "another term is another entry",
        ),
        (
            lambda self, prev: (self.log.term(prev.index) or 0) >= prev.term,
            "Log Matching",
        ),
        (lambda self, prev: prev == self.log.last, "0@0 always fits"),
        (lambda self, prev: prev.index and self.log.has(prev), "0@0 always fits"),
    ],
    ids=["always", "number only", "newer is good", "end only", "not at the start"],
)
def test_a_wrong_consistency_check_is_told_what_it_ignored(rule, said):
    mine = type("Mine", (BASE,), {"log_matches": rule})
    judgement = check(mine, "replication/log_matches")
    assert judgement.ok is False and said in " ".join(str(judgement).split())


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (lambda self, peer: self.progress[peer].match, "Leader Completeness"),
        (
            lambda self, peer: min(self.progress[peer].next, self.log.committed),
            "State Machine",
        ),
        (lambda self, peer: 0, "Too little is safe"),
    ],
    ids=["match", "next", "nothing"],
)
def test_a_wrong_heartbeat_is_told_what_it_did(rule, said):
    mended = type("Mended", (TellsAll,), {"commit_for": rule})
    judgement = check(mended, "replication/commit_for")
    assert judgement.ok is False and said in str(judgement)


def test_the_heartbeat_that_tells_all_breaks_state_machine_safety():
    assert check(TellsAll, "replication/commit_for").promise == "State Machine Safety"


@pytest.mark.parametrize("answer", [["n3", "n4", "n5"], "n3", "n4", "n5", []])
def test_who_refuses_has_a_hint_for_each_likely_mistake(answer):
    judgement = check(answer, "replication/who-refuses")
    assert judgement.ok is False and not judgement.why[0].startswith("Think once more")


@pytest.mark.parametrize("answer", [7, 4, 9, 2])
def test_what_is_committed_has_a_hint_for_each_likely_mistake(answer):
    judgement = check(answer, "replication/commit")
    assert judgement.ok is False and not judgement.why[0].startswith("Think once more")


def test_the_bounds_in_the_table_are_the_configuration_s():
    assert (Config().max_entries_per_message, Config().max_inflight) == (64, 256)
