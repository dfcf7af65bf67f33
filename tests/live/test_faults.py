"""What goes wrong around a member: short writes, full disks, broken services, peers that vanish.

Each of these was a way to lose a write, to hang or to leak."""

from __future__ import annotations

import asyncio
import errno
import threading

import pytest

pytest.importorskip("lmdb", reason="members store in LMDB")
pytest.importorskip("msgpack", reason="members talk in MessagePack")

from kvlearn.errors import Stopped, StorageError, TimedOut
from kvlearn.kv.directory import MemberUpdate
from kvlearn.kv.members import MemberRemove, MoveLeader
from kvlearn.kv.requests import Answer, Put, Range
from kvlearn.kv.txn import Txn
from kvlearn.kv.watches import WatchCreate
from kvlearn.live import forcing
from kvlearn.live import wal as wal_module
from kvlearn.live.codec import EntryBytes
from kvlearn.live.config import MemberConfig
from kvlearn.live.member import Member
from kvlearn.live.storage import Storage
from kvlearn.live.wal import Wal
from kvlearn.mvcc.store import Store
from kvlearn.raft.messages import InstallSnapshot
from kvlearn.raft.types import Entry
from tests.live.fakes import InProcess, NoPeers


def run(test) -> None:
    """Play an asynchronous test."""
    asyncio.run(asyncio.wait_for(test(), 60))


async def on_disk(folder) -> Member:
    """A member that is a cluster of its own, on a real disk."""
    member = Member(MemberConfig(name="n1"), Storage(folder), NoPeers(), {})
    await member.start()
    return member


async def asked(member: Member, request) -> Answer:
    answer = asyncio.get_running_loop().create_future()
    member.ask(request, answer.set_result)
    return await answer


# The log ----------------------------------------------------------------------------------------


class Stingy:
    """A file of which the system takes a few bytes at once."""

    def __init__(self, file):
        self._file = file

    def write(self, data):
        return self._file.write(data[:100])

    def __getattr__(self, name):
        return getattr(self._file, name)


def test_a_write_that_the_system_takes_in_parts_is_whole(tmp_path):
    with Wal(tmp_path, segment_bytes=4096) as wal:
        wal._file = Stingy(wal._file)
        wal.append(1, b"x" * 1000)
        wal.sync()
    with Wal(tmp_path, segment_bytes=4096) as wal:
        assert wal.found == [(1, b"x" * 1000)]


def test_two_who_make_a_segment_never_touch_the_same_file(tmp_path, monkeypatch):
    """Room came back: the loop has a segment made, while the log itself needs one at once. Zeros
    that are still being written must not fall onto what is in the log by then."""
    inside, both = [], threading.Event()
    fill = wal_module._fill

    def slow_fill(file, start, end):
        inside.append(threading.current_thread().name)
        if len(inside) > 1:
            both.set()
        elif threading.current_thread() is threading.main_thread():
            wal.full = "no room for the next segment"
            wal.retry()  # what the loop does meanwhile
        both.wait(0.1)  # as long as another could get in
        fill(file, start, end)
        inside.pop()

    with Wal(tmp_path, segment_bytes=4096) as wal:
        wal._wait_for_maker()
        monkeypatch.setattr(wal_module, "_fill", slow_fill)
        for k in range(8):
            wal._wait_for_maker()
            (tmp_path / "next.new").unlink(missing_ok=True)
            wal.append(1, b"%d" % k * 3900)
            wal.sync()
        assert not both.is_set(), "two make a segment at once"
    with Wal(tmp_path, segment_bytes=4096) as wal:
        assert [payload[:1] for _, payload in wal.found] == [b"%d" % k for k in range(8)]


# The member -------------------------------------------------------------------------------------


def test_half_an_entry_is_never_kept(tmp_path):
    """The disk fails in the middle of an entry; when the member ends in order after that, its store
    must not commit the half that was carried out: the log brings the whole entry back."""

    async def test():
        member = await on_disk(tmp_path / "n1")
        await asked(member, Put(b"a", b"1"))
        backend = member.storage.backend
        put, left = backend.put, [1]

        def fails(key, record):
            if not left:
                raise StorageError("the disk fails")
            left.pop()
            put(key, record)

        backend.put = fails
        lost = asyncio.ensure_future(asked(member, Txn((), (Put(b"x", b"1"), Put(b"y", b"1")))))
        with pytest.raises(AssertionError, match="failed after its first change"):
            await asyncio.shield(member.stopped)
        await member.stop()
        assert (await lost).error == "Stopped"
        with Storage(tmp_path / "n1") as storage:
            assert Store(storage.backend).get(b"x") is None, "half of an entry was kept"
        member = await on_disk(tmp_path / "n1")
        answer = await asked(member, Range(b"x", b"z"))
        assert [kv.mod_revision for kv in answer.result.kvs] == [3, 3], answer
        await member.stop()

    run(test)


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("quick_s", [0.0, 10.0])
def test_a_disk_that_fails_ends_the_member_whoever_waits_for_it(
    tmp_path, monkeypatch, code, quick_s
):
    """The loop waits for a disk that is quick, else a thread. What was not forced is no promise."""
    monkeypatch.setattr(forcing, "QUICK_S", quick_s)
    forced_by = []

    def fails(number: int) -> None:
        forced_by.append(threading.current_thread().name)
        raise OSError(code, "it fails")

    async def test():
        member = await on_disk(tmp_path / "n1")
        for count in range(3):
            assert not (await asked(member, Put(b"a", b"%d" % count))).error
        with monkeypatch.context() as disk:
            disk.setattr(wal_module.os, "fdatasync", fails)
            lost = asyncio.ensure_future(asked(member, Put(b"a", b"lost")))
            with pytest.raises(StorageError, match="it fails"):
                await asyncio.wait_for(asyncio.shield(member.stopped), 20)
            await member.stop()
        assert (await lost).error == "Stopped" and len(forced_by) == 1
        assert (forced_by == ["MainThread"]) == (quick_s > 0)
        member = await on_disk(tmp_path / "n1")
        assert (await asked(member, Range(b"a"))).result.kvs[0].value in (b"2", b"lost")
        await member.stop()

    run(test)


def test_a_service_that_breaks_at_an_answer_concerns_one_client_only():
    async def test():
        async with await InProcess.of("n1") as cluster:
            member = cluster.members["n1"]
            await cluster.ask("n1", Put(b"a", b"0"))

            def breaks(told):
                raise KeyError("a mistake")

            other = asyncio.get_running_loop().create_future()
            stream = member.open_stream(breaks, lambda: True)
            lost = asyncio.get_running_loop().create_future()
            broken = member.open_stream(breaks, lambda: True, lost.set_result)
            for name in stream, broken:
                member.watch(name, WatchCreate(b"a", start_revision=1))
            member.ask(Put(b"a", b"1"), breaks)
            member.ask(Put(b"a", b"2"), other.set_result)
            assert not (await other).error
            assert not (await cluster.ask("n1", Range(b"a"))).error
            assert (await lost).code == "UNAVAILABLE"  # it will hear of nothing more
            assert not member.stopped.done() and not member._streams

    run(test)


@pytest.mark.parametrize("where", ["tick", "step", "request"])
def test_a_member_whose_core_breaks_stops_instead_of_lingering(where):
    """It neither answers nor beats any more, so somebody has to hear of it."""

    async def test():
        async with await InProcess.of("n1", "n2", "n3") as cluster:
            await cluster.ask("n1", Put(b"a", b"0"))
            member = cluster.members["n2"]

            def breaks(*told):
                raise StorageError("no room")

            setattr(member.node, where, breaks)
            waits = asyncio.ensure_future(cluster.ask("n2", Put(b"a", b"1")))
            with pytest.raises(StorageError, match="no room"):
                await asyncio.shield(member.stopped)
            await member.stop()
            assert (await waits).error == "Stopped"

    run(test)


def test_what_nobody_waits_for_is_forgotten():
    """Members that are cut off from their leader, and whose clients give up, keep nothing."""

    async def test():
        async with await InProcess.of("n1", "n2", "n3") as cluster:
            await cluster.ask("n1", Put(b"a", b"0"))
            leader = await cluster.leader()
            name = next(name for name in cluster.members if name != leader)
            member, answers = cluster.members[name], []
            known = member.node.machine
            await cluster.until(lambda: all(one.name for one in known.directory.members))
            await cluster.until(lambda: not member._ops)
            member.transport.cut(set(cluster.members) - {name})
            for _ in range(20):
                member.ask(Put(b"a", b"1"), answers.append, timeout_s=0.1)
                member.ask(Range(b"a"), answers.append, timeout_s=0.1)
                member.forget(member.ask(Range(b"a"), answers.append))
            await cluster.until(lambda: len(answers) == 40)
            assert {answer.error for answer in answers} == {TimedOut.__name__}
            await cluster.until(lambda: not member._parked)
            node = member.node
            assert not (member._ops or node._writes or node._reads or node._moves)

    run(test)


def test_a_read_whose_question_was_lost_is_asked_again():
    """The link fails for a moment that is too short for an election."""

    async def test():
        async with await InProcess.of("n1", "n2", "n3") as cluster:
            await cluster.ask("n1", Put(b"a", b"0"))
            leader = await cluster.leader()
            name = next(name for name in cluster.members if name != leader)
            member, answer = cluster.members[name], asyncio.get_running_loop().create_future()
            send, cut = member.transport.send, [True]

            def loses(messages, packets=None):
                return send([m for m in messages if not (cut and type(m).__name__ == "ReadIndex")])

            member.transport.send = loses
            member.ask(Range(b"a"), answer.set_result)
            await cluster.until(lambda: not member.node.raft.outbox)
            cut.clear()
            assert not (await answer).error

    run(test)


def test_a_snapshot_for_a_peer_that_is_gone_is_given_up():
    """It keeps every page of the store that is overwritten meanwhile."""

    async def test():
        async with await InProcess.of("n1", "n2", "n3") as cluster:
            for k in range(300):
                await cluster.ask("n1", Put(b"k%03d" % k, b"v"))
            leader = await cluster.leader()
            raft = cluster.members[leader].node.raft
            gone = next(name for name in cluster.members if name != leader)
            held = cluster.members[gone].transport
            receive, cluster.members[gone].receive = cluster.members[gone].receive, None

            def hears(message, packet):  # all but snapshots, which it never answers
                if not isinstance(message, InstallSnapshot):
                    receive(message, packet)

            cluster.members[gone].receive = hears
            held.cut([leader])
            for k in range(5):
                await cluster.ask(leader, Put(b"k%03d" % k, b"w"))
            cluster.members[leader].node.compact(0)
            held.cut([])
            await cluster.until(lambda: raft.progress[gone].snapshot is not None)
            await cluster.kill(gone)
            await cluster.until(lambda: raft.progress[gone].snapshot is None)
            assert not (await cluster.ask(leader, Put(b"a", b"1"))).error

    run(test)


async def sure(cluster: InProcess, name: str, request) -> Answer:
    """The answer, once it can be carried out: on a busy machine there may be an election first."""
    while True:
        await cluster.until(lambda: all(one.name for one in known(cluster, name).members))
        answer = await cluster.ask(name, request)
        if not answer.error:
            return answer
        await asyncio.sleep(0.05)


def known(cluster: InProcess, name: str):
    return cluster.members[name].node.machine.directory


def test_who_joins_answers_a_leader_that_is_no_founder():
    """It begins with the founders, which may all be gone; it finds out from who speaks to it."""

    async def test():
        async with await InProcess.of("n1") as cluster:
            await cluster.ask("n1", Put(b"a", b"1"))
            await cluster.add("second")
            await sure(cluster, "n1", MoveLeader("n2"))
            await cluster.add("third")
            assert not (await cluster.ask("n3", Range(b"a"))).error
            first = cluster.members["n1"]
            await sure(cluster, "n2", MemberRemove(id=first.id))
            del cluster.members["n1"]  # no founder is left
            await first.stop()
            await sure(cluster, "n2", Put(b"b", b"1"))
            await cluster.add("fourth")
            got = await cluster.ask("n4", Range(b"a"))
            assert got.result.kvs[0].value == b"1", got

    run(test)


def test_who_was_away_answers_a_leader_that_came_meanwhile():
    async def test():
        async with await InProcess.of("n1", "n2", "n3") as cluster:
            await cluster.ask("n1", Put(b"a", b"1"))
            away = cluster.members["n3"].transport
            for name in "n1", "n2":
                cluster.members[name].transport.cut(["n3"])
            away.cut(["n1", "n2", "n4"])
            await cluster.until(lambda: cluster.members["n1"].leader in ("n1", "n2"))
            await cluster.add("late")
            await cluster.until(lambda: not cluster.members["n4"].node.is_outside)
            others = [cluster.members[name] for name in ("n1", "n2", "n4")]
            await cluster.until(lambda: len({m.node.machine.applied for m in others}) == 1)
            await sure(cluster, "n1", MoveLeader("n4"))
            away.cut([])  # n1 and n2 still do not speak to it
            await cluster.until(lambda: cluster.members["n3"].node.machine.directory.get("n4"))

    run(test)


def test_who_was_away_when_it_was_removed_stops_when_it_hears_of_it():
    """Its own log does not say so; those that are members do, when it dials them."""

    async def test():
        async with await InProcess.of("n1", "n2", "n3") as cluster:
            await cluster.ask("n1", Put(b"a", b"1"))
            known = cluster.members["n1"].node.machine
            await cluster.until(lambda: all(one.name for one in known.directory.members))
            gone = cluster.members["n3"]
            for name in "n1", "n2":
                cluster.members[name].transport.cut(["n3"])
            gone.transport.cut(["n1", "n2"])
            await cluster.until(lambda: cluster.members["n1"].leader in ("n1", "n2"))
            assert not (await cluster.ask("n1", MemberRemove(id=gone.id))).error
            for peer in gone.transport._peers.values():
                peer.stream.close()  # as after a restart
            with pytest.raises(Stopped, match="was removed from the cluster"):
                await asyncio.shield(gone.stopped)
            assert gone.node.machine.directory.get("n3"), "its log has told it"

    run(test)


def test_a_member_that_moved_is_dialled_where_it_is():
    async def test():
        async with await InProcess.of("n1", "n2", "n3") as cluster:
            await cluster.ask("n1", Put(b"a", b"1"))
            moved = ("http://127.0.0.1:1",)
            change = MemberUpdate(cluster.members["n3"].id, moved)
            assert not (await cluster.ask("n1", change)).error
            peers = cluster.members["n2"].transport._peers
            await cluster.until(lambda: peers["n3"].urls == moved)

    run(test)


def test_what_waits_for_a_peer_is_bounded(monkeypatch):
    """A peer that lacks much gets it bit by bit: what is on its way is memory."""
    monkeypatch.setattr("kvlearn.live.transport.MAX_WAITING", 1 << 20)

    async def test():
        async with await InProcess.of("n1", "n2", "n3") as cluster:
            await cluster.ask("n1", Put(b"a", b"0"))
            leader = await cluster.leader()
            late = next(name for name in cluster.members if name != leader)
            cluster.members[late].transport.cut([leader])
            for k in range(400):
                await cluster.ask(leader, Put(b"k", b"%d" % k + bytes(50_000)))
            transport = cluster.members[leader].transport
            stream, most = transport._peers[late].stream, 0
            write = stream.transport.write

            class Measured:
                def __getattr__(self, name):
                    return getattr(stream_transport, name)

                def write(self, data):
                    nonlocal most
                    most = max(most, len(data))
                    write(data)

            stream_transport, stream.transport = stream.transport, Measured()
            cluster.members[late].transport.cut([])
            applied = cluster.members[leader].node.machine.applied
            await cluster.until(lambda: cluster.members[late].node.machine.applied >= applied)
            assert 0 < most <= 3 << 20, most  # and one message

    run(test)


def test_one_message_takes_no_longer_than_a_heartbeat_may_wait():
    """Entries of a megabyte travel one by one, and records of a snapshot too."""

    async def test():
        async with await InProcess.of("n1", "n2", "n3") as cluster:
            await cluster.ask("n1", Put(b"a", b"0"))
            leader = await cluster.leader()
            late = next(name for name in cluster.members if name != leader)
            lead, sizes = cluster.members[leader], {}
            frame = lead.transport._frame

            def measured(message, packet):
                data = frame(message, packet)
                kind = type(message).__name__
                sizes[kind] = max(sizes.get(kind, 0), len(data))
                return data

            lead.transport._frame = measured
            for kept in 5000, 0:  # from the log, then by a snapshot
                cluster.members[late].transport.cut([leader])
                for k in range(20):
                    put = Put(b"k%d" % k, bytes(300_000))
                    assert not (await cluster.ask(leader, put)).error
                lead.node.compact(kept)
                cluster.members[late].transport.cut([])
                applied = lead.node.machine.applied
                await cluster.until(lambda: cluster.members[late].node.machine.applied >= applied)
            wanted = {"AppendEntries", "InstallSnapshot"}
            assert wanted <= sizes.keys() and max(sizes.values()) < 1_400_000, sizes

    run(test)


def test_the_bytes_of_recent_entries_are_bounded(monkeypatch):
    monkeypatch.setattr("kvlearn.live.codec.RECENT_BYTES", 100_000)
    made = EntryBytes()
    for index in range(1, 500):
        entry = Entry(index, 1, bytes(1000))
        assert made.of(entry) == made.of(entry)
        assert sum(map(len, made._recent.values())) == made._bytes <= 101_100


# The disk ---------------------------------------------------------------------------------------


def test_a_store_that_is_ahead_of_its_log_is_refused(tmp_path):
    """Such a disk has lost what it had promised; to go on would be to forget entries that count."""

    async def test():
        member = await on_disk(tmp_path / "n1")
        await asked(member, Put(b"a", b"1"))
        await member.stop()
        with Storage(tmp_path / "n1") as storage:
            storage.backend.set_meta("applied", storage.last.index + 1)
            storage.backend.flush()
        with pytest.raises(StorageError, match="the store is at entry .* the log ends at"):
            Storage(tmp_path / "n1")

    run(test)


def test_a_story_that_cannot_be_written_ends_and_the_member_goes_on(tmp_path, monkeypatch):
    async def test():
        config = MemberConfig(name="n1", trace_file=tmp_path / "n1.jsonl")
        member = Member(config, Storage(tmp_path / "n1"), NoPeers(), {})
        await member.start()
        assert not (await asked(member, Put(b"a", b"1"))).error
        member.story._file.close()
        member.story._file = open("/dev/full", "w", buffering=1 << 10)
        for k in range(20):
            assert not (await asked(member, Put(b"a", b"%d" % k))).error
        assert not member.story.tells
        await member.stop()

    run(test)


def test_snapshots_for_clients_that_do_not_read_are_few(tmp_path):
    """Each is in memory, and keeps pages of the store from being used again; and LMDB has room for
    so many readers only."""
    pytest.importorskip("grpc", reason="a client speaks gRPC")
    import grpc

    from kvlearn.live.local_cluster import LocalCluster
    from kvlearn.live.proto import rpc_pb2
    from kvlearn.live.rpc_upkeep import MOST

    with LocalCluster(1, trace=False) as cluster, cluster.client() as client:
        for k in range(20):
            client.put(f"k{k}", "v" * 100_000)
        with grpc.insecure_channel(cluster.endpoint("n1")) as channel:
            path = "/etcdserverpb.Maintenance/Snapshot"
            asked, told = rpc_pb2.SnapshotRequest, rpc_pb2.SnapshotResponse
            snapshot = channel.unary_stream(path, asked.SerializeToString, told.FromString)
            calls = [snapshot(asked()) for _ in range(150)]
            ends = []
            for call in calls:
                try:
                    ends.append(next(call).remaining_bytes > 0)
                except grpc.RpcError as error:
                    assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED, error
            assert ends == [True] * MOST
            for call in calls:
                call.cancel()

            def whole() -> bool:
                try:
                    return sum(len(part.blob) for part in snapshot(asked())) > 2_000_000
                except grpc.RpcError:
                    return False  # the member has not heard of the cancellations yet

            cluster.wait_until(whole, 30.0)
        assert client.put("a", "1").header.revision == 22
