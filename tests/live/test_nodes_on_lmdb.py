"""Whole nodes on files: a cluster tells the same story, record for record, as on memory."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

import pytest

from kvlearn import Cluster
from kvlearn.mvcc.store import Store
from kvlearn.raft import RaftConfig

pytest.importorskip("lmdb", reason="without the package lmdb no store lies on a disk")

from kvlearn.live.lmdb_backend import LmdbBackend  # noqa: E402


def story(seed: int) -> Cluster:
    """Writes, a follower that needs a snapshot, a compaction, a leader's crash."""
    config = replace(RaftConfig.etcd(), snapshot_entries=20, kept_entries=5)
    cluster = Cluster(3, seed=seed, config=config)
    client = cluster.client()
    for number in range(15):
        client.put(f"k{number % 4}", f"{number}")
    late = next(name for name in cluster.nodes if name != cluster.leader)
    cluster.crash(late)
    for number in range(60):
        client.put(f"k{number % 4}", f"{number}")
    cluster.restart(late)
    client.delete("k1")
    client.compact(50)
    cluster.run(3)
    first = cluster.wait_for_leader()
    cluster.crash(first)
    client.put("after", "the crash")
    cluster.restart(first)
    cluster.run(3)
    return cluster


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Every disk of the simulator gets a folder; a crash closes it and opens it again."""
    number, opened = count(), []

    class OnDisk(LmdbBackend):
        def __init__(self):
            super().__init__(tmp_path / str(next(number)), map_bytes=1, fsync=False)
            opened.append(self)

        def rollback(self):
            self.close()
            super().__init__(self.path, fsync=False)

    monkeypatch.setattr("kvlearn.sim.disk.MemoryBackend", OnDisk)
    yield opened
    for backend in opened:
        backend.close()


@pytest.mark.parametrize("seed", [1, 2])
def test_a_cluster_on_files_tells_the_same_story(seed, files, monkeypatch):
    on_files = list(map(str, story(seed).trace))
    assert len(files) == 3
    assert any("loads the state of" in line for line in on_files), "nobody needed a snapshot"
    monkeypatch.undo()
    memory = story(seed)
    assert on_files == list(map(str, memory.trace))
    hashes = {Store(memory._host(name).disk.backend).hash() for name in memory.nodes}
    for backend in files:
        backend.rollback()
        hashes.add(Store(backend).hash())
    assert len(hashes) == 1
