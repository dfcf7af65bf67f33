"""A member that is a cluster of its own behind a gateway, in a thread; what a client asks it."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

from kvlearn.live.config import MemberConfig
from kvlearn.live.gateway import Gateway
from kvlearn.live.identity import found
from kvlearn.live.member import Member
from kvlearn.live.metrics import registry_of
from kvlearn.live.rpc import Services
from tests.live.fakes import MemoryStorage, NoPeers

WAIT_S = 20.0


class Served:
    """`port` speaks HTTP/1.1. What touches the member is done in its loop: see `call`."""

    def __init__(self, leads: bool = True, **settings):
        """`leads` False: two more founders, whom nobody ever hears of, so there is no leader."""
        self._sock = socket.create_server(("127.0.0.1", 0))
        self.port = self._sock.getsockname()[1]
        others = {} if leads else {f"n{i}": (f"http://127.0.0.1:{i}",) for i in (2, 3)}
        urls = ("http://127.0.0.1:1",)
        self.config = MemberConfig(
            name="default", advertise_client_urls=(f"http://127.0.0.1:{self.port}",),
            listen_peer_urls=urls, initial_cluster={"default": urls, **others}, **settings,
        )  # fmt: skip
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(WAIT_S)

    async def _start(self) -> None:
        arguments = found(self.config).arguments()
        self.member = Member(self.config, MemoryStorage(), NoPeers(), arguments)
        self.services = Services(self.member)
        registry = registry_of(self.member, self.services.methods)
        self.gateway = Gateway(self.services, registry)
        self._server = await self._loop.create_server(self.gateway.protocol, sock=self._sock)
        await self.member.start()

    async def _stop(self) -> None:
        self._server.close()
        await self.gateway.close(0.1)
        await self.member.stop()

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(WAIT_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(WAIT_S)
        self._loop.close()

    def call(self, function: Callable[[], Any]) -> Any:
        """What a function gives that is called in the member's loop."""

        async def called():
            return function()

        return asyncio.run_coroutine_threadsafe(called(), self._loop).result(WAIT_S)

    def until(self, holds: Callable[[], bool]) -> None:
        """Wait until `holds()` in the member's loop."""

        async def held():
            async with asyncio.timeout(WAIT_S):
                while not holds():
                    await asyncio.sleep(0.002)

        asyncio.run_coroutine_threadsafe(held(), self._loop).result(WAIT_S + 1)


def fetch(
    port: int, method: str, path: str, body: Any = None, **headers: str
) -> tuple[int, dict[str, str], str]:
    """Status, headers, and text. A body that is no text becomes JSON."""
    text = body if body is None or isinstance(body, (str, bytes)) else json.dumps(body)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT_S)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, text, named)
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read().decode()
    finally:
        connection.close()


def post(port: int, path: str, body: Any = "", **headers: str) -> tuple[int, Any]:
    """Status, and the JSON that a POST is answered with."""
    status, _, text = fetch(port, "POST", path, body, **headers)
    return status, json.loads(text)


@contextmanager
def stream(port: int, path: str, body: Any, **headers: str):
    """The lines of an answer that goes on: a function that gives the next one."""
    text = body if isinstance(body, str) else json.dumps(body)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT_S)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request("POST", path, text, named)
        response = connection.getresponse()

        def line() -> Any:
            data = response.readline()
            return json.loads(data) if data else None

        yield line
    finally:
        connection.close()
