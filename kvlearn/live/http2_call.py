"""One gRPC call, as a service sees it; `http2` is the connection below it.

A service sets callbacks and answers when it can, in the same turn or later:

    def open(call):
        call.on_message = lambda message: call.reply(message.upper())

Source: gRPC's PROTOCOL-HTTP2.md. Differs: a response has no headers of its own choice.
"""

from __future__ import annotations

import asyncio
import zlib
from collections import deque
from collections.abc import Callable
from struct import Struct
from typing import TYPE_CHECKING

from kvlearn.live.codes import Code
from kvlearn.live.http2_frames import (
    CROWD_BYTES,
    END_HEADERS,
    END_STREAM,
    FULL_BYTES,
    HEAD,
    HEADERS,
    PREFIX,
    ignore,
)
from kvlearn.live.http2_headers import OPENING, Request, block, refused, trailers

if TYPE_CHECKING:
    from kvlearn.live.http2 import Http2

_OPEN_DATA = Struct(f">IBI{len(OPENING)}sIBIBI")  # HEADERS, DATA's head, the message's prefix
_OK = trailers(Code.OK)
_END = Struct(f">IBI{len(_OK)}s")
_OPENING_HEAD, _OK_HEAD = len(OPENING) << 8 | HEADERS, len(_OK) << 8 | HEADERS


class Call:
    """One call: `path`, `metadata` (not to be changed) and `timeout_s` say what is asked.

    The service sets the callbacks while `open(call)` runs; `on_close` means that nothing can be
    sent any more: reset, connection lost or deadline. It is not called after `finish`.
    Invariant: after `finish`, `reply` or `on_close`, `closed` is True and sending does nothing.
    """

    on_message: Callable[[bytes], None] = staticmethod(ignore)
    on_end: Callable[[], None] = staticmethod(ignore)
    on_close: Callable[[], None] = staticmethod(ignore)
    on_drain: Callable[[], None] = staticmethod(ignore)
    on_finish: Callable[[int], None] = staticmethod(ignore)  # told the status, however it ends
    closed = False

    # What most calls never change, so it costs them nothing
    _started = False  # the headers of the answer are out
    _heard = False  # a message came before the end of the request
    _thirsty = False  # somebody waits for on_drain
    _held = False  # the client was not granted more because the call was full
    _buffer: bytearray | None = None  # of a message of which parts are missing
    _queue: deque[bytes] | None = None  # what waits for the client's window
    _queued = 0  # bytes in it
    _offset = 0  # of its first piece are out
    _end: bytes | None = None  # the trailers that shall follow the queue; b"" for an empty DATA
    _received = 0  # bytes since the client was granted more
    _timer: asyncio.TimerHandle | None = None

    def __init__(self, http: Http2, stream: int, request: Request, ended: bool):
        self.path = request.path
        self.metadata = request.metadata
        self.timeout_s = request.timeout_s
        self._request = request
        self._http = http
        self._stream = stream
        self._window = http._initial_window
        self._ended = ended

    @property
    def full(self) -> bool:
        """Whether the client should read before more is sent: wait for `on_drain`."""
        queued = self._queued
        crowded = queued and self._http._queued > CROWD_BYTES
        if crowded or queued > FULL_BYTES:
            self._thirsty = True
            return True
        return False

    @property
    def peer_common_name(self) -> str:
        """The common name in the client's certificate; "" without one."""
        certificate = self._http._transport.get_extra_info("peercert") or {}
        names = (pair for part in certificate.get("subject", ()) for pair in part)
        return next((value for name, value in names if name == "commonName"), "")

    def send(self, message: bytes) -> None:
        """One message; what the client has no window for waits."""
        if self.closed:
            return
        http, size = self._http, len(message) + 5
        if not self._started:
            http._start(self, OPENING)
        if (
            self._queue is None
            and not http._blocked
            and size <= http._window
            and size <= self._window
            and size <= http._frame_bytes
        ):
            http._window -= size
            self._window -= size
            head = HEAD.pack(size << 8, 0, self._stream) + PREFIX.pack(0, size - 5)
            http._put((head, message), size + 9)
        else:
            self._wait(PREFIX.pack(0, size - 5), message)

    def finish(self, code: int = 0, text: str = "") -> None:
        """End the call with a gRPC status, after all that was sent."""
        if self.closed:
            return
        self.closed = True
        self.on_finish(code)
        if self._queue is not None:
            self._end = trailers(code, text)
        elif self._started:
            self._http._finish(self, trailers(code, text))
        else:
            self._http._finish(self, refused(code, text))

    def reply(self, message: bytes) -> None:
        """The one message of the answer and status OK."""
        http, size = self._http, len(message) + 5
        if (
            self.closed
            or self._started
            or http._blocked
            or http._lead
            or size > http._window
            or size > self._window
            or size > http._frame_bytes
        ):
            self.send(message)
            self.finish()
            return
        self.closed = True
        self.on_finish(0)
        http._window -= size
        stream = self._stream
        head = _OPEN_DATA.pack(
            _OPENING_HEAD, END_HEADERS, stream, OPENING, size << 8, 0, stream, 0, size - 5
        )
        end = _END.pack(_OK_HEAD, END_HEADERS | END_STREAM, stream, _OK)
        http._put((head, message, end), size + 100)
        http._forget(self)

    def respond(self, status: int, headers: dict[str, str], body: bytes) -> None:
        """Answer a request that is not gRPC: the whole of a plain HTTP response."""
        if self.closed:
            return
        self.closed = True
        fields = {"content-length": str(len(body)), **headers}
        self._http._start(self, block((":status", str(status)), *fields.items()))
        self._end = b""
        self._wait(body)

    def _on_part(self, part: bytes, limit: int) -> None:
        """Bytes of the request that are not exactly one message of at most `limit` bytes."""
        if not self._request.grpc:
            self.on_message(part)
            return
        if self._buffer is None:
            self._buffer = bytearray()
        buffer, at = self._buffer, 0
        buffer += part
        while len(buffer) - at >= 5 and not self.closed:
            packed, size = PREFIX.unpack_from(buffer, at)
            if size > limit:
                self.finish(Code.RESOURCE_EXHAUSTED, _too_large(size, limit))
                return
            if len(buffer) - at - 5 < size:
                break
            message = bytes(memoryview(buffer)[at + 5 : at + 5 + size])
            at += 5 + size
            self._on_message(packed, message, limit)
        del buffer[:at]
        if not buffer:
            self._buffer = None

    def _on_message(self, packed: int, message: bytes, limit: int) -> None:
        """A whole message, perhaps compressed."""
        if packed > 1:
            self.finish(Code.INTERNAL, f"grpc: received unexpected payload format {packed}")
            return
        if packed and self._request.encoding != "gzip":
            self.finish(Code.INTERNAL, "grpc: compressed flag set with identity or empty encoding")
            return
        if packed:
            try:
                message = zlib.decompressobj(31).decompress(message, limit + 1)
            except zlib.error as error:
                why = f"grpc: failed to decompress the received message: {error}"
                self.finish(Code.INTERNAL, why)
                return
        if len(message) > limit:
            self.finish(Code.RESOURCE_EXHAUSTED, _too_large(len(message), limit))
            return
        self._heard = True
        self.on_message(message)

    def _wait(self, *pieces: bytes) -> None:
        if self._queue is None:
            self._queue = deque()
            self._http._waiting[self._stream] = self
        self._queue.extend(pieces)
        size = sum(map(len, pieces))
        self._queued += size
        self._http._queued += size
        while self._http._pump(self):
            pass

    def _take(self, room: int) -> tuple[list[bytes], int]:
        """The next bytes of the queue, at most `room`, in pieces."""
        pieces: list[bytes] = []
        size = 0
        while self._queue and size < room:
            piece, offset = self._queue[0], self._offset
            part = piece[offset : offset + room - size]
            pieces.append(part)
            size += len(part)
            if offset + len(part) == len(piece):
                self._queue.popleft()
                self._offset = 0
            else:
                self._offset = offset + len(part)
        self._queued -= size
        return pieces, size


def _too_large(size: int, limit: int) -> str:
    return f"grpc: received message larger than max ({size} vs. {limit})"


def not_grpc(call: Call) -> None:
    """Answer a request over HTTP/2 that is for HTTP/1.1."""
    text = b"this is a gRPC service; ask over HTTP/1.1 for everything else\n"
    call.respond(415, {"content-type": "text/plain; charset=utf-8"}, text)
