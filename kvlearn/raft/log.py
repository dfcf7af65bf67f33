"""One list of entries and three cursors.

```
  index    1   2   3   4   5   6   7
         [ 1 | 1 | 1 | 2 | 2 | 3 | 3 ]      the terms
                   ^       ^       ^
             applied committed stable = durable on the own disk
```

`committed` never moves back. `stable` does when a conflicting tail is replaced, until the new tail
is on the disk. `applied <= committed`; on a leader `committed` may be ahead of its own `stable`,
because a majority of others is enough.

Source: paper 5.3; etcd-io/raft log.go, log_unstable.go.
Differs: etcd splits stable storage and unstable tail; here it is one list and a cursor.
"""

from __future__ import annotations

from collections.abc import Iterable

from kvlearn.raft.types import ZERO, Entry, EntryID, Index, Term


class RaftLog:
    """Invariant: entries have consecutive indices from 1 and terms that never decrease;
    applied <= committed <= last index."""

    def __init__(self, entries: Iterable[Entry] = (), committed: Index = 0, applied: Index = 0):
        self.entries: list[Entry] = list(entries)
        self.stable: Index = len(self.entries)
        self.committed = committed
        self.applied = applied
        assert applied <= committed <= len(self.entries), "the disk lost entries it had promised"

    @property
    def last(self) -> EntryID:
        """The end of the log; 0@0 when it is empty."""
        return self.entries[-1].id if self.entries else ZERO

    @property
    def last_index(self) -> Index:
        return len(self.entries)

    def term(self, index: Index) -> Term | None:
        """The term of the entry at `index`; 0 at index 0, None beyond the end."""
        if 0 < index <= len(self.entries):
            return self.entries[index - 1].term
        return 0 if index == 0 else None

    def id(self, index: Index) -> EntryID:
        """The id of an entry that is known to exist."""
        term = self.term(index)
        assert term is not None, f"the log ends before index {index}"
        return EntryID(term, index)

    def has(self, id: EntryID) -> bool:
        """Whether this very entry is here."""
        return self.term(id.index) == id.term

    def slice(self, first: Index, last: Index, limit: int | None = None) -> tuple[Entry, ...]:
        """Entries `first` to `last`, both included, at most `limit` of them."""
        if limit is not None:
            last = min(last, first + limit - 1)
        return tuple(self.entries[first - 1 : last])

    def append(self, entries: tuple[Entry, ...]) -> None:
        """Put `entries` at the end."""
        assert entries[0].index == self.last_index + 1, "entries must continue the log"
        self.entries.extend(entries)

    def cut_after(self, index: Index) -> tuple[Entry, ...]:
        """Throw away everything after `index`, and return it. Committed entries never go."""
        assert index >= self.committed, f"entry {self.committed} is committed and must stay"
        gone = tuple(self.entries[index:])
        del self.entries[index:]
        self.stable = min(self.stable, index)
        return gone

    def first_conflict(self, entries: tuple[Entry, ...]) -> Entry | None:
        """The first of `entries` that this log lacks or has with another term."""
        for entry in entries:
            if self.term(entry.index) != entry.term:
                return entry
        return None

    def last_at_most(self, index: Index, term: Term) -> EntryID:
        """The last entry at or before `index` whose term is `term` or older.

        This is how both sides skip whole terms when their logs differ (end of paper 5.3):

        >>> log = RaftLog(Entry(i + 1, t) for i, t in enumerate([1, 1, 4, 4, 4]))
        >>> print(log.last_at_most(5, 3))
        2@1
        """
        index = min(index, self.last_index)
        while index and self.entries[index - 1].term > term:
            index -= 1
        return self.id(index)

    def saved(self, last: EntryID) -> None:
        """The disk has everything up to `last`. If that entry was replaced meanwhile, the news is
        about a tail that is gone, and counts for nothing."""
        if last.index > self.stable and self.has(last):
            self.stable = last.index
