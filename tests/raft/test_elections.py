"""Elections, handler by handler: timers, campaigns, votes asked for and counted."""

import pytest

from kvlearn.events import BecameCandidate, BecameFollower, BecameLeader, Refused, VoteGranted
from kvlearn.raft import ConfState, EntryID, RaftConfig
from kvlearn.raft.messages import (
    AppendEntries,
    Heartbeat,
    HeartbeatResponse,
    RequestVote,
    VoteResponse,
)
from kvlearn.raft.types import ZERO, HardState
from tests.raft.net import CALM, Member, Net


def vote(candidate="n2", term=1, last=ZERO, target="n1") -> RequestVote:
    return RequestVote(candidate, target, term, last)


def answer(source, term, granted=True, target="n1") -> VoteResponse:
    return VoteResponse(source, target, term, granted)


# Timers -------------------------------------------------------------------------------------


def test_a_new_node_is_a_follower_of_nobody():
    member = Member()
    raft = member.raft
    assert (raft.role, raft.leader, raft.term, raft.vote) == ("follower", None, 0, None)
    [event] = member.said
    assert event == BecameFollower(0, None, 10, "STARTED")
    assert member.drive() == [], "a new node has nothing to say"


def test_a_follower_campaigns_when_its_timeout_has_run_out_and_no_tick_earlier():
    member = Member(config=CALM)
    member.raft.tick(9)
    assert member.raft.role == "follower"
    member.raft.tick()
    assert member.raft.role == "candidate"
    [event] = member.heard(BecameCandidate)
    assert event == BecameCandidate(1, ZERO, 10, 10)


def test_one_big_tick_is_one_timeout():
    member = Member(config=CALM)
    member.raft.tick(1000)
    assert member.raft.term == 1 and member.raft.deadline == 1010


def test_timeouts_are_drawn_between_the_bounds_and_differ():
    config = RaftConfig.paper()
    drawn = [Member(config=config, seed=seed).raft.timeout_ticks for seed in range(200)]
    assert all(150 <= ticks <= 300 for ticks in drawn)
    assert len(set(drawn)) > 50 and min(drawn) < 165 and max(drawn) > 285


@pytest.mark.parametrize(
    "message",
    [
        Heartbeat("n2", "n1", 1, 0),
        AppendEntries("n2", "n1", 1, ZERO, (), 0),
        AppendEntries("n2", "n1", 1, EntryID(1, 7), (), 0),  # refused, but it leads
        vote(),
    ],
    ids=lambda message: str(message),
)
def test_a_leaders_word_and_a_granted_vote_start_the_wait_anew(message):
    member = Member(term=1, config=CALM)
    member.raft.tick(9)
    member.hear(message)
    member.raft.tick(9)
    assert member.raft.role == "follower"
    member.raft.tick()
    assert member.raft.role == "candidate"


@pytest.mark.parametrize(
    "message",
    [
        vote(last=ZERO),  # refused: its log is behind
        vote(term=5, last=ZERO),  # refused too, although the term is newer
        answer("n2", 1),
        HeartbeatResponse("n2", "n1", 5),  # a newer term alone
        Heartbeat("n2", "n1", 1, 0),  # the leader of an old term
        AppendEntries("n2", "n1", 1, ZERO, (), 0),
    ],
    ids=lambda message: str(message),
)
def test_nothing_else_does(message):
    member = Member(terms=(1,), term=2, config=CALM)
    member.raft.tick(9)
    member.hear(message)
    member.raft.tick()
    assert member.raft.role == "candidate"


def test_a_candidate_that_hears_nothing_tries_the_next_term():
    member = Member(config=CALM)
    member.raft.tick(10)
    member.raft.tick(10)
    assert (member.raft.term, member.raft.vote, member.raft.votes) == (2, "n1", {"n1": True})


def test_a_learner_never_campaigns_and_is_not_asked():
    conf = ConfState(("n1", "n2"), learners=("n3",))
    learner = Member("n3", conf)
    learner.raft.tick(1000)
    assert learner.raft.role == "follower" and learner.raft.deadline > learner.raft.now
    candidate = Member("n1", conf)
    candidate.raft.campaign()
    assert [m.target for m in candidate.drive()] == ["n2"]


# Asking -------------------------------------------------------------------------------------


def test_a_candidate_votes_for_itself_and_asks_everybody_with_the_end_of_its_log():
    member = Member(conf=5, terms=(1, 1, 3), term=4, vote="n5")
    member.raft.campaign()
    assert (member.raft.role, member.raft.term, member.raft.vote) == ("candidate", 5, "n1")
    asked = member.drive()
    assert asked == [RequestVote("n1", f"n{k}", 5, EntryID(3, 3)) for k in (2, 3, 4, 5)]
    assert (member.disk.term, member.disk.vote) == (5, "n1")


def test_alone_in_the_cluster_it_leads_once_its_vote_is_saved():
    """If it led before, a crash could let it lead the same term twice, with other entries."""
    member = Member(conf=1)
    member.raft.campaign()
    assert member.raft.role == "candidate"
    saved = member.raft.ready()
    assert saved.must_sync and saved.hard_state == HardState(1, "n1", 0) and not saved.entries
    member.raft.advance(saved)
    assert member.raft.role == "leader"
    [event] = member.heard(BecameLeader)
    assert event == BecameLeader(1, ("n1",), ZERO)
    member.drive()
    assert member.raft.log.committed == 1


def test_a_candidate_that_campaigns_again_forgets_the_votes_of_the_old_term():
    member = Member(conf=5)
    member.raft.campaign()
    member.hear(answer("n2", 1))
    member.raft.campaign()
    member.hear(answer("n3", 1), answer("n4", 1))  # of the old term
    assert member.raft.role == "candidate" and member.raft.votes == {"n1": True}


# Granting -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "mine, theirs, granted",
    [
        ((), ZERO, True),
        ((), EntryID(1, 1), True),
        ((1,), ZERO, False),
        ((1, 1), EntryID(1, 2), True),  # as long
        ((1, 1), EntryID(1, 3), True),  # longer
        ((1, 1), EntryID(1, 1), False),  # shorter
        ((1, 1), EntryID(2, 1), True),  # shorter, but its last term is newer
        ((1, 2), EntryID(1, 9), False),  # longer, but its last term is older
    ],
)
def test_a_vote_goes_to_a_log_that_is_at_least_as_up_to_date(mine, theirs, granted):
    member = Member(terms=mine, term=2)
    [response] = member.hear(vote(term=3, last=theirs))
    assert response == VoteResponse("n1", "n2", 3, granted)
    assert member.raft.vote == ("n2" if granted else None)
    if granted:
        assert member.heard(VoteGranted) == [VoteGranted(3, "n2")]
    else:
        [refusal] = member.heard(Refused)
        assert refusal.reason == "VOTE_LOG_BEHIND" and "is behind" in str(refusal)


def test_one_vote_a_term_first_come_first_served():
    member = Member()
    [first] = member.hear(vote("n2"))
    [second] = member.hear(vote("n3"))
    assert first.granted and not second.granted
    [refusal] = member.heard(Refused)
    assert str(refusal) == ("refuses n3's vote request in term 1: my vote of term 1 went to n2")


def test_the_same_candidate_is_answered_again_with_the_same_vote():
    member = Member()
    responses = member.hear(vote("n2"), vote("n2"))
    assert [response.granted for response in responses] == [True, True]


def test_a_candidate_votes_for_nobody_else_in_its_term():
    member = Member()
    member.raft.campaign()
    member.drive()
    [response] = member.hear(vote("n2", 1))
    assert not response.granted and member.raft.vote == "n1"


def test_a_candidate_of_an_old_term_is_told_the_new_one():
    member = Member(term=5)
    [response] = member.hear(vote(term=4, last=EntryID(4, 99)))
    assert response == VoteResponse("n1", "n2", 5, False)
    [refusal] = member.heard(Refused)
    assert refusal.reason == "TERM_OLD" and member.raft.vote is None


@pytest.mark.parametrize("role", ["follower", "candidate", "leader"])
def test_a_newer_term_makes_everybody_a_follower_with_a_free_vote(role):
    member = Member(conf=3)
    if role == "leader":
        member.lead()
    elif role == "candidate":
        member.raft.campaign()
    member.drive()
    last = EntryID(9, 9)
    [response] = member.hear(vote("n3", term=7, last=last))
    assert response.granted
    raft = member.raft
    assert (raft.role, raft.term, raft.vote, raft.leader) == ("follower", 7, "n3", None)
    assert raft.votes == {} and raft.progress == {}
    step = member.heard(BecameFollower)[-1]
    assert step.reason == "HIGHER_TERM" and "n3 speaks of term 7, newer than" in str(step)


def test_the_vote_is_in_the_same_ready_as_the_answer_that_tells_it():
    member = Member()
    member.raft.step(vote())
    ready = member.raft.ready()
    assert (ready.hard_state.term, ready.hard_state.vote) == (1, "n2")
    assert ready.must_sync and ready.messages[0].after_save


def test_a_vote_survives_a_crash():
    member = Member()
    member.hear(vote("n2"))
    again = member.again()
    [response] = again.hear(vote("n3"))
    assert not response.granted
    [response] = again.hear(vote("n2"))
    assert response.granted


# Counting -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "size, answers, role",
    [
        (3, [("n2", True)], "leader"),
        (3, [("n2", False)], "candidate"),
        (3, [("n2", False), ("n3", True)], "leader"),
        (3, [("n2", False), ("n3", False)], "follower"),
        (4, [("n2", True)], "candidate"),
        (4, [("n2", True), ("n3", True)], "leader"),
        (4, [("n2", False), ("n3", False)], "follower"),
        (5, [("n2", True), ("n2", True), ("n2", True)], "candidate"),  # one voter, one vote
        (5, [("n2", True), ("n2", False), ("n3", True)], "leader"),  # the first word counts
        (5, [("n2", True), ("n3", True)], "leader"),
        (5, [("n2", True), ("n9", True)], "candidate"),  # a stranger has none
    ],
)
def test_votes_are_counted(size, answers, role):
    member = Member(conf=size)
    member.raft.campaign()
    member.hear(*(answer(source, 1, granted) for source, granted in answers))
    assert member.raft.role == role


def test_a_lost_election_leaves_a_follower_that_waits_a_whole_timeout():
    member = Member()
    member.raft.campaign()
    member.raft.tick(5)
    member.hear(answer("n2", 1, False), answer("n3", 1, False))
    step = member.heard(BecameFollower)[-1]
    assert step.reason == "ELECTION_LOST" and str(step).endswith("too many refused for a majority")
    assert member.raft.vote == "n1", "the term goes on, and the vote is spent"
    assert member.raft.deadline == 15


@pytest.mark.parametrize("role", ["follower", "leader"])
def test_an_answer_that_comes_when_all_is_decided_changes_nothing(role):
    member = Member()
    if role == "leader":
        member.lead()
    before = (member.raft.role, member.raft.term, dict(member.raft.votes))
    assert member.hear(answer("n3", member.raft.term)) == []
    assert (member.raft.role, member.raft.term, dict(member.raft.votes)) == before


def test_an_answer_of_a_newer_term_ends_the_candidacy():
    member = Member()
    member.raft.campaign()
    member.drive()
    assert member.hear(answer("n2", 9, False)) == []
    assert (member.raft.role, member.raft.term) == ("follower", 9)


def test_the_new_leader_says_who_voted_and_appends_a_no_op():
    member = Member(conf=5, terms=(1, 1), term=3)
    member.raft.campaign()
    member.drive()
    sent = member.hear(answer("n4", 4), answer("n2", 4))
    [event] = member.heard(BecameLeader)
    assert event == BecameLeader(4, ("n1", "n2", "n4"), EntryID(1, 2))
    assert member.raft.leader == "n1" and member.terms == [1, 1, 4]
    assert member.raft.log.entries[-1].data is None
    assert [(m.target, m.prev, len(m.entries)) for m in sent] == [
        (f"n{k}", EntryID(1, 2), 1) for k in (2, 3, 4, 5)
    ]


# Giving way ---------------------------------------------------------------------------------


@pytest.mark.parametrize("message", [Heartbeat, AppendEntries])
def test_a_candidate_gives_way_to_the_leader_of_its_term(message):
    member = Member()
    member.raft.campaign()
    member.drive()
    word = Heartbeat("n2", "n1", 1, 0)
    if message is AppendEntries:
        word = AppendEntries("n2", "n1", 1, ZERO, (), 0)
    member.hear(word)
    assert (member.raft.role, member.raft.leader, member.raft.vote) == ("follower", "n2", "n1")
    assert member.heard(BecameFollower)[-1].reason == "LEADER_HEARD"


@pytest.mark.parametrize("message", [Heartbeat, AppendEntries])
def test_a_candidate_does_not_give_way_to_a_leader_of_an_old_term(message):
    member = Member(term=3)
    member.raft.campaign()
    member.drive()
    word = Heartbeat("n2", "n1", 3, 0)
    if message is AppendEntries:
        word = AppendEntries("n2", "n1", 3, ZERO, (), 0)
    [told] = member.hear(word)
    assert told.term == 4 and member.raft.role == "candidate"


def test_a_deposed_leader_learns_of_it_from_any_answer():
    net = Net(3)
    net.elect("n1")
    net.cut("n1")
    net.elect("n2")
    net.heal()
    net.beat("n1")
    assert (net["n1"].role, net["n1"].term) == ("follower", 2)
    net.beat("n2")
    assert net["n1"].leader == "n2"


def test_a_split_vote_makes_no_leader_and_the_next_term_does():
    net = Net(4)
    net["n1"].campaign(), net["n2"].campaign()
    net.members["n1"].drive(), net.members["n2"].drive()  # these requests get lost
    net.wire = [vote("n1", 1, ZERO, "n3"), vote("n2", 1, ZERO, "n4")]
    net.settle()
    assert {net[name].role for name in ("n1", "n2")} == {"candidate"}
    net.elect("n1")
    assert net["n1"].term == 2 and net["n2"].leader == "n1"


@pytest.mark.parametrize("seed", range(20))
def test_by_ticks_alone_somebody_wins(seed):
    net = Net(5, config=RaftConfig.etcd(), seed=seed)
    for _ in range(200):
        for member in net.members.values():
            member.raft.tick()
        net.settle()
        if any(member.raft.role == "leader" for member in net.members.values()):
            break
    [leader] = [m.raft for m in net.members.values() if m.raft.role == "leader"]
    assert {m.raft.leader for m in net.members.values()} == {leader.id}
