"""One port for gRPC and for plain HTTP: who it is says the first line.

```
 "PRI * HTTP/2.0" ──> Http2          gRPC clients, etcdctl
 "GET /health ..." ─> HTTP/1.1       curl, browsers, the JSON gateway
 0x16 0x03 ───────> a TLS handshake  on a port without TLS: said in the log, and closed
```

A connection starts with a small protocol that only looks; then the transport gets the right one
(`set_protocol`) and the bytes that came. HTTP/1.1 is made by a factory, so a server that
nobody asks for plain HTTP never loads its library.

With TLS, gRPC clients offer "h2" alone, and curl and browsers offer both: who has the choice is
given HTTP/1.1, which is where everything but gRPC is served.

Source: etcd server/embed/serve.go (one port for both), client/pkg/transport/listener.go (TLS:
a CA file makes client certificates a duty).
Differs: etcd looks at the content type of each HTTP/2 request, here the connection decides.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl as tls
from collections.abc import Callable
from typing import Any

from kvlearn.errors import KVLearnError
from kvlearn.live.http2 import Http2
from kvlearn.live.http2_call import Call
from kvlearn.live.http2_frames import PREFACE

BACKLOG = 1024
ACCEPT_AT_ONCE = 64  # then others have their turn
HANDSHAKE_S = 10.0  # for TLS
FIRST_BYTES_S = 60.0  # browsers open connections ahead of need
ABORT_S = 1.0  # for the loop to tell that a connection is cut off
ACCEPT_PAUSE_S = 0.2  # when the system has no more descriptors
CHOICE_BYTES = len(b"PRI * HTTP/2.0")
ALPN = ("http/1.1", "h2")

log = logging.getLogger(__name__)


class CannotListen(KVLearnError):
    """A port cannot be had; the text says which, why and what to do."""


class Port:
    """A port that serves. `host` and `port` are where; port 0 became a real one.

    Invariant: after `close`, nothing of it is open.
    """

    def __init__(
        self,
        sock: socket.socket,
        make_http2: Callable[[], Http2],
        http1_factory: Callable[[], asyncio.Protocol] | None,
        context: tls.SSLContext | None,
    ):
        self.host, self.port = sock.getsockname()[:2]
        self.tls = context is not None
        self._sock, self._context = sock, context
        self._make_http2, self._http1_factory = make_http2, http1_factory
        self._open: dict[asyncio.BaseTransport, Any] = {}  # to the protocol that has it
        self._handshakes: set[asyncio.Task] = set()
        self._loop = asyncio.get_running_loop()
        self._pause: asyncio.TimerHandle | None = None
        self._watch()

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http{'s' * self.tls}://{host}:{self.port}"

    @property
    def connections(self) -> int:
        """How many connections are open."""
        self._sweep()
        return len(self._open)

    async def close(self, grace_s: float = 5.0) -> None:
        """Accept nothing more, let calls end for so long, then cut off what is left."""
        if self._sock.fileno() < 0:
            return
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._sock)
        self._sock.close()
        for task in list(self._handshakes):
            task.cancel()
        await asyncio.gather(*self._handshakes, return_exceptions=True)
        for transport, protocol in list(self._open.items()):
            if isinstance(protocol, _FirstBytes):
                transport.close()
            else:
                protocol.close()
        await self._until_empty(grace_s)
        for transport in list(self._open):
            transport.abort()
        await self._until_empty(ABORT_S)

    async def _until_empty(self, at_most_s: float) -> None:
        until = self._loop.time() + at_most_s
        while self.connections and self._loop.time() < until:
            await asyncio.sleep(0.005)

    def _watch(self) -> None:
        self._loop.add_reader(self._sock, self._accept)

    def _accept(self) -> None:
        """Take what waits; a callback, so no connection is lost when the port closes."""
        for _ in range(ACCEPT_AT_ONCE):
            try:
                sock, peer = self._sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                log.error("%s cannot accept: %s", self, error)
                self._loop.remove_reader(self._sock)
                self._pause = self._loop.call_later(ACCEPT_PAUSE_S, self._watch)
                return
            task = self._loop.create_task(self._welcome(sock, peer))
            self._handshakes.add(task)
            task.add_done_callback(self._handshakes.discard)

    async def _welcome(self, sock: socket.socket, peer: Any) -> None:
        """Make a transport of a new connection, after the handshake where there is one."""
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        more = {"ssl": self._context, "ssl_handshake_timeout": HANDSHAKE_S} if self.tls else {}
        try:
            await self._loop.connect_accepted_socket(lambda: _FirstBytes(self), sock, **more)
        except (OSError, EOFError) as error:  # SSLError and timeouts are OSErrors
            sock.close()
            log.warning("%s: no connection with %s: %s", self, _name(peer), _why(error))
        except asyncio.CancelledError:
            sock.close()
            raise

    def _took(self, transport: asyncio.BaseTransport, protocol: Any) -> None:
        if transport not in self._open and len(self._open) & 63 == 63:
            self._sweep()
        self._open[transport] = protocol

    def _sweep(self) -> None:
        """Forget connections whose end nobody told."""
        for transport, protocol in list(self._open.items()):
            if transport.is_closing() and not isinstance(protocol, Http2):
                del self._open[transport]

    def _lost(self, transport: asyncio.BaseTransport) -> None:
        self._open.pop(transport, None)


class _FirstBytes(asyncio.Protocol):
    """Looks at the first bytes of a connection and gives it to who understands them."""

    def __init__(self, port: Port):
        self._port = port
        self._bytes = b""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._port._took(transport, self)
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(FIRST_BYTES_S, transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        self._port._lost(self._transport)

    def data_received(self, data: bytes) -> None:
        self._bytes += data
        first = self._bytes[:CHOICE_BYTES]
        if first == PREFACE[:CHOICE_BYTES]:
            self._hand_over(self._port._make_http2)
        elif PREFACE.startswith(first):
            pass  # as much of the preface as came
        elif first[0] == 0x16 and not self._port.tls:
            self._refuse("it speaks TLS, and this port does not: use http://")
        elif not first[:1].isalpha():
            self._refuse("it speaks neither HTTP nor gRPC")
        elif self._port._http1_factory is None:
            self._refuse("it speaks HTTP/1.1, and only gRPC is served here")
        else:
            self._hand_over(self._port._http1_factory)

    def _hand_over(self, factory: Callable[[], Any]) -> None:
        self._timer.cancel()
        try:
            protocol = factory()
        except Exception:
            log.exception("%s: no protocol for a new connection", self._port)
            self._transport.close()
            return
        transport, port = self._transport, self._port
        if isinstance(protocol, Http2):
            protocol.on_lost = lambda _: port._lost(transport)
        port._took(transport, protocol)
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        protocol.data_received(self._bytes)

    def _refuse(self, why: str) -> None:
        peer = _name(self._transport.get_extra_info("peername"))
        log.warning("%s: the connection of %s is closed: %s", self._port, peer, why)
        self._transport.close()


async def listen(
    host: str,
    port: int,
    open_call: Callable[[Call], None],
    http1_factory: Callable[[], asyncio.Protocol] | None = None,
    ssl: tls.SSLContext | None = None,
    *,
    sock: socket.socket | None = None,
    **http2: Any,
) -> Port:
    """Serve gRPC (`open_call` as in `Http2`) and HTTP/1.1 on one port.

    `http1_factory` makes a protocol with a method `close` (aiohttp's `web.Server` does). `ssl`
    is a server's context, which is told what both sides may speak. `sock`: a socket that listens
    already; it takes the place of `host` and `port`. What else is named goes to `Http2`.

    Raises: CannotListen.
    """
    sock = sock or bound(host, port)
    sock.setblocking(False)
    if ssl is not None:
        ssl.set_alpn_protocols(list(ALPN) if http1_factory is not None else ["h2"])
    return Port(sock, lambda: Http2(open_call, **http2), http1_factory, ssl)


def bound(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises: CannotListen."""
    if not 0 <= port < 65536:
        raise CannotListen(f"{port} is no port: they go from 1 to 65535, and 0 takes a free one")
    sock = None
    try:
        found = socket.getaddrinfo(host or None, port, 0, socket.SOCK_STREAM, 0, socket.AI_PASSIVE)
        family, kind, protocol, _, where = sorted(found)[0]  # IPv4 before IPv6
        sock = socket.socket(family, kind, protocol)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(where)
        sock.listen(BACKLOG)
    except OSError as error:
        if sock is not None:
            sock.close()
        raise CannotListen(_why_not(host, port, error)) from None
    return sock


def _why_not(host: str, port: int, error: OSError) -> str:
    where = f"port {port} of {host}"
    if isinstance(error, socket.gaierror):
        return f"{host!r} is no address of this machine and no name that leads to one"
    match error.errno:
        case errno.EADDRINUSE:
            return f"{where} is in use: end the program that has it, or choose another port"
        case errno.EACCES:
            return f"{where} may not be opened by this user: choose one above 1023"
        case errno.EADDRNOTAVAIL:
            return f"{host} is no address of this machine: choose one of its own, or 127.0.0.1"
    return f"{where} cannot be opened: {error}"


# TLS ----------------------------------------------------------------------------------------


def tls_context(
    cert_file: str = "",
    key_file: str = "",
    trusted_ca_file: str = "",
    client_cert_auth: bool = False,
    server: bool = True,
) -> tls.SSLContext:
    """The context of a server, or of a client that talks to one.

    A server asks for client certificates if it is told to or has a CA to check them with. A
    client believes in `trusted_ca_file`, or else in what the system believes in.

    Raises: ValueError with the file that does not fit, and why.
    """
    if bool(cert_file) != bool(key_file) or (server and not cert_file):
        raise ValueError("TLS needs both: --cert-file and --key-file")
    context = tls.SSLContext(tls.PROTOCOL_TLS_SERVER if server else tls.PROTOCOL_TLS_CLIENT)
    context.minimum_version = tls.TLSVersion.TLSv1_2
    if cert_file:
        _load(cert_file, lambda: context.load_cert_chain(cert_file, key_file))
    if trusted_ca_file:
        _load(trusted_ca_file, lambda: context.load_verify_locations(trusted_ca_file))
    elif client_cert_auth or not server:
        context.load_default_certs(tls.Purpose.CLIENT_AUTH if server else tls.Purpose.SERVER_AUTH)
    if server and (trusted_ca_file or client_cert_auth):
        context.verify_mode = tls.CERT_REQUIRED
    context.set_alpn_protocols(["h2"] if not server else list(ALPN))
    return context


def _load(file: str, load: Callable[[], None]) -> None:
    try:
        load()
    except tls.SSLError as error:
        reason = error.reason or str(error)
        raise ValueError(f"{file} does not fit (PEM files? the key's own?): {reason}") from None
    except OSError as error:
        raise ValueError(f"{file} or its key cannot be read: {error.strerror}") from None


def _name(peer: Any) -> str:
    return ":".join(map(str, peer[:2])) if isinstance(peer, tuple) and peer else "a local client"


def _why(error: BaseException) -> str:
    """A failed handshake in words that help."""
    reason = getattr(error, "reason", None) or ""
    if reason in ("HTTP_REQUEST", "WRONG_VERSION_NUMBER", "HTTPS_PROXY_REQUEST"):
        return "it does not speak TLS, and this port does: use https://"
    if reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE":
        return "it shows no certificate, and this port asks for one"
    if isinstance(error, TimeoutError):
        return "the TLS handshake took too long"
    return reason.replace("_", " ").lower() or str(error) or "it hung up during the handshake"
