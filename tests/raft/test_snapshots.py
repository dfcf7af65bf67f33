"""Snapshots: when a leader sends one, chunk by chunk, and what a follower makes of it (paper 7).

The leader here has (5@1) 6@1 7@2: its log up to 5 is compacted, its snapshot is of 7@2, and seven
records travel in chunks of three.
"""

from dataclasses import replace
from random import Random

import pytest

from kvlearn.events import LogCompacted, Progressed, Refused, SnapshotInstalled
from kvlearn.raft import ConfState, Entry, EntryID
from kvlearn.raft.confchange import GONE, Change, ConfChange
from kvlearn.raft.messages import (
    AppendEntries,
    AppendResponse,
    HeartbeatResponse,
    InstallSnapshot,
    SnapshotResponse,
    TimeoutNow,
)
from kvlearn.raft.types import ZERO, Snapshot
from tests.raft.net import CALM, Member, Net, voters

CHUNKS = replace(CALM, chunk_records=3)
LAST = EntryID(2, 7)
DATA = tuple(f"record {k}" for k in range(1, 8))


def ack(source: str, match: int) -> AppendResponse:
    return AppendResponse(source, "n1", 2, match)


def have(offset: int, source: str = "n3", last: EntryID = LAST) -> SnapshotResponse:
    return SnapshotResponse(source, "n1", 2, last, offset)


def compacted(base: int = 5) -> Member:
    """A leader of term 2 that n2 follows; n3 has not answered."""
    member = Member(terms=(1,) * 6, config=CHUNKS).lead()
    member.hear(ack("n2", 7))
    assert member.raft.log.applied == 7
    member.compact(base)
    return member


def sending(base: int = 5) -> tuple[Member, InstallSnapshot]:
    """n3 has refused: it has nothing. The first chunk."""
    member = compacted(base)
    sent = member.hear(AppendResponse("n3", "n1", 2, 0, 6, ZERO))
    [chunk] = sent
    return member, chunk


def chunks(size: int = 3, target: str = "n1", source: str = "n2") -> list[InstallSnapshot]:
    """The whole snapshot, as a follower gets it."""
    return [
        InstallSnapshot(source, target, 2, LAST, voters(3), k, DATA[k : k + size], len(DATA))
        for k in range(0, len(DATA), size)
    ]


# Compaction ---------------------------------------------------------------------------------


def test_compacting_keeps_what_it_is_told_to():
    member = compacted()
    log = member.raft.log
    assert log.base == EntryID(1, 5) and [str(e.id) for e in log.entries] == ["6@1", "7@2"]
    assert member.heard(LogCompacted) == [LogCompacted(EntryID(1, 5), LAST)]
    assert member.raft.snapshot.last == LAST


def test_a_newer_snapshot_may_leave_the_log_as_it_is():
    member = compacted()
    member.raft.propose("x"), member.drive(), member.hear(ack("n2", 8))
    member.compact(5)
    assert member.raft.log.base.index == 5 and member.raft.snapshot.last.index == 8
    assert len(member.heard(LogCompacted)) == 1


@pytest.mark.parametrize("last, index", [(8, 5), (5, 6), (0, 1)])
def test_only_what_is_applied_and_in_the_snapshot_is_compacted(last, index):
    member = compacted()
    with pytest.raises(AssertionError, match="not of what is applied"):
        member.raft.compact(Snapshot(EntryID(2, last), voters(3)), index)


def test_a_member_that_restarts_behind_its_base_goes_on():
    member = compacted()
    again = member.again()
    assert again.raft.log.base.index == 5 and again.terms == [1, 2]
    again.hear(AppendEntries("n2", "n1", 3, LAST, (Entry(8, 3, "x"),), 8))
    assert again.raft.log.last_index == 8 and [e.index for e in again.applied] == [6, 7, 8]


# The leader ---------------------------------------------------------------------------------


def test_who_needs_what_is_compacted_gets_the_snapshot():
    member, chunk = sending()
    assert chunk == InstallSnapshot("n1", "n3", 2, LAST, voters(3), 0, DATA[:3], 7)
    assert str(member.raft.progress["n3"]) == "snapshot match=0 next=8"
    assert member.heard(Progressed)[-1] == Progressed("n3", "snapshot", 0, 8)


@pytest.mark.parametrize(
    "hint, snapshot",
    [(EntryID(1, 4), True), (EntryID(1, 5), False), (EntryID(1, 3), True), (ZERO, True)],
)
def test_the_base_itself_is_enough_to_go_on_from(hint, snapshot):
    """The log goes back to its base and no further: whose log agrees there needs nothing else."""
    member = compacted()
    [message] = member.hear(AppendResponse("n3", "n1", 2, 0, 6, hint))
    assert isinstance(message, InstallSnapshot) == (hint.index < 5) == snapshot
    if not snapshot:
        assert message.prev == EntryID(1, 5)


def test_one_chunk_follows_another_s_answer():
    member, chunk = sending()
    seen = [chunk]
    for records in (3, 6):
        [chunk] = member.hear(have(records))
        assert chunk.offset == records
        seen.append(chunk)
    assert sum((c.records for c in seen), ()) == DATA and {c.total for c in seen} == {7}
    assert member.hear(have(7)) == [], "that it has them does not say that it saved them"
    assert str(member.raft.progress["n3"]) == "probe match=0 next=8"
    member.hear(ack("n3", 7))
    assert str(member.raft.progress["n3"]) == "replicate match=7 next=8"


def test_what_is_proposed_meanwhile_waits_for_its_end():
    member, _ = sending()
    member.raft.propose("x")
    assert [m.target for m in member.drive()] == ["n2"]
    for records in (3, 6, 7):
        member.hear(have(records))
    [entries] = member.hear(ack("n3", 7))
    assert [e.index for e in entries.entries] == [8]


def test_a_chunk_that_was_lost_is_sent_again_with_a_heartbeat():
    member, first = sending()
    assert member.hear(HeartbeatResponse("n3", "n1", 2)) == [first]
    [second] = member.hear(have(3))
    assert member.hear(HeartbeatResponse("n3", "n1", 2)) == [second]


def test_a_doubled_answer_brings_no_second_chunk():
    member, _ = sending()
    [second] = member.hear(have(3))
    assert second.offset == 3
    assert member.hear(have(3)) == []


def test_an_answer_about_another_snapshot_counts_for_nothing():
    member, _ = sending()
    assert member.hear(have(3, last=EntryID(1, 6)), have(7, "n9")) == []
    assert member.raft.progress["n3"].offset == 0


def test_a_newer_snapshot_does_not_disturb_the_one_on_its_way():
    member, _ = sending()
    member.raft.propose("x"), member.drive(), member.hear(ack("n2", 8))
    member.compact(8)
    [second] = member.hear(have(3))
    assert (second.last, second.offset) == (LAST, 3)
    for records in (6, 7):
        member.hear(have(records))
    [behind] = member.hear(ack("n3", 7))
    assert behind.prev == LAST, "what lies right behind it was kept for n3"
    assert [entry.index for entry in behind.entries] == [8]


def test_for_a_follower_that_answers_no_more_nothing_is_kept():
    member, _ = sending()
    member.raft.propose("x"), member.drive(), member.hear(ack("n2", 8))
    member.raft.now += member.raft.config.election_ticks
    member.compact(8)
    assert member.raft.log.base.index == 8


def test_chunks_of_two_leaders_are_not_mixed():
    """They may have taken the snapshot of the same entry at different times."""
    follower = Member("n3")
    part = (LAST, follower.raft.conf, 0, tuple("abc"), 6)
    follower.hear(InstallSnapshot("n1", "n3", 2, *part))
    [answer] = follower.hear(InstallSnapshot("n2", "n3", 3, LAST, follower.raft.conf, 3, (), 6))
    assert (answer.target, answer.offset) == ("n2", 0)


@pytest.mark.parametrize("arrived, next", [(False, 1), (True, 8)])
def test_the_transport_may_report_what_became_of_it(arrived, next):
    member, first = sending()
    member.raft.report_snapshot("n3", arrived)
    assert str(member.raft.progress["n3"]) == f"probe match=0 next={next}"
    assert member.drive() == [], "it waits for a sign of life"
    [message] = member.hear(HeartbeatResponse("n3", "n1", 2))
    if arrived:
        assert isinstance(message, AppendEntries) and message.prev == LAST
    else:
        assert message == first, "from the beginning"


@pytest.mark.parametrize("peer", ["n2", "n9"])
def test_a_report_about_nobody_s_snapshot_is_ignored(peer):
    member, _ = sending()
    before = str(member.raft.progress["n2"])
    member.raft.report_snapshot(peer, False)
    assert str(member.raft.progress["n2"]) == before


@pytest.mark.parametrize("match, goes_on", [(4, False), (5, True), (6, True), (7, True)])
def test_an_acknowledgement_makes_the_snapshot_needless(match, goes_on):
    """A late message of an earlier leader may have brought what was lacking."""
    member, _ = sending()
    member.hear(ack("n3", match))
    assert (member.raft.progress["n3"].state == "replicate") == goes_on


def test_a_refusal_that_was_overtaken_does_not_end_it():
    member, _ = sending()
    assert member.hear(AppendResponse("n3", "n1", 2, 0, 6, ZERO)) == []
    assert member.raft.progress["n3"].state == "snapshot"


def test_who_shall_lead_next_gets_the_snapshot_first():
    member, _ = sending()
    member.raft.transfer_leadership("n3")
    sent = [m for records in (3, 6, 7) for m in member.hear(have(records))]
    assert not [m for m in sent if isinstance(m, TimeoutNow)]
    assert TimeoutNow("n1", "n3", 2) in member.hear(ack("n3", 7))


# The follower -------------------------------------------------------------------------------


def test_it_counts_what_it_has_and_installs_what_is_whole():
    member = Member(term=2)
    answers = member.hear(*chunks()[:2])
    assert answers == [SnapshotResponse("n1", "n2", 2, LAST, count) for count in (3, 6)]
    assert member.raft.log.last == ZERO and not member.loaded
    [answer, done] = member.hear(chunks()[2])
    assert answer == SnapshotResponse("n1", "n2", 2, LAST, 7)
    assert done == AppendResponse("n1", "n2", 2, 7)
    assert member.loaded == [Snapshot(LAST, voters(3), DATA)]
    assert member.heard(SnapshotInstalled) == [SnapshotInstalled(LAST, 7)]
    log = member.raft.log
    assert (log.base, log.last, log.applied, log.committed, log.stable) == (LAST, LAST, 7, 7, 7)


def test_it_hears_a_leader_in_every_chunk():
    member = Member(term=2)
    member.raft.tick(9)
    member.hear(chunks()[0])
    assert member.raft.leader == "n2" and member.raft.deadline == 9 + CALM.election_ticks


@pytest.mark.parametrize("order", [(0, 0, 1, 1, 2), (0, 2, 1, 2), (1, 0, 1, 2), (2, 1, 0, 1, 2)])
def test_doubled_and_overtaken_chunks_do_no_harm(order):
    member = Member(term=2)
    member.hear(*(chunks()[k] for k in order))
    assert member.loaded == [Snapshot(LAST, voters(3), DATA)]


def test_a_chunk_behind_a_gap_is_not_taken():
    member = Member(term=2)
    [answer] = member.hear(chunks()[1])
    assert answer.offset == 0
    member.hear(chunks()[0])
    [answer] = member.hear(chunks()[2])
    assert answer.offset == 3 and not member.loaded


def test_the_chunks_may_change_their_size():
    member = Member(term=2)
    member.hear(*chunks()[:1], *[c for c in chunks(1) if c.offset >= 3])
    assert member.loaded == [Snapshot(LAST, voters(3), DATA)]


def test_another_snapshot_starts_from_nothing():
    member = Member(term=2)
    member.hear(chunks()[0])
    newer = EntryID(2, 9)
    rest = InstallSnapshot("n2", "n1", 2, newer, voters(3), 3, DATA[3:6], 7)
    [answer] = member.hear(rest)
    assert answer == SnapshotResponse("n1", "n2", 2, newer, 0)


def test_a_snapshot_without_records_is_whole_at_once():
    member = Member(term=2)
    member.hear(InstallSnapshot("n2", "n1", 2, LAST, voters(3), 0, (), 0))
    assert member.loaded == [Snapshot(LAST, voters(3), ())]


def test_after_a_restart_the_half_snapshot_is_gone():
    member = Member(term=2)
    member.hear(*chunks()[:2])
    [answer] = member.again().hear(chunks()[2])
    assert answer.offset == 0


@pytest.mark.parametrize("commit", [7, 8])
def test_a_snapshot_that_is_older_than_the_state_is_ignored(commit):
    member = Member(terms=(1,) * 6 + (2, 2), commit=commit)
    [answer] = member.hear(chunks(7)[0])
    assert answer == AppendResponse("n1", "n2", 2, commit)
    assert not member.loaded and len(member.terms) == 8
    event = member.heard(Refused)[-1]
    assert (event.action, event.reason) == ("snapshot", "SNAPSHOT_OLD")


def test_who_has_the_very_entry_keeps_its_log_and_commits():
    member = Member(terms=(1,) * 6 + (2, 2), commit=3)
    [answer] = member.hear(chunks(7)[0])
    assert answer == AppendResponse("n1", "n2", 2, 7)
    assert member.raft.log.committed == 7 and len(member.terms) == 8 and not member.loaded


def test_a_log_that_disagrees_is_replaced_as_a_whole():
    member = Member(terms=(1,) * 6 + (1, 1), commit=3)
    member.hear(*chunks())
    assert member.terms == [] and member.raft.log.last == LAST
    [answer] = member.hear(AppendEntries("n2", "n1", 2, LAST, (Entry(8, 2),), 7))
    assert answer.match == 8


def test_a_chunk_of_an_old_leader_tells_it_of_the_new_term():
    member = Member(term=4)
    assert member.hear(chunks()[0]) == [HeartbeatResponse("n1", "n2", 4)]
    assert not member.raft.incoming[1]


def test_the_last_chunk_again_is_answered_as_old_news():
    member = Member(term=2)
    member.hear(*chunks())
    assert member.hear(chunks()[2]) == [AppendResponse("n1", "n2", 2, 7)]
    assert len(member.loaded) == 1


def test_the_members_of_the_snapshot_count_when_it_is_loaded():
    member = Member("n4", ConfState())
    conf = ConfState(("n1", "n4"), ("n1", "n2"), learners=("n3",))
    member.raft.step(InstallSnapshot("n2", "n4", 2, LAST, conf, 0, DATA, 7))
    assert member.raft.conf == ConfState(), "it is not saved yet"
    ready = member.raft.ready()
    assert ready.snapshot == Snapshot(LAST, conf, DATA) and ready.must_sync
    assert any(m.after_save and isinstance(m, AppendResponse) for m in ready.messages)
    member.carry_out(ready)
    assert member.raft.conf == conf and member.raft.peers == ("n1", "n2", "n3")


def test_nobody_stands_for_election_before_it_is_loaded():
    member = Member(term=2)
    member.raft.step(chunks(7)[0])
    member.raft.campaign()
    assert member.raft.role == "follower"
    assert member.heard(Refused)[-1].reason == "CHANGE_UNAPPLIED"
    member.drive()
    member.raft.campaign()
    assert member.raft.role == "candidate"


# While the disk still writes something else -------------------------------------------------


def test_a_snapshot_may_come_while_earlier_entries_are_being_saved():
    member = Member(term=2)
    early = AppendEntries("n2", "n1", 2, ZERO, tuple(Entry(k, 1) for k in (1, 2, 3)), 2)
    member.raft.step(early)
    saving = member.raft.ready()
    assert [e.index for e in saving.entries] == [1, 2, 3]
    for chunk in chunks():
        member.raft.step(chunk)
    member.carry_out(saving)
    log = member.raft.log
    assert (log.applied, log.stable, log.committed) == (7, 7, 7), "not back to the old entries"
    assert member.raft.restored is not None, "the snapshot is still to be saved"
    member.drive()
    assert member.loaded[-1].last == LAST and member.raft.restored is None
    assert member.saved == [] and member.base == LAST


def test_a_second_snapshot_may_come_while_the_first_is_being_saved():
    member = Member(term=2)
    member.raft.step(chunks(7)[0])
    first = member.raft.ready()
    newer = EntryID(2, 9)
    member.raft.step(InstallSnapshot("n2", "n1", 2, newer, voters(3), 0, DATA, 7))
    member.carry_out(first)
    assert member.raft.restored.last == newer
    member.drive()
    assert [s.last for s in member.loaded] == [LAST, newer] and member.raft.restored is None


def test_entries_behind_a_snapshot_may_come_while_it_is_being_saved():
    member = Member(term=2)
    member.raft.step(chunks(7)[0])
    first = member.raft.ready()
    member.raft.step(AppendEntries("n2", "n1", 2, LAST, (Entry(8, 2, "x"),), 8))
    member.carry_out(first)
    member.drive()
    assert [e.index for e in member.saved] == [8] and [e.index for e in member.applied] == [8]


def test_a_change_behind_a_snapshot_builds_on_the_snapshot_s_members():
    """Both come while the disk is busy, so both are ready at once."""
    member = Member("n4", ConfState(), term=2)
    conf, change = voters(4), ConfChange((Change("n3", GONE),))
    member.raft.step(AppendEntries("n2", "n4", 2, ZERO, (Entry(1, 1),), 1))
    saving = member.raft.ready()
    member.raft.step(InstallSnapshot("n2", "n4", 2, LAST, conf, 0, DATA, 7))
    member.raft.step(AppendEntries("n2", "n4", 2, LAST, (Entry(8, 2, change),), 8))
    member.carry_out(saving)
    member.drive()
    assert member.raft.log.applied == 8
    assert member.raft.conf == ConfState(("n1", "n2", "n4"))


# Together -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(12))
def test_whatever_the_wires_do_everybody_has_everything_in_the_end(seed):
    """Loss, doubles and overtaking; logs are compacted to the end again and again."""
    rng = Random(seed)
    net = Net(3, config=replace(CHUNKS, max_entries_per_message=2))
    net.elect("n1"), net.cut("n3")
    for k in range(40):
        if k == 20:
            net.beat("n1", 3)
            net.members["n1"].compact(net["n1"].log.applied)
            net.heal()
        net["n1"].propose(k), net.gather()
        for _ in range(rng.randrange(4)):
            if net.wire:
                message = rng.choice(net.wire)
                fate = rng.random()
                if fate < 0.3:
                    net.wire.remove(message)
                    continue
                if fate < 0.5:
                    net.wire.append(message)
                net.deliver(message)
        for member in net.members.values():
            if rng.random() < 0.3 and member.raft.restored is None:
                member.compact(member.raft.log.applied)
        if k % 5 == 0:
            net["n1"].tick(), net.gather()
    net.beat("n1", 12)
    ends = {net[name].log.last for name in net.members}
    assert len(ends) == 1 and {net[name].log.applied for name in net.members} == {41}
    assert {progress.state for progress in net["n1"].progress.values()} == {"replicate"}
    assert net.members["n3"].loaded, "no snapshot was needed"
