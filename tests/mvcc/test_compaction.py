"""Compaction in steps: what can be read stays the same, what cannot goes, whatever happens between.

The random programs know all changes, so they can say what a compaction must leave; each failure
names the line that plays its program again.
"""

import copy
import random

import pytest

from kvlearn.errors import Compacted, FutureRevision
from kvlearn.mvcc.backend import MemoryBackend
from kvlearn.mvcc.revision import Revision
from kvlearn.mvcc.store import COMPACTED, FROM_KEY, Store
from tests.mvcc.naive import NaiveStore, plain, some_changes, some_key, some_range_end

REPLAY = "python -c 'from tests.mvcc.test_compaction import play; play({seed})'"


def sweep_all(store: Store, limit: int = 3) -> int:
    return sum(store.sweep(limit) for _ in iter(lambda: store.sweeping, False))


def records(store: Store) -> str:
    return " ".join(f"{Revision.parse(at)} {kv}" for at, kv in store.backend.range())


def of_one_key() -> Store:
    """foo: {2.0 4.0 6.1 8.0(t)} {9.0 15.0 15.1(t)} {16.0 18.0}; another key in between."""
    store = Store(MemoryBackend())
    for main in range(2, 19):
        with store.write() as txn:
            if main not in (2, 4, 8, 9, 15, 16, 18):
                txn.put(b"other", b"")
            if main in (2, 4, 6, 9, 15, 16, 18):
                txn.put(b"foo", b"%d" % main)
            if main in (8, 15):
                txn.delete_range(b"foo")
    return store


BEGINNING = "{2.0 4.0 6.1 8.0(t)} {9.0 15.0 15.1(t)} {16.0 18.0}"


@pytest.mark.parametrize(
    ("revision", "left", "created", "version"),
    [  # the first life that is left, when it began, and how many changes it has seen
        (1, BEGINNING, 2, 4),
        (2, BEGINNING, 2, 4),  # nothing is older than the first put
        (3, BEGINNING, 2, 4),
        (4, "{4.0 6.1 8.0(t)} {9.0 15.0 15.1(t)} {16.0 18.0}", 2, 4),
        (5, "{4.0 6.1 8.0(t)} {9.0 15.0 15.1(t)} {16.0 18.0}", 2, 4),
        (6, "{6.1 8.0(t)} {9.0 15.0 15.1(t)} {16.0 18.0}", 2, 4),
        (7, "{6.1 8.0(t)} {9.0 15.0 15.1(t)} {16.0 18.0}", 2, 4),
        (8, "{9.0 15.0 15.1(t)} {16.0 18.0}", 9, 3),  # the tombstone goes with its life
        (9, "{9.0 15.0 15.1(t)} {16.0 18.0}", 9, 3),
        (14, "{9.0 15.0 15.1(t)} {16.0 18.0}", 9, 3),
        (15, "{16.0 18.0}", 16, 2),  # put and deleted in one revision: nothing of it is newest
        (16, "{16.0 18.0}", 16, 2),
        (17, "{16.0 18.0}", 16, 2),
        (18, "{18.0}", 16, 2),
    ],
)
def test_what_a_compaction_leaves_of_one_key(revision, left, created, version):
    store, whole = of_one_key(), of_one_key().index[b"foo"]
    store.compact(revision)
    sweep_all(store)
    for index in (store.index[b"foo"], Store(store.backend).index[b"foo"]):  # and after a restart
        assert str(index) == f"foo: {left}"
        life = index.generations[0]
        assert (life.created.main, life.version) == (created, version)
        for at in range(revision, 20):
            now, before = index.get(at), whole.get(at)
            assert (now is None) == (before is None)
            if now:
                assert (now[0], now[1].main, now[2]) == (before[0], before[1].main, before[2])


def test_a_life_without_its_beginning_goes_on():
    store = of_one_key()
    store.compact(18)
    sweep_all(store)
    store.put(b"foo", b"19")
    store.delete(b"foo")
    store.put(b"foo", b"21")
    assert str(store.index[b"foo"]) == "foo: {18.0 19.0 20.0(t)} {21.0}"
    first, second = store.index[b"foo"].generations
    assert (first.created, first.version) == (Revision(16), 4)
    assert (second.created, second.version) == (Revision(21), 1)
    assert [kv.version for kv in store.history(b"foo")] == [2, 3, 0, 1]


def test_a_key_that_was_deleted_is_forgotten_with_its_tombstone():
    store = of_one_key()
    store.delete(b"foo")
    store.compact(19)
    sweep_all(store)
    assert b"foo" not in store.index and list(store.index) == [b"other"]
    assert store.put(b"foo", b"again") == 20
    assert store.get(b"foo").version == 1


def test_the_revision_survives_though_no_record_has_it():
    store = Store(MemoryBackend())
    store.put(b"a", b"1")
    store.delete(b"a")
    store.compact(3)
    sweep_all(store)
    assert records(store) == ""
    again = Store(store.backend)
    assert (again.revision, again.compacted, again.sweeping) == (3, 3, False)
    assert again.put(b"a", b"2") == 4


def test_only_forwards_and_not_into_the_future():
    store = of_one_key()
    with pytest.raises(FutureRevision):
        store.compact(19)
    store.compact(7)
    for revision in (7, 6, 0, -1):
        with pytest.raises(Compacted):
            store.compact(revision)
    store.compact(8)
    for revision in (1, 7):
        for read in (
            lambda at: store.get(b"foo", at),
            lambda at: store.range(b"nobody", b"", at, count_only=True),
        ):
            with pytest.raises(Compacted):
                read(revision)
    assert store.range(b"foo", b"", 8) == ([], 0)


def test_a_step_looks_at_so_many_records_and_not_more():
    store = Store(MemoryBackend())
    for _ in range(10):
        store.put(b"a", b"")
    store.compact(9)  # of 2 to 9 the last stays
    assert [(store.sweep(3), store.sweeping) for _ in range(4)] == [
        (3, True),
        (3, True),
        (1, True),
        (0, False),
    ]
    assert store.sweep(3) == 0
    assert str(store.index[b"a"]) == "a: {9.0 10.0 11.0}"


def test_a_second_compaction_begins_while_the_first_is_swept():
    store = of_one_key()
    store.compact(7)
    assert store.sweep(2) == 2
    store.compact(15)
    sweep_all(store)
    assert str(store.index[b"foo"]) == "foo: {16.0 18.0}"
    assert records(store) == "14.0 other= 16.0 foo=16 17.0 other= 18.0 foo=18"


@pytest.mark.parametrize("steps", range(14))
def test_a_restart_in_the_middle_of_a_sweep(steps):
    store = of_one_key()
    store.compact(15)
    for _ in range(steps):
        store.sweep(1)
    again = Store(store.backend)
    assert again.sweeping
    assert again.put(b"foo", b"19") == 19  # before the sweep has gone on
    assert [kv.version for kv in (again.get(b"foo"), again.get(b"foo", 16))] == [3, 1]
    sweep_all(again)
    assert str(again.index[b"foo"]) == "foo: {16.0 18.0 19.0}"
    assert not Store(again.backend).sweeping


def test_a_key_that_returns_while_its_tombstone_waits_to_be_swept():
    store = Store(MemoryBackend())
    store.put(b"a", b"1")
    store.delete(b"a")
    store.compact(3)
    store.sweep(1)
    store = Store(store.backend)
    assert str(store.index[b"a"]) == "a: {3.0(t)} {}" and store.get(b"a") is None
    store.put(b"a", b"2")
    sweep_all(store)
    assert str(store.index[b"a"]) == "a: {4.0}"
    assert store.index[b"a"].get(4) == (Revision(4), Revision(4), 1)


def test_a_copy_sweeps_on_from_where_the_store_stands():
    store = Store(MemoryBackend())
    for key in b"abcaaaaa":  # b and c stay, and are looked at but once
        store.put(bytes([key]), b"")
    store.compact(8)
    store.sweep(4)
    twin = copy.deepcopy(store)
    steps = [store.sweep(3) for _ in iter(lambda: store.sweeping, False)]
    assert [twin.sweep(3) for _ in iter(lambda: twin.sweeping, False)] == steps
    assert records(twin) == records(store)


# Random programs -------------------------------------------------------------------------------


class Told:
    """All changes ever made, the states they led to, and what is compacted: what must be true."""

    def __init__(self):
        self.naive = NaiveStore()
        self.changes: list[tuple[str, bytes, int, bool]] = []  # (revision, key, main, alive)
        self.compacted = 0

    def note(self, store: Store, changes: list[tuple], made: list) -> None:
        self.naive.change(changes)
        for sub, kv in enumerate(made):
            at = str(Revision(kv.mod_revision, sub))
            self.changes.append((at, kv.key, kv.mod_revision, bool(kv.version)))

    def left(self) -> list[str]:
        """The revisions whose records a finished sweep leaves."""
        newest = {key: at for at, key, main, _ in self.changes if main <= self.compacted}
        return [
            at
            for at, key, main, alive in self.changes
            if main > self.compacted or (alive and newest[key] == at)
        ]


def shown(store: Store) -> list[tuple]:
    """The lives that can be read; of one that is only waiting to be swept nobody knows much."""
    return [
        (key, life.revisions, life.version, life.ended)
        for key, index in store.index.items()
        for life in index.generations
        if not (life.ended and life.revisions[-1].main <= store.compacted)
    ]


def compare(store: Store, told: Told, rng: random.Random) -> None:
    """Everything that can be read, and that the rest cannot."""
    naive = told.naive
    assert (store.revision, store.compacted) == (naive.revision, told.compacted)
    for revision in range(1, naive.revision + 1):
        if revision < told.compacted:
            with pytest.raises(Compacted):
                store.range(some_key(rng), some_range_end(rng), revision)
            continue
        state = naive.range(b"\0", FROM_KEY, revision)
        assert plain(store.range(b"\0", FROM_KEY, revision)[0]) == state
        for key, *_, created, _mod, version in state:
            _, born, count = store.index[key].get(revision)
            assert (born.main, count) == (created, version)
    assert plain(store.range(b"\0", FROM_KEY)[0]) == naive.range(b"\0", FROM_KEY)
    assert shown(store) == shown(Store(store.backend))
    # However far the sweep is, others are given the same, and count the same.
    given = list(store.records(store.revision))
    assert [str(Revision.parse(at)) for at, _ in given] == told.left()
    done = copy.deepcopy(store)
    sweep_all(done, rng.choice([1, 2, 1000]))
    assert list(done.backend.range()) == given and done.hash() == store.hash()


def play(seed: int) -> None:
    """One program."""
    rng = random.Random(seed)
    backend = MemoryBackend(order=rng.choice([3, 4, 64]))
    store, told = Store(backend), Told()
    saved = copy.deepcopy(told)
    for _ in range(rng.randrange(5, 60)):
        act = rng.random()
        if act < 0.55:
            changes = some_changes(rng)
            with store.write() as txn:
                for verb, key, other in changes:
                    txn.put(key, other) if verb == "put" else txn.delete_range(key, other)
            told.note(store, changes, txn.changes)
        elif act < 0.65 and told.compacted < store.revision:
            told.compacted = rng.randrange(told.compacted + 1, store.revision + 1)
            store.compact(told.compacted)
        elif act < 0.82:
            store.sweep(rng.choice([1, 2, 3, 10]))
        elif act < 0.88:
            backend.commit()
            saved = copy.deepcopy(told)
        elif act < 0.92:  # a restart
            store = Store(backend)
        elif act < 0.96:  # a crash
            backend.rollback()
            store, told = Store(backend), copy.deepcopy(saved)
        elif act < 0.98:
            store = copy.deepcopy(store)
            backend = store.backend
        else:  # another node takes the state over
            facts = [(COMPACTED, store.compacted)]
            other = MemoryBackend(order=4)
            other.replace([*facts, *store.records(store.revision)])
            store, backend, saved = Store(other), other, copy.deepcopy(told)
        if rng.random() < 0.1:
            compare(store, told, rng)
    compare(store, told, rng)


@pytest.mark.parametrize("batch", range(16))
def test_random_programs(batch):
    for seed in range(25 * batch, 25 * (batch + 1)):
        try:
            play(seed)
        except Exception as error:
            raise AssertionError(REPLAY.format(seed=seed)) from error
