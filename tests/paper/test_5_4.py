"""Paper, section 5.4 (safety), claim by claim, in the order of the text."""

from itertools import combinations

import pytest

from kvlearn import Cluster
from kvlearn.events import (
    Applied,
    BecameLeader,
    Committed,
    Refused,
    Sent,
    Truncated,
)
from kvlearn.kv.requests import Put
from kvlearn.raft import EntryID, Raft, RaftConfig
from kvlearn.raft.messages import AppendEntries, AppendResponse, RequestVote
from kvlearn.raft.types import ZERO
from tests.raft.net import Member, Net


class VotesForAnybody(Raft):
    def is_up_to_date(self, last):
        return True


class CommitsOldTerms(Raft):
    def may_commit(self, index):
        return True


def away_and_back(raft: type[Raft]) -> Net:
    """n3 is away while n1 commits two entries; then n1 is away and n3 campaigns."""
    net = Net(3, raft=raft)
    net.elect("n1")
    net.cut("n3")
    for data in ("x", "y"):
        net["n1"].propose(data)
        net.settle()
    net.beat("n1")
    assert net["n2"].log.committed == 3
    net.heal(), net.cut("n1")
    for _ in range(3):
        net["n3"].campaign()
        net.gather()
        while net.wire and net["n3"].role != "leader":
            net.deliver(net.wire[0])
    return net


def test_without_a_restriction_a_server_that_was_away_could_overwrite_what_is_committed():
    """5.4: a follower that missed committed entries could be elected and replace them; the rule
    of who may be elected is what is missing then."""
    broken = away_and_back(VotesForAnybody)
    assert broken["n2"].log.committed == 3 and broken["n3"].role == "leader"
    assert not broken["n3"].log.has(EntryID(1, 2)), "what is committed is lost with it"
    sound = away_and_back(Raft)
    assert sound["n3"].role == "candidate"


# 5.4.1 --------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(8))
def test_a_new_leader_has_all_committed_entries_from_the_moment_of_its_election(seed):
    """5.4.1: every entry that was committed in earlier terms is in the new leader's log when it
    is elected; nothing need be transferred to it."""
    cluster = Cluster(5, seed=seed, invariants=False, config=RaftConfig())
    for k in range(3):
        leader = cluster.wait_for_leader()
        cluster.client(leader).put("k", str(k))
        cluster.crash(leader)
        highest = max(record.event.index for record in cluster.trace.of(Committed))
        committed = {
            entry.index: entry
            for name in cluster.nodes
            for entry in cluster.nodes[name].log[: cluster.nodes[name].commit]
        }
        new = cluster.wait_for_leader()
        log = cluster.nodes[new].log
        assert len(log) >= highest
        assert all(log[index - 1] == entry for index, entry in committed.items())
        cluster.restart(leader)
        cluster.run(2)


@pytest.mark.parametrize("seed", range(3))
def test_entries_flow_from_leaders_to_followers_only(seed):
    """5.4.1: log entries travel in one direction, and leaders never replace what they have."""
    cluster = Cluster(5, seed=seed, config=RaftConfig())
    leader = cluster.wait_for_leader()
    cluster.client(leader).put("k", "v")
    cluster.crash(leader)
    cluster.wait_for_leader()
    leads: dict = {}
    for record in cluster.trace.of(BecameLeader, Sent, Truncated):
        match record.event:
            case BecameLeader(term=term):
                leads[record.node] = term
            case Sent(message=AppendEntries(term=term)):
                assert leads.get(record.node) == term
            case Truncated():
                assert record.node not in leads


def test_a_candidate_without_all_committed_entries_cannot_win():
    """5.4.1: the vote keeps a candidate from winning unless it has all committed entries."""
    net = away_and_back(Raft)
    refusals = [e for e in net.members["n2"].heard(Refused) if e.action == "vote"]
    assert {e.reason for e in refusals} == {"VOTE_LOG_BEHIND"} and len(refusals) == 3


@pytest.mark.parametrize("size", [3, 4, 5, 7])
def test_each_majority_has_a_server_with_the_committed_entry(size):
    """5.4.1: a candidate needs a majority, and every committed entry is on one of its servers."""
    need = size // 2 + 1
    have = set(range(need))  # a majority that has the entry
    assert all(have & set(voters) for voters in combinations(range(size), need))


def test_a_request_for_a_vote_tells_of_the_candidates_log():
    """5.4.1: the question carries index and term of the candidate's last entry."""
    member = Member(terms=(1, 1, 4))
    member.raft.campaign()
    assert {m.last for m in member.drive() if isinstance(m, RequestVote)} == {EntryID(4, 3)}


@pytest.mark.parametrize(
    "mine, theirs, granted",
    [
        ((1, 1, 3), EntryID(2, 9), False),  # the later term is more up-to-date
        ((1, 1, 2), EntryID(3, 1), True),
        ((1, 1, 2), EntryID(2, 2), False),  # same term: the longer log is
        ((1, 1, 2), EntryID(2, 4), True),
        ((1, 1, 2), EntryID(2, 3), True),  # equal: nobody is ahead
    ],
)
def test_a_voter_refuses_a_log_that_is_behind_its_own(mine, theirs, granted):
    """5.4.1: the vote is denied if the voter's log is more up-to-date: by the term of the last
    entry first, and by length where the terms are equal."""
    member = Member(terms=mine, term=4)
    [answer] = member.hear(RequestVote("n2", "n1", 5, theirs))
    assert answer.granted is granted


# 5.4.2 --------------------------------------------------------------------------------------


def figure_8(up_to: str) -> Net:
    """Figure 8: n1 leads again in term 4, and all that it sends to n4 and n5 gets lost. At (c) 2@2
    is on n1, n2 and n3 but the new entry 3@4 on n1 alone; at (e) both are on all three."""
    logs = {"n1": (1, 2), "n2": (1, 2), "n3": (1,), "n4": (1,), "n5": (1, 3)}
    net = Net(5, logs=logs, config=RaftConfig(max_entries_per_message=1))
    for member in net.members.values():
        member.raft.term = 3
    net.cut("n4", "n5")
    across = net.lost
    if up_to == "c":
        net.lost = lambda m: (
            across(m)
            or (isinstance(m, AppendEntries) and any(entry.index == 3 for entry in m.entries))
        )
    net.elect("n1")
    if up_to == "c":
        for name in ("n2", "n3"):  # a probe without entries gets through
            probe = AppendEntries("n1", name, 4, EntryID(2, 2), (), 0)
            net["n1"].step(*net.members[name].hear(probe))
            net.settle()
    assert net["n1"].term == 4 and net["n1"].log.last == EntryID(4, 3)
    return net


def test_an_entry_of_the_own_term_is_committed_by_counting():
    """5.4.2: a leader knows that an entry of its current term is committed once a majority has
    it."""
    member = Member(conf=5).lead()
    member.raft.propose("x"), member.drive()
    member.hear(AppendResponse("n2", "n1", 1, 2), AppendResponse("n3", "n1", 1, 2))
    assert member.raft.log.committed == 2


@pytest.mark.parametrize("seed", range(4))
def test_the_next_leader_goes_on_with_what_was_left_unfinished(seed):
    """5.4.2: if a leader crashes before it commits an entry, later leaders try to finish it."""
    cluster = Cluster(3, seed=seed, config=RaftConfig())
    leader = cluster.wait_for_leader()
    operation = cluster.submit(Put(b"k", b"v"), leader)
    followers = [name for name in cluster.nodes if name != leader]
    cluster.run_until(lambda c: any(len(c.nodes[name].log) == 2 for name in followers))
    cluster.crash(leader)
    assert "not known" in str(cluster.operation(operation).error)
    new = cluster.wait_for_leader()
    if len(cluster.nodes[new].log) >= 2 and cluster.nodes[new].log[1].term == 1:
        assert cluster.client(new).get("k").text == "v", "the entry was finished"
    else:
        pytest.fail("the follower that has the entry must win: its log is more up-to-date")


def test_an_entry_of_an_old_term_may_be_on_a_majority_and_still_be_overwritten():
    """5.4.2 (figure 8): storing an old entry on a majority does not commit it: a leader without
    it can be elected and replace it."""
    net = figure_8("c")
    assert [net.members[name].terms for name in ("n2", "n3")] == [[1, 2], [1, 2]]
    assert [net["n1"].progress[name].match for name in ("n2", "n3")] == [2, 2]
    assert net["n1"].log.committed == 0, "three of five have 2@2, and it is not committed"
    refusal = net.members["n1"].heard(Refused)[-1]
    assert refusal.reason == "COMMIT_OLD_TERM" and dict(refusal.facts)["entry"] == "2@2"
    # (d): n5 wins with the votes of n2 ... n4, and overwrites it
    net.heal(), net.cut("n1")
    net["n5"].term = 4
    net.elect("n5")
    assert [net.members[name].terms[1] for name in ("n2", "n3", "n4")] == [3, 3, 3]


def test_the_same_with_the_rule_broken_commits_what_is_overwritten_later():
    """5.4.2: that is why counting must not commit an entry of an earlier term."""
    member = Member(conf=5, terms=(1, 2), term=3, raft=CommitsOldTerms).lead()
    member.hear(AppendResponse("n2", "n1", 4, 2), AppendResponse("n3", "n1", 4, 2))
    assert member.raft.log.committed == 2
    overwriter = Member("n5", conf=5, terms=(1, 3), term=4)
    assert overwriter.raft.log.last > EntryID(2, 2), "n5 could still win against n2 and n3"


def test_only_entries_of_the_current_term_are_committed_by_counting():
    """5.4.2: entries of earlier terms are never committed by counting."""
    member = Member(conf=3, terms=(1, 1, 2), term=2).lead()
    member.hear(AppendResponse("n2", "n1", 3, 3), AppendResponse("n3", "n1", 3, 3))
    assert member.raft.log.committed == 0
    assert {e.reason for e in member.heard(Refused)} == {"COMMIT_OLD_TERM"}


def test_with_an_entry_of_the_current_term_the_old_ones_are_committed_too():
    """5.4.2 (figure 8e): when an entry of the current term is committed, so is all before it; then
    n5 can no longer win."""
    net = figure_8("e")
    net.beat("n1")
    assert [net[name].log.committed for name in ("n1", "n2", "n3")] == [3, 3, 3]
    net.heal(), net.cut("n1")
    for _ in range(3):
        net["n5"].campaign()
        net.settle()
    assert net["n5"].role == "candidate"


def test_entries_keep_their_term_when_a_later_leader_sends_them():
    """5.4.2: an entry keeps its original term when a later leader replicates it."""
    assert figure_8("e").members["n3"].terms == [1, 2, 4]


# 5.4.3 --------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
def test_servers_apply_the_same_entries_in_the_same_order(seed):
    """5.4.3 (State Machine Safety): if a server has applied an entry at an index, no other server
    ever applies another one there; all apply in the order of the log."""
    cluster = Cluster(5, seed=seed, invariants=False, config=RaftConfig())
    for k in range(4):
        leader = cluster.wait_for_leader()
        client = cluster.client(leader)
        client.put("k", str(k))
        cluster.isolate(leader)
        cluster.submit(Put(b"lost", b"%d" % k), leader)
        cluster.run(3)
        cluster.heal()
        cluster.run(1)
    applied: dict = {}
    last = dict.fromkeys(cluster.nodes, 0)
    for record in cluster.trace.of(Applied):
        event = record.event
        assert applied.setdefault(event.index, event) == event
        assert event.index == last[record.node] + 1
        last[record.node] = event.index
    assert max(last.values()) >= 8


def test_a_voter_with_the_entry_stands_between():
    """5.4.3 (figure 9): some server both has the committed entry and voted for the new leader; so
    the new leader's log was at least as up-to-date, and has the entry too."""
    net = Net(5)
    net.elect("n1")
    net.cut("n4", "n5")
    net["n1"].propose("x"), net.settle()
    net.heal(), net.cut("n1")
    for name in ("n4", "n5"):
        net[name].campaign()
        net.settle()
        assert net[name].role != "leader"
    net.elect("n2")
    [won] = net.members["n2"].heard(BecameLeader)
    assert {"n2", "n3"} & set(won.votes) and net["n2"].log.entries[1].data == "x"


def test_an_empty_log_wins_only_among_empty_logs():
    """5.4.3: in the end the restriction alone carries the proof: no vote, no win, no loss."""
    net = Net(3, logs={"n1": (1,), "n2": (1,)})
    for member in net.members.values():
        member.raft.term = 1
    net["n3"].campaign()
    net.settle()
    assert net["n3"].role != "leader" and net["n3"].log.last == ZERO
