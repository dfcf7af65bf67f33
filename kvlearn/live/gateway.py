"""HTTP/1.1 on the client port: etcd's API as JSON, and how the member is.

```
POST /v3/kv/put          {"key":"Zm9v","value":"YmFy"}     one request, one answer
POST /v3/watch           {"create_request":{...}}...       an answer a line, while both sides stay
GET  /health  /version  /metrics
```

A request in JSON becomes the message that a gRPC client would have sent, and is given to the very
same service through a `JsonCall`, which has the attributes of `kvlearn.live.http2.Call`; what the
service sends becomes JSON again:

    body ─Values─▶ dict ─from_json─▶ message ─▶ service ─▶ message ─to_json─▶ body

A service sends whenever it wants and never waits; the connection's own task writes, and when the
client reads slowly the call is `full`, as a gRPC call is. A client that hangs up closes its call.

`Gateway(services).protocol` makes what a listener hands a connection to: an asyncio protocol of
aiohttp's, which parses HTTP.

Source: etcd server/embed/serve.go, server/etcdserver/api/etcdhttp (health, version); the paths in
api/etcdserverpb/rpc.proto and api/v3lock, v3election; grpc-gateway runtime/errors.go, handler.go.
Differs: 404 for /v3 without anything behind it, where etcd redirects; no headers that let scripts
of any web page in.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

from aiohttp import web

from kvlearn.errors import RequestError
from kvlearn.kv.requests import Answer, Range
from kvlearn.live.codes import Code
from kvlearn.live.http2_headers import seconds
from kvlearn.live.proto import election_pb2, lock_pb2, rpc_pb2
from kvlearn.live.proto_json import JsonError, Values, from_json, to_json
from kvlearn.node import VERSION

FULL_BYTES = 1 << 20  # that wait for the client; then services should wait too
ROOM_BYTES = 1 << 19  # above the largest request, for what is around it; as etcd has it
JSON_PER_BYTE = 8  # a message is longer as JSON, but by no more than this
HEALTH_S = 1.0  # in which a healthy member answers a read
STATUS = {  # gRPC code -> HTTP status; of all others 500
    **{Code.CANCELLED: 408, Code.INVALID_ARGUMENT: 400, Code.DEADLINE_EXCEEDED: 504},
    **{Code.NOT_FOUND: 404, Code.ALREADY_EXISTS: 409, Code.PERMISSION_DENIED: 403},
    **{Code.RESOURCE_EXHAUSTED: 429, Code.FAILED_PRECONDITION: 400, Code.ABORTED: 409},
    **{Code.OUT_OF_RANGE: 400, Code.UNIMPLEMENTED: 501, Code.UNAVAILABLE: 503},
    Code.UNAUTHENTICATED: 401,
}
METHODS = {**rpc_pb2.FILE.methods, **lock_pb2.FILE.methods, **election_pb2.FILE.methods}
PATHS = {  # below /v3/ -> which gRPC method it is
    "kv/range": "etcdserverpb.KV/Range",
    "kv/put": "etcdserverpb.KV/Put",
    "kv/deleterange": "etcdserverpb.KV/DeleteRange",
    "kv/txn": "etcdserverpb.KV/Txn",
    "kv/compaction": "etcdserverpb.KV/Compact",
    "watch": "etcdserverpb.Watch/Watch",
    "lease/grant": "etcdserverpb.Lease/LeaseGrant",
    "lease/revoke": "etcdserverpb.Lease/LeaseRevoke",
    "lease/keepalive": "etcdserverpb.Lease/LeaseKeepAlive",
    "lease/timetolive": "etcdserverpb.Lease/LeaseTimeToLive",
    "lease/leases": "etcdserverpb.Lease/LeaseLeases",
    "kv/lease/revoke": "etcdserverpb.Lease/LeaseRevoke",
    "kv/lease/timetolive": "etcdserverpb.Lease/LeaseTimeToLive",
    "kv/lease/leases": "etcdserverpb.Lease/LeaseLeases",
    "cluster/member/add": "etcdserverpb.Cluster/MemberAdd",
    "cluster/member/remove": "etcdserverpb.Cluster/MemberRemove",
    "cluster/member/update": "etcdserverpb.Cluster/MemberUpdate",
    "cluster/member/list": "etcdserverpb.Cluster/MemberList",
    "cluster/member/promote": "etcdserverpb.Cluster/MemberPromote",
    "maintenance/alarm": "etcdserverpb.Maintenance/Alarm",
    "maintenance/status": "etcdserverpb.Maintenance/Status",
    "maintenance/defragment": "etcdserverpb.Maintenance/Defragment",
    "maintenance/hash": "etcdserverpb.Maintenance/Hash",
    "maintenance/snapshot": "etcdserverpb.Maintenance/Snapshot",
    "maintenance/transfer-leadership": "etcdserverpb.Maintenance/MoveLeader",
    "auth/enable": "etcdserverpb.Auth/AuthEnable",
    "auth/disable": "etcdserverpb.Auth/AuthDisable",
    "auth/status": "etcdserverpb.Auth/AuthStatus",
    "auth/authenticate": "etcdserverpb.Auth/Authenticate",
    "auth/user/add": "etcdserverpb.Auth/UserAdd",
    "auth/user/get": "etcdserverpb.Auth/UserGet",
    "auth/user/list": "etcdserverpb.Auth/UserList",
    "auth/user/delete": "etcdserverpb.Auth/UserDelete",
    "auth/user/changepw": "etcdserverpb.Auth/UserChangePassword",
    "auth/user/grant": "etcdserverpb.Auth/UserGrantRole",
    "auth/user/revoke": "etcdserverpb.Auth/UserRevokeRole",
    "auth/role/add": "etcdserverpb.Auth/RoleAdd",
    "auth/role/get": "etcdserverpb.Auth/RoleGet",
    "auth/role/list": "etcdserverpb.Auth/RoleList",
    "auth/role/delete": "etcdserverpb.Auth/RoleDelete",
    "auth/role/grant": "etcdserverpb.Auth/RoleGrantPermission",
    "auth/role/revoke": "etcdserverpb.Auth/RoleRevokePermission",
    "lock/lock": "v3lockpb.Lock/Lock",
    "lock/unlock": "v3lockpb.Lock/Unlock",
    "election/campaign": "v3electionpb.Election/Campaign",
    "election/proclaim": "v3electionpb.Election/Proclaim",
    "election/leader": "v3electionpb.Election/Leader",
    "election/observe": "v3electionpb.Election/Observe",
    "election/resign": "v3electionpb.Election/Resign",
}


class Refused(Exception):
    """Nothing was asked of a service: the body, or a header, is wrong."""

    def __init__(self, code: int, text: str):
        super().__init__(text)
        self.code, self.text = code, text


def _nothing(*_: Any) -> None:
    """What a call's callbacks do unless a service wants them."""


# Calls --------------------------------------------------------------------------------------


class JsonCall:
    """A call as services know it (see `kvlearn.live.http2.Call`); what they send waits in `sent`.

    Invariant: after `finish`, or once the client is gone, nothing is taken any more (`closed`).
    """

    peer_common_name = ""  # over JSON a certificate does not say who asks (as in etcd)
    __slots__ = (
        *("path", "metadata", "timeout_s", "on_message", "on_end", "on_close", "on_drain"),
        *("on_finish", "sent", "code", "text", "_finished", "_gone", "_bytes", "_changed"),
    )

    def __init__(self, path: str, metadata: dict[str, str], timeout_s: float | None = None):
        self.path, self.metadata, self.timeout_s = path, metadata, timeout_s
        self.on_message: Callable[[bytes], None] = _nothing
        self.on_end: Callable[[], None] = _nothing
        self.on_close: Callable[[], None] = _nothing
        self.on_drain: Callable[[], None] = _nothing
        self.on_finish: Callable[[int], None] = _nothing
        self.sent: deque[bytes] = deque()
        self.code, self.text = Code.OK, ""  # what `finish` was told
        self._finished = self._gone = False
        self._bytes = 0  # in `sent`
        self._changed = asyncio.Event()

    def send(self, message: bytes) -> None:
        """One more message for the client."""
        if not self.closed:
            self.sent.append(message)
            self._bytes += len(message)
            self._changed.set()

    def finish(self, code: int = Code.OK, text: str = "") -> None:
        """No more messages follow; `code` is gRPC's."""
        if not self.closed:
            self._finished, self.code, self.text = True, code, text
            self._changed.set()
            self.on_finish(code)

    def reply(self, message: bytes) -> None:
        """The only message, or the last one."""
        self.send(message)
        self.finish()

    @property
    def full(self) -> bool:
        """The client reads slower than it is sent to."""
        return self._bytes > FULL_BYTES

    @property
    def closed(self) -> bool:
        """Nothing can be sent any more."""
        return self._finished or self._gone

    async def next(self) -> bytes | None:
        """The next message for the client; None when the call is finished."""
        while not self.sent:
            if self.closed:
                return None
            self._changed.clear()
            await self._changed.wait()
        return self.sent.popleft()

    def written(self, message: bytes) -> None:
        """The client has room for more than this message."""
        was_full = self.full
        self._bytes -= len(message)
        if was_full and not self.full and not self.closed:
            self.on_drain()

    def close(self) -> None:
        """The client is gone. Harmless after `finish`, and twice."""
        if not self.closed:
            self._gone = True
            self._changed.set()
            self.on_finish(self.code or Code.CANCELLED)
            self.on_close()

    def abort(self, code: int, text: str) -> None:
        """End it from this side, without the service having finished."""
        if not self.closed:
            self.code, self.text = code, text
            self.close()

    def time_is_up(self) -> None:
        """The client does not want to wait any longer."""
        self.abort(Code.DEADLINE_EXCEEDED, "context deadline exceeded")


class Body:
    """The values in a request's body, one after the other, as they arrive."""

    def __init__(self, read: Callable[[], Awaitable[bytes]], limit_bytes: int):
        """`read` gives the next piece, b"" at the end; one value takes at most `limit_bytes`."""
        self._read, self._limit = read, limit_bytes
        self._values, self._found, self._ended = Values(), deque(), False

    async def next(self) -> Any:
        """The next value. Raises: EOFError if there is none, JsonError, Refused."""
        while not self._found:
            if self._ended:
                raise EOFError
            data = await self._read()
            self._ended = not data
            self._found += self._values.feed(data) if data else self._values.end()
            if len(self._values) > self._limit:
                text = f"a request takes at most {self._limit} bytes as JSON"
                raise Refused(Code.RESOURCE_EXHAUSTED, text)
        return self._found.popleft()


def metadata_of(request: web.BaseRequest) -> dict[str, str]:
    """What a gRPC client would have said beside its message: the token, and `Grpc-Metadata-...`."""
    prefix = "grpc-metadata-"
    told = {}
    for name, value in request.headers.items():
        name = name.lower()
        if name.startswith(prefix):
            told[name[len(prefix) :]] = value
        elif name == "authorization":
            told[name] = value
    return told


def timeout_of(request: web.BaseRequest) -> float | None:
    """Seconds in the Grpc-Timeout header, such as `100m` or `5S`; None without one.

    Raises: Refused.
    """
    text = request.headers.get("Grpc-Timeout")
    if not text:
        return None
    try:
        return seconds(text)
    except ValueError:
        raise Refused(Code.INVALID_ARGUMENT, f"invalid grpc-timeout: {text}") from None


def _plain(status: int, text: str, **headers: str) -> web.Response:
    return web.Response(status=status, text=text + "\n", headers=headers)


def _json(text: str, status: int = 200) -> web.Response:
    headers = {"Content-Type": "application/json"}
    return web.Response(status=status, body=text.encode(), headers=headers)


def _told(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _error(code: int, text: str) -> tuple[str, int]:
    """An error as the only answer, and its HTTP status."""
    return _told({"error": text, "message": text, "code": code}), STATUS.get(code, 500)


def _stream_error(code: int, text: str) -> tuple[str, int]:
    """An error as the last line of a stream, and its HTTP status."""
    status = STATUS.get(code, 500)
    told = {"grpc_code": code, "http_code": status, "message": text}
    told["http_status"] = HTTPStatus(status).phrase
    return _told({"error": told}), status


# The gateway --------------------------------------------------------------------------------


class Gateway:
    """Serves HTTP/1.1 for one member: `protocol` for each connection, `close` at the end."""

    def __init__(self, services: Any, registry: Any = None):
        """`services` is a `kvlearn.live.rpc.Services`; `registry` what /metrics shows
        (prometheus_client's; None: the path is unknown)."""
        self.services, self.registry = services, registry
        self.member = services.member
        self.max_message_bytes = self.member.config.max_request_bytes + ROOM_BYTES
        self.max_json_bytes = JSON_PER_BYTE * self.max_message_bytes
        self._server = web.Server(self._handle, handler_cancellation=True, access_log=None)
        self._monitor = web.Server(self._look, handler_cancellation=True, access_log=None)

    def protocol(self, monitor: bool = False) -> asyncio.Protocol:
        """A connection's protocol, as `loop.create_server` and a listener want it; with `monitor`
        one that knows /metrics and /health alone."""
        return self._monitor() if monitor else self._server()

    async def close(self, wait_s: float = 1.0) -> None:
        """Close the connections; those in the middle of an answer have a little time."""
        await asyncio.gather(self._server.shutdown(wait_s), self._monitor.shutdown(wait_s))

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.path
        for prefix in ("/v3/", "/v3beta/"):
            if path.startswith(prefix):
                name = PATHS.get(path[len(prefix) :])
                if name is None:
                    return _plain(404, "Not Found")
                if request.headers.get("Upgrade", "").lower() == "websocket":
                    return await self._socket(request, "/" + name)
                if request.method != "POST":
                    return _plain(405, "Method Not Allowed")
                return await self._call(request, "/" + name)
        if path != "/version":
            return await self._look(request)
        if request.method != "GET":
            return _plain(405, "Method Not Allowed", Allow="GET")
        minor = VERSION.rsplit(".", 1)[0]
        return _json(_told({"etcdserver": VERSION, "etcdcluster": f"{minor}.0"}))

    async def _look(self, request: web.BaseRequest) -> web.StreamResponse:
        """What says how the member is, for whoever watches over it."""
        match request.path:
            case "/metrics" if self.registry is not None:
                return self._metrics(request)
            case "/health" if request.method != "GET":
                return _plain(405, "Method Not Allowed", Allow="GET")
            case "/health":
                return await self._health(request)
        return _plain(404, "404 page not found")

    # Calls ------------------------------------------------------------------------------------

    async def _call(self, request: web.BaseRequest, path: str) -> web.StreamResponse:
        if request.headers.get("Expect", "").lower() == "100-continue":
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = Body(request.content.readany, self.max_json_bytes)
        try:
            call = JsonCall(path, metadata_of(request), timeout_of(request))
            first = await self._first(call, body)
        except Refused as error:
            return _json(*_error(error.code, error.text))
        with self._opened(call, first, body):
            if METHODS[path][3]:
                return await self._stream(request, call)
            lines = [line async for line in self._lines(call)]
            return _json(*(lines[0] if lines else _error(Code.INTERNAL, "there was no answer")))

    async def _socket(self, request: web.BaseRequest, path: str) -> web.WebSocketResponse:
        """The same over a WebSocket: its messages are pieces of the body, and lines."""
        socket = web.WebSocketResponse(max_msg_size=self.max_json_bytes)
        await socket.prepare(request)

        async def read() -> bytes:
            message = await socket.receive()
            match message.type:
                case web.WSMsgType.TEXT:
                    return message.data.encode() + b"\n"
                case web.WSMsgType.BINARY:
                    return message.data + b"\n"
            return b""

        body = Body(read, self.max_json_bytes)
        try:
            call = JsonCall(path, metadata_of(request), timeout_of(request))
            first = await self._first(call, body)
        except Refused as error:
            await socket.send_str(_error(error.code, error.text)[0])
        else:
            with self._opened(call, first, body, stays=True):
                async for line, _ in self._lines(call):
                    await socket.send_str(line)
        await socket.close()
        return socket

    async def _first(self, call: JsonCall, body: Body) -> bytes | None:
        """The first message of the client; None if it has nothing to say. Raises: Refused."""
        asked, _, many_in, _ = METHODS[call.path]
        try:
            return self._message(asked, await body.next())
        except EOFError:
            return None if many_in else b""
        except JsonError as error:
            raise Refused(Code.UNKNOWN if many_in else Code.INVALID_ARGUMENT, str(error)) from None

    def _message(self, kind: type, value: Any) -> bytes:
        """The bytes of a request. Raises: JsonError, Refused (too large)."""
        message = from_json(kind, value).SerializeToString()
        most = self.max_message_bytes
        if len(message) > most:
            text = f"grpc: received message larger than max ({len(message)} vs. {most})"
            raise Refused(Code.RESOURCE_EXHAUSTED, text)
        return message

    @contextmanager
    def _opened(
        self, call: JsonCall, first: bytes | None, body: Body, stays: bool = False
    ) -> Iterator[None]:
        """The service has the call meanwhile. `stays`: when the body ends, the client is gone."""
        many_in = METHODS[call.path][2]
        loop, asking, timer = asyncio.get_running_loop(), None, None
        if call.timeout_s is not None:
            timer = loop.call_later(call.timeout_s, call.time_is_up)
        try:
            self.services.open(call)
            if first is not None and not call.closed:
                call.on_message(first)
            if not call.closed and not (many_in and first is not None):
                call.on_end()
            if stays or (many_in and first is not None):
                asking = loop.create_task(self._ask_on(call, body, stays))
            yield
        finally:
            for handle in (asking, timer):
                if handle is not None:
                    handle.cancel()
            call.close()

    async def _ask_on(self, call: JsonCall, body: Body, stays: bool) -> None:
        """What the client still says; nonsense ends what it says, not what it hears."""
        asked, _, many_in, _ = METHODS[call.path]
        try:
            while not call.closed:
                value = await body.next()
                if many_in and not call.closed:
                    call.on_message(self._message(asked, value))
        except Refused as error:
            call.abort(error.code, error.text)
        except ConnectionError:
            call.close()
        except (EOFError, JsonError) as error:
            if stays and isinstance(error, EOFError):
                call.close()
            elif not call.closed and many_in:
                call.on_end()

    async def _lines(self, call: JsonCall) -> AsyncIterator[tuple[str, int]]:
        """What the service sends as JSON, and the HTTP status if it is the first to be said."""
        _, kind, _, many_out = METHODS[call.path]
        while (message := await call.next()) is not None:
            text = to_json(kind.FromString(message))
            yield (f'{{"result":{text}}}' if many_out else text), 200
            call.written(message)
        if call.code:
            yield (_stream_error if many_out else _error)(call.code, call.text)

    async def _stream(self, request: web.BaseRequest, call: JsonCall) -> web.StreamResponse:
        """A line for each message; the head goes out with the first."""
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        async for line, status in self._lines(call):
            if not response.prepared:
                response.set_status(status)
                await response.prepare(request)
            await response.write(line.encode() + b"\n")
        if not response.prepared:
            await response.prepare(request)
        await response.write_eof()
        return response

    # How it is --------------------------------------------------------------------------------

    def _metrics(self, request: web.BaseRequest) -> web.Response:
        from prometheus_client.exposition import choose_encoder

        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        response = web.Response(body=encode(self.registry))
        response.headers["Content-Type"] = content_type
        return response

    async def _health(self, request: web.BaseRequest) -> web.Response:
        """Healthy: no alarm is raised, and a read is answered. `exclude=NOSPACE` forgives that
        alarm; `serializable=true` asks this member alone."""
        excluded = request.query.getall("exclude", [])
        serializable = request.query.get("serializable") == "true"
        reason = next(
            (
                f"ALARM {kind}"
                for _, kind in self.member.node.machine.alarms
                if kind not in excluded
            ),
            "",
        )
        if not reason and not serializable and self.member.leader is None:
            reason = "RAFT NO LEADER"
        if not reason:
            reason = await self._read_fails(serializable)
        told = {"health": "false", "reason": reason} if reason else {"health": "true"}
        return _plain(503, _told(told)) if reason else web.Response(text=_told(told))

    async def _read_fails(self, serializable: bool) -> str:
        """Why a small read is not answered; "" if it is."""
        answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

        def done(answer: Answer) -> None:
            if not answered.done():
                answered.set_result(answer)

        request = Range(b"\0", limit=1, serializable=serializable)
        op_id = self.member.ask(request, done, timeout_s=HEALTH_S)
        try:
            failure: RequestError | None = (await answered).failure
        finally:
            self.member.forget(op_id)
        if failure is None or failure.code in ("INVALID_ARGUMENT", "PERMISSION_DENIED"):
            return ""  # a refusal of the user is an answer too
        return f"RANGE ERROR:{failure.text}"
