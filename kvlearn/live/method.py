"""What a service is made of: methods, each found by its path, each working on one `Call`.

A call is whatever carries one request: a stream of an HTTP/2 connection (kvlearn/live/http2.py) or
a request of the JSON gateway. Handlers never wait: they ask the member and say what is to be done
with the answer, so that a call costs neither a task nor a future.

    path  ──▶  Method.open(call)  ──▶  call.on_message(bytes)  ──▶  handler  ──▶  member.ask
                                                    call.reply(bytes)  ◀──  done(answer)  ◀──┘

A module of services has a function `methods(services) -> dict[path, Method]`, made by `table`:

    def methods(services):
        cluster = Cluster(services)
        return table(rpc_pb2.FILE, "etcdserverpb.Cluster", {"MemberList": unary(cluster.list)})

Source: etcd server/etcdserver/api/v3rpc (one goroutine a call there).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, Protocol

from google.protobuf.message import DecodeError

from kvlearn.errors import RequestError
from kvlearn.live.codes import Code
from kvlearn.live.proto.pool import File

Open = Callable[["Call"], None]
Way = Callable[[type], Open]  # from the class of the request


class Call(Protocol):
    """One request on its way. `full`: what was sent waits for the client; `on_drain` is called
    when there is room again, `on_close` when nothing can be sent any more, `on_finish` with the
    status, however the call ends. `peer_common_name`: whom the client's certificate names; ""
    without one."""

    path: str
    metadata: dict[str, str]
    peer_common_name: str
    full: bool
    closed: bool
    on_message: Callable[[bytes], None]
    on_end: Callable[[], None]
    on_close: Callable[[], None]
    on_drain: Callable[[], None]
    on_finish: Callable[[int], None]

    def send(self, message: bytes) -> None:
        """One message of a stream."""

    def finish(self, code: int = Code.OK, text: str = "") -> None:
        """The end, with a status."""

    def reply(self, message: bytes) -> None:
        """The only message, and the end."""


class Method(NamedTuple):
    """`request` and `response` are message classes; `open(call)` sets what the call shall do."""

    request: type
    response: type
    client_streams: bool
    server_streams: bool
    open: Open


def table(file: File, service: str, ways: dict[str, Way]) -> dict[str, Method]:
    """The methods of a service by path. `ways` has, for each name, `unary(handler)`,
    `raw(handler)` or `stream(open)`. Raises: KeyError for a name that the .proto does not know."""
    methods = {}
    for name, way in ways.items():
        path = f"/{service}/{name}"
        request, response, client_streams, server_streams = file.methods[path]
        methods[path] = Method(request, response, client_streams, server_streams, way(request))
    return methods


def unary(handler: Callable[[Call, Any], None]) -> Way:
    """`handler(call, request)` gets the one message, parsed; it may raise a RequestError."""

    def way(request: type) -> Open:
        parse = request.FromString
        return raw(lambda call, data: handler(call, parse(data)))(request)

    return way


def raw(handler: Callable[[Call, bytes], None]) -> Way:
    """`handler(call, data)` gets the bytes of the one message; it may raise a RequestError or what
    parsing raises."""

    def take(call: Call, data: bytes) -> None:
        try:
            handler(call, data)
        except RequestError as error:
            refuse(call, error)
        except DecodeError as error:
            garbled(call, error)

    def open(call: Call) -> None:
        call.on_message = partial(take, call)

    return lambda request: open


def stream(open: Open) -> Way:
    """`open(call)` sets `call.on_message` itself; it may raise a RequestError."""

    def guarded(call: Call) -> None:
        try:
            open(call)
        except RequestError as error:
            refuse(call, error)

    return lambda request: guarded


STREAMED = "failed to unmarshal the received message"  # what gRPC says of one of many


def refuse(call: Call, error: RequestError) -> None:
    """End a call with the status of an error."""
    call.finish(Code[error.code], error.text)


def garbled(call: Call, error: Exception, of: str = "error unmarshalling request:") -> None:
    """End a call whose message is none."""
    call.finish(Code.INTERNAL, f"grpc: {of} {error}")
