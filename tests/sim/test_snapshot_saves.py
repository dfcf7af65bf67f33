"""A snapshot that arrives while the disk is busy: the log goes only when the snapshot is there."""

import pytest

from kvlearn import Cluster, RaftConfig
from kvlearn.kv.machine import KVMachine
from kvlearn.mvcc.backend import MemoryBackend
from kvlearn.raft import ConfState, Entry, EntryID
from kvlearn.raft.messages import AppendEntries, InstallSnapshot
from kvlearn.raft.types import ZERO

LAST = EntryID(1, 7)
MEMBERS = ConfState(("n1", "n2", "n3"))


def busy() -> Cluster:
    """n1 saves three entries, two of them committed, and gets a snapshot of seven meanwhile."""
    cluster = Cluster(3, seed=1, config=RaftConfig(), fsync_s=0.01, invariants=False)
    host = cluster._hosts["n1"]
    entries = tuple(Entry(k, 1) for k in (1, 2, 3))
    host.node.step(AppendEntries("n2", "n1", 1, ZERO, entries, 2))
    host._turn()
    assert host.saving
    store = KVMachine(MemoryBackend())
    for index in range(1, LAST.index + 1):
        store.apply(index, LAST.term, None)
    data = store.save()
    host.node.step(InstallSnapshot("n2", "n1", 1, LAST, MEMBERS, 0, data, len(data)))
    host._turn()
    return cluster


@pytest.mark.parametrize("run_s, last", [(0.0, (0, 1, 2, 3)), (0.015, (3, 7)), (0.025, (7,))])
@pytest.mark.parametrize("compacts", [False, True])
def test_a_crash_at_any_moment_leaves_a_log_that_fits_the_store(run_s, last, compacts):
    cluster = busy()
    cluster.run(run_s)
    if compacts:
        cluster.compact("n1")
    cluster.crash("n1"), cluster.restart("n1")
    log = cluster._hosts["n1"].node.raft.log
    assert log.last_index in last and log.base.index <= log.applied
    cluster.run(0.1)


def test_the_old_log_goes_with_the_snapshot():
    cluster = busy()
    disk = cluster._hosts["n1"].disk
    cluster.run(0.015)
    assert (disk.base, [e.index for e in disk.entries]) == (ZERO, [1, 2, 3]), "not saved yet"
    cluster.run(0.01)
    assert (disk.base, disk.entries) == (LAST, [])
