"""Compaction as a request (facts 8, 9, 54, 55), and reads around it."""

import pytest

from kvlearn.errors import Compacted
from kvlearn.kv.leases import Compact, CompactResult
from kvlearn.kv.machine import KVMachine
from kvlearn.kv.requests import FROM_KEY, DeleteRange, Put, Range
from kvlearn.kv.txn import Txn
from kvlearn.mvcc.backend import MemoryBackend
from tests.kv.driver import Driver

FUTURE = ("OUT_OF_RANGE", "etcdserver: mvcc: required revision is a future revision")
COMPACTED = ("OUT_OF_RANGE", "etcdserver: mvcc: required revision has been compacted")


@pytest.fixture
def do() -> Driver:
    """2: a=1, 3: a=2, 4: b=1, 5: delete a, 6: b=2, 7: c=1."""
    do = Driver()
    for request in (
        Put(b"a", b"1"), Put(b"a", b"2"), Put(b"b", b"1"), DeleteRange(b"a"), Put(b"b", b"2"),
        Put(b"c", b"1"),
    ):  # fmt: skip
        do(request)
    return do


def at(do: Driver, revision: int) -> str:
    return str(do.machine.read(Range(b"\0", FROM_KEY, revision=revision)))


@pytest.mark.parametrize("swept", [False, True])
def test_the_compacted_revision_can_be_read_and_nothing_below(do, swept):
    before = [at(do, revision) for revision in range(8)]
    assert do(Compact(4)) == CompactResult()
    if swept:
        do.machine.store.sweep()
    assert do.machine.revision == 7 and not do.machine.changes
    for revision in (1, 2, 3):
        for read in (
            Range(b"a", revision=revision),
            Range(b"nobody", revision=revision, count_only=True),
            Range(b"a", revision=revision, serializable=True),
        ):
            with pytest.raises(Compacted):
                do.machine.read(read)
            assert do.refusal(Txn(success=(read,))) == COMPACTED
    assert [at(do, revision) for revision in (0, 4, 5, 6, 7)] == [
        before[r] for r in (0, 4, 5, 6, 7)
    ]
    assert at(do, -1) == before[0], "below 0 is the present"


@pytest.mark.parametrize(
    ("first", "second", "answer"),
    [
        (4, 4, COMPACTED),
        (4, 3, COMPACTED),
        (4, 0, COMPACTED),
        (4, -1, COMPACTED),
        (7, 7, COMPACTED),
        (4, 8, FUTURE),
        (4, 99, FUTURE),
    ],
)
def test_a_compaction_goes_forward_and_not_beyond(do, first, second, answer):
    do(Compact(first))
    assert do.refusal(Compact(second)) == answer
    assert do.refusal(Compact(second, physical=True)) == answer


def test_the_records_go_step_by_step(do):
    do(Compact(5))
    store = do.machine.store
    assert store.sweeping and len(list(do.machine.backend.range())) == 6
    assert store.sweep(2) == 2 and store.sweeping  # a=1, a=2
    do(Compact(6))
    while store.sweeping:
        store.sweep(2)
    assert [str(kv) for _, kv in do.machine.backend.range()] == ["b=2", "c=1"]


def test_a_living_key_keeps_its_life(do):
    do(Compact(7))
    do.machine.store.sweep()
    (b,) = do.machine.read(Range(b"b")).kvs
    assert (b.create_revision, b.version) == (4, 2)
    do(Put(b"a", b"new"))
    (a,) = do.machine.read(Range(b"a")).kvs
    assert (a.create_revision, a.version) == (8, 1)


@pytest.mark.parametrize("how", ["restart", "snapshot"])
@pytest.mark.parametrize("swept", [False, True])
def test_a_revision_without_records_is_not_given_twice(do, how, swept):
    do(DeleteRange(b"\0", FROM_KEY))
    do(Compact(8))
    if swept:
        do.machine.store.sweep()
    machine = do.machine
    if how == "restart":
        machine.commit()
        do.machine = KVMachine(machine.backend)
    else:
        do.machine = KVMachine(MemoryBackend())
        do.machine.load(machine.save())
    assert do.machine.revision == 8 and do.state == ""
    assert do.refusal(Compact(8)) == COMPACTED
    do(Put(b"z", b"1"))
    assert do.state == "z=1@9"
