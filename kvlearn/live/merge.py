"""One trace out of the parts that the members of a cluster wrote, each in files of its own.

    n1.1.jsonl   0 starts · 1 asks for pre-votes · 2 sends …        ┐
    n2.1.jsonl   0 starts · 1 receives … (packet 1)                 ├─▶  one story, numbered anew
    by hand      n2 crashes                                         ┘

All processes of a machine share one monotonic clock, so sorting by time is telling in order. Record
and packet numbers count within one file; here they are given anew. A message that arrived has its
`Sent` for a cause. One that did not arrive, while a later one on the same way did, was lost: a
stream keeps the order.

A process that was killed may leave half a line at the end of its file; it is not read. What its
disk holds is told by its next start.

Differs from a simulated trace: nobody knows when a message will arrive, so it is on its way until
it has.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

from kvlearn.events import Crashed, Dropped, Healed, LinksCut, Received, Saved, Sent, Started, facts
from kvlearn.live import codec  # knows every word that an event may hold
from kvlearn.raft.types import HardState
from kvlearn.trace import Trace
from kvlearn.values import from_json

assert codec.WORDS
SILENT_S = 1.0  # what has not arrived after so long will not
_LAST = 1 << 30  # a part behind all others
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
        self.rows: list[Row] = []
        self._at = 0  # bytes read
        self._headed = False

    def read(self) -> bool:
        """Read on; whether there was something new."""
        if not self.path.exists():
            return False  # it went with its folder
        with self.path.open("rb") as file:
            file.seek(self._at)
            whole, newline, _ = file.read().rpartition(b"\n")
        self._at += len(whole) + len(newline)
        lines = whole.split(b"\n") if newline else []
        if lines and not self._headed:
            self._headed = True
            del lines[0]
        for line in lines:
            told = json.loads(line)
            event, seq = from_json(told["event"]), told["seq"]
            row = Row(told["time"], self.number, seq, told["node"], event, told["cause"])
            self.rows.append(row)
        return bool(lines)


class Parts:
    """All parts of one cluster, and the trace that they make."""

    def __init__(self, folder: Path, about: dict[str, Any], zero_s: float):
        """Files that are in `folder` by now are of an earlier life and are left alone. Times of
        the trace count from `zero_s` of the monotonic clock."""
        self.folder, self.about, self.zero_s = folder, about, zero_s
        self.by_hand: list[Row] = []  # what was done to the processes
        self._old = set(folder.glob("*.jsonl"))
        self._parts: dict[Path, Part] = {}
        self._told = 0  # rows by hand that the trace has
        self._trace = Trace(None, about)

    def add(self, time: float, node: str, event: Any) -> None:
        """Something was done by hand."""
        self.by_hand.append(Row(time, -1, len(self.by_hand), node, event, None))

    def trace(self) -> Trace:
        """The story so far. The same object as before, if nothing new was told."""
        for path in sorted(set(self.folder.glob("*.jsonl")) - self._old - self._parts.keys()):
            self._parts[path] = Part(path, len(self._parts))
        news = [part.read() for part in self._parts.values()]
        if any(news) or len(self.by_hand) != self._told:
            self._told = len(self.by_hand)
            rows = [*self.by_hand, *(row for part in self._parts.values() for row in part.rows)]
            self._trace = merged(rows, self.about, self.zero_s)
        return self._trace


def merged(rows: Iterable[Row], about: dict[str, Any], zero_s: float = 0.0) -> Trace:
    """The trace that the rows of all parts make.

    >>> from kvlearn.raft.messages import TimeoutNow
    >>> hello = TimeoutNow("n1", "n2", 1)
    >>> sent, got = Sent(hello, 9), Received(hello, 9)
    >>> trace = merged([Row(5.5, 1, 0, "n2", got, None), Row(5.0, 0, 0, "n1", sent, None)], {}, 5.0)
    >>> [(r.time, r.node, r.cause, r.event.packet) for r in trace]
    [(0.0, 'n1', None, 1), (0.5, 'n2', 0, 1)]
    """
    wires = _Wires(_with_disks(sorted(rows, key=_ORDER)))
    trace, numbers, sends = Trace(None, about), {}, {}
    for row in sorted((*wires.rows, *wires.drops), key=_ORDER):
        time, part, seq, node, event, cause = row
        cause = numbers.get((part, cause))
        match event:
            case Sent():
                packet = wires.numbers[part, seq]
                event = Sent(event.message, packet)
                sends[packet] = len(trace)
            case Received():
                packet = wires.numbers[part, seq]
                event = Received(event.message, packet)
                cause = sends.get(packet, cause)
            case Dropped(packet=packet):
                cause = sends[packet]
        numbers[part, seq] = trace.add(max(0.0, time - zero_s), node, event, cause)
    return trace


class _Wires:
    """What became of every packet. `numbers`: (part, seq) of its records -> its number in the
    trace; `drops`: rows for those that did not arrive."""

    def __init__(self, rows: list[Row]):
        self.rows = rows
        self.numbers: dict[tuple[int, int], int] = {}
        self.drops: list[Row] = []
        self._flying: dict[tuple[str, str], dict[int, tuple[int, Row]]] = {}  # way -> by its number
        self._down: set[str] = set()
        self._cuts: set[tuple[str, str]] = set()
        self._count = 0
        for row in rows:
            self._read(row)
        end = rows[-1].time - SILENT_S if rows else 0.0
        for way in self._flying.values():
            for number, sent in way.values():
                if sent.time < end:
                    self._drop(number, sent, sent.time + SILENT_S, "LOST")

    def _read(self, row: Row) -> None:
        match row.event:
            case Sent():
                self._sent(row)
            case Received():
                self._received(row)
            case Crashed():
                self._down.add(row.node)
                for (_, target), way in self._flying.items():
                    if target == row.node:
                        for number, sent in way.values():
                            self._drop(number, sent, row.time, "DOWN")
                        way.clear()
            case Started():
                self._down.discard(row.node)
            case LinksCut(links=links):
                self._cuts = set(links)
            case Healed():
                self._cuts = set()

    def _sent(self, row: Row) -> None:
        self._count += 1
        self.numbers[row.part, row.seq] = self._count
        way = row.event.message.source, row.event.message.target
        if way[1] in self._down or way in self._cuts:
            reason = "DOWN" if way[1] in self._down else "CUT"
            self._drop(self._count, row, row.time, reason)
        else:
            self._flying.setdefault(way, {})[row.event.packet] = self._count, row

    def _received(self, row: Row) -> None:
        message, packet = row.event.message, row.event.packet
        way = self._flying.get((message.source, message.target), {})
        found = way.pop(packet, None)
        if found is None:  # its sender was killed before it could tell
            self._count += 1
            self.numbers[row.part, row.seq] = self._count
            return
        self.numbers[row.part, row.seq] = found[0]
        for earlier in [p for p, (number, _) in way.items() if number < found[0]]:
            self._drop(*way.pop(earlier), row.time, "LOST")

    def _drop(self, number: int, sent: Row, time: float, reason: str) -> None:
        message = sent.event.message
        known = facts(source=message.source, target=message.target)
        event = Dropped(message, number, reason, known)
        self.drops.append(Row(time, _LAST, len(self.drops), message.target, event, None))


def _with_disks(rows: list[Row]) -> list[Row]:
    """The rows with crashes that tell what the disk kept: the next start knows it, or else the
    last save."""
    kept: dict[str, Crashed] = {}
    found = list(rows)
    for place, row in enumerate(rows):
        kept_now = _after(row.event, kept.get(row.node))
        if kept_now is not None:
            kept[row.node] = kept_now
        if isinstance(row.event, Crashed):
            found[place] = row._replace(event=kept.get(row.node, row.event))
    start: dict[str, Crashed] = {}
    for place in range(len(found) - 1, -1, -1):
        row = found[place]
        if isinstance(row.event, Started):
            start[row.node] = _after(row.event, None)
        elif isinstance(row.event, Crashed) and row.node in start:
            found[place] = row._replace(event=start.pop(row.node))
    return found


def _after(event: Any, before: Crashed | None) -> Crashed | None:
    """What a crash right after this event would leave."""
    if isinstance(event, Started):
        last = event.entries[-1].index if event.entries else event.base.index if event.base else 0
        return Crashed(last, HardState(event.term, event.vote, event.commit))
    if isinstance(event, Saved):
        last = event.last or (before.last if before else 0)
        return Crashed(last, HardState(event.term, event.vote, event.commit))
    return replace(before) if isinstance(event, Crashed) and before else None
