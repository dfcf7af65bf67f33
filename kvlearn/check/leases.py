"""What the holder of a lease is promised, checked against the story.

```
  holder   |--keep alive-->.....................................  (says nothing more)
  leader        renews |<------- ttl, on the leader's clock ------->| claims the end
  log                                                                 revoke: all keys, one revision
```

* Lease Safety: no lease ends by itself before its time has passed since the holder *sent* the last
  request for which it got its yes (a grant or a keep-alive). Time is measured on the own clock of
  the leader that claims the end, as the rates of the clocks in the trace say. Where a remaining
  time was noted (checkpointed), several leaders have counted: then it is measured on the fastest
  clock that there was.
* Lease Expiry: a leader that counts a lease, and runs, claims its end within two ticks after its
  time is over; and no entry that it appended much later is applied before the end is. Nothing is
  promised while nobody leads, or where nothing is committed.
* One Revision: all keys that hang on a lease go with it, in one revision, and no others. What
  watchers and readers were told is held against the log.

>>> from kvlearn import Cluster
>>> cluster = Cluster(3, seed=7)
>>> client = cluster.client()
>>> lease = client.lease(5)
>>> client.put("here", "1", lease=lease).header.revision
2
>>> cluster.run(8)
>>> print(client.get("here"), leases(cluster.trace).ok)
<nothing at revision 3> True

A cluster that is cranked by hand has no clocks, only ticks: there Lease Expiry is not judged, and
Lease Safety by the time of the trace, which no node's ticks outrun.

Source: C. Gray, D. Cheriton: Leases (1989), 2 (a holder counts from when it asked); etcd
server/lease/lessor.go.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from math import inf
from typing import Any

from kvlearn.check.naive import NaiveStore
from kvlearn.check.verdict import Verdict, Verdicts, verdicts_on
from kvlearn.events import (
    Appended,
    Applied,
    BecameFollower,
    BecameLeader,
    Crashed,
    Invoked,
    LeaseExpired,
    LeaseRenewed,
    LeasesCounted,
    LinksChanged,
    Notified,
    Paused,
    Returned,
)
from kvlearn.kv.leases import LeaseCheckpoint, LeaseGrant, LeaseKeepAlive, LeaseRevoke
from kvlearn.kv.requests import Range, RangeResult
from kvlearn.trace import Record, Trace

SAFETY = "Lease Safety"
EXPIRY = "Lease Expiry"
ONE_REVISION = "One Revision"
LEASE_PROMISES = (SAFETY, EXPIRY, ONE_REVISION)
SECTION = "etcd: lease API"
SLACK_S = 1e-4  # a timer fires at a float that may lie beside its tick; times in events are rounded
LATE_TICKS = 2  # a leader looks at its leases every tick
RETRIES = 3  # proposals of the end that a full log may refuse, an election timeout apart


def leases(trace: Trace) -> Verdicts:
    """The verdicts on `LEASE_PROMISES`, in this order."""
    return _Judge(trace).verdicts()


class _Clocks:
    """How much time has passed on the nodes' own clocks."""

    def __init__(self, trace: Trace):
        self._marks: dict[str, list[tuple[float, float, float]]] = {}  # (time, own time, rate)
        for record in trace.of(LinksChanged):
            if record.event.setting == "clock rate":
                marks = self._marks.setdefault(record.node, [(0.0, 0.0, 1.0)])
                marks.append((record.time, self.read(record.node, record.time), record.event.new))

    def read(self, node: str, time: float) -> float:
        """Seconds on the node's clock since the trace began."""
        marks = self._marks.get(node)
        if marks is None:
            return time
        since, own, rate = marks[bisect_right(marks, (time, inf, inf)) - 1]
        return own + rate * (time - since)

    def fastest(self, start: float, end: float) -> float:
        """Seconds that passed on no clock more than that."""
        cuts = {start, end}
        cuts |= {mark[0] for marks in self._marks.values() for mark in marks}
        times = sorted(time for time in cuts if start <= time <= end)
        spans = zip(times, times[1:])
        nodes = [*self._marks, ""]
        return sum(max(self.read(n, b) - self.read(n, a) for n in nodes) for a, b in spans)


@dataclass
class _Count:
    """A leader's count of one lease, in seconds of its own clock: from `since` it has `time_s` (0:
    the whole time as granted)."""

    since: float
    time_s: float
    claimed: float | None = None  # when the leader claimed the end


@dataclass
class _Lease:
    """What the log and the holder know."""

    ttl_s: int = 0  # as granted; 0: nobody was told
    noted_s: int = 0  # as checkpointed
    was_noted: bool = False
    born_s: float = 0.0  # when its grant was applied first,
    op_id: int = 0  # and whose answer tells of that
    sent_s: float | None = None  # when the holder sent what it got its last yes for
    held: set[bytes] = field(default_factory=set)  # the keys that ever hung on it


@dataclass
class _End:
    """A lease that is over, and what went with it at `revision`."""

    id: int
    revision: int
    keys: frozenset[bytes]
    held: set[bytes]


class _Judge:
    """Reads the trace once, record by record; what was told is judged at the end."""

    def __init__(self, trace: Trace):
        self.seed, self.clocks = trace.seed, _Clocks(trace)
        config = trace.about.get("config", {})
        self.tick_s = config.get("tick_s", 0.0)
        self.retry_s = config.get("election_ticks", 0) * self.tick_s
        self.times = bool(self.tick_s) and not trace.about.get("by_hand")
        self._breaks: dict[str, list[Verdict]] = {name: [] for name in LEASE_PROMISES}
        self._store = NaiveStore(0)
        self._index = 0  # of the log, that the store has applied
        self._strayed = False  # the store is not what the nodes have
        self._leases: dict[int, _Lease] = {}
        self._ends: list[_End] = []
        self._asked: dict[int, Record] = {}
        self._claims: dict[tuple[str, int], Record] = {}  # (leader, lease) -> its newest claim
        self._terms: dict[str, int] = {}  # leader -> its term
        self._counts: dict[str, dict[int, _Count]] = {}  # leader -> lease -> its count
        self._appended: dict[str, dict[int, float]] = {}  # leader -> index -> own time
        self._told: list[Record] = []
        self._reads: list[tuple[Record, Range]] = []
        self._expired = 0
        for record in trace:
            self._read(record)
        for node in list(self._counts):
            self._stops(node, trace[-1])
        for record in self._told:
            self._heard(record)
        for record, request in self._reads:
            self._seen(record, request)

    def _read(self, record: Record) -> None:
        node, event = record.node, record.event
        match event:
            case Applied():
                self._applied(record)
            case Invoked(op_id, request=LeaseGrant() | LeaseKeepAlive() | Range()):
                self._asked[op_id] = record
            case Returned(op_id) if op_id in self._asked:
                self._returned(record, self._asked.pop(op_id))
            case Notified(response=response) if response.events:
                self._told.append(record)
            case BecameLeader(term=term):
                self._terms[node] = term
            case LeasesCounted(left=left):
                for id, _ in left:
                    lease = self._leases.get(id, _Lease())
                    self._begins(record, id, lease.noted_s, self.retry_s)
            case LeaseRenewed(id, ttl_s):
                self._begins(record, id, ttl_s)
            case LeaseExpired(id):
                self._claims[node, id] = record
                self._claimed(record, id, event.ttl_s)
            case Appended(entries=entries) if node in self._counts:
                own = self.clocks.read(node, record.time)
                self._appended.setdefault(node, {}).update((e.index, own) for e in entries)
            case BecameFollower() | Crashed() | Paused():
                self._stops(node, record)

    # The log ----------------------------------------------------------------------------------

    def _applied(self, record: Record) -> None:
        node, event = record.node, record.event
        request = getattr(event.command, "request", None)
        if event.index > self._index:
            self._first(record, request)
        counts = self._counts.get(node)
        match request:
            case LeaseGrant(id=id) if not event.error and self._terms.get(node) == event.term:
                self._begins(record, id, 0, self.retry_s)
            case LeaseRevoke(id) if counts is not None:
                counts.pop(id, None)
        if counts:
            self._follows_claim(record, counts)

    def _first(self, record: Record, request: Any) -> None:
        """The first time that this entry of the log is carried out anywhere."""
        event = record.event
        if event.index != self._index + 1:
            raise ValueError(f"the trace does not tell what entry {self._index + 1} of the log did")
        self._index = event.index
        if event.error or self._strayed:
            return
        match request:
            case LeaseGrant(id=id):
                self._leases[id] = _Lease(born_s=record.time, op_id=event.command.op_id)
            case LeaseCheckpoint(left):
                for id, left_s in left:
                    if lease := self._leases.get(id):
                        lease.noted_s, lease.was_noted = left_s, lease.was_noted or bool(left_s)
            case LeaseRevoke(id):
                self._revoked(record, id)
                return
        before = len(self._store.changes)
        self._store.apply(request)
        for change in self._store.changes[before:]:
            if change.kv.lease in self._leases:
                self._leases[change.kv.lease].held.add(change.kv.key)

    def _revoked(self, record: Record, id: int) -> None:
        event, store = record.event, self._store
        lease = self._leases.pop(id, _Lease())
        if not event.command.op_id:
            self._expired += 1
            self._is_in_time(record, id, lease)
        before = len(store.changes)
        store.apply(event.command.request)
        keys = frozenset(change.kv.key for change in store.changes[before:])
        self._ends.append(_End(id, event.revision, keys, lease.held))
        if event.revision != store.revision:
            self._strayed = True
            what = f"{record.node} ends lease {id:x} and is at revision {event.revision}, but with "
            what += f"the {_count(len(keys), 'key')} of that lease it would be at {store.revision}"
            self._break(ONE_REVISION, what, record)

    def _is_in_time(self, record: Record, id: int, lease: _Lease) -> None:
        """A lease ended by itself; had its holder had its whole time?"""
        origin = record.event.command.origin
        claim = self._claims.get((origin, id))
        if lease.sent_s is None or not lease.ttl_s:
            return  # nobody was told that it lives
        if claim is None:
            self._break(SAFETY, f"{origin} ends lease {id:x}, which has not run out there", record)
            return
        clocks, what = self.clocks, f"on the clock of {origin}"
        passed = clocks.read(origin, claim.time) - clocks.read(origin, lease.sent_s)
        if lease.was_noted and claim.time > lease.sent_s:
            passed, what = clocks.fastest(lease.sent_s, claim.time), "on the fastest clock"
        if passed < lease.ttl_s - SLACK_S:
            after = f"{max(passed, 0):.3f} s {what} after its holder has asked for {lease.ttl_s} s"
            if passed < 0:
                after = f"and takes no notice that its holder has been promised {lease.ttl_s} s"
            self._break(SAFETY, f"{origin} finds that lease {id:x} has run out, {after}", record)

    # The holder -------------------------------------------------------------------------------

    def _returned(self, record: Record, asked: Record) -> None:
        event, request = record.event, asked.event.request
        if event.error or event.result is None:
            return
        if isinstance(request, Range):
            self._reads.append((record, request))
            return
        lease = self._leases.get(event.result.id)
        # There may have been another lease of that number before.
        mine = lease and (asked.time >= lease.born_s or event.op_id == lease.op_id)
        if mine and event.result.ttl_s:
            lease.ttl_s = event.result.ttl_s
            lease.sent_s = max(asked.time, lease.sent_s or 0.0)

    # The leader's count -----------------------------------------------------------------------

    def _begins(self, record: Record, id: int, time_s: float, more_s: float = 0.0) -> None:
        """From now on the leader counts."""
        if self.times:
            since = self.clocks.read(record.node, record.time) + more_s
            self._counts.setdefault(record.node, {})[id] = _Count(since, time_s)

    def _claimed(self, record: Record, id: int, ttl_s: int) -> None:
        count = self._counts.get(record.node, {}).get(id)
        if count is not None:
            self._is_late(record, id, count, ttl_s)
            count.claimed = self.clocks.read(record.node, record.time)

    def _is_late(self, record: Record, id: int, count: _Count, ttl_s: int) -> None:
        due = count.since + (count.time_s or ttl_s or inf) + LATE_TICKS * self.tick_s + SLACK_S
        late_s = self.clocks.read(record.node, record.time) - due
        if count.claimed is None and late_s > 0:
            what = f"{record.node} counts lease {id:x}, and {late_s:.3f} s after its time is over "
            self._break(EXPIRY, f"{what}on its own clock it had not claimed the end", record)
            count.claimed = inf

    def _stops(self, node: str, record: Record) -> None:
        """The leader leads or runs no longer."""
        at_node = Record(record.seq, record.time, node, record.event, record.cause)
        for id, count in self._counts.pop(node, {}).items():
            self._is_late(at_node, id, count, self._leases.get(id, _Lease()).ttl_s)
        self._appended.pop(node, None)
        self._terms.pop(node, None)

    def _follows_claim(self, record: Record, counts: dict[int, _Count]) -> None:
        """Whoever can commit something new can commit the end of a lease."""
        own = self._appended.get(record.node, {}).pop(record.event.index, 0.0)
        for id, count in counts.items():
            if count.claimed is not None and own > count.claimed + RETRIES * self.retry_s:
                what = f"{record.node} claimed the end of lease {id:x} {own - count.claimed:.3f} s "
                what += f"before it took entry {record.event.index}, which is applied first"
                self._break(EXPIRY, what, record)
                count.claimed = inf

    # What others were told --------------------------------------------------------------------

    def _heard(self, record: Record) -> None:
        """Of the changes that a watcher heard of: did a key go with a lease that was not its?"""
        for change in record.event.response.events:
            kv = change.kv
            for end in self._ends if change.type == "delete" else ():
                went = end.keys and end.revision == kv.mod_revision
                if went and kv.key in end.held - end.keys:
                    what = f"{kv.key_text} goes with lease {end.id:x}, and does not hang on it"
                    self._break(ONE_REVISION, what, record)

    def _seen(self, record: Record, request: Range) -> None:
        """Of the pairs that a reader got: does one outlive its lease? And is one missing?"""
        result, at = record.event.result, request.revision or record.event.revision
        if not isinstance(result, RangeResult) or request.count_only:
            return
        over = [end for end in self._ends if end.revision <= at]
        for kv in result.kvs:
            for end in over:
                if kv.lease == end.id and kv.mod_revision <= end.revision:
                    what = f"{kv.key_text} is there at revision {at}, and its lease "
                    self._break(ONE_REVISION, f"{what}{end.id:x} ended at {end.revision}", record)
        if request.range_end or result.kvs or self._strayed:
            return
        kv = self._store.get(request.key, at)
        for end in over if kv else ():
            if request.key in end.held - end.keys and kv.mod_revision <= end.revision:
                what = f"{kv.key_text} is gone at revision {at}: it went with lease {end.id:x}, "
                self._break(ONE_REVISION, f"{what}on which it did not hang any more", record)

    # Verdicts ---------------------------------------------------------------------------------

    def _break(self, promise: str, why: str, record: Record) -> None:
        self._breaks[promise].append(Verdict(promise, False, why, record, SECTION, self.seed))

    def verdicts(self) -> Verdicts:
        """One on each promise; of several breaks the first."""
        ends = _count(len(self._ends), "lease") + " ended"
        alone = f"{self._expired} by {'itself' if self._expired == 1 else 'themselves'}"
        kept = {
            SAFETY: f"{ends}, {alone}, and none too early",
            EXPIRY: f"{ends}, and no leader that ran was late",
            ONE_REVISION: f"{ends}, each with all its keys and no others",
        }
        return verdicts_on(self._breaks, kept, SECTION, self.seed)


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'s' * (number != 1)}"
