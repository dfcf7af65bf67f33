"""Who waits for the disk: order, errors, and when it is the loop itself."""

from __future__ import annotations

import asyncio
import threading

from kvlearn.live import forcing
from kvlearn.live.forcing import Forcing


class Disk:
    """Notes in which thread each batch was forced; takes the time that it is told on a clock of
    its own."""

    def __init__(self, monkeypatch):
        self.forced: list[tuple[str, bool]] = []  # batch, in the loop's thread?
        self.takes_s, self._now_s = 0.0, 0.0
        self.small, self.fails = True, None
        monkeypatch.setattr(forcing, "perf_counter", lambda: self._now_s)

    def is_small(self, batch):
        return self.small

    def force(self, batch):
        self._now_s += self.takes_s
        self.forced.append((batch, threading.current_thread() is threading.main_thread()))
        if self.fails:
            raise self.fails


class Meter(list):
    add = list.append


def played(disk, *steps):
    """Force one batch a step, each after the one before; `steps` are changes of the disk first."""

    async def play():
        meter, told = Meter(), []
        force = Forcing(disk, "n1", meter)
        for number, step in enumerate(steps):
            vars(disk).update(step)
            done = asyncio.get_running_loop().create_future()
            force.force(number, done.set_result)
            told.append(await asyncio.wait_for(done, 10))
        await force.stop()
        return told, meter

    return asyncio.run(play())


def test_a_quick_disk_is_waited_for_in_the_loop_and_a_slow_one_in_a_thread(monkeypatch):
    disk = Disk(monkeypatch)
    quick, slow = {"takes_s": forcing.QUICK_S / 2}, {"takes_s": forcing.QUICK_S}
    told, meter = played(disk, quick, quick, slow, slow, quick, quick)
    # The first one is not known to be quick; of a disk that becomes slow the loop waits once.
    assert [in_loop for _, in_loop in disk.forced] == [False, True, True, False, False, True]
    assert [number for number, _ in disk.forced] == list(range(6)) and told == [None] * 6
    assert meter == [quick["takes_s"]] * 2 + [slow["takes_s"]] * 2 + [quick["takes_s"]] * 2


def test_what_is_large_is_never_forced_in_the_loop(monkeypatch):
    disk = Disk(monkeypatch)
    played(disk, {"small": False}, {}, {})
    assert not any(in_loop for _, in_loop in disk.forced)


def test_errors_are_told_from_both(monkeypatch):
    disk, error = Disk(monkeypatch), OSError("broken")
    told, _ = played(disk, {"fails": error}, {})
    assert told == [error, error] and [in_loop for _, in_loop in disk.forced] == [False, True]


def test_nothing_is_done_before_the_caller_has_gone_on(monkeypatch):
    """What a member sends behind `force` leaves before the loop waits for the disk."""
    disk, order = Disk(monkeypatch), []

    async def play():
        force = Forcing(disk, "n1", Meter())
        for _ in range(2):
            done = asyncio.get_running_loop().create_future()
            force.force("batch", lambda error: (order.append("done"), done.set_result(error)))
            order.append("sent")
            await done
        await force.stop()

    asyncio.run(play())
    assert order == ["sent", "done"] * 2


def test_what_is_under_way_ends_before_the_stop(monkeypatch):
    disk, held = Disk(monkeypatch), threading.Event()
    force_now = disk.force
    disk.force = lambda batch: (held.wait(10), force_now(batch))

    async def play():
        force = Forcing(disk, "n1", Meter())
        force.force("batch", lambda error: None)
        stopping = asyncio.ensure_future(force.stop())
        await asyncio.sleep(0)
        assert not stopping.done()
        held.set()
        await stopping

    asyncio.run(play())
    assert disk.forced == [("batch", False)]


def test_what_the_loop_is_about_to_force_is_forced_before_the_stop(monkeypatch):
    disk, told = Disk(monkeypatch), []

    async def play():
        force = Forcing(disk, "n1", Meter())
        done = asyncio.get_running_loop().create_future()
        force.force(0, done.set_result)
        await done
        force.force(1, told.append)
        await force.stop()
        return list(disk.forced), list(told)

    forced, told_before = asyncio.run(play())
    assert forced == [(0, False), (1, True)] and told_before == [None]
