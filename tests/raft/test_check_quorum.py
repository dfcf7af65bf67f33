"""A leader without a majority steps down, and one that is heard is not disturbed (thesis 6.2,
4.2.3); reads by lease rest on both (6.4.1)."""

from dataclasses import replace

import pytest

from kvlearn.events import BecameFollower, ReadConfirmed, Refused
from kvlearn.raft import ConfState, ReadState
from kvlearn.raft.messages import (
    AppendEntries,
    AppendResponse,
    Heartbeat,
    HeartbeatResponse,
    InstallSnapshot,
    ReadIndex,
    ReadIndexResponse,
    RequestVote,
    SnapshotResponse,
    VoteResponse,
)
from kvlearn.raft.types import ZERO, EntryID
from tests.raft.net import CALM, Member, Net, voters

CHECKED = replace(CALM, check_quorum=True)
LEASED = replace(CHECKED, lease_reads=True)
JOINT = ConfState(("n1", "n2", "n3"), ("n1", "n4", "n5"))


def leader(conf: ConfState | int = 3, config=CHECKED) -> Member:
    """It was elected at tick 0, when everybody counts as heard."""
    return Member(conf=conf, config=config).lead()


def ok(source: str, term: int = 1, sent: int = 0) -> HeartbeatResponse:
    return HeartbeatResponse(source, "n1", term, 0, sent)


# quorum_active: does a majority hear me? ----------------------------------------------------


@pytest.mark.parametrize(
    "conf, answer_at_5, leads_at_10",
    [
        (3, (), False),
        (3, ("n2",), True),
        (5, ("n2",), False),
        (5, ("n2", "n3"), True),
        (JOINT, ("n2", "n3"), False),  # a majority of one half is not enough
        (JOINT, ("n2", "n4"), True),
        (ConfState(("n1", "n2", "n3"), learners=("n4",)), ("n4",), False),
        (ConfState(("n2", "n3"), ("n1", "n2", "n3")), ("n2",), False),  # it leaves, and has no say
        (ConfState(("n2", "n3"), ("n1", "n2", "n3")), ("n2", "n3"), True),
        (1, (), True),
    ],
)
def test_a_leader_needs_a_majority_in_an_election_timeout(conf, answer_at_5, leads_at_10):
    member = leader(conf)
    member.raft.tick(5)
    member.hear(*map(ok, answer_at_5))
    member.raft.tick(4)
    assert member.raft.role == "leader"
    member.raft.tick()
    assert (member.raft.role == "leader") == leads_at_10


def test_the_time_runs_from_the_last_answer():
    member = leader()
    for now in range(1, 15):
        member.raft.tick()
        if now == 5:
            member.hear(ok("n3"))
        assert member.raft.role == "leader", now
    member.raft.tick()
    assert member.raft.now == 15 and member.raft.role == "follower"


def test_it_says_why_and_stays_in_its_term():
    member = leader()
    member.raft.tick(10)
    event = member.heard(BecameFollower)[-1]
    assert (event.reason, event.facts, event.leader) == ("QUORUM_LOST", (("ticks", 10),), None)
    assert member.raft.term == 1 and member.raft.vote == "n1"
    assert not [m for m in member.drive() if isinstance(m, Heartbeat)]


def test_plain_raft_leads_on_alone():
    member = Member().lead()
    member.raft.tick(500)
    assert member.raft.role == "leader"


@pytest.mark.parametrize(
    "message, counts",
    [
        (ok("n2"), True),
        (AppendResponse("n2", "n1", 1, 1), True),
        (AppendResponse("n2", "n1", 1, 0, 1, ZERO), True),
        (SnapshotResponse("n2", "n1", 1, EntryID(1, 1), 0), True),
        (VoteResponse("n2", "n1", 1, True), False),
        (RequestVote("n2", "n1", 1, ZERO), False),
        (ok("n9"), False),
    ],
    ids=str,
)
def test_what_counts_as_an_answer(message, counts):
    member = leader()
    member.raft.tick(5)
    member.hear(message)
    member.raft.tick(5)
    assert (member.raft.role == "leader") == counts


def test_a_late_answer_of_an_old_term_is_none():
    member = Member(term=3, config=CHECKED).lead()
    member.raft.tick(5)
    member.hear(ok("n2", term=3))
    member.raft.tick(5)
    assert member.raft.role == "follower"


# in_lease: helping nobody to disturb a leader -----------------------------------------------


def following(config=CHECKED) -> Member:
    """At tick 20 it heard n2, which leads term 3."""
    member = Member(config=config)
    member.raft.tick(9)
    member.raft.now = 20
    member.hear(Heartbeat("n2", "n1", 3, 0))
    return member


@pytest.mark.parametrize("config", [CHECKED, LEASED])
@pytest.mark.parametrize("pre", [False, True])
@pytest.mark.parametrize("ticks, answers", [(0, False), (9, False), (10, True)])
def test_a_leader_that_was_heard_is_protected(config, ticks, answers, pre):
    member = following(config)
    member.raft.deadline = 99
    member.raft.tick(ticks)
    sent = member.hear(RequestVote("n3", "n1", 4, ZERO, pre))
    if answers:
        assert [m.granted for m in sent] == [True]
    else:
        assert sent == [] and member.raft.term == 3, "it does not even learn of the term"
        event = member.said[-1]
        assert (event.peer, event.reason) == ("n3", "LEADER_ALIVE")
        assert {("leader", "n2"), ("ticks", ticks)} <= set(event.facts)


@pytest.mark.parametrize(
    "message",
    [
        Heartbeat("n2", "n1", 3, 0),
        AppendEntries("n2", "n1", 3, ZERO, (), 0),
        InstallSnapshot("n2", "n1", 3, EntryID(1, 1), voters(3), 0, (), 9),
    ],
    ids=str,
)
def test_what_the_leader_says_renews_the_protection(message):
    member = following()
    member.raft.tick(6)
    member.hear(message)
    member.raft.tick(6)
    assert member.raft.in_lease()


def test_a_vote_that_the_leader_wants_is_given():
    member = following()
    [answer] = member.hear(RequestVote("n3", "n1", 4, ZERO, transfer=True))
    assert answer.granted and member.raft.term == 4


def test_the_term_of_another_leader_is_believed():
    member = following()
    member.hear(Heartbeat("n3", "n1", 4, 0))
    assert (member.raft.term, member.raft.leader) == (4, "n3")


def test_plain_raft_protects_nobody():
    member = following(CALM)
    [answer] = member.hear(RequestVote("n3", "n1", 4, ZERO))
    assert answer.granted


def test_a_leader_protects_itself():
    member = leader()
    assert member.hear(RequestVote("n3", "n1", 2, ZERO)) == []
    assert (member.raft.role, member.raft.term) == ("leader", 1)
    assert member.heard(Refused)[-1].action == "vote"


def test_a_leader_that_lost_its_majority_is_protected_no_more():
    member = leader()
    member.raft.tick(10), member.drive()
    [answer] = member.hear(RequestVote("n3", "n1", 2, EntryID(1, 1)))
    assert answer.granted


@pytest.mark.parametrize("config, protects", [(CHECKED, False), (LEASED, True)])
def test_after_a_restart_a_promise_may_be_out(config, protects):
    """It does not know whom it promised; only where reads rest on the promise it is kept."""
    member = Member(term=3, config=config)
    assert (member.hear(RequestVote("n3", "n1", 4, ZERO)) == []) == protects
    member.raft.deadline = 99
    member.raft.tick(10)
    [answer] = member.hear(RequestVote("n2", "n1", 5, ZERO))
    assert answer.granted, "after an election timeout every promise has run out"


@pytest.mark.parametrize("config, forgets", [(CHECKED, True), (LEASED, False), (CALM, True)])
def test_forget_leader_ends_the_protection_unless_reads_rest_on_it(config, forgets):
    member = following(config)
    member.raft.forget_leader()
    assert member.raft.leader == (None if forgets else "n2")
    answered = bool(member.hear(RequestVote("n3", "n1", 4, ZERO)))
    assert answered == forgets


def test_a_leader_cannot_forget_itself_and_a_heartbeat_brings_it_back():
    member = leader()
    member.raft.forget_leader()
    assert member.raft.leader == "n1"
    member = following()
    member.raft.forget_leader()
    member.hear(Heartbeat("n2", "n1", 3, 0))
    assert member.raft.leader == "n2" and member.raft.in_lease()


def test_a_node_whose_term_ran_ahead_comes_back_by_deposing_the_leader():
    """Without pre-votes nothing else would let it in (etcd: MsgAppResp of a higher term)."""
    net = Net(3, config=CHECKED)
    net.elect("n1")
    net["n3"].tick(10), net.settle()
    assert net["n3"].role == "candidate" and net["n1"].term == 1, "nobody listened to it"
    net.beat("n1")
    assert net["n1"].term == 2 and net["n1"].role == "follower"
    assert net["n3"].term == 2


# holds_lease: reading without asking --------------------------------------------------------
#
# CALM's shortest timeout is 10 ticks. A tenth is for clocks that go wrong, and two ticks for
# counting whole ones: a lease lasts 7 ticks from the moment when the heartbeat left.


def leased(conf: ConfState | int = 3, config=LEASED) -> Member:
    """It has committed its no-op; no heartbeat was answered yet."""
    member = leader(conf, config)
    for peer in ("n2", "n3"):
        member.hear(AppendResponse(peer, "n1", 1, 1))
    assert member.raft.may_read()
    return member


def test_votes_and_entries_prove_nothing_about_time():
    member = leased()
    assert not member.raft.holds_lease()


@pytest.mark.parametrize(
    "sent, answered, now, holds",
    [
        (1, 1, 7, True),
        (1, 6, 7, True),
        (1, 6, 8, False),  # what counts is when it left
        (3, 4, 9, True),
        (3, 4, 10, False),
    ],
)
def test_a_lease_lasts_from_when_the_heartbeat_left(sent, answered, now, holds):
    member = leased()
    member.raft.tick(sent)
    beats = [m for m in member.drive() if isinstance(m, Heartbeat)]
    assert {beat.sent for beat in beats} == {sent}
    member.raft.tick(answered - sent) if answered > sent else None
    member.hear(ok("n2", sent=sent))
    member.raft.tick(now - answered)
    assert member.raft.holds_lease() is holds


@pytest.mark.parametrize(
    "conf, answer, holds",
    [
        (3, ("n2",), True),
        (5, ("n2",), False),
        (5, ("n2", "n3"), True),
        (JOINT, ("n2", "n3"), False),
        (JOINT, ("n3", "n5"), True),
        (ConfState(("n1", "n2", "n3"), learners=("n4",)), ("n4",), False),
        (1, (), True),
    ],
)
def test_a_lease_needs_a_majority(conf, answer, holds):
    member = leader(conf, LEASED)
    member.raft.tick()
    member.hear(*(ok(peer, sent=1) for peer in answer))
    member.raft.tick()
    assert member.raft.holds_lease() is holds


def test_an_answer_that_was_overtaken_shortens_no_lease():
    member = leased()
    member.raft.tick(5)
    member.hear(ok("n2", sent=5), ok("n2", sent=2))
    assert member.raft.progress["n2"].proven == 5


def test_a_read_by_lease_asks_nobody():
    member = leased()
    member.raft.tick(), member.drive()
    member.hear(ok("n2", sent=1))
    member.raft.read_index("r")
    assert member.drive() == [] and member.reads == [ReadState("r", 1)]
    assert member.heard(ReadConfirmed)[-1] == ReadConfirmed(1, (), 1)
    [answer] = member.hear(ReadIndex("n3", "n1", 0, "q"))
    assert answer == ReadIndexResponse("n1", "n3", 0, "q", 1)


def test_when_the_lease_is_over_it_asks_again():
    member = leased()
    member.raft.tick()
    member.hear(ok("n2", sent=1))
    member.raft.tick(7)
    member.drive(), member.raft.read_index("r")
    beats = [m for m in member.drive() if isinstance(m, Heartbeat)]
    assert len(beats) == 2 and all(beat.context for beat in beats) and member.reads == []
    member.hear(HeartbeatResponse("n2", "n1", 1, beats[0].context, beats[0].sent))
    assert member.reads == [ReadState("r", 1)]


def test_a_new_leader_reads_by_lease_only_after_its_first_commit():
    member = leader(3, LEASED)
    member.raft.tick()
    member.hear(ok("n2", sent=1))
    member.raft.read_index("r"), member.drive()
    assert member.raft.holds_lease() and member.reads == []
    member.hear(AppendResponse("n2", "n1", 1, 1))
    assert member.reads == [ReadState("r", 1)]


def test_without_lease_reads_there_is_no_lease():
    member = leased(config=CHECKED)
    member.raft.tick()
    member.hear(ok("n2", sent=1))
    assert not member.raft.holds_lease()


def test_whoever_named_a_successor_has_no_lease_any_more():
    """The successor needs nobody's patience: it may lead before the lease is over."""
    member = leased()
    member.raft.tick()
    member.hear(ok("n2", sent=1), ok("n3", sent=1))
    member.raft.transfer_leadership("n2")
    assert not member.raft.holds_lease()
    member.raft.tick(9), member.hear(ok("n2", sent=10)), member.raft.tick()
    assert member.raft.transferee is None and member.raft.role == "leader"
    assert not member.raft.holds_lease(), "the word may still be on its way"


def test_a_successor_that_lacks_something_is_not_named_yet():
    member = leased()
    member.raft.tick()
    member.hear(ok("n2", sent=1))
    member.raft.propose("x")
    member.raft.transfer_leadership("n3")
    assert member.raft.holds_lease()
    member.drive(), member.hear(AppendResponse("n3", "n1", 1, 2))
    assert not member.raft.holds_lease()


@pytest.mark.parametrize("seed", range(3))
def test_while_a_lease_lasts_nobody_else_can_be_elected(seed):
    """Three nodes with leases; the leader is cut off, the others' clocks go on as fast as its."""
    net = Net(3, config=replace(LEASED, max_election_ticks=19), seed=seed)
    net.elect("n1"), net.beat("n1", 3)
    net.cut("n1")
    assert net["n1"].holds_lease()
    for _ in range(100):
        for name in ("n1", "n2", "n3"):
            net[name].tick()
        net.settle()
        elected = [name for name in ("n2", "n3") if net[name].role == "leader"]
        assert not (elected and net["n1"].role == "leader" and net["n1"].holds_lease())
        if elected:
            break
    else:
        raise AssertionError("the others never elected anybody")
