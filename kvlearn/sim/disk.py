"""A simulated disk: a write is safe when the fsync after it has ended, not before.

What a Ready asks to keep is a sequence of records: perhaps a snapshot, which replaces the log; one
record an entry; then the hard state, whose commit index may speak of these very entries and would
speak of the tail they replace without them. A crash during the fsync leaves some first part of
them, perhaps none, and tears the next one; the torn record fails its checksum when the node starts
again, and it and all behind it are dropped.

The log may be compacted behind what the backend holds; `base` is the last entry that went.

Source: paper 5.1 (persistent state); etcd server/storage/wal/wal.go (Save), repair.go.
"""

from __future__ import annotations

from random import Random

from kvlearn.mvcc.backend import MemoryBackend
from kvlearn.raft.types import ZERO, Entry, EntryID, HardState, Ready, Snapshot


class Disk:
    """Invariant: `entries` have consecutive indices from `base.index` + 1; `pending` was written,
    not forced."""

    def __init__(self, fsync_s: tuple[float, float], rng: Random):
        self.fsync_s = fsync_s  # (shortest, longest) time of an fsync, in virtual seconds
        self.hard_state = HardState()
        self.base = ZERO
        self.entries: list[Entry] = []
        self.snapshot: Snapshot | None = None  # that a leader sent; the backend may not have it yet
        self.backend = MemoryBackend()
        self.pending: list[Snapshot | Entry | HardState] = []
        self._rng = rng

    def write(self, ready: Ready) -> None:
        """Write what `ready` wants kept; a crash may still lose it."""
        if ready.snapshot is not None:
            self.pending.append(ready.snapshot)
        self.pending += ready.entries
        if ready.hard_state is not None:
            self.pending.append(ready.hard_state)

    def fsync_time(self) -> float:
        """How long the next fsync takes, in virtual seconds."""
        low, high = self.fsync_s
        return low + (high - low) * self._rng.random()

    def sync(self) -> None:
        """The fsync has ended: all that was written is durable."""
        self._keep(len(self.pending))

    def crash(self) -> None:
        """Lose what was not forced, but for a first part of it; the next record is torn."""
        if self.pending:
            self._keep(self._rng.randint(0, len(self.pending)))
        self.backend.rollback()

    def compact(self, base: EntryID) -> None:
        """Give up the entries up to `base`: the backend holds what they did."""
        del self.entries[: base.index - self.base.index]
        self.base, self.snapshot = base, None

    @property
    def last(self) -> EntryID:
        """The end of the log."""
        return self.entries[-1].id if self.entries else self.base

    def wipe(self) -> None:
        """A new, empty disk."""
        self.hard_state = HardState()
        self.base, self.entries, self.snapshot = ZERO, [], None
        self.backend = MemoryBackend()
        self.pending = []

    def _keep(self, count: int) -> None:
        for record in self.pending[:count]:
            match record:
                case HardState():
                    self.hard_state = record
                case Snapshot(last=last):
                    self.base, self.entries, self.snapshot = last, [], record
                case Entry(index=index):
                    del self.entries[index - 1 - self.base.index :]  # a tail that was replaced
                    self.entries.append(record)
        self.pending = []
