"""What a watcher is promised, checked against what the log says has happened.

The truth is the log: the `Applied` records, each entry once, carried out by a list of changes
(`check/naive.py`). What was told is in `Notified`. Between the two, for every watcher:

```
  the changes that it asked for     2 a   3 b   5 a b   7 a   9 b
  what it was told                  [ 2 a   3 b ]   [ 5 a b ]   progress 6   [ 7 a ] ...
                                     ordered, unique,  atomic    bookmarkable  reliable
```

* Ordered: events come by revision, and within a revision as its changes were made.
* Unique: no event comes twice.
* Reliable: who was told of two changes was told of all between them; a watcher is canceled for
  lost history only if it lacks some.
* Atomic: the events of a revision come in one answer, or in fragments of one.
* Resumable: who asks from a revision on is told of the first change there. A client that goes on at
  another node leaves nothing out, and asks for nothing again.
* Bookmarkable: a progress notification of revision 6 says that all up to 6 was sent.
* Start and Filters: nothing but what was asked for, as it was; with `prev_kv` what was before.

Nobody promises *when* a watcher hears of a change, so this is not checked: a stream that is not
read may be behind for ever. What a node has handed out counts as received.

>>> from kvlearn.events import Applied, Notified, WatchAsked
>>> from kvlearn.kv.requests import Command, Put
>>> from kvlearn.kv.watches import WatchCreate
>>> from kvlearn.mvcc.watch import KVEvent, WatchResponse
>>> from kvlearn.mvcc.revision import KeyValue
>>> trace = Trace(seed=7)
>>> def tell(event): trace.add(0.0, "n1", event, None)
>>> tell(WatchAsked("c1/w1", WatchCreate(b"a"), 1))
>>> tell(Notified("c1/w1", WatchResponse(0, 1, created=True)))
>>> for n in 2, 3: tell(Applied(n - 1, 1, Command("n1", n, Put(b"a", b"%d" % n)), n))
>>> event = KVEvent("put", KeyValue(b"a", b"3", 2, 3, 2))
>>> tell(Notified("c1/w1", WatchResponse(0, 3, events=(event,))))
>>> print(watches(trace)["Reliable"])  # doctest: +NORMALIZE_WHITESPACE
Reliable is broken: n1 tells c1/w1 of put a=3 at revision 3, and has not told it of put a=2 at
revision 2 [record 4, 0.000000 s, n1] (seed 7)

Source: etcd.io/docs/v3.5/learning/api_guarantees; etcd tests/robustness/validate/watch.go (one
error per promise). Differs: etcd's validator asks its clients what they got.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from typing import Any

from kvlearn.check.histories import log_of
from kvlearn.check.naive import Change, NaiveStore, within
from kvlearn.check.verdict import Verdict, Verdicts, verdicts_on
from kvlearn.events import (
    Applied,
    Crashed,
    Notified,
    Started,
    StateLoaded,
    StreamClosed,
    WatchAsked,
)
from kvlearn.kv.leases import Compact
from kvlearn.kv.watches import WatchCreate
from kvlearn.mvcc.watch import NO_ID, KVEvent, WatchResponse
from kvlearn.trace import Record, Trace

ORDERED = "Ordered"
UNIQUE = "Unique"
RELIABLE = "Reliable"
ATOMIC = "Atomic"
RESUMABLE = "Resumable"
BOOKMARKABLE = "Bookmarkable"
AS_ASKED = "Start and Filters"
WATCH_PROMISES = (ORDERED, UNIQUE, RELIABLE, ATOMIC, RESUMABLE, BOOKMARKABLE, AS_ASKED)
SECTION = "etcd: watch API"  # who makes the promises


def watches(trace: Trace) -> Verdicts:
    """The verdicts on all promises that watchers are given, in this order: `WATCH_PROMISES`.

    Raises: ValueError if the trace lacks entries of the log, or its revisions contradict them.
    """
    return _Judge(trace).verdicts()


class _Truth:
    """What the log did. `compactions`: (index, revision) of each, in the order of the log."""

    def __init__(self, trace: Trace):
        self.store = NaiveStore()
        self.compactions: list[tuple[int, int]] = []
        for entry in log_of(trace):
            self._apply(entry)
        self.at = {(change.revision, change.kv.key): change for change in self.store.changes}
        self._asked: dict[tuple, tuple[list[Change], dict[tuple[int, bytes], int]]] = {}

    def _apply(self, record: Record) -> None:
        event = record.event
        request = getattr(event.command, "request", None)
        if not event.error:
            self.store.apply(request)
            if isinstance(request, Compact):
                self.compactions.append((event.index, request.revision))
        if self.store.revision != event.revision:
            mine = self.store.revision
            raise ValueError(f"record {record.seq} is at revision {event.revision}, not {mine}")

    def compacted(self, index: int) -> int:
        """The compacted revision of whoever has applied entry `index`."""
        return max((revision for at, revision in self.compactions if at <= index), default=0)

    def excuses(self, change: Change, compacted: int) -> bool:
        """A deletion at a compacted revision itself is gone, and nobody hears of it any more (etcd
        up to 3.5)."""
        at_one = any(change.revision == revision for _, revision in self.compactions)
        return not change.put and at_one and change.revision <= compacted

    def asked(self, request: WatchCreate) -> tuple[list[Change], dict[tuple[int, bytes], int]]:
        """All changes that a watcher wants, and the place of each in that list."""
        key = request.key or b"\0"  # no key is the smallest key
        wants = key, request.range_end, request.filters
        if wants not in self._asked:
            changes = [
                change
                for change in self.store.events(key, request.range_end)
                if change.type not in request.filters
            ]
            places = {(c.revision, c.kv.key): place for place, c in enumerate(changes)}
            self._asked[wants] = changes, places
        return self._asked[wants]


class _Watcher:
    """One watcher on one node. `next`: the place, in `changes`, of the first change that it was
    not told of, but for those that were `skipped` (place -> the record that went past them, and
    whether it was the first that told anything)."""

    def __init__(self, node: str, asked: Record, truth: _Truth):
        self.node = node
        self.stream: str = asked.event.stream
        self.request: WatchCreate = asked.event.request
        self.created_at: int = asked.event.revision
        self.changes, self.places = truth.asked(self.request)
        self.id = NO_ID
        self.start = self.request.start_revision
        if self.start <= 0:
            self.start = asked.event.revision + 1
        self.first = self.next = bisect_left(self.changes, (self.start,))
        self.skipped: dict[int, tuple[Record, bool]] = {}
        self.told = 0  # the newest revision that it heard of,
        self.answer = 0  # and in which of its answers
        self.answers = 0
        self.open = False  # more fragments of the last answer are to come
        self.bookmark = 0
        self.canceled = self.ended = False

    @property
    def upto(self) -> int:
        """It was told all up to this revision, if promises are kept."""
        return max(self.start - 1, self.told, self.bookmark)

    def lacks(self, revision: int, compacted: int, truth: _Truth) -> Iterator[Change]:
        """What it was not told of, up to a revision; first what was skipped."""
        skipped = (self.changes[place] for place in sorted(self.skipped))
        to_come = (self.changes[place] for place in range(self.next, len(self.changes)))
        yield from (change for change in skipped if change.revision <= revision)
        for change in to_come:
            if change.revision > revision:
                break
            if not truth.excuses(change, compacted):
                yield change


class _Judge:
    """Reads what was asked and told, and holds it against the truth."""

    def __init__(self, trace: Trace):
        self.seed = trace.seed
        self._breaks: dict[str, list[Verdict]] = {name: [] for name in WATCH_PROMISES}
        self._events = self._progress = self._count = 0
        self._revisions: dict[str, int] = {}  # node -> what it has applied
        self._compacted: dict[str, int] = {}  # node -> what is compacted there
        self._asked: dict[tuple[str, str], list[_Watcher]] = {}  # not created yet
        self._watchers: dict[tuple[str, str], dict[int, _Watcher]] = {}
        self._before: dict[tuple, _Watcher] = {}  # the last that was created of a client's watch
        if next(trace.of(WatchAsked, Notified), None) is not None:
            self.truth = _Truth(trace)
            self._read(trace)

    def _read(self, trace: Trace) -> None:
        kinds = Applied, StateLoaded, Started, Crashed, WatchAsked, Notified, StreamClosed
        for record in trace.of(*kinds):
            node, event = record.node, record.event
            match event:
                case Applied(revision=revision, error=error, command=command):
                    self._revisions[node] = revision
                    request = getattr(command, "request", None)
                    if isinstance(request, Compact) and not error:
                        self._compacted[node] = request.revision
                case StateLoaded(index=index, revision=revision):
                    self._at(node, index, revision)
                case WatchAsked(stream, WatchCreate()):
                    watcher = _Watcher(node, record, self.truth)
                    self._asked.setdefault((node, stream), []).append(watcher)
                    self._resumes(watcher, record)
                case Notified(stream, response):
                    self._told(record, (node, stream), response)
                case StreamClosed(stream):
                    self._end((node, stream))
                case Crashed():
                    self._end_all(node)
                case Started(applied=applied, revision=revision):
                    self._end_all(node)
                    self._at(node, applied, revision)
        for node in {node: None for node, _ in self._watchers}:
            self._end_all(node)

    def _at(self, node: str, index: int, revision: int) -> None:
        self._revisions[node] = revision
        self._compacted[node] = self.truth.compacted(index)

    # What is told -----------------------------------------------------------------------------

    def _told(self, record: Record, line: tuple[str, str], response: WatchResponse) -> None:
        if response.created:
            self._created(record, line, response)
            return
        known = self._watchers.get(line, {})
        quiet = not (response.events or response.canceled)
        if quiet and response.watch_id == NO_ID:
            for watcher in known.values():
                if not watcher.canceled:
                    self._bookmark(record, watcher, response.revision)
            return
        watcher = known.get(response.watch_id)
        if watcher is None:
            what = f"{line[0]} speaks of watch {response.watch_id} of {line[1]}, which is not there"
            self._break(AS_ASKED, what, record)
        elif response.canceled:
            self._canceled(record, known, watcher, response)
        elif watcher.canceled:
            what = f"{line[0]} goes on telling {line[1]}, whose watch is canceled"
            self._break(AS_ASKED, what, record)
        elif quiet:
            self._bookmark(record, watcher, response.revision)
        else:
            self._answer(record, watcher, response)

    def _created(self, record: Record, line: tuple[str, str], response: WatchResponse) -> None:
        waiting = self._asked.get(line, [])
        if not waiting:
            what = f"{line[0]} creates a watch for {line[1]}, which has not asked for it"
            self._break(AS_ASKED, what, record)
            return
        watcher = waiting.pop(0)
        if response.canceled:
            return  # refused
        watcher.id = response.watch_id
        if response.revision != watcher.created_at:
            what = f"{line[0]} creates a watch for {line[1]} at revision {response.revision}, and "
            what += f"its store was at {watcher.created_at}"
            self._break(AS_ASKED, what, record)
        self._count += 1
        self._watchers.setdefault(line, {})[watcher.id] = watcher
        self._before[_name(watcher)] = watcher

    def _canceled(
        self, record: Record, known: dict, watcher: _Watcher, response: WatchResponse
    ) -> None:
        lost = response.compact_revision
        who = f"{watcher.node} cancels the watch of {watcher.stream} because {lost} is compacted"
        if lost and self._compacted.get(watcher.node, lost) < lost:
            self._break(RELIABLE, f"{who}, and it is not", record)
        elif lost and watcher.upto >= lost - 1:
            self._break(RELIABLE, f"{who}, and it had all up to {watcher.upto}", record)
        watcher.canceled = True
        self._before.pop(_name(watcher), None)
        if not lost:
            self._settle(known.pop(watcher.id))

    def _answer(self, record: Record, watcher: _Watcher, response: WatchResponse) -> None:
        if not watcher.open:
            watcher.answers += 1
        watcher.open = response.fragment
        if response.fragment and not watcher.request.fragment:
            what = f"{watcher.node} cuts an answer to {watcher.stream}, which wants it whole"
            self._break(ATOMIC, what, record)
        for event in response.events:
            self._events += 1
            self._event(record, watcher, event)
        newest = max(event.kv.mod_revision for event in response.events)
        if response.revision < newest:
            what = f"{watcher.node} tells {watcher.stream} of revision {newest} in an answer of "
            self._break(BOOKMARKABLE, f"{what}revision {response.revision}", record)

    def _event(self, record: Record, watcher: _Watcher, event: KVEvent) -> None:
        revision, key = event.kv.mod_revision, event.kv.key
        what = f"{watcher.node} tells {watcher.stream} of {event} at revision {revision}"
        if wrong := self._not_asked_for(watcher, event):
            self._break(AS_ASKED, f"{what}, {wrong}", record)
            if (revision, key) not in watcher.places or revision < watcher.start:
                return
        place = watcher.places[revision, key]
        if place < watcher.next and place not in watcher.skipped:
            self._break(UNIQUE, f"{what}, and has done so before", record)
            return
        if revision <= watcher.bookmark:
            late = f"{what}, and had said that all up to {watcher.bookmark} was sent"
            self._break(BOOKMARKABLE, late, record)
        if place in watcher.skipped:
            del watcher.skipped[place]
            self._break(ORDERED, f"{what}, after revision {watcher.told}", record)
            return
        for missed in range(watcher.next, place):
            if not self._excuses(watcher, watcher.changes[missed]):
                watcher.skipped[missed] = record, not watcher.told
        watcher.next = place + 1
        if revision == watcher.told and watcher.answer != watcher.answers:
            torn = f"{what}, and had told it of others of this revision in the answer before"
            self._break(ATOMIC, torn, record)
        watcher.told, watcher.answer = revision, watcher.answers

    def _not_asked_for(self, watcher: _Watcher, event: KVEvent) -> str:
        """What is wrong with an event itself; nothing if it is what its watcher wants."""
        request, kv = watcher.request, event.kv
        truth = self.truth.at.get((kv.mod_revision, kv.key))
        if truth is None:
            return "and no such change was made"
        if (event.type, kv) != (truth.type, truth.kv):
            return f"and the change was {truth}"
        if not within(kv.key, request.key or b"\0", request.range_end):
            return f"which wants other keys: {request}"
        if event.type in request.filters:
            return f"which does not want to hear of any {event.type}"
        if kv.mod_revision < watcher.start:
            return f"which wants to hear of {watcher.start} and later"
        before = self.truth.store.get(kv.key, kv.mod_revision - 1) if request.prev_kv else None
        gone = self._compacted.get(watcher.node, 0) > kv.mod_revision - 1
        if event.prev_kv != before and not (event.prev_kv is None and gone):
            return f"with {event.prev_kv or 'nothing'} before it, and that was {before}"
        return ""

    def _bookmark(self, record: Record, watcher: _Watcher, revision: int) -> None:
        self._progress += 1
        node = watcher.node
        what = f"{node} tells {watcher.stream} that all up to revision {revision} was sent"
        compacted = self._compacted.get(node, 0)
        lacks = next(watcher.lacks(revision, compacted, self.truth), None)
        known = self._revisions.get(node, revision)
        if lacks is not None:
            self._break(BOOKMARKABLE, f"{what}, and {_told(lacks)} was not", record)
        elif revision > known:
            self._break(BOOKMARKABLE, f"{what}, and it knows no more than {known} itself", record)
        elif revision < max(watcher.told, watcher.bookmark):
            before = max(watcher.told, watcher.bookmark)
            self._break(BOOKMARKABLE, f"{what}, and was at {before} before", record)
        watcher.bookmark = max(watcher.bookmark, revision)

    # How it ends, and goes on -----------------------------------------------------------------

    def _resumes(self, watcher: _Watcher, record: Record) -> None:
        """A client goes on with a watch: nothing may lie between then and now."""
        before = self._before.get(_name(watcher))
        if before is None or before.canceled or watcher.request.start_revision <= 0:
            return
        if before.node == watcher.node and not before.ended:
            return  # a second watch of the same keys
        if watcher.start <= before.told and not before.open:  # else fragments may be missing
            what = f"{watcher.stream} goes on at {watcher.node} from revision {watcher.start}, and "
            what += f"{before.node} has told it of revision {before.told} already"
            self._break(RESUMABLE, what, record)
        for change in watcher.changes[before.next : watcher.first]:
            if change.revision > before.upto and not self._excuses(watcher, change):
                what = f"{watcher.stream} goes on at {watcher.node} from revision {watcher.start}, "
                what += f"and {before.node} has not told it of {_told(change)}"
                self._break(RESUMABLE, what, record)
                return

    def _excuses(self, watcher: _Watcher, change: Change) -> bool:
        return self.truth.excuses(change, self._compacted.get(watcher.node, 0))

    def _end_all(self, node: str) -> None:
        """The node knows of no stream any more."""
        for line in [line for line in {**self._asked, **self._watchers} if line[0] == node]:
            self._end(line)

    def _end(self, line: tuple[str, str]) -> None:
        self._asked.pop(line, None)
        for watcher in self._watchers.pop(line, {}).values():
            watcher.ended = True
            self._settle(watcher)

    def _settle(self, watcher: _Watcher) -> None:
        """Nothing more will come: what was skipped is missing."""
        seen: set[int] = set()
        for place, (record, first) in sorted(watcher.skipped.items()):
            if record.seq in seen:
                continue
            seen.add(record.seq)
            events = record.event.response.events
            told = next(event for event in events if _place(watcher, event) > place)
            what = f"{watcher.node} tells {watcher.stream} of {told} at revision "
            what += f"{told.kv.mod_revision}, and has not told it of "
            what += _told(watcher.changes[place])
            if first and watcher.request.start_revision > 0:
                what += f", though it has asked for all from {watcher.start} on"
                self._break(RESUMABLE, what, record)
            else:
                self._break(RELIABLE, what, record)

    # Verdicts ---------------------------------------------------------------------------------

    def _break(self, promise: str, why: str, record: Record) -> None:
        self._breaks[promise].append(Verdict(promise, False, why, record, SECTION, self.seed))

    def verdicts(self) -> Verdicts:
        """One on each promise; of several breaks the first."""
        told = f"{self._events} event{'s' * (self._events != 1)} to {self._count} "
        told += f"watcher{'s' * (self._count != 1)}"
        marks = f"{self._progress} progress notification{'s' * (self._progress != 1)}"
        kept = {
            ORDERED: f"{told}, each after the one before",
            UNIQUE: f"{told}, none twice",
            RELIABLE: f"{told}, none missing between two others",
            ATOMIC: f"{told}, those of a revision together",
            RESUMABLE: f"{told}, from the revision on that was asked for",
            BOOKMARKABLE: f"{marks}, with nothing left behind",
            AS_ASKED: f"{told}, and nothing that was not asked for",
        }
        return verdicts_on(self._breaks, kept, SECTION, self.seed)


def _name(watcher: _Watcher) -> tuple[Any, ...]:
    """By which a watch is known again on another node."""
    request = watcher.request
    return watcher.stream, request.key, request.range_end, request.filters


def _place(watcher: _Watcher, event: KVEvent) -> int:
    return watcher.places.get((event.kv.mod_revision, event.kv.key), -1)


def _told(change: Change) -> str:
    what = change.kv if change.put else change.kv.key_text
    return f"{change.type} {what} at revision {change.revision}"
