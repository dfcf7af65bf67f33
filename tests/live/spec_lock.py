"""Cases about the services of locks and elections: points 61 and 62 of etcd's semantics."""

from __future__ import annotations

import grpc

from tests.live.spec_kit import View, case, elections, fails, until

NO_LEASE = "etcdserver: requested lease not found"


def mine(v: View, name: str, lease: int) -> bytes:
    """The key that a lease gets."""
    return v.key(name) + b"/" + b"%x" % (lease % 2**64)


@case(61)
def the_key_of_a_lock(v: View):
    lease = v.lease()
    before = v.revision
    answer = v.a.Lock(name=v.key("m"), lease=lease)
    assert answer.key == mine(v, "m", lease)
    assert answer.header.revision and answer.header.member_id
    kv = v.b.Range(key=answer.key).kvs[0]
    assert (kv.value, kv.lease, kv.create_revision) == (b"", lease, before + 1)
    again = v.b.Lock(name=v.key("m"), lease=lease)
    assert again.key == answer.key and v.revision == before + 1, "no write"
    v.b.Unlock(key=answer.key)
    assert v.b.Range(key=answer.key).count == 0


@case(61)
def waiters_are_served_in_order(v: View):
    leases = [v.lease() for _ in range(4)]
    first = v.a.Lock(name=v.key("m"), lease=leases[0])
    waiting = []
    for lease in leases[1:]:
        waiting.append(v.b.later("Lock", name=v.key("m"), lease=lease))
        until(lambda: v.b.Range(key=mine(v, "m", lease)).count, "it queues")
    assert not any(call.done() for call in waiting)
    v.a.Unlock(key=first.key)
    assert waiting[0].result().key == mine(v, "m", leases[1])
    assert not waiting[1].done() and not waiting[2].done()
    v.a.LeaseRevoke(ID=leases[1])
    assert waiting[1].result().key == mine(v, "m", leases[2])
    v.a.DeleteRange(key=mine(v, "m", leases[2]))
    assert waiting[2].result().key == mine(v, "m", leases[3])


@case(61)
def a_waiter_that_gives_up(v: View):
    one, two, three = v.lease(), v.lease(), v.lease()
    held = v.a.Lock(name=v.key("m"), lease=one)
    waiter = v.b.later("Lock", name=v.key("m"), lease=two)
    until(lambda: v.b.Range(key=mine(v, "m", two)).count, "it queues")
    waiter.cancel()
    until(lambda: not v.b.Range(key=mine(v, "m", two)).count, "its key goes")
    last = v.b.later("Lock", name=v.key("m"), lease=three)
    v.a.Unlock(key=held.key)
    assert last.result().key == mine(v, "m", three)


@case(61)
def a_waiter_with_a_deadline(v: View):
    one, two = v.lease(), v.lease()
    v.a.Lock(name=v.key("m"), lease=one)
    late = ("DEADLINE_EXCEEDED", "UNKNOWN")  # the server's own clock may be the first
    fails(v.b.Lock, late, name=v.key("m"), lease=two, timeout=0.3)
    until(lambda: not v.b.Range(key=mine(v, "m", two)).count, "its key goes")


@case(61)
def a_waiter_whose_lease_goes(v: View):
    one, two = v.lease(), v.lease()
    v.a.Lock(name=v.key("m"), lease=one)
    waiter = v.b.later("Lock", name=v.key("m"), lease=two)
    until(lambda: v.b.Range(key=mine(v, "m", two)).count, "it queues")
    v.a.LeaseRevoke(ID=two)
    v.a.LeaseRevoke(ID=one)
    try:
        waiter.result()
        code = "OK"
    except grpc.RpcError as error:
        code, text = error.code().name, error.details()
        assert text == "mutex: session is expired", text
    assert code in ("OK", "UNKNOWN"), "3.4 says it holds what is gone"


@case(61)
def a_lock_without_a_lease(v: View):
    answer = v.a.Lock(name=v.key("m"))
    lease = v.b.Range(key=answer.key).kvs[0].lease
    v.undo.callback(v._revoke, lease)
    assert answer.key == mine(v, "m", lease)
    assert v.b.LeaseTimeToLive(ID=lease).grantedTTL == 60
    v.b.Unlock(key=answer.key)
    assert v.b.LeaseTimeToLive(ID=lease).TTL > 0, "nobody ends it"


@case(61)
def odd_locks(v: View):
    now = v.put("a")
    assert v.a.Unlock(key=v.key("never")).header.revision == now
    fails(v.a.Lock, "UNKNOWN", NO_LEASE, name=v.key("m"), lease=123456)
    lease = v.lease(60, -17)
    assert v.a.Lock(name=v.key("n"), lease=lease).key == v.key("n") + b"/" + NEGATIVE
    fails(v.a.Unlock, "UNKNOWN", "etcdserver: key is not provided", key=b"")


NEGATIVE = b"-11"


@case(61)
def locks_of_other_names(v: View):
    one, two = v.lease(), v.lease()
    v.a.Lock(name=v.key("m"), lease=one)
    assert v.a.Lock(name=v.key("m2"), lease=two).key == mine(v, "m2", two)
    assert v.b.Lock(name=v.key("n"), lease=one).key == mine(v, "n", one)


# Elections ----------------------------------------------------------------------------------


@case(62)
def campaigning(v: View):
    lease = v.lease()
    before = v.revision
    answer = v.a.Campaign(name=v.key("e"), lease=lease, value=b"me")
    won = answer.leader
    assert answer.header.revision == before + 1
    assert (won.name, won.key, won.lease) == (v.key("e"), mine(v, "e", lease), lease)
    assert won.rev == before + 1
    kv = v.b.Leader(name=v.key("e")).kv
    assert (kv.key, kv.value, kv.create_revision) == (won.key, b"me", won.rev)
    again = v.b.Campaign(name=v.key("e"), lease=lease, value=b"still me").leader
    assert (again.rev, again.key) == (won.rev, won.key)
    kv = v.b.Leader(name=v.key("e")).kv
    assert (kv.value, kv.version) == (b"still me", 2)
    now = v.revision
    v.b.Campaign(name=v.key("e"), lease=lease, value=b"still me")
    assert v.revision == now, "the same value is no write"


@case(62)
def proclaiming(v: View):
    lease = v.lease()
    won = v.a.Campaign(name=v.key("e"), lease=lease, value=b"1").leader
    now = v.revision
    assert v.b.Proclaim(leader=won, value=b"2").header.revision == now + 1
    kv = v.b.Leader(name=v.key("e")).kv
    assert (kv.value, kv.lease) == (b"2", lease)
    other = elections.LeaderKey(name=won.name, key=won.key, rev=won.rev + 1, lease=lease)
    fails(v.a.Proclaim, "UNKNOWN", "election: not leader", leader=other, value=b"3")
    v.b.Resign(leader=won)
    fails(v.a.Proclaim, "UNKNOWN", "election: not leader", leader=won, value=b"3")
    fails(v.a.Leader, "UNKNOWN", "election: no leader", name=v.key("e"))


@case(62)
def resigning(v: View):
    one, two = v.lease(), v.lease()
    won = v.a.Campaign(name=v.key("e"), lease=one, value=b"1").leader
    waiting = v.b.later("Campaign", name=v.key("e"), lease=two, value=b"2")
    until(lambda: v.b.Range(key=mine(v, "e", two)).count, "it stands")
    assert v.b.Leader(name=v.key("e")).kv.value == b"1" and not waiting.done()
    stale = elections.LeaderKey(name=won.name, key=won.key, rev=won.rev - 1, lease=one)
    v.a.Resign(leader=stale)
    assert v.b.Leader(name=v.key("e")).kv.value == b"1", "of another life: nothing happens"
    v.a.Resign(leader=won)
    second = waiting.result().leader
    assert second.key == mine(v, "e", two)
    assert v.a.Leader(name=v.key("e")).kv.value == b"2"
    assert v.a.Resign(leader=won).header.revision == v.revision, "twice is once"


@case(62)
def observing(v: View):
    one, two = v.lease(), v.lease()
    with v.b.listen("Observe", name=v.key("e")) as stream:
        won = v.a.Campaign(name=v.key("e"), lease=one, value=b"1").leader
        assert stream.next().kv.value == b"1"
        v.a.Proclaim(leader=won, value=b"2")
        answer = stream.next()
        assert answer.kv.value == b"2" and answer.header.revision and answer.header.member_id
        waiting = v.a.later("Campaign", name=v.key("e"), lease=two, value=b"3")
        until(lambda: v.b.Range(key=mine(v, "e", two)).count, "it stands")
        v.a.Resign(leader=won)
        waiting.result()
        assert stream.next().kv.value == b"3"
    with v.b.listen("Observe", name=v.key("e")) as stream:
        assert stream.next().kv.value == b"3", "who leads now comes first"


@case(62)
def a_candidate_that_gives_up(v: View):
    one, two = v.lease(), v.lease()
    v.a.Campaign(name=v.key("e"), lease=one, value=b"1")
    waiting = v.b.later("Campaign", name=v.key("e"), lease=two, value=b"2")
    until(lambda: v.b.Range(key=mine(v, "e", two)).count, "it stands")
    waiting.cancel()
    until(lambda: not v.b.Range(key=mine(v, "e", two)).count, "its key goes")


@case(62)
def odd_elections(v: View):
    fails(v.a.Campaign, "UNKNOWN", NO_LEASE, name=v.key("e"), lease=123456, value=b"1")
    fails(v.a.Leader, "UNKNOWN", "election: no leader", name=v.key("none"))
    missing = '"leader" field must be provided'
    fails(v.a.Proclaim, "UNKNOWN", missing, value=b"1")
    fails(v.a.Resign, "UNKNOWN", missing)
    answer = v.a.Campaign(name=v.key("free"), value=b"1")
    lease = v.b.Range(key=answer.leader.key).kvs[0].lease
    v.undo.callback(v._revoke, lease)
    assert answer.leader.key == mine(v, "free", lease)
    assert v.b.LeaseTimeToLive(ID=lease).grantedTTL == 60
