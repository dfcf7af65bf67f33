"""What goes wrong around a member: short writes, full disks, broken services, peers that vanish.

Each of these was a way to lose a write, to hang or to leak."""

from __future__ import annotations

import threading

import pytest

pytest.importorskip("lmdb", reason="members store in LMDB")

from kvlearn.live import wal as wal_module
from kvlearn.live.wal import Wal

# The log ----------------------------------------------------------------------------------------


class Stingy:
    """A file of which the system takes a few bytes at once."""

    def __init__(self, file):
        self._file = file

    def write(self, data):
        return self._file.write(data[:100])

    def __getattr__(self, name):
        return getattr(self._file, name)


def test_a_write_that_the_system_takes_in_parts_is_whole(tmp_path):
    with Wal(tmp_path, segment_bytes=4096) as wal:
        wal._file = Stingy(wal._file)
        wal.append(1, b"x" * 1000)
        wal.sync()
    with Wal(tmp_path, segment_bytes=4096) as wal:
        assert wal.found == [(1, b"x" * 1000)]


def test_two_who_make_a_segment_never_touch_the_same_file(tmp_path, monkeypatch):
    """Room came back: the loop has a segment made, while the log itself needs one at once. Zeros
    that are still being written must not fall onto what is in the log by then."""
    inside, both = [], threading.Event()
    fill = wal_module._fill

    def slow_fill(file, start, end):
        inside.append(threading.current_thread().name)
        if len(inside) > 1:
            both.set()
        elif threading.current_thread() is threading.main_thread():
            wal.full = "no room for the next segment"
            wal.retry()  # what the loop does meanwhile
        both.wait(0.1)  # as long as another could get in
        fill(file, start, end)
        inside.pop()

    with Wal(tmp_path, segment_bytes=4096) as wal:
        wal._wait_for_maker()
        monkeypatch.setattr(wal_module, "_fill", slow_fill)
        for k in range(8):
            wal._wait_for_maker()
            (tmp_path / "next.new").unlink(missing_ok=True)
            wal.append(1, b"%d" % k * 3900)
            wal.sync()
        assert not both.is_set(), "two make a segment at once"
    with Wal(tmp_path, segment_bytes=4096) as wal:
        assert [payload[:1] for _, payload in wal.found] == [b"%d" % k for k in range(8)]
