"""What lesson 04 says of its runs is so."""

from __future__ import annotations

import pytest

from kvlearn import Cluster, Raft
from kvlearn.course import blank, check
from kvlearn.course.comparison import compare
from kvlearn.course.exercises import safety
from kvlearn.course.mutants import MUTANTS, CommitsOldTerms, VotesForStaleLogs
from kvlearn.errors import Violation
from kvlearn.events import BecameLeader, Committed, Refused, Truncated
from kvlearn.kv.requests import Put
from kvlearn.sim.script import play
from kvlearn.viz import lamps


@pytest.fixture
def moment():
    """The lesson's cluster at (c), and the write whose client waits."""
    cluster = Cluster(5, seed=8, config=safety.ONE_BY_ONE)
    return cluster, safety.figure_8(cluster)


def entries(cluster):
    return {name: [str(entry.id) for entry in node.log] for name, node in cluster.nodes.items()}


def test_the_lesson_s_cells_are_figure_8(moment):
    cluster = Cluster(5, seed=8, config=safety.ONE_BY_ONE)
    cluster.campaign("n1")
    cluster.run(0.3)
    cluster.partition(["n1", "n2"], ["n3", "n4", "n5"])
    cluster.submit(Put(b"colour", b"blue"), "n1")
    cluster.run(0.05)
    a = ["1@1", "2@1"]
    assert entries(cluster) == {"n1": a, "n2": a, "n3": a[:1], "n4": a[:1], "n5": a[:1]}
    assert cluster.leader == "n1" and cluster.nodes["n1"].commit == 1
    cluster.campaign("n5")
    cluster.run_until(lambda c: c.nodes["n5"].role == "leader")
    (won,) = cluster.trace.of(BecameLeader, node="n5")
    assert won.event.term == 2 and set(won.event.votes) == {"n3", "n4", "n5"}
    cluster.isolate("n5")
    cluster.run(0.01)
    cluster.crash("n5")
    assert entries(cluster) == {"n1": a, "n2": a, "n3": a[:1], "n4": a[:1], "n5": ["1@1", "2@2"]}
    cluster.partition(["n1", "n2", "n3"], ["n4", "n5"])
    cluster.run_until(lambda c: c.nodes["n1"].role == "follower")
    cluster.campaign("n1")
    safety.counted(cluster)
    assert list(cluster.trace.lines()) == list(moment[0].trace.lines())


def test_at_c_a_majority_has_blue_and_its_leader_may_not_commit_it(moment):
    cluster, blue = moment
    assert entries(cluster) == {
        "n1": ["1@1", "2@1", "3@3"],
        "n2": ["1@1", "2@1", "3@3"],
        "n3": ["1@1", "2@1"],
        "n4": ["1@1"],
        "n5": ["1@1", "2@2"],
    }
    won = list(cluster.trace.of(BecameLeader, node="n1"))[-1]
    assert won.event.term == 3 and set(won.event.votes) == {"n1", "n2", "n3"}
    refused = list(cluster.trace.of(Refused, node="n1"))[-1]
    assert refused.event.reason == "COMMIT_OLD_TERM" and "2@1 is on a majority" in str(refused)
    assert cluster.nodes["n1"].commit == 1 and not cluster.operation(blue).done
    assert not [packet for packet in cluster.in_flight if packet.message.target == "n3"]


def test_d_only_n5_can_win_and_blue_is_overwritten(moment):
    cluster, blue = moment
    start = len(cluster.trace)
    safety.unlucky_end(cluster)
    refusals = cluster.trace.of(Refused, node="n5", start=start)
    votes = [r for r in refusals if r.event.action == "vote"]
    assert [(r.event.peer, r.event.reason) for r in votes] == [
        ("n4", "VOTE_LOG_BEHIND"),
        ("n3", "VOTE_LOG_BEHIND"),
    ]
    assert cluster.leader == "n5"
    (dropped,) = cluster.trace.of(Truncated, start=start)
    assert dropped.node == "n3" and [str(entry) for entry in dropped.event.dropped] == ["2@1"]
    cluster.restart("n1")
    cluster.restart("n2")
    cluster.run(2.0)
    assert not any("blue" in str(node.log) for node in cluster.nodes.values())
    assert cluster.operation(blue).answer is None  # no client was told ok
    told = {lamp.state for lamp in lamps(cluster)}
    assert "kept" in told and "broken" not in told, "what is thrown away was never promised"


def test_e_one_entry_of_the_own_term_commits_blue_as_well(moment):
    cluster, blue = moment
    start = len(cluster.trace)
    cluster.run(0.5)
    first = next(cluster.trace.of(Committed, node="n1", start=start))
    assert str(first) == "n1 commits entries 2 to 3, up to 3@3"
    assert str(cluster.operation(blue).answer) == "ok"
    cluster.crash("n1")
    cluster.heal()
    cluster.restart("n5")
    for _ in range(4):
        cluster.campaign("n5")
        cluster.run(0.1)
        assert cluster.leader != "n5"


def test_after_e_the_two_crashes_leave_nobody_who_could_overwrite_it(moment):
    """Task 3 of the panel: with n1 and n2 down only n3 can lead, and it has blue."""
    cluster, _ = moment
    cluster.run(0.5)
    safety.unlucky_end(cluster)
    assert cluster.leader == "n3" and "2@1" in entries(cluster)["n5"]


def test_the_mutant_tells_the_client_ok_and_loses_it():
    different = compare(safety.FIGURE_8, CommitsOldTerms)
    assert "may not commit in term 3: 2@1 is on a majority" in different.first[0]
    assert different.first[1].strip() == "n1 commits entry 2, up to 2@1"
    right = [other for one, other in different.rows if one != other]
    left = [one for one, other in different.rows if one != other]
    assert any("c1 gets ok from n1" in line for line in right)
    assert not any("gets ok" in line for line in left)
    assert "Leader Completeness is broken" in right[-1] and "every promise is kept" in left[-1]
    ends = [
        line for line in play(safety.FIGURE_8).text.splitlines() if line.startswith("n3: 1@1 2")
    ]
    assert ends == ["n3: 1@1 2@2 3@4 |"]


def test_the_mutant_breaks_the_lesson_s_own_run_too():
    cluster = Cluster(5, seed=8, config=safety.ONE_BY_ONE, raft=CommitsOldTerms)
    blue = safety.figure_8(cluster)
    cluster.run(0.01)
    assert str(cluster.operation(blue).answer) == "ok"
    with pytest.raises(Violation, match="Leader Completeness"):
        safety.unlucky_end(cluster)


def test_with_the_usual_messages_the_own_entry_travels_along():
    """Why the lesson has one entry a message: with 64 the no-op reaches n3 together with blue."""
    story = safety.FIGURE_8.replace(" max_entries_per_message=1", "")
    told = play(story).text
    assert "n1 commits entries 2 to 3, up to 3@3" in told and "may not commit" not in told


def test_the_culprit_s_story_is_told_by_that_one_broken_rule_only():
    told = str(safety.culprit())
    assert "CountsMinority" not in told
    suspects = [mutant for mutant in MUTANTS.values() if mutant.rule in safety.SUSPECTS]
    assert {mutant.rule for mutant in suspects} == set(safety.SUSPECTS)
    want = play(safety.CULPRIT, MUTANTS["CountsMinority"]).text
    same = [mutant.rule for mutant in suspects if play(safety.CULPRIT, mutant).text == want]
    assert same == ["quorum_index"]
    assert "saved term 1, vote n1, entry 2" in told.partition("commits entry 2")[0]


def test_the_old_majority_becomes_committed_with_the_next_entry():
    bench = safety.old_majority()
    leader = bench.hosts["n1"].node.raft
    assert leader.term == 5 and leader.log.committed == 1
    assert [entry.term for entry in leader.log.entries] == [1, 3, 4, 4, 5]
    bench.stabilize()
    assert leader.log.committed == 5


# The likely wrong answers ---------------------------------------------------------------------

BASE = blank(Raft, "may_commit")


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (lambda self, index: True, "But it was asked about entry 2, which is not"),
        (lambda self, index: self.log.last.term == self.term, "and that is of its own term"),
        (lambda self, index: False, "answers no client"),
        (lambda self, index: index == self.log.last_index, "decides otherwise"),
    ],
    ids=["always", "has an own entry", "never", "only the last"],
)
def test_a_wrong_commit_rule_is_told_what_it_did(rule, said):
    judgement = check(type("Mine", (BASE,), {"may_commit": rule}), "safety/may_commit")
    assert judgement.ok is False and said in " ".join(str(judgement).split())


@pytest.mark.parametrize(
    ("answer", "exercise"),
    [
        (["n2", "n5"], "safety/who-can-lead"),
        (["n2", "n3", "n5"], "safety/who-can-lead"),
        ("n2", "safety/who-can-lead"),
        (4, "safety/committed"),
        (5, "safety/committed"),
        ("is_up_to_date", "safety/broken-rule"),
        ("own_match", "safety/broken-rule"),
        (Raft.may_commit, "safety/broken-rule"),
        ("log_matches", "safety/broken-rule"),
    ],
)
def test_the_likely_mistakes_get_a_hint(answer, exercise):
    judgement = check(answer, exercise)
    assert judgement.ok is False and "Think once more" in judgement.why[0]
    assert not judgement.why[0].startswith("Think once more")


@pytest.mark.parametrize("name", ["Raft.quorum_index", "quorum_index", Raft.quorum_index])
def test_the_broken_rule_may_be_named_in_any_form(name):
    assert check(name, "safety/broken-rule").ok


def test_a_rule_that_is_no_suspect_is_told_so():
    assert "is none of" in str(check("may_vote_for", "safety/broken-rule"))


def test_the_witness_needs_a_committed_entry_that_somebody_missed():
    def nothing_missed(cluster):
        cluster.wait_for_leader()
        cluster.campaign(next(name for name in cluster.nodes if name != cluster.leader))

    judgement = check(nothing_missed, "safety/witness")
    assert judgement.ok is False and VotesForStaleLogs.__name__ in judgement.title
