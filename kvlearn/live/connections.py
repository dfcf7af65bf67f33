"""A client's connections: one to each endpoint, and the token that says who asks.

```
   Client ── GrpcChannel ─┬─ Connections ─┬── 127.0.0.1:2379   answers
   Watcher ─ Stream ──────┤               ├── 127.0.0.1:2381   refused; tried again soon
   Lease ─── Keeper ──────┘               └── 127.0.0.1:2383   not needed yet
```

A request leaves only for an endpoint that has answered. What fails before that was not done, and
may be asked of another endpoint; what fails after it may have been done. Where no endpoint has a
host that anybody knows, waiting helps nobody: it is told at once.

Source: etcd client/v3/client.go (dial, getToken).
Differs: etcd's client lets gRPC balance between endpoints; here the client names the one it asks.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Iterator
from time import monotonic
from typing import Any
from weakref import WeakSet

# What gRPC logs, the errors say; and it need not survive a fork, which starting a process is.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

import grpc  # noqa: E402  (reads these when it is loaded)

from kvlearn.errors import ClientGone, RequestError, Stopped, TimedOut, Unavailable  # noqa: E402
from kvlearn.kv.upkeep import Status  # noqa: E402
from kvlearn.live.client_wire import (  # noqa: E402
    AUTHENTICATE,
    LOST,
    NO_CONNECTION,
    NO_HOST,
    PATHS,
    error_of,
)  # fmt: skip
from kvlearn.live.proto import rpc_pb2 as rpc  # noqa: E402

CONNECT_S = 2.0  # for a connection to come about; on one machine it takes a millisecond
OPTIONS = [
    ("grpc.max_receive_message_length", -1),  # an answer is as long as it is
    ("grpc.max_send_message_length", -1),  # the server says what is too long
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1000),  # this long may one attempt take
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.use_local_subchannel_pool", 1),  # clients share no connection
    ("grpc.service_config_disable_resolution", 1),
    ("grpc.enable_retries", 0),  # whether to ask twice is decided here
    ("grpc.enable_http_proxy", 0),
    # Who is asked whether it is there while something is awaited; etcd allows that every 5 s.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 3_000),
    ("grpc.http2.max_pings_without_data", 0),
]
STALE = (  # the token is unknown there, or there was no need of one before
    "etcdserver: invalid auth token",
    "etcdserver: user name is empty",
    "etcdserver: revision of auth store is old",
)
STATUS = PATHS[Status]
NO_AUTH = "etcdserver: authentication is not enabled"
_open: WeakSet[Connections] = WeakSet()  # to be closed when Python ends: gRPC's threads would hang


@atexit.register
def _close_all() -> None:
    for connections in list(_open):
        connections.close()


class Connections:
    """Invariant: nothing is sent to an endpoint that is not known to answer."""

    def __init__(self, endpoints: tuple[str, ...], credentials: Any, user: str, password: str):
        """`credentials`: of gRPC, for TLS; None: in the clear."""
        self.endpoints = endpoints
        self.closed = threading.Event()
        self._credentials = credentials
        self._user, self._password = user, password
        self._token: str | None = None  # None: not asked for yet; "": they want none
        self._lock = threading.RLock()
        self._channels: dict[str, grpc.Channel] = {}
        self._methods: dict[tuple[str, str], Any] = {}
        self._answers: set[str] = set()  # endpoints that had a connection the last time
        self._nowhere: set[str] = set()  # endpoints whose host nobody knew the last time
        self._met = False  # whether any has ever answered: then its name was right once
        _open.add(self)

    def check(self) -> None:
        """Raises: ClientGone."""
        if self.closed.is_set():
            raise gone()

    def after(self, endpoint: str) -> str:
        """Whom to ask next."""
        at = self.endpoints.index(endpoint) + 1
        return self.endpoints[at % len(self.endpoints)]

    def ask(
        self, endpoint: str, path: str, message: Any, timeout_s: float, certain: bool = True
    ) -> Any:
        """Send one message and wait for one. `certain`: no harm in asking twice.

        Raises: RequestError.
        """
        give_up = monotonic() + timeout_s
        for last in (False, True):
            token = self._ready(endpoint, give_up)
            left = max(give_up - monotonic(), 0.001)
            try:
                return self._method(endpoint, path)(message, left, _metadata(token))
            except (grpc.RpcError, ValueError) as error:
                self._fail(endpoint, error, certain, token, last)

    def ask_one(self, endpoint: str, path: str, message: Any, timeout_s: float) -> Any:
        """The same over a stream that is opened for it. Raises: RequestError."""
        give_up = monotonic() + timeout_s
        for last in (False, True):
            left = max(give_up - monotonic(), 0.001)
            call, token = self.open(endpoint, path, iter((message,)), left, timeout_s=left)
            try:
                return next(call)
            except (grpc.RpcError, ValueError) as error:
                self._fail(endpoint, error, True, token, last)
            except StopIteration:
                raise Unavailable(hint=f"{endpoint} ended the stream without an answer") from None
            finally:
                call.cancel()

    def open(
        self,
        endpoint: str,
        path: str,
        requests: Any,
        connect_s: float = CONNECT_S,
        timeout_s: float | None = None,
        metadata: tuple = (),
    ) -> tuple[Any, str]:
        """Open a stream; the call, and the token that it was opened with. Raises: RequestError."""
        token = self._ready(endpoint, monotonic() + connect_s)
        try:
            method = self._method(endpoint, path)
            return method(requests, timeout_s, (*_metadata(token), *metadata)), token
        except (grpc.RpcError, ValueError) as error:
            raise self.failure(endpoint, error) from None

    def hear(self, endpoint: str, call: Any, endless: bool = True) -> Iterator[Any]:
        """What a stream brings. Raises: RequestError when it is lost, as an `endless` one is when
        it ends."""
        try:
            yield from call
        except (grpc.RpcError, ValueError) as error:
            raise self.failure(endpoint, error) from None
        if endless:
            raise Stopped("etcdserver: no connection", f"{endpoint} has ended the stream")

    def failure(self, endpoint: str, error: Exception, certain: bool = True) -> RequestError:
        """What gRPC's error means to a client."""
        if self.closed.is_set():
            return gone()
        if not isinstance(error, grpc.RpcError):  # a ValueError: the channel was closed
            return Unavailable(hint=str(error))
        code, text = error.code().name, error.details() or ""
        found = error_of(code, text, certain)
        if not found.text.startswith("etcdserver: ") or isinstance(found, (TimedOut, Unavailable)):
            self._answers.discard(endpoint)  # perhaps; the next request looks first
        if found.hint:
            hint = f"{endpoint}: {found.hint}{self._scheme_hint(text)}"
            found = type(found)(found.text, hint)
        return found

    def refresh(self, endpoint: str, error: RequestError, token: str) -> bool:
        """Whether another token may help against this error: then it is asked for next time."""
        if not self._user or error.text not in STALE:
            return False
        with self._lock:
            if self._token == token:
                self._token = None
        return True

    def close(self) -> None:
        """End all connections."""
        self.closed.set()
        with self._lock:
            channels, self._channels = list(self._channels.values()), {}
            self._methods = {}
        for channel in channels:
            channel.close()

    # How -------------------------------------------------------------------------------------

    def _fail(self, endpoint: str, error: Exception, certain: bool, token: str, last: bool) -> None:
        found = self.failure(endpoint, error, certain)
        if last or not self.refresh(endpoint, found, token):
            raise found from None

    def _ready(self, endpoint: str, give_up: float) -> str:
        """Be connected, and known by name; the token. Raises: RequestError."""
        self.check()
        if endpoint not in self._answers:
            self._connect(endpoint, give_up)
        if not self._user:
            return ""
        with self._lock:
            if self._token is None:
                self._token = self._authenticate(endpoint, give_up)
            return self._token

    def _connect(self, endpoint: str, give_up: float) -> None:
        """See whether somebody answers there, with a question that changes nothing.

        Raises: Stopped, RequestError if there is no use in asking again.
        """
        left = max(min(give_up - monotonic(), CONNECT_S), 0.001)
        try:
            self._method(endpoint, STATUS)(rpc.StatusRequest(), left)
        except (grpc.RpcError, ValueError) as error:
            found = self.failure(endpoint, error)
            if NO_HOST in found.hint:
                raise self._lost_names(endpoint, found) from None
            if isinstance(found, TimedOut):
                hint = f"{endpoint}: nobody answers within {left:.1f} s"
                raise Stopped(NO_CONNECTION, hint) from None
            if isinstance(found, (Stopped, ClientGone)) or LOST in found.hint:
                raise found from None
        self._answers.add(endpoint)  # and be it with a refusal
        self._nowhere.discard(endpoint)
        self._met = True

    def _lost_names(self, endpoint: str, found: RequestError) -> RequestError:
        """Nobody knows this endpoint's host. If it is so with all, and always was, the names are
        wrong: an error after which nobody tries again."""
        self._nowhere.add(endpoint)
        if self._met or len(self._nowhere) < len(self.endpoints):
            return found
        error = RequestError(found.text, f"{', '.join(self.endpoints)}: {NO_HOST}")
        error.code = found.code
        return error

    def _authenticate(self, endpoint: str, give_up: float) -> str:
        message = rpc.AuthenticateRequest(name=self._user, password=self._password)
        left = max(give_up - monotonic(), 0.001)
        try:
            return self._method(endpoint, AUTHENTICATE)(message, left).token
        except (grpc.RpcError, ValueError) as error:
            found = self.failure(endpoint, error)
        if found.text == NO_AUTH:
            return ""
        if isinstance(found, TimedOut):  # what was to be asked was not sent
            found = Unavailable(hint=f"{endpoint} does not say who {self._user} is: {found}")
        raise found

    def _channel(self, endpoint: str) -> grpc.Channel:
        with self._lock:
            self.check()
            if endpoint not in self._channels:
                self._channels[endpoint] = (
                    grpc.secure_channel(endpoint, self._credentials, OPTIONS)
                    if self._credentials
                    else grpc.insecure_channel(endpoint, OPTIONS)
                )
            return self._channels[endpoint]

    def _method(self, endpoint: str, path: str) -> Any:
        """gRPC's callable for a method; what it takes: message(s), seconds, metadata."""
        found = self._methods.get((endpoint, path))
        if found is None:
            asked, answered, *streams = rpc.FILE.methods[path]
            channel = self._channel(endpoint)
            kinds = {
                (False, False): channel.unary_unary,
                (False, True): channel.unary_stream,
                (True, True): channel.stream_stream,
            }
            found = kinds[tuple(streams)](path, asked.SerializeToString, answered.FromString)
            self._methods[endpoint, path] = found
        return found

    def _scheme_hint(self, text: str) -> str:
        if "WRONG_VERSION_NUMBER" in text or "read failed (Socket closed" in text:
            return "; it does not speak TLS: write http:// and name no certificates"
        if "CERTIFICATE_VERIFY_FAILED" in text:
            return "; who signed its certificate? connect(..., ca_file=...)"
        plain = self._credentials is None and text.startswith("failed to connect")
        if plain and ("Socket closed" in text or "SETTINGS" in text or "http" in text):
            return "; it may speak TLS: write https:// and give ca_file=; or it is a peer port"
        # Once TLS stands, that is about certificates.
        refused = ("Socket closed", "Unwrap failed", "Connection reset")
        if self._credentials and any(word in text for word in refused):
            return "; does it ask for a certificate that it trusts? cert_file= and key_file="
        return ""


def _metadata(token: str) -> tuple:
    return (("token", token),) if token else ()


def gone() -> ClientGone:
    """The error of a client that was closed."""
    return ClientGone(hint="it was closed; connect again")
