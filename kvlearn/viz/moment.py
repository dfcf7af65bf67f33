"""A moment of a run: everything that can be seen at one record, folded from the records alone.

The trace is the one story; a moment is its fold. Nothing here looks at a live object, so a run in
the simulator, a run of real processes and a trace that was loaded from a file give the same
pictures. A node in a picture is a `NodeMoment`; a message on its way is a `Packet`.

>>> from kvlearn.events import BecameLeader, Started
>>> from kvlearn.raft.types import ZERO
>>> from kvlearn.trace import Trace
>>> trace = Trace()
>>> born = trace.add(0.0, "n1", Started(0, None, (), 0, 0, ("n1",), 1, 0.1), None)
>>> won = trace.add(1.2, "n1", BecameLeader(1, ("n1",), ZERO), born)
>>> Moment.at(trace, seq=born).nodes["n1"].role, Moment.at(trace).nodes["n1"].role
('follower', 'leader')
>>> Moment.at(trace).sentence
'n1 becomes leader in term 1 with the votes of n1'

A cursor that moves over a long trace asks a `Timeline`, which keeps a moment every few hundred
records and folds on from the nearest one. Moments are cheap to copy: a copy shares what cannot
change (entries, packets, tables that are replaced rather than changed).
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from kvlearn import events as ev
from kvlearn.raft.messages import AppendEntries, Heartbeat, InstallSnapshot, VoteResponse
from kvlearn.raft.types import Entry
from kvlearn.trace import Record, Trace

CHECKPOINT_RECORDS = 500  # a timeline folds on over at most this many records


def natural(name: str) -> tuple:
    """A sort key that puts n2 before n10."""
    return tuple(int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name))


class Entries(Sequence):
    """The entries of a log, in order; `base` is the index before the first one.

    Copies share one list and know only their own length, so that a copy costs nothing. Whoever
    appends behind the end that others have already passed takes a list of its own first.
    """

    __slots__ = ("base", "_shared", "_length")

    def __init__(self, entries: Sequence[Entry] = (), base: int = 0):
        self._shared = list(entries)
        self._length = len(self._shared)
        self.base = self._shared[0].index - 1 if self._shared else base

    @property
    def last(self) -> int:
        """The index of the last entry, `base` if there is none."""
        return self.base + self._length

    def find(self, index: int) -> Entry | None:
        """The entry at a log index, or None if the log does not hold it."""
        return self._shared[index - self.base - 1] if self.base < index <= self.last else None

    def extend(self, entries: Sequence[Entry]) -> None:
        """Append entries; one that does not continue the log replaces what stands there."""
        if entries[0].index <= self.last:
            self.truncate(entries[0].index - 1)
        if len(self._shared) != self._length:
            self._shared = self._shared[: self._length]
        self._shared.extend(entries)
        self._length = len(self._shared)

    def truncate(self, index: int) -> None:
        """Forget the entries above `index`."""
        self._length = max(0, min(self._length, index - self.base))

    def compact(self, index: int) -> None:
        """Forget the entries up to `index`."""
        if index > self.base:
            self._shared = self._shared[index - self.base : self._length]
            self.base, self._length = index, len(self._shared)

    def copy(self) -> Entries:
        """A log of its own that shares the entries."""
        twin = Entries.__new__(Entries)
        twin.base, twin._shared, twin._length = self.base, self._shared, self._length
        return twin

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, which: int | slice):
        place = range(self._length)[which]
        if isinstance(place, range):
            return [self._shared[k] for k in place]
        return self._shared[place]

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._shared[: self._length])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Entries):
            return NotImplemented
        return self.base == other.base and list(self) == list(other)

    __hash__ = None  # it changes

    def __repr__(self) -> str:
        return f"Entries({' '.join(str(entry.id) for entry in self)})"


class Peer(NamedTuple):
    """What a leader knows of one follower (figure 2: matchIndex and nextIndex)."""

    match: int
    next: int
    state: str  # probe, replicate or snapshot


class Packet(NamedTuple):
    """A message on its way."""

    number: int
    source: str
    target: str
    message: Any
    sent_s: float
    arrives_s: float | None  # None: nobody knows (a real network)
    fate: str  # "", or the reason code why it will not arrive
    seq: int  # the record that sent it

    def way(self, time: float) -> float:
        """How much of its way is behind it at `time`: 0 at the sender, 1 at the receiver."""
        if self.arrives_s is None:
            return 0.5
        if self.arrives_s <= self.sent_s:
            return 1.0
        return max(0.0, min(1.0, (time - self.sent_s) / (self.arrives_s - self.sent_s)))


class Operation(NamedTuple):
    """What a client asked last, and its answer if there is one yet (`returned_s` is None: no)."""

    op_id: int
    node: str
    request: Any
    invoked_s: float
    returned_s: float | None = None
    result: Any = None
    revision: int = 0
    error: str = ""
    unknown: bool = False


@dataclass(slots=True)
class NodeMoment:
    """One node as its records tell it.

    Invariant: votes, progress and members are replaced, never changed in place; a copy shares them.
    """

    name: str
    alive: bool = True  # false between a crash and the next start
    paused: bool = False  # it neither hears nor speaks; `raft_role` stays what it was
    raft_role: str = "follower"  # follower, candidate, leader or learner: what Raft itself says
    term: int = 0
    vote: str | None = None  # whom it voted for in `term`
    leader: str | None = None  # whom it takes for the leader of `term`
    members: tuple[str, ...] = ()
    log: Entries = field(default_factory=Entries)  # in memory; while it is down, on its disk
    durable: int = 0  # entries up to this index are on its disk
    saved: tuple[int, str | None, int] = (0, None, 0)  # term, vote, commit on its disk
    commit: int = 0
    applied: int = 0
    revision: int = 0  # of its key-value store
    votes: dict[str, bool] = field(default_factory=dict)  # {peer: granted} of its candidacy
    progress: dict[str, Peer] = field(default_factory=dict)  # per follower while it leads
    timer_reset_s: float = 0.0  # when its election timer last began anew
    timeout_s: float = 0.0  # how long that timer runs; 0: nobody knows
    tick_s: float = 0.0
    boots: int = 0
    role_since_s: float = 0.0  # when `role` last changed

    @property
    def role(self) -> str:
        """What a picture shows: down and paused come before what Raft itself says."""
        return "down" if not self.alive else "paused" if self.paused else self.raft_role

    @property
    def match(self) -> dict[str, int]:
        """What is known to be stored on each follower, while it leads."""
        return {peer: known.match for peer, known in self.progress.items()}

    @property
    def next(self) -> dict[str, int]:
        """What it will send to each follower next, while it leads."""
        return {peer: known.next for peer, known in self.progress.items()}

    def timer_left(self, time: float) -> float | None:
        """The part of the election timer that is left, from 1 down to 0; None if none runs."""
        if not self.alive or self.raft_role in ("leader", "learner") or not self.timeout_s:
            return None
        return max(0.0, min(1.0, 1 - (time - self.timer_reset_s) / self.timeout_s))

    def copy(self) -> NodeMoment:
        """A node of its own; costs a microsecond or two."""
        twin = NodeMoment.__new__(NodeMoment)
        for name in NodeMoment.__slots__:
            setattr(twin, name, getattr(self, name))
        twin.log = self.log.copy()
        return twin


class Moment:
    """All that can be seen at one record of a trace; see the module's head.

    `seq` and `time` are those of the last record (-1 and 0.0 before the first; `at_time` sets the
    time that was asked for), `record` is that record or None, and `trace` what it was read from.
    """

    __slots__ = ("trace", "seq", "time", "record", "nodes", "packets", "cuts", "cut_why", "clients")

    def __init__(self, trace: Trace | None = None):
        self.trace = trace
        self.seq = -1
        self.time = 0.0
        self.record: Record | None = None
        self.nodes: dict[str, NodeMoment] = {}  # by name, in the order of their first record
        self.packets: dict[int, Packet] = {}  # by number, in the order in which they left
        self.cuts: frozenset[tuple[str, str]] = frozenset()  # links (source, target) that are cut
        self.cut_why = ""  # what the last cut was called: "partition (n1 n2) (n3 n4 n5)"
        self.clients: dict[str, Operation] = {}  # each client's last operation

    @classmethod
    def at(cls, trace: Trace, seq: int | None = None) -> Moment:
        """The moment after record `seq` of `trace` (None: the last; -1: before the first)."""
        moment = cls(trace)
        end = len(trace) - 1 if seq is None else max(-1, min(seq, len(trace) - 1))
        moment.fold(trace[: end + 1])
        return moment

    @classmethod
    def at_time(cls, trace: Trace, time: float) -> Moment:
        """The moment at `time` seconds: all records up to then, packets where they are then."""
        moment = cls.at(trace, seq_at(trace, time))
        moment.time = time
        return moment

    def apply(self, record: Record) -> None:
        """Go on by one record."""
        self.seq, self.time, self.record = record.seq, record.time, record
        handler = _HANDLERS.get(type(record.event))
        if handler is not None:
            handler(self, record, record.event)

    def fold(self, records: Sequence[Record]) -> None:
        """Go on by many records."""
        handlers = _HANDLERS
        record = None
        for record in records:
            handler = handlers.get(type(record.event))
            if handler is not None:
                handler(self, record, record.event)
        if record is not None:
            self.seq, self.time, self.record = record.seq, record.time, record

    def copy(self) -> Moment:
        """A moment of its own; `apply` on one does not show in the other."""
        twin = Moment(self.trace)
        twin.seq, twin.time, twin.record = self.seq, self.time, self.record
        twin.nodes = {name: node.copy() for name, node in self.nodes.items()}
        twin.packets = self.packets.copy()
        twin.cuts, twin.cut_why = self.cuts, self.cut_why
        twin.clients = self.clients.copy()
        return twin

    @property
    def names(self) -> list[str]:
        """The nodes' names in the order in which pictures show them: n2 before n10."""
        return sorted(self.nodes, key=natural)

    @property
    def leader(self) -> str | None:
        """Who leads; of several that claim it, the one with the highest term; None if nobody."""
        claims = [n for n in self.nodes.values() if n.role == "leader"]
        return max(claims, key=lambda node: node.term).name if claims else None

    @property
    def term(self) -> int:
        """The highest term that any node has reached, down ones included."""
        return max((node.term for node in self.nodes.values()), default=0)

    @property
    def sentence(self) -> str:
        """What happened last, as one sentence; "" before the first record."""
        return line(self.record) if self.record else ""

    @property
    def why(self) -> str:
        """What led to the last record, nearest first, as one sentence; "" if nothing is known."""
        return why(self.trace, self.seq) if self.trace is not None and self.seq >= 0 else ""

    def node(self, name: str) -> NodeMoment:
        """The node called `name`; a node of which nothing was heard before appears now."""
        found = self.nodes.get(name)
        if found is None:
            found = self.nodes[name] = NodeMoment(name)
        return found

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Moment):
            return NotImplemented
        return all(getattr(self, s) == getattr(other, s) for s in self.__slots__ if s != "trace")

    __hash__ = None  # it changes

    def __repr__(self) -> str:
        leads = f"{self.leader} leads" if self.leader else "no leader"
        return f"<Moment at record {self.seq}, {self.time:.3f} s: {leads}, term {self.term}>"


class Timeline:
    """Moments of one trace, fast at any place; the trace may grow, and may be replaced (rewind).

    >>> timeline = Timeline(Trace())
    >>> timeline.at().names
    []
    """

    def __init__(self, trace: Trace, every: int = CHECKPOINT_RECORDS):
        self.trace = trace
        self.every = every
        self._begin()

    def _begin(self) -> None:
        self._era = self.trace.era
        self._kept = [Moment(self.trace)]  # after 0, `every`, 2 x `every` ... records
        self._near = self._kept[0]  # where the cursor was last

    def at(self, seq: int | None = None) -> Moment:
        """The moment after record number `seq` (None: the last one so far); yours to keep."""
        if self.trace.era != self._era:
            self._begin()
        last = len(self.trace) - 1
        seq = last if seq is None else max(-1, min(seq, last))
        while (len(self._kept) * self.every) - 1 <= seq:
            self._keep_one_more()
        near = self._kept[(seq + 1) // self.every]
        if near.seq <= self._near.seq <= seq:
            near = self._near
        moment = near.copy()
        moment.fold(self.trace[moment.seq + 1 : seq + 1])
        self._near = moment
        return moment.copy()

    def at_time(self, time: float) -> Moment:
        """The moment at `time` seconds; see `Moment.at_time`."""
        moment = self.at(seq_at(self.trace, time))
        moment.time = time
        return moment

    def _keep_one_more(self) -> None:
        moment = self._kept[-1].copy()
        moment.fold(self.trace[moment.seq + 1 : moment.seq + 1 + self.every])
        self._kept.append(moment)


def seq_at(trace: Trace, time: float) -> int:
    """The number of the last record at or before `time` seconds, -1 if there is none."""
    return bisect_right(range(len(trace)), time, key=lambda seq: trace[seq].time) - 1


def look(subject: Any, at: float | None = None, seq: int | None = None) -> Moment:
    """The moment to draw of a moment, a trace, or anything that has a `.trace` (a cluster).

    `at` is a time in seconds, `seq` the number of the last record to look at; at most one of them.
    Raises: TypeError for anything else, ValueError if both are given.
    """
    if at is not None and seq is not None:
        raise ValueError("say `at=` (seconds) or `seq=` (record number), not both")
    if isinstance(subject, Moment):
        if at is None and seq is None:
            return subject
        if subject.trace is None:
            raise ValueError("this moment knows no trace, so it cannot go to another time")
        subject = subject.trace
    trace = trace_of(subject)
    if at is not None:
        return Moment.at_time(trace, at)
    moment = Moment.at(trace, seq)
    if seq is None and isinstance(now := getattr(subject, "now", None), (int, float)):
        moment.time = max(moment.time, now)  # a cluster's time goes on after its last record
    return moment


def trace_of(subject: Any) -> Trace:
    """The trace of a trace, a moment, or anything that has a `.trace`.

    Raises: TypeError for anything else.
    """
    trace = subject if isinstance(subject, Trace) else getattr(subject, "trace", None)
    if not isinstance(trace, Trace):
        raise TypeError(f"a picture needs a trace or a cluster, not {type(subject).__name__}")
    return trace


def line(record: Record) -> str:
    """A record as one sentence; a message says from whom or to whom."""
    match record.event:
        case ev.Sent(message=message, fate=fate):
            told = f"{record.node} sends {message} to {message.target}"
            if fate:
                told += f" in vain: {fate_in_words(fate, message.source, message.target)}"
            return told
        case ev.Received(message=message):
            return f"{record.node} receives {message} from {message.source}"
        case ev.Dropped(message=message) | ev.Delayed(message=message):
            return f"{message.source}→{message.target}: {record.event}"
    return str(record)


def fate_in_words(reason: str, source: str, target: str) -> str:
    """Why a message does not arrive, as a sentence."""
    return ev.sentence(reason, (("source", source), ("target", target)))


def why(trace: Trace, seq: int, steps: int = 4) -> str:
    """What led to record `seq`: its causes, nearest first, at most `steps` of them."""
    causes = trace.causes(seq)
    told = [f"because {line(record)}" for record in causes[:steps]]
    if len(causes) > steps:
        first = causes[-1]
        told.append(f"and so back over {len(causes) - steps} more to: {line(first)}")
    return ", ".join(told)


# The fold: one small function for each kind of event ------------------------------------------


def _started(moment: Moment, record: Record, event: ev.Started) -> None:
    node = moment.node(record.node)
    known = node.revision if event.applied == node.applied else 0
    log = Entries(event.entries, base=event.base.index if event.base else 0)
    moment.nodes[record.node] = NodeMoment(
        name=record.node,
        raft_role="learner" if record.node in event.learners else "follower",
        term=event.term,
        vote=event.vote,
        members=event.members,
        log=log,
        durable=log.last,
        saved=(event.term, event.vote, event.commit),
        commit=event.commit,
        applied=event.applied,
        revision=event.revision or known,
        timer_reset_s=record.time,
        timeout_s=0.0,
        tick_s=event.tick_s,
        boots=event.boot,
        role_since_s=record.time,
    )


def _became(moment: Moment, record: Record, role: str, term: int) -> NodeMoment:
    node = moment.node(record.node)
    if term != node.term:
        node.vote = None
    if node.raft_role != role:
        node.role_since_s = record.time
    node.raft_role, node.term = role, term
    node.timer_reset_s = record.time
    node.progress = {}
    return node


def _became_follower(moment: Moment, record: Record, event: ev.BecameFollower) -> None:
    role = "learner" if moment.node(record.node).raft_role == "learner" else "follower"
    node = _became(moment, record, role, event.term)
    node.leader = event.leader
    node.timeout_s = event.timeout_ticks * node.tick_s
    node.votes = {}


def _became_candidate(moment: Moment, record: Record, event: ev.BecameCandidate) -> None:
    node = _became(moment, record, "candidate", event.term)
    node.leader, node.vote = None, record.node
    node.timeout_s = event.timeout_ticks * node.tick_s
    node.votes = {record.node: True}


def _became_leader(moment: Moment, record: Record, event: ev.BecameLeader) -> None:
    node = _became(moment, record, "leader", event.term)
    node.leader = record.node
    node.votes = {**node.votes, **dict.fromkeys(event.votes, True)}
    follows = Peer(0, event.last.index + 1, "probe")
    node.progress = {peer: follows for peer in node.members if peer != record.node}


def _asked_pre_vote(moment: Moment, record: Record, event: ev.AskedPreVote) -> None:
    node = moment.node(record.node)
    if node.raft_role == "candidate":  # which has waited in vain
        node.raft_role, node.role_since_s = "follower", record.time
    node.leader, node.votes, node.progress = None, {}, {}
    node.timer_reset_s, node.timeout_s = record.time, event.timeout_ticks * node.tick_s


def _vote_granted(moment: Moment, record: Record, event: ev.VoteGranted) -> None:
    if event.pre:  # it promises nothing
        return
    node = moment.node(record.node)
    node.vote, node.timer_reset_s = event.candidate, record.time


def _truncated(moment: Moment, record: Record, event: ev.Truncated) -> None:
    node = moment.node(record.node)
    node.log.truncate(event.after)
    node.durable = min(node.durable, event.after)


def _appended(moment: Moment, record: Record, event: ev.Appended) -> None:
    if event.entries:
        moment.node(record.node).log.extend(event.entries)


def _conf_changed(moment: Moment, record: Record, event: ev.ConfChanged) -> None:
    node = moment.node(record.node)
    node.members = event.conf.members
    if node.raft_role in ("follower", "learner"):
        role = "learner" if record.node in event.conf.learners else "follower"
        if role != node.raft_role:
            node.raft_role, node.role_since_s = role, record.time
    elif node.raft_role == "leader":
        fresh = Peer(0, node.log.last + 1, "probe")
        peers = [peer for peer in node.members if peer != record.node]
        node.progress = {peer: node.progress.get(peer, fresh) for peer in peers}


def _log_compacted(moment: Moment, record: Record, event: ev.LogCompacted) -> None:
    moment.node(record.node).log.compact(event.base.index)


def _snapshot_installed(moment: Moment, record: Record, event: ev.SnapshotInstalled) -> None:
    node = moment.node(record.node)
    node.log, node.durable = Entries(base=event.last.index), 0  # it is saved next
    node.commit = event.last.index


def _state_loaded(moment: Moment, record: Record, event: ev.StateLoaded) -> None:
    node = moment.node(record.node)
    node.applied, node.revision = event.index, event.revision


def _progressed(moment: Moment, record: Record, event: ev.Progressed) -> None:
    node = moment.node(record.node)
    node.progress = {**node.progress, event.peer: Peer(event.match, event.next, event.state)}


def _committed(moment: Moment, record: Record, event: ev.Committed) -> None:
    moment.node(record.node).commit = event.index


def _applied(moment: Moment, record: Record, event: ev.Applied) -> None:
    node = moment.node(record.node)
    node.applied, node.revision = event.index, event.revision


def _saved(moment: Moment, record: Record, event: ev.Saved) -> None:
    node = moment.node(record.node)
    node.saved = (event.term, event.vote, event.commit)
    node.durable = min(max(event.last, node.durable, node.log.base), node.log.last)


def _crashed(moment: Moment, record: Record, event: ev.Crashed) -> None:
    node = moment.node(record.node)
    node.alive, node.paused, node.raft_role = False, False, "follower"
    node.role_since_s = record.time
    if event.kept is not None:  # a crash in the midst of a save keeps a part of it
        node.saved = (event.kept.term, event.kept.vote, event.kept.commit)
    node.term, node.vote, commit = node.saved  # the rest was in memory only
    node.commit = max(commit, node.applied)  # the store on the disk: what is applied is committed
    node.leader, node.votes, node.progress = None, {}, {}
    node.log.truncate(event.last)
    node.durable = node.log.last


def _wiped(moment: Moment, record: Record, event: ev.Wiped) -> None:
    old = moment.node(record.node)
    moment.nodes[record.node] = NodeMoment(
        record.node, alive=False, members=old.members, boots=old.boots, role_since_s=record.time
    )


def _paused(moment: Moment, record: Record, event: ev.Paused) -> None:
    node = moment.node(record.node)
    node.paused, node.role_since_s = True, record.time


def _resumed(moment: Moment, record: Record, event: ev.Resumed) -> None:
    node = moment.node(record.node)
    node.paused, node.role_since_s = False, record.time


def _sent(moment: Moment, record: Record, event: ev.Sent) -> None:
    message = event.message
    moment.packets[event.packet] = Packet(
        event.packet,
        message.source,
        message.target,
        message,
        record.time,
        event.arrives_s,
        event.fate,
        record.seq,
    )
    if type(message) is AppendEntries and message.entries:
        node = moment.node(record.node)
        known = node.progress.get(message.target)
        # In state replicate a leader counts on arrival and sends on from there (pipelining).
        if known is not None and known.state == "replicate":
            after = message.entries[-1].index + 1
            if after > known.next:
                moved = Peer(known.match, after, known.state)
                node.progress = {**node.progress, message.target: moved}


def _received(moment: Moment, record: Record, event: ev.Received) -> None:
    moment.packets.pop(event.packet, None)
    message = event.message
    kind = type(message)
    if kind is Heartbeat or kind is AppendEntries or kind is InstallSnapshot:
        node = moment.node(record.node)
        if message.term == node.term:
            node.timer_reset_s, node.leader = record.time, message.source
    elif kind is VoteResponse and not message.pre:
        node = moment.node(record.node)
        if node.raft_role == "candidate" and message.term == node.term:
            node.votes = {**node.votes, message.source: message.granted}


def _dropped(moment: Moment, record: Record, event: ev.Dropped) -> None:
    moment.packets.pop(event.packet, None)


def _delayed(moment: Moment, record: Record, event: ev.Delayed) -> None:
    packet = moment.packets.get(event.packet)
    if packet is not None:
        moment.packets[event.packet] = packet._replace(arrives_s=event.arrives_s)


def _links_cut(moment: Moment, record: Record, event: ev.LinksCut) -> None:
    moment.cuts = frozenset(event.links)  # all that are cut now, older ones included
    moment.cut_why = event.why


def _healed(moment: Moment, record: Record, event: ev.Healed) -> None:
    moment.cuts, moment.cut_why = frozenset(), ""


def _invoked(moment: Moment, record: Record, event: ev.Invoked) -> None:
    moment.clients[record.node] = Operation(event.op_id, event.node, event.request, record.time)


def _returned(moment: Moment, record: Record, event: ev.Returned) -> None:
    asked = moment.clients.get(record.node)
    if asked is not None and asked.op_id == event.op_id:
        moment.clients[record.node] = asked._replace(
            node=event.node,
            returned_s=record.time,
            result=event.result,
            revision=event.revision,
            error=event.error,
            unknown=event.unknown,
        )


_HANDLERS: dict[type, Callable[[Moment, Record, Any], None]] = {
    ev.Started: _started,
    ev.BecameFollower: _became_follower,
    ev.BecameCandidate: _became_candidate,
    ev.BecameLeader: _became_leader,
    ev.AskedPreVote: _asked_pre_vote,
    ev.VoteGranted: _vote_granted,
    ev.ConfChanged: _conf_changed,
    ev.LogCompacted: _log_compacted,
    ev.SnapshotInstalled: _snapshot_installed,
    ev.StateLoaded: _state_loaded,
    ev.Truncated: _truncated,
    ev.Appended: _appended,
    ev.Progressed: _progressed,
    ev.Committed: _committed,
    ev.Applied: _applied,
    ev.Saved: _saved,
    ev.Crashed: _crashed,
    ev.Wiped: _wiped,
    ev.Paused: _paused,
    ev.Resumed: _resumed,
    ev.Sent: _sent,
    ev.Received: _received,
    ev.Dropped: _dropped,
    ev.Delayed: _delayed,
    ev.LinksCut: _links_cut,
    ev.Healed: _healed,
    ev.Invoked: _invoked,
    ev.Returned: _returned,
}
