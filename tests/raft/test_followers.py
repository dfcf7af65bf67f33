"""Followers: the consistency check, what is stored, what is thrown away, what is committed."""

import pytest

from kvlearn.events import Appended, BecameFollower, Committed, Refused, Truncated
from kvlearn.raft import Entry, EntryID
from kvlearn.raft.messages import AppendEntries, AppendResponse, Heartbeat, HeartbeatResponse
from kvlearn.raft.types import ZERO
from tests.raft.net import CALM, Member, entries_of


def append(prev=0, terms=(), term=None, commit=0, log=(), source="n2") -> AppendEntries:
    """The leader's message: what follows index `prev` of a log with the given terms."""
    whole = entries_of(*log, *terms)
    id = whole[prev - 1].id if prev else ZERO
    term = max((*log, *terms), default=1) if term is None else term
    return AppendEntries(source, "n1", term, id, whole[prev:], commit)


@pytest.mark.parametrize(
    "mine, message, after, match",
    [
        ((), append(0, (1, 1)), [1, 1], 2),
        ((1, 1), append(2, (1, 2), log=(1, 1)), [1, 1, 1, 2], 4),
        ((1, 1), append(0, (1, 1)), [1, 1], 2),  # a duplicate
        ((1, 1, 1), append(1, (1,), log=(1,)), [1, 1, 1], 2),  # late: what follows stays
        ((1, 1, 1), append(1, (), log=(1,), term=1), [1, 1, 1], 1),  # empty: nothing goes
        ((1, 1, 1), append(1, (2,), log=(1,)), [1, 2], 2),  # differs: the tail goes
        ((1, 1, 1), append(1, (1, 2), log=(1,)), [1, 1, 2], 3),  # agrees for a while
        ((1, 1, 1), append(0, (2, 2, 2, 2)), [2, 2, 2, 2], 4),
        ((1,), append(1, (1, 1), log=(1,)), [1, 1, 1], 3),
    ],
)
def test_entries_that_fit_are_stored(mine, message, after, match):
    member = Member(terms=mine)
    [response] = member.hear(message)
    assert member.terms == after
    assert response == AppendResponse("n1", "n2", message.term, match)
    assert [entry.term for entry in member.saved] == after, "and they are on the disk"


@pytest.mark.parametrize(
    "mine, message, reason, hint",
    [
        ((), append(1, (1,), log=(1,)), "LOG_GAP", ZERO),
        ((1,), append(3, (1,), log=(1, 1, 1)), "LOG_GAP", EntryID(1, 1)),
        ((1, 1), append(2, (2,), log=(1, 2)), "LOG_CONFLICT", EntryID(1, 2)),
        # all of the newer terms 2 and 3 are skipped at once
        ((1, 2, 2, 3), append(4, (4,), log=(1, 1, 1, 1)), "LOG_CONFLICT", EntryID(1, 1)),
        ((1, 2, 2, 3), append(5, (4,), log=(1, 1, 2, 2, 2)), "LOG_GAP", EntryID(2, 3)),
        ((3, 3, 3), append(2, (4,), log=(2, 2)), "LOG_CONFLICT", ZERO),
    ],
)
def test_entries_that_do_not_fit_are_refused_with_a_hint(mine, message, reason, hint):
    member = Member(terms=mine)
    [response] = member.hear(message)
    assert response == AppendResponse("n1", "n2", message.term, 0, message.prev.index, hint)
    assert member.terms == list(mine), "nothing was touched"
    [refusal] = member.heard(Refused)
    assert (refusal.action, refusal.reason) == ("append", reason)
    assert f"it continues {message.prev}" in str(refusal)


def test_what_goes_is_told_entry_by_entry():
    member = Member(terms=(1, 1, 1))
    member.hear(append(1, (2,), log=(1,)))
    [event] = member.heard(Truncated)
    assert event == Truncated(1, (EntryID(1, 2), EntryID(1, 3)), EntryID(2, 2))
    assert str(event) == "drops 2@1 3@1: the leader has 2@2 there"
    assert member.heard(Appended)[-1].entries == (Entry(2, 2, "2@2"),)


def test_only_what_is_new_is_said_to_be_appended():
    member = Member(terms=(1, 1))
    member.hear(append(0, (1, 1, 1)))
    assert [event.entries for event in member.heard(Appended)] == [(Entry(3, 1, "3@1"),)]


def test_the_answer_shares_a_ready_with_the_entries():
    member = Member()
    member.raft.step(append(0, (1, 1)))
    ready = member.raft.ready()
    assert len(ready.entries) == 2 and ready.must_sync
    assert ready.messages[0].match == 2 and ready.messages[0].after_save


def test_what_the_leader_tells_becomes_the_leader():
    member = Member()
    member.hear(append(0, (), term=3, source="n3"))
    assert (member.raft.leader, member.raft.term) == ("n3", 3)
    assert member.heard(BecameFollower)[-1].leader == "n3"
    member.hear(append(0, (), term=3, source="n3"))
    assert len(member.heard(BecameFollower)) == 2, "told once"


# Commit -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "message, committed",
    [
        (append(0, (1, 1, 1), commit=2), 2),
        (append(0, (1, 1, 1), commit=9), 3),  # not beyond what this message covers
        (append(0, (1, 1), commit=0), 0),
        (append(2, (), log=(1, 1), term=1, commit=2), 2),  # an empty one tells the index
        (append(2, (), log=(1, 1), term=1, commit=4), 2),  # 3 and 4 may not be the leader's
    ],
)
def test_a_follower_commits_what_the_leader_has_and_this_message_covers(message, committed):
    member = Member(terms=(1, 1, 1, 1))
    member.hear(message)
    assert member.raft.log.committed == committed
    assert [entry.index for entry in member.applied] == list(range(1, committed + 1))


def test_an_old_commit_index_takes_nothing_back():
    member = Member(terms=(1, 1, 1), commit=3)
    member.hear(append(3, (), log=(1, 1, 1), term=1, commit=1))
    member.hear(Heartbeat("n2", "n1", 1, 2))
    assert member.raft.log.committed == 3 and not member.heard(Committed)


@pytest.mark.parametrize("prev", [0, 1, 2])
def test_a_late_message_below_the_commit_index_is_answered_with_it(prev):
    """What is committed agrees with every leader, so the message need not be compared."""
    member = Member(terms=(1, 1, 1), commit=3)
    late = append(prev, (1, 1)[prev:], term=1, log=(1, 1)[:prev])
    [response] = member.hear(late)
    assert response.match == 3 and not response.rejected
    assert member.terms == [1, 1, 1]


def test_entries_are_applied_after_they_are_durable_and_once():
    member = Member()
    member.raft.step(append(0, (1, 1), commit=2))
    ready = member.raft.ready()
    assert len(ready.entries) == len(ready.committed) == 2 and ready.must_sync
    member.carry_out(ready)
    assert member.raft.ready() is None and member.raft.log.applied == 2


def test_a_broken_leader_that_contradicts_what_is_committed_is_not_believed():
    member = Member(terms=(1, 1), commit=2)
    member.hear(append(0, (2, 2)))
    assert member.terms == [1, 1], "prev 0@0 lies below the commit index: old news"


# Heartbeats ---------------------------------------------------------------------------------


def test_a_heartbeat_is_answered_with_its_own_context():
    member = Member()
    assert member.hear(Heartbeat("n2", "n1", 1, 0, 7)) == [HeartbeatResponse("n1", "n2", 1, 7)]


def test_a_heartbeat_tells_the_commit_index():
    member = Member(terms=(1, 1, 1))
    member.hear(Heartbeat("n2", "n1", 1, 2))
    assert member.heard(Committed) == [Committed(2, 1, 0)]


def test_a_member_that_lost_its_disk_does_not_commit_what_it_no_longer_has():
    """The leader cannot know that what was acknowledged is gone; an honest disk never does it."""
    member = Member()
    [response] = member.hear(Heartbeat("n2", "n1", 1, 5))
    assert isinstance(response, HeartbeatResponse) and member.raft.log.committed == 0


def test_a_refused_or_old_message_is_answered_so_that_an_old_leader_learns_the_term():
    member = Member(term=5)
    responses = member.hear(Heartbeat("n2", "n1", 4, 0, 3), append(0, (1,), term=4))
    assert [response.term for response in responses] == [5, 5]
    assert responses[0].context == 0, "an old leader's reads are not confirmed"
    assert responses[1].rejected and not responses[1].match
    assert member.raft.leader is None and member.terms == []


def test_what_a_leader_hears_of_a_second_leader_of_its_term_is_ignored():
    """It cannot happen; if a broken rule makes it happen, nothing gets worse here."""
    member = Member().lead()
    before = member.terms
    assert member.hear(append(0, (1, 1), term=1), Heartbeat("n2", "n1", 1, 1)) == []
    assert member.terms == before and member.raft.role == "leader"


# A disk that takes its time -----------------------------------------------------------------


def test_a_tail_that_is_replaced_while_the_disk_writes_it_is_written_anew():
    member = Member(config=CALM)
    member.raft.step(append(0, (1, 1)))
    slow = member.raft.ready()  # 1@1 2@1 are being written
    member.raft.step(append(0, (2, 2), term=2, source="n3"))
    assert member.raft.log.stable == 0
    first = member.carry_out(slow)
    assert member.raft.log.stable == 0, "the disk has the old tail"
    second = member.drive()
    assert [entry.term for entry in member.saved] == [2, 2] == member.terms
    assert (first[0].term, second[0].term) == (1, 2), "each answer speaks of its own term"


def test_entries_that_come_while_the_disk_writes_wait_for_the_next_ready():
    member = Member()
    member.raft.step(append(0, (1,)))
    slow = member.raft.ready()
    member.raft.step(append(1, (1,), log=(1,)))
    member.carry_out(slow)
    assert member.raft.log.stable == 1
    [response] = member.drive()
    assert response.match == 2 and len(member.saved) == 2
