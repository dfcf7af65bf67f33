"""Cases that need a cluster of their own: its flags, its members' deaths and restarts."""

from __future__ import annotations

import contextlib
import queue

import grpc

from tests.live.spec_kit import Servers, View, case, fails, leader_of, pb, put, until
from tests.live.spec_kv import COMPACTED
from tests.live.spec_upkeep import NO_SPACE, settle

KIB = 1024


def own(v: View, size: int = 1, **flags: str) -> Servers:
    return v.closing(Servers(v.command, size, **flags))


@case(59, own=True)
def a_quota(v: View):
    """The store fills up, refuses, is compacted and taken back into service."""
    if not v.command:
        return
    api = own(v, quota_backend_bytes=str(256 * KIB)).apis[0]
    api.Put(key=b"first")
    with contextlib.suppress(grpc.RpcError):
        for n in range(400):
            api.Put(key=b"k%d" % (n % 5), value=b"x" * 10 * KIB)
        raise AssertionError("no quota")
    until(lambda: api.Alarm().alarms, "the alarm")
    fails(api.Put, "RESOURCE_EXHAUSTED", NO_SPACE, key=b"a")
    fails(api.LeaseGrant, "RESOURCE_EXHAUSTED", NO_SPACE, TTL=60)
    assert api.Range(key=b"first").count == 1
    assert api.DeleteRange(key=b"k", range_end=b"l").deleted
    api.Compact(revision=api.Range(key=b"a").header.revision, physical=True)
    api.Defragment()
    fails(api.Put, "RESOURCE_EXHAUSTED", NO_SPACE, key=b"a")
    api.Alarm(action="DEACTIVATE", memberID=api.Status().header.member_id, alarm="NOSPACE")
    assert api.Put(key=b"a").header.revision


@case(1, 55, own=True)
def a_restart_after_compacting_at_a_deletion(v: View):
    if not v.command:
        return
    servers = own(v)
    api = servers.apis[0]
    assert api.Range(key=b"a").header.revision == 1, "a new store"
    assert api.Put(key=b"a").header.revision == 2
    lease = api.LeaseGrant(TTL=500).ID
    assert api.Put(key=b"b", lease=lease).header.revision == 3
    gone = api.DeleteRange(key=b"a", range_end=b"z").header.revision
    api.Compact(revision=gone, physical=True)
    before = api.HashKV().hash
    servers.end(0)
    servers.launch(0)
    until(lambda: serves(api), "it is back")
    assert api.Range(key=b"a").header.revision == gone and api.HashKV().hash == before
    assert [one.ID for one in api.LeaseLeases().leases] == [lease]
    with api.watch(key=b"a", start_revision=2) as stream:
        stream.created()
        assert stream.next().compact_revision == gone
    assert api.Put(key=b"a").header.revision == gone + 1


def serves(api) -> bool:
    try:
        return bool(api.Range(key=b"a", timeout=1).header.revision)
    except grpc.RpcError:
        return False


@case(8, 54, own=True)
def nothing_is_compacted_yet(v: View):
    """etcd counts from -1 then: 0 can be compacted, and a transaction read at -1."""
    if not v.command:
        return
    api = own(v).apis[0]
    present = [pb.RequestOp(request_range=pb.RangeRequest(key=b"a", revision=-1))]
    assert api.Txn(success=present).succeeded
    fails(api.Compact, "OUT_OF_RANGE", COMPACTED, revision=-1)
    assert api.Compact(revision=0).header.revision == 1
    assert api.Put(key=b"a").header.revision == 2
    assert api.Compact(revision=1).header.revision == 2
    fails(api.Compact, "OUT_OF_RANGE", COMPACTED, revision=0)
    fails(api.Txn, "OUT_OF_RANGE", COMPACTED, success=present)


@case(35, own=True)
def as_many_operations_as_the_flag_says(v: View):
    """What one member takes is carried out by all."""
    if not v.command:
        return
    too_many = "etcdserver: too many operations in txn request"
    few, many = own(v, max_txn_ops="3").apis[0], own(v, max_txn_ops="300").apis[0]
    ops = [put(b"%d" % n) for n in range(301)]
    compares = [pb.Compare(key=b"a")] * 301
    for api, most in ((few, 3), (many, 300)):
        assert len(api.Txn(success=ops[:most], compare=compares[:most]).responses) == most
        for way, given in ("success", ops), ("failure", ops), ("compare", compares):
            fails(api.Txn, "INVALID_ARGUMENT", too_many, **{way: given[: most + 1]})


@case(44, own=True)
def progress_notifications(v: View):
    if not v.command:
        return
    flags = {"experimental_watch_progress_notify_interval": "1s"}
    try:
        api = own(v, **flags).apis[0]
    except AssertionError:
        return  # 3.4 has no such flag
    now = api.Put(key=b"a").header.revision
    with api.watch(key=b"a", progress_notify=True, watch_id=3) as stream:
        stream.created()
        answer = stream.next()
        assert answer.watch_id == 3 and not answer.events and answer.header.revision == now
    with api.watch(key=b"a") as stream:
        stream.created()
        try:
            raise AssertionError(stream.next(2.5))
        except queue.Empty:
            pass


@case(60, own=True)
def a_cluster_with_a_dead_member(v: View):
    """It serves on; no voter is added meanwhile, and the dead one comes back with everything."""
    if not v.command:
        return
    servers = own(v, 3)
    lead = leader_of(servers.apis)
    dead = next(n for n, api in enumerate(servers.apis) if api is not lead)
    servers.end(dead)
    alive = [api for n, api in enumerate(servers.apis) if n != dead]
    until(lambda: leader_of(alive), "a leader")
    for n in range(20):
        alive[n % 2].Put(key=b"k%d" % n)
    settle(v)
    url = "http://127.0.0.1:1"
    for api in alive:  # at once: the connection is gone
        for learner in (False, True):
            fails(api.MemberAdd, "UNAVAILABLE", "etcdserver: unhealthy cluster", peerURLs=[url],
                  isLearner=learner)  # fmt: skip
    servers.launch(dead)
    back = servers.apis[dead]
    until(lambda: serves(back), "it is back", 20)
    assert back.Range(key=b"k", range_end=b"l").count == 20
    hashes = {api.HashKV(revision=21).hash for api in servers.apis}
    assert len(hashes) == 1


@case(17, 57, own=True)
def without_a_majority(v: View):
    if not v.command:
        return
    servers = own(v, 3)
    api = servers.apis[0]
    api.Put(key=b"a", value=b"1")
    until(lambda: api.Range(key=b"a", serializable=True).count, "it is there")
    with api.watch(key=b"a", metadata=[("hasleader", "true")]) as stream:
        stream.created()
        for number in (1, 2):
            servers.end(number)
        until(lambda: not api.Status().leader, "the leader is missed")
        try:
            ended = stream.next()
            assert ended is not None and ended.canceled, ended
        except grpc.RpcError as error:
            assert error.details() == "etcdserver: no leader"
            assert error.code().name == "UNAVAILABLE"
    metadata = [("hasleader", "true")]
    for call in (api.Range, api.Put):
        fails(call, "UNAVAILABLE", "etcdserver: no leader", key=b"a", metadata=metadata)
    assert api.Range(key=b"a", serializable=True).kvs[0].value == b"1"
    assert any("no leader" in error for error in api.Status().errors)
    late = "DEADLINE_EXCEEDED", "UNKNOWN"
    fails(api.Put, late, key=b"a", timeout=0.5)
    fails(api.Range, late, key=b"a", timeout=0.5)
    assert api.http("GET", "/health")[0] == 503


@case(34, own=True)
def members_stay_equal_after_refusals(v: View):
    """Refused for its read, on a cluster that is thrown away: etcd's members differ then."""
    if not v.command or v.is_etcd():
        return
    servers = own(v, 3)
    for api in servers.apis:
        future = pb.RequestOp(request_range=pb.RangeRequest(key=b"a", revision=10**6))
        fails(api.Txn, "OUT_OF_RANGE", success=[put(b"b"), future])
        fails(api.Txn, "OUT_OF_RANGE", success=[pb.RequestOp(request_txn=pb.TxnRequest(
            success=[put(b"b"), future]))])  # fmt: skip
    now = servers.apis[0].Put(key=b"c").header.revision
    assert now == 2
    for api in servers.apis:
        assert api.Range(key=b"b").count == 0
    assert len({api.HashKV(revision=now).hash for api in servers.apis}) == 1
