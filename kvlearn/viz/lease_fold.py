"""What became of each lease, by the clock of whoever counted it.

A lease's time is no part of the replicated state: the leader counts it, on its own clock. So its
story is a row of *stretches*, in each of which one node counts down from a known time, or nobody
counts; between them somebody kept it alive, or another leader began to count anew.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from kvlearn import events as ev
from kvlearn.kv.leases import LeaseCheckpoint, LeaseGrant, LeaseResult
from kvlearn.kv.requests import Command
from kvlearn.lease import Lessor
from kvlearn.trace import Record


class Stretch(NamedTuple):
    """From `start` to `end` (seconds) the time that is left fell from `left` to `after`.

    `node` counts; None: nobody does, and `left` is what a new leader would begin with. `why` is
    how the stretch began: grant, keep-alive, counted, checkpoint, clock or nobody.
    """

    start: float
    end: float
    left: float
    after: float
    node: str | None
    why: str
    rate: float = 1.0  # of the counting clock: its seconds in a second of the trace

    @property
    def empty(self) -> float | None:
        """When nothing was left any more, if that came before the end; only who counts knows."""
        if self.node is None or self.after > 0:
            return None
        return min(self.end, self.start + self.left / self.rate)


class LeaseLife(NamedTuple):
    """One lease. `end` is "", expired or revoked; then `keys` are those that went with it."""

    id: int
    ttl_s: int
    granted: float  # seconds of the trace
    stretches: tuple[Stretch, ...]
    end: str
    ended: float | None
    keys: tuple[bytes, ...]
    revision: int  # of the deletion of its keys; 0: there were none
    ran_out: float | None  # when the leader found that its time was over

    @property
    def left(self) -> float | None:
        """Seconds that are left now; None: nobody counts, or it has ended."""
        last = self.stretches[-1] if self.stretches else None
        return None if last is None or self.end or last.node is None else last.after


class Reign(NamedTuple):
    """A node led in `term` from `start` to `end` (seconds)."""

    node: str
    term: int
    start: float
    end: float


class _Life:
    def __init__(self, id: int, ttl_s: int, time: float):
        self.id, self.ttl_s, self.granted = id, ttl_s, time
        self.done: list[Stretch] = []
        self.start, self.left, self.node, self.why = time, float(ttl_s), None, "nobody"
        self.checkpoint = 0
        self.end, self.ended, self.keys, self.revision = "", None, (), 0
        self.ran_out: float | None = None

    def after(self, time: float, rate: float) -> float:
        """What is left at `time`."""
        if self.node is None:
            return self.left
        return max(0.0, self.left - (time - self.start) * rate)

    def close(self, time: float, rate: float) -> None:
        if time > self.start or self.node is not None:
            after = self.after(time, rate)
            self.done.append(Stretch(self.start, time, self.left, after, self.node, self.why, rate))

    def begin(self, time: float, left: float, node: str | None, why: str) -> None:
        self.start, self.left, self.node, self.why = time, left, node, why


class LeaseFold:
    """Leases and reigns, record by record."""

    KINDS = (
        *(ev.Applied, ev.BecameLeader, ev.BecameFollower, ev.BecameCandidate, ev.Crashed),
        *(ev.LeasesCounted, ev.LeaseRenewed, ev.LeaseExpired, ev.LinksChanged, ev.Returned),
    )

    def __init__(self) -> None:
        self._lives: dict[int, _Life] = {}  # the last life of each id
        self._past: list[_Life] = []  # earlier ones, where an id was granted again
        self._reigns: list[Reign] = []
        self.leader: str | None = None
        self._rates: dict[str, float] = {}
        self.touched: set[int] = set()  # leases that changed; whoever reads it empties it

    def last(self, id: int) -> _Life | None:
        """The last life of a lease, as far as it is."""
        return self._lives.get(id)

    def rate(self, node: str | None) -> float:
        """How fast a node's clock runs: its seconds in a second of the trace."""
        return self._rates.get(node, 1.0)

    def take(self, record: Record, lessor: Lessor) -> None:
        """Go on by one record; `lessor` has carried out what the record tells."""
        event, time = record.event, record.time
        match event:
            case ev.Applied(command=Command(request=LeaseGrant(id=id)), error=""):
                self._granted(record, id, lessor)
            case ev.Applied(command=Command(request=LeaseCheckpoint(left)), error=""):
                for id, left_s in left:
                    if life := self._alive(id):
                        life.checkpoint = left_s
            case ev.BecameLeader(term=term):
                self._lost(time)
                self._reigns.append(Reign(record.node, term, time, time))
                self.leader = record.node
            case ev.BecameFollower() | ev.BecameCandidate() | ev.Crashed():
                if record.node == self.leader:
                    self._lost(time)
            case ev.LeasesCounted(left=left):
                self._counted(record, left)
            case ev.Returned(result=LeaseResult(id=id, ttl_s=ttl_s)):
                self._granted_in_truth(id, ttl_s)
            case ev.LeaseRenewed(lease=id, ttl_s=ttl_s):
                # What the log has noted stays noted until the log takes it back.
                if life := self._alive(id):
                    self._go_on(life, time, float(ttl_s), record.node, "keep-alive")
            case ev.LeaseExpired(lease=id):
                if (life := self._alive(id)) and life.ran_out is None:
                    life.ran_out = time
                    self.touched.add(id)
            case ev.LinksChanged(setting="clock rate", new=rate):
                self._clock(record.node, time, rate)

    def ended(self, record: Record, command: Command, keys: tuple[bytes, ...]) -> None:
        """A revocation was carried out: `keys` go with the lease."""
        life = self._alive(command.request.id)
        if life is None or record.event.error:
            return
        self.touched.add(life.id)
        life.close(record.time, self.rate(life.node))
        life.end = "expired" if not command.op_id and life.ran_out is not None else "revoked"
        life.ended, life.keys = record.time, keys
        life.revision = record.event.revision if keys else 0

    def lives(self, time: float) -> tuple[LeaseLife, ...]:
        """All leases as they stand at `time`, oldest first."""
        told = []
        for life in (*self._past, *self._lives.values()):
            stretches = tuple(life.done)
            if not life.end:
                rate = self.rate(life.node)
                after = life.after(time, rate)
                last = Stretch(life.start, time, life.left, after, life.node, life.why, rate)
                stretches += (last,)
            end = (life.end, life.ended, life.keys, life.revision, life.ran_out)
            told.append(LeaseLife(life.id, life.ttl_s, life.granted, stretches, *end))
        return tuple(sorted(told, key=lambda life: (life.granted, life.id)))

    def reigns(self, time: float) -> tuple[Reign, ...]:
        """Who led when; the last one may still."""
        if self.leader is None or not self._reigns:
            return tuple(self._reigns)
        return (*self._reigns[:-1], self._reigns[-1]._replace(end=time))

    # Within -----------------------------------------------------------------------------------

    def _alive(self, id: int) -> _Life | None:
        life = self._lives.get(id)
        return None if life is None or life.end else life

    def _granted(self, record: Record, id: int, lessor: Lessor) -> None:
        """On all nodes alike; its time begins when the leader carries it out."""
        life = self._alive(id)
        if life is None:
            if id not in lessor.leases:
                return  # replayed: it has ended long ago
            if id in self._lives:
                self._past.append(self._lives[id])
            life = self._lives[id] = _Life(id, lessor.leases[id].ttl_s, record.time)
            self.touched.add(id)
        fresh = life.why == "nobody" and not life.done and life.node is None
        if fresh and record.node == self.leader:
            self._go_on(life, record.time, float(life.ttl_s), record.node, "grant")

    def _granted_in_truth(self, id: int, ttl_s: int) -> None:
        """The answer tells how long a lease was granted for: a store may raise short times."""
        life = self._alive(id)
        if life is not None and ttl_s > life.ttl_s:
            self.touched.add(id)
            if life.why in ("grant", "nobody") and life.left == life.ttl_s:
                life.left = float(ttl_s)
            life.ttl_s = ttl_s

    def _counted(self, record: Record, left: tuple[tuple[int, float], ...]) -> None:
        self.leader = record.node
        for id, left_s in left:
            if life := self._alive(id):
                noted = life.checkpoint and left_s < life.ttl_s
                why = "checkpoint" if noted else "counted"
                self._go_on(life, record.time, float(left_s), record.node, why)

    def _lost(self, time: float) -> None:
        """The leader leads no more: nobody counts."""
        if self.leader is not None and self._reigns:
            self._reigns[-1] = self._reigns[-1]._replace(end=time)
        for life in self._lives.values():
            if not life.end and life.node is not None:
                left = float(life.checkpoint or life.ttl_s)
                self._go_on(life, time, left, None, "nobody")
        self.leader = None

    def _clock(self, node: str, time: float, rate: Any) -> None:
        """A clock runs at another rate from now on."""
        for life in self._lives.values():
            if not life.end and life.node == node:
                self._go_on(life, time, life.after(time, self.rate(node)), node, "clock")
        self._rates[node] = float(rate)

    def _go_on(self, life: _Life, time: float, left: float, node: str | None, why: str) -> None:
        self.touched.add(life.id)
        life.close(time, self.rate(life.node))
        life.begin(time, left, node, why)
