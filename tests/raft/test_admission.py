"""What a leader does not take into its log: each refusal with its facts, and what lifts it."""

from dataclasses import replace

import pytest

from kvlearn.errors import ProposalDropped
from kvlearn.events import Refused
from kvlearn.raft import ConfState
from kvlearn.raft.admission import refusal_of
from kvlearn.raft.confchange import EXPLICIT, GONE, LEARNER, Change, ConfChange
from kvlearn.raft.messages import AppendResponse, ForwardProposal, Heartbeat, ProposalRefused
from tests.raft.net import CALM, Member, voters

STRICT = replace(CALM, strict_reconfig=True)
LEARNS = ConfState(("n1", "n2", "n3"), learners=("n4",))
ADD, REMOVE = ConfChange((Change("n5"),)), ConfChange((Change("n3", GONE),))
LEAVE = ConfChange()


def ack(source: str, match: int, term: int = 2) -> AppendResponse:
    return AppendResponse(source, "n1", term, match)


def settled(conf: ConfState | int = 3, config=CALM, entries: int = 9) -> Member:
    """A leader of term 2 whose log, with its no-op at the end, is committed and applied."""
    member = Member(conf=conf, terms=(1,) * entries, config=config).lead()
    member.hear(*(ack(peer, entries + 1) for peer in ("n2", "n3")))
    assert member.raft.log.applied == entries + 1
    return member


def refused(member: Member, data) -> tuple[str, dict]:
    """Propose; why it was refused, and that nothing has happened."""
    before = list(member.raft.log.entries)
    with pytest.raises(ProposalDropped) as raised:
        member.raft.propose(data)
    event = member.said[-1]
    assert isinstance(event, Refused) and event.action == "proposal"
    assert event.reason == raised.value.reason and member.raft.log.entries == before
    assert str(raised.value) and str(raised.value) in str(event)
    return event.reason, dict(event.facts)


@pytest.mark.parametrize("data", ["x", None, ADD, REMOVE, ConfChange((Change("n5", LEARNER),))])
def test_a_settled_leader_takes_what_comes(data):
    member = settled(config=STRICT)
    assert refusal_of(member.raft, data) is None
    member.raft.propose(data)
    assert member.raft.log.entries[-1].data == data


@pytest.mark.parametrize("data", ["x", ADD])
def test_nothing_is_taken_while_leadership_is_on_its_way(data):
    member = settled()
    member.raft.transfer_leadership("n2")
    assert refused(member, data) == ("TRANSFERRING", {"to": "n2"})
    member.raft.tick(CALM.election_ticks)
    assert refusal_of(member.raft, data) is None, "it was given up"


@pytest.mark.parametrize("data", ["x", ADD])
def test_a_leader_without_a_vote_of_its_own_takes_nothing(data):
    member = settled()
    member.raft.propose(ConfChange((Change("n1", GONE),)))
    member.drive()
    member.hear(ack("n2", 11), ack("n3", 11))
    assert member.raft.role == "leader"
    assert refused(member, data) == ("REMOVED", {"conf": "(n2 n3)"})


def test_what_waits_for_its_commit_has_a_limit():
    member = settled(config=replace(CALM, max_uncommitted=2))
    member.raft.propose("x"), member.raft.propose("y")
    assert refused(member, "z") == ("TOO_MUCH_UNCOMMITTED", {"waiting": 2, "limit": 2})
    assert refused(member, ADD)[0] == "TOO_MUCH_UNCOMMITTED"
    member.drive(), member.hear(ack("n2", 11))
    assert refusal_of(member.raft, "z") is None, "x is committed"


def test_a_new_leader_waits_until_it_has_applied_what_came_before_it():
    member = Member(terms=(1,) * 9).lead()
    assert refused(member, ADD) == ("CHANGE_PENDING", {"index": 9, "applied": 0})
    assert refusal_of(member.raft, "x") is None
    member.hear(ack("n2", 10))
    assert refusal_of(member.raft, ADD) is None


@pytest.mark.parametrize("first", [ADD, REMOVE, ConfChange((Change("n5"), Change("n3", GONE)))])
def test_one_change_at_a_time(first):
    """A committed change still is one that waits: it counts when it is applied."""
    member = settled()
    member.raft.propose(first)
    assert refused(member, ADD) == ("CHANGE_PENDING", {"index": 11, "applied": 10})
    member.drive()
    member.raft.step(ack("n2", 11))
    assert member.raft.log.committed == 11
    assert refused(member, ADD) == ("CHANGE_PENDING", {"index": 11, "applied": 10})


@pytest.mark.parametrize(
    "change, why",
    [
        (LEAVE, "(n1 n2 n3) is not joint: there is nothing to leave"),
        (
            ConfChange(tuple(Change(f"n{k}", GONE) for k in (1, 2, 3))),
            "at least one voter must remain",
        ),
    ],
)
def test_a_change_that_does_not_fit_is_not_taken(change, why):
    assert refused(settled(), change) == ("CHANGE_WRONG", {"why": why})


def test_a_joint_configuration_takes_only_that_it_is_left():
    member = settled()
    member.raft.propose(ConfChange((Change("n5"),), EXPLICIT))
    member.drive(), member.hear(ack("n2", 11), ack("n3", 11))
    assert str(member.raft.conf) == "(n1 n2 n3 n5)&&(n1 n2 n3)"
    reason, facts = refused(member, REMOVE)
    assert reason == "CHANGE_WRONG" and "is joint" in facts["why"]
    assert refusal_of(member.raft, LEAVE) is None


@pytest.mark.parametrize("match, ready", [(0, False), (8, False), (9, True), (10, True)])
def test_a_learner_is_promoted_with_nine_tenths_of_the_log(match, ready):
    member = settled(LEARNS)
    if match:
        member.hear(ack("n4", match))
    promote = ConfChange((Change("n4"),))
    if ready:
        assert refusal_of(member.raft, promote) is None
    else:
        known = {"node": "n4", "match": match, "last": 10}
        assert refused(member, promote) == ("LEARNER_BEHIND", known)


def test_a_learner_among_several_changes_is_looked_at_too():
    member = settled(LEARNS)
    both = ConfChange((Change("n5"), Change("n4")))
    assert refused(member, both)[0] == "LEARNER_BEHIND"


def silent(config) -> Member:
    """n3 was heard last when the leader won; n2 answers, 10 ticks later."""
    member = settled(LEARNS, config)
    member.hear(ack("n4", 10))
    member.raft.tick(config.election_ticks), member.drive()
    member.hear(ack("n2", 10))
    return member


@pytest.mark.parametrize(
    "change",
    [ADD, ConfChange((Change("n4"),)), ConfChange((Change("n3", GONE), Change("n5")))],
    ids=str,
)
def test_no_voter_is_added_while_another_is_silent(change):
    member = silent(STRICT)
    assert refused(member, change) == ("UNHEALTHY", {"node": "n3", "ticks": 10})
    assert refusal_of(silent(CALM).raft, change) is None, "where that is not asked for"
    member.hear(ack("n3", 10))
    assert refusal_of(member.raft, change) is None


@pytest.mark.parametrize("node", ["n1", "n2"])
def test_no_voter_is_removed_whom_the_others_need(node):
    """n3 is silent: of the two that would be left it is one. n3 itself may go."""
    change = ConfChange((Change(node, GONE),))
    member = silent(STRICT)
    assert refused(member, change) == ("UNHEALTHY", {"node": "n3", "ticks": 10})
    assert refusal_of(silent(CALM).raft, change) is None, "where that is not asked for"
    assert refusal_of(member.raft, REMOVE) is None
    assert refusal_of(member.raft, ConfChange((Change("n4", GONE),))) is None, "a learner"
    member.hear(ack("n3", 10))
    assert refusal_of(member.raft, change) is None


@pytest.mark.parametrize("size, silent, fine", [(5, 1, True), (5, 2, False), (4, 1, True)])
def test_the_others_are_a_majority_without_whoever_goes(size, silent, fine):
    member = Member(conf=size, terms=(1,), config=STRICT).lead()
    awake = [f"n{k}" for k in range(2, size + 1 - silent)]
    member.hear(*(ack(peer, 2) for peer in awake))
    member.raft.tick(5), member.raft.tick(5), member.drive()
    member.hear(*(ack(peer, 2) for peer in awake))
    assert (refusal_of(member.raft, ConfChange((Change("n2", GONE),))) is None) is fine


@pytest.mark.parametrize(
    "change",
    [
        REMOVE,  # that is how a dead node goes
        ConfChange((Change("n5", LEARNER),)),
        ConfChange((Change("n3", LEARNER),)),
        ConfChange((Change("n2"),)),  # has its vote already
        "x",
    ],
    ids=str,
)
def test_everything_else_is_taken_while_one_is_silent(change):
    assert refusal_of(silent(STRICT).raft, change) is None


def test_a_silent_learner_hinders_nobody():
    member = settled(LEARNS, STRICT)
    member.raft.tick(STRICT.election_ticks), member.drive()
    member.hear(ack("n2", 10), ack("n3", 10))
    assert refusal_of(member.raft, ADD) is None


# The refusal of what was forwarded ----------------------------------------------------------


def test_whoever_forwarded_it_hears_why():
    member = settled()
    member.raft.transfer_leadership("n3"), member.drive()
    [answer] = member.hear(ForwardProposal("n2", "n1", 0, "x"))
    assert answer == ProposalRefused("n1", "n2", 0, "x", "TRANSFERRING", (("to", "n3"),))
    assert (member.said[-1].peer, member.said[-1].reason) == ("n2", "TRANSFERRING")


def test_who_has_no_leader_any_more_says_so():
    member = Member(term=4)
    [answer] = member.hear(ForwardProposal("n2", "n1", 0, "x"))
    assert answer == ProposalRefused("n1", "n2", 0, "x", "NO_LEADER", (("term", 4),))


def test_a_refused_proposal_is_handed_out_once():
    member = Member(conf=voters(3))
    member.hear(Heartbeat("n2", "n1", 1, 0))
    member.raft.step(ProposalRefused("n2", "n1", 0, "x", "NO_LEADER", (("term", 1),)))
    ready = member.raft.ready()
    assert ready.dropped == (("x", "NO_LEADER", (("term", 1),)),) and not ready.must_sync
    member.carry_out(ready)
    assert member.raft.ready() is None
