"""Random programs on the store and on a list of changes: whatever is read, both say the same.

A program is two dozen requests, with compactions, sweeps in steps, restarts and snapshots between.
After it every key is read at every revision. `KVLEARN_PROGRAMS=100000` plays more of them.
"""

from __future__ import annotations

import os
from random import Random

import pytest

from kvlearn.check.naive import NaiveStore
from kvlearn.errors import Compacted, FutureRevision, RequestError
from kvlearn.kv.leases import Compact, LeaseGrant, LeaseRevoke
from kvlearn.kv.machine import KVMachine
from kvlearn.kv.requests import Command, DeleteRange, Put, Range
from kvlearn.kv.txn import RESULTS, TARGETS, Compare, Txn
from kvlearn.mvcc.backend import MemoryBackend

PROGRAMS = int(os.environ.get("KVLEARN_PROGRAMS", 10_000))
STEPS = 24  # requests in a program
PIECES = 20  # the programs are split, so that a failure comes early
KEYS = (b"a", b"ab", b"a\xff", b"b", b"\x00", b"\xff")
ENDS = (b"", b"", b"", b"\x00", b"b", b"a\xff")
LEASES = (0, 0, 0, 1, 2)
REPLAY = "python -c 'from tests.mvcc.test_programs import play; play({seed}, aloud=True)'"


def some_put(rng: Random) -> Put:
    kept = rng.random()
    if kept < 0.06:
        return Put(rng.choice(KEYS), b"", rng.choice(LEASES), ignore_value=True)
    if kept < 0.12:
        return Put(rng.choice(KEYS), b"%d" % rng.randrange(9), ignore_lease=True)
    value = b"%d" % rng.randrange(9)
    return Put(rng.choice(KEYS), value, rng.choice(LEASES), prev_kv=kept > 0.5)


def some_operation(rng: Random, revision: int):
    draw = rng.random()
    if draw < 0.55:
        return some_put(rng)
    if draw < 0.8:
        return DeleteRange(rng.choice(KEYS), rng.choice(ENDS), prev_kv=draw < 0.7)
    asked = rng.choice((0, 0, revision, rng.randrange(-1, revision + 2)))
    return Range(rng.choice(KEYS), rng.choice(ENDS), rng.randrange(3), asked)


def some_compare(rng: Random) -> Compare:
    target = rng.choice(tuple(TARGETS))
    operand = b"%d" % rng.randrange(9) if target == "value" else rng.randrange(5)
    return Compare(rng.choice(KEYS), target, rng.choice(tuple(RESULTS)), operand, rng.choice(ENDS))


def some_txn(rng: Random, revision: int, deep: bool = True) -> Txn:
    def branch() -> tuple:
        ops = [some_operation(rng, revision) for _ in range(rng.randrange(4))]
        if deep and rng.random() < 0.2:
            ops.append(some_txn(rng, revision, deep=False))
        return tuple(ops)

    compares = tuple(some_compare(rng) for _ in range(rng.randrange(3)))
    return Txn(compares, branch(), branch())


def some_request(rng: Random, revision: int):
    draw = rng.random()
    if draw < 0.45:
        return some_put(rng)
    if draw < 0.6:
        return DeleteRange(rng.choice(KEYS), rng.choice(ENDS))
    if draw < 0.78:
        return some_txn(rng, revision)
    if draw < 0.86:
        return LeaseGrant(rng.randrange(5), rng.choice((1, 2)))
    if draw < 0.92:
        return LeaseRevoke(rng.choice((1, 2)))
    return Compact(rng.randrange(revision + 2), physical=draw > 0.98)


class Both:
    """The store and the list, and the same done to both."""

    def __init__(self, aloud: bool = False):
        self.machine, self.naive, self.index = KVMachine(MemoryBackend()), NaiveStore(), 0
        self.aloud = aloud

    def apply(self, request) -> None:
        """The same request to both: the same answer, and the same changes."""
        self.index += 1
        if self.aloud:
            print(request)
        got, error = self.machine.apply(self.index, 1, Command("n1", self.index, request))
        try:
            self.machine.check(request)
        except RequestError:
            assert error and not self.machine.changes  # the list looks at no such request
            return
        known = len(self.naive.changes)
        told = self.naive.apply(request)
        assert (got, type(error).__name__ if error else "") == told, request
        made = [(kv.version > 0, kv) for kv in self.machine.changes]
        assert made == [(change.put, change.kv) for change in self.naive.changes[known:]]
        assert self.machine.revision == self.naive.revision

    def disturb(self, rng: Random) -> None:
        """What nobody may see: a step of the sweep, a restart, a snapshot on a new node."""
        draw = rng.random()
        if draw < 0.5:
            self.machine.store.sweep(rng.randrange(1, 4))
        elif draw < 0.55:
            self.machine.commit()
            self.machine = KVMachine(self.machine.backend)
        elif draw < 0.6:
            records, self.machine = self.machine.save(), KVMachine(MemoryBackend())
            self.machine.load(records)

    def compare(self) -> None:
        """Every key at every revision, and every state as a whole."""
        store, naive = self.machine.store, self.naive
        oldest = max(naive.compacted, 1)
        for revision in range(oldest, naive.revision + 1):
            for key in KEYS:
                got, want = store.get(key, revision), naive.get(key, revision)
                assert got == want, f"{key} at {revision}: {got}, not {want}"
            assert store.range(b"\0", b"\0", revision)[0] == naive.range(b"\0", b"\0", revision)
        for key in KEYS:
            assert store.get(key) == naive.get(key)
        for revision, error in (oldest - 1, Compacted), (naive.revision + 1, FutureRevision):
            if revision > 0:
                with pytest.raises(error):
                    store.get(KEYS[0], revision)


def play(seed: int, aloud: bool = False) -> Both:
    """One program."""
    rng = Random(seed)
    both = Both(aloud)
    for _ in range(STEPS):
        both.apply(some_request(rng, both.machine.revision))
        both.disturb(rng)
    both.compare()  # often in the middle of a sweep
    while both.machine.store.sweeping:
        both.machine.store.sweep(3)
    both.compare()
    return both


@pytest.mark.parametrize("piece", range(PIECES))
def test_programs(piece):
    for seed in range(piece, PROGRAMS, PIECES):
        try:
            play(seed)
        except Exception as error:
            raise AssertionError(REPLAY.format(seed=seed)) from error


def test_the_programs_do_what_they_are_for():
    """Of 300 programs many compact, are read in mid-sweep, revoke leases and are refused."""
    compacted = sweeping = leased = 0
    for seed in range(300):
        both = play(seed)
        compacted += both.naive.compacted > 0
        leased += any(change.kv.lease for change in both.naive.changes)
        rng, again = Random(seed), Both()
        for _ in range(STEPS):
            again.apply(some_request(rng, again.machine.revision))
            again.disturb(rng)
        sweeping += again.machine.store.sweeping
    assert compacted > 150 and sweeping > 30 and leased > 30


def test_a_store_that_forgets_too_much_is_seen():
    """The comparison is no formality: a sweep that takes one record more is found."""
    both = Both()
    for value in b"1", b"2", b"3":
        both.apply(Put(b"a", value))
    both.apply(Compact(3))
    store = both.machine.store
    store._survives = lambda at, record: False
    while store.sweeping:
        store.sweep()
    with pytest.raises(AssertionError, match="b'a' at 3"):
        both.compare()
