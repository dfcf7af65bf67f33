"""Leaders: proposals, what is sent to whom, how commit moves, how a log is repaired."""

import pytest

from kvlearn.errors import ProposalDropped
from kvlearn.events import Appended, Committed, Progressed, Refused
from kvlearn.raft import ConfState, EntryID, RaftConfig
from kvlearn.raft.messages import (
    AppendEntries,
    AppendResponse,
    ForwardProposal,
    Heartbeat,
    HeartbeatResponse,
    ProposalRefused,
    VoteResponse,
)
from kvlearn.raft.types import ZERO
from tests.raft.net import CALM, Member, Net


def ack(source, match, term=1) -> AppendResponse:
    return AppendResponse(source, "n1", term, match)


def refusal(source, at, hint, term=1) -> AppendResponse:
    return AppendResponse(source, "n1", term, 0, at, hint)


def beat_ok(source, term=1, context=0) -> HeartbeatResponse:
    return HeartbeatResponse(source, "n1", term, context)


def replicating(size=3, **about) -> Member:
    """A leader whose no-op everybody has."""
    member = Member(conf=size, **about).lead()
    last = member.raft.log.last_index
    for peer in member.raft.peers:
        member.hear(ack(peer, last, member.raft.term))
    assert all(p.state == "replicate" for p in member.raft.progress.values())
    return member


# Proposals ----------------------------------------------------------------------------------


def test_a_leader_appends_and_sends_to_all():
    member = replicating()
    member.raft.propose("x")
    sent = member.drive()
    assert [(m.target, str(m)) for m in sent] == [("n2", "App 1@1→2@1"), ("n3", "App 1@1→2@1")]
    assert member.heard(Appended)[-1].entries[0].data == "x"


def test_what_comes_in_one_turn_shares_a_message():
    member = replicating()
    for data in "xyz":
        member.raft.propose(data)
    sent = member.drive()
    assert [len(m.entries) for m in sent] == [3, 3]


def test_a_follower_forwards_to_its_leader_and_keeps_nothing():
    member = Member()
    member.hear(Heartbeat("n2", "n1", 1, 0))
    member.raft.propose("x")
    assert member.drive() == [ForwardProposal("n1", "n2", 0, "x")]
    assert member.terms == []


def test_without_a_leader_a_proposal_is_dropped_with_a_reason():
    member = Member(term=3)
    with pytest.raises(ProposalDropped, match="no leader is known in term 3") as caught:
        member.raft.propose("x")
    assert caught.value.reason == "NO_LEADER"
    [event] = member.heard(Refused)
    assert (event.action, event.reason) == ("proposal", "NO_LEADER")
    assert member.drive() == [] and member.terms == []


def test_a_candidate_takes_no_proposal_either():
    member = Member()
    member.hear(Heartbeat("n2", "n1", 1, 0))
    member.raft.campaign()
    with pytest.raises(ProposalDropped):
        member.raft.propose("x")


def test_a_forwarded_proposal_is_appended_by_the_leader():
    member = replicating()
    member.hear(ForwardProposal("n2", "n1", 0, "x"))
    assert member.raft.log.entries[-1].data == "x"


def test_a_forwarded_proposal_follows_the_leader_but_never_goes_back():
    member = Member()
    member.hear(Heartbeat("n2", "n1", 1, 0))
    assert member.hear(ForwardProposal("n3", "n1", 0, "x")) == [ForwardProposal("n1", "n2", 0, "x")]
    why = ("NO_LEADER", (("term", 1),))
    assert member.hear(ForwardProposal("n2", "n1", 0, "y")) == [
        ProposalRefused("n1", "n2", 0, "y", *why)
    ]
    [event] = member.heard(Refused)
    assert (event.action, event.peer, event.reason) == ("proposal", "n2", "NO_LEADER")


# Replication --------------------------------------------------------------------------------


def test_the_first_message_to_each_is_a_probe():
    member = Member().lead()
    member.raft.propose("x")
    assert member.drive() == [], "the probe with the no-op is still out"
    assert str(member.raft.progress["n2"]) == "probe match=0 next=1"


def test_an_acknowledged_probe_opens_the_window():
    member = Member().lead()
    member.raft.propose("x")
    sent = member.hear(ack("n2", 1))
    assert [(m.target, m.prev.index, len(m.entries)) for m in sent if m.target == "n2"][0] == (
        "n2",
        1,
        1,
    )
    assert member.heard(Progressed)[0] == Progressed("n2", "replicate", 1, 2)


def test_messages_are_cut_at_the_limit_and_the_window():
    member = replicating(config=RaftConfig(max_entries_per_message=2, max_inflight=3))
    for k in range(10):
        member.raft.propose(k)
    to_n2 = [m for m in member.drive() if m.target == "n2"]
    assert [(m.prev.index, len(m.entries)) for m in to_n2] == [(1, 2), (3, 2), (5, 2)]
    more = member.hear(ack("n2", 5))  # two of the three messages
    assert [(m.prev.index, len(m.entries)) for m in more if m.target == "n2" and m.entries] == [
        (7, 2),
        (9, 2),
    ]


def test_a_refusal_moves_the_probe_back_a_term_at_a_time():
    """Figure 7, leader and follower (f): five messages, not eleven."""
    net = Net(
        2, logs={"n1": (1, 1, 1, 4, 4, 5, 5, 6, 6, 6), "n2": (1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3)}
    )
    net["n1"].term = 7
    net["n1"].campaign()
    net.gather()
    sent = []
    while net.wire:
        sent += [m for m in net.wire[:1] if isinstance(m, AppendEntries)]
        net.deliver(net.wire[0])
    assert net.members["n2"].terms == net.members["n1"].terms
    probes = [m.prev.index for m in sent]
    assert probes[:2] == [10, 3], "from 10@6 straight to the last entry that both may share"


@pytest.mark.parametrize(
    "leader, hint, next",
    [
        ((1, 1, 1, 4, 4), EntryID(1, 3), 4),  # the hint is an entry that both have
        ((1, 1, 1, 4, 4), EntryID(3, 5), 4),  # the leader has no 3: after its last older one
        ((1, 1, 1, 4, 4), EntryID(4, 4), 5),
        ((1, 1, 1, 4, 4), ZERO, 1),
        ((2, 2), EntryID(1, 2), 1),
    ],
)
def test_both_sides_skip_what_the_other_cannot_have(leader, hint, next):
    member = Member(terms=leader).lead()
    at = len(leader)
    member.hear(refusal("n2", at, hint, member.raft.term))
    assert member.raft.progress["n2"].next == next


def test_a_lost_message_is_noticed_at_the_next_and_repaired():
    member = replicating()
    member.raft.propose("lost"), member.drive()
    member.raft.propose("x"), member.drive()
    sent = member.hear(refusal("n2", 2, EntryID(1, 1)))  # it has a gap
    assert [(m.prev.index, len(m.entries)) for m in sent] == [(1, 2)]
    assert member.raft.progress["n2"].state == "probe"


def test_a_lost_last_message_is_noticed_at_a_heartbeat():
    member = replicating()
    member.raft.propose("lost"), member.drive()
    [again] = member.hear(beat_ok("n2"))
    assert (again.prev.index, again.entries) == (2, ()), "is all that went out there?"
    [again] = member.hear(refusal("n2", 2, EntryID(1, 1)))
    assert (again.prev.index, len(again.entries)) == (1, 1)


def test_a_lost_probe_is_sent_again_after_a_heartbeat():
    member = Member().lead()
    [again] = member.hear(beat_ok("n2"))
    assert isinstance(again, AppendEntries) and again.target == "n2" and len(again.entries) == 1


def test_a_heartbeat_frees_a_full_window_by_one():
    member = replicating(config=RaftConfig(max_entries_per_message=1, max_inflight=2))
    for k in range(5):
        member.raft.propose(k)
    assert len([m for m in member.drive() if m.target == "n2"]) == 2
    sent = member.hear(beat_ok("n2"))
    assert [len(m.entries) for m in sent] == [1]


def test_a_follower_that_has_all_is_not_bothered_after_a_heartbeat():
    member = replicating()
    assert member.hear(beat_ok("n2")) == []


@pytest.mark.parametrize("late", [refusal("n2", 1, ZERO), ack("n2", 0), ack("n2", 1)])
def test_late_answers_take_nothing_back(late):
    member = replicating()
    member.raft.propose("x"), member.drive()
    member.hear(ack("n2", 2))
    member.hear(late)
    assert str(member.raft.progress["n2"]) == "replicate match=2 next=3"


@pytest.mark.parametrize("message", [ack("n9", 5), refusal("n9", 1, ZERO), beat_ok("n9")], ids=str)
def test_strangers_are_not_counted(message):
    member = Member().lead()
    member.hear(message)
    assert member.raft.log.committed == 0


@pytest.mark.parametrize("message", [ack("n2", 1), beat_ok("n2"), refusal("n2", 1, ZERO)], ids=str)
def test_answers_to_a_leader_that_is_none_any_more_are_ignored(message):
    member = Member(term=1)
    assert member.hear(message) == [] and member.raft.progress == {}


# Heartbeats ---------------------------------------------------------------------------------


def test_a_leader_speaks_every_heartbeat_interval():
    member = replicating(config=RaftConfig(heartbeat_ticks=3))
    member.raft.tick(2)
    assert member.drive() == []
    member.raft.tick()
    assert [str(m) for m in member.drive()] == ["Beat", "Beat"]
    member.raft.tick(30)
    assert len(member.drive()) == 2, "one round, however long the pause"


def test_a_leader_never_times_out():
    member = replicating()
    for _ in range(100):
        member.raft.tick()
    assert (member.raft.role, member.raft.term) == ("leader", 1)


def test_a_heartbeat_commits_nothing_beyond_what_the_follower_has():
    member = replicating(5)
    member.raft.propose("x"), member.drive()
    member.hear(ack("n2", 2), ack("n3", 2))
    assert member.raft.log.committed == 2
    member.raft.tick()
    beats = {m.target: m.commit for m in member.drive() if isinstance(m, Heartbeat)}
    assert beats == {"n2": 2, "n3": 2, "n4": 1, "n5": 1}


# Commit -------------------------------------------------------------------------------------


def test_an_entry_is_committed_when_a_majority_has_it_and_the_followers_hear_of_it():
    member = replicating(5)
    member.raft.propose("x"), member.drive()
    member.hear(ack("n2", 2))
    assert member.raft.log.committed == 1
    told = member.hear(ack("n3", 2))
    assert member.heard(Committed)[-1] == Committed(2, 1, 1)
    assert {m.target: m.commit for m in told} == dict.fromkeys(("n2", "n3", "n4", "n5"), 2)
    assert [entry.data for entry in member.applied] == [None, "x"]


def test_a_leader_counts_itself_only_when_its_own_disk_has_the_entry():
    member = replicating()
    member.raft.propose("x")
    slow = member.raft.ready()
    assert [m.target for m in slow.messages] == ["n2", "n3"]
    assert not any(m.after_save for m in slow.messages), "sent while its own disk writes"
    member.raft.step(ack("n2", 2))
    assert member.raft.log.committed == 1, "one of three disks"
    member.carry_out(slow)
    assert member.raft.log.committed == 2


def test_a_majority_of_others_is_enough():
    member = replicating()
    member.raft.propose("x")
    slow = member.raft.ready()
    member.raft.step(ack("n2", 2)), member.raft.step(ack("n3", 2))
    assert member.raft.log.committed == 2 and member.raft.log.stable == 1
    assert member.applied == [member.raft.log.entries[0]]
    member.carry_out(slow)
    assert [e.data for e in member.applied] == [None], "the next ready has it"
    member.drive()
    assert [e.data for e in member.applied] == [None, "x"]


def test_alone_it_commits_what_its_disk_has():
    member = Member(conf=1).lead()
    member.raft.propose("x")
    ready = member.raft.ready()
    assert member.raft.log.committed == 1 and not ready.committed
    member.carry_out(ready)
    assert member.raft.log.committed == 2


@pytest.mark.parametrize("size, acks", [(2, 1), (3, 1), (4, 2), (5, 2), (6, 3), (7, 3)])
def test_how_many_acknowledgements_it_takes(size, acks):
    member = Member(conf=size).lead()
    for k, peer in enumerate(member.raft.peers, start=1):
        member.hear(ack(peer, 1))
        assert (member.raft.log.committed == 1) == (k >= acks)


def test_an_old_entry_is_not_committed_by_counting():
    member = Member(conf=5, terms=(1, 2), term=3).lead()
    assert member.terms == [1, 2, 4]
    member.hear(ack("n2", 2, 4), ack("n3", 2, 4))
    assert member.raft.log.committed == 0
    event = [e for e in member.heard(Refused) if e.reason == "COMMIT_OLD_TERM"][-1]
    assert str(event) == (
        "may not commit in term 4: 2@2 is on a majority, but it is not of my own term 4"
    )
    member.hear(ack("n2", 3, 4), ack("n3", 3, 4))
    assert member.heard(Committed) == [Committed(3, 4, 0)], "and with it all that precede"


def test_a_follower_that_could_not_be_sent_to_hears_of_the_commit_when_it_answers():
    member = Member().lead()
    told = member.hear(ack("n3", 1))  # while the probe to n2 is still out
    assert {m.target for m in told} == {"n3"} and member.raft.log.committed == 1
    [late] = member.hear(ack("n2", 1))
    assert (late.target, late.entries, late.commit) == ("n2", (), 1)
    assert member.hear(ack("n2", 1)) == [], "told once"


def test_learners_get_everything_and_count_for_nothing():
    conf = ConfState(("n1", "n2", "n3"), learners=("n4", "n5"))
    member = Member("n1", conf)
    member.raft.campaign(), member.drive()
    sent = member.hear(VoteResponse("n2", "n1", 1, True))
    assert {m.target for m in sent} == {"n2", "n3", "n4", "n5"}
    member.hear(ack("n4", 1), ack("n5", 1))
    assert member.raft.log.committed == 0
    member.hear(ack("n3", 1))
    assert member.raft.log.committed == 1


def test_a_joint_configuration_needs_both_majorities():
    conf = ConfState(("n1", "n2", "n3"), outgoing=("n1", "n4", "n5"))
    member = Member("n1", conf).lead()
    member.hear(ack("n2", 1), ack("n3", 1))
    assert member.raft.log.committed == 0
    member.hear(ack("n5", 1))
    assert member.raft.log.committed == 1


def test_what_a_deposed_leader_hears_no_longer_commits():
    member = replicating()
    member.raft.propose("x"), member.drive()
    member.hear(Heartbeat("n3", "n1", 2, 1))
    member.hear(ack("n2", 2))
    assert member.raft.log.committed == 1 and member.raft.role == "follower"


def test_a_disk_that_ends_writing_after_the_leadership_is_over_commits_nothing():
    member = Member(conf=1).lead()
    member.raft.propose("x")
    slow = member.raft.ready()
    member.raft.step(Heartbeat("n2", "n1", 9, 0))
    member.carry_out(slow)
    assert member.raft.log.committed == 1 and member.raft.role == "follower"


# Whole nets ---------------------------------------------------------------------------------


def test_three_agree_on_what_was_proposed_anywhere():
    net = Net(3)
    net.elect("n1")
    for name in ("n1", "n2", "n3"):
        net[name].propose(name)
        net.settle()
    net.beat("n1")
    for member in net.members.values():
        assert [entry.data for entry in member.applied] == [None, "n1", "n2", "n3"]


def test_a_follower_that_was_away_catches_up():
    net = Net(3, config=RaftConfig(max_entries_per_message=4, max_inflight=2))
    net.elect("n1")
    net.cut("n3")
    for k in range(30):
        net["n1"].propose(k)
        net.settle()
    net.heal()
    net.beat("n1", 2)
    assert net.members["n3"].terms == net.members["n1"].terms
    assert len(net.members["n3"].applied) == 31


def test_a_wiped_member_is_filled_by_the_next_leader():
    net = Net(3)
    net.elect("n1")
    net["n1"].propose("x"), net.settle()
    net.members["n3"] = Member("n3", 3, config=CALM)  # its disk is gone
    net.beat("n1", 2)
    assert net.members["n3"].terms == [], "n1 trusts what n3 acknowledged"
    net.elect("n2")
    assert net.members["n3"].terms == [1, 1, 2]


@pytest.mark.parametrize(
    "follower",
    [
        (1, 1, 1, 4, 4, 5, 5, 6, 6),  # (a)
        (1, 1, 1, 4),  # (b)
        (1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6),  # (c)
        (1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7),  # (d)
        (1, 1, 1, 4, 4, 4, 4),  # (e)
        (1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3),  # (f)
        (),
        (2, 2, 2, 2, 3, 3, 7, 7),
    ],
)
def test_whatever_a_follower_has_it_becomes_like_the_leader(follower):
    """Paper, figure 7."""
    leader = (1, 1, 1, 4, 4, 5, 5, 6, 6, 6)
    net = Net(3, logs={"n1": leader, "n2": leader, "n3": follower})
    for member in net.members.values():
        member.raft.term = 7
    net["n1"].campaign()
    net.settle()
    assert net["n1"].role == "leader"
    net.beat("n1", 2)
    assert net.members["n3"].terms == [*leader, 8]
    assert net["n3"].log.committed == 11
