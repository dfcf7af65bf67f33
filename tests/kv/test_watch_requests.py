"""What a watch stream takes and refuses, and how requests read in a log (facts 10, 38)."""

import pytest

from kvlearn.errors import InvalidArgument
from kvlearn.kv.requests import FROM_KEY, Put, prefix_end
from kvlearn.kv.watches import WatchCancel, WatchCreate, WatchProgress, check_watch
from kvlearn.mvcc.backend import MemoryBackend
from kvlearn.mvcc.store import Store
from kvlearn.mvcc.watch import WatchHub


@pytest.mark.parametrize(
    "request_",
    [
        WatchCreate("a"),
        WatchCreate(b"a", "b"),
        WatchCreate(b"a", None),
        WatchCreate(b"a", start_revision="5"),
        WatchCreate(b"a", watch_id=None),
        WatchCreate(b"a", filters=("puts",)),
        WatchCreate(b"a", filters=("put", 5)),
        Put(b"a"),
        None,
    ],
)
def test_what_no_stream_takes(request_):
    with pytest.raises(InvalidArgument):
        check_watch(request_)


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        (WatchCreate(b"a"), "watch a"),
        (WatchCreate(b"a", b"a"), "watch [a, a)"),  # empty, which is answered in band
        (WatchCreate(b"a", prefix_end(b"a"), start_revision=5), "watch a* from 5"),
        (WatchCreate(b"a", FROM_KEY, -5, -7, filters=("put", "delete")), "watch a and above"),
        (WatchCreate(b"\0", FROM_KEY), "watch everything"),
        (WatchCancel(77), "cancel watch 77"),
        (WatchProgress(), "progress?"),
    ],
)
def test_what_a_stream_takes(request_, text):
    check_watch(request_)
    assert str(request_) == text


@pytest.mark.parametrize(
    ("range_end", "heard"),
    [(b"", [b"\0"]), (b"b", [b"\0", b"a"]), (FROM_KEY, [b"\0", b"a", b"b"])],
)
def test_a_watch_without_a_key_begins_at_the_smallest(range_end, heard):
    request = WatchCreate(b"", range_end)
    check_watch(request)
    store = Store(MemoryBackend())
    hub = WatchHub(store)
    hub.create("c1", request.key, request.range_end)
    for key in (b"\0", b"a", b"b"):
        with store.write() as txn:
            txn.put(key, b"")
        hub.notify(txn.changes)
    created, *responses = hub.take("c1")
    assert created.created and not created.canceled
    assert [event.kv.key for one in responses for event in one.events] == heard
