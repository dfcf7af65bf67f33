"""Where in a trace the records are that decide: found once, so that a click need not search.

>>> from kvlearn.events import Paused, Resumed
>>> trace = Trace()
>>> for time, event in enumerate([Paused(), Resumed(), Paused()]):
...     seq = trace.add(time, "n1", event, None)
>>> last(trace, 1, Paused, node="n1").seq, last(trace, 2, Paused, node="n1").seq
(0, 2)
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from typing import Any
from weakref import WeakKeyDictionary

from kvlearn import events as ev
from kvlearn.trace import Record, Trace

# What is looked for from behind. Messages are not: they are too many, and are looked for within
# the few records of one round.
KINDS = (
    *(ev.Started, ev.Crashed, ev.Wiped, ev.Paused, ev.ConfChanged),
    *(ev.BecameFollower, ev.BecameCandidate, ev.BecameLeader, ev.AskedPreVote, ev.VoteGranted),
    *(ev.Appended, ev.Truncated, ev.Saved, ev.Progressed, ev.Committed),
    *(ev.SnapshotInstalled, ev.LogCompacted, ev.LeaseExpired, ev.Invoked),
    *(ev.WatchAsked, ev.Notified, ev.StreamClosed),
)


class Index:
    """The numbers of such records by kind and node, as far as the trace was read."""

    def __init__(self, trace: Trace):
        self.era, self.upto = trace.era, 0
        self.places: dict[tuple[type, str | None], list[int]] = {}

    def read(self, trace: Trace) -> None:
        """Go on to the end of the trace."""
        places = self.places
        for record in trace.of(*KINDS, start=self.upto):
            kind = type(record.event)
            places.setdefault((kind, record.node), []).append(record.seq)
            places.setdefault((kind, None), []).append(record.seq)
        self.upto = len(trace)


_kept: WeakKeyDictionary[Trace, Index] = WeakKeyDictionary()


def prime(trace: Trace) -> Index:
    """Read what is new in the trace. Whoever waits for a first click may call it before that."""
    index = _kept.get(trace)
    if index is None or index.era != trace.era:
        index = _kept[trace] = Index(trace)
    if index.upto < len(trace):
        index.read(trace)
    return index


def back(trace: Trace, upto: int, kind: type, node: str | None = None) -> Iterator[Record]:
    """The records of one of `KINDS` (at `node`) from number `upto` back, the newest first."""
    assert kind in KINDS, f"{kind.__name__} is not looked for from behind"
    places = prime(trace).places.get((kind, node), [])
    for place in range(bisect_right(places, upto) - 1, -1, -1):
        yield trace[places[place]]


def last(
    trace: Trace,
    upto: int,
    *kinds: type,
    node: str | None = None,
    fits: Callable[[Any], bool] | None = None,
) -> Record | None:
    """The last record up to number `upto` of these kinds, all of `KINDS` (at `node`; of whose
    event `fits` is true); None if there is none."""
    found = None
    for kind in kinds:
        for record in back(trace, upto, kind, node):
            if found is not None and record.seq < found.seq:
                break
            if fits is None or fits(record.event):
                found = record
                break
    return found
