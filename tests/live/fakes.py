"""A member without a disk and without peers, for tests of what stands on it."""

from __future__ import annotations

from random import Random

from kvlearn.live.config import MemberConfig
from kvlearn.live.member import Member
from kvlearn.sim.disk import Disk


class MemoryStorage:
    """The face of `kvlearn.live.storage.Storage`, on the simulator's disk."""

    def __init__(self):
        self._disk = Disk((0.0, 0.0), Random(1))
        self.boot = 1

    def __getattr__(self, name):
        return getattr(self._disk, name)

    def take(self):
        return None

    def force(self, batch):
        self._disk.sync()

    def flush(self):
        pass

    def close(self):
        pass


class NoPeers:
    """A transport of a cluster of one."""

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
    member.node.raft.campaign()
    member.wake()
    return member
