"""Watches: every change since a revision, in order, none twice and none missing.

A watcher names keys and a revision to start from. Because the store never overwrites, the past and
the present are served by the same records:

```
                 compacted          next              revision (now)
   ----------------|------------------|==================|
                   gone               still to be sent         notify() sends what comes
```

A watcher is *synced* when it has been sent all there is: from then on `notify` hands it each change
as it is made. Until then it is *unsynced*: `sync` reads what it lacks from the grey tree, in
order. A watcher whose stream does not keep up becomes unsynced again, and loses nothing by that:
its `next` says where it stands.

>>> from kvlearn.mvcc.backend import MemoryBackend
>>> store = Store(MemoryBackend()); hub = WatchHub(store)
>>> store.put(b"a", b"1"), store.put(b"b", b"2")
(2, 3)
>>> hub.create("c1", b"a", start_revision=2)
>>> hub.sync()                       # the past
>>> with store.write() as txn:
...     _ = txn.put(b"a", b"3")
>>> hub.notify(txn.changes)          # the present
>>> for response in hub.take("c1"): print(response)
watch 0 created at revision 3
watch 0 at revision 3: put a=1
watch 0 at revision 4: put a=3

Source: etcd server/storage/mvcc/watchable_store.go, watcher_group.go; api/v3rpc/watch.go. Differs:
etcd syncs every 100 ms on a thread of its own; here the node says when.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

from kvlearn.mvcc.revision import KeyValue, Revision, after, put_key
from kvlearn.mvcc.store import FROM_KEY, Store
from kvlearn.values import value

PUT, DELETE = FILTERS = "put", "delete"
NO_ID = -1  # the watch_id of answers that belong to no watcher


@value
class KVEvent:
    """A change as a watcher sees it. A delete has the key and `mod_revision` and nothing else."""

    type: str  # put or delete
    kv: KeyValue
    prev_kv: KeyValue | None = None

    def __str__(self) -> str:
        return f"put {self.kv}" if self.type == PUT else f"delete {self.kv.key_text}"


@value
class WatchResponse:
    """What a stream brings. `revision` is the store's when it was made; a created watcher gets all
    that comes after it. `compact_revision` is set when history that was asked for is gone."""

    watch_id: int
    revision: int = 0
    created: bool = False
    canceled: bool = False
    compact_revision: int = 0
    cancel_reason: str = ""
    fragment: bool = False  # more of the same revision follows
    events: tuple[KVEvent, ...] = ()

    def __str__(self) -> str:
        if self.canceled:
            why = self.cancel_reason or (
                f"revision {self.compact_revision} is compacted" if self.compact_revision else ""
            )
            return f"watch {self.watch_id} canceled" + (f": {why}" if why else "")
        if self.created:
            return f"watch {self.watch_id} created at revision {self.revision}"
        told = ", ".join(map(str, self.events)) or "progress"
        return f"watch {self.watch_id} at revision {self.revision}: {told}"


class Watcher:
    """Invariant: all changes of its keys before `next` were sent, if its filters let them; a
    synced watcher's `next` is above the store's revision when it was last served."""

    __slots__ = (
        *("stream", "id", "key", "range_end", "next", "prev_kv", "types", "progress", "fragment"),
        *("synced", "canceled"),
    )

    def __init__(self, stream: Stream, id: int, key: bytes, range_end: bytes, next: int):
        self.stream = stream
        self.id = id
        self.key = key
        self.range_end = range_end
        self.next = next
        self.prev_kv = False
        self.types = (PUT, DELETE)
        self.progress = False
        self.fragment = False
        self.synced = False
        self.canceled = False

    def covers(self, key: bytes) -> bool:
        """Whether it watches this key."""
        if not self.range_end:
            return key == self.key
        return self.key <= key and (self.range_end == FROM_KEY or key < self.range_end)


class Stream:
    """The watchers of one client's stream, and what was not taken yet. A stream that is `full`
    gets no events until somebody takes some."""

    def __init__(self, capacity: int):
        self.capacity = capacity
        self.watchers: dict[int, Watcher] = {}
        self.queue: deque[WatchResponse] = deque()
        self.progress_asked = False
        self._next_id = 0

    @property
    def full(self) -> bool:
        return len(self.queue) >= self.capacity

    def new_id(self) -> int:
        """The next number that nobody has chosen."""
        while self._next_id in self.watchers:
            self._next_id += 1
        return self._next_id


class WatchHub:
    """All watchers of one node. Streams are named by whoever opens them.

    `capacity`: answers that wait in a stream before its watchers fall behind. `batch`: revisions
    that a watcher is brought forward at once. `limit_bytes`: where a fragmented answer is cut.
    """

    def __init__(
        self, store: Store, capacity: int = 128, batch: int = 1000, limit_bytes: int = 2 << 20
    ):
        self.store = store
        self.capacity, self.batch, self.limit_bytes = capacity, batch, limit_bytes
        self.streams: dict[Any, Stream] = {}
        self._by_key: dict[bytes, list[Watcher]] = {}  # synced watchers of single keys
        self._ranges: list[Watcher] = []  # synced watchers of intervals
        self._behind: list[Watcher] = []  # unsynced, in the order in which they fell behind

    # What a client asks -----------------------------------------------------------------------

    def create(
        self,
        stream: Any,
        key: bytes,
        range_end: bytes = b"",
        start_revision: int = 0,
        watch_id: int = 0,
        prev_kv: bool = False,
        filters: tuple[str, ...] = (),
        progress_notify: bool = False,
        fragment: bool = False,
    ) -> None:
        """Watch a key or an interval from `start_revision` on (0 or less: from now on).

        An id in use and an empty interval are answered in band; `filters` names what is not sent.
        """
        stream = self.streams.setdefault(stream, Stream(self.capacity))
        now = self.store.revision
        reason = ""
        if range_end and range_end != FROM_KEY and range_end <= key:
            reason = "mvcc: watcher range is empty"
        elif watch_id and watch_id in stream.watchers:
            reason = "mvcc: duplicate watch ID provided on the WatchStream"
        if reason:
            refused = WatchResponse(NO_ID, now, created=True, canceled=True, cancel_reason=reason)
            stream.queue.append(refused)
            return
        next = start_revision if start_revision > 0 else now + 1
        watcher = Watcher(stream, watch_id or stream.new_id(), key, range_end, next)
        watcher.types = tuple(type for type in (PUT, DELETE) if type not in filters)
        watcher.prev_kv, watcher.fragment = prev_kv, fragment
        watcher.progress = progress_notify
        stream.watchers[watcher.id] = watcher
        stream.queue.append(WatchResponse(watcher.id, now, created=True))
        if next > now:
            self._join(watcher)
        else:
            self._behind.append(watcher)

    def cancel(self, stream: Any, watch_id: int) -> None:
        """End a watcher; an unknown id is ignored."""
        opened = self.streams.get(stream)
        watcher = opened.watchers.pop(watch_id, None) if opened else None
        if watcher is None:
            return
        self._forget(watcher)
        if not watcher.canceled:
            opened.queue.append(WatchResponse(watch_id, self.store.revision, canceled=True))

    def request_progress(self, stream: Any) -> None:
        """Answer once with the store's revision, when all that came before it was sent."""
        if stream in self.streams:
            self.streams[stream].progress_asked = True
            self._answer_progress(self.streams[stream])

    def close(self, stream: Any) -> None:
        """The client is gone, and its watchers with it."""
        opened = self.streams.pop(stream, None)
        for watcher in list(opened.watchers.values()) if opened else ():
            self._forget(watcher)

    def take(self, stream: Any) -> list[WatchResponse]:
        """What the stream brings; there is room again for more."""
        opened = self.streams.get(stream)
        if opened is None:
            return []
        taken = list(opened.queue)
        opened.queue.clear()
        return taken

    # What the store does ----------------------------------------------------------------------

    def notify(self, changes: Iterable[KeyValue]) -> None:
        """The changes of one revision were made: synced watchers hear of them at once."""
        changes = list(changes)
        if not changes:
            return
        revision = changes[0].mod_revision
        heard: dict[Watcher, list[KeyValue]] = {}
        for change in changes:
            for watcher in self._by_key.get(change.key, ()):
                heard.setdefault(watcher, []).append(change)
            for watcher in self._ranges:
                if watcher.covers(change.key):
                    heard.setdefault(watcher, []).append(change)
        for watcher, seen in heard.items():
            if watcher.next > revision:
                continue  # it asked for a later revision
            if watcher.stream.full:
                self._fall_behind(watcher)
            else:
                self._send(watcher, revision, self._events(watcher, seen))
                watcher.next = revision + 1

    def sync(self) -> None:
        """Bring the watchers that lack something forward, as far as their streams have room."""
        behind, self._behind = self._behind, []
        for watcher in behind:
            if not watcher.canceled and not self._catch_up(watcher):
                self._behind.append(watcher)
        for stream in self.streams.values():
            self._answer_progress(stream)

    def progress(self) -> None:
        """The interval is over: synced watchers that want it hear how far they are."""
        for stream in self.streams.values():
            for watcher in stream.watchers.values():
                if watcher.progress and watcher.synced and not stream.full:
                    stream.queue.append(WatchResponse(watcher.id, self.store.revision))

    @property
    def unsynced(self) -> int:
        """How many watchers lack something."""
        return len(self._behind)

    # Within -----------------------------------------------------------------------------------

    def _join(self, watcher: Watcher) -> None:
        watcher.synced = True
        if watcher.range_end:
            self._ranges.append(watcher)
        else:
            self._by_key.setdefault(watcher.key, []).append(watcher)

    def _leave(self, watcher: Watcher) -> None:
        watcher.synced = False
        group = self._ranges if watcher.range_end else self._by_key[watcher.key]
        group.remove(watcher)
        if not group and not watcher.range_end:
            del self._by_key[watcher.key]

    def _fall_behind(self, watcher: Watcher) -> None:
        self._leave(watcher)
        self._behind.append(watcher)

    def _forget(self, watcher: Watcher) -> None:
        if watcher.synced:
            self._leave(watcher)
        elif watcher in self._behind:
            self._behind.remove(watcher)

    def _catch_up(self, watcher: Watcher) -> bool:
        """Send what it lacks, a batch at most; whether it needs no more of that."""
        store = self.store
        if self.has_lost(watcher):
            lost = WatchResponse(watcher.id, 0, canceled=True, compact_revision=store.compacted)
            watcher.stream.queue.append(lost)
            watcher.canceled = True  # its id stays taken until the client cancels it
            return True
        last = min(store.revision, watcher.next + self.batch - 1)
        for revision, changes in self._history(watcher, last):
            if watcher.stream.full:
                watcher.next = revision
                return False
            self._send(watcher, store.revision, self._events(watcher, changes))
        watcher.next = max(watcher.next, last + 1)
        if last < store.revision:
            return False
        self._join(watcher)
        return True

    def _history(self, watcher: Watcher, last: int) -> Iterable[tuple[int, list[KeyValue]]]:
        """The changes of its keys from `next` to `last`, revision by revision."""
        found: dict[int, list[KeyValue]] = {}
        for at, record in self.store.backend.range(put_key(watcher.next, 0), after(last)):
            if watcher.covers(record.key):
                found.setdefault(Revision.parse(at).main, []).append(record)
        return found.items()

    def _events(self, watcher: Watcher, changes: list[KeyValue]) -> list[KVEvent]:
        events = []
        for change in changes:
            type = PUT if change.version else DELETE
            if type in watcher.types:
                old = self._before(change) if watcher.prev_kv else None
                events.append(KVEvent(type, change, old))
        return events

    def _before(self, change: KeyValue) -> KeyValue | None:
        """What the key held before; None for a new key, and where that is compacted away."""
        earlier = change.mod_revision - 1
        return self.store.get(change.key, earlier) if earlier >= self.store.compacted else None

    def _send(self, watcher: Watcher, revision: int, events: list[KVEvent]) -> None:
        if not events:
            return  # its filters let nothing through
        queue = watcher.stream.queue
        if not watcher.fragment:
            queue.append(WatchResponse(watcher.id, revision, events=tuple(events)))
            return
        parts = self._cut(events)
        for number, part in enumerate(parts, start=1):
            more = number < len(parts)
            queue.append(WatchResponse(watcher.id, revision, fragment=more, events=tuple(part)))

    def _cut(self, events: list[KVEvent]) -> list[list[KVEvent]]:
        """The events in parts of at most `limit_bytes`, one event at least in each."""
        parts: list[list[KVEvent]] = [[]]
        size = 0
        for event in events:
            cost = size_of(event.kv) + (size_of(event.prev_kv) if event.prev_kv else 0)
            if parts[-1] and size + cost > self.limit_bytes:
                parts.append([])
                size = 0
            parts[-1].append(event)
            size += cost
        return parts

    def _answer_progress(self, stream: Stream) -> None:
        waits = any(not w.synced and not w.canceled for w in stream.watchers.values())
        if stream.progress_asked and not waits:
            stream.progress_asked = False
            stream.queue.append(WatchResponse(NO_ID, self.store.revision))

    # Rules ------------------------------------------------------------------------------------

    def has_lost(self, watcher: Watcher) -> bool:
        """History below the compacted revision is gone, and a watcher is told so (etcd)."""
        return watcher.next < self.store.compacted


def size_of(kv: KeyValue) -> int:
    """About how many bytes a pair takes on a wire."""
    return len(kv.key) + len(kv.value) + 32
