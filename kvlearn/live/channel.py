"""How a client's requests get to real members: over gRPC, to kvlearn's own or to a real etcd.

```
client = connect("127.0.0.1:2379")                 # reads, watches
client = connect("127.0.0.1:2379", write=True)     # and writes
```

The channel does what `kvlearn/sim/channel.py` does for a simulated cluster, and whoever uses the
client sees no difference: a call goes to one endpoint, once; a watch goes on elsewhere when its
member fails; a lease is kept alive in the background.

A write leaves at most once. Without an answer nobody knows what became of it: `TimedOut`.

Source: etcd client/v3 (client.go, retry_interceptor.go, maintenance.go, op.go). Differs: a client
only reads unless it is told otherwise; members are named, not numbered.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import wraps
from itertools import count
from pathlib import Path
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

from kvlearn.errors import (
    MemberNotFound,
    ReadOnly,
    RequestError,
    StorageError,
    Unavailable,
    WatchCanceled,
)  # fmt: skip
from kvlearn.kv.kinds import repeatable
from kvlearn.kv.leases import LeaseKeepAlive
from kvlearn.kv.members import MemberList, MemberPromote, MemberRemove, MoveLeader
from kvlearn.kv.requests import Answer
from kvlearn.kv.upkeep import (
    Alarm,
    AlarmResult,
    Defragment,
    DefragmentResult,
    SnapshotState,
    Status,
)  # fmt: skip
from kvlearn.kv.watches import WatchCreate
from kvlearn.live.client_streams import Keeper, Stream
from kvlearn.live.client_wire import PATHS, header_of, message_of, result_of
from kvlearn.live.connections import Connections, grpc
from kvlearn.mvcc.watch import WatchResponse

PORT = 2379  # etcd's
SUM_BYTES = 32  # of the SHA-256 behind a snapshot
CHUNK_S = 10.0  # between two parts of a snapshot
IN_MEMORY_BYTES = 1 << 24  # a larger snapshot waits in a file
REMEMBERED = 1000  # streams that were closed: recipes open and close many
_names = (f"c{number}" for number in count(1))


def brief(waits: Callable) -> Callable:
    """Ctrl-C ends the wait, and tells only who waited, not how gRPC and the threads do it: their
    frames would hold the call, too."""

    @wraps(waits)
    def waits_briefly(*args: Any, **named: Any) -> Any:
        __tracebackhide__ = True  # notebooks and pytest leave this frame out
        try:
            return waits(*args, **named)
        except KeyboardInterrupt as interrupt:
            raise interrupt.with_traceback(None) from None

    return waits_briefly


class GrpcChannel:
    """A channel to members that listen at `endpoints`."""

    def __init__(self, connections: Connections, write: bool = False, try_s: float = 1.0):
        self.name = next(_names)
        self.endpoints = connections.endpoints
        self.try_s = try_s  # so long may a read take at one endpoint
        self._connections = connections
        self._write = write
        self._streams: dict[str, Stream] = {}
        self._opened = count(1)
        self._ended: deque[str] = deque()  # streams that were closed, and are still known
        self._keeper = Keeper(connections)

    def now(self) -> float:
        """Seconds, of a clock that never goes back."""
        return monotonic()

    @brief
    def wait(self, seconds: float) -> None:
        """Sleep; a client that is closed wakes up."""
        self._connections.closed.wait(max(seconds, 0.0))

    # Calls ------------------------------------------------------------------------------------

    @brief
    def call(self, endpoint: str, request: Any, timeout_s: float) -> Answer:
        """One try. Raises: ReadOnly before anything is sent, RequestError."""
        self._may(request)
        match request:
            case SnapshotState():
                return Answer(0, result=self._snapshot(endpoint, timeout_s))
            case LeaseKeepAlive():
                ask = self._connections.ask_one
                message = ask(endpoint, PATHS[LeaseKeepAlive], message_of(request), timeout_s)
                return Answer(0, header_of(message), result_of(request, message))
            case Alarm("deactivate", member, alarm) if not (member and alarm):
                return self._disarm(endpoint, request, timeout_s)
            case Defragment():
                return self._defragment(endpoint, timeout_s)
            case MemberRemove(name) | MemberPromote(name):
                return self._ask(endpoint, request, timeout_s, self._number(endpoint, name))
            case MoveLeader(name):
                return self._move_leader(endpoint, request, timeout_s)
        return self._ask(endpoint, request, timeout_s)

    def _may(self, request: Any) -> None:
        if self._write:
            return
        harmless = repeatable(request) and not isinstance(request, LeaseKeepAlive)
        if not harmless:
            raise ReadOnly(hint=f"{request}: to write, connect(..., write=True)")

    def _ask(self, endpoint: str, request: Any, timeout_s: float, member: int = 0) -> Answer:
        sent, certain = message_of(request, member), repeatable(request)
        message = self._connections.ask(endpoint, PATHS[type(request)], sent, timeout_s, certain)
        return Answer(0, header_of(message), result_of(request, message))

    def _number(self, endpoint: str, name: Any) -> int:
        """The number of the member of that name, number (as etcdctl writes it) or peer URL.

        Raises: MemberNotFound.
        """
        if isinstance(name, int):
            return name
        members = self._ask(endpoint, MemberList(), self.try_s).result.members
        for member in members:
            if name in (member.name, f"{member.id:x}", *member.peer_urls):
                return member.id
        known = ", ".join(f"{member.name or '(not started)'} {member.id:x}" for member in members)
        raise MemberNotFound(hint=f"the members are {known}")

    def _move_leader(self, endpoint: str, request: MoveLeader, timeout_s: float) -> Answer:
        number = self._number(endpoint, request.target)
        try:
            return self._ask(endpoint, request, timeout_s, number)
        except RequestError as error:
            if error.text != "etcdserver: not leader":
                raise
        raise Unavailable("etcdserver: not leader", f"{endpoint} does not lead; give more")

    def _disarm(self, endpoint: str, request: Alarm, timeout_s: float) -> Answer:
        """etcd wants a member and a kind; what is left open here stands for all."""
        answer = self._ask(endpoint, Alarm(), timeout_s)
        ended: tuple = ()
        for member, kind in answer.result.alarms:
            if request.member in (0, member) and request.alarm in ("", kind):
                one = replace(request, member=member, alarm=kind)
                answer = self._ask(endpoint, one, timeout_s)
                ended += answer.result.alarms
        return replace(answer, result=AlarmResult(ended))

    def _defragment(self, endpoint: str, timeout_s: float) -> Answer:
        before = self._ask(endpoint, Status(), self.try_s).result.db_bytes
        answer = self._ask(endpoint, Defragment(), timeout_s)
        after = self._ask(endpoint, Status(), self.try_s).result.db_bytes
        return replace(answer, result=DefragmentResult(max(before - after, 0)))

    def _snapshot(self, endpoint: str, timeout_s: float) -> SnapshotFile:
        """Raises: StorageError if what came does not fit its sum, RequestError."""
        message, path = message_of(SnapshotState()), PATHS[SnapshotState]
        call, _ = self._connections.open(endpoint, path, message, timeout_s)
        patience, received = Patience(call), SnapshotFile(endpoint)
        try:
            for part in self._connections.hear(endpoint, call, endless=False):
                patience.again()
                received.add(part.blob)
        finally:
            patience.end()
            call.cancel()
        if not received.fits:
            raise StorageError(f"the snapshot of {endpoint} arrived damaged: its sum does not fit")
        return received

    # Streams and leases -----------------------------------------------------------------------

    @brief
    def open_stream(self, endpoint: str, request: WatchCreate | None = None) -> str:
        """A watch stream; with a WatchCreate it is one watch, resumed when its member fails."""
        self._connections.check()
        name = f"{self.name}/w{next(self._opened)}"
        stream = self._streams[name] = Stream(self._connections, name, endpoint, request)
        stream.await_created()
        return name

    @brief
    def ask_stream(self, stream: str, request: Any) -> None:
        """Send a WatchCreate, WatchCancel or WatchProgress."""
        if self.stream_error(stream) is None:
            self._streams[stream].ask(request)
            self._streams[stream].await_created()

    def close_stream(self, stream: str) -> None:
        """Nothing more is wanted; what came can be read for a while yet."""
        known = self._streams.get(stream)
        if known is None:
            return
        known.close()
        self._ended.append(stream)
        if len(self._ended) > REMEMBERED:
            self._streams.pop(self._ended.popleft(), None)

    def hold_stream(self, stream: str, held: bool) -> None:
        """Read nothing from the stream for a while, or read again."""
        if known := self._streams.get(stream):
            known.hold(held)

    def received(self, stream: str) -> list[WatchResponse]:
        """All that the stream has brought so far; it grows while it is looked at."""
        known = self._streams.get(stream)
        return known.responses if known else []

    def stream_error(self, stream: str) -> RequestError | None:
        """Why the stream brings nothing more."""
        known = self._streams.get(stream)
        return known.why if known else WatchCanceled("closed")

    @brief
    def wait_stream(self, stream: str, count: int, timeout_s: float) -> None:
        """Wait until more than `count` answers came. Raises: TimedOut."""
        if known := self._streams.get(stream):
            known.wait(count, timeout_s)

    def keep(self, lease: int, endpoint: str, every_s: float) -> None:
        """Keep a lease alive until `unkeep`. Raises: ReadOnly."""
        self._may(LeaseKeepAlive(lease))
        self._connections.check()
        self._keeper.keep(lease, endpoint, every_s)

    def unkeep(self, lease: int) -> None:
        """Let a lease run out."""
        self._keeper.unkeep(lease)

    def keeps(self, lease: int) -> bool:
        """Whether the lease is being kept alive."""
        return self._keeper.keeps(lease)

    def close(self) -> None:
        """The client is gone, with its streams; its leases run out."""
        self._keeper.unkeep()
        for stream in list(self._streams.values()):
            stream.close(WatchCanceled(hint="the client is gone"))
        self._connections.close()


class Patience:
    """Cancels a stream when nothing has come for too long."""

    def __init__(self, call: Any, seconds: float = CHUNK_S):
        self._call, self._seconds = call, seconds
        self._came, self._over = threading.Event(), False
        threading.Thread(target=self._watch, daemon=True).start()

    def again(self) -> None:
        """Something came."""
        self._came.set()

    def end(self) -> None:
        """Nothing more is awaited."""
        self._over = True
        self._came.set()

    def _watch(self) -> None:
        while not self._over:
            if not self._came.wait(self._seconds):
                self._call.cancel()
                return
            self._came.clear()


class SnapshotFile:
    """A member's whole state as it sends it: of an etcd, its database file. The last 32 bytes are
    the SHA-256 of all before them, and stay: `etcdctl snapshot restore` looks at them."""

    def __init__(self, endpoint: str):
        self._endpoint = endpoint
        self._file = tempfile.SpooledTemporaryFile(IN_MEMORY_BYTES)
        self._sum = hashlib.sha256()
        self._tail = b""

    def add(self, part: bytes) -> None:
        """The next part."""
        self._file.write(part)
        known, self._tail = (self._tail + part)[:-SUM_BYTES], (self._tail + part)[-SUM_BYTES:]
        self._sum.update(known)

    @property
    def fits(self) -> bool:
        """Whether its end is the sum of what was before it."""
        return self._tail == self._sum.digest()

    def save(self, path: str | Path) -> int:
        """Write it into a file, all or nothing; its bytes."""
        part = Path(f"{path}.part")
        self._file.seek(0)
        with open(part, "wb") as file:
            shutil.copyfileobj(self._file, file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        return Path(path).stat().st_size

    def __str__(self) -> str:
        return f"snapshot of {self._endpoint}"


# Endpoints ----------------------------------------------------------------------------------


def open_channel(
    endpoints: str | Iterable[str],
    write: bool = False,
    user: str | None = None,
    password: str | None = None,
    ca_file: str | None = None,
    cert_file: str | None = None,
    key_file: str | None = None,
    timeout_s: float = 5.0,
) -> GrpcChannel:
    """A channel to `endpoints`; see `kvlearn.connect`. Raises: ValueError, OSError."""
    names, secure = addresses(endpoints)
    if secure is None:
        secure = bool(ca_file or cert_file)
    if not secure and (ca_file or cert_file or key_file):
        raise ValueError("http:// is in the clear; with certificates write https://")
    if (cert_file is None) != (key_file is None):
        raise ValueError("a certificate and its key belong together: cert_file= and key_file=")
    if (user is None) != (password is None):
        raise ValueError("who are you? user= and password= belong together")
    credentials = None
    if secure:
        files = (ca_file, key_file, cert_file)
        given = (Path(name).read_bytes() if name else None for name in files)
        credentials = grpc.ssl_channel_credentials(*given)
    connections = Connections(names, credentials, user or "", password or "")
    try_s = timeout_s if len(names) == 1 else max(timeout_s / len(names), 1.0)
    return GrpcChannel(connections, write, try_s)


def addresses(endpoints: str | Iterable[str]) -> tuple[tuple[str, ...], bool | None]:
    """`host:port` of each endpoint, and whether their URLs ask for TLS (None: they say nothing).

    >>> addresses("127.0.0.1:2379, localhost")
    (('127.0.0.1:2379', 'localhost:2379'), None)
    >>> addresses(["https://a:1", "https://[::1]:2"])
    (('a:1', '[::1]:2'), True)

    Raises: ValueError.
    """
    if isinstance(endpoints, str):
        endpoints = endpoints.split(",")
    elif not isinstance(endpoints, Iterable):
        raise ValueError(f"an endpoint is a text, such as '127.0.0.1:2379', not {endpoints!r}")
    found: dict[str, bool | None] = {}
    for endpoint in endpoints:
        text = str(endpoint).strip()
        scheme, sign, rest = text.rpartition("://")
        parts = urlsplit(f"//{rest}")
        if not parts.hostname or scheme not in ("", "http", "https") or parts.path.strip("/"):
            raise ValueError(f"an endpoint is host:port or a URL like https://host:port: {text!r}")
        try:
            port = parts.port or PORT
        except ValueError:
            raise ValueError(f"a port is a number from 1 to 65535: {text!r}") from None
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        found[f"{host}:{port}"] = scheme == "https" if sign else None
    if not found:
        raise ValueError("whom to ask? Name an endpoint, like 127.0.0.1:2379")
    if len(schemes := set(found.values())) > 1:
        raise ValueError(f"either all endpoints speak TLS or none: {', '.join(found)}")
    return tuple(found), schemes.pop()
