"""Leadership on its way from one node to another (thesis 3.10)."""

from dataclasses import replace

import pytest

from kvlearn.errors import ProposalDropped
from kvlearn.events import BecameCandidate, Refused, TransferAborted, TransferStarted
from kvlearn.raft import ConfState, Entry, ReadState
from kvlearn.raft.confchange import GONE, Change, ConfChange
from kvlearn.raft.messages import (
    AppendEntries,
    AppendResponse,
    Heartbeat,
    HeartbeatResponse,
    RequestVote,
    TimeoutNow,
    TransferLeader,
)
from kvlearn.raft.types import ZERO, EntryID
from tests.raft.net import CALM, Member, Net

FULL = replace(CALM, pre_vote=True, check_quorum=True)


def ack(source: str, match: int, term: int = 1) -> AppendResponse:
    return AppendResponse(source, "n1", term, match)


def leader(conf: ConfState | int = 3, config=CALM) -> Member:
    """Its no-op is on n2, committed and applied; n3 has nothing yet."""
    member = Member(conf=conf, config=config).lead()
    member.hear(ack("n2", 1))
    return member


def orders(sent: list) -> list[str]:
    """Who was told to stand."""
    return [m.target for m in sent if isinstance(m, TimeoutNow)]


# On the leader ------------------------------------------------------------------------------


def test_whoever_has_everything_is_told_to_stand_at_once():
    member = leader()
    member.raft.transfer_leadership("n2")
    assert member.drive() == [TimeoutNow("n1", "n2", 1)]
    assert member.heard(TransferStarted) == [TransferStarted("n2", 1, 1)]
    assert member.raft.role == "leader", "until somebody else leads"


def test_a_slow_one_gets_first_what_it_lacks():
    member = leader()
    member.raft.propose("x"), member.raft.propose("y"), member.drive()
    member.raft.transfer_leadership("n3")
    assert orders(member.drive()) == []
    assert orders(member.hear(ack("n2", 3))) == [], "another one's answer"
    sent = member.hear(ack("n3", 1))
    [entries] = [m for m in sent if isinstance(m, AppendEntries) and m.target == "n3"]
    assert [e.index for e in entries.entries] == [2, 3] and orders(sent) == []
    assert orders(member.hear(ack("n3", 2))) == []
    assert orders(member.hear(ack("n3", 3))) == ["n3"]
    assert member.heard(TransferStarted) == [TransferStarted("n3", 0, 3)]


def test_what_was_lost_on_the_way_is_sent_again_with_a_heartbeat():
    member = leader()
    member.raft.propose("x"), member.drive()
    member.raft.transfer_leadership("n3"), member.drive()
    sent = member.hear(HeartbeatResponse("n3", "n1", 1))
    assert [m.target for m in sent if isinstance(m, AppendEntries)] == ["n3"]


@pytest.mark.parametrize("to", ["n4", "n9", ""])
def test_only_a_voter_can_lead(to):
    member = leader(ConfState(("n1", "n2", "n3"), learners=("n4",)))
    with pytest.raises(ProposalDropped, match="has no vote") as raised:
        member.raft.transfer_leadership(to)
    assert raised.value.reason == "NO_VOTER" and member.raft.transferee is None
    assert member.said[-1] == Refused("transfer", None, 1, "NO_VOTER", (("to", to),))


def test_to_itself_it_need_not_move():
    member = leader()
    member.raft.transfer_leadership("n1")
    assert member.drive() == [] and member.raft.transferee is None
    member.raft.propose("x")


def test_a_voter_of_the_old_half_may_lead_too():
    member = leader(ConfState(("n1", "n2"), ("n1", "n3")))
    member.raft.transfer_leadership("n3")
    assert member.raft.transferee == "n3"


def test_nothing_is_taken_meanwhile_but_reads_are_served():
    member = leader()
    member.raft.transfer_leadership("n3"), member.drive()
    with pytest.raises(ProposalDropped, match="on its way to n3"):
        member.raft.propose("x")
    member.raft.read_index("r"), member.drive()
    member.hear(HeartbeatResponse("n2", "n1", 1, 1))
    assert member.reads == [ReadState("r", 1)]


def test_after_an_election_timeout_it_goes_on_leading():
    member = leader()
    member.raft.tick(4)
    member.raft.transfer_leadership("n3")
    member.raft.tick(9)
    assert member.raft.transferee == "n3"
    member.raft.tick()
    assert member.raft.transferee is None and member.heard(TransferAborted) == [
        TransferAborted("n3")
    ]
    member.raft.propose("x")
    member.drive()
    assert orders(member.hear(ack("n3", 2))) == [], "it is wanted no more"


def test_the_same_wish_again_changes_nothing():
    member = leader()
    member.raft.transfer_leadership("n3")
    member.raft.tick(6)
    member.raft.transfer_leadership("n3")
    member.raft.tick(4)
    assert member.raft.transferee is None, "the time runs from the first"
    assert len(member.heard(TransferStarted)) == 1


def test_another_wish_replaces_the_first():
    member = leader()
    member.raft.transfer_leadership("n3"), member.drive()
    member.raft.tick(6)
    member.raft.transfer_leadership("n2")
    assert orders(member.drive()) == ["n2"]
    member.raft.tick(4)
    assert member.raft.transferee == "n2", "it has a time of its own"
    assert orders(member.hear(ack("n3", 1))) == []


def test_a_newer_term_ends_it():
    member = leader()
    member.raft.transfer_leadership("n2"), member.drive()
    member.hear(RequestVote("n2", "n1", 2, EntryID(1, 1), transfer=True))
    assert (member.raft.role, member.raft.transferee) == ("follower", None)
    assert not member.heard(TransferAborted), "it has succeeded, so far"


def test_it_ends_when_the_next_leader_loses_its_vote():
    member = leader()
    member.raft.propose(ConfChange((Change("n3", GONE),))), member.drive()
    member.raft.transfer_leadership("n3"), member.drive()
    member.hear(ack("n2", 2))
    assert str(member.raft.conf) == "(n1 n2)" and member.raft.transferee is None
    assert member.heard(TransferAborted) == [TransferAborted("n3")]


def test_the_wish_may_come_through_a_follower():
    follower = Member()
    with pytest.raises(ProposalDropped, match="no leader is known"):
        follower.raft.transfer_leadership("n3")
    follower.hear(Heartbeat("n2", "n1", 1, 0))
    follower.raft.transfer_leadership("n3")
    assert follower.drive() == [TransferLeader("n1", "n2", 0, "n3")]
    member = leader()
    assert orders(member.hear(TransferLeader("n3", "n1", 0, "n2"))) == ["n2"]


def test_a_wish_that_cannot_be_is_dropped_where_it_arrives():
    member = leader()
    assert member.hear(TransferLeader("n3", "n1", 0, "n9")) == []
    assert member.raft.transferee is None
    follower = Member(term=1)
    assert follower.hear(TransferLeader("n3", "n1", 0, "n2")) == [], "it leads no more"


# On the one that shall lead -----------------------------------------------------------------


def test_it_stands_at_once_without_asking_first():
    member = Member("n2", config=FULL, terms=(1,))
    member.hear(Heartbeat("n1", "n2", 1, 1))
    sent = member.hear(TimeoutNow("n1", "n2", 1))
    last = EntryID(1, 1)
    assert sent == [RequestVote("n2", peer, 2, last, transfer=True) for peer in ("n1", "n3")]
    assert member.raft.role == "candidate" and member.disk.vote == "n2"


@pytest.mark.parametrize("term, stands", [(1, False), (3, True), (4, True)])
def test_an_order_of_an_old_term_is_none(term, stands):
    member = Member("n2", term=3)
    member.hear(TimeoutNow("n1", "n2", term))
    assert bool(member.heard(BecameCandidate)) == stands


def test_a_second_order_does_not_start_a_second_election():
    member = Member("n2", term=1)
    member.hear(TimeoutNow("n1", "n2", 1), TimeoutNow("n1", "n2", 1))
    assert member.raft.term == 2 and member.raft.role == "candidate"


def test_a_learner_follows_no_such_order():
    member = Member("n4", ConfState(("n1", "n2"), learners=("n4",)), terms=(1,))
    member.hear(TimeoutNow("n1", "n4", 1))
    assert member.raft.role == "follower" and member.heard(Refused)[-1].reason == "NO_VOTER"


def test_whoever_has_a_change_to_apply_does_not_follow_it_either():
    member = Member("n2", term=1)
    entry = Entry(1, 1, ConfChange((Change("n4"),)))
    member.raft.step(AppendEntries("n1", "n2", 1, ZERO, (entry,), 1))
    member.raft.step(TimeoutNow("n1", "n2", 1))
    assert member.raft.role == "follower"
    assert member.heard(Refused)[-1].reason == "CHANGE_UNAPPLIED"


# Together -----------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [CALM, FULL])
@pytest.mark.parametrize("behind", [False, True])
def test_leadership_moves_in_one_election_although_everybody_hears_the_leader(config, behind):
    net = Net(5, config=config)
    net.elect("n1"), net.beat("n1")
    if behind:
        net.cut("n4")
        for k in range(3):
            net["n1"].propose(k)
        net.settle(), net.heal()
    net["n1"].transfer_leadership("n4")
    net.settle()
    if behind:
        net.beat("n1")
    assert net["n4"].role == "leader" and net["n4"].term == 2
    assert {net[name].leader for name in ("n1", "n2", "n3", "n5")} == {"n4"}
    net["n4"].propose("x"), net.settle()
    assert net["n4"].log.committed == net["n4"].log.last_index


def test_when_the_next_leader_is_gone_the_old_one_serves_again():
    net = Net(3, config=FULL)
    net.elect("n1"), net.beat("n1")
    net.cut("n3")
    net["n1"].transfer_leadership("n3")
    net.beat("n1", FULL.election_ticks)
    assert net["n1"].role == "leader" and net["n1"].transferee is None
    net["n1"].propose("x"), net.settle()
    assert net["n1"].log.committed == 2
