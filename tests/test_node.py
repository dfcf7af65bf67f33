"""A node without a host: it routes requests, drives the store by the log, and answers."""

from dataclasses import replace
from random import Random

import pytest

from kvlearn.events import Applied, LogCompacted, Started, StateLoaded, facts
from kvlearn.kv.members import (
    MemberAdd,
    MemberChange,
    MemberList,
    MemberPromote,
    MemberRemove,
    MoveLeader,
)
from kvlearn.kv.requests import (
    Command,
    DeleteRange,
    DeleteResult,
    Put,
    PutResult,
    Range,
    RangeResult,
)
from kvlearn.mvcc.backend import MemoryBackend
from kvlearn.node import CONF, Node
from kvlearn.raft import ConfState, Entry, HardState, RaftConfig
from kvlearn.raft.confchange import ConfChange
from kvlearn.raft.messages import (
    AppendEntries,
    AppendResponse,
    ForwardProposal,
    Heartbeat,
    HeartbeatResponse,
    InstallSnapshot,
    ProposalRefused,
    ReadIndex,
    ReadIndexResponse,
    RequestVote,
    TimeoutNow,
    VoteResponse,
)
from kvlearn.raft.types import ZERO, EntryID
from tests.raft.net import CALM, voters


class Held:
    """A node in the hand, with a disk that takes no time."""

    def __init__(self, size: int = 1, backend=None, config: RaftConfig = CALM, name="n1", **about):
        self.said: list = []
        self.backend = backend or MemoryBackend()
        conf = about.pop("conf", voters(size))
        rng = Random(1)
        self.node = Node(name, conf, config, rng, self.said.append, self.backend, **about)
        self.sent: list = []

    def drive(self) -> list:
        """Do all that is ready; the answers that came of it."""
        while (ready := self.node.ready()) is not None:
            self.sent += ready.messages
            self.node.advance(ready, 0.0)
        answers = list(self.node.responses)
        self.node.responses.clear()
        return answers

    def hear(self, *messages) -> list:
        for message in messages:
            self.node.step(message)
        return self.drive()

    def ask(self, op_id: int, request) -> list:
        self.node.request(op_id, request)
        return self.drive()

    def lead(self) -> "Held":
        """Win, and commit the first entry."""
        self.node.raft.campaign()
        self.drive()
        term = self.node.raft.term
        for peer in self.node.raft.peers:
            self.hear(VoteResponse(peer, "n1", term, True))
        last = self.node.raft.log.last_index
        for peer in self.node.raft.peers:
            self.hear(AppendResponse(peer, "n1", term, last))
        assert self.node.machine.applied == last
        return self


# Writes -------------------------------------------------------------------------------------


def test_a_write_is_answered_when_it_was_applied_here():
    held = Held(3).lead()
    assert held.ask(7, Put(b"k", b"v")) == []
    [answer] = held.hear(AppendResponse("n2", "n1", 1, 2))
    assert (answer.op_id, answer.result, answer.error) == (7, PutResult(), "")
    assert (answer.header.revision, answer.header.raft_term, answer.header.member_id) == (2, 1, 1)


def test_the_log_holds_who_waits_for_what():
    held = Held().lead()
    held.ask(7, Put(b"k", b"v"))
    command = held.node.raft.log.entries[-1].data
    assert command == Command("n1", 7, Put(b"k", b"v")) and str(command) == "put k=v"


def test_each_node_applies_and_only_the_origin_answers():
    held = Held(3)
    entry = Entry(1, 1, Command("n2", 7, Put(b"k", b"v")))
    assert held.hear(AppendEntries("n2", "n1", 1, ZERO, (entry,), 1)) == []
    [event] = [e for e in held.said if isinstance(e, Applied)]
    assert event == Applied(1, 1, entry.data, 2)
    assert held.node.machine.revision == 2


def test_operations_of_other_nodes_may_have_the_same_number():
    held = Held(3)
    held.hear(Heartbeat("n2", "n1", 1, 0))
    held.ask(7, Put(b"mine", b"1"))
    theirs = Entry(1, 1, Command("n2", 7, Put(b"theirs", b"1")))
    assert held.hear(AppendEntries("n2", "n1", 1, ZERO, (theirs,), 1)) == []
    mine = Entry(2, 1, Command("n1", 7, Put(b"mine", b"1")))
    [answer] = held.hear(AppendEntries("n2", "n1", 1, theirs.id, (mine,), 2))
    assert (answer.op_id, answer.header.revision) == (7, 3)


def test_after_a_restart_nobody_answers_for_the_process_before():
    held = Held(3)
    entry = Entry(1, 1, Command("n1", 7, Put(b"k", b"v")))  # asked before the crash
    assert held.hear(AppendEntries("n2", "n1", 1, ZERO, (entry,), 1)) == []


def test_a_write_through_a_follower_goes_to_the_leader_and_comes_back_by_the_log():
    held = Held(3)
    held.hear(Heartbeat("n2", "n1", 1, 0))
    held.sent.clear()
    assert held.ask(7, Put(b"k", b"v")) == []
    command = Command("n1", 7, Put(b"k", b"v"))
    assert held.sent == [ForwardProposal("n1", "n2", 0, command)]
    [answer] = held.hear(AppendEntries("n2", "n1", 1, ZERO, (Entry(1, 1, command),), 1))
    assert answer.op_id == 7 and answer.header.revision == 2


def test_a_delete_is_a_write():
    held = Held().lead()
    held.ask(1, Put(b"k", b"v"))
    [answer] = held.ask(2, DeleteRange(b"k"))
    assert answer.result == DeleteResult(1) and answer.header.revision == 3


def test_a_refusal_in_the_machine_is_an_outcome_on_every_node():
    texts = []
    for name in ("n1", "n2"):
        held = Held(name=name, conf=voters(3))
        command = Command("n1", 7, Put(b"none", b"", ignore_value=True))
        if name == "n1":
            held.node._writes.add(7)
        answers = held.hear(AppendEntries("n3", name, 1, ZERO, (Entry(1, 1, command),), 1))
        assert [answer.error for answer in answers] == (["KeyNotFound"] if name == "n1" else [])
        [event] = [e for e in held.said if isinstance(e, Applied)]
        texts.append(event.error)
    assert texts == ["etcdserver: key not found"] * 2


# Requests that cannot be served -------------------------------------------------------------


@pytest.mark.parametrize(
    "request_, error",
    [
        (Put(b""), "EmptyKey"),
        (DeleteRange(b""), "EmptyKey"),
        (Range(b"", serializable=True), "EmptyKey"),
        (Put(b"k", b"v", ignore_value=True), "ValueProvided"),
        (Range(b"k", sort_order="sideways"), "InvalidSortOption"),
    ],
    ids=str,
)
def test_what_is_wrong_in_itself_is_refused_at_once(request_, error):
    held = Held().lead()
    before = held.node.raft.log.last_index
    [answer] = held.ask(7, request_)
    assert answer.error == error and held.node.raft.log.last_index == before


@pytest.mark.parametrize("request_", [Put(b"k"), DeleteRange(b"k"), Range(b"k")], ids=str)
def test_without_a_leader_nothing_is_done(request_):
    held = Held(3)
    [answer] = held.ask(7, request_)
    assert answer.error == "NoLeader" and held.sent == []


def test_only_a_serializable_read_is_served_without_a_leader():
    [answer] = Held(3).ask(7, Range(b"k", serializable=True))
    assert answer.result == RangeResult() and answer.header.revision == 1


@pytest.mark.parametrize("serializable", [True, False])
def test_a_read_that_the_store_refuses(serializable):
    [answer] = Held().lead().ask(7, Range(b"k", revision=99, serializable=serializable))
    assert answer.error == "FutureRevision" and answer.op_id == 7


# Reads --------------------------------------------------------------------------------------


def test_a_read_waits_for_its_index_to_be_applied():
    held = Held(3)
    held.hear(Heartbeat("n2", "n1", 1, 0))
    assert held.ask(7, Range(b"k")) == []
    assert ReadIndex("n1", "n2", 0, 7) in held.sent
    assert held.hear(ReadIndexResponse("n2", "n1", 0, 7, 2)) == [], "index 2 is not here yet"
    entries = (Entry(1, 1), Entry(2, 1, Command("n2", 1, Put(b"k", b"v"))))
    [answer] = held.hear(AppendEntries("n2", "n1", 1, ZERO, entries, 2))
    assert (answer.op_id, answer.result.text) == (7, "v")


@pytest.mark.parametrize("times", [2, 3])
def test_a_duplicated_answer_serves_nobody_twice(times):
    held = Held(3)
    held.hear(Heartbeat("n2", "n1", 1, 0))
    held.ask(7, Range(b"k"))
    assert len(held.hear(*[ReadIndexResponse("n2", "n1", 0, 7, 0)] * times)) == 1
    assert held.hear(ReadIndexResponse("n2", "n1", 0, 99, 0)) == [], "of a process before"


def test_a_leader_reads_after_a_round_of_heartbeats():
    held = Held(3).lead()
    assert held.ask(7, Range(b"k")) == []
    [answer] = held.hear(HeartbeatResponse("n2", "n1", 1, 1))
    assert answer.op_id == 7


def test_alone_it_reads_at_once():
    [answer] = Held().lead().ask(7, Range(b"k"))
    assert answer.result.count == 0


def test_a_read_goes_through_no_log():
    held = Held().lead()
    before = held.node.raft.log.last_index
    held.ask(7, Range(b"k"))
    assert held.node.raft.log.last_index == before


# Refused connections ------------------------------------------------------------------------


@pytest.mark.parametrize("request_", [Put(b"k", b"v"), Range(b"k")], ids=str)
def test_a_request_that_was_never_delivered_may_be_asked_again(request_):
    held = Held(3)
    held.hear(Heartbeat("n2", "n1", 1, 0))
    held.ask(7, request_)
    held.node.undelivered(held.sent[-1])
    [answer] = held.drive()
    assert (answer.op_id, answer.error) == (7, "Unavailable") and "n2 led" in answer.hint
    held.node.undelivered(held.sent[-1])
    assert held.drive() == [], "once"


def test_somebody_elses_request_is_not_answered_here():
    held = Held(3)
    command = Command("n3", 7, Put(b"k", b"v"))
    held.node.undelivered(ForwardProposal("n1", "n2", 0, command))
    held.node.undelivered(Heartbeat("n1", "n2", 1, 0))
    assert held.drive() == []


# Life ---------------------------------------------------------------------------------------


def test_it_says_what_it_starts_with():
    log = (Entry(1, 1), Entry(2, 2, Command("n1", 1, Put(b"k", b"v"))))
    conf = ConfState(("n1", "n2"), learners=("n3",))
    held = Held(conf=conf, hard_state=HardState(2, "n2", 1), entries=log, boot=3)
    started = held.said[0]
    assert started == Started(2, "n2", log, 1, 0, ("n1", "n2", "n3"), 3, 0.1, ("n3",), 1, (), ZERO)
    assert str(started) == "starts in term 2 with its log up to 2@2"


def test_a_restart_goes_on_where_the_store_was():
    """The store has applied 2 entries; the log is longer, and its commit index on disk behind."""
    held = Held().lead()
    held.ask(7, Put(b"k", b"v"))
    log = tuple(held.node.raft.log.entries)
    again = Held(backend=held.backend, hard_state=HardState(1, "n1", 0), entries=log, boot=2)
    assert again.said[0].applied == again.said[0].commit == 2 and again.said[0].revision == 2
    assert again.drive() == [] and not [e for e in again.said if isinstance(e, Applied)]
    assert again.node.machine.read(Range(b"k")).text == "v"


@pytest.mark.parametrize("tick_s", [0.001, 0.1, 1 / 3])
def test_ticks_follow_the_nodes_clock(tick_s):
    held = Held(3, config=RaftConfig(tick_s=tick_s, election_ticks=10, max_election_ticks=10))
    held.node.tick(9.5 * tick_s)
    assert held.node.raft.now == 9 and held.node.raft.role == "follower"
    assert held.node.deadline_s == pytest.approx(10 * tick_s)
    held.node.tick(9.7 * tick_s)  # within the same tick
    assert held.node.raft.now == 9
    held.node.tick(held.node.deadline_s)
    assert held.node.raft.now == 10 and held.node.raft.role == "candidate"


def test_a_clock_that_stands_still_or_jumps():
    held = Held(3, config=CALM)
    held.node.tick(0.5), held.node.tick(0.5), held.node.tick(0.4)
    assert held.node.raft.now == 5
    held.node.tick(100.0)
    assert held.node.raft.now == 1000 and held.node.raft.term == 1, "one timeout, not hundreds"


def test_members_are_numbered_by_their_names():
    numbers = []
    for name in ("n1", "n3", "n9"):
        held = Held(name=name, conf=voters(3))
        [answer] = held.ask(1, Range(b"k", serializable=True))
        numbers.append(answer.header.member_id)
    assert numbers == [1, 3, 9], "a node that is no member yet tells its own, too"


# Members ------------------------------------------------------------------------------------

LEARNS = ConfState(("n1", "n2", "n3"), learners=("n4",))


def acked(held: Held, *peers: str) -> list:
    """All that was sent is acknowledged by these."""
    raft = held.node.raft
    return held.hear(*(AppendResponse(p, "n1", raft.term, raft.log.last_index) for p in peers))


def names(answer) -> str:
    return str(answer.result)


@pytest.mark.parametrize(
    "request_, members",
    [
        (MemberAdd("n5"), "n1, n2, n3, n4 (learner), n5"),
        (MemberRemove("n4"), "n1, n2, n3"),
        (MemberRemove("n3"), "n1, n2, n4 (learner)"),
        (MemberPromote("n4"), "n1, n2, n3, n4"),
        (MemberChange(learners=("n3",), remove=("n4",), transition="explicit"), "n1, n2, n3"),
    ],
    ids=str,
)
def test_a_change_of_members_is_answered_when_it_counts(request_, members):
    held = Held(conf=LEARNS).lead()
    assert held.ask(7, request_) == []
    [answer] = acked(held, "n2")
    assert (answer.op_id, names(answer), answer.error) == (7, members, "")
    assert held.backend.get_meta(CONF) == held.node.raft.conf


def test_a_joint_change_is_answered_when_it_is_entered():
    held = Held(3).lead()
    held.ask(7, MemberChange(add=("n4",), remove=("n3",)))
    [answer] = acked(held, "n2")
    assert names(answer) == "n1, n2, n3, n4" and held.node.raft.conf.auto_leave
    assert acked(held, "n2") == [], "that it was left is nobody's request"
    assert str(held.node.raft.conf) == "(n1 n2 n4)"


def test_a_change_through_a_follower_comes_back_by_the_log():
    held = Held(3)
    held.hear(Heartbeat("n2", "n1", 1, 0))
    held.ask(7, MemberAdd("n4"))
    change = held.sent[-1].data
    assert isinstance(change, ConfChange) and change.asked == Command("n1", 7, MemberAdd("n4"))
    [answer] = held.hear(AppendEntries("n2", "n1", 1, ZERO, (Entry(1, 1, change),), 1))
    assert names(answer) == "n1, n2, n3, n4"


def test_a_change_makes_no_revision():
    held = Held().lead()
    before = held.node.machine.revision
    held.ask(7, MemberAdd("n2", learner=True))
    assert held.node.machine.revision == before and held.node.machine.applied == 2


@pytest.mark.parametrize(
    "request_, error",
    [
        (MemberAdd("n2"), "MemberExists"),
        (MemberAdd("n4", learner=True), "MemberExists"),
        (MemberAdd(""), "InvalidArgument"),
        (MemberAdd("n5", learner=True), "TooManyLearners"),
        (MemberRemove("n9"), "MemberNotFound"),
        (MemberPromote("n9"), "MemberNotFound"),
        (MemberPromote("n2"), "MemberNotLearner"),
        (MemberChange(), "InvalidArgument"),
        (MemberChange(add=("n5", "n5")), "InvalidArgument"),
        (MemberChange(add=("n5",), remove=("n5",)), "InvalidArgument"),
        (MemberChange(add=("n5",), transition="sideways"), "InvalidArgument"),
        (MemberChange(remove=("n9",)), "MemberNotFound"),
        (MemberChange(learners=("n5",)), "TooManyLearners"),
        (MemberChange(remove=("n1", "n2", "n3")), "FailedPrecondition"),
        (MoveLeader("n4"), "BadLeaderTransferee"),
        (MoveLeader("n9"), "BadLeaderTransferee"),
    ],
    ids=str,
)
def test_a_change_that_cannot_be_is_refused_at_once(request_, error):
    held = Held(conf=LEARNS).lead()
    before = held.node.raft.log.last_index
    [answer] = held.ask(7, request_)
    assert (answer.op_id, answer.error) == (7, error) and answer.hint
    assert held.node.raft.log.last_index == before


def test_what_the_leader_does_not_take_now_is_said_in_etcd_s_words():
    held = Held(conf=LEARNS, config=replace(CALM, strict_reconfig=True, max_uncommitted=9))
    held.node.raft.campaign(), held.drive()
    for peer in ("n2", "n3"):
        held.hear(VoteResponse(peer, "n1", 1, True))
    for k in range(4):
        held.ask(k, Put(b"k", b"v"))
    acked(held, "n2")
    [behind] = held.ask(7, MemberPromote("n4"))
    assert behind.error == "LearnerNotReady" and "0 of 5" in behind.hint
    held.node.tick(1.0), held.drive()
    acked(held, "n2")
    [silent] = held.ask(8, MemberAdd("n5"))
    assert silent.error == "Unhealthy" and "n3 has not answered" in silent.hint
    held.ask(9, MemberRemove("n3"))
    [second] = held.ask(10, MemberRemove("n2"))
    assert second.error == "Unavailable" and "index 6" in second.hint
    for k in range(11, 19):
        held.ask(k, Put(b"k", b"v"))
    [full] = held.ask(19, Put(b"k", b"v"))
    assert full.error == "TooManyRequests"


@pytest.mark.parametrize("request_", [MemberAdd("n4"), MemberList(), MoveLeader("n2")], ids=str)
def test_without_a_leader_members_stay_as_they_are(request_):
    [answer] = Held(3).ask(7, request_)
    assert answer.error == "NoLeader"


def test_members_are_read_like_keys():
    held = Held(3).lead()
    [answer] = held.ask(7, MemberList(linearizable=False))
    assert names(answer) == "n1, n2, n3"
    assert held.ask(8, MemberList()) == []
    context = next(m.context for m in reversed(held.sent) if isinstance(m, Heartbeat))
    [answer] = held.hear(HeartbeatResponse("n2", "n1", 1, context))
    assert names(answer) == "n1, n2, n3"


@pytest.mark.parametrize("request_", [Put(b"k", b"v"), Range(b"k"), MemberList()], ids=str)
def test_whoever_is_no_member_serves_nobody(request_):
    held = Held(name="n9", conf=voters(3))
    [answer] = held.ask(7, request_)
    assert answer.error == "Stopped" and "n9 is no member" in answer.hint


def test_a_change_that_fits_no_more_when_it_is_applied_changes_nothing():
    """No leader takes one; an entry of a broken leader is refused on every node alike."""
    held = Held(3)
    held.node._writes.add(7)
    change = ConfChange((), asked=Command("n1", 7, MemberChange()))
    [answer] = held.hear(AppendEntries("n2", "n1", 1, ZERO, (Entry(1, 1, change),), 1))
    assert answer.error == "Unavailable" and "not joint" in answer.hint
    [event] = [e for e in held.said if isinstance(e, Applied)]
    assert event.error and held.node.machine.applied == 1 and held.node.raft.conf == voters(3)


def test_a_moved_leadership_is_answered_when_the_other_leads():
    held = Held(3).lead()
    assert held.ask(7, MoveLeader("n2")) == [] and held.sent[-1] == TimeoutNow("n1", "n2", 1)
    held.hear(RequestVote("n2", "n1", 2, EntryID(1, 1), transfer=True))
    [answer] = held.hear(Heartbeat("n2", "n1", 2, 0))
    assert (answer.op_id, names(answer)) == (7, "n1, n2, n3")


def test_who_leads_already_need_not_move():
    held = Held(3).lead()
    [answer] = held.ask(7, MoveLeader("n1"))
    assert answer.op_id == 7 and not answer.error


# Proposals that come back -------------------------------------------------------------------


@pytest.mark.parametrize(
    "reason, known, error",
    [
        ("NO_LEADER", {"term": 1}, "NoLeader"),
        ("TRANSFERRING", {"to": "n3"}, "Unavailable"),
        ("TOO_MUCH_UNCOMMITTED", {"waiting": 9, "limit": 9}, "TooManyRequests"),
        ("REMOVED", {"conf": "(n1 n3)"}, "Unavailable"),
        ("CHANGE_PENDING", {"index": 4, "applied": 3}, "Unavailable"),
        ("LEARNER_BEHIND", {"node": "n4", "match": 1, "last": 9}, "LearnerNotReady"),
        ("UNHEALTHY", {"node": "n3", "ticks": 11}, "Unhealthy"),
    ],
)
@pytest.mark.parametrize("request_", [Put(b"k", b"v"), MemberAdd("n4")], ids=str)
def test_a_proposal_that_the_leader_refused_is_answered(request_, reason, known, error):
    held = Held(3)
    held.hear(Heartbeat("n2", "n1", 1, 0))
    held.ask(7, request_)
    data = held.sent[-1].data
    back = ProposalRefused("n2", "n1", 0, data, reason, facts(**known))
    [answer] = held.hear(back)
    assert (answer.op_id, answer.error) == (7, error)
    assert held.hear(back) == [], "once"


def test_a_refusal_of_somebody_s_unknown_proposal_is_nobody_s():
    held = Held(3)
    data = Command("n1", 99, Put(b"k", b"v"))
    assert held.hear(ProposalRefused("n2", "n1", 0, data, "NO_LEADER", facts(term=1))) == []


# Compaction ---------------------------------------------------------------------------------


def compacting(snapshot_entries: int, kept_entries: int, puts: int) -> Held:
    """Alone it leads; its log is a no-op and so many puts."""
    config = replace(CALM, snapshot_entries=snapshot_entries, kept_entries=kept_entries)
    held = Held(config=config).lead()
    for k in range(puts):
        held.ask(k, Put(b"k", b"%d" % k))
    return held


@pytest.mark.parametrize(
    "every, kept, puts, bases",
    [
        (4, 2, 2, []),
        (4, 2, 3, [2]),  # four entries are applied
        (4, 2, 6, [2]),
        (4, 2, 7, [2, 6]),
        (4, 0, 7, [4, 8]),
        (1, 0, 2, [1, 2, 3]),
        (4, 4, 7, [4]),
        (4, 9, 7, []),  # a snapshot alone frees nothing
    ],
)
def test_the_log_is_compacted_every_so_many_entries(every, kept, puts, bases):
    held = compacting(every, kept, puts)
    told = [e for e in held.said if isinstance(e, LogCompacted)]
    assert [event.base.index for event in told] == bases
    assert held.node.raft.log.base.index == (bases[-1] if bases else 0)
    assert held.node.raft.log.last_index == 1 + puts


def test_a_snapshot_holds_what_is_applied_and_who_is_a_member():
    held = compacting(4, 2, 3)
    snapshot = held.node.raft.snapshot
    assert snapshot.last == EntryID(1, 4) and snapshot.conf == voters(1)
    other = Held(name="n2", conf=voters(2))
    data, size = snapshot.data, len(snapshot.data)
    other.hear(InstallSnapshot("n1", "n2", 1, snapshot.last, voters(3), 0, data, size))
    assert other.node.machine.read(Range(b"k")).text == "2" and other.node.machine.applied == 4
    [loaded] = [e for e in other.said if isinstance(e, StateLoaded)]
    assert loaded == StateLoaded(4, 1, held.node.machine.revision)
    assert other.backend.get_meta(CONF) == other.node.raft.conf == voters(3)


def test_a_hand_may_compact_and_twice_is_once():
    held = compacting(100, 100, 3)
    held.node.compact(0)
    assert held.node.raft.log.base.index == 4 and held.node.raft.log.entries == []
    held.node.compact(0)
    assert len([e for e in held.said if isinstance(e, LogCompacted)]) == 1


def test_nothing_is_compacted_while_a_snapshot_waits_to_be_loaded():
    source = compacting(100, 100, 6).node
    snapshot = source._snapshot()
    held = Held(3, config=replace(CALM, snapshot_entries=2, kept_entries=0))
    held.node.step(AppendEntries("n2", "n1", 1, ZERO, (Entry(1, 1), Entry(2, 1)), 2))
    saving = held.node.ready()
    size = len(snapshot.data)
    held.node.step(InstallSnapshot("n2", "n1", 1, snapshot.last, voters(3), 0, snapshot.data, size))
    held.node.advance(saving, 0.0)
    assert held.node.machine.applied == 2 and held.node.raft.restored is not None
    assert not [e for e in held.said if isinstance(e, LogCompacted)]
    held.drive()
    assert held.node.machine.applied == snapshot.last.index == 7
    assert held.node.machine.read(Range(b"k")).text == "5"


# A restart with a compacted log -------------------------------------------------------------


def test_it_starts_behind_its_base():
    first = compacting(4, 2, 3)
    log = first.node.raft.log
    hard = HardState(1, "n1", 3)
    about = dict(hard_state=hard, entries=tuple(log.entries), base=log.base, boot=2)
    held = Held(backend=first.backend, **about)
    assert (held.said[0].base, held.said[0].applied, held.said[0].commit) == (EntryID(1, 2), 4, 4)
    assert held.node.raft.snapshot.last == EntryID(1, 4), "for who needs what is compacted"
    assert held.node.machine.read(Range(b"k")).text == "2"
    held.node.raft.campaign()
    held.drive()
    [answer] = held.ask(7, Put(b"k", b"new"))
    assert not answer.error and held.node.machine.applied == 6


def test_it_counts_by_the_members_that_the_store_knows():
    first = Held().lead()
    first.ask(7, MemberAdd("n2", learner=True))
    log = tuple(first.node.raft.log.entries)
    held = Held(backend=first.backend, hard_state=HardState(1, "n1", 2), entries=log, boot=2)
    assert str(held.node.raft.conf) == "(n1) learners(n2)"
    assert held.said[0].learners == ("n2",) and held.said[0].members == ("n1", "n2")


@pytest.mark.parametrize("loaded", [False, True])
def test_a_snapshot_that_was_saved_is_loaded_at_the_start_if_it_was_not(loaded):
    source = compacting(100, 100, 3)
    snapshot = replace(source.node._snapshot(), conf=ConfState(("n1", "n2")))
    backend = source.backend if loaded else MemoryBackend()
    about = dict(hard_state=HardState(1, "n1", 4), base=snapshot.last, snapshot=snapshot, boot=2)
    held = Held(backend=backend, **about)
    assert held.node.machine.applied == 4 and held.node.machine.read(Range(b"k")).text == "2"
    assert held.node.raft.log.last == snapshot.last
    assert held.node.raft.conf == (voters(1) if loaded else voters(2))
