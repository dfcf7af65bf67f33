"""The watch hub, fact by fact (etcd-semantics 37 to 45), and what a host relies on."""

from __future__ import annotations

import copy
from random import Random

import pytest

from kvlearn.mvcc.backend import MemoryBackend
from kvlearn.mvcc.store import FROM_KEY, Store
from kvlearn.mvcc.watch import DELETE, NO_ID, PUT, WatchHub, WatchResponse
from tests.mvcc.naive import some_changes, within


class Bench:
    """A store and its hub; what is written is told at once."""

    def __init__(self, **limits):
        self.store = Store(MemoryBackend())
        self.hub = WatchHub(self.store, **limits)

    def write(self, *changes: tuple) -> None:
        """("a", 1) puts, ("a",) deletes, ("a", "c", None) deletes an interval; one revision."""
        with self.store.write() as txn:
            for key, *other in changes:
                if len(other) == 1:
                    txn.put(key.encode(), b"%d" % other[0])
                else:
                    txn.delete_range(key.encode(), other[0].encode() if other else b"")
        self.hub.notify(txn.changes)

    def put(self, key: str, *values: int) -> None:
        for value in values:
            self.write((key, value))

    def watch(self, key: str = "a", range_end: str = "", stream: str = "s", **wants) -> None:
        self.hub.create(stream, key.encode(), range_end.encode(), **wants)

    def told(self, stream: str = "s", sync: bool = True) -> list[str]:
        """What the stream brings, after everybody had time to catch up."""
        lines = [str(answer) for answer in self.hub.take(stream)]
        while sync and self.hub.can_sync:
            self.hub.sync()
            lines += [str(answer) for answer in self.hub.take(stream)]
        return lines

    def compact(self, revision: int, sweep: bool = True) -> None:
        self.store.compact(revision)
        while sweep and self.store.sweeping:
            self.store.sweep()


# 37: created first, with the revision that is current ---------------------------------------


@pytest.mark.parametrize("start", [0, 2, 3, 9])
def test_the_first_answer_is_created_with_the_present_revision(start):
    bench = Bench()
    bench.put("a", 1, 2)
    bench.watch(start_revision=start)
    (first, *_) = bench.hub.take("s")
    assert first == WatchResponse(0, 3, created=True)


def test_what_was_made_is_told_after_created_and_without_a_gap_to_the_present():
    bench = Bench()
    bench.put("a", 1, 2)
    bench.watch(start_revision=2)
    bench.put("a", 3)  # before it has caught up
    assert bench.told() == [
        "watch 0 created at revision 3",
        "watch 0 at revision 4: put a=1, put a=2, put a=3",
    ]
    bench.put("a", 4)
    assert bench.told() == ["watch 0 at revision 5: put a=4"]


def test_created_and_one_more_is_where_another_stream_goes_on():
    bench = Bench()
    bench.watch()
    (created,) = bench.hub.take("s")
    bench.hub.close("s")
    bench.put("a", 1, 2)
    bench.watch(stream="t", start_revision=created.revision + 1)
    assert bench.told("t")[1] == "watch 0 at revision 3: put a=1, put a=2"


# 38: ids ------------------------------------------------------------------------------------


def test_ids_count_from_0_on_each_stream_and_skip_what_the_client_has_chosen():
    bench = Bench()
    for id in 0, 1, 7, 0, 0:
        bench.watch(watch_id=id)
    bench.watch(stream="t")
    assert [answer.watch_id for answer in bench.hub.take("s")] == [0, 1, 7, 2, 3]
    assert [answer.watch_id for answer in bench.hub.take("t")] == [0]


def test_a_number_that_was_given_does_not_come_again():
    bench = Bench()
    bench.watch()
    bench.hub.cancel("s", 0)
    bench.watch()
    assert bench.told() == [
        "watch 0 created at revision 1",
        "watch 0 canceled",
        "watch 1 created at revision 1",
    ]


def test_an_id_that_the_client_has_canceled_can_be_chosen_again():
    bench = Bench()
    bench.watch(watch_id=5)
    bench.hub.cancel("s", 5)
    bench.watch(watch_id=5)
    assert [answer.canceled for answer in bench.hub.take("s")] == [False, True, False]


@pytest.mark.parametrize(
    "wants, reason",
    [
        ({"watch_id": 3}, "mvcc: duplicate watch ID provided on the WatchStream"),
        ({"range_end": "a"}, "mvcc: watcher range is empty"),
        ({"key": "b", "range_end": "a"}, "mvcc: watcher range is empty"),
        ({"range_end": "a", "watch_id": 3}, "mvcc: watcher range is empty"),
    ],
)
def test_what_cannot_be_watched_is_answered_in_band_and_the_stream_goes_on(wants, reason):
    bench = Bench()
    bench.put("a", 1)
    bench.watch(watch_id=3)
    bench.watch(**wants)
    _, refused = bench.hub.take("s")
    assert refused == WatchResponse(NO_ID, 2, created=True, canceled=True, cancel_reason=reason)
    bench.put("a", 2)
    assert bench.told() == ["watch 3 at revision 3: put a=2"]


def test_an_unknown_id_is_canceled_without_a_word():
    bench = Bench()
    bench.hub.cancel("s", 4)
    bench.watch()
    bench.hub.cancel("s", 4)
    assert bench.told() == ["watch 0 created at revision 1"]


def test_no_key_is_the_smallest_key():
    bench = Bench()
    bench.hub.create("s", b"", FROM_KEY)
    bench.put("a", 1)
    assert bench.told()[1] == "watch 0 at revision 2: put a=1"


@pytest.mark.parametrize(
    "key, range_end, heard",
    [
        ("a", "", ["a"]),
        ("a", "b", ["a", "aa"]),
        ("a", "\0", ["a", "aa", "b", "c"]),
        ("aa", "c", ["aa", "b"]),
        ("\0", "\0", ["A", "a", "aa", "b", "c"]),
        ("x", "", []),
    ],
)
def test_an_interval_is_watched_as_it_is_read(key, range_end, heard):
    bench = Bench()
    bench.watch(key, range_end)
    bench.hub.take("s")
    for n, name in enumerate(("A", "a", "aa", "b", "c")):
        bench.put(name, n)
    now = [e.kv.key.decode() for answer in bench.hub.take("s") for e in answer.events]
    bench.watch(key, range_end, stream="late", start_revision=1)
    bench.hub.sync()
    then = [e.kv.key.decode() for answer in bench.hub.take("late") for e in answer.events]
    assert now == then == heard


# 39, 40: events -----------------------------------------------------------------------------


def test_a_revision_comes_in_one_answer_in_the_order_of_its_operations():
    bench = Bench()
    bench.watch("a", "z")
    bench.watch("b", stream="t")
    bench.write(("c", 1), ("a", 2), ("b", 3))
    bench.write(("b", "d", None), ("d", 4))
    assert bench.told() == [
        "watch 0 created at revision 1",
        "watch 0 at revision 2: put c=1, put a=2, put b=3",
        "watch 0 at revision 3: delete b, delete c, put d=4",
    ]
    assert bench.told("t")[1:] == [
        "watch 0 at revision 2: put b=3",
        "watch 0 at revision 3: delete b",
    ]
    bench.watch("a", "z", stream="late", start_revision=2)
    assert bench.told("late")[1:] == [
        "watch 0 at revision 3: put c=1, put a=2, put b=3, delete b, delete c, put d=4"
    ]


def test_a_batch_of_the_past_holds_whole_revisions():
    bench = Bench(batch=2)
    for n in range(3):
        bench.write(("a", n), ("b", n))
    bench.watch("a", "c", start_revision=2)
    assert bench.told()[1:] == [
        "watch 0 at revision 4: put a=0, put b=0, put a=1, put b=1",
        "watch 0 at revision 4: put a=2, put b=2",
    ]


@pytest.mark.parametrize("past", [False, True])
def test_a_deletion_has_its_key_and_revision_and_nothing_else(past):
    bench = Bench()
    bench.put("a", 1)
    bench.watch(start_revision=2 if past else 0)
    bench.write(("a",))
    bench.hub.sync()
    event = bench.hub.take("s")[-1].events[-1]
    assert (event.type, event.kv.key, event.kv.mod_revision) == (DELETE, b"a", 3)
    kv = event.kv
    assert (kv.value, kv.create_revision, kv.version, kv.lease) == (b"", 0, 0, 0)
    assert event.prev_kv is None


# 41: previous pairs and filters -------------------------------------------------------------


@pytest.mark.parametrize("past", [False, True])
def test_the_previous_pair_is_absent_for_a_new_key_and_there_for_all_others(past):
    bench = Bench()
    if not past:
        bench.watch(prev_kv=True)
    bench.put("a", 1, 2)
    bench.write(("a",))
    bench.put("a", 3)
    if past:
        bench.watch(prev_kv=True, start_revision=2)
    bench.hub.sync()
    events = [event for answer in bench.hub.take("s") for event in answer.events]
    assert [str(event.prev_kv) for event in events] == ["None", "a=1", "a=2", "None"]
    assert events[2].prev_kv.mod_revision == 3


def test_the_previous_pair_is_absent_where_it_is_compacted():
    bench = Bench()
    bench.put("a", 1, 2, 3)
    bench.compact(3)
    bench.watch(prev_kv=True, start_revision=3)
    bench.hub.sync()
    events = bench.hub.take("s")[-1].events
    assert [(str(e.kv), str(e.prev_kv)) for e in events] == [("a=2", "None"), ("a=3", "a=2")]


@pytest.mark.parametrize(
    "filters, heard",
    [
        ((), ["put a=1", "delete a", "put a=2"]),
        ((PUT,), ["delete a"]),
        ((DELETE,), ["put a=1", "put a=2"]),
        ((PUT, DELETE), []),
    ],
)
def test_filters_drop_events_and_answers_that_are_left_with_none(filters, heard):
    bench = Bench()
    bench.watch(filters=filters)
    bench.put("a", 1)
    bench.write(("a",))
    bench.put("a", 2)
    bench.watch(filters=filters, start_revision=1, stream="late")
    bench.hub.sync()
    (_, *now), (_, *then) = bench.hub.take("s"), bench.hub.take("late")
    assert [str(event) for answer in now for event in answer.events] == heard
    assert [str(event) for answer in then for event in answer.events] == heard
    assert all(answer.events for answer in now + then)
    assert len(then) == bool(heard)


# 42, 43: start revisions --------------------------------------------------------------------


def test_a_start_in_the_future_is_honoured():
    bench = Bench()
    bench.watch(start_revision=4)
    bench.put("a", 1, 2, 3, 4)
    assert bench.told() == [
        "watch 0 created at revision 1",
        "watch 0 at revision 4: put a=3",
        "watch 0 at revision 5: put a=4",
    ]


def test_a_start_in_the_future_is_honoured_by_a_stream_that_is_not_read():
    bench = Bench(capacity=1)
    bench.watch(start_revision=4)
    bench.put("a", 1, 2, 3, 4)
    assert bench.told()[1:] == ["watch 0 at revision 5: put a=3, put a=4"]


def test_a_start_below_the_compacted_revision_is_created_and_then_canceled():
    bench = Bench()
    bench.put("a", 1, 2, 3)
    bench.compact(3)
    bench.watch(start_revision=2, watch_id=5)
    bench.hub.sync()
    created, canceled = bench.hub.take("s")
    assert created == WatchResponse(5, 4, created=True)
    assert canceled == WatchResponse(5, 0, canceled=True, compact_revision=3)
    bench.put("a", 4)
    assert bench.told() == []


def test_the_id_of_a_watcher_that_lost_its_history_is_taken_until_the_client_cancels_it():
    bench = Bench()
    bench.put("a", 1, 2)
    bench.compact(3)
    bench.watch(start_revision=1, watch_id=5)
    bench.told()
    bench.watch(watch_id=5)
    assert "duplicate" in bench.told()[0]
    bench.hub.cancel("s", 5)
    bench.watch(watch_id=5)
    assert bench.told()[-1] == "watch 5 created at revision 3"


@pytest.mark.parametrize("swept", [False, True])
def test_a_start_at_the_compacted_revision_works_but_its_deletions_are_gone(swept):
    """Whether the sweep has come by already makes no difference."""
    bench = Bench()
    bench.put("a", 1)
    bench.write(("b", 2), ("a",))
    bench.put("a", 3)
    bench.compact(3, sweep=swept)
    bench.watch("a", "c", start_revision=3)
    assert bench.told()[1:] == ["watch 0 at revision 4: put b=2, put a=3"]
    bench.watch("a", start_revision=3, stream="t")
    assert bench.told("t")[1:] == ["watch 0 at revision 4: put a=3"]


def test_watchers_that_have_caught_up_survive_a_compaction():
    bench = Bench()
    bench.watch()
    bench.put("b", 1, 2, 3)  # nothing for it
    bench.compact(4)
    bench.put("a", 4)
    assert bench.told()[1:] == ["watch 0 at revision 5: put a=4"]


def test_also_if_its_first_event_since_then_finds_no_room():
    """What its keys did not change it has heard, so it lacks nothing of what is compacted."""
    bench = Bench(capacity=1)
    bench.watch("b")
    bench.told()
    bench.watch("a")  # its answer fills the stream
    bench.watch("c")
    bench.put("x", 1, 2, 3)
    bench.compact(4)
    bench.put("c", 1)
    assert bench.hub.streams["s"].full
    bench.put("b", 4)
    assert bench.hub.unsynced == 1
    assert bench.told()[-1] == "watch 0 at revision 6: put b=4"


def test_a_watcher_that_is_behind_does_not_survive_a_compaction_of_what_it_lacks():
    bench = Bench(capacity=1)
    bench.watch()
    bench.told()
    bench.put("a", 1, 2, 3)
    bench.compact(4)
    assert bench.told() == [
        "watch 0 at revision 2: put a=1",
        "watch 0 canceled: revision 4 is compacted",
    ]
    assert not bench.hub.unsynced


# 44: progress -------------------------------------------------------------------------------


def test_a_progress_request_is_answered_once_per_stream():
    bench = Bench()
    bench.watch("a")
    bench.watch("b")
    bench.put("x", 1)
    bench.told()
    bench.hub.request_progress("s")
    bench.hub.request_progress("unknown")
    assert bench.hub.take("s") == [WatchResponse(NO_ID, 2)]
    bench.hub.sync()
    assert bench.told() == []


def test_a_progress_request_waits_until_all_is_sent():
    bench = Bench(batch=1)
    bench.put("a", 1, 2)
    bench.watch(start_revision=2)
    bench.hub.request_progress("s")
    assert bench.told() == [
        "watch 0 created at revision 3",
        "watch 0 at revision 3: put a=1",
        "watch 0 at revision 3: put a=2",
        "watch -1 at revision 3: progress",
    ]


def test_who_lost_its_history_does_not_hold_up_the_progress_of_others():
    bench = Bench()
    bench.put("a", 1, 2)
    bench.compact(3)
    bench.watch(start_revision=1)
    bench.hub.request_progress("s")
    assert bench.told()[-1] == "watch -1 at revision 3: progress"


def test_periodic_progress_carries_the_watchers_id_and_goes_to_the_quiet_who_asked():
    bench = Bench()
    bench.watch("a", progress_notify=True)
    bench.watch("b")
    bench.watch("c", progress_notify=True)
    bench.put("c", 1)
    bench.told()
    bench.hub.progress()
    assert bench.told() == ["watch 0 at revision 2: progress"]
    bench.hub.progress()  # c has been quiet since the last time
    assert bench.told() == ["watch 0 at revision 2: progress", "watch 2 at revision 2: progress"]


def test_who_is_behind_hears_of_no_progress():
    bench = Bench(capacity=1)
    bench.watch(progress_notify=True)
    bench.put("a", 1)
    bench.hub.progress()
    assert bench.told(sync=False) == ["watch 0 created at revision 1"]
    bench.hub.progress()
    assert bench.told(sync=False) == []
    bench.hub.sync()
    bench.told()
    bench.hub.progress()
    bench.hub.progress()
    assert bench.told() == ["watch 0 at revision 2: progress"]


def test_whether_anybody_waits_for_progress():
    bench = Bench()
    assert not bench.hub.wants_progress
    bench.watch(progress_notify=True)
    assert bench.hub.wants_progress
    bench.hub.cancel("s", 0)
    assert not bench.hub.wants_progress
    bench.watch(progress_notify=True)
    bench.hub.close("s")
    assert not bench.hub.wants_progress


# 45: fragments ------------------------------------------------------------------------------


def test_without_fragments_a_revision_comes_whole_however_large_it_is():
    bench = Bench(limit_bytes=10)
    bench.watch("a", "z")
    bench.write(("a", 1), ("b", 2), ("c", 3))
    (_, answer) = bench.hub.take("s")
    assert len(answer.events) == 3 and not answer.fragment


@pytest.mark.parametrize("past", [False, True])
def test_with_fragments_it_is_cut_and_all_parts_but_the_last_say_so(past):
    bench = Bench(limit_bytes=70)  # two events of 34 bytes
    if not past:
        bench.watch("a", "z", fragment=True)
    bench.write(*((key, 1) for key in "abcde"))
    if past:
        bench.watch("a", "z", fragment=True, start_revision=2)
    bench.hub.sync()
    (_, *parts) = bench.hub.take("s")
    assert [len(part.events) for part in parts] == [2, 2, 1]
    assert [part.fragment for part in parts] == [True, True, False]
    assert {part.revision for part in parts} == {2}


def test_an_event_that_is_larger_than_the_limit_goes_alone():
    bench = Bench(limit_bytes=1)
    bench.watch("a", "z", fragment=True)
    bench.write(("a", 1), ("b", 1))
    (_, *parts) = bench.hub.take("s")
    assert [(len(part.events), part.fragment) for part in parts] == [(1, True), (1, False)]


def test_the_previous_pair_counts_as_well():
    bench = Bench(limit_bytes=70)
    bench.put("b", 1)
    bench.watch("a", "z", fragment=True, prev_kv=True)
    bench.write(("a", 1), ("b", 2))
    (_, *parts) = bench.hub.take("s")
    assert [len(part.events) for part in parts] == [1, 1]


# What a host relies on ----------------------------------------------------------------------


def test_waiting_names_the_streams_that_have_something_in_the_order_in_which_it_came():
    bench = Bench()
    assert not bench.hub.waiting
    bench.watch("b", stream="t")
    bench.watch("a", stream="s")
    assert list(bench.hub.waiting) == ["t", "s"]
    bench.hub.take("t")
    assert list(bench.hub.waiting) == ["s"]
    bench.put("b", 1)
    assert list(bench.hub.waiting) == ["s", "t"]
    bench.hub.close("s")
    bench.hub.take("t")
    assert not bench.hub.waiting and bench.hub.take("s") == []


def test_can_sync_says_whether_syncing_helps():
    bench = Bench(capacity=1)
    bench.put("a", 1)
    assert not bench.hub.can_sync
    bench.watch(start_revision=1)
    assert bench.hub.unsynced and not bench.hub.can_sync  # nobody takes `created`
    bench.hub.sync()
    assert len(bench.hub.take("s")) == 1
    assert bench.hub.can_sync
    bench.hub.sync()
    assert not bench.hub.can_sync and not bench.hub.unsynced


def test_a_slow_stream_loses_nothing_and_holds_up_nobody():
    bench = Bench(capacity=2)
    bench.watch()
    bench.watch(stream="quick")
    for n in range(5):
        bench.put("a", n)
        assert len(bench.hub.take("quick")) == (2 if n == 0 else 1)
    assert bench.told() == [
        "watch 0 created at revision 1",
        "watch 0 at revision 2: put a=0",
        "watch 0 at revision 6: put a=1, put a=2, put a=3, put a=4",
    ]


def test_a_stream_has_room_for_an_answer_to_each_of_its_watchers():
    bench = Bench(capacity=1)
    for _ in range(5):
        bench.watch()
    bench.hub.take("s")
    bench.put("a", 1)
    assert len(bench.hub.take("s")) == 5 and not bench.hub.unsynced


def test_watchers_of_the_same_keys_share_their_events():
    bench = Bench()
    for stream in "xyz":
        bench.watch(stream=stream)
    bench.watch(stream="p", prev_kv=True)
    bench.put("a", 1)
    x, y, z, p = (bench.hub.take(stream)[-1].events for stream in "xyzp")
    assert x is y is z and p is not x


def test_a_canceled_and_a_closed_watcher_hear_nothing():
    bench = Bench(capacity=1)
    for stream in "ab":
        bench.watch("a", "c", stream=stream, start_revision=1)
        bench.watch("a", stream=stream)
    bench.hub.cancel("a", 0)
    bench.hub.cancel("a", 1)
    bench.hub.close("b")
    bench.hub.close("b")
    bench.put("a", 1)
    bench.hub.sync()
    assert not bench.hub.unsynced and "b" not in bench.hub.streams
    assert [answer.events for answer in bench.hub.take("a")] == [()] * 4


def test_nothing_changed_is_nothing_told():
    bench = Bench()
    bench.watch()
    bench.told()
    bench.hub.notify([])
    assert bench.told() == []


# A snapshot in the place of the store --------------------------------------------------------


def snapshot(bench: Bench, **changes) -> Store:
    """The store of another node that is ahead."""
    ahead = copy.deepcopy(bench.store)
    for key, value in changes.items():
        ahead.put(key.encode(), b"%d" % value)
    return ahead


def test_after_a_snapshot_watchers_hear_of_what_came_with_it():
    bench = Bench()
    bench.watch("a")
    bench.watch("a", "z")
    bench.watch("a", start_revision=9)
    bench.put("a", 1)
    bench.told()
    bench.hub.reset(snapshot(bench, a=2, b=3))
    assert bench.hub.unsynced == 2  # the third lacks nothing
    assert bench.told() == [
        "watch 0 at revision 4: put a=2",
        "watch 1 at revision 4: put a=2, put b=3",
    ]


def test_after_a_snapshot_who_lacks_compacted_history_is_told_so():
    bench = Bench()
    bench.watch("a")
    bench.put("a", 1)
    bench.told()
    ahead = snapshot(bench, a=2, b=3, c=4)
    ahead.compact(5)
    bench.hub.reset(ahead)
    assert bench.told() == ["watch 0 canceled: revision 5 is compacted"]


def test_a_snapshot_of_the_present_takes_nobody_back():
    bench = Bench()
    bench.watch("a")
    bench.put("b", 1, 2)  # nothing for it, but it has heard all the same
    bench.told()
    ahead = copy.deepcopy(bench.store)
    ahead.compact(3)
    bench.hub.reset(ahead)
    assert not bench.hub.unsynced
    ahead.put(b"a", b"3")
    bench.hub.notify([ahead.get(b"a")])
    assert bench.told() == ["watch 0 at revision 4: put a=3"]


def test_a_copy_goes_its_own_way():
    bench = Bench()
    bench.watch()
    bench.told()
    twin = copy.deepcopy(bench)
    twin.put("a", 1)
    assert twin.told() == ["watch 0 at revision 2: put a=1"]
    assert bench.told() == [] and bench.store.revision == 1


# All together -------------------------------------------------------------------------------

REPLAY = "python -c 'from tests.mvcc.test_watch import play; play({seed})'"


def play(seed: int) -> None:
    """Watchers that start anywhere and are read now and then hear what a list would tell them."""
    rng = Random(seed)
    bench = Bench(capacity=rng.choice((1, 2, 5)), batch=rng.choice((1, 2, 50)))
    made: list[tuple[int, bytes, bool]] = []  # (revision, key, whether it was put)
    asked: dict[str, tuple[bytes, bytes, int]] = {}
    heard: dict[str, list] = {}
    for step in range(40):
        if rng.random() < 0.25:
            name, key = f"s{step}", rng.choice((b"a", b"b"))
            range_end, start = rng.choice((b"", b"b", b"\0")), rng.randrange(8)
            if range_end not in (b"", b"\0") and range_end <= key:
                continue
            bench.hub.create(name, key, range_end, start)
            asked[name] = key, range_end, start or bench.store.revision + 1
            heard[name] = []
        with bench.store.write() as txn:
            for verb, key, other in some_changes(rng):
                txn.put(key, other) if verb == "put" else txn.delete_range(key, other)
        made += [(kv.mod_revision, kv.key, kv.version > 0) for kv in txn.changes]
        bench.hub.notify(txn.changes)
        if rng.random() < 0.5:
            bench.hub.sync()
        for name in list(asked):
            if rng.random() < 0.3:
                heard[name] += bench.hub.take(name)
    for _ in range(100):
        bench.hub.sync()
        for name in asked:
            heard[name] += bench.hub.take(name)
    for name, (key, range_end, start) in asked.items():
        told = [
            (event.kv.mod_revision, event.kv.key, event.type == PUT)
            for answer in heard[name]
            for event in answer.events
        ]
        assert told == [c for c in made if c[0] >= start and within(c[1], key, range_end)], name
    assert not bench.hub.unsynced and not bench.hub.waiting


@pytest.mark.parametrize("piece", range(4))
def test_random_watchers_hear_all_that_they_asked_for(piece):
    for seed in range(piece * 50, piece * 50 + 50):
        try:
            play(seed)
        except AssertionError as error:
            raise AssertionError(REPLAY.format(seed=seed)) from error
