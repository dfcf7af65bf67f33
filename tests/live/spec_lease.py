"""Cases about leases and compaction: points 46 to 56 of etcd's semantics."""

from __future__ import annotations

import time

import grpc

from tests.live.spec_kit import View, case, fails, leader_of, put, until
from tests.live.spec_kv import COMPACTED, FUTURE

NO_LEASE = "etcdserver: requested lease not found"
LARGEST = 9_000_000_000


def listed(v: View) -> list[int]:
    v.sync()  # etcd lists what this member knows
    return [lease.ID for lease in v.b.LeaseLeases().leases]


@case(46)
def times_to_live(v: View):
    for asked, granted in ((0, 2), (-5, 2), (1, 2), (2, 2), (3, 3), (LARGEST, LARGEST)):
        answer = v.a.LeaseGrant(TTL=asked)
        v.undo.callback(v._revoke, answer.ID)
        assert answer.TTL == granted and answer.ID and not answer.error
    for asked in (LARGEST + 1, 2**63 - 1):
        fails(v.a.LeaseGrant, "OUT_OF_RANGE", "etcdserver: too large lease TTL", TTL=asked)
    low = v.a.LeaseGrant(TTL=-(2**63))
    assert low.TTL == 2
    v.a.LeaseRevoke(ID=low.ID)


@case(46)
def chosen_ids(v: View):
    for chosen in (77, -77, 2**63 - 1, -(2**63)):
        assert v.lease(60, chosen) == chosen
        assert chosen in listed(v)
        fails(v.a.LeaseGrant, "FAILED_PRECONDITION", "etcdserver: lease already exists",
              TTL=60, ID=chosen)  # fmt: skip
        v.put("a", lease=chosen)
        assert v.get("a").lease == chosen
        v.a.LeaseRevoke(ID=chosen)
        assert v.get("a") is None
        assert v.lease(60, chosen) == chosen, "free again"
    assert v.lease() > 0 and len({v.lease() for _ in range(20)}) == 20


@case(47)
def unknown_leases(v: View):
    for unknown in (123456, -123456, 0):
        answer = v.b.LeaseTimeToLive(ID=unknown, keys=True)
        assert (answer.ID, answer.TTL, answer.grantedTTL) == (unknown, -1, 0)
        assert answer.header.member_id and not answer.keys
        fails(v.a.LeaseRevoke, "NOT_FOUND", NO_LEASE, ID=unknown)
    with v.b.stream("LeaseKeepAlive") as stream:
        for unknown in (123456, -3, 0):
            stream.send(ID=unknown)
            answer = stream.next()
            assert (answer.ID, answer.TTL) == (unknown, 0)
            assert answer.header.member_id and answer.header.revision
        lease = v.lease(50)
        stream.send(ID=lease)
        assert stream.next().TTL == 50, "the stream goes on"


@case(48)
def revoking_deletes_in_byte_order(v: View):
    lease, other = v.lease(), v.lease()
    for name in ("c", "a", "b", "moved", "gone", "left"):
        v.put(name, lease=lease)
    v.put("moved", lease=other)
    v.delete("gone")
    last = v.put("left")
    with v.watch(key=v.space, range_end=v.end, prev_kv=True) as stream:
        stream.created()
        answer = v.a.LeaseRevoke(ID=lease)
        events = stream.next().events
    assert answer.header.revision == last + 1
    assert [event.kv.key for event in events] == [v.key("a"), v.key("b"), v.key("c")]
    assert {event.kv.mod_revision for event in events} == {last + 1}
    assert all(event.prev_kv.lease == lease for event in events)
    assert v.names() == [b"left", b"moved"]
    fails(v.a.LeaseRevoke, "NOT_FOUND", NO_LEASE, ID=lease)


@case(48)
def a_key_that_came_back_is_not_touched(v: View):
    lease = v.lease()
    v.put("a", lease=lease)
    v.delete("a")
    v.put("a", b"new")
    v.a.LeaseRevoke(ID=lease)
    assert v.get("a").value == b"new"


@case(49)
def keeping_alive(v: View):
    leases = [v.lease(ttl) for ttl in (30, 40, 50)]
    v.put("a", lease=leases[0])
    with v.b.stream("LeaseKeepAlive") as stream:
        for lease, ttl in zip(leases * 2, (30, 40, 50) * 2):
            stream.send(ID=lease)
            answer = stream.next()
            assert (answer.ID, answer.TTL) == (lease, ttl)
            header = answer.header
            assert header.cluster_id and header.member_id and header.raft_term
            assert header.revision
    left = v.b.LeaseTimeToLive(ID=leases[0])
    assert left.grantedTTL == 30 and 28 <= left.TTL <= 30 and not left.keys
    assert left.header.cluster_id and left.header.revision and left.header.raft_term
    with_keys = v.b.LeaseTimeToLive(ID=leases[0], keys=True)
    assert list(with_keys.keys) == [v.key("a")]


@case(49)
def keep_alives_in_a_burst(v: View):
    leases = [v.lease(60 + n) for n in range(10)]
    with v.b.stream("LeaseKeepAlive") as stream:
        for lease in leases:
            stream.send(ID=lease)
        heard = [stream.next() for _ in leases]
        assert [(a.ID, a.TTL) for a in heard] == [(i, 60 + n) for n, i in enumerate(leases)]
        stream.half_close()
        assert stream.next() is None


@case(49)
def keys_of_a_lease(v: View):
    lease = v.lease()
    for name in ("b", "a", "c"):
        v.put(name, lease=lease)
    keys = v.b.LeaseTimeToLive(ID=lease, keys=True).keys
    assert sorted(keys) == [v.key("a"), v.key("b"), v.key("c")]


@case(50, once=True)
def expiry(v: View):
    kept, lease = v.lease(2), v.a.LeaseGrant(TTL=2).ID
    last = v.txn(put(v.key("b"), lease=lease), put(v.key("a"), lease=lease))
    start = time.monotonic()
    with v.b.stream("LeaseKeepAlive") as alive, v.watch(key=v.key("a")) as stream:
        stream.created()
        v.put("k", lease=kept)
        for _ in range(4):
            alive.send(ID=kept)
            assert alive.next().TTL == 2
            time.sleep(0.4)
        event = stream.events(1)[0]
        elapsed = time.monotonic() - start
        assert event.type == 1 and event.kv.mod_revision == last.header.revision + 2
        assert 1.8 <= elapsed < 5.5, elapsed
    assert v.names() == [b"k"] and lease not in listed(v)
    assert v.b.LeaseTimeToLive(ID=lease).TTL == -1
    fails(v.a.Put, "NOT_FOUND", NO_LEASE, key=v.key("b"), lease=lease)
    until(lambda: v.get("k") is None, "the kept one expires as well", 8)


@case(51, once=True)
def a_new_leader_starts_leases_anew(v: View):
    if len(v.all) == 1:
        return
    lease = v.lease(6)
    until(lambda: v.b.LeaseTimeToLive(ID=lease).TTL <= 4, "time passes")
    lead = v.leader()
    followers = [api for api in v.all if api is not lead]
    target = followers[0].Status().header.member_id
    lead.MoveLeader(targetID=target)
    until(lambda: leader_of(v.all) is followers[0], "the new leader")
    until(lambda: v.b.LeaseTimeToLive(ID=lease).TTL >= 5, "the full time again", 3)


@case(52)
def old_revisions_show_old_leases(v: View):
    lease = v.lease()
    old = v.put("a", lease=lease)
    v.put("a")
    v.a.LeaseRevoke(ID=lease)
    assert v.get("a").lease == 0 and v.get("a", revision=old).lease == lease


@case(53)
def leases_are_listed_by_what_remains(v: View):
    ids = [v.lease(ttl) for ttl in (900, 700, 800)]
    seen = [lease.ID for lease in v.leader().LeaseLeases().leases if lease.ID in ids]
    assert seen == [ids[1], ids[2], ids[0]]
    assert set(ids) <= set(listed(v))
    with v.b.stream("LeaseKeepAlive") as stream:
        stream.send(ID=ids[1])
        stream.next()
    answer = v.b.LeaseLeases()
    assert answer.header.member_id and answer.header.revision


# Compaction ---------------------------------------------------------------------------------


@case(54)
def compacting_keeps_the_newest(v: View):
    v.put("a", b"1")
    v.put("gone", b"1")
    at = v.put("a", b"2")
    v.delete("gone")
    above = v.put("a", b"3")
    answer = v.a.Compact(revision=at)
    assert answer.header.revision == above
    assert v.get("a", revision=at).value == b"2"
    assert v.get("gone", revision=at).value == b"1"
    v.a.Compact(revision=above, physical=True)
    assert v.get("a", revision=above).value == b"3"
    assert v.get("gone", revision=above) is None


@case(54)
def compacting_is_refused(v: View):
    at = v.put("a")
    now = v.put("a")
    v.a.Compact(revision=at)
    for revision in (at, at - 1, 1, 0, -1, -(2**63)):
        fails(v.a.Compact, "OUT_OF_RANGE", COMPACTED, revision=revision)
    for revision in (now + 1, 2**63 - 1):
        fails(v.a.Compact, "OUT_OF_RANGE", FUTURE, revision=revision)
    assert v.a.Compact(revision=now).header.revision == now
    fails(v.a.Compact, "OUT_OF_RANGE", COMPACTED, revision=now, physical=True)


@case(55)
def compacting_at_a_deletion(v: View):
    v.put("a")
    at = v.delete("a").header.revision
    v.a.Compact(revision=at, physical=True)
    assert v.revision == at
    assert v.get("a", revision=at) is None
    assert v.put("a") == at + 1 and v.get("a").version == 1


@case(56)
def hashes_are_equal_on_all_members(v: View):
    old = v.put("a", b"1")
    v.put("b", b"2")
    v.delete("b")
    now = v.put("a", b"2")
    for revision in (old, now - 1, now, 0):
        seen = {hash_of(v, api, revision, now) for api in v.all}
        assert len(seen) == 1, revision
    assert hash_of(v, v.a, old, now) != hash_of(v, v.a, now, now)
    assert hash_of(v, v.a, 0, now) == hash_of(v, v.a, now, now)
    answer = v.a.HashKV()
    assert answer.header.revision == now and answer.header.member_id and answer.header.raft_term


def hash_of(v: View, api, revision: int, now: int) -> int:
    """The hash, as soon as this member has come so far."""

    def applied():
        try:
            answer = api.HashKV(revision=revision)
        except grpc.RpcError as error:
            assert "future" in error.details()
            return None
        return answer if answer.header.revision >= now else None

    return until(applied, "applied").hash


@case(56)
def hashes_of_what_is_compacted(v: View):
    old = v.put("a", b"1")
    at = v.put("a", b"2")
    now = v.put("a", b"3")
    v.a.Compact(revision=at)
    for revision in (old, at - 1, -1):
        if revision > 0:
            fails(v.a.HashKV, "OUT_OF_RANGE", COMPACTED, revision=revision)
    fails(v.a.HashKV, "OUT_OF_RANGE", FUTURE, revision=now + 1)
    for api in v.all:
        hash_of(v, api, now, now)  # before a member has come so far, it refuses the question
        until(lambda: api.HashKV(revision=now).compact_revision == at, "it has compacted")
    seen = {hash_of(v, api, now, now) for api in v.all}
    assert len(seen) == 1
    assert v.a.Hash().header.member_id and v.a.Hash().hash


@case(56, once=True)
def hashes_after_much(v: View):
    """Leases, transactions, deletions and compaction leave the members equal."""
    lease = v.lease()
    for n in range(30):
        v.put(f"k{n % 7}", b"%d" % n, lease=lease if n % 3 else 0)
    v.txn(put(v.key("x")), put(v.key("y")))
    middle = v.revision
    v.a.LeaseRevoke(ID=lease)
    v.a.Compact(revision=middle, physical=True)
    now = v.put("z")
    assert len({hash_of(v, api, now, now) for api in v.all}) == 1
