"""A member's disk: whatever instant the process ends in, it finds again what it had promised."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random
from threading import current_thread, main_thread

import pytest

from kvlearn.errors import StorageError
from kvlearn.kv.requests import Command, Put
from kvlearn.mvcc.revision import KeyValue, put_key
from kvlearn.raft.types import (
    ZERO, ConfState, Entry, EntryID, HardState, Ready, Snapshot,
)  # fmt: skip
from kvlearn.sim.disk import Disk

pytest.importorskip("lmdb", reason="without the package lmdb no member has a disk")
pytest.importorskip("msgpack", reason="without the package msgpack values have no bytes")

from kvlearn.live.storage import Storage  # noqa: E402
from kvlearn.live.wal import SECTOR  # noqa: E402
from tests.live.disk_writer import entry as written  # noqa: E402

CONF = ConfState(("n1", "n2", "n3"))
SMALL = dict(quota_bytes=1 << 20, segment_bytes=4096, fsync=False)


def opened(folder: Path, **options) -> Storage:
    return Storage(folder, **{**SMALL, **options})


def entry(index: int, term: int, size: int = 10) -> Entry:
    value = bytes([index % 256]) * size
    return Entry(index, term, Command("n1", index, Put(b"key", value)))


def snapshot(index: int, term: int) -> Snapshot:
    records = (("applied", index), ("conf", CONF))
    records += ((put_key(index, 0), KeyValue(b"key", b"value", index, index, 1)),)
    return Snapshot(EntryID(term, index), CONF, records)


class Model:
    """What the simulator's disk would hold, and the records that a crash may still take."""

    def __init__(self):
        self.safe: list = []  # records in order; an EntryID is a compaction
        self.pending: list = []

    def write(self, ready: Ready) -> None:
        disk = Disk((0, 0), Random(0))
        disk.write(ready)
        self.pending += disk.pending

    def sync(self) -> None:
        self.safe += self.pending
        self.pending = []

    @staticmethod
    def state(records: list) -> tuple:
        disk = Disk((0, 0), Random(0))
        for record in records:
            if isinstance(record, EntryID):
                disk.compact(record)
            else:
                disk.pending.append(record)
                disk.sync()
        return disk.hard_state, tuple(disk.entries), disk.base

    def allowed(self) -> list[tuple]:
        """The states that a crash may leave now."""
        after = (self.safe + self.pending[:count] for count in range(len(self.pending) + 1))
        return [self.state(records) for records in after]


def found(folder: Path, **options) -> tuple:
    """What a member would start with, and how far its store is."""
    with opened(folder, **options) as storage:
        start = storage.start()
        applied = storage.backend.get_meta("applied")
        if start.snapshot is not None:
            assert start.snapshot.last.index > applied, "the store has it already"
            assert start.snapshot == snapshot(start.snapshot.last.index, start.snapshot.last.term)
            assert start.snapshot.last == start.base
            applied = start.snapshot.last.index
        assert start.base.index <= applied <= storage.last.index
        return start.hard_state, start.entries, start.base


def copied(folder: Path, target: Path) -> Path:
    """What a crash leaves now: files, but nothing that is in memory only."""
    shutil.rmtree(target, ignore_errors=True)
    # Opening a log removes segments that were made ahead, and a thread makes one.
    return shutil.copytree(folder, target, ignore=shutil.ignore_patterns("next.new", "spare.new"))


# Random lives -----------------------------------------------------------------------------------


class Life:
    """A member's disk and the model of it, driven by chance."""

    def __init__(self, folder: Path, seed: int):
        self.folder, self.rng = folder, Random(seed)
        self.model, self.term, self.commit, self.applied = Model(), 1, 0, 0
        self.storage = opened(folder)

    def step(self) -> None:
        kind = self.rng.choice("append append replace hard snapshot apply compact flush".split())
        getattr(self, kind)()

    def _save(self, ready: Ready) -> None:
        self.storage.write(ready)
        self.model.write(ready)
        if self.rng.random() < 0.7:
            self.sync()

    def sync(self) -> None:
        self.storage.sync()
        self.model.sync()

    def _hard(self) -> HardState:
        return HardState(self.term, self.rng.choice(["n1", "n2", None]), self.commit)

    def append(self) -> None:
        last, rng = self.storage.last, self.rng
        sizes = [rng.choice([0, 10, 600, 3000]) for _ in range(rng.randrange(1, 6))]
        self.term = max(self.term, last.term)
        new = tuple(entry(last.index + n, self.term, size) for n, size in enumerate(sizes, 1))
        self.commit = max(self.commit, rng.randint(self.commit, last.index))
        self._save(Ready(self._hard() if rng.random() < 0.5 else None, new))

    def replace(self) -> None:
        """Another leader's entries in the place of some that are not committed."""
        last = self.storage.last
        if last.index <= self.commit:
            return
        self.term = max(self.term, last.term) + 1
        first = self.rng.randint(self.commit + 1, last.index)
        new = tuple(entry(index, self.term) for index in range(first, first + 3))
        self._save(Ready(self._hard(), new))

    def hard(self) -> None:
        self.term += self.rng.randrange(2)
        self._save(Ready(self._hard()))

    def snapshot(self) -> None:
        if self.rng.random() < 0.5:
            return
        last = self.storage.last.index + self.rng.randrange(5) + 1
        self.term = max(self.term, self.storage.last.term)
        sent = snapshot(last, self.term)
        self.commit = last
        self.storage.write(ready := Ready(self._hard(), snapshot=sent))
        self.model.write(ready)
        self.sync()
        if self.rng.random() < 0.8:
            self.storage.backend.replace(sent.data)
            self.applied = last
        else:  # a crash before it is loaded
            self.crash()

    def apply(self) -> None:
        if self.model.pending:
            self.sync()
        backend, target = self.storage.backend, self.rng.randint(self.applied, self.commit)
        for index in range(self.applied + 1, target + 1):
            backend.put(put_key(index, 0), KeyValue(b"key", b"value", 1, index, index))
            backend.set_meta("applied", index)
        backend.commit()
        self.applied = max(self.applied, target)

    def compact(self) -> None:
        base = self.storage.base
        if self.applied <= base.index or self.model.pending:
            return
        _, entries, _ = Model.state(self.model.safe)
        upto = self.rng.randint(base.index + 1, self.applied)
        chosen = entries[upto - base.index - 1].id
        self.storage.compact(chosen)
        self.model.pending.append(chosen)
        if self.rng.random() < 0.7:
            self.sync()

    def flush(self) -> None:
        self.storage.flush()

    def crash(self) -> None:
        """Kill the process; of what was not forced nothing has left its memory."""
        there = copied(self.folder, self.folder.with_name("copy"))
        self.storage.close()
        state = found(there)
        assert state in self.model.allowed()[:1], "a killed process"
        shutil.rmtree(self.folder)
        there.rename(self.folder)
        self._start()

    def tear(self) -> None:
        """The power goes while the last batch is being written."""
        if not self.model.pending:
            return
        self.storage._release, self.storage._stale = 0, []  # that comes when the batch is safe
        allowed = self.model.allowed()
        segments = sorted((self.folder / "wal").glob("*.wal"))
        before = {path.name: path.read_bytes() for path in segments}
        self.storage.sync()
        path = sorted((self.folder / "wal").glob("*.wal"))[-1]
        after = path.read_bytes()
        old = before.get(path.name)
        if old is None:  # the segment was begun for this batch
            old = after[:64] + bytes(len(after) - 64)
        sectors = [old[at : at + SECTOR] for at in range(0, len(after), SECTOR)]
        for number in range(len(sectors)):
            if self.rng.random() < 0.5:
                sectors[number] = after[number * SECTOR : (number + 1) * SECTOR]
        there = copied(self.folder, self.folder.with_name("copy"))
        (there / "wal" / path.name).write_bytes(b"".join(sectors))
        self.storage.close()
        assert found(there) in allowed, "a power cut"
        shutil.rmtree(self.folder)
        there.rename(self.folder)
        self._start()

    def _start(self) -> None:
        self.storage = opened(self.folder)
        start = self.storage.start()
        state = start.hard_state, start.entries, start.base
        records = self.model.safe + self.model.pending
        self.model.safe = next(
            records[:count]
            for count in range(len(self.model.safe), len(records) + 1)
            if Model.state(records[:count]) == state
        )
        self.model.pending = []
        if start.snapshot is not None:
            self.storage.backend.replace(start.snapshot.data)
        self.applied = self.storage.backend.get_meta("applied")
        self.commit = max(start.hard_state.commit, self.applied, start.base.index)
        self.commit = min(self.commit, self.storage.last.index)
        self.term = max(self.term, start.hard_state.term, self.storage.last.term)


@pytest.mark.parametrize("seed", range(40))
def test_a_random_life_is_that_of_the_simulators_disk(seed, tmp_path):
    life = Life(tmp_path / "n1", seed)
    try:
        for number in range(60):
            life.step()
            if life.rng.random() < 0.1:
                life.rng.choice([life.crash, life.tear])()
        life.crash()
    except BaseException:
        print(f"seed {seed}, step {number}")
        raise
    finally:
        life.storage.close()


# Every instant ----------------------------------------------------------------------------------


@pytest.fixture
def instants(tmp_path, monkeypatch) -> Iterator[list[Path]]:
    """Copies of the folder `n1`, one before and one after everything that a crash can separate."""
    taken: list[Path] = []

    def watch(owner, name: str) -> None:
        real = getattr(owner, name)

        def wrapper(*args, **options):
            take()
            result = real(*args, **options)
            take()
            return result

        monkeypatch.setattr(owner, name, wrapper)

    def take() -> None:
        # What the thread that makes segments does is forgotten when a log is opened.
        if (tmp_path / "n1").exists() and current_thread() is main_thread() and not taking:
            taking.append(True)
            taken.append(copied(tmp_path / "n1", tmp_path / f"copy{len(taken)}"))
            taking.clear()

    taking: list[bool] = []
    for owner, name in ((os, "replace"), (Path, "replace"), (Path, "unlink")):
        watch(owner, name)
    real_open = Path.open

    class Watched:
        """A file, each of whose writes is an instant."""

        def __init__(self, file):
            self.file = file

        def write(self, data):
            take()
            return self.file.write(data)

        def __getattr__(self, name):
            return getattr(self.file, name)

        def __enter__(self):
            return self

        def __exit__(self, *error):
            self.file.close()

    def watched(path, *args, **options):
        file = real_open(path, *args, **options)
        inside = "wal" in path.parts and path.suffix == ".wal"
        return Watched(file) if inside else file

    monkeypatch.setattr(Path, "open", watched)
    yield taken
    monkeypatch.undo()


def test_a_crash_at_any_instant_of_a_save_a_snapshot_and_a_compaction(tmp_path, instants):
    model, allowed = Model(), []
    storage = opened(tmp_path / "n1")
    storage.start()

    def now_allowed(do) -> None:
        """What `do` may leave, in whatever instant of it a crash comes."""
        states, before = model.allowed(), len(instants)
        do()
        model.sync()
        states.append(Model.state(model.safe))
        allowed.extend((path, states) for path in instants[before:])

    def save(ready: Ready) -> None:
        storage.write(ready)
        model.write(ready)
        now_allowed(storage.sync)

    def compact(index: int) -> None:
        _, entries, base = Model.state(model.safe)
        chosen = entries[index - base.index - 1].id

        def do() -> None:
            storage.compact(chosen)
            storage.sync()

        model.pending.append(chosen)
        now_allowed(do)

    def apply(index: int) -> None:
        storage.backend.set_meta("applied", index)
        storage.backend.commit()

    save(Ready(HardState(1, "n1"), tuple(entry(index, 1, 700) for index in range(1, 10))))
    save(Ready(HardState(2, "n2", 6), tuple(entry(index, 2, 700) for index in range(8, 20))))
    apply(15)
    compact(12)  # releases segments
    save(Ready(HardState(2, "n2", 30), snapshot=snapshot(30, 2)))
    storage.backend.replace(snapshot(30, 2).data)
    save(Ready(HardState(2, "n2", 33), tuple(entry(index, 2, 700) for index in range(31, 40))))
    apply(35)
    compact(34)
    storage.close()
    assert len(allowed) > 20
    for path, states in allowed:
        assert found(path) in states, path
        assert found(path) in states, "opened once more"


def test_a_log_that_is_cut_at_any_byte_of_its_last_records(tmp_path):
    model, folder = Model(), tmp_path / "n1"
    with opened(folder) as storage:
        first = Ready(HardState(1, "n1"), (entry(1, 1),))
        storage.write(first), model.write(first)
        storage.sync(), model.sync()
        (path,) = (folder / "wal").glob("*.wal")
        before = len(path.read_bytes().rstrip(b"\0"))
        second = Ready(HardState(2, None, 1), (entry(2, 1, 0), entry(3, 2, 40)))
        storage.write(second), model.write(second)
        storage.sync()
    data, allowed = path.read_bytes(), model.allowed()
    end, seen = len(data.rstrip(b"\0")), []
    for cut in range(before + 1, end + 1):
        path.write_bytes(data[:cut])
        state = found(folder)
        assert state in allowed, f"cut at byte {cut}"
        seen.append(allowed.index(state))
    assert seen == sorted(seen) and set(seen) == {0, 1, 2, 3}


# Other people's folders, other ends ---------------------------------------------------------------


def test_boots_are_counted_and_the_owner_is_known(tmp_path):
    with opened(tmp_path) as storage:
        assert storage.is_new and storage.boot == 1
        storage.identify(name="n1", cluster_id=7, urls=["http://127.0.0.1:1"])
    with opened(tmp_path) as storage:
        assert not storage.is_new and storage.start().boot == 2
        storage.identify(name="n1", cluster_id=7, urls=["http://127.0.0.1:1"])
        with pytest.raises(StorageError, match="another member or cluster: its cluster_id is 7, n"):
            storage.identify(name="n1", cluster_id=8)
    with opened(tmp_path) as storage:
        assert storage.facts == {"name": "n1", "cluster_id": 7, "urls": ["http://127.0.0.1:1"]}


def test_a_second_process_is_refused_and_told_who_is_there(tmp_path):
    code = (
        "import sys; from kvlearn.errors import StorageError\n"
        "from kvlearn.live.storage import Storage\n"
        "try: Storage(sys.argv[1]).close(); print('opened')\n"
        "except StorageError as error: print(error)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]

    def elsewhere() -> str:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    with opened(tmp_path):
        assert f"is in use by process {os.getpid()}: one member" in elsewhere()
        with pytest.raises(StorageError, match="is in use by process"):
            opened(tmp_path)
    assert elsewhere() == "opened"


def test_a_full_disk_is_found_when_a_segment_is_made(tmp_path, monkeypatch):
    """What was promised stays, the batch that found no room can be forced when there is some."""
    model = Model()

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with opened(tmp_path) as storage:
        first = Ready(HardState(1, "n1"), (entry(1, 1),))
        storage.write(first), model.write(first)
        storage.sync(), model.sync()
        with monkeypatch.context() as patch:
            patch.setattr(storage.wal, "_make", full)
            storage.wal._wait_for_maker()
            (tmp_path / "wal" / "next.new").unlink(missing_ok=True)
            storage.wal._prepare()
            storage.wal._wait_for_maker()
            assert "no room for the next segment (No space left" in storage.full
            large = Ready(HardState(1, "n1", 1), (entry(2, 1, 5000),))
            storage.write(large), model.write(large)
            batch = storage.take()
            with pytest.raises(StorageError, match="no room for another segment .*free some space"):
                storage.force(batch)
            assert found(copied(tmp_path, tmp_path.with_name("copy"))) == model.allowed()[0]
        storage.backend.flush()  # which looks, and has it tried again
        assert storage.backend._full
        storage.wal._wait_for_maker()
        assert "no room" not in storage.full and not storage.backend.is_full()
        storage.force(batch)
        model.sync()
    assert found(tmp_path) == model.allowed()[0]


def test_a_disk_that_failed_takes_nothing_more(tmp_path, monkeypatch):
    with opened(tmp_path, fsync=True) as storage:

        def broken(_):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        with monkeypatch.context() as patch:
            patch.setattr(os, "fdatasync", broken)
            storage.write(Ready(HardState(1, "n1")))
            with pytest.raises(StorageError, match="Input/output error"):
                storage.sync()
        storage.write(Ready(HardState(2, "n1")))
        with pytest.raises(StorageError, match="Input/output error"):
            storage.sync()


def test_the_log_does_not_go_before_the_store_has_it(tmp_path):
    with opened(tmp_path) as storage:
        storage.write(Ready(HardState(1, "n1", 3), tuple(entry(i, 1) for i in range(1, 4))))
        storage.sync()
        with pytest.raises(AssertionError, match="the store is at 0"):
            storage.compact(EntryID(1, 3))
        storage.backend.set_meta("applied", 3)
        storage.backend.commit()
        storage.compact(EntryID(1, 3))
        assert found(copied(tmp_path, tmp_path.with_name("copy")))[2] == ZERO
        storage.sync()
    assert found(tmp_path)[1:] == ((), EntryID(1, 3))


@pytest.mark.parametrize("name", ["member.json", "snap"])
def test_damage_is_refused(tmp_path, name):
    with opened(tmp_path) as storage:
        storage.write(Ready(HardState(1, "n1", 9), snapshot=snapshot(9, 1)))
        storage.sync()
    if name == "snap":
        (path,) = (tmp_path / "snap").glob("*.snap")
    else:
        path = tmp_path / name
    data = path.read_bytes()
    for at in range(0, len(data), 7):
        path.write_bytes(data[:at] + bytes([data[at] ^ 0x80]) + data[at + 1 :])
        with pytest.raises(StorageError, match="damaged|format"):
            found(tmp_path)
    path.unlink()
    with pytest.raises(StorageError, match="damaged|missing"):
        found(tmp_path)


@pytest.mark.parametrize("seed", range(3))
def test_a_process_is_killed_again_and_again(tmp_path, seed):
    """kill -9 in the middle of whatever it does: nothing that it called safe is missing."""
    rng, safe = Random(seed), 0
    for boot in range(1, 7):
        command = [sys.executable, "-m", "tests.live.disk_writer", str(tmp_path), f"{seed}{boot}"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        lines = iter(process.stdout.readline, "")
        assert next(lines) == f"opened {2 * boot - 1}\n"
        for _ in range(rng.randrange(1, 80)):
            safe = int(next(lines).split()[1])
        process.kill()
        safe = max([safe, *(int(line.split()[1]) for line in lines if line.endswith("\n"))])
        process.wait()
        with Storage(tmp_path, quota_bytes=1 << 24, segment_bytes=1 << 16) as storage:
            start, applied = storage.start(), storage.backend.get_meta("applied")
            assert storage.last.index >= safe, f"seed {seed}, boot {boot}"
            first = start.base.index + 1
            assert start.entries == tuple(map(written, range(first, storage.last.index + 1)))
            assert start.base.index <= applied <= storage.last.index
            held = [record.mod_revision for _, record in storage.backend.range()]
            assert held == list(range(1, applied + 1)), "records and the fact come together"
