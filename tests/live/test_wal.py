"""The write-ahead log: what was forced is found again; torn ends go, and damage is told."""

from __future__ import annotations

from random import Random
from threading import current_thread

import pytest

from kvlearn.errors import StorageError
from kvlearn.live.wal import SECTOR, SMALL_BYTES, Wal

SIZE = 4096


def written(folder, payloads, **options):
    with Wal(folder, **{"segment_bytes": SIZE, "fsync": False, **options}) as wal:
        for number, payload in enumerate(payloads):
            wal.append(number % 3 + 1, payload)
            wal.sync()
    return [(number % 3 + 1, payload) for number, payload in enumerate(payloads)]


def found(folder):
    with Wal(folder, segment_bytes=SIZE, fsync=False) as wal:
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


# Batches, and segments made ahead ----------------------------------------------------------------


def test_a_batch_is_forced_while_the_next_one_gathers(tmp_path):
    kept = [(1, b"%d" % number * 50) for number in range(40)]
    with Wal(tmp_path, segment_bytes=SIZE) as wal:
        assert wal.take() is None
        batch = None
        for number, record in enumerate(kept):
            assert wal.append(*record) == number
            if number % 7 == 6:
                wal.force(batch)
                batch = wal.take()
                assert not wal.waiting
        wal.force(batch)
        wal.force(wal.take())
    assert found(tmp_path) == kept and len(list(tmp_path.glob("*.wal"))) > 1


def test_segments_are_used_again_and_nothing_of_them_comes_back(tmp_path, monkeypatch):
    """Released segments are zeroed; a log of many times its segments needs the room of a few."""
    used_again, real = [], Wal._make

    def make(wal: Wal, size: int) -> None:
        used_again.append((tmp_path / "spare.new").exists())
        real(wal, size)

    monkeypatch.setattr(Wal, "_make", make)
    with Wal(tmp_path, segment_bytes=SIZE, fsync=False) as wal:
        for number in range(200):
            at = wal.append(1, b"%03d" % number * 200)
            wal.sync()
            wal.release(at)
        assert wal._number > 30 and sum(used_again) > 25
        assert len(list(tmp_path.iterdir())) <= 4, "the room of a few"
    with Wal(tmp_path, segment_bytes=SIZE) as wal:
        assert wal.found[-1] == (1, b"199" * 200) and wal.first + len(wal.found) == wal.count == 200
        assert wal.append(1, b"next") == 200


def test_no_write_waits_for_zeros(tmp_path, monkeypatch):
    """The next segment is there before it is needed, and forcing a batch takes it as it is."""
    with Wal(tmp_path, segment_bytes=SIZE) as wal:
        made = []
        real = Wal._make
        monkeypatch.setattr(
            Wal, "_make", lambda wal, size: made.append(current_thread()) or real(wal, size)
        )
        for _ in range(20):
            wal.append(1, b"x" * 1000)
            wal.sync()
        wal._wait_for_maker()
        assert len(made) > 4 and current_thread() not in made
        wal.append(1, b"y" * 3 * SIZE)  # larger than any that was made ahead
        wal.sync()
        assert current_thread() in made
    assert found(tmp_path)[-1] == (1, b"y" * 3 * SIZE)


@pytest.mark.parametrize("filling", [b"\0", b"\x01\0", b"\xff"])
def test_a_value_of_zeros_is_not_taken_for_a_torn_one(filling, tmp_path):
    """The last record is safe: whatever changes in it is damage, and nothing is taken away."""
    written(tmp_path, [b"first", (filling * 3000)[:3000]])
    (path,) = tmp_path.glob("*.wal")
    data = path.read_bytes()
    assert found(tmp_path)[1] == (2, (filling * 3000)[:3000])
    for place in range(64, 3000, 97):
        path.write_bytes(data[:place] + bytes([data[place] ^ 0x11]) + data[place + 1 :])
        with pytest.raises(StorageError, match="damaged"):
            Wal(tmp_path, segment_bytes=SIZE)


def test_a_sector_that_was_lost_before_a_later_batch_is_damage(tmp_path):
    """It looks torn; but the next batch was written only when this one was safe."""
    written(tmp_path, [b"first", Random(2).randbytes(1500), b"third"])
    (path,) = tmp_path.glob("*.wal")
    data = path.read_bytes()
    for lost in (1, 2):
        path.write_bytes(data[: lost * SECTOR] + bytes(SECTOR) + data[(lost + 1) * SECTOR :])
        with pytest.raises(StorageError, match="damaged"):
            Wal(tmp_path, segment_bytes=SIZE)


def test_a_segment_of_another_log_is_refused(tmp_path):
    """Also where its number fits: the sums begin with chance."""
    for name in ("a", "b"):
        written(tmp_path / name, [b"x" * 900] * 12)
    one, other = (sorted((tmp_path / name).glob("*.wal"))[1] for name in ("a", "b"))
    one.write_bytes(other.read_bytes())
    with pytest.raises(StorageError, match="does not continue the segment before it"):
        Wal(tmp_path / "a", segment_bytes=SIZE)


def test_segments_that_were_being_made_are_forgotten(tmp_path):
    kept = written(tmp_path, [b"kept"])
    (tmp_path / "spare.new").write_bytes(b"half")
    (tmp_path / "next.new").write_bytes(bytes(100))
    assert found(tmp_path) == kept


def test_a_batch_is_small_if_it_takes_a_few_sectors_of_the_segment_that_is_written(tmp_path):
    with Wal(tmp_path, segment_bytes=SIZE, fsync=False) as wal:
        small = []
        for size in (1, SMALL_BYTES - 16, SMALL_BYTES - 15, 1):
            wal.append(1, b"x" * size)
            small.append(wal.is_small(batch := wal.take()))
            wal.force(batch)
        assert small == [True, True, False, True]
        while wal.end[1] + 32 <= SIZE:
            wal.append(1, b"x")
            assert wal.is_small(batch := wal.take())
            wal.force(batch)
        wal.append(1, b"x" * 100)
        assert not wal.is_small(wal.take())  # it needs the next segment
