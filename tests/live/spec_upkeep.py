"""Cases about headers, members and upkeep: points 57 to 60 of etcd's semantics."""

from __future__ import annotations

import hashlib
import time
from contextlib import contextmanager

import grpc

from tests.live.spec_kit import View, case, fails, get, leader_of, nested, pb, put, until, when

NO_SPACE = "etcdserver: mvcc: database space exceeded"
NOWHERE = "http://127.0.0.1:1"
BAD_URLS = "etcdserver: given member URLs are invalid"
NO_MEMBER = "etcdserver: member not found"
SETTLE_S = 0.3  # etcd 3.5.1 drops a change of members that follows another at once


# Headers ------------------------------------------------------------------------------------


def complete(header, endpoint_id: int = 0) -> bool:
    ids = header.cluster_id and header.member_id and header.revision and header.raft_term
    return bool(ids) and endpoint_id in (0, header.member_id)


@case(57)
def complete_headers(v: View):
    lease = v.lease()
    for api in v.all:
        me = api.Status().header.member_id
        answers = [
            api.Put(key=v.key("a")), api.Range(key=v.key("a")), api.DeleteRange(key=v.key("a")),
            api.Txn(), api.LeaseTimeToLive(ID=lease), api.LeaseLeases(), api.Status(),
            api.Hash(), api.HashKV(),
        ]  # fmt: skip
        temporary = api.LeaseGrant(TTL=60)
        answers += [temporary, api.LeaseRevoke(ID=temporary.ID)]
        for answer in answers:
            assert complete(answer.header, me), answer
        with api.watch(key=v.key("a")) as stream:
            assert complete(stream.created().header, me)
            api.Put(key=v.key("a"))
            assert complete(stream.next().header, me)
            stream.progress()
            assert complete(stream.next().header, me)
            stream.cancel(0)
            assert complete(stream.next().header, me)
        with api.stream("LeaseKeepAlive") as stream:
            stream.send(ID=lease)
            assert complete(stream.next().header, me)
    assert len({api.Status().header.member_id for api in v.all}) == len(v.all)
    assert len({api.Status().header.cluster_id for api in v.all}) == 1


@case(57)
def headers_of_members_have_no_revision(v: View):
    header = v.a.MemberList().header
    assert header.cluster_id and header.member_id and header.raft_term and not header.revision


@case(57)
def some_answers_have_no_header(v: View):
    assert not v.a.Defragment().HasField("header")
    alarms = v.a.Alarm()
    assert not alarms.HasField("header") or complete(alarms.header)
    lead = v.leader()
    me = lead.Status().header.member_id
    assert not lead.MoveLeader(targetID=me).HasField("header"), "to itself: nothing to do"


@case(57)
def headers_of_compaction_and_snapshots(v: View):
    assert complete(v.a.Compact(revision=v.put("a")).header)
    part = next(v.a.Snapshot())
    assert part.blob


@case(57)
def status(v: View):
    v.put("a")
    answers = [api.Status() for api in v.all]
    ids = {member.ID for member in v.a.MemberList().members}
    for answer in answers:
        assert answer.leader in ids and answer.header.member_id in ids
        assert answer.version.startswith("3.") and answer.version.count(".") == 2
        assert answer.dbSize >= answer.dbSizeInUse > 0
        assert answer.raftIndex >= answer.raftAppliedIndex > 0
        assert answer.raftTerm == answer.header.raft_term > 0
        assert not answer.isLearner and not answer.errors
    assert len({answer.leader for answer in answers}) == 1


@case(57)
def the_list_of_members(v: View):
    for linearizable in (True, False):
        members = v.b.MemberList(linearizable=linearizable).members
        assert len(members) == len(v.all)
        assert all(m.ID and m.name and m.peerURLs and m.clientURLs for m in members)
        assert not any(m.isLearner for m in members)
    urls = {url.partition("//")[2] for m in members for url in m.clientURLs}
    assert urls == {api.endpoint for api in v.all}


# Snapshot, hash, defragmentation ------------------------------------------------------------


@case(58, once=True)
def a_snapshot(v: View):
    for n in range(10):
        v.put(f"k{n}", b"%d" % n * 10_000)
    parts = list(v.b.Snapshot(timeout=30))
    data, check = b"".join(part.blob for part in parts[:-1]), parts[-1].blob
    assert len(check) == 32 and hashlib.sha256(data).digest() == check
    left = [part.remaining_bytes for part in parts]
    assert left == sorted(left, reverse=True) and left[-1] == 0 and left[-2] == 0
    for part, after in zip(parts, left):
        data = data[len(part.blob) :] if part is not parts[-1] else data
        assert part is parts[-1] or len(data) == after


@case(58)
def defragmentation_keeps_everything(v: View):
    now = v.put("a", b"1")
    v.a.Defragment()
    v.b.Defragment()
    assert v.get("a").value == b"1" and v.revision == now
    assert v.put("a", b"2") == now + 1


# Alarms -------------------------------------------------------------------------------------


@contextmanager
def alarm(v: View, member: int):
    v.a.Alarm(action="ACTIVATE", memberID=member, alarm="NOSPACE")
    try:
        until(lambda: all(list(api.Alarm().alarms) for api in v.all), "all know")
        yield
    finally:
        v.a.Alarm(action="DEACTIVATE", memberID=member, alarm="NOSPACE")
        until(lambda: not any(list(api.Alarm().alarms) for api in v.all), "all know")


@case(59)
def a_store_without_space(v: View):
    me = v.a.Status().header.member_id
    lease = v.lease()
    v.put("a")
    v.put("b", lease=lease)
    full = "RESOURCE_EXHAUSTED", NO_SPACE
    with alarm(v, me):
        listed = v.b.Alarm(action="GET").alarms
        assert [(one.memberID, one.alarm) for one in listed] == [(me, pb.NOSPACE)]
        fails(v.a.Put, *full, key=v.key("a"))
        fails(v.b.Put, *full, key=v.key("a"))
        fails(v.a.Txn, *full, success=[put(v.key("a"))])
        fails(v.a.Txn, *full, failure=[put(v.key("a"))])
        fails(v.a.LeaseGrant, *full, TTL=60)
        assert v.get("a").value == b"v" and v.range().count == 2
        assert v.a.Txn(success=[get(v.key("a"))]).succeeded
        assert v.delete("a").deleted == 1
        v.a.LeaseRevoke(ID=lease)
        assert v.names() == []
        v.a.Compact(revision=v.revision)
        errors = v.a.Status().errors
        assert any("NOSPACE" in error for error in errors), errors
        assert v.b.Status().errors
    assert v.put("a") and not v.a.Status().errors


@case(59)
def a_nested_put_without_space(v: View):
    v.put("a")
    with alarm(v, v.a.Status().header.member_id):
        deep = nested(failure=[nested(put(v.key("a")))])
        try:
            v.a.Txn(success=[deep])
        except grpc.RpcError as error:
            assert error.details() == NO_SPACE
        assert v.get("a").version == 1


@case(59)
def odd_alarms(v: View):
    me = v.a.Status().header.member_id
    assert not v.a.Alarm().alarms
    assert not v.a.Alarm(action="DEACTIVATE", memberID=me, alarm="NOSPACE").alarms
    with alarm(v, me):
        v.a.Alarm(action="ACTIVATE", memberID=me, alarm="NOSPACE")
        assert len(v.b.Alarm().alarms) == 1
        assert len(v.b.Alarm(alarm="NOSPACE").alarms) == 1
        assert not v.b.Alarm(alarm="CORRUPT").alarms


@case(59)
def a_corrupt_member_stops_the_cluster(v: View):
    me = v.a.Status().header.member_id
    v.put("a")
    v.a.Alarm(action="ACTIVATE", memberID=me, alarm="CORRUPT")
    corrupt = "etcdserver: corrupt cluster"
    try:
        until(lambda: len(v.b.Alarm().alarms) == 1, "both know")
        fails(v.a.Put, "DATA_LOSS", corrupt, key=v.key("a"))
        assert v.get("a").value == b"v", "reads go on"
        fails(v.a.DeleteRange, "DATA_LOSS", corrupt, key=v.key("a"))
        fails(v.a.Txn, "DATA_LOSS", corrupt, success=[put(v.key("a"))])
    finally:
        v.a.Alarm(action="DEACTIVATE", memberID=me, alarm="CORRUPT")
        until(lambda: not any(list(api.Alarm().alarms) for api in v.all), "all know")
    assert v.put("a")


# Members ------------------------------------------------------------------------------------


def settle(v: View) -> None:
    if v.is_etcd():
        time.sleep(SETTLE_S)


@case(60)
def members_that_are_not_there(v: View):
    settle(v)
    fails(v.a.MemberRemove, "NOT_FOUND", NO_MEMBER, ID=4711)
    settle(v)
    for urls in ([NOWHERE], [], ["nonsense"]):
        fails(v.a.MemberUpdate, "NOT_FOUND", NO_MEMBER, ID=4711, peerURLs=urls)
        settle(v)
    fails(v.a.MemberPromote, "NOT_FOUND", NO_MEMBER, ID=4711)
    for urls in ([], ["nonsense"], ["http://127.0.0.1"], ["ftp://127.0.0.1:5"]):
        fails(v.a.MemberAdd, "INVALID_ARGUMENT", BAD_URLS, peerURLs=urls, isLearner=True)


def is_settled(v: View, member) -> bool:
    settle(v)
    try:
        v.a.MemberAdd(peerURLs=list(member.peerURLs), isLearner=True)
    except grpc.RpcError as error:
        return "unhealthy" not in error.details()
    raise AssertionError("added")


@case(60)
def members_that_are_there(v: View):
    members = v.a.MemberList().members
    until(lambda: is_settled(v, members[0]), "the members have been connected for a while")
    taken = "etcdserver: Peer URLs already exists"
    for member in members:
        urls = list(member.peerURLs)
        fails(v.a.MemberAdd, "FAILED_PRECONDITION", taken, peerURLs=urls, isLearner=True)
        settle(v)
        only = "etcdserver: can only promote a learner member"
        fails(v.a.MemberPromote, "FAILED_PRECONDITION", only, ID=member.ID)
    if len(members) > 1:
        fails(v.a.MemberUpdate, "FAILED_PRECONDITION", taken, ID=members[0].ID,
              peerURLs=list(members[1].peerURLs))  # fmt: skip


@case(60, once=True)
def learners(v: View):
    settle(v)
    answer = v.a.MemberAdd(peerURLs=[NOWHERE], isLearner=True)
    learner = answer.member
    try:
        assert learner.isLearner and learner.ID and not learner.name
        assert list(learner.peerURLs) == [NOWHERE] and not learner.clientURLs
        assert len(answer.members) == len(v.all) + 1 and not answer.header.revision
        settle(v)
        many = "etcdserver: too many learner members in cluster"
        second = {"peerURLs": ["http://127.0.0.1:2"], "isLearner": True}
        fails(v.a.MemberAdd, "FAILED_PRECONDITION", many, **second)
        behind = "etcdserver: can only promote a learner member which is in sync with leader"
        fails(v.a.MemberPromote, "FAILED_PRECONDITION", behind, ID=learner.ID)
        fails(v.b.MemberPromote, "FAILED_PRECONDITION", behind, ID=learner.ID)
        settle(v)
        moved = v.a.MemberUpdate(ID=learner.ID, peerURLs=["http://127.0.0.1:3"]).members
        assert ["http://127.0.0.1:3"] in [list(member.peerURLs) for member in moved]
        assert v.put("a")
        lead = v.leader()
        if not v.is_etcd():  # which begins a transfer that cannot end
            fails(lead.MoveLeader, "FAILED_PRECONDITION", "etcdserver: bad leader transferee",
                  targetID=learner.ID)  # fmt: skip
    finally:
        settle(v)
        rest = v.a.MemberRemove(ID=learner.ID).members
    assert len(rest) == len(v.all)
    fails(v.a.MemberRemove, "NOT_FOUND", NO_MEMBER, ID=learner.ID)
    until(lambda: len(v.b.MemberList().members) == len(v.all), "gone everywhere")


@case(60)
def moving_the_leader_where_it_cannot_go(v: View):
    lead = v.leader()
    fails(lead.MoveLeader, "FAILED_PRECONDITION", "etcdserver: bad leader transferee",
          targetID=4711)  # fmt: skip
    for api in v.all:
        if api is not lead:
            me = api.Status().header.member_id
            for target in (me, 4711):
                fails(api.MoveLeader, "FAILED_PRECONDITION", "etcdserver: not leader",
                      targetID=target)  # fmt: skip


@case(57, once=True)
def moving_the_leader(v: View):
    if len(v.all) == 1:
        return
    lead = v.leader()
    target = next(api for api in v.all if api is not lead)
    term = lead.Status().raftTerm
    v.put("a", b"1")
    answer = lead.MoveLeader(targetID=target.Status().header.member_id)
    assert not answer.HasField("header")
    until(lambda: leader_of(v.all) is target, "the new leader")
    assert v.get("a").value == b"1" and v.put("a") and target.Status().raftTerm > term


@case(57)
def the_hash_of_the_whole_store(v: View):
    first = v.a.Hash().hash
    v.put("a")
    assert v.a.Hash().hash != first


@case(59)
def reads_in_compares_need_no_space(v: View):
    v.put("a")
    with alarm(v, v.a.Status().header.member_id):
        answer = v.a.Txn(compare=[when(v.key("a"), "VERSION", version=1)])
        assert answer.succeeded
