"""Leases through the log, and what only the leader's clock knows (facts 46 to 53, 18, 19, 21)."""

import random

import pytest

from kvlearn.errors import InvalidArgument
from kvlearn.kv.leases import (
    Compact,
    LeaseCheckpoint,
    LeaseGrant,
    LeaseKeepAlive,
    LeaseLeases,
    LeaseResult,
    LeaseRevoke,
    LeasesResult,
    LeaseTimeResult,
    LeaseTimeToLive,
)
from kvlearn.kv.machine import LEASES, KVMachine
from kvlearn.kv.requests import FROM_KEY, Command, DeleteRange, Put, Range
from kvlearn.mvcc.backend import MemoryBackend
from tests.kv.driver import Driver

NOT_FOUND = ("NOT_FOUND", "etcdserver: requested lease not found")
EXISTS = ("FAILED_PRECONDITION", "etcdserver: lease already exists")
TOO_LARGE = ("OUT_OF_RANGE", "etcdserver: too large lease TTL")


@pytest.fixture
def do() -> Driver:
    """Leases 7 (100 s) and 8 (50 s); keys a, c on 7, b on 8, d on none."""
    do = Driver()
    assert do(LeaseGrant(100, 7)) == LeaseResult(7, 100)
    assert do(LeaseGrant(50, 8)) == LeaseResult(8, 50)
    for put in (Put(b"c", b"1", 7), Put(b"a", b"2", 7), Put(b"b", b"3", 8), Put(b"d", b"4")):
        do(put)
    return do


def keys(do: Driver, id: int) -> list[bytes]:
    return sorted(do.machine.lessor.leases[id].keys)


def test_granting_moves_no_revision(do):
    assert do(LeaseGrant(0, -5)) == LeaseResult(-5, 2)
    assert do.machine.revision == 5 and not do.machine.changes


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        (LeaseGrant(10, 7), EXISTS),
        (LeaseGrant(9_000_000_001, 9), TOO_LARGE),
        (LeaseGrant(9_000_000_001, 7), TOO_LARGE),
        (LeaseRevoke(9), NOT_FOUND),
        (LeaseRevoke(0), NOT_FOUND),
        (Put(b"a", b"x", 9), NOT_FOUND),
        (Put(b"nobody", lease=9, ignore_value=True), NOT_FOUND),
    ],
)
def test_refusals(do, request_, answer):
    do.machine.check(request_)
    assert do.refusal(request_) == answer


@pytest.mark.parametrize(
    "request_",
    [LeaseGrant("10", 7), LeaseGrant(10, None), LeaseRevoke("7"), Compact("now"),
     LeaseGrant(10, 1 << 63), LeaseGrant(10, -(1 << 63) - 1), LeaseRevoke(1 << 64)],
)  # fmt: skip
def test_what_no_node_could_carry_out(do, request_):
    with pytest.raises(InvalidArgument):
        do.machine.check(request_)


def test_revoking_deletes_in_byte_order_at_one_revision(do):
    do(Put(b"\xff", b"", 7))
    assert do(LeaseRevoke(7)) == LeaseResult(7)
    assert do.changes == ["-a", "-c", "-\\xff"]
    assert do.machine.revision == 7
    assert do.state == "b=3@4 d=4@5"
    assert do.refusal(LeaseRevoke(7)) == NOT_FOUND


def test_revoking_without_keys_moves_no_revision(do):
    do(DeleteRange(b"b"))
    assert do(LeaseRevoke(8)) == LeaseResult(8)
    assert do.machine.revision == 6 and not do.machine.changes


def test_what_was_deleted_or_moved_away_is_not_touched(do):
    do(Put(b"a", b"x", 8))
    do(DeleteRange(b"c"))
    do(Put(b"c", b"again"))
    do(LeaseRevoke(7))
    assert do.state == "a=x@6 b=3@4 c=again@8 d=4@5"
    do(LeaseRevoke(8))
    assert do.changes == ["-a", "-b"]


@pytest.mark.parametrize(
    ("put", "lease", "value"),
    [
        (Put(b"a", b"x"), 0, "x"),
        (Put(b"a", ignore_value=True), 0, "2"),  # detached too
        (Put(b"a", b"x", ignore_lease=True), 7, "x"),
        (Put(b"a", ignore_value=True, ignore_lease=True), 7, "2"),
        (Put(b"a", b"x", 8), 8, "x"),
        (Put(b"a", b"x", 7), 7, "x"),
        (Put(b"a", lease=8, ignore_value=True), 8, "2"),
    ],
)
def test_which_lease_a_put_leaves(do, put, lease, value):
    result = do(Put(put.key, put.value, put.lease, True, put.ignore_value, put.ignore_lease))
    assert result.prev_kv.lease == 7, "the whole previous record"
    (kv,) = do.machine.read(Range(b"a")).kvs
    assert (kv.lease, kv.text, kv.version) == (lease, value, 2)
    assert do.machine.lessor.lease_of(b"a") == lease
    assert (b"a" in keys(do, 7)) == (lease == 7)


def test_old_revisions_show_the_lease_that_was(do):
    do(LeaseRevoke(7))
    (kv,) = do.machine.read(Range(b"a", revision=5)).kvs
    assert kv.lease == 7


# The leader's clock -----------------------------------------------------------------------------


def leading(do: Driver, now: float = 0.0) -> KVMachine:
    do.machine.lessor.promote(now)
    return do.machine


def test_time_to_live(do):
    machine = leading(do)
    ask = machine.ask_lessor
    assert ask(LeaseTimeToLive(7), 30.5) == LeaseTimeResult(7, 69, 100)
    assert ask(LeaseTimeToLive(7, keys=True), 0.0) == LeaseTimeResult(7, 100, 100, (b"a", b"c"))
    assert ask(LeaseTimeToLive(8, keys=True), 50.0) == LeaseTimeResult(8, -1), "it has run out"
    assert ask(LeaseTimeToLive(9, keys=True), 0.0) == LeaseTimeResult(9, -1)


def test_keep_alive(do):
    machine = leading(do)
    ask = machine.ask_lessor
    assert ask(LeaseKeepAlive(8), 49.0) == LeaseResult(8, 50)
    assert ask(LeaseTimeToLive(8), 60.0) == LeaseTimeResult(8, 39, 50)
    assert ask(LeaseKeepAlive(8), 99.0) == LeaseResult(8, 0), "too late"
    assert ask(LeaseKeepAlive(9), 0.0) == LeaseResult(9, 0)
    assert machine.revision == 5


def test_the_list_begins_with_what_runs_out_first(do):
    machine = leading(do)
    assert machine.ask_lessor(LeaseLeases(), 0.0) == LeasesResult((8, 7))
    machine.ask_lessor(LeaseKeepAlive(7), 10.0)  # until 110
    machine.ask_lessor(LeaseKeepAlive(8), 49.0)  # until 99
    assert machine.ask_lessor(LeaseLeases(), 95.0) == LeasesResult((8, 7))
    machine.ask_lessor(LeaseKeepAlive(8), 95.0)  # until 145
    assert machine.ask_lessor(LeaseLeases(), 96.0) == LeasesResult((7, 8))


# Snapshots and restarts -------------------------------------------------------------------------


def reborn(machine: KVMachine, how: str) -> KVMachine:
    if how == "restart":
        machine.commit()
        return KVMachine(machine.backend)
    other = KVMachine(MemoryBackend())
    other.load(machine.save())
    return other


@pytest.mark.parametrize("how", ["restart", "snapshot"])
def test_leases_and_their_keys_survive(do, how):
    do(Put(b"a", b"x"))  # detached
    do(LeaseGrant(10, 9))
    do(LeaseRevoke(9))
    do(LeaseCheckpoint(((7, 30), (9, 5))))
    do(Compact(6))
    do.machine = reborn(do.machine, how)
    assert do.machine.lessor.save() == ((7, 100, 30), (8, 50, 0))
    assert (keys(do, 7), keys(do, 8)) == ([b"c"], [b"b"])
    assert leading(do).ask_lessor(LeaseTimeToLive(7), 0.0).ttl_s == 30
    do(LeaseRevoke(7))
    assert do.changes == ["-c"] and do.machine.revision == 7
    do(DeleteRange(b"\0", FROM_KEY))
    assert keys(do, 8) == []


def test_the_leases_are_written_once_a_batch_and_only_if_one_has_changed(do, monkeypatch):
    written: list[tuple] = []
    backend, set_meta = do.machine.backend, do.machine.backend.set_meta

    def noted(name, fact):
        set_meta(name, fact)
        if name == LEASES:
            written.append(fact)

    monkeypatch.setattr(backend, "set_meta", noted)
    do(LeaseRevoke(8))
    do.machine.commit()
    assert written == [((7, 100, 0),)]
    do(Put(b"a", b"x", 7))
    assert do.refusal(LeaseGrant(5, 7)) == EXISTS
    do.machine.commit()
    assert len(written) == 1
    do(LeaseCheckpoint(((7, 30),)))
    do.machine.commit()
    assert written[1:] == [((7, 100, 30),)]


@pytest.fixture(params=["memory", "lmdb"])
def backend(request, tmp_path):
    if request.param == "memory":
        yield MemoryBackend()
        return
    pytest.importorskip("lmdb", reason="without the package lmdb no store lies on a disk")
    from kvlearn.live.lmdb_backend import LmdbBackend

    with LmdbBackend(tmp_path / "n1", fsync=False) as backend:
        yield backend


@pytest.mark.parametrize("seed", range(5))
def test_a_crash_leaves_leases_and_applied_index_of_one_and_the_same_commit(backend, seed):
    rng, machine = random.Random(seed), KVMachine(backend)
    durable, crashes = (0, machine.save()), 0
    for _ in range(300):
        id, index = rng.randrange(1, 6), machine.applied + 1
        request = rng.choice(
            [
                LeaseGrant(rng.randrange(2, 90), id), LeaseRevoke(id), LeaseCheckpoint(((id, 9),)),
                Put(b"%d" % rng.randrange(4), b"x", id), Put(b"1", b"x"),
            ]
        )  # fmt: skip
        machine.apply(index, 1, Command("n1", index, request))
        if rng.random() < 0.2:
            machine.commit()
            durable = index, machine.save()
        elif rng.random() < 0.1:
            backend.rollback()  # what a crash leaves
            machine, crashes = KVMachine(backend), crashes + 1
            assert (machine.applied, machine.save()) == durable, f"seed {seed}, entry {index}"
    assert crashes > 10
