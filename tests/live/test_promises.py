"""Who promises has it on its disk, whoever waits for that, and no client is told before a majority.

Members with real disks in one process; every force is noted, and every promise is held against it
in the instant in which it leaves.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time

import pytest

pytest.importorskip("lmdb", reason="members store in LMDB")
pytest.importorskip("msgpack", reason="members talk in MessagePack")

from kvlearn.kv.members import MoveLeader
from kvlearn.kv.requests import Put, Range
from kvlearn.live import forcing
from kvlearn.live.config import MemberConfig
from kvlearn.live.member import Member
from kvlearn.live.storage import Storage
from kvlearn.raft.messages import AppendResponse, RequestVote, VoteResponse
from kvlearn.raft.types import HardState
from tests.live import fakes
from tests.live.fakes import InProcess, NoPeers

NAMES = ("n1", "n2", "n3")
PUTS, WRITERS = 40, 6


class NotedStorage(Storage):
    """Knows what of it is durable. `small` decides who waits for a batch."""

    def __init__(self, folder, rng: random.Random):
        super().__init__(folder, fsync=False)
        self._rng = rng
        self._taken: dict[int, tuple] = {}
        self.durable = 0, HardState()  # the last entry, and the hard state
        self.ways = {True: 0, False: 0}

    def take(self):
        batch = super().take()
        self._taken[id(batch)] = self.last.index, self.hard_state
        return batch

    def is_small(self, batch):
        small = super().is_small(batch) and self._rng.random() < 0.5
        self.ways[small] += 1
        return small

    def force(self, batch):
        if threading.current_thread() is not threading.main_thread():
            time.sleep(self._rng.choice((0.0, 0.0, 0.004)))
        super().force(batch)
        self.durable = self._taken.pop(id(batch))


def promise_kept(storage: NotedStorage, message) -> bool:
    """Whether what the message says is on the disk of its sender."""
    index, hard = storage.durable
    match message:
        case AppendResponse(match=match, rejected=0):
            return match <= index and message.term <= hard.term
        case VoteResponse(granted=True, pre=False, target=target):
            return hard.term > message.term or (hard.term, hard.vote) == (message.term, target)
        case RequestVote(pre=False, source=source):
            return hard.term > message.term or (hard.term, hard.vote) == (message.term, source)
    return True


@pytest.mark.parametrize("seed", range(3))
def test_no_promise_leaves_before_the_disk_has_it(seed, tmp_path, monkeypatch):
    """Replay: pytest tests/live/test_promises.py -k SEED (luck of the system's threads apart)"""
    rng, disks = random.Random(seed), []
    broken: list = []

    def disk() -> NotedStorage:
        disks.append(NotedStorage(tmp_path / f"n{len(disks) + 1}", random.Random(rng.random())))
        return disks[-1]

    monkeypatch.setattr(fakes, "MemoryStorage", disk)

    def note(member) -> None:
        send = member.transport.send

        def noted(messages, packets=None):
            messages = list(messages)
            broken.extend(m for m in messages if not promise_kept(member.storage, m))
            return send(messages, packets)

        member.transport.send = noted

    def told(member, answer) -> bool:
        """Whether it was done; then a majority has it."""
        if answer.error:  # leadership was on its way to another member, say
            return False
        entries = member.node.raft.log.entries
        (at,) = (entry.index for entry in entries if _op(entry) == answer.op_id)
        if sum(storage.durable[0] >= at for storage in disks) < 2:
            broken.append((answer, at, [storage.durable for storage in disks]))
        return True

    async def write(cluster: InProcess, number: int) -> None:
        acknowledged, member = 0, cluster.members[NAMES[number % 3]]
        while acknowledged < PUTS:
            done = asyncio.get_running_loop().create_future()
            request = Put(b"k%d" % number, b"%d" % acknowledged)
            member.ask(request, lambda answer: done.set_result(told(member, answer)))
            acknowledged += await done
            await asyncio.sleep(0.001)

    async def test() -> None:
        async with await InProcess.of(*NAMES) as cluster:
            for member in cluster.members.values():
                note(member)
            await cluster.ask("n1", Put(b"a", b"1"))
            writing = [asyncio.ensure_future(write(cluster, k)) for k in range(WRITERS)]
            while not all(one.done() for one in writing):
                leader = cluster.members["n1"].leader
                if leader:
                    await cluster.ask(leader, MoveLeader(rng.choice(NAMES)))
                await asyncio.sleep(0.05)
            await asyncio.gather(*writing)
            got = await cluster.ask("n2", Range(b"k", b"l"))
            assert [kv.value for kv in got.result.kvs] == [b"%d" % (PUTS - 1)] * WRITERS
            ways = [storage.ways for storage in disks]
            assert all(min(way.values()) for way in ways), f"only one way was taken: {ways}"
        assert not broken, broken[:3]

    asyncio.run(asyncio.wait_for(test(), 60))


def test_an_answer_leaves_before_the_loop_waits_for_the_next_batch(tmp_path, monkeypatch):
    """A service writes at the end of the turn in which it hears the answer, as HTTP/2 does."""
    monkeypatch.setattr(forcing, "QUICK_S", 10.0)
    told: list = []

    async def test() -> None:
        storage = Storage(tmp_path / "n1", fsync=False)
        member = Member(MemberConfig(name="n1"), storage, NoPeers(), {})
        await member.start()
        force = storage.force

        def noted(batch) -> None:
            if threading.current_thread() is threading.main_thread():
                told.append("force")
                if told.count("force") <= PUTS:
                    ask()  # so that there is a next batch
            force(batch)

        def ask() -> None:
            member.ask(Put(b"k", b"1"), done)

        def done(answer) -> None:
            told.append("heard")
            member.loop.call_soon(told.append, "written")

        storage.force = noted
        ask()
        while told.count("written") <= PUTS:
            await asyncio.sleep(0.001)
        await member.stop()

    asyncio.run(asyncio.wait_for(test(), 60))
    assert told.count("force") > PUTS
    assert ("heard", "force") not in set(zip(told, told[1:])), told


def _op(entry) -> int:
    return getattr(entry.data, "op_id", 0)
