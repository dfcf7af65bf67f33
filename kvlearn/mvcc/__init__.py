"""MVCC: a store that never overwrites, so that the past can be read and changes can be followed.

The problem. Readers want a state that does not change under their hands; watchers want every
change since the moment they last looked, none twice and none missing; writers want to know
whether what they read is still so. A map that keeps only the newest value can answer none of them.

The idea. Number the changes. The store has one counter, the *revision*; every request that changes
something takes the next number, and each new value is kept under its number, beside the old ones,
not in their place:

    put a=1   put b=2   put a=3   delete a
       2         3         4         5         revisions; an empty store is at 1

Now every question is a question about numbers. The state at revision 3 is, for each key, the newest
record not above 3. The changes since 3 are the records above it. "Is it still so?" is "is its
`mod_revision` still the one I saw?".

Two trees. `revision -> record` is the truth, the *grey* tree: it grows only at its end, and it
lives in the backend. `key -> revisions` is an index, the *blue* tree: a reader goes through it to
find under which revision a key's record lies. The blue tree is never saved; it is rebuilt from the
grey one when the store is opened.

    a: {2.0 4.0 5.0(t)} {}        2.0 a=1 | 3.0 b=2 | 4.0 a=3 | 5.0 a (tombstone)
    b: {3.0}

>>> store = Store(MemoryBackend())
>>> for key, value in ((b"a", b"1"), (b"b", b"2"), (b"a", b"3")):
...     revision = store.put(key, value)
>>> store.delete(b"a")
5
>>> for revision in (2, 3, 4, 5):
...     pairs, _ = store.range(b"a", b"z", revision)
...     print(revision, *pairs)
2 a=1
3 a=1 b=2
4 a=3 b=2
5 b=2
>>> store = Store(store.backend)  # a restart: the index is gone, and built again
>>> print(store.index[b"a"], "|", store.index[b"b"])
a: {2.0 4.0 5.0(t)} {} | b: {3.0}

A key has lives. `create_revision` says when its present life began, `version` counts the puts since
then, `mod_revision` is the newest; deleting ends a life, and the next put begins another.

What never overwrites grows. A *compaction* at revision R gives up the history below R: of each key
the newest record up to there stays, unless it is a deletion. Whoever asks for what is gone is told
so, readers and watchers alike.

The map, in the order of reading:

    revision.py    the clock, its 17 bytes, and the record that lies under them
    key_index.py   the history of one key, cut into generations
    store.py       both trees together; reading at a revision; transactions of changes
    watch.py       who wants to hear of changes, and how far each of them has been told
    bptree.py      the grey tree, page by page
    backend.py     batches, and what a crash takes back

Source: etcd server/storage/mvcc; Bernstein, Goodman: Multiversion Concurrency Control (1983).
"""

from kvlearn.mvcc.backend import Backend, MemoryBackend
from kvlearn.mvcc.bptree import BPlusTree
from kvlearn.mvcc.key_index import Generation, KeyIndex
from kvlearn.mvcc.revision import KeyValue, Revision
from kvlearn.mvcc.store import Store, WriteTxn

__all__ = [
    "BPlusTree",
    "Backend",
    "Generation",
    "KeyIndex",
    "KeyValue",
    "MemoryBackend",
    "Revision",
    "Store",
    "WriteTxn",
]
