"""Cases about watching: points 37 to 45 of etcd's semantics."""

from __future__ import annotations

import queue

import grpc
import pytest

from tests.live.spec_kit import MIB, Api, View, case, delete, fails, pb, put, until

PUT, DELETE = 0, 1
DUPLICATE_ID = "mvcc: duplicate watch ID provided on the WatchStream"
EMPTY_RANGE = "mvcc: watcher range is empty"


@case(37)
def created_comes_first(v: View):
    now = v.put("a", b"1")
    with v.watch(key=v.key("a"), start_revision=now) as stream:
        first = stream.created()
        assert first.watch_id == 0 and first.header.revision >= now and not first.events
        assert first.header.member_id and first.header.cluster_id and first.header.raft_term
        assert [event.kv.value for event in stream.events(1)] == [b"1"]


@case(37)
def no_gap_after_created(v: View):
    with v.watch(key=v.key("a")) as stream:
        seen = stream.created().header.revision
    v.put("a", b"1")
    v.put("a", b"2")
    with v.a.watch(key=v.key("a"), start_revision=seen + 1) as stream:
        stream.created()
        assert [event.kv.value for event in stream.events(2)] == [b"1", b"2"]
        v.put("a", b"3")
        assert stream.events(1)[0].kv.value == b"3"


@case(38)
def watch_ids(v: View):
    with v.watch() as stream:
        seen = []
        for chosen in (0, 0, 3, 0, 0, 2**40, 0):
            stream.create(key=v.key("a"), watch_id=chosen)
            seen.append(stream.created().watch_id)
        assert seen == [0, 1, 3, 2, 4, 2**40, 5]
        for taken in (3, 1, 2**40):
            stream.create(key=v.key("b"), watch_id=taken)
            refused = stream.next()
            assert refused.created and refused.canceled and refused.watch_id == -1
            assert refused.cancel_reason == DUPLICATE_ID
        stream.create(key=v.key("a"))
        assert stream.created().watch_id == 6
    with v.watch(key=v.key("a")) as stream:
        assert stream.created().watch_id == 0, "each stream counts for itself"


@case(38)
def negative_watch_ids(v: View):
    with v.watch(key=v.key("a"), watch_id=-7) as stream:
        assert stream.created().watch_id == -7
        v.put("a")
        assert stream.next().watch_id == -7
        stream.cancel(-7)
        assert stream.next().canceled


@case(38)
def empty_intervals(v: View):
    with v.watch() as stream:
        for end in (v.key("b"), v.key("a")):
            stream.create(key=v.key("b"), range_end=end)
            refused = stream.next()
            assert refused.created and refused.canceled and refused.watch_id == -1
            assert refused.cancel_reason == EMPTY_RANGE
            assert not refused.compact_revision
        stream.create(key=v.key("b"))
        assert stream.created().watch_id >= 0
        v.put("b")
        stream.events(1)


@case(38)
def cancelling(v: View):
    with v.watch(key=v.key("a")) as stream:
        stream.created()
        stream.cancel(99)
        stream.create(key=v.key("b"))
        assert stream.created().watch_id == 1, "an unknown id is not answered"
        stream.cancel(0)
        bye = stream.next()
        assert bye.canceled and not bye.created and bye.watch_id == 0
        assert not bye.cancel_reason and not bye.compact_revision
        v.put("a")
        v.put("b")
        answer = stream.next()
        assert answer.watch_id == 1 and answer.events[0].kv.key == v.key("b")
        stream.cancel(0)
        stream.create(key=v.key("a"), watch_id=0)
        assert stream.created().watch_id == 2


@case(38)
def a_cancelled_id_is_free(v: View):
    with v.watch(key=v.key("a"), watch_id=5) as stream:
        stream.created()
        stream.cancel(5)
        assert stream.next().canceled
        stream.create(key=v.key("a"), watch_id=5)
        assert stream.created().watch_id == 5


@case(38)
def an_empty_key_is_the_zero_byte(v: View):
    """A watch needs no key: without one and with an end it begins at the first key."""
    with v.watch(key=b"", range_end=b"\0") as stream:
        stream.created()
        v.put("a")
        assert stream.events(1)[0].kv.key == v.key("a")


@case(39)
def events_of_a_revision_come_together(v: View):
    v.put("d")
    with v.watch(key=v.space, range_end=v.end) as stream:
        stream.created()
        answer = v.txn(put(v.key("z"), b"1"), delete(v.key("d")), put(v.key("a"), b"2"))
        heard = stream.next()
    kinds = [(event.type, event.kv.key[len(v.space) :]) for event in heard.events]
    assert kinds == [(PUT, b"z"), (DELETE, b"d"), (PUT, b"a")]
    assert heard.header.revision == answer.header.revision
    assert {event.kv.mod_revision for event in heard.events} == {answer.header.revision}


@case(39)
def history_is_replayed_in_order(v: View):
    first = v.put("a", b"0")
    for n in range(1, 20):
        v.put("ab"[n % 2], b"%d" % n)
    v.txn(put(v.key("b"), b"x"), put(v.key("a"), b"y"))
    with v.watch(key=v.space, range_end=v.end, start_revision=first) as stream:
        stream.created()
        events: list = []
        while len(events) < 22:
            answer = stream.next()
            assert answer.header.revision >= answer.events[-1].kv.mod_revision
            events += answer.events
    assert [e.kv.value for e in events] == [b"%d" % n for n in range(20)] + [b"x", b"y"]
    revisions = [e.kv.mod_revision for e in events]
    assert revisions == sorted(revisions) and revisions[-1] == revisions[-2]


@case(40)
def a_deletion(v: View):
    lease = v.lease()
    v.put("a", b"1", lease=lease)
    with v.watch(key=v.key("a")) as stream:
        stream.created()
        gone = v.delete("a").header.revision
        event = stream.events(1)[0]
    assert event.type == DELETE and not event.HasField("prev_kv")
    assert event.kv == type(event.kv)(key=v.key("a"), mod_revision=gone)


@case(41)
def prev_kv_of_events(v: View):
    with v.watch(key=v.key("a"), prev_kv=True) as stream:
        stream.created()
        first = v.put("a", b"1")
        v.put("a", b"2")
        v.delete("a")
        v.put("a", b"3")
        events = stream.events(4)
    assert not events[0].HasField("prev_kv") and not events[3].HasField("prev_kv")
    assert (events[1].prev_kv.value, events[1].prev_kv.mod_revision) == (b"1", first)
    assert (events[2].prev_kv.value, events[2].prev_kv.version) == (b"2", 2)


@case(41)
def prev_kv_goes_with_compaction(v: View):
    v.put("a", b"1")
    last = v.put("a", b"2")
    v.a.Compact(revision=last)
    with v.watch(key=v.key("a"), prev_kv=True, start_revision=last) as stream:
        stream.created()
        assert not stream.events(1)[0].HasField("prev_kv")
        v.put("a", b"3")
        assert stream.events(1)[0].prev_kv.value == b"2"


@case(41)
def filters(v: View):
    with v.watch(key=v.key("a"), filters=["NOPUT"]) as stream:
        stream.created()
        v.put("a", b"1")
        v.delete("a")
        assert stream.events(1)[0].type == DELETE
    with v.watch(key=v.key("a"), filters=["NODELETE"], prev_kv=True) as stream:
        stream.created()
        v.put("a", b"1")
        v.delete("a")
        v.put("a", b"2")
        assert [event.kv.value for event in stream.events(2)] == [b"1", b"2"]
    start = v.revision
    with v.watch(key=v.space, range_end=v.end, filters=["NOPUT", "NODELETE"]) as stream:
        stream.created()
        v.put("a", b"1")
        stream.create(key=v.key("a"), start_revision=start + 1)
        assert stream.created().watch_id == 1
        assert stream.next().watch_id == 1


@case(41)
def filters_within_a_revision(v: View):
    v.put("a")
    with v.watch(key=v.space, range_end=v.end, filters=["NODELETE"]) as stream:
        stream.created()
        v.txn(delete(v.key("a")), put(v.key("b")))
        assert [event.kv.key for event in stream.next().events] == [v.key("b")]


@case(42)
def a_start_in_the_future(v: View):
    now = v.put("a", b"0")
    with v.watch(key=v.key("a"), start_revision=now + 3) as stream:
        stream.created()
        for n in range(1, 5):
            v.put("a", b"%d" % n)
        assert [event.kv.value for event in stream.events(2)] == [b"3", b"4"]


@case(42)
def a_start_far_ahead_is_silent(v: View):
    with v.watch(key=v.key("a"), start_revision=2**62) as stream:
        stream.created()
        stream.create(key=v.key("a"), start_revision=-1)
        second = stream.next()
        v.put("a")
        heard = second if second.events else stream.next()
        assert heard.watch_id == 1, "a negative start is now"


@case(43)
def a_start_below_the_compacted(v: View):
    old = v.put("a", b"1")
    v.put("a", b"2")
    now = v.put("a", b"3")
    v.a.Compact(revision=now)
    until(lambda: compacted(v, old), "the other member has compacted too")
    with v.watch(key=v.key("a"), start_revision=old, watch_id=4) as stream:
        assert stream.created().header.revision == now
        bye = stream.next()
        assert bye.canceled and not bye.created and bye.watch_id == 4
        assert bye.compact_revision == now and bye.header.revision == 0
        assert not bye.cancel_reason
        stream.create(key=v.key("b"), watch_id=4)
        assert stream.next().cancel_reason == DUPLICATE_ID, "the id stays taken"
        stream.cancel(4)
        stream.create(key=v.key("b"))
        answers = [stream.next()]
        if answers[0].canceled:
            answers.append(stream.next())
        assert answers[-1].created
        stream.create(key=v.key("b"), watch_id=4)
        assert stream.created().watch_id == 4, "until the client cancels it"


def compacted(v: View, revision: int) -> bool:
    try:
        v.b.Range(key=b"a", revision=revision, serializable=True)
    except grpc.RpcError as error:
        return "compacted" in error.details()
    return False


@case(43)
def a_start_at_the_compacted(v: View):
    v.put("a", b"1")
    now = v.put("a", b"2")
    v.put("a", b"3")
    v.a.Compact(revision=now)
    with v.watch(key=v.key("a"), start_revision=now) as stream:
        stream.created()
        assert [event.kv.value for event in stream.events(2)] == [b"2", b"3"]


@case(43)
def a_watcher_that_has_caught_up_survives(v: View):
    with v.watch(key=v.key("a"), start_revision=v.put("a", b"1")) as stream:
        stream.created()
        stream.events(1)
        v.put("b")
        v.a.Compact(revision=v.put("b"))
        v.put("a", b"2")
        assert stream.events(1)[0].kv.value == b"2"


@case(44)
def progress_on_request(v: View):
    now = v.put("a")
    with v.watch(key=v.key("a"), watch_id=8) as stream:
        stream.created()
        stream.progress()
        answer = stream.next()
        assert answer.watch_id == -1 and not answer.events
        assert not answer.created and not answer.canceled
        assert answer.header.revision >= now and answer.header.member_id
        stream.create(key=v.key("b"))
        assert stream.created().watch_id == 0
        stream.progress()
        stream.cancel(8)
        kinds = sorted((stream.next().watch_id, stream.next().watch_id))
        assert kinds == [-1, 8]


@case(44)
def progress_comes_after_the_events(v: View):
    with v.watch(key=v.key("a")) as stream:
        stream.created()
        last = 0
        for n in range(20):
            last = v.put("a", b"%d" % n)
        stream.events(20)
        stream.progress()
        answer = stream.next()
        assert answer.watch_id == -1 and answer.header.revision == last


@case(45, once=True)
def fragments(v: View):
    big = b"x" * (MIB // 4)
    first = 0
    for start in range(0, 12, 4):
        revision = v.txn(*(put(v.key(f"k{n:02}"), big) for n in range(start, start + 4)))
        first = first or revision.header.revision
    for whole in (False, True):
        with v.watch(key=v.space, range_end=v.end, fragment=not whole) as stream:
            stream.created()
            v.a.DeleteRange(key=v.key("none"))
            with v.a.watch(key=v.space, range_end=v.end, start_revision=first) as other:
                other.created()
                other.events(12)
    with v.watch(key=v.space, range_end=v.end, prev_kv=True, fragment=True) as stream:
        stream.created()
        gone = v.a.DeleteRange(key=v.space, range_end=v.end)
        parts = [stream.next()]
        while parts[-1].fragment:
            parts.append(stream.next())
    assert gone.deleted == 12 and len(parts) > 1
    assert sum(len(part.events) for part in parts) == 12
    assert [part.fragment for part in parts] == [True] * (len(parts) - 1) + [False]
    assert {part.header.revision for part in parts} == {gone.header.revision}
    assert all(part.ByteSize() <= 2 * MIB + 4096 for part in parts)


@case(45, once=True)
def without_fragments_a_revision_is_whole(v: View):
    big = b"x" * (MIB // 4)
    for start in range(0, 12, 4):
        v.txn(*(put(v.key(f"k{n:02}"), big) for n in range(start, start + 4)))
    with v.watch(key=v.space, range_end=v.end, prev_kv=True) as stream:
        stream.created()
        v.a.DeleteRange(key=v.space, range_end=v.end)
        answer = stream.next()
    assert len(answer.events) == 12 and not answer.fragment and answer.ByteSize() > 3 * MIB


@case(37, 39, once=True)
def many_watchers(v: View):
    with v.watch() as stream:
        for _ in range(200):
            stream.create(key=v.key("a"))
        assert [stream.created().watch_id for _ in range(200)] == list(range(200))
        v.put("a")
        assert {stream.next().watch_id for _ in range(200)} == set(range(200))


@case(37, once=True)
def concurrent_streams(v: View):
    """A hundred streams over all members hear the same."""
    streams = [v.all[n % len(v.all)].watch(key=v.key("a")) for n in range(100)]
    try:
        for stream in streams:
            stream.created()
        revisions = [v.put("a", b"%d" % n) for n in range(5)]
        for stream in streams:
            assert [event.kv.mod_revision for event in stream.events(5)] == revisions
    finally:
        for stream in streams:
            stream.close()


@case(37, once=True)
def a_slow_reader_misses_nothing(v: View):
    channel = v.closing(Api(v.b.endpoint))
    with channel.watch(key=v.key("a")) as stream:
        stream.created()
        for n in range(30):
            v.put("a", b"%03d" % n + b"x" * 200_000)
        assert [event.kv.value[:3] for event in stream.events(30)] == [
            b"%03d" % n for n in range(30)
        ]


@case(38)
def nothing_asked_is_nothing_answered(v: View):
    with v.watch() as stream:
        stream.send()
        stream.create(key=v.key("a"))
        assert stream.created().watch_id == 0


@case(38)
def half_closing_ends_nothing(v: View):
    """Who has no more to ask still listens."""
    with v.watch(key=v.key("a")) as stream:
        stream.created()
        stream.half_close()
        v.put("a")
        stream.events(1)


@case(38)
def half_closing_at_once_ends_nothing(v: View):
    with v.b.watch() as stream:
        stream.half_close()
        with pytest.raises(queue.Empty):
            stream.next(timeout=0.3)


@case(38)
def a_cancelled_stream_frees_the_member(v: View):
    for _ in range(20):
        stream = v.watch(key=v.key("a"))
        stream.created()
        stream.call.cancel()
    v.put("a")
    with v.watch(key=v.key("a"), start_revision=v.revision) as stream:
        stream.created()
        stream.events(1)


@case(37, 57)
def watching_asks_for_a_leader(v: View):
    """The metadata `hasleader` is taken where there is one."""
    with v.watch(metadata=[("hasleader", "true")], key=v.key("a")) as stream:
        stream.created()
        v.put("a")
        stream.events(1)
    assert v.b.Range(key=v.key("a"), metadata=[("hasleader", "true")]).count == 1


@case(38)
def bad_bytes_end_the_call(v: View):
    text = fails(v.a.raw, "INTERNAL", path="/etcdserverpb.KV/Put", message=b"\xff\xff\xff")
    assert text
    assert v.put("a")
    assert pb.PutRequest.FromString(b"") == pb.PutRequest()
