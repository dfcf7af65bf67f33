"""Reads without log entries: one round of heartbeats confirms many reads at once.

A leader that answers a read from its own state must know two things: that it has applied all that
was committed when the read came, and that it still is the leader. So it notes its commit index,
asks everybody once, and when a quorum has answered *after* it asked, the read may be served as
soon as the noted index is applied.

Rounds are numbered. Whoever answers round 5 has heard of rounds 1 to 4 too. At most one round is on
its way because of reads: those that come meanwhile share the next, which leaves when the one before
is confirmed, or with the next heartbeat. So a hundred reads that come at once cost two rounds.

Source: thesis 6.4; etcd-io/raft read_only.go.
Differs: etcd's Raft sends a round for each read, and its server batches them; here Raft does.
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
    """Invariant: rounds are in ascending order of number and index; only the last may be joined,
    as long as it is `open`: its heartbeats have not left."""

    def __init__(self) -> None:
        self.rounds: list[Round] = []
        self.number = 0  # of the newest round
        self._open = False
        self._leaving = False  # the heartbeats of the open round are in the outbox

    def ask(self, origin: NodeId, context: Any, index: Index, me: NodeId) -> bool:
        """Let a read wait at `index`, the commit index; true if a round has to be sent for it."""
        if not self._open:
            self.number += 1
            self.rounds.append(Round(self.number, index, me))
            self._open = True
        newest = self.rounds[-1]
        newest.index = max(newest.index, index)
        newest.asked.append((origin, context))
        return self.due

    @property
    def due(self) -> bool:
        """Whether reads wait for a round, and none is on its way."""
        return self._open and not self._leaving and len(self.rounds) == 1

    def leave(self) -> int:
        """Heartbeats go to everybody: the number that they carry; 0 where nobody reads."""
        self._leaving = self._open
        return self.number if self.rounds else 0

    def sent(self) -> None:
        """The outbox is empty: a read that comes from now on needs another round."""
        if self._leaving:
            self._open = self._leaving = False

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
        self._leaving = self._leaving and self._open
        return confirmed
