"""One port for gRPC and HTTP/1.1, in the clear and with TLS; who does not fit is told why."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
import trustme

from kvlearn.live.http2 import Call
from kvlearn.live.http2_frames import PREFACE
from kvlearn.live.port import CannotListen, bound, listen, tls_context

WAIT_S = 10.0
HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


class Http1(asyncio.Protocol):
    """Answers whatever comes, as a server of plain HTTP."""

    def __init__(self):
        self.got = b""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.got += data
        if self.got.endswith(b"\r\n\r\n"):
            self.transport.write(HELLO)

    def close(self):
        self.transport.close()


def echo(call: Call) -> None:
    call.on_message = lambda message: call.reply(message)


@asynccontextmanager
async def serving(open_call=echo, http1=Http1, context=None, **more):
    port = await listen("127.0.0.1", 0, open_call, http1, context, **more)
    try:
        yield port
    finally:
        await port.close(0)


async def ask(port, message=b"hello", credentials=None) -> bytes:
    """One unary call of gRPC's own client."""

    def call() -> bytes:
        target = f"127.0.0.1:{port.port}"
        options = [("grpc.enable_http_proxy", 0)]
        if credentials is None:
            channel = grpc.insecure_channel(target, options)
        else:
            channel = grpc.secure_channel(target, credentials, options)
        with channel:
            return channel.unary_unary("/test/Echo")(message, timeout=WAIT_S)

    return await asyncio.to_thread(call)


async def talk(port, *pieces: bytes, context=None, until_end=False) -> bytes:
    """Write pieces in packets of their own; what comes back at first, or till the end."""
    name = "127.0.0.1" if context else None
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port.port, ssl=context, server_hostname=name
    )
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        reading = reader.read() if until_end else reader.read(65536)
        return await asyncio.wait_for(reading, WAIT_S)
    finally:
        writer.close()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """Certificate files: of a CA, a server and a client called "ada"."""
    folder = tmp_path_factory.mktemp("tls")
    ca = trustme.CA()
    ca.cert_pem.write_to_path(folder / "ca.pem")
    for name, certificate in (
        ("server", ca.issue_cert("127.0.0.1", "localhost")),
        ("client", ca.issue_cert("client.local", common_name="ada")),
    ):
        certificate.private_key_pem.write_to_path(folder / f"{name}.key")
        for at, blob in enumerate(certificate.cert_chain_pems):
            blob.write_to_path(folder / f"{name}.pem", append=at > 0)
    return {file.name: str(file) for file in folder.iterdir()}


def server_context(files, **more):
    return tls_context(files["server.pem"], files["server.key"], **more)


def grpc_credentials(files, with_certificate=False):
    read = {name: Path(path).read_bytes() for name, path in files.items()}
    own = (read["client.key"], read["client.pem"]) if with_certificate else (None, None)
    return grpc.ssl_channel_credentials(read["ca.pem"], *own)


def test_grpc_and_plain_http_share_a_port():
    async def scene():
        async with serving() as port:
            assert str(port) == f"http://127.0.0.1:{port.port}"
            assert await ask(port) == b"hello"
            assert await talk(port, b"GET / HTTP/1.1\r\n\r\n") == HELLO

    asyncio.run(scene())


def test_the_same_with_uvloop():
    uvloop = pytest.importorskip("uvloop")

    async def scene():
        async with serving() as port:
            assert await ask(port) == b"hello"
            assert await talk(port, b"GET / HTTP/1.1\r\n\r\n") == HELLO

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scene())


@pytest.mark.parametrize("cut", [1, 3, 13, 14, 20])
def test_the_first_line_may_come_in_pieces(cut):
    async def scene():
        async with serving() as port:
            start = PREFACE + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
            answer = await talk(port, start[:cut], start[cut:])
            assert answer[3] == 4, "our SETTINGS come first"
            get = b"PUT / HTTP/1.1\r\n\r\n"  # a P is no preface yet
            assert await talk(port, get[:cut], get[cut:]) == HELLO

    asyncio.run(scene())


def test_plain_http_is_loaded_when_somebody_asks_for_it():
    made = []

    def factory():
        made.append(Http1())
        return made[-1]

    async def scene():
        async with serving(http1=factory) as port:
            await ask(port)
            assert not made
            await talk(port, b"GET / HTTP/1.1\r\n\r\n")
            assert len(made) == 1 and made[0].got.startswith(b"GET /")

    asyncio.run(scene())


def test_a_factory_that_fails_costs_one_connection(caplog):
    def factory():
        raise ImportError("no aiohttp here")

    async def scene():
        async with serving(http1=factory) as port:
            assert await talk(port, b"GET / HTTP/1.1\r\n\r\n", until_end=True) == b""
            assert await ask(port) == b"hello"

    asyncio.run(scene())
    assert "no protocol for a new connection" in caplog.text


@pytest.mark.parametrize(
    "words, said",
    [
        (b"\x16\x03\x01\x02\x00\x01\x00", "it speaks TLS, and this port does not: use http://"),
        (b"\x00\x01\x02", "it speaks neither HTTP nor gRPC"),
        (b"GET / HTTP/1.1\r\n\r\n", "only gRPC is served here"),
    ],
)
def test_who_does_not_fit_is_closed_with_a_line_in_the_log(words, said, caplog):
    async def scene():
        async with serving(http1=None) as port:
            assert await talk(port, words, until_end=True) == b""

    asyncio.run(scene())
    assert said in caplog.text
    assert not any(record.exc_info for record in caplog.records)


def test_tls_for_grpc_and_for_plain_http(certificates):
    async def scene():
        async with serving(context=server_context(certificates)) as port:
            assert str(port).startswith("https://")
            assert await ask(port, credentials=grpc_credentials(certificates)) == b"hello"
            context = tls_context(trusted_ca_file=certificates["ca.pem"], server=False)
            context.set_alpn_protocols(["h2", "http/1.1"])  # as curl does
            assert await talk(port, b"GET / HTTP/1.1\r\n\r\n", context=context) == HELLO

    asyncio.run(scene())


def test_a_clear_text_client_of_a_tls_port_is_told_of_in_the_log(certificates, caplog):
    caplog.set_level(logging.WARNING)

    async def scene():
        async with serving(context=server_context(certificates)) as port:
            with pytest.raises((ConnectionError, AssertionError)):
                assert await talk(port, b"GET / HTTP/1.1\r\n\r\n", until_end=True)
            while "use https://" not in caplog.text:
                await asyncio.sleep(0.001)

    asyncio.run(asyncio.wait_for(scene(), WAIT_S))
    assert not any(record.exc_info for record in caplog.records)


def test_a_client_certificate_is_asked_for_and_names_its_owner(certificates, caplog):
    names = []

    def open_call(call):
        names.append(call.peer_common_name)
        echo(call)

    async def scene():
        context = server_context(certificates, trusted_ca_file=certificates["ca.pem"])
        async with serving(open_call, context=context) as port:
            assert await ask(port, credentials=grpc_credentials(certificates, True)) == b"hello"
            plain = tls_context(trusted_ca_file=certificates["ca.pem"], server=False)
            with pytest.raises((ConnectionError, ssl.SSLError, AssertionError)):
                assert await talk(port, b"GET / HTTP/1.1\r\n\r\n", context=plain)

    asyncio.run(scene())
    assert names == ["ada"]
    assert "it shows no certificate" in caplog.text


def test_a_client_does_not_believe_a_stranger(certificates, tmp_path):
    stranger = tmp_path / "stranger.pem"
    trustme.CA().cert_pem.write_to_path(stranger)

    async def scene():
        async with serving(context=server_context(certificates)) as port:
            context = tls_context(trusted_ca_file=str(stranger), server=False)
            with pytest.raises(ssl.SSLCertVerificationError):
                await talk(port, b"GET / HTTP/1.1\r\n\r\n", context=context)

    asyncio.run(scene())


def test_certificates_that_do_not_fit_are_named(certificates, tmp_path):
    with pytest.raises(ValueError, match="both: --cert-file and --key-file"):
        tls_context(certificates["server.pem"])
    with pytest.raises(ValueError, match="nowhere.pem or its key cannot be read: No such file"):
        tls_context(str(tmp_path / "nowhere.pem"), certificates["server.key"])
    with pytest.raises(ValueError, match="server.pem does not fit"):
        tls_context(certificates["server.pem"], certificates["client.key"])
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    with pytest.raises(ValueError, match="empty.pem does not fit"):
        tls_context(
            certificates["server.pem"], certificates["server.key"], trusted_ca_file=str(empty)
        )


def test_a_busy_port_is_named():
    with bound("127.0.0.1", 0) as taken:
        number = taken.getsockname()[1]
        with pytest.raises(CannotListen, match=f"port {number} of 127.0.0.1 is in use"):
            bound("127.0.0.1", number)
    with pytest.raises(CannotListen, match="no address of this machine"):
        bound("no.such.name.invalid", 0)
    with pytest.raises(CannotListen, match="no address of this machine"):
        bound("192.0.2.1", 0)
    with pytest.raises(CannotListen, match="70000 is no port"):
        bound("127.0.0.1", 70000)


def test_a_socket_that_listens_already_can_be_given():
    async def scene():
        sock = bound("127.0.0.1", 0)
        async with serving(sock=sock) as port:
            assert port.port == sock.getsockname()[1]
            assert await ask(port) == b"hello"

    asyncio.run(scene())


def test_a_call_that_runs_may_end_before_the_port_is_gone():
    waiting = []

    def open_call(call):
        call.on_message = lambda message: waiting.append((call, message))

    async def scene():
        port = await listen("127.0.0.1", 0, open_call, Http1)
        answer = asyncio.create_task(ask(port))
        while not waiting:
            await asyncio.sleep(0.001)
        closing = asyncio.create_task(port.close())
        with pytest.raises(ConnectionError):
            while True:  # until the socket is closed
                await talk(port)
        assert not closing.done()
        call, message = waiting.pop()
        call.reply(message)
        assert await answer == b"hello"
        await closing
        assert port.connections == 0

    asyncio.run(asyncio.wait_for(scene(), WAIT_S))


def test_calls_that_do_not_end_are_cut_off():
    calls, closed = [], []

    def open_call(call):
        calls.append(call)
        call.on_close = lambda: closed.append(call)

    async def scene():
        port = await listen("127.0.0.1", 0, open_call, Http1)
        answer = asyncio.create_task(ask(port))
        idle = socket.create_connection(("127.0.0.1", port.port))
        while not calls or port.connections < 2:
            await asyncio.sleep(0.001)
        await port.close(0.01)
        assert closed == calls and port.connections == 0
        assert idle.recv(1) == b""
        idle.close()
        with pytest.raises(grpc.RpcError) as error:
            await answer
        assert error.value.code() == grpc.StatusCode.UNAVAILABLE

    asyncio.run(asyncio.wait_for(scene(), WAIT_S))


def test_the_limits_of_http2_are_passed_on():
    async def scene():
        async with serving(max_message_bytes=3) as port:
            with pytest.raises(grpc.RpcError) as error:
                await ask(port, b"four")
            assert error.value.details() == "grpc: received message larger than max (4 vs. 3)"

    asyncio.run(scene())
