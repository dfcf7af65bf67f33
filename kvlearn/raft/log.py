"""One list of entries, where it begins, and three cursors.

```
  index    1   2   3   4   5   6   7   8   9
         ( 1   1 )[ 1 | 2 | 2 | 2 | 3 | 3 | 3 ]      the terms
              ^          ^       ^           ^
            base     applied committed     stable = durable on the own disk
```

`base` is the last entry that was compacted away: the state machine holds what it did. `committed`
never moves back. `stable` does when a conflicting tail is replaced, until the new tail is on the
disk. `applied <= committed`; on a leader `committed` may be ahead of its own `stable`, because a
majority of others is enough.

Source: paper 5.3, section 7; etcd-io/raft log.go, log_unstable.go, storage.go.
Differs: etcd splits stable storage and unstable tail; here it is one list and a cursor.
"""

from __future__ import annotations

from collections.abc import Iterable

from kvlearn.raft.types import ZERO, Entry, EntryID, Index, Term


class RaftLog:
    """Invariant: entries have consecutive indices from `base.index` + 1 and terms that never
    decrease; base <= applied <= committed <= last index."""

    def __init__(
        self,
        entries: Iterable[Entry] = (),
        committed: Index = 0,
        applied: Index = 0,
        base: EntryID = ZERO,
    ):
        self.base = base
        self.entries: list[Entry] = list(entries)
        self.stable: Index = self.last_index
        self.committed = committed
        self.applied = applied
        in_order = base.index <= applied <= committed <= self.last_index
        assert in_order, "the disk lost entries it had promised"

    @property
    def last(self) -> EntryID:
        """The end of the log; 0@0 when there never was an entry."""
        return self.entries[-1].id if self.entries else self.base

    @property
    def last_index(self) -> Index:
        return self.base.index + len(self.entries)

    def term(self, index: Index) -> Term | None:
        """The term of the entry at `index`; None beyond the end, and before the base."""
        place = index - self.base.index
        if 0 < place <= len(self.entries):
            return self.entries[place - 1].term
        return self.base.term if place == 0 else None

    def id(self, index: Index) -> EntryID:
        """The id of an entry that is known to exist."""
        term = self.term(index)
        assert term is not None, f"the log has no index {index}: it is {self}"
        return EntryID(term, index)

    def has(self, id: EntryID) -> bool:
        """Whether this very entry is here."""
        return self.term(id.index) == id.term

    def slice(self, first: Index, last: Index, limit: int | None = None) -> tuple[Entry, ...]:
        """Entries `first` to `last`, both included, at most `limit` of them."""
        if limit is not None:
            last = min(last, first + limit - 1)
        base = self.base.index
        assert first > base, f"index {first} is compacted away: the log is {self}"
        return tuple(self.entries[first - base - 1 : last - base])

    def append(self, entries: tuple[Entry, ...]) -> None:
        """Put `entries` at the end."""
        assert entries[0].index == self.last_index + 1, "entries must continue the log"
        self.entries.extend(entries)

    def cut_after(self, index: Index) -> tuple[Entry, ...]:
        """Throw away everything after `index`, and return it. Committed entries never go."""
        assert index >= self.committed, f"entry {self.committed} is committed and must stay"
        place = index - self.base.index
        gone = tuple(self.entries[place:])
        del self.entries[place:]
        self.stable = min(self.stable, index)
        return gone

    def compact(self, index: Index) -> None:
        """Forget the entries up to `index`, which are applied."""
        assert self.base.index <= index <= self.applied, f"{index} is not applied: {self}"
        base = self.id(index)
        del self.entries[: index - self.base.index]
        self.base = base

    def restore(self, last: EntryID) -> None:
        """Forget everything: a snapshot stands for all up to `last`."""
        self.base, self.entries = last, []
        self.stable = self.committed = self.applied = last.index

    def first_conflict(self, entries: tuple[Entry, ...]) -> Entry | None:
        """The first of `entries` that this log lacks or has with another term."""
        for entry in entries:
            if self.term(entry.index) != entry.term:
                return entry
        return None

    def last_at_most(self, index: Index, term: Term) -> EntryID:
        """The last entry at or before `index` whose term is `term` or older; else the base.

        This is how both sides skip whole terms when their logs differ (end of paper 5.3):

        >>> log = RaftLog(Entry(i + 1, t) for i, t in enumerate([1, 1, 4, 4, 4]))
        >>> print(log.last_at_most(5, 3))
        2@1
        """
        base = self.base.index
        index = min(index, self.last_index)
        while index > base and self.entries[index - base - 1].term > term:
            index -= 1
        return self.id(max(index, base))

    def saved(self, last: EntryID) -> None:
        """The disk has everything up to `last`. If that entry was replaced meanwhile, the news is
        about a tail that is gone, and counts for nothing."""
        if last.index > self.stable and self.has(last):
            self.stable = last.index

    def __str__(self) -> str:
        return f"{self.base} … {self.last}, applied {self.applied}, committed {self.committed}"
