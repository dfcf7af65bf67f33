"""The channel over gRPC: what leaves, what leaves once, what goes on elsewhere, and its words."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from hashlib import sha256
from pathlib import Path

import pytest

from kvlearn import connect, errors, put, version
from kvlearn.errors import (
    ClientGone,
    InvalidArgument,
    InvalidSortOption,
    LeaseNotFound,
    NoLeader,
    ReadOnly,
    RequestError,
    Stopped,
    StorageError,
    TimedOut,
    Unavailable,
    WatchCanceled,
)
from kvlearn.handles import Lease
from kvlearn.kv.leases import (
    Compact,
    CompactResult,
    LeaseGrant,
    LeaseKeepAlive,
    LeaseLeases,
    LeaseResult,
    LeaseRevoke,
    LeasesResult,
    LeaseTimeResult,
    LeaseTimeToLive,
)
from kvlearn.kv.requests import (
    Answer,
    DeleteRange,
    DeleteResult,
    Header,
    KeyValue,
    Put,
    PutResult,
    Range,
    RangeResult,
)
from kvlearn.kv.txn import Compare, OpResult, Txn, TxnResult
from kvlearn.kv.upkeep import Alarm, AlarmResult, HashKV, HashResult, Status, StatusResult
from kvlearn.kv.watches import WatchCancel, WatchCreate, WatchProgress
from kvlearn.live import wire
from kvlearn.live.channel import addresses
from kvlearn.live.client_wire import (
    PATHS,
    error_of,
    header_of,
    message_of,
    result_of,
    watch_message,
    watch_response_of,
)
from kvlearn.live.proto import rpc_pb2 as rpc
from kvlearn.mvcc.watch import KVEvent, WatchResponse
from tests.etcd import programs
from tests.live.doubles import Server, refuse

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def serve():
    """Makes servers, and stops them in the end."""
    servers = []

    def make(*args, **methods) -> Server:
        servers.append(Server(*args, **methods))
        return servers[-1]

    yield make
    for server in servers:
        server.stop()


@pytest.fixture
def client_of():
    """Makes clients of servers or endpoints, and closes them in the end."""
    clients = []

    def make(*servers, write=True, **more):
        names = [getattr(server, "endpoint", server) for server in servers]
        clients.append(connect(names, write=write, **more))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def closed_port():
    """An endpoint where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        port = one.getsockname()[1]
    return f"127.0.0.1:{port}"


def until(condition, timeout_s: float = 10.0) -> None:
    """Wait until something is so."""
    give_up = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < give_up, "not so in time"
        time.sleep(0.005)


def threads() -> list[str]:
    """The names of all threads."""
    return [thread.name for thread in threading.enumerate()]


def accepts(message, context):
    return rpc.PutResponse(header={"revision": 7})


# What leaves ------------------------------------------------------------------------------------

WRITES = {
    "put": lambda c: c.put("k", "v"),
    "delete": lambda c: c.delete("k"),
    "txn": lambda c: c.txn().if_(version("k") == 0).else_(put("k")).commit(),
    "lease": lambda c: c.lease(5),
    "keep alive": lambda c: c.channel.keep(1, c.endpoint, 1.0),
    "keep alive once": lambda c: c.call(LeaseKeepAlive(1)),
    "revoke": lambda c: c.call(LeaseRevoke(1)),
    "compact": lambda c: c.compact(1),
    "defragment": lambda c: c.defragment(),
    "disarm": lambda c: c.disarm(),
    "add": lambda c: c.add_member(peer_urls="http://127.0.0.1:1"),
    "promote": lambda c: c.promote_member("n1"),
    "remove": lambda c: c.remove_member("n1"),
    "change": lambda c: c.reconfigure(add=["n4"]),
    "move": lambda c: c.move_leader("n1"),
}


@pytest.mark.parametrize("name", WRITES)
def test_without_write_nothing_that_changes_something_leaves(serve, client_of, name):
    everything = {path.rpartition("/")[2]: accepts for path in rpc.FILE.methods}
    server = serve(**everything)
    with pytest.raises(ReadOnly, match=r"connect\(\.\.\., write=True\)"):
        WRITES[name](client_of(server, write=False))
    assert server.names() == []


def test_reads_leave_without_write(serve, client_of, tmp_path):
    data = b"the whole state"
    parts = [rpc.SnapshotResponse(blob=data), rpc.SnapshotResponse(blob=sha256(data).digest())]
    server = serve(
        Range=lambda m, c: rpc.RangeResponse(count=1, kvs=[{"key": b"k", "value": b"v"}]),
        Txn=lambda m, c: rpc.TxnResponse(succeeded=True),
        HashKV=lambda m, c: rpc.HashKVResponse(hash=5),
        Alarm=lambda m, c: rpc.AlarmResponse(alarms=[{"memberID": 7, "alarm": "NOSPACE"}]),
        MemberList=lambda m, c: rpc.MemberListResponse(members=[{"ID": 1, "name": "n1"}]),
        LeaseLeases=lambda m, c: rpc.LeaseLeasesResponse(leases=[{"ID": 9}]),
        LeaseTimeToLive=lambda m, c: rpc.LeaseTimeToLiveResponse(ID=9, TTL=-1),
        Snapshot=lambda m, c: iter(parts),
    )
    client = client_of(server, write=False)
    assert client.get("k").text == "v"
    assert client.txn().if_(version("k") > 0).commit().succeeded
    assert client.hash_kv().hash == 5
    assert client.alarms().alarms == ((7, "NOSPACE"),)
    assert client.members().members[0].name == "n1"
    assert client.leases().ids == (9,)
    assert client.call(LeaseTimeToLive(9)).ttl_s == -1
    assert client.status().version == ""
    path = tmp_path / "state.db"
    assert client.snapshot(path) == len(data) + 32
    assert path.read_bytes() == data + sha256(data).digest()
    assert list(tmp_path.iterdir()) == [path]


def test_a_snapshot_that_does_not_fit_its_sum_is_not_saved(serve, client_of, tmp_path):
    parts = [rpc.SnapshotResponse(blob=b"state"), rpc.SnapshotResponse(blob=bytes(32))]
    client = client_of(serve(Snapshot=lambda m, c: iter(parts)))
    with pytest.raises(StorageError, match="damaged"):
        client.snapshot(tmp_path / "state.db")
    assert not list(tmp_path.iterdir())


# What leaves once -------------------------------------------------------------------------------

OPEN = [  # nobody knows what became of a write that was answered so
    ("UNAVAILABLE", "etcdserver: request timed out"),
    ("UNAVAILABLE", "etcdserver: request timed out, possibly due to previous leader failure"),
    ("UNAVAILABLE", "etcdserver: server stopped"),
    ("UNAVAILABLE", "etcdserver: leader changed"),
    ("UNAVAILABLE", "Socket closed"),
    ("INTERNAL", "RST_STREAM with error code 2"),
    ("DEADLINE_EXCEEDED", "context deadline exceeded"),
    ("UNKNOWN", "Stream removed"),
]


@pytest.mark.parametrize(("code", "text"), OPEN)
def test_a_write_of_unknown_fate_is_not_repeated(serve, client_of, code, text):
    server, other = serve(Put=refuse(code, text)), serve(Put=accepts)
    with pytest.raises(TimedOut):
        client_of(server, other).put("k", "v")
    assert server.names() == ["Put"] and other.names() == []


@pytest.mark.parametrize(("code", "text"), OPEN)
def test_a_read_without_an_answer_is_asked_elsewhere(serve, client_of, code, text):
    server = serve(Range=refuse(code, text))
    other = serve(Range=lambda m, c: rpc.RangeResponse(count=3))
    assert client_of(server, other).get("k").count == 3
    assert server.names() == other.names() == ["Range"]


def test_a_write_without_an_answer_times_out_and_is_not_repeated(serve, client_of):
    server = serve(Put=lambda m, c: server.stopped.wait(20) and None)
    other = serve(Put=accepts)
    with pytest.raises(TimedOut, match="no answer in time"):
        client_of(server, other, timeout_s=0.5).put("k", "v")
    assert server.names() == ["Put"] and other.names() == []


def test_a_write_whose_server_dies_is_not_repeated(serve, client_of):
    came = threading.Event()

    def dies(message, context):
        came.set()
        server.stopped.wait(20)

    server, other = serve(Put=dies), serve(Put=accepts)
    client, failures = client_of(server, other), []

    def write():
        try:
            client.put("k", "v")
        except RequestError as error:
            failures.append(error)

    thread = threading.Thread(target=write)
    thread.start()
    assert came.wait(10)
    server.stop()
    thread.join(10)
    assert [type(error) for error in failures] == [TimedOut] and other.names() == []


@pytest.mark.parametrize("text", ["etcdserver: no leader", "etcdserver: not capable"])
def test_a_write_that_was_refused_goes_to_the_next(serve, client_of, text):
    server, other = serve(Put=refuse("UNAVAILABLE", text)), serve(Put=accepts)
    assert client_of(server, other).put("k", "v").header.revision == 7
    assert server.names() == other.names() == ["Put"]


def test_a_write_that_could_not_leave_goes_to_the_next(serve, client_of, closed_port):
    server = serve(Put=accepts)
    assert client_of(closed_port, server).put("k", "v").header.revision == 7
    assert server.names() == ["Put"]


def test_whoever_accepts_and_says_nothing_gets_no_write(serve, client_of):
    server = serve(Put=accepts)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = client_of(f"127.0.0.1:{silent.getsockname()[1]}", server)
        assert client.put("k", "v").header.revision == 7


def test_a_server_that_came_back_is_found_again(serve, client_of):
    server = serve(Put=accepts)
    client = client_of(server)
    client.put("k", "v")
    server.stop()
    client.timeout_s = 0.3
    with pytest.raises(Unavailable, match=f"{server.endpoint}: Connection refused"):
        client.put("k", "v")
    client.timeout_s = 10.0
    serve(port=int(server.endpoint.rpartition(":")[2]), Put=accepts)
    assert client.put("k", "v").header.revision == 7


def test_who_refused_is_named(client_of, closed_port):
    with socket.create_server(("127.0.0.1", 0)) as one:
        other = f"127.0.0.1:{one.getsockname()[1]}"
    client = client_of(closed_port, other, timeout_s=0.5)
    for ask in (lambda: client.get("k"), lambda: client.put("k", "v")):
        with pytest.raises(Stopped, match="no connection") as caught:
            ask()
        assert all(
            f"{one}: Connection refused" in str(caught.value) for one in (closed_port, other)
        )


def test_a_host_that_nobody_knows_is_told_at_once(client_of):
    for names in (["nohost.invalid:2379"], ["http://a.invalid:1", "http://b.invalid:2"]):
        client, began = client_of(*names, timeout_s=60), time.monotonic()
        for ask in (lambda: client.get("k"), lambda: client.put("k"), lambda: client.lease(5)):
            with pytest.raises(RequestError, match=r"invalid:\d+: no host has this name: check"):
                ask()
        watcher = client.watch("k")
        with pytest.raises(RequestError, match="no host has this name"):
            watcher.recv(timeout_s=60)
        assert time.monotonic() - began < 30  # and not four times a minute


def test_who_is_known_is_asked_where_another_host_is_not(serve, client_of, closed_port):
    server = serve(Put=accepts)
    assert client_of("nohost.invalid:2379", server).put("k").header.revision == 7
    down = client_of("nohost.invalid:2379", closed_port, timeout_s=0.3)
    with pytest.raises(Stopped, match="no host has this name.*Connection refused"):
        down.put("k")  # who is down may come


def test_who_was_reached_tells_more_than_who_was_not(serve, client_of, closed_port):
    server = serve(Range=refuse("UNAVAILABLE", "etcdserver: no leader"))
    with pytest.raises(NoLeader):
        client_of(closed_port, server, timeout_s=0.5).get("k")


def test_only_the_leader_can_hand_over(serve, client_of):
    members = rpc.MemberListResponse(members=[{"ID": 5, "name": "n1"}])
    follower = serve(
        MemberList=lambda m, c: members,
        MoveLeader=refuse("FAILED_PRECONDITION", "etcdserver: not leader"),
    )
    leader = serve(
        MemberList=lambda m, c: members, MoveLeader=lambda m, c: rpc.MoveLeaderResponse()
    )
    client_of(follower, leader).move_leader("n1")
    assert leader.asked[-1][1].targetID == 5
    with pytest.raises(Unavailable, match="not leader"):
        client_of(follower, timeout_s=0.3).move_leader("n1")


def test_members_are_known_by_name_number_and_url(serve, client_of):
    members = [
        {"ID": 0xA, "name": "one", "peerURLs": ["http://a:1"]},
        {"ID": 0xB, "name": "", "peerURLs": ["http://b:1"], "isLearner": True},
    ]
    server = serve(
        MemberList=lambda m, c: rpc.MemberListResponse(members=members),
        MemberRemove=lambda m, c: rpc.MemberRemoveResponse(members=members[:1]),
        MemberPromote=lambda m, c: rpc.MemberPromoteResponse(members=members),
        MemberAdd=lambda m, c: rpc.MemberAddResponse(member=members[1], members=members),
    )
    client = client_of(server)
    for name in ("one", "a", "http://a:1", 0xA):
        assert client.remove_member(name).members[0].id == 0xA
        assert server.asked[-1][1].ID == 0xA
    client.promote_member("http://b:1")
    assert server.asked[-1][1].ID == 0xB
    with pytest.raises(errors.MemberNotFound, match="one a, .not started. b"):
        client.remove_member("two")
    added = client.add_member(learner=True, peer_urls="http://b:1").members[1]
    assert added.learner and added.peer_urls == ("http://b:1",)
    assert server.asked[-1][1].isLearner and server.asked[-1][1].peerURLs == ["http://b:1"]
    with pytest.raises(InvalidArgument, match="peer_urls"):
        client.add_member("n4")
    for joint in (lambda: client.reconfigure(add=["n4"]), client.leave_joint):
        with pytest.raises(InvalidArgument, match="no request for a joint change"):
            joint()


def test_all_alarms_are_disarmed_one_by_one(serve, client_of):
    raised = [{"memberID": 1, "alarm": "NOSPACE"}, {"memberID": 2, "alarm": "CORRUPT"}]

    def alarm(message, context):
        if not message.action:
            return rpc.AlarmResponse(alarms=raised)
        return rpc.AlarmResponse(alarms=[{"memberID": message.memberID, "alarm": message.alarm}])

    client = client_of(serve(Alarm=alarm))
    assert client.disarm().alarms == ((1, "NOSPACE"), (2, "CORRUPT"))
    assert client.disarm(member=2).alarms == ((2, "CORRUPT"),)
    assert client.disarm(alarm="NOSPACE").alarms == ((1, "NOSPACE"),)
    assert client.disarm(3, "NOSPACE").alarms == ((3, "NOSPACE"),)


# Who asks ---------------------------------------------------------------------------------------


class Guard:
    """Who asks? `valid` are the tokens that count."""

    def __init__(self, code="UNAUTHENTICATED", text="etcdserver: invalid auth token"):
        self.given, self.valid = 0, set()
        self.refuse = refuse(code, text)

    def authenticate(self, message, context):
        if (message.name, message.password) != ("ann", "secret"):
            text = "etcdserver: authentication failed, invalid user ID or password"
            refuse("INVALID_ARGUMENT", text)(message, context)
        self.given += 1
        self.valid.add(token := f"token.{self.given}")
        return rpc.AuthenticateResponse(token=token)

    def check(self, method):
        """The method, for those who have a token."""

        def checked(message, context):
            token = dict(context.invocation_metadata()).get("token")
            if token not in self.valid:
                self.refuse(message, context)
            return method(message, context)

        return checked


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("UNAUTHENTICATED", "etcdserver: invalid auth token"),
        ("INVALID_ARGUMENT", "etcdserver: revision of auth store is old"),
        ("INVALID_ARGUMENT", "etcdserver: user name is empty"),
    ],
)
def test_a_token_is_asked_for_once_and_renewed(serve, client_of, code, text):
    guard = Guard(code, text)
    server = serve(Authenticate=guard.authenticate, Put=guard.check(accepts))
    client = client_of(server, user="ann", password="secret")
    client.put("k", "v"), client.put("k", "v")
    assert server.names() == ["Authenticate", "Put", "Put"]
    guard.valid.clear()
    client.put("k", "v")
    assert server.names()[3:] == ["Put", "Authenticate", "Put"]


def test_a_token_that_never_counts_is_not_renewed_for_ever(serve, client_of):
    refusal = refuse("UNAUTHENTICATED", "etcdserver: invalid auth token")
    guard = Guard()
    server = serve(Authenticate=guard.authenticate, Put=refusal)
    with pytest.raises(RequestError, match="invalid auth token") as caught:
        client_of(server, user="ann", password="secret").put("k", "v")
    assert caught.value.code == "UNAUTHENTICATED"
    assert server.names() == ["Authenticate", "Put"] * 2


def test_a_wrong_password_is_told_and_nothing_is_asked(serve, client_of):
    server = serve(Authenticate=Guard().authenticate, Put=accepts)
    with pytest.raises(RequestError, match="invalid user ID or password"):
        client_of(server, user="ann", password="wrong").put("k", "v")
    assert server.names() == ["Authenticate"]


def test_where_nobody_has_to_say_who_asks_the_name_does_no_harm(serve, client_of):
    refusal = refuse("FAILED_PRECONDITION", "etcdserver: authentication is not enabled")
    server = serve(Authenticate=refusal, Put=accepts)
    client = client_of(server, user="ann", password="secret")
    client.put("k", "v"), client.put("k", "v")
    assert server.names() == ["Authenticate", "Put", "Put"]


def test_a_watch_and_a_lease_renew_the_token_too(serve, client_of):
    guard, beats = Guard(), []

    def watch(requests, context):
        for request in requests:
            yield rpc.WatchResponse(created=True, header={"revision": 3})
            yield rpc.WatchResponse(header={"revision": 4}, events=[event(b"k", 4)])

    def keep(requests, context):
        for request in requests:
            beats.append(request.ID)
            yield rpc.LeaseKeepAliveResponse(ID=request.ID, TTL=5)

    server = serve(
        Authenticate=guard.authenticate,
        Put=guard.check(accepts),
        Watch=guard.check(watch),
        LeaseKeepAlive=guard.check(keep),
    )
    client = client_of(server, user="ann", password="secret")
    client.put("k", "v")
    guard.valid.clear()
    assert client.watch("k").recv().kv.mod_revision == 4
    guard.valid.clear()
    client.channel.keep(9, client.endpoint, 30.0)
    until(lambda: beats == [9])
    guard.valid.clear()
    assert client.call(LeaseKeepAlive(8)).ttl_s == 5
    assert guard.given == 4 and client.channel.keeps(9)


# TLS --------------------------------------------------------------------------------------------


@pytest.fixture
def paper(tmp_path):
    """Files of certificates, and the server's credentials by them: (ca, cert, key), credentials."""
    trustme, grpc = pytest.importorskip("trustme"), pytest.importorskip("grpc")
    ca = trustme.CA()
    ours, mine = ca.issue_cert("127.0.0.1"), ca.issue_cert("ann")
    names = [tmp_path / name for name in ("ca.pem", "cert.pem", "key.pem")]
    ca.cert_pem.write_to_path(names[0])
    mine.cert_chain_pems[0].write_to_path(names[1])
    mine.private_key_pem.write_to_path(names[2])
    pair = ours.private_key_pem.bytes(), ours.cert_chain_pems[0].bytes()
    credentials = grpc.ssl_server_credentials([pair], ca.cert_pem.bytes(), True)
    return [str(name) for name in names], credentials


def test_both_sides_show_their_certificates(serve, client_of, paper):
    (ca, cert, key), credentials = paper
    server = serve(credentials, Put=accepts)
    files = dict(ca_file=ca, cert_file=cert, key_file=key)
    assert client_of(server, **files).put("k", "v").header.revision == 7
    assert client_of(f"https://{server.endpoint}", **files).put("k").header.revision == 7


def test_the_wrong_scheme_gets_a_hint(serve, client_of, paper):
    (ca, cert, key), credentials = paper
    plain, secret = serve(Put=accepts), serve(credentials, Put=accepts)
    with pytest.raises(Unavailable, match="does not speak TLS: write http://"):
        client_of(plain, ca_file=ca, timeout_s=0.5).get("k")
    with pytest.raises(Unavailable, match="may speak TLS: write https://"):
        client_of(secret, timeout_s=0.5).get("k")
    with pytest.raises(Unavailable, match="who signed its certificate"):
        client_of(f"https://{secret.endpoint}", timeout_s=0.5).get("k")


@pytest.mark.parametrize(
    ("endpoints", "more", "why"),
    [
        ("", {}, "host:port"),
        ("ftp://a:1", {}, "host:port or a URL"),
        ("http://a:1/path", {}, "host:port or a URL"),
        ([], {}, "whom to ask"),
        (2379, {}, "such as '127.0.0.1:2379', not 2379"),
        ("a:99999", {}, "from 1 to 65535: 'a:99999'"),
        ("a:b", {}, "from 1 to 65535"),
        ("http://a:1,https://b:1", {}, "all endpoints speak TLS or none"),
        ("http://a:1", {"ca_file": "x"}, "write https://"),
        ("a:1", {"cert_file": "x"}, "belong together"),
        ("a:1", {"user": "ann"}, "belong together"),
        ("a:1", {"timeout_s": -1}, "timeout_s"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_at_once(endpoints, more, why):
    with pytest.raises(ValueError, match=why):
        connect(endpoints, **more)


def test_endpoints_come_in_many_forms():
    plain = ("a:1", "b:2")
    assert addresses("a:1,b:2") == addresses(["a:1", " b:2 "]) == (plain, None)
    assert addresses("http://a:1/,http://b:2") == (plain, False)
    assert addresses("https://a:1") == (("a:1",), True)
    assert addresses("a") == (("a:2379",), None) and addresses("[::1]:7") == (("[::1]:7",), None)


# Streams ----------------------------------------------------------------------------------------


def event(key: bytes, revision: int) -> dict:
    return {"kv": {"key": key, "value": b"v", "mod_revision": revision, "version": 1}}


def told(revision: int, **more) -> rpc.WatchResponse:
    return rpc.WatchResponse(header={"revision": revision}, **more)


class Watched:
    """A Watch method that plays a part for each stream, and notes what it was asked. The parts are
    answers; an exception ends the stream, None waits for the next question."""

    def __init__(self, *parts):
        self.parts = parts
        self.creates: list = []
        self.asked: list[str] = []
        self.released = threading.Event()

    def __call__(self, requests, context):
        for part in self.parts:
            if part is None:
                self._next(requests)
            elif isinstance(part, threading.Event):
                part.wait(20)
            elif isinstance(part, tuple):
                refuse(*part)(None, context)
            else:
                yield part
        self.released.wait(20)

    def _next(self, requests):
        request = next(requests)
        kind = request.WhichOneof("request_union")
        self.asked.append(kind)
        if kind == "create_request":
            self.creates.append(request.create_request)


@pytest.fixture
def release():
    """Lets all parts end that still wait."""
    parts = []
    yield parts.append
    for part in parts:
        part.released.set()


LOST = ("UNAVAILABLE", "etcdserver: no leader")


def test_a_watch_goes_on_elsewhere_behind_what_was_heard(serve, client_of, release):
    first = Watched(None, told(4, created=True), told(5, events=[event(b"k", 5)]), LOST)
    then = Watched(None, told(6, created=True), told(6, events=[event(b"k", 6)]))
    release(first), release(then)
    client = client_of(serve(Watch=first), serve(Watch=then), write=False)
    watcher = client.watch("k", prev_kv=True, filters=["delete"], progress_notify=True)
    assert [watcher.recv().kv.mod_revision for _ in range(2)] == [5, 6]
    assert watcher.resumed == 1 and watcher.revision == 6
    before, after = first.creates[0], then.creates[0]
    assert (before.start_revision, after.start_revision) == (0, 6)
    for create in (before, after):
        assert create.key == b"k" and create.prev_kv and create.progress_notify
        assert list(create.filters) == [rpc.WatchCreateRequest.NODELETE]
    watcher.cancel()
    assert watcher.canceled == "closed"


def test_a_watch_waits_for_a_server_to_come(serve, client_of, release, closed_port):
    later = Watched(None, told(6, created=True), told(7, events=[event(b"k", 7)]))
    release(later)
    client = client_of(closed_port, serve(Watch=later), write=False)
    assert client.watch("k", start_revision=7).recv().kv.mod_revision == 7


def test_a_watch_exists_when_it_is_handed_out(serve, client_of, release):
    gate = threading.Event()
    slow = Watched(None, gate, told(4, created=True))
    release(slow)
    client, made = client_of(serve(Watch=slow), write=False), []
    thread = threading.Thread(target=lambda: made.append(client.watch("k")))
    thread.start()
    until(lambda: slow.creates)
    assert not made, "the server has not taken it on yet"
    gate.set()
    thread.join(10)
    assert made and made[0].responses[0].created


@pytest.mark.parametrize(
    ("code", "text", "kind"),
    [
        ("PERMISSION_DENIED", "etcdserver: permission denied", RequestError),
        ("INVALID_ARGUMENT", "etcdserver: key is not provided", errors.EmptyKey),
    ],
)
def test_a_watch_that_is_refused_ends(serve, client_of, code, text, kind):
    client = client_of(serve(Watch=refuse(code, text)), write=False)
    watcher = client.watch("k")
    with pytest.raises(kind, match=text):
        watcher.recv()


def test_a_watch_ends_where_its_history_is_gone(serve, client_of, release):
    gone = Watched(None, told(9, created=True), told(0, canceled=True, compact_revision=8))
    release(gone)
    watcher = client_of(serve(Watch=gone), write=False).watch("k", start_revision=3)
    with pytest.raises(errors.Compacted, match="compacted at 8"):
        watcher.recv()
    assert watcher.canceled == "compacted at 8" and len(gone.creates) == 1


def test_fragments_come_as_one(serve, client_of, release):
    parts = Watched(
        None,
        told(4, created=True),
        told(5, events=[event(b"a", 5)], fragment=True),
        told(5, events=[event(b"b", 5)]),
    )
    release(parts)
    watcher = client_of(serve(Watch=parts), write=False).watch("a", prefix=True, fragment=True)
    assert [watcher.recv().kv.key for _ in range(2)] == [b"a", b"b"]
    assert parts.creates[0].fragment and watcher.revision == 5


def test_progress_is_asked_for_and_told(serve, client_of, release):
    asked = Watched(None, told(4, created=True), None, told(9, watch_id=-1))
    release(asked)
    watcher = client_of(serve(Watch=asked), write=False).watch("k")
    assert watcher.progress() == 9
    assert asked.asked == ["create_request", "progress_request"]


def test_a_raw_stream_has_many_watches_and_is_not_resumed(serve, client_of, release):
    first = Watched(
        None,
        told(4, created=True, watch_id=0),
        None,
        told(4, created=True, watch_id=7),
        told(5, watch_id=7, events=[event(b"k", 5)]),
        None,
        told(5, watch_id=7, canceled=True),
        LOST,
    )
    other = Watched(None)
    release(first), release(other)
    client = client_of(serve(Watch=first), serve(Watch=other), write=False)
    stream = client.watch_stream()
    stream.create("k"), stream.create("k", watch_id=7), stream.cancel(7)
    client.channel.wait_stream(stream.stream, 3, 10)
    until(lambda: client.channel.stream_error(stream.stream))
    assert [(r.watch_id, r.created, r.canceled) for r in stream.take()] == [
        (0, True, False), (7, True, False), (7, False, False), (7, False, True)
    ]  # fmt: skip
    with pytest.raises(Stopped, match="open another"):
        stream.take()
    with pytest.raises(Stopped):
        stream.create("k")
    assert not other.asked and [create.watch_id for create in first.creates] == [0, 7]


def test_who_holds_a_stream_hears_nothing_until_it_is_released(serve, client_of, release):
    gate = threading.Event()
    many = [told(5 + n, events=[event(b"k", 5 + n)]) for n in range(3)]
    part = Watched(None, told(4, created=True), gate, *many)
    release(part)
    client = client_of(serve(Watch=part), write=False)
    watcher = client.watch("k")
    watcher.hold()
    gate.set()
    with pytest.raises(TimedOut):
        watcher.recv(timeout_s=0.2)
    watcher.release()
    assert [watcher.recv().kv.mod_revision for _ in many] == [5, 6, 7]


def test_streams_that_were_closed_are_forgotten_in_the_end(serve, client_of, monkeypatch):
    from kvlearn.live import channel as room

    monkeypatch.setattr(room, "REMEMBERED", 2)

    def watch(requests, context):
        for request in requests:
            yield told(4, created=True)

    client = client_of(serve(Watch=watch), write=False)
    watchers = [client.watch("k") for _ in range(5)]
    for watcher in watchers:
        watcher.cancel(), watcher.cancel()
    assert len(client.channel._streams) == 2
    for watcher in watchers:
        assert watcher.canceled == "closed" and watcher.events() == []
        with pytest.raises(WatchCanceled):
            watcher.recv()


# Leases -----------------------------------------------------------------------------------------


class Leases:
    """A LeaseKeepAlive method; `left[id]`: how often it is still there."""

    def __init__(self, left: dict[int, int]):
        self.left, self.heard = left, []

    def __call__(self, requests, context):
        for request in requests:
            self.heard.append(request.ID)
            self.left[request.ID] -= 1
            if self.left[request.ID] == -1:
                refuse("UNAVAILABLE", "etcdserver: no leader")(None, context)
            ttl = 2 if self.left[request.ID] > 0 else 0
            yield rpc.LeaseKeepAliveResponse(ID=request.ID, TTL=ttl)


def test_leases_are_kept_alive_until_they_are_gone(serve, client_of):
    leases = Leases({1: 3, 2: 1000})
    client = client_of(serve(LeaseKeepAlive=leases))
    channel = client.channel
    channel.keep(1, client.endpoint, 0.05), channel.keep(2, client.endpoint, 0.05)
    until(lambda: not channel.keeps(1))
    assert channel.keeps(2) and leases.heard.count(1) == 3, "not asked again once it is gone"
    before = leases.heard.count(2)
    until(lambda: leases.heard.count(2) > before + 2)
    channel.unkeep(2)
    until(lambda: not [name for name in threads() if name.startswith("kvlearn leases")])
    channel.keep(2, client.endpoint, 0.05)  # and once more
    before = leases.heard.count(2)
    until(lambda: leases.heard.count(2) > before)


def test_who_keeps_leases_turns_to_the_next_server(serve, client_of, closed_port):
    deaf = serve(LeaseKeepAlive=lambda requests, context: iter(deaf.stopped.wait, True))
    weak, good = Leases({1: 0}), Leases({1: 1000})
    ends = serve(LeaseKeepAlive=weak), serve(LeaseKeepAlive=good)
    client = client_of(closed_port, deaf, *ends)
    client.channel.keep(1, client.endpoint, 0.2)
    until(lambda: len(good.heard) > 2)
    assert client.channel.keeps(1) and weak.heard == [1] and deaf.names() == ["LeaseKeepAlive"]


def test_a_lease_that_may_not_be_kept_is_given_up(serve, client_of):
    refusal = refuse("PERMISSION_DENIED", "etcdserver: permission denied")
    client = client_of(server := serve(LeaseKeepAlive=refusal))
    client.channel.keep(1, client.endpoint, 0.05)
    until(lambda: not client.channel.keeps(1))
    assert server.names() == ["LeaseKeepAlive"]


def test_one_keep_alive_has_one_answer(serve, client_of):
    leases = Leases({1: 1000, 2: 1})
    client = client_of(serve(LeaseKeepAlive=leases))
    assert Lease(client, 1, 2).keep_alive_once().ttl_s == 2
    with pytest.raises(LeaseNotFound):
        Lease(client, 2, 2).keep_alive_once()
    assert leases.heard == [1, 2]


# The end ----------------------------------------------------------------------------------------


def test_a_closed_client_leaves_nothing_behind(serve, client_of, release):
    part, leases = Watched(None, told(4, created=True)), Leases({1: 1000})
    release(part)
    client = client_of(serve(Watch=part, LeaseKeepAlive=leases, Put=accepts))
    watcher, stream = client.watch("k"), client.watch_stream()
    client.channel.keep(1, client.endpoint, 0.05)
    until(lambda: leases.heard)
    failures = []

    def waits():
        try:
            watcher.recv(timeout_s=30)
        except RequestError as error:
            failures.append(error)

    thread = threading.Thread(target=waits)
    thread.start()
    client.close()
    thread.join(10)
    assert [type(error) for error in failures] == [WatchCanceled], "who waits is told"
    for ask in (
        lambda: client.put("k", "v"),
        lambda: client.watch("k"),
        lambda: client.channel.keep(1, client.endpoint, 1.0),
    ):
        with pytest.raises(ClientGone):
            ask()
    with pytest.raises(WatchCanceled, match="client is gone"):
        stream.take()
    part.released.set()
    client.close()  # once more does no harm
    until(lambda: not [name for name in threads() if name.startswith("kvlearn")])


FORGETFUL = """
import threading
from kvlearn import connect
from kvlearn.live.proto import rpc_pb2 as rpc
from tests.live.doubles import Server

def watch(requests, context):
    for request in requests:
        yield rpc.WatchResponse(created=True)

def keep(requests, context):
    for request in requests:
        yield rpc.LeaseKeepAliveResponse(ID=request.ID, TTL=5)

server = Server(Watch=watch, LeaseKeepAlive=keep)
client = connect(server.endpoint, write=True)
client.channel.keep(1, client.endpoint, 0.05)
watcher = client.watch("k")
assert watcher.responses[0].created
print("done")
server.stop()
"""


def test_a_program_that_closes_nothing_ends_nevertheless():
    done = subprocess.run(
        [sys.executable, "-c", FORGETFUL], capture_output=True, text=True, cwd=ROOT, timeout=60
    )
    assert done.stdout == "done\n" and done.returncode == 0 and done.stderr == ""


INTERRUPTED = """
import signal, sys, threading, time, traceback
from kvlearn import connect
from kvlearn.live.proto import rpc_pb2 as rpc
from tests.live.doubles import Server

main, came, ended = threading.main_thread().ident, threading.Event(), threading.Event()

def put(message, context):
    context.add_callback(ended.set)
    came.set()
    server.stopped.wait(30)

def watch(requests, context):
    yield rpc.WatchResponse(created=True)
    server.stopped.wait(30)

def interrupt(ready):
    while not ready():
        time.sleep(0.01)
    signal.pthread_kill(main, signal.SIGINT)

def waits():
    stack = traceback.extract_stack(sys._current_frames()[main])
    return "recv" in [one.name for one in stack] and stack[-1].name == "wait"

server = Server(Put=put, Watch=watch, Range=lambda message, context: rpc.RangeResponse(count=3))
client = connect(server.endpoint, write=True, timeout_s=60)
watcher = client.watch("k")
asked = {"put": (lambda: client.put("k"), came.is_set), "watch": (watcher.recv, waits)}
for name, (ask, ready) in asked.items():
    threading.Thread(target=interrupt, args=(ready,)).start()
    try:
        ask()
    except KeyboardInterrupt as interrupted:
        frames = traceback.extract_tb(interrupted.__traceback__)
        print(name, "interrupted in", *dict.fromkeys(one.filename.split("/")[-1] for one in frames))
        kept = interrupted  # as a notebook does
print("the put ended:", ended.wait(20), "and the next get has", client.get("k").count)
server.stop()
"""


def test_an_interrupted_wait_tells_who_waited_and_leaves_nothing_behind():
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, cwd=ROOT, timeout=60
    )
    assert done.stdout.splitlines() == [
        "put interrupted in <string> client.py channel.py",
        "watch interrupted in <string> handles.py channel.py",
        "the put ended: True and the next get has 3",
    ]
    assert done.returncode == 0 and done.stderr == ""


def test_connect_is_there_before_grpc_is_loaded():
    code = (
        "import sys; from kvlearn import connect; "
        "print({'grpc', 'google'} & {name.partition('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "set()\n", done.stderr


# Words ------------------------------------------------------------------------------------------

HEAD = Header(1, 2, 3, 4)
PAIR = KeyValue(b"k", b"v", 2, 3, 2, 9)
REQUESTS = [
    Put(b"k", b"v", 9, True, False, True),
    Range(b"a", b"b", 3, 4, "descend", "mod", True, True, False, 1, 2, 3, 4),
    *(Range(b"a", sort_target=word) for word in ("key", "version", "create", "mod", "value")),
    DeleteRange(b"a", b"b", True),
    Compact(7, True),
    LeaseGrant(5, -3),
    LeaseRevoke(7),
    LeaseKeepAlive(7),
    LeaseTimeToLive(7, True),
    LeaseLeases(),
    HashKV(5),
    Status(),
    Alarm("activate", 7, "CORRUPT"),
    Alarm(),
    *(Compare(b"k", word, "not_equal", 3, b"z") for word in ("version", "create", "mod", "lease")),
    *(Compare(b"k", "value", word, b"x") for word in ("equal", "greater", "less", "not_equal")),
]


@pytest.mark.parametrize("request_", REQUESTS, ids=str)
def test_a_server_understands_what_a_client_says(request_):
    if isinstance(request_, Compare):
        request_ = Txn((request_,), (Put(b"a"), Txn((), (Range(b"b"),))), (DeleteRange(b"c"),))
    data = message_of(request_).SerializeToString()
    asked = rpc.FILE.methods[PATHS[type(request_)]][0]
    assert wire.request_of(asked.FromString(data)) == request_


@pytest.mark.parametrize(
    "request_",
    [
        WatchCreate(b"a", b"b", 5, 7, True, ("put", "delete"), True, True),
        WatchCancel(7),
        WatchProgress(),
    ],
    ids=str,
)
def test_a_server_understands_what_a_stream_says(request_):
    message = rpc.WatchRequest.FromString(watch_message(request_).SerializeToString())
    inner = getattr(message, message.WhichOneof("request_union"))
    assert wire.request_of(inner) == request_


@pytest.mark.parametrize("seed", range(3))
def test_a_server_understands_whole_programs(seed):
    known = 0
    for op in programs.write(f"words {seed}", 80):
        if type(op) in PATHS and "None" not in repr(op):
            asked = rpc.FILE.methods[PATHS[type(op)]][0]
            again = wire.request_of(asked.FromString(message_of(op).SerializeToString()))
            assert again == op or isinstance(op, Txn) and str(again.success) == str(op.success), (
                f"programs.write('words {seed}', 80): {op}"
            )
            known += 1
    assert known > 30


RESULTS = [
    (Put(b"k"), PutResult()),
    (Put(b"k"), PutResult(PAIR)),
    (Range(b"k"), RangeResult((PAIR, PAIR), True, 5)),
    (DeleteRange(b"k"), DeleteResult(2, (PAIR, PAIR))),
    (Compact(1), CompactResult()),
    (LeaseGrant(5), LeaseResult(-7, 5)),
    (LeaseTimeToLive(7), LeaseTimeResult(7, -1)),
    (LeaseTimeToLive(7), LeaseTimeResult(7, 3, 5, (b"a", b"b"))),
    (LeaseLeases(), LeasesResult((3, 1))),
    (HashKV(), HashResult(0xFFFFFFFF, 3)),
    (Alarm(), AlarmResult(((1, "NOSPACE"), (2, "CORRUPT")))),
    (Status(), StatusResult("3.5.0", 9, 8, 7, 6, 5, True, ("alarm",))),
    (
        Txn(),
        TxnResult(
            True,
            (
                OpResult(3, PutResult(PAIR)),
                OpResult(4, RangeResult((PAIR,), False, 1)),
                OpResult(4, DeleteResult(1)),
                OpResult(0, TxnResult(False, (OpResult(4, PutResult()),))),
            ),
        ),
    ),
]


@pytest.mark.parametrize(("request_", "result"), RESULTS, ids=str)
def test_a_client_understands_what_a_server_says(request_, result):
    data = wire.answer_bytes(Answer(0, HEAD, result))
    message = rpc.FILE.methods[PATHS[type(request_)]][1].FromString(data)
    assert header_of(message) == HEAD and result_of(request_, message) == result


def test_a_client_understands_what_a_stream_brings():
    events = (KVEvent("put", PAIR, PAIR), KVEvent("delete", KeyValue(b"k", b"", 0, 4)))
    for response in (
        WatchResponse(7, 3, events=events, fragment=True),
        WatchResponse(-1, 3),
        WatchResponse(2, 0, canceled=True, compact_revision=9, cancel_reason="why"),
        WatchResponse(0, 3, created=True),
    ):
        data = wire.WatchBytes().of(HEAD, response)
        assert watch_response_of(rpc.WatchResponse.FromString(data)) == response


@pytest.mark.parametrize(
    "request_",
    [
        Range(b"a", limit=1 << 70),
        Put("text"),
        Compare(b"k", "shape"),
        Compare(b"k", result="beside"),
        Alarm("ring"),
        Alarm("get", 0, "FIRE"),
        LeaseGrant("long"),
        "put",
    ],
    ids=repr,
)
def test_what_no_message_can_say_is_refused(request_):
    with pytest.raises(InvalidArgument):
        message_of(Txn((request_,)) if isinstance(request_, Compare) else request_)


def test_a_sort_order_that_does_not_exist_is_refused():
    with pytest.raises(InvalidSortOption):
        message_of(Range(b"a", sort_order="random"))


@pytest.mark.parametrize("kind", list(errors.request_errors()), ids=lambda kind: kind.__name__)
def test_every_error_is_found_again_by_its_code_and_text(kind):
    found = error_of(kind.code, kind.text, certain=True)
    assert (found.code, found.text) == (kind.code, kind.text)
    assert type(found) is kind or (type(found).code, type(found).text) == (kind.code, kind.text)


def test_an_error_from_the_future_keeps_its_code_and_text():
    found = error_of("FAILED_PRECONDITION", "etcdserver: too blue", certain=False)
    assert isinstance(found, errors.FailedPrecondition) and found.text == "etcdserver: too blue"
    found = error_of("DATA_LOSS", "etcdserver: corrupt", certain=False)
    assert type(found) is RequestError and found.code == "DATA_LOSS"
