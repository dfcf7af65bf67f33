"""Members of one cluster, each real but for its disk: they elect, replicate, join, leave."""

from __future__ import annotations

import asyncio

import pytest

pytest.importorskip("msgpack", reason="members talk in MessagePack")

from kvlearn.errors import Stopped
from kvlearn.kv.members import MemberAdd, MemberList, MemberRemove, MoveLeader
from kvlearn.kv.requests import Put, Range
from kvlearn.kv.watches import WatchCreate
from kvlearn.live.transport import PROTOCOL, dial
from tests.live.fakes import InProcess


def run(test) -> None:
    """Play an asynchronous test."""
    asyncio.run(asyncio.wait_for(test(), 60))


def test_any_member_takes_reads_and_writes():
    async def test():
        async with await InProcess.of("n1", "n2", "n3") as cluster:
            for name in cluster.members:
                answer = await cluster.ask(name, Put(name.encode(), b"1"))
                assert not answer.error
            for name, member in cluster.members.items():
                got = await cluster.ask(name, Range(b"n", b"o"))
                assert [kv.key for kv in got.result.kvs] == [b"n1", b"n2", b"n3"]
                assert got.header.member_id == member.id

    run(test)


def test_a_request_waits_for_a_leader_instead_of_failing():
    async def test():
        async with await InProcess.of("n1", "n2", "n3") as cluster:
            answer = await cluster.ask("n2", Put(b"a", b"1"))  # nobody leads yet
            assert not answer.error and answer.header.revision == 2

    run(test)


def test_when_the_leader_dies_the_others_do_not_wait_for_their_timers():
    """They lose their connections to it, so the next term begins long before an election timeout;
    what tells is the reason that the story gives, not a clock."""

    async def test():
        async with await InProcess.of("n1", "n2", "n3") as cluster:
            await cluster.ask("n1", Put(b"a", b"1"))
            old = await cluster.leader()
            waits = {n: m.node.raft.deadline for n, m in cluster.members.items() if n != old}
            await cluster.kill(old)
            new = await cluster.leader()
            assert cluster.members[new].node.raft.now < waits[new], "it waited for its timer"

    run(test)


def test_a_leader_that_stops_in_order_hands_over_first():
    async def test():
        async with await InProcess.of("n1", "n2", "n3") as cluster:
            await cluster.ask("n1", Put(b"a", b"1"))
            old = await cluster.leader()
            leaving = cluster.members.pop(old)
            await leaving.stop()
            assert leaving.leader in cluster.members, "it still led when it went"

    run(test)


def test_a_watch_hears_of_what_another_member_wrote():
    async def test():
        async with await InProcess.of("n1", "n2", "n3") as cluster:
            heard = []
            member = cluster.members["n3"]
            stream = member.open_stream(heard.extend, lambda: True)
            await cluster.ask("n1", Put(b"a", b"0"))
            member.watch(stream, WatchCreate(b"a", start_revision=1))
            await cluster.ask("n2", Put(b"a", b"1"))
            await cluster.until(lambda: sum(len(one.events) for one in heard) == 2)
            values = [event.kv.value for one in heard for event in one.events]
            assert values == [b"0", b"1"]

    run(test)


def test_a_slow_reader_is_told_when_it_reads_again():
    async def test():
        async with await InProcess.of("n1") as cluster:
            heard, reads = [], [False]
            member = cluster.members["n1"]
            stream = member.open_stream(heard.extend, lambda: reads[0])
            await cluster.ask("n1", Put(b"a", b"0"))
            member.watch(stream, WatchCreate(b"a", start_revision=1))
            await cluster.ask("n1", Put(b"a", b"1"))
            assert not heard
            reads[0] = True
            member.wake()
            await cluster.until(lambda: sum(len(one.events) for one in heard) == 2)

    run(test)


def test_a_member_that_was_added_joins_and_gets_everything():
    async def test():
        async with await InProcess.of("n1", "n2", "n3") as cluster:
            for k in range(50):
                await cluster.ask("n1", Put(b"k%d" % k, b"v"))
            added = await cluster.add("late")
            got = await cluster.ask("n4", Range(b"k", b"l", count_only=True))
            assert got.result.count == 50
            await cluster.until(
                lambda: "late" in [m.name for m in added.node.machine.directory.members]
            )
            listed = (await cluster.ask("n1", MemberList())).result.members
            assert sorted(one.name for one in listed) == ["late", "n1", "n2", "n3"]

    run(test)


def test_who_joins_behind_the_log_gets_a_snapshot_and_then_the_rest():
    async def test():
        async with await InProcess.of("n1", "n2", "n3") as cluster:
            for k in range(300):
                await cluster.ask("n1", Put(b"k%03d" % k, b"v"))
            await cluster.until(lambda: len({m.node.machine.applied for m in _all(cluster)}) == 1)
            for member in _all(cluster):
                member.node.compact(0)
            added = await cluster.add("late")
            got = await cluster.ask("n4", Range(b"k", b"l", count_only=True))
            assert got.result.count == 300 and added.node.raft.log.base.index > 300
            await cluster.ask("n4", Put(b"k", b"v"))
            await cluster.until(lambda: len({m.node.machine.applied for m in _all(cluster)}) == 1)
            assert len({m.node.machine.store.hash(0) for m in _all(cluster)}) == 1

    run(test)


def _all(cluster):
    return list(cluster.members.values())


def test_a_member_that_was_removed_stops_and_is_turned_away():
    async def test():
        async with await InProcess.of("n1", "n2", "n3") as cluster:
            await cluster.ask("n1", Put(b"a", b"1"))
            gone = cluster.members["n3"]
            await cluster.until(lambda: all(m.name for m in _directory(cluster)))
            answer = await cluster.ask("n1", MemberRemove(id=gone.id))
            assert not answer.error, answer
            with pytest.raises(Exception, match="was removed from the cluster"):
                await asyncio.wait_for(asyncio.shield(gone.stopped), 20)
            url = cluster.members["n1"].config.listen_peer_urls[0]
            hello = {"cluster": f"{gone.cluster_id:x}", "from": "n3", "to": "n1"}
            stream, told = await dial(url, hello, None)
            assert "was removed" in told["refused"]
            stream.close()

    run(test)


def test_a_member_is_named_in_the_log_as_it_calls_itself(caplog):
    async def test():
        async with await InProcess.of("n1", "n2", "n3") as cluster:
            added = await cluster.add("infra4")
            assert added.node.name == "n4"
            await cluster.until(lambda: "infra4" in [one.name for one in _directory(cluster)])
            first = cluster.members["n1"]
            assert first.transport.called("n4") == "infra4" and first.transport.called("n9") == "n9"
            hello = {"kvlearn": PROTOCOL, **added.transport.hello("n1")}
            url = first.config.listen_peer_urls[0]
            await cluster.kill("n4")
            answer = await cluster.ask("n1", MemberRemove(id=added.id))
            assert not answer.error, answer
            await cluster.until(lambda: not first.node.machine.directory.get("n4"))
            stream, told = await dial(url, hello, None)
            assert told == {"refused": "infra4 was removed from the cluster", "removed": True}
            stream.close()
            for odd in (None, "", 5, ["n4"]):
                stream, told = await dial(url, hello | {"name": odd}, None)
                assert told["refused"] == "n4 was removed from the cluster"
                stream.close()

    with caplog.at_level("INFO", "kvlearn.live"):
        run(test)
    lines = [record.getMessage() for record in caplog.records]
    assert "a stranger was turned away: infra4 was removed from the cluster" in lines


def test_a_leader_that_is_lost_is_named_as_it_calls_itself(caplog):
    async def test():
        async with await InProcess.of("n1", "n2", "n3") as cluster:
            await cluster.add("infra4")
            await cluster.until(lambda: "infra4" in [one.name for one in _directory(cluster)])
            await cluster.ask(await cluster.leader(), MoveLeader("n4"))
            await cluster.until(lambda: {m.leader for m in _all(cluster)} == {"n4"})
            await cluster.kill("n4")
            await cluster.until(lambda: "lost the connection to infra4, which led" in caplog.text)

    with caplog.at_level("INFO", "kvlearn.live"):
        run(test)
    assert "connection to n4" not in caplog.text


def test_a_member_that_missed_the_news_of_its_removal_is_told_all_the_same():
    """Nobody sends it anything any more, and its own connections to the others would stand."""

    async def test():
        async with await InProcess.of("n1", "n2", "n3") as cluster:
            await cluster.ask("n1", Put(b"a", b"1"))
            await cluster.until(lambda: all(m.name for m in _directory(cluster)))
            leader = await cluster.leader()
            gone = next(m for name, m in cluster.members.items() if name != leader)
            cluster.members[leader].transport.cut([gone.node.name])
            answer = await cluster.ask(leader, MemberRemove(id=gone.id))
            assert not answer.error, answer
            with pytest.raises(Stopped, match="was removed from the cluster"):
                await asyncio.wait_for(asyncio.shield(gone.stopped), 20)

    run(test)


def _directory(cluster):
    return next(iter(cluster.members.values())).node.machine.directory.members


def test_strangers_are_turned_away():
    async def test():
        async with await InProcess.of("n1") as mine, await InProcess.of("n1", token="b") as other:
            url = mine.members["n1"].config.listen_peer_urls[0]
            stranger = other.members["n1"].transport
            for hello, why in (
                (stranger.hello("n1"), "cluster ID mismatch"),
                (mine.members["n1"].transport.hello("n9"), "this is n1, not n9"),
                ({"kvlearn": 1}, "another protocol"),
            ):
                stream, told = await dial(url, hello, None)
                assert why in told["refused"]
                stream.close()

    run(test)


@pytest.mark.parametrize("name", [None, 5, "", ["n2"], {}])
def test_who_has_no_name_is_turned_away_and_forgotten(name):
    async def test():
        async with await InProcess.of("n1") as cluster:
            member = cluster.members["n1"]
            url = member.config.listen_peer_urls[0]
            hello = member.transport.hello("n1") | {"from": name}
            stream, told = await dial(url, hello, None)
            assert told["refused"].endswith("is no name of a member")
            stream.close()
            member.transport.update(member.node)  # as when the membership changes
            assert not member.transport._told

    run(test)


@pytest.mark.parametrize("junk", [b"GET / HTTP/1.1\r\n\r\n" * 9, b"\xff" * 64, b"\0" * 64])
def test_junk_on_the_peer_port_harms_nobody(junk):
    async def test():
        async with await InProcess.of("n1") as cluster:
            url = cluster.members["n1"].config.listen_peer_urls[0]
            reader, writer = await asyncio.open_connection("127.0.0.1", int(url[-5:].strip(":")))
            writer.write(junk)
            await reader.read()  # it hangs up
            writer.close()
            assert not (await cluster.ask("n1", Put(b"a", b"1"))).error

    run(test)


def test_http_on_the_port_for_members_is_told_where_to_go():
    async def test():
        async with await InProcess.of("n1") as cluster:
            url = cluster.members["n1"].config.listen_peer_urls[0]
            reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
            writer.write(b"GET /version HTTP/1.1\r\nHost: a\r\n\r\n")
            answer = await reader.read()
            assert answer.startswith(b"HTTP/1.1 400") and b"--listen-client-urls" in answer
            writer.close()

    run(test)


def test_a_minority_that_is_cut_off_serves_nothing_and_catches_up_later():
    async def test():
        async with await InProcess.of("n1", "n2", "n3") as cluster:
            await cluster.ask("n1", Put(b"a", b"1"))
            old = await cluster.leader()
            others = [name for name in cluster.members if name != old]
            cluster.members[old].transport.cut(others)
            for name in others:
                cluster.members[name].transport.cut([old])
            lonely = asyncio.ensure_future(cluster.ask(old, Put(b"a", b"lost")))
            await cluster.until(lambda: cluster.members[others[0]].leader in others)
            assert not (await cluster.ask(others[0], Put(b"a", b"2"))).error
            for member in cluster.members.values():
                member.transport.cut([])
            answer = await lonely
            got = await cluster.ask(old, Range(b"a"))
            wanted = b"2" if answer.error else b"lost"
            assert got.result.kvs[0].value == wanted

    run(test)


def test_a_change_of_members_needs_a_majority_that_has_started():
    async def test():
        async with await InProcess.of("n1", "n2", "n3") as cluster:
            await cluster.ask("n1", Put(b"a", b"1"))
            await cluster.until(lambda: all(m.name for m in _directory(cluster)))
            adds = [MemberAdd(peer_urls=(f"http://127.0.0.1:{k}",), id=k) for k in (5, 6, 7)]
            errors = [(await cluster.ask("n1", add)).error for add in adds]
            assert errors[0] == "" and errors[2] in ("NotEnoughStarted", "Unhealthy"), errors

    run(test)
