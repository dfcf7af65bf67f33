"""One list and three cursors."""

import pytest

from kvlearn.raft.log import RaftLog
from kvlearn.raft.types import ZERO, Entry, EntryID
from tests.raft.net import entries_of


def log_of(*terms: int, committed: int = 0, applied: int = 0) -> RaftLog:
    return RaftLog(entries_of(*terms), committed, applied)


def test_an_empty_log_ends_before_its_first_entry():
    log = log_of()
    assert (log.last, log.last_index, log.stable) == (ZERO, 0, 0)
    assert log.term(0) == 0 and log.term(1) is None
    assert log.has(ZERO) and not log.has(EntryID(1, 1))


def test_what_comes_from_the_disk_is_stable():
    assert log_of(1, 1, 2).stable == 3


@pytest.mark.parametrize("index, term", [(-1, None), (0, 0), (1, 1), (3, 4), (5, 4), (6, None)])
def test_term(index, term):
    assert log_of(1, 1, 4, 4, 4).term(index) == term


@pytest.mark.parametrize(
    "id, there",
    [
        (EntryID(0, 0), True),
        (EntryID(1, 0), False),
        (EntryID(1, 2), True),
        (EntryID(2, 2), False),
        (EntryID(4, 6), False),
    ],
)
def test_has_this_very_entry(id, there):
    assert log_of(1, 1, 4, 4, 4).has(id) is there


def test_the_id_of_an_entry_beyond_the_end_is_a_broken_promise():
    with pytest.raises(AssertionError, match="the log has no index 3"):
        log_of(1, 1).id(3)


@pytest.mark.parametrize(
    "first, last, limit, indices",
    [
        (1, 5, None, [1, 2, 3, 4, 5]),
        (2, 4, None, [2, 3, 4]),
        (2, 4, 2, [2, 3]),
        (2, 4, 9, [2, 3, 4]),
        (4, 9, None, [4, 5]),
        (6, 5, None, []),
        (6, 5, 64, []),
    ],
)
def test_slice(first, last, limit, indices):
    found = log_of(1, 1, 4, 4, 4).slice(first, last, limit)
    assert [entry.index for entry in found] == indices and isinstance(found, tuple)


def test_append_continues():
    log = log_of(1)
    log.append((Entry(2, 1), Entry(3, 2)))
    assert log.last == EntryID(2, 3) and log.stable == 1
    with pytest.raises(AssertionError, match="continue the log"):
        log.append((Entry(5, 2),))


def test_cut_after_takes_the_tail_and_what_the_disk_had_of_it():
    log = log_of(1, 1, 2, 2)
    assert log.cut_after(2) == entries_of(1, 1, 2, 2)[2:]
    assert (log.last_index, log.stable) == (2, 2)
    log.append((Entry(3, 3),))
    assert log.stable == 2, "the new tail is not on the disk yet"


def test_what_is_committed_is_never_cut():
    log = log_of(1, 1, 2, committed=2)
    log.cut_after(2)
    with pytest.raises(AssertionError, match="committed and must stay"):
        log.cut_after(1)


@pytest.mark.parametrize(
    "terms, index",
    [
        ((1, 1, 2), None),  # all there
        ((1,), None),
        ((), None),
        ((1, 1, 2, 2), 4),  # goes beyond the end
        ((1, 1, 3), 3),  # another term
        ((1, 2, 2), 2),
    ],
)
def test_first_conflict(terms, index):
    found = log_of(1, 1, 2).first_conflict(entries_of(*terms))
    assert (found and found.index) == index


@pytest.mark.parametrize(
    "index, term, last",
    [
        (5, 9, "5@4"),
        (5, 4, "5@4"),
        (5, 3, "2@1"),
        (4, 3, "2@1"),
        (9, 4, "5@4"),  # beyond the end: from the end
        (2, 9, "2@1"),
        (5, 0, "0@0"),
        (0, 9, "0@0"),
    ],
)
def test_last_at_most(index, term, last):
    assert str(log_of(1, 1, 4, 4, 4).last_at_most(index, term)) == last


def test_saved_moves_stable_forward_only():
    log = log_of(1)
    log.append((Entry(2, 1), Entry(3, 1)))
    log.saved(EntryID(1, 3))
    assert log.stable == 3
    log.saved(EntryID(1, 2))
    assert log.stable == 3


def test_news_of_a_tail_that_was_replaced_meanwhile_counts_for_nothing():
    log = log_of(1)
    log.append((Entry(2, 1), Entry(3, 1)))  # the disk starts to write these
    log.cut_after(1)
    log.append((Entry(2, 2), Entry(3, 2)))
    log.saved(EntryID(1, 3))
    assert log.stable == 1
    log.saved(EntryID(2, 3))
    assert log.stable == 3


@pytest.mark.parametrize("committed, applied", [(4, 0), (1, 2), (3, 4)])
def test_cursors_that_contradict_the_disk_are_a_broken_promise(committed, applied):
    with pytest.raises(AssertionError, match="the disk lost entries"):
        log_of(1, 1, 2, committed=committed, applied=applied)
