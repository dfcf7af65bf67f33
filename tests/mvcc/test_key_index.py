"""One key's history: the example of the module, as tables, and a naive model."""

import random

import pytest

from kvlearn.mvcc.key_index import Generation, KeyIndex
from kvlearn.mvcc.revision import Revision


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
