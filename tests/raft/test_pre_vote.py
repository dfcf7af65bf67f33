"""Pre-votes (thesis 9.6): asking first whether an election could be won disturbs nobody."""

from dataclasses import replace

import pytest

from kvlearn.events import AskedPreVote, BecameCandidate, BecameFollower, Refused, VoteGranted
from kvlearn.raft import ConfState, EntryID
from kvlearn.raft.messages import AppendEntries, Heartbeat, RequestVote, VoteResponse
from kvlearn.raft.types import ZERO
from tests.raft.net import CALM, Member, Net

ASKS = replace(CALM, pre_vote=True)


def asking(size: int = 3, **about) -> Member:
    """A follower of term 1 whose questions have left."""
    member = Member(conf=size, config=ASKS, **{"term": 1, **about})
    member.raft.campaign(), member.drive()
    return member


def would(source: str, granted: bool = True, term: int = 2) -> VoteResponse:
    return VoteResponse(source, "n1", term, granted, pre=True)


def question(source: str = "n2", term: int = 2, last: EntryID = ZERO) -> RequestVote:
    return RequestVote(source, "n1", term, last, pre=True)


def test_it_asks_for_the_next_term_and_stays_in_its_own():
    member = Member(terms=(1, 1), config=ASKS)
    member.raft.tick(ASKS.election_ticks)
    ready = member.raft.ready()
    last = EntryID(1, 2)
    assert ready.messages == tuple(
        RequestVote("n1", peer, 2, last, pre=True) for peer in ("n2", "n3")
    )
    assert ready.hard_state is None and not ready.must_sync, "nothing is promised"
    assert (member.raft.role, member.raft.term, member.raft.vote) == ("follower", 1, None)
    [event] = member.heard(AskedPreVote)
    assert event == AskedPreVote(2, last, 10, 10) and not member.heard(BecameCandidate)


def test_without_pre_votes_it_stands_at_once():
    member = Member(term=1)
    member.raft.campaign()
    assert member.raft.role == "candidate" and member.raft.term == 2


def test_who_asks_knows_no_leader_any_more():
    member = Member(term=1, config=ASKS)
    member.hear(Heartbeat("n2", "n1", 1, 0))
    member.raft.campaign()
    assert member.raft.leader is None


@pytest.mark.parametrize("size, yes, stands", [(3, 0, 0), (3, 1, 1), (5, 1, 0), (5, 2, 1)])
def test_with_a_majority_of_pre_votes_it_stands(size, yes, stands):
    member = asking(size)
    member.hear(*(would(f"n{k}") for k in range(2, 2 + yes)))
    assert (member.raft.role == "candidate") == stands
    assert member.raft.term == 1 + stands


def test_standing_is_a_real_election():
    member = asking()
    sent = member.hear(would("n2"))
    assert sent == [RequestVote("n1", peer, 2, ZERO) for peer in ("n2", "n3")]
    assert member.disk.vote == "n1" and member.raft.votes == {"n1": True}
    member.hear(VoteResponse("n3", "n1", 2, True))
    assert member.raft.role == "leader"


@pytest.mark.parametrize(
    "answer",
    [
        would("n2", term=1),  # of the round before
        would("n2", term=3),
        VoteResponse("n2", "n1", 1, True),  # a vote is no pre-vote
        VoteResponse("n2", "n1", 1, False),
    ],
    ids=str,
)
def test_an_answer_to_another_question_counts_for_nothing(answer):
    member = asking()
    member.hear(answer)
    assert (member.raft.role, member.raft.term) == ("follower", 1)
    assert member.raft.votes == {"n1": True}


def test_a_late_pre_vote_elects_no_candidate():
    member = asking(5)
    member.hear(would("n2"), would("n3"))
    assert member.raft.role == "candidate"
    member.hear(would("n4"), would("n5"))
    assert member.raft.role == "candidate" and member.raft.votes == {"n1": True}


def test_two_refusals_of_three_end_it():
    member = asking()
    member.hear(would("n2", False, term=1))
    assert member.raft.asking
    member.hear(would("n3", False, term=1))
    assert not member.raft.asking and member.raft.term == 1
    assert member.heard(BecameFollower)[-1].reason == "PRE_VOTE_LOST"
    member.hear(would("n2"))
    assert member.raft.role == "follower", "too late"


def test_who_answers_twice_counts_once():
    member = asking(5)
    member.hear(would("n2"), would("n2"), would("n2"))
    assert member.raft.role == "follower"


def test_a_refusal_from_a_later_term_is_real():
    member = asking()
    member.hear(would("n2", False, term=4))
    assert (member.raft.term, member.raft.asking) == (4, False)
    assert member.heard(BecameFollower)[-1].reason == "HIGHER_TERM"


@pytest.mark.parametrize("message", ["heartbeat", "append"])
def test_a_leader_that_speaks_up_ends_it(message):
    member = asking()
    beat, entries = Heartbeat("n3", "n1", 1, 0), AppendEntries("n3", "n1", 1, ZERO, (), 0)
    member.hear(beat if message == "heartbeat" else entries)
    assert member.raft.leader == "n3"
    member.hear(would("n2"))
    assert member.raft.term == 1 and member.raft.role == "follower", "it is asked no more"


def test_it_asks_again_when_nobody_answers():
    member = asking()
    member.raft.tick(ASKS.election_ticks)
    again = member.drive()
    assert [m.term for m in again] == [2, 2] and all(m.pre for m in again)
    assert member.raft.term == 1


# Answers ------------------------------------------------------------------------------------


def test_a_pre_vote_promises_nothing():
    member = Member(term=1, config=ASKS)
    member.raft.tick(4)
    deadline = member.raft.deadline
    assert member.hear(question()) == [VoteResponse("n1", "n2", 2, True, pre=True)]
    assert (member.raft.term, member.raft.vote, member.raft.deadline) == (1, None, deadline)
    assert member.heard(VoteGranted) == [VoteGranted(2, "n2", True)]
    assert member.disk.term == 1
    assert member.hear(question("n3")) == [VoteResponse("n1", "n3", 2, True, pre=True)], "and him"


def test_a_vote_in_this_term_does_not_bind_the_next():
    member = Member(term=1, vote="n3", config=ASKS)
    [answer] = member.hear(question("n2"))
    assert answer.granted
    [answer] = member.hear(question("n2", term=1))
    assert not answer.granted, "for the term in which it has voted it would be bound"


@pytest.mark.parametrize("role", ["candidate", "leader"])
def test_the_others_answer_too_and_keep_their_role(role):
    member = Member(term=1).lead() if role == "leader" else Member(term=1)
    member.raft.campaign() if role == "candidate" else None
    member.drive()
    [answer] = member.hear(question("n3", term=3, last=EntryID(2, 1)))
    assert answer == VoteResponse("n1", "n3", 3, True, pre=True)
    assert (member.raft.role, member.raft.term) == (role, 2)


@pytest.mark.parametrize(
    "last, granted", [(EntryID(1, 1), False), (EntryID(1, 2), True), (EntryID(2, 1), True)]
)
def test_a_log_that_is_behind_gets_none(last, granted):
    member = Member(terms=(1, 1), config=ASKS)
    [answer] = member.hear(question(last=last))
    assert answer == VoteResponse("n1", "n2", 2 if granted else 1, granted, pre=True)


def test_whoever_asks_for_an_old_term_hears_of_the_new_one():
    member = Member(term=5, config=ASKS)
    assert member.hear(question(term=3)) == [VoteResponse("n1", "n2", 5, False, pre=True)]
    assert member.heard(Refused)[-1].reason == "TERM_OLD"


def test_a_node_that_belongs_to_nothing_yet_answers_yes():
    member = Member("n4", config=ASKS)
    [answer] = member.hear(RequestVote("n1", "n4", 2, ZERO, pre=True))
    assert answer.granted


# What it is good for ------------------------------------------------------------------------


@pytest.mark.parametrize("config, disturbed", [(CALM, True), (ASKS, False)])
def test_a_node_that_was_cut_off_does_not_depose_the_leader(config, disturbed):
    net = Net(3, config=config)
    net.elect("n1")
    net.cut("n3")
    for _ in range(5):
        net["n3"].tick(config.max_election_ticks), net.gather()
    net["n1"].propose("x"), net.settle()
    net.heal()
    net["n3"].campaign(), net.settle()
    assert (net["n1"].role != "leader" or net["n1"].term > 1) == disturbed
    assert (net["n3"].term > 1) == disturbed


def test_two_that_ask_at_once_may_both_stand_and_one_leads():
    net = Net(3, config=ASKS)
    net["n1"].campaign(), net["n2"].campaign()
    net.settle()
    assert [net[name].role for name in ("n1", "n2", "n3")].count("leader") <= 1
    assert {net[name].term for name in ("n1", "n2", "n3")} == {1}


def test_alone_it_needs_nobody():
    member = Member(conf=1, config=ASKS)
    member.raft.campaign()
    assert member.raft.role == "candidate" and member.raft.term == 1
    assert member.drive() == [] and member.raft.role == "leader"


def test_a_learner_s_pre_vote_is_not_asked_for():
    member = Member(conf=ConfState(("n1", "n2"), learners=("n3",)), config=ASKS)
    member.raft.campaign()
    assert [m.target for m in member.drive()] == ["n2"]
