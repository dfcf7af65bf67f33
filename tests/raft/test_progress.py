"""What a leader knows of a follower: each input in each state."""

from collections import deque
from random import Random

import pytest

from kvlearn.raft.progress import NEVER, PROBE, REPLICATE, SNAPSHOT, Progress
from kvlearn.raft.types import EntryID, Snapshot


def probing(match=0, next=6, waiting=False, limit=3) -> Progress:
    progress = Progress(next, limit)
    progress.match, progress.waiting = match, waiting
    return progress


def replicating(match=5, next=6, inflight=(), limit=3) -> Progress:
    progress = probing(match, next, limit=limit)
    progress.state, progress.inflight = REPLICATE, deque(inflight)
    return progress


def test_it_starts_as_a_probe_that_knows_nothing():
    progress = Progress(6, 3)
    assert str(progress) == "probe match=0 next=6"
    assert progress.may_send()


def test_a_probe_sends_one_message_and_waits():
    progress = probing()
    progress.sent(9)
    assert progress.waiting and not progress.may_send()
    assert progress.next == 6, "what was sent may not have fitted"


def test_replication_goes_on_behind_what_it_sent_until_the_window_is_full():
    progress = replicating()
    for last in (6, 8, 9):
        assert progress.may_send()
        progress.sent(last)
    assert progress.next == 10 and list(progress.inflight) == [6, 8, 9]
    assert not progress.may_send()


@pytest.mark.parametrize(
    "match, inflight, news",
    [
        (6, [8, 9], True),
        (7, [8, 9], True),
        (9, [], True),
        (5, [6, 8, 9], False),
        (3, [6, 8, 9], False),
    ],
)
def test_an_acknowledgement_frees_the_window_up_to_its_index(match, inflight, news):
    progress = replicating(5, 10, (6, 8, 9))
    assert progress.acked(match) is news
    assert list(progress.inflight) == inflight
    assert progress.match == max(5, match) and progress.next == 10


def test_an_acknowledgement_beyond_next_moves_next():
    progress = probing(0, 3)
    assert progress.acked(7)
    assert (progress.match, progress.next) == (7, 8)


def test_an_acknowledgement_ends_the_waiting_of_a_probe_even_if_old():
    progress = probing(4, 6, waiting=True)
    assert not progress.acked(4)
    assert progress.may_send()


@pytest.mark.parametrize(
    "at, try_next, fits, next",
    [
        (5, 3, True, 3),  # look where the hint points
        (5, 9, True, 5),  # but always before what did not fit
        (5, 1, True, 2),  # and never before what is certain (match 1)
        (4, 2, False, 6),  # not the probe that is out: old news
        (6, 2, False, 6),
        (1, 1, False, 6),
    ],
)
def test_a_refused_probe_looks_further_back(at, try_next, fits, next):
    progress = probing(1, 6, waiting=True)
    assert progress.rejected(at, try_next) is fits
    assert progress.next == next
    assert progress.waiting is not fits


@pytest.mark.parametrize("at, fits", [(5, False), (3, False), (6, True), (9, True)])
def test_a_refusal_in_replication_starts_a_probe_unless_it_was_overtaken(at, fits):
    progress = replicating(5, 10, (6, 8, 9))
    assert progress.rejected(at, 2) is fits
    if fits:
        assert str(progress) == "probe match=5 next=6"
        assert not progress.inflight and progress.may_send()
    else:
        assert str(progress) == "replicate match=5 next=10"


def test_a_refusal_of_what_is_certain_is_never_news():
    """Its disk may have been wiped; asking the same again at once would never end."""
    progress = probing(5, 6, waiting=True)
    assert not progress.rejected(5, 1)
    assert not progress.may_send()


def test_transitions_start_behind_what_is_certain():
    progress = replicating(5, 10, (6, 8, 9))
    progress.become_probe()
    assert str(progress) == "probe match=5 next=6"
    progress.sent(6)
    progress.become_replicate()
    assert str(progress) == "replicate match=5 next=6"
    assert progress.may_send() and not progress.inflight


@pytest.mark.parametrize("seed", range(20))
def test_the_invariant_holds_whatever_comes(seed):
    """0 <= match < next; match never falls; the window is ascending and never overfull."""
    rng = Random(seed)
    progress = Progress(rng.randint(1, 9), 3)
    for _ in range(300):
        before = progress.match
        match rng.randrange(5):
            case 0 if progress.may_send():
                progress.sent(
                    progress.next - 1 + rng.randint(0 if progress.state == PROBE else 1, 4)
                )
            case 1:
                progress.acked(rng.randint(0, progress.next + 2))
            case 2:
                progress.rejected(rng.randint(0, progress.next + 2), rng.randint(1, progress.next))
            case 3:
                progress.become_probe()
            case 4:
                progress.become_replicate()
        assert before <= progress.match < progress.next
        assert sorted(progress.inflight) == list(progress.inflight)
        assert len(progress.inflight) <= progress.max_inflight
        assert not (progress.state == PROBE and progress.inflight)


# While a snapshot is on its way -------------------------------------------------------------


def sending(records: int = 5, offset: int = 0, waiting: bool = True, match: int = 2) -> Progress:
    """The snapshot of 9@2; the chunk that begins at `offset` is on its way."""
    progress = probing(match, match + 1)
    progress.become_snapshot(Snapshot(EntryID(2, 9), data=tuple(range(records))))
    progress.offset, progress.waiting = offset, waiting
    return progress


@pytest.mark.parametrize("before", [probing(2, 3, True), replicating(2, 7, (4, 6))])
def test_a_snapshot_starts_with_its_first_record(before):
    before.become_snapshot(Snapshot(EntryID(2, 9), data=(1, 2)))
    assert str(before) == "snapshot match=2 next=10"
    assert before.may_send() and before.offset == 0 and not before.inflight


def test_one_chunk_at_a_time():
    progress = sending(waiting=False)
    progress.sent(9)
    assert not progress.may_send() and str(progress) == "snapshot match=2 next=10"


@pytest.mark.parametrize(
    "answer, waiting, on, offset",
    [
        (2, True, True, 2),  # it has the two of the first chunk
        (4, True, True, 4),
        (0, True, False, 0),  # a duplicate of an earlier answer: the chunk may still arrive
        (0, False, True, 0),  # it was taken for lost, and is to be sent again
    ],
)
def test_an_answer_says_where_to_go_on(answer, waiting, on, offset):
    progress = sending(waiting=waiting)
    assert progress.chunk_acked(answer) is on
    assert progress.offset == offset and progress.may_send() is on
    assert progress.state == SNAPSHOT


def test_a_follower_that_lost_the_first_chunks_gets_them_again():
    progress = sending(offset=4)
    assert progress.chunk_acked(0) and progress.offset == 0, "it has restarted"


@pytest.mark.parametrize("records, offset", [(5, 4), (1, 0), (0, 0)])
def test_with_all_records_it_probes_behind_the_snapshot(records, offset):
    progress = sending(records, offset)
    assert not progress.chunk_acked(records), "nothing more to send of it"
    assert str(progress) == "probe match=2 next=10" and progress.snapshot is None
    assert not progress.may_send(), "until it says that it has saved it"


@pytest.mark.parametrize("arrived, next", [(True, 10), (False, 3)])
def test_a_report_ends_the_snapshot(arrived, next):
    progress = sending()
    progress.reported(arrived)
    assert str(progress) == f"probe match=2 next={next}" and not progress.may_send()
    progress.stuck()
    assert progress.may_send(), "with the next sign of life"


@pytest.mark.parametrize("at, try_next", [(2, 1), (9, 1), (11, 4)])
def test_a_refusal_during_a_snapshot_was_overtaken(at, try_next):
    progress = sending()
    assert not progress.rejected(at, try_next)
    assert str(progress) == "snapshot match=2 next=10" and progress.waiting


def test_an_acknowledgement_during_a_snapshot_is_noted():
    progress = sending()
    assert progress.acked(5) and not progress.acked(4)
    assert str(progress) == "snapshot match=5 next=10" and not progress.may_send()


@pytest.mark.parametrize(
    "match, base, may",
    [
        (9, 12, True),  # it has what the snapshot holds
        (8, 12, False),
        (6, 6, True),  # what it lacked came otherwise, and the log goes on from there
        (5, 6, False),
    ],
)
def test_a_snapshot_ends_where_the_log_can_go_on(match, base, may):
    assert sending(match=match).may_replicate(base) is may


def test_a_probe_ends_with_any_acknowledgement_and_replication_goes_on_anyway():
    assert probing().may_replicate(99) and not replicating().may_replicate(0)


def test_a_chunk_that_may_be_lost_is_sent_again():
    progress = sending(offset=2)
    progress.stuck()
    assert progress.may_send() and progress.offset == 2


def test_nobody_is_taken_for_dead_at_first_and_nothing_is_proven():
    progress = Progress(6, 3, now=40)
    assert progress.heard == 40 and progress.proven == NEVER
