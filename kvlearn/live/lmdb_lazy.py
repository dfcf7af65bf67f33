"""The backend of a member that has a write-ahead log: commits gather, views freeze.

The log is what a member promises by; the store may lag behind it, because what a crash takes from
the store the log brings back. So the node's `commit` costs nothing here. It only marks where a
transaction may end, and the host calls `flush` ten times a second:

    entry 5   commit   entry 6   commit   entry 7   commit   flush
    └──────────────── one transaction of LMDB ──────────────────┘   durable: all of it or nothing

Records and the fact "applied" are in one transaction as ever, so the log is carried on from the
right entry. Before the log forgets entries the store must hold them: flush, then compact.

`freeze` gives the whole state as it is now, for a follower or a client, in no time: a read
transaction keeps the pages that it sees from being used again, and records are read when they are
sent. As long as somebody holds such a view the file grows a little with every flush.

Facts that change with every entry stay in memory until the flush; they are not encoded each time.

>>> from kvlearn.mvcc.store import Store
>>> with LazyLmdb(getfixture("tmp_path") / "store") as backend:
...     _ = Store(backend).put(b"a", b"1")
...     backend.set_meta("applied", 5)
...     backend.commit()
...     view = backend.freeze((("applied", 5),))
...     _ = Store(backend).put(b"a", b"2")
...     print(len(view), view[0], view[1][1])
2 ('applied', 5) a=1

Source: etcd server/storage/backend/batch_tx.go (commits every 100 ms or 10,000 writes),
read_tx.go (ConcurrentReadTx). Differs: etcd commits on a goroutine of its own, and its snapshot of
the store, too, is a read transaction of the file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any
from weakref import WeakSet

import lmdb

from kvlearn.errors import StorageError
from kvlearn.live.lmdb_backend import LmdbBackend, decode, encode
from kvlearn.mvcc.revision import KeyValue
from kvlearn.values import to_json

CHECKED_BYTES = 32 << 20  # a larger file is trusted: to follow its pointers would take too long
FLUSH_BYTES = 16 << 20  # a commit flushes when so much has gathered
LOOK_BYTES = 64 << 10  # written between two looks at how large the file is
RECORD_BYTES = 64  # what a record takes beside its own bytes, about


class LazyLmdb(LmdbBackend):
    """Invariant: after a crash the folder holds what the last `flush`, or `replace`, made durable.

    A StorageError of `flush`, `put` or `freeze` is the end: the file is whole, but what gathered
    is gone; the log has it, so the member has to start again.
    """

    def __init__(self, path: str | Path, map_bytes: int = 8 << 30, fsync: bool = True):
        """Open what the folder holds, or make it; see LmdbBackend."""
        self._gathered = 0  # bytes written since the last flush, about
        self._new_facts: dict[str, Any] = {}
        self._views: WeakSet[Frozen] = WeakSet()
        self._sizes, self._looked = (0, 0), 0
        self.no_room: Callable[[], str] = str  # says why the disk is full; the host may set it
        self._full = ""
        data = Path(path) / "data.mdb"
        file_bytes = data.stat().st_size if data.exists() else 0
        room = max(map_bytes, 2 * file_bytes)
        super().__init__(path, room, fsync, check=file_bytes <= CHECKED_BYTES)

    def _begin(self) -> None:
        super()._begin()
        self._put, self._delete = self._txn.put, self._txn.delete
        self._sizes, self._looked, self._gathered = super().sizes(), 0, 0

    # Writing --------------------------------------------------------------------------------

    def put(self, key: bytes, record: KeyValue) -> None:
        """Store `record` under `key`."""
        data = encode(record)
        try:
            self._put(key, data, db=self._records)
        except lmdb.Error as error:
            raise self._failed(error) from error
        self._gathered += len(data) + RECORD_BYTES

    def delete(self, key: bytes) -> None:
        """Remove `key`, if it is there."""
        try:
            self._delete(key, db=self._records)
        except lmdb.Error as error:
            raise self._failed(error) from error
        self._gathered += RECORD_BYTES

    def set_meta(self, name: str, fact: Any) -> None:
        """Store a fact other than None: a value or plain data."""
        self._new_facts[name] = fact

    def get_meta(self, name: str, default: Any = 0) -> Any:
        """The fact called `name`; lists come back as tuples."""
        if name in self._new_facts:
            return self._new_facts[name]
        return super().get_meta(name, default)

    @property
    def dirty(self) -> bool:
        """Whether there is something to flush."""
        return bool(self._gathered or self._new_facts)

    def commit(self) -> None:
        """What was written since the last time belongs together. Durable with the next `flush`."""
        if self._gathered >= FLUSH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Make all that was written durable. Call it between two commits, not in the middle."""
        for name, fact in self._new_facts.items():
            super()._write(self._facts, name.encode(), json.dumps(to_json(fact)).encode())
        try:
            self._txn.commit()
            self._new_facts.clear()
            self._make_room()
            self._begin()
        except lmdb.Error as error:
            raise self._failed(error) from error
        self._full = self.no_room()

    def is_full(self) -> bool:
        """Whether the disk had hardly any room at the last flush, and still has none."""
        if self._full:
            self._full = self.no_room()
        return bool(self._full)

    def rollback(self) -> None:
        """Forget all since the last flush: what a crash does."""
        self._new_facts.clear()
        super().rollback()

    def _write(self, tree: Any, key: bytes | None, data: bytes | None) -> None:
        super()._write(tree, key, data)
        self._batch.clear()  # it could not be done again: what came before it is gone, too

    def _make_room(self) -> None:
        """Let the map grow long before it is full; no transaction of this process is open."""
        known = self._env.info()
        used = (known["last_pgno"] + 1) * self._env.stat()["psize"]
        if 2 * used > known["map_size"]:
            self._let_go()
            self._map_bytes = 2 * known["map_size"]
            self._env.set_mapsize(self._map_bytes)

    def _grow(self) -> None:
        raise self._failed(lmdb.MapFullError())

    def _failed(self, error: Exception) -> StorageError:
        if not isinstance(error, lmdb.MapFullError):
            return super()._failed(error)
        return StorageError(
            f"{self.path}: more was written at once than its map of {self._map_bytes:,} bytes has "
            "room for; start the node again with a larger quota"
        )

    # Views ----------------------------------------------------------------------------------

    def freeze(self, head: tuple = ()) -> Frozen:
        """Flush, and give all records as they are now, behind the (name, fact) in `head`."""
        self.flush()
        try:
            view = Frozen(head, self._env.begin(), self._records)
        except lmdb.Error as error:
            raise self._failed(error) from error
        self._views.add(view)
        return view

    def _let_go(self) -> None:
        """The map moves, or the file goes: views that are in use take their records along."""
        for view in list(self._views):
            view.take_along()
        self._views.clear()

    def defragment(self) -> int:
        """Flush, and write the file anew without its free pages; returns how many bytes that
        freed."""
        self.flush()
        self._let_go()
        return super().defragment()

    def close(self) -> None:
        """Forget what was not flushed and give the folder free."""
        if not self._lock.closed:
            self._let_go()
        super().close()

    def sizes(self) -> tuple[int, int]:
        """(bytes of the file, bytes of the pages in use); what was written last is estimated,
        because every write of a client asks."""
        more = self._gathered - self._looked
        if more >= LOOK_BYTES:
            self._sizes, self._looked, more = super().sizes(), self._gathered, 0
        total, used = self._sizes
        return max(total, used + more), used + more


class Frozen(Sequence):
    """All records at one moment: (name, fact) first, then (key, record) in order.

    Cheap to make, to measure and to read from front to back; it holds the pages that it sees until
    nobody holds it.
    """

    def __init__(self, head: tuple, txn: lmdb.Transaction, records: Any):
        self._head = head
        self._count = txn.stat(records)["entries"]
        self._txn, self._records = txn, records
        self._rest: list[tuple[bytes, bytes]] | None = None  # when it has let go of the file
        self._at, self._next = 0, iter(())  # where the reading stands
        self._last: list[tuple[bytes, KeyValue]] = []  # what was read last, up to there
        self._seek(0)

    def _seek(self, at: int) -> None:
        if self._rest is not None:
            source: Iterator = iter(self._rest)
        else:
            cursor = self._txn.cursor(self._records)
            source = iter(cursor) if cursor.first() else iter(())
        self._at, self._next, self._last = at, islice(source, at, None), []

    def take_along(self) -> None:
        """Copy the records, still encoded, and let go of the file."""
        if self._rest is None:
            self._rest = list(self._txn.cursor(self._records))
            self._next = iter(())
            self._txn.abort()
            self._seek(self._at)

    def __len__(self) -> int:
        return len(self._head) + self._count

    def __getitem__(self, which: int | slice) -> Any:
        if not isinstance(which, slice):
            places = range(len(self))[which]
            return self[places : places + 1][0]
        start, stop, step = which.indices(len(self))
        assert step == 1, "a view is read in its order"
        facts = len(self._head)
        return (*self._head[start:stop], *self._read(max(start - facts, 0), max(stop - facts, 0)))

    def _read(self, start: int, stop: int) -> Iterator[tuple[bytes, KeyValue]]:
        """Whoever could not use all that was read last goes on within it."""
        if 0 <= self._at - start <= len(self._last):
            self._last = self._last[len(self._last) - (self._at - start) :]
        else:
            self._seek(start)
        new = islice(self._next, max(stop - self._at, 0))
        self._last += [(key, decode(data)) for key, data in new]
        self._at = start + len(self._last)
        yield from self._last[: max(stop - start, 0)]
