"""One key's history: a leaf of the blue tree, which leads from a key to its revisions.

The backend knows records by revision only. The key index remembers, for one key, under which
revisions its records lie, and cuts that list into *generations*: a generation begins with the
put that creates the key and ends with the tombstone that deletes it. After a tombstone there is
an empty generation, in wait for the next put.

Put "foo" at 1.0, put it again at 2.0, delete it at 3.0, put it at 4.0, delete it at 5.0:

>>> index = KeyIndex(b"foo")
>>> index.put(Revision(1).key()); index.put(Revision(2).key())
>>> index.tombstone(Revision(3).key(tombstone=True))
>>> index.put(Revision(4).key())
>>> index.tombstone(Revision(5).key(tombstone=True))
>>> print(index)
foo: {1.0 2.0 3.0(t)} {4.0 5.0(t)} {}

To read the key as it was at revision 2, turn the crank: find the newest revision that is not above
2; it is 2.0, the second of a life that began at 1.0. At 3 the newest is a tombstone, so the key did
not exist; at 4 it did, newly created:

>>> for at in (0, 1, 2, 3, 4, 5, 6):
...     found = index.get(at)
...     print(at, "absent" if found is None else "{} created {} version {}".format(*found))
0 absent
1 1.0 created 1.0 version 1
2 2.0 created 1.0 version 2
3 absent
4 4.0 created 4.0 version 1
5 absent
6 absent

Generations are not stored: the tombstones cut the list into them. Revisions are kept as backend
keys (`Revision.key`): their bytes order as revisions do, a tombstone is recognised by its mark, and
the two trees share one object.

Compaction takes the oldest revisions, but not the memory of them: a life that has lost its first
puts goes on counting its versions. All that is left of the key after a compaction at 8 is its
third put:

>>> index = KeyIndex(b"bar")
>>> records = [KeyValue(b"bar", b"", 6, main, main - 5) for main in (6, 7, 8)]
>>> for record in records: index.put(Revision(record.mod_revision).key(), record)
>>> index.forget(2, records[1])
>>> print(index, "{}: created {} version {}".format(*index.get(8)))
bar: {8.0} 8.0: created 6.0 version 3

Source: etcd server/storage/mvcc/key_index.go, index.go. Differs: etcd keeps a list of lists; and
here the newest record stays at hand, so that a read of the present need not descend the grey tree
(etcd reads it from a mapped file).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from sortedcontainers import SortedDict

from kvlearn.mvcc.revision import KeyValue, Revision, after, is_tombstone, put_key, short
from kvlearn.values import value

_SUB_0 = bytes(8)  # the end of the backend key of a main revision's first change, if it is a put


@value
class Generation:
    """One life of a key: the put that created it, how many changes it saw, and their revisions.

    A tombstone, if it has come, is the last revision and counts, and so do changes that were
    compacted away; of a `created` that was, the sub-revision is forgotten (0). Empty: it is None.
    """

    created: Revision | None
    version: int
    revisions: tuple[Revision, ...]
    ended: bool  # the last revision is a tombstone

    def __str__(self) -> str:
        return f"{{{' '.join(map(str, self.revisions))}{'(t)' if self.ended else ''}}}"


class KeyIndex:
    """The history of `key`, or what compaction left of it.

    Invariant: `revisions` rise, and no tombstone follows another, nor comes first, but for as long
    as a sweep is under way; `record` is that of the last revision, None if that is a tombstone.
    """

    __slots__ = ("key", "revisions", "record", "_born", "_older")

    def __init__(self, key: bytes):
        self.key = key
        self.revisions: list[bytes] = []  # backend keys, oldest first
        self.record: KeyValue | None = None
        self._born = 0  # of the first generation: the main revision that created it,
        self._older = 0  # and how many of its puts are compacted away

    def put(self, at: bytes, record: KeyValue | None = None) -> None:
        """Note a put whose `record` lies under the backend key `at`."""
        if not self.revisions and record is not None:
            self._born, self._older = record.create_revision, record.version - 1
        self.revisions.append(at)
        self.record = record

    def tombstone(self, at: bytes) -> None:
        """Note a deletion under the backend key `at`: a generation ends."""
        assert self.revisions and not is_tombstone(self.revisions[-1]), "nothing to delete"
        self.revisions.append(at)
        self.record = None

    def find(self, at: int) -> bytes | None:
        """The backend key of the record that was current at main revision `at`, or None."""
        place = bisect_left(self.revisions, after(at)) - 1
        if place < 0 or is_tombstone(self.revisions[place]):
            return None
        return self.revisions[place]

    def get(self, at: int) -> tuple[Revision, Revision, int] | None:
        """(revision, created, version) of the key as it was at main revision `at`, or None."""
        key = self.find(at)
        if key is None:
            return None
        revision = Revision.parse(key)
        life = next(one for one in self.generations if revision in one.revisions)
        newer = len(life.revisions) - 1 - life.revisions.index(revision)
        return revision, life.created, life.version - newer

    def since(self, at: int) -> list[bytes]:
        """The backend keys of all changes at main revision `at` or later, tombstones included.

        Of several changes in one main revision only the last is given: nobody saw the others.
        """
        later = self.revisions[bisect_left(self.revisions, after(at - 1)) :]
        return list({key[:8]: key for key in later}.values())  # 8 bytes: the main revision

    def forget(self, count: int, last: KeyValue) -> None:
        """Compaction took the `count` oldest revisions; `last` is the newest record of those."""
        del self.revisions[:count]
        self._born, self._older = last.create_revision, last.version  # both 0 of a tombstone

    @property
    def generations(self) -> list[Generation]:
        """The lives of the key, oldest first; after a tombstone an empty one stands at the end."""
        lives: list[list[bytes]] = [[]]
        for at in self.revisions:
            lives[-1].append(at)
            if is_tombstone(at):
                lives.append([])
        first, *others = lives
        return [self._life(first, self._older), *(self._life(other, 0) for other in others)]

    def _life(self, keys: list[bytes], older: int) -> Generation:
        revisions = tuple(map(Revision.parse, keys))
        created = Revision(self._born) if older else revisions[0] if keys else None
        ended = bool(keys) and is_tombstone(keys[-1])
        return Generation(created, len(keys) + older, revisions, ended)

    def __str__(self) -> str:
        return f"{short(self.key)}: {' '.join(map(str, self.generations))}"


class Index(Mapping):
    """The blue tree: key -> KeyIndex, in the order of the keys.

    Most keys of most stores have a single record, and that record knows all that a history would
    tell: so the tree holds it in the history's place, and makes the KeyIndex when it is asked for
    it or when the second change comes. Whoever only reads can ignore this.

    Invariant: a record stands alone only if it is a put at sub-revision 0, where its backend key
    can be made from it.
    """

    __slots__ = ("_tree",)

    def __init__(self, found: Iterable[tuple] = (), read: Callable[[Any], KeyValue] | None = None):
        """The index over these (backend key, key, record unread), which come in order.

        Of a long history only the beginning and the newest record are `read`.
        """
        tree = self._tree = {}
        newest: dict[KeyIndex, Any] = {}  # their last records, still unread
        for at, key, record in found:
            entry = tree.get(key)
            if type(entry) is KeyIndex:
                entry.revisions.append(at)
                newest[entry] = record
            else:
                self.note(at, read(record))
        for entry, record in newest.items():
            entry.record = None if is_tombstone(entry.revisions[-1]) else read(record)
        self._tree = SortedDict(tree)  # sorting once is quicker than keeping order

    def __getitem__(self, key: bytes) -> KeyIndex:
        entry = self._tree[key]
        return entry if type(entry) is KeyIndex else _history(entry)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._tree)

    def __len__(self) -> int:
        return len(self._tree)

    def newest(self, key: bytes) -> KeyValue | None:
        """The record of a living key."""
        entry = self._tree.get(key)
        return entry.record if type(entry) is KeyIndex else entry

    def find(self, key: bytes, at: int) -> bytes | None:
        """The backend key of the record of `key` that was current at main revision `at`."""
        entry = self._tree.get(key)
        return None if entry is None else _find(entry, at)

    def newest_between(self, start: bytes, end: bytes | None) -> list[KeyValue]:
        """The records of the living keys with start <= key < end (None: no bound), in order; of
        `start` alone if `end` is empty."""
        return [
            record
            for entry in self._between(start, end)
            if (record := entry.record if type(entry) is KeyIndex else entry) is not None
        ]

    def find_between(self, start: bytes, end: bytes | None, at: int) -> list[bytes]:
        """The backend keys of what the keys of an interval held at main revision `at`, in order."""
        entries = self._between(start, end)
        return [found for entry in entries if (found := _find(entry, at)) is not None]

    def _between(self, start: bytes, end: bytes | None) -> Iterator[KeyIndex | KeyValue]:
        if end == b"":
            return iter((self._tree[start],) if start in self._tree else ())
        return map(self._tree.__getitem__, self._tree.irange(start, end, inclusive=(True, False)))

    def note(self, at: bytes, record: KeyValue) -> None:
        """A put or a deletion lies under the backend key `at`."""
        entry = self._tree.get(record.key)
        if entry is None and at.endswith(_SUB_0):
            self._tree[record.key] = record
            return
        if type(entry) is not KeyIndex:
            entry = KeyIndex(record.key) if entry is None else _history(entry)
            self._tree[record.key] = entry
        if record.version:
            entry.put(at, record)
        elif entry.revisions:
            entry.tombstone(at)
        else:  # restored in the middle of a sweep, which has taken the puts before it
            entry.revisions.append(at)

    def forget(self, key: bytes, count: int, last: KeyValue) -> None:
        """Compaction took the `count` oldest revisions of `key`; `last` is their newest record."""
        entry = self[key]
        entry.forget(count, last)
        if not entry.revisions:
            del self._tree[key]
        elif len(entry.revisions) == 1 and entry.record and entry.revisions[0].endswith(_SUB_0):
            self._tree[key] = entry.record


def _history(record: KeyValue) -> KeyIndex:
    """What a record that stands alone stands for."""
    index = KeyIndex(record.key)
    index.put(put_key(record.mod_revision, 0), record)
    return index


def _find(entry: KeyIndex | KeyValue, at: int) -> bytes | None:
    if type(entry) is KeyIndex:
        return entry.find(at)
    return put_key(entry.mod_revision, 0) if entry.mod_revision <= at else None
