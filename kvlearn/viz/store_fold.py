"""The store at one moment of a run, folded from the trace alone.

The entries that a node has applied are replayed, in their order, through a fresh state machine: so
revisions, generations and leases in the pictures are made by the very code that made them in the
run. What only a clock or a stream knows (when a lease was kept alive, what a watcher was told) is
read from its own records (`lease_fold.py`, `watch_fold.py`).

>>> from kvlearn.events import Applied
>>> from kvlearn.kv.requests import Command, Put
>>> trace = Trace()
>>> for number in (1, 2):
...     put = Command("n1", number, Put(b"a", b"%d" % number))
...     seq = trace.add(number / 10, "n1", Applied(number, 1, put, number + 1), None)
>>> store = look_store(trace)
>>> store.revision, [str(change) for change in store.changes]
(3, ['2.0 create a=1', '3.0 modify a=2'])
>>> look_store(trace, at=0.1).revision
2

Nobody's records are looked at beyond the cursor. What a compaction gives up is gone from the
picture at once, although a node sweeps it away in small steps: no read can tell the difference.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary, ref

from kvlearn import events as ev
from kvlearn.kv.config import StoreConfig
from kvlearn.kv.leases import Compact, LeaseRevoke
from kvlearn.kv.machine import KVMachine
from kvlearn.kv.requests import Command
from kvlearn.kv.txn import Txn
from kvlearn.mvcc.backend import MemoryBackend
from kvlearn.mvcc.key_index import Generation
from kvlearn.mvcc.revision import KeyValue, Revision
from kvlearn.trace import Record, Trace
from kvlearn.viz.lease_fold import LeaseFold, LeaseLife, Reign
from kvlearn.viz.moment import Moment, seq_at, trace_of
from kvlearn.viz.nodes import natural
from kvlearn.viz.txn_fold import Fork, judge
from kvlearn.viz.watch_fold import WatchFold, WatchLife


class Change(NamedTuple):
    """One record of the store: what a revision did to a key, and whether it is still there."""

    at: Revision
    kind: str  # create, modify or delete
    kv: KeyValue
    term: int  # of the log entry that made it
    index: int  # of that entry
    time: float  # seconds, when it was applied first
    seq: int
    removed: int = 0  # the compaction that took it away: its revision; 0: it is there

    @property
    def revision(self) -> int:
        """The main revision."""
        return self.at.main

    def __str__(self) -> str:
        told = self.kv.key_text if self.kind == "delete" else str(self.kv)
        return f"{self.at} {self.kind} {told}"


class Compaction(NamedTuple):
    """A compaction that was carried out: all below `revision` cannot be read any more."""

    revision: int
    now: int  # the store's revision then
    time: float
    removed: int  # records


class Made(NamedTuple):
    """An entry that moved the store's revision."""

    revision: int
    index: int
    term: int
    request: Any


class StoreMoment(NamedTuple):
    """All that the pictures of the store show; plain facts, yours to keep.

    `node` is whose state it is (None: nobody has applied anything), `missing` the first and last
    index of entries that the trace does not tell: what they wrote is unknown.
    """

    trace: Trace
    seq: int
    time: float
    node: str | None
    applied: int
    revision: int
    compacted: int
    changes: tuple[Change, ...]  # in the order of their revisions, removed ones included
    made: tuple[Made, ...]
    compactions: tuple[Compaction, ...]
    index: dict[bytes, tuple[Generation, ...]]  # the blue tree, in key order
    lines: dict[bytes, str]  # its leaves, as etcd prints them
    held: dict[int, tuple[bytes, ...]]  # lease -> its keys
    revisions: dict[str, int]  # node -> how far its store is
    forks: tuple[Fork, ...]
    leases: tuple[LeaseLife, ...]
    reigns: tuple[Reign, ...]
    watches: tuple[WatchLife, ...]
    missing: tuple[tuple[int, int], ...]
    astray: int = 0  # the first entry after which the run's revision is not that of the replay

    @property
    def keys(self) -> list[bytes]:
        """Every key that ever was, in byte order."""
        return sorted({change.kv.key for change in self.changes})

    @property
    def holes(self) -> tuple[Change, ...]:
        """The records that compactions have removed."""
        return tuple(change for change in self.changes if change.removed)

    def term_of(self, revision: int) -> int:
        """The term of the entry that made a revision; 0 if the trace does not tell it."""
        place = bisect_right(self.made, revision, key=lambda one: one.revision) - 1
        found = self.made[place] if place >= 0 else None
        return found.term if found and found.revision == revision else 0

    @property
    def caveat(self) -> str:
        """One sentence where the trace does not tell everything, else ""."""
        if self.missing:
            told = ", ".join(f"{a} to {b}" if a < b else str(a) for a, b in self.missing)
            return f"The trace does not tell log entries {told}: what they wrote is not shown."
        if self.astray:
            return f"From log entry {self.astray} on the run went another way than a store should."
        return ""


def look_store(
    subject: Any, at: float | None = None, seq: int | None = None, node: str | None = None
) -> StoreMoment:
    """The store to draw: of a trace, a cluster, a `Moment`, or a StoreMoment itself.

    `at` is a time in seconds, `seq` the number of the last record included; default: the end.
    `node`: as that node has applied it; default: the one that has applied most.
    Raises: TypeError for anything else, ValueError if both are given.
    """
    if isinstance(subject, StoreMoment):
        return subject
    if at is not None and seq is not None:
        raise ValueError("say `at=` (seconds) or `seq=` (record number), not both")
    trace = trace_of(subject)
    end = len(trace) - 1 if seq is None else max(-1, min(seq, len(trace) - 1))
    time = None
    if at is not None:
        end, time = seq_at(trace, at), at
    elif seq is None and isinstance(subject, Moment):
        end, time = subject.seq, subject.time
    elif seq is None and isinstance(now := getattr(subject, "now", None), (int, float)):
        time = now  # a cluster's time goes on after its last record
    return _folded(trace, end, node, _config(subject)).moment(time)


def machine_at(subject: Any, seq: int, node: str | None = None) -> KVMachine:
    """A machine of its own, brought to where the trace was after record `seq`."""
    return StoreFold(trace_of(subject), node, _config(subject)).upto(seq).machine


def _config(subject: Any) -> StoreConfig:
    """What the stores of the run are made of, as far as the subject tells: a broken lessor of a
    cluster is replayed by that lessor."""
    told = getattr(subject, "store", None)
    if isinstance(told, StoreConfig):
        return told
    return StoreConfig(**trace_of(subject).about.get("store", {}))


# One fold a trace is kept where the cursor was last: a cursor mostly moves forward.
_kept: WeakKeyDictionary[Trace, dict[tuple, StoreFold]] = WeakKeyDictionary()


def _folded(trace: Trace, end: int, node: str | None, config: StoreConfig) -> StoreFold:
    folds = _kept.setdefault(trace, {})
    fold = folds.get((node, config))
    if fold is None or fold.era != trace.era or fold.seq > end:
        fold = folds[node, config] = StoreFold(trace, node, config)
    return fold.upto(end)


class StoreFold:
    """The fold in the making; `node` None: whoever has applied most.

    Invariant: `machine` has carried out every entry up to `machine.applied` that the trace tells.
    """

    KINDS = (
        *(ev.Started, ev.Applied, ev.StateLoaded, ev.Wiped, ev.Crashed),
        *LeaseFold.KINDS,
        *WatchFold.KINDS,
    )

    def __init__(self, trace: Trace, node: str | None = None, config: StoreConfig = StoreConfig()):
        self._config = config
        self._trace, self.wanted = (
            ref(trace),
            node,
        )  # weak: the table of kept folds must not hold it
        self.era, self.seq = trace.era, -1
        self.node: str | None = None
        self.revisions: dict[str, int] = {}
        self._known: dict[int, Record] = {}  # index -> an Applied record
        self.leases, self.watches = LeaseFold(), WatchFold()
        self._begin()

    def _begin(self) -> None:
        self.machine = KVMachine(MemoryBackend(), self._config)
        self.changes: list[Change] = []
        self._places: dict[bytes, int] = {}  # backend key -> place in `changes`
        self.made: list[Made] = []
        self.compactions: list[Compaction] = []
        self.forks: list[Fork] = []
        self.missing: list[tuple[int, int]] = []
        self.astray = 0

    @property
    def trace(self) -> Trace:
        """What it reads; whoever asks for a fold holds it."""
        return self._trace()

    def upto(self, end: int) -> StoreFold:
        """Go on to record `end`, included."""
        for record in self.trace.of(*dict.fromkeys(self.KINDS), start=self.seq + 1):
            if record.seq > end:
                break
            self.take(record)
        self.seq = max(self.seq, end)
        return self

    def moment(self, time: float | None = None) -> StoreMoment:
        """The facts at this place; `time`: what the clock shows, if later than the last record."""
        store, lessor = self.machine.store, self.machine.lessor
        last = self.trace[self.seq].time if self.seq >= 0 else 0.0
        time = last if time is None else time
        held = {id: tuple(sorted(lease.keys)) for id, lease in sorted(lessor.leases.items())}
        changes = tuple(self.changes)
        return StoreMoment(
            trace=self.trace,
            seq=self.seq,
            time=time,
            node=self.node,
            applied=self.machine.applied,
            revision=store.revision,
            compacted=store.compacted,
            changes=changes,
            made=tuple(self.made),
            compactions=tuple(self.compactions),
            index={key: tuple(one.generations) for key, one in store.index.items()},
            lines={key: str(one) for key, one in store.index.items()},
            held=held,
            revisions=dict(self.revisions),
            forks=tuple(self.forks),
            leases=self.leases.lives(time),
            reigns=self.leases.reigns(time),
            watches=self.watches.lives(changes, self.revisions),
            missing=tuple(self.missing),
            astray=self.astray,
        )

    # Records ----------------------------------------------------------------------------------

    def take(self, record: Record) -> None:
        """Go on by one record, which follows those that were taken before."""
        self.seq = record.seq
        event = record.event
        match event:
            case ev.Applied():
                self._known.setdefault(event.index, record)
                self.revisions[record.node] = event.revision
                if self._mine(record):
                    self._go_to(event.index, record)
            case ev.StateLoaded():
                self.revisions[record.node] = event.revision
                if self._mine(record):
                    self._jump(event.index, event.revision, record)
            case ev.Started():
                self._started(record, event)
            case ev.Wiped():
                self.revisions.pop(record.node, None)
                if self.wanted == record.node:
                    self._begin()
        self.leases.take(record, self.machine.lessor)
        self.watches.take(record)

    def _mine(self, record: Record) -> bool:
        return self.wanted in (None, record.node)

    def _started(self, record: Record, event: ev.Started) -> None:
        """A node came back with what its disk held: it may have lost its last batch."""
        if event.applied or event.revision:
            self.revisions[record.node] = max(1, event.revision)
        if not self._mine(record):
            return
        if self.wanted is not None and event.applied < self.machine.applied:
            self._begin()
        self._jump(event.applied, event.revision, record)

    def _go_to(self, index: int, record: Record) -> None:
        """The entry of `record` is carried out, after those that come before it."""
        if index <= self.machine.applied:
            return
        self._catch_up(index - 1)
        self._carry_out(record)
        self.node = record.node

    def _jump(self, index: int, revision: int, record: Record) -> None:
        """A node is at `index` without having carried the entries out one by one."""
        if index <= self.machine.applied:
            return
        self._catch_up(index)
        self.node = record.node
        store = self.machine.store
        if self.missing and revision > store.revision:
            store.revision = revision

    def _catch_up(self, index: int) -> None:
        """Carry out the entries up to `index` that other nodes have told of."""
        gap = 0
        for number in range(self.machine.applied + 1, index + 1):
            known = self._known.get(number)
            if known is None:
                gap = gap or number
                continue
            if gap:
                self._skip(gap, number - 1)
                gap = 0
            self._carry_out(known)
        if gap:
            self._skip(gap, index)

    def _skip(self, first: int, last: int) -> None:
        self.missing.append((first, last))
        self.machine.applied = last

    # Entries ----------------------------------------------------------------------------------

    def _carry_out(self, record: Record) -> None:
        event, machine = record.event, self.machine
        command = event.command if isinstance(event.command, Command) else None
        request = command.request if command else None
        before = machine.revision
        if isinstance(request, Txn):
            self.forks.append(judge(request, machine.store, event, record))
        # What was refused did nothing, whatever this machine would have thought of it.
        machine.apply(event.index, event.term, None if event.error else command)
        for sub, kv in enumerate(machine.changes):
            self._note(record, Revision(kv.mod_revision, sub), kv)
        if isinstance(request, LeaseRevoke):
            self.leases.ended(record, command, tuple(kv.key for kv in machine.changes))
        if machine.revision != event.revision:
            if not self.missing:
                self.astray = self.astray or event.index
            # What is unknown, or broken in the run, has moved it.
            machine.store.revision = max(machine.revision, event.revision)
        if machine.revision > before:
            self.made.append(Made(machine.revision, event.index, event.term, request))
        if isinstance(request, Compact) and not event.error:
            self._sweep(record, machine.store.compacted)

    def _note(self, record: Record, at: Revision, kv: KeyValue) -> None:
        kind = "delete" if not kv.version else "create" if kv.version == 1 else "modify"
        entry = record.event
        self._places[at.key(tombstone=not kv.version)] = len(self.changes)
        self.changes.append(Change(at, kind, kv, entry.term, entry.index, record.time, record.seq))

    def _sweep(self, record: Record, compacted: int) -> None:
        store = self.machine.store
        while store.sweeping:
            store.sweep()
        there = {at for at, _ in store.backend.range()}
        gone = [place for at, place in self._places.items() if at not in there]
        fresh = [place for place in gone if not self.changes[place].removed]
        for place in fresh:
            self.changes[place] = self.changes[place]._replace(removed=compacted)
        told = Compaction(compacted, store.revision, record.time, len(fresh))
        self.compactions.append(told)


def newest(changes: Sequence[Change]) -> dict[bytes, Change]:
    """Each key's last record."""
    return {change.kv.key: change for change in changes}


def served(names: dict[str, int]) -> list[str]:
    """Nodes and their revisions, in words: `n1 9, n2 8`."""
    return [f"{name} {names[name]}" for name in sorted(names, key=natural)]
