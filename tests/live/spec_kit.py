"""What a black-box suite of etcd's v3 API needs: clients by grpcio and urllib, servers, cases.

A case is a function of a view: `v.a` is the member to write through, `v.b` the one to read
through, often the same. Nothing here knows a server's inside; what is true of etcd has to pass.

```
lone       one member         a = b
leader     of three members   a = b = the leader
follower                      a = b = a follower
across                        a = a follower, b = another one
```
"""

from __future__ import annotations

import contextlib
import json
import queue
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import grpc

from kvlearn.cli.bench_peers import Members
from kvlearn.live.proto import auth_pb2, election_pb2, lock_pb2, rpc_pb2

pb, locks, elections, permissions = rpc_pb2, lock_pb2, election_pb2, auth_pb2
WAIT_S = 15.0
MIB = 1 << 20
UNLIMITED = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.use_local_subchannel_pool", 1),
]
METHODS = {}
for _file in (pb, locks, elections):
    for _path, _method in _file.FILE.methods.items():
        METHODS[_path.rpartition("/")[2]] = _path, *_method


class Api:
    """One member's services: `api.Put(key=b"a", value=b"1")` is the answer, or raises."""

    def __init__(self, endpoint: str, token: str = "", **options: Any):
        self.endpoint, self.token, self._options = endpoint, token, options
        self.channel = grpc.insecure_channel(endpoint, UNLIMITED, **options)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name not in METHODS:
            raise AttributeError(name)
        path, kind, answer, client_streams, server_streams = METHODS[name]
        assert not client_streams
        shape = self.channel.unary_stream if server_streams else self.channel.unary_unary
        method = shape(path, kind.SerializeToString, answer.FromString)

        def call(request: Any = None, timeout: float = WAIT_S, metadata=(), **fields: Any):
            request = kind(**fields) if request is None else request
            return method(request, timeout=timeout, metadata=self._metadata(metadata))

        call.__name__ = name
        return call

    def _metadata(self, more=()):
        return [*((("token", self.token),) if self.token else ()), *more]

    def raw(self, path: str, message: bytes, timeout: float = WAIT_S, metadata=()) -> bytes:
        """Any bytes to any path."""
        method = self.channel.unary_unary(path, None, None)
        return method(message, timeout=timeout, metadata=self._metadata(metadata))

    def stream(self, name: str, metadata=()) -> Stream:
        """Watch, LeaseKeepAlive: both sides speak."""
        path, kind, answer, *_ = METHODS[name]
        method = self.channel.stream_stream(path, kind.SerializeToString, answer.FromString)
        return Stream(method, kind, self._metadata(metadata))

    def watch(self, metadata=(), **create: Any) -> Stream:
        """A stream of watches; with fields, its first one is asked for."""
        stream = self.stream("Watch", metadata)
        if create:
            stream.create(**create)
        return stream

    def listen(self, name: str, /, **fields: Any) -> Stream:
        """Observe, Snapshot: the server speaks."""
        path, kind, answer, *_ = METHODS[name]
        method = self.channel.unary_stream(path, kind.SerializeToString, answer.FromString)
        return Stream(lambda _, **more: method(kind(**fields), **more), kind, self._metadata())

    def later(self, name: str, /, **fields: Any):
        """A call that is under way: a future of its answer, with cancel()."""
        path, kind, answer, *_ = METHODS[name]
        method = self.channel.unary_unary(path, kind.SerializeToString, answer.FromString)
        return method.future(kind(**fields), timeout=WAIT_S, metadata=self._metadata())

    def as_user(self, name: str, password: str) -> Api:
        """The same member with this user's token."""
        token = self.Authenticate(name=name, password=password).token
        return Api(self.endpoint, token)

    def post(self, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """HTTP status and JSON of the gateway; plain text where it is none."""
        status, text = self.http("POST", path, body, **headers)
        try:
            return status, json.loads(text)
        except ValueError:
            return status, text

    def http(self, verb: str, path: str, body: Any = None, **headers: str) -> tuple[int, str]:
        """HTTP status and text."""
        with self.open(verb, path, body, **headers) as response:
            return response.status, response.read().decode()

    def open(self, verb: str, path: str, body: Any = None, **headers: str):
        """The HTTP answer itself, to be read line by line."""
        data = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
        url = f"http://{self.endpoint}{path}"
        request = urllib.request.Request(url, data, headers, method=verb)
        try:
            return urllib.request.urlopen(request, timeout=WAIT_S)
        except urllib.error.HTTPError as error:
            return error

    def close(self) -> None:
        self.channel.close()


class Stream:
    """A stream of answers: `next()` waits for one; `create`, `send` speak on it."""

    def __init__(self, method, kind, metadata):
        self._kind = kind
        self._asked: queue.Queue = queue.Queue()
        self._heard: queue.Queue = queue.Queue()
        self.call = method(iter(self._asked.get, None), metadata=metadata)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        try:
            for answer in self.call:
                self._heard.put(answer)
            self._heard.put(None)
        except grpc.RpcError as error:
            self._heard.put(error)

    def send(self, **fields: Any) -> None:
        self._asked.put(self._kind(**fields))

    def create(self, **fields: Any) -> None:
        self.send(create_request=pb.WatchCreateRequest(**fields))

    def cancel(self, watch_id: int) -> None:
        self.send(cancel_request=pb.WatchCancelRequest(watch_id=watch_id))

    def progress(self) -> None:
        self.send(progress_request=pb.WatchProgressRequest())

    def half_close(self) -> None:
        """No more requests."""
        self._asked.put(None)

    def next(self, timeout: float = WAIT_S) -> Any:
        """The next answer; None at the end. Raises what ended the stream, queue.Empty."""
        answer = self._heard.get(timeout=timeout)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def created(self) -> Any:
        """The next answer, which has to be that a watcher was created."""
        answer = self.next()
        assert answer.created and not answer.canceled, answer
        return answer

    def events(self, count: int) -> list:
        """The next `count` events, from as many answers as they come in."""
        found: list = []
        while len(found) < count:
            answer = self.next()
            assert answer.events and not answer.canceled, answer
            found += answer.events
        assert len(found) == count, found
        return found

    def close(self) -> None:
        self._asked.put(None)
        self.call.cancel()

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def fails(call: Callable, code: str | tuple[str, ...], *texts: str, **fields: Any) -> str:
    """A call is refused with one of these codes and of these texts (any, if none is given)."""
    try:
        answer = call(**fields)
    except grpc.RpcError as error:
        seen = error.code().name, error.details()
        codes = (code,) if isinstance(code, str) else code
        assert seen[0] in codes and (not texts or seen[1] in texts), (seen, (code, texts))
        return seen[1]
    raise AssertionError(f"no {code}, but {answer}")


def until(holds: Callable[[], Any], what: str = "", wait_s: float = WAIT_S) -> Any:
    """Wait until `holds()`; gives what it gave."""
    give_up = time.monotonic() + wait_s
    while not (found := holds()):
        assert time.monotonic() < give_up, f"never: {what or holds}"
        time.sleep(0.02)
    return found


@dataclass
class View:
    """Two members of a cluster, and the rest of it; a key space of one's own."""

    a: Api
    b: Api
    all: list[Api]
    way: str
    space: bytes
    command: list[str]  # what starts a member; empty: nobody may be started
    undo: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def key(self, name: str | bytes = "") -> bytes:
        return self.space + (name.encode() if isinstance(name, str) else name)

    @property
    def end(self) -> bytes:
        """The end of the interval that starts at `key()`."""
        return self.space[:-1] + bytes([self.space[-1] + 1])

    def put(self, name: str | bytes, value: bytes = b"v", **more: Any) -> int:
        """Its revision."""
        return self.a.Put(key=self.key(name), value=value, **more).header.revision

    def get(self, name: str | bytes, **more: Any):
        """The pair, read through the other member; None if there is none."""
        kvs = self.b.Range(key=self.key(name), **more).kvs
        return kvs[0] if kvs else None

    def names(self, **more: Any) -> list[bytes]:
        """The keys of this space as the other member lists them, without the prefix."""
        found = self.b.Range(key=self.space, range_end=self.end, **more).kvs
        return [kv.key[len(self.space) :] for kv in found]

    def range(self, **more: Any):
        return self.b.Range(key=self.space, range_end=self.end, **more)

    def delete(self, name: str | bytes, **more: Any):
        return self.a.DeleteRange(key=self.key(name), **more)

    def txn(self, *success, compare=(), failure=()):
        return self.a.Txn(compare=compare, success=success, failure=failure)

    def lease(self, ttl: int = 600, id: int = 0) -> int:
        """A lease that is revoked when the case is over."""
        lease = self.a.LeaseGrant(TTL=ttl, ID=id).ID
        self.undo.callback(self._revoke, lease)
        return lease

    def _revoke(self, lease: int) -> None:
        with contextlib.suppress(grpc.RpcError):
            self.a.LeaseRevoke(ID=lease)

    def watch(self, **create: Any) -> Stream:
        """A stream of the other member, which has seen all that was written before."""
        self.sync()
        return self.b.watch(**create)

    def sync(self) -> None:
        """The other member has applied all that was acknowledged."""
        self.b.Range(key=b"a", count_only=True)

    @property
    def revision(self) -> int:
        """The current one."""
        return self.b.Range(key=b"\0", count_only=True).header.revision

    def leader(self) -> Api:
        """The member that leads."""
        return until(lambda: leader_of(self.all), "a leader")

    def is_etcd(self) -> bool:
        """A process written in Go: with known defects that we do not want to meet."""
        return "go_goroutines" in self.a.http("GET", "/metrics")[1]

    def closing(self, thing: Any) -> Any:
        """Closed when the case is over."""
        self.undo.callback(thing.close)
        return thing


def leader_of(apis: list[Api]) -> Api | None:
    """The member that says it leads."""
    for api in apis:
        with contextlib.suppress(grpc.RpcError):
            status = api.Status(timeout=2)
            if status.leader == status.header.member_id:
                return api
    return None


# Operations ---------------------------------------------------------------------------------


def put(key: bytes, value: bytes = b"v", **more: Any):
    return pb.RequestOp(request_put=pb.PutRequest(key=key, value=value, **more))


def get(key: bytes, end: bytes = b"", **more: Any):
    return pb.RequestOp(request_range=pb.RangeRequest(key=key, range_end=end, **more))


def delete(key: bytes, end: bytes = b"", **more: Any):
    request = pb.DeleteRangeRequest(key=key, range_end=end, **more)
    return pb.RequestOp(request_delete_range=request)


def nested(*success, compare=(), failure=()):
    request = pb.TxnRequest(compare=compare, success=success, failure=failure)
    return pb.RequestOp(request_txn=request)


def when(key: bytes, target: str, result: str = "EQUAL", end: bytes = b"", **operand: Any):
    """A compare; without an operand its field stays unset."""
    return pb.Compare(key=key, target=target, result=result, range_end=end, **operand)


# Servers ------------------------------------------------------------------------------------


class Servers(Members):
    """A cluster of processes with etcd's flags, by their numbers from 0 on."""

    def __init__(self, command: list[str], size: int, **more: str):
        flags = (f"--{flag.replace('_', '-')}={value}" for flag, value in more.items())
        super().__init__(command, size, "--log-level=error", *flags)
        self.endpoints = list(map(self.endpoint, self.names))
        self.peer_urls = list(map(self.peer_url, self.names))
        self.apis = [Api(endpoint) for endpoint in self.endpoints]
        try:
            self.start()
            until(lambda: all(map(self._serves, self.apis)), "a cluster", 30)
        except BaseException:
            self.close()
            raise

    def _serves(self, api: Api) -> bool:
        try:
            api.Range(key=b"a", timeout=2)
        except grpc.RpcError:
            return False
        return leader_of(self.apis) is not None

    def launch(self, number: int) -> None:
        """Start this member anew."""
        self.start(self.names[number])

    def check(self) -> None:
        """That all run still: else what the dead one wrote last."""
        for name, process in self.processes.items():
            if process.poll() is not None:
                raise AssertionError(f"{name} has ended: {self.log(name)[-2000:]}")

    def end(self, number: int) -> None:
        """End a member at once."""
        self.kill(self.names[number])

    def close(self) -> None:
        for api in self.apis:
            api.close()
        self.stop()


# Cases --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A function, the points of etcd's semantics that it is about, the ways it is run."""

    run: Callable[[View], None]
    points: tuple[int, ...]
    ways: tuple[str, ...]

    @property
    def name(self) -> str:
        area = self.run.__module__.rpartition("spec_")[2]
        points = "+".join(map(str, self.points)) or "wire"
        return f"{area}-{points}-{self.run.__name__}"


WAYS = {"lone": 1, "leader": 3, "follower": 3, "across": 3}
CASES: list[Case] = []


def case(*points: int, once: bool = False, own: bool = False):
    """A case of these points.

    `once`: on a lone member and across three, for those that wait. `own`: in one run alone, for
    those that start members of their own.
    """
    ways = ("own",) if own else ("lone", "across") if once else tuple(WAYS)

    def register(function: Callable[[View], None]) -> Callable[[View], None]:
        CASES.append(Case(function, points, ways))
        return function

    return register
