"""gRPC over HTTP/2, frame by frame on a transport of paper, with h2 and with grpcio as clients."""

from __future__ import annotations

import asyncio
import functools
import gc
import gzip
import logging
import os
import random
import shutil
import struct
import subprocess
import weakref
from collections.abc import Callable

import grpc
import h2.config
import h2.connection
import h2.events
import h2.settings
import pytest

from kvlearn.live import http2, http2_call
from kvlearn.live.http2 import Http2
from kvlearn.live.http2_frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEAD,
    HEADERS,
    PADDED,
    PING,
    PREFACE,
    PRIORITISED,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
)
from kvlearn.live.http2_headers import block, read_request

FIELDS = [
    (":method", "POST"),
    (":scheme", "http"),
    (":path", "/test/Echo"),
    (":authority", "here"),
    ("content-type", "application/grpc"),
    ("te", "trailers"),
]
ASK = block(*FIELDS)


class Paper:
    """A transport that writes down what it is told; full while `stuck`."""

    def __init__(self):
        self.wrote, self.calls, self.closed, self.reading = [], 0, False, True

    def write(self, data):
        assert not self.closed
        self.wrote.append(bytes(data))
        self.calls += 1

    def take(self) -> bytes:
        data = b"".join(self.wrote)
        self.wrote.clear()
        return data

    def close(self):
        self.closed = True

    abort = close

    def get_extra_info(self, name, default=None):
        return default

    def set_write_buffer_limits(self, high=None, low=None):
        pass

    def pause_reading(self):
        self.reading = False

    def resume_reading(self):
        self.reading = True


def frame(kind: int, flags: int = 0, stream: int = 0, body: bytes = b"") -> bytes:
    return HEAD.pack(len(body) << 8 | kind, flags, stream) + body


def message(content: bytes, packed: int = 0) -> bytes:
    return struct.pack(">BI", packed, len(content)) + content


def frames(data: bytes) -> list[tuple[int, int, int, bytes]]:
    found, at = [], 0
    while at < len(data):
        head, flags, stream = HEAD.unpack_from(data, at)
        end = at + 9 + (head >> 8)
        found.append((head & 0xFF, flags, stream, data[at + 9 : end]))
        at = end
    assert at == len(data)
    return found


U32 = struct.Struct(">I").pack
START = PREFACE + frame(SETTINGS)
UNARY = frame(HEADERS, END_HEADERS, 1, ASK) + frame(DATA, END_STREAM, 1, message(b"hi"))


def echo(call) -> None:
    call.on_message = lambda content: call.reply(content)


class Wire:
    """A connection on paper, and what came out of it."""

    def __init__(self, open_call=echo, **more):
        self.paper = Paper()
        self.http = Http2(open_call, **more)
        self.http.connection_made(self.paper)

    def feed(self, *parts: bytes) -> list[tuple[int, int, int, bytes]]:
        for part in parts:
            self.http.data_received(part)
        return self.out()

    def out(self) -> list[tuple[int, int, int, bytes]]:
        self.http._flush()
        while self.http._out and not self.http._paused:  # later turns of the loop
            self.http._flush()
        return frames(self.paper.take())

    def started(self) -> Wire:
        self.feed(START)
        return self


def on_paper(scene: Callable[[], None]) -> None:
    async def run() -> None:
        scene()

    asyncio.run(run())


def paper(test: Callable[..., None]) -> Callable[..., None]:
    """The test runs inside a loop, which never turns."""

    @functools.wraps(test)
    def run(*args, **kwargs):
        on_paper(lambda: test(*args, **kwargs))

    return run


def ended_with(out: list, code: int) -> bool:
    """Whether the connection was ended by a GOAWAY with this code."""
    return bool(out) and out[-1][0] == GOAWAY and struct.unpack(">II", out[-1][3][:8])[1] == code


def resets(out: list) -> list[tuple[int, int]]:
    return [(f[2], struct.unpack(">I", f[3])[0]) for f in out if f[0] == RST_STREAM]


# A connection and its calls -------------------------------------------------------------------


@paper
def test_settings_come_first_and_are_acknowledged():
    wire = Wire()
    out = wire.feed(START)
    assert [f[:3] for f in out] == [(SETTINGS, 0, 0), (WINDOW_UPDATE, 0, 0), (SETTINGS, ACK, 0)]


@paper
def test_one_answer_is_one_write_of_three_frames():
    wire = Wire().started()
    wire.feed(UNARY)  # the first answer also says that we keep no dynamic table
    wire.paper.calls = 0
    again = UNARY.replace(b"\0\0\0\1", b"\0\0\0\3")
    request = frame(HEADERS, END_HEADERS, 3, ASK) + frame(DATA, END_STREAM, 3, message(b"hi"))
    out = wire.feed(request)
    assert again != UNARY and wire.paper.calls == 1
    assert [f[:3] for f in out] == [
        (HEADERS, END_HEADERS, 3),
        (DATA, 0, 3),
        (HEADERS, END_HEADERS | END_STREAM, 3),
    ]
    assert out[1][3] == message(b"hi") and wire.http.calls == 0


def test_answers_of_one_turn_leave_together():
    async def scene():
        calls = []
        wire = Wire(calls.append).started()
        for stream in (1, 3, 5):
            wire.feed(frame(HEADERS, END_HEADERS | END_STREAM, stream, ASK))
        for call in calls:
            assert call.closed  # nobody asked for messages, and none came
        calls.clear()
        for stream in (7, 9, 11):
            wire.feed(frame(HEADERS, END_HEADERS, stream, ASK))
        wire.paper.calls = 0
        for call in calls:
            call.reply(b"late")
        assert wire.paper.calls == 0
        await asyncio.sleep(0)
        assert wire.paper.calls == 1

    asyncio.run(scene())


@paper
@pytest.mark.parametrize("seed", range(20))
def test_any_split_of_the_bytes_gives_the_same_answers(seed):
    rng = random.Random(seed)
    story = START + frame(WINDOW_UPDATE, 0, 0, U32(10**6)) + UNARY
    for stream in range(3, 13, 2):
        body = message(bytes(rng.randrange(40000)))
        story += frame(HEADERS, 0, stream, ASK[:3])
        story += frame(CONTINUATION, 0, stream, b"") + frame(CONTINUATION, 4, stream, ASK[3:])
        while body:
            size = rng.randrange(1, 16384)
            story += frame(DATA, END_STREAM if size >= len(body) else 0, stream, body[:size])
            body = body[size:]
        story += frame(PING, 0, 0, bytes(8))

    def pieces():
        at = 0
        while at < len(story):
            size = rng.choice((1, 2, 9, 100, 5000, 70000))
            yield story[at : at + size]
            at += size

    whole, cut = Wire(), Wire()
    assert whole.feed(story) == cut.feed(*pieces()), f"seed {seed}"
    assert whole.http.calls == 0


@paper
def test_what_a_call_says_about_itself():
    calls = []
    wire = Wire(calls.append).started()
    more = block(*FIELDS, ("token", "x.1"), ("k", "1"), ("k", "2"), ("grpc-timeout", "3M"))
    wire.feed(frame(HEADERS, END_HEADERS, 1, more))
    (call,) = calls
    assert call.path == "/test/Echo" and call.timeout_s == 180
    assert call.metadata["token"] == "x.1" and call.metadata["k"] == "1,2"
    assert call.metadata["host"] == "here" and ":path" not in call.metadata


@paper
def test_messages_arrive_whole_wherever_the_frames_end():
    got = []

    def open_call(call):
        call.on_message = got.append
        call.on_end = lambda: got.append("end")

    wire = Wire(open_call).started()
    wire.feed(frame(HEADERS, END_HEADERS, 1, ASK))
    data = message(b"") + message(b"ab") + message(b"c" * 300)
    for at in range(0, len(data), 7):
        wire.feed(frame(DATA, 0, 1, data[at : at + 7]))
    wire.feed(frame(DATA, END_STREAM, 1, message(b"x") + message(b"y")))
    assert got == [b"", b"ab", b"c" * 300, b"x", b"y", "end"]


@paper
def test_padding_and_priority_are_taken_off():
    got = []

    def open_call(call):
        call.on_message = got.append

    wire = Wire(open_call).started()
    packed = bytes((3,)) + bytes(5) + ASK + bytes(3)
    wire.feed(frame(HEADERS, END_HEADERS | PADDED | PRIORITISED, 1, packed))
    wire.feed(frame(DATA, PADDED, 1, bytes((4,)) + message(b"hi") + bytes(4)))
    wire.feed(frame(PRIORITY, 0, 1, bytes(5)), frame(99, 255, 7, b"who knows"))
    assert got == [b"hi"] and not wire.paper.closed


@paper
def test_a_service_that_fails_costs_one_call(caplog):
    def open_call(call):
        call.on_message = lambda content: 1 // 0

    wire = Wire(open_call).started()
    out = wire.feed(UNARY)
    assert out[0][1] == END_HEADERS | END_STREAM and b"internal" not in out[0][3][:9]
    assert "the service failed in /test/Echo" in caplog.text and not wire.paper.closed


# Flow control ---------------------------------------------------------------------------------


def data_of(out: list, stream: int) -> bytes:
    return b"".join(f[3] for f in out if f[0] == DATA and f[2] == stream)


@paper
def test_what_the_client_has_no_window_for_waits():
    wire = Wire().started()
    body = os.urandom(100_000)
    parts = [message(body)[at : at + 16384] for at in range(0, 100_005, 16384)]
    wire.feed(frame(HEADERS, END_HEADERS, 1, ASK))
    out = wire.feed(*[frame(DATA, (p is parts[-1]) * END_STREAM, 1, p) for p in parts])
    first = data_of(out, 1)
    assert len(first) == 65535
    assert wire.feed(frame(WINDOW_UPDATE, 0, 1, U32(10))) == [], "the connection's is used up"
    then = wire.feed(frame(WINDOW_UPDATE, 0, 0, U32(100_000)))
    assert len(data_of(then, 1)) == 10
    last = wire.feed(frame(WINDOW_UPDATE, 0, 1, U32(100_000)))
    assert first + data_of(then, 1) + data_of(last, 1) == message(body)
    assert last[-1][0] == HEADERS and last[-1][1] & END_STREAM and wire.http.calls == 0


@paper
def test_a_window_may_become_negative():
    calls = []
    wire = Wire(calls.append).started()
    wire.feed(frame(HEADERS, END_HEADERS, 1, ASK))
    calls[0].send(bytes(65000))
    wire.out()
    wire.feed(frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 1000)))  # now 1000 - 65005
    calls[0].send(bytes(95))
    wire.feed(frame(WINDOW_UPDATE, 0, 0, U32(10**6)))
    assert wire.feed(frame(WINDOW_UPDATE, 0, 1, U32(64005))) == []
    assert data_of(wire.feed(frame(WINDOW_UPDATE, 0, 1, U32(1))), 1) == b"\0"
    out = wire.feed(frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 2000)))
    assert len(data_of(out, 1)) == 99


@paper
def test_waiting_calls_share_what_there_is():
    calls = []
    wire = Wire(calls.append).started()
    wire.feed(frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 2**30)))
    for stream in (1, 3, 5):
        wire.feed(frame(HEADERS, END_HEADERS, stream, ASK))
    for call in calls:
        call.send(bytes(300_000))
    wire.out()
    out = wire.feed(frame(WINDOW_UPDATE, 0, 0, U32(6 * 65536)))
    assert {len(data_of(out, stream)) for stream in (3, 5)} == {2 * 65536}


@paper
def test_a_full_call_says_so_and_gets_no_more_requests():
    told, calls = [], []

    def open_call(call):
        calls.append(call)
        call.on_message = lambda content: call.send(content)
        call.on_drain = lambda: told.append(call.full)

    wire = Wire(open_call).started()
    wire.feed(frame(HEADERS, END_HEADERS, 1, ASK))
    calls[0].send(bytes(2 * http2_call.FULL_BYTES))
    granted, sent = [], 0
    part = message(bytes(16000))
    while sent + len(part) <= http2.STREAM_WINDOW:
        granted += [f for f in wire.feed(frame(DATA, 0, 1, part)) if f[:3] == (8, 0, 1)]
        sent += len(part)
    assert calls[0].full and not told and not granted
    wire.feed(frame(WINDOW_UPDATE, 0, 0, U32(2**24)))
    out = wire.feed(frame(WINDOW_UPDATE, 0, 1, U32(2**24)))
    assert told == [False] and not calls[0].full
    assert (WINDOW_UPDATE, 0, 1) in [f[:3] for f in out], "and now it may send again"


@paper
def test_a_client_that_sends_beyond_its_window_is_reset():
    calls = []

    def open_call(call):
        calls.append(call)
        call.on_message = lambda content: call.full
        call.send(bytes(2 * http2_call.FULL_BYTES))

    wire = Wire(open_call).started()
    wire.feed(frame(HEADERS, END_HEADERS, 1, ASK))
    out, part = [], frame(DATA, 0, 1, message(bytes(16000)))
    for _ in range(http2.STREAM_WINDOW // 16005 + 2):
        out += wire.feed(part)
    assert resets(out)[0] == (1, 3) and calls[0].closed


@paper
def test_a_transport_that_is_stuck_is_not_given_more():
    wire = Wire().started()
    wire.http.pause_writing()
    stream = 1
    while wire.paper.reading:
        wire.feed(frame(HEADERS, END_HEADERS, stream, ASK))
        wire.feed(frame(DATA, END_STREAM, stream, message(bytes(1000))))
        stream += 2
        assert stream < 100_000
    assert wire.paper.wrote == []
    wire.http.resume_writing()
    assert wire.paper.reading and wire.out()


@paper
def test_the_connections_window_is_granted_again_in_bulk():
    wire = Wire(lambda call: None).started()
    wire.feed(frame(HEADERS, END_HEADERS, 1, ASK))
    part, sent, granted = message(bytes(16000)), 0, 0
    while granted == 0:
        out = wire.feed(frame(DATA, 0, 1, part))
        sent += len(part)
        granted = sum(struct.unpack(">I", f[3])[0] for f in out if f[:3] == (8, 0, 0))
    assert granted == sent >= http2.CONNECTION_WINDOW // 2


# The end of a call ----------------------------------------------------------------------------


@paper
def test_a_reset_is_told_once_and_nothing_follows():
    told, calls = [], []

    def open_call(call):
        calls.append(call)
        call.on_close = lambda: told.append("closed")

    wire = Wire(open_call).started()
    wire.feed(frame(HEADERS, END_HEADERS, 1, ASK))
    wire.feed(frame(RST_STREAM, 0, 1, U32(8)))
    calls[0].reply(b"too late")
    calls[0].send(b"too late")
    calls[0].finish(5, "too late")
    assert wire.out() == [] and told == ["closed"] and calls[0].closed
    wire.http.connection_lost(None)
    assert told == ["closed"]


@paper
def test_a_lost_connection_closes_its_calls():
    told = []
    wire = Wire(lambda call: setattr(call, "on_close", lambda: told.append(1))).started()
    for stream in (1, 3):
        wire.feed(frame(HEADERS, END_HEADERS, stream, ASK))
    wire.http.connection_lost(None)
    assert told == [1, 1] and wire.http.calls == 0


@paper
def test_a_call_that_has_ended_is_not_garbage_that_has_to_be_looked_for():
    """A service's callbacks hold the call, and the call them."""
    kept = []

    def serve(call):
        kept.append(weakref.ref(call))
        end = {1: call.reply, 3: lambda content: call.finish(5, "no"), 5: lambda content: None}
        call.on_message = lambda content: end[call._stream](content)

    gc.disable()
    try:
        wire = Wire(serve).started()
        for stream in (1, 3, 5):
            body = frame(DATA, END_STREAM, stream, message(b"hi"))
            wire.feed(frame(HEADERS, END_HEADERS, stream, ASK), body)
        assert [call() is None for call in kept] == [True, True, False]
        wire.feed(frame(RST_STREAM, 0, 5, U32(8)))
        assert kept[2]() is None
    finally:
        gc.enable()


def test_the_deadline_ends_a_call():
    async def scene():
        told = asyncio.Event()
        wire = Wire(lambda call: setattr(call, "on_close", told.set)).started()
        asked = block(*FIELDS, ("grpc-timeout", "1m"))
        wire.feed(frame(HEADERS, END_HEADERS | 0, 1, asked))
        await asyncio.wait_for(told.wait(), 5)
        (end, reset) = wire.out()
        assert b"context" in end[3] or end[1] & END_STREAM
        assert reset[0] == RST_STREAM and wire.http.calls == 0

    asyncio.run(scene())


@paper
def test_close_lets_calls_end_and_takes_no_more():
    calls = []
    wire = Wire(calls.append).started()
    wire.feed(frame(HEADERS, END_HEADERS, 1, ASK))
    wire.http.close()
    out = wire.feed(frame(HEADERS, END_HEADERS, 3, ASK), frame(DATA, 1, 3, message(b"x")))
    assert [(f[0], f[3]) for f in out] == [(GOAWAY, U32(1) + U32(0))]
    assert len(calls) == 1 and not wire.paper.closed
    calls[0].reply(b"done")
    assert wire.paper.closed and data_of(frames(wire.paper.take()), 1) == message(b"done")


@paper
def test_nothing_is_written_after_the_end():
    calls = []
    wire = Wire(calls.append).started()
    wire.feed(frame(HEADERS, END_HEADERS, 1, ASK))
    assert ended_with(wire.feed(frame(PING, 0, 0, b"short")), 6)
    calls[0].send(b"anybody there?")
    assert wire.out() == []
    wire.http.connection_lost(None)
    assert calls[0].closed


def test_an_idle_client_is_pinged_and_then_cut_off(caplog):
    async def scene():
        wire = Wire(keepalive_s=0.01, keepalive_timeout_s=0.01).started()
        pings, answered = [], 0
        while not wire.paper.closed:
            pings = [f for f in wire.out() if f[0] == PING]
            if pings and answered < 2:
                answered += 1
                wire.feed(frame(PING, ACK, 0, pings[0][3]))
            await asyncio.sleep(0.001)
        assert answered == 2
        wire.http.connection_lost(None)

    asyncio.run(asyncio.wait_for(scene(), 10))
    assert "no answer to a ping" in caplog.text


@paper
def test_other_requests_may_be_answered():
    def other(call):
        call.on_message = lambda part: call.respond(200, {"x-path": call.path}, part * 2)

    wire = Wire(other=other)
    client = h2_client(wire)
    fields = [*FIELDS[:4], ("content-type", "text/plain")]
    client.send_headers(1, fields)
    client.send_data(1, b"twice ", end_stream=True)
    events = exchange(wire, client)
    answer = fields_of(events, h2.events.ResponseReceived)
    assert answer[":status"] == "200" and answer["x-path"] == "/test/Echo"
    data = b"".join(e.data for e in events if isinstance(e, h2.events.DataReceived))
    assert data == b"twice twice "
    assert wire.http.calls == 0


# Refusals -------------------------------------------------------------------------------------


def h2_client(wire: Wire) -> h2.connection.H2Connection:
    client = h2.connection.H2Connection(
        h2.config.H2Configuration(client_side=True, header_encoding="utf-8")
    )
    client.initiate_connection()
    return client


def exchange(wire: Wire, client: h2.connection.H2Connection) -> list[h2.events.Event]:
    """Bytes to and fro until both are silent; what the client understood."""
    events = []
    while True:
        wire.http.data_received(client.data_to_send())
        wire.http._flush()
        answer = wire.paper.take()
        if not answer:
            return events
        events += client.receive_data(answer)


def fields_of(events: list, kind: type) -> dict[str, str]:
    return dict(next(e for e in events if type(e) is kind).headers)


def refusal(fields: list, body: bytes = b"", **more) -> dict[str, str]:
    """What h2 as a client sees of an answer that is headers alone."""
    wire = Wire(**more)
    client = h2_client(wire)
    client.send_headers(1, fields, end_stream=not body)
    if body:
        client.send_data(1, body, end_stream=True)
    events = exchange(wire, client)
    assert any(isinstance(e, h2.events.StreamEnded) for e in events)
    return fields_of(events, h2.events.ResponseReceived)


@paper
def test_messages_beyond_the_limit_are_refused_with_the_words_of_grpc():
    answer = refusal(FIELDS, message(bytes(11)), max_message_bytes=10)
    assert answer["grpc-status"] == "8"
    assert answer["grpc-message"] == "grpc: received message larger than max (11 vs. 10)"
    assert answer[":status"] == "200" and answer["content-type"] == "application/grpc"


@paper
def test_gzip_is_read_and_a_bomb_is_refused():
    packed = message(gzip.compress(b"squeezed"), 1)
    fields = [*FIELDS, ("grpc-encoding", "gzip")]
    wire = Wire()
    client = h2_client(wire)
    client.send_headers(1, fields)
    client.send_data(1, packed, end_stream=True)
    events = exchange(wire, client)
    data = b"".join(e.data for e in events if isinstance(e, h2.events.DataReceived))
    assert data == message(b"squeezed")
    bomb = message(gzip.compress(bytes(10**6)), 1)
    assert refusal(fields, bomb, max_message_bytes=10**5)["grpc-status"] == "8"
    assert refusal(fields, message(b"no gzip", 1))["grpc-status"] == "13"


@paper
@pytest.mark.parametrize(
    "change, body, wanted",
    [
        ({":method": "GET"}, b"", {":status": "405", "allow": "POST"}),
        ({"content-type": "application/grpc+json"}, b"", {":status": "415"}),
        ({"content-type": "text/html"}, b"", {":status": "415"}),
        ({"content-type": "application/grpc+proto"}, b"", {"grpc-status": "13"}),
        ({"grpc-timeout": "soon"}, b"", {"grpc-status": "13"}),
        (
            {"grpc-encoding": "br"},
            b"",
            {"grpc-status": "12", "grpc-accept-encoding": "identity,gzip"},
        ),
        ({}, message(b"x", 1), {"grpc-status": "13"}),
        ({}, message(b"x", 2), {"grpc-status": "13"}),
        ({}, message(b"xyz")[:-1], {"grpc-status": "13"}),
        ({}, b"", {"grpc-status": "13"}),
    ],
)
def test_what_is_no_grpc_is_refused(change, body, wanted):
    answer = refusal(list({**dict(FIELDS), **change}.items()), body)
    assert wanted.items() <= answer.items()


@paper
@pytest.mark.parametrize(
    "fields",
    [
        [*FIELDS[1:]],
        [*FIELDS, (":path", "/late")],
        [FIELDS[0], *FIELDS],
        [*FIELDS, ("Upper", "case")],
        [*FIELDS, ("connection", "close")],
        [*FIELDS, ("", "nameless")],
        [*FIELDS, ("line", "a\nb")],
        [(":other", "x"), *FIELDS],
        [*FIELDS[:-1], ("te", "gzip")],
    ],
)
def test_malformed_requests_are_reset_and_the_connection_lives(fields):
    assert read_request([(n.encode(), v.encode()) for n, v in fields]).malformed
    wire = Wire().started()
    assert resets(wire.feed(frame(HEADERS, END_HEADERS, 1, block(*fields)))) == [(1, 1)]
    again = frame(HEADERS, END_HEADERS, 3, ASK) + frame(DATA, END_STREAM, 3, message(b"hi"))
    assert data_of(wire.feed(again), 3) == message(b"hi")


@paper
def test_more_streams_than_announced_are_refused():
    wire = Wire(lambda call: None, max_streams=2).started()
    out = wire.feed(*[frame(HEADERS, END_HEADERS, s, ASK) for s in (1, 3, 5)])
    assert resets(out) == [(5, 7)] and wire.http.calls == 2


OPEN = frame(HEADERS, END_HEADERS, 1, ASK)
BROKEN = {
    "no SETTINGS first": (PREFACE + frame(PING, 0, 0, bytes(8)), 1),
    "no HTTP/2": (b"GET / HTTP/1.1\r\n\r\n" + bytes(40), 1),
    "a frame too long": (START + HEAD.pack(16385 << 8, 0, 1), 6),
    "SETTINGS of 5 bytes": (START + frame(SETTINGS, 0, 0, bytes(5)), 6),
    "an ACK with content": (START + frame(SETTINGS, ACK, 0, bytes(6)), 6),
    "SETTINGS on a stream": (START + frame(SETTINGS, 0, 1), 1),
    "push neither 0 nor 1": (START + frame(SETTINGS, 0, 0, struct.pack(">HI", 2, 2)), 1),
    "a window too large": (START + frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 2**31)), 3),
    "frames too small": (START + frame(SETTINGS, 0, 0, struct.pack(">HI", 5, 16383)), 1),
    "PING of 7 bytes": (START + frame(PING, 0, 0, bytes(7)), 6),
    "PING on a stream": (START + frame(PING, 0, 1, bytes(8)), 1),
    "a push": (START + frame(PUSH_PROMISE, 4, 1, bytes(4)), 1),
    "a continuation of nothing": (START + frame(CONTINUATION, 4, 1, ASK), 1),
    "an interrupted block": (START + frame(HEADERS, 0, 1, ASK) + frame(PING, 0, 0, bytes(8)), 1),
    "an even stream": (START + frame(HEADERS, 4, 2, ASK), 1),
    "data on an idle stream": (START + frame(DATA, 0, 5, b""), 1),
    "data on stream 0": (START + frame(DATA, 0, 0, b""), 1),
    "a reset of an idle stream": (START + frame(RST_STREAM, 0, 5, bytes(4)), 1),
    "a window for nothing": (START + frame(WINDOW_UPDATE, 0, 0, U32(0)), 1),
    "a window that overflows": (START + frame(WINDOW_UPDATE, 0, 0, U32(2**31 - 1)), 3),
    "WINDOW_UPDATE of 3 bytes": (START + frame(WINDOW_UPDATE, 0, 0, bytes(3)), 6),
    "headers after the end": (START + UNARY + OPEN, 5),
    "padding beyond the frame": (START + OPEN + frame(DATA, PADDED, 1, b"\x05abc"), 1),
    "no header block": (START + frame(HEADERS, 4, 1, b"\xff\xff\xff\xff\xff\xff"), 9),
    "an unknown index": (START + frame(HEADERS, 4, 1, b"\xfe"), 9),
    "a cut off field": (START + frame(HEADERS, 4, 1, b"\x40\x05ab"), 9),
}


@paper
@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_protocol_ends_the_connection_with_its_code(name, caplog):
    story, code = BROKEN[name]
    wire = Wire()
    out = wire.feed(story)
    assert ended_with(out, code), out
    assert wire.paper.closed and "HTTP/2 connection from" in caplog.text
    assert wire.feed(START, UNARY) == [], "nothing is heard any more"


@paper
@pytest.mark.parametrize(
    "late, wanted",
    [
        (frame(WINDOW_UPDATE, 0, 1, U32(0)), [(1, 1)]),
        (frame(WINDOW_UPDATE, 0, 1, U32(2**31 - 1)), [(1, 3)]),
        (frame(HEADERS, END_HEADERS, 1, ASK), [(1, 1)]),  # trailers that do not end
        (frame(DATA, END_STREAM, 1, b"") + frame(DATA, 0, 1, b"x"), [(1, 5)]),
    ],
)
def test_some_errors_cost_the_stream_alone(late, wanted):
    def open_call(call):
        call.on_end = lambda: None

    wire = Wire(open_call).started()
    assert resets(wire.feed(OPEN, late)) == wanted and not wire.paper.closed


@paper
def test_late_frames_of_streams_that_we_ended_are_ignored():
    wire = Wire(lambda call: call.finish(5, "no")).started()
    out = wire.feed(OPEN)
    assert resets(out) == [(1, 0)], "the client need not send the rest"
    late = [frame(DATA, 1, 1, b"x"), frame(WINDOW_UPDATE, 0, 1, U32(1)), frame(3, 0, 1, U32(8))]
    assert wire.feed(*late) == []


@paper
@pytest.mark.parametrize(
    "nuisance",
    [
        lambda n: frame(PING, 0, 0, bytes(8)),
        lambda n: frame(SETTINGS),
        lambda n: frame(HEADERS, 4, 2 * n + 3, ASK) + frame(RST_STREAM, 0, 2 * n + 3, U32(8)),
        lambda n: frame(DATA, 0, 1, b""),
    ],
    ids=["ping", "settings", "rapid reset", "empty data"],
)
def test_floods_are_cut_off(nuisance, monkeypatch):
    monkeypatch.setattr(http2, "PATIENCE", 100)
    monkeypatch.setattr(http2, "PATIENCE_PER_S", 0.0)
    wire = Wire(lambda call: None).started()
    out = wire.feed(OPEN, *[nuisance(n) for n in range(99)])
    assert not wire.paper.closed
    out = wire.feed(*[nuisance(n) for n in range(99, 105)])
    assert ended_with(out, 11) and wire.paper.closed


@paper
def test_a_header_block_without_end_is_cut_off():
    wire = Wire().started()
    wire.feed(frame(HEADERS, 0, 1, ASK))
    out = wire.feed(*[frame(CONTINUATION, 0, 1, bytes(16384))] * 5)
    assert ended_with(out, 11)


@paper
@pytest.mark.parametrize("seed", range(200))
def test_random_frames_never_raise(seed, caplog):
    """pytest tests/live/test_http2.py -k "never_raise and SEED" replays one."""
    caplog.set_level(logging.CRITICAL)
    rng = random.Random(seed)
    wire = Wire(lambda call: setattr(call, "on_message", call.send)).started()
    bodies = [b"", ASK, bytes(4), bytes(5), bytes(6), bytes(8), message(b"hello"), U32(70000)]
    for _ in range(60):
        if rng.random() < 0.1:
            piece = rng.randbytes(rng.randrange(60))
        else:
            kind, flags = rng.randrange(11), rng.choice((0, 1, 4, 5, 8, 0x20, 0x2D, 255))
            body = rng.choice(bodies) if rng.random() < 0.8 else rng.randbytes(rng.randrange(40))
            piece = frame(kind, flags, rng.choice((0, 1, 1, 3, 5, 7, 2)), body)
        out = wire.feed(piece)
        if wire.paper.closed:
            assert out[-1][0] == GOAWAY and struct.unpack_from(">I", out[-1][3], 4)[0] != 2
            break
    wire.http.connection_lost(None)
    assert wire.http.calls == 0 and wire.http._queued == 0


# Others' clients ------------------------------------------------------------------------------


@paper
@pytest.mark.parametrize("table_size", [0, 64, 4096, 65536])
def test_h2_understands_us_whatever_its_table(table_size):
    wire = Wire()
    client = h2_client(wire)
    client.update_settings({h2.settings.SettingCodes.HEADER_TABLE_SIZE: table_size})
    for stream in (1, 3, 5):
        fields = [*FIELDS, ("grpc-timeout", f"{stream}H")]  # changes the table each time
        client.send_headers(stream, fields)
        client.send_data(stream, message(b"hello %d" % stream), end_stream=True)
        events = exchange(wire, client)
        assert fields_of(events, h2.events.ResponseReceived)[":status"] == "200"
        assert fields_of(events, h2.events.TrailersReceived) == {"grpc-status": "0"}
        data = b"".join(e.data for e in events if isinstance(e, h2.events.DataReceived))
        assert data == message(b"hello %d" % stream)
    wire.http.connection_lost(None)


@paper
def test_a_known_block_is_forgotten_when_the_table_changes():
    paths = []
    wire = Wire(lambda call: paths.append(call.metadata.get("a"))).started()
    client = block(*FIELDS)
    add = lambda value: b"\x40\x01a" + bytes((len(value),)) + value  # noqa: E731
    wire.feed(frame(HEADERS, 5, 1, client + add(b"one")))
    wire.feed(frame(HEADERS, 5, 3, client + b"\xbe"), frame(HEADERS, 5, 5, client + b"\xbe"))
    wire.feed(frame(HEADERS, 5, 7, client + add(b"two")))
    wire.feed(frame(HEADERS, 5, 9, client + b"\xbe"))
    assert paths == ["one", "one", "one", "two", "two"]


def service(call) -> None:
    match call.path:
        case "/test/Echo":
            call.on_message = lambda content: call.reply(content)
        case "/test/Talk":
            call.on_message = lambda content: call.send(content)
            call.on_end = lambda: call.finish()
        case "/test/Fail":
            call.on_message = lambda content: call.finish(5, "kéine 100% Antwort\n")


def with_grpc(scene: Callable[[grpc.Channel], None], open_call=service) -> None:
    """Run `scene` with a channel of grpcio against a server in this process."""

    async def run() -> None:
        loop = asyncio.get_running_loop()
        open_now: set[Http2] = set()

        def connection() -> Http2:
            http = Http2(open_call, on_lost=open_now.discard)
            open_now.add(http)
            return http

        server = await loop.create_server(connection, "127.0.0.1", 0)
        target = "127.0.0.1:%d" % server.sockets[0].getsockname()[1]

        def client() -> None:
            options = [("grpc.max_receive_message_length", -1), ("grpc.enable_http_proxy", 0)]
            with grpc.insecure_channel(target, options) as channel:
                scene(channel)

        await asyncio.wait_for(asyncio.to_thread(client), 60)
        server.close()
        while open_now:
            await asyncio.sleep(0.001)

    asyncio.run(run())


def test_grpcio_large_and_small_and_both_ways():
    def scene(channel):
        echo_call = channel.unary_unary("/test/Echo")
        large = os.urandom(1_500_000)
        for content in (b"", b"x", bytes(70000), large):
            assert echo_call(content, timeout=30) == content
            assert echo_call(content, timeout=30, compression=grpc.Compression.Gzip) == content
        talk = channel.stream_stream("/test/Talk")
        contents = [b"a", b"", large, b"b" * 100_000, b"c"]
        assert list(talk(iter(contents), timeout=30)) == contents

    with_grpc(scene)


def test_grpcio_sees_code_and_text():
    def scene(channel):
        with pytest.raises(grpc.RpcError) as error:
            channel.unary_unary("/test/Fail")(b"x", timeout=30)
        assert error.value.code() == grpc.StatusCode.NOT_FOUND
        assert error.value.details() == "kéine 100% Antwort\n"

    with_grpc(scene)


def test_a_thousand_calls_of_grpcio_at_once():
    waiting = []

    def open_call(call):
        def ask(content):
            waiting.append((call, content))
            if len(waiting) == 1000:  # nobody is answered before all have asked
                for other, said in waiting:
                    other.reply(said)

        call.on_message = ask

    def scene(channel):
        call = channel.unary_unary("/test/Echo")
        answers = [call.future(b"%d" % n, timeout=50) for n in range(1000)]
        assert [answer.result() for answer in answers] == [b"%d" % n for n in range(1000)]

    with_grpc(scene, open_call)


def test_grpcio_cancels_and_runs_out_of_time():
    began, closed = [], []

    def open_call(call):
        began.append(call)
        call.on_message = lambda content: call.send(content)
        call.on_close = lambda: closed.append(call)

    def scene(channel):
        talk = channel.stream_stream("/test/Talk")(iter([b"first"]), timeout=30)
        assert next(talk) == b"first"
        talk.cancel()
        with pytest.raises(grpc.RpcError) as error:
            channel.unary_unary("/test/Hang")(b"", timeout=0.05)
        assert error.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED

    with_grpc(scene, open_call)
    assert len(began) == 2 and set(closed) == set(began)


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_curl_is_told_that_this_is_grpc():
    async def scene() -> str:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Http2(echo), "127.0.0.1", 0)
        url = "http://127.0.0.1:%d/health" % server.sockets[0].getsockname()[1]
        words = ["curl", "-s", "-m", "20", "--noproxy", "*", "--http2-prior-knowledge", url]
        done = await asyncio.to_thread(subprocess.run, words, capture_output=True, text=True)
        server.close()
        if done.returncode == 2:
            pytest.skip("this curl speaks no HTTP/2")
        return done.stdout

    assert asyncio.run(scene()).startswith("this is a gRPC service")
