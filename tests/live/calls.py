"""Calls that go straight to a member's services, for tests: what comes back is kept."""

from __future__ import annotations

import asyncio

from kvlearn.live.codes import Code
from kvlearn.live.rpc import Services


class KeptCall:
    """A call whose answers are kept: `sent` as messages, `status` as (code name, text)."""

    peer_common_name = ""

    def __init__(self, services: Services, path: str, request, **metadata: str):
        self.path, self.metadata, self.timeout_s = path, metadata, None
        self.full = self.closed = False
        self.on_end = self.on_close = self.on_drain = lambda: None
        self.sent: list = []
        self.status: tuple[str, str] | None = None
        self._news = asyncio.Event()
        self._parse = services.methods[path].response.FromString
        services.open(self)
        if self.status is None:
            self.on_message(request.SerializeToString())
            self.on_end()

    def send(self, message: bytes) -> None:
        assert not self.closed and self.status is None
        self.sent.append(self._parse(message))
        self._news.set()

    def finish(self, code: int = 0, text: str = "") -> None:
        assert self.status is None, "a call ends once"
        self.status = Code(code).name, text
        self._news.set()

    def reply(self, message: bytes) -> None:
        self.send(message)
        self.finish()

    async def until(self, holds) -> None:
        """Wait until `holds()`."""
        while not holds():
            self._news.clear()
            await self._news.wait()

    async def answer(self):
        """The only message; (code name, text) where it was refused."""
        await self.until(lambda: self.status is not None)
        return self.sent[0] if self.status[0] == "OK" else self.status

    async def hear(self, count: int) -> list:
        """The first `count` messages."""
        await self.until(lambda: len(self.sent) >= count)
        return self.sent[:count]

    def give_up(self) -> None:
        """The client is gone."""
        self.closed = True
        self.on_close()
