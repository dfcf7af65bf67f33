"""Reads without log entries: one round of heartbeats confirms many reads at once.

A leader that answers a read from its own state must know two things: that it has applied all that
was committed when the read came, and that it still is the leader. So it notes its commit index,
asks everybody once, and when a quorum has answered *after* it asked, the read may be served as
soon as the noted index is applied.

Rounds are numbered. Whoever answers round 5 has heard of rounds 1 to 4 too. Reads that come
before the heartbeats of a round have left join it; later ones open the next.

Source: thesis 6.4; etcd-io/raft read_only.go.
Differs: etcd sends one round a read and batches in the server; here reads share rounds in Raft.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kvlearn.raft.types import Index, NodeId


class Round:
    """One question to all: `asked` are the (node, context) that wait, `acks` who has answered."""

    __slots__ = ("number", "index", "asked", "acks")

    def __init__(self, number: int, index: Index, me: NodeId):
        self.number = number
        self.index = index
        self.asked: list[tuple[NodeId, Any]] = []
        self.acks: set[NodeId] = {me}


class ReadRounds:
    """Invariant: rounds are in ascending order of number and index; only the last may be joined."""

    def __init__(self) -> None:
        self.rounds: list[Round] = []
        self.number = 0  # of the newest round; heartbeats carry it
        self._open = False  # the newest round has not left yet

    def ask(self, origin: NodeId, context: Any, index: Index, me: NodeId) -> bool:
        """Let a read wait at `index`, the commit index; true if a round has to be sent for it."""
        fresh = not self._open
        if fresh:
            self.number += 1
            self.rounds.append(Round(self.number, index, me))
            self._open = True
        newest = self.rounds[-1]
        newest.index = max(newest.index, index)
        newest.asked.append((origin, context))
        return fresh

    def sent(self) -> None:
        """The newest round is on its way: reads that come from now on need another one."""
        self._open = False

    def ack(self, peer: NodeId, number: int, enough: Callable[[set], bool]) -> list[Round]:
        """`peer` answered round `number`; the rounds that are confirmed by that, oldest first."""
        for round in self.rounds:
            if round.number <= number:
                round.acks.add(peer)
        return self.recount(enough)

    def recount(self, enough: Callable[[set], bool]) -> list[Round]:
        """The rounds that are confirmed by now, oldest first."""
        done = [k for k, round in enumerate(self.rounds) if enough(round.acks)]
        if not done:
            return []
        confirmed = self.rounds[: done[-1] + 1]
        del self.rounds[: done[-1] + 1]
        self._open = self._open and bool(self.rounds)
        return confirmed
