"""The write-ahead log: what was forced is found again; torn ends go, and damage is told."""

from __future__ import annotations

from random import Random

import pytest

from kvlearn.errors import StorageError
from kvlearn.live.wal import SECTOR, Wal

SIZE = 4096


def written(folder, payloads, **options):
    with Wal(folder, **{"segment_bytes": SIZE, **options}) as wal:
        for number, payload in enumerate(payloads):
            wal.append(number % 3 + 1, payload)
            wal.sync()
    return [(number % 3 + 1, payload) for number, payload in enumerate(payloads)]


def found(folder):
    with Wal(folder, segment_bytes=SIZE) as wal:
        return wal.found


@pytest.mark.parametrize("seed", range(20))
def test_what_was_forced_is_found_again(seed, tmp_path):
    rng = Random(seed)
    kept = []
    for _ in range(4):
        with Wal(tmp_path, segment_bytes=SIZE) as wal:
            assert wal.found == kept, f"seed {seed}"
            for _ in range(rng.randrange(20)):
                size = rng.choice((0, 1, 7, 8, 100, 900, 5000))
                record = rng.randrange(1, 5), rng.randbytes(size)
                wal.append(*record)
                kept.append(record)
                if rng.random() < 0.5:
                    wal.sync()
            wal.sync()
    assert found(tmp_path) == kept


def test_what_was_not_forced_is_lost(tmp_path):
    with Wal(tmp_path, segment_bytes=SIZE) as wal:
        wal.append(1, b"kept")
        wal.sync()
        wal.append(1, b"lost")
    assert found(tmp_path) == [(1, b"kept")]


def test_a_flipped_byte_is_never_taken_for_the_end(tmp_path):
    """At every byte of the segment that holds a record."""
    kept = written(tmp_path, [b"first", b"second" * 20, b"third" * 3])
    (path,) = tmp_path.glob("*.wal")
    data = path.read_bytes()
    end = len(data.rstrip(b"\0"))
    for place in range(end):
        path.write_bytes(data[:place] + bytes([data[place] ^ 0x40]) + data[place + 1 :])
        with pytest.raises(StorageError, match="damaged|no segment|format"):
            Wal(tmp_path, segment_bytes=SIZE)
    path.write_bytes(data)
    assert found(tmp_path) == kept


def test_a_write_that_was_cut_is_taken_away(tmp_path):
    """Whatever first part of the last record's sectors came to the disk."""
    first = written(tmp_path, [b"first", b"second"])
    (path,) = tmp_path.glob("*.wal")
    before = path.read_bytes()
    written_all = first + [(3, Random(1).randbytes(3 * SECTOR))]
    with Wal(tmp_path, segment_bytes=SIZE) as wal:
        wal.append(*written_all[-1])
        wal.sync()
    after = path.read_bytes()
    for cut in range(0, 5 * SECTOR, SECTOR):
        path.write_bytes(after[:cut] + before[cut:])
        whole = after[:cut] + before[cut:] == after
        assert found(tmp_path) == (written_all if whole else first), cut
        again = written(tmp_path, [b"next"])
        assert found(tmp_path)[-1:] == again
    for chosen in range(1, 16):  # or any of its sectors
        mixed = bytearray(before)
        for sector in range(4):
            if chosen >> sector & 1:
                span = slice(sector * SECTOR, (sector + 1) * SECTOR)
                mixed[span] = after[span]
        if bytes(mixed) == after:
            continue
        path.write_bytes(mixed)
        assert found(tmp_path) == first, f"sectors {chosen:b}"


def test_a_damaged_middle_is_refused(tmp_path):
    written(tmp_path, [b"x" * 900] * 12)
    paths = sorted(tmp_path.glob("*.wal"))
    assert len(paths) > 2
    data = paths[0].read_bytes()
    paths[0].write_bytes(data[: len(data) // 2] + bytes(len(data) - len(data) // 2))
    with pytest.raises(StorageError, match="damaged"):
        Wal(tmp_path, segment_bytes=SIZE)
    paths[0].write_bytes(data)
    paths[1].unlink()
    with pytest.raises(StorageError, match="lacks a segment"):
        Wal(tmp_path, segment_bytes=SIZE)


def test_segments_that_nobody_needs_go(tmp_path):
    kept = written(tmp_path, [b"%d" % k * 300 for k in range(30)])
    with Wal(tmp_path, segment_bytes=SIZE) as wal:
        before = len(list(tmp_path.glob("*.wal")))
        wal.release(20)
        assert len(list(tmp_path.glob("*.wal"))) < before
    left = found(tmp_path)
    assert left == kept[-len(left) :] and 10 <= len(left) < 30
