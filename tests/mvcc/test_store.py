"""The store: what each revision holds, whatever happened before and after it."""

import copy
import random

import pytest

from kvlearn.errors import FutureRevision
from kvlearn.mvcc.backend import MemoryBackend
from kvlearn.mvcc.revision import KeyValue, Revision
from kvlearn.mvcc.store import FROM_KEY, Store
from tests.mvcc.naive import NaiveStore, plain, some_changes, some_key, some_range_end


def filled() -> Store:
    """2: a=1, 3: b=2, 4: a=3, 5: delete a, 6: c=4 and d=5 together, 7: a=6."""
    store = Store(MemoryBackend())
    store.put(b"a", b"1")
    store.put(b"b", b"2")
    store.put(b"a", b"3")
    store.delete(b"a")
    with store.write() as txn:
        txn.put(b"c", b"4")
        txn.put(b"d", b"5")
    store.put(b"a", b"6")
    return store


def records(store: Store) -> list[str]:
    return [f"{Revision.parse(at)} {kv}" for at, kv in store.backend.range()]


# Revisions (etcd-semantics 1-6) --------------------------------------------------------------


def test_a_new_store_is_at_revision_1_and_the_first_write_is_2():
    store = Store(MemoryBackend())
    assert store.revision == 1
    assert store.put(b"a", b"1") == 2


def test_changes_of_one_transaction_share_a_revision_and_are_numbered():
    store = filled()
    assert records(store) == [
        "2.0 a=1",
        "3.0 b=2",
        "4.0 a=3",
        "5.0 a=",
        "6.0 c=4",
        "6.1 d=5",
        "7.0 a=6",
    ]
    with store.write() as txn:
        txn.put(b"x", b"")
        txn.delete_range(b"c", b"e")
    assert records(store)[-3:] == ["8.0 x=", "8.1 c=", "8.2 d="]
    assert [kv.version for kv in txn.changes] == [1, 0, 0]
    assert store.revision == 8


def test_what_changes_nothing_does_not_move_the_revision():
    store = filled()
    assert store.delete(b"nobody") == 7
    with store.write() as txn:
        assert txn.delete_range(b"x", b"z") == []
    with store.write():
        pass
    assert store.revision == 7


def test_the_same_value_again_is_a_full_write():
    store = filled()
    assert store.put(b"b", b"2") == 8
    assert store.get(b"b") == KeyValue(b"b", b"2", 3, 8, 2)


def test_create_revision_and_version_belong_to_one_life():
    store = filled()
    assert store.get(b"a", 4) == KeyValue(b"a", b"3", 2, 4, 2)
    assert store.get(b"a", 5) is None
    assert store.get(b"a") == KeyValue(b"a", b"6", 7, 7, 1)


def test_a_tombstone_holds_the_key_and_its_revision_and_nothing_else():
    store = Store(MemoryBackend())
    store.put(b"a", b"1", lease=5)
    store.delete(b"a")
    assert store.history(b"a") == [
        KeyValue(b"a", b"1", 2, 2, 1, lease=5),
        KeyValue(b"a", b"", 0, 3, 0, 0),
    ]
    assert store.history(b"nobody") == []


# Reading ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "range_end", "revision", "limit", "found", "count"),
    [
        (b"a", b"", 0, 0, "a=6", 1),
        (b"zz", b"", 0, 0, "", 0),
        (b"a", b"d", 0, 0, "a=6 b=2 c=4", 3),
        (b"b", FROM_KEY, 0, 0, "b=2 c=4 d=5", 3),
        (b"\0", FROM_KEY, 0, 0, "a=6 b=2 c=4 d=5", 4),
        (b"a", b"a", 0, 0, "", 0),  # an empty interval, not an error
        (b"c", b"a", 0, 0, "", 0),  # nor is an inverted one
        (b"a", b"z", 0, 2, "a=6 b=2", 4),
        (b"a", b"z", 0, -1, "a=6 b=2 c=4 d=5", 4),
        (b"a", b"z", -3, 0, "a=6 b=2 c=4 d=5", 4),
        (b"a", b"z", 1, 0, "", 0),
        (b"a", b"z", 3, 0, "a=1 b=2", 2),
        (b"a", b"z", 3, 1, "a=1", 2),
        (b"a", b"z", 5, 0, "b=2", 1),
        (b"a", b"z", 6, 0, "b=2 c=4 d=5", 3),
        (b"a", b"z", 7, 0, "a=6 b=2 c=4 d=5", 4),
        (b"a", b"", 4, 0, "a=3", 1),
        (b"c", b"a", 4, 0, "", 0),
    ],
)
def test_range(key, range_end, revision, limit, found, count):
    store = filled()
    kvs, total = store.range(key, range_end, revision, limit)
    assert (" ".join(map(str, kvs)), total) == (found, count)
    assert store.range(key, range_end, revision, limit, count_only=True) == ([], count)


def test_the_future_cannot_be_read():
    store = filled()
    for read in (
        lambda: store.get(b"a", 8),
        lambda: store.get(b"nobody", 8),
        lambda: store.range(b"x", b"y", 8),
        lambda: store.hash(8),
    ):
        with pytest.raises(FutureRevision) as caught:
            read()
        text = "etcdserver: mvcc: required revision is a future revision"
        assert (caught.value.code, caught.value.text) == ("OUT_OF_RANGE", text)
        assert caught.value.hint == "8 was asked for, the newest is 7"


# Transactions ----------------------------------------------------------------------------------


def test_reads_inside_a_transaction_see_its_own_writes_and_the_past():
    store = filled()
    with store.write() as txn:
        assert txn.revision == 7
        txn.put(b"a", b"new")
        assert txn.revision == 8
        assert store.get(b"a") == KeyValue(b"a", b"new", 7, 8, 2)
        assert store.get(b"a", 7).text == "6"
        with pytest.raises(FutureRevision):  # not the revision that it is about to make
            store.get(b"a", 8)
        assert [str(kv) for kv in txn.delete_range(b"a", b"c")] == ["a=new", "b=2"]
        assert store.range(b"a", b"z", count_only=True) == ([], 2)
        assert store.range(b"a", b"z", 7, count_only=True) == ([], 4)
    assert store.revision == 8
    assert str(store.index[b"a"]) == "a: {2.0 4.0 5.0(t)} {7.0 8.0 8.1(t)} {}"


def test_a_transaction_may_fail_only_before_its_first_change():
    store = filled()
    with pytest.raises(KeyError), store.write():
        raise KeyError("looked before it leapt")
    assert store.revision == 7
    with pytest.raises(AssertionError, match="after its first change"), store.write() as txn:
        txn.put(b"a", b"1")
        raise KeyError("leapt before it looked")


# Restart, copy, hash ---------------------------------------------------------------------------


def test_a_restart_restores_index_and_revision():
    store = filled()
    again = Store(store.backend)
    assert again.revision == 7
    assert list(map(str, again.index.values())) == list(map(str, store.index.values()))
    assert again.put(b"a", b"7") == 8
    assert again.get(b"a") == KeyValue(b"a", b"7", 7, 8, 2)


def test_the_revision_survives_a_restart_when_the_last_change_was_a_deletion():
    store = filled()
    store.delete(b"a", FROM_KEY)
    again = Store(store.backend)
    assert (again.revision, again.range(b"\0", FROM_KEY)) == (8, ([], 0))
    assert again.put(b"a", b"1") == 9
    assert again.get(b"a").version == 1


def test_a_copy_goes_its_own_way():
    store = filled()
    twin = copy.deepcopy(store)
    twin.put(b"a", b"twin")
    store.put(b"b", b"store")
    assert (twin.get(b"a").text, twin.get(b"b").text) == ("twin", "2")
    assert (store.get(b"a").text, store.get(b"b").text) == ("6", "store")


def test_equal_histories_have_equal_hashes():
    one, two = filled(), filled()
    assert one.hash() == two.hash() == Store(one.backend).hash()
    at_seven = one.hash()
    two.put(b"a", b"more")
    assert two.hash() != at_seven
    assert two.hash(7) == at_seven
    assert two.hash(6) == one.hash(6) != at_seven


@pytest.mark.parametrize(
    "change",
    [
        lambda store: store.put(b"a", b"x"),
        lambda store: store.put(b"ab", b""),
        lambda store: store.put(b"", b"ab"),
        lambda store: store.put(b"a", b"b", lease=1),
        lambda store: store.put(b"a", b"b", lease=-1),
        lambda store: store.delete(b"b"),
    ],
)
def test_any_difference_shows_in_the_hash(change):
    one, two = filled(), filled()
    one.put(b"a", b"b")
    change(two)
    assert one.revision == two.revision
    assert one.hash() != two.hash()


# Random programs against the naive store -------------------------------------------------------


def compare_everywhere(store: Store, naive: NaiveStore, rng: random.Random) -> None:
    """Every key at every revision, and some intervals."""
    keys = sorted({key for state in naive.states for key in state}) + [some_key(rng)]
    assert store.revision == naive.revision
    for revision in range(naive.revision + 1):  # 0 is the present
        state = naive.range(b"\0", FROM_KEY, revision)
        assert plain(store.range(b"\0", FROM_KEY, revision)[0]) == state
        held = {row[0]: row for row in state}
        for key in keys:
            kv = store.get(key, revision)
            assert (None if kv is None else plain([kv])[0]) == held.get(key)
        start, end = some_key(rng), some_range_end(rng)
        expected = naive.range(start, end, revision)
        kvs, count = store.range(start, end, revision, limit := rng.randrange(4))
        assert (plain(kvs), count) == (expected[: limit or None], len(expected))


@pytest.mark.parametrize("batch", range(24))
def test_random_programs_agree_with_the_naive_store(batch):
    for seed in range(50):  # 24 times 50: 1,200 programs
        rng = random.Random(f"{batch} {seed}")
        backend = MemoryBackend(order=rng.choice([3, 5, 64]))
        store, naive, saved = Store(backend), NaiveStore(), NaiveStore()
        for _ in range(rng.randrange(4, 40)):
            changes = some_changes(rng)
            naive.change(changes)
            with store.write() as txn:
                for verb, key, other in changes:
                    txn.put(key, other) if verb == "put" else txn.delete_range(key, other)
            chance = rng.random()
            if chance < 0.3:
                backend.commit()
                saved = copy.deepcopy(naive)
            elif chance < 0.4:  # a restart that loses nothing
                store = Store(backend)
            elif chance < 0.5:  # a crash: the open batch is gone
                backend.rollback()
                store, naive = Store(backend), copy.deepcopy(saved)
            elif chance < 0.55:
                store = copy.deepcopy(store)
                backend = store.backend
        compare_everywhere(store, naive, rng)
        compare_everywhere(Store(backend), naive, rng)
