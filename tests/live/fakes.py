"""A member without a disk and without peers, for tests of what stands on it."""

from __future__ import annotations

import asyncio
import socket
from random import Random

from kvlearn.kv.members import MemberAdd
from kvlearn.kv.requests import Answer
from kvlearn.live.config import MemberConfig
from kvlearn.live.identity import found, join
from kvlearn.live.member import Member
from kvlearn.live.storage import Start
from kvlearn.live.transport import Transport
from kvlearn.sim.disk import Disk


class MemoryStorage:
    """The face of `kvlearn.live.storage.Storage`, on the simulator's disk."""

    def __init__(self):
        self._disk = Disk((0.0, 0.0), Random(1))
        self.boot = 1

    def __getattr__(self, name):
        return getattr(self._disk, name)

    def start(self):
        disk = self._disk
        return Start(disk.hard_state, tuple(disk.entries), disk.base, disk.snapshot, self.boot)

    def take(self):
        return None

    def is_small(self, batch):
        return True

    def force(self, batch):
        self._disk.sync()

    def flush(self):
        pass

    def close(self, flush=True):
        pass


class NoPeers:
    """A transport of a cluster of one."""

    connected = ()

    def __init__(self):
        self.sent_bytes = self.received_bytes = {}

    def start(self, member):
        pass

    async def stop(self):
        pass

    def send(self, messages, packets=None):
        return list(messages)

    def update(self, node):
        pass


async def lone_member(**settings) -> Member:
    """A started member that is a cluster of its own, and leads."""
    member = Member(MemberConfig(name="n1", **settings), MemoryStorage(), NoPeers(), {})
    await member.start()
    return member


class InProcess:
    """Members in one process, on sockets of their own, with disks in memory."""

    def __init__(self):
        self.members: dict[str, Member] = {}
        self._servers = {}

    @classmethod
    async def of(cls, *names: str, token: str = "test") -> InProcess:
        """Founders that have started."""
        self = cls()
        sockets = {name: _listening() for name in names}
        urls = {name: (_url(sock),) for name, sock in sockets.items()}
        for name, sock in sockets.items():
            config = MemberConfig(
                name=name, listen_peer_urls=urls[name], initial_cluster=urls,
                initial_cluster_token=token, heartbeat_ms=20, election_ms=200,
            )  # fmt: skip
            await self.start(config, found(config), MemoryStorage(), sock)
        return self

    async def start(self, config, identity, storage, sock) -> Member:
        """One more."""
        transport = Transport(identity.urls)
        member = Member(config, storage, transport, identity.arguments())
        server = await member.loop.create_server(transport.accept, sock=sock)
        self.members[identity.node], self._servers[identity.node] = member, server
        await member.start()
        return member

    async def add(self, name: str, learner: bool = False) -> Member:
        """A member that joins as etcd's do: added by its peer URL, and then started."""
        sock = _listening()
        url = _url(sock)
        some = next(iter(self.members.values()))
        number = sock.getsockname()[1]  # any that nobody else has
        known = some.node.machine
        await self.until(lambda: all(one.name for one in known.directory.members))
        answer = await self.ask(some.node.name, MemberAdd("", learner, (url,), number))
        while answer.error in ("Unhealthy", "NotEnoughStarted"):  # on a busy machine, for a moment
            await asyncio.sleep(0.05)
            answer = await self.ask(some.node.name, MemberAdd("", learner, (url,), number))
        assert not answer.error, answer
        cluster = {one.name: one.peer_urls for one in answer.result.members} | {name: (url,)}
        cluster.pop("", None)
        config = MemberConfig(
            name=name, listen_peer_urls=(url,), initial_cluster=cluster,
            initial_cluster_state="existing", heartbeat_ms=20, election_ms=200,
        )  # fmt: skip
        return await self.start(config, await join(config), MemoryStorage(), sock)

    async def ask(self, name: str, request) -> Answer:
        """What the member `name` answers."""
        answer = asyncio.get_running_loop().create_future()
        self.members[name].ask(request, answer.set_result)
        return await answer

    async def until(self, holds) -> None:
        """Wait until `holds()`."""
        async with asyncio.timeout(20):
            while not holds():
                await asyncio.sleep(0.005)

    async def leader(self) -> str:
        """Who leads, as soon as all agree."""
        await self.until(lambda: len(self._leaders()) == 1 and self._leaders() <= {*self.members})
        return self._leaders().pop()

    def _leaders(self) -> set:
        return {member.leader for member in self.members.values()}

    async def kill(self, name: str) -> None:
        """End a member as a killed process ends: its connections break, nobody is told anything."""
        member = self.members.pop(name)
        self._servers.pop(name).close()
        member.stopped.set_result(None)
        await member.transport.stop()

    async def __aenter__(self) -> InProcess:
        return self

    async def __aexit__(self, *error) -> None:
        for member in self.members.values():
            await member.stop()
        for server in self._servers.values():
            server.close()


def _listening() -> socket.socket:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen()
    return sock


def _url(sock: socket.socket) -> str:
    return f"http://127.0.0.1:{sock.getsockname()[1]}"
