"""The write-ahead log: what a node must not forget, in the order in which it learnt it.

Records are appended to *segments*, files that are filled with zeros before they are used, so that
forcing one to the disk writes data and no file lengths. All that was appended since the last time
is one *batch* and costs one fdatasync, however many wait for it (group commit). A batch is taken
by whoever appends and forced by whoever may wait, a thread say; meanwhile the next one gathers.

    append append append            append append
                  take ── force ───────────────── take ── force       one at a time
    00000007.wal  00000008.wal (being written)  next.new (zeros, made ahead in the background)

A record, little-endian, begins at a multiple of 16, so that its head never lies in two sectors:

    length 4 | kind 1 | mask 1 | batch 2 | sum of the head 4 | sum of all so far 4 | payload | zeros

The second sum goes on from that of the record before, also across segments: no record can be taken
out or put elsewhere without a trace. It begins with chance, so no other log's segments fit in.

A disk writes a sector or does not; so a power cut leaves some sectors of the last batch zero. What
may be found where the log ends, and what it means:

* zeros: the log ends here.
* a record of which some sectors are still zero, or that the file's end cuts: it was being written
  when the power went. Nobody was told that it is safe; it is taken away, with all behind it.
* anything else, also a torn record with a later batch behind it: the disk has *changed* what it
  was given. `StorageError` says where; to go on would be to forget a promise.

A payload that has a sector of zeros itself is masked (xor), so that the two are never mixed up.

>>> folder = getfixture("tmp_path") / "wal"
>>> with Wal(folder, segment_bytes=4096) as wal:
...     numbers = wal.append(1, b"first"), wal.append(1, b"second")
...     wal.sync()
>>> with Wal(folder, segment_bytes=4096) as wal:
...     print(wal.found)
[(1, b'first'), (1, b'second')]

Source: etcd server/storage/wal (wal.go, decoder.go, repair.go, file_pipeline.go). Differs: a
damaged length is told from a torn record, as heads have sums of their own; released segments are
zeroed and used again; what records mean is not known here.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Lock, Thread
from typing import BinaryIO
from zlib import crc32

from kvlearn.errors import StorageError
from kvlearn.live.folders import force_folder

SECTOR = 512  # a disk writes so many bytes or none of them
SEGMENT_BYTES = 4 << 20  # etcd: 64 MB; smaller ones are released, and read at a start, sooner
SMALL_BYTES = 4 * SECTOR
FORMAT = 1
ALIGN = 16
_first_half = struct.Struct("<IBBH")  # length, kind, mask, batch
_sums = struct.Struct("<II")
_head = struct.Struct("<IBBHII")  # both
_HEAD = _head.size
_START = 0  # the kind of a segment's first record
_start = struct.Struct("<IQIQ")  # format, number of the segment, sum so far, records before it
_ZEROS = bytes(1 << 20)
_NAME = "{:08}.wal"
_NEXT = "next.new"  # zeros, to be the next segment
_SPARE = "spare.new"  # a released segment, or one that is being filled with zeros


@dataclass(frozen=True, slots=True)
class Batch:
    """Records that are forced together. `sum` and `count` are those before the first of them."""

    number: int
    data: bytes
    sum: int
    count: int


class Wal:
    """Invariant: everything in a batch whose `force` has returned is on the disk; `found` is what
    was there when the log was opened, as (kind, payload), without what was torn.

    Records are counted from 0 over the log's whole life; `first` is the number of `found[0]`.
    """

    def __init__(self, folder: str | Path, segment_bytes: int = SEGMENT_BYTES, fsync: bool = True):
        """Open the log in `folder`, or begin one. Kinds of records are numbers from 1 to 255.
        Without `fsync` it outlives the process, not the machine.

        Raises: StorageError if what is there was damaged, or is no log, or there is no room.
        """
        self.folder = Path(folder)
        self.segment_bytes = segment_bytes
        self.found: list[tuple[int, bytes]] = []
        self.torn = 0  # bytes that a torn batch had brought to the disk
        self.full = ""  # why the next segment cannot be made, though this one still has room
        self._fsync = fsync
        self._sum = int.from_bytes(os.urandom(4), "little")
        self._batch = 0  # the number of the one that gathers
        self._waiting: list[bytes] = []
        self._before = 0, 0  # sum and count before the waiting records
        self._file: BinaryIO | None = None
        self._end = 0  # where the next batch goes
        self._maker: Thread | None = None
        self._making = Lock()  # whoever has it may touch the files that are no segments yet
        self._failed = ""
        self._firsts: dict[int, int] = {}  # segment -> number of its first record
        self.count = 0  # of records found, appended and released
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            self._find()
        except BaseException:
            self.close()
            raise
        self.first = self._firsts[min(self._firsts)]
        self._before = self._sum, self.count

    def _find(self) -> None:
        for leftover in self.folder.glob("*.new"):
            leftover.unlink()
        numbers = self._segments()
        for number in numbers:
            _Reader(self, number, last=number == numbers[-1]).read()
        if not numbers:
            self._begin(1, Batch(0, b"", self._sum, 0))
        self._prepare()

    # Writing --------------------------------------------------------------------------------

    def append(self, kind: int, payload: bytes) -> int:
        """Add a record to the batch that gathers; returns its number."""
        mask = 0
        if len(payload) >= SECTOR:
            mask, payload = _masked(payload)
        size = len(payload)
        head = _first_half.pack(size, kind, mask, self._batch)
        self._sum = crc32(payload, crc32(head, self._sum))
        sums = _sums.pack(crc32(head), self._sum)
        self._waiting.append(b"".join((head, sums, payload, bytes(-size % ALIGN))))
        self.count += 1
        return self.count - 1

    @property
    def waiting(self) -> bool:
        """Whether something was appended and not taken."""
        return bool(self._waiting)

    def take(self) -> Batch | None:
        """What was appended since the last time, for `force`; None: nothing."""
        if not self._waiting:
            return None
        batch = Batch(self._batch, b"".join(self._waiting), *self._before)
        self._waiting.clear()
        self._batch = (self._batch + 1) & 0xFFFF
        self._before = self._sum, self.count
        return batch

    def force(self, batch: Batch | None) -> None:
        """Force a batch to the disk; returns when it is safe. In any thread, but one batch at a
        time, in the order in which they were taken.

        Raises: StorageError. After one about a full disk the batch may be forced again; after any
        other the log takes nothing more: what the disk holds is uncertain.
        """
        if batch is None:
            return
        if self._failed or self._file is None:
            raise StorageError(f"{self.folder}: {self._failed or 'the log is closed'}")
        if self._end + len(batch.data) > self._size:
            self._begin(self._number + 1, batch)
            self._prepare()
        try:
            _write(self._file, batch.data)
            self._force(self._file)
        except OSError as error:
            self._failed = f"writing failed: {error.strerror}"
            raise StorageError(f"{self.folder}: {self._failed}") from error
        self._end += len(batch.data)

    def is_small(self, batch: Batch) -> bool:
        """Whether forcing it now writes a few sectors and does nothing else."""
        size = len(batch.data)
        return size <= SMALL_BYTES and self._end + size <= self._size

    def sync(self) -> None:
        """Force all that was appended; returns when it is safe. Raises: StorageError."""
        self.force(self.take())

    def release(self, before: int) -> None:
        """Records whose numbers are below `before` are needed no more: segments that hold nothing
        else are used again, or removed. By whom, and when, `force` may be called."""
        numbers = sorted(self._firsts)
        for number, following in zip(numbers, numbers[1:]):
            if self._firsts[following] > before:
                break
            path, spare = self.folder / _NAME.format(number), self.folder / _SPARE
            with self._making:
                # The name must be gone before the content is; and the oldest one first.
                if spare.exists():
                    path.unlink()
                else:
                    path.replace(spare)
                self._force_names()
            del self._firsts[number]
        self._prepare()

    def close(self) -> None:
        """Let go of the files; what was not forced may be lost."""
        with self._making:  # and after this no segment is made any more
            if self._file is not None:
                self._file.close()
                self._file = None
        self._wait_for_maker()

    def __enter__(self) -> Wal:
        return self

    def __exit__(self, *error) -> None:
        self.close()

    # Where things lie -----------------------------------------------------------------------

    @property
    def end(self) -> tuple[Path, int]:
        """The segment that is being written, and the byte in it where the next batch goes."""
        return self.folder / _NAME.format(self._number), self._end

    def places(self) -> Iterator[tuple[str, int, int]]:
        """Of each record of `found`: its segment's name, its first byte there, its bytes."""
        segments = {first: number for number, first in self._firsts.items()}
        name, at = "", 0
        for number, (_, payload) in enumerate(self.found, self.first):
            if number in segments:
                name, at = _NAME.format(segments[number]), _whole(_HEAD + _start.size)
            size = _whole(_HEAD + len(payload))
            yield name, at, size
            at += size

    # Segments -------------------------------------------------------------------------------

    def _begin(self, number: int, batch: Batch) -> None:
        """A new segment, in which `batch` will be the first."""
        path, draft = self.folder / _NAME.format(number), self.folder / _NEXT
        start = _start_record(number, batch)
        size = max(self.segment_bytes, len(start) + len(batch.data))
        try:
            with self._making:  # nobody else has the file open that will be the log
                if not draft.exists() or draft.stat().st_size < size:
                    self._make(size)
                with draft.open("r+b", buffering=0) as file:
                    _write(file, start)
                    self._force(file)
                draft.replace(path)  # it is there whole or not at all
            self._force_names()
        except OSError as error:
            raise StorageError(
                f"{self.folder}: no room for another segment of {size:,} bytes "
                f"({error.strerror}): free some space on this disk and start the node again"
            ) from error
        if self._file is not None:
            self._file.close()
        self._firsts[number] = batch.count
        self._open(number, len(start))

    def _open(self, number: int, end: int) -> None:
        path = self.folder / _NAME.format(number)
        self._number, self._end = number, end
        self._file = path.open("r+b", buffering=0)
        self._file.seek(end)
        self._size = max(self.segment_bytes, path.stat().st_size)

    def _prepare(self) -> None:
        """Make the next segment in the background, so that no write waits for it."""
        maker = Thread(target=self._try_to_make, name="wal-segment", daemon=True)
        maker.start()
        self._maker = maker

    def _try_to_make(self) -> None:
        try:
            with self._making:
                if self._file is not None and not (self.folder / _NEXT).exists():
                    self._make(self.segment_bytes)
            self.full = ""
        except OSError as error:
            self.full = f"{self.folder}: no room for the next segment ({error.strerror})"

    def _make(self, size: int) -> None:
        """A file of zeros for the next segment: a released one, or a new one."""
        target = self.folder / _NEXT
        draft = self.folder / _SPARE
        try:
            with draft.open("r+b" if draft.exists() else "wb", buffering=0) as file:
                file.truncate(max(size, draft.stat().st_size))
                _fill(file, 0, max(size, draft.stat().st_size))
                self._force(file, whole=True)
        except OSError:
            draft.unlink(missing_ok=True)  # half a segment helps nobody, and takes room
            raise
        draft.replace(target)

    def _wait_for_maker(self) -> None:
        if self._maker is not None:
            self._maker.join()

    def retry(self) -> None:
        """If the next segment could not be made: try again, in the background."""
        if self.full and (self._maker is None or not self._maker.is_alive()):
            self._prepare()

    def _segments(self) -> list[int]:
        names = sorted(self.folder.glob("*.wal"))
        numbers = [int(path.stem) for path in names if path.stem.isdecimal()]
        if numbers and numbers != list(range(numbers[0], numbers[0] + len(numbers))):
            raise StorageError(f"{self.folder} lacks a segment of its log: it has {numbers}")
        return numbers

    def _force(self, file: BinaryIO, whole: bool = False) -> None:
        if self._fsync:
            # Where lengths do not change, data are all there is to force.
            (os.fsync if whole else getattr(os, "fdatasync", os.fsync))(file.fileno())

    def _force_names(self) -> None:
        if self._fsync:
            force_folder(self.folder)


class _Reader:
    """Reads one segment when the log is opened."""

    def __init__(self, wal: Wal, number: int, last: bool):
        self.wal, self.number, self.last = wal, number, last
        self.path = wal.folder / _NAME.format(number)
        self.data = self.path.read_bytes()

    def read(self) -> None:
        """Take its records into `found`; of the last one the end may have to be mended."""
        at = self._read_records(self._read_start())
        data = self.data
        if at >= len(data) or _zero(data, at, min(at + _HEAD, len(data))):
            self._check_end(at)
        else:
            self._look_at_torn(at)
            self._tear(at)
        if self.last:
            self.wal._open(self.number, at)

    def _read_records(self, at: int) -> int:
        """Take all that are whole; returns where the first one is that is not."""
        wal, data, found, sum = self.wal, self.data, self.wal.found, self.wal._sum
        unpack, half, before = _head.unpack_from, _first_half.size, len(self.wal.found)
        batch, limit = wal._batch, len(data) - _HEAD
        while at <= limit:
            length, kind, mask, number, head_sum, told = unpack(data, at)
            head = data[at : at + half]
            end = at + _HEAD + length
            payload = data[at + _HEAD : end]
            now = crc32(payload, crc32(head, sum))
            rest = -length % ALIGN
            unlike = crc32(head) != head_sum or now != told or len(payload) < length
            if unlike or data[end : end + rest].strip(b"\0"):
                break
            sum, batch, at = now, number + 1, end + rest
            found.append((kind, _xor(payload, mask) if mask else payload))
        wal._sum, wal._batch = sum, batch & 0xFFFF
        wal.count += len(found) - before
        return at

    def _read_start(self) -> int:
        wal, path, data = self.wal, self.path, self.data
        size = _HEAD + _start.size
        if len(data) < size:
            raise StorageError(f"{path} is no segment of a log: it has {len(data)} bytes only")
        length, kind, mask, batch = _first_half.unpack_from(data)
        if kind != _START or length != _start.size or mask:
            raise StorageError(f"{path} is no segment of a log of kvlearn")
        format, told, sum, count = _start.unpack_from(data, _HEAD)
        if format != FORMAT:
            raise StorageError(f"{path} has format {format}; this kvlearn knows format {FORMAT}")
        expected = _start_record(told, Batch(batch, b"", sum, count))
        if data[: len(expected)] != expected:
            raise self._damaged(0, "its first record was changed")
        if not wal._firsts:
            wal._sum, wal.count = sum, count  # the segments before it were released
        if (told, sum, count) != (self.number, wal._sum, wal.count):
            raise self._damaged(0, "it does not continue the segment before it")
        wal._firsts[self.number] = count
        wal._batch = batch
        return len(expected)

    def _look_at_torn(self, at: int) -> None:
        """Why does the record at `at` not fit? Raises: StorageError unless it was being written."""
        data = self.data
        if at + _HEAD > len(data):
            return self._torn(at, _HEAD, None)
        length, _, _, batch, head_sum, told = _head.unpack_from(data, at)
        head = data[at : at + _first_half.size]
        if crc32(head) != head_sum:
            raise self._damaged(at, "the head of a record was changed")
        payload = data[at + _HEAD : at + _HEAD + length]
        if len(payload) == length and crc32(payload, crc32(head, self.wal._sum)) == told:
            raise self._damaged(at, "the zeros behind a record were changed")
        self._torn(at, _HEAD + length, batch)

    def _torn(self, at: int, size: int, batch: int | None) -> None:
        """A record does not fit. Raises: StorageError unless it was never written as a whole."""
        whole = self.data[at : at + size]
        cut = len(whole) < size
        first = SECTOR - at % SECTOR  # the sector that holds its head was written
        rest = (whole[k : k + SECTOR] for k in range(first, len(whole), SECTOR))
        unwritten = any(not any(sector) for sector in rest)
        if not self.last or not (cut or unwritten):
            raise self._damaged(at, "a record is not what was written")
        self._refuse_later(at, {batch})

    def _check_end(self, at: int) -> None:
        """What lies behind the end of the log: zeros, or later sectors of a torn batch."""
        data = self.data
        sector = min(at + SECTOR - at % SECTOR, len(data))
        if not _zero(data, at, sector):
            raise self._damaged(at, "something follows the end of the log in its own sector")
        if not _zero(data, sector, len(data)):
            if not self.last:
                raise self._damaged(at, "the log ends before the segment does")
            self._refuse_later(at, {self.wal._batch, (self.wal._batch - 1) & 0xFFFF})
            self._tear(at)

    def _refuse_later(self, at: int, torn: set[int | None]) -> None:
        """A batch is written when the one before is safe: none can be torn that another follows."""
        data = self.data
        for place in range(at + ALIGN - at % ALIGN, len(data.rstrip(b"\0")) - _HEAD, ALIGN):
            head = data[place : place + _first_half.size]
            sum = int.from_bytes(data[place + _first_half.size : place + _HEAD - 4], "little")
            if any(head) and crc32(head) == sum:
                if _first_half.unpack(head)[3] not in torn:
                    raise self._damaged(at, "a record is not what was written, and others follow")

    def _tear(self, at: int) -> None:
        """Take a torn record away, so that nothing of it is found behind the next one."""
        self.wal.torn = max(len(self.data.rstrip(b"\0")) - at, 0)
        with self.path.open("r+b", buffering=0) as file:
            _fill(file, at, max(self.wal.segment_bytes, len(self.data)))
            self.wal._force(file, whole=True)

    def _damaged(self, at: int, why: str) -> StorageError:
        return StorageError(
            f"{self.path} is damaged at byte {at}: {why}. Do not start this node with it: remove "
            "the member and let it join again with an empty folder"
        )


def _start_record(number: int, batch: Batch) -> bytes:
    """The first record of a segment; it stands outside the sums, which go on behind it."""
    payload = _start.pack(FORMAT, number, batch.sum, batch.count)
    head = _first_half.pack(len(payload), _START, 0, batch.number)
    return b"".join(_framed(head, payload, crc32(payload, crc32(head))))


def _framed(head: bytes, payload: bytes, sum: int) -> Iterator[bytes]:
    yield from (head, _sums.pack(crc32(head), sum), payload, bytes(-len(payload) % ALIGN))


def _whole(size: int) -> int:
    """The bytes that a record takes with the zeros behind it."""
    return size + -size % ALIGN


def _masked(payload: bytes) -> tuple[int, bytes]:
    """A payload that has no sector of zeros, and the mask that made it so."""
    for mask in range(256):
        if bytes([mask]) * (SECTOR // 2) not in payload:
            return mask, _xor(payload, mask) if mask else payload
    return 0, payload  # a run of every byte: 64 KiB of a pattern that nobody writes


def _xor(payload: bytes, mask: int) -> bytes:
    return payload.translate(bytes(byte ^ mask for byte in range(256)))


def _zero(data: bytes, start: int, end: int) -> bool:
    """Whether data[start:end] is zeros, without a copy of much of it."""
    step = len(_ZEROS)
    return all(
        data[at : min(at + step, end)] == _ZEROS[: min(step, end - at)]
        for at in range(start, end, step)
    )


def _write(file: BinaryIO, data: bytes) -> None:
    """Write all of it: the system may take less at once, near the end of its room say."""
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


def _fill(file: BinaryIO, start: int, end: int) -> None:
    """Write zeros, not holes: their blocks are there when records come."""
    file.seek(start)
    while start < end:
        start += file.write(_ZEROS[: end - start])
