"""The labels that pictures print, and what each message promises."""

import pytest

from kvlearn.kv.requests import Command, Put
from kvlearn.raft.confchange import EXPLICIT, GONE, LEARNER, Change, ConfChange
from kvlearn.raft.messages import (
    AppendEntries,
    AppendResponse,
    ForwardProposal,
    Heartbeat,
    HeartbeatResponse,
    InstallSnapshot,
    Message,
    ProposalRefused,
    ReadIndex,
    ReadIndexResponse,
    RequestVote,
    SnapshotResponse,
    TimeoutNow,
    TransferLeader,
    VoteResponse,
)
from kvlearn.raft.types import ZERO, ConfState, Entry, EntryID, HardState, Snapshot
from kvlearn.values import VOCABULARY, from_json, to_json

WAY = ("n1", "n2")
PUT = Command("n1", 7, Put(b"a", b"1"))
MEMBERS = ConfState(("n1", "n2"), learners=("n3",))
LABELS = [
    (RequestVote(*WAY, 3, EntryID(2, 7)), "Vote? t3 7@2"),
    (RequestVote(*WAY, 1, ZERO), "Vote? t1 0@0"),
    (VoteResponse(*WAY, 3, True), "Vote t3"),
    (VoteResponse(*WAY, 3, False), "No vote t3"),
    (AppendEntries(*WAY, 3, ZERO, (Entry(1, 3),), 0), "App 0@0→1@3"),
    (AppendEntries(*WAY, 3, EntryID(1, 3), (Entry(4, 3, PUT), Entry(5, 3)), 2), "App 3@1→5@3"),
    (AppendEntries(*WAY, 3, EntryID(3, 5), (), 4), "App 5@3 c4"),
    (AppendResponse(*WAY, 3, 5), "Ack 5"),
    (AppendResponse(*WAY, 3, 0, 5, EntryID(1, 2)), "No 5, try 2@1"),
    (Heartbeat(*WAY, 3, 4), "Beat"),
    (Heartbeat(*WAY, 3, 4, 2), "Beat r2"),
    (HeartbeatResponse(*WAY, 3), "Beat ok"),
    (HeartbeatResponse(*WAY, 3, 2), "Beat ok r2"),
    (ForwardProposal(*WAY, 0, PUT), "Prop put a=1"),
    (ReadIndex(*WAY, 0, 9), "Read?"),
    (ReadIndexResponse(*WAY, 0, 9, 4), "Read at 4"),
    (RequestVote(*WAY, 3, EntryID(2, 7), pre=True), "Pre-vote? t3 7@2"),
    (RequestVote(*WAY, 3, EntryID(2, 7), transfer=True), "Vote? t3 7@2"),
    (VoteResponse(*WAY, 3, True, pre=True), "Pre-vote t3"),
    (VoteResponse(*WAY, 3, False, pre=True), "No pre-vote t3"),
    (ProposalRefused(*WAY, 0, PUT, "TRANSFERRING", (("to", "n3"),)), "No prop (transferring)"),
    (ProposalRefused(*WAY, 0, PUT, "NO_LEADER", (("term", 3),)), "No prop (no leader)"),
    (TransferLeader(*WAY, 0, "n3"), "Transfer to n3"),
    (TimeoutNow(*WAY, 3), "Timeout now"),
    (InstallSnapshot(*WAY, 3, EntryID(2, 7), MEMBERS, 2, (("b", 1), ("c", 2)), 5), "Snap 7@2 4/5"),
    (InstallSnapshot(*WAY, 3, EntryID(2, 7), MEMBERS, 0, (), 0), "Snap 7@2 0/0"),
    (SnapshotResponse(*WAY, 3, EntryID(2, 7), 4), "Snap 7@2 have 4"),
]


@pytest.mark.parametrize("message, label", LABELS, ids=lambda it: it if isinstance(it, str) else "")
def test_label(message, label):
    assert str(message) == label


KINDS = [kind for kind in VOCABULARY.values() if Message in kind.__bases__]


def test_every_message_has_a_label_here():
    assert {type(message) for message, _ in LABELS} == set(KINDS)


@pytest.mark.parametrize("message", [message for message, _ in LABELS], ids=str)
def test_a_message_survives_a_file(message):
    assert from_json(to_json(message)) == message


@pytest.mark.parametrize(
    "kind, waits",
    [
        (RequestVote, True),  # its own vote
        (VoteResponse, True),  # the vote
        (AppendResponse, True),  # the entries
        (AppendEntries, False),  # thesis 10.2.1
        (Heartbeat, False),
        (HeartbeatResponse, False),
        (ForwardProposal, False),
        (ReadIndex, False),
        (ReadIndexResponse, False),
        (ProposalRefused, False),
        (TransferLeader, False),
        (TimeoutNow, False),
        (InstallSnapshot, False),
        (SnapshotResponse, False),  # of what is in memory: the last chunk has an AppendResponse too
    ],
)
def test_what_promises_something_of_the_disk_waits_for_it(kind, waits):
    assert kind.after_save is waits


def test_only_a_proposal_and_its_refusal_must_not_come_twice():
    once = [kind.__name__ for kind in KINDS if kind.at_most_once]
    assert once == ["ForwardProposal", "ProposalRefused"]


@pytest.mark.parametrize(
    "thing, text",
    [
        (EntryID(2, 7), "7@2"),
        (Entry(7, 2), "7@2(no-op)"),
        (Entry(7, 2, PUT), "7@2(put a=1)"),
        (HardState(2, "n1", 5), "term 2, vote n1, commit 5"),
        (HardState(), "term 0, vote -, commit 0"),
        (ConfState(("n1", "n2")), "(n1 n2)"),
        (ConfState(("1", "2", "4"), ("1", "2", "3")), "(1 2 4)&&(1 2 3)"),
        (ConfState(("n1",), learners=("n2",)), "(n1) learners(n2)"),
        (ConfState(("1",), ("1", "2"), (), ("2",)), "(1)&&(1 2) next(2)"),
        (ConfState(("1", "3"), ("1", "2"), auto_leave=True), "(1 3)&&(1 2) auto-leave"),
        (Snapshot(EntryID(2, 7), MEMBERS, (1, 2, 3)), "snapshot 7@2 of 3 records"),
        (ConfChange(), "leave joint"),
        (ConfChange((Change("n4"), Change("n5", LEARNER), Change("n1", GONE))), "+n4 ~n5 -n1"),
        (ConfChange((Change("n4"),), EXPLICIT), "+n4 (explicit)"),
    ],
)
def test_what_messages_are_made_of_prints_as_one_token(thing, text):
    assert str(thing) == text


def test_entry_ids_order_by_term_first():
    ids = [EntryID(2, 9), EntryID(3, 4), EntryID(1, 12), EntryID(2, 3)]
    assert [str(id) for id in sorted(ids)] == ["12@1", "3@2", "9@2", "4@3"]


def test_members_are_sorted_and_named_once():
    conf = ConfState(("n3", "n1"), ("n2", "n1"), ("n4",))
    assert conf.members == ("n1", "n2", "n3", "n4")
