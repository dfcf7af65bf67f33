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


# A log that begins after its base -----------------------------------------------------------


def compacted(committed: int = 4, applied: int = 4) -> RaftLog:
    """(3@2) 4@2 5@3 6@3"""
    return RaftLog(entries_of(1, 2, 2, 2, 3, 3)[3:], committed, applied, EntryID(2, 3))


def test_indices_go_on_behind_the_base():
    log = compacted()
    assert (log.last, log.last_index, log.stable) == (EntryID(3, 6), 6, 6)
    assert str(log) == "3@2 … 6@3, applied 4, committed 4"
    empty = RaftLog(committed=3, applied=3, base=EntryID(2, 3))
    assert (empty.last, empty.last_index, empty.stable) == (EntryID(2, 3), 3, 3)


@pytest.mark.parametrize("index, term", [(0, None), (2, None), (3, 2), (4, 2), (6, 3), (7, None)])
def test_of_what_is_compacted_only_the_base_s_term_is_known(index, term):
    assert compacted().term(index) == term


@pytest.mark.parametrize(
    "id, there",
    [
        (EntryID(2, 3), True),
        (EntryID(1, 3), False),
        (EntryID(2, 2), False),  # it was, and nobody can tell
        (ZERO, False),
        (EntryID(2, 4), True),
        (EntryID(3, 7), False),
    ],
)
def test_a_compacted_log_has_its_base_and_what_follows(id, there):
    assert compacted().has(id) is there


@pytest.mark.parametrize("index", [0, 2, 7])
def test_the_id_of_what_is_compacted_is_a_broken_promise(index):
    with pytest.raises(AssertionError, match=f"no index {index}"):
        compacted().id(index)


@pytest.mark.parametrize(
    "first, last, limit, indices", [(4, 6, None, [4, 5, 6]), (5, 6, 1, [5]), (4, 3, None, [])]
)
def test_slice_behind_the_base(first, last, limit, indices):
    assert [entry.index for entry in compacted().slice(first, last, limit)] == indices


@pytest.mark.parametrize("first", [1, 3])
def test_a_slice_of_what_is_compacted_is_a_broken_promise(first):
    with pytest.raises(AssertionError, match=f"index {first} is compacted away"):
        compacted().slice(first, 6)


def test_append_and_cut_behind_the_base():
    log = compacted()
    log.append((Entry(7, 3),))
    assert log.last_index == 7 and log.stable == 6
    assert [entry.index for entry in log.cut_after(4)] == [5, 6, 7]
    assert (log.last_index, log.stable) == (4, 4)
    with pytest.raises(AssertionError, match="committed and must stay"):
        log.cut_after(3)


@pytest.mark.parametrize("index, base, rest", [(3, "3@2", 3), (4, "4@2", 2)])
def test_compact_moves_the_base_and_no_cursor(index, base, rest):
    log = compacted()
    log.compact(index)
    assert (str(log.base), len(log.entries)) == (base, rest)
    assert (log.last_index, log.stable, log.committed, log.applied) == (6, 6, 4, 4)


def test_a_log_may_be_compacted_to_its_end():
    log = compacted(6, 6)
    log.compact(6)
    assert log.entries == [] and log.last == log.base == EntryID(3, 6)
    log.append((Entry(7, 3),))
    assert log.last_index == 7


@pytest.mark.parametrize("index", [2, 5, 6])
def test_only_what_is_applied_and_there_is_compacted(index):
    log = compacted(committed=6)
    with pytest.raises(AssertionError, match=f"{index} is not applied"):
        log.compact(index)


def test_restore_forgets_everything_for_a_snapshot():
    log = compacted()
    log.restore(EntryID(4, 9))
    assert log.entries == [] and log.base == log.last == EntryID(4, 9)
    assert (log.stable, log.committed, log.applied) == (9, 9, 9)
    assert log.has(EntryID(4, 9)) and not log.has(EntryID(3, 6))


@pytest.mark.parametrize(
    "first, terms, index", [(4, (2, 3, 3), None), (4, (2, 4), 5), (5, (3, 3, 3), 7), (4, (3,), 4)]
)
def test_first_conflict_behind_the_base(first, terms, index):
    theirs = tuple(Entry(first + k, term) for k, term in enumerate(terms))
    found = compacted().first_conflict(theirs)
    assert (found and found.index) == index


@pytest.mark.parametrize(
    "index, term, last",
    [(9, 9, "6@3"), (6, 2, "4@2"), (4, 2, "4@2"), (6, 1, "3@2"), (3, 1, "3@2"), (1, 9, "3@2")],
)
def test_nothing_is_older_than_the_base(index, term, last):
    assert str(compacted().last_at_most(index, term)) == last


def test_the_disk_s_word_about_what_a_snapshot_replaced_counts_for_nothing():
    log = compacted()
    log.append((Entry(7, 3),))
    log.restore(EntryID(4, 9))
    log.saved(EntryID(3, 7))
    assert log.stable == 9
    log.append((Entry(10, 4),))
    log.saved(EntryID(3, 10))
    assert log.stable == 9, "another entry of that index"
    log.saved(EntryID(4, 10))
    assert log.stable == 10


@pytest.mark.parametrize("committed, applied", [(4, 2), (2, 2), (7, 4)])
def test_cursors_before_the_base_are_a_broken_promise(committed, applied):
    with pytest.raises(AssertionError, match="lost entries"):
        compacted(committed, applied)
