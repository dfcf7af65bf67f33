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

What a watcher is promised: changes come by revision (ordered), none twice (unique), none is missing
(reliable), those of one revision together (atomic); whoever was cut off goes on behind the last
revision that it saw (resumable), and a progress notification says that all up to it was sent
(bookmarkable). The rules at the end of this module are what these promises hang on.

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

Source: etcd server/storage/mvcc/watchable_store.go, watcher_group.go; api/v3rpc/watch.go; the
promises: etcd.io/docs/v3.5/learning/api_guarantees. Differs: etcd syncs every 100 ms on a thread of
its own, here the node says when; it keeps the answers that found no room (victims), here they are
read again from the grey tree. A request for progress waits until all is sent; etcd 3.4.23 answers
it at once, and breaks the last promise by that. As in etcd 3.4 and 3.5.1, one thing is lost without
a word: a deletion at exactly the compacted revision, for whoever has not heard of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

from kvlearn.mvcc.revision import KeyValue, after, is_tombstone, put_key
from kvlearn.mvcc.store import FROM_KEY, Store
from kvlearn.values import Shown, value

PUT, DELETE = FILTERS = "put", "delete"
NO_ID = -1  # the watch_id of answers that belong to no watcher


@value
class KVEvent(Shown):
    """A change as a watcher sees it. A delete has the key and `mod_revision` and nothing else."""

    type: str  # put or delete
    kv: KeyValue
    prev_kv: KeyValue | None = None

    def __str__(self) -> str:
        return f"put {self.kv}" if self.type == PUT else f"delete {self.kv.key_text}"

    def __repr__(self) -> str:
        return f"<{self} at revision {self.kv.mod_revision}>"


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
    """Invariant: all changes of its keys before `next` were sent, if its filters let them; while it
    is synced, so were all up to the store's revision."""

    __slots__ = (
        *("stream", "id", "key", "range_end", "next", "prev_kv", "filters", "fragment"),
        *("style", "synced", "canceled", "quiet"),
    )

    def __init__(self, stream: Stream, id: int, keys: tuple, next: int, style: tuple, cut: bool):
        """`keys`: key and range_end; `style`: prev_kv and filters. Two of one style get the same
        events of the same keys. `cut`: whether it takes fragments."""
        self.stream, self.id, self.next, self.style, self.fragment = stream, id, next, style, cut
        self.key, self.range_end = keys
        self.prev_kv, self.filters = style
        self.synced = self.canceled = False
        self.quiet = True  # no events since the last progress interval


class Stream:
    """The watchers of one client's stream, and what was not taken yet. A stream that is `full`
    gets no events until somebody takes some."""

    __slots__ = ("name", "capacity", "watchers", "queue", "progress_asked", "_next_id")

    def __init__(self, name: Any, capacity: int):
        self.name = name
        self.capacity = capacity
        self.watchers: dict[int, Watcher] = {}
        self.queue: deque[WatchResponse] = deque()
        self.progress_asked = False
        self._next_id = 0

    @property
    def full(self) -> bool:
        """Nobody keeps up. There is room for an answer to each watcher at least."""
        waiting = len(self.queue)
        return waiting >= self.capacity and waiting >= len(self.watchers)

    def new_id(self) -> int:
        """The next number, without those that the client has chosen; none comes again."""
        while self._next_id in self.watchers:
            self._next_id += 1
        self._next_id += 1
        return self._next_id - 1


class WatchHub:
    """All watchers of one node. Streams are named by whoever opens them.

    `capacity`: answers that wait in a stream before its watchers fall behind. `batch`: revisions
    that a watcher is brought forward at once. `limit_bytes`: where a fragmented answer is cut.
    `waiting` has the names of the streams that have something to take, in the order in which it
    came.

    Invariant: a watcher that is not canceled is in one group of synced ones or among `_behind`.
    """

    def __init__(
        self, store: Store, capacity: int = 128, batch: int = 1000, limit_bytes: int = 2 << 20
    ):
        self.store = store
        self.capacity, self.batch, self.limit_bytes = capacity, batch, limit_bytes
        self.streams: dict[Any, Stream] = {}
        self.waiting: dict[Any, None] = {}
        # The synced ones, by what they watch; dicts serve as sets that keep their order.
        self._by_key: dict[bytes, dict[Watcher, None]] = {}
        self._by_interval: dict[tuple[bytes, bytes], dict[Watcher, None]] = {}
        self._behind: dict[Watcher, None] = {}  # unsynced, in the order in which they fell behind
        self._reporters: dict[Watcher, None] = {}  # want to hear of progress

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
        key = key or b"\0"  # the smallest key there is; unlike a read's, it may be left out
        stream = self._opened(stream)
        now = self.store.revision
        reason = ""
        if range_end and range_end != FROM_KEY and range_end <= key:
            reason = "mvcc: watcher range is empty"
        elif watch_id and watch_id in stream.watchers:
            reason = "mvcc: duplicate watch ID provided on the WatchStream"
        if reason:
            self._tell(stream, WatchResponse(NO_ID, now, True, True, cancel_reason=reason))
            return
        id = watch_id or stream.new_id()
        start, style = self.starts_at(start_revision), (prev_kv, tuple(filters))
        watcher = Watcher(stream, id, (key, range_end), start, style, fragment)
        stream.watchers[id] = watcher
        if progress_notify:
            self._reporters[watcher] = None
        self._tell(stream, WatchResponse(id, now, created=True))
        self._behind[watcher] = None
        self._join_if_synced(watcher)

    def cancel(self, stream: Any, watch_id: int) -> None:
        """End a watcher; an unknown id is ignored."""
        opened = self.streams.get(stream)
        watcher = opened.watchers.pop(watch_id, None) if opened else None
        if watcher is not None:
            self._forget(watcher)
            self._tell(opened, WatchResponse(watch_id, self.store.revision, canceled=True))

    def request_progress(self, stream: Any) -> None:
        """Answer once with the store's revision, when all that came before it was sent."""
        opened = self._opened(stream)
        opened.progress_asked = True
        self._answer_progress(opened)

    def _opened(self, stream: Any) -> Stream:
        return self.streams.setdefault(stream, Stream(stream, self.capacity))

    def close(self, stream: Any) -> None:
        """The client is gone, and its watchers with it."""
        opened = self.streams.pop(stream, None)
        self.waiting.pop(stream, None)
        for watcher in opened.watchers.values() if opened else ():
            self._forget(watcher)

    def take(self, stream: Any) -> list[WatchResponse]:
        """What the stream brings; there is room again for more."""
        opened = self.streams.get(stream)
        if opened is None:
            return []
        self.waiting.pop(stream, None)
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
        slow = []
        made: dict[tuple, tuple[KVEvent, ...]] = {}  # by style
        for group, seen in self._listeners(changes):
            if len(changes) > 1:  # other groups may see others of them
                made.clear()
            for watcher in group:
                if not self.is_due(watcher, revision):
                    continue
                if watcher.stream.full:
                    slow.append(watcher)
                    continue
                events = made.get(watcher.style)
                if events is None:
                    events = made[watcher.style] = self._events(watcher, seen)
                if events:
                    self._send(watcher, revision, events)
                watcher.next = self.next_after(revision)
        for watcher in slow:
            self._fall_behind(watcher, revision)

    def sync(self) -> None:
        """Bring the watchers that lack something forward, as far as their streams have room."""
        for watcher in list(self._behind):
            self._catch_up(watcher)
        for stream in self.streams.values():
            self._answer_progress(stream)

    def progress(self) -> None:
        """The interval is over: who wants it and has had no events in it hears how far it is."""
        for watcher in self._reporters:
            if watcher.quiet and self.may_tell_progress(watcher) and not watcher.stream.full:
                self._tell(watcher.stream, WatchResponse(watcher.id, self.store.revision))
            watcher.quiet = True

    def reset(self, store: Store) -> None:
        """A snapshot has replaced the store. Whoever lacks what came with it catches up, or is
        canceled where that history is gone."""
        before, self.store = self.store.revision, store
        for stream in self.streams.values():
            for watcher in stream.watchers.values():
                if watcher.synced:
                    self._fall_behind(watcher, before + 1)
                    self._join_if_synced(watcher)

    @property
    def unsynced(self) -> int:
        """How many watchers lack something."""
        return len(self._behind)

    @property
    def can_sync(self) -> bool:
        """Whether `sync` would bring anybody forward."""
        return any(not watcher.stream.full for watcher in self._behind)

    @property
    def wants_progress(self) -> bool:
        """Whether anybody waits for `progress`."""
        return bool(self._reporters)

    # Within -----------------------------------------------------------------------------------

    def _join_if_synced(self, watcher: Watcher) -> None:
        if self.is_synced(watcher):
            del self._behind[watcher]
            watcher.synced = True
            groups, watched = self._place(watcher)
            groups.setdefault(watched, {})[watcher] = None

    def _leave(self, watcher: Watcher) -> None:
        watcher.synced = False
        groups, watched = self._place(watcher)
        del groups[watched][watcher]
        if not groups[watched]:
            del groups[watched]

    def _fall_behind(self, watcher: Watcher, revision: int) -> None:
        self._leave(watcher)
        watcher.next = self.stands_at(watcher, revision)
        self._behind[watcher] = None

    def _place(self, watcher: Watcher) -> tuple[dict, Any]:
        if watcher.range_end:
            return self._by_interval, (watcher.key, watcher.range_end)
        return self._by_key, watcher.key

    def _forget(self, watcher: Watcher) -> None:
        if watcher.synced:
            self._leave(watcher)
        self._behind.pop(watcher, None)
        self._reporters.pop(watcher, None)

    def _listeners(self, changes: list[KeyValue]) -> Iterable[tuple[dict, list[KeyValue]]]:
        """The groups of synced watchers that these changes concern, and which of them."""
        heard: dict[Any, tuple[dict, list[KeyValue]]] = {}
        for change in changes:
            key = change.key
            found = [key] if key in self._by_key else []
            found += [
                watched
                for watched in self._by_interval
                if watched[0] <= key and (key < watched[1] or watched[1] == FROM_KEY)
            ]
            for watched in found:
                if watched in heard:
                    heard[watched][1].append(change)
                else:
                    groups = self._by_key if watched is key else self._by_interval
                    heard[watched] = groups[watched], [change]
        return heard.values()

    def _catch_up(self, watcher: Watcher) -> None:
        """Send what it lacks, a batch at most, in one answer."""
        now = self.store.revision
        if self.has_lost(watcher):
            self._forget(watcher)
            watcher.canceled = True  # its id stays taken until the client cancels it
            lost = WatchResponse(watcher.id, canceled=True, compact_revision=self.store.compacted)
            self._tell(watcher.stream, lost)
            return
        if watcher.stream.full:
            return
        last = min(now, watcher.next + self.batch - 1)
        if last >= watcher.next:
            events = self._events(watcher, self.history(watcher, last))
            if events:
                self._send(watcher, now, events)
            watcher.next = self.next_after(last)
        self._join_if_synced(watcher)

    def _events(self, watcher: Watcher, changes: Iterable[KeyValue]) -> tuple[KVEvent, ...]:
        return tuple(
            KVEvent(type, change, self.before(change) if watcher.prev_kv else None)
            for change in changes
            if self.wants(watcher, type := PUT if change.version else DELETE)
        )

    def _send(self, watcher: Watcher, revision: int, events: tuple[KVEvent, ...]) -> None:
        watcher.quiet = False
        parts = self.parts(watcher, events)
        for part in parts:
            more = watcher.fragment and part is not parts[-1]
            answer = WatchResponse(watcher.id, revision, False, False, 0, "", more, part)
            self._tell(watcher.stream, answer)

    def _cut(self, events: tuple[KVEvent, ...]) -> list[tuple[KVEvent, ...]]:
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
        return [tuple(part) for part in parts]

    def _answer_progress(self, stream: Stream) -> None:
        if stream.progress_asked and all(
            watcher.canceled or self.may_tell_progress(watcher)
            for watcher in stream.watchers.values()
        ):
            stream.progress_asked = False
            self._tell(stream, WatchResponse(NO_ID, self.store.revision))

    def _tell(self, stream: Stream, answer: WatchResponse) -> None:
        if not stream.queue:
            self.waiting[stream.name] = None
        stream.queue.append(answer)

    # Rules ------------------------------------------------------------------------------------

    def starts_at(self, start_revision: int) -> int:
        """A watcher hears of what comes at its start revision and later, be that past or future;
        without one, of what comes from now on (etcd api: WatchCreateRequest)."""
        return start_revision if start_revision > 0 else self.store.revision + 1

    def is_synced(self, watcher: Watcher) -> bool:
        """Only who lacks nothing is handed the present (etcd mvcc: syncWatchers)."""
        return watcher.next > self.store.revision

    def is_due(self, watcher: Watcher, revision: int) -> bool:
        """Nobody hears of a revision before the one that it asked for (etcd mvcc: notify)."""
        return revision >= watcher.next

    def next_after(self, revision: int) -> int:
        """What was sent is not sent again (etcd guarantees: unique)."""
        return revision + 1

    def stands_at(self, watcher: Watcher, revision: int) -> int:
        """A synced watcher had all before `revision`, and lacks it now: it will be sent later
        (etcd mvcc: syncVictimWatchers)."""
        return max(watcher.next, revision)

    def has_lost(self, watcher: Watcher) -> bool:
        """History below the compacted revision is gone, and a watcher that needs it is told so
        and sent nothing more (etcd mvcc: watcherGroup.chooseAll)."""
        return watcher.next < self.store.compacted

    def history(self, watcher: Watcher, last: int) -> list[KeyValue]:
        """The past is told by revision, as it was made: the changes of the watcher's keys from
        `next` to `last` (etcd guarantees: ordered)."""
        store, end = self.store, after(last)
        if not watcher.range_end:
            index = store.index.get(watcher.key)
            places = index.since(watcher.next) if index else ()
            found = ((at, store.backend.get(at)) for at in places if at < end)
        else:
            stop, all = watcher.range_end, watcher.range_end == FROM_KEY
            records = store.backend.range(put_key(watcher.next, 0), end)
            found = (r for r in records if watcher.key <= r[1].key and (all or r[1].key < stop))
        # A deletion at the compacted revision itself is gone, whether swept already or not.
        gone = store.compacted
        return [kv for at, kv in found if kv.mod_revision > gone or not is_tombstone(at)]

    def wants(self, watcher: Watcher, type: str) -> bool:
        """Filtered types of events are not sent (etcd api: WatchCreateRequest.filters)."""
        return type not in watcher.filters

    def before(self, change: KeyValue) -> KeyValue | None:
        """The previous pair is that of the revision before the change; there is none for a new
        key, nor where it is compacted away (etcd api: prev_kv)."""
        earlier = change.mod_revision - 1
        return self.store.get(change.key, earlier) if earlier >= self.store.compacted else None

    def parts(self, watcher: Watcher, events: tuple[KVEvent, ...]) -> list[tuple[KVEvent, ...]]:
        """The changes of a revision come in one answer, unless the client has asked for fragments
        (etcd guarantees: atomic)."""
        return self._cut(events) if watcher.fragment else [events]

    def may_tell_progress(self, watcher: Watcher) -> bool:
        """Only who was sent all there is may be told so (etcd guarantees: bookmarkable)."""
        return watcher.synced


def size_of(kv: KeyValue) -> int:
    """About how many bytes a pair takes on a wire."""
    return len(kv.key) + len(kv.value) + 32
