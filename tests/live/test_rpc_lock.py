"""Locks and elections as services, on a member of its own; the numbers were seen on etcd 3.5.1."""

from __future__ import annotations

import asyncio

import pytest

pytest.importorskip("google.protobuf", reason="etcd's messages are protobuf")
pytest.importorskip("msgpack", reason="members talk in MessagePack")

from kvlearn.kv.leases import LeaseGrant, LeaseRevoke
from kvlearn.kv.requests import DeleteRange, Put, Range, prefix_end
from kvlearn.live.proto import election_pb2 as election
from kvlearn.live.proto import lock_pb2 as lock
from kvlearn.live.rpc import Services
from tests.live.calls import KeptCall
from tests.live.fakes import InProcess, lone_member

LOCK, ELECTION = "/v3lockpb.Lock/", "/v3electionpb.Election/"
A, B, C = 0x777, 0x778, 0x779  # leases


class Site:
    """A member, its services and three leases."""

    async def __aenter__(self) -> Site:
        self.member = await lone_member()
        self.services = Services(self.member)
        for lease in (A, B, C):
            await self.ask(LeaseGrant(60, lease))
        return self

    async def __aexit__(self, *error) -> None:
        await self.member.stop()

    async def ask(self, request):
        answer = asyncio.get_running_loop().create_future()
        self.member.ask(request, answer.set_result)
        answer = await answer
        assert not answer.error, answer
        return answer

    def lock(self, lease: int = 0, name: bytes = b"m") -> KeptCall:
        return KeptCall(self.services, LOCK + "Lock", lock.LockRequest(name=name, lease=lease))

    async def unlock(self, key: bytes):
        return await KeptCall(self.services, LOCK + "Unlock", lock.UnlockRequest(key=key)).answer()

    def campaign(self, lease: int, value: bytes, name: bytes = b"e") -> KeptCall:
        request = election.CampaignRequest(name=name, lease=lease, value=value)
        return KeptCall(self.services, ELECTION + "Campaign", request)

    async def proclaim(self, leader, value: bytes):
        request = election.ProclaimRequest(leader=leader, value=value)
        return await KeptCall(self.services, ELECTION + "Proclaim", request).answer()

    async def resign(self, leader):
        request = election.ResignRequest(leader=leader)
        return await KeptCall(self.services, ELECTION + "Resign", request).answer()

    async def leader(self, name: bytes = b"e"):
        request = election.LeaderRequest(name=name)
        return await KeptCall(self.services, ELECTION + "Leader", request).answer()

    def observe(self, name: bytes = b"e") -> KeptCall:
        request = election.LeaderRequest(name=name)
        return KeptCall(self.services, ELECTION + "Observe", request)

    async def keys(self, prefix: bytes) -> list[bytes]:
        answer = await self.ask(Range(prefix, prefix_end(prefix)))
        return [kv.key for kv in answer.result.kvs]

    async def until_keys(self, prefix: bytes, *keys: bytes) -> None:
        """Until these are there, and no others."""
        while await self.keys(prefix) != list(keys):
            await asyncio.sleep(0)

    async def waits(self, call: KeptCall, key: bytes) -> KeptCall:
        """Until the call stands in line under `key`, and watches the one before it."""
        while key not in await self.keys(key) or not self.member._streams:
            await asyncio.sleep(0)
        assert call.status is None
        return call


class Looks:
    """A member's `ask` that notes who looks for somebody before him, by create revisions."""

    def __init__(self, ask):
        self.ask, self.before = ask, []

    def __call__(self, request, *more):
        if isinstance(request, Range) and request.max_create_revision:
            self.before.append(request.max_create_revision)
        return self.ask(request, *more)


def play(test) -> None:
    async def played():
        async with Site() as site:
            await test(site)

    asyncio.run(asyncio.wait_for(played(), 30))


# Lock ---------------------------------------------------------------------------------------


def test_who_is_first_gets_the_lock_and_again_without_a_write():
    async def test(site):
        first = await site.lock(A).answer()
        assert (first.key, first.header.revision) == (b"m/777", 2)
        assert first.header.cluster_id and first.header.member_id and first.header.raft_term
        again = await site.lock(A).answer()
        assert (again.key, again.header.revision) == (b"m/777", 2)
        [kv] = (await site.ask(Range(b"m/777"))).result.kvs
        assert (kv.value, kv.lease, kv.version) == (b"", A, 1)

    play(test)


def test_waiters_are_served_in_the_order_of_their_keys():
    async def test(site):
        await site.lock(A).answer()
        second = await site.waits(site.lock(C), b"m/779")
        third = await site.waits(site.lock(B), b"m/778")
        await site.ask(Put(b"x"))  # it has looked by now
        looks = site.member.ask = Looks(site.member.ask)
        unlocked = await site.unlock(b"m/777")
        won = await second.answer()
        assert won.key == b"m/779" and won.header.revision == unlocked.header.revision == 6
        assert third.status is None
        assert looks.before == [2], "a release wakes one and not all"
        await site.unlock(b"m/779")
        assert (await third.answer()).key == b"m/778"
        assert not site.member._streams, "nobody watches any more"

    play(test)


def test_a_lock_goes_with_its_lease():
    async def test(site):
        await site.lock(A).answer()
        second = await site.waits(site.lock(B), b"m/778")
        await site.ask(LeaseRevoke(A))
        assert (await second.answer()).key == b"m/778"

    play(test)


def test_a_waiter_that_gives_up_removes_its_key():
    async def test(site):
        await site.lock(A).answer()
        second = await site.waits(site.lock(B), b"m/778")
        third = site.lock(C)
        await site.until_keys(b"m/", b"m/777", b"m/778", b"m/779")
        second.give_up()
        await site.until_keys(b"m/", b"m/777", b"m/779")
        await site.unlock(b"m/777")
        assert (await third.answer()).key == b"m/779"

    play(test)


def test_giving_up_while_the_key_is_being_made_removes_it_too():
    async def test(site):
        await site.lock(A).answer()
        second = site.lock(B)
        while not site.member._ops:
            await asyncio.sleep(0)
        second.give_up()
        await site.ask(Put(b"x"))  # behind the key in the log
        await site.until_keys(b"m/", b"m/777")
        assert (await site.ask(Range(b"x"))).header.revision >= 4, "it was made"

    play(test)


def test_giving_up_leaves_the_lock_that_was_held_before():
    async def test(site):
        await site.lock(A).answer()
        again = site.lock(A)
        while not site.member._ops:
            await asyncio.sleep(0)
        again.give_up()
        for _ in range(3):  # whatever the call still asks for is carried out by then
            await site.ask(Put(b"x"))
        assert await site.keys(b"m/") == [b"m/777"]

    play(test)


def test_a_waiter_whose_key_was_removed_has_no_lock():
    async def test(site):
        await site.lock(A).answer()
        second = await site.waits(site.lock(B), b"m/778")
        await site.unlock(b"m/778")
        await site.unlock(b"m/777")
        assert await second.answer() == ("UNKNOWN", "mutex: session is expired")

    play(test)


def test_a_waiter_whose_key_is_another_s_now_has_no_lock():
    """Its own was removed, and the same lease stands in line anew."""

    async def test(site):
        await site.lock(A).answer()
        second = await site.waits(site.lock(B), b"m/778")
        await site.ask(DeleteRange(b"m/778"))
        await site.ask(Put(b"m/778", lease=B))
        await site.unlock(b"m/777")
        assert await second.answer() == ("UNKNOWN", "mutex: session is expired")

    play(test)


def test_without_a_lease_the_member_grants_one_for_a_minute():
    async def test(site):
        held = await site.lock().answer()
        [kv] = (await site.ask(Range(held.key))).result.kvs
        assert held.key == b"m/%x" % kv.lease
        assert site.member.node.machine.lessor.known(kv.lease).ttl_s == 60

    play(test)


def test_unlocking_what_is_not_there_succeeds():
    async def test(site):
        assert (await site.unlock(b"nothing")).header.revision == 1
        assert await site.unlock(b"") == ("UNKNOWN", "etcdserver: key is not provided")

    play(test)


@pytest.mark.parametrize("lease", [0x999, -5])
def test_a_lease_that_nobody_holds(lease):
    refused = "UNKNOWN", "etcdserver: requested lease not found"

    async def test(site):
        assert await site.lock(lease).answer() == refused
        assert await site.campaign(lease, b"v").answer() == refused

    play(test)


def test_a_lock_without_a_name():
    async def test(site):
        assert (await site.lock(A, b"").answer()).key == b"/777"

    play(test)


def test_a_member_that_stops_tells_who_waits():
    async def test(site):
        await site.lock(A).answer()
        second = await site.waits(site.lock(B), b"m/778")
        await site.member.stop()
        assert await second.answer() == ("UNKNOWN", "etcdserver: server stopped")

    play(test)


# Election -----------------------------------------------------------------------------------


def test_who_is_first_leads():
    async def test(site):
        won = await site.campaign(A, b"one").answer()
        told = election.LeaderKey(name=b"e", key=b"e/777", rev=2, lease=A)
        assert won.leader == told and won.header.revision == 2
        led = await site.leader()
        assert (led.kv.key, led.kv.value, led.header.revision) == (b"e/777", b"one", 2)
        assert (led.kv.create_revision, led.kv.lease) == (2, A)

    play(test)


def test_campaigning_again_changes_the_value_in_place():
    async def test(site):
        await site.campaign(A, b"one").answer()
        again = await site.campaign(A, b"two").answer()
        assert (again.leader.rev, again.header.revision) == (2, 2), "the first look's header"
        assert (await site.leader()).kv.value == b"two"
        same = await site.campaign(A, b"two").answer()
        assert (same.leader.rev, same.header.revision) == (2, 3)

    play(test)


def test_only_who_leads_proclaims():
    async def test(site):
        won = (await site.campaign(A, b"one").answer()).leader
        assert (await site.proclaim(won, b"two")).header.revision == 3
        wrong = election.LeaderKey(name=b"e", key=won.key, rev=won.rev + 1, lease=A)
        refused = "UNKNOWN", "election: not leader"
        assert await site.proclaim(wrong, b"x") == refused
        assert (await site.leader()).kv.value == b"two"
        await site.resign(won)
        assert await site.proclaim(won, b"x") == refused

    play(test)


def test_resigning_makes_room_and_does_no_harm_twice():
    async def test(site):
        won = (await site.campaign(A, b"one").answer()).leader
        second = await site.waits(site.campaign(B, b"two"), b"e/778")
        wrong = election.LeaderKey(name=b"e", key=won.key, rev=won.rev + 1, lease=A)
        assert (await site.resign(wrong)).header.revision == 3 and second.status is None
        assert (await site.resign(won)).header.revision == 4
        next = await second.answer()
        assert (next.leader.key, next.leader.rev, next.header.revision) == (b"e/778", 3, 3)
        assert (await site.resign(won)).header.revision == 4

    play(test)


def test_nobody_leads():
    async def test(site):
        assert await site.leader() == ("UNKNOWN", "election: no leader")

    play(test)


@pytest.mark.parametrize("name, kind", [("Proclaim", "Proclaim"), ("Resign", "Resign")])
def test_a_leader_has_to_be_named(name, kind):
    async def test(site):
        request = getattr(election, f"{kind}Request")()
        refused = await KeptCall(site.services, ELECTION + name, request).answer()
        assert refused == ("UNKNOWN", '"leader" field must be provided')

    play(test)


def test_a_candidate_that_gives_up_removes_its_key():
    async def test(site):
        await site.campaign(A, b"one").answer()
        second = await site.waits(site.campaign(B, b"two"), b"e/778")
        second.give_up()
        await site.until_keys(b"e/", b"e/777")

    play(test)


def test_a_candidate_whose_lease_is_over_does_not_lead():
    """etcd 3.5.1 tells it that it does."""

    async def test(site):
        won = (await site.campaign(A, b"one").answer()).leader
        second = await site.waits(site.campaign(B, b"two"), b"e/778")
        await site.ask(LeaseRevoke(B))
        await site.resign(won)
        assert await second.answer() == ("UNKNOWN", "election: not leader")

    play(test)


def test_an_observer_hears_what_every_leader_says_in_order():
    async def test(site):
        observer = site.observe()
        while not site.member._streams:
            await asyncio.sleep(0)
        won = (await site.campaign(A, b"one").answer()).leader
        await site.proclaim(won, b"two")
        await site.proclaim(won, b"three")
        await observer.hear(3)
        second = site.campaign(B, b"other")
        await site.until_keys(b"e/", b"e/777", b"e/778")
        await site.resign(won)
        next = (await second.answer()).leader
        await observer.hear(4)
        await site.proclaim(next, b"last")
        heard = await observer.hear(5)
        assert [(one.kv.key, one.kv.value) for one in heard] == [
            *((b"e/777", b"one"), (b"e/777", b"two"), (b"e/777", b"three")),
            *((b"e/778", b"other"), (b"e/778", b"last")),
        ]
        assert [one.header.revision for one in heard] == [2, 3, 4, 6, 7]
        assert [one.kv.mod_revision for one in heard] == [2, 3, 4, 5, 7]
        observer.give_up()
        while site.member._streams:
            await asyncio.sleep(0)

    play(test)


def test_an_observer_begins_with_who_leads():
    async def test(site):
        await site.campaign(A, b"one").answer()
        [first] = await site.observe().hear(1)
        assert (first.kv.value, first.header.revision) == (b"one", 2)

    play(test)


def test_an_observer_that_does_not_read_is_told_later():
    """What it has not read stays in the store and not in the member's memory."""

    async def test(site):
        won = (await site.campaign(A, b"0").answer()).leader
        observer = site.observe()
        await observer.hear(1)
        observer.full = True
        for k in range(1, 60):
            await site.proclaim(won, b"%d" % k)
        await observer.hear(2)
        assert len(observer.sent) == 2
        observer.full = False
        observer.on_drain()
        heard = await observer.hear(60)
        assert [one.kv.value for one in heard] == [b"%d" % k for k in range(60)]

    play(test)


def test_a_wait_survives_the_leader():
    """The key before one's own is watched at the member that was asked, whoever leads."""

    async def test():
        async with await InProcess.of("n1", "n2", "n3") as cluster:
            leader = await cluster.leader()
            asked, other = (name for name in cluster.members if name != leader)
            for lease in (A, B):
                assert not (await cluster.ask(asked, LeaseGrant(60, lease))).error
            services = Services(cluster.members[asked])
            request = lock.LockRequest(name=b"m", lease=A)
            await KeptCall(services, LOCK + "Lock", request).answer()
            waits = KeptCall(services, LOCK + "Lock", lock.LockRequest(name=b"m", lease=B))
            await cluster.until(lambda: cluster.members[asked]._streams)
            await cluster.kill(leader)
            await cluster.leader()
            assert not (await cluster.ask(other, DeleteRange(b"m/777"))).error
            assert (await waits.answer()).key == b"m/778"

    asyncio.run(asyncio.wait_for(test(), 30))
