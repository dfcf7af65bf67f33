"""The words of Raft: terms, indices, entries, and what a node must keep on disk.

Notation, used in every text and picture: `7@2` is the entry at index 7 that a leader of term 2
made. Entry ids order as paper 5.4.1 compares logs, first by term and then by index, so the
election restriction reads `last >= self.log.last`:

>>> EntryID(term=3, index=4) > EntryID(term=2, index=9)
True
>>> print(EntryID(term=2, index=7))
7@2

Source: paper 5.1, 5.3, 5.4.1, figure 2; etcd raftpb/raft.proto.
"""

from __future__ import annotations

from typing import Any

from kvlearn.values import value

Term = int  # a period with at most one leader; grows, never shrinks
Index = int  # a place in the log; the first entry has index 1
NodeId = str  # "n1"
Ticks = int  # Raft's only notion of time; the host says how long a tick is


@value(order=True)
class EntryID:
    """Which entry: the term of the leader that made it, and its place in the log."""

    term: Term
    index: Index

    def __str__(self) -> str:
        return f"{self.index}@{self.term}"


ZERO = EntryID(0, 0)  # before the first entry


@value
class Entry:
    """One command in the log. `data` is opaque to Raft; None is a new leader's no-op."""

    index: Index
    term: Term
    data: Any = None

    @property
    def id(self) -> EntryID:
        return EntryID(self.term, self.index)

    def __str__(self) -> str:
        what = "no-op" if self.data is None else str(self.data)
        return f"{self.index}@{self.term}({what})"


@value
class HardState:
    """What must survive a crash besides the log. Losing `vote` can make two leaders (5.2)."""

    term: Term = 0
    vote: NodeId | None = None
    commit: Index = 0

    def __str__(self) -> str:
        return f"term {self.term}, vote {self.vote or '-'}, commit {self.commit}"


@value
class ConfState:
    """Who is a member. With `outgoing`, both majorities must agree (joint consensus, section 6).

    `learners_next` are outgoing voters that become learners when the joint configuration is left;
    with `auto_leave` the leader does that by itself. All tuples are sorted.

    >>> print(ConfState(("n1", "n4"), ("n1", "n2"), learners=("n5",), learners_next=("n2",)))
    (n1 n4)&&(n1 n2) learners(n5) next(n2)
    """

    voters: tuple[NodeId, ...] = ()
    outgoing: tuple[NodeId, ...] = ()
    learners: tuple[NodeId, ...] = ()
    learners_next: tuple[NodeId, ...] = ()
    auto_leave: bool = False

    @property
    def members(self) -> tuple[NodeId, ...]:
        """Everybody who gets the log, sorted."""
        return tuple(sorted({*self.voters, *self.outgoing, *self.learners}))

    def votes(self, node: NodeId) -> bool:
        """Whether the node's vote counts in one of the majorities."""
        return node in self.voters or node in self.outgoing

    def __str__(self) -> str:
        text = f"({' '.join(self.voters)})"
        if self.outgoing:
            text += f"&&({' '.join(self.outgoing)})"
        if self.learners:
            text += f" learners({' '.join(self.learners)})"
        if self.learners_next:
            text += f" next({' '.join(self.learners_next)})"
        return text + (" auto-leave" if self.auto_leave else "")


@value
class Snapshot:
    """The state after entry `last`: what it is made of is opaque to Raft, but can be cut in parts.

    `data` is a sequence of records; `conf` is the membership at `last` (thesis 5, figure 5.3).
    """

    last: EntryID = ZERO
    conf: ConfState = ConfState()
    data: tuple = ()

    def __str__(self) -> str:
        return f"snapshot {self.last} of {len(self.data)} records"


@value
class ReadState:
    """A read that asked `read_index(context)` may be served once `index` is applied."""

    context: Any
    index: Index


@value
class Ready:
    """What the host must do now; see the seam in `raft/__init__.py`.

    Messages whose `after_save` is true promise something that `hard_state`, `entries` or
    `snapshot` hold: they must not leave before those are durable. The others may leave at once
    (thesis 10.2.1).
    """

    hard_state: HardState | None = None  # None: unchanged
    entries: tuple[Entry, ...] = ()  # to append; a smaller index than before replaces the tail
    messages: tuple = ()
    committed: tuple[Entry, ...] = ()  # to apply, once `entries` are durable
    reads: tuple[ReadState, ...] = ()
    must_sync: bool = False  # false: the disk need not be forced, nothing is promised
    snapshot: Snapshot | None = None  # replaces the log and the state, before `entries`
    dropped: tuple = ()  # (data, reason, facts) of proposals that the leader refused
