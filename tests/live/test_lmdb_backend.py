"""The store on a disk: what is opened again is what was committed, and nobody else's file is."""

from __future__ import annotations

import copy
import json
import random
import subprocess
import sys

import pytest

from kvlearn.errors import StorageError
from kvlearn.kv.leases import Compact, LeaseGrant
from kvlearn.kv.machine import KVMachine
from kvlearn.kv.requests import FROM_KEY, Command, DeleteRange, Put, Range
from kvlearn.mvcc.backend import MemoryBackend
from kvlearn.mvcc.revision import KeyValue, put_key
from kvlearn.mvcc.store import Store
from kvlearn.raft.types import ConfState

lmdb = pytest.importorskip("lmdb", reason="without the package lmdb no store lies on a disk")

from kvlearn.live import lmdb_pages  # noqa: E402
from kvlearn.live.lmdb_backend import FORMAT, LmdbBackend, decode, encode  # noqa: E402
from tests.live.instead import Instead, failing_commit  # noqa: E402


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "deep" / "n1"


def opened(folder, **options) -> LmdbBackend:
    return LmdbBackend(folder, fsync=False, **options)


def fill(backend, start: int, count: int, size: int = 100) -> None:
    for number in range(start, start + count):
        backend.put(put_key(number, 0), KeyValue(b"key", b"v" * size, 2, number, number))


def content(backend) -> tuple:
    return list(backend.range()), backend.get_meta("applied"), backend.get_meta("conf", None)


# Opening again ----------------------------------------------------------------------------------


def test_a_folder_opened_again_has_what_was_committed(folder):
    conf = ConfState(voters=("n1", "n2"))
    with LmdbBackend(folder) as backend:
        fill(backend, 2, 3)
        backend.set_meta("applied", 3)
        backend.set_meta("conf", conf)
        backend.commit()
        committed = content(backend)
        fill(backend, 5, 3)
        backend.delete(put_key(2, 0))
        backend.set_meta("applied", 9)
    assert committed[1:] == (3, conf) and len(committed[0]) == 3
    with LmdbBackend(folder) as backend:
        assert content(backend) == committed


@pytest.mark.parametrize(
    "record",
    [
        KeyValue(b"", b""),
        KeyValue(b"key", b"value", 2, 3, 1, 7),
        KeyValue(b"\x00\xff", b"\xff" * 100_000, 2**63, 2**64 - 1, 2**40, -(2**63)),
        KeyValue(b"deleted", b"", mod_revision=9),
    ],
)
def test_a_record_comes_back_as_it_was(folder, record):
    assert decode(encode(record)) == record
    with opened(folder) as backend:
        backend.put(b"at", record)
        backend.commit()
        assert backend.get(b"at") == record
    with opened(folder) as backend:
        assert list(backend.range()) == [(b"at", record)]


def test_the_encoding_is_the_documented_one():
    numbers = b"".join(n.to_bytes(8, "big") for n in (2, 3, 1, 7))
    told = (3).to_bytes(4, "big") + numbers + b"key" + b"value"
    assert encode(KeyValue(b"key", b"value", 2, 3, 1, 7)) == told


@pytest.mark.parametrize("data", [b"", b"short", b"\xff" * 60])
def test_damaged_bytes_are_no_record(data):
    with pytest.raises(StorageError, match="is damaged"):
        decode(data)


@pytest.mark.parametrize(
    ("at", "data"),
    [(put_key(2, 0), b"abc"), (b"at", encode(KeyValue(b"a", b"1", 2, 2, 1)))],
    ids=["short", "no revision"],
)
def test_a_store_over_damaged_records_is_not_opened(folder, at, data):
    with LmdbBackend(folder) as backend:
        backend._write(backend._records, at, data)
        backend.commit()
    with LmdbBackend(folder) as backend, pytest.raises(StorageError, match="is damaged"):
        Store(backend)


def do(machine: KVMachine, request) -> None:
    index = machine.applied + 1
    _, error = machine.apply(index, 1, Command("n1", index, request))
    assert error is None


def test_a_machine_opened_again_goes_on_where_it_was(folder):
    with opened(folder) as backend:
        machine = KVMachine(backend)
        do(machine, LeaseGrant(ttl_s=60, id=7))
        for number in range(20):
            do(machine, Put(b"k%d" % (number % 3), b"%d" % number, lease=7 * (number % 2)))
        do(machine, DeleteRange(b"k1"))
        do(machine, Compact(12))
        machine.store.sweep(5)
        machine.commit()
        before = machine.applied, machine.revision, machine.store.hash(), machine.save()
        found = machine.read(Range(b"\0", FROM_KEY))
        do(machine, Put(b"k0", b"lost"))
    with opened(folder) as backend:
        machine = KVMachine(backend)
        assert (machine.applied, machine.revision, machine.store.hash(), machine.save()) == before
        assert machine.applied == 23 and machine.read(Range(b"\0", FROM_KEY)) == found
        assert machine.lessor.leases[7].keys and machine.store.sweeping
        with pytest.raises(AssertionError, match="applied already"):
            machine.apply(23, 1, None)
        do(machine, Put(b"k0", b"again"))
        assert machine.read(Range(b"k0")).text == "again"


def test_a_snapshot_of_another_node_replaces_everything(folder, tmp_path):
    memory = KVMachine(MemoryBackend())
    for number in range(30):
        do(memory, Put(b"k%d" % (number % 4), b"%d" % number))
    with opened(folder) as backend:
        machine = KVMachine(backend)
        do(machine, Put(b"old", b"x" * 1_000_000))
        machine.commit()
        do(machine, Put(b"old", b"in the open batch"))
        machine.load(memory.save())
        assert backend.sizes()[0] < 100_000
    with opened(folder) as backend:
        machine = KVMachine(backend)
        assert machine.save() == memory.save()
        assert machine.store.hash() == memory.store.hash()


# The map, the file ------------------------------------------------------------------------------


def test_the_map_grows_and_the_batch_is_whole(folder):
    with opened(folder, map_bytes=1) as backend:
        backend.set_meta("applied", 1)
        backend.delete(b"nobody")
        fill(backend, 2, 5000)
        backend.delete(put_key(2, 0))
        fill(backend, 6000, 2, size=3_000_000)
        assert len(list(backend.range())) == 5001
        backend.rollback()
        assert content(backend) == ([], 0, None)
        fill(backend, 2, 5000)
        backend.set_meta("applied", 2)
        backend.commit()
        before = content(backend)
    with opened(folder, map_bytes=1) as backend:  # a map smaller than the file
        assert content(backend) == before and len(before[0]) == 5000
        fill(backend, 9000, 5000)
        backend.commit()
        assert len(list(backend.range())) == 10_000


def test_what_was_rolled_back_does_not_come_back_when_the_map_grows(folder):
    with opened(folder, map_bytes=1) as backend:
        backend.put(b"rolled back", KeyValue(b"key", b"value"))
        backend.rollback()
        fill(backend, 2, 5000)
        assert backend.get(b"rolled back") is None
        backend.commit()
        backend.delete(put_key(2, 0))
        fill(backend, 6000, 1, size=5_000_000)
        assert len(list(backend.range())) == 5000


def test_the_map_may_be_full_at_the_commit(folder, monkeypatch):
    with opened(folder) as backend:
        fill(backend, 2, 100)
        full = lmdb.MapFullError("mdb_txn_commit")
        monkeypatch.setattr(backend, "_txn", failing_commit(backend._txn, full))
        backend.commit()
        backend.rollback()
        assert len(list(backend.range())) == 100


def test_the_map_grows_in_a_replacement(folder):
    with opened(folder, map_bytes=1) as backend:
        records = [(put_key(n, 0), KeyValue(b"k", b"v" * 1000, 1, n, 1)) for n in range(2000)]
        backend.replace([("applied", 7), *records])
        assert content(backend) == (records, 7, None)


def test_sizes_tell_pages_and_a_defragmentation_gives_the_free_ones_back(folder):
    with opened(folder) as backend:
        fill(backend, 2, 3000)
        backend.commit()
        total, in_use = backend.sizes()
        assert total == (folder / "data.mdb").stat().st_size and 3000 * 136 < in_use <= total
        pages = lmdb_pages.pages(folder)
        used = [page for page in pages if page.kind != "free" and page.tree != "free list"]
        assert in_use == len(used) * (total // len(pages))
        for number in range(2, 2900):
            backend.delete(put_key(number, 0))
        backend.commit()
        assert backend.sizes()[0] >= total and backend.sizes()[1] < in_use / 10
        backend.set_meta("applied", 5)  # an open batch: it is committed, as by etcd
        before, (total, _) = content(backend), backend.sizes()
        freed = backend.defragment()
        backend.rollback()
        assert content(backend) == before
        assert total - freed <= backend.sizes()[0] < total / 5  # the commit took some pages
        fill(backend, 5000, 10)  # and it can be written
        backend.commit()
    with opened(folder) as backend:
        assert len(list(backend.range())) == len(before[0]) + 10
    assert sorted(path.name for path in folder.iterdir()) == ["data.mdb", "in_use.lock", "lock.mdb"]


def test_sizes_count_the_open_batch(folder):
    with opened(folder) as backend:
        empty = backend.sizes()[1]
        fill(backend, 2, 1, size=1_000_000)
        assert backend.sizes()[1] > empty + 1_000_000
        backend.rollback()
        assert backend.sizes()[1] == empty


def test_a_copy_that_a_crash_left_half_written_is_forgotten(folder):
    opened(folder).close()
    (folder / "data.compact").write_bytes(b"half a copy")
    opened(folder).close()
    assert not (folder / "data.compact").exists()


def test_a_defragmentation_without_room_changes_nothing(folder, monkeypatch):
    def full(*_, **__):
        raise lmdb.DiskError("No space left on device")

    with opened(folder) as backend:
        fill(backend, 2, 10)
        with monkeypatch.context() as patch:
            patch.setattr(backend, "_env", Instead(backend._env, copyfd=full))
            with pytest.raises(StorageError, match="n1: .*No space left on device"):
                backend.defragment()
        assert not (folder / "data.compact").exists()
        assert len(list(backend.range())) == 10
        fill(backend, 20, 10)
        backend.defragment()
        assert len(list(backend.range())) == 20


# Whose file -------------------------------------------------------------------------------------

OPEN = """
import sys
from kvlearn.errors import StorageError
from kvlearn.live.lmdb_backend import LmdbBackend
try:
    LmdbBackend(sys.argv[1]).close()
    print("opened")
except StorageError as error:
    print(error)
"""


def opened_elsewhere(folder) -> str:
    """What another process says when it opens the folder."""
    command = [sys.executable, "-c", OPEN, str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_a_second_opener_is_refused_until_the_first_has_closed(folder):
    with opened(folder) as backend:
        with pytest.raises(StorageError, match="n1 is in use: one store at a time"):
            opened(folder)
        assert "n1 is in use: one store at a time" in opened_elsewhere(folder)
        backend.defragment()  # which swaps the file, not the lock
        assert "is in use" in opened_elsewhere(folder)
    assert opened_elsewhere(folder) == "opened"
    opened(folder).close()


def test_a_closed_backend_says_so(folder):
    backend = opened(folder)
    backend.close()
    backend.close()
    for use in (
        lambda: backend.get(b"k"),
        lambda: backend.get_meta("applied"),
        lambda: list(backend.range()),
        lambda: fill(backend, 2, 1),
        lambda: backend.delete(b"k"),
        backend.commit,
        backend.rollback,
        backend.sizes,
        backend.defragment,
        lambda: backend.replace([]),
    ):
        with pytest.raises(StorageError, match="n1: this backend is closed"):
            use()


def refused(folder, why: str) -> None:
    with pytest.raises(StorageError, match=why):
        opened(folder)
    with pytest.raises(StorageError, match=why):  # and the refusal has not kept the lock
        opened(folder)


def test_foreign_files_are_refused(folder):
    folder.mkdir(parents=True)
    data = folder / "data.mdb"
    data.write_bytes(b"SQLite format 3\0" * 1000)
    refused(folder, "data.mdb: this is no LMDB file")
    assert data.read_bytes() == b"SQLite format 3\0" * 1000, "and left as it was"
    data.unlink()
    with lmdb.open(str(folder)) as env, env.begin(write=True) as txn:
        txn.put(b"somebody", b"else's")
    refused(folder, "n1: this LMDB file holds no kvlearn store")
    with lmdb.open(str(folder)) as env, env.begin() as txn:
        assert list(txn.cursor()) == [(b"somebody", b"else's")]


def test_a_file_in_the_folders_place_is_refused(tmp_path):
    (tmp_path / "n1").write_text("a file")
    with pytest.raises(StorageError, match="n1: no place for a store"):
        opened(tmp_path / "n1")


def test_a_file_of_another_format_is_refused(folder):
    opened(folder).close()
    with lmdb.open(str(folder), max_dbs=2) as env:
        facts = env.open_db(b"facts")
        with env.begin(write=True) as txn:
            assert txn.replace(b"kvlearn format", b"2", db=facts) == b"%d" % FORMAT
    refused(folder, "n1: its format is '2', this kvlearn reads 1")


def test_a_file_that_was_cut_off_is_refused(folder):
    with opened(folder) as backend:
        fill(backend, 2, 1000)
        backend.commit()
    data = folder / "data.mdb"
    data.write_bytes(data.read_bytes()[:50_000])
    refused(folder, "data.mdb: it was cut off")


def test_a_file_that_lmdb_began_and_never_wrote_is_a_new_one(folder):
    folder.mkdir(parents=True)
    (folder / "data.mdb").touch()
    with opened(folder) as backend:
        assert content(backend) == ([], 0, None)


@pytest.mark.parametrize("text", [b"{", b"\xff", json.dumps({"is": "Nothing"}).encode()])
def test_a_damaged_fact_is_named(folder, text):
    opened(folder).close()
    with lmdb.open(str(folder), max_dbs=2) as env:
        facts = env.open_db(b"facts")
        with env.begin(write=True) as txn:
            txn.put(b"applied", text, db=facts)
    with opened(folder) as backend:
        with pytest.raises(StorageError, match="n1: the fact 'applied' is damaged"):
            backend.get_meta("applied")


def test_a_store_on_a_disk_is_not_copied(folder):
    with opened(folder) as backend:
        for thing in (backend, Store(backend), KVMachine(backend)):
            with pytest.raises(TypeError, match="copy the folder"):
                copy.deepcopy(thing)


# Random programs --------------------------------------------------------------------------------


def some_step(rng: random.Random, both: list[KVMachine]) -> None:
    key, revision = b"k%d" % rng.randrange(6), both[0].revision
    match rng.choice(["put"] * 6 + ["delete", "delete", "compact", "sweep"]):
        case "put":
            request = Put(key, rng.randbytes(rng.choice([0, 3, 200, 5000])))
        case "delete":
            request = DeleteRange(key, rng.choice([b"", FROM_KEY]))
        case "compact":
            request = Compact(rng.randint(0, revision), physical=rng.random() < 0.3)
        case "sweep":
            limit = rng.choice([1, 3, 50])
            assert len({machine.store.sweep(limit) for machine in both}) == 1
            return
    index = both[0].applied + 1
    answers = [machine.apply(index, 1, Command("n1", index, request)) for machine in both]
    assert answers[0] == answers[1]


def agree(memory, disk, start: bytes, end: bytes) -> None:
    assert list(disk.range(start, end)) == list(memory.range(start, end))
    for name in ("applied", "compacted", "swept", "leases"):
        assert disk.get_meta(name, None) == memory.get_meta(name, None)


@pytest.mark.parametrize("seed", range(12))
def test_random_programs_do_the_same_in_memory_and_on_the_disk(folder, seed):
    """A replay is `pytest -k 'same_in_memory and [SEED]'`."""
    rng = random.Random(seed)
    memory, disk = MemoryBackend(), opened(folder, map_bytes=1)
    both = [KVMachine(memory), KVMachine(disk)]
    for _ in range(200):
        some_step(rng, both)
        chance = rng.random()
        if chance < 0.3:
            memory.commit(), disk.commit()
        elif chance < 0.34:
            memory.defragment(), disk.defragment()
        elif chance < 0.4:  # a crash
            memory.rollback()
            disk.close()
            disk = opened(folder)
            both = [KVMachine(memory), KVMachine(disk)]
        start, end = sorted(put_key(rng.randrange(1, 100), 0) for _ in range(2))
        agree(memory, disk, start, end)
    agree(memory, disk, b"", b"\xff")
    assert both[0].store.hash() == both[1].store.hash()
    assert both[0].save() == both[1].save()
    disk.close()
    lmdb_pages.check(folder)
