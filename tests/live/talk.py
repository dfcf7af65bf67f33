"""Talks with a server, written down line by line, so that two servers can be compared.

    > KV/Put {"key": "a", "value": "1"}
    < {"header": 2}

A header that is complete is told by its revision; one with a revision and nothing else as "2 only",
an empty one as "empty". What differs from run to run (ids, sizes, hashes) is told as what it is.
`Ours` opens the services' handlers with a call of its own, `Theirs` is any server behind a port.
"""

from __future__ import annotations

import asyncio
import json
import queue
from hashlib import sha256

from kvlearn.live.codes import Code
from kvlearn.live.proto import rpc_pb2 as rpc

PATIENCE_S = 20
SHOWN = 12  # messages in a message
VARIES = {
    "StatusResponse": {"dbSize", "dbSizeInUse", "raftIndex", "raftAppliedIndex", "version"}
    | {"leader", "raftTerm"},
    "HashResponse": {"hash"},
    "HashKVResponse": {"hash"},
}
FILE = rpc.FILE
WATCH = "/etcdserverpb.Watch/Watch"
KEEP_ALIVE = "/etcdserverpb.Lease/LeaseKeepAlive"


def full(name: str) -> str:
    """The path of a method that is written as Service/Method."""
    return f"/etcdserverpb.{name}"


def told(message) -> str:
    """A message as one line."""
    return json.dumps(_plain(message))


def _plain(message) -> dict:
    out = {}
    varies = VARIES.get(message.DESCRIPTOR.name, ())
    for field, value in message.ListFields():
        if field.name == "header":
            out["header"] = _header(value)
        elif field.name in varies:
            out[field.name] = "some" if value else value
        elif field.message_type is not None:
            out[field.name] = _plain(value) if hasattr(value, "DESCRIPTOR") else _several(value)
        else:
            out[field.name] = _scalar(field, value)
    if getattr(message, "TTL", 0) > 0 and hasattr(message, "grantedTTL"):
        out["TTL"] = "some"
    return out


def _several(messages) -> list:
    if len(messages) <= SHOWN:
        return [_plain(one) for one in messages]
    return [_plain(messages[0]), f"{len(messages) - 1} more"]


def _scalar(field, value):
    if isinstance(value, bytes):
        return value.decode("latin-1") if len(value) <= 40 else f"{len(value)} bytes"
    if field.enum_type is not None and isinstance(value, int):
        known = field.enum_type.values_by_number
        return known[value].name if value in known else value
    if isinstance(value, (str, int)):
        return value
    return [_scalar(field, one) for one in value]


def _header(header) -> str | int:
    whole = bool(header.cluster_id and header.member_id and header.raft_term)
    if whole:
        return header.revision
    if header.cluster_id or header.member_id or header.raft_term:
        return f"{header.revision} partly"
    return f"{header.revision} only" if header.revision else "empty"


class Talk:
    """`ask` a unary method; `watch` and `hear` on a watch stream of one's own."""

    def __init__(self):
        self.lines: list[str] = []

    def ask(self, name: str, message) -> None:
        """One request and its answer, or its refusal."""
        self.lines.append(f"> {name} {told(message)}")
        code, text, answers = self._call(full(name), message)
        if code:
            self.lines.append(f"< {Code(code).name}: {text}")
        self.lines += [f"< {told(answer)}" for answer in answers]

    def put(self, key: bytes, value: bytes = b"", **more) -> None:
        """The most frequent request."""
        self.ask("KV/Put", rpc.PutRequest(key=key, value=value, **more))

    def get(self, key: bytes, **more) -> None:
        """The next."""
        self.ask("KV/Range", rpc.RangeRequest(key=key, **more))

    def delete(self, key: bytes, **more) -> None:
        """And the last of the frequent ones."""
        self.ask("KV/DeleteRange", rpc.DeleteRangeRequest(key=key, **more))

    def watch(self, **asked) -> None:
        """Send something on the watch stream: create_request=..., cancel_request=..."""
        message = rpc.WatchRequest(**asked)
        self.lines.append(f"> Watch {told(message)}")
        self._send(WATCH, message)

    def keep_alive(self, id: int) -> None:
        """Send something on the stream of keep-alives, and hear the answer."""
        self.lines.append(f"> LeaseKeepAlive {id}")
        self._send(KEEP_ALIVE, rpc.LeaseKeepAliveRequest(ID=id))
        self.lines.append(f"< {told(self._next(KEEP_ALIVE))}")

    def hear(self, count: int) -> None:
        """The next answers of the watch stream."""
        self.lines += [f"< {told(self._next(WATCH))}" for _ in range(count)]

    def quiet(self) -> None:
        """Nothing more has come: a progress request is what is answered next."""
        self.watch(progress_request=rpc.WatchProgressRequest())
        self.hear(1)

    def snapshot(self) -> None:
        """The snapshot stream in a few words."""
        code, text, parts = self._call(full("Maintenance/Snapshot"), rpc.SnapshotRequest())
        *data, sum = parts
        whole = b"".join(part.blob for part in data)
        left = [part.remaining_bytes for part in parts]
        size = len(whole)
        falls = [size := size - len(part.blob) for part in data]
        fits = sum.blob == sha256(whole).digest()
        multiple = len(whole) % 512 == 0
        told = f"snapshot: code {code}, sum fits {fits}, falls {left == [*falls, 0]}"
        self.lines.append(f"{told}, in blocks {multiple}, header {data[0].HasField('header')}")


class FakeCall:
    """A call that goes no further than to the services; see `kvlearn.live.method.Call`."""

    def __init__(self, path: str, **metadata: str):
        self.path, self.metadata = path, metadata
        self.sent: list[bytes] = []
        self.status: tuple[int, str] | None = None
        self.full = self.closed = False
        self.on_message = self.on_end = self.on_close = self.on_drain = lambda *given: None

    def send(self, message: bytes) -> None:
        """Kept until somebody looks."""
        assert not self.closed, "sent after the end"
        self.sent.append(message)

    def finish(self, code: int = 0, text: str = "") -> None:
        """The status."""
        if not self.closed:
            self.status, self.closed = (code, text), True

    def reply(self, message: bytes) -> None:
        """Message and status."""
        self.send(message)
        self.finish()


class Ours(Talk):
    """With services in this process; `loop` does not run but while something is waited for."""

    def __init__(self, loop: asyncio.AbstractEventLoop, services):
        super().__init__()
        self._loop, self.services = loop, services
        self._streams: dict[str, FakeCall] = {}

    def until(self, holds) -> None:
        """Let the loop run until `holds()`."""

        async def wait():
            async with asyncio.timeout(PATIENCE_S):
                while not holds():
                    await asyncio.sleep(0.001)

        self._loop.run_until_complete(wait())

    def open(self, path: str, **metadata: str) -> FakeCall:
        """A call that has begun."""
        call = FakeCall(path, **metadata)
        self.services.open(call)
        return call

    def _call(self, path, message):
        call = self.open(path)
        data = message.SerializeToString()
        limit = self.services.member.config.max_request_bytes + (512 << 10)
        if len(data) > limit:  # what the transport does
            text = f"grpc: received message larger than max ({len(data)} vs. {limit})"
            return Code.RESOURCE_EXHAUSTED, text, []
        call.on_message(data)
        call.on_end()
        self.until(lambda: call.status)
        return *call.status, list(map(FILE.methods[path][1].FromString, call.sent))

    def _send(self, path, message):
        if path not in self._streams:
            self._streams[path] = self.open(path)
        self._streams[path].on_message(message.SerializeToString())

    def _next(self, path):
        call = self._streams[path]
        self.until(lambda: call.sent or call.closed)
        return FILE.methods[path][1].FromString(call.sent.pop(0))


class Theirs(Talk):
    """With the server at `address`, by grpcio."""

    def __init__(self, address: str):
        import grpc

        super().__init__()
        self._grpc = grpc
        limits = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        self._channel = grpc.insecure_channel(address, limits)
        self._streams: dict[str, tuple] = {}

    def close(self) -> None:
        """Streams end with it."""
        for asked, call in self._streams.values():
            call.cancel()
        self._channel.close()

    def _call(self, path, message):
        request, response, _, many = FILE.methods[path]
        kind = self._channel.unary_stream if many else self._channel.unary_unary
        method = kind(path, request.SerializeToString, response.FromString)
        try:
            got = method(message, timeout=PATIENCE_S, wait_for_ready=True)
            return 0, "", list(got) if many else [got]
        except self._grpc.RpcError as error:
            return error.code().value[0], error.details(), []

    def _send(self, path, message):
        if path not in self._streams:
            asked: queue.Queue = queue.Queue()
            request, response, _, _ = FILE.methods[path]
            method = self._channel.stream_stream(
                path, request.SerializeToString, response.FromString
            )
            self._streams[path] = asked, method(iter(asked.get, None), timeout=3 * PATIENCE_S)
        self._streams[path][0].put(message)

    def _next(self, path):
        return next(self._streams[path][1])
