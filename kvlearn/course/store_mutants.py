"""Broken stores of lesson 11, and the naive store beside which each is seen to be broken.

>>> pair = Pair(TakesAllBelow)
>>> pair.put("a", "1"), pair.put("b", "1"), pair.compact(3)
(None, None, None)
>>> for one in pair.differences()[:2]: print(one.when, "|", one.question, "|", one.told)
after compact(3) | get a | nothing
after compact(3) | get a at 3 | nothing
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from kvlearn.check.naive import NaiveStore
from kvlearn.errors import RequestError
from kvlearn.kv.leases import Compact
from kvlearn.kv.requests import DeleteRange, Put, as_bytes
from kvlearn.kv.txn import Txn
from kvlearn.mvcc.backend import MemoryBackend
from kvlearn.mvcc.key_index import Index
from kvlearn.mvcc.revision import Revision, after
from kvlearn.mvcc.store import Store


class TakesAllBelow(Store):
    """A compaction that takes every record below its revision."""

    def _survives(self, at, record):
        """Whether the record is at the compaction's revision, or above."""
        return record.mod_revision >= self.compacted


class KeepsDeletions(Store):
    """A compaction that leaves the newest record of each key, a deletion or not."""

    def _survives(self, at, record):
        """Whether the record is the newest of its key, a deletion or not."""
        history = self.index[record.key].revisions
        return at == max(one for one in history if one < after(self.compacted))


class DeafIndex(Index):
    """An index that does not hear what was removed."""

    def forget(self, key, count, last):
        """Nothing."""


class TellsNobody(Store):
    """A compaction that removes records and leaves the index as it was."""

    def __init__(self, backend):
        super().__init__(backend)
        self.index = DeafIndex(backend.unread(), backend.read)


class CountsRecords(Store):
    """A store that learns its revision from its records alone when it is opened."""

    def __init__(self, backend):
        """Open it; its revision is that of the newest record."""
        super().__init__(backend)
        self.revision = max((record.mod_revision for _, record in backend.range()), default=1)


# Two stores side by side ------------------------------------------------------------------------


class Differs(NamedTuple):
    """An answer that is not as the naive store has it."""

    when: str
    question: str
    should: str
    told: str


class Pair:
    """A store and the naive one, which are given the same changes. `moves`: what was done."""

    def __init__(self, kind: type[Store] = Store):
        self.kind = kind
        self.store, self.naive = kind(MemoryBackend()), NaiveStore()
        self.moves: list[str] = []

    def put(self, *pairs: str) -> None:
        """Put key, value, key, value, ... in one revision."""
        puts = [(as_bytes(key), as_bytes(text)) for key, text in zip(pairs[::2], pairs[1::2])]
        with self.store.write() as txn:
            for key, text in puts:
                txn.put(key, text)
        ops = tuple(Put(key, text) for key, text in puts)
        self.naive.apply(ops[0] if len(ops) == 1 else Txn(success=ops))
        self.moves.append("put " + " ".join(map(str, pairs)))

    def delete(self, key: str) -> None:
        """Delete one key."""
        self.store.delete(as_bytes(key))
        self.naive.apply(DeleteRange(as_bytes(key)))
        self.moves.append(f"delete {key}")

    def compact(self, revision: int) -> None:
        """Give up history, and sweep to the end. Raises: Compacted, FutureRevision."""
        self.store.compact(revision)
        while self.store.sweeping:
            self.store.sweep()
        self.naive.apply(Compact(revision))
        self.moves.append(f"compact({revision})")

    def restart(self) -> None:
        """Open the store anew from its records."""
        self.store.backend.commit()
        self.store = self.kind(self.store.backend)
        self.moves.append("restart")

    @property
    def revision(self) -> int:
        """Where the store should be."""
        return self.naive.revision

    def differences(self) -> list[Differs]:
        """All questions to which the two have different answers now."""
        when = f"after {self.moves[-1]}" if self.moves else "at the beginning"
        return [
            Differs(when, question, should, told)
            for question, should, told in self._asked()
            if should != told
        ]

    def _asked(self) -> Iterable[tuple[str, str, str]]:
        yield "revision", str(self.naive.revision), str(self.store.revision)
        for key in sorted(self.naive.of_key):
            for revision in (0, *range(max(self.naive.compacted, 1), self.naive.revision + 1)):
                at = f"get {key.decode()}" + (f" at {revision}" if revision else "")
                should = self.naive.get(key, revision)
                yield at, _shown(should), _asked_of(self.store.get, key, revision)
            history = " ".join(str(at) for at in left_of(self.naive, key)) or "none"
            yield f"index of {key.decode()}", history, _in_index(self.store, key)
        should = " ".join(str(at) for at in sorted(left_of(self.naive)))
        records = " ".join(str(Revision.parse(at)) for at, _ in self.store.backend.range())
        yield "records", should, records


def _shown(kv: Any) -> str:
    return "nothing" if kv is None else kv.text


def _asked_of(get: Callable, key: bytes, revision: int) -> str:
    try:
        return _shown(get(key, revision))
    except RequestError as error:
        return f"refused: {type(error).__name__}"


def _in_index(store: Store, key: bytes) -> str:
    history = store.index[key].revisions if key in store.index else ()
    return " ".join(str(Revision.parse(at)) for at in history) or "none"


def left_of(naive: NaiveStore, key: bytes | None = None) -> list[Revision]:
    """The revisions of all changes (or those of a key) that the last compaction leaves."""
    newest = {c.kv.key: c for c in naive.changes if c.revision <= naive.compacted}
    return [
        Revision(change.revision, change.sub)
        for change in naive.changes
        if key in (None, change.kv.key)
        and (change.revision > naive.compacted or change is newest[change.kv.key] and change.put)
    ]


def against_naive(kind: type[Store], most: int = 9):
    """A DataFrame: where a kind of store answers otherwise than the naive one, at most `most` rows
    and one that says how many more there are. Both get the eight changes, two compactions, a
    restart and one more put."""
    import pandas

    pair, found, asked = Pair(kind), [], 0
    for step in story():
        step(pair)
        found += pair.differences()
        asked += len(list(pair._asked()))
    title = ["when", "question", "should be", kind.__name__]
    if not found:
        found = [Differs("always", f"{asked} questions", "as the naive store", "the same")]
    rows = [tuple(one) for one in found[:most]]
    if len(found) > most:
        rows.append(("…", f"and {len(found) - most} more", "", ""))
    return pandas.DataFrame(rows, columns=title).set_index("when")


def story() -> list[Callable[[Pair], None]]:
    """The moves of `against_naive`; the first ones at once."""

    def changes(pair: Pair) -> None:
        for number in range(2, 6):
            pair.put("key1", f"value {number}")
        pair.put("key1", "a")
        pair.put("key2", "b")
        pair.put("key3", "c", "key4", "d")
        pair.delete("key2")
        pair.put("key1", "e")
        pair.put("key2", "f")
        pair.delete("key3")

    return [
        changes,
        lambda pair: pair.compact(9),
        lambda pair: pair.compact(12),
        lambda pair: pair.restart(),
        lambda pair: pair.put("key4", "g"),
    ]
