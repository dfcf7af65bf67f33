"""Watch: one stream, many watchers.

The node serves its watchers from what it has applied; a stream here turns messages into what the
node is asked, and what the node tells into messages. While the client does not read (`call.full`)
the stream takes nothing from the node, whose watchers then fall behind and catch up later: so a
slow client costs no memory.

    client ── create, cancel, progress ──▶ member.watch ──▶ hub
    client ◀── bytes ── call.send ◀── hear ◀── member, while reads()

A client that has no more to ask still listens: the stream ends when it goes away.

Source: etcd server/etcdserver/api/v3rpc/watch.go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError

from kvlearn.errors import (
    InvalidAuthToken,
    NoLeader,
    PermissionDenied,
    RequestError,
    UserEmpty,
)  # fmt: skip
from kvlearn.kv.watches import WatchCreate
from kvlearn.live.codes import Code
from kvlearn.live.method import STREAMED, Call, Method, garbled, refuse, stream, table
from kvlearn.live.proto import rpc_pb2
from kvlearn.live.wire import WatchBytes, request_of
from kvlearn.mvcc.watch import WatchResponse

if TYPE_CHECKING:
    from kvlearn.live.rpc import Services

NAMED = (UserEmpty, InvalidAuthToken)  # any other reason is that it is not permitted


class WatchStream:
    """One stream. It ends with an error when the member leaves the cluster, or, if the client
    wants a leader, when there has been none for a while."""

    def __init__(self, services: Services, bytes: WatchBytes, call: Call):
        self._services, self._member, self._call = services, services.member, call
        self._bytes = bytes
        self._name = self._member.open_stream(self._hear, self._reads, self._end)
        call.on_message, call.on_close, call.on_drain = self._take, self._close, self._member.wake
        call.on_end = lambda: None  # also if nothing was asked
        services.watch_leader(call, lambda: self._end(NoLeader()))

    def _take(self, data: bytes) -> None:
        try:
            message = rpc_pb2.WatchRequest.FromString(data)
            asked = message.WhichOneof("request_union")
            if asked is None:  # something newer than this server
                return
            request = request_of(getattr(message, asked))
            why = self._refusal(request) if isinstance(request, WatchCreate) else None
            if why is not None:
                self._deny(request, why)
            else:
                self._member.watch(self._name, request)
        except RequestError as error:
            self._end(error)
        except DecodeError as error:
            self._close()
            garbled(self._call, error, STREAMED)

    def _refusal(self, request: WatchCreate) -> RequestError | None:
        """Why its caller may not watch this, if so."""
        try:
            self._services.may_read(self._call, request.key or b"\0", request.range_end)
        except RequestError as error:
            return error if isinstance(error, NAMED) else PermissionDenied()
        return None

    def _deny(self, request: WatchCreate, why: RequestError) -> None:
        """In band: the other watchers of the stream go on."""
        now = self._member.header()
        reason = f"rpc error: code = {Code[why.code].in_go} desc = {why.text}"
        told = WatchResponse(request.watch_id, now.revision, True, True, cancel_reason=reason)
        self._call.send(self._bytes.of(now, told))

    def _hear(self, responses: list[WatchResponse]) -> None:
        header, send, bytes_of = self._member.header(), self._call.send, self._bytes.of
        for response in responses:
            send(bytes_of(header, response))

    def _reads(self) -> bool:
        return not self._call.full

    def _end(self, error: RequestError) -> None:
        self._close()
        refuse(self._call, error)

    def _close(self) -> None:
        self._services.leave(self._call)
        self._member.close_stream(self._name)


def methods(services: Services) -> dict[str, Method]:
    """Watch."""
    bytes = WatchBytes()
    way = stream(lambda call: WatchStream(services, bytes, call) and None)
    return table(rpc_pb2.FILE, "etcdserverpb.Watch", {"Watch": way})
