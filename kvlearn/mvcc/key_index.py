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

Source: etcd server/storage/mvcc/key_index.go. Differs: etcd keeps a list of lists; and here the
newest record stays at hand, so that a read of the present need not descend the grey tree (etcd
reads it from a mapped file).
"""

from __future__ import annotations

from bisect import bisect_left

from kvlearn.mvcc.revision import KeyValue, Revision, after, is_tombstone, short
from kvlearn.values import value


@value
class Generation:
    """One life of a key: the put that created it, how many changes it saw, and their revisions.

    A tombstone, if it has come, is the last revision and counts. Empty: `created` is None.
    """

    created: Revision | None
    version: int
    revisions: tuple[Revision, ...]
    ended: bool  # the last revision is a tombstone

    def __str__(self) -> str:
        return f"{{{' '.join(map(str, self.revisions))}{'(t)' if self.ended else ''}}}"


class KeyIndex:
    """The history of `key`.

    Invariant: `revisions` rise, and no tombstone comes first or follows another; `record` is that
    of the last revision, and None if that is a tombstone.
    """

    __slots__ = ("key", "revisions", "record")

    def __init__(self, key: bytes):
        self.key = key
        self.revisions: list[bytes] = []  # backend keys, oldest first
        self.record: KeyValue | None = None

    def put(self, at: bytes, record: KeyValue | None = None) -> None:
        """Note a put whose `record` lies under the backend key `at`."""
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

    def forget(self, key: bytes) -> None:
        """Compaction took the record under the backend key away."""
        self.revisions.remove(key)

    @property
    def generations(self) -> list[Generation]:
        """The lives of the key, oldest first; after a tombstone an empty one stands at the end."""
        lives: list[Generation] = []
        life: list[Revision] = []
        for key in self.revisions:
            life.append(Revision.parse(key))
            if is_tombstone(key):
                lives.append(Generation(life[0], len(life), tuple(life), ended=True))
                life = []
        lives.append(Generation(life[0] if life else None, len(life), tuple(life), ended=False))
        return lives

    def __str__(self) -> str:
        return f"{short(self.key)}: {' '.join(map(str, self.generations))}"
