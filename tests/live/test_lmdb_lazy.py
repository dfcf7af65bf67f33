"""The lazy backend: commits gather, a crash takes what was not flushed, views stay as they were."""

from __future__ import annotations

import gc
import shutil
from dataclasses import replace
from itertools import count
from random import Random

import pytest

from kvlearn import Cluster
from kvlearn.errors import NoSpace, StorageError
from kvlearn.kv.machine import KVMachine
from kvlearn.kv.requests import Put
from kvlearn.kv.upkeep import Defragment
from kvlearn.mvcc.backend import MemoryBackend
from kvlearn.mvcc.revision import KeyValue, put_key
from kvlearn.mvcc.store import Store
from kvlearn.raft import RaftConfig
from kvlearn.raft.types import EntryID
from kvlearn.sim.disk import Disk

pytest.importorskip("lmdb", reason="without the package lmdb no store lies on a disk")

from kvlearn.live import lmdb_lazy  # noqa: E402
from kvlearn.live.lmdb_backend import LmdbBackend  # noqa: E402
from kvlearn.live.lmdb_lazy import LazyLmdb  # noqa: E402
from tests.live.instead import failing_commit  # noqa: E402
from tests.live.test_lmdb_backend import content, do, fill  # noqa: E402


def opened(folder, **options) -> LazyLmdb:
    return LazyLmdb(folder, **{"fsync": False, **options})


def crashed(backend: LazyLmdb, target) -> tuple:
    """What another process finds if this one is killed now."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(backend.path, target)
    with opened(target) as found:
        return content(found)


def test_commits_are_durable_with_the_next_flush(tmp_path):
    with opened(tmp_path / "n1") as backend:
        assert not backend.dirty
        fill(backend, 2, 3)
        backend.set_meta("applied", 3)
        backend.commit()
        assert backend.dirty and backend.get_meta("applied") == 3
        assert crashed(backend, tmp_path / "copy") == ([], 0, None)
        backend.flush()
        before = content(backend)
        assert not backend.dirty and crashed(backend, tmp_path / "copy") == before
        fill(backend, 9, 3)
        backend.set_meta("applied", 9)
        backend.commit()
        backend.rollback()
        assert content(backend) == before


def test_records_and_facts_are_flushed_together(tmp_path, monkeypatch):
    """Whichever step of a flush fails: both or neither."""
    with opened(tmp_path / "n1") as backend:
        fill(backend, 2, 3)
        backend.set_meta("applied", 3)
        full = lmdb_lazy.lmdb.DiskError("No space left on device")
        monkeypatch.setattr(backend, "_txn", failing_commit(backend._txn, full))
        with pytest.raises(StorageError, match="No space left on device"):
            backend.flush()
        assert crashed(backend, tmp_path / "copy") == ([], 0, None)


def test_much_is_flushed_without_being_asked(tmp_path, monkeypatch):
    monkeypatch.setattr(lmdb_lazy, "FLUSH_BYTES", 100_000)
    with opened(tmp_path / "n1") as backend:
        fill(backend, 2, 1000)
        backend.set_meta("applied", 7)
        backend.commit()
        assert not backend.dirty and crashed(backend, tmp_path / "copy")[1] == 7


def test_the_map_grows_between_two_flushes(tmp_path):
    with opened(tmp_path / "n1", map_bytes=1 << 20) as backend:
        fill(backend, 2, 100)
        view = backend.freeze()
        for start in range(1000, 9000, 1000):
            fill(backend, start, 1000)
            backend.flush()
        assert backend._env.info()["map_size"] > 1 << 20
        assert len(view) == len(list(view)) == 100, "views live through it"
        assert len(list(backend.range())) == 8100


def test_more_than_the_map_at_once_ends_it_and_loses_nothing_that_was_flushed(tmp_path):
    with opened(tmp_path / "n1", map_bytes=1 << 20) as backend:
        fill(backend, 2, 10)
        backend.flush()
        before = content(backend)
        with pytest.raises(StorageError, match="more was written at once than its map"):
            fill(backend, 100, 20_000)
        assert crashed(backend, tmp_path / "copy") == before


def test_sizes_follow_what_is_written_closely(tmp_path):
    with opened(tmp_path / "n1") as backend:
        for start in range(2, 3002, 30):
            fill(backend, start, 30, size=1000)
            total, used = backend.sizes()
            exact = LmdbBackend.sizes(backend)
            assert abs(used - exact[1]) < 300_000 and total >= used
            if start % 90 == 2:
                backend.flush()
                assert backend.sizes() == LmdbBackend.sizes(backend)
        for number in range(2, 3002):
            backend.delete(put_key(number, 0))
        assert backend.sizes()[1] < 500_000
        backend.defragment()
        assert backend.sizes()[0] < 100_000


# Views ------------------------------------------------------------------------------------------


def changed(backend: LazyLmdb, way: str) -> None:
    match way:
        case "writes":
            fill(backend, 500, 500)
            for number in range(2, 50):
                backend.delete(put_key(number, 0))
            for number in range(10):  # pages would be used again now
                backend.set_meta("applied", number)
                backend.flush()
        case "defragment":
            backend.defragment()
        case "replace":
            backend.replace([("applied", 7), (put_key(2, 0), KeyValue(b"another", b""))])
        case "close":
            backend.close()


@pytest.mark.parametrize("way", ["writes", "defragment", "replace", "close"])
@pytest.mark.parametrize("read", [0, 1, 40])
def test_a_view_stays_as_it_was(tmp_path, way, read):
    head = (("applied", 5), ("conf", ()))
    with opened(tmp_path / "n1") as backend:
        fill(backend, 2, 100)
        expected = [*head, *backend.range()]
        view = backend.freeze(head)
        found = list(view[:read])
        changed(backend, way)
        found += view[read:77]
        assert (len(view), [*found, *view[77:]]) == (102, expected)
        assert view[3] == expected[3] and view[-1] == expected[-1], "also out of order"
        assert view[50:60] == tuple(expected[50:60]) and list(view) == expected
        assert view[200:] == () and view[60:50] == ()


def test_a_view_that_nobody_holds_lets_go_of_its_pages(tmp_path):
    """Else the file would grow with every flush."""

    def growth(held) -> int:
        before = (tmp_path / "n1" / "data.mdb").stat().st_size
        for number in range(300):
            backend.set_meta("applied", number)
            backend.put(put_key(2, 0), KeyValue(b"key", b"%d" % number))
            backend.flush()
        return (tmp_path / "n1" / "data.mdb").stat().st_size - before

    with opened(tmp_path / "n1") as backend:
        fill(backend, 2, 100)
        growth(None)
        view = backend.freeze()
        assert growth(view) > 1_000_000
        del view
        gc.collect()
        growth(None)
        assert growth(None) < 100_000


def test_a_machine_gives_a_view_of_the_same_records(tmp_path):
    memory = KVMachine(MemoryBackend())
    with opened(tmp_path / "n1") as backend:
        machine = KVMachine(backend)
        for number in range(300):
            for one in (machine, memory):
                do(one, Put(b"k%d" % (number % 7), b"%d" % number))
        for one in (machine, memory):
            one.store.compact(250)
            one.store.sweep(20)
        view = machine.save()
        assert not isinstance(view, tuple) and tuple(view) == memory.save()
        do(machine, Put(b"later", b""))
        machine.commit()
        assert tuple(view) == memory.save()
        memory.load(view)
        assert memory.store.hash() == machine.store.hash(revision=memory.revision)


# Whole nodes ------------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Every disk of the simulator gets a folder; a crash takes what was not flushed."""
    number, made = count(), []

    class OnDisk(LazyLmdb):
        def __init__(self):
            super().__init__(tmp_path / str(next(number)), map_bytes=1 << 24, fsync=False)
            made.append(self)

    def compact(disk: Disk, base: EntryID) -> None:
        disk.backend.flush()  # as a host has to, before its log goes
        assert disk.backend.get_meta("applied") >= base.index
        real(disk, base)

    real = Disk.compact
    monkeypatch.setattr(Disk, "compact", compact)
    monkeypatch.setattr("kvlearn.sim.disk.MemoryBackend", OnDisk)
    yield made
    for backend in made:
        backend.close()


@pytest.mark.parametrize("seed", range(6))
def test_nodes_lose_nothing_though_their_stores_lag_behind(seed, files):
    """Crashes, followers that need a snapshot in the middle of writes, defragmentations."""
    config = replace(RaftConfig.etcd(), snapshot_entries=20, kept_entries=5, chunk_records=4)
    cluster = Cluster(3, seed=seed, config=config)
    client, rng, wanted = cluster.client(), Random(seed), {}
    for number in range(150):
        key, value = f"k{rng.randrange(9)}", f"{number}"
        client.put(key, value)
        wanted[key] = value
        name = rng.choice(sorted(cluster.nodes))
        host = cluster._host(name)
        match rng.randrange(12):
            case 0 if all(cluster._host(n).node for n in cluster.nodes):
                cluster.crash(name)
            case 1 | 2 if host.node is None:
                cluster.restart(name)
            case 3 if host.node is not None:
                host.disk.backend.flush()
            case 4 if host.node is not None:
                host.disk.backend.defragment()
    for name in cluster.nodes:
        if cluster._host(name).node is None:
            cluster.restart(name)
    cluster.run(5)
    assert {key: client.get(key).value for key in wanted} == {
        key: value.encode() for key, value in wanted.items()
    }
    hosts = [cluster._host(name) for name in cluster.nodes]
    assert len({host.node.machine.store.hash() for host in hosts}) == 1
    assert any("loads the state of" in str(record) for record in cluster.trace), "no snapshot"
    for host in hosts:
        host.disk.backend.flush()
        assert Store(host.disk.backend).hash() == host.node.machine.store.hash()


def test_a_defragmentation_is_asked_for_as_ever(files):
    cluster = Cluster(1, seed=1)
    client = cluster.client()
    for number in range(100):
        client.put("key", "x" * 1000)
    host = cluster._host("n1")
    host.node.request(99, Defragment())
    assert any(answer.op_id == 99 and not answer.error for answer in host.node.responses)
    client.put("key", "after")
    assert client.get("key").value == b"after"


def test_a_full_disk_is_an_alarm_and_reads_go_on(files):
    cluster = Cluster(3, seed=1)
    client = cluster.client()
    client.put("key", "before")
    leader = cluster.wait_for_leader()
    backend = cluster._host(leader).disk.backend
    backend.no_room = lambda: "its disk is full"
    backend.flush()
    with pytest.raises(NoSpace):
        cluster.client(leader).put("key", "refused")
    cluster.run(1)
    assert [kind for _, kind in cluster._host(leader).node.machine.alarms] == ["NOSPACE"]
    assert client.get("key").value == b"before"
    backend.no_room = str
    assert not backend.is_full()


def test_a_view_goes_on_within_what_was_read_last(tmp_path):
    """Whoever had no use for all of it reads the rest again, without beginning anew."""
    with LazyLmdb(tmp_path) as backend:
        store = Store(backend)
        for number in range(100):
            store.put(b"%02d" % number, b"v")
        view = backend.freeze((("one", 1), ("two", 2)))
        whole, rng = [view[at] for at in range(len(view))], Random(7)
        view, at, seeks = backend.freeze((("one", 1), ("two", 2))), 0, []
        seek = view._seek
        view._seek = lambda to: (seeks.append(to), seek(to))
        while at < len(view):
            wanted = rng.randrange(1, 20)
            assert view[at : at + wanted] == tuple(whole[at : at + wanted])
            at += rng.randrange(0, wanted + 1)  # so many could be used
        assert not seeks
        assert view[50:60] == tuple(whole[50:60]) and view[5:7] == tuple(whole[5:7])
