"""Cases from the edges: strange numbers, half requests, names that are empty. All points."""

from __future__ import annotations

import json

import grpc

from tests.live.spec_kit import View, case, elections, fails, get, nested, pb, put, until
from tests.live.spec_kv import COMPACTED
from tests.live.spec_lock import mine


@case(11, 13)
def filters_below_zero_and_upside_down(v: View):
    v.put("a")
    v.put("b")
    for empty in (
        {"max_mod_revision": -1},
        {"max_create_revision": -5},
        {"min_mod_revision": 2**62},
        {"min_mod_revision": v.revision, "max_mod_revision": v.revision - 1},
    ):
        answer = v.range(**empty)
        assert (answer.count, len(answer.kvs), answer.more) == (2, 0, False), empty
    for all_of_it in ({"min_mod_revision": -1}, {"min_create_revision": -(2**63)}):
        assert len(v.range(**all_of_it).kvs) == 2
    assert len(v.range(limit=2**63 - 1).kvs) == 2


@case(13)
def more_after_sorting(v: View):
    for n in range(4):
        v.put(f"k{n}", b"%d" % (9 - n))
    answer = v.range(limit=3, sort_target="VALUE", sort_order="ASCEND", keys_only=True)
    assert [kv.key for kv in answer.kvs] == [v.key("k3"), v.key("k2"), v.key("k1")]
    assert answer.more and answer.count == 4 and not any(kv.value for kv in answer.kvs)
    again = v.range(limit=4, sort_target="VERSION", sort_order="DESCEND")
    assert not again.more and len(again.kvs) == 4


@case(10)
def ends_of_several_zero_bytes(v: View):
    v.put("a")
    assert v.b.Range(key=v.key("a"), range_end=b"\0\0").count == 0, "only one zero byte is all"
    assert v.b.Range(key=b"\xff" * 40, range_end=b"\0").count == 0


@case(16)
def long_keys(v: View):
    name = b"k" * 100_000
    v.put(name, b"1")
    v.put(name + b"\0", b"2")
    assert v.names() == [name, name + b"\0"]
    assert v.delete(name).deleted == 1 and v.names() == [name + b"\0"]


@case(35, 27)
def deep_transactions(v: View):
    deep = put(v.key("bottom"))
    for _ in range(40):
        deep = nested(deep)
    answer = v.txn(deep)
    for _ in range(40):
        answer = answer.responses[0].response_txn
        assert answer.succeeded
    assert answer.responses[0].response_put.header.revision == v.revision
    assert v.names() == [b"bottom"]


@case(32)
def siblings_in_both_branches(v: View):
    a, b = v.key("a"), v.key("b")
    inner = nested(put(a), failure=[put(b)])
    assert v.a.Txn(success=[inner], failure=[inner]).succeeded
    duplicate = "etcdserver: duplicate key given in txn request"
    fails(v.a.Txn, "INVALID_ARGUMENT", duplicate, success=[inner, put(b)])
    fails(v.a.Txn, "INVALID_ARGUMENT", duplicate, success=[put(a), nested(nested(put(a)))])
    assert v.names() == [b"a"]


@case(40, 48)
def a_watch_of_what_leases_take(v: View):
    lease = v.lease()
    v.txn(put(v.key("b"), lease=lease), put(v.key("a"), lease=lease))
    with v.watch(key=v.space, range_end=v.end, prev_kv=True, filters=["NOPUT"]) as stream:
        stream.created()
        revision = v.a.LeaseRevoke(ID=lease).header.revision
        events = stream.next().events
    assert [(e.kv.key, e.kv.mod_revision) for e in events] == [
        (v.key("a"), revision),
        (v.key("b"), revision),
    ]


@case(39)
def overlapping_watchers_of_a_stream(v: View):
    with v.watch(key=v.key("a")) as stream:
        stream.create(key=v.space, range_end=v.end)
        stream.create(key=v.key("a"), range_end=b"\0")
        assert [stream.created().watch_id for _ in range(3)] == [0, 1, 2]
        v.txn(put(v.key("a")), put(v.key("b")))
        heard = {}
        for _ in range(3):
            answer = stream.next()
            heard[answer.watch_id] = [e.kv.key[len(v.space) :] for e in answer.events]
    assert heard == {0: [b"a"], 1: [b"a", b"b"], 2: [b"a", b"b"]}


@case(38)
def cancelled_twice(v: View):
    with v.watch(key=v.key("a")) as stream:
        stream.created()
        stream.cancel(0)
        stream.cancel(0)
        assert stream.next().canceled
        stream.create(key=v.key("b"))
        assert stream.next().created, "the second one is not answered"


@case(44)
def progress_without_watchers(v: View):
    """What 3.4 and 3.5.1 answer at once, later ones not at all."""
    now = v.put("a")
    v.sync()
    with v.b.watch() as stream:
        stream.progress()
        stream.create(key=v.key("a"))
        first = stream.next()
        assert first.created or (first.watch_id == -1 and first.header.revision == now)


@case(38, 44)
def strange_filters(v: View):
    with v.watch(key=v.key("a"), filters=["NOPUT", "NOPUT", 5]) as stream:
        stream.created()
        v.put("a")
        v.delete("a")
        assert stream.events(1)[0].type == 1


@case(61)
def locks_with_strange_names(v: View):
    lease = v.lease()
    for name in (b"\x00\xff", b"a/b/", b"/"):
        key = v.a.Lock(name=v.key(name), lease=lease).key
        assert key == mine(v, name, lease)
        assert v.b.Unlock(key=key).header.revision == v.revision
    inner = v.key("n") + b"/m"  # all keys below `n/` wait in line for the lock `n`
    v.a.Put(key=inner)
    late = "DEADLINE_EXCEEDED", "UNKNOWN"
    fails(v.a.Lock, late, name=v.key("n"), lease=lease, timeout=0.3)


@case(62)
def leaders_that_are_made_up(v: View):
    key = elections.LeaderKey
    empty = "etcdserver: key is not provided"
    fails(v.a.Resign, "UNKNOWN", empty, leader=key(name=b"x"))
    fails(v.a.Proclaim, "UNKNOWN", empty, leader=key(name=b"x"), value=b"1")
    gone = key(name=b"x", key=v.key("none"), rev=5)
    fails(v.a.Proclaim, "UNKNOWN", "election: not leader", leader=gone, value=b"1")
    free = key(name=b"x", key=v.key("free"), rev=0)
    v.a.Proclaim(leader=free, value=b"1")
    assert v.get("free").value == b"1", "of create revision 0: a key that is not there"
    v.a.Resign(leader=gone)


@case(62)
def observing_before_there_is_a_leader(v: View):
    lease = v.lease()
    with v.b.listen("Observe", name=v.key("e")) as stream:
        v.put("e2")
        v.a.Campaign(name=v.key("e"), lease=lease, value=b"1")
        heard = stream.next()
        assert heard.kv.value == b"1" and heard.kv.lease == lease


@case(66)
def strange_numbers_in_json(v: View):
    v.put("a")
    key = '"key": "YQ=="'
    for limit in ("1.0", '"1.0"', '"1e1"', "1.5", '""', '"99999999999999999999"', str(2**63),
                  "true", "{}", "01", "+1", "NaN"):  # fmt: skip
        body = f'{{{key}, "limit": {limit}}}'.encode()
        status, answer = v.b.post("/v3/kv/range", body)
        assert status == 400 and answer["code"] == 3, (limit, answer)
    for limit in (str(-(2**63)), "null", '"-5"'):
        body = f'{{{key}, "limit": {limit}}}'.encode()
        assert v.b.post("/v3/kv/range", body)[0] == 200, limit
    for body in (b'{"key":"YQ==",}', b"{'key':'YQ=='}", b'"x"', b"123", b"\xff"):
        status, answer = v.b.post("/v3/kv/range", body)
        assert status == 400 and answer["code"] == 3, (body, answer)
    assert v.b.post("/v3/kv/range", b'{"key":"\\u0059Q=="}')[0] == 200


@case(68)
def streams_of_broken_json(v: View):
    for path in ("/v3/watch", "/v3/lease/keepalive"):
        status, answer = v.b.post(path, b"{")
        assert status in (400, 500) and answer["error"], (path, status, answer)
    status, text = v.b.http("POST", "/v3/lease/keepalive", b'{"ID":5}{"ID":6}')
    ids = [json.loads(line)["result"]["ID"] for line in text.splitlines()]
    assert status == 200 and ids == ["5", "6"]


@case(54)
def compacting_twice_from_two_members(v: View):
    at = v.put("a")
    v.put("a")
    v.a.Compact(revision=at)
    fails(v.b.Compact, "OUT_OF_RANGE", COMPACTED, revision=at)
    fails(v.b.Range, "OUT_OF_RANGE", COMPACTED, key=v.key("a"), revision=at - 1)
    assert v.b.Compact(revision=at + 1, physical=True).header.revision == at + 1


@case(46, 49)
def a_lease_of_one_member_is_everybodys(v: View):
    lease = v.a.LeaseGrant(TTL=100).ID
    for api in v.all:
        api.Put(key=v.key("a"), lease=lease)
        with api.stream("LeaseKeepAlive") as stream:
            stream.send(ID=lease)
            assert stream.next().TTL == 100
        assert api.LeaseTimeToLive(ID=lease).grantedTTL == 100
    v.b.LeaseRevoke(ID=lease)
    assert v.get("a") is None


@case(57)
def calls_that_3_4_does_not_know(v: View):
    for call in (lambda: v.a.Downgrade(version="nonsense"), v.a.AuthStatus):
        try:
            assert call().header.cluster_id
        except grpc.RpcError as error:
            assert error.code().name in ("UNIMPLEMENTED", "INVALID_ARGUMENT", "UNKNOWN")


@case(59)
def alarms_of_unknown_kinds(v: View):
    me = v.a.Status().header.member_id
    v.a.Alarm(action="ACTIVATE", memberID=4711, alarm="NOSPACE")
    try:
        until(lambda: v.b.Alarm().alarms, "it is known")
        assert not v.b.Alarm(action="GET", alarm=5).alarms
        assert not v.a.Alarm(action="DEACTIVATE", memberID=me, alarm=5).alarms
        for none in ({"memberID": 4711}, {"alarm": "NOSPACE"}, {}):
            assert not v.a.Alarm(action="DEACTIVATE", **none).alarms or v.is_etcd(), none
        assert len(v.b.Alarm().alarms) == 1, "neither stands for all"
    finally:
        v.a.Alarm(action="DEACTIVATE", memberID=4711, alarm="NOSPACE")
        until(lambda: not any(list(api.Alarm().alarms) for api in v.all), "all know")


@case(59)
def an_alarm_of_member_0(v: View):
    v.a.Alarm(action="ACTIVATE", alarm="NOSPACE")
    until(lambda: v.b.Alarm().alarms, "it is known")
    fails(v.b.Put, "RESOURCE_EXHAUSTED", key=v.key("a"))
    v.b.Alarm(action="DEACTIVATE", alarm="NOSPACE")
    until(lambda: not any(list(api.Alarm().alarms) for api in v.all), "all know")
    v.put("a")


@case(28)
def reading_old_and_new_in_one_transaction(v: View):
    old = v.put("a", b"1")
    v.put("b", b"1")
    answer = v.a.Txn(success=[
        pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=v.space, range_end=v.end)),
        get(v.space, v.end), get(v.space, v.end, revision=old),
        get(v.space, v.end, count_only=True),
    ])  # fmt: skip
    reads = [one.response_range for one in answer.responses[1:]]
    assert [read.count for read in reads] == [0, 1, 0]


@case(17, once=True)
def a_write_of_one_member_is_watched_by_all(v: View):
    streams = [api.watch(key=v.key("a"), start_revision=v.revision + 1) for api in v.all]
    for stream in streams:
        stream.created()
    for n, api in enumerate(v.all):
        api.Put(key=v.key("a"), value=b"%d" % n)
    for stream in streams:
        assert [e.kv.value for e in stream.events(len(v.all))] == [
            b"%d" % n for n in range(len(v.all))
        ]
        stream.close()
    until(lambda: v.get("a").version == len(v.all), "all of it")
