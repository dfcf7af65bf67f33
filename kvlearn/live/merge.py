"""One trace out of the parts that the members of a cluster wrote, each in files of its own.

    n1.1.jsonl   0 starts · 1 asks for pre-votes · 2 sends …        ┐
    n2.1.jsonl   0 starts · 1 receives … (packet 1)                 ├─▶  one story, numbered anew
    by hand      n2 crashes                                         ┘

All processes of a machine share one monotonic clock, so sorting by time is telling in order. Record
and packet numbers count within one file; here they are given anew. A message that arrived has its
`Sent` for a cause. One that did not arrive, while a later one on the same way did, was lost: a
stream keeps the order.

Nothing is read or told twice, so hours of running cost no more than what is new. A member hands
its lines over with every turn of its loop; what is `SETTLED_S` old is in order and stays as it is
(`Parts.settle`). What comes later still, from a process that was stopped in the middle of a turn,
is told at the end. Only two things are learned of the past: when a message arrived, and what a
disk kept (the next start knows it).

A process that was killed may leave half a line at the end of its file; it is not read. What its
disk holds is told by its next start.

Differs from a simulated trace: nobody knows when a message will arrive, so it is on its way until
it has.
"""

from __future__ import annotations

import copy
import json
import threading
import time
from bisect import bisect_right
from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

from kvlearn.events import (
    Crashed,
    Dropped,
    Healed,
    LinksCut,
    Paused,
    Received,
    Resumed,
    Saved,
    Sent,
    Started,
    facts,
)
from kvlearn.live import codec  # knows every word that an event may hold
from kvlearn.raft.types import HardState
from kvlearn.trace import Trace
from kvlearn.values import from_json

assert codec.WORDS
SILENT_S = 1.0  # what has not arrived after so long will not
SETTLED_S = 0.2  # what is older than this has been written by whoever it happened to
PART_BYTES = 1 << 14  # of a file that are read at a time
_ORDER = itemgetter(0, 1, 2)  # by time, then by part and number


class Row(NamedTuple):
    """A record of a part. `part` tells files apart, `seq` and `cause` count within it."""

    time: float
    part: int
    seq: int
    node: str
    event: Any
    cause: int | None


class Part:
    """One file, read as far as it was written."""

    def __init__(self, path: Path, number: int):
        self.path = path
        self.number = number
        self.behind_s = float("inf")  # there is more to read from this time on
        self._at = 0  # bytes read
        self._headed = False

    def read(self, most: int = -1) -> list[Row]:
        """Read on, at most so many bytes (and one line); what was new."""
        self.behind_s = float("inf")
        if not self.path.exists():
            return []  # it went with its folder
        with self.path.open("rb") as file:
            file.seek(self._at)
            told = file.read(most)
            whole, newline, rest = told.rpartition(b"\n")
            if len(told) == most and not newline:  # one long line
                whole, newline, rest = (told + file.read()).rpartition(b"\n")
            self._at += len(whole) + len(newline)
        lines = whole.split(b"\n") if newline else []
        if lines and not self._headed:
            self._headed = True
            del lines[0]
        rows = [self._row(line) for line in lines]
        if rows and len(told) == most:
            self.behind_s = rows[-1].time
        return rows

    def _row(self, line: bytes) -> Row:
        told = json.loads(line)
        event, seq = from_json(told["event"]), told["seq"]
        return Row(told["time"], self.number, seq, told["node"], event, told["cause"])


class Parts:
    """All parts of one cluster, and the trace that they make."""

    def __init__(self, folder: Path, about: dict[str, Any], zero_s: float):
        """Files that are in `folder` by now are of an earlier life and are left alone. Times of
        the trace count from `zero_s` of the monotonic clock."""
        self.folder, self.about, self.zero_s = folder, about, zero_s
        self._lock = threading.RLock()
        self._old = set(folder.glob("*.jsonl"))
        self._parts: dict[Path, Part] = {}
        self._by_hand = 0
        self._waiting: list[Row] = []  # read, but not settled; in order
        self._unsorted: list[Row] = []
        self._merger = Merger(about, zero_s)
        self._whole: Trace | None = None  # with what waits; None: there is news

    @property
    def settled(self) -> Trace:
        """The story as far as it will not change; it grows (`settle`)."""
        return self._merger.trace

    def add(self, time: float, node: str, event: Any) -> None:
        """Something was done by hand."""
        with self._lock:
            self._unsorted.append(Row(time, -1, self._by_hand, node, event, None))
            self._by_hand += 1

    def trace(self) -> Trace:
        """The story so far. The same object as before, if nothing new was told."""
        with self._lock:
            self._find()
            upto_s = time.monotonic() - SETTLED_S
            for part in self._parts.values():
                self._unsorted += part.read()
            self._settle(upto_s)
            if self._whole is None:
                twin = self._merger.twin()
                twin.take(self._waiting)
                self._whole = twin.trace
            return self._whole

    def settle(self, within_s: float, ended: bool = False) -> float:
        """Read on, for so many seconds, and settle what is old enough (all, if the cluster has
        `ended`). Returns up to which time of the trace all is settled, in seconds."""
        with self._lock:
            self._find()
            now = time.monotonic()
            upto_s = float("inf") if ended else now - SETTLED_S
            unread = list(self._parts.values())
            while unread:
                for part in unread:
                    self._unsorted += part.read(PART_BYTES)
                unread = [part for part in unread if part.behind_s < float("inf")]
                if time.monotonic() > now + within_s:
                    break
            upto_s = min([upto_s, *(part.behind_s for part in unread)])
            self._settle(upto_s)
            if upto_s == float("inf"):
                return self.settled[-1].time if len(self.settled) else 0.0
            return max(0.0, upto_s - self.zero_s)

    def _find(self) -> None:
        """Files of members that have started."""
        for path in sorted(set(self.folder.glob("*.jsonl")) - self._old - self._parts.keys()):
            self._parts[path] = Part(path, len(self._parts))

    def _settle(self, upto_s: float) -> None:
        if self._unsorted:
            self._whole = None
            self._waiting = sorted(self._waiting + self._unsorted, key=_ORDER)
            self._unsorted = []
        count = bisect_right(self._waiting, upto_s, key=itemgetter(0))
        if count:
            self._merger.take(self._waiting[:count])
            del self._waiting[:count]


def merged(rows: Iterable[Row], about: dict[str, Any], zero_s: float = 0.0) -> Trace:
    """The trace that the rows of all parts make.

    >>> from kvlearn.raft.messages import TimeoutNow
    >>> hello = TimeoutNow("n1", "n2", 1)
    >>> sent, got = Sent(hello, 9), Received(hello, 9)
    >>> trace = merged([Row(5.5, 1, 0, "n2", got, None), Row(5.0, 0, 0, "n1", sent, None)], {}, 5.0)
    >>> [(r.time, r.node, r.cause, r.event.packet) for r in trace]
    [(0.0, 'n1', None, 1), (0.5, 'n2', 0, 1)]
    """
    merger = Merger(about, zero_s)
    merger.take(sorted(rows, key=_ORDER))
    return merger.trace


class _Packet(NamedTuple):
    """A message on its way: its number and its `Sent` in the trace."""

    number: int
    seq: int
    time: float
    message: Any


class Merger:
    """Turns rows, given in order, into the records of `trace`.

    Invariant: what is in `_flying` has been sent and has neither arrived nor been given up; of all
    that, and of no more, something is remembered.
    """

    def __init__(self, about: dict[str, Any], zero_s: float):
        self.zero_s = zero_s
        self.trace = Trace(None, about)
        self._now = 0.0  # of the last record
        self._numbers: dict[int, dict[int, int]] = {}  # part -> seq -> number of the record
        self._flying: dict[tuple[str, str], dict[int, _Packet]] = {}  # way -> by the sender's count
        self._due: deque[tuple[float, tuple[str, str], int, int]] = deque()  # when it is given up
        self._mailbox: dict[str, list[tuple[tuple[str, str], int, int]]] = {}  # of paused nodes
        self._early: set[tuple] = set()  # arrived before its sender told of it
        self._down: set[str] = set()
        self._cuts: set[tuple[str, str]] = set()
        self._count = 0
        self._kept: dict[str, Crashed] = {}  # what a crash now would leave of a node's log
        self._ended: dict[str, int] = {}  # node -> its crash, until it starts again

    def twin(self) -> Merger:
        """One that goes on for itself."""
        twin = copy.copy(self)
        twin.trace = copy.deepcopy(self.trace)
        twin._numbers = {part: _Below(known) for part, known in self._numbers.items()}
        twin._flying = {way: dict(packets) for way, packets in self._flying.items()}
        twin._due = self._due.copy()
        twin._mailbox = {node: list(kept) for node, kept in self._mailbox.items()}
        for name in ("_early", "_down", "_cuts", "_kept", "_ended"):
            setattr(twin, name, getattr(self, name).copy())
        return twin

    def take(self, rows: Iterable[Row]) -> None:
        """Go on by these."""
        for row in rows:
            self._give_up(row.time)
            numbers = self._numbers.setdefault(row.part, {})
            seq = self._read(row, numbers.get(row.cause))
            if seq is not None:
                numbers[row.seq] = seq

    def _add(self, time: float, node: str, event: Any, cause: int | None) -> int:
        self._now = max(self._now, time - self.zero_s)
        return self.trace.add(self._now, node, event, cause)

    def _read(self, row: Row, cause: int | None) -> int | None:
        match row.event:
            case Sent():
                return self._sent(row, cause)
            case Received():
                return self._received(row, cause)
            case Crashed():
                return self._crashed(row)
            case Started() as started:
                self._down.discard(row.node)
                self._early = {one for one in self._early if one[0][0] != row.node}  # counts anew
                crash = self._ended.pop(row.node, None)
                if crash is not None:
                    self.trace.mend(crash, _after(started, None))
            case LinksCut(links=links):
                self._cuts = set(links)
            case Healed():
                self._cuts = set()
            case Paused():
                self._mailbox[row.node] = []
            case Resumed():
                for way, packet, number in self._mailbox.pop(row.node, []):
                    self._due.append((row.time + SILENT_S, way, packet, number))
        kept = _after(row.event, self._kept.get(row.node))
        if kept is not None:
            self._kept[row.node] = kept
        return self._add(row.time, row.node, row.event, cause)

    def _crashed(self, row: Row) -> int:
        self._down.add(row.node)
        self._mailbox.pop(row.node, None)
        event = self._kept[row.node] = replace(self._kept.get(row.node, row.event))
        seq = self._ended[row.node] = self._add(row.time, row.node, event, None)
        for (_, target), way in self._flying.items():
            if target == row.node:
                for packet in way.values():
                    self._drop(packet, row.time, "DOWN")
                way.clear()
        return seq

    def _sent(self, row: Row, cause: int | None) -> int | None:
        message, packet = row.event.message, row.event.packet
        way = message.source, message.target
        if (way, packet) in self._early:
            self._early.discard((way, packet))
            return None
        self._count += 1
        seq = self._add(row.time, row.node, Sent(message, self._count), cause)
        sent = _Packet(self._count, seq, row.time, message)
        if way[1] in self._down or way in self._cuts:
            self._drop(sent, row.time, "DOWN" if way[1] in self._down else "CUT")
        else:
            self._flying.setdefault(way, {})[packet] = sent
            self._due.append((row.time + SILENT_S, way, packet, sent.number))
        return seq

    def _received(self, row: Row, cause: int | None) -> int:
        message, packet = row.event.message, row.event.packet
        way = message.source, message.target
        flying = self._flying.get(way, {})
        sent = flying.pop(packet, None)
        if sent is None:  # its sender was killed before it could tell, or tells it late
            self._count += 1
            if way[0] not in self._down:
                self._early.add((way, packet))
            return self._add(row.time, row.node, Received(message, self._count), cause)
        seq = self._add(row.time, row.node, Received(message, sent.number), sent.seq)
        self.trace.mend(sent.seq, Sent(sent.message, sent.number, self._now))
        for earlier in [p for p, other in flying.items() if other.number < sent.number]:
            self._drop(flying.pop(earlier), row.time, "LOST")
        return seq

    def _give_up(self, now: float) -> None:
        """What has not arrived by this time will not; what waits for a paused node may."""
        due = self._due
        while due and due[0][0] < now:
            time, way, packet, number = due.popleft()
            sent = self._flying.get(way, {}).get(packet)
            if sent is None or sent.number != number:
                continue
            if way[1] in self._mailbox:
                self._mailbox[way[1]].append((way, packet, number))
            else:
                self._drop(self._flying[way].pop(packet), time, "LOST")

    def _drop(self, sent: _Packet, time: float, reason: str) -> None:
        message = sent.message
        known = facts(source=message.source, target=message.target)
        event = Dropped(message, sent.number, reason, known)
        self._add(time, message.target, event, sent.seq)


class _Below(dict):
    """A dict upon another one, which stays as it is."""

    def __init__(self, below: dict):
        super().__init__()
        self._below = below

    def get(self, key: Any, default: Any = None) -> Any:
        return super().get(key, self._below.get(key, default))


def _after(event: Any, before: Crashed | None) -> Crashed | None:
    """What a crash right after this event would leave."""
    if isinstance(event, Started):
        last = event.entries[-1].index if event.entries else event.base.index if event.base else 0
        return Crashed(last, HardState(event.term, event.vote, event.commit))
    if isinstance(event, Saved):
        last = event.last or (before.last if before else 0)
        return Crashed(last, HardState(event.term, event.vote, event.commit))
    return None
