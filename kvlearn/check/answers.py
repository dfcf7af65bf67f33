"""Answers: what clients were told, held against the log, carried out in its order by a list.

The log is an order of all writes. If every answer is what one store would have given that carries
the log out, and if no answer is older than what anybody knew before it was asked, then the history
is linearizable, and the log is the order that shows it: nothing has to be searched for. So this
judges histories of any length, with transactions, leases and compactions in them.

It sees no further than the trace: `check.linearizable` needs nothing but the clients' side.

>>> from kvlearn import Cluster
>>> cluster = Cluster(3, seed=7)
>>> client = cluster.client()
>>> _ = client.put("a", "1"), client.get("a")
>>> print(answers(cluster.trace))
Answers is kept: 2 answers are those of one store that carries out the log

Source: Herlihy and Wing (1990), 3 (a linearization is a witness).
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from kvlearn.check.histories import log_of
from kvlearn.check.naive import MIN_TTL_S, NaiveStore
from kvlearn.check.verdict import Verdict
from kvlearn.events import Invoked, Returned
from kvlearn.kv.kinds import in_log, serializable
from kvlearn.kv.leases import LeaseGrant, LeaseRevoke
from kvlearn.kv.requests import DeleteRange, Put, Range
from kvlearn.kv.txn import Txn
from kvlearn.trace import Record, Trace

ANSWERS = "Answers"
WRITES = (Put, DeleteRange, Txn, LeaseGrant, LeaseRevoke)  # whose results are held against the log


def answers(trace: Trace, min_ttl_s: int | None = None) -> Verdict:
    """Whether every answer is right and none is out of date. `min_ttl_s`: the shortest time to
    live that the store gave; None: what the trace tells of its store.

    Raises: ValueError if the trace lacks entries of the log.
    """
    if min_ttl_s is None:
        min_ttl_s = trace.about.get("store", {}).get("min_ttl_s", MIN_TTL_S)
    return _Judge(trace, min_ttl_s).verdict()


class _Judge:
    """Reads the log first, and with each revision the reads that were answered from it."""

    def __init__(self, trace: Trace, min_ttl_s: int):
        self.seed = trace.seed
        self.store = NaiveStore(min_ttl_s)
        self.broken: list[Verdict] = []
        self._written: dict[int, tuple[Record, Any, int, int]] = {}  # of a write, by its op_id
        self._read: dict[int, list[tuple[Record, Any]]] = defaultdict(list)  # by revision
        self._count = 0
        self._sort(trace)
        self._replay(trace)

    def _sort(self, trace: Trace) -> None:
        """Find out what each answer was of, and that it is not older than what was known."""
        newest = 0  # that anybody was told
        asked: dict[int, tuple[Any, int]] = {}
        for record in trace.of(Invoked, Returned):
            event = record.event
            if isinstance(event, Invoked):
                asked[event.op_id] = event.request, newest
                continue
            request, floor = asked.pop(event.op_id)
            if event.error or not isinstance(request, (*WRITES, Range)):
                continue
            self._count += 1
            if not serializable(request):
                newest = max(newest, event.revision)
                if event.revision < floor:
                    what = f"is told revision {event.revision}, and {floor} was known before"
                    self._break(record, f"{record.node} asks for {request}, {what}")
            if in_log(request):
                self._written[event.op_id] = record, request, event.revision, floor
            else:
                self._read[event.revision].append((record, request))

    def _replay(self, trace: Trace) -> None:
        for entry in log_of(trace):
            self._carry_out(entry)
        self._answer_reads()
        for record, request, _, _ in self._written.values():
            self._break(record, f"{record.node} is told of {request}, and the log does not have it")
        for reads in self._read.values():
            for record, request in reads:
                at = f"revision {record.event.revision}, which never was"
                self._break(record, f"{record.node} is told of {request} at {at}")

    def _carry_out(self, entry: Record) -> None:
        event = entry.event
        request = getattr(event.command, "request", None)
        self._answer_reads()
        before = self.store.revision
        result, refused = self.store.apply(request)
        if isinstance(request, WRITES) and bool(refused) != bool(event.error):
            told = event.error or "carried out"
            self._break(entry, f"entry {event.index}, {request}, is {told}: it should be {refused}")
        written = self._written.pop(getattr(event.command, "op_id", 0), None)
        if written is None:
            return
        record, request, revision, floor = written
        if record.event.result != result or revision != self.store.revision:
            what = f"{record.event.result} at revision {revision}"
            right = f"entry {event.index} gives {result} at {self.store.revision}"
            self._break(record, f"{record.node} is told of {request}: {what}; but {right}")
        elif before < floor:
            late = f"entry {event.index} was carried out at revision {before}"
            self._break(record, f"{request} was asked when {floor} was known, but {late}")

    def _answer_reads(self) -> None:
        for record, request in self._read.pop(self.store.revision, ()):
            result, refused = self.store.apply(request)
            # A compaction may have come behind the read, and no revision tells.
            if not refused and record.event.result != result:
                what = f"{record.event.result} at revision {record.event.revision}"
                self._break(
                    record, f"{record.node} is told of {request}: {what}; but it is {result}"
                )

    def _break(self, record: Record, why: str) -> None:
        self.broken.append(Verdict(ANSWERS, False, why, record, "8", self.seed))

    def verdict(self) -> Verdict:
        """The first break, or how many answers are right."""
        if self.broken:
            return min(self.broken, key=lambda verdict: verdict.record.seq)
        why = f"{self._count} answers are those of one store that carries out the log"
        return Verdict(ANSWERS, True, why, None, "8", self.seed)
