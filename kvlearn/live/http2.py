"""The server's side of gRPC over HTTP/2, as plain callbacks: no task and no future for a call.

```
 bytes ──> frames ──> Call ──> open(call)                    once, at the headers
                       │  ──> call.on_message(bytes)          for each message
                       │  ──> call.on_end / on_close / on_drain
 bytes <── frames <── call.reply(bytes)  or  send(bytes) ... finish(code, text)
```

>>> def open(call):
...     call.on_message = lambda message: call.reply(message.upper())
>>> port = Http2(open)      # an asyncio.Protocol, one for each connection

Framing is done here because a call that does nothing then costs a processor about a fortieth of
what it costs with grpclib or grpc.aio, with uvloop and without (h2load, 64 calls in flight). The
header block of a repeated request is looked up (see `http2_headers`), an answer is constant bytes
around the message, and what one turn of the loop makes, of many calls, leaves in one write.

Flow control goes both ways. What the client has no window for waits in the call; `Call.full` says
that a mebibyte waits, `on_drain` that there is room again. A call that is full is not granted more
requests either, so a client that does not read cannot make a member's memory grow.

Source: RFC 9113 (frames, streams, errors); gRPC's PROTOCOL-HTTP2.md; the texts of refusals are
those of grpc-go, which etcd uses.
Differs: priorities are ignored, nothing is pushed; a client's trailers are read and dropped.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from hpack import HPACKError

from kvlearn.live.codes import Code
from kvlearn.live.http2_call import Call, not_grpc
from kvlearn.live.http2_frames import (
    ACK,
    CANCEL,
    COMPRESSION_ERROR,
    CONNECTION_WINDOW,
    CONTINUATION,
    CROWD_BYTES,
    DATA,
    END_HEADERS,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    FORGOTTEN,
    FRAME_BYTES,
    FRAME_SIZE_ERROR,
    FULL_BYTES,
    GOAWAY,
    HEAD,
    HEADER_BYTES,
    HEADERS,
    INTERNAL_ERROR,
    MAX_WINDOW,
    NO_ERROR,
    PADDED,
    PATIENCE,
    PATIENCE_PER_S,
    PING,
    PREFACE,
    PREFIX,
    PRIORITISED,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    REQUEST_BYTES,
    RST_STREAM,
    SETTING,
    SETTINGS,
    SHARE_BYTES,
    STREAM_CLOSED,
    STREAM_WINDOW,
    TURN_BYTES,
    U32,
    WINDOW_UPDATE,
    ConnectionEnds,
    ignore,
    unpad,
)
from kvlearn.live.http2_headers import RequestHeaders

log = logging.getLogger(__name__)

LONGEST_S = 30 * 86400.0  # a loop cannot wait for ever
LINGER_S = 5.0  # for a peer to read why it is cut off


class Http2(asyncio.Protocol):
    """One connection. `open(call)` is called for each gRPC call, `other(call)` for each other
    request (default: 415); both in the loop, as all callbacks.

    `keepalive_s`: an idle client is pinged after so many seconds and cut off when it does not
    answer within `keepalive_timeout_s`. `on_lost(self)` is called once when the connection is gone.
    Invariant: nothing that a peer sends makes `data_received` raise.
    """

    def __init__(
        self,
        open: Callable[[Call], None],
        max_message_bytes: int = REQUEST_BYTES,
        *,
        max_streams: int = 10_000,
        keepalive_s: float | None = None,
        keepalive_timeout_s: float = 20.0,
        other: Callable[[Call], None] | None = None,
        on_lost: Callable[[Http2], None] = ignore,
    ):
        self._open, self._other, self.on_lost = open, other or not_grpc, on_lost
        self._max_message_bytes, self._max_streams = max_message_bytes, max_streams
        self._keepalive_s, self._keepalive_timeout_s = keepalive_s, keepalive_timeout_s
        # reading
        self._rest = bytearray()  # of a frame of which parts are missing
        self._needed = len(PREFACE) + 9  # bytes before it is worth looking again
        self._begun = self._over = False
        self._headers = RequestHeaders()
        self._continued: tuple[int, int, bytearray] | None = None  # stream, flags, block so far
        self._received = 0  # bytes of DATA since the client was granted more
        self._calls: dict[int, Call] = {}
        self._last = 0  # the highest stream that was opened
        self._gone: dict[int, None] = {}  # streams that we reset
        self._closing = False
        self._patience, self._tried = float(PATIENCE), 0.0
        self._idle, self._pinged = False, False
        # writing
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._scheduled = self._paused = self._blocked = self._deaf = False
        self._reading = True
        self._lead = b"\x20"  # before the first block: our dynamic table has no bytes
        self._window = self._initial_window = 65535  # what the client still takes
        self._frame_bytes = 16384
        self._waiting: dict[int, Call] = {}  # calls with a queue, in the order of their turns
        self._queued = 0

    # The transport ------------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        """Say what we take before the client has said anything."""
        self._loop = asyncio.get_running_loop()
        self._transport = transport
        self._tried = self._loop.time()
        transport.set_write_buffer_limits(high=2 * TURN_BYTES, low=TURN_BYTES // 4)
        settings = {3: self._max_streams, 4: STREAM_WINDOW, 6: HEADER_BYTES}
        self._control(SETTINGS, 0, 0, b"".join(SETTING.pack(*s) for s in settings.items()))
        self._control(WINDOW_UPDATE, 0, 0, U32.pack(CONNECTION_WINDOW - 65535))
        if self._keepalive_s:
            self._timer = self._loop.call_later(self._keepalive_s, self._keep_alive)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell all calls that run."""
        self._over = self._deaf = True
        if self._keepalive_s:
            self._timer.cancel()
        for call in list(self._calls.values()):
            self._drop(call)
        self._out.clear()
        self._rest.clear()
        self.on_lost(self)

    def data_received(self, data: bytes) -> None:
        """Handle what came; what that makes leaves in one write."""
        if self._rest:
            self._rest += data
            if len(self._rest) < self._needed:
                return
            data = bytes(self._rest)
            self._rest.clear()
        if self._over:
            return
        self._scheduled = True  # what is written meanwhile leaves at the end
        self._idle = False
        try:
            at = self._parse(data) if self._begun else self._begin(data)
        except ConnectionEnds as error:
            self._fail(error.code, str(error))
        except Exception:
            log.exception("a frame could not be handled; the connection ends")
            self._fail(INTERNAL_ERROR, "internal error")
        else:
            if at < len(data) and not self._over:
                self._rest += memoryview(data)[at:]
        self._flush()

    def pause_writing(self) -> None:
        self._paused = self._blocked = True

    def resume_writing(self) -> None:
        """The client reads again."""
        self._paused = False
        self._flush()
        if not self._reading and not self._over:
            self._reading = True
            self._transport.resume_reading()

    def close(self) -> None:
        """Take no further calls, let the present ones end, then close."""
        if not self._closing and not self._over:
            self._closing = True
            self._control(GOAWAY, 0, 0, U32.pack(self._last) + U32.pack(NO_ERROR))
            self._close_when_done()

    def abort(self) -> None:
        """Close at once; calls that run are told that they are closed."""
        self._transport.abort()

    @property
    def calls(self) -> int:
        """How many calls run."""
        return len(self._calls)

    # Reading ------------------------------------------------------------------------------------

    def _begin(self, data: bytes) -> int:
        if not data.startswith(PREFACE[: len(data)]):
            raise ConnectionEnds(PROTOCOL_ERROR, "this is not HTTP/2")
        if len(data) < self._needed:
            return 0
        if data[len(PREFACE) + 3] != SETTINGS or data[len(PREFACE) + 4] & ACK:
            raise ConnectionEnds(PROTOCOL_ERROR, "the first frame is not SETTINGS")
        self._begun = True
        return self._parse(data, len(PREFACE))

    def _parse(self, data: bytes, at: int = 0) -> int:
        """Handle the frames in `data`; where the first incomplete one begins."""
        size, unpack = len(data), HEAD.unpack_from
        self._needed = 9
        while size - at >= 9:
            head, flags, stream = unpack(data, at)
            kind, length = head & 0xFF, head >> 8
            if length > FRAME_BYTES:
                raise ConnectionEnds(FRAME_SIZE_ERROR, f"a frame of {length} bytes")
            start = at + 9
            end = start + length
            if end > size:
                self._needed = length + 9
                return at
            at = end
            stream &= MAX_WINDOW
            if self._continued is not None and kind != CONTINUATION:
                raise ConnectionEnds(PROTOCOL_ERROR, "a header block is interrupted")
            if kind == DATA:
                self._on_data(flags, stream, data, start, end)
            elif kind == HEADERS:
                self._on_headers(flags, stream, data, start, end)
            elif kind <= CONTINUATION:
                self._on_control(kind, flags, stream, data[start:end])
            if self._over:
                return size
        return at

    def _on_data(self, flags: int, stream: int, data: bytes, start: int, end: int) -> None:
        self._received += end - start
        if self._received >= CONNECTION_WINDOW // 2:
            self._control(WINDOW_UPDATE, 0, 0, U32.pack(self._received))
            self._received = 0
        call = self._calls.get(stream)
        if call is None:
            self._on_stray(stream, DATA)
            return
        if call._ended:
            self._reset(stream, STREAM_CLOSED)
            return
        whole = end - start
        if flags & PADDED:
            start, end = unpad(data, start, end)
        if flags & END_STREAM:
            call._ended = True
        if call.closed:
            return
        if call._ended:
            pass
        elif not whole:
            self._lose_patience()
        else:
            call._received += whole
            if call._received >= STREAM_WINDOW // 2 and not self._grant(call):
                return
        try:
            if call._buffer is None and end - start >= 5 and call._request.grpc:
                packed, size = PREFIX.unpack_from(data, start)
                if size == end - start - 5 and not packed and size <= self._max_message_bytes:
                    call._heard = True
                    call.on_message(data[start + 5 : end])
                    start = end
            if start < end:
                call._on_part(data[start:end], self._max_message_bytes)
            if call._ended and not call.closed:
                self._on_end(call)
        except Exception:
            self._on_defect(call)

    def _on_end(self, call: Call) -> None:
        """The client has said all it wants to say."""
        if call._buffer is not None:
            call.finish(Code.INTERNAL, "grpc: the request ends within a message")
        elif call.on_end is not ignore:
            call.on_end()
        elif not call._heard and call._request.grpc:
            call.finish(Code.INTERNAL, "grpc: the request has no message")

    def _on_defect(self, call: Call) -> None:
        """The service itself failed: the client shall know, and so shall the log."""
        log.exception("the service failed in %s", call.path)
        call.finish(Code.INTERNAL, "internal error")

    def _on_headers(self, flags: int, stream: int, data: bytes, start: int, end: int) -> None:
        if flags & PADDED:
            start, end = unpad(data, start, end)
        if flags & PRIORITISED:
            start += 5
            if start > end:
                raise ConnectionEnds(FRAME_SIZE_ERROR, "a priority is cut off")
        if not stream & 1:
            raise ConnectionEnds(PROTOCOL_ERROR, f"a client cannot open stream {stream}")
        if flags & END_HEADERS:
            self._on_block(stream, flags & END_STREAM != 0, data[start:end])
        else:
            self._continued = stream, flags, bytearray(data[start:end])

    def _on_continuation(self, flags: int, stream: int, part: bytes) -> None:
        if self._continued is None or self._continued[0] != stream:
            raise ConnectionEnds(PROTOCOL_ERROR, "a continuation of nothing")
        _, first_flags, whole = self._continued
        whole += part
        if len(whole) > HEADER_BYTES:
            raise ConnectionEnds(ENHANCE_YOUR_CALM, "the header block is too long")
        self._lose_patience()
        if flags & END_HEADERS:
            self._continued = None
            self._on_block(stream, first_flags & END_STREAM != 0, bytes(whole))

    def _on_block(self, stream: int, ended: bool, packed: bytes) -> None:
        request = self._headers.known.get(packed)
        if request is None:
            try:
                request = self._headers.read(packed)
            except HPACKError as error:
                raise ConnectionEnds(COMPRESSION_ERROR, str(error)) from error
        if stream <= self._last:
            self._on_trailers(stream, ended)
        elif self._closing:
            pass  # the client knows from our GOAWAY that this one was not served
        elif request.malformed:
            self._last = stream
            self._lose_patience()
            self._reset(stream, PROTOCOL_ERROR)
        elif len(self._calls) >= self._max_streams or self._queued > CROWD_BYTES:
            self._last = stream
            self._lose_patience()
            self._reset(stream, REFUSED_STREAM)
        else:
            self._last = stream
            self._on_request(Call(self, stream, request, ended))

    def _on_request(self, call: Call) -> None:
        request = call._request
        self._calls[call._stream] = call
        if request.refusal is not None:
            call.closed = True
            self._finish(call, request.refusal)
            return
        if request.timeout_s is not None:
            after_s = min(request.timeout_s, LONGEST_S)
            call._timer = self._loop.call_later(after_s, self._expire, call)
        try:
            if request.grpc:
                self._open(call)
            else:
                self._other(call)
            if call._ended and not call.closed:
                self._on_end(call)
        except Exception:
            self._on_defect(call)

    def _on_trailers(self, stream: int, ended: bool) -> None:
        call = self._calls.get(stream)
        if call is None:
            self._on_stray(stream, HEADERS)
        elif call._ended:
            self._reset(stream, STREAM_CLOSED)
        elif not ended:
            self._reset(stream, PROTOCOL_ERROR)
        else:
            call._ended = True
            if not call.closed:
                try:
                    self._on_end(call)
                except Exception:
                    self._on_defect(call)

    def _on_stray(self, stream: int, kind: int) -> None:
        """A frame for a stream that is not open: late, or never opened."""
        if stream > self._last and self._closing and stream & 1:
            return
        if stream > self._last or not stream & 1:
            raise ConnectionEnds(PROTOCOL_ERROR, f"stream {stream} is idle")
        if stream in self._gone or kind in (RST_STREAM, WINDOW_UPDATE):
            return
        if kind == HEADERS:
            raise ConnectionEnds(STREAM_CLOSED, f"stream {stream} has ended")
        self._lose_patience()
        self._reset(stream, STREAM_CLOSED)

    def _on_control(self, kind: int, flags: int, stream: int, body: bytes) -> None:
        match kind:
            case 9:
                self._on_continuation(flags, stream, body)
            case 8:
                self._on_window_update(stream, body)
            case 3:
                self._check(body, 4, stream != 0, "RST_STREAM")
                self._lose_patience()
                call = self._calls.get(stream)
                if call is None:
                    self._on_stray(stream, RST_STREAM)
                else:
                    self._drop(call)
            case 6:
                self._check(body, 8, stream == 0, "PING")
                if not flags & ACK:
                    self._lose_patience()
                    self._control(PING, ACK, 0, body)
            case 4:
                self._on_settings(flags, stream, body)
            case 2:
                self._check(body, 5, stream != 0, "PRIORITY")
            case 5:
                raise ConnectionEnds(PROTOCOL_ERROR, "a client cannot push")
            case 7:
                if stream or len(body) < 8:
                    raise ConnectionEnds(PROTOCOL_ERROR, "a GOAWAY that cannot be")

    def _check(self, body: bytes, size: int, right_stream: bool, name: str) -> None:
        if not right_stream:
            raise ConnectionEnds(PROTOCOL_ERROR, f"{name} on the wrong stream")
        if len(body) != size:
            raise ConnectionEnds(FRAME_SIZE_ERROR, f"{name} of {len(body)} bytes")

    def _on_settings(self, flags: int, stream: int, body: bytes) -> None:
        if flags & ACK:
            self._check(body, 0, stream == 0, "SETTINGS")
            return
        self._check(body, len(body) // 6 * 6, stream == 0, "SETTINGS")
        self._lose_patience()
        for name, value in SETTING.iter_unpack(body):
            match name:
                case 2 if value > 1:
                    raise ConnectionEnds(PROTOCOL_ERROR, "ENABLE_PUSH is 0 or 1")
                case 4:
                    self._set_window(value)
                case 5:
                    if not 16384 <= value < 2**24:
                        raise ConnectionEnds(PROTOCOL_ERROR, f"MAX_FRAME_SIZE {value}")
                    self._frame_bytes = min(value, 2**20)
        self._control(SETTINGS, ACK, 0)
        self._pump_all()

    def _set_window(self, value: int) -> None:
        """The client's window of every stream, those that are open too; it may become negative."""
        more = value - self._initial_window
        if value > MAX_WINDOW or any(c._window + more > MAX_WINDOW for c in self._calls.values()):
            raise ConnectionEnds(FLOW_CONTROL_ERROR, f"INITIAL_WINDOW_SIZE {value}")
        self._initial_window = value
        for call in self._calls.values():
            call._window += more

    def _on_window_update(self, stream: int, body: bytes) -> None:
        self._check(body, 4, True, "WINDOW_UPDATE")
        more = U32.unpack(body)[0] & MAX_WINDOW
        if stream == 0:
            if not more:
                raise ConnectionEnds(PROTOCOL_ERROR, "WINDOW_UPDATE of nothing")
            self._window += more
            if self._window > MAX_WINDOW:
                raise ConnectionEnds(FLOW_CONTROL_ERROR, "the connection's window overflows")
            self._pump_all()
            return
        call = self._calls.get(stream)
        if call is None:
            self._on_stray(stream, WINDOW_UPDATE)
        elif not more or call._window + more > MAX_WINDOW:
            self._reset(stream, FLOW_CONTROL_ERROR if more else PROTOCOL_ERROR)
        else:
            call._window += more
            while self._pump(call):
                pass

    def _grant(self, call: Call) -> bool:
        """Let the client send more on this stream, unless it does not read what it gets."""
        if call._received > STREAM_WINDOW:
            self._reset(call._stream, FLOW_CONTROL_ERROR)
            return False
        call._held = call.full
        if not call._held:
            self._control(WINDOW_UPDATE, 0, call._stream, U32.pack(call._received))
            call._received = 0
        return True

    def _lose_patience(self) -> None:
        """Count a frame that costs us more than it costs the peer."""
        now = self._loop.time()
        regained = self._patience + (now - self._tried) * PATIENCE_PER_S
        self._patience, self._tried = min(regained, float(PATIENCE)) - 1, now
        if self._patience < 0:
            raise ConnectionEnds(ENHANCE_YOUR_CALM, "too many frames of no use")

    # The end of a call --------------------------------------------------------------------------

    def _forget(self, call: Call) -> None:
        """The answer is out."""
        stream = call._stream
        self._calls.pop(stream, None)
        call.on_message = ignore  # it holds the call: garbage that would have to be looked for
        if call._timer is not None:
            call._timer.cancel()
        if not call._ended:  # as grpc-go: the client need not send the rest
            self._control(RST_STREAM, 0, stream, U32.pack(NO_ERROR))
            self._remember(stream)
        if self._closing:
            self._close_when_done()

    def _drop(self, call: Call) -> None:
        """The stream is gone; what waits can go nowhere."""
        told, call.closed = call.closed, True
        self._calls.pop(call._stream, None)
        self._waiting.pop(call._stream, None)
        self._queued -= call._queued
        call._queue, call._queued, call._buffer, call.on_message = None, 0, None, ignore
        if call._timer is not None:
            call._timer.cancel()
        if not told:
            try:
                call.on_finish(Code.CANCELLED)
                call.on_close()
            except Exception:
                log.exception("the service failed at the end of %s", call.path)
        if self._closing:
            self._close_when_done()

    def _expire(self, call: Call) -> None:
        """The deadline that the client gave has passed."""
        told = call.closed
        if call._queue is None and not told:
            call.finish(Code.DEADLINE_EXCEEDED, "context deadline exceeded")
            call.on_close()
        else:
            self._reset(call._stream, CANCEL)

    def _reset(self, stream: int, code: int) -> None:
        self._control(RST_STREAM, 0, stream, U32.pack(code))
        self._remember(stream)
        call = self._calls.get(stream)
        if call is not None:
            self._drop(call)

    def _remember(self, stream: int) -> None:
        self._gone[stream] = None
        if len(self._gone) > FORGOTTEN:
            del self._gone[next(iter(self._gone))]

    def _fail(self, code: int, why: str) -> None:
        """End the connection because of what the peer did."""
        log.warning("HTTP/2 connection from %s ends: %s", self._peer(), why)
        body = U32.pack(self._last) + U32.pack(code) + why.encode("utf-8", "replace")[:200]
        self._control(GOAWAY, 0, 0, body)
        self._over = True
        self._end()

    def _close_when_done(self) -> None:
        if not self._calls and not self._over:
            self._over = True
            self._end()

    def _end(self) -> None:
        self._paused = False
        self._flush()
        self._deaf = True
        self._transport.close()
        self._loop.call_later(LINGER_S, self._transport.abort)

    def _peer(self) -> str:
        name = self._transport.get_extra_info("peername")
        return ":".join(map(str, name[:2])) if isinstance(name, tuple) else str(name or "?")

    def _keep_alive(self) -> None:
        if not self._idle:
            self._pinged, delay_s = False, self._keepalive_s
        elif not self._pinged:
            self._pinged, delay_s = True, self._keepalive_timeout_s
            self._control(PING, 0, 0, bytes(8))
        else:
            log.warning("HTTP/2 connection from %s: no answer to a ping", self._peer())
            self._transport.abort()
            return
        self._idle = True
        self._timer = self._loop.call_later(delay_s, self._keep_alive)

    # Writing ------------------------------------------------------------------------------------

    def _put(self, pieces: tuple[bytes, ...], size: int) -> None:
        self._out += pieces
        self._out_bytes += size
        if self._out_bytes > TURN_BYTES:
            self._blocked = True
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._flush)

    def _control(self, kind: int, flags: int, stream: int, body: bytes = b"") -> None:
        self._put((HEAD.pack(len(body) << 8 | kind, flags, stream) + body,), len(body) + 9)

    def _start(self, call: Call, opening: bytes) -> None:
        call._started = True
        self._control(HEADERS, END_HEADERS, call._stream, self._lead + opening)
        self._lead = b""

    def _finish(self, call: Call, end: bytes) -> None:
        """Send what ends the stream: trailers, or an empty DATA frame for b""."""
        if end:
            self._control(HEADERS, END_HEADERS | END_STREAM, call._stream, self._lead + end)
            self._lead = b""
        else:
            self._control(DATA, END_STREAM, call._stream)
        self._forget(call)

    def _flush(self) -> None:
        """Write what this turn has gathered; then let waiting calls make more of it."""
        self._scheduled = False
        if self._deaf:
            self._out.clear()
            return
        if self._paused:
            waits = self._out_bytes + self._queued
            if waits > TURN_BYTES and self._reading and not self._over:
                self._reading = False  # it does not read, so it shall not ask either
                self._transport.pause_reading()
            return
        if self._out:
            data = b"".join(self._out)
            self._out.clear()
            self._out_bytes = 0
            self._transport.write(data)
        if self._blocked and not self._paused:
            self._blocked = False
            if self._waiting:
                self._pump_all()

    def _pump_all(self) -> None:
        """A share for each waiting call, until nothing moves."""
        moved = True
        while moved and self._waiting and self._window > 0 and not self._blocked:
            moved = False
            for stream, call in list(self._waiting.items()):
                if self._pump(call):
                    moved = True
                    if self._waiting.pop(stream, None):  # to the end of the line
                        self._waiting[stream] = call

    def _pump(self, call: Call) -> bool:
        """Send of a call's queue what the windows allow, at most a share; whether any was."""
        share = min(self._window, call._window, SHARE_BYTES)
        if call._queue is None or self._blocked:
            return False
        sent = 0
        while call._queue and sent < share:
            pieces, size = call._take(min(share - sent, self._frame_bytes))
            head = HEAD.pack(size << 8, 0, call._stream)
            self._put((head, *pieces), size + 9)
            sent += size
        call._window -= sent
        self._window -= sent
        self._queued -= sent
        if not call._queue:
            call._queue = None
            self._waiting.pop(call._stream, None)
            if call._end is not None:
                self._finish(call, call._end)
        if call._thirsty and call._queued <= FULL_BYTES // 2:
            self._quench(call)
        return sent > 0

    def _quench(self, call: Call) -> None:
        """There is room again."""
        if call._queued and self._queued > CROWD_BYTES:
            return
        call._thirsty = False
        if call._held:
            self._grant(call)
        if not call.closed:
            try:
                call.on_drain()
            except Exception:
                self._on_defect(call)
