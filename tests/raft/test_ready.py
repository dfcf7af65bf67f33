"""The seam: what `ready` hands out, when it must be forced to disk, and what a crash leaves."""

from random import Random

import pytest

from kvlearn.raft import HardState, Raft
from kvlearn.raft.messages import AppendEntries, Heartbeat, RequestVote
from kvlearn.raft.types import ZERO
from tests.raft.net import CALM, Member, Net, entries_of, voters


def test_there_is_nothing_to_do_until_something_happens():
    member = Member(terms=(1, 1), commit=2)
    member.drive()
    assert member.raft.ready() is None
    member.raft.tick()
    assert member.raft.ready() is None


def test_a_ready_is_a_value():
    member = Member().lead()
    member.raft.propose("x")
    ready = member.raft.ready()
    with pytest.raises(AttributeError):
        ready.messages = ()
    assert isinstance(ready.entries, tuple) and isinstance(ready.messages, tuple)


def test_what_was_handed_out_is_not_handed_out_again():
    member = Member().lead()
    member.raft.propose("x")
    member.carry_out(member.raft.ready())
    assert member.raft.ready() is None


@pytest.mark.parametrize(
    "input, sync, hard",
    [
        (Heartbeat("n2", "n1", 1, 1), False, True),  # the commit index alone promises nothing
        (Heartbeat("n2", "n1", 1, 0), False, False),
        (Heartbeat("n2", "n1", 2, 0), True, True),  # the term
        (AppendEntries("n2", "n1", 1, ZERO, entries_of(1, 1, 1), 0), True, False),
        (RequestVote("n2", "n1", 2, ZERO), True, True),
    ],
    ids=str,
)
def test_the_disk_is_forced_when_something_is_promised(input, sync, hard):
    member = Member(terms=(1,), term=1)
    member.raft.step(input)
    ready = member.raft.ready()
    assert ready.must_sync is sync and (ready.hard_state is not None) is hard


def test_steps_and_ticks_may_come_between_ready_and_advance():
    member = Member().lead()
    member.raft.propose("x")
    slow = member.raft.ready()
    member.raft.propose("y")
    member.raft.tick()
    member.carry_out(slow)
    assert [e.data for e in member.raft.ready().entries] == ["y"]


def test_the_leader_part_of_a_ready_leaves_before_the_save_and_the_promises_after():
    member = Member(conf=3)
    member.raft.campaign()
    assert all(m.after_save for m in member.raft.ready().messages)
    leader = Member(conf=3).lead()
    leader.raft.propose("x"), leader.raft.tick()
    assert not any(m.after_save for m in leader.raft.ready().messages)


def test_a_node_starts_with_what_its_disk_holds():
    net = Net(3)
    net.elect("n1")
    net["n1"].propose("x"), net.settle()
    net.beat("n1")
    before = net.members["n2"]
    again = before.again()
    raft = again.raft
    assert (raft.role, raft.leader) == ("follower", None)
    assert (raft.term, raft.vote, raft.log.committed) == (1, "n1", 2)
    assert raft.log.entries == before.raft.log.entries and raft.log.stable == 2
    again.drive()
    assert [entry.data for entry in again.applied] == [None, "x"], "applied anew, from the start"


@pytest.mark.parametrize(
    "commit, applied, committed, first",
    [
        (0, 0, 0, None),
        (2, 0, 2, 1),
        (2, 1, 2, 2),
        (2, 2, 2, None),
        (0, 2, 2, None),
        (1, 3, 3, None),
    ],
)
def test_what_the_state_machine_has_was_committed_and_comes_not_again(
    commit, applied, committed, first
):
    raft = Raft(
        "n1",
        voters(3),
        CALM,
        Random(1),
        lambda e: None,
        HardState(1, None, commit),
        entries_of(1, 1, 1),
        applied,
    )
    assert raft.log.committed == committed
    ready = raft.ready()
    assert (ready.committed[0].index if ready else None) == first


def test_a_crash_between_ready_and_save_takes_back_what_nobody_heard_of():
    member = Member()
    member.raft.step(RequestVote("n2", "n1", 1, ZERO))
    member.raft.ready()  # the process dies here
    again = member.again()
    assert (again.raft.term, again.raft.vote) == (0, None)
