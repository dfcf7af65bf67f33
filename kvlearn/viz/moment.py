"""A moment of a run: everything that can be seen at one record, folded from the records alone.

The trace is the one story; a moment is its fold. Nothing here looks at a live object, so a run in
the simulator, a run of real processes and a trace that was loaded from a file give the same
pictures. A node in a picture is a `NodeMoment`, a message on its way a `Packet` (`nodes.py`); what
each kind of event changes is in `fold.py`.

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

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from kvlearn import events as ev
from kvlearn.raft.types import ConfState
from kvlearn.trace import Record, Trace
from kvlearn.viz.fold import HANDLERS
from kvlearn.viz.nodes import NodeMoment, Operation, Packet, natural

CHECKPOINT_RECORDS = 500  # a timeline folds on over at most this many records


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
        handler = HANDLERS.get(type(record.event))
        if handler is not None:
            handler(self, record, record.event)

    def fold(self, records: Sequence[Record]) -> None:
        """Go on by many records."""
        handlers = HANDLERS
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
    def conf(self) -> ConfState:
        """Who is a member: as the leader counts, else as whoever has applied most."""
        nodes = self.nodes
        if self.leader is not None:
            return nodes[self.leader].conf
        return max(nodes.values(), key=lambda n: n.applied).conf if nodes else ConfState()

    @property
    def term(self) -> int:
        """The leader's term; without one, the highest that any node has reached, down ones too."""
        if self.leader is not None:
            return self.nodes[self.leader].term
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
