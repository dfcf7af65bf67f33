"""What a client holds on to, on a channel that plays a part."""

import pytest

from kvlearn import Client, delete, get, put, value, version
from kvlearn.errors import (
    Compacted,
    LeaseNotFound,
    Stopped,
    TimedOut,
    Unavailable,
    WatchCanceled,
)
from kvlearn.handles import Lease, TxnBuilder, Watcher, WatchStream
from kvlearn.kv.leases import LeaseKeepAlive, LeaseResult, LeaseRevoke, LeaseTimeResult
from kvlearn.kv.requests import Answer, Header, KeyValue, Put
from kvlearn.kv.txn import Compare, Txn
from kvlearn.kv.watches import WatchCancel, WatchCreate, WatchProgress
from kvlearn.mvcc.watch import KVEvent, WatchResponse

CREATED = WatchResponse(0, 1, created=True)


def event(revision, key=b"a"):
    return KVEvent("put", KeyValue(key, b"%d" % revision, revision, revision, 1))


def told(*revisions):
    return WatchResponse(0, revisions[-1], events=tuple(map(event, revisions)))


def progress(revision):
    return WatchResponse(-1, revision)


class Script:
    """A channel: `to_come` has what a wait brings, `answers` what a call gives."""

    endpoints = ("n1",)
    try_s = 1.0
    name = "c1"

    def __init__(self, *to_come, answers=()):
        self.to_come, self.answers = list(to_come), list(answers)
        self.stream: list = []
        self.asked: list = []
        self.error = None
        self.time = 0.0
        self.kept: dict = {}

    def now(self):
        return self.time

    def wait(self, seconds):
        self.time += seconds

    def call(self, endpoint, request, timeout_s):
        self.asked.append(request)
        act = self.answers.pop(0) if self.answers else LeaseResult(7, 10)
        if isinstance(act, Exception):
            raise act
        return Answer(1, Header(revision=9), act)

    def open_stream(self, endpoint, request=None):
        self.asked.append(request)
        return "c1/w1"

    def ask_stream(self, stream, request):
        self.asked.append(request)

    def close_stream(self, stream):
        self.error = WatchCanceled("closed")

    def hold_stream(self, stream, held):
        self.asked.append(held)

    def received(self, stream):
        return self.stream

    def stream_error(self, stream):
        return self.error

    def wait_stream(self, stream, count, timeout_s):
        assert timeout_s >= 0
        if not self.to_come or timeout_s < 0.1:  # it comes every 0.1 s
            self.time += timeout_s
            raise TimedOut()
        self.time += 0.1
        self.stream.append(self.to_come.pop(0))

    def keep(self, lease, endpoint, every_s):
        self.kept[lease] = every_s

    def unkeep(self, lease):
        self.kept.pop(lease, None)

    def keeps(self, lease):
        return lease in self.kept


def watching(*to_come, **request):
    """A watcher of `a`, and its channel."""
    channel = Script(*to_come)
    client = Client(channel, timeout_s=1.0)
    return client.watch("a", **request), channel


# Watcher --------------------------------------------------------------------------------------


def test_events_one_by_one():
    watcher, channel = watching(CREATED, told(2, 3), progress(7), told(9))
    assert channel.asked == [WatchCreate(b"a")]
    assert [watcher.recv() for _ in range(3)] == [event(2), event(3), event(9)]
    assert watcher.revision == 9 and watcher.responses[0] == CREATED
    with pytest.raises(TimedOut, match="nothing to hear of watch a within 2 s"):
        watcher.recv(2.0)


def test_waiting_for_long_ends_in_time():
    """What comes and is no event does not begin the time anew."""
    watcher, channel = watching(*(progress(k) for k in range(1, 100)))
    with pytest.raises(TimedOut):
        watcher.recv(3.0)
    assert 3.0 <= channel.time < 3.3


class Growing(list):
    """What a real stream has brought: more comes the moment that somebody has looked."""

    def __init__(self, now, *later):
        super().__init__(now)
        self.later = list(later)

    def __getitem__(self, part):
        found = super().__getitem__(part)
        if self.later:
            self.append(self.later.pop(0))
        return found


def test_what_comes_while_it_looks_is_not_lost():
    watcher, channel = watching()
    channel.stream = Growing([CREATED], told(2), told(3), told(4))
    assert [one for _ in range(5) for one in watcher.events()] == [event(2), event(3), event(4)]
    stream = WatchStream(Client(channel), "n1")
    channel.stream = Growing([CREATED], told(2), told(3))
    assert [one for _ in range(4) for one in stream.take()] == [CREATED, told(2), told(3)]


def test_waiting_for_an_answer_begins_with_what_was_not_looked_at():
    watcher, channel = watching(told(3))
    channel.stream.append(CREATED)
    assert watcher.events() == [] and watcher.wait(1.0)
    assert watcher.events() == [event(3)] and not watcher.wait(1.0) and not watcher.wait(-1)
    assert channel.time == pytest.approx(1.1)


def test_a_time_out_of_nothing_looks_once():
    watcher, channel = watching()
    channel.stream.append(told(2))
    assert watcher.recv(0.0) == event(2)
    with pytest.raises(TimedOut):
        watcher.recv(0.0)


def test_events_drain():
    watcher, channel = watching()
    channel.stream += [CREATED, told(2), told(3)]
    assert watcher.events() == [event(2), event(3)] and watcher.events() == []
    assert repr(watcher) == "<watch a: up to revision 3, 0 events to read>"


def test_iterating():
    watcher, _ = watching(CREATED, told(2), told(3, 4))
    assert list(watcher) == [event(2), event(3), event(4)]


@pytest.mark.parametrize(
    "last, kind, why",
    [
        (WatchResponse(0, canceled=True, compact_revision=8), Compacted, "compacted at 8"),
        (WatchResponse(-1, 3, True, True, 0, "mvcc: no"), WatchCanceled, "mvcc: no"),
        (WatchResponse(0, 3, canceled=True), WatchCanceled, "canceled"),
    ],
)
def test_how_a_watch_ends(last, kind, why):
    watcher, channel = watching(CREATED, told(2), last)
    assert watcher.recv() == event(2), "what came before can be read"
    for again in (watcher.recv, watcher.recv, watcher.progress):
        with pytest.raises(kind):
            again()
    assert watcher.canceled == why and why in repr(watcher)
    channel.error = Stopped()
    assert watcher.canceled == why, "the first reason stays"


def test_a_stream_that_fails():
    watcher, channel = watching(CREATED, told(2))
    watcher.recv()
    channel.error = Stopped(hint="n1 is gone")
    with pytest.raises(Stopped):
        watcher.recv()
    assert watcher.canceled == "n1 is gone"


def test_cancelling_twice_closes_once():
    watcher, channel = watching()
    with watcher:
        pass
    channel.error = error = WatchCanceled("closed")
    watcher.cancel()
    assert channel.error is error and watcher.canceled == "closed"


def test_progress_waits_for_an_answer_of_its_own():
    watcher, channel = watching(CREATED, progress(4), told(5), progress(6))
    assert watcher.progress() == 4
    assert watcher.progress() == 6, "not what was told before it asked"
    with pytest.raises(TimedOut):
        watcher.progress()
    assert watcher.events() == [event(5)]
    assert channel.asked.count(WatchProgress()) == 4, "once more after the watch was created"


def test_progress_is_asked_again_of_another_node():
    watcher, channel = watching(CREATED, progress(2), CREATED, progress(3))
    watcher.progress()
    before = channel.asked.count(WatchProgress())
    assert watcher.progress() == 3
    assert channel.asked.count(WatchProgress()) == before + 2


def test_fragments_are_one_answer():
    part = [WatchResponse(0, 5, fragment=more, events=(event(5, key),))
            for more, key in ((True, b"a"), (True, b"b"), (False, b"c"))]  # fmt: skip
    watcher, _ = watching(CREATED, *part)
    assert [watcher.recv().kv.key for _ in range(3)] == [b"a", b"b", b"c"]
    channel = Script(CREATED, part[0])
    torn = Client(channel).watch("a")
    with pytest.raises(TimedOut):
        torn.recv()
    assert torn.revision == 1, "a part is nothing yet"


@pytest.mark.parametrize("read", range(4))
def test_a_stream_that_went_back_in_time(read):
    """Of what is told again nothing is read twice, of the rest nothing is left out."""
    watcher, channel = watching()
    channel.stream += [CREATED, told(2), told(3), told(4)]
    for _ in range(read):
        watcher.recv()
    channel.stream = [CREATED, told(2), told(3)]  # 4 has not come yet
    left = [event(revision) for revision in (2, 3)][read:]
    assert watcher.events() == left
    channel.stream.append(told(4, 5))
    assert watcher.events() == [event(4), event(5)]


def test_another_future_of_the_same_length():
    watcher, channel = watching()
    channel.stream += [CREATED, told(2), told(3)]
    assert len(watcher.events()) == 2
    channel.stream = [CREATED, told(2), told(5), told(6)]
    assert watcher.events() == [event(5), event(6)] and watcher.revision == 6


# WatchStream ----------------------------------------------------------------------------------


def test_a_raw_stream():
    channel = Script()
    stream = Client(channel).watch_stream()
    stream.create(b"a", b"c", watch_id=5, prev_kv=True)
    stream.cancel(5)
    stream.request_progress()
    stream.hold()
    stream.release()
    asked = [WatchCreate(b"a", b"c", 0, 5, True), WatchCancel(5), WatchProgress(), True, False]
    assert channel.asked == [None, *asked]
    channel.stream += [CREATED, told(2)]
    assert stream.take() == [CREATED, told(2)] and stream.take() == []
    channel.stream = [CREATED, told(4)]
    assert stream.take() == [told(4)], "another future"
    channel.stream.append(told(5))
    channel.error = Stopped()
    assert stream.take() == [told(5)]
    for again in (stream.take, stream.request_progress, lambda: stream.cancel(1)):
        with pytest.raises(Stopped):
            again()
    assert isinstance(stream, WatchStream)


# Lease ----------------------------------------------------------------------------------------


def leased(*answers):
    channel = Script(answers=answers)
    return Lease(Client(channel, timeout_s=1.0), 7, 9), channel


def test_keeping_alive():
    lease, channel = leased(LeaseResult(7, 9), LeaseResult(7, 0))
    assert lease.keep_alive_once().ttl_s == 9
    with pytest.raises(LeaseNotFound, match="lease 7 has run out or was revoked"):
        lease.keep_alive_once()
    assert channel.asked == [LeaseKeepAlive(7)] * 2
    assert lease.keep_alive() is lease and channel.kept == {7: 3.0} and lease.is_kept
    assert repr(lease) == "<lease 7 of 9 s, kept alive>"
    lease.stop_keep_alive()
    assert repr(lease) == "<lease 7 of 9 s>" and not lease.is_kept


def test_time_to_live():
    lease, _ = leased(LeaseTimeResult(7, 4, 9, (b"a",)))
    left = lease.time_to_live(keys=True)
    assert (left.ttl_s, left.granted_ttl_s, left.keys) == (4, 9, (b"a",))


def test_revoking_stops_keeping():
    lease, channel = leased()
    lease.keep_alive()
    lease.revoke()
    assert not lease.is_kept and channel.asked == [LeaseRevoke(7)]


@pytest.mark.parametrize("error", [LeaseNotFound(), Unavailable(), TimedOut(), None])
def test_leaving_the_block_revokes_as_far_as_that_goes(error):
    lease, channel = leased(*[error] * 99 if error else ())
    with lease.keep_alive():
        pass
    assert LeaseRevoke(7) in channel.asked and not lease.is_kept


def test_an_error_in_the_block_is_not_hidden():
    lease, channel = leased(LeaseNotFound())
    with pytest.raises(ZeroDivisionError), lease:
        1 / 0
    assert channel.asked == [LeaseRevoke(7)]


# TxnBuilder -----------------------------------------------------------------------------------


def test_a_transaction_in_the_making():
    txn = TxnBuilder(Client(Script()))
    assert txn.request == Txn() and str(txn.request) in repr(txn)
    whole = (
        txn.if_(version("k") == 2, value("k") > "a")
        .if_(version("l") == 0)
        .then(put("k", "v"))
        .then(get("k"), delete("l"))
        .else_(TxnBuilder(None).then(put("m")))
    )
    assert whole is txn
    assert txn.request == Txn(
        (version("k") == 2, value("k") > "a", version("l") == 0),
        (put("k", "v"), get("k"), delete("l")),
        (Txn((), (put("m"),)),),
    )


@pytest.mark.parametrize("wrong", [True, "k == 2", None, version("k"), put("k"), ()])
def test_no_comparison(wrong):
    with pytest.raises(TypeError, match="a comparison is like"):
        TxnBuilder(None).if_(Compare(b"k"), wrong)


@pytest.mark.parametrize("wrong", ["put", None, LeaseRevoke(7), version("k") == 1, [put("k")]])
def test_no_operation(wrong):
    for branch in (TxnBuilder(None).then, TxnBuilder(None).else_):
        with pytest.raises(TypeError, match=r"an operation is put\(\.\.\.\)"):
            branch(put("k"), wrong)


def test_a_mistake_leaves_the_transaction_as_it_was():
    txn = TxnBuilder(None).then(put("a"))
    with pytest.raises(TypeError):
        txn.then(put("b"), None)
    with pytest.raises(TypeError):
        txn.if_(version("a") == 0, None)
    assert txn.request == Txn((), (Put(b"a"),))


def test_handles_are_what_a_client_gives():
    client = Client(Script())
    assert isinstance(client.watch("a"), Watcher) and isinstance(client.txn(), TxnBuilder)
    assert isinstance(client.lease(5), Lease)
