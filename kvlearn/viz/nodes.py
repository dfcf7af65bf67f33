"""What a moment is made of: a node as its records tell it, its log, a message on its way.

>>> from kvlearn.raft.types import Entry
>>> log = Entries((Entry(1, 1), Entry(2, 1, "put a=1")))
>>> log.compact(1)
>>> log.base, log.last, log.find(1), str(log.find(2))
(1, 2, None, '2@1(put a=1)')
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from kvlearn.events import Invoked
from kvlearn.kv.directory import Publish
from kvlearn.raft.types import ZERO, ConfState, Entry, EntryID


def natural(name: str) -> tuple:
    """A sort key that puts n2 before n10."""
    return tuple(int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name))


def asks_itself(event: Any) -> bool:
    """Whether this is what a real member asks of its cluster when it starts: to know its name and
    its URLs. In the trace it goes the way of all requests; no client has asked it."""
    return isinstance(event, Invoked) and isinstance(event.request, Publish)


def short(names: Sequence[str]) -> str:
    """Names in few characters.

    >>> short(("n1", "n3", "n4", "n5")), short(("n9", "n10")), short(("left", "right"))
    ('n1 3–5', 'n9 10', 'left right')
    """
    numbers = sorted(int(name[1:]) for name in names if re.fullmatch(r"n\d+", name))
    if len(numbers) < len(names):
        return " ".join(names)
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    told = (f"{r[0]}–{r[-1]}" if len(r) > 2 else " ".join(map(str, r)) for r in runs)
    return f"n{' '.join(told)}" if runs else ""


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


class Incoming(NamedTuple):
    """A snapshot that a follower gets in chunks: it has `records` of `total`."""

    last: EntryID
    records: int
    total: int


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

    Invariant: votes, pre_votes, progress and conf are replaced, never changed in place; a copy
    shares them. `base.index` is `log.base`.
    """

    name: str
    alive: bool = True  # false between a crash and the next start
    paused: bool = False  # it neither hears nor speaks; `raft_role` stays what it was
    raft_role: str = "follower"  # follower, candidate, leader; without a vote: learner, outside
    term: int = 0
    vote: str | None = None  # whom it voted for in `term`
    leader: str | None = None  # whom it takes for the leader of `term`
    conf: ConfState = ConfState()  # who is a member, as far as it knows
    base: EntryID = ZERO  # the entry before the first of `log`: 0@0 until the log is compacted
    log: Entries = field(default_factory=Entries)  # in memory; while it is down, on its disk
    durable: int = 0  # entries up to this index are on its disk
    saved: tuple[int, str | None, int] = (0, None, 0)  # term, vote, commit on its disk
    commit: int = 0
    applied: int = 0
    revision: int = 0  # of its key-value store
    votes: dict[str, bool] = field(default_factory=dict)  # {peer: granted} of its candidacy
    pre_votes: dict[str, bool] = field(default_factory=dict)  # while it asks, before a candidacy
    transferee: str | None = None  # to whom it hands its leadership just now
    incoming: Incoming | None = None  # the snapshot that it is getting
    sender: tuple = ()  # of that: leader and term; the chunks of others do not fit
    replaced: tuple[Entries, EntryID, int] | None = None  # on its disk until a snapshot is saved
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
    def members(self) -> tuple[str, ...]:
        """Everybody who gets the log, as far as it knows."""
        return self.conf.members

    @property
    def voters(self) -> tuple[str, ...]:
        """Whose vote counts in one of the majorities, as far as it knows; itself if it knows of
        nobody."""
        return tuple(filter(self.conf.votes, self.conf.members)) or (self.name,)

    @property
    def standing(self) -> str:
        """What it is while it neither leads nor stands: follower, learner or outside."""
        if self.conf.votes(self.name) or not self.conf.members:
            return "follower"
        return "learner" if self.name in self.conf.learners else "outside"

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
        if not self.alive or self.raft_role not in ("follower", "candidate") or not self.timeout_s:
            return None
        return max(0.0, min(1.0, 1 - (time - self.timer_reset_s) / self.timeout_s))

    def copy(self) -> NodeMoment:
        """A node of its own; costs a microsecond or two."""
        twin = NodeMoment.__new__(NodeMoment)
        for name in NodeMoment.__slots__:
            setattr(twin, name, getattr(self, name))
        twin.log = self.log.copy()
        return twin


class Scene(Protocol):
    """What the fold of records changes; `Moment` (moment.py) is one."""

    nodes: dict[str, NodeMoment]  # by name
    packets: dict[int, Packet]  # by number
    cuts: frozenset[tuple[str, str]]  # links that are cut
    cut_why: str
    clients: dict[str, Operation]  # each client's last operation

    def node(self, name: str) -> NodeMoment:
        """The node called `name`; a node of which nothing was heard before appears now."""
