"""Linearizable reads without log entries (thesis 6.4), from the question to the answer."""

import pytest

from kvlearn.errors import ProposalDropped
from kvlearn.events import ReadConfirmed, Refused
from kvlearn.raft.messages import (
    AppendResponse,
    Heartbeat,
    HeartbeatResponse,
    ReadIndex,
    ReadIndexResponse,
)
from kvlearn.raft.types import ReadState
from tests.raft.net import Member, Net


def leading(size=3) -> Member:
    """A leader that has committed in its term."""
    member = Member(conf=size).lead()
    for peer in member.raft.peers:
        member.hear(AppendResponse(peer, "n1", 1, 1))
    assert member.raft.log.committed == 1
    return member


def beat_ok(source: str, context: int, term: int = 1) -> HeartbeatResponse:
    return HeartbeatResponse(source, "n1", term, context)


def test_a_read_asks_everybody_and_waits_for_a_majority():
    member = leading(5)
    member.raft.read_index("r")
    assert [str(m) for m in member.drive()] == ["Beat r1"] * 4
    member.hear(beat_ok("n2", 1))
    assert member.reads == []
    member.hear(beat_ok("n3", 1))
    assert member.reads == [ReadState("r", 1)]
    [event] = member.heard(ReadConfirmed)
    assert event == ReadConfirmed(1, ("n1", "n2", "n3"), 1)


@pytest.mark.parametrize("answer", [beat_ok("n2", 0), beat_ok("n9", 1)], ids=str)
def test_answers_that_do_not_speak_of_the_round_confirm_nothing(answer):
    member = leading()
    member.raft.read_index("r")
    member.drive()
    member.hear(answer)
    assert member.reads == []


def test_an_answer_to_a_heartbeat_from_before_the_read_does_not_count():
    member = leading()
    member.raft.read_index("first")
    member.drive()
    member.raft.read_index("second")
    member.drive()
    member.hear(beat_ok("n2", 1))
    assert [read.context for read in member.reads] == ["first"]
    member.hear(beat_ok("n3", 2))
    assert [read.context for read in member.reads] == ["first", "second"]


def test_reads_of_one_turn_share_a_round():
    member = leading()
    for context in "abc":
        member.raft.read_index(context)
    assert len(member.drive()) == 2
    member.hear(beat_ok("n2", 1))
    assert [read.context for read in member.reads] == ["a", "b", "c"]
    assert member.heard(ReadConfirmed)[0].reads == 3


def test_a_lost_round_is_asked_again_with_the_next_heartbeat():
    member = leading()
    member.raft.read_index("r")
    member.drive()  # lost
    member.raft.tick()
    assert {str(m) for m in member.drive()} == {"Beat r1"}


def test_when_no_read_waits_heartbeats_ask_for_nothing():
    member = leading()
    member.raft.read_index("r"), member.drive()
    member.hear(beat_ok("n2", 1))
    member.raft.tick()
    assert {str(m) for m in member.drive()} == {"Beat"}


def test_the_read_waits_at_the_commit_index_of_its_coming():
    member = leading()
    member.raft.propose("x"), member.drive()
    member.raft.read_index("r"), member.drive()
    member.hear(AppendResponse("n2", "n1", 1, 2))
    member.hear(beat_ok("n2", 1))
    assert member.reads == [ReadState("r", 1)] and member.raft.log.committed == 2


def test_alone_in_the_cluster_nobody_need_be_asked():
    member = Member(conf=1).lead()
    member.raft.read_index("r")
    assert member.drive() == [] and member.reads == [ReadState("r", 1)]


def test_a_new_leader_lets_reads_wait_until_it_has_committed_in_its_term():
    member = Member(terms=(1, 1), term=1, commit=1).lead()
    member.raft.read_index("r")
    [event] = [e for e in member.heard(Refused) if e.action == "read"]
    assert event.reason == "READ_NOT_YET" and "term 2 is committed yet" in str(event)
    assert not any(isinstance(m, Heartbeat) for m in member.drive())
    member.hear(AppendResponse("n2", "n1", 2, 3))  # its no-op
    member.hear(beat_ok("n2", 1, term=2))
    assert member.reads == [ReadState("r", 3)], "entry 2 of the old term is seen by the read"


def test_a_leader_that_lost_its_place_serves_nobody():
    member = leading()
    member.raft.read_index("r"), member.drive()
    member.hear(Heartbeat("n2", "n1", 2, 0))
    member.hear(beat_ok("n3", 1), beat_ok("n3", 1, term=2))
    assert member.reads == []


def test_reads_that_waited_are_forgotten_with_the_leadership():
    """Whoever asked has asked somebody else by now."""
    member = Member(terms=(1,)).lead()
    member.raft.read_index("early")
    member.hear(Heartbeat("n2", "n1", 3, 0))
    member.lead()
    member.hear(AppendResponse("n2", "n1", 4, member.raft.log.last_index))
    member.hear(beat_ok("n2", 1, term=4), beat_ok("n3", 1, term=4))
    assert member.raft.may_read() and member.reads == []


def test_a_follower_asks_its_leader_and_is_told_the_index():
    net = Net(3)
    net.elect("n1")
    net["n2"].read_index("r")
    net.settle()
    assert net.members["n2"].reads == [ReadState("r", 1)]


def test_through_a_follower_who_knows_no_leader_the_read_is_dropped():
    member = Member()
    with pytest.raises(ProposalDropped, match="no leader"):
        member.raft.read_index("r")
    assert member.heard(Refused)[0].action == "read"


def test_a_follower_that_is_asked_for_an_index_says_that_it_does_not_lead():
    member = Member()
    assert member.hear(ReadIndex("n2", "n1", 0, "r")) == []
    [event] = member.heard(Refused)
    assert str(event) == "cannot serve a read in term 0: no leader is known in term 0"


def test_two_followers_may_use_the_same_context():
    member = leading()
    sent = member.hear(ReadIndex("n2", "n1", 0, 7), ReadIndex("n3", "n1", 0, 7))
    sent = member.hear(beat_ok("n2", 1))
    assert sent == [
        ReadIndexResponse("n1", "n2", 0, 7, 1),
        ReadIndexResponse("n1", "n3", 0, 7, 1),
    ]


def test_on_the_minority_side_no_read_is_confirmed():
    net = Net(5)
    net.elect("n1")
    net.cut("n1", "n2")
    net["n1"].read_index("a"), net["n2"].read_index("b")
    net.settle()
    net.beat("n1", 5)
    assert net.members["n1"].reads == net.members["n2"].reads == []
