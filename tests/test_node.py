"""A node without a host: it routes requests, drives the store by the log, and answers."""

from random import Random

import pytest

from kvlearn.events import Applied, Started
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
from kvlearn.node import Node
from kvlearn.raft import ConfState, Entry, HardState, RaftConfig
from kvlearn.raft.messages import (
    AppendEntries,
    AppendResponse,
    ForwardProposal,
    Heartbeat,
    HeartbeatResponse,
    ReadIndex,
    ReadIndexResponse,
    VoteResponse,
)
from kvlearn.raft.types import ZERO
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
