"""The backend: revision -> record, and the few facts that must move together with the records.

A backend gathers writes into a *batch*; `commit` makes the batch durable as a whole. The index of
the last log entry that was applied is stored as a fact (`set_meta`) in the same batch as what the
entry wrote: so a node that crashes finds either both or neither, and no entry is applied twice.

>>> backend = MemoryBackend()
>>> backend.put(b"rev 2", KeyValue(b"a", b"1")); backend.set_meta("applied", 5); backend.commit()
>>> backend.put(b"rev 3", KeyValue(b"a", b"2")); backend.set_meta("applied", 6)
>>> backend.rollback()  # the process dies before the next commit
>>> backend.get(b"rev 3"), backend.get_meta("applied")
(None, 5)

Source: etcd server/storage/backend, server/etcdserver/cindex. Differs: etcd commits every 100 ms
or 10,000 writes on a timer of its own; here the node says when.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from kvlearn.mvcc.bptree import BPlusTree
from kvlearn.mvcc.revision import KeyValue

NUMBERS_BYTES = 48  # what the numbers of a record in memory are taken to need


class Backend(Protocol):
    """A sorted map of bytes to records, some named facts, and one open batch."""

    def get(self, key: bytes) -> KeyValue | None:
        """The record under `key`, or None."""

    def range(self, start: bytes | None = None, end: bytes | None = None) -> Iterator[tuple]:
        """(key, record) for start <= key < end, in order of the keys; None: no bound."""

    def unread(self) -> Iterator[tuple[bytes, bytes, Any]]:
        """(key, its record's own key, what `read` makes the record of) of all, in order."""

    def read(self, unread: Any) -> KeyValue:
        """A record that `unread` gave."""

    def put(self, key: bytes, record: KeyValue) -> None:
        """Store `record` under `key`."""

    def delete(self, key: bytes) -> None:
        """Remove `key`, if it is there."""

    def get_meta(self, name: str, default: Any = 0) -> Any:
        """The fact called `name`."""

    def set_meta(self, name: str, fact: Any) -> None:
        """Store a fact (a value or plain data)."""

    def replace(self, records: Iterable[tuple]) -> None:
        """Hold these (name, fact) and (key, record) and nothing else; durable like a commit."""

    def commit(self) -> None:
        """Make everything since the last commit durable, all of it or nothing."""

    def sizes(self) -> tuple[int, int]:
        """(bytes that the backend takes, bytes of those in use by records)."""

    def defragment(self) -> int:
        """Commit, and give back what is not in use; returns by how many bytes it shrank."""


class MemoryBackend:
    """A backend in a B+tree in memory. What a real one loses in a crash, `rollback` takes back.

    Reads see the open batch, as etcd's read buffer makes them. It counts bytes as a file would
    need them: a file grows with its records, keeps the room of removed ones for new ones, and
    shrinks only when it is written anew.

    >>> backend = MemoryBackend()
    >>> for at in (b"1", b"2", b"3"): backend.put(at, KeyValue(b"key", b"value"))
    >>> backend.delete(b"1")
    >>> backend.sizes()
    (171, 114)
    >>> backend.defragment(), backend.sizes()
    (57, (114, 114))

    Invariant: after `rollback` content and sizes are those of the last `commit`.
    """

    def __init__(self, order: int = 512):
        """`order`: how many records a page of the tree holds; small pages would take more room."""
        self.tree = BPlusTree(order)
        self._meta: dict[str, Any] = {}
        self._changed: list[bytes] = []  # keys that the open batch put or deleted, in order,
        self._before: list[KeyValue | None] = []  # and what each held then; None: nothing
        self._undo_meta: dict[str, Any] = {}
        self._in_use = 0  # bytes of the records
        self._peak = 0  # the most that were in use since the last defragmentation
        self._committed = 0, 0  # the sizes at the last commit

    def get(self, key: bytes) -> KeyValue | None:
        """The record under `key`, or None; found by way of the pages."""
        return self.tree.get(key)

    def range(self, start: bytes | None = None, end: bytes | None = None) -> Iterator[tuple]:
        """(key, record) for start <= key < end, leaf after leaf. Do not write meanwhile."""
        return self.tree.range(start, end)

    def unread(self) -> Iterator[tuple[bytes, bytes, KeyValue]]:
        """(key, its record's own key, the record) of all, in order: nothing needs to be read."""
        return ((at, record.key, record) for at, record in self.tree.range())

    def read(self, unread: KeyValue) -> KeyValue:
        """A record that `unread` gave."""
        return unread

    def put(self, key: bytes, record: KeyValue) -> None:
        """Store `record`, and remember what it replaced."""
        old = self.tree.put(key, record)
        self._changed.append(key)
        self._before.append(old)
        if old is not None:
            self._free(key, old)
        self._in_use += bytes_of(key, record)

    def delete(self, key: bytes) -> None:
        """Remove `key`, and remember what was there."""
        old = self.tree.delete(key)
        self._changed.append(key)
        self._before.append(old)
        if old is not None:
            self._free(key, old)

    def _free(self, key: bytes, old: KeyValue) -> None:
        self._peak = max(self._peak, self._in_use)
        self._in_use -= bytes_of(key, old)

    def get_meta(self, name: str, default: Any = 0) -> Any:
        """The fact called `name`."""
        return self._meta.get(name, default)

    def set_meta(self, name: str, fact: Any) -> None:
        """Store a fact other than None, and remember the old one."""
        self._undo_meta.setdefault(name, self._meta.get(name))
        self._meta[name] = fact

    def replace(self, records: Iterable[tuple]) -> None:
        """Hold these (name, fact) and (key, record) and nothing else, as a new file would."""
        self.tree = BPlusTree(self.tree.order)
        self._meta = {}
        self._in_use = self._peak = 0
        for name, record in records:
            if isinstance(name, str):
                self._meta[name] = record
            else:
                self.tree.put(name, record)
                self._in_use += bytes_of(name, record)
        self.commit()

    def commit(self) -> None:
        """The batch is durable: forget how to undo it."""
        self._committed = self.sizes()
        self._changed.clear()
        self._before.clear()
        self._undo_meta.clear()

    def rollback(self) -> None:
        """Forget the open batch."""
        for key, old in zip(reversed(self._changed), reversed(self._before)):
            if old is None:
                self.tree.delete(key)
            else:
                self.tree.put(key, old)
        for name, old in self._undo_meta.items():
            if old is None:
                self._meta.pop(name, None)
            else:
                self._meta[name] = old
        self._peak, self._in_use = self._committed
        self.commit()

    def sizes(self) -> tuple[int, int]:
        """(the most bytes since the last defragmentation, bytes in use by records)."""
        return max(self._peak, self._in_use), self._in_use

    def defragment(self) -> int:
        """Commit, as etcd does, and pack the tree; returns by how many bytes that shrank it."""
        freed = max(self._peak - self._in_use, 0)
        self._peak = self._in_use
        self.tree = self.tree.packed()
        self.commit()
        return freed


def bytes_of(key: bytes, record: KeyValue) -> int:
    """How many bytes a record takes under its key."""
    return len(key) + len(record.key) + len(record.value) + NUMBERS_BYTES
