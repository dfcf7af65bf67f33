"""Transcripts ask the store: what is typed, what is asked, and what is explained."""

from __future__ import annotations

import pytest

from kvlearn.course.lease_mutants import ExpiresEarly
from kvlearn.kv.leases import Compact, LeaseGrant, LeaseKeepAlive, LeaseRevoke
from kvlearn.kv.requests import DeleteRange, Put, Range
from kvlearn.kv.txn import Compare, Txn
from kvlearn.mvcc.watch import WatchHub
from kvlearn.sim.script import ScriptError, play

ELECTED = "cluster 3\nquiet\ncampaign n1\nstabilize\nloud\n"

ASKED = [
    ("put n1 a=1", Put(b"a", b"1")),
    ("put n1 a=x=y lease=1f prev", Put(b"a", b"x=y", 0x1F, True)),
    ("get n1 a at=5", Range(b"a", revision=5)),
    ("get n1 a end=c limit=2", Range(b"a", b"c", 2)),
    ("get n1 job/ prefix", Range(b"job/", b"job0")),
    ("get n1 a serializable", Range(b"a", serializable=True)),
    ("delete n1 job/ prefix prev", DeleteRange(b"job/", b"job0", True)),
    ("lease n1 grant 10 id=1f", LeaseGrant(10, 0x1F)),
    ("lease n1 revoke 7", LeaseRevoke(7)),
    ("lease n1 keep 7", LeaseKeepAlive(7)),
    ("compactkv n1 5", Compact(5)),
    ("txn n1 then put a=1", Txn((), (Put(b"a", b"1"),))),
    (
        "txn n1 if a=1 b.version>2, c.lease!=1f then put a=2; delete b else get a",
        Txn(
            (
                Compare(b"a", "value", "equal", b"1"),
                Compare(b"b", "version", "greater", 2),
                Compare(b"c", "lease", "not_equal", 0x1F),
            ),
            (Put(b"a", b"2"), DeleteRange(b"b")),
            (Range(b"a"),),
        ),
    ),
    ("txn n1 if x.y.mod<3 else delete d prefix", Txn((Compare(b"x.y", "mod", "less", 3),), (),
                                                   (DeleteRange(b"d", b"e"),))),
]  # fmt: skip


@pytest.mark.parametrize(("command", "request_"), ASKED, ids=[command for command, _ in ASKED])
def test_what_is_asked(command, request_):
    desk = play(ELECTED + command).cluster.desk
    assert desk.operations[1].request == request_


WRONG = [
    ("put n1 a", "a put reads key=value"),
    ("put n1 a=1 lease=z", "a lease is a hexadecimal number, not 'z'"),
    ("put n1 a=1 leese=7", "there is no option 'leese'; did you mean lease?"),
    ("get n1 a prefx", "may stand here, but not 'prefx'; did you mean prefix?"),
    ("get n1 a at=x", "at is a number, not 'x'"),
    ("get n1 a prefix end=c", "give `prefix` or end=, but not both"),
    ("txn n1 put a=1", "a transaction begins with `if` or `then`, not with 'put'"),
    ("txn n1 if a=1", "a transaction needs something to do, behind `then` or `else`"),
    ("txn n1 if a then put a=1", "a comparison reads key=value or key.version>2, not 'a'"),
    ("txn n1 if a.size>1 then put a=1", "a key has no 'size'; it has version, create, mod"),
    ("txn n1 then puts a=1", "in a transaction stands put or get or delete, not 'puts'; did you"),
    ("txn n1 then put a=1 then put b=1", "a transaction reads [if ...] then ... [else ...]"),
    ("lease n1 give 7", "it reads: lease node grant seconds"),
    ("lease n1 grant", "it reads: lease node grant seconds"),
    ("compact n1 5", "to give up the store's history, `compactkv n1 5`"),
    ("watch n1 a", "it reads: watch [node ...] | node w1 key"),
    ("watch n1 x1 a", "a stream is called w and a number, not 'x1'"),
    ("watch n1 w1 a no=puts", "a filter is put or delete, not puts"),
    ("cancel n1 w1", "there is no stream 'w1'; there are: none yet"),
    ("release w1", "there is no stream 'w1'"),
    ("hold w1", "there is no stream 'w1'"),
    ("resume w1", "it reads: resume w1 node"),
    ("cluster 3 lessor=ExpiresEarl", "did you mean ExpiresEarly?"),
    ("cluster 3 hub=Nobody", "there is no hub called 'Nobody'"),
    ("cluster 3 watch_queue=0", "watch_queue must be above 0"),
    ("cluster 3 tick_s=fast", "tick_s is a number, not 'fast'"),
]


@pytest.mark.parametrize(("command", "why"), WRONG, ids=[command for command, _ in WRONG])
def test_what_is_wrong_is_explained(command, why):
    with pytest.raises(ScriptError) as caught:
        play(ELECTED + command)
    assert caught.value.line == 6
    assert why in str(caught.value)


def test_a_stream_that_is_held_keeps_its_answers_at_the_node():
    text = ELECTED + "watch n1 w1 a\nhold w1\nput n1 a=1\nstabilize\n"
    bench = play(text).cluster
    stream = bench.streams.known("w1")
    assert [response.created for response in stream.heard] == [True]
    assert len(bench.hosts["n1"].node.hub.streams["c1/w1"].queue) == 1
    bench.release("w1")
    assert [event.kv.value for event in stream.heard[-1].events] == [b"1"]


def test_a_stream_belongs_to_one_node():
    with pytest.raises(ScriptError, match="n1 serves w1; another node takes another stream"):
        play(ELECTED + "watch n1 w1 a\nwatch n2 w1 b")
    with pytest.raises(ScriptError, match="the node that served w1 has crashed"):
        play(ELECTED + "watch n1 w1 a\ncrash n1\nwatch n2 w1 b")
    with pytest.raises(ScriptError, match="n1 serves w1 already"):
        play(ELECTED + "watch n1 w1 a\nresume w1 n1")


def test_two_watches_of_a_stream_go_on_under_their_numbers():
    text = ELECTED + "watch n1 w1 a\nwatch n1 w1 b id=4\nwatch n1 w1 c\ncancel n1 w1\n"
    bench = play(text + "put n1 b=1\nstabilize\ntick n1\nstabilize\nresume w1 n2\nwatch").cluster
    watchers = bench.hosts["n2"].node.hub.streams["c1/w1"].watchers
    assert {(id, watcher.key, watcher.next) for id, watcher in watchers.items()} == {
        (4, b"b", 3),
        (1, b"c", 2),
    }
    assert "c1/w1" not in bench.hosts["n1"].node.hub.streams


def test_broken_parts_are_put_in_by_name():
    cluster = play("cluster 1 lessor=ExpiresEarly hub=ForgetsTheSlow min_ttl_s=1\nheal").cluster
    assert cluster.store.lessor is ExpiresEarly
    assert issubclass(cluster.store.hub, WatchHub) and cluster.store.hub is not WatchHub
    assert cluster.store.min_ttl_s == 1


def test_a_bookmark_tells_how_far_the_watches_are():
    told = play(ELECTED + "put n1 a=1\nstabilize\nwatch n1 w1 b\nquiet\nloud\nbookmark n1 w1").text
    assert told.endswith("n1 tells c1/w1: watch -1 at revision 2: progress")


def test_check_knows_the_promises_of_the_store():
    scene = "cluster 1 tick_s=0.5 {}\nquiet\ncampaign n1\nstabilize\nlease n1 grant 3 id=6\n"
    scene += "lease n1 grant 4 id=7\nstabilize\ntick n1 6\nstabilize\nloud\ncheck"
    assert play(scene.format("")).text.endswith("every promise is kept")
    assert "Lease Safety is broken: " in play(scene.format("lessor=ExpiresEarly")).text
