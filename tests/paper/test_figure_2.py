"""Paper, figure 2: the state that every server keeps and the rules in its four boxes."""

import pytest

from kvlearn import Cluster, RaftConfig
from kvlearn.raft import EntryID
from kvlearn.raft.messages import (
    AppendEntries,
    AppendResponse,
    Heartbeat,
    RequestVote,
    VoteResponse,
)
from kvlearn.raft.types import ZERO
from tests.raft.net import CALM, Member, entries_of

# State --------------------------------------------------------------------------------------


def test_a_server_starts_with_nothing():
    """Figure 2, state: on first boot the term is 0, no vote is given, the log is empty, and nothing
    is committed or applied."""
    raft = Member().raft
    assert (raft.term, raft.vote, raft.log.last) == (0, None, ZERO)
    assert (raft.log.committed, raft.log.applied) == (0, 0)


@pytest.mark.parametrize("seed", range(4))
def test_term_vote_and_log_are_persistent(seed):
    """Figure 2, state: term, vote and log are on stable storage before a server answers; after a
    crash they are what they were."""
    cluster = Cluster(3, seed=seed, config=RaftConfig())
    leader = cluster.wait_for_leader()
    cluster.client(leader).put("k", "v")
    cluster.run(1)
    for name in cluster.nodes:
        node = cluster.nodes[name]
        before = (node.term, node.vote, node.log)
        cluster.crash(name)
        assert (node.term, node.vote, node.log) == before
        cluster.restart(name)
        assert (node.term, node.vote, node.log) == before


def test_progress_is_made_anew_after_each_election():
    """Figure 2, state: what a leader knows of the others begins anew when it is elected: next just
    behind its log, match 0."""
    member = Member(terms=(1,)).lead()
    member.hear(AppendResponse("n2", "n1", 2, 2))
    assert member.raft.progress["n2"].match == 2
    member.raft.campaign(), member.drive()
    member.raft.step(VoteResponse("n3", "n1", 3, True))
    assert [str(p) for p in member.raft.progress.values()] == ["probe match=0 next=3"] * 2


def test_match_only_rises():
    """Figure 2, state: matchIndex increases monotonically, whatever late answers say."""
    member = Member(terms=(1,) * 5).lead()
    match = 0
    for index in (2, 5, 1, 4, 6, 0):
        member.hear(AppendResponse("n2", "n1", 2, index))
        assert member.raft.progress["n2"].match >= match
        match = member.raft.progress["n2"].match
    assert match == 6


@pytest.mark.parametrize("seed", range(4))
def test_commit_and_applied_only_rise_while_a_server_runs(seed):
    """Figure 2, state: commitIndex and lastApplied increase monotonically, applied behind."""
    cluster = Cluster(3, seed=seed, config=RaftConfig())
    client = cluster.client(cluster.wait_for_leader())
    seen = dict.fromkeys(cluster.nodes, (0, 0))
    for k in range(10):
        client.put("k", str(k))
        for name, node in cluster.nodes.items():
            now = (node.commit, node.applied)
            assert now[0] >= seen[name][0] and now[1] >= seen[name][1] and now[1] <= now[0]
            seen[name] = now


# AppendEntries, receiver --------------------------------------------------------------------


def test_append_1_an_old_term_is_refused():
    """Figure 2, AppendEntries 1: false if the leader's term is older than mine."""
    member = Member(term=2)
    [answer] = member.hear(AppendEntries("n2", "n1", 1, ZERO, entries_of(1), 1))
    assert answer.rejected and answer.term == 2 and member.terms == []


def test_append_2_the_entry_before_must_be_there_with_its_term():
    """Figure 2, AppendEntries 2: false if my log has no entry at prevLogIndex of prevLogTerm."""
    member = Member(terms=(1, 1))
    for prev in (EntryID(1, 3), EntryID(2, 2)):
        [answer] = member.hear(AppendEntries("n2", "n1", 2, prev, (), 0))
        assert answer.rejected == prev.index


def test_append_3_an_entry_that_conflicts_goes_with_all_that_follow():
    """Figure 2, AppendEntries 3: an entry of another term is deleted, and all behind it."""
    member = Member(terms=(1, 1, 1, 1))
    member.hear(AppendEntries("n2", "n1", 2, EntryID(1, 1), entries_of(1, 2)[1:], 0))
    assert member.terms == [1, 2]


def test_append_4_only_new_entries_are_appended():
    """Figure 2, AppendEntries 4: entries that are there already are not appended again."""
    member = Member(terms=(1, 1))
    member.hear(AppendEntries("n2", "n1", 1, ZERO, entries_of(1, 1, 1), 0))
    assert member.terms == [1, 1, 1]


@pytest.mark.parametrize("commit, index", [(1, 1), (2, 2), (7, 2)])
def test_append_5_the_smaller_of_commit_and_last_new_entry(commit, index):
    """Figure 2, AppendEntries 5: the commit index becomes the leader's, at most the last new
    entry."""
    member = Member()
    member.hear(AppendEntries("n2", "n1", 1, ZERO, entries_of(1, 1), commit))
    assert member.raft.log.committed == index


# RequestVote, receiver ----------------------------------------------------------------------


def test_vote_1_an_old_term_is_refused():
    """Figure 2, RequestVote 1: false if the candidate's term is older than mine."""
    [answer] = Member(term=2).hear(RequestVote("n2", "n1", 1, EntryID(1, 9)))
    assert not answer.granted and answer.term == 2


@pytest.mark.parametrize(
    "vote, last, granted",
    [
        (None, EntryID(1, 1), True),
        ("n2", EntryID(1, 1), True),
        ("n3", EntryID(1, 1), False),
        (None, ZERO, False),
        ("n2", ZERO, False),
    ],
)
def test_vote_2_a_free_vote_and_a_log_not_behind(vote, last, granted):
    """Figure 2, RequestVote 2: granted if I voted for nobody or for this candidate, and its log is
    at least as up-to-date as mine."""
    [answer] = Member(terms=(1,), term=2, vote=vote).hear(RequestVote("n2", "n1", 2, last))
    assert answer.granted is granted


# Rules for servers --------------------------------------------------------------------------


def test_all_1_what_is_committed_is_applied():
    """Figure 2, all servers: while commitIndex > lastApplied, the next entry is applied."""
    member = Member(terms=(1, 1, 1), term=1)
    member.hear(Heartbeat("n2", "n1", 1, 3))
    assert [entry.index for entry in member.applied] == [1, 2, 3]
    assert member.raft.log.applied == member.raft.log.committed == 3


@pytest.mark.parametrize("role", ["follower", "candidate", "leader"])
def test_all_2_a_newer_term_makes_a_follower(role):
    """Figure 2, all servers: a message of a newer term sets the term and makes a follower."""
    member = Member()
    if role != "follower":
        member.lead() if role == "leader" else member.raft.campaign()
    member.hear(VoteResponse("n2", "n1", 9, False))
    assert (member.raft.term, member.raft.role) == (9, "follower")


def test_followers_answer_and_campaign_after_a_timeout():
    """Figure 2, followers: they answer candidates and leaders; with no word from a leader and no
    vote given for an election timeout they become candidates."""
    member = Member(config=CALM)
    assert len(member.hear(RequestVote("n2", "n1", 1, ZERO))) == 1
    assert len(member.hear(Heartbeat("n2", "n1", 1, 0))) == 1
    member.raft.tick(CALM.election_ticks - 1)
    assert member.raft.role == "follower"
    member.raft.tick()
    assert member.raft.role == "candidate"


def test_candidates_do_four_things_at_the_start():
    """Figure 2, candidates: term + 1, a vote for itself, the timer anew, a request to all."""
    member = Member(term=3, config=CALM)
    member.raft.tick(5)
    member.raft.campaign()
    raft = member.raft
    assert (raft.term, raft.vote) == (4, "n1") and raft.votes == {"n1": True}
    assert raft.deadline == 5 + CALM.election_ticks
    assert [type(m) for m in member.drive()] == [RequestVote, RequestVote]


def test_leaders_speak_at_once_and_in_idle_periods():
    """Figure 2, leaders: a first message to each on election, then again and again when idle."""
    member = Member()
    member.raft.campaign(), member.drive()
    assert {m.target for m in member.hear(VoteResponse("n2", "n1", 1, True))} == {"n2", "n3"}
    for _ in range(3):
        member.raft.tick(member.raft.config.heartbeat_ticks)
        assert {m.target for m in member.drive()} == {"n2", "n3"}


def test_leaders_append_and_answer_after_applying():
    """Figure 2, leaders: a command goes into the own log; the answer comes after it is applied."""
    cluster = Cluster(3, seed=1, config=RaftConfig())
    leader = cluster.wait_for_leader()
    cluster.run(1)
    reply = cluster.client(leader).put("k", "v")
    assert cluster.nodes[leader].log[-1].data.request.key == b"k"
    assert cluster.nodes[leader].applied == 2 and reply.header.revision == 2


def test_leaders_send_what_is_missing_from_next_on():
    """Figure 2, leaders: if the log reaches next, the entries from next on are sent; success moves
    match and next, a refusal moves next back and is tried again."""
    member = Member(terms=(1, 1, 1)).lead()
    [again] = member.hear(AppendResponse("n2", "n1", 2, 0, 3, EntryID(1, 1)))
    assert (again.prev, len(again.entries)) == (EntryID(1, 1), 3)
    member.hear(AppendResponse("n2", "n1", 2, 4))
    assert str(member.raft.progress["n2"]) == "replicate match=4 next=5"


@pytest.mark.parametrize(
    "acks, committed", [([("n2", 5)], 0), ([("n2", 5), ("n3", 4)], 0), ([("n2", 5), ("n3", 5)], 5)]
)
def test_leaders_commit_what_a_majority_has_of_their_own_term(acks, committed):
    """Figure 2, leaders: N > commitIndex on a majority, with an entry of the current term, becomes
    the commit index."""
    member = Member(conf=5, terms=(1, 1, 1, 1)).lead()  # 5@2 is its own
    member.hear(*(AppendResponse(peer, "n1", 2, match) for peer, match in acks))
    assert member.raft.log.committed == committed
