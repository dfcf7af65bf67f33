"""The store: many versions of every key, numbered by one revision that counts changes.

Two trees. The grey one, the backend, is the truth: revision -> record, and it only ever grows at
its end. The blue one is an index, key -> revisions; it can be lost, because it is rebuilt from the
grey one when a store is opened.

>>> from kvlearn.mvcc.backend import MemoryBackend
>>> store = Store(MemoryBackend())
>>> store.put(b"a", b"1"), store.put(b"b", b"2"), store.put(b"a", b"3"), store.delete(b"a")
(2, 3, 4, 5)
>>> print(store.get(b"a"), store.get(b"a", revision=2), store.get(b"a", revision=4))
None a=1 a=3
>>> print(store.index[b"a"])
a: {2.0 4.0 5.0(t)} {}
>>> [f"{Revision.parse(key)} {record}" for key, record in store.backend.range()]
['2.0 a=1', '3.0 b=2', '4.0 a=3', '5.0 a=']

Changes that belong together share a main revision and are numbered inside it:

>>> with store.write() as txn:
...     changed = txn.put(b"x", b"1"), txn.put(b"y", b"2")
>>> [f"{Revision.parse(key)} {record}" for key, record in store.backend.range(after(5))]
['6.0 x=1', '6.1 y=2']

Source: etcd server/storage/mvcc/kvstore.go, kvstore_txn.go. Differs: one thread, so no locks; the
hash covers the same facts, but its numbers are not etcd's.
"""

from __future__ import annotations

import copy
import struct
import zlib
from collections import Counter
from collections.abc import Iterator
from itertools import islice

from kvlearn.errors import Compacted, FutureRevision
from kvlearn.mvcc.backend import Backend
from kvlearn.mvcc.key_index import Index
from kvlearn.mvcc.revision import KeyValue, Revision, after, put_key

FROM_KEY = b"\0"  # as a range_end: no upper end
COMPACTED, SWEPT = "compacted", "swept"  # the backend's names for compacted revisions
_pack_numbers = struct.Struct(">QQQqI").pack


class Store:
    """All versions of all keys over a backend. A new store is at revision 1.

    Invariant: `index` leads to every record of the backend and to nothing else; no record is newer
    than `revision`, except while a WriteTxn is open.
    """

    def __init__(self, backend: Backend):
        """Open the store that `backend` holds: the index and the revision are read back from it."""
        self.backend = backend
        self.compacted: int = backend.get_meta(COMPACTED)  # what lies below cannot be read
        # Of the newest change. A compaction may have taken its record, but not its number.
        self.revision = max(1, self.compacted)
        self._swept_to: bytes | None = None  # where the sweep behind a compaction stands
        if backend.get_meta(SWEPT) < self.compacted:
            self._swept_to = b""
        self.index = Index(self._restore(), backend.read)

    def _restore(self) -> Iterator[tuple]:
        """All records, unread, while the revision follows them."""
        found = None
        for found in self.backend.unread():
            yield found
        if found is not None:
            self.revision = max(self.revision, Revision.parse(found[0]).main)

    # Reading --------------------------------------------------------------------------------

    def get(self, key: bytes, revision: int = 0) -> KeyValue | None:
        """The pair of `key` now, or as it was at `revision`; None if it did not exist.

        Raises: FutureRevision.
        """
        if revision <= 0:
            return self.index.newest(key)
        found = self.index.find(key, self.readable(revision))
        return None if found is None else self.backend.get(found)

    def range(
        self,
        key: bytes,
        range_end: bytes = b"",
        revision: int = 0,
        limit: int = 0,
        count_only: bool = False,
    ) -> tuple[list[KeyValue], int]:
        """The first `limit` pairs (0: all) of an interval in key order, and how many it has.

        An empty `range_end` means the key alone, FROM_KEY everything from `key` upwards. An open
        WriteTxn is seen by reads of the present (`revision` 0 or less), and only by them.

        Raises: FutureRevision.
        """
        end = None if range_end == FROM_KEY else range_end
        if revision <= 0:
            found = self.index.newest_between(key, end)
            kvs = found[:limit] if limit > 0 else found
        else:
            found = self.index.find_between(key, end, self.readable(revision))
            wanted = () if count_only else found[:limit] if limit > 0 else found
            kvs = [self.backend.get(place) for place in wanted]
        return ([] if count_only else kvs), len(found)

    def history(self, key: bytes) -> list[KeyValue]:
        """Every record of `key`, oldest first; a tombstone has version 0."""
        revisions = self.index[key].revisions if key in self.index else ()
        return [self.backend.get(at) for at in revisions]

    def hash(self, revision: int = 0) -> int:
        """A 32-bit sum of all records up to `revision`: equal on nodes that hold the same history.

        Raises: FutureRevision.
        """
        total = 0
        for at, kv in self.records(self.readable(revision)):
            numbers = kv.create_revision, kv.mod_revision, kv.version, kv.lease, len(kv.key)
            total = zlib.crc32(b"".join((at, _pack_numbers(*numbers), kv.key, kv.value)), total)
        return total

    def records(self, revision: int) -> Iterator[tuple[bytes, KeyValue]]:
        """(backend key, record) up to `revision`, without what only waits to be swept: equal on
        nodes that hold the same history, however far their sweeps are."""
        old = after(self.compacted)
        for at, record in self.backend.range(end=after(revision)):
            if self._swept_to is None or at >= old or self._survives(at, record):
                yield at, record

    # Compaction -----------------------------------------------------------------------------

    def compact(self, revision: int) -> None:
        """Give up the history below `revision`: of each key the newest record up to there stays,
        unless it is a deletion. It cannot be read at once; `sweep` makes room, step by step.
        To compact at 0 is fine as long as nothing is compacted (etcd counts from -1 then).

        Raises: Compacted (not beyond the last compaction), FutureRevision.
        """
        if revision <= (self.compacted or -1):
            raise Compacted(hint=f"{self.compacted} is compacted already")
        self.readable(revision)
        self.compacted = revision
        self.backend.set_meta(COMPACTED, revision)
        self._swept_to = b""

    @property
    def sweeping(self) -> bool:
        """Whether a compaction has records left to remove."""
        return self._swept_to is not None

    def sweep(self, limit: int = 1000) -> int:
        """Look at `limit` records at most and remove what the compaction gave up; returns how many
        went. Each step is short, so that a large compaction does not hold up the node."""
        if self._swept_to is None:
            return 0
        at, gone = None, {}
        for at, record in islice(self.backend.range(self._swept_to, after(self.compacted)), limit):
            if not self._survives(at, record):
                gone[at] = record
        # Plain maps: a tuple or a list a record would set off Python's collector, which then looks
        # at all records of the store at once.
        for place in gone:
            self.backend.delete(place)
        count = Counter(record.key for record in gone.values())
        last = {record.key: record for record in gone.values()}
        # What goes of a key are always its oldest revisions, so that one cut takes them.
        for key, record in last.items():
            self.index.forget(key, count[key], record)
        if at is None:
            self._swept_to = None
            self.backend.set_meta(SWEPT, self.compacted)
        else:
            self._swept_to = at + b"\0"
        return len(gone)

    def _survives(self, at: bytes, record: KeyValue) -> bool:
        """Whether a compaction leaves this record, which lies at or below it."""
        return self.index.find(record.key, self.compacted) == at

    # Writing --------------------------------------------------------------------------------

    def write(self) -> WriteTxn:
        """Changes that share one revision; one at a time: `with store.write() as txn: ...`."""
        return WriteTxn(self)

    def put(self, key: bytes, value: bytes, lease: int = 0) -> int:
        """Put one pair in a revision of its own; returns that revision."""
        self.add(self.revision + 1, 0, key, value, lease)
        self.revision += 1
        return self.revision

    def add(self, main: int, sub: int, key: bytes, value: bytes, lease: int) -> KeyValue:
        """Put one pair into a revision in the making; returns its record."""
        old = self.index.newest(key)
        if old is None:
            record = KeyValue(key, value, main, main, 1, lease)
        else:
            record = KeyValue(old.key, value, old.create_revision, main, old.version + 1, lease)
        at = put_key(main, sub)
        self.backend.put(at, record)
        self.index.note(at, record)
        return record

    def delete(self, key: bytes, range_end: bytes = b"") -> int:
        """Delete an interval in one revision; returns the store's revision afterwards."""
        with WriteTxn(self) as txn:
            txn.delete_range(key, range_end)
        return self.revision

    def __deepcopy__(self, memo: dict) -> Store:
        """An independent store; its index is rebuilt, as after a restart."""
        twin = type(self)(copy.deepcopy(self.backend, memo))
        twin._swept_to = self._swept_to
        return twin

    # Rules ----------------------------------------------------------------------------------

    def readable(self, revision: int) -> int:
        """Which revision a read sees: 0 or less is the present; neither the future nor what is
        compacted can be read.

        Raises: FutureRevision, Compacted.
        """
        if revision > self.revision:
            raise FutureRevision(hint=f"{revision} was asked for, the newest is {self.revision}")
        if 0 < revision < self.compacted:
            raise Compacted(hint=f"{revision} was asked for, {self.compacted} is the oldest")
        return revision if revision > 0 else self.revision


class WriteTxn:
    """One main revision in the making: each change gets the next sub-revision.

    `changes` are the new records in their order, tombstones (version 0) included. The store's
    revision moves when the transaction ends, and only if something changed. Nothing undoes a
    change: whatever may refuse a request must do so before the first one.
    """

    __slots__ = ("store", "main", "changes")

    def __init__(self, store: Store):
        self.store = store
        self.main = store.revision + 1
        self.changes: list[KeyValue] = []

    @property
    def revision(self) -> int:
        """What a read inside the transaction reports: the old revision up to the first change."""
        return self.main if self.changes else self.store.revision

    def put(self, key: bytes, value: bytes, lease: int = 0) -> KeyValue:
        """Write one pair; returns its new record."""
        record = self.store.add(self.main, len(self.changes), key, value, lease)
        self.changes.append(record)
        return record

    def delete_range(self, key: bytes, range_end: bytes = b"") -> list[KeyValue]:
        """Delete an interval in key order; returns the records that were there."""
        gone, _ = self.store.range(key, range_end)
        for old in gone:
            at = Revision(self.main, len(self.changes)).key(tombstone=True)
            # Not more than a watcher is told: the key, and when it was deleted.
            record = KeyValue(old.key, b"", mod_revision=self.main)
            self.store.backend.put(at, record)
            self.store.index.note(at, record)
            self.changes.append(record)
        return gone

    def __enter__(self) -> WriteTxn:
        return self

    def __exit__(self, kind, error, traceback) -> None:
        assert kind is None or not self.changes, "a transaction failed after its first change"
        if self.changes:
            self.store.revision = self.main
