"""One key's history: the example of the module, as tables, and a naive model."""

import random

import pytest

from kvlearn.mvcc.key_index import Generation, Index, KeyIndex
from kvlearn.mvcc.revision import KeyValue, Revision, put_key


def index_of(*changes):
    """Changes are revisions, negative main: a tombstone; a pair is (main, sub)."""
    index = KeyIndex(b"foo")
    for change in changes:
        main, sub = change if isinstance(change, tuple) else (change, 0)
        if main < 0:
            index.tombstone(Revision(-main, sub).key(tombstone=True))
        else:
            index.put(Revision(main, sub).key())
    return index


# Three lives: the second ends in the revision in which it had its last put.
LIVES = (2, 4, (6, 1), -8, 9, (15, 0), (-15, 1), 16)


@pytest.mark.parametrize(
    ("at", "revision", "created", "version"),
    [
        (1, None, None, None),
        (2, "2.0", "2.0", 1),
        (3, "2.0", "2.0", 1),
        (4, "4.0", "2.0", 2),
        (5, "4.0", "2.0", 2),
        (6, "6.1", "2.0", 3),
        (7, "6.1", "2.0", 3),
        (8, None, None, None),
        (9, "9.0", "9.0", 1),
        (14, "9.0", "9.0", 1),
        (15, None, None, None),
        (16, "16.0", "16.0", 1),
        (10**6, "16.0", "16.0", 1),
    ],
)
def test_get_finds_the_newest_that_is_not_above(at, revision, created, version):
    found = index_of(*LIVES).get(at)
    if revision is None:
        assert found is None
    else:
        assert (str(found[0]), str(found[1]), found[2]) == (revision, created, version)


def test_generations_are_cut_by_tombstones():
    index = index_of(*LIVES)
    assert str(index) == "foo: {2.0 4.0 6.1 8.0(t)} {9.0 15.0 15.1(t)} {16.0}"
    first, second, third = index.generations
    assert (first.created, first.version, first.ended) == (Revision(2), 4, True)
    assert (second.created, second.version, second.ended) == (Revision(9), 3, True)
    assert third == Generation(Revision(16), 1, (Revision(16),), False)
    assert str(index_of(2, -3)) == "foo: {2.0 3.0(t)} {}"
    assert str(KeyIndex(b"foo")) == "foo: {}"


@pytest.mark.parametrize(
    ("at", "since"),
    [
        (0, "2.0 4.0 6.1 8.0 9.0 15.1 16.0"),
        (2, "2.0 4.0 6.1 8.0 9.0 15.1 16.0"),
        (3, "4.0 6.1 8.0 9.0 15.1 16.0"),
        (8, "8.0 9.0 15.1 16.0"),
        (15, "15.1 16.0"),  # 15.0 and 15.1 happened at once: the last counts
        (16, "16.0"),
        (17, ""),
    ],
)
def test_since_gives_what_changed_from_a_revision_on(at, since):
    keys = index_of(*LIVES).since(at)
    assert " ".join(str(Revision.parse(key)) for key in keys) == since


@pytest.mark.parametrize("changes", [(), (2, -3)])
def test_only_what_exists_can_be_deleted(changes):
    index = index_of(*changes)
    with pytest.raises(AssertionError, match="nothing to delete"):
        index.tombstone(Revision(9).key(tombstone=True))


@pytest.mark.parametrize("seed", range(50))
def test_random_histories_agree_with_a_walk_through_them(seed):
    rng = random.Random(seed)
    index, history, alive, main = KeyIndex(b"k"), [], False, 1
    for _ in range(rng.randrange(1, 30)):
        main += rng.choice([1, 1, 2, 5])
        sub = rng.randrange(3)
        alive = not alive or rng.random() < 0.6
        at = Revision(main, sub)
        if alive:
            index.put(at.key())
        else:
            index.tombstone(at.key(tombstone=True))
        history.append((at, alive))
    for bound in range(main + 3):
        expected, created, version = None, None, 0
        for at, put in history:
            if at.main > bound:
                break
            created = (created or at) if put else None
            version = version + 1 if put else 0
            expected = (at, created, version) if put else None
        assert index.get(bound) == expected


# The blue tree ---------------------------------------------------------------------------------


def put(key: bytes, main: int, version: int = 1, sub: int = 0):
    return put_key(main, sub), KeyValue(key, b"", main - version + 1, main, version)


def deleted(key: bytes, main: int, sub: int = 0):
    return Revision(main, sub).key(tombstone=True), KeyValue(key, b"", 0, main)


# b and c are alone, at sub 0 and 1; d was put and deleted; of e a sweep has left the tombstone.
RECORDS = [
    put(b"d", 2),
    deleted(b"e", 3),
    put(b"b", 4),
    put(b"c", 4, sub=1),
    deleted(b"d", 5),
    put(b"a", 6),
    put(b"a", 7, version=2),
]


@pytest.fixture(params=["restored", "noted one by one"])
def index(request):
    if request.param == "restored":
        found = ((at, record.key, record) for at, record in RECORDS)
        return Index(found, lambda record: record)
    index = Index()
    for at, record in RECORDS:
        index.note(at, record)
    return index


def test_the_blue_tree_is_a_map_of_histories_in_key_order(index):
    assert list(index) == [b"a", b"b", b"c", b"d", b"e"] and len(index) == 5
    assert [str(history) for history in index.values()] == [
        "a: {6.0 7.0}",
        "b: {4.0}",
        "c: {4.1}",
        "d: {2.0 5.0(t)} {}",
        "e: {3.0(t)} {}",
    ]
    assert [history.key for history in index.values()] == list(index)
    assert index.get(b"nobody") is None and b"nobody" not in index
    with pytest.raises(KeyError):
        index[b"nobody"]


@pytest.mark.parametrize(
    ("start", "end", "now", "at_4"),
    [
        (b"a", None, "a7 b4 c4", "d2 b4 c4"),
        (b"b", b"d", "b4 c4", "b4 c4"),
        (b"c", b"", "c4", "c4"),
        (b"d", b"", "", "d2"),
        (b"c", b"b", "", ""),
        (b"nobody", b"", "", ""),
    ],
)
def test_what_an_interval_holds_now_and_held_then(index, start, end, now, at_4):
    found = [f"{kv.key_text}{kv.mod_revision}" for kv in index.newest_between(start, end)]
    assert " ".join(found) == now
    record = dict(RECORDS)
    then = [record[at] for at in index.find_between(start, end, 4)]
    assert sorted(f"{kv.key_text}{kv.mod_revision}" for kv in then) == sorted(at_4.split())


def test_one_key_now_and_then(index):
    assert index.newest(b"a") is RECORDS[-1][1] and index.newest(b"b") is RECORDS[2][1]
    assert index.newest(b"d") is None and index.newest(b"nobody") is None
    assert [index.find(b"b", at) for at in (3, 4, 9)] == [None, put_key(4, 0), put_key(4, 0)]
    assert [index.find(b"d", at) for at in (1, 2, 5)] == [None, put_key(2, 0), None]
    assert index.find(b"nobody", 9) is None


def test_a_record_that_is_alone_again_still_knows_its_life(index):
    index.forget(b"a", 1, RECORDS[-2][1])
    (life,) = index[b"a"].generations
    assert life == Generation(Revision(6), 2, (Revision(7),), False)
    at, record = put(b"a", 9, version=3)
    index.note(at, record)
    assert index[b"a"].generations[0].version == 3
    index.forget(b"d", 2, RECORDS[4][1])
    assert b"d" not in index
