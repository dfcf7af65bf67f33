"""Services answer as etcd does: chapter by chapter as etcd 3.5.1 answered, and fact by fact."""

from __future__ import annotations

import asyncio
import queue
import re
import threading
from dataclasses import replace

import pytest

from kvlearn.errors import PermissionDenied
from kvlearn.kv.snapshots import load_snapshot
from kvlearn.live.http2 import Http2
from kvlearn.live.proto import rpc_pb2 as rpc
from kvlearn.live.rpc import Services
from tests.etcd.server import find_etcd
from tests.live.chapters import ANSWERS, CHAPTERS, told_by_etcd
from tests.live.fakes import InProcess, lone_member
from tests.live.talk import FILE, KEEP_ALIVE, WATCH, FakeCall, Ours, Theirs, full

HEADER = re.compile(r'"header": \d+(, )?')


@pytest.fixture
def ours():
    """Services of a new member that is alone."""
    loop = asyncio.new_event_loop()
    member = loop.run_until_complete(lone_member())
    talk = Ours(loop, Services(member))
    talk.until(lambda: member.leader)
    yield talk
    talk.services.close()
    loop.run_until_complete(member.stop())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_chapter_goes_as_with_etcd(ours, name):
    CHAPTERS[name](ours)
    assert "\n".join(ours.lines) + "\n" == ANSWERS.joinpath(f"{name}.txt").read_text()


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_real_etcd_still_says_so(name):
    """Whichever is found; before 3.5 the answers about alarms had no header."""
    program = find_etcd()
    if program is None:
        pytest.skip("no etcd found; install etcd-server, or set KVLEARN_ETCD to the program")
    told = told_by_etcd(program, name)
    known = ANSWERS.joinpath(f"{name}.txt").read_text().splitlines()
    for i, (line, expected) in enumerate(zip(told, known, strict=True)):
        if told[i - 1].startswith("> Maintenance/Alarm"):
            line, expected = (HEADER.sub("", one) for one in (line, expected))
        assert line == expected, f"line {i + 1}, after {told[i - 1]}"


@pytest.fixture
def address():
    """Of services behind HTTP/2, in a thread of their own."""
    came: queue.Queue = queue.Queue()

    async def serve():
        member = await lone_member()
        services, loop = Services(member), asyncio.get_running_loop()
        server = await loop.create_server(lambda: Http2(services.open), "127.0.0.1", 0)
        over = asyncio.Event()
        came.put((server.sockets[0].getsockname()[1], lambda: loop.call_soon_threadsafe(over.set)))
        await over.wait()
        server.close()
        await member.stop()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    port, stop = came.get(timeout=20)
    yield f"127.0.0.1:{port}"
    stop()
    thread.join(20)


@pytest.mark.parametrize("name", ["transactions", "watching", "leases", "upkeep"])
def test_a_chapter_goes_as_with_etcd_through_a_connection(address, name):
    talk = Theirs(address)
    CHAPTERS[name](talk)
    talk.close()
    assert "\n".join(talk.lines) + "\n" == ANSWERS.joinpath(f"{name}.txt").read_text()


# Streams ------------------------------------------------------------------------------------


def watch(talk, call, **asked) -> None:
    call.on_message(rpc.WatchRequest(**asked).SerializeToString())


def heard(call) -> list:
    got, call.sent = call.sent, []
    return [rpc.WatchResponse.FromString(one) for one in got]


def values(responses) -> list[bytes]:
    return [event.kv.value for response in responses for event in response.events]


def test_who_does_not_read_gets_nothing_and_loses_nothing(ours):
    call = ours.open(WATCH)
    watch(ours, call, create_request={"key": b"a"})
    ours.until(lambda: call.sent)
    assert heard(call)[0].created
    call.full = True
    wanted = [b"%d" % i for i in range(500)]  # more than the node keeps for a stream
    for value in wanted:
        ours.put(b"a", value)
    assert not call.sent
    stream = next(iter(ours.services.member.node.hub.streams.values()))
    assert len(stream.queue) <= 128
    call.full = False
    call.on_drain()
    got = []

    def all_there():
        got.extend(values(heard(call)))
        return len(got) >= len(wanted)

    ours.until(all_there)
    assert got == wanted


def test_a_stream_ends_with_its_client(ours):
    call = ours.open(WATCH)
    watch(ours, call, create_request={"key": b"a"})
    hub = ours.services.member.node.hub
    ours.until(lambda: call.sent)
    assert hub.streams
    call.closed = True
    call.on_close()
    assert not hub.streams and not ours.services.member._streams


def test_a_client_that_asks_no_more_still_listens(ours):
    call = ours.open(WATCH)
    watch(ours, call, create_request={"key": b"a"})
    call.on_end()
    ours.put(b"a", b"1")
    ours.until(lambda: len(call.sent) == 2)
    assert values(heard(call)) == [b"1"] and call.status is None


def test_streams_end_when_the_member_does(ours):
    watches, keep = ours.open(WATCH), ours.open(KEEP_ALIVE)
    watch(ours, watches, create_request={"key": b"a"})
    ours.until(lambda: watches.sent)
    ours._loop.run_until_complete(ours.services.member.stop())
    assert watches.status == (14, "etcdserver: server stopped")
    keep.on_message(rpc.LeaseKeepAliveRequest(ID=1).SerializeToString())
    ours.until(lambda: keep.status)
    assert keep.status == (14, "etcdserver: server stopped")
    late = ours.open(WATCH)
    watch(ours, late, create_request={"key": b"a"})
    ours.until(lambda: late.status)
    assert late.status == (14, "etcdserver: server stopped")


@pytest.mark.parametrize("path", [WATCH, KEEP_ALIVE])
def test_who_wants_a_leader_is_told_when_there_is_none(ours, path):
    services = ours.services
    patient, call = ours.open(path), ours.open(path, hasleader="true")
    services.member.config = replace(services.member.config, election_ms=50, heartbeat_ms=10)
    services._look.cancel()
    services._look_later(0)
    raft = services.member.node.raft
    ours.until(lambda: raft.leader)
    raft.leader = None
    ours.until(lambda: call.status)
    assert call.status == (14, "etcdserver: no leader")
    assert patient.status is None and call not in services._led
    refused = ours.open("/etcdserverpb.KV/Put", hasleader="true")
    assert refused.status == (14, "etcdserver: no leader")


def test_a_look_for_a_leader_ends_with_the_streams_that_want_one(ours):
    call = ours.open(WATCH, hasleader="true")
    services = ours.services
    assert services._look is not None
    call.on_close()
    services._look.cancel()
    services._look_for_leader(0)
    assert services._look is None


def test_who_may_not_read_is_told_in_band_and_the_stream_goes_on(ours, monkeypatch):
    def may_read(call, key, range_end):
        if key != b"mine":
            raise PermissionDenied()

    monkeypatch.setattr(ours.services, "may_read", may_read)
    call = ours.open(WATCH)
    watch(ours, call, create_request={"key": b"yours"})
    watch(ours, call, create_request={"key": b"mine"})
    ours.put(b"mine", b"1")
    ours.put(b"yours", b"2")
    ours.until(lambda: len(call.sent) == 3)
    denied, created, event = heard(call)
    assert denied.created and denied.canceled and denied.header.revision == 1
    reason = "rpc error: code = PermissionDenied desc = etcdserver: permission denied"
    assert denied.cancel_reason == reason
    assert created.created and not created.canceled and values([event]) == [b"1"]


def test_fragments_make_up_the_whole(ours):
    call = ours.open(WATCH)
    watch(ours, call, create_request={"key": b"k", "range_end": b"l", "fragment": True})
    watch(ours, call, create_request={"key": b"k", "range_end": b"l"})
    for name in (b"k1", b"k2", b"k3"):
        ours.put(name, b"x" * 1_400_000)
    ours.delete(b"k", range_end=b"l")
    watch(ours, call, create_request={"key": b"k", "range_end": b"l", "start_revision": 2})
    watch(
        *(ours, call),
        create_request={
            "key": b"k", "range_end": b"l", "start_revision": 2, "fragment": True, "prev_kv": True
        },
    )  # fmt: skip
    got = []

    def replayed():
        got.extend(heard(call))
        return got and got[-1].watch_id == 3 and got[-1].events and not got[-1].fragment

    ours.until(replayed)
    [whole] = [one for one in got if one.watch_id == 2 and one.events]
    parts = [one for one in got if one.watch_id == 3 and one.events]
    assert len(parts) > 2 and not whole.fragment and len(whole.events) == 6
    assert [one.fragment for one in parts] == [True] * (len(parts) - 1) + [False]
    assert all(one.ByteSize() < 3 << 20 or len(one.events) == 1 for one in parts)
    assert {one.header.revision for one in parts} == {whole.header.revision}
    joined = [event for one in parts for event in one.events]
    assert [event.kv for event in joined] == [event.kv for event in whole.events]


def test_progress_is_told_to_who_wants_it():
    loop = asyncio.new_event_loop()
    member = loop.run_until_complete(lone_member(watch_progress_s=0.05))
    talk = Ours(loop, Services(member))
    call = talk.open(WATCH)
    watch(talk, call, create_request={"key": b"a"})
    watch(talk, call, create_request={"key": b"a", "progress_notify": True})
    talk.put(b"b")
    got = []

    def told():
        got.extend(heard(call))
        return [one for one in got if one.header.revision == 2]

    talk.until(told)
    assert {one.watch_id for one in told()} == {1} and not got[-1].events
    loop.run_until_complete(member.stop())
    loop.close()


def test_keep_alives_are_answered_before_the_stream_ends(ours):
    grant = rpc.LeaseGrantRequest(TTL=50, ID=7)
    ours.ask("Lease/LeaseGrant", grant)
    call = ours.open(KEEP_ALIVE)
    for id in (7, 8, 7):
        call.on_message(rpc.LeaseKeepAliveRequest(ID=id).SerializeToString())
    call.on_end()
    ours.until(lambda: call.status)
    got = [rpc.LeaseKeepAliveResponse.FromString(one) for one in call.sent]
    assert [(one.ID, one.TTL) for one in got] == [(7, 50), (8, 0), (7, 50)]
    assert call.status == (0, "")
    empty = ours.open(KEEP_ALIVE)
    empty.on_end()
    assert empty.status == (0, "")


def test_a_snapshot_waits_for_its_client_and_can_be_read(ours, tmp_path):
    for i in range(300):
        ours.put(b"k%d" % i, b"\x00\xff" * 400)
    call = ours.open("/etcdserverpb.Maintenance/Snapshot")
    call.full = True
    call.on_message(b"")
    services = ours.services
    records = services.member.node.machine.save()
    parts = []

    def send_one(message):
        parts.append(rpc.SnapshotResponse.FromString(message))
        call.full = True

    call.send = send_one
    drained = call.on_drain
    ours.until(lambda: call.on_drain is not drained)
    assert not parts
    while not call.status:
        had = len(parts)
        call.full = False
        call.on_drain()
        assert len(parts) in (had + 1, had + 2)
    file = tmp_path / "s"
    file.write_bytes(b"".join(part.blob for part in parts))
    assert load_snapshot(file) == records
    assert len(parts) > 8


# Calls --------------------------------------------------------------------------------------


def test_what_is_no_method_is_refused(ours):
    for path, code, text in (
        ("/etcdserverpb.KV/Push", 12, "unknown method Push for service etcdserverpb.KV"),
        ("/shop.Till/Open", 12, "unknown service shop.Till"),
        ("/etcdserverpb.Maintenance/Downgrade", 12, None),
        ("nonsense", 8, 'malformed method name: "nonsense"'),
    ):
        status, told = ours.open(path).status
        assert status == code and (text is None or told == text)


@pytest.mark.parametrize("path", sorted(name for name in FILE.methods if "Downgrade" not in name))
def test_bytes_that_are_no_message_are_refused(ours, path):
    if path not in ours.services.methods:
        pytest.skip("its module is not there")
    call = ours.open(path)
    call.on_message(b"\x0a\xff")
    assert call.status[0] == 13 and "unmarshal" in call.status[1]


def test_nobody_answers_a_client_that_is_gone(ours):
    call = ours.open("/etcdserverpb.KV/Put")
    call.on_message(rpc.PutRequest(key=b"a").SerializeToString())
    call.closed = True
    call.on_close()
    ours.put(b"b")
    assert not call.sent and not ours.services.member._ops


def test_a_learner_serves_little(ours, monkeypatch):
    node = ours.services.member.node
    conf = replace(node.raft.conf, learners=(node.name,))
    monkeypatch.setattr(node.raft, "conf", conf)
    refusal = (14, "etcdserver: rpc not supported for learner")
    for path in (WATCH, KEEP_ALIVE, "/etcdserverpb.KV/Put", "/etcdserverpb.Maintenance/HashKV"):
        assert ours.open(path).status == refusal, path
    get = rpc.RangeRequest(key=b"a")
    call = ours.open("/etcdserverpb.KV/Range")
    call.on_message(get.SerializeToString())
    assert call.status == refusal
    ours.get(b"a", serializable=True)
    ours.ask("Maintenance/Status", rpc.StatusRequest())
    assert all(line.startswith("< {") for line in ours.lines[1::2])


def test_followers_serve_and_only_the_leader_hands_its_office_on():
    async def run():
        async with await InProcess.of("n1", "n2", "n3") as cluster:
            leader = await cluster.leader()
            follower, other = (name for name in cluster.members if name != leader)
            services = {name: Services(member) for name, member in cluster.members.items()}

            async def ask(name, path, message):
                call = FakeCall(path)
                services[name].open(call)
                call.on_message(message.SerializeToString())
                await cluster.until(lambda: call.status)
                kind = FILE.methods[path][1]
                return call.status, kind.FromString(call.sent[0]) if call.sent else None

            kv, lease, care = "/etcdserverpb.KV/", "/etcdserverpb.Lease/", full("Maintenance/")
            _, put = await ask(follower, kv + "Put", rpc.PutRequest(key=b"a", value=b"1"))
            _, got = await ask(other, kv + "Range", rpc.RangeRequest(key=b"a"))
            ids = {name: member.id for name, member in cluster.members.items()}
            assert put.header.member_id == ids[follower] and got.header.member_id == ids[other]
            assert got.kvs[0].value == b"1" and got.header.cluster_id == put.header.cluster_id
            await ask(follower, lease + "LeaseGrant", rpc.LeaseGrantRequest(TTL=60, ID=5))
            _, left = await ask(other, lease + "LeaseTimeToLive", rpc.LeaseTimeToLiveRequest(ID=5))
            assert left.TTL in (59, 60) and left.header.member_id == ids[other]
            move = rpc.MoveLeaderRequest(targetID=ids[other])
            status, _ = await ask(follower, care + "MoveLeader", move)
            assert status == (9, "etcdserver: not leader")
            status, moved = await ask(leader, care + "MoveLeader", move)
            assert status == (0, "") and not moved.HasField("header")
            await cluster.until(lambda: cluster.members[follower].leader == other)
            _, told = await ask(follower, care + "Status", rpc.StatusRequest())
            assert told.leader == ids[other]

    asyncio.run(run())
