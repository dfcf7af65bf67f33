"""The grey tree on a disk: the store's backend in a memory-mapped LMDB file.

LMDB is a B+tree whose pages are never overwritten while anybody can reach them: a commit writes
changed pages elsewhere and then, in one small write, the place of the new root. So there is no
log to replay, and nothing to mend after `kill -9`: either the new root is there or it is not.

    n1/data.mdb     the pages (lmdb_pages.py reads them one by one)
    n1/lock.mdb     LMDB's own: who reads which commit
    n1/in_use.lock  held as long as a backend is open: a second one is refused

Two named trees live in the file, and one transaction writes both, so that the records and the
index of the entry that made them (the fact "applied") cannot come apart:

    records   revision (17 or 18 bytes) -> record
    facts     name                      -> JSON as in a trace (kvlearn.values)

A record, all numbers big-endian (format 1, which is a fact itself):

    key's length 4 | create_revision 8 | mod_revision 8 | version 8 | lease 8, signed | key | value

>>> from kvlearn.mvcc.store import Store
>>> folder = getfixture("tmp_path") / "n1"
>>> with LmdbBackend(folder) as backend:
...     _ = Store(backend).put(b"a", b"1")
...     backend.set_meta("applied", 5)
...     backend.commit()
...     _ = Store(backend).put(b"a", b"2")  # closed before the next commit: as in a crash
>>> with LmdbBackend(folder) as backend:
...     print(Store(backend).get(b"a"), backend.get_meta("applied"))
a=1 5

The open batch is LMDB's own open write transaction. Its reads see its writes, and it holds the
changed pages apart from the map until it commits, which is all that a batch has to do; a buffer
in front of it, as etcd has one, would have to be searched and merged by every read.

Source: etcd server/storage/backend (batch, sizes, Defrag), server/storage/schema; LMDB for bbolt.
Differs: the map grows when it is full; bbolt's does too, but etcd sets its size once for all.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import lmdb

from kvlearn.errors import StorageError
from kvlearn.live import lmdb_pages
from kvlearn.live.folders import force_folder, hold
from kvlearn.mvcc.revision import KEY_BYTES, KeyValue
from kvlearn.values import from_json, to_json

FORMAT = 1  # of records and facts; a file of another format is refused
_FORMAT = b"kvlearn format"  # the name of that fact
_COMPACT = "data.compact"  # what a defragmentation writes before it takes the file's place
_LEAST = 64 * 1024  # bytes of a map: enough for the trees to begin
_record = struct.Struct(">IQQQq")
_key_size = struct.Struct(">I")  # its beginning


class LmdbBackend:
    """A Backend in the folder `path`, whose records are KeyValues.

    Invariant: after a crash the folder holds what the last `commit`, or `replace`, made durable.
    Any method raises StorageError when the disk fails or is full, or the backend is closed.
    """

    def __init__(
        self,
        path: str | Path,
        map_bytes: int = 64 * 1024 * 1024,
        fsync: bool = True,
        check: bool = True,
    ):
        """Open what the folder holds, or make it. `map_bytes`: how large the file may become before
        the map has to grow, which takes a moment; address space, not memory. `fsync` False: commits
        outlive the process, not the machine. `check`: follow every pointer in it first.

        Raises: StorageError when the folder is in use, damaged, foreign, or of another format.
        """
        self.path = Path(path)
        self._map_bytes = max(map_bytes, _LEAST)
        self._fsync, self._check = fsync, check
        self._batch: list[tuple] = []  # (tree, key or None: all, value or None: delete)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = (self.path / "in_use.lock").open("a")
            try:
                _lock(self._lock, self.path)
                (self.path / _COMPACT).unlink(missing_ok=True)
                self._open()
            except BaseException:
                self._lock.close()
                raise
        except OSError as error:
            raise StorageError(f"{self.path}: no place for a store: {error.strerror}") from None

    def _open(self) -> None:
        data = self.path / lmdb_pages.DATA_FILE
        if self._check and data.exists() and data.stat().st_size:  # LMDB began a file of no bytes
            lmdb_pages.check(data)
        try:
            self._env = self._environment()
            try:
                self._open_trees()
            except BaseException:
                self._env.close()
                raise
        except lmdb.Error as error:
            raise StorageError(f"{self.path}: {error}") from error

    def _environment(self) -> lmdb.Environment:
        """The file, in a map that is as large as the machine has address space for."""
        while True:
            try:
                size, sync = self._map_bytes, self._fsync
                return lmdb.open(str(self.path), map_size=size, max_dbs=2, sync=sync)
            except lmdb.MemoryError:
                if self._map_bytes <= _LEAST:
                    raise
                self._map_bytes = max(self._map_bytes // 2, _LEAST)

    def _begin(self) -> None:
        """Open the next batch."""
        self._txn = self._env.begin(write=True)

    def _open_trees(self) -> None:
        fresh = not self._env.stat()["entries"]
        with self._env.begin(write=True) as txn:
            try:
                self._records = self._env.open_db(b"records", txn, create=fresh)
                self._facts = self._env.open_db(b"facts", txn, create=fresh)
            except lmdb.NotFoundError:
                raise StorageError(f"{self.path}: this LMDB file holds no kvlearn store") from None
            if fresh:
                txn.put(_FORMAT, b"%d" % FORMAT, db=self._facts)
            found = txn.get(_FORMAT, b"", db=self._facts).decode("utf-8", "replace")
        if found != str(FORMAT):
            raise StorageError(f"{self.path}: its format is {found!r}, this kvlearn reads {FORMAT}")
        if self._fsync:
            force_folder(self.path)
        self._begin()

    # Reading --------------------------------------------------------------------------------

    def get(self, key: bytes) -> KeyValue | None:
        """The record under `key`, or None."""
        try:
            data = self._txn.get(key, db=self._records)
        except lmdb.Error as error:
            raise self._failed(error) from error
        return None if data is None else decode(data)

    def range(
        self, start: bytes | None = None, end: bytes | None = None
    ) -> Iterator[tuple[bytes, KeyValue]]:
        """(key, record) for start <= key < end, in order of the keys. Do not write meanwhile."""
        for key, data in self._from(start):
            if end is not None and key >= end:
                return
            yield key, decode(data)

    def _from(self, start: bytes | None) -> Iterator[tuple[bytes, bytes]]:
        try:
            with self._txn.cursor(self._records) as cursor:
                if cursor.set_range(start) if start else cursor.first():
                    yield from cursor
        except lmdb.Error as error:
            raise self._failed(error) from error

    def unread(self) -> Iterator[tuple[bytes, bytes, bytes]]:
        """(key, its record's own key, what `read` makes the record of) of all, in order."""
        start, size_of = _record.size, _key_size.unpack_from
        for at, data in self._from(None):
            if len(data) < start or len(at) < KEY_BYTES:
                raise StorageError(f"{self.path}: the record under {at!r} is damaged")
            yield at, data[start : start + size_of(data)[0]], data

    def read(self, unread: bytes) -> KeyValue:
        """A record that `unread` gave. Raises: StorageError."""
        return decode(unread)

    def get_meta(self, name: str, default: Any = 0) -> Any:
        """The fact called `name`; lists come back as tuples."""
        try:
            data = self._txn.get(name.encode(), db=self._facts)
        except lmdb.Error as error:
            raise self._failed(error) from error
        try:
            return default if data is None else from_json(json.loads(data))
        except ValueError as error:
            raise StorageError(f"{self.path}: the fact {name!r} is damaged: {error}") from None

    # Writing --------------------------------------------------------------------------------

    def put(self, key: bytes, record: KeyValue) -> None:
        """Store `record` under `key`."""
        self._write(self._records, key, encode(record))

    def delete(self, key: bytes) -> None:
        """Remove `key`, if it is there."""
        self._write(self._records, key, None)

    def set_meta(self, name: str, fact: Any) -> None:
        """Store a fact other than None: a value or plain data."""
        self._write(self._facts, name.encode(), json.dumps(to_json(fact)).encode())

    def replace(self, records: Iterable[tuple]) -> None:
        """Hold these (name, fact) and (key, record) and nothing else; all in one transaction.

        Then in a file that is as small as a new one, as that of an etcd which got a snapshot is.
        """
        self.rollback()
        self._write(self._records, None, None)
        self._write(self._facts, None, None)
        self._write(self._facts, _FORMAT, b"%d" % FORMAT)
        for name, record in records:
            if isinstance(name, str):
                self.set_meta(name, record)
            else:
                self.put(name, record)
        self.defragment()

    def commit(self) -> None:
        """Make everything since the last commit durable, all of it or nothing."""
        try:
            while True:
                try:
                    self._txn.commit()
                    break
                except lmdb.MapFullError:
                    self._grow()
            self._batch.clear()
            self._begin()
        except lmdb.Error as error:
            raise self._failed(error) from error

    def flush(self) -> None:
        """Make all commits durable, which each of them has done already (see `LazyLmdb`)."""
        self.commit()

    def rollback(self) -> None:
        """Forget the open batch: what a crash does to it."""
        try:
            self._txn.abort()
            self._batch.clear()
            self._begin()
        except lmdb.Error as error:
            raise self._failed(error) from error

    def _write(self, tree: Any, key: bytes | None, data: bytes | None) -> None:
        self._batch.append((tree, key, data))
        try:
            try:
                self._carry_out(tree, key, data)
            except lmdb.MapFullError:
                self._grow()
        except lmdb.Error as error:
            raise self._failed(error) from error

    def _carry_out(self, tree: Any, key: bytes | None, data: bytes | None) -> None:
        if key is None:
            self._txn.drop(tree, delete=False)
        elif data is None:
            self._txn.delete(key, db=tree)
        else:
            self._txn.put(key, data, db=tree)

    def _grow(self) -> None:
        """Double the map and do the batch again: a transaction that ran out of room is lost."""
        while True:
            self._txn.abort()
            self._map_bytes = 2 * self._env.info()["map_size"]
            self._env.set_mapsize(self._map_bytes)
            self._begin()
            try:
                for step in self._batch:
                    self._carry_out(*step)
                return
            except lmdb.MapFullError:
                continue

    # The file -------------------------------------------------------------------------------

    def sizes(self) -> tuple[int, int]:
        """Bytes of the file, and bytes of the pages that its trees use, the open batch included."""
        try:
            trees = [self._env.stat(), *map(self._txn.stat, (self._records, self._facts))]
        except lmdb.Error as error:
            raise self._failed(error) from error
        kinds = "branch_pages", "leaf_pages", "overflow_pages"
        used = 2 + sum(tree[kind] for tree in trees for kind in kinds)  # 2: the meta pages
        in_use = used * trees[0]["psize"]
        return max(self._file_bytes(), in_use), in_use

    def defragment(self) -> int:
        """Commit, and write the file anew without its free pages; returns how many bytes that
        freed. The copy takes the file's place at once, so a crash leaves the one or the other."""
        self.flush()
        before, compact = self._file_bytes(), self.path / _COMPACT
        try:
            with compact.open("wb") as file:
                self._env.copyfd(file.fileno(), compact=True)
                if self._fsync:
                    os.fsync(file.fileno())
        except (lmdb.Error, OSError) as error:
            compact.unlink(missing_ok=True)
            raise self._failed(error) from error
        self._txn.abort()
        self._env.close()
        try:
            os.replace(compact, self.path / lmdb_pages.DATA_FILE)
        except OSError as error:
            raise self._failed(error) from error
        finally:
            self._open()
        return before - self._file_bytes()

    def _file_bytes(self) -> int:
        return (self.path / lmdb_pages.DATA_FILE).stat().st_size

    def close(self) -> None:
        """Forget the open batch and give the folder free. Closing twice does no harm."""
        self._env.close()
        self._lock.close()

    def __enter__(self) -> LmdbBackend:
        return self

    def __exit__(self, *exception) -> None:
        self.close()

    def __deepcopy__(self, memo: dict) -> LmdbBackend:
        raise TypeError(f"a store on a disk is not copied in memory: copy the folder {self.path}")

    def _failed(self, error: Exception) -> StorageError:
        why = "this backend is closed" if self._lock.closed else error
        return StorageError(f"{self.path}: {why}")


def encode(record: KeyValue) -> bytes:
    """The bytes of a record, as the head of this module has them.

    >>> len(encode(KeyValue(b"key", b"value", 2, 3, 1))) - len(b"key" + b"value")
    36
    """
    key = record.key
    numbers = record.create_revision, record.mod_revision, record.version, record.lease
    return _record.pack(len(key), *numbers) + key + record.value


def decode(data: bytes) -> KeyValue:
    """The record that `encode` made bytes of. Raises: StorageError."""
    try:
        key_bytes, create, mod, version, lease = _record.unpack_from(data)
    except struct.error:
        raise StorageError(f"a record of {len(data)} bytes is damaged: it is too short") from None
    end = _record.size + key_bytes
    if end > len(data):
        raise StorageError(f"a record of {len(data)} bytes is damaged: its key has {key_bytes}")
    return KeyValue(data[_record.size : end], data[end:], create, mod, version, lease)


def _lock(file: Any, path: Path) -> None:
    """Hold the lock file until it is closed, by whomever, even by a kill. Raises: StorageError."""
    try:
        hold(file)
    except OSError:
        raise StorageError(f"{path} is in use: one store at a time opens a folder") from None
