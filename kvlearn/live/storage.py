"""A member's disk: everything that it must find again when it starts.

    n1/lock          held as long as a process uses the folder; has the process's number
    n1/member.json   who the member is, and how often it started; replaced as a whole
    n1/wal/          hard states and entries, in the order in which they were promised
    n1/snap/         the state that a leader sent, until the store holds it
    n1/store/        what the entries did, in LMDB; may lag behind the log, never ahead of it

What a Ready asks to keep is a sequence of records: perhaps a snapshot, which replaces the log; one
record an entry; then the hard state. A crash in the middle of a force leaves some first part of
them. (The same rules as of the simulator's disk, in `sim/disk.py`.)

    write(ready) ──▶ records wait in memory          in the loop
    take()       ──▶ a batch                         in the loop
    force(batch) ──▶ snapshot file, then log         one batch at a time (by whom: forcing.py)
    flush()      ──▶ the store commits               in the loop, ten times a second
    compact(base) ─▶ flush; the log may forget entries up to `base` when the next batch is forced

The log forgets whole segments. Before it does, a `BASE` record and the hard state are written
anew, so that what is left tells everything: the newest of each counts, and an entry counts if it
lies behind the base and no later record has its index or a smaller one.

>>> from kvlearn.raft.types import Entry, HardState, Ready
>>> folder = getfixture("tmp_path") / "n1"
>>> with Storage(folder) as storage:
...     storage.write(Ready(HardState(term=1, vote="n1"), (Entry(1, 1, None),)))
...     storage.sync()
>>> with Storage(folder) as storage:
...     start = storage.start()
...     print(start.boot, start.hard_state, *start.entries)
2 term 1, vote n1, commit 0 1@1(no-op)

Source: etcd server/storage (storage.go, wal, snap), etcdserver/bootstrap.go; server.go
(triggerSnapshot: the backend is committed before a snapshot lets the log go).
"""

from __future__ import annotations

import gc
import json
import os
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from zlib import crc32

from kvlearn.errors import StorageError
from kvlearn.live import codec
from kvlearn.live.folders import force_folder, hold
from kvlearn.live.lmdb_lazy import LazyLmdb
from kvlearn.live.wal import SEGMENT_BYTES, Wal
from kvlearn.live.wal import Batch as WalBatch
from kvlearn.raft.types import ZERO, Entry, EntryID, HardState, Ready, Snapshot

FORMAT = 2  # of member.json and of the records below
ENTRY, HARD_STATE, SNAPSHOT, BASE = 1, 2, 3, 4  # kinds of records
APPLIED = "applied"  # the machine's name for how far the store is
CHUNK = 256  # records that a snapshot file's frames have
LEAST_FREE = 64 << 20  # bytes free on the disk below which the member should take no writes
_id = struct.Struct("<QQ")  # index, term: before an entry's bytes, and a base
_frame = struct.Struct("<II")
_MAGIC = b"kvlearn snapshot 2\n"


@dataclass(frozen=True, slots=True)
class Start:
    """What a node starts with. `snapshot`: the store may not have it yet. `boot`: starts on this
    disk, this one included."""

    hard_state: HardState
    entries: tuple[Entry, ...]
    base: EntryID
    snapshot: Snapshot | None
    boot: int


@dataclass(frozen=True, slots=True)
class Batch:
    """What is forced together."""

    log: WalBatch | None
    snapshots: tuple[Snapshot, ...]  # whose files come before the records that name them
    release: int  # records before this one may go when the batch is safe; 0: none
    stale: tuple[Path, ...]  # files that may go then


@contextmanager
def quiet() -> Iterator[None]:
    """While a member opens, hundreds of thousands of values come into being and stay: Python's
    collector would look at all of them again and again, for a third of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


class Storage:
    """Invariant: what a forced batch had is found again, in whatever instant the process or the
    machine ends; the store holds what the entries up to some index did that the log reaches.

    Any StorageError but that of a full disk when a batch is forced means: stop, and start again.
    """

    def __init__(
        self,
        folder: str | Path,
        entry_bytes: codec.EntryBytes | None = None,
        quota_bytes: int = 2 << 30,
        segment_bytes: int = SEGMENT_BYTES,
        fsync: bool = True,
    ):
        """Open a member's folder, or make a new one. `entry_bytes`: shared with the transport, so
        that an entry is encoded once. Without `fsync` all outlives the process, not the machine.

        Raises: StorageError when it is in use, damaged, foreign, or there is no room.
        """
        self.folder = Path(folder)
        self._entry_bytes = entry_bytes or codec.EntryBytes()
        self._fsync = fsync
        self._closing: list[Any] = []
        self.backend: LazyLmdb | None = None
        try:
            with quiet():
                self._open(quota_bytes, segment_bytes)
        except OSError as error:
            self.close()
            raise StorageError(f"{self.folder}: {error.strerror}") from error
        except BaseException:
            self.close()
            raise

    def _open(self, quota_bytes: int, segment_bytes: int) -> None:
        self.snap = self.folder / "snap"
        self.snap.mkdir(parents=True, exist_ok=True)
        self._lock = _lock(self.folder)
        self._closing.append(self._lock)
        self.facts, self.boot = self._read_facts()
        self.boot += 1
        self._write_facts()
        # Four times the quota: what is beyond it are deletions, and pages that views still hold.
        self.backend = LazyLmdb(self.folder / "store", max(4 * quota_bytes, 1 << 30), self._fsync)
        self._closing.append(self.backend)
        self.wal = Wal(self.folder / "wal", segment_bytes, self._fsync)
        self._closing.append(self.wal)
        self.backend.no_room = self._no_room
        self._snapshots: list[Snapshot] = []  # whose files are to be written
        self._release = 0
        self._stale: list[Path] = []
        if self._fsync:  # what lies in the folders is worth nothing without their names
            force_folder(self.folder)
            force_folder(self.folder.absolute().parent)
        self._restore()

    def start(self) -> Start:
        """What the node starts with; to be asked once, as it is not kept."""
        entries, snapshot = self._entries, self._snapshot
        self._entries, self._snapshot = (), None
        return Start(self.hard_state, entries, self.base, snapshot, self.boot)

    @property
    def last(self) -> EntryID:
        """The end of the log, as written."""
        return self._last

    # Who it is ------------------------------------------------------------------------------

    def identify(self, **facts: Any) -> None:
        """Note who the member is (plain data): in a new folder. In another it has to be the same.

        Raises: StorageError that says in what they differ.
        """
        for name, given in facts.items():
            known = self.facts.get(name, given)
            if known != json.loads(json.dumps(given)) and known != given:
                raise StorageError(
                    f"{self.folder} belongs to another member or cluster: its {name} is {known!r}, "
                    f"not {given!r}"
                )
        if facts.keys() - self.facts.keys():
            self.facts = {**self.facts, **facts}
            self._write_facts()

    @property
    def is_new(self) -> bool:
        """Whether nobody has said yet whose folder it is."""
        return not self.facts

    def _read_facts(self) -> tuple[dict[str, Any], int]:
        path = self.folder / "member.json"
        if not path.exists():
            if (self.folder / "wal").exists() and any((self.folder / "wal").glob("*.wal")):
                raise StorageError(f"{self.folder} has a log, but no member.json: it is damaged")
            return {}, 0
        try:
            found = json.loads(path.read_bytes())
            if found["format"] != FORMAT:
                raise StorageError(
                    f"{path} has format {found['format']}; this kvlearn knows format {FORMAT}"
                )
            return dict(found["facts"]), int(found["boot"])
        except (ValueError, TypeError, KeyError):
            raise StorageError(f"{path} is damaged, or is none of kvlearn's") from None

    def _write_facts(self) -> None:
        told = {"format": FORMAT, "boot": self.boot, "facts": self.facts}
        text = json.dumps(told, indent=1).encode() + b"\n"
        self._write_file(self.folder / "member.json", (text,))

    # Keeping --------------------------------------------------------------------------------

    def write(self, ready: Ready) -> None:
        """Write what `ready` wants kept; it is safe when a batch that has it was forced."""
        append = self.wal.append
        if ready.snapshot is not None:
            last = ready.snapshot.last
            self._snapshots.append(ready.snapshot)
            append(SNAPSHOT, _id.pack(last.index, last.term))
            self.base = self._last = last
            self._places = []
        if ready.entries:
            first = ready.entries[0].index
            del self._places[first - 1 - self.base.index :]  # a tail that is replaced
            bytes_of = self._entry_bytes.of
            for entry in ready.entries:
                at = _id.pack(entry.index, entry.term)
                self._places.append(append(ENTRY, at + bytes_of(entry)))
            self._last = ready.entries[-1].id
        if ready.hard_state is not None:
            self.hard_state = ready.hard_state
            append(HARD_STATE, codec.encode(ready.hard_state))

    def take(self) -> Batch | None:
        """What was written since the last time, for `force`; None: nothing."""
        log = self.wal.take()
        if log is None:
            return None
        batch = Batch(log, tuple(self._snapshots), self._release, tuple(self._stale))
        self._snapshots, self._release, self._stale = [], 0, []
        return batch

    def force(self, batch: Batch | None) -> None:
        """Make a batch durable; in any thread, one at a time, in the order of `take`.

        Raises: StorageError; after "no room" the same batch may be forced again.
        """
        if batch is None:
            return
        try:
            for snapshot in batch.snapshots:
                self._write_snapshot(snapshot)
            self.wal.force(batch.log)
            if batch.release:
                self.wal.release(batch.release)
            for path in batch.stale:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(f"{self.folder}: no room: {error.strerror}") from error

    def is_small(self, batch: Batch) -> bool:
        """Whether forcing it writes a few sectors of the log and does nothing else."""
        more = batch.snapshots or batch.release or batch.stale
        return not more and self.wal.is_small(batch.log)

    def sync(self) -> None:
        """Make all that was written durable. Raises: StorageError."""
        self.force(self.take())

    def flush(self) -> None:
        """Let the store commit what it gathered; nothing of it depends on a batch to come.
        Raises: StorageError."""
        if self.backend.dirty:
            self.backend.flush()

    def compact(self, base: EntryID) -> None:
        """Give up the entries up to `base`, once the store holds durably what they did.
        Raises: StorageError."""
        self.flush()
        applied = self.backend.get_meta(APPLIED)
        assert applied >= base.index, f"the store is at {applied}, the log must not go to {base}"
        del self._places[: base.index - self.base.index]
        self.base = base
        number = self.wal.append(BASE, _id.pack(base.index, base.term))
        self.wal.append(HARD_STATE, codec.encode(self.hard_state))
        self._release = min(number, *self._places[:1], number)
        self._stale = [path for path in self._snapshot_files() if path not in self._unwritten()]

    @property
    def full(self) -> str:
        """Why the member should take no more writes though all is well so far; empty: there is
        room."""
        if self.wal.full:
            return self.wal.full
        if hasattr(os, "statvfs"):
            disk = os.statvfs(self.folder)
            free = disk.f_bavail * disk.f_frsize
            if free < LEAST_FREE:
                return f"{self.folder}: only {free:,} bytes are free on its disk"
        return ""

    def _no_room(self) -> str:
        why = self.full
        if why:
            self.wal.retry()
        return why

    def close(self, flush: bool = True) -> None:
        """Let the store commit, and give the folder free; what was not forced is lost. Without
        `flush` the store forgets what it gathered, which may end within an entry. Closing twice
        does no harm."""
        if self._closing and self.backend is not None and flush:
            try:
                self.backend.flush()
            except StorageError:
                pass  # the log has it
        while self._closing:
            self._closing.pop().close()

    def __enter__(self) -> Storage:
        return self

    def __exit__(self, *error) -> None:
        self.close()

    # Finding --------------------------------------------------------------------------------

    def _restore(self) -> None:
        """Go through the records of the log, oldest first."""
        found, self.wal.found = self.wal.found, []
        self._last = ZERO
        kept, snapshot = self._fold(found)
        self._places = [number for number, _ in kept]
        self._entries = codec.decode_all([payload[_id.size :] for _, payload in kept])
        self._last = self._entries[-1].id if kept else self.base
        self._snapshot = self._find_snapshot(snapshot)
        applied = self.backend.get_meta(APPLIED)
        if applied > self._last.index:  # entries are applied when they are safe
            raise StorageError(
                f"{self.folder} is damaged: the store is at entry {applied}, the log ends at "
                f"{self._last.index}. Do not start this node with it: remove the member and let it "
                "join again with an empty folder"
            )

    def _fold(self, found: list[tuple[int, bytes]]) -> tuple[list, EntryID | None]:
        """The entries that count, as (number of the record, payload), and the newest snapshot.

        A log whose beginning was released may begin with records that count no more. What they
        fit on is gone, so they are taken as they come, until the last record that tells a base.
        """
        first = self.wal.first
        self.hard_state, self.base = HardState(), ZERO
        kept: list[tuple[int, bytes]] = []
        snapshot = None
        told = [number for number, (kind, _) in enumerate(found, first) if kind >= SNAPSHOT]
        sure = told[-1] if first and told else -1
        if first and not told:
            raise StorageError(f"{self.wal.folder} lacks the beginning of its log")
        for number, (kind, payload) in enumerate(found, first):
            if kind == HARD_STATE:
                self.hard_state = codec.decode(payload)
                continue
            index, term = _id.unpack_from(payload)
            place = index - 1 - self.base.index
            if kind == ENTRY:
                if not 0 <= place <= len(kept):
                    if number > sure:
                        raise StorageError(f"{self.wal.folder} lacks entries before {index}")
                    place, self.base = 0, EntryID(0, index - 1)
                del kept[place:]
                kept.append((number, payload))
            elif kind == SNAPSHOT:
                self.base = snapshot = EntryID(term, index)
                kept = []
            elif kind != BASE:
                raise StorageError(f"{self.wal.folder}: record {number} is of unknown kind {kind}")
            elif number >= sure:
                kept = kept[place + 1 :] if place >= -1 else []
                self.base = EntryID(term, index)
        return kept, snapshot

    def _find_snapshot(self, last: EntryID | None) -> Snapshot | None:
        """The newest snapshot that the log names, if the store has not got so far."""
        applied = self.backend.get_meta(APPLIED)
        wanted = last is not None and applied < last.index
        for path in [*self.snap.glob("*.new"), *self._snapshot_files()]:
            if not (wanted and path == self._path_of(last)):
                path.unlink()  # written when the crash came, or loaded long ago
        if applied < self.base.index and not (wanted and self.base == last):
            raise StorageError(
                f"{self.folder} is damaged: the store is at entry {applied}, the log begins behind "
                f"{self.base.index}"
            )
        return self._read_snapshot(last) if wanted else None

    # Snapshots ------------------------------------------------------------------------------

    def _path_of(self, last: EntryID) -> Path:
        return self.snap / f"{last.term:016x}-{last.index:016x}.snap"

    def _snapshot_files(self) -> list[Path]:
        return sorted(self.snap.glob("*.snap"))

    def _unwritten(self) -> set[Path]:
        return {self._path_of(snapshot.last) for snapshot in self._snapshots}

    def _write_snapshot(self, snapshot: Snapshot) -> None:
        self._write_file(self._path_of(snapshot.last), _snapshot_bytes(snapshot))

    def _read_snapshot(self, last: EntryID) -> Snapshot:
        path = self._path_of(last)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise StorageError(f"{path} is missing, though the log names it") from None
        parts, at = [], len(_MAGIC)
        while data.startswith(_MAGIC) and at + _frame.size <= len(data):
            size, sum = _frame.unpack_from(data, at)
            at += _frame.size
            part = data[at : at + size]
            if len(part) < size or crc32(part) != sum:
                break
            if not size:  # the end
                head, *chunks = parts
                return Snapshot(*head, tuple(record for chunk in chunks for record in chunk))
            parts.append(codec.decode(part))
            at += size
        raise StorageError(f"{path} is damaged, or no snapshot of kvlearn")

    def _write_file(self, path: Path, parts: Iterable[bytes]) -> None:
        """The file is there whole or not at all, or as it was."""
        draft = path.with_name(path.name + ".new")
        with draft.open("wb") as file:
            file.writelines(parts)
            file.flush()
            if self._fsync:
                os.fsync(file.fileno())
        os.replace(draft, path)
        if self._fsync:
            force_folder(path.parent)


def in_words(kind: int, payload: bytes) -> str:
    """What a record of the log says."""
    if kind == HARD_STATE:
        return str(codec.decode(payload))
    index, term = _id.unpack_from(payload)
    if kind == ENTRY:
        return f"entry {codec.decode(payload[_id.size :])}"
    return f"{'snapshot' if kind == SNAPSHOT else 'base'} {index}@{term}"


def _snapshot_bytes(snapshot: Snapshot) -> Iterable[bytes]:
    yield _MAGIC
    yield _framed(codec.encode((snapshot.last, snapshot.conf)))
    for start in range(0, len(snapshot.data), CHUNK):
        yield _framed(codec.encode(tuple(snapshot.data[start : start + CHUNK])))
    yield _framed(b"")


def _framed(part: bytes) -> bytes:
    return _frame.pack(len(part), crc32(part)) + part


def _lock(folder: Path) -> BinaryIO:
    """Hold the folder until the file is closed, by whomever, even by a kill.

    Raises: StorageError.
    """
    file = (folder / "lock").open("a+b")
    try:
        hold(file)
    except OSError:
        file.seek(0)
        owner = file.read(20).decode("ascii", "replace").strip() or "?"
        file.close()
        raise StorageError(
            f"{folder} is in use by process {owner}: one member at a time uses a folder"
        ) from None
    file.truncate(0)
    file.write(b"%d\n" % os.getpid())
    file.flush()
    return file
